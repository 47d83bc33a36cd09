"""CBIS-DDSM: its tables, the Kaggle copy (JPEG), the TCIA copy (DICOM), and an audit.

The data set (Lee et al. 2017, section 4.1 of the thesis) describes each lesion in
each view by one row of a table, and stores three images for it: the full
mammogram, a crop around the lesion, and a mask of the lesion in the full
mammogram. Crop and mask are confused in many places, so this module never trusts
a file name or a number: an image is found by its SeriesInstanceUID and told apart
by what its header says. Everything is read-only.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, Literal, Protocol, TypeAlias

import pandas as pd

from mammocourse.images import ImageHeader, read_header
from mammocourse.tables import DatasetError, Problem, Report, inside, on_disk, read_table

__all__ = ["read_cbis_ddsm", "read_cbis_tables", "read_dicom_folder"]

Abnormality: TypeAlias = Literal["mass", "calc", "both"]

COLUMNS = {
    "patient id": "patient_id",
    "left or right breast": "laterality",
    "image view": "view",
    "abnormality id": "abnormality_id",
    "abnormality type": "abnormality_type",
    "pathology": "pathology",
    "assessment": "assessment",
    "breast density": "breast_density",
    "subtlety": "subtlety",
    "image file path": "full_file",
    "cropped image file path": "crop_file",
    "roi mask file path": "mask_file",
}
"""Columns of every official table, and what they are called here."""

WORDS = {
    "mass": {"mass shape": "mass_shape", "mass margins": "mass_margins"},
    "calc": {"calc type": "calc_type", "calc distribution": "calc_distribution"},
}
"""The radiologist's words for a mass and for a calcification."""

TYPES = {"mass": "mass", "calc": "calcification"}
"""What the tables call each abnormality."""

ALLOWED = {
    "patient_id": r"P_\d+",
    "laterality": "LEFT|RIGHT",
    "view": "CC|MLO",
    "abnormality_id": r"\d{1,3}",
    "pathology": "BENIGN|BENIGN_WITHOUT_CALLBACK|MALIGNANT",
    "assessment": "[0-6]",
    "breast_density": "[0-4]",
    "subtlety": "[0-5]",
}
"""What a cell may hold; 0 stands for "not assessed" in the official tables."""

INTEGERS = ("abnormality_id", "assessment", "breast_density", "subtlety")
SPLITS = {"train": "Training", "test": "Test"}
"""The official sets, and what the folders call them."""
KEY = ["abnormality_type", "patient_id", "laterality", "view", "abnormality_id"]
ORDER = [
    *("patient_id", "laterality", "view", "abnormality_id", "abnormality_type", "pathology"),
    *("label", "assessment", "mass_shape", "mass_margins", "calc_type", "calc_distribution"),
    *("breast_density", "subtlety", "split", "image_path", "mask_path", "image_uid"),
    *("lesion_id", "crop_uid", "mask_uid", "full_file", "crop_file", "mask_file"),
    *("table", "line"),
]
FOLDER = re.compile(r"(Mass|Calc)-(Training|Test)_(P_\d+)_(LEFT|RIGHT)_(CC|MLO)(_\d+)?")
"""The name of an image's folder, which is also its PatientID in the DICOM header."""

SLACK = 32
"""A mask may differ from its mammogram by a few pixels; a crop differs by far more."""

_AGAIN = "Download the data set again, or pass strict=False to go on without these rows."
_HELP = (
    "mammocourse.datasets.fetch('cbis-ddsm') downloads the Kaggle copy or explains how to get "
    "it; mammocourse.phantom.write_cbis_ddsm writes a generated data set in the same layout."
)


# ------------------------------------------------------------------------ tables


def read_cbis_tables(
    csv_dir: str | Path, abnormality: Abnormality = "mass", *, strict: bool = True
) -> pd.DataFrame:
    """Read the official case-description tables of CBIS-DDSM, without images.

    Parameters
    ----------
    csv_dir : str or Path
        Folder with ``mass_case_description_train_set.csv`` and its three
        companions (only those of the chosen abnormality are needed).
    abnormality : {"mass", "calc", "both"}
        Which lesions.
    strict : bool
        True raises when a row is not sound; False leaves such rows out and
        lists them in ``frame.attrs["report"]``.

    Returns
    -------
    DataFrame
        One row per lesion and view, with the columns of :func:`read_cbis_ddsm`;
        ``image_path`` and ``mask_path`` are None.

    Raises
    ------
    DatasetError
        If a table is missing or malformed, or (strict) a row is not sound; its
        ``problems`` list the offending rows.
    ValueError
        If ``abnormality`` is not allowed.

    Notes
    -----
    Every row of the official tables has a line break inside a quoted path, so a
    row is two lines of the file; ``line`` counts lines as an editor does.
    """
    folder = on_disk(csv_dir)
    report = Report()
    frame = _read_tables(folder, _kinds(abnormality), report)
    report.n_sound = len(frame)
    report.settle(strict, f"the tables in {folder} are not sound")
    frame.attrs["report"] = report
    return frame


def _kinds(abnormality: str) -> list[str]:
    if abnormality not in ("mass", "calc", "both"):
        raise ValueError(f"abnormality is {abnormality!r}; it must be 'mass', 'calc' or 'both'.")
    return ["mass", "calc"] if abnormality == "both" else [abnormality]


def table_name(kind: str, split: str) -> str:
    """Return the official name of a table, for example of ("mass", "train")."""
    return f"{kind}_case_description_{split}_set.csv"


def _read_tables(folder: Path, kinds: Iterable[str], report: Report) -> pd.DataFrame:
    read = [_read_one(folder, kind, split, report) for kind in kinds for split in SPLITS]
    frame = pd.concat(read, ignore_index=True)
    twice = frame.duplicated(KEY)
    again = "an earlier row describes the same lesion and view."
    _refuse(frame, [again if it else None for it in twice], report)
    frame = frame[~twice].reset_index(drop=True)
    for name in INTEGERS:
        frame[name] = frame[name].astype("int64")
    frame["label"] = (frame["pathology"] == "MALIGNANT").astype("int64")
    for part, name in (("full", "image_uid"), ("crop", "crop_uid"), ("mask", "mask_uid")):
        frame[name] = [PurePosixPath(path).parts[2] for path in frame[f"{part}_file"]]
    frame["lesion_id"] = [
        f"{row.patient_id}_{row.laterality}_{row.abnormality_type}_{row.abnormality_id}"
        for row in frame.itertuples()
    ]
    frame["image_path"] = frame["mask_path"] = None
    return frame[ORDER]


def _read_one(folder: Path, kind: str, split: str, report: Report) -> pd.DataFrame:
    path = folder / table_name(kind, split)
    if not os.path.exists(path):
        raise DatasetError(
            f"the table {path.name} is not in {folder}. Its official copy is on the CBIS-DDSM "
            "page of The Cancer Imaging Archive; mammocourse.datasets.fetch('cbis-ddsm-tables') "
            "downloads it."
        )
    names = {**COLUMNS, **WORDS[kind]}
    frame = read_table(path, list(names), report)[list(names)].rename(columns=names)
    report.n_rows += len(frame)
    for other in WORDS.values():
        for name in other.values():
            frame[name] = frame.get(name, "N/A")
    frame.insert(0, "split", split)
    frame.insert(0, "table", path.name)
    return _sound_rows(frame.reset_index(), TYPES[kind], report)


def _sound_rows(frame: pd.DataFrame, abnormality_type: str, report: Report) -> pd.DataFrame:
    faults = [_fault(row, abnormality_type) for row in frame.to_dict("records")]
    _refuse(frame, faults, report)
    return frame.loc[[fault is None for fault in faults]]


def _fault(row: dict[Any, Any], abnormality_type: str) -> str | None:
    """Say what is wrong with a row of a table, or return None."""
    for name, pattern in {**ALLOWED, "abnormality_type": abnormality_type}.items():
        if not re.fullmatch(pattern, row[name]):
            return f"{name} is {row[name][:60]!r}; expected {pattern.replace('|', ' or ')}."
    film = f"{abnormality_type[:4].title()}-{SPLITS[row['split']]}_" + "_".join(
        row[name] for name in ("patient_id", "laterality", "view")
    )
    for name in ("full_file", "crop_file", "mask_file"):
        parts = row[name].split("/")
        if len(parts) != 4 or not all(part.strip(". ") for part in parts):
            return f"{name} is {row[name][:60]!r}; expected folder/study/series/file."
        if parts[0] not in (film, f"{film}_{row['abnormality_id']}"):
            return f"{name} is {row[name][:60]!r}, of another lesion or set; expected {film}."
    return None


def _refuse(frame: pd.DataFrame, faults: Iterable[str | None], report: Report) -> None:
    rows = zip(frame["table"], frame["line"], faults, strict=True)
    report.problems += [
        Problem(table, line, fault, "Restore the table.") for table, line, fault in rows if fault
    ]


# ------------------------------------------------------------------------ layouts


Found: TypeAlias = tuple[list[ImageHeader], list[DatasetError]]


class _Tree(Protocol):
    """A copy of the data set on disk."""

    def images(self, uid: str, file: str) -> Found:
        """Return the headers of a series, and the errors of files that may belong to it."""


class _KaggleTree:
    """The JPEG copy: ``csv/dicom_info.csv`` says what each opaque file name is."""

    NEEDED = (
        *("image path", "seriesdescription", "seriesinstanceuid", "bitsallocated"),
        *("rows", "columns"),
    )

    def __init__(self, root: Path, report: Report) -> None:
        self.root = root
        self.table = inside(root, "csv/dicom_info.csv")
        info = read_table(self.table, self.NEEDED, report).drop_duplicates("image path")
        self.series = {str(uid): rows for uid, rows in info.groupby("seriesinstanceuid")}

    def images(self, uid: str, file: str) -> Found:
        if uid not in self.series:
            return [], [DatasetError(f"the series {uid} is not in {self.table}.", missing=True)]
        return _gather(self._header, self.series[uid].to_dict("records"))

    def _header(self, row: dict[Any, str]) -> ImageHeader:
        parts = PurePosixPath(row["image path"].replace("\\", "/")).parts
        after = parts[parts.index("jpeg") :] if "jpeg" in parts else ("jpeg", *parts)
        header = read_header(inside(self.root, "/".join(after)))
        bits = re.fullmatch(r"(8|16)(\.0)?", row["bitsallocated"])
        return replace(
            header,
            bits=int(bits.group(1)) if bits else 0,
            description=row["seriesdescription"],
            series_uid=row["seriesinstanceuid"],
        )


class _TciaTree:
    """The DICOM copy: a folder per image or lesion, headers say the rest."""

    def __init__(self, places: list[Path]) -> None:
        self.places = places
        self.folders: dict[str, Found] = {}

    def images(self, uid: str, file: str) -> Found:
        folder = PurePosixPath(file).parts[0]
        if folder not in self.folders:
            try:
                paths = [inside(place, folder) for place in self.places]
                there = [path for path in paths if os.path.lexists(path)]
                files = [file for path in there for file in _files(path, (".dcm",))]
            except DatasetError as error:
                self.folders[folder] = [], [error]
            else:
                self.folders[folder] = _gather(lambda path: self._header(path, folder), files)
        headers, errors = self.folders[folder]
        found = [header for header in headers if header.series_uid == uid]
        if not found and not errors:
            where = " or ".join(str(place / folder) for place in self.places)
            errors = [DatasetError(f"the series {uid} is not under {where}.", missing=True)]
        return found, list(errors)

    def _header(self, path: Path, folder: str) -> ImageHeader:
        header = read_header(path)
        if header.patient not in ("", folder):
            raise DatasetError(f"{path} says it is {header.patient!r}; its folder is {folder!r}.")
        return header


def _gather(read: Callable[[Any], ImageHeader], items: Iterable[Any]) -> Found:
    headers, errors = [], []
    for item in items:
        try:
            headers.append(read(item))
        except DatasetError as error:
            errors.append(error)
    return headers, errors


def _files(folder: Path, suffixes: tuple[str, ...]) -> Iterator[Path]:
    """Yield the files under a folder in order; folders that are links stand for themselves."""

    def refuse(error: OSError) -> None:
        raise DatasetError(f"{error.filename} cannot be read ({error.strerror}).") from error

    for parent, folders, names in os.walk(folder, onerror=refuse):
        folders.sort()
        links = [name for name in folders if Path(parent, name).is_symlink()]
        named = [name for name in names if not name.startswith(".")]  # macOS adds ._ files
        files = [name for name in named if Path(name).suffix.lower() in suffixes]
        yield from (Path(parent, name) for name in sorted([*links, *files]))


def _is_kaggle(place: Path) -> bool:
    return os.path.exists(place / "csv" / "dicom_info.csv")


def _is_tcia(place: Path) -> bool:
    with os.scandir(place) as entries:
        return any(FOLDER.fullmatch(entry.name) for entry in entries)


def _places(root: Path) -> Iterator[list[Path]]:
    """Yield where a copy may begin: the folder or CBIS-DDSM in it, else a level below."""
    yield [root, root / "CBIS-DDSM"]
    yield [place for below in sorted(root.glob("*")) for place in (below, below / "CBIS-DDSM")]


def find_layout(root: Path, layout: str) -> tuple[str, list[Path]]:
    """Return the layout of a copy, "kaggle" or "tcia", and the folders it begins in.

    Parameters
    ----------
    root : Path
        What the user named.
    layout : {"auto", "kaggle", "tcia"}
        "auto" looks for the files that tell the copies apart.

    Returns
    -------
    str, list of Path
        The TCIA copy begins in several folders where it was downloaded in parts
        (``manifest-*/CBIS-DDSM``).

    Raises
    ------
    DatasetError
        If neither is there, or more than one copy.
    """
    if not _is_open(root):
        raise DatasetError(f"{root} is not a folder that can be read. {_HELP}")
    tests = {"kaggle": _is_kaggle, "tcia": _is_tcia}
    wanted = list(tests) if layout == "auto" else [layout]
    for places in _places(root):
        folders = [place for place in places if _is_open(place)]
        found = [(name, place) for name in wanted for place in folders if tests[name](place)]
        names = [name for name, _ in found]
        if len(set(names)) > 1 or names.count("kaggle") > 1:
            raise DatasetError(
                f"{root} holds more than one copy of CBIS-DDSM: "
                f"{', '.join(f'{place} ({name})' for name, place in found)}. Name the folder of "
                "one, or its layout."
            )
        if found:
            return names[0], [place for _, place in found]
    looked = {
        "kaggle": "csv/dicom_info.csv (Kaggle copy)",
        "tcia": "folders such as Mass-Training_P_00001_LEFT_CC (TCIA copy)",
    }
    nothing = " nor ".join(looked[name] for name in wanted)
    raise DatasetError(f"{root} holds no CBIS-DDSM: neither {nothing}. {_HELP}", missing=True)


def _is_open(path: Path) -> bool:
    """Whether a path is a folder, reached through no link, that can be listed."""
    folder = os.path.isdir(path) and os.path.realpath(path) == str(path)
    return folder and os.access(path, os.R_OK | os.X_OK)


def _table_folders(root: Path, places: list[Path]) -> list[Path]:
    parents = [*places, root, *(place.parent for place in places)]
    folders = [folder for parent in parents for folder in (parent / "csv", parent)]
    return [folder for folder in folders if folder.is_relative_to(root) and _is_open(folder)]


def find_tables(
    root: Path, places: list[Path], csv_dir: str | Path | None, choices: Iterable[Abnormality]
) -> tuple[Path, Abnormality]:
    """Return the folder of the tables, and the first choice of lesions that all are there for."""
    lacking = []
    for folder in [on_disk(csv_dir)] if csv_dir else _table_folders(root, places):
        for choice in choices:
            names = [table_name(kind, split) for kind in _kinds(choice) for split in SPLITS]
            missing = [name for name in names if not os.path.exists(folder / name)]
            if not missing:
                return folder, choice
            lacking.append((len(missing), ", ".join(missing), folder))
    _, missing_names, folder = min(lacking)
    raise DatasetError(
        f"the table(s) {missing_names} are not in {folder}. They are separate downloads: "
        "mammocourse.datasets.fetch('cbis-ddsm-tables') gets them; put all together there, or "
        "pass csv_dir."
    )


# ------------------------------------------------------------------------- images


@dataclass
class Located:
    """The three images of one row of the tables; None where one could not be found."""

    full: ImageHeader | None = None
    crop: ImageHeader | None = None
    mask: ImageHeader | None = None
    swapped: bool = False
    misdescribed: bool = False
    undescribed: int = 0
    errors: dict[str, DatasetError] = field(default_factory=dict)


def locate(row: Any, tree: _Tree, parts: Iterable[str]) -> Located:
    """Find the images of one row.

    Parameters
    ----------
    row : namedtuple
        A row of :func:`read_cbis_tables`.
    tree : _Tree
        The copy on disk.
    parts : iterable of {"full", "crop", "mask"}
        What is needed; crop and mask are always told apart from each other.

    Returns
    -------
    Located
        The images' headers, and in ``errors`` why a needed one is missing.
    """
    found = Located()
    fulls, errors = tree.images(row.image_uid, row.full_file)
    found.undescribed += sum(not image.description for image in fulls)
    _settle(found, "full", fulls, errors)
    near: list[ImageHeader] = []
    errors = []
    for uid, file in {row.crop_uid: row.crop_file, row.mask_uid: row.mask_file}.items():
        images, wrong = tree.images(uid, file)
        near += images
        errors += [error for error in wrong if error not in errors]
    _tell_apart(found, near, errors, row)
    found.errors = {part: why for part, why in found.errors.items() if part in parts}
    return found


def _settle(
    found: Located, part: str, images: list[ImageHeader], errors: list[DatasetError]
) -> None:
    """Note the one image that can be the part, or why there is none."""
    if len(images) == 1:
        setattr(found, part, images[0])
    elif images:
        names = ", ".join(str(image.path) for image in images)
        found.errors[part] = DatasetError(f"{len(images)} images could be it: {names}.")
    else:
        nothing = DatasetError("its series is there, but without such an image.", missing=True)
        found.errors[part] = errors.pop(0) if errors else nothing


def _kind(image: ImageHeader, full: ImageHeader | None) -> str:
    """Tell what an image is: its description, then its bit depth, then its size."""
    for word in ("crop", "mask", "full"):
        if word in image.description.lower():
            return word
    if image.bits == 8:
        return "mask"
    return "mask" if full is not None and same_size(image, full) else "crop"


def same_size(image: ImageHeader, full: ImageHeader) -> bool:
    """Whether two images have the same size up to the few pixels by which masks differ."""
    return max(abs(image.rows - full.rows), abs(image.columns - full.columns)) <= SLACK


def _tell_apart(
    found: Located, near: list[ImageHeader], errors: list[DatasetError], row: Any
) -> None:
    """Settle which image is the crop and which the mask, whatever the table calls them."""
    found.undescribed += sum(not image.description for image in near)
    kinds = [_kind(image, found.full) for image in near]
    if len(near) == 2 and kinds[0] == kinds[1]:  # one description must be wrong: disregard both
        found.misdescribed = any(image.description for image in near)
        kinds = [_kind(replace(image, description=""), found.full) for image in near]
        areas = [image.rows * image.columns for image in near]
        if kinds[0] == kinds[1] and areas[0] != areas[1]:  # a crop is part of the film
            kinds = ["crop" if area == min(areas) else "mask" for area in areas]
    for part in ("crop", "mask"):
        fitting = [image for image, kind in zip(near, kinds, strict=True) if kind == part]
        _settle(found, part, fitting, errors)
    crop, mask = found.crop, found.mask
    if crop and mask:
        if mask.rows * mask.columns < crop.rows * crop.columns:
            found.crop, found.mask, found.misdescribed = mask, crop, True
        found.swapped = _table_swaps(found, row)


def _table_swaps(found: Located, row: Any) -> bool:
    """Whether the table's path of the crop leads to the mask."""
    assert found.crop is not None
    assert found.mask is not None
    if row.crop_uid != row.mask_uid:
        return found.crop.series_uid == row.mask_uid
    named = PurePosixPath(row.crop_file).name, PurePosixPath(row.mask_file).name
    return named == (found.mask.path.name, found.crop.path.name)


def open_tree(layout: str, places: list[Path], report: Report) -> _Tree:
    """Return the copy that :func:`find_layout` found."""
    return _KaggleTree(places[0], report) if layout == "kaggle" else _TciaTree(places)


def read_cbis_ddsm(
    root: str | Path,
    *,
    abnormality: Abnormality = "mass",
    image: Literal["crop", "full"] = "crop",
    layout: Literal["auto", "kaggle", "tcia"] = "auto",
    strict: bool = True,
    csv_dir: str | Path | None = None,
) -> pd.DataFrame:
    """Read CBIS-DDSM as a table with one row per lesion and view.

    Parameters
    ----------
    root : str or Path
        Folder of the Kaggle copy (with ``csv`` and ``jpeg``) or of the TCIA copy
        (with ``CBIS-DDSM`` or its folders), or of a folder around it. It is only
        read.
    abnormality : {"mass", "calc", "both"}
        Which lesions.
    image : {"crop", "full"}
        Whether ``image_path`` leads to the crop around the lesion or to the full
        mammogram. There is one row per lesion in both cases, so a film with two
        lesions appears twice.
    layout : {"auto", "kaggle", "tcia"}
        Which copy; "auto" finds out, and refuses a folder with both.
    strict : bool
        True raises when a row is not sound; False leaves such rows out and
        lists them in ``frame.attrs["report"]``.
    csv_dir : str or Path, optional
        Folder of the official tables where they do not lie in ``root`` or
        ``root/csv``.

    Returns
    -------
    DataFrame
        The columns ``patient_id``, ``laterality`` (LEFT, RIGHT), ``view`` (CC,
        MLO), ``abnormality_id``, ``abnormality_type`` (mass, calcification),
        ``pathology`` (three words), ``label`` (1 malignant, 0 benign),
        ``assessment`` (BI-RADS 0 to 5), ``mass_shape``, ``mass_margins``,
        ``calc_type``, ``calc_distribution`` (``"N/A"`` where none is given),
        ``breast_density`` (1 to 4, 0 unknown), ``subtlety`` (1 to 5, 0 unknown),
        ``split`` (the official train or test), ``image_path``, ``mask_path``,
        ``image_uid`` (series of the full mammogram: rows that share it show the
        same film), ``lesion_id`` (the same in both views), and where the row
        came from (``table``, ``line`` and the table's own paths).

    Raises
    ------
    DatasetError
        If the copy or a table is missing or malformed, or (strict) a row is not
        sound: an image is missing, empty, truncated, a symbolic link, or outside
        ``root``. Its ``problems`` list the offending rows.
    ValueError
        If an argument is not allowed.

    Notes
    -----
    Headers are checked here; pixels are decoded by ``load_image`` and by
    ``audit_cbis_ddsm``. Files are never joined by their number.

    Examples
    --------
    >>> frame = read_cbis_ddsm("~/data/cbis-ddsm", strict=False)  # doctest: +SKIP
    >>> print(frame.attrs["report"])  # doctest: +SKIP
    """
    if image not in ("crop", "full"):
        raise ValueError(f"image is {image!r}; it must be 'crop' or 'full'.")
    if layout not in ("auto", "kaggle", "tcia"):
        raise ValueError(f"layout is {layout!r}; it must be 'auto', 'kaggle' or 'tcia'.")
    kinds = _kinds(abnormality)
    base = on_disk(root)
    report = Report()
    found, places = find_layout(base, layout)
    tree = open_tree(found, places, report)
    tables, _ = find_tables(base, places, csv_dir, [abnormality])
    frame = _read_tables(tables, kinds, report)
    frame = _with_images(frame, tree, image, report)
    report.n_sound = len(frame)
    report.settle(strict, f"the CBIS-DDSM in {base} is not sound")
    frame.attrs["report"] = report
    return frame


def _with_images(frame: pd.DataFrame, tree: _Tree, image: str, report: Report) -> pd.DataFrame:
    kept, paths = [], []
    row: Any
    for row in frame.itertuples():
        found = locate(row, tree, (image, "mask"))
        chosen = getattr(found, image)
        if found.errors or chosen is None or found.mask is None:
            for part, why in found.errors.items():
                what = f"the {part} of {row.lesion_id} {row.view} is not usable: {why}"
                report.problems.append(Problem(row.table, row.line, what, _AGAIN))
            continue
        kept.append(row.Index)
        paths.append((str(chosen.path), str(found.mask.path)))
        report.note("crop and mask swapped in the table", found.swapped)
        report.note("crop and mask described wrongly", found.misdescribed)
        report.note("images without a description", found.undescribed)
        report.note("crop and mask in one series", row.crop_uid == row.mask_uid)
    sound = frame.loc[kept].reset_index(drop=True)
    sound["image_path"] = [image for image, _ in paths]
    sound["mask_path"] = [mask for _, mask in paths]
    return sound


def read_dicom_folder(folder: str | Path) -> pd.DataFrame:
    """Read what single CBIS-DDSM DICOM files say about themselves, without tables.

    Parameters
    ----------
    folder : str or Path
        A folder; every ``.dcm`` file under it is read.

    Returns
    -------
    DataFrame
        One row per file: ``patient_id``, ``laterality``, ``view``,
        ``abnormality_type``, ``split``, ``image_path``, ``image_uid``, ``rows``,
        ``columns``, ``bits``, ``description``. Patient, kind and official set
        come from PatientID; the view from PatientOrientation, because
        ViewPosition is absent.

    Raises
    ------
    DatasetError
        If a file is damaged or is no CBIS-DDSM image, or there is none.
    """
    rows = [_from_header(read_header(path)) for path in _files(on_disk(folder), (".dcm",))]
    if not rows:
        raise DatasetError(f"there is no .dcm file under {folder}. {_HELP}")
    return pd.DataFrame(rows)


def _from_header(header: ImageHeader) -> dict[str, Any]:
    match = FOLDER.fullmatch(header.patient)
    if match is None:
        raise DatasetError(
            f"{header.path} has the PatientID {header.patient[:60]!r}; in CBIS-DDSM it reads like "
            "Mass-Test_P_00173_LEFT_CC. It is an image of another data set: take it out."
        )
    kind, split, patient, laterality, view, _ = match.groups()
    if (header.laterality or laterality, header.view or view) != (laterality, view):
        raise DatasetError(
            f"{header.path} is {laterality} {view} by its PatientID and {header.laterality} "
            f"{header.view} by Laterality and PatientOrientation. Download the file again."
        )
    return {
        "patient_id": patient,
        "laterality": laterality,
        "view": view,
        "abnormality_type": TYPES[kind.lower()],
        "split": {name: key for key, name in SPLITS.items()}[split],
        "image_path": str(header.path),
        "image_uid": header.series_uid,
        "rows": header.rows,
        "columns": header.columns,
        "bits": header.bits,
        "description": header.description,
    }
