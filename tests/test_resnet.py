"""Specification of mammocourse.resnet: the classifiers, freezing, and the cached trunk."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from mammocourse import resnet
from mammocourse.models import (
    build_resnet50_classifier,
    build_resnet_classifier,
    cache_trunk,
    freeze_batchnorm,
    freeze_until,
)
from tolerances import FLOAT32

HALF_ROUNDING = 0.01
"""Largest change of a logit by a float16 cache, in standard deviations of the logits over
images. Measured: 0.003 for noise images, which hardly differ, so that 0.01 is on the safe side."""

SHAPE = (64, 64, 1)
STAGES = ["head", "conv5", "conv4", "conv3", "conv2", "all"]


def course(shape=SHAPE, **options):
    keras.utils.set_random_seed(7)
    return build_resnet_classifier(shape, **{"architecture": "course", "weights": None, **options})


def pictures(n=10, shape=SHAPE, seed=0):
    return np.random.default_rng(seed).random((n, *shape), dtype=np.float32)


def predict(model, images):
    return np.asarray(model(np.asarray(images), training=False))


def fit(model, images, epochs=1):
    labels = np.arange(len(images)) % 2
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-2), loss, run_eagerly=True)  # spares the graph
    model.fit(images, labels, epochs=epochs, batch_size=5, verbose=0)


def state(model):
    return {weight.path: weight.numpy() for weight in model.weights}


def moved(before, after):
    return {path for path in before if before[path].tobytes() != after[path].tobytes()}


@pytest.fixture(scope="module")
def resnet50():
    keras.utils.set_random_seed(7)
    return build_resnet50_classifier((224, 224, 1), weights=None)


@pytest.fixture(scope="module")
def small_resnet50():
    keras.utils.set_random_seed(7)
    return build_resnet50_classifier((64, 96, 3), weights=None, head="average")


@pytest.fixture(scope="module")
def stem():
    """Of a network whose frozen part is the stem alone: quick to run."""
    return course(trainable_from="conv2")


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(resnet._Blocks, "SIZE", 4)


# The network


def test_parameter_counts_of_resnet50_are_kerass(resnet50):
    base = keras.applications.ResNet50(include_top=False, weights=None, input_shape=(224, 224, 3))
    head = resnet50.get_layer("logits").count_params()
    assert head == 7 * 7 * 2048 * 2 + 2 == 200_706
    assert resnet50.count_params() - head == base.count_params() == 23_587_712
    conv5 = [layer for layer in base.layers if layer.name.startswith("conv5")]
    normal = [layer for layer in conv5 if isinstance(layer, keras.layers.BatchNormalization)]
    expected = sum(layer.count_params() for layer in conv5 if layer not in normal) + head
    trained = sum(weight.numpy().size for weight in resnet50.trainable_weights)
    assert trained == expected == 15_154_178


def test_resnet50_computes_what_keras_does_with_its_own_preprocessing(small_resnet50):
    base = keras.applications.ResNet50(include_top=False, weights=None, input_shape=(64, 96, 3))
    *weights, kernel, bias = small_resnet50.get_weights()
    base.set_weights(weights)
    images = pictures(3, (64, 96, 3))
    prepared = keras.applications.resnet50.preprocess_input(255 * images)
    features = predict(base, prepared).mean(axis=(1, 2))
    logits = predict(small_resnet50, images)
    np.testing.assert_allclose(logits, features @ kernel + bias, rtol=FLOAT32, atol=FLOAT32 * 10)


def test_one_channel_is_repeated_and_unprepared_images_go_in_as_they_are(small_resnet50):
    grey = build_resnet50_classifier((64, 96, 1), weights=None, head="average")
    thesis = build_resnet50_classifier(
        (64, 96, 1), weights=None, head="average", preprocessing=None
    )
    bare = keras.applications.ResNet50(include_top=False, weights=None, input_shape=(64, 96, 3))
    *weights, kernel, bias = small_resnet50.get_weights()
    for model in (grey, thesis):
        model.set_weights([*weights, kernel, bias])
    bare.set_weights(weights)
    images = pictures(3, (64, 96, 1))
    thrice = np.repeat(images, 3, axis=-1)
    expected = predict(small_resnet50, thrice)
    np.testing.assert_allclose(predict(grey, images), expected, rtol=FLOAT32)
    expected = predict(bare, thrice).mean(axis=(1, 2)) @ kernel + bias
    np.testing.assert_allclose(predict(thesis, images), expected, rtol=10 * FLOAT32)


def test_graph_is_flat_and_its_layers_have_kerass_names(resnet50):
    theirs = {layer.name for layer in keras.applications.ResNet50(weights=None).layers}
    ours = {"images", "repeat_channel", "minus_mean", "flatten", "dropout", "logits"}
    assert {layer.name for layer in resnet50.layers} - theirs == ours
    names = {layer.name for layer in course().layers}
    assert names - theirs == {"images", "standardize", "flatten", "dropout", "logits"}
    assert {f"conv{stage}_block2_out" for stage in (2, 3, 4, 5)} <= names


def test_course_network_has_the_same_block_design_in_the_stated_sizes():
    model = course()
    assert model.count_params() < 1_000_000
    for stage, width, side in zip((2, 3, 4, 5), (16, 32, 64, 128), (16, 8, 4, 2), strict=True):
        assert model.get_layer(f"conv{stage}_block1_2_conv").filters == width
        assert model.get_layer(f"conv{stage}_block2_out").output.shape[1:] == (
            side,
            side,
            4 * width,
        )


def test_course_network_averages_three_channels_and_standardizes():
    grey, color, raw = course(), course((64, 64, 3)), course(preprocessing=None)
    for model in (color, raw):
        model.set_weights(grey.get_weights())
    images = pictures(4, (64, 64, 3))
    mean = images.mean(axis=-1, keepdims=True)
    expected = predict(grey, mean)
    np.testing.assert_allclose(predict(color, images), expected, atol=FLOAT32)
    unprepared = predict(raw, (mean - 0.5) / 0.25)
    np.testing.assert_allclose(unprepared, expected, atol=FLOAT32)


@pytest.mark.parametrize("shape", [(64, 64, 1), (100, 333, 3), (512, 64, 1), (512, 512, 1)])
def test_sizes_from_64_to_512_give_logits(shape):
    model = course(shape, classes=3)
    assert predict(model, pictures(1, shape)).shape == (1, 3)


def test_average_head_pools_over_the_image():
    model = course(head="average", dropout=0.3)
    assert isinstance(model.get_layer("avg_pool"), keras.layers.GlobalAveragePooling2D)
    assert model.get_layer("logits").count_params() == 512 * 2 + 2
    assert model.get_layer("dropout").rate == 0.3


def test_penalty_is_kerass_l2_without_one_half():
    model = course(l2=0.05)
    kernel = model.get_layer("logits").kernel.numpy()
    (penalty,) = model.losses
    np.testing.assert_allclose(float(penalty), 0.05 * np.sum(kernel**2), rtol=FLOAT32)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_logits_are_float32_under_mixed_precision(policy):
    keras.mixed_precision.set_dtype_policy(policy)
    try:
        model = course()
        cached = cache_trunk(model, pictures())
    finally:
        keras.mixed_precision.set_dtype_policy("float32")
    logits = model.predict(pictures(), verbose=0)
    assert logits.dtype == np.float32
    assert model.get_layer("conv1_conv").compute_dtype in policy
    np.testing.assert_allclose(
        cached.head.predict(cached.features, verbose=0), logits, atol=FLOAT32
    )


@pytest.mark.parametrize("architecture", ["course", "resnet50"])
def test_saved_model_loads_without_the_package(architecture, tmp_path, small_resnet50):
    model = course((64, 96, 3)) if architecture == "course" else small_resnet50
    model.save(tmp_path / "model.keras")
    assert "mammocourse" not in model.to_json()
    loaded = keras.models.load_model(tmp_path / "model.keras")
    images = pictures(2, (64, 96, 3))
    np.testing.assert_array_equal(predict(loaded, images), predict(model, images))
    assert [w.path for w in loaded.trainable_weights] == [w.path for w in model.trainable_weights]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input_shape": (64, 64)}, "three integers"),
        ({"input_shape": (64.5, 64, 1)}, "three integers"),
        ({"input_shape": 64}, "three integers"),
        ({"input_shape": (63, 64, 1)}, "64 to 512 pixels.*resize_image"),
        ({"input_shape": (64, 513, 1)}, "64 to 512 pixels"),
        ({"input_shape": (64, 64, 2)}, "1 or 3 channels"),
        ({"architecture": "resnet18"}, "architecture is 'resnet18'.*'course'"),
        ({"head": "max"}, "head is 'max'.*'average'"),
        ({"trainable_from": "conv1"}, "trainable_from is 'conv1'.*'all'"),
        ({"preprocessing": "caffe"}, "preprocessing is 'caffe'"),
        ({"classes": 1}, "classes is 1.*argmax"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"l2": -1}, "l2 is -1"),
        ({"weights": 3}, "weights is 3"),
        ({"weights": "imagenet"}, "'resnet50' only.*weights='course'"),
        ({"weights": "course", "architecture": "resnet50"}, "'course' only.*weights='imagenet'"),
    ],
)
def test_bad_arguments_are_named_with_what_was_expected(options, message):
    settings = {"input_shape": SHAPE, "architecture": "course", "weights": None, **options}
    with pytest.raises(ValueError, match=f"(?s){message}"):
        build_resnet_classifier(**settings)


# Weights


def save_npz(path, model, dtype=np.float32):
    np.savez(path, **{weight.path: weight.numpy().astype(dtype) for weight in model.weights})


@pytest.mark.parametrize("part", ["whole", "base"])
@pytest.mark.parametrize("suffix", [".npz", ".keras", ".weights.h5"])
def test_weights_are_loaded_from_a_file_of_the_whole_or_of_the_base(part, suffix, tmp_path):
    source = course()
    stored = source
    if part == "base":
        stored = keras.Model(source.inputs, source.get_layer("conv5_block2_out").output)
    path = tmp_path / f"w{suffix}"
    save = {".npz": lambda: save_npz(path, stored), ".keras": lambda: stored.save(path)}
    save.get(suffix, lambda: stored.save_weights(path))()
    keras.utils.set_random_seed(8)
    loaded = build_resnet_classifier(SHAPE, architecture="course", weights=path)
    other = moved(state(source), state(loaded))
    assert other == (set() if part == "whole" else {"logits/kernel"})


@pytest.mark.parametrize("suffix", [".npz", ".keras", ".weights.h5"])
def test_head_of_another_shape_is_left_out_with_a_warning(suffix, tmp_path):
    source = course()
    path = tmp_path / f"w{suffix}"
    save = {".npz": lambda: save_npz(path, source), ".keras": lambda: source.save(path)}
    save.get(suffix, lambda: source.save_weights(path))()
    with pytest.warns(UserWarning, match="base was loaded, but its output layer"):
        loaded = course(weights=path, classes=5)
    before = {name: array for name, array in state(source).items() if "logits" not in name}
    assert moved(before, state(loaded)) == set()


def test_bundled_weights_are_read_through_their_checksum(tmp_path, monkeypatch):
    source = course()
    save_npz(tmp_path / resnet.COURSE_WEIGHTS, source, np.float16)
    asked = []

    def read_bytes(name):
        asked.append(name)
        return (tmp_path / name).read_bytes()

    monkeypatch.setattr("mammocourse.resources.read_bytes", read_bytes)
    loaded = course(weights="course")
    assert asked == ["course_resnet.npz"]
    for path, array in state(loaded).items():
        np.testing.assert_array_equal(array, state(source)[path].astype(np.float16))


def test_imagenet_weights_are_kerass_own(monkeypatch):
    original, asked = keras.applications.ResNet50, []

    def download(include_top, weights, input_tensor):
        asked.append(weights)
        return original(include_top=include_top, weights=None, input_tensor=input_tensor)

    monkeypatch.setattr(keras.applications, "ResNet50", download)
    build_resnet_classifier((64, 64, 1))
    assert asked == ["imagenet"]


def test_imagenet_weights_without_a_network_are_an_error_with_remedies(monkeypatch):
    def fail(**options):
        raise Exception("URL fetch failure")

    monkeypatch.setattr(keras.applications, "ResNet50", fail)
    with pytest.raises(RuntimeError, match=r"(?s)URL fetch failure.*path.*architecture='course'"):
        build_resnet_classifier((64, 64, 1))


def test_missing_file_and_unknown_format_are_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file .*nothing.npz"):
        course(weights=tmp_path / "nothing.npz")
    (tmp_path / "w.pt").write_bytes(b"")
    with pytest.raises(ValueError, match="must end in"):
        course(weights=tmp_path / "w.pt")


@pytest.mark.parametrize("suffix", [".npz", ".keras", ".weights.h5"])
def test_damaged_file_is_an_error_that_names_it(suffix, tmp_path):
    path = tmp_path / f"w{suffix}"
    path.write_bytes(b"not a file of weights")
    with pytest.raises(ValueError, match=f"w{suffix}"):
        course(weights=path)


def test_weights_of_another_architecture_are_an_error(tmp_path):
    source = course()
    arrays = state(source)
    np.savez(tmp_path / "few.npz", **{"conv1_conv/kernel": arrays["conv1_conv/kernel"]})
    with pytest.raises(ValueError, match=r"no array for .*another architecture"):
        course(weights=tmp_path / "few.npz")
    arrays["conv1_conv/kernel"] = np.zeros((3, 3, 1, 16))
    np.savez(tmp_path / "other.npz", **arrays)
    with pytest.raises(ValueError, match=r"conv1_conv/kernel has shape \(3, 3, 1, 16\)"):
        course(weights=tmp_path / "other.npz")
    source.save_weights(tmp_path / "course.weights.h5")
    with pytest.raises(ValueError, match="neither the weights of resnet50"):
        build_resnet50_classifier(SHAPE, weights=tmp_path / "course.weights.h5")


# Freezing


@pytest.mark.parametrize("stage", STAGES)
def test_only_the_stages_from_there_on_are_trainable(stage):
    model = freeze_until(course(), stage)
    order = ["conv1", "conv2", "conv3", "conv4", "conv5", "logits"]
    first = {"all": "conv1", "head": "logits"}.get(stage, stage)
    expected = set(order[order.index(first) :])
    trained = {weight.path for weight in model.trainable_weights}
    assert {path[:5] if path.startswith("conv") else "logits" for path in trained} == expected
    assert not any("_bn/" in path for path in trained)


def test_fit_leaves_frozen_weights_and_statistics_bit_identical_whatever_was_unfrozen():
    model = course()
    for stage in ("conv5", "conv4", "all", "head"):
        freeze_until(model, stage)
        before = state(model)
        fit(model, pictures())
        assert moved(before, state(model)) == {weight.path for weight in model.trainable_weights}


def test_loaded_statistics_never_move_even_if_all_is_trained(tmp_path):
    save_npz(tmp_path / "w.npz", course())
    model = course(weights=tmp_path / "w.npz", trainable_from="all")
    before = state(model)
    fit(model, pictures())
    after = moved(before, state(model))
    assert "conv1_conv/kernel" in after
    assert not any("_bn/" in path for path in after)


def test_training_from_scratch_trains_batch_normalization():
    model = course(trainable_from="all")
    before = state(model)
    fit(model, pictures())
    assert moved(before, state(model)) == set(before)


def test_freeze_batchnorm_reaches_nested_models():
    inner = keras.Sequential([keras.Input((4,)), keras.layers.BatchNormalization()])
    outer = keras.Sequential([keras.Input((4,)), inner, keras.layers.Dense(2)])
    freeze_batchnorm(outer)
    before = inner.get_weights()
    fit(outer, np.random.default_rng(0).normal(3, 2, (20, 4)))
    for old, new in zip(before, inner.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_freeze_until_wants_a_flat_resnet_and_a_known_stage():
    with pytest.raises(ValueError, match=r"stage is 'conv9'.*'conv5'"):
        freeze_until(course(), "conv9")
    nested = keras.Sequential([keras.Input(SHAPE), course()])
    with pytest.raises(ValueError, match=r"no layers .* conv1, .*input_tensor"):
        freeze_until(nested, "conv5")


def test_layers_behind_the_base_belong_to_the_head_whatever_their_name():
    base = course().get_layer("conv5_block2_out").output
    x = keras.layers.GlobalMaxPooling2D(name="my_pool")(base)
    model = keras.Model(base._keras_history.operation.output, x)
    with pytest.raises(ValueError, match="no layers"):
        freeze_until(model, "head")
    source = course()
    x = keras.layers.Flatten()(source.get_layer("conv5_block2_out").output)
    model = keras.Model(source.inputs, keras.layers.Dense(2, name="mine")(x))
    trained = freeze_until(model, "head").trainable_weights
    assert {weight.path for weight in trained} == {"mine/kernel", "mine/bias"}


# The cache


@pytest.mark.parametrize(
    ("stage", "boundary"),
    [
        ("head", "conv5_block2_out"),
        ("conv5", "conv4_block2_out"),
        ("conv3", "conv2_block2_out"),
        ("conv2", "pool1_pool"),
    ],
)
def test_logits_through_the_cache_are_those_of_the_whole_model(stage, boundary):
    model = course(trainable_from=stage)
    images = pictures()
    cached = cache_trunk(model, images, batch_size=3)
    assert cached.boundary == boundary
    assert cached.features.shape == (10, *model.get_layer(boundary).output.shape[1:])
    logits = predict(cached.head, cached.features)
    np.testing.assert_allclose(logits, predict(model, images), atol=FLOAT32)


def test_logits_of_resnet50_through_the_cache_are_those_of_the_whole_model(small_resnet50):
    images = pictures(6, (64, 96, 3))
    whole = predict(small_resnet50, images)
    cached = cache_trunk(small_resnet50, images)
    assert cached.boundary == "conv4_block6_out"
    logits = predict(cached.head, cached.features)
    np.testing.assert_allclose(logits, whole, rtol=FLOAT32, atol=FLOAT32)
    half = cache_trunk(small_resnet50, images, dtype="float16")
    assert half.features.dtype == np.float16
    error = np.abs(predict(half.head, half.features) - whole)
    assert error.max() < HALF_ROUNDING * whole.std(axis=0).min()


def test_float16_cache_moves_the_logits_by_a_small_part_of_their_spread():
    model, images = course(), pictures(40)
    whole = predict(model, images)
    cached = cache_trunk(model, images, dtype="float16")
    error = np.abs(predict(cached.head, cached.features) - whole)
    assert 0 < error.max() < HALF_ROUNDING * whole.std(axis=0).min()


def test_training_the_head_trains_the_model_as_training_the_model_does():
    images = pictures()
    cached_model, whole_model = course(dropout=0.0), course(dropout=0.0)
    cached = cache_trunk(cached_model, images)
    before = state(cached_model)
    for model, x in ((cached.head, cached.features), (whole_model, images)):
        keras.utils.set_random_seed(1)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.SGD(1e-2), loss, run_eagerly=True)
        model.fit(x, np.arange(10) % 2, epochs=3, batch_size=5, verbose=0)
    after = state(cached_model)
    assert moved(before, after) == {weight.path for weight in cached_model.trainable_weights}
    for path, value in state(whole_model).items():
        np.testing.assert_allclose(after[path], value, atol=FLOAT32, err_msg=path)


def test_features_on_disk_are_a_memory_map_and_computed_once(
    stem, tmp_path, small_blocks, monkeypatch
):
    model, images = stem, pictures()
    expected = cache_trunk(model, images).features
    first = cache_trunk(model, images, directory=tmp_path / "new" / "folder")
    assert isinstance(first.features, np.memmap)
    np.testing.assert_array_equal(first.features, expected)
    with pytest.raises(ValueError, match="read-only"):
        first.features[0] = 0
    monkeypatch.setattr(keras.Model, "predict", None)
    again = cache_trunk(model, images, directory=tmp_path / "new" / "folder")
    np.testing.assert_array_equal(again.features, expected)


def count_blocks(monkeypatch):
    written, write = [], resnet._Entry.write
    monkeypatch.setattr(
        resnet._Entry, "write", lambda self, i, x: (written.append(i), write(self, i, x))
    )
    return written


def test_killed_run_loses_at_most_one_block(stem, tmp_path, small_blocks, monkeypatch):
    model, images = stem, pictures()
    expected = cache_trunk(model, images).features
    with monkeypatch.context() as patch:
        replace, calls = resnet.os.replace, []

        def killed(source, target):  # the block is on disk, the manifest does not know it yet
            calls.append(target)
            if len(calls) == 2:
                raise KeyboardInterrupt
            replace(source, target)

        patch.setattr(resnet.os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            cache_trunk(model, images, directory=tmp_path)
    written = count_blocks(monkeypatch)
    resumed = cache_trunk(model, images, directory=tmp_path)
    assert written == [1, 2]
    np.testing.assert_array_equal(resumed.features, expected)


def overwrite(path, position, content):
    with path.open("r+b") as file:
        file.seek(position)
        file.write(content)


@pytest.mark.parametrize(
    ("suffix", "damage", "blocks"),
    [
        (".npy", lambda path: overwrite(path, path.stat().st_size - 9, b"\xff"), [2]),
        (".npy", lambda path: path.write_bytes(path.read_bytes()[:-1]), [2]),
        (".npy", lambda path: overwrite(path, 0, b"\0"), [0, 1, 2]),
        (".npy", lambda path: path.unlink(), [0, 1, 2]),
        (".json", lambda path: path.write_text("{"), [0, 1, 2]),
        (".json", lambda path: path.write_text("[]"), [0, 1, 2]),
        (".json", lambda path: path.write_text('{"checksums": [null]}'), [0, 1, 2]),
    ],
)
def test_damaged_blocks_are_noticed_and_computed_again(
    suffix, damage, blocks, stem, tmp_path, small_blocks, monkeypatch
):
    model, images = stem, pictures()
    expected = np.array(cache_trunk(model, images, directory=tmp_path).features)
    (path,) = tmp_path.glob(f"*{suffix}")
    damage(path)
    written = count_blocks(monkeypatch)
    with pytest.warns(UserWarning, match=r"damaged.* computed again"):
        repaired = cache_trunk(model, images, directory=tmp_path)
    assert written == blocks
    np.testing.assert_array_equal(repaired.features, expected)
    manifest = json.loads(next(tmp_path.glob("*.json")).read_text())
    assert manifest["shape"] == list(expected.shape)


def test_entries_belong_to_weights_images_boundary_and_dtype(tmp_path):
    model, images = course(), pictures()
    cache_trunk(model, images, directory=tmp_path)
    cache_trunk(course(), images.copy(), directory=tmp_path)  # the same network, built again
    assert len(list(tmp_path.glob("*.npy"))) == 1
    changed = images.copy()
    changed[7, 3, 3, 0] += 1e-6
    cache_trunk(model, changed, directory=tmp_path)
    cache_trunk(model, images, directory=tmp_path, dtype="float16")
    cache_trunk(course(preprocessing=None), images, directory=tmp_path)
    cache_trunk(freeze_until(model, "head"), images, directory=tmp_path)
    freeze_until(model, "conv5")
    bias = model.get_layer("conv3_block1_1_conv").bias
    bias.assign(bias + 1e-6)
    cache_trunk(model, images, directory=tmp_path)
    assert len(list(tmp_path.glob("*.npy"))) == 6


@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize("on_disk", [True, False])
def test_dataset_of_images_gives_the_same_features(batched, on_disk, stem, tmp_path, small_blocks):
    model, images = stem, pictures()
    dataset = tf.data.Dataset.from_tensor_slices(images)
    dataset = dataset.batch(3) if batched else dataset
    directory = tmp_path if on_disk else None
    cached = cache_trunk(model, dataset, directory=directory)
    np.testing.assert_array_equal(cached.features, cache_trunk(model, images).features)
    if on_disk:
        cache_trunk(model, images, directory=tmp_path)
        assert len(list(tmp_path.glob("*.npy"))) == 1


def test_dataset_that_changes_between_passes_is_refused(stem, tmp_path):
    dataset = tf.data.Dataset.from_tensor_slices(pictures(30)).shuffle(30, seed=1)
    with pytest.raises(ValueError, match=r"second pass.*shuffle"):
        cache_trunk(stem, dataset, directory=tmp_path)


def with_labels():
    return tf.data.Dataset.from_tensor_slices((pictures(), np.zeros(10)))


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (lambda: np.zeros((2, *SHAPE), np.uint8), "uint8.*divide"),
        (lambda: 255 * pictures(), r"must lie in \[0, 1\]"),
        (lambda: pictures() * np.nan, r"must lie in \[0, 1\]"),
        (lambda: pictures(2, (64, 65, 1)), r"shape \(64, 65, 1\), the model takes \(64, 64, 1\)"),
        (lambda: pictures()[0], "n, H, W, C"),
        (lambda: pictures()[:0], "n of at least 1"),
        (lambda: tf.data.Dataset.from_tensor_slices(pictures()).take(0), "no images"),
        (lambda: tf.data.Dataset.from_tensor_slices(pictures()).repeat(), r"repeat\(\)"),
        (with_labels, "lambda x, y: x"),
    ],
)
def test_bad_images_are_errors_with_a_remedy(images, message, stem):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        cache_trunk(stem, images())


def test_model_without_a_frozen_or_a_trained_part_is_refused():
    with pytest.raises(ValueError, match=r"nothing to cache.*freeze_until"):
        cache_trunk(course(trainable_from="all"), pictures())
    model = course()
    model.trainable = False
    with pytest.raises(ValueError, match=r"no trainable weights.*freeze_until"):
        cache_trunk(model, pictures())


def test_trainable_normalization_in_the_frozen_part_is_refused():
    model = course()
    normal = model.get_layer("conv2_block1_1_bn")
    normal.trainable = True
    for weight in normal.trainable_weights:
        weight.trainable = False
    with pytest.raises(ValueError, match=r"conv2_block1_1_bn.*freeze_batchnorm"):
        cache_trunk(model, pictures())


@pytest.mark.parametrize(
    "layer", [keras.layers.Dropout(0.2), keras.layers.RandomFlip(), keras.layers.GaussianNoise(1.0)]
)
def test_random_layer_before_the_boundary_is_refused(layer):
    keras.utils.set_random_seed(7)
    images = keras.Input(SHAPE)
    features = resnet._course_features(layer(images))
    logits = keras.layers.Dense(2)(keras.layers.Flatten()(features))
    model = freeze_until(keras.Model(images, logits), "conv5")
    with pytest.raises(ValueError, match=f"{layer.name!r}.*random.*behind the boundary"):
        cache_trunk(model, pictures())


def test_features_too_large_for_float16_are_an_error():
    model = course()
    normal = model.get_layer("conv4_block2_3_bn")
    normal.beta.assign(normal.beta + 1e5)
    with pytest.raises(OverflowError, match=r"conv4_block2_out.*dtype='float32'"):
        cache_trunk(model, pictures(), dtype="float16")
    assert cache_trunk(model, pictures()).features.max() > 65504


@pytest.mark.parametrize("options", [{"dtype": "float64"}, {"batch_size": 0}, {"batch_size": 2.5}])
def test_options_of_the_cache_are_checked(options, stem):
    (name,) = options
    with pytest.raises(ValueError, match=f"{name} is"):
        cache_trunk(stem, pictures(), **options)
