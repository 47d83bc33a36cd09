"""The reader of INbreast, against a hand-made tree and the real table."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mammocourse import inbreast
from mammocourse.datasets import DatasetError, load_image, read_inbreast
from trees import INBREAST, INBREAST_HEADER, write_inbreast


def change(root: Path, old: str, new: str) -> Path:
    path = root / "INbreast.csv"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return root


def test_each_film_has_its_row_its_patient_and_its_file(tmp_path: Path) -> None:
    frame = read_inbreast(write_inbreast(tmp_path), birads3="keep")
    assert frame["image_uid"].tolist() == [film[0] for film in INBREAST]
    assert frame["patient_id"].tolist() == [film[1] for film in INBREAST]
    assert frame["laterality"].tolist() == ["RIGHT", "LEFT", "RIGHT", "LEFT", "RIGHT", "LEFT"]
    for row in frame.itertuples():
        pixels = np.random.default_rng(int(row.image_uid)).integers(0, 4096, (64, 48))
        image = load_image(row.image_path)
        assert image.dtype == np.uint16
        np.testing.assert_array_equal(image, pixels)


def test_ml_in_a_file_name_is_mlo_and_fb_is_kept(tmp_path: Path) -> None:
    frame = read_inbreast(write_inbreast(tmp_path), birads3="keep")
    assert frame["view"].tolist() == ["CC", "CC", "MLO", "MLO", "FB", "CC"]
    assert "_MG_R_ML_" in frame["image_path"][2]
    assert frame.attrs["report"].notes["MLO written ML in the file name"] == 2


def test_divisions_of_birads_4_are_kept_as_text(tmp_path: Path) -> None:
    frame = read_inbreast(write_inbreast(tmp_path), birads3="keep")
    assert frame["birads"].tolist() == [1, 3, 4, 5, 2, 6]
    assert frame["birads_text"].tolist() == ["1", "3", "4a", "5", "2", "6"]


@pytest.mark.parametrize(
    ("birads3", "labels"),
    [
        ("drop", [0, 1, 1, 0, 1]),
        ("negative", [0, 0, 1, 1, 0, 1]),
        ("keep", [0, pd.NA, 1, 1, 0, 1]),
    ],
)
def test_birads_3_is_dropped_negative_or_kept_without_label(
    tmp_path: Path, birads3: str, labels: list
) -> None:
    frame = read_inbreast(write_inbreast(tmp_path), birads3=birads3)
    assert [str(label) for label in frame["label"]] == [str(label) for label in labels]
    report = frame.attrs["report"]
    assert (report.n_sound, report.n_rows) == (6, 6)  # a film that is dropped is sound
    assert ("films of BI-RADS 3 left out" in report.notes) == (birads3 == "drop")


def test_footer_rows_are_no_films(tmp_path: Path) -> None:
    report = read_inbreast(write_inbreast(tmp_path)).attrs["report"]
    assert report.n_rows == 6
    assert not report.problems


@pytest.mark.parametrize(
    "footer",
    [
        ";;;;;410;;;115;",
        ";;;;Total;;;6;1;",
        ";;R=3;CC=2;;6;;;2;",
        "X: present;;;;;;;;;",
    ],
)
def test_whatever_a_footer_counts_it_is_no_film(tmp_path: Path, footer: str) -> None:
    root = change(write_inbreast(tmp_path), "Total: 3 cases;;;;;6 films;;;2;1", footer)
    assert read_inbreast(root).attrs["report"].n_rows == 6


@pytest.mark.parametrize("cells", ["R;CC;201001;;4;1", "R;;201001;20586908;4;1", "R;CC;;;4;"])
def test_a_film_that_lacks_a_cell_is_no_footer(tmp_path: Path, cells: str) -> None:
    root = change(write_inbreast(tmp_path), "R;CC;201001;20586908;4;1", cells)
    with pytest.raises(DatasetError, match=r"INbreast\.csv, line 2"):
        read_inbreast(root)


def test_a_column_of_findings_that_stands_twice_does_no_harm(tmp_path: Path) -> None:
    root = change(write_inbreast(tmp_path), "Mass ;Micros", "Mass ;mass")
    assert read_inbreast(root)["mass"].all()


def test_a_table_is_read_with_the_films_beside_it(tmp_path: Path) -> None:
    root = write_inbreast(tmp_path)
    pd.testing.assert_frame_equal(read_inbreast(root / "INbreast.csv"), read_inbreast(root))


def test_files_that_macos_adds_are_no_films(tmp_path: Path) -> None:
    for path in list((write_inbreast(tmp_path) / "AllDICOMs").iterdir()):
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7")
    assert len(read_inbreast(tmp_path)) == 5


def test_an_unknown_density_is_missing(tmp_path: Path) -> None:
    density = read_inbreast(write_inbreast(tmp_path), birads3="keep")["breast_density"]
    assert density.isna().tolist() == [False] * 4 + [True, False]


def test_findings_are_read_past_the_space_in_their_header(tmp_path: Path) -> None:
    frame = read_inbreast(write_inbreast(tmp_path))
    assert "Mass ;" in INBREAST_HEADER
    assert frame["mass"].all()
    assert not frame["micros"].any()


def test_a_spreadsheet_gives_the_same_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The official table is .xls: the same cells through pandas, numbers as floats."""
    root = write_inbreast(tmp_path)
    expected = read_inbreast(root)
    cells = pd.read_csv(root / "INbreast.csv", sep=";", dtype=str)
    cells["File Name"] += ".0"
    (root / "INbreast.xls").write_bytes(b"stands for a spreadsheet")
    monkeypatch.setattr(pd, "read_excel", lambda *_, **__: cells)
    pd.testing.assert_frame_equal(read_inbreast(root), expected)


def test_without_xlrd_the_csv_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    root = write_inbreast(tmp_path)
    (root / "INbreast.xls").write_bytes(b"stands for a spreadsheet")
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "xlrd" else find(name)
    )
    assert len(read_inbreast(root)) == 5
    (root / "INbreast.csv").unlink()
    with pytest.raises(DatasetError, match="pip install xlrd"):
        read_inbreast(root)


def test_a_damaged_spreadsheet_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("xlrd")
    root = write_inbreast(tmp_path)
    (root / "INbreast.xls").write_bytes(b"\xd0\xcf\x11\xe0" + bytes(2000))
    with pytest.raises(DatasetError, match="cannot be read as a spreadsheet"):
        read_inbreast(root)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("R;CC;201001;20586908", "L;CC;201001;20586908", "the other side"),
        ("R;CC;201001;20586908", "R;MLO;201001;20586908", "another view"),
        (";20586908;", ";99999999;", "there is no DICOM file of the film 99999999"),
        (";4;4a;", ";4;7;", "bi-rads is '7'"),
        (";4;4a;", ";9;4a;", "acr is '9'"),
        (";20586934;", ";20586908;", "an earlier row"),
        ("Bi-Rads", "BIRADS", "lacks the column.*bi-rads"),
    ],
)
def test_an_unsound_row_is_an_error(tmp_path: Path, old: str, new: str, message: str) -> None:
    root = change(write_inbreast(tmp_path), old, new)
    with pytest.raises(DatasetError, match=message):
        read_inbreast(root)


def test_strict_false_leaves_unsound_films_out(tmp_path: Path) -> None:
    root = change(write_inbreast(tmp_path), ";20586908;", ";99999999;")
    frame = read_inbreast(root, strict=False)
    assert len(frame) == 4
    problems = frame.attrs["report"].problems
    assert len(problems) == 2  # a row without a file, and a file without a row
    assert problems[0].row == 2


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:600]),
        lambda path: path.write_bytes(b""),
        lambda path: path.rename(path.with_name("20586908.dcm")),
        lambda path: (
            path.rename(path.with_suffix(".bak")) and path.symlink_to(path.with_suffix(".bak"))
        ),
    ],
    ids=["truncated", "empty", "renamed", "linked"],
)
def test_a_damaged_film_is_an_error(tmp_path: Path, damage: Callable[[Path], object]) -> None:
    root = write_inbreast(tmp_path)
    damage(root / "AllDICOMs" / "20586908_6c613a14b80a8591_MG_R_CC_ANON.dcm")
    with pytest.raises(DatasetError, match="20586908"):
        read_inbreast(root)
    assert len(read_inbreast(root, strict=False)) == 4


def test_text_in_latin_1_is_understood(tmp_path: Path) -> None:
    root = write_inbreast(tmp_path)
    path = root / "INbreast.csv"
    path.write_bytes(path.read_text().replace("removed", "nódulo").encode("latin-1"))
    assert len(read_inbreast(root)) == 5


@pytest.mark.parametrize("folder", ["INbreast Release 1.0", "archive"])
def test_the_release_may_lie_one_folder_down(tmp_path: Path, folder: str) -> None:
    write_inbreast(tmp_path / folder)
    assert len(read_inbreast(tmp_path)) == 5


def test_a_folder_without_a_table_is_refused_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no INbreast table.*fetch\('inbreast'\)"):
        read_inbreast(tmp_path)


def test_birads3_must_be_known(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="birads3"):
        read_inbreast(write_inbreast(tmp_path), birads3="positive")  # type: ignore[arg-type]


def test_the_real_table_has_the_published_counts() -> None:
    named = os.environ.get("MAMMOCOURSE_TEST_DATA")
    if not named:
        pytest.skip("MAMMOCOURSE_TEST_DATA is not set: INbreast.csv is not here")
    with pytest.warns(UserWarning, match="the table alone is read"):
        frame = read_inbreast(Path(named) / "INbreast.csv", birads3="keep")
    counts = frame["birads"].value_counts().sort_index().to_dict()
    assert counts == {1: 67, 2: 220, 3: 23, 4: 43, 5: 49, 6: 8}
    assert len(frame) == 410
    assert frame["view"].value_counts().to_dict() == {"MLO": 206, "CC": 203, "FB": 1}
    assert frame["label"].sum() == 100
    assert frame["patient_id"].isna().all()
    assert set(inbreast.VIEWS.values()) >= set(frame["view"])
