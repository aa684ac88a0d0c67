"""Maps and neighbours show the right images, labels and clusters."""

import base64
import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pipeline.dataset.dataset import ImageSplit
from pipeline.report.arms import read_arms
from pipeline.report.cluster_cards import last_clusters
from pipeline.report.embedding_map import GROUPS, MAP_HEIGHT, MAP_WIDTH, Maps, Query, maps, queries
from pipeline.report.thumbnails import Thumbnails
from report.fake_data import FakeData


def seen(picture: str) -> tuple[int, int]:
    """Red and green of a picture's corner, which tell its index: see fake_data.py."""
    with Image.open(io.BytesIO(base64.b64decode(picture.partition(",")[2]))) as image:
        pixel = image.convert("RGB").getpixel((0, 0))
    assert isinstance(pixel, tuple)
    return pixel[0], pixel[1]


def painted(index: int) -> Any:
    return pytest.approx((40 * index % 256, 7 * index % 256), abs=25)


def maps_of(data: FakeData, root: Path) -> Maps | None:
    layout = data.write(root)
    arms = read_arms(layout, list(data.references))
    return maps(arms, Thumbnails(ImageSplit(layout.images, "train")), last_clusters(layout, "chosen"))


def queries_of(data: FakeData, root: Path) -> list[Query]:
    layout = data.write(root)
    test = Thumbnails(ImageSplit(layout.images, "test")) if data.test_images else None
    return queries(
        read_arms(layout, list(data.references)), Thumbnails(ImageSplit(layout.images, "train")), test
    )


def test_every_point_is_its_image_with_its_label_and_cluster(tmp_path: Path) -> None:
    data = FakeData(labels=[f"class {n}" for n in range(10)])
    shown = maps_of(data, tmp_path)
    assert shown is not None
    assert [name for name, _, _ in shown.arms] == ["chosen", "instance", "label"]
    assert [group.images for group in shown.labels] == [6] * GROUPS
    colour_of = {group.name: group.colour for group in shown.labels}
    cluster_colour_of = {group.name: group.colour for group in shown.clusters}
    for _, _, points in shown.arms:
        assert sorted(point.image for point in points) == [*range(60)]
        for point in points:
            image = shown.images[point.image]
            assert image["label"] == f"class {point.image % 10}"
            assert image["cluster"] == str(min(point.image % 9, 5))
            assert point.label_colour == colour_of.get(f"class {point.image % 10}", 0)
            assert point.cluster_colour == cluster_colour_of[f"cluster {image['cluster']}"]
            assert seen(str(image["thumbnail"])) == painted(point.image)


def test_places_fill_the_picture_and_keep_their_order(tmp_path: Path) -> None:
    shown = maps_of(FakeData(), tmp_path)
    assert shown is not None
    points = sorted(shown.arms[0][2], key=lambda point: point.image)
    assert [point.x for point in points] == sorted(point.x for point in points)
    # Up in the plane is up in the picture, whose y grows downwards.
    assert [point.y for point in points] == sorted((point.y for point in points), reverse=True)
    assert (points[0].x, points[-1].x) == (20, MAP_WIDTH - 20)
    assert (points[-1].y, points[0].y) == (20, MAP_HEIGHT - 20)


def test_points_of_the_other_labels_lie_below(tmp_path: Path) -> None:
    shown = maps_of(FakeData(labels=[f"class {n}" for n in range(10)]), tmp_path)
    assert shown is not None
    coloured = [point.label_colour > 0 for point in shown.arms[0][2]]
    assert coloured == sorted(coloured)
    assert coloured.count(False) == 12


@pytest.mark.parametrize("mapped", [0, 1])
def test_few_images_make_no_map_or_a_point(tmp_path: Path, mapped: int) -> None:
    shown = maps_of(FakeData(mapped=mapped), tmp_path)
    assert (shown is None) == (mapped == 0)


def test_images_alone_in_their_clusters_have_no_cluster_colours(tmp_path: Path) -> None:
    layout = FakeData().write(tmp_path)
    album = Thumbnails(ImageSplit(layout.images, "train"))
    alone = album.rows[["id"]].assign(cluster=range(len(album.rows)))
    shown = maps(read_arms(layout, []), album, alone)
    assert shown is not None
    assert shown.clusters == []


def test_neighbours_are_those_that_evaluation_found(tmp_path: Path) -> None:
    (first, *others) = queries_of(FakeData(), tmp_path)
    assert len(others) == 2
    assert (first.label, seen(first.thumbnail)) == ("boot", painted(0))
    name, method, near = first.arms[0]
    assert (name, method) == ("chosen", "attributes")
    assert [shown.cosine for shown in near] == pytest.approx([0.9, 0.8, 0.7, 0.6])
    for shown, index in zip(near, range(101, 105), strict=True):
        assert seen(shown.thumbnail) == painted(index)
        assert shown.alike == (index % 6 == 0)


def test_without_test_images_train_images_are_asked_about(tmp_path: Path) -> None:
    data = FakeData(labelled=False, test_images=0)
    (first, *_) = queries_of(data, tmp_path)
    assert (first.label, seen(first.thumbnail)) == (None, painted(0))
    assert {shown.alike for shown in first.arms[0][2]} == {None}
