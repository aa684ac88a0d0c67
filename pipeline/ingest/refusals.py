"""Reasons why a file is not a usable image, in words for the user."""

import re

from PIL import Image, PngImagePlugin, UnidentifiedImageError

from pipeline.ingest.passthrough import MAX_PIXELS

TOO_MANY_PIXELS = f"more than {MAX_PIXELS // 1_000_000} million pixels"

SIGNATURES = {
    "JPEG": rb"\xff\xd8\xff",
    "PNG": rb"\x89PNG\r\n\x1a\n",
    "GIF": rb"GIF8[79]a",
    "BMP": rb"BM.{4}\0\0\0\0",
    "WebP": rb"RIFF.{4}WEBP",
    "TIFF": rb"II\*\0|MM\0\*|II\+\0|MM\0\+",
}
OTHER_SIGNATURES = {
    "AVIF": rb".{4}ftypavi[fs]",
    "HEIF": rb".{4}ftyp(?:hei[cxms]|hev[cx]|mif1|msf1)",
    "JPEG XL": rb"\xff\x0a|\0\0\0\x0cJXL ",
    "JPEG 2000": rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51",
    "ICO": rb"\x00\x00\x01\x00",
    "PSD": rb"8BPS",
    "EPS": rb"%!PS|\xc5\xd0\xd3\xc6",
    "PDF": rb"%PDF",
    "SVG": rb"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)?(?:<!DOCTYPE svg[^>]*>\s*)?<svg",
    "DDS": rb"DDS ",
    "ICNS": rb"icns",
    "FITS": rb"SIMPLE  =",
    "PCX": rb"\x0a[\x00-\x05]\x01[\x01\x02\x04\x08]",
}
IN_PLACE_OF_IMAGES = {
    "a pointer of Git LFS, not the image: fetch it by git lfs pull": rb"version https://git-lfs\.github\.com/",
    "a page of HTML, not an image: download it again": rb"\s*(?:<!--.*?-->\s*)?<(?:!doctype )?html\b",
    "a message of XML, not an image: download it again": rb"\s*(?:<\?xml[^>]*>\s*)?<error>",
}
"""What a clone or a download may leave under an image's name."""


def reason_of_decoder(error: Exception, data: bytes) -> str:
    """Returns the reason for refusing `data`, on which a decoder raised `error`."""
    if isinstance(error, UnidentifiedImageError):
        start = data[:1024]
        for name, signature in SIGNATURES.items():
            if re.match(signature, start, re.DOTALL):
                return f"damaged image: it begins as {name} does, and its header can't be read"
        for name, signature in OTHER_SIGNATURES.items():
            if re.match(signature, start, re.DOTALL):
                return f"the format {name}, which is not read: convert it to JPEG or PNG"
        for what, beginning in IN_PLACE_OF_IMAGES.items():
            if re.match(beginning, start, re.DOTALL | re.IGNORECASE):
                return what
        return "not an image" if data else "an empty file, not an image"
    if isinstance(error, Image.DecompressionBombError):
        return TOO_MANY_PIXELS
    if "MAX_TEXT" in str(error):
        return (
            f"XMP or EXIF texts of more than {PngImagePlugin.MAX_TEXT_CHUNK >> 20} MiB: save it anew without"
        )
    text = _printable(str(error).split("\n")[0])
    if "truncated" in text.lower() or isinstance(error, EOFError):
        return "truncated image"
    return f"damaged image: {text or type(error).__name__}"


def _printable(text: str) -> str:
    """Returns at most 200 characters of a decoder's message, which may quote the file, made printable."""
    return "".join(c if c.isprintable() else "?" for c in text)[:200]
