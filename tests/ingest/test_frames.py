"""Further pages and frames are found in every format, and only the first is stored."""

import io
import struct
from typing import Any

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from pipeline.ingest import frames
from pipeline.ingest.prepare import prepare_image

PICTURES = [
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (12, 12, 3), np.uint8)) for seed in range(3)
]
OPTIONS: dict[str, dict[str, Any]] = {"TIFF": {}, "GIF": {}, "PNG": {}, "WEBP": {"lossless": True}}


def encoded(pictures: list[Image.Image], kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    pictures[0].save(buffer, kind, save_all=True, append_images=pictures[1:], **OPTIONS[kind], **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", OPTIONS)
def test_further_frames_are_noticed_and_the_first_is_stored_as_if_alone(kind: str) -> None:
    alone = prepare_image(encoded(PICTURES[:1], kind), 64)
    several = prepare_image(encoded(PICTURES, kind), 64)
    assert several.has_further_frames
    assert not alone.has_further_frames
    assert several.content_hash == alone.content_hash


def test_an_animation_whose_default_picture_is_no_frame_of_it_is_noticed() -> None:
    assert prepare_image(encoded(PICTURES[:2], "PNG", default_image=True), 64).has_further_frames


def pages(*kinds: dict[int, int]) -> bytes:
    """Returns a TIFF with a page for each set of tags."""
    buffer = io.BytesIO()
    with TiffImagePlugin.AppendingTiffWriter(buffer, new=True) as pages:
        for tags in kinds:
            PICTURES[0].save(pages, "TIFF", tiffinfo=tags)
            pages.newFrame()
    return buffer.getvalue()


SMALLER, MASK, SMALLER_OF_OLD, FULL = {254: 1}, {254: 4}, {255: 2}, {254: 0}


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        ([{}], False),
        ([{}, SMALLER], False),
        ([{}, MASK, SMALLER_OF_OLD], False),
        ([{}, SMALLER, FULL], True),
        ([{}, *[SMALLER] * (frames.MOST_PAGES - 2), FULL], True),
        ([{}, *[SMALLER] * frames.MOST_PAGES, FULL], False),  # not looked at
    ],
)
def test_smaller_copies_and_masks_of_a_page_are_no_further_pages(
    kinds: list[dict[int, int]], expected: bool
) -> None:
    assert prepare_image(pages(*kinds), 64).has_further_frames == expected


def test_a_page_that_leads_back_to_itself_is_one_page() -> None:
    content = encoded(PICTURES[:1], "TIFF")
    (directory,) = struct.unpack_from("<I", content, 4)
    (entries,) = struct.unpack_from("<H", content, directory)
    behind = directory + 2 + 12 * entries
    circular = content[:behind] + struct.pack("<I", directory) + content[behind + 4 :]
    assert not prepare_image(circular, 64).has_further_frames


@pytest.mark.parametrize("kind", ["TIFF", "GIF"])
def test_what_is_damaged_behind_the_first_frame_does_not_refuse_it(kind: str) -> None:
    several = encoded(PICTURES, kind)
    whole = prepare_image(several, 64)
    for length in range(len(several) - 1, len(several) - 400, -13):
        assert prepare_image(several[:length], 64).encoded == whole.encoded


COMMENT = b"!\xfe\x02hi\0"
FIRST = encoded(PICTURES[:1], "GIF")[:-1]
SECOND = FIRST[13 + 3 * 256 :] + b";"
MOST_BLOCKS = 1_000


@pytest.mark.parametrize(
    ("behind", "expected"),
    [
        (SECOND, True),
        (COMMENT * 3 + SECOND, True),
        (b"!\xfe" + b"\x02;," * 50 + b"\0" + SECOND, True),
        (b"!\xff\x0bNETSCAPE2.0\x03\x01\0\0\0" + SECOND, True),
        (b"\0\0\xff" + SECOND, True),  # Pillow skips bytes between blocks, too
        (b"", False),
        (b";" + SECOND, False),
        (COMMENT + b";" + SECOND, False),
        (b"!\xfe" + b"\x05hello" * 50, False),
        # Not looked at:
        (COMMENT * MOST_BLOCKS + SECOND, False),
        (b"!\xfe" + b"\x01c" * MOST_BLOCKS + b"\0" + SECOND, False),
        (b"\0" * MOST_BLOCKS + SECOND, False),
    ],
    ids=range(12),
)
def test_what_lies_behind_the_first_image_of_a_gif(
    behind: bytes, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frames, "MOST_GIF_BLOCKS", MOST_BLOCKS)
    prepared = prepare_image(FIRST + behind, 64)
    assert prepared.has_further_frames == expected
    assert prepared.encoded == prepare_image(FIRST + b";", 64).encoded


@pytest.mark.parametrize("colors", [2, 16, 256])
def test_frames_with_their_own_colors(colors: int) -> None:
    pictures = [picture.quantize(colors) for picture in PICTURES]
    for count in (1, 2, 3):
        assert prepare_image(encoded(pictures[:count], "GIF"), 64).has_further_frames == (count > 1)


def test_the_second_picture_behind_a_photo_is_not_a_frame() -> None:
    buffer = io.BytesIO()
    PICTURES[0].save(buffer, "MPO", save_all=True, append_images=PICTURES[1:])
    assert not prepare_image(buffer.getvalue(), 64).has_further_frames
