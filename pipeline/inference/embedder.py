"""Some consecutive images -> the file of their vectors."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import compress
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.executors.workers import worker_count
from pipeline.inference.batching import BatchEncoder, batch_size_for
from pipeline.inference.chunks import write_chunk
from pipeline.inference.images.base import Pictures
from pipeline.inference.images.crop import Decoded
from pipeline.inference.images.decode import Decoder
from pipeline.inference.images.open import open_pictures
from pipeline.inference.open_encoder import OpenedEncoder, open_encoder
from pipeline.runtime.device import pick_device
from pipeline.sources.base import Refusal

Advance = Callable[[int], None]
NOT_FINITE = "the encoder makes no finite numbers of it"


@dataclass(frozen=True)
class Request:
    """The request of an embedding, sufficient for any process that sees the same files."""

    source: Path
    image_column: str | None
    id_column: str | None
    encoder_folder: Path
    batch_size: int | None
    allow_outside_paths: bool = False
    """Whether links and paths in the source may lead out of its folder."""


@dataclass(frozen=True)
class Embedder:
    """The opened images and encoder of a request."""

    pictures: Pictures
    opened: OpenedEncoder
    device: torch.device
    encoder: BatchEncoder

    @classmethod
    def open(cls, request: Request) -> "Embedder":
        """Opens a request. Raises `UserError` for images or an encoder that cannot be read."""
        device = pick_device()
        columns = request.image_column, request.id_column
        pictures = open_pictures(request.source, *columns, allow_outside_paths=request.allow_outside_paths)
        opened = open_encoder(request.encoder_folder, device)
        size = request.batch_size or batch_size_for(opened.identity, device)
        return cls(pictures, opened, device, BatchEncoder(opened.trained, device, size))

    def write(self, decoding: Decoder, start: int, stop: int, path: Path, advance: Advance) -> None:
        """Writes the vectors of the images at `start` to `stop`, exclusive, and the refusals."""
        pictures = self.pictures.between(start, stop)
        trained = self.opened.trained
        decoded = decoding.squares(pictures, trained.decoded_size, trained.value_range)
        write_chunk(path, *_embedded(decoded, self.encoder, advance))


def write_range(request: Request, start: int, stop: int, path: Path) -> None:
    """Writes the images at `start` to `stop`, exclusive, as a job of an executor."""
    _embedder(request).write(_decoder(), start, stop, path, lambda _: None)


@lru_cache(1)
def _embedder(request: Request) -> Embedder:
    """Opens a request; cached, since a worker embeds many ranges of it."""
    return Embedder.open(request)


@cache
def _decoder() -> Decoder:
    """Returns the decoder of this process, which ends with it."""
    return Decoder(worker_count())


def _embedded(
    coming: Iterable[Decoded | Refusal], encoder: BatchEncoder, advance: Advance
) -> tuple[list[str], NDArray[np.float32], list[Refusal]]:
    ids: list[str] = []
    refusals: list[Refusal] = []
    batch: list[NDArray[np.uint8]] = []
    features: list[torch.Tensor] = []
    for decoded in coming:
        advance(1)
        if isinstance(decoded, Refusal):
            refusals.append(decoded)
            continue
        name, square = decoded
        if encoder.would_overflow(batch, square):
            features.append(encoder.features(batch))
            batch = []
        ids.append(name)
        batch.append(square)
        if encoder.is_full(batch):
            features.append(encoder.features(batch))
            batch = []
    if batch:
        features.append(encoder.features(batch))
    # The host waits for the device only here.
    vectors_ND = torch.cat(features).cpu().numpy() if features else np.zeros((0, 1), np.float32)
    usable_N: NDArray[np.bool_] = np.logical_and.reduce(np.isfinite(vectors_ND), axis=1)
    refusals += [Refusal(name, NOT_FINITE) for name in compress(ids, ~usable_N)]
    return list(compress(ids, usable_N)), vectors_ND[usable_N], refusals
