"""Exercises of chapter 5, a CNN on MNIST."""

from __future__ import annotations

import math

import numpy as np

from mammocourse.check import Exercise, Mistake, Parameters


def _parameter_count(p: Parameters, side: int | None = None, bias: int = 1) -> int:
    if side is None:
        side = (28 - p["size"] + 1) // 2
    count = (p["size"] ** 2 + bias) * p["kernels"]
    count += (side * side * p["kernels"] + bias) * p["units"]
    return count + (p["units"] + bias) * p["classes"]


def _losses(rng: np.random.Generator) -> Parameters:
    """Return losses that fall, rise for one epoch, fall, rise for good, and fall too late."""
    first = np.sort(rng.choice(np.arange(30, 60), size=4, replace=False))[::-1] / 1000
    low = first[-1]
    tail = [low + 0.004, low - 0.006, low + 0.001, low - 0.002, low + 0.003, low - 0.01]
    losses = [round(float(value), 3) for value in [*first[: int(rng.integers(2, 5))], *tail]]
    return {"losses": losses, "patience": int(rng.integers(2, 4))}


def _stop_and_kept(p: Parameters, restart: bool = False) -> list[int]:
    """Apply early stopping; ``restart`` counts rises from one epoch to the next instead."""
    losses, best, waited = p["losses"], 0, 0
    for epoch in range(1, len(losses)):
        if losses[epoch] < losses[best]:
            best, waited = epoch, 0
        elif restart and losses[epoch] < losses[epoch - 1]:
            waited = 0
        else:
            waited += 1
        if waited == p["patience"]:
            return [epoch + 1, best + 1]
    return [len(losses), best + 1]


def _tail(b: int, c: int) -> float:
    return sum(math.comb(b + c, k) for k in range(min(b, c) + 1)) / 2 ** (b + c)


def _mcnemar(p: Parameters) -> float:
    return min(1.0, 2 * _tail(p["first_only"], p["second_only"]))


def _chi_square(p: Parameters) -> float:
    b, c = p["first_only"], p["second_only"]
    return math.erfc(abs(b - c) / math.sqrt(2 * (b + c)))


def _readers(rng: np.random.Generator) -> Parameters:
    second = int(rng.integers(2, 6))
    return {
        "both_right": int(rng.integers(150, 260)),
        "first_only": second + int(rng.integers(5, 10)),
        "second_only": second,
        "both_wrong": int(rng.integers(10, 30)),
    }


def _expected_best(p: Parameters) -> float:
    n, a = p["n"], p["accuracy"]
    below, expected = 0.0, 0.0
    for m in range(n):
        below += math.comb(n, m) * a**m * (1 - a) ** (n - m)
        expected += 1 - min(below, 1.0) ** p["k"]
    return expected / n


EXERCISES = [
    Exercise(
        id="05-parameters",
        parameters=lambda rng: {
            "kernels": int(rng.integers(8, 40)),
            "size": int(rng.choice([4, 6])),
            "units": int(rng.integers(20, 200)),
            "classes": int(rng.integers(3, 11)),
        },
        solution=_parameter_count,
        hint="How many pixels has the map on a side, before and after the pooling?",
        mistakes=[
            Mistake(
                lambda p: _parameter_count(p, bias=0),
                "The constants are missing, one for each kernel, unit and class.",
            ),
            Mistake(
                lambda p: _parameter_count(p, side=28 - p["size"] + 1),
                "The pooling is missing: it halves the map before the dense layer.",
            ),
            Mistake(
                lambda p: _parameter_count(p, side=14),
                "Without padding the convolution makes the map smaller, before it is pooled.",
            ),
            Mistake(
                lambda p: _parameter_count(p, side=(28 - p["size"] + 2) // 2),
                "12.5 pixels become 12: what does not fill a window is left out.",
            ),
        ],
    ),
    Exercise(
        id="05-stopping",
        parameters=_losses,
        solution=_stop_and_kept,
        hint="Note the best epoch so far, and count the epochs since. Stop at the patience.",
        mistakes=[
            Mistake(
                lambda p: [_stop_and_kept(p)[0], _stop_and_kept(p)[0]],
                "The stop is right. But the weights of the best epoch are kept, not the last.",
            ),
            Mistake(
                lambda p: [len(p["losses"]), int(np.argmin(p["losses"])) + 1],
                "That is the best of all epochs. Most of them are never run.",
            ),
            Mistake(
                lambda p: [_stop_and_kept(p)[0], int(np.argmin(p["losses"])) + 1],
                "The stop is right, and the training has ended before the epoch that you keep.",
            ),
            Mistake(
                lambda p: _stop_and_kept(p, restart=True),
                "A loss that is lower than the one before it is no improvement; it has to be "
                "lower than the best so far.",
            ),
            Mistake(
                lambda p: _stop_and_kept(p)[::-1],
                "Right numbers in the wrong order: the stop first, then the kept epoch.",
            ),
        ],
    ),
    Exercise(
        id="05-mcnemar",
        parameters=_readers,
        solution=_mcnemar,
        atol=1e-3,
        hint="A fair coin is tossed for each discordant image. Which of the four counts are these?",
        mistakes=[
            Mistake(
                lambda p: _tail(p["first_only"], p["second_only"]),
                "That is one tail. The question has two sides.",
            ),
            Mistake(
                _chi_square,
                "That is the chi-square approximation. The exact test is binomial.",
            ),
            Mistake(
                lambda p: min(1.0, 2 * _tail(p["both_right"], p["both_wrong"])),
                "Images on which both are right, or both wrong, say nothing about which is better.",
            ),
        ],
    ),
    Exercise(
        id="05-best",
        parameters=lambda rng: {
            "k": int(rng.integers(5, 16)),
            "n": int(rng.integers(100, 300)),
            "accuracy": round(float(rng.uniform(0.65, 0.8)), 2),
        },
        solution=_expected_best,
        atol=1e-3,
        hint=(
            "All k counts are at most m with probability G(m) ** k, where G is the binomial "
            "distribution function. What is the expectation of the largest?"
        ),
        mistakes=[
            Mistake(
                lambda p: p["accuracy"],
                "That is the accuracy of every one of them on new images. The best on this test "
                "set looks better.",
            ),
            Mistake(
                lambda p: (
                    p["accuracy"]
                    + 1.959964 * math.sqrt(p["accuracy"] * (1 - p["accuracy"]) / p["n"])
                ),
                "That is the upper end of an interval for a single model. It does not know k.",
            ),
            Mistake(
                lambda p: _expected_best(p) - p["accuracy"],
                "That is the gain by luck. What accuracy is then seen?",
            ),
        ],
    ),
]
