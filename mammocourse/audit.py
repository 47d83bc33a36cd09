"""The audit of a copy of CBIS-DDSM: what is in it, and what is odd about it."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from tqdm import tqdm

from mammocourse.cbis_ddsm import (
    Located,
    find_layout,
    find_tables,
    locate,
    open_tree,
    read_cbis_tables,
    same_size,
)
from mammocourse.images import ImageHeader, load_image
from mammocourse.tables import DatasetError, Problem, Report, on_disk

__all__ = ["Audit", "audit_cbis_ddsm"]

SMALL = 32
"""A crop with a side below this many pixels is listed as odd."""

ELONGATED = 3.0
"""A crop whose sides have a ratio above this is listed as odd."""


@dataclass
class Audit:
    """What :func:`audit_cbis_ddsm` found; it shows and prints as a readable report.

    Attributes
    ----------
    root, layout : str
        What was audited; the layout is "kaggle", "tcia" or "tables" (no images).
    counts : DataFrame
        By abnormality and official set: rows, patients, lesions, images (full
        mammograms), benign, benign without callback, malignant.
    n_rows, n_patients, n_lesions, n_images : int
        The same over all sound rows.
    mixed_images, changing_lesions : dict of list
        By abnormality: films with lesions of both labels, and lesions whose label
        differs between views.
    patients_in_two_sets : dict of list
        Patients in the official training and test sets, by abnormality and
        ("pooled") when masses and calcifications are put together.
    missing_files, unreadable : list of Problem
        Images that are not there, and images that cannot be decoded or told apart.
    swapped, misdescribed : list of str
        Lesions whose table swaps crop and mask; whose descriptions do.
    empty_descriptions, shared_series : int
        Images without a SeriesDescription; lesions whose crop and mask share a series.
    odd_masks : list of str
        Masks whose size is not exactly that of their mammogram.
    odd_sizes : list of str
        Crops with a side below 32 pixels, a ratio of sides above 3, or no smaller
        than their film.
    sizes : DataFrame
        Smallest, median and largest rows and columns of the crops.
    duplicates : list of list of str
        Groups of image files with identical pixels.
    n_hashed : int
        Images whose pixels were decoded and compared.
    problems : list of Problem
        Rows of the tables that are not sound.
    """

    root: str
    layout: str
    counts: pd.DataFrame
    n_rows: int
    n_patients: int
    n_lesions: int
    n_images: int
    mixed_images: dict[str, list[str]]
    changing_lesions: dict[str, list[str]]
    patients_in_two_sets: dict[str, list[str]]
    problems: list[Problem]
    missing_files: list[Problem] = field(default_factory=list)
    unreadable: list[Problem] = field(default_factory=list)
    swapped: list[str] = field(default_factory=list)
    misdescribed: list[str] = field(default_factory=list)
    empty_descriptions: int = 0
    shared_series: int = 0
    odd_masks: list[str] = field(default_factory=list)
    odd_sizes: list[str] = field(default_factory=list)
    sizes: pd.DataFrame = field(default_factory=pd.DataFrame)
    duplicates: list[list[str]] = field(default_factory=list)
    n_hashed: int = 0

    def __str__(self) -> str:
        lines = [
            f"CBIS-DDSM in {self.root} (layout: {self.layout})",
            f"{self.n_rows:,} lesion rows, {self.n_lesions:,} lesions, {self.n_images:,} films, "
            f"{self.n_patients:,} patients",
            self.counts.to_string(),
        ]
        lines += _named("films with lesions of both labels", self.mixed_images)
        lines += _named("lesions whose label changes between views", self.changing_lesions)
        lines += _named("patients in both official sets", self.patients_in_two_sets)
        lines += _named("rows that are not sound", {"": self.problems})
        if self.layout != "tables":
            lines += self._image_lines()
        return "\n".join(lines)

    __repr__ = __str__  # a notebook shows what print would

    def _image_lines(self) -> list[str]:
        lists: dict[str, list[Any]] = {
            "missing images": self.missing_files,
            "images that cannot be read": self.unreadable,
            "crop and mask swapped in the table": self.swapped,
            "crop and mask described wrongly": self.misdescribed,
            "masks of another size than their film": self.odd_masks,
            "crops of an odd size": self.odd_sizes,
            f"groups of identical images among {self.n_hashed:,}": self.duplicates,
        }
        lines = [
            f"images without a description: {self.empty_descriptions:,}",
            f"crop and mask in one series: {self.shared_series:,}",
        ]
        for title, items in lists.items():
            lines += _named(title, {"": items})
        return [*lines, "sizes of the crops in pixels:", self.sizes.to_string()]


def _named(title: str, groups: dict[str, list[Any]]) -> list[str]:
    lines = []
    for name, items in groups.items():
        lines.append(f"{title}{f' ({name})' if name else ''}: {len(items):,}")
        lines += [f"    {item}" for item in items[:5]]
        lines += [f"    ... and {len(items) - 5:,} more"] if len(items) > 5 else []
    return lines


def audit_cbis_ddsm(
    root: str | Path,
    *,
    csv_dir: str | Path | None = None,
    pixels: Literal["crop", "all", "none"] = "crop",
) -> Audit:
    """Examine a copy of CBIS-DDSM, or its tables alone, and report what is odd.

    Parameters
    ----------
    root : str or Path
        Folder of the Kaggle copy or the TCIA copy, or of the tables alone.
        Whatever tables are there are audited, masses and calcifications.
    csv_dir : str or Path, optional
        Folder of the tables where they do not lie in ``root`` or ``root/csv``.
    pixels : {"crop", "all", "none"}
        Which images are decoded, to find damaged ones and duplicates: the crops
        (some 30 s for the whole Kaggle copy), the films as well, or none.

    Returns
    -------
    Audit
        Prints as a report; its attributes hold the numbers and the lists.

    Raises
    ------
    DatasetError
        If there is no table, or one is malformed as a whole. Single rows and
        images that are not sound are part of the report.
    ValueError
        If ``pixels`` is not allowed.
    """
    if pixels not in ("crop", "all", "none"):
        raise ValueError(f"pixels is {pixels!r}; it must be 'crop', 'all' or 'none'.")
    base = on_disk(root)
    report = Report()
    try:
        layout, places = find_layout(base, "auto")
    except DatasetError as error:
        if not error.missing:
            raise
        layout, places = "tables", [base]
    tree = None if layout == "tables" else open_tree(layout, places, report)
    folder, kinds = find_tables(base, places, csv_dir, ("both", "mass", "calc"))
    frame = read_cbis_tables(folder, kinds, strict=False)
    audit = _audit_tables(frame, str(base), layout, [*report.problems])
    if tree is not None:
        located = {row: locate(row, tree, ("full", "crop", "mask")) for row in frame.itertuples()}
        _audit_files(audit, located)
        _audit_pixels(audit, located, pixels)
    return audit


def _audit_tables(frame: pd.DataFrame, root: str, layout: str, problems: list[Problem]) -> Audit:
    keys = ["abnormality_type", "split"]
    counts = frame.groupby(keys, sort=False).agg(
        rows=("label", "size"),
        patients=("patient_id", "nunique"),
        lesions=("lesion_id", "nunique"),
        images=("image_uid", "nunique"),
    )
    for word in ("BENIGN", "BENIGN_WITHOUT_CALLBACK", "MALIGNANT"):
        chosen = frame["pathology"].eq(word).groupby([frame[key] for key in keys])
        counts[word.lower()] = chosen.sum()
    kinds = {
        name: frame[frame["abnormality_type"] == name]
        for name in frame["abnormality_type"].unique().tolist()
    }
    return Audit(
        root=root,
        layout=layout,
        counts=counts,
        n_rows=len(frame),
        n_patients=frame["patient_id"].nunique(),
        n_lesions=frame["lesion_id"].nunique(),
        n_images=frame["image_uid"].nunique(),
        mixed_images={name: _mixed(part, "image_uid") for name, part in kinds.items()},
        changing_lesions={name: _mixed(part, "lesion_id") for name, part in kinds.items()},
        patients_in_two_sets={
            **{name: _in_two_sets(part) for name, part in kinds.items()},
            "pooled": _in_two_sets(frame),
        },
        problems=[*frame.attrs["report"].problems, *problems],
    )


def _mixed(frame: pd.DataFrame, key: str) -> list[str]:
    labels = frame.groupby(key, sort=False)["label"].nunique()
    return [str(name) for name in labels.index[labels > 1]]


def _in_two_sets(frame: pd.DataFrame) -> list[str]:
    sets = frame.groupby("patient_id")["split"].nunique()
    return [str(name) for name in sets.index[sets > 1]]


def _audit_files(audit: Audit, located: dict[Any, Located]) -> None:
    undescribed, crops = set(), []
    for row, found in located.items():
        name = f"{row.lesion_id} {row.view}"
        for part, error in found.errors.items():
            problem = Problem(row.table, row.line, f"the {part} of {name}: {error}")
            (audit.missing_files if error.missing else audit.unreadable).append(problem)
        audit.swapped += [name] * found.swapped
        audit.misdescribed += [name] * found.misdescribed
        audit.shared_series += row.crop_uid == row.mask_uid
        images = [image for image in (found.full, found.crop, found.mask) if image]
        undescribed |= {image.path for image in images if not image.description}
        if found.full and found.mask and _size(found.full) != _size(found.mask):
            audit.odd_masks.append(f"{name}: {_size(found.mask)} on a film of {_size(found.full)}")
        if found.crop:
            crops.append((found.crop.rows, found.crop.columns))
            audit.odd_sizes += _odd_crop(name, found.crop, found.full)
    audit.empty_descriptions = len(undescribed)
    sizes = pd.DataFrame(crops, columns=["rows", "columns"])
    audit.sizes = sizes.agg(["min", "median", "max"]) if len(sizes) else sizes


def _size(image: ImageHeader) -> str:
    return f"{image.rows} x {image.columns}"


def _odd_crop(name: str, crop: ImageHeader, full: ImageHeader | None) -> list[str]:
    low, high = sorted((crop.rows, crop.columns))
    odd = low < SMALL or high > ELONGATED * low or (full is not None and same_size(crop, full))
    return [f"{name}: {_size(crop)}"] if odd else []


def _audit_pixels(audit: Audit, located: dict[Any, Located], pixels: str) -> None:
    parts = {"crop": ("crop",), "all": ("crop", "full"), "none": ()}[pixels]
    images = {
        getattr(found, part).path: row
        for row, found in located.items()
        for part in parts
        if getattr(found, part)
    }
    groups: dict[bytes, list[str]] = defaultdict(list)
    for path, row in tqdm(images.items(), desc="comparing pixels", disable=None):
        try:
            image = load_image(path)
        except DatasetError as error:
            audit.unreadable.append(Problem(row.table, row.line, str(error)))
            continue
        digest = hashlib.blake2b(image.tobytes())
        digest.update(repr((image.shape, image.dtype.str)).encode())
        groups[digest.digest()].append(str(path))
        audit.n_hashed += 1
    audit.duplicates = [paths for paths in groups.values() if len(paths) > 1]
