"""Student and solution notebooks, written from the resolved pages of the book.

The notebooks hold plain Markdown and LaTeX: every reference, number, citation
and quoted value has been resolved by Sphinx before it comes here. Code cells
come from the executed chapter; outputs are kept in result cells alone.

Why not an existing writer: sphinx-tojupyter (0.6.0), tried on the same pages,
resolves equations and citations too, but loses the tags and outputs of cells and
the captions of figures, takes code cells for text, turns the titles of exercises,
boxes and tables into headings of the page, and cannot leave the solutions out.
"""

from __future__ import annotations

import base64
import copy
import re
import shutil
import textwrap
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from docutils import nodes

import chapters as course

RESULT = "nbval-check-output"
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
INSTALL = """
# Set-up: installs the course's package on Colab; elsewhere it does nothing.
import importlib.util
import subprocess
import sys

if importlib.util.find_spec("mammocourse") is None:
    if "google.colab" not in sys.modules:
        raise ModuleNotFoundError("Run 'make lab' in the course's folder to open this notebook.")
    source = "git+{repository}"
    if subprocess.call([sys.executable, "-m", "pip", "install", "--quiet", source]) != 0:
        raise RuntimeError(
            f"{{source}} cannot be reached. Upload the wheel of the course with Colab's file "
            "panel, then run:  %pip install mammocourse-{version}-py3-none-any.whl"
        )
"""
BELONGS = (
    "*A chapter of the course [{title}]({repository}). The page of the same name in the book "
    "holds the solutions, and figures that move without a kernel.*"
)
ANSWER_PLACE = "*Write your answer here.*"
VALUE = "\N{WHITE SQUARE}"  # stands for a value that the chapter computes
KEY = "mammocourse-key"  # attribute of a quoted value: the name under which a cell left it
STORED = ("stored:", "half:", "error:")  # such names belong to values read from data/results


@dataclass(frozen=True)
class Code:
    """A code cell of the chapter, by its position; ``part`` says whose it is."""

    index: int
    part: str = "text"


@dataclass(frozen=True)
class Solution:
    """Text that belongs to a solution."""

    text: str


class Heading(str):
    """A heading, before which a new cell begins."""

    __slots__ = ()


Block = str | Code | Solution
MORE_LINES = ("align", "gather")


class Page:
    """Turns one resolved page into blocks of Markdown and references to code cells.

    With ``values=False``, :data:`VALUE` stands for each value that the chapter computes and its
    text quotes: the last digits of some depend on the processor. Stored results stay.
    """

    def __init__(
        self, doctree: nodes.document, docname: str, env: Any, *, values: bool = True
    ) -> None:
        self.doctree = doctree
        self.values = values
        self.numbers = env.toc_fignumbers.get(docname, {})
        self.sections = env.toc_secnumbers.get(docname, {})
        self.root = Path(env.srcdir)
        self.references: dict[str, None] = {}
        self.level = 0
        self.in_table = False

    def blocks(self) -> list[Block]:
        """Return the whole page, followed by the works that it cites."""
        found = self.children(self.doctree)
        if self.references:
            works = "\n".join(f"- {work}" for work in sorted(self.references, key=_surname))
            found.append(Heading(f"## References\n\n{works}"))
        return found

    def children(self, node: nodes.Node) -> list[Block]:
        return [block for child in node.children for block in self.block(child)]

    def block(self, node: nodes.Node) -> list[Block]:
        """Translate one block-level node; an unknown one is an error, not a gap."""
        name = type(node).__name__
        handler: Callable[[Any], list[Block]] | None = getattr(self, f"block_{name}", None)
        if handler is None:
            raise NotImplementedError(
                f"{node.source or self.doctree.get('source')}, line {node.line}: the notebook "
                f"writer does not know the element {name!r}; add block_{name} to Page."
            )
        return handler(node)

    def text_of(self, node: nodes.Node) -> str:
        """Return nested blocks as one Markdown text (no code cell may be inside)."""
        found = self.children(node)
        if not all(isinstance(block, str) for block in found):
            raise ValueError(f"a code cell stands inside {type(node).__name__}; move it out.")
        return "\n\n".join(map(str, found))

    # Structure

    def block_section(self, node: nodes.section) -> list[Block]:
        self.level += 1
        found = self.children(node)
        self.level -= 1
        return found

    def block_title(self, node: nodes.title) -> list[Block]:
        section = node.parent
        anchor = "" if self.level == 1 else "#" + (section["ids"][0] if section["ids"] else "")
        number = ".".join(map(str, self.sections.get(anchor) or ()))
        text = f"{'#' * self.level} {number} {self.inline(node)}".replace("#  ", "# ")
        return [Heading(text)]

    def block_paragraph(self, node: nodes.paragraph) -> list[Block]:
        text = re.sub(r"^(\d+)(?=\.\s)", r"\1\\", self.inline(node))  # neither a list
        return [re.sub(r"^([-+#](?=\s)|>)", r"\\\1", text)]  # nor a heading nor a quotation

    def block_rubric(self, node: nodes.rubric) -> list[Block]:
        return [f"**{self.inline(node)}**"]

    def _nothing(self, node: nodes.Node) -> list[Block]:
        return []

    block_target = block_comment = block_raw = block_substitution_definition = _nothing
    block_pending = block_index = block_transition = _nothing

    def block_compound(self, node: nodes.Node) -> list[Block]:
        return self.children(node)

    def block_bullet_list(self, node: nodes.bullet_list) -> list[Block]:
        return [self._items(node, lambda i: "- ")]

    def block_enumerated_list(self, node: nodes.enumerated_list) -> list[Block]:
        return [self._items(node, lambda i: f"{i + node.get('start', 1)}. ")]

    def _items(self, node: nodes.Element, mark: Callable[[int], str]) -> str:
        items = []
        for i, item in enumerate(node.children):
            text = textwrap.indent(self.text_of(item), " " * len(mark(i)))
            items.append(mark(i) + text.strip())
        loose = any("\n\n" in item for item in items)
        return ("\n\n" if loose else "\n").join(items)

    def block_definition_list(self, node: nodes.definition_list) -> list[Block]:
        items = []
        for item in node.children:
            terms = ", ".join(self.inline(t) for t in item.children if isinstance(t, nodes.term))
            body = "\n\n".join(
                self.text_of(d) for d in item.children if isinstance(d, nodes.definition)
            )
            items.append(textwrap.indent(f"- **{terms}**: {body}", "  ").strip())
        return ["\n".join(items)]

    def block_block_quote(self, node: nodes.block_quote) -> list[Block]:
        return [_quote(self.text_of(node))]

    def block_literal_block(self, node: nodes.literal_block) -> list[Block]:
        classes = [name for name in node["classes"] if name != "code"]
        language = node.get("language") or " ".join(classes)
        text = node.astext().rstrip("\n")
        fence = "`" * max(3, _longest_run(text, "`") + 1)
        return [f"{fence}{language}\n{text}\n{fence}"]

    # Boxes

    def block_admonition(self, node: nodes.Element) -> list[Block]:
        title = next((self.inline(c) for c in node.children if isinstance(c, nodes.title)), "")
        content = nodes.Element("", *(c for c in node.deepcopy().children[bool(title) :]))
        return [
            _quote(f"**{title or type(node).__name__.capitalize()}**\n\n{self.text_of(content)}")
        ]

    block_note = block_tip = block_warning = block_important = block_admonition
    block_hint = block_caution = block_attention = block_danger = block_seealso = block_admonition

    def _proof_like(self, node: nodes.Element) -> list[Block]:
        kind = node.get("realtype", node.get("type", "theorem"))
        number = self._number(kind, node)
        title = next(
            (self.inline(c).strip() for c in node.children if isinstance(c, nodes.title)), ""
        )
        body = "\n\n".join(
            self.text_of(child) for child in node.children if not isinstance(child, nodes.title)
        )
        head = " ".join(filter(None, [kind.capitalize(), number, title]))
        return [_quote(f"**{head}.**{_gap(body)}{body}")]

    block_theorem_node = block_definition_node = block_lemma_node = _proof_like
    block_proposition_node = block_corollary_node = block_remark_node = _proof_like
    block_example_node = block_algorithm_node = block_property_node = _proof_like

    def block_proof_node(self, node: nodes.Element) -> list[Block]:
        text = "\n\n".join(self.text_of(child) for child in node.children)
        body = re.sub(r"^\*{0,2}Proof\.\*{0,2}\s*", "", text, count=1)
        return [_quote(f"**Proof.**{_gap(body)}{body}")]

    # Mathematics, tables, figures

    def block_math_block(self, node: nodes.math_block) -> list[Block]:
        formula = node.astext().strip()
        number = self._number("displaymath", node)
        tag = f"\n\\tag{{{number}}}" if number else ""
        formula = re.sub(
            r"^\\begin\{equation\*?\}(.*)\\end\{equation\*?\}$", r"\1", formula, flags=re.S
        )
        for name in MORE_LINES:  # these may not stand inside $$; their inner forms may
            formula = re.sub(rf"\\(begin|end)\{{{name}\*?\}}", rf"\\\1{{{name}ed}}", formula)
        if r"\\" in formula and r"\begin{" not in formula:
            formula = f"\\begin{{aligned}}\n{formula}\n\\end{{aligned}}"
        return [f"$$\n{formula.strip()}{tag}\n$$"]

    def block_table(self, node: nodes.table) -> list[Block]:
        self.in_table = True
        rows = [[self._entry(entry) for entry in row] for row in node.findall(nodes.row)]
        self.in_table = False
        rows.insert(1, ["---"] * len(rows[0]))
        lines = ["| " + " | ".join(row).replace("\n", " ") + " |" for row in rows]
        title = next((self.inline(c) for c in node.children if isinstance(c, nodes.title)), None)
        caption = [f"**Table {self._number('table', node)}.** {title}"] if title else []
        return [*caption, "\n".join(lines)]

    def _entry(self, entry: nodes.Element) -> str:
        found = self.children(entry)
        if len(found) > 1:
            raise ValueError(f"a table cell holds more than one paragraph: {entry.astext()!r}")
        return str(found[0]) if found else ""

    def block_figure(self, node: nodes.figure) -> list[Block]:
        images = "".join(str(b) for image in node.findall(nodes.image) for b in self.block(image))
        legends = [c for c in node.children if isinstance(c, nodes.legend)]
        return [
            images,
            *self._caption(node),
            *(b for legend in legends for b in self.children(legend)),
        ]

    def block_image(self, node: nodes.image) -> list[Block]:
        path = self.root / node["uri"]
        kind = {".svg": "svg+xml", ".jpg": "jpeg"}.get(path.suffix, path.suffix[1:])
        data = base64.b64encode(path.read_bytes()).decode("ascii")
        return [f"![{node.get('alt', '')}](data:image/{kind};base64,{data})"]

    def _caption(self, node: nodes.Element) -> list[Block]:
        captions = [self.inline(c) for c in node.children if isinstance(c, nodes.caption)]
        number = self._number("figure", node)
        return [f"**Figure {number}.** {caption}" for caption in captions]

    def _number(self, kind: str, node: nodes.Element) -> str:
        for identifier in node["ids"]:
            if identifier in self.numbers.get(kind, {}):
                return ".".join(map(str, self.numbers[kind][identifier]))
        return ""

    # Cells and exercises

    def block_container(self, node: nodes.container) -> list[Block]:
        if node.get("nb_element") != "cell_code":
            return self.children(node)
        captions = [c for figure in node.findall(nodes.figure) for c in self._caption(figure)]
        return [Code(node["cell_index"]), *captions]

    def block_exercise_enumerable_node(self, node: nodes.Element) -> list[Block]:
        title = next(c for c in node.children if isinstance(c, nodes.title))
        number = self._number("exercise", node)
        found: list[Block] = [
            Heading(f"### Exercise {number} {self.inline(title).strip()}".rstrip())
        ]
        found += [
            Code(block.index, "answer") if isinstance(block, Code) else block
            for child in node.children
            if child is not title
            for block in self.children(child)
        ]
        if not any(isinstance(block, Code) for block in found):
            found.append(ANSWER_PLACE)
        return found

    block_exercise_node = block_exercise_enumerable_node

    def block_solution_node(self, node: nodes.Element) -> list[Block]:
        found: list[Block] = []
        for child in node.children:
            if isinstance(child, nodes.title):
                found.append(Solution(f"**{self.inline(child).strip()}**"))
                continue
            for block in self.children(child):
                found.append(
                    Code(block.index, "solution") if isinstance(block, Code) else Solution(block)
                )
        return found

    # Inline elements

    def inline(self, node: nodes.Node) -> str:
        """Return the inline content of a node as Markdown."""
        return "".join(self._inline(child) for child in node.children)

    def _inline(self, node: nodes.Node) -> str:
        if isinstance(node, nodes.Text):
            text = _escape(node.astext()).replace("\n", " ")
            return text.replace("|", r"\|") if self.in_table else text
        if isinstance(node, nodes.math):
            formula = node.astext().strip()
            if self.in_table:  # a bar would end the cell
                formula = formula.replace(r"\|", r"\Vert ").replace("|", r"\vert ")
            return f"${formula}$"
        if isinstance(node, nodes.literal):
            ticks = "`" * (_longest_run(node.astext(), "`") + 1)
            pad = " " if len(ticks) > 1 else ""
            text = f"{ticks}{pad}{node.astext()}{pad}{ticks}"
            return text.replace("|", r"\|") if self.in_table else text
        if isinstance(node, nodes.emphasis):
            return f"*{self.inline(node)}*"
        if isinstance(node, nodes.strong):
            return f"**{self.inline(node)}**"
        if isinstance(node, nodes.superscript):
            return f"<sup>{self.inline(node)}</sup>"
        if isinstance(node, nodes.subscript):
            return f"<sub>{self.inline(node)}</sub>"
        if isinstance(node, nodes.reference):
            if node.get("reftitle") and "bibliography" in node.get("refuri", ""):
                self.references[node["reftitle"]] = None
            if node.get("refuri", "").startswith(("http://", "https://")):
                return f"[{self.inline(node)}]({node['refuri']})"
            return self.inline(node)
        if isinstance(node, nodes.raw):  # a hard line break comes as one for each format
            return "  \n" if "<br" in node.astext() else ""
        if isinstance(node, nodes.image):
            return str(self.block_image(node)[0])
        if isinstance(node, nodes.target):
            return ""
        if isinstance(node, nodes.inline | nodes.title_reference):
            quoted = "pasted-text" in node["classes"]  # by a glue role
            computed = quoted and not node.get(KEY, "").startswith(STORED)
            return VALUE if computed and not self.values else self.inline(node)
        raise NotImplementedError(
            f"{self.doctree.get('source')}, line {node.parent.line}: the notebook writer does "
            f"not know the inline element {type(node).__name__!r} ({node.astext()!r}); add it "
            "to Page._inline."
        )


def _longest_run(text: str, character: str) -> int:
    return max((len(run) for run in re.findall(f"{re.escape(character)}+", text)), default=0)


def _gap(body: str) -> str:
    """Return what stands between a bold head and its text: lists need a line of their own."""
    return "\n\n" if re.match(r"[-|$`>]|\d+\.", body) else " "


def _surname(work: str) -> str:
    """Return the surname of the first author of a work, to sort by."""
    return re.split(r" and |, | \(|\. (?=[A-Z][a-z]+ )", work)[0].split()[-1].casefold()


def _escape(text: str) -> str:
    return re.sub(r"([\\*_`$])", r"\\\1", text).replace("<", "&lt;")


def _quote(text: str) -> str:
    return textwrap.indent(text, "> ", lambda line: True).replace("> \n", ">\n")


def _code_cell(source: Any, keep_output: bool) -> Any:
    cell = nbformat.v4.new_code_cell(source.source, id=source["id"])
    kept = [tag for tag in course.tags(source) if tag not in ("figure", "hide-input")]
    if kept:
        cell.metadata["tags"] = kept
    if keep_output:
        cell.outputs = _printed(source.outputs)
        cell.execution_count = 1
    return cell


def _printed(outputs: list[Any]) -> list[Any]:
    """Return what a result cell printed as one output; the kernel may send it in pieces."""
    for output in outputs:
        if output.output_type != "stream" or output.name != "stdout":
            raise ValueError(
                f"a result cell has an output of type {output.get('name', output.output_type)!r}; "
                "result cells print text and do nothing else."
            )
    text = "".join(output.text for output in outputs)
    return [nbformat.v4.new_output("stream", name="stdout", text=text)]


def assemble(blocks: Iterable[Block], executed: Any, install: str, *, solutions: bool) -> Any:
    """Put blocks and code cells together into a student or a solution notebook.

    Parameters
    ----------
    blocks : iterable of Block
        The page, from :meth:`Page.blocks`.
    executed : notebook
        The executed chapter, from which code and results are taken.
    install : str
        The source of the first cell.
    solutions : bool
        Whether the solutions are kept (and the empty answers left out).

    Returns
    -------
    notebook
    """
    executed = copy.deepcopy(executed)
    course.number_cells(executed)
    notebook = nbformat.v4.new_notebook(metadata=METADATA)
    first = nbformat.v4.new_code_cell(install, metadata={"tags": ["install"]}, id="install")
    notebook.cells.append(first)
    texts: list[str] = []

    def flush() -> None:
        if texts:
            cell = nbformat.v4.new_markdown_cell("\n\n".join(texts))
            notebook.cells.append(cell)
            texts.clear()

    for block in blocks:
        if isinstance(block, str):
            if block == ANSWER_PLACE or isinstance(block, Heading):
                flush()
            if not (block == ANSWER_PLACE and solutions):
                texts.append(block)
            if block == ANSWER_PLACE:
                flush()
        elif isinstance(block, Solution):
            if solutions:
                texts.append(block.text)
        else:
            source = executed.cells[block.index]
            labels = course.tags(source)
            if block.part == "solution" and not solutions and "check" not in labels:
                continue
            flush()
            notebook.cells.append(_code_cell(source, RESULT in labels))
    flush()
    _number_markdown(notebook)
    return notebook


def _number_markdown(notebook: Any) -> None:
    """Give the text cells ids from their content; code cells have theirs already."""
    texts = nbformat.v4.new_notebook()
    texts.cells = [cell for cell in notebook.cells if cell.cell_type == "markdown"]
    course.number_cells(texts)
    notebook.nbformat, notebook.nbformat_minor = 4, 5


def write_all(app: Any, folder: Path) -> None:
    """Write each chapter to ``student/``, ``solution/`` and ``template/``, by its name.

    A template is the student notebook with :data:`VALUE` for each computed value in its text.
    """
    import mammocourse

    shutil.rmtree(folder, ignore_errors=True)
    repository = app.config.html_theme_options["repository_url"]
    install = INSTALL.strip().format(repository=repository, version=mammocourse.__version__)
    for item in course.chapters():
        found = course.cached(item)
        if found is None:
            raise RuntimeError(f"{item.name} has not been executed; run 'make book'.")
        docname = f"book/{item.name}"
        doctree = app.env.get_and_resolve_doctree(docname, app.builder)
        for kind in ("student", "solution", "template"):
            blocks = Page(doctree, docname, app.env, values=kind != "template").blocks()
            blocks.insert(1, BELONGS.format(title=app.config.html_title, repository=repository))
            notebook = assemble(blocks, found[0], install, solutions=kind == "solution")
            nbformat.validate(notebook)
            target = folder / kind / f"{item.name}.ipynb"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")
