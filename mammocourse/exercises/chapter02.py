"""Exercises of chapter 2, logistic regression by maximum likelihood."""

from __future__ import annotations

import math

from mammocourse.check import Exercise, Mistake, Parameters

_Z = 1.959963984540054  # the 97.5% point of the standard normal


def _null_deviance(p: Parameters) -> float:
    cases, controls = p["cases"], p["controls"]
    n = cases + controls
    return -2 * (cases * math.log(cases / n) + controls * math.log(controls / n))


def _probability_change(p: Parameters) -> float:
    log_odds = math.log(p["p"] / (1 - p["p"])) + p["beta"] * p["delta"]
    return 1 / (1 + math.exp(-log_odds)) - p["p"]


EXERCISES = [
    Exercise(
        id="02-odds",
        parameters=lambda rng: {
            "beta": round(float(rng.uniform(0.03, 0.09)), 3),
            "years": int(rng.integers(5, 16)),
        },
        solution=lambda p: math.exp(p["beta"] * p["years"]),
        rtol=5e-3,
        hint="How much do the log-odds change? Which function turns log-odds into odds?",
        mistakes=[
            Mistake(
                lambda p: p["beta"] * p["years"],
                "That is the change in the log-odds. The odds are their exponential.",
            ),
            Mistake(
                lambda p: math.exp(p["beta"]),
                "That is the factor for one year. Odds ratios multiply over the years.",
            ),
            Mistake(
                lambda p: p["years"] * math.exp(p["beta"]),
                "Odds ratios of successive years multiply; they do not add.",
            ),
        ],
    ),
    Exercise(
        id="02-change",
        parameters=lambda rng: {
            "p": round(float(rng.uniform(0.05, 0.2)), 2),
            "beta": round(float(rng.uniform(0.4, 0.9)), 2),
            "delta": int(rng.integers(2, 5)),
        },
        solution=_probability_change,
        atol=1e-3,
        hint="Turn p into log-odds, add beta * delta, and turn the result into a probability.",
        mistakes=[
            Mistake(
                lambda p: p["beta"] * p["delta"],
                "That is the change in the log-odds, not in the probability.",
            ),
            Mistake(
                lambda p: p["beta"] * p["p"] * (1 - p["p"]) * p["delta"],
                "That is the marginal effect times delta. The curve bends over so long a step: "
                "predict twice and subtract.",
            ),
            Mistake(
                lambda p: _probability_change(p) + p["p"],
                "That is the new probability. By how much did it change?",
            ),
        ],
    ),
    Exercise(
        id="02-ceiling",
        parameters=lambda rng: {
            "cases": int(rng.integers(20, 60)),
            "controls": int(rng.integers(70, 150)),
        },
        solution=_null_deviance,
        atol=0.1,
        hint=(
            "What does the log-likelihood of the full model tend to? What is then left of the "
            "likelihood-ratio statistic, 2 (full - null)?"
        ),
        mistakes=[
            Mistake(
                lambda p: -_null_deviance(p) / 2,
                "That is the log-likelihood of the null model. The likelihood-ratio statistic has "
                "a factor in front.",
            ),
            Mistake(
                lambda p: _null_deviance(p) / 2,
                "The factor 2 of the likelihood-ratio statistic is missing.",
            ),
            Mistake(
                lambda p: 2 * (p["cases"] + p["controls"]) * math.log(2),
                "That would be right with as many cases as controls. The null model gives "
                "everybody the share of cases, not one half.",
            ),
        ],
    ),
    Exercise(
        id="02-df",
        parameters=lambda rng: {"clinics": int(rng.integers(4, 13))},
        solution=lambda p: p["clinics"],
        hint="Count directions, not columns: which columns are combinations of the others?",
        mistakes=[
            Mistake(
                lambda p: p["clinics"] + 3,
                "That is the number of columns besides the intercept. Some of them are "
                "combinations of others.",
            ),
            Mistake(
                lambda p: p["clinics"] + 1,
                "Almost: all indicators together add up to a column that is already there.",
            ),
        ],
    ),
    Exercise(
        id="02-wilson",
        parameters=lambda rng: {"n": int(rng.integers(20, 400))},
        solution=lambda p: p["n"] / (p["n"] + _Z**2),
        atol=1e-4,
        hint='proportion_confint(count, nobs, method="wilson") returns both ends.',
        mistakes=[
            Mistake(
                lambda p: 1.0,
                "That is what the textbook interval gives: no width at all. Use Wilson's.",
            ),
            Mistake(
                lambda p: 1 - 3 / p["n"],
                "That is the rule of three, a good approximation to a one-sided bound. "
                "Here Wilson's interval is asked for.",
            ),
        ],
    ),
]
