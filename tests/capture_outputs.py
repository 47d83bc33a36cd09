"""Pytest plugin: keep what nbval executed, so that chapters run once for all tests.

nbval runs the cells of a chapter and compares its result cells. When all of them
passed, the outputs go into the execution cache from which the site is built.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from nbval.plugin import IPyNbCell

import chapters as course

_seconds: dict[str, float] = defaultdict(float)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _seconds[Path(report.fspath).stem] += report.duration


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if exitstatus != 0:
        return
    outputs: dict[str, list[Any]] = defaultdict(list)
    for item in session.items:
        if isinstance(item, IPyNbCell):
            outputs[item.path.stem].append(item.test_outputs)
    for item in course.chapters():
        if item.name in outputs:
            notebook = item.read()
            code_cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
            for count, (cell, found) in enumerate(
                zip(code_cells, outputs[item.name], strict=True), start=1
            ):
                cell.outputs, cell.execution_count = found, count
            course.store(item, notebook, _seconds[item.name])
