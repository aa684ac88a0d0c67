"""Advice on a project's clusters: columns, joint values of them, and the other clusterings to choose."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.advice.advise import advise
from pipeline.advice.candidates import Candidate
from pipeline.advice.predictors import Labelled
from pipeline.advice.wording import as_record, no_advice
from pipeline.clustering.base import Choice
from pipeline.config.cluster import ClusterParams, MethodSection
from pipeline.dataset.attributes import ranked_attributes
from pipeline.dataset.dataset import ImageSplit
from pipeline.runtime.seeding import numpy_generator
from pipeline.statistics.contingency import UNKNOWN, Codes
from pipeline.statistics.sample import MOST_ROWS
from pipeline.statistics.values import codes_of_values, encoded
from pipeline.storage.schema import AdviceRecord

NOT_CANDIDATES = frozenset({"instance", "label", "column"})
"""References, and columns, which are candidates with their numbers cut."""
Rows = NDArray[np.intp]


def advised_rows(train: ImageSplit, seed: int) -> Rows:
    """Returns the images that advice is measured on, in order: all, or a random part of very many."""
    if len(train) <= MOST_ROWS:
        return np.arange(len(train))
    return np.sort(numpy_generator(seed, "advice", "images").permutation(len(train))[:MOST_ROWS])


def candidate(
    method: str, choice: Choice[MethodSection], params: ClusterParams, clusters_N: Codes
) -> Candidate:
    """Returns a clustering of the landscape as a candidate; `clusters_N` are those of the advised images."""
    chosen, before = choice.params.model_dump(), params.block(method).model_dump()
    changes = {f"cluster.{method}.{name}": value for name, value in chosen.items() if value != before[name]}
    return Candidate(f"{method} ({choice.setting})", clusters_N, {"cluster.method": method} | changes)


def advice(
    train: ImageSplit,
    params: ClusterParams,
    candidates: Sequence[Candidate],
    rows: Rows,
    batch_size: int,
    seed: int,
) -> AdviceRecord:
    """Ranks the columns, joint values of them, and the `candidates`."""
    labelled = Labelled(encoded(train.labels)[0][rows], batch_size, len(train))
    if labelled.why_too_few:
        few = f"There are {labelled.why_too_few} among the train images"
        return no_advice(f"{few}, so there is no advice what to cluster by.")
    columns = _columns(train, params, rows)
    if not columns and not candidates:
        return no_advice("Without attributes, hashtags, texts or a hierarchy there is nothing to cluster by.")
    return as_record(advise(columns, candidates, labelled, seed=seed))


def _columns(train: ImageSplit, params: ClusterParams, rows: Rows) -> dict[str, Codes]:
    """Returns the codes of each column whose values repeat, as `cluster.attributes.columns` joins them."""
    if not train.attribute_names:
        return {}
    known, _, _ = ranked_attributes(train, params.attributes)
    columns = {name: codes_of_values(cells)[rows] for name, cells in known.cells.items()}
    return {name: codes_N for name, codes_N in columns.items() if _repeats(codes_N)}


def _repeats(codes_N: Codes) -> bool:
    known_N = codes_N[codes_N != UNKNOWN]
    return bool(len(np.unique(known_N)) < known_N.size)
