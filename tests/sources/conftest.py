"""Many posts, drawn once."""

import pytest

from pipeline.sources.synthetic.posts import Post, draw_posts

POSTS = 40_000


@pytest.fixture(scope="package")
def posts() -> list[Post]:
    return draw_posts(POSTS, seed=5)
