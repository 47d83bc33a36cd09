"""The bundled data: small files that come with the package.

In an installed wheel they lie in ``mammocourse/_data``; in a checkout of the
course they are the repository's folder ``data``.
"""

from __future__ import annotations

import hashlib
from importlib.resources import files
from pathlib import Path

__all__ = ["checksums", "data_folder", "data_path", "read_bytes"]

_REMEDY = "Install the course again; in a checkout, 'git checkout -- data' restores its files."


def data_folder() -> Path:
    """Return the folder of the bundled data.

    Returns
    -------
    Path
        ``mammocourse/_data`` of an installed wheel, else ``data`` of the checkout.
    """
    package = Path(str(files("mammocourse")))
    installed = package / "_data"
    return installed if installed.is_dir() else package.parent / "data"


def data_path(name: str) -> Path:
    """Return the path of a bundled file or folder.

    Parameters
    ----------
    name : str
        Name inside the data folder, with forward slashes, for example
        ``"quizzes/02.yml"``.

    Returns
    -------
    Path
        The path, which exists.

    Raises
    ------
    FileNotFoundError
        If the file is not there.
    """
    path = data_folder() / name
    if not path.exists():
        raise FileNotFoundError(f"the bundled data file {name!r} is not at {path}. {_REMEDY}")
    return path


def read_bytes(name: str) -> bytes:
    """Read a bundled data file; binary files are checked against their SHA-256.

    Parameters
    ----------
    name : str
        Name inside the data folder, for example ``"mnist01.npz"``. Checksums
        stand in ``data/SHA256SUMS``; a file without a line there (the text that
        maintainers edit) is not checked.

    Returns
    -------
    bytes
        The content.

    Raises
    ------
    FileNotFoundError
        If the file is not there.
    ValueError
        If the file has another checksum than it should have: it is truncated or
        was altered.
    """
    path = data_path(name)
    content = path.read_bytes()
    expected = checksums().get(name)
    found = hashlib.sha256(content).hexdigest()
    if expected is not None and found != expected:
        raise ValueError(
            f"the bundled data file {path} is damaged or was altered: expected SHA-256 "
            f"{expected}, found {found} ({len(content)} bytes). {_REMEDY}"
        )
    return content


def checksums() -> dict[str, str]:
    """Return the SHA-256 of the binary data files.

    Returns
    -------
    dict of str
        Hexadecimal checksums by name, as ``data/SHA256SUMS`` lists them (in the
        format of the command ``sha256sum``).
    """
    lines = data_path("SHA256SUMS").read_text(encoding="utf-8").splitlines()
    pairs = (line.split(maxsplit=1) for line in lines if line.strip())
    return {name: checksum.lower() for checksum, name in pairs}
