"""Penalized logistic regression on many pixels, with a certificate for every fit.

The thesis fits a lasso to 50,176 pixels (sections 4.4.1 and 5.2, Eq. 31 and 32, Table 4).
:func:`lasso_path` minimizes, for each ``lambda`` (scikit-learn's ``C`` is ``1 / lambda``),

    sum of the log-losses + lambda * (r * sum |b_j| + (1 - r) / 2 * sum b_j^2)

over the coefficients b and an intercept without penalty, where r is ``l1_ratio``. With u the
vector of the residuals (predicted probability minus label), the dual problem is

    maximize  sum_i entropy(|u_i|)  subject to  sum_i u_i = 0  and  |x_j'u| <= lambda  for all j

(for r = 1). Any u that is feasible gives a lower bound D of the minimum P, so the relative
**duality gap** (P - D) / P says how far a fit can be from the optimum, whoever computed it.

Where pixels are many and neighbours nearly equal, first-order methods stall. Here a
primal-dual interior-point method (Mehrotra's predictor and corrector) takes 10 to 20 Newton
steps, each an n x n system, on a working set of columns that grows by those that violate the
constraints. The dual iterates stay feasible, so that the lower bound needs no rescaling.

:func:`rotation_orbits` uses the symmetry of data that hold every image in its four rotations:
a fit on 4n images of p pixels is one on n images of p / 4 sums of pixels.

References
----------
Mehrotra, S. (1992). On the implementation of a primal-dual interior point method. SIAM
Journal on Optimization 2, 575-601.

Koh, K., Kim, S.-J. and Boyd, S. (2007). An interior-point method for large-scale
l1-regularized logistic regression. Journal of Machine Learning Research 8, 1519-1555.
"""

from __future__ import annotations

import math
import os
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg, optimize, special
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.utils.validation import check_array
from threadpoolctl import threadpool_limits

__all__ = ["LassoPath", "RotationOrbits", "lasso_path", "relative_gap", "rotation_orbits"]

Array = NDArray[np.float64]

_BLOCK = 2048  # columns that are held in float64 at a time
_FEW = 500  # columns of the first working set
_MAX_STEPS = 500
_FACTOR = 10  # between a lambda and the next, which starts at its solution
_PATIENCE = 10  # steps without half the gap
_SMALLEST = math.sqrt(np.finfo(np.float64).tiny)  # its square still has all digits
_MARGIN = 1e-9  # of a bound, for rounding
_RIDGE = 1e-6  # below this l1_ratio the fit of ridge is within any tol, as its gap shows


@dataclass(frozen=True)
class LassoPath:
    """Fits of :func:`lasso_path`, one per ``lambda``, in the order that the caller gave.

    Attributes
    ----------
    lambdas_ : ndarray of shape (n_lambdas,)
    coef_ : ndarray of shape (n_lambdas, p)
        On the scale of the ``X`` that was given.
    intercept_ : ndarray of shape (n_lambdas,)
    objective_ : ndarray of shape (n_lambdas,)
        Minimized function, on the scale on which it was solved.
    duality_gap_ : ndarray of shape (n_lambdas,)
        Relative: no coefficients whatever have an objective below
        ``objective_ * (1 - duality_gap_)``.
    converged_ : ndarray of bool, shape (n_lambdas,)
        Whether the gap is at most ``tol``.
    n_nonzero_ : ndarray of int, shape (n_lambdas,)
    sparsity_ : ndarray of shape (n_lambdas,)
        Share of the coefficients that are exactly 0.
    llf_ : ndarray of shape (n_lambdas,)
        Log-likelihood of the data of the fit.
    pseudo_r2_ : ndarray of shape (n_lambdas,)
        McFadden's, of the data of the fit: it says nothing about new data.
    n_iter_ : ndarray of int, shape (n_lambdas,)
        Newton steps.
    seconds_ : ndarray of shape (n_lambdas,)
        Wall-clock time of each fit.
    """

    lambdas_: Array
    coef_: Array
    intercept_: Array
    objective_: Array
    duality_gap_: Array
    converged_: NDArray[np.bool_]
    n_nonzero_: NDArray[np.int_]
    sparsity_: Array
    llf_: Array
    pseudo_r2_: Array
    n_iter_: NDArray[np.int_]
    seconds_: Array

    def decision_function(self, X: ArrayLike) -> Array:
        """Log-odds of class 1 for each fit, shape (n_lambdas, n), from ``X`` (n, p)."""
        matrix = check_array(X, dtype=[np.float32, np.float64], input_name="X")
        if matrix.shape[1] != self.coef_.shape[1]:
            raise ValueError(f"X has {matrix.shape[1]} columns; the fit had {self.coef_.shape[1]}.")
        scores = np.tile(self.intercept_[:, np.newaxis], (1, len(matrix)))
        for columns in _blocks(matrix):
            scores += self.coef_[:, columns] @ matrix[:, columns].T.astype(np.float64)
        return scores


def lasso_path(
    X: ArrayLike,
    y: ArrayLike,
    lambdas: ArrayLike,
    *,
    l1_ratio: float = 1.0,
    tol: float = 1e-3,
    standardize: bool = True,
    max_time: float | None = None,
) -> LassoPath:
    """Fit penalized logistic regressions along a path (thesis, sections 4.4.1 and 5.2).

    Parameters
    ----------
    X : array-like of shape (n, p)
        Finite numbers. Everything but float64 is computed in float32 (sums in float64);
        in memory there is one standardized copy.
    y : array-like of shape (n,)
        0 and 1, both present.
    lambdas : array-like of shape (n_lambdas,) or float
        Weights of the penalty, positive; scikit-learn's ``C = 1 / lambda``. In any order; the
        path starts at the largest, and each fit at the solution of the one before.
    l1_ratio : float
        1 for the lasso, 0 for ridge, between them the elastic net. Below 1e-6 the coefficients
        are those of ridge, and the gap is that of the elastic net.
    tol : float
        Largest relative duality gap of a fit that counts as converged, above 0.
    standardize : bool
        Whether the penalty acts on the coefficients of standardized columns (mean 0, standard
        deviation 1 with denominator n). A constant column then has the coefficient 0.
    max_time : float, optional
        Seconds of wall-clock time per fit. It is looked at after each Newton step. When it
        has run out, the best coefficients so far are returned, with their gap.

    Returns
    -------
    LassoPath
        Coefficients, intercepts, gaps and more, in the order of ``lambdas``.

    Raises
    ------
    ValueError
        If ``X`` or ``y`` is not as described, an argument is out of its range, or the variances
        of the columns are (where they are standardized).
    MemoryError
        If the coefficients of so many ``lambdas`` do not fit into memory.

    Warns
    -----
    ConvergenceWarning
        If a gap is above ``tol``.

    Notes
    -----
    Coefficients are exactly 0 where the interior point lies nearer to ``b_j = 0`` than to
    ``|x_j'u| = lambda``; the problem is then solved again on the other columns alone, and the
    gap is that of the coefficients returned. Where the residual certifies nothing, because a
    tiny penalty bounds sums that cancel, the certificate is the dual point that one Newton step
    makes of it. Where the coefficients depend linearly on each other, some
    are moved to 0 without change of the fit: not more than the rank of ``X`` remain.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(100, 300))
    >>> y = (X[:, 0] + rng.normal(size=100) > 0).astype(int)
    >>> path = lasso_path(X, y, [20.0, 5.0])
    >>> int(path.n_nonzero_[0]), path.converged_.tolist()
    (1, [True, True])
    """
    matrix, labels, weights = _check(X, y, lambdas, l1_ratio, tol, max_time)
    Z, mean, scale = matrix, np.zeros(matrix.shape[1]), np.ones(matrix.shape[1])
    if standardize:
        Z, mean, scale = _standardized(matrix)
    k, p = len(weights), Z.shape[1]
    coef, intercept = np.zeros((k, p)), np.empty(k)
    numbers = {name: np.empty(k) for name in ("objective", "gap", "llf", "steps", "seconds")}
    state = _null_fit(Z, labels)
    null = -state.loss
    ridge = l1_ratio < _RIDGE
    previous = 0.0 if ridge else np.abs(state.v).max() / l1_ratio
    for index in np.argsort(-weights, kind="stable"):
        start = time.perf_counter()
        deadline = math.inf if max_time is None else start + max_time
        for weight in _towards(previous, weights[index]):
            penalty = _Penalty(weight * l1_ratio, weight * (1 - l1_ratio))
            fit = _ridge if ridge else _working_sets
            # One thread: many small factorizations, where threads wait for one another.
            with (
                threadpool_limits(1, "blas"),
                np.errstate(over="ignore", invalid="ignore", divide="ignore"),
            ):
                state = fit(Z, labels, penalty, state, tol, deadline)
        previous = 0.0 if ridge else weights[index]
        coef[index], intercept[index] = state.b, state.b0
        values = (state.primal, state.gap, -state.loss, state.steps, time.perf_counter() - start)
        for array, value in zip(numbers.values(), values, strict=True):
            array[index] = value
    coef /= scale
    intercept -= coef @ mean
    late = numbers["gap"] > tol
    if late.any():
        remedies = ["Allow larger lambdas", "a larger tol"]
        remedies += ["more max_time"] if max_time is not None else []
        remedies += [] if standardize else ["or standardize=True"]
        warnings.warn(
            f"lasso_path: the relative duality gap is {numbers['gap'][late].max():.1e}, above "
            f"tol={tol:g}, at lambda {', '.join(f'{w:g}' for w in weights[late])}. "
            f"{', '.join(remedies)}.",
            ConvergenceWarning,
            stacklevel=2,
        )
    nonzero = np.count_nonzero(coef, axis=1)
    return LassoPath(
        lambdas_=weights,
        coef_=coef,
        intercept_=intercept,
        objective_=numbers["objective"],
        duality_gap_=numbers["gap"],
        converged_=~late,
        n_nonzero_=nonzero,
        sparsity_=1 - nonzero / p,
        llf_=numbers["llf"],
        pseudo_r2_=1 - numbers["llf"] / null,
        n_iter_=numbers["steps"].astype(int),
        seconds_=numbers["seconds"],
    )


def relative_gap(
    X: ArrayLike,
    y: ArrayLike,
    coef: ArrayLike,
    intercept: float,
    lam: float,
    *,
    l1_ratio: float = 1.0,
    standardize: bool = True,
) -> float:
    """Bound how far coefficients from any program are from the minimum.

    The dual point is the residual, scaled to be feasible. As it uses nothing but the
    coefficients, it exceeds ``duality_gap_`` where :func:`lasso_path` found a better one.

    Parameters
    ----------
    X, y, l1_ratio, standardize
        As in :func:`lasso_path`.
    coef : array-like of shape (p,)
        On the scale of ``X``.
    intercept : float
    lam : float
        Weight of the penalty, ``1 / C``.

    Returns
    -------
    float
        (P - D) / P, from 0 to 1 or a little above: the minimum is at least (1 - gap) P.

    Raises
    ------
    ValueError
        As :func:`lasso_path`, and if ``coef`` does not have p entries.
    """
    matrix, labels, weights = _check(X, y, lam, l1_ratio, 1.0, None)
    b = np.asarray(coef, dtype=np.float64)
    if b.shape != matrix.shape[1:]:
        raise ValueError(f"coef has shape {b.shape}; it must be {matrix.shape[1:]}, as X has.")
    scores = _times(matrix, b) + intercept
    if standardize:
        matrix, _, scale = _standardized(matrix)
        b = b * scale
    penalty = _Penalty(weights[0] * l1_ratio, weights[0] * (1 - l1_ratio))
    primal = _loss(scores, labels) + penalty(b)
    u = _residual(scores, labels)
    return (primal - _dual(u, _transposed_times(matrix, u), penalty)) / primal


@dataclass(frozen=True)
class _Penalty:
    """Weights of sum |b_j| and of sum b_j^2 / 2."""

    l1: float
    l2: float

    def __call__(self, b: Array) -> float:
        return float(self.l1 * np.abs(b).sum() + self.l2 / 2 * (b @ b))


def _towards(start: float, weight: float) -> Array:
    """Return the ``lambda`` of a fit, after others on the way down if it is far below ``start``."""
    far = (math.log(start) - math.log(weight)) / math.log(_FACTOR) if start > weight else 0.0
    n = max(1, math.ceil(far))
    return np.geomspace(start, weight, n + 1)[1:] if n > 1 else np.array([weight])


@dataclass(frozen=True)
class _Fit:
    """Coefficients on the scale of ``Z``, a dual point u with v = Z'u, and what they certify.

    ``own_gap`` is the gap with the residual of the coefficients as dual point: a reader who
    has nothing but them can compute it.
    """

    b: Array
    b0: float
    loss: float
    primal: float
    u: Array
    v: Array
    dual: float
    own_gap: float
    steps: int = 0

    @property
    def gap(self) -> float:
        return max(0.0, (self.primal - self.dual) / self.primal)


def _null_fit(Z: NDArray[Any], y: Array) -> _Fit:
    """Only the intercept: the lasso for every ``lambda`` from the largest |v| on."""
    u = y.mean() - y
    loss = _entropy(u)
    b0 = float(special.logit(y.mean()))
    return _Fit(np.zeros(Z.shape[1]), b0, loss, loss, u, _transposed_times(Z, u), loss, 0.0)


def _assess(Z: NDArray[Any], y: Array, penalty: _Penalty, b: Array, *dual_points: Any) -> _Fit:
    """Return ``b`` with its best intercept, and the best bound of its residual or the points."""
    support = np.flatnonzero(b)
    scores = _times(Z[:, support], b[support])
    b0 = _intercept(scores, y)
    loss = _loss(scores + b0, y)
    u = _residual(scores + b0, y)
    points = [(u, _transposed_times(Z, u)), *dual_points]
    bounds = [_dual(u, v, penalty) for u, v in points]
    (u, v), dual = points[int(np.argmax(bounds))], max(bounds)
    primal = loss + penalty(b)
    return _Fit(b, b0, loss, primal, u, v, dual, (primal - bounds[0]) / primal)


def _working_sets(
    Z: NDArray[Any], y: Array, penalty: _Penalty, warm: _Fit, tol: float, deadline: float
) -> _Fit:
    """Solve on some columns, add those that violate the dual constraints, and repeat."""
    p = Z.shape[1]
    best = _assess(Z, y, penalty, warm.b, (warm.u, warm.v))
    b, u, v, chosen = warm.b, warm.u, warm.v, warm.b != 0
    size, accuracy, steps = max(_FEW, 2 * np.count_nonzero(chosen)), tol / 100, 0
    wanted, inside = np.flatnonzero(~chosen), True
    while best.own_gap > tol and time.perf_counter() < deadline and accuracy > tol / 1e6:
        if len(wanted):
            chosen[wanted[np.argsort(-np.abs(v[wanted]))[:size]]] = True
        else:  # again from the residual as it is: where classes overlap, it does not shrink
            accuracy, inside = accuracy / 10, False
            b, u = best.b, _residual(_times(Z, best.b) + best.b0, y)
        columns = np.flatnonzero(chosen)
        size = len(columns)
        part = Z if size == p else Z[:, columns]
        b_part, keep, u, n = _interior_point(
            part, y, penalty, b[columns], u, accuracy, deadline, inside=inside
        )
        b, v, steps = np.zeros(p), _transposed_times(Z, u), steps + n
        b[columns] = b_part
        sparse = np.zeros(p)
        support = columns[keep]
        if len(support):
            part = np.asarray(Z[:, support], dtype=np.float64)
            few, keep, _, n = _interior_point(
                part, y, penalty, b[support], u, accuracy**2, deadline
            )
            support, few = support[keep], few[keep]
            sparse[support] = few if penalty.l2 else _vertex(part[:, keep], few)
            steps += n
        # Far from the solution, when time has run out, b may be better than its sparse version.
        for new in (sparse, b) if time.perf_counter() > deadline else (sparse,):
            fit = _assess(Z, y, penalty, new, (u, v))
            dual = max(fit, best, key=lambda point: point.dual)
            if fit.primal < best.primal or fit.own_gap <= tol:
                best = fit
            best = replace(best, u=dual.u, v=dual.v, dual=dual.dual)
        wanted = np.flatnonzero(~chosen & (np.abs(v) > penalty.l1))
    support = np.flatnonzero(best.b)
    if best.gap > tol and len(support) < len(y) and time.perf_counter() < deadline:
        u = _residual(_times(Z, best.b) + best.b0, y)
        slope = penalty.l1 * np.sign(best.b[support]) + penalty.l2 * best.b[support]
        u = _corrected(Z[:, support], y, u, -slope * (1 - _MARGIN))
        best = _assess(Z, y, penalty, best.b, (best.u, best.v), (u, _transposed_times(Z, u)))
    return replace(best, steps=steps)


def _interior_point(
    Z: NDArray[Any],
    y: Array,
    penalty: _Penalty,
    b: Array,
    u: Array,
    accuracy: float,
    deadline: float,
    *,
    inside: bool = True,
) -> tuple[Array, NDArray[np.bool_], Array, int]:
    """Solve the problem on the columns of ``Z``, starting near ``b`` and near ``u``.

    If ``inside``, from the multiple of ``u`` that is feasible.

    With b = b1 - b2, g = v + l2 b and slacks s1 = l1 + g, s2 = l1 - g, the optimum has
    b1 s1 = 0 = b2 s2 and log(q / (1 - q)) = Zb + b0 for q = y + u. Newton's method on these
    equations, with 0 replaced by a number that goes to 0, keeps b1, b2, s1, s2, q, 1 - q > 0.

    Returns
    -------
    b, keep, u, steps
        ``keep`` tells which entries of ``b`` are not to be 0.
    """
    v = _transposed_times(Z, u)
    top = np.abs(v).max()
    shrink = 1.0 if top <= penalty.l1 or not inside else 0.95 * penalty.l1 / top
    u, v = shrink * u, shrink * v
    s = np.maximum(penalty.l1 + _both(v + penalty.l2 * b), 0.05 * penalty.l1)
    scores = _times(Z, b)
    primal = _loss(scores + _intercept(scores, y), y) + penalty(b)
    central = max(primal - _dual(u, v, penalty), accuracy * primal) / (2 * b.size)
    pair = np.maximum(_both(b), central / s)
    least, since = math.inf, 0
    best = b, b != 0, u, 0
    for steps in range(_MAX_STEPS):
        b = pair[0] - pair[1]
        scores = _times(Z, b)
        if not np.isfinite(scores).all():
            break
        scores += _intercept(scores, y)
        primal = _loss(scores, y) + penalty(b)
        gap = primal - _dual(u, v, penalty)
        since += 1
        if gap < least:
            size = np.abs(b).max()
            keep = (_both(b) / size > s / penalty.l1).any(axis=0)
            best, since = (b, keep, u, steps), since if gap > least / 2 else 0
            least = gap
        late = time.perf_counter() > deadline
        if gap <= accuracy * primal or since > _PATIENCE or late:
            break
        try:
            pair, s, u, v = _newton_step(Z, y, penalty, pair, s, u, v, scores)
        except linalg.LinAlgError:
            break
        if not (np.isfinite(pair).all() and np.abs(u).min() > 0):
            break
    return best


def _newton_step(
    Z: NDArray[Any],
    y: Array,
    penalty: _Penalty,
    pair: Array,
    s: Array,
    u: Array,
    v: Array,
    scores: Array,
) -> tuple[Array, Array, Array, Array]:
    """Take Mehrotra's step from b1, b2 (rows of ``pair``), s1, s2 (of ``s``), u and v = Z'u."""
    l2, sign, m = penalty.l2, 1 - 2 * y, np.abs(u)
    excess = sign * (np.log(m) - np.log1p(-m)) - scores
    slack = penalty.l1 + _both(v + l2 * (pair[0] - pair[1])) - s  # 0 after a full step
    ratio = pair / s
    damping = 1 + l2 * ratio.sum(axis=0)
    weights = ratio.sum(axis=0) / damping
    respond = _newton_system(Z, m * (1 - m), weights)
    to_b0 = respond(np.zeros_like(v), np.ones_like(u))

    def direction(product: Array) -> tuple[Array, Array, Array, Array]:
        """Return changes of pair, s, u, v for which pair * s changes by ``product``."""
        change = product / s - ratio * slack
        rho = (change[0] - change[1]) / damping
        du = respond(rho, -excess)
        du -= du.sum() / to_b0.sum() * to_b0
        dv = _transposed_times(Z, du)
        dg = _both(dv + l2 * (rho - weights * dv))
        return change - ratio * dg, dg + slack, du, dv

    def reach(dpair: Array, ds: Array, du: Array) -> tuple[float, float]:
        dual = min(_room(s, ds), _room(m, sign * du), _room(1 - m, -sign * du))
        primal = _room(pair, dpair)
        return (primal, dual) if l2 == 0 else (min(primal, dual),) * 2

    dpair, ds, du, _ = direction(-pair * s)
    t, t_dual = (min(1.0, length) for length in reach(dpair, ds, du))
    mu = np.mean(pair * s)
    center = (np.mean((pair + t * dpair) * (s + t_dual * ds)) / mu) ** 3 * mu
    dpair, ds, du, dv = direction(center - pair * s - dpair * ds)
    t, t_dual = (min(1.0, 0.99 * length) for length in reach(dpair, ds, du))
    return pair + t * dpair, s + t_dual * ds, u + t_dual * du, v + t_dual * dv


def _newton_system(Z: NDArray[Any], w: Array, weights: Array) -> Callable[[Array, Array], Array]:
    """Return the solver of (1 / w + Z diag(weights) Z') du = Z rho + c for du, given rho and c.

    It takes the Cholesky factor of the smaller of two matrices: that system's, or that of
    db, where du = w (Z db + c).
    """
    n, p = Z.shape
    root = np.sqrt(weights if p < n else w)
    if p < n:
        system = root[:, np.newaxis] * root * (Z.T @ (w[:, np.newaxis] * Z))
    else:
        system = root[:, np.newaxis] * root * _gram(Z, np.sqrt(weights))
    system[np.diag_indices(len(system))] += 1
    factor = linalg.cho_factor(system, overwrite_a=True, check_finite=False)

    def respond(rho: Array, c: Array) -> Array:
        if p < n:
            right = rho / root - root * _transposed_times(Z, w * c)
            db = root * linalg.cho_solve(factor, right, check_finite=False)
            return w * (_times(Z, db) + c)
        right = root * (_times(Z, rho) + c)
        return root * linalg.cho_solve(factor, right, check_finite=False)

    return respond


def _both(x: Array) -> Array:
    return np.stack([x, -x])


def _room(x: Array, dx: Array) -> float:
    """Largest step along ``dx`` that keeps ``x`` from being negative."""
    fastest = np.max(-dx / x)
    return 1 / fastest if fastest > 0 else math.inf


def _vertex(Z: Array, b: Array) -> Array:
    """Set entries of ``b`` to 0 that its fit Zb does not need; sum |b_j| does not grow.

    The columns that remain are independent. Each column that depends on others gives a
    direction along which Zb does not change; the sum is linear in it until an entry is 0.
    """
    R, order = linalg.qr(Z, mode="r", pivoting=True)
    diagonal = np.abs(np.diag(R))
    rank = int(np.count_nonzero(diagonal > diagonal[:1] * max(Z.shape) * np.finfo(np.float64).eps))
    dependent = -linalg.solve_triangular(R[:rank, :rank], R[:rank, rank:])
    directions = np.vstack([dependent, np.eye(len(b) - rank)])
    moved = b[order]
    while directions.shape[1]:
        along = directions[:, 0] * (-1 if np.sign(moved) @ directions[:, 0] > 0 else 1)
        falling = np.flatnonzero(moved * along < 0)
        first = falling[np.argmin(-moved[falling] / along[falling])]
        moved = moved - moved[first] / along[first] * along
        moved[first] = 0
        rest = directions[:, 1:] - np.outer(along / along[first], directions[first, 1:])
        rest[first] = 0
        directions = rest
    result = np.empty_like(b)
    result[order] = moved
    return result


def _ridge(
    Z: NDArray[Any], y: Array, penalty: _Penalty, warm: _Fit, tol: float, deadline: float
) -> _Fit:
    """Fit scikit-learn's Newton solver to the principal components (if p > n) of ``Z``."""
    design, back = np.asarray(Z, dtype=np.float64), None
    if Z.shape[1] > Z.shape[0]:
        values, vectors = linalg.eigh(_gram(Z, np.ones(Z.shape[1])))
        used = values > values[-1] * len(values) * np.finfo(np.float64).eps
        design = vectors[:, used] * np.sqrt(values[used])
        back = vectors[:, used] / np.sqrt(values[used])
    accuracy = max(tol * 1e-6 * min(1.0, penalty.l2), 1e-16)  # of slopes, l2 |b_j| / n at most
    model = LogisticRegression(C=1 / penalty.l2, solver="newton-cholesky", tol=accuracy)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the gap tells
        model.fit(design, y)
    part = model.coef_[0]
    b = part if back is None else _transposed_times(Z, back @ part)
    fit = _assess(Z, y, penalty, b)
    if fit.gap > tol and time.perf_counter() < deadline:
        u = _residual(model.decision_function(design), y)
        u = _corrected(design, y, u, -penalty.l2 * part)
        fit = _assess(Z, y, penalty, b, (u, _transposed_times(Z, u)))
    return replace(fit, steps=int(model.n_iter_[0]))


def _corrected(Z: NDArray[Any], y: Array, u: Array, wanted: Array) -> Array:
    """Return the dual point next to ``u`` with sum 0 and Z'u = ``wanted``, if there is one.

    Where classes overlap and the penalty is tiny, |x_j'u| of the residual exceeds the bound by
    many times the bound, though by little of what cancels in the sum; a multiple of u that
    obeys the bound says nothing. "Next to" is meant in the metric of the entropy.
    """
    A = np.column_stack([np.ones(len(y)), Z]).astype(np.float64)
    root = np.sqrt(np.abs(u) * (1 - np.abs(u)))
    excess = u @ A - np.r_[0.0, wanted]
    moved = u - root * np.linalg.lstsq((root[:, np.newaxis] * A).T, excess, rcond=None)[0]
    m = (1 - 2 * y) * moved
    return moved if m.min() > 0 and m.max() < 1 else u


def _blocks(Z: NDArray[Any]) -> list[slice]:
    """Slices of columns that are computed with in float64 at a time."""
    return [slice(start, start + _BLOCK) for start in range(0, Z.shape[1], _BLOCK)]


def _times(Z: NDArray[Any], b: Array) -> Array:
    """Zb in float64."""
    scores = np.zeros(len(Z))
    for columns in _blocks(Z):
        scores += np.asarray(Z[:, columns], dtype=np.float64) @ b[columns]
    return scores


def _transposed_times(Z: NDArray[Any], u: Array) -> Array:
    """Z'u in float64."""
    v = np.empty(Z.shape[1])
    for columns in _blocks(Z):
        v[columns] = u @ np.asarray(Z[:, columns], dtype=np.float64)
    return v


def _gram(Z: NDArray[Any], root: Array) -> Array:
    """Z diag(root^2) Z' in float64."""
    gram = np.zeros((len(Z), len(Z)))
    for columns in _blocks(Z):
        scaled = Z[:, columns] * root[columns]
        gram += scaled @ scaled.T
    return gram


def _loss(scores: Array, y: Array) -> float:
    return float(np.logaddexp(0, (1 - 2 * y) * scores).sum())


def _residual(scores: Array, y: Array) -> Array:
    """Probability minus label, made to sum to 0 by shrinking the residuals of one class."""
    u = special.expit(scores) * (1 - y) - special.expit(-scores) * y
    positive, negative = u[y == 0].sum(), -u[y == 1].sum()
    return u * np.where(y == 0, min(1.0, negative / positive), min(1.0, positive / negative))


def _entropy(u: Array) -> float:
    m = np.abs(u)
    return float((special.entr(m) + special.entr(1 - m)).sum())


def _dual(u: Array, v: Array, penalty: _Penalty) -> float:
    """Lower bound of the minimum from u, or from the multiple of u with |v| <= l1."""
    shrink = min(1.0, penalty.l1 / max(np.abs(v).max(), np.finfo(np.float64).tiny))
    bound = _entropy(shrink * u)
    if penalty.l2:
        excess = np.maximum(np.abs(v) - penalty.l1, 0)
        bound = max(bound, _entropy(u) - float(excess @ excess) / (2 * penalty.l2))
    return bound


def _intercept(scores: Array, y: Array) -> float:
    """Return the b0 that minimizes the loss of ``scores + b0``: the residuals sum to 0."""
    center = float(special.logit(y.mean()))
    low, high = center - scores.max() - 1, center - scores.min() + 1
    return optimize.brentq(
        lambda b0: (special.expit(scores + b0) - y).sum(),
        low,
        high,
        xtol=1e-13,
        rtol=1e-15,
        maxiter=2000,
        disp=False,
    )


def _standardized(X: NDArray[Any]) -> tuple[NDArray[Any], Array, Array]:
    """Return a standardized copy, the means and the scales; constant columns become 0."""
    Z, mean, scale = np.empty_like(X, order="C"), np.empty(X.shape[1]), np.empty(X.shape[1])
    for columns in _blocks(X):
        part = X[:, columns].astype(np.float64)
        constant = part.min(axis=0) == part.max(axis=0)
        with np.errstate(over="ignore", invalid="ignore"):
            mean[columns] = part.mean(axis=0)
            scale[columns] = np.where(constant, 1.0, part.std(axis=0))
        if not ((scale[columns] >= _SMALLEST) & (scale[columns] < math.inf)).all():
            raise ValueError(
                "X is too large or too small: the variances of its columns leave the range of "
                "float64. Multiply X by a constant."
            )
        Z[:, columns] = np.where(constant, 0.0, (part - mean[columns]) / scale[columns])
    return Z, mean, scale


def _check(
    X: ArrayLike, y: ArrayLike, lambdas: ArrayLike, l1_ratio: float, tol: float, max_time: Any
) -> tuple[NDArray[Any], Array, Array]:
    """Return ``X``, ``y`` and ``lambdas`` as arrays, or say what is wrong."""
    from mammocourse.logistic import _check_classes  # which imports this module

    matrix = check_array(X, dtype=[np.float32, np.float64], input_name="X")
    weights = np.atleast_1d(np.asarray(lambdas, dtype=np.float64))
    needed = weights.size * matrix.shape[1] * 8
    if hasattr(os, "sysconf"):
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        if needed > memory / 2:
            raise MemoryError(
                f"coef_ for {weights.size} lambdas and {matrix.shape[1]} columns takes "
                f"{needed / 2**30:.1f} GiB, more than half of the memory of this machine, "
                f"{memory / 2**30:.1f} GiB. Fit fewer lambdas at a time."
            )
    if weights.ndim != 1 or not len(weights) or not np.all((weights > 0) & (weights < math.inf)):
        raise ValueError(
            f"lambdas are {lambdas!r}; they must be positive numbers, one or a list. Without a "
            "penalty use LogisticMLE."
        )
    if not 0 <= l1_ratio <= 1:
        raise ValueError(f"l1_ratio is {l1_ratio!r}; it must be from 0 (ridge) to 1 (lasso).")
    if not tol > 0:
        raise ValueError(f"tol is {tol!r}; it must be above 0, a relative duality gap.")
    if max_time is not None and not max_time > 0:
        raise ValueError(f"max_time is {max_time!r}; it must be above 0, in seconds, or None.")
    labels = _check_classes(y, len(matrix))
    if labels.min() == labels.max():
        raise ValueError(f"y holds {labels[0]:g} only; both classes, 0 and 1, must be present.")
    return matrix, labels, weights


@dataclass(frozen=True)
class RotationOrbits:
    """Result of :func:`rotation_orbits`.

    Attributes
    ----------
    design : float32 ndarray of shape (n, size * size / 4)
        For each image and each set of four pixels that rotations exchange, the sum of the
        four standardized pixels.
    mean, scale : ndarray of shape (size * size / 4,)
        Of the pixels of each set, over all rotated images.
    """

    design: NDArray[np.float32]
    mean: Array
    scale: Array

    def lift(self, coef: ArrayLike, intercept: ArrayLike) -> tuple[Array, Array]:
        """Coefficients of the pixels, not standardized, that give the scores of the design.

        Parameters
        ----------
        coef : array-like of shape (k, size * size / 4)
        intercept : array-like of shape (k,)

        Returns
        -------
        coef : ndarray of shape (k, size * size)
            Equal under rotations of the image by right angles.
        intercept : ndarray of shape (k,)
        """
        quarter = np.asarray(coef, dtype=np.float64) / self.scale
        shift = np.asarray(intercept, dtype=np.float64) - 4 * quarter @ self.mean
        half = math.isqrt(quarter.shape[1])
        images = np.zeros((len(quarter), 2 * half, 2 * half))
        images[:, :half, :half] = quarter.reshape(-1, half, half)
        turned = np.sum([np.rot90(images, turns, axes=(1, 2)) for turns in range(4)], axis=0)
        return turned.reshape(len(quarter), -1), shift


def rotation_orbits(images: np.ndarray) -> RotationOrbits:
    """Reduce the lasso on images in all four rotations to one on the images alone.

    With every image the data hold its rotations by 90, 180 and 270 degrees, with the same
    label (thesis, section 4.3.2). Loss and penalty, a convex function, stay the same when
    all coefficients are rotated; so the average of a solution over the four rotations is a
    solution too, and it has one coefficient per set of four pixels. For such coefficients the
    loss of the 4n images is four times that of the n images, and the penalty four times that
    of the coefficients of the sums: the problem is the same with ``design`` for ``X``,
    ``standardize=False`` and the same ``lambda``, and so is the relative duality gap. A Newton
    step costs 64 times less.

    Parameters
    ----------
    images : ndarray of shape (n, size, size)
        Real numbers; ``size`` even, so that no pixel stays in place.

    Returns
    -------
    RotationOrbits

    Raises
    ------
    ValueError
        If the shape is not as described.
    """
    stack = np.asarray(images)
    if stack.ndim != 3 or stack.shape[1] != stack.shape[2] or stack.shape[1] % 2:
        raise ValueError(
            f"images have the shape {stack.shape}; they must be (n, size, size) with size even."
        )
    half = stack.shape[1] // 2
    quarters = [
        np.rot90(stack, turns, axes=(1, 2))[:, :half, :half].reshape(len(stack), -1)
        for turns in range(4)
    ]
    mean = sum(q.mean(axis=0, dtype=np.float64) for q in quarters) / 4
    variance = sum(((q - mean) ** 2).mean(axis=0) for q in quarters) / 4
    scale = np.where(variance > 0, np.sqrt(variance), 1.0)
    total = sum(q.astype(np.float32) for q in quarters)
    design = ((total - 4 * mean) / scale).astype(np.float32)
    return RotationOrbits(design, mean, scale)
