"""The embedded data set as ingest sees it."""

import io
import time
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from pipeline.config.ingest import IngestParams, SyntheticParams
from pipeline.sources.base import Source, SourceRow
from pipeline.sources.synthetic.population import ATTRIBUTE_NAMES, LABELS
from pipeline.sources.synthetic.posts import draw_posts
from pipeline.sources.synthetic.source import SyntheticSource

pytestmark = pytest.mark.slow


def encoded(row: SourceRow) -> bytes:
    assert isinstance(row.image, bytes)
    return row.image


def source(images: int = 40, size: int = 32, seed: int = 0) -> SyntheticSource:
    return SyntheticSource(IngestParams(image_size=size, synthetic=SyntheticParams(images=images)), seed)


def test_a_row_holds_a_picture_and_all_that_is_recorded_of_it() -> None:
    posts: Source = source(images=120, size=48)
    rows = list(posts.rows())
    assert len(rows) == 120
    assert posts.attribute_names == ATTRIBUTE_NAMES
    for index, (row, post) in enumerate(zip(rows, draw_posts(120, seed=0), strict=True)):
        assert isinstance(row, SourceRow)
        assert row.id == f"post-{index:05d}"
        assert row.path == f"post-{index:05d}.png"
        assert (row.label, row.hashtags, row.attributes) == (post.label, post.hashtags, post.recorded)
        assert row.split is None
        assert list(row.attributes) == ATTRIBUTE_NAMES
        assert isinstance(row.image, bytes)
        with Image.open(io.BytesIO(row.image)) as image:
            assert (image.format, image.size, image.mode) == ("PNG", (48, 48), "RGB")


def test_what_is_not_recorded_is_none() -> None:
    records = [row.attributes[name] for row in source(images=100, size=8).rows() for name in ATTRIBUTE_NAMES]
    assert 0 < sum(record is None for record in records) < len(records) / 4


def test_the_category_tree_is_one() -> None:
    paths = {tuple(row.hierarchy) for row in source(images=300, size=8).rows()}
    assert {path[-1] for path in paths} == set(LABELS)
    assert len(paths) == len(LABELS)
    assert [len({path[:depth] for path in paths}) for depth in (1, 2, 3, 4)] == [1, 4, 8, 16]
    # A node's name says where it stands: no name occurs under two parents.
    parents = {(path[depth], path[:depth]) for path in paths for depth in range(4)}
    assert max(Counter(name for name, _ in parents).values()) == 1


def test_equal_seeds_give_equal_bytes_and_other_seeds_others() -> None:
    first, again, other = (list(source(seed=seed).rows()) for seed in (1, 1, 2))
    assert first == again
    assert all(one.image != another.image for one, another in zip(first, other, strict=True))


def test_a_post_does_not_depend_on_how_many_there_are() -> None:
    assert list(source(images=30).rows())[:7] == list(source(images=7).rows())


def test_no_two_pictures_are_equal() -> None:
    assert len({row.image for row in source(images=300).rows()}) == 300


def test_the_note_states_the_population() -> None:
    (note,) = source().notes
    assert "2.96 bits about the label" in note
    assert "10.38 bits besides" in note
    assert "above 0.859" in note


def test_pixels_alone_are_a_poor_guide_to_the_label() -> None:
    """The nearest picture, pixel by pixel, has the same label in fewer than a third of the cases."""
    rows = list(source(images=1000).rows())
    pixels = np.stack([np.asarray(Image.open(io.BytesIO(encoded(row))), np.float32).ravel() for row in rows])
    labels = np.array([row.label for row in rows])
    train, test = pixels[:800], pixels[800:]
    squared = (train**2).sum(axis=1)[None] - 2 * test @ train.T
    top1 = (labels[:800][squared.argmin(axis=1)] == labels[800:]).mean()
    assert 1 / 16 < top1 < 1 / 3


def test_rendering_keeps_pace() -> None:
    """4500 posts of 32 pixels take some 4 s of one core; the bound leaves room for a slow one."""
    start = time.process_time()
    assert sum(1 for _ in source(images=300).rows()) == 300
    assert (time.process_time() - start) / 300 < 0.008
