"""Method `text`: images whose captions or titles are about the same topic share a cluster."""

from collections.abc import Iterator

from pipeline.clustering.base import Choice, Clusters
from pipeline.config.cluster import TextParams
from pipeline.dataset.dataset import ImageSplit
from pipeline.runtime.errors import UserError
from pipeline.statistics.topics import cluster_by_topics, counted_words, numbers_of_topics
from pipeline.tables.words import words_of


def cluster_by_text(train: ImageSplit, params: TextParams, seed: int) -> Clusters:
    """Clusters by k-means of TF-IDF. An image without a counted word is unknown."""
    words = _counted(train, params)
    if not any(words):
        raise UserError(
            "cluster.method=text: no train image has a word that counts; name the column of captions or "
            "titles in ingest.columns.text, loosen cluster.text, or choose another cluster.method"
        )
    return Clusters(
        cluster_by_topics(words, params, "text", seed, train.cache),
        words=words,
        stopped_words=params.stop_words,
    )


def text_choices(train: ImageSplit, params: TextParams) -> Iterator[Choice[TextParams]]:
    """Yields all, half and a quarter of the topics of params.yaml."""
    for clusters in numbers_of_topics(_counted(train, params), params):
        yield Choice(f"{clusters} topics", params.model_copy(update={"clusters": clusters}))


def _counted(train: ImageSplit, params: TextParams) -> list[list[str]]:
    if "words" not in train.cache:
        # Equal words are one object, as a million captions share some ten thousand words.
        same: dict[str, str] = {}
        train.cache["words"] = [
            [same.setdefault(word, word) for word in words_of(text)] for text in train.texts
        ]
    stopped = {word for written in params.stop_words for word in words_of(written)}
    return counted_words(train.cache["words"], params, stopped)
