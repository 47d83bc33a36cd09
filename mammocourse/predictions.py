"""The stored predictions of a model: one row per image, as text that anybody can read.

Chapters 8, 9 and 12 write them, chapter 13 compares them. A table has the columns

- ``id``: the image or lesion, as text; together with ``model``, ``split`` and ``scale``
  (those that are there) it occurs once;
- ``group``: the patient, as text: rows of one patient are not independent;
- ``label``: 1 for malignant, 0 for benign;
- ``score``: the model's score, larger for malignant, on any scale;
- optionally ``model``, ``split`` ("train", "val" or "test") and ``scale`` (the mode,
  "small" or "full", in which it was made).

The files are CSV (comma, UTF-8, a header line) and hold the scores with all their digits.
"""

from __future__ import annotations

import contextlib
import csv
import os
import re
import secrets
from pathlib import Path

import numpy as np
import pandas as pd

from mammocourse import mode
from mammocourse.fetching import cache_folder
from mammocourse.resources import data_folder
from mammocourse.tables import DatasetError

__all__ = ["available_predictions", "predictions_path", "read_predictions", "write_predictions"]

REQUIRED = ("id", "group", "label", "score")
OPTIONAL = ("model", "split", "scale")
_ALLOWED = {"split": ("train", "val", "test"), "scale": ("small", "full")}


def predictions_path(name: str) -> Path:
    """Return where this machine keeps the predictions of a model, by the current mode.

    Parameters
    ----------
    name : str
        Chapter and model, for example "08_lasso".

    Returns
    -------
    Path
        ``predictions/<mode>/<name>.csv`` in :func:`~mammocourse.fetching.cache_folder`;
        it need not exist yet.

    Raises
    ------
    ValueError
        If the name is not two digits, an underscore and lower-case letters, digits or
        underscores.
    """
    if not (isinstance(name, str) and re.fullmatch(r"\d\d_[a-z0-9_]+", name)):
        raise ValueError(
            f"name is {name!r}; it must be the chapter and the model, for example '08_lasso'."
        )
    return cache_folder() / "predictions" / mode() / f"{name}.csv"


def available_predictions() -> dict[str, Path]:
    """Return the predictions that can be read, by their names.

    Returns
    -------
    dict of str to Path
        The full-scale ones that come with the course (``data/results/predictions``), and,
        for other names, those that this machine has made in the current mode.
    """
    folders = (cache_folder() / "predictions" / mode(), data_folder() / "results" / "predictions")
    found = {path.stem: path for folder in folders for path in folder.glob("*.csv")}
    return dict(sorted(found.items()))


def write_predictions(path: str | Path, frame: pd.DataFrame) -> None:
    """Write a table of predictions, all of it or nothing.

    Parameters
    ----------
    path : str or Path
        The CSV file; its folder is made, and an old file is replaced at once.
    frame : DataFrame
        The columns of the module's description; others are left out.

    Raises
    ------
    ValueError
        If the table is not as described.
    DatasetError
        If the file cannot be written.
    """
    columns = [name for name in (*REQUIRED, *OPTIONAL) if name in frame]
    table = _checked(frame[columns], "frame")
    path = Path(path).expanduser()
    temporary = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("x", encoding="utf-8", newline="") as file:
            table.to_csv(file, index=False, lineterminator="\n")
        os.replace(temporary, path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise DatasetError(
            f"{path} cannot be written ({reason}). Give the path of a file, in a folder that "
            "you may write to."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()  # no longer there if all went well


def read_predictions(path: str | Path) -> pd.DataFrame:
    """Read a table of predictions and check it.

    Parameters
    ----------
    path : str or Path
        A file of :func:`write_predictions`.

    Returns
    -------
    DataFrame
        ``id`` and ``group`` as text, ``label`` int, ``score`` float, and the optional
        columns that are there, as text; other columns are left out.

    Raises
    ------
    DatasetError
        If the file is missing, is no CSV table, or holds what the format does not allow.
    """
    path = Path(path).expanduser()
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = next(csv.reader(file), [])
            wide = next((line for line in csv.reader(file) if len(line) > len(header)), None)
            if wide is not None or len(set(header)) < len(header):
                raise ValueError(f"header {','.join(header)}, line {','.join(wide or header)}")
            file.seek(0)
            frame = pd.read_csv(file, dtype=str, keep_default_na=False, index_col=False)
    except FileNotFoundError:
        raise DatasetError(
            f"{path} does not exist. Run the chapter that writes these predictions first."
        ) from None
    except (OSError, ValueError, pd.errors.ParserError) as error:
        raise DatasetError(
            f"{path} is no table of predictions ({error}). Write it again."
        ) from error
    frame = frame[[name for name in (*REQUIRED, *OPTIONAL) if name in frame]].copy()
    if "label" in frame:
        frame["label"] = [{"0": 0, "1": 1}.get(text, text) for text in frame["label"]]
    if "score" in frame:
        with contextlib.suppress(ValueError):  # the check below names the row
            frame["score"] = [float(text) for text in frame["score"]]  # with all digits
    try:
        return _checked(frame, str(path))
    except ValueError as error:
        raise DatasetError(f"{error} Write the file again.") from None


def _checked(frame: pd.DataFrame, where: str) -> pd.DataFrame:
    """Return the table with the types of the format, or say what is wrong with it."""
    missing = [name for name in REQUIRED if name not in frame]
    if missing or not len(frame):
        what = f"lacks the column(s) {', '.join(map(repr, missing))}" if missing else "has no rows"
        raise ValueError(f"{where} {what}; it needs {', '.join(REQUIRED)} and at least one row.")
    table = frame.reset_index(drop=True)
    score = pd.to_numeric(table["score"], errors="coerce").astype(float)
    wrong: dict[str, tuple[pd.Series, str]] = {
        "label": (~table["label"].isin([0, 1]), "it must be 0 or 1"),
        "score": (score.isin([np.inf, -np.inf]) | score.isna(), "it must be a finite number"),
    }
    texts = {name: table[name].astype(str) for name in ("id", "group", "model") if name in table}
    for name, text in texts.items():
        unfit = table[name].isna() | (text.str.strip() == "") | text.str.contains(r"[\r\n\0]")
        wrong[name] = (unfit, "it must not be empty, and stand on one line")
    for name, allowed in _ALLOWED.items():
        if name in table:
            wrong[name] = (~table[name].isin(allowed), f"it must be one of {', '.join(allowed)}")
    for name, (bad, expected) in wrong.items():
        if bad.any():
            row = int(np.argmax(bad))
            value = table[name].tolist()[row]
            raise ValueError(f"{where}: {name} is {value!r} in row {row}; {expected}.")
    table = table.assign(**texts)  # 7 and "7" are the same in the file
    keys = [name for name in ("id", *OPTIONAL) if name in table]
    doubled = table.duplicated(keys)
    if doubled.any():
        row = int(np.argmax(doubled))
        raise ValueError(
            f"{where}: the id {table['id'].iloc[row]!r} occurs twice for the same model "
            f"(row {row}). Name each image once; average the scores of its copies."
        )
    return table.assign(label=table["label"].astype(int), score=score)
