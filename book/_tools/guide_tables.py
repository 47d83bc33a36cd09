"""The tables of the instructor guide, as Markdown: what the chapters can say is taken from them.

Each function gets the content of a directive of ``book/instructor_guide.md``, in YAML. Lines
about chapters that are not in the table of contents are left out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import yaml

import assignments
import chapters as course

GUIDE = course.ROOT / "book" / "instructor_guide.md"
CHECKED_MINUTES, OPEN_MINUTES = 10, 30  # for one exercise: an assumption, stated in the guide
WORDS = {"an hour": 60, "two hours": 120, "three hours": 180}


@dataclass(frozen=True)
class Facts:
    """What a chapter's source says about itself."""

    item: course.Chapter
    title: str
    minutes: int  # of reading
    objectives: list[str]
    checked: list[str]  # labels of the exercises that code checks
    open: list[str]

    @property
    def link(self) -> str:
        """The chapter as a reference."""
        return f"{{doc}}`{int(self.item.number)} <{self.item.name}>`"


def facts() -> dict[str, Facts]:
    """Return the facts of the chapters that have exercises, by number."""
    found = {}
    for item in course.chapters():
        text = item.path.read_text("utf-8")
        if "{exercise-start}" not in text:
            continue
        labels = re.findall(r"^:label: (ex-.+)$", text, re.M)
        checked = [label for label in labels if f'check("{label.removeprefix("ex-")}"' in text]
        found[item.number] = Facts(
            item,
            title=re.findall(r"^# (.+)$", text, re.M)[0],
            minutes=_minutes(item, text),
            objectives=_objectives(item, text),
            checked=checked,
            open=[label for label in labels if label not in checked],
        )
    return found


def _minutes(item: course.Chapter, text: str) -> int:
    stated = re.search(r"Reading and thinking: about (?:(\d+) minutes|([a-z]+ hours?))", text)
    if stated is None or (stated[2] and stated[2] not in WORDS):
        raise ValueError(
            f"{item.path.name} must say 'Reading and thinking: about N minutes' (or 'two hours')."
        )
    return int(stated[1]) if stated[1] else WORDS[stated[2]]


def _objectives(item: course.Chapter, text: str) -> list[str]:
    box = re.search(r"^```\{admonition\} What you will be able to do\n(.*?)^```", text, re.M | re.S)
    if box is None:
        raise ValueError(f"{item.path.name} has no box 'What you will be able to do'.")
    return re.findall(r"^- (.+)$", box[1], re.M)


def markdown_table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> list[str]:
    """Return a Markdown table, line by line."""
    lines = [head, ("---",) * len(head), *rows]
    return ["| " + " | ".join(map(str, line)) + " |" for line in lines]


def _hours(items: list[Facts]) -> float:
    minutes = sum(
        item.minutes + CHECKED_MINUTES * len(item.checked) + OPEN_MINUTES * bool(item.open)
        for item in items
    )
    return minutes / 60


def workload(content: str) -> list[str]:
    """Return reading time, exercises and points of each chapter (no content)."""
    rows = [
        (
            f"{{doc}}`{one.item.name}`",
            one.minutes,
            len(one.checked),
            assignments.POINTS * len(one.checked),
            len(one.open),
            f"{_hours([one]):.1f}",
        )
        for one in facts().values()
    ]
    head = ("Chapter", "Reading (minutes)", "Checked exercises", "Their points", "Open", "Hours")
    return markdown_table(head, rows)


def plan(content: str) -> list[str]:
    """Return a syllabus; content is a list of weeks with ``chapters`` and ``session``."""
    known = facts()
    rows = []
    for week, entry in enumerate(yaml.safe_load(content), 1):
        items = [known[number] for number in entry["chapters"] if number in known]
        links = ", ".join(item.link for item in items) or "–"
        hours = f"{_hours(items):.1f}" if items else "–"
        rows.append((week, links, hours, entry["session"]))
    return markdown_table(("Week", "Chapters", "Hours at home", "In class"), rows)


def objectives(content: str) -> list[str]:
    """Return each chapter's objectives with the exercises that practice them.

    Content maps a chapter to one list of exercise names (``odds`` for ``ex-02-odds``) for each
    objective, in the order of the chapter.
    """
    mapping = yaml.safe_load(content)
    lines = []
    for number, one in facts().items():
        if number not in mapping:
            raise ValueError(f"the table of objectives lacks chapter {number!r}.")
        if len(mapping[number]) != len(one.objectives):
            raise ValueError(
                f"chapter {number} has {len(one.objectives)} objectives, and the table "
                f"{len(mapping[number])} lists of exercises."
            )
        missing = {*one.checked, *one.open} - {
            f"ex-{number}-{name}" for names in mapping[number] for name in names
        }
        if missing:
            raise ValueError(f"the table of objectives lacks {', '.join(sorted(missing))}.")
        lines += [f"**Chapter {one.link}: {one.title}**", ""]
        for objective, names in zip(one.objectives, mapping[number], strict=True):
            practice = ", ".join(f"{{ref}}`ex-{number}-{name}`" for name in names)
            lines.append(f"- {objective} *{practice or 'In the text.'}*")
        lines.append("")
    return lines


def rubric(content: str) -> list[str]:
    """Return what a full answer to each open exercise has; content maps names to text."""
    texts = yaml.safe_load(content)
    exercises = {label.removeprefix("ex-") for one in facts().values() for label in one.open}
    stale = sorted(name for name in set(texts) - exercises if name[:2] in facts())
    if stale:
        raise ValueError(f"the rubric has {', '.join(stale)}, which is no open exercise.")
    rows = []
    for number, one in facts().items():
        for label in one.open:
            name = label.removeprefix("ex-")
            if name not in texts:
                raise ValueError(f"the rubric lacks {name} of chapter {number}.")
            rows.append((f"{{ref}}`{label}`", texts[name]))
    return markdown_table(("Exercise", "A full answer"), rows)


def tables() -> list[tuple[str, str]]:
    """Return name and content of each table of the guide."""
    text = GUIDE.read_text("utf-8")
    return re.findall(r"^```\{guide-table\} (\w+)\n(.*?)^```", text, re.M | re.S)


def rubric_lines() -> dict[str, str]:
    """Return what a full answer to each open exercise has, by name ("02-early")."""
    [content] = [content for name, content in tables() if name == "rubric"]
    return dict(yaml.safe_load(content))


def check_tables() -> None:
    """Make all tables and throw them away: a mistake shows before any chapter has run.

    Raises
    ------
    SystemExit
        If a table does not fit the chapters; the message says what is missing.
    """
    for name, content in tables():
        try:
            globals()[name](content)
        except ValueError as error:
            raise SystemExit(f"{GUIDE.name}, table {name!r}: {error}") from None
