"""What a submission finds in the place of ``mammocourse.check``: its numbers, and no answers.

The grader copies this file into the package that submissions import.
"""

from __future__ import annotations

import copy
from typing import Any

NUMBERS: dict[str, dict[str, Any]] = {}  # filled in by run_submission


def variant(exercise_id: str, student: str | None = None) -> dict[str, Any]:
    """Return the numbers of an exercise; the grader chooses the student."""
    if exercise_id not in NUMBERS:
        raise ValueError(f"This assignment has no exercise {exercise_id!r}.")
    return copy.deepcopy(NUMBERS[exercise_id])


def check(exercise_id: str, answer: Any, student: str | None = None) -> None:
    """Do nothing: answers are compared after the notebook has run."""


def quiz(chapter: str) -> None:
    """Do nothing."""


def solution(exercise_id: str, student: str | None = None) -> Any:
    """Refuse."""
    raise RuntimeError("There are no solutions here: the notebook is being graded.")
