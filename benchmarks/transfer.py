"""An epoch of fine-tuning ``conv5`` and the head: the thesis's pipeline, ours, and the cache.

All three train the same weights of the same network on the same images in batches of 32
with Adam: ResNet50 and the course network, random weights (they do not change the time),
8-bit pictures of smooth random noise.

- *thesis*: its pipeline. A generator reads PNG copies from disk, scales them to [0, 1]
  and repeats them in three channels; the whole network runs in every step, frozen or not.
- *arrays*: the whole network in every step, images in memory.
- *cached*: features of ``cache_trunk`` on disk (float32), read as a memory map; only
  ``conv5`` and the head run. *filling* is the one pass that makes them (about half a second
  of it builds the graph), *opening* a second call that finds and checks them.

CPU seconds (``time.process_time``) are medians of epochs that take turns in this one
process with one TensorFlow thread, after an epoch each that does not count and compiles
the graph. "Pays off" is the number of epochs after which filling the cache has been
earned back. The peak is that of the whole process and grows with the sizes above it.

    OMP_NUM_THREADS=1 python benchmarks/transfer.py [--images N] [--rounds N] [--sizes 64 128]

With ``--store`` the table goes to ``data/results/transfer.csv``, which chapter 9 shows.
"""

from __future__ import annotations

import argparse
import math
import os
import resource
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # before NumPy is loaded
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import cv2
import keras
import numpy as np
import pandas as pd
import tensorflow as tf

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "book" / "_tools"))
from mammocourse.models import build_resnet_classifier, cache_trunk
from provenance import cpu_seconds, print_machine, write_csv

tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)

BATCH = 32
STORED = Path(__file__).resolve().parents[1] / "data" / "results" / "transfer.csv"


def write_images(folder: Path, n: int, size: int) -> np.ndarray:
    """Write n PNG files, and return their images (n, size, size, 1), 8-bit."""
    rng = np.random.default_rng(0)
    images = []
    for number in range(n):
        levels = cv2.GaussianBlur(rng.random((size, size)), (0, 0), 4)
        images.append(cv2.normalize(levels, None, 20, 230, cv2.NORM_MINMAX).astype(np.uint8))
        cv2.imwrite(str(folder / f"{number}.png"), images[-1])
    return np.stack(images)[..., np.newaxis]


class Generator(keras.utils.PyDataset):
    """Read the PNG copies of a batch, as the thesis's image generator does."""

    def __init__(self, folder: Path, labels: np.ndarray) -> None:
        super().__init__()
        self.folder, self.labels = folder, labels

    def __len__(self) -> int:
        return math.ceil(len(self.labels) / BATCH)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        numbers = range(index * BATCH, min((index + 1) * BATCH, len(self.labels)))
        read = [
            keras.utils.img_to_array(keras.utils.load_img(self.folder / f"{number}.png"))
            for number in numbers
        ]
        return np.stack(read) / 255.0, self.labels[list(numbers)]


def compiled(model: keras.Model) -> keras.Model:
    """Compile a model as the course trains it."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-5), loss, jit_compile=False)
    return model


def compare(architecture: str, size: int, n: int, rounds: int, folder: Path) -> dict[str, Any]:
    """Measure, print and return one row: an architecture at one size."""
    pixels, labels = write_images(folder, n, size), np.arange(n) % 2
    images = pixels.astype(np.float32) / 255
    build = {"architecture": architecture, "weights": None}
    model = compiled(build_resnet_classifier((size, size, 1), **build))
    theirs = compiled(build_resnet_classifier((size, size, 3), preprocessing=None, **build))
    cache = folder / "cache"
    filling, _ = cpu_seconds(lambda: cache_trunk(model, images, directory=cache))
    opening, _ = cpu_seconds(lambda: cache_trunk(model, images, directory=cache))
    cached = cache_trunk(model, images, directory=cache)
    head = compiled(cached.head)
    generator = Generator(folder, labels)
    options = {"batch_size": BATCH, "verbose": 0, "shuffle": True}
    ways: dict[str, Callable[[], Any]] = {
        "thesis": lambda: theirs.fit(generator, verbose=0),
        "arrays": lambda: model.fit(images, labels, **options),
        "cached": lambda: head.fit(cached.features, labels, **options),
    }
    taken = [{way: cpu_seconds(run)[0] for way, run in ways.items()} for _ in range(rounds + 1)]
    thesis, arrays, ours = (float(np.median([row[way] for row in taken[1:]])) for way in ways)
    row: dict[str, Any] = {
        "network": architecture,
        "side": size,
        "thesis": thesis,
        "arrays": arrays,
        "cached": ours,
        "filling": filling,
        "opening": opening,
        "thesis_images_per_second": n / thesis,
        "cached_images_per_second": n / ours,
        "thesis_over_cached": thesis / ours,
        "arrays_over_cached": arrays / ours,
        "epochs_to_pay_off": filling / (thesis - ours),
        "cache_mib": cached.features.nbytes / 2**20,
        "cache_over_8_bit": cached.features.nbytes / pixels.nbytes,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10,
    }
    columns = zip(shown(row), WIDTHS, strict=True)
    print("".join(f"{value:>{width}}" for value, width in columns), flush=True)
    return row


WIDTHS = (9, 5, 8, 8, 8, 9, 9, 8, 8, 8, 8, 8, 8, 8, 8)


def shown(row: dict[str, Any]) -> list[str]:
    """Return the values of a row as text."""
    return [f"{value:.2f}" if isinstance(value, float) else str(value) for value in row.values()]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=256, help="images (default 256)")
    parser.add_argument("--rounds", type=int, default=3, help="measured epochs (default 3)")
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 128, 224], help="pixels")
    parser.add_argument("--architectures", nargs="+", default=["course", "resnet50"])
    parser.add_argument("--store", action="store_true", help="write data/results/transfer.csv")
    arguments = parser.parse_args()
    print_machine()
    print(
        f"{arguments.images} images, {arguments.rounds} epochs each after one that does not count"
    )
    print(
        f"{'':14}{'CPU seconds of an epoch':>24}{'of the cache':>18}{'images/s':>16}{'ratios':>16}"
        f"{'pays':>8}{'cache':>8}{'per':>8}{'peak':>8}"
    )
    print(
        f"{'network':9}{'side':>5}{'thesis':>8}{'arrays':>8}{'cached':>8}{'filling':>9}{'opening':>9}"
        f"{'thesis':>8}{'cached':>8}{'th/ca':>8}{'ar/ca':>8}{'off':>8}{'MiB':>8}{'8-bit':>8}"
        f"{'MiB':>8}"
    )
    rows = []
    for architecture in arguments.architectures:
        for size in arguments.sizes:
            with tempfile.TemporaryDirectory() as name:
                how_many = arguments.images, arguments.rounds
                rows.append(compare(architecture, size, *how_many, Path(name)))
            keras.backend.clear_session()
    if arguments.store:
        table = pd.DataFrame(rows).round(4)
        write_csv(
            table, STORED, "python benchmarks/" + " ".join([Path(__file__).name, *sys.argv[1:]])
        )


if __name__ == "__main__":
    main()
