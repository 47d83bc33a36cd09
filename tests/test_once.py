"""Work that is shared by the processes of a test run."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import time
from pathlib import Path

import pytest

from once import once


def _take_part(folder: Path) -> str:
    def work() -> subprocess.CompletedProcess[str]:
        with (folder / "calls.txt").open("a") as file:
            file.write("called\n")
        time.sleep(0.3)
        return subprocess.CompletedProcess([], 3, str(time.monotonic_ns()))

    return once(folder, "work", work, wait=0.01).stdout


def test_one_of_many_processes_works_and_all_get_its_result(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        found = pool.map(_take_part, [tmp_path] * 3)
    assert len(set(found)) == 1
    assert (tmp_path / "calls.txt").read_text() == "called\n"


def test_after_an_error_nobody_waits_for_ever(tmp_path: Path) -> None:
    def work() -> subprocess.CompletedProcess[str]:
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="disk is full"):
        once(tmp_path, "work", work)
    assert once(tmp_path, "work", work).returncode == 1


def test_nobody_waits_for_the_dead(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (tmp_path / "work.claimed").write_text(str(dead.pid))
    with pytest.raises(RuntimeError, match="'work' has died"):
        once(tmp_path, "work", lambda: subprocess.CompletedProcess([], 0))
