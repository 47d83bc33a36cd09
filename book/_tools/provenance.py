"""On which machine, and with which versions, a number was made."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

LIBRARIES = ("numpy", "scipy", "scikit-learn", "statsmodels", "keras", "tensorflow")


def processor() -> str:
    """Return the name of the processor."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that are installed."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        for distribution in (name, f"{name}-cpu"):
            try:
                found[name] = importlib.metadata.version(distribution)
            except importlib.metadata.PackageNotFoundError:
                continue
    return found


def write_csv(frame: pd.DataFrame, path: Path, command: str) -> None:
    """Write a table; its first lines, after #, say how, when and with what it was made."""
    made = ", ".join(f"{name} {version}" for name, version in versions().items())
    temporary = path.with_suffix(".tmp")
    with temporary.open("w", encoding="utf-8", newline="") as file:
        file.write(f"# {command}\n# {date.today()}, {processor()}\n# {made}\n")
        frame.to_csv(file, index=False, lineterminator="\n")
    os.replace(temporary, path)
