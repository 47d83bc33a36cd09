"""Throughput of the preprocessing: the thesis's way, an OpenCV loop over files, and ours.

All three turn the same crops into the thesis's training images: contrast by CLAHE,
224 x 224 pixels, rotated by 0, 90, 180 and 270 degrees. The last two also make of
them what a network takes: batches of 32, float32 in [0, 1], three channels. The
crops are smooth random noise in the sizes of CBIS-DDSM's mass crops, 8-bit JPEG as
in its Kaggle copy.

- *thesis*: its way in our own words. Pillow copies each crop pixel by pixel and saves
  four rotated PNG files; each of them is read again, enhanced, resized and saved.
- *loop*: one OpenCV loop, the same calls as ours in the same order, one core.
- *pipeline*: an epoch of ``make_dataset(..., augment="rotations")`` in a new cache
  ("filling"), without a cache ("uncached") and with a filled one ("cached"), all cores.
- *epoch*: the same without rotations, one image a crop.

Wall and CPU seconds are medians of several rounds in this one process; within a
round the ways take turns. OpenCV's own threads are off, so that the loop is one core.
CPU/wall of the pipeline says how many cores it kept busy (other work on the machine
lowers it).

    OMP_NUM_THREADS=1 python benchmarks/preprocessing.py [--images N] [--rounds N]
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
import cv2
import numpy as np
import pandas as pd
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "book" / "_tools"))
from mammocourse.preprocessing import make_dataset
from provenance import print_machine

SIZE = (224, 224)
BATCH = 32
TURNS = (Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_180, Image.Transpose.ROTATE_270)


def write_crops(folder: Path, n: int) -> pd.DataFrame:
    """Write n random crops, median side about 320 pixels, and return their frame."""
    rng = np.random.default_rng(0)
    paths = []
    for number in range(n):
        shape = np.exp(rng.normal(np.log(320), 0.45, size=2)).clip(60, 900).astype(int)
        levels = cv2.GaussianBlur(rng.random(tuple(shape)), (0, 0), 4)
        crop = cv2.normalize(levels, None, 20, 230, cv2.NORM_MINMAX).astype(np.uint8)
        paths.append(str(folder / f"{number}.jpg"))
        cv2.imwrite(paths[-1], crop)
    return pd.DataFrame({"image_path": paths, "label": np.arange(n) % 2})


def thesis_way(frame: pd.DataFrame, folder: Path) -> int:
    """Pixel by pixel with Pillow, four PNG copies, each enhanced and resized from its file."""
    done = 0
    for number, path in enumerate(frame["image_path"]):
        stored = Image.open(path).convert("L")
        copy = Image.new("L", stored.size)
        for x in range(stored.width):
            for y in range(stored.height):
                copy.putpixel((x, y), stored.getpixel((x, y)))
        for turn, image in enumerate([copy, *(copy.transpose(turn) for turn in TURNS)]):
            image.save(folder / f"{number}-{turn}.png")
    for file in sorted(folder.glob("*.png")):
        image = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)
        grid = (math.ceil(image.shape[0] / 80), math.ceil(image.shape[1] / 80))
        image = cv2.createCLAHE(clipLimit=2.0, tileGridSize=grid).apply(image)
        done += cv2.imwrite(str(file), cv2.resize(image, SIZE, cv2.INTER_AREA))
    return done


def opencv_loop(frame: pd.DataFrame) -> int:
    """Read, enhance, resize, rotate and batch one file after the other."""
    clahe = cv2.createCLAHE(clipLimit=2.0, tileGridSize=(8, 8))
    done = 0
    for start in range(0, len(frame), BATCH // 4):
        images = []
        for path in frame["image_path"][start : start + BATCH // 4]:
            image = clahe.apply(cv2.imread(path, cv2.IMREAD_UNCHANGED))
            image = cv2.resize(image, SIZE, interpolation=cv2.INTER_AREA)
            image = cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)
            images += [np.rot90(image, turn) for turn in range(4)]
        done += len(np.stack(images).astype(np.float32) / np.float32(255))
    return done


def pipeline(
    frame: pd.DataFrame, cache: Path | None, augment: Literal["rotations"] | None = "rotations"
) -> int:
    """Run one epoch of the input pipeline."""
    dataset = make_dataset(
        frame, image_size=SIZE, batch_size=BATCH, augment=augment, cache_dir=cache
    )
    return sum(len(labels) for _, labels in dataset)


def seconds(run: Callable[[], int], expected: int) -> tuple[float, float]:
    """Return the wall and CPU seconds of ``run()``, which has to make all images."""
    wall, cpu = time.perf_counter(), time.process_time()
    made = run()
    assert made == expected, f"{made} images, expected {expected}"
    return time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    """Run all ways in turn and print seconds per crop and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=400, help="crops (default 400)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds (default 3)")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    slow = max(1, arguments.images // 20)  # the thesis's way, on a twentieth of the crops
    taken: dict[str, list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as name:
        frame = write_crops(Path(name), arguments.images)
        pipeline(frame[:8], None)  # the first call loads TensorFlow
        for number in range(arguments.rounds):
            copies, cache = Path(name) / f"copies-{number}", Path(name) / f"cache-{number}"
            copies.mkdir()
            ways: dict[str, tuple[Callable[..., int], pd.DataFrame, tuple]] = {
                "thesis": (thesis_way, frame[:slow], (copies,)),
                "loop": (opencv_loop, frame, ()),
                "pipeline, uncached": (pipeline, frame, (None,)),
                "pipeline, filling": (pipeline, frame, (cache,)),
                "pipeline, cached": (pipeline, frame, (cache,)),
                "epoch, uncached": (pipeline, frame, (None, None)),
                "epoch, cached": (pipeline, frame, (cache, None)),
            }
            for way, (run, part, rest) in ways.items():
                images = len(part) * (1 if way.startswith("epoch") else 4)
                pair = seconds(lambda run=run, part=part, rest=rest: run(part, *rest), images)
                taken.setdefault(way, []).append((pair[0] / len(part), pair[1] / len(part)))

    print_machine()
    print(f"{arguments.images} crops, {arguments.rounds} rounds; milliseconds per crop")
    median = {way: np.median(pairs, axis=0) for way, pairs in taken.items()}
    print(f"{'':22}{'wall':>9}{'CPU':>9}{'CPU/wall':>10}")
    for way, (wall, cpu) in median.items():
        print(f"{way:22}{1000 * wall:>9.2f}{1000 * cpu:>9.2f}{cpu / wall:>10.2f}")
    print(f"{'ratios':42}{'wall':>7}{'CPU':>9}")
    for slower, faster in (
        ("thesis", "pipeline, uncached"),
        ("thesis", "loop"),
        ("loop", "pipeline, uncached"),
        ("pipeline, uncached", "pipeline, cached"),
        ("loop", "pipeline, cached"),
        ("epoch, uncached", "epoch, cached"),
    ):
        wall, cpu = median[slower] / median[faster]
        print(f"{slower + ' / ' + faster:42}{wall:>7.1f}{cpu:>9.1f}")


if __name__ == "__main__":
    main()
