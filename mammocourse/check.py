"""Exercises with instant feedback, per-student variants, and quizzes.

An exercise is declared once, in ``mammocourse/exercises/chapterNN.py``. Its
identifier starts with the chapter's two digits, for example ``"02-odds"``. The
numbers in it may differ from student to student: they are drawn from a
generator that is seeded by the exercise and by the student's name.
"""

from __future__ import annotations

import hashlib
import html
import importlib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

__all__ = ["Exercise", "Feedback", "Mistake", "check", "quiz", "solution", "variant"]

Parameters = Mapping[str, Any]


@dataclass(frozen=True)
class Mistake:
    """A wrong answer that is worth its own explanation.

    Parameters
    ----------
    answer : callable
        Maps the exercise's parameters to the wrong answer.
    hint : str
        What to say to a student who gives it.
    """

    answer: Callable[[Parameters], Any]
    hint: str


@dataclass(frozen=True)
class Exercise:
    """An exercise whose answer is a number, an array of numbers or a truth value.

    Parameters
    ----------
    id : str
        Chapter number and a short name: ``"02-odds"``.
    solution : callable
        Maps the parameters to the right answer.
    hint : str
        Shown for every wrong answer without a hint of its own.
    parameters : callable, optional
        Maps a ``numpy.random.Generator`` to the parameters of one variant.
    rtol, atol : float, optional
        Relative and absolute tolerance of the comparison; both may be used.
    mistakes : sequence of Mistake, optional
        Wrong answers that are recognized.
    """

    id: str
    solution: Callable[[Parameters], Any]
    hint: str
    parameters: Callable[[np.random.Generator], Parameters] = field(default=lambda rng: {})
    rtol: float = 0.0
    atol: float = 0.0
    mistakes: Sequence[Mistake] = ()

    def tolerance(self) -> str:
        """Return the tolerance in words."""
        parts = []
        if self.rtol:
            parts.append(f"{100 * self.rtol:g}% of the right value")
        if self.atol:
            parts.append(f"{self.atol:.12f}".rstrip("0").rstrip("."))
        return " or ".join(parts) or "none: the answer must be exact"

    def accepts(self, given: Any, right: Any, tolerances: float = 1) -> bool:
        """Tell whether an answer lies within some tolerances of the right one."""
        rtol, atol = tolerances * max(self.rtol, _ROUNDING), tolerances * self.atol
        return bool(np.allclose(given, right, rtol=rtol, atol=atol))

    def draw(self, rng: np.random.Generator) -> dict[str, Any]:
        """Draw parameters for which no listed mistake comes near the right answer."""
        for _ in range(_DRAWS):
            parameters = dict(self.parameters(rng))
            right = self.solution(parameters)
            wrong = (mistake.answer(parameters) for mistake in self.mistakes)
            if not any(self.accepts(answer, right, _APART) for answer in wrong):
                return parameters
        raise RuntimeError(f"{self.id}: in {_DRAWS} draws a listed mistake came near the answer.")


@dataclass(frozen=True)
class Feedback:
    """What :func:`check` found.

    Attributes
    ----------
    passed : bool or None
        None when the exercise has not been answered yet.
    message : str
        What to tell the student.
    """

    passed: bool | None
    message: str

    def __repr__(self) -> str:
        mark = {None: "○ Not answered yet.", True: "✓ Right.", False: "✗ Not yet."}[self.passed]
        return f"{mark} {self.message}".rstrip()

    def _repr_html_(self) -> str:
        state = {None: "open", True: "right", False: "wrong"}[self.passed]
        return (
            f'<p class="mammocourse-feedback {state}" role="status">{html.escape(repr(self))}</p>'
        )


def _find(exercise_id: str) -> Exercise:
    match = re.fullmatch(r"(\d\d)-[a-z0-9-]+", str(exercise_id))
    if not match:
        raise ValueError(
            f"exercise_id is {exercise_id!r}; it must be a chapter number and a name, "
            "for example '02-odds'."
        )
    chapter = match.group(1)
    try:
        module = importlib.import_module(f"mammocourse.exercises.chapter{chapter}")
    except ModuleNotFoundError as error:
        if error.name != f"mammocourse.exercises.chapter{chapter}":
            raise
        raise ValueError(
            f"There is no exercise {exercise_id!r}: chapter {chapter} has none checked by code."
        ) from None
    exercises = {exercise.id: exercise for exercise in module.EXERCISES}
    if exercise_id not in exercises:
        raise ValueError(
            f"There is no exercise {exercise_id!r}; chapter {chapter} has "
            f"{', '.join(sorted(exercises))}."
        )
    return exercises[exercise_id]


def variant(exercise_id: str, student: str | None = None) -> dict[str, Any]:
    """Return the numbers of an exercise for one student.

    Parameters
    ----------
    exercise_id : str
        For example ``"02-odds"``.
    student : str, optional
        Any name or number; by default the environment variable
        ``MAMMOCOURSE_STUDENT``, and "reader" where it is not set, which is the
        variant printed in the book.

    Returns
    -------
    dict
        The parameters; the same student always gets the same ones.

    Raises
    ------
    ValueError
        If there is no such exercise.
    """
    exercise = _find(exercise_id)
    name = str(student or os.environ.get("MAMMOCOURSE_STUDENT") or "").strip() or "reader"
    digest = hashlib.sha256(f"{exercise_id}/{name}".encode("utf-8", "surrogateescape")).digest()
    return exercise.draw(np.random.default_rng(list(digest)))


def solution(exercise_id: str, student: str | None = None) -> Any:
    """Return the right answer of an exercise for one student (for instructors).

    Parameters
    ----------
    exercise_id, student
        As in :func:`variant`.

    Returns
    -------
    float, array or bool

    Raises
    ------
    ValueError
        If there is no such exercise.
    """
    return _find(exercise_id).solution(variant(exercise_id, student))


def check(exercise_id: str, answer: Any, student: str | None = None) -> Feedback:
    """Compare an answer with the right one and say what is wrong with it.

    Parameters
    ----------
    exercise_id : str
        For example ``"02-odds"``.
    answer : float, array-like, bool or ``...``
        The student's answer; ``...`` and ``None`` mean "not answered yet".
    student : str, optional
        As in :func:`variant`.

    Returns
    -------
    Feedback
        ``passed`` is None for an unanswered exercise.

    Raises
    ------
    ValueError
        If there is no such exercise. A wrong answer never raises.
    """
    exercise = _find(exercise_id)
    if answer is None or answer is ...:
        return Feedback(None, "Replace the three dots by your answer and run this cell again.")
    parameters = variant(exercise_id, student)
    expected = np.asarray(solution(exercise_id, student), dtype=float)
    given = _numbers(answer)
    if given is None:
        kind = type(answer).__name__
        return Feedback(False, f"The answer must be made of real numbers; this is of type {kind}.")
    if given.shape != expected.shape and given.size == expected.size == 1:
        given = given.reshape(expected.shape)
    if given.shape != expected.shape:
        return Feedback(
            False,
            f"The answer has shape {given.shape}; {expected.shape or 'a single number'} "
            "is expected.",
        )
    if not np.isfinite(given).all():
        return Feedback(False, "The answer holds a value that is not a finite number.")

    if exercise.accepts(given, expected):
        return Feedback(True, f"Tolerance: {exercise.tolerance()}.")
    for mistake in exercise.mistakes:
        if exercise.accepts(given, mistake.answer(parameters)):
            return Feedback(False, mistake.hint)
    if np.all(np.abs(expected) < 1) and np.allclose(given / 100, expected, rtol=0.02):
        return Feedback(False, "This looks like a percentage; give a fraction, 0.25 for 25%.")
    if all(map(_is_rounded, given.flat, expected.flat)):
        return Feedback(
            False,
            f"Right, but rounded too far; give more digits. Tolerance: {exercise.tolerance()}.",
        )
    return Feedback(False, f"{exercise.hint} Tolerance: {exercise.tolerance()}.")


_APART = 3  # tolerances between the right answer and a listed mistake
_DRAWS = 100
_ROUNDING = 1e-9  # how far two ways to compute the same number may differ


def _numbers(answer: Any) -> np.ndarray | None:
    """Return an answer as an array of real numbers, None where it is something else."""
    try:
        given = np.asarray(answer)
        return None if given.dtype.kind in "cmM" else given.astype(float)
    except Exception:  # whatever a student's object does when it is asked for numbers
        return None


def _is_rounded(given: float, expected: float) -> bool:
    """Tell whether ``given`` is ``expected`` with fewer digits, at least one of them not 0."""
    digits = len(f"{given:.12g}".partition("e")[0].replace("-", "").replace(".", "").lstrip("0"))
    return given != 0 and float(f"{expected:.{max(digits, 1)}g}") == float(f"{given:.12g}")


def quiz(chapter: str) -> None:
    """Show the quiz of a chapter: questions with feedback on every answer.

    The questions stand in ``data/quizzes/NN.yml`` in the format of jupyterquiz,
    which draws them. Nothing is loaded from the network.

    Parameters
    ----------
    chapter : str
        The chapter's two digits, for example ``"02"``.

    Raises
    ------
    ValueError
        If the chapter has no quiz.
    RuntimeError
        If it is called outside a notebook.
    """
    import yaml
    from IPython import get_ipython
    from IPython.display import HTML, Javascript, display
    from IPython.utils.capture import capture_output
    from jupyterquiz import display_quiz

    from mammocourse.resources import data_path

    quizzes = {path.stem: path for path in data_path("quizzes").glob("*.yml")}
    if chapter not in quizzes:
        raise ValueError(f"There is no quiz {chapter!r}; choose one of {sorted(quizzes)}.")
    questions = yaml.safe_load(quizzes[chapter].read_text(encoding="utf-8"))
    if get_ipython() is None:
        raise RuntimeError("a quiz shows itself in a notebook; open one with 'make lab'.")
    with capture_output() as captured:
        display_quiz(questions, shuffle_answers=False, colors=_QUIZ_COLORS, max_width=760)
    container = captured.outputs[0].data["text/html"]
    script = captured.outputs[1].data["application/javascript"]
    random_id = re.search(r'id="(\w+)"', container)
    if random_id is None:
        raise RuntimeError("jupyterquiz changed its container; please report this.")
    quiz_id = f"quiz{chapter}"
    container = container.replace(random_id[1], quiz_id) + "</div>"
    container = container.replace(f'id="{quiz_id}"', f'id="{quiz_id}" class="tex2jax_process"', 1)
    script = script.replace(random_id[1], quiz_id)
    # jupyterquiz falls back on a copy of MathJax from the network, and asks for
    # MathJax's version before it is there; the page's own MathJax does the work.
    script = re.sub(r"https://[^']*mathjax[^']*", "data:text/javascript,", script)
    script = script.replace("version[0]", "String(version)[0]")
    display(HTML(container))
    display(Javascript(script + _QUIZ_ACCESSIBILITY.replace("QUIZ_ID", quiz_id)))


_QUIZ_COLORS = {
    "--jq-multiple-choice-bg": "#1d3f5e",
    "--jq-many-choice-bg": "#4a2c6b",
    "--jq-numeric-bg": "#1d3f5e",
    "--jq-numeric-input-bg": "#ffffff",
    "--jq-numeric-input-label": "#202020",
    "--jq-incorrect-color": "#a61b1b",
    "--jq-correct-color": "#0b6b2b",
    "--jq-text-color": "#ffffff",
}

# What jupyterquiz lacks: groups with a name, a label for the number field,
# feedback that screen readers announce, and a mark besides the color.
_QUIZ_ACCESSIBILITY = """
(function improve(tries) {
  const quiz = document.getElementById("QUIZ_ID");
  if (!quiz || !quiz.querySelector(".Quiz")) {
    if (tries > 0) setTimeout(() => improve(tries - 1), 200);
    return;
  }
  quiz.querySelectorAll(".Quiz").forEach((wrapper) => {
    const question = wrapper.querySelector('[id^="quizQn"]');
    const answers = wrapper.querySelector(".Answer");
    const field = wrapper.querySelector("input.Input-text");
    const feedback = wrapper.querySelector(".Feedback");
    if (feedback) feedback.setAttribute("role", "status");
    if (field) {
      const label = wrapper.querySelector(".InpLabel");
      label.htmlFor = field.id;
      label.textContent = "Type a number and press Enter:";
      field.setAttribute("aria-describedby", question.id);
    } else {
      answers.setAttribute("role", "group");
      answers.setAttribute("aria-labelledby", question.id);
    }
  });
})(25);
"""
