"""The chapters: where they are, what is in them, and how they are executed.

A chapter is one MyST file. It is executed once for a given state of the code,
the data, the lock file and the mode; the result is kept in a cache of
`jupyter-cache`, from which the site and the notebooks are made.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import re
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

import source_hash as hashing

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "_build"
TIMEOUT_SECONDS = {"small": 300, "full": 24 * 3600}

os.environ.pop("MAMMOCOURSE_STUDENT", None)  # the book shows the reader's variant to all


@dataclass(frozen=True)
class Chapter:
    """One executable chapter of the book."""

    path: Path

    @property
    def name(self) -> str:
        """File name without its ending, for example "02_logistic_regression"."""
        return self.path.stem

    @property
    def number(self) -> str:
        """Two digits, for example "02"."""
        return self.name[:2]

    def read(self) -> Any:
        """Return the chapter as a notebook without outputs."""
        from myst_nb.core.read import read_myst_markdown_notebook
        from myst_parser.config.main import MdParserConfig

        text = self.path.read_text(encoding="utf-8")
        for kind in ("exercise", "solution"):
            gates = re.findall(rf"\{{{kind}-(start|end)\}}", text)
            if gates != ["start", "end"] * (len(gates) // 2):
                raise SystemExit(
                    f"{self.path.name}: {{{kind}-start}} and {{{kind}-end}} do not alternate; the "
                    f"gates are {' '.join(gates)}."
                )
        return read_myst_markdown_notebook(
            text,
            MdParserConfig(enable_extensions={"colon_fence", "dollarmath", "amsmath", "deflist"}),
            path=self.path,
        )


def cell_digest(cell_type: str, source: str) -> str:
    """Return the id of a cell with this content."""
    return hashlib.sha256(f"{cell_type}\n{source}".encode()).hexdigest()[:12]


def number_cells(notebook: Any) -> None:
    """Give every cell an id that depends on its content alone."""
    seen: dict[str, int] = {}
    for cell in notebook.cells:
        digest = cell_digest(cell.cell_type, cell.source)
        seen[digest] = seen.get(digest, 0) + 1
        cell["id"] = digest if seen[digest] == 1 else f"{digest}-{seen[digest]}"
    notebook.nbformat, notebook.nbformat_minor = 4, 5


def tags(cell: Any) -> list[str]:
    """Return the tags of a cell."""
    return list(cell.metadata.get("tags", []))


def chapters() -> list[Chapter]:
    """Return the executable chapters in the order of the table of contents."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))

    def files(node: Any) -> Iterator[str]:
        if isinstance(node, dict):
            if "file" in node:
                yield node["file"]
            for value in node.values():
                yield from files(value)
        elif isinstance(node, list):
            for value in node:
                yield from files(value)

    paths = (ROOT / f"{file}.md" for file in files(toc))
    return [Chapter(path) for path in paths if "{code-cell}" in path.read_text(encoding="utf-8")]


def chapter(number: str) -> Chapter:
    """Return one chapter by its number; the error names the ones there are."""
    found = {item.number: item for item in chapters()}
    if number not in found:
        raise SystemExit(f"There is no chapter {number!r}; choose one of {', '.join(found)}.")
    return found[number]


def mode() -> str:
    """Return the scale at which the chapters run, as the package sees it."""
    from mammocourse import mode as package_mode

    return package_mode()


def environment_key(item: Chapter) -> str:
    """Return a hash of all that can change a chapter's outputs besides its cells.

    That is the modules of the package that the chapter imports, directly or through others,
    with its own exercises; the files of ``data`` whose name, or whose folder's name, stands
    in the chapter or in one of these modules, with its own quiz, claims and stored results;
    the lock file, the mode and the Python version.
    """
    cells = [cell.source for cell in item.read().cells if cell.cell_type == "code"]
    used = hashing.modules(cells, ROOT / "mammocourse")
    used += sorted((ROOT / "mammocourse" / "exercises").glob(f"chapter{item.number}.py"))
    text = "".join(path.read_text(encoding="utf-8") for path in (item.path, *used))
    digest = hashlib.sha256(f"{mode()} {sys.version_info[:2]}".encode())
    for path in (*used, *_data_files(item, text), ROOT / "requirements.lock"):
        digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0")
        own = path == ROOT / "data" / "claims.yml"
        digest.update(_claims(path, item, text) if own else path.read_bytes())
    return digest.hexdigest()[:16]


def _data_files(item: Chapter, text: str) -> Iterator[Path]:
    """Yield the files of ``data`` that a chapter may read, judged by their names."""
    for path in sorted((ROOT / "data").rglob("*")):
        if not path.is_file():
            continue
        of_a_chapter = re.fullmatch(r"\d\d", path.stem)
        if path.match("data/results/predictions/*.csv"):
            named = "mammocourse.predictions" in text
        elif of_a_chapter is None:
            folder = "" if path.parent.name in ("data", "results") else path.parent.name
            named = path.name in text or bool(folder and folder in text)
        else:
            named = of_a_chapter[0] == item.number
        if named:
            yield path


def _claims(path: Path, item: Chapter, text: str) -> bytes:
    """Return the claims of a chapter, and those that it names."""
    rows = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    own = [row for row in rows if row["chapter"] == item.number or row["id"] in text]
    return json.dumps(own, sort_keys=True).encode()


def cache_path(item: Chapter) -> Path:
    """Return the folder of a chapter's execution cache for the current environment."""
    return BUILD / ".jupyter_cache" / f"{item.name}-{environment_key(item)}"


def site_cache() -> Path:
    """Return a cache that holds the executed chapters of the whole book, for Sphinx."""
    items = chapters()
    keys = " ".join(cache_path(item).name for item in items)
    folder = BUILD / ".jupyter_cache" / f"site-{hashlib.sha256(keys.encode()).hexdigest()[:16]}"
    for item in items:
        found = cached(item)
        if found is not None:
            store(str(item.path), item.read(), *found, folder)
    return folder


def _cache(folder: Path) -> Any:
    from jupyter_cache import get_cache

    folder.mkdir(parents=True, exist_ok=True)
    return get_cache(str(folder))


def cached(item: Chapter) -> tuple[Any, float] | None:
    """Return the executed notebook of a chapter and its seconds, if it is cached."""
    cache = _cache(cache_path(item))
    notebook = item.read()
    try:
        record = cache.match_cache_notebook(notebook)
    except KeyError:
        return None
    _, merged = cache.merge_match_into_notebook(notebook)
    return merged, float(record.data.get("execution_seconds", 0.0))


def store(name: str, source: Any, executed: Any, seconds: float, folder: Path) -> None:
    """Put an executed chapter into the cache; call it for complete runs only.

    ``source`` and ``folder`` (from :meth:`Chapter.read` and :func:`cache_path`) are
    to be taken before the run: files may change while it lasts.
    """
    from jupyter_cache.base import CacheBundleIn

    for cell, done in zip(source.cells, executed.cells, strict=True):
        if cell.cell_type == "code":
            if "figure" in tags(cell) and len(done.outputs) != 1:
                raise SystemExit(
                    f"{name}: a cell tagged figure has {len(done.outputs)} outputs instead of one "
                    f"picture; end it with an assignment or draw less:\n{cell.source}"
                )
            cell.outputs, cell.execution_count = done.outputs, done.execution_count
    bundle = CacheBundleIn(source, name, data={"execution_seconds": seconds})
    _cache(folder).cache_notebook_bundle(bundle, check_validity=False, overwrite=True)


def execute(source: Any, progress: Callable[[int, int], None] | None = None) -> Any:
    """Run a chapter in a fresh kernel and return the executed notebook.

    Raises
    ------
    nbclient.exceptions.CellExecutionError
        If a cell fails.
    """
    from nbclient import NotebookClient

    notebook = copy.deepcopy(source)
    code_cells = [i for i, cell in enumerate(notebook.cells) if cell.cell_type == "code"]

    def executed(cell: Any, cell_index: int, **_: Any) -> None:
        if progress is not None and cell_index in code_cells:
            progress(code_cells.index(cell_index) + 1, len(code_cells))

    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(
            notebook,
            timeout=TIMEOUT_SECONDS[mode()],
            kernel_name="python3",
            resources={"metadata": {"path": folder}},
            extra_arguments=["--log-level=ERROR"],
            store_widget_state=False,
            on_cell_complete=executed,
        )
        client.execute()
    return notebook


def execute_all() -> None:
    """Execute every chapter that is not cached, with one line of progress each."""
    for item in chapters():
        found = cached(item)
        if found is not None:
            print(f"{item.name:<32} unchanged ({found[1]:.0f} s when it ran)", flush=True)
            continue

        def progress(done: int, total: int, name: str = item.name) -> None:
            if sys.stdout.isatty():
                print(f"\r{name:<32} cell {done}/{total}", end="", flush=True)

        source, folder = item.read(), cache_path(item)
        start = time.perf_counter()
        executed = execute(source, progress)
        seconds = time.perf_counter() - start
        store(str(item.path), source, executed, seconds, folder)
        start_of_line = "\r" if sys.stdout.isatty() else ""
        print(f"{start_of_line}{item.name:<32} executed in {seconds:.0f} s ({mode()} scale)")


def source_hash(item: Chapter) -> str:
    """Return a hash of the code that decides a chapter's stored results."""
    cells = (cell for cell in item.read().cells if cell.cell_type == "code")
    sources = [cell.source for cell in cells if not hashing.NO_RESULT_TAGS & set(tags(cell))]
    return hashing.source_hash(sources, ROOT / "mammocourse")


def jupyter_book(*arguments: str) -> int:
    """Run Jupyter Book's program in the course's folder and return its exit status."""
    program = Path(sysconfig.get_path("scripts")) / "jupyter-book"
    return subprocess.call([str(program), "build", ".", *arguments], cwd=ROOT)
