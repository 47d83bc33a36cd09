"""Phantoms on disk, in the layouts of the real data sets and with their quirks.

:func:`mammocourse.phantom.write_cbis_ddsm` and
:func:`mammocourse.phantom.write_inbreast` are the entrances to this module.
"""

from __future__ import annotations

import csv
import hashlib
import os
import shutil
import struct
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mammocourse.phantom import (
    VIEWS,
    Film,
    Lesion,
    Link,
    Tissue,
    draw_films,
    draw_findings,
    draw_lesion,
    draw_patient,
    generator,
)

Array = np.ndarray

#: Share of the 1,005 lesions of the official mass tables that one view alone shows (314).
ONE_VIEW = 0.312

NOISE = 1.2  # deviation of the noise of written films, gray levels of 256


# --- folders and files


@contextmanager
def new_folder(root: Path) -> Iterator[Path]:
    """Give a temporary folder that becomes ``root`` when everything in it is written.

    Raises
    ------
    FileExistsError
        If ``root`` exists and is not an empty folder.
    """
    root = Path(root).expanduser().absolute()
    if root.is_symlink() or (root.exists() and not (root.is_dir() and not any(root.iterdir()))):
        raise FileExistsError(
            f"root is {root}, which exists and is not an empty folder. Nothing was written; "
            "name a new folder or empty this one."
        )
    root.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{root.name}-", dir=root.parent))
    try:
        content = temporary / "tree"
        content.mkdir()
        yield content
        if root.exists():
            root.rmdir()
        os.replace(content, root)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def make_uid(*parts: Any) -> str:
    """Return a DICOM identifier (root 2.25, for generated ones) that depends on the parts only."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return f"2.25.{int.from_bytes(digest[:15], 'big')}"


def write_table(
    path: Path, rows: list[dict[str, Any]], columns: list[str] | None = None, separator: str = ","
) -> None:
    """Write a table as CSV."""
    columns = columns or list(rows[0])
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, delimiter=separator, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def write_jpeg(path: Path, image: Array) -> None:
    """Write an 8-bit picture as JPEG of quality 95."""
    import cv2

    path.parent.mkdir(parents=True, exist_ok=True)
    _, content = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 95])
    path.write_bytes(content.tobytes())


def write_dicom(path: Path, image: Array, tags: dict[str, Any], bits_stored: int = 0) -> None:
    """Write a gray picture (uint8 or uint16) as an uncompressed DICOM file."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

    bits = 8 * image.dtype.itemsize
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = tags["SOPInstanceUID"]
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = Dataset()
    dataset.file_meta = meta
    dataset.SOPClassUID = SecondaryCaptureImageStorage
    for name, value in tags.items():
        setattr(dataset, name, value)
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = image.shape
    dataset.BitsAllocated = bits
    dataset.BitsStored = bits_stored or bits
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = 0
    content = np.ascontiguousarray(image).astype(image.dtype.newbyteorder("<")).tobytes()
    dataset.PixelData = content + b"\0" * (len(content) % 2)
    dataset["PixelData"].VR = "OW" if bits == 16 else "OB"
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)


def write_xls(path: Path, rows: list[list[Any]]) -> None:
    """Write a sheet as a minimal Excel 2 file (BIFF2), which xlrd and pandas read.

    Excel files of this age are what INbreast comes with; no kept library writes them.
    """

    def record(kind: int, content: bytes) -> bytes:
        return struct.pack("<HH", kind, len(content)) + content

    parts = [record(0x0009, struct.pack("<HH", 0x0007, 0x0010))]
    for i, row in enumerate(rows):
        for j, value in enumerate(row):
            place = struct.pack("<HH3x", i, j)
            if isinstance(value, (int, float)):
                parts.append(record(0x0003, place + struct.pack("<d", value)))
            elif value:
                text = str(value).encode("latin-1", "replace")[:255]
                parts.append(record(0x0004, place + bytes([len(text)]) + text))
    path.write_bytes(b"".join([*parts, record(0x000A, b"")]))


# --- CBIS-DDSM

MASS_COLUMNS = [
    *("patient_id", "breast_density", "left or right breast", "image view", "abnormality id"),
    *("abnormality type", "mass shape", "mass margins", "assessment", "pathology", "subtlety"),
    *("image file path", "cropped image file path", "ROI mask file path"),
]
RENAMED = {
    "breast_density": "breast density",
    "mass shape": "calc type",
    "mass margins": "calc distribution",
}
CALC_COLUMNS = [RENAMED.get(name, name) for name in MASS_COLUMNS]

#: Some of the official words for calcifications, benign and malignant: type, distribution.
CALC_WORDS = (
    (("PUNCTATE", "CLUSTERED"), ("ROUND_AND_REGULAR-LUCENT_CENTER", "N/A"), ("COARSE", "REGIONAL")),
    (("PLEOMORPHIC", "CLUSTERED"), ("FINE_LINEAR_BRANCHING", "LINEAR"), ("AMORPHOUS", "SEGMENTAL")),
)

INFO_COLUMNS = [
    *("file_path", "image_path", "AccessionNumber", "BitsAllocated", "BitsStored"),
    *("BodyPartExamined", "Columns", "ContentDate", "ContentTime", "ConversionType", "HighBit"),
    *("InstanceNumber", "LargestImagePixelValue", "Laterality", "Modality", "PatientBirthDate"),
    *("PatientID", "PatientName", "PatientOrientation", "PatientSex"),
    *("PhotometricInterpretation", "PixelRepresentation", "ReferringPhysicianName", "Rows"),
    *("SOPClassUID", "SOPInstanceUID", "SamplesPerPixel", "SecondaryCaptureDeviceManufacturer"),
    *("SecondaryCaptureDeviceManufacturerModelName", "SeriesDescription", "SeriesInstanceUID"),
    *("SeriesNumber", "SmallestImagePixelValue", "SpecificCharacterSet", "StudyDate"),
    *("StudyID", "StudyInstanceUID", "StudyTime"),
]


@dataclass(frozen=True)
class Patient:
    """A patient of a written data set: her tissue, her set, and lesions by breast."""

    identity: str
    kind: str  # "mass" or "calcification"
    split: str  # "train" or "test"
    tissue: Tissue
    breasts: dict[str, list[Lesion]]
    changing: bool  # whether the label of the first lesion changes between the views
    path: tuple[int, ...]  # seed and path of the patient's random generators


def draw_calcification(label: int, rng: np.random.Generator) -> Lesion:
    """Draw a cluster of calcifications; its specks stand where a mass has its spicules."""
    base = draw_lesion(label, "official", rng)
    kind, distribution = CALC_WORDS[label][rng.integers(len(CALC_WORDS[label]))]
    specks = rng.normal(0, 0.5, (int(rng.integers(6, 20)), 4))
    specks[:, 2] = rng.uniform(0.03, 0.08, len(specks))
    return replace(
        base,
        kind="calcification",
        shape=kind,
        margins=distribution,
        spicules=specks,
        outline=np.ones_like(base.outline),
    )


def draw_mass_patient(index: int, seed: int, link: Link, quirks: bool) -> Patient:
    """Draw a patient with masses; with quirks the first has both labels in one image."""
    tissue, split, lesions = draw_patient(index, seed, link)
    rng = generator(seed, index, 5)
    sides = ["LEFT" if rng.random() < 0.5 else "RIGHT" for _ in lesions]
    single = [VIEWS[rng.integers(2)] if rng.random() < ONE_VIEW else "" for _ in lesions]
    if quirks and index == 0:
        lesions = [draw_lesion(label, link, rng) for label in (0, 1)]
        sides = ["LEFT", "LEFT"]
    elif not (quirks and index == 1):
        lesions = [
            replace(lesion, views=(view,)) if view else lesion
            for lesion, view in zip(lesions, single, strict=True)
        ]
    breasts: dict[str, list[Lesion]] = {}
    for side, lesion in zip(sides, lesions, strict=True):
        breasts.setdefault(side, []).append(lesion)
    identity = f"P_{index + 1:05d}"
    return Patient(
        identity, "mass", split, tissue, breasts, quirks and index == 1, (seed, index, 6)
    )


def draw_calc_patient(index: int, n_masses: int, seed: int, link: Link, quirks: bool) -> Patient:
    """Draw a patient with calcifications; with quirks the first one has masses too.

    She stands in the other official set then, as 31 real patients do.
    """
    tissue, split, _ = draw_patient(n_masses + index, seed, link)
    rng = generator(seed, n_masses + index, 7)
    number = n_masses + index
    if quirks and index == 0:
        number = 0
        split = "train" if draw_patient(0, seed, link)[1] == "test" else "test"
    side = "LEFT" if rng.random() < 0.5 else "RIGHT"
    breasts = {side: [draw_calcification(int(rng.random() < 0.45), rng)]}
    path = (seed, n_masses + index, 8)
    return Patient(f"P_{number + 1:05d}", "calcification", split, tissue, breasts, False, path)


@dataclass(frozen=True)
class Item:
    """One picture of the data set and where it belongs."""

    role: str  # "full", "crop" or "mask"
    folder: str  # such as Mass-Training_P_00001_LEFT_CC_1
    series: str
    number: int  # place within the series, from 0
    image: Array  # uint16, masks uint8
    described: bool
    side: str
    view: str


DESCRIPTIONS = {
    "full": "full mammogram images",
    "crop": "cropped images",
    "mask": "ROI mask images",
}


def crop_window(truth: dict[str, float], shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Square window about a lesion, four radii wide, as far as the film reaches."""
    half = max(16, round(2 * truth["radius"]))
    rows, columns = round(truth["y"]), round(truth["x"])
    return (
        slice(max(0, rows - half), min(shape[0], rows + half)),
        slice(max(0, columns - half), min(shape[1], columns + half)),
    )


def shift_border(mask: Array, rng: np.random.Generator) -> Array:
    """Give a mask a size that differs by a few pixels from that of its film."""
    rows, columns = (int(step) for step in rng.choice([-3, -2, -1, 1, 2, 3], 2))
    padded = np.pad(mask, ((0, max(0, rows)), (0, max(0, columns))))
    return padded[: mask.shape[0] + rows, : mask.shape[1] + columns]


def patient_items(
    patient: Patient, size: tuple[int, int], quirks: bool
) -> Iterator[tuple[list[Item], list[dict[str, Any]]]]:
    """Draw the pictures of a patient and her rows of the table, film by film."""
    seed, *path = patient.path
    short, subset = patient.kind[:4].capitalize(), {"train": "Training", "test": "Test"}
    prefix = f"{short}-{subset[patient.split]}_{patient.identity}"
    for number, (side, lesions) in enumerate(patient.breasts.items()):
        rng = generator(seed, *path, number)
        for film in draw_films(patient.tissue, side, lesions, size, rng):
            if not film.lesions:
                continue
            folder = f"{prefix}_{side}_{film.view}"
            picture = film.expose(NOISE, rng, bits=16)
            described = not (quirks and rng.random() < 0.15)
            full = Item(
                "full", folder, make_uid(seed, folder), 0, picture, described, side, film.view
            )
            items, rows = [full], []
            for index, lesion in enumerate(film.lesions):
                abnormality = 1 + lesions.index(lesion)
                pair = lesion_items(full, film, index, abnormality, seed, rng, quirks)
                row = table_row(patient, lesion, abnormality, full, pair)
                if patient.changing and film.view == "MLO" and number == 0 and abnormality == 1:
                    row["pathology"] = "BENIGN" if lesion.label else "MALIGNANT"
                rows.append(row)
                items += pair
            yield items, rows


def lesion_items(
    full: Item,
    film: Film,
    index: int,
    abnormality: int,
    seed: int,
    rng: np.random.Generator,
    quirks: bool,
) -> list[Item]:
    """Cut the crop of a lesion, and make its mask; return them in this order."""
    folder = f"{full.folder}_{abnormality}"
    shared = quirks and rng.random() < 0.9
    order = (0, 1) if not shared else (1, 0) if rng.random() < 0.5 else (0, 1)
    described = not (quirks and rng.random() < 0.15)
    crop = full.image[crop_window(film.truth[index], full.image.shape)]
    mask = film.masks[index].astype(np.uint8) * 255
    if quirks and rng.random() < 0.15:
        mask = shift_border(mask, rng)
    series = [make_uid(seed, folder, role) for role in ("crop", "crop" if shared else "mask")]
    number = order if shared else (0, 0)
    return [
        Item("crop", folder, series[0], number[0], crop, True, full.side, full.view),
        Item("mask", folder, series[1], number[1], mask, described, full.side, full.view),
    ]


def table_row(
    patient: Patient, lesion: Lesion, abnormality: int, full: Item, pair: list[Item]
) -> dict[str, Any]:
    """Row of the official table, with the names of the mass tables."""
    paths = [
        f"{item.folder}/{make_uid(item.folder, item.series)}/{item.series}/{number:06d}.dcm"
        for item, number in (
            (full, 0),
            (pair[0], 0),
            (pair[1], int(pair[0].series == pair[1].series)),
        )
    ]
    values = [
        *(
            patient.identity,
            patient.tissue.density,
            full.side,
            full.view,
            abnormality,
            patient.kind,
        ),
        *(lesion.shape, lesion.margins, lesion.assessment, lesion.pathology, lesion.subtlety),
        *paths,
    ]
    return dict(zip(MASS_COLUMNS, values, strict=True))


def item_tags(item: Item, patient: str) -> dict[str, Any]:
    """Header of a picture."""
    return {
        "SpecificCharacterSet": "ISO_IR 100",
        "SOPInstanceUID": make_uid(item.folder, item.series, item.role),
        "StudyInstanceUID": make_uid(item.folder, item.series),
        "SeriesInstanceUID": item.series,
        "SeriesDescription": DESCRIPTIONS[item.role] if item.described else "",
        "SeriesNumber": 1,
        "InstanceNumber": item.number + 1,
        "StudyID": "DDSM",
        "StudyDate": "20160720",
        "Modality": "MG",
        "ConversionType": "WSD",
        "BodyPartExamined": "BREAST",
        "PatientID": patient,
        "PatientName": patient,
        "PatientOrientation": item.view,
        "Laterality": item.side[0],
    }


def write_tree(
    root: Path,
    n_patients: int,
    layout: str,
    seed: int,
    link: Link,
    size: tuple[int, int],
    quirks: bool,
) -> None:
    """Write a data set of phantoms as CBIS-DDSM; the arguments are checked already."""
    n_calc = max(1, n_patients // 3)
    with new_folder(root) as folder:
        tables: dict[tuple[str, str], list[dict[str, Any]]] = {
            (kind, split): [] for kind in ("mass", "calcification") for split in ("train", "test")
        }
        headers: list[dict[str, Any]] = []
        for patient in [
            *(draw_mass_patient(index, seed, link, quirks) for index in range(n_patients)),
            *(draw_calc_patient(index, n_patients, seed, link, quirks) for index in range(n_calc)),
        ]:
            for items, rows in patient_items(patient, size, quirks):
                tables[patient.kind, patient.split] += rows
                for item in items:
                    if layout == "kaggle":
                        headers.append(write_kaggle(folder, item))
                    else:
                        write_tcia(folder, item, quirks)
        place = folder / "csv" if layout == "kaggle" else folder
        place.mkdir(exist_ok=True)
        for (kind, split), rows in tables.items():
            write_official_table(
                place / f"{kind[:4]}_case_description_{split}_set.csv", rows, kind, quirks
            )
        if layout == "kaggle":
            write_table(place / "dicom_info.csv", headers, INFO_COLUMNS)
            write_table(place / "meta.csv", meta_rows(headers))


def write_official_table(path: Path, rows: list[dict[str, Any]], kind: str, quirks: bool) -> None:
    """Write one of the four tables; the last but one path (calc) or last (mass) holds a newline."""
    if quirks:
        field = "ROI mask file path" if kind == "mass" else "cropped image file path"
        rows = [{**row, field: row[field] + "\n"} for row in rows]
    if kind == "mass":
        write_table(path, rows, MASS_COLUMNS)
    else:
        rows = [{RENAMED.get(name, name): value for name, value in row.items()} for row in rows]
        write_table(path, rows, CALC_COLUMNS)


def write_kaggle(folder: Path, item: Item) -> dict[str, Any]:
    """Write a picture as the Kaggle copy has it; return its row of ``dicom_info.csv``."""
    opaque = int(make_uid(item.series, item.role)[-6:]) % 1000
    name = f"{item.number + 1}-{opaque:03d}"
    image = item.image
    eight = image if image.dtype == np.uint8 else np.rint(image / 257.0).astype(np.uint8)
    write_jpeg(folder / "jpeg" / item.series / f"{name}.jpg", eight)
    bits = 8 * image.dtype.itemsize
    return {
        **item_tags(item, item.folder),
        "file_path": f"CBIS-DDSM/dicom/{item.series}/{name}.dcm",
        "image_path": f"CBIS-DDSM/jpeg/{item.series}/{name}.jpg",
        "BitsAllocated": bits,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "Rows": image.shape[0],
        "Columns": image.shape[1],
        "LargestImagePixelValue": int(image.max()),
        "SmallestImagePixelValue": int(image.min()),
        "PhotometricInterpretation": "MONOCHROME2",
        "PixelRepresentation": 0,
        "SamplesPerPixel": 1,
    }


def meta_rows(headers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of the Kaggle copy's ``meta.csv``: one for each series."""
    counts = Counter(header["SeriesInstanceUID"] for header in headers)
    series = {header["SeriesInstanceUID"]: header for header in reversed(headers)}
    return [
        {
            "SeriesInstanceUID": uid,
            "StudyInstanceUID": series[uid]["StudyInstanceUID"],
            "Modality": "MG",
            "SeriesDescription": series[uid]["SeriesDescription"],
            "BodyPartExamined": "BREAST",
            "SeriesNumber": 1,
            "Collection": "CBIS-DDSM",
            "Visibility": 1,
            "ImageCount": count,
        }
        for uid, count in counts.items()
    ]


def write_tcia(folder: Path, item: Item, quirks: bool) -> None:
    """Write a picture as the TCIA copy has it, with file numbers from 0 or from 1."""
    style = int(make_uid(item.series, "names")[-4:]) % 3 if quirks else 0
    name = (f"{item.number:06d}", f"{item.number + 1:06d}", f"1-{item.number + 1}")[style]
    study = make_uid(item.folder, item.series)
    path = folder / "CBIS-DDSM" / item.folder / study / item.series / f"{name}.dcm"
    write_dicom(path, item.image, item_tags(item, item.folder))


# --- INbreast

INBREAST_COLUMNS = [
    *("Patient ID", "Patient age", "Laterality", "View", "Acquisition date", "File Name", "ACR"),
    *("Bi-Rads", "Mass ", "Micros", "Distortion", "Asymmetry", "Findings Notes (in Portuguese)"),
    *("Other Notes", "Lesion Annotation Status", "Pectoral Muscle Annotation"),
    "Other Annotations",
]

#: Share of the 115 INbreast cases with both breasts (90).
BOTH_BREASTS = 90 / 115


def write_inbreast_tree(
    root: Path,
    n_patients: int,
    seed: int,
    prevalence: float,
    link: Link,
    size: tuple[int, int],
    table: str,
    quirks: bool,
) -> None:
    """Write a data set of phantoms as INbreast; the arguments are checked already."""
    with new_folder(root) as folder:
        rows: list[dict[str, Any]] = []
        for index in range(n_patients):
            rng = generator(seed, index, 9)
            breasts = 2 if rng.random() < BOTH_BREASTS else 1
            key = make_uid(seed, index, "INbreast")
            token = hashlib.sha256(key.encode()).hexdigest()[:16]
            tissue, found = draw_findings(index, prevalence, breasts, seed, link)
            for side, lesions, birads in found:
                if (
                    quirks
                    and birads == "2"
                    and lesions
                    and not any(r["Bi-Rads"] == 3 for r in rows)
                ):
                    birads = "3"
                for film in draw_films(tissue, side, lesions, size, rng):
                    number = 20_000_000 + 29 * (len(rows) + 1)
                    row = inbreast_row(number, side, film.view, tissue, lesions, birads)
                    view = {"CC": "CC", "MLO": "ML"}[film.view]
                    if quirks and index == 0 and not any(r["View"] == "FB" for r in rows):
                        row["View"] = view = "FB"
                    name = f"{number}_{token}_MG_{side[0]}_{view}_ANON.dcm"
                    tags = {
                        "SOPInstanceUID": make_uid(name),
                        "StudyInstanceUID": make_uid(token),
                        "SeriesInstanceUID": make_uid(name, "series"),
                        "Modality": "MG",
                        "PatientID": "removed",
                        "PatientName": "removed",
                    }
                    picture = film.expose(NOISE, rng, bits=14)
                    write_dicom(folder / "AllDICOMs" / name, picture, tags, bits_stored=14)
                    rows.append(row)
        write_inbreast_table(folder, rows, table, quirks)


def inbreast_row(
    number: int, side: str, view: str, tissue: Tissue, lesions: list[Lesion], birads: str
) -> dict[str, Any]:
    """Row of INbreast's table."""
    values: dict[str, Any] = dict.fromkeys(INBREAST_COLUMNS, "")
    values.update(
        {
            "Patient ID": "removed",
            "Patient age": "removed",
            "Laterality": side[0],
            "View": view,
            "Acquisition date": 200801 + number % 12,
            "File Name": number,
            "ACR": tissue.density,
            "Bi-Rads": int(birads) if birads.isdigit() else birads,
            "Mass ": "X" if lesions else "",
            "Findings Notes (in Portuguese)": "nódulo" if lesions else "normal",
            "Lesion Annotation Status": "" if lesions else "No annotation (normal)",
            "Pectoral Muscle Annotation": "Yes" if view == "MLO" else "",
        }
    )
    return values


def write_inbreast_table(
    folder: Path, rows: list[dict[str, Any]], table: str, quirks: bool
) -> None:
    """Write the table as ``INbreast.csv`` (``;``) or ``INbreast.xls``, with its two footers."""
    if quirks:
        empty = dict.fromkeys(INBREAST_COLUMNS, "")
        rows = [
            *rows,
            {**empty, "Mass ": sum(row["Mass "] == "X" for row in rows)},
            {**empty, "Findings Notes (in Portuguese)": "X: finding present"},
        ]
    if table == "csv":
        write_table(folder / "INbreast.csv", rows, INBREAST_COLUMNS, separator=";")
    else:
        content = [[row[name] for name in INBREAST_COLUMNS] for row in rows]
        write_xls(folder / "INbreast.xls", [list(INBREAST_COLUMNS), *content])
