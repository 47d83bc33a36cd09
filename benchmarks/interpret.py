"""Looking inside a network, side by side on one thread: CPU time and memory.

(a) Images for the 32 kernels of the network of Fig. 5, gradient ascent with the thesis's
settings (0.1, 200 steps): all in one batch (``maximize_filters``) against one filter at a
time, a gradient tape per step, as section 3.10 describes it, from the same starts. The
loop is given the network cut at the layer, so that it computes no dense layer; the images
must be equal.

(b) Grad-CAM of 256 images: in batches of 32, in a loop of single images, and by
tf-keras-vis where it is installed. CPU seconds, medians of rounds in turns after one
that does not count; then the most memory above the start, in a fresh process each, after
one image that loads what is loaded once. The maps of tf-keras-vis differ because it
enlarges and normalizes them otherwise: a test compares them before that.

The network is trained for one epoch on MNIST's zeros and ones. CPU seconds are those of
``time.process_time``; with one thread, other work on the machine does not count.

    python benchmarks/interpret.py [--rounds N]
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # before NumPy is loaded
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import keras
import numpy as np
import tensorflow as tf

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "book" / "_tools"))
from mammocourse.datasets import load_mnist01
from mammocourse.interpret import GradCAM, maximize_filters
from mammocourse.models import build_mnist_cnn
from mammocourse.scratch import rescale
from provenance import cpu_seconds, print_machine

tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)
warnings.simplefilter("ignore")  # all-zero maps are no subject here

LAYER = "conv"


def one_filter_at_a_time(model: keras.Model, starts: np.ndarray) -> np.ndarray:
    """Climb as the thesis does: for each filter 200 steps of 0.1 in a loop."""
    part = keras.Model(model.inputs, model.get_layer(LAYER).output)
    images = []
    for k, start in enumerate(starts):
        image = tf.constant(start[np.newaxis])
        for _ in range(200):
            with tf.GradientTape() as tape:
                tape.watch(image)
                objective = tf.reduce_mean(part(image, training=False)[..., k])
            image = image + 0.1 * tape.gradient(objective, image)
        images.append(image[0].numpy())
    return np.stack(images)


def tf_keras_vis(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """Return the Grad-CAM of tf-keras-vis for the predicted classes, in one batch.

    Its own way to the logits (``ReplaceToLinear``) fails on a ``Sequential`` of Keras 3, so
    it is given a functional model without the softmax.
    """
    from tf_keras_vis.gradcam import Gradcam
    from tf_keras_vis.utils.scores import CategoricalScore

    twin = keras.models.clone_model(model)
    twin.set_weights(model.get_weights())
    twin.layers[-1].activation = keras.activations.linear
    logits = keras.Model(twin.inputs, twin.outputs)
    classes = logits(images, training=False).numpy().argmax(axis=1).tolist()
    return Gradcam(logits, clone=False)(CategoricalScore(classes), images, penultimate_layer=LAYER)


def ways_to_explain(model: keras.Model) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """Return the ways of computing Grad-CAM that are compared."""
    explain = GradCAM(model, LAYER)
    ways = {
        "batches of 32": explain,
        "all in one batch": lambda images: explain(images, batch_size=len(images)),
        "one image at a time": lambda images: np.concatenate([explain(x[None]) for x in images]),
    }
    if importlib.util.find_spec("tf_keras_vis"):
        ways["tf-keras-vis"] = lambda images: tf_keras_vis(model, images)
    return ways


def test_images(n: int) -> np.ndarray:
    """Return the first images of the test part, in [0, 1]."""
    return rescale(load_mnist01("official")[1][0][:n, ..., np.newaxis]).astype(np.float32)


def trained_network() -> keras.Model:
    """Return the network of Fig. 5 with its convolution named, trained for one epoch."""
    keras.utils.set_random_seed(0)
    model = build_mnist_cnn()
    model.layers[0].name = LAYER
    (images, labels), _ = load_mnist01("official")
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(rescale(images[..., np.newaxis]), labels, batch_size=32, epochs=1, verbose=0)
    return model


def peak_memory(way: str, saved: str) -> float:
    """Return how many MB 256 images need above one image, in a process of its own."""
    command = [sys.executable, __file__, "--memory", way, saved]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def print_memory(way: str, saved: str) -> None:
    """Print the rise of the process's resident memory in MB (Linux: its peak can be reset)."""

    def kilobytes(name: str) -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(name))

    explain, images = ways_to_explain(keras.models.load_model(saved))[way], test_images(256)
    explain(images[:1])
    Path("/proc/self/clear_refs").write_text("5")
    before = kilobytes("VmRSS")
    explain(images)
    print((kilobytes("VmHWM") - before) / 1024)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="measured rounds (default 3)")
    parser.add_argument("--memory", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory:
        print_memory(*arguments.memory)
        return

    print_machine()
    model = trained_network()

    starts = maximize_filters(model, LAYER, steps=0, seed=0)
    seconds = []
    for _ in range(arguments.rounds):
        ours, together = cpu_seconds(lambda: maximize_filters(model, LAYER, seed=0))
        loop, alone = cpu_seconds(lambda: one_filter_at_a_time(model, starts))
        seconds.append((ours, loop))
    ours, loop = np.median(seconds, axis=0)
    print("images for 32 filters, 200 steps: CPU seconds")
    print(f"{'one batch':24}{ours:>10.2f}")
    print(f"{'one filter at a time':24}{loop:>10.2f}{loop / ours:>8.1f} times")
    print(f"largest difference of a pixel: {np.abs(together - alone).max():.1e}")

    images, ways = test_images(256), ways_to_explain(model)
    rounds = [
        [cpu_seconds(lambda w=way: w(images))[0] for way in ways.values()]
        for _ in range(arguments.rounds + 1)
    ]
    medians = np.median(rounds[1:], axis=0)
    print(f"Grad-CAM of 256 images{'CPU seconds':>14}{'ratio':>8}{'MB':>8}{'difference':>12}")
    reference = ways["batches of 32"](images)
    with tempfile.TemporaryDirectory() as folder:
        saved = f"{folder}/model.keras"
        model.save(saved)
        for (way, explain), time_ in zip(ways.items(), medians, strict=True):
            memory = peak_memory(way, saved)
            apart = np.abs(explain(images) - reference).max()
            print(f"{way:24}{time_:>12.3f}{time_ / medians[0]:>8.1f}{memory:>8.1f}{apart:>12.1e}")


if __name__ == "__main__":
    main()
