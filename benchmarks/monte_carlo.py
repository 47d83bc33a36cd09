"""The Monte Carlo of the thesis: time, agreement, memory and cost as it grows.

Prints, from one run: CPU seconds of one replication at n = 80,000 (the fit of
``monte_carlo``, its standard errors included, against scikit-learn's L-BFGS at a tight
tolerance and its SAGA as the thesis's code ran it, on the same standardized
images) with the largest difference of a coefficient in standard errors; seconds and peak
memory as n, p and the number of replications grow; and two jobs against one.

SAGA takes more than a minute: ``--saga-epochs N`` stops it after N epochs (0 leaves it out).
CPU seconds are those of this process. Set OMP_NUM_THREADS=1 to compare one thread with one.

    OMP_NUM_THREADS=1 python benchmarks/monte_carlo.py [--saga-epochs N] [--quick]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "book" / "_tools"))
from mammocourse.simulation import MonteCarlo, monte_carlo, replicate, thesis_beta
from provenance import cpu_seconds, print_machine

THESIS_N = 80_000
REPEATS = 3


def print_fits(n: int, saga_epochs: int | None) -> None:
    """Time the estimators on the same replications and compare what they find."""
    beta = thesis_beta()
    ours, whole = [], []
    for seed in range(REPEATS):
        seconds, run = cpu_seconds(lambda s=seed: monte_carlo(beta, n=n, n_replications=1, seed=s))
        drawing, _ = cpu_seconds(lambda s=seed: draw(beta, n, s))
        ours.append(seconds - drawing)
        whole.append(seconds)
        if seed == 0:
            first = run
    X, y = replicate(beta, n=n, seed=0, index=0)
    X64 = X.astype(np.float64)
    rows = [("monte_carlo, the fit", float(np.median(ours)), first.estimates[0], None)]
    for name, data, options in (
        ("lbfgs, tol 1e-7, float32", X, {"tol": 1e-7}),
        ("lbfgs, tol 1e-7, float64", X64, {"tol": 1e-7}),
        ("lbfgs, tol 1e-10, float64", X64, {"tol": 1e-10}),
        ("SAGA, tol 1e-4, float64", X64, {"solver": "saga", "max_iter": saga_epochs or 10_000}),
    ):
        if "saga" in options.values() and saga_epochs == 0:
            continue
        model = LogisticRegression(
            C=np.inf, fit_intercept=False, random_state=0, **{"max_iter": 10_000, **options}
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            seconds, model = cpu_seconds(lambda m=model, X=data: m.fit(X, y))
        rows.append((name, seconds, model.coef_[0], int(model.n_iter_[0])))

    print(f"\nOne replication, n = {n:,}, p = {len(beta)}")
    print(f"{'':28}{'CPU s':>8}{'ratio':>8}{'iterations':>12}{'largest difference, s.e.':>26}")
    for name, seconds, coef, iterations in rows:
        difference = np.max(np.abs(coef - first.estimates[0]) / first.standard_errors[0])
        print(
            f"{name:28}{seconds:8.2f}{seconds / rows[0][1]:8.1f}"
            f"{'' if iterations is None else iterations:>12}{difference:26.1e}"
        )
    print(
        f"monte_carlo: median of {REPEATS} replications, standard errors included; with the "
        f"drawing of images and outcomes {np.median(whole):.2f} s"
    )
    if saga_epochs:
        print(f"SAGA was stopped after at most {saga_epochs} epochs.")


def draw(beta: np.ndarray, n: int, seed: int) -> None:
    """Draw what ``monte_carlo`` draws, and no more."""
    from mammocourse.simulation import _Task

    _Task(beta, n, seed, "uniform").draw(0)


MEASURED = """
import sys, time, tracemalloc
from pathlib import Path
import numpy as np
from mammocourse.simulation import monte_carlo
n, p, replications = map(int, sys.argv[1:])
beta = np.random.default_rng(0).standard_normal(p) * 4 / np.sqrt(p)
start = time.process_time()
monte_carlo(beta, n=n, n_replications=replications, seed=0)
seconds = time.process_time() - start
status = Path("/proc/self/status")  # Linux; getrusage would count the parent's memory
lines = status.read_text().splitlines() if status.exists() else []
process = sum(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
tracemalloc.start()
monte_carlo(beta, n=n, n_replications=replications, seed=0)
print(seconds, tracemalloc.get_traced_memory()[1] / 2**20, process)
"""


def print_growth(quick: bool) -> None:
    """Print CPU seconds and memory as each size grows, each in a process of its own."""
    n, p = (40_000, 98) if quick else (40_000, 392)
    sizes = {
        "n": [(k * n // 4, p, 2) for k in (1, 2, 4, 8)],
        "p": [(n, k * p // 4, 2) for k in (1, 2, 4, 8)],
        "replications": [(n, p, k) for k in (1, 2, 4, 8)],
    }
    print("\nCost as the simulation grows (signal strength 4); peak memory in MiB")
    header = ("n", "p", "replications", "CPU s", "pixels", "arrays", "process")
    print("{:>10}{:>6}{:>14}{:>8}{:>9}{:>9}{:>9}".format(*header))
    for name, rows in sizes.items():
        print(f"{name} grows:")
        for row in rows:
            command = [sys.executable, "-c", MEASURED, *map(str, row)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            seconds, arrays, process = map(float, done.stdout.split())
            print(
                f"{row[0]:>10,}{row[1]:>6}{row[2]:>14}{seconds:>8.2f}"
                f"{row[0] * row[1] / 2**20:>9.0f}{arrays:>9.0f}{process:>9.0f}"
            )


def print_jobs(n: int, n_replications: int) -> None:
    """Print the wall time of one job and of two, and whether they agree."""
    beta = thesis_beta()
    monte_carlo(beta[:2], n=100, n_replications=8, seed=0, n_jobs=2)  # starts the processes
    results: list[MonteCarlo] = []
    seconds = []
    for n_jobs in (1, 2):
        start = time.perf_counter()
        results.append(monte_carlo(beta, n=n, n_replications=n_replications, seed=0, n_jobs=n_jobs))
        seconds.append(time.perf_counter() - start)
    print(f"\n{n_replications} replications, n = {n:,}, p = {len(beta)}, wall seconds")
    print(
        f"one job {seconds[0]:.1f}, two jobs {seconds[1]:.1f}: {seconds[0] / seconds[1]:.2f} times"
    )
    print(
        "largest difference of an estimate:",
        np.max(np.abs(results[0].estimates - results[1].estimates)),
    )
    result = results[0]
    print(
        f"MMAD {result.mmad:.4f} (s.e. {result.smad / np.sqrt(n_replications):.4f}), SMAD "
        f"{result.smad:.4f}, slope {result.slope.mean():.3f}, coverage of 95 % Wald intervals "
        f"{result.coverage().mean():.3f}"
    )


def main() -> None:
    """Run everything and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--saga-epochs", type=int, help="stop SAGA after N epochs; 0: no SAGA")
    parser.add_argument("--quick", action="store_true", help="smaller sizes, no SAGA")
    arguments = parser.parse_args()
    quick = arguments.quick
    print_machine()
    n = 20_000 if quick else THESIS_N
    print_fits(n, 0 if quick else arguments.saga_epochs)
    print_growth(quick)
    print_jobs(n, 4 if quick else 10)


if __name__ == "__main__":
    main()
