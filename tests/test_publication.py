"""What publishes the course: workflows, Binder, the link report, addresses, the print version."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

import chapters as course
import check_links
import make_pdf

sys.path.append(str(course.ROOT / "book" / "_ext"))
publication = importlib.import_module("publication")

WORKFLOWS = sorted((course.ROOT / ".github" / "workflows").glob("*.yml"))
PROJECT = tomllib.loads((course.ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def read(path: Path) -> dict[Any, Any]:
    return yaml.safe_load(path.read_text("utf-8"))


SITE, LINKS = (
    read(course.ROOT / ".github/workflows" / f"{name}.yml") for name in ("site", "links")
)
ON = True  # YAML 1.1 reads the key "on" as true


def steps(workflow: dict[Any, Any]) -> list[dict[str, Any]]:
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


# --- workflows


def test_the_site_is_tested_for_every_change_and_published_from_main_alone() -> None:
    assert SITE[ON]["push"] == {"branches": ["main"]}
    assert "pull_request" in SITE[ON]
    deploy = SITE["jobs"]["deploy"]
    assert set(deploy["needs"]) == {"build", "test"}
    assert "github.event_name == 'push'" in deploy["if"]
    assert "github.ref == 'refs/heads/main'" in deploy["if"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_may_do_no_more_than_it_needs(path: Path) -> None:
    workflow = read(path)
    assert workflow["permissions"] == {"contents": "read"}
    allowed = {
        "deploy": {"pages": "write", "id-token": "write"},
        "links": {"contents": "read", "issues": "write"},
    }
    for name, job in workflow["jobs"].items():
        assert job.get("permissions") == allowed.get(name)
        for step in job["steps"]:
            if "checkout" in step.get("uses", ""):
                assert step["with"]["persist-credentials"] is False
    assert "pull_request_target" not in path.read_text("utf-8")


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_versions_of_actions_and_machines_are_named(path: Path) -> None:
    workflow = read(path)
    for step in steps(workflow):
        if "uses" in step:
            assert re.fullmatch(r"actions/[\w-]+@(v\d+|[0-9a-f]{40})", step["uses"])
    for job in workflow["jobs"].values():
        assert re.fullmatch(r"ubuntu-\d\d\.\d\d", job["runs-on"])
        assert job["timeout-minutes"] <= 60


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_calls_targets_that_exist(path: Path) -> None:
    makefile = (course.ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, flags=re.MULTILINE))
    phony = set(re.search(r"^\.PHONY: (.*)", makefile, flags=re.MULTILINE)[1].split())
    called = re.findall(r"\bmake ([a-z-]+)", "\n".join(s.get("run", "") for s in steps(read(path))))
    assert called
    assert set(called) <= targets & phony


def test_the_tests_run_on_every_python_that_the_course_supports() -> None:
    tested = SITE["jobs"]["test"]["strategy"]["matrix"]["python"]
    allowed = SpecifierSet(PROJECT["requires-python"])
    assert tested == [f"3.{minor}" for minor in range(30) if f"3.{minor}" in allowed]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_the_cache_of_executed_chapters_is_keyed_by_what_they_depend_on(path: Path) -> None:
    caches = [
        s["with"] for s in steps(read(path)) if s.get("uses", "").startswith("actions/cache@")
    ]
    assert len(caches) == 1
    [cache] = caches
    assert course.ROOT / cache["path"] == course.cache_path(course.chapters()[0]).parent
    patterns = re.findall(r"'([^']+)'", cache["key"])
    assert {"requirements.lock", "book/*.md", "mammocourse/**/*.py", "data/**"} == set(patterns)
    for pattern in patterns:
        assert list(course.ROOT.glob(pattern)), f"{pattern} matches no file"


def test_links_are_checked_every_week_and_reported() -> None:
    [schedule] = LINKS[ON]["schedule"]
    assert re.fullmatch(r"\d+ \d+ \* \* [0-6]", schedule["cron"])
    assert "workflow_dispatch" in LINKS[ON]
    script = "\n".join(step.get("run", "") for step in steps(LINKS))
    report = (check_links.FOLDER / "report.md").relative_to(course.ROOT)
    assert f"{report} >>" in script
    assert f"--body-file {report}" in script


# --- the report of links


def link(status: str, uri: str, info: str = "", code: int = 0) -> dict[str, Any]:
    return {
        "filename": "book/a.md", "lineno": 3, "status": status, "code": code, "uri": uri,
        "info": info,
    }  # fmt: skip


def test_the_report_names_page_line_and_reason() -> None:
    found = [
        link("working", "https://good.example"),
        link("broken", "https://bad.example", "404 Client\nError"),
        link("timeout", "https://slow.example"),
        link("redirected", "https://old.example", "https://new.example", 301),
    ]
    links = check_links.read("\n".join(map(json.dumps, found)))
    assert [item["uri"] for item in check_links.broken(links)] == [
        "https://bad.example",
        "https://slow.example",
    ]
    text = check_links.report(links)
    assert "4 links to other sites, 2 that lead nowhere" in text
    assert "### book/a.md" in text
    assert "- line 3: <https://bad.example> (404 Client Error)" in text
    assert "<https://old.example> to <https://new.example>" in text
    assert "good.example" not in text


def test_a_status_that_is_not_known_stops_the_report() -> None:
    with pytest.raises(ValueError, match="unknown status of links: odd"):
        check_links.read(json.dumps(link("odd", "https://good.example")))


# --- Binder


def test_binder_gets_the_packages_of_the_package_and_tensorflow() -> None:
    content = read(course.ROOT / "binder" / "environment.yml")
    lines = content["dependencies"]
    [pip] = [line["pip"] for line in lines if isinstance(line, dict)]
    names = [line.replace("python=", "python==") for line in lines if isinstance(line, str)]
    found = {
        item.name.removesuffix("-base"): item.specifier for item in map(Requirement, [*names, *pip])
    }
    python = found.pop("python")
    del found["pip"]
    cpu = [r for r in PROJECT["optional-dependencies"]["cpu"] if not r.startswith("tensorflow>")]
    expected = map(Requirement, [*PROJECT["dependencies"], *cpu])
    assert found == {item.name: item.specifier for item in expected}
    [version] = [item.version for item in python]
    assert version in SpecifierSet(PROJECT["requires-python"])


def test_binder_installs_the_checkout() -> None:
    script = course.ROOT / "binder" / "postBuild"
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", script], check=True)
    assert "pip install --no-cache-dir --no-deps --editable ." in script.read_text("utf-8")


# --- addresses, descriptions, redirects


@pytest.mark.parametrize(
    ("baseurl", "repository", "expected"),
    [
        ("", "https://github.com/Someone/course", "https://someone.github.io/course/"),
        ("", "https://github.com/a/course.git", "https://a.github.io/course/"),
        ("", "https://github.com/a/a.github.io", "https://a.github.io/"),
        ("https://course.example", "", "https://course.example/"),
        ("https://course.example/x/", "https://github.com/a/b", "https://course.example/x/"),
    ],
)
def test_the_address_of_the_site(baseurl: str, repository: str, expected: str) -> None:
    assert publication.site_address(baseurl, repository) == expected


def test_a_repository_elsewhere_needs_an_address() -> None:
    with pytest.raises(Exception, match="set html: baseurl"):
        publication.site_address("", "https://example.org/a/b")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Short.", "Short."),
        ("A " + "b" * 110 + ". " + "C" * 120 + ".", "A " + "b" * 110 + "."),
        ("word " * 60, "word " * 39 + "..."),
        ("Two. " + "word " * 60, "Two. " + "word " * 38 + "..."),
    ],
)
def test_a_description_is_whole_sentences_where_they_fit(text: str, expected: str) -> None:
    assert publication.shortened(text) == expected


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("old: nowhere", "nowhere, which is not a page"),
        ("new: new", "is a page itself"),
        ("../old: new", "no name of a page"),
    ],
)
def test_a_wrong_redirect_is_named(table: str, message: str) -> None:
    with pytest.raises(Exception, match=message):
        publication.read_redirects(table, ["new"])


# --- the print version


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("b.html", "#book-b"),
        ("b.html#the-part", "#book-b--the-part"),
        ("#here", "#book-a--here"),
        ("../book/b.html", "#book-b"),
        ("../genindex.html", "https://site.example/genindex.html"),
        ("../notebooks/a.ipynb", "https://site.example/notebooks/a.ipynb"),
        ("https://other.example/b.html", "https://other.example/b.html"),
    ],
)
def test_links_of_the_print_version(url: str, expected: str) -> None:
    names = ["book/a", "book/b"]
    assert make_pdf.new_link(url, "book/a", names, "https://site.example/") == expected


def test_page_numbers_are_read_from_what_chromium_prints(browser: Any) -> None:
    chapters = [f"chapter-{i}" for i in range(12)]  # more than one node of the tree of pages
    links = "".join(f'<a href="#{name}">x</a>' for name in [*chapters, "a/b--c"])
    parts = "".join(
        f'<h1 id="{name}" style="break-before: page">x</h1><div style="height: 30cm"></div>'
        for name in chapters
    )
    page = browser.new_page()
    page.set_content(f'{links}{parts}<p id="a/b--c">x</p>')
    numbers = make_pdf.page_numbers(page.pdf(format="A4"))
    page.close()
    assert numbers["chapter-0"] == 2
    assert numbers["chapter-11"] - numbers["chapter-0"] == 2 * 11
    assert numbers["a/b--c"] >= numbers["chapter-11"]
    assert set(numbers) == {*chapters, "a/b--c"}


def test_another_kind_of_pdf_is_refused() -> None:
    with pytest.raises(SystemExit, match="Chromium writes PDF in another way"):
        make_pdf.page_numbers(b"%PDF-1.4 1 0 obj << /Type /ObjStm >> endobj")
