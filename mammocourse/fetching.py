"""Fetching data sets: checked against a checksum, resumed after a cut, explained when impossible.

pooch keeps the cache and checks the checksums; this module adds what it lacks, to
resume a download that was cut, and the Kaggle copy through kagglehub.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mammocourse.tables import DatasetError

if TYPE_CHECKING:
    import requests

__all__ = ["cache_folder", "download", "fetch"]

ATTEMPTS = 5
"""How often a cut download is resumed before it is given up."""

TIMEOUT = (10.0, 60.0)
"""Seconds to wait for a connection, and for the next bytes."""

CHUNK = 2**16
"""Bytes that are written at a time; a cut loses at most so many."""

KAGGLE = "awsaf49/cbis-ddsm-breast-cancer-image-dataset"
TCIA = "https://www.cancerimagingarchive.net/collection/cbis-ddsm/"
TABLES_AT = "https://www.cancerimagingarchive.net/wp-content/uploads/"

WITHOUT = (
    "Without it everything in this course still runs: mammocourse.phantom writes generated data "
    "sets in the same layouts (write_cbis_ddsm, write_inbreast), and MAMMOCOURSE_MODE=small uses "
    "nothing else."
)


@dataclass(frozen=True)
class Source:
    """One file of a data set: its name, its size in bytes and its SHA-256."""

    name: str
    size: int
    sha256: str


TABLES = (
    Source(
        "mass_case_description_train_set.csv",
        771_408,
        "4e4a4cab94956b95941564c5c622bc43723c5595f5f3bf6ddf83badaefeedd8d",
    ),
    Source(
        "mass_case_description_test_set.csv",
        216_659,
        "e0d551a56e3b33f21c34f7c872a83807f7e9ac330cf35fe5d08695823a730933",
    ),
    Source(
        "calc_case_description_train_set.csv",
        923_763,
        "251d71462d2d8f93e5ed1b708f28d13210797dec1df989309524c6f9fe523817",
    ),
    Source(
        "calc_case_description_test_set.csv",
        190_061,
        "0c55528bf01c5d01297f3e354b981c7b02f13eba1463a6b2ac57b8f8c8bd94bc",
    ),
)
"""The official tables (CC BY 3.0, Lee et al. 2017)."""

BY_HAND = {
    "cbis-ddsm": (
        f"By hand: download the archive (6 GB) at https://www.kaggle.com/datasets/{KAGGLE}, "
        "unpack it, and pass the folder that contains csv and jpeg to read_cbis_ddsm. The "
        f"original 16-bit DICOM files (163 GB) are at {TCIA}, with NBIA Data Retriever."
    ),
    "cbis-ddsm-tables": (
        f"By hand: download the four case-description CSV files at {TCIA} into one folder and "
        "pass that folder to read_cbis_tables."
    ),
    "inbreast": (
        "INbreast cannot be downloaded by a program: its owners (Moreira et al. 2012, "
        "doi:10.1016/j.acra.2011.09.014) give it on request, and the original link is dead for "
        "many users. Once you have it, pass the folder with INbreast.xls and AllDICOMs to "
        "read_inbreast."
    ),
}


def cache_folder() -> Path:
    """Return the folder for downloads: ``MAMMOCOURSE_DATA``, or the platform's cache.

    Returns
    -------
    Path
        It need not exist yet.
    """
    from platformdirs import user_cache_path

    named = os.environ.get("MAMMOCOURSE_DATA")
    return Path(named).expanduser() if named else user_cache_path("mammocourse", appauthor=False)


def fetch(name: str) -> Path:
    """Download a data set once and return its folder.

    Parameters
    ----------
    name : {"cbis-ddsm", "cbis-ddsm-tables", "inbreast"}
        "cbis-ddsm" is the Kaggle copy (6 GB, JPEG), through kagglehub, which
        resumes and checks it and keeps it in its own cache;
        "cbis-ddsm-tables" the four official tables (2 MB), kept in
        :func:`cache_folder`; "inbreast" only explains how to get it.

    Returns
    -------
    Path
        A folder for :func:`~mammocourse.datasets.read_cbis_ddsm` or
        :func:`~mammocourse.datasets.read_cbis_tables`.

    Raises
    ------
    DatasetError
        If it cannot be downloaded; the message says how to get the data by hand
        and what runs without it.
    ValueError
        If the name is unknown.
    """
    if name not in BY_HAND:
        raise ValueError(f"name is {name!r}; it must be one of {', '.join(map(repr, BY_HAND))}.")
    ways: dict[str, Callable[[], Path]] = {
        "cbis-ddsm": _fetch_kaggle,
        "cbis-ddsm-tables": _fetch_tables,
    }
    if name not in ways:
        raise DatasetError(f"{BY_HAND[name]} {WITHOUT}")
    try:
        return ways[name]()
    except DatasetError as error:
        raise DatasetError(f"{error} {BY_HAND[name]} {WITHOUT}") from error


def _fetch_kaggle() -> Path:
    try:
        import kagglehub
    except ImportError as error:
        raise DatasetError(
            'The Kaggle copy needs kagglehub: pip install "mammocourse[data]".'
        ) from error
    try:
        return Path(kagglehub.dataset_download(KAGGLE))
    except Exception as error:  # network, quota, disk: kagglehub has no common exception
        raise DatasetError(
            f"The Kaggle copy could not be downloaded ({type(error).__name__}: "
            f"{str(error)[:300]}). Check the network and call again: it resumes."
        ) from error


def _fetch_tables() -> Path:
    folder = cache_folder() / "cbis-ddsm-tables"
    for source in TABLES:
        download(TABLES_AT + source.name, folder / source.name, source.sha256, size=source.size)
    return folder


def download(url: str, path: str | Path, sha256: str, *, size: int | None = None) -> Path:
    """Download a file, resume it where it was cut, and check it.

    Parameters
    ----------
    url : str
        Address, http or https.
    path : str or Path
        Where the file goes. An existing file with the right checksum is kept as
        it is. What has arrived so far lies beside it in ``<name>.part``, also
        after a failure, so that the next call goes on from there. Calls for the
        same folder wait for each other, in other processes too (not on Windows).
    sha256 : str
        Checksum that the file must have; a file with another one is removed.
    size : int, optional
        Its size in bytes. A server that sends more is refused.

    Returns
    -------
    Path
        The file, checked.

    Raises
    ------
    DatasetError
        If the server cannot be reached, answers with an error, sends another
        file than expected, or the disk is full.
    """
    import pooch

    path = Path(path)
    part = path.with_name(path.name + ".part")

    def resume(address: str, output: str, _: object) -> None:
        _resume(address, part, size)
        os.replace(part, output)

    pooch.get_logger().setLevel("WARNING")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _alone_in(path.parent):
            pooch.retrieve(url, f"sha256:{sha256}", path.name, path.parent, downloader=resume)
    except DatasetError:
        raise
    except ValueError as error:  # pooch has removed the file
        raise DatasetError(
            f"{url} sent a file whose SHA-256 is not {sha256}; it was removed. Try again; if that "
            "does not help, the file has changed at its source."
        ) from error
    except OSError as error:
        raise DatasetError(
            f"{path} cannot be written ({error}). Check space and rights."
        ) from error
    return path


@contextlib.contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Wait until no other process downloads into the folder (Windows cannot lock a folder)."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network disks have no locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _resume(url: str, part: Path, size: int | None) -> None:
    """Get the rest of a file, in as many attempts as are sensible."""
    import requests

    failure: Exception | None = None
    for _ in range(ATTEMPTS):
        before = part.stat().st_size if part.exists() else 0
        try:
            if _attempt(url, part, before, size):
                return
            failure = DatasetError("the connection was cut")
        except requests.HTTPError as error:
            raise DatasetError(f"{url} could not be downloaded ({error}).") from error
        except requests.ConnectionError as error:
            failure = error
            if not part.exists() or part.stat().st_size == before:
                break  # no network, or nobody answers
        except requests.RequestException as error:
            failure = error
    raise DatasetError(
        f"{url} could not be downloaded ({str(failure)[:300]}). Check the network and call "
        "again: it goes on where it stopped."
    ) from failure


def _attempt(url: str, part: Path, before: int, size: int | None) -> bool:
    """Ask for what is missing, append what comes, and say whether the file is complete."""
    import requests
    from tqdm import tqdm

    # identity: a compressed answer would make its length and ranges meaningless
    headers = {"Accept-Encoding": "identity"}
    if before:
        headers["Range"] = f"bytes={before}-"
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
        if answer.status_code == 416:  # the part is as long as the file, or longer: start again
            part.unlink()
            return False
        answer.raise_for_status()
        start = before if _continues(answer, before) else 0
        total = _total(answer, start, size)
        _check_total(url, part, total, start, size)
        with (
            part.open("r+b" if start else "wb") as stream,
            tqdm(
                total=total, initial=start, unit="B", unit_scale=True, desc=part.stem, disable=None
            ) as bar,
        ):
            stream.seek(start)
            stream.truncate()
            for chunk in answer.iter_content(CHUNK):
                stream.write(chunk)
                bar.update(len(chunk))
                _check_total(url, part, stream.tell(), stream.tell(), size)
            return total is None or stream.tell() >= total


def _continues(answer: requests.Response, before: int) -> bool:
    """Whether the server sends the rest; one without Range support sends the whole file."""
    content_range = answer.headers.get("Content-Range", "")
    return answer.status_code == 206 and content_range.startswith(f"bytes {before}-")


def _total(answer: requests.Response, start: int, size: int | None) -> int | None:
    length = answer.headers.get("Content-Length", "")
    return start + int(length) if length.isdigit() else size


def _check_total(url: str, part: Path, total: int | None, start: int, size: int | None) -> None:
    """Refuse more bytes than the file has, or than fit on the disk."""
    if total is None:
        return
    if size is not None and total > size:
        part.unlink(missing_ok=True)
        raise DatasetError(
            f"{url} sends {total:,} bytes or more; the file has {size:,}. It has changed at its "
            "source."
        )
    if total - start > shutil.disk_usage(part.parent).free:
        raise DatasetError(
            f"{url} needs {total - start:,} bytes more than are free in {part.parent}. Make space, "
            "or set MAMMOCOURSE_DATA to a folder on a larger disk."
        )
