"""The source task of the course weights: plenty of crops with three labels, none of them medical.

A network learns here what texture, lines and outlines are. Pathology is not drawn at all, and
the edge of a mass is equally soft for every shape: benign and malignant cannot be learned.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mammocourse.phantom import (
    Array,
    Lesion,
    Look,
    _amplitude,
    _check_integers,
    _combine,
    _draw_outline,
    _noise,
    _render,
    generator,
)

__all__ = ["SOURCE_CLASSES", "SourceCrops", "make_source_crops"]

#: The classes of each label, in the order of their numbers; each label is drawn evenly and
#: apart from the others. "texture" is the slope of the power spectrum; the crops of the target
#: have slope 3.
SOURCE_CLASSES: dict[str, tuple[float | str, ...]] = {
    "texture": (2.0, 2.5, 3.5, 4.0),
    "lines": ("none", "ducts", "vessels", "both"),
    "shape": ("ROUND", "OVAL", "LOBULATED", "IRREGULAR"),
}

#: Last part of the key of each random stream. No generator of the target task has it, so the two
#: tasks share no random number, whatever their seeds.
STREAM = 64


@dataclass(frozen=True)
class SourceCrops:
    """Crops of the source task; row i of every array belongs to image i.

    Attributes
    ----------
    images : ndarray of uint8, shape (n, size, size)
        Gray levels from 0 (black) to 255 (white).
    labels : dict of ndarray of uint8, shape (n,)
        Class numbers by the names of :data:`SOURCE_CLASSES`: ``texture``, ``lines``, ``shape``.
    """

    images: Array
    labels: dict[str, Array]

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)


def make_source_crops(n: int, *, size: int, seed: int) -> SourceCrops:
    """Make crops of the source task.

    Parameters
    ----------
    n : int
        Number of crops, at least 1. The first k are the same for every ``n >= k``.
    size : int
        Height and width of a crop in pixels, from 32 to 1024.
    seed : int
        Not negative. The same seed gives the same crops, and none of the target task's.

    Returns
    -------
    SourceCrops
        Images and their three labels.

    Raises
    ------
    ValueError
        If an argument is out of its range.
    TypeError
        If an argument is not an integer.

    Notes
    -----
    Softness of the edge, size, contrast, position, brightness and grain are drawn without
    looking at a label. There are no spicules, no microlobules and no obscured edges.

    Examples
    --------
    >>> crops = make_source_crops(3, size=64, seed=0)
    >>> crops.images.shape, sorted(crops.labels)
    ((3, 64, 64), ['lines', 'shape', 'texture'])
    """
    _check_integers(n=(n, 1, None), size=(size, 32, 1024), seed=(seed, 0, None))
    images = np.empty((n, size, size), np.uint8)
    labels = np.empty((n, len(SOURCE_CLASSES)), np.uint8)
    for i in range(n):
        rng = generator(seed, i, STREAM)
        labels[i] = [rng.integers(len(classes)) for classes in SOURCE_CLASSES.values()]
        images[i] = _draw_crop(labels[i].tolist(), size, rng)
    return SourceCrops(images, dict(zip(SOURCE_CLASSES, labels.T.copy(), strict=True)))


def _draw_crop(classes: list[int], size: int, rng: np.random.Generator) -> Array:
    """Draw one crop with the given class numbers of texture, lines and shape."""
    texture, lines, shape = classes
    background = _draw_texture(float(SOURCE_CLASSES["texture"][texture]), size, rng)
    if lines in (1, 3):
        background += _draw_strokes(size, int(rng.integers(3, 9)), 0.010, rng)
    if lines in (2, 3):
        background += _draw_strokes(size, int(rng.integers(1, 3)), 0.035, rng)
    softness = np.exp(rng.uniform(np.log(0.02), np.log(0.2)))
    lesion = _bare_lesion(str(SOURCE_CLASSES["shape"][shape]), softness, rng)
    radius = size * rng.uniform(0.2, 0.36)
    x, y = size * (0.5 + rng.uniform(-0.1, 0.1, 2))
    body, mask, _ = _render(lesion, Look.draw(x, y, radius, rng), (size, size))
    picture = _combine(background, body, mask, rng.uniform(1.0, 2.6))
    grain = rng.uniform(0.5, 4) * rng.standard_normal((size, size), dtype=np.float32)
    image = rng.uniform(55, 185) + rng.uniform(15, 45) * picture + grain
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def _draw_texture(slope: float, size: int, rng: np.random.Generator) -> Array:
    """Power-law noise and a gradient of brightness, without fibers; standard deviation about 1."""
    from scipy import fft

    noise = _noise((size + size // 3,) * 2, rng)
    amplitude = _amplitude(noise.shape, slope, rng.uniform(0, np.pi), rng.uniform(1.0, 1.6))
    cloud = fft.irfft2(noise * amplitude)[:size, :size]
    across, down = rng.normal(0, 0.7, 2)
    along = np.linspace(-1, 1, size, dtype=np.float32)
    return (cloud - cloud.mean()) / cloud.std() + across * along[None, :] + down * along[:, None]


def _draw_strokes(size: int, number: int, thickness: float, rng: np.random.Generator) -> Array:
    """Draw smooth bright lines in all directions; thickness as a share of the size."""
    import cv2

    canvas = np.zeros((size, size), np.uint8)
    for _ in range(number):
        heading = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, 0.07, 40))
        steps = np.stack([np.cos(heading), np.sin(heading)], axis=1) * (1.6 * size / 40)
        points = np.cumsum(steps, axis=0)
        points += rng.uniform(0, size, 2) - points[20]
        wide = max(1, round(thickness * size * rng.uniform(0.7, 1.5)))
        corners = [np.round(points * 16).astype(np.int32)]
        gray = int(rng.integers(120, 255))
        cv2.polylines(canvas, corners, False, gray, wide, cv2.LINE_AA, shift=4)
    blurred = cv2.GaussianBlur(canvas, (0, 0), max(0.6, 0.5 * thickness * size))
    return np.float32(3 / 255) * blurred


def _bare_lesion(shape: str, softness: float, rng: np.random.Generator) -> Lesion:
    """Return a mass of this shape with an edge that is equally soft all around."""
    outline = _draw_outline(shape, "CIRCUMSCRIBED", rng)
    return Lesion(
        label=0,
        pathology="",
        shape=shape,
        margins="",
        assessment=0,
        subtlety=0,
        outline=outline,
        softness=np.full_like(outline, softness),
        spicules=np.empty((0, 4)),
        body=1.0,
        hilum=0.0,
    )
