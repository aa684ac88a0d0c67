"""Checks of the rows of all sources: ids are unique, and text is valid Unicode."""

from collections.abc import Iterable, Iterator

from pipeline.runtime.console import LONGEST_SENTENCE
from pipeline.runtime.sanitize import shortened
from pipeline.sources.base import Refusal, SourceRow
from pipeline.tables.cells import LONGEST_TEXT, TOO_LONG
from pipeline.tables.lines import NOT_UTF_8
from pipeline.tables.records import is_unicode, why_not_unicode

LONGEST_REASON = 500
NAME_NOT_UTF_8 = "the name of the file is not UTF-8: rename it"


def checked(rows: Iterable[SourceRow | Refusal]) -> Iterator[SourceRow | Refusal]:
    """Yields the rows; refuses those with a duplicate id, invalid Unicode or very long text.

    Long texts of cells are refused before they are parsed; here are those of other origin, such as the titles
    of a hierarchy. File names need not be UTF-8, and JSON can escape a lone surrogate; neither can be stored.
    """
    seen: set[str] = set()
    for row in rows:
        if isinstance(row, Refusal):
            yield _refusal(row.where, row.reason)
            continue
        texts = list(_texts(row))
        if max(map(len, texts)) > LONGEST_TEXT:
            yield _refusal(row.where or row.path, TOO_LONG)
        elif not all(map(is_unicode, texts)):
            is_name = not row.where and not is_unicode(row.path)
            yield _refusal(
                row.where or row.path, NAME_NOT_UTF_8 if is_name else why_not_unicode(texts, NOT_UTF_8)
            )
        elif row.id in seen:
            yield _refusal(row.where or row.path, "an earlier row has the same image")
        else:
            seen.add(row.id)
            yield row


def _refusal(where: str, reason: str) -> Refusal:
    """Returns a refusal with both texts shortened, as they may quote untrusted text of any length."""
    return Refusal(
        printable(shortened(where, LONGEST_SENTENCE)), printable(shortened(reason, LONGEST_REASON))
    )


def printable(text: str) -> str:
    """Returns `text` with escapes for invalid Unicode."""
    return text.encode("utf-8", "backslashreplace").decode()


def _texts(row: SourceRow) -> Iterator[str]:
    yield from (row.id, row.path, row.label or "", row.text or "")
    yield from row.hashtags
    yield from row.hierarchy
    yield from (value for value in row.attributes.values() if value is not None)
