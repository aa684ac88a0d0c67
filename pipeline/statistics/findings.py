"""Findings about a clustering that a user should know before spending GPU time on it.

Codes are stable: reports, tests and scripts may match on them. Sentences may be reworded.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.dataset.label_determination import LEAST_REDUCTION
from pipeline.runtime.errors import listed
from pipeline.runtime.sanitize import for_override

MANY_SINGLETONS = "many_singletons"
DOMINANT_CLUSTER = "dominant_cluster"
ENTROPY_ABOVE_CEILING = "entropy_above_ceiling"
CLUSTERS_EQUAL_LABELS = "clusters_equal_labels"
CLUSTERS_INDEPENDENT_OF_LABELS = "clusters_independent_of_labels"
CLUSTERS_DETERMINE_LABELS = "clusters_determine_labels"
COLUMNS_DETERMINE_LABELS = "columns_determine_labels"
TAGS_NAME_THE_LABEL = "tags_name_the_label"

PURPOSES: dict[str, frozenset[str]] = {
    "instance": frozenset({MANY_SINGLETONS, ENTROPY_ABOVE_CEILING, CLUSTERS_INDEPENDENT_OF_LABELS}),
    "label": frozenset({CLUSTERS_EQUAL_LABELS}),
    "subdivide": frozenset({CLUSTERS_DETERMINE_LABELS}),
    "random": frozenset({CLUSTERS_INDEPENDENT_OF_LABELS}),
}
"""Findings that are the purpose of a method and therefore not reported for it."""

SINGLETON_SHARE = 0.2
DOMINANT_EXCESS = 0.5
"""The largest cluster is dominant if its share of the positive pairs is at least this fraction of the way
from 1 / K, as in K clusters of equal size, to the maximum of 1."""
EQUAL_AGREEMENT = 0.99
"""Adjusted mutual information from which two partitions are equal except for typing errors."""
CHANCE_LEVEL = 0.01
ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Finding:
    code: str
    sentence: str
    """What is wrong, with the numbers."""
    cure: str
    """What to do about it."""


@dataclass(frozen=True, slots=True)
class StopList:
    parameter: str
    words: Sequence[str] = ()
    """Hashtags or words that are already on it."""


NOTHING_STOPPED = StopList("cluster.hashtags.stop_words")


def findings_of(
    statistics: dict[str, Any],
    tags_naming_labels: Sequence[str] = (),
    columns_determining_labels: Sequence[str] = (),
    stop_list: StopList = NOTHING_STOPPED,
) -> list[dict[str, str]]:
    """Returns the findings as JSON objects. `statistics` holds the keys of `statistics.json`."""
    purpose = PURPOSES.get(statistics["method"], frozenset())
    found = (
        *_about_sizes(statistics),
        *_about_labels(statistics),
        *_about_tags(tags_naming_labels, stop_list),
        *_about_columns(list(columns_determining_labels)),
    )
    return [asdict(finding) for finding in found if finding.code not in purpose]


def _about_sizes(statistics: dict[str, Any]) -> Iterator[Finding]:
    rows, singletons = statistics["rows"], statistics["singletons"]
    if singletons > SINGLETON_SHARE * rows:
        yield Finding(
            MANY_SINGLETONS,
            f"{_percent(singletons / rows)} of the images are alone in their cluster, "
            "so their only positive is their own second view, as in SimCLR.",
            "Use fewer attributes or tags, a level nearer to the root, or a larger smallest cluster size.",
        )
    clusters, pairs = statistics["clusters"], statistics["largest_pair_share"]
    if clusters and pairs >= 1 / clusters + DOMINANT_EXCESS * (1 - 1 / clusters):
        yield Finding(
            DOMINANT_CLUSTER,
            f"One of {clusters:,} clusters holds {_percent(statistics['largest_share'])} of the images and "
            f"{_percent(pairs)} of the pairs that training pulls together, so most of these share that one "
            "value and nothing else.",
            "Add an attribute or tag that splits it, or treat images without auxiliary information apart.",
        )
    ceiling, entropy = statistics["batch_ceiling_bits"], statistics["cluster_entropy_bits"]
    if ceiling is not None and entropy > ceiling + ROUNDING:
        yield Finding(
            ENTROPY_ABOVE_CEILING,
            f"The clusters' entropy H(Z) is {entropy:.2f} bits, and a batch of {statistics['batch_size']:,} "
            f"images can teach at most {ceiling:.2f}.",
            "Raise pretrain.batch_size or choose coarser clusters.",
        )


def _about_labels(statistics: dict[str, Any]) -> Iterator[Finding]:
    if not statistics["label_entropy_bits"] or not statistics["labelled_cluster_entropy_bits"]:
        return  # no labels, or one side has a single value: nothing can be equal or independent
    by_chance = statistics["independence_p_value"] > CHANCE_LEVEL
    if statistics["adjusted_mutual_information"] >= EQUAL_AGREEMENT:
        if by_chance:
            return  # few labels, such as one per class: they agree with any clusters as small
        yield Finding(
            CLUSTERS_EQUAL_LABELS,
            "The clusters are the labels under other names "
            f"(adjusted mutual information {statistics['adjusted_mutual_information']:.3f}), "
            "so training on them is supervised training.",
            "Take the column that holds the label out of the auxiliary information.",
        )
    elif (statistics["label_error_reduction"] or 0.0) >= LEAST_REDUCTION:
        yield Finding(
            CLUSTERS_DETERMINE_LABELS,
            "The label of nearly every image follows from its cluster, so training on these clusters is "
            "supervised training on finer labels.",
            "Take the column that determines the label out of the auxiliary information.",
        )
    elif by_chance:
        yield Finding(
            CLUSTERS_INDEPENDENT_OF_LABELS,
            f"I(Z;T) is {statistics['mutual_information_bits']:.3f} bits, and clusters of the same sizes "
            f"filled by chance give {statistics['expected_mutual_information_bits']:.3f}.",
            "Choose other auxiliary information, or coarser clusters if these are almost all singletons.",
        )


def _about_tags(tags: Sequence[str], stop_list: StopList) -> Iterator[Finding]:
    if tags:
        override = for_override(stop_list.parameter, [*stop_list.words, *tags])
        yield Finding(
            TAGS_NAME_THE_LABEL,
            f"{len(tags):,} {'tag names' if len(tags) == 1 else 'tags name'} the label: "
            f"{listed(list(tags), 5)}.",
            f"To see what unsupervised tags are worth, stop them: dvc exp run {override}.",
        )


def _about_columns(columns: list[str]) -> Iterator[Finding]:
    if columns:
        one = len(columns) == 1
        named, verb, pronoun = ("column", "determines", "it") if one else ("columns", "determine", "them")
        yield Finding(
            COLUMNS_DETERMINE_LABELS,
            f"The {named} {listed(columns, 5)} {verb} the label of nearly every image, and the clusters are "
            f"made from {pronoun}.",
            f"Take {pronoun} out of the auxiliary information if the accuracy should show what unsupervised "
            "information is worth.",
        )


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
