"""Exercises of chapter 13, evaluation that survives scrutiny."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mammocourse.check import Exercise, Mistake, Parameters


def _pairs(p: Parameters, tie: float = 0.5) -> float:
    malignant, benign = (np.array(p[name]) for name in ("malignant", "benign"))
    difference = malignant[:, None] - benign[None, :]
    return float(np.mean(np.where(difference == 0, tie, difference > 0)))


def _categories(rng: np.random.Generator) -> Parameters:
    """Return categories from 1 to 5 with ties; neither order is perfect."""
    while True:
        malignant = sorted(int(c) for c in rng.integers(2, 6, size=4))
        benign = sorted(int(c) for c in rng.integers(1, 5, size=5))
        p = {"malignant": malignant, "benign": benign}
        if 0.6 < _pairs(p) < 0.95 and _pairs(p, 1) - _pairs(p, 0) > 0.15:
            return p


def _tables(p: Parameters, places: tuple[str, ...]) -> list[list[int]]:
    """Return the [TP, TN] that print as the given measures, rounded to two decimals."""
    malignant, benign = p["malignant"], p["benign"]
    n = malignant + benign

    def prints(name: str, count: int, of: int) -> bool:
        return name not in places or (200 * count + of) // (2 * of) == round(100 * p[name])

    return [
        [tp, tn]
        for tp in range(malignant + 1)
        for tn in range(benign + 1)
        if prints("sensitivity", tp, malignant)
        and prints("specificity", tn, benign)
        and prints("accuracy", tp + tn, n)
    ]


ALL = ("accuracy", "sensitivity", "specificity")


def _paper(rng: np.random.Generator) -> Parameters:
    """Return a printed row that only one confusion table explains."""
    while True:
        malignant, benign = (int(k) for k in rng.integers(105, 160, size=2))
        tp = int(malignant * rng.uniform(0.6, 0.8))
        tn = int(benign * rng.uniform(0.7, 0.9))
        counts = {
            "sensitivity": (tp, malignant),
            "specificity": (tn, benign),
            "accuracy": (tp + tn, malignant + benign),
        }
        shown = {name: (200 * k + n) // (2 * n) / 100 for name, (k, n) in counts.items()}
        p = {"malignant": malignant, "benign": benign, **{name: shown[name] for name in ALL}}
        nearest = [round(malignant * p["sensitivity"]), round(benign * p["specificity"])]
        if _tables(p, ALL) == [[tp, tn]] and nearest != [tp, tn] and tp != tn:
            return p


def _odds(p: float) -> float:
    return p / (1 - p)


def _moved(p: Parameters) -> float:
    odds = _odds(p["p"]) * _odds(p["screening"]) / _odds(p["study"])
    return odds / (1 + odds)


def _benefit(weight: Callable[[float], float]) -> Callable[[Parameters], float]:
    """Return the net benefit per 1,000 with this price of a false positive."""

    def per_thousand(p: Parameters) -> float:
        lost = weight(p["t"]) * p["false_positives"]
        return float(1000 * (p["true_positives"] - lost) / p["n"])

    return per_thousand


EXERCISES = [
    Exercise(
        id="13-auc",
        parameters=_categories,
        solution=_pairs,
        atol=1e-3,
        hint="Compare each malignant lesion with each benign one: won 1, tied 1/2, lost 0.",
        mistakes=[
            Mistake(
                lambda p: _pairs(p, 0),
                "That is the strict form of the AUC paper. A tie counts one half.",
            ),
            Mistake(lambda p: _pairs(p, 1), "Ties are counted as won. A tie counts one half."),
            Mistake(
                lambda p: 1 - _pairs(p),
                "The other way round: the malignant lesion should have the larger category.",
            ),
        ],
    ),
    Exercise(
        id="13-reconstruct",
        parameters=_paper,
        solution=lambda p: _tables(p, ALL)[0],
        hint=(
            "List all counts that print as the sensitivity, and all that print as the "
            "specificity. Which pair also prints as the accuracy?"
        ),
        mistakes=[
            Mistake(
                lambda p: [
                    round(p["malignant"] * p["sensitivity"]),
                    round(p["benign"] * p["specificity"]),
                ],
                "These counts are the nearest to sensitivity and specificity, but do not print as "
                "the accuracy. Which others print as the same two numbers?",
            ),
            Mistake(
                lambda p: _tables(p, ALL)[0][::-1],
                "Right numbers in the wrong order: true positives first.",
            ),
        ],
    ),
    Exercise(
        id="13-shift",
        parameters=lambda rng: {
            "p": round(float(rng.uniform(0.7, 0.95)), 2),
            "study": round(float(rng.uniform(0.35, 0.48)), 2),
            "screening": int(rng.integers(5, 11)) / 1000,
        },
        solution=_moved,
        atol=1e-4,
        hint="Odds of the case, times the odds of the new prevalence, over those of the old one.",
        mistakes=[
            Mistake(
                lambda p: p["p"] * p["screening"] / p["study"],
                "Odds are multiplied, not probabilities.",
            ),
            Mistake(
                lambda p: _odds(_moved(p)),
                "These are the odds. Turn them into a probability: odds / (1 + odds).",
            ),
            Mistake(
                lambda p: (
                    _odds(p["p"])
                    * _odds(p["screening"])
                    / (1 + _odds(p["p"]) * _odds(p["screening"]))
                ),
                "The old prior is still inside: divide by the odds of the study's share.",
            ),
        ],
    ),
    Exercise(
        id="13-benefit",
        parameters=lambda rng: {
            "n": 10_000,
            "true_positives": int(rng.integers(38, 50)),
            "false_positives": int(rng.integers(700, 1100)),
            "t": round(float(rng.uniform(0.013, 0.025)), 3),
        },
        solution=_benefit(_odds),
        atol=0.006,
        hint="True positives less the false positives at their price, t / (1 - t); per 1,000.",
        mistakes=[
            Mistake(
                _benefit(lambda t: t),
                "The price of a false positive is the odds t / (1 - t), not t.",
            ),
            Mistake(
                _benefit(lambda t: 1.0),
                "That takes a false alarm for as bad as a missed cancer, t = 1/2.",
            ),
            Mistake(
                _benefit(lambda t: 0.0),
                "The false positives are missing: they cost t / (1 - t) each.",
            ),
            Mistake(
                lambda p: _benefit(_odds)(p) / 1000,
                "That is per woman. Asked is the net benefit per 1,000 women.",
            ),
        ],
    ),
]
