"""The notation: every symbol of every chapter is in the table, and every row is used.

A symbol is a letter, Latin or Greek, with its accent and with what makes it another one: a word,
a number or a sign below it, a star or a prime. Indices and powers are not part of it. So
``\\hat\\beta_j`` is "hat beta", ``\\ell_{\\text{full}}`` is "ell full", ``S_+`` is "S +".
"""

from __future__ import annotations

import functools
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CHAPTERS = {path.stem[:2]: path for path in sorted((ROOT / "book").glob("[01][0-9]_*.md"))}

LETTER = re.compile(
    r"[A-Za-z]|\\(?:ell|alpha|beta|gamma|delta|(?:var)?epsilon|zeta|eta|theta|iota|kappa|lambda|mu|nu"
    r"|xi|pi|rho|sigma|tau|upsilon|(?:var)?phi|chi|psi|omega|Gamma|Delta|Theta|Lambda|Xi|Pi|Sigma"
    r"|Phi|Psi|Omega)"
)
ACCENTS = {"hat", "widehat", "bar", "tilde", "overline"}
WORDS = {"text", "mathrm", "operatorname", "texttt", "mathbb", "begin", "end"}
BIND = {"sum", "prod", "max", "min", "sup", "inf", "lim", "int"}
"""What stands below these only runs through values."""

EVERYWHERE = {"e", "i", "j", "l"}
"""Euler's number and indices: the table of signs explains them for all chapters."""

SIGNS = re.compile(r"^(?:hat|bar) | '$| \d+$")
"""A hat, a bar, a prime or a number makes another symbol of one that is known: see the table."""


def tokens(formula: str) -> list[str]:
    return re.findall(r"\\[A-Za-z]+|\\.|[A-Za-z]|\d+|[{}^_']|[^\s\\]", formula)


def group(found: list[str]) -> list[str]:
    """Take one argument, a token or a group in braces, from the front; return what is inside."""
    if not found:
        return []
    first = found.pop(0)
    if first.startswith("\\") and first[1:] in WORDS:
        return [first, "{", *group(found), "}"]
    if first != "{":
        return [first]
    depth, inside = 1, []
    while depth:
        token = found.pop(0)
        depth += (token == "{") - (token == "}")
        inside.append(token)
    return inside[:-1]


def suffix(script: list[str]) -> str:
    """Return what a script adds to the name of a symbol: a word, a number, a sign, or nothing."""
    text = "".join(script)
    word = re.fullmatch(r"\\(?:text|mathrm)\{(.+)\}", text)
    if word:
        return word[1]
    if re.fullmatch(r"\d[\d.]*|[-+*']+|\(-?[a-z]\)|\\(?:max|min|star|prime)", text):
        return "" if re.fullmatch(r"\([a-z]\)", text) else text.strip("\\")
    return ""


def symbols(formula: str) -> set[str]:
    """Return the symbols of a formula in LaTeX."""
    left = tokens(formula)
    found: set[str] = set()
    while left:
        token = left.pop(0)
        command = token[1:] if token.startswith("\\") else ""
        if command in WORDS:
            word = "".join(group(left))
            name = word if re.fullmatch("[A-Z]{2,}", word) and command != "begin" else ""
        elif command in ACCENTS:
            inside = group(left)
            bare = "".join(inside).strip("\\")
            name = f"{command.removeprefix('wide')} {bare}" if len(inside) == 1 else ""
            if not name:
                found |= symbols(" ".join(inside))
        elif LETTER.fullmatch(token):
            name = token.strip("\\")
        else:
            name = ""
        while left and left[0] in "_^'":
            kind = left.pop(0)
            script = ["'"] if kind == "'" else group(left)
            more = suffix(script)
            if kind == "^" and (more.isdigit() or more in {"+", "-"}):
                more = ""  # a power
            dummy = kind == "_" and (name or command in BIND | WORDS)
            index = kind == "^" and len(script) == 1 and name != "e"
            if name and more:
                name = f"{name} {more}"
            elif not dummy and not index:
                found |= symbols(" ".join(script))
        if name:
            found.add(name)
    return found


def formulas(text: str) -> list[str]:
    """Return all formulas of a page in MyST, without its code."""
    text = re.sub(r"\A---.*?^---", "", text, flags=re.S | re.M)
    text = re.sub(r"^(`{3,})\{code-cell\}.*?^\1", "", text, flags=re.S | re.M)
    found = []

    def take(match: re.Match[str]) -> str:
        formula = re.sub(r"^:\w+:.*$", "", match["formula"], flags=re.M)
        found.append(re.sub(r"\\\\\[[^]]*\]", " ", formula))  # a distance between lines
        return ""

    for display in (
        r"^(`{3,})\{math\}\n(?P<formula>.*?)^\1",
        r"(?P<formula>\\begin\{(align|equation|gather)\*?\}.*?\\end\{\2\*?\})",
        r"\$\$(?P<formula>.*?)\$\$",
    ):
        text = re.sub(display, take, text, flags=re.S | re.M)
    text = re.sub(r"(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)", "", text)  # code and roles
    re.sub(r"(?<![\\$])\$(?P<formula>[^$]+?)\$", take, text)
    return found


@functools.cache
def used(number: str) -> frozenset[str]:
    """Return the symbols of a chapter."""
    text = CHAPTERS[number].read_text(encoding="utf-8")
    return frozenset().union(*map(symbols, formulas(text)))


@functools.cache
def rows() -> list[tuple[str, str, frozenset[str], str]]:
    """Return the table: first cell, chapter of first use, symbols, words that stand for one."""
    found = []
    for line in (ROOT / "book" / "notation.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if len(cells) != 4 or cells[0] in ("Symbol", "---"):
            continue
        chapter = re.search(r"chapter (\d+)", cells[3])
        assert chapter, f"{line}: the last cell must name a chapter"
        math = frozenset().union(*map(symbols, formulas(cells[0])))
        words = re.sub(r"\$[^$]*\$", "", cells[0])
        found.append((cells[0], f"{int(chapter[1]):02d}", math, words))
    return found


def without_a_row(number: str) -> set[str]:
    """Return the symbols of a chapter for which neither its rows nor earlier ones stand."""
    known = {name for _, first, names, _ in rows() if first <= number for name in names}
    words = {
        word
        for _, first, _, text in rows()
        if first <= number
        for word in re.findall("[A-Z]{2,}", text)
    }
    known |= EVERYWHERE | words
    return {name for name in used(number) - known if SIGNS.sub("", name) not in known}


@pytest.mark.parametrize("number", CHAPTERS)
def test_every_symbol_of_a_chapter_is_in_the_notation(number: str) -> None:
    assert without_a_row(number) == set(), "add a row to book/notation.md"


@pytest.mark.parametrize("row", rows(), ids=lambda row: f"{row[1]}: {row[0]}")
def test_every_row_is_used_in_the_chapter_that_it_names(
    row: tuple[str, str, frozenset[str], str],
) -> None:
    _, first, names, words = row
    assert names <= used(first)
    text = CHAPTERS[first].read_text(encoding="utf-8")
    assert all(word in text for word in re.findall(r"[A-Za-z]{3,}|[A-Z]{2}", words))


def test_rows_stand_in_the_order_of_the_chapters() -> None:
    chapters = [first for _, first, _, _ in rows()]
    assert chapters == sorted(chapters)


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        (r"\hat\beta_j", {"hat beta"}),
        (r"\ell_{\text{full}}", {"ell full"}),
        (r"\sum_{k=1}^{R} x_k^2", {"x"}),
        (r"e^{\eta_i}", {"e", "eta"}),
        (r"S_+ \setminus S_-", {"S +", "S -"}),
        (r"\kappa^*(\gamma)", {"kappa *", "gamma"}),
        (r"\beta_0 + \beta_{12}", {"beta 0", "beta 12"}),
        (r"\frac{\partial \ell}{\partial w}", {"ell", "w"}),
        (r"\operatorname{E}[Y] \text{ for all } n", {"Y", "n"}),
        (r"\mathrm{TP} / \mathrm{MAD}_r", {"TP", "MAD"}),
        (r"V_{i+m-1,\,k+n-1}", {"V"}),
        (r"\hat{x}(u, v)", {"hat x", "u", "v"}),
        (r"\widehat{\operatorname{Var}}(s_V^2)", {"s"}),
    ],
)
def test_symbols_are_found_in_a_formula(formula: str, expected: set[str]) -> None:
    assert symbols(formula) == expected


def test_formulas_are_found_on_a_page() -> None:
    page = (
        "a $x$ b `$no$`\n\n```{math}\n:label: eq-1\ny\n```\n\n$$ z $$\n\n```{code-cell}\n'$q$'\n```"
    )
    assert {name for formula in formulas(page) for name in symbols(formula)} == {"x", "y", "z"}
