"""Bounds the YAML of strangers that DVC reads: aliases of aliases would keep its parser busy for ever.

DVC parses as YAML whatever file a dvc.yaml names, also by an escape or a variable and in any commit, and
each dvc.yaml and `.dvc` file of the workspace, tracked by Git or not. A search for such files would miss
some, so the check is in the parser that DVC calls.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline.runtime.errors import UserError, first_line, shown
from pipeline.untrusted.yaml_text import check_aliases

MOST_CHARACTERS = 1 << 20
"""A dvc.lock of many stages has a hundred thousand. The parser takes a minute for a million."""
MOST_WITH_ALIASES = 1 << 18
"""Of a file that may hold aliases. A dvc.yaml with anchors has twenty thousand."""
FILES_REMEMBERED = 64
"""Files whose check is cached, as most commits have the same dvc.yaml."""


class RefusedYaml(YAMLError):
    """DVC handles it as any other error of its parser, and names the file."""


@contextmanager
def bounded_yaml() -> Iterator[None]:
    """Within the block no YAML is parsed in this process that is too large, or would be with its aliases
    expanded, and whatever the parser raises is a `YAMLError`.

    DVC leaves out of a commit what it could not read. So the block ends in a `UserError` if it refused any.
    """
    refused: list[str] = []
    parse = YAML.load

    def load(self: YAML, stream: Any) -> Any:
        text = stream if isinstance(stream, str) else stream.read()
        if sentence := _why_not(text):
            refused.append(sentence)
            raise RefusedYaml(sentence)
        try:
            return parse(self, text)
        except (YAMLError, RecursionError):
            raise
        except Exception as error:
            # Python's constructors raise their own, as for a date in a 13th month or thousands of digits.
            raise YAMLError(first_line(error)) from error

    YAML.load = load  # type: ignore[method-assign]
    try:
        yield
    finally:
        YAML.load = parse  # type: ignore[method-assign]
    if refused:
        raise UserError(refused[0])


@lru_cache(FILES_REMEMBERED)
def _why_not(text: str) -> str | None:
    """Why `text` must not be parsed; None where it may be."""
    most = MOST_WITH_ALIASES if "&" in text and "*" in text else MOST_CHARACTERS
    # Only DVC knows the file's name.
    named = f"YAML that DVC reads here, and that begins {shown(repr(text[:60]))},"
    if len(text) > most:
        return f"{named} is larger than {most >> 10} KiB: no file of its kind is"
    try:
        check_aliases(text.encode("utf-8", "surrogatepass"), named)
    except UserError as error:
        return str(error)
    return None
