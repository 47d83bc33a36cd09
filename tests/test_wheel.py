"""The wheel: built, installed outside the checkout and used from there."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

LOAD = """
import sys
sys.path.insert(0, sys.argv[1])
import mammocourse
from mammocourse.datasets import load_mnist01
from mammocourse.resources import data_path, read_bytes
print(mammocourse.__file__)
print(data_path("mnist01.npz"))
for name in sys.stdin.read().splitlines():
    read_bytes(name)
print(len(load_mnist01()[0][0]))
"""


def run(*command, **options):
    result = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
    return result.stdout


def files_in(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT)
    [path] = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The folder into which the wheel alone was installed."""
    folder = tmp_path_factory.mktemp("installed")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    run(*pip, "install", "--no-index", "--no-deps", "--target", folder, wheel)
    return folder


def test_wheel_holds_the_package_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        folders = {name.split("/")[0] for name in archive.namelist()}
    version = wheel.name.split("-")[1]
    assert folders == {"mammocourse", f"mammocourse-{version}.dist-info"}


def test_wheel_holds_every_data_file_unchanged(installed):
    assert files_in(installed / "mammocourse" / "_data") == files_in(ROOT / "data")


def test_installed_package_loads_every_data_file(installed, tmp_path):
    # -I: neither the working directory nor PYTHONPATH can bring in the checkout; the folder
    # stands before site-packages, where an editable install may lie.
    names = "\n".join(files_in(ROOT / "data"))
    output = run(sys.executable, "-I", "-c", LOAD, installed, cwd=tmp_path, input=names)
    package, data, n_train = output.splitlines()
    assert Path(package) == installed / "mammocourse" / "__init__.py"
    assert Path(data) == installed / "mammocourse" / "_data" / "mnist01.npz"
    assert n_train == "12665"
