"""CPU time of training: our NumPy network and Keras's, side by side on one thread.

Both train the network of Fig. 5 (590,754 parameters) with Adam on the 12,665 zeros and
ones of MNIST's training part, batches of 32, float32. An epoch of each is run before
the measured ones: it compiles Keras's graph and touches fresh memory. Then epochs take
turns in this one process; the ratio is that of their median CPU seconds
(``time.process_time``; with one thread each, other work on the machine does not count).

The second table shows how the CPU time of one training step grows with the side of the
image, the number of kernels and the batch, each changed alone: zeros and ones enlarged by
repeating pixels, median of several steps.

    python benchmarks/scratch.py [--epochs N] [--steps N]
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # before NumPy is loaded
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import keras
import numpy as np
import tensorflow as tf

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "book" / "_tools"))
from mammocourse.datasets import load_mnist01
from mammocourse.scratch import (
    Activation,
    Adam,
    Conv2D,
    Dense,
    Flatten,
    Pooling2D,
    Sequential,
    keras_epsilon,
    rescale,
)
from provenance import cpu_seconds, print_machine

tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)


def scratch_network(side: int, kernels: int) -> Sequential:
    """Make the network of Fig. 5 in NumPy, for images of any side and any number of kernels."""
    layers = [Conv2D(kernels, 4), Activation("relu"), Pooling2D("max", 2), Flatten()]
    return Sequential([*layers, Dense(128), Activation("relu"), Dense(2)], (side, side, 1))


def keras_network(side: int, kernels: int) -> keras.Sequential:
    """Make the same in Keras, compiled with Adam."""
    model = keras.Sequential(
        [
            keras.Input((side, side, 1)),
            keras.layers.Conv2D(kernels, 4, activation="relu"),
            keras.layers.MaxPooling2D(2),
            keras.layers.Flatten(),
            keras.layers.Dense(128, activation="relu"),
            keras.layers.Dense(2, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def compare(scratch: Callable[[], Any], theirs: Callable[[], Any], rounds: int) -> np.ndarray:
    """Median CPU seconds (scratch, Keras), in turns, after one round that does not count."""
    times = [(cpu_seconds(scratch)[0], cpu_seconds(theirs)[0]) for _ in range(rounds + 1)]
    return np.median(times[1:], axis=0)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=3, help="measured epochs (default 3)")
    parser.add_argument("--steps", type=int, default=15, help="steps per size (default 15)")
    arguments = parser.parse_args()

    (images, labels), _ = load_mnist01("official")
    x, y = rescale(images[..., np.newaxis]).astype(np.float32), labels.astype(int)
    print_machine()
    print(f"{len(x)} images, {arguments.epochs} epochs each after one that does not count")

    network, model = scratch_network(28, 32), keras_network(28, 32)
    optimizer = Adam(epsilon=keras_epsilon())
    ours, theirs = compare(
        lambda: network.fit(x, y, optimizer, batch_size=32),
        lambda: model.fit(x, y, batch_size=32, verbose=0),
        arguments.epochs,
    )
    print(f"{'':32}{'scratch':>10}{'Keras':>10}{'ratio':>8}")
    print(f"{'CPU seconds of an epoch':32}{ours:>10.2f}{theirs:>10.2f}{ours / theirs:>8.2f}")

    print("CPU milliseconds of a step")
    sizes = [(28, 32, 32), (14, 32, 32), (56, 32, 32), (28, 8, 32), (28, 128, 32)]
    for side, kernels, batch in [*sizes, (28, 32, 8), (28, 32, 128)]:
        scaled = np.repeat(np.repeat(x[:batch], 2, axis=1), 2, axis=2)  # 56 pixels
        inputs = scaled[:, :: 56 // side, :: 56 // side]
        network, model = scratch_network(side, kernels), keras_network(side, kernels)
        optimizer = Adam(epsilon=keras_epsilon())
        ours, theirs = 1000 * compare(
            lambda n=network, x=inputs, a=optimizer: n.train_on_batch(x, y[: len(x)], a),
            lambda m=model, x=inputs: m.train_on_batch(x, y[: len(x)]),
            arguments.steps,
        )
        what = f"side {side}, kernels {kernels}, batch {batch}"
        print(f"{what:32}{ours:>10.1f}{theirs:>10.1f}{ours / theirs:>8.2f}")


if __name__ == "__main__":
    main()
