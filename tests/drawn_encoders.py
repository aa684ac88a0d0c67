"""Encoders in folders as training leaves them; their weights are drawn, which costs no training."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from pipeline.config.pretrain import PretrainParams
from pipeline.encoders.base import Architecture, Encoder
from pipeline.encoders.config import EncoderConfig
from pipeline.encoders.registry import build_encoder
from pipeline.objectives.cl_infonce import ClInfoNCE
from pipeline.storage.schema import Layout
from pipeline.training.outputs import write_artifacts
from pipeline.training.progress import Progress
from support import write_summary

MEAN, DEVIATION = [0.5, 0.45, 0.4], [0.25, 0.26, 0.27]


@lru_cache(4)
def _drawn(architecture: Architecture, seed: int) -> Encoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = build_encoder(architecture)
        if architecture.has_adapter:
            adapter = encoder.backbone.get_submodule("adapter")
            assert isinstance(adapter, torch.nn.Linear)
            adapter.reset_parameters()
        for module in encoder.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                assert module.running_mean is not None
                assert module.running_var is not None
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 2)
                torch.nn.init.uniform_(module.weight, 0.3, 0.8)
    return encoder


def write_drawn_encoder(
    layout: Layout,
    arm: str = "chosen",
    name: str = "resnet18",
    stem_stride: int | None = 4,
    image_size: int = 32,
    seed: int = 0,
    pretrain: PretrainParams = PretrainParams(),  # noqa: B008 - it is frozen
    value_range: list[float] | None = None,
    preparation: dict[str, Any] | None = None,
    **summary: Any,
) -> Path:
    """The folder of an arm, by the function that training calls, with weights and batch norms drawn.

    `preparation` holds further values of config.json.
    """
    has_adapter = (preparation or {}).get("has_adapter", False)
    encoder = _drawn(Architecture(name, stem_stride, image_size, has_adapter), seed)
    config = EncoderConfig(
        encoder=name,
        stem_stride=stem_stride,
        feature_dim=encoder.feature_dim,
        image_size=image_size,
        mean=MEAN,
        std=DEVIATION,
        value_range=value_range,
        **preparation or {},
    )
    provenance = {
        "arm": arm,
        "image_size": image_size,
        "seed": seed,
        "pretrain": pretrain.model_dump(),
        "epochs": 1,
        "train_images": 18,
        "device": "CPU",
        "precision": "float32",
    }
    if pretrain.teacher.vectors is not None:
        provenance["teacher"] = {"sha256": "5e" * 32}
    ingested = write_summary(layout.images, 18, 6, **summary)
    beside = ClInfoNCE.beside_published
    write_artifacts(layout.encoder(arm), encoder, config, provenance, ingested, Progress(), [], {}, beside)
    return layout.encoder(arm)
