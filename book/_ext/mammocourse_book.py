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
from myst_nb.ext.glue.roles import PasteTextRole
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


def mark_recording_cells(app: Sphinx, doctree: nodes.document) -> None:
    """Give the cells that recompute claims an anchor, to which the ledger page links."""
    import ledger_cells

    docname = app.env.docname
    item = {f"book/{item.name}": item for item in course.chapters()}.get(docname)
    if item is None:
        return
    app.env.note_dependency(str(ROOT / "data" / "claims.yml"))
    executed = course.cached(item)
    notebook = executed[0] if executed else item.read()
    names = dict(ledger_cells.anchors(notebook, item.number).values())
    for container in doctree.findall(nodes.container):
        name = names.get(container.get("cell_index", -1))
        if container.get("nb_element") == "cell_code" and name is not None:
            container["ids"].append(name)


class QuotedValue(PasteTextRole):
    """``{glue:text}`key:format` ``: as in myst-nb, with the key left on the node."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Quote the value; the notebook writer asks where it came from."""
        found, messages = super().run()
        for node in found:
            node[notebook_writer.KEY] = self.text.rsplit(":", 1)[0]
        return found, messages


def _text(value: str, **attributes: Any) -> nodes.paragraph:
    return nodes.paragraph("", value, **attributes)


def _table(header: tuple[str, ...], widths: tuple[int, ...], name: str) -> tuple[Any, Any]:
    """Return a table with its head, and its body to put rows into."""
    table = nodes.table(classes=[name, "colwidths-given"])
    group = nodes.tgroup(cols=len(header))
    table += group
    for width in widths:
        group += nodes.colspec(colwidth=width)
    head, body = nodes.thead(), nodes.tbody()
    group += [head, body]
    row = nodes.row()
    row += [nodes.entry("", _text(title)) for title in header]
    head += row
    return table, body


class Ledger(SphinxDirective):
    """``{ledger} part``: claimed and recomputed values with their verdicts, as tables.

    The parts are ``summary``, a table of counts, and the sources ``thesis``,
    ``auc-paper`` and ``course``, a section with a table for each group of claims.
    """

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Build the part from the claims, the executed chapters and the stored results."""
        import ledger_table

        self.env.note_dependency(str(ROOT / "data" / "claims.yml"))
        for item in course.chapters():
            self.env.note_dependency(str(item.path))
        part = self.arguments[0]
        if part != "summary" and part not in ledger_table.SOURCES:
            parts = ", ".join(["summary", *ledger_table.SOURCES])
            raise self.error(f"{{ledger}} has no part {part!r}; choose one of {parts}.")
        if "mammocourse-ledger" not in self.env.temp_data:  # once for the page
            self.env.temp_data["mammocourse-ledger"] = ledger_table.rows()
        rows = self.env.temp_data["mammocourse-ledger"]
        if part == "summary":
            return [self._summary(ledger_table.summary(rows), ledger_table.SOURCES)]
        groups = ledger_table.groups(rows, part)
        return [self._group(part, key, title, found) for key, title, found in groups]

    def _summary(self, counts: Any, sources: dict[str, str]) -> nodes.table:
        from mammocourse.ledger import KINDS

        header = ("Verdict", "What it means", *sources.values())
        table, body = _table(header, (20, 50, 10, 10, 10), "mammocourse-ledger-summary")
        totals = {source: sum(by[source] for _, by in counts) for source in sources}
        for name, by_source in [*counts, ("all", totals)]:
            row = nodes.row()
            row += nodes.entry("", _text(name), classes=[_kind(name)])
            row += nodes.entry("", _text(KINDS.get(name, "")))
            row += [nodes.entry("", _text(f"{by_source[source]:,}")) for source in sources]
            body += row
        return table

    def _group(self, source: str, key: str, title: str, rows: list[Any]) -> nodes.section:
        """Return a section with the rows of a group; findings are folded."""
        if source == "course":
            heading = f"Chapter {int(key)}: {title}"
        else:
            part = key if key in ("abstract", "Data") else f"Section {key}"
            part = "Appendix A" if key == "A" else part
            heading = title if part in (title.lower(), "Data") else f"{part}: {title}"
        section = nodes.section(ids=[f"ledger-{source}-{key.lower().replace('.', '-')}"])
        section += nodes.title("", heading)
        columns = {  # their titles and widths
            "claim": ("Finding", 34) if source == "course" else ("Claim", 28),
            "stated": ("Stated", 11),
            "recomputed": ("Recomputed", 15),
            "verdict": ("Verdict", 18),
            "why": ("Why", 28),
        }
        if source == "course":
            del columns["stated"]
        header, widths = zip(*columns.values(), strict=True)
        table, body = _table(header, widths, "mammocourse-ledger")
        body += [self._row(row, list(columns)) for row in rows]
        if source == "course":
            count = f"{len(rows)} finding{'s' if len(rows) > 1 else ''}"
            opening = f'<details class="mammocourse-findings"><summary>{count}</summary>'
            section += nodes.raw("", opening, format="html")
            section += table
            section += nodes.raw("", "</details>", format="html")
        else:
            section += table
        return section

    def _row(self, row: Any, columns: list[str]) -> nodes.row:
        bold = nodes.strong("", row.kind.capitalize())
        error = [_text(f"standard error {row.error}", classes=["where"])] if row.error else []
        contents = {
            "claim": [
                _text(row.claim.quantity.strip()),
                _text(row.claim.section, classes=["where"]),
            ],
            "stated": [_text(row.stated)],
            "recomputed": [_text(row.recomputed), *error, self._link(row)],
            "verdict": [nodes.paragraph("", "", bold)],
            "why": [self._why(row.claim.why.strip())],
        }
        if row.remark:
            contents["verdict"].append(_text(row.remark))
        found = nodes.row(ids=[_row_name(row.claim.id)])
        for name in columns:
            classes = [f"ledger-{name}", *([_kind(row.kind)] if name == "verdict" else [])]
            found += nodes.entry("", *contents[name], classes=classes)
        return found

    def _why(self, text: str) -> nodes.paragraph:
        """Return an explanation; claims that it names are links to their rows."""
        from mammocourse.ledger import claims

        found = nodes.paragraph()
        for part in re.split(r"(\w+(?:\.\w+)+)", text):
            if part in claims():
                found += nodes.reference("", part, refuri=f"#{_row_name(part)}", internal=True)
            else:
                found += nodes.Text(part)
        return found

    def _link(self, row: Any) -> nodes.paragraph:
        """Return the scale and a link to the cell, the chapter or the arithmetic."""
        page, _, at = row.place.partition("#")
        if row.scale == "by arithmetic":
            options = self.config.html_theme_options
            branch = options.get("repository_branch", "main")
            address = options.get("repository_url", "").rstrip("/")
            target, text = f"{address}/blob/{branch}/book/_tools/derived_claims.py", row.scale
        elif page:
            builder = self.env.app.builder
            target = builder.get_relative_uri(self.env.docname, page) + (at and f"#{at}")
            text = f"chapter {int(row.claim.chapter)}"
        else:
            return nodes.paragraph()
        link = nodes.reference("", text, refuri=target, internal=bool(page))
        scale = row.scale and f"{row.scale}, "
        return nodes.paragraph("", scale if page else "", link, classes=["where"])


def _row_name(claim_id: str) -> str:
    return f"claim-{claim_id.lower().replace('.', '-')}"


def _kind(name: str) -> str:
    return f"kind-{name.replace(' ', '-')}"


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
    app.connect("doctree-read", mark_recording_cells)
    app.connect("build-finished", write_notebooks)
    app.setup_extension("myst_nb")  # which has the role's first version
    app.add_role_to_domain("glue", "text", QuotedValue(), override=True)
    app.add_directive("ledger", Ledger)
    app.add_directive("guide-table", GuideTable)
    app.add_directive("errata", Errata)
    return {
        "version": "1",
        "env_version": 1,
        "parallel_read_safe": True,
        "parallel_write_safe": True,
    }
