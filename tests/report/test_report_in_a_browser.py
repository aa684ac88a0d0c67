"""The page in a real browser without a network: nothing leaves it, nothing fails, everybody can use it.

Needs Chromium: `apt-get install chromium`, or CLINFONCE_CHROMIUM names another one.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, Protocol

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Dialog, Page, Playwright, sync_playwright

from report.fake_data import VARIANTS, XSS, FakeData, built

CHROMIUM = os.environ.get("CLINFONCE_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")

Scheme = Literal["light", "dark"]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: `apt-get install chromium`"),
    # Of Playwright's own event loop, which is collected after the test that ran it.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="module")
def browser(playwright: Playwright) -> Iterator[Browser]:
    with playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"]) as started:
        yield started


class Visit:
    """A page that was opened, and all that it asked for or complained of."""

    def __init__(self, context: BrowserContext, file: Path) -> None:
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page: Page = context.new_page()
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", self._dismiss)
        self.address = file.resolve().as_uri()
        self.page.goto(self.address)

    def _dismiss(self, dialog: Dialog) -> None:
        self.complaints.append(dialog.message)
        dialog.dismiss()

    def asked_elsewhere(self) -> list[str]:
        return [url for url in self.requests if url != self.address and not url.startswith("data:")]


class Open(Protocol):
    def __call__(self, variant: str = ..., width: int = ..., scheme: Scheme = ...) -> Visit: ...


@pytest.fixture
def visit(browser: Browser, tmp_path: Path) -> Iterator[Open]:
    contexts: list[BrowserContext] = []

    def open_(variant: str = "three arms", width: int = 1280, scheme: Scheme = "light") -> Visit:
        layout = built(VARIANTS[variant], tmp_path / variant.replace(" ", "-"))
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True
        )
        contexts.append(context)
        return Visit(context, layout.report / "report.html")

    yield open_
    for context in contexts:
        context.close()


@pytest.mark.parametrize("variant", VARIANTS)
def test_no_request_leaves_the_page_and_nothing_fails(visit: Open, variant: str) -> None:
    visited = visit(variant)
    for radio in visited.page.get_by_role("radio").all():
        radio.check()
    for button in visited.page.get_by_role("button").all():
        button.click()
    assert visited.asked_elsewhere() == []
    assert visited.complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_axe_finds_nothing_and_nothing_overflows(visit: Open, width: int, scheme: Scheme) -> None:
    visited = visit(width=width, scheme=scheme)
    found = Axe().run(visited.page).response["violations"]
    output = [(violation["id"], violation["nodes"][0]["html"]) for violation in found]
    assert output == []
    wide = visited.page.evaluate("document.documentElement.scrollWidth")
    assert wide <= width, "the page scrolls downwards alone"


def test_axe_would_find_something(visit: Open) -> None:
    visited = visit()
    visited.page.evaluate("document.querySelector('.thumbs').append(document.createElement('img'))")
    found = Axe().run(visited.page).response["violations"]
    assert "image-alt" in {violation["id"] for violation in found}


def test_tables_are_sorted_by_their_headers(visit: Open) -> None:
    page = visit("many classes").page
    table = page.locator("table.sortable").first
    button = table.get_by_role("button", name="Test images")

    def figures() -> list[int]:
        return [int(text) for text in table.locator("tbody tr td:nth-child(2)").all_inner_texts()]

    before = figures()
    button.click()
    assert figures() == sorted(before, reverse=True)
    button.focus()
    page.keyboard.press("Enter")
    assert figures() == sorted(before)
    assert table.get_by_role("columnheader", name="Test images").get_attribute("aria-sort") == "ascending"


def test_pointing_at_the_map_shows_the_image(visit: Open) -> None:
    page = visit().page
    plane, point = page.locator(".plane").first, page.locator(".plane circle").nth(30)
    tip = plane.get_by_role("status")
    assert not tip.is_visible()
    point.hover()
    image = page.evaluate("JSON.parse(document.getElementById('mapped').textContent)")[
        int(str(point.get_attribute("data-image")))
    ]
    assert tip.inner_text() == f"{image['label']}, cluster {image['cluster']}"
    assert tip.locator("img").get_attribute("src") == image["thumbnail"]
    assert tip.locator("img").evaluate("image => image.naturalWidth") > 0
    page.mouse.move(0, 0)
    assert not tip.is_visible()


def test_arrow_keys_lead_through_the_map(visit: Open) -> None:
    page = visit().page
    plane = page.locator(".plane").first
    plane.focus()
    assert plane.get_by_role("status").is_visible()

    def place() -> tuple[float, float]:
        shown = plane.locator("circle.shown")
        return float(str(shown.get_attribute("cx"))), float(str(shown.get_attribute("cy")))

    page.keyboard.press("ArrowRight")
    x, y = place()
    # The images lie on a line from the lower left to the upper right.
    page.keyboard.press("ArrowRight")
    assert place()[0] > x
    page.keyboard.press("ArrowDown")
    assert place() == (x, y)
    page.keyboard.press("Escape")
    assert not plane.get_by_role("status").is_visible()


def test_colours_follow_labels_or_clusters(visit: Open) -> None:
    page = visit().page
    circle = page.locator(".plane circle").nth(17)
    assert circle.get_attribute("class") == f"g{circle.get_attribute('data-label')}"
    assert page.locator(".legend:visible").first.inner_text().startswith("boot")
    page.get_by_role("radio", name="clusters of the chosen arm").check()
    assert circle.get_attribute("class") == f"g{circle.get_attribute('data-cluster')}"
    assert page.locator(".legend:visible").first.inner_text().startswith("cluster")


def test_without_labels_colours_are_the_clusters(visit: Open) -> None:
    page = visit("no labels").page
    circle = page.locator(".plane circle").nth(17)
    assert circle.get_attribute("class") == f"g{circle.get_attribute('data-cluster')}" != "g0"
    assert page.get_by_role("radio").count() == 0, "there is nothing to choose"
    assert page.locator(".legend:visible").inner_text().startswith("cluster")


def test_strangers_strings_stay_text(visit: Open) -> None:
    """A label `<img src=x onerror=…>` and one `</script>`, where they are shown, pointed at and sorted."""
    visited = visit("strangers' strings")
    page = visited.page
    for point in page.locator(".plane").first.locator("circle").all()[-12:]:
        point.dispatch_event("pointerover")
    for button in page.get_by_role("button").all():
        button.click()
    assert page.locator("img[src=x]").count() == 0
    assert page.locator("script").count() == 2
    assert page.get_by_text(XSS, exact=True).count() > 0
    assert page.get_by_text("</script>", exact=True).count() > 0
    assert visited.complaints == []


def test_without_scripts_everything_is_there(browser: Browser, tmp_path: Path) -> None:
    layout = built(FakeData(), tmp_path)
    with browser.new_context(java_script_enabled=False, offline=True) as context:
        page = context.new_page()
        page.goto((layout.report / "report.html").resolve().as_uri())
        assert page.locator(".plane circle").count() == 120
        assert page.get_by_role("radio").count() == 0, "what would do nothing is not shown"
        assert page.locator(".legend:visible").count() == 1


@pytest.mark.parametrize(
    "name", ["a class whose name a merchandiser wrote at length", "of_one_long_word_" * 3]
)
def test_long_class_names_leave_room_for_the_bars(browser: Browser, tmp_path: Path, name: str) -> None:
    layout = built(FakeData(labels=[f"{name} {number}" for number in range(6)]), tmp_path)
    with browser.new_context(viewport={"width": 1280, "height": 900}, offline=True) as context:
        page = context.new_page()
        page.goto((layout.report / "report.html").resolve().as_uri())
        bars = page.locator(".bar").all()
        assert bars
        right = "element => element.getBoundingClientRect().right"
        for bar in bars:
            region = bar.locator("xpath=ancestor::div[@role='region']")
            assert bar.evaluate(right) <= region.evaluate(right)


def test_the_landscape_names_few_points_and_tells_all(browser: Browser, tmp_path: Path) -> None:
    layout = built(FakeData(landscape=True, columns=312), tmp_path)
    with browser.new_context(viewport={"width": 1280, "height": 900}, offline=True) as context:
        page = context.new_page()
        page.goto((layout.report / "report.html").resolve().as_uri())
        chart = page.locator("svg[aria-labelledby^=landscape]")
        frame = chart.bounding_box()
        assert frame is not None
        written = chart.locator("text").all()
        assert len(written) < 40, "names and the axes' numbers"
        for text in written:
            box = text.bounding_box()
            assert box is not None
            assert frame["y"] - 2 <= box["y"]
            assert box["y"] + box["height"] <= frame["y"] + frame["height"] + 2
        tooltips = chart.locator("use > title").all_text_contents()
        assert len(tooltips) == 312 + 6
        assert any(text.startswith("column number 200: I(Z;T) ") for text in tooltips)
        table = page.get_by_role("region", name="All 318 clusterings that could be chosen")
        assert table.locator("tbody tr").count() == 318


def test_it_prints_whole(visit: Open) -> None:
    page = visit("many classes").page
    page.emulate_media(media="print")
    assert not page.get_by_role("navigation").is_visible()
    box = page.locator(".scroll.tall").first
    assert box.evaluate("e => getComputedStyle(e).maxHeight") == "none"
    assert box.evaluate("e => e.scrollHeight - e.clientHeight") <= 1
    assert len(page.pdf()) > 10_000
