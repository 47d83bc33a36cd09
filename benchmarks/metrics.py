"""The intervals of ``mammocourse.metrics``: how often they cover, and what they cost.

Simulates patients with 1 to 4 images each. The score of an image is ``mu * y + b + e``,
where b belongs to the patient and its share of the variance is the correlation within
patients; the AUC of two images of different patients is ``Phi(mu / sqrt(2))``. Some
patients have malignant and benign images. Prints, for every design, how often the
interval holds the true value:

- of the AUC: DeLong's as if the images were independent, the percentile interval of the
  clustered bootstrap, and ``roc_auc_ci`` (whose designs marked * lie outside the stated
  ones, so that it warns);
- of a difference of two AUCs, of sensitivity, specificity and predictive values, of a
  sensitivity at a given specificity, and of calibration: as if the images were
  independent, and with groups.

Also: CPU seconds of DeLong's interval and of the bootstrap as n grows.

    OMP_NUM_THREADS=1 python benchmarks/metrics.py [--data-sets 1000] [--only SECTION]

With ``--store`` the coverages go to ``data/results/coverage.csv`` after each design, one row
per interval; its first lines, after #, say how they were made. Where an interval of ours does
not clearly cover between 93 and 97 %, the design is simulated again, with up to 16 times the
data sets. A run that was stopped goes on where it was; delete the file after a change of the code.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import sys
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "book" / "_tools"))
from mammocourse import metrics
from provenance import print_machine, write_csv

MORE = (4, 16)  # times the data sets, as long as the coverage is not clearly between 93 and 97 %
ERROR = 0.007  # "clearly" is this far inside, one standard error for 1,000 data sets
RESAMPLES = 500  # of each bootstrap: enough for its standard error
SCREENING = 0.006  # prevalence for the predictive values

STORED = Path(__file__).resolve().parents[1] / "data" / "results" / "coverage.csv"

Intervals = dict[str, tuple[float, float, float]]  # name: true value, low, high


class Design(NamedTuple):
    """Patients, those with a malignant image, AUC, correlation, and the share of mixed patients."""

    patients: int
    positive: int
    auc: float
    correlation: float
    mixed: float
    images: int = 4
    at_random: bool = False  # whether the number of patients with a malignant image is

    @property
    def mu(self) -> float:
        """Distance of the two means of the scores."""
        return float(np.sqrt(2) * stats.norm.ppf(self.auc))


GRID = itertools.product((0.7, 0.8, 0.9), (20, 50), (0.3, 0.8), (0.0, 0.5))
STATED = [Design(100, positive, auc, *within) for auc, positive, *within in GRID]
STATED += [Design(400, 20, auc, 0.5, 0.3) for auc in (0.7, 0.9)]
OUTSIDE = [
    Design(30, 12, 0.8, 0.5, 0.3),
    Design(50, 10, 0.8, 0.5, 0.3),
    Design(100, 10, 0.9, 0.5, 0.3),
    Design(30, 12, 0.95, 0.5, 0.3),
    Design(77, 20, 0.95, 0.5, 0.3),
    Design(100, 20, 0.5, 0.5, 0.3),
    Design(100, 20, 0.97, 0.5, 0.3),
    Design(200, 60, 0.97, 0.5, 0.3),
]
SINGLE = [
    Design(100, positive, auc, 0.0, 0.0, images=1)
    for auc in (0.7, 0.8, 0.9)
    for positive in (20, 50)
]


class Data(NamedTuple):
    """Classes, scores of two models and patients of the images."""

    y: np.ndarray
    s1: np.ndarray
    s2: np.ndarray
    groups: np.ndarray


def simulate(design: Design, rng: np.random.Generator) -> Data:
    """Draw one data set. The errors of the two models are correlated with 0.5."""
    groups = np.repeat(
        np.arange(design.patients), rng.integers(1, design.images + 1, design.patients)
    )
    first = np.r_[True, groups[1:] != groups[:-1]]
    chosen = rng.permutation(design.patients) < design.positive
    by_chance = rng.random(design.patients) < design.positive / design.patients
    positive = by_chance if design.at_random else chosen
    mixed = rng.random(design.patients) < design.mixed
    y = positive[groups] & (first | ~mixed[groups] | (rng.random(len(groups)) < 0.5))

    def noise() -> np.ndarray:
        patient, image = rng.standard_normal(design.patients), rng.standard_normal(len(groups))
        return (
            np.sqrt(design.correlation) * patient[groups] + np.sqrt(1 - design.correlation) * image
        )

    common = noise()
    s1, s2 = (design.mu * y + np.sqrt(0.5) * (common + noise()) for _ in range(2))
    return Data(y.astype(int), s1, s2, groups)


@functools.lru_cache(maxsize=2)
def drawn(labels: bytes, groups: bytes, n_resamples: int, seed: int) -> np.ndarray:
    """Return what ``metrics._draws`` yields, from other random numbers, in a fifth of the time.

    The intervals of one data set share the draws of their bootstrap, which have the same seed.
    """
    y, codes = np.frombuffer(labels), np.frombuffer(groups, dtype=np.intp)
    n_groups = codes.max() + 1
    has = np.column_stack([np.bincount(codes, y == label) > 0 for label in (0, 1)]).astype(float)
    rng, kept = np.random.default_rng(seed), np.empty((0, n_groups))
    while len(kept) < n_resamples:
        places = rng.integers(0, n_groups, (n_resamples, n_groups))
        places += np.arange(0, n_resamples * n_groups, n_groups)[:, None]
        counts = np.bincount(places.ravel(), minlength=n_resamples * n_groups).astype(float)
        counts = counts.reshape(n_resamples, n_groups)
        kept = np.concatenate([kept, counts[(counts @ has > 0).all(axis=1)]])[:n_resamples]
    return kept


def auc_intervals(design: Design, data: Data) -> Intervals:
    """DeLong without groups, percentile bootstrap, ours."""
    y, s, _, groups = data
    naive = metrics.roc_auc_ci(y, s)
    codes = np.unique(groups, return_inverse=True)[1]
    draws = metrics._resample_auc(y.astype(float), [s], codes, RESAMPLES, 0)
    ours = metrics.roc_auc_ci(y, s, groups=groups, method="bootstrap", n_resamples=RESAMPLES)
    return {
        "DeLong": (design.auc, naive.low, naive.high),
        "percentile": (design.auc, *np.quantile(draws, [0.025, 0.975])),
        "ours": (design.auc, ours.low, ours.high),
    }


def single_intervals(design: Design, data: Data) -> Intervals:
    """DeLong for independent images: on the scale of the AUC, and ours on the logit scale."""
    ours = metrics.roc_auc_ci(data.y, data.s1)
    half = stats.norm.ppf(0.975) * ours.standard_error
    bootstrap = metrics.roc_auc_ci(data.y, data.s1, method="bootstrap", n_resamples=RESAMPLES)
    return {
        "DeLong, plain": (design.auc, ours.auc - half, ours.auc + half),
        "DeLong, ours": (design.auc, ours.low, ours.high),
        "bootstrap, ours": (design.auc, bootstrap.low, bootstrap.high),
    }


def difference_intervals(design: Design, data: Data) -> Intervals:
    """Of two models with the same AUC."""
    naive = metrics.delong_test(data.y, data.s1, data.s2)
    ours = metrics.paired_bootstrap_auc(*data, n_resamples=RESAMPLES)
    return {"DeLong": (0, naive.low, naive.high), "ours": (0, ours.low, ours.high)}


def summary_intervals(design: Design, data: Data) -> Intervals:
    """Of the measures at the threshold halfway between the two means."""
    called = data.s1 >= design.mu / 2
    truth = stats.norm.cdf(design.mu / 2)
    ppv, npv = metrics.predictive_values(truth, truth, SCREENING)
    true = {"sensitivity": truth, "specificity": truth, "ppv": ppv, "npv": npv, "accuracy": truth}
    found = {}
    for kind, groups in (("naive", None), ("ours", data.groups)):
        summary = metrics.classification_summary(
            data.y, called, groups=groups, prevalence=SCREENING
        )
        for name, value in true.items():
            estimate = getattr(summary, name)
            found[f"{name}, {kind}"] = (value, estimate.low, estimate.high)
    return found


def operating_intervals(design: Design, data: Data) -> Intervals:
    """Of the sensitivity at a specificity of 0.8 and 0.9."""
    found = {}
    for specificity in (0.8, 0.9):
        truth = stats.norm.sf(stats.norm.ppf(specificity) - design.mu)
        for kind, groups in (("naive", None), ("ours", data.groups)):
            point = metrics.sensitivity_at_specificity(
                data.y, data.s1, specificity, groups=groups, n_resamples=RESAMPLES
            )
            found[f"at {specificity}, {kind}"] = (truth, point.low, point.high)
    return found


def calibration_intervals(design: Design, data: Data) -> Intervals:
    """Of intercept and slope of probabilities that are calibrated."""
    share = share_of_positive_images(design)
    logits = design.mu * data.s1 - design.mu**2 / 2 + np.log(share / (1 - share))
    found = {}
    for kind, groups in (("naive", None), ("ours", data.groups)):
        try:
            fit = metrics.calibration(data.y, 1 / (1 + np.exp(-logits)), groups=groups)
        except ValueError:  # separated
            continue
        found[f"intercept, {kind}"] = (0, fit.intercept.low, fit.intercept.high)
        found[f"slope, {kind}"] = (1, fit.slope.low, fit.slope.high)
    return found


def share_of_positive_images(design: Design) -> float:
    """Return the expected share: of a mixed patient the first image and half of the others."""
    mean = (1 + design.images) / 2
    positive = (1 - design.mixed) * mean + design.mixed * (1 + (mean - 1) / 2)
    return design.positive / design.patients * positive / mean


class Table:
    """The coverages, one row per design and interval; with ``path``, stored after each design."""

    def __init__(self, n_data_sets: int, path: Path | None = None) -> None:
        self.n_data_sets, self.path, self.rows = n_data_sets, path, pd.DataFrame()
        self.command = f"python benchmarks/metrics.py --store --data-sets {n_data_sets}"
        if path and path.exists() and path.read_text("utf-8").startswith(f"# {self.command}\n"):
            self.rows = pd.read_csv(path, comment="#")

    def find(self, measure: str, design: Design) -> pd.DataFrame:
        """Return the rows of a design; none if it has not been simulated."""
        same = np.ones(len(self.rows), bool)
        for name, value in {"measure": measure, **design._asdict()}.items() if len(same) else ():
            same &= (self.rows[name] == value).to_numpy()
        return self.rows[same]

    def add(self, rows: pd.DataFrame) -> None:
        """Append rows, and write the file, with machine and versions in its first lines.

        Rows of the same design and interval are replaced where they stand.
        """
        key = ["measure", "interval", *Design._fields]
        together = pd.concat([self.rows, rows], ignore_index=True)
        first = together.groupby(key, sort=False).ngroup()
        last = together.assign(place=first).drop_duplicates(key, keep="last")
        self.rows = last.sort_values("place").drop(columns="place").reset_index(drop=True)
        if self.path:
            write_csv(self.rows, self.path, self.command)


def simulated(
    measure: str,
    design: Design,
    stated: bool,
    intervals: Callable[[Design, Data], Intervals],
    n_data_sets: int,
) -> pd.DataFrame:
    """Return coverage and mean width of every interval at one design."""
    hits, widths = defaultdict(list), defaultdict(list)
    for seed in np.random.SeedSequence(0).spawn(n_data_sets):
        data = simulate(design, np.random.default_rng(seed))
        for name, (truth, low, high) in intervals(design, data).items():
            hits[name].append(low <= truth <= high)
            widths[name].append(high - low)
    rows = [
        {
            "measure": measure,
            "interval": name,
            **design._asdict(),
            "stated": stated,
            "data_sets": len(hits[name]),  # fewer than drawn where the interval does not exist
            "coverage": np.mean(hits[name]).round(6),
            "mean_width": np.mean(widths[name]).round(4),
        }
        for name in hits
    ]
    return pd.DataFrame(rows)


def near_a_bound(rows: pd.DataFrame) -> bool:
    """Whether the data sets do not tell if one of our intervals covers 93 to 97 %."""
    ours = rows[rows.interval.str.contains("ours")]
    room = ERROR * np.sqrt(1000 / ours.data_sets)
    return bool(((ours.coverage < 0.93 + room) | (ours.coverage > 0.97 - room)).any())


def cover(
    table: Table,
    measure: str,
    designs: list[Design],
    intervals: Callable[[Design, Data], Intervals],
    outside: tuple[Design, ...] = (),
) -> None:
    """Print the coverage and the mean width of every interval at every design."""
    metrics._draws = lambda y, codes, *how: [drawn(y.tobytes(), codes.tobytes(), *how)]
    n = table.n_data_sets
    print(
        f"\n{measure}: coverage (mean width) of 95% intervals, {n:,} data sets each, "
        f"up to {MORE[-1] * n:,} where it is not clearly between 93 and 97 %"
    )
    for design in [*designs, *outside]:
        rows = table.find(measure, design)
        if rows.empty:
            rows = simulated(measure, design, design not in outside, intervals, n)
            table.add(rows)
        for more in MORE:
            if design not in outside and near_a_bound(rows) and rows.data_sets.max() < more * n:
                rows = simulated(measure, design, True, intervals, more * n)
                table.add(rows)
        if design == designs[0]:
            print(f" {'patients':>9}{'malignant':>10}{'AUC':>5}{'corr.':>6}{'mixed':>6}", end="")
            print(*(f"{name:>23}" for name in rows.interval), sep="")
        mark = "*" if design in outside else " "
        setting = f"{design.patients:9}{design.positive:10}{design.auc:5.2f}"
        setting += f"{design.correlation:6.1f}{design.mixed:6.1f}"
        numbers = zip(rows.coverage, rows.mean_width, strict=True)
        print(mark, setting, *(f"{c:14.3f} ({w:6.4f})" for c, w in numbers), sep="", flush=True)
    stated = table.rows[(table.rows.measure == measure) & table.rows.stated]
    for name, values in stated.groupby("interval", sort=False).coverage:
        print(f" {name}: {values.min():.3f} to {values.max():.3f} over the stated designs")
    error = np.sqrt(0.95 * 0.05 / n)
    print(f" Monte Carlo standard error of a coverage: {error:.4f}", flush=True)


def print_times() -> None:
    """Print the CPU seconds of DeLong's interval and test, and of the bootstrap."""
    print("\nCPU seconds")
    for n in (10**4, 10**5, 10**6):
        rng = np.random.default_rng(0)
        y = rng.integers(0, 2, n)
        s1, s2 = (y + rng.standard_normal(n) for _ in range(2))
        start = time.process_time()
        metrics.roc_auc_ci(y, s1)
        middle = time.process_time()
        metrics.delong_test(y, s1, s2)
        end = time.process_time()
        print(f"n = {n:9,}: interval {middle - start:.3f}, paired test {end - middle:.3f}")
    for n in (250, 2500, 25_000):
        y, s, _, groups = simulate(Design(2 * n // 5, n // 10, 0.8, 0.5, 0.3), rng)
        start = time.process_time()
        metrics.roc_auc_ci(y, s, groups=groups, method="bootstrap")
        print(
            f"n = {len(y):9,} in {2 * n // 5:,} patients: bootstrap of 2,000 draws "
            f"{time.process_time() - start:.3f}"
        )


def sections(table: Table) -> Iterator[tuple[str, Callable[[], None]]]:
    """Yield the parts of the report by name."""
    some = [design for design in STATED if design.auc in (0.7, 0.9) and design.mixed == 0.5]
    yield "time", print_times
    yield "auc", lambda: cover(table, "AUC", STATED, auc_intervals, tuple(OUTSIDE))
    yield "single", lambda: cover(table, "AUC, one image a patient", SINGLE, single_intervals)
    yield "difference", lambda: cover(table, "Difference of AUCs", some, difference_intervals)
    yield "summary", lambda: cover(table, "Threshold", some, summary_intervals)
    yield "operating", lambda: cover(table, "Sensitivity", some, operating_intervals)
    random = [design._replace(at_random=True) for design in some]
    yield "calibration", lambda: cover(table, "Calibration", random, calibration_intervals)


def main() -> None:
    """Run everything and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-sets", type=int, default=1000, help="per design")
    parser.add_argument("--only", help="one section: " + ", ".join(dict(sections(Table(0)))))
    parser.add_argument("--store", action="store_true", help="write data/results/coverage.csv")
    arguments = parser.parse_args()
    print_machine()
    warnings.simplefilter("ignore", metrics.IntervalWarning)
    table = Table(arguments.data_sets, STORED if arguments.store else None)
    for name, section in sections(table):
        if arguments.only in (None, name):
            section()


if __name__ == "__main__":
    main()
