"""On which machine, with which versions and in which time a number was made."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

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


def print_machine() -> None:
    """Print the processor, its cores, the threads that are allowed, and the versions."""
    threads = os.environ.get("OMP_NUM_THREADS", "any")
    print(f"processor: {processor()}; cores: {os.cpu_count()}; OMP_NUM_THREADS: {threads}")
    print(", ".join(f"{name} {version}" for name, version in versions().items()))


def cpu_seconds(run: Callable[[], Any]) -> tuple[float, Any]:
    """Return the CPU seconds of ``run()`` and its result."""
    start = time.process_time()
    result = run()
    return time.process_time() - start, result


def write_csv(frame: pd.DataFrame, path: Path, command: str) -> None:
    """Write a table; its first lines, after #, say how, when and with what it was made."""
    made = ", ".join(f"{name} {version}" for name, version in versions().items())
    temporary = path.with_suffix(".tmp")
    with temporary.open("w", encoding="utf-8", newline="") as file:
        file.write(f"# {command}\n# {date.today()}, {processor()}\n# {made}\n")
        frame.to_csv(file, index=False, lineterminator="\n")
    os.replace(temporary, path)
