"""Run submissions where they can neither read the answers nor harm the grader.

Three things hold a submission: Landlock (it reads nothing but Python, the libraries and a copy
of the package without solutions, and writes to one folder), limits of time, memory, files and
processes, and namespaces (it sees no other file, process or network, and ends with all that it
has started). Neither root nor a container is needed. The right answers stay in this process;
from the submission come numbers as JSON text, and nothing is unpickled.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import landlock
import mammocourse
from mammocourse.resources import data_folder

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PACKAGE = Path(mammocourse.__file__).resolve().parent
LEVELS = ("namespaces", "landlock", "none")
SYSTEM = (
    *("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/share/zoneinfo"),
    *("/usr/share/fonts", "/etc/fonts", "/etc/ld.so.cache", "/etc/localtime", "/dev/urandom"),
)
WORKER = tuple(str(HERE / name) for name in ("run_submission.py", "landlock.py"))
UNSHARE = (
    *("unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", "--kill-child"),
    *("--net", "--ipc", "--uts", "--", "sh", str(HERE / "in_namespace.sh")),
)
LONGEST_REPORT = 8_000_000  # characters


@dataclass(frozen=True)
class Limits:
    """What one submission may use; memory and files in bytes."""

    cell: int = 20  # seconds of processor time for one cell
    seconds: int = 120  # of processor time in all
    wall: int = 900  # seconds by the clock: for one that waits, not for a busy machine
    memory: int = 3 << 30  # address space of each process
    file: int = 16 << 20
    scratch: int = 64 << 20  # all files together, with namespaces
    processes: int = 64


@dataclass
class Outcome:
    """What a run brought.

    ``answers`` has for each exercise one value per set of numbers, ``errors`` the first error of
    each cell that had one. ``problem`` is empty if the notebook ran to its end.
    """

    answers: dict[str, list[Any]] = field(default_factory=dict)
    errors: dict[int, str] = field(default_factory=dict)
    problem: str = ""


def strip_package(folder: Path) -> None:
    """Copy the package to a folder, without exercises, solutions and the real ``check``."""
    left_out = shutil.ignore_patterns("__pycache__", "exercises", "check.py", "_data")
    shutil.copytree(PACKAGE, folder / "mammocourse", ignore=left_out)
    shutil.copyfile(HERE / "stand_in_check.py", folder / "mammocourse" / "check.py")
    left_out = shutil.ignore_patterns("quizzes")
    shutil.copytree(data_folder(), folder / "mammocourse" / "_data", ignore=left_out)


def visible(folder: Path, hidden: list[Path]) -> tuple[list[Path], list[Path]]:
    """Return what of a folder may be read, and of which folders the names may be listed.

    Everything may be read where nothing hidden is inside. A link to a folder with something
    hidden in it is left out: the folder itself is met elsewhere.
    """
    if not any(path.is_relative_to(folder) for path in hidden):
        return [folder], []
    readable, listed = [], [folder]
    for path in folder.iterdir():
        inside = [one for one in hidden if one.is_relative_to(path.resolve())]
        if path.resolve() not in hidden and not (path.is_symlink() and inside):
            more = visible(path, hidden) if path.is_dir() else ([path], [])
            readable += more[0]
            listed += more[1]
    return readable, listed


def run(
    cells: list[str],
    answers: dict[str, str],
    numbers: list[dict[str, Any]],
    *,
    package: Path,
    level: str,
    limits: Limits,
) -> Outcome:
    """Run the cells of one submission and return the values of its answers.

    Parameters
    ----------
    cells : list of str
        The code cells.
    answers : dict
        Exercise to the name of the variable that holds its answer.
    numbers : list of dict
        For each run, exercise to its numbers (plain enough for JSON).
    package : Path
        The folder that :func:`strip_package` has filled.
    level : {"namespaces", "landlock", "none"}
        How the submission is held; see :func:`strongest_level`.
    limits : Limits
        What it may use.

    Returns
    -------
    Outcome
    """
    prefixes = {Path(p).resolve() for p in (sys.prefix, sys.base_prefix, sys.exec_prefix)}
    folders = [*sorted(prefixes), *map(Path, SYSTEM), package]
    parts = [visible(folder, [ROOT, PACKAGE]) for folder in folders]
    with tempfile.TemporaryDirectory() as scratch, tempfile.TemporaryFile() as report:
        job = {
            "cells": cells,
            "answers": answers,
            "numbers": numbers,
            "limits": asdict(limits) | ({} if level == "namespaces" else {"processes": 0}),
            "landlock": level != "none",
            "readable": [str(p) for part in parts for p in part[0]],
            "listed": [str(p) for part in parts for p in part[1]],
            "scratch": "/scratch" if level == "namespaces" else scratch,
            "package": str(package),
            "checkout": str(ROOT),
            "report": report.fileno(),
        }
        outside = []
        if level == "namespaces":
            seen = [*map(str, folders), *WORKER, "/dev/null", "--"]
            outside = [*UNSHARE, scratch, str(limits.scratch), *seen]
        process = subprocess.Popen(
            [*outside, sys.executable, "-I", "-B", WORKER[0]],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env=_environment(job["scratch"]),
            pass_fds=[report.fileno()],
            start_new_session=True,
        )
        in_time = True
        try:
            process.communicate(json.dumps(job).encode(), timeout=limits.wall)
        except subprocess.TimeoutExpired:
            in_time = False
        finally:
            _kill(process)
        text = os.pread(report.fileno(), LONGEST_REPORT, 0).decode("utf-8", "replace")
    return _outcome(text, answers, len(numbers), in_time, limits)


def _environment(scratch: str) -> dict[str, str]:
    """Return the whole environment of a submission; nothing is taken from the grader's."""
    threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    folders = ("HOME", "TMPDIR", "MPLCONFIGDIR", "MAMMOCOURSE_DATA")
    return {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "C.UTF-8",
        "MPLBACKEND": "Agg",
        **dict.fromkeys(threads, "1"),
        **dict.fromkeys(folders, scratch),
    }


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a submission and its process group; with namespaces, all that it has started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.wait()


def _outcome(
    text: str, answers: dict[str, str], runs: int, in_time: bool, limits: Limits
) -> Outcome:
    """Read a report, of which not one byte is trusted."""
    found, done, last = Outcome(), False, 0
    for line in text.splitlines():
        try:
            record = json.loads(line)
            if record.get("done") is True:
                done = True
                continue
            values = {name: list(record["answers"][name]) for name in answers}
            if any(len(of_runs) != runs for of_runs in values.values()):
                raise ValueError(f"expected {runs} values for each exercise")
            last, error = int(record["cell"]), record["error"]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            continue
        found.answers = values
        if error is not None:
            found.errors[last] = str(error)
    if not in_time:
        found.problem = f"It was stopped after {limits.wall} seconds, in code cell {last + 1}."
    elif not done:
        found.problem = (
            f"It ended in code cell {last + 1}, before the last cell: it took more than "
            f"{limits.seconds} seconds of processor time or too much memory, or ended itself."
        )
    return found


PROBE = """
value = 1
for path in {paths}:
    try:
        open(path).close()
        value = 0
    except OSError:
        pass
"""


def holds(level: str, package: Path) -> bool:
    """Try whether a level works on this machine, by what a submission can do under it."""
    paths = [str(path) for path in (PACKAGE / "check.py", HERE / "isolation.py", "/etc/hostname")]
    cells = ["import numpy", PROBE.format(paths=paths)]
    limits = Limits(wall=120)
    found = run(cells, {"probe": "value"}, [{}], package=package, level=level, limits=limits)
    return not found.errors and not found.problem and found.answers["probe"] == [1.0]


def strongest_level(package: Path) -> str:
    """Return the strongest level that works here, "none" if neither other one does."""
    if shutil.which("unshare") and landlock.abi() and holds("namespaces", package):
        return "namespaces"
    if landlock.abi() and holds("landlock", package):
        return "landlock"
    return "none"
