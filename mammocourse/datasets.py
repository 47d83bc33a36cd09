"""The data of the course: MNIST, and the readers of the mammograms.

The readers live in modules of their own and are gathered here:
:mod:`mammocourse.cbis_ddsm`, :mod:`mammocourse.inbreast`,
:mod:`mammocourse.images` and :mod:`mammocourse.fetching`.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from mammocourse.audit import audit_cbis_ddsm
from mammocourse.cbis_ddsm import read_cbis_ddsm, read_cbis_tables, read_dicom_folder
from mammocourse.fetching import cache_folder, fetch
from mammocourse.images import load_image
from mammocourse.inbreast import read_inbreast
from mammocourse.resources import read_bytes
from mammocourse.tables import DatasetError

__all__ = [
    "DatasetError",
    "audit_cbis_ddsm",
    "fetch",
    "load_image",
    "load_mnist",
    "load_mnist01",
    "read_cbis_ddsm",
    "read_cbis_tables",
    "read_dicom_folder",
    "read_inbreast",
]

Arrays: TypeAlias = tuple[np.ndarray, np.ndarray]

MNIST_FILES = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
"""SHA-256 of the four official files of MNIST, uncompressed."""


def load_mnist01(
    split: Literal["official", "stratified"] = "official", seed: int = 0
) -> tuple[Arrays, Arrays]:
    """Load the 14,780 zeros and ones of MNIST, which come with the package.

    Parameters
    ----------
    split : {"official", "stratified"}
        "official" is MNIST's own division into 12,665 training and 2,115 test
        images, in the original order. "stratified" pools them and draws 85%
        for training and 15% for testing, with the same share of ones in both
        (12,563 and 2,217 images, shuffled).
    seed : int
        Seed of the stratified draw, from 0 to 2**32 - 1; the official split
        makes no use of it.

    Returns
    -------
    (x_train, y_train), (x_test, y_test) : tuples of ndarray
        Images, uint8 of shape (n, 28, 28), gray levels from 0 (background) to
        255 (ink), and labels, uint8 of shape (n,), 0 or 1. The arrays are the
        caller's own: changing them does not change what a later call returns.

    Raises
    ------
    ValueError
        If ``split`` or ``seed`` is not allowed, or the bundled file is damaged.
    FileNotFoundError
        If the bundled file is missing.

    Notes
    -----
    The thesis (section 3.1) states the stratified 85/15 split; its Table 1 was
    computed on the official one. MNIST is by Y. LeCun, C. Cortes and
    C. J. C. Burges, licensed CC BY-SA 3.0.

    Examples
    --------
    >>> (x_train, y_train), (x_test, y_test) = load_mnist01()
    >>> x_train.shape, x_test.shape
    ((12665, 28, 28), (2115, 28, 28))
    """
    if split not in ("official", "stratified"):
        raise ValueError(
            f"split is {split!r}; it must be 'official' (MNIST's own 12,665 / 2,115 images) "
            "or 'stratified' (85% / 15%, drawn with seed)."
        )
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**32:
        raise ValueError(f"seed is {seed!r}; it must be an integer from 0 to 2**32 - 1.")
    with np.load(io.BytesIO(read_bytes("mnist01.npz"))) as archive:
        images, labels, n_train = archive["images"], archive["labels"], int(archive["n_train"])
    train, test = np.split(np.arange(len(labels)), [n_train])
    if split == "stratified":
        from sklearn.model_selection import train_test_split

        train, test = train_test_split(
            np.arange(len(labels)), test_size=0.15, stratify=labels, random_state=int(seed)
        )
    return (images[train], labels[train]), (images[test], labels[test])


def load_mnist() -> tuple[Arrays, Arrays]:
    """Load the whole of MNIST, all ten digits.

    The first call downloads 11 MB through Keras, which checks them against a SHA-256
    and keeps them; later calls need no network. Where Keras's server cannot be
    reached, put the four official files, uncompressed, into the folder ``mnist`` of
    :func:`mammocourse.fetching.cache_folder` (for example ``MAMMOCOURSE_DATA``): they
    are checked and read instead, and Keras is not needed.

    Returns
    -------
    (x_train, y_train), (x_test, y_test) : tuples of ndarray
        60,000 and 10,000 images, uint8 of shape (n, 28, 28), and their labels,
        uint8 of shape (n,), 0 to 9.

    Raises
    ------
    RuntimeError
        If Keras is not installed or the download fails.
    DatasetError
        If one of the four files is missing or not the official one.
    """
    folder = cache_folder() / "mnist"
    if folder.is_dir():
        return _read_mnist(folder, "train"), _read_mnist(folder, "t10k")
    try:
        import keras
    except ImportError as error:
        raise RuntimeError(
            "load_mnist() needs Keras, which cannot be imported here. Install it with "
            'pip install "mammocourse[cpu]". load_mnist01() works without it.'
        ) from error
    try:
        return keras.datasets.mnist.load_data()
    except Exception as error:  # Keras raises a bare Exception when a download fails
        raise RuntimeError(
            f"MNIST could not be loaded through Keras ({error}). Check the network and try "
            f"again, or put the four official files, uncompressed, into {folder}. "
            "load_mnist01(), the zeros and ones alone, works without a network."
        ) from error


def _read_mnist(folder: Path, part: str) -> Arrays:
    """Read the images and labels of one official part, "train" or "t10k"."""
    found = []
    for name, header, shape in (("images-idx3", 16, (-1, 28, 28)), ("labels-idx1", 8, (-1,))):
        path = folder / f"{part}-{name}-ubyte"
        content = path.read_bytes() if path.is_file() else b""
        if hashlib.sha256(content).hexdigest() != MNIST_FILES[path.name]:
            raise DatasetError(
                f"{path} is {'not the official file' if content else 'missing or empty'}. Put the "
                f"official file there, uncompressed, or remove {folder} to download MNIST."
            )
        found.append(np.frombuffer(content, np.uint8, offset=header).reshape(shape).copy())
    return found[0], found[1]
