"""Monte Carlo: how well logistic regression finds the coefficients that made the data.

The experiment of the thesis (appendix A): images of random pixels, outcomes drawn from
the logistic model (Eq. 3) with coefficients that we choose, and the maximum likelihood
estimate computed from them, again and again. :func:`monte_carlo` does it at the thesis's
own scale, 80,000 images of 784 pixels, in well under a second per replication, with one
byte per pixel and one replication's images in memory per job.

Why the estimates come out too large is the subject of ``mle_exists``, ``mle_boundary``
and ``mle_inflation`` (module ``phase_transition``).

References
----------
Bach, F. (2010). Self-concordant analysis for logistic regression. Electronic Journal of
Statistics 4, 384-414.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import numbers
import os
import time
import warnings
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import joblib
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg, optimize, special
from threadpoolctl import ThreadpoolController
from tqdm.auto import tqdm

from mammocourse.logistic import LogisticMLE, SeparationWarning
from mammocourse.phase_transition import mle_boundary, mle_exists, mle_inflation

__all__ = [
    "MonteCarlo",
    "mle_boundary",
    "mle_exists",
    "mle_inflation",
    "monte_carlo",
    "replicate",
    "simulate_logistic",
    "thesis_beta",
]

Array = NDArray[np.float64]
Design = Literal["uniform", "normal"]

_BLOCK = 200_000  # entries that are held in float32 at a time: they fit a core's cache
_LARGE_BLOCK = 10 * _BLOCK  # the same where matrices are multiplied
_TOLERANCE = 1e-3  # Newton decrement at the estimate; no coefficient is further off in s.e.


def thesis_beta() -> Array:
    """Coefficients of the thesis's simulation: its "recognizable pattern" (appendix A).

    The first zero of the training part of the MNIST zeros and ones, each pixel
    standardized over the 12,665 training images (0 where a pixel is constant).

    Returns
    -------
    ndarray of shape (784,)
        Norm 16.67, mean absolute value 0.3531, mean 0.0483.
    """
    from mammocourse.datasets import load_mnist01  # pandas, which no job needs

    (images, labels), _ = load_mnist01("official")
    pixels = images.reshape(len(images), -1).astype(np.float64)
    scale = pixels.std(axis=0)
    zero = pixels[np.flatnonzero(labels == 0)[0]]
    return np.asarray((zero - pixels.mean(axis=0)) / np.where(scale > 0, scale, 1.0))


def simulate_logistic(
    X: ArrayLike, beta: ArrayLike, seed: int | np.random.SeedSequence | np.random.Generator
) -> NDArray[np.int64]:
    """Draw outcomes from the logistic model without an intercept (thesis, Eq. 3).

    Parameters
    ----------
    X : array-like of shape (n, p)
        Finite numbers.
    beta : array-like of shape (p,)
        Change of the log-odds per unit of each column; finite.
    seed : int, SeedSequence or Generator
        Where the randomness comes from; an int is 0 or larger.

    Returns
    -------
    ndarray of shape (n,)
        0 or 1, where 1 has the probability ``1 / (1 + exp(-X @ beta))``.

    Raises
    ------
    ValueError
        If an argument is not as described.
    """
    beta = _check_beta(beta)
    X = np.asarray(X)
    if X.ndim != 2 or X.shape[1] != len(beta):
        raise ValueError(
            f"X has shape {X.shape} and beta {beta.shape}; X must be (n, p) and beta (p,), one "
            "coefficient per column."
        )
    if X.dtype.kind not in "biuf":
        raise ValueError(f"X has the dtype {X.dtype}; it must hold real numbers.")
    if not isinstance(seed, np.random.SeedSequence | np.random.Generator):
        seed = _check_integer("seed", seed, 0)
    sample = _Sample(X, np.zeros(len(beta)), np.ones(len(beta)))
    log_odds = sample.log_odds(beta)
    if not np.all(np.isfinite(log_odds)):
        row = int(np.flatnonzero(~np.isfinite(log_odds))[0])
        raise ValueError(f"X holds an entry that is NaN or infinite in row {row} (from 0).")
    return _draw_outcomes(log_odds, np.random.default_rng(seed))


def replicate(
    beta: ArrayLike, *, n: int, seed: int, index: int, design: Design = "uniform"
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Draw the data of one replication of :func:`monte_carlo`, to look at or to fit otherwise.

    Parameters
    ----------
    beta, n, seed, design
        As for :func:`monte_carlo`.
    index : int
        The replication, 0 or larger.

    Returns
    -------
    X : ndarray of float32, shape (n, p)
        Standardized pixels.
    y : ndarray of shape (n,)
        0 or 1.
    """
    beta = _check_beta(beta)
    task = _Task(beta, _check_integer("n", n, 1), _check_integer("seed", seed, 0), design)
    sample, y = task.draw(_check_integer("index", index, 0))
    X = np.empty(sample.raw.shape, dtype=np.float32)
    for rows, block in sample.blocks():
        X[rows] = (block - sample.mean) / sample.scale
    return X, y


@dataclass(frozen=True)
class MonteCarlo:
    """Result of :func:`monte_carlo`.

    Replications without a maximum likelihood estimate are NaN, and left out of every
    mean, variance and share below.

    Attributes
    ----------
    beta : ndarray of shape (p,)
        The coefficients that made the data.
    n, seed : int
    design : str
    estimates : ndarray of shape (n_replications, p)
        Maximum likelihood estimates; a row of NaN where there is none.
    standard_errors : ndarray of shape (n_replications, p)
        Of the estimates, from the inverse of the Fisher information at the estimate.
    """

    beta: Array
    n: int
    seed: int
    design: str
    estimates: Array
    standard_errors: Array

    @cached_property
    def exists(self) -> NDArray[np.bool_]:
        """Whether there is a maximum likelihood estimate (n_replications,)."""
        return np.isfinite(self.estimates[:, 0])

    @property
    def n_separated(self) -> int:
        """Number of replications without a maximum likelihood estimate."""
        return int(np.sum(~self.exists))

    @cached_property
    def _found(self) -> Array:
        return self.estimates[self.exists]

    @cached_property
    def mad(self) -> Array:
        """Mean absolute difference of estimate and truth (n_replications,), Eq. 35."""
        return np.asarray(np.abs(self.estimates - self.beta).mean(axis=1))

    @property
    def mmad(self) -> float:
        """Mean of ``mad``."""
        return _mean(self.mad[self.exists])

    @property
    def smad(self) -> float:
        """Standard deviation of ``mad`` over the replications (ddof = 1)."""
        return _deviation(self.mad[self.exists])

    @property
    def mean_estimate(self) -> Array:
        """Mean of the estimates (p,), the right panel of Fig. 22."""
        return _mean(self._found)

    @property
    def bias(self) -> Array:
        """Mean of the estimates less the truth (p,)."""
        return self.mean_estimate - self.beta

    @property
    def variance(self) -> Array:
        """Variance of the estimates over the replications (p,), with ddof = 1."""
        return _deviation(self._found) ** 2

    @property
    def rmse(self) -> Array:
        """Root mean square of estimate less truth (p,)."""
        return np.sqrt(_mean((self._found - self.beta) ** 2))

    @cached_property
    def slope(self) -> Array:
        """Slope of the estimates on the truth, through the origin (n_replications,).

        1 for unbiased estimates, above 1 where they are inflated.
        """
        with np.errstate(invalid="ignore"):  # beta = 0 has no slope
            return np.asarray(self.estimates @ self.beta / (self.beta @ self.beta))

    def coverage(self, confidence_level: float = 0.95) -> Array:
        """Share of the replications whose Wald interval covers the truth (p,).

        Parameters
        ----------
        confidence_level : float, default 0.95
            Between 0 and 1, both excluded.
        """
        if not 0 < confidence_level < 1:
            raise ValueError(f"confidence_level is {confidence_level!r}; it must be in (0, 1).")
        half_width = special.ndtri((1 + confidence_level) / 2) * self.standard_errors[self.exists]
        return _mean(np.abs(self._found - self.beta) <= half_width)


def monte_carlo(
    beta: ArrayLike,
    *,
    n: int,
    n_replications: int,
    seed: int,
    n_jobs: int | None = None,
    design: Design = "uniform",
    checkpoint: str | os.PathLike[str] | None = None,
    progress: bool = False,
) -> MonteCarlo:
    """Simulate data from known coefficients and estimate them, again and again (appendix A).

    A replication draws ``n`` images, standardizes every pixel over them, draws the
    outcomes with the probabilities of Eq. 3 (no intercept) and computes the maximum
    likelihood estimate (no intercept either) to within 1e-3 of its standard errors.
    Replication r depends on ``seed`` and r alone, not on the number of replications or
    jobs: it draws from ``SeedSequence(seed).spawn(n_replications)[r]``.

    Parameters
    ----------
    beta : array-like of shape (p,)
        True coefficients, for pixels in standard deviations; finite.
    n : int
        Images per replication, at least 1.
    n_replications : int
        At least 1.
    seed : int
        0 or larger.
    n_jobs : int or None, default None
        Processes of joblib; -1 for all cores. None means 1, or what
        ``joblib.parallel_config`` says: inside ``with joblib.parallel_config("dask"):``
        the replications run on the Dask cluster whose client is open. Each job holds the
        images of one replication, ``n * p`` bytes (4 times that for "normal").
    design : {"uniform", "normal"}, default "uniform"
        Pixels: integers from 0 to 255, standardized (the thesis), or standard normal
        (the theory).
    checkpoint : path or None, default None
        File that keeps the finished replications. If the run is interrupted, or killed,
        the same call takes them from there and goes on; a call with more replications
        adds to them.
    progress : bool, default False
        Show a progress bar.

    Returns
    -------
    MonteCarlo
        ``mad``, ``mmad``, ``smad``, ``mean_estimate`` and more. Replications without a
        maximum likelihood estimate (always if n <= p) are NaN and counted in
        ``n_separated``.

    Raises
    ------
    ValueError
        If an argument is not as described, or the checkpoint holds another simulation.
    OSError
        If the checkpoint cannot be read or written.

    Warns
    -----
    SeparationWarning
        If some replications have no maximum likelihood estimate.

    Examples
    --------
    >>> result = monte_carlo([1.0, -1.0], n=1000, n_replications=20, seed=0)
    >>> print(f"{result.mmad:.2f}")
    0.09
    """
    beta = _check_beta(beta)
    n = _check_integer("n", n, 1)
    n_replications = _check_integer("n_replications", n_replications, 1)
    task = _Task(beta, n, _check_integer("seed", seed, 0), design)
    if n_jobs is not None and _check_integer("n_jobs", n_jobs, None) == 0:
        raise ValueError("n_jobs is 0; give the number of processes, or -1 for all cores.")
    store = _Store(task, checkpoint)
    missing = [index for index in range(n_replications) if index not in store.finished]
    fits = joblib.Parallel(n_jobs=n_jobs, return_as="generator_unordered")(
        joblib.delayed(task.run)(index) for index in missing
    )
    bar = tqdm(
        fits,
        desc="replications",
        total=n_replications,
        initial=n_replications - len(missing),
        disable=not progress,
    )
    try:
        for fit in bar:
            store.add(fit)
    finally:
        store.save()
    estimates = np.array([store.finished[index].estimate for index in range(n_replications)])
    errors = np.array([store.finished[index].standard_error for index in range(n_replications)])
    result = MonteCarlo(beta, n, task.seed, design, estimates, errors)
    if result.n_separated:
        warnings.warn(
            f"{result.n_separated} of {n_replications} replications have no maximum likelihood "
            f"estimate: a plane separates their classes (n = {n}, p = {len(beta)}). They are NaN "
            "and left out of the means. Remedies: more images, fewer or smaller coefficients.",
            SeparationWarning,
            stacklevel=2,
        )
    return result


class _Fit(NamedTuple):
    """One replication; NaN where the maximum likelihood estimate does not exist."""

    replication: int
    estimate: Array
    standard_error: Array


@dataclass(frozen=True)
class _Task:
    """Everything that determines the replications; what is sent to the jobs."""

    beta: Array
    n: int
    seed: int
    design: str

    def __post_init__(self) -> None:
        if self.design not in ("uniform", "normal"):
            raise ValueError(f"design is {self.design!r}; it must be 'uniform' or 'normal'.")

    @property
    def header(self) -> dict[str, Any]:
        """The arguments, with a hash of beta, as a checkpoint holds them."""
        digest = hashlib.sha256(self.beta.tobytes()).hexdigest()
        return {"n": self.n, "seed": self.seed, "design": self.design, "beta": digest}

    def draw(self, index: int) -> tuple[_Sample, NDArray[np.int64]]:
        """Draw the images and the outcomes of replication ``index``."""
        # What SeedSequence(seed).spawn(more than index)[index] is.
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(index,)))
        shape = (self.n, len(self.beta))
        if self.design == "uniform":
            sample = _Sample.standardized(rng.integers(-128, 128, size=shape, dtype=np.int8))
        else:
            pixels = rng.standard_normal(shape, dtype=np.float32)
            sample = _Sample(pixels, np.zeros(shape[1]), np.ones(shape[1]))
        return sample, _draw_outcomes(sample.log_odds(self.beta), rng)

    def run(self, index: int) -> _Fit:
        """Draw replication ``index`` and estimate its coefficients."""
        nothing = np.full(len(self.beta), np.nan)
        if self.n <= len(self.beta):  # standardized rows have rank n - 1 at most
            return _Fit(index, nothing, nothing)
        with _blas().limit(limits=1, user_api="blas"):  # the same digits whatever n_jobs
            sample, y = self.draw(index)
            estimate = _maximize_likelihood(sample, y)
        return _Fit(index, nothing, nothing) if estimate is None else _Fit(index, *estimate)


@functools.cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController()


def _draw_outcomes(log_odds: Array, rng: np.random.Generator) -> NDArray[np.int64]:
    return (rng.random(len(log_odds)) < special.expit(log_odds)).astype(np.int64)


@dataclass(frozen=True)
class _Sample:
    """Images as they were drawn, standardized on the fly and block by block.

    Bytes are converted in the cache faster than floats come from memory. The sums over
    the rows are in float64, the products within a block in float32.

    Attributes
    ----------
    raw : ndarray of shape (n, p)
        The pixels X are ``(raw - mean) / scale``.
    mean, scale : ndarray of shape (p,)
    """

    raw: NDArray[Any]
    mean: Array
    scale: Array

    @classmethod
    def standardized(cls, raw: NDArray[np.int8]) -> _Sample:
        """Find the mean and the standard deviation of integer columns, exactly."""
        n, p = raw.shape
        sample = cls(raw, np.zeros(p), np.ones(p))
        total, squares = np.zeros(p), np.zeros(p)
        for _, block in sample.blocks():
            ones = np.ones(len(block), dtype=np.float32)
            total += ones @ block
            squares += np.einsum("ij,ij->j", block, block)
        mean = total / n
        scale = np.sqrt(squares / n - mean**2)
        return cls(raw, mean, np.where(scale > 0, scale, 1.0))

    @property
    def radius(self) -> float:
        """A bound of the norms of the rows of X."""
        farthest = np.maximum(self.raw.max(axis=0) - self.mean, self.mean - self.raw.min(axis=0))
        return float(np.linalg.norm(farthest / self.scale))

    def blocks(self) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """Yield the rows of up to 1,024 images and, in one buffer, their pixels as drawn.

        (The sum of so many squared bytes has no rounding error in float32.)
        """
        n, p = self.raw.shape
        size = min(max(1, _BLOCK // p), 1024, n)
        buffer = np.empty((size, p), dtype=np.float32)
        for start in range(0, n, size):
            rows = slice(start, min(start + size, n))
            block = buffer[: rows.stop - start]
            block[...] = self.raw[rows]
            yield rows, block

    def log_odds(self, coef: Array) -> Array:
        """X @ coef (n,), in float64."""
        weights = coef / self.scale
        log_odds = np.empty(len(self.raw))
        for start in range(0, len(self.raw), 256):
            rows = slice(start, start + 256)
            log_odds[rows] = self.raw[rows].astype(np.float64) @ weights
        return log_odds - self.mean @ weights

    def score(self, y: Array, coef: Array) -> tuple[Array, Array]:
        """Log-odds (n,) and the gradient of the log-likelihood (p,), in one pass."""
        weights = (coef / self.scale).astype(np.float32)
        offset = float(self.mean @ weights)
        log_odds, gradient = np.empty(len(self.raw)), np.zeros(len(coef))
        total = 0.0
        for rows, block in self.blocks():
            log_odds[rows] = block @ weights - offset
            residual = y[rows] - special.expit(log_odds[rows])
            gradient += residual.astype(np.float32) @ block
            total += float(residual.sum())
        return log_odds, (gradient - total * self.mean) / self.scale

    def information(self, log_odds: Array, least_weight: float) -> Array:
        """Fisher information X'WX (p, p), W = diag(p_i (1 - p_i)).

        Rows whose weight is below ``least_weight`` times the largest are left out, but the
        20 p largest stay. With 1e-4 this leaves out half of the rows of the thesis's design
        and changes its standard errors by less than 1 part in 1,000.
        """
        n, p = self.raw.shape
        weight = special.expit(log_odds) * special.expit(-log_odds)
        spared = max(0, n - 20 * p)
        kept = weight >= min(least_weight * weight.max(), np.partition(weight, spared)[spared])
        kept = np.flatnonzero(kept)
        information = np.zeros((p, p))
        size = max(1, _LARGE_BLOCK // p)
        mean, scale = self.mean.astype(np.float32), self.scale.astype(np.float32)
        for start in range(0, len(kept), size):
            rows = kept[start : start + size]
            block = self.raw[rows].astype(np.float32)
            block -= mean
            block *= np.sqrt(weight[rows, None]).astype(np.float32)
            information += block.T @ block
        return information / np.outer(scale, scale)


def _maximize_likelihood(
    sample: _Sample, outcomes: NDArray[np.int64]
) -> tuple[Array, Array] | None:
    """Maximum likelihood estimate and its standard errors, or None if there is none.

    Quasi-Newton steps from the least-squares direction, which for independent pixels is
    not far off. The information of the rows that matter most there, a fifth of them in
    the thesis's design, is the first approximation of the curvature; that of all rows at
    the estimate gives the standard errors and says that the maximum is reached.
    """
    y = outcomes.astype(np.float64)
    coef = _least_squares_direction(sample, y)
    log_odds, gradient = sample.score(y, coef)
    least_weight = 0.2
    for _ in range(5):
        margins = (2 * y - 1) * log_odds
        if np.min(margins) > 1e-5 * np.max(margins):
            return None  # every outcome is on the side of its log-odds, beyond rounding
        try:
            inverse = _invert(sample.information(log_odds, least_weight))
        except ValueError:  # not positive definite, or not finite
            break
        decrement = _decrement(gradient, inverse)
        if decrement < _TOLERANCE and np.min(margins) <= 0:
            # Is the maximum certain? See _newton in mammocourse.logistic, after Bach (2010).
            reach = sample.radius * math.sqrt(np.linalg.norm(inverse))
            if decrement * reach < 0.5:
                return coef, np.sqrt(np.diag(inverse))
        coef, log_odds, gradient = _bfgs(sample, y, coef, gradient, inverse)
        least_weight = 1e-4
    return _maximize_narrowly(sample, y)


def _invert(information: Array) -> Array:
    """Invert a positive definite matrix (p, p), or raise ValueError (LinAlgError is one)."""
    inverse, _ = linalg.lapack.dpotri(linalg.cholesky(information))
    upper = np.triu(inverse)
    return np.asarray(upper + np.triu(upper, 1).T)


def _decrement(gradient: Array, inverse: Array) -> float:
    """Length of the Newton step, in standard errors."""
    return math.sqrt(max(float(gradient @ inverse @ gradient), 0.0))


def _least_squares_direction(sample: _Sample, y: Array) -> Array:
    """Coefficients (p,) proportional to X'(y - 1/2), of the largest likelihood."""
    _, direction = sample.score(y, np.zeros(len(sample.mean)))
    along, _ = sample.score(y, direction)
    longest = 100 / max(float(along.std()), 1e-100)  # 0 if the outcomes tell no direction
    signed = (2 * y - 1) * along
    best = optimize.minimize_scalar(
        lambda length: -special.log_expit(length * signed).sum(),
        bounds=(0, longest),
        options={"xatol": longest * 1e-3},
    )
    return np.asarray(best.x * direction)


def _bfgs(
    sample: _Sample, y: Array, coef: Array, gradient: Array, inverse: Array
) -> tuple[Array, Array, Array]:
    """Go up from ``coef``; ``inverse`` (p, p), of the information, is updated in place.

    Steps are judged by the gradient at their end, because near the maximum the rounding
    of the likelihood is larger than its changes.

    Returns
    -------
    coef, log_odds, gradient : ndarray
        At the maximum, or where the classes are separated, or after 100 steps.
    """
    for _ in range(100):
        step = inverse @ gradient
        log_odds, new = sample.score(y, coef + step)
        while new @ step < -(gradient @ step) / 2:  # far beyond the top of this line
            step = step / 2
            log_odds, new = sample.score(y, coef + step)
        coef, change, gradient = coef + step, gradient - new, new
        if np.min((2 * y - 1) * log_odds) > 0 or step @ change <= 0:
            break
        moved, curvature = inverse @ change, step @ change
        half = np.outer(step, step * (1 + change @ moved / curvature) / 2 - moved) / curvature
        inverse += half
        inverse += half.T
        if _decrement(gradient, inverse) < 0.7 * _TOLERANCE:
            break
    return coef, log_odds, gradient


def _maximize_narrowly(sample: _Sample, y: Array) -> tuple[Array, Array] | None:
    """Do the same in float64, with linear programs that decide whether there is an estimate."""
    X = (sample.raw - sample.mean) / sample.scale
    if np.ptp(y) == 0:
        return None
    model = LogisticMLE(fit_intercept=False, on_separation="ignore").fit(X, y)
    if model.separated_ or model.rank_ < X.shape[1]:
        return None
    weight = np.prod(model.predict_proba(X), axis=1)
    inverse = linalg.inv(X.T @ (weight[:, None] * X))
    return model.coef_[0], np.sqrt(np.diag(inverse))


class _Store:
    """The finished replications, and the checkpoint that outlives the run.

    A checkpoint is replaced in one step by a complete newer one, so that a run that is
    killed leaves a whole file. It is written so often that writing takes at most about
    a twentieth of the time.
    """

    def __init__(self, task: _Task, checkpoint: str | os.PathLike[str] | None) -> None:
        self.finished: dict[int, _Fit] = {}
        self.header = task.header
        self.path = None if checkpoint is None else Path(checkpoint)
        self.unsaved = True
        self.next_save = 0.0
        if self.path is not None and self.path.exists():
            self._load(self.path)
        self.save()  # a file that cannot be written is found out before the work is done

    def add(self, fit: _Fit) -> None:
        """Take in a replication; write the checkpoint if it is time."""
        self.finished[fit.replication] = fit
        self.unsaved = True
        if time.monotonic() >= self.next_save:
            self.save()

    def save(self) -> None:
        """Write what has been added since the last time."""
        if self.path is None or not self.unsaved:
            return
        start = time.monotonic()
        fits = list(self.finished.values())
        shape = (len(fits), -1 if fits else 0)
        temporary = self.path.with_name(self.path.name + ".tmp")
        try:
            with temporary.open("wb") as file:
                np.savez(
                    file,
                    header=json.dumps(self.header),
                    index=np.array([fit.replication for fit in fits], dtype=np.int64),
                    estimates=np.array([fit.estimate for fit in fits]).reshape(shape),
                    standard_errors=np.array([fit.standard_error for fit in fits]).reshape(shape),
                )
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, self.path)
        except OSError as error:
            raise OSError(
                f"checkpoint {self.path} cannot be written: {error}. Give a path in a folder "
                "that exists, where you may write and where there is space."
            ) from error
        self.unsaved = False
        now = time.monotonic()
        self.next_save = now + 20 * (now - start)

    def _load(self, path: Path) -> None:
        try:
            with np.load(path) as file:
                header = json.loads(str(file["header"]))
                rows = zip(file["index"], file["estimates"], file["standard_errors"], strict=True)
                fits = [_Fit(int(index), *arrays) for index, *arrays in rows]
        except OSError as error:
            raise OSError(f"checkpoint {path} cannot be read: {error}.") from error
        except (ValueError, KeyError, zipfile.BadZipFile) as error:
            raise ValueError(
                f"checkpoint {path} is not one of monte_carlo ({error}). Give another path, or "
                "delete the file."
            ) from error
        different = [name for name in self.header if header.get(name) != self.header[name]]
        if different:
            raise ValueError(
                f"checkpoint {path} belongs to a simulation with another {', '.join(different)} "
                f"({header} there, {self.header} here). Give another path, or delete the file."
            )
        self.finished = {fit.replication: fit for fit in fits}
        self.unsaved = False


def _check_beta(beta: ArrayLike) -> Array:
    values = np.asarray(beta)
    if values.ndim != 1 or len(values) == 0 or values.dtype.kind not in "iuf":
        raise ValueError(
            f"beta has shape {values.shape} and dtype {values.dtype}; it must be a vector of "
            "real numbers, one coefficient per pixel: for an image, image.ravel()."
        )
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        raise ValueError(
            f"beta is {values[bad[0]]} at position {bad[0]} (from 0), one of {len(bad)} entries "
            "that are NaN or infinite; every coefficient must be a finite number."
        )
    return np.array(values, dtype=np.float64)


def _check_integer(name: str, value: Any, smallest: int | None) -> int:
    wrong = isinstance(value, bool) or not isinstance(value, numbers.Integral)
    if wrong or (smallest is not None and value < smallest):
        least = "" if smallest is None else f" of at least {smallest}"
        raise ValueError(f"{name} is {value!r}; it must be an integer{least}.")
    return int(value)


def _mean(values: NDArray[Any]) -> Any:
    """Return the mean over the replications (NaN if there are none)."""
    return values.mean(axis=0) if len(values) else np.full(values.shape[1:], np.nan)[()]


def _deviation(values: NDArray[Any]) -> Any:
    """Return the standard deviation over the replications (NaN if there are fewer than two)."""
    return values.std(axis=0, ddof=1) if len(values) > 1 else np.full(values.shape[1:], np.nan)[()]
