"""Assignments: the exercises of a chapter with all that they need, and nothing else.

The texts come from the student notebook (where every reference is resolved), the worked
answers from the chapter's source, the right values from :mod:`mammocourse.check`.
"""

from __future__ import annotations

import ast
import json
import re
import symtable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import nbformat

import chapters as course
from notebook_writer import ANSWER_PLACE

FOLDER = course.BUILD / "assignments"
POINTS = 2  # of an exercise that code checks
OPEN_POINTS = 4  # of an exercise that a person reads
UNNAMED = "your-id"


@dataclass(frozen=True)
class Task:
    """One exercise of an assignment.

    ``id`` and ``name`` (the variable that holds the answer) are empty where code checks nothing.
    """

    title: str
    text: str
    id: str = ""
    name: str = ""
    given: list[str] = field(default_factory=list)  # cells that show the student's numbers
    stub: str = ""
    solution: str = ""


@dataclass(frozen=True)
class Graded:
    """What the grader knows of an exercise."""

    id: str
    name: str
    title: str


@dataclass(frozen=True)
class Contents:
    """What was handed out for one chapter: the seed of the variants, and the exercises."""

    seed: str
    graded: list[Graded]
    open: list[str]

    def write(self, folder: Path) -> None:
        """Write the contents into the folder of an assignment."""
        text = json.dumps(asdict(self), indent=1, sort_keys=True)
        (folder / "contents.json").write_text(text + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Contents:
        """Read what ``make assignments`` has written."""
        found = json.loads((folder / "contents.json").read_text("utf-8"))
        return cls(found["seed"], [Graded(**one) for one in found["graded"]], found["open"])


def contents(item: course.Chapter, seed: str) -> Contents:
    """Return the contents of the assignment of a chapter."""
    found = tasks(item)
    return Contents(
        seed=seed,
        graded=[Graded(task.id, task.name, task.title) for task in found if task.id],
        open=[task.title for task in found if not task.id],
    )


def student_name(seed: str, student: str, run: int = 0) -> str:
    """Return the name from which a student's numbers are drawn.

    ``run`` 0 gives the numbers that the student sees, others the hidden ones.
    """
    return f"{seed}/{student}" + (f"/hidden {run}" if run else "")


def tasks(item: course.Chapter) -> list[Task]:
    """Return the exercises of a chapter.

    Raises
    ------
    SystemExit
        If the student notebook is missing or does not fit the chapter.
    """
    path = course.ROOT / "notebooks" / f"{item.name}.ipynb"
    if not path.exists():
        raise SystemExit(f"notebooks/{path.name} is missing: run 'make notebooks' first.")
    cells = nbformat.read(path, as_version=4).cells
    starts = [i for i, cell in enumerate(cells) if cell.source.startswith("### Exercise")]
    ends = [i for i, cell in enumerate(cells) if re.match("##? ", cell.source)] + [len(cells)]
    worked = _solutions(item)
    found = []
    for start, following in zip(starts, [*starts[1:], len(cells)], strict=True):
        end = min(following, next(end for end in ends if end > start))
        found.append(_task(cells[start:end], worked))
    missing = set(worked) - {task.id for task in found}
    if missing:
        raise SystemExit(
            f"notebooks/{path.name} lacks {', '.join(sorted(missing))}: run 'make notebooks'."
        )
    return found


def _task(cells: list[Any], worked: dict[str, str]) -> Task:
    title, _, text = cells[0].source.partition("\n")
    tagged = {tag: cell.source for cell in cells for tag in course.tags(cell)}
    code = [c.source for c in cells if c.cell_type == "code" and not course.tags(c)]
    more = [c.source for c in cells[1:] if c.cell_type == "markdown" and c.source != ANSWER_PLACE]
    exercise, name = _check(tagged["check"]) if "check" in tagged else ("", "")
    return Task(
        title=title.removeprefix("### "),
        text="\n\n".join([text.strip(), *more]),
        id=exercise,
        name=name,
        given=code,
        stub=tagged.get("answer", ""),
        solution=worked.get(exercise, ""),
    )


def _check(source: str) -> tuple[str, str]:
    """Return identifier and variable of a call such as ``check("02-odds", odds_factor)``."""
    match source and ast.parse(source).body:
        case [ast.Expr(ast.Call(args=[ast.Constant(str(exercise)), ast.Name(name)]))]:
            return exercise, name
    raise SystemExit(f'A check cell must be check("NN-name", variable); this one is:\n{source}')


def _solutions(item: course.Chapter) -> dict[str, str]:
    """Return the worked answers of the exercises that code checks."""
    found, parts = {}, []
    for cell in item.read().cells:
        kinds = course.tags(cell)
        if "answer" in kinds:
            parts = []
        elif "solution" in kinds:
            parts.append(cell.source)
        elif "check" in kinds:
            found[_check(cell.source)[0]] = "\n".join(parts)
    return found


def setup(item: course.Chapter, found: list[Task]) -> list[str]:
    """Return cells with the imports and definitions of the chapter that its exercises need."""
    defined: dict[str, tuple[int, ast.stmt, str]] = {}
    for cell in item.read().cells:
        if cell.cell_type == "code" and not {"answer", "solution"} & set(course.tags(cell)):
            for statement in ast.parse(cell.source).body:
                text = ast.get_source_segment(cell.source, statement) or ""
                for name in _defines(statement):
                    defined[name] = (len(defined), statement, text)
    own = [part for task in found for part in (*task.given, task.stub)]
    own += [task.solution for task in found if task.id]
    given = {n for part in own for s in ast.parse(part).body for n in _defines(s)}
    wanted = {"check", "variant"}.union(*map(_uses, own)) - given
    chosen: dict[str, tuple[int, ast.stmt, str]] = {}
    while wanted:
        name = wanted.pop()
        if name in defined and name not in chosen:
            chosen[name] = defined[name]
            wanted |= _uses(defined[name][2])
    kinds = ast.Import | ast.ImportFrom
    imports = {name: s for name, (_, s, _) in chosen.items() if isinstance(s, kinds)}
    definitions = dict.fromkeys(one for name, one in chosen.items() if name not in imports)
    return [_imports(imports), *(text for _, _, text in sorted(definitions, key=lambda d: d[0]))]


def _imports(statements: dict[str, ast.Import | ast.ImportFrom]) -> str:
    """Return the import statements that bring some names, and no other ones."""
    plain, modules = [], {}
    for name, statement in sorted(statements.items()):
        [alias] = [a for a in statement.names if name in (a.asname, a.name.partition(".")[0])]
        if isinstance(statement, ast.ImportFrom):
            modules.setdefault(statement.module, []).append(ast.unparse(alias))
        else:
            plain.append(f"import {ast.unparse(alias)}")
    lines = [f"from {module} import {', '.join(names)}" for module, names in modules.items()]
    return "\n".join([*sorted(plain), *sorted(lines)])


def _defines(statement: ast.stmt) -> set[str]:
    top = symtable.symtable(ast.unparse(statement), "cell", "exec")
    return {s.get_name() for s in top.get_symbols() if s.is_assigned() or s.is_imported()}


def _uses(source: str) -> set[str]:
    """Return the global names that some code uses."""
    top = symtable.symtable(source, "cell", "exec")
    used, tables = set(), [top]
    while tables:
        table = tables.pop()
        tables += table.get_children()
        symbols = (s for s in table.get_symbols() if s.is_referenced())
        used |= {s.get_name() for s in symbols if table is top or s.is_global()}
    return used
