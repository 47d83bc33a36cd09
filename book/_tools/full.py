"""Run a chapter at full scale and store what it entered into the ledger.

``make full CHAPTER=02`` is the only writer of ``data/results/02.json``, and of the predictions
of that chapter's models in ``data/results/predictions``, if it makes any.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
import time
from datetime import date
from pathlib import Path
from typing import Any

os.environ["MAMMOCOURSE_MODE"] = "full"

import chapters as course
import ledger_table
from mammocourse.ledger import SCHEMA
from mammocourse.predictions import predictions_path
from provenance import processor, versions


def results_path(number: str) -> Path:
    """Return where the results of a chapter are stored."""
    return course.ROOT / "data" / "results" / f"{number}.json"


def keep_predictions(number: str, since: float) -> list[str]:
    """Replace the bundled predictions of a chapter by those written since a time.

    Parameters
    ----------
    number : str
        Two digits.
    since : float
        Seconds since the epoch.

    Returns
    -------
    list of str
        The names of the files.
    """
    folder = course.ROOT / "data" / "results" / "predictions"
    for path in folder.glob(f"{number}_*.csv"):
        path.unlink()
    kept = []
    for path in sorted(predictions_path(f"{number}_any").parent.glob(f"{number}_*.csv")):
        if path.stat().st_mtime >= since:
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, folder / path.name)
            kept.append(path.name)
    return kept


def run(number: str) -> None:
    """Execute one chapter at full scale and write its results, all or nothing."""
    item = course.chapter(number)

    def progress(done: int, total: int) -> None:
        print(f"{item.name}: cell {done} of {total} done", flush=True)

    source, source_hash = item.read(), course.source_hash(item)  # files may change meanwhile
    since, start = time.time(), time.perf_counter()
    notebook = course.execute(source, progress)
    seconds = time.perf_counter() - start
    entries = ledger_table.recorded(notebook)
    if not entries:
        raise SystemExit(f"{item.name} records nothing, so there is nothing to store.")
    results: dict[str, Any] = {
        name: {key: entry[key] for key in ("value", "mc_error", "seed") if key in entry}
        for name, entry in sorted(entries.items())
    }
    content = {
        "schema": SCHEMA,
        "chapter": number,
        "mode": "full",
        "command": f"make full CHAPTER={number}",
        "date": date.today().isoformat(),
        "source_hash": source_hash,
        "versions": versions(),
        "machine": {
            "processor": processor(),
            "architecture": platform.machine(),
            "system": platform.system(),
            "cores": os.cpu_count(),
        },
        "seconds": round(seconds),
        "results": results,
    }
    path = results_path(number)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    temporary.replace(path)
    print(f"{len(results)} results of chapter {number} stored after {seconds:.0f} s.")
    for name in keep_predictions(number, since):
        print(f"predictions stored: {name}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("Name one chapter: make full CHAPTER=02")
    run(sys.argv[1])
