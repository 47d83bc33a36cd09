"""The writer of notebooks, element by element: what goes in, what Markdown comes out."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import nbformat
import pytest
from docutils import nodes
from docutils.core import publish_doctree
from docutils.utils import new_document
from myst_parser.docutils_ import Parser

import notebook_writer

ENV: Any = SimpleNamespace(toc_fignumbers={}, toc_secnumbers={}, srcdir=".")


def markdown(source: str) -> str:
    settings = {
        "myst_enable_extensions": ["dollarmath", "deflist", "colon_fence", "amsmath"],
        "report_level": 5,
    }
    doctree = publish_doctree(source, parser=Parser(), settings_overrides=settings)
    blocks = notebook_writer.Page(doctree, "page", ENV).blocks()
    return "\n\n".join(block for block in blocks if isinstance(block, str))


@pytest.mark.parametrize(
    "source",
    [
        "Plain text with *emphasis*, **weight**, `code` and $x_1 < y$.",
        "[A link](https://example.org).",
        "- one\n- two",
        "1. one\n2. two",
        "- one\n\n  - inner\n  - other",
        "> Said by somebody.",
        "$$\nx^2\n$$",
        "| a | b |\n| --- | --- |\n| 1 | $x$ |",
        "```python\nx = 1\n```",
    ],
)
def test_markdown_stays_as_it_was(source: str) -> None:
    assert " ".join(markdown(source).split()) == " ".join(source.split())


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (r"Stars \* and \_ and 5 \$", r"Stars \* and \_ and 5 \$"),
        ("a &lt; b", "a &lt; b"),
        ("term\n: meaning", "- **term**: meaning"),
        ("```{note}\nText with $x$.\n```", "> **Note**\n>\n> Text with $x$."),
        ("```{admonition} Title\nText.\n```", "> **Title**\n>\n> Text."),
        (
            "| a |\n| --- |\n| $\\lvert x \\rvert$ \\| y |",
            "| a |\n| --- |\n| $\\lvert x \\rvert$ \\| y |",
        ),
        ("Two\nlines", "Two lines"),
        ("Hard\\\nbreak", "Hard  \nbreak"),
        ("| a |\n| --- |\n| $\\|x\\|$ |", "| a |\n| --- |\n| $\\vert x\\vert $ |"),
        (
            "$$\na &= b \\\\ c &= d\n$$",
            "$$\n\\begin{aligned}\na &= b \\\\ c &= d\n\\end{aligned}\n$$",
        ),
        (
            "\\begin{align}\na &= b\n\\end{align}",
            "$$\n\\begin{aligned}\na &= b\n\\end{aligned}\n$$",
        ),
        ("`` a`b ``", "`` a`b ``"),
        ("````\n```\n````", "````\n```\n````"),
        ("1\\. not a list", "1\\. not a list"),
        ("\\- not one either", "\\- not one either"),
        ("0.84 and -1", "0.84 and -1"),
        ("| a |\n| --- |\n| 0.84 |", "| a |\n| --- |\n| 0.84 |"),
        ("x{sup}`2`", "x<sup>2</sup>"),
    ],
)
def test_elements_become_plain_markdown(source: str, expected: str) -> None:
    assert markdown(source) == expected


def test_a_formula_in_a_list_stays_in_the_list() -> None:
    assert markdown("- Text\n\n  $$\n  x\n  $$") == "- Text\n\n  $$\n  x\n  $$"


def test_text_that_was_printed_in_pieces_is_one_output() -> None:
    pieces = [nbformat.v4.new_output("stream", name="stdout", text=text) for text in ("1\n", "2\n")]
    assert [output.text for output in notebook_writer._printed(pieces)] == ["1\n2\n"]


def test_a_result_cell_prints_and_does_nothing_else() -> None:
    shown = nbformat.v4.new_output("display_data", data={"text/plain": "1"})
    with pytest.raises(ValueError, match="display_data"):
        notebook_writer._printed([shown])


def test_an_unknown_inline_element_is_an_error() -> None:
    with pytest.raises(NotImplementedError, match="footnote_reference"):
        markdown("A note[^1].\n\n[^1]: Below.")


def test_an_unknown_element_is_an_error_and_not_a_gap() -> None:
    document = new_document("page")
    document += nodes.doctest_block("", ">>> 1")
    page = notebook_writer.Page(document, "page", ENV)
    with pytest.raises(NotImplementedError, match="block_doctest_block"):
        page.blocks()


@pytest.mark.parametrize(
    ("key", "expected"),
    [("c9-loss", "A loss of □."), ("stored:loss", "A loss of 0.08."), (None, "A loss of □.")],
)
def test_a_template_keeps_the_stored_results(key: str | None, expected: str) -> None:
    quoted = nodes.inline("", "0.08", classes=["pasted-text"])
    if key is not None:
        quoted[notebook_writer.KEY] = key
    document = new_document("page")
    document += nodes.paragraph("", "", nodes.Text("A loss of "), quoted, nodes.Text("."))
    assert notebook_writer.Page(document, "page", ENV, values=False).blocks() == [expected]
    assert notebook_writer.Page(document, "page", ENV).blocks() == ["A loss of 0.08."]
