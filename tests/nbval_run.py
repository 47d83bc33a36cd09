"""Chapters as notebooks for nbval: the code of today, the results that are committed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat

import chapters as course
from notebook_writer import METADATA, RESULT

COMMITTED = course.ROOT / "notebooks"


def make(item: course.Chapter) -> Any:
    """Return a chapter with the stored output of each result cell.

    Raises
    ------
    AssertionError
        If a result cell has no stored output, since nbval would compare nothing.
    """
    path = COMMITTED / f"{item.name}.ipynb"
    assert path.exists(), f"{path.name} is missing: run 'make notebooks' and commit it."
    stored = {cell["id"]: cell for cell in nbformat.read(path, as_version=4).cells}
    notebook = item.read()
    course.number_cells(notebook)
    notebook.cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    notebook.metadata = nbformat.from_dict(METADATA)
    for cell in notebook.cells:
        cell.outputs, cell.execution_count = [], None
        if RESULT in course.tags(cell):
            assert cell["id"] in stored, (
                f"{item.name}: a result cell has changed and has no stored result; run "
                f"'make notebooks', look at the difference and commit it:\n{cell.source}"
            )
            cell.outputs, cell.execution_count = stored[cell["id"]].outputs, 1
    return notebook


def write(item: course.Chapter, folder: Path) -> Path:
    """Write the notebook of a chapter and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{item.name}.ipynb"
    nbformat.write(make(item), path)
    return path


def run(paths: list[Path], *options: str) -> subprocess.CompletedProcess[str]:
    """Run nbval on notebooks: all cells must run, result cells must print the same."""
    folder = paths[0].parent
    python_path = os.pathsep.join([str(course.ROOT / "tests"), str(course.ROOT / "book/_tools")])
    command = [sys.executable, "-m", "pytest", "--nbval-lax", "--nbval-cell-timeout=600", "-q"]
    command += ["-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", str(folder), *options]
    return subprocess.run(
        [*command, *map(str, paths)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": python_path, "MAMMOCOURSE_MODE": "small"},
        capture_output=True,
        text=True,
    )
