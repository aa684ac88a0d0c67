"""The reference that learned nothing: filters from pixels alone, in a folder like any encoder's."""

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
import torch

from pipeline.dataset.dataset import ImageSplit
from pipeline.dataset.pixels import load_pixels
from pipeline.encoders.patches import WhitenedPatches
from pipeline.encoders.whitening import fit
from pipeline.evaluation.features import features_of, load_encoder
from pipeline.ingest.run import ingest
from pipeline.runtime.errors import UserError
from pipeline.storage.files import read_json
from pipeline.storage.schema import Layout
from pipeline.training import whitened_layers
from pipeline.training.untrained import write_untrained
from support import blank_out_all_but, params_with

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")


@pytest.fixture
def data(manifest: Callable[..., Path], tmp_path: Path) -> Layout:
    layout = Layout(tmp_path / "data")
    ingest(params_with(ingest={"source": "manifest", "path": str(manifest(24))}).ingest, 0, layout)
    return layout


def weights(layout: Layout) -> bytes:
    return (layout.encoder("untrained") / "encoder.safetensors").read_bytes()


def test_it_is_an_encoder_like_any_other(data: Layout) -> None:
    write_untrained(12, 0, data)
    config = read_json(data.encoder("untrained") / "config.json")
    assert (config["encoder"], config["epochs"], config["train_images"]) == ("whitened_patches", 0, 18)
    features = features_of(
        load_encoder(data.encoder("untrained"), CPU), load_pixels(ImageSplit(data.images, "test")), CPU
    )
    assert features.shape == (6, config["feature_dim"])
    assert float(features.std()) > 0
    assert "not trained" in (data.encoder("untrained") / "README.md").read_text()


def test_it_follows_from_the_seed_and_the_pixels_alone(data: Layout) -> None:
    write_untrained(12, 0, data)
    first = weights(data)
    for shard in ImageSplit(data.images, "train").shards:
        blank_out_all_but({"id", "image", "width", "height"}, shard)
    write_untrained(12, 0, data)
    assert weights(data) == first
    write_untrained(12, 1, data)
    assert weights(data) != first


def test_a_sample_of_the_images_is_enough(data: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whitened_layers, "SAMPLED_IMAGES", 7)
    counts: list[int] = []

    def counting(
        layer: WhitenedPatches, views: Callable[[], Iterable[torch.Tensor]], images: int, seed: int
    ) -> None:
        counts.extend(len(batch) for batch in views())
        fit(layer, views, images, seed)

    monkeypatch.setattr(whitened_layers, "fit", counting)
    write_untrained(12, 0, data)
    assert counts == [7]


def test_a_single_image_is_too_few(manifest: Callable[..., Path], tmp_path: Path) -> None:
    layout = Layout(tmp_path / "data")
    path = manifest(2, split=["train", "test"])
    ingest(params_with(ingest={"source": "manifest", "path": str(path)}).ingest, 0, layout)
    with pytest.raises(UserError, match="at least 2 train images"):
        write_untrained(12, 0, layout)
