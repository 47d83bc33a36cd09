"""Tiny data sets on disk, made by hand with Pillow and pydicom: the readers' oracle."""

from __future__ import annotations

import csv
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

CSV_HEADER = {
    "mass": [
        *("patient_id", "breast_density", "left or right breast", "image view", "abnormality id"),
        *("abnormality type", "mass shape", "mass margins", "assessment", "pathology"),
        *("subtlety", "image file path", "cropped image file path", "ROI mask file path"),
    ],
    "calc": [
        *("patient_id", "breast density", "left or right breast", "image view", "abnormality id"),
        *("abnormality type", "calc type", "calc distribution", "assessment", "pathology"),
        *("subtlety", "image file path", "cropped image file path", "ROI mask file path"),
    ],
}
FULL, CROP = (200, 160), (48, 40)


@dataclass(frozen=True)
class Lesion:
    """One row of a table, and what is odd about its files."""

    patient: str = "P_00001"
    side: str = "LEFT"
    view: str = "CC"
    number: int = 1
    pathology: str = "MALIGNANT"
    split: str = "train"
    kind: str = "mass"
    shape: str = "IRREGULAR"
    margins: str = "SPICULATED"
    shared: bool = True  # crop and mask in one series
    swapped: bool = False  # the table's crop path leads to the mask
    misdescribed: bool = False  # the descriptions are exchanged
    described: str = ""  # the description of crop and mask alike
    undescribed: tuple[str, ...] = ()
    mask_offset: int = 0  # the mask has so many rows more than the film

    @property
    def film(self) -> str:
        split = {"train": "Training", "test": "Test"}[self.split]
        return f"{self.kind.title()}-{split}_{self.patient}_{self.side}_{self.view}"

    def folder(self, part: str) -> str:
        return self.film if part == "full" else f"{self.film}_{self.number}"

    def uid(self, part: str) -> str:
        name = self.film if part == "full" else f"{self.folder(part)}-{part}"
        if part == "mask" and self.shared:
            name = f"{self.folder(part)}-crop"
        return f"1.3.6.1.4.1.9590.100.1.2.{zlib.crc32(name.encode())}"

    def name(self, part: str) -> str:
        number = {"full": 0, "crop": 0, "mask": 1 if self.shared else 0}[part]
        return f"{number:06d}.dcm"

    def table_path(self, part: str) -> str:
        if self.swapped:
            part = {"crop": "mask", "mask": "crop"}.get(part, part)
        return f"{self.folder(part)}/1.3.6.1.5.{self.uid(part)}/{self.uid(part)}/{self.name(part)}"

    def description(self, part: str) -> str:
        if part in self.undescribed:
            return ""
        if self.misdescribed:
            part = {"crop": "mask", "mask": "crop"}.get(part, part)
        if self.described and part != "full":
            return self.described
        words = {"full": "full mammogram images", "crop": "cropped images"}
        return words.get(part, "ROI mask images")

    def pixels(self, part: str) -> np.ndarray:
        rng = np.random.default_rng(zlib.crc32(f"{self.film}{self.number}{part}".encode()))
        if part == "mask":
            mask = np.zeros((FULL[0] + self.mask_offset, FULL[1]), np.uint8)
            mask[60:90, 50:80] = 255
            return mask
        if part == "full":
            rng = np.random.default_rng(zlib.crc32(self.film.encode()))
        return rng.integers(300, 60_000, FULL if part == "full" else CROP).astype(np.uint16)

    def record(self) -> list[str]:
        path = [self.table_path(part) for part in ("full", "crop", "mask")]
        kind = {"mass": "mass", "calc": "calcification"}[self.kind]
        return [
            *(self.patient, "3", self.side, self.view, str(self.number), kind),
            *(self.shape, self.margins, "4", self.pathology, "5"),
            *(path[0], path[1], path[2] + "\n"),
        ]


LESIONS = (
    Lesion(),
    Lesion(view="MLO", shared=False),
    Lesion("P_00002", "RIGHT", pathology="BENIGN"),
    Lesion("P_00002", "RIGHT", number=2, pathology="BENIGN_WITHOUT_CALLBACK", shape="N/A"),
    Lesion("P_00003", "LEFT", "MLO", pathology="BENIGN", split="test"),
)


def write_tables(folder: Path, lesions: tuple[Lesion, ...] = LESIONS, separator: str = ",") -> Path:
    """Write the official tables of the lesions' kinds."""
    folder.mkdir(parents=True, exist_ok=True)
    for kind in {lesion.kind for lesion in lesions}:
        for split in ("train", "test"):
            rows = [item.record() for item in lesions if (item.kind, item.split) == (kind, split)]
            path = folder / f"{kind}_case_description_{split}_set.csv"
            with path.open("w", newline="", encoding="utf-8") as stream:
                csv.writer(stream, delimiter=separator).writerows([CSV_HEADER[kind], *rows])
    return folder


def images(lesions: tuple[Lesion, ...]) -> dict[tuple[str, str], tuple[Lesion, str]]:
    """Return every image once: a film with two lesions has one."""
    return {
        (lesion.uid(part), part): (lesion, part)
        for lesion in lesions
        for part in ("full", "crop", "mask")
    }


def write_kaggle(root: Path, lesions: tuple[Lesion, ...] = LESIONS, separator: str = ",") -> Path:
    """Write the Kaggle copy: opaque JPEG names, and dicom_info.csv to tell them apart."""
    from PIL import Image

    write_tables(root / "csv", lesions)
    info = []
    for number, (lesion, part) in enumerate(images(lesions).values()):
        folder = root / "jpeg" / lesion.uid(part)
        folder.mkdir(parents=True, exist_ok=True)
        pixels = lesion.pixels(part)
        gray = pixels if part == "mask" else (pixels >> 8).astype(np.uint8)
        name = f"{2 if part == 'mask' else 1}-{number:03d}.jpg"
        Image.fromarray(gray).save(folder / name, quality=95)
        path = f"CBIS-DDSM/jpeg/{lesion.uid(part)}/{name}"
        bits = 8 if part == "mask" else 16
        size = [str(length) for length in pixels.shape]
        info.append([path, lesion.description(part), lesion.uid(part), str(bits), *size, "x"])
    header = ["image_path", "SeriesDescription", "SeriesInstanceUID", "BitsAllocated"]
    with (root / "csv" / "dicom_info.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, delimiter=separator)
        writer.writerows([[*header, "Rows", "Columns", "PatientSex"], *info])
    return root


def write_tcia(root: Path, lesions: tuple[Lesion, ...] = LESIONS, first: int = 0) -> Path:
    """Write the TCIA copy; file numbers begin at ``first``."""
    write_tables(root, lesions)
    for lesion, part in images(lesions).values():
        uid = lesion.uid(part)
        number = int(lesion.name(part)[:6]) + first
        folder = root / "CBIS-DDSM" / lesion.folder(part) / f"1.3.6.1.5.{uid}" / uid
        name = f"{number:06d}.dcm" if first == 0 else f"1-{number}.dcm"
        header = {
            "PatientID": lesion.folder(part),
            "SeriesInstanceUID": uid,
            "SeriesDescription": lesion.description(part),
            "PatientOrientation": lesion.view,
            "Laterality": lesion.side[0],
        }
        write_dicom(folder / name, lesion.pixels(part), **header)
    return root


def write_dicom(path: Path, pixels: np.ndarray, **header: object) -> Path:
    """Write an uncompressed grayscale DICOM file."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[str(path)])
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    bits = pixels.dtype.itemsize * 8
    data.SOPClassUID = meta.MediaStorageSOPClassUID
    data.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    data.Rows, data.Columns = pixels.shape
    data.SamplesPerPixel, data.PixelRepresentation = 1, 0
    data.PhotometricInterpretation = "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = bits
    data.HighBit = bits - 1
    for name, value in header.items():
        setattr(data, name, value)
    data.PixelData = pixels.tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path)
    return path


INBREAST_HEADER = (
    "Patient ID;Patient age;Laterality;View;Acquisition date;File Name;ACR;Bi-Rads;Mass ;Micros"
)
INBREAST = (
    ("20586908", "6c613a14b80a8591", "R", "CC", "ML", "4", "1"),
    ("20586934", "6c613a14b80a8591", "L", "CC", "CC", "4", "3"),
    ("20586960", "6c613a14b80a8591", "R", "MLO", "ML", "4", "4a"),
    ("22678622", "61b13c59bcba149e", "L", "MLO", "ML", "2", "5"),
    ("22678646", "61b13c59bcba149e", "R", "FB", "FB", "", "2"),
    ("22678670", "61b13c59bcba149e", "L", "CC", "CC", "1", "6"),
)
"""Number, patient, side and view in the table, view in the file name, ACR, BI-RADS."""


def write_inbreast(root: Path) -> Path:
    """Write INbreast with its table as CSV, footer rows included."""
    root.mkdir(parents=True, exist_ok=True)
    lines = [INBREAST_HEADER]
    for number, patient, side, view, named, acr, birads in INBREAST:
        named = "CC" if view == "CC" else named
        name = f"{number}_{patient}_MG_{side}_{named}_ANON.dcm"
        rng = np.random.default_rng(int(number))
        pixels = rng.integers(0, 4096, (64, 48)).astype(np.uint16)
        write_dicom(root / "AllDICOMs" / name, pixels, BitsStored=12, HighBit=11)
        lines.append(f"removed;removed;{side};{view};201001;{number};{acr};{birads};X;")
    lines += [";;;;;;;;;", "Total: 3 cases;;;;;6 films;;;2;1"]
    (root / "INbreast.csv").write_text("\r\n".join(lines) + "\r\n", encoding="utf-8")
    return root
