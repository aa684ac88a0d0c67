"""Source `wider_attribute`: WIDER Attribute as published by its authors.

    wider_attribute_trainval.json, wider_attribute_test.json
    Image/<file_name>, such as Image/train/0--Parade/0_Parade_marchingband_1_100.jpg

Each person in an image has annotations of 14 attributes: present (1), absent (-1) or unknown (0). An image
has an attribute if any person has it, and lacks it if some person lacks it and none has it; otherwise it is
unknown.
"""

from collections.abc import Iterator
from typing import Any, Self

from pipeline.config.ingest import IngestParams
from pipeline.runtime.errors import UserError
from pipeline.runtime.json_text import NotJson, parse_json
from pipeline.sources.base import Refusal, SourceRow, Split
from pipeline.sources.reading.expected_files import find_first, named_folder
from pipeline.storage.schema import NO, YES
from pipeline.untrusted.safe_paths import Root, SafePath
from pipeline.untrusted.unsafe_path import UnsafePath

WHAT = "the folder that holds wider_attribute_trainval.json and Image"
TABLES: dict[Split, str] = {"train": "wider_attribute_trainval.json", "test": "wider_attribute_test.json"}
TABLES_IN = ["", "wider_attribute_annotation/", "Annotations/", "Anno/"]
IMAGES_AT = ["Image", "wider_attribute_image/Image", "wider_attribute_image"]
LARGEST_TABLE = 32 * 1024 * 1024
"""Maximum bytes of a table: a thousand per published person. Parsed, they take up to forty times as many."""
LONGEST_NUMBER = 18
"""Maximum number of digits of an attribute's or a scene's number."""
NO_IMAGE = "not an entry with file_name, scene_id and targets as published"


class WiderAttributeSource:
    """Label: the scene; split: trainval is train, test is test; no hashtags and no hierarchy."""

    def __init__(self, root: Root, tables: dict[Split, dict[str, Any]]) -> None:
        self._root = root
        self._tables = tables
        names = tables["train"]["attribute_id_map"]
        self._attributes = [names[key] for key in sorted(names, key=int)]
        self.attribute_names = list(self._attributes)
        self.notes = ["an image has an attribute if any of its persons has it"]

    @classmethod
    def open(cls, params: IngestParams, _seed: int) -> Self:
        """Keeps both tables in memory: 58,000 persons."""
        folder = named_folder(params, WHAT)
        images = find_first(folder, IMAGES_AT, params)
        tables = {
            split: _read(folder.at(find_first(folder, [place + name for place in TABLES_IN], params)))
            for split, name in TABLES.items()
        }
        return cls(folder.bounded(images), tables)

    def rows(self) -> Iterator[SourceRow | Refusal]:
        for split, table in self._tables.items():
            for number, entry in enumerate(table["images"], start=1):
                yield self._row(f"{TABLES[split]} image {number}", entry, table["scene_id_map"], split)

    def _row(self, where: str, entry: Any, scenes: dict[str, str], split: Split) -> SourceRow | Refusal:
        try:
            name, scene = entry["file_name"], scenes.get(str(entry["scene_id"]))
            answers = [[int(answer) for answer in person["attribute"]] for person in entry["targets"]]
            attributes = {
                attribute: _of_image([of_person[place] for of_person in answers])
                for place, attribute in enumerate(self._attributes)
            }
        except (KeyError, TypeError, ValueError, IndexError, OverflowError):
            return Refusal(where, NO_IMAGE)
        if not isinstance(name, str):
            return Refusal(where, NO_IMAGE)
        try:
            image = self._root.file(name)
        except UnsafePath as unsafe:
            return Refusal(where, unsafe.reason)
        return SourceRow(
            id=name, image=image, path=name, label=scene, split=split, attributes=attributes, where=where
        )


def _of_image(answers: list[int]) -> str | None:
    """Returns the cell of an image from the annotations of its persons, each 1, -1 or 0."""
    if 1 in answers:
        return YES
    return NO if -1 in answers else None


def _read(path: SafePath) -> dict[str, Any]:
    text = path.read_whole(LARGEST_TABLE)
    if text is None:
        raise UserError(f"{path} is larger than {LARGEST_TABLE // 1024**2} MiB: take the published file")
    try:
        table = parse_json(text)
    except NotJson:
        table = None
    if (
        isinstance(table, dict)
        and isinstance(table.get("images"), list)
        and all(_is_map(table.get(key)) for key in ("attribute_id_map", "scene_id_map"))
    ):
        return table
    raise UserError(
        f"{path} must be JSON with images, attribute_id_map and scene_id_map: take the published file"
    )


def _is_map(value: Any) -> bool:
    """Returns whether `value` maps numbers to names."""
    return isinstance(value, dict) and all(
        number.isdecimal() and len(number) <= LONGEST_NUMBER and isinstance(name, str)
        for number, name in value.items()
    )
