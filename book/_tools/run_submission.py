"""Run a submission: the only program of the grader that shares a process with student code.

It reads a job from its standard input, gives up all rights that it does not need, executes the
cells of the notebook, once for each set of numbers, and reports the values of the answers. It
knows no right answer; whatever a submission does to it, only that submission's own values can
change. It is started by ``isolation.run`` and uses the standard library alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

MAX_SIZE = 10_000  # numbers in one answer
MAX_TEXT = 300  # characters of an error


class TimeLimit(BaseException):
    """A cell took too long; not an Exception, so that ``except Exception`` lets it pass."""


def stop(number: int, frame: FrameType | None) -> NoReturn:
    """Interrupt the cell that runs."""
    raise TimeLimit


def limit_resources(limits: dict[str, Any]) -> None:
    """Set limits for this process and its children; hard ones, which cannot be lifted."""
    for kind, amount in (
        (resource.RLIMIT_AS, limits["memory"]),
        (resource.RLIMIT_CPU, limits["seconds"]),
        (resource.RLIMIT_FSIZE, limits["file"]),
        (resource.RLIMIT_NPROC, limits["processes"]),
        (resource.RLIMIT_NOFILE, 256),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(kind)
        if hard != resource.RLIM_INFINITY:
            amount = min(amount, hard)
        resource.setrlimit(kind, (amount, amount))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a file that grows too large is an OSError
    with contextlib.suppress(OSError):  # where memory runs out, this process is to end first
        Path("/proc/self/oom_score_adj").write_text("1000")


def restrict_files(job: dict[str, Any]) -> None:
    """Give up the access to all files but those of the job, if the job says so."""
    if job["landlock"]:
        sys.path.insert(0, str(Path(__file__).parent))
        import landlock

        readable, listed = map(Path, job["readable"]), map(Path, job["listed"])
        landlock.drop_capabilities()
        landlock.restrict(readable, listed, Path(job["scratch"]))
        del sys.modules["landlock"], sys.path[0]


def plain(value: Any) -> Any:
    """Return an answer as numbers in lists, None for no answer, else what it is in words."""
    import numpy as np

    if value is None or value is ...:
        return None
    try:
        array = np.asarray(value)
        if array.size > MAX_SIZE:
            return {"is": f"an array of {array.size:,} numbers"}
        if array.dtype.kind in "biuf":
            return array.astype(float).tolist()
    except BaseException:  # whatever a student's object does when it is asked for numbers
        pass
    return {"is": f"of type {type(value).__name__}"}


def describe(error: BaseException) -> str:
    """Return an error in one short line."""
    try:
        text = str(error)
    except BaseException:
        text = ""
    return f"{type(error).__name__}: {text}"[:MAX_TEXT]


def execute(job: dict[str, Any], report: Any) -> None:
    """Execute the cells, each for all sets of numbers, and report after each cell."""
    import mammocourse.check as stand_in

    to_text = json.dumps
    spaces: list[dict[str, Any]] = [{"__name__": "__main__"} for _ in job["numbers"]]
    for space in spaces:
        space["display"] = lambda *shown, **options: None
    signal.signal(signal.SIGPROF, stop)
    for position, source in enumerate(job["cells"], 1):
        error = None
        for space, numbers in zip(spaces, job["numbers"], strict=True):
            stand_in.NUMBERS = numbers
            try:
                signal.setitimer(signal.ITIMER_PROF, job["limits"]["cell"])
                exec(compile(source, f"<cell {position}>", "exec"), space)
            except TimeLimit:
                error = f"it was interrupted after {job['limits']['cell']} seconds"
                break  # other numbers would not make it shorter
            except BaseException as problem:
                error = error or describe(problem)
            finally:
                signal.setitimer(signal.ITIMER_PROF, 0)
        answers = {
            exercise: [plain(space.get(name)) for space in spaces]
            for exercise, name in job["answers"].items()
        }
        report.write(to_text({"cell": position, "error": error, "answers": answers}) + "\n")
        report.flush()
    report.write(to_text({"done": True}) + "\n")
    report.flush()


def main() -> None:
    """Do one job."""
    job = json.load(sys.stdin)
    os.chdir(job["scratch"])
    # Commands of notebooks do nothing for the answers.
    job["cells"] = [re.sub(r"(?m)^(\s*)[%!].*$", r"\1pass", cell) for cell in job["cells"]]
    limit_resources(job["limits"])
    restrict_files(job)
    sys.path[:] = [job["package"], *(p for p in sys.path if p != job["checkout"])]
    with open(job["report"], "w", encoding="utf-8") as report:
        execute(job, report)


if __name__ == "__main__":
    main()
