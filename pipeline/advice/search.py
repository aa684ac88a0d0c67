"""Search for columns whose joint values are worth more than each of them."""

from collections.abc import Mapping, Sequence

from pipeline.advice.candidates import joint_codes
from pipeline.advice.forecast import score_of
from pipeline.advice.predictors import Labelled, predictors_of
from pipeline.statistics.contingency import Codes

BEAM = 8
"""Number of joins that are kept at each size, and extended by each further column."""
MOST_JOINED = 8
"""Maximum number of joined columns."""
LEAST_GAIN = 0.01
"""Gain by which a further column must raise the score."""
FOUND = 12
"""Number of joins that are returned."""


def joins_found(columns: Mapping[str, Codes], labelled: Labelled) -> list[tuple[str, ...]]:
    """Returns the names of the best joins of two or more of the `columns` by beam search, best first.

    Forward from the best columns, one more at a time while that raises the score; then backward, without each
    column of the best. Pairs and triples of up to `BEAM` columns are tried exhaustively.
    """
    scores = _Scores(columns, labelled)
    alone: list[tuple[str, ...]] = [(name,) for name in columns]
    beam = sorted(alone, key=scores.of, reverse=True)
    best_before = scores.of(beam[0]) if beam else 0.0
    # A column that is worth little alone may be worth much beside another.
    beam = beam if len(columns) <= BEAM else beam[:BEAM]
    for _ in range(1, MOST_JOINED):
        wider = {scores.join(names, name) for names in beam for name in columns if name not in names}
        if not wider:
            break
        kept = len(wider) if len(columns) <= BEAM and len(beam[0]) < 3 else BEAM
        beam = sorted(wider, key=scores.of, reverse=True)[:kept]
        if scores.of(beam[0]) < best_before + LEAST_GAIN and len(beam[0]) >= 3:
            break
        best_before = max(best_before, scores.of(beam[0]))
    joins = [names for names in scores.known if len(names) > 1]
    if joins:
        _backward(max(joins, key=scores.of), scores)
    joins = sorted((names for names in scores.known if len(names) > 1), key=scores.of, reverse=True)
    return _without_idle_columns(joins, scores)[:FOUND]


class _Scores:
    """Scores by names of joined columns, in the order of the table."""

    def __init__(self, columns: Mapping[str, Codes], labelled: Labelled) -> None:
        self._columns, self._labelled = columns, labelled
        self._place_of = {name: place for place, name in enumerate(columns)}
        self.known: dict[tuple[str, ...], float] = {}

    def join(self, names: Sequence[str], name: str) -> tuple[str, ...]:
        return tuple(sorted((*names, name), key=self._place_of.__getitem__))

    def of(self, names: tuple[str, ...]) -> float:
        if names not in self.known:
            codes_N = joint_codes([self._columns[name] for name in names])
            self.known[names] = score_of(predictors_of(codes_N, self._labelled))
        return self.known[names]


def _backward(names: tuple[str, ...], scores: _Scores) -> None:
    """Leaves out one column after the other while that costs less than a column must gain."""
    while len(names) > 2:
        fewer = [names[:place] + names[place + 1 :] for place in range(len(names))]
        best = max(fewer, key=scores.of)
        if scores.of(best) < scores.of(names) - LEAST_GAIN:
            return
        names = best


def _without_idle_columns(joins: list[tuple[str, ...]], scores: _Scores) -> list[tuple[str, ...]]:
    """Leaves out the joins that a part of them, tried as well, equals within what a column must gain."""
    kept = []
    for names in joins:
        parts = (names[:place] + names[place + 1 :] for place in range(len(names)))
        if all(scores.of(part) + LEAST_GAIN <= scores.of(names) for part in parts):
            kept.append(names)
    return kept
