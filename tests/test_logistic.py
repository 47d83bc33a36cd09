"""Specification of mammocourse.logistic."""

import contextlib
import math
import warnings

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import optimize, stats
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.preprocessing import StandardScaler

from mammocourse.datasets import load_mnist01
from mammocourse.logistic import (
    LogisticMLE,
    Separation,
    SeparationError,
    SeparationWarning,
    detect_separation,
    likelihood_ratio_test,
    mcfadden_r2,
)
from tolerances import FLOAT64, ITERATIVE


def overlapped(n=300, p=4, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p))
    y = (X @ np.linspace(-1, 1, p) + rng.logistic(size=n) > 0.3).astype(int)
    return X, y


def clouds(distance, n=60, p=3, seed=0):
    """Two discs of radius 1 whose centers are ``distance`` apart."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p))
    X /= np.maximum(1, np.linalg.norm(X, axis=1, keepdims=True))
    y = np.arange(n) % 2
    X[:, 0] += distance * y
    return X, y


def brute_force(X, y, fit_intercept=True):
    """Separation by two linear programs over all rows, in original columns."""
    A = np.where(y == 1, 1.0, -1.0)[:, None] * (sm.add_constant(X) if fit_intercept else X)
    n, k = A.shape
    box = [(-1, 1)] * k
    mean = optimize.linprog(-A.sum(axis=0), A_ub=-A, b_ub=np.zeros(n), bounds=box)
    width = optimize.linprog(
        np.append(np.zeros(k), -1.0),
        A_ub=np.column_stack([-A, np.ones(n)]),
        b_ub=np.zeros(n),
        bounds=[*box, (0, 1)],
    )
    if -width.fun > 1e-7:  # HiGHS's default feasibility tolerance
        return "complete"
    return "quasi" if -mean.fun > 1e-7 else "overlap"


def kind(separation):
    if not separation:
        return "overlap"
    return "quasi" if separation.quasi else "complete"


def margins(X, y, direction):
    return np.where(np.asarray(y) == 1, 1, -1) * (direction[0] + X @ direction[1:])


@contextlib.contextmanager
def our_warnings_are_errors():
    """All but DeprecationWarning, which old scikit-learn and new SciPy have between them."""
    with warnings.catch_warnings():
        for category in (UserWarning, RuntimeWarning, FutureWarning):
            warnings.simplefilter("error", category)
        yield


# McFadden's pseudo-R2 and the likelihood-ratio test


def test_mcfadden_r2_reproduces_the_thesis():
    # Log-likelihoods of the thesis's code on the official MNIST 0/1 training part.
    assert mcfadden_r2(-4.6035, -8752.20966) == pytest.approx(0.999474, abs=5e-7)


def test_mcfadden_r2_is_0_for_the_null_model_and_1_for_certainty():
    assert mcfadden_r2(-3.0, -3.0) == 0
    assert mcfadden_r2(0.0, -3.0) == 1


@pytest.mark.parametrize("df", [1, 3, 784])
def test_likelihood_ratio_test_is_the_chi_square_test(df):
    statistic, degrees, pvalue = likelihood_ratio_test(-50.0, -57.5, df)
    assert (statistic, degrees) == (15.0, df)
    assert pvalue == pytest.approx(1 - stats.chi2(df).cdf(15.0), rel=FLOAT64)


def test_likelihood_ratio_test_takes_a_difference_of_rounding_size_as_zero():
    assert likelihood_ratio_test(-50.0 - 1e-12, -50.0, 2) == (0.0, 2, 1.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-5.0, -4.0, 1), "llf is -5.0, below llnull"),
        ((-4.0, -5.0, 0), "df is 0"),
        ((-4.0, -5.0, 1.5), "df is 1.5"),
        ((-4.0, -5.0, math.inf), "df is inf"),
        ((-4.0, -5.0, True), "df is True"),
        ((-4.0, -5.0, "1"), "df is '1'"),
        ((-4.0, -5.0, 10**400), "df is 10000"),
        ((math.nan, -5.0, 1), "llf is nan"),
        ((-4.0, -math.inf, 1), "llnull is -inf"),
        ((4.0, -5.0, 1), "llf is 4.0"),
    ],
)
def test_likelihood_ratio_test_names_the_wrong_argument(arguments, message):
    with pytest.raises(ValueError, match=message):
        likelihood_ratio_test(*arguments)


@pytest.mark.parametrize(
    ("llf", "llnull", "message"),
    [
        (-1.0, 0.0, "llnull is 0"),
        (1.0, -1.0, "llf is 1.0"),
        ("a", -1.0, "llf is 'a'"),
        (-1.0, None, "llnull is None"),
        (np.array([-1.0]), -2.0, r"llf is array\("),
    ],
)
def test_mcfadden_r2_names_the_wrong_argument(llf, llnull, message):
    with pytest.raises(ValueError, match=message):
        mcfadden_r2(llf, llnull)


# Separation


@given(
    X=st.integers(4, 25).flatmap(
        lambda n: st.integers(1, 4).flatmap(
            lambda p: arrays(np.int8, (n, p), elements=st.integers(-2, 2))
        )
    ),
    bits=st.integers(1, 2**25 - 2),
    fit_intercept=st.booleans(),
)
@settings(max_examples=150, deadline=None, derandomize=True)
def test_small_grids_agree_with_brute_force(X, bits, fit_intercept):
    y = np.array([bits >> i & 1 for i in range(len(X))])
    found = detect_separation(X, y, fit_intercept=fit_intercept)
    assert kind(found) == brute_force(X.astype(float), y, fit_intercept)
    if found:
        distance = margins(X.astype(float), y, found.direction)
        assert distance.min() > -1e-8  # the documented width of the plane
        assert distance.max() == pytest.approx(1, rel=ITERATIVE)
        assert (distance.min() > 1e-8) == (not found.quasi)


@pytest.mark.parametrize("seed", range(10))
def test_random_clouds_agree_with_brute_force(seed):
    X, y = clouds(distance=1.5, n=40, seed=seed)
    assert kind(detect_separation(X, y)) == brute_force(X, y)


def test_overlapped_classes_are_not_separated_and_statsmodels_converges():
    X, y = overlapped()
    assert sm.Logit(y, sm.add_constant(X)).fit(disp=0).mle_retvals["converged"]
    assert detect_separation(X, y) == Separation(False, False, None)


def test_disjoint_clouds_are_completely_separated_by_the_direction():
    X, y = clouds(distance=2.1)
    found = detect_separation(X, y)
    assert found
    assert not found.quasi
    assert margins(X, y, found.direction).min() > 0


@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [
        ([1, 2, 3, 4], [0, 0, 1, 1], "complete"),
        ([1, 2, 3, 4], [1, 1, 0, 0], "complete"),
        ([1, 2, 2, 3], [0, 0, 1, 1], "quasi"),
        ([2, 2, 2, 3], [0, 1, 0, 1], "quasi"),
        ([1, 2, 3, 4], [0, 1, 0, 1], "overlap"),
        ([1, 1, 2, 2], [0, 1, 0, 1], "overlap"),
        ([5, 5, 5, 5], [0, 1, 0, 1], "overlap"),
    ],
)
@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e6])
def test_one_column_is_decided_by_its_extremes(x, y, expected, unit):
    assert kind(detect_separation(unit * np.array(x, float)[:, None], y)) == expected


def test_a_dummy_of_one_class_separates_quasi_completely():
    X, y = overlapped()
    X[:, 0] = (np.arange(len(y)) % 10 == 0) & (y == 1)
    found = detect_separation(X, y)
    assert kind(found) == "quasi"
    assert np.abs(found.direction[2:]).max() == 0


def test_a_mixture_of_columns_separates_quasi_completely():
    X, y = overlapped(n=600, p=6)
    rare = np.where((np.arange(len(y)) % 10 == 0) & (y == 1), 1.0, 0.0)
    X[:, 0] = rare - X[:, 1] + 2 * X[:, 2]
    found = detect_separation(X, y)
    assert kind(found) == "quasi"
    np.testing.assert_allclose(margins(X, y, found.direction), rare, atol=ITERATIVE)


def test_more_columns_than_rows_in_general_position_separate():
    rng = np.random.default_rng(0)
    assert kind(detect_separation(rng.normal(size=(20, 50)), np.arange(20) % 2)) == "complete"


@pytest.mark.parametrize("distance", [1.0, 2.1])
def test_constant_and_collinear_columns_change_nothing(distance):
    X, y = clouds(distance)
    wide = np.column_stack([X, np.full(len(y), 7.0), X[:, 0] + X[:, 1], 3 * X[:, 2] + 1])
    assert kind(detect_separation(wide, y)) == kind(detect_separation(X, y))


@pytest.mark.parametrize("distance", [1.0, 2.1])
def test_units_and_origin_change_nothing(distance):
    X, y = clouds(distance)
    moved = X * [1e-8, 1.0, 1e8] + [1.0, 1e6, -1e9]
    assert kind(detect_separation(moved, y)) == kind(detect_separation(X, y))


@pytest.mark.parametrize("unit", [1e-165, 1e155])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("distance", [1.0, 2.1])
def test_units_whose_squares_leave_float64_change_nothing(distance, fit_intercept, unit):
    X, y = clouds(distance)
    X[:, 0] -= distance / 2
    assert kind(detect_separation(unit * X, y, fit_intercept=fit_intercept)) == kind(
        detect_separation(X, y, fit_intercept=fit_intercept)
    )


def test_without_an_intercept_the_plane_passes_through_the_origin():
    X, y = np.array([[1.0], [2.0], [3.0], [4.0]]), [0, 0, 1, 1]
    assert not detect_separation(X, y, fit_intercept=False)
    found = detect_separation(X - 2.5, y, fit_intercept=False)
    assert kind(found) == "complete"
    assert found.direction[0] == 0


def test_a_single_class_is_completely_separated():
    assert kind(detect_separation([[1.0], [2.0]], [1, 1])) == "complete"


def test_rows_are_added_until_no_row_is_violated():
    # More rows than the first working set; the only separating direction is a difference.
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3000, 5))
    y = (rng.random(3000) < 0.5).astype(int)
    X[:, 4] = X[:, 0] + np.where(y == 1, rng.random(3000) < 0.02, 0)
    assert kind(detect_separation(X, y)) == "quasi"


def test_unsigned_bytes_do_not_overflow():
    X = np.array([[200, 250], [250, 200], [3, 255], [255, 3]], np.uint8)
    y = [0, 1, 0, 1]
    assert detect_separation(X, y).direction == pytest.approx(
        detect_separation(X.astype(float), y).direction
    )


# The estimator against statsmodels


def well_scaled():
    return overlapped()


def badly_scaled():
    X, y = overlapped(seed=1)
    return X * [1e-5, 1.0, 1e3, 1e6] + [0.0, 50.0, 0.0, 1e6], y


def correlated():
    X, y = overlapped(n=400, seed=2)
    X[:, 1] = X[:, 0] + 1e-3 * X[:, 1]
    return X, y


def strong_effects():
    rng = np.random.default_rng(3)
    X = rng.normal(size=(2000, 5))
    return X, (X @ [4.0, -4.0, 3.0, 0.0, 1.0] + rng.logistic(size=2000) > 0).astype(int)


def rare_class():
    rng = np.random.default_rng(4)
    X = rng.normal(size=(3000, 3))
    return X, (X.sum(axis=1) + rng.logistic(size=3000) > 5.5).astype(int)


@pytest.mark.parametrize("solver", ["lbfgs", "newton-cg"])
@pytest.mark.parametrize(
    "data", [well_scaled, badly_scaled, correlated, strong_effects, rare_class]
)
def test_estimates_and_likelihoods_agree_with_statsmodels(solver, data):
    X, y = data()
    # Newton on standardized columns, carried back: statsmodels itself loses digits on raw ones.
    mean, scale = X.mean(axis=0), X.std(axis=0)
    reference = sm.Logit(y, sm.add_constant((X - mean) / scale)).fit(disp=0, tol=1e-12, maxiter=100)
    model = LogisticMLE(solver).fit(X, y)
    np.testing.assert_allclose(model.coef_[0] * scale, reference.params[1:], rtol=ITERATIVE)
    intercept = reference.params[0] - model.coef_[0] @ mean
    np.testing.assert_allclose(model.intercept_, [intercept], rtol=ITERATIVE)
    assert model.llf_ == pytest.approx(reference.llf, rel=FLOAT64)
    assert model.llnull_ == pytest.approx(reference.llnull, rel=ITERATIVE)
    assert model.pseudo_r2_ == pytest.approx(reference.prsquared, rel=ITERATIVE)
    assert model.lr_stat_ == pytest.approx(reference.llr, rel=ITERATIVE)
    assert model.lr_df_ == reference.df_model
    assert model.lr_pvalue_ == pytest.approx(reference.llr_pvalue, rel=ITERATIVE)
    assert model.separated_ is False


def test_without_an_intercept_the_estimates_agree_with_statsmodels():
    X, y = overlapped()
    model = LogisticMLE(fit_intercept=False).fit(X, y)
    np.testing.assert_allclose(model.coef_[0], sm.Logit(y, X).fit(disp=0).params, rtol=ITERATIVE)
    assert model.intercept_ == [0]
    assert model.llnull_ == pytest.approx(len(y) * math.log(0.5), rel=FLOAT64)
    assert model.lr_df_ == X.shape[1]


def test_collinear_columns_change_neither_the_probabilities_nor_the_degrees_of_freedom():
    X, y = overlapped()
    wide = np.column_stack([X, np.full(len(y), 7.0), X[:, 0] - 2 * X[:, 1] + 3])
    model, reference = LogisticMLE().fit(wide, y), LogisticMLE().fit(X, y)
    np.testing.assert_allclose(
        model.predict_proba(wide), reference.predict_proba(X), rtol=ITERATIVE
    )
    assert model.llf_ == pytest.approx(reference.llf_, rel=FLOAT64)
    assert (model.rank_, model.lr_df_) == (5, 4)
    assert model.coef_[0, 4] == 0


@pytest.mark.parametrize("year", [2e3, 2e6, 2e9])
def test_collinear_columns_of_large_mean_change_nothing(year):
    rng = np.random.default_rng(0)
    t, z = year + rng.normal(size=200), rng.normal(size=200)
    y = (t - year + rng.logistic(size=200) > 0).astype(int)
    reference = LogisticMLE().fit(np.column_stack([t, z]), y)
    model = LogisticMLE().fit(np.column_stack([t, (t - 1) / 3, z]), y)
    assert model.lr_df_ == reference.lr_df_ == 2
    assert model.llf_ == pytest.approx(reference.llf_, rel=ITERATIVE)
    assert model.lr_pvalue_ == pytest.approx(reference.lr_pvalue_, rel=ITERATIVE)


def test_a_column_that_only_rounding_moves_is_constant():
    X, y = overlapped()
    rounded = np.where(X[:, :1] > 0, 0.3, 0.1 + 0.2)
    model = LogisticMLE().fit(rounded, y)
    assert (model.lr_df_, model.lr_pvalue_, model.coef_, model.scale_) == (0, 1, 0, 1)


def test_a_large_mean_of_one_column_spares_the_others():
    X, y = overlapped()
    X[:, 0] += 1e9
    X[:, 2] = X[:, 1] + 1e-5 * X[:, 2]
    assert LogisticMLE().fit(X, y).lr_df_ == 4


@pytest.mark.parametrize("unit", [1e-165, 1e155])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_units_whose_squares_leave_float64_change_no_likelihood(fit_intercept, unit):
    X, y = overlapped()
    model = LogisticMLE(fit_intercept=fit_intercept).fit(unit * X, y)
    reference = LogisticMLE(fit_intercept=fit_intercept).fit(X, y)
    assert model.llf_ == pytest.approx(reference.llf_, rel=FLOAT64)
    np.testing.assert_allclose(model.coef_ * unit, reference.coef_, rtol=ITERATIVE)
    np.testing.assert_allclose(model.scale_, reference.scale_ * unit, rtol=FLOAT64)


def test_collinear_columns_get_the_smallest_standardized_coefficients():
    X, y = overlapped(p=2)
    doubled = LogisticMLE().fit(X[:, [0, 1, 1]] * [1, 1, 5], y)
    single = LogisticMLE().fit(X, y).coef_[0] * X.std(axis=0)
    np.testing.assert_allclose(
        doubled.coef_[0] * doubled.scale_, [single[0], single[1] / 2, single[1] / 2], rtol=ITERATIVE
    )


@pytest.mark.parametrize("n_columns", [1, 3, 6])
def test_rank_is_that_of_the_design_with_its_intercept(n_columns):
    rng = np.random.default_rng(n_columns)
    X = rng.integers(0, 9, size=(200, n_columns)) @ rng.integers(0, 3, size=(n_columns, 8))
    model = LogisticMLE().fit(X, rng.integers(0, 2, 200))
    assert model.rank_ == np.linalg.matrix_rank(sm.add_constant(X.astype(float)))


# The estimator against scikit-learn


@pytest.mark.parametrize("separable", [False, True])
@pytest.mark.parametrize("max_iter", [3, 40])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_saga_is_the_thesis_code(separable, max_iter):
    X, y = clouds(2.1 if separable else 1.0, n=200, p=6)
    X = np.column_stack([np.round(255 * X), np.zeros(len(y))])
    Z = StandardScaler().fit_transform(X)
    settings = {"solver": "saga", "tol": 1e-4, "random_state": 0, "max_iter": max_iter}
    reference = LogisticRegression(C=np.inf, **settings).fit(Z, y)
    model = LogisticMLE(standardize=True, on_separation="ignore", **settings).fit(X, y)
    np.testing.assert_allclose(
        model.coef_ * model.scale_, reference.coef_, rtol=FLOAT64, atol=FLOAT64
    )
    assert model.n_iter_ == reference.n_iter_[0]
    assert model.llf_ == pytest.approx(
        -log_loss(y, reference.predict_proba(Z), normalize=False), rel=ITERATIVE
    )
    assert model.score(X, y) == reference.score(Z, y)
    assert model.separated_ is separable


@pytest.fixture(scope="module")
def mnist01():
    (images, labels), _ = load_mnist01("official")
    return images.reshape(len(images), -1), labels


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_saga_is_the_thesis_code_on_mnist(mnist01):
    X, y = mnist01[0][:800], mnist01[1][:800]
    Z = StandardScaler().fit_transform(X.astype(float))
    settings = {"solver": "saga", "tol": 1e-4, "random_state": 0, "max_iter": 20}
    reference = LogisticRegression(C=np.inf, **settings).fit(Z, y)
    model = LogisticMLE(standardize=True, on_separation="ignore", **settings).fit(X, y)
    np.testing.assert_allclose(
        model.decision_function(X), reference.decision_function(Z), rtol=FLOAT64, atol=FLOAT64
    )


def test_the_mnist_zeros_and_ones_are_separated(mnist01):
    with pytest.warns(SeparationWarning, match="completely"):
        model = LogisticMLE().fit(*mnist01)
    assert model.lr_df_ == np.linalg.matrix_rank(mnist01[0].astype(float)) == 579
    assert -2 * model.llnull_ == pytest.approx(17504.4193, abs=5e-5)  # rounded in the text
    assert -4.6035 < model.llf_ < 0  # above what the thesis's code reports
    assert math.isnan(model.lr_pvalue_)


def test_an_explicit_tolerance_leaves_lbfgs_where_it_stops():
    X, y = overlapped()
    Z = StandardScaler().fit_transform(X)
    reference = LogisticRegression(C=np.inf, tol=1e-2).fit(Z, y)
    with pytest.warns(ConvergenceWarning, match="lbfgs stopped 0.0"):
        model = LogisticMLE(tol=1e-2).fit(X, y)
    np.testing.assert_allclose(model.coef_ * model.scale_, reference.coef_, rtol=ITERATIVE)


def test_a_convergence_warning_of_scikit_learn_passes_through():
    X, y = overlapped()
    with pytest.warns(ConvergenceWarning):
        LogisticMLE("saga", max_iter=1, random_state=0).fit(X, y)


def test_saga_says_how_far_below_the_maximum_it_stops():
    X, y = overlapped(p=3)
    with pytest.warns(ConvergenceWarning, match="saga stopped .* standardize=True") as caught:
        model = LogisticMLE("saga", random_state=0).fit(X + 1e4, y)
    missing = LogisticMLE().fit(X, y).llf_ - model.llf_
    assert missing > 1
    assert f"stopped {missing:.3g} below" in str(caught[0].message)


@pytest.mark.parametrize("solver", ["lbfgs", "saga", "newton-cg"])
def test_a_fit_of_overlapped_classes_warns_of_nothing(solver):
    X, y = overlapped()
    with our_warnings_are_errors():
        LogisticMLE(solver, random_state=0).fit(X, y)


def test_predictions_are_those_of_scikit_learn():
    X, y = overlapped()
    reference = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(X, y)
    model = LogisticMLE().fit(X, y)
    np.testing.assert_allclose(
        model.predict_proba(X), reference.predict_proba(X), rtol=10 * ITERATIVE
    )
    np.testing.assert_array_equal(model.predict(X), reference.predict(X))
    assert model.score(X, y) == reference.score(X, y)


def test_bytes_and_floats_give_the_same_fit():
    rng = np.random.default_rng(0)
    X = rng.integers(0, 256, size=(100, 3), dtype=np.uint8)
    y = rng.integers(0, 2, size=100, dtype=np.uint8)
    model, reference = LogisticMLE().fit(X, y), LogisticMLE().fit(X.astype(float), y.astype(int))
    np.testing.assert_array_equal(model.coef_, reference.coef_)


def test_clone_keeps_the_parameters():
    model = LogisticMLE("saga", standardize=True, tol=1e-3, random_state=0, on_separation="raise")
    assert clone(model).get_params() == model.get_params()


# The estimator under separation


@pytest.mark.parametrize("solver", ["lbfgs", "saga", "newton-cg"])
def test_separation_warns_and_has_no_p_value(solver):
    X, y = clouds(2.1)
    with pytest.warns(SeparationWarning, match="completely separated.*Firth"):
        model = LogisticMLE(solver, tol=1e-3, random_state=0).fit(X, y)
    assert model.separated_
    assert math.isnan(model.lr_pvalue_)
    assert model.score(X, y) == 1


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("seed", range(20))
def test_the_fit_and_brute_force_agree_on_separation(seed, fit_intercept):
    rng = np.random.default_rng(seed)
    X = rng.integers(0, 3, size=(rng.integers(8, 30), 3)).astype(float)
    y = np.append([0, 1], rng.integers(0, 2, len(X) - 2) | (X[2:, 0] == 2))
    model = LogisticMLE(fit_intercept=fit_intercept, on_separation="ignore").fit(X, y)
    assert model.separated_ == (brute_force(X, y, fit_intercept) != "overlap")


def test_quasi_complete_separation_is_named():
    with pytest.warns(SeparationWarning, match="quasi-completely"):
        LogisticMLE().fit([[1.0], [2.0], [2.0], [3.0]], [0, 0, 1, 1])


def test_separation_can_raise():
    X, y = clouds(2.1)
    with pytest.raises(SeparationError, match="does not exist"):
        LogisticMLE(on_separation="raise").fit(X, y)


def test_separation_can_be_ignored():
    X, y = clouds(2.1)
    with our_warnings_are_errors():
        assert LogisticMLE(on_separation="ignore").fit(X, y).separated_


def test_an_early_stop_of_saga_is_not_mistaken_for_separation():
    X, y = overlapped()
    with pytest.warns(ConvergenceWarning):
        model = LogisticMLE("saga", max_iter=1, random_state=0, on_separation="raise").fit(X, y)
    assert not model.separated_


# Errors


X_GOOD, Y_GOOD = [[0.0], [1.0], [2.0], [3.0]], [0, 1, 0, 1]
DATED = pd.DataFrame({"age": [50, 55, 60, 65], "visit": pd.Timestamp("2020-01-01")})


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        (X_GOOD, [0, 1, 2, -1], "y holds 2, -1;"),
        (X_GOOD, ["a", "b", "a", "b"], "y holds 'a', 'b';"),
        (X_GOOD, [0.0, 1.0, np.nan, 1.0], "y holds nan;"),
        (X_GOOD, [0, 1, 1], "X has 4 rows and y has 3 entries"),
        (X_GOOD, np.ones((4, 1)), r"y has shape \(4, 1\)"),
        ([[0.0], [1.0], [np.nan], [3.0]], Y_GOOD, "X is nan in row 2, column 0"),
        ([[0.0, 1.0], [1.0, np.inf], [2.0, 2.0], [3.0, 3.0]], Y_GOOD, "inf in row 1, column 1"),
        (np.zeros((4, 28, 28)), Y_GOOD, r"Reshape your data to \(n, 784\)"),
        (np.zeros((4, 1), "M8[D]"), Y_GOOD, r"X has the dtype datetime64\[D\]"),
        (np.zeros((4, 1), "m8[D]"), Y_GOOD, r"X has the dtype timedelta64\[D\]"),
        (np.array(X_GOOD, complex), Y_GOOD, "X has the dtype complex128"),
        (DATED, Y_GOOD, "X has the dtype datetime64"),
        (X_GOOD, [0.1, 0.2, 0.3, 0.4], "continuous"),
        (X_GOOD, [0, 1, 2, 0], "Only binary classification is supported"),
        (X_GOOD, None, r"y has shape \(\); y should be a 1d array"),
        ([0.0, 1.0, 2.0, 3.0], Y_GOOD, r"Reshape your data to \(n, 1\)"),
    ],
)
@pytest.mark.parametrize("function", [LogisticMLE().fit, detect_separation])
def test_bad_data_are_named(function, X, y, message):
    with pytest.raises(ValueError, match=message):
        function(X, y)


def test_a_fit_needs_both_classes():
    with pytest.raises(ValueError, match="1 class only, 1"):
        LogisticMLE().fit(X_GOOD, [1, 1, 1, 1])


def test_a_fit_without_intercept_needs_an_entry_that_is_not_zero():
    with pytest.raises(ValueError, match="nothing to estimate"):
        LogisticMLE(fit_intercept=False).fit(np.zeros((4, 1)), Y_GOOD)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"solver": "liblinear"}, "solver is 'liblinear'; it must be one of lbfgs"),
        ({"on_separation": "stop"}, "on_separation is 'stop'"),
        ({"solver": np.array(["lbfgs", "saga"])}, r"solver is array\("),
        ({"standardize": "no"}, "standardize is 'no'; it must be one of True, False"),
        ({"fit_intercept": None}, "fit_intercept is None"),
        ({"fit_intercept": 1}, "fit_intercept is 1"),
        ({"tol": 0}, "tol is 0"),
        ({"tol": "a"}, "tol is 'a'"),
        ({"tol": math.inf}, "tol is inf"),
        ({"max_iter": "a"}, "max_iter is 'a'"),
        ({"max_iter": True}, "max_iter is True"),
        ({"random_state": "a"}, "random_state is 'a'"),
        ({"random_state": -1}, "random_state is -1"),
        ({"max_iter": 0.5}, "max_iter is 0.5"),
    ],
)
def test_bad_parameters_are_named(parameters, message):
    with pytest.raises(ValueError, match=message):
        LogisticMLE(**parameters).fit(X_GOOD, Y_GOOD)


def test_prediction_rejects_another_number_of_columns():
    model = LogisticMLE().fit(X_GOOD, Y_GOOD)
    with pytest.raises(ValueError, match="2 features"):
        model.predict([[0.0, 1.0]])
