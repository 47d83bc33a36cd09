"""The lasso path: against SAGA, L-BFGS-B and the optimality conditions."""

from __future__ import annotations

import itertools
import types
import warnings

import numpy as np
import pytest
import sklearn
from scipy import optimize, special
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from mammocourse import lasso
from mammocourse.lasso import relative_gap, rotation_orbits
from mammocourse.logistic import lasso_path
from mammocourse.phantom import make_lesion_crops
from mammocourse.preprocessing import rotate_right_angles
from tolerances import FLOAT32, FLOAT64, ITERATIVE

OLD_SKLEARN = tuple(map(int, sklearn.__version__.split(".")[:2])) < (1, 8)
TIGHT = 1e-9


def problem(n=80, p=30, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p)) * rng.uniform(0.5, 3, p) + rng.normal(size=p)
    y = (X[:, 0] - X[:, 1] + rng.normal(scale=2, size=n) > 0).astype(int)
    return X, y


def smooth_images(n=60, size=12, seed=0):
    """Sums of white noise over rows and columns: neighbors are nearly equal."""
    rng = np.random.default_rng(seed)
    images = rng.normal(size=(n, size, size)).cumsum(1).cumsum(2)
    y = (images[:, 3, 4] + images[:, -1, 2] + 5 * rng.normal(size=n) > 0).astype(int)
    return images, y


def objective(X, y, coef, intercept, lam, l1_ratio=1.0):
    scores = X @ coef + intercept
    penalty = l1_ratio * np.abs(coef).sum() + (1 - l1_ratio) / 2 * coef @ coef
    return np.logaddexp(0, np.where(y == 1, -1, 1) * scores).sum() + lam * penalty


def gap_of(X, y, coef, intercept, lam):
    """Gap of a lasso from its coefficients: the centered residual, scaled to be feasible."""
    u = special.expit(X @ coef + intercept) - y
    u -= u.mean()
    u *= min(1, lam / np.abs(X.T @ u).max())
    q = np.clip(y + u, 0, 1)
    primal = objective(X, y, coef, intercept, lam)
    return (primal - (special.entr(q) + special.entr(1 - q)).sum()) / primal


def saga(X, y, lam, l1_ratio):
    old = {"penalty": "elasticnet"} if OLD_SKLEARN else {}
    model = LogisticRegression(
        C=1 / lam, l1_ratio=l1_ratio, solver="saga", tol=1e-10, max_iter=100_000, **old
    ).fit(X, y)
    return model.coef_[0], model.intercept_[0]


def split_lbfgsb(X, y, lam, l1_ratio):
    """Coefficients as differences of two positive parts, each bounded by 0."""
    p = X.shape[1]

    def value(theta):
        plus, minus, intercept = theta[:p], theta[p:-1], theta[-1]
        coef = plus - minus
        scores = X @ coef + intercept
        slope = X.T @ (special.expit(scores) - y)
        ridge = lam * (1 - l1_ratio)
        loss = np.logaddexp(0, np.where(y == 1, -1, 1) * scores).sum()
        total = loss + lam * l1_ratio * (plus + minus).sum() + ridge / 2 * coef @ coef
        one = slope + ridge * coef
        down = (special.expit(scores) - y).sum()
        return total, np.r_[one + lam * l1_ratio, -one + lam * l1_ratio, down]

    bounds = [(0, None)] * (2 * p) + [(None, None)]
    options = {"maxiter": 50_000, "maxfun": 10**6, "ftol": 1e-15, "gtol": 1e-9}
    found = optimize.minimize(
        value, np.zeros(2 * p + 1), jac=True, bounds=bounds, method="L-BFGS-B", options=options
    )
    return found.x[:p] - found.x[p:-1], found.x[-1]


@pytest.mark.parametrize("oracle", [saga, split_lbfgsb])
@pytest.mark.parametrize("l1_ratio", [1.0, 0.5])
@pytest.mark.parametrize("shape", [(80, 30), (40, 90)])
def test_minimum_equals_that_of_two_other_solvers(oracle, l1_ratio, shape):
    X, y = problem(*shape)
    Z = StandardScaler().fit_transform(X)
    lambdas = [8.0, 2.0]
    path = lasso_path(Z, y, lambdas, l1_ratio=l1_ratio, standardize=False, tol=TIGHT)
    for lam, coef, intercept in zip(lambdas, path.coef_, path.intercept_, strict=True):
        other = objective(Z, y, *oracle(Z, y, lam, l1_ratio), lam, l1_ratio)
        ours = objective(Z, y, coef, intercept, lam, l1_ratio)
        assert ours == pytest.approx(other, rel=ITERATIVE)
        assert ours <= other * (1 + 1e-8)


@pytest.mark.parametrize("shape", [(80, 30), (40, 90)])
def test_ridge_equals_lbfgs(shape):
    X, y = problem(*shape)
    Z = StandardScaler().fit_transform(X)
    path = lasso_path(Z, y, 3.0, l1_ratio=0, standardize=False)
    model = LogisticRegression(C=1 / 3.0, tol=1e-10, max_iter=10_000).fit(Z, y)
    np.testing.assert_allclose(path.coef_[0], model.coef_[0], atol=ITERATIVE)
    assert path.duality_gap_[0] < ITERATIVE
    assert path.converged_.all()


def test_optimality_conditions_hold_on_nearly_equal_columns():
    images, y = smooth_images()
    X = StandardScaler().fit_transform(images.reshape(len(images), -1))
    lambdas = [3.0, 0.5, 0.05]
    path = lasso_path(X, y, lambdas, standardize=False, tol=1e-8)
    for lam, coef, intercept in zip(lambdas, path.coef_, path.intercept_, strict=True):
        u = special.expit(X @ coef + intercept) - y
        slope = X.T @ u
        assert abs(u.sum()) < ITERATIVE
        assert np.abs(slope).max() < lam * 1.001
        used = coef != 0
        np.testing.assert_allclose(slope[used], -lam * np.sign(coef[used]), rtol=1e-3)


def test_gap_is_that_of_the_coefficients():
    images, y = smooth_images()
    X = images.reshape(len(images), -1)
    scaler = StandardScaler().fit(X)
    lambdas = np.array([6.0, 2.0, 0.5, 0.2, 0.01])
    path = lasso_path(X, y, lambdas)
    assert path.converged_.all()
    Z, coef = scaler.transform(X), path.coef_ * scaler.scale_
    intercept = path.intercept_ + path.coef_ @ scaler.mean_
    for k, lam in enumerate(lambdas):
        fitted = objective(Z, y, coef[k], intercept[k], lam)
        assert path.objective_[k] == pytest.approx(fitted, rel=ITERATIVE)
        # Its own residual is one dual point; the reported bound may come from a better one.
        assert path.duality_gap_[k] <= gap_of(Z, y, coef[k], intercept[k], lam) + ITERATIVE
        assert gap_of(Z, y, coef[k], intercept[k], lam) <= 1e-3


@pytest.mark.parametrize("l1_ratio", [1.0, 0.5, 0.0])
def test_gap_of_any_coefficients_bounds_their_distance_from_the_minimum(l1_ratio):
    X, y = problem()
    rng = np.random.default_rng(1)
    minimum = lasso_path(X, y, 2.0, l1_ratio=l1_ratio, tol=TIGHT)
    options = {"l1_ratio": l1_ratio}
    for coef in (minimum.coef_[0], np.zeros(30), rng.normal(size=30)):
        gap = relative_gap(X, y, coef, minimum.intercept_[0], 2.0, **options)
        scaled = objective(X / X.std(0), y, coef * X.std(0), minimum.intercept_[0], 2.0, l1_ratio)
        assert scaled * (1 - gap) <= minimum.objective_[0] * (1 + ITERATIVE)
    assert relative_gap(X, y, minimum.coef_[0], minimum.intercept_[0], 2.0, **options) < 1e-4
    with pytest.raises(ValueError, match="30"):
        relative_gap(X, y, np.zeros(5), 0.0, 2.0)


def test_gap_of_a_lasso_by_its_definition():
    X, y = problem()
    path = lasso_path(X, y, [5.0, 1.0], standardize=False, tol=0.1)
    for k, lam in enumerate(path.lambdas_):
        arguments = X, y, path.coef_[k], path.intercept_[k], lam
        ours = relative_gap(*arguments, standardize=False)
        assert ours == pytest.approx(gap_of(*arguments), abs=1e-9)


def test_lambda_from_the_largest_correlation_on_leaves_only_the_intercept():
    X, y = problem()
    Z = StandardScaler().fit_transform(X)
    largest = np.abs(Z.T @ (y - y.mean())).max()
    path = lasso_path(X, y, [largest, 10 * largest, 0.9 * largest])
    assert path.sparsity_[:2].tolist() == [1.0, 1.0]
    np.testing.assert_allclose(path.intercept_[:2], special.logit(y.mean()), rtol=FLOAT64)
    assert path.n_nonzero_[2] > 0


def test_results_stand_in_the_order_of_the_caller():
    X, y = problem()
    lambdas = [1.0, 20.0, 4.0]
    path = lasso_path(X, y, lambdas, tol=TIGHT)
    assert path.lambdas_.tolist() == lambdas
    for k, lam in enumerate(lambdas):
        alone = lasso_path(X, y, lam, tol=TIGHT)
        np.testing.assert_allclose(path.coef_[k], alone.coef_[0], atol=1e-5)
        assert path.objective_[k] == pytest.approx(alone.objective_[0], rel=ITERATIVE)


def test_standardizing_is_that_of_scikit_learn_and_leaves_x_alone():
    X, y = problem()
    before = X.copy()
    inside = lasso_path(X, y, 3.0, tol=TIGHT)
    outside = lasso_path(StandardScaler().fit_transform(X), y, 3.0, tol=TIGHT, standardize=False)
    np.testing.assert_array_equal(X, before)
    np.testing.assert_allclose(inside.coef_ * X.std(axis=0), outside.coef_, atol=ITERATIVE)
    assert inside.objective_ == pytest.approx(outside.objective_)


@pytest.mark.parametrize("l1_ratio", [1.0, 0.5, 0.0])
def test_constant_columns_have_coefficient_0(l1_ratio):
    X, y = problem()
    X[:, 3] = 0.1
    X[:, 7] = 0.0
    path = lasso_path(X, y, [2.0], l1_ratio=l1_ratio)
    assert path.coef_[0, [3, 7]].tolist() == [0.0, 0.0]
    assert path.converged_.all()


@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_narrow_types_give_the_fit_of_float64(dtype):
    images, y = smooth_images()
    X = (images - images.min()).reshape(len(images), -1).round().clip(0, 255)
    narrow, wide = (lasso_path(X.astype(t), y, [4.0, 1.0]) for t in (dtype, np.float64))
    np.testing.assert_allclose(narrow.objective_, wide.objective_, rtol=1e-3)
    assert narrow.converged_.all()


def test_not_more_nonzeros_than_the_rank_of_x():
    images, y = smooth_images(n=20)
    X = np.tile(images.reshape(len(images), -1), 3)  # every column three times
    path = lasso_path(X, y, [2.0, 0.1, 0.001])
    assert path.n_nonzero_.max() <= np.linalg.matrix_rank(X - X.mean(axis=0))
    assert path.converged_.all()
    single = lasso_path(X[:, : X.shape[1] // 3], y, [2.0, 0.1, 0.001])
    np.testing.assert_allclose(path.objective_, single.objective_, rtol=2e-3)


def test_working_set_gives_what_all_columns_give(monkeypatch):
    images, y = smooth_images(size=16)
    X = images.reshape(len(images), -1)
    few = [lasso_path(X, y, [3.0, 0.3], tol=1e-7)]
    monkeypatch.setattr(lasso, "_FEW", 8)
    few.append(lasso_path(X, y, [3.0, 0.3], tol=1e-7))
    np.testing.assert_allclose(few[0].objective_, few[1].objective_, rtol=ITERATIVE)


def test_measures_of_fit_and_scores_of_new_data():
    X, y = problem()
    path = lasso_path(X[:60], y[:60], [5.0, 1.0])
    scores = path.decision_function(X[60:])
    assert scores.shape == (2, 20)
    np.testing.assert_allclose(scores, path.coef_ @ X[60:].T + path.intercept_[:, np.newaxis])
    q = special.expit(path.decision_function(X[:60]))
    llf = np.log(np.where(y[:60] == 1, q, 1 - q)).sum(axis=1)
    mean = y[:60].mean()
    null = 60 * (mean * np.log(mean) + (1 - mean) * np.log(1 - mean))
    np.testing.assert_allclose(path.llf_, llf, rtol=FLOAT64)
    np.testing.assert_allclose(path.pseudo_r2_, 1 - llf / null, rtol=FLOAT64)
    assert path.n_nonzero_.tolist() == np.count_nonzero(path.coef_, axis=1).tolist()
    np.testing.assert_allclose(path.sparsity_, (path.coef_ == 0).mean(axis=1))
    with pytest.raises(ValueError, match="30"):
        path.decision_function(X[:, :5])


@pytest.mark.parametrize("ticks", [2, 5, 8])
def test_when_time_has_run_out_the_gap_is_true_and_a_warning_says_so(monkeypatch, ticks):
    images, y = smooth_images()
    X = images.reshape(len(images), -1)
    clock = itertools.count()
    monkeypatch.setattr(lasso, "time", types.SimpleNamespace(perf_counter=lambda: next(clock)))
    with pytest.warns(ConvergenceWarning, match=r"0\.05"):
        path = lasso_path(X, y, [0.05], max_time=ticks)
    minimum = lasso_path(X, y, [0.05], tol=1e-7).objective_[0]
    assert not path.converged_[0]
    assert path.objective_[0] * (1 - path.duality_gap_[0]) <= minimum < path.objective_[0]
    assert path.objective_[0] <= len(y) * np.log(2)


def test_no_warning_when_all_have_converged():
    X, y = problem()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lasso_path(X, y, [10.0, 0.1])


@pytest.mark.parametrize("size", [6, 12])
def test_orbits_of_rotations_give_the_lasso_on_all_rotated_images(size):
    images, y = smooth_images(n=40, size=size)
    lambdas = [3.0, 0.5]
    orbits = rotation_orbits(images)
    small = lasso_path(orbits.design, y, lambdas, standardize=False, tol=1e-6)
    rotated, labels = rotate_right_angles(images).reshape(160, -1), np.repeat(y, 4)
    large = lasso_path(rotated, labels, lambdas, tol=1e-6)
    np.testing.assert_allclose(4 * small.objective_, large.objective_, rtol=FLOAT32)
    coef, intercept = orbits.lift(small.coef_, small.intercept_)
    maps = coef.reshape(-1, size, size)
    np.testing.assert_allclose(maps, np.rot90(maps, axes=(1, 2)), rtol=FLOAT64)
    scaler = StandardScaler().fit(rotated)
    for k, lam in enumerate(lambdas):
        gap = gap_of(
            scaler.transform(rotated),
            labels,
            coef[k] * scaler.scale_,
            intercept[k] + coef[k] @ scaler.mean_,
            lam,
        )
        assert gap < 1e-3
    np.testing.assert_allclose(
        rotated @ coef.T + intercept,
        np.repeat(small.decision_function(orbits.design).T, 4, axis=0),
        atol=1e-4,
    )


def test_orbits_of_crops_with_constant_corners():
    images = make_lesion_crops(20, size=32, seed=0).images
    images[:, 0, 0] = images[:, 0, -1] = images[:, -1, 0] = images[:, -1, -1] = 7
    orbits = rotation_orbits(images)
    assert orbits.design.shape == (len(images), 256)
    assert orbits.design.dtype == np.float32
    assert not orbits.design[:, 0].any()


@pytest.mark.parametrize("shape", [(3, 4, 5), (3, 5, 5), (4, 4)])
def test_orbits_need_square_images_of_even_size(shape):
    with pytest.raises(ValueError, match="even"):
        rotation_orbits(np.zeros(shape))


def changed(**arguments):
    X, y = problem(20, 5)
    return {"X": X, "y": y, "lambdas": [1.0]} | arguments


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"lambdas": [1.0, 0.0]}, "lambdas"),
        ({"lambdas": [-1.0]}, "lambdas"),
        ({"lambdas": [np.nan]}, "lambdas"),
        ({"lambdas": [np.inf]}, "lambdas"),
        ({"lambdas": []}, "lambdas"),
        ({"lambdas": [[1.0]]}, "lambdas"),
        ({"l1_ratio": 1.5}, "l1_ratio"),
        ({"l1_ratio": np.nan}, "l1_ratio"),
        ({"tol": 0}, "tol"),
        ({"max_time": 0}, "max_time"),
        ({"y": np.zeros(20)}, "both classes"),
        ({"y": np.arange(20)}, "0 and 1"),
        ({"y": np.zeros(19)}, "20 rows"),
        ({"y": np.zeros((20, 1))}, "1d"),
        ({"X": np.full((20, 5), np.nan)}, "Input X contains NaN"),
        ({"X": problem(20, 5)[0] * 1e200}, "X is too large or too small.*Multiply"),
        ({"X": problem(20, 5)[0] * 1e-200}, "X is too large or too small.*Multiply"),
        ({"X": np.zeros(20)}, "2D"),
        ({"X": np.zeros((20, 0))}, "0 feature"),
    ],
)
def test_bad_input_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        lasso_path(**changed(**arguments))


def test_more_lambdas_than_memory_allows_names_the_size():
    lambdas = np.broadcast_to(1.0, 10**12)
    with pytest.raises(MemoryError, match=r"1000000000000 lambdas and 5 columns takes 37252\.9"):
        lasso_path(**changed(lambdas=lambdas))


def bound_of(X, y, coef, intercept, lam, l1_ratio):
    """Lower bound of the minimum from a fit: its residual, moved by Newton's step to optimality.

    In the metric of the entropy, to where X'u is minus the slope of the penalty on the support.
    """
    used = coef != 0
    A = np.column_stack([np.ones(len(y)), X[:, used]])
    q = special.expit(X @ coef + intercept)
    u = q - y
    slope = lam * (l1_ratio * np.sign(coef[used]) + (1 - l1_ratio) * coef[used])
    w = q * (1 - q)
    system = A.T @ (w[:, np.newaxis] * A)
    u = u - w * (A @ np.linalg.lstsq(system, A.T @ u + np.r_[0, slope], rcond=None)[0])
    v = X.T @ u
    if l1_ratio:
        u, v = (part * min(1, lam * l1_ratio / np.abs(v).max()) for part in (u, v))
        conjugate = 0.0
    else:
        conjugate = v @ v / (2 * lam)
    m = np.abs(u)
    assert ((1 - 2 * y) * u > 0).all()
    assert m.max() < 1
    return (special.entr(m) + special.entr(1 - m)).sum() - conjugate


def grey_values(seed):
    """Few pixels from 0 to 255 and classes that overlap: the MLE exists."""
    rng = np.random.default_rng(seed)
    X = rng.integers(0, 255, size=(300, 3)).astype(float)
    return X, (rng.random(300) < special.expit((X[:, 0] - 127) / 70)).astype(float)


@pytest.mark.parametrize("seed", [3, 4, 5])
@pytest.mark.parametrize("standardize", [True, False])
def test_lasso_with_a_tiny_penalty_where_the_mle_exists(seed, standardize):
    X, y = grey_values(seed)
    lambdas = [1e-3, 1e-4, 1e-5, 1e-7]
    path = lasso_path(X, y, lambdas, standardize=standardize)
    assert path.converged_.all()
    if not standardize:
        for k, lam in enumerate(lambdas):
            least = bound_of(X, y, path.coef_[k], path.intercept_[k], lam, 1)
            assert path.objective_[k] == pytest.approx(least, rel=1e-3)  # tol
    mle = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-10, max_iter=1000)
    mle.fit(StandardScaler().fit_transform(X), y)
    np.testing.assert_allclose(path.coef_[-1] * X.std(axis=0), mle.coef_[0], atol=FLOAT32)


@pytest.mark.parametrize("overlap", [True, False])
@pytest.mark.parametrize("tol", [1e-2, 1e-3, 1e-8])
def test_ridge_with_a_tiny_penalty_and_more_columns_than_rows(tol, overlap):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 150))
    X, y = np.r_[X, X], np.tile(np.repeat([0.0, 1.0], 30), 2)
    if overlap:
        y[:8] = 1  # the same rows with the other class
    Z = StandardScaler().fit_transform(X)
    lambdas = [1e-2, 1e-3, 1e-4, 1e-6]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        path = lasso_path(Z, y, lambdas, l1_ratio=0, standardize=False, tol=tol)
    assert path.converged_.all()
    for k, lam in enumerate(lambdas):
        fitted = objective(Z, y, path.coef_[k], path.intercept_[k], lam, 0)
        least = bound_of(Z, y, path.coef_[k], path.intercept_[k], lam, 0)
        assert path.objective_[k] == pytest.approx(fitted, rel=ITERATIVE)
        assert fitted == pytest.approx(least, rel=max(tol, ITERATIVE))


@pytest.mark.parametrize("l1_ratio", [1e-300, 1e-9, 1e-8, 1e-6])
def test_elastic_net_next_to_ridge(l1_ratio):
    X, y = grey_values(4)
    near = lasso_path(X, y, [1.0, 1e-3], l1_ratio=l1_ratio)
    ridge = lasso_path(X, y, [1.0, 1e-3], l1_ratio=0)
    assert near.converged_.all()
    np.testing.assert_allclose(near.objective_, ridge.objective_, rtol=1e-3)  # tol


@pytest.mark.parametrize(("lam", "l1_ratio"), [(1e-300, 1.0), (5e-324, 0.5), (1e-300, 0.0)])
def test_a_lambda_beyond_float64_is_said_not_to_converge(lam, l1_ratio):
    X, y = problem(20, 5)
    with pytest.warns(ConvergenceWarning, match="larger lambdas"):
        path = lasso_path(X, y, [1.0, lam], l1_ratio=l1_ratio)
    assert path.converged_.tolist() == [True, False]
    assert path.duality_gap_[1] > 1e-3
    assert np.isfinite(path.coef_).all()


def test_columns_out_of_range_without_standardizing():
    X, y = problem(20, 5)
    with pytest.warns(ConvergenceWarning, match="standardize=True"):
        path = lasso_path(X * 1e200, y, [1.0], standardize=False)
    assert not path.converged_.any()
    with pytest.raises(ValueError, match="Input X contains NaN"):
        lasso_path(X, y, [1.0]).decision_function(np.full((1, 5), np.nan))
