"""Exercises of chapter 8, a linear baseline."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from mammocourse.check import Exercise, Mistake, Parameters


def _soft(p: Parameters, shrink: bool = True) -> list[float]:
    """Return the soft threshold of each entry; without ``shrink`` the hard one."""
    a, lam = np.array(p["a"]), p["lam"]
    size = np.abs(a) - lam if shrink else np.abs(a)
    return [float(v) for v in np.sign(a) * np.where(np.abs(a) > lam, size, 0.0) + 0.0]


def _coefficients(rng: np.random.Generator) -> Parameters:
    """Return two coefficients below the threshold and three above it, of both signs."""
    lam = round(float(rng.uniform(0.5, 1.5)), 1)
    factors = np.concatenate([rng.uniform(0.2, 0.8, size=2), rng.uniform(1.3, 3, size=3)])
    values = rng.permutation(factors * lam * np.array([1, -1, -1, 1, 1]))
    return {"a": [round(float(value), 2) for value in values], "lam": lam}


def _stranger(rng: np.random.Generator) -> Parameters:
    """Return six images of two pixels with a fit whose residual is no dual point."""
    x = rng.integers(-3, 4, size=(6, 2))
    x[:, 0] += np.array([0, 0, 0, 2, 2, 2])
    case: dict[str, Any] = {
        "x": x.tolist(),
        "y": [0, 0, 0, 1, 1, 1],
        "b0": round(float(rng.uniform(-0.4, -0.1)), 2),
        "b": [round(float(rng.uniform(0.15, 0.35)), 2), round(float(rng.uniform(0.02, 0.1)), 2)],
    }
    _, u = _residual(case)
    case["lam"] = round(float(rng.uniform(0.5, 0.8) * np.abs(u @ x).max()), 2)
    return case


def _residual(p: Parameters, balance: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Return the log-odds, and the residual, shrunk on one side (``balance``) to have sum 0."""
    scores, y = p["b0"] + np.array(p["x"]) @ np.array(p["b"]), np.array(p["y"])
    u = 1 / (1 + np.exp(-scores)) - y
    if not balance:
        return scores, u
    up, down = u[y == 0].sum(), -u[y == 1].sum()
    return scores, u * np.where(y == 0, min(1.0, down / up), min(1.0, up / down))


def _gap(
    p: Parameters, *, shrink: bool = True, balance: bool = True, relative: bool = True
) -> float:
    """Return the duality gap of a fit, with its balanced and shrunk residual as dual point."""
    scores, u = _residual(p, balance)
    if shrink:
        u *= min(1.0, p["lam"] / np.abs(u @ np.array(p["x"])).max())
    y, b = np.array(p["y"]), np.array(p["b"])
    m = np.abs(u)
    dual = -np.sum(m * np.log(m) + (1 - m) * np.log(1 - m))
    primal = np.logaddexp(0, (1 - 2 * y) * scores).sum() + p["lam"] * np.abs(b).sum()
    return float((primal - dual) / (primal if relative else 1.0))


EXERCISES = [
    Exercise(
        id="08-scale",
        parameters=lambda rng: {
            "n": int(rng.integers(10, 60)) * 100,
            "book_lambda": round(float(rng.uniform(0.001, 0.009)), 4),
        },
        solution=lambda p: 1 / (p["n"] * p["book_lambda"]),
        rtol=1e-3,
        hint="Multiply the whole objective by n, then compare it with the one of the program.",
        mistakes=[
            Mistake(
                lambda p: 1 / p["book_lambda"],
                "The program's penalty stands beside the sum of the losses, not the mean.",
            ),
            Mistake(
                lambda p: p["n"] * p["book_lambda"],
                "That is the lambda of the program. Its argument C is one over it.",
            ),
            Mistake(
                lambda p: p["n"] / p["book_lambda"],
                "A sum of n losses is n times larger than their mean; what must lambda be times?",
            ),
        ],
    ),
    Exercise(
        id="08-soft",
        parameters=_coefficients,
        solution=_soft,
        atol=1e-3,
        hint="Move each coefficient toward zero by lambda, and stop at zero.",
        mistakes=[
            Mistake(
                lambda p: _soft(p, shrink=False),
                "The right ones are zero. But those that stay are smaller by lambda, too.",
            ),
            Mistake(
                lambda p: [float(v) for v in np.sign(p["a"]) * (np.abs(p["a"]) - p["lam"])],
                "A coefficient does not change its sign: it stops at zero.",
            ),
            Mistake(
                lambda p: [v / (1 + p["lam"]) for v in p["a"]],
                "That is ridge: all are shrunk by the same factor, and none is zero.",
            ),
        ],
    ),
    Exercise(
        id="08-gap",
        parameters=_stranger,
        solution=_gap,
        atol=1e-3,
        hint="Residual; make it sum to 0; shrink it until |x'u| <= lambda; then (F - D) / F.",
        mistakes=[
            Mistake(
                lambda p: _gap(p, relative=False),
                "That is F - D. Divide it by F.",
            ),
            Mistake(
                lambda p: _gap(p, shrink=False),
                "The residual is not feasible: |x'u| is above lambda for some pixel. Shrink it.",
            ),
            Mistake(
                lambda p: _gap(p, balance=False),
                "The residual must sum to 0, or beta_0 does not drop out: shrink the larger side.",
            ),
        ],
    ),
    Exercise(
        id="08-orbits",
        parameters=lambda rng: {"side": 2 * int(rng.integers(10, 120))},
        solution=lambda p: p["side"] // 2 * (p["side"] // 2 + 1) // 2,
        hint="Try a side of 4 on paper. Which pixels are their own mirror image?",
        mistakes=[
            Mistake(
                lambda p: math.floor(p["side"] ** 2 / 8),
                "Not all orbits have eight pixels: look at the diagonals.",
            ),
            Mistake(
                lambda p: p["side"] ** 2 // 4,
                "That is with rotations only.",
            ),
        ],
    ),
]
