"""Sphinx extension: ``{appendix-table} name`` writes what files and code can say by themselves."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "book" / "_tools"))

import appendix_tables  # noqa: E402
import chapters as course  # noqa: E402

SOURCES = ("CITATION.cff", "Makefile", "_config.yml", "mammocourse/fetching.py")


class AppendixTable(SphinxDirective):
    """A part of an appendix that ``appendix_tables`` writes as Markdown."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Let the function of that name write, and read what it wrote."""
        results = sorted((ROOT / "data" / "results").glob("[0-9][0-9].json"))
        chapters = [item.path for item in course.chapters()]
        for path in (*results, *chapters, *(ROOT / name for name in SOURCES)):
            self.env.note_dependency(str(path))
        lines = getattr(appendix_tables, self.arguments[0])()
        box = nodes.container()
        self.state.nested_parse(StringList(lines, self.env.docname), 0, box)
        return box.children


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("appendix-table", AppendixTable)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
