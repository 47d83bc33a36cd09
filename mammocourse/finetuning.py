"""Fine-tuning: training, unfreezing, learning rates by layer, searches (thesis, 5.2, 6.3).

:func:`fit_classifier` is ``keras.Model.fit`` with what an honest, interruptible experiment
needs besides: seeded shuffling and dropout, the exact AUC after every epoch, early stopping,
and a state on disk from which a killed run goes on to the same result. The models end in two
logits, benign and malignant; the labels are 0 and 1.
"""

from __future__ import annotations

import functools
import itertools
import json
import os
import time
import warnings
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    import keras

__all__ = [
    "TABLE_4_GRID",
    "discriminative_adam",
    "fit_classifier",
    "gradual_unfreezing",
    "predict_scores",
    "search",
]

TABLE_4_GRID: dict[str, tuple[float, ...]] = {
    "batch_size": (20, 32),
    "patience": (5, 10),
    "learning_rate": (1e-5, 1e-4, 1e-3),
    "dropout": (0.4, 0.5, 0.6),
    "l2": (1e-1, 5e-2, 1e-3, 5e-4),
}
"""The 144 combinations of Table 4 of the thesis."""


def fit_classifier(
    model: keras.Model,
    train: Any,
    validation: Any = None,
    *,
    epochs: int = 100,
    batch_size: int = 32,
    learning_rate: float = 1e-5,
    patience: int = 10,
    seed: int = 0,
    directory: str | os.PathLike[str] | None = None,
    class_weight: Mapping[int, float] | None = None,
    restore_best: bool = True,
    multipliers: Mapping[str, float] | None = None,
    callbacks: Sequence[Any] = (),
    verbose: int = 0,
) -> pd.DataFrame:
    """Train a classifier with Adam, early stopping, and a state that survives a kill.

    The loss is the cross-entropy of the two logits plus the model's penalties (``l2``).
    Order and dropout of an epoch depend on ``seed`` and its number only, so that a
    run resumed from ``directory`` equals an uninterrupted one (arrays, same machine and
    thread count; on a GPU after ``tf.config.experimental.enable_op_determinism()``).

    Several GPUs: build the model inside ``with tf.distribute.MirroredStrategy().scope():``;
    nothing else changes. The devices share each batch, and up to their number less one image
    is left out of an epoch. Where none is, without dropout and with BatchNormalization frozen,
    the result is that of one device.

    Parameters
    ----------
    model : keras.Model
        From images (n, H, W, C) or cached features to logits (n, 2). What is trained
        is what is ``trainable``; it is compiled anew here.
    train : tuple of (ndarray, ndarray) or tf.data.Dataset
        Images or features (n, ...), floating point, memory-mapped ones included, and
        labels (n,) in {0, 1}; or batches of both. A data set shuffles itself: a resumed run
        then sees other batches, in another order, than an uninterrupted one.
    validation : tuple of (ndarray, ndarray) or tf.data.Dataset, optional
        Of both classes, from other patients. Without it nothing stops the training early.
    epochs, batch_size : int
        The largest number of epochs; images per step (``batch_size`` of arrays only).
    learning_rate : float
        Of Adam; the thesis uses 1e-5.
    patience : int
        Stop after so many epochs without a smaller validation loss.
    seed : int
    directory : path, optional
        Receives ``history.csv``, ``best.weights.h5`` and ``state.npz``, from which the next
        call with the same arguments goes on; a finished run is not repeated.
    class_weight : dict, optional
        Weight of each class in the training loss, for example ``{0: 1.0, 1: 1.4}``.
    restore_best : bool
        End with the weights of the smallest validation loss rather than the last.
    multipliers : dict, optional
        Discriminative learning rates: see :func:`discriminative_adam`.
    callbacks : sequence of keras.callbacks.Callback
        For example ``keras.callbacks.TensorBoard``; they find the ``val_...`` in the logs.
    verbose : {0, 1, 2}
        Keras's progress: none, a bar, a line per epoch.

    Returns
    -------
    DataFrame
        One row per epoch, index ``epoch`` from 1: ``loss``, ``accuracy``, and with validation
        data ``val_loss``, ``val_accuracy``, ``val_auc`` (exact, not Keras's approximation). Its
        ``attrs["best_epoch"]`` is the epoch of the smallest validation loss.

    Raises
    ------
    ValueError
        If data, labels or model do not fit, if a class is missing, or if
        ``directory`` holds a run with other settings.
    FloatingPointError
        If the loss is not finite; the state on disk is that of the epoch before.
    """
    import keras

    if not model.trainable_variables:
        raise ValueError("model has no trainable weights; freeze_until(model, 'head') frees some.")
    for name, value, least in (
        ("epochs", epochs, 1),
        ("batch_size", batch_size, 1),
        ("patience", patience, 1),
        ("seed", seed, 0),
    ):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
            raise ValueError(f"{name} is {value!r}; it must be an integer of at least {least}.")
    replicas = model.distribute_strategy.num_replicas_in_sync
    if batch_size % replicas:
        raise ValueError(
            f"batch_size is {batch_size}; {replicas} devices must be able to share it."
        )
    data: Any = train
    if isinstance(train, (tuple, list)):
        data = _batches(*_checked("train", train, model), int(batch_size), replicas)
    held_out = None
    if validation is not None:
        if not isinstance(validation, (tuple, list)):
            pairs = [(np.asarray(x), np.asarray(y)) for x, y in validation]
            validation = [np.concatenate(part) for part in zip(*pairs, strict=True)]
        held_out = _checked("validation", validation, model)

    with model.distribute_strategy.scope():
        model.compile(
            optimizer=discriminative_adam(learning_rate, multipliers or {}, model=model),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )
        model.optimizer.build(model.trainable_variables)
    digest = _digest if directory is not None else len  # without it nothing is compared
    settings = {
        "batch_size": int(batch_size),
        "learning_rate": float(learning_rate),
        "patience": int(patience),
        "seed": int(seed),
        "class_weight": {str(key): float(value) for key, value in (class_weight or {}).items()},
        "multipliers": {key: float(value) for key, value in (multipliers or {}).items()},
        "train": digest(getattr(data, "arrays", ())),
        "validation": digest(held_out or ()),
        "frozen weights": digest(_weights(model, moving=False)),
        "trained weights": [f"{v.path} {tuple(v.shape)}" for v in _weights(model)],
    }
    run = _training_run()(data, held_out, settings, directory)
    run.set_model(model)
    run.load()
    if len(run.rows) > epochs:
        raise ValueError(
            f"epochs is {epochs}; directory {directory} holds a run of {len(run.rows)}. Name "
            "another directory, or delete that one."
        )
    if not run.finished(epochs):
        model.fit(
            data,
            initial_epoch=len(run.rows),
            epochs=epochs,
            shuffle=False,
            class_weight=dict(class_weight) if class_weight else None,
            callbacks=[run, *callbacks],
            verbose=verbose,
        )
    if restore_best and run.best is not None:
        _assign(_weights(model), run.best)
    return run.frame()


def _checked_images(name: str, images: Any, model: keras.Model) -> NDArray[Any]:
    """Return images as an array, after checking that the model can score them."""
    if tuple(model.output_shape) != (None, 2):
        raise ValueError(
            f"model returns the shape {model.output_shape}; it must return logits (n, 2)."
        )
    images = np.asanyarray(images)
    expected = tuple(model.input_shape)
    if len(images.shape) != len(expected) or any(
        wanted not in (None, size) for wanted, size in zip(expected, images.shape, strict=True)
    ):
        raise ValueError(
            f"{name}: the images have the shape {images.shape}; the model takes {expected}."
        )
    if not np.issubdtype(images.dtype, np.floating):
        raise ValueError(
            f"{name}: the images are {images.dtype}; they must be floating point, in [0, 1]."
        )
    return images


def _checked(
    name: str, pair: Sequence[Any], model: keras.Model
) -> tuple[NDArray[Any], NDArray[np.int32]]:
    """Return images and labels as arrays, after checking that the model can learn from them."""
    if len(pair) != 2:
        raise ValueError(f"{name} has {len(pair)} parts; it must be (images, labels).")
    images, labels = _checked_images(name, pair[0], model), np.asarray(pair[1])
    if labels.shape != (len(images),):
        raise ValueError(
            f"{name}: the labels have the shape {labels.shape}; it must be ({len(images)},), "
            "one label per image."
        )
    if not np.isin(labels, (0, 1)).all():
        raise ValueError(f"{name}: the labels are {np.unique(labels)[:5]}; they must be 0 or 1.")
    if len(np.unique(labels)) < 2:
        raise ValueError(
            f"{name}: every label is {labels[0]}; both classes must be present. Split so that "
            "each part holds benign and malignant cases (mammocourse.splits does)."
        )
    return images, labels.astype(np.int32)


def _weights(model: keras.Model, moving: bool = True) -> list[Any]:
    """Return the weights that training can move, or the others: those of frozen layers."""
    frozen = {
        id(weight)
        for layer in model._flatten_layers()
        if not layer.trainable
        for weight in layer.weights
    }
    return [weight for weight in model.weights if (id(weight) not in frozen) == moving]


def _assign(variables: Sequence[Any], values: Sequence[NDArray[Any]]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _digest(arrays: Sequence[Any]) -> str:
    """Return a checksum of arrays: shapes, types and bytes."""
    value = 0
    for array in map(np.ascontiguousarray, arrays):
        value = zlib.crc32(f"{array.shape}{array.dtype}".encode(), value)
        value = zlib.crc32(array.reshape(-1).view(np.uint8).data, value)
    return f"{value:08x}"


def _batches(images: NDArray[Any], labels: NDArray[np.int32], size: int, replicas: int) -> Any:
    """Return a data set of shuffled batches; ``shuffle_rows(rng)`` sets the order of an epoch.

    Every batch can be shared evenly by the replicas: Keras fails where one gets no image.
    """
    import keras

    class Batches(keras.utils.PyDataset):
        def __init__(self) -> None:
            super().__init__()
            self.arrays = images, labels
            self.shuffle_rows(np.random.default_rng(0))

        def shuffle_rows(self, rng: np.random.Generator) -> None:
            self.order = rng.permutation(len(labels))[: len(labels) // replicas * replicas]

        def __len__(self) -> int:
            return -(-len(self.order) // size)

        def __getitem__(self, index: int) -> tuple[NDArray[Any], NDArray[np.int32]]:
            rows = self.order[index * size : (index + 1) * size]
            return np.asarray(images[rows]), labels[rows]

    return Batches()


@functools.cache
def _training_run() -> Any:
    """Return the class that records, stops and resumes a run (Keras is imported only here)."""
    import keras
    from sklearn.metrics import roc_auc_score

    class TrainingRun(keras.callbacks.Callback):
        """Seeds every epoch; measures, writes and stops at its end."""

        def __init__(self, data: Any, held_out: Any, settings: dict[str, Any], folder: Any) -> None:
            super().__init__()
            self.data, self.held_out, self.settings = data, held_out, settings
            self.folder = None if folder is None else Path(folder)
            self.rows: list[dict[str, float]] = []
            self.best: list[NDArray[Any]] | None = None

        @property
        def best_epoch(self) -> int:
            """The epoch of the smallest validation loss, else the last; 0 before the first."""
            losses = [row["val_loss"] for row in self.rows if "val_loss" in row]
            return int(np.argmin(losses)) + 1 if losses else len(self.rows)

        def finished(self, epochs: int) -> bool:
            """Whether the run has had its epochs, or its patience is at an end."""
            waited = len(self.rows) - self.best_epoch
            return len(self.rows) >= epochs or waited >= self.settings["patience"]

        def frame(self) -> pd.DataFrame:
            index = pd.RangeIndex(1, len(self.rows) + 1, name="epoch")
            frame = pd.DataFrame(self.rows, index=index)
            frame.attrs["best_epoch"] = self.best_epoch
            return frame

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            rng = np.random.default_rng([self.settings["seed"], epoch])
            if hasattr(self.data, "shuffle_rows"):
                self.data.shuffle_rows(rng)
            for variable in self.model.variables:
                if variable.path.endswith("seed_generator_state"):
                    variable.assign([rng.integers(2**31), 0])

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            logs = {} if logs is None else logs
            if self.held_out is not None:
                logs.update(self.measure())
            if not np.isfinite(list(logs.values())).all():
                raise FloatingPointError(
                    f"epoch {epoch + 1}: the loss is not finite ({logs}). Look for NaN in the "
                    f"images, or try a learning rate below {self.settings['learning_rate']:g}."
                )
            order = sorted(logs, key=lambda name: name != "loss")  # the loss first
            self.rows.append({name: float(logs[name]) for name in order})
            improved = self.best_epoch == len(self.rows)
            if improved:
                self.best = [np.array(weight.numpy()) for weight in _weights(self.model)]
            if self.folder is not None:
                self.save(improved)
            if self.finished(epochs=len(self.rows) + 1):  # out of patience
                self.model.stop_training = True

        def measure(self) -> dict[str, float]:
            images, labels = self.held_out
            size = self.settings["batch_size"]
            logits = _logits(self.model, images, size)
            if not np.isfinite(logits).all():
                return {"val_loss": np.nan}
            scores = logits[:, 1] - logits[:, 0]
            penalty = float(sum(self.model.losses))
            return {
                "val_loss": float(np.logaddexp(0, np.where(labels == 1, -scores, scores)).mean())
                + penalty,
                "val_accuracy": float(((scores > 0) == labels).mean()),
                "val_auc": float(roc_auc_score(labels, scores)),
            }

        def save(self, improved: bool) -> None:
            assert self.folder is not None
            self.folder.mkdir(parents=True, exist_ok=True)
            if improved:
                _replace(self.folder / "best.weights.h5", self.model.save_weights)
            arrays: dict[str, Any] = {
                f"{kind} {number}": np.asarray(value)
                for kind, values in self.state().items()
                for number, value in enumerate(values)
            }
            arrays["about"] = json.dumps({"settings": self.settings, "rows": self.rows})
            _replace(self.folder / "state.npz", lambda path: np.savez(path, **arrays))
            _replace(self.folder / "history.csv", self.frame().to_csv)

        def state(self) -> dict[str, Sequence[Any]]:
            return {
                "weight": _weights(self.model),
                "optimizer": self.model.optimizer.variables,
                "best": self.best or (),
            }

        def load(self) -> None:
            path = None if self.folder is None else self.folder / "state.npz"
            if path is None or not path.is_file():
                return
            with np.load(path) as stored:
                about = json.loads(str(stored["about"]))
                different = [k for k, v in self.settings.items() if about["settings"].get(k) != v]
                if different:
                    raise ValueError(
                        f"directory {self.folder} holds a run with other {', '.join(different)}. "
                        "Name another directory, or delete that one."
                    )
                self.rows = about["rows"]
                self.best = [stored[f"best {i}"] for i in range(len(_weights(self.model)))]
                for kind in ("weight", "optimizer"):
                    variables = self.state()[kind]
                    _assign(variables, [stored[f"{kind} {i}"] for i in range(len(variables))])

    return TrainingRun


def _replace(path: Path, write: Callable[[Path], Any]) -> None:
    """Write a file under another name, then rename it: it is never seen half-written."""
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    write(temporary)
    os.replace(temporary, path)


def predict_scores(
    model: keras.Model, images: ArrayLike, *, batch_size: int = 64, rotations: bool = False
) -> NDArray[np.float64]:
    """Return the score of each image: malignant logit minus benign logit, the log-odds.

    Parameters
    ----------
    model : keras.Model
        From images, or features of a cached trunk, to logits (n, 2).
    images : ndarray of shape (n, ...)
    batch_size : int
    rotations : bool
        Average over the four right angles
        (:func:`mammocourse.preprocessing.average_rotations`); square images only.

    Returns
    -------
    ndarray of shape (n,), float64
        Positive where the model holds malignant for more probable.

    Raises
    ------
    ValueError
        If the images do not fit the model, or are not square with ``rotations``.
    """
    from mammocourse.preprocessing import average_rotations

    images = _checked_images("predict_scores", images, model)
    logits = functools.partial(_logits, model, size=batch_size)
    if rotations:  # in parts: the four copies of all images may not fit into memory
        parts = [images[start : start + 256] for start in range(0, len(images), 256)]
        values = np.concatenate([average_rotations(logits, part) for part in parts])
    else:
        values = logits(images)
    return values[:, 1] - values[:, 0]


def _logits(model: keras.Model, images: NDArray[Any], size: int) -> NDArray[np.float64]:
    """Predict; on several devices none may be left without an image (see `_batches`)."""
    missing = -len(images) % model.distribute_strategy.num_replicas_in_sync
    padded = np.concatenate([images, images[:1].repeat(missing, axis=0)]) if missing else images
    return model.predict(padded, batch_size=size, verbose=0)[: len(images)].astype(float)


def discriminative_adam(
    learning_rate: float, multipliers: Mapping[str, float], *, model: keras.Model | None = None
) -> Any:
    """Return Adam with discriminative learning rates: its step is scaled layer by layer.

    Scaling the gradient instead would do nothing, because Adam divides by its size.

    Parameters
    ----------
    learning_rate : float
        Positive.
    multipliers : dict
        Factor (at least 0) by prefix of layer names, for example ``{"conv5": 0.3,
        "conv4": 0.1}``; the longest prefix that fits counts, and 1 where none does. With 0
        a layer does not move.
    model : keras.Model, optional
        Refuse prefixes that fit no layer with weights of this model.

    Returns
    -------
    keras.optimizers.Adam
        Keras's own without multipliers. A model saved with multipliers loads with
        ``compile=False``, or after this function has been called.

    Raises
    ------
    ValueError
        If the learning rate, a factor or a prefix is out of range.
    """
    import keras

    if not 0 < learning_rate < np.inf:
        raise ValueError(f"learning_rate is {learning_rate!r}; it must be positive.")
    for prefix, factor in multipliers.items():
        if not 0 <= factor < np.inf:
            raise ValueError(f"multipliers[{prefix!r}] is {factor!r}; it must be at least 0.")
        if model is not None and all(
            _factor(weight.path, {prefix: np.nan}) == 1 for weight in model.weights
        ):
            raise ValueError(
                f"multipliers[{prefix!r}] fits no layer with weights; model.summary() lists "
                "the names."
            )
    if not multipliers:
        return keras.optimizers.Adam(learning_rate)
    return _adam_class()(learning_rate, multipliers=multipliers)


@functools.cache
def _adam_class() -> Any:
    import keras

    @keras.saving.register_keras_serializable(package="mammocourse")
    class DiscriminativeAdam(keras.optimizers.Adam):
        """Adam whose step is scaled per variable."""

        def __init__(self, *args: Any, multipliers: Mapping[str, float], **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.multipliers = dict(multipliers)

        def build(self, variables: Sequence[Any]) -> None:
            if not self.built:
                self._factors = [_factor(v.path, self.multipliers) for v in variables]
            super().build(variables)

        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            factor = self._factors[self._get_variable_index(variable)]
            super().update_step(gradient, variable, learning_rate * factor)

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "multipliers": self.multipliers}

    return DiscriminativeAdam


def _factor(path: str, multipliers: Mapping[str, float]) -> float:
    """Return the multiplier of the longest prefix that a layer of the path begins with, or 1."""
    fitting = [p for p in multipliers if any(part.startswith(p) for part in path.split("/")[:-1])]
    return multipliers[max(fitting, key=len)] if fitting else 1.0


def gradual_unfreezing(
    model: keras.Model,
    train: Any,
    validation: Any,
    *,
    stages: Sequence[str] = ("head", "conv5", "conv4"),
    epochs_per_stage: int = 10,
    directory: str | os.PathLike[str] | None = None,
    **settings: Any,
) -> pd.DataFrame:
    """Train the head, then unfreeze one part after the other (thesis, section 6.3).

    Each stage starts from the best weights of the one before, with a new Adam. The
    BatchNormalization of the base stays frozen (:func:`mammocourse.models.freeze_until`).

    Parameters
    ----------
    model : keras.Model
        Of :func:`mammocourse.models.build_resnet_classifier`.
    train, validation
        As for :func:`fit_classifier`.
    stages : sequence of str
        What to train from: "head", "conv5", ..., "all".
    epochs_per_stage : int
    directory : path, optional
        Each stage keeps its state in a folder in it; a killed call goes on where it was.
    **settings
        Of :func:`fit_classifier`.

    Returns
    -------
    DataFrame
        As from :func:`fit_classifier`, stages one below the other, with a column ``stage``.

    Raises
    ------
    ValueError
        As from :func:`fit_classifier`, or if there is no such stage.
    """
    from mammocourse.models import freeze_until

    frames = []
    for number, stage in enumerate(stages, start=1):
        freeze_until(model, stage)
        frame = fit_classifier(
            model,
            train,
            validation,
            epochs=epochs_per_stage,
            directory=None if directory is None else Path(directory) / f"{number}-{stage}",
            **settings,
        )
        frames.append(frame.assign(stage=stage))
    frame = pd.concat(frames, ignore_index=True)
    return frame.set_index(pd.RangeIndex(1, len(frame) + 1, name="epoch"))


def search(
    objective: Callable[[dict[str, Any]], float | Mapping[str, float]],
    grid: Mapping[str, Sequence[Any]],
    *,
    storage: str | os.PathLike[str],
    n_trials: int | None = None,
    seed: int = 0,
    retry_failed: bool = False,
    verbose: int = 0,
) -> pd.DataFrame:
    """Try every combination of a grid once, with Optuna, on a file that survives a kill.

    Call it again after a kill, or from several processes at once: combinations that are
    finished are not run again, those that a killed process left behind are. Whether a process
    still lives cannot be seen from the file: when nothing else is left, a combination that
    is running elsewhere is run twice, which changes nothing if ``objective`` is seeded.

    Parameters
    ----------
    objective : callable
        Takes a dict with one value per name of ``grid``. Returns a number, or a dict of
        numbers, of which "value" is the one to compare. Larger is better (an AUC).
    grid : dict
        Values (numbers or text) by name, for example :data:`TABLE_4_GRID`.
    storage : path or URL
        An SQLite file, made where it is missing, or an address of SQLAlchemy
        ("postgresql://..."). One search per storage; Optuna's own tools open it under the
        study's name, "search".
    n_trials : int, optional
        Only so many combinations, drawn with ``seed``. A later call may ask for more.
    seed : int
        Of the order of execution.
    retry_failed : bool
        Run combinations again whose objective raised an error in an earlier call.
    verbose : {0, 1}
        1 shows a progress bar.

    Returns
    -------
    DataFrame
        One row per combination in the order of the grid, whatever the order of execution:
        the grid's names, ``value`` and the other numbers (NaN after an error), ``error`` (text,
        empty where there was none). The index is the combination's place in the grid.

    Raises
    ------
    ValueError
        If ``grid`` is empty or not the one in the storage, or another argument is out of range.

    Warns
    -----
    UserWarning
        If the objective raised an error for some combinations; the others are not affected.
    """
    import optuna
    from tqdm.auto import tqdm

    if not grid or not all(len(values) for values in grid.values()):
        raise ValueError("grid is empty; it must be a dict with at least one value per name.")
    if n_trials is not None and n_trials < 1:
        raise ValueError(f"n_trials is {n_trials!r}; it must be at least 1, or None for all.")
    choices = {
        name: [value.item() if isinstance(value, np.generic) else value for value in values]
        for name, values in grid.items()
    }
    points = [
        dict(zip(choices, values, strict=True)) for values in itertools.product(*choices.values())
    ]
    order = np.random.default_rng(seed).permutation(len(points)).tolist()[:n_trials]
    study = _open_study(storage, choices)
    base = study.sampler
    earlier = {t.number for t in study.get_trials() if retry_failed and "error" in t.user_attrs}

    def trials(done: bool) -> dict[int, Any]:
        """Return the trials that are finished, or that have begun at all, by point."""
        return {
            trial.user_attrs["point"]: trial
            for trial in study.get_trials(deepcopy=False)
            if "point" in trial.user_attrs
            and trial.number not in earlier
            and (not done or trial.state.is_finished())
        }

    with tqdm(total=len(order), disable=not verbose) as bar:
        while open_points := sorted(set(order) - set(trials(done=True)), key=order.index):
            bar.update(len(order) - len(open_points) - bar.n)
            trial = study.ask()
            # The number is unique over all processes: number k runs the k-th point. Later
            # numbers take what nobody has begun, then what nobody has finished.
            begun = trials(done=False)
            fresh = [point for point in order[trial.number :] + order if point not in begun]
            point = (fresh or open_points)[0]
            trial.set_user_attr("point", point)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                study.sampler = optuna.samplers.PartialFixedSampler(points[point], base)
            for name, values in choices.items():
                trial.suggest_categorical(name, values)
            try:
                result = objective(dict(points[point]))
                numbers = dict(result) if isinstance(result, Mapping) else {"value": result}
                numbers = {name: float(number) for name, number in numbers.items()}
                if not np.isfinite(numbers["value"]):
                    raise ValueError(f"the objective returned {numbers['value']}")
            except Exception as error:
                trial.set_user_attr("error", f"{type(error).__name__}: {error}")
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
            else:
                trial.set_user_attr("numbers", numbers)
                study.tell(trial, numbers["value"])
        bar.update(len(order) - bar.n)

    found = trials(done=True)
    rows = {
        point: {
            **points[point],
            "value": np.nan,
            **found[point].user_attrs.get("numbers", {}),
            "error": found[point].user_attrs.get("error", ""),
        }
        for point in sorted(order)
    }
    table = pd.DataFrame.from_dict(rows, orient="index")
    failed = table[table["error"] != ""]
    if len(failed):
        warnings.warn(
            f"{len(failed)} of {len(table)} combinations failed, the first with "
            f"{failed['error'].iloc[0]}. See the column error; retry_failed=True runs them again.",
            stacklevel=2,
        )
    return table


def _open_study(storage: str | os.PathLike[str], choices: dict[str, list[Any]]) -> Any:
    """Return the study in a storage, after checking that its grid is the same."""
    import optuna
    import sqlalchemy

    address = os.fspath(storage)
    options: dict[str, Any] = {}
    if "://" not in address:
        Path(address).parent.mkdir(parents=True, exist_ok=True)
        address = f"sqlite:///{Path(address).as_posix()}"
        options = {"connect_args": {"timeout": 60}}  # seconds, while another process writes
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        for attempts_left in (3, 2, 1, 0):
            try:
                file = optuna.storages.RDBStorage(address, engine_kwargs=options)
                break
            except sqlalchemy.exc.DatabaseError:  # another process is making the same tables
                if not attempts_left:
                    raise
                time.sleep(0.5)
        study = optuna.create_study(
            study_name="search",
            storage=file,
            sampler=optuna.samplers.RandomSampler(),
            direction="maximize",
            load_if_exists=True,
        )
    finally:
        optuna.logging.set_verbosity(before)
    grid = json.dumps(choices)
    if study.user_attrs.get("grid", grid) != grid:
        raise ValueError(
            f"storage {address} holds the search of another grid: {study.user_attrs['grid']}, not "
            f"{grid}. Name another file, or delete that one."
        )
    study.set_user_attr("grid", grid)
    return study
