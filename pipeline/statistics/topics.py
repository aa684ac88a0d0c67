"""Topics of images that have words, such as hashtags: k-means of their latent semantic analysis."""

import warnings
from collections import Counter
from collections.abc import Collection, Iterator, MutableMapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config.cluster import WordsParams
from pipeline.runtime.seeding import derived_seed
from pipeline.statistics.contingency import UNKNOWN

MOST_FOR_TOPICS = 100_000
"""Maximum number of images for topics in the landscape; for more, their k-means takes minutes."""
Words = Sequence[Sequence[str]]
"""The words of each image."""


def counted_words(words: Words, params: WordsParams, stopped: Collection[str]) -> list[list[str]]:
    """Returns the words of each image that pass the stop list and the document frequencies."""
    images_with = Counter(word for of_image in words for word in dict.fromkeys(of_image))
    counted = {
        word
        for word, images in images_with.items()
        if params.min_df <= images <= params.max_df * len(words) and word not in stopped
    }
    return [[word for word in of_image if word in counted] for of_image in words]


def numbers_of_topics(words: Words, params: WordsParams) -> Iterator[int]:
    """Yields all, half and a quarter of the topics of params.yaml, unless there are too many images."""
    if len(words) > MOST_FOR_TOPICS:
        return
    distinct = len({frozenset(of_image) for of_image in words if of_image})
    most = min(params.clusters, distinct)
    yield from sorted({most // 4, most // 2, most} - {0, 1})


def cluster_by_topics(
    words: Words, params: WordsParams, method: str, seed: int, cache: MutableMapping[Any, Any]
) -> NDArray[np.int64]:
    """Returns (N,) clusters by TF-IDF, truncated SVD and k-means on the unit sphere.

    An image without words is `UNKNOWN`. The vectors of the images are kept in `cache`, since they do not
    depend on the number of topics.
    """
    # Imported here: scikit-learn takes a second to load, and few clusterings need it.
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    known = [position for position, of_image in enumerate(words) if of_image]
    state = derived_seed(seed, "cluster", method) % 2**32
    key = (
        "topics",
        method,
        params.components,
        tuple(params.stop_words),
        params.min_df,
        params.max_df,
        state,
    )
    if key not in cache:
        cache[key] = _vectors([words[position] for position in known], params.components, state)
    labels_N = np.full(len(words), UNKNOWN, np.int64)
    kmeans = KMeans(min(params.clusters, len(known)), n_init=5, random_state=state)
    with warnings.catch_warnings():
        # Too few distinct vectors give fewer topics than requested; the statistics report their number.
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted = kmeans.fit(cache[key])
    labels_N[known] = np.unique(fitted.labels_, return_inverse=True)[1]
    return labels_N


def _vectors(words: Words, components: int, state: int) -> Any:
    """Returns (N, C) unit vectors of the images by TF-IDF and truncated SVD; of a single word by TF-IDF."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.preprocessing import normalize

    frequencies = TfidfVectorizer(analyzer=list).fit_transform(words)
    components = min(components, frequencies.shape[1] - 1)
    if components < 1:
        return frequencies
    return normalize(TruncatedSVD(components, random_state=state).fit_transform(frequencies))
