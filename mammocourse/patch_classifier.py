"""The classifier of patch volumes, and how it is trained (AUC paper, section 4).

A volume holds the features of a grid of windows of one film (:mod:`mammocourse.scanner`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mammocourse.films import checked_labels
from mammocourse.resnet import _keras
from mammocourse.splits import check_group_leakage, split_by_patient

if TYPE_CHECKING:
    import keras
    from numpy.typing import ArrayLike, NDArray

__all__ = ["PatchTrainer", "build_patch_classifier", "two_view_classifier"]

LOSSES = ("auc", "buffered", "binary")
CHUNK = 64
"""Films that are held in float32 at a time."""
SAMPLED_PATCHES = 20_000
"""Patches from which the principal components are computed."""


def build_patch_classifier(
    input_shape: Sequence[int] = (15, 15, 4096),
    *,
    filters: Sequence[int] = (256, 128, 256),
    units: Sequence[int] = (512, 512),
    dropout: float = 0.5,
    l2: float = 0.0,
) -> keras.Model:
    """Build the classifier of patch volumes (AUC paper, section 4 and Fig. 2).

    Convolutions 3 x 3 with ReLU, a max-pooling after each that ends at one position (the
    last one pools all that is left), dense layers with ReLU, and one output without an
    activation. The text gives the numbers of filters and units; kernel size, padding
    ("same", so that no patch is lost at the border) and pooling 2 x 2 are ours.

    Parameters
    ----------
    input_shape : (int, int, int)
        Patches down and across, and features of each.
    filters : sequence of int
        Filters of each convolution, at least one.
    units : sequence of int
        Units of each hidden dense layer; may be empty.
    dropout : float
        Rate before each dense layer, at least 0 and below 1.
    l2 : float
        Weight of the squared kernels in the loss, at least 0.

    Returns
    -------
    keras.Model
        From volumes (n, height, width, features) to logits (n, 1); not compiled. Layers
        ``conv1``, ``relu1``, ``pool1``, ..., ``flatten``, ``dropout1``, ``dense1``, ...,
        ``score``.

    Raises
    ------
    ValueError
        If an argument is out of its range.
    RuntimeError
        If Keras is not installed.

    Examples
    --------
    >>> model = build_patch_classifier((15, 15, 64), filters=(8, 8, 8), units=(16,))
    >>> model.output_shape
    (None, 1)
    """
    shape = _check_counts("input_shape", input_shape, 3)
    filters, units = _check_counts("filters", filters), _check_counts("units", units, empty=True)
    keras = _keras("build_patch_classifier()")
    inputs = keras.Input(shape, name="volume")
    x = inputs
    for layer in _trunk(shape, filters, dropout, l2):
        x = layer(x)
    return keras.Model(inputs, _head(x, units, dropout, l2), name="patch_classifier")


def two_view_classifier(
    input_shape: Sequence[int] = (15, 15, 4096),
    *,
    filters: Sequence[int] = (256, 128, 256),
    units: Sequence[int] = (512, 512),
    dropout: float = 0.5,
    l2: float = 0.0,
) -> keras.Model:
    """Build a classifier of both views of a breast (the AUC paper's future work, section 6).

    The convolutions of :func:`build_patch_classifier` look at each view with the same
    weights; the maximum and the mean over the two views go to the dense layers. The order of
    the views makes no difference.

    Parameters
    ----------
    input_shape : (int, int, int)
        Of the volume of one view.
    filters, units, dropout, l2
        As in :func:`build_patch_classifier`.

    Returns
    -------
    keras.Model
        From pairs of volumes (n, 2, height, width, features) to logits (n, 1).

    Raises
    ------
    ValueError, RuntimeError
        As :func:`build_patch_classifier`.
    """
    shape = _check_counts("input_shape", input_shape, 3)
    filters, units = _check_counts("filters", filters), _check_counts("units", units, empty=True)
    keras = _keras("two_view_classifier()")
    inputs = keras.Input((2, *shape), name="volumes")
    trunk = _trunk(shape, filters, dropout, l2)
    seen = []
    for view in (0, 1):
        x = inputs[:, view]
        for layer in trunk:
            x = layer(x)
        seen.append(x)
    both = [keras.layers.Maximum(name="either")(seen), keras.layers.Average(name="both")(seen)]
    x = keras.layers.Concatenate(name="views")(both)
    return keras.Model(inputs, _head(x, units, dropout, l2), name="two_view_classifier")


def _trunk(shape: tuple[int, ...], filters: tuple[int, ...], dropout: float, l2: float) -> list:
    """Return the layers from a volume to a vector."""
    from keras import layers

    _check_range("dropout", dropout, 0, 1)
    _check_range("l2", l2, 0, math.inf)
    found, sides = [], shape[:2]
    for number, count in enumerate(filters, start=1):
        pool = (2, 2) if number < len(filters) else sides
        options = {"padding": "same", "kernel_regularizer": _decay(l2), "name": f"conv{number}"}
        found += [
            layers.Conv2D(count, 3, **options),
            layers.Activation("relu", name=f"relu{number}"),
            layers.MaxPooling2D(pool, padding="same", name=f"pool{number}"),
        ]
        sides = tuple(-(-side // step) for side, step in zip(sides, pool, strict=True))
    return [*found, layers.Flatten(name="flatten")]


def _head(x: Any, units: tuple[int, ...], dropout: float, l2: float) -> Any:
    """Add the dense layers."""
    from keras import layers

    for number, count in enumerate((*units, 1), start=1):
        if dropout:
            x = layers.Dropout(dropout, name=f"dropout{number}")(x)
        if number <= len(units):
            decay, name = _decay(l2), f"dense{number}"
            x = layers.Dense(count, activation="relu", kernel_regularizer=decay, name=name)(x)
    return layers.Dense(1, name="score")(x)


def _decay(l2: float) -> Any:
    from keras import regularizers

    return regularizers.L2(l2) if l2 else None


class PatchTrainer:
    """A classifier of patch volumes that is trained again and again from new weights.

    Building and tracing a Keras graph takes longer than training on some hundred small
    volumes, so folds and seeds share one graph. :meth:`fit` starts afresh each time:

    1. each feature is standardized with mean and standard deviation over all patches of the
       training films, and with ``components`` replaced by that many whitened principal
       components (a few hundred films cannot teach 3 x 3 kernels on thousands of features);
    2. a part of the training patients is set aside, and the network is trained on the others
       with Adam, in batches that all hold both classes;
    3. the weights of the epoch with the best AUC on the patients set aside are kept.

    Parameters
    ----------
    input_shape : (int, int, int) or (2, int, int, int)
        Patches down and across, and features of each; for both views of a breast 2 before them.
    loss : {"auc", "buffered", "binary"}
        :class:`~mammocourse.losses.PairwiseAUCLoss`, the paper's online form
        :class:`~mammocourse.losses.BufferedPairwiseAUCLoss`, or the binary cross-entropy.
    components : int or None
        Principal components; None keeps the features.
    filters, units, dropout, l2
        Of :func:`build_patch_classifier`.
    learning_rate : float
        Of Adam.

    Attributes
    ----------
    model : keras.Model
        The whole network, from raw volumes to logits: standardization and components (frozen
        layers ``standardize`` and ``components``) followed by the classifier.
        :meth:`fit` changes its weights in place.

    Raises
    ------
    ValueError
        If an argument is out of its range.
    RuntimeError
        If Keras is not installed.
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        *,
        loss: str = "auc",
        components: int | None = 32,
        filters: Sequence[int] = (32, 16, 32),
        units: Sequence[int] = (32,),
        dropout: float = 0.25,
        l2: float = 1e-4,
        learning_rate: float = 3e-3,
    ) -> None:
        shape = _check_counts("input_shape", input_shape)
        if len(shape) not in (3, 4):
            raise ValueError(
                f"input_shape is {input_shape!r}; it must be (height, width, features), or "
                "(2, height, width, features) for two views."
            )
        if loss not in LOSSES:
            raise ValueError(f"loss is {loss!r}; choose one of {', '.join(map(repr, LOSSES))}.")
        if components is not None and not 1 <= components <= shape[-1]:
            raise ValueError(
                f"components is {components}; it must be from 1 to the {shape[-1]} features of a "
                "patch, or None to keep them all."
            )
        _check_range("learning_rate", learning_rate, 0, math.inf)
        keras = _keras("PatchTrainer()")
        self.input_shape, self.components = shape, components
        self._fitted = False
        options: dict[str, Any] = {"filters": filters, "units": units, "dropout": dropout, "l2": l2}
        # with components it is the small classifier that trains, on volumes reduced beforehand
        build = build_patch_classifier if len(shape) == 3 else two_view_classifier
        self._small = build((*shape[-3:-1], components or shape[-1]), **options)
        x = inputs = keras.Input(shape, name="raw_volume")
        x = keras.layers.BatchNormalization(
            center=False, scale=False, epsilon=1e-12, trainable=False, name="standardize"
        )(x)
        if components is not None:
            x = keras.layers.Dense(components, trainable=False, name="components")(x)
        self.model = keras.Model(inputs, self._small(x), name="whole_classifier")
        self._trained = self.model if components is None else self._small
        self._loss = _make_loss(loss)
        adam = keras.optimizers.Adam(learning_rate)
        adam.build(self._trained.trainable_variables)
        self._fresh = [(variable, variable.numpy()) for variable in adam.variables]
        self._trained.compile(adam, self._loss, jit_compile=False)

    def fit(
        self,
        volumes: ArrayLike,
        labels: ArrayLike,
        groups: ArrayLike | None = None,
        *,
        epochs: int = 20,
        patience: int = 8,
        batch_size: int = 32,
        validation_fraction: float = 0.2,
        seed: int = 0,
    ) -> pd.DataFrame:
        """Train from new weights.

        Parameters
        ----------
        volumes : array_like of shape (n, height, width, features)
            Patch volumes, any float type; may be memory-mapped.
        labels : array_like of shape (n,)
            0 and 1, both.
        groups : array_like of shape (n,), optional
            The patient of each film; without it every film is a patient of its own.
        epochs : int
            At most; training stops after ``patience`` epochs without a better AUC.
        patience, batch_size : int
        validation_fraction : float
            Share of the films, in whole patients, that choose the epoch; between 0 and 1.
            With 0 all films are trained on, for all epochs.
        seed : int
            Of the weights, the order, dropout, and the patients set aside.

        Returns
        -------
        DataFrame
            One row per epoch: ``epoch, loss`` and, with a validation part, ``val_auc``.

        Raises
        ------
        ValueError
            If an argument is not as described, a volume that is needed holds NaN or infinity,
            or a part would hold one class only.
        """
        volumes = _check_volumes(volumes, self.input_shape)
        frame = _films(volumes, labels, groups, self.input_shape)
        epochs, patience, batch_size = _check_counts(
            "epochs, patience, batch_size", (epochs, patience, batch_size)
        )
        _check_range("validation_fraction", validation_fraction, 0, 1)
        if validation_fraction:
            parts = (1 - validation_fraction, validation_fraction, 0.0)
            train, held_out, _ = split_by_patient(frame, parts, seed)
            check_group_leakage(train, held_out)
        else:
            train = held_out = frame
        self._standardize(volumes, train["row"].to_numpy(), seed)
        self._restart(seed)
        x, y = self._reduced(volumes, train["row"]), train["label"].to_numpy()
        validation = None
        if validation_fraction:
            validation = self._reduced(volumes, held_out["row"]), held_out["label"].to_numpy()
        history = self._train(x, y, validation, epochs, patience, batch_size, seed)
        self._fitted = True
        return history

    def _train(
        self, x: Any, y: Any, validation: Any, epochs: int, patience: int, size: int, seed: int
    ) -> pd.DataFrame:
        """Run the epochs; keep the best weights."""
        from sklearn.metrics import roc_auc_score

        from mammocourse.losses import StratifiedBatches

        batches = StratifiedBatches(x, y, size, seed=seed)
        rows, best, weights = [], -math.inf, None
        for epoch in range(1, epochs + 1):
            if hasattr(self._loss, "reset"):
                self._loss.reset()
            self._trained.reset_metrics()
            for number in range(len(batches)):
                mean_loss = self._trained.train_on_batch(*batches[number])  # since the reset
            batches.on_epoch_end()
            rows.append({"epoch": epoch, "loss": float(mean_loss)})
            if validation is None:
                continue
            auc = float(roc_auc_score(validation[1], self._scores(validation[0])))
            rows[-1]["val_auc"] = auc
            if auc > best:
                best, best_epoch, weights = auc, epoch, self._small.get_weights()
            elif epoch - best_epoch >= patience:
                break
        if weights is not None:
            self._small.set_weights(weights)
        return pd.DataFrame(rows)

    def _scores(self, x: NDArray[Any]) -> NDArray[np.float64]:
        """Return the scores of what :meth:`_reduced` returns."""
        parts = [np.asarray(self._trained.predict_on_batch(chunk)) for chunk in _chunks(x)]
        return np.concatenate(parts)[:, 0].astype(np.float64)

    def predict(self, volumes: ArrayLike) -> NDArray[np.float64]:
        """Return one score per film (a logit, larger for positive), shape (n,), after fit."""
        if not self._fitted:
            raise RuntimeError("this PatchTrainer has learned nothing yet; call fit() first.")
        found = _check_volumes(volumes, self.input_shape)
        rows = np.arange(len(found))
        return np.concatenate([self._scores(self._reduced(found, k)) for k in _chunks(rows)])

    def _standardize(self, volumes: Any, rows: NDArray[Any], seed: int) -> None:
        """Set the frozen layers from the training films alone."""
        mean, variance = _moments(volumes, rows)
        # a feature that hardly varies must not be blown up to unit variance
        variance += 1e-3 * variance.mean() + 1e-12
        layer = self.model.get_layer("standardize")
        layer.moving_mean.assign(mean)
        layer.moving_variance.assign(variance)
        if self.components is None:
            return
        from sklearn.decomposition import PCA

        rng = np.random.default_rng(seed)
        per_film = math.ceil(SAMPLED_PATCHES / len(rows))
        sample = []
        for row in rows:
            patches = np.asarray(volumes[row], np.float32).reshape(-1, self.input_shape[-1])
            chosen = rng.permutation(len(patches))[:per_film]
            sample.append((patches[chosen] - mean) / np.sqrt(variance))
        pca = PCA(self.components, svd_solver="covariance_eigh").fit(np.concatenate(sample))
        floor = max(1e-6 * pca.explained_variance_[0], 1e-12)
        scale = np.sqrt(np.maximum(pca.explained_variance_, floor))
        kernel = (pca.components_ / scale[:, None]).T
        reduce = self.model.get_layer("components")
        reduce.kernel.assign(kernel)
        reduce.bias.assign(-pca.mean_ @ kernel)

    def _reduced(self, volumes: Any, rows: Any) -> NDArray[Any]:
        """Return what the trained graph takes: the films, or their components."""
        rows = np.asarray(rows)
        if self.components is None:
            return np.concatenate([_read(volumes, chunk) for chunk in _chunks(rows)])
        layer, reduce = (self.model.get_layer(name) for name in ("standardize", "components"))
        kernel = np.asarray(reduce.kernel) / np.sqrt(np.asarray(layer.moving_variance))[:, None]
        bias = np.asarray(reduce.bias) - np.asarray(layer.moving_mean) @ kernel
        chunks = (_read(volumes, chunk).astype(np.float32, copy=False) for chunk in _chunks(rows))
        return np.concatenate([chunk @ kernel + bias for chunk in chunks])

    def _restart(self, seed: int) -> None:
        """Draw new weights; reset the optimizer, dropout and buffers."""
        import keras

        seeds = np.random.SeedSequence(seed).generate_state(2 * len(self._small.layers))
        for number, layer in enumerate(self._small.layers):
            if hasattr(layer, "kernel"):
                draw = keras.initializers.GlorotUniform(int(seeds[2 * number]))
                layer.kernel.assign(draw(layer.kernel.shape))
                layer.bias.assign(np.zeros(layer.bias.shape, np.float32))
            elif isinstance(layer, keras.layers.Dropout):
                layer.seed_generator.state.assign([seeds[2 * number + 1], 0])
        for variable, value in self._fresh:
            variable.assign(value)


def _make_loss(name: str) -> Any:
    import keras

    from mammocourse.losses import BufferedPairwiseAUCLoss, PairwiseAUCLoss

    if name == "binary":
        return keras.losses.BinaryCrossentropy(from_logits=True)
    return PairwiseAUCLoss() if name == "auc" else BufferedPairwiseAUCLoss()


def _moments(volumes: Any, rows: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return mean and variance of each feature over all patches of some films."""
    total, squares, count = 0.0, 0.0, 0
    for chunk in _chunks(rows):
        films = _read(volumes, chunk).astype(np.float32, copy=False)
        patches = films.reshape(-1, films.shape[-1])
        total = total + patches.sum(axis=0, dtype=np.float64)
        squares = squares + np.square(patches).sum(axis=0, dtype=np.float64)
        count += len(patches)
    mean = np.asarray(total) / count
    return mean, np.maximum(np.asarray(squares) / count - mean**2, 0.0)


def _read(volumes: Any, rows: NDArray[Any]) -> NDArray[Any]:
    """Return some films; raise where ReLU and max-pooling would hide NaN in a finite score."""
    films = np.asarray(volumes[rows])
    finite = np.isfinite(films).reshape(len(films), -1).all(axis=1)
    if not finite.all():
        number = getattr(volumes, "rows", np.arange(len(volumes)))[rows[~finite][0]]
        raise ValueError(f"volumes[{number}] holds NaN or infinity; scan this film again.")
    return films


def _chunks(rows: Any) -> Iterator[Any]:
    for start in range(0, len(rows), CHUNK):
        yield rows[start : start + CHUNK]


def _films(volumes: Any, labels: Any, groups: Any, shape: tuple[int, ...]) -> pd.DataFrame:
    """Return rows, patients and labels as a frame, checked."""
    n = len(_check_volumes(volumes, shape))
    labels = np.asarray(labels)
    groups = np.arange(n) if groups is None else np.asarray(groups)
    for name, values in (("labels", labels), ("groups", groups)):
        if values.shape != (n,):
            raise ValueError(f"{name} has shape {values.shape}; give one entry per film ({n}).")
    frame = pd.DataFrame({"row": np.arange(n), "patient_id": groups, "label": labels})
    frame["label"] = checked_labels(frame)
    return frame


def _check_volumes(volumes: Any, shape: tuple[int, ...]) -> Any:
    volumes = _as_array(volumes)
    found = tuple(volumes.shape)
    if found[1:] != shape or found[0] == 0:
        raise ValueError(f"volumes has shape {found}; it must be (films, {str(shape)[1:]}.")
    return volumes


def _as_array(volumes: Any) -> Any:
    """Return a list of volumes as an array, and what is indexed like one as it is."""
    if hasattr(volumes, "shape"):
        return volumes
    try:
        return np.stack([np.asarray(volume, np.float32) for volume in volumes])
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"volumes must hold one array per film, all of one shape: {error}"
        ) from error


def _check_counts(
    name: str, values: Any, length: int | None = None, *, empty: bool = False
) -> tuple[int, ...]:
    """Return positive integers as a tuple."""
    try:
        found = tuple(values)
        whole = all(int(v) == v and v >= 1 and not isinstance(v, bool) for v in found)
    except (TypeError, ValueError):
        found, whole = (), False
    fits = len(found) == length if length is not None else (empty or len(found) > 0)
    if not (whole and fits):
        count = f"{length} " if length is not None else ""
        raise ValueError(f"{name} is {values!r}; it must hold {count}integers of at least 1.")
    return tuple(int(value) for value in found)


def _check_range(name: str, value: Any, low: float, high: float) -> None:
    try:
        inside = low <= value < high
    except TypeError:
        inside = False
    if not inside:
        raise ValueError(f"{name} is {value!r}; it must be at least {low} and below {high}.")
