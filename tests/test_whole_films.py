"""Whole films: tables, folds, the patch classifier, joined fine-tuning, maps and power."""

from __future__ import annotations

import itertools
import math
import warnings
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn
from packaging.version import Version
from scipy import stats
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold

from mammocourse import phantom
from mammocourse.datasets import load_image, read_cbis_ddsm, read_inbreast
from mammocourse.films import checked_labels
from mammocourse.metrics import IntervalWarning, delong_test, paired_bootstrap_auc, roc_auc_ci
from mammocourse.power import paired_auc_tests, patients_needed, power_simulation
from mammocourse.splits import LeakageError, split_by_patient
from mammocourse.tables import DatasetError
from mammocourse.whole_films import (
    PatchTrainer,
    average_views,
    build_patch_classifier,
    cross_validate,
    cross_validate_joined,
    film_table,
    fit_joined,
    fit_scores,
    fold_summary,
    join_networks,
    joined_gradients,
    joined_scores,
    paint_patch_map,
    pair_views,
    patch_map,
    patient_folds,
    prepare_film,
    read_films,
    resized_features,
    two_view_classifier,
)
from tolerances import FLOAT32, FLOAT64, MONTE_CARLO_ERRORS

keras = pytest.importorskip("keras")

TINY: dict[str, Any] = {"components": 3, "filters": (8, 8), "units": (8,), "dropout": 0.1}


# --- tables of films


@pytest.fixture(scope="module")
def films() -> phantom.Phantom:
    return phantom.make_mammograms(
        14, prevalence=0.5, seed=4, link="sharp", size=(128, 96), contrast=2.0
    )


def test_film_table_of_the_phantom_follows_birads(films: phantom.Phantom) -> None:
    table = film_table(films.metadata)
    digit = films.metadata["birads"].str[0].astype(int)
    assert (digit == 3).any()
    assert table.index.tolist() == np.flatnonzero(digit != 3).tolist()
    assert table["label"].tolist() == (digit[table.index] >= 4).astype(int).tolist()
    assert table["id"].is_unique
    assert table["breast"].iloc[0] == "P_00001_" + films.metadata["laterality"].iloc[0]


def test_birads_3_can_be_negative_or_kept_without_a_label(films: phantom.Phantom) -> None:
    third = films.metadata["birads"] == "3"
    negative = film_table(films.metadata, birads3="negative")
    kept = film_table(films.metadata, birads3="keep")
    assert len(negative) == len(kept) == len(films)
    assert (negative.loc[third, "label"] == 0).all()
    assert kept["label"].isna().tolist() == third.tolist()


def test_inbreast_patients_are_the_second_token_of_the_file_name(tmp_path: Any) -> None:
    phantom.write_inbreast(tmp_path / "x", 8, seed=1, size=(96, 64))
    table = read_films(tmp_path / "x", "inbreast")
    names = table["image_path"].map(lambda path: path.rsplit("/", 1)[1].split("_")[1])
    assert table["patient_id"].tolist() == names.tolist()
    assert set(table["birads"]) <= {1, 2, 4, 5, 6}
    assert ((table["birads"] >= 4) == table["label"]).all()
    again = film_table(read_inbreast(tmp_path / "x", birads3="keep"))
    pd.testing.assert_frame_equal(again, table)


def test_cbis_films_are_positive_where_any_lesion_is_malignant(tmp_path: Any) -> None:
    phantom.write_cbis_ddsm(tmp_path / "x", 6, seed=1, size=(128, 96))
    rows = read_cbis_ddsm(tmp_path / "x", image="full", abnormality="mass")
    table = read_films(tmp_path / "x", "cbis-ddsm", abnormality="mass")
    malignant = {
        uid
        for uid, word in zip(rows["image_uid"], rows["pathology"], strict=True)
        if word == "MALIGNANT"
    }
    assert len(table) == rows["image_uid"].nunique() < len(rows)
    assert set(table.loc[table["label"] == 1, "id"]) == malignant
    with pytest.raises(ValueError, match='image="full"'):
        film_table(read_cbis_ddsm(tmp_path / "x"))


def test_film_table_names_what_is_wrong(films: phantom.Phantom) -> None:
    with pytest.raises(ValueError, match="birads3 is 'positive'"):
        film_table(films.metadata, birads3="positive")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="give what read_inbreast"):
        film_table(pd.DataFrame({"label": [0]}))
    alone = films.metadata.assign(patient_id=None)
    with pytest.raises(ValueError, match="also holds AllDICOMs"):
        film_table(alone)
    with pytest.raises(ValueError, match="stands in two rows"):
        film_table(pd.concat([films.metadata, films.metadata]))


@pytest.mark.parametrize("dataset", ["inbreast", "cbis-ddsm"])
def test_a_missing_download_is_explained(tmp_path: Any, dataset: Any) -> None:
    with pytest.raises(DatasetError, match="still runs: make_mammograms"):
        read_films(tmp_path, dataset)
    with pytest.raises(ValueError, match="dataset is 'ddsm'"):
        read_films(tmp_path, "ddsm")  # type: ignore[arg-type]


# --- folds and their summary


def patients(n: int, films: int = 3, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    cancer = np.arange(n) % 3 == 0
    rows = [
        {"id": f"{p}-{k}", "patient_id": f"p{p}", "label": int(cancer[p] and k < 2)}
        for p in rng.permutation(n)
        for k in range(films)
    ]
    return pd.DataFrame(rows)


def test_folds_keep_patients_together_and_classes_balanced() -> None:
    frame = patients(60)
    folds = patient_folds(frame, 5, seed=2)
    assert frame.groupby("patient_id")["label"].size().eq(3).all()
    assert pd.Series(folds).groupby(frame["patient_id"].to_numpy()).nunique().max() == 1
    assert sorted(set(folds)) == [0, 1, 2, 3, 4]
    assert np.array_equal(folds, patient_folds(frame, 5, seed=2))
    assert not np.array_equal(folds, patient_folds(frame, 5, seed=3))


@pytest.mark.parametrize("seed", range(5))
def test_folds_have_their_shares_of_positive_films(seed: int) -> None:
    frame = patients(60)
    shares = frame["label"].groupby(patient_folds(frame, 5, seed=seed)).mean()
    assert np.ptp(shares) <= 2 / 36  # one patient more or less


@pytest.mark.skipif(
    Version(sklearn.__version__) < Version("1.8"),
    reason="scikit-learn before 1.8 loses the balance of the classes where it shuffles groups",
)
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("n", [20, 61])
def test_folds_are_those_of_scikit_learn(n: int, seed: int) -> None:
    frame = patients(n, seed=seed)
    splitter = StratifiedGroupKFold(4, shuffle=True, random_state=seed)
    folds = patient_folds(frame, 4, seed=seed)
    for k, (_, test) in enumerate(splitter.split(frame, frame["label"], frame["patient_id"])):
        assert np.array_equal(np.flatnonzero(folds == k), test)


def test_folds_that_cannot_be_made_are_refused() -> None:
    with pytest.raises(ValueError, match="3 patients have films of the rarer class"):
        patient_folds(patients(9), 5)
    with pytest.raises(ValueError, match="no column 'patient_id'"):
        patient_folds(patients(9).drop(columns="patient_id"))
    with pytest.raises(ValueError, match="n_splits is 1"):
        patient_folds(patients(9), 1)
    with pytest.raises(ValueError, match="missing in 1 rows"):
        checked_labels(patients(9).assign(label=[None] + [0, 1] * 13))


def predictions(n: int = 60, seed: int = 1) -> pd.DataFrame:
    frame = patients(n)
    rng = np.random.default_rng(seed)
    base = {"id": frame["id"], "group": frame["patient_id"], "label": frame["label"]}
    folds = patient_folds(frame, 3)
    common = rng.normal(size=len(frame))
    parts = [
        pd.DataFrame(
            {
                **base,
                "score": common + gain * frame["label"] + rng.normal(size=len(frame)),
                "model": name,
                "fold": folds,
            }
        )
        for name, gain in (("binary", 0.5), ("auc", 2.0))
    ]
    return pd.concat(parts, ignore_index=True)


def test_fold_summary_is_the_mean_of_fold_aucs_with_errors_by_patient() -> None:
    table = predictions()
    summary = fold_summary(table, n_resamples=200).set_index("model")
    aucs, errors, gains = {"binary": [], "auc": []}, [], []  # type: ignore[var-annotated]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IntervalWarning)
        for _, fold in table.groupby("fold"):
            one, two = (fold[fold["model"] == name] for name in ("binary", "auc"))
            for name, part in (("binary", one), ("auc", two)):
                aucs[name].append(roc_auc_score(part["label"], part["score"]))
            y, groups = one["label"], one["group"]
            errors.append(
                roc_auc_ci(
                    y, two["score"], groups=groups, method="bootstrap", n_resamples=200
                ).standard_error
            )
            gains.append(
                paired_bootstrap_auc(
                    y, two["score"], one["score"], groups, n_resamples=200
                ).standard_error
            )
    for name, values in aucs.items():
        assert summary.loc[name, "auc"] == pytest.approx(np.mean(values), abs=FLOAT64)
    gain = summary.loc["binary", "difference"]
    assert gain == pytest.approx(np.mean(aucs["auc"]) - np.mean(aucs["binary"]), abs=FLOAT64)
    assert summary.loc["auc", "standard_error"] == pytest.approx(
        np.linalg.norm(errors) / 3, abs=FLOAT64
    )
    half = stats.norm.isf(0.025) * np.linalg.norm(gains) / 3
    assert summary.loc["binary", "difference_low"] == pytest.approx(gain - half, abs=FLOAT64)
    assert summary.loc["binary", "difference_high"] == pytest.approx(gain + half, abs=FLOAT64)
    assert summary.loc["auc", "low"] < summary.loc["auc", "auc"] < summary.loc["auc", "high"]
    assert math.isnan(summary.loc["auc", "difference"])
    assert summary["n_patients"].eq(60).all()
    assert summary["n_films"].eq(180).all()


def test_fold_summary_does_not_depend_on_the_scales_of_the_folds() -> None:
    table = predictions()
    moved = table.assign(score=table["score"] + 100 * table["fold"])
    pd.testing.assert_frame_equal(fold_summary(table), fold_summary(moved))


def test_fold_summary_refuses_what_is_not_paired() -> None:
    table = predictions()
    with pytest.raises(ValueError, match="not tested on the same films"):
        fold_summary(table.iloc[1:])
    with pytest.raises(ValueError, match="reference is 'svm'"):
        fold_summary(table, reference="svm")
    with pytest.raises(ValueError, match=r"lacks the columns \['fold'\]"):
        fold_summary(table.drop(columns="fold"))


def test_views_of_a_breast_are_paired_and_averaged() -> None:
    frame = pd.DataFrame(
        {
            "id": ["a", "b", "c", "d", "e"],
            "patient_id": ["p", "q", "p", "p", "q"],
            "breast": ["p_LEFT", "q_LEFT", "p_LEFT", "p_RIGHT", "q_LEFT"],
            "laterality": ["LEFT", "LEFT", "LEFT", "RIGHT", "LEFT"],
            "view": ["MLO", "CC", "CC", "CC", "MLO"],
            "label": [1, 0, 0, 0, 0],
        }
    )
    pairs, rows = pair_views(frame)
    assert dict(zip(pairs["id"], rows.tolist(), strict=True)) == {
        "p_LEFT": [2, 0],
        "q_LEFT": [1, 4],
    }
    assert dict(zip(pairs["id"], pairs["label"], strict=True)) == {"p_LEFT": 1, "q_LEFT": 0}
    scores = pd.DataFrame(
        {
            "id": list("abcde"),
            "group": frame["patient_id"],
            "label": frame["label"],
            "score": [4.0, 1.0, 2.0, 9.0, 5.0],
            "model": "auc",
            "fold": [0, 1, 0, 0, 1],
        }
    )
    averaged = average_views(scores, frame).set_index("id")
    assert averaged["score"].to_dict() == {"p_LEFT": 3.0, "q_LEFT": 3.0}
    assert averaged["fold"].to_dict() == {"p_LEFT": 0, "q_LEFT": 1}
    with pytest.raises(ValueError, match="lack the film c"):
        average_views(scores[scores["id"] != "c"], frame)
    with pytest.raises(ValueError, match="no breast of frame has both"):
        pair_views(frame[frame["view"] == "CC"])


# --- the classifier


@pytest.fixture(scope="module")
def full_classifier() -> Any:
    keras.utils.set_random_seed(0)
    return build_patch_classifier()


def test_classifier_has_the_layers_of_figure_2(full_classifier: Any) -> None:
    kinds = [type(layer).__name__ for layer in full_classifier.layers if layer.weights]
    assert kinds == ["Conv2D"] * 3 + ["Dense"] * 3
    assert full_classifier.get_layer("pool3").output.shape == (None, 1, 1, 256)
    assert full_classifier.output_shape == (None, 1)
    assert full_classifier.layers[-1].activation is keras.activations.linear
    counts = [9 * 4096 * 256 + 256, 9 * 256 * 128 + 128, 9 * 128 * 256 + 256]
    counts += [256 * 512 + 512, 512 * 512 + 512, 513]
    assert full_classifier.count_params() == sum(counts)


def test_gradient_reaches_every_weight_with_4096_features(full_classifier: Any) -> None:
    import tensorflow as tf

    from mammocourse.losses import PairwiseAUCLoss

    volumes = np.random.default_rng(0).random((2, 15, 15, 4096), np.float32)
    with tf.GradientTape() as tape:
        scores = full_classifier(volumes, training=False)
        loss = PairwiseAUCLoss()(np.array([1, 0]), scores)
    gradients = tape.gradient(loss, full_classifier.trainable_variables)
    assert scores.shape == (2, 1)
    # a shift of both scores changes no difference: the last bias has gradient 0
    assert all(np.abs(gradient).max() > 0 for gradient in gradients[:-1])
    assert all(np.isfinite(gradient).all() for gradient in gradients)


def test_every_patch_reaches_the_score() -> None:
    model = build_patch_classifier((15, 15, 2), filters=(3, 3, 3), units=(), dropout=0)
    for layer in model.layers:
        if layer.weights:
            layer.kernel.assign(np.abs(layer.kernel))
    volumes = np.zeros((226, 15, 15, 2), np.float32)
    for number, place in enumerate(itertools.product(range(15), range(15))):
        volumes[number][place] = 1.0
    scores = model.predict_on_batch(volumes)[:, 0]
    assert (scores[:225] > scores[225]).all()


def test_two_views_share_weights_and_their_order_is_free() -> None:
    model = two_view_classifier((5, 5, 2), filters=(3, 3), units=(4,), dropout=0)
    one = build_patch_classifier((5, 5, 2), filters=(3, 3), units=(4,), dropout=0)
    assert model.count_params() == one.count_params() + 3 * 4  # maximum and mean: 3 inputs more
    pairs = np.random.default_rng(0).random((4, 2, 5, 5, 2), np.float32)
    scores = model.predict_on_batch(pairs)
    np.testing.assert_allclose(model.predict_on_batch(pairs[:, ::-1]), scores, rtol=FLOAT32)
    mixed = np.stack([pairs[:, 0], pairs[::-1, 1]], axis=1)
    assert (model.predict_on_batch(mixed) != scores).any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input_shape": (15, 15)}, "input_shape is"),
        ({"filters": ()}, "filters is"),
        ({"units": (0,)}, "units is"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"l2": -1.0}, "l2 is -1.0"),
    ],
)
def test_classifier_refuses_bad_arguments(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_patch_classifier(**options)


# --- training


def planted(n_patients: int, seed: int = 0) -> SimpleNamespace:
    """Volumes in which one patch of a positive film is bright in two related features."""
    rng = np.random.default_rng(seed)
    frame = patients(n_patients, films=2, seed=seed)
    volumes = rng.normal(size=(len(frame), 6, 6, 5)) * [1, 2, 1, 1, 1] + [0, 3, 0, 0, 0]
    volumes[..., [0, 2]] += rng.normal(size=(len(frame), 6, 6, 1))  # a principal component
    for row in np.flatnonzero(frame["label"]):
        volumes[row, rng.integers(6), rng.integers(6), [0, 2]] += 10
    return SimpleNamespace(volumes=volumes.astype(np.float16), frame=frame)


@pytest.fixture(scope="module")
def data() -> SimpleNamespace:
    return planted(60)


@pytest.fixture(scope="module")
def trainer() -> PatchTrainer:
    return PatchTrainer((6, 6, 5), learning_rate=1e-2, **TINY)


def test_training_finds_a_patch(data: SimpleNamespace, trainer: PatchTrainer) -> None:
    labels, groups = data.frame["label"], data.frame["patient_id"]
    trainer.fit(data.volumes, labels, groups, epochs=20, batch_size=16)
    fresh = planted(60, seed=1)
    auc = roc_auc_score(fresh.frame["label"], trainer.predict(fresh.volumes))
    positive = int(fresh.frame["label"].sum())
    chance_error = math.sqrt(121 / (12 * positive * (120 - positive)))  # Mann-Whitney
    assert auc > 0.5 + MONTE_CARLO_ERRORS * chance_error


def test_weights_of_the_best_epoch_are_kept(data: SimpleNamespace, trainer: PatchTrainer) -> None:
    labels, groups = data.frame["label"], data.frame["patient_id"]
    history = trainer.fit(data.volumes, labels, groups, epochs=6, patience=2, seed=4)
    frame = data.frame.reset_index(drop=True)
    _, held_out, _ = split_by_patient(frame, (0.8, 0.2, 0.0), 4)
    scores = trainer.predict(data.volumes[held_out.index])
    best = roc_auc_score(held_out["label"], scores)
    assert best == pytest.approx(history["val_auc"].max(), abs=FLOAT64)
    assert len(history) <= history["val_auc"].argmax() + 1 + 2


def test_whole_model_equals_the_trainer(data: SimpleNamespace, trainer: PatchTrainer) -> None:
    trainer.fit(data.volumes, data.frame["label"], epochs=1)
    volumes = data.volumes[:7].astype(np.float32)
    scores = trainer.model.predict_on_batch(volumes)[:, 0]
    np.testing.assert_allclose(scores, trainer.predict(volumes), rtol=FLOAT32, atol=FLOAT32)


def test_components_are_white_and_computed_from_training_patients(
    data: SimpleNamespace, trainer: PatchTrainer
) -> None:
    trainer.fit(data.volumes, data.frame["label"], data.frame["patient_id"], epochs=1, seed=4)
    train, _, _ = split_by_patient(data.frame.reset_index(drop=True), (0.8, 0.2, 0.0), 4)
    patches = data.volumes[train.index].astype(np.float32)
    mean = np.asarray(trainer.model.get_layer("standardize").moving_mean)
    np.testing.assert_allclose(mean, patches.reshape(-1, 5).mean(axis=0), rtol=1e-4, atol=1e-4)
    components = keras.Model(trainer.model.input, trainer.model.get_layer("components").output)
    white = components.predict_on_batch(patches).reshape(-1, 3)
    np.testing.assert_allclose(np.cov(white.T), np.eye(3), atol=1e-3)  # float32 sums of 1e4 terms
    np.testing.assert_allclose(white.mean(axis=0), 0, atol=1e-3)


def test_a_fit_does_not_depend_on_earlier_ones(
    data: SimpleNamespace, trainer: PatchTrainer
) -> None:
    def scores(seed: int) -> Any:
        trainer.fit(
            data.volumes, data.frame["label"], data.frame["patient_id"], epochs=2, seed=seed
        )
        return trainer.predict(data.volumes)

    first = scores(1)
    other = scores(2)
    np.testing.assert_array_equal(scores(1), first)
    assert not np.array_equal(first, other)


def test_scores_do_not_look_at_the_test_films(data: SimpleNamespace, trainer: PatchTrainer) -> None:
    folds = patient_folds(data.frame, 3)
    train, test = folds != 0, np.flatnonzero(folds == 0)
    labels, volumes = data.frame["label"].to_numpy(), data.volumes
    options: dict[str, Any] = {"trainer": trainer, "epochs": 2, "groups": data.frame["patient_id"]}
    scores = fit_scores(volumes, labels, train, test, **options)
    masked, changed = np.where(train, labels, 7), volumes.copy()
    changed[test[1:]] = 0
    again = fit_scores(changed, masked, train, test, **options)
    assert again[0] == scores[0]
    with pytest.raises(LeakageError):
        fit_scores(volumes, labels, train, [*test, np.flatnonzero(train)[0]], **options)


def test_several_seeds_are_averaged_on_one_scale(
    data: SimpleNamespace, trainer: PatchTrainer
) -> None:
    train, test = np.arange(80), np.arange(80, 120)
    labels = data.frame["label"].to_numpy()
    found = fit_scores(data.volumes, labels, train, test, trainer=trainer, seeds=2, epochs=1)
    singles = []
    for seed in (0, 1):
        trainer.fit(data.volumes[train], labels[train], epochs=1, seed=seed)
        own = trainer.predict(data.volumes[train])
        singles.append((trainer.predict(data.volumes[test]) - own.mean()) / own.std())
    np.testing.assert_allclose(found, np.mean(singles, axis=0), rtol=FLOAT32, atol=FLOAT32)


def test_cross_validation_equals_fold_by_fold_training(data: SimpleNamespace) -> None:
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    folds = patient_folds(data.frame, 3)
    resized = np.random.default_rng(0).normal(size=(120, 4)) + data.frame[["label"]].to_numpy()
    table = cross_validate(
        data.volumes,
        data.frame,
        methods=("svm", "buffered"),
        folds=folds,
        resized=resized,
        epochs=2,
        **TINY,
    )
    assert table.groupby("model")["id"].nunique().eq(120).all()
    labels, test = data.frame["label"].to_numpy(), folds == 1
    machine = make_pipeline(StandardScaler(), SVC(kernel="linear", C=0.25))
    expected = machine.fit(resized[~test], labels[~test]).decision_function(resized[test])
    svm, buffered = (table[table["model"] == name] for name in ("svm", "buffered"))
    np.testing.assert_allclose(svm.loc[svm["fold"] == 1, "score"], expected, rtol=FLOAT64)
    alone = fit_scores(
        data.volumes,
        labels,
        ~test,
        test,
        loss="buffered",
        groups=data.frame["patient_id"],
        epochs=2,
        **TINY,
    )
    np.testing.assert_allclose(
        buffered.loc[buffered["fold"] == 1, "score"], alone, rtol=FLOAT32, atol=FLOAT32
    )


def test_all_features_and_two_views_can_be_trained_on(data: SimpleNamespace) -> None:
    options = {**TINY, "components": None}
    plain = PatchTrainer((6, 6, 5), loss="binary", **options)
    history = plain.fit(data.volumes, data.frame["label"], epochs=2, validation_fraction=0)
    assert list(history) == ["epoch", "loss"]
    assert plain.predict(data.volumes).shape == (120,)
    pairs = data.volumes.reshape(60, 2, 6, 6, 5)
    both = PatchTrainer((2, 6, 6, 5), **TINY)
    labels = data.frame["label"].to_numpy().reshape(60, 2).max(axis=1)
    assert "val_auc" in both.fit(pairs, labels, epochs=1)
    assert both.predict(pairs).shape == (60,)


def test_training_refuses_bad_input(data: SimpleNamespace, trainer: PatchTrainer) -> None:
    labels = data.frame["label"]
    with pytest.raises(ValueError, match="loss is 'hinge'"):
        PatchTrainer((6, 6, 5), loss="hinge")
    with pytest.raises(ValueError, match="components is 9"):
        PatchTrainer((6, 6, 5), components=9)
    with pytest.raises(ValueError, match="volumes has shape"):
        trainer.fit(data.volumes[..., :4], labels)
    with pytest.raises(ValueError, match="labels has shape"):
        trainer.fit(data.volumes, labels[:5])
    with pytest.raises(ValueError, match="validation_fraction is 1"):
        trainer.fit(data.volumes, labels, validation_fraction=1)
    with pytest.raises(ValueError, match="train must hold row numbers"):
        fit_scores(data.volumes, labels, [0, 500], [1])
    with pytest.raises(ValueError, match="needs resized"):
        cross_validate(data.volumes, data.frame, methods=("svm",))
    with pytest.raises(ValueError, match="methods holds"):
        cross_validate(data.volumes, data.frame, methods=("forest",))
    with pytest.raises(LeakageError):
        cross_validate(data.volumes, data.frame, methods=("svm",), folds=np.arange(120) % 2)


# --- with a scanner


@pytest.fixture(scope="module")
def scanner() -> Any:
    from mammocourse.scanner import build_scanner

    return build_scanner("course", n_features=64)


def test_films_on_disk_feed_the_same_training(tmp_path: Any, scanner: Any) -> None:
    from mammocourse.scanner import scan_patches

    phantom.write_inbreast(tmp_path / "inbreast", 16, seed=2, size=(96, 64))
    phantom.write_cbis_ddsm(tmp_path / "cbis", 16, seed=2, size=(96, 64))
    for name, dataset in (("inbreast", "inbreast"), ("cbis", "cbis-ddsm")):
        table = read_films(tmp_path / name, dataset)  # type: ignore[arg-type]
        images = [load_image(path) for path in table["image_path"]]
        volumes = np.stack([scan_patches(image, scanner, 4) for image in images])
        found = cross_validate(
            volumes, table, folds=patient_folds(table, 2), methods=("auc",), epochs=1, **TINY
        )
        assert found["id"].tolist() == table["id"].tolist()
        assert np.isfinite(found["score"]).all()


def test_resized_features_average_the_windows_of_a_small_copy(
    films: phantom.Phantom, scanner: Any
) -> None:
    from mammocourse.preprocessing import crop_breast, resize_image

    found = resized_features(list(films.images[:3]), scanner, size=64, batch_size=2)
    small = resize_image(crop_breast(films.images[2]).astype(np.float32) / 255, (64, 64))
    expected = scanner.predict_on_batch(small[None, ..., None]).mean(axis=(0, 1, 2))
    np.testing.assert_allclose(found[2], expected, rtol=FLOAT32, atol=FLOAT32)
    # smaller than the window of 27 pixels: black around it
    tiny = resized_features(films.images[2:3], scanner, size=20)
    small = resize_image(crop_breast(films.images[2]).astype(np.float32) / 255, (20, 20))
    expected = scanner.predict_on_batch(np.pad(small, ((3, 4), (3, 4)))[None, ..., None])
    np.testing.assert_allclose(tiny, expected[:, 0, 0], rtol=FLOAT32, atol=FLOAT32)


@pytest.fixture(scope="module")
def narrow(scanner: Any) -> SimpleNamespace:
    """The course scanner and a small classifier of 4 x 4 windows."""
    keras.utils.set_random_seed(1)
    classifier = build_patch_classifier((4, 4, 64), filters=(3, 3), units=(4,), dropout=0, l2=1e-3)
    return SimpleNamespace(scanner=scanner, classifier=classifier)


def test_joined_network_scores_a_film_like_its_two_parts(
    films: phantom.Phantom, narrow: SimpleNamespace
) -> None:
    from mammocourse.scanner import scan_patches

    image = films.images[0]
    pixels, strides = prepare_film(image, narrow.scanner, np.int64(4))
    joined = join_networks(narrow.scanner, narrow.classifier, strides)
    volume = scan_patches(image, narrow.scanner, 4)
    expected = narrow.classifier.predict_on_batch(volume[None])[0, 0]
    assert joined.input_shape == (None, *pixels.shape, 1)
    score = joined.predict_on_batch(pixels[None, ..., None])[0, 0]
    assert score == pytest.approx(expected, rel=FLOAT32, abs=FLOAT32)
    tiled = joined_scores(narrow.scanner, narrow.classifier, [image], tile_pixels=1)
    assert tiled[0] == pytest.approx(expected, rel=FLOAT32, abs=FLOAT32)


@pytest.mark.parametrize("tile_pixels", [1, 4000, 10**9])
def test_tiled_gradients_equal_those_of_the_joined_network(
    films: phantom.Phantom, narrow: SimpleNamespace, tile_pixels: int
) -> None:
    import tensorflow as tf

    from mammocourse.losses import PairwiseAUCLoss

    images = [films.images[0], films.images[3][:100, :80]]
    prepared = [prepare_film(image, narrow.scanner, 4) for image in images]
    assert len({strides for _, strides in prepared}) == 2
    labels, loss = np.array([1, 0]), PairwiseAUCLoss()
    found = joined_gradients(
        narrow.scanner, narrow.classifier, prepared, labels, loss, tile_pixels=tile_pixels
    )
    joined = [join_networks(narrow.scanner, narrow.classifier, film[1]) for film in prepared]
    with tf.GradientTape() as tape:
        scores = [
            network(film[0][None, ..., None])[:, 0]
            for network, film in zip(joined, prepared, strict=True)
        ]
        value = loss(labels, tf.concat(scores, 0)) + tf.add_n(joined[0].losses)
    each = tape.gradient(value, [network.trainable_variables for network in joined])
    assert found.loss == pytest.approx(float(value), rel=FLOAT32)
    gradients = [*found.scanner, *found.classifier]
    for gradient, parts in zip(gradients, zip(*each, strict=True), strict=True):
        expected = np.add(*parts)
        scale = max(1.0, np.abs(expected).max())
        np.testing.assert_allclose(gradient, expected, rtol=0, atol=FLOAT32 * scale)


def test_joined_fine_tuning_moves_both_networks_and_lowers_the_loss(
    films: phantom.Phantom, narrow: SimpleNamespace
) -> None:
    from mammocourse.scanner import strided_scanner

    eyes = strided_scanner(narrow.scanner, (1, 1))
    head = keras.models.clone_model(narrow.classifier)
    head.set_weights(narrow.classifier.get_weights())
    before = [weight.numpy() for weight in (*eyes.weights, *head.weights)]
    images, labels = list(films.images[:4]), np.array([1, 1, 0, 0])
    history = fit_joined(
        eyes,
        head,
        images,
        labels,
        epochs=6,
        batch_size=4,
        learning_rate=1e-2,
        scanner_learning_rate=1e-3,
    )
    assert history["step"].tolist() == [1, 2, 3, 4, 5, 6]
    assert history["loss"].iloc[-1] < history["loss"].iloc[0]
    trained = [id(weight) for weight in (*eyes.trainable_weights, *head.trainable_weights)]
    for weight, old in zip((*eyes.weights, *head.weights), before, strict=True):
        assert (id(weight) in trained) or np.array_equal(weight, old)
    assert not np.array_equal(eyes.trainable_weights[0], before[0])
    one = fit_joined(eyes, head, images[:1], [1], loss="binary", epochs=2, batch_size=1)
    assert len(one) == 2


def test_joined_cross_validation_starts_from_the_auc_network(
    films: phantom.Phantom, scanner: Any
) -> None:
    from mammocourse.scanner import scan_patches

    table = film_table(films.metadata, birads3="negative")
    volumes = np.stack([scan_patches(image, scanner, 4) for image in films.images])
    folds = patient_folds(table, 2)
    weights = scanner.get_weights()
    options: dict[str, Any] = {"folds": folds, **TINY}
    found = cross_validate_joined(
        list(films.images),
        volumes,
        table,
        scanner,
        only=[1],
        training={"epochs": 2},
        fine_tuning={"batch_size": 14, "learning_rate": 1e-3},
        **options,
    )
    plain = cross_validate(volumes, table, methods=("auc",), epochs=2, **options)
    before, after = (found[found["model"] == name] for name in ("auc", "joined"))
    assert before["id"].tolist() == after["id"].tolist()
    np.testing.assert_allclose(
        before["score"], plain.loc[plain["fold"] == 1, "score"], rtol=FLOAT32, atol=FLOAT32
    )
    assert (before["score"].to_numpy() != after["score"].to_numpy()).any()
    assert all(map(np.array_equal, weights, scanner.get_weights()))


def test_joining_refuses_what_does_not_fit(films: phantom.Phantom, narrow: SimpleNamespace) -> None:
    wrong = build_patch_classifier((4, 4, 32), filters=(2,), units=())
    with pytest.raises(ValueError, match="the scanner makes 64 features"):
        join_networks(narrow.scanner, wrong)
    inputs = keras.Input((None, None, 1))
    padded = keras.Model(inputs, keras.layers.Conv2D(64, 3, padding="same")(inputs))
    with pytest.raises(ValueError, match="pads by 2 pixels"):
        joined_scores(padded, narrow.classifier, films.images[:1])
    pixels, strides = prepare_film(films.images[0], narrow.scanner, 4)
    with pytest.raises(ValueError, match="use prepare_film"):
        joined_gradients(
            narrow.scanner,
            narrow.classifier,
            [(pixels[1:], strides)],
            [1],
            keras.losses.BinaryCrossentropy(from_logits=True),
        )
    with pytest.raises(ValueError, match="loss is 'hinge'"):
        fit_joined(narrow.scanner, narrow.classifier, films.images[:2], [0, 1], loss="hinge")


# --- maps


def test_patch_maps_of_a_linear_network_are_its_weights_times_the_features() -> None:
    rng = np.random.default_rng(0)
    linear = keras.Sequential(
        [keras.Input((4, 3, 2)), keras.layers.Flatten(), keras.layers.Dense(1)]
    )
    kernel = rng.normal(size=(24, 1)).astype(np.float32)
    linear.layers[-1].kernel.assign(kernel)
    volume, baseline = rng.normal(size=(4, 3, 2)), rng.normal(size=2)
    expected = ((volume - baseline) * kernel.reshape(4, 3, 2)).sum(axis=2)
    for method in ("occlusion", "gradient"):
        found = patch_map(linear, volume, method=method, baseline=baseline)  # type: ignore[arg-type]
        np.testing.assert_allclose(found, expected, atol=FLOAT32)
    mean = ((volume - volume.mean(axis=(0, 1))) * kernel.reshape(4, 3, 2)).sum(axis=2)
    np.testing.assert_allclose(patch_map(linear, volume), mean, atol=FLOAT32)


def test_gradient_map_equals_finite_differences_of_the_score() -> None:
    keras.utils.set_random_seed(3)
    model = build_patch_classifier((4, 4, 2), filters=(3,), units=(4,), dropout=0)
    volume = np.random.default_rng(1).normal(size=(4, 4, 2)).astype(np.float32)
    found = patch_map(model, volume, method="gradient", baseline=np.zeros(2))
    step = 1e-2  # in float32, and away from the kinks of ReLU
    expected = np.zeros((4, 4))
    for place in np.ndindex(4, 4):
        up, down = volume.copy(), volume.copy()
        up[place] *= 1 + step
        down[place] *= 1 - step
        scores = model.predict_on_batch(np.stack([up, down]))[:, 0]
        expected[place] = (scores[0] - scores[1]) / (2 * step)
    np.testing.assert_allclose(found, expected, atol=1e-3)  # differences of float32 scores


def test_painted_maps_are_linear_between_the_centers_of_the_windows() -> None:
    rows, columns = np.array([10.0, 20.0, 30.0]), np.array([5.0, 25.0])
    boxes = np.empty((3, 2, 4))
    boxes[..., 0], boxes[..., 1] = rows[:, None], columns
    boxes[..., 2], boxes[..., 3] = rows[:, None] + 21, columns + 21
    values = np.array([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]])
    painted = paint_patch_map(values, boxes, (60, 50))
    for (i, j), value in np.ndenumerate(values):  # pixel 20 has its center at 20.5
        assert painted[int(rows[i]) + 10, int(columns[j]) + 10] == pytest.approx(value)
    assert painted[25, 15] == pytest.approx(1.0)
    assert painted[12, 7] == pytest.approx(0.0)
    assert painted[50, 45] == pytest.approx(5.0)
    assert (painted[:10] == 0).all()
    assert (painted[51:] == 0).all()
    assert (painted[:, 46:] == 0).all()
    with pytest.raises(ValueError, match="they must be"):
        paint_patch_map(values, boxes[:2], (60, 50))


def test_patch_map_refuses_bad_input() -> None:
    model = build_patch_classifier((4, 4, 2), filters=(2,), units=())
    with pytest.raises(ValueError, match="volume has the shape"):
        patch_map(model, np.zeros((4, 4, 3)))
    with pytest.raises(ValueError, match="method is 'cam'"):
        patch_map(model, np.zeros((4, 4, 2)), method="cam")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="baseline has the shape"):
        patch_map(model, np.zeros((4, 4, 2)), baseline=np.zeros(3))


# --- power


def test_with_one_film_per_patient_the_test_is_delongs() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(130) < 40
    first = rng.normal(size=130) + labels
    second = first + rng.normal(size=130)
    difference, error = paired_auc_tests(
        first[None, :, None], second[None, :, None], labels[:, None]
    )
    oracle = delong_test(labels.astype(int), first, second)
    assert difference[0] == pytest.approx(oracle.difference, abs=FLOAT64)
    assert error[0] == pytest.approx(oracle.standard_error, abs=FLOAT64)


def test_variance_by_patient_is_obuchowskis() -> None:
    rng = np.random.default_rng(1)
    labels = np.zeros((9, 3), bool)
    labels[:4, :2] = True
    scores = [rng.normal(size=(9, 3)) + labels for _ in range(2)]
    gains, parts = [], []
    for s in scores:
        pairs = (s[labels][:, None] > s[~labels]).astype(float)
        auc = pairs.mean()
        v10, v01 = np.zeros((9, 3)), np.zeros((9, 3))
        v10[labels], v01[~labels] = pairs.mean(axis=1), pairs.mean(axis=0)
        x = [sum(v10[p][labels[p]]) - labels[p].sum() * auc for p in range(9)]
        y = [sum(v01[p][~labels[p]]) - (~labels[p]).sum() * auc for p in range(9)]
        gains.append(auc)
        parts.append((np.array(x), np.array(y)))
    x, y = (parts[0][k] - parts[1][k] for k in (0, 1))
    m, n = labels.sum(), (~labels).sum()
    variance = 4 / 3 * (x**2).sum() / m**2 + 9 / 8 * (y**2).sum() / n**2
    variance += 2 * 9 / 8 * (x * y).sum() / (m * n)
    difference, error = paired_auc_tests(scores[0][None], scores[1][None], labels)
    assert difference[0] == pytest.approx(gains[0] - gains[1], abs=FLOAT64)
    assert error[0] == pytest.approx(math.sqrt(variance), abs=FLOAT64)


def hanley_mcneil(auc: float, positive: int, negative: int) -> float:
    """Standard error of an AUC for independent images (exponential approximation)."""
    q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    spread = (positive - 1) * (q1 - auc**2) + (negative - 1) * (q2 - auc**2)
    return math.sqrt((auc * (1 - auc) + spread) / (positive * negative))


def test_independent_methods_and_images_agree_with_hanley_and_mcneil() -> None:
    found = power_simulation(
        0.63, 0.65, n_positive=100, n_negative=287, correlation=0, images_per_patient=1
    )
    error = math.hypot(hanley_mcneil(0.63, 100, 287), hanley_mcneil(0.65, 100, 287))
    # Hanley and McNeil's formula is for exponential scores: within 3 % for binormal ones
    assert found.difference_error == pytest.approx(error, rel=0.03 + MONTE_CARLO_ERRORS / 63)
    wrong = stats.norm.cdf(-0.02 / error)
    monte_carlo = math.sqrt(wrong * (1 - wrong) / 2000)
    assert found.worse_looks_better == pytest.approx(wrong, abs=MONTE_CARLO_ERRORS * monte_carlo)
    assert (found.n_patients, found.n_films) == (387, 387)


def test_equal_methods_are_told_apart_as_rarely_as_the_level_says() -> None:
    found = power_simulation(0.65, 0.65, n_positive=60, n_negative=90, correlation=0.5)
    expected = 0.025  # of a two-sided test at 0.05, the half on one side
    error = math.sqrt(expected * (1 - expected) / found.n_simulations)
    assert found.power == pytest.approx(expected, abs=MONTE_CARLO_ERRORS * error)


def test_films_of_a_patient_that_resemble_each_other_tell_less() -> None:
    options: dict[str, Any] = {"n_positive": 50, "n_negative": 60, "n_simulations": 1000}
    alike = power_simulation(0.63, 0.65, within_patient=0.9, **options)
    unlike = power_simulation(0.63, 0.65, within_patient=0.0, **options)
    assert alike.difference_error > unlike.difference_error * 1.1


def test_patients_needed_give_the_power_that_was_asked_for() -> None:
    needed = patients_needed(0.6, 0.7, power=0.8, positive_share=0.4, n_simulations=1000)
    positive = round(0.4 * needed)
    found = power_simulation(
        0.6, 0.7, n_positive=positive, n_negative=needed - positive, n_simulations=1000
    )
    # the standard error from 1,000 simulations is known to 2.2 %, and moves the power by 0.025
    assert found.power == pytest.approx(0.8, abs=MONTE_CARLO_ERRORS * math.hypot(0.0126, 0.018))
    alike = patients_needed(0.6, 0.7, correlation=0.8, n_simulations=200)
    assert alike < needed / 2


def test_simulation_is_reproducible_and_blocks_do_not_matter() -> None:
    options: dict[str, Any] = {"n_positive": 5, "n_negative": 7, "n_simulations": 50}
    assert power_simulation(0.6, 0.8, **options) == power_simulation(0.6, 0.8, **options)
    assert power_simulation(0.6, 0.8, **options) == power_simulation(0.8, 0.6, **options)
    assert power_simulation(0.6, 0.8, seed=1, **options) != power_simulation(0.6, 0.8, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"auc1": 1.0}, "auc1 is 1.0"),
        ({"correlation": 1.0}, "correlation is 1.0"),
        ({"within_patient": -0.1}, "within_patient is -0.1"),
        ({"n_positive": 1}, "n_positive is 1"),
        ({"images_per_patient": 0}, "images_per_patient is 0"),
        ({"alpha": 0}, "alpha is 0"),
    ],
)
def test_power_simulation_refuses_bad_arguments(options: dict[str, Any], message: str) -> None:
    good = {"auc1": 0.6, "auc2": 0.7, "n_positive": 5, "n_negative": 5}
    with pytest.raises(ValueError, match=message):
        power_simulation(**{**good, **options})


def test_patients_needed_refuses_equal_methods() -> None:
    with pytest.raises(ValueError, match="no number of patients"):
        patients_needed(0.6, 0.6)
    with pytest.raises(ValueError, match=r"power is 0\.4"):
        patients_needed(0.6, 0.7, power=0.4)


# --- input that used to give wrong results without a word


def test_a_volume_with_nan_is_refused_not_scored(
    data: SimpleNamespace, trainer: PatchTrainer
) -> None:
    labels = data.frame["label"]
    trainer.fit(data.volumes, labels, epochs=1)
    bad = data.volumes.copy()
    bad[70, 0, 0, 0] = np.nan
    with pytest.raises(ValueError, match=r"volumes\[70\] holds NaN or infinity"):
        trainer.predict(bad)
    with pytest.raises(ValueError, match=r"volumes\[70\] holds NaN or infinity"):
        fit_scores(bad, labels, np.arange(60), np.arange(60, 120), trainer=trainer, epochs=1)
    with pytest.raises(ValueError, match=r"volumes\[70\] holds NaN or infinity"):
        trainer.fit(bad, labels, epochs=1)
    with pytest.raises(ValueError, match="volume or baseline holds NaN"):
        patch_map(trainer.model, bad[70])


def test_a_trainer_without_a_fit_has_no_scores(data: SimpleNamespace) -> None:
    with pytest.raises(RuntimeError, match=r"call fit\(\) first"):
        PatchTrainer((6, 6, 5), **TINY).predict(data.volumes)


def test_a_list_of_volumes_is_as_good_as_an_array(
    data: SimpleNamespace, trainer: PatchTrainer
) -> None:
    trainer.fit(data.volumes, data.frame["label"], epochs=1)
    expected = trainer.predict(data.volumes)
    np.testing.assert_array_equal(trainer.predict(list(data.volumes)), expected)
    with pytest.raises(ValueError, match="all of one shape"):
        trainer.predict([data.volumes[0], data.volumes[1][1:]])


@pytest.mark.parametrize("value", ["0", "7", "", "x", "44", None])
def test_categories_that_are_none_do_not_become_labels(films: phantom.Phantom, value: Any) -> None:
    birads = films.metadata["birads"].astype(object).copy()
    birads.iloc[2] = value
    with pytest.raises(ValueError, match=r"birads is .* in row 2; it must be a category from 1 to"):
        film_table(films.metadata.assign(birads=birads))


def test_categories_may_have_spaces_letters_and_decimals(films: phantom.Phantom) -> None:
    birads = films.metadata["birads"].astype(object).copy()
    birads.iloc[:3] = [" 4a ", 5.0, "2"]
    table = film_table(films.metadata.assign(birads=birads))
    assert table["birads"].iloc[:3].tolist() == [4, 5, 2]


def test_lesions_of_cbis_need_labels(tmp_path: Any) -> None:
    phantom.write_cbis_ddsm(tmp_path / "x", 6, seed=1, size=(128, 96))
    rows = read_cbis_ddsm(tmp_path / "x", image="full")
    for bad in (rows.drop(columns="label"), rows.assign(label=rows["label"].mask(rows.index == 1))):
        with pytest.raises(ValueError, match="label must be there and 0 or 1"):
            film_table(bad)


@pytest.mark.parametrize("column", ["laterality", "view"])
def test_films_need_a_side_and_a_view(films: phantom.Phantom, column: str) -> None:
    bad = films.metadata.copy()
    bad[column] = bad[column].astype(object).mask(bad.index == 3)
    with pytest.raises(ValueError, match=f"{column} is missing in row 3"):
        film_table(bad)


@pytest.mark.parametrize("labels", [[0.4, 1.0], ["0", "1"], [0, 2]])
def test_labels_that_are_not_0_and_1_are_refused(labels: list[Any]) -> None:
    with pytest.raises(ValueError, match=r"label holds .* both 0 and 1 are needed"):
        checked_labels(pd.DataFrame({"patient_id": ["a", "b"], "label": labels}))


def test_a_view_is_not_chosen_for_the_user() -> None:
    frame = pd.DataFrame(
        {"breast": ["p", "p", "p"], "patient_id": "p", "laterality": "LEFT", "label": 0}
    ).assign(view=["CC", "MLO", "CC"])
    with pytest.raises(ValueError, match="breast p has several films of one view"):
        pair_views(frame)
    with pytest.raises(ValueError, match="breast is missing"):
        pair_views(frame.assign(breast=[None, "p", "p"]))


def test_fold_summary_refuses_films_and_patients_that_appear_twice() -> None:
    table = predictions()
    with pytest.raises(ValueError, match="twice with one model"):
        fold_summary(pd.concat([table, table.iloc[:1]]))
    moved = table.copy()
    other = moved["fold"] != moved["fold"].iloc[0]
    moved.loc[other.idxmax(), "group"] = moved["group"].iloc[0]
    with pytest.raises(ValueError, match="in several folds"):
        fold_summary(moved)


def test_labels_and_groups_have_one_entry_per_volume(
    data: SimpleNamespace, trainer: PatchTrainer
) -> None:
    labels, rows = data.frame["label"].to_numpy(), (np.arange(60), np.arange(60, 120))
    with pytest.raises(ValueError, match=r"labels has shape \(121,\)"):
        fit_scores(data.volumes, [*labels, 1], *rows, trainer=trainer)
    with pytest.raises(ValueError, match=r"groups has shape \(119,\)"):
        fit_scores(data.volumes, labels, *rows, trainer=trainer, groups=np.arange(119))
    with pytest.raises(ValueError, match="methods holds"):
        cross_validate(data.volumes, data.frame, methods=())


def test_freezing_a_layer_between_two_calls_does_not_mix_gradients(
    films: phantom.Phantom, narrow: SimpleNamespace
) -> None:
    from mammocourse.scanner import strided_scanner

    eyes = strided_scanner(narrow.scanner, (1, 1))
    prepared = [prepare_film(image, eyes, 4) for image in films.images[:4]]
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    layer = next(layer for layer in eyes.layers if hasattr(layer, "kernel"))

    def gradients(frozen: bool) -> dict[str, Any]:
        layer.trainable = not frozen
        found = joined_gradients(eyes, narrow.classifier, prepared, [1, 0, 1, 0], loss).scanner
        paths = [weight.path for weight in eyes.trainable_variables]
        return dict(zip(paths, map(np.asarray, found), strict=True))

    frozen, every, again = gradients(True), gradients(False), gradients(True)
    assert set(frozen) == set(again) < set(every)
    assert np.abs(every[layer.kernel.path]).max() > 0
    for path, gradient in frozen.items():
        np.testing.assert_array_equal(gradient, every[path])
        np.testing.assert_array_equal(gradient, again[path])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs, batch_size, tile_pixels is"),
        ({"tile_pixels": 0}, "epochs, batch_size, tile_pixels is"),
        ({"learning_rate": math.nan}, "learning_rate is nan"),
        ({"scanner_learning_rate": -1}, "scanner_learning_rate is -1"),
    ],
)
def test_fine_tuning_refuses_bad_arguments(
    films: phantom.Phantom, narrow: SimpleNamespace, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        fit_joined(narrow.scanner, narrow.classifier, films.images[:2], [0, 1], **options)


def test_a_bad_film_is_named_before_the_first_step(
    films: phantom.Phantom, narrow: SimpleNamespace
) -> None:
    images = [*films.images[:3], np.zeros((80, 80), np.uint8)]
    before = narrow.scanner.get_weights()
    with pytest.raises(ValueError, match=r"images\[3\] cannot be used: .*no breast"):
        fit_joined(narrow.scanner, narrow.classifier, images, [0, 1, 0, 1], batch_size=2)
    assert all(map(np.array_equal, before, narrow.scanner.get_weights()))
    with pytest.raises(ValueError, match=r"images\[3\] cannot be used"):
        joined_scores(narrow.scanner, narrow.classifier, images)
    with pytest.raises(ValueError, match=r"images\[3\] cannot be used"):
        resized_features(images, narrow.scanner, size=32, batch_size=2)


def test_patients_needed_are_enough_for_two_of_each_class() -> None:
    needed = patients_needed(0.55, 0.95, positive_share=0.02, power=0.6, n_simulations=20)
    assert needed * 0.02 >= 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_simulations": 1}, "n_simulations is 1"),
        ({"positive_share": 1e-4}, "positive_share is 0.0001; samples of 1000"),
        ({"auc1": 1 - 1e-16, "auc2": 1 - 2e-16}, "gave the same difference"),
    ],
)
def test_patients_needed_refuses_what_cannot_be_measured(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        patients_needed(**{"auc1": 0.6, "auc2": 0.7, "n_simulations": 5, **options})


def test_whole_floats_count_as_integers(data: SimpleNamespace, trainer: PatchTrainer) -> None:
    options: dict[str, Any] = {"trainer": trainer, "seeds": 2.0, "epochs": 2.0}
    labels = data.frame["label"]
    assert len(fit_scores(data.volumes, labels, range(60), range(60, 120), **options)) == 60


@pytest.mark.parametrize("name", ["auc1", "alpha", "correlation", "within_patient"])
def test_power_simulation_refuses_text(name: str) -> None:
    good = {"auc1": 0.6, "auc2": 0.7, "n_positive": 5, "n_negative": 5}
    with pytest.raises(ValueError, match=f"{name} is '0.5'; it must be a number"):
        power_simulation(**{**good, name: "0.5"})  # type: ignore[arg-type]


def test_paired_tests_refuse_what_has_no_variance() -> None:
    scores = np.random.default_rng(0).normal(size=(2, 1, 4, 2))
    labels = np.array([[1, 1], [1, 0], [0, 0], [0, 0]])
    with pytest.raises(ValueError, match="two patients or more"):
        paired_auc_tests(*scores, np.array([[1, 1], [0, 0], [0, 0], [0, 0]]))
    scores[1, 0, 2, 1] = np.nan
    with pytest.raises(ValueError, match="must not hold NaN"):
        paired_auc_tests(*scores, labels)


def test_views_are_averaged_from_one_score_per_film() -> None:
    frame = pd.DataFrame(
        {"id": ["a", "b"], "breast": "p", "patient_id": "p", "laterality": "LEFT", "label": 0}
    ).assign(view=["CC", "MLO"])
    table = pd.DataFrame({"id": ["a", "b", "a"], "model": "auc", "score": 1.0, "fold": 0})
    with pytest.raises(ValueError, match=r"lacks the columns \['group', 'label'\]"):
        average_views(table, frame)
    table = table.assign(group="p", label=0)
    with pytest.raises(ValueError, match="score the film a twice"):
        average_views(table, frame)
    with pytest.raises(ValueError, match="predictions is empty"):
        average_views(table.iloc[:0], frame)
