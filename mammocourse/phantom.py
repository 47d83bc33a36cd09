"""Mammogram-like images with known truth: lesion crops, whole films, and trees of files.

The label of a lesion draws its words (shape and margins), the words draw its outline,
and everything else (size, brightness, contrast, position, background) is drawn without
looking at the label. Shape and margins are therefore all that an image model can use.
"""

from __future__ import annotations

import functools
import io
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from mammocourse.resources import read_bytes

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Phantom",
    "ceiling_auc",
    "lesion_frequencies",
    "make_lesion_crops",
    "make_mammograms",
    "write_cbis_ddsm",
    "write_inbreast",
]

Link: TypeAlias = Literal["official", "sharp"]
Array: TypeAlias = np.ndarray

VIEWS = ("CC", "MLO")

#: Share of the lesions whose words are drawn without looking at the label. Words chosen by
#: the joint frequencies alone give a logistic regression AUC 0.87 on the tables they were
#: counted on, but 0.83 from the official training to the official test table. Drawing one
#: lesion in eight blindly gives the phantom the second figure: AUC - 1/2 shrinks by 7/8.
BLIND_SHARE = 1 / 8

#: Probability that a further lesion of a patient takes the label of the first; with it about
#: a quarter of the patients with several lesions have both labels, as in the tables.
SAME_LABEL = 0.6

#: Shares of the 892 mass patients of the official tables with 1, 2, 3 and more lesions.
LESIONS_PER_PATIENT = (0.920, 0.050, 0.024, 0.006)

#: Share of the mass patients in the official test set (201 of 892).
TEST_SHARE = 0.225

#: Background texture: power spectrum proportional to 1 / frequency**SPECTRUM_SLOPE.
SPECTRUM_SLOPE = 3.0

#: Typical gradient of brightness across a crop, in deviations of its texture. A crop is a window
#: on a wider field with the same spectrum, whose long waves cross it as a slope.
RAMP = 2.0

#: Range of the standard deviation of the gray levels of a crop.
SPREAD = (10, 34)

#: Correlation of the background noise of the two views of a lesion.
VIEW_CORRELATION = 0.65

#: Contrast of a lesion to the ring around it, as a share of its contrast to all outside.
RING_SHARE = 0.85


@dataclass(frozen=True)
class Phantom:
    """Images with their truth; row i of every field belongs to image i.

    Attributes
    ----------
    images : ndarray of uint8, shape (n, height, width)
        Gray levels from 0 (black) to 255 (white).
    labels : ndarray of uint8, shape (n,)
        1 for malignant, 0 for benign (or, for whole films, no malignant lesion).
    groups : ndarray of int64, shape (n,)
        Number of the patient, from 0.
    masks : ndarray of bool, shape (n, height, width)
        The pixels inside the outline of a lesion.
    margins : ndarray of bool, shape (n, height, width)
        The pixels that carry the evidence: a band about the outline, and spicules.
    metadata : DataFrame of n rows
        The columns of :func:`mammocourse.datasets.read_cbis_ddsm` that need no files, and
        the truth: ``radius`` (pixels), ``x``, ``y`` (center of the lesion, pixels),
        ``brightness`` and ``contrast`` (gray levels). For films one row per film; the
        lesions of a film stand as a list of dictionaries in the column ``lesions``.
    """

    images: Array
    labels: Array
    groups: Array
    masks: Array
    margins: Array
    metadata: pd.DataFrame

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)


@dataclass(frozen=True, eq=False)
class Lesion:
    """One lesion: its words, its outline, and how strongly it shows."""

    label: int
    pathology: str
    shape: str
    margins: str
    assessment: int
    subtlety: int
    outline: Array  # radius at 360 equidistant angles; the enclosed area is pi
    softness: Array  # width of the edge at those angles, as a share of the radius
    spicules: Array  # (k, 4): angle, length, width, bend; lengths as shares of the radius
    body: float  # strength of the body against that of the spicules
    hilum: float  # depth of a lucent center (lymph nodes), 0 for none
    kind: str = "mass"
    views: tuple[str, ...] = VIEWS  # the films that show it


# --- words


@functools.cache
def lesion_frequencies() -> pd.DataFrame:
    """Return the joint frequencies of the words that describe the masses of CBIS-DDSM.

    Returns
    -------
    DataFrame
        Columns ``pathology, mass_shape, mass_margins, assessment, breast_density,
        subtlety, count`` and ``label`` (1 for malignant); the counts add up to the 1,696
        rows of the two official mass tables. Do not change it: it is shared.

    Notes
    -----
    Counted on the official tables, CC BY 3.0, R. S. Lee et al. (2017), *Scientific Data* 4,
    170177.
    """
    import pandas as pd

    content = io.BytesIO(read_bytes("lesion_frequencies.csv"))
    frame = pd.read_csv(content, keep_default_na=False)
    return frame.assign(label=(frame["pathology"] == "MALIGNANT").astype(int))


def ceiling_auc(link: Link = "official") -> float:
    """Return the AUC of the best possible guess of the label from shape and margins.

    No model that sees the image alone can do better in expectation, because the label
    acts on the image through these two words only.

    Parameters
    ----------
    link : {"official", "sharp"}
        As in :func:`make_lesion_crops`.

    Returns
    -------
    float
        The exact AUC (ties count one half) of the posterior probability, over the joint
        distribution that the phantom draws from.
    """
    _check_link(link)
    if link == "sharp":
        return 1.0
    counts = lesion_frequencies().groupby(["mass_shape", "mass_margins", "label"])["count"].sum()
    table = counts.unstack(fill_value=0).to_numpy(dtype=float)  # columns: benign, malignant
    benign, malignant = (table / table.sum(axis=0))[np.argsort(table[:, 1] / table.sum(axis=1))].T
    below = np.concatenate([[0.0], np.cumsum(benign)[:-1]])
    auc = float(np.sum(malignant * (below + benign / 2)))
    return 0.5 + (1 - BLIND_SHARE) * (auc - 0.5)


@functools.cache
def _tables() -> dict[str, Any]:
    """Arrays of the frequencies, for fast draws."""
    frame = lesion_frequencies()
    count = frame["count"].to_numpy(dtype=float)
    label = frame["label"].to_numpy()
    columns = ["pathology", "mass_shape", "mass_margins", "assessment"]
    by_label = [np.cumsum(count * (label == value)) for value in (0, 1)]
    shares = {name: frame.groupby(name)["count"].sum() for name in ("breast_density", "subtlety")}
    return {
        "rows": frame[columns].to_numpy(dtype=object),
        "cumulative": [*by_label, np.cumsum(count)],
        "malignant": float(count[label == 1].sum() / count.sum()),
        # density 1 to 4 and subtlety 1 to 5; the two rows with subtlety 0 ("unknown") left out
        "density": np.cumsum(shares["breast_density"].loc[1:4].to_numpy(dtype=float)),
        "subtlety": np.cumsum(shares["subtlety"].loc[1:5].to_numpy(dtype=float)),
    }


def _pick(cumulative: Array, rng: np.random.Generator) -> int:
    """Draw a row with probability proportional to its count."""
    return int(np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right"))


def _draw_words(label: int, link: Link, rng: np.random.Generator) -> tuple[str, str, str, int]:
    """Draw pathology, shape, margins and assessment of a lesion from its label."""
    tables = _tables()
    pathology, shape, margins, assessment = tables["rows"][_pick(tables["cumulative"][label], rng)]
    blind = tables["rows"][_pick(tables["cumulative"][2], rng)]
    if link == "official" and rng.random() < BLIND_SHARE:
        shape, margins, assessment = blind[1:]
    if link == "sharp":
        rounded = "ROUND" if rng.random() < 0.5 else "OVAL"
        shape, margins, assessment = (
            ("IRREGULAR", "SPICULATED", 5) if label else (rounded, "CIRCUMSCRIBED", 3)
        )
    return pathology, shape, margins, int(assessment)


# --- outline

ANGLES = np.linspace(0, 2 * np.pi, 360, endpoint=False)

#: Width of the edge of a mass by margin word, as a share of its radius.
SOFTNESS = {
    "CIRCUMSCRIBED": 0.025,
    "MICROLOBULATED": 0.03,
    "OBSCURED": 0.05,
    "SPICULATED": 0.10,
    "ILL_DEFINED": 0.22,
    "N/A": 0.25,
}

#: Shapes without a mass of their own: strength of the body, and softness of the edge.
DIFFUSE = {
    "ARCHITECTURAL_DISTORTION": (0.45, 0.30),
    "ASYMMETRIC_BREAST_TISSUE": (1.0, 0.35),
    "FOCAL_ASYMMETRIC_DENSITY": (1.0, 0.30),
}


def _waves(orders: Array, amplitudes: Array, rng: np.random.Generator) -> Array:
    """Sum of cosines of the angle with random phases."""
    phases = rng.uniform(0, 2 * np.pi, len(orders))
    return np.cos(np.outer(ANGLES, orders) + phases) @ amplitudes


def _ellipse(aspect: float, angle: float) -> Array:
    """Radius of an ellipse with the given ratio of its axes."""
    turned = ANGLES - angle
    return 1 / np.hypot(np.cos(turned) / np.sqrt(aspect), np.sin(turned) * np.sqrt(aspect))


def _lobes(rng: np.random.Generator) -> Array:
    """Radius of the union of three or four circles about the center."""
    number = int(rng.integers(3, 5))
    turns = 2 * np.pi * np.arange(number) / number + rng.normal(0, 0.15, number)
    away = rng.uniform(0.55, 0.68, number)
    radii = rng.uniform(0.70, 0.78, number)
    turned = ANGLES[:, None] - turns
    reach = away * np.cos(turned) + np.sqrt(radii**2 - (away * np.sin(turned)) ** 2)
    return reach.max(axis=1)


def _draw_outline(shape: str, margins: str, rng: np.random.Generator) -> Array:
    """Draw the outline of a mass: radius by angle, of enclosed area pi."""
    turn = float(rng.uniform(0, np.pi))
    low = np.arange(2, 10)
    irregular = _waves(low, rng.normal(0, 0.32, len(low)) / low, rng)
    slight = _waves(np.arange(2, 5), rng.normal(0, 0.015, 3), rng)
    aspect = float(rng.uniform(1.3, 1.75))
    lobes = _lobes(rng)
    scallops, phase = 2 * int(rng.integers(6, 10)), rng.uniform(0, np.pi)
    uneven = _waves(np.arange(2, 6), rng.normal(0, 0.04, 4), rng)
    radius = np.ones_like(ANGLES)
    if "OVAL" in shape or "LYMPH_NODE" in shape:
        radius = radius * _ellipse(aspect, turn)
    if "LOBULATED" in shape:
        radius = radius * lobes
    if "IRREGULAR" in shape or "DISTORTION" in shape or "ASYMMETRIC" in shape:
        radius = radius * np.exp(irregular)
    radius = radius * (1 + slight)
    if "MICROLOBULATED" in margins:
        depth = 0.10 * (1 + _waves(np.arange(1, 5), rng.normal(0, 0.3, 4), rng))
        radius = radius * (1 + depth * np.abs(np.sin(scallops * (ANGLES + uneven) / 2 + phase)))
    return radius / np.sqrt(np.mean(radius**2))


def _draw_softness(shape: str, margins: str, rng: np.random.Generator) -> Array:
    """Draw the width of the edge by angle."""
    words = margins.split("-")
    width = float(np.mean([SOFTNESS[word] for word in words]))
    width = max([width, *(DIFFUSE[word][1] for word in shape.split("-") if word in DIFFUSE)])
    softness = np.full_like(ANGLES, width * rng.uniform(0.8, 1.25))
    side, share = rng.uniform(0, 2 * np.pi), rng.uniform(-0.3, 0.4)
    if "OBSCURED" in words:
        hidden = 1 / (1 + np.exp(-8 * (np.cos(ANGLES - side) - share)))
        softness = softness + 0.4 * hidden
    return softness


def _draw_spicules(shape: str, margins: str, rng: np.random.Generator) -> Array:
    """Draw spicules: angle, length beyond the outline, width at the base, bend."""
    number = int(rng.integers(14, 30))
    spread = rng.uniform(0, 2 * np.pi, number)
    spicules = np.column_stack(
        [
            spread,
            rng.gamma(2.5, 0.28, number) + 0.15,
            rng.uniform(0.04, 0.11, number),
            rng.normal(0, 0.25, number),
        ]
    )
    if "SPICULATED" not in margins and "DISTORTION" not in shape:
        return spicules[:0]
    return spicules


def draw_lesion(label: int, link: Link, rng: np.random.Generator) -> Lesion:
    """Draw a lesion with the given label."""
    pathology, shape, margins, assessment = _draw_words(label, link, rng)
    diffuse = [DIFFUSE[word][0] for word in shape.split("-") if word in DIFFUSE]
    return Lesion(
        label=label,
        pathology=pathology,
        shape=shape,
        margins=margins,
        assessment=assessment,
        subtlety=1 + _pick(_tables()["subtlety"], rng),
        outline=_draw_outline(shape, margins, rng),
        softness=_draw_softness(shape, margins, rng),
        spicules=_draw_spicules(shape, margins, rng),
        body=min([1.0, *diffuse]),
        hilum=0.6 if "LYMPH_NODE" in shape else 0.0,
    )


# --- pictures of a lesion


@dataclass(frozen=True)
class Look:
    """How one view sees a lesion: where, and with a rotation and a stretch that keep its area."""

    x: float  # center and radius in pixels
    y: float
    radius: float
    matrix: Array  # (2, 2), from pixels (centered, divided by the radius) to the lesion

    @classmethod
    def draw(cls, x: float, y: float, radius: float, rng: np.random.Generator) -> Look:
        """Draw how a view sees a lesion at this place: up to some 30 degrees and 15% changed."""
        turn, axis = rng.normal(0, 0.25), rng.uniform(0, np.pi)
        stretch = np.exp(rng.normal(0, 0.08))
        frame = _rotation(axis)
        matrix = _rotation(turn) @ frame.T @ np.diag([stretch, 1 / stretch]) @ frame
        return cls(float(x), float(y), float(radius), matrix)


def _rotation(angle: float) -> Array:
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.array([[cosine, -sine], [sine, cosine]])


def _render(lesion: Lesion, look: Look, shape: tuple[int, int]) -> tuple[Array, Array, Array]:
    """Draw a lesion: its brightness (body about 1), its mask, and its margin map."""
    height, width = shape
    columns = (np.arange(width, dtype=np.float32) - look.x) / look.radius
    rows = (np.arange(height, dtype=np.float32) - look.y) / look.radius
    (a, b), (c, d) = look.matrix.astype(np.float32)
    weights = lesion.outline**3
    shift = np.array([np.mean(weights * np.cos(ANGLES)), np.mean(weights * np.sin(ANGLES))]) / 1.5
    u = a * columns[None, :] + b * rows[:, None] + np.float32(shift[0])
    v = c * columns[None, :] + d * rows[:, None] + np.float32(shift[1])
    distance = np.hypot(u, v)
    position = np.arctan2(v, u) * np.float32(180 / np.pi) + 360
    index = position.astype(np.intp)
    outline = np.append(lesion.outline, lesion.outline[0]).astype(np.float32)
    index %= 360
    part = position - np.floor(position)
    reach = outline[index] * (1 - part) + outline[index + 1] * part
    inside = reach - distance
    body = 0.5 + 0.5 * np.tanh(inside / (2 * lesion.softness.astype(np.float32)[index]))
    body *= 0.7 + 0.3 * np.sqrt(np.clip(1 - (distance / reach) ** 2, 0, 1))
    if lesion.hilum:
        body *= 1 - lesion.hilum * np.exp(-(((u - 0.25) / 0.45) ** 2) - (v / 0.3) ** 2)
    body *= lesion.body
    margin = np.abs(inside) < 0.15
    if len(lesion.spicules):
        rays = _render_spicules(lesion, look, shape, shift)
        rays *= np.exp(-np.clip(-inside, 0, None) / 0.7)
        margin |= rays > 0.15
        strength = 0.7 * np.clip(1 - inside / 0.3, 0, 1) * (0.4 + 0.6 * lesion.body)
        body += strength * rays * (1 - body)
    return _balance(body, distance / reach), inside > 0, margin


def _balance(body: Array, distance: Array) -> Array:
    """Add a wide halo, so that the surroundings are equally bright for every outline.

    Spicules and soft edges brighten the ring around a mass. The halo, positive or negative,
    makes the contrast to the ring a fixed share of the contrast to the whole outside.
    """
    halo = np.exp(-(((distance - 1.3) / 0.4) ** 2))
    inside, ring = distance < 1, (distance >= 1) & (distance < 1.6)
    outside = ~inside
    values = np.array(
        [[part[where].mean() for where in (inside, ring, outside)] for part in (body, halo)]
    )
    excess, gain = values @ np.array([1 - RING_SHARE, -1.0, RING_SHARE])
    return (body - excess / gain * halo).astype(np.float32)


def _render_spicules(lesion: Lesion, look: Look, shape: tuple[int, int], shift: Array) -> Array:
    """Draw spicules as bent, pointed strokes that start inside the outline."""
    import cv2

    angle, length, width, bend = lesion.spicules.T
    start = np.interp(angle, ANGLES, lesion.outline, period=2 * np.pi)
    along = np.stack([0.8 * start, start + 0.5 * length, start + length], axis=1)
    thick = width[:, None] * np.array([0.5, 0.3, 0.0])
    sideways = bend[:, None] * np.array([0.0, 0.3, 1.0]) * length[:, None]
    # corners of each stroke in order: out along one side, back along the other
    radial = np.concatenate([along, along[:, ::-1]], axis=1)
    across = np.concatenate([sideways + thick, (sideways - thick)[:, ::-1]], axis=1)
    cosine, sine = np.cos(angle)[:, None], np.sin(angle)[:, None]
    points = np.stack([radial * cosine - across * sine, radial * sine + across * cosine], axis=-1)
    pixels = (points - shift) @ np.linalg.inv(look.matrix).T * look.radius + (look.x, look.y)
    canvas = np.zeros(shape, np.uint8)
    corners = np.round(pixels * 16).astype(np.int32)
    # the finest first, so that none hides a stronger one
    for stroke in np.argsort(width):
        gray = float(255 * min(1.0, width[stroke] / 0.08))
        cv2.fillPoly(canvas, [corners[stroke]], gray, lineType=cv2.LINE_AA, shift=4)
    blurred = cv2.GaussianBlur(canvas, (0, 0), max(0.5, 0.03 * look.radius))
    return blurred.astype(np.float32) / 255


# --- background


def _noise(shape: tuple[int, int], rng: np.random.Generator) -> Array:
    """Complex Gaussian coefficients of a real picture of at least this shape."""
    from scipy import fft

    rows, columns = (fft.next_fast_len(side, real=True) for side in shape)
    columns += columns % 2  # irfft2 makes even widths
    parts = rng.standard_normal((rows, columns // 2 + 1, 2), dtype=np.float32)
    return parts.view(np.complex64)[..., 0]


@functools.lru_cache(maxsize=8)
def _frequencies(shape: tuple[int, int]) -> tuple[Array, Array]:
    """Frequencies of the coefficients, cycles per longer side of the picture."""
    rows, columns = shape[0], 2 * (shape[1] - 1)
    longer = max(rows, columns)
    vertical = longer * np.fft.fftfreq(rows).astype(np.float32)[:, None]
    return vertical, longer * np.fft.rfftfreq(columns).astype(np.float32)[None, :]


def _amplitude(shape: tuple[int, int], slope: float, angle: float, stretch: float) -> Array:
    """Square root of the power spectrum 1 / f**slope, stretched along one direction."""
    rows, columns = _frequencies(shape)
    cosine, sine = math.cos(angle), math.sin(angle)
    along, across = cosine * columns + sine * rows, cosine * rows - sine * columns
    squared = (along * stretch) ** 2 + (across / stretch) ** 2
    squared[0, 0] = np.inf
    return squared ** (-slope / 4)


@dataclass(frozen=True)
class Tissue:
    """Style of a patient's breast, shared by all her images."""

    density: int  # BI-RADS 1 to 4
    brightness: float  # mean gray level
    angle: float  # main direction of the fibers
    stretch: float  # how strongly they keep to it
    strands: float  # how strongly fibers show
    ramp: float  # gradient of brightness across a crop, in deviations of the texture
    ramp_angle: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Tissue:
        """Draw a breast; nothing here depends on a label."""
        density = 1 + _pick(_tables()["density"], rng)
        return cls(
            density=density,
            brightness=float(np.clip(rng.normal(85 + 16 * density, 30), 55, 185)),
            angle=float(rng.uniform(0, np.pi)),
            stretch=float(rng.uniform(1.0, 1.6)),
            strands=float(rng.uniform(0.2, 0.8)),
            ramp=float(rng.rayleigh(RAMP)),
            ramp_angle=float(rng.uniform(0, 2 * np.pi)),
        )


def _texture(tissue: Tissue, shared: Array, own: Array, shape: tuple[int, int]) -> Array:
    """Background of one view (mean 0, standard deviation 1) from two sets of coefficients."""
    from scipy import fft

    mixed = VIEW_CORRELATION * shared + math.sqrt(1 - VIEW_CORRELATION**2) * own
    amplitude = _amplitude(shared.shape, SPECTRUM_SLOPE, tissue.angle, tissue.stretch)
    cloud = fft.irfft2(mixed * amplitude)[: shape[0], : shape[1]]
    cloud = (cloud - cloud.mean()) / cloud.std()
    # fibers: the thin zero-level lines of a smooth field, where the tissue is bright
    rows, columns = _frequencies(shared.shape)
    limit = np.exp(rows**2 / (-2 * 7**2)) * np.exp(columns**2 / (-2 * 7**2))
    smooth = fft.irfft2(np.roll(mixed, len(mixed) // 3, axis=0) * amplitude * limit)
    smooth = smooth[: shape[0], : shape[1]]
    strands = np.exp(-np.abs(smooth) / (0.06 * smooth.std())) * (1 + np.tanh(cloud))
    y, x = (np.linspace(-1, 1, side, dtype=np.float32) for side in shape)
    across, down = math.cos(tissue.ramp_angle), math.sin(tissue.ramp_angle)
    ramp = tissue.ramp * (across * x[None, :] + down * y[:, None])
    return cloud + tissue.strands * strands + ramp


def _draw_lines(tissue: Tissue, shape: tuple[int, int], rng: np.random.Generator) -> Array:
    """Ducts (thin) and vessels (wide, even): smooth lines along the main direction."""
    import cv2

    height, width = shape
    size = max(shape)
    picture = np.zeros(shape, np.float32)
    for count, thickness, strength in (
        (rng.poisson(4), 0.006, 0.5),
        (rng.poisson(0.7), 0.018, 0.45),
    ):
        if count == 0:
            continue
        canvas = np.zeros(shape, np.uint8)
        for _ in range(count):
            heading = tissue.angle + rng.normal(0, 0.35) + np.cumsum(rng.normal(0, 0.07, 40))
            steps = np.stack([np.cos(heading), np.sin(heading)], axis=1) * (1.6 * size / 40)
            middle = rng.uniform(0, 1, 2) * (width, height)
            points = np.cumsum(steps, axis=0)
            points += middle - points[20]
            line = [np.round(points * 16).astype(np.int32)]
            wide = max(1, round(thickness * size * rng.uniform(0.5, 1.5)))
            gray = int(rng.integers(90, 255))
            cv2.polylines(canvas, line, False, gray, wide, cv2.LINE_AA, shift=4)
        blurred = cv2.GaussianBlur(canvas, (0, 0), max(0.6, 0.5 * thickness * size))
        picture += np.float32(strength / 255) * blurred
    return picture


# --- crops


def make_lesion_crops(
    n_patients: int,
    *,
    size: int,
    seed: int,
    link: Link = "official",
    noise: float = 1.2,
    lesion_scale: float = 1.0,
    contrast: float = 1.0,
) -> Phantom:
    """Make square crops of mass lesions, two views of each.

    Parameters
    ----------
    n_patients : int
        Number of patients, at least 1. Most have one lesion, some two to four. The first
        k patients are the same for every ``n_patients >= k``.
    size : int
        Height and width of a crop in pixels, from 32 to 1024.
    seed : int
        Not negative. The same seed gives the same images.
    link : {"official", "sharp"}
        How the label acts on the outline. "official": by the joint frequencies of shape and
        margins in the official CBIS-DDSM tables (one lesion in eight drawn blindly, see
        :data:`BLIND_SHARE`), so that the best possible AUC is :func:`ceiling_auc`, 0.84.
        "sharp": malignant lesions are irregular and spiculated, benign ones round or oval
        and circumscribed; the best AUC is 1.
    noise : float
        Standard deviation of the noise of the detector, gray levels, not negative.
    lesion_scale : float
        Factor on the radius of the lesions, from 0.25 to 1.5 (domain shift).
    contrast : float
        Factor on the contrast of the lesions, positive, up to 2 (domain shift).

    Returns
    -------
    Phantom
        Images of shape (n, size, size), views CC and MLO of a lesion one after the other.

    Raises
    ------
    ValueError
        If an argument is out of its range.
    TypeError
        If ``n_patients``, ``size`` or ``seed`` is not an integer.

    Notes
    -----
    Mean, standard deviation, size, contrast and position are drawn before and apart from
    the label: each crop is scaled to a drawn mean and standard deviation, the outline to a
    drawn area, and the lesion, taken alone, to a drawn contrast (mean inside
    minus mean outside its mask; in the crop the texture of the tissue adds to it).

    Examples
    --------
    >>> phantom = make_lesion_crops(10, size=96, seed=0)
    >>> phantom.images.shape[1:], phantom.images.dtype
    ((96, 96), dtype('uint8'))
    """
    _check_integers(n_patients=(n_patients, 1, None), size=(size, 32, 1024), seed=(seed, 0, None))
    _check_link(link)
    _check_domain(noise, lesion_scale, contrast)
    images, masks, margins, rows = [], [], [], []
    for patient in range(n_patients):
        tissue, split, lesions = draw_patient(patient, seed, link)
        for number, lesion in enumerate(lesions):
            rng = generator(seed, patient, 2, number)
            side = "LEFT" if rng.random() < 0.5 else "RIGHT"
            drawn = _crop_views(lesion, tissue, size, rng, noise, lesion_scale, contrast)
            for view, (image, mask, margin, truth) in zip(VIEWS, drawn, strict=True):
                images.append(image)
                masks.append(mask)
                margins.append(margin)
                rows.append(_row(patient, split, tissue, lesion, number, side, view, truth))
    return _phantom(images, masks, margins, rows)


def generator(seed: int, *path: int) -> np.random.Generator:
    """Return a generator of its own for each patient, lesion and purpose."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=path))


def draw_patient(patient: int, seed: int, link: Link) -> tuple[Tissue, str, list[Lesion]]:
    """Draw a patient's tissue, her set (train or test) and her lesions."""
    rng = generator(seed, patient, 0)
    tissue = Tissue.draw(rng)
    split = "test" if rng.random() < TEST_SHARE else "train"
    number = 1 + _pick(np.cumsum(LESIONS_PER_PATIENT), rng)
    lesions: list[Lesion] = []
    for lesion in range(number):
        rng = generator(seed, patient, 1, lesion)
        label = int(rng.random() < _tables()["malignant"])
        if lesions and rng.random() < SAME_LABEL:
            label = lesions[0].label
        lesions.append(draw_lesion(label, link, rng))
    return tissue, split, lesions


def _crop_views(
    lesion: Lesion,
    tissue: Tissue,
    size: int,
    rng: np.random.Generator,
    noise: float,
    lesion_scale: float,
    contrast: float,
) -> Iterator[tuple[Array, Array, Array, dict[str, float]]]:
    """Draw the two views of a lesion: image, mask, margin map and truth of each."""
    wide = (size + size // 3,) * 2  # the noise is periodic: cut its far end off
    shared = _noise(wide, rng)
    radius = size * rng.uniform(0.18, 0.28) * lesion_scale
    typical_spread = rng.uniform(*SPREAD)
    strength = (0.8 + 0.2 * lesion.subtlety) * rng.uniform(0.85, 1.15) * contrast
    for _ in VIEWS:
        texture = _texture(tissue, shared, _noise(wide, rng), (size, size))
        texture = texture + _draw_lines(tissue, (size, size), rng)
        view_radius = min(radius * np.exp(rng.normal(0, 0.06)), 0.4 * size)
        x, y = size * (0.5 + rng.uniform(-0.1, 0.1, 2))
        body, mask, margin = _render(lesion, Look.draw(x, y, view_radius, rng), (size, size))
        mean = float(np.clip(tissue.brightness + rng.normal(0, 8), 45, 200))
        spread = typical_spread * np.exp(rng.normal(0, 0.1))
        # a large lesion cannot stand out by many standard deviations of the crop it fills
        shown = min(strength, 0.7 / np.sqrt(mask.mean() * (1 - mask.mean())))
        picture = _combine(texture, body, mask, shown)
        grain = rng.standard_normal((size, size), dtype=np.float32)
        image = mean + spread * picture + noise * grain
        truth = {
            "radius": view_radius,
            "x": x,
            "y": y,
            "brightness": mean,
            "contrast": float(shown * spread),
        }
        yield np.clip(np.rint(image), 0, 255).astype(np.uint8), mask, margin, truth


def _combine(texture: Array, body: Array, mask: Array, strength: float) -> Array:
    """Add a lesion to its background; return the sum, of mean 0 and standard deviation 1.

    The lesion is scaled so that its contrast in the sum is ``strength`` for every outline,
    however much its spicules or soft edges add to the deviation of the whole.
    """
    texture = (texture - texture.mean()) / texture.std()
    body = body / (body[mask].mean() - body[~mask].mean())
    share = min(strength**2 * float(body.var()), 0.95)
    weight = np.float32(np.sqrt(share / body.var()))
    picture = texture * np.float32(np.sqrt(1 - share)) + body * weight
    return (picture - picture.mean()) / picture.std()


def _row(
    patient: int,
    split: str,
    tissue: Tissue,
    lesion: Lesion,
    number: int,
    side: str,
    view: str,
    truth: dict[str, float],
) -> dict[str, Any]:
    """Metadata of one view of a lesion."""
    identity = f"P_{patient + 1:05d}"
    return {
        "patient_id": identity,
        "laterality": side,
        "view": view,
        "abnormality_id": number + 1,
        "abnormality_type": "mass",
        "pathology": lesion.pathology,
        "label": lesion.label,
        "assessment": lesion.assessment,
        "mass_shape": lesion.shape,
        "mass_margins": lesion.margins,
        "breast_density": tissue.density,
        "subtlety": lesion.subtlety,
        "split": split,
        "lesion_id": f"{identity}_{side}_mass_{number + 1}",
        **truth,
    }


def _phantom(
    images: list[Array], masks: list[Array], margins: list[Array], rows: list[dict[str, Any]]
) -> Phantom:
    """Stack what was drawn."""
    import pandas as pd

    metadata = pd.DataFrame(rows)
    return Phantom(
        images=np.stack(images),
        labels=metadata["label"].to_numpy(dtype=np.uint8),
        groups=metadata["patient_id"].str[2:].astype(np.int64).to_numpy() - 1,
        masks=np.stack(masks),
        margins=np.stack(margins),
        metadata=metadata,
    )


# --- whole films

#: Share of the breasts without a malignant lesion that have a benign one.
BENIGN_SHARE = 0.4

#: BI-RADS categories by kind of breast (4a, 4b, 4c written out). Together they have the shares
#: of the 410 INbreast films: 67, 220, 23, 43, 49, 8 from 1 to 6; four in ten of the 310 films
#: below category 4 are from breasts with a benign lesion, and only those can have category 3.
BIRADS = {
    "negative": (("1", "2"), (67, 119)),
    "benign": (("2", "3"), (101, 23)),
    "malignant": (("4a", "4b", "4c", "5", "6"), (13, 8, 22, 49, 8)),
}


def make_mammograms(
    n_patients: int,
    *,
    prevalence: float,
    seed: int,
    size: tuple[int, int] = (384, 256),
    breasts: Literal[1, 2] = 1,
    link: Link = "official",
    noise: float = 1.2,
    lesion_scale: float = 1.0,
    contrast: float = 1.0,
) -> Phantom:
    """Make whole mammograms: views CC and MLO of one or both breasts of each patient.

    Parameters
    ----------
    n_patients : int
        Number of patients, at least 1. The first k patients are the same for every
        ``n_patients >= k``.
    prevalence : float
        Probability, from 0 to 1, that a patient has a malignant lesion (in one breast).
        With ``breasts=1`` it is the expected share of films with label 1 as well, with
        ``breasts=2`` twice that share.
    seed : int
        Not negative. The same seed gives the same films.
    size : tuple of int
        Height and width of a film in pixels, from 64 to 4096.
    breasts : {1, 2}
        Breasts of each patient.
    link, noise, lesion_scale, contrast
        As in :func:`make_lesion_crops`.

    Returns
    -------
    Phantom
        ``labels`` is 1 where a film shows a malignant lesion; ``masks`` and ``margins``
        are the unions over the lesions of a film. The chest wall of a left breast is at the
        left edge. ``metadata`` has one row per film with its ``birads`` category (text) and
        ``lesions``: a list of dictionaries (words, ``label``, ``x``, ``y``, ``radius``).

    Raises
    ------
    ValueError
        If an argument is out of its range.
    TypeError
        If an integer argument is not an integer.

    Notes
    -----
    The films of the AUC paper (section 5) carry one label each: 1 for BI-RADS 4 and more.
    Here a film has label 1 exactly where it shows a malignant lesion, and then a category
    of 4a to 6. Four in ten of the other breasts show a benign lesion.
    """
    _check_integers(n_patients=(n_patients, 1, None), seed=(seed, 0, None), breasts=(breasts, 1, 2))
    _check_size(size)
    _check_link(link)
    _check_floats(prevalence=(prevalence, 0.0, 1.0))
    _check_domain(noise, lesion_scale, contrast)
    images, masks, margins, rows = [], [], [], []
    for patient in range(n_patients):
        tissue, found = draw_findings(patient, prevalence, breasts, seed, link)
        for number, (side, lesions, birads) in enumerate(found):
            rng = generator(seed, patient, 4, number)
            for film in draw_films(tissue, side, lesions, size, rng, lesion_scale, contrast):
                images.append(film.expose(noise, rng))
                masks.append(np.any([*film.masks, np.zeros(size, bool)], axis=0))
                margins.append(np.any([*film.margins, np.zeros(size, bool)], axis=0))
                rows.append(_film_row(patient, tissue, side, film, birads))
    return _phantom(images, masks, margins, rows)


def draw_findings(
    patient: int, prevalence: float, breasts: int, seed: int, link: Link
) -> tuple[Tissue, list[tuple[str, list[Lesion], str]]]:
    """Draw a patient's breasts: side, lesions, and BI-RADS category of each."""
    rng = generator(seed, patient, 3)
    tissue = Tissue.draw(rng)
    sides = ["LEFT", "RIGHT"] if rng.random() < 0.5 else ["RIGHT", "LEFT"]
    cancer = rng.random() < prevalence
    found = []
    for number, side in enumerate(sides[:breasts]):
        labels = [1] if cancer and number == 0 else []
        if rng.random() < BENIGN_SHARE:
            labels.append(0)
        kind = "malignant" if 1 in labels else "benign" if labels else "negative"
        categories, counts = BIRADS[kind]
        birads = categories[_pick(np.cumsum(counts), rng)]
        lesions = [draw_lesion(label, link, rng) for label in labels]
        found.append((side, lesions, birads))
    return tissue, sorted(found, key=lambda breast: breast[0])


def _film_row(patient: int, tissue: Tissue, side: str, film: Film, birads: str) -> dict[str, Any]:
    """Metadata of a film."""
    return {
        "patient_id": f"P_{patient + 1:05d}",
        "laterality": side,
        "view": film.view,
        "label": max([0, *(lesion.label for lesion in film.lesions)]),
        "birads": birads,
        "breast_density": tissue.density,
        "lesions": [
            {
                "label": lesion.label,
                "pathology": lesion.pathology,
                "mass_shape": lesion.shape,
                "mass_margins": lesion.margins,
                **truth,
            }
            for lesion, truth in zip(film.lesions, film.truth, strict=True)
        ],
    }


@dataclass(frozen=True)
class Film:
    """One view of a breast, with the truth about each of its lesions."""

    view: str
    image: Array  # float32, 0 (black) to 1 (white)
    lesions: list[Lesion]  # those that it shows; masks, margins and truth in their order
    masks: list[Array]
    margins: list[Array]
    truth: list[dict[str, float]]

    def expose(self, noise: float, rng: np.random.Generator, bits: int = 8) -> Array:
        """Return gray levels of some bits, with noise (in levels of 256), less in the black."""
        grain = rng.standard_normal(self.image.shape, dtype=np.float32)
        grain *= np.float32(noise / 255) * (0.15 + np.minimum(3 * self.image, 0.85))
        top = 2**bits - 1
        levels = np.clip(np.rint((self.image + grain) * top), 0, top)
        return levels.astype(np.uint8 if bits == 8 else np.uint16)


def draw_films(
    tissue: Tissue,
    side: str,
    lesions: list[Lesion],
    size: tuple[int, int],
    rng: np.random.Generator,
    lesion_scale: float = 1.0,
    contrast: float = 1.0,
) -> list[Film]:
    """Draw the views CC and MLO of a breast (height, width in pixels) with its lesions."""
    height, width = size
    shared = _noise(size, rng)
    semi_axes = rng.uniform(0.62, 0.82) * width, rng.uniform(0.34, 0.42) * height
    number = max(1, len(lesions))
    places = [
        # distance from the chest wall, height in the breast, radius: lesions do not overlap
        (
            rng.uniform(0.25, 0.6),
            (2 * (j + rng.uniform(0.3, 0.7)) / number - 1) * 0.6,
            height * rng.uniform(0.032, 0.055) * min(1.0, 2 / number) * lesion_scale,
        )
        for j in range(len(lesions))
    ]
    films = []
    for view in VIEWS:
        image, skin, center = _draw_breast(tissue, view, size, semi_axes, shared, rng)
        film = Film(view, image, [], [], [], [])
        for lesion, (depth, level, radius) in zip(lesions, places, strict=True):
            depth, level = depth + rng.normal(0, 0.02), level * rng.choice([0.6, 0.8, 1.0])
            x, y = depth * semi_axes[0], center + level * semi_axes[1] * np.sqrt(1 - depth**2)
            look = Look.draw(x, y, radius, rng)
            if view in lesion.views:
                _place(film, lesion, look, contrast, skin)
        films.append(_finish(film, side, rng))
    return films


def _draw_breast(
    tissue: Tissue,
    view: str,
    size: tuple[int, int],
    semi_axes: tuple[float, float],
    shared: Array,
    rng: np.random.Generator,
) -> tuple[Array, Array, float]:
    """Draw a left breast without lesions; return it, its thickness, and its middle row."""
    height, width = size
    center = height * (0.5 if view == "CC" else 0.56) + rng.normal(0, 0.015) * height
    x = np.arange(width, dtype=np.float32)[None, :] / semi_axes[0]
    y = (np.arange(height, dtype=np.float32)[:, None] - center) / semi_axes[1]
    sag = 1 + 0.15 * np.tanh(2 * y) * (view == "MLO")
    depth = 1 - np.sqrt((x / sag) ** 2 + np.abs(y) ** 2.2)
    nipple = 0.06 * np.exp(-(((x - 0.95) / 0.05) ** 2)) * np.exp(-((y / 0.05) ** 2))
    skin = np.sqrt(np.clip(np.maximum(depth, nipple) / 0.16, 0, 1))
    fibers = replace(tissue, angle=float(rng.normal(0, 0.15)), ramp=0.0)
    texture = _texture(fibers, shared, _noise(size, rng), size)
    texture = texture + 1.5 * _draw_lines(fibers, size, rng)
    gland = np.exp(-np.square(((x - 0.45) / 0.42) ** 2)) * np.exp(-np.square((y / 0.75) ** 2))
    share = 1 / (1 + np.exp(-1.6 * texture - 0.9 * (tissue.density - 2.8)))
    image = 0.20 + 0.035 * texture + 0.38 * gland * share
    if view == "MLO":
        top, reach = rng.uniform(0.34, 0.46) * width, rng.uniform(0.5, 0.65) * height
        rows, columns = (np.arange(side, dtype=np.float32) for side in size)
        edge = (top * (1 - rows[:, None] / reach) - columns[None, :]) / (0.012 * width)
        muscle = 1 / (1 + np.exp(-np.clip(edge, -30, 30)))
        image = image * (1 - muscle) + (0.62 + 0.02 * texture) * muscle
        skin = np.maximum(skin, muscle)
    return image * skin, skin, center


def _place(film: Film, lesion: Lesion, look: Look, contrast: float, skin: Array) -> None:
    """Add a lesion to a film."""
    height, width = film.image.shape
    x, y, reach = int(look.x), int(look.y), int(np.ceil(4 * look.radius))
    top, left = max(0, y - reach), max(0, x - reach)
    window = (slice(top, min(height, y + reach)), slice(left, min(width, x + reach)))
    patch = film.image[window]
    draw = _render_calcifications if lesion.kind == "calcification" else _render
    near = replace(look, x=look.x - left, y=look.y - top)
    body, inside, edge = draw(lesion, near, patch.shape)
    body = body / (body[inside].mean() - body[~inside].mean())
    strength = 0.12 * (0.55 + 0.16 * lesion.subtlety) * contrast
    patch += np.float32(strength) * body * skin[window]
    for maps, part in ((film.masks, inside), (film.margins, edge)):
        maps.append(np.zeros(film.image.shape, bool))
        maps[-1][window] = part
    film.lesions.append(lesion)
    film.truth.append({"x": look.x, "y": look.y, "radius": look.radius, "contrast": 255 * strength})


def _render_calcifications(
    lesion: Lesion, look: Look, shape: tuple[int, int]
) -> tuple[Array, Array, Array]:
    """Draw a cluster of bright specks: as :func:`_render`, the specks being the margin map."""
    rows, columns = np.arange(shape[0])[:, None], np.arange(shape[1])[None, :]
    mask = np.hypot(columns - look.x, rows - look.y) < look.radius
    specks = np.zeros(shape, np.float32)
    spots = lesion.spicules[:, :2] @ look.matrix.T * 0.6 * look.radius + (look.x, look.y)
    for spot, size in zip(spots, lesion.spicules[:, 2] * look.radius, strict=True):
        squared = (columns - spot[0]) ** 2 + (rows - spot[1]) ** 2
        specks += np.exp(-squared / (2 * max(size, 0.5) ** 2)).astype(np.float32)
    specks *= mask
    return specks + 0.1 * mask, mask, specks > 0.3


def _finish(film: Film, side: str, rng: np.random.Generator) -> Film:
    """Write the view's marker into the corner and mirror the film of a right breast."""
    import cv2

    height, width = film.image.shape
    flip = side == "RIGHT"
    image = film.image[:, ::-1] if flip else film.image
    scale = height / 900
    place = (int(width * (0.05 if flip else 0.72)), int(height * rng.uniform(0.06, 0.1)))
    gray = np.float32(rng.uniform(0.6, 0.95) / 255)
    canvas = np.zeros((height, width), np.uint8)
    thick = max(1, round(2 * scale))
    cv2.putText(canvas, side[0] + film.view, place, cv2.FONT_HERSHEY_SIMPLEX, scale, 255, thick)
    image = np.maximum(image, canvas * gray)
    if not flip:
        return replace(film, image=image)
    return replace(
        film,
        image=image,
        masks=[mask[:, ::-1] for mask in film.masks],
        margins=[margin[:, ::-1] for margin in film.margins],
        truth=[{**truth, "x": width - 1 - truth["x"]} for truth in film.truth],
    )


# --- data sets on disk


def write_cbis_ddsm(
    root: str | Path,
    n_patients: int,
    *,
    layout: Literal["kaggle", "tcia"] = "kaggle",
    seed: int,
    link: Link = "official",
    size: tuple[int, int] = (384, 256),
    quirks: bool = True,
) -> None:
    """Write phantoms as a copy of CBIS-DDSM: tables, films, crops and masks.

    Parameters
    ----------
    root : str or Path
        The folder to make. It is written under a temporary name beside it and renamed at
        the end, so that it is whole or absent.
    n_patients : int
        Patients with masses, at least 1. A third as many patients with calcifications
        (at least one) come with them.
    layout : {"kaggle", "tcia"}
        "kaggle": ``csv/`` with the four tables, ``dicom_info.csv`` and ``meta.csv``, and
        8-bit pictures ``jpeg/<SeriesInstanceUID>/1-076.jpg``. "tcia": the four tables, and
        ``CBIS-DDSM/<folder>/<study>/<series>/*.dcm``, films and crops with 16 bit, masks
        with 8. Both hold the same patients, films and identifiers for the same seed.
    seed : int
        Not negative. The same seed writes the same data set.
    link : {"official", "sharp"}
        As in :func:`make_lesion_crops`.
    size : tuple of int
        Height and width of a film in pixels, from 64 to 4096. Crops are squares of four
        lesion radii, some 50 to 85 pixels wide at the default size.
    quirks : bool
        Whether to add the traps of the real files: a newline inside a path field, crop and
        mask in one series in either order, empty SeriesDescription (films and masks), masks
        a few pixels larger or smaller than their film, file numbers from 0 or 1, both labels
        in one image (first patient), a lesion whose label changes between the views (second
        patient), a patient of the other official set among the calcifications.

        With or without them three in ten masses are seen in one view only, as in the tables.

    Raises
    ------
    FileExistsError
        If ``root`` exists and is not an empty folder.
    ValueError
        If an argument is out of its range.
    TypeError
        If an integer argument is not an integer.

    Notes
    -----
    Identifiers are made up (DICOM root 2.25); words for calcifications are a small
    selection of the official ones, without their frequencies.
    """
    _check_integers(n_patients=(n_patients, 1, 90_000), seed=(seed, 0, None))
    _check_link(link)
    _check_size(size)
    if layout not in ("kaggle", "tcia"):
        raise ValueError(f"layout is {layout!r}; it must be 'kaggle' or 'tcia'.")
    from mammocourse.phantom_trees import write_tree

    write_tree(Path(root), n_patients, layout, seed, link, size, quirks)


def write_inbreast(
    root: str | Path,
    n_patients: int,
    *,
    seed: int,
    prevalence: float = 0.45,
    link: Link = "official",
    size: tuple[int, int] = (384, 256),
    table: Literal["csv", "xls"] = "csv",
    quirks: bool = True,
) -> None:
    """Write phantoms as a copy of INbreast: a table and ``AllDICOMs/``.

    Parameters
    ----------
    root : str or Path
        The folder to make, whole or not at all, as in :func:`write_cbis_ddsm`.
    n_patients : int
        At least 1. About four in five have both breasts, as in INbreast (90 of 115).
    seed : int
        Not negative. The same seed writes the same data set.
    prevalence : float
        Probability that a patient has a malignant lesion. The default gives about a
        quarter of positive films, as in INbreast (100 of 410).
    link, size
        As in :func:`make_mammograms`.
    table : {"csv", "xls"}
        ``INbreast.csv`` with semicolons, or ``INbreast.xls`` (Excel 2, which xlrd reads).
    quirks : bool
        Whether the first film has view ``FB``, the first benign mass category 3, and the
        table two footer rows. The categories
        4a, 4b, 4c, the column ``Mass `` with its trailing space and ``ML`` in the file names
        are always there.

    Raises
    ------
    FileExistsError
        If ``root`` exists and is not an empty folder.
    ValueError
        If an argument is out of its range.
    TypeError
        If an integer argument is not an integer.
    """
    _check_integers(n_patients=(n_patients, 1, 90_000), seed=(seed, 0, None))
    _check_floats(prevalence=(prevalence, 0.0, 1.0))
    _check_link(link)
    _check_size(size)
    if table not in ("csv", "xls"):
        raise ValueError(f"table is {table!r}; it must be 'csv' or 'xls'.")
    from mammocourse.phantom_trees import write_inbreast_tree

    write_inbreast_tree(Path(root), n_patients, seed, prevalence, link, size, table, quirks)


# --- checks of arguments


def _check_link(link: str) -> None:
    if link not in ("official", "sharp"):
        raise ValueError(
            f"link is {link!r}; it must be 'official' (joint frequencies of the official "
            "tables) or 'sharp' (the outline follows the label)."
        )


def _check_integers(**limits: tuple[Any, int, int | None]) -> None:
    for name, (value, low, high) in limits.items():
        wanted = (
            f"an integer of at least {low}" if high is None else f"an integer from {low} to {high}"
        )
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
            raise TypeError(f"{name} is {value!r}; it must be {wanted}.")
        if value < low or (high is not None and value > high):
            raise ValueError(f"{name} is {value!r}; it must be {wanted}.")


def _check_floats(**limits: tuple[Any, float, float]) -> None:
    for name, (value, low, high) in limits.items():
        if not isinstance(value, (int, float, np.number)) or not low <= value <= high:
            raise ValueError(f"{name} is {value!r}; it must be a number from {low} to {high}.")


def _check_domain(noise: float, lesion_scale: float, contrast: float) -> None:
    _check_floats(
        noise=(noise, 0.0, 64.0),
        lesion_scale=(lesion_scale, 0.25, 1.5),
        contrast=(contrast, 0.01, 2.0),
    )


def _check_size(size: tuple[int, int]) -> None:
    if not isinstance(size, (tuple, list)) or len(size) != 2:
        raise ValueError(f"size is {size!r}; it must be a tuple (height, width) in pixels.")
    for name, value in zip(("size[0]", "size[1]"), size, strict=True):
        _check_integers(**{name: (value, 64, 4096)})
