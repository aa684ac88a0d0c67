"""The advice: candidates by their forecasts, and those that are as good as the best."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.advice.candidates import Candidate, of_columns
from pipeline.advice.forecast import NORMAL_90, RESOLUTION, forecast, gain_of, score_of
from pipeline.advice.predictors import Labelled, Predictors, predictors_of
from pipeline.advice.search import joins_found
from pipeline.dataset.label_determination import determines_labels
from pipeline.runtime.seeding import numpy_generator
from pipeline.statistics.contingency import Codes, Contingency
from pipeline.statistics.information import Information
from pipeline.statistics.intervals import Interval

HALF_SAMPLES = 40
"""Number of random halves of the images on which the best candidates are measured again."""
MOST_RESAMPLED, MOST_SEARCHED = 50_000, 100_000
"""Maximum number of images in these halves together, and of those on which joins are searched for."""
MOST_COMPARED = 24
"""Number of candidates, the best, that are compared on random halves."""

Rows = NDArray[np.intp]


@dataclass(frozen=True)
class Ranked:
    """One candidate, measured."""

    name: str
    changes: Mapping[str, Any]
    """Of params.yaml, by which this clustering is trained on."""
    clusters: int
    """Without those of single images of which nothing is known."""
    mutual_information_bits: float
    conditional_entropy_bits: float
    positive_weight: float
    """Mean weight of positives from other images in an image's loss, 0-1."""
    predictors: Predictors
    gain: Interval
    """Forecast: share of the gap between self-supervision (0) and labels (1), with a 90 % interval."""
    as_good_as_best: bool
    names_the_label: bool
    """Whether the label of nearly every image follows from its cluster."""
    is_column: bool
    """Whether it is a single column, which may be left out of the data."""
    was_searched: bool
    """Whether a search chose these columns; it did not see the images that the predictors are measured on."""


@dataclass(frozen=True)
class Advice:
    batch_size: int
    images: int
    labelled: int
    labels: int
    ranked: list[Ranked]
    """The best forecast first."""
    order_stands: float | None
    """Share of the pairs of the best candidates whose order random halves confirm; None for one candidate."""

    @property
    def pick(self) -> Ranked | None:
        """The best that does not name the label, if it is expected to add to self-supervision."""
        best = next((one for one in self.ranked if not one.names_the_label), None)
        return best if best is not None and best.gain.estimate > 0 else None


@dataclass(frozen=True)
class _Measured:
    candidate: Candidate
    predictors: Predictors
    names_the_label: bool
    is_column: bool = False
    was_searched: bool = False

    @property
    def score(self) -> float:
        return score_of(self.predictors)


def advise(
    columns: Mapping[str, Codes],
    others: Sequence[Candidate],
    labelled: Labelled,
    *,
    seed: int,
) -> Advice:
    """Ranks the `columns`, joint values of them, and the `others`.

    `columns` hold the code of each row of `labelled`, `UNKNOWN` for an unknown value.
    Raises `ValueError` for too few labels.
    """
    labels_N = labelled.labels_N
    generator = numpy_generator(seed, "advice")
    single = [(of_columns(columns, [name]), True) for name in columns]
    measured = [
        _Measured(
            one,
            predictors_of(one.codes_N, labelled),
            names_the_label=determines_labels(one.codes_N, labels_N),
            is_column=is_column,
        )
        for one, is_column in [*single, *((one, False) for one in others)]
    ]
    # Any join with a column that names the label names it, too.
    naming = {one.candidate.name for one in measured if one.names_the_label}
    joinable = {name: codes_N for name, codes_N in columns.items() if name not in naming}
    measured += _joins(joinable, labelled, generator)
    measured.sort(key=lambda one: (one.names_the_label, -one.score))
    compared = measured[:MOST_COMPARED]
    scores_RM = _scores_on_halves([one.candidate for one in compared], labelled, generator)
    stds_MM = _stds_of_differences(scores_RM, len(labels_N))
    gain_stds_M = _stds_of_gains(scores_RM)
    return Advice(
        batch_size=labelled.batch_size,
        images=labelled.images,
        labelled=int(labelled.counts_L.sum()),
        labels=int(np.count_nonzero(labelled.counts_L)),
        ranked=[
            _ranked(
                one,
                labelled,
                std=float(gain_stds_M[place] if place < len(compared) else np.median(gain_stds_M)),
                as_good=place < len(compared) and _is_as_good(one, compared[0], float(stds_MM[0, place])),
            )
            for place, one in enumerate(measured)
        ],
        order_stands=_order_stands([one.score for one in compared], stds_MM),
    )


def _joins(
    columns: Mapping[str, Codes], labelled: Labelled, generator: np.random.Generator
) -> list[_Measured]:
    """Searches for joint values on one half of the images, and measures what it finds on the other."""
    order_N = generator.permutation(len(labelled.labels_N))[:MOST_SEARCHED]
    seen, unseen = np.sort(order_N[::2]), np.sort(order_N[1::2])
    of_seen, of_unseen = labelled.of_rows(seen), labelled.of_rows(unseen)
    if len(columns) < 2 or of_seen.why_too_few or of_unseen.why_too_few:
        return []
    found = joins_found({name: codes_N[seen] for name, codes_N in columns.items()}, of_seen)
    joins = [of_columns(columns, names) for names in found]
    return [
        _Measured(
            one,
            predictors_of(one.codes_N[unseen], of_unseen),
            names_the_label=determines_labels(one.codes_N, labelled.labels_N),
            was_searched=True,
        )
        for one in joins
    ]


def _scores_on_halves(
    candidates: Sequence[Candidate], labelled: Labelled, generator: np.random.Generator
) -> NDArray[np.float64]:
    """Returns (R, M) the score of each candidate on R random halves of the images."""
    rows = generator.permutation(len(labelled.labels_N))[:MOST_RESAMPLED]
    scores = []
    for _ in range(HALF_SAMPLES):
        half = np.sort(generator.permutation(rows)[: max(2, len(rows) // 2)])
        of_half = labelled.of_rows(half)
        if of_half.why_too_few:
            continue
        scores.append([score_of(predictors_of(one.codes_N[half], of_half)) for one in candidates])
    return np.array(scores).reshape(-1, len(candidates))


def _stds_of_differences(scores_RM: NDArray[np.float64], images: int) -> NDArray[np.float64]:
    """Returns (M, M) the standard deviation, by the sampling of the images, of the difference of two scores.

    Halves without replacement scatter around the score of all images as that scatters around the population's
    (the delete-half jackknife: Shao and Wu 1989, "A general theory for jackknife variance estimation").
    """
    replicates, candidates = scores_RM.shape
    if replicates < 2:
        return np.full((candidates, candidates), np.inf)
    differences_RMM = scores_RM[:, :, None] - scores_RM[:, None, :]
    stds_MM: NDArray[np.float64] = differences_RMM.std(axis=0, ddof=1)
    stds_MM *= np.sqrt(min(1.0, MOST_RESAMPLED / max(1, images)))
    return stds_MM


def _stds_of_gains(scores_RM: NDArray[np.float64]) -> NDArray[np.float64]:
    if len(scores_RM) < 2:
        return np.full(scores_RM.shape[1], np.inf)
    stds_M: NDArray[np.float64] = gain_of(scores_RM).std(axis=0, ddof=1)
    return stds_M


def _is_as_good(one: _Measured, best: _Measured, std_of_difference: float) -> bool:
    within = max(RESOLUTION, NORMAL_90 * std_of_difference)
    return not one.names_the_label and bool(best.score - one.score <= within)


def _order_stands(scores: Sequence[float], stds_MM: NDArray[np.float64]) -> float | None:
    """Returns the share of pairs whose scores differ by more than the sampling of the images explains."""
    first, second = np.triu_indices(len(scores), 1)
    if not first.size:
        return None
    differences = np.abs(np.array(scores)[first] - np.array(scores)[second])
    return float((differences > NORMAL_90 * stds_MM[first, second]).mean())


def _ranked(one: _Measured, labelled: Labelled, std: float, as_good: bool) -> Ranked:
    codes_N = one.candidate.codes_N
    information = Information(Contingency.of_codes(codes_N, labelled.labels_N))
    shares_K = labelled.cluster_shares(codes_N)
    return Ranked(
        name=one.candidate.name,
        changes=one.candidate.changes,
        clusters=int(np.count_nonzero(shares_K)),
        mutual_information_bits=information.mutual_information_bits,
        conditional_entropy_bits=information.conditional_entropy_bits,
        positive_weight=float(shares_K @ labelled.weights.of(shares_K * labelled.images)),
        predictors=one.predictors,
        gain=forecast(one.score, std),
        as_good_as_best=as_good,
        names_the_label=one.names_the_label,
        is_column=one.is_column,
        was_searched=one.was_searched,
    )
