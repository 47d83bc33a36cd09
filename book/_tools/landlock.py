"""Landlock: a process of Linux 5.13 or newer gives up its access to files, for good.

It needs neither root nor a container, and child processes inherit it. The numbers below are
those of ``linux/landlock.h``; the rights that a kernel knows depend on its ABI version.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

WRITE_FILE, READ_FILE, READ_DIR = 1 << 1, 1 << 2, 1 << 3
TRUNCATE = 1 << 14
FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}  # how many rights an ABI knows; 16 from the fifth on
RUN = 1 << 0  # never granted: a submission starts no programs
NET = 0b11  # bind and connect of TCP, from the fourth ABI on
SCOPES = 0b11  # abstract sockets and signals to others, from the sixth ABI on
PR_SET_NO_NEW_PRIVS = 38

_LIBC = ctypes.CDLL(None, use_errno=True)


def _call(number: int, *arguments: object) -> int:
    result = int(_LIBC.syscall(number, *arguments))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def abi() -> int:
    """Return the version of Landlock that this system has, 0 where it has none."""
    if sys.platform != "linux":
        return 0
    try:
        return _call(444, None, 0, 1)
    except OSError:
        return 0


def drop_capabilities() -> None:
    """Give up what root may do beyond the files that it owns; no effect for other users."""
    header = struct.pack("Ii", 0x20080522, 0)  # version 3 of the interface, this process
    if _LIBC.capset(header, bytes(24)) != 0:
        raise OSError("this process cannot give up its capabilities (capset failed).")


def restrict(readable: Iterable[Path], listed: Iterable[Path], scratch: Path) -> None:
    """Leave this process nothing but some files to read and one folder to write to.

    Parameters
    ----------
    readable : iterable of Path
        Files, and folders with all that is in them. What does not exist is left out.
    listed : iterable of Path
        Folders of which only the names in them may be seen.
    scratch : Path
        The folder for everything that the process writes.

    Raises
    ------
    OSError
        If the kernel has no Landlock.
    """
    version = _call(444, None, 0, 1)
    known = (1 << FILE_RIGHTS.get(version, 16)) - 1
    attributes = struct.pack("QQQ", known, NET, SCOPES)
    attributes = attributes[: 8 if version < 4 else 16 if version < 6 else 24]
    ruleset = _call(444, attributes, len(attributes), 0)
    rules = [(path, READ_FILE | READ_DIR) for path in readable]
    rules += [(path, READ_DIR) for path in listed]
    rules += [(scratch, known & ~RUN), (Path("/dev/null"), READ_FILE | WRITE_FILE)]
    for path, rights in rules:
        if path.exists():
            if not path.is_dir():
                rights &= READ_FILE | WRITE_FILE | TRUNCATE
            handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
            _call(445, ruleset, 1, struct.pack("=Qi", rights & known, handle), 0)
            os.close(handle)
    if _LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError("this process cannot give up new privileges (prctl failed).")
    _call(446, ruleset, 0)
    os.close(ruleset)
