"""Exercises of chapter 6, looking inside a CNN."""

from __future__ import annotations

import math

import numpy as np

from mammocourse.check import Exercise, Mistake, Parameters


def _factor(p: Parameters) -> float:
    gap = abs(p["z1"] - p["z0"])
    return 1 / (1 + math.exp(-gap)) / (1 + math.exp(gap))


def _weights(p: Parameters) -> np.ndarray:
    """Return the weight of each pixel in the mean of the map."""
    side = p["size"] - 1
    weights = np.zeros((p["size"], p["size"]))
    for m, n in np.ndindex(2, 2):
        weights[m : m + side, n : n + side] += p["kernel"][m][n] / side**2
    return weights


def _objective(p: Parameters, gain: float | None = None) -> float:
    if gain is None:
        gain = float(np.sum(_weights(p) ** 2))
    return p["start"] + p["steps"] * p["rate"] * gain


def _hill(rng: np.random.Generator) -> Parameters:
    kernel = rng.choice([-2, -1, 1, 3, 4], size=4, replace=False).reshape(2, 2)
    return {
        "size": int(rng.integers(4, 9)),
        "kernel": kernel.tolist(),
        "start": round(float(rng.uniform(0.1, 0.5)), 2),
        "rate": float(rng.choice([0.5, 1.0, 2.0])),
        "steps": int(rng.integers(20, 60)),
    }


def _summed(p: Parameters) -> np.ndarray:
    weights = np.mean(p["gradients"], axis=(1, 2))
    return np.tensordot(weights, np.array(p["maps"], dtype=float), axes=1)


def _two_maps(rng: np.random.Generator) -> Parameters:
    """Return maps whose weighted sum has both signs, and differs from that place by place."""
    while True:
        case = {
            "maps": rng.integers(0, 6, size=(2, 2, 2)).tolist(),
            "gradients": rng.integers(-4, 5, size=(2, 2, 2)).tolist(),
        }
        summed, by_place = _summed(case), _by_place(case)
        apart = np.abs(np.maximum(summed, 0) - by_place).max() > 0.1
        if summed.min() < -0.5 and summed.max() > 0.5 and apart:
            return case


def _by_place(p: Parameters) -> np.ndarray:
    product = np.array(p["gradients"], dtype=float) * np.array(p["maps"])
    return np.maximum(product.sum(axis=0), 0)


EXERCISES = [
    Exercise(
        id="06-saturation",
        parameters=lambda rng: {
            "z0": round(float(rng.uniform(-6, -2)), 1),
            "z1": round(float(rng.uniform(2, 6)), 1),
        },
        solution=_factor,
        rtol=5e-3,
        hint="With two classes p is the logistic function of the log-odds. What is its derivative?",
        mistakes=[
            Mistake(
                lambda p: 1 / (1 + math.exp(-abs(p["z1"] - p["z0"]))),
                "That is the probability itself, not its derivative.",
            ),
            Mistake(
                lambda p: 1 / _factor(p),
                "The other way round: the gradient of the probability is the smaller one.",
            ),
            Mistake(
                lambda p: math.exp(-p["z1"]) / (1 + math.exp(-p["z1"])) ** 2,
                "That uses one logit only. The probability depends on the difference of the two.",
            ),
        ],
    ),
    Exercise(
        id="06-ascent",
        parameters=_hill,
        solution=_objective,
        rtol=5e-3,
        hint=(
            "The objective is linear in the image, so each step adds the same: the learning rate "
            "times the squared length of the gradient. Which pixels meet which entries?"
        ),
        mistakes=[
            Mistake(
                lambda p: _objective(p, float(np.sqrt(np.sum(_weights(p) ** 2)))),
                "Each step adds the learning rate times the squared length of the gradient; that "
                "is its length.",
            ),
            Mistake(
                lambda p: _objective(
                    p, p["size"] ** 2 * (np.sum(p["kernel"]) / (p["size"] - 1) ** 2) ** 2
                ),
                "At the border not all entries of the kernel meet a pixel.",
            ),
            Mistake(
                lambda p: _objective(p, float(np.sum(_weights(p) ** 2))) - p["start"],
                "That is the gain. Where did the ascent start?",
            ),
            Mistake(
                lambda p: _objective(p, float(np.sum(np.square(p["kernel"])))),
                "The kernel's entries meet many pixels, and each only with the share of one "
                "position in the mean.",
            ),
        ],
    ),
    Exercise(
        id="06-gradcam",
        parameters=_two_maps,
        solution=lambda p: np.maximum(_summed(p), 0),
        atol=1e-3,
        hint="First one weight for each map: the mean of its gradient over the four places.",
        mistakes=[
            Mistake(_summed, "The ReLU is missing: what is negative becomes zero."),
            Mistake(
                _by_place,
                "That multiplies place by place. Grad-CAM averages the gradient of a map first.",
            ),
            Mistake(
                lambda p: 4 * np.maximum(_summed(p), 0),
                "The weights are means over the places, not sums.",
            ),
        ],
    ),
]
