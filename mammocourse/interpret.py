"""Looking inside a convolutional network (thesis, sections 3.9 to 3.11).

What a layer computes (:func:`activation_maps`), what its kernels respond to
(:func:`maximize_filters`), where a decision comes from (:class:`GradCAM`), and whether
such a map can be believed: against masks that hold the truth
(:func:`heatmap_mask_energy`, :func:`pointing_game`) and against the same network with
random weights (:func:`randomization_check`).

The models are Keras 3 image models with one input and one output on the TensorFlow
backend: ``Sequential``, functional, or with a model inside the model (a nested backbone),
whose layers are named like any others. The network is never rebuilt or cut. The model
runs as it is, in inference mode, and the layer of interest is overheard: its ``call`` is
wrapped for as long as the block lasts, so that its output can be recorded and
differentiated, however deep it sits.

References
----------
Adebayo, J., Gilmer, J., Muelly, M., Goodfellow, I., Hardt, M., Kim, B. (2018). Sanity
checks for saliency maps. NeurIPS.
Selvaraju, R. R. et al. (2017). Grad-CAM: visual explanations from deep networks via
gradient-based localization. ICCV.
Zhang, J. et al. (2018). Top-down neural attention by excitation backprop. International
Journal of Computer Vision 126, 1084-1102.
"""

from __future__ import annotations

import numbers
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage, stats

if TYPE_CHECKING:
    import keras

__all__ = [
    "GradCAM",
    "activation_maps",
    "heatmap_mask_energy",
    "maximize_filters",
    "overlay_heatmap",
    "pointing_game",
    "randomization_check",
]

Images = NDArray[np.float32]
"""Images or their maps, shape (n, height, width, channels)."""

Maps = NDArray[np.float32]
"""One map per image, shape (n, height, width)."""


@overload
def activation_maps(
    model: keras.Model, images: ArrayLike, layers: str, *, batch_size: int = ...
) -> Images: ...
@overload
def activation_maps(
    model: keras.Model, images: ArrayLike, layers: Sequence[str], *, batch_size: int = ...
) -> dict[str, Images]: ...
def activation_maps(
    model: keras.Model,
    images: ArrayLike,
    layers: str | Sequence[str],
    *,
    batch_size: int = 32,
) -> Images | dict[str, Images]:
    """Return what layers of a network compute from images (thesis, section 3.9).

    Parameters
    ----------
    model : keras.Model
        A built image model.
    images : array_like of shape (n, H, W, C)
        In the range in which the model was trained.
    layers : str or sequence of str
        Layers with spatial output, also those of a model inside the model.
    batch_size : int
        Images that pass through the network at a time.

    Returns
    -------
    ndarray of shape (n, h, w, c), float32, or a dict of them
        The array for one name; for a sequence of names a dict from name to array. A layer
        with an activation function (``Conv2D(..., activation="relu")``) gives its values
        after that function.

    Raises
    ------
    ValueError
        If the model is not built, a layer is unknown or has no spatial output, or the
        images are empty, not finite or not of the model's shape.
    """
    names = [layers] if isinstance(layers, str) else list(layers or [])
    if not names or not all(isinstance(name, str) for name in names):
        raise ValueError(f"layers is {layers!r}; give the name of a layer, or several names.")
    targets = [_find_layer(model, name) for name in names]
    pixels = _check_images(model, images)
    _check_integers(batch_size=(batch_size, 1))
    parts: list[list[Images]] = []
    for batch in _batches(len(pixels), batch_size):
        with _overheard(targets) as outputs:
            model(pixels[batch], training=False)
        parts.append([np.asarray(outputs[target.name], np.float32) for target in targets])
    maps = dict(zip(names, map(np.concatenate, zip(*parts, strict=True)), strict=True))
    return maps[layers] if isinstance(layers, str) else maps


@overload
def maximize_filters(
    model: keras.Model,
    layer: str,
    filters: int | Sequence[int] | None = ...,
    steps: int = ...,
    learning_rate: float = ...,
    restarts: int = ...,
    constraint: Literal["box", "norm"] | None = ...,
    seed: int | None = ...,
    return_history: Literal[False] = ...,
    *,
    pre_activation: bool = ...,
    batch_size: int = ...,
) -> Images: ...
@overload
def maximize_filters(
    model: keras.Model,
    layer: str,
    filters: int | Sequence[int] | None = ...,
    steps: int = ...,
    learning_rate: float = ...,
    restarts: int = ...,
    constraint: Literal["box", "norm"] | None = ...,
    seed: int | None = ...,
    *,
    return_history: Literal[True],
    pre_activation: bool = ...,
    batch_size: int = ...,
) -> tuple[Images, Images]: ...
def maximize_filters(
    model: keras.Model,
    layer: str,
    filters: int | Sequence[int] | None = None,
    steps: int = 200,
    learning_rate: float = 0.1,
    restarts: int = 1,
    constraint: Literal["box", "norm"] | None = None,
    seed: int | None = None,
    return_history: bool = False,
    *,
    pre_activation: bool = False,
    batch_size: int = 32,
) -> Images | tuple[Images, Images]:
    """Find images to which filters of a layer respond most (thesis, section 3.10).

    Gradient ascent on the pixels, from a random image: the objective of filter k is the
    mean of its activation map. All filters climb together as one batch, each image with
    its own objective; since no image enters another's objective, the gradient of their
    sum holds every image's own gradient. Each image gets the step

    ``image + learning_rate * gradient``

    and is then put back into the set that ``constraint`` names. The image returned is the
    best one on the way, which for a filter of the first layer is the last one: there the
    objective is linear before the ReLU and convex after it, and grows with every step.

    Parameters
    ----------
    model : keras.Model
        A built image model with a fixed input size.
    layer : str
        A layer with spatial output, also one of a model inside the model.
    filters : int, sequence of int or None
        Channels of that layer's output, from 0; None for all of them.
    steps : int
        Number of steps; with 0 the random starts are returned.
    learning_rate : float
        Length of a step in units of the gradient. Under ``constraint="norm"`` in units of
        the ball's radius: there the gradient is scaled to length 1, for its direction is
        all that decides where on the ball the maximum lies.
    restarts : int
        Number of random starts per filter; the best result of each filter is kept.
    constraint : {None, "box", "norm"}
        None leaves the pixels free, as in the thesis: the objective may then grow without
        end. "box" keeps every pixel in [0, 1]. "norm" keeps the image in the ball of
        Euclidean norm at most 1 (all pixels and channels together).
    seed : int or None
        Start r of filter k is uniform on [0, 1), drawn from ``(seed, k, r)``: the same
        whichever filters are asked for, and a further restart changes no earlier one.
        None draws anew.
    return_history : bool
        Return the objectives as well.
    pre_activation : bool
        Leave out the layer's own activation function.
    batch_size : int
        Images that climb at a time; bounds the memory.

    Returns
    -------
    images : ndarray of shape (n_filters, H, W, C), float32
    history : ndarray of shape (steps + 1, n_filters), float32
        Only with ``return_history=True``: the objective at the start and after every
        step, of the restart that was kept; its largest value is that of the image.

    Raises
    ------
    ValueError
        If the model is not built, the layer is unknown or has no spatial output, a filter
        is out of range, or another argument is.

    Warns
    -----
    RuntimeWarning
        If a filter's gradient is zero at every start: behind a ReLU such a filter is
        silent there and cannot climb; and if an ascent leaves the range of 32-bit numbers.
    """
    import tensorflow as tf

    target = _find_layer(model, layer)
    chosen = _check_filters(filters, target)
    _check_integers(steps=(steps, 0), restarts=(restarts, 1), batch_size=(batch_size, 1))
    if not (np.isfinite(learning_rate) and learning_rate > 0):
        raise ValueError(f"learning_rate is {learning_rate!r}; it must be a number above 0.")
    if constraint not in (None, "box", "norm"):
        raise ValueError(f"constraint is {constraint!r}; it must be None, 'box' or 'norm'.")

    @tf.function(reduce_retracing=True)
    def climb(pixels: tf.Tensor, channels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the objectives of the images, and the images after one step."""
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(pixels)
            with _overheard([target]) as outputs:
                model(pixels, training=False)
            means = tf.reduce_mean(tf.cast(outputs[target.name], tf.float32), axis=(1, 2))
            objectives = tf.gather(means, channels, axis=1, batch_dims=1)
        gradient = tape.gradient(objectives, pixels)
        if gradient is None:
            raise ValueError(
                f"Layer {layer!r} has no gradient with respect to the pixels; the model rounds "
                "them, or takes whole numbers: build it with a float32 input."
            )
        if constraint == "norm":
            gradient = _divide_by_norm(gradient, at_least=0.0)
        return objectives, project(pixels + learning_rate * gradient)

    def project(pixels: tf.Tensor) -> tf.Tensor:
        if constraint == "box":
            return tf.clip_by_value(pixels, 0.0, 1.0)
        return _divide_by_norm(pixels, at_least=1.0) if constraint == "norm" else pixels

    def ascend(channels: NDArray[np.int32], starts: Images) -> tuple[Images, Images]:
        """Return the best images on the way and the objectives, (steps + 1, n)."""
        pixels = best = project(tf.constant(starts))
        highest = tf.fill([len(starts)], -np.inf)
        history = []
        for _ in range(steps + 1):
            objectives, following = climb(pixels, tf.constant(channels))
            higher = (objectives > highest) & tf.math.is_finite(objectives)
            best = tf.where(higher[:, None, None, None], pixels, best)
            highest = tf.where(higher, objectives, highest)
            history.append(objectives.numpy())
            pixels = following
        return best.numpy(), np.stack(history)

    entropy: Any = np.random.SeedSequence(seed).entropy
    jobs = [(channel, restart) for channel in chosen for restart in range(restarts)]
    shape = _fixed_input_shape(model)
    with _without_activation(target) if pre_activation else nullcontext():
        parts = []
        for batch in _batches(len(jobs), batch_size):
            generators = [np.random.default_rng([entropy, *job]) for job in jobs[batch]]
            starts = np.stack([rng.random(shape, dtype=np.float32) for rng in generators])
            parts.append(ascend(np.array([job[0] for job in jobs[batch]], np.int32), starts))
    images = np.concatenate([part[0] for part in parts])
    history = np.concatenate([part[1] for part in parts], axis=1)

    finite = np.where(np.isfinite(history), history, -np.inf)
    kept = finite.max(axis=0).reshape(len(chosen), restarts).argmax(axis=1)
    kept += restarts * np.arange(len(chosen))
    images, history = images[kept], history[:, kept]
    if not np.isfinite(history).all():
        warnings.warn(
            f"The ascent in layer {layer!r} has left the range of 32-bit numbers; the images are "
            "the best before that. Try a smaller learning_rate, or a constraint.",
            RuntimeWarning,
            stacklevel=2,
        )
    if steps and (silent := (history == history[0]).all(axis=0)).any():
        warnings.warn(
            f"The gradient is zero at the random start of filter(s) "
            f"{', '.join(str(chosen[k]) for k in np.flatnonzero(silent))} of {layer!r}: their "
            "images are still noise. Try more restarts, or pre_activation=True.",
            RuntimeWarning,
            stacklevel=2,
        )
    return (images, history) if return_history else images


class GradCAM:
    """Gradient-weighted class activation maps (Selvaraju et al. 2017; thesis, section 3.11).

    For a class with score s and the c maps A of a layer, each map gets the mean over the
    positions of ds/dA as its weight. The heatmap is the ReLU of the weighted sum of maps,
    enlarged to the size of the image (bilinear). Two things differ from the thesis's text:
    the gradient is that of the class score with respect to the maps, and of the score
    *before* softmax or sigmoid (the logit), because the gradient of a probability near 1
    is practically zero.

    Parameters
    ----------
    model : keras.Model
        A built image classifier with output (n, classes). A softmax or sigmoid at its end,
        in the last layer or as a layer of its own, is left out; other outputs are used as
        they are. A single output is the logit of class 1, and its negative that of class 0.
    layer : str or None
        A layer with spatial output, also one of a model inside the model; None for the
        last one. It stands in the attribute ``layer_name``.

    Raises
    ------
    ValueError
        If the model is not built or has several inputs or outputs, or the layer is unknown
        or has no spatial output.

    Examples
    --------
    >>> heatmaps = GradCAM(model)(images)  # doctest: +SKIP
    """

    def __init__(self, model: keras.Model, layer: str | None = None) -> None:
        self.model = model
        self._target = _find_layer(model, layer)
        self.layer_name: str = self._target.name

    def __call__(
        self,
        images: ArrayLike,
        class_index: int | ArrayLike | None = None,
        *,
        normalize: bool = True,
        relu: bool = True,
        batch_size: int = 32,
    ) -> Maps:
        """Return one heatmap per image.

        Parameters
        ----------
        images : array_like of shape (n, H, W, C)
            In the range in which the model was trained.
        class_index : int, array_like of shape (n,) or None
            The class to explain, for all images or for each; None for the predicted one.
        normalize : bool
            Divide each map by its largest absolute value.
        relu : bool
            Keep only what speaks for the class; False keeps the sign.
        batch_size : int
            Images at a time; bounds the memory.

        Returns
        -------
        ndarray of shape (n, H, W), float32
            In [0, 1] per image ([-1, 1] without ReLU); unbounded with ``normalize=False``.
            A map without any positive value is all zero.

        Raises
        ------
        ValueError
            If the images are empty, not finite or not of the model's shape, a class is out
            of range, or the output does not depend on the layer.

        Warns
        -----
        RuntimeWarning
            If maps are all zero: nothing in this layer speaks for the class.
        """
        pixels = _check_images(self.model, images)
        _check_integers(batch_size=(batch_size, 1))
        classes = _check_classes(class_index, len(pixels))
        maps = np.concatenate(
            [
                self._maps(pixels[batch], None if classes is None else classes[batch], relu)
                for batch in _batches(len(pixels), batch_size)
            ]
        )
        if not np.isfinite(maps).all():
            raise ValueError(
                f"The model's outputs or their gradients at layer {self.layer_name!r} are not "
                "finite numbers; look at its weights and at the range of the images."
            )
        peaks = np.abs(maps).max(axis=(1, 2))
        if (empty := np.flatnonzero(peaks == 0)).size:
            warnings.warn(
                f"The Grad-CAM of {len(empty)} of {len(maps)} images is all zero (the first is "
                f"image {empty[0]}): no map of layer {self.layer_name!r} speaks for the class.",
                RuntimeWarning,
                stacklevel=2,
            )
        if normalize:
            maps /= np.where(peaks == 0, 1, peaks)[:, np.newaxis, np.newaxis]
        return maps

    def _maps(self, pixels: Images, classes: NDArray[np.intp] | None, relu: bool) -> Maps:
        import tensorflow as tf

        with (
            tf.GradientTape(watch_accessed_variables=False) as tape,
            _overheard([self._target], watch=tape.watch) as outputs,
        ):
            scores = _class_scores(self.model, pixels)
            if classes is None:
                classes = np.argmax(scores, axis=1)
            if (wrong := (classes < 0) | (classes >= scores.shape[1])).any():
                raise ValueError(
                    f"class_index has the class {classes[wrong][0]}; the model has the classes "
                    f"0 to {scores.shape[1] - 1}."
                )
            score = tf.gather(scores, classes, axis=1, batch_dims=1)
        activations = outputs[self.layer_name]
        gradient = tape.gradient(score, activations)
        if gradient is None:
            raise ValueError(f"The model's output does not depend on layer {self.layer_name!r}.")
        weights = tf.reduce_mean(tf.cast(gradient, tf.float32), axis=(1, 2), keepdims=True)
        maps = tf.reduce_sum(weights * tf.cast(activations, tf.float32), axis=3, keepdims=True)
        maps = tf.image.resize(tf.nn.relu(maps) if relu else maps, pixels.shape[1:3])
        return maps[..., 0].numpy()


def overlay_heatmap(
    image: ArrayLike, heatmap: ArrayLike, *, alpha: float = 0.5, colormap: str = "inferno"
) -> NDArray[np.float64]:
    """Lay a heatmap over its image.

    Parameters
    ----------
    image : array_like of shape (H, W), (H, W, 1) or (H, W, 3)
        Floats in [0, 1], or unsigned integers, which are divided by their type's maximum.
    heatmap : array_like of shape (H, W)
        In [0, 1], as :class:`GradCAM` returns it.
    alpha : float
        Share of the heatmap, from 0 (the image alone) to 1 (the heatmap alone).
    colormap : str
        Name of a matplotlib colormap. The default is perceptually uniform and black at 0;
        the rainbow of the thesis's Fig. 9 shows edges where there are none.

    Returns
    -------
    ndarray of shape (H, W, 3)
        Red, green and blue in [0, 1]: ``(1 - alpha) * image + alpha * colors``.

    Raises
    ------
    ValueError
        If shapes do not fit or values lie outside [0, 1].
    """
    import matplotlib

    picture, heat = np.asarray(image), np.asarray(heatmap)
    if picture.ndim == 2:
        picture = picture[..., np.newaxis]
    if picture.ndim != 3 or picture.shape[2] not in (1, 3) or picture.shape[:2] != heat.shape:
        raise ValueError(
            f"image has shape {np.shape(image)} and heatmap {heat.shape}; they must be one image "
            "(H, W), (H, W, 1) or (H, W, 3) and its heatmap (H, W)."
        )
    if picture.dtype.kind == "u":
        picture = picture / np.iinfo(picture.dtype).max
    for name, values in {"image": picture, "heatmap": heat, "alpha": np.asarray(alpha)}.items():
        if not ((values >= 0) & (values <= 1)).all():
            raise ValueError(
                f"{name} has values from {values.min()} to {values.max()}; they must lie in [0, 1]."
            )
    colors = matplotlib.colormaps[colormap](heat.astype(float))[..., :3]
    return (1 - alpha) * picture + alpha * colors


def heatmap_mask_energy(heatmaps: ArrayLike, masks: ArrayLike) -> NDArray[np.float64]:
    """Return the share of each heatmap's positive heat that lies inside its mask.

    A heatmap that is the same everywhere scores the area of the mask: compare with that.

    Parameters
    ----------
    heatmaps : array_like of shape (n, H, W)
        Negative values count as no heat.
    masks : array_like of shape (n, H, W)
        True (or above 0) inside.

    Returns
    -------
    ndarray of shape (n,)
        From 0 to 1; NaN where a heatmap has no positive heat.

    Raises
    ------
    ValueError
        If the shapes differ or are not (n, H, W), or heat is not finite.
    """
    heat, inside = _check_heatmaps(heatmaps, masks)
    heat = np.maximum(heat, 0)
    total = heat.sum(axis=(1, 2))
    share = np.full(len(heat), np.nan)
    return np.divide((heat * inside).sum(axis=(1, 2)), total, out=share, where=total > 0)


def pointing_game(heatmaps: ArrayLike, masks: ArrayLike, tolerance: float = 0) -> NDArray[np.bool_]:
    """Say for each heatmap whether its hottest pixel hits the mask (Zhang et al. 2018).

    Parameters
    ----------
    heatmaps : array_like of shape (n, H, W)
    masks : array_like of shape (n, H, W)
        True (or above 0) inside.
    tolerance : float
        Distance in pixels (Euclidean, between centers) at which a pixel outside the mask
        still counts; Zhang et al. use 15.

    Returns
    -------
    ndarray of shape (n,), bool
        The hottest pixel is the first one in reading order. A heatmap without positive
        heat points nowhere and misses, and nothing hits an empty mask.

    Raises
    ------
    ValueError
        If the shapes differ or are not (n, H, W), heat is not finite, or the tolerance is
        negative.
    """
    heat, inside = _check_heatmaps(heatmaps, masks)
    if not tolerance >= 0:
        raise ValueError(f"tolerance is {tolerance!r}; it must be a number of at least 0.")
    hits = np.zeros(len(heat), dtype=bool)
    for k in np.flatnonzero((heat > 0).any(axis=(1, 2)) & inside.any(axis=(1, 2))):
        distance = ndimage.distance_transform_edt(~inside[k])
        hits[k] = distance.flat[heat[k].argmax()] <= tolerance
    return hits


def randomization_check(
    model: keras.Model,
    images: ArrayLike,
    layer: str | None = None,
    class_index: int | ArrayLike | None = None,
    *,
    relu: bool = True,
    seed: int | None = None,
    batch_size: int = 32,
) -> pd.DataFrame:
    """Compare heatmaps with those of the same network without its knowledge.

    The cascading randomization of Adebayo et al. (2018): from the output down, layer by
    layer, the weights are destroyed, those of the layers above staying destroyed, and
    Grad-CAM is computed again, for the class that the trained network was asked about. A
    map that explains the network must change; one that stays the same shows the image.

    The weights of a layer are destroyed by permuting the entries of each of its arrays:
    the values stay, and so does the scale of the signal, while what the training put
    where is lost.

    Parameters
    ----------
    model : keras.Model
        As for :class:`GradCAM`. Its weights are changed meanwhile, and put back in any
        case, also after an error or an interrupt.
    images : array_like of shape (n, H, W, C)
    layer : str or None
        Layer of the maps; None for the last one with spatial output.
    class_index : int, array_like of shape (n,) or None
        The class to explain; None for the one that the trained network predicts.
    relu : bool
        Compare the usual maps; False compares signed ones.
    seed : int or None
        Of the permutations; None draws anew.
    batch_size : int
        Images at a time.

    Returns
    -------
    DataFrame
        One row per image, one column per layer with weights, in the order in which they
        are destroyed; the column "trained" comes first. The entries are Spearman's rank
        correlation, over the pixels, of the map before and after; NaN where one of the two
        maps is constant (all zero, for example) and has no ranks.

    Raises
    ------
    ValueError
        As :class:`GradCAM`.
    """
    explain = GradCAM(model, layer)
    _check_integers(batch_size=(batch_size, 1))
    if class_index is None:
        pixels = _check_images(model, images)
        class_index = np.concatenate(
            [
                np.argmax(_class_scores(model, pixels[batch]), axis=1)
                for batch in _batches(len(pixels), batch_size)
            ]
        )
    rng = np.random.default_rng(seed)
    options: dict[str, Any] = {"relu": relu, "batch_size": batch_size}
    parents = [part for part in _layers(model) if not getattr(part, "layers", [])]
    destroyed = [part for part in reversed(parents) if part.weights]
    weights = [part.get_weights() for part in destroyed]
    similarity: dict[str, list[float]] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # all-zero maps: they become NaN
        try:
            trained = explain(images, class_index, **options)
            similarity["trained"] = _rank_correlations(trained, trained)
            for part, values in zip(destroyed, weights, strict=True):
                part.set_weights(
                    [rng.permuted(array.ravel()).reshape(array.shape) for array in values]
                )
                maps = explain(images, class_index, **options)
                similarity[part.name] = _rank_correlations(trained, maps)
        finally:
            for part, values in zip(destroyed, weights, strict=True):
                part.set_weights(values)
    return pd.DataFrame(similarity).rename_axis(index="image", columns="randomized down to")


def _class_scores(model: keras.Model, pixels: Images) -> Any:
    """Return the logits (n, classes); a single one is split into class 0 and class 1."""
    import tensorflow as tf

    with _without_final_activation(model):
        scores = tf.cast(model(pixels, training=False), tf.float32)
    if scores.shape.rank != 2:
        raise ValueError(
            f"The model's output has shape {tuple(scores.shape)}; Grad-CAM needs a classifier "
            "with output (n, classes)."
        )
    return tf.concat([-scores, scores], axis=1) if scores.shape[1] == 1 else scores


def _rank_correlations(before: Maps, after: Maps) -> list[float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.ConstantInputWarning)
        return [
            float(stats.spearmanr(a, b, axis=None).statistic)
            for a, b in zip(before, after, strict=True)
        ]


def _divide_by_norm(images: Any, at_least: float) -> Any:
    """Divide each image by its norm, or by ``at_least`` if that is larger (0 stays 0)."""
    import tensorflow as tf

    norm = tf.sqrt(tf.reduce_sum(tf.square(images), axis=(1, 2, 3), keepdims=True))
    return tf.math.divide_no_nan(images, tf.maximum(norm, at_least))


def _batches(n: int, size: int) -> list[slice]:
    return [slice(start, start + size) for start in range(0, n, size)]


@contextmanager
def _overheard(layers: Sequence[Any], watch: Any = None) -> Iterator[dict[str, Any]]:
    """Record what the layers return inside the block, by their names.

    ``watch`` is called with every output before the network goes on with it.
    """
    outputs: dict[str, Any] = {}

    def recording(layer: Any) -> Any:
        compute = layer.call

        def call(*args: Any, **kwargs: Any) -> Any:
            outputs[layer.name] = compute(*args, **kwargs)
            if watch is not None:
                watch(outputs[layer.name])
            return outputs[layer.name]

        return call

    patches = [_patched(layer, "call", recording(layer)) for layer in layers]
    with ExitStack() as stack:
        for patch in patches:
            stack.enter_context(patch)
        yield outputs


@contextmanager
def _patched(layer: Any, name: str, value: Any) -> Iterator[None]:
    """Give a layer another attribute inside the block."""
    attributes = vars(layer)  # past Keras's bookkeeping, which may refuse a change after building
    before = attributes.get(name)
    attributes[name] = value
    try:
        yield
    finally:
        if before is None:
            del attributes[name]  # what the class defines is visible again
        else:
            attributes[name] = before


def _without_activation(layer: Any) -> AbstractContextManager[None]:
    from keras import activations

    if getattr(layer, "activation", None) is None:
        return nullcontext()
    return _patched(layer, "activation", activations.linear)


def _without_final_activation(model: keras.Model) -> AbstractContextManager[None]:
    """Make the model return logits inside the block, if it ends in a softmax or sigmoid."""
    last = _last_operation(model)
    activation = getattr(last, "activation", None)
    name = getattr(activation, "__name__", type(activation).__name__).lower()
    if "softmax" in name or "sigmoid" in name:
        return _without_activation(last)
    if type(last).__name__ in ("Softmax", "Sigmoid"):  # a layer, or an operation of keras.ops
        return _patched(last, "call", lambda logits, *args, **kwargs: logits)
    return nullcontext()


def _last_operation(model: Any) -> Any:
    """Return the last layer that changes the output; a cast or a dropout at the end does not."""
    operations = getattr(model, "operations", None) or getattr(model, "layers", None) or []
    for operation in reversed(operations):
        activation = getattr(getattr(operation, "activation", None), "__name__", "")
        kind = type(operation).__name__
        if kind not in ("Dropout", "Reshape") and (kind, activation) != ("Activation", "linear"):
            return _last_operation(operation)
    return model


def _layers(model: Any) -> list[Any]:
    """Return the layers of a model, each model inside it followed by its own layers."""
    found: dict[int, Any] = {}
    for layer in model.layers:
        for part in [layer, *(_layers(layer) if getattr(layer, "layers", None) else [])]:
            found.setdefault(id(part), part)
    return list(found.values())


def _spatial_shape(layer: Any) -> tuple[int | None, ...] | None:
    """Return the shape (n, h, w, c) of a layer's output, None if it has no such output."""
    try:
        shape = tuple(layer.output.shape)
    except (AttributeError, ValueError):  # never called, or several outputs
        return None
    return shape if len(shape) == 4 and shape[1:3] != (1, 1) else None


def _find_layer(model: keras.Model, name: str | None) -> Any:
    """Return the layer of that name, or the last one with spatial output."""
    import keras

    if keras.backend.backend() != "tensorflow":
        raise RuntimeError(
            f"Keras runs on {keras.backend.backend()!r}; mammocourse.interpret needs the "
            "TensorFlow backend: set KERAS_BACKEND=tensorflow before importing keras."
        )
    if not model.built or not getattr(model, "inputs", None):
        raise ValueError(
            f"The model {model.name!r} is not built, or not Sequential or functional; begin it "
            "with a keras.Input, or call the Sequential model on images once."
        )
    single = len(model.inputs) == len(model.outputs) == 1
    named = isinstance(getattr(model, "output", None), dict)
    if not single or named or len(model.inputs[0].shape) != 4:
        raise ValueError(
            f"The model {model.name!r} has {len(model.inputs)} input(s) and {len(model.outputs)} "
            "output(s), or a dict of them; it must have one input of images (n, H, W, C) and one "
            "output."
        )
    layers = [part for part in _layers(model) if not isinstance(part, keras.layers.InputLayer)]
    candidates = [part.name for part in layers if _spatial_shape(part)]
    listed = ", ".join(map(repr, candidates)) or "none"
    if name is None and not candidates:
        raise ValueError(f"The model {model.name!r} has no layer with spatial output (n, h, w, c).")
    wanted = candidates[-1] if name is None else name
    found = [part for part in layers if part.name == wanted]
    if not found:
        raise ValueError(
            f"The model {model.name!r} has no layer {wanted!r}; layers with spatial output "
            f"are: {listed}."
        )
    if len(found) > 1:
        raise ValueError(
            f"The model {model.name!r} has {len(found)} layers with the name {wanted!r}; give "
            "them different names."
        )
    if wanted not in candidates:
        raise ValueError(
            f"Layer {wanted!r} has no spatial output (n, h, w, c); layers that have are: {listed}."
        )
    return found[0]


def _check_images(model: keras.Model, images: ArrayLike) -> Images:
    pixels = np.asarray(images)
    wanted = tuple(model.inputs[0].shape)[1:]
    fits = pixels.ndim == 4 and all(
        size in (None, given) for size, given in zip(wanted, pixels.shape[1:], strict=True)
    )
    if not fits or pixels.dtype.kind not in "buif":
        sizes = ", ".join(str(size or "any") for size in wanted)
        raise ValueError(
            f"images has shape {pixels.shape} and dtype {pixels.dtype}; the model expects "
            f"numbers of shape (n, {sizes})."
        )
    if len(pixels) == 0:
        raise ValueError(f"images has shape {pixels.shape}: there is no image in it.")
    with np.errstate(over="ignore"):
        pixels = pixels.astype(np.float32, copy=False)
    if not np.isfinite(pixels).all():
        raise ValueError(
            "images has pixels that are NaN, infinite or too large for 32 bits; every pixel must "
            "be a finite number."
        )
    return pixels


def _fixed_input_shape(model: keras.Model) -> tuple[int, ...]:
    shape = tuple(model.inputs[0].shape)[1:]
    if None in shape:
        raise ValueError(
            f"The model {model.name!r} takes images of any size {shape}; build it with a fixed "
            "size to maximize its filters."
        )
    return shape


def _check_filters(filters: int | Sequence[int] | None, layer: Any) -> list[int]:
    count = layer.output.shape[3]
    if filters is None:
        return list(range(count))
    values = np.atleast_1d(np.asarray(filters))
    wrong = values.ndim != 1 or values.size == 0 or values.dtype.kind not in "iu"
    if wrong or values.min() < 0 or values.max() >= count:
        raise ValueError(
            f"filters is {filters!r}; layer {layer.name!r} has the filters 0 to {count - 1}: give "
            "one, several, or None for all."
        )
    return [int(value) for value in values]


def _check_classes(class_index: Any, n: int) -> NDArray[np.intp] | None:
    if class_index is None:
        return None
    classes = np.asarray(class_index)
    if classes.dtype.kind not in "iu" or classes.shape not in ((), (n,)):
        raise ValueError(
            f"class_index is {class_index!r}; it must be None, an integer, or one integer for "
            f"each of the {n} images."
        )
    return np.broadcast_to(classes, (n,)).astype(np.intp)


def _check_integers(**limits: tuple[Any, int]) -> None:
    for name, (value, smallest) in limits.items():
        wrong = isinstance(value, bool) or not isinstance(value, numbers.Integral)
        if wrong or value < smallest:
            raise ValueError(f"{name} is {value!r}; it must be an integer of at least {smallest}.")


def _check_heatmaps(
    heatmaps: ArrayLike, masks: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    heat, inside = np.asarray(heatmaps, dtype=np.float64), np.asarray(masks)
    if heat.ndim != 3 or heat.shape != inside.shape:
        raise ValueError(
            f"heatmaps has shape {heat.shape} and masks {inside.shape}; both must be (n, H, W)."
        )
    if not np.isfinite(heat).all():
        raise ValueError("heatmaps has NaN or infinite values; every value must be finite.")
    return heat, inside > 0
