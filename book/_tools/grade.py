"""Grade a folder of submissions: ``make grade SUBMISSIONS=folder``.

The folder holds one folder per student, named by the student's id, with the notebooks in it
(``ada/02_logistic_regression.ipynb``). Written are a table and a text for each notebook:

    _build/grades/grades.csv
    _build/grades/feedback/ada/02_logistic_regression.txt

A submission runs twice over in a process of its own (:mod:`isolation`), with the student's
numbers and with others; its values are compared with the right ones afterwards, here.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import assignments
import chapters as course
import isolation
from assignments import POINTS, Contents, Graded, student_name
from isolation import Limits, Outcome
from mammocourse.check import check, variant

GRADES = course.BUILD / "grades"
HIDDEN_RUNS = 2
LARGEST_NOTEBOOK = 50_000_000  # bytes
TYPED_ID = re.compile(r"""^student_id *= *["'](.*?)["'] *(?:#.*)?$""", re.M)
HANDED_OUT = re.compile(r"""^os\.environ\["MAMMOCOURSE_STUDENT"\] = "([\w.-]+)/" """, re.M)
COLUMNS = ("student", "chapter", "file", "points", "of", "to_read", "problem", "feedback")


@dataclass
class Grade:
    """The points of one notebook and what to tell the student."""

    points: float = 0
    of: int = 0
    to_read: int = 0  # open exercises, which a person grades
    problem: str = ""
    lines: list[str] = field(default_factory=list)


def code_cells(path: Path) -> list[str]:
    """Return the code cells of a notebook that somebody else wrote.

    Raises
    ------
    ValueError
        If it is not a notebook; the message says why.
    """
    if path.is_symlink() or not path.is_file():
        raise ValueError("it is a link or no file; hand in the notebook itself")
    if path.stat().st_size > LARGEST_NOTEBOOK:
        raise ValueError("it is larger than 50 MB; clear its outputs and hand it in again")
    try:
        cells = json.loads(path.read_bytes().decode("utf-8"))["cells"]
        code = [cell["source"] for cell in cells if cell["cell_type"] == "code"]
        return ["".join(source) for source in code]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ValueError("it is not a Jupyter notebook; save it again and hand it in") from None


def numbers(graded: list[Graded], seed: str, student: str) -> list[dict[str, Any]]:
    """Return the numbers of each run: the student's own, then the hidden ones."""
    names = [student_name(seed, student, run) for run in range(1 + HIDDEN_RUNS)]
    return [{task.id: variant(task.id, name) for task in graded} for name in names]


def typed(cells: list[str], pattern: re.Pattern[str]) -> str | None:
    """Return what stands in the cells of a notebook for a pattern, None where nothing does."""
    found = [match[1].strip() for cell in cells for match in pattern.finditer(cell)]
    return found[-1] if found else None


def wrong_numbers(cells: list[str], seed: str, student: str) -> str:
    """Say why a student has seen other numbers than those that are graded, if so."""
    theirs, name = typed(cells, HANDED_OUT), typed(cells, TYPED_ID)
    if theirs not in (None, seed):
        return (
            f"It was handed out with SEED={theirs}, and the assignment that it is graded by was "
            f"built with SEED={seed}."
        )
    if name not in (None, student):
        return f"The id in it is {_printable(repr(name))}, and its folder is named {student!r}."
    return ""


def judge(
    task: Graded, values: list[Any], seed: str, student: str, cells: list[str] | None = None
) -> tuple[float, str]:
    """Return points and comment for the values that a submission has for one exercise."""
    if isinstance(values[0], dict):
        what = values[0].get("is", "something else")
        return 0, f"The answer must be made of real numbers; this is {what}."
    own = check(task.id, values[0], student_name(seed, student))
    if own.passed is None:
        return 0, "Not answered."
    if not own.passed:
        unnamed = check(task.id, values[0], student_name(seed, assignments.UNNAMED))
        if unnamed.passed:
            return 0, "Right for somebody without an id: put your id in the second cell."
        name = typed(cells or [], TYPED_ID)
        if name and check(task.id, values[0], student_name(seed, name)).passed:
            return 0, f"Right for the id {_printable(repr(name))}, but yours is {student!r}."
        return 0, repr(own)
    if not variant(task.id, student_name(seed, student)):
        return POINTS, "Right."  # the same numbers for everybody
    others = [
        not isinstance(value, dict)
        and check(task.id, value, student_name(seed, student, run)).passed
        for run, value in enumerate(values[1:], 1)
    ]
    if all(others):
        return POINTS, "Right, with your numbers and with others."
    return POINTS / 2, (
        "Right with your numbers, but not with others of the same kind: compute the answer "
        "from the variables, and see that the formula holds for all of them."
    )


def grade(
    outcome: Outcome, contents: Contents, student: str, cells: list[str] | None = None
) -> Grade:
    """Compare the values of a submission with the right ones."""
    found = Grade(of=POINTS * len(contents.graded), to_read=len(contents.open))
    other = wrong_numbers(cells or [], contents.seed, student)
    found.problem = " ".join(filter(None, [outcome.problem, other]))
    for task in contents.graded:
        values = outcome.answers.get(task.id, [None] * (1 + HIDDEN_RUNS))
        points, comment = judge(task, values, contents.seed, student, cells)
        if values[0] is None:
            for position, cell in enumerate(cells or [], 1):
                if position in outcome.errors and re.search(rf"^ *{task.name} *=", cell, re.M):
                    comment = f"Not answered: code cell {position} failed, see below."
        found.points += points
        found.lines.append(f"{task.title}: {points:g} of {POINTS} points\n    {comment}")
    for title in contents.open:
        found.lines.append(f"{title}: will be read by a person")
    for position, error in outcome.errors.items():
        found.lines.append(f"Code cell {position} (from the top) failed: {_printable(error)}")
    return found


def grade_file(path: Path, student: str, package: Path, level: str, limits: Limits) -> Grade:
    """Grade one notebook; whatever is wrong with it ends up in the grade."""
    chapter = re.match(r"\d\d", path.name)
    folder = assignments.FOLDER / (chapter[0] if chapter else "none")
    if not (folder / "contents.json").exists():
        known = sorted(found.parent.name for found in assignments.FOLDER.glob("*/contents.json"))
        return Grade(
            problem="It belongs to no assignment: its name must begin with the number of one, "
            f"{', '.join(known)}; do not rename the notebooks."
        )
    contents = Contents.read(folder)
    try:
        cells = code_cells(path)
    except ValueError as error:
        return grade(Outcome(problem=f"It cannot be read: {error}."), contents, student)
    answers = {task.id: task.name for task in contents.graded}
    given = json.loads(json.dumps(numbers(contents.graded, contents.seed, student)))
    done = isolation.run(cells, answers, given, package=package, level=level, limits=limits)
    return grade(done, contents, student, cells)


def _printable(text: str) -> str:
    """Return a text by others as one line of printable characters."""
    return "".join(c if c.isprintable() else " " for c in text)[:300]


def _for_spreadsheets(text: str) -> str:
    """Keep spreadsheets from taking a text by others for a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t") else text


def feedback_text(student: str, name: str, found: Grade) -> str:
    """Return what a student is told about one notebook."""
    head = f"{student}, {name}: {found.points:g} of {found.of} points"
    if found.to_read:
        head += f"; a person reads the open exercises ({found.to_read})"
    problem = [f"There is a problem with this notebook. {found.problem}"] if found.problem else []
    return "\n\n".join([_printable(head), *problem, *found.lines]) + "\n"


def grade_all(submissions: Path, target: Path, *, level: str, limits: Limits) -> list[Grade]:
    """Grade all notebooks of a folder and write table and feedback, all or nothing.

    Folders without a notebook get a row that says so.

    Raises
    ------
    SystemExit
        If there is nothing to grade.
    """
    paths = sorted(path for path in submissions.glob("*/*.ipynb") if path.parent.name[0] != ".")
    if not paths:
        raise SystemExit(
            f"SUBMISSIONS={submissions} holds no notebooks; expected is one folder per student, "
            "for example submissions/ada/02_logistic_regression.ipynb"
        )
    grades, rows = [], []
    new = target.with_suffix(".new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder)
        isolation.strip_package(package)
        for path in paths:
            student = path.parent.name
            found = grade_file(path, student, package, level, limits)
            chapter = path.name[:2]
            told = Path("feedback", student, f"{path.stem}.txt")
            (new / told).parent.mkdir(parents=True, exist_ok=True)
            text = feedback_text(student, path.name, found)
            (new / told).write_text(text, encoding="utf-8", errors="replace")
            row = (student, chapter, path.name, f"{found.points:g}", found.of, found.to_read)
            rows.append([*map(str, row), found.problem, str(told)])
            grades.append(found)
            print(f"{_printable(student):<24} {chapter}  {found.points:g}/{found.of}", flush=True)
    for path in sorted(submissions.iterdir()):
        if path.name[0] != "." and path not in {one.parent for one in paths}:
            what = "It holds no notebook" if path.is_dir() else "It lies in no student's folder"
            rows.append([path.name, "", "", "0", "0", "0", f"{what}; nothing was graded.", ""])
            print(f"{_printable(path.name):<24} {rows[-1][6]}", flush=True)
    table = new / "grades.csv"
    with open(table, "w", encoding="utf-8", errors="replace", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([COLUMNS, *([_for_spreadsheets(cell) for cell in row] for row in rows)])
    shutil.rmtree(target, ignore_errors=True)
    new.replace(target)
    return grades


def choose_level(weak: bool) -> str:
    """Return how submissions are held; refuse if answers could be read, unless that is wanted."""
    with tempfile.TemporaryDirectory() as folder:
        isolation.strip_package(Path(folder))
        level = isolation.strongest_level(Path(folder))
    if level == "none" and not weak:
        raise SystemExit(
            "This machine has no Landlock (Linux 5.13 or newer), so a submission could read the "
            "answers and the grader's files. Grade on such a machine or in a virtual one, or, if "
            "you trust all submissions, run: make grade SUBMISSIONS=... WEAK=1"
        )
    print(
        {
            "namespaces": "Submissions see neither files, processes nor the network.",
            "landlock": "Submissions see no files; namespaces are missing, see the guide.",
            "none": "WEAK: submissions can read the answers and this user's files.",
        }[level]
    )
    return level


def main() -> None:
    """Grade a folder of submissions."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("submissions")
    parser.add_argument("--weak", action="store_true", help="grade without isolation")
    arguments = parser.parse_args()
    submissions = Path(arguments.submissions)
    if not (arguments.submissions and submissions.is_dir()):
        raise SystemExit(
            f"SUBMISSIONS={arguments.submissions} is no folder; name one: "
            "make grade SUBMISSIONS=path/to/submissions"
        )
    if not list(assignments.FOLDER.glob("*/contents.json")):
        raise SystemExit("There are no assignments: run 'make assignments SEED=...' first.")
    level = choose_level(arguments.weak)
    grade_all(submissions, GRADES, level=level, limits=Limits())
    print(f"Table: {GRADES / 'grades.csv'}")


if __name__ == "__main__":
    sys.exit(main())
