"""Evaluation with its uncertainty: intervals, paired tests, operating points, calibration.

scikit-learn computes the metrics; this module adds what it leaves open: how far a
metric can be trusted. Images of one patient resemble each other, so they are not
independent cases: wherever a function takes ``groups`` (a patient per row), its
interval counts patients. Where a sample is too small for the stated coverage, the
function warns (:class:`IntervalWarning`); ``benchmarks/metrics.py`` measures it.

A score is any number that is larger for class 1; a case is called positive if its
score is at least the threshold. Eq. 9, 33 and 34 of the thesis are the accuracy, the
sensitivity and the specificity of :func:`classification_summary`.

References
----------
DeLong, E. R., DeLong, D. M. and Clarke-Pearson, D. L. (1988). Comparing the areas under
two or more correlated receiver operating characteristic curves. Biometrics 44, 837-845.

Sun, X. and Xu, W. (2014). Fast implementation of DeLong's algorithm for comparing the
areas under correlated receiver operating characteristic curves. IEEE Signal Processing
Letters 21, 1389-1393.

Obuchowski, N. A. (1997). Nonparametric analysis of clustered ROC curve data.
Biometrics 53, 567-578.

Wilson, E. B. (1927). Probable inference, the law of succession, and statistical
inference. Journal of the American Statistical Association 22, 209-212.

Korn, E. L. and Graubard, B. I. (1998). Confidence intervals for proportions with small
expected number of positive counts estimated from survey data. Survey Methodology 24,
193-201.

Vickers, A. J. and Elkin, E. B. (2006). Decision curve analysis. Medical Decision Making
26, 565-574.
"""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

__all__ = [
    "AUC",
    "AUCDifference",
    "Calibration",
    "ClassificationSummary",
    "Estimate",
    "IntervalWarning",
    "OperatingPoint",
    "PlattScaling",
    "calibration",
    "choose_threshold",
    "classification_summary",
    "decision_curve",
    "delong_test",
    "paired_bootstrap_auc",
    "platt_scaling",
    "predictive_values",
    "proportion_ci",
    "reliability_table",
    "roc_auc_ci",
    "sensitivity_at_specificity",
]

Array = NDArray[np.float64]
Codes = NDArray[np.intp]

_BLOCK = 2**21  # entries of a resampled block: a few arrays of 16 MiB
_ROUNDING = 1e-12  # of shares: 1 - 0.8 is below 0.2
_FEW_PATIENTS = 100
_FEW_OF_A_CLASS = 20
_HIGH_AUC = 0.95


class IntervalWarning(UserWarning):
    """The sample is outside the designs at which the coverage of the interval was measured."""


@dataclass(frozen=True, repr=False, eq=False)
class Estimate(float):
    """A number with its interval; behaves as the number itself.

    Attributes
    ----------
    value : float
        The estimate; NaN where it does not exist.
    low, high : float
        Limits of the interval.
    """

    value: float
    low: float
    high: float

    def __new__(cls, value: float, *_: float) -> Estimate:  # noqa: D102
        return super().__new__(cls, value)

    def __getnewargs__(self) -> tuple[Any, ...]:  # to copy and pickle
        return tuple(getattr(self, field.name) for field in fields(self))

    def __repr__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"

    __str__ = __repr__


@dataclass(frozen=True)
class AUC:
    """Result of :func:`roc_auc_ci`.

    Attributes
    ----------
    auc : float
        Share of the pairs of a case of class 1 and one of class 0 in which the first has
        the larger score; a tie counts 1/2.
    low, high : float
        Limits of the interval.
    standard_error : float
        On the scale of the AUC.
    method : {"delong", "bootstrap"}
    n_groups : int
        Number of independent units: patients, or rows without ``groups``.
    """

    auc: float
    low: float
    high: float
    standard_error: float
    method: str
    n_groups: int

    def __str__(self) -> str:
        return f"AUC {self.auc:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True)
class AUCDifference:
    """Result of :func:`delong_test` and :func:`paired_bootstrap_auc`.

    Attributes
    ----------
    auc1, auc2 : float
        AUC of each score.
    difference : float
        ``auc1 - auc2``.
    low, high : float
        Limits of the interval of the difference.
    standard_error : float
        Of the difference.
    statistic : float
        Difference over its standard error.
    pvalue : float
        Two-sided, of equal AUCs.
    """

    auc1: float
    auc2: float
    difference: float
    low: float
    high: float
    standard_error: float
    statistic: float
    pvalue: float

    def __str__(self) -> str:
        p = "p < 0.001" if self.pvalue < 0.0005 else f"p = {self.pvalue:.3f}"
        return f"difference {self.difference:.3f} [{self.low:.3f}, {self.high:.3f}], {p}"


# --- The area under the ROC curve ---------------------------------------------------------


def roc_auc_ci(
    y: ArrayLike,
    s: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    method: Literal["delong", "bootstrap"] = "delong",
    confidence_level: float = 0.95,
    n_resamples: int = 2000,
    seed: int = 0,
) -> AUC:
    """Area under the ROC curve with a confidence interval.

    Both intervals are symmetric on the logit scale, so they stay inside (0, 1):
    logit(AUC) plus or minus a quantile times the standard error of the AUC, divided by
    AUC (1 - AUC). "delong" takes the standard error of DeLong et al. (1988), computed from
    ranks in O(n log n), and the normal quantile; it needs independent rows. "bootstrap" takes
    the standard deviation of the AUC over draws of whole groups with replacement (draws that
    miss a class are repeated), times the square root of k / (k - 1) for k groups of the rarer
    class, and the quantile of Student's t with Satterthwaite's degrees of freedom of the two
    classes. The choices come from the benchmark (``benchmarks/metrics.py``): quantiles of the
    draws are too short where the rarer class has few patients, and so are normal quantiles.

    Parameters
    ----------
    y : array-like of shape (n,)
        Classes, 0 and 1.
    s : array-like of shape (n,)
        Scores, finite.
    groups : array-like of shape (n,), optional
        The patient of each row. Without it every row is a patient of its own.
    method : {"delong", "bootstrap"}
        "delong" is refused where a group has several rows.
    confidence_level : float
        Between 0 and 1.
    n_resamples : int
        Draws of the bootstrap, at least 100; each costs O(n).
    seed : int
        Seed of the draws.

    Returns
    -------
    AUC
        ``auc, low, high, standard_error, method, n_groups``.

    Warns
    -----
    IntervalWarning
        If the scores separate the classes (the interval is then the exact bound from
        disjoint pairs of patients), all scores are equal, there are fewer than 20
        patients of a class or 100 in all, or the AUC is above 0.95 (or below 0.05).

    Raises
    ------
    ValueError
        If an argument is not as described, or a class has fewer than two rows, or patients.
    """
    y = _check_labels(y)
    s = _check_scores("s", s, len(y))
    codes, repeated = _check_groups(groups, len(y))
    _check_between("confidence_level", confidence_level)
    placements = _placements(y, s)
    auc = _mean_auc(y, placements)
    count = _patients(y, codes)
    tail = (1 - confidence_level) / 2
    if method == "delong":
        _refuse(repeated, 'roc_auc_ci(..., groups=groups, method="bootstrap")')
        error = math.sqrt(_delong_covariance(y, placements[None])[0, 0])
        quantile = stats.norm.isf(tail)
    elif method == "bootstrap":
        draws = _resample_auc(y, [s], codes, n_resamples, seed)[:, 0]
        error = count.inflation * float(draws.std(ddof=1))
        quantile = stats.t.isf(tail, _degrees_of_freedom(y, placements, codes, count))
    else:
        raise ValueError(f"method is {method!r}; it must be 'delong' or 'bootstrap'.")
    low, high = _auc_limits(auc, error, quantile, count, tail)
    return AUC(auc, low, high, error, method, count.total)


def delong_test(
    y: ArrayLike,
    s1: ArrayLike,
    s2: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    confidence_level: float = 0.95,
) -> AUCDifference:
    """Test whether two scores of the same independent cases have the same AUC.

    Parameters
    ----------
    y : array-like of shape (n,)
        Classes, 0 and 1; at least two of each.
    s1, s2 : array-like of shape (n,)
        Scores of the two models for the same rows, finite.
    groups : array-like of shape (n,), optional
        The patient of each row; refused where one has several rows.
    confidence_level : float
        Of the interval of the difference, between 0 and 1.

    Returns
    -------
    AUCDifference
        The p-value is 1 where the AUCs never differ, and NaN where they differ but their
        standard error is 0 (both scores are perfect or constant).

    Raises
    ------
    ValueError
        If an argument is not as described, or a class is missing.
    """
    y = _check_labels(y)
    scores = [_check_scores("s1", s1, len(y)), _check_scores("s2", s2, len(y))]
    codes, repeated = _check_groups(groups, len(y))
    _check_between("confidence_level", confidence_level)
    _refuse(repeated, "paired_bootstrap_auc(y, s1, s2, groups)")
    placements = np.stack([_placements(y, s) for s in scores])
    covariance = _delong_covariance(y, placements)
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    first, second = (_mean_auc(y, row) for row in placements)
    _patients(y, codes).warn()
    return _compare(first, second, math.sqrt(max(variance, 0.0)), confidence_level)


def paired_bootstrap_auc(
    y: ArrayLike,
    s1: ArrayLike,
    s2: ArrayLike,
    groups: ArrayLike | None,
    *,
    confidence_level: float = 0.95,
    n_resamples: int = 2000,
    seed: int = 0,
) -> AUCDifference:
    """Compare the AUCs of two scores of the same cases when patients have several rows.

    Whole patients are drawn with replacement, the same ones for both scores; the
    standard deviation of the difference over the draws, times the square root of k / (k - 1)
    as in :func:`roc_auc_ci`, is its standard error. Interval and p-value are normal and
    agree with each other.

    Parameters
    ----------
    y : array-like of shape (n,)
        Classes, 0 and 1.
    s1, s2 : array-like of shape (n,)
        Scores of the two models for the same rows, finite.
    groups : array-like of shape (n,) or None
        The patient of each row; None for independent rows.
    confidence_level : float
        Of the interval of the difference, between 0 and 1.
    n_resamples : int
        Draws, at least 100.
    seed : int
        Seed of the draws.

    Returns
    -------
    AUCDifference

    Warns
    -----
    IntervalWarning
        If there are fewer than 20 patients of a class or 100 in all.

    Raises
    ------
    ValueError
        If an argument is not as described, or a class is missing.
    """
    y = _check_labels(y)
    scores = [_check_scores("s1", s1, len(y)), _check_scores("s2", s2, len(y))]
    codes, _ = _check_groups(groups, len(y))
    _check_between("confidence_level", confidence_level)
    draws = _resample_auc(y, scores, codes, n_resamples, seed)
    count = _patients(y, codes)
    count.warn()
    error = count.inflation * float((draws[:, 0] - draws[:, 1]).std(ddof=1))
    first, second = (_mean_auc(y, _placements(y, s)) for s in scores)
    return _compare(first, second, error, confidence_level)


def _placements(y: Array, s: Array) -> Array:
    """Return for each row the share of the other class on its right side (ties 1/2).

    The mean over either class is the AUC. One sort; tied rows share the mean of the counts
    before and after them.
    """
    order = np.argsort(s)
    ranked, positive = s[order], y[order] == 1
    start = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
    end = np.append(start[1:], len(y))
    negatives = np.append(0, np.cumsum(~positive))
    positives = np.arange(len(y) + 1) - negatives
    below, above = (
        np.repeat((count[start] + count[end]) / 2 / count[-1], end - start)
        for count in (negatives, positives)
    )
    placements = np.empty(len(y))
    placements[order] = np.where(positive, below, 1 - above)
    return placements


def _mean_auc(y: Array, placements: Array) -> float:
    return float(placements[y == 1].mean())


def _delong_covariance(y: Array, placements: Array) -> Array:
    """Covariance matrix (k, k) of the AUCs of k scores from their placements (k, n)."""
    total = np.zeros((len(placements), len(placements)))
    for label in (0, 1):
        values = placements[:, y == label]
        if values.shape[1] < 2:
            raise ValueError(
                f"y has only one row of class {label}; DeLong's variance needs two of each class. "
                "Report the AUC without an interval, or collect more cases."
            )
        total += np.cov(values).reshape(total.shape) / values.shape[1]
    return total


def _resample_auc(
    y: Array, scores: list[Array], codes: Codes, n_resamples: int, seed: int
) -> Array:
    """AUC of each score (n_resamples, k) over draws of whole groups with replacement."""
    sorted_scores = [_Sorted(y, s, codes) for s in scores]
    return np.concatenate(
        [
            np.column_stack([one.auc(counts) for one in sorted_scores])
            for counts in _draws(y, codes, n_resamples, seed)
        ]
    )


def _draws(y: Array, codes: Codes, n_resamples: int, seed: int) -> Iterator[Array]:
    """Yield how often each group is drawn, (block, n_groups), in blocks; both classes occur."""
    if not (isinstance(n_resamples, int | np.integer) and n_resamples >= 100):
        raise ValueError(f"n_resamples is {n_resamples!r}; it must be an integer of at least 100.")
    rng = np.random.default_rng(seed)
    n_groups = codes.max() + 1
    if n_groups < 2:
        raise ValueError(
            "groups names a single patient; an interval needs several. Report the value alone."
        )
    has = np.column_stack([np.bincount(codes, y == label) > 0 for label in (0, 1)]).astype(float)
    for label, count in enumerate(has.sum(axis=0)):
        if count < 2:
            raise ValueError(
                f"y has only one patient of class {label}; the bootstrap needs two of each class, "
                "or it draws that one every time. Report the value without an interval, or "
                "collect more patients."
            )
    missing = n_resamples
    while missing:
        size = min(missing, max(1, _BLOCK // len(y)))
        counts = rng.multinomial(n_groups, np.full(n_groups, 1 / n_groups), size).astype(float)
        counts = counts[(counts @ has > 0).all(axis=1)]
        missing -= len(counts)
        yield counts


class _Sorted:
    """Rows sorted once, so that the AUC of any weighting of the groups takes O(n)."""

    def __init__(self, y: Array, s: Array, codes: Codes) -> None:
        negative = np.flatnonzero(y == 0)
        negative = negative[np.argsort(s[negative])]
        self.negative = codes[negative]
        self.positive = codes[y == 1]
        self.below = np.searchsorted(s[negative], s[y == 1], "left")
        self.not_above = np.searchsorted(s[negative], s[y == 1], "right")

    def auc(self, counts: Array) -> Array:
        """AUC (b,) under group weights (b, n_groups)."""
        weights = counts[:, self.negative]
        cumulated = np.zeros((len(counts), len(self.negative) + 1))
        np.cumsum(weights, axis=1, out=cumulated[:, 1:])
        beaten = (cumulated[:, self.below] + cumulated[:, self.not_above]) / 2
        positive = counts[:, self.positive]
        return np.einsum("ij,ij->i", positive, beaten) / (positive.sum(axis=1) * cumulated[:, -1])


@dataclass(frozen=True)
class _Patients:
    """How many patients there are: in all, and with an image of either class."""

    total: int
    positive: int
    negative: int

    @property
    def rarer(self) -> int:
        return min(self.positive, self.negative)

    @property
    def df(self) -> int:
        return max(self.rarer - 1, 1)

    @property
    def inflation(self) -> float:
        """A draw of k patients varies around their own mean: k - 1 degrees of freedom."""
        return math.sqrt(self.rarer / self.df)

    @property
    def disjoint_pairs(self) -> int:
        return max(1, min(self.rarer, self.total // 2))

    def warn(self) -> None:
        if self.rarer < _FEW_OF_A_CLASS or self.total < _FEW_PATIENTS:
            _warn(
                f"{self.total} patients, {self.rarer} of them with the rarer class: coverage was "
                f"measured with at least {_FEW_PATIENTS} and {_FEW_OF_A_CLASS}. "
                "Read the interval as approximate."
            )


def _patients(y: Array, codes: Codes) -> _Patients:
    positive, negative = (int(np.sum(np.bincount(codes, y == label) > 0)) for label in (1, 0))
    return _Patients(int(codes.max()) + 1, positive, negative)


def _degrees_of_freedom(y: Array, placements: Array, codes: Codes, count: _Patients) -> float:
    """Satterthwaite's, of a variance that is the sum of one part from each class's patients."""
    parts = []
    for label, patients in ((1, count.positive), (0, count.negative)):
        rows = y == label
        deviations = placements[rows] - placements[rows].mean()
        influence = np.bincount(codes[rows], deviations) / np.count_nonzero(rows)
        df = max(patients - 1, 1)
        parts.append((float(influence @ influence) * patients / df, df))
    spread = sum(variance**2 / df for variance, df in parts)
    return sum(variance for variance, _ in parts) ** 2 / spread if spread > 0 else math.inf


def _auc_limits(
    auc: float, error: float, quantile: float, count: _Patients, tail: float
) -> tuple[float, float]:
    """Go ``quantile`` standard errors from logit(auc); where there is none, the exact bound."""
    if auc in (0.0, 1.0):
        # All pairs agree. In k disjoint pairs that has the probability auc**k at most.
        bound = tail ** (1 / count.disjoint_pairs)
        _warn(
            "the scores separate the classes: there is no standard error, and the interval is "
            f"the exact bound from {count.disjoint_pairs} disjoint pairs of patients."
        )
        return (bound, 1.0) if auc == 1 else (0.0, 1 - bound)
    if error == 0:
        _warn("the scores do not vary within the classes: the interval has no width.")
        return auc, auc
    count.warn()
    if not 1 - _HIGH_AUC <= auc <= _HIGH_AUC:
        _warn(f"the AUC is {auc:.3f}; coverage was measured for AUCs from 0.5 to {_HIGH_AUC}.")
    half = quantile * error / (auc * (1 - auc))  # delta method
    low, high = special.expit(special.logit(auc) + np.array([-half, half]))
    return float(low), float(high)


def _compare(first: float, second: float, error: float, confidence_level: float) -> AUCDifference:
    difference = first - second
    if error > _ROUNDING:
        statistic = difference / error
        pvalue = 2 * float(stats.norm.sf(abs(statistic)))
    else:
        error = 0.0
        same = abs(difference) < _ROUNDING
        statistic, pvalue = (0.0, 1.0) if same else (math.nan, math.nan)
    half = float(stats.norm.ppf((1 + confidence_level) / 2)) * error
    return AUCDifference(
        first, second, difference, difference - half, difference + half, error, statistic, pvalue
    )


# --- Classification at a threshold --------------------------------------------------------


@dataclass(frozen=True, repr=False)
class ClassificationSummary:
    """Result of :func:`classification_summary`; printed as a table.

    Attributes
    ----------
    true_positives, false_positives, false_negatives, true_negatives : int
        Numbers of rows.
    accuracy, sensitivity, specificity : Estimate
        Eq. 9, 33 and 34 of the thesis, with their intervals.
    ppv, npv : Estimate
        Positive and negative predictive value at ``prevalence``; NaN where no row is
        called positive (negative).
    prevalence : float
        The one given, else the share of class 1 among the rows.
    threshold : float
    """

    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int
    accuracy: Estimate
    sensitivity: Estimate
    specificity: Estimate
    ppv: Estimate
    npv: Estimate
    prevalence: float
    threshold: float

    def to_frame(self) -> pd.DataFrame:
        """Return the measures as rows with the columns ``value, low, high``."""
        rows = [
            field.name for field in fields(self) if isinstance(getattr(self, field.name), Estimate)
        ]
        limits = [
            [getattr(getattr(self, row), name) for name in ("value", "low", "high")] for row in rows
        ]
        return pd.DataFrame(limits, index=rows, columns=["value", "low", "high"])

    def __repr__(self) -> str:
        counts = (
            f"threshold {self.threshold:g}: {self.true_positives} true positives, "
            f"{self.false_positives} false positives, {self.false_negatives} false negatives, "
            f"{self.true_negatives} true negatives; predictive values at prevalence "
            f"{self.prevalence:.3g}"
        )
        return f"{counts}\n{self.to_frame().round(3)}"


def classification_summary(
    y: ArrayLike,
    p: ArrayLike,
    *,
    threshold: float = 0.5,
    groups: ArrayLike | None = None,
    prevalence: float | None = None,
    confidence_level: float = 0.95,
) -> ClassificationSummary:
    """Confusion counts, accuracy, sensitivity, specificity and predictive values.

    A row is called positive if ``p >= threshold``. The intervals are those of
    :func:`proportion_ci`; those of the predictive values at a given prevalence follow
    from sensitivity and specificity by Bayes' rule, on the logit scale.

    Parameters
    ----------
    y : array-like of shape (n,)
        Classes, 0 and 1, both present.
    p : array-like of shape (n,)
        Probabilities of class 1, in [0, 1]. For scores on another scale give the calls
        themselves: ``classification_summary(y, s >= t)``.
    threshold : float
        In [0, 1]; chosen on other cases than these (:func:`choose_threshold`).
    groups : array-like of shape (n,), optional
        The patient of each row. Without it every row is a patient of its own.
    prevalence : float, optional
        Share of class 1 where the predictive values shall hold, for example in
        screening; between 0 and 1. Without it: the share in ``y``.
    confidence_level : float
        Between 0 and 1.

    Returns
    -------
    ClassificationSummary

    Raises
    ------
    ValueError
        If an argument is not as described, or a class is missing.
    """
    y = _check_labels(y)
    single = np.asarray(p).dtype == np.float32  # then the threshold is rounded likewise
    p = _check_probabilities("p", p, len(y))
    codes, repeated = _check_groups(groups, len(y))
    _check_between("confidence_level", confidence_level)
    if repeated:
        _patients(y, codes).warn()
    if not 0 <= _number(threshold) <= 1:
        raise ValueError(
            f"threshold is {threshold!r}; it must lie in [0, 1]. For a threshold t on another "
            "scale give the calls as p: classification_summary(y, s >= t)."
        )
    if prevalence is not None:
        _check_between("prevalence", prevalence)
    positive, called = y == 1, p >= (np.float32(threshold) if single else threshold)
    level = confidence_level
    sensitivity = _Share(called, positive, codes)
    specificity = _Share(~called, ~positive, codes)
    if prevalence is None:
        ppv = _Share(positive, called, codes).interval(level)
        npv = _Share(~positive, ~called, codes).interval(level)
    else:
        ppv = _predictive_value(sensitivity, specificity, prevalence, level)
        npv = _predictive_value(specificity, sensitivity, 1 - prevalence, level)
    return ClassificationSummary(
        int(np.sum(positive & called)),
        int(np.sum(~positive & called)),
        int(np.sum(positive & ~called)),
        int(np.sum(~positive & ~called)),
        _Share(positive == called, np.ones(len(y), bool), codes).interval(level),
        sensitivity.interval(level),
        specificity.interval(level),
        ppv,
        npv,
        float(y.mean()) if prevalence is None else float(prevalence),
        float(threshold),
    )


def proportion_ci(
    hits: ArrayLike, *, groups: ArrayLike | None = None, confidence_level: float = 0.95
) -> Estimate:
    """Share of rows that are hits, with Wilson's interval, clustered where groups repeat.

    Where groups repeat, Wilson's formula takes the effective number of rows (as many as
    would have the variance of the ratio estimator if they were independent, at most n)
    and Student's t with one degree of freedom fewer than there are groups, after Korn and
    Graubard (1998). Copies of rows within all groups leave it as it is.

    Parameters
    ----------
    hits : array-like of shape (n,)
        0 and 1, or booleans; for example ``label == prediction``.
    groups : array-like of shape (n,), optional
        The patient of each row.
    confidence_level : float
        Between 0 and 1.

    Returns
    -------
    Estimate

    Raises
    ------
    ValueError
        If an argument is not as described.
    """
    hit = _check_labels(hits, name="hits", both=False)
    codes, _ = _check_groups(groups, len(hit))
    _check_between("confidence_level", confidence_level)
    return _Share(hit == 1, np.ones(len(hit), bool), codes).interval(confidence_level)


def predictive_values(
    sensitivity: float, specificity: float, prevalence: float
) -> tuple[float, float]:
    """Positive and negative predictive value by Bayes' rule.

    Parameters
    ----------
    sensitivity, specificity : float
        In [0, 1].
    prevalence : float
        Share of class 1, between 0 and 1.

    Returns
    -------
    ppv, npv : float
        NaN where nobody is called positive (negative).

    Raises
    ------
    ValueError
        If an argument is out of its range.
    """
    for name, value in (("sensitivity", sensitivity), ("specificity", specificity)):
        if not 0 <= _number(value) <= 1:
            raise ValueError(f"{name} is {value!r}; it must lie in [0, 1].")
    _check_between("prevalence", prevalence)
    healthy = 1 - prevalence
    true_positive, false_positive = sensitivity * prevalence, (1 - specificity) * healthy
    true_negative, false_negative = specificity * healthy, (1 - sensitivity) * prevalence
    return (
        _ratio(true_positive, true_positive + false_positive),
        _ratio(true_negative, true_negative + false_negative),
    )


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0 else math.nan


class _Share:
    """The share of hits among some of the rows, with what its intervals need."""

    def __init__(self, hit: NDArray[np.bool_], among: NDArray[np.bool_], codes: Codes) -> None:
        n = int(np.count_nonzero(among))
        self.value = _ratio(int(np.count_nonzero(hit & among)), n)
        self.n_groups = len(np.unique(codes[among]))
        # Influence of each group on the share: the linearized ratio estimator.
        self.influence = np.bincount(codes, among * (hit - np.nan_to_num(self.value))) / max(n, 1)
        self.variance = float(self.influence @ self.influence)
        self.df: int | None = None
        self.size = float(self.n_groups)
        if self.n_groups < n:
            self.df = max(self.n_groups - 1, 1)
            self.size = _effective_size(
                self.value, self.variance * self.n_groups / self.df, self.n_groups, n
            )

    def interval(self, confidence_level: float) -> Estimate:
        if math.isnan(self.value):
            return Estimate(math.nan, math.nan, math.nan)
        return Estimate(self.value, *_wilson(self.value, self.size, confidence_level, self.df))


def _effective_size(share: float, variance: float, n_groups: int, n: int) -> float:
    """Return how many independent rows give a share this variance; n_groups where it is 0."""
    return min(float(n), share * (1 - share) / variance) if variance > 0 else float(n_groups)


def _wilson(
    share: float, size: float, confidence_level: float, df: int | None
) -> tuple[float, float]:
    """Wilson's interval; with the quantile of Student's t where the size is an estimate."""
    from statsmodels.stats.proportion import proportion_confint

    alpha = 1 - confidence_level
    if df is not None:
        alpha = 2 * stats.norm.sf(stats.t.isf(alpha / 2, df))
    low, high = proportion_confint(share * size, size, alpha, method="wilson")
    return min(float(low), share), max(float(high), share)  # rounding at 0 and 1


def _predictive_value(
    right: _Share, other: _Share, prevalence: float, confidence_level: float
) -> Estimate:
    """Predictive value of a call: ``right`` is the share of the cases it finds.

    The odds are the prior odds times ``right / (1 - other)``. The limits of the logarithm
    of this ratio follow from those of its two shares (the "method of variance estimates
    recovery"), with the correlation of the shares over the patients who add to both.
    """
    value, _ = predictive_values(right.value, other.value, prevalence)
    if math.isnan(value):
        return Estimate(math.nan, math.nan, math.nan)
    found, missed = right.interval(confidence_level), other.interval(confidence_level)
    alarms = Estimate(1 - missed.value, 1 - missed.high, 1 - missed.low)
    with np.errstate(divide="ignore"):
        up, alarms_down = np.log([found.high, alarms.low])
        down, alarms_up = np.log([found.low, alarms.high])
    low, high = down - alarms_up, up - alarms_down  # for a share of 0: both limits at once
    if found > 0 and alarms > 0:
        norm = math.sqrt(right.variance * other.variance)
        correlation = -float(right.influence @ other.influence) / norm if norm > 0 else 0.0
        center = math.log(found / alarms)
        low = center - _distance(math.log(found) - down, alarms_up - math.log(alarms), correlation)
        high = center + _distance(up - math.log(found), math.log(alarms) - alarms_down, correlation)
    odds = special.logit(prevalence)
    return Estimate(value, float(special.expit(odds + low)), float(special.expit(odds + high)))


def _distance(one: float, other: float, correlation: float) -> float:
    return math.sqrt(one**2 + other**2 - 2 * correlation * one * other)


# --- Operating points ---------------------------------------------------------------------


@dataclass(frozen=True, repr=False, eq=False)
class OperatingPoint(Estimate):
    """Result of :func:`sensitivity_at_specificity`: the sensitivity, with where it holds.

    Attributes
    ----------
    value, low, high : float
        Sensitivity and its interval.
    threshold : float
        A row is called positive if its score is at least this.
    specificity : float
        Specificity there, at least the one asked for.
    """

    threshold: float
    specificity: float


def choose_threshold(
    y: ArrayLike,
    s: ArrayLike,
    *,
    sensitivity: float | None = None,
    specificity: float | None = None,
    cost_ratio: float | None = None,
    prevalence: float | None = None,
) -> float:
    """Choose a threshold on validation cases; report what it does on test cases.

    Parameters
    ----------
    y : array-like of shape (n,)
        Classes, 0 and 1, of the *validation* part.
    s : array-like of shape (n,)
        Scores or probabilities, finite.
    sensitivity, specificity, cost_ratio : float
        Exactly one of them: the largest threshold with at least this sensitivity, the
        smallest with at least this specificity (both in (0, 1]), or the threshold with
        the smallest mean cost if a missed case costs ``cost_ratio`` (above 0) times as
        much as a false alarm.
    prevalence : float, optional
        Share of class 1 for which the mean cost is computed; without it the share in ``y``.

    Returns
    -------
    float
        Halfway between two neighboring scores; a case is called positive if its score is at
        least this. Infinite where nobody may be called positive, minus infinity where everybody.

    Raises
    ------
    ValueError
        If an argument is not as described, or a class is missing.
    """
    y = _check_labels(y)
    s = _check_scores("s", s, len(y))
    given = {"sensitivity": sensitivity, "specificity": specificity, "cost_ratio": cost_ratio}
    named = [name for name, value in given.items() if value is not None]
    if len(named) != 1:
        raise ValueError(
            f"{len(named)} of sensitivity, specificity and cost_ratio are given; give exactly one."
        )
    for name in ("sensitivity", "specificity"):
        if given[name] is not None:
            _check_target(name, given[name])
    specificities, sensitivities, thresholds = _operating_points(y, s)
    if sensitivity is not None:
        return float(thresholds[sensitivities >= sensitivity - _ROUNDING][0])
    if specificity is not None:
        return float(thresholds[specificities >= specificity - _ROUNDING][-1])
    if cost_ratio is None or not 0 < _number(cost_ratio) < math.inf:
        raise ValueError(f"cost_ratio is {cost_ratio!r}; it must be a number above 0.")
    if prevalence is not None:
        _check_between("prevalence", prevalence)
    share = float(y.mean()) if prevalence is None else prevalence
    cost = cost_ratio * share * (1 - sensitivities) + (1 - share) * (1 - specificities)
    return float(thresholds[np.argmin(cost)])


def sensitivity_at_specificity(
    y: ArrayLike,
    s: ArrayLike,
    specificity: float,
    *,
    groups: ArrayLike | None = None,
    confidence_level: float = 0.95,
    n_resamples: int = 2000,
    seed: int = 0,
) -> OperatingPoint:
    """Largest sensitivity among the thresholds with at least a given specificity.

    Its threshold is estimated from the same cases, which adds to the uncertainty: in
    every draw of patients the threshold is found anew, and Wilson's formula takes the
    effective number of cases that has the variance over the draws. (Its quantile is the
    normal one: that variance is somewhat too large where cases are few, and Student's
    quantile on top of it made the interval too long in the benchmark.)

    Parameters
    ----------
    y : array-like of shape (n,)
        Classes, 0 and 1.
    s : array-like of shape (n,)
        Scores, finite.
    specificity : float
        Above 0 and at most 1.
    groups : array-like of shape (n,), optional
        The patient of each row.
    confidence_level : float
        Between 0 and 1.
    n_resamples : int
        Draws, at least 100.
    seed : int
        Seed of the draws.

    Returns
    -------
    OperatingPoint
        A float (the sensitivity) with ``low, high, threshold, specificity``.

    Raises
    ------
    ValueError
        If an argument is not as described, or a class is missing.
    """
    y = _check_labels(y)
    s = _check_scores("s", s, len(y))
    codes, _ = _check_groups(groups, len(y))
    _check_between("confidence_level", confidence_level)
    _check_target("specificity", specificity)
    threshold = choose_threshold(y, s, specificity=specificity)
    count = _patients(y, codes)
    count.warn()
    positive = y == 1
    share = _Share(s >= threshold, positive, codes)
    size = share.size
    if 0 < share.value < 1:
        order = np.argsort(s[~positive])
        negatives, negative_codes = s[~positive][order], codes[~positive][order]
        positive_scores = np.sort(s[positive])
        positive_codes = codes[positive][np.argsort(s[positive])]
        draws = np.concatenate(
            [
                _sensitivities(
                    counts[:, negative_codes],
                    negatives,
                    counts[:, positive_codes],
                    positive_scores,
                    specificity,
                )
                for counts in _draws(y, codes, n_resamples, seed)
            ]
        )
        size = _effective_size(
            share.value, float(draws.var(ddof=1)), share.n_groups, len(positive_scores)
        )
    low, high = _wilson(share.value, size, confidence_level, None)
    reached = float(np.mean(s[~positive] < threshold))
    return OperatingPoint(share.value, low, high, threshold, reached)


def _sensitivities(
    negative_weights: Array,
    negatives: Array,
    positive_weights: Array,
    positives: Array,
    specificity: float,
) -> Array:
    """Sensitivity (b,) at a specificity in each draw; scores ascend, weights are (b, rows)."""
    cumulated = np.cumsum(negative_weights, axis=1)
    needed = (specificity - _ROUNDING) * cumulated[:, -1:]
    highest = np.argmax(cumulated >= needed, axis=1)  # this negative must stay below
    first = np.searchsorted(positives, negatives[highest], side="right")
    called = np.arange(len(positives)) >= first[:, None]
    return (positive_weights * called).sum(axis=1) / positive_weights.sum(axis=1)


def _operating_points(y: Array, s: Array) -> tuple[Array, Array, Array]:
    """Specificity, sensitivity and threshold of every possible set of calls, fewest first."""
    from sklearn.metrics import roc_curve

    false_positive_rate, sensitivity, scores = roc_curve(y, s, drop_intermediate=False)
    lower = np.append(scores[1:], -np.inf)  # the highest score that is not called
    lower[0] = np.inf  # nobody is called
    thresholds = scores.copy()
    thresholds[0] = np.inf
    inner = slice(1, -1)
    thresholds[inner] -= (scores[inner] - lower[inner]) / 2
    blocked = thresholds[inner] <= lower[inner]  # neighboring floats have nothing between them
    thresholds[inner][blocked] = scores[inner][blocked]
    thresholds[-1] = -np.inf
    return 1 - false_positive_rate, sensitivity, thresholds


# --- Calibration --------------------------------------------------------------------------


@dataclass(frozen=True)
class Calibration:
    """Result of :func:`calibration`.

    Attributes
    ----------
    intercept : Estimate
        Calibration in the large: how much has to be added to the logits so that as many
        cases are expected as there are; 0 is ideal.
    slope : Estimate
        Slope of the classes on the logits; 1 is ideal, below 1 the probabilities are too
        extreme (overfitted).
    brier : float
        Mean squared error of the probabilities; 0 is ideal.
    """

    intercept: Estimate
    slope: Estimate
    brier: float


@dataclass(frozen=True)
class PlattScaling:
    """Result of :func:`platt_scaling`; call it to turn scores into probabilities.

    Attributes
    ----------
    intercept, slope : float
        Of the log-odds on the score.
    """

    intercept: float
    slope: float

    def __call__(self, s: ArrayLike) -> Array:
        """Return the probabilities of class 1, shaped as ``s``."""
        return special.expit(self.intercept + self.slope * np.asarray(s, dtype=float))


def platt_scaling(y: ArrayLike, s: ArrayLike) -> PlattScaling:
    """Fit a logistic regression of the classes on the scores of validation cases (Platt 1999).

    Parameters
    ----------
    y : array-like of shape (n,)
        Classes, 0 and 1, of the *validation* part.
    s : array-like of shape (n,)
        Scores, finite and on any scale, for example logits.

    Returns
    -------
    PlattScaling
        A function of scores.

    Raises
    ------
    ValueError
        If an argument is not as described, a class is missing, or the scores separate
        the classes, so that the fit does not exist.
    """
    from mammocourse.logistic import LogisticMLE, SeparationError

    y = _check_labels(y)
    s = _check_scores("s", s, len(y))
    model = LogisticMLE(solver="newton-cg", standardize=True, on_separation="raise", tol=1e-10)
    try:
        model.fit(s[:, None], y)
    except SeparationError as error:
        raise ValueError(
            "s separates the classes, so the fit does not exist. Calibrate on more cases."
        ) from error
    return PlattScaling(float(model.intercept_[0]), float(model.coef_[0, 0]))


def calibration(
    y: ArrayLike,
    p: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    confidence_level: float = 0.95,
) -> Calibration:
    """Calibration intercept and slope with intervals, and the Brier score.

    Parameters
    ----------
    y : array-like of shape (n,)
        Classes, 0 and 1.
    p : array-like of shape (n,)
        Probabilities of class 1, above 0 and below 1.
    groups : array-like of shape (n,), optional
        The patient of each row; the standard errors are then clustered.
    confidence_level : float
        Between 0 and 1.

    Returns
    -------
    Calibration

    Raises
    ------
    ValueError
        If an argument is not as described, a class is missing, a probability is 0 or 1 (its
        logit is infinite), all are equal, or they separate the classes.
    """
    import statsmodels.api as sm
    from sklearn.metrics import brier_score_loss

    from mammocourse.logistic import detect_separation

    y = _check_labels(y)
    p = _check_probabilities("p", p, len(y))
    codes, _ = _check_groups(groups, len(y))
    _check_between("confidence_level", confidence_level)
    if p.min() == 0 or p.max() == 1:
        raise ValueError(
            "p holds 0 or 1, whose logit is infinite. Compute the probabilities in float64 from "
            "the logits, or clip them: np.clip(p, 1e-6, 1 - 1e-6)."
        )
    logits = special.logit(p)
    if (logits == logits[0]).all():
        raise ValueError("p is the same for all rows: a constant has no calibration slope.")
    if detect_separation(logits[:, None], y):
        raise ValueError("p separates the classes: the slope does not exist. Use more cases.")
    count = _patients(y, codes)
    if count.total < 2:
        raise ValueError("groups names a single patient; an interval needs two or more.")
    clustered: dict[str, Any] = {"cov_type": "cluster", "cov_kwds": {"groups": codes}}
    options = {} if groups is None else clustered
    ones = np.ones((len(y), 1))
    family = sm.families.Binomial()
    large = sm.GLM(y, ones, family=family, offset=logits).fit(**options)
    line = sm.GLM(y, np.column_stack([ones, logits]), family=family).fit(**options)
    count.warn()
    quantile = stats.t.ppf((1 + confidence_level) / 2, count.df)

    def estimate(fit: Any, number: int) -> Estimate:
        value, half = float(fit.params[number]), float(quantile * fit.bse[number])
        return Estimate(value, value - half, value + half)

    return Calibration(estimate(large, 0), estimate(line, 1), float(brier_score_loss(y, p)))


def reliability_table(
    y: ArrayLike,
    p: ArrayLike,
    *,
    n_bins: int = 10,
    strategy: Literal["uniform", "quantile"] = "uniform",
    groups: ArrayLike | None = None,
    confidence_level: float = 0.95,
) -> pd.DataFrame:
    """Table of a reliability diagram: predicted against observed shares of class 1.

    Parameters
    ----------
    y : array-like of shape (n,)
        Classes, 0 and 1.
    p : array-like of shape (n,)
        Probabilities of class 1, in [0, 1].
    n_bins : int
        Number of bins, at least 1; empty ones are left out.
    strategy : {"uniform", "quantile"}
        Bins of equal width, or of about equally many rows.
    groups : array-like of shape (n,), optional
        The patient of each row.
    confidence_level : float
        Of the intervals of :func:`proportion_ci`, between 0 and 1.

    Returns
    -------
    DataFrame
        One row a bin: ``left, right`` (its edges; the last bin includes its right one), ``n``,
        ``predicted`` (mean probability), ``observed``, ``low, high``.

    Raises
    ------
    ValueError
        If an argument is not as described.
    """
    y = _check_labels(y, both=False)
    p = _check_probabilities("p", p, len(y))
    codes, _ = _check_groups(groups, len(y))
    _check_between("confidence_level", confidence_level)
    if not (isinstance(n_bins, int | np.integer) and n_bins >= 1):
        raise ValueError(f"n_bins is {n_bins!r}; it must be an integer of at least 1.")
    if strategy == "uniform":
        edges = np.linspace(0, 1, n_bins + 1)
    elif strategy == "quantile":
        edges = np.quantile(p, np.linspace(0, 1, n_bins + 1))
    else:
        raise ValueError(f"strategy is {strategy!r}; it must be 'uniform' or 'quantile'.")
    bins = np.searchsorted(edges[1:-1], p, side="right")
    rows = []
    for number in np.unique(bins):
        among = bins == number
        observed = _Share(y == 1, among, codes).interval(confidence_level)
        left, right = edges[number], edges[min(number + 1, len(edges) - 1)]
        limits = (observed.value, observed.low, observed.high)
        rows.append((left, right, np.count_nonzero(among), p[among].mean(), *limits))
    columns = ["left", "right", "n", "predicted", "observed", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


# --- Decision curves ----------------------------------------------------------------------


def decision_curve(
    y: ArrayLike,
    p: ArrayLike,
    thresholds: ArrayLike | None = None,
    *,
    prevalence: float | None = None,
) -> pd.DataFrame:
    """Net benefit of acting on a model, on everybody, on nobody (Vickers and Elkin 2006).

    Who acts from the probability t on takes (1 - t) / t false positives for one true
    positive. The net benefit, in true positives per case, is therefore
    ``sensitivity * prevalence - (1 - specificity) * (1 - prevalence) * t / (1 - t)``.

    Parameters
    ----------
    y : array-like of shape (n,)
        Classes, 0 and 1.
    p : array-like of shape (n,)
        Probabilities of class 1, in [0, 1], calibrated for ``prevalence``.
    thresholds : array-like of shape (m,), optional
        Threshold probabilities t, at least 0 and below 1; by default 0.01, 0.02, ..., 0.99.
    prevalence : float, optional
        Share of class 1 where the model shall be used, between 0 and 1; without it the
        share in ``y``.

    Returns
    -------
    DataFrame
        The columns ``threshold, model, all, none``; one row a threshold.

    Raises
    ------
    ValueError
        If an argument is not as described, or a class is missing.
    """
    y = _check_labels(y)
    p = _check_probabilities("p", p, len(y))
    if prevalence is not None:
        _check_between("prevalence", prevalence)
    share = float(y.mean()) if prevalence is None else float(prevalence)
    t = np.linspace(0.01, 0.99, 99) if thresholds is None else np.asarray(thresholds, dtype=float)
    if t.ndim != 1 or not ((t >= 0) & (t < 1)).all():
        raise ValueError("thresholds must be a vector of probabilities of at least 0 and below 1.")
    odds = t / (1 - t)
    called = [
        1 - np.searchsorted(np.sort(p[y == label]), t) / np.sum(y == label) for label in (0, 1)
    ]
    model = called[1] * share - called[0] * (1 - share) * odds
    everybody = share - (1 - share) * odds
    columns = {"threshold": t, "model": model, "all": everybody, "none": np.zeros(len(t))}
    return pd.DataFrame(columns)


# --- Checks -------------------------------------------------------------------------------


def _check_labels(y: ArrayLike, *, name: str = "y", both: bool = True) -> Array:
    """Return the classes as float64 zeros and ones, or say what is wrong with them."""
    labels = np.asarray(y)
    if labels.ndim != 1 or len(labels) == 0:
        raise ValueError(f"{name} has shape {labels.shape}; it must be a vector (n,) with n > 0.")
    found = pd.unique(labels)
    wrong = [value for value in found.tolist() if value not in (0, 1)]
    if wrong:
        named = ", ".join(map(repr, wrong[:5])) + (", ..." if len(wrong) > 5 else "")
        raise ValueError(f"{name} holds {named}; it must hold 0 and 1 only: recode the classes.")
    if both and len(found) < 2:
        raise ValueError(
            f"{name} holds only the class {int(found[0])}; both classes are needed. "
            "Evaluate on more cases, or split them by class."
        )
    return labels.astype(np.float64)


def _check_scores(name: str, s: ArrayLike, n: int) -> Array:
    try:
        scores = np.asarray(s, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must hold one number per row.") from None
    if scores.shape != (n,):
        raise ValueError(
            f"{name} has shape {scores.shape}; it must be ({n},), one score of class 1 per entry "
            "of y. From (n, 2) probabilities take the column [:, 1]; use .ravel() on (n, 1)."
        )
    bad = np.flatnonzero(~np.isfinite(scores))
    if len(bad):
        raise ValueError(
            f"{name} is {scores[bad[0]]} in row {bad[0]} ({len(bad)} such rows); scores must be "
            "finite numbers. Find out why the model gave none; do not drop the rows unseen."
        )
    return scores


def _check_probabilities(name: str, p: ArrayLike, n: int) -> Array:
    values = _check_scores(name, p, n)
    bad = np.flatnonzero((values < 0) | (values > 1))
    if len(bad):
        raise ValueError(
            f"{name} is {values[bad[0]]:g} in row {bad[0]}; probabilities lie in [0, 1]. Turn "
            "logits into probabilities first (scipy.special.expit, or platt_scaling)."
        )
    return values


def _check_groups(groups: ArrayLike | None, n: int) -> tuple[Codes, bool]:
    """Return a number from 0 per group for each row, and whether a group has several rows."""
    if groups is None:
        return np.arange(n), False
    values = np.asarray(groups)
    if values.shape != (n,):
        raise ValueError(
            f"groups has shape {values.shape}; it must be ({n},), one patient per entry of y."
        )
    codes, names = pd.factorize(values, sort=True)  # whatever the order of the rows
    if (codes < 0).any():
        raise ValueError(
            f"groups is missing in row {int(np.argmax(codes < 0))}; every row needs its patient."
        )
    return codes, len(names) < n


def _refuse(repeated: bool, remedy: str) -> None:
    if repeated:
        raise ValueError(
            "groups holds patients with several rows; DeLong's method takes every row for an "
            f"independent case, and its interval would be too narrow. Use {remedy}, which draws "
            "whole patients, or average the scores of each patient first."
        )


def _check_between(name: str, value: float) -> None:
    if not 0 < _number(value) < 1:
        raise ValueError(f"{name} is {value!r}; it must lie between 0 and 1, both excluded.")


def _check_target(name: str, value: Any) -> None:
    if not 0 < _number(value) <= 1:
        raise ValueError(f"{name} is {value!r}; it must be above 0 and at most 1.")


def _number(value: Any) -> float:
    if isinstance(value, str | bytes):  # float() reads text, the formulas do not
        return math.nan
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def _warn(message: str) -> None:
    """Warn at the line that called this module, however deep inside it we are."""
    frame, level = inspect.currentframe(), 1
    while frame is not None and frame.f_globals.get("__name__") == __name__:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, IntervalWarning, stacklevel=level)
