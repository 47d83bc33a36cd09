"""The phantoms: truth, calibration against the official tables, and files on disk."""

import csv
import functools
import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import OneHotEncoder

from mammocourse import phantom, phantom_trees
from mammocourse.phantom import (
    ceiling_auc,
    lesion_frequencies,
    make_lesion_crops,
    make_mammograms,
    write_cbis_ddsm,
    write_inbreast,
)
from tolerances import FLOAT64, MONTE_CARLO_ERRORS

WORDS = ["mass_shape", "mass_margins"]
NORMAL_99 = 2.58  # two-sided 99% point of the normal distribution


def test_data(name):
    folder = os.environ.get("MAMMOCOURSE_TEST_DATA")
    if not folder or not (Path(folder) / name).exists():
        pytest.skip(f"needs {name} in the folder that MAMMOCOURSE_TEST_DATA names")
    return Path(folder) / name


test_data.__test__ = False


def clustered_auc(labels, scores, groups):
    """AUC and its standard error, from placements added up by patient (Obuchowski 1997)."""
    positive, scores = np.asarray(labels) == 1, np.asarray(scores, dtype=float)
    placement = np.empty(len(scores))
    placement[positive] = _share_below(scores[~positive], scores[positive])
    placement[~positive] = 1 - _share_below(scores[positive], scores[~positive])
    auc = placement[positive].mean()
    size = np.where(positive, positive.sum(), (~positive).sum())
    by_patient = np.bincount(groups, (placement - auc) / size)
    return auc, np.sqrt(np.sum(by_patient**2))


def _share_below(reference, values):
    ordered = np.sort(reference)
    below = np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")
    return below / (2 * len(ordered))


@functools.cache
def crops(seed=1, n_patients=500, size=48, link="official"):
    return make_lesion_crops(n_patients, size=size, seed=seed, link=link)


# --- form and truth


def test_fields_agree_in_shape_and_type():
    made = make_lesion_crops(5, size=64, seed=0)
    n = len(made)
    assert made.images.shape == made.masks.shape == made.margins.shape == (n, 64, 64)
    assert made.images.dtype == np.uint8
    assert made.masks.dtype == made.margins.dtype == bool
    assert made.labels.shape == made.groups.shape == (n,)
    assert len(made.metadata) == n
    assert list(made.labels) == list(made.metadata["label"])
    assert list(made.metadata["patient_id"]) == [f"P_{group + 1:05d}" for group in made.groups]


def test_same_seed_gives_the_same_images_and_another_seed_others():
    one, same, other = (make_lesion_crops(3, size=48, seed=seed) for seed in (5, 5, 6))
    np.testing.assert_array_equal(one.images, same.images)
    pd.testing.assert_frame_equal(one.metadata, same.metadata)
    assert not np.array_equal(one.images[0], other.images[0])


@pytest.mark.parametrize("make", [make_lesion_crops, make_mammograms])
def test_a_patient_does_not_depend_on_how_many_follow(make):
    options = {"size": 48} if make is make_lesion_crops else {"prevalence": 0.5, "size": (96, 64)}
    few, many = (make(n, seed=2, **options) for n in (3, 6))
    np.testing.assert_array_equal(few.images, many.images[: len(few)])
    pd.testing.assert_frame_equal(few.metadata, many.metadata.iloc[: len(few)])


def test_each_lesion_has_two_views_and_some_patients_several_lesions():
    table = crops().metadata
    assert set(table.groupby("lesion_id")["view"].agg(list).map(tuple)) == {("CC", "MLO")}
    lesions = table.drop_duplicates("lesion_id").groupby("patient_id").size()
    assert lesions.max() >= 2
    # 71 of the 892 official patients have several
    error = np.sqrt(71 / 892 * 821 / 892 / len(lesions))
    assert abs((lesions > 1).mean() - 71 / 892) < MONTE_CARLO_ERRORS * error


def test_mask_has_the_area_of_the_drawn_radius():
    made = crops(size=96, n_patients=60)
    radius = made.metadata["radius"].to_numpy()
    inner = [not (mask[[0, -1]].any() or mask[:, [0, -1]].any()) for mask in made.masks]
    ratio = (made.masks.sum(axis=(1, 2)) / (np.pi * radius**2))[inner]
    assert len(ratio) > 50
    # 3%: the outline is cut into pixels
    np.testing.assert_allclose(ratio, 1, atol=0.03)


def test_margin_map_covers_the_outline_and_reaches_out_where_there_are_spicules():
    made = crops(size=96, n_patients=60)
    rows, columns = np.mgrid[:96, :96]
    reach = []
    for mask, margin, truth in zip(
        made.masks, made.margins, made.metadata.to_dict("records"), strict=True
    ):
        edge = mask & ~(
            np.roll(mask, 1, 0) & np.roll(mask, -1, 0) & np.roll(mask, 1, 1) & np.roll(mask, -1, 1)
        )
        assert margin[edge].mean() > 0.95  # all but pixels cut off at the border of the crop
        away = np.hypot(columns - truth["x"], rows - truth["y"])[margin & ~mask]
        reach.append(((away > 1.8 * truth["radius"]).any(), truth))
    spiculated = [far for far, truth in reach if "SPICULATED" in truth["mass_margins"]]
    smooth = [far for far, truth in reach if truth["mass_margins"] == "CIRCUMSCRIBED"]
    assert np.mean(spiculated) > 0.5
    assert not any(smooth)


def test_views_of_a_lesion_resemble_each_other():
    made = crops(size=48)
    flat = made.images.reshape(len(made), -1).astype(float)
    flat = (flat - flat.mean(axis=1, keepdims=True)) / flat.std(axis=1, keepdims=True)
    pixels = flat.shape[1]
    same = np.sum(flat[0::2] * flat[1::2], axis=1) / pixels
    other = np.sum(flat[0::2] * np.roll(flat[1::2], 1, axis=0), axis=1) / pixels
    assert stats.ttest_rel(same, other, alternative="greater").pvalue < 1e-6
    brightness = made.images.mean(axis=(1, 2))
    assert np.corrcoef(brightness[0::2], brightness[1::2])[0, 1] > 0.8


def test_domain_shifts_change_what_they_name():
    plain = make_lesion_crops(20, size=64, seed=3)
    noisy = make_lesion_crops(20, size=64, seed=3, noise=12.0)
    small = make_lesion_crops(20, size=64, seed=3, lesion_scale=0.5)
    faint = make_lesion_crops(20, size=64, seed=3, contrast=0.5)

    def roughness(made):
        return np.abs(np.diff(made.images.astype(float), axis=2)).mean()

    def shown(made):
        pairs = zip(made.images, made.masks, strict=True)
        return np.mean([image[mask].mean() - image[~mask].mean() for image, mask in pairs])

    assert roughness(noisy) > 1.5 * roughness(plain)
    assert np.allclose(small.metadata["radius"], plain.metadata["radius"] / 2)
    assert shown(faint) < 0.7 * shown(plain)
    for shifted in (noisy, small, faint):
        np.testing.assert_array_equal(shifted.labels, plain.labels)
        assert shifted.metadata[WORDS].equals(plain.metadata[WORDS])


# --- words


def test_frequencies_are_those_of_the_official_tables():
    folder = test_data("cbis-ddsm-csv")
    rows = [
        row
        for split in ("train", "test")
        for row in csv.DictReader((folder / f"mass_case_description_{split}_set.csv").open())
    ]
    names = ["pathology", "mass shape", "mass margins", "assessment", "breast_density", "subtlety"]
    expected = pd.Series([tuple(row[name] for name in names) for row in rows]).value_counts()
    frame = lesion_frequencies()
    found = {
        tuple(map(str, row[:6])): row[6]
        for row in frame.drop(columns="label").itertuples(index=False)
    }
    assert found == expected.to_dict()
    assert frame["count"].sum() == 1318 + 378


def word_distribution():
    """Shares of (shape, margins) among benign and malignant lesions, blind share included."""
    frame = lesion_frequencies()
    counts = frame.pivot_table(index=WORDS, columns="label", values="count", aggfunc="sum")
    counts = counts.fillna(0)
    blind = counts.sum(axis=1) / counts.to_numpy().sum()
    share = phantom.BLIND_SHARE
    return {
        label: (1 - share) * counts[label] / counts[label].sum() + share * blind for label in (0, 1)
    }


@pytest.mark.parametrize("label", [0, 1])
def test_words_are_drawn_by_their_joint_frequencies(label):
    rng = np.random.default_rng(label)
    drawn = [phantom._draw_words(label, "official", rng)[1:3] for _ in range(5000)]
    expected = 5000 * word_distribution()[label]
    found = pd.Series(drawn).value_counts().reindex(expected.index.to_flat_index(), fill_value=0)
    common = (expected >= 5).to_numpy()
    table = [[*x[common], x[~common].sum()] for x in (found.to_numpy(), expected.to_numpy())]
    assert sum(table[0]) == 5000
    assert stats.chisquare(table[0], np.array(table[1]) * 5000 / np.sum(table[1])).pvalue > 0.001


def test_ceiling_is_the_auc_of_the_posterior_probability():
    shares = word_distribution()
    posterior = shares[1] / (shares[0] + shares[1])
    labels = np.repeat([0, 1], len(posterior))
    weights = np.concatenate([shares[0], shares[1]])
    expected = roc_auc_score(labels, np.tile(posterior, 2), sample_weight=weights)
    assert ceiling_auc() == pytest.approx(expected, abs=FLOAT64)
    assert ceiling_auc("sharp") == 1


def test_sharp_link_lets_the_outline_follow_the_label():
    made = make_lesion_crops(40, size=32, seed=0, link="sharp")
    found = set(
        zip(made.labels, made.metadata["mass_shape"], made.metadata["mass_margins"], strict=True)
    )
    assert found == {
        (0, "ROUND", "CIRCUMSCRIBED"),
        (0, "OVAL", "CIRCUMSCRIBED"),
        (1, "IRREGULAR", "SPICULATED"),
    }


def auc_of_words(train, test):
    """Logistic regression on shape and margins; AUC and clustered standard error."""
    encoder = OneHotEncoder(handle_unknown="ignore").fit(train[WORDS])
    model = LogisticRegression(max_iter=2000)
    model.fit(encoder.transform(train[WORDS]), train["label"])
    scores = model.predict_proba(encoder.transform(test[WORDS]))[:, 1]
    return clustered_auc(test["label"], scores, pd.factorize(test["patient_id"])[0])


def test_words_say_as_much_about_the_label_as_in_the_official_test_set():
    folder = test_data("cbis-ddsm-csv")
    names = {"mass shape": "mass_shape", "mass margins": "mass_margins"}
    real = [
        pd.read_csv(folder / f"mass_case_description_{split}_set.csv", keep_default_na=False)
        .rename(columns=names)
        .assign(label=lambda frame: (frame["pathology"] == "MALIGNANT").astype(int))
        for split in ("train", "test")
    ]
    auc, error = auc_of_words(*real)
    assert auc == pytest.approx(0.827, abs=5e-4)  # the published figure of the data sheet
    found, noise = auc_of_words(crops(seed=1).metadata, crops(seed=2).metadata)
    assert abs(found - auc) < 1.96 * np.hypot(error, noise)
    assert found < ceiling_auc() + NORMAL_99 * noise


# --- nothing but shape and margins tells the label


def inside_minus_outside(made):
    pairs = zip(made.images.astype(float), made.masks, strict=True)
    return np.array([image[mask].mean() - image[~mask].mean() for image, mask in pairs])


def center_of_mask(axis):
    def center(made):
        return [np.mean(np.nonzero(mask)[axis]) for mask in made.masks]

    return center


QUANTITIES = {
    "area": lambda made: made.masks.sum(axis=(1, 2)),
    "mean": lambda made: made.images.mean(axis=(1, 2)),
    "deviation": lambda made: made.images.std(axis=(1, 2)),
    "contrast": inside_minus_outside,
    "row": center_of_mask(0),
    "column": center_of_mask(1),
    "off center": lambda made: np.hypot(
        *(np.array(center_of_mask(i)(made)) - 23.5 for i in (0, 1))
    ),
    "density": lambda made: made.metadata["breast_density"],
    "subtlety": lambda made: made.metadata["subtlety"],
}


@pytest.mark.parametrize("link", ["official", "sharp"])
@pytest.mark.parametrize("name", QUANTITIES)
def test_quantity_does_not_predict_the_label(name, link):
    made = crops(link=link)
    auc, error = clustered_auc(made.labels, QUANTITIES[name](made), made.groups)
    assert abs(auc - 0.5) < NORMAL_99 * error
    assert error < 0.03


def auc_of_pixels(train, test):
    """Ridge logistic regression on standardized 24 x 24 pixels; AUC and clustered error."""
    x_train, x_test = (
        made.images.reshape(-1, 24, 2, 24, 2).mean(axis=(2, 4)).reshape(len(made), -1)
        for made in (train, test)
    )
    center, width = x_train.mean(axis=0), x_train.std(axis=0)
    model = LogisticRegression(C=1e-4, max_iter=500).fit((x_train - center) / width, train.labels)
    scores = model.decision_function((x_test - center) / width)
    return clustered_auc(test.labels, scores, test.groups)


def test_pixelwise_logistic_regression_stays_weak():
    auc, error = auc_of_pixels(crops(seed=1), crops(seed=2))
    assert auc + NORMAL_99 * error < 0.65
    assert auc + NORMAL_99 * error < ceiling_auc() - 0.15


# --- texture


def spectrum_slope(image):
    """Exponent b of the radial power spectrum 1 / f**b, windowed, 3 cycles to 0.22 per pixel."""
    side = min(image.shape)
    part = image[:side, :side].astype(float)
    window = np.outer(np.hanning(side), np.hanning(side))
    power = np.abs(np.fft.fft2((part - part.mean()) * window)) ** 2
    frequency = np.fft.fftfreq(side, 1 / side)
    ring = np.rint(np.hypot(*np.meshgrid(frequency, frequency))).astype(int)
    radial = np.bincount(ring.ravel(), power.ravel()) / np.bincount(ring.ravel())
    rings = np.arange(3, int(0.22 * side) + 1)
    return -np.polyfit(np.log(rings), np.log(radial[rings]), 1)[0]


def test_power_spectrum_of_the_background_falls_as_the_third_power():
    made = make_lesion_crops(20, size=128, seed=1, noise=0, contrast=0.01)
    slopes = [spectrum_slope(image) for image in made.images]
    # 0.25: ducts, vessels, the window and the gray levels move the exponent a little
    assert abs(np.mean(slopes) - phantom.SPECTRUM_SLOPE) < 0.25


def test_power_spectrum_is_near_that_of_real_crops():
    from PIL import Image

    folder = test_data("mini-mias-crops")
    real = [np.asarray(Image.open(path)) for path in sorted(folder.glob("*.png"))]
    real = [spectrum_slope(image) for image in real if min(image.shape) >= 60]
    made = [spectrum_slope(image) for image in make_lesion_crops(20, size=96, seed=1).images]
    assert len(real) > 50
    assert np.quantile(real, 0.05) < np.mean(made) < np.quantile(real, 0.95)


def power_at(image, frequency=0.1):
    """Mean power of a crop near a frequency (cycles per pixel), Hann window."""
    side = min(image.shape)
    window = np.outer(np.hanning(side), np.hanning(side))
    part = image[:side, :side] - float(image[:side, :side].mean())
    power = np.abs(np.fft.fft2(part * window)) ** 2 / np.sum(window**2)
    cycles = np.fft.fftfreq(side)
    return power[np.abs(np.hypot(*np.meshgrid(cycles, cycles)) / frequency - 1) < 0.2].mean()


def test_power_and_spread_are_near_those_of_the_bundled_real_crops():
    from PIL import Image

    from mammocourse.resources import data_path

    paths = sorted(data_path("films").glob("*_[12].webp"))
    real = [np.asarray(Image.open(path).convert("L")) for path in paths]
    assert len(real) == 10
    made = make_lesion_crops(15, size=224, seed=1).images
    power = [np.mean(np.log([power_at(image) for image in images])) for images in (made, real)]
    assert abs(power[0] - power[1]) < np.log(3)  # the ten real crops differ by factors of 10
    spread = [np.median([image.std() for image in images]) for images in (made, real)]
    assert 0.75 < spread[0] / spread[1] < 1.33


# --- whole films


@functools.cache
def films():
    return make_mammograms(60, prevalence=0.4, seed=3, size=(120, 80), breasts=2)


def test_films_have_the_label_of_their_lesions():
    made = films()
    for label, mask, row in zip(
        made.labels, made.masks, made.metadata.to_dict("records"), strict=True
    ):
        assert label == max([0, *(lesion["label"] for lesion in row["lesions"])])
        assert mask.any() == bool(row["lesions"])
        assert (row["birads"][0] in "456") == (label == 1)


def test_lesions_of_a_film_lie_where_the_metadata_say():
    made = films()
    for mask, lesions in zip(made.masks, made.metadata["lesions"], strict=True):
        for lesion in lesions:
            rows, columns = np.nonzero(mask)
            nearest = np.hypot(columns - lesion["x"], rows - lesion["y"]).min()
            assert nearest <= 1


@pytest.mark.parametrize("breasts", [1, 2])
def test_prevalence_is_the_share_of_patients_with_cancer(breasts):
    made = make_mammograms(80, prevalence=0.4, seed=1, size=(64, 64), breasts=breasts)
    patients = pd.Series(made.labels).groupby(made.groups).max()
    error = np.sqrt(0.4 * 0.6 / 80)
    assert abs(patients.mean() - 0.4) < MONTE_CARLO_ERRORS * error
    assert len(made) == 80 * 2 * breasts
    assert made.labels.mean() == pytest.approx(patients.mean() / breasts)


def test_chest_wall_is_at_the_side_of_the_breast_and_the_muscle_in_the_oblique_view():
    made = films()
    table = made.metadata
    width = made.images.shape[2]
    for image, side, view in zip(made.images, table["laterality"], table["view"], strict=True):
        left, right = image[:, : width // 3].mean(), image[:, -(width // 3) :].mean()
        assert (left > right) == (side == "LEFT")
        corner = image[:6, :6] if side == "LEFT" else image[:6, -6:]
        assert (corner.mean() > 100) == (view == "MLO")


# --- bad arguments


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"n_patients": 0}, ValueError, "n_patients is 0"),
        ({"n_patients": 2.0}, TypeError, "n_patients is 2.0"),
        ({"size": 16}, ValueError, "size is 16.*from 32 to 1024"),
        ({"size": True}, TypeError, "size is True"),
        ({"seed": -1}, ValueError, "seed is -1"),
        ({"link": "blunt"}, ValueError, "link is 'blunt'.*'official'.*'sharp'"),
        ({"noise": -1.0}, ValueError, "noise is -1.0"),
        ({"noise": float("nan")}, ValueError, "noise is nan"),
        ({"contrast": 0}, ValueError, "contrast is 0"),
        ({"lesion_scale": "big"}, ValueError, "lesion_scale is 'big'"),
    ],
)
def test_crops_refuse_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        make_lesion_crops(**{"n_patients": 2, "size": 48, "seed": 0, **arguments})


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"prevalence": 1.5}, ValueError, "prevalence is 1.5"),
        ({"size": 128}, ValueError, r"size is 128.*\(height, width\)"),
        ({"size": (16, 128)}, ValueError, r"size\[0\] is 16"),
        ({"breasts": 3}, ValueError, "breasts is 3"),
    ],
)
def test_mammograms_refuse_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        make_mammograms(**{"n_patients": 2, "prevalence": 0.5, "seed": 0, **arguments})


# --- data sets on disk

SMALL = (96, 64)


@pytest.fixture(scope="module")
def kaggle(tmp_path_factory):
    root = tmp_path_factory.mktemp("phantom") / "kaggle"
    write_cbis_ddsm(root, 24, layout="kaggle", seed=4, size=SMALL)
    return root


@pytest.fixture(scope="module")
def tcia(tmp_path_factory):
    root = tmp_path_factory.mktemp("phantom") / "tcia"
    write_cbis_ddsm(root, 24, layout="tcia", seed=4, size=SMALL)
    return root


def table_rows(folder, kind):
    rows = []
    for split in ("train", "test"):
        path = folder / f"{kind}_case_description_{split}_set.csv"
        with path.open(newline="", encoding="utf-8") as file:
            rows += [{**row, "split": split} for row in csv.DictReader(file)]
    return rows


def series(path):
    return path.strip().split("/")[2]


def test_some_masses_are_seen_in_one_view_as_in_the_official_tables(kaggle):
    drawn = [phantom_trees.draw_mass_patient(i, 4, "official", True) for i in range(400)]
    seen = [
        lesion.views
        for patient in drawn
        for lesions in patient.breasts.values()
        for lesion in lesions
    ]
    error = np.sqrt(314 / 1005 * 691 / 1005 / len(seen))
    assert (
        abs(np.mean([len(views) == 1 for views in seen]) - 314 / 1005) < MONTE_CARLO_ERRORS * error
    )
    assert {views for views in seen if len(views) == 1} == {("CC",), ("MLO",)}
    rows = pd.DataFrame(table_rows(kaggle / "csv", "mass"))
    lesion = ["patient_id", "left or right breast", "abnormality id"]
    written = rows.groupby(lesion)["image view"].agg(tuple)
    expected = {
        (patient.identity, side, str(number)): lesion.views
        for patient in drawn[:24]
        for side, lesions in patient.breasts.items()
        for number, lesion in enumerate(lesions, 1)
    }
    assert written.to_dict() == expected


@pytest.mark.parametrize("name", ["mass", "calc"])
def test_both_layouts_have_the_same_tables(kaggle, tcia, name):
    assert table_rows(kaggle / "csv", name) == table_rows(tcia, name)


def test_tables_have_the_official_columns_and_newlines(kaggle):
    folder = test_data("cbis-ddsm-csv")
    for kind, field in (("mass", "ROI mask file path"), ("calc", "cropped image file path")):
        real, made = table_rows(folder, kind), table_rows(kaggle / "csv", kind)
        assert list(made[0]) == list(real[0])
        for rows in (real, made):
            assert all(row[field].endswith("\n") for row in rows)
        for name in ("pathology", "left or right breast", "image view", "abnormality type"):
            assert {row[name] for row in made} <= {row[name] for row in real}


def test_first_patient_has_both_labels_in_one_image_and_the_second_a_changing_one(kaggle):
    rows = pd.DataFrame(table_rows(kaggle / "csv", "mass"))
    malignant = rows["pathology"] == "MALIGNANT"
    first = malignant[rows["patient_id"] == "P_00001"].groupby(rows["image file path"]).nunique()
    assert set(first) == {2}
    lesion = ["patient_id", "left or right breast", "abnormality id"]
    changing = malignant.groupby([rows[name] for name in lesion]).nunique()
    assert {index[0] for index in changing.index[changing == 2]} == {"P_00002"}


def test_one_patient_stands_in_both_sets_when_masses_and_calcifications_are_pooled(kaggle):
    masses, calcifications = (
        {(row["patient_id"], row["split"]) for row in table_rows(kaggle / "csv", kind)}
        for kind in ("mass", "calc")
    )
    assert len({patient for patient, _ in masses}) == len(masses) == 24
    both = {patient for patient, _ in masses} & {patient for patient, _ in calcifications}
    assert both == {"P_00001"}
    assert not masses & calcifications


def test_kaggle_tree_names_files_that_exist(kaggle):
    info = pd.read_csv(kaggle / "csv" / "dicom_info.csv", keep_default_na=False)
    assert info.shape[1] == 38
    files = {path.relative_to(kaggle).as_posix() for path in kaggle.rglob("*.jpg")}
    assert {path.removeprefix("CBIS-DDSM/") for path in info["image_path"]} == files
    meta = pd.read_csv(kaggle / "csv" / "meta.csv")
    assert meta["ImageCount"].sum() == len(info)
    assert meta["SeriesInstanceUID"].is_unique


def test_kaggle_tree_has_empty_descriptions_of_films_and_masks_only(kaggle):
    info = pd.read_csv(kaggle / "csv" / "dicom_info.csv", keep_default_na=False)
    empty = info[info["SeriesDescription"] == ""]
    assert set(empty["BitsAllocated"]) == {8, 16}
    assert (empty["Rows"] > 90).all()  # films and masks, none of the crops
    crop_or_film = info.loc[info["SeriesDescription"] != "", ["SeriesDescription", "BitsAllocated"]]
    assert set(map(tuple, crop_or_film.to_numpy())) == {
        ("full mammogram images", 16),
        ("cropped images", 16),
        ("ROI mask images", 8),
    }


def test_crop_and_mask_share_most_series_in_either_order(kaggle):
    info = pd.read_csv(kaggle / "csv" / "dicom_info.csv", keep_default_na=False)
    first = info[info["InstanceNumber"] == 1].set_index("SeriesInstanceUID")["BitsAllocated"]
    rows = table_rows(kaggle / "csv", "mass")
    shared = [
        row
        for row in rows
        if series(row["cropped image file path"]) == series(row["ROI mask file path"])
    ]
    assert 0.5 < len(shared) / len(rows) < 1
    assert {first[series(row["cropped image file path"])] for row in shared} == {8, 16}


def read_dicoms(root):
    import pydicom

    return {path: pydicom.dcmread(path) for path in sorted(root.rglob("*.dcm"))}


def test_tcia_tree_keeps_16_bits_and_masks_of_0_and_255(tcia):
    for path, dataset in read_dicoms(tcia).items():
        pixels = dataset.pixel_array
        assert dataset.PhotometricInterpretation == "MONOCHROME2"
        assert dataset.PatientID == path.relative_to(tcia).parts[1]
        assert path.parts[-2:-1] == (dataset.SeriesInstanceUID,)
        if dataset.BitsAllocated == 8:
            assert pixels.dtype == np.uint8
            assert set(np.unique(pixels)) == {0, 255}
        else:
            assert pixels.dtype == np.uint16
            assert len(np.unique(pixels)) > 256


def test_tcia_crops_are_cut_from_their_films_and_masks_lie_on_them(tcia):
    import cv2

    by_uid = {}
    for dataset in read_dicoms(tcia).values():
        by_uid.setdefault((dataset.SeriesInstanceUID, dataset.BitsAllocated), dataset.pixel_array)
    sizes = set()
    for row in table_rows(tcia, "mass"):
        full = by_uid[series(row["image file path"]), 16]
        crop = by_uid[series(row["cropped image file path"]), 16]
        mask = by_uid[series(row["ROI mask file path"]), 8]
        match = cv2.matchTemplate(
            full.astype(np.float32), crop.astype(np.float32), cv2.TM_CCOEFF_NORMED
        )
        _, best, _, (left, top) = cv2.minMaxLoc(match)
        assert best > 0.999
        height, width = crop.shape
        np.testing.assert_array_equal(full[top : top + height, left : left + width], crop)
        found = np.argwhere(mask)
        assert (found >= (top, left)).all()
        assert (found < (top + height, left + width)).all()
        sizes.add(tuple(np.subtract(mask.shape, full.shape)))
    assert (0, 0) in sizes
    assert len(sizes) > 1
    assert all(max(map(abs, size)) <= 3 for size in sizes)


def test_tcia_file_numbers_start_at_0_or_1(tcia):
    names = {path.name for path in tcia.rglob("*.dcm")}
    assert {"000000.dcm", "000001.dcm", "000002.dcm", "1-1.dcm", "1-2.dcm"} == names


def test_without_quirks_there_are_none(tmp_path):
    write_cbis_ddsm(tmp_path / "tree", 6, layout="kaggle", seed=1, size=SMALL, quirks=False)
    info = pd.read_csv(tmp_path / "tree" / "csv" / "dicom_info.csv", keep_default_na=False)
    assert (info["SeriesDescription"] != "").all()
    assert info["SeriesInstanceUID"].is_unique
    rows = table_rows(tmp_path / "tree" / "csv", "mass")
    assert not any("\n" in value for row in rows for value in row.values())
    assert len({row["patient_id"] for row in rows}) == 6


@pytest.fixture(scope="module")
def inbreast(tmp_path_factory):
    root = tmp_path_factory.mktemp("phantom") / "inbreast"
    write_inbreast(root, 24, seed=2, size=SMALL)
    return root


def inbreast_rows(root):
    with (root / "INbreast.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter=";"))


def test_inbreast_files_are_named_as_the_real_ones(inbreast):
    names = [path.name for path in (inbreast / "AllDICOMs").iterdir()]
    pattern = re.compile(r"(\d{8})_([0-9a-f]{16})_MG_([LR])_(CC|ML|FB)_ANON\.dcm")
    parts = [pattern.fullmatch(name).groups() for name in names]
    assert {number for number, *_ in parts} == {
        row["File Name"] for row in inbreast_rows(inbreast)[:-2]
    }
    assert [view for *_, view in parts].count("FB") == 1
    assert len({patient for _, patient, *_ in parts}) == 24


def test_inbreast_table_has_text_categories_and_two_footers(inbreast):
    *rows, last, end = inbreast_rows(inbreast)
    assert "Mass " in rows[0]
    assert not last["File Name"]
    assert not end["File Name"]
    categories = {row["Bi-Rads"] for row in rows}
    assert categories <= {"1", "2", "3", "4a", "4b", "4c", "5", "6"}
    assert categories & {"4a", "4b", "4c"}
    assert [row["View"] for row in rows].count("FB") == 1


def test_inbreast_categories_have_the_official_shares():
    found = [
        birads[0]
        for patient in range(700)
        for _, _, birads in phantom.draw_findings(patient, 0.49, 2, 0, "official")[1]
    ]
    official = {"1": 67, "2": 220, "3": 23, "4": 43, "5": 49, "6": 8}
    # 0.49 / 2 of the breasts have a malignant mass, as have 100 of the 410 films
    counts = pd.Series(found).value_counts().reindex(official.keys())
    expected = np.array(list(official.values())) * len(found) / 410
    assert stats.chisquare(counts, expected).pvalue > 0.001


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_small_inbreast_has_benign_masses_of_category_3_which_the_reader_drops(tmp_path, seed):
    from mammocourse.datasets import read_inbreast

    write_inbreast(tmp_path / "tree", 10, seed=seed, size=SMALL)
    kept, dropped = (read_inbreast(tmp_path / "tree", birads3=way) for way in ("keep", "drop"))
    third = kept["birads"] == 3
    assert third.any()
    assert kept.loc[third, "mass"].all()
    assert len(dropped) == len(kept) - third.sum()
    assert set(dropped.loc[dropped["birads"] >= 4, "label"]) <= {1}


def test_inbreast_pictures_have_14_of_16_bits(inbreast):
    for dataset in read_dicoms(inbreast).values():
        assert (dataset.BitsAllocated, dataset.BitsStored) == (16, 14)
        assert dataset.pixel_array.max() < 2**14


@pytest.mark.filterwarnings("ignore:The xlrd engine:Warning")
def test_inbreast_workbook_holds_the_same_table(inbreast, tmp_path):
    write_inbreast(tmp_path / "xls", 24, seed=2, size=SMALL, table="xls")
    book = pd.read_excel(
        tmp_path / "xls" / "INbreast.xls", dtype=str, keep_default_na=False, engine="xlrd"
    )
    text = pd.read_csv(inbreast / "INbreast.csv", sep=";", dtype=str, keep_default_na=False)
    pd.testing.assert_frame_equal(book, text)


# --- writing


@pytest.mark.parametrize("write", [write_cbis_ddsm, write_inbreast])
def test_folder_with_content_is_refused_and_left_alone(tmp_path, write):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(
        FileExistsError, match=f"root is {re.escape(str(tmp_path))}.*Nothing was written"
    ):
        write(tmp_path, 1, seed=0, size=SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_empty_folder_is_filled(tmp_path):
    write_inbreast(tmp_path / "new", 1, seed=0, size=SMALL)
    (tmp_path / "empty").mkdir()
    write_inbreast(tmp_path / "empty", 1, seed=0, size=SMALL)
    assert (tmp_path / "empty" / "INbreast.csv").read_bytes() == (
        tmp_path / "new" / "INbreast.csv"
    ).read_bytes()


def test_a_write_that_fails_leaves_nothing(tmp_path, monkeypatch):
    def fail(*arguments):
        raise OSError("disk full")

    monkeypatch.setattr(phantom_trees, "write_official_table", fail)
    with pytest.raises(OSError, match="disk full"):
        write_cbis_ddsm(tmp_path / "tree", 1, seed=0, size=SMALL)
    assert not list(tmp_path.iterdir())


def test_same_seed_writes_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        write_cbis_ddsm(tmp_path / name, 2, layout="tcia", seed=7, size=SMALL)
    one, two = (
        {
            path.relative_to(tmp_path / name): path.read_bytes()
            for path in (tmp_path / name).rglob("*.*m")
        }
        for name in ("one", "two")
    )
    assert one == two


@pytest.mark.parametrize(
    ("write", "arguments", "message"),
    [
        (write_cbis_ddsm, {"layout": "zip"}, "layout is 'zip'.*'kaggle' or 'tcia'"),
        (write_inbreast, {"table": "ods"}, "table is 'ods'.*'csv' or 'xls'"),
        (write_inbreast, {"prevalence": -0.1}, "prevalence is -0.1"),
    ],
)
def test_writers_refuse_bad_arguments(tmp_path, write, arguments, message):
    with pytest.raises(ValueError, match=message):
        write(tmp_path / "new", 1, seed=0, **arguments)
    assert not list(tmp_path.iterdir())
