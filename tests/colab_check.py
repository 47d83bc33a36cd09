"""Rehearse Colab: its versions, our wheel, the student notebooks from top to bottom.

``make colab-check`` makes a second environment with the versions that Colab
publishes (tests/colab_requirements.txt), installs the wheel there as a student
would, and demands that pip replaces nothing, that every bundled file is found,
that every notebook runs and that every result cell prints what is stored.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "book" / "_tools"), str(ROOT / "tests")]

import nbformat  # noqa: E402
from nbclient import NotebookClient  # noqa: E402
from nbclient.exceptions import CellExecutionError  # noqa: E402

import chapters as course  # noqa: E402
from notebook_writer import RESULT  # noqa: E402

REQUIREMENTS = ROOT / "tests" / "colab_requirements.txt"
FIND_FILES = """
import sys
from mammocourse.datasets import load_mnist01
from mammocourse.resources import data_path
import mammocourse
assert "site-packages" in mammocourse.__file__, mammocourse.__file__
for name in sys.stdin.read().split():
    data_path(name).read_bytes()
assert len(load_mnist01()[0][0]) == 12_665
"""


def colab_python() -> str:
    """Return a Python of Colab's version where there is one, else this one."""
    for name in ("python3.12", sys.executable):
        done = subprocess.run([name, "-c", "import venv, ensurepip"], capture_output=True)
        if done.returncode == 0:
            return name
    raise SystemExit("No Python with the module venv was found.")


def make_environment(folder: Path) -> Path:
    """Make the second environment, if its requirements have changed."""
    python = folder / "bin" / "python"
    stamp = folder / "requirements.txt"
    wanted = REQUIREMENTS.read_text("utf-8")
    if not (stamp.exists() and stamp.read_text("utf-8") == wanted):
        shutil.rmtree(folder, ignore_errors=True)
        print(f"Making {folder.name} with Colab's versions ...", flush=True)
        subprocess.run([colab_python(), "-m", "venv", str(folder)], check=True)
        pip(python, "install", "--quiet", "-r", str(REQUIREMENTS))
        stamp.write_text(wanted, "utf-8")
    else:
        pip(python, "uninstall", "--quiet", "--yes", "mammocourse")
    return python


def pip(python: Path, *arguments: str) -> str:
    """Run pip in an environment and return what it printed."""
    command = [str(python), "-m", "pip", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise SystemExit(f"pip {' '.join(arguments)} failed.")
    return done.stdout


def versions(python: Path) -> dict[str, str]:
    """Return the installed packages and their versions."""
    packages = json.loads(pip(python, "list", "--format=json"))
    return {package["name"].lower(): package["version"] for package in packages}


def install_wheel(python: Path) -> None:
    """Build the wheel, install it, and demand that nothing else was replaced."""
    before = versions(python)
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder],
            cwd=ROOT,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        pip(python, "install", "--quiet", str(next(Path(folder).glob("*.whl"))))
    after = versions(python)
    replaced = {name: after.get(name) for name in before if after.get(name) != before[name]}
    if replaced:
        raise SystemExit(f"Installing the wheel replaced packages of Colab: {replaced}")
    print("The wheel replaces nothing; it adds", ", ".join(sorted(set(after) - set(before))))


def check_files(python: Path) -> None:
    """Demand that every bundled file is found by the installed package."""
    data = ROOT / "data"
    names = [p.relative_to(data).as_posix() for p in data.rglob("*") if p.is_file()]
    with tempfile.TemporaryDirectory() as folder:
        command = [str(python), "-c", FIND_FILES]
        subprocess.run(command, cwd=folder, check=True, input="\n".join(names), text=True)
    print(f"All {len(names)} bundled files are found.")


def run_notebook(path: Path, kernel: str) -> list[str]:
    """Run a notebook and return what is wrong with it."""
    notebook = nbformat.read(path, as_version=4)
    stored = {c["id"]: c.outputs for c in notebook.cells if RESULT in course.tags(c)}
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(
            notebook,
            timeout=600,
            kernel_name=kernel,
            resources={"metadata": {"path": folder}},
        )
        try:
            client.execute()
        except CellExecutionError as error:
            return [str(error)]
    problems = []
    for cell in notebook.cells:
        if cell["id"] in stored:
            shown = "".join(output.get("text", "") for output in cell.outputs)
            wanted = "".join(output.text for output in stored[cell["id"]])
            if shown != wanted:
                problems.append(f"stored:\n{wanted}\nprinted:\n{shown}")
        if "check" in course.tags(cell):
            shown = cell.outputs[-1].data["text/plain"]
            if not shown.startswith("○ Not answered yet"):
                problems.append(f"{cell.source}: {shown}")
    return problems


def main(environment: str, *chapters: str) -> None:
    """Rehearse all chapters, or those whose numbers are given."""
    notebooks = sorted((ROOT / "notebooks").glob("*.ipynb"))
    wanted = [path for path in notebooks if not chapters or path.name[:2] in chapters]
    if not wanted:
        raise SystemExit(f"There is no chapter {', '.join(chapters)}: use numbers like 02.")
    python = make_environment(Path(environment).resolve())
    install_wheel(python)
    check_files(python)
    with tempfile.TemporaryDirectory() as folder:
        kernel = Path(folder) / "kernels" / "colab"
        kernel.mkdir(parents=True)
        argv = [
            str(python),
            "-Xfrozen_modules=off",
            "-m",
            "ipykernel_launcher",
            "-f",
            "{connection_file}",
        ]
        spec = {"argv": argv, "display_name": "Colab", "language": "python"}
        (kernel / "kernel.json").write_text(json.dumps(spec), "utf-8")
        os.environ["JUPYTER_PATH"] = folder
        failed = False
        for path in wanted:
            problems = run_notebook(path, "colab")
            print(f"{path.name}: {'fails' if problems else 'runs'}", flush=True)
            for problem in problems:
                print(problem)
            failed = failed or bool(problems)
    if failed:
        raise SystemExit("A notebook fails or prints something else with Colab's versions.")


if __name__ == "__main__":
    main(*sys.argv[1:])
