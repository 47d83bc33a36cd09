"""Exercises of chapter 10, looking inside ResNet50."""

from __future__ import annotations

import math

import numpy as np

from mammocourse.check import Exercise, Mistake, Parameters


def _walk(p: Parameters, after: bool = False, kernel_less: int = 1) -> list[float]:
    """Return cell and field; ``after`` counts the kernel in units of the new cell."""
    cell, field = 1, 1
    for kernel, stride in p["layers"]:
        step = cell * stride if after else cell
        field += (kernel - kernel_less) * step
        cell *= stride
    return [cell, field]


def _layers(rng: np.random.Generator) -> Parameters:
    """Return four to six layers, with at least two strides of 2 before the last kernel."""
    count = int(rng.integers(4, 7))
    strides = np.ones(count, dtype=int)
    strides[rng.choice(count - 1, size=2, replace=False)] = 2
    kernels = rng.choice([3, 5, 7], size=count)
    return {"layers": [[int(k), int(s)] for k, s in zip(kernels, strides, strict=True)]}


def _energy(heat: object, mask: object) -> float:
    """Return the share of the heat inside the mask."""
    values = np.asarray(heat, dtype=float)
    return float((values * np.asarray(mask)).sum() / values.sum())


def _excess(p: Parameters) -> float:
    others = [_energy(heat, p["mask"]) for heat in p["others"]]
    return _energy(p["heat"], p["mask"]) - float(np.mean(others))


def _excess_of_mean_map(p: Parameters) -> float:
    return _energy(p["heat"], p["mask"]) - _energy(np.mean(p["others"], axis=0), p["mask"])


def _excess_over_area(p: Parameters) -> float:
    return _energy(p["heat"], p["mask"]) - float(np.mean(p["mask"]))


def _three_maps(rng: np.random.Generator) -> Parameters:
    """Return a case in which the usual mistakes give other numbers."""
    while True:
        mask = np.zeros((3, 3), dtype=int)
        row, column = rng.integers(0, 2, size=2)
        mask[row : row + 2, column : column + 2] = 1
        heat = rng.integers(0, 6, size=(3, 3)) + 4 * mask
        first = rng.integers(0, 4, size=(3, 3))
        second = rng.integers(3, 12, size=(3, 3))
        case = {
            "mask": mask.tolist(),
            "heat": heat.tolist(),
            "others": [first.tolist(), second.tolist()],
        }
        if first.sum() == 0:
            continue
        wrong = (_excess_of_mean_map(case), _excess_over_area(case), _energy(heat, mask))
        if all(abs(value - _excess(case)) > 0.02 for value in wrong):
            return case


def _on_top(p: Parameters) -> float:
    return 1 / math.comb(p["right"] + p["wrong"], p["right"])


EXERCISES = [
    Exercise(
        id="10-eight",
        parameters=lambda rng: {
            "right": int(rng.integers(3, 7)),
            "wrong": int(rng.integers(3, 7)),
        },
        solution=_on_top,
        rtol=1e-3,
        hint="In how many ways can the right cases take their ranks among all cases?",
        mistakes=[
            Mistake(
                lambda p: 0.5 ** (p["right"] * p["wrong"]),
                "The pairs are not independent: they share images.",
            ),
            Mistake(
                lambda p: 0.5 ** (p["right"] + p["wrong"]),
                "Not every image is compared with one threshold; the two groups are compared.",
            ),
            Mistake(
                lambda p: 1 / math.factorial(p["right"] + p["wrong"]),
                "That is one complete order. The order within the right cases does not matter, "
                "nor that within the wrong ones.",
            ),
        ],
    ),
    Exercise(
        id="10-field",
        parameters=_layers,
        solution=_walk,
        rtol=1e-6,
        hint="Start with a cell and a field of 1 pixel. First let the field grow, then the cell.",
        mistakes=[
            Mistake(
                lambda p: _walk(p, after=True),
                "The kernel spans cells of its input, so it counts in units of the cell before "
                "its stride.",
            ),
            Mistake(
                lambda p: _walk(p, kernel_less=0),
                "A kernel of size k reaches k - 1 cells beyond the one where it begins.",
            ),
            Mistake(
                lambda p: [_walk(p)[1], _walk(p)[0]],
                "The cell comes first, the field second.",
            ),
            Mistake(
                lambda p: [_walk(p)[0], 1 + sum(k - 1 for k, _ in p["layers"])],
                "The strides matter for the field, too: later kernels span larger cells.",
            ),
        ],
    ),
    Exercise(
        id="10-excess",
        parameters=_three_maps,
        solution=_excess,
        atol=1e-3,
        hint="Compute the energy of each of the three heatmaps on this mask by itself.",
        mistakes=[
            Mistake(
                _excess_of_mean_map,
                "That takes the mean of the other maps first, so that the hotter one counts for "
                "more. Take the mean of their energies.",
            ),
            Mistake(
                _excess_over_area,
                "That compares with the area of the mask, which is the same heat everywhere.",
            ),
            Mistake(
                lambda p: _energy(p["heat"], p["mask"]),
                "That is the energy of the heatmap. What would another patient's have?",
            ),
            Mistake(lambda p: -_excess(p), "The other way round."),
        ],
    ),
]
