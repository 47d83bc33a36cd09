"""The tolerances of all tests, in one place."""

FLOAT64 = 1e-10
"""Closed formulas in float64 against an oracle."""

ITERATIVE = 1e-6
"""Results of iterative solvers."""

FLOAT32 = 1e-5
"""Closed formulas in float32 against an oracle."""

FINITE_DIFFERENCES = 1e-6
"""Derivatives against central finite differences in float64."""

MONTE_CARLO_ERRORS = 4
"""Simulations with a fixed seed: Monte Carlo standard errors."""
