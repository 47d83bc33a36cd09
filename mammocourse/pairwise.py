r"""Sums over all pairs of a positive and a negative score: the kernels of the AUC losses.

With scores :math:`a_i` of positive and :math:`b_j` of negative samples, weights
:math:`w_i, v_j` and a surrogate :math:`\ell` of the difference :math:`d = b_j - a_i`, every
function here computes the weighted mean over pairs

.. math:: L = \frac{\sum_i \sum_j w_i v_j \, \ell(b_j - a_i)}{\sum_i w_i \sum_j v_j}

and its gradient with respect to the scores, together: they share nearly all the work, and
the derivative of an interpolated kernel is worse than the interpolated derivative.

*All pairs* (:func:`all_pairs`) visits them tile by tile, for every surrogate.

*Low rank* (:func:`low_rank`) is for the logistic surrogate and costs O(P + N). Three ideas
carry it.

1. A positive sample is put at ``z = -score``, a negative one at ``z = score``. A pair then
   has ``d = z_i + z_j``, and the two classes are alike.
2. The axis is cut into cells of width 2. Within a cell, ``z = center + t`` with t in
   [-1, 1], and softplus is so smooth that 12 Chebyshev polynomials in each t give it:
   ``softplus(z_i + z_j) = sum_kl A_kl T_k(t_i) T_l(t_j)``, with a matrix A that depends
   on the sum of the two centers only. So a cell needs to know of its samples just 12
   *moments* ``sum_j v_j T_k(t_j)``, and meets every other cell by a 12 x 12 matrix.
3. Beyond 10 cells ``|d|`` exceeds 20, and softplus(d) is d or exp(d), its slope 1 or
   exp(d). So the count, the sum and the exponential sum of the far cells suffice:
   cumulated over the axis, they cost one pass.

Every pair's loss and slope is right to 3e-9 of *itself* (or below 1e-50), and all terms of
a sum are positive. So the loss, and each component of the gradient, is right to 3e-9 of
itself as well, whatever the scores and weights: that is the bound of the method.

The squared hinge loss is cumulated exactly in the order of the scores (:func:`in_order`),
the squared loss follows from means and variances (:func:`by_moments`).

The functions are written with ``keras.ops`` and work on float tensors of shape (n,). Sums
are taken in float64, whatever the dtype of the scores: for the methods of cost O(n) that
is cheap. Only ``all_pairs`` computes its tiles in the scores' dtype.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from keras import ops
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

__all__ = [
    "AUTO_LIMIT",
    "SURROGATES",
    "all_pairs",
    "by_moments",
    "in_order",
    "low_rank",
    "pairwise_loss",
]

Tensor = Any
"""A tensor of the backend."""

ValueAndGradient = tuple[Tensor, Tensor]
"""The mean loss, shape (), and its gradient with respect to the scores, shape (n,); float64."""

AUTO_LIMIT = 1024
"""Up to this many samples ``method="auto"`` visits all pairs: that is quicker there."""

TILE = 512
"""Rows and columns of a tile of pairs: 1 MB in float32, however large the batch."""

DEGREES = 12
"""Chebyshev polynomials per cell, T_0 to T_11."""

NEIGHBORS = 10
"""Cells up to this offset on either side meet by matrices; the farther ones are far."""

GRIDS = (128, 2048, 16384)
"""Numbers of cells; the smallest grid that holds the scores is used (+-128, ... logits)."""

DECAY = 64
"""An exponential is followed over this many cells, down to exp(-128)."""


def logistic(d: Tensor) -> tuple[Tensor, Tensor]:
    """Return softplus(d) = log(1 + exp(d)), the loss of Eq. 4, and its slope sigmoid(d)."""
    small = ops.exp(-ops.abs(d))  # in (0, 1]: nothing overflows
    return (
        ops.maximum(d, 0.0) + ops.log1p(small),
        ops.where(d >= 0, 1.0, small) / (1.0 + small),
    )


def squared_hinge(d: Tensor) -> tuple[Tensor, Tensor]:
    """Return max(0, 1 + d)^2 and its slope: pairs that are apart by 1 cost nothing."""
    shortfall = ops.maximum(1.0 + d, 0.0)
    return ops.square(shortfall), 2.0 * shortfall


def squared(d: Tensor) -> tuple[Tensor, Tensor]:
    """Return (1 + d)^2 and its slope: pairs that are farther apart than 1 cost again."""
    return ops.square(1.0 + d), 2.0 * (1.0 + d)


SURROGATES: dict[str, Callable[[Tensor], tuple[Tensor, Tensor]]] = {
    "logistic": logistic,
    "squared_hinge": squared_hinge,
    "squared": squared,
}


def pairwise_loss(
    positive: Tensor,
    scores: Tensor,
    weights: Tensor,
    surrogate: str,
    method: Literal["exact", "interpolated", "auto"],
) -> ValueAndGradient:
    """Return the mean loss over the pairs and its gradient.

    Parameters
    ----------
    positive : tensor of shape (n,), bool
        True for the positive samples.
    scores : tensor of shape (n,), float32 or float64
    weights : tensor of shape (n,), float64, at least 0
    surrogate : {"logistic", "squared_hinge", "squared"}
    method : {"exact", "interpolated", "auto"}
        As in :class:`mammocourse.losses.PairwiseAUCLoss`.

    Returns
    -------
    tensor of shape (), tensor of shape (n,), float64
        Both 0 where there is no pair (of positive weight); NaN where a weight is.
    """
    if scores.shape[0] == 0:
        return ops.sum(weights), weights
    w, v = normalized_weights(positive, weights)

    def exact() -> ValueAndGradient:
        return all_pairs(scores, w, v, surrogate)

    def fast() -> ValueAndGradient:
        return FAST[surrogate](scores, w, v)

    if method == "exact":
        value, gradient = exact()
    elif method == "interpolated":
        value, gradient = fast()
    else:
        value, gradient = ops.cond(ops.shape(scores)[0] <= AUTO_LIMIT, exact, fast)
    some = ops.sum(w) * ops.sum(v)  # 1 or 0, up to rounding, or NaN
    return ops.where(some > 0.5, value, 0.0 * some), ops.where(some > 0.5, gradient, 0.0 * some)


def normalized_weights(positive: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return the weights w of positive and v of negative samples, each with sum 1 (or 0)."""
    w = ops.where(positive, weights, 0.0)
    v = ops.where(positive, 0.0, weights)
    return ops.divide_no_nan(w, ops.sum(w)), ops.divide_no_nan(v, ops.sum(v))


# --------------------------------------------------------------------------- all pairs


def all_pairs(scores: Tensor, w: Tensor, v: Tensor, surrogate: str) -> ValueAndGradient:
    """Visit every pair, in tiles of 512 positive by 512 negative samples.

    The memory does not grow with the number of pairs. A tile is computed in the dtype of
    the scores and summed there; the sums of tiles are added in float64. In one stage a
    mean over 2.5e8 pairs in float32 can be wrong by per cent.

    Parameters
    ----------
    scores : tensor of shape (n,)
    w, v : tensors of shape (n,), float64
        Normalized weights: w is 0 for negative, v for positive samples.
    surrogate : {"logistic", "squared_hinge", "squared"}
    """
    n = ops.shape(scores)[0]
    side = min(max(n, 1), TILE) if isinstance(n, int) else ops.clip(n, 1, TILE)
    order = ops.argsort(ops.where(w > 0, 0, ops.where(v > 0, 2, 1)))  # positive ones first
    back = ops.argsort(order)

    def tiles(x: Tensor, dtype: str) -> Tensor:
        padded = ops.pad(ops.cast(x, dtype), [[0, -n % side]])
        return ops.reshape(padded, (-1, side))

    def of_positives(x: Tensor, dtype: str) -> Tensor:
        return tiles(ops.take(x, order), dtype)

    def of_negatives(x: Tensor, dtype: str) -> Tensor:
        return tiles(ops.take(x, ops.flip(order)), dtype)

    a, b = of_positives(scores, scores.dtype), of_negatives(scores, scores.dtype)
    w, v = of_positives(w, "float64"), of_negatives(v, "float64")
    count = ops.shape(a)[0]
    rows = ops.sum(ops.cast(ops.any(w > 0, axis=1), "int32"))
    columns = ops.sum(ops.cast(ops.any(v > 0, axis=1), "int32"))

    def visit(k: Tensor, value: Tensor, slope_a: Tensor, slope_b: Tensor) -> tuple[Tensor, ...]:
        i, j = k // columns, k % columns
        loss, slope = SURROGATES[surrogate](b[j][None, :] - a[i][:, None])
        value += ops.sum(w[i] * wide(ops.matmul(loss, ops.cast(v[j], loss.dtype))))
        at_a = wide(ops.matmul(slope, ops.cast(v[j], slope.dtype)))
        at_b = wide(ops.matmul(ops.cast(w[i], slope.dtype), slope))
        slope_a -= ops.one_hot(i, count, dtype="float64")[:, None] * at_a
        slope_b += ops.one_hot(j, count, dtype="float64")[:, None] * at_b
        return k + 1, value, slope_a, slope_b

    zero = ops.zeros_like(w)
    _, value, slope_a, slope_b = ops.while_loop(
        lambda k, *_: k < rows * columns,
        visit,
        (ops.zeros((), "int32"), ops.sum(zero), zero, zero),
    )
    gradient = ops.reshape(w * slope_a, (-1,))[:n] + ops.flip(ops.reshape(v * slope_b, (-1,))[:n])
    return value, ops.take(gradient, back)


# --------------------------------------------------------- the logistic loss in O(P + N)


def low_rank(scores: Tensor, w: Tensor, v: Tensor) -> ValueAndGradient:
    """Sum softplus over all pairs through the moments of cells (see the module's text).

    Scores that are more than 32,768 apart, or not finite, are left to :func:`all_pairs`.

    Parameters
    ----------
    scores : tensor of shape (n,)
    w, v : tensors of shape (n,), float64
        Normalized weights: w is 0 for negative, v for positive samples.
    """
    values = wide(scores)
    positions = mirror(values - 0.5 * (ops.max(values) + ops.min(values)), w)
    reach = ops.max(ops.where(ops.isfinite(positions), ops.abs(positions), np.inf))

    def on_grid(cells: int) -> ValueAndGradient:
        classes = ops.cast(w > 0, "int32")
        cell, polynomials = locate(positions, cells)
        moments = sum_moments(cells, classes, cell, polynomials, w + v)
        loss, slope = ops.unstack(meet(moments, ops.arange(2 * cells)), 2, axis=1)
        value = ops.sum(moments[cells:] * ops.flip(loss[:cells], 0))  # positives' mirror cells
        slope = ops.take(slope, opposite(classes, cell, cells), axis=0)
        return value, mirror((w + v) * ops.sum(slope * polynomials, axis=1), w)

    grids = [functools.partial(on_grid, cells) for cells in GRIDS]
    beyond = functools.partial(all_pairs, scores, w, v, "logistic")
    return ops.switch(smallest_grid(reach), [*grids, beyond])


def mirror(x: Tensor, w: Tensor) -> Tensor:
    """Return -x for positive samples (those of weight w > 0) and x for the others."""
    return ops.where(w > 0, -x, x)


def smallest_grid(reach: Tensor) -> Tensor:
    """Return the index of the smallest grid with all positions inside (3: none has)."""
    return ops.sum(ops.cast(reach >= ops.array(GRIDS, "float64"), "int32"))


def locate(positions: Tensor, cells: int) -> tuple[Tensor, Tensor]:
    """Return the cell of each position and the polynomials T_0(t) to T_11(t) there.

    Parameters
    ----------
    positions : tensor of shape (n,), float64
    cells : int
        Number of cells of the grid; cell c spans [2c, 2c + 2) - cells.

    Returns
    -------
    tensor of shape (n,), int32; tensor of shape (n, 12), float64
    """
    whole = ops.floor(0.5 * positions)
    t = positions - 2.0 * whole - 1.0
    polynomials = [ops.ones_like(t), t]
    while len(polynomials) < DEGREES:
        polynomials.append(2.0 * t * polynomials[-1] - polynomials[-2])
    return ops.cast(whole, "int32") + cells // 2, ops.stack(polynomials, axis=1)


def sum_moments(
    cells: int, classes: Tensor, cell: Tensor, polynomials: Tensor, weights: Tensor
) -> Tensor:
    """Return the moments of every cell, shape (2 * cells, 12): negatives first, then positives."""
    return ops.segment_sum(polynomials * weights[:, None], classes * cells + cell, 2 * cells)


def opposite(classes: Tensor, cell: Tensor, cells: int) -> Tensor:
    """Return the row of the mirror cell in the other class: there the centers sum to 0."""
    return (1 - classes) * cells + (cells - 1 - cell)


def meet(moments: Tensor, rows: Tensor) -> Tensor:
    """Return the field that the samples of one class make around given cells.

    The field of row r is what a sample of the other class feels in the mirror cell of r, as
    Chebyshev coefficients in its t: near cells act by matrices, the far ones above by their
    count and sum (softplus(d) = d), those below by their exponential sum (exp(d)).

    Parameters
    ----------
    moments : tensor of shape (2 * cells, 12), float64
    rows : tensor of shape (m,), int32
        Rows of ``moments``: cell c of negatives is row c, of positives row cells + c.

    Returns
    -------
    tensor of shape (m, 2, 12), float64
        Coefficients of the loss and of the slope.
    """
    by_class = ops.reshape(moments, (2, -1, DEGREES))
    margin = [[0, 0], [NEIGHBORS, NEIGHBORS], [0, 0]]
    padded = ops.reshape(ops.pad(by_class, margin), (-1, DEGREES))
    cells = by_class.shape[1]
    first = rows + 2 * NEIGHBORS * (rows // cells)
    near = ops.take(padded, first[:, None] + np.arange(2 * NEIGHBORS + 1, dtype="int32"), axis=0)
    near = ops.reshape(near, (-1, (2 * NEIGHBORS + 1) * DEGREES))
    far = ops.take(ops.reshape(far_sums(by_class), (-1, 3)), rows, axis=0)
    fields = ops.matmul(ops.concatenate([near, far], axis=1), interaction())
    return ops.reshape(fields, (-1, 2, DEGREES))


def far_sums(moments: Tensor) -> Tensor:
    """Return what the far cells amount to, seen from each cell's center.

    Parameters
    ----------
    moments : tensor of shape (2, cells, 12), float64

    Returns
    -------
    tensor of shape (2, cells, 3), float64
        Of the cells more than 10 above: the total weight, and the weighted distance. Of
        those more than 10 below: the weighted sum of exp(-distance). Only positive numbers
        are added up, so nothing cancels.
    """
    count, offset = moments[..., 0], moments[..., 1]  # T_0(t) = 1, T_1(t) = t
    above = ops.flip(ops.cumsum(ops.flip(count, 1), 1), 1)
    distance = ops.flip(ops.cumsum(ops.flip(2.0 * above + offset, 1), 1), 1)
    decayed = ops.matmul(moments, chebyshev_series(np.exp))
    step = 1
    while step < DECAY:  # sums over 2, 4, ... 64 cells
        decayed = decayed + np.exp(-2.0 * step) * shift(decayed, step)
        step *= 2
    return ops.stack(
        [
            shift(above, -NEIGHBORS - 1),
            shift(distance + 2.0 * NEIGHBORS * above, -NEIGHBORS - 1),
            np.exp(-2.0 * (NEIGHBORS + 1)) * shift(decayed, NEIGHBORS + 1),
        ],
        axis=2,
    )


def shift(x: Tensor, step: int) -> Tensor:
    """Move the columns of x, shape (2, cells), by ``step`` to the right; fill up with 0."""
    if step > 0:
        return ops.pad(x[:, :-step], [[0, 0], [step, 0]])
    return ops.pad(x[:, -step:], [[0, 0], [0, -step]])


def evaluate(fields: Tensor, polynomials: Tensor) -> tuple[Tensor, Tensor]:
    """Return loss and slope at samples, from the fields (n, 2, 12) and polynomials (n, 12)."""
    values = ops.sum(fields * polynomials[:, None, :], axis=2)
    return values[:, 0], values[:, 1]


def chebyshev_series(function: Callable[..., Any]) -> NDArray[np.float64]:
    """Return the coefficients of ``function`` on [-1, 1], shape (12,)."""
    return np.asarray(chebyshev.chebinterpolate(function, DEGREES - 1))


@functools.cache
def interaction() -> NDArray[np.float64]:
    """Return the matrix from near moments and far sums to the coefficients of the field.

    Its first 21 x 12 rows stand for the cells at offsets -10 to 10. Cell and mirror cell at
    offset o meet at ``d = 2 o + t + t'``, and interpolation at the Chebyshev points of both
    t gives the 12 x 12 coefficients. The last three rows stand for the far sums.

    Returns
    -------
    ndarray of shape (255, 24), float64
    """
    points = chebyshev.chebpts1(DEGREES)
    to_series = np.linalg.inv(chebyshev.chebvander(points, DEGREES - 1))
    t_sum = points[:, None] + points[None, :]
    rows = []
    for offset in range(-NEIGHBORS, NEIGHBORS + 1):
        d = 2.0 * offset + t_sum
        loss, slope = np.logaddexp(0.0, d), 1.0 / (1.0 + np.exp(-d))
        rows.append(np.hstack([to_series @ values @ to_series.T for values in (loss, slope)]))
    one, t = np.eye(DEGREES)[:2]
    decay, nothing = chebyshev_series(np.exp), np.zeros(DEGREES)
    rows.append(np.array([[*t, *one], [*one, *nothing], [*decay, *decay]]))
    return np.vstack(rows)


# --------------------------------------------- squared hinge and squared loss, both exact


def in_order(scores: Tensor, w: Tensor, v: Tensor) -> ValueAndGradient:
    """Return the mean squared hinge loss exactly, in O(n log n): sort once, then cumulate.

    A pair costs (b - u)^2 where b > u = a - 1. With all u and b in order, a walk from left
    to right meets for each b the sums of (b - u) and (b - u)^2 over the u before it.

    Parameters
    ----------
    scores : tensor of shape (n,)
    w, v : tensors of shape (n,), float64
        Normalized weights: w is 0 for negative, v for positive samples.
    """
    places = wide(scores) - wide(w > 0)
    order = ops.argsort(places)
    back = ops.argsort(order)
    x, w, v = (ops.take(values, order) for values in (places, w, v))
    before, before_squared = distances_before(x, w)
    after, _ = distances_before(-ops.flip(x), ops.flip(v))
    gradient = 2.0 * (v * before - w * ops.flip(after))
    return ops.sum(v * before_squared), ops.take(gradient, back)


def distances_before(x: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return sums of weighted distances, and of their squares, to the points on the left.

    Parameters
    ----------
    x : tensor of shape (n,), increasing
    weights : tensor of shape (n,)

    Returns
    -------
    two tensors of shape (n,)
        ``sum(weights[m] * (x[k] - x[m]) ** p for m < k)`` for p = 1 and 2. Each step adds
        only positive numbers, so nothing cancels, however far apart the points are.
    """
    gaps = x[1:] - x[:-1]
    counts = ops.cumsum(weights)[:-1]
    first = ops.pad(ops.cumsum(gaps * counts), [[1, 0]])
    second = ops.pad(ops.cumsum(gaps * (first[1:] + first[:-1])), [[1, 0]])
    return first, second


def by_moments(scores: Tensor, w: Tensor, v: Tensor) -> ValueAndGradient:
    """Return the mean squared loss from the two classes' means and variances, in O(n).

    The mean of (1 + b - a)^2 is var(a) + var(b) + (1 + mean(b) - mean(a))^2.

    Parameters
    ----------
    scores : tensor of shape (n,)
    w, v : tensors of shape (n,), float64
        Normalized weights: w is 0 for negative, v for positive samples.
    """
    s = wide(scores)
    mean_a, mean_b = ops.sum(w * s), ops.sum(v * s)
    spread = ops.sum(w * ops.square(s - mean_a)) + ops.sum(v * ops.square(s - mean_b))
    gradient = 2.0 * (v * (1.0 + s - mean_a) - w * (1.0 + mean_b - s))
    return spread + ops.square(1.0 + mean_b - mean_a), gradient


def wide(x: Tensor) -> Tensor:
    """Return x in float64."""
    return ops.cast(x, "float64")


FAST: dict[str, Callable[[Tensor, Tensor, Tensor], ValueAndGradient]] = {
    "logistic": low_rank,
    "squared_hinge": in_order,
    "squared": by_moments,
}
"""The way of ``method="interpolated"``; only that of the logistic loss interpolates."""
