"""Volumes of patch features on disk: each film is scanned once (AUC paper, section 4).

Scanning takes most of the time of an experiment on whole films, and its result depends on
nothing but the film, the scanner and the grid. Keras is imported by what needs it.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mammocourse.resnet import _check_choice, _digest, _fingerprint
from mammocourse.scanner import check_count, receptive_field, scan_patches
from mammocourse.scanner_networks import _save

if TYPE_CHECKING:
    import keras

__all__ = ["cache_volumes"]

_CACHE_VERSION = 1  # raise it when the same scanner begins to give other volumes


def cache_volumes(
    films: Sequence[Any],
    scanner: keras.Model,
    *,
    directory: str | Path,
    dtype: Literal["float16", "float32"] = "float16",
    n_patches: int = 15,
    progress: bool = False,
) -> np.ndarray:
    """Scan films once, and keep their volumes on disk, a file for each film.

    A run that was killed loses at most the film at which it was. An entry belongs to the
    film, the scanner with its weights, ``n_patches``, ``dtype`` and the version of Keras;
    entries that the disk damaged are noticed (by the checksum in the file) and made again.
    Old entries, and files ``*.tmp`` that a killed run left, may be deleted at any time.

    Parameters
    ----------
    films : sequence of ndarray (height, width), or of paths
        uint8 or uint16 images, or files for `datasets.load_image`, known by path, size and
        time of change. Sizes may differ.
    scanner : keras.Model
        A network of `build_scanner`.
    directory : str or Path
        Folder of the cache, made where missing.
    dtype : {"float16", "float32"}
        Float16 halves the size and rounds each feature by at most one part in 2,048. The
        paper's volume of 15 x 15 x 4,096 takes 1.8 MB.
    n_patches : int
        Windows in each direction.
    progress : bool
        Show a progress bar.

    Returns
    -------
    ndarray (films, n_patches, n_patches, features)
        The volumes, in the order of the films.

    Raises
    ------
    FileNotFoundError
        If a path has no file.
    OverflowError
        If a feature is too large for float16.
    TypeError, ValueError
        As `scan_patches`; if there are no films; if a file cannot be read.

    Warns
    -----
    UserWarning
        If entries were damaged.
    """
    _check_choice("dtype", dtype, ("float16", "float32"))
    check_count("n_patches", n_patches)
    if isinstance(films, str | os.PathLike):
        raise TypeError(f"films is {films!r}; it must be a sequence: [{films!r}].")
    if len(films) == 0:
        raise ValueError("films is empty; there must be at least one film.")
    receptive_field(scanner)  # raises for what is no scanner
    _check_writable(Path(directory).expanduser())
    from tqdm.auto import tqdm

    shape = (n_patches, n_patches, scanner.output.shape[-1])
    about = (_CACHE_VERSION, _fingerprint(scanner), _wiring(scanner), n_patches, dtype)
    volumes = np.empty((len(films), *shape), dtype)
    damaged = 0
    for number, film in enumerate(tqdm(films, unit="film", disable=not progress)):
        key = _digest(repr((*about, _film_key(film, number))).encode())
        entry = Path(directory).expanduser() / f"{key[:32]}.npz"
        volume = _load_volume(entry, shape, dtype)
        if volume is None:
            damaged += entry.exists()
            volume = _scan_film(film, number, scanner, n_patches, dtype)
            _save(entry, {"volume": volume})
        volumes[number] = volume
    if damaged:
        warnings.warn(
            f"{directory}: {damaged} of {len(films)} volumes were damaged; they were made again.",
            stacklevel=2,
        )
    return volumes


def _check_writable(directory: Path) -> None:
    """Make the folder of the cache; raise before films are scanned for nothing."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=directory).close()
    except OSError as error:
        raise ValueError(
            f"directory {directory} must be a folder that can be written: {error}"
        ) from error


def _wiring(scanner: keras.Model) -> str:
    """Return the graph of a scanner, constants of operations included, whatever the names."""
    config = json.loads(scanner.to_json())["config"]
    text = json.dumps(config, sort_keys=True).replace('"trainable": true', '"trainable": false')
    names = (config["name"], *(layer["name"] for layer in config["layers"]))
    numbers = {json.dumps(name): f'"{number}"' for number, name in enumerate(names)}
    return re.sub(r'"[^"]*"', lambda found: numbers.get(found[0], found[0]), text)


def _film_key(film: Any, number: int) -> tuple[Any, ...]:
    """Return what identifies a film: its pixels, or the present state of its file."""
    if isinstance(film, np.ndarray):
        return film.shape, film.dtype.str, _digest(np.ascontiguousarray(film))
    if not isinstance(film, str | os.PathLike):
        raise TypeError(f"films[{number}] is {film!r}; it must be an image array or a path.")
    path = Path(film).expanduser().resolve()
    if not path.is_file():
        raise FileNotFoundError(f"films[{number}]: there is no file {path}.")
    state = path.stat()
    return str(path), state.st_size, state.st_mtime_ns


def _scan_film(
    film: Any, number: int, scanner: keras.Model, n_patches: int, dtype: str
) -> np.ndarray:
    """Return the volume of a film in the type of the cache, or say which film failed."""
    from mammocourse.datasets import load_image

    try:
        image = film if isinstance(film, np.ndarray) else load_image(Path(film).expanduser())
        volume = scan_patches(image, scanner, n_patches)
    except (TypeError, ValueError) as error:
        name = f"films[{number}]" if isinstance(film, np.ndarray) else f"films[{number}] ({film})"
        raise type(error)(f"{name} cannot be scanned: {error}") from error
    with np.errstate(over="ignore"):  # it is an error below
        volume = volume.astype(dtype)
    if not np.isfinite(volume).all():
        raise OverflowError(f"features of films[{number}] are not finite in {dtype}; use float32.")
    return volume


def _load_volume(entry: Path, shape: tuple[int, ...], dtype: str) -> np.ndarray | None:
    """Return the volume of a cache entry; None if there is none or the disk damaged it."""
    try:
        with np.load(entry, allow_pickle=False) as archive:
            volume = archive["volume"]  # the archive holds a checksum
    except (
        *(OSError, ValueError, KeyError, EOFError, TypeError, RuntimeError, IndexError),
        *(AttributeError, zipfile.BadZipFile, zlib.error),  # by where the damage is
    ):
        return None
    return volume if volume.shape == shape and volume.dtype == dtype else None
