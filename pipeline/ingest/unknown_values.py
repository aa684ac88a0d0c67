"""Notes on labels, attributes, hashtags and levels of the hierarchy that are words for "unknown"."""

from collections import Counter
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.dataset.attribute_types import are_quantities
from pipeline.dataset.unknown_words import LEAVE_EMPTY, WORDS, unknown_word_notes
from pipeline.ingest.chunk_files import Chunks

_WORDS = pa.array(sorted(WORDS))
_CURES = {"folder": "move such images out of the folder of their class"}
"""The cure by source; of all others, the values come from tables."""


def unknown_value_notes(parts: Chunks, attributes: Sequence[str], source: str) -> list[str]:
    """Returns a note on values that are words for "unknown".

    Columns of numbers or dates are left out, as clustering reads these words as unknown there.
    """
    in_roles: dict[str, Counter[str]] = {role: Counter() for role in ("label", "hashtags", "hierarchy")}
    in_attributes: list[Counter[str]] = [Counter() for _ in attributes]
    for _, part in parts.all():
        for role, words in in_roles.items():
            for values in part.column(role).chunks:
                words.update(_words_in(pc.list_flatten(values) if pa.types.is_list(values.type) else values))
        for place, words in enumerate(in_attributes):
            for values in _attribute(part, place):
                words.update(_words_in(values))
    of_categories = [
        (attributes[place], words)
        for place, words in enumerate(in_attributes)
        if words and not are_quantities(_counts(parts, place))
    ]
    return unknown_word_notes([*in_roles.items(), *of_categories], _CURES.get(source, LEAVE_EMPTY))


def _words_in(values: pa.Array) -> dict[str, int]:
    return _counted(values.filter(pc.is_in(pc.utf8_lower(values), value_set=_WORDS)))


def _counts(parts: Chunks, place: int) -> Counter[str]:
    """Returns the number of cells of each value of the attribute at `place`."""
    counts: Counter[str] = Counter()
    for _, part in parts.all():
        for values in _attribute(part, place):
            counts.update(_counted(values.drop_null()))
    return counts


def _attribute(part: pa.Table, place: int) -> Iterator[pa.Array]:
    for chunk in part.column("attributes").chunks:
        yield chunk.field(place)


def _counted(values: pa.Array) -> dict[str, int]:
    return {entry["values"]: entry["counts"] for entry in values.value_counts().to_pylist()}
