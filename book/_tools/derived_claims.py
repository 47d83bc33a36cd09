"""Claims that no chapter needs to run anything for: arithmetic on printed and recorded numbers.

Each function below computes one claim of ``data/claims.yml``. It takes the numbers that the
sources print (``printed``) and those that the chapters recorded (``recorded``), both by the
identifiers of the claims. The ledger page marks such values "by arithmetic" and links to
this file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

Numbers = Mapping[str, float]
Function = Callable[[Numbers, Numbers], float]

FUNCTIONS: dict[str, Function] = {}


def derived(claim_id: str) -> Callable[[Function], Function]:
    """Register a function as the computation of a claim."""

    def register(function: Function) -> Function:
        if claim_id in FUNCTIONS:
            raise ValueError(f"Two functions compute the claim {claim_id!r}.")
        FUNCTIONS[claim_id] = function
        return function

    return register


def values(printed: Numbers, recorded: Numbers) -> dict[str, float]:
    """Compute all derived claims whose ingredients are there.

    Parameters
    ----------
    printed : mapping of str to float
        What the sources print, by claim.
    recorded : mapping of str to float
        What the chapters recorded, by claim.

    Returns
    -------
    dict of str to float
    """
    found = {}
    for claim_id, function in FUNCTIONS.items():
        try:
            found[claim_id] = float(function(printed, recorded))
        except KeyError as error:
            if error.args[0] in printed:  # a chapter has not run yet
                continue
            raise ValueError(f"{claim_id} is computed from an unknown claim, {error}.") from None
    return found


@derived("intro.year")
def _year_of_the_report(printed: Numbers, recorded: Numbers) -> float:
    """Return the year in the title of the report that the thesis cites."""
    from chapters import ROOT

    works = (ROOT / "book" / "references.bib").read_text(encoding="utf-8")
    title = re.search(r"@\w+\{siegel2022,.*?title\s*=\s*\{(.*?)\},\n", works, flags=re.S)
    year = re.search(r"(?:19|20)\d\d", title[1]) if title else None
    if year is None:
        raise ValueError("book/references.bib: siegel2022 has no year in its title any more.")
    return float(year[0])


@derived("mnist.train_share")
def _train_share(printed: Numbers, recorded: Numbers) -> float:
    """Return the percentage of digits that the program trained on."""
    return 100 * (1 - recorded["mnist.test_share"])


@derived("fig3.depth")
def _depth_of_two_kernels(printed: Numbers, recorded: Numbers) -> float:
    """Convolve the image of Fig. 3 with two kernels and count the maps."""
    import numpy as np

    from mammocourse.scratch import conv2d

    return float(conv2d(np.ones((1, 3, 4, 1)), np.ones((2, 2, 1, 2))).shape[-1])


@derived("augmentation.factor")
def _rotations(printed: Numbers, recorded: Numbers) -> float:
    """Rotate one image by right angles and count the images."""
    import numpy as np

    from mammocourse.preprocessing import rotate_right_angles

    return float(len(rotate_right_angles(np.arange(4.0).reshape(1, 2, 2))))


@derived("table3.train_share")
def _share_for_training(printed: Numbers, recorded: Numbers) -> float:
    """Return the percentage of the images of Table 3 in the training set."""
    return 100 * recorded["table3.train_total"] / _all_images(recorded)


@derived("table3.heldout_share")
def _share_held_out(printed: Numbers, recorded: Numbers) -> float:
    """Return the percentage of the images of Table 3 outside the training set."""
    return 100 * recorded["table3.heldout_total"] / _all_images(recorded)


@derived("table3.test_share")
def _share_for_testing(printed: Numbers, recorded: Numbers) -> float:
    """Return the percentage of the images of Table 3 in the test set."""
    return 100 * recorded["table3.validation_total"] / _all_images(recorded)


@derived("table3.validation_share")
def _share_for_validation(printed: Numbers, recorded: Numbers) -> float:
    """Return the percentage of the held-out images in the validation set."""
    return 100 * recorded["table3.validation_total"] / recorded["table3.heldout_total"]


def _all_images(recorded: Numbers) -> float:
    return recorded["table3.train_total"] + recorded["table3.heldout_total"]


@derived("table3.validation_benign")
def _benign_in_validation(printed: Numbers, recorded: Numbers) -> float:
    """Return half of the benign images that training leaves, rotations counted."""
    return (4 * recorded["cbis.benign"] - recorded["table3.train_benign"]) / 2


@derived("table3.validation_malignant")
def _malignant_in_validation(printed: Numbers, recorded: Numbers) -> float:
    """Return half of the malignant images that training leaves, rotations counted."""
    return (4 * recorded["cbis.malignant"] - recorded["table3.train_malignant"]) / 2


@derived("table5.order")
def _models_in_this_order(printed: Numbers, recorded: Numbers) -> float:
    """Count the models of Table 5 with sensitivity < accuracy < specificity."""
    measures = ("sensitivity", "accuracy", "specificity")
    rows = [[printed[f"table5.{name}_{m}"] for m in measures] for name in ("logit", "resnet")]
    return float(sum(low < middle < high for low, middle, high in rows))


@derived("conclusion.larger_drop")
def _larger_drop(printed: Numbers, recorded: Numbers) -> float:
    """Compare the accuracy that both models lose from digits to mammograms."""
    logit = printed["mnist.accuracy"] - printed["table5.logit_accuracy"]
    network = printed["mnist.cnn.train_accuracy"] / 100 - printed["table5.resnet_accuracy"]
    return float(logit > network)


@derived("auc.film_columns")
def _columns_of_films(printed: Numbers, recorded: Numbers) -> float:
    """Return the median number of columns of the course's eight real films."""
    from statistics import median

    import cv2

    from mammocourse.resources import data_path

    columns = []
    for row in _films("film"):
        thumbnail = cv2.imread(str(data_path(f"films/{row['file']}")), cv2.IMREAD_GRAYSCALE)
        columns.append(thumbnail.shape[1] / float(row["scale"]))
    return round(median(columns), -1)


@derived("auc.finding_side")
def _side_of_the_smallest_finding(printed: Numbers, recorded: Numbers) -> float:
    """Return the shortest side of a malignant mass on the course's real films, in pixels."""
    sides = []
    for row in _films("crop"):
        if row["pathology"] == "MALIGNANT":
            left, top, right, bottom = map(int, row["box"].split())
            sides += [right - left, bottom - top]
    return float(min(sides))


def _films(kind: str) -> list[dict[str, str]]:
    import csv

    from mammocourse.resources import data_path

    with data_path("films/films.csv").open(encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if row["kind"] == kind]
