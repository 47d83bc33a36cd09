"""Assignments and their grading: right scores, whatever a submission does."""

from __future__ import annotations

import builtins
import csv
import importlib
import json
import os
import re
import socket
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
import yaml

import assignments
import chapters as course
import grade
import guide_tables
import isolation
import landlock
import make_assignments
import make_site
from isolation import Limits
from mammocourse.check import check, solution, variant

SEED = "spring"
ODDS = assignments.Graded("02-odds", "odds_factor", "Odds")
SHORT = Limits(cell=3, seconds=20, wall=200)
CHAPTERS = ["01", "02", "13"]
ITEMS = [item for item in course.chapters() if "{exercise-start}" in item.path.read_text("utf-8")]
IDS = [item.name for item in ITEMS]
ENDLESS = "while True:\n    pass"
QUIT = "import os\nos._exit(0)"
CHEAT = """
import mammocourse.check
mammocourse.check.check = lambda *everything: True
try:
    from mammocourse.exercises.chapter{chapter} import EXERCISES
    {name} = EXERCISES[{i}].solution(variant("{id}"))
except ImportError:
    {name} = mammocourse.check.solution("{id}")
"""
FAKE = """
import os
print('{"points": 100}')
for fd in range(3, 30):
    try:
        os.write(fd, b'{"done": true, "points": 100}\\n[1]\\n{"cell": "x"}\\n')
    except OSError:
        pass
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("package")
    isolation.strip_package(folder)
    return folder


@pytest.fixture(scope="module")
def level(package: Path) -> str:
    return isolation.strongest_level(package)


@pytest.fixture(scope="module", params=["namespaces", "landlock"])
def held(request: pytest.FixtureRequest, package: Path) -> str:
    """Both levels that hide the answers, where this system has them."""
    if not landlock.abi() or not isolation.holds(request.param, package):
        pytest.skip(f"this system cannot hold submissions by {request.param!r}")
    return request.param


def need(level: str, *levels: str) -> None:
    if level not in levels:
        pytest.skip(f"this system holds submissions by {level!r} only")


def code_of(item: course.Chapter, kind: str) -> list[str]:
    """Return the code cells of a submission of some kind."""
    setup = assignments.setup(item)
    cells = list(setup.given)
    for i, task in enumerate(task for task in assignments.tasks(item) if task.id):
        answer = {
            "empty": task.stub,
            "wrong": f"{task.name} = -1234.5",
            "typed": f"{task.name} = {_typed(task.id)}",
            "cheating": CHEAT.format(chapter=item.number, name=task.name, id=task.id, i=i),
        }.get(kind, task.solution)
        worked = setup.worked[task.id] if answer == task.solution else []
        cells += [*task.given, *worked, answer, f'check("{task.id}", {task.name})']
        if i == 0:
            more = {"crashing": ["1 / 0", QUIT], "endless": [ENDLESS], "cheating": [FAKE]}
            cells += more.get(kind, [])
    return cells


def _typed(exercise: str) -> str:
    """Return the right answer as a student would type it who is called "typed"."""
    return repr(np.asarray(solution(exercise, f"{SEED}/typed"), dtype=float).tolist())


def write(path: Path, cells: list[str]) -> None:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)


KINDS = ["perfect", "empty", "wrong", "typed", "crashing", "endless", "cheating"]


@pytest.fixture(scope="module")
def graded(
    tmp_path_factory: pytest.TempPathFactory, level: str
) -> dict[tuple[str, str], dict[str, Any]]:
    """Grade all kinds of submissions of three chapters; rows of the table with the feedback."""
    need(level, "namespaces", "landlock")
    folder = tmp_path_factory.mktemp("course")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assignments, "FOLDER", folder / "assignments")
        for number in CHAPTERS:
            item = course.chapter(number)
            (folder / "assignments" / number).mkdir(parents=True)
            assignments.contents(item, SEED).write(folder / "assignments" / number)
            for kind in KINDS:
                write(folder / "handed-in" / kind / path_of(number), code_of(item, kind))
        before = tree(folder)
        grade.grade_all(folder / "handed-in", folder / "grades", level=level, limits=SHORT)
        assert {k: v for k, v in tree(folder).items() if "grades" not in k} == before
    rows = {}
    with open(folder / "grades" / "grades.csv", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            text = (folder / "grades" / row["feedback"]).read_text("utf-8")
            rows[row["student"], row["chapter"]] = {**row, "text": text}
    return rows


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def path_of(number: str) -> str:
    return assignments.file_name(course.chapter(number))


def has_variants(number: str, seed: str = SEED) -> list[bool]:
    found = assignments.contents(course.chapter(number), seed)
    return [bool(variant(task.id)) for task in found.graded]


@pytest.mark.parametrize("number", CHAPTERS)
@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_submission_gets_its_points(
    kind: str, number: str, graded: dict[tuple[str, str], dict[str, Any]]
) -> None:
    row = graded[kind, number]
    varied = has_variants(number)
    full = assignments.POINTS * len(varied)
    expected = {
        "perfect": full,
        "typed": full - sum(varied) * assignments.POINTS / 2,
        "crashing": assignments.POINTS,  # what it had before it crashed
        "endless": full,  # the endless cell is left, the others count
    }.get(kind, 0)
    assert (float(row["points"]), int(row["of"])) == (expected, full), row["text"]


@pytest.mark.parametrize("number", CHAPTERS)
@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("perfect", "Right"),
        ("empty", "Not answered."),
        ("wrong", "Not yet"),
        ("typed", "not with others of the same kind"),
        ("crashing", "failed: ZeroDivisionError"),
        ("crashing", "There is a problem with this notebook. It ended in code cell"),
        ("endless", "was interrupted after 3 seconds"),
        ("cheating", "There are no solutions here"),
        ("perfect", "read by a person"),
    ],
)
def test_feedback_says_what_happened(
    kind: str, told: str, number: str, graded: dict[tuple[str, str], dict[str, Any]]
) -> None:
    assert told in graded[kind, number]["text"]


def test_only_broken_submissions_have_a_problem(
    graded: dict[tuple[str, str], dict[str, Any]],
) -> None:
    assert {kind for (kind, _), row in graded.items() if row["problem"]} == {"crashing"}


@pytest.mark.parametrize("item", ITEMS, ids=IDS)
def test_the_solutions_of_every_chapter_get_all_points(
    item: course.Chapter, package: Path, level: str
) -> None:
    if item.number in CHAPTERS:
        pytest.skip("graded with the other kinds")
    contents = assignments.contents(item, SEED)
    answers = {task.id: task.name for task in contents.graded}
    numbers = json.loads(json.dumps(grade.numbers(contents.graded, SEED, "ada")))
    cells = code_of(item, "perfect")
    outcome = isolation.run(cells, answers, numbers, package=package, level=level, limits=SHORT)
    found = grade.grade(outcome, contents, "ada")
    assert (found.points, found.problem) == (found.of, ""), found.lines


# --- what is handed out


@pytest.mark.parametrize("item", ITEMS, ids=IDS)
def test_solutions_stand_only_where_otter_removes_them(item: course.Chapter) -> None:
    notebook = make_assignments.master(item, SEED)
    nbformat.validate(notebook)
    tasks = [task for task in assignments.tasks(item) if task.id]
    left = re.sub(
        r"# BEGIN SOLUTION NO PROMPT\n.*?# END SOLUTION",
        "",
        "\n".join(cell.source for cell in notebook.cells),
        flags=re.S,
    )
    assert len(tasks) >= 2
    for function in withheld(item):
        assert function not in left
    for task in tasks:
        assert task.solution not in left
        assert left.count(f"{task.name} = ...") == 1
        assert f'variant("{task.id}")' in left or not variant(task.id)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            kept = re.sub(r"(?m)^# (BEGIN|END) SOLUTION.*\n?", "", cell.source)
            assert len(kept.splitlines()) <= 20


def withheld(item: course.Chapter) -> list[str]:
    """Return the chapter's functions that only the worked answers get."""
    return [one for functions in assignments.setup(item).worked.values() for one in functions]


HANDED_OUT = {  # on purpose: tools without which the exercise would be about something else
    "03-patients": ["mle_boundary"],
    "03-deflate": ["mle_inflation"],
    "04-size": ["scratch"],
    "07-letterbox": ["resize_image"],
    "10-excess": ["heatmap_mask_energy"],
    "13-reconstruct": ["compatible"],
}


def test_functions_that_answer_an_exercise_are_not_handed_out() -> None:
    setups = [assignments.setup(item) for item in ITEMS]
    found = {label: names for setup in setups for label, names in setup.handed_out.items()}
    assert sorted(found) == sorted(t.id for item in ITEMS for t in assignments.tasks(item) if t.id)
    assert {label: names for label, names in found.items() if names} == HANDED_OUT
    assert sum(len(withheld(item)) for item in ITEMS) >= 9


@pytest.mark.parametrize("item", ITEMS, ids=IDS)
def test_the_set_up_cells_are_complete(item: course.Chapter) -> None:
    setup, known = assignments.setup(item), set(dir(builtins))
    for cell in setup.given:
        assert assignments.uses(cell) - known <= assignments.defines(cell)
        known |= assignments.defines(cell)


@pytest.mark.parametrize("item", ITEMS, ids=IDS)
def test_the_numbers_survive_the_way_to_a_submission(item: course.Chapter) -> None:
    for task in assignments.contents(item, SEED).graded:
        given = variant(task.id, f"{SEED}/ada")
        sent = json.loads(json.dumps(given))
        solve = next(one for one in exercises(item.number) if one.id == task.id).solution
        np.testing.assert_array_equal(solve(sent), solve(given))


def exercises(number: str) -> list[Any]:
    return importlib.import_module(f"mammocourse.exercises.chapter{number}").EXERCISES


@pytest.mark.release
@pytest.mark.parametrize("item", ITEMS, ids=IDS)
def test_otter_makes_student_notebook_solution_and_archive(
    item: course.Chapter, tmp_path: Path, package: Path, level: str
) -> None:
    if not make_assignments.OTTER.exists():
        pytest.skip("otter-grader is not installed: run 'make assignments' once")
    make_assignments.assign(item, SEED, tmp_path / item.number)
    file = assignments.file_name(item)
    student = (tmp_path / item.number / "student" / file).read_text("utf-8")
    assert not [
        one for one in withheld(item) if json.dumps(one)[1:-1].partition("\\n")[0] in student
    ]
    graded = [task for task in assignments.tasks(item) if task.id]
    with zipfile.ZipFile(tmp_path / item.number / "autograder.zip") as archive:
        tests = [archive.read(n).decode() for n in archive.namelist() if "tests/q" in n]
    assert len(tests) == len(graded)
    assert all("'hidden': True" in test for test in tests)
    assert "assert" not in student
    assert not [task for task in graded if json.dumps(task.solution)[1:-1] in student]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assignments, "FOLDER", tmp_path)
        for kind, share in (("student", 0), ("solution", 1)):
            path = tmp_path / item.number / kind / file
            assert all(cell.source.strip() for cell in nbformat.read(path, as_version=4).cells)
            found = grade.grade_file(path, assignments.UNNAMED, package, level, Limits())
            assert (found.points, found.problem) == (share * found.of, ""), found.lines


def test_the_guide_lacks_no_exercise_and_no_objective() -> None:
    tables = guide_tables.tables()
    assert [name for name, _ in tables] == ["workload", "plan", "plan", "objectives", "rubric"]
    for name, content in tables:
        assert len(getattr(guide_tables, name)(content)) > 2
    twelve, six = (yaml.safe_load(content) for name, content in tables if name == "plan")
    assert (len(twelve), len(six)) == (12, 6)
    taught = {number for week in twelve for number in week["chapters"]}
    assert taught >= {item.number for item in ITEMS}


@pytest.mark.parametrize(
    ("table", "content", "told"),
    [
        ("objectives", "{}", "lacks chapter '01'"),
        ("objectives", "'01': [[]]", "has 5 objectives, and the table 1"),
        ("objectives", "'01': [[], [], [], [], []]", "lacks ex-01-claim"),
        ("rubric", "{}", "the rubric lacks 01-claim"),
        ("rubric", "02-odds: x", "the rubric has 02-odds, which is no open exercise"),
        ("rubric", "01-gone: x", "the rubric has 01-gone, which is no open exercise"),
    ],
)
def test_what_the_guide_lacks_is_named(table: str, content: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        getattr(guide_tables, table)(content)


def test_a_mistake_in_the_guide_is_named_before_any_chapter_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    guide_tables.check_tables()
    monkeypatch.setattr(guide_tables, "tables", lambda: [("rubric", "{}")])
    monkeypatch.setattr(course, "execute_all", lambda: pytest.fail("chapters were run"))
    monkeypatch.chdir(course.ROOT)
    with pytest.raises(SystemExit, match=r"instructor_guide\.md, table 'rubric': the rubric lacks"):
        make_site.make_site()


# --- what a submission cannot do


def attempt(cells: list[str], package: Path, level: str, limits: Limits = SHORT) -> Any:
    """Run cells that end in ``leaked``, the number of attempts that succeeded."""
    cells = ["leaked = 0", *cells, "survived = 1"]
    names = {"leaked": "leaked", "survived": "survived"}
    return isolation.run(cells, names, [{}], package=package, level=level, limits=limits)


def each(paths: list[Any], action: str) -> str:
    paths = [str(path) for path in paths]
    return (
        f"import os\nfor path in {paths}:\n    try:\n        {action}\n        leaked += 1\n"
        "    except OSError:\n        pass"
    )


def secrets(tmp_path: Path) -> list[Path]:
    """Return files that no submission may read, one of them another student's."""
    other = tmp_path / "handed-in" / "bob" / "02_x.ipynb"
    other.parent.mkdir(parents=True)
    other.write_text("{}")
    package = isolation.PACKAGE
    return [
        *(other, package / "check.py", package / "exercises" / "chapter02.py"),
        *(course.ROOT / "book" / "02_logistic_regression.md", course.ROOT / "Makefile"),
        *(Path("/etc/passwd"), Path("/proc/self/environ"), Path("/proc/1/environ")),
        *(Path(f"/proc/{os.getpid()}/{name}") for name in ("environ", "mem", "maps", "cmdline")),
    ]


def test_answers_and_the_files_of_others_cannot_be_read(
    tmp_path: Path, package: Path, held: str
) -> None:
    files = secrets(tmp_path)
    assert files[0].exists()
    outcome = attempt(
        [
            each(files, "open(path, 'rb').read(1)"),
            each([*{path.parent for path in files}], "os.listdir(path)"),
            each(files, "os.link(path, 'link'); open('link', 'rb').read(1)"),
            each(files, "os.symlink(path, 'to-' + str(len(path))); open('to-' + str(len(path)))"),
        ],
        package,
        held,
    )
    assert (outcome.answers["leaked"], outcome.answers["survived"]) == ([0], [1])


def test_without_isolation_the_same_attempts_succeed(tmp_path: Path, package: Path) -> None:
    files = [*secrets(tmp_path)[:5], Path("/etc/passwd")]
    outcome = attempt([each(files, "open(path, 'rb').read(1)")], package, "none")
    assert outcome.answers["leaked"] == [len(files)]


def test_nothing_can_be_written_outside_of_its_folder(
    tmp_path: Path, package: Path, held: str
) -> None:
    target = tmp_path / "tests.py"
    target.write_text("untouched")
    paths = [target, package / "mammocourse" / "check.py", isolation.PACKAGE / "check.py"]
    before = [path.read_bytes() for path in paths]
    outcome = attempt(
        [
            each(paths, "open(path, 'a').write('changed')"),
            each(paths, "os.truncate(path, 0)"),
            each(paths, "os.remove(path)"),
            each(paths, "os.rename(path, path + '.old')"),
            each(paths, "open(path + '.new', 'w')"),
            each(paths, "os.mkdir(path + '.folder')"),
        ],
        package,
        held,
    )
    assert [path.read_bytes() for path in paths] == before
    assert list(tmp_path.iterdir()) == [target]
    assert outcome.answers["leaked"] == [0]


def test_the_network_cannot_be_reached(package: Path, level: str) -> None:
    need(level, "namespaces")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        action = f"import socket; socket.create_connection(('127.0.0.1', {port}), 2)"
        outcome = attempt([each([""], action)], package, level)
    assert outcome.answers["leaked"] == [0]


def test_no_other_file_can_be_seen_or_changed_in_any_way(
    tmp_path: Path, package: Path, level: str
) -> None:
    need(level, "namespaces")
    other = tmp_path / "other.ipynb"
    other.write_text("{}")
    paths = [other, package / "mammocourse" / "check.py", Path(sys.executable)]
    before = [(path.stat().st_mode, path.stat().st_mtime) for path in paths]
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        server.listen()
        connect = "import socket; socket.socket(socket.AF_UNIX).connect(path)"
        outcome = attempt(
            [
                each(paths, "os.chmod(path, 0o777)"),
                each(paths, "os.utime(path)"),
                each([other], "os.stat(path)"),
                each([tmp_path / "socket"], connect),
                each([""], "os.chroot('/scratch')"),
            ],
            package,
            level,
        )
    assert outcome.answers["leaked"] == [0]
    assert [(path.stat().st_mode, path.stat().st_mtime) for path in paths] == before


def test_no_program_can_be_started(package: Path, held: str) -> None:
    action = "import subprocess, sys; subprocess.run([path or sys.executable, '-c', ''])"
    outcome = attempt([each(["/bin/sh", ""], action)], package, held)
    assert outcome.answers["leaked"] == [0]


@pytest.mark.parametrize(
    "whom",
    ["os.getppid()", "-1", "0", str(os.getpid()), str(os.getppid())],
    ids=["its parent", "all", "its group", "these tests", "their parent"],
)
def test_other_processes_cannot_be_killed(whom: str, package: Path, level: str) -> None:
    need(level, "namespaces")
    outcome = attempt([f"import os, signal\nos.kill({whom}, signal.SIGKILL)"], package, level)
    assert outcome.problem or outcome.errors  # and this process lives to say so


def test_what_it_starts_ends_with_it(package: Path, level: str) -> None:
    need(level, "namespaces")
    before = runners()
    daemon = "import os, time\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(1000)"
    outcome = attempt([daemon], package, level)
    assert outcome.answers["survived"] == [1]
    assert runners() == before


def runners() -> list[str]:
    """Return the processes that run submissions."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if b"run_submission.py" in path.read_bytes():
                found.append(path.parent.name)
        except OSError:
            pass
    return sorted(found)


MEMORY = "x = bytearray(100_000_000_000)"
DISK = "block = bytes(1_000_000)\nfor i in range(1000):\n    open(str(i), 'wb').write(block)"
ONE_FILE = "file = open('large', 'wb')\nfor i in range(1000):\n    file.write(bytes(1_000_000))"
FORKS = """
import os, time
children = []
for i in range(1000):
    pid = os.fork()
    if pid == 0:
        time.sleep(60)
        os._exit(0)
"""


@pytest.mark.parametrize(
    ("cell", "error", "levels"),
    [
        (MEMORY, "MemoryError", ("namespaces", "landlock")),
        (ONE_FILE, "File too large", ("namespaces", "landlock")),
        (DISK, "No space left on device", ("namespaces",)),
        (FORKS, "temporarily unavailable", ("namespaces",)),
    ],
)
def test_what_it_uses_is_limited(
    cell: str, error: str, levels: tuple[str, ...], package: Path, level: str
) -> None:
    need(level, *levels)
    if cell == FORKS and os.geteuid() == 0 and not counts_processes():
        pytest.skip("for root, this kernel does not count processes")
    outcome = attempt([cell], package, level)
    assert error in outcome.errors[2]
    assert outcome.answers["survived"] == [1]


def counts_processes() -> bool:
    """Tell whether namespaces have a limit of their own (Linux 6.14)."""
    major, minor = os.uname().release.split(".")[:2]
    return (int(major), int(minor)) >= (6, 14)


@pytest.mark.parametrize(
    ("cell", "limits", "told"),
    [
        (
            "while True:\n    try:\n        while True:\n            pass\n"
            "    except BaseException:\n        pass",
            Limits(cell=1, seconds=2, wall=200),
            "processor time",
        ),
        ("import time\ntime.sleep(1000)", Limits(wall=3), "was stopped after 3 seconds"),
    ],
)
def test_an_endless_notebook_is_stopped(
    cell: str, limits: Limits, told: str, package: Path, level: str
) -> None:
    assert told in attempt([cell], package, level, limits).problem


@pytest.mark.parametrize(
    "answer",
    [
        "'text'",
        "object()",
        "{}",
        "float('nan')",
        "[[1], [2, 3]]",
        "10**5000",
        "np.zeros(10**6)",
        "type('Rude', (), {'__array__': lambda *a, **k: 1 / 0, '__len__': lambda s: 10**9})()",
    ],
)
def test_a_strange_answer_is_wrong_and_nothing_else(answer: str) -> None:
    import run_submission

    value = json.loads(json.dumps(run_submission.plain(eval(answer, {"np": np}))))
    points, comment = grade.judge(ODDS, [value] * 3, SEED, "ada")
    assert points == 0
    assert "number" in comment


@pytest.mark.parametrize(
    "line",
    [
        "[" * 100_000,
        '{"cell": 1, "error": null, "answers": {"a": [1, 2]}}',
        '{"cell": 1, "error": null, "answers": {"b": [1]}}',
        '{"cell": null, "error": null, "answers": {"a": [1]}}',
        '{"cell": 1}',
        "[1]",
        "\x00",
        "1" * 5000,
    ],
)
def test_a_forged_report_counts_for_nothing(line: str) -> None:
    found = isolation._outcome(line, {"a": "x"}, 1, True, Limits())
    assert found.answers == {}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "not a Jupyter notebook"),
        (b"[" * 10_000, "not a Jupyter notebook"),
        (b'{"cells": [1]}', "not a Jupyter notebook"),
        (b'{"cells": null}', "not a Jupyter notebook"),
        (b"\xff\xfe", "not a Jupyter notebook"),
        (b'{"cells": [{"cell_type": "code", "source": "", "outputs": [1]}]}', "not a Jupyter"),
    ],
)
def test_what_is_no_notebook_is_told_so(content: bytes, told: str, tmp_path: Path) -> None:
    path = tmp_path / "02_x.ipynb"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=told):
        grade.read_cells(path)


def test_a_link_to_a_file_of_somebody_else_is_not_followed(tmp_path: Path) -> None:
    path = tmp_path / "02_x.ipynb"
    path.symlink_to(course.ROOT / "notebooks" / "02_logistic_regression.ipynb")
    with pytest.raises(ValueError, match="it is a link"):
        grade.read_cells(path)


def test_a_notebook_of_no_assignment_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assignments, "FOLDER", tmp_path)
    found = grade.grade_file(tmp_path / "homework.ipynb", "ada", tmp_path, "none", SHORT)
    assert "belongs to no assignment" in found.problem


def test_an_empty_folder_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="one folder per student"):
        grade.grade_all(tmp_path, tmp_path / "grades", level="none", limits=SHORT)


def test_numbers_of_a_student_follow_from_seed_and_id() -> None:
    first = grade.numbers([ODDS], SEED, "ada")
    assert grade.numbers([ODDS], SEED, "ada") == first
    others = [grade.numbers([ODDS], *who) for who in ((SEED, "bob"), ("fall", "ada"))]
    drawn = [repr(numbers) for of_one in (first, *others) for numbers in of_one]
    assert len(set(drawn)) > 6  # three students' own and hidden ones


def test_without_an_id_the_feedback_asks_for_it() -> None:
    unnamed = f"{SEED}/{assignments.UNNAMED}"
    value = float(solution(ODDS.id, unnamed))
    assert check(ODDS.id, value, unnamed).passed
    _, comment = grade.judge(ODDS, [value] * 3, SEED, "ada")
    assert "put your id" in comment


def id_cell(seed: str, student: str) -> str:
    cell = make_assignments.STUDENT.format(unnamed=assignments.UNNAMED, seed=seed)
    return cell.replace(assignments.UNNAMED, student)


def test_another_id_than_that_of_the_folder_is_told() -> None:
    value, cells = float(solution(ODDS.id, f"{SEED}/Ada")), [id_cell(SEED, "Ada")]
    points, comment = grade.judge(ODDS, [value] * 3, SEED, "ada", cells)
    assert (points, comment) == (0, "Right for the id 'Ada', but yours is 'ada'.")
    assert "'Ada', and its folder is named 'ada'" in grade.wrong_numbers(cells, SEED, "ada")
    assert grade.wrong_numbers(cells, SEED, "Ada") == ""
    cells = [id_cell(SEED, assignments.UNNAMED)]
    assert "No id was put into" in grade.wrong_numbers(cells, SEED, "ada")


def test_another_seed_than_that_of_the_assignment_is_told() -> None:
    told = grade.wrong_numbers([id_cell("fall", "ada")], SEED, "ada")
    assert "SEED=fall" in told
    assert f"SEED={SEED}" in told


def test_an_answer_whose_cell_failed_is_told_so() -> None:
    contents = assignments.Contents(SEED, [ODDS], [])
    outcome = isolation.Outcome({ODDS.id: [None] * 3}, {2: "SyntaxError", 10**9: "forged"})
    found = grade.grade(outcome, contents, "ada", ["import os", "odds_factor = (1 + "])
    assert "Not answered: code cell 2 failed" in found.lines[0]


def test_a_check_without_its_answer_is_not_reported_as_a_failure_of_its_own() -> None:
    contents = assignments.Contents(SEED, [ODDS], [])
    cells = ["odds_factor = (1 +", 'check("02-odds", odds_factor)', "odds_factor"]
    name = "NameError: name 'odds_factor' is not defined"
    outcome = isolation.Outcome({ODDS.id: [None] * 3}, {1: "SyntaxError", 2: name, 3: name})
    lines = grade.grade(outcome, contents, "ada", cells).lines
    assert [line.split()[2] for line in lines if line.startswith("Code cell")] == ["1", "3"]


# --- the right notebook, the open exercises


@pytest.mark.parametrize("item", ITEMS, ids=IDS)
def test_the_chapters_notebook_is_told_from_the_assignment(item: course.Chapter) -> None:
    chapter = grade.read_cells(course.ROOT / "notebooks" / f"{item.name}.ipynb")
    own = grade.code_cells(chapter)
    assert grade.is_the_chapter(own, chapter)
    assert grade.is_the_chapter([*own[1:-1], "mine = 1"], chapter)
    assert not grade.is_the_chapter([*own, id_cell(SEED, "ada")], chapter)
    assert not grade.is_the_chapter(code_of(item, "perfect"), chapter)  # it lacks the id's cell
    assert not grade.is_the_chapter([], chapter)


@pytest.fixture
def second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> course.Chapter:
    """Chapter 2, handed out; what is handed in brings no answers, without being run."""
    item = course.chapter("02")
    (tmp_path / "assignments" / "02").mkdir(parents=True)
    assignments.contents(item, SEED).write(tmp_path / "assignments" / "02")
    monkeypatch.setattr(assignments, "FOLDER", tmp_path / "assignments")
    monkeypatch.setattr(isolation, "run", lambda *args, **options: isolation.Outcome())
    return item


def test_the_chapters_notebook_is_not_run(
    second: course.Chapter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(isolation, "run", lambda *args, **options: pytest.fail("it was run"))
    path = course.ROOT / "notebooks" / f"{second.name}.ipynb"
    found = grade.grade_file(path, "ada", tmp_path, "none", SHORT)
    n_checked = len([task for task in assignments.tasks(second) if task.id])
    assert "This is the chapter's notebook, not the assignment" in found.problem
    assert f"hand in {assignments.file_name(second)}" in found.problem
    assert (found.points, found.of, found.lines) == (0, assignments.POINTS * n_checked, [])


@pytest.mark.parametrize(
    ("name", "chapter"),
    [
        ("02_logistic_regression_assignment.ipynb", "02"),
        ("lovelaceada_13_5512_02_logistic_regression_assignment-1.ipynb", "02"),
        ("02_renamed.ipynb", "02"),
        ("ada_02.ipynb", ""),
    ],
)
def test_the_names_that_learning_platforms_give_are_understood(name: str, chapter: str) -> None:
    assert grade.chapter_of(name) == chapter


def hand_in(folder: Path, item: course.Chapter, student: str, answers: dict[str, Any]) -> None:
    """Write an assignment as handed out, with cells below the named open exercises."""
    cells = []
    for one in assignments.contents(item, SEED).open:
        for text in one.given:
            cells.append(nbformat.v4.new_markdown_cell(f"<!-- BEGIN QUESTION -->\n\n{text}"))
        cells.append(nbformat.v4.new_markdown_cell(grade.PLACEHOLDER))
        cells += answers.get(one.label, [])
    path = folder / student / assignments.file_name(item)
    path.parent.mkdir(parents=True)
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)


def test_open_answers_are_gathered_by_exercise(second: course.Chapter, tmp_path: Path) -> None:
    early, writers = (one.label for one in assignments.contents(second, SEED).open)
    ran = nbformat.v4.new_code_cell("norm < 3", outputs=[nbformat.v4.new_output("stream")])
    ran.outputs[0].text = "True"
    said = nbformat.v4.new_markdown_cell("# bob\nLonger <script>.")
    hand_in(tmp_path / "in", second, "ada", {early: [said, ran]})
    hand_in(tmp_path / "in", second, "bob", {})
    grade.grade_all(tmp_path / "in", tmp_path / "out", level="none", limits=SHORT)
    text = (tmp_path / "out" / "to_read" / "02.md").read_text("utf-8")
    lines = text.splitlines()
    heads = [line for line in lines if line.startswith("## ")]
    assert [head.split(":")[0] for head in heads] == [f"## {early}", f"## {writers}"]
    assert lines.count("### ada") == lines.count("### bob") == 2
    assert lines.count("*No answer.*") == 3
    assert f"**A full answer:** {guide_tables.rubric_lines()[early]}" in lines
    for line in ("> # bob", "> Longer &lt;script>.", "> norm < 3", "> True"):
        assert line in lines
    assert text.index("### ada") < text.index("> norm < 3") < text.index("### bob")
    assert "BEGIN QUESTION" not in text
    assert grade.PLACEHOLDER not in text
    with open(tmp_path / "out" / "grades.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["student"], row["to_read"], row[early]) for row in rows] == [
        ("ada", "2", ""),
        ("bob", "2", ""),
    ]


def test_points_that_a_person_gave_are_not_replaced(second: course.Chapter, tmp_path: Path) -> None:
    hand_in(tmp_path / "in", second, "ada", {})
    for _ in range(2):  # without such points it is replaced
        grade.grade_all(tmp_path / "in", tmp_path / "out", level="none", limits=SHORT)
    table = tmp_path / "out" / "grades.csv"
    table.write_text(re.sub(",\n$", ",3.5\n", table.read_text("utf-8")))
    before = table.read_bytes()
    with pytest.raises(SystemExit, match="holds points of open exercises"):
        grade.grade_all(tmp_path / "in", tmp_path / "out", level="none", limits=SHORT)
    assert table.read_bytes() == before
    assert b"3.5" in before


def test_contents_of_another_version_are_refused(tmp_path: Path) -> None:
    (tmp_path / "contents.json").write_text('{"seed": "fall", "graded": [], "open": ["Title"]}')
    with pytest.raises(SystemExit, match="build the assignment again, with SEED=fall"):
        assignments.Contents.read(tmp_path)


def test_cleaning_keeps_assignments_and_grades(tmp_path: Path) -> None:
    for name in ("assignments/02", "grades", "html", ".jupyter_cache"):
        (tmp_path / "_build" / name).mkdir(parents=True)
    makefile = course.ROOT / "Makefile"
    subprocess.run(["make", "-s", "-f", str(makefile), "clean"], cwd=tmp_path, check=True)
    assert sorted(path.name for path in (tmp_path / "_build").iterdir()) == [
        "assignments",
        "grades",
    ]


def test_what_cannot_be_graded_gets_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assignments, "FOLDER", tmp_path / "none")
    write(tmp_path / "in" / "ada" / "02_x.ipynb", [])
    (tmp_path / "in" / "bob" / "deeper").mkdir(parents=True)
    write(tmp_path / "in" / "02_lost.ipynb", [])
    grade.grade_all(tmp_path / "in", tmp_path / "out", level="none", limits=SHORT)
    with open(tmp_path / "out" / "grades.csv", encoding="utf-8") as file:
        told = {row["student"]: row["problem"] for row in csv.DictReader(file)}
    assert "belongs to no assignment" in told["ada"]
    assert "holds no notebook" in told["bob"]
    assert "lies in no student's folder" in told["02_lost.ipynb"]


def test_the_copy_for_submissions_holds_no_answers(package: Path) -> None:
    files = [str(path.relative_to(package)) for path in package.rglob("*") if path.is_file()]
    assert "mammocourse/logistic.py" in files
    assert not [name for name in files if "exercises" in name or "quizzes" in name]
    text = (package / "mammocourse" / "check.py").read_text("utf-8")
    assert text == (isolation.HERE / "stand_in_check.py").read_text("utf-8")


def test_a_package_in_site_packages_is_hidden(tmp_path: Path) -> None:
    for name in ("lib/numpy/a.py", "lib/mammocourse/check.py", "bin/python"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "lib64").symlink_to("lib")
    (tmp_path / "lib" / "numpy" / "all").symlink_to("../..")
    readable, listed = isolation.visible(tmp_path, [tmp_path / "lib" / "mammocourse"])
    assert set(readable) == {tmp_path / "lib" / "numpy", tmp_path / "bin"}
    assert set(listed) == {tmp_path, tmp_path / "lib"}


def test_without_isolation_grading_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landlock, "abi", lambda: 0)
    with pytest.raises(SystemExit, match="could read the answers"):
        grade.choose_level(weak=False)
    assert grade.choose_level(weak=True) == "none"
