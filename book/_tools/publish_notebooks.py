"""Copy the student notebooks of the last build to ``notebooks/``, where they are committed."""

from __future__ import annotations

import shutil

import chapters as course

SOURCE = course.BUILD / "notebooks" / "student"
TARGET = course.ROOT / "notebooks"


def publish() -> None:
    """Replace the committed notebooks by the new ones."""
    TARGET.mkdir(exist_ok=True)
    for path in TARGET.glob("*.ipynb"):
        path.unlink()
    for path in sorted(SOURCE.glob("*.ipynb")):
        shutil.copy(path, TARGET / path.name)
        print(f"notebooks/{path.name}")


if __name__ == "__main__":
    publish()
