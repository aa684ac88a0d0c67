"""Jinja2 for pages with untrusted strings: escapes everything except `Markup`."""

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from pipeline.runtime.sanitize import for_html


def render(template: str, package: str, **values: object) -> str:
    """Renders `template` of `package`; it may extend and include the templates of this package."""
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader("pipeline.presentation")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_readable,
    )
    environment.filters["tied"] = tied
    return environment.get_template(template).render(**values)


def _readable(value: object) -> object:
    """Escapes characters that change the direction of writing, which would reorder the page."""
    return for_html(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def tied(text: str) -> str:
    """Keeps "top-1", and a number and its percent sign, on one line."""
    return text.replace(" %", "\N{NO-BREAK SPACE}%").replace("top-1", "top-\N{WORD JOINER}1")
