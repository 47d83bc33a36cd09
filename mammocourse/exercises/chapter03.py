"""Exercises of chapter 3, Monte Carlo."""

from __future__ import annotations

import math

from mammocourse.check import Exercise, Mistake, Parameters


def _signed_mean(p: Parameters) -> float:
    return abs(sum(t - e for t, e in zip(p["truth"], p["estimate"], strict=True))) / 3


def _mad(p: Parameters) -> float:
    return math.fsum(abs(t - e) for t, e in zip(p["truth"], p["estimate"], strict=True)) / 3


def _boundary(p: Parameters) -> float:
    from mammocourse.phase_transition import mle_boundary

    return float(mle_boundary(p["gamma"]))


def _alpha(p: Parameters) -> float:
    from mammocourse.phase_transition import mle_inflation

    return mle_inflation(p["d"] / p["n"], p["gamma"])[0]


def _errors_below(p: Parameters, variance: float) -> float:
    share = p["hits"] / p["replications"]
    return (0.95 - share) / math.sqrt(variance / p["replications"])


def _errors_below_as_observed(p: Parameters) -> float:
    share = p["hits"] / p["replications"]
    return _errors_below(p, share * (1 - share))


EXERCISES = [
    Exercise(
        id="03-mad",
        parameters=lambda rng: {
            "truth": [round(float(x), 2) for x in rng.uniform(-1, 1, 3)],
            "estimate": [round(float(x), 2) for x in rng.uniform(-1.5, 1.5, 3)],
        },
        solution=_mad,
        atol=1e-3,
        hint="Three differences, without their signs, averaged.",
        mistakes=[
            Mistake(
                _signed_mean,
                "Errors of opposite sign have cancelled. Drop the signs before averaging.",
            ),
            Mistake(lambda p: 3 * _mad(p), "That is the sum. The MAD is a mean."),
        ],
    ),
    Exercise(
        id="03-replications",
        parameters=lambda rng: {
            "smad": round(float(rng.uniform(0.003, 0.009)), 4),
            # The last digit, 3, keeps (smad / target)**2 away from whole numbers, at which
            # rounding errors of floating-point numbers would decide the answer.
            "target": round(round(float(rng.uniform(0.00021, 0.00045)), 5) + 3e-6, 6),
        },
        solution=lambda p: math.ceil((p["smad"] / p["target"]) ** 2),
        hint="The Monte Carlo standard error of a mean is its standard deviation over root R.",
        mistakes=[
            Mistake(
                lambda p: math.ceil(p["smad"] / p["target"]),
                "The standard error falls with the square root of R, not with R.",
            ),
            Mistake(
                lambda p: math.floor((p["smad"] / p["target"]) ** 2),
                "That many just miss the target: round up.",
            ),
            Mistake(
                lambda p: math.ceil((p["smad"] / p["target"]) ** 2 / 2),
                "The factor 2 belongs to the standard error of the SMAD.",
            ),
        ],
    ),
    Exercise(
        id="03-patients",
        parameters=lambda rng: {
            "d": int(rng.integers(15, 60)),
            "gamma": round(float(rng.uniform(1.0, 4.0)), 1),
        },
        solution=lambda p: math.ceil(p["d"] / _boundary(p)),
        hint="mle_boundary(gamma) is the largest d / n. Solve for n, and round up.",
        mistakes=[
            Mistake(
                lambda p: math.floor(p["d"] * _boundary(p)),
                "The boundary is d / n, not n / d: divide by it.",
            ),
            Mistake(
                lambda p: math.ceil(p["d"] * _boundary(p)),
                "The boundary is d / n, not n / d: divide by it.",
            ),
            Mistake(
                lambda p: 2 * p["d"],
                "Two cases per coefficient are enough without any signal only.",
            ),
            Mistake(
                lambda p: math.floor(p["d"] / _boundary(p)),
                "With that many d / n is just above the boundary: round up.",
            ),
        ],
    ),
    Exercise(
        id="03-deflate",
        parameters=lambda rng: {
            "n": 50 * int(rng.integers(6, 13)),
            "d": int(rng.integers(30, 51)),
            "gamma": round(float(rng.uniform(1.5, 3.0)), 1),
            # Around e dividing the odds ratio itself gives nearly the right number.
            "odds_ratio": round(float(rng.uniform(4.0, 8.0)), 2),
        },
        solution=lambda p: math.exp(math.log(p["odds_ratio"]) / _alpha(p)),
        rtol=3e-3,
        hint="Which number is inflated by alpha, the odds ratio or its logarithm?",
        mistakes=[
            Mistake(
                lambda p: p["odds_ratio"] / _alpha(p),
                "Alpha multiplies the coefficient, which is the logarithm of the odds ratio.",
            ),
            Mistake(
                lambda p: math.exp(math.log(p["odds_ratio"]) * _alpha(p)),
                "That inflates once more. Divide the coefficient by alpha.",
            ),
            Mistake(
                lambda p: math.log(p["odds_ratio"]) / _alpha(p),
                "That is the corrected coefficient. Go back to the odds ratio.",
            ),
        ],
    ),
    Exercise(
        id="03-coverage",
        parameters=lambda rng: (
            lambda replications: {
                "replications": replications,
                "hits": round(replications * float(rng.uniform(0.86, 0.92))),
            }
        )(100 * int(rng.integers(2, 11))),
        solution=lambda p: _errors_below(p, 0.95 * 0.05),
        atol=0.02,
        hint="The share of hits is a binomial proportion. What is its standard error at 0.95?",
        mistakes=[
            Mistake(
                lambda p: -_errors_below(p, 0.95 * 0.05),
                "The size is right; it asks how far the coverage lies below 0.95.",
            ),
            Mistake(
                lambda p: _errors_below(p, 0.95 * 0.05) / math.sqrt(p["replications"]),
                "That divides by the standard deviation of one replication. The share of R "
                "replications has a standard error smaller by root R.",
            ),
            Mistake(
                _errors_below_as_observed,
                "That is the standard error at the observed share. Under the hypothesis the "
                "variance of one hit is 0.95 x 0.05.",
            ),
            Mistake(
                lambda p: 0.95 - p["hits"] / p["replications"],
                "That is the difference. Express it in Monte Carlo standard errors.",
            ),
        ],
    ),
]
