"""The pairwise AUC loss, side by side on one thread: time, memory, growth and buffers.

(a) Loss and gradient of P positive against N negative float32 scores, with and without
XLA: the full matrix of pairs under automatic differentiation ("naive"), our
``method="exact"`` and ``"interpolated"``, and LibAUC's logistic pairwise loss (PyTorch,
which has no such setting). CPU seconds, medians after a first run; the most memory above
the start; and the error of the gradient against float64.

(b) The interpolated method up to a million scores, and over score ranges.

(c) A training step of the network of Fig. 5 at batch 32 with our losses: the buffered loss
with 12,000 to a million scores in its buffers against the loss of the batch alone.

LibAUC needs PyTorch and stays out of the course's environment. Make one for it, and name
its Python (it is left out otherwise):

    python -m venv /somewhere/libauc && /somewhere/libauc/bin/pip install libauc
    python benchmarks/auc_loss.py --libauc /somewhere/libauc/bin/python

CPU seconds are those of ``time.process_time``; with one thread, other work on the machine
hardly counts.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # before NumPy is loaded
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import numpy as np
from scipy import stats

SIZES = [(100, 1_000), (1_000, 10_000), (5_000, 50_000)]
METHODS = ["interpolated", "exact", "naive"]  # the one that leaves most memory behind last


def make_scores(positives: int, negatives: int, spread: float = 3.0) -> tuple[Any, Any]:
    """Return shuffled labels and float32 scores, positive ones higher by half a spread."""
    rng = np.random.default_rng(0)
    y = rng.permutation(np.repeat([1, 0], [positives, negatives]))
    return y, (spread * (rng.normal(size=len(y)) + 0.5 * y)).astype(np.float32)


def status(name: str) -> int:
    """Return a line of /proc/self/status in kB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


def measure(run: Callable[[], Any], rounds: int) -> tuple[float, float, Any]:
    """Return CPU seconds (median), peak memory above the start in MB, and the result."""
    Path("/proc/self/clear_refs").write_text("5")  # Linux: forget the peak so far
    before = status("VmRSS")
    run()
    seconds = []
    for _ in range(rounds):
        start = time.process_time()
        result = run()
        seconds.append(time.process_time() - start)
    return float(np.median(seconds)), (status("VmHWM") - before) / 1024, result


def rounds_for(positives: int, negatives: int) -> int:
    """Return how often to measure: few rounds where there are many pairs."""
    return 2 if positives * negatives > 1e8 else 9


def libauc_rows() -> None:
    """Print LibAUC's rows as JSON; runs in LibAUC's own environment."""
    import torch
    from libauc.losses import PairwiseAUCLoss

    torch.set_num_threads(1)
    loss = PairwiseAUCLoss(surr_loss="logistic")
    for positives, negatives in SIZES:
        y, s = make_scores(positives, negatives)
        labels = torch.tensor(y)

        def run(labels: Any = labels, s: Any = s) -> Any:
            scores = torch.tensor(s, requires_grad=True)
            loss(scores, labels).backward()
            return scores.grad.numpy()

        seconds, megabytes, gradient = measure(run, rounds_for(positives, negatives))
        error = error_of(gradient, positives, negatives)
        print(json.dumps([seconds, megabytes, error]), flush=True)


@functools.cache
def exact_gradient(positives: int, negatives: int, spread: float = 3.0) -> Any:
    """Return the gradient for ``make_scores`` in float64, from blocks of the matrix of pairs."""
    y, s = make_scores(positives, negatives, spread)
    a, b = s[y == 1].astype(np.float64), s[y == 0].astype(np.float64)
    exact, at_b = np.zeros(len(s)), np.zeros(len(b))
    slopes = []
    for start in range(0, len(a), 100):
        small = np.exp(-np.abs(d := b - a[start : start + 100, None]))
        slope = np.where(d >= 0, 1, small) / (1 + small)
        slopes.append(-slope.sum(axis=1))
        at_b += slope.sum(axis=0)
    exact[y == 1], exact[y == 0] = np.concatenate(slopes), at_b
    return exact / (positives * negatives)


def error_of(gradient: Any, *made: Any) -> float:
    """Return the relative error of a gradient in the 2-norm, for ``make_scores(*made)``."""
    exact = exact_gradient(*made)
    return float(np.linalg.norm(gradient - exact) / np.linalg.norm(exact))


def gradient_of(method: Any, jit: bool) -> Callable[[Any, Any], Any]:
    """Return a compiled function from labels and scores to the gradient."""
    import tensorflow as tf

    from mammocourse.losses import PairwiseAUCLoss

    def naive(y: Any, s: Any) -> Any:
        order = tf.argsort(y)
        negatives = tf.gather(s, order[:negative_count])
        positives = tf.gather(s, order[negative_count:])
        return tf.reduce_mean(tf.math.softplus(negatives - positives[:, None]))

    negative_count = 0
    loss = naive if method == "naive" else PairwiseAUCLoss(method=method)

    def run(y: Any, s: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(s)
            value = loss(y, s)
        return value, tf.convert_to_tensor(tape.gradient(value, s))

    compiled = tf.function(run, jit_compile=jit)

    def call(y: Any, s: Any) -> Any:
        nonlocal negative_count
        negative_count = int((np.asarray(y) == 0).sum())
        return compiled(y, s)[1].numpy()

    return call


def print_sizes(libauc: str | None) -> None:
    """Print table (a)."""
    import tensorflow as tf

    others: list[Any] = [None] * len(SIZES)
    if libauc:
        done = subprocess.run(
            [libauc, __file__, "--libauc-rows"], capture_output=True, text=True, check=True
        )
        others = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    print("Loss and gradient of P x N pairs: CPU ms (times interpolated), peak MB, gradient error")
    for (positives, negatives), other in zip(SIZES, others, strict=True):
        y, s = make_scores(positives, negatives)
        labels, scores = tf.constant(y), tf.constant(s)
        for jit in (False, True):
            rows = {}
            for method in METHODS:
                run = functools.partial(gradient_of(method, jit), labels, scores)
                seconds, megabytes, gradient = measure(run, rounds_for(positives, negatives))
                rows[method] = (seconds, megabytes, error_of(gradient, positives, negatives))
            if other and not jit:
                rows["LibAUC"] = tuple(other)
            print(f"P = {positives:,}, N = {negatives:,}, {'XLA' if jit else 'no XLA'}")
            for name, (seconds, megabytes, error) in rows.items():
                ratio = seconds / rows["interpolated"][0]
                print(
                    f"  {name:13s}{1e3 * seconds:10.2f} ms {ratio:8.1f} x"
                    f"{megabytes:10.1f} MB   {error:.0e}",
                    flush=True,
                )


def print_growth() -> None:
    """Print table (b)."""
    import tensorflow as tf

    print("Interpolated, one tenth positive: CPU ms, ns per score")
    for jit in (False, True):
        for n in (10_000, 30_000, 100_000, 300_000, 1_000_000):
            y, s = map(tf.constant, make_scores(n // 10, n - n // 10))
            run = functools.partial(gradient_of("interpolated", jit), y, s)
            seconds, megabytes, _ = measure(run, 5)
            print(
                f"  {'XLA' if jit else 'no XLA':7s}n = {n:9,}{1e3 * seconds:9.2f} ms"
                f"{1e9 * seconds / n:8.0f} ns{megabytes:9.1f} MB",
                flush=True,
            )
    print("Interpolated at 5,000 x 50,000 without XLA, by score range: CPU ms, gradient error")
    call = gradient_of("interpolated", False)
    for spread in (1e-3, 1.0, 30.0, 300.0, 3e3):
        y, s = make_scores(5_000, 50_000, spread)
        run = functools.partial(call, tf.constant(y), tf.constant(s))
        seconds, _, gradient = measure(run, 5)
        error = error_of(gradient, 5_000, 50_000, spread)
        print(f"  range {np.ptp(s):10.3g}{1e3 * seconds:9.2f} ms   {error:.0e}", flush=True)


def print_buffers(steps: int) -> None:
    """Print table (c): steps of all losses in turns."""
    import keras
    import tensorflow as tf

    from mammocourse.losses import BufferedPairwiseAUCLoss, PairwiseAUCLoss
    from mammocourse.models import build_mnist_cnn

    def step_with(loss: Any, held: int) -> Callable[[], None]:
        if held:
            y, s = make_scores(held // 2, held - held // 2)
            for part in np.array_split(np.arange(held), held // 2_000):
                loss(y[part], 1 / (1 + np.exp(-s[part])))
        keras.utils.set_random_seed(0)
        model = build_mnist_cnn()
        model.compile("adam", loss)
        rng = np.random.default_rng(0)
        images = rng.random((32, 28, 28, 1), dtype=np.float32)
        labels = np.arange(32) % 2
        model.train_on_batch(images, labels)
        batch = (tf.constant(images), tf.constant(labels))
        return lambda: model.train_function(iter([batch]))

    losses: dict[str, tuple[Any, int]] = {
        "binary cross-entropy": ("sparse_categorical_crossentropy", 0),
        "AUC loss of the batch": (PairwiseAUCLoss(from_logits=False), 0),
    }
    for held in (12_000, 100_000, 1_000_000):
        buffered = BufferedPairwiseAUCLoss(from_logits=False)
        losses[f"all, {held:,} scores"] = (buffered, held)
    for held in (12_000, 100_000, 1_000_000):
        buffered = BufferedPairwiseAUCLoss(held // 2, "fifo", from_logits=False)
        losses[f"fifo, {held:,} scores"] = (buffered, held)
    runs = {name: step_with(*made) for name, made in losses.items()}
    order = np.random.default_rng(0)
    seconds = np.empty((len(runs), steps))
    for step in range(steps):
        for i in order.permutation(len(runs)):
            run = list(runs.values())[i]
            start = time.process_time()
            run()
            seconds[i, step] = time.process_time() - start
    base = np.median(seconds[1])
    print(
        "Training step of the MNIST CNN, batch 32: CPU ms (median), and how much more than with the"
    )
    print(
        "AUC loss of the batch: trimmed mean of the differences in the same turn, 2 standard errors"
    )
    for name, taken in zip(runs, seconds, strict=True):
        more = 100 * (taken - seconds[1]) / base
        error = 200 * stats.mstats.trimmed_stde(more / 100, (0.1, 0.1))
        print(
            f"  {name:28s}{1e3 * np.median(taken):8.2f} ms {stats.trim_mean(more, 0.1):+7.1f} "
            f"+- {error:.1f} %"
        )


def main() -> None:
    """Print the three tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--libauc", help="Python of an environment with LibAUC")
    parser.add_argument("--libauc-rows", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--only", choices=["sizes", "growth", "buffers"], help="one table")
    parser.add_argument("--steps", type=int, default=100, help="training steps of each loss")
    arguments = parser.parse_args()
    if arguments.libauc_rows:
        libauc_rows()
        return

    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "book" / "_tools"))
    import tensorflow as tf

    from provenance import print_machine

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    print_machine()
    tables: dict[str, Callable[[], None]] = {
        "sizes": lambda: print_sizes(arguments.libauc),
        "growth": print_growth,
        "buffers": lambda: print_buffers(arguments.steps),
    }
    for name, print_table in tables.items():
        if arguments.only in (None, name):
            print_table()


if __name__ == "__main__":
    main()
