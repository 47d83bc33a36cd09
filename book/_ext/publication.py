"""Sphinx extension: what a published site needs besides its pages.

Descriptions and social cards, the address of the site, a page for addresses that do not
exist, and redirects from old addresses (``book/_ext/redirects.yml``). The address is
``html: baseurl`` of ``_config.yml`` or, where that is not set, what GitHub Pages gives to the
repository named there.
"""

from __future__ import annotations

import html
import re
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
REDIRECTS = Path(__file__).with_name("redirects.yml")
CARD = "_static/social_card.jpg"
CARD_SIZE = (1200, 630)
CARD_TEXT = "Generated mammogram crops of four lesions, with the title of the course."
LONGEST = 200  # characters; search engines show fewer
SHORTEST = 100

NOT_FOUND = """\
<!DOCTYPE html>
<html lang="{language}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>Page not found: {title}</title>
<style>
:root {{ color-scheme: light dark; --text: #1f2328; --back: #fff; --link: #0b56b3; }}
@media (prefers-color-scheme: dark) {{
  :root {{ --text: #e6e8eb; --back: #14181e; --link: #8ab8ff; }}
}}
body {{ background: var(--back); color: var(--text); font: 1.125rem/1.6 system-ui, sans-serif;
  margin: 0 auto; max-width: 38rem; padding: 3rem 1rem; }}
a {{ color: var(--link); }}
input, button {{ font: inherit; padding: 0.25rem 0.5rem; }}
input {{ max-width: 100%; }}
</style>
</head>
<body>
<main>
<h1>This page does not exist</h1>
<p>The address may be misspelled, or the page may have moved. Start from the
<a href="{path}{root}.html">first page of the course</a>, choose a page below, or search.</p>
<form action="{path}search.html" method="get" role="search">
<label for="q">Search the course</label><br>
<input id="q" name="q" type="search"> <button>Search</button>
</form>
<h2>All pages</h2>
<ul>
{pages}
</ul>
</main>
</body>
</html>
"""

REDIRECT = """\
<!DOCTYPE html>
<html lang="{language}">
<head>
<meta charset="utf-8">
<title>{title}</title>
<link rel="canonical" href="{canonical}">
<meta name="robots" content="noindex">
<meta http-equiv="refresh" content="0; url={target}">
</head>
<body><p>This page has moved to <a href="{target}">{title}</a>.</p></body>
</html>
"""


def site_address(baseurl: str, repository: str) -> str:
    """Return the address of the published site, with a slash at its end.

    Raises
    ------
    sphinx.errors.ConfigError
        If neither is given, or if the repository is not on GitHub.

    Examples
    --------
    >>> site_address("", "https://github.com/someone/course")
    'https://someone.github.io/course/'
    """
    if baseurl:
        return baseurl.rstrip("/") + "/"
    found = re.fullmatch(r"https://github\.com/([\w.-]+)/([\w.-]+?)(?:\.git|/)?", repository)
    if found is None:
        raise ConfigError(
            f"The address of the site does not follow from the repository {repository!r}: set "
            "html: baseurl in _config.yml."
        )
    owner, name = found[1].lower(), found[2]
    return f"https://{owner}.github.io/" + (
        "" if name.lower() == f"{owner}.github.io" else f"{name}/"
    )


def set_address(app: Sphinx, config: Any) -> None:
    """Let Sphinx write canonical addresses."""
    repository = config.html_theme_options.get("repository_url", "")
    config.html_baseurl = site_address(config.html_baseurl, repository)


def shortened(text: str) -> str:
    """Return the first sentences of a text that fit, or its first words.

    Examples
    --------
    >>> shortened("One  line.")
    'One line.'
    """
    text = " ".join(text.split())
    end = 0
    for match in re.finditer(r"[.?!](?=\s|$)", text):
        if match.end() > LONGEST:
            break
        end = match.end()
    if end >= SHORTEST or end == len(text):
        return text[:end]
    return textwrap.shorten(text, LONGEST, placeholder=" ...")


def first_paragraph(doctree: nodes.document) -> str:
    """Return the text of a page's first paragraph outside boxes, without its formulas' code."""
    for paragraph in doctree.findall(nodes.paragraph):
        if isinstance(paragraph.parent, nodes.section) and paragraph.astext().strip():
            copy = paragraph.deepcopy()
            for formula in list(copy.findall(nodes.math)):
                plain = re.sub(r"\\[a-zA-Z]+|[{}$^_]", " ", formula.astext())
                formula.replace_self(nodes.Text(plain))
            return copy.astext()
    return ""


def tag(key: str, name: str, content: str) -> str:
    """Return one ``meta`` element."""
    return f'<meta {key}="{name}" content="{html.escape(content)}">'


def add_description(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any
) -> None:
    """Describe a page to search engines and to whoever previews a link to it.

    A page may describe itself in its front matter (``myst: html_meta: description``);
    otherwise its first paragraph does.
    """
    if doctree is None:
        return
    metatags = context.get("metatags") or ""
    own = [
        node["content"] for node in doctree.findall(nodes.meta) if node.get("name") == "description"
    ]
    description = own[0] if own else shortened(first_paragraph(doctree))
    if not description:
        raise ConfigError(
            f"{pagename} has no description: begin it with a paragraph, or set "
            "'myst: html_meta: description' in its front matter."
        )
    title = html.unescape(re.sub("<[^>]+>", "", str(context.get("title", ""))))
    address = app.config.html_baseurl
    found = [] if own else [tag("name", "description", description)]
    found += [
        tag("property", "og:title", title),
        tag("property", "og:type", "website"),
        tag("property", "og:site_name", app.config.html_title or app.config.project),
        tag("property", "og:description", description),
        tag("property", "og:url", f"{address}{pagename}.html"),
        tag("property", "og:image", f"{address}{CARD}"),
        tag("property", "og:image:width", str(CARD_SIZE[0])),
        tag("property", "og:image:height", str(CARD_SIZE[1])),
        tag("property", "og:image:alt", CARD_TEXT),
        tag("name", "twitter:card", "summary_large_image"),
    ]
    context["metatags"] = metatags + "\n    " + "\n    ".join(found)


def load_images_late(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any
) -> None:
    """Let a page load its pictures when they come near: the first view waits for none."""
    if "body" in context:
        context["body"] = context["body"].replace("<img ", '<img loading="lazy" ')


def plain_title(app: Sphinx, page: str) -> str:
    """Return the title of a page as text."""
    return html.escape(app.env.titles[page].astext())


def read_redirects(text: str, pages: Iterable[str]) -> dict[str, str]:
    """Read the table of old and new names of pages.

    Raises
    ------
    sphinx.errors.ConfigError
        If an old name is that of a page, or a new one is not.
    """
    table = yaml.safe_load(text) or {}
    known = set(pages)
    for old, new in table.items():
        if new not in known:
            raise ConfigError(f"redirects.yml: {old} leads to {new}, which is not a page.")
        if old in known or not re.fullmatch(r"[\w-]+(/[\w-]+)*", str(old)):
            raise ConfigError(
                f"redirects.yml: {old!r} is a page itself or no name of a page "
                "(letters, digits, - and _, folders set apart by /)."
            )
    return table


def write_stubs(app: Sphinx, exception: Exception | None) -> None:
    """Write the page for addresses that do not exist, and the redirects."""
    if exception is not None or app.builder.format != "html":
        return
    address, language = app.config.html_baseurl, app.config.language
    folder = Path(app.outdir)
    pages = list(app.env.toctree_includes.get(app.config.root_doc, []))
    listed = [app.config.root_doc, *pages]
    path = urlsplit(address).path
    items = "\n".join(
        f'<li><a href="{path}{page}.html">{plain_title(app, page)}</a></li>' for page in listed
    )
    (folder / "404.html").write_text(
        NOT_FOUND.format(
            language=language,
            title=html.escape(app.config.html_title or app.config.project),
            path=path,
            root=app.config.root_doc,
            pages=items,
        ),
        encoding="utf-8",
    )
    for old, new in read_redirects(REDIRECTS.read_text("utf-8"), app.env.found_docs).items():
        stub = folder / f"{old}.html"
        stub.parent.mkdir(parents=True, exist_ok=True)
        stub.write_text(
            REDIRECT.format(
                language=language,
                title=plain_title(app, new),
                canonical=f"{address}{new}.html",
                target="../" * old.count("/") + f"{new}.html",
            ),
            encoding="utf-8",
        )


def setup(app: Sphinx) -> dict[str, Any]:
    """Register everything."""
    app.connect("config-inited", set_address, priority=900)
    app.connect("html-page-context", add_description)
    app.connect("html-page-context", load_images_late)
    app.connect("build-finished", write_stubs)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
