"""Specification of mammocourse.losses: against the definition, differences and replays."""

import functools
import os
import subprocess
import sys
import textwrap

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special
from sklearn.metrics import roc_auc_score

from mammocourse import pairwise
from mammocourse.losses import (
    BufferedPairwiseAUCLoss,
    ExactAUC,
    PairwiseAUCLoss,
    StratifiedBatches,
    pairwise_auc_loss_reference,
)
from tolerances import FINITE_DIFFERENCES, FLOAT32, FLOAT64, MONTE_CARLO_ERRORS

METHODS = ["exact", "interpolated"]
SURROGATES = {
    "logistic": (lambda d: np.logaddexp(0, d), special.expit),
    "squared_hinge": (lambda d: np.maximum(1 + d, 0) ** 2, lambda d: 2 * np.maximum(1 + d, 0)),
    "squared": (lambda d: (1 + d) ** 2, lambda d: 2 * (1 + d)),
}
LOSS_FLOAT64, GRADIENT = 1e-6, 1e-5  # what the course promises of both methods
BOUND = 3e-9  # of the interpolation, relative, stated in mammocourse.pairwise
NEGLIGIBLE = 1e-50  # and the size below which it promises nothing


def oracle(y, s, weights=None, surrogate="logistic"):
    """Compute loss and gradient from the full matrix of pairs, in float64."""
    y, s = np.asarray(y), np.asarray(s, np.float64)
    weights = np.ones(len(s)) if weights is None else weights
    value, slope = SURROGATES[surrogate]
    d = s[y == 0] - s[y == 1][:, None]
    share = weights[y == 1][:, None] * weights[y == 0]
    share = share / share.sum() if share.sum() else share
    gradient = np.zeros(len(s))
    gradient[y == 1] = -(share * slope(d)).sum(axis=1)
    gradient[y == 0] = (share * slope(d)).sum(axis=0)
    return (share * value(d)).sum(), gradient


def value_and_gradient(loss, y, s, weights=None):
    with tf.GradientTape() as tape:
        tape.watch(s)
        value = loss(y, s, weights)
    return value, tape.gradient(value, s)


@functools.cache
def in_a_graph(loss, dtype):
    """Trace the loss once, for batches of any length."""
    types = [tf.TensorSpec([None], name) for name in ("int32", dtype, "float64")]
    return tf.function(functools.partial(value_and_gradient, loss), input_signature=types)


@functools.cache
def pairwise_loss(surrogate="logistic", method="auto"):
    return PairwiseAUCLoss(surrogate, method)


def loss_and_gradient(loss, y, s, weights=None):
    weights = np.ones(len(y)) if weights is None else weights
    s = np.asarray(s)
    value, gradient = in_a_graph(loss, s.dtype.name)(np.asarray(y, np.int32), s, weights)
    return float(value), gradient.numpy()


def relative(found, expected):
    """Return the relative error in the 2-norm; 0 where both are 0."""
    difference = np.linalg.norm(np.subtract(found, expected, dtype=np.float64))
    return difference / np.linalg.norm(expected) if difference else 0.0


def make_scores(positives, negatives, spread, *, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.repeat([1, 0], [positives, negatives]))
    return y, (spread * (rng.normal(size=len(y)) + 0.5 * y)).astype(dtype)


@st.composite
def batches(draw, dtype=np.float64):
    """Make up to 40 samples of both classes, scores of any scale from 1e-3 to 1e4, with ties."""
    n = draw(st.integers(2, 40))
    spread = 10.0 ** draw(st.floats(-3, 4))
    units = draw(st.lists(st.integers(-8, 8) | st.floats(-1, 1), min_size=n, max_size=n))
    labels = draw(st.lists(st.integers(0, 1), min_size=n - 2, max_size=n - 2))
    weights = draw(st.lists(st.floats(1e-3, 10), min_size=n, max_size=n))
    scores = (np.array(units, float) / 8 * spread).astype(dtype)
    return np.array([0, 1, *labels]), scores, np.array(weights)


# ------------------------------------------------------------------------ the definition


def test_the_reference_is_the_mean_over_pairs():
    y, s = [1, 0, 1, 0, 0], [0.3, -1.0, 2.0, 0.3, 5.0]
    pairs = [(s[i], s[j]) for i in range(5) for j in range(5) if y[i] == 1 and y[j] == 0]
    by_hand = np.mean([-np.log(1 / (1 + np.exp(b - a))) for a, b in pairs])
    assert pairwise_auc_loss_reference(y, s) == pytest.approx(by_hand, rel=FLOAT64)


def test_the_reference_of_one_class_is_zero():
    assert pairwise_auc_loss_reference([1, 1], [0.0, 1.0]) == 0.0


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=40, deadline=None)
@given(batch=batches())
def test_loss_and_gradient_are_right_in_float64(method, batch):
    y, s, weights = batch
    expected, expected_gradient = oracle(y, s, weights)
    value, gradient = loss_and_gradient(pairwise_loss(method=method), y, s, weights)
    assert value == pytest.approx(expected, rel=LOSS_FLOAT64, abs=NEGLIGIBLE)
    assert gradient == pytest.approx(expected_gradient, rel=GRADIENT, abs=NEGLIGIBLE)


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=40, deadline=None)
@given(batch=batches(np.float32))
def test_loss_and_gradient_are_right_in_float32(method, batch):
    y, s, weights = batch
    expected, expected_gradient = oracle(y, s, weights)
    value, gradient = loss_and_gradient(pairwise_loss(method=method), y, s, weights)
    smallest = len(y) * float(np.finfo(np.float32).tiny)  # below it float32 has no digits
    assert value == pytest.approx(expected, rel=FLOAT32, abs=smallest)
    assert relative(gradient, expected_gradient) < GRADIENT or np.abs(gradient).max() < smallest
    assert gradient.dtype == np.float32


@settings(max_examples=60, deadline=None)
@given(batch=batches())
def test_interpolation_keeps_its_bound_in_every_component(batch):
    y, s, weights = batch
    expected, expected_gradient = oracle(y, s, weights)
    value, gradient = loss_and_gradient(pairwise_loss(method="interpolated"), y, s, weights)
    assert value == pytest.approx(expected, rel=BOUND, abs=NEGLIGIBLE)
    assert gradient == pytest.approx(expected_gradient, rel=BOUND, abs=NEGLIGIBLE)


@pytest.mark.parametrize("separation", [-400, -30, -5, 5, 30, 100])
def test_interpolation_is_right_when_all_pairs_are_won_or_lost(separation):
    y, s = make_scores(30, 70, 1.0)
    s = s + separation * y
    assert loss_and_gradient(pairwise_loss(method="interpolated"), y, s)[0] == pytest.approx(
        pairwise_auc_loss_reference(y, s), rel=BOUND
    )


@pytest.mark.parametrize("surrogate", ["squared_hinge", "squared"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("spread", [1e-3, 1.0, 1e4])
def test_the_other_surrogates_are_exact_by_both_methods(surrogate, method, spread):
    y, s = make_scores(120, 900, spread)
    weights = np.random.default_rng(1).exponential(size=len(y))
    expected, expected_gradient = oracle(y, s, weights, surrogate)
    value, gradient = loss_and_gradient(pairwise_loss(surrogate, method), y, s, weights)
    assert value == pytest.approx(expected, rel=FLOAT64)
    assert relative(gradient, expected_gradient) < FLOAT64


@settings(max_examples=40, deadline=None)
@given(batch=batches())
def test_sorted_sums_of_the_squared_hinge_do_not_cancel(batch):
    y, s, weights = batch
    expected, expected_gradient = oracle(y, s, weights, "squared_hinge")
    loss = pairwise_loss("squared_hinge", "interpolated")
    value, gradient = loss_and_gradient(loss, y, s, weights)
    digit = 1e2 * float(np.spacing(np.abs(s).max()))  # of a difference of two scores
    assert value == pytest.approx(expected, rel=LOSS_FLOAT64, abs=digit * max(digit, expected**0.5))
    assert gradient == pytest.approx(expected_gradient, rel=LOSS_FLOAT64, abs=digit)


# --------------------------------------------------------------------- sizes and corners


@pytest.mark.parametrize("spread", [3.0, 3e3])
@pytest.mark.parametrize("method", METHODS)
def test_five_thousand_by_fifty_thousand_in_float32_under_jit(method, spread):
    y, s, expected, expected_gradient = many_pairs(spread)
    loss = functools.partial(value_and_gradient, PairwiseAUCLoss(method=method))
    value, gradient = tf.function(loss, jit_compile=True)(tf.constant(y), tf.constant(s))
    assert float(value) == pytest.approx(expected, rel=FLOAT32)
    assert relative(gradient, expected_gradient) < GRADIENT


@functools.cache
def many_pairs(spread):
    y, s = make_scores(5_000, 50_000, spread, dtype=np.float32)
    return y, s, *oracle_in_blocks(y, s)


def oracle_in_blocks(y, s, block=250):
    """Compute the logistic loss and gradient as :func:`oracle`, in less memory."""
    a, b = s[y == 1].astype(np.float64), s[y == 0].astype(np.float64)
    total, at_a, at_b = 0.0, [], np.zeros(len(b))
    for start in range(0, len(a), block):
        d = b - a[start : start + block, None]
        small = np.exp(-np.abs(d))
        total += np.maximum(d, 0).sum() + np.log1p(small).sum()
        slope = np.where(d >= 0, 1, small) / (1 + small)
        at_a.append(-slope.sum(axis=1))
        at_b += slope.sum(axis=0)
    gradient = np.zeros(len(s))
    gradient[y == 1], gradient[y == 0] = np.concatenate(at_a), at_b
    pairs = len(a) * len(b)
    return total / pairs, gradient / pairs


@pytest.mark.parametrize("method", METHODS)
def test_ties_cost_log_two(method):
    y = np.repeat([1, 0], [700, 2_000])
    value, gradient = loss_and_gradient(
        pairwise_loss(method=method), y, np.full(2_700, 7.0, np.float32)
    )
    assert value == pytest.approx(np.log(2), rel=FLOAT32)
    assert gradient == pytest.approx(np.where(y, -0.5 / 700, 0.5 / 2_000), rel=FLOAT32)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("positives", "negatives"), [(1, 20_000), (20_000, 1)])
def test_one_sample_against_many(method, positives, negatives):
    y, s = make_scores(positives, negatives, 5.0, dtype=np.float32)
    value, gradient = loss_and_gradient(pairwise_loss(method=method), y, s)
    expected, expected_gradient = oracle(y, s)
    assert value == pytest.approx(expected, rel=FLOAT32)
    assert relative(gradient, expected_gradient) < GRADIENT


@pytest.mark.parametrize("spread", [5e4, 1e30])
def test_scores_beyond_every_grid_are_left_to_the_exact_method(spread):
    y, s = make_scores(20, 60, spread, dtype=np.float32)
    found = loss_and_gradient(pairwise_loss(method="interpolated"), y, s)
    expected = oracle(y, s)
    assert found[0] == pytest.approx(expected[0], rel=FLOAT32)
    assert relative(found[1], expected[1]) < GRADIENT


@pytest.mark.parametrize("method", METHODS)
def test_a_score_that_is_not_a_number_is_not_hidden(method):
    assert np.isnan(float(PairwiseAUCLoss(method=method)([1, 0, 0], [1.0, np.nan, 0.0])))


@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("surrogate", SURROGATES)
def test_a_batch_of_one_class_costs_nothing(surrogate, method, label):
    s = np.array([1.0, -2.0, 1e4], np.float32)
    value, gradient = loss_and_gradient(pairwise_loss(surrogate, method), np.full(3, label), s)
    assert value == 0.0
    assert not gradient.any()


# ---------------------------------------------------------------------------- derivatives


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("surrogate", SURROGATES)
def test_the_gradient_equals_central_differences(surrogate, method):
    y, s = make_scores(4, 9, 2.0)
    loss = pairwise_loss(surrogate, method)
    step = 1e-5 * np.eye(len(s))
    values = [[loss_and_gradient(loss, y, s + sign * e)[0] for e in step] for sign in (1, -1)]
    differences = np.subtract(*values) / 2e-5
    assert relative(loss_and_gradient(loss, y, s)[1], differences) < FINITE_DIFFERENCES


@pytest.mark.parametrize("method", METHODS)
def test_the_gradient_equals_autodiff_of_the_definition(method):
    y, s = make_scores(30, 200, 4.0)
    scores = tf.constant(s)
    with tf.GradientTape() as tape:
        tape.watch(scores)
        d = scores[y == 0][None, :] - scores[y == 1][:, None]
        value = tf.reduce_mean(tf.math.softplus(d))
    found = loss_and_gradient(pairwise_loss(method=method), y, s)[1]
    assert relative(found, tape.gradient(value, scores)) < BOUND


# ------------------------------------------------------------------- arguments and inputs


def test_auto_is_exact_up_to_its_limit_and_interpolated_beyond():
    for n, method in [(pairwise.AUTO_LIMIT, "exact"), (pairwise.AUTO_LIMIT + 1, "interpolated")]:
        y, s = make_scores(n // 3, n - n // 3, 3.0)
        values = {m: float(PairwiseAUCLoss(method=m)(y, s)) for m in [*METHODS, "auto"]}
        assert values["exact"] != values["interpolated"]  # equal but for the last digits
        assert values["auto"] == values[method]


def test_a_weight_counts_a_sample_several_times():
    y, s = make_scores(5, 12, 2.0)
    times = np.random.default_rng(3).integers(0, 4, len(y))
    repeated = pairwise_auc_loss_reference(np.repeat(y, times), np.repeat(s, times))
    assert float(PairwiseAUCLoss()(y, s, times)) == pytest.approx(repeated, rel=FLOAT64)


def test_a_weight_common_to_a_class_changes_nothing():
    y, s = make_scores(5, 12, 2.0)
    weighted = float(PairwiseAUCLoss()(y, s, np.where(y, 7.0, 0.5)))
    assert weighted == pytest.approx(pairwise_auc_loss_reference(y, s), rel=FLOAT64)


def test_probabilities_are_turned_into_logits():
    y, s = make_scores(5, 12, 2.0)
    value = float(PairwiseAUCLoss(from_logits=False)(y, special.expit(s)))
    assert value == pytest.approx(pairwise_auc_loss_reference(y, s), rel=FLOAT64)


@pytest.mark.parametrize("from_logits", [True, False])
def test_two_outputs_count_as_their_difference(from_logits):
    y, s = make_scores(5, 12, 2.0)
    logits = np.stack([0.3 - s / 2, 0.3 + s / 2], axis=1)
    outputs = logits if from_logits else special.softmax(logits, axis=1)
    value = float(PairwiseAUCLoss(from_logits=from_logits)(y[:, None], outputs))
    assert value == pytest.approx(pairwise_auc_loss_reference(y, s), rel=FLOAT64)


@pytest.mark.parametrize("loss", [PairwiseAUCLoss(), pairwise_auc_loss_reference])
def test_the_papers_labels_minus_one_and_one_mean_the_same(loss):
    y, s = make_scores(5, 12, 2.0)
    assert float(loss(2 * y - 1, s)) == float(loss(y, s))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"surrogate": "hinge"}, "surrogate"),
        ({"method": "fast"}, "method"),
        ({"from_logits": "no"}, "from_logits"),
    ],
)
def test_unknown_arguments_are_named(arguments, named):
    with pytest.raises(ValueError, match=f"{named} is .*choose one of"):
        PairwiseAUCLoss(**arguments)


@pytest.mark.parametrize(
    ("y", "s", "weights", "named"),
    [
        (np.ones(3), np.ones((3, 4)), None, "y_pred"),
        (np.ones(3), np.float32(1), None, "y_pred"),
        (np.ones(3), ["a", "b", "c"], None, "y_pred"),
        (np.ones(3), None, None, "y_pred"),
        (np.ones((3, 2)), np.ones(3), None, "y_true"),
        (np.ones(4), np.ones(3), None, "y_true"),
        ([1, 2, 2], np.ones(3), None, "y_true"),
        ([0.0, 0.4, 1.0], np.ones(3), None, "y_true"),
        ([0.0, np.nan, 1.0], np.ones(3), None, "y_true"),
        (np.ones(3), np.ones(3), np.ones(2), "sample_weight"),
        (np.ones(3), np.ones(3), [1, -1, 1], "sample_weight"),
        (np.ones(3), np.ones(3), [1, np.nan, 1], "sample_weight"),
        (np.ones(3), np.ones(3), [1, np.inf, 1], "sample_weight"),
    ],
)
@pytest.mark.parametrize("loss", [PairwiseAUCLoss(), BufferedPairwiseAUCLoss()])
def test_arrays_that_do_not_fit_are_named(loss, y, s, weights, named):
    with pytest.raises(ValueError, match=named):
        loss(y, s, weights)


def test_a_pipeline_without_shapes_is_told_the_remedy():
    unknown = tf.TensorSpec(None, tf.float32)
    step = tf.function(PairwiseAUCLoss().__call__, input_signature=[unknown, unknown])
    with pytest.raises(ValueError, match=r"y_pred has no known rank.*set_shape"):
        step(tf.zeros(3), tf.zeros(3))


def test_logits_in_place_of_probabilities_are_refused():
    with pytest.raises(ValueError, match=r"y_pred .* from_logits=True"):
        PairwiseAUCLoss(from_logits=False)([1, 0], [2.0, -1.0])


@pytest.mark.parametrize("dtype", ["float16", "mixed_bfloat16", "int32"])
@pytest.mark.parametrize("kind", [PairwiseAUCLoss, BufferedPairwiseAUCLoss])
def test_a_dtype_too_coarse_for_sums_is_refused(kind, dtype):
    with pytest.raises(ValueError, match=r"dtype is .* need 'float32' or 'float64'"):
        kind(dtype=dtype)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int32"])
def test_scores_of_other_dtypes_are_taken_in_float32(dtype):
    y, s = [1, 0, 0, 1], [3, 1, -2, 0]
    value = PairwiseAUCLoss()(y, tf.constant(s, dtype))
    assert value.dtype == tf.float32
    assert float(value) == pytest.approx(pairwise_auc_loss_reference(y, s), rel=FLOAT32)


@pytest.mark.parametrize("method", METHODS)
def test_only_ratios_of_weights_count_however_small(method):
    y, s = make_scores(5, 12, 2.0)
    weights = np.full(17, 1e-150)
    value = float(PairwiseAUCLoss(method=method)(y, s, weights))
    assert value == pytest.approx(pairwise_auc_loss_reference(y, s), rel=LOSS_FLOAT64)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("y", "weights"),
    [([1, 2, 1], [1, 1, 1]), ([1, 0, 0], [1, -1, 1]), ([1, 0, 0], [np.nan, 1, 1])],
)
def test_in_a_graph_a_bad_label_or_weight_makes_the_loss_nan(method, y, weights):
    s = np.array([0.5, 1.0, -1.0], np.float32)
    value, gradient = loss_and_gradient(
        pairwise_loss(method=method), y, s, np.array(weights, float)
    )
    assert np.isnan(value)
    assert np.isnan(gradient).all()


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_an_empty_batch_costs_nothing(method, jit):
    loss = tf.function(PairwiseAUCLoss(method=method).__call__, jit_compile=jit)
    assert float(loss(tf.zeros(0, tf.int32), tf.zeros(0))) == 0.0


# ------------------------------------------------------------------------- inside Keras


def data(n=200, features=4, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, features)).astype(np.float32)
    return x, (x[:, 0] + rng.normal(size=n) > 0.8).astype(np.int32)


def linear_model(loss, *, jit=False, dtype=None):
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(1, dtype=dtype, kernel_initializer="zeros")]
    )
    model.compile(keras.optimizers.SGD(0.5), loss, jit_compile=jit)
    return model


def fit_losses(model, x, y, **options):
    options = {"epochs": 2, "batch_size": 50, "shuffle": False, "verbose": 0, **options}
    return model.fit(x, y, **options).history["loss"]


@pytest.mark.parametrize("method", METHODS)
def test_fit_descends_as_gradient_descent_by_hand(method):
    x, y = data(50)
    model = linear_model(PairwiseAUCLoss(method=method))
    fit_losses(model, x, y, epochs=3)
    beta = np.zeros(4)
    for _ in range(3):
        beta -= 0.5 * x.T.astype(np.float64) @ oracle(y, x @ beta)[1]
    assert relative(model.get_weights()[0][:, 0], beta) < FLOAT32


def test_fit_is_the_same_with_and_without_jit():
    x, y = data(100)
    losses = [fit_losses(linear_model(PairwiseAUCLoss(), jit=jit), x, y) for jit in (False, True)]
    assert losses[0] == pytest.approx(losses[1], rel=FLOAT32)


def test_mixed_precision_computes_pairs_in_float32():
    x, y = data()
    model = linear_model(PairwiseAUCLoss(), dtype="mixed_float16")
    fit_losses(model, x, y)
    scores = model.predict(x, verbose=0)
    assert scores.dtype == np.float16
    expected = pairwise_auc_loss_reference(y, scores[:, 0])
    assert float(PairwiseAUCLoss()(y, scores)) == pytest.approx(expected, rel=FLOAT32)


@pytest.mark.parametrize(
    "loss",
    [
        PairwiseAUCLoss("squared_hinge", "exact", False, name="mine"),
        BufferedPairwiseAUCLoss(30, "reservoir", seed=5),
    ],
)
def test_a_saved_model_brings_its_loss_along(loss, tmp_path):
    linear_model(loss).save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded.loss) is type(loss)
    assert loaded.loss.get_config() == loss.get_config()


def test_replicas_form_their_own_pairs_and_share_the_mean_gradient():
    script = """
    import keras, numpy as np, tensorflow as tf
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    from mammocourse.losses import BufferedPairwiseAUCLoss, PairwiseAUCLoss
    rng = np.random.default_rng(0)
    x = rng.normal(size=(24, 4)).astype("float32")
    y = np.tile([0, 0, 1], 8)

    def model(loss):
        dense = keras.layers.Dense(1, kernel_initializer="zeros")
        made = keras.Sequential([keras.Input((4,)), dense])
        made.compile(keras.optimizers.SGD(1.0), loss)
        return made

    with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
        together, buffered = model(PairwiseAUCLoss()), model(BufferedPairwiseAUCLoss())
    together.fit(x, y, batch_size=24, shuffle=False, verbose=0)
    alone = []
    for half in (slice(0, 12), slice(12, 24)):
        single = model(PairwiseAUCLoss())
        single.fit(x[half], y[half], batch_size=12, shuffle=False, verbose=0)
        alone.append(single.get_weights()[0])
    print("EQUAL", np.allclose(together.get_weights()[0], np.mean(alone, axis=0), rtol=1e-5))
    try:
        buffered.fit(x, y, batch_size=24, verbose=0)
    except Exception as error:
        print("REFUSED", "replicas" in str(error))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True
    )
    assert done.stdout.split() == ["EQUAL", "True", "REFUSED", "True"], done.stderr[-2000:]


# ---------------------------------------------------------------------------- the buffers


def replay(y, s, batch_size, *, size=None, replacement="all", seed=0):
    """Run the paper's algorithm with lists, sample by sample, and return the loss of each step."""
    y, s = np.asarray(y), np.asarray(s)
    buffers, seen, losses = {0: [], 1: []}, {0: 0, 1: 0}, []
    for step, start in enumerate(range(0, len(y), batch_size)):
        labels, scores = y[start : start + batch_size], s[start : start + batch_size]
        own = {label: list(scores[labels == label]) for label in (0, 1)}
        pairs = [(a, b) for a in own[1] for b in buffers[0] + own[0]]
        pairs += [(a, b) for b in own[0] for a in buffers[1]]
        losses.append(np.mean([np.logaddexp(0, b - a) for a, b in pairs]) if pairs else 0.0)
        bits = tf.random.stateless_uniform(
            (len(labels),), (seed, step), None, None, tf.int32, alg="philox"
        )
        uniform = bits.numpy() / 2.0**32 + 0.5
        for label, score, u in zip(labels, scores, uniform, strict=True):
            k, buffer = seen[label], buffers[label]
            seen[label] += 1
            if size is None or len(buffer) < size:
                buffer.append(score)
            elif replacement == "fifo":
                buffer[k % size] = score
            elif int(u * (k + 1)) < size:
                buffer[int(u * (k + 1))] = score
    return losses, buffers


def step_loss(loss, y, s):
    return loss_and_gradient(loss, y, s)[0]


REPLACED = [
    ("all", None, 1),
    ("all", None, 7),
    ("fifo", 4, 1),
    ("fifo", 4, 7),
    ("fifo", 4, 32),
    ("fifo", 1000, 7),
    ("reservoir", 4, 1),
    ("reservoir", 4, 7),
    ("reservoir", 4, 32),
    ("reservoir", 1, 7),
]


@pytest.mark.parametrize(("replacement", "size", "batch_size"), REPLACED)
def test_every_step_equals_the_papers_algorithm(replacement, size, batch_size):
    y, s = make_scores(15, 50, 6.0)
    loss = BufferedPairwiseAUCLoss(size, replacement, seed=3)
    steps = range(0, len(y), batch_size)
    found = [step_loss(loss, y[k : k + batch_size], s[k : k + batch_size]) for k in steps]
    expected, buffers = replay(y, s, batch_size, size=size, replacement=replacement, seed=3)
    assert found == pytest.approx(expected, rel=LOSS_FLOAT64)
    assert loss.counts == (len(buffers[1]), len(buffers[0]))
    if size is not None:
        assert [list(part) for part in loss.scores()] == [buffers[1], buffers[0]]


@pytest.mark.parametrize(
    ("replacement", "size", "batch_size", "jit"),
    [
        ("all", None, 1, False),
        ("all", None, 5, True),
        ("reservoir", 6, 1, False),
        ("reservoir", 6, 5, True),
    ],
)
def test_the_loss_in_fit_equals_the_papers_algorithm_at_each_step(
    replacement, size, batch_size, jit
):
    x, y = data(25)
    loss = BufferedPairwiseAUCLoss(size, replacement)
    model = linear_model(loss, jit=jit)
    seen = {"loss": [], "scores": []}

    class Watch(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            beta = model.get_weights()
            part = x[batch * batch_size : (batch + 1) * batch_size]
            seen["scores"] += list((part.astype(np.float64) @ beta[0] + beta[1])[:, 0])

        def on_train_batch_end(self, batch, logs=None):
            seen["loss"].append(logs["loss"])

    fit_losses(model, x, y, epochs=1, batch_size=batch_size, callbacks=[loss.callback(), Watch()])
    expected, _ = replay(y, seen["scores"], batch_size, size=size, replacement=replacement)
    shares = np.diff([0, *np.minimum(np.arange(1, len(expected) + 1) * batch_size, len(y))])
    running = np.cumsum(expected * shares) / np.cumsum(shares)  # Keras logs the mean so far
    assert seen["loss"] == pytest.approx(running, rel=FLOAT32, abs=FLOAT32)


def test_the_gradient_passes_through_the_current_batch_only():
    y, s = make_scores(10, 30, 4.0)
    loss = BufferedPairwiseAUCLoss()
    loss(y[:30], s[:30])
    gradient = loss_and_gradient(loss, y[30:], s[30:])[1]
    numbers = {label: s[:30][y[:30] == label] for label in (0, 1)}

    def value(new):
        a, b = new[y[30:] == 1], new[y[30:] == 0]
        new_positive = np.subtract.outer(np.r_[numbers[0], b], a)
        old_positive = np.subtract.outer(b, numbers[1])
        return np.logaddexp(0, np.r_[new_positive.ravel(), old_positive.ravel()]).mean()

    step = 1e-5 * np.eye(10)
    differences = [(value(s[30:] + e) - value(s[30:] - e)) / 2e-5 for e in step]
    assert relative(gradient, differences) < FINITE_DIFFERENCES


def test_an_empty_buffer_leaves_the_loss_of_the_batch():
    y, s = make_scores(8, 30, 4.0)
    found = loss_and_gradient(BufferedPairwiseAUCLoss(), y, s)
    expected = oracle(y, s)
    assert found[0] == pytest.approx(expected[0], rel=FLOAT64)
    assert relative(found[1], expected[1]) < FLOAT64


def test_weights_of_pairs_reach_into_the_buffer():
    y, s = make_scores(8, 30, 4.0)
    times = np.random.default_rng(3).integers(0, 4, len(y))
    weighted, repeated = BufferedPairwiseAUCLoss(), BufferedPairwiseAUCLoss()
    for part in (slice(0, 20), slice(20, None)):
        found = float(weighted(y[part], s[part], times[part]))
        copies = times[part]
        expected = float(repeated(np.repeat(y[part], copies), np.repeat(s[part], copies)))
        assert found == pytest.approx(expected, rel=LOSS_FLOAT64)


def test_a_batch_of_one_class_learns_from_the_buffer():
    loss = BufferedPairwiseAUCLoss()
    assert float(loss([0, 0], [1.0, 2.0])) == 0.0
    value, gradient = loss_and_gradient(loss, [1], np.array([3.0]))
    assert value == pytest.approx(np.logaddexp(0, [-2.0, -1.0]).mean(), rel=LOSS_FLOAT64)
    assert gradient == pytest.approx(-special.expit([-2.0, -1.0]).mean(), rel=GRADIENT)


@pytest.mark.parametrize("spread", [1e-3, 100.0, 3e3])
def test_scores_of_every_scale_fit_into_the_buffer(spread):
    y, s = make_scores(40, 80, spread)
    loss = BufferedPairwiseAUCLoss(25, "fifo")
    found = [step_loss(loss, y[k : k + 10], s[k : k + 10]) for k in range(0, 120, 10)]
    assert found == pytest.approx(
        replay(y, s, 10, size=25, replacement="fifo")[0], rel=LOSS_FLOAT64
    )


def test_a_score_that_is_not_a_number_does_not_enter_the_buffer():
    loss = BufferedPairwiseAUCLoss()
    assert np.isnan(float(loss([1, 0, 0], [1.0, np.nan, 0.0])))
    assert loss.counts == (1, 1)
    assert np.isfinite(float(loss([1, 0], [1.0, 0.0])))


def test_what_a_graph_cannot_refuse_does_not_enter_the_buffer():
    loss = BufferedPairwiseAUCLoss()
    step = tf.function(loss.__call__)
    s = tf.constant([0.5, 1.0, -1.0])
    assert np.isnan(step(tf.constant([1, 2, 0]), s, tf.constant([1.0, 1.0, np.nan])))
    assert loss.counts == (1, 0)
    assert np.isnan(step(tf.constant([1, 0, 0]), s, tf.constant([-1.0, 1.0, np.inf])))
    assert loss.counts == (1, 1)
    value = float(step(tf.constant([1, 0, 0]), s, tf.ones(3)))
    pairs = [0.5, -1.5, 0.5, 0.5, -1.5]  # two in the batch, one with S-, two with S+
    assert value == pytest.approx(np.logaddexp(0, pairs).mean(), rel=FLOAT32)


def test_an_empty_batch_leaves_the_buffer_alone():
    loss = BufferedPairwiseAUCLoss(2, "fifo")
    loss([1, 0], [1.0, 0.0])
    assert float(loss(np.zeros(0, np.int32), np.zeros(0, np.float32))) == 0.0
    assert loss.counts == (1, 1)


def test_reset_empties_the_buffer():
    y, s = make_scores(8, 30, 4.0)
    loss = BufferedPairwiseAUCLoss(5, "fifo")
    first = float(loss(y, s))
    loss.reset()
    assert loss.counts == (0, 0)
    assert float(loss(y, s)) == first


def test_the_callback_starts_every_epoch_with_empty_buffers():
    x, y = data()
    loss = BufferedPairwiseAUCLoss()
    fit_losses(linear_model(loss), x, y, epochs=3, callbacks=[loss.callback()])
    assert loss.counts == (y.sum(), (1 - y).sum())


@pytest.mark.parametrize(("replacement", "size"), [("all", None), ("fifo", 9), ("reservoir", 9)])
def test_validation_leaves_training_and_buffer_as_without_it(replacement, size):
    (x, y), held_out = data(), data(seed=1)
    found = []
    for options in ({}, {"validation_data": held_out}):
        loss = BufferedPairwiseAUCLoss(size, replacement)
        model = linear_model(loss)
        losses = fit_losses(model, x, y, callbacks=[loss.callback()], **options)
        found.append((losses, [variable.numpy() for variable in loss._state]))
    assert found[0][0] == found[1][0]
    assert all(np.array_equal(a, b) for a, b in zip(found[0][1], found[1][1], strict=True))


def test_validation_without_the_callback_is_refused():
    x, y = data()
    loss = BufferedPairwiseAUCLoss()
    with pytest.raises(RuntimeError, match="callback"):
        fit_losses(linear_model(loss), x, y, validation_split=0.2)
    model = linear_model(BufferedPairwiseAUCLoss())
    with pytest.raises(RuntimeError, match="callback"):
        model.evaluate(x, y, verbose=0)


def test_without_validation_the_callback_is_not_needed():
    x, y = data()
    loss = BufferedPairwiseAUCLoss()
    fit_losses(linear_model(loss), x, y, epochs=2)
    assert loss.counts == (2 * y.sum(), 2 * (1 - y).sum())


def test_evaluation_after_training_records_nothing():
    x, y = data()
    loss = BufferedPairwiseAUCLoss()
    model = linear_model(loss)
    fit_losses(model, x, y, callbacks=[loss.callback()])
    model.evaluate(x, y, verbose=0)
    assert loss.counts == (y.sum(), (1 - y).sum())


def test_the_reservoir_is_a_uniform_sample():
    loss = BufferedPairwiseAUCLoss(50, "reservoir", seed=1)
    for start in range(0, 1000, 100):
        loss(np.zeros(100), np.arange(start, start + 100))
    kept = loss.scores()[1]
    assert len(np.unique(kept)) == 50
    error = np.sqrt((1000**2 - 1) / 12 / 50)  # of the mean of 50 of 0..999
    assert abs(kept.mean() - 499.5) < MONTE_CARLO_ERRORS * error


@pytest.mark.parametrize("replacement", ["fifo", "reservoir"])
@pytest.mark.parametrize("size", [None, 0, -1, 2.5, True, "3"])
def test_a_bounded_buffer_needs_its_size(replacement, size):
    with pytest.raises(ValueError, match="buffer_size"):
        BufferedPairwiseAUCLoss(size, replacement)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [({"buffer_size": -1, "replacement": "all"}, "buffer_size"), ({"seed": None}, "seed")],
)
def test_wrong_arguments_of_the_buffered_loss_are_named(arguments, named):
    with pytest.raises(ValueError, match=named):
        BufferedPairwiseAUCLoss(**arguments)


def test_a_size_may_be_a_numpy_integer():
    loss = BufferedPairwiseAUCLoss(np.int64(3), seed=np.int32(2))
    assert type(loss.get_config()["buffer_size"]) is int
    assert loss.get_config() == BufferedPairwiseAUCLoss(3, "fifo", seed=2).get_config()


def test_a_loaded_model_evaluates_and_trains_on_with_its_own_callback(tmp_path):
    x, y = data()
    linear_model(BufferedPairwiseAUCLoss()).save(tmp_path / "model.keras")
    model = keras.models.load_model(tmp_path / "model.keras")
    model.evaluate(x, y, verbose=0, callbacks=[model.loss.callback()])
    assert model.loss.counts == (0, 0)
    fit_losses(model, x, y, callbacks=[model.loss.callback()])
    model.predict(x, verbose=0)
    assert model.loss.counts == (y.sum(), (1 - y).sum())


def test_a_size_that_all_does_not_need_is_said():
    with pytest.warns(UserWarning, match="buffer_size=9 has no effect"):
        loss = BufferedPairwiseAUCLoss(9, "all")
    loss(np.zeros(20), np.arange(20.0))
    assert loss.counts == (0, 20)


# ------------------------------------------------------------------ batches and callback


def test_stratified_batches_hold_their_share_and_every_sample_once():
    y = np.repeat([1, 0], [13, 187])
    batches = StratifiedBatches(np.arange(200), y, 32)
    parts = [batches[k] for k in range(len(batches))]
    assert sorted(np.concatenate([x for x, _ in parts])) == list(range(200))
    assert {int(labels.sum()) for _, labels in parts} <= {1, 2}
    assert max(len(x) for x, _ in parts) <= 32


def test_stratified_batches_can_oversample():
    y = np.repeat([1, 0], [10, 190])
    batches = StratifiedBatches(np.arange(200), y, 20, positive_fraction=0.5)
    parts = [batches[k] for k in range(len(batches))]
    drawn = np.bincount(np.concatenate([x for x, _ in parts]), minlength=200)
    assert set(drawn[:10]) == {19}
    assert set(drawn[10:]) == {1}
    assert all(labels.sum() == 10 for _, labels in parts)


def test_stratified_batches_change_with_the_epoch_and_repeat_with_the_seed():
    def epochs():
        batches = StratifiedBatches(np.arange(40), np.tile([0, 0, 0, 1], 10), 10, seed=7)
        first = batches[0][0]
        batches.on_epoch_end()
        return first, batches[0][0]

    (first, second), (again, _) = epochs(), epochs()
    assert list(first) == list(again)
    assert list(first) != list(second)


def test_stratified_batches_refuse_what_they_cannot_promise():
    with pytest.raises(ValueError, match="batch_size"):
        StratifiedBatches(np.arange(100), np.repeat([1, 0], [2, 98]), 10)


@pytest.mark.parametrize(
    ("y", "arguments", "named"),
    [
        ([0, 1, 0, 1], {"batch_size": 0}, "batch_size"),
        ([0, 1, 0, 1], {"batch_size": 2.5}, "batch_size"),
        ([0, 1, 0], {"batch_size": 2}, "x has 4 samples for 3 labels"),
        ([0, 1, 2, 1], {"batch_size": 2}, "y holds values"),
        ([0, 0, 0, 0], {"batch_size": 2, "positive_fraction": 0.5}, "both classes"),
        ([0, 1, 0, 1], {"batch_size": 2, "positive_fraction": 1.0}, "positive_fraction"),
    ],
)
def test_stratified_batches_name_what_is_wrong(y, arguments, named):
    with pytest.raises(ValueError, match=named):
        StratifiedBatches(np.arange(4), y, **arguments)


def test_stratified_batches_take_lists_and_labels_minus_one():
    x, y = StratifiedBatches([5, 6, 7, 8], [-1, 1, -1, 1], 2)[1]
    assert sorted(y) == [-1, 1]
    assert x.shape == (2,)


@pytest.mark.parametrize(
    ("y", "named"),
    [([1, 1, 1], "both classes"), ([0, 1, 2], "y holds values"), ([0, 1], "x has 3 samples")],
)
def test_the_exact_auc_names_what_is_wrong(y, named):
    with pytest.raises(ValueError, match=named):
        ExactAUC(np.zeros((3, 4)), y)


def test_the_exact_auc_of_a_model_that_diverged_is_nan():
    x, y = data()
    model = linear_model(PairwiseAUCLoss())
    model.set_weights([np.full((4, 1), np.nan), np.zeros(1)])
    callback, logs = ExactAUC(x, y), {}
    callback.set_model(model)
    callback.on_epoch_end(0, logs)
    assert np.isnan(logs["val_auc"])


def test_the_exact_auc_is_in_the_logs_and_stops_training():
    (x, y), (held_x, held_y) = data(), data(seed=1)
    model = linear_model(PairwiseAUCLoss())
    stop = keras.callbacks.EarlyStopping(monitor="val_auc", mode="max", patience=1)
    history = model.fit(
        StratifiedBatches(x, y, 50),
        epochs=60,
        verbose=0,
        callbacks=[ExactAUC(held_x, held_y), stop],
    ).history
    scores = model.predict(held_x, batch_size=256, verbose=0)
    assert history["val_auc"][-1] == roc_auc_score(held_y, scores)
    assert len(history["val_auc"]) < 60


@pytest.mark.parametrize(
    ("y", "s"), [([0, 2], [1.0, 2.0]), ([0, np.nan], [1.0, 2.0]), ([0, 1, 1], [1.0, 2.0]), (1, 2.0)]
)
def test_the_reference_refuses_what_is_no_sample(y: object, s: object) -> None:
    with pytest.raises(ValueError, match=r"y (must hold 1|has the shape)"):
        pairwise_auc_loss_reference(y, s)


def test_a_reset_ends_the_pause_of_an_interrupted_validation() -> None:
    loss = BufferedPairwiseAUCLoss()
    loss.callback().on_test_begin()  # and no end: somebody pressed Stop
    loss([1, 0], [0.1, 0.2])
    assert loss.counts == (0, 0)
    loss.reset()
    loss([1, 0], [0.1, 0.2])
    assert loss.counts == (1, 1)


@pytest.mark.parametrize("make", [PairwiseAUCLoss, BufferedPairwiseAUCLoss])
def test_one_weight_for_all_samples_changes_nothing(make: type) -> None:
    y, s = [1, 0, 0, 1], [0.3, -0.2, 0.9, 0.1]
    assert float(make()(y, s, sample_weight=2.0)) == pytest.approx(float(make()(y, s)), rel=FLOAT64)
