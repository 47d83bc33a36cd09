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
from matplotlib.patches import Rectangle

__all__ = [
    "CLASS_COLORS",
    "CLASS_MARKERS",
    "DIVERGING",
    "LINE_COLORS",
    "outline",
    "plot_classes",
    "plot_coefficients",
    "plot_images",
    "plot_intervals",
    "plot_numbers",
    "plot_shapes",
    "use_course_style",
]

CLASS_COLORS = ("#0072B2", "#D55E00")
"""Blue for class 0, vermilion for class 1."""

CLASS_MARKERS = ("o", "x")
"""Open circles for class 0, crosses for class 1."""

DIVERGING = "PuOr_r"
"""Colormap of signed values: purple below zero, white at zero, orange above."""

LINE_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#000000")
"""Colors of lines, in the order in which they are used."""

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
            "axes.prop_cycle": cycler(color=LINE_COLORS) + cycler(linestyle=_LINE_STYLES),
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


def outline(
    ax: Axes,
    window: tuple[int, int, int, int],
    *,
    color: str = "black",
    linewidth: float = 2.5,
) -> None:
    """Draw a frame around pixels of an image that ``imshow`` has drawn.

    Parameters
    ----------
    ax : Axes
    window : (int, int, int, int)
        First row, first column, height and width, in pixels.
    color, linewidth
        Of the frame; the width in points.
    """
    row, column, height, width = window
    corner = (column - 0.5, row - 0.5)
    frame = Rectangle(corner, width, height, fill=False, edgecolor=color, lw=linewidth)
    frame.set(zorder=3, clip_on=False)
    ax.add_patch(frame)


def plot_numbers(
    values: np.ndarray,
    *,
    ax: Axes | None = None,
    window: tuple[int, int, int, int] | None = None,
) -> Axes:
    """Draw a matrix as a table of numbers, tinted by their size and sign.

    Parameters
    ----------
    values : ndarray of shape (rows, columns)
        NaN leaves a cell empty. Numbers are shown with at most three significant digits.
    ax : Axes, optional
        Where to draw; the current axes by default.
    window : (int, int, int, int), optional
        First row, first column, height and width of cells to outline.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If ``values`` has not two dimensions.
    """
    values = np.asarray(values, dtype=float)
    if values.ndim != 2:
        raise ValueError(f"values has shape {values.shape}; it must be (rows, columns).")
    ax = ax if ax is not None else plt.gca()
    limit = float(np.nanmax(np.abs(values))) or 1.0
    ax.imshow(values, cmap=DIVERGING, vmin=-limit, vmax=limit, alpha=0.45)
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            text = f"{value:.3g}".replace("-", "\N{MINUS SIGN}")
            ax.text(column, row, text, ha="center", va="center")
    ax.set_xticks(np.arange(values.shape[1] + 1) - 0.5, minor=True)
    ax.set_yticks(np.arange(values.shape[0] + 1) - 0.5, minor=True)
    ax.grid(which="minor", color="0.6", lw=0.8)
    ax.tick_params(which="minor", length=0)
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    if window is not None:
        outline(ax, window)
    return ax


def plot_shapes(shapes: Sequence[tuple[int, ...]], names: Sequence[str]) -> Figure:
    """Draw what an image becomes on its way through a network, one box per output.

    Parameters
    ----------
    shapes : sequence of tuples
        (height, width, channels) of a map, or (length,) of a vector. A map's box has
        its height, and a width that grows with its channels; lengths of vectors are
        drawn on a logarithmic scale.
    names : sequence of str
        What stands above each box.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If the lengths differ.
    """
    if len(shapes) != len(names):
        raise ValueError(f"names has {len(names)} entries for {len(shapes)} shapes.")
    figure, ax = plt.subplots(figsize=(7.4, 3.2))
    tallest = max(shape[0] for shape in shapes if len(shape) == 3)
    longest = max([shape[0] for shape in shapes if len(shape) == 1], default=2)
    for place, (shape, name) in enumerate(zip(shapes, names, strict=True)):
        if len(shape) == 3:
            height, width = shape[0] / tallest, 0.06 + 0.11 * np.log2(shape[2])
        else:
            height, width = np.log(1 + shape[0]) / np.log(1 + longest), 0.12
        corner = (place - width / 2, -height / 2)
        ax.add_patch(Rectangle(corner, width, height, facecolor="#CFE5F2", edgecolor="black"))
        text = " \N{MULTIPLICATION SIGN} ".join(f"{entry:,}" for entry in shape)
        ax.text(place, -0.62, text, ha="center", va="top", fontsize=10)
        ax.text(place, 0.6, name, ha="center", va="bottom", fontsize=10)
        if place:
            ax.annotate("", (place - 0.36, 0), (place - 0.64, 0), arrowprops={"arrowstyle": "->"})
    ax.set(xlim=(-0.6, len(shapes) - 0.4), ylim=(-0.8, 0.95))
    ax.set_axis_off()
    return figure
