"""The glossary: its terms are linked where a page first uses them, once, and nowhere else."""

from __future__ import annotations

import copy
import functools
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from bs4 import BeautifulSoup

import chapters as course

sys.path.insert(0, str(course.ROOT / "book" / "_ext"))

import glossary_links

GLOSSARY = """# Glossary

```{glossary}
AUC
  An area.

Likelihood
  A function of the parameters.

Maximum likelihood estimator
  Where the {term}`likelihood` is largest.

Penalty
  A term.

Rank
  The number of independent columns.

Region of interest
  ROI. A part.
```
"""
NEW_TERM = "\nZebra\n  An animal.\n```\n"
CASES = {
    "The AUC is one number, and the AUC again.": [("AUC", "AUC")],
    "Auctions and an auc.": [],
    "Likelihoods differ.": [("Likelihoods", "Likelihood")],
    "The log-likelihood, the likelihood-ratio.": [],
    "Two penalties.": [("penalties", "Penalty")],
    "An ROI here.": [("ROI", "Region-of-interest")],
    "A maximum\nlikelihood estimate, a likelihood.": [
        ("maximum likelihood estimate", "Maximum-likelihood-estimator"),
        ("likelihood", "Likelihood"),
    ],
    "*The AUC* counts.": [("AUC", "AUC")],
    "- an AUC\n- an AUC": [("AUC", "AUC")],
    "## The AUC\n\n`AUC`, $AUC$, [AUC](https://example.org).": [],
    "```python\nAUC = 1\n```": [],
    "| AUC |\n|---|\n| AUC |": [],
    "{term}`Areas <AUC>` and the AUC.": [("Areas", "AUC")],
    "The AUC and {term}`areas <AUC>`.": [("AUC", "AUC")],
    "Two documents, two ranks.": [],
    "The {term}`rank` of a matrix, the rank.": [("rank", "Rank")],
    "A zebra.": [],
}
"""Text of a chapter; the links that its page must have, as (text, term)."""


def build(folder: Path) -> None:
    """Build the small book, as far as that is necessary."""
    from sphinx.application import Sphinx
    from sphinx.util.docutils import docutils_namespace, patch_docutils

    with patch_docutils(str(folder)), docutils_namespace():
        app = Sphinx(
            folder, folder, folder / "out", folder / "tree", "html", status=None,
            warningiserror=True,
        )  # fmt: skip
        app.build()


def links(folder: Path, name: str) -> list[tuple[str, str]]:
    """Return text and term of every link from a page to the glossary."""
    page = BeautifulSoup((folder / "out" / "book" / f"{name}.html").read_text(), "html.parser")
    found = page.select('.body a[href*="glossary.html#term-"]')
    return [(" ".join(a.get_text().split()), a["href"].split("#term-")[1]) for a in found]


@pytest.fixture(scope="module")
def small_book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A book with one chapter for each case and a page that is no chapter."""
    folder = tmp_path_factory.mktemp("book")
    (folder / "book").mkdir()
    pages = {f"03_{i}": text for i, text in enumerate(CASES)}
    pages["02_rank"] = "Two ranks."
    pages["plain"] = "The AUC."
    for name, text in pages.items():
        (folder / "book" / f"{name}.md").write_text(f"# Title\n\n{text}\n")
    (folder / "book" / "glossary.md").write_text(GLOSSARY)
    (folder / "index.md").write_text("# Book\n\n```{toctree}\n:glob:\nbook/*\n```\n")
    (folder / "conf.py").write_text(
        "extensions = ['myst_parser', 'glossary_links']\nmyst_enable_extensions = ['dollarmath']\n"
        "html_theme = 'basic'\nroot_doc = 'index'\n"
        "source_suffix = {'.md': 'markdown'}\n"  # the default remembers other books of a process
    )
    build(folder)
    return folder


@pytest.mark.parametrize(("number", "expected"), list(enumerate(CASES.values())), ids=list(CASES))
def test_the_first_use_is_linked(
    small_book: Path, number: int, expected: list[tuple[str, str]]
) -> None:
    assert links(small_book, f"03_{number}") == expected


def test_a_common_word_is_linked_in_its_chapters_only(small_book: Path) -> None:
    assert links(small_book, "02_rank") == [("ranks", "Rank")]


def test_other_pages_are_left_alone(small_book: Path) -> None:
    assert links(small_book, "plain") == []


def test_a_new_term_is_linked_from_old_pages(small_book: Path) -> None:
    glossary = small_book / "book" / "glossary.md"
    glossary.write_text(GLOSSARY.removesuffix("```\n") + NEW_TERM)
    build(small_book)
    assert links(small_book, f"03_{list(CASES).index('A zebra.')}") == [("zebra", "Zebra")]


# --- the pages of the course

CHAPTERS = sorted(path.stem for path in (course.ROOT / "book").glob("[01][0-9]_*.md"))
TERMS = re.findall(
    r"^(?!`)(\S.*)\n  \S", (course.ROOT / "book/glossary.md").read_text("utf-8"), re.M
)
NO_PROSE = (
    "h1, h2, h3, h4, h5, h6, pre, code, table, figcaption, .caption, .cell, .math, .rubric, "
    ".admonition-title, a:not([href*='#term-'])"
)
LINK = "\ue000"  # a private character, before the text of a link


def identifier(term: str) -> str:
    """Return a term as the address of its definition spells it."""
    return re.sub(r"[^A-Za-z0-9]+", "-", term)


@functools.cache
def article(site: Path, name: str) -> Any:
    """Return the text of a page, without the cells (their pictures make them large)."""
    page = BeautifulSoup((site / "book" / f"{name}.html").read_text("utf-8"), "html.parser").article
    for cell in page.select(".cell"):
        cell.replace_with("|")
    return page


def links_to_the_glossary(page: Any) -> list[str]:
    return [a["href"].split("#term-")[1] for a in page.select("a[href*='#term-']")]


def unlinked_first_uses(page: Any, terms: list[str]) -> list[str]:
    """Return the terms that a page uses in its prose before it links them."""
    page = copy.copy(page)
    for element in page.select(NO_PROSE):  # links that authors put there count
        element.replace_with("|", *(a.extract() for a in element.select("a[href*='#term-']")))
    targets = links_to_the_glossary(page)
    for a in page.select("a"):
        a.insert(0, LINK)
    text = page.get_text()
    linked: dict[str, int] = {}
    for match, target in zip(re.finditer(LINK, text), targets, strict=True):
        linked.setdefault(target, match.end())
    spans = [
        (match.start(), match.end(), term)
        for term in terms
        for match in re.finditer(rf"(?<![\w-])(?:{glossary_links.forms(term)})(?![\w-])", text)
    ]
    spans.sort(key=lambda span: (span[0], -span[1]))
    first: dict[str, int] = {}
    last = 0
    for start, end, term in spans:
        if end > last:  # not part of a longer term
            first.setdefault(term, start)
            last = end
    return [
        f"{term}: {' '.join(text[start - 40 : start + 40].split())}"
        for term, start in first.items()
        if linked.get(identifier(term), len(text)) > start
    ]


@pytest.mark.parametrize("name", CHAPTERS)
def test_every_term_of_a_chapter_is_linked_where_it_is_first_used(name: str, site: Path) -> None:
    terms = glossary_links.terms_for(name[:2], TERMS)
    assert unlinked_first_uses(article(site, name), terms) == []


@pytest.mark.parametrize("name", CHAPTERS)
def test_no_term_is_linked_twice_on_a_page(name: str, site: Path) -> None:
    found = Counter(links_to_the_glossary(article(site, name)))
    assert [term for term, n in found.items() if n > 1] == []


def test_every_term_of_the_glossary_is_used_in_a_chapter(site: Path) -> None:
    used = {term for name in CHAPTERS for term in links_to_the_glossary(article(site, name))}
    assert used == {identifier(term) for term in TERMS}


def test_the_rules_name_terms_of_the_glossary() -> None:
    assert {*glossary_links.ALSO, *glossary_links.ONLY_IN} <= set(TERMS)


def test_the_glossary_is_in_alphabetical_order() -> None:
    assert [term.casefold() for term in TERMS] == sorted(term.casefold() for term in TERMS)
