"""The reproduction ledger: what the sources claim and what the course finds.

Every quantitative claim stands in ``data/claims.yml``. A chapter that has
recomputed one calls :func:`record`; the number then travels inside the output
of the executed cell, to the ledger page, to the prose of the chapter and, at
full scale, to the stored results in ``data/results``. Nothing is typed by hand.
"""

from __future__ import annotations

import html
import json
import math
from dataclasses import dataclass
from functools import cache
from typing import Any

__all__ = ["RECORD_MIME", "Claim", "claims", "quote", "record", "show", "stored", "verdict"]

RECORD_MIME = "application/vnd.mammocourse.record+json"
_HIDDEN = "application/papermill.record/"  # the prefix of values glued but not shown


@dataclass(frozen=True)
class Claim:
    """One row of ``data/claims.yml``.

    Attributes
    ----------
    id : str
        For example ``"mnist.lrt"``.
    source : {"thesis", "auc-paper", "course"}
        Who states it; "course" is a finding of this course.
    section, quantity : str
        Where it stands and what it is.
    claimed : float or None
        The value as printed; None for a finding of the course.
    decimals : int
        The number of decimals printed, which decides the comparison.
    needs : str
        The data: "mnist", "cbis-ddsm", "inbreast" or "nothing".
    scale : {"small", "full", "both"}
        The scale at which the recomputed value may be compared.
    chapter : str
        Two digits.
    why : str
        One or two lines that explain the verdict.
    verdict_if_equal, verdict_if_different : str
        What the ledger says in either case.
    """

    id: str
    source: str
    section: str
    quantity: str
    claimed: float | None
    decimals: int
    needs: str
    scale: str
    chapter: str
    why: str
    verdict_if_equal: str = "reproduced"
    verdict_if_different: str = "contradicted"


@cache
def claims() -> dict[str, Claim]:
    """Return all claims by their identifiers.

    Returns
    -------
    dict of str to Claim

    Raises
    ------
    ValueError
        If two rows share an identifier or a row has an unknown field.
    """
    import yaml

    from mammocourse.resources import data_path

    rows = yaml.safe_load(data_path("claims.yml").read_text(encoding="utf-8"))
    found: dict[str, Claim] = {}
    for row in rows:
        try:
            claim = Claim(**row)
        except TypeError as error:
            raise ValueError(f"data/claims.yml, row {row.get('id', row)!r}: {error}") from None
        if claim.id in found:
            raise ValueError(f"data/claims.yml has two rows with the id {claim.id!r}.")
        found[claim.id] = claim
    return found


def record(
    claim_id: str, value: float, *, mc_error: float | None = None, seed: int | None = None
) -> None:
    """Enter a recomputed number into the ledger.

    Prints one line, and makes the number available to the prose of the chapter
    under the claim's identifier.

    Parameters
    ----------
    claim_id : str
        An identifier of ``data/claims.yml``.
    value : float
        The recomputed value; NaN is allowed (a p-value that does not exist).
    mc_error : float, optional
        Its Monte Carlo standard error.
    seed : int, optional
        The seed of the run, kept with stored results.

    Raises
    ------
    ValueError
        If there is no such claim or the value is not a number.
    """
    from mammocourse import mode

    claim = _claim(claim_id)
    number = _number(claim_id, value)
    entry: dict[str, Any] = {"id": claim_id, "value": _plain(number), "mode": mode()}
    if mc_error is not None:
        entry["mc_error"] = _number(f"mc_error of {claim_id}", mc_error)
    if seed is not None:
        entry["seed"] = int(seed)
    stated = "" if claim.claimed is None else f" (stated: {claim.claimed:,.{claim.decimals}f})"
    line = f"{claim.quantity} = {show(claim, number)}{stated}"
    _glue(claim_id, number)
    _display(
        {
            RECORD_MIME: entry,
            "text/html": f'<p class="mammocourse-record">Ledger: {html.escape(line)}</p>',
            "text/plain": f"Ledger: {line}",
        }
    )


def quote(name: str, value: float) -> None:
    """Make a number available to the prose of the chapter; shows nothing.

    Parameters
    ----------
    name : str
        The name used in the text: ``{glue:text}`name:.2f```.
    value : float
        The number.

    Raises
    ------
    ValueError
        If the value is not a number.
    """
    _glue(name, _number(name, value))


def stored(claim_id: str) -> float | None:
    """Return the stored full-scale result of a claim.

    Parameters
    ----------
    claim_id : str
        An identifier of ``data/claims.yml``.

    Returns
    -------
    float or None
        None where no full run has been stored yet.

    Raises
    ------
    ValueError
        If there is no such claim.
    """
    results = _stored_results(_claim(claim_id).chapter)
    entry = results.get("results", {}).get(claim_id)
    if entry is None:
        return None
    return math.nan if entry["value"] is None else float(entry["value"])


def verdict(claim: Claim, value: float | None) -> str:
    """Compare a recomputed value with the printed one.

    Parameters
    ----------
    claim : Claim
    value : float or None
        The recomputed value.

    Returns
    -------
    str
        "finding" where the source printed no number, "not recomputed" without a
        value, else the claim's ``verdict_if_equal`` when the value rounds to (or
        is cut to) the printed one, else its ``verdict_if_different``.
    """
    if value is None:
        return "not recomputed"
    if claim.claimed is None:
        return "finding"
    half_unit = 0.5 * 10.0**-claim.decimals
    slack = half_unit * 1e-9
    rounded = abs(value - claim.claimed) <= half_unit + slack
    truncated = -slack <= (value - claim.claimed) * math.copysign(1, claim.claimed) < 2 * half_unit
    return claim.verdict_if_equal if rounded or truncated else claim.verdict_if_different


def show(claim: Claim, value: float) -> str:
    """Write a recomputed value with more decimals than the source printed.

    Parameters
    ----------
    claim : Claim
    value : float
        The recomputed value.

    Returns
    -------
    str
        With four decimals more where the source printed one or two.
    """
    if math.isnan(value):
        return "not defined"
    more = 4 if 0 < claim.decimals < 3 and claim.claimed is not None else 0
    return f"{value:,.{claim.decimals + more}f}"


@cache
def _stored_results(chapter: str) -> dict[str, Any]:
    from mammocourse.resources import data_path

    try:
        path = data_path(f"results/{chapter}.json")
    except FileNotFoundError:
        return {}
    return dict(json.loads(path.read_text(encoding="utf-8")))


def _claim(claim_id: str) -> Claim:
    try:
        return claims()[claim_id]
    except KeyError:
        raise ValueError(
            f"There is no claim {claim_id!r} in data/claims.yml; add a row for it first."
        ) from None


def _number(name: str, value: float) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name} is {value!r}; it must be a single number.") from None


def _plain(number: float) -> float | None:
    return None if math.isnan(number) else number


def _glue(name: str, number: float) -> None:
    _display(
        {_HIDDEN + "text/plain": repr(number)},
        metadata={"scrapbook": {"name": name, "mime_prefix": _HIDDEN}},
    )


def _display(data: dict[str, Any], metadata: dict[str, Any] | None = None) -> None:
    """Show a mime bundle in a notebook; print its text elsewhere."""
    from IPython import get_ipython
    from IPython.display import display

    if get_ipython() is not None:
        display(data, raw=True, metadata=metadata or {})
    elif "text/plain" in data:
        print(data["text/plain"])
