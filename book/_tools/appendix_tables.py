"""The tables of the appendices, as Markdown: what files and code can say is taken from them.

Each function is named by a directive ``{appendix-table} name`` of a page and returns its lines.
"""

from __future__ import annotations

import json
import re
from typing import Any

import yaml

import chapters as course
import guide_tables

SHORT = 16  # characters of a checksum on the page


def duration(seconds: float) -> str:
    """Return seconds as a reader says them: "24 s", "5 min", "1.2 h"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"


def times() -> list[str]:
    """Return what each chapter takes: to read, at small scale, at full scale.

    The small run is that from which the site was built, on the machine that built it; the full
    run is the stored one, with its date.
    """
    rows = []
    known = guide_tables.facts()
    for item in course.chapters():
        executed = course.cached(item)
        path = course.ROOT / "data" / "results" / f"{item.number}.json"
        small = duration(executed[1]) if executed is not None and executed[1] else "–"
        full, date = "–", "–"
        if path.exists():
            stored = json.loads(path.read_text("utf-8"))
            full, date = duration(stored["seconds"]), stored["date"]
        reading = f"{known[item.number].minutes} min" if item.number in known else "–"
        rows.append((f"{{doc}}`{item.name}`", reading, small, full, date))
    head = ("Chapter", "Reading", "Small run, when this site was built", "Stored full run", "Date")
    return guide_tables.markdown_table(head, rows)


def machines() -> list[str]:
    """Return one sentence on the machines that the stored full runs come from."""
    found = set()
    for path in sorted((course.ROOT / "data" / "results").glob("[0-9][0-9].json")):
        machine = json.loads(path.read_text("utf-8"))["machine"]
        found.add(
            f"{machine['cores']} cores of {machine['processor']} ({machine['system']}, "
            f"{machine['architecture']})"
        )
    return [f"The stored full runs were made on: {'; '.join(sorted(found))}."]


def targets() -> list[str]:
    """Return the targets of the Makefile with what it says about them."""
    text = (course.ROOT / "Makefile").read_text("utf-8")
    found = re.findall(r"^([a-z-]+):.*?##\s*(.+)$", text, re.M)
    return guide_tables.markdown_table(
        ("Command", "What it does"), [(f"`make {name}`", what) for name, what in found]
    )


def checksums() -> list[str]:
    """Return size and SHA-256 of the files that the package checks."""
    from mammocourse.datasets import MNIST_FILES
    from mammocourse.fetching import TABLES

    rows: list[tuple[Any, ...]] = [
        (f"`{source.name}`", "CBIS-DDSM", f"{source.size:,}", f"`{source.sha256[:SHORT]}…`")
        for source in TABLES
    ]
    rows += [
        (f"`{name}`", "MNIST", "–", f"`{digest[:SHORT]}…`") for name, digest in MNIST_FILES.items()
    ]
    return guide_tables.markdown_table(("File", "Of", "Bytes", "SHA-256 begins with"), rows)


def citation() -> list[str]:
    """Return the citation of the course as a sentence and in BibTeX."""
    cff = yaml.safe_load((course.ROOT / "CITATION.cff").read_text("utf-8"))
    config = yaml.safe_load((course.ROOT / "_config.yml").read_text("utf-8"))
    year = re.findall(r"\d{4}", str(config["copyright"]))[0]
    url = config["repository"]["url"]
    authors = " and ".join(_name(author) for author in cff["authors"])
    return [
        f"{authors} ({year}). *{cff['title']}*. Version {cff['version']}. <{url}>",
        "",
        "```bibtex",
        f"@software{{mammocourse{year},",
        f"  author  = {{{{{authors}}}}},",
        f"  title   = {{{cff['title']}}},",
        f"  year    = {{{year}}},",
        f"  version = {{{cff['version']}}},",
        f"  url     = {{{url}}},",
        f"  license = {{{' AND '.join(cff['license'])}}},",
        "}",
        "```",
    ]


def _name(author: dict[str, str]) -> str:
    return author.get("name") or f"{author['given-names']} {author['family-names']}"
