"""The build: settings without misspelt keys, a cache that sees every change."""

from __future__ import annotations

import importlib
import importlib.resources
import os
import shutil
import subprocess
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml

import chapters as course

CONFIG = yaml.safe_load((course.ROOT / "_config.yml").read_text("utf-8"))
FRONT_MATTER = """
---
kernelspec:
  name: python3
  display_name: Python 3
---
# Title

```{code-cell}
%s
```
"""


def known_keys() -> dict[str, Any]:
    """Return Jupyter Book's own list of all settings."""
    text = importlib.resources.files("jupyter_book").joinpath("default_config.yml").read_text()
    return {**yaml.safe_load(text), "bibtex_bibfiles": None}


def unknown(config: dict[str, Any], known: dict[str, Any], path: str = "") -> list[str]:
    found = []
    for key, value in config.items():
        if key not in known:
            found.append(f"{path}{key}")
        elif isinstance(value, dict) and isinstance(known[key], dict):
            found += unknown(value, known[key], f"{path}{key}/")
    return found


def test_every_setting_is_known_to_jupyter_book() -> None:
    assert unknown(CONFIG, known_keys()) == []


def test_a_misspelt_setting_is_found() -> None:
    assert unknown({"html": {"use_isues_button": True}}, known_keys()) == ["html/use_isues_button"]


def test_every_sphinx_setting_is_known_to_sphinx(site: Path) -> None:
    from sphinx.application import Sphinx
    from sphinx.util.docutils import docutils_namespace, patch_docutils

    folder = course.BUILD / "config-check"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    extensions = ["myst_nb", "sphinx_togglebutton", "sphinx_external_toc", "sphinxcontrib.bibtex"]
    (folder / "conf.py").write_text(
        f"extensions = {extensions + CONFIG['sphinx']['extra_extensions']}\n"
        "external_toc_path = 'toc.yml'\nbibtex_bibfiles = []\n"
    )
    (folder / "toc.yml").write_text("root: index\n")
    (folder / "index.md").write_text("# Title\n")
    with patch_docutils(str(folder)), docutils_namespace():
        app = Sphinx(folder, folder, folder / "out", folder / "doctrees", "html", status=None)
        known = set(app.config.values)
    assert set(CONFIG["sphinx"]["config"]) - known == set()


def test_the_address_of_the_repository_stands_in_the_settings_alone() -> None:
    address = CONFIG["repository"]["url"]
    listed = subprocess.run(
        ["git", "ls-files"], cwd=course.ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    sources = [
        name
        for name in listed
        if not name.startswith("notebooks/") and name.endswith((".md", ".py", ".toml", ".yml"))
    ]
    assert len(sources) > 10
    holders = [name for name in sources if address in (course.ROOT / name).read_text("utf-8")]
    assert holders == ["_config.yml"]


@pytest.fixture
def small_course(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A course of one chapter, with a package and data of its own."""
    for name in ("book", "mammocourse", "data"):
        (tmp_path / name).mkdir()
    (tmp_path / "mammocourse" / "__init__.py").write_text("")
    (tmp_path / "mammocourse" / "module.py").write_text("x = 1\n")
    (tmp_path / "mammocourse" / "reader.py").write_text(
        "from mammocourse.module import x\n\nNAMES = ['table.csv', 'new.csv', 'claims.yml']\n"
    )
    (tmp_path / "data" / "table.csv").write_text("1\n")
    (tmp_path / "data" / "claims.yml").write_text("[]\n")
    (tmp_path / "requirements.lock").write_text("numpy==2\n")
    (tmp_path / "_toc.yml").write_text("root: book/index\nchapters:\n- file: book/01_one\n")
    write_chapter(tmp_path, "print(1 + 1)")
    monkeypatch.setattr(course, "ROOT", tmp_path)
    monkeypatch.setattr(course, "BUILD", tmp_path / "_build")
    return tmp_path


def write_chapter(root: Path, code: str) -> None:
    text = textwrap.dedent(FRONT_MATTER).lstrip() % code
    (root / "book" / "01_one.md").write_text(text)


def test_a_chapter_is_executed_once(small_course: Path, capsys: pytest.CaptureFixture[str]) -> None:
    course.execute_all()
    course.execute_all()
    first, second = capsys.readouterr().out.strip().splitlines()
    assert "executed in" in first
    assert "unchanged" in second
    found = course.cached(course.chapters()[0])
    assert found is not None
    assert found[0].cells[-1].outputs[0].text == "2\n"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("mammocourse/module.py", "x = 2\n"),
        ("mammocourse/reader.py", "NAMES = ['table.csv', 'new.csv']\n"),
        ("data/table.csv", "2\n"),
        ("data/new.csv", "1\n"),
        ("data/scans/1.webp", "1\n"),
        ("data/claims.yml", "[{id: own.number, chapter: '01', claimed: 2}]"),
        ("requirements.lock", "numpy==3\n"),
    ],
)
def test_a_change_around_a_chapter_calls_for_a_new_run(
    small_course: Path, name: str, content: str
) -> None:
    write_chapter(small_course, "from mammocourse.reader import NAMES\nfolder = 'scans'")
    (small_course / "data" / "scans").mkdir()
    before = course.environment_key(course.chapters()[0])
    assert course.environment_key(course.chapters()[0]) == before
    (small_course / name).write_text(content)
    assert course.environment_key(course.chapters()[0]) != before


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("mammocourse/other.py", "x = 2\n"),
        ("data/other.csv", "1\n"),
        ("data/claims.yml", "[{id: other.number, chapter: '02'}]"),
    ],
)
def test_what_a_chapter_does_not_read_calls_for_none(
    small_course: Path, name: str, content: str
) -> None:
    write_chapter(small_course, "from mammocourse.reader import NAMES")
    before = course.environment_key(course.chapters()[0])
    (small_course / name).write_text(content)
    assert course.environment_key(course.chapters()[0]) == before


@pytest.mark.parametrize("name", ["data/quizzes/02.yml", "mammocourse/exercises/chapter02.py"])
def test_what_belongs_to_another_chapter_does_not(small_course: Path, name: str) -> None:
    before = course.environment_key(course.chapters()[0])
    path = small_course / name
    path.parent.mkdir()
    path.write_text("new")
    assert course.environment_key(course.chapters()[0]) == before
    path.rename(path.with_stem(path.stem.replace("02", "01")))
    assert course.environment_key(course.chapters()[0]) != before


@pytest.mark.parametrize(
    ("name", "reader"),
    [
        ("data/results/coverage.csv", '"coverage.csv"'),
        ("data/results/predictions/02_lasso.csv", "import mammocourse.predictions"),
    ],
)
def test_stored_tables_belong_to_the_chapters_that_read_them(
    small_course: Path, name: str, reader: str
) -> None:
    path = small_course / name
    path.parent.mkdir(parents=True)
    for code, belongs in [("print(1)", False), (reader, True)]:
        write_chapter(small_course, code)
        path.unlink(missing_ok=True)
        before = course.environment_key(course.chapters()[0])
        path.write_text("new")
        assert (course.environment_key(course.chapters()[0]) != before) == belongs


def test_gates_of_exercises_are_paired(small_course: Path) -> None:
    write_chapter(small_course, "print(1)\n```\n```{exercise-start}\n```\n```{code-cell}\n1")
    with pytest.raises(SystemExit, match=r"exercise-start.*do not alternate"):
        course.chapters()[0].read()


def test_a_figure_cell_shows_one_picture(small_course: Path) -> None:
    write_chapter(small_course, ":tags: [figure]\n\nprint(1)\n2")
    with pytest.raises(SystemExit, match="2 outputs instead of one"):
        course.execute_all()


def test_the_scales_have_caches_of_their_own(
    small_course: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = course.environment_key(course.chapters()[0])
    monkeypatch.setenv("MAMMOCOURSE_MODE", "full")
    assert course.environment_key(course.chapters()[0]) != before


def test_a_failed_chapter_leaves_nothing_in_the_cache(small_course: Path) -> None:
    from nbclient.exceptions import CellExecutionError

    write_chapter(small_course, "1 / 0")
    with pytest.raises(CellExecutionError, match="division by zero"):
        course.execute_all()
    assert course.cached(course.chapters()[0]) is None


def test_a_change_during_the_run_does_not_enter_the_cache(small_course: Path) -> None:
    item = course.chapters()[0]
    source, folder = item.read(), course.cache_path(item)
    executed = course.execute(source)
    write_chapter(small_course, "print(3)")
    (small_course / "mammocourse" / "module.py").write_text("x = 3\n")
    course.store(item.name, source, executed, 1.0, folder)
    assert course.cached(item) is None


def test_an_unknown_chapter_is_named(small_course: Path) -> None:
    with pytest.raises(SystemExit, match="choose one of 01"):
        course.chapter("77")


def test_a_full_run_keeps_the_predictions_that_it_wrote(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MAMMOCOURSE_MODE", "full")  # the module sets it, too
    monkeypatch.setenv("MAMMOCOURSE_DATA", str(tmp_path / "cache"))
    monkeypatch.setattr(course, "ROOT", tmp_path)
    full = importlib.import_module("full")
    made, kept = tmp_path / "cache/predictions/full", tmp_path / "data/results/predictions"
    for folder, name in [
        (made, "08_old.csv"), (made, "08_new.csv"), (made, "09_new.csv"),
        (kept, "08_gone.csv"), (kept, "07_other.csv"),
    ]:  # fmt: skip
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    os.utime(made / "08_old.csv", (0, 0))
    assert full.keep_predictions("08", since=1000.0) == ["08_new.csv"]
    assert sorted(path.name for path in kept.iterdir()) == ["07_other.csv", "08_new.csv"]
    assert (kept / "08_new.csv").read_text() == "08_new.csv"


@pytest.mark.parametrize(
    ("code", "same"),
    [
        ("print(1 + 1)  # a comment", True),
        ("print( 1+1 )", True),
        ("print(1 + 2)", False),
        ('"""Docstring."""\nprint(1 + 1)', True),
    ],
)
def test_the_source_hash_sees_code_and_not_layout(
    small_course: Path, code: str, same: bool
) -> None:
    before = course.source_hash(course.chapters()[0])
    write_chapter(small_course, code)
    assert (course.source_hash(course.chapters()[0]) == before) is same


@pytest.mark.parametrize(
    "code",
    [
        "from mammocourse.module import x",
        "from mammocourse import module",
        "import mammocourse.module as m",
        "from mammocourse.outer import y",
    ],
)
def test_the_source_hash_follows_the_modules_that_a_chapter_imports(
    small_course: Path, code: str
) -> None:
    package = small_course / "mammocourse"
    (package / "outer.py").write_text("from mammocourse.module import x as y\n")
    write_chapter(small_course, code)
    before = course.source_hash(course.chapters()[0])
    (package / "module.py").write_text("x = 2\n")
    assert course.source_hash(course.chapters()[0]) != before


@pytest.mark.parametrize(
    ("module", "same"),
    [
        ("x = 1\nunused = 2\n", True),
        ("# comment\nx = 1\ndef unused(): pass\n", True),
        ("helper = 1\nx = helper\n", False),
    ],
)
def test_the_source_hash_ignores_what_the_chapter_does_not_use(
    small_course: Path, module: str, same: bool
) -> None:
    write_chapter(small_course, "from mammocourse.module import x")
    before = course.source_hash(course.chapters()[0])
    (small_course / "mammocourse" / "module.py").write_text(module)
    assert (course.source_hash(course.chapters()[0]) == before) is same


def test_the_source_hash_follows_functions_through_the_package(small_course: Path) -> None:
    package = small_course / "mammocourse"
    (package / "outer.py").write_text(
        "from mammocourse.module import x\n\n\ndef inner():\n    return x\n\n\n"
        "def outer():\n    return inner()\n"
    )
    write_chapter(small_course, "from mammocourse.outer import outer")
    before = course.source_hash(course.chapters()[0])
    (package / "module.py").write_text("x = 2\n")
    assert course.source_hash(course.chapters()[0]) != before


def test_the_tools_hide_no_installed_library() -> None:
    tools = {path.stem for path in (Path(course.__file__).parent).glob("*.py")}
    assert tools & {"build", "nbval", "notebook", "pytest", "sphinx", "jupyter_book"} == set()
