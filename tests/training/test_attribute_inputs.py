"""What objectives that learn from attributes take of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor

from pipeline.config.pretrain import PretrainParams
from pipeline.dataset.attributes import attribute_vectors
from pipeline.dataset.dataset import ImageSplit
from pipeline.ingest.run import ingest
from pipeline.objectives.traits import TRAITS
from pipeline.runtime.errors import UserError
from pipeline.storage.schema import Layout
from pipeline.training.attribute_inputs import attributes_of
from support import params_with

pytestmark = pytest.mark.slow

IMAGES = 12
COLOURS = ["red", "blue", "", "red"] * 3
COUNTS = [1, 2, 3, 4] * 3
TITLES = [f"title {number}" for number in range(IMAGES)]
TAGS = ["#sun #sea", "#sea", "", "#sun;#alone0"] * 3


@pytest.fixture
def train(manifest: Callable[..., Path], tmp_path: Path) -> ImageSplit:
    columns = {"colour": COLOURS, "size": COUNTS, "title": TITLES, "hashtags": TAGS, "one": ["x"] * IMAGES}
    path = manifest(IMAGES, split=["train"] * IMAGES, **columns)
    layout = Layout(tmp_path / "data")
    ingest(params_with(ingest={"source": "manifest", "path": str(path)}).ingest, 0, layout)
    return ImageSplit(layout.images, "train")


@pytest.mark.parametrize(("tags", "shared"), [(TAGS, 3), ([""] * IMAGES, 0)])
def test_images_without_columns(
    manifest: Callable[..., Path], tmp_path: Path, tags: list[str], shared: int
) -> None:
    path = manifest(IMAGES, split=["train"] * IMAGES, hashtags=tags)
    pd.read_csv(path)[["image", "label", "split", "hashtags"]].to_csv(path, index=False)
    layout = Layout(tmp_path / "data")
    ingest(params_with(ingest={"source": "manifest", "path": str(path)}).ingest, 0, layout)
    split = ImageSplit(layout.images, "train")
    if shared:
        assert encoded(split, "soft").shape == (IMAGES, shared)
    else:
        for objective in ("soft", "multi_head", "cmc"):
            with pytest.raises(
                UserError, match=f"objective={objective} learns from attributes, and the data"
            ):
                encoded(split, objective)


def encoded(train: ImageSplit, objective: str, ids: list[str] | None = None, **block: Any) -> Tensor:
    params = PretrainParams.model_validate({"objective": objective, objective: block})
    found = attributes_of(params, train, train.ids.to_pylist() if ids is None else ids)
    assert found is not None
    return found


def partition(codes: Tensor) -> list[int]:
    values = codes.tolist()
    return [values.index(value) for value in values]


def test_a_code_for_each_value_of_a_column(train: ImageSplit) -> None:
    ids = train.ids.to_pylist()
    codes_NC = encoded(train, "multi_head", columns=["size", "colour"])
    places = [int(image.rsplit("/")[-1].split(".")[0]) for image in ids]
    expected = [COLOURS[place] for place in places]
    assert [code < 0 for code in codes_NC[:, 1].tolist()] == [colour == "" for colour in expected]
    assert partition(codes_NC[:, 1]) == [expected.index(colour) for colour in expected]
    # Numbers are joined in four parts, as for clusters.
    assert partition(codes_NC[:, 0]) == partition(torch.tensor([COUNTS[place] for place in places]))


def test_by_default_each_column_whose_values_repeat_has_a_head(train: ImageSplit) -> None:
    by_name = [encoded(train, "multi_head", columns=[name]) for name in ("colour", "size")]
    assert torch.equal(encoded(train, "multi_head"), torch.cat(by_name, dim=1))


def test_values_and_hashtags_that_images_share(train: ImageSplit) -> None:
    has_NA = encoded(train, "soft")
    # red, blue, four parts of the numbers, #sun, #sea, #alone0, but no title; and `one` does not differ.
    assert has_NA.shape == (IMAGES, 9)
    assert set(has_NA.unique().tolist()) == {0, 1}
    places = [int(image.rsplit("/")[-1].split(".")[0]) for image in train.ids.to_pylist()]
    expected = [bool(COLOURS[p]) + 1 + len({"", *TAGS[p].replace(";", " ").split()}) - 1 for p in places]
    assert has_NA.sum(dim=1).tolist() == expected
    assert encoded(train, "soft", values=3).shape == (IMAGES, 3)


def test_other_objectives_take_the_binary_values(train: ImageSplit) -> None:
    _, vectors_NA = attribute_vectors(train)
    assert torch.equal(encoded(train, "cmc"), torch.from_numpy(vectors_NA))
    ids = train.ids.to_pylist()
    assert torch.equal(encoded(train, "cmc", ids[3:5]), torch.from_numpy(vectors_NA[3:5]))


def test_who_learns_from_none_gets_none(train: ImageSplit) -> None:
    for objective, traits in TRAITS.items():
        params = PretrainParams.model_validate({"objective": objective})
        assert (attributes_of(params, train, []) is None) == (traits.learns_from != "attributes")


@pytest.mark.parametrize(
    ("block", "sentence"),
    [
        (
            {"columns": ["color", "size"]},
            "names color, and the images have the attributes colour, size, ",
        ),
        (
            {"columns": ["size"], "weights": [1.0, 2.0]},
            "holds 2 numbers, and .* 1 columns: give each column",
        ),
        ({"weights": [1.0]}, "holds 1 numbers, and pretrain.multi_head.columns 0 columns"),
        ({"columns": ["size", "size"]}, "names a column twice"),
        ({"columns": ["size"], "weights": [0.0]}, "greater than 0"),
        ({"columns": [str(number) for number in range(33)]}, "at most 32"),
    ],
)
def test_what_does_not_fit_is_refused(train: ImageSplit, block: dict[str, Any], sentence: str) -> None:
    with pytest.raises((UserError, ValueError), match=sentence):
        encoded(train, "multi_head", **block)


def test_more_columns_than_heads_are_refused(manifest: Callable[..., Path], tmp_path: Path) -> None:
    columns = {f"c{number}": ["x", "y"] * 6 for number in range(33)}
    path = manifest(IMAGES, split=["train"] * IMAGES, **columns)
    layout = Layout(tmp_path / "data")
    ingest(params_with(ingest={"source": "manifest", "path": str(path)}).ingest, 0, layout)
    with pytest.raises(UserError, match=r"35 attributes differ between images: name at most 32 in "):
        encoded(ImageSplit(layout.images, "train"), "multi_head")
