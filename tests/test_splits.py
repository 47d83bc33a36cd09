"""Splits: no patient on two sides, both classes in every part; leakage measured from tables."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mammocourse import splits
from mammocourse.splits import (
    LeakageError,
    check_group_leakage,
    identity_baseline,
    measure_leakage,
    patient_overlap,
    split_by_image,
    split_by_patient,
    split_officially,
)
from tolerances import FLOAT64

HALF_A_POINT = 0.005  # must-show 1 of the issue: the two figures within half a point


def table(patients: list[list[int]], order: np.ndarray | None = None) -> pd.DataFrame:
    """Return a frame with one row per label; ``patients[i]`` are the labels of patient i."""
    ids = [f"P_{i:05d}" for i, labels in enumerate(patients) for _ in labels]
    label = [value for labels in patients for value in labels]
    frame = pd.DataFrame({"patient_id": ids, "label": label})
    frame.index = pd.Index(range(100, 100 + len(frame)))  # an index that is not 0, 1, ...
    return frame if order is None else frame.iloc[order]


many_patients = st.lists(
    st.lists(st.integers(0, 1), min_size=1, max_size=6), min_size=2, max_size=60
)
all_fractions = st.sampled_from(
    [(0.8, 0.1, 0.1), (0.6, 0.2, 0.2), (0.7, 0.0, 0.3), (0.1, 0.8, 0.1)]
)
seeds = st.integers(0, 2**32 - 1)


def split_or_none(split, frame, fractions, seed):
    """Return the parts, or None where the split says that a class would be missing."""
    try:
        return split(frame, fractions, seed)
    except ValueError as error:
        assert "would hold no" in str(error) or "needs both" in str(error), error  # noqa: PT017
        return None


@settings(max_examples=150, deadline=None)
@given(many_patients, all_fractions, seeds, st.randoms())
def test_every_row_is_in_one_part_in_its_order(patients, fractions, seed, random):
    frame = table(patients)
    order = list(range(len(frame)))
    random.shuffle(order)
    frame = frame.iloc[order]
    for split in (split_by_patient, split_by_image):
        parts = split_or_none(split, frame, fractions, seed)
        if parts is not None:
            assert sorted(pd.concat(parts).index) == sorted(frame.index)
            for part in parts:
                pd.testing.assert_frame_equal(part, frame[frame.index.isin(part.index)])


@settings(max_examples=150, deadline=None)
@given(many_patients, all_fractions, seeds)
def test_no_patient_stands_in_two_parts_and_every_part_has_both_classes(patients, fractions, seed):
    parts = split_or_none(split_by_patient, table(patients), fractions, seed)
    if parts is not None:
        sets = [set(part["patient_id"]) for part in parts]
        assert len(set.union(*sets)) == sum(map(len, sets))
        for part, fraction in zip(parts, fractions, strict=True):
            assert set(part["label"]) == ({0, 1} if fraction > 0 else set())


@settings(max_examples=150, deadline=None)
@given(many_patients, all_fractions, seeds)
def test_enough_patients_of_each_class_are_always_split(patients, fractions, seed):
    patients = [[0], [0], [0], [1], [0, 1], [1, 1], *patients]
    assert split_or_none(split_by_patient, table(patients), fractions, seed) is not None


@settings(max_examples=150, deadline=None)
@given(many_patients, all_fractions, seeds)
def test_fractions_are_met_to_within_the_largest_patient_of_each_class(patients, fractions, seed):
    patients = [[0]] * 12 + [[1]] * 12 + patients
    frame = table(patients)
    malignant = frame.groupby("patient_id")["label"].transform("max")
    largest = frame.groupby(["patient_id"]).size().max()
    parts = split_by_patient(frame, fractions, seed)
    for part, fraction in zip(parts, fractions, strict=True):
        for label in (0, 1):
            expected = fraction * (malignant == label).sum()
            # two cuts, each off by at most half a patient; or moved to give each part one
            assert abs((malignant[part.index] == label).sum() - expected) <= 2 * largest


@settings(max_examples=50, deadline=None)
@given(many_patients, seeds, st.randoms())
def test_sides_do_not_depend_on_the_order_of_the_rows(patients, seed, random):
    frame = table([[0], [0], [0], [1], [1], [1], *patients])
    order = list(range(len(frame)))
    random.shuffle(order)
    first = split_by_patient(frame, seed=seed)
    second = split_by_patient(frame.iloc[order], seed=seed)
    for one, other in zip(first, second, strict=True):
        pd.testing.assert_frame_equal(one, other.sort_index())


def test_the_seed_repeats_a_split_and_another_seed_changes_it():
    frame = table([[0, 0], [1]] * 50)
    same, again, other = (split_by_patient(frame, seed=seed)[0] for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(same, again)
    assert not same.index.equals(other.index)


def test_images_are_split_with_equal_shares_of_both_classes():
    frame = table([[0] * 600, [1] * 400])
    for part, rows in zip(split_by_image(frame), (800, 100, 100), strict=True):
        assert (len(part), part["label"].mean()) == (rows, 0.4)


def test_a_patient_with_both_labels_counts_as_malignant():
    frame = table([[0, 0, 0, 1]] * 3 + [[0]] * 30)
    for part in split_by_patient(frame, (0.4, 0.3, 0.3)):
        assert (part["label"] == 1).sum() == 1


def test_parts_are_the_callers_own():
    frame = table([[0]] * 10 + [[1]] * 10)
    train, _, _ = split_by_patient(frame)
    train["label"] = 7
    assert set(frame["label"]) == {0, 1}


@pytest.mark.parametrize("split", [split_by_patient, split_by_image])
@pytest.mark.parametrize(
    ("patients", "message"),
    [
        ([[0]] * 20 + [[1]] * 2, "would hold no.*too few"),
        ([[1]] * 20 + [[0]] * 2, "would hold no.*too few"),
        ([[0]] * 20, r"'label' holds \[0\].*needs both 0"),
        ([[0], [1], [2]], r"'label' holds \[0, 1, 2\]"),
    ],
)
def test_a_missing_class_is_an_error_that_names_it(split, patients, message):
    with pytest.raises(ValueError, match=message):
        split(table(patients))


def test_the_part_and_the_class_that_is_missing_are_named():
    with pytest.raises(ValueError, match=r"'val' would hold no malignant row \(label 1\)"):
        split_by_patient(table([[0]] * 20 + [[1]] * 2))
    with pytest.raises(ValueError, match=r"'val' would hold no benign row \(label 0\)"):
        split_by_patient(table([[1]] * 20 + [[0]] * 2))


@pytest.mark.parametrize("split", [split_by_patient, split_by_image])
@pytest.mark.parametrize(
    "fractions",
    [(0.8, 0.2), (0.8, 0.1, 0.2), (1.1, 0.0, -0.1), (np.nan, 0.5, 0.5), "all", None, {"train": 1}],
)
def test_wrong_fractions_are_refused(split, fractions):
    with pytest.raises(ValueError, match="fractions is"):
        split(table([[0], [1]] * 20), fractions)


@pytest.mark.parametrize("seed", [-1, 0.5, True, None, 2**32])
def test_a_wrong_seed_is_refused(seed):
    with pytest.raises(ValueError, match="seed is"):
        split_by_patient(table([[0], [1]] * 20), seed=seed)


def test_missing_columns_values_and_rows_are_named():
    frame = table([[0], [1]] * 20)
    with pytest.raises(ValueError, match="no column 'patient_id'"):
        split_by_patient(frame.drop(columns="patient_id"))
    with pytest.raises(ValueError, match=r"'patient_id' is empty in 1 row\(s\), first in row 3"):
        split_by_patient(frame.assign(patient_id=frame["patient_id"].where(frame.index != 103)))
    with pytest.raises(ValueError, match="no rows"):
        split_by_patient(frame[:0])


def test_a_leak_is_named_with_its_patients_and_frames():
    train, val, test = table([[0], [1], [0]]), table([[0], [1]])[1:], table([[0]] * 9)[8:]
    with pytest.raises(LeakageError, match=r"'patient_id'.*1 in frames 0 and 1 \(P_00001\)\."):
        check_group_leakage(train, val, test)


def test_a_split_by_patient_passes_the_check_and_one_by_image_fails():
    frame = table([[0, 0, 0, 0], [1, 1, 1, 1]] * 30)
    check_group_leakage(*split_by_patient(frame))
    with pytest.raises(LeakageError):
        check_group_leakage(*split_by_image(frame))


def test_the_check_passes_over_an_empty_part():
    parts = split_by_patient(table([[0], [1]] * 20), (0.8, 0.0, 0.2))
    check_group_leakage(*parts)
    with pytest.raises(LeakageError, match="frames 0 and 2"):
        check_group_leakage(parts[0], parts[1], parts[0])


def test_the_check_refuses_rows_without_a_group():
    frame = table([[0], [1]])
    with pytest.raises(ValueError, match=r"'patient_id' is empty in 2 row\(s\)"):
        check_group_leakage(frame, frame.assign(patient_id=np.nan))


def test_the_check_takes_any_column_and_refuses_a_missing_one():
    frame = table([[0], [1]]).assign(lesion_id=["a", "b"])
    check_group_leakage(frame[:1], frame[1:], group="lesion_id")
    with pytest.raises(ValueError, match="no column 'breast'"):
        check_group_leakage(frame[:1], frame[1:], group="breast")
    with pytest.raises(ValueError, match="at least two"):
        check_group_leakage(frame)


def test_the_official_split_keeps_its_test_part_and_divides_training_by_patient():
    frame = table([[0, 0], [1, 1]] * 30)
    frame["split"] = np.where(frame["patient_id"] < "P_00040", "train", "test")
    train, val, test = split_officially(frame, 0.2)
    pd.testing.assert_frame_equal(test, frame[frame["split"] == "test"])
    check_group_leakage(train, val, test)
    assert (len(train), len(val)) == (64, 16)


def test_the_official_split_without_validation():
    frame = table([[0], [1]] * 4).assign(split=["train"] * 6 + ["test"] * 2)
    assert list(map(len, split_officially(frame, 0.0))) == [6, 0, 2]


def test_the_official_split_refuses_leaks_and_other_words():
    frame = table([[0, 0], [1, 1]] * 10)
    with pytest.raises(LeakageError):
        split_officially(frame.assign(split=["train", "test"] * 20))
    with pytest.raises(ValueError, match="'split' holds 'dev'"):
        split_officially(frame.assign(split="dev"))


def test_overlap_and_identity_against_a_table_counted_by_hand():
    train = pd.DataFrame(
        {
            "patient_id": ["a", "a", "a", "b", "b", "c"],
            "lesion_id": ["a1", "a1", "a2", "b1", "b2", "c1"],
            "label": [1, 1, 0, 0, 1, 0],
        }
    )
    test = pd.DataFrame(
        {
            "patient_id": ["a", "a", "b", "d"],
            "lesion_id": ["a1", "a3", "b1", "d1"],
            "label": [1, 0, 0, 1],
        }
    )
    assert patient_overlap(train, test) == (0.75, 0.5, 4)
    # a: 2 of 3 malignant, right once; b: a tie, benign, right; d: training has no majority, benign
    assert identity_baseline(train, test) == (2 / 3, 0.5, 3, 4)


def test_without_a_known_patient_or_lesion_column_the_shares_are_nan():
    train, test = table([[0], [1]]), table([[0]] * 3 + [[1]] * 2)[3:]
    assert np.isnan(patient_overlap(train, test).lesion)
    assert np.isnan(identity_baseline(train, test).accuracy)


def test_a_split_by_patient_leaves_nothing_to_identity():
    frame = table([[0, 0, 0], [1, 1]] * 40)
    train, _, test = split_by_patient(frame)
    assert patient_overlap(train, test).patient == 0


@pytest.fixture(scope="module")
def official_masses() -> pd.DataFrame:
    """Return the official mass tables, pooled."""
    folder = os.environ.get("MAMMOCOURSE_TEST_DATA")
    if not folder:
        pytest.skip("MAMMOCOURSE_TEST_DATA is not set: the official tables are not bundled")
    frames = []
    for split in ("train", "test"):
        file = Path(folder) / "cbis-ddsm-csv" / f"mass_case_description_{split}_set.csv"
        frames.append(pd.read_csv(file).assign(split=split))
    frame = pd.concat(frames, ignore_index=True)
    columns = [frame[name].astype(str) for name in ("left or right breast", "abnormality id")]
    frame["lesion_id"] = frame["patient_id"] + "_" + columns[0] + "_" + columns[1]
    frame["label"] = (frame["pathology"] == "MALIGNANT").astype(int)
    return frame


def test_official_tables_split_by_image_leak_as_stated(official_masses):
    leaks = measure_leakage(official_masses).mean()
    assert leaks["patient"] == pytest.approx(0.718, abs=HALF_A_POINT)
    assert leaks["lesion"] == pytest.approx(0.654, abs=HALF_A_POINT)
    assert leaks["accuracy"] == pytest.approx(0.96, abs=HALF_A_POINT)


def test_official_tables_split_by_patient_meet_the_fractions(official_masses):
    parts = split_by_patient(official_masses)
    check_group_leakage(*parts)
    shares = [len(part) / len(official_masses) for part in parts]
    np.testing.assert_allclose(shares, (0.8, 0.1, 0.1), atol=HALF_A_POINT)


def test_official_masses_keep_their_official_parts(official_masses):
    train, val, test = split_officially(official_masses)
    assert (len(train) + len(val), len(test)) == (1318, 378)


def test_fractions_that_add_up_but_for_rounding_are_allowed():
    assert abs(sum((0.7, 0.2, 0.1)) - 1) < FLOAT64
    assert len(split_by_patient(table([[0], [1]] * 10), (0.7, 0.2, 0.1))[0]) == 14


def test_every_public_name_exists():
    assert all(hasattr(splits, name) for name in splits.__all__)
