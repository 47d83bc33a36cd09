r"""How many patients a comparison of two AUCs needs: a simulation of the paired test.

The AUC paper (section 5) reports 0.630 and 0.650 on INbreast. Whether such a gain can be told
from chance depends on the patients, on the films of each, and on how alike the two methods
score. Scores are binormal: film i of patient p gets from method k

.. math:: s_{pik} = \mu_k y_{pi} + \sqrt{w} \, u_{pk} + \sqrt{1 - w} \, e_{pik},
   \qquad \mu_k = \sqrt{2} \, \Phi^{-1}(\mathrm{AUC}_k),

with standard normal u and e, each correlated by ``correlation`` between the two methods, and
``within_patient`` = w the correlation of two films of one patient that have the same label.

References
----------
Obuchowski, N. A. (1997). Nonparametric analysis of clustered ROC curve data. Biometrics 53,
567-578.
"""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

__all__ = ["Power", "paired_auc_tests", "patients_needed", "power_simulation"]

Array = NDArray[np.float64]

BLOCK = 2_000_000
"""Scores that are simulated at a time."""


@dataclass(frozen=True)
class Power:
    """Result of :func:`power_simulation`.

    Attributes
    ----------
    power : float
        Share of the simulations in which the paired test finds the difference: p below
        ``alpha``, and the better method looks better.
    worse_looks_better : float
        Share of the simulations in which the worse method has the larger AUC.
    standard_error : float
        Monte Carlo error of ``power``.
    difference_error : float
        Standard deviation of the difference of the two AUCs over the simulations.
    n_patients, n_films, n_simulations : int
    """

    power: float
    worse_looks_better: float
    standard_error: float
    difference_error: float
    n_patients: int
    n_films: int
    n_simulations: int


def power_simulation(
    auc1: float,
    auc2: float,
    *,
    n_positive: int,
    n_negative: int,
    correlation: float = 0.4,
    images_per_patient: int = 4,
    within_patient: float = 0.5,
    alpha: float = 0.05,
    n_simulations: int = 2000,
    seed: int = 0,
) -> Power:
    """Simulate how often the paired test by patient tells two AUCs apart.

    Parameters
    ----------
    auc1, auc2 : float
        True AUCs of the two methods, between 0 and 1, in any order.
    n_positive, n_negative : int
        Patients with and without a positive film, at least 2 of each.
    correlation : float
        Of the two methods' scores of a film, given its label; from 0 to below 1.
    images_per_patient : int
        Films of each patient. Of a positive patient up to two are positive (the views of one
        breast), the others negative. With 1, films are independent.
    within_patient : float
        Correlation of the scores of one patient's films given their labels, from 0 to 1.
    alpha : float
        Level of the two-sided test, between 0 and 1.
    n_simulations : int
        At least 1.
    seed : int

    Returns
    -------
    Power

    Raises
    ------
    ValueError
        If an argument is out of its range.
    """
    _check(auc1, auc2, correlation, within_patient, alpha)
    _check_integer(n_positive=(n_positive, 2), n_negative=(n_negative, 2), seed=(seed, 0))
    _check_integer(images_per_patient=(images_per_patient, 1), n_simulations=(n_simulations, 1))
    labels = _labels(n_positive, n_negative, images_per_patient)
    rng = np.random.default_rng(seed)
    differences, errors = [], []
    block = max(1, BLOCK // (2 * labels.size))
    for start in range(0, n_simulations, block):
        count = min(block, n_simulations - start)
        scores = _draw(
            max(auc1, auc2), min(auc1, auc2), labels, count, correlation, within_patient, rng
        )
        difference, error = paired_auc_tests(scores[0], scores[1], labels)
        differences.append(difference)
        errors.append(error)
    gain, error = np.concatenate(differences), np.concatenate(errors)
    found = float(np.mean(gain > stats.norm.isf(alpha / 2) * error))
    return Power(
        found,
        float(np.mean(gain < 0)),
        math.sqrt(found * (1 - found) / n_simulations),
        float(gain.std(ddof=1)) if n_simulations > 1 else math.nan,
        len(labels),
        labels.size,
        n_simulations,
    )


def patients_needed(
    auc1: float,
    auc2: float,
    *,
    power: float = 0.8,
    positive_share: float = 0.4,
    correlation: float = 0.4,
    images_per_patient: int = 4,
    within_patient: float = 0.5,
    alpha: float = 0.05,
    n_simulations: int = 400,
    seed: int = 0,
) -> int:
    """Return how many patients give the paired test a certain power.

    The variance of a difference of AUCs falls as one over the number of patients. It is
    measured on ``n_simulations`` samples of 1,000 patients and extrapolated to where the
    difference is the sum of the two normal quantiles, in standard errors. Check the answer
    with :func:`power_simulation`.

    Parameters
    ----------
    auc1, auc2 : float
        True AUCs, different.
    power : float
        Wanted, between 0.5 and 1.
    positive_share : float
        Share of the patients with a positive film, between 0 and 1.
    correlation, images_per_patient, within_patient, alpha, n_simulations, seed
        As in :func:`power_simulation`.

    Returns
    -------
    int
        At least so many that two are of each class.

    Raises
    ------
    ValueError
        If an argument is out of its range, the AUCs are equal, or their difference did not vary.
    """
    _check_real(power=power, positive_share=positive_share)
    if auc1 == auc2:
        raise ValueError(f"auc1 and auc2 are both {auc1}; no number of patients tells them apart.")
    for name, value, low in (("power", power, 0.5), ("positive_share", positive_share, 0.0)):
        if not low < value < 1:
            raise ValueError(f"{name} is {value!r}; it must be between {low} and 1.")
    _check_integer(n_simulations=(n_simulations, 2))
    pilot = 1000
    positive = round(positive_share * pilot)
    if not 2 <= positive <= pilot - 2:
        raise ValueError(
            f"positive_share is {positive_share!r}; samples of {pilot} patients need at least two "
            "of each class: give 0.002 to 0.998."
        )
    result = power_simulation(
        auc1,
        auc2,
        n_positive=positive,
        n_negative=pilot - positive,
        correlation=correlation,
        images_per_patient=images_per_patient,
        within_patient=within_patient,
        alpha=alpha,
        n_simulations=n_simulations,
        seed=seed,
    )
    if not result.difference_error > 0:
        raise ValueError(
            f"auc1 {auc1} and auc2 {auc2} gave the same difference in all simulations; AUCs less "
            "close to 0 and 1, or more simulations, are needed to measure its variance."
        )
    quantiles = stats.norm.isf(alpha / 2) + stats.norm.ppf(power)
    needed = math.ceil(pilot * (quantiles * result.difference_error / (auc1 - auc2)) ** 2)
    return max(needed, math.ceil(2 / min(positive_share, 1 - positive_share)))


def paired_auc_tests(scores1: Any, scores2: Any, labels: Any) -> tuple[Array, Array]:
    """Return differences of AUCs and their standard errors by patient, for many samples.

    The variance is Obuchowski's (1997): DeLong's, with the placements of a patient's films
    added up first. With one film per patient it is DeLong's.

    Parameters
    ----------
    scores1, scores2 : array_like of shape (n_samples, n_patients, n_films)
        Scores of two methods for the same films, without ties.
    labels : array_like of shape (n_patients, n_films)
        0 and 1, the same in all samples; at least two patients with films of each.

    Returns
    -------
    differences, errors : ndarray of shape (n_samples,)
        AUC of the first minus AUC of the second method, and its standard error.

    Raises
    ------
    ValueError
        If scores are NaN, or fewer than two patients have films of a class.
    """
    labels = np.asarray(labels, dtype=bool)
    if min(labels.any(axis=1).sum(), (~labels).any(axis=1).sum()) < 2:
        raise ValueError("labels must hold two patients or more with films of each class.")
    if np.isnan(scores1).any() or np.isnan(scores2).any():
        raise ValueError("scores1 and scores2 must not hold NaN; leave out films without a score.")
    (auc1, pos1, neg1), (auc2, pos2, neg2) = (
        _placements(np.asarray(scores), labels) for scores in (scores1, scores2)
    )
    difference = (auc1 - auc2)[:, None]
    positives, negatives = labels.sum(axis=1), (~labels).sum(axis=1)
    # a patient's part in the deviation of each mean of placements
    part1 = (pos1 - pos2 - difference * positives) / positives.sum()
    part0 = (neg1 - neg2 - difference * negatives) / negatives.sum()
    n1, n0, n = (positives > 0).sum(), (negatives > 0).sum(), len(labels)
    variance = (part1**2).sum(axis=1) * n1 / (n1 - 1) + (part0**2).sum(axis=1) * n0 / (n0 - 1)
    variance += 2 * (part1 * part0).sum(axis=1) * n / (n - 1)
    return difference[:, 0], np.sqrt(np.maximum(variance, 0.0))


def _placements(scores: Array, labels: NDArray[np.bool_]) -> tuple[Array, Array, Array]:
    """Return the AUCs and, by patient, the sums of placements of its films of each class.

    The placement of a positive film is the share of negative films with a smaller score; that
    of a negative film the share of positive films with a larger one.
    """
    n_samples, flat = len(scores), labels.ravel()
    order = scores.reshape(n_samples, -1).argsort(axis=1)
    sorted_labels = flat[order]
    below = np.cumsum(~sorted_labels, axis=1)  # negative films up to each place
    above = flat.sum() - np.cumsum(sorted_labels, axis=1)  # positive films beyond it
    share = np.where(sorted_labels, below / (~flat).sum(), above / flat.sum())
    placements = np.empty_like(share)
    np.put_along_axis(placements, order, share, axis=1)
    placements = placements.reshape(scores.shape)
    positive = (placements * labels).sum(axis=2)
    return positive.sum(axis=1) / flat.sum(), positive, (placements * ~labels).sum(axis=2)


def _labels(n_positive: int, n_negative: int, films: int) -> NDArray[np.bool_]:
    """Return the labels of the films, positive patients first, shape (patients, films)."""
    labels = np.zeros((n_positive + n_negative, films), bool)
    labels[:n_positive, :2] = True
    return labels


def _draw(
    auc1: float,
    auc2: float,
    labels: NDArray[np.bool_],
    count: int,
    correlation: float,
    within_patient: float,
    rng: np.random.Generator,
) -> tuple[Array, Array]:
    """Draw the scores of two methods, shape (count, patients, films) each."""

    def noise() -> Array:
        shared = rng.standard_normal((count, len(labels), 1))
        own = rng.standard_normal((count, *labels.shape))
        return math.sqrt(within_patient) * shared + math.sqrt(1 - within_patient) * own

    first = noise()
    second = correlation * first + math.sqrt(1 - correlation**2) * noise()
    shift1, shift2 = (math.sqrt(2) * stats.norm.ppf(auc) for auc in (auc1, auc2))
    return first + shift1 * labels, second + shift2 * labels


def _check(auc1: Any, auc2: Any, correlation: Any, within_patient: Any, alpha: Any) -> None:
    _check_real(correlation=correlation, within_patient=within_patient)
    _check_real(auc1=auc1, auc2=auc2, alpha=alpha)
    for name, value in (("auc1", auc1), ("auc2", auc2), ("alpha", alpha)):
        if not 0 < value < 1:
            raise ValueError(f"{name} is {value!r}; it must be between 0 and 1.")
    if not 0 <= correlation < 1:
        raise ValueError(f"correlation is {correlation!r}; it must be at least 0 and below 1.")
    if not 0 <= within_patient <= 1:
        raise ValueError(f"within_patient is {within_patient!r}; it must be from 0 to 1.")


def _check_real(**values: Any) -> None:
    for name, value in values.items():
        if not isinstance(value, numbers.Real):
            raise ValueError(f"{name} is {value!r}; it must be a number.")


def _check_integer(**limits: tuple[Any, int]) -> None:
    for name, (value, low) in limits.items():
        integer = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
        if not integer or value < low:
            raise ValueError(f"{name} is {value!r}; it must be an integer of at least {low}.")
