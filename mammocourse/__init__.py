"""Helper package of the course *From digits to mammograms*.

Importing the package costs almost nothing: every library is imported by the
module or function that needs it, and every capability is a submodule that you import by
name, for example ``from mammocourse.datasets import load_mnist01``.

Two scales, one code path: ``MAMMOCOURSE_MODE=small`` (the default) runs every
chapter in seconds on bundled or generated data; ``MAMMOCOURSE_MODE=full`` uses
the sizes of the sources.
"""

from __future__ import annotations

import os
from typing import Literal, TypeVar

__version__ = "0.1.0"

__all__ = ["__version__", "mode", "scale", "set_seed"]

_T = TypeVar("_T")


def mode() -> Literal["small", "full"]:
    """Return the scale at which the course runs.

    Returns
    -------
    {"small", "full"}
        The value of the environment variable ``MAMMOCOURSE_MODE``, or "small"
        where it is not set.

    Raises
    ------
    ValueError
        If ``MAMMOCOURSE_MODE`` holds anything else.
    """
    value = os.environ.get("MAMMOCOURSE_MODE", "").strip().lower() or "small"
    if value == "small":
        return "small"
    if value == "full":
        return "full"
    raise ValueError(
        f"MAMMOCOURSE_MODE is {value!r}; it must be 'small' or 'full'. "
        "Unset it (or set it to 'small') for a run of seconds on bundled data; "
        "set it to 'full' for the sizes of the sources."
    )


def scale(*, small: _T, full: _T) -> _T:
    """Choose a size, a path or a setting by the current :func:`mode`.

    Parameters
    ----------
    small, full : any
        The value at small and at full scale.

    Returns
    -------
    any
        ``small`` or ``full``.

    Examples
    --------
    >>> n_replications = scale(small=20, full=100)
    """
    return small if mode() == "small" else full


def set_seed(seed: int) -> None:
    """Seed Python, NumPy's legacy generator and, where it is loaded, Keras.

    The same seed gives the same result on one machine and thread count; no
    promise is made across processors or library versions. Import Keras before:
    one that is loaded later is not seeded.

    Parameters
    ----------
    seed : int
        Between 0 and 2**32 - 1.

    Raises
    ------
    ValueError
        If ``seed`` is not an integer in that range.
    """
    import random
    import sys

    import numpy as np

    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**32:
        raise ValueError(f"seed is {seed!r}; it must be an integer from 0 to 2**32 - 1.")
    random.seed(int(seed))
    np.random.seed(int(seed))  # noqa: NPY002 (libraries still use it)
    if "keras" in sys.modules:
        sys.modules["keras"].utils.set_random_seed(int(seed))
