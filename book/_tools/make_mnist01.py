"""Make ``data/mnist01.npz`` from the four official MNIST files.

Usage: ``python book/_tools/make_mnist01.py FOLDER [OUTPUT]``, where FOLDER holds
the four uncompressed idx files named in ``mammocourse.datasets.MNIST_FILES``. The
format of idx files is described on LeCun's MNIST page: a big-endian magic number (two zero
bytes, the type code 8 for unsigned bytes, the number of dimensions), one 32-bit
size per dimension, then the bytes in C order.
"""

from __future__ import annotations

import hashlib
import io
import math
import struct
import sys
import zipfile
from pathlib import Path

import numpy as np

from mammocourse.datasets import MNIST_FILES


def read_idx(path: Path) -> np.ndarray:
    """Read an idx file of unsigned bytes.

    Parameters
    ----------
    path : Path
        An uncompressed idx file.

    Returns
    -------
    ndarray of uint8
        With the shape that the file's header states.

    Raises
    ------
    ValueError
        If the header is not that of an idx file of unsigned bytes, or the file
        has another length than its header says.
    """
    data = path.read_bytes()
    if len(data) < 4 or data[:3] != b"\x00\x00\x08":
        raise ValueError(
            f"{path} is no idx file of unsigned bytes: it starts with {data[:4]!r}, expected "
            "two zero bytes, 8 and the number of dimensions. Is it still gzipped?"
        )
    start = 4 + 4 * data[3]
    if len(data) < start:
        raise ValueError(f"{path} ends inside its header. Download it again.")
    shape = struct.unpack(f">{data[3]}I", data[4:start])
    if len(data) - start != math.prod(shape):
        raise ValueError(
            f"{path} holds {len(data) - start} bytes of data; its header says "
            f"{' x '.join(map(str, shape))}. Download it again."
        )
    return np.frombuffer(data, dtype=np.uint8, offset=start).reshape(shape)


def select_zeros_and_ones(folder: Path) -> dict[str, np.ndarray]:
    """Read the four files and keep the digits 0 and 1, in their original order.

    Parameters
    ----------
    folder : Path
        The folder of the four files.

    Returns
    -------
    dict of ndarray
        ``images`` (n, 28, 28) and ``labels`` (n,), both uint8, the training file
        before the test file, and ``n_train``, the number that came from the
        training file.

    Raises
    ------
    ValueError
        If images and labels do not fit together.
    """
    images, labels = [], []
    for part in ("train", "t10k"):
        x = read_idx(folder / f"{part}-images-idx3-ubyte")
        y = read_idx(folder / f"{part}-labels-idx1-ubyte")
        if x.shape[1:] != (28, 28) or y.shape != x.shape[:1]:
            raise ValueError(
                f"the {part} files in {folder} hold images {x.shape} and labels {y.shape}; "
                "expected (n, 28, 28) and (n,)."
            )
        images.append(x[y <= 1])
        labels.append(y[y <= 1])
    return {
        "images": np.concatenate(images),
        "labels": np.concatenate(labels),
        "n_train": np.array(len(labels[0])),
    }


def write_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write an ``.npz`` file whose bytes depend on the arrays alone.

    Parameters
    ----------
    path : Path
        The file to write. ``numpy.load`` reads it.
    arrays : dict of ndarray
        The arrays by name.

    Notes
    -----
    LZMA makes the file a fifth smaller than ``numpy.savez_compressed`` does; the
    members carry a fixed date. Another version of liblzma may still compress to
    other bytes of the same arrays.
    """
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            buffer = io.BytesIO()
            np.save(buffer, array, allow_pickle=False)
            member = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            archive.writestr(member, buffer.getvalue(), zipfile.ZIP_LZMA)


def main(folder: Path, output: Path) -> None:
    """Check the four files, write ``output`` and print its counts and checksum."""
    for name, expected in MNIST_FILES.items():
        found = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        if found != expected:
            raise SystemExit(
                f"{folder / name}: expected SHA-256 {expected}, found {found}. "
                "Download the official file, uncompressed."
            )
    arrays = select_zeros_and_ones(folder)
    write_npz(output, arrays)
    n_zeros, n_ones = np.bincount(arrays["labels"])
    print(f"{n_zeros} zeros and {n_ones} ones, {arrays['n_train']} of them from the training file")
    print(f"{hashlib.sha256(output.read_bytes()).hexdigest()}  {output.name}")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        raise SystemExit(__doc__)
    default = Path(__file__).resolve().parents[2] / "data" / "mnist01.npz"
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) == 3 else default)
