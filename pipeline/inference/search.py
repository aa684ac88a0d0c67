"""`clinfonce search`: the images whose vectors lie nearest to that of a picture."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from pipeline.encoders.files import identity_of, missing_file
from pipeline.evaluation.features import features_of_batch
from pipeline.inference.contact_sheet import check_sheet, write_sheet
from pipeline.inference.embedder import NOT_FINITE
from pipeline.inference.images.base import InputImage
from pipeline.inference.images.decode import Decoder, decoder, on_a_canvas
from pipeline.inference.images.open import open_again
from pipeline.inference.open_encoder import OpenedEncoder, open_encoder
from pipeline.inference.vectors import Vectors
from pipeline.runtime.console import SafeConsole
from pipeline.runtime.device import pick_device
from pipeline.runtime.errors import UserError
from pipeline.runtime.sanitize import for_terminal
from pipeline.sources.base import Refusal
from pipeline.untrusted.safe_paths import SafePath


@dataclass(frozen=True)
class Neighbour:
    id: str
    cosine: float


def search(
    image: Path,
    vectors: Path,
    count: int,
    encoder_folder: Path | None,
    sheet: Path | None,
    console: SafeConsole,
    *,
    allow_outside_paths: bool = False,
) -> None:
    """Prints the nearest images, and draws them into `sheet` if it is given.

    `allow_outside_paths`: whether the drawn images may lie outside the folder that was embedded.

    Raises `UserError` for a picture, vectors or an encoder that cannot be used, or do not belong together.
    """
    if sheet is not None:
        check_sheet(sheet, count)
    opened_vectors = Vectors.open(vectors)
    opened = open_encoder(_encoder_of(opened_vectors, encoder_folder), pick_device())
    if opened_vectors.dimension != (dimension := opened.trained.encoder.feature_dim):
        raise UserError(
            f"{vectors} holds vectors of {opened_vectors.dimension:,} numbers, and its encoder makes "
            f"{dimension:,}: make it anew"
        )
    query = InputImage(image.name, SafePath(image))
    with decoder() as decoding:
        found = nearest(_vector_of(query, opened, decoding), opened_vectors.tiles(), count)
        console.print(_table(found))
        if sheet is not None:
            pictures = open_again(
                opened_vectors.description["source"], allow_outside_paths=allow_outside_paths
            )
            coming = pictures.find([neighbour.id for neighbour in found]) if pictures else iter(())
            shown = write_sheet(sheet, query, [(n.id, n.cosine) for n in found], coming, decoding)
            without = sum(neighbour.id not in shown for neighbour in found)
            lost = f", {without} without their pictures, which are gone or share an id" if without else ""
            console.echo(f"Written: {sheet}{lost}")


def nearest(
    query_D: NDArray[np.float32], tiles: Iterable[tuple[pa.Array, NDArray[np.float32]]], count: int
) -> list[Neighbour]:
    """Returns the `count` rows with the highest cosine to `query_D`; the earlier of equal rows comes first.

    Every row is compared, in float64; a vector of zeros has the cosine 0.
    """
    query_D = _unit(query_D[None].astype(np.float64))[0]
    cosines_K, ids = np.zeros(0), list[str]()
    for tile_ids, tile_TD in tiles:
        # Rounded so that equal vectors have equal cosines, whatever the order of summation.
        cosines_T = np.round(_unit(tile_TD.astype(np.float64)) @ query_D, 12)
        kth = min(count, len(cosines_T))
        at_least = np.partition(cosines_T, -kth)[-kth] if kth else 0.0
        candidates = np.flatnonzero(cosines_T >= at_least)
        cosines_K = np.concatenate([cosines_K, cosines_T[candidates]])
        ids += tile_ids.take(pa.array(candidates)).to_pylist()
        best = np.argsort(-cosines_K, kind="stable")[:count]
        cosines_K, ids = cosines_K[best], [ids[place] for place in best]
    return [Neighbour(name, float(cosine)) for name, cosine in zip(ids, cosines_K, strict=True)]


def _unit(vectors_ND: NDArray[np.float64]) -> NDArray[np.float64]:
    lengths_N1 = np.linalg.norm(vectors_ND, axis=1, keepdims=True)
    lengths_N1[lengths_N1 == 0] = 1
    unit_ND: NDArray[np.float64] = vectors_ND / lengths_N1
    return unit_ND


def _encoder_of(vectors: Vectors, named: Path | None) -> Path:
    """Returns the folder of the encoder that computed the vectors, which is identified by its hash."""
    folder = named or Path(vectors.description["encoder_folder"])
    where = "holds none"
    try:
        if missing_file(folder) is None:
            where = "holds another one"
            if identity_of(folder) == vectors.description["encoder"]:
                return folder
    except (OSError, ValueError, AttributeError):
        pass  # a damaged file is not the encoder either, and a path that is too long leads to none
    made_by = str(vectors.description["encoder"].get("weights_sha256"))[:12]
    raise UserError(
        f"{vectors.path} was made by the encoder {made_by}, and {folder} {where}: name its folder with "
        "--encoder, or run `clinfonce embed` again"
    )


def _vector_of(query: InputImage, opened: OpenedEncoder, decoding: Decoder) -> NDArray[np.float32]:
    trained = opened.trained
    (decoded,) = decoding.squares([query], trained.decoded_size, trained.value_range)
    if isinstance(decoded, Refusal):
        raise UserError(f"{query.image!s} cannot be searched for ({decoded.reason}): name a picture")
    _, square = decoded
    device = pick_device()
    canvas_NCHW, sizes_N2 = on_a_canvas([square])
    features_ND = features_of_batch(trained, canvas_NCHW.to(device), sizes_N2.to(device))
    vector_D: NDArray[np.float32] = features_ND[0].cpu().numpy()
    if not np.isfinite(vector_D).all():
        raise UserError(f"{query.image!s} cannot be searched for ({NOT_FINITE}): name another picture")
    return vector_D


def _table(found: list[Neighbour]) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("", justify="right")
    table.add_column("cosine", justify="right", no_wrap=True)
    table.add_column("id", overflow="fold")
    for rank, neighbour in enumerate(found, start=1):
        table.add_row(str(rank), f"{neighbour.cosine:.4f}", Text(for_terminal(neighbour.id)))
    return table
