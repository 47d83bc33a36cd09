"""The project's files agree with each other: requirements, licences, versions, style."""

import fnmatch
import hashlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import mammocourse
from mammocourse.resources import checksums

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = {
    name: [Requirement(line) for line in lines]
    for name, lines in PROJECT["optional-dependencies"].items()
}
DEPENDENCIES = [Requirement(line) for line in PROJECT["dependencies"]]


def repository_files():
    """Files in git, and those that git would add."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    names = sorted(set(filter(None, result.stdout.split("\0"))))
    return [name for name in names if (ROOT / name).is_file()]


def is_binary(path):
    try:
        path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return True
    return False


# --- environment.yml (conda)

# conda-forge calls these packages otherwise than PyPI does
CONDA_NAMES = {"tensorflow-cpu": "tensorflow"}


@pytest.fixture(scope="module")
def conda():
    """Conda requirements and pip requirements of environment.yml, versions by name."""
    content = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    lines = content["dependencies"]
    [pip] = [line["pip"] for line in lines if isinstance(line, dict)]
    requirements = [Requirement(line) for line in lines if isinstance(line, str)]
    return (
        {requirement.name: requirement.specifier for requirement in requirements},
        {item.name: item.specifier for item in map(Requirement, pip[:-1])},
        pip[-1],
    )


def test_environment_has_the_packages_and_versions_of_pyproject(conda):
    from_conda, from_pip, _ = conda
    nbval = [requirement for requirement in EXTRAS["test"] if requirement.name == "nbval"]
    expected = {
        CONDA_NAMES.get(requirement.name, requirement.name): requirement.specifier
        for requirement in [*DEPENDENCIES, *EXTRAS["cpu"], *EXTRAS["book"], *nbval]
    }
    found = {**from_conda, **from_pip}
    del found["python"], found["pip"]
    assert found == expected


def test_environment_names_each_package_once_and_installs_the_checkout(conda):
    from_conda, from_pip, last = conda
    assert not set(from_conda) & set(from_pip)
    assert last == "-e ."


def test_python_range_is_the_same_everywhere(conda):
    allowed = SpecifierSet(PROJECT["requires-python"])
    assert conda[0]["python"] == allowed
    stated = {line.split(" :: ")[-1] for line in PROJECT["classifiers"] if "Python :: 3." in line}
    assert stated == {f"3.{minor}" for minor in range(30) if f"3.{minor}" in allowed}


# --- requirements.lock


# otter-grader needs an older wrapt than the course has, so it has a lock and an environment of
# its own
LOCKS = {
    "requirements.lock": [
        *DEPENDENCIES,
        *(item for name, items in EXTRAS.items() if name != "grade" for item in items),
    ],
    "requirements-grade.lock": EXTRAS["grade"],
}


def read_lock(name):
    """Return the entries of a lock: requirement and options."""
    text = (ROOT / name).read_text(encoding="utf-8")
    lines = re.sub(r"^\s*#.*$", "", text, flags=re.MULTILINE).replace("\\\n", " ").splitlines()
    entries = [line.split(" --", maxsplit=1) for line in lines if line.strip()]
    return [(Requirement(entry[0]), " --".join(["", *entry[1:]]).strip()) for entry in entries]


@pytest.mark.parametrize("name", LOCKS)
def test_lock_names_no_index(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    assert "://" not in text
    assert "--index" not in text


@pytest.mark.parametrize("name", LOCKS)
def test_lock_pins_every_entry_with_hashes(name):
    for requirement, options in read_lock(name):
        [pin] = requirement.specifier
        assert pin.operator == "==", requirement
        assert requirement.url is None
        assert re.fullmatch(r"(--hash=sha256:[0-9a-f]{64}\s*)+", options), requirement


@pytest.mark.parametrize("name", LOCKS)
@pytest.mark.parametrize("platform", ["linux", "darwin", "win32"])
@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_lock_pins_every_direct_dependency_once_and_in_range(name, python, platform):
    lock = read_lock(name)
    machine = "arm64" if platform == "darwin" else "x86_64"
    environment = {
        **default_environment(),
        "python_version": python,
        "python_full_version": f"{python}.8",
        "sys_platform": platform,
        "platform_machine": machine,
    }
    for requirement in LOCKS[name]:
        if requirement.marker and not requirement.marker.evaluate(environment):
            continue
        [pin] = [
            entry.specifier
            for entry, _ in lock
            if canonicalize_name(entry.name) == canonicalize_name(requirement.name)
            and (entry.marker is None or entry.marker.evaluate(environment))
        ]
        [version] = pin
        assert version.version in requirement.specifier, requirement


# --- licences and checksums

ASSET_SUFFIXES = {
    *(".png", ".jpg", ".jpeg", ".gif", ".svg", ".webp", ".pdf", ".dcm", ".woff", ".woff2"),
    *(".npz", ".npy", ".csv", ".tsv", ".xls", ".xlsx", ".parquet", ".h5", ".keras"),
    ".ipynb",
}
ROWS = yaml.safe_load((ROOT / "data" / "LICENCES.yml").read_text(encoding="utf-8"))


def matches(name, pattern):
    """Match a path against a glob whose ``*`` stays within one folder."""
    parts, patterns = name.split("/"), pattern.split("/")
    return len(parts) == len(patterns) and all(map(fnmatch.fnmatchcase, parts, patterns))


def test_every_asset_has_a_licence_row():
    assets = [
        name
        for name in repository_files()
        if name.startswith(("data/", "book/_static/")) or Path(name).suffix in ASSET_SUFFIXES
    ]
    assert "data/mnist01.npz" in assets
    missing = [name for name in assets if not any(matches(name, row["path"]) for row in ROWS)]
    assert not missing, f"no row in data/LICENCES.yml: {', '.join(missing)}"


def test_the_wheel_names_every_licence_of_its_data():
    stated = set(PROJECT["license"].split(" AND "))
    found = [row["licence"].partition(" (")[0] for row in ROWS if row["path"].startswith("data/")]
    assert {name.replace(" ", "-") for name in found} <= stated


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["path"])
def test_licence_row_is_complete(row):
    assert set(row) == {"path", "source", "author", "licence", "changes"}
    assert all(isinstance(value, str) and value.strip() for value in row.values())
    assert any(matches(name, row["path"]) for name in repository_files()), "matches no file"


def test_every_binary_data_file_has_its_checksum():
    names = [name for name in repository_files() if name.startswith("data/")]
    expected = {
        name.removeprefix("data/"): hashlib.sha256((ROOT / name).read_bytes()).hexdigest()
        for name in names
        if is_binary(ROOT / name)
    }
    assert checksums() == expected


# --- versions and paths


def test_versions_agree():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    latest = re.search(r"^## \[([^]]+)\]", changelog, flags=re.MULTILINE)
    assert citation["version"] == latest[1] == mammocourse.__version__


def test_no_file_holds_a_path_of_somebodys_machine():
    machine_path = re.compile(r"(?<![\w.~/-])/(?:home|root|work|tmp|Users)/\w")
    found = []
    for name in repository_files():
        if not is_binary(ROOT / name):
            lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
            found += [f"{name}:{i}" for i, line in enumerate(lines, 1) if machine_path.search(line)]
    assert not found


# --- style and types


@pytest.mark.parametrize("command", ["ruff check .", "ruff format --check .", "mypy"])
def test_code_is_clean(command):
    result = subprocess.run(
        [sys.executable, "-m", *command.split()],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
