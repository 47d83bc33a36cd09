"""Whole mammograms from one global label: the patch classifier and its comparison by folds.

Section 4 of the AUC paper: a scanning network turns a film into a volume of patch features
(:mod:`mammocourse.scanner`), and the classifier of this module turns the volume into one
score. Section 5: the same classifier with the AUC loss and with the binary loss, and an SVM
on the features of the whole film made small, compared in five folds by patient.

Tables of films are in :mod:`mammocourse.films`, the classifier in
:mod:`mammocourse.patch_classifier`, scanner and classifier as one network in
:mod:`mammocourse.joined`, the number of patients that a comparison needs in
:mod:`mammocourse.power`; their functions can be imported from here as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mammocourse.films import (
    average_views,
    check_folds,
    checked_labels,
    film_table,
    fold_summary,
    pair_views,
    patient_folds,
    read_films,
)
from mammocourse.joined import (
    fit_joined,
    join_networks,
    joined_gradients,
    joined_scores,
    naming_image,
    prepare_film,
)
from mammocourse.patch_classifier import (
    PatchTrainer,
    _as_array,
    _check_counts,
    build_patch_classifier,
    two_view_classifier,
)
from mammocourse.patch_maps import paint_patch_map, patch_map
from mammocourse.power import Power, patients_needed, power_simulation
from mammocourse.splits import check_group_leakage

if TYPE_CHECKING:
    import keras
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "PatchTrainer",
    "Power",
    "average_views",
    "build_patch_classifier",
    "cross_validate",
    "cross_validate_joined",
    "film_table",
    "fit_joined",
    "fit_scores",
    "fold_summary",
    "join_networks",
    "joined_gradients",
    "joined_scores",
    "paint_patch_map",
    "pair_views",
    "patch_map",
    "patient_folds",
    "patients_needed",
    "power_simulation",
    "prepare_film",
    "read_films",
    "resized_features",
    "two_view_classifier",
]

METHODS = ("svm", "binary", "auc", "buffered")


def fit_scores(
    volumes: ArrayLike,
    labels: ArrayLike,
    train: ArrayLike,
    test: ArrayLike,
    *,
    loss: str = "auc",
    groups: ArrayLike | None = None,
    seeds: int = 1,
    trainer: PatchTrainer | None = None,
    epochs: int = 20,
    patience: int = 8,
    batch_size: int = 32,
    validation_fraction: float = 0.2,
    seed: int = 0,
    **architecture: Any,
) -> NDArray[np.float64]:
    """Train the patch classifier on some films and score others (AUC paper, section 5).

    Parameters
    ----------
    volumes : array_like of shape (n, height, width, features)
    labels : array_like of shape (n,)
        0 and 1. Those of the test films are not looked at.
    train, test : array_like of int
        Row numbers (or boolean masks) of the two parts.
    loss : {"auc", "buffered", "binary"}
    groups : array_like of shape (n,), optional
        The patient of each film. No patient may stand in both parts, and the inner validation
        part is made of whole patients.
    seeds : int
        Networks whose standardized scores are averaged; each sets other patients aside.
    trainer : PatchTrainer, optional
        Trained again instead of building a new graph; then ``loss`` and the architecture are
        the trainer's.
    epochs, patience, batch_size, validation_fraction, seed
        As in :meth:`PatchTrainer.fit`.
    **architecture
        As in :class:`PatchTrainer`: ``components``, ``filters``, ``units``, ``dropout``, ``l2``,
        ``learning_rate``.

    Returns
    -------
    ndarray of shape (n_test,)
        Larger for positive; on the scale of logits with one seed, in standard deviations of
        the scores of the training films, averaged, with several.

    Raises
    ------
    LeakageError
        If a patient stands in both parts.
    ValueError
        If an argument is not as described.
    """
    volumes = _as_array(volumes)
    n = len(volumes)  # type: ignore[arg-type]
    for name, values in (("labels", labels), ("groups", groups)):
        if values is not None and np.shape(values) != (n,):
            raise ValueError(f"{name} has shape {np.shape(values)}; give one entry per film ({n}).")
    train, test = _rows("train", train, n), _rows("test", test, n)
    (seeds,) = _check_counts("seeds", (seeds,))
    everything = pd.DataFrame({"patient_id": np.arange(n) if groups is None else groups})
    check_group_leakage(everything.iloc[train], everything.iloc[test])
    if trainer is None:
        trainer = PatchTrainer(np.shape(volumes)[1:], loss=loss, **architecture)
    elif architecture:
        raise ValueError(f"{sorted(architecture)} are the trainer's; give them to PatchTrainer.")
    y, patients = np.asarray(labels)[train], everything["patient_id"].to_numpy()[train]
    training = _Rows(volumes, train)
    scores = []
    for number in range(seed, seed + seeds):
        trainer.fit(
            training,  # type: ignore[arg-type]
            y,
            patients,
            epochs=epochs,
            patience=patience,
            batch_size=batch_size,
            validation_fraction=validation_fraction,
            seed=number,
        )
        found = trainer.predict(_Rows(volumes, test))  # type: ignore[arg-type]
        if seeds > 1:
            own = trainer.predict(training)  # type: ignore[arg-type]
            found = (found - own.mean()) / max(own.std(), 1e-12)
        scores.append(found)
    return np.mean(scores, axis=0)


def cross_validate(
    volumes: ArrayLike,
    frame: pd.DataFrame,
    *,
    methods: Sequence[str] = ("svm", "binary", "auc"),
    folds: ArrayLike | None = None,
    resized: ArrayLike | None = None,
    seeds: int = 1,
    seed: int = 0,
    epochs: int = 20,
    patience: int = 8,
    batch_size: int = 32,
    validation_fraction: float = 0.2,
    **architecture: Any,
) -> pd.DataFrame:
    """Score every film by networks that saw none of its patient (AUC paper, Table 1).

    Parameters
    ----------
    volumes : array_like of shape (n, height, width, features)
        Patch volumes, in the order of ``frame``.
    frame : DataFrame
        Of :func:`~mammocourse.films.film_table`: ``id, patient_id, label``.
    methods : sequence of {"svm", "binary", "auc", "buffered"}
        "svm" is baseline 1, on ``resized``; "binary" is baseline 2; "auc" the proposed method
        with all pairs of a batch, "buffered" with the paper's buffers.
    folds : array_like of shape (n,), optional
        Of :func:`~mammocourse.films.patient_folds`, which is called where it is left out. All
        methods share them.
    resized : array_like of shape (n, m), optional
        Features of the films made small (:func:`resized_features`), for "svm".
    seeds, seed, epochs, patience, batch_size, validation_fraction, **architecture
        As in :func:`fit_scores`.

    Returns
    -------
    DataFrame
        ``id, group, label, score, model, fold``: a row per film and method, which
        :func:`~mammocourse.films.fold_summary` summarizes and
        :func:`mammocourse.predictions.write_predictions` stores.

    Raises
    ------
    LeakageError
        If a patient stands in two folds.
    ValueError
        If an argument is not as described.
    """
    volumes = _as_array(volumes)
    labels = _checked(frame, volumes)
    unknown = [name for name in methods if name not in METHODS]
    if unknown or len(methods) == 0:
        raise ValueError(f"methods holds {unknown}; choose from {', '.join(METHODS)}.")
    folds = patient_folds(frame, seed=seed) if folds is None else np.asarray(folds)
    check_folds(frame, folds)
    groups = frame["patient_id"].to_numpy()
    parts = []
    for method in methods:
        scores = np.empty(len(frame))
        trainer = None
        if method != "svm":
            trainer = PatchTrainer(np.shape(volumes)[1:], loss=method, **architecture)
        for number in np.unique(folds):
            train, test = np.flatnonzero(folds != number), np.flatnonzero(folds == number)
            if trainer is None:
                scores[test] = _svm_scores(resized, labels, train, test)
                continue
            scores[test] = fit_scores(
                volumes,
                labels,
                train,
                test,
                groups=groups,
                trainer=trainer,
                seeds=seeds,
                seed=seed,
                epochs=epochs,
                patience=patience,
                batch_size=batch_size,
                validation_fraction=validation_fraction,
            )
        parts.append(_predictions(frame, labels, scores, method, folds))
    return pd.concat(parts, ignore_index=True)


def cross_validate_joined(
    images: Sequence[Any],
    volumes: ArrayLike,
    frame: pd.DataFrame,
    scanner: keras.Model,
    *,
    folds: ArrayLike | None = None,
    only: Sequence[int] | None = None,
    seed: int = 0,
    fine_tuning: dict[str, Any] | None = None,
    training: dict[str, Any] | None = None,
    **architecture: Any,
) -> pd.DataFrame:
    """Score films before and after scanner and classifier were fine-tuned together.

    In each fold the classifier is trained on the volumes with the AUC loss, as in
    :func:`cross_validate`; then it is joined with a copy of the scanner, and
    :func:`~mammocourse.joined.fit_joined` goes on with both, on all films of the other folds.

    Parameters
    ----------
    images : sequence of ndarray of shape (height, width), or of paths
        The films, in the order of ``frame``.
    volumes, frame, folds, seed
        As in :func:`cross_validate`; ``volumes`` are of ``scanner``.
    scanner : keras.Model
        It keeps its weights.
    only : sequence of int, optional
        Folds to run; without it all. The others' films are not in the result.
    fine_tuning : dict, optional
        Arguments of ``fit_joined``: ``epochs, batch_size, learning_rate, ...``.
    training : dict, optional
        Arguments of :meth:`~mammocourse.patch_classifier.PatchTrainer.fit`.
    **architecture
        As in :class:`~mammocourse.patch_classifier.PatchTrainer`.

    Returns
    -------
    DataFrame
        As :func:`cross_validate`, with the models "auc" (before) and "joined" (after).

    Raises
    ------
    LeakageError
        If a patient stands in two folds.
    ValueError
        If an argument is not as described.
    """
    from mammocourse.scanner import strided_scanner

    volumes = _as_array(volumes)
    labels = _checked(frame, volumes)
    if len(images) != len(frame):
        raise ValueError(f"images holds {len(images)} films, frame {len(frame)}.")
    folds = patient_folds(frame, seed=seed) if folds is None else np.asarray(folds)
    check_folds(frame, folds)
    groups = frame["patient_id"].to_numpy()
    trainer = PatchTrainer(np.shape(volumes)[1:], loss="auc", **architecture)
    eyes = strided_scanner(scanner, (1, 1))
    parts = []
    for number in np.unique(folds) if only is None else only:
        train, test = np.flatnonzero(folds != number), np.flatnonzero(folds == number)
        if len(test) == 0:
            raise ValueError(f"only names fold {number}; the folds are {np.unique(folds)}.")
        before = fit_scores(
            volumes,
            labels,
            train,
            test,
            groups=groups,
            trainer=trainer,
            seed=seed,
            **(training or {}),
        )
        eyes.set_weights(scanner.get_weights())
        options = {"seed": seed, **(fine_tuning or {})}
        fit_joined(eyes, trainer.model, [images[int(k)] for k in train], labels[train], **options)
        after = joined_scores(eyes, trainer.model, [images[int(k)] for k in test])
        parts += [
            _predictions(frame.iloc[test], labels[test], scores, name, number)
            for name, scores in (("auc", before), ("joined", after))
        ]
    table = pd.concat(parts, ignore_index=True)
    return table.sort_values("model", kind="stable", ignore_index=True)


def _svm_scores(
    resized: Any, labels: NDArray[Any], train: NDArray[Any], test: NDArray[Any]
) -> NDArray[Any]:
    """Return the scores of baseline 1: a linear SVM on standardized features."""
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    if resized is None or np.ndim(resized) != 2 or len(resized) != len(labels):
        raise ValueError(
            "method 'svm' needs resized, an array of shape (films, features) from "
            f"resized_features; got shape {None if resized is None else np.shape(resized)}."
        )
    features = np.asarray(resized, np.float64)
    machine = make_pipeline(StandardScaler(), SVC(kernel="linear", C=1 / features.shape[1]))
    machine.fit(features[train], labels[train])
    return machine.decision_function(features[test])


def resized_features(
    images: Sequence[Any], scanner: keras.Model, *, size: int = 224, batch_size: int = 16
) -> NDArray[np.float32]:
    """Describe each film by the features of a small copy (baseline 1 of the AUC paper).

    The film is cropped to the breast and resized to ``size`` x ``size`` pixels, whatever its
    shape, as in the paper. A scanner whose window is larger sees the small film in the middle
    of a black square; where there are several windows, their features are averaged.

    Parameters
    ----------
    images : sequence of ndarray of shape (height, width), or of paths
        uint8 or uint16; paths are read by ``load_image``.
    scanner : keras.Model
        Of :func:`mammocourse.models.build_scanner`.
    size : int
        Side in pixels.
    batch_size : int
        Films at a time.

    Returns
    -------
    ndarray of shape (n, features), float32

    Raises
    ------
    ValueError
        If there are no films, a film cannot be used, or an argument is not positive.
    """
    from mammocourse.scanner import receptive_field

    size, batch_size = _check_counts("size, batch_size", (size, batch_size))
    if len(images) == 0:
        raise ValueError("images is empty; give at least one film.")
    missing = max(0, receptive_field(scanner).window - size)
    margin = ((missing // 2, missing - missing // 2),) * 2
    parts = []
    for start in range(0, len(images), batch_size):
        small = []
        for number, film in enumerate(images[start:][:batch_size], start):
            with naming_image(number):
                small.append(np.pad(_small_film(film, size), margin))
        features = scanner.predict_on_batch(np.stack(small)[..., None])
        parts.append(np.asarray(features, np.float32).mean(axis=(1, 2)))
    return np.concatenate(parts)


def _small_film(film: Any, size: int) -> NDArray[np.float32]:
    """Return a film cropped to the breast, scaled to [0, 1] as for the scan, and resized."""
    from mammocourse.datasets import load_image
    from mammocourse.preprocessing import find_breast, resize_image
    from mammocourse.scanner import cut_out

    image = film if isinstance(film, np.ndarray) else load_image(film)
    edges = [(part.start, part.stop) for part in find_breast(image)]
    return resize_image(cut_out(image, edges), (size, size))


class _Rows:
    """Some rows of an array, without a copy until they are asked for."""

    def __init__(self, values: Any, rows: NDArray[np.intp]) -> None:
        self._values, self.rows = values, rows
        self.shape = (len(rows), *np.shape(values)[1:])

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> Any:
        return self._values[self.rows[index]]


def _checked(frame: pd.DataFrame, volumes: Any) -> NDArray[np.int64]:
    """Return the labels of a table of films that fits its volumes."""
    labels = checked_labels(frame)
    if "id" not in frame:
        raise ValueError("frame has no column 'id'; make it with film_table.")
    if len(frame) != len(volumes):
        raise ValueError(
            f"volumes holds {len(volumes)} films, frame {len(frame)}; give one volume per row of "
            "frame, in its order."
        )
    return labels


def _predictions(
    frame: pd.DataFrame, labels: Any, scores: Any, model: str, fold: Any
) -> pd.DataFrame:
    """Return a table of predictions (:mod:`mammocourse.predictions`) with the folds."""
    columns = {"id": frame["id"].to_numpy(), "group": frame["patient_id"].to_numpy()}
    return pd.DataFrame({**columns, "label": labels, "score": scores, "model": model, "fold": fold})


def _rows(name: str, rows: Any, n: int) -> NDArray[np.intp]:
    """Return row numbers; a mask becomes its rows."""
    rows = np.asarray(rows)
    if rows.dtype == bool and rows.shape == (n,):
        rows = np.flatnonzero(rows)
    integers = rows.ndim == 1 and np.issubdtype(rows.dtype, np.integer)
    if not integers or len(rows) == 0 or rows.min() < 0 or rows.max() >= n:
        raise ValueError(f"{name} must hold row numbers from 0 to {n - 1}, or a mask of {n} films.")
    return rows.astype(np.intp)
