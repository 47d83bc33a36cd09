"""Sphinx extension of the book: launch buttons, tables of the ledger and the guide, notebooks.

Registered in ``_config.yml``; it knows the repository's address only from there.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "book" / "_tools"))

import chapters as course  # noqa: E402
import notebook_writer  # noqa: E402


def point_to_the_cache(app: Sphinx, config: Any) -> None:
    """Take the executed chapters from the cache of the current environment."""
    config.nb_execution_cache_path = str(course.site_cache())


def number_by_file_name(app: Sphinx, env: Any) -> list[str]:
    """Give a chapter the number of its file, also while earlier chapters are missing."""

    def renumbered(number: tuple[int, ...] | None, chapter: int) -> tuple[int, ...] | None:
        return (chapter, *number[1:]) if number else number

    for docname in env.toc_secnumbers:
        match = re.match(r"book/(\d\d)_", docname)
        if match is None:
            continue
        chapter = int(match[1])
        figures = env.toc_fignumbers.get(docname, {})  # a page may have none
        for numbers in (env.toc_secnumbers[docname], *figures.values()):
            for key, number in numbers.items():
                numbers[key] = renumbered(number, chapter)
        for node in (env.titles[docname], *env.tocs[docname].findall(nodes.reference)):
            if node.get("secnumber"):
                node["secnumber"] = renumbered(node["secnumber"], chapter)
    return []


def set_theme_options(app: Sphinx, config: Any) -> None:
    """Set what Jupyter Book's settings cannot: one search field, our own download link."""
    config.html_theme_options.update(navbar_persistent=[], use_download_button=False)
    config.html_context.setdefault("default_mode", "auto")


def add_launch_buttons(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any
) -> None:
    """Offer every chapter's notebook on Colab, in JupyterLab and as a download."""
    names = {f"book/{item.name}": item.name for item in course.chapters()}
    if pagename not in names or "header_buttons" not in context:
        return
    options = app.config.html_theme_options
    repository = options["repository_url"].removeprefix("https://github.com/").strip("/")
    branch = options.get("repository_branch", "main")
    file = f"notebooks/{names[pagename]}.ipynb"
    links = [
        (
            "Open in Colab",
            f"https://colab.research.google.com/github/{repository}/blob/{branch}/{file}",
        ),
        (
            "Open in JupyterLab (Binder)",
            f"https://mybinder.org/v2/gh/{repository}/{branch}?urlpath=lab/tree/{file}",
        ),
        ("Download the notebook", context["pathto"](file, 1)),
    ]
    context["header_buttons"].insert(
        0,
        {
            "type": "group",
            "tooltip": "Open this chapter as a notebook",
            "icon": "fas fa-rocket",
            "label": "launch-buttons",
            "buttons": [{"type": "link", "text": text, "url": url} for text, url in links],
        },
    )


def remove_thebe(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any
) -> None:
    """Drop the scripts of sphinx-thebe: Jupyter Book loads them even where it is off."""
    for key in ("script_files", "css_files"):
        context[key] = [
            item
            for item in context.get(key, [])
            if "thebe" not in f"{item} {getattr(item, 'attributes', '')}".lower()
        ]


def mend_roles(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any
) -> None:
    """Drop the role "list" of docutils' bibliographies, whose children are no list items."""
    if "body" in context:
        plain = 'class="citation-list"'
        context["body"] = context["body"].replace(f'role="list" {plain}', plain)


def _text(value: str) -> nodes.paragraph:
    return nodes.paragraph("", value)


class Ledger(SphinxDirective):
    """``{ledger}``: claimed and recomputed values with their verdicts, as a table."""

    header = ("Claim", "Where", "Stated", "Recomputed", "Verdict", "Why")
    widths = (20, 11, 11, 15, 13, 30)

    def run(self) -> list[nodes.Node]:
        """Build the table from the claims, the executed chapters and the stored results."""
        import ledger_table

        self.env.note_dependency(str(ROOT / "data" / "claims.yml"))
        for item in course.chapters():
            self.env.note_dependency(str(item.path))
        table = nodes.table(classes=["mammocourse-ledger", "colwidths-given"])
        group = nodes.tgroup(cols=len(self.header))
        table += group
        for width in self.widths:
            group += nodes.colspec(colwidth=width)
        head = nodes.thead()
        group += head
        head += self._row(self.header)
        body = nodes.tbody()
        group += body
        for row in ledger_table.rows():
            body += self._row(row)
        return [table]

    def _row(self, cells: tuple[str, ...]) -> nodes.row:
        row = nodes.row()
        for cell in cells:
            row += nodes.entry("", _text(cell))
        return row


class GuideTable(SphinxDirective):
    """``{guide-table} name``: a table of the instructor guide, from a YAML text."""

    has_content = True
    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Let ``guide_tables`` write the table as Markdown, and read that."""
        import guide_tables

        for item in course.chapters():
            self.env.note_dependency(str(item.path))
        try:
            lines = getattr(guide_tables, self.arguments[0])("\n".join(self.content))
        except ValueError as error:
            raise self.error(str(error)) from None
        box = nodes.container()
        self.state.nested_parse(StringList(lines, self.env.docname), 0, box)
        return box.children


class Errata(SphinxDirective):
    """``{errata} part source``: counts, equations or findings from ``data/errata.yml``."""

    required_arguments = 2

    def run(self) -> list[nodes.Node]:
        """Let ``errata_table`` write the part as Markdown, and read that."""
        import errata_table

        for path in (errata_table.DATA, errata_table.TESTS, ROOT / "_config.yml"):
            self.env.note_dependency(str(path))
        for item in course.chapters():
            self.env.note_dependency(str(item.path))
        parts = {part.__name__: part for part in errata_table.PARTS}
        part, source = self.arguments
        if part not in parts or source not in errata_table.SOURCES:
            known = f"{', '.join(parts)} and {', '.join(errata_table.SOURCES)}"
            raise self.error(f"errata: {part} {source} is not known; choose from {known}.")
        try:
            lines = parts[part](source)
        except ValueError as error:
            raise self.error(str(error)) from None
        box = nodes.container()
        self.state.nested_parse(StringList(lines, self.env.docname), 0, box)
        return box.children


def write_notebooks(app: Sphinx, exception: Exception | None) -> None:
    """Write the student and the solution notebooks beside the finished site."""
    if exception is not None or app.builder.format != "html":
        return
    notebook_writer.write_all(app, course.BUILD / "notebooks")
    target = Path(app.outdir) / "notebooks"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(course.BUILD / "notebooks" / "student", target)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register everything."""
    app.connect("config-inited", point_to_the_cache)
    app.connect("config-inited", set_theme_options)
    app.connect("env-get-updated", number_by_file_name, priority=900)
    app.connect("html-page-context", add_launch_buttons, priority=502)
    app.connect("html-page-context", remove_thebe, priority=900)
    app.connect("html-page-context", mend_roles)
    app.connect("build-finished", write_notebooks)
    app.add_directive("ledger", Ledger)
    app.add_directive("guide-table", GuideTable)
    app.add_directive("errata", Errata)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
