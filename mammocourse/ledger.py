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
import re
from dataclasses import dataclass
from functools import cache
from typing import Any

__all__ = ["RECORD_MIME", "SCHEMA", "Claim", "claims", "quote", "record", "show", "stored"]
__all__ += ["KINDS", "kind", "stored_results", "verdict"]

KINDS = {
    "reproduced": "the recomputed number rounds, or is cut, to the printed one",
    "reproduced with another setting": (
        "it does, with other data or sizes than the text of the source states"
    ),
    "differs": (
        "it does not, but the claim was approximate, rests on chance, or the course had to use "
        "other data, films or networks"
    ),
    "contradicted": "it does not, and the source's own data, program or formula decide it",
    "needs real data": "it takes data that may not be bundled with the course",
    "cannot be recomputed": "the records or programs behind it are in other hands",
    "not recomputed": "nobody has done it yet",
    "finding": "a number of this course; the source printed none",
}
RESTRICTED = ("cbis-ddsm", "inbreast")  # data that the course may not bundle
SCHEMA = 1  # of the files in data/results
RECORD_MIME = "application/vnd.mammocourse.record+json"
_HIDDEN = "application/papermill.record/"  # the prefix of values glued but not shown


_ALLOWED = {
    "source": ("thesis", "auc-paper", "course"),
    "needs": ("mnist", "cbis-ddsm", "inbreast", "nothing", "elsewhere"),
    "scale": ("small", "full", "both"),
    "kind_if_equal": tuple(KINDS)[:3],
    "kind_if_different": ("differs", "contradicted"),
}


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
        The data: "mnist", "cbis-ddsm", "inbreast" or "nothing"; "elsewhere" where
        they are in hands that neither the course nor its readers can turn to.
    scale : {"small", "full", "both"}
        The scale at which the recomputed value may be compared.
    chapter : str
        Two digits.
    why : str
        One or two lines that explain the verdict.
    verdict_if_equal, verdict_if_different : str
        What the ledger says in either case.
    kind_if_equal, kind_if_different : str
        The heading of :data:`KINDS` under which the ledger puts either case.
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
    kind_if_equal: str = "reproduced"
    kind_if_different: str = "contradicted"

    def __post_init__(self) -> None:
        def must(condition: bool, field: str, expected: str) -> None:
            if not condition:
                raise ValueError(f"{field} is {getattr(self, field)!r}; it must be {expected}.")

        for field, allowed in _ALLOWED.items():
            must(getattr(self, field) in allowed, field, f"one of {', '.join(allowed)}")
        for field in ("id", "section", "quantity", "why"):
            value = getattr(self, field)
            must(isinstance(value, str) and bool(value.strip()), field, "a text")
        number = isinstance(self.claimed, int | float) and math.isfinite(self.claimed)
        must(self.claimed is None or number, "claimed", "a number or null")
        must(type(self.decimals) is int and self.decimals >= 0, "decimals", "0, 1, 2, ...")
        two_digits = isinstance(self.chapter, str) and re.fullmatch(r"\d\d", self.chapter)
        must(bool(two_digits), "chapter", "two digits in quotation marks")


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

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the same, several times as fast
    rows = yaml.load(data_path("claims.yml").read_text(encoding="utf-8"), Loader=loader)
    found: dict[str, Claim] = {}
    for row in rows:
        try:
            claim = Claim(**row)
        except (TypeError, ValueError) as error:
            name = row.get("id") if isinstance(row, dict) else row
            raise ValueError(f"data/claims.yml, row {name!r}: {error}") from None
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
    plain = None if math.isnan(number) else number
    entry: dict[str, Any] = {"id": claim_id, "value": plain, "mode": mode()}
    if mc_error is not None:
        entry["mc_error"] = _number(f"mc_error of {claim_id}", mc_error)
        if not entry["mc_error"] >= 0:
            raise ValueError(f"mc_error of {claim_id} is {mc_error!r}; it must be 0 or larger.")
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
    entry = stored_results(_claim(claim_id).chapter).get("results", {}).get(claim_id)
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
        value ("needs real data" or "cannot be recomputed" where that is the
        reason), else the claim's ``verdict_if_equal`` when the value rounds to (or is
        cut to) the printed one, else its ``verdict_if_different``.
    """
    if value is None:
        reasons = dict.fromkeys(RESTRICTED, "needs real data")
        return {**reasons, "elsewhere": "cannot be recomputed"}.get(claim.needs, "not recomputed")
    if claim.claimed is None:
        return "finding"
    return claim.verdict_if_equal if _agrees(claim, value) else claim.verdict_if_different


def kind(claim: Claim, value: float | None) -> str:
    """Return the heading of :data:`KINDS` to which a verdict belongs.

    Parameters
    ----------
    claim : Claim
    value : float or None
        The recomputed value.

    Returns
    -------
    str
    """
    if value is None:
        return verdict(claim, None)
    if claim.claimed is None:
        return "finding"
    return claim.kind_if_equal if _agrees(claim, value) else claim.kind_if_different


def _agrees(claim: Claim, value: float) -> bool:
    """Tell whether a value rounds to, or is cut to, the printed one."""
    if claim.claimed is None:
        raise ValueError(f"{claim.id} states no number that a value could agree with.")
    half_unit = 0.5 * 10.0**-claim.decimals
    slack = half_unit * 1e-9
    rounded = abs(value - claim.claimed) <= half_unit + slack
    truncated = -slack <= (value - claim.claimed) * math.copysign(1, claim.claimed) < 2 * half_unit
    return bool(rounded or truncated)


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
        With four decimals more where the source printed one or two, and with two more
        where it printed a whole number and the value, say a mean, is none.
    """
    if math.isnan(value):
        return "not defined"
    if claim.claimed == 0 and 0 <= value < 0.001:
        return "below 0.001"  # a p-value is never zero
    more = 4 if 0 < claim.decimals < 3 and claim.claimed is not None else 0
    if claim.decimals == 0 and claim.claimed is not None and value != round(value):
        more = 2  # 6.5 epochs are neither 6 nor 7
    return f"{value:,.{claim.decimals + more}f}"


@cache
def stored_results(chapter: str) -> dict[str, Any]:
    """Return what ``make full`` stored for a chapter, with its provenance.

    Parameters
    ----------
    chapter : str
        Two digits.

    Returns
    -------
    dict
        Empty where nothing has been stored yet.

    Raises
    ------
    ValueError
        If the file is damaged.
    """
    from mammocourse.resources import data_path

    name = f"results/{chapter}.json"
    try:
        path = data_path(name)
    except FileNotFoundError:
        return {}
    try:
        content = dict(json.loads(path.read_text(encoding="utf-8")))
        sound = content["schema"] == SCHEMA and content["chapter"] == chapter
        sound = sound and all("value" in entry for entry in content["results"].values())
    except (ValueError, KeyError, TypeError, AttributeError):
        sound = False
    if not sound:
        raise ValueError(
            f"data/{name} is damaged or of another version: restore it with git, or run "
            f"'make full CHAPTER={chapter}'."
        )
    return content


def _claim(claim_id: str) -> Claim:
    try:
        return claims()[claim_id]
    except KeyError:
        raise ValueError(
            f"There is no claim {claim_id!r} in data/claims.yml; add a row for it first."
        ) from None


def _number(name: str, value: float) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name} is {value!r}; it must be a single number.") from None
    if math.isinf(number):
        raise ValueError(f"{name} is infinite; record a finite number, or NaN for none.")
    return number


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
