"""The control that moves without a kernel, and its live twin."""

from __future__ import annotations

import json
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
from bs4 import BeautifulSoup

from mammocourse.interactive import explore


def draw(height: float, color: str = "black") -> Any:
    figure, axes = plt.subplots(figsize=(2, 1))
    axes.plot([0, 1], [0, height], color=color)
    return figure


def describe(height: float, color: str = "black") -> str:
    return f'A {color} line that rises to {height} & is "straight".'


def page(explorer: Any) -> BeautifulSoup:
    return BeautifulSoup(explorer.to_html(), "html.parser")


def test_the_page_holds_every_combination_of_the_values() -> None:
    explorer = explore(draw, alt=describe, height=[1, 2, 3], color=["red", "blue"])
    data = json.loads(page(explorer).find("script", type="application/json").string)
    assert data["texts"] == [describe(h, c) for h in (1, 2, 3) for c in ("red", "blue")]
    assert len(set(data["sources"])) == 6


def test_every_slider_has_a_label_and_a_spoken_value() -> None:
    found = page(explore(draw, alt=describe, labels={"height": "Height in m"}, height=[1, 2]))
    slider = found.find("input")
    assert found.find("label", attrs={"for": slider["id"]}).string == "Height in m"
    assert slider["aria-valuetext"] == "1"
    assert slider["max"] == "1"


def test_the_first_frame_shows_without_a_script_and_its_text_is_escaped() -> None:
    image = page(explore(draw, alt=describe, height=[1, 2])).find("img")
    assert image["alt"] == describe(1)
    assert image["src"].startswith("data:image/")


def test_the_page_needs_no_other_host() -> None:
    assert "http" not in explore(draw, alt=describe, height=[1, 2]).to_html()


def test_the_same_drawing_gives_the_same_page() -> None:
    assert (
        explore(draw, alt=describe, height=[1, 2]).to_html()
        == explore(draw, alt=describe, height=[1, 2]).to_html()
    )


def test_the_live_widget_draws_when_its_slider_moves() -> None:
    box = explore(draw, alt=describe, height=[1, 2, 3]).widget()
    slider, image, reading = box.children
    before = image.value
    slider.value = 3
    assert image.value != before
    assert "rises to 3" in reading.value


def test_a_notebook_gets_the_widget_and_the_page() -> None:
    bundle = explore(draw, alt=describe, height=[1, 2])._repr_mimebundle_()
    assert bundle["application/vnd.jupyter.widget-view+json"]["model_id"]
    assert "<input" in bundle["text/html"]
    assert bundle["text/plain"] == describe(1)


def test_a_drawing_without_a_text_is_described_by_its_docstring() -> None:
    def line(height: float) -> Any:
        """A line that rises."""
        return draw(height)

    explorer = explore(line, labels={"height": "Height"}, height=[1.5, 2])
    assert page(explorer).find("img")["alt"] == "A line that rises, for Height = 1.5."


def test_figures_are_closed() -> None:
    explore(draw, alt=describe, height=[1, 2, 3]).to_html()
    assert plt.get_fignums() == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "at least one control"),
        ({"height": [1]}, "height"),
        ({"height": range(100)}, "100 frames"),
        ({"height": [1, 2], "labels": {"hight": "Height"}}, "hight"),
        ({"height": 3}, "list of numbers"),
        ({"height": [None, 1]}, "list of numbers"),
        ({"height": [float("nan"), 1]}, "list of numbers"),
    ],
)
def test_bad_controls_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        explore(draw, alt=describe, **arguments)


def test_values_of_numpy_are_shown_as_one_writes_them() -> None:
    found = page(explore(draw, alt=describe, height=np.arange(0.1, 0.5, 0.1)))
    data = json.loads(found.find("script", type="application/json").string)
    assert data["values"] == [["0.1", "0.2", "0.3", "0.4"]]


def test_a_drawing_that_fails_leaves_no_figure_open() -> None:
    def fail(height: float) -> Any:
        plt.subplots()
        raise RuntimeError("no ink")

    with pytest.raises(RuntimeError, match="no ink"):
        explore(fail, alt=describe, height=[1, 2]).to_html()
    assert plt.get_fignums() == []


def test_a_drawing_must_return_a_figure() -> None:
    with pytest.raises(TypeError, match="matplotlib figure"):
        explore(lambda height: None, alt=describe, height=[1, 2]).to_html()
