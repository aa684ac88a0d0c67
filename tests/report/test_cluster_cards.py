import base64
import io
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipeline.dataset.dataset import ImageSplit
from pipeline.report import cluster_cards as cards
from pipeline.report.cluster_cards import CARDS, EXAMPLES, Card, last_clusters
from pipeline.report.thumbnails import Thumbnails
from pipeline.storage.checksums import write_checksummed
from pipeline.storage.schema import ASSIGNMENTS_SCHEMA, Layout
from report.fake_data import FakeData


def cluster_cards(layout: Layout, arm: str, **made_of: list[str]) -> list[Card]:
    return cards.cluster_cards(
        Thumbnails(ImageSplit(layout.images, "train")), last_clusters(layout, arm), made_of
    )


def test_a_card_counts_what_the_cluster_holds(tmp_path: Path) -> None:
    data = FakeData()
    layout = data.write(tmp_path)
    shown = cluster_cards(layout, "chosen")
    clusters = pq.read_table(layout.assignments("chosen"))["cluster"].to_pylist()
    assert [card.images for card in shown] == sorted(Counter(clusters).values(), reverse=True)
    card = shown[0]
    members = [index for index, cluster in enumerate(clusters) if cluster == card.cluster]
    labels = Counter(data.labels[index % 6] for index in members)
    assert card.share == pytest.approx(len(members) / 240)
    assert card.purity == pytest.approx(max(labels.values()) / len(members))
    assert card.label is not None
    assert labels[card.label] == max(labels.values())


def test_examples_are_the_clusters_own_images(tmp_path: Path) -> None:
    """The picture of image i has red 40 i and green 7 i, so that a thumbnail tells where it comes from."""
    layout = FakeData().write(tmp_path)
    card = cluster_cards(layout, "chosen")[1]
    clusters = pq.read_table(layout.assignments("chosen"))["cluster"].to_pylist()
    members = [index for index, cluster in enumerate(clusters) if cluster == card.cluster]
    assert len(card.examples) == EXAMPLES
    for example, index in zip(card.examples, members[:: len(members) // EXAMPLES], strict=False):
        with Image.open(io.BytesIO(base64.b64decode(example.thumbnail.partition(",")[2]))) as image:
            pixel = image.convert("RGB").getpixel((0, 0))
        assert isinstance(pixel, tuple)
        assert pixel[:2] == pytest.approx((40 * index % 256, 7 * index % 256), abs=25)


def test_marks_are_what_is_more_frequent_inside(tmp_path: Path) -> None:
    layout = FakeData().write(tmp_path)
    ids = pq.read_table(layout.assignments("chosen"))["id"].to_pylist()
    red_apart = [int(id_) % 2 for id_ in ids]
    write_checksummed(pa.table({"id": ids, "cluster": red_apart}), layout.assignments("chosen"))
    red, blue = cluster_cards(layout, "chosen")
    assert [(trait.text, trait.share) for trait in red.traits] == [("colour=red", 1.0)]
    assert [trait.text for trait in blue.traits] == ["#summer", "colour=blue"]


def test_what_clusters_are_made_of_marks_none(tmp_path: Path) -> None:
    layout = FakeData(hashtag="#Summer").write(tmp_path)
    ids = pq.read_table(layout.assignments("chosen"))["id"].to_pylist()
    red_apart = [int(id_) % 2 for id_ in ids]
    write_checksummed(pa.table({"id": ids, "cluster": red_apart}), layout.assignments("chosen"))

    def marks(**made_of: list[str]) -> set[str]:
        return {trait.text for card in cluster_cards(layout, "chosen", **made_of) for trait in card.traits}

    assert marks(columns=["season"]) == {"colour=red", "colour=blue", "##Summer"}
    assert marks(columns=["colour"]) == {"##Summer"}
    assert marks(columns=["colour"], hashtags=["summer"]) == set()


def test_what_one_image_alone_has_marks_no_cluster(tmp_path: Path) -> None:
    """Such as an article number: in a cluster of two each is on half of the images."""
    layout = FakeData(train_images=8).write(tmp_path)
    path = next(layout.images.glob("train-00000*"))
    table = pq.read_table(path)
    rows = [
        row | {"attributes": {"colour": f"number {n}", "season": "fall"}}
        for n, row in enumerate(table.to_pylist())
    ]
    write_checksummed(pa.Table.from_pylist(rows, schema=table.schema), path)
    ids = pq.read_table(layout.assignments("chosen"))["id"].to_pylist()
    assignments = pa.table([ids, [0, 0, 1, 1, 2, 2, 2, 2]], schema=ASSIGNMENTS_SCHEMA)
    write_checksummed(assignments, layout.assignments("chosen"))
    marks = {card.cluster: [trait.text for trait in card.traits] for card in cluster_cards(layout, "chosen")}
    assert marks[0] == marks[1] == ["season=fall"]


def test_remade_clusters_take_the_place_of_the_first(tmp_path: Path) -> None:
    layout = FakeData().write(tmp_path)
    ids = pq.read_table(layout.assignments("chosen"))["id"].to_pylist()
    remade = pa.table({"id": ids, "cluster": [7] * len(ids)})
    write_checksummed(remade, layout.encoder("chosen") / "assignments.parquet")
    (card,) = cluster_cards(layout, "chosen")
    assert (card.cluster, card.images) == (7, 240)


def test_without_labels_nothing_is_said_of_them(tmp_path: Path) -> None:
    for card in cluster_cards(FakeData(labelled=False).write(tmp_path), "chosen"):
        assert card.label is None
        assert card.purity is None
        assert {example.label for example in card.examples} == {None}


def test_many_small_clusters_give_only_the_first_cards(tmp_path: Path) -> None:
    layout = FakeData().write(tmp_path)
    ids = pq.read_table(layout.assignments("chosen"))["id"].to_pylist()
    write_checksummed(pa.table({"id": ids, "cluster": range(len(ids))}), layout.assignments("chosen"))
    shown = cluster_cards(layout, "chosen")
    assert [card.cluster for card in shown] == list(range(CARDS))
    assert all(len(card.examples) == 1 for card in shown)
