"""Scanning networks: from a whole mammogram to a volume of features (AUC paper, section 4).

A pre-trained convolutional network looks at n x n overlapping windows of the breast and
describes each by a vector of features: a film of any size becomes a volume (n, n,
features), which the classifier of `mammocourse.whole_films` reads. The windows may be cut
out one by one (the *patch grid*), or the network runs over the whole breast once, with the
stride of its last layer set to the distance of the windows (the *merged* network). Without
padding both are the same function; with padding they are not, because a window that was
cut out sees zeros where the film goes on.

Keras is imported by the functions that need it: importing this module is cheap.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from mammocourse.preprocessing import _check_gray, find_breast, resize_image
from mammocourse.resnet import _check_choice, freeze_batchnorm
from mammocourse.scanner_networks import build_scanner, convert_vgg_m

if TYPE_CHECKING:
    import keras

__all__ = [
    "ReceptiveField",
    "build_scanner",
    "convert_vgg_m",
    "grid_size",
    "patch_boxes",
    "receptive_field",
    "scan_patches",
    "strided_scanner",
]

Box = tuple[slice, slice]

BAND_PIXELS = 2**20
"""Pixels that run through the merged network at once; larger breasts run in bands of rows."""


class ReceptiveField(NamedTuple):
    """What one feature vector of a scanner sees of the image, in pixels.

    Attributes
    ----------
    window : int
        Side of the smallest image that gives one feature vector: the size of a patch.
    stride : int
        Distance of the windows of neighboring feature vectors.
    padding : int
        Pixels of zeros that the layers add to a window, both sides together: the
        receptive field within a larger image has a side of ``window + padding``. With 0
        the patch grid equals the merged network.
    """

    window: int
    stride: int
    padding: int


# --- geometry


def receptive_field(scanner: keras.Model) -> ReceptiveField:
    """Compute window, stride and padding of a scanner from its layers.

    Parameters
    ----------
    scanner : keras.Model
        A flat, fully convolutional network, as `build_scanner` makes it.

    Returns
    -------
    ReceptiveField
        VGG-M: window 331, stride 32, padding 0.

    Raises
    ------
    ValueError
        If the model does not turn images of any size into maps of features, or has layers
        (dilated, of two sizes, without bias at the end) that this and the scan do not cover.
    """
    if not hasattr(scanner, "operations") or scanner.output.shape[1:3] != (None, None):
        raise ValueError(
            f"scanner is {scanner!r}; it must be a fully convolutional network, from images "
            "(n, H, W, channels) of any size to maps of features: see build_scanner()."
        )
    seen: dict[int, tuple[int, int, int]] = {}  # receptive field, window, stride of a tensor
    for operation in scanner.operations:
        inputs = operation.input if isinstance(operation.input, list) else [operation.input]
        states = [seen[id(tensor)] for tensor in inputs if id(tensor) in seen] or [(1, 1, 1)]
        field, window, stride = (max(column) for column in zip(*states, strict=True))
        kernel, step, margin = _extent(operation)
        field += (kernel - 1) * stride
        window += (kernel - 1 - margin) * stride
        seen[id(operation.output)] = field, window, stride * step
    field, window, stride = seen[id(scanner.output)]
    _check_geometry(scanner, window, stride)
    return ReceptiveField(window, stride, field - window)


_CHECKED: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()


def _check_geometry(scanner: keras.Model, window: int, stride: int) -> None:
    """Raise unless the layers are those that window and stride were computed for."""
    from keras import layers

    if scanner in _CHECKED:
        return
    last = scanner.operations[-1]
    convolution = type(last) is layers.Conv2D and last.use_bias and last.dilation_rate == (1, 1)
    if not (convolution or type(last) in (layers.MaxPooling2D, layers.AveragePooling2D)):
        raise ValueError(
            f"the last layer of the scanner is {last!r}; it must be a convolution with bias and "
            "without dilation, or a max- or average-pooling, as in build_scanner()."
        )
    channels = scanner.input.shape[-1] or 1
    for count, side in ((1, window), (2, window + stride)):
        try:
            shape: Any = scanner.compute_output_shape((1, side, side, channels))[1:3]
        except Exception as error:  # Keras raises what its backend raises
            shape = repr(error)
        if shape != (count, count):
            raise ValueError(
                f"scanner must give {count} x {count} feature vectors of {side} x {side} pixels, "
                f"but gives {shape}; build it of square kernels without dilation, as "
                "build_scanner() does (a copy of strided_scanner() is called like any model)."
            )
    _CHECKED[scanner] = True


def _extent(operation: Any) -> tuple[int, int, int]:
    """Return kernel size, stride and padding (both sides together; less for cropping)."""
    from keras import layers

    if isinstance(operation, layers.ZeroPadding2D):
        return 1, 1, sum(operation.padding[0])
    if isinstance(operation, layers.Cropping2D):
        return 1, 1, -sum(operation.cropping[0])
    kernel = getattr(operation, "kernel_size", getattr(operation, "pool_size", (1, 1)))[0]
    step = getattr(operation, "strides", (1, 1))[0]
    same = getattr(operation, "padding", "valid") == "same"
    return kernel, step, (kernel - step) * same


def grid_size(
    box_shape: Sequence[int], scanner: keras.Model, n_patches: int = 15
) -> tuple[int, int, int, int]:
    """Return the size to which a box is resized, so that windows fall on the scanner's stride.

    Parameters
    ----------
    box_shape : (height, width)
        Size of the breast's box in pixels.
    scanner : keras.Model
        A network of `build_scanner`.
    n_patches : int
        Windows in each direction, at least 1.

    Returns
    -------
    (height, width, a, b)
        ``window + (n_patches - 1) * stride * a``, the same with ``b``, and the integers ``a,
        b >= 1`` that bring this closest to the box. Neighboring windows lie ``a`` strides
        apart from top to bottom, and ``b`` from left to right.

    Raises
    ------
    ValueError
        If an argument is not as described.
    """
    check_count("n_patches", n_patches)
    window, stride, _ = receptive_field(scanner)
    span = (n_patches - 1) * stride
    if len(box_shape) != 2 or min(box_shape) < 1:
        raise ValueError(f"box_shape is {box_shape!r}; it must be a height and a width in pixels.")
    if n_patches == 1:
        return window, window, 1, 1
    a, b = (max(1, round((side - window) / span)) for side in box_shape)
    return window + span * a, window + span * b, a, b


def patch_boxes(
    image_shape: Sequence[int], scanner: keras.Model, n_patches: int = 15, box: Box | None = None
) -> np.ndarray:
    """Return the windows of the patch grid in pixels of the film.

    Parameters
    ----------
    image_shape : (height, width)
        Size of the film.
    scanner : keras.Model
        A network of `build_scanner`.
    n_patches : int
        Windows in each direction.
    box : (rows, columns), optional
        Slices of the breast, as of `preprocessing.find_breast`. Default: the whole film.

    Returns
    -------
    ndarray (n_patches, n_patches, 4)
        Top, left, bottom and right edge of each window, with fractions of pixels because the
        box is resized for the scan; outside the film where the film is smaller than a window.

    Raises
    ------
    ValueError
        If an argument is not as described.
    """
    field = receptive_field(scanner)
    box = (slice(None), slice(None)) if box is None else box
    (top, bottom), (left, right) = scan_region(image_shape, box, field.window)
    height, width, a, b = grid_size((bottom - top, right - left), scanner, n_patches)
    rows = top + np.arange(n_patches)[:, None] * a * field.stride * (bottom - top) / height
    columns = left + np.arange(n_patches) * b * field.stride * (right - left) / width
    boxes = np.empty((n_patches, n_patches, 4))
    boxes[..., 0], boxes[..., 1] = rows, columns
    boxes[..., 2] = rows + field.window * (bottom - top) / height
    boxes[..., 3] = columns + field.window * (right - left) / width
    return boxes


def scan_region(shape: Sequence[int], box: Box, window: int) -> list[tuple[int, int]]:
    """Return first and last edge of rows and columns: of the box, or of a window around it.

    A box that is smaller than a window grows evenly, within the film where it can.
    """
    if len(box) != 2 or not all(isinstance(part, slice) for part in box):
        raise ValueError(f"box is {box!r}; it must be two slices, of rows and of columns.")
    region = []
    for length, part in zip(shape, box, strict=True):
        start, stop, _ = part.indices(length)
        if not start < stop:
            raise ValueError(f"box is {box!r}; it must be two slices with pixels of {shape}.")
        if (missing := window - (stop - start)) > 0:
            start = (
                min(max(0, start - missing // 2), length - window)
                if length >= window
                else (length - window) // 2
            )
            stop = start + window
        region.append((start, stop))
    return region


def check_count(name: str, value: int) -> None:
    """Raise unless the value is an integer of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"{name} is {value!r}; it must be an integer of at least 1.")


# --- scanning


def scan_patches(
    image: np.ndarray,
    scanner: keras.Model,
    n_patches: int = 15,
    *,
    method: Literal["merged", "patches"] = "merged",
    box: Box | None = None,
    batch_size: int = 16,
) -> np.ndarray:
    """Describe a grid of overlapping windows of the breast by the features of a scanner.

    The box of the breast is cut out, resized to the nearest `grid_size` (averaging areas
    where it shrinks, linearly where it grows; its aspect changes by less than half a step
    of the grid), and looked at in ``n_patches`` x ``n_patches`` windows. A box smaller than
    one window first gets more of the film around it, and black beyond the film.

    Parameters
    ----------
    image : ndarray (height, width)
        uint8 or uint16, dark background. 8-bit levels are divided by 255; 16-bit ones run
        from the darkest to the brightest of the film, for INbreast stores 12 bits in 16.
    scanner : keras.Model
        A network of `build_scanner`.
    n_patches : int
        Windows in each direction; the paper has 15.
    method : {"merged", "patches"}
        ``"merged"``: one pass with the stride of the last layer changed; breasts of more
        than 2**20 pixels in bands of rows, to the same result with bounded memory.
        ``"patches"``: each window on its own. Without padding the two agree up to rounding.
        With padding (VGG16, ResNet50) they differ everywhere: what a layer pads is zero in a
        window of its own, and the tissue around it in the merged network.
    box : (rows, columns), optional
        Slices to scan. Default: `preprocessing.find_breast`.
    batch_size : int
        Windows at once, for ``"patches"``.

    Returns
    -------
    ndarray of float32 (n_patches, n_patches, features)
        Row 0 is the top of the film, column 0 its left edge, for both sides.

    Raises
    ------
    TypeError
        If the image is not uint8 or uint16.
    ValueError
        If another argument is not as described, or no breast is found.
    """
    _check_choice("method", method, ("merged", "patches"))
    check_count("batch_size", batch_size)
    _check_gray(image)
    field = receptive_field(scanner)
    region = scan_region(image.shape, find_breast(image) if box is None else box, field.window)
    pixels = cut_out(image, region)
    height, width, a, b = grid_size(pixels.shape, scanner, n_patches)
    for size in ((height, pixels.shape[1]), (height, width)):  # one direction after the other
        shrinks = size < pixels.shape
        pixels = resize_image(pixels, size, "area" if shrinks else "bilinear")
    run = _compiled(scanner)
    if method == "merged":
        return _merged(pixels, run, field, n_patches, a, b)
    windows = np.lib.stride_tricks.sliding_window_view(pixels, (field.window, field.window))
    grid = windows[:: field.stride * a, :: field.stride * b]
    flat = grid.reshape(-1, field.window, field.window)
    batches = (flat[i : i + batch_size] for i in range(0, len(flat), batch_size))
    return np.concatenate([run(batch, 1, 1) for batch in batches]).reshape(*grid.shape[:2], -1)


def strided_scanner(scanner: keras.Model, strides: tuple[int, int]) -> keras.Model:
    """Copy a scanner with other strides in its last layer: the merged network as a model.

    Parameters
    ----------
    scanner : keras.Model
        A network of `build_scanner`.
    strides : (int, int)
        ``a`` and ``b`` of `grid_size`.

    Returns
    -------
    keras.Model
        A flat graph with weights of its own: of the image of `grid_size` it makes
        (n, n_patches, n_patches, features).
    """
    import keras

    def copy(layer: Any) -> Any:
        config = layer.get_config()
        if layer is scanner.operations[-1]:
            config["strides"] = tuple(strides)
        return type(layer).from_config(config)

    for name, stride in zip(("strides[0]", "strides[1]"), strides, strict=True):
        check_count(name, stride)
    strided = keras.models.clone_model(scanner, clone_function=copy)
    strided.set_weights(scanner.get_weights())
    return freeze_batchnorm(strided)


def cut_out(image: np.ndarray, region: Sequence[tuple[int, int]]) -> np.ndarray:
    """Return a region as float32 in [0, 1], with the film's darkest level beyond its edges."""
    wide = image.dtype == np.uint16
    low, high = (
        (int(image.min()), max(int(image.max()), int(image.min()) + 1)) if wide else (0, 255)
    )
    pads, parts = [], []
    for (start, stop), length in zip(region, image.shape, strict=True):
        pads.append((max(0, -start), max(0, stop - length)))
        parts.append(slice(max(0, start), min(stop, length)))
    levels = (image[tuple(parts)].astype(np.float32) - low) / np.float32(high - low)
    return np.pad(levels, pads, constant_values=(int(image.min()) - low) / (high - low))


def _merged(
    pixels: np.ndarray,
    run: Callable[..., np.ndarray],
    field: ReceptiveField,
    n: int,
    a: int,
    b: int,
) -> np.ndarray:
    """Run the scanner over an image at once, or in bands of rows that fit `BAND_PIXELS`."""
    step = field.stride * a
    margin = -(-field.padding // step)  # rows of windows that see a band's own padding
    rows = (BAND_PIXELS // pixels.shape[1] - field.window) // step + 1 - 2 * margin
    bands = []
    for numbers in np.array_split(np.arange(n), -(-n // max(1, rows))):
        first, last = max(0, numbers[0] - margin), min(n - 1, numbers[-1] + margin)
        band = run(pixels[None, first * step : last * step + field.window], a, b)[0]
        bands.append(band[numbers - first])
    return np.concatenate(bands)


_COMPILED: WeakKeyDictionary[Any, Callable[..., np.ndarray]] = WeakKeyDictionary()


def _compiled(scanner: keras.Model) -> Callable[..., np.ndarray]:
    """Return a scanner as a function of images (n, H, W) and the strides of its last layer."""
    if scanner in _COMPILED:
        return _COMPILED[scanner]
    import keras
    import tensorflow as tf

    last = scanner.operations[-1]
    options = last.get_config()
    if options.get("strides") != (1, 1) or options.get("padding") != "valid":
        raise ValueError(
            f"the last layer of the scanner is {last!r}; it must be a convolution or a pooling "
            "without padding and with stride 1, as in build_scanner(); a copy of "
            "strided_scanner() is called like any model."
        )
    trunk = keras.Model(scanner.inputs[0], last.input)
    graphs: dict[tuple[int, int], Any] = {}

    def run(images: np.ndarray, a: int, b: int) -> np.ndarray:
        if (a, b) not in graphs:
            graphs[a, b] = tf.function(
                lambda x: _strided(last, trunk(x[..., None], training=False), (a, b)),
                input_signature=[tf.TensorSpec((None, None, None), tf.float32)],
            )
        return graphs[a, b](tf.constant(images)).numpy()

    return _COMPILED.setdefault(scanner, run)


def _strided(last: Any, x: Any, strides: tuple[int, int]) -> Any:
    """Apply the last layer of a scanner, a convolution or a pooling, with other strides."""
    from keras import layers, ops

    if isinstance(last, layers.Conv2D):
        return last.activation(ops.conv(x, last.kernel, strides) + last.bias)
    pool = ops.max_pool if isinstance(last, layers.MaxPooling2D) else ops.average_pool
    return pool(x, last.pool_size, strides)
