"""Exercises of chapter 11, learning to rank."""

from __future__ import annotations

import math

import numpy as np

from mammocourse.check import Exercise, Mistake, Parameters


def _differences(p: Parameters) -> np.ndarray:
    """Return the differences of all pairs, negative less positive score."""
    positive, negative = (np.array(p[name]) for name in ("positive", "negative"))
    return np.subtract.outer(negative, positive)


def _loss(p: Parameters, sign: float = 1.0) -> float:
    return float(np.logaddexp(0, sign * _differences(p)).mean())


def _scores(rng: np.random.Generator) -> Parameters:
    """Return two positive and three negative scores, in fair order."""
    while True:
        p = {
            "positive": [float(v) for v in rng.normal(0.8, 1, size=2).round(1)],
            "negative": [float(v) for v in rng.normal(-0.2, 1, size=3).round(1)],
        }
        if 0.3 < _loss(p) < 0.9 and abs(_loss(p) - _loss(p, -1)) > 0.2:
            return p


def _batch(p: Parameters) -> int:
    return math.ceil(math.log(p["empty"]) / math.log(1 - p["prevalence"]))


def _squared(p: Parameters, spread: float = 1.0, mean: float = 1.0) -> float:
    center = 1 + p["mean_negative"] - p["mean_positive"]
    return float(mean * center**2 + spread * (p["variance_positive"] + p["variance_negative"]))


def _partial(p: Parameters, top: bool = True) -> float:
    negative = np.sort(p["negative"])
    k = round(p["rate"] * len(negative))
    chosen = negative[-k:] if top else negative[:k]
    return float(np.mean(np.array(p["positive"])[:, None] > chosen[None, :]))


def _area(p: Parameters) -> float:
    return float(np.mean(_differences(p) < 0))


def _ranking(rng: np.random.Generator) -> Parameters:
    """Return scores without ties whose partial AUC differs from the whole one."""
    while True:
        scores = rng.choice(np.arange(-30, 31), size=14, replace=False) / 10
        scores[:4] += 1.05  # never equal to a negative score
        p = {
            "positive": sorted(float(round(v, 2)) for v in scores[:4]),
            "negative": sorted(float(v) for v in scores[4:]),
            "rate": 0.3,
        }
        if 0.2 < _partial(p) < 0.8 and _area(p) - _partial(p) > 0.1:
            return p


EXERCISES = [
    Exercise(
        id="11-loss",
        parameters=_scores,
        solution=_loss,
        atol=1e-3,
        hint="All six differences, negative less positive; log(1 + exp(d)) of each; their mean.",
        mistakes=[
            Mistake(
                lambda p: 6 * _loss(p),
                "That is the sum over the six pairs. Take their mean.",
            ),
            Mistake(
                lambda p: _loss(p, -1),
                "The other way round: a pair is cheap if the positive case has the larger score.",
            ),
            Mistake(
                lambda p: float(np.mean(_differences(p) >= 0)),
                "That counts the pairs out of order. Replace the step by log(1 + exp(d)).",
            ),
        ],
    ),
    Exercise(
        id="11-batch",
        parameters=lambda rng: {
            "prevalence": int(rng.integers(5, 40)) / 1000,
            "empty": int(rng.integers(2, 10)) / 100,
        },
        solution=_batch,
        hint="A batch of size m has no positive case with probability (1 - prevalence) ** m.",
        mistakes=[
            Mistake(
                lambda p: _batch(p) - 1,
                "One less than needed: round up.",
            ),
            Mistake(
                lambda p: math.ceil(1 / p["prevalence"]),
                "That many have one positive case on average. How often do they have none?",
            ),
        ],
    ),
    Exercise(
        id="11-moments",
        parameters=lambda rng: {
            "mean_positive": int(rng.integers(5, 25)) / 10,
            "mean_negative": -int(rng.integers(1, 15)) / 10,
            "variance_positive": int(rng.integers(3, 20)) / 10,
            "variance_negative": int(rng.integers(3, 20)) / 10,
        },
        solution=_squared,
        atol=1e-3,
        hint="The mean of a square is the squared mean plus the variance; of 1 + b - a.",
        mistakes=[
            Mistake(
                lambda p: _squared(p, spread=0),
                "That is the loss of the two means. The scores scatter around them.",
            ),
            Mistake(
                lambda p: _squared(p, mean=0),
                "Those are the variances. The squared mean of 1 + b - a is missing.",
            ),
        ],
    ),
    Exercise(
        id="11-partial",
        parameters=_ranking,
        solution=_partial,
        atol=1e-3,
        hint="Keep the negatives with the highest scores only; then the share of pairs in order.",
        mistakes=[
            Mistake(_area, "That is the whole AUC. Only the highest negatives count."),
            Mistake(
                lambda p: _partial(p, top=False),
                "Those are the lowest negatives. A false positive rate near 0 means the highest.",
            ),
            Mistake(
                lambda p: p["rate"] * _partial(p),
                "That is the area itself. Divide it by the rate.",
            ),
        ],
    ),
]
