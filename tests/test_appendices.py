"""The appendices say what is so: messages that exist, variables that are read, links that lead."""

from __future__ import annotations

import ast
import functools
import importlib.util
import json
import re
from pathlib import Path

import pytest
import yaml

import appendix_tables
import chapters as course

BOOK = course.ROOT / "book"
PAGES = ("data_access", "running", "troubleshooting", "accessibility", "citing")
GAP = "…"


def page(name: str) -> str:
    return (BOOK / f"{name}.md").read_text("utf-8")


def strings(path: Path) -> list[str]:
    """Return the texts of a Python file; what is filled in later is a gap."""
    found = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.JoinedStr):
            parts = [part.value if isinstance(part, ast.Constant) else GAP for part in node.values]
            found.append("".join(map(str, parts)))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.append(node.value)
    return found


@functools.cache
def messages() -> list[str]:
    """Return all texts of the package, of the tools of the book and of the tests' set-up."""
    files = [*course.ROOT.glob("mammocourse/**/*.py"), *BOOK.glob("_tools/*.py")]
    files.append(course.ROOT / "tests" / "conftest.py")
    found = [text for path in files for text in strings(path)]
    found += [path.read_text("utf-8") for path in BOOK.glob("_tools/*.sh")]
    return [" ".join(text.split()) for text in found]


def says(texts: list[str], quoted: str) -> bool:
    """Whether one of the texts holds the fragments of a quotation, in their order."""
    parts = [re.escape(part.strip()) for part in quoted.split(GAP) if part.strip(" .;")]
    return any(re.search(".*".join(parts), text, re.S) for text in texts)


def quotations() -> list[tuple[str, str]]:
    """Return what the page quotes: the module it is from (or none) and the words."""
    found = []
    for entry in re.split(r"^### ", page("troubleshooting"), flags=re.M)[1:]:
        library = re.search(r"You see, from `(.+)`:", entry)
        for block in re.findall(r"^```text\n(.*?)\n```", entry, re.S | re.M):
            found.append((library[1] if library else "", block))
    return found


@pytest.mark.parametrize(("module", "quoted"), quotations())
def test_a_quoted_message_is_in_the_program(module: str, quoted: str) -> None:
    texts = messages()
    if module:
        spec = importlib.util.find_spec(module)
        assert spec is not None
        assert spec.origin is not None
        texts = strings(Path(spec.origin))
    assert says(texts, quoted), f"no program says: {quoted}"


def test_every_fragment_of_a_quotation_counts() -> None:
    assert says(["a file … is damaged"], f"file {GAP} is damaged")
    assert not says(["a file … is damaged"], f"file {GAP} is missing")
    assert not says(["a file", "is damaged"], f"file {GAP} is damaged")


def test_there_are_many_quotations() -> None:
    assert len(quotations()) >= 25


def test_every_entry_says_why_and_what_to_do() -> None:
    for entry in re.split(r"^### ", page("troubleshooting"), flags=re.M)[1:]:
        title = entry.splitlines()[0]
        assert re.search(r"^\*Why( and what to do)?\.\*", entry, re.M), title
        assert re.search(r"^\*(Why and w|W)hat to do\.\*", entry, re.M), title


# --- what the pages name exists


@functools.cache
def sources() -> str:
    folders = ("mammocourse", "book", "tests")
    files = [path for name in folders for path in (course.ROOT / name).rglob("*.py")]
    here = Path(__file__)
    return "\n".join(path.read_text("utf-8") for path in files if path != here) + "\n".join(
        item.path.read_text("utf-8") for item in course.chapters()
    )


@pytest.mark.parametrize("name", PAGES)
def test_variables_and_targets_of_a_page_exist(name: str) -> None:
    text = page(name)
    for variable in set(re.findall(r"MAMMOCOURSE_[A-Z_]+", text)):
        assert variable in sources(), variable
    makefile = (course.ROOT / "Makefile").read_text("utf-8")
    for target in set(re.findall(r"`make ([a-z-]+)", text)):
        assert re.search(rf"^{target}:", makefile, re.M), target


@pytest.mark.parametrize("name", PAGES)
def test_python_of_a_page_imports_names_that_exist(name: str) -> None:
    blocks = re.findall(r"^ *```python\n(.*?)^ *```", page(name), re.S | re.M)
    for block in blocks:
        lines = [line.strip() for line in block.splitlines()]
        ast.parse(block if not block.startswith(" ") else "if 1:\n" + block)
        for line in lines:
            if line.startswith("from mammocourse"):
                exec(line, {})


@pytest.mark.parametrize("name", PAGES)
def test_a_page_can_be_found(name: str) -> None:
    toc = yaml.safe_load((course.ROOT / "_toc.yml").read_text("utf-8"))
    assert {"file": f"book/{name}"} in toc["parts"][-1]["chapters"]
    linking = page("index") + page("01_introduction")
    assert re.search(rf"{{doc}}`(?:{name}`|[^`]*<{name}>`)", linking)


def test_the_readme_names_the_pages_for_a_first_run() -> None:
    readme = (course.ROOT / "README.md").read_text("utf-8")
    for name in ("running", "data_access", "troubleshooting"):
        assert f"(book/{name}.md)" in readme


# --- the tables


def test_full_times_are_those_of_the_stored_results() -> None:
    table = "\n".join(appendix_tables.times())
    for path in (course.ROOT / "data" / "results").glob("[0-9][0-9].json"):
        stored = json.loads(path.read_text("utf-8"))
        [row] = re.findall(rf"^\| {{doc}}`{path.stem}_.*$", table, re.M)
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        number, unit = cells[3].split()
        factor = {"s": 1, "min": 60, "h": 3600}[unit]
        rounding = 0.5 if "." not in number else 0.05
        assert abs(float(number) * factor - stored["seconds"]) <= rounding * factor
        assert cells[4] == stored["date"]
    assert table.count("{doc}") == len(course.chapters())


@pytest.mark.parametrize(
    ("seconds", "expected"), [(6.2, "6 s"), (99.4, "99 s"), (150, "2 min"), (4412, "1.2 h")]
)
def test_durations_are_readable(seconds: float, expected: str) -> None:
    assert appendix_tables.duration(seconds) == expected


def test_every_documented_target_of_make_is_listed() -> None:
    makefile = (course.ROOT / "Makefile").read_text("utf-8")
    listed = re.findall(r"`make ([a-z-]+)`", "\n".join(appendix_tables.targets()))
    assert listed == re.findall(r"^([a-z-]+):.*##", makefile, re.M)


def test_the_citation_is_that_of_the_citation_file() -> None:
    cff = yaml.safe_load((course.ROOT / "CITATION.cff").read_text("utf-8"))
    text = "\n".join(appendix_tables.citation())
    assert text.count(cff["title"]) == 2
    assert f"version = {{{cff['version']}}}" in text
    assert re.search(r"^  year    = \{20\d\d\},$", text, re.M)
    assert text.count("{") == text.count("}")
