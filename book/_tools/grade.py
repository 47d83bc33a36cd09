"""Grade a folder of submissions: ``make grade SUBMISSIONS=folder``.

The folder holds one folder per student, named by the student's id, with the notebooks in it
(``ada/02_logistic_regression_assignment.ipynb``). Written are a table, a text for each notebook
and, for each chapter, the answers to its open exercises:

    _build/grades/grades.csv
    _build/grades/feedback/ada/02_logistic_regression_assignment.txt
    _build/grades/to_read/02.md

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
import guide_tables
import isolation
from assignments import OPEN_POINTS, POINTS, Contents, Graded, Open, student_name
from isolation import Limits, Outcome
from mammocourse.check import check, variant

GRADES = course.BUILD / "grades"
HIDDEN_RUNS = 2
LARGEST_NOTEBOOK = 50_000_000  # bytes
TYPED_ID = re.compile(r"""^student_id *= *["'](.*?)["'] *(?:#.*)?$""", re.M)
HANDED_OUT = re.compile(r"""^os\.environ\["MAMMOCOURSE_STUDENT"\] = "([\w.-]+)/" """, re.M)
LONGEST_ANSWER = 20_000  # characters
PLACEHOLDER = "_Type your answer here, replacing this text._"  # by Otter
COLUMNS = ("student", "chapter", "file", "points", "of", "to_read", "problem", "feedback")


@dataclass(frozen=True)
class Cell:
    """A cell of a notebook that somebody else wrote, with the text that it had printed."""

    kind: str
    source: str
    printed: str = ""


@dataclass
class Grade:
    """The points of one notebook and what to tell the student."""

    points: float = 0
    of: int = 0
    to_read: int = 0  # open exercises, which a person grades
    problem: str = ""
    lines: list[str] = field(default_factory=list)
    chapter: str = ""
    answers: dict[str, str] = field(default_factory=dict)  # to open exercises, by label


def read_cells(path: Path) -> list[Cell]:
    """Return the cells of a notebook that somebody else wrote.

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
        return [
            Cell(str(cell["cell_type"]), "".join(cell["source"]), _printed(cell)) for cell in cells
        ]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ValueError("it is not a Jupyter notebook; save it again and hand it in") from None


def code_cells(cells: list[Cell]) -> list[str]:
    """Return the sources of the code cells."""
    return [cell.source for cell in cells if cell.kind == "code"]


def _printed(cell: dict[str, Any]) -> str:
    """Return the text that a code cell had printed when it was saved."""
    texts = []
    for output in cell.get("outputs", ()) if cell["cell_type"] == "code" else ():
        data = output.get("data", {})
        texts.append("".join(output.get("text") or data.get("text/plain") or ""))
        if any(kind.startswith("image/") for kind in data):
            texts.append("[a picture: see the notebook]")
    return "\n".join(text.strip() for text in texts if text.strip())


def is_the_chapter(cells: list[str], chapter: list[Cell]) -> bool:
    """Tell whether a chapter's own notebook was handed in, not its assignment.

    It lacks the cell with the SEED, and has most of the chapter's cells, which the assignment
    does not have.
    """
    own = {cell for cell in code_cells(chapter)[1:] if not re.search(r"\b(check|variant)\(", cell)}
    return typed(cells, HANDED_OUT) is None and 2 * len(own & set(cells)) > len(own)


def open_answers(cells: list[Cell], exercises: list[Open]) -> dict[str, str]:
    """Return what stands below the open exercises besides what was handed out, as Markdown."""
    found: dict[str, list[str]] = {}
    label, given = "", set()
    for cell in cells:
        source = re.sub(r"<!-- (BEGIN|END) QUESTION -->", "", cell.source).strip()
        if re.match(r"## Exercise \S", source):
            numbered = {one.title.split()[1]: one for one in exercises}  # by "2.6"
            now = numbered.get(source.split()[2])
            label = now.label if now else ""
            given = {_squeezed(part) for part in (*now.given, PLACEHOLDER)} if now else set()
        if label and source and _squeezed(source) not in given:
            printed = f"\n\n{_fenced(cell.printed)}" if cell.printed else ""
            text = _fenced(source, "python") if cell.kind == "code" else _without_tags(source)
            found.setdefault(label, []).append(text + printed)
    return {label: "\n\n".join(parts) for label, parts in found.items()}


def _squeezed(text: str) -> str:
    return " ".join(text.split())


def _fenced(text: str, language: str = "text") -> str:
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{fence}{language}\n{text}\n{fence}"


def _without_tags(text: str) -> str:
    return re.sub(r"<(?=[a-zA-Z/!?])", "&lt;", text)


def _quoted(text: str) -> str:
    """Return a text by others as a quotation, which its headings cannot leave."""
    if len(text) > LONGEST_ANSWER:
        text = text[:LONGEST_ANSWER] + "\n\n[cut here: the rest is in the notebook]"
    shown = "".join(c if c.isprintable() or c == "\n" else " " for c in text)
    return re.sub("(?m)^", "> ", shown)


def reading_list(
    chapter: str, exercises: list[Open], answers: list[tuple[str, dict[str, str]]]
) -> str:
    """Return all answers to the open exercises of a chapter, exercise by exercise."""
    rubric = guide_tables.rubric_lines()
    parts = [
        f"# Chapter {chapter}: open exercises",
        f"{OPEN_POINTS} points each: answer, evidence, limits, and the point of the chapter, as "
        "the instructor guide says. Put them into the columns of this name in grades.csv.",
    ]
    for one in exercises:
        full = rubric.get(one.label, "the guide's rubric has no line for it.")
        parts += [f"## {one.label}: {one.title}", f"**A full answer:** {full}"]
        for student, theirs in answers:
            answer = theirs.get(one.label)
            parts += [f"### {_printable(student)}", _quoted(answer) if answer else "*No answer.*"]
    return "\n\n".join(parts) + "\n"


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
    if name == assignments.UNNAMED != student:
        return "No id was put into its second cell."
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
    noise = set()  # checks of answers that are missing, which fail for that reason alone
    other = wrong_numbers(cells or [], contents.seed, student)
    found.problem = " ".join(filter(None, [outcome.problem, other]))
    for task in contents.graded:
        values = outcome.answers.get(task.id, [None] * (1 + HIDDEN_RUNS))
        points, comment = judge(task, values, contents.seed, student, cells)
        if values[0] is None:
            for position, cell in enumerate(cells or [], 1):
                if cell.strip() == f'check("{task.id}", {task.name})':
                    noise.add(position)
                if position in outcome.errors and re.search(rf"^ *{task.name} *=", cell, re.M):
                    comment = f"Not answered: code cell {position} failed, see below."
        found.points += points
        found.lines.append(f"{task.title}: {points:g} of {POINTS} points\n    {comment}")
    for one in contents.open:
        found.lines.append(f"{one.title}: will be read by a person")
    for position, error in outcome.errors.items():
        if position in noise and error.startswith("NameError"):
            continue
        found.lines.append(f"Code cell {position} (from the top) failed: {_printable(error)}")
    return found


def chapter_of(name: str) -> str:
    """Return the number of the chapter that a file name holds, "" where it holds none.

    Learning platforms put names and numbers in front of the name that was handed out.
    """
    found = [item.number for item in course.chapters() if item.name in name]
    plain = re.match(r"(\d\d)_", name)
    return found[0] if found else plain[1] if plain else ""


def grade_file(path: Path, student: str, package: Path, level: str, limits: Limits) -> Grade:
    """Grade one notebook; whatever is wrong with it ends up in the grade."""
    chapter = chapter_of(path.name)
    folder = assignments.FOLDER / (chapter or "none")
    if not (folder / "contents.json").exists():
        known = sorted(found.parent.name for found in assignments.FOLDER.glob("*/contents.json"))
        return Grade(
            problem="It belongs to no assignment: there are some for the chapters "
            f"{', '.join(known)}, and the names of their notebooks must stay in the names of the "
            "files."
        )
    contents = Contents.read(folder)
    found = _grade_cells(path, contents, chapter, student, package, level, limits)
    found.chapter = chapter
    return found


def _grade_cells(
    path: Path,
    contents: Contents,
    chapter: str,
    student: str,
    package: Path,
    level: str,
    limits: Limits,
) -> Grade:
    full = POINTS * len(contents.graded)
    try:
        cells = read_cells(path)
    except ValueError as error:
        return Grade(of=full, problem=f"It cannot be read: {error}.")
    item, code = course.chapter(chapter), code_cells(cells)
    own = course.ROOT / "notebooks" / f"{item.name}.ipynb"
    if own.exists() and is_the_chapter(code, read_cells(own)):
        wrong = (
            "This is the chapter's notebook, not the assignment, and was not run: hand in "
            f"{assignments.file_name(item)}, which has a cell for your id at its top. Copy your "
            "answers into it."
        )
        return Grade(of=full, problem=wrong)
    answers = {task.id: task.name for task in contents.graded}
    given = json.loads(json.dumps(numbers(contents.graded, contents.seed, student)))
    done = isolation.run(code, answers, given, package=package, level=level, limits=limits)
    found = grade(done, contents, student, code)
    found.answers = open_answers(cells, contents.open)
    return found


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


def _refuse_to_lose_points(table: Path) -> None:
    """Stop before a table is replaced into which a person has put points."""
    if not table.exists():
        return
    with open(table, encoding="utf-8", errors="replace", newline="") as file:
        rows = list(csv.DictReader(file))
    if any(
        value and re.fullmatch(r"\d\d-.+", str(name)) for row in rows for name, value in row.items()
    ):
        raise SystemExit(
            f"{table} holds points of open exercises, which grading would replace: move it "
            "somewhere else first."
        )


def grade_all(submissions: Path, target: Path, *, level: str, limits: Limits) -> list[Grade]:
    """Grade all notebooks of a folder and write what :mod:`grade` lists, all or nothing.

    Folders without a notebook get a row that says so. The columns of the open exercises are
    empty, for the points that a person gives.

    Raises
    ------
    SystemExit
        If there is nothing to grade, or if the last table holds points that a person gave.
    """
    paths = sorted(path for path in submissions.glob("*/*.ipynb") if path.parent.name[0] != ".")
    if not paths:
        raise SystemExit(
            f"SUBMISSIONS={submissions} holds no notebooks; expected is one folder per student, "
            "for example submissions/ada/02_logistic_regression_assignment.ipynb"
        )
    _refuse_to_lose_points(target / "grades.csv")
    grades, rows = [], []
    to_read: dict[str, list[tuple[str, dict[str, str]]]] = {}
    new = target.with_suffix(".new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder)
        isolation.strip_package(package)
        for path in paths:
            student = path.parent.name
            found = grade_file(path, student, package, level, limits)
            told = Path("feedback", student, f"{path.stem}.txt")
            (new / told).parent.mkdir(parents=True, exist_ok=True)
            text = feedback_text(student, path.name, found)
            (new / told).write_text(text, encoding="utf-8", errors="replace")
            row = (student, found.chapter, path.name, f"{found.points:g}", found.of, found.to_read)
            rows.append([*map(str, row), found.problem, str(told)])
            grades.append(found)
            if found.to_read:
                to_read.setdefault(found.chapter, []).append((student, found.answers))
            print(
                f"{_printable(student):<24} {found.chapter}  {found.points:g}/{found.of}",
                flush=True,
            )
    for path in sorted(submissions.iterdir()):
        if path.name[0] != "." and path not in {one.parent for one in paths}:
            what = "It holds no notebook" if path.is_dir() else "It lies in no student's folder"
            rows.append([path.name, "", "", "0", "0", "0", f"{what}; nothing was graded.", ""])
            print(f"{_printable(path.name):<24} {rows[-1][6]}", flush=True)
    columns = list(COLUMNS)
    for chapter, answers in sorted(to_read.items()):
        exercises = Contents.read(assignments.FOLDER / chapter).open
        columns += [one.label for one in exercises]
        (new / "to_read").mkdir(exist_ok=True)
        text = reading_list(chapter, exercises, answers)
        (new / "to_read" / f"{chapter}.md").write_text(text, encoding="utf-8", errors="replace")
    with open(new / "grades.csv", "w", encoding="utf-8", errors="replace", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        empty = [""] * (len(columns) - len(COLUMNS))
        for row in [columns, *([*row, *empty] for row in rows)]:
            writer.writerow([_for_spreadsheets(cell) for cell in row])
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
    print(f"Table: {GRADES / 'grades.csv'}\nOpen exercises: {GRADES / 'to_read'}")


if __name__ == "__main__":
    sys.exit(main())
