"""The Keras models of the course.

Keras is imported by the function that builds a model: importing this module is cheap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mammocourse.patch_classifier import build_patch_classifier
from mammocourse.resnet import (
    CachedTrunk,
    build_resnet50_classifier,
    build_resnet_classifier,
    cache_trunk,
    freeze_batchnorm,
    freeze_until,
)
from mammocourse.scanner import build_scanner, scan_patches

if TYPE_CHECKING:
    import keras

__all__ = [
    "CachedTrunk",
    "build_mnist_cnn",
    "build_patch_classifier",
    "build_resnet50_classifier",
    "build_resnet_classifier",
    "build_scanner",
    "cache_trunk",
    "freeze_batchnorm",
    "freeze_until",
    "scan_patches",
]


def build_mnist_cnn(classes: int = 2) -> keras.Sequential:
    """Build the network of Fig. 5 (thesis, section 3.8): one convolution, two dense layers.

    32 kernels of 4 x 4 pixels, ReLU, max pooling 2 x 2, dense layers of 128 (ReLU)
    and ``classes`` units, softmax. With two classes it has 544 + 589,952 + 258 =
    590,754 parameters, biases included. Kernels start from ``glorot_normal`` (Eq. 29;
    Keras's own default is the uniform distribution of the same variance).

    Parameters
    ----------
    classes : int
        2 for zeros and ones, 10 for all digits.

    Returns
    -------
    keras.Sequential
        From float images (n, 28, 28, 1), scaled to [0, 1], to probabilities (n, classes);
        not yet compiled. The thesis compiles it with Adam and categorical cross-entropy.

    Raises
    ------
    ValueError
        If ``classes`` is not an integer of at least 2.
    RuntimeError
        If Keras is not installed.
    """
    if isinstance(classes, bool) or not isinstance(classes, int) or classes < 2:
        raise ValueError(f"classes is {classes!r}; it must be an integer of at least 2.")
    try:
        import keras
        from keras import layers
    except ImportError as error:
        raise RuntimeError(
            "build_mnist_cnn() needs Keras, which cannot be imported here. Install it with "
            'pip install "mammocourse[cpu]".'
        ) from error

    glorot = {"kernel_initializer": "glorot_normal"}
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(32, 4, activation="relu", **glorot),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(128, activation="relu", **glorot),
            layers.Dense(classes, activation="softmax", **glorot),
        ],
        name="mnist_cnn",
    )
