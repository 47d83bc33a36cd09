"""The errata of the sources: what is printed fails, what is right holds, against an oracle."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import cv2
import keras
import numpy as np
import pytest
import sklearn
import statsmodels.api as sm
from scipy import optimize, signal, stats
from scipy.special import expit, log_expit, softmax
from sklearn import metrics
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold
from sklearn.preprocessing import StandardScaler

import errata_table
from mammocourse.datasets import load_mnist01
from mammocourse.models import build_scanner
from tolerances import FINITE_DIFFERENCES, FLOAT64, ITERATIVE, MONTE_CARLO_ERRORS

Array = np.ndarray


def numeric_gradient(f: Callable[[Array], float], x: Array, h: float = 1e-5) -> Array:
    """Return central differences of a function, entry by entry."""
    gradient = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        step = np.zeros(x.shape)
        step[index] = h
        gradient[index] = (f(x + step) - f(x - step)) / (2 * h)
    return gradient


def activation_map(image: Array, kernel: Array, stride: int = 1) -> Array:
    return signal.correlate2d(image, kernel, mode="valid")[::stride, ::stride]


def logit_data(n: int = 200) -> tuple[Array, Array]:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(n, 2))
    return x, rng.binomial(1, expit(0.3 + x @ [1.0, -0.5]))


def separable() -> tuple[Array, Array, Array]:
    """Return ten images of twenty pixels, labels and a direction that separates them."""
    x = np.random.default_rng(0).normal(size=(10, 20))
    y = np.repeat([0, 1], 5)
    return x, y, np.linalg.lstsq(x, 2.0 * y - 1, rcond=None)[0]


def mean_loglik(x: Array, y: Array, beta: Array) -> float:
    return float(log_expit((2 * y - 1) * (x @ beta)).mean())


# The thesis, sections 3.2 to 3.3


def test_thesis_eq_3_and_4():
    eta = np.linspace(-3, 3, 7)
    p = np.exp(eta) / (1 + np.exp(eta))
    assert p == pytest.approx(stats.logistic.cdf(eta), abs=FLOAT64)
    assert np.log(p / (1 - p)) == pytest.approx(eta, abs=FLOAT64)


def test_thesis_eq_5():
    """Two copies of one image: the product counts a probability twice, the joint one does not."""
    p = 0.3
    independent = {(a, b): p ** (a + b) * (1 - p) ** (2 - a - b) for a in (0, 1) for b in (0, 1)}
    draws = np.random.default_rng(0).random((20_000, 2)) < p
    assert (draws.all(axis=1)).mean() == pytest.approx(
        independent[1, 1], abs=MONTE_CARLO_ERRORS * np.sqrt(p**2 * (1 - p**2) / 20_000)
    )
    copies = np.repeat(draws[:, :1], 2, axis=1)
    assert copies.all(axis=1).mean() > 2 * independent[1, 1]


def test_thesis_eq_6():
    x, y = logit_data()
    fit = sm.Logit(y, sm.add_constant(x)).fit(disp=0)
    p = fit.predict()
    printed = np.sum(y * np.log(p)) + np.sum((1 - y) * np.log(1 - p))
    assert printed == pytest.approx(fit.llf, abs=FLOAT64)


def test_thesis_first_order_conditions():
    """One regressor, one equation: every intercept has its own solution."""
    x, y = logit_data()
    column = x[:, 0]
    slopes = []
    for intercept in (0.0, 1.0):

        def score(beta: float, intercept: float = intercept) -> float:
            return float(column @ (y - expit(intercept + beta * column)))

        slopes.append(optimize.brentq(score, -10, 10))
        assert score(slopes[-1]) == pytest.approx(0, abs=ITERATIVE)
    assert abs(slopes[0] - slopes[1]) > 0.05
    fit = sm.Logit(y, sm.add_constant(column)).fit(disp=0)
    assert np.sum(y - fit.predict()) == pytest.approx(0, abs=ITERATIVE)  # equation d + 1
    assert abs(np.sum(y - expit(1.0 + slopes[1] * column))) > 1


def test_thesis_eq_7_and_8():
    x, y = logit_data()
    fit = sm.Logit(y, sm.add_constant(x)).fit(disp=0)
    assert 1 - fit.llf / fit.llnull == pytest.approx(fit.prsquared, abs=FLOAT64)
    null = stats.bernoulli.logpmf(y, y.mean()).sum()
    assert -2 * (null - fit.llf) == pytest.approx(fit.llr, abs=ITERATIVE)


def test_thesis_lrt_distribution():
    x, y = logit_data()
    repeated = np.column_stack([x, x[:, 0], np.zeros(len(x))])
    design = sm.add_constant(x)
    null = stats.bernoulli.logpmf(y, y.mean()).sum()

    def lrt(columns: Array) -> float:
        start = np.zeros(columns.shape[1])
        loss = lambda b: -np.sum(log_expit((2 * y - 1) * (columns @ b)))  # noqa: E731
        slope = lambda b: columns.T @ (expit(columns @ b) - y)  # noqa: E731
        return 2 * float(-optimize.minimize(loss, start, jac=slope, tol=1e-10).fun - null)

    assert lrt(np.column_stack([np.ones(len(x)), repeated])) == pytest.approx(
        lrt(design), abs=ITERATIVE
    )
    assert repeated.shape[1] - x.shape[1] == 2  # printed: two degrees of freedom more
    assert np.linalg.matrix_rank(repeated) == np.linalg.matrix_rank(x)
    wide, labels, direction = separable()
    ceiling = -2 * stats.bernoulli.logpmf(labels, labels.mean()).sum()
    other = np.random.default_rng(7).normal(size=wide.shape)
    for pixels in (wide, other):  # the same statistic whatever the images are
        beta = 100 * np.linalg.lstsq(pixels, 2.0 * labels - 1, rcond=None)[0]
        fitted = 2 * len(labels) * mean_loglik(pixels, labels, beta)
        assert fitted + ceiling == pytest.approx(ceiling, abs=ITERATIVE)
    assert direction.size == wide.shape[1]


def test_thesis_eq_9_33_and_34():
    rng = np.random.default_rng(2)
    y, predicted = rng.integers(0, 2, (2, 50))
    tp, tn = np.sum((y == 1) & (predicted == 1)), np.sum((y == 0) & (predicted == 0))
    fn, fp = np.sum((y == 1) & (predicted == 0)), np.sum((y == 0) & (predicted == 1))
    assert (tp + tn) / 50 == metrics.accuracy_score(y, predicted)
    assert tp / (tp + fn) == metrics.recall_score(y, predicted)
    assert tn / (tn + fp) == metrics.recall_score(y, predicted, pos_label=0)


def test_thesis_pseudo_r2_is_no_share_of_variance():
    x = np.linspace(-1, 1, 400)[:, None]
    y = np.random.default_rng(0).binomial(1, expit(6 * x[:, 0]))
    fit = sm.Logit(y, sm.add_constant(x)).fit(disp=0)
    explained = metrics.r2_score(y, fit.predict())
    assert abs(explained - fit.prsquared) > 0.05


def test_thesis_coefficient_is_in_log_odds():
    beta, eta, h = 0.8, np.linspace(-3, 3, 13), 1e-5
    change = (stats.logistic.cdf(eta + beta * h) - stats.logistic.cdf(eta - beta * h)) / (2 * h)
    odds = lambda t: np.log(stats.logistic.cdf(t) / stats.logistic.sf(t))  # noqa: E731
    assert odds(eta + beta) - odds(eta) == pytest.approx(np.full(13, beta), abs=ITERATIVE)
    p = expit(eta)
    assert change == pytest.approx(beta * p * (1 - p), abs=FINITE_DIFFERENCES)
    assert (change <= beta / 4 + FINITE_DIFFERENCES).all()  # printed: beta
    assert (np.sign(change) == np.sign(beta)).all()


def test_thesis_universal_approximation():
    """A fit of f(x) = x on [-1, 1] by 20 sigmoid units is good there and bounded elsewhere."""
    rng = np.random.default_rng(0)
    weights, biases = rng.normal(size=(2, 20)) * 3
    hidden = lambda x: expit(np.outer(x, weights) + biases)  # noqa: E731
    inside = np.linspace(-1, 1, 400)
    out = np.linalg.lstsq(hidden(inside), inside, rcond=1e-8)[0]
    assert np.abs(hidden(inside) @ out - inside).max() < 0.01
    bound = np.abs(out).sum()
    far = np.array([2 * bound])
    assert np.abs(hidden(far) @ out - far)[0] >= bound


def test_thesis_eq_11_and_12():
    rng = np.random.default_rng(3)
    image, kernel = rng.normal(size=(7, 6)), rng.normal(size=(2, 3))
    for s in (1, 2):
        shape = activation_map(image, kernel, s).shape
        printed = np.zeros(shape)
        for i, k in np.ndindex(shape):
            for m, n in np.ndindex(kernel.shape):
                printed[i, k] += image[i * s + m, k * s + n] * kernel[m, n]
        assert printed == pytest.approx(activation_map(image, kernel, s), abs=FLOAT64)
    turned = signal.convolve2d(image, kernel[::-1, ::-1], mode="valid")
    assert activation_map(image, kernel) == pytest.approx(turned, abs=FLOAT64)
    assert not np.allclose(
        activation_map(image, kernel), signal.convolve2d(image, kernel, mode="valid")
    )


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding"), [(25, 2, 2, 0), (28, 4, 1, 1), (28, 4, 1, 0)]
)
def test_thesis_eq_13(size, kernel, stride, padding):
    padded = np.pad(np.ones((size, size)), padding)
    actual = activation_map(padded, np.ones((kernel, kernel)), stride).shape[0]
    assert (size + 2 * padding - kernel) // stride + 1 == actual
    printed = (size - kernel) / stride + 1
    assert (printed == actual) == (padding == 0 and (size - kernel) % stride == 0)


def test_thesis_eq_14():
    """With the coefficients in the order of the sum, by columns as in Eq. 14."""
    rng = np.random.default_rng(4)
    patch, kernel = rng.normal(size=(2, 2, 2))
    unit = patch.ravel(order="F") @ kernel.ravel(order="F")
    assert unit == pytest.approx(activation_map(patch, kernel)[0, 0], abs=FLOAT64)


def test_thesis_eq_15():
    x = np.array([-2.0, 0.0, 3.0])
    assert (np.where(x > 0, x, 0) == np.clip(x, 0, None)).all()


# Sections 3.4 to 3.7


def test_thesis_eq_16_17_and_18():
    z = np.random.default_rng(5).normal(size=(30, 2)) * 3
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    assert p == pytest.approx(softmax(z, axis=1), abs=FLOAT64)
    assert p[:, 0] == pytest.approx(expit(z[:, 0] - z[:, 1]), abs=FLOAT64)
    y = np.eye(2)[np.arange(30) % 2]
    general = -(y * np.log(p)).sum(axis=1)
    binary = -(y[:, 0] * np.log(p[:, 0]) + (1 - y[:, 0]) * np.log(1 - p[:, 0]))
    assert general == pytest.approx(binary, abs=FLOAT64)
    assert general.mean() == pytest.approx(metrics.log_loss(y[:, 0], p[:, ::-1]), abs=FLOAT64)


def test_thesis_cross_entropy_is_no_distance():
    a, b = np.array([0.9, 0.1]), np.array([0.5, 0.5])
    assert abs(stats.entropy(a, b) - stats.entropy(b, a)) > 0.1
    cross = lambda y, p: -np.sum(y * np.log(p))  # noqa: E731
    assert abs(cross(a, b) - cross(b, a)) > 0.1
    assert cross(b, b) > 0.5  # not zero from a distribution to itself


def test_thesis_loss_is_minus_log_likelihood():
    x, y = logit_data()
    p = sm.Logit(y, sm.add_constant(x)).fit(disp=0).predict()
    likelihood = stats.bernoulli.logpmf(y, p).sum()
    loss = len(y) * metrics.log_loss(y, p)
    assert loss == pytest.approx(-likelihood, abs=ITERATIVE)
    assert loss > 0 > likelihood  # printed: the same


def network(x: Array, inner: Array, outer: Array) -> Array:
    return np.tanh(x @ inner) @ outer


def test_thesis_weights_are_not_identified():
    rng = np.random.default_rng(6)
    x, inner, outer = rng.normal(size=(50, 3)), rng.normal(size=(3, 4)), rng.normal(size=4)
    order = [2, 0, 3, 1]
    assert np.abs(inner - inner[:, order]).max() > 0.1
    assert network(x, inner[:, order], outer[order]) == pytest.approx(
        network(x, inner, outer), abs=FLOAT64
    )


def test_thesis_loss_is_not_convex():
    """Half way between two perfect solutions the loss is higher; without strictness it is not."""
    rng = np.random.default_rng(6)
    x, inner, outer = rng.normal(size=(50, 3)), rng.normal(size=(3, 4)), rng.normal(size=4)
    y, order = network(x, inner, outer), [2, 0, 3, 1]
    middle = network(x, (inner + inner[:, order]) / 2, (outer + outer[order]) / 2)
    assert np.mean((network(x, inner[:, order], outer[order]) - y) ** 2) < FLOAT64
    assert np.mean((middle - y) ** 2) > 0.01
    collinear = np.column_stack([x[:, 0], x[:, 0]])  # convex, not strictly
    ends = [np.array([2.0, 0.0]), np.array([0.0, 2.0])]
    losses = [np.mean((collinear @ b - 2 * x[:, 0]) ** 2) for b in [*ends, sum(ends) / 2]]
    assert losses == pytest.approx([0, 0, 0], abs=FLOAT64)


def test_thesis_eq_19():
    x, y = logit_data()
    theta, rate = np.array([0.2, -0.1]), 0.01
    loss = lambda b: -mean_loglik(x, y, b)  # noqa: E731
    single = (expit(x @ theta) - y)[:, None] * x
    step = theta - rate / len(y) * single.sum(axis=0)
    assert (theta - step) / rate == pytest.approx(
        numeric_gradient(loss, theta), abs=FINITE_DIFFERENCES
    )
    assert loss(step) < loss(theta)


def kernel_gradient(G: Array, image: Array, shape: tuple[int, int], s: int) -> Array:
    """Return the sum of Eq. 21."""
    g = np.zeros(shape)
    for i, j in np.ndindex(shape):
        for m, n in np.ndindex(G.shape):
            g[i, j] += G[m, n] * image[m * s + i, n * s + j]
    return g


@pytest.mark.parametrize("stride", [1, 2])
def test_thesis_eq_20_and_21(stride):
    rng = np.random.default_rng(7)
    image, kernel = rng.normal(size=(7, 7)), rng.normal(size=(3, 3))
    found = []
    for loss in (lambda z: np.sum(z**2) / 2, lambda z: np.sum(np.sin(z))):
        Z = activation_map(image, kernel, stride)
        G = numeric_gradient(loss, Z)
        g = kernel_gradient(G, image, kernel.shape, stride)
        direct = numeric_gradient(
            lambda k, loss=loss: loss(activation_map(image, k, stride)), kernel
        )
        assert g == pytest.approx(direct, abs=10 * FINITE_DIFFERENCES)
        found.append(g)
    assert not np.allclose(*found)  # the same V and s, two gradients: the name needs G


@pytest.mark.parametrize("stride", [1, 2])
def test_thesis_eq_22(stride):
    rng = np.random.default_rng(8)
    image, kernel = rng.normal(size=(7, 7)), rng.normal(size=(3, 3))
    G = activation_map(image, kernel, stride)
    direct = numeric_gradient(lambda v: np.sum(activation_map(v, kernel, stride) ** 2) / 2, image)
    right, printed = np.zeros((2, 7, 7))
    for i, j in np.ndindex(7, 7):
        for window, m, a, b in np.ndindex(*G.shape, *kernel.shape):
            if window * stride + a == i and m * stride + b == j:
                right[i, j] += kernel[a, b] * G[window, m]
        for (row, m), q in [(at, q) for at in np.ndindex(3, 3) for q in range(3)]:
            at = (i - row) * stride + m, (j - m) * stride + q
            if 0 <= at[0] < G.shape[0] and 0 <= at[1] < G.shape[1]:
                printed[i, j] += kernel[row, m] * G[at]
    assert right == pytest.approx(direct, abs=10 * FINITE_DIFFERENCES)
    assert np.abs(printed - direct).max() > 0.1
    with pytest.raises(IndexError):
        G[0, 0, 0]  # printed: three indices


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_thesis_eq_23_24_and_25(momentum):
    """The step of the whole gradient follows it; that of one entry moves all weights alike."""
    rng = np.random.default_rng(9)
    images, kernel = rng.normal(size=(5, 6, 6)), rng.normal(size=(2, 2))
    loss = lambda k: np.mean([np.sum(activation_map(v, k) ** 2) / 2 for v in images])  # noqa: E731
    g = sum(kernel_gradient(activation_map(v, kernel), v, (2, 2), 1) for v in images)
    rate, velocity = 1e-3, np.full((2, 2), 0.01)
    steepest = momentum * velocity - rate * numeric_gradient(loss, kernel)
    assert momentum * velocity - rate / 5 * g == pytest.approx(steepest, abs=FINITE_DIFFERENCES)
    for entry in np.ndindex(2, 2):
        printed = momentum * velocity - rate / 5 * g[entry]
        assert np.ptp(printed) == pytest.approx(0, abs=FLOAT64)
        assert not np.allclose(printed, steepest)


def test_thesis_velocity_is_a_sum():
    phi, rate, g, v = 0.9, 0.1, 2.0, 0.0
    for _ in range(500):
        v = phi * v - rate * g
    assert v == pytest.approx(-rate * g / (1 - phi), abs=FLOAT64)
    average = signal.lfilter([1 - phi], [1, -phi], np.full(500, -rate * g))[-1]
    assert v / average == pytest.approx(1 / (1 - phi), abs=FLOAT64)


def test_thesis_eq_26_27_and_28():
    """Recursion against the weighted sums it stands for; at a rate of 1 nothing is left."""
    g = np.random.default_rng(10).normal(size=20)
    for rho, values in ((0.9, g), (0.999, g * g)):
        moment = 0.0
        for t, value in enumerate(values, 1):
            moment = rho * moment + (1 - rho) * value
            weights = rho ** np.arange(t)[::-1]
            assert moment / (1 - rho**t) == pytest.approx(
                np.average(values[:t], weights=weights), abs=FLOAT64
            )
    rate, steady = 0.01, 3.0  # a steady gradient: every step has the length of the rate
    s_hat, r_hat = steady, steady**2
    assert rate * s_hat / (np.sqrt(r_hat) + 1e-8) == pytest.approx(rate, abs=ITERATIVE)
    for rho in (1.0,):
        with pytest.raises(ZeroDivisionError):
            (rho * 0.0 + (1 - rho) * steady) / (1 - rho**1)


def test_thesis_eq_29():
    """Eight maps in, eight out: the right variance passes the signal on, the printed does not."""
    rng = np.random.default_rng(11)
    size, maps, width = 24, 8, 3
    image = rng.normal(size=(maps, size, size))
    fans, units = 2 * width * width * maps, 2 * size * size * maps
    spread = {}
    for name, total in (("fans", fans), ("units", units)):
        kernels = rng.normal(scale=np.sqrt(2 / total), size=(maps, maps, width, width))
        out = [sum(activation_map(v, k) for v, k in zip(image, ks, strict=True)) for ks in kernels]
        spread[name] = np.var(out)
    assert 0.7 < spread["fans"] < 1.4
    assert spread["units"] < 0.05
    dense = rng.normal(scale=np.sqrt(2 / (300 + 300)), size=(300, 300))  # units are fans
    assert 0.9 < np.var(rng.normal(size=(300, 300)) @ dense) < 1.1


def test_thesis_eq_30():
    rng = np.random.default_rng(12)
    kernels, strengths = [rng.normal(size=4), rng.normal(size=4)], np.array([0.1, 3.0])
    lengths = np.array([k @ k for k in kernels])
    right = np.sum(strengths / 2 * lengths)
    for alpha in strengths:
        assert abs(alpha / 2 * lengths.sum() - right) > 0.1
    equal = np.full(2, 0.5)
    assert np.sum(equal / 2 * lengths) == pytest.approx(0.5 / 2 * lengths.sum(), abs=FLOAT64)


def test_thesis_ridge_is_not_sparse():
    rng = np.random.default_rng(13)
    x, y = rng.normal(size=(40, 10)), rng.normal(size=40)
    norms = []
    for alpha in (1, 10, 100, 1000):
        beta = np.linalg.solve(x.T @ x + alpha * np.eye(10), x.T @ y)
        assert np.count_nonzero(beta) == 10
        norms.append(np.linalg.norm(beta))
    assert (np.diff(norms) < 0).all()


# Sections 3.8 to 4.3


def test_thesis_parameters_of_the_mnist_network():
    convolution, side = (4 * 4 * 1 + 1) * 32, (28 - 4 + 1) // 2
    assert convolution + (side**2 * 32 + 1) * 128 + (128 + 1) * 2 == 590_754


def test_thesis_ascent_not_descent():
    rng = np.random.default_rng(14)
    image, kernel = rng.normal(size=(6, 6)), rng.normal(size=(3, 3))
    response = lambda v: float(activation_map(v, kernel).mean())  # noqa: E731
    gradient = numeric_gradient(response, image)
    assert response(image + 0.1 * gradient) > response(image) > response(image - 0.1 * gradient)


def class_scores(maps: Array, head: Array) -> Array:
    """Return two scores of three maps of 4 x 4: global average, then a dense layer."""
    return maps.mean(axis=(1, 2)) @ head


def test_thesis_grad_cam_gradients():
    rng = np.random.default_rng(15)
    maps, head = rng.normal(size=(3, 4, 4)), rng.normal(size=(3, 2))
    right = [
        numeric_gradient(lambda a, c=c: class_scores(a, head)[c], maps).mean(axis=(1, 2))
        for c in (0, 1)
    ]
    for c in (0, 1):  # the weights of the class activation map, up to the number of places
        assert right[c] == pytest.approx(head[:, c] / 16, abs=FINITE_DIFFERENCES)
    printed = numeric_gradient(lambda a: float(a.sum()), maps).mean(axis=(1, 2))
    assert np.ptp(printed) == pytest.approx(0, abs=FINITE_DIFFERENCES)
    assert not np.allclose(right[0], right[1])


def test_thesis_grad_cam_rectifies():
    """A map that speaks against the class: occluding it raises the score."""
    maps, head = np.zeros((2, 4, 4)), np.array([[1.0, 0.0], [-2.0, 0.0]])
    maps[0, 0, 0] = maps[1, 3, 3] = 1
    average = np.tensordot(head[:, 0] / 16, maps, axes=1) / 2
    without = maps.copy()
    without[1, 3, 3] = 0
    assert class_scores(without, head)[0] > class_scores(maps, head)[0]
    strongest = np.unravel_index(np.abs(average).argmax(), average.shape)
    assert strongest == (3, 3)
    assert average.min() == average[3, 3] < 0
    normalized = (average - average.min()) / np.ptp(average)
    assert normalized[1, 1] > 0.5  # empty places look warm
    rectified = np.maximum(0, average)
    assert rectified[3, 3] == rectified[1, 1] == 0 < rectified[0, 0]


def test_thesis_clahe_limits_first():
    """One tile: limit, redistribute, equalize is what OpenCV computes."""
    rng = np.random.default_rng(16)
    image = np.clip(rng.normal(120, 12, (64, 64)), 0, 255).astype(np.uint8)
    limit = int(2 * image.size / 256)
    histogram = np.bincount(image.ravel(), minlength=256)

    def limited(counts: Array) -> Array:
        excess = np.maximum(counts - limit, 0).sum()
        return np.minimum(counts, limit) + excess / 256

    right = np.cumsum(limited(histogram)) * 255 / image.size
    full = np.cumsum(histogram) * 255 / image.size
    first = np.round(full[image]).astype(int)  # as printed: equalized, then the same limit
    again = np.cumsum(limited(np.bincount(first.ravel(), minlength=256))) * 255 / image.size
    oracle = cv2.createCLAHE(clipLimit=2, tileGridSize=(1, 1)).apply(image).astype(float)
    assert np.abs(right[image] - oracle).max() <= 2  # OpenCV rounds the excess
    assert np.abs(again[first] - oracle).max() > 20
    assert oracle.std() < 0.75 * again[first].std()


def test_thesis_bicubic_is_no_average():
    step = np.zeros((8, 8), np.float32)
    step[:, 4:] = 100
    cubic = cv2.resize(step, (24, 8), interpolation=cv2.INTER_CUBIC)
    assert cubic.max() > 101
    assert cubic.min() < -1
    linear = cv2.resize(step, (24, 8), interpolation=cv2.INTER_LINEAR)
    assert len(np.unique(np.round(linear, 3))) > 3  # not only 0, 50 and 100: weighted


def test_thesis_split_before_rotating():
    rng = np.random.default_rng(17)
    owner = np.repeat(np.arange(340), 4)
    half = set(rng.permutation(1360)[:680].tolist())
    inside = np.array([i in half for i in range(1360)]).reshape(340, 4).sum(axis=1)
    both = np.mean((inside > 0) & (inside < 4))
    expected = 1 - 2 * stats.hypergeom.pmf(4, 1360, 4, 680)
    error = np.sqrt(expected * (1 - expected) / 340)
    assert both == pytest.approx(expected, abs=MONTE_CARLO_ERRORS * error)
    assert expected > 0.85
    images = rng.permutation(340)
    assert not set(owner[np.isin(owner, images[:170])]) & set(owner[np.isin(owner, images[170:])])


def test_thesis_table_3():
    benign, malignant = 2916 + 364 + 364, 2508 + 316 + 316
    assert benign + malignant == 4 * 1696
    assert (benign / 4, malignant / 4) == (911, 785)
    assert (benign / 4, malignant / 4) != (912, 784)
    assert 912 + 784 == 1696


def test_thesis_rotations_are_not_cases():
    """Four equal answers per image: the accuracy scatters as for 170 cases, not 680."""
    a = 0.79
    images = np.random.default_rng(18).random((20_000, 170)) < a
    scatter = np.repeat(images, 4, axis=1).mean(axis=1).std()
    assert scatter == pytest.approx(np.sqrt(a * (1 - a) / 170), rel=0.03)
    assert scatter / np.sqrt(a * (1 - a) / 680) == pytest.approx(2, rel=0.03)


# Sections 4.4 to 5.4 and the appendix


def test_thesis_no_maximum_when_p_exceeds_n():
    x, y, direction = separable()
    values = [mean_loglik(x, y, t * direction) for t in (1, 5, 10, 20)]
    assert (np.diff(values) > 0).all()
    assert values[-1] < 0  # the bound is not reached
    beta = np.random.default_rng(0).normal(size=20)  # nor anywhere else
    gradient = numeric_gradient(lambda b: mean_loglik(x, y, b), beta)
    assert gradient @ direction > 0


def lasso(**arguments: Any) -> LogisticRegression:
    """Return scikit-learn's lasso, which is asked for in two ways: 1.8 changed its name."""
    version = tuple(int(part) for part in sklearn.__version__.split(".")[:2])
    kind: dict[str, Any] = {"l1_ratio": 1} if version >= (1, 8) else {"penalty": "l1"}
    return LogisticRegression(**kind, **arguments)


def test_thesis_eq_32():
    x, y, direction = separable()
    printed = [
        mean_loglik(x, y, t * direction) + 0.5 * np.abs(t * direction).sum() for t in (1, 10, 100)
    ]
    assert (np.diff(printed) > 1).all()  # no maximum
    rng = np.random.default_rng(19)
    pixels = stats.zscore(rng.normal(size=(300, 5)))
    labels = rng.binomial(1, expit(pixels @ [2, 0, 0, -1, 0.5]))
    slope = pixels.T @ (labels - labels.mean())
    assert np.abs(slope).max() / 300 < 0.5 < np.abs(slope).max()  # zeros with 1/n, not without
    fit = lasso(C=1 / 0.5, solver="saga", tol=1e-10, max_iter=5000).fit(pixels, labels)
    beta = fit.coef_[0]
    slope = pixels.T @ (labels - fit.predict_proba(pixels)[:, 1])
    active = beta != 0
    assert active.any()
    assert slope[active] == pytest.approx(0.5 * np.sign(beta[active]), abs=1e3 * ITERATIVE)


def test_thesis_eq_32_is_neither_convex_nor_concave():
    x, y = logit_data()

    def middle(sign: int, a: Array, b: Array) -> float:
        """Return how far the function at the middle lies above the mean of its ends."""
        f = lambda t: mean_loglik(x, y, t) + sign * 0.05 * np.abs(t).sum()  # noqa: E731
        return f((a + b) / 2) - (f(a) + f(b)) / 2

    pairs = [
        (np.array([-0.1, 0.0]), np.array([0.1, 0.0])),
        (np.array([0.1, 0.0]), np.array([3.0, 0.0])),
    ]
    as_printed = [middle(1, *pair) for pair in pairs]
    assert min(as_printed) < 0 < max(as_printed)
    random = np.random.default_rng(20).normal(size=(50, 2, 2))
    assert min(middle(-1, *pair) for pair in [*pairs, *random]) >= 0


def test_thesis_lasso_is_not_smooth():
    x, y = logit_data()
    loss = lambda b: -mean_loglik(x, y, np.array([b, 0.0])) + 0.5 * abs(b)  # noqa: E731
    h = 1e-6
    right, left = (loss(h) - loss(0)) / h, (loss(0) - loss(-h)) / h
    assert right - left == pytest.approx(2 * 0.5, abs=1e3 * ITERATIVE)
    assert left < 0 < right  # the minimum is at the kink
    for solver in ("lbfgs", "newton-cg"):
        with pytest.raises(ValueError, match=solver):
            lasso(solver=solver).fit(x, y)


def test_thesis_one_fold_is_a_hold_out():
    with pytest.raises(ValueError, match="n_splits=2 or more"):
        KFold(1)


def test_thesis_table_5():
    """Every table of 316 malignant and 364 benign images with the printed rates, rounded."""
    sensitive = [tp for tp in range(317) if abs(tp / 316 - 0.54) <= 0.005]
    specific = [tn for tn in range(365) if abs(tn / 364 - 0.65) <= 0.005]
    best = (max(sensitive) + max(specific)) / 680
    assert best < 0.605  # what would round to 0.61
    assert best == pytest.approx(0.603, abs=0.0005)
    cut = max(tp for tp in range(317) if int(100 * tp / 316) == 54)
    cut += max(tn for tn in range(365) if int(100 * tn / 364) == 65)
    assert cut / 680 == pytest.approx(0.607, abs=0.0005)  # which is cut to 0.60
    found = {(tp, tn) for tp in range(317) for tn in range(365)
             if (round(tp / 316, 2), round(tn / 364, 2), round((tp + tn) / 680, 2))
             == (0.73, 0.84, 0.79)}  # the row of the ResNet50 is possible  # fmt: skip
    assert found


def test_thesis_gain_in_points():
    linear, resnet = np.array([0.61, 0.54, 0.65]), np.array([0.79, 0.73, 0.84])
    points, relative = 100 * (resnet - linear), 100 * (resnet / linear - 1)
    assert points == pytest.approx([18, 19, 19], abs=ITERATIVE)
    assert np.round([relative.min(), relative.max()]).tolist() == [29, 35]


def test_thesis_eq_35():
    rng = np.random.default_rng(21)
    beta, estimate = rng.normal(size=(2, 784))
    printed = np.sum(np.abs(beta - estimate)) / 784
    assert printed == pytest.approx(metrics.mean_absolute_error(beta, estimate), abs=FLOAT64)


def standardized_zero() -> Array:
    """Return the fixed coefficients of Appendix A: the standardized first zero."""
    (images, labels), _ = load_mnist01()
    pixels = StandardScaler().fit_transform(images.reshape(len(images), -1))
    return pixels[np.flatnonzero(labels == 0)[0]]


def test_thesis_average_magnitude():
    beta = standardized_zero()
    assert round(float(beta.mean()), 3) == 0.048
    assert round(float(np.abs(beta).mean()), 3) == 0.353


def test_thesis_replications_do_not_show_consistency():
    """Five cases per coefficient, at two sizes: the slope stays far from 1."""
    rng = np.random.default_rng(22)
    for n in (200, 400):
        p = n // 5
        beta, estimates = np.full(p, 2 / np.sqrt(p)), []
        for _ in range(20):
            x = rng.normal(size=(n, p))
            y = rng.binomial(1, expit(x @ beta))
            loss = lambda b: -np.sum(log_expit((2 * y - 1) * (x @ b)))  # noqa: B023, E731
            slope = lambda b: x.T @ (expit(x @ b) - y)  # noqa: B023, E731
            estimates.append(optimize.minimize(loss, np.zeros(p), jac=slope).x.mean() / beta[0])
        error = np.std(estimates) / np.sqrt(20)
        assert np.mean(estimates) - MONTE_CARLO_ERRORS * error > 1.1


# The AUC paper


def test_paper_eq_1():
    rng = np.random.default_rng(23)
    y, smooth = np.repeat([1, 0], [10, 20]), rng.normal(size=30)
    for scores, agree in ((smooth, True), (np.round(smooth), False), (np.zeros(30), False)):
        pairs = scores[:10, None] - scores[None, 10:]
        strict, half = np.mean(pairs > 0), np.mean((pairs > 0) + 0.5 * (pairs == 0))
        oracle = metrics.roc_auc_score(y, scores)
        assert half == pytest.approx(oracle, abs=FLOAT64)
        assert (abs(strict - oracle) < FLOAT64) == agree
    mann_whitney = stats.mannwhitneyu(smooth[:10], smooth[10:]).statistic / 200
    assert mann_whitney == pytest.approx(metrics.roc_auc_score(y, smooth), abs=FLOAT64)


def test_paper_eq_2_and_3():
    """Case by case against the opposite buffer: all pairs once; with a step, 1 - AUC."""
    rng = np.random.default_rng(24)
    y, scores = rng.permutation(np.repeat([1, 0], [8, 15])), rng.normal(size=23)
    for pair in (lambda d: np.logaddexp(0, d), lambda d: (d >= 0).astype(float)):
        total, seen = 0.0, ([], [])
        for label, score in zip(y, scores, strict=True):
            opposite = np.array(seen[1 - label])
            total += pair(opposite - score if label else score - opposite).sum()
            seen[label].append(score)
        everything = pair(scores[y == 0][None] - scores[y == 1][:, None]).sum()
        assert total == pytest.approx(everything, abs=FLOAT64)
    assert 1 - total / (8 * 15) == pytest.approx(metrics.roc_auc_score(y, scores), abs=FLOAT64)


def test_paper_eq_4():
    d = np.linspace(-30, 30, 61)  # negative minus positive score
    printed = -np.log(1 / (1 + np.exp(d)))
    assert printed == pytest.approx(np.logaddexp(0, d), abs=FLOAT64)
    slope = (np.logaddexp(0, d + 1e-5) - np.logaddexp(0, d - 1e-5)) / 2e-5
    assert slope == pytest.approx(stats.logistic.cdf(d), abs=FINITE_DIFFERENCES)
    with np.errstate(over="ignore", divide="ignore"):
        assert np.isinf(-np.log(1 / (1 + np.exp(1000.0))))
    assert np.logaddexp(0, 1000.0) == 1000


def test_paper_cost_of_one_case():
    """Count the terms: one case costs at most N, a pass about N squared."""
    for n in (100, 200):
        labels = np.arange(n) % 2
        terms = [int(np.sum(labels[:t] != labels[t])) for t in range(n)]
        assert max(terms) <= n
        assert sum(terms) == (n // 2) ** 2
        buffered = [min(10, term) for term in terms]
        assert sum(buffered) <= 10 * n


def test_paper_abstract_cuts():
    assert round(0.767, 2) != 0.76
    assert int(100 * 0.767) / 100 == 0.76
    assert round(0.650, 2) == 0.65


def test_paper_gain_in_points():
    baselines, best = np.array([0.677, 0.727]), 0.767
    points, relative = 100 * (best - baselines), 100 * (best / baselines - 1)
    assert np.round(points, 1).tolist() == [9.0, 4.0]
    assert np.round(relative, 1).tolist() == [13.3, 5.5]


def test_paper_small_images_are_square():
    for build in (keras.applications.VGG16, keras.applications.ResNet50):
        assert build(weights=None).input_shape == (None, 224, 224, 3)


def test_paper_scanner_keeps_a_dense_layer():
    scanner = build_scanner()
    convolutions = [layer for layer in scanner.layers if isinstance(layer, keras.layers.Conv2D)]
    assert [layer.filters for layer in convolutions] == [96, 256, 512, 512, 512, 4096]
    assert convolutions[-1].kernel_size == (6, 6)
    assert scanner.output.shape[-1] == 4096


# The list itself

ROWS = errata_table.rows()


def test_numbered_equations_are_complete():
    for source, last in (("thesis", 35), ("auc-paper", 4)):
        numbers = [
            int(row["place"][4:])
            for row in ROWS
            if row["source"] == source and re.fullmatch(r"Eq\. \d+", row["place"])
        ]
        assert numbers.count(last) == 1
        assert sorted(numbers) == list(range(1, last + 1))


def test_every_finding_has_a_test_and_every_test_a_row():
    listed = {row["test"] for row in ROWS if "test" in row}
    functions = {name for name in globals() if re.match(r"test_(thesis|paper)_", name)}
    assert listed == functions
    assert all("test" in row for row in ROWS if row["status"] != "correct")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['source']} {row['place']}")
def test_labels_exist(row):
    chapter, section = errata_table.taught(row["label"])
    assert chapter.number in row["label"]
    assert section


def broken(**changes: Any) -> dict[str, Any]:
    row = dict(next(row for row in ROWS if row["status"] == "slip"), **changes)
    return {key: value for key, value in row.items() if value is not None}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"status": "wrong"}, "status is 'wrong'"),
        ({"test": None}, "test is missing"),
        ({"consequence": None}, "consequence is missing"),
        ({"printed": None, "printed_math": None}, "printed or printed_math"),
        ({"chapter": "02"}, "does not know chapter"),
    ],
)
def test_a_broken_row_is_named(changes, message):
    with pytest.raises(ValueError, match=message):
        errata_table.checked(broken(**changes))


def test_an_unknown_label_is_named():
    with pytest.raises(ValueError, match="eq-02-nonsense"):
        errata_table.taught("eq-02-nonsense")
