"""Print the whole course as one document: ``_build/pdf/mammocourse.pdf``.

The pages of the finished site become one page, with a title, a table of contents and the
solutions at its end; Chromium prints it twice, since only after the first time it is known on
which page each section begins.
"""

from __future__ import annotations

import html
import re
import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

import yaml
from bs4 import BeautifulSoup, Tag

import chapters as course
import chromium

SITE = course.BUILD / "html"
FOLDER = course.BUILD / "pdf"
MARGIN = {"top": "18mm", "bottom": "20mm", "left": "18mm", "right": "18mm"}
WIDTH = 658  # pixels of CSS between the margins of A4
FOOTER = (
    '<div style="font: 8px sans-serif; color: #444; width: 100%; text-align: center;">'
    '<span class="pageNumber"></span></div>'
)
DROPPED = ".headerlink, .toctree-wrapper, details.hide, .mammocourse-control input, .toggle-button"
STYLE = """
body { background: #fff; padding: 0; }
section.page, #contents, #solutions { break-before: page; }
#cover { padding-top: 30%; }
#cover h1 { font-size: 3rem; }
#contents ol { list-style: none; padding-left: 0; }
#contents li { display: flex; gap: 0.5rem; align-items: baseline; break-inside: avoid; }
#contents li.top { font-weight: 600; margin-top: 0.6rem; break-after: avoid; }
#contents li.sub { padding-left: 1.5rem; }
#contents i { border-bottom: 1px dotted #888; flex: 1; }
#contents .number { font-variant-numeric: tabular-nums; min-width: 2rem; text-align: right; }
.solution.dropdown.toggle-hidden::after { content: none !important; }
"""
LOAD_IMAGES = """() => Promise.all([...document.images].map((image) => {
  image.loading = 'eager';
  return image.decode();
}))"""
SHRINK = """() => {
  const limit = document.body.clientWidth;
  const wide = (item) => {
    const child = item.querySelector('mjx-math') || item;
    return Math.max(child.getBoundingClientRect().width, item.scrollWidth) / item.clientWidth;
  };
  let count = 0;
  for (const item of document.querySelectorAll('mjx-container[display="true"], table')) {
    const factor = item.matches('table')
      ? item.getBoundingClientRect().right / limit : wide(item);
    if (factor > 1.005) {
      const size = parseFloat(getComputedStyle(item).fontSize);
      item.style.fontSize = `${Math.max(0.5, 0.98 / factor) * size}px`;
      count += 1;
    }
  }
  return count;
}"""


def pages() -> list[str]:
    """Return the pages of the book in their order."""
    toc = yaml.safe_load((course.ROOT / "_toc.yml").read_text("utf-8"))
    files = [item["file"] for part in toc["parts"] for item in part["chapters"]]
    return [toc["root"], *files]


def slug(page: str) -> str:
    """Return a page's name as the beginning of its anchors."""
    return re.sub(r"[^\w-]", "-", page)


def new_link(url: str, page: str, names: list[str], address: str) -> str:
    """Return where a link of a page leads in the one document.

    Examples
    --------
    >>> new_link("b.html#part", "book/a", ["book/a", "book/b"], "https://site/")
    '#book-b--part'
    >>> new_link("../search.html", "book/a", ["book/a"], "https://site/")
    'https://site/search.html'
    """
    parts = urlsplit(url)
    if parts.scheme or url.startswith("//"):
        return url
    target = urlsplit(urljoin(f"/{page}.html", url)).path.lstrip("/").removesuffix(".html")
    if parts.path and target not in names:
        return urljoin(address, urljoin(f"{page}.html", url))
    anchor = f"--{unquote(parts.fragment)}" if parts.fragment else ""
    return f"#{slug(target)}{anchor}"


def article(page: str, names: list[str], address: str) -> Tag:
    """Return the text of a page, with anchors, links and pictures that fit the one document."""
    soup = BeautifulSoup((SITE / f"{page}.html").read_text("utf-8"), "html.parser")
    found = soup.select_one("article.bd-article")
    if found is None:
        raise SystemExit(f"{page}.html has no text: the theme has changed, mend make_pdf.py.")
    for item in found.select(DROPPED):
        item.decompose()
    for script in found.select(".mammocourse-explore script"):
        script.decompose()
    for item in found.select("[id]"):
        if item.find_parent(class_="cell_output") is None:  # scripts of a quiz know their ids
            item["id"] = f"{slug(page)}--{item['id']}"
    for link in found.select("a[href]"):
        link["href"] = new_link(str(link["href"]), page, names, address)
        if link.get_text().strip().rstrip("/") == str(link["href"]).rstrip("/"):
            link["class"] = [*link.get("class", []), "no-address"]
    for image in found.select("img[src]"):
        source = str(image["src"])
        if not urlsplit(source).scheme:
            image["src"] = ((SITE / page).parent / unquote(source)).resolve().as_uri()
        image.attrs.pop("loading", None)
    found.name = "section"
    found["class"] = ["bd-article", "page"]
    found["id"] = slug(page)
    return found


def move_solutions(text: Tag, page: str, soup: BeautifulSoup) -> list[Tag]:
    """Take the solutions out of a page, leave a link to each, and return them."""
    found = []
    for i, solution in enumerate(text.select("div.solution"), start=1):
        anchor = f"{slug(page)}--solved-{i}"
        link = soup.new_tag("a", href=f"#{anchor}", string="Its solution stands at the end.")
        note = soup.new_tag("p")
        note.append(link)
        solution.replace_with(note)
        classes = [name for name in solution.get("class", []) if name != "dropdown"]
        solution["class"], solution["id"] = classes, anchor
        found.append(solution)
    return found


def contents(text: list[Tag]) -> list[tuple[str, str, str]]:
    """Return level, anchor and title of what the table of contents lists."""
    found = []
    for page in text:
        for heading in page.select("h1, h2"):
            section = heading.find_parent("section")
            if section is None or heading.find_parent(class_="admonition") is not None:
                continue
            level = "top" if heading.name == "h1" else "sub"
            anchor = page["id"] if level == "top" else section["id"]
            found.append((level, str(anchor), " ".join(heading.get_text().split())))
    return found


def assemble(address: str) -> tuple[str, list[str]]:
    """Return the one document as HTML, and the anchors of its table of contents."""
    config = yaml.safe_load((course.ROOT / "_config.yml").read_text("utf-8"))
    names = pages()
    soup = BeautifulSoup((SITE / f"{names[1]}.html").read_text("utf-8"), "html.parser")
    scripts = [
        s
        for s in soup.select("head script")
        if "MathJax" in s.get_text() or "mathjax" in str(s.get("src"))
    ]
    head = [*soup.select('link[rel="stylesheet"]'), *scripts]
    for item in head:
        for name in ("href", "src"):
            if item.get(name):
                path = urlsplit(str(item[name])).path
                item[name] = (SITE / "book" / path).resolve().as_uri()
    text = [article(page, names, address) for page in names]
    solutions = soup.new_tag("section", id="solutions", attrs={"class": "bd-article"})
    solutions.append(soup.new_tag("h1", string="Solutions"))
    for page, part in zip(names, text, strict=True):
        moved = move_solutions(part, page, soup)
        title = part.select_one("h1")
        if moved and title is not None:
            solutions.append(soup.new_tag("h2", string=" ".join(title.get_text().split())))
            solutions.extend(moved)
    listed = [*contents(text), ("top", "solutions", "Solutions")]
    items = "".join(
        f'<li class="{level}"><a href="#{html.escape(anchor)}">{html.escape(title)}</a><i></i>'
        f'<span class="number" data-anchor="{html.escape(anchor)}">000</span></li>'
        for level, anchor, title in listed
    )
    cover = (
        f'<section id="cover"><h1>{html.escape(config["title"])}</h1>'
        f"<p>{html.escape(config['author'])}</p><p>Copyright {html.escape(config['copyright'])}</p>"
        f'<p>The course with controls, quizzes and notebooks: <a href="{address}">{address}</a>. '
        "Here, controls stand where they start, solutions at the end, and code that the pages "
        "fold away is left out.</p><p><strong>This is a course. Nothing in it is a medical device, "
        "and nothing in it is for diagnosis.</strong></p></section>"
    )
    body = "".join(map(str, [*text, solutions]))
    document = (
        f'<!DOCTYPE html><html lang="en" data-theme="light"><head><meta charset="utf-8">'
        f"<title>{html.escape(config['title'])}</title>{''.join(map(str, head))}"
        f'<style>{STYLE}</style></head><body><main class="bd-content">{cover}'
        f'<section id="contents" class="bd-article"><h1>Contents</h1><ol>{items}</ol></section>'
        f"{body}</main></body></html>"
    )
    return document, [anchor for _, anchor, _ in listed]


def page_numbers(pdf: bytes) -> dict[str, int]:
    """Return the page on which each anchor of a document lies, from Chromium's PDF.

    Chromium leaves the tree of pages and the table of anchors uncompressed.
    """
    pairs = re.findall(rb"(?m)^(\d+) 0 obj\s(.*?)\sendobj", pdf, re.DOTALL)
    objects = {key: value for key, value in pairs if b"stream" not in value}
    root = next(
        (k for k, v in objects.items() if b"/Type /Pages" in v and b"/Parent" not in v), None
    )
    if root is None:
        raise SystemExit("Chromium writes PDF in another way than before: mend page_numbers.")

    def leaves(key: bytes) -> list[bytes]:
        kids = re.search(rb"/Kids\s*\[(.*?)\]", objects[key], re.DOTALL)
        if kids is None:
            return [key]
        return [leaf for kid in re.findall(rb"(\d+) 0 R", kids[1]) for leaf in leaves(kid)]

    order = {key: number for number, key in enumerate(leaves(root), start=1)}
    anchors = re.compile(rb"/([^\s/\[\]<>()]+)\s*\[(\d+) 0 R\s*/XYZ")
    found = [pair for value in objects.values() for pair in anchors.findall(value)]

    def name(raw: bytes) -> str:
        plain = re.sub(rb"#([0-9A-Fa-f]{2})", lambda m: bytes([int(m[1], 16)]), raw)
        return unquote(plain.decode("utf-8", "replace"))

    return {name(raw): order[key] for raw, key in found if key in order}


def print_pdf(page: Any) -> bytes:
    """Let Chromium print the page that it shows."""
    return page.pdf(
        format="A4", margin=MARGIN, print_background=True, display_header_footer=True,
        header_template="<span></span>", footer_template=FOOTER, outline=True, tagged=True,
    )  # fmt: skip


def make_pdf() -> Path:
    """Write the print version and return its path."""
    from playwright.sync_api import sync_playwright

    if not (SITE / "index.html").exists():
        raise SystemExit("There is no site to print: run make book first.")
    program = chromium.find()
    if program is None:
        raise SystemExit(chromium.MISSING)
    canonical = BeautifulSoup((SITE / f"{pages()[0]}.html").read_text("utf-8"), "html.parser")
    link = canonical.select_one('link[rel="canonical"]')
    address = str(link["href"]).removesuffix(f"{pages()[0]}.html") if link else ""
    document, anchors = assemble(address)
    FOLDER.mkdir(parents=True, exist_ok=True)
    source = FOLDER / "mammocourse.html"
    source.write_text(document, "utf-8")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=chromium.OPTIONS)
        page = browser.new_page(viewport={"width": WIDTH, "height": 990})
        page.set_default_timeout(600_000)
        page.emulate_media(media="print", color_scheme="light")
        page.goto(source.as_uri(), wait_until="load")
        page.evaluate("MathJax.startup.promise")
        failed = page.locator("mjx-merror, [data-mjx-error]").count()
        if failed:
            raise SystemExit(f"{failed} formulas are not typeset.")
        page.evaluate(LOAD_IMAGES)
        page.evaluate(SHRINK)
        numbers = page_numbers(print_pdf(page))
        missing = [anchor for anchor in anchors if anchor not in numbers]
        if missing:
            raise SystemExit(f"not found in the printed document: {', '.join(missing[:5])}")
        page.evaluate(
            """(numbers) => document.querySelectorAll('#contents .number').forEach((item) => {
                 item.textContent = numbers[item.dataset.anchor];
               })""",
            numbers,
        )
        pdf = print_pdf(page)
        browser.close()
    if page_numbers(pdf) != numbers:
        raise SystemExit("The table of contents has moved the pages: mend make_pdf.py.")
    path = FOLDER / "mammocourse.pdf"
    path.write_bytes(pdf)
    print(f"The print version is ready: {path} ({len(pdf) / 1e6:.0f} MB)")
    return path


if __name__ == "__main__":
    sys.exit(None if make_pdf() else 1)
