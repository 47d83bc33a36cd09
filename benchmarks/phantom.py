"""Speed and calibration of the phantom.

Prints milliseconds per crop (CPU time of this process, median of five runs, everything
included) at 96 and 224 pixels and per film; the exponent and level of the power spectrum, of the
real CBIS-DDSM crops that are bundled too, and, where
MAMMOCOURSE_TEST_DATA names the folder of test data, that of real crops; and the AUC, with its
standard error clustered by patient, of what may predict the label and of what must not.
Set OMP_NUM_THREADS=1 to measure one thread.

    OMP_NUM_THREADS=1 python benchmarks/phantom.py [--patients N]
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "book" / "_tools"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from PIL import Image

import test_phantom as calibration
from mammocourse.phantom import Phantom, ceiling_auc, make_lesion_crops, make_mammograms
from mammocourse.resources import data_path
from provenance import print_machine

REPEATS = 5


def milliseconds(make: Callable[[], Phantom]) -> tuple[float, int]:
    """Median CPU time per image over the repeats, and the number of images."""
    times = []
    for _ in range(REPEATS):
        start = time.process_time()
        number = len(make())
        times.append((time.process_time() - start) / number * 1000)
    return float(np.median(times)), number


def print_speed() -> None:
    """Print the time per crop and per film."""
    make_lesion_crops(1, size=32, seed=0)  # loads OpenCV and SciPy
    for size in (96, 224):
        value, number = milliseconds(lambda size=size: make_lesion_crops(20, size=size, seed=0))
        print(f"crop of {size} px: {value:.1f} ms (median of {REPEATS} runs of {number} crops)")
    value, number = milliseconds(lambda: make_mammograms(6, prevalence=0.5, seed=0))
    print(f"film of 384 x 256 px: {value:.1f} ms ({number} films)")


def print_slopes() -> None:
    """Print exponent and level of the power spectrum of phantom and real crops."""
    groups = {
        "phantom, 96 px": make_lesion_crops(60, size=96, seed=1).images,
        "phantom, 224 px": make_lesion_crops(30, size=224, seed=1).images,
    }
    bundled = sorted(data_path("films").glob("*_[12].webp"))
    groups["CBIS-DDSM, 10 bundled crops"] = [
        np.asarray(Image.open(path).convert("L")) for path in bundled
    ]
    folder = os.environ.get("MAMMOCOURSE_TEST_DATA")
    if folder:
        paths = sorted((Path(folder) / "mini-mias-crops").glob("*.png"))
        real = [np.asarray(Image.open(path)) for path in paths]
        groups["mini-MIAS, 60 px and more"] = [image for image in real if min(image.shape) >= 60]
    for name, images in groups.items():
        slopes = [calibration.spectrum_slope(image) for image in images]
        power = np.exp(np.mean([np.log(calibration.power_at(image)) for image in images]))
        spread = np.median([image.std() for image in images])
        print(
            f"spectrum 1/f**b, {name}: b {np.mean(slopes):.2f}, "
            f"deviation {np.std(slopes):.2f}, {len(slopes)} crops; power at 0.1 cycles per pixel "
            f"{power:.0f}; median deviation of gray levels {spread:.0f}"
        )


def print_aucs(n_patients: int) -> None:
    """Print what predicts the label and what does not."""
    train, test = (calibration.crops(seed=seed, n_patients=n_patients) for seed in (11, 12))
    print(f"AUC (standard error by patient), {len(test)} crops; ceiling {ceiling_auc():.3f}")
    rows = {
        name: calibration.clustered_auc(test.labels, quantity(test), test.groups)
        for name, quantity in calibration.QUANTITIES.items()
    }
    rows["shape and margins"] = calibration.auc_of_words(train.metadata, test.metadata)
    rows["pixels, logistic ridge"] = calibration.auc_of_pixels(train, test)
    for name, (auc, error) in rows.items():
        print(f"  {name:24}{auc:.3f} ({error:.3f})")


def main() -> None:
    """Print everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patients", type=int, default=1300, help="patients of a sample for AUC")
    patients = parser.parse_args().patients
    print_machine()
    print_speed()
    print_slopes()
    print_aucs(patients)


if __name__ == "__main__":
    main()
