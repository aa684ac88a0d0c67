"""Method `hashtags`: images with the same informative hashtags, or of one topic, share a cluster."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain

import numpy as np

from pipeline.clustering.base import UNKNOWN, Choice, Clusters, TrainImages, clusters_of_sets, with_section
from pipeline.clustering.joint import LARGEST_CHOICE, informative, present_of
from pipeline.clustering.params import ClusterParams, HashtagsParams
from pipeline.errors import UserError, listed
from pipeline.randomness import derived_seed
from pipeline.tables.hashtags import normalized_hashtag

DEFAULT_TOP = 8


def cluster_by_hashtags(train: TrainImages, params: ClusterParams, seed: int) -> Clusters:
    """`joint`: which of the `top` tags of highest entropy an image has; `topics`: k-means of TF-IDF.

    An image without a tag that counts is unknown.
    """
    tags = counted_hashtags(train, params.hashtags)
    if not any(tags):
        raise UserError(
            "cluster.method=hashtags: no train image has a hashtag that counts; name their column in "
            "ingest.columns.hashtags, loosen cluster.hashtags, or choose another cluster.method"
        )
    return MODES[params.hashtags.mode](tags, params.hashtags, seed)


def hashtag_choices(train: TrainImages, params: ClusterParams) -> Iterator[Choice]:
    """Every number of joined hashtags."""
    known = len(informative(counted_hashtags(train, params.hashtags)))
    for top in range(1, min(known, LARGEST_CHOICE) + 1):
        yield f"top {top}", with_section(params, "hashtags", mode="joint", top=top)


def counted_hashtags(train: TrainImages, params: HashtagsParams) -> list[list[str]]:
    """Each image's normalised tags that pass the stop list and the document frequencies."""
    normalized = {tag: normalized_hashtag(tag) for tag in set(chain.from_iterable(train.hashtags))}
    tags = [_each_once(normalized[tag] for tag in of_image) for of_image in train.hashtags]
    images_with = Counter(tag for of_image in tags for tag in of_image)
    stopped = {normalized_hashtag(tag) for tag in params.stop}
    counted = {
        tag
        for tag, images in images_with.items()
        if images >= params.min_df and images <= params.max_df * len(tags) and tag not in stopped
    }
    return [[tag for tag in of_image if tag in counted] for of_image in tags]


def _each_once(tags: Iterable[str]) -> list[str]:
    """Those that are not empty, in their order."""
    return list(dict.fromkeys(tag for tag in tags if tag))


def _joint(tags: list[list[str]], params: HashtagsParams, _seed: int) -> Clusters:
    ranking = informative(tags)
    if params.top is not None and params.top > len(ranking):
        raise UserError(
            f"cluster.hashtags.top={params.top} is more than the {len(ranking)} hashtags that differ between "
            "the images: lower it"
        )
    ranking = ranking[: params.top or DEFAULT_TOP]
    notes = [f"joined {listed([f'#{tag}' for tag in ranking])}"]
    return replace(clusters_of_sets(present_of(tags, ranking)), hashtags=tags, notes=notes)


def _topics(tags: list[list[str]], params: HashtagsParams, seed: int) -> Clusters:
    """TF-IDF, truncated SVD and k-means on the unit sphere: latent semantic analysis."""
    # Imported here: scikit-learn takes a second to load, and no other clustering needs it.
    from sklearn.cluster import KMeans
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.preprocessing import normalize

    known = [position for position, of_image in enumerate(tags) if of_image]
    frequencies = TfidfVectorizer(analyzer=list).fit_transform([tags[position] for position in known])
    components = min(params.components, frequencies.shape[1] - 1)
    state = derived_seed(seed, "cluster", "hashtags") % 2**32
    vectors = frequencies
    if components >= 1:
        vectors = normalize(TruncatedSVD(components, random_state=state).fit_transform(frequencies))
    clusters = min(params.clusters, len(known))
    labels_N = np.full(len(tags), UNKNOWN, np.int64)
    fitted = KMeans(clusters, n_init=5, random_state=state).fit(vectors)
    labels_N[known] = np.unique(fitted.labels_, return_inverse=True)[1]
    return Clusters(labels_N, hashtags=tags)


MODES = {"joint": _joint, "topics": _topics}
