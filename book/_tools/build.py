"""Build the site: execute what has changed, then let Jupyter Book write the pages."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import chapters as course


def build() -> None:
    """Leave the finished site in ``_build/html`` or stop with an error."""
    os.chdir(course.ROOT)
    course.execute_all()
    program = str(Path(sys.executable).with_name("jupyter-book"))
    command = [program, "build", ".", "-W", "--keep-going", "-q"]
    if subprocess.call(command) != 0:
        # Sphinx would not repeat the warnings of pages that it has read already.
        shutil.rmtree(course.BUILD / ".doctrees", ignore_errors=True)
        raise SystemExit("The site was not built: each warning above is an error here.")
    print(f"The site is ready: {course.BUILD / 'html' / 'index.html'}")


if __name__ == "__main__":
    build()
