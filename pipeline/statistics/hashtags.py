"""Clusterings by the hashtags in a column of a table: joint tags of highest entropy, and topics.

Shape letters: N rows, S sets of hashtags.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.config.cluster import HashtagsParams
from pipeline.dataset.attributes import present_of, ranked_counts
from pipeline.runtime.errors import UserError, listed, shown
from pipeline.runtime.seeding import numpy_generator
from pipeline.statistics.contingency import UNKNOWN, Codes, Contingency
from pipeline.statistics.describe import describe_counts
from pipeline.statistics.label_leakage import tags_that_name_labels
from pipeline.statistics.sample import Sample
from pipeline.statistics.streaming import Coder
from pipeline.statistics.tables import ColumnTable, open_table
from pipeline.statistics.tag_sets import TagSets
from pipeline.statistics.topics import MOST_FOR_TOPICS, cluster_by_topics, numbers_of_topics
from pipeline.statistics.values import codes_of_values

HASHTAGS = "hashtags"
"""Method of these clusterings, and the name, in any case, of the column that holds hashtags by default."""
MOST_AT_ONCE = 5_000_000
"""Maximum number of tags, those of all rows together, that are searched for names of labels or for topics."""
NUMBERS_OF_TAGS = (1, 2, 4, 8, 16, 32)


def hashtags_column(
    table: ColumnTable, label: str, requested: str | None, *, is_requested: bool
) -> str | None:
    """Returns the column of hashtags: the requested one, or that which is named so. None: there is none.

    Raises `UserError` if the requested one does not exist.
    """
    names = [name for name in [*table.columns, *table.no_values] if name != label]
    if requested is not None and requested not in names:
        raise UserError(f"{table.path} has no column {shown(requested)}: it has {listed(names)}")
    if requested is not None or not is_requested:
        return requested
    return next((name for name in names if name.casefold() == HASHTAGS), None)


def hashtag_statistics(
    path: Path, label: str, column: str, seed: int, batch_size: int | None
) -> tuple[list[dict[str, Any]], list[str]]:
    """Returns the statistics of clusterings by hashtags, as `TableStatistics.columns`, and notes.

    A row without hashtags has no cluster. Of a large table a random part is measured.
    """
    labels, tags = Coder(), TagSets()
    sample = Sample({label: labels.codes, column: tags.codes}, numpy_generator(seed, "statistics", column))
    table = open_table(path)
    for batch in table.read([label, column]):
        sample.add(batch, np.arange(batch.num_rows))
    if not len(labels):
        raise UserError(f"column {shown(label)} of {path} is empty: choose a label column with values")
    labels_N, codes_N = sample.codes_RC.astype(np.int64).T
    naming = _naming(tags.sets, codes_N, labels_N, labels)
    described = [
        {
            "column": f"{column} ({one.setting})",
            **describe_counts(
                HASHTAGS,
                Contingency.of_codes(one.clusters_N, labels_N),
                np.bincount(one.clusters_N[one.clusters_N != UNKNOWN]),
                seed=seed,
                batch_size=batch_size,
                tags_naming_labels=[tag for tag in naming if tag in one.tags],
            ),
            "rows_without_cluster": int(np.count_nonzero(one.clusters_N == UNKNOWN)),
        }
        for one in hashtag_clusterings(tags.sets, codes_N, NUMBERS_OF_TAGS, seed)
    ]
    left_out = f"{shown(column)}: rows that are left out: {table.refused.in_words()}" if table.refused else ""
    return described, [*filter(None, [left_out]), *_notes(column, sample, tags, codes_N)]


def _naming(sets: Sequence[frozenset[str]], codes_N: Codes, labels_N: Codes, labels: Coder) -> list[str]:
    """Returns the tags that name a label, by as many rows as have `MOST_AT_ONCE` tags together."""
    tags_N = np.array([len(tags) for tags in sets], np.int64)[codes_N]
    rows = max(1, int(np.searchsorted(np.cumsum(tags_N), MOST_AT_ONCE)))
    lists = pa.array([sorted(sets[code]) for code in codes_N[:rows].tolist()], pa.list_(pa.string()))
    return tags_that_name_labels(lists, labels_N[:rows], pa.array([one or "" for one in labels.values()]))


def _notes(column: str, sample: Sample, tags: TagSets, codes_N: Codes) -> list[str]:
    notes = []
    if len(codes_N) < sample.seen:
        notes.append(
            f"{shown(column)}: hashtags are measured on a random sample of {len(codes_N):,} of the "
            f"{sample.seen:,} rows"
        )
    return notes + tags.notes(column, codes_N)


class HashtagClustering(NamedTuple):
    setting: str
    """Such as `top 8`."""
    clusters_N: Codes
    tags: Collection[str]
    """Those that the clusters are made from."""
    changes: Mapping[str, Any]
    """Of params.yaml, by which the cluster stage makes such clusters."""


def hashtag_clusterings(
    sets: Sequence[frozenset[str]], codes_N: Codes, numbers: Iterable[int], seed: int
) -> Iterator[HashtagClustering]:
    """Yields such `numbers` of joint tags, and topics unless there are very many rows.

    `codes_N` says each row's set of hashtags.
    """
    rows_S = np.bincount(codes_N, minlength=len(sets))
    counts: Counter[str] = Counter()
    for tags, rows in zip(sets, rows_S.tolist(), strict=True):
        counts.update(dict.fromkeys(tags, rows))
    ranking = [tag for tag, entropy in ranked_counts(counts, len(codes_N)) if entropy > 0.0]
    method: dict[str, Any] = {"cluster.method": HASHTAGS}
    for top in sorted({min(number, len(ranking)) for number in numbers} - {0}):
        clusters_S = codes_of_values(present_of(sets, ranking[:top]))
        changes = method | {"cluster.hashtags.top": top}
        yield HashtagClustering(f"top {top}", clusters_S[codes_N], ranking[:top], changes)
    if len(codes_N) > MOST_FOR_TOPICS or sum(counts.values()) > MOST_AT_ONCE:
        return
    words, params = [sorted(sets[code]) for code in codes_N.tolist()], HashtagsParams()
    vectors: dict[Any, Any] = {}
    for topics in numbers_of_topics(words, params):
        changed = params.model_copy(update={"clusters": topics})
        clusters_N = cluster_by_topics(words, changed, HASHTAGS, seed, vectors)
        changes = method | {"cluster.hashtags.mode": "topics", "cluster.hashtags.clusters": topics}
        yield HashtagClustering(f"{topics} topics", clusters_N, counts, changes)
