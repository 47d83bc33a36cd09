"""CPU time of lasso_path and of scikit-learn's SAGA, and the grid of the thesis's Table 4.

First, for each lambda, both solve the lasso on standardized crops of phantom lesions in this
one process, to the same relative duality gap, by default 1e-3. ``lasso_path`` standardizes
the crops itself and starts from zero. SAGA gets them standardized, in float32, and its
numbers of epochs double, each run from zero, until its gap is small enough or a run took
longer than --saga-seconds; then the ratio of its last run is a lower bound. Its gap is taken
to the lower bound that ``lasso_path`` found, the best for SAGA. Times are CPU seconds.
With --at-ratio R, SAGA instead runs once, for R times the time of ``lasso_path`` and a bit
more; if its gap is still above the tolerance then, the ratio is larger than R.

Then the grid of Table 4 on the crops in all four rotations (thesis, section 4.3.2) by
``rotation_orbits``: gap on the full problem, wall-clock time and peak memory so far.

Set OMP_NUM_THREADS=1 to compare one thread with one thread.

    OMP_NUM_THREADS=1 python benchmarks/lasso.py [--crops 300] [--size 64]
    OMP_NUM_THREADS=1 python benchmarks/lasso.py --crops 1000 --size 224 --at-ratio 50
    OMP_NUM_THREADS=1 python benchmarks/lasso.py --crops 1356 --size 224 --only-grid
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import sklearn
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "book" / "_tools"))
from mammocourse.lasso import lasso_path, relative_gap, rotation_orbits
from mammocourse.phantom import make_lesion_crops
from mammocourse.preprocessing import rotate_right_angles
from provenance import print_machine

TABLE_4 = (10.0, 6.0, 4.0, 2.0, 0.5, 0.2, 0.01)


def saga(Z: np.ndarray, y: np.ndarray, lam: float, epochs: int) -> tuple[np.ndarray, float, float]:
    """Coefficients, intercept and CPU seconds of so many epochs of SAGA."""
    old = tuple(map(int, sklearn.__version__.split(".")[:2])) < (1, 8)
    model = LogisticRegression(
        C=1 / lam,
        l1_ratio=1,
        solver="saga",
        tol=0,
        max_iter=epochs,
        random_state=0,
        **({"penalty": "elasticnet"} if old else {}),
    )
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(Z, y)
    return model.coef_[0], float(model.intercept_[0]), time.process_time() - start


def compare(
    X: np.ndarray, y: np.ndarray, lam: float, tol: float, seconds: float, ratio: float | None
) -> None:
    """Print the CPU seconds of both at one lambda."""
    start = time.process_time()
    path = lasso_path(X, y, lam, tol=tol)
    ours = time.process_time() - start
    bound = path.objective_[0] * (1 - path.duality_gap_[0])
    print(
        f"lambda {lam:g}: lasso_path {ours:.2f} CPU s, gap {path.duality_gap_[0]:.1e}, "
        f"objective {path.objective_[0]:.4f}, nonzeros {path.n_nonzero_[0]}",
        flush=True,
    )
    Z = StandardScaler(copy=True).fit_transform(X)
    epochs, used, gap = 25, 0.0, np.inf
    if ratio:
        seconds = ratio * ours
        pilot = min(saga(Z, y, lam, 40)[2] for _ in range(2)) / 40
        epochs = int(0.5 * 1.15 * seconds / pilot)  # doubled below
    while gap > tol and used < seconds:
        epochs *= 2
        coef, intercept, used = saga(Z, y, lam, epochs)
        scores = Z.astype(np.float64) @ coef + intercept
        loss = np.logaddexp(0, (1 - 2 * y) * scores).sum()
        gap = 1 - bound / (loss + lam * np.abs(coef).sum())
        reached = "" if gap <= tol else "more than "
        print(
            f"  SAGA, {epochs} epochs: {used:.1f} CPU s, gap {gap:.1e}, nonzeros "
            f"{np.count_nonzero(coef)}; ratio {reached}{used / ours:.0f}",
            flush=True,
        )


def grid(images: np.ndarray, y: np.ndarray, tol: float, max_time: float) -> None:
    """Print the fits of Table 4's grid on all rotations of the images."""
    start = time.process_time()
    orbits = rotation_orbits(images)
    path = lasso_path(orbits.design, y, TABLE_4, tol=tol, standardize=False, max_time=max_time)
    used = time.process_time() - start
    print(
        f"grid of Table 4 on {4 * len(y)} x {images[0].size}: {used:.1f} CPU s, "
        f"peak memory {peak():.2f} GiB",
        flush=True,
    )
    coef, intercept = orbits.lift(path.coef_, path.intercept_)
    rotated = rotate_right_angles(images).reshape(4 * len(images), -1)
    labels = np.repeat(y, 4)
    print(f"{'lambda':>8}{'gap':>10}{'full gap':>10}{'nonzeros':>10}{'s':>8}{'pseudo-R2':>11}")
    for k, lam in enumerate(TABLE_4):
        full = relative_gap(rotated, labels, coef[k], intercept[k], lam)
        print(
            f"{lam:>8g}{path.duality_gap_[k]:>10.1e}{full:>10.1e}{np.count_nonzero(coef[k]):>10d}"
            f"{path.seconds_[k]:>8.1f}{path.pseudo_r2_[k]:>11.3f}",
            flush=True,
        )
    print(f"peak memory with the check on the full problem {peak():.2f} GiB")


def peak() -> float:
    """Largest memory of this process so far, in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    """Run the comparison and the grid."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--crops", type=int, default=300)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--lambdas", type=float, nargs="+", default=[6.0, 0.5])
    parser.add_argument("--tol", type=float, default=1e-3)
    parser.add_argument("--saga-seconds", type=float, default=20.0)
    parser.add_argument("--at-ratio", type=float, help="run SAGA once, for so many times our time")
    parser.add_argument("--max-time", type=float, default=1800.0, help="of a fit of the grid")
    parser.add_argument("--only-grid", action="store_true")
    options = parser.parse_args()

    phantom = make_lesion_crops(options.crops, size=options.size, seed=0)
    images, y = phantom.images[: options.crops], phantom.labels[: options.crops].astype(int)
    print_machine()
    print(f"{len(images)} crops of {options.size} x {options.size} pixels, {y.sum()} malignant")
    if not options.only_grid:
        X = images.reshape(len(images), -1).astype(np.float32)
        for lam in options.lambdas:
            compare(X, y, lam, options.tol, options.saga_seconds, options.at_ratio)
    grid(images, y, options.tol, options.max_time)


if __name__ == "__main__":
    main()
