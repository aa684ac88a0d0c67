"""Method `hashtags`: images with the same informative hashtags, or the same topic, share a cluster."""

import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np

from pipeline.clustering.base import UNKNOWN, Choice, Clusters, clusters_of_sets
from pipeline.config.cluster import HashtagsParams
from pipeline.dataset.attributes import LARGEST_CHOICE, informative, present_of
from pipeline.dataset.dataset import ImageSplit
from pipeline.runtime.errors import UserError, listed
from pipeline.runtime.seeding import derived_seed
from pipeline.tables.hashtags import normalized_hashtag

DEFAULT_TOP = 8
MOST_FOR_TOPICS = 100_000
"""Maximum number of images for topics in the landscape; for more, their k-means takes minutes."""


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
    return replace(clusters, hashtags=tags, stopped_hashtags=params.stop_words)


def hashtag_choices(train: ImageSplit, params: HashtagsParams) -> Iterator[Choice[HashtagsParams]]:
    """Yields every number of joined hashtags; and all, half and a quarter of the topics of params.yaml."""
    tags = counted_hashtags(train, params)
    for top in range(1, min(len(informative(tags)), LARGEST_CHOICE) + 1):
        yield Choice(f"top {top}", params.model_copy(update={"mode": "joint", "top": top}), nested=True)
    if len(tags) > MOST_FOR_TOPICS:
        return
    distinct = len({frozenset(of_image) for of_image in tags if of_image})
    most = min(params.clusters, distinct)
    for clusters in sorted({most // 4, most // 2, most} - {0, 1}):
        yield Choice(f"{clusters} topics", params.model_copy(update={"mode": "topics", "clusters": clusters}))


def counted_hashtags(train: ImageSplit, params: HashtagsParams) -> list[list[str]]:
    """Returns the normalized tags of each image that pass the stop list and the document frequencies."""
    normalized = {tag: normalized_hashtag(tag) for tag in set(chain.from_iterable(train.hashtags))}
    tags = [_unique(normalized[tag] for tag in of_image) for of_image in train.hashtags]
    images_with = Counter(tag for of_image in tags for tag in of_image)
    stopped = {normalized_hashtag(tag) for tag in params.stop_words}
    counted = {
        tag
        for tag, images in images_with.items()
        if images >= params.min_df and images <= params.max_df * len(tags) and tag not in stopped
    }
    return [[tag for tag in of_image if tag in counted] for of_image in tags]


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
    """Runs k-means on the tags' latent semantic analysis, on the unit sphere."""
    # Imported here: scikit-learn takes a second to load, and no other clustering needs it.
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    known = [position for position, of_image in enumerate(tags) if of_image]
    state = derived_seed(seed, "cluster", "hashtags") % 2**32
    key = ("topics", params.components, tuple(params.stop_words), params.min_df, params.max_df, state)
    if key not in train.cache:
        train.cache[key] = _vectors([tags[position] for position in known], params.components, state)
    labels_N = np.full(len(tags), UNKNOWN, np.int64)
    kmeans = KMeans(min(params.clusters, len(known)), n_init=5, random_state=state)
    with warnings.catch_warnings():
        # Too few distinct vectors give fewer topics than requested; the statistics report their number.
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted = kmeans.fit(train.cache[key])
    labels_N[known] = np.unique(fitted.labels_, return_inverse=True)[1]
    return Clusters(labels_N)


def _vectors(tags: list[list[str]], components: int, state: int) -> Any:
    """Returns (N, C) unit vectors of the images by TF-IDF and truncated SVD; a single tag by TF-IDF alone."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.preprocessing import normalize

    frequencies = TfidfVectorizer(analyzer=list).fit_transform(tags)
    components = min(components, frequencies.shape[1] - 1)
    if components < 1:
        return frequencies
    return normalize(TruncatedSVD(components, random_state=state).fit_transform(frequencies))


MODES = {"joint": _joint, "topics": _topics}
