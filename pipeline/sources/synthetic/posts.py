"""Posts drawn from the population."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.runtime.seeding import numpy_generator
from pipeline.sources.synthetic.hashtags import DRAWS_OF_A_POST, draw_hashtags
from pipeline.sources.synthetic.population import (
    ATTRIBUTES,
    LABELS,
    Table,
    attribute_table,
    label_probabilities,
    recording_channel,
)


@dataclass(frozen=True, slots=True)
class Post:
    label: str
    attributes: dict[str, str]
    """The values visible in the image."""
    recorded: dict[str, str | None]
    """The values of the auxiliary columns; None if missing."""
    hashtags: list[str]


def draw_posts(count: int, seed: int) -> list[Post]:
    """Draws `count` independent posts. The first posts of a longer draw are those of a shorter one."""
    # One row of uniform numbers per post, turned into values by inverse cumulative tables.
    look_draws = numpy_generator(seed, "synthetic", "looks").random((count, 1 + 2 * len(ATTRIBUTES)))
    tag_draws = numpy_generator(seed, "synthetic", "hashtags").random((count, DRAWS_OF_A_POST)).tolist()

    label_N = _inverse_cumulative(np.tile(label_probabilities(), (count, 1)), look_draws[:, 0])
    shown: dict[str, list[str]] = {}
    recorded: dict[str, list[str | None]] = {}
    for position, attribute in enumerate(ATTRIBUTES):
        value_draws_N, record_draws_N = look_draws[:, 1 + 2 * position], look_draws[:, 2 + 2 * position]
        value_N = _inverse_cumulative(attribute_table(attribute.name)[label_N], value_draws_N)
        record_N = _inverse_cumulative(recording_channel(attribute.name)[value_N], record_draws_N)
        shown[attribute.name] = [attribute.values[value] for value in value_N]
        recorded[attribute.name] = [(*attribute.values, None)[record] for record in record_N]

    posts = []
    for index, label_index in enumerate(label_N):
        label = LABELS[label_index]
        attributes = {name: values[index] for name, values in shown.items()}
        records = {name: values[index] for name, values in recorded.items()}
        posts.append(Post(label, attributes, records, draw_hashtags(label, attributes, tag_draws[index])))
    return posts


def _inverse_cumulative(probabilities_NK: Table, uniforms_N: Table) -> NDArray[np.intp]:
    """Returns per row the first k whose cumulative probability exceeds its uniform number, shape (N,)."""
    below_NK = probabilities_NK.cumsum(axis=1)[:, :-1] <= uniforms_N[:, None]
    return np.asarray(below_NK.sum(axis=1), dtype=np.intp)
