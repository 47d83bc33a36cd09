"""The course weights: what they have learned, and that the source task is apart from the target."""

import functools
import json

import numpy as np
import pytest

from mammocourse import phantom
from mammocourse.models import build_resnet_classifier
from mammocourse.phantom_source import SOURCE_CLASSES, make_source_crops
from mammocourse.resources import checksums, data_path, read_bytes
from tolerances import FLOAT32, MONTE_CARLO_ERRORS

REAL, SHUFFLED = FILES = ("course_resnet.npz", "course_resnet_shuffled.npz")
CHANCE = 1 / 4  # each label has four classes, drawn evenly
FRESH = 400  # new source images


@functools.cache
def archive(name):
    with np.load(data_path(name)) as file:
        return {key: file[key] for key in file.files}


def metadata(name):
    return json.loads(str(archive(name)["metadata"]))


@functools.cache
def fresh():
    return make_source_crops(FRESH, size=metadata(REAL)["size"], seed=77)


@functools.cache
def found_accuracies(name):
    """Accuracies on fresh images, of the network rebuilt from the arrays of the file."""
    from pretrain import accuracies, source_model

    model = source_model(metadata(name)["size"])
    for weight in model.weights:
        weight.assign(archive(name)[weight.path])
    return accuracies(model, fresh())


def error(share):
    return np.sqrt(share * (1 - share) / FRESH)


# --- files


@pytest.mark.parametrize("name", FILES)
def test_file_has_the_recorded_checksum(name):
    assert name in checksums()
    assert read_bytes(name)  # raises where the checksum differs


def test_both_files_together_have_at_most_8_megabytes():
    assert sum(data_path(name).stat().st_size for name in FILES) <= 8e6


@pytest.mark.parametrize("name", FILES)
def test_arrays_are_finite_and_of_half_precision(name):
    for key, values in archive(name).items():
        if key != "metadata":
            assert values.dtype == np.float16, key
            assert np.isfinite(values).all(), key


@pytest.mark.parametrize("name", FILES)
def test_base_takes_its_weights_from_the_file_and_computes_in_float32(name):
    model = build_resnet_classifier((64, 64, 1), architecture="course", weights=data_path(name))
    loaded = [weight for weight in model.weights if not weight.path.startswith("logits")]
    assert len(loaded) > 100
    for weight in loaded:
        assert weight.dtype == "float32"
        np.testing.assert_array_equal(weight.numpy(), archive(name)[weight.path])


def test_course_weights_are_those_of_the_unshuffled_file():
    model = build_resnet_classifier((64, 64, 1), architecture="course", weights="course")
    kernel = model.get_layer("conv1_conv").kernel.numpy()
    np.testing.assert_array_equal(kernel, archive(REAL)["conv1_conv/kernel"])


def test_both_files_come_from_the_same_training_but_for_the_labels():
    real, shuffled = metadata(REAL), metadata(SHUFFLED)
    assert (real["labels"], shuffled["labels"]) == ("real", "shuffled")
    for key in ("size", "batch", "steps", "seeds", "classes", "package"):
        assert real[key] == shuffled[key], key


def test_metadata_name_the_classes_of_the_source_task():
    classes = {name: list(values) for name, values in SOURCE_CLASSES.items()}
    assert metadata(REAL)["classes"] == classes


# --- what they have learned


@pytest.mark.parametrize("label", SOURCE_CLASSES)
def test_weights_know_the_source_labels_of_fresh_images(label):
    share = found_accuracies(REAL)[label]
    assert share > CHANCE + MONTE_CARLO_ERRORS * error(CHANCE)
    stored = metadata(REAL)["accuracy"][label]
    assert abs(share - stored) < MONTE_CARLO_ERRORS * error(stored)


@pytest.mark.parametrize("label", SOURCE_CLASSES)
def test_control_guesses(label):
    share = found_accuracies(SHUFFLED)[label]
    assert abs(share - CHANCE) < MONTE_CARLO_ERRORS * error(CHANCE)


# --- the source task


def test_source_crops_do_not_depend_on_how_many_follow():
    few, many = (make_source_crops(n, size=32, seed=5) for n in (3, 8))
    np.testing.assert_array_equal(few.images, many.images[:3])
    for name, values in few.labels.items():
        np.testing.assert_array_equal(values, many.labels[name][:3])


def test_source_crops_of_another_seed_are_others():
    one, other = (make_source_crops(3, size=32, seed=seed) for seed in (5, 6))
    assert not np.array_equal(one.images, other.images)


def test_source_labels_are_even_and_apart_from_each_other():
    labels = np.stack(list(fresh().labels.values()))
    for first, values in enumerate(labels):
        np.testing.assert_allclose(
            np.bincount(values) / FRESH, CHANCE, atol=MONTE_CARLO_ERRORS * error(CHANCE)
        )
        for others in labels[:first]:
            assert abs(np.corrcoef(values, others)[0, 1]) < MONTE_CARLO_ERRORS / np.sqrt(FRESH)


def test_source_masses_have_one_softness_all_around_and_no_spicules(monkeypatch):
    drawn = []
    render = phantom._render

    def note(lesion, *arguments):
        drawn.append(lesion)
        return render(lesion, *arguments)

    monkeypatch.setattr("mammocourse.phantom_source._render", note)
    crops = make_source_crops(200, size=32, seed=3)
    softness = np.array([lesion.softness for lesion in drawn])
    assert np.ptp(softness, axis=1).max() < FLOAT32
    assert not any(len(lesion.spicules) for lesion in drawn)
    assert {lesion.margins for lesion in drawn} == {""}
    assert abs(
        np.corrcoef(softness[:, 0], crops.labels["shape"])[0, 1]
    ) < MONTE_CARLO_ERRORS / np.sqrt(200)


def test_no_spectrum_of_the_source_is_that_of_the_target():
    assert phantom.SPECTRUM_SLOPE not in SOURCE_CLASSES["texture"]


def test_no_random_stream_of_the_source_is_one_of_the_target(monkeypatch):
    keys = {"source": set(), "target": set()}
    draw = phantom.generator

    def noting(task):
        def note(seed, *path):
            keys[task].add(path)
            return draw(seed, *path)

        return note

    monkeypatch.setattr("mammocourse.phantom_source.generator", noting("source"))
    monkeypatch.setattr("mammocourse.phantom.generator", noting("target"))
    make_source_crops(20, size=32, seed=0)
    phantom.make_lesion_crops(20, size=32, seed=0)
    assert keys["source"]
    assert keys["target"]
    assert not keys["source"] & keys["target"]


@pytest.mark.parametrize(
    ("options", "error_type", "name"),
    [
        ({"n": 0, "size": 64, "seed": 0}, ValueError, "n is 0"),
        ({"n": 1, "size": 16, "seed": 0}, ValueError, "size is 16"),
        ({"n": 1, "size": 64, "seed": -1}, ValueError, "seed is -1"),
        ({"n": 1.5, "size": 64, "seed": 0}, TypeError, "n is 1.5"),
    ],
)
def test_bad_arguments_of_source_crops_are_named(options, error_type, name):
    with pytest.raises(error_type, match=name):
        make_source_crops(**options)
