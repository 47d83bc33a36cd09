"""Scanner and classifier as one network, fine-tuned together (AUC paper, end of section 4).

The paper trains the classifier on volumes computed beforehand, and then may "merge both
networks back together and continue the training". Back-propagation through the scanner over
a whole film would keep every activation in memory; here the film is cut into tiles of a few
windows each, which are computed a second time when their gradient is needed (gradient
checkpointing). The scanner must not pad: then a tile gives exactly the features that the
whole film gives, and the gradients are the same.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from mammocourse.patch_classifier import _check_counts, _check_range

if TYPE_CHECKING:
    import keras
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "JoinedGradients",
    "fit_joined",
    "join_networks",
    "joined_gradients",
    "joined_scores",
    "prepare_film",
]

TILE_PIXELS = 2**19
"""Pixels of a tile, about; a tile holds at least one window."""


class JoinedGradients(NamedTuple):
    """Loss of a batch of films and its gradients."""

    loss: float
    scanner: list[Any]
    """Tensors in the order of ``scanner.trainable_variables``."""
    classifier: list[Any]
    """Tensors in the order of ``classifier.trainable_variables``."""


def join_networks(
    scanner: keras.Model, classifier: keras.Model, strides: tuple[int, int] = (1, 1)
) -> keras.Model:
    """Return scanner and classifier as one Keras model (AUC paper, section 4).

    For films that fit into memory at once; :func:`fit_joined` does the same in tiles.

    Parameters
    ----------
    scanner : keras.Model
        Of :func:`mammocourse.models.build_scanner`.
    classifier : keras.Model
        Of :func:`~mammocourse.whole_films.build_patch_classifier`, or the ``model`` of a
        trained :class:`~mammocourse.whole_films.PatchTrainer`.
    strides : (int, int)
        ``a`` and ``b`` of :func:`mammocourse.scanner.grid_size`: the stride of the scanner's
        last layer.

    Returns
    -------
    keras.Model
        From films (n, height, width, 1) in [0, 1], of the one size that gives the classifier's
        grid, to logits (n, 1). Its two layers are models, ``scanner`` and ``classifier``, with
        weights of their own, copied from the arguments.

    Raises
    ------
    ValueError
        If the two networks do not fit together.
    """
    import keras

    from mammocourse.scanner import receptive_field, strided_scanner

    rows, columns, _ = _grid(scanner, classifier)
    field = receptive_field(scanner)
    head = keras.models.clone_model(classifier)
    head.set_weights(classifier.get_weights())
    eyes = strided_scanner(scanner, strides)
    eyes.name, head.name = "scanner", "classifier"
    height = field.window + (rows - 1) * field.stride * strides[0]
    width = field.window + (columns - 1) * field.stride * strides[1]
    films = keras.Input((height, width, 1), name="films")
    return keras.Model(films, head(eyes(films)), name="joined_network")


def prepare_film(
    image: Any, scanner: keras.Model, n_patches: int | tuple[int, int] = 15
) -> tuple[NDArray[np.float32], tuple[int, int]]:
    """Return the pixels that a scan of a film looks at, and the strides of the scan.

    Parameters
    ----------
    image : ndarray of shape (height, width), or path
        uint8 or uint16; a path is read by ``load_image``.
    scanner : keras.Model
    n_patches : int or (int, int)
        Windows down and across.

    Returns
    -------
    pixels : ndarray of shape (height, width), float32 in [0, 1]
        The breast's box in the size of :func:`mammocourse.scanner.grid_size`.
    strides : (int, int)
        ``a`` and ``b``.

    Raises
    ------
    TypeError, ValueError
        As :func:`mammocourse.scanner.scan_patches`.
    """
    from mammocourse.datasets import load_image
    from mammocourse.preprocessing import find_breast, resize_image
    from mammocourse.scanner import cut_out, grid_size, receptive_field, scan_region

    image = image if isinstance(image, np.ndarray) else load_image(image)
    down, across = (n_patches, n_patches) if isinstance(n_patches, int | np.integer) else n_patches
    window = receptive_field(scanner).window
    pixels = cut_out(image, scan_region(image.shape, find_breast(image), window))
    height, _, a, _ = grid_size(pixels.shape, scanner, down)
    _, width, _, b = grid_size(pixels.shape, scanner, across)
    for size in ((height, pixels.shape[1]), (height, width)):
        pixels = resize_image(pixels, size, "area" if size < pixels.shape else "bilinear")
    return pixels, (a, b)


def joined_gradients(
    scanner: keras.Model,
    classifier: keras.Model,
    films: Sequence[tuple[NDArray[np.float32], tuple[int, int]]],
    labels: ArrayLike,
    loss: Any,
    *,
    tile_pixels: int = TILE_PIXELS,
    training: bool = True,
) -> JoinedGradients:
    """Compute the gradients of scanner and classifier, with the memory of one tile.

    1. The volumes of all films are computed tile by tile, without a tape.
    2. The loss of the classifier on these volumes gives its own gradients, and the gradient
       with respect to the volumes.
    3. Each tile is computed once more, now with a tape, and its part of that gradient goes
       on to the weights of the scanner.

    Parameters
    ----------
    scanner, classifier : keras.Model
    films : sequence of (pixels, strides)
        Of :func:`prepare_film`; sizes and strides may differ.
    labels : array_like of shape (n,)
        0 and 1.
    loss : keras.losses.Loss
        Of labels and logits, for example :class:`~mammocourse.losses.PairwiseAUCLoss`. The
        classifier's own regularization is added.
    tile_pixels : int
        Size of a tile, about, at least 1: smaller needs less memory and more time.
    training : bool
        Whether dropout of the classifier is at work.

    Returns
    -------
    JoinedGradients

    Raises
    ------
    ValueError
        If the scanner pads, the networks do not fit together, or a film has the wrong size.
    """
    import tensorflow as tf

    (tile_pixels,) = _check_counts("tile_pixels", (tile_pixels,))
    grid, field = _grid(scanner, classifier), _unpadded(scanner)
    labels = np.asarray(labels)
    if labels.shape != (len(films),) or len(films) == 0:
        raise ValueError(f"labels has shape {labels.shape} for {len(films)} films; give each one.")
    tiles = [list(_tiles(film, field, grid, tile_pixels)) for film in films]
    volumes = np.zeros((len(films), *grid), np.float32)
    for volume, (pixels, strides), parts in zip(volumes, films, tiles, strict=True):
        for place, cut in parts:
            volume[place] = _features(scanner)(pixels[cut][None, ..., None], *strides)[0]
    seen = tf.constant(volumes)
    with tf.GradientTape() as tape:
        tape.watch(seen)
        scores = classifier(seen, training=training)
        value = loss(labels.astype(np.float32), scores[:, 0])
        value = tf.add_n([value, *classifier.losses])
    upstream, own = tape.gradient(value, [seen, classifier.trainable_variables])
    totals = [tf.Variable(tf.zeros_like(w)) for w in scanner.trainable_variables]
    for number, ((pixels, strides), parts) in enumerate(zip(films, tiles, strict=True)):
        for place, cut in parts:
            change = upstream[number].numpy()[place][None]
            tile = pixels[cut][None, ..., None]
            parts_of = _weight_gradients(scanner, tile, change, *strides)
            for total, part in zip(totals, parts_of, strict=True):
                total.assign_add(part)
    return JoinedGradients(float(value), [total.value() for total in totals], own)


def fit_joined(
    scanner: keras.Model,
    classifier: keras.Model,
    images: Sequence[Any],
    labels: ArrayLike,
    *,
    loss: str = "auc",
    epochs: int = 1,
    batch_size: int = 8,
    learning_rate: float = 1e-4,
    scanner_learning_rate: float = 1e-5,
    tile_pixels: int = TILE_PIXELS,
    seed: int = 0,
) -> pd.DataFrame:
    """Fine-tune scanner and classifier together; both models change in place.

    Parameters
    ----------
    scanner, classifier : keras.Model
        As for :func:`join_networks`. Frozen layers (BatchNormalization, ``standardize``,
        ``components``) stay as they are.
    images : sequence of ndarray of shape (height, width), or of paths
    labels : array_like of shape (n,)
        0 and 1; with the AUC loss both.
    loss : {"auc", "binary"}
        The AUC loss pairs the films of a batch.
    epochs, batch_size : int
        A batch is one step; its films are in memory one tile at a time.
    learning_rate, scanner_learning_rate : float
        Of Adam, for the classifier and for the scanner.
    tile_pixels
        As in :func:`joined_gradients`.
    seed : int
        Of the order of the films.

    Returns
    -------
    DataFrame
        One row per step: ``epoch, step, loss``.

    Raises
    ------
    ValueError
        As :func:`joined_gradients`, or if an argument is out of its range.
    """
    import keras

    from mammocourse.losses import PairwiseAUCLoss

    if loss not in ("auc", "binary"):
        raise ValueError(f"loss is {loss!r}; it must be 'auc' or 'binary'.")
    counts = (epochs, batch_size, tile_pixels)
    epochs, batch_size, tile_pixels = _check_counts("epochs, batch_size, tile_pixels", counts)
    _check_range("learning_rate", learning_rate, 0, math.inf)
    _check_range("scanner_learning_rate", scanner_learning_rate, 0, math.inf)
    labels = np.asarray(labels)
    if labels.shape != (len(images),) or not np.isin(labels, (0, 1)).all():
        raise ValueError(f"labels must hold 0 or 1 for each of the {len(images)} images.")
    grid = _grid(scanner, classifier)[:2]
    criterion = PairwiseAUCLoss() if loss == "auc" else keras.losses.BinaryCrossentropy(True)
    steps = [
        (keras.optimizers.Adam(rate), model.trainable_variables)
        for rate, model in ((scanner_learning_rate, scanner), (learning_rate, classifier))
    ]
    for number, image in enumerate(images):  # a bad film must not leave half-trained models
        with naming_image(number):
            prepare_film(image, scanner, grid)
    rows = []
    for epoch, step, batch in _batches(labels, loss, epochs, batch_size, seed):
        films = [prepare_film(images[k], scanner, grid) for k in batch]
        found = joined_gradients(
            scanner, classifier, films, labels[batch], criterion, tile_pixels=tile_pixels
        )
        for (adam, variables), gradients in zip(steps, found[1:], strict=True):
            adam.apply(gradients, variables)
        rows.append({"epoch": epoch, "step": step, "loss": found.loss})
    return pd.DataFrame(rows)


def joined_scores(
    scanner: keras.Model,
    classifier: keras.Model,
    images: Sequence[Any],
    *,
    tile_pixels: int = TILE_PIXELS,
) -> NDArray[np.float64]:
    """Score films with the two networks as they are now.

    Parameters
    ----------
    scanner, classifier, images, tile_pixels
        As in :func:`fit_joined`.

    Returns
    -------
    ndarray of shape (n,)
        Logits, larger for positive.
    """
    (tile_pixels,) = _check_counts("tile_pixels", (tile_pixels,))
    grid, field = _grid(scanner, classifier), _unpadded(scanner)
    scores = []
    for number, image in enumerate(images):
        with naming_image(number):
            film = prepare_film(image, scanner, grid[:2])
        volume = np.zeros((1, *grid), np.float32)
        for place, cut in _tiles(film, field, grid, tile_pixels):
            volume[0][place] = _features(scanner)(film[0][cut][None, ..., None], *film[1])[0]
        scores.append(float(classifier.predict_on_batch(volume)[0, 0]))
    return np.array(scores)


@contextlib.contextmanager
def naming_image(number: int) -> Iterator[None]:
    """Say in errors which of the images was bad."""
    try:
        yield
    except (TypeError, ValueError, FileNotFoundError) as error:
        kinds = (TypeError, FileNotFoundError, ValueError)
        kind = next(kind for kind in kinds if isinstance(error, kind))
        raise kind(f"images[{number}] cannot be used: {error}") from error


def _batches(
    labels: NDArray[Any], loss: str, epochs: int, size: int, seed: int
) -> Iterator[tuple[int, int, Any]]:
    """Yield epoch, step and the films of each batch; the AUC loss gets both classes in each."""
    from mammocourse.losses import StratifiedBatches

    rng, order = np.random.default_rng(seed), None
    if loss == "auc":
        order = StratifiedBatches(np.arange(len(labels)), labels, size, seed=seed)
    step = 0
    for epoch in range(1, epochs + 1):
        if order is not None:
            batches = [order[k][0] for k in range(len(order))]
            order.on_epoch_end()
        else:
            count = math.ceil(len(labels) / size)
            batches = np.array_split(rng.permutation(len(labels)), count)
        for batch in batches:
            step += 1
            yield epoch, step, batch


def _tiles(
    film: tuple[NDArray[np.float32], tuple[int, int]],
    field: Any,
    grid: tuple[int, ...],
    tile_pixels: int,
) -> Iterator[tuple[Any, Any]]:
    """Yield blocks of windows: their place in the volume, and the pixels that they see."""
    pixels, strides = film
    steps = [field.stride * stride for stride in strides]
    expected = tuple(field.window + (n - 1) * step for n, step in zip(grid[:2], steps, strict=True))
    if pixels.shape != expected:
        raise ValueError(
            f"a film has the shape {pixels.shape}; with strides {strides} it must be {expected}: "
            "use prepare_film."
        )
    fit_across = max(1, (tile_pixels // field.window - field.window) // steps[1] + 1)
    across = min(grid[1], fit_across)
    width = field.window + (across - 1) * steps[1]
    down = min(grid[0], max(1, (tile_pixels // width - field.window) // steps[0] + 1))
    for top in range(0, grid[0], down):
        bottom = min(top + down, grid[0])
        rows = slice(top * steps[0], (bottom - 1) * steps[0] + field.window)
        for left in range(0, grid[1], across):
            right = min(left + across, grid[1])
            columns = slice(left * steps[1], (right - 1) * steps[1] + field.window)
            yield (slice(top, bottom), slice(left, right)), (rows, columns)


def _grid(scanner: keras.Model, classifier: keras.Model) -> tuple[int, int, int]:
    """Return the shape of the classifier's volume; raise if the scanner makes another."""
    shape = tuple(classifier.input_shape[1:])
    if len(shape) != 3 or scanner.output_shape[-1] != shape[2]:
        raise ValueError(
            f"the classifier takes volumes {shape}, the scanner makes "
            f"{scanner.output_shape[-1]} features; build the classifier with input_shape="
            f"(n, n, {scanner.output_shape[-1]})."
        )
    return shape


def _unpadded(scanner: keras.Model) -> Any:
    """Return the receptive field of a scanner; raise if it pads."""
    from mammocourse.scanner import receptive_field

    field = receptive_field(scanner)
    if field.padding:
        raise ValueError(
            f"the scanner pads by {field.padding} pixels, so tiles of a film give other features "
            "than the film: use build_scanner('vgg_m') or ('course'), or join_networks, which "
            "needs no tiles."
        )
    return field


@functools.lru_cache(maxsize=2)
def _features(scanner: Any) -> Any:
    """Return the function from pixels and strides to features."""
    import keras
    import tensorflow as tf

    from mammocourse.scanner import _strided

    last = scanner.operations[-1]
    trunk = keras.Model(scanner.inputs[0], last.input)
    pixels = tf.TensorSpec((None, None, None, 1), tf.float32)
    graph = tf.function(lambda x: trunk(x, training=False), input_signature=[pixels])
    # the last layer runs outside the graph, which is then the same for all strides
    return lambda x, a, b: _strided(last, graph(tf.constant(x)), (int(a), int(b)))


def _weight_gradients(scanner: Any, x: Any, upstream: Any, a: int, b: int) -> list[Any]:
    """Return the gradients of the weights that are trainable now, from one tile's pixels."""
    import tensorflow as tf

    with tf.GradientTape() as tape:
        found = _features(scanner)(x, a, b)
    weights = scanner.trainable_variables
    return tape.gradient(found, weights, output_gradients=tf.constant(upstream))
