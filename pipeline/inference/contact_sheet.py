"""The query and its neighbours side by side, as a PNG or an HTML page that loads nothing."""

import base64
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from pipeline.inference.images.base import InputImage
from pipeline.inference.images.decode import Decoder
from pipeline.presentation.html import render
from pipeline.runtime.errors import UserError
from pipeline.runtime.sanitize import for_terminal
from pipeline.storage.files import write_atomically, write_text
from pipeline.storage.outputs import check_is_no_output
from pipeline.untrusted.safe_paths import SafePath

SIDE, GAP, CAPTION = 160, 12, 34
COLUMNS = 6
LETTERS = 26
"""Maximum number of characters of an id below its picture in a PNG; a page shows the whole id."""

MOST_FOUND = 1000
MARK, TITLE, MARK_WITHIN = "clinfonce search", "Nearest images, by clinfonce search", 1 << 10
"""Marks of a sheet, a PNG or a page, within its first bytes; files without a mark are not replaced."""

Found = tuple[str, float]
"""A neighbour's id, and its cosine."""


@dataclass(frozen=True)
class Shown:
    heading: str
    name: str
    image: Image.Image | None


def check_sheet(path: Path, count: int) -> None:
    check_is_no_output(path, "--picture")
    if count > MOST_FOUND:
        raise UserError(f"--picture shows at most {MOST_FOUND:,} neighbours: lower --count, or leave it out")
    if path.suffix.lower() not in {".png", ".html"}:
        raise UserError(f"--picture {path} must end in .png or .html: rename it")
    if SafePath(path).is_there() and not _is_a_sheet(SafePath(path)):
        raise UserError(
            f"--picture {path} is there, and `clinfonce search` did not write it: name another file"
        )


def _is_a_sheet(path: SafePath) -> bool:
    with path.open_binary() as file:
        begin = file.read(MARK_WITHIN)
    is_page = begin.startswith(b"<!doctype html>") and f"<title>{TITLE}</title>".encode() in begin
    return is_page or (begin.startswith(b"\x89PNG") and b"tEXtSoftware\0" + MARK.encode() in begin)


def write_sheet(
    path: Path, query: InputImage, found: Sequence[Found], pictures: Iterable[InputImage], decoding: Decoder
) -> set[str]:
    """Writes a sheet. `pictures` are those of the neighbours that still exist, in any order; returns their
    ids."""
    shown_ids: list[str] = []

    def coming() -> Iterator[InputImage]:
        yield query
        for picture in pictures:
            shown_ids.append(picture.id)
            yield picture

    query_thumbnail, *thumbnails = (
        None if pixels_HWC is None else Image.fromarray(pixels_HWC)
        for pixels_HWC in decoding.whole(coming(), SIDE)
    )
    by_id = dict(zip(shown_ids, thumbnails, strict=True))
    shown = [Shown("query", for_terminal(query.id), query_thumbnail)]
    shown += [
        Shown(f"{rank}   {cosine:.4f}", for_terminal(name), by_id.get(name))
        for rank, (name, cosine) in enumerate(found, start=1)
    ]
    if path.suffix.lower() == ".html":
        cells = [(one.heading, one.name, _as_data(one.image)) for one in shown]
        write_text(
            path, render("nearest.html", package="pipeline.inference", title=TITLE, pictures=cells, side=SIDE)
        )
    else:
        drawn = _drawn(shown)
        mark = PngInfo()
        mark.add_text("Software", MARK)
        write_atomically(path, lambda temporary: drawn.save(temporary, "PNG", pnginfo=mark))
    return set(by_id)


def _as_data(image: Image.Image | None) -> str | None:
    if image is None:
        return None
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _drawn(shown: Sequence[Shown]) -> Image.Image:
    columns = min(COLUMNS, len(shown))
    rows = -(-len(shown) // columns)
    step_x, step_y = SIDE + GAP, SIDE + CAPTION + GAP
    sheet = Image.new("RGB", (GAP + columns * step_x, GAP + rows * step_y), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=12)
    for place, one in enumerate(shown):
        left, top = GAP + place % columns * step_x, GAP + place // columns * step_y
        if one.image is None:
            draw.rectangle((left, top, left + SIDE, top + SIDE), fill="#eeeeee")
            draw.text((left + SIDE / 2, top + SIDE / 2), "not found", fill="#777777", font=font, anchor="mm")
        else:
            aside, down = (SIDE - one.image.width) // 2, (SIDE - one.image.height) // 2
            sheet.paste(one.image, (left + aside, top + down))
        name = one.name if len(one.name) <= LETTERS else f"...{one.name[3 - LETTERS :]}"
        draw.text((left, top + SIDE + 2), one.heading, fill="black", font=font)
        draw.text((left, top + SIDE + 17), name, fill="#555555", font=font)
        if place == 0:
            draw.rectangle((left - 3, top - 3, left + SIDE + 3, top + SIDE + 3), outline="#005fa8", width=2)
    return sheet
