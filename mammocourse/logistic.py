"""Logistic regression by maximum likelihood, and whether its maximum exists.

The model is Eq. 3 of the thesis, the log-likelihood Eq. 6, the pseudo-R2 Eq. 7
and the likelihood-ratio statistic Eq. 8 (section 3.2). The solvers are those of
scikit-learn; this module adds what they leave open: the value of the likelihood
and its tests, the degrees of freedom of a rank-deficient design, and a verdict
on whether a finite maximum likelihood estimate exists at all.

It exists if and only if the two classes *overlap* (Albert and Anderson 1984).
If a hyperplane separates them, completely or with points of both classes on
the plane itself, the likelihood only increases as the coefficients grow, and
what a solver prints is the place where its tolerance stopped it.

References
----------
Albert, A. and Anderson, J. A. (1984). On the existence of maximum likelihood
estimates in logistic regression models. Biometrika 71, 1-10.

Konis, K. (2007). Linear programming algorithms for detecting separated data in
binary logistic regression models. DPhil thesis, University of Oxford.

Bach, F. (2010). Self-concordant analysis for logistic regression. Electronic
Journal of Statistics 4, 384-414.
"""

from __future__ import annotations

import math
import numbers
import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg, optimize, sparse, special, stats
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from mammocourse.lasso import LassoPath, lasso_path

__all__ = [
    "LassoPath",
    "LikelihoodRatio",
    "LogisticMLE",
    "Separation",
    "SeparationError",
    "SeparationWarning",
    "detect_separation",
    "lasso_path",
    "likelihood_ratio_test",
    "mcfadden_r2",
]

Array = NDArray[np.float64]

_SOLVERS = ("lbfgs", "saga", "newton-cg")
_ON_SEPARATION = ("warn", "raise", "ignore")
_DEFAULT_TOL = {"lbfgs": 1e-6, "newton-cg": 1e-6, "saga": 1e-4}
_DEFAULT_MAX_ITER = 10_000

# A point x lies on the plane with normal b where |b'x| is below this fraction of
# |b| |x|. Rounding is near 1e-13, the feasibility tolerance of HiGHS 1e-10 at best.
_ON_THE_PLANE = 1e-9


class SeparationWarning(UserWarning):
    """The classes are separable, so the maximum likelihood estimate does not exist."""


class SeparationError(ValueError):
    """The classes are separable and ``on_separation="raise"`` was asked for."""


class LikelihoodRatio(NamedTuple):
    """Result of :func:`likelihood_ratio_test`.

    Attributes
    ----------
    statistic : float
        Twice the difference of the log-likelihoods, 0 or larger.
    df : int
        Degrees of freedom.
    pvalue : float
        Probability of a larger statistic under the null model, in [0, 1].
    """

    statistic: float
    df: int
    pvalue: float


def mcfadden_r2(llf: float, llnull: float) -> float:
    """McFadden's pseudo-R2, ``1 - llf / llnull`` (thesis, section 3.2, Eq. 7).

    Parameters
    ----------
    llf : float
        Log-likelihood of the fitted model, at most 0.
    llnull : float
        Log-likelihood of the null model, below 0.

    Returns
    -------
    float
        0 for a model no better than the null model, 1 for probabilities of 1
        on every outcome; negative if the model is worse than the null model.

    Raises
    ------
    ValueError
        If a value is not a finite number, ``llf`` is above 0, or ``llnull`` is not
        below 0.
    """
    _check_log_likelihoods(llf, llnull)
    if llnull == 0:
        raise ValueError(
            "llnull is 0: the null model already predicts every outcome with certainty "
            "(only one class in y?), so there is nothing to compare with."
        )
    return 1.0 - float(llf) / float(llnull)


def likelihood_ratio_test(llf: float, llnull: float, df: int) -> LikelihoodRatio:
    """Likelihood-ratio test of nested models (thesis, section 3.2, Eq. 8).

    The statistic ``2 * (llf - llnull)`` is referred to the chi-square
    distribution. That needs maximum likelihood estimates that exist, and many
    more observations than coefficients; neither can be seen from the two
    numbers alone (:class:`LogisticMLE` checks the first).

    Parameters
    ----------
    llf : float
        Maximized log-likelihood of the larger model, at most 0.
    llnull : float
        Maximized log-likelihood of the model nested in it; not above ``llf``
        (a difference of rounding size counts as 0).
    df : int
        Number of free coefficients that the larger model adds: the difference of
        the *ranks* of the designs, not of their numbers of columns. At least 1.

    Returns
    -------
    LikelihoodRatio
        ``(statistic, df, pvalue)``.

    Raises
    ------
    ValueError
        If a log-likelihood is not a finite number or above 0, ``llf`` is below
        ``llnull``, or ``df`` is not a positive integer.
    """
    _check_log_likelihoods(llf, llnull)
    if not (_number(df) >= 1 and _number(df).is_integer()):
        raise ValueError(
            f"df is {df!r}; it must be a positive integer, the number of free "
            "coefficients that the larger model adds."
        )
    statistic = 2.0 * (float(llf) - float(llnull))
    if statistic < -1e-8 * max(1.0, abs(float(llnull))):
        raise ValueError(
            f"llf is {llf!r}, below llnull {llnull!r}; a larger model fits at least as well "
            "at its maximum. Are the arguments in the right order, is the null model nested "
            "in the other, did the solver converge?"
        )
    statistic = max(statistic, 0.0)
    return LikelihoodRatio(statistic, int(df), float(stats.chi2.sf(statistic, int(df))))


def _number(value: object) -> float:
    """Return a real number as a float, NaN for anything else (a bool, an int too large)."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.nan


def _check_log_likelihoods(llf: float, llnull: float) -> None:
    for name, value in (("llf", llf), ("llnull", llnull)):
        if not math.isfinite(_number(value)):
            raise ValueError(f"{name} is {value!r}; it must be a finite number, a log-likelihood.")
        if value > 0:
            raise ValueError(
                f"{name} is {value!r}; the log-likelihood of a binary response is at most 0. "
                "Give the log-likelihood itself, not its negative or a deviance."
            )


@dataclass(frozen=True)
class Separation:
    """Verdict of :func:`detect_separation`; true in a condition when separated.

    Attributes
    ----------
    separated : bool
        True if the classes are completely or quasi-completely separated: the
        maximum likelihood estimate does not exist.
    quasi : bool
        True for quasi-complete separation only.
    direction : ndarray of shape (1 + n_features,) or None
        ``[intercept, coefficients]`` of a separating plane on the scale of ``X``,
        scaled so that the largest signed distance ``s * (b0 + x @ b)`` (s = 1 for
        y = 1 and -1 for y = 0) is 1; None if not separated.
    """

    separated: bool
    quasi: bool
    direction: Array | None

    def __bool__(self) -> bool:
        return self.separated


_OVERLAP = Separation(False, False, None)


def detect_separation(X: ArrayLike, y: ArrayLike, *, fit_intercept: bool = True) -> Separation:
    """Decide whether a plane separates the classes (Albert and Anderson 1984).

    With s = 1 where y = 1 and s = -1 where y = 0, the classes are separated
    *completely* if some (b0, b) has ``s * (b0 + x @ b) > 0`` for every row, and
    *quasi-completely* if that fails but some (b0, b) has ``>= 0`` for every row
    and ``> 0`` for at least one. Otherwise they overlap, and only then does a
    finite maximum likelihood estimate exist.

    The answer comes from the first certificate found: a plane with every row on
    its right side; a point near which the likelihood must have its maximum (the
    Newton decrement times the square root of the largest leverage is below 1/2,
    after Bach 2010); or, for the rest, single columns and then linear programs
    (Konis 2007) that are given the rows a few at a time. Every plane that is
    returned has been checked on the data: a row counts as on the plane if
    ``abs(b0 + x @ b)`` is below 1e-9 of the product of the norms of (1, x) and
    (b0, b), in standardized columns.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Finite numbers of any real type. float32 values are taken as they are: their
        rounding, 1e-7, can move a row off a plane on which it lies in exact numbers.
    y : array-like of shape (n_samples,)
        Classes, 0 or 1. With a single class the separation is complete.
    fit_intercept : bool, default True
        Whether the plane may have an intercept.

    Returns
    -------
    Separation
        With ``separated``, ``quasi`` and ``direction``; true in a condition when separated.

    Raises
    ------
    ValueError
        If X is not a finite matrix, or y is not a vector of as many zeros and ones.
    """
    X = _check_features(X)
    y = _check_classes(y, len(X))
    design = _Design.of(X, fit_intercept)
    verdict, _ = _existence(design, y, np.zeros(design.rank))
    return verdict


@dataclass(frozen=True)
class _Design:
    """Standardized columns and an orthogonal basis of the space they span.

    Predictors are ``basis @ theta``, where ``basis = standardized @ weights`` and
    ``basis.T @ basis`` is n times the identity.

    Attributes
    ----------
    standardized : ndarray of shape (n, k)
        Intercept column (if any) and the columns that are not constant,
        with mean 0 (if there is an intercept) and standard deviation 1.
    weights : ndarray of shape (k, rank)
    columns : ndarray of bool, shape (p,)
        The columns of X that ``standardized`` holds.
    mean, scale : ndarray of shape (p,)
    fit_intercept : bool
    """

    standardized: Array
    weights: Array
    columns: NDArray[np.bool_]
    mean: Array
    scale: Array
    fit_intercept: bool

    @property
    def rank(self) -> int:
        return self.weights.shape[1]

    @cached_property
    def basis(self) -> Array:
        return self.standardized @ self.weights

    @classmethod
    def of(cls, X: Array, fit_intercept: bool) -> _Design:
        """Standardize ``X`` (n, p) and find the space that its columns span."""
        n, p = X.shape
        # To entries below 1: powers of two change no digit, squares stay in range.
        size, exponent = np.frexp(np.abs(X).max(axis=0))
        X = np.ldexp(X, -exponent)
        if fit_intercept:
            scaler = StandardScaler(copy=False)
            standardized = scaler.fit_transform(X)
            mean, scale = scaler.mean_, scaler.scale_
            columns = scale < 1  # 1 is the scaler's mark for constant up to rounding
            standardized = standardized[:, columns]
            # Once more: where a mean is large, its own rounding error is left over.
            standardized -= standardized.mean(axis=0)
        else:
            mean, scale = np.zeros(p), np.sqrt(np.mean(X**2, axis=0))
            columns = scale > 0
            standardized = X[:, columns] / scale[columns]
        singular, vectors = _principal_axes(standardized, size[columns] / scale[columns])
        mean = np.ldexp(mean, exponent)
        scale = np.where(columns, np.ldexp(scale, exponent), 1.0)
        weights = vectors * (math.sqrt(n) / singular)
        if fit_intercept:
            standardized = np.column_stack([np.ones(n), standardized])
            weights = linalg.block_diag(1.0, weights)
        return cls(standardized, weights, columns, mean, scale, fit_intercept)

    def to_original(self, weights: Array) -> tuple[float, Array]:
        """Intercept and coefficients (p,) on the scale of X of standardized weights (k,)."""
        coef = np.zeros(len(self.columns))
        coef[self.columns] = weights[int(self.fit_intercept) :] / self.scale[self.columns]
        intercept = weights[0] - coef @ self.mean if self.fit_intercept else 0.0
        return float(intercept), coef

    def to_standardized(self, intercept: float, coef: Array) -> Array:
        """Standardized weights (k,) of an intercept and coefficients (p,) on the scale of X."""
        slopes = (coef * self.scale)[self.columns]
        if not self.fit_intercept:
            return slopes
        return np.concatenate([[intercept + coef @ self.mean], slopes])


def _principal_axes(Z: Array, size: Array) -> tuple[Array, Array]:
    """Singular values above rounding, and their right singular vectors, of ``Z`` (n, k).

    The entries of Z carry the rounding of numbers of ``size`` (k,), those of the
    columns before their means were subtracted, in standard deviations.

    The eigenvectors of Z'Z are cheap but squaring costs half of the digits: they
    are used where no singular value falls in between, that is where every
    direction of a small eigenvalue is mapped to zero by Z itself.

    Returns
    -------
    singular : ndarray of shape (rank,)
    vectors : ndarray of shape (k, rank)
    """

    def rounding(vectors: Array) -> Array:
        norms = np.linalg.norm(size[:, None] * vectors, axis=0)
        return max(Z.shape) * np.finfo(float).eps * norms

    if Z.shape[0] >= Z.shape[1] > 0:
        eigenvalues, vectors = linalg.eigh(Z.T @ Z)
        large = eigenvalues > 1e-8 * eigenvalues[-1]
        residual = np.linalg.norm(Z @ vectors[:, ~large], axis=0)
        if np.all(residual <= rounding(vectors[:, ~large]) * math.sqrt(eigenvalues[-1])):
            return np.sqrt(eigenvalues[large]), vectors[:, large]
    _, singular, vt = np.linalg.svd(np.linalg.qr(Z, mode="r"), full_matrices=False)
    large = singular > rounding(vt.T) * np.max(singular, initial=0.0)
    return singular[large], vt[large].T


def _certify(design: _Design, y: Array, weights: Array) -> Separation:
    """Check on every row whether standardized ``weights`` (k,) separate the classes."""
    margins = (2 * y - 1) * (design.standardized @ weights)
    size = np.linalg.norm(design.standardized, axis=1) * np.linalg.norm(weights)
    on_plane = np.abs(margins) <= _ON_THE_PLANE * size
    if np.any((margins < 0) & ~on_plane) or np.all(on_plane):
        return _OVERLAP
    intercept, coef = design.to_original(weights / np.max(margins))
    return Separation(True, bool(on_plane.any()), np.concatenate([[intercept], coef]))


def _existence(
    design: _Design, y: Array, theta: Array, *, polish: bool = False
) -> tuple[Separation, Array]:
    """Decide whether the maximum likelihood estimate exists, cheapest certificate first.

    Parameters
    ----------
    design : _Design
    y : ndarray of shape (n,)
    theta : ndarray of shape (rank,)
        Where to start: the fit of a solver, or zeros.
    polish : bool
        Go on to the maximum, where there is one.

    Returns
    -------
    Separation
    theta : ndarray of shape (rank,)
        The last point; with ``polish``, the maximum likelihood estimate if it exists.
    """
    if design.rank == 0:
        return _OVERLAP, theta
    theta, exists = _newton(design.basis, y, theta, polish=polish)
    if exists:
        return _OVERLAP, theta
    verdict = _certify(design, y, design.weights @ theta)
    if verdict.separated and not verdict.quasi:
        return verdict, theta
    verdict = _separate_by_linear_programs(design, y, theta)
    if polish and not verdict.separated:
        theta, exists = _newton(design.basis, y, theta, polish=True, overlap=True)
        if not exists:
            warnings.warn(
                "The classes overlap, but so narrowly that Newton's method has not reached "
                "the maximum of the likelihood: coef_ and llf_ are inexact.",
                ConvergenceWarning,
                stacklevel=4,
            )
    return verdict, theta


def _newton(
    basis: Array, y: Array, theta: Array, *, polish: bool, overlap: bool = False
) -> tuple[Array, bool]:
    """Newton's method until the maximum is certain, or every margin is positive.

    Let g and H be the gradient and Hessian of the negative log-likelihood,
    lambda = sqrt(g' H^-1 g) the Newton decrement and m = max_i sqrt(x_i' H^-1 x_i).
    Along any v with v'Hv = 1 the second derivative at distance t is at least
    exp(-m t), because |x_i'v| <= m bounds how fast each logistic term changes. So
    the slope is at least -lambda + (1 - exp(-m t)) / m, which turns positive if
    lambda * m < 1: the likelihood has a maximum. Below 1/2 full Newton steps
    converge quadratically (Bach 2010), and the factor 2 covers rounding. For
    separated classes the product is 1 or larger in exact arithmetic, but H tends to
    a singular matrix, so that an ill-conditioned H proves nothing unless ``overlap``
    is known already.

    Returns
    -------
    theta : ndarray of shape (rank,)
        With ``polish``, the maximum; else the first point with an answer.
    exists : bool
        True if it is certain that the maximum exists.
    """
    signs = 2 * y - 1
    exists = False
    previous = math.inf
    for _ in range(200 if overlap else 20):
        margins = signs * (basis @ theta)
        if np.min(margins) > 0:
            break
        gradient = -basis.T @ (signs * special.expit(-margins))
        variance = special.expit(margins) * special.expit(-margins)
        try:
            factor = linalg.cholesky(basis.T @ (variance[:, None] * basis), lower=True)
        except linalg.LinAlgError:
            break
        pivots = factor.diagonal()
        if pivots.min() < 1e-5 * pivots.max() and not overlap:
            break
        scaled = linalg.solve_triangular(factor, gradient, lower=True)
        step = -linalg.solve_triangular(factor, scaled, lower=True, trans="T")
        decrement = float(np.linalg.norm(scaled))
        # m^2 is at least the average rank / sum(variance), which costs nothing.
        if not exists and decrement * math.sqrt(len(theta) / variance.sum()) < 0.5:
            leverage = linalg.solve_triangular(factor, basis.T, lower=True)
            exists = decrement * math.sqrt(np.max(np.sum(leverage**2, axis=0))) < 0.5
        if exists and not polish:
            break
        length = 1.0
        if not exists:
            value = -_log_likelihood(margins)
            change = signs * (basis @ step)
            while -_log_likelihood(margins + length * change) > value - length * decrement**2 / 4:
                length /= 2
                if length < 1e-10:
                    return theta, False
        theta = theta + length * step
        if exists and (decrement < 1e-9 or decrement > previous / 2):
            break
        previous = decrement if exists else math.inf
    return theta, exists


def _log_likelihood(margins: Array) -> float:
    """Log-likelihood (Eq. 6) from ``s * (b0 + x @ b)``, without overflow or cancellation."""
    return -float(np.sum(np.logaddexp(0.0, -margins)))


def _separate_by_single_columns(design: _Design, y: Array) -> Separation:
    """Add up the planes of all columns that separate the classes on their own.

    A dummy variable that is 1 in one class only is the usual case.
    """
    zeros, ones = design.standardized[y == 0], design.standardized[y == 1]
    weights = np.zeros(len(design.weights))
    for sign in (1.0, -1.0):
        low = (sign * zeros).max(axis=0, initial=-np.inf)
        high = (sign * ones).min(axis=0, initial=np.inf)
        if design.fit_intercept:
            found = low <= high
            found[0] = False
            weights[0] -= np.sum((low + high)[found] / 2)
        else:
            found = (low <= 0) & (high >= 0)
        weights[found] += sign
    return _certify(design, y, weights)


def _separate_by_linear_programs(design: _Design, y: Array, theta: Array) -> Separation:
    """Decide separation by linear programs; ``theta`` orders the rows, hardest first."""
    rows = (2 * y - 1)[:, None] * design.basis
    order = np.argsort(rows @ theta)
    verdict = _separate_by_single_columns(design, y)
    if not verdict.separated:
        plane = _solve_by_rows(rows, order, widen=False)
        verdict = _certify(design, y, design.weights @ plane)
    if verdict.quasi:
        # A plane that touches points may still be tilted away from all of them.
        plane = _solve_by_rows(rows, order, widen=True)
        tilted = _certify(design, y, design.weights @ plane)
        if tilted.separated and not tilted.quasi:
            return tilted
    return verdict


def _solve_by_rows(rows: Array, order: NDArray[np.intp], *, widen: bool) -> Array:
    """Solve a separation LP over all rows, adding violated rows to a small set.

    Over theta in [-1, 1]^rank: the largest mean of ``rows @ theta`` subject to
    ``rows @ theta >= 0`` (zero if and only if the classes overlap); or, with
    ``widen``, the largest t subject to ``rows @ theta >= t`` (zero unless the
    separation is complete).

    Returns
    -------
    ndarray of shape (rank,)
        The solution, zeros if there is no plane.
    """
    rank = rows.shape[1]
    batch = 2 * rank + 200
    active = order[:batch]
    objective = np.append(np.zeros(rank), -1.0) if widen else -rows.mean(axis=0)
    bounds = [(-1.0, 1.0)] * rank + ([(0.0, None)] if widen else [])
    while True:
        constraints = -rows[active]
        if widen:
            constraints = np.column_stack([constraints, np.ones(len(active))])
        result = optimize.linprog(
            objective,
            A_ub=constraints,
            b_ub=np.zeros(len(active)),
            bounds=bounds,
            method="highs",
            options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
        )
        if result.status != 0:
            raise RuntimeError(
                "The linear program that looks for a separating plane was not solved "
                f"(HiGHS: {result.message}). Remove nearly collinear columns of X and try again."
            )
        theta, width = result.x[:rank], result.x[rank] if widen else 0.0
        if np.abs(theta).max() < 1e-6 or (widen and width < _ON_THE_PLANE):
            return np.zeros(rank)  # in exact arithmetic the largest entry is 0 or 1
        slack = rows @ theta - width
        slack[active] = np.inf
        violated = np.flatnonzero(slack < -_ON_THE_PLANE)
        if len(violated) == 0:
            return theta
        worst = violated[np.argsort(slack[violated])[:batch]]
        active = np.concatenate([active, worst])


class LogisticMLE(ClassifierMixin, BaseEstimator):
    """Logistic regression without a penalty, with its likelihood inference.

    A wrapper of scikit-learn's ``LogisticRegression(C=np.inf)`` for y in {0, 1}
    (thesis, section 3.2, Eqs. 3 and 5 to 8) that also says whether the maximum
    likelihood estimate exists. If it does not, the fit is still returned, with
    ``separated_`` True and ``lr_pvalue_`` NaN.

    Parameters
    ----------
    solver : {"lbfgs", "saga", "newton-cg"}, default "lbfgs"
        Solver of scikit-learn. "lbfgs" and "newton-cg" work on standardized
        columns, which changes nothing but their speed, and with the default
        ``tol`` and ``max_iter`` Newton steps then lead to the maximum, where it
        exists, to about 1e-9 standard errors. Otherwise, as always for "saga", the
        fit is left as it stops, with a ConvergenceWarning if the log-likelihood is
        more than 0.01 below its maximum.
    fit_intercept : bool, default True
        Without an intercept the null model has none either: its probabilities
        are 1/2.
    standardize : bool, default False
        Give "saga" columns of mean 0 and standard deviation 1 (without an
        intercept: of mean square 1). The estimate does not depend on it, an early
        stop does. No effect on the other solvers.
    tol : float or None, default None
        Tolerance of the solver, above 0. None: 1e-4 for "saga", 1e-6 for the others.
    max_iter : int or None, default None
        Most iterations (epochs for "saga"), at least 1. None: 10,000.
    random_state : int, RandomState or None, default None
        Order in which "saga" visits the rows.
    on_separation : {"warn", "raise", "ignore"}, default "warn"
        Issue a :class:`SeparationWarning`, raise a :class:`SeparationError`, or
        say nothing when the classes are separated.

    Attributes
    ----------
    coef_ : ndarray of shape (1, n_features)
        Change of the log-odds per unit of each column, always on the scale of X;
        ``coef_ * scale_`` are the standardized coefficients. If the columns are
        collinear, "lbfgs" and "newton-cg" give the solution whose standardized
        coefficients have the smallest norm (0 for a constant column), "saga" the
        one it arrives at; the probabilities are the same.
    intercept_ : ndarray of shape (1,)
        Log-odds at x = 0.
    mean_, scale_ : ndarray of shape (n_features,)
        Column means and standard deviations (1 where constant); without an
        intercept zeros and root mean squares.
    classes_ : ndarray of shape (2,)
        0 and 1.
    n_features_in_ : int
    n_iter_ : int
        Iterations (epochs for "saga") of the solver.
    llf_, llnull_ : float
        Log-likelihood of the fit and of the null model.
    pseudo_r2_ : float
        McFadden's, Eq. 7.
    lr_stat_ : float
        Likelihood-ratio statistic, Eq. 8.
    lr_df_ : int
        Its degrees of freedom: ``rank_`` less 1 for the intercept.
    lr_pvalue_ : float
        Its p-value by the chi-square distribution; NaN under separation.
    rank_ : int
        Rank of the design, intercept column included.
    separated_ : bool
        True if the maximum likelihood estimate does not exist.

    Raises
    ------
    ValueError
        From ``fit`` and ``predict``, if an argument is not as described, X is not
        a finite matrix, or y is not a vector of zeros and ones with both present.
    SeparationError
        From ``fit``, if the classes are separated and ``on_separation="raise"``.

    Examples
    --------
    >>> import numpy as np
    >>> model = LogisticMLE().fit([[0.0], [1.0], [2.0], [3.0]], [0, 1, 0, 1])
    >>> print(f"{model.coef_[0, 0]:.3f} {model.lr_stat_:.3f} {model.lr_df_}")
    0.908 0.850 1
    """

    def __init__(
        self,
        solver: Literal["lbfgs", "saga", "newton-cg"] = "lbfgs",
        *,
        fit_intercept: bool = True,
        standardize: bool = False,
        tol: float | None = None,
        max_iter: int | None = None,
        random_state: int | np.random.RandomState | None = None,
        on_separation: Literal["warn", "raise", "ignore"] = "warn",
    ) -> None:
        self.solver = solver
        self.fit_intercept = fit_intercept
        self.standardize = standardize
        self.tol = tol
        self.max_iter = max_iter
        self.random_state = random_state
        self.on_separation = on_separation

    def fit(self, X: ArrayLike, y: ArrayLike) -> LogisticMLE:
        """Fit the model.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Finite numbers of any real type; computed in float64.
        y : array-like of shape (n_samples,)
            Classes, 0 or 1, both present.

        Returns
        -------
        LogisticMLE
            The fitted estimator.
        """
        self._check_parameters()
        X = _check_features(X, self, reset=True)
        y = _check_classes(y, len(X))
        if np.ptp(y) == 0:
            raise ValueError(
                f"y holds 1 class only, {y[0]:.0f}. The maximum likelihood estimate needs both "
                "classes, 0 and 1; check how the rows were selected."
            )
        design = _Design.of(X, self.fit_intercept)
        if design.rank == 0:
            raise ValueError(
                "Every entry of X is 0 and fit_intercept is False: there is nothing to estimate."
            )
        self.mean_, self.scale_ = design.mean, design.scale
        self.classes_ = np.array([0, 1])
        self.rank_ = design.rank
        intercept, coef = self._solve(design, X, y)
        intercept, coef, verdict = self._examine(design, y, intercept, coef)
        self.separated_ = verdict.separated
        self.coef_, self.intercept_ = coef[None, :], np.array([intercept])
        self._infer((2 * y - 1) * (X @ coef + intercept), y.mean())
        if verdict.separated:
            self._report(verdict)
        return self

    def _check_parameters(self) -> None:
        for name, allowed in (
            ("solver", _SOLVERS),
            ("on_separation", _ON_SEPARATION),
            ("fit_intercept", (True, False)),
            ("standardize", (True, False)),
        ):
            value = getattr(self, name)
            if not isinstance(value, (str, bool, np.bool_)) or value not in allowed:
                expected = ", ".join(map(str, allowed))
                raise ValueError(f"{name} is {value!r}; it must be one of {expected}.")
        if self.tol is not None and not 0 < _number(self.tol) < math.inf:
            raise ValueError(
                f"tol is {self.tol!r}; it must be a number above 0, or None for the default."
            )
        steps = _number(self.max_iter)
        if self.max_iter is not None and not (steps >= 1 and steps.is_integer()):
            raise ValueError(
                f"max_iter is {self.max_iter!r}; it must be a positive integer, "
                "or None for the default."
            )
        seed = self.random_state
        if not (
            seed is None
            or isinstance(seed, np.random.RandomState)
            or (isinstance(seed, numbers.Integral) and 0 <= seed < 2**32)
        ):
            raise ValueError(
                f"random_state is {seed!r}; it must be an integer from 0 to 2**32 - 1, "
                "a RandomState, or None."
            )

    def _solve(self, design: _Design, X: Array, y: Array) -> tuple[float, Array]:
        """Run the solver; return intercept and coefficients (p,) on the scale of X."""
        solver = LogisticRegression(
            C=np.inf,
            solver=self.solver,
            fit_intercept=self.fit_intercept,
            tol=_DEFAULT_TOL[self.solver] if self.tol is None else self.tol,
            max_iter=_DEFAULT_MAX_ITER if self.max_iter is None else int(self.max_iter),
            random_state=self.random_state,
        )
        standardize = self.standardize or self.solver != "saga"
        solver.fit((X - design.mean) / design.scale if standardize else X, y)
        self.n_iter_ = int(solver.n_iter_[0])
        intercept, coef = float(solver.intercept_[0]), solver.coef_[0]
        if standardize:
            coef = coef / design.scale
            intercept -= float(coef @ design.mean)
        return intercept, coef

    def _examine(
        self, design: _Design, y: Array, intercept: float, coef: Array
    ) -> tuple[float, Array, Separation]:
        """Decide whether the estimate exists; go on to it, or say how far it is."""
        weights = design.to_standardized(intercept, coef)
        verdict = _certify(design, y, weights)
        if verdict.separated and not verdict.quasi:
            return intercept, coef, verdict
        theta = design.basis.T @ (design.standardized @ weights) / len(y)
        verdict, theta = _existence(design, y, theta, polish=True)
        if verdict.separated:
            return intercept, coef, verdict
        if self.solver != "saga" and self.tol is None and self.max_iter is None:
            return *design.to_original(design.weights @ theta), verdict
        signs = 2 * y - 1
        maximum = _log_likelihood(signs * (design.basis @ theta))
        missing = maximum - _log_likelihood(signs * (design.standardized @ weights))
        if missing > 0.01:
            warnings.warn(
                f"{self.solver} stopped {missing:.3g} below the maximum of the log-likelihood: "
                "coef_, llf_ and lr_pvalue_ are inexact. Use a smaller tol, a larger max_iter "
                "or, with saga, standardize=True.",
                ConvergenceWarning,
                stacklevel=3,
            )
        return intercept, coef, verdict

    def _infer(self, margins: Array, share: float) -> None:
        """Set the likelihoods and their test; ``share`` is the mean of y."""
        n = len(margins)
        self.llf_ = _log_likelihood(margins)
        entropy = -special.xlogy(share, share) - special.xlogy(1 - share, 1 - share)
        self.llnull_ = -n * float(entropy if self.fit_intercept else math.log(2))
        self.pseudo_r2_ = mcfadden_r2(self.llf_, self.llnull_)
        self.lr_stat_ = 2 * (self.llf_ - self.llnull_)
        self.lr_df_ = self.rank_ - int(self.fit_intercept)
        if self.separated_:
            self.lr_pvalue_ = math.nan
        elif self.lr_df_ == 0:
            self.lr_pvalue_ = 1.0
        else:
            self.lr_pvalue_ = float(stats.chi2.sf(self.lr_stat_, self.lr_df_))

    def _report(self, verdict: Separation) -> None:
        if self.on_separation == "ignore":
            return
        if verdict.quasi:
            what = (
                "quasi-completely separated: a plane has points of the data on it, and every "
                "other point on the side of its class"
            )
        else:
            what = "completely separated: a plane has every point on the side of its class"
        message = (
            f"The classes are {what}. The maximum likelihood estimate does not exist: the "
            "likelihood keeps rising as the coefficients grow. coef_, llf_ "
            f"({self.llf_:.4g}), pseudo_r2_ and lr_stat_ ({self.lr_stat_:.6g}) only show where "
            "the solver stopped, and lr_pvalue_ is NaN. Remedies: fewer features, a ridge "
            "penalty (scikit-learn's LogisticRegression with a finite C), or Firth's penalized "
            "likelihood (the package firthmodels)."
        )
        if self.on_separation == "raise":
            raise SeparationError(message)
        warnings.warn(message, SeparationWarning, stacklevel=3)

    def decision_function(self, X: ArrayLike) -> Array:
        """Log-odds of class 1 (n_samples,) for the rows of ``X`` (n_samples, n_features)."""
        check_is_fitted(self)
        X = _check_features(X, self, reset=False)
        return X @ self.coef_[0] + self.intercept_[0]

    def predict_proba(self, X: ArrayLike) -> Array:
        """Probabilities of the classes 0 and 1 (n_samples, 2), Eq. 3."""
        log_odds = self.decision_function(X)
        return np.column_stack([special.expit(-log_odds), special.expit(log_odds)])

    def predict(self, X: ArrayLike) -> NDArray[np.int_]:
        """More probable class, 0 or 1 (n_samples,), of the rows of ``X``."""
        return (self.decision_function(X) > 0).astype(int)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags


def _check_features(
    X: ArrayLike, estimator: LogisticMLE | None = None, *, reset: bool = True
) -> Array:
    """Return ``X`` as a finite float64 matrix, or say what is wrong with it."""
    entries: Any = X if sparse.issparse(X) else np.asarray(X)
    shape = entries.shape
    if len(shape) != 2:
        remedy = "(n, 1) for one feature, (1, p) for one row"
        if len(shape) > 2:
            remedy = f"(n, {math.prod(shape[1:])}), with X.reshape(len(X), -1)"
        raise ValueError(
            f"X has shape {shape}; it must be (n_samples, n_features). "
            f"Reshape your data to {remedy}."
        )
    for dtype in (entries.dtype, *getattr(X, "dtypes", ())):  # of a pandas DataFrame
        if getattr(dtype, "kind", "O") in "mMc":
            raise ValueError(
                f"X has the dtype {dtype}; it must hold real numbers. Convert dates and "
                "durations first, for example to days. Complex data not supported."
            )
    options: dict[str, Any] = {"dtype": np.float64, "ensure_all_finite": False}
    if estimator is None:
        matrix = check_array(X, **options)
    else:
        matrix = validate_data(estimator, X, reset=reset, **options)
    bad = np.argwhere(~np.isfinite(matrix))
    if len(bad):
        row, column = bad[0]
        raise ValueError(
            f"X is {matrix[row, column]} in row {row}, column {column} (counted from 0), one of "
            f"{len(bad)} entries that are NaN or infinite. Impute or drop such rows first."
        )
    return matrix


def _check_classes(y: ArrayLike, n_samples: int) -> Array:
    """Return ``y`` as float64 zeros and ones, or say what is wrong with it."""
    classes = np.asarray(y)
    if classes.ndim != 1:
        raise ValueError(f"y has shape {classes.shape}; y should be a 1d array: use y.ravel().")
    if len(classes) != n_samples:
        raise ValueError(
            f"X has {n_samples} rows and y has {len(classes)} entries; they must be equal."
        )
    wrong = [value for value in dict.fromkeys(classes.tolist()) if value not in (0, 1)]
    if wrong:
        named = ", ".join(repr(value) for value in wrong[:5]) + (", ..." if len(wrong) > 5 else "")
        raise ValueError(
            f"y holds {named}; it must hold 0 and 1 only: recode the classes. "
            "Only binary classification is supported, and no continuous y."
        )
    return classes.astype(np.float64)
