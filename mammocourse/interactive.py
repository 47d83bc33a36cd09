"""Controls that move: a widget where a kernel lives, frames where none does."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

__all__ = ["Explorer", "explore"]

MAX_FRAMES = 60


def explore(
    draw: Callable[..., Any],
    *,
    alt: Callable[..., str] | None = None,
    labels: Mapping[str, str] | None = None,
    **controls: Sequence[Any],
) -> Explorer:
    """Let the reader move the arguments of a drawing.

    In JupyterLab and Colab the result is a widget that calls ``draw``; in a
    static page it is a set of precomputed frames with sliders that need neither
    a kernel nor the network.

    Parameters
    ----------
    draw : callable
        Takes one keyword argument per control and returns a matplotlib figure,
        which is closed after it has been drawn.
    alt : callable, optional
        Takes the same arguments and returns what is to be seen, in words; every
        figure of the course has one. By default the first line of the docstring of
        ``draw`` and the values of the controls.
    labels : mapping of str to str, optional
        What to call a control on the page; by default its name.
    **controls : sequences
        The values of each control, in the order of the slider. The number of
        frames is the product of their lengths, at most 60.

    Returns
    -------
    Explorer
        Shown by a notebook when it is the last expression of a cell.

    Raises
    ------
    ValueError
        If there is no control, one has fewer than two values, a label names no
        control, or there are too many frames.

    Examples
    --------
    >>> explore(draw_sigmoid, alt=describe_sigmoid, slope=[0.5, 1, 2])  # doctest: +SKIP
    """
    if not controls:
        raise ValueError("explore needs at least one control, for example slope=[0.5, 1, 2].")
    values = {name: _scalars(name, options) for name, options in controls.items()}
    for name, options in values.items():
        if len(options) < 2:
            raise ValueError(f"control {name!r} has {len(options)} value(s); give at least two.")
    unknown = set(labels or {}) - set(values)
    if unknown:
        raise ValueError(f"labels names {sorted(unknown)}, but the controls are {sorted(values)}.")
    n_frames = 1
    for options in values.values():
        n_frames *= len(options)
    if n_frames > MAX_FRAMES:
        raise ValueError(
            f"These controls make {n_frames} frames; a page holds at most {MAX_FRAMES}. "
            "Give fewer values."
        )
    names = {name: str((labels or {}).get(name, name)) for name in values}
    return Explorer(draw, alt or _describe(draw, names), names, values)


def _describe(draw: Callable[..., Any], labels: Mapping[str, str]) -> Callable[..., str]:
    """Return the alternative text of a drawing for which none was written."""
    summary = (draw.__doc__ or "Figure").strip().splitlines()[0].rstrip(".")

    def describe(**arguments: Any) -> str:
        values = (f"{labels[name]} = {_spoken(value)}" for name, value in arguments.items())
        return f"{summary}, for {', '.join(values)}."

    return describe


def _scalars(name: str, options: Sequence[Any]) -> list[Any]:
    """Return the values of a control as plain numbers and texts."""
    try:
        values = [option.item() if hasattr(option, "item") else option for option in options]
    except (TypeError, ValueError):
        values = [None]
    if not all(isinstance(value, int | float | str) and value == value for value in values):
        raise ValueError(f"control {name!r} is {options!r}; give a list of numbers or of texts.")
    return values


def _spoken(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


class Explorer:
    """A drawing with controls; made by :func:`explore`."""

    def __init__(
        self,
        draw: Callable[..., Any],
        alt: Callable[..., str],
        labels: Mapping[str, str],
        controls: Mapping[str, list[Any]],
    ) -> None:
        self.draw = draw
        self.alt = alt
        self.labels = labels
        self.controls = controls

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return {
            "application/vnd.jupyter.widget-view+json": {
                "version_major": 2,
                "version_minor": 0,
                "model_id": self.widget().model_id,
            },
            "text/html": self.to_html(),
            "text/plain": self.alt(**{name: values[0] for name, values in self.controls.items()}),
        }

    def widget(self) -> Any:
        """Return the live version, an ``ipywidgets.VBox``."""
        import ipywidgets as widgets

        sliders = {
            name: widgets.SelectionSlider(
                options=[(_spoken(value), value) for value in values],
                description=self.labels[name],
                continuous_update=False,
                style={"description_width": "initial"},
                layout=widgets.Layout(width="min(34rem, 100%)"),
            )
            for name, values in self.controls.items()
        }
        image = widgets.HTML()
        reading = widgets.HTML()

        def update(change: Any = None) -> None:
            arguments = {name: slider.value for name, slider in sliders.items()}
            source, text = self._frame(arguments)
            image.value = f'<img src="{source}" alt="{html.escape(text)}" style="max-width:100%">'
            reading.value = f"<p>{html.escape(text)}</p>"

        for slider in sliders.values():
            slider.observe(update, names="value")
        update()
        return widgets.VBox([*sliders.values(), image, reading])

    def to_html(self) -> str:
        """Return the static version: every frame, with its sliders, in one figure."""
        frames = [
            self._frame(dict(zip(self.controls, combination, strict=True)))
            for combination in itertools.product(*self.controls.values())
        ]
        identity = "explore-" + hashlib.sha256(repr((self.labels, frames)).encode()).hexdigest()[:8]
        sliders = "".join(
            _SLIDER.format(
                id=f"{identity}-{name}",
                label=html.escape(self.labels[name]),
                last=len(values) - 1,
                first=html.escape(_spoken(values[0])),
            )
            for name, values in self.controls.items()
        )
        data = {
            "sources": [source for source, _ in frames],
            "texts": [text for _, text in frames],
            "values": [[_spoken(value) for value in values] for values in self.controls.values()],
        }
        return _FIGURE.format(
            id=identity,
            sliders=sliders,
            source=frames[0][0],
            text=html.escape(frames[0][1]),
            data=json.dumps(data).replace("<", "\\u003c"),
        )

    def _frame(self, arguments: Mapping[str, Any]) -> tuple[str, str]:
        """Return one picture as a data address, and its alternative text."""
        import matplotlib.pyplot as plt

        before = set(plt.get_fignums())
        try:
            figure = self.draw(**arguments)
            if not hasattr(figure, "savefig"):
                raise TypeError(
                    f"draw returned {type(figure).__name__}; it must return a matplotlib figure."
                )
            buffer = io.BytesIO()
            figure.savefig(
                buffer,
                format="webp",
                dpi=110,
                bbox_inches="tight",
                facecolor="white",
                pil_kwargs={"lossless": True},
            )
        finally:  # whatever it drew: an open figure would show a second time
            for number in set(plt.get_fignums()) - before:
                plt.close(number)
        picture = base64.b64encode(buffer.getvalue()).decode("ascii")
        return f"data:image/webp;base64,{picture}", str(self.alt(**arguments))


_SLIDER = """
<div class="mammocourse-control">
<label for="{id}">{label}</label>
<input type="range" id="{id}" min="0" max="{last}" step="1" value="0" aria-valuetext="{first}">
<output for="{id}">{first}</output>
</div>"""

# The whole interface is in the page: no kernel, no library, no network.
_FIGURE = """<div class="mammocourse-explore" id="{id}" role="group"
aria-label="Interactive figure">
{sliders}
<div class="mammocourse-frame"><img src="{source}" alt="{text}"></div>
<p role="status">{text}</p>
<script type="application/json">{data}</script>
<script>
(function () {{
  const root = document.getElementById("{id}");
  const data = JSON.parse(root.querySelector('script[type="application/json"]').textContent);
  const inputs = [...root.querySelectorAll("input")];
  const image = root.querySelector("img");
  const text = root.querySelector("p");
  function show() {{
    let frame = 0;
    inputs.forEach((input, control) => {{
      const value = data.values[control][input.value];
      frame = frame * data.values[control].length + Number(input.value);
      input.setAttribute("aria-valuetext", value);
      input.nextElementSibling.textContent = value;
    }});
    image.src = data.sources[frame];
    image.alt = data.texts[frame];
    text.textContent = data.texts[frame];
  }}
  inputs.forEach((input) => input.addEventListener("input", show));
}})();
</script>
</div>"""
