"""A MkDocs hook: links to files of the repository outside of docs/ lead somewhere in the site, too.

On a Git host `[params.yaml](../params.yaml)` leads to the file. The site holds docs/ alone and knows no host,
so each file that a page links to becomes a page that shows it, and a folder one that lists what is in it. A
link that leads nowhere is left as it is: MkDocs tells of it.
"""

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

REPOSITORY = Path(__file__).resolve().parents[2]

PLACES = {
    "README.md": "index.md",
    "benchmarks/README.md": "benchmarks/README.md",
    "CONTRIBUTING.md": "development.md",
    "CHANGELOG.md": "changelog.md",
}
"""Texts outside of docs/ that have their own page in the site, by their path in the repository."""
ADDED = ["benchmarks/README.md", "CONTRIBUTING.md", "CHANGELOG.md"]
"""Those of them that docs/ does not hold in another form."""

LANGUAGES = {
    ".py": "python",
    ".yaml": "yaml",
    ".yml": "yaml",
    ".toml": "toml",
    ".json": "json",
    ".sh": "bash",
}
"""How files that become pages are coloured; in docs/ these alone do."""

# Code is passed over: what looks like a link in it is none.
CODE_OR_LINK = re.compile(
    r"^(?P<fence>```+).*?^(?P=fence)`*[ ]*$"
    r"|(?<!`)(?P<ticks>`+)(?!`).+?(?<!`)(?P=ticks)(?!`)"
    r"|\]\((?P<target>[^()\s]+)\)",
    re.DOTALL | re.MULTILINE,
)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the texts of `ADDED`, and a page for each file or folder that a page links to, directly or not."""
    for path in ADDED:
        files.append(File.generated(config, PLACES[path], abs_src_path=str(REPOSITORY / path)))
    waiting = list(files.documentation_pages())
    while waiting:
        page = waiting.pop()
        for path in linked(page.content_string, path_of(page.src_uri)):
            if place_of(path) not in files.src_uris and place_of(path).startswith("repository/"):
                shown = File.generated(
                    config, place_of(path), content=shown_as_page(path), inclusion=InclusionLevel.NOT_IN_NAV
                )
                files.append(shown)
                waiting.append(shown)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Each link that leads to something in the repository leads to its place in the site."""
    here = page.file.src_uri

    def led(found: re.Match[str]) -> str:
        path = found["target"] and path_led_to(found["target"], path_of(here))
        if not path:
            return found[0]
        anchor = urlsplit(found["target"]).fragment
        place = posixpath.relpath(place_of(path), posixpath.dirname(here) or ".")
        return f"]({quote(place)}{anchor and '#' + anchor})"

    return CODE_OR_LINK.sub(led, markdown)


def linked(markdown: str, here: str) -> Iterator[str]:
    """Paths of the repository to which the page at `here` links."""
    for found in CODE_OR_LINK.finditer(markdown):
        if found["target"] and (path := path_led_to(found["target"], here)):
            yield path


def path_led_to(link: str, here: str) -> str | None:
    """The existing file or folder of the repository to which `link` leads from the file `here`."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc or not parts.path or parts.path.startswith("/"):
        return None
    path = posixpath.normpath(posixpath.join(posixpath.dirname(here), unquote(parts.path)))
    if path.startswith("..") or not (REPOSITORY / path).exists():
        return None
    return f"{path}/README.md" if (REPOSITORY / path / "README.md").exists() else path


def place_of(path: str) -> str:
    """Where the site has what lies at `path` of the repository."""
    if path in PLACES:
        return PLACES[path]
    if path.startswith("docs/") and Path(path).suffix not in LANGUAGES and (REPOSITORY / path).is_file():
        return path.removeprefix("docs/")
    return f"repository/{path}.md"


def path_of(place: str) -> str:
    """Where in the repository the source of the page at `place` lies; links in it are relative to that."""
    of_places = {place: path for path, place in PLACES.items() if path in ADDED}
    if place.startswith("repository/"):
        return place.removeprefix("repository/").removesuffix(".md")
    return of_places.get(place, f"docs/{place}")


def shown_as_page(path: str) -> str:
    """A file between fences, or a list of what lies in a folder."""
    source = REPOSITORY / path
    if source.is_dir():
        names = sorted(f.name for f in source.iterdir() if not f.name.startswith((".", "_")))
        lines = [f"- [{name}]({posixpath.basename(path)}/{quote(name)})" for name in names]
        return f"# `{path}`\n\n" + "\n".join(lines) + "\n"
    text = source.read_text(encoding="utf-8")
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"# `{path}`\n\n{fence}{LANGUAGES.get(source.suffix, 'text')}\n{text}\n{fence}\n"
