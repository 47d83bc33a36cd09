"""From the stored image to the input of a network (thesis, section 4.3).

An image is a two-dimensional array of gray levels, (height, width), of the bit
depth it was stored with: uint8 (0 to 255) or uint16 (0 to 65,535). Sizes are
(height, width), as in Keras and NumPy; only ``tile_grid_size`` is (columns,
rows), as in OpenCV. Results keep the type of the input unless said otherwise.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import cv2
import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    import tensorflow as tf

__all__ = [
    "INTERPOLATIONS",
    "apply_ahe",
    "apply_clahe",
    "average_rotations",
    "crop_breast",
    "equalize_histogram",
    "find_breast",
    "gray_to_rgb",
    "make_dataset",
    "normalize",
    "preprocess_image",
    "resize_image",
    "rotate_right_angles",
    "to_uint8",
]

INTERPOLATIONS = {
    "nearest": cv2.INTER_NEAREST,
    "bilinear": cv2.INTER_LINEAR,
    "bicubic": cv2.INTER_CUBIC,
    "area": cv2.INTER_AREA,
}
"""Names of the interpolations that ``resize_image`` knows, and OpenCV's flags."""

_CACHE_VERSION = 1  # raise it when the same settings begin to give other images

Size = int | Sequence[int]
Window = tuple[float, float] | Literal["image"] | None


def to_uint8(image: np.ndarray, window: Window = None) -> np.ndarray:
    """Map the gray levels of a window linearly to 0 to 255, rounded.

    Parameters
    ----------
    image : ndarray of shape (height, width)
        uint8 or uint16.
    window : (float, float), "image" or None
        The gray levels that become 0 and 255; what lies outside is clipped.
        "image": the smallest and the largest level of this image. None: the whole
        range of the type, so that a uint8 image stays as it is and a 16-bit
        DICOM of CBIS-DDSM gets the gray levels of its 8-bit copy.

    Returns
    -------
    ndarray of uint8, shape (height, width)

    Raises
    ------
    TypeError
        If the image is not uint8 or uint16.
    ValueError
        If its shape is not (height, width), it is empty, or the window is not increasing.
    """
    _check_gray(image)
    if window is None:
        window = (0, np.iinfo(image.dtype).max)
    elif isinstance(window, str) and window == "image":
        window = (int(image.min()), max(int(image.max()), int(image.min()) + 1))
    low, high = _pair(window, float)
    if not low < high:
        raise ValueError(
            f"window is {window!r}; it must be two increasing gray levels (low, high), "
            "'image', or None for the whole range of the type."
        )
    if image.dtype == np.uint8 and (low, high) == (0, 255):
        return image.copy()
    levels = np.arange(np.iinfo(image.dtype).max + 1)
    return np.rint(np.clip((levels - low) / (high - low), 0, 1) * 255).astype(np.uint8)[image]


def equalize_histogram(image: np.ndarray) -> np.ndarray:
    """Equalize the histogram of the whole image.

    Each gray level becomes the share of pixels at or below it, rescaled so that
    the darkest level present becomes 0: OpenCV's ``equalizeHist``, which knows
    8 bits only, here for 16 bits as well.

    Parameters
    ----------
    image : ndarray of shape (height, width)
        uint8 or uint16.

    Returns
    -------
    ndarray of the same shape and type

    Raises
    ------
    TypeError, ValueError
        As ``to_uint8``.
    """
    _check_gray(image)
    if image.dtype == np.uint8:
        return cv2.equalizeHist(image)
    below = np.cumsum(np.bincount(image.ravel(), minlength=65536))
    darkest = below[image.min()]
    if darkest == image.size:  # one gray level only
        return image.copy()
    table = np.rint((below - darkest) * (65535 / (image.size - darkest)))
    return table.clip(0, 65535).astype(np.uint16)[image]


def apply_ahe(image: np.ndarray, tile_grid_size: Sequence[int] = (8, 8)) -> np.ndarray:
    """Equalize the histograms of tiles: ``apply_clahe`` without a clip limit.

    Parameters
    ----------
    image : ndarray of shape (height, width)
        uint8 or uint16.
    tile_grid_size : (int, int)
        Number of tiles: (columns, rows).

    Returns
    -------
    ndarray of the same shape and type

    Raises
    ------
    TypeError, ValueError
        As ``apply_clahe``.
    """
    _check_gray(image)
    return cv2.createCLAHE(0.0, _check_tiles(tile_grid_size)).apply(image)


def apply_clahe(
    image: np.ndarray, clip_limit: float = 2.0, tile_grid_size: Sequence[int] = (8, 8)
) -> np.ndarray:
    """Contrast-limited adaptive histogram equalization, by OpenCV (thesis, section 4.3.1).

    The image is divided into tiles; each tile's histogram is cut at the clip
    limit, the cut counts are spread over all gray levels, and the cumulated
    histogram is the new gray scale of the tile. Between the centers of tiles the
    scales are interpolated bilinearly.

    Parameters
    ----------
    image : ndarray of shape (height, width)
        uint8 or uint16.
    clip_limit : float
        Largest count of a gray level, in multiples of the count of a flat
        histogram (tile area / number of gray levels), larger than 0. The limit
        in counts is rounded down and is at least 1.
    tile_grid_size : (int, int)
        *Number* of tiles, not their size in pixels: (columns, rows), as in OpenCV.
        The text of the thesis says "8 x 8 pixels".

    Returns
    -------
    ndarray of the same shape and type

    Raises
    ------
    TypeError
        If the image is not uint8 or uint16; in particular if it is of floats.
    ValueError
        If its shape is not (height, width), it is empty, or another argument is
        not as described.

    Warns
    -----
    UserWarning
        If the image is uint16 and the clip limit, below one count, has no effect.

    Notes
    -----
    With 16 bits there are 65,536 gray levels, more than a small tile has pixels:
    a 224-pixel image in 8 x 8 tiles has 784 pixels a tile, the limit falls below
    one count, and clip limits 2 and 40 give the same image. There, choose the
    gray levels first: ``apply_clahe(to_uint8(image, window), clip_limit)``. With 8
    bits the same happens, without a warning, where clip_limit times tile area is
    below 256: crops of less than about 90 pixels at the defaults.
    """
    _check_gray(image)
    if not isinstance(clip_limit, (int, float, np.number)) or not 0 < clip_limit < np.inf:
        raise ValueError(
            f"clip_limit is {clip_limit!r}; it must be a number larger than 0 "
            "(apply_ahe works without a limit)."
        )
    columns, rows = _check_tiles(tile_grid_size)
    levels = int(np.iinfo(image.dtype).max) + 1
    tile_area = _tile_area(image.shape, columns, rows)
    if image.dtype == np.uint16 and clip_limit * tile_area < levels:
        warnings.warn(
            f"clip_limit={clip_limit} has no effect: a flat histogram of {levels} gray levels has "
            f"{tile_area / levels:.3g} counts each in a tile of {tile_area} pixels, and the limit "
            "is raised to one count. Convert first: "
            "apply_clahe(to_uint8(image, window), clip_limit, tile_grid_size).",
            stacklevel=2,
        )
    return cv2.createCLAHE(float(clip_limit), (columns, rows)).apply(image)


def resize_image(
    image: np.ndarray,
    size: Size,
    interpolation: Literal["area", "nearest", "bilinear", "bicubic"] = "area",
    keep_aspect: bool = False,
) -> np.ndarray:
    """Resize an image; "area" averages all pixels that an output pixel covers.

    Parameters
    ----------
    image : ndarray of shape (height, width) or (height, width, channels)
        uint8, uint16, float32 or float64; at most 4 channels.
    size : int or (int, int)
        (height, width) of the result in pixels; an integer makes a square.
    interpolation : {"area", "nearest", "bilinear", "bicubic"}
        Only "area" looks at every pixel when the image shrinks (thesis, section
        4.3.3). When it grows, "area" is close to "bilinear".
    keep_aspect : bool
        Letterbox: scale both sides by one factor and center the image on black (0).

    Returns
    -------
    ndarray of shape (height, width) or (height, width, channels), type of the input

    Raises
    ------
    TypeError
        If the type is not one of those above.
    ValueError
        If another argument is not as described or the image is empty.

    Notes
    -----
    The flag is passed by keyword. In ``cv2.resize(image, size, cv2.INTER_AREA)``
    the third argument is the output array, and the result is bilinear.
    """
    kind = _kind(image)
    if kind not in (np.uint8, np.uint16, np.float32, np.float64):
        raise TypeError(
            f"image is of type {kind}; it must be an array of uint8, uint16, float32 or float64."
        )
    if image.ndim not in (2, 3) or image.size == 0 or (image.ndim == 3 and image.shape[2] > 4):
        raise ValueError(
            f"image has the shape {image.shape}; it must be (height, width) or "
            "(height, width, channels) with 1 to 4 channels, and not empty."
        )
    if interpolation not in INTERPOLATIONS:
        raise ValueError(
            f"interpolation is {interpolation!r}; it must be one of {', '.join(INTERPOLATIONS)}."
        )
    height, width = _check_size(size)
    inner_height, inner_width = height, width
    if keep_aspect:
        factor = min(height / image.shape[0], width / image.shape[1])
        inner_height = max(1, round(image.shape[0] * factor))
        inner_width = max(1, round(image.shape[1] * factor))
    result = cv2.resize(
        image, (inner_width, inner_height), interpolation=INTERPOLATIONS[interpolation]
    )
    result = result.reshape(inner_height, inner_width, *image.shape[2:])
    if (inner_height, inner_width) == (height, width):
        return result
    canvas = np.zeros((height, width, *image.shape[2:]), image.dtype)
    top, left = (height - inner_height) // 2, (width - inner_width) // 2
    canvas[top : top + inner_height, left : left + inner_width] = result
    return canvas


def gray_to_rgb(images: np.ndarray) -> np.ndarray:
    """Copy gray levels to three equal channels, which ResNet50 asks for (section 4.3.3).

    Parameters
    ----------
    images : ndarray of shape (..., height, width)

    Returns
    -------
    ndarray of shape (..., height, width, 3), type of the input
    """
    return np.repeat(images[..., np.newaxis], 3, axis=-1)


def normalize(images: np.ndarray) -> np.ndarray:
    """Divide gray levels by the largest level of their type: float32 in [0, 1].

    Parameters
    ----------
    images : ndarray of any shape
        uint8 or uint16.

    Returns
    -------
    ndarray of float32, same shape

    Raises
    ------
    TypeError
        If the images are not uint8 or uint16.

    Notes
    -----
    The thesis feeds these to ResNet50; its ImageNet weights expect
    ``keras.applications.resnet50.preprocess_input`` of levels from 0 to 255.
    """
    if images.dtype not in (np.uint8, np.uint16):
        raise TypeError(f"images are of type {images.dtype}; they must be uint8 or uint16.")
    return images.astype(np.float32) / np.float32(np.iinfo(images.dtype).max)


def rotate_right_angles(images: np.ndarray) -> np.ndarray:
    """Rotate square images by 0, 90, 180 and 270 degrees (thesis, section 4.3.2).

    Parameters
    ----------
    images : ndarray of shape (n, size, size), (n, size, size, channels) or (size, size)
        Any type. A single gray image counts as n = 1.

    Returns
    -------
    ndarray of shape (4n, size, size) or (4n, size, size, channels)
        Counterclockwise; the four rotations of an image follow one another, so the
        labels are ``np.repeat(labels, 4)``.

    Raises
    ------
    ValueError
        If the shape is not as described.
    """
    stack = images[np.newaxis] if images.ndim == 2 else images
    if stack.ndim not in (3, 4) or stack.shape[1] != stack.shape[2]:
        raise ValueError(
            f"images have the shape {images.shape}; they must be square: (n, size, size), "
            "(n, size, size, channels) or (size, size). Resize them first (resize_image)."
        )
    turned = np.stack([np.rot90(stack, turns, axes=(1, 2)) for turns in range(4)], axis=1)
    return turned.reshape(-1, *stack.shape[1:])


def average_rotations(predict: Callable[[np.ndarray], Any], images: np.ndarray) -> np.ndarray:
    """Average a model's logits over the four right-angle rotations of each image.

    The thesis counts the rotations as four test images (section 4.3.2), which
    makes intervals half as wide as they are; averaged, each image counts once.

    Parameters
    ----------
    predict : callable
        Takes images and returns an array with one row per image: a Keras model
        with logits as output, ``model.predict``, or any function.
    images : ndarray of shape (n, size, size) or (n, size, size, channels)

    Returns
    -------
    ndarray of shape (n,) or (n, outputs)

    Raises
    ------
    ValueError
        If the images are not square, or ``predict`` does not return one row per image.
    """
    turned = rotate_right_angles(images)
    logits = np.asarray(predict(turned))
    if logits.shape[:1] != (len(turned),):
        raise ValueError(
            f"predict returned the shape {logits.shape} for {len(turned)} images; "
            "it must return one row per image."
        )
    return logits.reshape(-1, 4, *logits.shape[1:]).mean(axis=1)


def find_breast(image: np.ndarray) -> tuple[slice, slice]:
    """Find the box of the breast: the largest bright region of a mammogram.

    Bright means above half of Otsu's threshold, which itself lies inside the
    breast and would cut off skin and fat. Bright lines at the edge of a scanned
    film, narrower than 1/25 of its shorter side, do not count and join nothing.

    Parameters
    ----------
    image : ndarray of shape (height, width)
        uint8 or uint16, dark background.

    Returns
    -------
    (rows, columns) : slices
        ``image[rows, columns]`` is the breast.

    Raises
    ------
    TypeError
        If the image is not uint8 or uint16.
    ValueError
        If its shape is not (height, width) or it has one gray level only: no breast.
    """
    _check_gray(image)
    if image.min() == image.max():
        raise ValueError(
            f"image has the one gray level {image.flat[0]}; there is no breast to be found."
        )
    otsu, _ = cv2.threshold(image, 0, 1, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    bright = (image > otsu / 2).astype(np.uint8)
    side = min(image.shape) // 50 * 2 + 1  # odd: OpenCV's even squares move the result
    # Black beyond the edge, so that narrow lines along it are opened away.
    opened = cv2.morphologyEx(
        bright, cv2.MORPH_OPEN, np.ones((side, side)), borderType=cv2.BORDER_CONSTANT, borderValue=0
    )
    _, labels, regions, _ = cv2.connectedComponentsWithStats(opened if opened.any() else bright)
    largest = labels == 1 + np.argmax(regions[1:, cv2.CC_STAT_AREA])
    # Opening also rounds the breast's tips off: take back what is next to it.
    near = cv2.dilate(largest.astype(np.uint8), np.ones((2 * side + 1, 2 * side + 1)))
    x, y, width, height = cv2.boundingRect(cv2.bitwise_and(near, bright))
    return slice(y, y + height), slice(x, x + width)


def crop_breast(image: np.ndarray) -> np.ndarray:
    """Crop a mammogram to the box of the breast, which drops background and markers.

    Parameters
    ----------
    image : ndarray of shape (height, width)
        uint8 or uint16, dark background.

    Returns
    -------
    ndarray of the same type, a copy

    Raises
    ------
    TypeError, ValueError
        As ``find_breast``.
    """
    return image[find_breast(image)].copy()


def preprocess_image(
    image: np.ndarray,
    size: Size,
    *,
    window: Window = None,
    clip_limit: float | None = 2.0,
    tile_grid_size: Sequence[int] = (8, 8),
    interpolation: Literal["area", "nearest", "bilinear", "bicubic"] = "area",
    keep_aspect: bool = False,
    crop: bool = False,
) -> np.ndarray:
    """Convert to 8 bits, apply CLAHE and resize: the thesis's preprocessing (section 4.3).

    Parameters
    ----------
    image : ndarray of shape (height, width)
        uint8 or uint16.
    size, interpolation, keep_aspect
        As in ``resize_image``.
    window
        As in ``to_uint8``.
    clip_limit, tile_grid_size
        As in ``apply_clahe``; ``clip_limit=None`` leaves CLAHE out.
    crop : bool
        Crop to the breast first (``crop_breast``); for whole mammograms.

    Returns
    -------
    ndarray of uint8, shape (height, width)

    Raises
    ------
    TypeError, ValueError
        As these functions.
    """
    image = to_uint8(crop_breast(image) if crop else image, window)
    if clip_limit is not None:
        image = apply_clahe(image, clip_limit, tile_grid_size)
    return resize_image(image, size, interpolation, keep_aspect)


def make_dataset(
    frame: pd.DataFrame,
    *,
    image_size: Size = (224, 224),
    batch_size: int = 32,
    augment: Callable[[Any], Any] | Literal["rotations"] | None = None,
    cache_dir: str | Path | None = None,
    shuffle: bool = False,
    seed: int = 0,
    normalization: Callable[[Any], Any] | None = None,
    **preprocessing: Any,
) -> tf.data.Dataset:
    """Make batches of images and labels from the files that a frame names.

    Images are read, preprocessed, batched and prefetched on all cores while the model
    trains. With ``cache_dir`` each preprocessed image is kept in a file of its
    own: a second epoch, another run and other processes read it from there.

    Parameters
    ----------
    frame : DataFrame
        With the columns ``image_path`` and ``label``, as the readers return it.
    image_size : int or (int, int)
        (height, width) of the images in pixels.
    batch_size : int
        Images per batch; the last batch may be smaller.
    augment : callable, "rotations" or None
        A callable, such as a Keras layer, changes each batch of images anew in
        every epoch. "rotations" adds the rotations by 90, 180 and 270 degrees: an
        epoch is four times as long (thesis, section 4.3.2).
    cache_dir : str, Path or None
        Folder of the cache, made where it is missing. The name of an entry is a
        hash of the file's path, size and time of change and of the
        preprocessing: what changes is read anew. Entries are written to a temporary
        file and renamed, so that several processes may use one folder and a
        process that is killed leaves no half entry.
    shuffle : bool
        Whether each epoch has a new random order.
    seed : int
        Seed of that order, not negative.
    normalization : callable or None
        None: gray levels from 0 to 255 are divided by 255. A callable gets the
        batch with levels from 0 to 255 instead, for instance
        ``keras.applications.resnet50.preprocess_input``.
    **preprocessing
        Further arguments of ``preprocess_image``: ``window``, ``clip_limit``,
        ``tile_grid_size``, ``interpolation``, ``keep_aspect``, ``crop``.

    Returns
    -------
    tf.data.Dataset
        Of (images, labels): float32 (batch, height, width, 3) and int32 (batch,).
        Without ``shuffle`` in the order of the frame.

    Raises
    ------
    FileNotFoundError
        If an image file is missing; the message names it and its row.
    FileExistsError
        If ``cache_dir`` is a file.
    TypeError, ValueError
        If another argument is not as described. A file that cannot be read raises
        when its batch is made; the message names it.
    RuntimeError
        If TensorFlow is not installed.
    """
    try:
        import tensorflow as tf
    except ImportError as error:
        raise RuntimeError(
            "make_dataset() needs TensorFlow, which cannot be imported here. Install it with "
            'pip install "mammocourse[cpu]".'
        ) from error

    paths, labels = _check_frame(frame)
    height, width = _check_size(image_size)
    turns = 4 if augment == "rotations" else 1
    if turns == 4 and height != width:
        raise ValueError(f"image_size is {image_size!r}; augment='rotations' needs square images.")
    if augment is not None and turns == 1 and not callable(augment):
        raise ValueError(f"augment is {augment!r}; it must be a callable, 'rotations' or None.")
    for name, number, least in (("batch_size", batch_size, 1), ("seed", seed, 0)):
        if not isinstance(number, (int, np.integer)) or number < least:
            raise ValueError(f"{name} is {number!r}; it must be an integer of at least {least}.")
    if normalization is not None and not callable(normalization):
        raise ValueError(f"normalization is {normalization!r}; it must be a callable or None.")
    settings = dict(size=(height, width), **preprocessing)
    preprocess_image(np.eye(8, dtype=np.uint8), **settings)  # a wrong setting raises now
    folder = None if cache_dir is None else Path(cache_dir).absolute()
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)

    def gather(numbers: np.ndarray) -> np.ndarray:
        files, places = np.unique(numbers // turns, return_inverse=True)  # read each once
        images = [_read(paths[file], settings, folder) for file in files]
        pairs = zip(places, numbers % turns, strict=True)
        gray = np.concatenate([np.rot90(images[place], turned) for place, turned in pairs])
        return cv2.cvtColor(gray, cv2.COLOR_GRAY2RGB).reshape(-1, height, width, 3)

    def load(numbers: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        levels = tf.numpy_function(gather, [numbers], tf.uint8)
        images = tf.cast(tf.ensure_shape(levels, (None, height, width, 3)), tf.float32)
        images = images / 255.0 if normalization is None else normalization(images)
        return images, tf.gather(labels, numbers // turns)

    dataset = tf.data.Dataset.range(turns * len(paths))
    if shuffle:
        dataset = dataset.shuffle(turns * len(paths), seed=seed)
    dataset = dataset.batch(batch_size).map(load, num_parallel_calls=os.cpu_count() or 1)
    if callable(augment):  # one batch after the other, so that its random numbers repeat
        dataset = dataset.map(lambda images, classes: (augment(images), classes))
    return dataset.prefetch(tf.data.AUTOTUNE)


def _read(path: Path, settings: dict[str, Any], folder: Path | None) -> np.ndarray:
    """Return the preprocessed image of one file, from the cache where it is there."""
    from mammocourse.datasets import load_image

    entry = None if folder is None else folder / _entry_name(path, settings)
    image = None if entry is None else _load_entry(entry, settings["size"])
    if image is None:
        try:
            image = preprocess_image(load_image(path), **settings)
        except Exception as error:
            raise ValueError(f"{path} cannot be read and preprocessed: {error}") from error
        if entry is not None:
            _save_entry(entry, image)
    return image


def _entry_name(path: Path, settings: dict[str, Any]) -> str:
    """Name the cache entry of a file in its present state under these settings."""
    state = path.stat()
    key = (_CACHE_VERSION, str(path.resolve()), state.st_size, state.st_mtime_ns)
    return hashlib.sha256(repr((*key, sorted(settings.items()))).encode()).hexdigest()[:32] + ".npy"


def _load_entry(entry: Path, size: tuple[int, int]) -> np.ndarray | None:
    """Return the image of a cache entry; None if there is none or the disk damaged it."""
    try:
        with entry.open("rb") as file:
            image = np.lib.format.read_array(file, allow_pickle=False)
    except (OSError, ValueError):
        return None
    return image if image.dtype == np.uint8 and image.shape == size else None


def _save_entry(entry: Path, image: np.ndarray) -> None:
    """Write a cache entry whole or not at all."""
    entry.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=entry.parent, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            np.save(file, image)
        os.replace(name, entry)
    finally:
        Path(name).unlink(missing_ok=True)


def _check_frame(frame: pd.DataFrame) -> tuple[list[Path], np.ndarray]:
    """Return the paths and labels of a frame, or raise."""
    for column in ("image_path", "label"):
        if column not in frame:
            raise ValueError(
                f"the frame has no column {column!r}; its columns are {list(frame.columns)}."
            )
    if len(frame) == 0:
        raise ValueError("the frame has no rows; a dataset needs at least one.")
    for row, path in enumerate(frame["image_path"]):
        if not isinstance(path, (str, os.PathLike)):
            raise ValueError(f"'image_path' is {path!r} in row {row} (from 0); it must be a path.")
    paths = [Path(path).absolute() for path in frame["image_path"]]
    missing = [row for row, path in enumerate(paths) if not path.is_file()]
    if missing:
        raise FileNotFoundError(
            f"{len(missing)} of {len(paths)} image files are missing, first {paths[missing[0]]} "
            f"in row {missing[0]} (from 0). Check the folder that the frame was read from."
        )
    if frame["label"].isna().any():
        raise ValueError("the column 'label' has empty values; every image needs a label.")
    labels = frame["label"].to_numpy()
    try:
        whole = labels.astype(np.int32)
    except ValueError:
        whole = None
    if whole is None or (whole != labels).any():
        raise ValueError("the column 'label' holds other values than integers such as 0 and 1.")
    return paths, whole


def _kind(image: Any) -> Any:
    """Type of the elements of an array; of anything else its own."""
    return image.dtype if isinstance(image, np.ndarray) else type(image).__name__


def _check_gray(image: np.ndarray) -> None:
    """Raise unless the image is a gray one of 8 or 16 bits."""
    kind = _kind(image)
    if kind not in (np.uint8, np.uint16):
        raise TypeError(
            f"image is of type {kind}; it must be an array of uint8 or uint16 gray levels. "
            "Apply this step before normalize()."
        )
    if image.ndim != 2 or image.size == 0:
        raise ValueError(
            f"image has the shape {image.shape}; it must be (height, width) and not empty."
        )


def _tile_area(shape: Sequence[int], columns: int, rows: int) -> int:
    """Pixels of a tile: OpenCV pads both sides when one is no multiple of its tiles."""
    height, width = shape
    padded = int(height % rows > 0 or width % columns > 0)
    return (height // rows + padded) * (width // columns + padded)


def _check_tiles(tile_grid_size: Sequence[int]) -> tuple[int, int]:
    """Return (columns, rows), or raise."""
    return _check_pair(tile_grid_size, "tile_grid_size", "numbers of tiles: (columns, rows)")


def _check_size(size: Size) -> tuple[int, int]:
    """Return (height, width), or raise."""
    pair = (size, size) if isinstance(size, (int, np.integer)) else size
    return _check_pair(pair, "size", "pixels: one integer or (height, width)")


def _check_pair(value: Any, name: str, meaning: str) -> tuple[int, int]:
    """Return two integers of at least 1, or raise."""
    pair = _pair(value, int)
    if min(pair) < 1 or pair != tuple(value):
        raise ValueError(f"{name} is {value!r}; it must be in {meaning}, each at least 1.")
    return pair


def _pair(value: Any, kind: type) -> tuple[Any, Any]:
    """Return two numbers; (0, 0) where there are not two."""
    try:
        first, second = (kind(number) for number in value if not isinstance(number, str))
    except (TypeError, ValueError, OverflowError):
        return 0, 0
    return first, second
