"""Scanning a film: window by window, and by the merged network in one pass.

Each scanner and way runs in a process of its own with one TensorFlow thread, from small to
large films. The film is a phantom that is scanned as a whole; its size is the nearest one
that fits the stride. The unpadded scanners look at the paper's 15 x 15 windows, the padded
ones (VGG16, ResNet50) at 5 x 5 of a small film, for they are here for the difference that
their padding makes. Weights are random, which changes neither time nor memory;
``--imagenet`` takes the trained ones of the padded scanners, and needs a network connection
or Keras's files.

- *patches*: each window by itself, 15 at a time.
- *merged*: the whole film once, its last layer strided; films of more than 2**20 pixels in
  bands of rows.
- *one pass*: the same without bands.

CPU seconds (``time.process_time``) are those of one scan after the graph was compiled on a
small image. Memory is the peak of the whole process: libraries, weights and what TensorFlow
keeps of their making included ("start" is the peak before the first scan). "Difference" is
the largest one between *patches* and *merged*, and "relative" the norm of all differences
over the norm of the features: rounding without padding, and the price of the padding with it.

    OMP_NUM_THREADS=1 python benchmarks/scanner.py [--sizes 750 3000] [--imagenet]

With ``--store`` the table goes to ``data/results/scanner.csv``, which chapter 12 shows.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # before NumPy is loaded
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "book" / "_tools"))
from mammocourse import scanner
from provenance import print_machine, write_csv

STORED = Path(__file__).resolve().parents[1] / "data" / "results" / "scanner.csv"
UNPADDED = ("vgg_m", "course")
PADDED = ("vgg16", "resnet50")
PADDED_SIZE = (750, 300)
WAYS = ("patches", "merged", "one_pass")


def measure(
    architecture: str, way: str, sizes: list[tuple[int, int]], imagenet: bool, folder: Path
) -> None:
    """Scan films in one way in this process; write the volumes, print JSON for each film."""
    import keras
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    from mammocourse.phantom import make_mammograms

    keras.utils.set_random_seed(0)
    weights = "imagenet" if imagenet and architecture in PADDED else None
    network = scanner.build_scanner(architecture, weights=weights)
    window = scanner.receptive_field(network).window
    n_patches = 15 if architecture in UNPADDED else 5
    if way == "one_pass":
        scanner.BAND_PIXELS = 2**40
    for height, width in sizes:
        film = make_mammograms(1, prevalence=1.0, seed=0, size=(height, width)).images[0]
        *_, a, b = scanner.grid_size(film.shape, network, n_patches)
        strides = (1, 1) if way == "patches" else (a, b)
        scanner._compiled(network)(np.zeros((1, window, window), np.float32), *strides)
        before, start = peak(), time.process_time()
        volume = scanner.scan_patches(
            film,
            network,
            n_patches,
            method="patches" if way == "patches" else "merged",
            box=(slice(None), slice(None)),
            batch_size=15,
        )
        taken = time.process_time() - start
        np.save(folder / f"{height}-{way}.npy", volume.astype(np.float64))
        about = {"scanner": architecture, "height": height, "width": width}
        found = {f"{way}_start_mib": before, f"{way}_seconds": taken, f"{way}_mib": peak()}
        print(json.dumps(about | {"windows": n_patches**2} | found), flush=True)


def peak() -> float:
    """Return the peak of the memory of this process in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def differences(patches: np.ndarray, merged: np.ndarray, one_pass: np.ndarray) -> dict[str, float]:
    """Compare the volumes of the three ways."""
    return {
        "largest_feature": float(patches.max()),
        "difference": float(abs(patches - merged).max()),
        "relative_difference": float(np.linalg.norm(patches - merged) / np.linalg.norm(patches)),
        "correlation": float(np.corrcoef(patches.ravel(), merged.ravel())[0, 1]),
        "bands_difference": float(abs(merged - one_pass).max()),
    }


def compare(architecture: str) -> list[dict[str, Any]]:
    """Measure a scanner in the three ways, a process for each; print and return its rows."""
    rows: dict[int, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as name:
        for way in WAYS:
            command = [sys.executable, *sys.argv, "--one", architecture, way, name]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            for line in done.stdout.splitlines():
                found = json.loads(line)
                rows.setdefault(found["height"], {}).update(found)
        for height, row in rows.items():
            volumes = {way: np.load(Path(name) / f"{height}-{way}.npy") for way in WAYS}
            row["patches_over_merged"] = row["patches_seconds"] / row["merged_seconds"]
            row.update(differences(**volumes))
            print(", ".join(f"{key} {shown(value)}" for key, value in row.items()), flush=True)
    return list(rows.values())


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument(
        "--sizes",
        type=int,
        nargs="+",
        default=[750, 1500, 3000],
        help="heights for the unpadded scanners, in pixels; widths are two fifths of them",
    )
    parser.add_argument("--imagenet", action="store_true", help="trained padded scanners")
    parser.add_argument("--store", action="store_true", help="write data/results/scanner.csv")
    arguments = parser.parse_args()
    if arguments.one:
        architecture, way, folder = arguments.one
        sizes = [(height, 2 * height // 5) for height in sorted(arguments.sizes)]
        sizes = sizes if architecture in UNPADDED else [PADDED_SIZE]
        measure(architecture, way, sizes, arguments.imagenet, Path(folder))
        return
    print_machine()
    rows = [row for name in UNPADDED + PADDED for row in compare(name)]
    if arguments.store:
        command = ["python", "benchmarks/" + Path(__file__).name, *sys.argv[1:]]
        write_csv(pd.DataFrame(rows).round(7), STORED, " ".join(command))


def shown(value: Any) -> str:
    """Return a value as text."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
