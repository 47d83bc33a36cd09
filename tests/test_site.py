"""The finished site, as a reader meets it: in a browser, with every other host blocked."""

from __future__ import annotations

import functools
import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from bs4 import BeautifulSoup
from PIL import Image

import chapters as course
import ledger_table

TOC = yaml.safe_load((course.ROOT / "_toc.yml").read_text("utf-8"))
PAGES = [f"{TOC['root']}.html"] + [
    f"{chapter['file']}.html" for part in TOC["parts"] for chapter in part["chapters"]
]
CHAPTERS = [f"book/{item.name}.html" for item in course.chapters()]


class Visit:
    """A page in the browser that notes everything that goes wrong."""

    def __init__(self, browser: Any, theme: str = "light", width: int = 1280) -> None:
        self.context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=theme
        )
        self.page = self.context.new_page()
        self.problems: list[str] = []
        self.context.route("**/*", self._only_the_site)
        self.page.on("pageerror", lambda error: self.problems.append(f"script: {error}"))
        self.page.on("console", self._console)
        self.page.on("response", self._response)

    def _only_the_site(self, route: Any) -> None:
        parts = urlsplit(route.request.url)
        if parts.scheme in ("file", "data", "blob") or parts.hostname == "127.0.0.1":
            route.continue_()
        else:
            self.problems.append(f"another host: {route.request.url}")
            route.abort()

    def _console(self, message: Any) -> None:
        if message.type == "error":
            self.problems.append(f"console: {message.text}")

    def _response(self, response: Any) -> None:
        if response.status >= 400:
            self.problems.append(f"{response.status}: {response.url}")

    def open(self, url: str) -> Any:
        self.page.goto(url)
        self.page.evaluate(
            "async () => { if (window.MathJax && MathJax.startup) await MathJax.startup.promise }"
        )
        return self.page

    def close(self) -> None:
        self.context.close()


def unfold(page: Any) -> None:
    """Show what a page hides at first: solutions, folded code, the feedback of quizzes."""
    page.evaluate(
        """() => {
          document.querySelectorAll('details').forEach((item) => { item.open = true; });
          document.querySelectorAll('.solution.dropdown button').forEach((item) => item.click());
          document.querySelectorAll('.Quiz').forEach((quiz) => {
            const answer = quiz.querySelector('.MCButton input');
            if (answer) answer.click();
          });
        }"""
    )
    page.wait_for_timeout(1000)  # the theme measures anew what was folded


@pytest.fixture
def visit(browser: Any) -> Iterator[Visit]:
    started = Visit(browser)
    yield started
    started.close()


def soup(site: Path, page: str) -> BeautifulSoup:
    return BeautifulSoup((site / page).read_text("utf-8"), "html.parser")


# --- one load of each page; the tests below ask what was seen

STILL = """*, *::before, *::after { transition: none !important;
  animation-delay: 0s !important; animation-duration: 0s !important; }"""
COLOR_RULES = {"runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}}
PAPER = 658  # pixels of CSS between the margins of A4
TEXT = {".html", ".css", ".js", ".svg", ".json"}
LIMIT = 1_500_000  # bytes that a page may transfer, besides the scripts that all pages share
FRAMES = """async () => {
  const frames = [...document.querySelectorAll('.mammocourse-explore script[type]')]
    .flatMap((script) => JSON.parse(script.textContent).sources);
  return Promise.all(frames.map((source) => new Promise((done) => {
    const image = new Image();
    image.onload = () => done(image.naturalWidth);
    image.onerror = () => done(0);
    image.src = source;
  })));
}"""
TOO_WIDE = """(limit) => [...document.querySelectorAll(
    '.bd-article img, .bd-article table, .bd-article pre, .bd-article .mammocourse-explore')]
  .filter((item) => item.getClientRects().length && item.getBoundingClientRect().right > limit + 2)
  .map((item) => item.outerHTML.slice(0, 150))"""
NAVIGATION = """() => [...document.querySelectorAll(
    '.bd-sidebar-primary, .bd-sidebar-secondary, .bd-header-article, .prev-next-footer,'
    + '.headerlink, .copybtn, .mammocourse-control input, #pst-back-to-top')]
  .filter((item) => item.getClientRects().length).map((item) => item.outerHTML.slice(0, 150))"""


@functools.cache
def size(file: Path) -> int:
    """Return the bytes that a server sends for a file: GitHub Pages compresses text."""
    content = file.read_bytes()
    return len(gzip.compress(content, 6)) if file.suffix in TEXT else len(content)


def serious(violations: list[dict[str, Any]]) -> list[str]:
    return [
        f"{found['id']}: {node['html'][:200]} {node['failureSummary'][:300]}"
        for found in violations
        if found["impact"] in ("serious", "critical")
        for node in found["nodes"]
    ]


def use_slider(opened: Any) -> dict[str, Any]:
    figure = opened.locator(".mammocourse-explore").first
    picture, text = figure.locator("img"), figure.locator("p[role=status]")
    before = picture.get_attribute("src"), text.inner_text()
    figure.locator("input").first.focus()
    opened.keyboard.press("ArrowRight")
    after = picture.get_attribute("src"), text.inner_text()
    return {"before": before, "after": after, "alt": picture.get_attribute("alt")}


def answer_quiz(opened: Any) -> dict[str, Any]:
    question = opened.locator(".Quiz", has=opened.locator(".MCButton")).first
    feedback = question.locator(".Feedback")
    before = feedback.inner_text().strip()
    question.locator("input[type=radio]").first.focus()
    opened.keyboard.press("Space")
    after = feedback.inner_text().strip()
    return {"before": before, "after": after, "role": feedback.get_attribute("role")}


def open_solution(opened: Any) -> tuple[bool, bool]:
    solution = opened.locator(".solution.dropdown").first
    content = solution.locator("section, .section").first
    before = content.is_visible()
    solution.locator("button").first.focus()
    opened.keyboard.press("Enter")
    content.wait_for(state="visible", timeout=10_000)
    return before, content.is_visible()


def look(visit: Visit, url: str, site: Path, chapter: bool) -> dict[str, Any]:
    """Load a page once, do with it what a reader does, and return what was seen."""
    from axe_playwright_python.sync_playwright import Axe

    files: set[Path] = set()
    visit.page.on("response", lambda answer: files.add(site / urlsplit(answer.url).path[1:]))
    opened = visit.open(url)
    seen: dict[str, Any] = {
        "formulas": opened.locator("span.math, div.math").count(),
        "typeset": opened.locator("mjx-container").count(),
        "errors": opened.locator("mjx-merror, [data-mjx-error]").count(),
        "bytes": sum(size(file) for file in files if file.is_file() and file.suffix != ".js"),
        "light": opened.evaluate("document.documentElement.dataset.theme"),
    }
    opened.keyboard.press("Tab")
    seen["first stop"] = opened.evaluate("document.activeElement.getAttribute('href')")
    opened.add_style_tag(content=STILL)
    if chapter:
        seen["frames"] = opened.evaluate(FRAMES)
        seen["slider"] = use_slider(opened)
        seen["quiz"] = answer_quiz(opened)
        seen["solution"] = open_solution(opened)
    unfold(opened)
    seen["problems"] = list(visit.problems)  # axe asks for style sheets under wrong addresses
    seen["axe light"] = serious(Axe().run(opened).response["violations"])
    opened.emulate_media(color_scheme="dark")
    opened.wait_for_function("document.documentElement.dataset.theme === 'dark'", timeout=10_000)
    opened.wait_for_timeout(200)
    seen["dark"] = opened.evaluate("document.documentElement.dataset.theme")
    seen["axe dark"] = serious(Axe().run(opened, options=COLOR_RULES).response["violations"])
    opened.emulate_media(color_scheme="light")
    opened.set_viewport_size({"width": 390, "height": 900})
    seen["phone"] = opened.evaluate("document.documentElement.scrollWidth")
    opened.set_viewport_size({"width": PAPER, "height": 990})
    opened.emulate_media(media="print")
    seen["cut"] = opened.evaluate(TOO_WIDE, PAPER)
    seen["navigation"] = opened.evaluate(NAVIGATION)
    return seen


@pytest.fixture(scope="module")
def looks(address: str, site: Path, browser: Any) -> Any:
    """Return what was seen on a page; each page is loaded once."""

    @functools.cache
    def first(page: str) -> dict[str, Any] | Exception:
        visit = Visit(browser)
        try:
            return look(visit, f"{address}/{page}", site, page in CHAPTERS)
        except Exception as error:  # once is enough: each test of the page fails by it
            return error
        finally:
            visit.close()

    def seen(page: str) -> dict[str, Any]:
        found = first(page)
        if isinstance(found, Exception):
            raise found
        return found

    return seen


@pytest.mark.parametrize("page", PAGES)
def test_formulas_are_typeset_and_nothing_fails(page: str, looks: Any) -> None:
    seen = looks(page)
    assert seen["typeset"] >= seen["formulas"]
    assert seen["errors"] == 0
    assert seen["problems"] == []


@pytest.mark.parametrize("page", PAGES)
def test_a_page_loads_fast(page: str, looks: Any) -> None:
    assert 0 < looks(page)["bytes"] < LIMIT


@pytest.mark.parametrize("page", PAGES)
def test_the_first_stop_of_the_keyboard_skips_the_navigation(page: str, looks: Any) -> None:
    assert looks(page)["first stop"] == "#main-content"


@pytest.mark.parametrize("page", CHAPTERS)
def test_the_site_works_from_a_folder(page: str, site: Path, visit: Visit) -> None:
    opened = visit.open((site / page).as_uri())
    assert opened.locator("mjx-container").count() > 0
    assert opened.locator(".Quiz .MCButton").count() > 0
    assert visit.problems == []


@pytest.mark.parametrize("page", CHAPTERS)
def test_a_slider_changes_its_picture_by_keyboard(page: str, looks: Any) -> None:
    seen = looks(page)["slider"]
    assert seen["after"][0] != seen["before"][0]
    assert seen["after"][1] != seen["before"][1]
    assert seen["alt"] == seen["after"][1]


@pytest.mark.parametrize("page", CHAPTERS)
def test_every_frame_of_every_control_is_a_picture(page: str, looks: Any) -> None:
    sizes = looks(page)["frames"]
    assert len(sizes) >= 2
    assert min(sizes) > 100


@pytest.mark.parametrize("page", CHAPTERS)
def test_a_quiz_gives_feedback_by_keyboard(page: str, looks: Any) -> None:
    seen = looks(page)["quiz"]
    assert seen["before"] == ""
    assert len(seen["after"]) > 10
    assert seen["role"] == "status"


@pytest.mark.parametrize("page", CHAPTERS)
def test_a_solution_opens_by_keyboard(page: str, looks: Any) -> None:
    assert looks(page)["solution"] == (False, True)


@pytest.mark.parametrize("page", PAGES)
def test_a_phone_needs_no_sideways_scrolling(page: str, looks: Any) -> None:
    assert looks(page)["phone"] <= 390


@pytest.mark.parametrize("page", PAGES)
def test_paper_shows_the_text_alone_and_cuts_nothing(page: str, looks: Any) -> None:
    assert looks(page)["cut"] == []
    assert looks(page)["navigation"] == []


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("page", PAGES)
def test_no_serious_accessibility_problem(page: str, theme: str, looks: Any) -> None:
    seen = looks(page)
    assert seen[theme] == theme
    assert seen[f"axe {theme}"] == []


def test_the_menus_open_and_the_search_answers_by_keyboard(address: str, visit: Visit) -> None:
    opened = visit.open(f"{address}/{CHAPTERS[0]}")
    menu = opened.locator(".dropdown-launch-buttons")
    menu.locator("button").first.focus()
    opened.keyboard.press("Enter")
    menu.locator("a").first.wait_for(state="visible", timeout=10_000)
    opened.keyboard.press("Escape")
    opened.keyboard.press("Control+k")
    opened.keyboard.type("likelihood")
    opened.keyboard.press("Enter")
    opened.locator("#search-results li").first.wait_for(timeout=10_000)
    assert "Logistic" in opened.locator("#search-results").inner_text()
    assert visit.problems == []


# --- what the pages say of themselves


def head(site: Path, page: str) -> dict[str, str]:
    found = soup(site, page).select("head meta[content]")
    return {item.get("name") or item.get("property") or "": item["content"] for item in found}


def test_every_page_has_a_description_of_its_own(site: Path) -> None:
    described = {page: head(site, page)["description"] for page in PAGES}
    for page, text in described.items():
        assert 40 <= len(text) <= 300, f"{page}: {text}"
        assert head(site, page)["og:description"] == text
    assert len(set(described.values())) == len(PAGES)


def test_addresses_follow_from_the_settings(site: Path) -> None:
    config = yaml.safe_load((course.ROOT / "_config.yml").read_text("utf-8"))
    owner, name = config["repository"]["url"].split("/")[-2:]
    address = config["html"].get("baseurl") or f"https://{owner}.github.io/{name}"
    for page in PAGES:
        assert soup(site, page).select_one('link[rel="canonical"]')["href"] == f"{address}/{page}"
        assert head(site, page)["og:url"] == f"{address}/{page}"
    card = head(site, PAGES[0])["og:image"].removeprefix(f"{address}/")
    with Image.open(site / card) as picture:
        width, height = picture.size
    assert head(site, PAGES[0])["og:image:width"] == str(width) == "1200"
    assert head(site, PAGES[0])["og:image:height"] == str(height)


def test_the_search_knows_the_language(site: Path) -> None:
    config = yaml.safe_load((course.ROOT / "_config.yml").read_text("utf-8"))
    language = config["sphinx"]["config"]["language"]
    assert soup(site, PAGES[0]).html["lang"] == language == "en"
    options = (site / "_static/documentation_options.js").read_text("utf-8")
    assert f"LANGUAGE: '{language}'" in options
    assert '"the"' in (site / "_static/language_data.js").read_text("utf-8")  # English stop words


def test_redirects_lead_to_pages(site: Path) -> None:
    table = yaml.safe_load((course.ROOT / "book/_ext/redirects.yml").read_text("utf-8"))
    for old, new in {**table, "index": PAGES[0].removesuffix(".html")}.items():
        refresh = soup(site, f"{old}.html").select_one("meta[http-equiv]")["content"]
        target = (site / f"{old}.html").parent / refresh.split("url=")[1].strip("\"'")
        assert target.resolve() == (site / f"{new}.html").resolve()


def test_the_page_for_missing_pages_works_at_any_depth(site: Path, visit: Visit) -> None:
    from axe_playwright_python.sync_playwright import Axe

    link = soup(site, PAGES[0]).select_one('link[rel="canonical"]')["href"]
    prefix = urlsplit(link.removesuffix(PAGES[0])).path
    page = soup(site, "404.html")
    urls = [item.get("href") or item.get("action") for item in page.select("a, form")]
    assert len(urls) >= len(PAGES)
    for url in urls:
        assert url.startswith(prefix), "an address relative to the page fails at other depths"
        assert (site / url.removeprefix(prefix)).is_file()
    assert page.select("[src], link") == []
    visit.page.set_content(str(page))
    assert serious(Axe().run(visit.page).response["violations"]) == []
    assert visit.problems == []


@pytest.mark.parametrize("page", PAGES)
def test_every_image_says_what_is_seen(page: str, site: Path) -> None:
    for image in soup(site, page).find_all("img"):
        if image.get("role") == "presentation":
            continue
        text = image.get("alt", "")
        assert len(text) >= 20 or "logo" in image.get("class", []), str(image)[:300]
        assert not re.search(r"_build|/|\.(png|svg|webp)$", text), text


@pytest.mark.parametrize("page", PAGES)
def test_no_link_is_dead(page: str, site: Path) -> None:
    for link in soup(site, page).find_all(["a", "link", "script", "img"]):
        url = link.get("href") or link.get("src") or ""
        parts = urlsplit(url)
        if parts.scheme or not url:
            continue
        target = (site / page).parent / unquote(parts.path) if parts.path else site / page
        assert target.exists(), f"{url} in {page}"
        if parts.fragment and target.suffix == ".html":
            text = target.read_text("utf-8")
            assert f'id="{unquote(parts.fragment)}"' in text or f'name="{parts.fragment}"' in text


@pytest.mark.parametrize("page", CHAPTERS)
def test_launch_buttons_name_files_that_exist(page: str, site: Path) -> None:
    config = yaml.safe_load((course.ROOT / "_config.yml").read_text("utf-8"))
    repository = config["repository"]["url"].removeprefix("https://github.com/")
    links = [a["href"] for a in soup(site, page).select(".dropdown-launch-buttons a")]
    colab = next(link for link in links if "colab" in link)
    prefix = f"https://colab.research.google.com/github/{repository}/blob/main/"
    assert colab.startswith(prefix)
    assert (course.ROOT / colab.removeprefix(prefix)).is_file()
    binder = next(link for link in links if "mybinder" in link)
    assert f"/v2/gh/{repository}/main?urlpath=lab/tree/" in binder
    assert (course.ROOT / binder.split("lab/tree/")[1]).is_file()
    download = next(link for link in links if not link.startswith("http"))
    file = (site / page).parent / download
    assert json.loads(file.read_text("utf-8"))["nbformat"] == 4


@pytest.mark.parametrize("page", CHAPTERS)
def test_every_chapter_says_what_it_is_not(page: str, site: Path) -> None:
    text = " ".join(soup(site, page).get_text(" ").lower().split())
    for words in ("medical device", "for diagnosis"):
        assert words in text, "every chapter carries the warning box of chapter 1 or 2"


@pytest.mark.parametrize("page", CHAPTERS)
def test_the_prose_quotes_no_missing_value(site: Path, page: str) -> None:
    quoted = soup(site, page).select("span.pasted-text")
    missing = [span.parent.get_text() for span in quoted if "nan" in span.get_text().lower()]
    assert not missing, f"make full CHAPTER={page[5:7]} first: {missing}"


def test_the_ledger_shows_every_claim(site: Path) -> None:
    from mammocourse.ledger import KINDS, claims

    page = next(page for page in PAGES if "ledger" in page)
    found = soup(site, page).select("table.mammocourse-ledger tbody tr")
    rows = {row["id"]: row for row in found}
    assert len(rows) == len(found) == len(claims())
    errors = {row.claim.id: row.error for row in ledger_table.rows()}
    for claim in claims().values():
        row = rows[f"claim-{claim.id.lower().replace('.', '-')}"]
        verdict = row.select_one("td.ledger-verdict strong").get_text().lower()
        hint = f"record it; if it is of full scale, run make full CHAPTER={claim.chapter}"
        assert verdict in KINDS, verdict
        assert verdict != "not recomputed", f"{claim.id}: {hint}"
        link = row.select_one("td.ledger-recomputed a")
        by_hand = verdict in ("needs real data", "cannot be recomputed")
        if not by_hand:
            assert "#record-" in link["href"] or "derived_claims" in link["href"], claim.id
        row_error = errors[claim.id] and f"standard error {errors[claim.id]}"
        assert row_error in row.select_one("td.ledger-recomputed").get_text(), claim.id
        assert by_hand == row.select_one("td.ledger-recomputed").get_text().strip().startswith("–")
        assert len(row.select_one("td.ledger-why").get_text()) > 5, claim.id


def test_the_ledger_counts_what_it_shows(site: Path) -> None:
    page = soup(site, next(page for page in PAGES if "ledger" in page))
    counts: dict[str, int] = {}
    for row in page.select("table.mammocourse-ledger-summary tbody tr"):
        name, _, *numbers = [cell.get_text().strip() for cell in row.find_all("td")]
        counts[name] = sum(int(number.replace(",", "")) for number in numbers)
    shown = [cell.get_text().lower() for cell in page.select("td.ledger-verdict strong")]
    assert counts.pop("all") == len(shown)
    assert counts == {name: shown.count(name) for name in set(shown)}


def test_a_link_of_the_ledger_leads_to_a_cell_with_code(site: Path) -> None:
    page = next(page for page in PAGES if "ledger" in page)
    links = {
        link["href"] for link in soup(site, page).select("td.ledger-recomputed a[href*=record-]")
    }
    assert len(links) > 50
    pages = {name: soup(site, f"book/{name}") for name in {link.split("#")[0] for link in links}}
    for link in links:
        name, _, anchor = link.partition("#")
        cell = pages[name].find(id=anchor)
        assert "cell" in cell["class"], link
        assert "record(" in cell.select_one(".cell_input").get_text(), link
