"""On which machine, and with which versions, a number was made."""

from __future__ import annotations

import importlib.metadata
import platform
from pathlib import Path

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
