"""The finished site, as a reader meets it: in a browser, with every other host blocked."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from bs4 import BeautifulSoup

import chapters as course

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
    page.wait_for_timeout(1200)  # the theme fades colors in


@pytest.fixture
def visit(browser: Any) -> Iterator[Visit]:
    started = Visit(browser)
    yield started
    started.close()


def soup(site: Path, page: str) -> BeautifulSoup:
    return BeautifulSoup((site / page).read_text("utf-8"), "html.parser")


@pytest.mark.parametrize("page", PAGES)
def test_formulas_are_typeset_and_nothing_fails(page: str, address: str, visit: Visit) -> None:
    opened = visit.open(f"{address}/{page}")
    formulas = opened.locator("span.math, div.math").count()
    assert opened.locator("mjx-container").count() >= formulas
    assert opened.locator("mjx-merror, [data-mjx-error]").count() == 0
    assert visit.problems == []


@pytest.mark.parametrize("page", CHAPTERS)
def test_the_site_works_from_a_folder(page: str, site: Path, visit: Visit) -> None:
    opened = visit.open((site / page).as_uri())
    assert opened.locator("mjx-container").count() > 0
    assert opened.locator(".Quiz .MCButton").count() > 0
    assert visit.problems == []


@pytest.mark.parametrize("page", CHAPTERS)
def test_a_slider_changes_its_picture_by_keyboard(page: str, address: str, visit: Visit) -> None:
    opened = visit.open(f"{address}/{page}")
    figure = opened.locator(".mammocourse-explore").first
    picture, text = figure.locator("img"), figure.locator("p[role=status]")
    before = picture.get_attribute("src"), text.inner_text()
    figure.locator("input").first.focus()
    opened.keyboard.press("ArrowRight")
    assert picture.get_attribute("src") != before[0]
    assert text.inner_text() != before[1]
    assert picture.get_attribute("alt") == text.inner_text()


@pytest.mark.parametrize("page", CHAPTERS)
def test_every_frame_of_every_control_is_a_picture(page: str, address: str, visit: Visit) -> None:
    opened = visit.open(f"{address}/{page}")
    sizes = opened.evaluate(
        """async () => {
          const frames = [...document.querySelectorAll('.mammocourse-explore script[type]')]
            .flatMap((script) => JSON.parse(script.textContent).sources);
          return Promise.all(frames.map((source) => new Promise((done) => {
            const image = new Image();
            image.onload = () => done(image.naturalWidth);
            image.onerror = () => done(0);
            image.src = source;
          })));
        }"""
    )
    assert len(sizes) >= 2
    assert min(sizes) > 100


@pytest.mark.parametrize("page", CHAPTERS)
def test_a_quiz_gives_feedback_by_keyboard(page: str, address: str, visit: Visit) -> None:
    opened = visit.open(f"{address}/{page}")
    question = opened.locator(".Quiz", has=opened.locator(".MCButton")).first
    feedback = question.locator(".Feedback")
    assert feedback.inner_text().strip() == ""
    question.locator("input[type=radio]").first.focus()
    opened.keyboard.press("Space")
    assert len(feedback.inner_text().strip()) > 10
    assert feedback.get_attribute("role") == "status"
    assert visit.problems == []


@pytest.mark.parametrize("page", CHAPTERS)
def test_a_solution_opens_by_keyboard(page: str, address: str, visit: Visit) -> None:
    opened = visit.open(f"{address}/{page}")
    solution = opened.locator(".solution.dropdown").first
    content = solution.locator("section, .section").first
    assert not content.is_visible()
    solution.locator("button").first.focus()
    opened.keyboard.press("Enter")
    content.wait_for(state="visible", timeout=3000)


@pytest.mark.parametrize("page", PAGES)
def test_a_phone_needs_no_sideways_scrolling(page: str, address: str, browser: Any) -> None:
    visit = Visit(browser, width=390)
    opened = visit.open(f"{address}/{page}")
    width = opened.evaluate("document.documentElement.scrollWidth")
    visit.close()
    assert width <= 390


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("page", PAGES)
def test_no_serious_accessibility_problem(
    page: str, theme: str, address: str, browser: Any
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    visit = Visit(browser, theme=theme)
    opened = visit.open(f"{address}/{page}")
    assert opened.evaluate("document.documentElement.dataset.theme") == theme
    unfold(opened)
    violations = Axe().run(opened).response["violations"]
    visit.close()
    serious = [
        f"{found['id']}: {node['html'][:200]} {node['failureSummary'][:300]}"
        for found in violations
        if found["impact"] in ("serious", "critical")
        for node in found["nodes"]
    ]
    assert serious == []


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


def test_search_finds_a_word_of_a_chapter(address: str, visit: Visit) -> None:
    opened = visit.open(f"{address}/search.html?q=likelihood")
    opened.locator("#search-results li").first.wait_for(timeout=10_000)
    assert "Logistic" in opened.locator("#search-results").inner_text()
    assert visit.problems == []


@pytest.mark.parametrize("page", CHAPTERS)
def test_every_chapter_says_what_it_is_not(page: str, site: Path) -> None:
    text = " ".join(soup(site, page).get_text(" ").lower().split())
    for words in ("medical device", "for diagnosis"):
        assert words in text, "every chapter carries the warning box of chapter 1 or 2"


def test_the_ledger_shows_every_claim(site: Path) -> None:
    from mammocourse.ledger import KINDS, claims

    page = next(page for page in PAGES if "ledger" in page)
    found = soup(site, page).select("table.mammocourse-ledger tbody tr")
    rows = {row["id"]: row for row in found}
    assert len(rows) == len(found) == len(claims())
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
