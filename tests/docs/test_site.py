"""The documentation builds as a site without a warning, loads nothing from elsewhere, no link is dead."""

import importlib.util
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote, urlsplit

import pytest

from support import REPOSITORY


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `.ci/run` builds it; a warning fails."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


@pytest.fixture(scope="module")
def hook() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "hook", REPOSITORY / "docs" / "site" / "repository_files.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Page(HTMLParser):
    """What a page loads, where it leads, and the places in it that can be led to."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(file.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = {name: value or "" for name, value in attrs}
        self.anchors |= {named[name] for name in ("id", "name") if name in named}
        if tag == "a" and "href" in named:
            self.links.append(named["href"])
        elif tag in ("script", "img", "iframe", "source", "video") and "src" in named:
            self.loaded.append(named["src"])
        elif tag == "link" and named.get("rel") not in ("prev", "next", "canonical"):
            self.loaded.append(named["href"])


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    loaded = {page: Page(page).loaded for page in site.rglob("*.html")}
    assert sum(len(urls) for urls in loaded.values()) > 100
    for page, urls in loaded.items():
        for url in urls:
            assert not urlsplit(url).netloc, f"{page.name} loads {url}"
            # 404.html is shown at any address, so it alone names things from the root.
            target = site / unquote(urlsplit(url).path).lstrip("/") if page.name == "404.html" else None
            assert (target or page.parent / unquote(urlsplit(url).path)).exists(), f"{page.name} loads {url}"
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import)\s*[\"']?(https?:)?//", sheet.read_text()), sheet.name


def test_every_link_within_the_site_leads_somewhere(site: Path) -> None:
    """Also those that MkDocs does not look at: of the navigation, and of the pages that show files."""
    pages = {page: Page(page) for page in site.rglob("*.html") if page.name != "404.html"}
    for page, read in pages.items():
        for link in read.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            assert target.is_file(), f"{page.relative_to(site)} leads to {link}"
            if parts.fragment and target in pages:
                assert unquote(parts.fragment) in pages[target].anchors, f"{page.relative_to(site)}: {link}"


def test_files_of_the_repository_are_shown(site: Path) -> None:
    assert "All parameters that change a result, and nothing else" in (
        site / "repository" / "params.yaml.html"
    ).read_text().replace("</span>", "")
    assert 'href="repository/params.yaml.html"' in (site / "parameters.html").read_text()
    assert 'src="../images/loss-cost.svg"' in (site / "benchmarks" / "index.html").read_text()


def dead_links(markdown: str, here: str, hook: ModuleType) -> list[str]:
    """Links of a text at `here` that lead to no file of the repository, or to no heading of it."""
    dead = []
    for found in hook.CODE_OR_LINK.finditer(markdown):
        parts = urlsplit(found["target"] or "")
        if not found["target"] or parts.scheme:
            continue
        path = hook.path_led_to(found["target"], here) if parts.path else here
        text = markdown if path == here else path and (REPOSITORY / path)
        if text is None or (parts.fragment and parts.fragment not in headings(text)):
            dead.append(found["target"])
    return dead


def headings(text: str | Path) -> set[str]:
    """By the names that Git hosts give them."""
    lines = (text if isinstance(text, str) else text.read_text()).splitlines()
    titles = [line.lstrip("#").strip().lower() for line in lines if re.match(r"#+ ", line)]
    return {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in titles}


@pytest.mark.parametrize(
    "text",
    [
        "README.md",
        "benchmarks/README.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "SECURITY.md",
        *(str(path.relative_to(REPOSITORY)) for path in sorted((REPOSITORY / "docs").rglob("*.md"))),
    ],
)
def test_links_lead_somewhere_on_a_git_host(text: str, hook: ModuleType) -> None:
    assert dead_links((REPOSITORY / text).read_text(), text, hook) == []


def test_dead_links_are_seen(hook: ModuleType) -> None:
    text = (
        "# One: two\n[a](#one-two) [b](#three) [c](docs/devices.md#several-machines) [d](docs/devices.md#x) "
        "[e](docs/nothing.md) [f](../x.md) `[g](code.md)` [h](https://example.org/x) [i](studies)"
    )
    assert dead_links(text, "README.md", hook) == [
        "#three",
        "docs/devices.md#x",
        "docs/nothing.md",
        "../x.md",
    ]


@pytest.mark.parametrize(
    ("link", "here", "path"),
    [
        ("../params.yaml", "docs/parameters.md", "params.yaml"),
        ("../studies", "docs/objectives.md", "studies"),
        ("../recipes/", "docs/site/x.md", "docs/recipes/README.md"),
        ("../benchmarks/README.md#loss", "docs/index.md", "benchmarks/README.md"),
        ("../docs/images/loss-cost.svg", "benchmarks/README.md", "docs/images/loss-cost.svg"),
        ("../no-such-file", "docs/index.md", None),
        ("../../outside.md", "docs/index.md", None),
        ("https://example.org/params.yaml", "docs/index.md", None),
        ("#anchor", "docs/index.md", None),
        ("/params.yaml", "docs/index.md", None),
    ],
)
def test_where_links_lead(hook: ModuleType, link: str, here: str, path: str | None) -> None:
    assert hook.path_led_to(link, here) == path


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("docs/devices.md", "devices.md"),
        ("docs/images/report.png", "images/report.png"),
        ("docs/recipes/cub200.yaml", "repository/docs/recipes/cub200.yaml.md"),
        ("README.md", "index.md"),
        ("benchmarks/README.md", "benchmarks/README.md"),
        ("pipeline/storage/schema.py", "repository/pipeline/storage/schema.py.md"),
    ],
)
def test_places_in_the_site(hook: ModuleType, path: str, place: str) -> None:
    assert hook.place_of(path) == place
    if path != "README.md":  # of which the site has another form
        assert hook.path_of(place) == path


def test_links_in_code_are_none(hook: ModuleType) -> None:
    code = "`[a](../params.yaml)`\n\n```text\n[a](../params.yaml)\n```\n\n``x ` [a](../params.yaml)``"
    text = f"{code} [b](../dvc.yaml) {code}\n"
    assert list(hook.linked(text, "docs/index.md")) == ["dvc.yaml"]


def test_a_file_is_shown_between_fences_that_it_can_not_close(hook: ModuleType) -> None:
    shown = hook.shown_as_page("docs/devices.md")
    assert shown.startswith("# `docs/devices.md`\n\n````text\n")
    assert shown.endswith("\n````\n")
