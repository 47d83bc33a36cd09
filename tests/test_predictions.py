"""The stored format of predictions: what is written is what is read, and nothing else."""

import os

import numpy as np
import pandas as pd
import pytest

from mammocourse.predictions import (
    available_predictions,
    predictions_path,
    read_predictions,
    write_predictions,
)
from mammocourse.tables import DatasetError


def table(**columns):
    frame = pd.DataFrame(
        {
            "id": ["0001", "NA", "c, d"],
            "group": ["P_00001", "P_00001", "2"],
            "label": [1, 0, 1],
            "score": [1 / 3, -1e-300, 7.0],
            "model": "lasso",
            "split": ["test", "test", "val"],
            "scale": "small",
        }
    )
    return frame.assign(**columns)


@pytest.mark.parametrize("optional", [True, False])
def test_what_is_written_is_read_to_the_last_digit(tmp_path, optional):
    frame = table() if optional else table()[["id", "group", "label", "score"]]
    path = tmp_path / "new" / "08_lasso.csv"
    write_predictions(path, frame.assign(secret="left out"))
    pd.testing.assert_frame_equal(read_predictions(path), frame, check_dtype=False)
    assert read_predictions(path).dtypes[["label", "score"]].tolist() == [np.int64, np.float64]


def test_types_that_others_use_are_taken(tmp_path):
    frame = table(id=[1, 2, 3], group=[7, 7, 8], label=[True, False, True]).set_index("split")
    write_predictions(tmp_path / "a.csv", frame)
    found = read_predictions(tmp_path / "a.csv")
    assert found["id"].tolist() == ["1", "2", "3"]
    assert found["label"].tolist() == [1, 0, 1]


def test_one_image_may_have_a_row_per_model(tmp_path):
    frame = pd.concat([table(), table(model="cnn")])
    write_predictions(tmp_path / "a.csv", frame)
    assert len(read_predictions(tmp_path / "a.csv")) == 6


BAD = [
    (table().drop(columns="group"), r"lacks the column\(s\) 'group'"),
    (table()[:0], "has no rows"),
    (table(label=[1, 2, 0]), "label is 2 in row 1; it must be 0 or 1"),
    (table(label=[1, np.nan, 0]), "label is nan in row 1"),
    (table(score=[1, np.nan, 0]), "score is nan in row 1; it must be a finite number"),
    (table(score=[1, 2, np.inf]), "score is inf in row 2"),
    (table(score=[1, "high", 2]), "score is 'high' in row 1"),
    (table(group=["a", None, "b"]), r"group is (None|nan) in row 1; it must not be empty"),
    (table(id=["a", " ", "b"]), "id is ' ' in row 1"),
    (table(split="dev"), "split is 'dev' in row 0; it must be one of train, val, test"),
    (table(scale="medium"), "scale is 'medium'"),
    (table(model=["a", None, "b"]), r"model is (None|nan) in row 1; it must not be empty"),
    (table(model=""), "model is '' in row 0"),
    (table(id=["a", "b\rc", "d"]), r"id is 'b\\rc' in row 1; it must not be empty, and stand on"),
    (table(group=["a", "b", "c\nd"]), "group is .* in row 2"),
    (table(id=["a", "a", "b"]), r"the id 'a' occurs twice for the same model \(row 1\)"),
]


@pytest.mark.parametrize(("frame", "message"), BAD)
def test_a_bad_table_is_refused_and_the_old_file_stays(tmp_path, frame, message):
    path = tmp_path / "a.csv"
    write_predictions(path, table())
    with pytest.raises(ValueError, match=message):
        write_predictions(path, frame)
    assert len(read_predictions(path)) == 3
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("frame", "message"), BAD)
def test_a_bad_file_is_refused_and_named(tmp_path, frame, message):
    path = tmp_path / "a.csv"
    frame.to_csv(path, index=False)
    with pytest.raises(DatasetError, match=r"a\.csv"):
        read_predictions(path)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b'id,group\n"', b"{}"])
def test_what_is_no_table_is_refused(tmp_path, content):
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(DatasetError, match=r"a\.csv"):
        read_predictions(tmp_path / "a.csv")


def test_a_missing_file_names_the_remedy(tmp_path):
    with pytest.raises(DatasetError, match="Run the chapter"):
        read_predictions(tmp_path / "a.csv")


def test_an_interrupted_write_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(pd.DataFrame, "to_csv", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_predictions(tmp_path / "a.csv", table())
    assert not list(tmp_path.iterdir())


def test_paths_follow_the_mode_and_are_found(tmp_path, monkeypatch):
    monkeypatch.setenv("MAMMOCOURSE_DATA", str(tmp_path))
    monkeypatch.setenv("MAMMOCOURSE_MODE", "full")
    assert predictions_path("08_lasso") == tmp_path / "predictions" / "full" / "08_lasso.csv"
    write_predictions(predictions_path("08_own"), table())
    assert available_predictions()["08_own"] == predictions_path("08_own")
    monkeypatch.setenv("MAMMOCOURSE_MODE", "small")
    assert "08_own" not in available_predictions()


@pytest.mark.parametrize("name", ["lasso", "8_lasso", "08_lasso.csv", "08_../x", None])
def test_a_wrong_name_is_refused(name):
    with pytest.raises(ValueError, match="name is"):
        predictions_path(name)


@pytest.mark.parametrize(
    "text",
    [
        "id,group,label,score\na,b,0,1,5\n",  # in every row
        "id,group,label,score\na,b,0,1\nc,d,1,2,5\n",
        "id,id,group,label,score\na,a,b,0,1\n",
    ],
)
def test_row_that_is_longer_than_the_header_is_refused(tmp_path, text):
    path = tmp_path / "wide.csv"
    path.write_text(text)
    with pytest.raises(DatasetError, match="no table of predictions"):
        read_predictions(path)


def test_other_columns_are_left_out(tmp_path):
    path = tmp_path / "more.csv"
    path.write_text("id,junk,group,label,score\na,7,b,0,1\n")
    assert list(read_predictions(path).columns) == ["id", "group", "label", "score"]


def test_numbers_and_texts_that_read_alike_are_one_id(tmp_path):
    with pytest.raises(ValueError, match=r"the id '7' occurs twice for the same model \(row 1\)"):
        write_predictions(tmp_path / "a.csv", table(id=[7, "7", 8]))


@pytest.mark.parametrize("kind", ["folder", "below a file", "long name"])
def test_a_path_that_cannot_be_written_is_named(tmp_path, kind):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("kept")
    path = {
        "folder": tmp_path / "folder",
        "below a file": tmp_path / "file" / "a.csv",
        "long name": tmp_path / ("a" * 254),
    }[kind]
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DatasetError) as caught:
        write_predictions(path, table())
    assert str(caught.value).startswith(f"{path} cannot be written (")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_permissions_are_those_of_any_new_file(tmp_path, mask):
    old = os.umask(mask)
    try:
        write_predictions(tmp_path / "a.csv", table())
    finally:
        os.umask(old)
    assert (tmp_path / "a.csv").stat().st_mode & 0o777 == 0o666 & ~mask
