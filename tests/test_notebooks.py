"""The notebooks: executed, compared, generated, in step with their sources."""

from __future__ import annotations

import ast
import copy
import itertools
import re
import subprocess
from pathlib import Path
from typing import Any

import nbformat
import pytest

import assignments
import chapters as course
import nbval_run
import notebook_writer
import publish_notebooks

CHAPTERS = course.chapters()
IDS = [item.name for item in CHAPTERS]
STUDENT = course.ROOT / "notebooks"
RESULT_CELLS = {"02": 8}  # at least three elsewhere


def code_cells(item: course.Chapter) -> list[Any]:
    return [cell for cell in item.read().cells if cell.cell_type == "code"]


def student(item: course.Chapter) -> Any:
    return nbformat.read(STUDENT / f"{item.name}.ipynb", as_version=4)


def names(source: str, context: type) -> set[str]:
    return {
        node.id
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Name) and isinstance(node.ctx, context)
    }


def test_chapters_run_and_print_the_stored_results(
    run_of_nbval: subprocess.CompletedProcess[str],
) -> None:
    assert run_of_nbval.returncode == 0, run_of_nbval.stdout[-6000:] + run_of_nbval.stderr[-2000:]


@pytest.mark.parametrize("item", CHAPTERS, ids=IDS)
def test_enough_results_are_compared(item: course.Chapter) -> None:
    compared = [c for c in nbval_run.make(item).cells if c.execution_count and c.outputs]
    wanted = RESULT_CELLS.get(item.number, 3)
    assert len(compared) >= wanted, f"tag at least {wanted} cells {notebook_writer.RESULT!r}"


@pytest.mark.parametrize("item", CHAPTERS, ids=IDS)
def test_an_altered_result_is_noticed(item: course.Chapter, tmp_path: Path) -> None:
    notebook = nbval_run.make(item)
    position = next(i for i, cell in enumerate(notebook.cells) if cell.outputs)
    notebook.cells = notebook.cells[: position + 1]
    output = notebook.cells[position].outputs[0]
    sound = output.text
    output.text = re.sub(r"\d", lambda m: str((int(m[0]) + 1) % 10), sound, count=1)
    assert output.text != sound
    nbformat.write(notebook, tmp_path / "altered.ipynb")
    failed = nbval_run.run([tmp_path / "altered.ipynb"])
    assert failed.returncode == 1
    assert "Cell outputs differ" in failed.stdout
    assert f"1 failed, {position} passed" in failed.stdout or position == 0, failed.stdout[-500:]


def differs(template: Any, committed: Any) -> str | None:
    """Return the text of the first cell that is not as in the template, or None."""
    for wanted, cell in itertools.zip_longest(template.cells, committed.cells):
        if wanted is None or cell is None or wanted.cell_type != cell.cell_type:
            return str((cell or wanted).source)
        if cell.cell_type == "code" and wanted != cell:
            return str(cell.source)
        pattern = ".{1,40}?".join(map(re.escape, wanted.source.split(notebook_writer.VALUE)))
        if not re.fullmatch(pattern, cell.source) or wanted.metadata != cell.metadata:
            return str(cell.source)
    return None


@pytest.mark.parametrize("item", CHAPTERS, ids=IDS)
def test_the_committed_notebook_is_what_the_source_makes(item: course.Chapter, site: Path) -> None:
    made = course.BUILD / "notebooks" / "template" / f"{item.name}.ipynb"
    template = nbformat.read(made, as_version=4)
    found = differs(template, student(item))
    assert found is None, f"run 'make notebooks', look at the difference and commit it:\n{found}"
    assert template.metadata == student(item).metadata


def test_a_template_leaves_open_the_quoted_values_alone() -> None:
    cells = [nbformat.v4.new_markdown_cell("A loss of □, not 3."), nbformat.v4.new_code_cell("x")]
    template = nbformat.v4.new_notebook(cells=cells)

    def committed(text: str, code: str = "x", more: int = 0) -> Any:
        notebook = copy.deepcopy(template)
        notebook.cells[0].source, notebook.cells[1].source = text, code
        notebook.cells += notebook.cells[1:] * more
        return notebook

    assert differs(template, committed("A loss of 0.08, not 3.")) is None
    assert differs(template, committed("A loss of 0.08, not 4.")) is not None
    assert differs(template, committed("A loss of , not 3.")) is not None
    assert differs(template, committed("A loss of 0.08, not 3.", "y")) == "y"
    assert differs(template, committed("A loss of 0.08, not 3.", more=1)) == "x"


def test_every_notebook_has_a_chapter() -> None:
    assert sorted(path.stem for path in STUDENT.glob("*.ipynb")) == sorted(IDS)


@pytest.mark.parametrize("item", CHAPTERS, ids=IDS)
def test_a_committed_notebook_is_known_as_generated(item: course.Chapter) -> None:
    assert publish_notebooks.changed_cells(STUDENT / f"{item.name}.ipynb") == []


@pytest.fixture
def published(tmp_path: Path) -> tuple[Path, Path]:
    """A folder with two new notebooks, and one with their older versions and other files."""
    new, old = tmp_path / "new", tmp_path / "notebooks"
    for folder, version in ((old, "older"), (new, "newer")):
        folder.mkdir()
        for name in ("01_a", "02_b", *(["03_gone"] if folder == old else [])):
            code = nbformat.v4.new_code_cell
            cells = [code("install"), code(f"{version} = 1"), code("answer = ...")]
            notebook = nbformat.v4.new_notebook(cells=cells)
            course.number_cells(notebook)
            notebook.cells[0]["id"] = "install"
            nbformat.write(notebook, folder / f"{name}.ipynb")
    nbformat.write(nbformat.v4.new_notebook(), old / "mine.ipynb")
    return new, old


def test_new_notebooks_replace_generated_ones_and_no_others(published: tuple[Path, Path]) -> None:
    new, old = published
    ran = nbformat.read(old / "01_a.ipynb", as_version=4)
    ran.cells[1].outputs = [nbformat.v4.new_output("stream", text="a result")]
    nbformat.write(ran, old / "01_a.ipynb")
    publish_notebooks.publish(*published)
    assert sorted(path.name for path in old.iterdir()) == ["01_a.ipynb", "02_b.ipynb", "mine.ipynb"]
    for path in new.iterdir():
        assert (old / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("work", ["answer", "cell", "unreadable"])
def test_a_students_work_is_not_replaced(work: str, published: tuple[Path, Path]) -> None:
    _, old = published
    path = old / "02_b.ipynb"
    notebook = nbformat.read(path, as_version=4)
    if work == "answer":
        notebook.cells[2].source = "answer = 42"
    notebook.cells += [nbformat.v4.new_markdown_cell("My notes")] if work == "cell" else []
    nbformat.write(notebook, path)
    if work == "unreadable":
        path.write_text("<<<<<<< HEAD")
    before = {path: path.read_bytes() for path in old.iterdir()}
    told = {"answer": "answer = 42", "cell": "My notes", "unreadable": "cannot be read"}[work]
    with pytest.raises(SystemExit, match=f"02_b.ipynb was not replaced(.|\n)*{told}"):
        publish_notebooks.publish(*published)
    assert {path: path.read_bytes() for path in old.iterdir()} == before


@pytest.mark.parametrize("item", CHAPTERS, ids=IDS)
def test_text_is_plain_markdown(item: course.Chapter) -> None:
    raw = re.compile(r"^\s*(```|:::)+\s*\{|\{[a-z:-]+\}`|\[\[|\?\?|<(div|p|span|script)\b", re.M)
    for cell in student(item).cells:
        if cell.cell_type == "markdown":
            found = raw.search(cell.source)
            assert found is None, f"{found[0]!r} in:\n{cell.source}"


@pytest.mark.parametrize("item", CHAPTERS, ids=IDS)
def test_formulas_are_closed(item: course.Chapter) -> None:
    for cell in student(item).cells:
        if cell.cell_type == "markdown":
            text = re.sub(r"`[^`]*`|\\\$", "", cell.source)
            assert text.count("$$") % 2 == 0
            assert text.replace("$$", "").count("$") % 2 == 0, cell.source
            assert text.count(r"\begin{") == text.count(r"\end{")


@pytest.mark.parametrize("item", CHAPTERS, ids=IDS)
def test_the_first_cell_installs_the_package_on_colab(item: course.Chapter) -> None:
    first, title, belongs = student(item).cells[0], *student(item).cells[1].source.split("\n\n")[:2]
    assert title.startswith("# ")
    assert "[From Digits to Mammograms](https://" in belongs
    assert first.metadata.tags == ["install"]
    assert 'find_spec("mammocourse") is None' in first.source
    ast.parse(first.source)


@pytest.mark.parametrize("item", CHAPTERS, ids=IDS)
def test_the_student_notebook_has_no_solutions(item: course.Chapter) -> None:
    cells = student(item).cells
    assert not any("solution" in course.tags(cell) for cell in cells)
    solutions = [c.source for c in code_cells(item) if "solution" in course.tags(c)]
    text = "\n".join(cell.source for cell in cells)
    assert not any(solution in text for solution in solutions)


@pytest.mark.parametrize("item", CHAPTERS, ids=IDS)
def test_outputs_stand_in_result_cells_alone(item: course.Chapter) -> None:
    for cell in student(item).cells:
        if cell.cell_type == "code":
            result = notebook_writer.RESULT in course.tags(cell)
            assert bool(cell.outputs) == result
            assert (cell.execution_count is not None) == result


@pytest.mark.parametrize("item", CHAPTERS, ids=IDS)
def test_each_check_follows_its_answer(item: course.Chapter) -> None:
    kinds = [
        kind
        for cell in student(item).cells
        for kind in course.tags(cell)
        if kind in ("answer", "check")
    ]
    assert kinds.count("check") >= 2
    assert all(kinds[i - 1] == "answer" for i, kind in enumerate(kinds) if kind == "check")


@pytest.mark.parametrize("item", CHAPTERS, ids=IDS)
def test_every_check_passes_with_the_solutions(
    item: course.Chapter, executed: dict[str, Any]
) -> None:
    checks = [c for c in executed[item.number].cells if "check" in course.tags(c)]
    assert len(checks) >= 2
    for cell in checks:
        shown = cell.outputs[-1].data["text/plain"]
        assert shown.startswith("✓ Right"), f"{cell.source}: {shown}"


@pytest.mark.parametrize("item", CHAPTERS, ids=IDS)
def test_no_later_cell_depends_on_an_exercise(item: course.Chapter) -> None:
    cells = code_cells(item)
    exercise = {"answer", "solution", "check"}
    inside = set().union(*(names(c.source, ast.Store) for c in cells if "answer" in course.tags(c)))
    outside = set().union(
        *(
            names(c.source, ast.Load) | names(c.source, ast.Store)
            for c in cells
            if not exercise & set(course.tags(c))
        )
    )
    assert not inside & outside


@pytest.mark.parametrize("item", CHAPTERS, ids=IDS)
def test_no_cell_depends_on_one_that_notebooks_leave_out(item: course.Chapter) -> None:
    left_out: set[str] = set()
    for cell in code_cells(item):
        defined, used = assignments.defines(cell.source), assignments.uses(cell.source)
        if "remove-cell" in course.tags(cell):
            left_out |= defined
        else:
            assert not (used - defined) & left_out, cell.source
            left_out -= defined


@pytest.mark.parametrize("item", CHAPTERS, ids=IDS)
def test_cells_are_short_and_without_shell_commands(item: course.Chapter) -> None:
    for cell in code_cells(item):
        lines = cell.source.strip().splitlines()
        assert len(lines) <= 20, cell.source
        assert not any(line.lstrip().startswith(("!", "%")) for line in lines), cell.source
        assert not lines[-1].endswith(";"), "assign the result instead: nbval shows it"


@pytest.mark.parametrize("item", CHAPTERS, ids=IDS)
def test_a_chapter_has_its_skeleton(item: course.Chapter) -> None:
    text = item.path.read_text("utf-8")
    assert text.count("{exercise-start}") >= 4
    assert text.count("{solution-start}") == text.count("{exercise-start}")
    assert "explore(" in text
    assert 'quiz("' in text
    for part in ("able to do", "need first", "How long", "Take away", "Further reading"):
        assert part.lower() in text.lower().replace("-", " "), part


@pytest.mark.parametrize("item", CHAPTERS, ids=IDS)
def test_a_chapter_does_not_take_three_times_its_time(
    item: course.Chapter, executed: dict[str, Any]
) -> None:
    found = course.cached(item)
    assert found is not None
    assert found[1] < 3 * 90


def test_cell_ids_depend_on_content_alone() -> None:
    item = CHAPTERS[0]
    first, second = item.read(), item.read()
    course.number_cells(first)
    course.number_cells(second)
    ids = [cell["id"] for cell in first.cells]
    assert ids == [cell["id"] for cell in second.cells]
    assert len(set(ids)) == len(ids)


@pytest.mark.release
@pytest.mark.parametrize("kind", ["student", "solution"])
@pytest.mark.parametrize("item", CHAPTERS, ids=IDS)
def test_notebooks_run_from_top_to_bottom(item: course.Chapter, kind: str, site: Path) -> None:
    from nbclient import NotebookClient

    path = course.BUILD / "notebooks" / kind / f"{item.name}.ipynb"
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
    wanted = {"student": "○ Not answered yet", "solution": "✓ Right"}[kind]
    for cell in notebook.cells:
        if "check" in course.tags(cell):
            assert cell.outputs[-1].data["text/plain"].startswith(wanted), cell.source
