"""The ledger: claims, records, verdicts and stored full-scale results."""

from __future__ import annotations

import importlib
import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from IPython.testing.globalipapp import start_ipython
from IPython.utils.capture import capture_output

import chapters as course
import ledger_cells
import ledger_table
from mammocourse import ledger
from mammocourse.ledger import Claim, claims, kind, record, show, stored, verdict
from mammocourse.phantom import ceiling_auc
from tolerances import ITERATIVE

RESULTS = sorted((course.ROOT / "data" / "results").glob("*.json"))
FIELDS = {
    "schema": int,
    "chapter": str,
    "mode": str,
    "command": str,
    "date": str,
    "source_hash": str,
    "versions": dict,
    "machine": dict,
    "seconds": int,
    "results": dict,
}


def claim(**changes: Any) -> Claim:
    fields: dict[str, Any] = {
        "id": "a.b", "source": "thesis", "section": "1", "quantity": "accuracy", "claimed": 0.99,
        "decimals": 2, "needs": "nothing", "scale": "both", "chapter": "02", "why": "Counted.",
    }  # fmt: skip
    return Claim(**{**fields, **changes})


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.99, "reproduced"),
        (0.9949, "reproduced"),  # rounds to it
        (0.999527, "reproduced"),  # is cut to it
        (0.98, "contradicted"),
        (1.0, "contradicted"),
        (math.nan, "contradicted"),
        (None, "not recomputed"),
    ],
)
def test_a_verdict_follows_from_the_numbers(value: float | None, expected: str) -> None:
    assert verdict(claim(), value) == expected


def test_a_claim_may_word_its_own_verdicts() -> None:
    worded = claim(verdict_if_equal="reproduced, but", verdict_if_different="otherwise")
    assert verdict(worded, 0.99) == "reproduced, but"
    assert verdict(worded, 0.5) == "otherwise"
    assert verdict(claim(claimed=None), 0.5) == "finding"
    assert verdict(claim(needs="inbreast"), None) == "needs real data"
    assert verdict(claim(needs="elsewhere"), None) == "cannot be recomputed"


@pytest.mark.parametrize(
    ("fields", "value", "expected"),
    [
        ({}, 0.99, "reproduced"),
        ({}, 0.5, "contradicted"),
        ({"kind_if_equal": "reproduced with another setting"}, 0.99, None),
        ({"kind_if_different": "differs"}, 0.5, "differs"),
        ({"claimed": None}, 0.5, "finding"),
        ({"needs": "cbis-ddsm"}, None, "needs real data"),
        ({"needs": "elsewhere"}, None, "cannot be recomputed"),
        ({}, None, "not recomputed"),
    ],
)
def test_a_verdict_belongs_to_a_kind(
    fields: dict[str, Any], value: float | None, expected: str | None
) -> None:
    found = kind(claim(**fields), value)
    assert found == (expected or fields["kind_if_equal"])
    assert found in ledger.KINDS


@pytest.mark.parametrize(("value", "text"), [(6.5, "6.50"), (7.0, "7"), (0.0473, "0.05")])
def test_a_mean_is_not_shown_as_a_whole_number(value: float, text: str) -> None:
    assert show(claim(claimed=7, decimals=0), value) == text
    assert show(claim(claimed=None, decimals=0), 16721.2) == "16,721"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (0.00344, "0.0034"),
        (0.5, "0.50"),
        (1.384, "1.4"),
        (18.78, "19"),
        (5099.2, "5,099"),
        (0, "0"),
    ],
)
def test_a_standard_error_is_shown_with_two_digits(error: float, text: str) -> None:
    assert ledger_table._two_digits(error) == text


def test_the_ledger_shows_the_standard_errors_that_were_recorded() -> None:
    shown = {row.claim.id: row.error for row in ledger_table.rows()}
    for path in RESULTS:
        for name, entry in json.loads(path.read_text("utf-8"))["results"].items():
            if claims()[name].scale != "small":
                error = entry.get("mc_error")
                assert shown[name] == ("" if error is None else ledger_table._two_digits(error))


def test_a_finding_of_the_course_has_no_printed_value() -> None:
    for row in claims().values():
        assert (row.claimed is None) == (row.source == "course")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("chapter", 2),
        ("claimed", "1e3"),
        ("decimals", 1.5),
        ("scale", "tiny"),
        ("source", "memory"),
        ("kind_if_equal", "contradicted"),
        ("kind_if_different", "reproduced"),
        ("why", " "),
    ],
)
def test_a_damaged_claim_is_named(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{field} is {value!r}"):
        claim(**{field: value})


@pytest.mark.parametrize("text", ["{", "[]", "", '{"schema": 99, "results": {}}', "null"])
def test_a_damaged_result_is_named(
    text: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    resources = importlib.import_module("mammocourse.resources")
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "02.json").write_text(text)
    monkeypatch.setattr(resources, "data_folder", lambda: tmp_path)
    ledger.stored_results.cache_clear()
    with pytest.raises(ValueError, match=r"results/02\.json is damaged"):
        ledger.stored_results("02")


def test_every_claim_of_a_written_chapter_is_recomputed(executed: dict[str, Any]) -> None:
    values = ledger_table.values()
    written = [
        row.id
        for row in claims().values()
        if row.chapter in executed and row.needs not in ledger.RESTRICTED
    ]
    assert len(written) > 10
    assert [name for name in written if name not in values] == []


def test_what_needs_restricted_data_is_not_recorded_without_them(executed: dict[str, Any]) -> None:
    for notebook in executed.values():
        for name in ledger_table.recorded(notebook):
            row = claims()[name]
            assert row.needs not in ledger.RESTRICTED or row.scale == "both", name


def test_the_small_network_lies_between_the_linear_model_and_the_words() -> None:
    stored_curve = ledger.stored_results("07")["results"]
    linear, network = (stored_curve[f"phantom.{model}_auc_3000"] for model in ("linear", "cnn"))
    margin = 1.96 * (linear["mc_error"] + network["mc_error"])  # the two 95% intervals
    assert linear["value"] + margin < network["value"] < ceiling_auc()


def test_the_source_names_the_cell_that_records_a_claim(executed: dict[str, Any]) -> None:
    for item in course.chapters():
        seen = {
            name: number
            for number, cell in enumerate(executed[item.number].cells)
            for name in ledger_table.recorded(SimpleNamespace(cells=[cell]))
        }
        read = ledger_cells.recording_cells(item.read(), item.number)
        assert {name: read.get(name) for name in seen} == seen


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ('record("mnist.lrt", 1)', {"mnist.lrt"}),
        (
            'for n in names:\n    record(f"mnist.saga.llf_{n}_epochs", 1)',
            {"mnist.saga.llf_5_epochs"},
        ),
        ('for n in ["mnist.lrt", "x"]:\n    record(n, 1)', {"mnist.lrt"}),
        ('record(f"{a}.{b}", 1)', set()),
        ('print("mnist.lrt")', set()),
    ],
)
def test_cells_are_found_by_texts_patterns_and_variables(code: str, found: set[str]) -> None:
    import nbformat

    cells = [nbformat.v4.new_code_cell("1"), nbformat.v4.new_code_cell(code)]
    cells += [nbformat.v4.new_code_cell(code, metadata={"tags": ["solution"]})]
    notebook = nbformat.v4.new_notebook(cells=cells)
    numbers = ledger_cells.recording_cells(notebook, "02")
    assert found <= set(numbers)
    assert set(numbers.values()) <= {1}
    assert bool(numbers) == bool(found)


def test_claims_of_a_cell_share_its_anchor() -> None:
    import nbformat

    cell = nbformat.v4.new_code_cell('record("mnist.zeros", 1)\nrecord("mnist.images", 2)')
    found = ledger_cells.anchors(nbformat.v4.new_notebook(cells=[cell]), "02")
    assert found == dict.fromkeys(["mnist.images", "mnist.zeros"], (0, "record-mnist-images"))


def test_a_record_travels_in_the_output_of_its_cell() -> None:
    start_ipython()
    name = next(iter(claims()))
    with capture_output() as captured:
        record(name, 3, mc_error=0.5, seed=7)
    bundles = [output.data for output in captured.outputs]
    entry = next(data[ledger.RECORD_MIME] for data in bundles if ledger.RECORD_MIME in data)
    assert entry == {"id": name, "value": 3.0, "mode": "small", "mc_error": 0.5, "seed": 7}


@pytest.mark.parametrize("value", ["seven", None, [1, 2], math.inf])
def test_a_record_must_be_a_number(value: Any) -> None:
    with pytest.raises(ValueError, match=r"single number|infinite"):
        record(next(iter(claims())), value)


def test_an_unknown_claim_is_named() -> None:
    with pytest.raises(ValueError, match=r"no\.such"):
        record("no.such", 1)
    with pytest.raises(ValueError, match=r"no\.such"):
        stored("no.such")


def problems(content: dict[str, Any]) -> list[str]:
    """Return what is wrong with a stored result."""
    found = [f"no {name}" for name in FIELDS if name not in content]
    found += [f"unknown {name}" for name in content if name not in FIELDS]
    found += [
        f"{name} is not of type {kind.__name__}"
        for name, kind in FIELDS.items()
        if name in content and not isinstance(content[name], kind)
    ]
    if found:
        return found
    item = course.chapter(content["chapter"])
    if content["source_hash"] != course.source_hash(item):
        found.append(f"the code of the chapter has changed: run '{content['command']}' again")
    if not {"python", "numpy"} <= set(content["versions"]):
        found.append("versions are missing")
    if "processor" not in content["machine"]:
        found.append("the processor is not named")
    for name, entry in content["results"].items():
        if name not in claims() or not isinstance(entry.get("value"), float | int | None):
            found.append(f"bad entry {name}")
    return found


def test_there_are_stored_results() -> None:
    assert "02" in [path.stem for path in RESULTS]


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_stored_results_belong_to_the_code_of_today(path: Path) -> None:
    assert problems(json.loads(path.read_text("utf-8"))) == []


@pytest.mark.parametrize(
    "change",
    [
        {"source_hash": "0" * 16},
        {"schema": "1"},
        {"extra": 1},
        {"results": {"no.such": {"value": 1.0}}},
        {"machine": {}},
    ],
)
@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_a_tampered_result_is_rejected(path: Path, change: dict[str, Any]) -> None:
    content = json.loads(path.read_text("utf-8"))
    assert problems({**content, **change})


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_the_cheap_part_of_a_stored_result_is_recomputed(
    path: Path, executed: dict[str, Any]
) -> None:
    full = json.loads(path.read_text("utf-8"))["results"]
    small = ledger_table.recorded(executed[path.stem])
    both = [name for name in full if name in small and claims()[name].scale == "both"]
    assert both, "record at least one number that both scales share (scale: both)"
    for name in both:
        recomputed, kept = small[name]["value"], full[name]["value"]
        if kept is None:
            assert recomputed is None, name
        else:
            assert recomputed == pytest.approx(kept, rel=ITERATIVE), name


def test_prose_quotes_no_number_of_a_stored_result_by_hand() -> None:
    for path in RESULTS:
        item = course.chapter(path.stem)
        text = item.path.read_text("utf-8")
        for entry in json.loads(path.read_text("utf-8"))["results"].values():
            value = entry["value"]
            if value is not None and abs(value - round(value)) > 1e-3:
                assert f"{value:.4f}" not in text, item.name


def test_ledger_without_results_returns_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    resources = importlib.import_module("mammocourse.resources")
    name = next(iter(claims()))
    monkeypatch.setattr(resources, "data_folder", lambda: tmp_path)
    ledger.stored_results.cache_clear()
    assert stored(name) is None
    ledger.stored_results.cache_clear()
