"""Exercises of chapter 12, whole mammograms."""

from __future__ import annotations

import math

import numpy as np

from mammocourse.check import Exercise, Mistake, Parameters


def _shrink(p: Parameters) -> float:
    return float(p["diameter"] / p["pixel"] * 224 / p["rows"])


def _layers(rng: np.random.Generator) -> Parameters:
    """Return layers of a scanner whose window differs from what the mistakes give."""
    kernels = rng.choice([3, 5, 7], size=3)
    return {
        "layers": [
            [int(kernels[0]), 2],
            [3, 2],
            [int(kernels[1]), 1],
            [3, 2],
            [int(kernels[2]), 1],
        ],
        "places": int(rng.integers(8, 16)),
    }


def _field(p: Parameters) -> tuple[int, int]:
    """Return window and stride."""
    window, stride = 1, 1
    for kernel, step in p["layers"]:
        window, stride = window + (kernel - 1) * stride, stride * step
    return window, stride


def _side(p: Parameters, places: int = 0) -> int:
    window, stride = _field(p)
    return window + (p["places"] + places - 1) * stride


def _box(rng: np.random.Generator) -> Parameters:
    """Return a box whose height and width round to different numbers of strides."""
    return {
        "height": int(rng.integers(1500, 3400)),
        "width": int(rng.integers(500, 1300)),
        "window": 331,
        "stride": 32,
    }


def _grid(p: Parameters, steps: int = 14) -> list[int]:
    return [
        p["window"]
        + steps * p["stride"] * max(1, round((p[side] - p["window"]) / (steps * p["stride"])))
        for side in ("height", "width")
    ]


def _patients(p: Parameters, quantiles: float = 1.959964 + 0.841621, power: float = 2) -> int:
    return math.ceil(p["patients"] * (quantiles * p["error"] / p["gain"]) ** power)


EXERCISES = [
    Exercise(
        id="12-shrink",
        parameters=lambda rng: {
            "rows": int(rng.choice([2400, 3000, 3328, 4084])),
            "pixel": float(rng.choice([0.05, 0.07, 0.1])),
            "diameter": int(rng.integers(4, 16)),
        },
        solution=_shrink,
        rtol=0.01,
        hint="First pixels of the film (diameter / pixel), then times 224 / rows.",
        mistakes=[
            Mistake(
                lambda p: p["diameter"] / p["pixel"],
                "That is its width on the film. Now shrink the film to 224 rows.",
            ),
            Mistake(
                lambda p: p["diameter"] * 224 / p["rows"],
                "Millimeters are no pixels yet: divide by the size of a pixel.",
            ),
        ],
    ),
    Exercise(
        id="12-window",
        parameters=_layers,
        solution=_side,
        hint="From the last layer back to the image: (places - 1) * stride + kernel.",
        mistakes=[
            Mistake(
                lambda p: _field(p)[0],
                "That is the window, enough for one place. Add the other places.",
            ),
            Mistake(
                lambda p: _side(p, 1),
                "One place too many: n windows have n - 1 steps between them.",
            ),
        ],
    ),
    Exercise(
        id="12-grid",
        parameters=_box,
        solution=_grid,
        hint="window + 14 * stride * a, with a = (side - window) / (14 * stride) rounded.",
        mistakes=[
            Mistake(
                lambda p: _grid(p, steps=15),
                "Fifteen windows have fourteen steps between them.",
            ),
            Mistake(
                lambda p: _grid(p)[::-1],
                "The right numbers in the wrong order: height first.",
            ),
        ],
    ),
    Exercise(
        id="12-patients",
        parameters=lambda rng: {
            "patients": int(rng.integers(8, 30)) * 10,
            "error": int(rng.integers(20, 40)) / 1000,
            "gain": int(rng.integers(15, 35)) / 1000,
        },
        solution=_patients,
        rtol=0.005,
        hint="patients * ((1.96 + 0.84) * error / gain) ** 2.",
        mistakes=[
            Mistake(
                lambda p: _patients(p, quantiles=1.959964),
                "With that many the test finds it in half of the studies: add the quantile 0.84.",
            ),
            Mistake(
                lambda p: _patients(p, power=1),
                "The standard error falls with the square root of the number: square the ratio.",
            ),
        ],
    ),
]
