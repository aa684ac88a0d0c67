"""The embedded data set: rendered posts with attributes, hashtags and a category tree.

It needs no download, and its population is known (`pipeline.sources.synthetic.population`), so that
measurements can be compared with exact values.
"""

import io
from collections.abc import Iterator

from PIL import Image

from pipeline.config.ingest import IngestParams
from pipeline.runtime.seeding import numpy_generator
from pipeline.sources.base import SourceRow
from pipeline.sources.synthetic.population import (
    ATTRIBUTE_NAMES,
    RECIPES,
    best_top1,
    population_information,
)
from pipeline.sources.synthetic.posts import draw_posts
from pipeline.sources.synthetic.rendering import render

ROOT = "posts"
"""Root of the category tree: root, theme, branch, label."""


class SyntheticSource:
    """`params.synthetic.images` posts, rendered as square PNGs of `params.image_size` pixels.

    Equal parameters and seed give equal bytes, and post number i does not depend on the number of posts.
    Rows have no split: ingest makes one.
    """

    def __init__(self, params: IngestParams, seed: int) -> None:
        self._images = params.synthetic.images
        self._size = params.image_size
        self._seed = seed
        self.attribute_names = list(ATTRIBUTE_NAMES)
        information_bits, conditional_bits = population_information(ATTRIBUTE_NAMES)
        self.notes = [
            "the posts come from a known population: all recorded attributes together hold "
            f"{information_bits:.2f} bits about the label (mutual information) and {conditional_bits:.2f} "
            "bits besides (conditional entropy), and no classifier of the pictures can expect a top-1 "
            f"accuracy above {best_top1():.3f}"
        ]

    def __length_hint__(self) -> int:
        return self._images

    def rows(self) -> Iterator[SourceRow]:
        for index, post in enumerate(draw_posts(self._images, self._seed)):
            identity = f"post-{index:05d}"
            generator = numpy_generator(self._seed, "synthetic", "picture", index)
            pixels = render(post.attributes, self._size, generator)
            yield SourceRow(
                id=identity,
                image=_png(Image.fromarray(pixels)),
                path=f"{identity}.png",
                label=post.label,
                hashtags=post.hashtags,
                attributes=dict(post.recorded),
                hierarchy=[ROOT, *RECIPES[post.label].ancestors, post.label],
            )


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
