"""Pytest plugin: keep what nbval executed, so that chapters run once for all tests.

nbval runs the cells of a chapter and compares its result cells. When all of them
passed, the outputs go into the execution cache from which the site is built.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from nbval.plugin import IPyNbCell

import chapters as course

_seconds: dict[str, float] = defaultdict(float)
_before = {item.name: (item.read(), course.cache_path(item)) for item in course.chapters()}


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _seconds[Path(report.fspath).stem] += report.duration


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if exitstatus != 0:
        return
    outputs: dict[str, list[Any]] = defaultdict(list)
    for item in session.items:
        if isinstance(item, IPyNbCell):
            outputs[item.path.stem].append(item.test_outputs)
    for name, found in outputs.items():
        source, folder = _before[name]
        executed = copy.deepcopy(source)
        code_cells = [cell for cell in executed.cells if cell.cell_type == "code"]
        for count, (cell, output) in enumerate(zip(code_cells, found, strict=True), start=1):
            cell.outputs, cell.execution_count = output, count
        course.store(name, source, executed, _seconds[name], folder)
