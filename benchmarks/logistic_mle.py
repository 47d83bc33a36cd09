"""CPU time of LogisticMLE() and of the thesis's SAGA on the MNIST zeros and ones.

Both fit the 12,665 images of the official training part in this one process:
``LogisticMLE()`` with its diagnostics of separation, and scikit-learn's SAGA as
the thesis's code ran it (standardized pixels, no penalty, tol 1e-4, seed 0),
which takes about 2,500 epochs. Times are CPU seconds of this process
(``time.process_time``), with the standardization of the pixels in both: the median
of five fits for ours, whose first also touches fresh memory, and one fit of SAGA.
Set OMP_NUM_THREADS=1 to compare one thread with one thread.

    OMP_NUM_THREADS=1 python benchmarks/logistic_mle.py [--epochs N]
"""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "book" / "_tools"))
from mammocourse.datasets import load_mnist01
from mammocourse.logistic import LogisticMLE
from provenance import cpu_seconds, print_machine

REPEATS = 5


def log_likelihood(model: Any, X: np.ndarray, y: np.ndarray) -> float:
    """Log-likelihood of ``model`` from its log-odds, the same way for every model."""
    return -float(np.sum(np.logaddexp(0.0, -(2.0 * y - 1.0) * model.decision_function(X))))


def main() -> None:
    """Run both fits and print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, help="stop SAGA after this many epochs")
    epochs = parser.parse_args().epochs

    (images, labels), _ = load_mnist01("official")
    X, y = images.reshape(len(images), -1).astype(np.float64), labels.astype(int)
    print_machine()
    print("X", X.shape)

    course = LogisticMLE(on_separation="ignore")
    runs = [cpu_seconds(lambda: course.fit(X, y)) for _ in range(REPEATS)]
    ours, ours_seconds = runs[0][1], float(np.median([seconds for seconds, _ in runs]))
    saga = LogisticRegression(
        C=np.inf, solver="saga", tol=1e-4, random_state=0, max_iter=epochs or 10_000
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore" if epochs else "default", ConvergenceWarning)
        pipeline = make_pipeline(StandardScaler(), saga)
        saga_seconds, thesis = cpu_seconds(lambda: pipeline.fit(X, y))

    print(f"{'':24}{'CPU s':>10}{'iterations':>12}{'log-likelihood':>16}")
    for name, model, seconds, iterations in (
        ("LogisticMLE()", ours, ours_seconds, ours.n_iter_),
        ("scikit-learn SAGA", thesis, saga_seconds, saga.n_iter_[0]),
    ):
        print(f"{name:24}{seconds:>10.2f}{iterations:>12d}{log_likelihood(model, X, y):>16.4f}")
    print(f"LogisticMLE(): median of {', '.join(f'{seconds:.2f}' for seconds, _ in runs)} s")
    print(f"separated: {ours.separated_}; the supremum of the log-likelihood is then 0")
    print(f"ratio of CPU seconds: {saga_seconds / ours_seconds:.1f}")
    if epochs:
        print(
            f"SAGA was limited to {epochs} epochs: the ratio is not that of the thesis's whole run."
        )


if __name__ == "__main__":
    main()
