"""Intervals, paired tests, operating points, calibration: each against an independent oracle."""

import copy
import importlib.util
import pickle
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from statsmodels.stats.proportion import proportion_confint

from mammocourse import metrics
from mammocourse.metrics import (
    Estimate,
    IntervalWarning,
    calibration,
    choose_threshold,
    classification_summary,
    decision_curve,
    delong_test,
    paired_bootstrap_auc,
    platt_scaling,
    predictive_values,
    proportion_ci,
    reliability_table,
    roc_auc_ci,
    sensitivity_at_specificity,
)
from mammocourse.resources import data_path
from tolerances import FLOAT64, ITERATIVE, MONTE_CARLO_ERRORS

Z = stats.norm.ppf(0.975)
pytestmark = pytest.mark.filterwarnings("ignore::mammocourse.metrics.IntervalWarning")


def sample(n=300, n_groups=None, seed=0, decimals=1):
    """Return classes, two scores with ties, patients."""
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, n_groups, n) if n_groups else np.arange(n)
    y = rng.integers(0, 2, n)
    patient = rng.standard_normal(n)[groups]
    s1, s2 = (np.round(y + patient + rng.standard_normal(n), decimals) for _ in range(2))
    return y, s1, s2, groups


def kernel(y, s):
    """Return 1, 1/2 or 0 for every pair of a positive (rows) and a negative (columns)."""
    difference = s[y == 1][:, None] - s[y == 0]
    return (difference > 0) + 0.5 * (difference == 0)


def brute_force_covariance(y, *scores):
    """DeLong et al. (1988), from placement values in loops over the pairs."""
    positive = np.array([kernel(y, s).mean(axis=1) for s in scores])
    negative = np.array([kernel(y, s).mean(axis=0) for s in scores])
    total = np.zeros((len(scores), len(scores)))
    for values in (positive, negative):
        centered = values - values.mean(axis=1, keepdims=True)
        m = values.shape[1]
        for i, j in np.ndindex(total.shape):
            total[i, j] += sum(a * b for a, b in zip(centered[i], centered[j], strict=True)) / (
                m * (m - 1)
            )
    return total


# --- AUC and DeLong


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(-3, 3)), min_size=4, max_size=30))
def test_auc_equals_scikit_learn_with_ties(rows):
    y, s = np.array(rows).T
    if min(y.sum(), len(y) - y.sum()) < 2:
        return
    found = roc_auc_ci(y, s)
    assert found.auc == pytest.approx(roc_auc_score(y, s), abs=FLOAT64)
    assert 0 <= found.low <= found.auc <= found.high <= 1


@pytest.mark.parametrize("decimals", [0, 1, 10])
def test_standard_error_equals_the_placement_value_oracle(decimals):
    y, s, _, _ = sample(decimals=decimals)
    expected = np.sqrt(brute_force_covariance(y, s)[0, 0])
    assert roc_auc_ci(y, s).standard_error == pytest.approx(expected, abs=FLOAT64)


@pytest.mark.parametrize("decimals", [0, 1, 10])
def test_paired_test_equals_the_placement_value_oracle(decimals):
    y, s1, s2, _ = sample(decimals=decimals)
    covariance = brute_force_covariance(y, s1, s2)
    error = np.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    difference = roc_auc_score(y, s1) - roc_auc_score(y, s2)
    found = delong_test(y, s1, s2)
    assert found.difference == pytest.approx(difference, abs=FLOAT64)
    assert found.standard_error == pytest.approx(error, abs=FLOAT64)
    assert found.statistic == pytest.approx(difference / error, abs=FLOAT64 / error)
    assert found.pvalue == pytest.approx(2 * stats.norm.sf(abs(difference / error)), abs=ITERATIVE)
    assert (found.high - found.low) / 2 == pytest.approx(Z * error, abs=FLOAT64)


def test_interval_is_symmetric_on_the_logit_scale():
    y, s, _, _ = sample()
    found = roc_auc_ci(y, s)
    half = Z * found.standard_error / (found.auc * (1 - found.auc))
    expected = special.expit(special.logit(found.auc) + np.array([-half, half]))
    np.testing.assert_allclose([found.low, found.high], expected, atol=FLOAT64)


def test_a_million_rows_take_no_pairs():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 10**6)
    found = roc_auc_ci(y, y + rng.standard_normal(10**6))
    truth = stats.norm.cdf(1 / np.sqrt(2))
    assert abs(found.auc - truth) < MONTE_CARLO_ERRORS * found.standard_error


def test_paired_test_turns_with_the_order_and_ignores_monotone_transformations():
    y, s1, s2, _ = sample()
    found, turned = delong_test(y, s1, s2), delong_test(y, s2, s1)
    assert turned.difference == -found.difference
    assert turned.pvalue == found.pvalue
    assert delong_test(y, np.exp(s1), 3 * s2 + 1) == found


def test_the_order_of_the_rows_does_not_matter():
    y, s, _, _ = sample()
    order = np.random.default_rng(1).permutation(len(y))
    assert roc_auc_ci(y[order], s[order]).low == pytest.approx(roc_auc_ci(y, s).low, abs=FLOAT64)
    groups = np.array([f"P{row // 2}" for row in range(len(y))])
    first = roc_auc_ci(y, s, groups=groups, method="bootstrap")
    again = roc_auc_ci(y[order], s[order], groups=groups[order], method="bootstrap")
    assert again.low == pytest.approx(first.low, abs=FLOAT64)


def test_equal_scores_never_differ():
    y, s, _, _ = sample()
    found = delong_test(y, s, 2 * s)
    assert (found.difference, found.standard_error, found.pvalue) == (0, 0, 1)


def test_a_p_value_that_does_not_exist_is_nan():
    assert np.isnan(delong_test([0, 0, 1, 1], [1, 1, 1, 1], [1, 2, 3, 4]).pvalue)


def test_delong_is_refused_on_repeated_groups_with_the_remedy():
    y, s1, s2, groups = sample(n_groups=100)
    with pytest.raises(ValueError, match=r'groups holds patients.*method="bootstrap"'):
        roc_auc_ci(y, s1, groups=groups)
    with pytest.raises(ValueError, match="paired_bootstrap_auc"):
        delong_test(y, s1, s2, groups=groups)


def test_delong_takes_groups_that_do_not_repeat():
    y, s1, s2, groups = sample()
    assert roc_auc_ci(y, s1, groups=[f"P{g}" for g in groups]) == roc_auc_ci(y, s1)
    assert delong_test(y, s1, s2, groups=groups) == delong_test(y, s1, s2)


# --- The clustered bootstrap


def test_bootstrap_of_single_images_is_close_to_delong():
    y, s1, s2, groups = sample(n=1000)
    few = 1 / np.sqrt(2 * 2000)  # relative Monte Carlo error of a standard deviation
    tolerance = MONTE_CARLO_ERRORS * few
    bootstrap, delong = roc_auc_ci(y, s1, method="bootstrap"), roc_auc_ci(y, s1)
    assert bootstrap.auc == delong.auc
    assert bootstrap.standard_error == pytest.approx(delong.standard_error, rel=tolerance)
    assert bootstrap.low == pytest.approx(delong.low, abs=tolerance * (delong.auc - delong.low))
    paired, test = paired_bootstrap_auc(y, s1, s2, groups), delong_test(y, s1, s2)
    assert paired.standard_error == pytest.approx(test.standard_error, rel=tolerance)


def test_draws_equal_scikit_learn_on_the_drawn_rows():
    y, s, _, groups = sample(n=60, n_groups=25)
    codes = np.unique(groups, return_inverse=True)[1]
    counts = np.concatenate(list(metrics._draws(y.astype(float), codes, 100, 3)))
    found = metrics._resample_auc(y.astype(float), [s], codes, 100, 3)[:, 0]
    expected = [roc_auc_score(y, s, sample_weight=row[codes]) for row in counts]
    np.testing.assert_allclose(found, expected, atol=FLOAT64)
    np.testing.assert_array_equal(counts.sum(axis=1), codes.max() + 1)


@pytest.mark.parametrize("copies", [2, 5])
def test_copies_of_a_patients_images_add_nothing(copies):
    y, s1, s2, _ = sample(n=120)
    groups = np.arange(120)
    many = [np.tile(values, copies) for values in (y, s1, s2, groups)]
    once = roc_auc_ci(y, s1, groups=groups, method="bootstrap")
    again = roc_auc_ci(many[0], many[1], groups=many[3], method="bootstrap")
    naive = roc_auc_ci(many[0], many[1])
    assert again.low == pytest.approx(once.low, abs=FLOAT64)
    assert again.n_groups == once.n_groups
    assert again.high - again.low > 1.3 * (naive.high - naive.low)  # at least sqrt(2), nearly
    paired = paired_bootstrap_auc(*many)
    assert paired.pvalue == pytest.approx(paired_bootstrap_auc(y, s1, s2, groups).pvalue)


def test_interval_and_p_value_of_the_paired_bootstrap_agree():
    y, s1, s2, groups = sample(n_groups=100)
    found = paired_bootstrap_auc(y, s1, s2, groups)
    edge = paired_bootstrap_auc(y, s1, s2, groups, confidence_level=1 - found.pvalue)
    assert min(abs(edge.low), abs(edge.high)) < ITERATIVE


def test_the_seed_decides_and_rare_classes_are_drawn():
    y = np.array([1] + [0] * 29 + [1])
    s, groups = np.arange(31) % 7, np.arange(31) // 2
    first, again = (roc_auc_ci(y, s, groups=groups, method="bootstrap", seed=1) for _ in range(2))
    assert first == again
    assert np.isfinite(first.standard_error)
    assert first != roc_auc_ci(y, s, groups=groups, method="bootstrap", seed=2)


def test_coverage_of_the_clustered_bootstrap_and_failure_of_delong():
    truth, n_sets = 0.8, 300
    mu = np.sqrt(2) * stats.norm.ppf(truth)
    hits = np.zeros(2)
    for seed in range(n_sets):
        rng = np.random.default_rng(seed)
        groups = np.repeat(np.arange(100), rng.integers(1, 5, 100))
        y = groups < 30
        s = mu * y + (rng.standard_normal(100)[groups] + rng.standard_normal(len(y))) / np.sqrt(2)
        ours = roc_auc_ci(y, s, groups=groups, method="bootstrap", n_resamples=200)
        naive = roc_auc_ci(y, s)
        hits += [found.low <= truth <= found.high for found in (ours, naive)]
    error = np.sqrt(0.95 * 0.05 / n_sets)
    assert abs(hits[0] / n_sets - 0.95) < MONTE_CARLO_ERRORS * error
    assert hits[1] / n_sets < 0.95 - MONTE_CARLO_ERRORS * error


def test_bootstrap_interval_is_students_on_the_logit_scale():
    y, s, _, groups = sample(n_groups=120)
    codes = np.unique(groups, return_inverse=True)[1]
    draws = metrics._resample_auc(y.astype(float), [s], codes, 2000, 0)[:, 0]
    found = roc_auc_ci(y, s, groups=groups, method="bootstrap")
    rarer = min(len(np.unique(groups[y == label])) for label in (0, 1))
    parts = []  # of the variance, from the patients of each class, and its degrees of freedom
    for label in (0, 1):
        total = {}
        for i in np.flatnonzero(y == label):
            ahead = np.sign(s[i] - s[y == 1 - label]) * (2 * label - 1)  # a tie is half right
            total.setdefault(groups[i], []).append(np.mean((1 + ahead) / 2) - found.auc)
        k = len(total)
        variance = sum(sum(d) ** 2 for d in total.values()) / np.sum(y == label) ** 2
        parts.append((variance * k / (k - 1), k - 1))
    df = sum(v for v, _ in parts) ** 2 / sum(v**2 / d for v, d in parts)
    error = np.std(draws, ddof=1) * np.sqrt(rarer / (rarer - 1))
    slope = 1 / found.auc + 1 / (1 - found.auc)  # of the logit
    half = stats.t.ppf(0.975, df) * error * slope
    expected = special.expit(special.logit(found.auc) + np.array([-half, half]))
    assert found.standard_error == pytest.approx(error, rel=FLOAT64)
    np.testing.assert_allclose([found.low, found.high], expected, rtol=FLOAT64)


def test_degrees_of_freedom_of_independent_rows_are_welchs():
    y, s, _, _ = sample(n_groups=60)
    placements, rows = metrics._placements(y, s), np.arange(len(y))
    found = metrics._degrees_of_freedom(y, placements, rows, metrics._patients(y, rows))
    welch = stats.ttest_ind(placements[y == 1], placements[y == 0], equal_var=False)
    assert found == pytest.approx(welch.df, rel=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3), st.integers(0, 3)), min_size=4))
def test_bootstrap_interval_holds_its_estimate_in_the_smallest_samples(rows):
    y, s, groups = np.array(rows).T
    if min(len(np.unique(groups[y == label])) for label in (0, 1)) > 1:
        found = roc_auc_ci(y, s, groups=groups, method="bootstrap", n_resamples=100)
        assert 0 <= found.low <= found.auc <= found.high <= 1


# --- Samples that allow little


def test_separated_classes_give_the_exact_bound_and_a_warning():
    y, s = np.repeat([0, 1], 25), np.arange(50)
    with pytest.warns(IntervalWarning, match="25 disjoint pairs"):
        found = roc_auc_ci(y, s)
    assert (found.auc, found.high) == (1, 1)
    assert found.low**25 == pytest.approx(0.025, abs=FLOAT64)
    turned = roc_auc_ci(1 - y, s)
    assert (turned.auc, turned.low) == (0, 0)
    assert turned.high == pytest.approx(1 - found.low, abs=FLOAT64)


def test_a_constant_score_has_auc_one_half():
    y = np.repeat([0, 1], 50)
    for method in ("delong", "bootstrap"):
        with pytest.warns(IntervalWarning, match="do not vary"):
            found = roc_auc_ci(y, np.ones(100), method=method)
        assert (found.auc, found.low, found.high) == (0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    ("patients", "positive", "shift", "message"),
    [(60, 30, 1, "60 patients"), (200, 15, 1, "15 of them"), (200, 100, 3, "AUC is 0.99")],
)
def test_designs_without_measured_coverage_warn(patients, positive, shift, message):
    rng = np.random.default_rng(0)
    y = np.arange(patients) < positive
    with pytest.warns(IntervalWarning, match=message):
        roc_auc_ci(y, shift * y + rng.standard_normal(patients), method="bootstrap")


def test_a_stated_design_does_not_warn():
    y, s1, s2, groups = sample(n_groups=120)
    with warnings.catch_warnings():
        warnings.simplefilter("error", IntervalWarning)
        roc_auc_ci(y, s1, groups=groups, method="bootstrap")
        paired_bootstrap_auc(y, s1, s2, groups)
        sensitivity_at_specificity(y, s1, 0.8, groups=groups)
        classification_summary(y, s1 > 0, groups=groups)


# --- Shares at a threshold


@pytest.mark.parametrize(("hits", "n"), [(0, 5), (3, 10), (10, 10), (170, 378)])
def test_interval_of_independent_rows_is_wilsons(hits, n):
    found = proportion_ci(np.arange(n) < hits, confidence_level=0.9)
    low, high = proportion_confint(hits, n, alpha=0.1, method="wilson")
    np.testing.assert_allclose([*found.__getnewargs__()], [hits / n, low, high], atol=FLOAT64)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_copies_of_rows_leave_the_clustered_interval_as_it_was(share):
    hits, groups = np.arange(80) < 80 * share, np.arange(80) // 2
    once = proportion_ci(hits, groups=groups)
    again = proportion_ci(np.tile(hits, 4), groups=np.tile(groups, 4))
    naive = proportion_ci(np.tile(hits, 4))
    assert [again.low, again.high] == pytest.approx([once.low, once.high], abs=FLOAT64)
    assert again.high - again.low > naive.high - naive.low


def test_groups_of_one_row_are_independent_rows_and_of_equal_rows_nearly_so():
    hits = np.arange(40) < 12
    once = proportion_ci(hits)
    assert proportion_ci(hits, groups=np.arange(40)).low == once.low
    again = proportion_ci(np.tile(hits, 4), groups=np.tile(np.arange(40), 4))
    ratio = (again.high - again.low) / (once.high - once.low)
    t_for_z = stats.t.ppf(0.975, 39) / Z * np.sqrt(40 / 39)
    assert 1 < ratio < t_for_z


def test_the_thesis_counted_170_images_as_680():
    hits = np.arange(170) < 134
    wide, narrow = proportion_ci(hits), proportion_ci(np.repeat(hits, 4))
    half = (wide.high - wide.low) / 2
    assert half == pytest.approx(0.061, abs=5e-4)  # three decimals
    assert (narrow.high - narrow.low) / 2 == pytest.approx(half / 2, rel=0.02)


def test_clustered_variance_is_that_of_the_ratio_estimator():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(50), rng.integers(1, 5, 50))
    hits = (rng.random(50)[groups] + rng.random(len(groups)) > 1).astype(int)
    table = pd.DataFrame({"hit": hits, "n": 1}).groupby(groups).sum()
    share = hits.mean()
    variance = ((table["hit"] - share * table["n"]) ** 2).sum() / len(hits) ** 2
    size = share * (1 - share) / (variance * 50 / 49)
    t_level = 2 * stats.norm.sf(stats.t.ppf(0.975, 49))
    expected = proportion_confint(share * size, size, t_level, method="wilson")
    found = proportion_ci(hits, groups=groups)
    np.testing.assert_allclose([found.low, found.high], expected, atol=FLOAT64)


def test_summary_counts_by_hand():
    y = [1, 1, 1, 0, 0, 0, 0, 0]
    p = [0.9, 0.5, 0.2, 0.7, 0.1, 0.1, 0.3, 0.0]
    found = classification_summary(y, p)
    counts = found.true_positives, found.false_positives, found.false_negatives
    assert (*counts, found.true_negatives) == (2, 1, 1, 4)  # 0.5 is called positive
    values = found.accuracy, found.sensitivity, found.specificity, found.ppv, found.npv
    assert values == pytest.approx((6 / 8, 2 / 3, 4 / 5, 2 / 3, 4 / 5))
    low, high = proportion_confint(2, 3, method="wilson")
    assert (found.sensitivity.low, found.sensitivity.high) == pytest.approx((low, high))
    assert (found.ppv.low, found.ppv.high) == pytest.approx((low, high))
    assert found.prevalence == 3 / 8
    assert "2 true positives" in repr(found)
    assert found.to_frame().loc["npv", "value"] == 4 / 5


def test_predictive_values_follow_bayes_rule():
    ppv, npv = predictive_values(0.73, 0.84, 0.006)
    assert ppv == pytest.approx(0.73 * 0.006 / (0.73 * 0.006 + 0.16 * 0.994), abs=FLOAT64)
    assert npv == pytest.approx(0.84 * 0.994 / (0.84 * 0.994 + 0.27 * 0.006), abs=FLOAT64)
    assert np.isnan(predictive_values(0, 1, 0.1)[0])


def test_predictive_values_at_the_samples_own_prevalence_are_its_shares():
    y, s, _, groups = sample(n_groups=100)
    own = classification_summary(y, s > 0.5, groups=groups)
    same = classification_summary(y, s > 0.5, groups=groups, prevalence=own.prevalence)
    assert (same.ppv, same.npv) == pytest.approx((own.ppv, own.npv), abs=FLOAT64)


@pytest.mark.parametrize("correlated", [False, True])
def test_interval_of_a_predictive_value_equals_its_simulated_error(correlated):
    truth = special.logit(predictive_values(0.7, 0.7, 0.01)[0])
    logits, halves = [], []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        y = np.tile([0, 1], 200)
        groups = np.arange(400) // 2  # every patient has both classes
        patient = rng.standard_normal(200)[groups] if correlated else rng.standard_normal(400)
        called = 2 * stats.norm.ppf(0.7) * (y - 0.5) + patient > 0
        ppv = classification_summary(y, called, groups=groups, prevalence=0.01).ppv
        logits.append(special.logit(ppv))
        halves.append((special.logit(ppv.high) - special.logit(ppv.low)) / 2 / Z)
    deviation = np.std(logits)
    relative = MONTE_CARLO_ERRORS / np.sqrt(2 * 200)
    assert np.mean(halves) == pytest.approx(deviation, rel=relative)
    assert (
        abs(np.mean(logits) - truth) < MONTE_CARLO_ERRORS * deviation / np.sqrt(200) + 0.02
    )  # curvature


def test_predictive_values_at_the_edges_have_intervals():
    perfect = classification_summary([0, 0, 1, 1], [0, 0, 1, 1], prevalence=0.1)
    assert perfect.ppv == 1 == perfect.ppv.high
    assert 0 < perfect.ppv.low < 1
    nobody = classification_summary([0, 0, 1, 1], [0, 0, 0, 0], prevalence=0.1)
    assert np.isnan(nobody.ppv)
    assert np.isnan(nobody.ppv.low)
    assert np.isnan(classification_summary([0, 1], [0, 0]).ppv)


def test_an_estimate_is_a_number_with_limits():
    value = Estimate(0.5, 0.4, 0.6)
    assert value + 1 == 1.5
    assert f"{value:.2f}" == "0.50"
    assert repr(value) == "0.500 [0.400, 0.600]"
    for other in (copy.deepcopy(value), pickle.loads(pickle.dumps(value))):
        assert (other, other.low, other.high) == (0.5, 0.4, 0.6)


# --- Operating points


@pytest.mark.parametrize("target", [0.05, 0.2, 0.5, 0.9, 1.0])
def test_chosen_thresholds_are_the_best_of_all(target):
    y, s, _, _ = sample(n=80)
    candidates = np.r_[-np.inf, np.unique(s), np.inf]
    sensitivity = np.array([np.mean(s[y == 1] >= t) for t in candidates])
    specificity = np.array([np.mean(s[y == 0] < t) for t in candidates])
    t = choose_threshold(y, s, specificity=target)
    assert np.mean(s[y == 0] < t) >= target
    assert np.mean(s[y == 1] >= t) == sensitivity[specificity >= target].max()
    t = choose_threshold(y, s, sensitivity=target)
    assert np.mean(s[y == 1] >= t) >= target
    assert np.mean(s[y == 0] < t) == specificity[sensitivity >= target].max()


def test_shares_are_not_missed_by_rounding():
    y, s = np.repeat([0, 1], [5, 5]), np.r_[0:5, 0:5]
    for k in range(1, 6):
        assert np.sum(s[y == 0] < choose_threshold(y, s, specificity=k / 5)) == k
        assert np.sum(s[y == 1] >= choose_threshold(y, s, sensitivity=k / 5)) == k


def test_threshold_of_smallest_cost():
    y, s, _, _ = sample(n=80)

    def cost(t, prevalence):
        missed, alarms = np.mean(s[y == 1] < t), np.mean(s[y == 0] >= t)
        return 7 * prevalence * missed + (1 - prevalence) * alarms

    for prevalence in (None, 0.02, 0.5):
        t = choose_threshold(y, s, cost_ratio=7, prevalence=prevalence)
        share = prevalence or y.mean()
        best = min(cost(c, share) for c in np.r_[-np.inf, np.unique(s), np.inf])
        assert cost(t, share) == pytest.approx(best, abs=FLOAT64)


def test_threshold_lies_between_neighboring_scores():
    assert choose_threshold([0, 0, 1, 1], [0.1, 0.2, 0.4, 0.6], specificity=1.0) == pytest.approx(
        0.3
    )
    just_above = np.nextafter(1, 2)
    assert choose_threshold([0, 1], [1, just_above], specificity=1.0) == just_above
    assert choose_threshold([0, 1], [2, 1], specificity=1.0) == np.inf


def test_sensitivity_at_specificity_and_its_threshold():
    y, s, _, groups = sample(n_groups=100)
    found = sensitivity_at_specificity(y, s, 0.9, groups=groups)
    assert found == np.mean(s[y == 1] >= found.threshold)
    assert found.specificity == np.mean(s[y == 0] < found.threshold) >= 0.9
    assert found.low < found < found.high
    fixed = proportion_ci(s[y == 1] >= found.threshold, groups=groups[y == 1])
    assert found.high - found.low > fixed.high - fixed.low  # the threshold is estimated too


def test_resampled_sensitivities_equal_a_loop():
    rng = np.random.default_rng(0)
    negatives, positives = np.sort(rng.integers(0, 9, 20)), np.sort(rng.integers(3, 12, 15))
    weights = [rng.integers(0, 3, (50, len(part))).astype(float) for part in (negatives, positives)]
    found = metrics._sensitivities(weights[0], negatives, weights[1], positives, 0.8)
    for row in range(50):
        s = [
            np.repeat(part, weight[row].astype(int))
            for part, weight in zip((negatives, positives), weights, strict=True)
        ]
        reached = [np.mean(s[1] >= t) for t in range(14) if np.mean(s[0] < t) >= 0.8]
        assert found[row] == pytest.approx(max(reached), abs=FLOAT64)


# --- Calibration and decision curves


def calibrated(n=4000, slope=1.0, seed=0):
    rng = np.random.default_rng(seed)
    logits = rng.normal(-0.5, 1.5, n)
    return (rng.random(n) < special.expit(logits)).astype(int), special.expit(logits / slope)


@pytest.mark.parametrize("slope", [0.5, 1.0, 2.0])
def test_calibration_recovers_a_known_slope(slope):
    found = calibration(*calibrated(slope=slope))
    error = (found.slope.high - found.slope.low) / 2 / Z
    assert abs(found.slope - slope) < MONTE_CARLO_ERRORS * error
    if slope == 1:
        error = (found.intercept.high - found.intercept.low) / 2 / Z
        assert abs(found.intercept) < MONTE_CARLO_ERRORS * error


def test_calibration_equals_scikit_learn_and_expects_as_many_as_there_are():
    y, p = calibrated(500, slope=2)
    found = calibration(y, p)
    logits = special.logit(p)
    model = LogisticRegression(C=np.inf, tol=1e-10, solver="newton-cholesky")
    assert found.slope == pytest.approx(model.fit(logits[:, None], y).coef_[0, 0], rel=ITERATIVE)
    assert special.expit(logits + found.intercept).sum() == pytest.approx(y.sum(), rel=ITERATIVE)
    assert found.brier == pytest.approx(np.mean((y - p) ** 2), abs=FLOAT64)


def test_copies_of_images_leave_the_clustered_calibration_as_it_was():
    y, p = calibrated(500)
    groups = np.arange(500)
    once = calibration(y, p, groups=groups).slope
    again = calibration(np.tile(y, 3), np.tile(p, 3), groups=np.tile(groups, 3)).slope
    naive = calibration(np.tile(y, 3), np.tile(p, 3)).slope
    width = again.high - again.low
    assert width == pytest.approx(once.high - once.low, rel=0.01)  # a factor (n - 1) / (n - k)
    assert width > 1.5 * (naive.high - naive.low)  # sqrt(3)


def test_platt_scaling_calibrates_logits():
    y, p = calibrated(slope=0.5)
    scaling = platt_scaling(y, special.logit(p) + 3)
    found = calibration(y, scaling(special.logit(p) + 3))
    assert found.slope == pytest.approx(1, abs=ITERATIVE)
    assert found.intercept == pytest.approx(0, abs=ITERATIVE)


def test_reliability_table_by_hand():
    table = reliability_table([0, 1, 1, 1], [0.05, 0.15, 0.1, 1.0])
    assert list(table["n"]) == [1, 2, 1]
    assert list(table["left"]) == pytest.approx([0, 0.1, 0.9])
    assert list(table["predicted"]) == pytest.approx([0.05, 0.125, 1])
    assert list(table["observed"]) == [0, 1, 1]
    assert table["high"].iloc[1] == pytest.approx(1)
    assert table["low"].iloc[1] == pytest.approx(proportion_confint(2, 2, method="wilson")[0])


@pytest.mark.parametrize("strategy", ["uniform", "quantile"])
def test_reliability_table_holds_every_row_once(strategy):
    y, p = calibrated(1000)
    table = reliability_table(y, np.round(p, 1), strategy=strategy, n_bins=7)
    assert table["n"].sum() == 1000
    assert (table["n"] * table["observed"]).sum() == pytest.approx(y.sum())
    assert (table["left"] - FLOAT64 <= table["predicted"]).all()
    assert (table["predicted"] <= table["right"] + FLOAT64).all()


def test_net_benefit_equals_the_direct_formula():
    y, p = calibrated(300)
    curve = decision_curve(y, p, [0.0, 0.1, 0.5, 0.9])
    for row in curve.itertuples():
        act, odds = p >= row.threshold, row.threshold / (1 - row.threshold)
        model = (np.sum(act & (y == 1)) - odds * np.sum(act & (y == 0))) / 300
        everybody = (np.sum(y == 1) - odds * np.sum(y == 0)) / 300
        assert (row.model, row.all, row.none) == pytest.approx((model, everybody, 0), abs=FLOAT64)


def test_net_benefit_at_another_prevalence():
    y, p = calibrated(300)
    row = decision_curve(y, p, [0.2], prevalence=0.01).iloc[0]
    sensitivity, alarms = np.mean(p[y == 1] >= 0.2), np.mean(p[y == 0] >= 0.2)
    assert row["model"] == pytest.approx(0.01 * sensitivity - 0.99 * alarms / 4, abs=FLOAT64)
    assert row["all"] == pytest.approx(0.01 - 0.99 / 4, abs=FLOAT64)
    assert len(decision_curve(y, p)) == 99


# --- Bad input

Y, S, P = [0, 1, 0, 1], [0.1, 0.4, 0.5, 0.6], [0.1, 0.4, 0.5, 0.6]
WITH_SCORES = [
    lambda y, s: roc_auc_ci(y, s),
    lambda y, s: delong_test(y, s, s),
    lambda y, s: delong_test(y, S, s),
    lambda y, s: paired_bootstrap_auc(y, s, s, None),
    lambda y, s: classification_summary(y, s),
    lambda y, s: sensitivity_at_specificity(y, s, 0.5),
    lambda y, s: choose_threshold(y, s, specificity=0.5),
    lambda y, s: platt_scaling(y, s),
    lambda y, s: calibration(y, s),
    lambda y, s: decision_curve(y, s),
]


@pytest.mark.parametrize("function", WITH_SCORES)
@pytest.mark.parametrize(
    ("y", "s", "message"),
    [
        ([1, 1, 1, 1], S, "y holds only the class 1; both"),
        ([0, 2, 1, 1], S, "y holds 2; it must hold 0 and 1"),
        ([0, np.nan, 1, 1], S, "y holds nan"),
        (["b", "m", "b", "m"], S, "y holds 'b', 'm'"),
        ([[0, 1, 0, 1]], S, "y has shape"),
        (Y, [0.1, np.nan, 0.5, 0.6], r"is nan in row 1 \(1 such"),
        (Y, [0.1, np.inf, 0.5, 0.6], "is inf in row 1"),
        (Y, [0.1, 0.4], r"has shape \(2,\); it must be \(4,\)"),
        (Y, np.ones((4, 2)), r"has shape \(4, 2\).*\[:, 1\]"),
        (Y, ["a", "b", "c", "d"], "must hold one number per row"),
    ],
)
def test_bad_classes_and_scores_are_named(function, y, s, message):
    with pytest.raises(ValueError, match=message):
        function(y, s)


@pytest.mark.parametrize(
    "function",
    [
        lambda g: roc_auc_ci(Y, S, groups=g),
        lambda g: delong_test(Y, S, S, groups=g),
        lambda g: paired_bootstrap_auc(Y, S, S, g),
        lambda g: classification_summary(Y, P, groups=g),
        lambda g: sensitivity_at_specificity(Y, S, 0.5, groups=g),
        lambda g: calibration(Y, P, groups=g),
        lambda g: proportion_ci(Y, groups=g),
        lambda g: reliability_table(Y, P, groups=g),
    ],
)
@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ([1, 2, 3], r"groups has shape \(3,\); it must be \(4,\)"),
        (["a", None, "b", "c"], "groups is missing in row 1"),
        ([1, 2, 3, np.nan], "groups is missing in row 3"),
    ],
)
def test_bad_groups_are_named(function, groups, message):
    with pytest.raises(ValueError, match=message):
        function(groups)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: roc_auc_ci(Y, S, confidence_level=95), "confidence_level is 95"),
        (lambda: roc_auc_ci(Y, S, confidence_level="high"), "confidence_level is 'high'"),
        (lambda: roc_auc_ci(Y, S, method="wald"), "method is 'wald'"),
        (lambda: roc_auc_ci(Y, S, method="bootstrap", n_resamples=10), "n_resamples is 10"),
        (lambda: roc_auc_ci(Y, S, groups=[1] * 4, method="bootstrap"), "a single patient"),
        (lambda: roc_auc_ci([0, 1, 1], [1, 2, 3]), "only one row of class 0"),
        (lambda: classification_summary(Y, [0, 1, 2, 0]), "p is 2 in row 2; prob.*logits"),
        (lambda: classification_summary(Y, P, threshold=1.5), "threshold is 1.5"),
        (lambda: classification_summary(Y, P, prevalence=0), "prevalence is 0;"),
        (lambda: classification_summary(Y, P, prevalence=6), "prevalence is 6;"),
        (lambda: predictive_values(1.1, 0.5, 0.1), "sensitivity is 1.1"),
        (lambda: predictive_values(0.5, 0.5, 1), "prevalence is 1;"),
        (lambda: proportion_ci([0, 2]), "hits holds 2"),
        (lambda: proportion_ci([]), "hits has shape"),
        (lambda: choose_threshold(Y, S), "0 of sensitivity"),
        (lambda: choose_threshold(Y, S, sensitivity=0.5, cost_ratio=2), "2 of sensitivity"),
        (lambda: choose_threshold(Y, S, sensitivity=90), "sensitivity is 90"),
        (lambda: choose_threshold(Y, S, cost_ratio=0), "cost_ratio is 0"),
        (lambda: sensitivity_at_specificity(Y, S, 1.2), "specificity is 1.2"),
        (lambda: sensitivity_at_specificity(Y, S, None), "specificity is None"),
        (lambda: platt_scaling(Y, Y), "s separates the classes"),
        (lambda: calibration(Y, [0.1, 0.9, 0.2, 0.8]), "p separates the classes"),
        (lambda: calibration(Y, [0, 0.4, 0.5, 1]), "p holds 0 or 1.*np.clip"),
        (lambda: calibration(Y, [0.3] * 4), "p is the same"),
        (lambda: reliability_table(Y, P, n_bins=0), "n_bins is 0"),
        (lambda: reliability_table(Y, P, strategy="kmeans"), "strategy is 'kmeans'"),
        (lambda: decision_curve(Y, P, [0.5, 1]), "thresholds must"),
        (lambda: decision_curve(Y, P, prevalence=-1), "prevalence is -1"),
        (lambda: roc_auc_ci(Y, S, confidence_level="0.95"), "confidence_level is '0.95'"),
        (lambda: classification_summary(Y, P, threshold="0.5"), "threshold is '0.5'"),
        (lambda: classification_summary(Y, P, prevalence=".1"), "prevalence is '.1'"),
        (lambda: predictive_values("0.7", 0.5, 0.1), "sensitivity is '0.7'"),
        (lambda: sensitivity_at_specificity(Y, S, np.str_("0.9")), "specificity is .*'0.9'"),
        (lambda: choose_threshold(Y, S, cost_ratio="5"), "cost_ratio is '5'"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_pandas_and_lists_are_taken():
    y, s, _, groups = sample(n_groups=100)
    frame = pd.DataFrame({"y": y == 1, "s": s, "g": groups.astype(str)}).iloc[::-1]
    found = roc_auc_ci(frame["y"], frame["s"], groups=frame["g"], method="bootstrap")
    assert found.auc == pytest.approx(roc_auc_score(y, s), abs=FLOAT64)
    assert roc_auc_ci(list(y), list(s)) == roc_auc_ci(y, s)


def test_every_public_name_exists():
    assert all(hasattr(metrics, name) for name in metrics.__all__)


def test_threshold_is_compared_in_the_precision_of_the_probabilities():
    y, p = np.tile([0, 1], 60), np.full(120, 0.7, dtype=np.float32)
    assert classification_summary(y, p, threshold=0.7).sensitivity == 1


def test_quantile_bins_keep_tied_probabilities_apart():
    y, p = np.tile([0, 0, 1, 1], 30), np.tile([0.0, 1.0, 1.0, 1.0], 30)
    table = reliability_table(y, p, n_bins=5, strategy="quantile")
    assert table.predicted.tolist() == [0, 1]
    assert table.n.tolist() == [30, 90]
    np.testing.assert_allclose(table.observed, [0, 2 / 3], rtol=FLOAT64)


def test_calibration_needs_two_patients():
    y, p = np.tile([0, 1, 1], 40), np.tile([0.3, 0.6, 0.2], 40)
    with pytest.raises(ValueError, match="single patient"):
        calibration(y, p, groups=np.zeros(120))


def test_a_class_of_one_patient_has_no_bootstrap():
    lonely = [1, 1, 0, 0, 0], [0.5, 0.3, 0.4, 0.2, 0.1]
    groups = [0, 0, 1, 1, 2]  # two rows of class 1, of one patient
    for call in (
        lambda: roc_auc_ci(*lonely, groups=groups, method="bootstrap"),
        lambda: paired_bootstrap_auc(*lonely, lonely[1][::-1], groups),
        lambda: sensitivity_at_specificity(*lonely, 1, groups=groups),
    ):
        with pytest.raises(ValueError, match=r"only one patient of class 1.*without an interval"):
            call()
    with pytest.raises(ValueError, match="only one patient of class 0"):
        roc_auc_ci([1, 1, 0], [1, 2, 3], method="bootstrap")


@pytest.mark.parametrize("decimals", [0, 2, 10])
def test_placements_are_differences_of_ranks_to_the_last_bit(decimals):
    y, s, _, _ = sample(n=1000, decimals=decimals)
    ranks, expected = stats.rankdata(s), np.empty(1000)
    for label, rest in ((1, np.sum(y == 0)), (0, np.sum(y == 1))):
        below = (ranks[y == label] - stats.rankdata(s[y == label])) / rest
        expected[y == label] = below if label else 1 - below
    np.testing.assert_array_equal(metrics._placements(y.astype(float), s), expected)


@pytest.mark.parametrize(
    "call",
    [
        lambda y, s: roc_auc_ci(y, s),
        lambda y, s: roc_auc_ci(y, s, method="bootstrap", n_resamples=100),
        lambda y, s: roc_auc_ci(y, 10 * y),
        lambda y, s: roc_auc_ci(y, 0 * y),
        lambda y, s: delong_test(y, s, -s),
        lambda y, s: paired_bootstrap_auc(y, s, -s, None, n_resamples=100),
        lambda y, s: sensitivity_at_specificity(y, s, 0.5, n_resamples=100),
        lambda y, s: classification_summary(y, s > 0, groups=np.arange(40) // 2),
        lambda y, s: calibration(y, special.expit(s)),
    ],
)
def test_warnings_point_at_the_line_of_the_caller(call):
    rng = np.random.default_rng(0)
    y, s = np.tile([0, 1], 20), rng.standard_normal(40)
    with pytest.warns(IntervalWarning) as caught:
        call(y, s)
    assert {warning.filename for warning in caught} == {__file__}


# --- The measured coverage


@pytest.fixture(scope="module")
def benchmark():
    """Return benchmarks/metrics.py as a module."""
    path = Path(__file__).parents[1] / "benchmarks" / "metrics.py"
    spec = importlib.util.spec_from_file_location("benchmark_metrics", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_stored_coverage_is_that_of_the_code_of_today(benchmark):
    table = pd.read_csv(data_path("results/coverage.csv"), comment="#")
    design = benchmark.SINGLE[0]
    same = table.measure.str.contains("one image") & (table.interval == "DeLong, ours")
    fields = design._asdict().items()
    row = table[same & np.all([table[name] == value for name, value in fields], axis=0)]
    found = []
    for seed in np.random.SeedSequence(0).spawn(int(row.data_sets.item())):
        data = benchmark.simulate(design, np.random.default_rng(seed))
        auc = roc_auc_ci(data.y, data.s1)
        found.append(auc.low <= design.auc <= auc.high)
    assert row.coverage.item() == pytest.approx(np.mean(found), abs=ITERATIVE)


def test_fast_draws_of_the_benchmark_have_the_moments_of_ours(benchmark):
    y, codes = np.array([1.0, 1, 0, 0, 0, 1, 0]), np.array([0, 0, 1, 1, 2, 3, 4])
    n = 20_000
    fast = benchmark.drawn(y.tobytes(), codes.tobytes(), n, 1)
    ours = np.concatenate(list(metrics._draws(y, codes, n, 2)))
    assert fast.shape == ours.shape
    for power in (1, 2):
        error = np.sqrt((fast**power).var(axis=0) / n + (ours**power).var(axis=0) / n)
        distance = np.abs((fast**power).mean(axis=0) - (ours**power).mean(axis=0))
        assert (distance < MONTE_CARLO_ERRORS * error).all()
