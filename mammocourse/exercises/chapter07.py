"""Exercises of chapter 7, the mammograms."""

from __future__ import annotations

import numpy as np

from mammocourse.check import Exercise, Mistake, Parameters

_LEVELS = 65_536  # of 16 bits


def _company(p: Parameters) -> float:
    """Return the expected share of test crops with their patient in training."""
    sizes = {1: p["single"], 2: p["pairs"], 4: p["fours"]}
    crops = sum(m * n for m, n in sizes.items())
    return sum(m * n * (1 - p["tau"] ** (m - 1)) for m, n in sizes.items()) / crops


def _company_by_patient(p: Parameters) -> float:
    sizes = {1: p["single"], 2: p["pairs"], 4: p["fours"]}
    patients = sum(sizes.values())
    return sum(n * (1 - p["tau"] ** (m - 1)) for m, n in sizes.items()) / patients


def _occupied(p: Parameters) -> list[int]:
    """Return rows and columns of a letterboxed crop."""
    factor = min(224 / p["height"], 224 / p["width"])
    return [round(p["height"] * factor), round(p["width"] * factor)]


def _film_in_tiles(rng: np.random.Generator) -> Parameters:
    """Draw a film whose sides are multiples of the numbers of tiles: OpenCV pads no other."""
    a, b = int(rng.integers(4, 6)), int(rng.integers(12, 16))
    width, height = a * int(rng.integers(500, 560)), b * int(rng.integers(280, 330))
    return {"height": height, "width": width, "a": a, "b": b}


def _first_clip(p: Parameters) -> float:
    return 2 * _LEVELS / (p["side"] / p["tiles"]) ** 2


EXERCISES = [
    Exercise(
        id="07-company",
        parameters=lambda rng: {
            "single": int(rng.integers(130, 171)),
            "pairs": int(rng.integers(160, 241)),
            "fours": int(rng.integers(20, 60)),
            "tau": round(float(rng.uniform(0.15, 0.3)), 2),
        },
        solution=_company,
        atol=2e-3,
        hint=(
            "For a test crop of a patient with m crops: with what probability are the other "
            "m - 1 all in the test set as well? Average over crops."
        ),
        mistakes=[
            Mistake(
                _company_by_patient,
                "That is an average over patients. The question is about crops: a patient with "
                "four crops counts four times.",
            ),
            Mistake(
                lambda p: 1 - _company(p),
                "That is the share without company: their patient is not in training.",
            ),
            Mistake(
                lambda p: 1 - p["tau"],
                "That would be right if every patient had two crops.",
            ),
        ],
    ),
    Exercise(
        id="07-letterbox",
        parameters=lambda rng: {
            "height": int(rng.integers(150, 300)),
            "width": int(rng.integers(330, 700)),
        },
        solution=_occupied,
        atol=0.5,
        hint="One factor for both sides; the longer side becomes 224 and the other less.",
        mistakes=[
            Mistake(
                lambda p: [224, 224],
                "That is a plain resize: it changes the shape of the lesion.",
            ),
            Mistake(
                lambda p: _occupied(p)[::-1],
                "Rows (the height) come first.",
            ),
            Mistake(
                lambda p: [224, round(p["width"] * 224 / p["height"])],
                "That keeps the shape, but the columns do not fit into the square: take the "
                "smaller of the two factors.",
            ),
        ],
    ),
    Exercise(
        id="07-tiles",
        parameters=_film_in_tiles,
        solution=lambda p: [p["height"] / p["b"], p["width"] / p["a"]],
        atol=0.5,
        hint="tileGridSize is (columns, rows), and counts tiles.",
        mistakes=[
            Mistake(
                lambda p: [p["height"] / p["a"], p["width"] / p["b"]],
                "OpenCV takes columns first: a tiles lie beside each other.",
            ),
            Mistake(
                lambda p: [p["a"], p["b"]],
                "tileGridSize is a number of tiles, not a size in pixels.",
            ),
            Mistake(
                lambda p: [p["b"], p["a"]],
                "tileGridSize is a number of tiles, not a size in pixels.",
            ),
            Mistake(
                lambda p: [p["width"] / p["a"], p["height"] / p["b"]],
                "The height comes first.",
            ),
        ],
    ),
    Exercise(
        id="07-clip",
        parameters=lambda rng: {
            "side": 64 * int(rng.integers(3, 9)),
            "tiles": int(rng.choice([4, 8, 16])),
        },
        solution=_first_clip,
        rtol=5e-3,
        hint=(
            "The limit in counts is clip * A / L, rounded down; the clip itself need not be "
            "whole. How many levels have 16 bits?"
        ),
        mistakes=[
            Mistake(
                lambda p: _first_clip(p) / 2,
                "There the limit is 1, which is what every smaller clip gets too. When is it 2?",
            ),
            Mistake(
                lambda p: _first_clip(p) / 256,
                "That is the answer for 8 bits, 256 levels.",
            ),
            Mistake(
                lambda p: 2 * _LEVELS / p["side"] ** 2,
                "A is the number of pixels of a tile, not of the image.",
            ),
        ],
    ),
]
