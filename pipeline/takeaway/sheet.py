"""The query and its neighbours side by side, as one PNG or one HTML page that loads nothing."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, ImageOps

from pipeline.errors import UserError
from pipeline.escaping import for_terminal
from pipeline.files import write_atomically, write_text
from pipeline.report.page import render
from pipeline.takeaway.decoding import Decoder
from pipeline.takeaway.pictures import Picture

SIDE, GAP, CAPTION = 160, 12, 34
COLUMNS = 6
LETTERS = 26
"""Of an id below its picture; the page shows all of them."""

Found = tuple[str, float, Picture | None]
"""A neighbour's id, its cosine, and its picture where it is still there."""


@dataclass(frozen=True)
class Shown:
    heading: str
    name: str
    image: Image.Image | None


def check_sheet(path: Path) -> None:
    if path.suffix.lower() not in {".png", ".html"}:
        raise UserError(f"--picture {path} must end in .png or .html: rename it")


def write_sheet(path: Path, query: Picture, found: Sequence[Found], decoding: Decoder) -> None:
    there = [picture for *_, picture in found if picture is not None]
    query_thumbnail, *thumbnails = map(_thumbnail, decoding.whole([query, *there], SIDE))
    coming = iter(thumbnails)
    shown = [Shown("query", for_terminal(query.id), query_thumbnail)]
    shown += [
        Shown(f"{rank}   {cosine:.4f}", for_terminal(name), None if picture is None else next(coming))
        for rank, (name, cosine, picture) in enumerate(found, start=1)
    ]
    if path.suffix.lower() == ".html":
        pictures = [(one.heading, one.name, _as_data(one.image)) for one in shown]
        write_text(path, render("nearest.html", package="pipeline.takeaway", pictures=pictures, side=SIDE))
    else:
        drawn = _drawn(shown)
        write_atomically(path, lambda temporary: drawn.save(temporary, "PNG"))


def _thumbnail(pixels_HWC: NDArray[np.uint8] | None) -> Image.Image | None:
    if pixels_HWC is None:
        return None
    image = Image.fromarray(pixels_HWC)
    # A tiny one shows its pixels, as the encoder saw them.
    tiny = 2 * max(image.size) <= SIDE
    resampling = Image.Resampling.NEAREST if tiny else Image.Resampling.BICUBIC
    return ImageOps.contain(image, (SIDE, SIDE), resampling)


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
