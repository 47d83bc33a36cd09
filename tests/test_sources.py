"""Every number of the two sources is mapped to a claim or to a named exclusion.

The documents are not part of the repository. Where they are at hand, the environment
variable MAMMOCOURSE_SOURCES names a folder with the two texts, and the numbers of these
are compared with ``data/source_numbers.yml``.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

import chapters as course
import derived_claims
import ledger_table
from mammocourse import ledger
from mammocourse.ledger import claims
from mammocourse.resources import data_path
from source_text import numbers, read_source

FILE = yaml.safe_load(data_path("source_numbers.yml").read_text("utf-8"))
EXCLUSIONS = FILE["exclusions"]
SOURCES = ("thesis", "auc-paper")
ROWS = [
    (source, place, row) for source in SOURCES for place, found in FILE[source].items()
    for row in found
]  # fmt: skip
MARKS = {"thesis": "# 3 Preliminary Methodology", "auc-paper": "3. AUC Maximization"}
VARIABLE = "MAMMOCOURSE_SOURCES"


def written(printed: str) -> str:
    """Return a printed number as the documents' numbers are read."""
    return printed.replace(",", "").rstrip("%")


def is_number(printed: str) -> bool:
    return re.fullmatch(r"\d+(\.\d+)?(e-?\d+)?", written(printed)) is not None


def readings(printed: str) -> list[float]:
    """Return what a printed number may mean: a percentage is also a share."""
    words = {"one": 1, "second": 2, "four": 4, "five": 5, "tens of": 10}
    value = float(words.get(printed) or written(printed))
    return [value, value / 100] if printed.endswith("%") else [value]


def faults(row: dict[str, Any]) -> list[str]:
    """Return what is wrong with a row, by the rules at the head of the file."""
    found = []
    unknown = set(row) - {"printed", "says", "claims", "checked_by", "how", "exclude", "chapter"}
    found += [f"unknown field {name}" for name in sorted(unknown)]
    if not str(row.get("says", "")).strip():
        found.append("says is empty")
    if not all(isinstance(item, str) for item in row.get("printed", [None])):
        found.append("printed is no list of texts")
        return found
    if sum(name in row for name in ("claims", "checked_by", "exclude")) != 1:
        found.append("not exactly one of claims, checked_by and exclude")
    named = [*row.get("claims", []), *row.get("checked_by", [])]
    found += [f"no claim {name}" for name in named if name not in claims()]
    if "checked_by" in row and not row.get("how"):
        found.append("how is missing")
    if "exclude" in row and row["exclude"] not in EXCLUSIONS:
        found.append(f"no exclusion {row['exclude']}")
    if (row.get("exclude") == "setting") != ("chapter" in row):
        found.append("a setting names the chapter that uses it, nothing else does")
    if row["printed"] and not found:
        states = {name: claims()[name] for name in row.get("claims", [])}
        meant = [value for item in row["printed"] for value in readings(item)] if states else []
        found += [
            f"{name} states {claim.claimed}, the document {', '.join(row['printed'])}"
            for name, claim in states.items()
            if f"{claim.claimed:.{claim.decimals}f}"
            not in [f"{value:.{claim.decimals}f}" for value in meant if fits(value, claim.decimals)]
        ]
        stated = {claim.claimed for claim in states.values()}
        found += [
            f"no claim of the row states {item}"
            for item in (row["printed"] if states else [])
            if not any(abs(v - c) <= 1e-9 * abs(v) for v in readings(item) for c in stated)
        ]
    return found


def fits(value: float, decimals: int) -> bool:
    """Tell whether a number has no more decimals than these."""
    return abs(round(value, decimals) - value) <= 1e-9 * max(1.0, abs(value))


@pytest.mark.parametrize("source", SOURCES)
def test_every_row_keeps_the_rules(source: str) -> None:
    found = [
        f"{place}: {row.get('says')}: {fault}"
        for name, place, row in ROWS
        if name == source
        for fault in faults(row)
    ]
    assert found == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"claims": ["no.such"]}, "no claim no.such"),
        ({"printed": ["0.78"]}, "table5.resnet_accuracy states 0.79"),
        ({"printed": ["0.79", "0.78"]}, "no claim of the row states 0.78"),
        ({"printed": [0.79]}, "no list of texts"),
        ({"says": " "}, "says is empty"),
        ({"exclude": "bound"}, "not exactly one"),
        ({"claims": None, "exclude": "dull"}, "no exclusion dull"),
        ({"claims": None, "exclude": "setting"}, "names the chapter"),
        ({"claims": None, "checked_by": ["mnist.lrt"]}, "how is missing"),
        ({"claims": None}, "not exactly one"),
        ({"note": "x"}, "unknown field note"),
    ],
)
def test_a_damaged_row_is_named(change: dict[str, Any], fault: str) -> None:
    row = {"printed": ["0.79"], "says": "accuracy", "claims": ["table5.resnet_accuracy"]}
    assert faults(row) == []
    damaged = {name: value for name, value in {**row, **change}.items() if value is not None}
    assert fault in "; ".join(faults(damaged))


def test_every_claim_of_the_sources_has_a_place() -> None:
    placed = {
        (source, name)
        for source, _, row in ROWS
        for name in (*row.get("claims", []), *row.get("checked_by", []))
    }
    missing = [
        claim.id
        for claim in claims().values()
        if claim.source != "course" and (claim.source, claim.id) not in placed
    ]
    assert missing == [], "say in data/source_numbers.yml where the source makes the claim"


def test_every_exclusion_is_used_and_explained() -> None:
    used = {row["exclude"] for _, _, row in ROWS if "exclude" in row}
    assert used == set(EXCLUSIONS)
    assert all(len(text.split()) > 3 for text in EXCLUSIONS.values())


def test_a_setting_stands_in_the_chapter_that_uses_it() -> None:
    words = {"four": "4", "Five-fold": "5"}
    missing = []
    for _, place, row in ROWS:
        if row.get("exclude") != "setting":
            continue
        text = course.chapter(row["chapter"]).path.read_text("utf-8")
        for item in row["printed"]:
            value = float(written(words.get(item, item)))
            forms = {f"{value:g}", f"{value:.0e}", f"1e{value:e}"[2:], f"{value / 100:g}"}
            forms |= {item.lower(), item.lower().split("-")[0]}
            if not any(re.search(rf"(?<![\w.]){re.escape(form)}(?![\w])", text) for form in forms):
                missing.append(f"{item} of {place} in chapter {row['chapter']}")
    assert missing == []


def differences(source: str, text: str) -> list[str]:
    """Return where the numbers of a document and of the file differ.

    In tables each number needs a row of its own, elsewhere each that occurs in a place.
    """
    document: dict[str, Counter[str]] = {}
    for place, number in read_source(source, text):
        document.setdefault(place, Counter())[number] += 1
    listed: dict[str, Counter[str]] = {}
    for _, place, row in [found for found in ROWS if found[0] == source]:
        listed.setdefault(place, Counter()).update(
            written(item) for item in row["printed"] if is_number(item)
        )
    found = []
    for place in sorted({*document, *listed}):
        there, here = document.get(place, Counter()), listed.get(place, Counter())
        if not place.startswith("Table"):
            there, here = Counter(set(there)), Counter(set(here))
        found += [f"{place}: {item} is not mapped" for item in sorted(there - here)]
        found += [f"{place}: {item} is not in the document" for item in sorted(here - there)]
    return found


@pytest.fixture(scope="module")
def documents() -> dict[str, str]:
    """Return the texts of the two documents."""
    folder = os.environ.get(VARIABLE)
    if not folder:
        pytest.skip(f"the documents are not at hand: {VARIABLE} names no folder with their texts")
    texts = [path.read_text("utf-8") for path in sorted(Path(folder).glob("*.txt"))]
    found = {name: text for name, mark in MARKS.items() for text in texts if mark in text}
    assert set(found) == set(SOURCES), f"{VARIABLE}={folder} does not hold both texts (*.txt)"
    return found


@pytest.mark.parametrize("source", SOURCES)
def test_every_number_of_the_documents_is_mapped(source: str, documents: dict[str, str]) -> None:
    assert differences(source, documents[source]) == []


@pytest.mark.parametrize("source", SOURCES)
def test_words_of_number_stand_where_they_are_listed(
    source: str, documents: dict[str, str]
) -> None:
    text = " ".join(documents[source].lower().split())
    words = [item for name, _, row in ROWS if name == source for item in row["printed"]]
    missing = [item for item in words if not is_number(item) and item.lower() not in text]
    assert missing == []


@pytest.mark.parametrize(
    ("source", "old", "new", "fault"),
    [
        ("thesis", "ResNet50\t0.79", "ResNet50\t0.78", "Table 5: 0.78 is not mapped"),
        ("thesis", "ResNet50\t0.79", "ResNet50\t0.61", "Table 5: 0.79 is not in the document"),
        ("thesis", "Train\t2916", "Train\t2,916\t7", "Table 3: 7 is not mapped"),
        ("thesis", "891 mass", "892 mass", "4.2: 892 is not mapped"),
        ("thesis", "patience of 2 was", "patience of 3 was", "Fig. 6: 3 is not mapped"),
        ("auc-paper", "0.727\n", "0.728\n", "Table 1: 0.728 is not mapped"),
        ("auc-paper", "796 patients, 80", "796 patients, 81", "Abstract: 81 is not mapped"),
    ],
)
def test_an_altered_document_is_noticed(
    source: str, old: str, new: str, fault: str, documents: dict[str, str]
) -> None:
    assert old in documents[source]
    assert fault in differences(source, documents[source].replace(old, new, 1))


def test_numbers_are_read_and_references_left_out() -> None:
    text = (
        r"From 1,234 to 5.6% ([Doe 2020](#); [Roe et al. 2019](#)), see Eq. (3), Fig. 4 and "
        r"Section 5.1: $7 \times 8$, $x_9$, $l_2$, $6 \cdot 10^{-5}$, <b>10<sup>-4</sup></b>, "
        r"[AB12,CD∗13], ResNet50, 0-images, 2K×4K, .75 and 3."
    )
    expected = ["1234", "5.6", "7", "8", "6e-5", "1e-4", "2000", "4000", ".75", "3"]
    assert numbers(text) == expected


def test_places_are_sections_tables_captions_and_the_abstract() -> None:
    thesis = (
        "April 3\n# Title\n## Abstract\nOf 5.\n# Contents\n1.1 Old\t9\n# 1 New\nHas 6.\n"
        "$$7$$\nA\tB\n8\t9\n\nTable 2: With 10.\nFigure 3: Of 11.\n### 1.1 More\n12.\n"
        "## References\n- Doe (13).\n## A Extra\n14"
    )
    assert read_source("thesis", thesis) == [
        ("front", "3"), ("Abstract", "5"), ("1", "6"), ("Table 2", "8"), ("Table 2", "9"),
        ("Table 2", "10"), ("Fig. 3", "11"), ("1.1", "12"), ("App. A", "14"),
    ]  # fmt: skip
    paper = "Abstract\nOf 5.\n\n1. Begin here\n\nHas 6.\n1. First one.\n\nFigure 1: Of 7.\n"
    found = [("Abstract", "5"), ("1", "6"), ("Fig. 1", "7")]
    assert read_source("auc-paper", paper) == found


# --- What needs no run ------------------------------------------------------------


@pytest.fixture(scope="module")
def table() -> list[ledger_table.Row]:
    return ledger_table.rows()


def test_every_claim_without_a_number_says_why() -> None:
    others = [claim for claim in claims().values() if claim.chapter == "14"]
    assert len(others) > 20
    for claim in others:
        assert (claim.id in derived_claims.FUNCTIONS) != (claim.needs == "elsewhere"), claim.id
        assert len(claim.why.split()) > 1, claim.id


def test_arithmetic_is_done_with_recorded_and_printed_numbers() -> None:
    recorded = {"table3.train_total": 90.0, "table3.heldout_total": 30.0}
    recorded |= {"table3.validation_total": 15.0, "mnist.test_share": 0.25}
    printed = {name: row.claimed for name, row in claims().items() if row.claimed is not None}
    found = derived_claims.values(printed, recorded)
    assert [found[f"table3.{name}_share"] for name in ("train", "heldout", "test")] == [
        75.0, 25.0, 12.5,
    ]  # fmt: skip
    assert found["mnist.train_share"] == 75.0
    assert found["augmentation.factor"] == 4
    assert "table3.validation_benign" not in found  # its ingredients have not been recorded


def test_arithmetic_on_a_claim_that_is_not_there_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(derived_claims, "FUNCTIONS", {"a.b": lambda printed, done: done["c.d"]})
    with pytest.raises(ValueError, match=r"a\.b is computed from an unknown claim, 'c\.d'"):
        derived_claims.values({"e.f": 1.0}, {})


def test_every_row_belongs_to_one_group(table: list[ledger_table.Row]) -> None:
    grouped = [
        row.claim.id
        for source in ledger_table.SOURCES
        for _, _, rows in ledger_table.groups(table, source)
        for row in rows
    ]
    assert sorted(grouped) == sorted(claims())


def test_a_claim_of_an_unknown_section_is_named() -> None:
    fields: dict[str, Any] = {
        "id": "a.b", "source": "thesis", "section": "9.9", "quantity": "x", "claimed": 1,
        "decimals": 0, "needs": "nothing", "scale": "both", "chapter": "14", "why": "y",
    }  # fmt: skip
    with pytest.raises(ValueError, match=r"a\.b stands in '9\.9'"):
        ledger_table.part_of(ledger.Claim(**fields))


def test_the_summary_counts_every_claim_once(table: list[ledger_table.Row]) -> None:
    counts = ledger_table.summary(table)
    assert sum(sum(by_source.values()) for _, by_source in counts) == len(claims())
    assert {name for name, _ in counts} <= set(ledger.KINDS)
