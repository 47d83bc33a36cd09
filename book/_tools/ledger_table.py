"""The rows of the ledger page: claims, recomputed values, verdicts, the cell of each."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

import chapters as course
import derived_claims
import ledger_cells
from mammocourse.ledger import (
    KINDS,
    RECORD_MIME,
    Claim,
    claims,
    kind,
    show,
    stored_results,
    verdict,
)

SOURCES = {"thesis": "The thesis", "auc-paper": "The AUC paper", "course": "Findings"}
SECTIONS = {  # what the parts of the sources are about, in our words
    "thesis": {
        "1": "Introduction",
        "2": "Literature",
        "3.1": "The digits",
        "3.2": "Logistic regression on the digits",
        "3.3": "The layers of a CNN",
        "3.4": "The loss",
        "3.5": "Backpropagation",
        "3.6": "Adam",
        "3.7": "Starting weights and penalties",
        "3.8": "A CNN on the digits",
        "3.9": "Activation maps of the digits",
        "3.11": "Heatmaps of the digits",
        "4.2": "The mammograms in numbers",
        "4.3": "Preprocessing and splits",
        "4.4": "The two models",
        "5.3": "Choosing hyperparameters",
        "5.4": "Results",
        "5.5": "Looking inside the models",
        "7": "Conclusion",
        "A": "Monte Carlo simulation",
        "Data": "Data and code",
    },
    "auc-paper": {
        "abstract": "Abstract",
        "1": "Introduction",
        "3": "The AUC loss",
        "4": "The network",
        "5": "Experiments",
    },
}
_TABLES = {"Table 4": "5.3", "Table 5": "5.4"}  # claims that name their table alone


@dataclass(frozen=True)
class Row:
    """What the ledger shows of one claim.

    Attributes
    ----------
    claim : Claim
    stated, recomputed : str
        The numbers, as they are printed.
    error : str
        The standard error of the recomputed number, or nothing where none was recorded.
    scale : str
        "small scale", "full scale", "by arithmetic" or nothing.
    kind, remark : str
        The verdict: its heading of ``KINDS``, and what the claim adds to it.
    place : str
        "book/02_logistic_regression#record-mnist-lrt": the cell that recomputed it, or the
        page of its chapter; nothing for arithmetic, which stands in ``derived_claims``.
    """

    claim: Claim
    stated: str
    recomputed: str
    error: str
    scale: str
    kind: str
    remark: str
    place: str


def recorded(notebook: Any) -> dict[str, dict[str, Any]]:
    """Return what the cells of an executed notebook entered into the ledger."""
    found = {}
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            entry = output.get("data", {}).get(RECORD_MIME)
            if entry is not None:
                entry = json.loads(entry) if isinstance(entry, str) else dict(entry)
                found[entry["id"]] = entry
    return found


Executed = dict[str, Any]  # the notebooks of the chapters by their numbers


def executed_chapters() -> Executed:
    """Return the executed chapters, and the others as they are."""
    cached = {item: course.cached(item) for item in course.chapters()}
    return {item.number: found[0] if found else item.read() for item, found in cached.items()}


def values(executed: Executed | None = None) -> dict[str, dict[str, dict[str, Any]]]:
    """Return all recomputed entries: claim, then "small", "full" or "arithmetic"."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for number, notebook in (executed or executed_chapters()).items():
        for name, entry in recorded(notebook).items():
            found.setdefault(name, {})[entry["mode"]] = entry
        for name, entry in stored_results(number).get("results", {}).items():
            found.setdefault(name, {}).setdefault("full", entry)
    printed = {name: row.claimed for name, row in claims().items() if row.claimed is not None}
    best = {name: _best(claims()[name], entries) for name, entries in found.items()}
    done = {name: value[1] for name, value in best.items() if value is not None}
    for name, number in derived_claims.values(printed, done).items():
        found[name] = {"arithmetic": {"id": name, "value": number, "mode": "arithmetic"}}
    return found


def _best(claim: Claim, entries: dict[str, dict[str, Any]]) -> tuple[str, float] | None:
    """Choose the scale at which a claim may be compared, the full one first."""
    scales = {"small": ("small",), "full": ("full",), "both": ("full", "small")}[claim.scale]
    for scale in ("arithmetic", *scales):
        if scale in entries:
            value = entries[scale]["value"]
            return scale, math.nan if value is None else value
    return None


def rows() -> list[Row]:
    """Return one row per claim, in the order of ``data/claims.yml``."""
    executed = executed_chapters()
    recomputed, places = values(executed), _places(executed)
    table = []
    for claim in claims().values():
        best = _best(claim, recomputed.get(claim.id, {}))
        is_year = claim.quantity.startswith("year ")
        value = None if best is None else best[1]
        error = None if best is None else recomputed[claim.id][best[0]].get("mc_error")
        scale = "" if best is None else f"{best[0]} scale"
        heading = kind(claim, value)
        remark = verdict(claim, value)
        for start in (heading, heading.split()[0]):
            remark = remark.removeprefix(start)
        stated = "–" if claim.claimed is None else f"{claim.claimed:,.{claim.decimals}f}"
        shown = "–" if value is None else show(claim, value)
        table.append(
            Row(
                claim=claim,
                stated=stated.replace(",", "") if is_year else stated,
                recomputed=shown.replace(",", "") if is_year else shown,
                error="" if error is None else _two_digits(error),
                scale=scale.replace("arithmetic scale", "by arithmetic"),
                kind=heading,
                remark=remark.lstrip(" ,;:"),
                place=places.get(claim.id, ""),
            )
        )
    return table


def _two_digits(error: float) -> str:
    """Write a standard error with two digits that count, and never with an exponent."""
    decimals = 1 - math.floor(math.log10(error)) if error > 0 else 0
    return f"{error:,.{max(decimals, 0)}f}"


def _places(executed: Executed) -> dict[str, str]:
    places = {}
    pages = {item.number: f"book/{item.name}" for item in course.chapters()}
    for number, notebook in executed.items():
        found = ledger_cells.anchors(notebook, number)
        for claim in claims().values():
            if claim.chapter == number:
                at = f"#{found[claim.id][1]}" if claim.id in found else ""
                places[claim.id] = pages[number] + at
    return places


def summary(table: list[Row]) -> list[tuple[str, dict[str, int]]]:
    """Return how many claims of each source have each verdict.

    Parameters
    ----------
    table : list of Row

    Returns
    -------
    list of (str, dict of str to int)
        For every verdict that occurs, in the order of ``KINDS``, its counts by source.
    """
    counts = Counter((row.kind, row.claim.source) for row in table)
    found = [(name, {source: counts[name, source] for source in SOURCES}) for name in KINDS]
    return [(name, by_source) for name, by_source in found if any(by_source.values())]


def groups(table: list[Row], source: str) -> list[tuple[str, str, list[Row]]]:
    """Return the rows of a source in groups: a key, a title and the rows.

    The two sources are grouped by their sections, the findings by the course's chapters.

    Parameters
    ----------
    table : list of Row
    source : {"thesis", "auc-paper", "course"}

    Returns
    -------
    list of (str, str, list of Row)
    """
    chosen = [row for row in table if row.claim.source == source]
    if source == "course":
        return [
            (item.number, _title(item), found)
            for item in course.chapters()
            if (found := [row for row in chosen if row.claim.chapter == item.number])
        ]
    titles = SECTIONS[source]
    parts = {row.claim.id: part_of(row.claim) for row in chosen}
    return [
        (key, title, found)
        for key, title in titles.items()
        if (found := [row for row in chosen if parts[row.claim.id] == key])
    ]


def _title(item: course.Chapter) -> str:
    return re.findall(r"^# (.+)$", item.path.read_text(encoding="utf-8"), flags=re.M)[0]


def part_of(claim: Claim) -> str:
    """Return the part of its source to which a claim belongs: a key of ``SECTIONS``.

    Raises
    ------
    ValueError
        If there is none; the error names the claim.
    """
    section = claim.section.removeprefix("App. ")
    for table, key in _TABLES.items():
        if section.startswith(table):
            section = key
    titles = SECTIONS[claim.source]
    words = re.split(r"[ ,;&]", section)[0]
    while words:
        if words in titles:
            return words
        words = words.rpartition(".")[0]
    raise ValueError(
        f"data/claims.yml: {claim.id} stands in {claim.section!r}, which is no part of "
        f"{claim.source} that ledger_table.SECTIONS names; add it there."
    )
