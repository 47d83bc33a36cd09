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

GREEK = {
    *("alpha beta gamma delta epsilon varepsilon zeta eta theta iota kappa lambda mu nu xi pi rho"
      " sigma tau upsilon phi varphi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi"
      " Omega ell").split(),
}  # fmt: skip
ACCENTS = {"hat", "widehat", "bar", "tilde", "overline"}
WORDS = {"text", "mathrm", "operatorname", "texttt", "mathbb", "begin", "end"}
BIND = {"sum", "prod", "max", "min", "sup", "inf", "lim", "int"}
"""What stands below these only runs through values."""

EVERYWHERE = {
    "e": "Euler's number",
    "i": "index of a case, of a row of pixels or of a crop",
    "j": "index of a feature, of a column of pixels or of a second case",
    "l": "index of a layer",
}
"""Symbols that mean the same in all chapters and need no row."""

HERE = {}
"""Symbols of one chapter that need no row, with the reason."""


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
        elif command in GREEK or re.fullmatch("[A-Za-z]", token):
            name = token.strip("\\")
        else:
            name = ""
        while left and left[0] in "_^'":
            kind = left.pop(0)
            script = ["'"] if kind == "'" else group(left)
            more = suffix(script)
            if kind == "^" and (more.isdigit() or more in {"+", "-"}):
                more = ""  # a power
            if name and more:
                name = f"{name} {more}"
            elif kind == "^" and len(script) > 1 or (kind == "^" and name == "e"):
                found |= symbols(" ".join(script))
            elif kind == "_" and not name and command not in BIND and command not in WORDS:
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


if __name__ == "__main__":
    table = rows()
    for number in CHAPTERS:
        known = {s for _, first, names, _ in table if first <= number for s in names}
        own = {s for _, first, names, _ in table if first == number for s in names}
        words = {w for _, first, _, ws in table if first <= number for w in re.findall("[A-Z]{2,}", ws)}
        missing = used(number) - known - words - set(EVERYWHERE)
        missing = {s for s in missing if not (re.search(r" \d+$", s) and s.rsplit(" ", 1)[0] in known)}
        print(number, "MISSING", sorted(missing))
        print("   inherited", sorted(used(number) - own - set(EVERYWHERE) - missing))
        for cell, first, names, _ in table:
            if first == number and names - used(number):
                print("   UNUSED", cell, names - used(number))
