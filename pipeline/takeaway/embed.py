"""`clinfonce embed`: images -> their features, in one Parquet file."""

import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console

from pipeline.devices import device_name, pick_device
from pipeline.errors import UserError
from pipeline.escaping import for_terminal, for_utf8
from pipeline.files import write_atomically, write_csv
from pipeline.locks import held_alone
from pipeline.progress import measured
from pipeline.schema import ENCODER_CONFIG, ENCODER_WEIGHTS
from pipeline.sources.base import Refusal
from pipeline.takeaway.batches import BatchEncoder, batch_size_for
from pipeline.takeaway.decoding import Decoder, decoder
from pipeline.takeaway.encoder import OpenedEncoder, open_encoder
from pipeline.takeaway.opening import open_pictures
from pipeline.takeaway.parts import Parts
from pipeline.takeaway.pictures import Pictures
from pipeline.takeaway.vectors import Vectors, vectors_schema, vectors_writer
from pipeline.training.state import fingerprint


def embed(
    source: Path,
    output: Path,
    encoder_folder: Path,
    batch_size: int | None,
    image_column: str | None,
    id_column: str | None,
    console: Console,
) -> None:
    """Writes `output` and, where images were refused, `<output>.rejects.csv`.

    A run that was killed goes on where it was. Raises `UserError` for a source or encoder that cannot be
    read, and where no image can be used.
    """
    _check_output(output)
    pictures = open_pictures(source, image_column, id_column)
    device = pick_device()
    opened = open_encoder(encoder_folder, device)
    made_of = _fingerprint(opened, pictures, device)
    description = {
        "encoder": opened.identity,
        "encoder_folder": for_utf8(str(opened.folder.resolve())),
        "source": pictures.place,
        "fingerprint": made_of,
    }
    schema = vectors_schema(opened.trained.encoder.feature_dim, description)
    parts = Parts(output, made_of, pictures.count, schema)
    with held_alone(parts.lock, f"embedding into {output}"):
        if _holds(output, made_of):
            parts.discard()
            _say(console, f"{output} holds the vectors of these images already")
            return
        size = batch_size or batch_size_for(opened.identity, device)
        _say(
            console,
            f"{pictures.count:,} images, encoder {opened.name}, {device_name(device)}, batches of {size:,}",
        )
        _make_missing(parts, pictures, opened, BatchEncoder(opened.trained, device, size), console)
        refusals = list(parts.refusals())
        if not parts.rows():
            parts.discard()
            raise UserError(f"{source} gave no usable image ({_reasons(refusals)})")
        _write_rejects(_rejects_of(output), refusals)
        write_atomically(output, lambda temporary: _merge(parts, temporary))
        rows = parts.rows()
        parts.discard()
    _say(console, f"{rows:,} vectors of {schema.field('vector').type.list_size:,} numbers in {output}")
    if refusals:
        _say(
            console,
            f"{len(refusals):,} images were refused ({_reasons(refusals)}), listed in {_rejects_of(output)}",
        )


def _check_output(output: Path) -> None:
    if output.is_dir():
        raise UserError(f"--output {output} is a folder: name a file such as {output / 'vectors.parquet'}")
    if output.suffix.lower() != ".parquet":
        raise UserError(f"--output {output} must end in .parquet: rename it")


def _fingerprint(opened: OpenedEncoder, pictures: Pictures, device: torch.device) -> str:
    choices = {"source": pictures.place, "files": pictures.state(), "device": device_name(device)}
    return fingerprint(choices, [opened.folder / name for name in (ENCODER_WEIGHTS, ENCODER_CONFIG)])


def _holds(output: Path, made_of: str) -> bool:
    try:
        return Vectors.open(output).fingerprint == made_of
    except UserError:
        return False


def _make_missing(
    parts: Parts, pictures: Pictures, opened: OpenedEncoder, encoder: BatchEncoder, console: Console
) -> None:
    missing = parts.missing()
    left = sum(stop - start for start, stop in (parts.ranges[number] for number in missing))
    if left < pictures.count:
        _say(console, f"going on: {pictures.count - left:,} images were embedded before")
    started = time.monotonic()
    with (
        measured("embed", pictures.count, pictures.count - left) as advance,
        decoder(opened.trained.image_size) as decoding,
    ):
        for number in missing:
            start, stop = parts.ranges[number]
            ids, vectors_ND, refusals = _embedded(decoding, pictures, start, stop, encoder, advance)
            parts.write(number, ids, vectors_ND, refusals)
    if left:
        seconds = time.monotonic() - started
        _say(console, f"{left:,} images in {seconds:,.1f} s, {left / seconds:,.0f} images/s")


def _embedded(
    decoding: Decoder,
    pictures: Pictures,
    start: int,
    stop: int,
    encoder: BatchEncoder,
    advance: Callable[[int], None],
) -> tuple[list[str], NDArray[np.float32], list[Refusal]]:
    ids: list[str] = []
    refusals: list[Refusal] = []
    batch: list[NDArray[np.uint8]] = []
    features: list[torch.Tensor] = []
    for decoded in decoding.squares(pictures.between(start, stop)):
        advance(1)
        if isinstance(decoded, Refusal):
            refusals.append(decoded)
            continue
        name, square = decoded
        ids.append(name)
        batch.append(square)
        if encoder.is_full(batch):
            features.append(encoder.features(batch))
            batch = []
    if batch:
        features.append(encoder.features(batch))
    empty = np.zeros((0, 1), np.float32)
    # Only here the host waits for the device.
    return ids, torch.cat(features).cpu().numpy() if features else empty, refusals


def _merge(parts: Parts, path: Path) -> None:
    tables = parts.tables()
    first = next(tables)
    with vectors_writer(path, first.schema) as writer:
        for table in (first, *tables):
            if len(table):
                writer.write_table(table, row_group_size=len(table))


def _rejects_of(output: Path) -> Path:
    return output.with_name(f"{output.name}.rejects.csv")


def _write_rejects(path: Path, refusals: list[Refusal]) -> None:
    if not refusals:
        path.unlink(missing_ok=True)
        return
    rows = [{"where": refusal.where, "reason": refusal.reason} for refusal in refusals]
    write_csv(path, ["where", "reason"], rows)


def _reasons(refusals: Iterable[Refusal]) -> str:
    counts = Counter(refusal.reason for refusal in refusals).most_common(3)
    return "; ".join(f"{count:,} x {for_terminal(reason)}" for reason, count in counts)


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)
