"""Encoders in folders as training leaves them; their weights are drawn, which costs no training."""

from pathlib import Path
from typing import Any

import torch

from pipeline.encoders import build_encoder
from pipeline.files import write_json
from pipeline.schema import IngestSummary, Layout
from pipeline.training.artifacts import EncoderConfig, write_artifacts
from pipeline.training.loop import Progress
from pipeline.training.params import PretrainParams

MEAN, DEVIATION = [0.5, 0.45, 0.4], [0.25, 0.26, 0.27]


def summary_with(**changes: Any) -> IngestSummary:
    summary: IngestSummary = {
        "source": "manifest",
        "images": {"train": 18, "test": 6},
        "rejected": 0,
        "labels": ["cat", "dog"],
        "unlabelled": {"train": 0, "test": 0},
        "attributes": ["colour"],
        "hierarchy_depth": 0,
        "images_with_hashtags": 0,
        "duplicates": 0,
        "leaks": 0,
        "mean": MEAN,
        "deviation": DEVIATION,
        "bytes": 1,
        "notes": [],
    }
    return summary | changes  # type: ignore[return-value]


def write_drawn_encoder(
    layout: Layout,
    arm: str = "chosen",
    name: str = "resnet18",
    stem_stride: int = 4,
    image_size: int = 32,
    seed: int = 0,
    **summary: Any,
) -> Path:
    """The folder of an arm, by the function that training calls, with weights and batch norms drawn."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = build_encoder(name, stem_stride)
        for module in encoder.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 2)
                torch.nn.init.uniform_(module.weight, 0.3, 0.8)
    config = EncoderConfig(name, stem_stride, encoder.feature_dim, image_size, MEAN, DEVIATION)
    provenance = {
        "arm": arm,
        "image_size": image_size,
        "seed": seed,
        "pretrain": PretrainParams().model_dump(),
        "epochs": 1,
        "train_images": 18,
        "device": "CPU",
        "precision": "float32",
    }
    told = summary_with(**summary)
    write_json(layout.ingest_summary, told)
    write_artifacts(layout.encoder(arm), encoder, config, provenance, told, Progress(), [], {})
    return layout.encoder(arm)
