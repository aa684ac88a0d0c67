"""Notes on labels, attributes, hashtags and levels of the hierarchy that are words for "unknown"."""

from collections import Counter
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.dataset.attribute_types import are_quantities
from pipeline.dataset.unknown_words import LEAVE_EMPTY, LONGEST, is_unknown_word, unknown_word_notes
from pipeline.ingest.chunk_files import Chunks

MOST_COUNTED = 2_000_000
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
    places = [place for place, words in enumerate(in_attributes) if words]
    of_categories = [
        (attributes[place], in_attributes[place])
        for place, counts in _counts(parts, places)
        if not are_quantities(counts)
    ]
    return unknown_word_notes([*in_roles.items(), *of_categories], _CURES.get(source, LEAVE_EMPTY))


def _words_in(values: pa.Array) -> dict[str, int]:
    short = values.filter(pc.less_equal(pc.utf8_length(values), LONGEST))
    return {word: count for word, count in _counted(short).items() if is_unknown_word(word)}


def _counts(parts: Chunks, places: Sequence[int]) -> Iterator[tuple[int, Counter[str]]]:
    """Yields the number of cells of each value of the attributes at `places`.

    Each pass through all rows counts several attributes, as many as keep `MOST_COUNTED` cells in memory.
    """
    rows = sum(part.num_rows for _, part in parts.all()) if places else 0
    at_once = max(1, MOST_COUNTED // max(rows, 1))
    for start in range(0, len(places), at_once):
        counts: dict[int, Counter[str]] = {place: Counter() for place in places[start : start + at_once]}
        for _, part in parts.all():
            for place, counted in counts.items():
                for values in _attribute(part, place):
                    counted.update(_counted(values.drop_null()))
        yield from counts.items()


def _attribute(part: pa.Table, place: int) -> Iterator[pa.Array]:
    for chunk in part.column("attributes").chunks:
        yield chunk.field(place)


def _counted(values: pa.Array) -> dict[str, int]:
    return {entry["values"]: entry["counts"] for entry in values.value_counts().to_pylist()}
