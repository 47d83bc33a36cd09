"""The errata of the sources as Markdown, from ``data/errata.yml``.

Each finding leads to the place where the course teaches the matter and to the test that shows it.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from itertools import groupby
from typing import Any

import yaml

import chapters as course

DATA = course.ROOT / "data" / "errata.yml"
TESTS = course.ROOT / "tests" / "test_errata.py"
STATUSES = ("correct", "slip", "needs a condition", "unclear notation", "lost in our copy")
ALWAYS = ("source", "section", "place", "what", "status", "label")
FINDING = ("consequence", "test")
OPTIONAL = ("printed", "printed_math", "right", "right_math", "test", "consequence")
ROLES = {
    "eq": "eq",
    "fig": "numref",
    "tab": "numref",
    "thm": "prf:ref",
    "def": "prf:ref",
    "ex": "ref",
}
SOURCES = {"thesis": "The thesis", "auc-paper": "The AUC paper"}

Row = dict[str, Any]


def checked(row: Row) -> Row:
    """Return a row of the file, or say what is wrong with it."""
    name = f"data/errata.yml, {row.get('source')} {row.get('place')}"
    if unknown := set(row) - {*ALWAYS, *OPTIONAL}:
        raise ValueError(f"{name}: this file does not know {', '.join(sorted(unknown))}.")
    finding = row.get("status") != "correct"
    for key in (*ALWAYS, *(FINDING if finding else ())):
        if not isinstance(row.get(key), str):
            raise ValueError(f"{name}: {key} is missing or is not a text.")
    if row["status"] not in STATUSES or row["source"] not in SOURCES:
        raise ValueError(
            f"{name}: source is {row['source']!r} and status is {row['status']!r}; choose from "
            f"{', '.join(SOURCES)} and {', '.join(STATUSES)}."
        )
    for key in ("printed", "right") if finding else ():
        if not {key, f"{key}_math"} & set(row):
            raise ValueError(f"{name}: add {key} or {key}_math (LaTeX).")
    return row


def rows() -> list[Row]:
    """Return all rows, in the order of the file."""
    return [checked(row) for row in yaml.safe_load(DATA.read_text(encoding="utf-8"))]


@cache
def _text(path: Any) -> str:
    return str(path.read_text(encoding="utf-8"))


def taught(label: str) -> tuple[course.Chapter, str]:
    """Return the chapter of a label and the title of the section it stands in."""
    for item in course.chapters():
        section, fence = "", False
        for line in _text(item.path).splitlines():
            fence ^= line.startswith("```{code-cell}") or (fence and line == "```")
            if not fence and (title := re.match(r"## (.+)", line)):
                section = title[1]
            if re.fullmatch(rf"\s*(#\|\s*)?:?(name|label): {re.escape(label)}", line) or re.match(
                rf"`{{3,}}\{{math\}}.*{re.escape(label)}$", line
            ):
                return item, section
    raise ValueError(f"data/errata.yml: no chapter has the label {label!r}; correct the label.")


def _link(row: Row) -> str:
    item, section = taught(row["label"])
    role = ROLES[row["label"].split("-")[0]]
    return (
        f"{{doc}}`chapter {int(item.number)} <{item.name}>`, “{section}”, "
        f"{{{role}}}`{row['label']}`"
    )


def _test(row: Row) -> str:
    """Return the link to a test's first line in the repository."""
    settings = yaml.safe_load((course.ROOT / "_config.yml").read_text(encoding="utf-8"))
    home = settings["repository"]
    before = _text(TESTS).split(f"\ndef {row['test']}(")
    if len(before) != 2:
        raise ValueError(f"tests/test_errata.py has no function {row['test']}; write it.")
    path = TESTS.relative_to(course.ROOT).as_posix()
    line = before[0].count("\n") + 2
    return f"[`{row['test']}`]({home['url']}/blob/{home['branch']}/{path}#L{line})"


def _anchor(row: Row) -> str:
    words = re.sub(r"[^a-z0-9]+", "-", f"{row['source']} {row['place']}".lower())
    return f"erratum-{words.strip('-')}"


def _said(row: Row, key: str) -> list[str]:
    """Return words, a displayed formula, or both, as lines."""
    lines = [row[key], ""] if key in row else []
    if f"{key}_math" in row:
        lines += ["```{math}", row[f"{key}_math"], "```", ""]
    return lines


def _finding(row: Row) -> list[str]:
    """Return one finding as a box."""
    return [
        f"`````{{admonition}} {row['place']}: {row['what']} ({row['status']})",
        f":name: {_anchor(row)}",
        "",
        f"**{SOURCES[row['source']]}, {'' if row['section'][0] == 'A' else 'section '}"
        f"{row['section']}:**",
        *_said(row, "printed"),
        "**Better:**",
        *_said(row, "right"),
        f"**What it would do:** {row['consequence']}",
        "",
        f"**Taught in** {_link(row)}. **Shown by** {_test(row)}.",
        "`````",
        "",
    ]


def _overview(chosen: list[Row]) -> list[str]:
    """Return the table of the numbered equations."""
    lines = ["| Equation | What it is | Status | Taught in |", "|---|---|---|---|"]
    for row in chosen:
        item, _ = taught(row["label"])
        status = row["status"]
        if status != "correct":
            status = f"[{status}](#{_anchor(row)})"
        elif "test" in row:
            status += f", {_test(row).replace('`' + row['test'] + '`', 'checked')}"
        where = f"{{doc}}`chapter\N{NO-BREAK SPACE}{int(item.number)} <{item.name}>`"
        lines.append(f"| {row['place']} | {row['what']} | {status} | {where} |")
    return [*lines, ""]


def _group(row: Row) -> str:
    return ".".join(row["section"].split(".")[:2]) if row["source"] == "thesis" else "paper"


def findings(source: str) -> list[str]:
    """Return the boxes of one source; the thesis by section."""
    lines = []
    chosen = [row for row in rows() if row["source"] == source and row["status"] != "correct"]
    for group, members in groupby(chosen, _group):
        if source == "thesis":
            title = group if group[0] == "A" else f"Section {group}"
            lines += [f"```{{rubric}} {title}", ":heading-level: 3", "```", ""]
        for row in members:
            lines += _finding(row)
    return lines


def equations(source: str) -> list[str]:
    """Return the overview of all numbered equations of one source."""
    return _overview(
        [row for row in rows() if row["source"] == source and row["place"][:3] == "Eq."]
    )


def counts(source: str) -> list[str]:
    """Return how many equations and other places were looked at, in words."""
    chosen = [row for row in rows() if row["source"] == source]
    numbered = [row for row in chosen if row["place"].startswith("Eq.")]
    found = Counter(row["status"] for row in numbered)
    others = sum(row["status"] != "correct" for row in chosen if row not in numbered)
    states = ", ".join(f"{status}: {found[status]}" for status in STATUSES if found[status])
    return [f"{len(numbered)} numbered equations ({states}), and {others} remarks on other places."]


PARTS = (counts, equations, findings)
