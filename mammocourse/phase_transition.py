"""When the maximum likelihood estimate exists, and how far it is from the truth.

A logistic model without intercept has n observations and p = kappa * n regressors,
which are independent standard normal. The signal strength gamma is the standard
deviation of the linear predictor x'beta. As n and p grow together,

* the estimate exists, with probability tending to one, if kappa lies below a boundary
  that depends on gamma alone, and fails to exist above it (Candes and Sur 2020,
  main theorem);
* below the boundary it is not consistent: estimates scatter about alpha * beta, alpha
  above 1, by more than the Fisher information says (Sur and Candes 2019, Theorem 2).

The two theorems are about normal regressors; simulations in the second paper show the
same for others, and Chapter 3 does so for the thesis's design.

References
----------
Candes, E. J. and Sur, P. (2020). The phase transition for the existence of the maximum
likelihood estimate in high-dimensional logistic regression. Annals of Statistics 48(1),
27-42.

Sur, P. and Candes, E. J. (2019). A modern maximum-likelihood theory for
high-dimensional logistic regression. PNAS 116(29), 14516-14525.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize
from scipy.special import expit, ndtr

__all__ = ["mle_boundary", "mle_exists", "mle_inflation"]

Array = NDArray[np.float64]

_STEP = 1 / 32  # of the sinh grids: halving it changes no result by more than 1e-9
_NEAREST = 1e-5  # relative distance to the boundary at which rounding still leaves 1e-6
_REACH = 9.0  # standard deviations; the normal density beyond is below 1e-18


def mle_boundary(gamma: ArrayLike) -> Any:
    """Return the largest ratio p / n at which the estimate exists.

    This is the main theorem of Candes and Sur (2020) without an intercept: with
    P(Y = 1 | X) = 1 / (1 + exp(-gamma X)), Y = 1 or -1, V = X Y and X, Z independent
    standard normal, the boundary is the minimum over all real t of E[max(t V - Z, 0)^2].

    Parameters
    ----------
    gamma
        Signal strength, the standard deviation of x'beta: a number or an array of any
        shape, 0 or more. Infinity is allowed, and gives 0.

    Returns
    -------
    float or ndarray
        The boundary, in [0, 0.5], of the shape of ``gamma``: 0.5 for gamma = 0,
        decreasing. Accurate to 1e-9.

    Raises
    ------
    ValueError
        If a value is negative, not a number or no number at all.

    Examples
    --------
    >>> round(mle_boundary(2.0), 3)
    0.345
    """
    strength = _numbers("gamma", gamma, "0 or more", lambda value: value >= 0)
    capped = np.minimum(strength, 1e100).reshape(-1)  # the square of more overflows
    kappa = np.where(np.isinf(strength), 0.0, _boundary(capped).reshape(strength.shape))
    return kappa if strength.ndim else float(kappa)


def mle_exists(kappa: ArrayLike, gamma: ArrayLike) -> Any:
    """Say whether the estimate exists in large samples (Candes and Sur 2020).

    Parameters
    ----------
    kappa
        Regressors per observation, p / n, in (0, 1): a number or an array.
    gamma
        Signal strength as for :func:`mle_boundary`; broadcast against ``kappa``.

    Returns
    -------
    bool or ndarray of bool
        True where kappa is below the boundary: there the probability that the estimate
        exists tends to 1, above it to 0. In a finite sample the change is gradual; its
        width is of the order of n to the power -1/2.

    Raises
    ------
    ValueError
        As for :func:`mle_boundary`, and if ``kappa`` is not in (0, 1).
    """
    ratio = _numbers("kappa", kappa, "between 0 and 1", lambda value: (value > 0) & (value < 1))
    exists = ratio < mle_boundary(gamma)
    return exists if np.ndim(exists) else bool(exists)


def mle_inflation(kappa: float, gamma: float) -> tuple[float, float]:
    r"""Return the factor alpha and the scale sigma of the estimates (Sur and Candes 2019).

    With independent regressors of variance v, the estimate of coefficient j is in large
    samples normal, with mean ``alpha * beta[j]`` and standard deviation
    ``sigma / sqrt(n * v)``. The paper's regressors have v = 1 / n, so that sigma, its
    sigma_star, is there the standard deviation itself; for standardized regressors it is
    ``sigma / sqrt(n)``. As kappa goes to 0, alpha goes to 1 and sigma to the classical
    1 / sqrt(E[rho''(gamma X)]), one over the root of the Fisher information of an
    observation. All this is for coefficients that are each a small part of the signal.

    Parameters
    ----------
    kappa
        Regressors per observation, p / n, above 0 and below ``mle_boundary(gamma)``.
    gamma
        Signal strength, the standard deviation of x'beta, 0 or more. At 0 alpha is the
        limit for small gamma.

    Returns
    -------
    alpha, sigma : float
        Accurate to 1e-6, relative, for gamma up to 30 (1e-9 below 0.999 of the boundary).
        Both grow like 1 / (boundary - kappa) towards the boundary.

    Raises
    ------
    ValueError
        If the estimate does not exist for these values, or a value is out of range.
    ArithmeticError
        If kappa is so close to the boundary, by a factor of 1 - 1e-5, that the equations
        are too ill-conditioned to be solved.

    Notes
    -----
    The solution of Eq. 5 of the paper, three equations in (alpha, sigma, lambda):

    .. math::

        \kappa^2 \sigma^2 &= E[2\rho'(Q_1) (\lambda \rho'(z))^2] \\
        0 &= E[\rho'(Q_1) Q_1 \lambda \rho'(z)] \\
        1 - \kappa &= E[2\rho'(Q_1) / (1 + \lambda \rho''(z))]

    rho(t) = log(1 + exp(t)); Q1 is normal with variance gamma^2 and
    Q2 = -alpha Q1 + sqrt(kappa) sigma N(0, 1); z, the proximal point of Q2, solves
    z + lambda rho'(z) = Q2. The second equation is used as
    kappa alpha = E[2 rho''(Q1) lambda rho'(z)], which Stein's lemma and the third make of
    it, and which still says something at gamma = 0.

    Examples
    --------
    >>> alpha, sigma = mle_inflation(0.2, 5**0.5)
    >>> round(alpha, 3), round(sigma, 3)
    (1.499, 4.744)
    """
    ratio = _numbers("kappa", kappa, "between 0 and 1", lambda value: (value > 0) & (value < 1))
    strength = _numbers("gamma", gamma, "0 or more", lambda value: value >= 0)
    if ratio.ndim or strength.ndim:
        raise ValueError("kappa and gamma must be single numbers: call once for each pair.")
    return _inflation(float(ratio), float(strength))


@lru_cache(maxsize=4096)
def _inflation(kappa: float, gamma: float) -> tuple[float, float]:
    """Solve the three equations, following the solution from a small ratio to ``kappa``."""
    boundary = mle_boundary(gamma)
    if kappa >= boundary:
        raise ValueError(
            f"kappa = {kappa:g} is not below the boundary {boundary:.6g} of gamma = {gamma:g}: "
            "the maximum likelihood estimate does not exist there. Take more observations, "
            "fewer regressors or a weaker signal (see mle_boundary)."
        )
    if kappa > (1 - _NEAREST) * boundary:
        raise ArithmeticError(
            f"kappa = {kappa:.10g} is too close to the boundary {boundary:.10g} of "
            f"gamma = {gamma:g} for the equations to be solved: choose a smaller one."
        )
    # The solution grows like 1 / (boundary - kappa): equal steps of its logarithm.
    log_gap = math.log1p(-kappa / boundary)
    n_steps = 1 + math.ceil(-2 * log_gap)
    path = -boundary * np.expm1(log_gap * np.arange(1, n_steps + 1) / n_steps)
    x, dx = _sinh_grid(1 / max(1.0, gamma), _REACH)
    information = (dx * _normal(x)) @ (expit(gamma * x) * expit(-gamma * x))
    unknowns = np.array([1.0, math.sqrt(path[0] / information), path[0] / information])
    for ratio in path:
        # The solver's differences are relative: its variables are to be near 1, not 0.
        solution = optimize.root(
            lambda x, start, ratio: _residuals(start * np.exp(x - 1), ratio, gamma),
            np.ones(3),
            args=(unknowns, ratio),
            tol=1e-12,
            options={"maxfev": 200},
        )
        if not np.max(np.abs(solution.fun)) < 1e-12:
            raise ArithmeticError(
                f"The equations have not been solved at kappa = {kappa:g}, gamma = {gamma:g}: "
                f"{solution.message}"
            )
        unknowns = unknowns * np.exp(solution.x - 1)
    alpha, noise, _ = unknowns
    return float(alpha), float(noise / math.sqrt(kappa))


def _residuals(unknowns: Array, kappa: float, gamma: float) -> Array:
    """Return the relative errors of the three equations.

    The unknowns are alpha, noise = sqrt(kappa) * sigma, and lambda. The integral over Q2
    is taken over its proximal point z, where Q2 = z + lambda rho'(z) needs no solving;
    inside it, Q1 given Q2 is normal.
    """
    alpha, noise, lam = unknowns
    sd = math.hypot(alpha * gamma, noise)  # of Q2
    # z changes fastest near 0 or, if lambda dominates, where lambda rho'(z) is near the noise.
    center = -math.log1p(lam / max(noise, 1.0))
    z, dz = _sinh_grid(min(sd, 1.0), _REACH * sd - center, center)
    success = expit(z)
    slope = success * (1 - success)
    q2 = z + lam * success
    density = dz * _normal(q2 / sd) / sd

    q1 = (-alpha * (gamma / sd) ** 2 * q2)[:, np.newaxis] + gamma * noise / sd * _X
    success1 = expit(q1)
    probability = 2 * success1 @ _X_WEIGHT
    information = 2 * (success1 * (1 - success1)) @ _X_WEIGHT
    dq2 = 1 + lam * slope
    return (
        np.array(
            [
                (density * dq2) @ (probability * (lam * success) ** 2) / (kappa * noise**2),
                (density * dq2) @ (information * lam * success) / (kappa * alpha),
                density @ (probability * lam * slope) / kappa,
            ]
        )
        - 1.0
    )


def _boundary(gamma: Array) -> Array:
    """Return the boundary at the finite values ``gamma`` of shape (m,).

    The expectation over Z is known: for a = t V, E[max(a - Z, 0)^2] is
    (1 + a^2) Phi(a) + a phi(a). Its mean over V, whose density is 2 phi(v) rho'(gamma v),
    is convex in t, and so is its derivative: Newton's method converges from anywhere. The
    minimum lies between -0.399 gamma (small gamma) and -0.378 gamma (large gamma).
    """
    gamma = gamma[:, np.newaxis]
    scale = 1 / np.maximum(gamma, 1.0)  # of the logistic function
    v, dv = _sinh_grid(scale, _REACH)
    weight = dv * _normal(v) * expit(gamma * v)
    weight /= weight.sum(axis=1, keepdims=True)
    t = -0.38 * gamma
    for _ in range(6):
        slope = weight * v * (t * v * ndtr(t * v) + _normal(t * v))
        curvature = weight * v**2 * ndtr(t * v)
        t = t - slope.sum(axis=1, keepdims=True) / curvature.sum(axis=1, keepdims=True)
    a = t * v
    return (weight * ((1 + a**2) * ndtr(a) + a * _normal(a))).sum(axis=1)


def _sinh_grid(scale: Any, reach: float, center: float = 0.0) -> tuple[Array, Array]:
    """Return points center + scale * sinh(u) up to ``reach`` from the center, and weights.

    On a uniform grid of u the sum converges exponentially for analytic integrands, the
    points are dense where the logistic function is steep, and their number grows with
    the logarithm of reach / scale only. ``scale`` of shape (m, 1) gives m grids.
    """
    end = np.arcsinh(reach / scale)
    n = math.ceil(np.max(end, initial=0.0) / _STEP)
    u = end * np.linspace(-1, 1, 2 * n + 1)
    return center + scale * np.sinh(u), scale * np.cosh(u) * end / n


def _normal(x: Array) -> Array:
    """Return the standard normal density."""
    return np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)


# For an integral over Q1 given Q2, whose standard deviation is below 2.7 at every solution.
_X = np.linspace(-_REACH, _REACH, 73)
_X_WEIGHT = _normal(_X) / _normal(_X).sum()


def _numbers(name: str, value: ArrayLike, expected: str, is_valid: Callable[[Array], Any]) -> Array:
    """Return ``value`` as float64, or raise a ValueError that names the argument."""
    array = np.asarray(value)
    if array.dtype.kind not in "iuf" or not np.all(is_valid(array)):
        raise ValueError(f"{name} must be a number {expected}, or an array of such; got {value!r}.")
    return array.astype(np.float64)
