"""ResNet classifiers: transfer learning, freezing, and a cache for the frozen part.

Two architectures of the same design (He et al. 2016; thesis, section 4.4 and Fig. 14 to
16): ``"resnet50"``, Keras's own, and ``"course"``, a narrow network of 0.9 million
parameters whose pre-trained weights come with the course. Both are flat graphs whose
layers have the names of ``keras.applications.ResNet50``.

Keras is imported by the functions that need it: importing this module is cheap.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    import keras

__all__ = [
    "STAGES",
    "CachedTrunk",
    "build_resnet50_classifier",
    "build_resnet_classifier",
    "cache_trunk",
    "freeze_batchnorm",
    "freeze_until",
]

STAGES = ("conv1", "conv2", "conv3", "conv4", "conv5")
"""The parts of the base as Keras names them: the stem and four stages of residual blocks
(the thesis's "five residual blocks"). A layer belongs to the stage that starts its name."""

DEPTHS = ("all", "conv2", "conv3", "conv4", "conv5", "head")
"""Where training may begin; ``"all"`` begins at the stem."""

COURSE_WIDTHS = (16, 32, 64, 128)
"""Filters of the bottlenecks in the four stages of the course network."""

COURSE_WEIGHTS = "course_resnet.npz"
"""Bundled weights of the course network, float16 arrays by the path of the variable."""

_CACHE_VERSION = 1

IMAGENET_MEANS = (103.939, 116.779, 123.68)
"""Mean pixel of the ImageNet training images: blue, green, red, from 0 to 255."""


def build_resnet_classifier(
    input_shape: Sequence[int],
    *,
    architecture: Literal["resnet50", "course"] = "resnet50",
    weights: str | Path | None = "imagenet",
    head: Literal["flatten", "average"] = "flatten",
    classes: int = 2,
    trainable_from: Literal["head", "conv5", "conv4", "conv3", "conv2", "all"] = "conv5",
    dropout: float = 0.6,
    l2: float = 0.05,
    preprocessing: Literal["auto"] | None = "auto",
) -> keras.Model:
    """Build a ResNet with a new classification head, ready for fine-tuning.

    The defaults are the thesis's (section 4.4.3 and Table 4): ImageNet weights, the last
    convolutional output flattened, dropout of 60 %, two outputs; only ``conv5`` and the
    head are trained. At 224 x 224 pixels the base has 23,587,712 parameters and the head
    200,706. The graph is flat, and logits come out: softmax belongs to the loss
    (``from_logits=True``).

    BatchNormalization of the base keeps its statistics: each of its layers is not
    trainable, which in Keras is the one switch that ``fit`` respects. Training from
    scratch (``weights=None`` with ``trainable_from="all"``) is the exception.

    Parameters
    ----------
    input_shape : (H, W, C)
        Images from 64 to 512 pixels a side, with 1 or 3 channels.
    architecture : {"resnet50", "course"}
        ``"course"``: the same bottleneck blocks, two in each of four stages, of 16, 32,
        64 and 128 filters (times 4 at the end of a block), after a stem of 16 filters.
        It looks at one channel: of three it takes the mean.
    weights : {"imagenet", "course"}, path or None
        ``"imagenet"`` (for ``"resnet50"``) downloads Keras's own file once and checks it;
        ``"course"`` (for ``"course"``) comes with the package. A path leads to a
        ``.weights.h5``, ``.h5``, ``.keras`` or ``.npz`` file (arrays by the path of the
        variable) of the base, or of a whole classifier; the head of a whole one is taken
        if it fits. None starts at random: call ``set_seed`` first.
    head : {"flatten", "average"}
        Flatten the last convolutional output, or average it over the image, which needs
        49 times fewer parameters at 224 pixels.
    classes : int
        Number of outputs, at least 2.
    trainable_from : {"head", "conv5", "conv4", "conv3", "conv2", "all"}
        First stage that is trained; those before it are frozen.
    dropout : float in [0, 1)
        Rate of dropout between the base and the output layer.
    l2 : float
        Penalty on the kernel of the output layer, at least 0, in Keras's meaning (and in
        the thesis's code): ``l2 * sum(kernel**2)`` is added to the loss. Equation 30 of
        the thesis has alpha / 2, so its alpha is twice this number.
    preprocessing : {"auto", None}
        ``"auto"``: layers without parameters turn [0, 1] into what the weights were
        trained on. ResNet50: times 255, blue-green-red, minus the mean of ImageNet;
        course: (x - 0.5) / 0.25. None: [0, 1] goes in as it is, which is what the thesis
        did. Either way a single channel is repeated for ResNet50's three.

    Returns
    -------
    keras.Model
        From images (n, H, W, C) in [0, 1] to logits (n, classes), float32 under every
        dtype policy; not compiled. Layers: those of ``keras.applications.ResNet50``,
        then ``"flatten"`` or ``"avg_pool"``, ``"dropout"`` and ``"logits"``.

    Raises
    ------
    ValueError
        If an argument is not as described, or a file's arrays do not fit the network.
    FileNotFoundError
        If ``weights`` is a path without a file.
    RuntimeError
        If Keras is missing, or the weights cannot be downloaded.
    """
    shape = _check_shape(input_shape)
    _check_choice("architecture", architecture, ("resnet50", "course"))
    _check_choice("head", head, ("flatten", "average"))
    _check_choice("trainable_from", trainable_from, DEPTHS)
    _check_choice("preprocessing", preprocessing, ("auto", None))
    _check_head(classes, dropout, l2)
    weights = _check_weights(weights, architecture)
    keras = _keras("build_resnet_classifier()")
    layers = keras.layers

    images = keras.Input(shape, name="images")
    pixels = _prepared(images, architecture, preprocessing)
    if architecture == "resnet50":
        base = _resnet50(pixels, weights)
    else:
        base = keras.Model(images, _course_features(pixels))
    pool = layers.Flatten(name="flatten")
    if head == "average":
        pool = layers.GlobalAveragePooling2D(name="avg_pool")
    x = layers.Dropout(dropout, name="dropout")(pool(base.output))
    logits = layers.Dense(
        classes, kernel_regularizer=keras.regularizers.L2(l2), dtype="float32", name="logits"
    )(x)
    model = keras.Model(images, logits, name=f"{architecture}_classifier")
    if weights not in (None, "imagenet"):
        _load_weights(model, base, weights)

    freeze_until(model, trainable_from)
    if weights is None and trainable_from == "all":
        for layer in _batchnorms(model):
            layer.trainable = True
    return model


def build_resnet50_classifier(input_shape: Sequence[int], **options: Any) -> keras.Model:
    """Build the thesis's network: `build_resnet_classifier` with ``architecture="resnet50"``.

    Parameters
    ----------
    input_shape : (H, W, C)
        Images from 64 to 512 pixels a side, with 1 or 3 channels.
    **options
        The other arguments of `build_resnet_classifier`.

    Returns
    -------
    keras.Model
        From images (n, H, W, C) in [0, 1] to logits (n, classes).
    """
    return build_resnet_classifier(input_shape, architecture="resnet50", **options)


def freeze_until(model: keras.Model, stage: str) -> keras.Model:
    """Freeze everything before a stage, and let the rest be trained.

    All BatchNormalization is frozen too: its statistics belong to the weights.

    Parameters
    ----------
    model : keras.Model
        A network of `build_resnet_classifier`, or a flat one with the same names.
    stage : {"head", "conv5", "conv4", "conv3", "conv2", "all"}
        The first stage that is trained. Compile the model again after a change.

    Returns
    -------
    keras.Model
        The same model, changed in place.

    Raises
    ------
    ValueError
        If there is no such stage, or the model has none of the stages.
    """
    _check_choice("stage", stage, DEPTHS)
    first = len(STAGES) if stage == "head" else DEPTHS.index(stage)
    numbers = _stage_numbers(model)
    model.trainable = True
    for layer, number in zip(model.layers, numbers, strict=True):
        layer.trainable = number >= first
    return freeze_batchnorm(model)


def freeze_batchnorm(model: keras.Model) -> keras.Model:
    """Freeze all BatchNormalization: weights and moving statistics stay as they are.

    Only ``trainable = False`` on each of these layers does that in Keras 3:
    ``base(x, training=False)`` is overridden by ``fit`` (keras#20285).

    Parameters
    ----------
    model : keras.Model
        Any model, nested ones included. Compile it again afterwards.

    Returns
    -------
    keras.Model
        The same model, changed in place.
    """
    for layer in _batchnorms(model):
        layer.trainable = False
    return model


@dataclass(frozen=True)
class CachedTrunk:
    """The frozen part of a network, run once: what `cache_trunk` returns.

    Attributes
    ----------
    features : ndarray (n, h, w, c)
        Output of the frozen part for each image, in the order of the images; with a
        directory a read-only memory map.
    head : keras.Model
        From features to logits, through the very layers of the model that was given:
        training the head trains the model. Not compiled.
    boundary : str
        Name of the layer whose output the features are.
    """

    features: np.ndarray
    head: keras.Model
    boundary: str


def cache_trunk(
    model: keras.Model,
    images: Any,
    *,
    directory: str | Path | None = None,
    dtype: str = "float32",
    batch_size: int = 32,
    progress: bool = False,
) -> CachedTrunk:
    """Run the frozen part of a network once, and keep its outputs.

    The frozen part (trunk) gives the same output in every epoch, because none of its
    weights moves, its BatchNormalization is in inference mode and nothing in it is
    random. What is left to train is the head, from the boundary before the first stage
    that has trainable weights.

    With a directory the features are on disk, in blocks of 128 images: a run that was
    killed goes on where it stopped and loses at most one block. An entry belongs to the
    weights of the trunk, the images, the dtype and the version of Keras: any change of
    these makes a new one, and blocks that the disk damaged are noticed and computed
    again. Old entries may be deleted at any time.

    Parameters
    ----------
    model : keras.Model
        A network of `build_resnet_classifier`, or a flat one with the same names.
    images : array (n, H, W, C), or tf.data.Dataset
        Images in [0, 1]. A dataset has images as its elements, single or in batches
        and without labels, in the same order in every pass: no ``shuffle``, no random
        augmentation. With a directory it is read twice.
    directory : str or Path, optional
        Folder of the cache, made where missing. Default: the features stay in memory.
    dtype : {"float32", "float16"}
        Float32 gives the logits of the whole model. Float16 halves the size and rounds
        each feature by at most one part in 2,048; it moves a logit by less than 0.01 of
        the standard deviation of the logits over images (measured: 0.0007 with the
        course weights on phantom crops, 0.003 with random weights on noise).
    batch_size : int
        Images that run through the trunk at once.
    progress : bool
        Show a progress bar.

    Returns
    -------
    CachedTrunk
        Features, head and the name of the boundary.

    Raises
    ------
    ValueError
        If an argument is not as described, the model has no frozen part or nothing to
        train, or the trunk has weights that move or layers that are random.
    OverflowError
        If a feature is too large for float16.
    """
    _check_choice("dtype", dtype, ("float32", "float16"))
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(f"batch_size is {batch_size!r}; it must be an integer of at least 1.")
    keras = _keras("cache_trunk()")
    boundary = _boundary(model)
    trunk = keras.Model(model.inputs[0], boundary.output)
    _check_trunk(trunk)
    head = keras.Model(boundary.output, model.outputs[0], name=f"{model.name}_head")

    blocks = _Blocks(images, model.input_shape[1:], progress)

    def run(block: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):  # it is an error below
            features = trunk.predict(block, batch_size=batch_size, verbose=0).astype(dtype)
        if not np.isfinite(features).all():
            raise OverflowError(
                f"features of {boundary.name} are not finite in {dtype}; use dtype='float32', and "
                "check the weights if they still are not."
            )
        return features

    if directory is None:
        features = np.concatenate([run(block) for block in blocks])
    else:
        features = _features_on_disk(trunk, run, blocks, Path(directory).expanduser(), dtype)
    return CachedTrunk(features, head, boundary.name)


def _boundary(model: keras.Model) -> Any:
    """Return the last layer before the first stage with trainable weights."""
    numbers = _stage_numbers(model)
    trained = [
        (number, layer.name)
        for number, layer in zip(numbers, model.layers, strict=True)
        if layer.trainable_weights
    ]
    if not trained:
        raise ValueError(
            f"the model {model.name!r} has no trainable weights, so there is no head to train on "
            "cached features. Call freeze_until(model, 'head') or another stage."
        )
    first, name = min(trained)
    if first < 1:
        raise ValueError(
            f"the layer {name!r} is trained, so no part of the model {model.name!r} is frozen and "
            "nothing to cache. Train without a cache, or call freeze_until(model, 'conv5')."
        )
    return model.layers[max(i for i, number in enumerate(numbers) if number < first)]


def _check_trunk(trunk: keras.Model) -> None:
    """Raise if the output of the trunk could change between epochs."""
    import keras

    from mammocourse.interpret import _layers

    for layer in _layers(trunk):
        batchnorm = isinstance(layer, keras.layers.BatchNormalization)
        if layer.trainable_weights or (batchnorm and layer.trainable):
            raise ValueError(
                f"the layer {layer.name!r} lies in the frozen part but is trainable, so its output "
                "would change and the cache would be wrong. Call freeze_until() or "
                "freeze_batchnorm()."
            )
        if len(layer.variables) > len(layer.weights):  # the state of a random generator
            raise ValueError(
                f"the layer {layer.name!r} lies in the frozen part and is random (dropout or "
                "augmentation): its output differs in each epoch, and a cache would keep one. Move "
                "it behind the boundary, augment the images before caching, or train without a "
                "cache."
            )


class _Blocks:
    """The images in blocks of `SIZE`, from an array or a dataset; may be iterated repeatedly."""

    SIZE = 128

    def __init__(self, images: Any, shape: tuple[int, ...], progress: bool) -> None:
        self.images = images
        self.shape = tuple(shape)
        self.progress = progress
        self.is_array = not hasattr(images, "as_numpy_iterator")
        if self.is_array:
            self.images = np.asarray(images)
            if self.images.ndim != 4 or len(self.images) == 0:
                raise ValueError(
                    f"images have shape {self.images.shape}; they must be (n, H, W, C) with n of "
                    "at least 1."
                )
            self._check(self.images[:1])
            return
        spec = images.element_spec
        if isinstance(spec, tuple | dict | list) or len(spec.shape) not in (3, 4):
            raise ValueError(
                f"the elements of the dataset are {spec}; they must be images (H, W, C) or batches "
                "of images alone. Drop the labels with images.map(lambda x, y: x)."
            )
        if images.cardinality() == -1:  # tf.data.INFINITE_CARDINALITY
            raise ValueError("the dataset has no end; remove repeat().")
        if len(spec.shape) == 4:
            self.images = images.unbatch()

    def __iter__(self) -> Iterator[np.ndarray]:
        from tqdm.auto import tqdm

        if self.is_array:
            starts = range(0, len(self.images), self.SIZE)
            source: Any = (self.images[start : start + self.SIZE] for start in starts)
            total = len(starts)
        else:
            source, total = self.images.batch(self.SIZE).as_numpy_iterator(), None
        empty = True
        for block in tqdm(source, total=total, unit="block", disable=not self.progress):
            empty = False
            yield self._check(block)
        if empty:
            raise ValueError("the dataset has no images.")

    def _check(self, block: np.ndarray) -> np.ndarray:
        """Return a block as float32, or raise."""
        if block.shape[1:] != self.shape:
            raise ValueError(
                f"images have shape {block.shape[1:]}, the model takes {self.shape} (height, "
                "width, channels)."
            )
        if not np.issubdtype(block.dtype, np.floating):
            raise ValueError(
                f"images are {block.dtype}; they must be floating-point numbers in [0, 1]: divide "
                "8-bit images by 255."
            )
        if not (block.min() >= -1e-3 and block.max() <= 1 + 1e-3):  # resizing may overshoot
            raise ValueError(
                f"images range from {block.min():g} to {block.max():g}; they must lie in [0, 1]: "
                "divide 8-bit images by 255, and remove NaN."
            )
        return np.ascontiguousarray(block, np.float32)


def _features_on_disk(
    trunk: keras.Model, run: Any, blocks: _Blocks, directory: Path, dtype: str
) -> np.ndarray:
    """Return the memory-mapped features of the blocks, computing those that are not there."""
    sums, rows = [], []
    for block in blocks:
        sums.append(_digest(block))
        rows.append(len(block))
    shape = (sum(rows), *trunk.output_shape[1:])
    key = hashlib.sha256(repr((_CACHE_VERSION, dtype, shape, _fingerprint(trunk), sums)).encode())
    directory.mkdir(parents=True, exist_ok=True)
    entry = _Entry(directory / f"{key.hexdigest()[:32]}.npy", shape, dtype, rows)
    if missing := entry.missing():
        for number, (block, total) in enumerate(zip_longest(blocks, sums)):
            if block is None or _digest(block) != total:
                raise ValueError(
                    "the dataset gave other images in its second pass than in its first; remove "
                    "shuffle() and random augmentation, so that features and labels stay in step."
                )
            if number in missing:
                entry.write(number, run(block))
    return np.load(entry.path, mmap_mode="r")


class _Entry:
    """Features on disk: an .npy file, and a JSON manifest with a checksum for each whole block.

    The manifest decides what is valid. It is replaced in one step after a block has
    reached the disk, so a kill at any moment leaves whole blocks only.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: str, rows: list[int]) -> None:
        self.path = path
        self.manifest = path.with_suffix(".json")
        header = io.BytesIO()
        described = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(header, described)
        self.header = header.getvalue()
        row_bytes = math.prod(shape[1:]) * np.dtype(dtype).itemsize
        self.sizes = [row_bytes * count for count in rows]
        self.about = {"version": _CACHE_VERSION, "shape": shape, "dtype": dtype}
        self.checksums: list[str | None] = [None] * len(rows)

    def missing(self) -> set[int]:
        """Return the numbers of the blocks that are not there, with a warning for damaged ones."""
        stored: Any = self._stored()
        with self.path.open("a+b") as file:  # made where missing
            file.seek(0)
            if file.read(len(self.header)) != self.header:
                file.truncate(0)
                file.write(self.header)
            for number, size in enumerate(self.sizes):
                if stored[number] is not None and _digest(file.read(size)) == stored[number]:
                    self.checksums[number] = stored[number]
                file.seek(len(self.header) + sum(self.sizes[: number + 1]))
            file.truncate(min(file.seek(0, os.SEEK_END), len(self.header) + sum(self.sizes)))
        damaged = sum(
            a is not None and b is None for a, b in zip(stored, self.checksums, strict=True)
        )
        if damaged:
            warnings.warn(
                f"{self.path}: {damaged} of {len(stored)} blocks of features are damaged; they are "
                "computed again.",
                stacklevel=5,
            )
        return {number for number, checksum in enumerate(self.checksums) if checksum is None}

    def write(self, number: int, features: np.ndarray) -> None:
        """Put a block on disk, then into the manifest."""
        content = np.ascontiguousarray(features).tobytes()
        with self.path.open("r+b") as file:
            file.seek(len(self.header) + sum(self.sizes[:number]))
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        self.checksums[number] = _digest(content)
        temporary = self.manifest.with_suffix(".tmp")
        temporary.write_text(json.dumps({**self.about, "checksums": self.checksums}, indent=1))
        os.replace(temporary, self.manifest)

    def _stored(self) -> list[str | None]:
        """Return the checksums of the manifest; none where it is missing or unreadable."""
        nothing: list[str | None] = [None] * len(self.sizes)
        if not self.manifest.exists():
            return nothing
        try:
            checksums = json.loads(self.manifest.read_text())["checksums"]
        except (ValueError, KeyError, TypeError):
            checksums = None
        if not isinstance(checksums, list) or len(checksums) != len(nothing):
            warnings.warn(
                f"{self.manifest} is damaged; the features are computed again.", stacklevel=6
            )
            return nothing
        return checksums


def _digest(content: Any) -> str:
    """Return a checksum of bytes or of a contiguous array."""
    return hashlib.sha256(content).hexdigest()


def _fingerprint(trunk: keras.Model) -> str:
    """Return a checksum of what determines the output of a trunk: layers, weights, Keras."""
    import keras

    total = hashlib.sha256(keras.__version__.encode())
    for operation in trunk.operations:
        config = operation.get_config()
        settings = {k: v for k, v in config.items() if k not in ("name", "trainable")}
        described = [type(operation).__name__, settings]
        total.update(
            json.dumps(described, sort_keys=True, default=lambda o: type(o).__name__).encode()
        )
    for weight in trunk.weights:
        total.update(weight.path.encode())
        total.update(weight.numpy().tobytes())
    return total.hexdigest()


def _batchnorms(model: keras.Model) -> list[Any]:
    """Return the BatchNormalization layers of a model and of the models in it."""
    import keras

    from mammocourse.interpret import _layers

    return [part for part in _layers(model) if isinstance(part, keras.layers.BatchNormalization)]


def _stage_numbers(model: keras.Model) -> list[int]:
    """Return for each layer its number in `STAGES`; -1 before them, 5 after them (the head)."""
    numbers = []
    number = -1
    for layer in model.layers:  # from the input to the output
        stage = layer.name.split("_")[0].replace("pool1", "conv1")
        if stage in STAGES:
            number = STAGES.index(stage)
        elif number == len(STAGES) - 1:
            number = len(STAGES)
        numbers.append(number)
    if missing := [stage for i, stage in enumerate(STAGES) if i not in numbers]:
        raise ValueError(
            f"the model {model.name!r} has no layers whose names begin with {', '.join(missing)}. "
            "It must be a flat ResNet as build_resnet_classifier() makes it; a base that lies "
            "inside another model as one layer: build it with input_tensor= instead."
        )
    return numbers


def _prepared(images: Any, architecture: str, preprocessing: str | None) -> Any:
    """Turn the input of the graph into what the base takes; only layers that save and load."""
    from keras import layers, ops

    height, width, channels = images.shape[1:]
    x = images
    if architecture == "resnet50":
        if channels == 1:
            x = layers.Concatenate(name="repeat_channel")([x, x, x])
        elif preprocessing == "auto":
            x = ops.flip(x, axis=-1)
        if preprocessing == "auto":
            x = layers.Rescaling(
                255.0, [-mean for mean in IMAGENET_MEANS], dtype="float32", name="minus_mean"
            )(x)
    else:
        if channels == 3:
            x = layers.Reshape((height, 3 * width, 1), name="channels_in_a_row")(x)
            x = layers.AveragePooling2D((1, 3), name="mean_of_channels")(x)
        if preprocessing == "auto":
            x = layers.Rescaling(4.0, -2.0, dtype="float32", name="standardize")(x)
    return x


def _resnet50(pixels: Any, weights: str | Path | None) -> keras.Model:
    """Return Keras's ResNet50 without its head, on a tensor of three channels."""
    import keras

    resnet50 = keras.applications.ResNet50
    if weights != "imagenet":
        return resnet50(include_top=False, weights=None, input_tensor=pixels)
    try:
        return resnet50(include_top=False, weights="imagenet", input_tensor=pixels)
    except Exception as error:  # Keras raises a bare Exception for the network
        raise RuntimeError(
            f"the ImageNet weights of ResNet50 cannot be had: {error}\n"
            "With a network connection Keras downloads them once (95 MB, checksummed) into "
            "~/.keras/models. Without one: give weights= the path of the file "
            "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5, or use architecture='course' "
            "with weights='course', which comes with the course."
        ) from error


def _course_features(x: Any) -> Any:
    """Return the last convolutional output of the course network: conv5_block2_out."""
    from keras import layers

    x = layers.ZeroPadding2D(3, name="conv1_pad")(x)
    x = _conv_bn(x, COURSE_WIDTHS[0], 7, name="conv1", strides=2, relu=True)
    x = layers.ZeroPadding2D(1, name="pool1_pad")(x)
    x = layers.MaxPooling2D(3, strides=2, name="pool1_pool")(x)
    for stage, width in zip(STAGES[1:], COURSE_WIDTHS, strict=True):
        x = _bottleneck(x, width, f"{stage}_block1", strides=1 if stage == "conv2" else 2)
        x = _bottleneck(x, width, f"{stage}_block2")
    return x


def _bottleneck(x: Any, width: int, name: str, strides: int | None = None) -> Any:
    """Add a bottleneck block; given strides, its shortcut is a convolution, else the identity."""
    from keras import layers

    shortcut = x
    if strides is not None:
        shortcut = _conv_bn(x, 4 * width, 1, name=f"{name}_0", strides=strides)
    x = _conv_bn(x, width, 1, name=f"{name}_1", strides=strides or 1, relu=True)
    x = _conv_bn(x, width, 3, name=f"{name}_2", padding="same", relu=True)
    x = _conv_bn(x, 4 * width, 1, name=f"{name}_3")
    x = layers.Add(name=f"{name}_add")([shortcut, x])
    return layers.Activation("relu", name=f"{name}_out")(x)


def _conv_bn(
    x: Any, filters: int, size: int, *, name: str, relu: bool = False, **options: Any
) -> Any:
    """Add a convolution with BatchNormalization, and ReLU where wanted."""
    from keras import layers

    x = layers.Conv2D(filters, size, name=f"{name}_conv", **options)(x)
    x = layers.BatchNormalization(epsilon=1.001e-5, name=f"{name}_bn")(x)
    return layers.Activation("relu", name=f"{name}_relu")(x) if relu else x


def _load_weights(model: keras.Model, base: keras.Model, weights: str | Path) -> None:
    """Load a file of the base or of the whole classifier."""
    path = Path(weights)
    if path.suffix == ".h5":
        _load_h5(model, base, path)
        return
    arrays = _read_npz(weights) if weights == "course" or path.suffix == ".npz" else None
    if arrays is None:
        arrays = _read_keras(path)
    wanted = {weight.path: weight for weight in base.weights}
    if missing := [name for name in wanted if name not in arrays]:
        raise ValueError(
            f"{path} has no array for {len(missing)} of the {len(wanted)} weights of "
            f"{model.name}, for example {missing[0]!r}; it was made by another architecture."
        )
    for name, weight in wanted.items():
        if arrays[name].shape != weight.shape:
            raise ValueError(
                f"{path}: {name} has shape {arrays[name].shape}, the network needs "
                f"{tuple(weight.shape)}; it was made by another architecture."
            )
        weight.assign(arrays[name])
    output = {weight.path: weight for weight in model.get_layer("logits").weights}
    if not any(name in arrays for name in output):
        return
    if all(name in arrays and arrays[name].shape == w.shape for name, w in output.items()):
        for name, weight in output.items():
            weight.assign(arrays[name])
    else:
        _warn_new_head(path)


def _warn_new_head(path: Path) -> None:
    """Say that only the base of a file was used."""
    warnings.warn(
        f"{path}: the base was loaded, but its output layer has another shape than this "
        "network's, which starts at random.",
        stacklevel=4,
    )


def _load_h5(model: keras.Model, base: keras.Model, path: Path) -> None:
    """Load Keras's own weight file into the whole classifier, else into its base."""
    import h5py  # type: ignore[import-untyped]

    output = model.get_layer("logits").weights
    start = [weight.numpy() for weight in output]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras warns of every layer that a file lacks
        try:
            model.load_weights(path)
            return
        except Exception:  # it is not a whole classifier with this head
            for weight, value in zip(output, start, strict=True):
                weight.assign(value)
        try:
            base.load_weights(path)
        except Exception as error:  # Keras raises several kinds
            raise ValueError(
                f"{path} holds neither the weights of {model.name} nor those of its base: {error}"
            ) from error
    with h5py.File(path) as file:
        if any(name.startswith("dense") for name in file.get("layers", ())):
            _warn_new_head(path)


def _read_npz(weights: str | Path) -> Mapping[str, np.ndarray]:
    """Read arrays by the path of the variable, from the bundled or from another file."""
    from mammocourse.resources import read_bytes

    source = io.BytesIO(read_bytes(COURSE_WEIGHTS)) if weights == "course" else weights
    try:
        with np.load(source, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except Exception as error:
        raise ValueError(f"{weights} is not a file of numpy.savez: {error}") from error


def _read_keras(path: Path) -> Mapping[str, np.ndarray]:
    """Read the weights of a whole saved model, by the path of the variable."""
    import keras

    try:
        saved = keras.models.load_model(path, compile=False)
    except Exception as error:
        raise ValueError(f"{path} cannot be read as a saved Keras model: {error}") from error
    return {weight.path: weight.numpy() for weight in saved.weights}


def _check_shape(input_shape: Sequence[int]) -> tuple[int, int, int]:
    """Return (H, W, C), or raise."""
    try:
        height, width, channels = (int(size) for size in input_shape)
        whole = (height, width, channels) == tuple(input_shape)
    except (TypeError, ValueError):
        whole = False
    if not whole:
        raise ValueError(
            f"input_shape is {input_shape!r}; it must be three integers (height, width, channels), "
            "without the number of images."
        )
    if not (64 <= height <= 512 and 64 <= width <= 512):
        raise ValueError(
            f"input_shape is {input_shape!r}; height and width must be from 64 to 512 pixels. "
            "Resize the images, for example with mammocourse.preprocessing.resize_image()."
        )
    if channels not in (1, 3):
        raise ValueError(
            f"input_shape is {input_shape!r}; images must have 1 or 3 channels, on the last axis."
        )
    return height, width, channels


def _check_choice(name: str, value: object, choices: Sequence[object]) -> None:
    """Raise unless the value is one of the choices."""
    if not any(
        value is choice or (isinstance(value, str) and value == choice) for choice in choices
    ):
        listed = ", ".join(map(repr, choices))
        raise ValueError(f"{name} is {value!r}; it must be one of {listed}.")


def _check_head(classes: int, dropout: float, l2: float) -> None:
    """Raise unless the numbers of the head are in their ranges."""
    if isinstance(classes, bool) or not isinstance(classes, int | np.integer) or classes < 2:
        raise ValueError(
            f"classes is {classes!r}; it must be an integer of at least 2 (one output would make "
            "argmax 0 for every image)."
        )
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout is {dropout!r}; it must be a rate in [0, 1).")
    if not (0 <= l2 < math.inf):
        raise ValueError(f"l2 is {l2!r}; it must be a finite number of at least 0.")


def _check_weights(weights: str | Path | None, architecture: str) -> str | Path | None:
    """Return the weights to load, or raise with the alternative."""
    if weights == "course" and architecture == "resnet50":
        raise ValueError(
            "weights='course' fit architecture='course' only; for ResNet50 take "
            "weights='imagenet', a path or None."
        )
    if weights == "imagenet" and architecture == "course":
        raise ValueError(
            "weights='imagenet' fit architecture='resnet50' only; for the course network take "
            "weights='course', a path or None."
        )
    if weights is None or weights in ("imagenet", "course"):
        return weights
    if not isinstance(weights, str | Path):
        raise ValueError(
            f"weights is {weights!r}; it must be 'imagenet', 'course', the path of a file or None."
        )
    path = Path(weights).expanduser()
    if not path.is_file():
        raise FileNotFoundError(
            f"weights: there is no file {path}. Give 'imagenet', 'course', None, or the path of a "
            ".weights.h5, .h5, .keras or .npz file."
        )
    if path.suffix not in (".h5", ".keras", ".npz"):
        raise ValueError(
            f"weights: {path} must end in .weights.h5, .h5, .keras or .npz, which names its format."
        )
    return path


def _keras(caller: str) -> Any:
    """Import Keras, or say how to install it."""
    try:
        import keras
    except ImportError as error:
        raise RuntimeError(
            f"{caller} needs Keras, which cannot be imported here. Install it with "
            'pip install "mammocourse[cpu]".'
        ) from error
    return keras
