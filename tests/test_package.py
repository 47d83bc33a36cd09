"""The package itself: a light import, the two scales, the seed."""

import random
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import mammocourse

ROOT = Path(__file__).resolve().parents[1]
HEAVY = {"numpy", "pandas", "sklearn", "keras", "tensorflow", "matplotlib", "scipy", "statsmodels"}


def test_import_loads_no_heavy_library():
    code = "import sys, mammocourse; print(*sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert not HEAVY & {name.split(".")[0] for name in result.stdout.split()}


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, "small"), ("", "small"), ("small", "small"), ("full", "full"), (" FULL ", "full")],
)
def test_mode_follows_the_environment(monkeypatch, value, expected):
    if value is None:
        monkeypatch.delenv("MAMMOCOURSE_MODE", raising=False)
    else:
        monkeypatch.setenv("MAMMOCOURSE_MODE", value)
    assert mammocourse.mode() == expected


def test_unknown_mode_is_an_error_that_names_the_choices(monkeypatch):
    monkeypatch.setenv("MAMMOCOURSE_MODE", "medium")
    with pytest.raises(ValueError, match="'medium'; it must be 'small' or 'full'"):
        mammocourse.mode()


@pytest.mark.parametrize("mode", ["small", "full"])
def test_scale_chooses_by_mode(monkeypatch, mode):
    monkeypatch.setenv("MAMMOCOURSE_MODE", mode)
    assert mammocourse.scale(small="small", full="full") == mode


def test_scale_refuses_an_unknown_mode(monkeypatch):
    monkeypatch.setenv("MAMMOCOURSE_MODE", "medium")
    with pytest.raises(ValueError, match="MAMMOCOURSE_MODE"):
        mammocourse.scale(small=1, full=2)


def test_set_seed_repeats_python_and_numpy():
    mammocourse.set_seed(3)
    first = random.random(), np.random.random()  # noqa: NPY002 (the legacy generator is meant)
    mammocourse.set_seed(3)
    assert first == (random.random(), np.random.random())  # noqa: NPY002


def test_set_seed_seeds_keras_where_it_is_loaded(monkeypatch):
    seeds = []
    keras = SimpleNamespace(utils=SimpleNamespace(set_random_seed=seeds.append))
    monkeypatch.setitem(sys.modules, "keras", keras)
    mammocourse.set_seed(7)
    assert seeds == [7]


@pytest.mark.parametrize("seed", [-1, 2**32, 1.0, True, "0", None])
def test_set_seed_refuses_what_is_no_seed(seed):
    with pytest.raises(ValueError, match="seed is"):
        mammocourse.set_seed(seed)
