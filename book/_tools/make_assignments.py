"""Build the assignments: ``make assignments SEED=autumn-2026 [CHAPTER=02]``.

For each chapter a master notebook in the format of Otter Assign, from which otter-grader makes
the student notebook (without solutions), the autograder archive and the hidden tests:

    _build/assignments/02/student/02_logistic_regression_assignment.ipynb   for the students
    _build/assignments/02/autograder.zip                                    for Gradescope
    _build/assignments/02/solution/02_logistic_regression_assignment.ipynb  for the instructor
    _build/assignments/02/contents.json                                     for ``make grade``

Otter has an environment of its own, since it needs an older release of a package
of the course (`wrapt`). The numbers of an exercise follow from SEED and the student's id.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import nbformat
import yaml

import assignments
import chapters as course
import mammocourse
from assignments import Task
from notebook_writer import INSTALL, METADATA

OTTER = course.ROOT / ".venv-grade" / "bin" / "otter"
INTRODUCTION = """# Assignment: {title}

Put the id that your course gave you in the next cell: your numbers follow from it. Replace each
`...` by your answer and run the `check` below it, which knows your numbers.

**Compute every answer from the variables that the cells show, even where you worked it out by
hand.** Your notebook will be graded twice over: with your numbers, and with others of the same
kind, for half of the points. Do not rename the variables or remove cells, use no commands that
begin with `!` or `%`, and hand in the notebook under the name that it has now. The exercises
speak of the chapter of the same number; the next cells bring from it the functions that they name.
Whatever else a checked answer needs, write into this notebook, which is run alone. Work on the open
ones in the chapter's own notebook, and write here, below each, what you did and found."""
STUDENT = """# Your id: put it between the quotation marks, then run this cell.
import os

student_id = "{unnamed}"
os.environ["MAMMOCOURSE_STUDENT"] = "{seed}/" + student_id"""
PROMPT = '""" # BEGIN PROMPT\n{stub}\n""" # END PROMPT\n'
SOLUTION = "# BEGIN SOLUTION NO PROMPT\n{solution}\n# END SOLUTION"
HIDDEN = """\"\"\" # BEGIN TEST CONFIG
hidden: true
\"\"\" # END TEST CONFIG
feedback = check("{id}", {name})
assert feedback.passed, feedback.message"""
OPEN = "The page of the chapter has a possible answer; the instructor guide has the rubric."


def raw(text: str, **settings: Any) -> Any:
    """Return one of the raw cells that direct Otter Assign."""
    body = yaml.safe_dump(settings, sort_keys=False) if settings else ""
    return nbformat.v4.new_raw_cell(f"# {text}\n{body}".rstrip())


def question(number: int, task: Task, functions: list[str]) -> list[Any]:
    """Return the cells of one exercise; only the worked answer gets the functions."""
    code, text = nbformat.v4.new_code_cell, nbformat.v4.new_markdown_cell
    cells = [text(f"## {task.title}\n\n{task.text}"), *map(code, task.given)]
    if not task.id:
        answers = [code(PROMPT.format(stub=task.stub) + f"# {OPEN}")] if task.stub else []
        settings = {"name": f"q{number}", "points": assignments.OPEN_POINTS, "manual": True}
        solution = [raw("BEGIN SOLUTION"), *answers, text(OPEN), raw("END SOLUTION")]
        return [raw("BEGIN QUESTION", **settings), *cells, *solution, raw("END QUESTION")]
    settings = {"name": f"q{number}", "points": assignments.POINTS, "check_cell": False}
    worked = [code(SOLUTION.format(solution=function)) for function in functions]
    answer = PROMPT.format(stub=task.stub) + SOLUTION.format(solution=task.solution)
    return [
        *(raw("BEGIN QUESTION", **settings), *cells),
        *(raw("BEGIN SOLUTION"), *worked, code(answer), raw("END SOLUTION")),
        *(raw("BEGIN TESTS"), code(HIDDEN.format(id=task.id, name=task.name)), raw("END TESTS")),
        *(code(f'check("{task.id}", {task.name})'), raw("END QUESTION")),
    ]


def master(item: course.Chapter, seed: str) -> Any:
    """Return the master notebook of a chapter's assignment."""
    book = yaml.safe_load((course.ROOT / "_config.yml").read_text("utf-8"))
    repository = book["repository"]["url"]
    found = assignments.tasks(item)
    code_of_chapter = assignments.setup(item)
    config = {
        "name": item.name,
        **dict.fromkeys(("init_cell", "check_all_cell", "export_cell", "run_tests"), False),
        "requirements": [f"mammocourse @ git+{repository}"],
        "generate": {"show_stdout": False, "show_hidden": False},
    }
    title = re.search(r"^# (.+)", item.path.read_text("utf-8"), re.M)
    code, text = nbformat.v4.new_code_cell, nbformat.v4.new_markdown_cell
    install = INSTALL.strip().format(repository=repository, version=mammocourse.__version__)
    notebook = nbformat.v4.new_notebook(metadata=METADATA)
    notebook.cells = [
        raw("ASSIGNMENT CONFIG", **config),
        text(INTRODUCTION.format(title=title[1] if title else item.name)),
        code(STUDENT.format(unnamed=assignments.UNNAMED, seed=seed)),
        code(install),
        *map(code, code_of_chapter.given),
        *(
            cell
            for number, task in enumerate(found, 1)
            for cell in question(number, task, code_of_chapter.worked.get(task.id, []))
        ),
    ]
    course.number_cells(notebook)
    return notebook


def assign(item: course.Chapter, seed: str, folder: Path) -> None:
    """Let Otter make the assignment of one chapter in a folder, all or nothing."""
    with tempfile.TemporaryDirectory() as name:
        made, file = Path(name), assignments.file_name(item)
        nbformat.write(master(item, seed), made / file)
        command = [str(OTTER), "assign", file, "made", "--no-run-tests"]
        done = subprocess.run(command, cwd=made, capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(f"Otter Assign failed for {item.name}:\n{done.stdout}{done.stderr}")
        [archive] = (made / "made" / "autograder").glob("*.zip")
        new = folder.with_suffix(".new")
        shutil.rmtree(new, ignore_errors=True)
        for kind, source in (("student", "student"), ("solution", "autograder")):
            (new / kind).mkdir(parents=True)
            notebook = nbformat.read(made / "made" / source / file, as_version=4)
            notebook.cells = [cell for cell in notebook.cells if cell.source.strip()]
            course.number_cells(notebook)
            nbformat.write(notebook, new / kind / file)
        shutil.copyfile(archive, new / "autograder.zip")
        assignments.contents(item, seed).write(new)
    shutil.rmtree(folder, ignore_errors=True)
    new.replace(folder)


def main() -> None:
    """Build the assignments of all chapters that have exercises, or of one."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--seed", required=True, help="any word; another one for each class")
    parser.add_argument("--chapter", help="two digits; all chapters where it is left out")
    arguments = parser.parse_args()
    if not re.fullmatch(r"[\w.-]+", arguments.seed):
        raise SystemExit(
            f"SEED is {arguments.seed!r}; it must be one word of letters, digits, '-', '.' and "
            "'_', for example: make assignments SEED=autumn-2026"
        )
    if not OTTER.exists():
        raise SystemExit(f"{OTTER} is missing: run 'make assignments', which installs Otter.")
    wanted = [course.chapter(arguments.chapter)] if arguments.chapter else course.chapters()
    handed_out = [item for item in wanted if "{exercise-start}" in item.path.read_text("utf-8")]
    for item in handed_out:
        folder = assignments.FOLDER / item.number
        old = assignments.Contents.read(folder) if (folder / "contents.json").exists() else None
        assign(item, arguments.seed, folder)
        print(f"{item.name:<32} {folder}", flush=True)
        if old and old.seed != arguments.seed:
            print(f"  It replaces the one with SEED={old.seed}; to grade that one, build it again.")


if __name__ == "__main__":
    main()
