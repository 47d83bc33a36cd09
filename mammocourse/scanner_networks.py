"""The networks that scan a mammogram, and their weights: see `mammocourse.scanner`.

Keras is imported by the functions that need it: importing this module is cheap.
"""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mammocourse.resnet import (
    COURSE_WIDTHS,
    IMAGENET_MEANS,
    STAGES,
    _check_choice,
    _conv_bn,
    _keras,
    _read_npz,
    _resnet50,
    freeze_batchnorm,
)
from mammocourse.resources import read_bytes

if TYPE_CHECKING:
    import keras

__all__ = ["build_scanner", "convert_vgg_m"]

VGG_M_WIDTHS = (96, 256, 512, 512, 512)
"""Filters of conv1 to conv5 of VGG-M (Chatfield et al. 2014)."""

VGG_M_KERNELS = {"conv1": 7, "conv2": 5, "conv3": 3, "conv4": 3, "conv5": 3, "fc6": 6}
"""Sides of its kernels, by layer."""

SHUFFLED_WEIGHTS = "course_resnet_shuffled.npz"
"""The course network after the same pre-training with shuffled labels."""


def build_scanner(
    architecture: Literal["vgg_m", "vgg16", "resnet50", "course"] = "vgg_m",
    *,
    weights: str | Path | None = "auto",
    n_features: int | None = None,
) -> keras.Model:
    """Build a fully convolutional network that describes windows of a mammogram.

    Channels are averaged to one, because a mammogram has no color, and layers without
    parameters turn [0, 1] into what the weights were trained on. BatchNormalization keeps
    its statistics.

    Parameters
    ----------
    architecture : {"vgg_m", "vgg16", "resnet50", "course"}
        ``"vgg_m"``: the AUC paper's network (Chatfield et al. 2014, "CNN-M"): five
        convolutions and the first dense layer as a convolution of 6 x 6, 4,096 features.
        Nothing is padded: windows of 331 pixels, stride 32.
        ``"vgg16"``: Keras's VGG16 through its first dense layer as a convolution of 7 x 7,
        4,096 features; windows of 224 pixels, stride 32, padded.
        ``"resnet50"``: Keras's ResNet50 through ``conv4``, averaged over 14 x 14 positions,
        1,024 features; windows of 209 pixels, stride 16, padded.
        ``"course"``: the course network of `build_resnet_classifier`, its convolutions
        without padding and its shortcuts cropped to fit. ``n_features`` is 64, 128 (the
        default) or 256: through ``conv2``, ``conv3`` or ``conv4``, with windows of 27, 59
        or 123 pixels and a stride of 4, 8 or 16.
    weights : {"auto", "imagenet", "course", "shuffled"}, path or None
        ``"auto"``: ``"imagenet"`` for VGG16 and ResNet50 (Keras downloads them once),
        ``"course"`` for the course network, None for VGG-M, whose file has to be converted
        (`convert_vgg_m`). ``"shuffled"``: the course network after the same pre-training
        with shuffled labels, a control. A path leads to an ``.npz`` file (arrays by the path
        of the variable), or for VGG16 and ResNet50 to Keras's own ``.h5`` file (VGG16's with
        its dense layers, ResNet50's without). None starts at random: call ``set_seed``.
    n_features : int, optional
        For the VGGs the number of filters of the last layer, 1 to 4,096; of weights that are
        loaded the first ones.

    Returns
    -------
    keras.Model
        From images (n, H, W, 1 or 3) in [0, 1], of any size from one window up, to features
        (n, h, w, n_features). A flat graph; the last layer is the one whose stride the
        merged network changes.

    Raises
    ------
    ValueError
        If an argument is not as described, or a file's arrays do not fit the network or
        are not finite.
    FileNotFoundError
        If ``weights`` is a path without a file.
    RuntimeError
        If Keras is missing, or the weights cannot be downloaded.
    """
    _check_choice("architecture", architecture, tuple(_BUILDERS))
    source = _check_source(architecture, weights)
    build, default, allowed = _BUILDERS[architecture]
    count = default if n_features is None else n_features
    if isinstance(count, bool) or count not in allowed:
        expected = f"from 1 to {default}" if len(allowed) > 3 else f"in {list(allowed)}"
        raise ValueError(
            f"n_features is {n_features!r}; for architecture={architecture!r} it must be "
            f"{expected}."
        )
    keras = _keras("build_scanner()")
    images = keras.Input((None, None, None), name="images")
    gray = keras.ops.mean(images, axis=-1, keepdims=True)
    model = keras.Model(images, build(gray, int(count)), name=f"{architecture}_scanner")
    if source is not None:
        _assign(model, _arrays(architecture, source), source)
    return freeze_batchnorm(model)


def _imagenet(gray: Any) -> Any:
    """Turn one channel in [0, 1] into blue, green and red from 0 to 255 minus ImageNet's mean."""
    from keras import layers

    x = layers.Concatenate(name="repeat_channel")([gray, gray, gray])
    return layers.Rescaling(255.0, [-mean for mean in IMAGENET_MEANS], name="minus_mean")(x)


def _vgg_m(gray: Any, n_features: int, widths: Sequence[int] = VGG_M_WIDTHS) -> Any:
    """Add VGG-M through its sixth layer, the dense one as a convolution; nothing is padded."""
    from keras import layers

    x = _imagenet(gray)
    sizes, strides = (7, 5, 3, 3, 3), (2, 2, 1, 1, 1)
    for number, (width, size, stride) in enumerate(zip(widths, sizes, strides, strict=True), 1):
        x = layers.Conv2D(width, size, stride, activation="relu", name=f"conv{number}")(x)
        if number <= 2:
            x = _local_response(x, f"norm{number}")
        if number in (1, 2, 5):
            x = layers.MaxPooling2D(3, 2, name=f"pool{number}")(x)
    return layers.Conv2D(n_features, 6, activation="relu", name="fc6")(x)


def _local_response(x: Any, name: str) -> Any:
    """Divide by (2 + 0.0001 * sum of squares over five neighboring channels)**0.75."""
    from keras import layers, ops

    channel = np.arange(x.shape[-1])
    near = (abs(channel[:, None] - channel) <= 2).astype(np.float32)
    total = ops.matmul(ops.square(x), near)
    return layers.Multiply(name=name)([x, ops.power(2 + 1e-4 * total, -0.75)])


def _vgg16(gray: Any, n_features: int) -> Any:
    """Add VGG16 through its first dense layer, as a convolution."""
    import keras

    vgg16 = keras.applications.VGG16(include_top=False, weights=None, input_tensor=_imagenet(gray))
    return keras.layers.Conv2D(n_features, 7, activation="relu", name="fc1")(vgg16.output)


def _resnet50_conv4(gray: Any, n_features: int) -> Any:
    """Add ResNet50 through conv4, averaged over the 14 x 14 positions of a 224-pixel image."""
    from keras import layers

    conv4 = _resnet50(_imagenet(gray), None).get_layer("conv4_block6_out")
    return layers.AveragePooling2D(14, strides=1, name="windows")(conv4.output)


def _course(gray: Any, n_features: int) -> Any:
    """Add the course ResNet through one of its stages, without padding."""
    from keras import layers

    x = layers.Rescaling(4.0, -2.0, name="standardize")(gray)
    x = _conv_bn(x, COURSE_WIDTHS[0], 7, name="conv1", strides=2, relu=True)
    x = layers.MaxPooling2D(3, strides=2, name="pool1_pool")(x)
    for stage, width in zip(STAGES[1:], COURSE_WIDTHS, strict=True):
        x = _bottleneck(x, width, f"{stage}_block1", strides=1 if stage == "conv2" else 2)
        x = _bottleneck(x, width, f"{stage}_block2")
        if 4 * width == n_features:
            break
    return layers.MaxPooling2D(1, strides=1, name="windows")(x)  # its stride can be changed


def _bottleneck(x: Any, width: int, name: str, strides: int | None = None) -> Any:
    """Add a bottleneck block without padding, its shortcut cropped to fit."""
    from keras import layers

    shortcut = x
    if strides is not None:
        shortcut = _conv_bn(x, 4 * width, 1, name=f"{name}_0", strides=strides)
    shortcut = layers.Cropping2D(1, name=f"{name}_crop")(shortcut)
    x = _conv_bn(x, width, 1, name=f"{name}_1", strides=strides or 1, relu=True)
    x = _conv_bn(x, width, 3, name=f"{name}_2", relu=True)
    x = _conv_bn(x, 4 * width, 1, name=f"{name}_3")
    x = layers.Add(name=f"{name}_add")([shortcut, x])
    return layers.Activation("relu", name=f"{name}_out")(x)


_BUILDERS: dict[str, tuple[Callable[..., Any], int, Sequence[int]]] = {
    "vgg_m": (_vgg_m, 4096, range(1, 4097)),
    "vgg16": (_vgg16, 4096, range(1, 4097)),
    "resnet50": (_resnet50_conv4, 1024, (1024,)),
    "course": (_course, 128, (64, 128, 256)),
}


# --- their weights


def _check_source(architecture: str, weights: str | Path | None) -> str | Path | None:
    """Return the weights to load, or raise with the alternative."""
    named = {"course": ("course", "shuffled"), "vgg_m": ()}.get(architecture, ("imagenet",))
    if weights is None or weights in named:
        return weights
    if weights == "auto":
        return named[0] if named else None
    if not isinstance(weights, str | Path) or weights in ("imagenet", "course", "shuffled"):
        listed = ", ".join(map(repr, ("auto", *named)))
        raise ValueError(
            f"weights is {weights!r}; for architecture={architecture!r} it must be {listed}, the "
            "path of a file or None."
        )
    path = Path(weights).expanduser()
    suffixes = (".npz", ".h5") if "imagenet" in named else (".npz",)
    if not path.is_file():
        raise FileNotFoundError(f"weights: there is no file {path}.")
    if path.suffix not in suffixes:
        remedy = " Convert a .mat file with convert_vgg_m()." if path.suffix == ".mat" else ""
        raise ValueError(f"weights: {path} must end in {' or '.join(suffixes)}.{remedy}")
    return path


def _arrays(architecture: str, source: str | Path) -> Mapping[str, np.ndarray]:
    """Read weights by the path of the variable."""
    if source == "shuffled":
        with np.load(io.BytesIO(read_bytes(SHUFFLED_WEIGHTS)), allow_pickle=False) as archive:
            return dict(archive)
    if source == "course" or Path(source).suffix == ".npz":
        return _read_npz(source)
    import keras

    dense = architecture == "vgg16"
    application = keras.applications.VGG16 if dense else keras.applications.ResNet50
    try:
        whole = application(weights=str(source), include_top=dense)
    except Exception as error:  # Keras raises a bare Exception for the network
        raise RuntimeError(
            f"the weights {str(source)!r} of {architecture} cannot be had: {error}\n"
            "With a network connection Keras downloads ImageNet weights once into "
            "~/.keras/models. Without one: give weights= the path of Keras's .h5 file, or use "
            "architecture='course', whose weights come with the course."
        ) from error
    arrays = {weight.path: weight.numpy() for weight in whole.weights}
    if dense:
        arrays["fc1/kernel"] = arrays["fc1/kernel"].reshape(7, 7, 512, -1)
    return arrays


def _assign(model: keras.Model, arrays: Mapping[str, np.ndarray], source: str | Path) -> None:
    """Load arrays by the path of the variable; of the last layer the first filters."""
    cut = [weight.path for weight in model.operations[-1].weights]
    for weight in model.weights:
        array = arrays.get(weight.path)
        if array is not None and weight.path in cut:
            array = array[..., : weight.shape[-1]]
        if array is None or array.shape != tuple(weight.shape):
            found = "has no such array" if array is None else f"has shape {array.shape}"
            raise ValueError(
                f"{source} does not fit {model.name}: {weight.path} needs shape "
                f"{tuple(weight.shape)}, the file {found}."
            )
        if not np.issubdtype(array.dtype, np.floating) or not np.isfinite(array).all():
            raise ValueError(
                f"{source}: {weight.path} has dtype {array.dtype}; it must hold finite real "
                "numbers of a floating type. Make the file again."
            )
        weight.assign(array)


def convert_vgg_m(source: str | Path, target: str | Path) -> Path:
    """Convert the published VGG-M into a file for ``build_scanner("vgg_m", weights=...)``.

    The mean image of the network is folded into the biases of its first layer, which is
    exact because nothing is padded.

    Parameters
    ----------
    source : str or Path
        ``imagenet-vgg-m.mat``, in the format of MatConvNet's simple networks.
    target : str or Path
        The file to write, ending in ``.npz``. It is written whole or not at all.

    Returns
    -------
    Path
        The target.

    Raises
    ------
    FileNotFoundError
        If there is no source.
    ValueError
        If the source is no such network, or the target does not end in ``.npz``.
    """
    source, target = Path(source).expanduser(), Path(target).expanduser()
    if not source.is_file():
        raise FileNotFoundError(f"source: there is no file {source}.")
    if target.suffix != ".npz":
        raise ValueError(f"target is {target}; it must end in .npz.")
    from scipy.io import loadmat

    try:
        network = loadmat(source, struct_as_record=False, squeeze_me=True)
        meta = network.get("meta") or network["normalization"]
        mean = np.asarray(getattr(meta, "normalization", meta).averageImage, np.float64)
        pairs = {}
        for layer in np.atleast_1d(network["layers"]):
            if layer.type == "conv":
                parts = getattr(layer, "weights", None)
                pairs[layer.name] = (layer.filters, layer.biases) if parts is None else parts
        arrays: dict[str, Any] = {}
        channels = 3
        for name, size in VGG_M_KERNELS.items():
            kernel, bias = (np.asarray(part, np.float32) for part in pairs[name])
            arrays[f"{name}/kernel"] = kernel.reshape(size, size, channels, -1)
            arrays[f"{name}/bias"] = bias.reshape(-1)
            channels = bias.size
    except Exception as error:  # loadmat raises many kinds, for files of every kind
        raise ValueError(
            f"{source} cannot be read as VGG-M in MatConvNet's format "
            f"({', '.join(VGG_M_KERNELS)}, averageImage): {error!r}"
        ) from error
    # The file's channels are red, green, blue; the scanner's blue, green, red minus its mean.
    shift = np.array(IMAGENET_MEANS) - mean.reshape(-1, 3).mean(0)[::-1]
    arrays["conv1/kernel"] = kernel = arrays["conv1/kernel"][:, :, ::-1]
    arrays["conv1/bias"] = np.float32(arrays["conv1/bias"] + shift @ kernel.sum((0, 1)))
    _save(target, arrays)
    return target


def _save(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write an .npz file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, **arrays)
        os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)
