"""monte_carlo finds what scikit-learn and statsmodels find, in whatever way it is run."""

import json
import os
import signal
import subprocess
import sys
import tracemalloc
import warnings

import joblib
import numpy as np
import pytest
import statsmodels.api as sm
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from mammocourse import simulation
from mammocourse.logistic import LogisticMLE, SeparationWarning, detect_separation
from mammocourse.simulation import monte_carlo, replicate, simulate_logistic, thesis_beta
from tolerances import FLOAT32, FLOAT64, ITERATIVE, MONTE_CARLO_ERRORS

# What monte_carlo promises: estimates to 1e-3 of their standard errors, and standard
# errors to 1e-3 of themselves.
PROMISED = 1e-3

BETA = np.random.default_rng(0).standard_normal(20) / 4


@pytest.fixture(scope="module")
def result():
    return monte_carlo(BETA, n=2000, n_replications=6, seed=3)


# --- The thesis's coefficients


def test_thesis_beta_has_the_published_size():
    beta = thesis_beta()
    assert beta.shape == (784,)
    found = [np.linalg.norm(beta), np.abs(beta).mean(), beta.mean()]
    assert [round(value, digits) for value, digits in zip(found, (2, 4, 4), strict=True)] == [
        16.67,
        0.3531,
        0.0483,
    ]


# --- Outcomes


def test_outcomes_have_the_probabilities_of_the_model():
    X = np.repeat([[-2.0, 1.0], [0.0, 0.0], [1.0, 0.5]], 20_000, axis=0)
    y = simulate_logistic(X, [1.0, 0.5], seed=1).reshape(3, -1)
    expected = 1 / (1 + np.exp([1.5, 0.0, -1.25]))
    error = np.sqrt(expected * (1 - expected) / 20_000)
    assert np.all(np.abs(y.mean(axis=1) - expected) < MONTE_CARLO_ERRORS * error)
    assert set(np.unique(y)) == {0, 1}


def test_outcomes_repeat_with_the_seed():
    X = np.random.default_rng(0).standard_normal((500, 20))
    first = simulate_logistic(X, BETA, 5)
    assert_array_equal(first, simulate_logistic(X, BETA, np.random.default_rng(5)))
    assert np.any(first != simulate_logistic(X, BETA, 6))


@pytest.mark.parametrize(
    ("X", "beta", "seed", "message"),
    [
        (np.ones((3, 2)), [1.0], 0, r"X has shape \(3, 2\) and beta \(1,\)"),
        (np.ones(3), [1.0], 0, "X has shape"),
        ([[1.0], [np.nan]], [1.0], 0, "X holds .* row 1"),
        ([[1.0]], [np.inf], 0, "beta is inf at position 0"),
        ([[1.0]], [1.0], None, "seed is None"),
        ([["a"]], [1.0], 0, "X has the dtype"),
    ],
)
def test_bad_input_of_simulate_logistic_is_named(X, beta, seed, message):
    with pytest.raises(ValueError, match=message):
        simulate_logistic(X, beta, seed)


# --- The data of a replication


def test_replication_draws_standardized_bytes_from_its_own_child_of_the_seed():
    X, y = replicate(BETA, n=300, seed=3, index=4)
    rng = np.random.default_rng(np.random.SeedSequence(3).spawn(9)[4])
    expected = StandardScaler().fit_transform(rng.integers(-128, 128, (300, 20), dtype=np.int8))
    assert_allclose(X, expected, rtol=FLOAT32, atol=FLOAT32)
    assert_array_equal(y, simulate_logistic(expected, BETA, rng))


def test_normal_design_is_standard_normal():
    X, _ = replicate(BETA, n=4000, seed=0, index=0, design="normal")
    assert np.all(np.abs(X.mean(axis=0)) < MONTE_CARLO_ERRORS / np.sqrt(4000))
    assert np.all(np.abs((X**2).mean(axis=0) - 1) < MONTE_CARLO_ERRORS * np.sqrt(2 / 4000))
    assert np.abs(X).max() > 2 > np.sqrt(3)  # beyond what uniform pixels reach


def test_pixels_to_254_instead_of_255_make_no_difference():
    draws = np.random.default_rng(0).random((2000, 20))
    y = None
    fits = []
    for levels in (256, 255):  # randint(0, 255) of the thesis's code stops at 254
        X = StandardScaler().fit_transform(np.floor(levels * draws))
        y = simulate_logistic(X, BETA, 1) if y is None else y
        fits.append(sm.Logit(y, X).fit(disp=False))
    difference = np.abs(fits[0].params - fits[1].params) / fits[0].bse
    assert difference.max() < 0.05  # of a standard error: a twentieth of the noise


# --- Estimates


@pytest.mark.parametrize("design", ["uniform", "normal"])
@pytest.mark.parametrize(("n", "p", "strength"), [(2000, 20, 1), (2000, 100, 4), (500, 1, 1)])
def test_estimates_and_standard_errors_are_those_of_the_references(n, p, strength, design):
    beta = np.random.default_rng(p).standard_normal(p) * strength / np.sqrt(p)
    result = monte_carlo(beta, n=n, n_replications=2, seed=1, design=design)
    for index in range(2):
        X, y = replicate(beta, n=n, seed=1, index=index, design=design)
        X = X.astype(np.float64)
        reference = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-9, max_iter=10_000)
        errors = sm.Logit(y, X).fit(disp=False).bse
        difference = result.estimates[index] - reference.fit(X, y).coef_[0]
        assert np.abs(difference / errors).max() < PROMISED
        assert_allclose(result.standard_errors[index], errors, rtol=PROMISED)


def test_estimates_near_the_boundary_of_existence_are_those_of_a_reference():
    beta = np.full(10, 1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SeparationWarning)
        result = monte_carlo(beta, n=50, n_replications=20, seed=2, design="normal")
    assert 0 < result.n_separated < 20
    for index in np.flatnonzero(result.exists):
        X, y = replicate(beta, n=50, seed=2, index=index, design="normal")
        reference = LogisticMLE(fit_intercept=False).fit(X, y)
        difference = result.estimates[index] - reference.coef_[0]
        assert np.all(np.abs(difference) < PROMISED * result.standard_errors[index])


def test_summaries_are_what_they_are_called(result):
    error = result.estimates - BETA
    assert_allclose(result.mad, [np.mean(np.abs(row)) for row in error], rtol=FLOAT64)
    assert result.mmad == pytest.approx(sum(result.mad) / 6, rel=FLOAT64)
    squares = sum((value - result.mmad) ** 2 for value in result.mad)
    assert result.smad == pytest.approx((squares / 5) ** 0.5, rel=FLOAT64)  # ddof = 1
    assert_allclose(result.mean_estimate, sum(result.estimates) / 6, rtol=FLOAT64)
    assert_allclose(result.bias, error.mean(axis=0), rtol=FLOAT64)
    assert_allclose(result.rmse**2, result.bias**2 + result.variance * 5 / 6, rtol=FLOAT64)
    slopes = [sm.OLS(row, BETA).fit().params[0] for row in result.estimates]
    assert_allclose(result.slope, slopes, rtol=FLOAT64)
    low = result.estimates - 1.959963984540054 * result.standard_errors
    high = result.estimates + 1.959963984540054 * result.standard_errors
    assert_allclose(result.coverage(), ((low <= BETA) & (high >= BETA)).mean(axis=0))


def test_wald_intervals_cover_at_their_level_where_p_is_small():
    result = monte_carlo([0.5, -0.5, 0.0], n=1000, n_replications=300, seed=0)
    share = result.coverage(0.9)
    assert np.all(np.abs(share - 0.9) < MONTE_CARLO_ERRORS * np.sqrt(0.09 / 300))


# --- No estimate


@pytest.mark.parametrize(("n", "p", "strength"), [(3, 1, 0), (10, 1, 3), (60, 10, 3), (40, 20, 0)])
def test_separable_replications_are_nan_and_counted(n, p, strength):
    beta = np.full(p, strength / np.sqrt(p))
    with pytest.warns(SeparationWarning, match="have no maximum likelihood estimate"):
        result = monte_carlo(beta, n=n, n_replications=25, seed=4)
    data = [replicate(beta, n=n, seed=4, index=index) for index in range(25)]
    separable = np.array([bool(detect_separation(*part, fit_intercept=False)) for part in data])
    assert 0 < separable.sum() < 25
    assert_array_equal(np.isnan(result.mad), separable)
    assert_array_equal(np.isnan(result.estimates).all(axis=1), separable)
    assert_array_equal(np.isnan(result.standard_errors).all(axis=1), separable)
    assert result.n_separated == separable.sum()
    assert result.mmad == pytest.approx(np.nanmean(result.mad), rel=FLOAT64)
    assert result.smad == pytest.approx(np.nanstd(result.mad, ddof=1), rel=FLOAT64)
    assert_allclose(result.mean_estimate, np.nanmean(result.estimates, axis=0), rtol=FLOAT64)


@pytest.mark.parametrize("n", [1, 5, 20])
def test_no_more_images_than_pixels_leave_no_estimate(n):
    with pytest.warns(SeparationWarning, match=rf"2 of 2 .* \(n = {n}, p = 20\)"):
        result = monte_carlo(BETA, n=n, n_replications=2, seed=0)
    assert result.n_separated == 2
    assert np.isnan([result.mmad, result.smad, *result.mean_estimate, *result.coverage()]).all()


def test_coefficients_without_any_noise_leave_no_estimate():
    with pytest.warns(SeparationWarning, match="2 of 2"):
        assert monte_carlo([1e6, -2e6], n=1000, n_replications=2, seed=0).n_separated == 2


def test_zero_coefficients_have_estimates_but_no_slope():
    result = monte_carlo(np.zeros(3), n=200, n_replications=3, seed=0)
    assert result.n_separated == 0
    assert np.isnan(result.slope).all()


# --- Many replications, jobs and machines


def test_jobs_change_nothing(result):
    parallel = monte_carlo(BETA, n=2000, n_replications=6, seed=3, n_jobs=2)
    assert_allclose(parallel.estimates, result.estimates, rtol=ITERATIVE)
    assert_allclose(parallel.mad, result.mad, rtol=ITERATIVE)


def test_more_replications_begin_with_the_same_ones(result):
    more = monte_carlo(BETA, n=2000, n_replications=8, seed=3)
    assert_array_equal(more.estimates[:6], result.estimates)
    assert len(np.unique(more.mad)) == 8


def test_dask_cluster_gives_the_same_numbers(result):
    distributed = pytest.importorskip(
        "distributed", reason="no Dask: pip install 'mammocourse[scale]'"
    )
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with (
        distributed.LocalCluster(processes=False, **options) as cluster,
        distributed.Client(cluster) as client,
        joblib.parallel_config("dask"),
    ):
        remote = monte_carlo(BETA, n=2000, n_replications=6, seed=3)
        done = client.run(lambda dask_worker: dask_worker.state.executed_count)
    assert sum(done.values()) > 0
    assert_allclose(remote.estimates, result.estimates, rtol=ITERATIVE)


def test_memory_does_not_grow_with_the_replications():
    def measured(n_replications):
        tracemalloc.start()
        monte_carlo(np.full(50, 0.1), n=20_000, n_replications=n_replications, seed=0)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    measured(1)  # what is made once
    few, many = measured(2), measured(8)
    assert many < few + 20_000 * 50  # bytes: the images of one replication
    assert few < 4 * 20_000 * 50 * 4  # and one replication takes a few of them in float32


def test_progress_bar_counts_the_replications(capsys):
    monte_carlo(BETA, n=500, n_replications=3, seed=0, progress=True)
    assert "3/3" in capsys.readouterr().err
    monte_carlo(BETA, n=500, n_replications=3, seed=0)
    assert capsys.readouterr().err == ""


# --- Checkpoints

KILLED = """
import itertools, os, signal, sys, types
from mammocourse import simulation
from test_simulation import BETA

clock = itertools.count()  # a write takes one tick, so the next one comes some twenty later
simulation.time = types.SimpleNamespace(monotonic=lambda: next(clock))
run = simulation._Task.run

def run_or_die(self, index):
    if index == 50:
        os.kill(os.getpid(), signal.SIGKILL)
    return run(self, index)

simulation._Task.run = run_or_die
simulation.monte_carlo(BETA, n=4000, n_replications=60, seed=3, checkpoint=sys.argv[1])
"""


def stored(path):
    with np.load(path) as file:
        return len(file["index"])


def count_runs(monkeypatch):
    """Return a list that grows by the number of each replication that is computed."""
    run, done = simulation._Task.run, []
    monkeypatch.setattr(
        simulation._Task, "run", lambda self, index: (done.append(index), run(self, index))[1]
    )
    return done


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no SIGKILL")
def test_killed_and_resumed_run_gives_the_same(tmp_path, monkeypatch):
    path = tmp_path / "run.npz"
    folder = os.path.dirname(__file__)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([os.path.dirname(folder), folder])}
    command = [sys.executable, "-c", KILLED, str(path)]
    assert subprocess.run(command, env=environment).returncode == -signal.SIGKILL
    before = stored(path)
    assert before == 40  # of the 50 that were done
    never_stopped = monte_carlo(BETA, n=4000, n_replications=60, seed=3)
    done = count_runs(monkeypatch)
    resumed = monte_carlo(BETA, n=4000, n_replications=60, seed=3, checkpoint=path)
    assert len(done) == 60 - before
    assert_array_equal(resumed.estimates, never_stopped.estimates)
    assert_array_equal(resumed.standard_errors, never_stopped.standard_errors)


def test_interrupt_keeps_every_finished_replication(tmp_path, monkeypatch):
    path = tmp_path / "run.npz"
    run = simulation._Task.run

    def run_or_stop(self, index):
        if index == 4:
            raise KeyboardInterrupt
        return run(self, index)

    with monkeypatch.context() as patch:
        patch.setattr(simulation._Task, "run", run_or_stop)
        with pytest.raises(KeyboardInterrupt):
            monte_carlo(BETA, n=500, n_replications=6, seed=3, checkpoint=path)
    assert stored(path) == 4
    done = count_runs(monkeypatch)
    monte_carlo(BETA, n=500, n_replications=6, seed=3, checkpoint=path)
    assert done == [4, 5]


def test_checkpoint_serves_fewer_and_more_replications(tmp_path, monkeypatch, result):
    path = tmp_path / "run.npz"
    monte_carlo(BETA, n=2000, n_replications=4, seed=3, checkpoint=path)
    done = count_runs(monkeypatch)
    arguments = {"n": 2000, "seed": 3, "checkpoint": path}
    fewer = monte_carlo(BETA, n_replications=2, **arguments)
    more = monte_carlo(BETA, n_replications=6, **arguments)
    assert done == [4, 5]
    assert_array_equal(fewer.estimates, result.estimates[:2])
    assert_array_equal(more.estimates, result.estimates)
    assert stored(path) == 6
    assert [file.name for file in tmp_path.iterdir()] == ["run.npz"]


def test_checkpoint_keeps_replications_without_an_estimate(tmp_path):
    path = tmp_path / "run.npz"
    for _ in range(2):
        with pytest.warns(SeparationWarning, match="3 of 3"):
            monte_carlo(BETA, n=10, n_replications=3, seed=0, checkpoint=path)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"n": 501}, "n"),
        ({"seed": 1}, "seed"),
        ({"design": "normal"}, "design"),
        ({"beta": 2 * BETA}, "beta"),
    ],
)
def test_checkpoint_of_another_simulation_is_refused(tmp_path, change, named):
    path = tmp_path / "run.npz"
    arguments = {"beta": BETA, "n": 500, "seed": 0, "n_replications": 1, "checkpoint": path}
    monte_carlo(**arguments)
    content = path.read_bytes()
    with pytest.raises(ValueError, match=f"checkpoint .* simulation with another {named} "):
        monte_carlo(**{**arguments, **change})
    assert path.read_bytes() == content


@pytest.mark.parametrize("cut", [False, True])
def test_file_that_is_no_checkpoint_is_refused_and_kept(tmp_path, cut):
    path = tmp_path / "run.npz"
    if cut:
        monte_carlo(BETA, n=500, n_replications=1, seed=0, checkpoint=path)
        path.write_bytes(path.read_bytes()[:100])
    else:
        path.write_text(json.dumps({"my": "notes"}))
    content = path.read_bytes()
    with pytest.raises(ValueError, match=r"checkpoint .* is not one of monte_carlo"):
        monte_carlo(BETA, n=500, n_replications=1, seed=0, checkpoint=path)
    assert path.read_bytes() == content


def test_checkpoint_that_cannot_be_written_is_found_out_first(tmp_path, monkeypatch):
    done = count_runs(monkeypatch)
    with pytest.raises(OSError, match=r"checkpoint .* cannot be written"):
        monte_carlo(BETA, n=500, n_replications=1, seed=0, checkpoint=tmp_path / "no" / "run")
    with pytest.raises(OSError, match=r"checkpoint .* cannot be read"):
        monte_carlo(BETA, n=500, n_replications=1, seed=0, checkpoint=tmp_path)
    assert done == []


# --- Bad input


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"beta": [1.0, np.nan]}, "beta is nan at position 1"),
        ({"beta": [1.0, -np.inf]}, "beta is -inf at position 1"),
        ({"beta": []}, r"beta has shape \(0,\)"),
        ({"beta": [[1.0, 2.0]]}, r"beta has shape \(1, 2\) .* image.ravel"),
        ({"beta": 1.0}, r"beta has shape \(\)"),
        ({"beta": ["a"]}, "beta has .* dtype"),
        ({"n": -5}, "n is -5; it must be an integer of at least 1"),
        ({"n": 0}, "n is 0"),
        ({"n": 100.0}, r"n is 100\.0"),
        ({"n": True}, "n is True"),
        ({"n_replications": 0}, "n_replications is 0"),
        ({"n_replications": 1.5}, r"n_replications is 1\.5"),
        ({"seed": None}, "seed is None"),
        ({"seed": -1}, "seed is -1"),
        ({"n_jobs": 0}, "n_jobs is 0"),
        ({"n_jobs": 1.5}, r"n_jobs is 1\.5"),
        ({"design": "gaussian"}, "design is 'gaussian'; it must be 'uniform' or 'normal'"),
    ],
)
def test_bad_input_is_named(change, message):
    arguments = {"beta": [1.0, 2.0], "n": 100, "n_replications": 1, "seed": 0, "n_jobs": 1}
    with pytest.raises(ValueError, match=message):
        monte_carlo(**{**arguments, **change})


def test_confidence_level_must_be_a_share(result):
    with pytest.raises(ValueError, match="confidence_level is 95"):
        result.coverage(95)
