"""Captions and titles: from the source's column to clusters by topic."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.clustering.registry import METHODS
from pipeline.dataset.assignments import read_assignments
from pipeline.dataset.dataset import ImageSplit
from pipeline.inference.images.base import InputImage
from pipeline.inference.images.open import open_pictures
from pipeline.runtime.errors import UserError
from sources.img2dataset import CAPTIONS, packed, run_journey, samples
from sources.journey import Journey, journey
from sources.journey import write as write_files
from support import params_with

pytestmark = pytest.mark.slow

TITLES = [
    "A Beach by the sea, with sand",
    "the sea and the beach",
    "snow_and ice: THE ski's day",
    "The ski\u2019s snow",
    "",
]
TOPICS = ["warm", "warm", "cold", "cold", "none"]
SMALL = {"clusters": 2, "components": 2}


@pytest.fixture
def titled(manifest: Callable[..., Path], tmp_path: Path) -> Callable[..., Journey]:
    """titled(titles, **columns) -> the ingested manifest of 20 train images with these titles."""

    def run(titles: list[str], **columns: list[Any]) -> Journey:
        path = manifest(20, title=titles, split=["train"] * 20, **columns)
        return journey(tmp_path, "manifest", path, columns={"text": "title"})

    return run


def test_titles_are_clustered_by_topic(titled: Callable[..., Journey], tmp_path: Path) -> None:
    got = titled([TITLES[n % 5] for n in range(20)])
    assert (got.summary["images_with_text"], got.summary["attributes"]) == (16, ["colour", "size"])
    got.cluster("text", **SMALL, stop_words=["The"])
    clusters = read_assignments(got.layout.assignments("chosen")).clusters_N.tolist()
    pairs = {(TOPICS[n % 5], cluster) for n, cluster in enumerate(clusters) if n % 5 < 4}
    assert len(pairs) == len({cluster for _, cluster in pairs}) == 2
    train = ImageSplit(tmp_path / "images", "train")
    assert train.texts[:5] == TITLES
    words = METHODS["text"].fit(train, params_with(cluster={"text": SMALL}).cluster.text, 0).words
    assert words is not None
    # `the` is in more than half of the titles.
    assert words[0] == ["a", "beach", "by", "sea", "with", "sand"]
    assert words[2] == ["snow", "and", "ice", "ski's", "day"]
    settings = [choice.setting for choice in METHODS["text"].choices(train, params_with().cluster.text)]
    assert settings == ["2 topics", "4 topics"]


def test_words_that_name_the_label_are_found(titled: Callable[..., Journey]) -> None:
    titles = [f"{['cat', 'dog'][n % 2]} on the {['sofa', 'lawn', 'bed'][n % 3]}" for n in range(20)]
    (finding,) = (
        found
        for found in titled(titles).cluster("text", clusters=4, max_df=1.0)["findings"]
        if found["code"] == "tags_name_the_label"
    )
    assert finding["sentence"] == "2 tags name the label: cat, dog."
    assert "cluster.text.stop_words=" in finding["cure"]


def test_without_titles_there_are_no_topics(manifest: Callable[..., Path], tmp_path: Path) -> None:
    got = journey(tmp_path, "manifest", manifest(title=["x"] * 24))
    assert (
        "the column 'title' is an attribute; if it is the text, set ingest.columns.text"
        in (got.summary["notes"])
    )
    assert "images_with_text" not in got.summary
    with pytest.raises(UserError, match=r"name the column of captions or titles in ingest\.columns\.text"):
        got.cluster("text")
    train = ImageSplit(tmp_path / "images", "train")
    assert list(METHODS["text"].choices(train, params_with().cluster.text)) == []


def test_captions_beside_images_in_shards(tmp_path: Path) -> None:
    write_files(tmp_path / "shards", {"0.tar": packed(samples(range(12)))})
    got = run_journey(tmp_path, columns={"text": "txt"}, test_fraction=0.25)
    assert got.summary["images_with_text"] == 12
    assert set(ImageSplit(tmp_path / "images", "train").texts) == set(CAPTIONS)


def test_several_captions_are_one_text(tmp_path: Path, manifest: Callable[..., Path]) -> None:
    folder = manifest(3).parent
    captions: list[Any] = [["a dog", None, "on grass"], [], {"text": "x"}]
    rows = [{"image": f"images/{n:03d}.png", "text": captions[n], "split": "train"} for n in range(3)]
    (folder / "m.jsonl").write_text("\n".join(map(json.dumps, rows)))
    got = journey(tmp_path, "manifest", folder / "m.jsonl", columns={"text": "text"})
    assert ImageSplit(tmp_path / "images", "train").texts == ["a dog\non grass", ""]
    assert list(got.refused.values()) == ["the text is an object, and must be a text or a list of texts"]


def test_embed_knows_images_with_texts_as_those_of_ingest(titled: Callable[..., Journey]) -> None:
    """They are prepared already, and must not be prepared a second time."""
    got = titled(["a title"] * 20)
    pictures = open_pictures(got.layout.images)
    images = [image for image in pictures.between(0, 20) if isinstance(image, InputImage)]
    assert len(images) == 20
    assert all(image.stored for image in images)
