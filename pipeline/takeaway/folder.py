"""A folder of image files, at any depth."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pipeline.escaping import for_utf8
from pipeline.sources.base import Refusal
from pipeline.takeaway.pictures import Picture, state_of_files


class PicturesInFolder:
    """An image's id is its path from the folder on."""

    def __init__(self, folder: Path, files: Sequence[Path]) -> None:
        self._folder, self._files = folder, files
        self.count = len(files)
        self.place: dict[str, Any] = {"path": for_utf8(str(folder.resolve()))}

    def state(self) -> list[Any]:
        return state_of_files(self._files)

    def between(self, start: int, stop: int) -> Iterator[Picture | Refusal]:
        for file in self._files[start:stop]:
            name = file.relative_to(self._folder).as_posix()
            storable = for_utf8(name)
            yield Picture(name, file) if storable == name else Refusal(storable, "the name is not UTF-8")

    def find(self, ids: Sequence[str]) -> dict[str, Picture]:
        # By the listing: an id from a stranger's file must not lead out of the folder.
        file_of = {file.relative_to(self._folder).as_posix(): file for file in self._files}
        return {name: Picture(name, file_of[name]) for name in ids if name in file_of}
