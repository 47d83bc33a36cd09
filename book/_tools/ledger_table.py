"""The rows of the ledger page: claims, recomputed values, verdicts."""

from __future__ import annotations

import json
import math
from typing import Any

import chapters as course
from mammocourse.ledger import RECORD_MIME, Claim, claims, show, stored_results, verdict

SOURCES = {"thesis": "thesis,", "auc-paper": "AUC paper,", "course": "this course, on"}


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


def values() -> dict[str, dict[str, dict[str, Any]]]:
    """Return all recomputed entries: claim, then scale ("small" or "full")."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for item in course.chapters():
        executed = course.cached(item)
        if executed is not None:
            for name, entry in recorded(executed[0]).items():
                found.setdefault(name, {})[entry["mode"]] = entry
        for name, entry in stored_results(item.number).get("results", {}).items():
            found.setdefault(name, {}).setdefault("full", entry)
    return found


def _best(claim: Claim, entries: dict[str, dict[str, Any]]) -> tuple[str, float | None] | None:
    """Choose the scale at which a claim may be compared, the full one first."""
    scales = {"small": ("small",), "full": ("full",), "both": ("full", "small")}[claim.scale]
    for scale in scales:
        if scale in entries:
            value = entries[scale]["value"]
            return scale, math.nan if value is None else value
    return None


def rows() -> list[tuple[str, ...]]:
    """Return one row of text per claim, in the order of ``data/claims.yml``."""
    recomputed = values()
    table = []
    for claim in claims().values():
        best = _best(claim, recomputed.get(claim.id, {}))
        judged = verdict(claim, None if best is None else best[1])
        shown = "not yet" if best is None else f"{show(claim, best[1])} ({best[0]} scale)"
        stated = "–" if claim.claimed is None else f"{claim.claimed:,.{claim.decimals}f}"
        where = f"{SOURCES[claim.source]} {claim.section}"
        table.append((claim.quantity, where, stated, shown, judged, claim.why))
    return table
