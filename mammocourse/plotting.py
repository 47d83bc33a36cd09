"""Figure helpers of the course.

Colors are those of Okabe and Ito, which people with the common forms of color
blindness tell apart; every helper adds a second cue (shape, line style or a
sign), so that nothing is told by color alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

__all__ = [
    "CLASS_COLORS",
    "CLASS_MARKERS",
    "DIVERGING",
    "plot_classes",
    "plot_coefficients",
    "plot_images",
    "plot_intervals",
    "use_course_style",
]

CLASS_COLORS = ("#0072B2", "#D55E00")
"""Blue for class 0, vermilion for class 1."""

CLASS_MARKERS = ("o", "x")
"""Open circles for class 0, crosses for class 1."""

DIVERGING = "PuOr_r"
"""Colormap of signed values: purple below zero, white at zero, orange above."""

_LINE_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#000000")
_LINE_STYLES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1, 1, 1)))


def use_course_style() -> None:
    """Set matplotlib's defaults to the style of the course.

    Lines differ in color and in line style, text is at least 10 points high and
    figures have a white background.

    Examples
    --------
    >>> use_course_style()
    >>> plt.rcParams["font.size"]
    11.0
    """
    plt.rcParams.update(
        {
            "figure.figsize": (7.0, 3.6),
            "figure.dpi": 110,
            "figure.facecolor": "white",
            "figure.constrained_layout.use": True,
            "savefig.facecolor": "white",
            "font.size": 11.0,
            "axes.titlesize": 11.0,
            "axes.labelsize": 11.0,
            "xtick.labelsize": 10.0,
            "ytick.labelsize": 10.0,
            "legend.fontsize": 10.0,
            "legend.frameon": False,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.prop_cycle": cycler(color=_LINE_COLORS) + cycler(linestyle=_LINE_STYLES),
            "lines.linewidth": 1.8,
            "image.cmap": "gray",
        }
    )


def plot_images(
    images: np.ndarray, titles: Sequence[str] | None = None, *, columns: int = 5
) -> Figure:
    """Show gray-scale images side by side, all on the same gray scale.

    Parameters
    ----------
    images : ndarray of shape (n, height, width)
        Gray levels in any unit; the lowest is drawn black, the highest white.
    titles : sequence of str, optional
        One title per image.
    columns : int
        Images per row.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If ``images`` has not three dimensions or ``titles`` another length.
    """
    images = np.asarray(images)
    if images.ndim != 3 or len(images) == 0:
        raise ValueError(
            f"images has shape {images.shape}; it must be (n, height, width) with n >= 1. "
            "Put a single image into a list: [image]."
        )
    if titles is not None and len(titles) != len(images):
        raise ValueError(f"titles has {len(titles)} entries for {len(images)} images.")
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    height = 1.4 if titles is None else 1.65
    figure, axes = plt.subplots(
        rows, columns, figsize=(1.4 * columns, height * rows), squeeze=False
    )
    for ax in axes.flat:
        ax.set_axis_off()
    for i, (ax, image) in enumerate(zip(axes.flat, images, strict=False)):
        ax.imshow(image, cmap="gray", vmin=images.min(), vmax=images.max())
        if titles is not None:
            ax.set_title(titles[i])
    return figure


def plot_coefficients(
    coefficients: np.ndarray,
    shape: tuple[int, int] = (28, 28),
    *,
    ax: Axes | None = None,
    label: str = "coefficient",
    outline: float = 1 / 3,
) -> AxesImage:
    """Draw one coefficient per pixel as a heatmap that is white at zero.

    The color scale is symmetric about zero, so that equal sizes of either sign
    look equally strong.

    Parameters
    ----------
    coefficients : ndarray with height * width elements
        One coefficient per pixel, row by row (thesis, section 3.2.1, Fig. 2).
    shape : (int, int)
        Height and width in pixels.
    ax : Axes, optional
        Where to draw; the current axes by default.
    label : str
        Label of the color bar, with the unit.
    outline : float
        Regions whose coefficients exceed this share of the largest absolute value
        are outlined, with solid lines where positive and dashed lines where
        negative; between 0 and 1, where 1 draws none.

    Returns
    -------
    AxesImage

    Raises
    ------
    ValueError
        If there is not one coefficient per pixel, one is not finite, or
        ``outline`` is not above 0 and at most 1.
    """
    values = np.asarray(coefficients, dtype=float)
    if values.size != shape[0] * shape[1]:
        raise ValueError(
            f"coefficients has {values.size} elements, but shape {shape} has "
            f"{shape[0] * shape[1]} pixels. Leave out the intercept."
        )
    if not np.isfinite(values).all():
        raise ValueError("coefficients holds values that are not finite.")
    if not 0 < outline <= 1:
        raise ValueError(f"outline is {outline!r}; it must be above 0 and at most 1.")
    grid = values.reshape(shape)
    ax = ax if ax is not None else plt.gca()
    limit = float(np.abs(grid).max()) or 1.0
    image = ax.imshow(grid, cmap=DIVERGING, vmin=-limit, vmax=limit)
    colorbar = ax.figure.colorbar(image, ax=ax, label=label, shrink=0.85)
    colorbar.outline.set_visible(False)
    for sign, style in ((1, "solid"), (-1, "dashed")):
        if (sign * grid > outline * limit).any():
            level = [sign * outline * limit]
            ax.contour(grid, levels=level, colors="black", linestyles=style, linewidths=1.0)
    ax.spines[:].set_visible(False)
    ax.set_xticks([])
    ax.set_yticks([])
    return image


def plot_classes(
    X: np.ndarray, y: np.ndarray, *, ax: Axes | None = None, names: tuple[str, str] = ("0", "1")
) -> Axes:
    """Draw points of two classes: open circles for 0, crosses for 1.

    Parameters
    ----------
    X : ndarray of shape (n, 2)
        Horizontal and vertical coordinate of each point.
    y : ndarray of shape (n,)
        Classes, 0 or 1.
    ax : Axes, optional
        Where to draw; the current axes by default.
    names : (str, str)
        What the legend calls the classes.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If the shapes do not match or ``y`` holds anything but 0 and 1.
    """
    X, y = np.asarray(X, dtype=float), np.asarray(y)
    if X.ndim != 2 or X.shape[1] != 2 or y.shape != (len(X),):
        raise ValueError(f"X must be (n, 2) and y (n,); they are {X.shape} and {y.shape}.")
    if not np.isin(y, (0, 1)).all():
        raise ValueError("y must hold 0 and 1 only.")
    ax = ax if ax is not None else plt.gca()
    for label in (0, 1):
        ax.plot(
            *X[y == label].T,
            color=CLASS_COLORS[label],
            marker=CLASS_MARKERS[label],
            markerfacecolor="none",
            markeredgewidth=1.6,
            linestyle="none",
            label=names[label],
        )
    return ax


def plot_intervals(
    names: Sequence[str],
    estimates: Sequence[float],
    low: Sequence[float],
    high: Sequence[float],
    *,
    xlabel: str,
    ax: Axes | None = None,
) -> Axes:
    """Draw estimates with their confidence intervals, the first one on top.

    Parameters
    ----------
    names : sequence of str
        What is estimated in each row.
    estimates, low, high : sequences of float
        Estimate and ends of the interval, in the unit of ``xlabel``.
    xlabel : str
        What is measured, with the unit and the level of the intervals.
    ax : Axes, optional
        Where to draw; the current axes by default.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If the lengths differ or an estimate lies outside its interval.
    """
    center, lower, upper = (np.asarray(values, dtype=float) for values in (estimates, low, high))
    if not len(names) == len(center) == len(lower) == len(upper):
        raise ValueError("names, estimates, low and high must have the same length.")
    outside = (center < lower) | (center > upper)
    if outside.any():
        raise ValueError(f"{names[int(np.argmax(outside))]!r} lies outside its own interval.")
    ax = ax if ax is not None else plt.gca()
    rows = np.arange(len(names))[::-1]
    ax.errorbar(
        center, rows, xerr=[center - lower, upper - center], fmt="o", color="black", capsize=4
    )
    ax.set_yticks(rows, names)
    ax.set_ylim(-0.6, len(names) - 0.4)
    ax.set_xlabel(xlabel)
    ax.grid(axis="x", color="0.88")
    ax.set_axisbelow(True)
    return ax
