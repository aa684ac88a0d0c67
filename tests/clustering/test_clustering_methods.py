"""Each clustering on small data whose right answer is plain."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.clustering.base import Clusters, clusters_of_sets
from pipeline.clustering.registry import METHODS
from pipeline.dataset.attributes import (
    attribute_vectors,
    binary_entropy_bits,
    informative,
    present_of,
    ranked_by_entropy,
)
from pipeline.dataset.dataset import ImageSplit, lists_of
from pipeline.ingest.run import ingest
from pipeline.runtime.errors import UserError
from pipeline.statistics.contingency import UNKNOWN
from pipeline.storage.schema import Layout
from pipeline.tables.hashtags import normalized_hashtag
from support import params_with

pytestmark = pytest.mark.slow

Fit = Callable[..., Clusters]
TAGS = pa.list_(pa.string())


@pytest.fixture
def fit(manifest: Callable[..., Path], tmp_path: Path) -> Fit:
    """fit(method, params, **columns of the manifest) -> clusters of its 24 rows, all in train."""

    def run(method: str, params: dict[str, object] | None = None, **columns: list[object]) -> Clusters:
        # Labels that no column of the tests determines.
        columns.setdefault("label", ["cat" if n * n % 7 < 2 else "dog" for n in range(24)])
        path = manifest(24, split=["train"] * 24, **columns)
        section = {"source": "manifest", "path": str(path)}
        if "top_level" in columns:
            section["columns"] = {"hierarchy": ["top_level", "leaf"]}  # type: ignore[assignment]
        ingest(params_with(ingest=section).ingest, 0, Layout(tmp_path))
        checked = params_with(cluster={"method": method} | (params or {})).cluster
        return METHODS[method].fit(ImageSplit(tmp_path / "images", "train"), checked.chosen, 0)

    return run


def same_partition(labels: np.ndarray, values: Sequence[object]) -> bool:
    pairs = {(int(a), b) for a, b in zip(labels, values, strict=True)}
    return len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})


FEW = {
    "attributes": {"top": 3},
    "hashtags": {"top": 3},
    "kmeans": {"clusters": 4, "min_points": 1},
    "random": {"clusters": 4},
    "coarsen": {"clusters": 2},
}
"""Sections that suit two dozen images."""


def is_contiguous(labels: np.ndarray) -> bool:
    return labels.dtype == np.int64 and set(labels.tolist()) == set(range(labels.max() + 1))


COLOURS = [["red", "blue", "green"][n % 3] for n in range(24)]
SIZES = [["small", "large"][n // 2 % 2] for n in range(24)]


NEED_OTHER_COLUMNS = ("hierarchy", "column", "text")


@pytest.mark.parametrize("method", [name for name in METHODS if name not in NEED_OTHER_COLUMNS])
def test_every_method_gives_contiguous_int64(fit: Fit, method: str) -> None:
    labels = fit(method, FEW).labels_N
    assert len(labels) == 24
    assert is_contiguous(labels)


def test_noise_in_a_column_of_clusters_is_noted(fit: Fit) -> None:
    ids: list[object] = [f"{n % 5 - 1}" for n in range(24)]
    (note,) = fit("column", {"column": {"name": "cluster"}}, cluster=ids).notes
    assert note.startswith("-1 counts as one cluster like any other, in cluster (5 rows): leave such cells")
    empty: list[object] = [cell if cell != "-1" else "" for cell in ids]
    clusters = fit("column", {"column": {"name": "cluster"}}, cluster=empty)
    assert clusters.notes == []
    assert int((clusters.labels_N == UNKNOWN).sum()) == 5


def test_whole_columns_are_joined(fit: Fit) -> None:
    clusters = fit("attributes", {"attributes": {"columns": ["colour", "size"]}})
    assert same_partition(clusters.labels_N, list(zip(COLOURS, SIZES, strict=True)))


def test_top_attributes_are_those_of_highest_entropy(fit: Fit) -> None:
    # size=small holds for half of the images (1 bit); each colour for a third (0.92 bits).
    assert same_partition(fit("attributes", {"attributes": {"top": 1}}).labels_N, SIZES)
    blue = [(size, colour == "blue") for size, colour in zip(SIZES, COLOURS, strict=True)]
    clusters = fit("attributes", {"attributes": {"top": 3}})
    assert same_partition(clusters.labels_N, blue)
    assert clusters.notes == ["joined size=large, size=small, colour=blue"]


def test_an_image_without_any_value_is_unknown(fit: Fit) -> None:
    gaps = ["", "", *COLOURS[2:]]
    sizes = ["", "", *SIZES[2:]]
    for section in ({"columns": ["colour", "size"]}, {"top": 2}):
        labels = fit("attributes", {"attributes": section}, colour=gaps, size=sizes).labels_N
        assert (labels == UNKNOWN).tolist() == [True, True] + [False] * 22


def test_numbers_of_many_values_are_cut_into_quantiles(fit: Fit) -> None:
    price = [str(n * n / 2) for n in range(24)]
    section = {"attributes": {"columns": ["price"], "bins": 3}}
    clusters = fit("attributes", section, price=price)
    assert same_partition(clusters.labels_N, [n // 8 for n in range(24)])
    # Times in seconds since 1970 differ only after many digits; nan is unknown.
    times = [str(1_700_000_000.5 + n) for n in range(23)] + ["nan"]
    clusters = fit("attributes", {"attributes": {"columns": ["time"], "bins": 2}}, time=times)
    assert same_partition(clusters.labels_N, [*(n >= 11 for n in range(23)), "unknown"])
    # Few different numbers, such as years, are categories.
    years = [str(2010 + n % 5) for n in range(24)]
    assert same_partition(
        fit("attributes", {"attributes": {"columns": ["year"]}}, year=years).labels_N, years
    )
    # Text of many values stays text, and a column of nearly one number has fewer parts.
    names = [f"name {n}" for n in range(24)]
    assert same_partition(fit("attributes", {"attributes": {"columns": ["n"]}}, n=names).labels_N, names)


def test_identifiers_are_no_measurements(fit: Fit) -> None:
    numbers = [str(9000 - 7 * n) for n in range(24)]
    section = {"attributes": {"columns": ["number"]}}
    assert same_partition(fit("attributes", section, number=numbers).labels_N, numbers)


def test_by_default_as_many_values_are_joined_as_there_are(fit: Fit) -> None:
    pairs = list(zip(COLOURS, SIZES, strict=True))
    assert same_partition(fit("attributes").labels_N, pairs)


@pytest.mark.parametrize(("yes", "no"), [("yes", "no"), ("true", "false"), ("1", "0"), ("1", "-1")])
def test_of_yes_and_no_only_yes_counts(fit: Fit, yes: str, no: str) -> None:
    """A binary attribute is one attribute, and not two of the same entropy."""
    wings = [yes if n % 2 else no for n in range(24)]
    tail = [yes if n % 3 else "" if n % 2 else no for n in range(24)]
    own = {"colour": ["red"] * 24, "size": ["small"] * 24}
    clusters = fit("attributes", {"attributes": {"top": 2}}, wings=wings, tail=tail, **own)
    assert clusters.notes == [f"joined wings={yes}, tail={yes}"]
    # What is not known of an image does not hold of it, as in the papers.
    pairs = [(wing, cell == yes) for wing, cell in zip(wings, tail, strict=True)]
    assert same_partition(clusters.labels_N, pairs)
    # Of whole columns no, yes and unknown are three values.
    columns = {"attributes": {"columns": ["tail"]}}
    assert same_partition(fit("attributes", columns, wings=wings, tail=tail, **own).labels_N, tail)
    sentence = "cluster.attributes.top=3 is more than the 2 values"
    with pytest.raises(UserError, match=sentence):
        fit("attributes", {"attributes": {"top": 3}}, wings=wings, tail=tail, **own)


def test_binary_attributes_as_vectors(fit: Fit, tmp_path: Path) -> None:
    tail = ["yes" if n % 3 else "" if n % 2 else "no" for n in range(24)]
    fit("instance", tail=tail, colour=["red"] * 24, size=["small"] * 24)
    names, vectors_NA = attribute_vectors(ImageSplit(tmp_path / "images", "train"))
    assert names == ["tail=yes"]
    assert vectors_NA[:, 0].tolist() == [{"yes": 1, "no": 0, "": -1}[cell] for cell in tail]


def test_names_of_columns_may_hold_an_equals_sign(fit: Fit, tmp_path: Path) -> None:
    """As pandas' `get_dummies(prefix_sep="=")` makes them; and cells may, too."""
    columns = {f"city={city}": [str(int(n % 3 == k)) for n in range(24)] for k, city in enumerate("abc")}
    own = {"colour": ["red"] * 24, "size": [["s=1", "s=2"][n % 2] for n in range(24)]}
    clusters = fit("attributes", {"attributes": {"top": 4}}, **columns, **own)
    assert clusters.notes == ["joined size=s=1, size=s=2, 'city=a'=1, 'city=b'=1"]
    assert same_partition(clusters.labels_N, [(n % 3, n % 2) for n in range(24)])
    names, vectors_NA = attribute_vectors(ImageSplit(tmp_path / "images", "train"))
    assert names == ["size=s=1", "size=s=2", "'city=a'=1", "'city=b'=1", "'city=c'=1"]
    assert vectors_NA[:2].tolist() == [[1, 0, 1, 0, 0], [0, 1, 0, 1, 0]]


def test_what_was_made_of_a_column_is_noted(fit: Fit) -> None:
    price = [f"{n}.5" for n in range(23)] + ["N/A"]
    clusters = fit("attributes", {"attributes": {"columns": ["price"], "bins": 2}}, price=price)
    assert clusters.notes == [
        "joined the columns price",
        "price holds numbers, 1 of them not known, and is cut into parts of equal size",
    ]


def test_a_missing_value_is_a_value_among_others(fit: Fit) -> None:
    gaps = ["" if n < 6 else colour for n, colour in enumerate(COLOURS)]
    labels = fit("attributes", {"attributes": {"columns": ["colour", "size"]}}, colour=gaps).labels_N
    assert same_partition(labels, list(zip(gaps, SIZES, strict=True)))


def test_hashtags_are_joined_after_normalisation(fit: Fit) -> None:
    tags = [["#Sea;sun", "SEA;Sun;sun", "sea", "", "rare;sun", "sun"][n % 6] for n in range(24)]
    clusters = fit("hashtags", {"hashtags": {"top": 2}}, hashtags=tags)
    assert same_partition(
        clusters.labels_N, [["both", "both", "sea", "?", "sun", "sun"][n % 6] for n in range(24)]
    )
    assert [n for n in range(24) if clusters.labels_N[n] == UNKNOWN] == [3, 9, 15, 21]
    assert clusters.notes == ["joined #sea, #sun"]


def test_normalised_hashtags() -> None:
    # full-width letters, case, repeated marks and emoji
    written = ["#\uff33\uff35\uff2e", "Sun", "##Straße", "☀️", "#", " ", "海"]
    assert [normalized_hashtag(tag) for tag in written] == ["sun", "sun", "strasse", "☀️", "", "", "海"]


def test_each_distinct_hashtag_is_held_once() -> None:
    rows = [["sea", "sun"], None, [], ["sun"], ["#Sun", "sea", "sea"]]
    column = pa.chunked_array([pa.array(rows[:3], TAGS), pa.array([], TAGS), pa.array(rows, TAGS)[3:]])
    lists = lists_of(column)
    assert lists == [row or [] for row in rows]
    assert len({id(tag) for tags in lists for tag in tags}) == 3


def test_hashtags_that_do_not_count(fit: Fit) -> None:
    tags = [
        ["spam;sea", "spam;sun", "spam;sea;once", "spam"][n % 4] + (";single" * (n == 0)) for n in range(24)
    ]
    section = {"stop_words": ["#SUN"], "min_df": 2, "max_df": 0.9, "top": 2}
    clusters = fit("hashtags", {"hashtags": section}, hashtags=tags)
    # spam stands everywhere, sun is stopped, single stands once: half of the images have no tag left.
    assert clusters.notes == ["joined #sea, #once"]
    assert same_partition(clusters.labels_N, [["sea", "-", "both", "-"][n % 4] for n in range(24)])


def test_topics_gather_tags_that_occur_together(fit: Fit) -> None:
    tags = [["sea;beach", "beach;sand;sea", "snow;ski", "ski;snow;ice", ""][n % 5] for n in range(24)]
    section = {"mode": "topics", "clusters": 2, "components": 2}
    labels = fit("hashtags", {"hashtags": section}, hashtags=tags).labels_N
    assert same_partition(labels, [["warm", "warm", "cold", "cold", "-"][n % 5] for n in range(24)])


def test_a_column_is_taken_as_it_is(fit: Fit) -> None:
    labels = fit("column", {"column": {"name": "colour"}}).labels_N
    assert same_partition(labels, COLOURS)


def test_hierarchy_levels(fit: Fit) -> None:
    tops = [["animal", "thing"][n % 2] for n in range(24)]
    leaves = [["cat", "car", "", "cat"][n % 4] for n in range(24)]
    first = fit("hierarchy", {"hierarchy": {"level": 1}}, top_level=tops, leaf=leaves).labels_N
    assert same_partition(first, tops)
    second = fit("hierarchy", {"hierarchy": {"level": 2}}, top_level=tops, leaf=leaves).labels_N
    # A shallow leaf keeps itself; equal names under different parents stay apart.
    assert same_partition(second, list(zip(tops, leaves, strict=True)))
    with pytest.raises(UserError, match=r"cluster.hierarchy.level=3 is deeper than the tree: set it to 2"):
        fit("hierarchy", {"hierarchy": {"level": 3}}, top_level=tops, leaf=leaves)


def test_leaves_that_the_tree_lacks_are_counted(fit: Fit, tmp_path: Path) -> None:
    edges = tmp_path / "edges.csv"
    edges.write_text('"child","parent"\n"cat","pet"\n"dog","pet"\n"pet","animal"\n')
    tops = ["thing"] * 24
    leaves = [["cat", "dog", "Cow", ""][n % 4] for n in range(24)]
    section = {"edges": str(edges), "level": 2}
    clusters = fit("hierarchy", {"hierarchy": section}, top_level=tops, leaf=leaves)
    assert same_partition(clusters.labels_N, [["pet", "pet", "Cow", "thing"][n % 4] for n in range(24)])
    note = "12 images have a leaf that cluster.hierarchy.edges lacks, which is a root of its own: Cow, thing"
    assert clusters.notes == [note]
    with pytest.raises(UserError, match=rf"level=4 is deeper than the tree: set it to 3 or less \({note}\)"):
        fit("hierarchy", {"hierarchy": section | {"level": 4}}, top_level=tops, leaf=leaves)
    with pytest.raises(
        UserError, match=r"holds none of the 1 leaves of the images \('Cow'\): it holds 'cat'"
    ):
        fit("hierarchy", {"hierarchy": section}, top_level=tops, leaf=["Cow"] * 24)


def test_the_ends_of_the_scale(fit: Fit) -> None:
    assert same_partition(fit("instance").labels_N, list(range(24)))
    labels = fit("label", label=["x", "", "", *["y"] * 21]).labels_N
    assert same_partition(labels, ["x", "unknown", "unknown", *["y"] * 21])
    assert labels[1] == UNKNOWN


def test_random_clusters_are_of_equal_size(fit: Fit) -> None:
    labels = fit("random", {"random": {"clusters": 5}}).labels_N
    assert sorted(np.bincount(labels)) == [4, 5, 5, 5, 5]


@pytest.mark.parametrize(
    ("method", "params", "columns", "sentence"),
    [
        (
            "attributes",
            {"attributes": {"columns": ["shape"]}},
            {},
            "cluster.attributes.columns.*'shape'.*colour",
        ),
        ("attributes", {}, {"colour": ["red"] * 24, "size": ["s"] * 24}, "no attribute differs"),
        ("column", {"column": {"name": "shape"}}, {}, "cluster.column.name.*'shape'.*colour, size"),
        ("attributes", {"attributes": {"top": 6}}, {}, "cluster.attributes.top=6 is more than the 5 values"),
        ("hashtags", {}, {"hashtags": [""] * 24}, "no train image has a hashtag"),
        ("hashtags", {"hashtags": {"top": 6}}, {}, "cluster.hashtags.top=6 is more than the 5 hashtags"),
        ("column", {"column": {"name": "size"}}, {"size": [""] * 24}, "the column is empty"),
        ("coarsen", {"coarsen": {"clusters": 3}}, {}, "cluster.coarsen.clusters=3 is more than the 2 labels"),
        ("permute", {"permute": {"labels": 3}}, {}, "cluster.permute.labels=3 is more than the 2 labels"),
        ("hierarchy", {}, {}, "the data has no hierarchy"),
        ("label", {}, {"label": [""] * 24}, "no train image has one"),
        ("random", {"random": {"clusters": 25}}, {}, "cluster.random.clusters=25 is more than the 24"),
    ],
)
def test_mistakes(
    fit: Fit, method: str, params: dict[str, object], columns: dict[str, list[object]], sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        fit(method, params, **columns)


def test_kmeans_tells_pretraining_how_to_remake_it(fit: Fit) -> None:
    clusters = fit("kmeans", {"kmeans": {"clusters": 9}})
    assert clusters.recluster == {"clusters": 2, "max_iter": 20, "n_init": 5}
    assert clusters.notes == [
        "2 clusters instead of 9: 24 train images and cluster.kmeans.min_points=10 allow no more"
    ]
    assert fit("instance").recluster is None


@pytest.mark.parametrize("min_points", [1, 5])
@pytest.mark.parametrize("clusters", [3, 23, 24, 25, 100, 1_000_000])
def test_kmeans_reduces_every_number_of_clusters_by_one_rule(
    fit: Fit, clusters: int, min_points: int
) -> None:
    """Also a number above that of the images, as the default of 100 is for a small set."""
    fitted = fit("kmeans", {"kmeans": {"clusters": clusters, "min_points": min_points, "n_init": 1}})
    most = min(clusters, 24 // min_points)
    assert fitted.recluster is not None
    assert fitted.recluster["clusters"] == most
    assert len(fitted.notes) == (most < clusters)
    assert is_contiguous(fitted.labels_N)
    assert fitted.labels_N.max() < most


@pytest.mark.parametrize("images", [1, 2, 5])
def test_kmeans_of_a_few_images(manifest: Callable[..., Path], tmp_path: Path, images: int) -> None:
    path = manifest(images, split=["train"] * images)
    ingest(params_with(ingest={"source": "manifest", "path": str(path)}).ingest, 0, Layout(tmp_path))
    chosen = params_with(cluster={"method": "kmeans"}).cluster.chosen
    labels_N = METHODS["kmeans"].fit(ImageSplit(tmp_path / "images", "train"), chosen, 0).labels_N
    assert is_contiguous(labels_N)
    assert labels_N.max() < 2


def test_entropy_of_a_coin() -> None:
    assert binary_entropy_bits(0.5) == 1.0
    assert binary_entropy_bits(0.25) == pytest.approx(2 - 0.75 * np.log2(3))
    assert binary_entropy_bits(0.0) == binary_entropy_bits(1.0) == 0.0


sets_of_values = st.lists(st.frozensets(st.sampled_from("abcdef")), min_size=1, max_size=30)


@given(sets_of_values, st.integers(1, 5))
def test_clusters_of_more_values_refine_those_of_fewer(values: list[frozenset[str]], top: int) -> None:
    ranking = informative(values)
    coarse, fine = (clusters_of_sets(present_of(values, ranking[:k])).labels_N for k in (top, top + 1))
    assert len(set(zip(fine.tolist(), coarse.tolist(), strict=True))) == len(set(fine.tolist()))


@given(sets_of_values)
def test_the_ranking_falls_and_is_complete(values: list[frozenset[str]]) -> None:
    ranking = ranked_by_entropy(values)
    assert {name for name, _ in ranking} == set().union(*values)
    assert all(first[1] >= second[1] for first, second in pairwise(ranking))


CLASSES = [f"class {n % 4}" for n in range(24)]
CODES = [f"{n % 4}0" for n in range(24)]
VARIANTS = [f"{n % 4}{'ab'[n // 12]}" for n in range(24)]


@pytest.mark.parametrize("column", [CODES, VARIANTS])
def test_columns_that_determine_the_label_are_left_out_of_automatic_choices(
    fit: Fit, column: list[object]
) -> None:
    clusters = fit("attributes", label=CLASSES, breed=column)
    assert same_partition(clusters.labels_N, list(zip(COLOURS, SIZES, strict=True)))
    assert not clusters.label_columns
    assert clusters.notes[-1].startswith("left out breed, from which the label")
    kept = fit("attributes", {"attributes": {"label_columns": "keep"}}, label=CLASSES, breed=column)
    assert same_partition(kept.labels_N, list(zip(COLOURS, SIZES, column, strict=True)))
    assert kept.label_columns == ["breed"]
    named = fit("attributes", {"attributes": {"columns": ["breed"]}}, label=CLASSES, breed=column)
    assert (named.label_columns, named.notes) == (["breed"], ["joined the columns breed"])
    taken = fit("column", {"column": {"name": "breed"}}, label=CLASSES, breed=column)
    assert taken.label_columns == ["breed"]


def test_where_nothing_else_differs_the_sentence_names_what_was_left_out(fit: Fit) -> None:
    own = {"colour": ["red"] * 24, "size": ["small"] * 24}
    with pytest.raises(UserError, match="apart from breed, from which the label follows: name other columns"):
        fit("attributes", label=CLASSES, breed=CODES, **own)


def test_coarser_levels_and_identifiers_do_not_determine_the_label(fit: Fit) -> None:
    coarse, own = [CODES[n] in ("00", "10") for n in range(24)], [f"image {n}" for n in range(24)]
    assert len(fit("attributes", label=CLASSES, kingdom=coarse, title=own).notes) == 1
