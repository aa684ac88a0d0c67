"""A path that a person names -> the images there: a folder of files, or Parquet."""

import os
from pathlib import Path
from typing import Any

from pipeline.errors import UserError
from pipeline.takeaway.folder import PicturesInFolder
from pipeline.takeaway.parquet import PicturesInParquet, has_images
from pipeline.takeaway.pictures import Pictures

IMAGE_SUFFIXES = {
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"),
    *(".avif", ".jp2", ".ppm", ".pgm", ".pbm", ".tga"),
}


def open_pictures(source: Path, image_column: str | None = None, id_column: str | None = None) -> Pictures:
    """Raises `UserError` where there is nothing to embed, or it is not clear what."""
    if source.is_file():
        if source.suffix.lower() != ".parquet":
            raise UserError(f"{source} is neither a folder nor a Parquet file: name one of these")
        return PicturesInParquet(source, [source], image_column, id_column)
    if not source.is_dir():
        raise UserError(f"{source} does not exist: name a folder of images or a Parquet file")
    tables = [path for path in files_below(source, {".parquet"}) if has_images(path, image_column)]
    images = files_below(source, IMAGE_SUFFIXES)
    if tables and images:
        raise UserError(
            f"{source} holds image files and Parquet files with images: name the folder of one of them"
        )
    if tables:
        return PicturesInParquet(source, tables, image_column, id_column)
    if not images:
        raise UserError(f"{source} holds no image file and no Parquet file with images: name another folder")
    if image_column or id_column:
        raise UserError(f"{source} holds image files, which have no columns: leave the column options out")
    return PicturesInFolder(source, images)


def open_again(place: dict[str, Any]) -> Pictures | None:
    """What `Pictures.place` told of; None where it is gone."""
    try:
        return open_pictures(Path(place["path"]), place.get("image_column"), place.get("id_column"))
    except (UserError, OSError, KeyError, TypeError):
        return None


def files_below(folder: Path, suffixes: set[str]) -> list[Path]:
    """Regular files with one of `suffixes`, sorted by their names' bytes; nothing hidden."""
    found: list[Path] = []
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths = (Path(root, name) for name in names if not name.startswith("."))
        found += [path for path in paths if path.suffix.lower() in suffixes and path.is_file()]
    return sorted(found, key=lambda path: os.fsencode(path.relative_to(folder).as_posix()))
