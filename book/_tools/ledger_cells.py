"""Which cell of a chapter recomputes a claim, so that the ledger page can link to it.

A cell that has run names its claims in its outputs. What only the full scale records is
found in the source: the calls of ``record``, whose first argument is a text, an f-string
(a pattern), or a variable, which then is looked up among the texts of the same cell, and
last among those of the cells before it.
"""

from __future__ import annotations

import ast
import json
import re
from typing import Any

import chapters as course
from mammocourse.ledger import RECORD_MIME, claims

LITERAL = 4  # letters of a pattern that must be literal, lest it fits every claim
OFF_THE_PAGE = {"remove-cell", "answer", "solution", "check", "quiz"}


def recording_cells(notebook: Any, chapter: str) -> dict[str, int]:
    """Return the number of the cell that records each claim of a chapter.

    Parameters
    ----------
    notebook : notebook
        With outputs or without.
    chapter : str
        Two digits.

    Returns
    -------
    dict of str to int
        Claims without such a cell are missing.
    """
    wanted = [claim.id for claim in claims().values() if claim.chapter == chapter]
    best: dict[str, tuple[int, int]] = {}  # claim: how many letters of it are literal, cell
    code = [
        (number, cell)
        for number, cell in enumerate(notebook.cells)
        if cell.cell_type == "code" and not OFF_THE_PAGE & set(course.tags(cell))
    ]
    for number, cell in code:
        for output in cell.get("outputs", []):
            if RECORD_MIME in output.get("data", {}):
                best[_identifier(output["data"][RECORD_MIME])] = (10**6, number)
        for pattern, literal in _patterns(cell.source):
            for name in wanted:
                if literal > best.get(name, (0, 0))[0] and pattern.fullmatch(name):
                    best[name] = (literal, number)
    for name in set(wanted) - set(best):
        named = False
        for number, cell in code:
            tree = ast.parse(cell.source)
            texts = [found for found in map(_pattern, ast.walk(tree)) if found is not None]
            named = named or any(
                "." in pattern.pattern and literal >= LITERAL and pattern.match(name)
                for pattern, literal in texts
            )
            if named and any(_is_weak(text) for text in _recorded(tree)):
                best[name] = (0, number)
                break
    return {name: number for name, (_, number) in best.items()}


def anchors(notebook: Any, chapter: str) -> dict[str, tuple[int, str]]:
    """Return the cell of each claim of a chapter and the name of that place on the page.

    Parameters
    ----------
    notebook, chapter
        As in :func:`recording_cells`.

    Returns
    -------
    dict of str to (int, str)
        The claims of a cell share its anchor, which is named after the first of them.
    """
    cells = recording_cells(notebook, chapter)
    names: dict[int, str] = {}
    for claim_id in claims():
        if claim_id in cells:
            name = re.sub(r"[^a-z0-9]+", "-", f"record-{claim_id}".lower())
            names.setdefault(cells[claim_id], name)
    return {claim_id: (number, names[number]) for claim_id, number in cells.items()}


def _identifier(entry: Any) -> str:
    return str((json.loads(entry) if isinstance(entry, str) else entry)["id"])


def _patterns(source: str) -> list[tuple[re.Pattern[str], int]]:
    """Return patterns of the claims that a cell records, and how much of each is literal."""
    tree = ast.parse(source)
    texts = _recorded(tree)
    if any(_is_weak(text) for text in texts):
        texts += list(ast.walk(tree))
    found = [pattern for pattern in map(_pattern, texts) if pattern is not None]
    return [(pattern, literal) for pattern, literal in found if literal >= LITERAL]


def _recorded(tree: ast.AST) -> list[ast.AST]:
    """Return the first arguments of the calls of ``record`` in some code."""
    return [
        node.args[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        if node.func.id == "record" and node.args
    ]


def _is_weak(node: ast.AST) -> bool:
    """Tell whether an argument of ``record`` does not name its claim by itself."""
    found = _pattern(node)
    return found is None or found[1] < LITERAL


def _pattern(node: ast.AST) -> tuple[re.Pattern[str], int] | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return re.compile(re.escape(node.value)), len(node.value)
    if not isinstance(node, ast.JoinedStr):
        return None
    parts = [part.value if isinstance(part, ast.Constant) else None for part in node.values]
    literal = [part for part in parts if isinstance(part, str)]
    pattern = "".join(".*" if part is None else re.escape(str(part)) for part in parts)
    return re.compile(pattern), sum(map(len, literal))
