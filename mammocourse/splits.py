"""Training, validation and test parts, by patient or by image, and what leaks between them.

A patient has several images: two views of one lesion, several lesions, two
breasts. If they stand on both sides of a split, a model that recognizes the
patient looks as if it recognized cancer. The thesis (section 4.2) pooled the
official sets of CBIS-DDSM and split by crop; ``split_by_image`` does the same,
``split_by_patient`` is what to use, and ``patient_overlap`` and
``identity_baseline`` measure the difference from the tables alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd

__all__ = [
    "IdentityBaseline",
    "LeakageError",
    "Overlap",
    "check_group_leakage",
    "identity_baseline",
    "measure_leakage",
    "patient_overlap",
    "split_by_image",
    "split_by_patient",
    "split_officially",
]

Parts = tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]

_SIDES = ("train", "val", "test")


class LeakageError(ValueError):
    """A patient (or another group) stands in more than one part of a split."""


class Overlap(NamedTuple):
    """What the rows of a test part share with the training part."""

    patient: float
    """Share of the test rows whose patient is in training, 0 to 1."""
    lesion: float
    """Share of the test rows whose lesion is in training (in its other view), 0 to 1."""
    n_rows: int
    """Number of test rows."""


class IdentityBaseline(NamedTuple):
    """How well the name of the patient predicts the label, without any image."""

    accuracy: float
    """Accuracy on the test rows whose patient is in training; NaN if there are none."""
    accuracy_all: float
    """Accuracy on all test rows; the training majority predicts the other patients."""
    n_known: int
    """Number of test rows whose patient is in training."""
    n_rows: int
    """Number of test rows."""


def split_by_patient(
    frame: pd.DataFrame, fractions: Sequence[float] = (0.8, 0.1, 0.1), seed: int = 0
) -> Parts:
    """Split a frame into three parts so that no patient stands in two of them.

    Patients with a malignant row and patients without one are divided
    separately (a patient with both labels counts as malignant), each in a
    random order that is cut where the number of rows comes closest to the
    fractions. A class with at least as many patients as there are parts is in
    every part.

    Parameters
    ----------
    frame : DataFrame
        One row per image or lesion, with the columns ``patient_id`` and ``label``
        (1 malignant, 0 benign).
    fractions : sequence of 3 floats
        Shares of the rows in training, validation and test: not negative, sum 1.
        A part with the fraction 0 is empty.
    seed : int
        Seed of the order of the patients, 0 to 2**32 - 1. The sides depend on the
        seed, the patients and their numbers of rows, not on the order of the rows.

    Returns
    -------
    train, val, test : DataFrame
        Rows of ``frame`` in their order, with their index.

    Raises
    ------
    ValueError
        If an argument is not as described, or a part would lack a class.
    """
    _require(frame, "patient_id", "label")
    shares = _check(frame, fractions, seed)
    codes, _ = pd.factorize(frame["patient_id"], sort=True)
    rows = np.bincount(codes)
    malignant = np.bincount(codes, weights=frame["label"].to_numpy().astype(bool)) > 0
    side_of = np.empty(len(rows), dtype=int)
    rng = np.random.default_rng(seed)
    for stratum in (False, True):
        order = rng.permutation(np.flatnonzero(malignant == stratum))
        edges = _cut(rows[order], shares)
        side_of[order] = np.searchsorted(edges, np.arange(len(order)), side="right")
    return _parts(frame, side_of[codes], shares, "patients")


def split_by_image(
    frame: pd.DataFrame, fractions: Sequence[float] = (0.8, 0.1, 0.1), seed: int = 0
) -> Parts:
    """Split a frame row by row, as the thesis did (section 4.2): its patients leak.

    For comparison only; use ``split_by_patient`` for results.

    Parameters
    ----------
    frame : DataFrame
        One row per image or lesion, with the column ``label`` (1 malignant, 0 benign).
    fractions : sequence of 3 floats
        Shares of the rows in training, validation and test, the same within
        each class: not negative, sum 1. A part with the fraction 0 is empty.
    seed : int
        Seed of scikit-learn's ``train_test_split``, 0 to 2**32 - 1.

    Returns
    -------
    train, val, test : DataFrame
        Rows of ``frame`` in their order, with their index.

    Raises
    ------
    ValueError
        If an argument is not as described, or a part would lack a class.
    """
    from sklearn.model_selection import train_test_split

    _require(frame, "label")
    shares = _check(frame, fractions, seed)
    side = np.empty(len(frame), dtype=int)
    rest, labels = np.arange(len(frame)), frame["label"].to_numpy()
    for number, share in enumerate(shares):
        left = shares[number:].sum()
        if share > 0 and share < left:
            try:
                chosen, rest = train_test_split(
                    rest, train_size=share / left, stratify=labels[rest], random_state=int(seed)
                )
            except ValueError as error:  # fewer rows of a class than scikit-learn can divide
                raise ValueError(
                    f"a part would hold no row of one class: there are too few rows ({error})"
                ) from error
            side[chosen] = number
        elif share > 0:  # the last part that holds anything
            side[rest] = number
            break
    return _parts(frame, side, shares, "rows")


def split_officially(frame: pd.DataFrame, val_fraction: float = 0.1, seed: int = 0) -> Parts:
    """Return the official test part; divide the official training part by patient.

    Parameters
    ----------
    frame : DataFrame
        With the columns ``patient_id``, ``label`` and ``split`` ("train" or "test").
    val_fraction : float
        Share of the official *training* rows that is kept for validation, at
        least 0 and below 1.
    seed : int
        Seed of the validation part, 0 to 2**32 - 1; the test part makes no use of it.

    Returns
    -------
    train, val, test : DataFrame
        Rows of ``frame`` in their order, with their index.

    Raises
    ------
    LeakageError
        If a patient is in both official parts. That happens when masses and
        calcifications of CBIS-DDSM are pooled.
    ValueError
        If an argument is not as described, or a part would lack a class.
    """
    _require(frame, "patient_id", "label", "split")
    unknown = frame.loc[~frame["split"].isin(["train", "test"]), "split"]
    if len(unknown):
        raise ValueError(
            f"the column 'split' holds {unknown.iloc[0]!r}; it must hold 'train' or 'test'."
        )
    if not 0 <= val_fraction < 1:
        raise ValueError(f"val_fraction is {val_fraction!r}; it must be at least 0 and below 1.")
    official, test = frame[frame["split"] == "train"], frame[frame["split"] == "test"]
    check_group_leakage(official, test)
    train, val, _ = split_by_patient(official, (1 - val_fraction, val_fraction, 0), seed)
    _check_classes((train, val, test), (1, val_fraction, 1), "patients")
    return train, val, test


def check_group_leakage(*frames: pd.DataFrame, group: str = "patient_id") -> None:
    """Raise if a group (a patient) stands in more than one of the frames.

    Parameters
    ----------
    *frames : DataFrame
        Two or more parts of a split, each with the column ``group``; a part may be empty.
    group : str
        Column that must not be shared, for instance "patient_id" or "lesion_id".

    Raises
    ------
    LeakageError
        If two frames share a value of ``group``. The message counts and names them.
    ValueError
        If there are fewer than two frames, or one lacks the column or a value of it.
    """
    if len(frames) < 2:
        raise ValueError(f"{len(frames)} frame(s) given; a leak needs at least two to compare.")
    for frame in frames:
        _require(frame, group, empty=True)
    found = []
    for (i, first), (j, second) in combinations(enumerate(frames), 2):
        shared = sorted(set(first[group]) & set(second[group]), key=str)
        if shared:
            names = ", ".join(map(str, shared[:5])) + (", ..." if len(shared) > 5 else "")
            found.append(f"{len(shared)} in frames {i} and {j} ({names})")
    if found:
        raise LeakageError(
            f"values of {group!r} stand in more than one frame: {'; '.join(found)}. "
            "Split by patient (split_by_patient), or drop these rows from the training part."
        )


def patient_overlap(train: pd.DataFrame, test: pd.DataFrame) -> Overlap:
    """Measure how much of a test part shows patients and lesions of the training part.

    Parameters
    ----------
    train, test : DataFrame
        With the column ``patient_id``, and ``lesion_id`` where lesions are known.

    Returns
    -------
    Overlap
        ``lesion`` is NaN where a frame has no column ``lesion_id``.

    Raises
    ------
    ValueError
        If a frame lacks ``patient_id`` or the test part is empty.
    """
    for frame in (train, test):
        _require(frame, "patient_id")
    lesions = "lesion_id" in train and "lesion_id" in test
    patient = float(test["patient_id"].isin(train["patient_id"]).mean())
    lesion = float(test["lesion_id"].isin(train["lesion_id"]).mean()) if lesions else float("nan")
    return Overlap(patient, lesion, len(test))


def identity_baseline(train: pd.DataFrame, test: pd.DataFrame) -> IdentityBaseline:
    """Predict each test label by the majority label of that patient's training rows.

    A tie counts as benign, the more frequent class of CBIS-DDSM's masses.

    Parameters
    ----------
    train, test : DataFrame
        With the columns ``patient_id`` and ``label`` (1 malignant, 0 benign).

    Returns
    -------
    IdentityBaseline

    Raises
    ------
    ValueError
        If a frame lacks a column or is empty.
    """
    for frame in (train, test):
        _require(frame, "patient_id", "label")
    share = test["patient_id"].map(train.groupby("patient_id")["label"].mean())
    known = share.notna()
    right = (share.fillna(train["label"].mean()) > 0.5) == test["label"].astype(bool)
    accuracy = float(right[known].mean()) if known.any() else float("nan")
    return IdentityBaseline(accuracy, float(right.mean()), int(known.sum()), len(test))


def measure_leakage(
    frame: pd.DataFrame, *, test_fraction: float = 0.2, seeds: Iterable[int] = range(50)
) -> pd.DataFrame:
    """Split by image again and again and measure what leaks, from the table alone.

    Parameters
    ----------
    frame : DataFrame
        With the columns ``patient_id``, ``lesion_id`` and ``label``.
    test_fraction : float
        Share of the rows in the test part, between 0 and 1.
    seeds : iterable of int
        One split for each.

    Returns
    -------
    DataFrame
        One row per seed with the columns ``patient`` and ``lesion`` of ``Overlap``,
        ``accuracy`` and ``accuracy_all`` of ``IdentityBaseline``.

    Raises
    ------
    ValueError
        As ``split_by_image`` and ``patient_overlap``.
    """
    rows = []
    for seed in seeds:
        train, _, test = split_by_image(frame, (1 - test_fraction, 0, test_fraction), seed)
        overlap, identity = patient_overlap(train, test), identity_baseline(train, test)
        rows.append((overlap.patient, overlap.lesion, identity.accuracy, identity.accuracy_all))
    return pd.DataFrame(rows, columns=["patient", "lesion", "accuracy", "accuracy_all"])


def _check(frame: pd.DataFrame, fractions: Sequence[float], seed: int) -> np.ndarray:
    """Return the three fractions as an array; raise if they, the seed or the labels are wrong."""
    try:
        shares = np.asarray(fractions, dtype=float)
    except (TypeError, ValueError):
        shares = np.array(np.nan)
    if shares.shape != (3,) or not (shares >= 0).all() or abs(shares.sum() - 1) > 1e-9:
        raise ValueError(
            f"fractions is {fractions!r}; it must be three shares (train, val, test) that are "
            "not negative and add up to 1, such as (0.8, 0.1, 0.1)."
        )
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**32:
        raise ValueError(f"seed is {seed!r}; it must be an integer from 0 to 2**32 - 1.")
    labels = set(frame["label"])
    if labels != {0, 1}:
        raise ValueError(
            f"the column 'label' holds {sorted(labels, key=str)}; a stratified split needs "
            "both 0 (benign) and 1 (malignant), and nothing else."
        )
    return shares


def _parts(frame: pd.DataFrame, side: np.ndarray, shares: np.ndarray, units: str) -> Parts:
    """Return the rows of each side in their order, after a look at their classes."""
    train, val, test = (frame[side == number].copy() for number in range(3))
    _check_classes((train, val, test), shares, units)
    return train, val, test


def _cut(rows: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Return the two places where groups with so many rows are cut, in their order."""
    reached = np.concatenate([[0], np.cumsum(rows)])
    edges = [int(np.abs(reached - share * reached[-1]).argmin()) for share in np.cumsum(shares)[:2]]
    wanted = shares > 0
    if len(rows) >= wanted.sum():  # enough groups: each wanted part gets at least one
        edges[0] = int(np.clip(edges[0], wanted[0], len(rows) - wanted[1:].sum()))
        edges[1] = int(np.clip(edges[1], edges[0] + wanted[1], len(rows) - wanted[2]))
    return np.array(edges)


def _check_classes(
    parts: Sequence[pd.DataFrame], shares: Sequence[float] | np.ndarray, units: str
) -> None:
    """Raise if a part that should hold rows lacks one of the two classes."""
    for name, part, share in zip(_SIDES, parts, shares, strict=True):
        for label, word in ((0, "benign"), (1, "malignant")):
            if share > 0 and not (part["label"] == label).any():
                raise ValueError(
                    f"the part {name!r} would hold no {word} row (label {label}): there are too "
                    f"few {units} of that class. Use more data or fewer parts (a fraction of 0)."
                )


def _require(frame: pd.DataFrame, *columns: str, empty: bool = False) -> None:
    """Raise if a column is missing or has missing values, or the frame is (wrongly) empty."""
    if len(frame) == 0 and not empty:
        raise ValueError("the frame has no rows; it must hold at least one.")
    for column in columns:
        if column not in frame:
            raise ValueError(
                f"the frame has no column {column!r}; its columns are {list(frame.columns)}."
            )
        missing = np.flatnonzero(frame[column].isna().to_numpy())
        if len(missing):
            raise ValueError(
                f"the column {column!r} is empty in {len(missing)} row(s), first in row "
                f"{missing[0]} (counted from 0); fill or drop them before splitting."
            )
