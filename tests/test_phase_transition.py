"""Specification of mammocourse.phase_transition."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, optimize, stats
from scipy.special import expit

from mammocourse.phase_transition import mle_boundary, mle_exists, mle_inflation
from tolerances import FLOAT64, ITERATIVE, MONTE_CARLO_ERRORS

STRENGTHS = st.floats(0, 30)
FRACTIONS = st.floats(0.001, 0.99)  # of the boundary


def draw(n, p, gamma, seed):
    """Draw (X, y, beta): standard normal regressors, y = 1 or -1, Var(x'beta) = gamma^2."""
    rng = np.random.default_rng(seed)
    beta = rng.normal(size=p)
    beta *= gamma / np.linalg.norm(beta)
    X = rng.normal(size=(n, p))
    return X, np.where(rng.random(n) < expit(X @ beta), 1, -1), beta


def is_separable(X, y):
    """Ask a linear program for b with y x'b >= 0 in every row, above 0 in some."""
    rows = y[:, np.newaxis] * X
    program = optimize.linprog(
        -rows.mean(axis=0), A_ub=-rows, b_ub=np.zeros(len(y)), bounds=(-1, 1), method="highs"
    )
    assert program.success
    return -program.fun > ITERATIVE


def maximum_likelihood(X, y):
    """Maximize the log-likelihood by Newton's method with halved steps."""
    b = np.zeros(X.shape[1])
    for _ in range(100):
        margin = y * (X @ b)
        gradient = X.T @ (y * expit(-margin))
        hessian = (X * (expit(margin) * expit(-margin))[:, np.newaxis]).T @ X
        step = np.linalg.solve(hessian, gradient)
        length = 1.0
        while np.logaddexp(0, -y * (X @ (b + length * step))).sum() > (
            np.logaddexp(0, -margin).sum() + 1e-9
        ):
            length /= 2
        b = b + length * step
        if np.max(np.abs(step)) < 1e-9:
            return b
    raise AssertionError("no maximum found")


# The boundary


@pytest.mark.parametrize(
    ("gamma", "kappa"), [(0, 0.5), (1, 0.439), (2, 0.345), (5, 0.185), (10, 0.099), (16.67, 0.0603)]
)
def test_the_boundary_has_the_known_values(gamma, kappa):
    assert mle_boundary(gamma) == pytest.approx(kappa, abs=6e-4 if gamma < 16 else 6e-5)


def test_without_signal_the_boundary_is_one_half():
    # Cover (1965): n random points are separable with probability one half if p = n / 2.
    assert mle_boundary(0) == pytest.approx(0.5, abs=FLOAT64)


def test_an_infinite_signal_leaves_no_room():
    assert mle_boundary(math.inf) == 0
    assert mle_boundary(1e300) == pytest.approx(0, abs=FLOAT64)
    assert not mle_exists(1e-9, math.inf)


@pytest.mark.parametrize("gamma", [0.3, 2, 16.67, 30])
def test_the_boundary_is_the_minimum_of_its_definition(gamma):
    nodes, weights = np.polynomial.legendre.leggauss(60)

    def over_z(v, t):  # the integral of w^2 over the density of w = t v - z > 0
        low, high = max(t * v - 9, 0), max(t * v + 9, 0)
        w = low + (high - low) * (nodes + 1) / 2
        inner = (high - low) / 2 * weights @ (w**2 * np.exp(-((t * v - w) ** 2) / 2))
        return 2 * expit(gamma * v) * np.exp(-(v**2) / 2) * inner / (2 * math.pi)

    def expectation(t):
        cuts = np.array([-8, -3, -1, -0.2, 0, 0.2, 1, 3, 8]) / max(gamma, 1)
        cuts[[0, -1]] = -8, 8
        return sum(integrate.quad(over_z, *ends, args=(t,))[0] for ends in pairwise(cuts))

    minimum = optimize.minimize_scalar(
        expectation, bounds=(-0.45 * gamma, -0.35 * gamma), method="bounded"
    )
    assert mle_boundary(gamma) == pytest.approx(minimum.fun, rel=ITERATIVE)


@pytest.mark.parametrize("gamma", [0, 1, 2, 5, 10, 16.67])
@pytest.mark.parametrize("side", [-1, 1])
def test_data_sets_become_separable_at_the_boundary(gamma, side):
    # Without signal the number of regressors at which n points become separable is binomial.
    # With signal the width is taken to be alike; four of these widths decide.
    n = 300
    boundary = mle_boundary(gamma)
    width = math.sqrt(boundary * (1 - boundary) / n)
    p = round(n * (boundary + side * 4 * width))
    p = max(p, 2)
    separable = [is_separable(*draw(n, p, gamma, seed)[:2]) for seed in range(6)]
    assert separable == [not mle_exists(p / n, gamma)] * 6


@given(STRENGTHS, STRENGTHS)
def test_a_stronger_signal_lowers_the_boundary(first, second):
    weak, strong = sorted((first, second))
    assert 0 < mle_boundary(strong) <= mle_boundary(weak) + FLOAT64 <= 0.5 + 2 * FLOAT64


@given(STRENGTHS, st.floats(1e-3, 0.999))
def test_the_estimate_exists_below_the_boundary_only(gamma, kappa):
    assert mle_exists(kappa, gamma) is (kappa < mle_boundary(gamma))
    assert mle_exists(mle_boundary(gamma), gamma) is False


def test_arrays_keep_their_shape_and_broadcast():
    gamma = np.array([[0.0, 1, 2], [5, 16.67, np.inf]])
    kappa = mle_boundary(gamma)
    assert kappa.shape == gamma.shape
    assert kappa.ravel() == pytest.approx([mle_boundary(g) for g in gamma.ravel()], abs=FLOAT64)
    assert mle_exists([[[0.05]], [[0.4]]], gamma).shape == (2, 2, 3)
    assert mle_exists([0.1, 0.6], 1.0).tolist() == [True, False]
    assert mle_boundary([]).shape == (0,)
    assert isinstance(mle_boundary(1), float)


# Inflation and scale


def test_inflation_has_the_published_values():
    # Sur and Candes (2019) for kappa = 0.2 and gamma^2 = 5.
    assert mle_inflation(0.2, math.sqrt(5)) == pytest.approx((1.4994, 4.7436), abs=5e-5)


def test_inflation_agrees_with_the_authors_package():
    # Vignette of glmhd: kappa = 0.2, gamma = 2.18 (printed with three digits), and for a
    # regressor with variance tau^2 / n = (1 - 0.5^2) / n given the others, sigma / tau = 5.37.
    alpha, sigma = mle_inflation(0.2, 2.18)
    assert (alpha, sigma / math.sqrt(0.75)) == pytest.approx((1.49, 5.37), abs=5e-3)


def test_inflation_explains_the_slopes_of_the_thesis():
    alpha, sigma = mle_inflation(784 / 80_000, 16.67)
    assert alpha == pytest.approx(1.072, abs=5e-4)
    # The mean absolute deviation of an estimate from its inflated center.
    assert math.sqrt(2 / math.pi) * sigma / math.sqrt(80_000) == pytest.approx(0.020, abs=5e-4)
    assert mle_inflation(784 / 14_000, 16.67)[0] == pytest.approx(3.15, abs=5e-3)


@pytest.mark.parametrize(
    ("kappa", "gamma"), [(0.2, math.sqrt(5)), (0.4, 0.7), (0.0098, 16.67), (0.056, 16.67)]
)
def test_inflation_solves_the_equations_of_the_paper(kappa, gamma):
    # Eq. 5 as printed, on a dense grid, with the proximal point by bisection. The third
    # equation gives lambda, which the function does not return; the others must then hold.
    alpha, sigma = mle_inflation(kappa, gamma)
    dx, dz = min(0.2, 0.5 / gamma), min(0.2, 0.7 / (math.sqrt(kappa) * sigma))
    x, z = np.meshgrid(np.arange(-8, 8, dx), np.arange(-8, 8, dz), indexing="ij")
    weight = dx * dz * stats.norm.pdf(x) * stats.norm.pdf(z)
    q1 = gamma * x
    q2 = -alpha * q1 + math.sqrt(kappa) * sigma * z

    def prox(lam):
        low, high = q2 - lam, q2.copy()
        for _ in range(42):
            middle = (low + high) / 2
            above = middle + lam * expit(middle) > q2
            low, high = np.where(above, low, middle), np.where(above, middle, high)
        return middle

    def third(lam):
        p = expit(prox(lam))
        return (weight * 2 * expit(q1) / (1 + lam * p * (1 - p))).sum() - (1 - kappa)

    lam = optimize.brentq(third, 1e-3, 100, xtol=1e-12)
    step = lam * expit(prox(lam))
    assert (weight * 2 * expit(q1) * step**2).sum() == pytest.approx(
        (kappa * sigma) ** 2, rel=ITERATIVE
    )
    parts = weight * expit(q1) * q1 * step
    assert abs(parts.sum()) < ITERATIVE * np.abs(parts).sum()


@pytest.mark.parametrize(("kappa", "gamma"), [(0.1, 1), (0.2, math.sqrt(5)), (0.05, 5)])
def test_estimates_are_inflated_and_scattered_as_predicted(kappa, gamma):
    n, replications = 1000, 24
    p = round(kappa * n)
    slopes, scales = [], []
    for seed in range(replications):
        X, y, beta = draw(n, p, gamma, seed)
        estimate = maximum_likelihood(X, y)
        slope = estimate @ beta / (beta @ beta)
        residual = estimate - slope * beta
        slopes.append(slope)
        scales.append(math.sqrt(n * (residual @ residual) / (p - 1)))
    for simulated, predicted in zip((slopes, scales), mle_inflation(kappa, gamma), strict=True):
        error = np.std(simulated, ddof=1) / math.sqrt(replications)
        assert abs(np.mean(simulated) - predicted) < MONTE_CARLO_ERRORS * error


@pytest.mark.parametrize("gamma", [0, 1, 16.67])
def test_few_regressors_bring_back_fisher(gamma):
    information = integrate.quad(
        lambda x: stats.norm.pdf(x) * expit(gamma * x) * expit(-gamma * x),
        -9,
        9,
        points=[0],
        epsabs=1e-12,
    )[0]
    for kappa in (1e-7, 1e-12):
        alpha, sigma = mle_inflation(kappa, gamma)
        assert alpha == pytest.approx(1, abs=ITERATIVE)
        assert sigma == pytest.approx(1 / math.sqrt(information), rel=ITERATIVE)


def test_a_vanishing_signal_has_the_limit_at_zero():
    assert mle_inflation(0.3, 1e-5) == pytest.approx(mle_inflation(0.3, 0), rel=ITERATIVE)


@settings(max_examples=15, deadline=None)
@given(STRENGTHS, FRACTIONS, FRACTIONS)
def test_inflation_and_scale_grow_with_the_number_of_regressors(gamma, first, second):
    few, many = (fraction * mle_boundary(gamma) for fraction in sorted((first, second)))
    alpha, sigma = np.array(mle_inflation(few, gamma))
    assert alpha > 1
    assert sigma > 2  # where the Fisher information is largest, 1/4
    assert (np.array(mle_inflation(many, gamma)) >= (1 - FLOAT64) * np.array([alpha, sigma])).all()


@settings(max_examples=15, deadline=None)
@given(st.floats(0.001, 0.05), STRENGTHS, STRENGTHS)
def test_a_stronger_signal_scatters_the_estimates_more(kappa, first, second):
    weak, strong = sorted((first, second))
    if mle_exists(kappa, strong):
        assert mle_inflation(kappa, strong)[1] >= (1 - FLOAT64) * mle_inflation(kappa, weak)[1]


def test_close_to_the_boundary_inflation_is_a_number_or_an_error():
    boundary = mle_boundary(5)
    assert mle_inflation(boundary * (1 - 1e-4), 5)[0] > 100
    with pytest.raises(ArithmeticError, match="too close to the boundary"):
        mle_inflation(np.nextafter(boundary, 0), 5)


@pytest.mark.parametrize(("kappa", "gamma"), [(0.5, 0), (0.2, 5), (0.01, math.inf)])
def test_inflation_says_that_the_estimate_does_not_exist(kappa, gamma):
    with pytest.raises(ValueError, match="does not exist"):
        mle_inflation(kappa, gamma)


@pytest.mark.parametrize("gamma", [-1, -1e-300, math.nan, "2", None, 1j, True, [1, -1], ["a", 1]])
def test_a_bad_signal_strength_is_named(gamma):
    for call in (mle_boundary, lambda g: mle_exists(0.1, g), lambda g: mle_inflation(0.1, g)):
        with pytest.raises(ValueError, match=r"^gamma must be a number 0 or more"):
            call(gamma)


@pytest.mark.parametrize("kappa", [0, 1, -0.1, 1.5, math.nan, math.inf, "0.1", None, False])
def test_a_bad_ratio_is_named(kappa):
    for function in (mle_exists, mle_inflation):
        with pytest.raises(ValueError, match=r"^kappa must be a number between 0 and 1"):
            function(kappa, 1.0)


def test_inflation_takes_one_pair_at_a_time():
    with pytest.raises(ValueError, match="kappa and gamma must be single numbers"):
        mle_inflation([0.1, 0.2], 1.0)
