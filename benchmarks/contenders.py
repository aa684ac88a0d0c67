"""The same training in three implementations: ours, a plain PyTorch loop, and lightly.

All start from encoded images in memory, make two views of each, and train the same ResNet with the same head
and a contrastive loss on instances. The peers decode in their DataLoader's workers, as in their examples.
"""

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torchvision
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from pipeline.augment.normalize import Normalizer
from pipeline.config.pretrain import PretrainParams
from pipeline.dataset.pixels import PixelStore
from pipeline.encoders.base import Architecture
from pipeline.encoders.registry import architecture_of, build_encoder
from pipeline.objectives.base import Batch
from pipeline.objectives.cl_infonce import ClInfoNCE
from pipeline.training.context import Clustered, TrainingContext
from pipeline.training.loaders.in_memory import InMemoryLoader
from pipeline.training.malloc import limited_arenas
from pipeline.training.network import Network
from pipeline.training.trainer import Trainer
from pipeline.training.views import PixelViews

TEMPERATURE, HEAD_DIM = 0.2, 128
MEAN, DEVIATION = [0.5] * 3, [0.25] * 3


@dataclass(frozen=True)
class Setting:
    """What all contenders train, and on which images and device."""

    arch: str
    size: int
    batch: int
    device: torch.device
    stem_stride: int | str = "auto"

    @property
    def architecture(self) -> Architecture:
        return architecture_of(self.arch, self.stem_stride, self.size)


def encoded_images(count: int, size: int) -> list[bytes]:
    """Returns smooth noise as JPEG, which costs as much to decode as a photograph."""
    generator = torch.Generator().manual_seed(0)
    small = torch.rand(count, 3, size // 4, size // 4, generator=generator)
    pixels = functional.interpolate(small, size=size, mode="bicubic", align_corners=False).clamp(0, 1)
    images = []
    for image in (pixels * 255).byte().permute(0, 2, 3, 1).numpy():
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "JPEG", quality=90)
        images.append(buffer.getvalue())
    return images


def decoded(encoded: Sequence[bytes]) -> PixelStore:
    pixels = np.stack([np.asarray(Image.open(io.BytesIO(image))) for image in encoded])
    sizes = torch.tensor(pixels.shape[1:3]).expand(len(pixels), 2).clone()
    canvas = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    return PixelStore([str(number) for number in range(len(pixels))], canvas, sizes)


class Ours:
    """`pipeline.training.trainer` as the stage runs it, without writing checkpoints."""

    def __init__(self, setting: Setting, store: PixelStore, dtype: torch.dtype) -> None:
        precision = str(dtype).removeprefix("torch.")
        params = PretrainParams.model_validate(
            {
                "batch_size": setting.batch,
                "precision": precision,
                "epochs": 1000,
                "optimizer": "sgd",
                "learning_rate": 0.03,
            }
            | {"temperature": TEMPERATURE, "augment": {"crop_scale_min": 0.08}}
        )
        encoder = build_encoder(setting.architecture)
        self.trainer = Trainer(
            Network(encoder, ClInfoNCE(encoder.feature_dim, HEAD_DIM, TEMPERATURE)),
            InMemoryLoader(store, setting.device),
            Clustered(torch.arange(len(store))),
            None,
            PixelViews(setting.size, params.augment, Normalizer(MEAN, DEVIATION, setting.device)),
            params,
            TrainingContext("chosen", 0, setting.size, setting.device),
        )
        self.trainer.network.train()

    def run(self, steps: int) -> None:
        with limited_arenas():
            for pixels, batch in self._batches(steps):
                self.trainer.train_step(pixels, batch)

    def run_in_place(self, steps: int) -> None:
        """Runs the same steps on one batch in memory: the limit of the device alone."""
        pixels, batch = next(self._batches(1))
        with limited_arenas():
            for _ in range(steps):
                self.trainer.train_step(pixels, batch)

    def _batches(self, steps: int) -> Iterator[tuple[tuple[Tensor, Tensor], Batch]]:
        epoch = 0
        while steps > 0:
            plan = self.trainer.plan(epoch)
            requested = plan.requested[:steps]
            for pixels, batch in zip(self.trainer.loader.batches(requested), plan.batches, strict=False):
                self.trainer.progress.step = 0
                yield pixels, batch
            steps -= len(requested)
            epoch += 1


class TwoViews(Dataset[tuple[Tensor, Tensor]]):
    def __init__(
        self, encoded: Sequence[bytes], transform: Callable[[Image.Image], Sequence[Tensor]]
    ) -> None:
        self.encoded, self.transform = encoded, transform

    def __len__(self) -> int:
        return len(self.encoded)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        first, second = self.transform(Image.open(io.BytesIO(self.encoded[index])).convert("RGB"))
        return first, second


class Peer:
    """The loop of common tutorials: a DataLoader, two views, one encoder, a loss, an optimizer."""

    def __init__(
        self,
        setting: Setting,
        encoded: Sequence[bytes],
        transform: Callable[[Image.Image], Sequence[Tensor]],
        loss: Callable[[Tensor, Tensor], Tensor],
        workers: int,
        *,
        dtype: torch.dtype = torch.float32,
        channels_last: bool = False,
    ) -> None:
        self.device, self.loss = setting.device, loss
        self.format = torch.channels_last if channels_last else torch.contiguous_format
        self.autocast = torch.autocast(self.device.type, dtype, enabled=dtype != torch.float32)
        encoder = torchvision.models.get_model(setting.arch, weights=None)
        if (stride := setting.architecture.stem_stride) not in (None, 4):
            encoder.conv1 = nn.Conv2d(3, 64, 3, stride, padding=1, bias=False)
            encoder.maxpool = nn.Identity()
        dim = encoder.fc.in_features
        encoder.fc = nn.Identity()
        head = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(inplace=True), nn.Linear(dim, HEAD_DIM))
        self.network: Any = nn.Sequential(encoder, head).to(self.device).to(memory_format=self.format)
        self.optimizer = torch.optim.SGD(self.network.parameters(), lr=0.03, momentum=0.9, weight_decay=1e-4)
        self.loader = DataLoader(
            TwoViews(encoded, transform),
            batch_size=setting.batch,
            shuffle=True,
            drop_last=True,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=self.device.type == "cuda",
        )

    def run(self, steps: int) -> None:
        while steps > 0:
            for first, second in self.loader:
                views = torch.cat([first, second]).to(self.device, non_blocking=True)
                with self.autocast:
                    outputs = self.network(views.contiguous(memory_format=self.format))
                self.optimizer.zero_grad()
                self.loss(*outputs.float().chunk(2)).backward()
                self.optimizer.step()
                steps -= 1
                if steps == 0:
                    return


def plain(setting: Setting, encoded: Sequence[bytes], workers: int, **how: Any) -> Peer:
    return Peer(setting, encoded, torchvision_views(setting.size), textbook_loss, workers, **how)


def lightlys(setting: Setting, encoded: Sequence[bytes], workers: int, **how: Any) -> Peer:
    # Imported here, so that the other contenders can be measured without lightly.
    from lightly.loss import NTXentLoss
    from lightly.transforms import SimCLRTransform

    # Without blur, as in lightly's own CIFAR example and in ours here.
    transform = SimCLRTransform(input_size=setting.size, gaussian_blur=0.0)
    return Peer(setting, encoded, transform, NTXentLoss(TEMPERATURE), workers, **how)


def torchvision_views(size: int) -> Callable[[Image.Image], Sequence[Tensor]]:
    jitter = v2.ColorJitter(0.4, 0.4, 0.4, 0.1)
    one = v2.Compose(
        [
            v2.PILToTensor(),
            v2.RandomResizedCrop(size, scale=(0.08, 1.0), antialias=True),
            v2.RandomHorizontalFlip(),
            v2.RandomApply([jitter], p=0.8),
            v2.RandomGrayscale(p=0.2),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(MEAN, DEVIATION),
        ]
    )
    return lambda image: (one(image), one(image))


def textbook_loss(first: Tensor, second: Tensor) -> Tensor:
    """Computes NT-Xent as it is usually written: a matrix of all logits, a masked diagonal, cross-entropy."""
    views = functional.normalize(torch.cat([first, second]), dim=1)
    logits = views @ views.T / TEMPERATURE
    logits.fill_diagonal_(-torch.inf)
    other_view = torch.arange(len(views), device=views.device).roll(len(first))
    return functional.cross_entropy(logits, other_view)
