"""Pre-train the course network on the source task and write its weights.

``make pretrain`` writes ``data/course_resnet.npz`` and ``data/course_resnet_shuffled.npz`` (the
control: the same images and steps, but each image has the labels of another one) and prints the
lines for ``SHA256SUMS``. One of them alone:

    python book/_tools/pretrain.py real

After a kill the same command goes on at the last finished epoch. Each file takes about a quarter
of an hour on one core. Another machine gets weights of the same quality, not the same digits.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np

import mammocourse
from mammocourse.phantom_source import SOURCE_CLASSES, SourceCrops, make_source_crops
from mammocourse.resnet import _course_features, _prepared
from provenance import versions

ROOT = Path(__file__).resolve().parents[2]
FILES = {"real": "course_resnet.npz", "shuffled": "course_resnet_shuffled.npz"}
SIZE = 48  # pixels; the network takes any size from 32
BATCH = 32
LEARNING_RATE = 2e-3  # the peak: after a warm-up it falls to 0 along half a cosine
SEEDS = {"training": 0, "held out": 1, "steps": 2}


def source_model(size: int) -> keras.Model:
    """Build the course network with one linear head for each label of the source task.

    It starts where training is quick: kernels of the stem that see no brightness, residual
    branches and heads that are zero.

    Parameters
    ----------
    size : int
        Side of the images in pixels.

    Returns
    -------
    keras.Model
        From images (n, size, size, 1) in [0, 1] to a dictionary of logits.
    """
    images = keras.Input((size, size, 1))
    features = keras.Model(images, _course_features(_prepared(images, "course", "auto")))
    stem = features.get_layer("conv1_conv").kernel
    stem.assign(stem - keras.ops.mean(stem, axis=(0, 1), keepdims=True))
    for layer in features.layers:
        if layer.name.endswith("_3_bn"):
            layer.gamma.assign(keras.ops.zeros_like(layer.gamma))
    pooled = keras.layers.GlobalAveragePooling2D(name="avg_pool")(features.output)
    heads = {
        name: keras.layers.Dense(len(classes), kernel_initializer="zeros", name=name)(pooled)
        for name, classes in SOURCE_CLASSES.items()
    }
    return keras.Model(images, heads)


def augment(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Turn or mirror each image into one of its 8 symmetric copies; vary gain and offset.

    Parameters
    ----------
    images : ndarray of uint8, shape (n, size, size)
        Gray levels.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    ndarray of float32, shape (n, size, size, 1)
        Gray levels from 0 to 1.
    """
    turns, mirrored = rng.integers(4, size=len(images)), rng.random(len(images)) < 0.5
    turned = np.stack(
        [
            np.rot90(image[:, ::-1] if mirror else image, turn)
            for image, turn, mirror in zip(images, turns, mirrored, strict=True)
        ]
    )
    gray = turned.astype(np.float32) / 255
    mean = gray.mean(axis=(1, 2), keepdims=True)
    gain, offset = rng.uniform([[0.7], [-0.15]], [[1.3], [0.15]], (2, len(images)))
    changed = mean + gain[:, None, None] * (gray - mean) + offset[:, None, None]
    return np.clip(changed, 0, 1).astype(np.float32)[..., None]


class Epoch(keras.utils.PyDataset):
    """The batches of one epoch; they depend on its number alone."""

    def __init__(self, crops: SourceCrops, labels: dict[str, np.ndarray], number: int) -> None:
        super().__init__()
        self.crops, self.labels, self.number = crops, labels, number
        order = np.random.default_rng([SEEDS["steps"], number]).permutation(len(crops))
        self.rows = order[: len(order) // BATCH * BATCH].reshape(-1, BATCH)

    def __len__(self) -> int:
        """Return the number of batches."""
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Return one batch of images and labels."""
        rows = self.rows[index]
        rng = np.random.default_rng([SEEDS["steps"], self.number, index])
        return augment(self.crops.images[rows], rng), {k: v[rows] for k, v in self.labels.items()}


def accuracies(model: keras.Model, crops: SourceCrops) -> dict[str, float]:
    """Return the share of right classes for each label."""
    logits = model.predict(crops.images[..., None].astype(np.float32) / 255, verbose=0)
    return {
        name: round(float(np.mean(logits[name].argmax(axis=1) == labels)), 4)
        for name, labels in crops.labels.items()
    }


def checkpoint_path(kind: str, images: int, epochs: int, folder: Path) -> Path:
    """Return where the state of an unfinished training is kept."""
    return folder / f"pretrain_{kind}_{images}_{epochs}.keras"


def train(kind: str, images: int, epochs: int, folder: Path) -> keras.Model:
    """Train on the source task, from the last finished epoch where there is one.

    Parameters
    ----------
    kind : {"real", "shuffled"}
        Whether images keep their labels.
    images, epochs : int
        Size and length of the training.
    folder : Path
        Where the state after each epoch is kept.

    Returns
    -------
    keras.Model
        The trained model with three heads.
    """
    print(f"{kind}: making {images} images", flush=True)
    crops = make_source_crops(images, size=SIZE, seed=SEEDS["training"])
    held_out = make_source_crops(500, size=SIZE, seed=SEEDS["held out"])
    order = np.arange(images)
    if kind == "shuffled":
        order = np.random.default_rng(SEEDS["steps"]).permutation(images)
    labels = {name: values[order] for name, values in crops.labels.items()}
    checkpoint = checkpoint_path(kind, images, epochs, folder)
    done = 0
    if checkpoint.exists():
        model = keras.models.load_model(checkpoint)
        done = int(model.optimizer.iterations) // (images // BATCH)
        print(f"{kind}: going on after epoch {done} with {checkpoint}", flush=True)
    else:
        keras.utils.set_random_seed(SEEDS["steps"])
        model = source_model(SIZE)
        steps = epochs * (images // BATCH)
        rate = keras.optimizers.schedules.CosineDecay(
            LEARNING_RATE / 100,
            steps - steps // 20,
            warmup_target=LEARNING_RATE,
            warmup_steps=steps // 20,
        )
        model.compile(
            keras.optimizers.AdamW(rate),
            {name: keras.losses.SparseCategoricalCrossentropy(from_logits=True) for name in labels},
        )
    for number in range(done, epochs):
        started = time.process_time()
        run = model.fit(Epoch(crops, labels, number), shuffle=False, verbose=0)
        model.save(checkpoint.with_suffix(".new.keras"))
        os.replace(checkpoint.with_suffix(".new.keras"), checkpoint)
        loss, seconds = run.history["loss"][-1], time.process_time() - started
        found = accuracies(model, held_out)
        print(f"{kind} {number + 1}/{epochs}: {loss:.3f} {found} {seconds:.0f} s", flush=True)
    return model


def write(kind: str, images: int, epochs: int, folder: Path, target: Path) -> None:
    """Train, round to float16, measure on held-out images, and write one file."""
    model = train(kind, images, epochs, folder)
    arrays = {weight.path: weight.numpy().astype(np.float16) for weight in model.weights}
    for weight in model.weights:
        weight.assign(arrays[weight.path])
    details: dict[str, Any] = {
        "command": f"python book/_tools/pretrain.py {kind} --images {images} --epochs {epochs}",
        "labels": kind,
        "size": SIZE,
        "batch": BATCH,
        "steps": epochs * (images // BATCH),
        "seeds": SEEDS,
        "accuracy": accuracies(model, make_source_crops(2000, size=SIZE, seed=SEEDS["held out"])),
        "classes": SOURCE_CLASSES,
        "package": mammocourse.__version__,
        "versions": versions(),
    }
    path = target / FILES[kind]
    unfinished = path.with_suffix(".new.npz")
    np.savez_compressed(unfinished, metadata=np.array(json.dumps(details)), **arrays)
    os.replace(unfinished, path)
    checkpoint_path(kind, images, epochs, folder).unlink(missing_ok=True)  # the next run is new
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    print(f"{details['accuracy']}\n{digest}  {FILES[kind]}", flush=True)


def main(arguments: list[str]) -> None:
    """Make the files that the command line names."""
    parser = argparse.ArgumentParser(description="Pre-train the course network.")
    parser.add_argument("kind", nargs="?", choices=[*FILES, "both"], default="both")
    parser.add_argument("--images", type=int, default=16_000)
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--folder", type=Path, default=ROOT / "_build", help="for the checkpoints")
    parser.add_argument("--target", type=Path, default=ROOT / "data", help="for the weights")
    chosen = parser.parse_args(arguments)
    chosen.folder.mkdir(parents=True, exist_ok=True)
    for kind in FILES if chosen.kind == "both" else [chosen.kind]:
        write(kind, chosen.images, chosen.epochs, chosen.folder, chosen.target)


if __name__ == "__main__":
    main(sys.argv[1:])
