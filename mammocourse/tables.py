"""Reading the tables of a data set, and the one error of all readers.

Every reader of the course reports what is wrong with a user's files in the same
way: a :class:`DatasetError` whose message names each offending file and line and
says what to do, or (``strict=False``) a :class:`Report` beside the sound rows.
Nothing here writes to disk.
"""

from __future__ import annotations

import csv
import io
import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pandas as pd

__all__ = ["DatasetError", "Problem", "Report", "check_file", "inside", "on_disk", "read_table"]

MAX_TABLE_BYTES = 64 * 2**20
"""Largest table that is read: the real ones stay below 10 MB."""

SHOWN = 10
"""Problems that a message spells out before it only says where the others are."""


class Problem(NamedTuple):
    """One thing that is wrong with the user's files.

    Attributes
    ----------
    file : str
        The file or folder it is about.
    row : int or None
        Line of the table (the header is line 1) on which the record starts.
    what : str
        What was found and what was expected.
    remedy : str
        What to do about it.
    """

    file: str
    row: int | None
    what: str
    remedy: str = ""

    def __str__(self) -> str:
        where = self.file if self.row is None else f"{self.file}, line {self.row}"
        return f"{where}: {self.what}" + (f" {self.remedy}" if self.remedy else "")


def _listed(problems: Sequence[Problem]) -> str:
    lines = [f"  - {problem}" for problem in problems[:SHOWN]]
    others: dict[str, list[int | None]] = {}
    for problem in problems[SHOWN:]:
        others.setdefault(problem.file, []).append(problem.row)
    if others:
        lines.append(f"  ... and {len(problems) - SHOWN:,} more:")
    for file, rows in others.items():
        named = ", ".join(dict.fromkeys(str(row) for row in rows if row is not None))
        lines.append(f"    {file}" + (f", line(s) {named}" if named else ""))
    return "\n".join(lines)


class DatasetError(ValueError):
    """A data set on disk is not what the reader can vouch for.

    Parameters
    ----------
    message : str
        One sentence: what failed and what to do.
    problems : iterable of Problem
        The offending files and rows; the message explains the first ten and names all.
    missing : bool
        Whether a file is missing, as opposed to damaged.

    Attributes
    ----------
    problems : list of Problem
        All of them, in full.
    missing : bool
        As given.
    """

    def __init__(
        self, message: str, problems: Iterable[Problem] = (), *, missing: bool = False
    ) -> None:
        self.message = message
        self.problems = list(problems)
        self.missing = missing
        super().__init__(message, self.problems)

    def __str__(self) -> str:
        return "\n".join([self.message, *filter(None, [_listed(self.problems)])])


@dataclass
class Report:
    """What a reader left out and what it put right; prints as a readable list.

    Attributes
    ----------
    problems : list of Problem
        Rows and files that were left out, and why.
    notes : dict of int
        How often a known quirk was met and handled, by its description.
    n_rows, n_sound : int
        Rows in the tables, and how many of them are sound.
    """

    n_rows: int = 0
    n_sound: int = 0
    problems: list[Problem] = field(default_factory=list)
    notes: dict[str, int] = field(default_factory=dict)

    def note(self, quirk: str, count: int = 1) -> None:
        """Count a quirk that was met and handled."""
        if count:
            self.notes[quirk] = self.notes.get(quirk, 0) + int(count)

    def __str__(self) -> str:
        lines = [
            f"{self.n_sound:,} of {self.n_rows:,} rows are sound; {len(self.problems):,} problems."
        ]
        lines += [f"  {quirk}: {count:,}" for quirk, count in self.notes.items()]
        return "\n".join([*lines, *filter(None, [_listed(self.problems)])])

    __repr__ = __str__  # a notebook shows what print would

    def __deepcopy__(self, memo: object) -> Report:
        """Return itself: pandas copies a frame's attrs at every operation."""
        return self

    def settle(self, strict: bool, message: str) -> None:
        """Raise a DatasetError where there are problems and the reader is strict."""
        if strict and self.problems:
            raise DatasetError(
                f"{message}: {len(self.problems):,} problem(s). strict=False returns the sound "
                'rows and lists the others in frame.attrs["report"].',
                self.problems,
            )


def on_disk(path: str | Path) -> Path:
    """Return the absolute path of what a user named: ``~`` expanded, links followed.

    Raises
    ------
    DatasetError
        If the links run in a circle, the user after ``~`` is unknown, or the name
        is none.
    """
    try:
        return Path(path).expanduser().resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise DatasetError(f"{str(path)!r} is no path on this computer ({error}).") from error


def check_file(path: Path, max_bytes: int, *, links: bool = False) -> int:
    """Refuse what is not an ordinary, non-empty file of a plausible size.

    Parameters
    ----------
    path : Path
        The file.
    max_bytes : int
        Largest size that is read, in bytes.
    links : bool
        Whether the file may be a symbolic link.

    Returns
    -------
    int
        Its size in bytes.

    Raises
    ------
    DatasetError
        If it is missing, a symbolic link, a folder, a device, empty, too large or not
        readable.
    """
    try:
        status = path.stat() if links else path.lstat()
    except (OSError, ValueError) as error:
        raise DatasetError(
            f"{path} cannot be read ({getattr(error, 'strerror', None) or error}). "
            "Check the name and the permissions, or copy the file again.",
            missing=isinstance(error, FileNotFoundError),
        ) from error
    if stat.S_ISLNK(status.st_mode):
        raise DatasetError(
            f"{path} is a symbolic link, which is not followed. Put the file itself there."
        )
    if not stat.S_ISREG(status.st_mode):
        raise DatasetError(f"{path} is not an ordinary file. Put the data file itself there.")
    if not os.access(path, os.R_OK):
        raise DatasetError(f"{path} cannot be read (permission denied). Change its permissions.")
    if status.st_size == 0:
        raise DatasetError(f"{path} is empty. Copy or download the file again.")
    if status.st_size > max_bytes:
        raise DatasetError(
            f"{path} has {status.st_size:,} bytes; at most {max_bytes:,} are read. "
            "It is not a file of this data set: copy or download it again."
        )
    return status.st_size


def inside(root: Path, relative: str) -> Path:
    """Return ``root / relative`` if that stays inside root and meets no symbolic link.

    Parameters
    ----------
    root : Path
        A folder, resolved.
    relative : str
        A path from a table, with forward or backward slashes.

    Returns
    -------
    Path
        The path; it need not exist.

    Raises
    ------
    DatasetError
        If the path is absolute, empty, contains ``..`` or passes a symbolic link.
    """
    parts = PurePosixPath(relative.strip().replace("\\", "/")).parts
    absolute = bool(parts) and (parts[0].startswith("/") or ":" in parts[0])
    if not parts or absolute or ".." in parts or "\0" in relative:
        raise DatasetError(
            f"the path {relative!r} leads out of {root} or nowhere. Paths in the tables are "
            "relative to the data set; restore the original table."
        )
    path = root
    for part in parts:
        path = path / part
        try:
            link = path.is_symlink()
        except OSError as error:
            raise DatasetError(f"the path {relative[:80]!r} is not usable ({error}).") from error
        if link:
            raise DatasetError(
                f"{path} is a symbolic link, which is not followed. Put the file itself there."
            )
    return path


def _decoded(path: Path, encodings: Sequence[str]) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{path} cannot be read ({error}). Check the permissions.") from error
    if b"\0" in content:
        raise DatasetError(
            f"{path} is not a text table: it contains NUL bytes (UTF-16, or a damaged file). "
            "Save it as CSV in UTF-8, or copy the original again."
        )
    for encoding in encodings:
        try:
            return content.decode(encoding)
        except UnicodeDecodeError as error:
            failed = error
    raise DatasetError(
        f"{path} is not UTF-8 text (byte {failed.start:,}). Save it as CSV in UTF-8, or copy "
        "the original again."
    )


def read_table(
    path: Path,
    columns: Sequence[str],
    report: Report,
    *,
    encodings: Sequence[str] = ("utf-8-sig",),
) -> pd.DataFrame:
    """Read a comma-, semicolon- or tab-separated table as text.

    Parameters
    ----------
    path : Path
        The table, with a header line.
    columns : sequence of str
        Columns it must have. Names are compared without case, surrounding
        spaces, and with ``_`` read as a space.
    report : Report
        Records with too few or too many fields are added to its problems.
    encodings : sequence of str
        Text encodings that are tried in turn.

    Returns
    -------
    DataFrame
        Every column as stripped text (``N/A`` stays text, an empty cell is
        ``""``), with normalized names; the index holds the line of the file on
        which each record starts.

    Raises
    ------
    DatasetError
        If the file is missing, empty, no regular file, no UTF-8 text, larger
        than 64 MB, malformed, or lacks a column or has one twice.
    """
    check_file(path, MAX_TABLE_BYTES)
    text = _decoded(path, encodings)
    first = text.split("\n", 1)[0]
    separator = max(",;\t", key=first.count)
    records, lines = [], []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    start = 1
    try:
        for record in reader:
            if any(cell.strip() for cell in record):
                records.append([cell.strip() for cell in record])
                lines.append(start)
            start = reader.line_num + 1
    except csv.Error as error:
        raise DatasetError(
            f"{path}, line {reader.line_num}: malformed ({error}). Restore the original table."
        ) from error
    if not records:
        raise DatasetError(f"{path} has no header line. Restore the original table.")
    header = [" ".join(name.lower().replace("_", " ").split()) for name in records[0]]
    check_header(path, header, columns)
    sound = [len(record) == len(header) for record in records]
    report.problems += [
        Problem(
            str(path),
            line,
            f"{len(record)} fields where the header has {len(header)}.",
            "Restore the original line.",
        )
        for record, line, good in zip(records, lines, sound, strict=True)
        if not good
    ]
    kept = [index for index in range(1, len(records)) if sound[index]]
    frame = pd.DataFrame([records[index] for index in kept], columns=header, dtype=object)
    frame.index = pd.Index([lines[index] for index in kept], name="line", dtype="int64")
    return frame


def check_header(path: Path, header: Sequence[str], columns: Sequence[str]) -> None:
    """Refuse a table that lacks one of the columns or has it twice."""
    missing = [name for name in columns if name not in header]
    if missing:
        raise DatasetError(
            f"{path} lacks the column(s) {', '.join(map(repr, missing))}; its header has "
            f"{', '.join(map(repr, header[:20]))}. Restore the original table."
        )
    doubled = sorted({name for name in columns if header.count(name) > 1})
    if doubled:
        raise DatasetError(
            f"{path} has the column(s) {', '.join(map(repr, doubled))} twice. "
            "Restore the original table."
        )
