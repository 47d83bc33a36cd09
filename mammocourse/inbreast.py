"""INbreast: its case table and its DICOM files (section 5 of the AUC paper).

The table knows the findings, the file names know the patients: each is needed to
make sense of the other. Everything is read-only.
"""

from __future__ import annotations

import io
import os
import re
import warnings
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from mammocourse.cbis_ddsm import _files
from mammocourse.images import read_header
from mammocourse.tables import (
    MAX_TABLE_BYTES,
    DatasetError,
    Problem,
    Report,
    check_file,
    check_header,
    on_disk,
    read_table,
)

__all__ = ["read_inbreast"]

NEEDED = ["laterality", "view", "acquisition date", "file name", "acr", "bi-rads"]
FINDINGS = ["mass", "micros", "distortion", "asymmetry"]
TABLES = ("INbreast.xls", "INbreast.xlsx", "INbreast.csv")
FILE = re.compile(r"(\d+)_([0-9A-Za-z]+)_MG_([LR])_(CC|MLO|ML|FB)_ANON\.dcm", re.IGNORECASE)
SIDES = {"L": "LEFT", "R": "RIGHT"}
VIEWS = {"CC": "CC", "MLO": "MLO", "ML": "MLO", "FB": "FB"}
ALLOWED = {
    "laterality": "[LR]",
    "view": "CC|MLO|ML|FB",
    "file name": r"\d+",
    "bi-rads": "[1-6][abcABC]?",
    "acr": "[1-4]?",
}
_AGAIN = "Copy the file from the original INbreast, or pass strict=False to go on without it."


def read_inbreast(
    root: str | Path,
    *,
    birads3: Literal["drop", "negative", "keep"] = "drop",
    strict: bool = True,
) -> pd.DataFrame:
    """Read INbreast as a table with one row per mammogram.

    Parameters
    ----------
    root : str or Path
        Folder with ``INbreast.xls`` (or ``.xlsx``, or ``.csv``) and
        ``AllDICOMs``, or the path of such a table. It is only read.
    birads3 : {"drop", "negative", "keep"}
        What becomes of BI-RADS 3 ("probably benign"): left out, as in the AUC
        paper; label 0; or kept with a missing label.
    strict : bool
        True raises when a row or a file is not sound; False leaves it out and
        lists it in ``frame.attrs["report"]``.

    Returns
    -------
    DataFrame
        ``patient_id`` (the second part of the file name, the only key of the
        patient), ``laterality`` (LEFT, RIGHT), ``view`` (CC, MLO, and FB for
        one film), ``birads`` (1 to 6), ``birads_text`` (for example ``"4a"``),
        ``label`` (1 for BI-RADS 4 to 6, 0 for 1 and 2), ``breast_density`` (ACR,
        1 to 4, missing for one film), ``acquisition_date``, ``image_uid`` (the
        number of the film), ``image_path``, and ``mass``, ``micros``,
        ``distortion``, ``asymmetry`` where the table has them. From a table
        alone, ``patient_id`` and ``image_path`` are missing, with a warning.

    Raises
    ------
    DatasetError
        If the table is missing or malformed, or (strict) a row or file is not
        sound: no DICOM for a row, no row for a DICOM, another side in the name,
        a truncated file. Its ``problems`` list them.
    ValueError
        If ``birads3`` is not allowed.

    Notes
    -----
    MLO is written ``ML`` in the file names. BI-RADS 4 is divided into 4a, 4b and
    4c. The spreadsheet ends with two footer rows. Copies as CSV are separated by
    semicolons.
    """
    if birads3 not in ("drop", "negative", "keep"):
        raise ValueError(f"birads3 is {birads3!r}; it must be 'drop', 'negative' or 'keep'.")
    base = on_disk(root)
    report = Report()
    folder, table = _find(base)
    frame = _read_table(table, report)
    frame = _with_images(frame, folder, table, report)
    report.n_sound = len(frame)
    frame = _labeled(frame, birads3, report)
    report.settle(strict, f"the INbreast in {base} is not sound")
    frame.attrs["report"] = report
    return frame


def _find(base: Path) -> tuple[Path | None, Path]:
    """Return the folder of the DICOM files (None if there is none) and the table."""
    tables = [base] if os.path.isfile(base) else []
    below = sorted(base.iterdir()) if os.path.isdir(base) and os.access(base, os.R_OK) else []
    for place in [base, *(path for path in below if not path.is_symlink())]:
        tables = tables or [place / name for name in TABLES if os.path.exists(place / name)]
    if tables:
        folder = tables[0].parent / "AllDICOMs"
        return (folder if os.path.isdir(folder) else None), _readable(tables)
    raise DatasetError(
        f"{base} holds no INbreast table ({', '.join(TABLES)}). "
        "mammocourse.datasets.fetch('inbreast') explains how to get the data; "
        "mammocourse.phantom.write_inbreast writes a generated data set in the same layout."
    )


def _readable(tables: list[Path]) -> Path:
    """Prefer the spreadsheet, unless only the CSV can be read here."""
    engines = {".xls": "xlrd", ".xlsx": "openpyxl"}
    from importlib.util import find_spec

    usable = [path for path in tables if find_spec(engines.get(path.suffix, "csv")) is not None]
    if not usable:
        raise DatasetError(
            f"{tables[0]} needs a package that is not installed here: pip install "
            f"{engines[tables[0].suffix]}. Or save the table as INbreast.csv."
        )
    return usable[0]


def _read_table(path: Path, report: Report) -> pd.DataFrame:
    if path.suffix.lower() == ".csv":
        raw = read_table(path, NEEDED, report, encodings=("utf-8-sig", "latin-1"))
    else:
        raw = _read_spreadsheet(path)
    raw = raw.loc[:, ~raw.columns.duplicated()].copy()
    sound = pd.DataFrame(index=raw.index)
    for name, pattern in ALLOWED.items():
        raw[name] = raw[name].str.removesuffix(".0")
        sound[name] = raw[name].str.fullmatch(pattern).astype(bool)
    # the footer counts findings and names the abbreviations: it describes no film
    footer = sound[["laterality", "view", "file name", "bi-rads"]].sum(axis=1) < 2
    report.note("footer rows", footer.sum())
    raw, sound = raw[~footer], sound[~footer]
    report.n_rows = len(raw)
    for name, pattern in ALLOWED.items():
        for line, value in raw.loc[~sound[name], name].items():
            what = f"{name} is {value[:60]!r}; expected {pattern.replace('|', ' or ')}."
            report.problems.append(Problem(str(path), int(str(line)), what, "Restore the table."))
    bad = ~sound.all(axis=1)
    twice = raw["file name"].duplicated() & ~bad
    for line, value in raw.loc[twice, "file name"].items():
        what = f"the film {value} is described by an earlier row."
        report.problems.append(Problem(str(path), int(str(line)), what, "Restore the table."))
    return _tidy(raw[~bad & ~twice])


def _read_spreadsheet(path: Path) -> pd.DataFrame:
    check_file(path, MAX_TABLE_BYTES)
    try:
        # xlrd would print its remarks
        quiet = {"logfile": io.StringIO()} if path.suffix.lower() == ".xls" else None
        raw = pd.read_excel(path, dtype=str, keep_default_na=False, engine_kwargs=quiet)
    except Exception as error:  # a damaged workbook makes the libraries raise almost anything
        raise DatasetError(
            f"{path} cannot be read as a spreadsheet ({type(error).__name__}: {str(error)[:200]}). "
            "Copy the original file again, or save it as INbreast.csv."
        ) from error
    raw = raw.fillna("").astype(str).apply(lambda column: column.str.strip()).astype(object)
    raw.columns = pd.Index([" ".join(str(name).lower().split()) for name in raw.columns])
    check_header(path, raw.columns.tolist(), NEEDED)
    raw.index = pd.Index(range(2, len(raw) + 2), name="line")
    return raw


def _tidy(raw: pd.DataFrame) -> pd.DataFrame:
    text = raw["bi-rads"].str.lower()
    frame = pd.DataFrame(
        {
            "patient_id": None,
            "laterality": raw["laterality"].map(SIDES),
            "view": raw["view"].map(VIEWS),
            "birads": text.str[:1].astype("int64"),
            "birads_text": text,
            "label": 0,
            "breast_density": pd.to_numeric(raw["acr"].replace("", pd.NA)).astype("Int64"),
            "acquisition_date": raw["acquisition date"],
            "image_uid": raw["file name"],
            "image_path": None,
        }
    )
    for name in FINDINGS:
        if name in raw:
            frame[name] = raw[name].ne("")
    return frame


def _with_images(
    frame: pd.DataFrame, folder: Path | None, table: Path, report: Report
) -> pd.DataFrame:
    if folder is None:
        warnings.warn(
            f"there is no folder AllDICOMs beside {table}: the table alone is read, without "
            "patients and images.",
            UserWarning,
            stacklevel=3,
        )
        return frame.reset_index(drop=True)
    if folder.is_symlink():
        raise DatasetError(f"{folder} is a symbolic link, which is not followed.")
    films = _films(folder, report)
    kept = []
    for line, row in frame.iterrows():
        film = films.pop(str(row["image_uid"]), None)
        what = _mismatch(row, film)
        if what:
            report.problems.append(Problem(str(table), int(str(line)), what, _AGAIN))
            continue
        assert film is not None
        kept.append(line)
        frame.loc[line, ["patient_id", "image_path"]] = [film["patient_id"], film["path"]]
        report.note("MLO written ML in the file name", film["view_text"] == "ML")
    for film in films.values():
        what = "no row of the table describes this film."
        report.problems.append(Problem(film["path"], None, what, "Restore the table."))
    return frame.loc[kept].reset_index(drop=True)


def _films(folder: Path, report: Report) -> dict[str, dict[str, Any]]:
    """Return what the file names say, by the number of the film."""
    films: dict[str, dict[str, Any]] = {}
    for path in _files(folder, (".dcm",)):
        match = FILE.fullmatch(path.name)
        if match is None or match.group(1) in films:
            what = (
                "the name does not read like 20586908_6c613a14b80a8591_MG_R_CC_ANON.dcm."
                if match is None
                else f"film {match.group(1)} is there twice."
            )
            report.problems.append(Problem(str(path), None, what, _AGAIN))
            continue
        number, patient, side, view = match.groups()
        films[number] = {
            "patient_id": patient.lower(),
            "laterality": SIDES[side.upper()],
            "view": VIEWS[view.upper()],
            "view_text": view.upper(),
            "path": str(path),
        }
    return films


def _mismatch(row: pd.Series, film: dict[str, Any] | None) -> str:
    """Say why a film does not fit its row, or return nothing."""
    if film is None:
        return f"there is no DICOM file of the film {row['image_uid']}."
    if film["laterality"] != row["laterality"]:
        return f"the table says {row['laterality']}, the file name {film['path']} the other side."
    if "FB" not in (film["view"], row["view"]) and film["view"] != row["view"]:
        return f"the table says {row['view']}, the file name {film['path']} another view."
    try:
        read_header(Path(film["path"]))
    except DatasetError as error:
        return str(error)
    return ""


def _labeled(frame: pd.DataFrame, birads3: str, report: Report) -> pd.DataFrame:
    if birads3 == "drop":
        report.note("films of BI-RADS 3 left out", (frame["birads"] == 3).sum())
        frame = frame[frame["birads"] != 3].reset_index(drop=True)
    frame["label"] = (frame["birads"] >= 4).astype("int64")
    if birads3 == "keep":
        frame["label"] = frame["label"].astype("Int64").mask(frame["birads"] == 3)
    return frame
