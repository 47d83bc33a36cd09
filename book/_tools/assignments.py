"""Assignments: the exercises of a chapter with all that they need, and nothing else.

The texts come from the student notebook (where every reference is resolved), the worked
answers from the chapter's source, the right values from :mod:`mammocourse.check`.
"""

from __future__ import annotations

import ast
import functools
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

    label: str  # "02-odds", which is also the ``id`` where code checks the answer
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
class Open:
    """What is known of an exercise that a person reads; ``given`` are its cells as handed out."""

    label: str
    title: str
    given: list[str]


@dataclass(frozen=True)
class Contents:
    """What was handed out for one chapter: the seed of the variants, and the exercises."""

    seed: str
    graded: list[Graded]
    open: list[Open]

    def write(self, folder: Path) -> None:
        """Write the contents into the folder of an assignment."""
        text = json.dumps(asdict(self), indent=1, sort_keys=True)
        (folder / "contents.json").write_text(text + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Contents:
        """Read what ``make assignments`` has written.

        Raises
        ------
        SystemExit
            If another version of the course has written it.
        """
        found = json.loads((folder / "contents.json").read_text("utf-8"))
        try:
            graded = [Graded(**one) for one in found["graded"]]
            return cls(found["seed"], graded, [Open(**one) for one in found["open"]])
        except (KeyError, TypeError):
            raise SystemExit(
                f"{folder / 'contents.json'} is from another version of the course: build the "
                f"assignment again, with SEED={found.get('seed')}."
            ) from None


def contents(item: course.Chapter, seed: str) -> Contents:
    """Return the contents of the assignment of a chapter."""
    found = tasks(item)
    return Contents(
        seed=seed,
        graded=[Graded(task.id, task.name, task.title) for task in found if task.id],
        open=[_open(task) for task in found if not task.id],
    )


def _open(task: Task) -> Open:
    cells = [f"## {task.title}\n\n{task.text}", *task.given, task.stub]
    return Open(task.label, task.title, [cell for cell in cells if cell])


def file_name(item: course.Chapter) -> str:
    """Return the name of a chapter's assignment; the chapter's own notebook has another."""
    return f"{item.name}_assignment.ipynb"


def student_name(seed: str, student: str, run: int = 0) -> str:
    """Return the name from which a student's numbers are drawn.

    ``run`` 0 gives the numbers that the student sees, others the hidden ones.
    """
    return f"{seed}/{student}" + (f"/hidden {run}" if run else "")


@functools.cache
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
    labels = re.findall(r"^:label: ex-(.+)$", item.path.read_text("utf-8"), re.M)
    if len(labels) != len(starts):
        raise SystemExit(
            f"notebooks/{path.name} has {len(starts)} exercises, the chapter {len(labels)}: "
            "run 'make notebooks'."
        )
    found = []
    for label, start, following in zip(labels, starts, [*starts[1:], len(cells)], strict=True):
        end = min(following, next(end for end in ends if end > start))
        found.append(_task(label, cells[start:end], worked))
    missing = set(worked) - {task.id for task in found}
    if missing:
        raise SystemExit(
            f"notebooks/{path.name} lacks {', '.join(sorted(missing))}: run 'make notebooks'."
        )
    return found


def _task(label: str, cells: list[Any], worked: dict[str, str]) -> Task:
    title, _, text = cells[0].source.partition("\n")
    tagged = {tag: cell.source for cell in cells for tag in course.tags(cell)}
    code = [c.source for c in cells if c.cell_type == "code" and not course.tags(c)]
    more = [c.source for c in cells[1:] if c.cell_type == "markdown" and c.source != ANSWER_PLACE]
    exercise, name = _check(tagged["check"]) if "check" in tagged else ("", "")
    return Task(
        label=label,
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


@dataclass(frozen=True)
class _Definition:
    """A statement of a chapter that defines names, with its place in the order of the chapter."""

    place: int
    statement: ast.stmt
    text: str

    @property
    def imports(self) -> bool:
        return isinstance(self.statement, ast.Import | ast.ImportFrom)


@dataclass(frozen=True)
class Setup:
    """What the cells of an assignment need of the chapter's code.

    Students get ``given``: the imports, and the functions that the cells of the exercises and
    the texts of the checked ones name (open ones are worked on in the chapter's notebook). What
    a worked answer needs besides is in ``worked``, by exercise, where it is needed first.
    """

    given: list[str]
    worked: dict[str, list[str]]
    handed_out: dict[str, list[str]]  # exercise to the course's functions in ``given`` it calls


@functools.cache
def setup(item: course.Chapter) -> Setup:
    """Return what the exercises of a chapter need of its code."""
    found = tasks(item)
    defined = _definitions(item)
    own = [part for task in found for part in (*task.given, task.stub)]
    solved = [task.solution for task in found if task.id]
    kept = set().union(*map(defines, own + solved))
    defined = {name: one for name, one in defined.items() if name not in kept}
    texts = [task.text for task in found if task.id]
    named = {n for text in texts for n in _named(text) if _is_function(defined.get(n))}
    seen = _closure({"check", "variant", "np"}.union(named, *map(uses, own)), defined)
    direct = {name for part in solved for name in uses(part)}
    seen |= {n: one for n, one in defined.items() if n in direct and one.imports}
    worked, handed_out, done = {}, {}, set(seen)
    for task in found:
        if task.id:
            needed = _closure(uses(task.solution), defined)
            worked[task.id] = _cells({n: one for n, one in needed.items() if n not in done})
            done |= set(needed)
            called = sorted(uses(task.solution) & set(seen))
            handed_out[task.id] = [name for name in called if _of_course(seen[name])]
    return Setup(_cells(seen), worked, handed_out)


def _definitions(item: course.Chapter) -> dict[str, _Definition]:
    """Return the last definition of each name in a chapter, exercises left out."""
    defined: dict[str, _Definition] = {}
    place = 0
    for cell in item.read().cells:
        if cell.cell_type == "code" and not {"answer", "solution"} & set(course.tags(cell)):
            for statement in ast.parse(cell.source).body:
                text = ast.get_source_segment(cell.source, statement) or ""
                one = _Definition(place := place + 1, statement, text)
                defined.update(dict.fromkeys(defines(text), one))
    return defined


def _closure(wanted: set[str], defined: dict[str, _Definition]) -> dict[str, _Definition]:
    """Return the definitions of some names, with all that these use in turn."""
    chosen: dict[str, _Definition] = {}
    wanted = set(wanted)
    while wanted:
        name = wanted.pop()
        if name in defined and name not in chosen:
            chosen[name] = defined[name]
            wanted |= uses(defined[name].text)
    return chosen


def _cells(chosen: dict[str, _Definition]) -> list[str]:
    """Return a cell with the imports, then the other definitions in the order of the chapter."""
    imports = {name: one.statement for name, one in chosen.items() if one.imports}
    others = {one.place: one.text for one in chosen.values() if not one.imports}
    return [*([_imports(imports)] if imports else []), *(others[place] for place in sorted(others))]


def _named(text: str) -> set[str]:
    """Return the names that a text has in the type of code."""
    return {name for code in re.findall(r"`([^`]+)`", text) for name in re.findall(r"\w+", code)}


def _is_function(definition: _Definition | None) -> bool:
    return definition is not None and isinstance(
        definition.statement, ast.FunctionDef | ast.ClassDef
    )


def _of_course(definition: _Definition) -> bool:
    """Tell whether a definition is the course's own, of a chapter or of the package."""
    match definition.statement:
        case ast.ImportFrom(module=str(module)):
            return module.partition(".")[0] == "mammocourse"
    return _is_function(definition)


def _imports(statements: dict[str, Any]) -> str:
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


def defines(source: str) -> set[str]:
    """Return the global names that some code defines."""
    top = symtable.symtable(source, "cell", "exec")
    return {s.get_name() for s in top.get_symbols() if s.is_assigned() or s.is_imported()}


def uses(source: str) -> set[str]:
    """Return the global names that some code uses."""
    top = symtable.symtable(source, "cell", "exec")
    used, tables = set(), [top]
    while tables:
        table = tables.pop()
        tables += table.get_children()
        symbols = (s for s in table.get_symbols() if s.is_referenced())
        used |= {s.get_name() for s in symbols if table is top or s.is_global()}
    return used
