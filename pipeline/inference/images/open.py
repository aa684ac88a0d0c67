"""A path that a user names -> the images there: a folder of files, or Parquet."""

import os
import re
from pathlib import Path
from typing import Any

from pipeline.inference.images.base import Pictures, pictures_root
from pipeline.inference.images.folder import PicturesInFolder
from pipeline.inference.images.parquet import PicturesInParquet, has_images, open_tables
from pipeline.inference.vectors import METADATA
from pipeline.runtime.errors import UserError
from pipeline.sources.base import Refusal
from pipeline.sources.reading.class_folders import files_below
from pipeline.untrusted.safe_paths import Root, SafePath
from pipeline.untrusted.unsafe_path import UnsafePath
from pipeline.untrusted.walk import Walk

TABLE = ".parquet"
IMAGE_SUFFIXES = {
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"),
    *(".avif", ".heic", ".heif", ".jp2", ".ppm", ".pgm", ".pbm", ".tga"),
}
"""Names by which a folder of tables is found to hold images beside them."""
OF_EMBED = re.compile(
    r"(.*/)?[^/]+\.parquet\.(rejects\.csv|parts/(lock|[0-9a-f]{16}/\d+\.chunk))", re.IGNORECASE | re.DOTALL
)
"""Files that `embed` writes beside its output, which may lie in the folder itself."""


def open_pictures(
    source: Path,
    image_column: str | None = None,
    id_column: str | None = None,
    *,
    allow_outside_paths: bool = False,
) -> Pictures:
    """Opens the images at `source`. Raises `UserError` if there are none, or the choice is ambiguous.

    `allow_outside_paths`: whether links in a folder, and paths in Parquet, may lead out of the folder.
    """
    named = SafePath(source)
    if not named.is_there():
        raise UserError(f"{source} does not exist: name a folder of images or a Parquet file")
    if not named.is_folder():
        if source.suffix.lower() != TABLE:
            raise UserError(f"{source} is neither a folder nor a Parquet file: name one of these")
        root = pictures_root(source.parent, allow_outside_paths=allow_outside_paths)
        return PicturesInParquet(source, root, open_tables([named]), image_column, id_column)
    root = pictures_root(source, allow_outside_paths=allow_outside_paths)
    walk = Walk(root)
    paths, files = _files_in(walk, root)
    opened = open_tables(paths) if paths else {}
    tables = {path: outline for path, outline in opened.items() if has_images(outline, image_column)}
    if tables and any(_is_named_like_an_image(file) for file in files):
        raise UserError(
            f"{source} holds image files and Parquet files with images: name the folder of one of them"
        )
    if tables:
        return PicturesInParquet(source, root, tables, image_column, id_column)
    if not files:
        raise UserError(f"{source} holds no image file and no Parquet file with images: name another folder")
    if image_column or id_column:
        raise UserError(f"{source} holds image files, which have no columns: leave the column options out")
    files += [
        str(path.path.relative_to(root.folder))
        for path, outline in opened.items()
        if METADATA not in (outline.schema.metadata or {})
    ]
    return PicturesInFolder(root, sorted(files, key=_bytes_of_name), walk.passed_over.notes())


def open_again(place: dict[str, Any], *, allow_outside_paths: bool = False) -> Pictures | None:
    """Opens the images at a `Pictures.place`; returns None if they no longer exist."""
    try:
        columns = place.get("image_column"), place.get("id_column")
        return open_pictures(Path(place["path"]), *columns, allow_outside_paths=allow_outside_paths)
    except (UserError, OSError, KeyError, TypeError):
        return None


def _files_in(walk: Walk, root: Root) -> tuple[list[SafePath], list[str | Refusal]]:
    """Returns the Parquet files, and all other files and refusals, by the rule of ingest's folders.

    Leaves out what `embed` wrote there. Raises `UnsafePath` for a file named like Parquet that can't be read.
    """
    tables: list[str] = []
    others: list[str | Refusal] = []
    for found in files_below(walk):
        path = found if isinstance(found, str) else found.where
        if Path(path).suffix.lower() == TABLE:
            if isinstance(found, Refusal):
                raise UnsafePath(root.folder / path, found.reason)
            tables.append(path)
        elif not OF_EMBED.fullmatch(path):
            others.append(found)
    return [root.at(path) for path in sorted(tables, key=os.fsencode)], others


def _is_named_like_an_image(file: str | Refusal) -> bool:
    return isinstance(file, str) and Path(file).suffix.lower() in IMAGE_SUFFIXES


def _bytes_of_name(file: str | Refusal) -> bytes:
    return os.fsencode(file if isinstance(file, str) else file.where)
