"""Work that several processes need and one of them does."""

from __future__ import annotations

import os
import pickle
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil

Done = subprocess.CompletedProcess[str]


def once(folder: Path, name: str, work: Callable[[], Done], wait: float = 1.0) -> Done:
    """Return what the first process that asks for some work has got; the others wait for it.

    Raises
    ------
    RuntimeError
        If the process that had begun the work is no more.
    """
    result, claim = folder / f"{name}.pickle", folder / f"{name}.claimed"
    try:
        with claim.open("x") as file:
            file.write(str(os.getpid()))
    except FileExistsError:
        return _wait_for(result, claim, wait)
    done: Done = subprocess.CompletedProcess([name], 1, "", f"{name!r} was not finished.")
    try:
        done = work()
    finally:  # also after an error, or the others would wait for ever
        partial = result.with_suffix(".partial")
        partial.write_bytes(pickle.dumps(done))
        partial.replace(result)
    return done


def _wait_for(result: Path, claim: Path, wait: float) -> Done:
    while not result.exists():
        worker = claim.read_text()
        if worker and not psutil.pid_exists(int(worker)) and not result.exists():
            raise RuntimeError(f"the process that had begun {result.stem!r} has died.")
        time.sleep(wait)
    done: Done = pickle.loads(result.read_bytes())
    return done
