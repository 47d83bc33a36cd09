"""Exercises: feedback, hints, tolerance, variants; and the quizzes' data."""

from __future__ import annotations

import importlib
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from IPython import get_ipython
from IPython.testing.globalipapp import start_ipython
from IPython.utils.capture import capture_output

import chapters as course
from mammocourse.check import Exercise, Mistake, check, quiz, solution, variant
from mammocourse.exercises import chapter01

MODULES = sorted(path.stem for path in (course.ROOT / "mammocourse/exercises").glob("chapter*.py"))
EXERCISES = [
    exercise
    for module in MODULES
    for exercise in importlib.import_module(f"mammocourse.exercises.{module}").EXERCISES
]
QUIZZES = sorted((course.ROOT / "data" / "quizzes").glob("*.yml"))
STUDENTS = ["reader", "ada", "grace", "4711"]


@pytest.fixture
def doubled(monkeypatch: pytest.MonkeyPatch) -> Exercise:
    """An exercise made for these tests: double a number, to one percent."""
    exercise = Exercise(
        id="01-doubled",
        parameters=lambda rng: {"x": float(rng.integers(3, 1000))},
        solution=lambda p: 2 * p["x"],
        rtol=0.01,
        hint="Add the number to itself.",
        mistakes=[Mistake(lambda p: p["x"] ** 2, "That is the square.")],
    )
    monkeypatch.setattr(chapter01, "EXERCISES", [exercise])
    return exercise


def test_the_right_answer_passes_and_states_the_tolerance(doubled: Exercise) -> None:
    feedback = check("01-doubled", 2 * variant("01-doubled")["x"])
    assert feedback.passed is True
    assert "1% of the right value" in repr(feedback)


@pytest.mark.parametrize(("factor", "passed"), [(1.009, True), (1.011, False)])
def test_the_tolerance_is_what_is_stated(doubled: Exercise, factor: float, passed: bool) -> None:
    assert check("01-doubled", 2 * variant("01-doubled")["x"] * factor).passed is passed


@pytest.mark.parametrize("untouched", [..., None])
def test_an_untouched_cell_is_not_wrong(doubled: Exercise, untouched: Any) -> None:
    feedback = check("01-doubled", untouched)
    assert feedback.passed is None
    assert "Not answered yet" in repr(feedback)


def test_a_known_mistake_has_its_own_hint(doubled: Exercise) -> None:
    feedback = check("01-doubled", variant("01-doubled")["x"] ** 2)
    assert feedback.passed is False
    assert "That is the square." in repr(feedback)


@pytest.mark.parametrize(
    "answer",
    ["seven", {"a": 1}, object(), [1, 2], math.nan, math.inf, 1j, [[]], 10**400, np.complex128(2)],
)
def test_a_strange_answer_is_wrong_and_never_an_exception(doubled: Exercise, answer: Any) -> None:
    assert check("01-doubled", answer).passed is False


def test_a_number_in_an_array_of_one_is_accepted(doubled: Exercise) -> None:
    assert check("01-doubled", np.array([2 * variant("01-doubled")["x"]])).passed is True


def test_a_student_always_gets_the_same_variant(
    doubled: Exercise, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_name = {student: variant("01-doubled", student)["x"] for student in STUDENTS}
    assert len(set(by_name.values())) > 1
    monkeypatch.setenv("MAMMOCOURSE_STUDENT", "grace")
    assert variant("01-doubled")["x"] == by_name["grace"]


def test_an_instructor_can_look_up_an_answer(doubled: Exercise) -> None:
    assert solution("01-doubled", "ada") == 2 * variant("01-doubled", "ada")["x"]


@pytest.mark.parametrize("name", ["nonsense", "02-no-such-exercise", "77-x", 3])
def test_an_unknown_exercise_is_named(name: Any) -> None:
    with pytest.raises(ValueError, match=str(name)):
        check(name, 1)


@pytest.mark.parametrize("student", STUDENTS)
@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.id)
def test_solutions_pass_and_wrong_answers_are_told_why(exercise: Exercise, student: str) -> None:
    parameters = variant(exercise.id, student)
    right = np.asarray(exercise.solution(parameters), dtype=float)
    assert check(exercise.id, right, student).passed is True
    for wrong in (right + 1 + np.abs(right), -right - 1, right * 1.5 + 0.1):
        feedback = check(exercise.id, wrong, student)
        assert feedback.passed is False
        assert len(feedback.message) > 20
    for mistake in exercise.mistakes:
        feedback = check(exercise.id, mistake.answer(parameters), student)
        assert feedback.passed is False, "a listed mistake is within the tolerance"
        assert feedback.message in [m.hint for m in exercise.mistakes]


@pytest.mark.parametrize("student", STUDENTS)
@pytest.mark.parametrize("quantiles", [1.96 + 0.84, 1.959964 + 0.841621])
def test_the_quantiles_of_the_text_are_exact_enough(quantiles: float, student: str) -> None:
    case = variant("12-patients", student)
    answer = math.ceil(case["patients"] * (quantiles * case["error"] / case["gain"]) ** 2)
    assert check("12-patients", answer, student).passed is True


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.id)
def test_variants_differ_between_students(exercise: Exercise) -> None:
    answers = {repr(exercise.solution(variant(exercise.id, f"student {i}"))) for i in range(30)}
    assert len(answers) > 1 or not variant(exercise.id)


@pytest.mark.parametrize("path", QUIZZES, ids=lambda path: path.stem)
def test_a_quiz_has_four_questions_with_feedback_for_every_answer(path: Path) -> None:
    questions = yaml.safe_load(path.read_text("utf-8"))
    assert len(questions) >= 4
    for question in questions:
        assert question["question"]
        correct = [answer for answer in question["answers"] if answer.get("correct")]
        assert correct
        assert all(len(answer["feedback"]) > 10 for answer in question["answers"])
        if question["type"] == "multiple_choice":
            assert len(correct) == 1
        if question["type"] == "many_choice":
            assert len(correct) >= 2
        if question["type"] == "numeric":
            assert any(answer.get("type") == "default" for answer in question["answers"])


def test_a_quiz_loads_nothing_from_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    start_ipython()
    formatter = get_ipython().display_formatter
    monkeypatch.setattr(formatter, "active_types", formatter.format_types)
    with capture_output() as captured:
        quiz(QUIZZES[0].stem)
    bundle = "".join(str(value) for output in captured.outputs for value in output.data.values())
    assert "quiz" + QUIZZES[0].stem in bundle
    assert "//cdn" not in bundle
    assert "String(version)[0]" in bundle


def test_a_missing_quiz_is_named() -> None:
    with pytest.raises(ValueError, match="no quiz '77'; choose one of"):
        quiz("77")


@pytest.fixture
def share(monkeypatch: pytest.MonkeyPatch) -> Exercise:
    """An exercise whose answer is the fraction 0.37125."""
    exercise = Exercise(id="01-share", solution=lambda p: 0.37125, rtol=1e-3, hint="Divide.")
    monkeypatch.setattr(chapter01, "EXERCISES", [exercise])
    return exercise


@pytest.mark.parametrize("answer", [0.37, 0.4])
def test_a_right_answer_that_is_rounded_too_far_is_told_so(share: Exercise, answer: float) -> None:
    feedback = check("01-share", answer)
    assert feedback.passed is False
    assert "rounded too far" in feedback.message


@pytest.mark.parametrize("answer", [37.125, 37.1, 37])
def test_a_percentage_is_recognized(share: Exercise, answer: float) -> None:
    feedback = check("01-share", answer)
    assert feedback.passed is False
    assert "percentage" in feedback.message


@pytest.mark.parametrize("answer", [0.36, 0.0, 0.5, 1.0])
def test_another_wrong_answer_gets_the_hint(share: Exercise, answer: float) -> None:
    assert check("01-share", answer).message.startswith("Divide.")


def test_numbers_for_which_a_listed_mistake_is_right_are_not_drawn() -> None:
    drawn = iter([2, 2, 5])  # 2 + 2 is also 2 times 2, and 2 squared
    exercise = Exercise(
        id="00-twice",
        parameters=lambda rng: {"x": next(drawn)},
        solution=lambda p: 2 * p["x"],
        hint="Twice.",
        mistakes=[Mistake(lambda p: p["x"] ** 2, "That is the square.")],
    )
    assert exercise.draw(np.random.default_rng(0)) == {"x": 5}


def test_an_exercise_without_usable_numbers_is_named() -> None:
    exercise = Exercise(
        id="00-same", solution=lambda p: 1.0, hint="One.", mistakes=[Mistake(lambda p: 1.0, "No.")]
    )
    with pytest.raises(RuntimeError, match="00-same"):
        exercise.draw(np.random.default_rng(0))
