"""Exercises of chapter 1, the introduction."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from mammocourse.check import Exercise, Mistake

__all__ = ["EXERCISES"]

Z_95 = 1.959963984540054  # 97.5% quantile of the standard normal distribution


def _program(rng: np.random.Generator) -> dict[str, Any]:
    """Draw a hypothetical screening program."""
    return {
        "sensitivity": round(float(rng.uniform(0.74, 0.85)), 2),
        "specificity": round(float(rng.uniform(0.87, 0.96)), 2),  # never equal to sensitivity
        "prevalence": int(rng.integers(5, 10)) / 1_000,  # large enough to tell formulas apart
    }


def _study(rng: np.random.Generator) -> dict[str, Any]:
    """Draw a study that counts copies of its test images.

    For these accuracies Wilson's half-width is smaller by more than the tolerance.
    """
    copies = int(rng.choice([2, 4, 8]))
    return {
        "accuracy": round(float(rng.uniform(0.70, 0.80)), 2),
        "n_test": copies * 10 * int(rng.integers(12, 31)),
        "copies": copies,
    }


def _demand(rng: np.random.Generator) -> dict[str, Any]:
    """Draw a program whose specificity is to be found."""
    return {
        "sensitivity": round(float(rng.uniform(0.75, 0.92)), 2),
        "prevalence": int(rng.integers(6, 11)) / 1_000,  # large enough to tell formulas apart
    }


def _flags(p: Mapping[str, Any]) -> tuple[float, float]:
    """Return the expected shares of true and of false flags among all women."""
    true_flags = p["sensitivity"] * p["prevalence"]
    false_flags = (1 - p["specificity"]) * (1 - p["prevalence"])
    return true_flags, false_flags


def _half_width(accuracy: float, n: float) -> float:
    """Return the half-width of the 95% normal interval of a proportion."""
    return Z_95 * math.sqrt(accuracy * (1 - accuracy) / n)


def _wilson_half_width(accuracy: float, n: float) -> float:
    """Return the half-width of Wilson's 95% interval of a proportion."""
    root = math.sqrt(accuracy * (1 - accuracy) / n + (Z_95 / (2 * n)) ** 2)
    return Z_95 * root / (1 + Z_95**2 / n)


EXERCISES = [
    Exercise(
        id="01-implied-accuracy",
        solution=lambda p: (316 * 0.54 + 364 * 0.65) / 680,
        atol=6e-4,  # three decimals are asked for
        hint=(
            "Count the images that are right: sensitivity times 316 plus specificity times 364, "
            "divided by 680."
        ),
        mistakes=[
            Mistake(
                lambda p: (0.54 + 0.65) / 2,
                "This is the plain average; the two classes do not have the same size.",
            ),
            Mistake(
                lambda p: (364 * 0.54 + 316 * 0.65) / 680,
                "Sensitivity belongs to the 316 malignant images, specificity to the 364 benign.",
            ),
            Mistake(lambda p: 0.61, "That is the printed value; compute the one that is implied."),
        ],
    ),
    Exercise(
        id="01-ppv",
        parameters=_program,
        solution=lambda p: _flags(p)[0] / sum(_flags(p)),
        atol=6e-5,  # four decimals are asked for
        hint="Divide the share of true flags by the share of all flags, true and false.",
        mistakes=[
            Mistake(
                lambda p: p["sensitivity"] / (p["sensitivity"] + 1 - p["specificity"]),
                "This leaves out the prevalence: it would hold if half of the women had cancer.",
            ),
            Mistake(
                lambda p: p["sensitivity"],
                "This is the share of cancers that are flagged; asked is the share of flags "
                "that are cancers.",
            ),
            Mistake(
                lambda p: (
                    p["sensitivity"]
                    * p["prevalence"]
                    / (
                        p["sensitivity"] * p["prevalence"]
                        + p["specificity"] * (1 - p["prevalence"])
                    )
                ),
                "A healthy woman is flagged with probability 1 - specificity, not specificity.",
            ),
            Mistake(
                lambda p: _flags(p)[0] / (_flags(p)[0] + 1 - p["specificity"]),
                "Close: only the healthy, a share of 1 - prevalence, can be flagged falsely.",
            ),
        ],
    ),
    Exercise(
        id="01-half-width",
        parameters=_study,
        solution=lambda p: _half_width(p["accuracy"], p["n_test"] / p["copies"]),
        atol=6e-5,  # four decimals are asked for
        hint="1.96 times the square root of a(1 - a)/n, where n counts independent images.",
        mistakes=[
            Mistake(
                lambda p: _half_width(p["accuracy"], p["n_test"]),
                "This takes every copy for an independent image; divide n_test by copies.",
            ),
            Mistake(
                lambda p: _half_width(p["accuracy"], p["n_test"] / p["copies"]) / Z_95,
                "This is the standard error; multiply it by 1.96.",
            ),
            Mistake(
                lambda p: 2 * _half_width(p["accuracy"], p["n_test"] / p["copies"]),
                "This is the whole width; the half-width is asked for.",
            ),
            Mistake(
                lambda p: _wilson_half_width(p["accuracy"], p["n_test"] / p["copies"]),
                "This is the half-width of Wilson's interval; take 1.96 standard errors instead.",
            ),
        ],
    ),
    Exercise(
        id="01-specificity",
        parameters=_demand,
        solution=lambda p: 1 - p["sensitivity"] * p["prevalence"] / (1 - p["prevalence"]),
        atol=1e-5,  # five decimals are asked for
        hint="Set the share of true flags equal to the share of false flags, and solve.",
        mistakes=[
            Mistake(
                lambda p: p["sensitivity"] * p["prevalence"] / (1 - p["prevalence"]),
                "This is the share of healthy women who are flagged, 1 - specificity.",
            ),
            Mistake(
                lambda p: 1 - p["sensitivity"] * p["prevalence"],
                "Close: the false flags are (1 - specificity) times the share of the healthy, "
                "1 - prevalence; divide by it.",
            ),
        ],
    ),
]
