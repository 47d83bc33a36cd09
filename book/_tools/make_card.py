"""Draw the social card from the course's own generated lesions: book/_static/social_card.jpg."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import yaml
from PIL import Image

from mammocourse.phantom import make_lesion_crops

ROOT = Path(__file__).resolve().parents[2]
SIZE = (1200, 630)
BACKGROUND, LINES = "#14181e", "#8ab8ff"


def make_card(path: Path) -> None:
    """Write the card: four generated lesions and the title of the course."""
    title = yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))["title"]
    crops = make_lesion_crops(4, size=224, seed=3, link="sharp")
    images = crops.images[::2]  # one of the two views of each lesion
    figure = plt.figure(figsize=(SIZE[0] / 100, SIZE[1] / 100), dpi=100, facecolor=BACKGROUND)
    for i, image in enumerate(images[:4]):
        axes = figure.add_axes((0.05 + 0.23 * i, 0.40, 0.21, 0.50))
        axes.imshow(image.squeeze(), cmap="gray")
        axes.axis("off")
    figure.text(0.05, 0.22, title, color="white", fontsize=46, weight="bold")
    figure.text(
        0.05, 0.11, "An open course: statistics, deep learning, and what can be reproduced",
        color=LINES, fontsize=22,
    )  # fmt: skip
    figure.canvas.draw()
    pixels = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3].copy())
    plt.close(figure)
    pixels.save(path, quality=85, optimize=True)
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size // 1024} KB")


if __name__ == "__main__":
    plt.switch_backend("agg")
    make_card(ROOT / "book" / "_static" / "social_card.jpg")
