"""Where the classifier of patch volumes looks: a map over the patches of a film."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from mammocourse.patch_classifier import _check_counts

if TYPE_CHECKING:
    import keras
    from numpy.typing import ArrayLike, NDArray

__all__ = ["paint_patch_map", "patch_map"]


def patch_map(
    classifier: keras.Model,
    volume: ArrayLike,
    *,
    method: Literal["occlusion", "gradient"] = "occlusion",
    baseline: ArrayLike | None = None,
) -> NDArray[np.float64]:
    """Say how much each patch adds to the score of a film.

    "occlusion": the score of the film minus its score when the features of one patch are
    replaced by ``baseline``; one pass for each patch. "gradient": the gradient of the score
    times (features - baseline), summed over features; one pass in all, exact where the
    network is linear.

    Parameters
    ----------
    classifier : keras.Model
        From volumes to one logit, such as the ``model`` of a trained
        :class:`~mammocourse.patch_classifier.PatchTrainer`.
    volume : array_like of shape (height, width, features)
    method : {"occlusion", "gradient"}
    baseline : array_like of shape (features,), optional
        Without it the film's own mean over its patches.

    Returns
    -------
    ndarray of shape (height, width)
        Positive where the patch speaks for a positive film, in logits.

    Raises
    ------
    ValueError
        If the volume does not fit the classifier or is not finite, or the method is unknown.
    """
    if method not in ("occlusion", "gradient"):
        raise ValueError(f"method is {method!r}; it must be 'occlusion' or 'gradient'.")
    volume = np.asarray(volume, np.float32)
    if volume.shape != tuple(classifier.input_shape[1:]) or volume.ndim != 3:
        raise ValueError(
            f"volume has the shape {volume.shape}; the classifier takes one film of shape "
            f"{tuple(classifier.input_shape[1:])}."
        )
    mean = volume.mean(axis=(0, 1)) if baseline is None else np.asarray(baseline, np.float32)
    if mean.shape != volume.shape[-1:]:
        raise ValueError(f"baseline has the shape {mean.shape}; it must be {volume.shape[-1:]}.")
    if not (np.isfinite(volume).all() and np.isfinite(mean).all()):
        raise ValueError("volume or baseline holds NaN or infinity; scan this film again.")
    if method == "gradient":
        import tensorflow as tf

        pixels = tf.constant(volume[None])
        with tf.GradientTape() as tape:
            tape.watch(pixels)
            score = classifier(pixels, training=False)
        slope = tape.gradient(score, pixels).numpy()[0]
        return np.einsum("ijk,ijk->ij", slope, volume - mean, dtype=np.float64)
    score = classifier.predict_on_batch(volume[None])[0, 0]
    without = np.empty(volume.shape[:2])
    for row in range(len(volume)):
        columns = np.arange(volume.shape[1])
        occluded = np.repeat(volume[None], len(columns), axis=0)
        occluded[columns, row, columns] = mean
        without[row] = classifier.predict_on_batch(occluded)[:, 0]
    return score - without


def paint_patch_map(
    values: ArrayLike, boxes: ArrayLike, image_shape: Sequence[int]
) -> NDArray[np.float64]:
    """Paint a map of patches over its film, interpolated between the centers of the windows.

    Parameters
    ----------
    values : array_like of shape (n, m)
        Of :func:`patch_map`.
    boxes : array_like of shape (n, m, 4)
        Top, left, bottom and right edge of each window in pixels
        (:func:`mammocourse.scanner.patch_boxes`).
    image_shape : (int, int)
        Height and width of the film.

    Returns
    -------
    ndarray of shape (height, width)
        Beyond the outermost centers the map goes on unchanged to the edge of the windows;
        outside all windows it is 0. For :func:`mammocourse.interpret.pointing_game` and
        :func:`mammocourse.interpret.heatmap_mask_energy`.

    Raises
    ------
    ValueError
        If the shapes do not fit.
    """
    values, boxes = np.asarray(values, np.float64), np.asarray(boxes, np.float64)
    if values.ndim != 2 or boxes.shape != (*values.shape, 4):
        raise ValueError(
            f"values has shape {values.shape}, boxes {boxes.shape}; they must be (n, m) and "
            "(n, m, 4)."
        )
    height, width = _check_counts("image_shape", image_shape, 2)
    painted = values
    for axis, length in ((0, height), (1, width)):
        low, high = boxes[..., axis].min(axis=1 - axis), boxes[..., axis + 2].max(axis=1 - axis)
        pixels, centers = np.arange(length) + 0.5, (low + high) / 2
        weights = np.stack([np.interp(pixels, centers, unit) for unit in np.eye(len(centers))])
        weights *= (pixels >= low.min()) & (pixels <= high.max())
        painted = np.tensordot(weights, painted, axes=(0, axis))
        painted = np.moveaxis(painted, 0, axis)
    return painted
