"""Method `hashtags`: images with the same informative hashtags, or the same topic, share a cluster."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain

from pipeline.clustering.base import Choice, Clusters, clusters_of_sets
from pipeline.config.cluster import HashtagsParams
from pipeline.dataset.attributes import LARGEST_CHOICE, informative, present_of
from pipeline.dataset.dataset import ImageSplit
from pipeline.runtime.errors import UserError, listed
from pipeline.statistics.topics import cluster_by_topics, counted_words, numbers_of_topics
from pipeline.tables.hashtags import normalized_hashtag

DEFAULT_TOP = 8


def cluster_by_hashtags(train: ImageSplit, params: HashtagsParams, seed: int) -> Clusters:
    """Clusters by the `top` tags of highest entropy (`joint`), or by k-means of TF-IDF (`topics`).

    An image without a counted tag is unknown.
    """
    tags = counted_hashtags(train, params)
    if not any(tags):
        raise UserError(
            "cluster.method=hashtags: no train image has a hashtag that counts; name their column in "
            "ingest.columns.hashtags, loosen cluster.hashtags, or choose another cluster.method"
        )
    clusters = MODES[params.mode](train, tags, params, seed)
    return replace(clusters, words=tags, stopped_words=params.stop_words)


def hashtag_choices(train: ImageSplit, params: HashtagsParams) -> Iterator[Choice[HashtagsParams]]:
    """Yields every number of joined hashtags; and all, half and a quarter of the topics of params.yaml."""
    tags = counted_hashtags(train, params)
    for top in range(1, min(len(informative(tags)), LARGEST_CHOICE) + 1):
        yield Choice(f"top {top}", params.model_copy(update={"mode": "joint", "top": top}), nested=True)
    for clusters in numbers_of_topics(tags, params):
        yield Choice(f"{clusters} topics", params.model_copy(update={"mode": "topics", "clusters": clusters}))


def counted_hashtags(train: ImageSplit, params: HashtagsParams) -> list[list[str]]:
    """Returns the normalized tags of each image that pass the stop list and the document frequencies."""
    normalized = {tag: normalized_hashtag(tag) for tag in set(chain.from_iterable(train.hashtags))}
    tags = [_unique(normalized[tag] for tag in of_image) for of_image in train.hashtags]
    return counted_words(tags, params, {normalized_hashtag(tag) for tag in params.stop_words})


def _unique(tags: Iterable[str]) -> list[str]:
    """Returns the distinct tags that are not empty, in order."""
    return list(dict.fromkeys(tag for tag in tags if tag))


def _joint(_train: ImageSplit, tags: list[list[str]], params: HashtagsParams, _seed: int) -> Clusters:
    ranking = informative(tags)
    if params.top is not None and params.top > len(ranking):
        raise UserError(
            f"cluster.hashtags.top={params.top} is more than the {len(ranking)} hashtags that differ between "
            "the images: lower it"
        )
    ranking = ranking[: params.top or DEFAULT_TOP]
    notes = [f"joined {listed([f'#{tag}' for tag in ranking])}"]
    return replace(clusters_of_sets(present_of(tags, ranking)), notes=notes, made_of={"hashtags": ranking})


def _topics(train: ImageSplit, tags: list[list[str]], params: HashtagsParams, seed: int) -> Clusters:
    return Clusters(cluster_by_topics(tags, params, "hashtags", seed, train.cache))


MODES = {"joint": _joint, "topics": _topics}
