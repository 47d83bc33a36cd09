"""Build the site: execute what has changed, then let Jupyter Book write the pages."""

from __future__ import annotations

import shutil

import chapters as course
import guide_tables


def make_site() -> None:
    """Leave the finished site in ``_build/html`` or stop with an error."""
    guide_tables.check_tables()
    course.execute_all()
    # After a build that failed, was interrupted or had other pages, Sphinx would
    # keep what it has read and repeat neither its warnings nor its clean-up.
    contents = (course.ROOT / "_toc.yml").read_text(encoding="utf-8")
    complete = course.BUILD / ".complete"
    if not (complete.exists() and complete.read_text(encoding="utf-8") == contents):
        shutil.rmtree(course.BUILD / ".doctrees", ignore_errors=True)
        shutil.rmtree(course.BUILD / "html", ignore_errors=True)
    complete.unlink(missing_ok=True)
    if course.jupyter_book("-W", "--keep-going", "-q") != 0:
        raise SystemExit("The site was not built: each warning above is an error here.")
    complete.write_text(contents, encoding="utf-8")
    print(f"The site is ready: {course.BUILD / 'html' / 'index.html'}")


if __name__ == "__main__":
    make_site()
