"""Specification of mammocourse.interpret."""

import os
import subprocess
import sys
import warnings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import matplotlib
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from keras import layers
from scipy import stats

from mammocourse.interpret import (
    GradCAM,
    activation_maps,
    heatmap_mask_energy,
    maximize_filters,
    overlay_heatmap,
    pointing_game,
    randomization_check,
)
from mammocourse.models import build_mnist_cnn
from mammocourse.scratch import conv2d
from tolerances import FLOAT32, FLOAT64, ITERATIVE

SIZE, CHANNELS = (10, 8), 3


def network(*, units=2, ending="logit", nested=False, channels=CHANNELS, bias=0.0):
    """Make a small network, the same weights in every form: two convolutions, one dense layer."""
    shape = (*SIZE, channels)
    trunk = [
        layers.Conv2D(4, 3, activation="relu", name="first"),
        layers.Conv2D(5, 3, padding="same", name="second"),
        layers.LeakyReLU(name="last"),
    ]
    if nested:
        inside = keras.Input(shape)
        maps = inside
        for layer in trunk:
            maps = layer(maps)
        trunk = [keras.Model(inside, maps, name="backbone")]
    fused = ending if ending in ("softmax", "sigmoid") else None
    head = [layers.Flatten(name="flat"), layers.Dense(units, activation=fused, name="head")]
    head += {
        "Softmax": [layers.Softmax()],
        "Softmax and cast": [layers.Softmax(), layers.Activation("linear", dtype="float32")],
        "Softmax and dropout": [layers.Softmax(), layers.Dropout(0.5)],
        "Activation": [layers.Activation("sigmoid")],
    }.get(ending, [])
    model = keras.Sequential([keras.Input(shape), *trunk, *head])
    rng = np.random.default_rng(5)
    model.set_weights([rng.normal(0, 0.4, w.shape) for w in model.get_weights()])
    dense = model.get_layer("head")
    dense.set_weights([dense.get_weights()[0], dense.get_weights()[1] + bias])
    return model


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).random((6, *SIZE, CHANNELS), dtype=np.float32)


@pytest.fixture(scope="module")
def mnist_cnn():
    keras.utils.set_random_seed(0)
    return build_mnist_cnn()


# What a layer computes


def test_activation_maps_are_those_of_our_own_convolution(images):
    model = network()
    kernel, bias = model.get_layer("first").get_weights()
    expected = np.maximum(conv2d(images.astype(np.float64), kernel, bias), 0)
    maps = activation_maps(model, images, "first", batch_size=4)
    assert maps.dtype == np.float32
    np.testing.assert_allclose(maps, expected, atol=FLOAT32)


def test_activation_maps_of_several_layers_are_a_dict_also_inside_a_nested_backbone(images):
    flat, nested = network(), network(nested=True)
    maps = activation_maps(nested, images, ["first", "last", "backbone"])
    assert list(maps) == ["first", "last", "backbone"]
    for name in ("first", "last"):
        np.testing.assert_allclose(maps[name], activation_maps(flat, images, name), atol=ITERATIVE)
    np.testing.assert_array_equal(maps["backbone"], maps["last"])


def test_the_model_is_itself_again_afterwards(images):
    model = network(ending="softmax", nested=True)
    before = model(images).numpy()
    states = [dict(vars(layer)) for layer in (*model.layers, *model.layers[0].layers)]
    activation_maps(model, images, "second")
    GradCAM(model)(images, 1)
    maximize_filters(model, "first", 0, steps=1, pre_activation=True)
    with pytest.raises(ValueError, match="class_index"):
        GradCAM(model)(images, 2)
    np.testing.assert_array_equal(model(images), before)
    after = [dict(vars(layer)) for layer in (*model.layers, *model.layers[0].layers)]
    assert [list(state) for state in after] == [list(state) for state in states]
    assert model.get_layer("head").activation is keras.activations.softmax


# What a filter responds to


def test_all_filters_at_once_are_the_filters_one_at_a_time(mnist_cnn):
    layer = mnist_cnn.layers[0].name
    together = maximize_filters(mnist_cnn, layer, None, steps=60, seed=3, batch_size=20)
    assert together.shape == (32, 28, 28, 1)
    assert together.dtype == np.float32
    for k in (0, 7, 31):
        alone = maximize_filters(mnist_cnn, layer, k, steps=60, seed=3)
        np.testing.assert_allclose(together[[k]], alone, atol=FLOAT32)


def thesis_loop(model, layer, k, start, steps=200, learning_rate=0.1):
    """Climb as section 3.10 says, one filter at a time, in a model that ends at the layer."""
    part = keras.Model(model.inputs, model.get_layer(layer).output)
    image = tf.Variable(start[np.newaxis])
    for _ in range(steps):
        with tf.GradientTape() as tape:
            objective = tf.reduce_mean(part(image)[..., k])
        image.assign_add(learning_rate * tape.gradient(objective, image))
    return image.numpy()[0], float(tf.reduce_mean(part(image)[..., k]))


@pytest.mark.parametrize("layer", ["first", "last"])
def test_objective_is_never_lower_than_a_plain_loop_with_the_thesiss_settings(layer):
    model, filters = network(), [0, 1]
    starts = maximize_filters(model, layer, filters, steps=0, seed=1)
    assert ((starts >= 0) & (starts < 1)).all()
    found, history = maximize_filters(model, layer, filters, seed=1, return_history=True)
    more = maximize_filters(model, layer, filters, seed=1, restarts=4, return_history=True)[1]
    for position, k in enumerate(filters):
        image, objective = thesis_loop(model, layer, k, starts[position])
        scale = np.abs(image).max()
        np.testing.assert_allclose(found[position], image, atol=10 * FLOAT32 * scale)  # 200 steps
        assert history[:, position].max() >= objective * (1 - 10 * FLOAT32)
        assert more[:, position].max() >= history[:, position].max()


def test_history_is_the_objective_of_every_step_and_grows_in_the_first_layer(mnist_cnn):
    layer = mnist_cnn.layers[0].name
    for constraint in (None, "box", "norm"):
        images, history = maximize_filters(
            mnist_cnn, layer, [2, 9], 40, constraint=constraint, seed=0, return_history=True
        )
        assert history.shape == (41, 2)
        maps = activation_maps(mnist_cnn, images, layer)
        means = [maps[0, ..., 2].mean(), maps[1, ..., 9].mean()]
        np.testing.assert_allclose(history.max(axis=0), means, atol=FLOAT32)
        assert (np.diff(history, axis=0) >= -FLOAT32 * history.max()).all()  # convex: monotone


def test_restarts_keep_the_best_of_each_filter():
    model = network()
    options = {"steps": 15, "seed": 2, "return_history": True, "constraint": "norm"}
    images, history = maximize_filters(model, "last", [1, 4], restarts=6, **options)
    one_less = maximize_filters(model, "last", [1, 4], restarts=5, **options)[1]
    single = maximize_filters(model, "last", [1, 4], restarts=1, **options)[1]
    assert (history.max(axis=0) >= one_less.max(axis=0)).all()
    assert (history.max(axis=0) >= single.max(axis=0)).all()
    maps = activation_maps(model, images, "last")
    means = [maps[0, ..., 1].mean(), maps[1, ..., 4].mean()]
    np.testing.assert_allclose(history.max(axis=0), means, atol=FLOAT32)


def mean_map_gradient(kernel, size):
    """Gradient of the mean of a valid convolution, at any image: counted, not differentiated."""
    gradient = np.zeros((*size, kernel.shape[2]))
    rows, columns = size[0] - kernel.shape[0] + 1, size[1] - kernel.shape[1] + 1
    for i in range(rows):
        for j in range(columns):
            gradient[i : i + kernel.shape[0], j : j + kernel.shape[1]] += kernel
    return gradient / (rows * columns)


def test_first_layer_has_a_closed_form_under_the_norm_and_grows_without_end_otherwise(mnist_cnn):
    layer = mnist_cnn.layers[0].name
    filters = [0, 11, 30]
    kernel, bias = mnist_cnn.layers[0].get_weights()
    gradients = [mean_map_gradient(kernel[..., k], (28, 28)) for k in filters]
    norms = np.array([np.linalg.norm(gradient) for gradient in gradients])
    options = {"seed": 0, "pre_activation": True, "return_history": True}
    images, history = maximize_filters(mnist_cnn, layer, filters, constraint="norm", **options)
    expected = [gradient / norm for gradient, norm in zip(gradients, norms, strict=True)]
    np.testing.assert_allclose(images, expected, atol=FLOAT32)
    np.testing.assert_allclose(history[-1], norms + bias[filters], atol=FLOAT32)
    free = maximize_filters(mnist_cnn, layer, filters, learning_rate=10, **options)[1]
    for t in (1, 50, 200):
        np.testing.assert_allclose(free[t] - free[0], 10 * t * norms**2, atol=FLOAT32)


def test_constraints_hold():
    boxed = maximize_filters(
        network(), "first", [0, 1], learning_rate=5.0, constraint="box", seed=0
    )
    assert boxed.min() == 0
    assert boxed.max() == 1
    balls = maximize_filters(network(), "last", constraint="norm", seed=0)
    assert (np.linalg.norm(balls.reshape(len(balls), -1), axis=1) <= 1 + FLOAT32).all()


def test_filter_that_is_silent_at_its_start_is_named():
    model = network()
    kernel, bias = model.get_layer("first").get_weights()
    bias[2] = -100
    model.get_layer("first").set_weights([kernel, bias])
    with pytest.warns(RuntimeWarning, match="filter\\(s\\) 2 of 'first'"):
        maximize_filters(model, "first", [1, 2], steps=3, seed=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        maximize_filters(model, "first", [1, 2], steps=3, seed=0, pre_activation=True)


# Where a decision comes from


def grad_cam_by_hand(model, images, classes):
    """Grad-CAM at the layer "last" in NumPy, before it is enlarged: the head is linear."""
    maps = activation_maps(model, images, "last").astype(np.float64)
    kernel = model.get_layer("head").get_weights()[0].astype(np.float64)
    gradients = kernel.reshape(*maps.shape[1:], -1)
    return np.stack(
        [
            sum(a[..., k] * gradients[..., k, c].mean() for k in range(a.shape[-1]))
            for a, c in zip(maps, classes, strict=True)
        ]
    )


def enlarge(small, size):
    """Bilinear interpolation between pixel centers, constant beyond the outermost ones."""
    large = small
    for axis, n in enumerate(size):
        m = large.shape[axis]
        place = np.clip((np.arange(n) + 0.5) * m / n - 0.5, 0, m - 1)
        low = np.floor(place).astype(int)
        share = (place - low).reshape(-1, *[1] * (1 - axis))
        above = np.take(large, np.minimum(low + 1, m - 1), axis)
        large = (1 - share) * np.take(large, low, axis) + share * above
    return large


@pytest.mark.parametrize("relu", [True, False])
def test_grad_cam_is_the_one_computed_by_hand(images, relu):
    model = network()
    classes = np.array([0, 1, 1, 0, 1, 0])
    small = grad_cam_by_hand(model, images, classes)
    expected = np.stack([enlarge(np.maximum(m, 0) if relu else m, SIZE) for m in small])
    raw = GradCAM(model, "last")(images, classes, normalize=False, relu=relu)
    np.testing.assert_allclose(raw, expected, atol=FLOAT32)
    peaks = np.abs(expected).max(axis=(1, 2), keepdims=True)
    heatmaps = GradCAM(model)(images, classes, relu=relu)
    assert heatmaps.shape == (6, *SIZE)
    assert heatmaps.dtype == np.float32
    np.testing.assert_allclose(heatmaps, expected / peaks, atol=FLOAT32)


def test_weights_of_the_maps_are_finite_differences_of_the_logit(images):
    """Through a head that is not linear, in float64: pooled gradient times the map."""
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    try:
        inside = keras.Input((3, 2, 4))
        hidden = layers.Dense(6, activation="tanh")(layers.Flatten()(inside))
        head = keras.Model(inside, layers.Dense(2)(hidden))
        outside = keras.Input((*SIZE, CHANNELS))
        conv = layers.Conv2D(4, 3, strides=3, activation="sigmoid", padding="valid", name="conv")
        model = keras.Model(outside, head(conv(outside)))
        maps = np.asarray(conv(images[:1].astype(np.float64)))
        step, weights = 1e-5, np.zeros(4)
        for index in np.ndindex(3, 2, 4):
            change = np.zeros_like(maps)
            change[0][index] = step
            up, down = head(maps + change)[0, 1], head(maps - change)[0, 1]
            weights[index[-1]] += float(up - down) / (2 * step) / 6
        expected = enlarge((maps[0] * weights).sum(axis=-1), SIZE)
        raw = GradCAM(model, "conv")(images[:1], 1, normalize=False, relu=False)
    finally:
        keras.config.set_floatx("float32")
        keras.config.set_dtype_policy("float32")
    np.testing.assert_allclose(raw[0], expected, atol=FLOAT32)  # maps are returned in float32


@pytest.mark.parametrize("layer", ["first", "last", None])
@pytest.mark.parametrize("channels", [1, 3])
def test_nested_and_flat_model_give_the_same_map(layer, channels):
    x = np.random.default_rng(1).random((5, *SIZE, channels), dtype=np.float32)
    flat = GradCAM(network(channels=channels), layer)(x, 1, relu=False)
    nested = GradCAM(network(channels=channels, nested=True), layer)(x, 1, relu=False)
    np.testing.assert_allclose(nested, flat, atol=ITERATIVE)


@pytest.mark.parametrize(
    "ending", ["softmax", "Softmax", "Softmax and cast", "Softmax and dropout"]
)
@pytest.mark.parametrize("nested", [False, True])
def test_softmax_model_is_explained_through_its_logits(images, ending, nested):
    logits = GradCAM(network())(images, normalize=False)
    softmax = GradCAM(network(ending=ending, nested=nested))(images, normalize=False)
    np.testing.assert_allclose(softmax, logits, atol=ITERATIVE)


@pytest.mark.parametrize("ending", ["logit", "sigmoid", "Activation"])
def test_one_unit_explains_both_classes(images, ending):
    explain = GradCAM(network(units=1, ending=ending))
    ones = explain(images, 1, relu=False, normalize=False)
    zeros = explain(images, 0, relu=False, normalize=False)
    np.testing.assert_array_equal(zeros, -ones)
    np.testing.assert_allclose(
        explain(images, 1, normalize=False),
        GradCAM(network(units=1))(images, 1, normalize=False),
        atol=ITERATIVE,
    )


def test_predicted_class_is_explained_by_default(images):
    for model in (network(ending="softmax"), network(units=1), network(units=1, bias=-3)):
        outputs = model(images).numpy()
        predicted = outputs.argmax(axis=1) if outputs.shape[1] == 2 else (outputs[:, 0] > 0) * 1
        options = {"relu": False, "normalize": False}
        np.testing.assert_array_equal(
            GradCAM(model)(images, **options), GradCAM(model)(images, predicted, **options)
        )


def test_saturated_prediction_has_a_finite_map_that_is_not_zero(images):
    model = network(ending="softmax", bias=np.array([-300.0, 300.0]))
    with tf.GradientTape() as tape:
        x = tf.constant(images)
        tape.watch(x)
        probability = model(x)[:, 1]
    assert (probability.numpy() == 1).all()
    assert not np.any(tape.gradient(probability, x))  # the gradient of the thesis's code
    heatmaps = GradCAM(model)(images, 1, relu=False)
    np.testing.assert_array_equal(np.abs(heatmaps).max(axis=(1, 2)), 1)
    np.testing.assert_allclose(heatmaps, GradCAM(network())(images, 1, relu=False), atol=ITERATIVE)


def test_map_without_positive_value_is_zero_with_a_warning(images):
    model = network(units=1)
    kernel, bias = model.get_layer("head").get_weights()
    first, offset = model.get_layer("second").get_weights()
    model.get_layer("second").set_weights([np.abs(first), np.abs(offset)])  # maps at least 0
    model.get_layer("head").set_weights([-np.abs(kernel), bias])  # that speak against class 1
    with pytest.warns(RuntimeWarning, match="6 of 6 images is all zero"):
        heatmaps = GradCAM(model)(images, 1)
    np.testing.assert_array_equal(heatmaps, 0)
    assert (GradCAM(model)(images, 0).max(axis=(1, 2)) == 1).all()


def test_batches_change_nothing(images):
    explain = GradCAM(network())
    whole = explain(images, [0, 1, 0, 1, 1, 0])
    parts = explain(images, [0, 1, 0, 1, 1, 0], batch_size=4)
    np.testing.assert_allclose(parts, whole, atol=ITERATIVE)


def test_last_layer_with_spatial_output_is_the_default(mnist_cnn):
    assert GradCAM(mnist_cnn).layer_name == mnist_cnn.layers[1].name
    inside = keras.Input((*SIZE, 3))
    pooled = layers.GlobalAveragePooling2D(keepdims=True)(layers.Conv2D(2, 3, name="conv")(inside))
    model = keras.Model(inside, layers.Dense(2)(layers.Flatten()(pooled)))
    assert GradCAM(model).layer_name == "conv"  # one pixel is no map


def test_grad_cam_is_that_of_tf_keras_vis(images):
    """Compared before it is enlarged; the package needs a functional model that ends in logits."""
    package = pytest.importorskip("tf_keras_vis.gradcam", reason="tf-keras-vis is not installed")
    scores = pytest.importorskip("tf_keras_vis.utils.scores")
    model = network(ending="softmax")
    logits = network()
    functional = keras.Model(logits.inputs, logits.outputs)
    theirs = package.Gradcam(functional, clone=False)(
        scores.CategoricalScore([1] * 6),
        images,
        penultimate_layer="last",
        seek_penultimate_conv_layer=False,
        expand_cam=False,
        normalize_cam=False,
    )
    ours = GradCAM(model, "last")(images, 1, normalize=False)
    enlarged = [enlarge(np.asarray(heat, np.float64), SIZE) for heat in theirs]
    np.testing.assert_allclose(ours, enlarged, atol=FLOAT32)


# The picture and the scores against the truth


def test_overlay_mixes_the_image_and_the_colors():
    rng = np.random.default_rng(0)
    heat = rng.random((4, 5))
    colors = matplotlib.colormaps["inferno"](heat)[..., :3]
    gray = rng.integers(0, 256, (4, 5, 1), dtype=np.uint8)
    expected = 0.7 * np.repeat(gray / 255, 3, axis=2) + 0.3 * colors
    np.testing.assert_allclose(overlay_heatmap(gray, heat, alpha=0.3), expected, atol=FLOAT64)
    rgb = rng.random((4, 5, 3))
    np.testing.assert_allclose(overlay_heatmap(rgb, heat, alpha=0), rgb, atol=FLOAT64)
    np.testing.assert_allclose(overlay_heatmap(gray[..., 0], heat, alpha=1), colors, atol=FLOAT64)


SHAPES = hnp.array_shapes(min_dims=3, max_dims=3, max_side=6)
HEAT = st.integers(-4, 4).map(lambda value: value / 4)  # with ties and zeros


@st.composite
def heatmaps_and_masks(draw):
    shape = draw(SHAPES)
    return draw(hnp.arrays(float, shape, elements=HEAT)), draw(hnp.arrays(bool, shape))


@settings(deadline=None)
@given(heatmaps_and_masks())
def test_energy_is_the_share_inside_counted_pixel_by_pixel(pair):
    heatmaps, masks = pair
    for heat, mask, share in zip(heatmaps, masks, heatmap_mask_energy(*pair), strict=True):
        total = inside = 0.0
        for index in np.ndindex(heat.shape):
            if heat[index] > 0:
                total += heat[index]
                inside += heat[index] if mask[index] else 0
        assert share == pytest.approx(inside / total, abs=FLOAT64) if total else np.isnan(share)


@settings(deadline=None)
@given(heatmaps_and_masks(), st.sampled_from([0, 1, 1.5, 3]))
def test_pointing_game_is_a_search_pixel_by_pixel(pair, tolerance):
    for heat, mask, hit in zip(*pair, pointing_game(*pair, tolerance), strict=True):
        hottest = max(np.ndindex(heat.shape), key=lambda index: heat[index])  # the first of ties
        near = any(
            mask[index] and np.hypot(index[0] - hottest[0], index[1] - hottest[1]) <= tolerance
            for index in np.ndindex(heat.shape)
        )
        assert hit == (near and heat[hottest] > 0)


# The check by random weights


def test_randomization_check_goes_from_the_head_down_and_ranks_the_maps(images):
    model = network(ending="softmax", nested=True)
    weights = model.get_weights()
    predicted = model(images).numpy().argmax(axis=1)
    before = GradCAM(model)(images, relu=False)
    table = randomization_check(model, images, relu=False, seed=4)
    assert list(table.columns) == ["trained", "head", "second", "first"]
    assert len(table) == 6
    np.testing.assert_allclose(table["trained"], 1, atol=FLOAT64)
    for now, then in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(now, then)

    rng = np.random.default_rng(4)
    for name in ("head", "second"):
        layer = model.get_layer(name) if name == "head" else model.layers[0].get_layer(name)
        layer.set_weights([rng.permuted(w.ravel()).reshape(w.shape) for w in layer.get_weights()])
        after = GradCAM(model)(images, predicted, relu=False)  # the class does not change
        expected = [
            np.corrcoef(stats.rankdata(a), stats.rankdata(b))[0, 1]
            for a, b in zip(before, after, strict=True)
        ]
        np.testing.assert_allclose(table[name], expected, atol=FLOAT64)


def test_randomization_check_is_seeded(images):
    model = network()
    first = randomization_check(model, images, seed=1, relu=False)
    assert first.equals(randomization_check(model, images, seed=1, relu=False))
    assert not first.equals(randomization_check(model, images, seed=2, relu=False))


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_weights_come_back_after_an_error_and_an_interrupt(images, error, monkeypatch):
    model = network()
    weights = model.get_weights()
    explain, calls = GradCAM.__call__, []

    def fail_later(*arguments, **options):
        calls.append(1)
        if len(calls) == 3:
            assert any((a != b).any() for a, b in zip(model.get_weights(), weights, strict=True))
            raise error
        return explain(*arguments, **options)

    monkeypatch.setattr(GradCAM, "__call__", fail_later)
    with pytest.raises(error):
        randomization_check(model, images, seed=0)
    for now, then in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(now, then)


def test_map_that_is_constant_has_no_rank_correlation(images):
    model = network(units=1)
    kernel, bias = model.get_layer("head").get_weights()
    model.get_layer("head").set_weights([0 * kernel, bias])
    assert randomization_check(model, images, seed=0).isna().all(axis=None)


# Bad input


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, x: GradCAM(m, "nothing"), "no layer 'nothing'; .*: 'first', 'second', 'last'"),
        (lambda m, x: GradCAM(m, "flat"), "'flat' has no spatial output.*'first', 'second'"),
        (lambda m, x: activation_maps(m, x, "head"), "'head' has no spatial output"),
        (lambda m, x: activation_maps(m, x[..., :1], "first"), "expects .*\\(n, 10, 8, 3\\)"),
        (lambda m, x: activation_maps(m, x[0], "first"), "images has shape \\(10, 8, 3\\)"),
        (lambda m, x: activation_maps(m, x[:0], "first"), "there is no image in it"),
        (lambda m, x: activation_maps(m, x * np.nan, "first"), "pixels that are NaN, infinite"),
        (
            lambda m, x: activation_maps(m, x.astype(float) * 1e300, "first"),
            "too large for 32 bits",
        ),
        (lambda m, x: activation_maps(m, x, ["first", None]), "layers is \\['first', None\\]"),
        (lambda m, x: activation_maps(m, x, []), "give the name of a layer"),
        (lambda m, x: activation_maps(m, x, "first", batch_size=0), "batch_size is 0"),
        (lambda m, x: GradCAM(m)(x, 2), "class 2; the model has the classes 0 to 1"),
        (lambda m, x: GradCAM(m)(x, -1), "class -1; the model has the classes 0 to 1"),
        (lambda m, x: GradCAM(m)(x, [0, 1]), "one integer for each of the 6 images"),
        (lambda m, x: GradCAM(m)(x, 0.5), "class_index is 0.5"),
        (lambda m, x: maximize_filters(m, "flat", 0), "'flat' has no spatial output"),
        (lambda m, x: maximize_filters(m, "first", 4), "has the filters 0 to 3"),
        (lambda m, x: maximize_filters(m, "first", -1), "has the filters 0 to 3"),
        (lambda m, x: maximize_filters(m, "first", []), "has the filters 0 to 3"),
        (lambda m, x: maximize_filters(m, "first", 0, steps=-1), "steps is -1"),
        (lambda m, x: maximize_filters(m, "first", 0, restarts=0), "restarts is 0"),
        (lambda m, x: maximize_filters(m, "first", 0, learning_rate=0), "learning_rate is 0"),
        (lambda m, x: maximize_filters(m, "first", 0, constraint="ball"), "constraint is 'ball'"),
        (lambda m, x: randomization_check(m, x[:, :4]), "expects .*\\(n, 10, 8, 3\\)"),
        (lambda m, x: randomization_check(m, x, batch_size=0), "batch_size is 0"),
        (lambda m, x: overlay_heatmap(x[0], x[0, :4, :, 0]), "one image .* and its heatmap"),
        (lambda m, x: overlay_heatmap(2 * x[0], x[0, ..., 0]), "image has values from"),
        (lambda m, x: overlay_heatmap(x[0], -x[0, ..., 0]), "heatmap has values from"),
        (lambda m, x: overlay_heatmap(x[0], x[0, ..., 0], alpha=2), "alpha has values from"),
        (lambda m, x: heatmap_mask_energy(x[..., 0], x[:2, ..., 0]), "both must be \\(n, H, W\\)"),
        (lambda m, x: heatmap_mask_energy(x[..., 0] * np.inf, x[..., 0]), "NaN or infinite"),
        (lambda m, x: pointing_game(x[..., 0], x[..., 0], -1), "tolerance is -1"),
    ],
)
def test_bad_input_is_an_error_that_says_what_was_expected(images, call, message):
    with pytest.raises(ValueError, match=message), np.errstate(invalid="ignore"):
        call(network(), images)


def test_model_that_is_not_built_is_an_error():
    model = keras.Sequential([layers.Conv2D(2, 3, name="conv"), layers.Flatten(), layers.Dense(2)])
    for call in (GradCAM, lambda m: activation_maps(m, np.zeros((1, 8, 8, 1)), "conv")):
        with pytest.raises(ValueError, match="is not built"):
            call(model)
    model(np.zeros((1, 8, 8, 1)))
    assert GradCAM(model).layer_name == "conv"


def test_model_without_maps_or_with_other_outputs_is_an_error(images):
    flat = keras.Sequential([keras.Input((*SIZE, 3)), layers.Flatten(), layers.Dense(2)])
    with pytest.raises(ValueError, match="has no layer with spatial output"):
        GradCAM(flat)
    trunk = keras.Sequential([keras.Input((*SIZE, 3)), layers.Conv2D(2, 3)])
    with pytest.raises(ValueError, match="needs a classifier with output \\(n, classes\\)"):
        GradCAM(trunk)(images, 0)
    inside = keras.Input((*SIZE, 3))
    head = layers.Dense(2)(layers.Flatten()(layers.Conv2D(2, 3)(inside)))
    with pytest.raises(ValueError, match="2 output"):
        GradCAM(keras.Model(inside, [head, head]))
    with pytest.raises(ValueError, match="or a dict of them"):
        GradCAM(keras.Model(inside, {"score": head}))
    free = keras.Sequential([keras.Input((None, None, 3)), layers.Conv2D(2, 3, name="conv")])
    assert activation_maps(free, images, "conv").shape == (6, 8, 6, 2)
    with pytest.raises(ValueError, match="images of any size"):
        maximize_filters(free, "conv", 0)


def test_network_with_broken_weights_is_an_error(images):
    model = network()
    model.set_weights([np.full(w.shape, np.nan) for w in model.get_weights()])
    with pytest.raises(ValueError, match="are not finite numbers"):
        GradCAM(model)(images, 0)


def test_model_of_whole_numbers_cannot_climb():
    whole = keras.Input((*SIZE, 3), dtype="uint8")
    model = keras.Model(whole, layers.Conv2D(2, 3, name="conv")(layers.Rescaling(1 / 255)(whole)))
    with pytest.raises(ValueError, match="no gradient with respect to the pixels"):
        maximize_filters(model, "conv", 0, steps=1)


def test_ascent_without_end_keeps_the_last_finite_image():
    rise = [layers.Conv2D(1, 3), layers.Lambda(lambda z: z * z, name="squares")]
    model = keras.Sequential([keras.Input((*SIZE, 1)), *rise])
    with pytest.warns(RuntimeWarning, match="left the range"):
        pictures, history = maximize_filters(
            model, "squares", 0, 60, 1e6, restarts=2, seed=0, return_history=True
        )
    assert np.isfinite(pictures).all()
    best = np.nanmax(np.where(np.isfinite(history), history, np.nan))
    reached = activation_maps(model, pictures, "squares").mean()
    assert reached == pytest.approx(best, rel=FLOAT32)


def test_name_that_two_layers_have_is_an_error():
    inside = keras.Input((*SIZE, 3))
    inner = keras.Model(inside, layers.Conv2D(2, 3, name="conv")(inside))
    model = keras.Sequential([keras.Input((*SIZE, 3)), layers.Conv2D(3, 1, name="conv"), inner])
    with pytest.raises(ValueError, match="2 layers with the name 'conv'"):
        activation_maps(model, np.zeros((1, *SIZE, 3)), "conv")


def test_import_loads_no_keras():
    code = "import sys, mammocourse.interpret; print('keras' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
