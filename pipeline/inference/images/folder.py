"""A folder of files, at any depth: each is an image, or is refused when it is decoded."""

from collections.abc import Iterator, Sequence
from typing import Any

from pipeline.inference.images.base import InputImage, state_of_file
from pipeline.runtime.sanitize import for_utf8
from pipeline.sources.base import Refusal
from pipeline.untrusted.safe_paths import Root


class PicturesInFolder:
    """The images of a folder. An image's id is its path relative to the folder."""

    def __init__(self, root: Root, files: Sequence[str | Refusal], notes: list[str]) -> None:
        self._root, self._files, self.notes = root, files, notes
        self.count = len(files)
        self.place: dict[str, Any] = {"path": for_utf8(str(root.folder.resolve()))}

    def state(self) -> list[Any]:
        return [
            [for_utf8(file.where), file.reason]
            if isinstance(file, Refusal)
            else state_of_file(self._root.at(file))
            for file in self._files
        ]

    def check_ids(self) -> None:
        pass  # paths are unique

    def between(self, start: int, stop: int) -> Iterator[InputImage | Refusal]:
        for file in self._files[start:stop]:
            if isinstance(file, Refusal):
                yield Refusal(for_utf8(file.where), file.reason)
            elif for_utf8(file) != file:
                yield Refusal(for_utf8(file), "the name is not UTF-8")
            else:
                yield InputImage(file, self._root.at(file))

    def find(self, ids: Sequence[str]) -> Iterator[InputImage]:
        # Only listed files: an id from an untrusted file must not lead out of the folder.
        listed = {file for file in self._files if isinstance(file, str)}
        return (InputImage(name, self._root.at(name)) for name in listed.intersection(ids))
