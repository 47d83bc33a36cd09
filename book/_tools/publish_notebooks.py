"""Copy the student notebooks of the last build to ``notebooks/``, where they are committed.

``make lab`` opens the same folder, so a notebook there may hold somebody's work. A generated one
is known by its cells: the id of each follows from its content, and whoever types into a cell
changes the content alone.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import chapters as course

SOURCE = course.BUILD / "notebooks" / "student"
TARGET = course.ROOT / "notebooks"
INSTALL = "install"  # the id of the first cell


def changed_cells(path: Path) -> list[str]:
    """Return the content of the cells in which somebody has typed, [] for a generated notebook.

    Results are no work: they come back when the cells are run again.
    """
    try:
        cells = json.loads(path.read_text("utf-8"))["cells"]
        return [_source(cell) for cell in cells if not _is_generated(cell)]
    except (ValueError, KeyError, TypeError):
        return ["(it cannot be read)"]


def _source(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


def _is_generated(cell: dict[str, Any]) -> bool:
    identifier = str(cell.get("id", ""))
    digest = course.cell_digest(cell["cell_type"], _source(cell))
    return identifier == INSTALL or identifier.partition("-")[0] == digest


def publish(source: Path = SOURCE, target: Path = TARGET) -> None:
    """Replace the committed notebooks by the new ones; leave all others alone.

    Raises
    ------
    SystemExit
        If somebody has typed into one of them; then nothing is changed.
    """
    target.mkdir(exist_ok=True)
    new = sorted(source.glob("*.ipynb"))
    for path in new:
        old = target / path.name
        cells = changed_cells(old) if old.exists() else []
        if cells:
            first = cells[0].strip().partition("\n")[0][:80]
            raise SystemExit(
                f"{old} was not replaced, nor any other notebook: somebody has typed into "
                f"{len(cells)} of its cells, the first of which begins with\n    {first}\n"
                f"Move it to another folder, or give this work up with: git checkout {old}"
            )
    for path in target.glob("*.ipynb"):
        if _is_chapter(path) and not changed_cells(path):
            path.unlink()
    for path in new:
        shutil.copy(path, target / path.name)
        print(f"notebooks/{path.name}")


def _is_chapter(path: Path) -> bool:
    """Tell whether a notebook begins as generated chapters do."""
    try:
        return bool(json.loads(path.read_text("utf-8"))["cells"][0]["id"] == INSTALL)
    except (ValueError, KeyError, TypeError, IndexError):
        return False


if __name__ == "__main__":
    publish()
