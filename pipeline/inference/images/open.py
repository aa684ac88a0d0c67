"""A path that a user names -> the images there: a folder of files, or Parquet."""

import os
from pathlib import Path
from typing import Any

from pipeline.inference.images.base import Pictures, pictures_root
from pipeline.inference.images.folder import PicturesInFolder
from pipeline.inference.images.parquet import PicturesInParquet, has_images, open_tables
from pipeline.runtime.errors import UserError
from pipeline.untrusted.safe_paths import Root, SafePath, UnsafePath
from pipeline.untrusted.walk import Skipped, Walk

TABLE = ".parquet"
IMAGE_SUFFIXES = {
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"),
    *(".avif", ".jp2", ".ppm", ".pgm", ".pbm", ".tga"),
}


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
    paths, images, skipped = _files_in(root)
    opened = open_tables(paths) if paths else {}
    tables = {path: outline for path, outline in opened.items() if has_images(outline, image_column)}
    if tables and images:
        raise UserError(
            f"{source} holds image files and Parquet files with images: name the folder of one of them"
        )
    if tables:
        return PicturesInParquet(source, root, tables, image_column, id_column)
    if not images and not skipped:
        raise UserError(f"{source} holds no image file and no Parquet file with images: name another folder")
    if image_column or id_column:
        raise UserError(f"{source} holds image files, which have no columns: leave the column options out")
    return PicturesInFolder(root, sorted([*images, *skipped], key=_bytes_of_name))


def open_again(place: dict[str, Any], *, allow_outside_paths: bool = False) -> Pictures | None:
    """Opens the images at a `Pictures.place`; returns None if they no longer exist."""
    try:
        columns = place.get("image_column"), place.get("id_column")
        return open_pictures(Path(place["path"]), *columns, allow_outside_paths=allow_outside_paths)
    except (UserError, OSError, KeyError, TypeError):
        return None


def _files_in(root: Root) -> tuple[list[SafePath], list[str], list[Skipped]]:
    """Returns the Parquet files, the image files, and skipped entries that might hold or be images.

    Hidden files are left out. Raises `UnsafePath` for a file named like Parquet that can't be read.
    """
    tables: list[str] = []
    images: list[str] = []
    skipped: list[Skipped] = []
    for found in Walk(root).files():
        path = found if isinstance(found, str) else found.path
        suffix = Path(path).suffix.lower()
        if suffix == TABLE:
            if isinstance(found, Skipped):
                raise UnsafePath(root.folder / path, found.reason)
            tables.append(path)
        elif isinstance(found, str):
            if suffix in IMAGE_SUFFIXES:
                images.append(path)
        elif suffix in IMAGE_SUFFIXES or root.has_folder(path):
            skipped.append(found)
    return [root.at(path) for path in sorted(tables, key=os.fsencode)], images, skipped


def _bytes_of_name(file: str | Skipped) -> bytes:
    return os.fsencode(file if isinstance(file, str) else file.path)
