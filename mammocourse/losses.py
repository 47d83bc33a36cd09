r"""Losses that rank: the AUC as an objective (AUC paper, sections 1 and 3).

The AUC is the fraction of pairs of a positive and a negative sample that the scores put in
the right order (Eq. 1). Its step function has no useful gradient, so each pair gets a
smooth surrogate instead; the paper's is ``-log(1 / (1 + exp(s_neg - s_pos)))`` (Eq. 4),
which is softplus of the difference.

* :func:`pairwise_auc_loss_reference`: the definition in NumPy, the oracle of the tests;
* :class:`PairwiseAUCLoss`: the mean over all pairs of a batch, exact or in time O(P + N);
* :class:`BufferedPairwiseAUCLoss`: the paper's online form, a batch against the scores
  of earlier batches;
* :class:`StratifiedBatches`: batches that all hold positive samples;
* :class:`ExactAUC`: the AUC of validation data as a callback that ``EarlyStopping`` watches.

The losses take what other Keras losses take: labels and scores of shape (n,) or (n, 1),
``sample_weight``, ``compile``, ``jit_compile``, mixed precision, saving and loading. They
are a mean over pairs, not over samples: a pair weighs the product of its two samples'
weights, and a batch of one class has loss 0 and gradient 0. Second derivatives are not
provided: the gradient is a constant to differentiation.

References
----------
Zhao, P., Hoi, S. C. H., Jin, R., Yang, T. (2011). Online AUC maximization. ICML.
Gao, W., Zhou, Z.-H. (2015). On the consistency of AUC pairwise optimization. IJCAI.
Vitter, J. S. (1985). Random sampling with a reservoir. ACM Transactions on Mathematical
Software 11, 37-57.
"""

from __future__ import annotations

import functools
import math
import numbers
import sys
import warnings
from types import FrameType
from typing import TYPE_CHECKING, Any, Literal

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike
from sklearn.metrics import roc_auc_score

from mammocourse import pairwise
from mammocourse.pairwise import DEGREES, GRIDS, Tensor, wide

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "BufferedPairwiseAUCLoss",
    "ExactAUC",
    "PairwiseAUCLoss",
    "StratifiedBatches",
    "pairwise_auc_loss_reference",
]

METHODS = ("exact", "interpolated", "auto")
REPLACEMENTS = ("all", "fifo", "reservoir")
NOT_BINARY = "holds values other than 0 and 1 (or -1 and 1); give 1 for positive samples."
CELLS = GRIDS[-1]
"""Cells of a buffer: it holds scores in (-16384, 16384)."""


def pairwise_auc_loss_reference(y: ArrayLike, s: ArrayLike) -> float:
    """Return the logistic pairwise loss by its definition (AUC paper, Eq. 1 and 4).

    Parameters
    ----------
    y : array_like of shape (n,)
        Labels, 1 for positive and 0 (or -1) for negative samples.
    s : array_like of shape (n,)
        Scores (logits): higher means more likely positive.

    Returns
    -------
    float
        Mean of ``log(1 + exp(s_neg - s_pos))`` over all pairs; 0 without a pair.

    Raises
    ------
    ValueError
        If a label is another number, or labels and scores are not two vectors of one length.

    Examples
    --------
    >>> round(pairwise_auc_loss_reference([1, 0, 0], [2.0, 2.0, 0.0]), 4)
    0.41
    """
    labels, scores = np.asarray(y), np.asarray(s, dtype=np.float64)
    if labels.ndim != 1 or labels.shape != scores.shape:
        raise ValueError(
            f"y has the shape {labels.shape} and s {scores.shape}; they must be vectors of one "
            "length."
        )
    if not np.isin(labels, [-1, 0, 1]).all():
        raise ValueError("y must hold 1 for positive and 0 (or -1) for negative samples.")
    positive, negative = scores[labels > 0], scores[labels <= 0]
    losses = np.logaddexp(0.0, negative[np.newaxis, :] - positive[:, np.newaxis])
    return float(losses.mean()) if losses.size else 0.0


@keras.saving.register_keras_serializable(package="mammocourse")
class PairwiseAUCLoss(keras.losses.Loss):
    r"""Mean of a surrogate loss over all positive-negative pairs of the batch.

    .. math:: L = \frac{1}{N_+ N_-} \sum_{i: y_i = 1} \sum_{j: y_j = 0} \ell(s_j - s_i)

    With ``sample_weight`` a pair weighs :math:`w_i w_j`, and the mean is weighted: a weight
    of 2 is the same as having the sample twice, and a weight common to a class (Keras's
    ``class_weight``) changes nothing. Only differences of scores matter, so a model trained
    with this loss has to be calibrated before its scores are read as probabilities.

    Parameters
    ----------
    surrogate : {"logistic", "squared_hinge", "squared"}
        Of a difference d = s_j - s_i: ``log(1 + exp(d))`` (Eq. 4), ``max(0, 1 + d)**2`` or
        ``(1 + d)**2``.
    method : {"exact", "interpolated", "auto"}
        "exact" visits all pairs, in tiles: time O(P N), memory O(P + N). "interpolated"
        needs time O(P + N): the logistic loss by a low-rank kernel, right to 3e-9 in the
        loss and in every component of the gradient; the squared hinge exactly, from sorted
        sums, O(n log n); the squared loss exactly, from means and variances. "auto" is
        "exact" up to 1,024 samples and "interpolated" beyond.
    from_logits : bool
        True: scores are any real numbers. False: they are probabilities, of which the
        logit is taken, after clipping to [1e-7, 1 - 1e-7] as Keras does.
    name, dtype
        As in :class:`keras.losses.Loss`, but "float32" or "float64" only. Without ``dtype``
        float64 scores stay float64, and all others are taken in float32.

    Notes
    -----
    Scores may have shape (n,), (n, 1), or (n, 2): two logits (or probabilities) count as
    the second minus the first. Labels are 1 (positive) and 0 or -1 (negative), weights
    finite and at least 0. Anything else is an error where the values are known; inside a
    compiled graph, where they are not, it makes the loss NaN. So does a score that is NaN
    or infinite.

    Under ``tf.distribute`` with several replicas each replica forms the pairs of its own
    part of the batch, and the gradients are averaged over the replicas: pairs across
    replicas are left out, so keep positive samples in every part.

    Raises
    ------
    ValueError
        If an argument is unknown, labels are not binary, weights are negative or not finite,
        or labels, scores and weights differ in length.

    Examples
    --------
    >>> loss = PairwiseAUCLoss()
    >>> round(float(loss([1, 0, 0], [2.0, 2.0, 0.0])), 4)
    0.41
    """

    def __init__(
        self,
        surrogate: Literal["logistic", "squared_hinge", "squared"] = "logistic",
        method: Literal["exact", "interpolated", "auto"] = "auto",
        from_logits: bool = True,
        *,
        name: str = "pairwise_auc",
        dtype: Any = None,
    ) -> None:
        _check_choice("surrogate", surrogate, tuple(pairwise.SURROGATES))
        _check_choice("method", method, METHODS)
        _check_choice("from_logits", from_logits, (True, False))
        super().__init__(name=name, dtype=dtype)
        self.surrogate = surrogate
        self.method = method
        self.from_logits = from_logits
        self._own_dtype = _own_dtype(dtype, self)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Return the unweighted loss, shape ()."""
        return self(y_true, y_pred)

    def __call__(
        self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> Tensor:
        """Return the loss, shape (), as a tensor that knows its gradient."""
        scores = _scores(y_pred, self.from_logits, self._own_dtype)
        positive, weights = _labels_and_weights(y_true, sample_weight, scores)
        value, gradient = pairwise.pairwise_loss(
            positive, ops.stop_gradient(scores), weights, self.surrogate, self.method
        )
        return _per_replica(_with_gradient(value, gradient, scores))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments, for saving."""
        return {
            "surrogate": self.surrogate,
            "method": self.method,
            "from_logits": self.from_logits,
            "name": self.name,
            "dtype": self._own_dtype,
        }


@keras.saving.register_keras_serializable(package="mammocourse")
class BufferedPairwiseAUCLoss(keras.losses.Loss):
    r"""The paper's online loss: a batch against the scores of earlier batches (section 3).

    Two buffers S+ and S- keep the scores that earlier samples had when they were seen. A
    sample is paired with the opposite buffer, and with the samples of the opposite class
    in its own batch; the loss is the mean over these pairs,

    .. math:: L_t = \frac{1}{M} \Big[
        \sum_{i \in B^+} \sum_{j \in S^- \cup B^-} \ell(s_j - s_i)
        + \sum_{j \in B^-} \sum_{i \in S^+} \ell(s_j - s_i) \Big],

    with M the number of pairs and the logistic surrogate of Eq. 4. The gradient passes
    through the scores of the current batch B only; those in the buffers are numbers. After
    the loss is computed, the batch enters the buffers. For batches of one sample this is
    the paper's algorithm, with the mean over the opposite buffer where the paper has the
    sum; while the buffers are empty it is :class:`PairwiseAUCLoss`.

    Scores in the buffers are stale: they were made by earlier weights. The callback
    therefore empties the buffers at the start of every epoch, and keeps validation data
    out of them. Keras does not tell a loss whether it trains or validates, so

    >>> loss = BufferedPairwiseAUCLoss()  # doctest: +SKIP
    >>> model.compile("adam", loss)  # doctest: +SKIP
    >>> model.fit(x, y, validation_data=held_out, callbacks=[loss.callback()])  # doctest: +SKIP

    and validation data, or ``evaluate``, are an error for a loss that has had no callback yet.
    Validation never enters the buffers. Called directly, ``loss(y, s)`` records.

    What a step costs does not depend on how many scores the buffers hold: they are kept as
    the moments of cells (see :mod:`mammocourse.pairwise`), which are updated as scores
    enter and leave. The pairs inside the batch are all visited.

    Parameters
    ----------
    buffer_size : int or None
        Scores to keep of each class; None for all.
    replacement : {"all", "fifo", "reservoir"} or None
        "all" keeps every score, as the paper does, and needs no ``buffer_size``. "fifo"
        replaces the oldest one. "reservoir" keeps a uniform random sample of all seen
        (Vitter's algorithm R), the sub-sampling of Zhao et al. (2011) that the paper
        proposes. None is "all" without a ``buffer_size`` and "fifo" with one.
    from_logits : bool
        As in :class:`PairwiseAUCLoss`.
    seed : int
        Seed of the reservoir, at least 0.
    name, dtype
        As in :class:`keras.losses.Loss`.

    Notes
    -----
    TensorFlow backend and a single replica only: anything else is refused with an error.
    Every model (and every output) needs a loss of its own, or they share the buffers.
    Saving a model saves the arguments, not the buffers. Labels, scores and weights are those
    of :class:`PairwiseAUCLoss`; a score outside (-16384, 16384), too, makes the loss NaN.
    What makes the loss NaN does not enter the buffers.

    Raises
    ------
    ValueError
        If an argument is unknown or does not fit the others.
    RuntimeError
        On another backend, under several replicas, or when it validates without its callback.
    """

    def __init__(
        self,
        buffer_size: int | None = None,
        replacement: Literal["all", "fifo", "reservoir"] | None = None,
        from_logits: bool = True,
        *,
        seed: int = 0,
        name: str = "buffered_pairwise_auc",
        dtype: Any = None,
    ) -> None:
        if keras.backend.backend() != "tensorflow":
            raise RuntimeError(
                "BufferedPairwiseAUCLoss keeps state: a loss can do that on the TensorFlow backend "
                f"only; this is {keras.backend.backend()}. Use PairwiseAUCLoss."
            )
        if replacement is None:
            replacement = "all" if buffer_size is None else "fifo"
        _check_choice("replacement", replacement, REPLACEMENTS)
        _check_choice("from_logits", from_logits, (True, False))
        _check_buffer_size(buffer_size, replacement)
        _check_integer("seed", seed, 0)
        super().__init__(name=name, dtype=dtype)
        self.buffer_size = None if buffer_size is None else int(buffer_size)
        self.replacement = replacement
        self.from_logits = from_logits
        self.seed = int(seed)
        self._own_dtype = _own_dtype(dtype, self)
        self._has_callback = False
        self._make_state()

    def _make_state(self) -> None:
        """Create the variables; class 0 stands for negative, class 1 for positive samples."""
        import tensorflow as tf

        def variable(shape: tuple[int, ...], dtype: Any) -> tf.Variable:
            return tf.Variable(tf.zeros(shape, dtype), trainable=False)

        with tf.init_scope():
            self._recording = tf.Variable(True, trainable=False)
            self._moments = variable((2 * CELLS, DEGREES), tf.float64)
            self._held_weight = variable((2,), tf.float64)
            self._seen = variable((2,), tf.int64)
            self._reach = variable((), tf.float64)
            self._draws = variable((), tf.int64)
            self._state = [self._moments, self._held_weight, self._seen, self._reach]
            if self._bounded:
                room = self._dropped + 1
                self._positions = variable((room,), tf.float64)
                self._position_weights = variable((room,), tf.float64)
                self._state += [self._positions, self._position_weights]

    def reset(self) -> None:
        """Empty the buffers, and record again where an interrupted validation had paused it."""
        import tensorflow as tf

        self._recording.assign(True)
        for variable in self._state:
            variable.assign(tf.zeros_like(variable))

    def callback(self) -> keras.callbacks.Callback:
        """Return the callback that empties the buffers each epoch and guards validation.

        Give one to every `fit`: without it, a later `fit` goes on with the buffers of the last.
        """
        return _BufferKeeper(self)

    @property
    def counts(self) -> tuple[int, int]:
        """How many positive and how many negative scores the buffers hold."""
        negative, positive = (int(count) for count in np.asarray(self._seen))
        size = self._size if self._bounded else max(positive, negative)
        return min(positive, size), min(negative, size)

    @property
    def _bounded(self) -> bool:
        return self.replacement != "all"

    @property
    def _size(self) -> int:
        return int(self.buffer_size or 0)

    def scores(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the positive and the negative scores in the buffers, for "fifo" and "reservoir".

        Raises
        ------
        RuntimeError
            With ``replacement="all"``, where only moments are kept.
        """
        if not self._bounded:
            raise RuntimeError('replacement="all" keeps sums, not scores; use "fifo" to see them.')
        positive, negative = self.counts
        places = np.asarray(self._positions)[:-1].reshape(2, -1)
        return -places[1, :positive], places[0, :negative]

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Return the unweighted loss, shape (), and record the batch."""
        return self(y_true, y_pred)

    def __call__(
        self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> Tensor:
        """Return the loss, shape (), and record the batch."""
        recording = self._may_record()
        scores = _scores(y_pred, self.from_logits, self._own_dtype)
        positive, weights = _labels_and_weights(y_true, sample_weight, scores)
        if scores.shape[0] == 0:
            return ops.sum(scores)
        fixed = wide(ops.stop_gradient(scores))
        value, gradient = self._loss_and_gradient(positive, fixed, weights)
        if recording:
            self._record(positive, fixed, ops.where(self._recording, weights, 0.0))
        return _with_gradient(value, gradient, scores)

    def _may_record(self) -> bool:
        """Tell whether this call trains; refuse what would spoil the buffers."""
        if _replicas() > 1:
            raise RuntimeError(
                "BufferedPairwiseAUCLoss keeps one buffer and cannot be shared by "
                f"{_replicas()} replicas; train on one, or use PairwiseAUCLoss."
            )
        validating = _inside_test_step()
        if validating and not self._has_callback:
            raise RuntimeError(
                "Validation would write its scores into the buffers of BufferedPairwiseAUCLoss. "
                "Add callbacks=[loss.callback()] to fit() or evaluate()."
            )
        return not validating

    def _loss_and_gradient(
        self, positive: Tensor, scores: Tensor, weights: Tensor
    ) -> pairwise.ValueAndGradient:
        """Return the mean loss over the pairs that a batch brings, and its gradient."""
        w, v = ops.where(positive, weights, 0.0), ops.where(positive, 0.0, weights)
        new = ops.sum(w) * ops.sum(v)
        new_loss, new_gradient = pairwise.pairwise_loss(
            positive, scores, weights, "logistic", "exact"
        )
        negatives, positives = ops.unstack(self._held_weight, 2)
        old = ops.sum(weights * ops.where(positive, negatives, positives))
        old_loss, old_slope = self._meet_buffers(positive, scores)
        loss = new * new_loss + ops.sum(weights * old_loss)
        gradient = new * new_gradient + pairwise.mirror(weights * old_slope, w)
        return ops.divide_no_nan(loss, new + old), ops.divide_no_nan(gradient, new + old)

    def _meet_buffers(self, positive: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Return each sample's summed loss and slope against the opposite buffer, shape (n,)."""
        import tensorflow as tf

        classes, positions, inside = _on_axis(positive, scores)
        cell, polynomials = pairwise.locate(positions, CELLS)
        reach = ops.max(ops.where(inside, ops.abs(positions), np.inf))

        def on_grid(cells: int) -> tuple[Tensor, Tensor]:
            below = (CELLS - cells) // 2
            grid = np.arange(below, below + cells)
            moments = tf.gather(self._moments, np.concatenate([grid, CELLS + grid]))
            rows = pairwise.opposite(classes, cell - below, cells)
            return pairwise.evaluate(pairwise.meet(moments, rows), polynomials)

        def nowhere() -> tuple[Tensor, Tensor]:
            lost = np.nan * polynomials[:, 0]
            return lost, lost

        branches = [functools.partial(on_grid, cells) for cells in GRIDS]
        grid = pairwise.smallest_grid(ops.maximum(reach, self._reach))
        return ops.switch(grid, [*branches, nowhere])

    def _record(self, positive: Tensor, scores: Tensor, weights: Tensor) -> None:
        """Let samples of positive weight enter, and those leave whose places they take."""
        import tensorflow as tf

        classes, positions, inside = _on_axis(positive, scores)
        weights = tf.where(inside & (weights > 0), weights, 0.0)  # 0 for NaN
        entering = tf.one_hot(classes, 2, dtype=tf.int64) * tf.cast(weights > 0, tf.int64)[:, None]
        arrivals = self._seen + tf.cumsum(entering, exclusive=True)
        arrivals = tf.gather(arrivals, classes, batch_dims=1)
        self._seen.assign_add(tf.reduce_sum(entering, axis=0))
        reach = tf.reduce_max(tf.where(weights > 0, tf.abs(positions), 0.0))
        self._reach.assign(tf.maximum(self._reach, reach))
        if self._bounded:
            places = self._places(classes, arrivals, weights > 0)
            last, places = _last_to_come(places, self._dropped)
            classes, positions, weights = (
                tf.gather(values, last) for values in (classes, positions, weights)
            )
            leaving = tf.gather(self._position_weights, places)
            self._add(classes, tf.gather(self._positions, places), -leaving)
            weights = tf.where(places < self._dropped, weights, 0.0)
            self._positions.scatter_nd_update(places[:, None], positions)
            self._position_weights.scatter_nd_update(places[:, None], weights)
        self._add(classes, positions, weights)

    @property
    def _dropped(self) -> int:
        """The place behind both buffers: what is not kept goes there, with weight 0."""
        return 2 * self._size

    def _places(self, classes: Tensor, arrivals: Tensor, entering: Tensor) -> Tensor:
        """Return the place of each sample, shape (n,), int64: that of the k-th of its class.

        "fifo" fills the buffer again and again. "reservoir" gives the k-th sample (from 0) a
        random place from 0 to k; outside the buffer it is dropped.
        """
        import tensorflow as tf

        if self.replacement == "fifo":
            place = arrivals % self._size
        else:
            seeds = tf.stack([tf.constant(self.seed, tf.int64), self._draws.read_value()])
            self._draws.assign_add(1)
            bits = tf.random.stateless_uniform(  # integers: the same with and without XLA
                tf.shape(arrivals), seeds, None, None, tf.int32, alg="philox"
            )
            uniform = 0.5 + tf.cast(bits, tf.float64) / 2.0**32
            drawn = tf.cast(tf.floor(uniform * tf.cast(arrivals + 1, tf.float64)), tf.int64)
            place = tf.where(arrivals < self._size, arrivals, drawn)
        taken = entering & (place < self._size)
        return tf.where(taken, tf.cast(classes, tf.int64) * self._size + place, self._dropped)

    def _add(self, classes: Tensor, positions: Tensor, weights: Tensor) -> None:
        """Add weighted samples to the moments of their cells; negative weights take away."""
        cell, polynomials = pairwise.locate(positions, CELLS)
        rows = classes * CELLS + cell
        self._moments.scatter_nd_add(rows[:, None], polynomials * weights[:, None])
        self._held_weight.assign_add(ops.segment_sum(weights, classes, 2))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments, for saving; the buffers are not saved."""
        return {
            "buffer_size": self.buffer_size,
            "replacement": self.replacement,
            "from_logits": self.from_logits,
            "seed": self.seed,
            "name": self.name,
            "dtype": self._own_dtype,
        }


class _BufferKeeper(keras.callbacks.Callback):
    """Empties the buffers at the start of every epoch; no recording during validation."""

    def __init__(self, loss: BufferedPairwiseAUCLoss) -> None:
        super().__init__()
        self._loss = loss

    def on_train_begin(self, logs: Any = None) -> None:
        self._loss._has_callback = True
        self._loss._recording.assign(True)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._loss.reset()

    def on_test_begin(self, logs: Any = None) -> None:
        self._loss._has_callback = True
        self._loss._recording.assign(False)

    def on_test_end(self, logs: Any = None) -> None:
        self._loss._recording.assign(True)


class StratifiedBatches(keras.utils.PyDataset):
    """Batches that all hold their share of positive samples, in a new order every epoch.

    With rare positive samples many random batches hold none, and teach a pairwise loss
    nothing. Here the samples of each class are dealt out evenly: the batches differ by at
    most one positive and one negative sample.

    Parameters
    ----------
    x : array_like of shape (n, ...)
    y : array_like of shape (n,)
        Labels, 1 for positive and 0 (or -1) for negative samples.
    batch_size : int
        Largest number of samples in a batch, at least 2.
    positive_fraction : float or None
        None: every sample once per epoch. Otherwise the share of positive samples, in
        (0, 1): every negative sample once per epoch, and positive ones as often as that
        takes (oversampling, where the share is above the prevalence).
    seed : int
        Seed of the order.
    **kwargs
        As in :class:`keras.utils.PyDataset`: ``workers`` and so on.

    Raises
    ------
    ValueError
        If labels are not binary, a class is missing, or there are more batches than positive
        (negative) samples.
    """

    def __init__(
        self,
        x: ArrayLike,
        y: ArrayLike,
        batch_size: int,
        *,
        positive_fraction: float | None = None,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._x, self._y = np.asarray(x), np.asarray(y).reshape(-1)
        self._members = _members(self._x, self._y)
        _check_integer("batch_size", batch_size, 2)
        positive, negative = (len(self._members[label]) for label in (1, 0))
        if positive_fraction is not None:
            if not isinstance(positive_fraction, numbers.Real) or not 0 < positive_fraction < 1:
                raise ValueError(f"positive_fraction is {positive_fraction}; it must be in (0, 1).")
            positive = round(negative * positive_fraction / (1 - positive_fraction))
        self._counts = {1: positive, 0: negative}
        self._batches = -(-(positive + negative) // batch_size)
        if min(positive, negative) < self._batches:
            raise ValueError(
                f"{positive} positive and {negative} negative samples cannot fill {self._batches} "
                "batches with both classes; raise batch_size or positive_fraction."
            )
        self._rng = np.random.default_rng(seed)
        self.on_epoch_end()

    def __len__(self) -> int:
        """Return the number of batches of an epoch."""
        return self._batches

    def __getitem__(self, index: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return images and labels of one batch."""
        chosen = self._order[index]
        return self._x[chosen], self._y[chosen]

    def on_epoch_end(self) -> None:
        """Deal the samples out anew."""
        positive, negative = (
            np.array_split(self._draw(label, count), self._batches)
            for label, count in self._counts.items()
        )
        pairs = zip(positive, reversed(negative), strict=True)
        self._order = [self._rng.permutation(np.concatenate(pair)) for pair in pairs]

    def _draw(self, label: int, count: int) -> NDArray[np.intp]:
        """Return ``count`` samples of a class in random order, all equally often (+-1)."""
        members = self._members[label]
        rounds = -(-count // len(members))
        return np.concatenate([self._rng.permutation(members) for _ in range(rounds)])[:count]


class ExactAUC(keras.callbacks.Callback):
    """The exact AUC of held-out data after every epoch, ties counted 1/2.

    ``keras.metrics.AUC`` uses fixed thresholds and can be far off where scores crowd. This
    callback ranks the scores and writes the AUC into the logs, so that ``History`` has it
    and ``EarlyStopping(monitor="val_auc", mode="max")`` can watch it: put it first.

    Parameters
    ----------
    x : array_like of shape (n, ...)
    y : array_like of shape (n,)
        Labels, 1 for positive and 0 (or -1) for negative samples; both classes.
    name : str
        Name in the logs.
    batch_size : int
        Samples that pass through the network at a time.

    Raises
    ------
    ValueError
        If labels are not binary, a class is missing, or x and y differ in length; in training
        if the model has more than two outputs.
    """

    def __init__(
        self, x: Any, y: ArrayLike, name: str = "val_auc", *, batch_size: int = 256
    ) -> None:
        super().__init__()
        self._x, self._y = x, np.asarray(y).reshape(-1)
        _members(self._x, self._y)
        self._name = name
        self._batch_size = batch_size

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Add the AUC to the logs; NaN if a score is not finite."""
        outputs = self.model.predict(self._x, batch_size=self._batch_size, verbose=0)
        columns = np.asarray(outputs, np.float64).reshape(len(self._y), -1)
        if columns.shape[1] > 2:
            raise ValueError(f"ExactAUC: the model has {columns.shape[1]} outputs; give 1 or 2.")
        scores = columns[:, 1] - columns[:, 0] if columns.shape[1] == 2 else columns[:, 0]
        if logs is not None:
            finite = np.isfinite(scores).all()
            logs[self._name] = float(roc_auc_score(self._y, scores)) if finite else math.nan


def _on_axis(positive: Tensor, scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return classes and positions of samples, and which are on the grid (the others: at 0)."""
    positions = ops.where(positive, -scores, scores)
    inside = ops.abs(positions) < CELLS  # False for NaN
    return ops.cast(positive, "int32"), ops.where(inside, positions, 0.0), inside


def _inside_test_step() -> bool:
    """Tell whether Keras is validating: it says so to nobody but its own ``test_step``."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        owner = frame.f_locals.get("self")
        if frame.f_code.co_name.endswith("test_step") and isinstance(owner, keras.Model):
            return True
        frame = frame.f_back
    return False


def _last_to_come(places: Tensor, dropped: int) -> tuple[Tensor, Tensor]:
    """Give each place to the last sample that asks for it, as if they came one by one.

    Parameters
    ----------
    places : tensor of shape (n,), int64
        The place that each sample asks for.
    dropped : int
        The place of those that lose theirs.

    Returns
    -------
    samples, places : tensors of shape (n,), int64
        The samples in another order, and the places they get.
    """
    import tensorflow as tf

    n = tf.shape(places, out_type=tf.int64)[0]
    ordered = tf.sort(places * n + tf.range(n))
    samples, places = ordered % n, ordered // n
    is_last = tf.concat([places[1:] != places[:-1], tf.ones_like(places[:1], tf.bool)], 0)
    return samples, tf.where(is_last, places, dropped)


def _members(x: Any, y: NDArray[Any]) -> dict[int, NDArray[np.intp]]:
    """Return the indices of the positive (1) and of the negative (0) samples."""
    if len(x) != len(y):
        raise ValueError(f"x has {len(x)} samples for {len(y)} labels in y; give one per sample.")
    if not np.isin(y, (-1, 0, 1)).all():
        raise ValueError(f"y {NOT_BINARY}")
    members = {1: np.flatnonzero(y > 0), 0: np.flatnonzero(y <= 0)}
    if not all(map(len, members.values())):
        raise ValueError("y must hold both classes: one class has no pairs and no AUC.")
    return members


def _scores(y_pred: Tensor, from_logits: bool, dtype: Any) -> Tensor:
    """Return one score per sample, shape (n,), in float32 or float64."""
    scores = _real_tensor("y_pred", y_pred)
    shape = tuple(scores.shape)
    columns = 1 if len(shape) == 1 else shape[-1] if len(shape) == 2 else None
    if columns not in (1, 2):
        raise ValueError(f"y_pred has shape {shape}; it must be (n,), (n, 1) or (n, 2).")
    own = keras.backend.standardize_dtype(scores.dtype)
    scores = ops.cast(scores, dtype or ("float64" if own == "float64" else "float32"))
    if not from_logits:
        margin = keras.backend.epsilon()
        _refuse(
            ops.logical_or(scores < -margin, scores > 1.0 + margin),
            "y_pred holds values outside [0, 1]; with logits, set from_logits=True.",
        )
        scores = ops.clip(scores, margin, 1.0 - margin)
        scores = ops.log(scores) - (ops.log1p(-scores) if columns == 1 else 0.0)
    if columns == 2:
        scores = scores[:, 1] - scores[:, 0]
    return ops.reshape(scores, (-1,))


def _labels_and_weights(
    y_true: Tensor, sample_weight: Tensor | None, scores: Tensor
) -> tuple[Tensor, Tensor]:
    """Return which samples are positive, shape (n,), and their weights, shape (n,), float64.

    Where a label is not binary or a weight not usable, and it takes running the graph to
    know, the weight is NaN.
    """
    labels = _real_tensor("y_true", y_true)
    if len(labels.shape) == 2 and labels.shape[1] not in (1, None):
        raise ValueError(
            f"y_true has shape {tuple(labels.shape)}; give labels 0 and 1 of shape (n,) or (n, 1), "
            "not one column per class."
        )
    labels = ops.cast(ops.reshape(labels, (-1,)), "float32")
    _check_length("y_true", labels, scores)
    unknown = ops.not_equal(labels, ops.sign(labels))  # only -1, 0 and 1 are their own signs
    _refuse(unknown, f"y_true {NOT_BINARY}")
    if sample_weight is None:
        weights = ops.ones_like(scores, dtype="float64")
    else:
        weights = _real_tensor("sample_weight", sample_weight, "float64")
        if len(weights.shape) == 0:  # one for all
            weights = weights * ops.ones_like(scores, dtype="float64")
        weights = ops.reshape(weights, (-1,))
        _check_length("sample_weight", weights, scores)
    usable = ops.logical_and(weights >= 0, weights < np.inf)  # False for NaN
    _refuse(
        ops.logical_not(usable),
        "sample_weight holds values that are negative or not finite; give 0 to leave a sample out.",
    )
    usable = ops.logical_and(usable, ops.logical_not(unknown))
    return labels > 0, ops.where(usable, weights, np.nan)


def _real_tensor(argument: str, values: Any, dtype: str | None = None) -> Tensor:
    """Return real numbers as a tensor."""
    try:
        tensor = ops.convert_to_tensor(values)
        kind = keras.backend.standardize_dtype(tensor.dtype)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{argument} must be an array of real numbers: {error}") from error
    if not kind.startswith(("float", "bfloat", "int", "uint", "bool")):
        raise ValueError(f"{argument} has dtype {kind}; it must hold real numbers.")
    if getattr(tensor.shape, "rank", 0) is None:
        raise ValueError(f"{argument} has no known rank; use set_shape in the tf.data pipeline.")
    return tensor if dtype is None else ops.convert_to_tensor(values, dtype)


def _refuse(wrong: Tensor, message: str) -> None:
    """Raise ValueError if anything is wrong, unless that is known only when the graph runs."""
    try:
        known = bool(ops.any(wrong))
    except TypeError:  # every backend's way to say so
        return
    if known:
        raise ValueError(message)


def _own_dtype(dtype: Any, loss: keras.losses.Loss) -> str | None:
    """Return the dtype to take scores in; None to take them as they come."""
    if dtype is not None and loss.dtype not in ("float32", "float64"):
        raise ValueError(
            f"dtype is {loss.dtype!r}; sums over pairs need 'float32' or 'float64'. Leave dtype "
            "out in mixed precision: scores of half precision are then taken in float32."
        )
    return None if dtype is None else loss.dtype


def _check_buffer_size(buffer_size: int | None, replacement: str) -> None:
    if buffer_size is not None:
        _check_integer("buffer_size", buffer_size, 1)
    if replacement == "all" and buffer_size is not None:
        warnings.warn(
            f'replacement="all" keeps every score: buffer_size={buffer_size} has no effect.',
            stacklevel=3,
        )
    if replacement != "all" and buffer_size is None:
        raise ValueError(
            f"buffer_size is None; replacement={replacement!r} needs the number of scores to keep "
            "of each class, at least 1."
        )


def _check_integer(argument: str, value: Any, low: int) -> None:
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not whole or value < low:
        raise ValueError(f"{argument} is {value!r}; it must be a whole number, at least {low}.")


def _with_gradient(value: Tensor, gradient: Tensor, scores: Tensor) -> Tensor:
    """Return ``value``, in the dtype of the scores, with the given gradient.

    The added sum is 0; only its derivative is not. On every backend this does what a
    custom gradient does.
    """
    value = ops.cast(ops.stop_gradient(value), scores.dtype)
    gradient = ops.cast(ops.stop_gradient(gradient), scores.dtype)
    return value + ops.sum(gradient * (scores - ops.stop_gradient(scores)))


def _replicas() -> int:
    """Return how many replicas of ``tf.distribute`` train together (1 without it)."""
    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf

    return int(tf.distribute.get_strategy().num_replicas_in_sync)


def _per_replica(loss: Tensor) -> Tensor:
    """Divide by the number of replicas, whose gradients are added up."""
    count = _replicas()
    return loss / count if count > 1 else loss


def _check_choice(argument: str, value: Any, choices: tuple[Any, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{argument} is {value!r}; choose one of {', '.join(map(repr, choices))}.")


def _check_length(argument: str, values: Tensor, scores: Tensor) -> None:
    mine, other = values.shape[0], scores.shape[0]
    if mine is not None and other is not None and mine != other:
        raise ValueError(f"{argument} has {mine} entries for {other} scores; give one per sample.")
