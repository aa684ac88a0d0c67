"""YAML that strangers wrote and DVC reads: aliases in aliases would keep it busy for ever.

DVC takes any file for YAML that a dvc.yaml names, by an escape or a variable if it likes, in any commit, and
each dvc.yaml and `.dvc` file of the workspace, whether Git knows it or not. So such files are not looked for:
they are stopped where DVC has them parsed.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline.errors import UserError, first_line, shown
from pipeline.safe_yaml import check_aliases

MOST_CHARACTERS = 1 << 20
"""Of a dvc.lock of many stages; one has a hundred thousand. The parser takes a minute for a million."""
MOST_WITH_ALIASES = 1 << 18
"""A dvc.yaml with anchors has twenty thousand."""
FILES_REMEMBERED = 64
"""Most commits have the same dvc.yaml."""


class RefusedYaml(YAMLError):
    """As DVC takes every other fault of its parser: it names the file."""


@contextmanager
def bounded_yaml() -> Iterator[None]:
    """Within the block nothing in this process parses YAML that is too large, once its aliases are written
    out, and whatever the parser raises is a `YAMLError`.

    DVC shows a commit without what it could not read. So the block ends in a `UserError` if it refused any.
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
            # Dates of a 13th month, numbers of thousands of digits: Python's own constructors raise theirs.
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
    """Why `text` is not parsed; None: it is."""
    most = MOST_WITH_ALIASES if "&" in text and "*" in text else MOST_CHARACTERS
    # Which file it is only DVC knows.
    named = f"YAML that DVC reads here, and that begins {shown(repr(text[:60]))},"
    if len(text) > most:
        return f"{named} is larger than {most >> 10} KiB: no file of its kind is"
    try:
        check_aliases(text.encode("utf-8", "surrogatepass"), named)
    except UserError as error:
        return str(error)
    return None
