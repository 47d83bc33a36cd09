"""Exercises of chapter 9, ResNet50: transfer learning and fine-tuning."""

from __future__ import annotations

import math
import statistics

from mammocourse.check import Exercise, Mistake, Parameters

T_975 = {4: 2.776445105, 5: 2.570581836, 9: 2.262157163}  # quantiles by degrees of freedom


def _block(p: Parameters, *, biases: bool = True, norms: bool = True) -> int:
    """Count an identity block's parameters, with or without biases and normalizations."""
    a, b = p["channels"], p["width"]
    total = 0
    for size, into, out in ((1, a, b), (3, b, b), (1, b, a)):
        total += size * size * into * out + out * biases + 4 * out * norms
    return total


def _saving(p: Parameters, *, once: bool = True) -> float:
    """Return how many times longer a search without a cache takes."""
    epochs = p["combinations"] * p["epochs"]
    passes = 1 if once else p["combinations"]
    without = epochs * (p["trunk"] + p["head"])
    return float(without / (passes * p["trunk"] + epochs * p["head"]))


def _half_width(p: Parameters, *, corrected: bool = True, normal: bool = False) -> float:
    """Return the half-width of the interval of a mean over folds."""
    k = len(p["differences"])
    factor = 1 / k + 1 / (k - 1) if corrected else 1 / k
    quantile = 1.959963985 if normal else T_975[k - 1]
    return quantile * math.sqrt(factor) * statistics.stdev(p["differences"])


EXERCISES = [
    Exercise(
        id="09-block",
        parameters=lambda rng: {
            "channels": 64 * int(rng.integers(2, 17)),
            "width": 16 * int(rng.integers(2, 17)),
        },
        solution=_block,
        hint="Three convolutions (1 x 1, 3 x 3, 1 x 1), each with biases and 4 more per channel.",
        mistakes=[
            Mistake(
                lambda p: _block(p, norms=False),
                "The normalizations are missing: four numbers for each of their channels.",
            ),
            Mistake(
                lambda p: _block(p, biases=False),
                "The convolutions' biases are missing: one for each output channel.",
            ),
            Mistake(
                lambda p: _block(p, norms=False, biases=False),
                "That counts the kernels. Add biases and normalizations.",
            ),
        ],
    ),
    Exercise(
        id="09-penalty",
        parameters=lambda rng: {"alpha": round(float(rng.uniform(0.001, 0.2)), 4)},
        solution=lambda p: p["alpha"] / 2,
        rtol=1e-3,
        hint="Write down what each adds to the loss for one weight w, and compare.",
        mistakes=[
            Mistake(
                lambda p: p["alpha"],
                "Keras adds a * w^2, without a half: your penalty is twice as strong.",
            ),
            Mistake(
                lambda p: 2 * p["alpha"],
                "The other way round: which of the two carries the half?",
            ),
        ],
    ),
    Exercise(
        id="09-cache",
        parameters=lambda rng: {
            "trunk": round(float(rng.uniform(3, 12)), 1),
            "head": round(float(rng.uniform(1, 4)), 1),
            "combinations": int(rng.integers(2, 10)),
            "epochs": int(rng.integers(2, 8)),
        },
        solution=_saving,
        rtol=1e-3,
        hint="Without: (trunk + head) in every epoch. With: the trunk once, then heads only.",
        mistakes=[
            Mistake(
                lambda p: _saving(p, once=False),
                "The trunk is the same for all settings: it is run once for the whole search.",
            ),
            Mistake(
                lambda p: (p["trunk"] + p["head"]) / p["head"],
                "That is the limit of a very long search. Count the one pass of the trunk, too.",
            ),
            Mistake(lambda p: 1 / _saving(p), "That is the share of the time. Turn it around."),
        ],
    ),
    Exercise(
        id="09-folds",
        parameters=lambda rng: {
            "differences": [round(float(v), 3) for v in rng.normal(0.02, 0.02, size=5)]
        },
        solution=_half_width,
        atol=5e-4,
        hint="Quantile of t with k - 1 degrees of freedom, times the root of (1/k + 1/(k-1)) s^2.",
        mistakes=[
            Mistake(
                lambda p: _half_width(p, corrected=False),
                "That is the usual interval, as if the folds shared no training patients.",
            ),
            Mistake(
                lambda p: _half_width(p, normal=True),
                "Five folds: take the quantile of t with four degrees of freedom, not 1.96.",
            ),
            Mistake(
                lambda p: 2 * _half_width(p),
                "That is the whole width. The half of it was asked for.",
            ),
        ],
    ),
]
