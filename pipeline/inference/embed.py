"""`clinfonce embed`: images -> their features, in one Parquet file."""

import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from pipeline.executors.base import Job, WorkerKilled, ordered_results
from pipeline.executors.select import ExecutorName, open_executor
from pipeline.inference.chunks import Chunks
from pipeline.inference.embedder import Advance, Embedder, Request, write_range
from pipeline.inference.images.base import Pictures
from pipeline.inference.images.decode import decoder
from pipeline.inference.open_encoder import OpenedEncoder
from pipeline.inference.vectors import Description, Vectors, is_of_embed, vectors_schema, vectors_writer
from pipeline.runtime.console import SafeConsole
from pipeline.runtime.device import device_name
from pipeline.runtime.errors import UserError
from pipeline.runtime.progress import measured
from pipeline.runtime.sanitize import for_utf8
from pipeline.sources.base import Refusal
from pipeline.storage.files import check_utf8, write_atomically, write_csv
from pipeline.storage.locks import exclusive_lock
from pipeline.storage.outputs import check_is_no_output
from pipeline.storage.schema import ENCODER_CONFIG, ENCODER_WEIGHTS
from pipeline.training.checkpoint import fingerprint
from pipeline.untrusted.safe_paths import SafePath

REJECTS_COLUMNS = ["where", "reason"]
REJECTS_HEADER = b'"where","reason"\n'


def embed(
    request: Request, output: Path, console: SafeConsole, executor: ExecutorName = ExecutorName.LOCAL
) -> None:
    """Writes `output` and, if inputs were refused, `<output>.rejects.csv`.

    A killed run resumes. Raises `UserError` for a source or encoder that cannot be read, and if no image can
    be used.
    """
    _check_output(output)
    embedder = Embedder.open(request)
    pictures, opened = embedder.pictures, embedder.opened
    pictures.check_ids()
    where = device_name(embedder.device) if executor is ExecutorName.LOCAL else executor.value
    made_of = _fingerprint(opened, pictures, where, request)
    description: Description = {
        "encoder": opened.identity,
        "encoder_folder": for_utf8(str(opened.folder.resolve())),
        "source": pictures.place,
        "fingerprint": made_of,
    }
    schema = vectors_schema(opened.trained.encoder.feature_dim, description)
    parts = Chunks(output, made_of, pictures.count, schema)
    with exclusive_lock(parts.lock, f"embedding into {output}"):
        if _holds(output, made_of):
            parts.discard()
            console.echo(f"{output} holds the vectors of these images already")
            return
        batches = f"batches of {embedder.encoder.size:,}"
        console.echo(f"{pictures.count:,} inputs, encoder {opened.name}, {where}, {batches}")
        for note in pictures.notes:
            console.echo(f"note: {note}")
        make = _make_here(embedder) if executor is ExecutorName.LOCAL else _make_on(executor, request)
        _make_missing(parts, pictures.count, make, console)
        refusals = parts.refusals()
        rows = pictures.count - len(refusals)
        if not rows:
            parts.discard()
            raise UserError(f"{request.source} gave no usable image ({_reasons(refusals)})")
        _write_rejects(_rejects_of(output), refusals)
        write_atomically(output, lambda temporary: _merge(parts, temporary))
        parts.discard()
    console.echo(f"{rows:,} vectors of {schema.field('vector').type.list_size:,} numbers in {output}")
    if refusals:
        console.echo(
            f"{len(refusals):,} inputs were refused ({_reasons(refusals)}), listed in {_rejects_of(output)}",
        )


def _check_output(output: Path) -> None:
    check_utf8(output, "--output", "name another file")
    check_is_no_output(output, "--output")
    if SafePath(output).is_folder():
        raise UserError(f"--output {output} is a folder: name a file such as {output / 'vectors.parquet'}")
    if output.suffix.lower() != ".parquet":
        raise UserError(f"--output {output} must end in .parquet: rename it")
    if SafePath(output).is_there() and not is_of_embed(output):
        raise UserError(
            f"--output {output} is there, and `clinfonce embed` did not write it: name another file"
        )
    rejects = SafePath(_rejects_of(output))
    if rejects.is_there() and not _is_list_of_refusals(rejects):
        raise UserError(f"{rejects} is there, and `clinfonce embed` did not write it: name another --output")


def _is_list_of_refusals(path: SafePath) -> bool:
    with path.open_binary() as file:
        return file.read(len(REJECTS_HEADER)) == REJECTS_HEADER


def _fingerprint(opened: OpenedEncoder, pictures: Pictures, where: str, request: Request) -> str:
    choices = {
        "source": pictures.place,
        "files": pictures.state(),
        "device": where,
        "allow_outside_paths": request.allow_outside_paths,
    }
    return fingerprint(choices, [opened.folder / name for name in (ENCODER_WEIGHTS, ENCODER_CONFIG)])


def _holds(output: Path, made_of: str) -> bool:
    try:
        return Vectors.open(output).description["fingerprint"] == made_of
    except UserError:
        return False


Make = Callable[[Chunks, list[int], Advance], None]


def _make_missing(parts: Chunks, count: int, make: Make, console: SafeConsole) -> None:
    missing = parts.missing()
    left = sum(stop - start for start, stop in (parts.ranges[number] for number in missing))
    if left < count:
        console.echo(f"going on: {count - left:,} images were embedded before")
    started = time.monotonic()
    with measured("embed", count, count - left) as advance:
        make(parts, missing, advance)
    if left:
        seconds = time.monotonic() - started
        console.echo(f"{left:,} images in {seconds:,.1f} s, {left / seconds:,.0f} images/s")


def _make_here(embedder: Embedder) -> Make:
    def make(parts: Chunks, numbers: list[int], advance: Advance) -> None:
        with decoder() as decoding:
            for number in numbers:
                embedder.write(decoding, *parts.ranges[number], parts.path(number), advance)

    return make


def _make_on(executor: ExecutorName, request: Request) -> Make:
    def make(parts: Chunks, numbers: list[int], advance: Advance) -> None:
        jobs = (Job(write_range, (request, *parts.ranges[number]), parts.path(number)) for number in numbers)
        with open_executor(executor, on_gpus=True) as opened:
            results = ordered_results(((job, False) for job in jobs), opened)
            try:
                for number, _ in zip(numbers, results, strict=True):
                    start, stop = parts.ranges[number]
                    advance(stop - start)
            except WorkerKilled:
                raise UserError(
                    f"{request.source}: a process that embedded a part of it was killed: look why on its node"
                ) from None

    return make


def _merge(parts: Chunks, path: Path) -> None:
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
    write_csv(path, REJECTS_COLUMNS, rows)


def _reasons(refusals: Iterable[Refusal]) -> str:
    counts = Counter(refusal.reason for refusal in refusals).most_common(3)
    return "; ".join(f"{count:,} x {reason}" for reason, count in counts)
