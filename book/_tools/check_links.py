"""Report the links of the book that lead nowhere, by Sphinx's own link checker.

A dead link is reported and is no error: other sites come and go. The report is
``_build/links/report.md``; ``broken.txt`` beside it lists the dead links, one a line.
"""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

import chapters as course

FOLDER = course.BUILD / "links"
RESULTS = course.BUILD / "linkcheck" / "output.json"
GOOD = {"working", "redirected", "unchecked", "ignored", "local"}
BAD = {"broken", "timeout"}


def read(text: str) -> list[dict[str, Any]]:
    """Return the links that Sphinx wrote down, one JSON object a line.

    Raises
    ------
    ValueError
        If Sphinx says of a link what this program does not know.
    """
    links = [json.loads(line) for line in text.splitlines() if line.strip()]
    unknown = {link["status"] for link in links} - GOOD - BAD
    if unknown:
        raise ValueError(f"unknown status of links: {', '.join(sorted(unknown))}")
    return links


def broken(links: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the links that lead nowhere."""
    return [link for link in links if link["status"] in BAD]


def report(links: list[dict[str, Any]]) -> str:
    """Return a report in Markdown, page by page."""
    other = [link for link in links if link["uri"].startswith("http")]
    bad = broken(links)
    lines = [f"{len(other)} links to other sites, {len(bad)} that lead nowhere.", ""]
    pages = defaultdict(list)
    for link in bad:
        pages[link["filename"]].append(link)
    for page, found in sorted(pages.items()):
        lines += [f"### {page}", ""]
        for link in found:
            why = " ".join(str(link["info"]).split())[:200] or link["status"]
            lines.append(f"- line {link['lineno']}: <{link['uri']}> ({why})")
        lines.append("")
    moved = [link for link in links if link["status"] == "redirected" and link.get("code") == 301]
    if moved:
        lines += ["### Moved for good", ""]
        lines += [f"- {link['filename']}: <{link['uri']}> to <{link['info']}>" for link in moved]
    return "\n".join(lines).rstrip() + "\n"


def main() -> None:
    """Check all links and write the report; only a checker that fails is an error."""
    RESULTS.unlink(missing_ok=True)
    options = ["--builder", "custom", "--custom-builder", "linkcheck"]
    course.jupyter_book(*options, "-q", "--keep-going")  # its status is 1 for any dead link
    if not RESULTS.exists():
        raise SystemExit("The links were not checked: the messages above say why.")
    links = read(RESULTS.read_text("utf-8"))
    if not links:
        raise SystemExit(f"Sphinx found no link at all: see {RESULTS}.")
    FOLDER.mkdir(exist_ok=True)
    text = report(links)
    (FOLDER / "report.md").write_text(text, "utf-8")
    dead = "".join(f"{link['uri']}\n" for link in broken(links))
    (FOLDER / "broken.txt").write_text(dead, "utf-8")
    print(text)


if __name__ == "__main__":
    main()
