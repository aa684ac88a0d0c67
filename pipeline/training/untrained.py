"""The reference `untrained`: filters taken from the train images, after Coates and Ng (2011).

Training is of little use if its results do not exceed this reference's.
"""

import torch

from pipeline.augment.normalize import Normalizer
from pipeline.config.pretrain import AugmentParams
from pipeline.dataset.dataset import ImageDataset
from pipeline.encoders.config import EncoderConfig
from pipeline.encoders.registry import UNTRAINED_ENCODER, architecture_of, build_encoder
from pipeline.runtime.errors import UserError
from pipeline.runtime.seeding import derived_seed
from pipeline.storage.schema import UNTRAINED, Layout
from pipeline.training.loaders.streamed import StreamedLoader
from pipeline.training.outputs import write_artifacts
from pipeline.training.progress import Progress
from pipeline.training.views import PixelViews
from pipeline.training.whitened_layers import Sample, fit_first_layer


def write_untrained(image_size: int, seed: int, layout: Layout) -> None:
    """Writes `layout.encoder("untrained")`. Raises `UserError` if there are fewer than two train images."""
    # Streamed, since only a sample is read; on the CPU, where all the work is done.
    device = torch.device("cpu")
    dataset = ImageDataset(layout.images)
    loader = StreamedLoader(dataset.train, None, device)
    if len(loader) < 2:
        raise UserError(f"the filters need at least 2 train images, and {layout.images} has {len(loader)}")
    summary = dataset.summary
    architecture = architecture_of(UNTRAINED_ENCODER, "auto", image_size)
    encoder = build_encoder(architecture)
    views = PixelViews(image_size, AugmentParams(), Normalizer(summary["mean"], summary["std"], device))
    sample = Sample(loader, views, derived_seed(seed, "patches"))
    fit_first_layer(encoder, sample)
    config = EncoderConfig(
        encoder=UNTRAINED_ENCODER,
        stem_stride=architecture.stem_stride,
        feature_dim=encoder.feature_dim,
        image_size=image_size,
        mean=summary["mean"],
        std=summary["std"],
        value_range=summary["value_range"],
    )
    provenance = {
        "arm": UNTRAINED,
        "seed": seed,
        "epochs": 0,
        "train_images": len(sample),
    }
    write_artifacts(layout.encoder(UNTRAINED), encoder, config, provenance, summary, Progress(), [], {}, "")
