"""A convolutional neural network in plain NumPy (thesis, sections 3.3 to 3.8).

Every operation is a function, and has a partner ``*_backward`` that takes the
gradient of the loss with respect to the operation's output, then the arguments of
the operation, and returns the gradient with respect to its inputs. ``Sequential``
chains them into a network and trains it.

Images are arrays (images, height, width, channels), NHWC; kernels are (height,
width, input channels, output channels), HWIO; as in Keras. float32 stays float32,
integers become float64. Sizes and strides are one integer or (rows, columns).
Every function raises ``ValueError`` for arrays that are empty, hold NaN or infinity,
or have shapes that do not fit, and names the argument.

What the thesis calls convolution (Eq. 11 and 12) is, here as in every deep learning
library, cross-correlation: the kernel is not flipped.
"""

# ruff: noqa: D102 (the methods of the layers are described once, in Layer)

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

Array = NDArray[np.floating[Any]]
Padding = Literal["valid", "same"]
Pair = int | Sequence[int]

# --------------------------------------------------------------------------------------
# Windows on an image: what convolution and pooling have in common
# --------------------------------------------------------------------------------------


def pad_widths(
    size: int, window: int, stride: int = 1, padding: Padding = "valid"
) -> tuple[int, int]:
    """Pixels to add before and after one axis of an image.

    "valid" adds none. "same" adds as many as the output size ``ceil(size / stride)``
    needs; an odd number puts the extra pixel *after* the image (TensorFlow's convention).

    Parameters
    ----------
    size, window, stride : int
        Pixels of the image and of the window along the axis, and the step; at least 1.
    padding : {"valid", "same"}

    Returns
    -------
    (before, after) : tuple of int
    """
    if padding not in ("valid", "same"):
        raise ValueError(f"padding is {padding!r}; it must be 'valid' or 'same'.")
    for name, value in (("size", size), ("window", window), ("stride", stride)):
        _check_integer(name, value)
    if padding == "valid":
        return 0, 0
    outputs = math.ceil(size / stride)
    total = max((outputs - 1) * stride + window - size, 0)
    return total // 2, total - total // 2


def output_size(size: int, window: int, stride: int = 1, padding: Padding = "valid") -> int:
    """Size of the output along one axis: Eq. 13 with the padding and the floor it lacks.

    ``floor((size + padded - window) / stride) + 1``, which is ``ceil(size / stride)``
    for "same". The thesis's own network needs the floor: its pooling makes 12
    of 25 pixels, where Eq. 13 gives 12.5.

    Parameters
    ----------
    size, window, stride, padding
        As in :func:`pad_widths`.

    Returns
    -------
    int

    Raises
    ------
    ValueError
        If the window does not fit into the image.
    """
    padded = size + sum(pad_widths(size, window, stride, padding))
    if window > padded:
        raise ValueError(
            f"a window of {window} pixels does not fit into {padded}; make the kernel or "
            "pool_size smaller, the image larger, or use padding='same'."
        )
    return (padded - window) // stride + 1


@dataclass(frozen=True)
class _Grid:
    """Where the windows of a convolution or pooling lie on the (padded) image."""

    window: tuple[int, int]
    stride: tuple[int, int]
    image: tuple[int, int]
    pads: tuple[tuple[int, int], tuple[int, int]]
    outputs: tuple[int, int]

    @classmethod
    def of(cls, x: Array, window: Pair, stride: Pair, padding: Padding, name: str) -> _Grid:
        window, stride = _pair(name, window), _pair("stride", stride)
        image = x.shape[1:3]
        axes = [(image[a], window[a], stride[a], padding) for a in (0, 1)]
        pads = pad_widths(*axes[0]), pad_widths(*axes[1])
        outputs = output_size(*axes[0]), output_size(*axes[1])
        return cls(window, stride, image, pads, outputs)

    def pad(self, x: Array, value: float = 0.0) -> Array:
        """Surround the images (n, height, width, c) with ``value``."""
        if not any(self.pads[0] + self.pads[1]):
            return x
        return np.pad(x, ((0, 0), *self.pads, (0, 0)), constant_values=value)

    def unpad(self, x: Array) -> Array:
        """Cut what :meth:`pad` added."""
        (top, _), (left, _) = self.pads
        return x[:, top : top + self.image[0], left : left + self.image[1]]

    def entries(self) -> Iterator[tuple[slice, ...]]:
        """For each place in the window: where all windows find that pixel in the padded image."""
        (rows, columns), (down, right) = self.outputs, self.stride
        for i in range(self.window[0]):
            for j in range(self.window[1]):
                yield np.s_[:, i : i + down * rows : down, j : j + right * columns : right]

    def patches(self, padded: Array) -> Array:
        """All windows, (n, rows, columns, channels, window height, window width), a view."""
        windows = np.lib.stride_tricks.sliding_window_view(padded, self.window, axis=(1, 2))
        return windows[:, :: self.stride[0], :: self.stride[1]]


# --------------------------------------------------------------------------------------
# Convolution (section 3.3.1, Eq. 11 to 14; backwards Eq. 20 to 22)
# --------------------------------------------------------------------------------------


def conv2d(
    x: ArrayLike,
    kernel: ArrayLike,
    bias: ArrayLike | None = None,
    stride: Pair = 1,
    padding: Padding = "valid",
) -> Array:
    """Slide kernels over images and take dot products (Eq. 12, with channels and a bias).

    With every window written as a row of a matrix, the patches, all dot products
    are one matrix product.

    Parameters
    ----------
    x : array-like of shape (n, height, width, channels)
    kernel : array-like of shape (kernel height, kernel width, channels, filters)
    bias : array-like of shape (filters,), optional
    stride : int or (int, int)
    padding : {"valid", "same"}
        No padding, or with zeros as :func:`pad_widths` says.

    Returns
    -------
    ndarray of shape (n, rows, columns, filters)
        ``rows`` and ``columns`` are those of :func:`output_size`.
    """
    x, kernel, grid = _check_conv(x, kernel, stride, padding)
    patches = grid.patches(grid.pad(x))
    z = np.tensordot(patches, kernel, axes=((4, 5, 3), (0, 1, 2)))
    return z if bias is None else z + _array("bias", bias, kernel.shape[-1:])


def conv2d_backward(
    grad: ArrayLike,
    x: ArrayLike,
    kernel: ArrayLike,
    stride: Pair = 1,
    padding: Padding = "valid",
) -> tuple[Array, Array, Array]:
    """Gradients of :func:`conv2d` with respect to its three inputs (Eq. 20 to 22).

    A kernel entry touches one pixel of each window: its gradient sums these pixels
    times ``grad`` (Eq. 21). A pixel lies in several windows: its gradient sums what
    each of them sends back. The thesis's Eq. 22 has lost this sum; right is, over all
    windows l, n and kernel entries m, p that meet at pixel (i, j),
    ``sum(K[m, p] * G[l, n] for (l - 1) * s + m == i and (n - 1) * s + p == j)``.

    Parameters
    ----------
    grad : array-like of shape (n, rows, columns, filters)
        Gradient with respect to the output of ``conv2d`` (G in Eq. 20).
    x, kernel, stride, padding
        As given to ``conv2d``.

    Returns
    -------
    dx, dkernel, dbias : ndarray
        Of the shapes of ``x``, ``kernel`` and the bias.
    """
    x, kernel, grid = _check_conv(x, kernel, stride, padding)
    grad = _array("grad", grad, (len(x), *grid.outputs, kernel.shape[-1]))
    padded = grid.pad(x)
    dkernel = np.tensordot(grid.patches(padded), grad, axes=((0, 1, 2), (0, 1, 2)))
    dpatches = np.tensordot(grad, kernel, axes=(3, 3))  # (n, rows, columns, height, width, c)
    dpadded = np.zeros_like(padded, dtype=dpatches.dtype)
    for entry, (i, j) in zip(grid.entries(), np.ndindex(grid.window), strict=True):
        dpadded[entry] += dpatches[:, :, :, i, j]
    return grid.unpad(dpadded), dkernel.transpose(1, 2, 0, 3), grad.sum(axis=(0, 1, 2))


def _check_conv(
    x: ArrayLike, kernel: ArrayLike, stride: Pair, padding: Padding
) -> tuple[Array, Array, _Grid]:
    x, kernel = _array("x", x, 4), _array("kernel", kernel, 4)
    if x.shape[3] != kernel.shape[2]:
        raise ValueError(
            f"kernel has shape {kernel.shape}, for {kernel.shape[2]} input channels; x has "
            f"{x.shape[3]}. A kernel is (height, width, input channels, output channels)."
        )
    return x, kernel, _Grid.of(x, kernel.shape[:2], stride, padding, "kernel")


# --------------------------------------------------------------------------------------
# Pooling (section 3.3.3)
# --------------------------------------------------------------------------------------


def max_pool2d(
    x: ArrayLike, pool_size: Pair = 2, stride: Pair | None = None, padding: Padding = "valid"
) -> Array:
    """Keep the largest value of each window, per channel.

    Parameters
    ----------
    x : array-like of shape (n, height, width, channels)
    pool_size : int or (int, int)
    stride : int or (int, int), optional
        ``pool_size`` by default: windows side by side.
    padding : {"valid", "same"}
        Padding never counts as a value.

    Returns
    -------
    ndarray of shape (n, rows, columns, channels)
    """
    x, grid = _check_pool(x, pool_size, stride, padding)
    padded = grid.pad(x, -np.inf)
    largest = np.full((len(x), *grid.outputs, x.shape[3]), -np.inf, dtype=x.dtype)
    for entry in grid.entries():
        np.maximum(largest, padded[entry], out=largest)
    return largest


def max_pool2d_backward(
    grad: ArrayLike,
    x: ArrayLike,
    pool_size: Pair = 2,
    stride: Pair | None = None,
    padding: Padding = "valid",
) -> Array:
    """Gradient of :func:`max_pool2d`: all of it goes to the largest pixel of the window.

    Of several equal ones the first, row by row, gets it, as in Keras on TensorFlow.
    (At such a point the maximum has no derivative; this is one of its subgradients.)
    """
    x, grid = _check_pool(x, pool_size, stride, padding)
    largest = max_pool2d(x, pool_size, stride, padding)
    waiting = _array("grad", grad, largest.shape).copy()
    padded = grid.pad(x, -np.inf)
    dpadded = np.zeros_like(padded, dtype=waiting.dtype)
    for entry in grid.entries():
        taken = np.where(padded[entry] == largest, waiting, 0)
        dpadded[entry] += taken
        waiting -= taken
    return grid.unpad(dpadded)


def average_pool2d(
    x: ArrayLike, pool_size: Pair = 2, stride: Pair | None = None, padding: Padding = "valid"
) -> Array:
    """Average each window, per channel; with padding, over its pixels inside the image.

    Parameters and result as for :func:`max_pool2d`.
    """
    x, grid = _check_pool(x, pool_size, stride, padding)
    return _window_sum(grid, x) / _pixels_inside(grid, x)


def average_pool2d_backward(
    grad: ArrayLike,
    x: ArrayLike,
    pool_size: Pair = 2,
    stride: Pair | None = None,
    padding: Padding = "valid",
) -> Array:
    """Gradient of :func:`average_pool2d`: each pixel of a window gets an equal share."""
    x, grid = _check_pool(x, pool_size, stride, padding)
    grad = _array("grad", grad, (len(x), *grid.outputs, x.shape[3]))
    return _spread(grid, x, grad / _pixels_inside(grid, x))


def l2_norm_pool2d(
    x: ArrayLike, pool_size: Pair = 2, stride: Pair | None = None, padding: Padding = "valid"
) -> Array:
    """Euclidean norm of each window, per channel: the root of the sum of squares.

    Parameters and result as for :func:`max_pool2d`.
    """
    x, grid = _check_pool(x, pool_size, stride, padding)
    return np.sqrt(_window_sum(grid, x**2))


def l2_norm_pool2d_backward(
    grad: ArrayLike,
    x: ArrayLike,
    pool_size: Pair = 2,
    stride: Pair | None = None,
    padding: Padding = "valid",
) -> Array:
    """Gradient of :func:`l2_norm_pool2d`: ``x / norm``, and 0 for a window of zeros."""
    x, grid = _check_pool(x, pool_size, stride, padding)
    norm = l2_norm_pool2d(x, pool_size, stride, padding)
    grad = _array("grad", grad, norm.shape)
    ratio = np.divide(grad, norm, out=np.zeros_like(norm), where=norm > 0)
    return x * _spread(grid, x, ratio)


def _window_sum(grid: _Grid, x: Array) -> Array:
    padded = grid.pad(x)
    total = np.zeros((len(x), *grid.outputs, x.shape[3]), dtype=x.dtype)
    for entry in grid.entries():
        total += padded[entry]
    return total


def _pixels_inside(grid: _Grid, x: Array) -> Array:
    """Pixels of each window that are not padding, (1, rows, columns, 1)."""
    return _window_sum(grid, np.ones_like(x[:1, :, :, :1]))


def _spread(grid: _Grid, x: Array, grad: Array) -> Array:
    """Send each window's gradient to all of its pixels: :func:`_window_sum` backwards."""
    dpadded = np.zeros_like(grid.pad(x), dtype=grad.dtype)
    for entry in grid.entries():
        dpadded[entry] += grad
    return grid.unpad(dpadded)


def _check_pool(
    x: ArrayLike, pool_size: Pair, stride: Pair | None, padding: Padding
) -> tuple[Array, _Grid]:
    x = _array("x", x, 4)
    stride = pool_size if stride is None else stride
    return x, _Grid.of(x, pool_size, stride, padding, "pool_size")


# --------------------------------------------------------------------------------------
# Activations (section 3.3.2, Eq. 15): any shape, entry by entry
# --------------------------------------------------------------------------------------


def relu(x: ArrayLike) -> Array:
    """Rectified linear unit: x where x > 0, otherwise 0 (Eq. 15)."""
    return np.maximum(_array("x", x), 0)


def relu_backward(grad: ArrayLike, x: ArrayLike) -> Array:
    """Gradient of :func:`relu`; at x = 0, where it has none, it is set to 0, as in Keras."""
    x = _array("x", x)
    return _array("grad", grad, x.shape) * (x > 0)


def leaky_relu(x: ArrayLike, negative_slope: float = 0.2) -> Array:
    """Leaky ReLU: x where x > 0, otherwise ``negative_slope * x`` (0.2 as in Keras's function)."""
    x = _array("x", x)
    return np.where(x > 0, x, negative_slope * x)


def leaky_relu_backward(grad: ArrayLike, x: ArrayLike, negative_slope: float = 0.2) -> Array:
    """Gradient of :func:`leaky_relu`; at x = 0 it is that of the negative side, as in Keras."""
    x = _array("x", x)
    grad = _array("grad", grad, x.shape)
    return np.where(x > 0, grad, negative_slope * grad)


def sigmoid(x: ArrayLike) -> Array:
    """Logistic function ``1 / (1 + exp(-x))``, written so that no exponential overflows."""
    return np.exp(-np.logaddexp(0, -_array("x", x)))


def sigmoid_backward(grad: ArrayLike, x: ArrayLike) -> Array:
    """Gradient of :func:`sigmoid`: ``p * (1 - p)`` times ``grad``."""
    p = sigmoid(x)
    return _array("grad", grad, p.shape) * p * (1 - p)


def tanh(x: ArrayLike) -> Array:
    """Hyperbolic tangent."""
    return np.tanh(_array("x", x))


def tanh_backward(grad: ArrayLike, x: ArrayLike) -> Array:
    """Gradient of :func:`tanh`: ``1 - tanh(x)**2`` times ``grad``."""
    value = tanh(x)
    return _array("grad", grad, value.shape) * (1 - value**2)


# --------------------------------------------------------------------------------------
# Dense layer, softmax, cross-entropy (sections 3.3.4 and 3.4, Eq. 16 to 18)
# --------------------------------------------------------------------------------------


def dense(x: ArrayLike, kernel: ArrayLike, bias: ArrayLike | None = None) -> Array:
    """Fully connected layer, ``x @ kernel + bias``: many linear models at once.

    Parameters
    ----------
    x : array-like of shape (n, features)
    kernel : array-like of shape (features, units)
    bias : array-like of shape (units,), optional

    Returns
    -------
    ndarray of shape (n, units)
    """
    x, kernel = _check_dense(x, kernel)
    z = x @ kernel
    return z if bias is None else z + _array("bias", bias, kernel.shape[-1:])


def dense_backward(grad: ArrayLike, x: ArrayLike, kernel: ArrayLike) -> tuple[Array, Array, Array]:
    """Gradients of :func:`dense` with respect to x, kernel and bias, in their shapes."""
    x, kernel = _check_dense(x, kernel)
    grad = _array("grad", grad, (len(x), kernel.shape[1]))
    return grad @ kernel.T, x.T @ grad, grad.sum(axis=0)


def _check_dense(x: ArrayLike, kernel: ArrayLike) -> tuple[Array, Array]:
    x, kernel = _array("x", x, 2), _array("kernel", kernel, 2)
    if x.shape[1] != kernel.shape[0]:
        raise ValueError(
            f"kernel has shape {kernel.shape}, for {kernel.shape[0]} features; x has {x.shape[1]}."
        )
    return x, kernel


def softmax(z: ArrayLike) -> Array:
    """Turn rows of raw predictions into probabilities (Eq. 18, for any number of classes).

    A constant added to a row changes nothing: with two classes, p is the logistic
    function of ``z[:, 0] - z[:, 1]``, so only the difference is identified.

    Parameters
    ----------
    z : array-like of shape (n, classes)

    Returns
    -------
    ndarray of shape (n, classes)
        Rows sum to 1.
    """
    z = _array("z", z, 2)
    exponentials = np.exp(z - z.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def softmax_backward(grad: ArrayLike, z: ArrayLike) -> Array:
    """Gradient of :func:`softmax` with respect to z."""
    p = softmax(z)
    grad = _array("grad", grad, p.shape)
    return p * (grad - (grad * p).sum(axis=1, keepdims=True))


def cross_entropy(y: ArrayLike, p: ArrayLike, from_logits: bool = False) -> float:
    """Categorical cross-entropy, averaged over the images (Eq. 16 and 17).

    It is *minus* the log-likelihood of the labels divided by their number: with two
    classes that of the Bernoulli distribution, Eq. 6.

    Parameters
    ----------
    y : array-like of int, shape (n,), or array-like of shape (n, classes)
        Classes from 0 to classes - 1, or a row of probabilities for each image (one-hot).
    p : array-like of shape (n, classes)
        Probabilities, or the raw predictions z of Eq. 18 if ``from_logits``.
    from_logits : bool
        Raw predictions are exact also where probabilities would round to 0 or 1.

    Returns
    -------
    float
        0 or larger; infinite where a probability is 0 for what happened.
    """
    p = _check_predictions(p, from_logits)
    y = _one_hot(y, p)
    if from_logits:
        with np.errstate(over="ignore"):
            shifted = p - p.max(axis=1, keepdims=True)
        log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    else:
        with np.errstate(divide="ignore"):
            log_p = np.log(p, out=np.zeros_like(p), where=y > 0)
    return abs(float(np.sum(np.multiply(y, log_p, out=np.zeros_like(p), where=y > 0)) / len(p)))


def cross_entropy_backward(y: ArrayLike, p: ArrayLike, from_logits: bool = False) -> Array:
    """Gradient of :func:`cross_entropy` with respect to ``p``, of its shape.

    ``(softmax(z) - y) / n`` for raw predictions z, ``-y / (n * p)`` for probabilities.
    """
    p = _check_predictions(p, from_logits)
    y = _one_hot(y, p)
    if from_logits:
        return (softmax(p) - y) / len(p)
    with np.errstate(divide="ignore"):
        return -np.divide(y, len(p) * p, out=np.zeros_like(p), where=y > 0)


def _check_predictions(p: ArrayLike, from_logits: bool) -> Array:
    p = _array("p", p, 2)
    if not from_logits and (p.min() < 0 or np.abs(p.sum(axis=1) - 1).max() > 1e-3):
        raise ValueError(
            "p has negative entries or rows that do not sum to 1; give probabilities, or raw "
            "predictions with from_logits=True."
        )
    return p


def _one_hot(y: ArrayLike, p: Array) -> Array:
    """Labels as rows of probabilities, in the shape and type of the predictions p."""
    y = np.asarray(y)
    n, classes = p.shape
    if y.shape == p.shape:
        y = _array("y", y)
        if y.min() < 0 or np.abs(y.sum(axis=1) - 1).max() > 1e-3:
            raise ValueError("y has negative entries or rows that do not sum to 1.")
        return y.astype(p.dtype)
    return np.eye(classes, dtype=p.dtype)[_labels(y, n, classes)]


def _labels(y: ArrayLike, n: int, classes: int) -> NDArray[np.int_]:
    """Labels of n images, checked."""
    y = np.asarray(y)
    if y.shape != (n,):
        raise ValueError(f"y has shape {y.shape}; it must be ({n},), a class for each image.")
    allowed = np.isin(y, np.arange(classes))
    if not allowed.all():
        raise ValueError(
            f"y has the label {y[~allowed][0]}; with predictions for {classes} classes, labels "
            f"are whole numbers from 0 to {classes - 1}."
        )
    return y.astype(int)


# --------------------------------------------------------------------------------------
# Initialization, regularization, scaling (section 3.7)
# --------------------------------------------------------------------------------------


def glorot_normal(
    shape: Sequence[int], seed: int | np.random.Generator = 0, dtype: DTypeLike = np.float64
) -> Array:
    """Draw the kernel of a new layer as Keras's ``glorot_normal`` does (compare Eq. 29).

    Normal, mean 0, variance ``2 / (fan_in + fan_out)``. Two things differ from Eq. 29:

    - its u are the *output units* of the layers; Glorot and Bengio's are the
      connections into and out of a unit: height * width * channels of the kernel, of its
      input and of its output. For a dense layer that is the same, for a convolution not.
    - Keras draws from a normal distribution *cut off* at two of its standard
      deviations, and makes that wider by 1 / 0.8796, so that the variance is as said.

    Parameters
    ----------
    shape : sequence of int
        (features, units) or (height, width, input channels, output channels).
    seed : int or Generator
    dtype : data type

    Returns
    -------
    ndarray of the given shape
    """
    shape = tuple(shape)
    if len(shape) not in (2, 4):
        raise ValueError(f"shape is {shape}; it must have 2 entries (dense) or 4 (convolution).")
    for entry in shape:
        _check_integer("an entry of shape", entry)
    receptive_field = math.prod(shape[:-2])
    fan_in, fan_out = receptive_field * shape[-2], receptive_field * shape[-1]
    rng = np.random.default_rng(seed)
    values = rng.standard_normal(shape)
    while np.any(outside := np.abs(values) > 2):
        values[outside] = rng.standard_normal(np.count_nonzero(outside))
    deviation_when_cut = 0.87962566103423978
    return (values * math.sqrt(2 / (fan_in + fan_out)) / deviation_when_cut).astype(dtype)


def l2_penalty(kernels: Sequence[ArrayLike], alphas: Sequence[float]) -> float:
    """L2 penalty, ``sum(alpha_p / 2 * sum(K_p**2))`` over the layers p.

    Eq. 30 with its alpha_p, which depends on p, inside the sum. Keras's ``L2(a)`` has
    no 1/2: its a is alpha / 2. The penalty shrinks parameters; it makes none exactly zero.
    """
    arrays = _check_penalty(kernels, alphas)
    return float(sum(a / 2 * np.sum(k**2) for k, a in zip(arrays, alphas, strict=True)))


def l2_penalty_backward(kernels: Sequence[ArrayLike], alphas: Sequence[float]) -> list[Array]:
    """Gradients of :func:`l2_penalty` with respect to the kernels: ``alpha_p * K_p``."""
    arrays = _check_penalty(kernels, alphas)
    return [a * k for k, a in zip(arrays, alphas, strict=True)]


def _check_penalty(kernels: Sequence[ArrayLike], alphas: Sequence[float]) -> list[Array]:
    if len(kernels) != len(alphas):
        raise ValueError(f"alphas has {len(alphas)} entries; kernels has {len(kernels)}.")
    if not all(math.isfinite(alpha) and alpha >= 0 for alpha in alphas):
        raise ValueError(f"alphas is {alphas!r}; each must be a finite number of at least 0.")
    return [_array("kernels", kernel) for kernel in kernels]


def dropout(x: ArrayLike, rate: float, seed: int) -> Array:
    """Set entries to zero at random and inflate the others (section 3.7.2).

    Parameters
    ----------
    x : array-like of any shape
    rate : float
        Probability of zero, in [0, 1); the others are divided by ``1 - rate``, so that the
        expected value of each entry stays what it was.
    seed : int
        The same seed drops the same entries: give :func:`dropout_backward` that of the
        forward pass, and every forward pass a new one.

    Returns
    -------
    ndarray of the shape of x
    """
    x = _array("x", x)
    return x * _kept(x, rate, seed)


def dropout_backward(grad: ArrayLike, rate: float, seed: int) -> Array:
    """Gradient of :func:`dropout` with the same rate and seed."""
    return dropout(_array("grad", grad), rate, seed)


def _kept(x: Array, rate: float, seed: int) -> Array:
    """0 where an entry is dropped, 1 / (1 - rate) elsewhere."""
    rate = _fraction("rate", rate)
    if not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ValueError(f"seed is {seed!r}; it must be an integer of at least 0.")
    kept = np.random.default_rng(seed).random(x.shape) >= rate
    return kept.astype(x.dtype) / (1 - rate)


def rescale(x: ArrayLike, low: float = 0.0, high: float = 255.0) -> Array:
    """Map the range from ``low`` to ``high`` onto 0 to 1 (section 3.7.3), linearly."""
    if not high > low:
        raise ValueError(f"high is {high!r}; it must be above low, {low!r}.")
    return (_array("x", x) - low) / (high - low)


def standardize(x: ArrayLike, reference: ArrayLike) -> Array:
    """Subtract the mean and divide by the standard deviation of each feature (section 3.7.3).

    Parameters
    ----------
    x : array-like of shape (n, ...)
    reference : array-like of shape (m, ...)
        Where mean and standard deviation are taken: the training images, for any ``x``.
        A feature that is constant there is only centered.

    Returns
    -------
    ndarray of the shape of x
    """
    reference = _array("reference", reference)
    x = _array("x", x, (None, *reference.shape[1:]))
    deviation = reference.std(axis=0)
    constant = np.ptp(reference, axis=0) == 0
    return (x - reference.mean(axis=0)) / np.where(constant, 1, deviation)


class EarlyStopping:
    """Stop when the validation loss no longer falls (section 3.7.2).

    Parameters
    ----------
    patience : int
        Epochs without a new lowest loss after which training stops; at least 1.

    Attributes
    ----------
    best_loss : float
    best_epoch : int
        Counted from 1.
    best_weights : list of ndarray
        Copies of the weights after the best epoch (Keras: ``restore_best_weights=True``).
    """

    epoch: int
    best_epoch: int
    best_loss: float
    best_weights: list[Array]

    def __init__(self, patience: int = 2) -> None:
        _check_integer("patience", patience)
        self.patience = patience
        self.reset()

    def reset(self) -> None:
        """Forget what was seen, as :meth:`Sequential.fit` does before it starts."""
        self.epoch = self.best_epoch = 0
        self.best_loss = math.inf
        self.best_weights = []

    def update(self, loss: float, weights: Sequence[Array]) -> bool:
        """Note the loss of one more epoch; return True if training should stop."""
        self.epoch += 1
        if loss < self.best_loss:
            self.best_loss, self.best_epoch = loss, self.epoch
            self.best_weights = [array.copy() for array in weights]
        return self.epoch - self.best_epoch >= self.patience


# --------------------------------------------------------------------------------------
# Optimizers (sections 3.5 and 3.6, Eq. 19 and 23 to 28)
# --------------------------------------------------------------------------------------


class SGD:
    """Gradient descent (Eq. 19, 23); stochastic when the gradient is that of a batch (Eq. 24)."""

    def __init__(self, learning_rate: float = 0.01) -> None:
        self.learning_rate = _positive("learning_rate", learning_rate)

    def apply(self, gradients: Sequence[Array], weights: Sequence[Array]) -> None:
        """Take one step: change ``weights`` in place, given the gradients of the mean loss."""
        for gradient, weight in _matched(gradients, weights):
            weight -= self.learning_rate * gradient


class Momentum:
    """SGD with a velocity (Eq. 25): the exponentially weighted *sum* of past steps."""

    def __init__(self, learning_rate: float = 0.01, momentum: float = 0.9) -> None:
        self.learning_rate = _positive("learning_rate", learning_rate)
        self.momentum = _fraction("momentum", momentum)
        self.velocities: list[Array] = []

    def apply(self, gradients: Sequence[Array], weights: Sequence[Array]) -> None:
        """Take one step: change ``weights`` in place, given the gradients of the mean loss."""
        self.velocities = self.velocities or [np.zeros_like(weight) for weight in weights]
        pairs = _matched(gradients, weights)
        for (gradient, weight), velocity in zip(pairs, self.velocities, strict=True):
            velocity *= self.momentum
            velocity -= self.learning_rate * gradient
            weight += velocity


class Adam:
    """Adam as in Eq. 26 to 28: each weight has a step size of its own.

    Parameters
    ----------
    learning_rate : float
    beta_1, beta_2 : float
        Decay rates, rho in the thesis, in [0, 1) (not in [0, 1]: at 1 Eq. 27 divides by 0).
    epsilon : float or callable
        delta in Eq. 26, added to the root of the *bias-corrected* second moment. A
        callable gives its value at step t = 1, 2, ...; see :func:`keras_epsilon`.
    """

    def __init__(
        self,
        learning_rate: float = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float | Callable[[int], float] = 1e-8,
    ) -> None:
        self.learning_rate = _positive("learning_rate", learning_rate)
        self.beta_1, self.beta_2 = _fraction("beta_1", beta_1), _fraction("beta_2", beta_2)
        self.epsilon = epsilon if callable(epsilon) else _positive("epsilon", epsilon)
        self.t = 0
        self.first: list[Array] = []
        self.second: list[Array] = []

    def apply(self, gradients: Sequence[Array], weights: Sequence[Array]) -> None:
        """Take one step: change ``weights`` in place, given the gradients of the mean loss."""
        self.first = self.first or [np.zeros_like(weight) for weight in weights]
        self.second = self.second or [np.zeros_like(weight) for weight in weights]
        self.t += 1
        epsilon = self.epsilon(self.t) if callable(self.epsilon) else self.epsilon
        pairs = _matched(gradients, weights)
        for (g, weight), s, r in zip(pairs, self.first, self.second, strict=True):
            s += (1 - self.beta_1) * (g - s)
            r += (1 - self.beta_2) * (g * g - r)
            s_hat = s / (1 - self.beta_1**self.t)
            r_hat = r / (1 - self.beta_2**self.t)
            weight -= self.learning_rate * s_hat / (np.sqrt(r_hat) + epsilon)


def keras_epsilon(epsilon: float = 1e-7, beta_2: float = 0.999) -> Callable[[int], float]:
    """Convert Keras's epsilon: ``Adam(epsilon=keras_epsilon(1e-7))`` is Keras's Adam.

    Keras adds epsilon before the bias correction: it divides by
    ``sqrt(r) + epsilon`` and multiplies by ``sqrt(1 - beta_2**t)``. In Eq. 26 this is
    ``delta = epsilon / sqrt(1 - beta_2**t)``: 32 times epsilon at the first step, for the
    defaults, then falling to epsilon. (Keras's default is 1e-7, the thesis's delta 1e-8.)
    """
    return lambda t: epsilon / math.sqrt(1 - beta_2**t)


def _matched(gradients: Sequence[Array], weights: Sequence[Array]) -> Iterator[tuple[Array, Array]]:
    shapes = [np.shape(array) for array in gradients], [np.shape(array) for array in weights]
    if shapes[0] != shapes[1]:
        raise ValueError(f"gradients have the shapes {shapes[0]}; the weights have {shapes[1]}.")
    if not all(isinstance(weight, np.ndarray) and weight.dtype.kind == "f" for weight in weights):
        raise ValueError("weights must be arrays of floats: they are changed in place.")
    return zip(gradients, weights, strict=True)


# --------------------------------------------------------------------------------------
# Layers and a network (section 3.8, Fig. 5)
# --------------------------------------------------------------------------------------


class Layer:
    """One step of a network: it remembers its input and sends gradients back.

    Attributes
    ----------
    weights, gradients : list of ndarray
        Kernel and bias and, after ``backward``, their gradients; both empty for a layer
        without parameters.
    l2 : float
        Penalty strength of the kernel, alpha in Eq. 30.
    """

    l2 = 0.0

    def build(self, inputs: int, rng: np.random.Generator, dtype: DTypeLike) -> None:
        """Make the weights for ``inputs`` channels or features."""
        self.weights: list[Array] = []
        self.gradients: list[Array] = []

    def forward(self, x: Array, training: bool) -> Array:
        """Return the output for a batch; ``training`` switches dropout on."""
        raise NotImplementedError

    def backward(self, grad: Array) -> Array:
        """Take the gradient of the output, keep those of the weights, return that of the input."""
        raise NotImplementedError


class Conv2D(Layer):
    """Convolution with ``filters`` kernels (:func:`conv2d`); ``l2`` is alpha in Eq. 30."""

    def __init__(
        self,
        filters: int,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: Padding = "valid",
        l2: float = 0.0,
    ) -> None:
        self.filters, self.kernel_size, self.l2 = filters, _pair("kernel_size", kernel_size), l2
        self.stride, self.padding = stride, padding

    def build(self, inputs: int, rng: np.random.Generator, dtype: DTypeLike) -> None:
        kernel = glorot_normal((*self.kernel_size, inputs, self.filters), rng, dtype)
        self.weights = [kernel, np.zeros(self.filters, dtype)]

    def forward(self, x: Array, training: bool) -> Array:
        self.x = x
        kernel, bias = self.weights
        return conv2d(x, kernel, bias, self.stride, self.padding)

    def backward(self, grad: Array) -> Array:
        kernel, _ = self.weights
        dx, *self.gradients = conv2d_backward(grad, self.x, kernel, self.stride, self.padding)
        return dx


class Dense(Layer):
    """Fully connected layer (:func:`dense`); ``l2`` is alpha in Eq. 30."""

    def __init__(self, units: int, l2: float = 0.0) -> None:
        self.units, self.l2 = units, l2

    def build(self, inputs: int, rng: np.random.Generator, dtype: DTypeLike) -> None:
        kernel = glorot_normal((inputs, self.units), rng, dtype)
        self.weights = [kernel, np.zeros(self.units, dtype)]

    def forward(self, x: Array, training: bool) -> Array:
        self.x = x
        return dense(x, *self.weights)

    def backward(self, grad: Array) -> Array:
        kernel, _ = self.weights
        dx, *self.gradients = dense_backward(grad, self.x, kernel)
        return dx


class _Function(Layer):
    """A layer without parameters, made of a function and its backward pass."""

    def __init__(self, function: Callable, function_backward: Callable, *settings: Any) -> None:
        self.function, self.function_backward = function, function_backward
        self.settings = settings

    def forward(self, x: Array, training: bool) -> Array:
        self.x = x
        return self.function(x, *self.settings)

    def backward(self, grad: Array) -> Array:
        return self.function_backward(grad, self.x, *self.settings)


class Activation(_Function):
    """One of "relu", "leaky_relu", "sigmoid" and "tanh"."""

    def __init__(self, name: str) -> None:
        functions = {
            "relu": (relu, relu_backward),
            "leaky_relu": (leaky_relu, leaky_relu_backward),
            "sigmoid": (sigmoid, sigmoid_backward),
            "tanh": (tanh, tanh_backward),
        }
        super().__init__(*_choose("name", name, functions))


class Pooling2D(_Function):
    """Pooling of the kind "max", "average" or "l2_norm"."""

    def __init__(
        self,
        kind: str = "max",
        pool_size: Pair = 2,
        stride: Pair | None = None,
        padding: Padding = "valid",
    ) -> None:
        functions = {
            "max": (max_pool2d, max_pool2d_backward),
            "average": (average_pool2d, average_pool2d_backward),
            "l2_norm": (l2_norm_pool2d, l2_norm_pool2d_backward),
        }
        super().__init__(*_choose("kind", kind, functions), pool_size, stride, padding)


class Flatten(Layer):
    """Write the pixels and channels of each image into one row."""

    def forward(self, x: Array, training: bool) -> Array:
        self.shape = x.shape
        return x.reshape(len(x), -1)

    def backward(self, grad: Array) -> Array:
        return grad.reshape(self.shape)


class Dropout(Layer):
    """Drop entries while training (:func:`dropout`), with new random numbers every time."""

    def __init__(self, rate: float) -> None:
        self.rate = _fraction("rate", rate)

    def build(self, inputs: int, rng: np.random.Generator, dtype: DTypeLike) -> None:
        super().build(inputs, rng, dtype)
        self.rng = rng

    def forward(self, x: Array, training: bool) -> Array:
        self.seed = int(self.rng.integers(2**63)) if training else None
        return x if self.seed is None else dropout(x, self.rate, self.seed)

    def backward(self, grad: Array) -> Array:
        return grad if self.seed is None else dropout_backward(grad, self.rate, self.seed)


class Sequential:
    """A network of layers in a row, with softmax and cross-entropy at its end.

    Parameters
    ----------
    layers : sequence of Layer
        The last gives a raw prediction per class; softmax is part of the loss.
    input_shape : sequence of int
        Of one image, (height, width, channels), or of one row of features.
    seed : int
        Of the initial weights, the order of the batches and dropout.
    dtype : data type
        Of weights and computations; float32 as in Keras, float64 for proofs.

    Raises
    ------
    ValueError
        If a layer does not fit the output of the one before it; the message names it.

    Examples
    --------
    The network of Fig. 5, with 590,754 parameters:

    >>> network = Sequential(
    ...     [
    ...         Conv2D(32, 4), Activation("relu"), Pooling2D("max", 2), Flatten(),
    ...         Dense(128), Activation("relu"), Dense(2),
    ...     ],
    ...     input_shape=(28, 28, 1),
    ... )
    >>> network.count_params()
    590754
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        input_shape: Sequence[int],
        seed: int = 0,
        dtype: DTypeLike = np.float32,
    ) -> None:
        self.layers, self.input_shape = list(layers), tuple(input_shape)
        self.rng, self.dtype = np.random.default_rng(seed), dtype
        x = np.zeros((1, *self.input_shape), dtype)
        for number, layer in enumerate(self.layers):
            try:
                layer.build(x.shape[-1], self.rng, dtype)
                x = layer.forward(x, training=False)
            except ValueError as error:
                name = f"layers[{number}], {type(layer).__name__}"
                raise ValueError(f"{name}, on an input of {x.shape[1:]}: {error}") from error
        if x.ndim != 2:
            raise ValueError(f"layers end in an output of {x.shape[1:]}; end in Dense(classes).")
        self.classes = x.shape[1]

    @property
    def weights(self) -> list[Array]:
        """Kernels and biases of all layers, in Keras's order; change them in place."""
        return [array for layer in self.layers for array in layer.weights]

    @property
    def gradients(self) -> list[Array]:
        """Gradients of the last batch, in the order of ``weights``."""
        return [array for layer in self.layers for array in layer.gradients]

    def count_params(self) -> int:
        """Return the number of parameters."""
        return sum(array.size for array in self.weights)

    def set_weights(self, weights: Sequence[ArrayLike]) -> None:
        """Copy ``weights`` into the network, for instance those of ``get_weights()`` in Keras."""
        arrays = [np.asarray(array) for array in weights]
        for new, old in _matched(arrays, self.weights):
            old[...] = new

    def forward(self, x: Array, training: bool = False) -> Array:
        """Raw predictions z (n, classes) for images (n, height, width, channels)."""
        for layer in self.layers:
            x = layer.forward(x, training)
        return x

    def backward(self, grad: Array) -> Array:
        """Backpropagation: from the gradient of z to that of the input, layer by layer."""
        for layer in reversed(self.layers):
            grad = layer.backward(grad)
            if layer.l2:
                layer.gradients[0] += layer.l2 * layer.weights[0]
        return grad

    def penalty(self) -> float:
        """L2 penalty of all layers (Eq. 30)."""
        penalized = [layer for layer in self.layers if layer.l2]
        return l2_penalty([layer.weights[0] for layer in penalized], [p.l2 for p in penalized])

    def train_on_batch(self, x: ArrayLike, y: ArrayLike, optimizer: Any) -> tuple[float, float]:
        """Take one step of the optimizer.

        Returns
        -------
        loss, accuracy : float
            Of the batch, before the step; the loss includes the penalty.
        """
        x, y = self._data(x, y)
        z = self.forward(x, training=True)
        loss = cross_entropy(y, z, from_logits=True) + self.penalty()
        self.backward(cross_entropy_backward(y, z, from_logits=True))
        optimizer.apply(self.gradients, self.weights)
        return loss, float(np.mean(z.argmax(axis=1) == y))

    def fit(
        self,
        x: ArrayLike,
        y: ArrayLike,
        optimizer: Any,
        *,
        epochs: int = 1,
        batch_size: int = 32,
        validation_data: tuple[ArrayLike, ArrayLike] | None = None,
        early_stopping: EarlyStopping | None = None,
    ) -> dict[str, list[float]]:
        """Train on batches in a new random order every epoch.

        Parameters
        ----------
        x : array-like of shape (n, *input_shape)
        y : array-like of int, shape (n,)
            Classes from 0 to classes - 1.
        optimizer : SGD, Momentum or Adam
        epochs, batch_size : int
        validation_data : (x, y), optional
            Evaluated after every epoch.
        early_stopping : EarlyStopping, optional
            Watches the validation loss; at the end the best weights are put back.

        Returns
        -------
        dict of lists
            "loss" and "accuracy" per epoch (means over the batches, as training went on) and
            "val_loss" and "val_accuracy" with validation data.
        """
        x, y = self._data(x, y)
        _check_integer("epochs", epochs)
        _check_integer("batch_size", batch_size)
        if validation_data is not None:
            validation_data = self._data(*validation_data)
        elif early_stopping is not None:
            raise ValueError("early_stopping needs validation_data.")
        if early_stopping is not None:
            early_stopping.reset()
        history: dict[str, list[float]] = {}
        for _ in range(epochs):
            order = self.rng.permutation(len(x))
            batches = [order[start : start + batch_size] for start in range(0, len(x), batch_size)]
            results = [self.train_on_batch(x[batch], y[batch], optimizer) for batch in batches]
            means = np.average(results, axis=0, weights=[len(batch) for batch in batches])
            epoch = dict(zip(("loss", "accuracy"), means.tolist(), strict=True))
            if validation_data is not None:
                epoch["val_loss"], epoch["val_accuracy"] = self.evaluate(*validation_data)
            for name, value in epoch.items():
                history.setdefault(name, []).append(value)
            if early_stopping is not None and early_stopping.update(
                epoch["val_loss"], self.weights
            ):
                break
        if early_stopping is not None:
            self.set_weights(early_stopping.best_weights)
        return history

    def predict(self, x: ArrayLike) -> Array:
        """Probabilities (n, classes) for images (n, *input_shape)."""
        return softmax(self._raw_predictions(self._images(x)))

    def evaluate(self, x: ArrayLike, y: ArrayLike) -> tuple[float, float]:
        """Loss (with the penalty) and accuracy on labeled images."""
        x, y = self._data(x, y)
        z = self._raw_predictions(x)
        loss = cross_entropy(y, z, from_logits=True) + self.penalty()
        return loss, float(np.mean(z.argmax(axis=1) == y))

    def _raw_predictions(self, x: Array) -> Array:
        """Raw predictions in batches of 256, so that the patches fit into memory."""
        return np.concatenate([self.forward(x[i : i + 256]) for i in range(0, len(x), 256)])

    def _images(self, x: ArrayLike) -> Array:
        return _array("x", x, (None, *self.input_shape)).astype(self.dtype, copy=False)

    def _data(self, x: ArrayLike, y: ArrayLike) -> tuple[Array, NDArray[np.int_]]:
        x = self._images(x)
        return x, _labels(y, len(x), self.classes)


# --------------------------------------------------------------------------------------
# Checks
# --------------------------------------------------------------------------------------


def _array(name: str, value: ArrayLike, shape: int | Sequence[int | None] | None = None) -> Array:
    """Return an array of finite floats; ``shape`` is a number of axes or lengths (None: any)."""
    array = np.asarray(value)
    if not np.issubdtype(array.dtype, np.floating):
        if array.dtype.kind not in "biu":
            raise ValueError(f"{name} is of type {array.dtype}; it must hold real numbers.")
        array = array.astype(np.float64)
    if isinstance(shape, int):
        fits, expected = array.ndim == shape, f"{shape} axes"
    else:
        lengths = array.shape if shape is None else tuple(shape)
        fits = len(lengths) == array.ndim and all(
            length in (None, actual) for length, actual in zip(lengths, array.shape, strict=True)
        )
        expected = str(lengths).replace("None", "n")
    if not fits:
        raise ValueError(f"{name} has shape {array.shape}; it must have {expected}.")
    if array.size == 0:
        raise ValueError(f"{name} has shape {array.shape}: it is empty.")
    if not np.isfinite(array).all():
        raise ValueError(
            f"{name} has NaN or infinite entries; look at the data or, where training made "
            "them, lower the learning rate."
        )
    return array


def _check_integer(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{name} is {value!r}; it must be an integer of at least 1.")


def _pair(name: str, value: Pair) -> tuple[int, int]:
    pair = tuple(value) if isinstance(value, Sequence) else (value, value)
    if len(pair) != 2:
        raise ValueError(f"{name} is {value!r}; it must be an integer or a pair (rows, columns).")
    for entry in pair:
        _check_integer(name, entry)
    return pair


def _positive(name: str, value: float) -> float:
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} is {value!r}; it must be a finite number above 0.")
    return value


def _fraction(name: str, value: float) -> float:
    if not 0 <= value < 1:
        raise ValueError(f"{name} is {value!r}; it must be at least 0 and below 1.")
    return value


def _choose(name: str, value: str, functions: dict[str, Any]) -> Any:
    if value not in functions:
        raise ValueError(f"{name} is {value!r}; it must be one of {', '.join(functions)}.")
    return functions[value]
