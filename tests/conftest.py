"""What several test files share: executed chapters, the built site, a browser."""

from __future__ import annotations

import functools
import http.server
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "book" / "_tools"), str(ROOT / "tests")]

import chapters as course  # noqa: E402
import chromium  # noqa: E402
import nbval_run  # noqa: E402
from once import once  # noqa: E402

BOOK = {  # the test files that need executed chapters
    path.name
    for path in ROOT.glob("tests/test_*.py")
    if re.search(r"\b(run_of_nbval|executed|site|address): ", path.read_text("utf-8"))
}


LOOKS = {"test_site.py"}  # what looks at the finished site


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Deal the tests to the workers by files: the book first, last the site, page by page."""
    from xdist.scheduler import LoadFileScheduling

    class Dealt(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            name = Path(file).name
            if name in LOOKS:
                page = re.search(r"\w+\.html", nodeid)
                return f"looks at {page[0] if page else 'the site'}"
            return "book" if name in BOOK else file

        def _assign_work_unit(self, node: Any) -> None:
            last = (scope for scope in self.workqueue if scope.startswith("looks"))
            for scope in [*last, *(self.workqueue.keys() & {"book"})]:
                self.workqueue.move_to_end(scope, last=scope != "book")
            super()._assign_work_unit(node)

    return Dealt(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Raise where a test that executes the chapters would come between the others."""
    for item in items:
        if "run_of_nbval" in getattr(item, "fixturenames", ()) and item.path.name not in BOOK:
            raise pytest.UsageError(f"{item.path.name} needs executed chapters: mend conftest.BOOK")


@pytest.fixture(scope="session")
def common(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that is new in each run and the same for all workers."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


@pytest.fixture(scope="session")
def run_of_nbval(common: Path) -> subprocess.CompletedProcess[str]:
    """Run nbval once on every chapter; its outputs feed the site as well."""

    def work() -> subprocess.CompletedProcess[str]:
        folder = course.BUILD / "nbval"
        shutil.rmtree(folder, ignore_errors=True)
        notebooks = [nbval_run.write(item, folder) for item in course.chapters()]
        return nbval_run.run(notebooks, "-p", "capture_outputs")

    return once(common, "nbval", work)


@pytest.fixture(scope="session")
def executed(run_of_nbval: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """Return the executed chapters by their numbers."""
    if run_of_nbval.returncode != 0:
        pytest.skip("a chapter fails under nbval: see test_notebooks.py")
    found = {item.number: course.cached(item) for item in course.chapters()}
    return {number: entry[0] for number, entry in found.items() if entry is not None}


@pytest.fixture(scope="session")
def site(executed: dict[str, Any], common: Path) -> Path:
    """Build the site from the executed chapters and return its folder."""
    command = [sys.executable, str(ROOT / "book" / "_tools" / "make_site.py")]
    done = once(
        common,
        "site",
        lambda: subprocess.run(command, cwd=ROOT, capture_output=True, text=True),
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    return course.BUILD / "html"


@pytest.fixture(scope="session")
def address(site: Path) -> Iterator[str]:
    """Serve the site on this machine and return its address."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments: Any) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(site))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


def find_chromium() -> str:
    """Return the path of Chromium; with CI=true install it where that is possible."""
    found = chromium.find()
    if found is None and os.environ.get("CI") == "true":
        if shutil.which("apt-get") and os.geteuid() == 0:
            subprocess.run(["apt-get", "update", "-q"], check=False)
            subprocess.run(["apt-get", "install", "-q", "-y", "chromium"], check=False)
        found = shutil.which("chromium")
        if found is None:
            pytest.fail(f"{chromium.MISSING} (it could not be installed)")
    if found is None:
        pytest.skip(chromium.MISSING)
    return found


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Start headless Chromium once."""
    from playwright.sync_api import sync_playwright

    path = find_chromium()
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=chromium.OPTIONS)
        yield started
        started.close()
