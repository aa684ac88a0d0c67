"""Source `torchvision`: data sets that torchvision downloads, verifies and reads.

`ingest.torchvision.dataset` names one, `ingest.path` its folder. Splits are the official ones; official
validation images become train images, as in the papers that report test accuracy.
"""

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from PIL import Image

from pipeline.config.ingest import IngestParams, TorchvisionParams
from pipeline.runtime.errors import UserError
from pipeline.sources.base import Refusal, SourceRow, Split
from pipeline.sources.reading.expected_files import named_path
from pipeline.sources.reading.source_root import source_root
from pipeline.storage.schema import NO, YES
from pipeline.untrusted.safe_paths import Root, SafePath
from pipeline.untrusted.unsafe_path import UnsafePath
from pipeline.untrusted.walk import Skipped, Walk

WHAT = "the folder in which torchvision keeps its data"
SUPERCLASS = "superclass"

SUPERCLASSES = {
    "aquatic_mammals": "beaver dolphin otter seal whale",
    "fish": "aquarium_fish flatfish ray shark trout",
    "flowers": "orchid poppy rose sunflower tulip",
    "food_containers": "bottle bowl can cup plate",
    "fruit_and_vegetables": "apple mushroom orange pear sweet_pepper",
    "household_electrical_devices": "clock keyboard lamp telephone television",
    "household_furniture": "bed chair couch table wardrobe",
    "insects": "bee beetle butterfly caterpillar cockroach",
    "large_carnivores": "bear leopard lion tiger wolf",
    "large_man-made_outdoor_things": "bridge castle house road skyscraper",
    "large_natural_outdoor_scenes": "cloud forest mountain plain sea",
    "large_omnivores_and_herbivores": "camel cattle chimpanzee elephant kangaroo",
    "medium_mammals": "fox porcupine possum raccoon skunk",
    "non-insect_invertebrates": "crab lobster snail spider worm",
    "people": "baby boy girl man woman",
    "reptiles": "crocodile dinosaur lizard snake turtle",
    "small_mammals": "hamster mouse rabbit shrew squirrel",
    "trees": "maple_tree oak_tree palm_tree pine_tree willow_tree",
    "vehicles_1": "bicycle bus motorcycle pickup_truck train",
    "vehicles_2": "lawn_mower rocket streetcar tank tractor",
}
"""The 20 superclasses of CIFAR-100 (Krizhevsky 2009), each with its five classes."""
SUPERCLASS_OF = {name: above for above, names in SUPERCLASSES.items() for name in names.split()}

Known = dict[str, Any]
"""Metadata of an image by the field names of `SourceRow`."""


def _of_class(dataset: Any, target: Any) -> Known:
    return {"label": dataset.classes[target]}


def _of_class_and_superclass(dataset: Any, target: Any) -> Known:
    name = dataset.classes[target]
    above = SUPERCLASS_OF[name]
    return {"label": name, "attributes": {SUPERCLASS: above}, "hierarchy": [above, name]}


def _of_attributes(dataset: Any, target: Any) -> Known:
    """Returns only attributes: CelebA's identities are not classes, as train and test share no person."""
    cells = (YES if present else NO for present in target.tolist())
    return {"attributes": dict(zip(_attribute_names(dataset), cells, strict=True))}


def _attribute_names(dataset: Any) -> list[str]:
    # The header ends in a space, after which torchvision reads an empty name.
    return [name for name in dataset.attr_names if name]


def _item(dataset: Any, index: int) -> tuple[Image.Image | Path, Any]:
    item: tuple[Image.Image | Path, Any] = dataset[index]
    return item


def _item_of_celeba(dataset: Any, index: int) -> tuple[Path, Any]:
    """Returns the path of the image, which torchvision would open."""
    folder = Path(dataset.root, dataset.base_folder, "img_align_celeba")
    return folder / dataset.filename[index], dataset.attr[index]


@dataclass(frozen=True)
class Kind:
    """The parts of a torchvision class, and the meaning of its targets."""

    kept_at: tuple[str, ...]
    """Files and folders that torchvision reads."""
    parts: list[tuple[str, Split, Known]]
    """Name, split and constructor arguments of each part."""
    known: Callable[[Any, Any], Known] = _of_class
    """(data set, target) -> metadata of the image."""
    attribute_names: Callable[[Any], list[str]] = field(default=lambda _dataset: [])
    item: Callable[[Any, int], tuple[Image.Image | Path, Any]] = _item
    """(data set, index) -> the pixels or the path of the image's file, and its target."""
    unsafe: tuple[str, ...] = ()
    """Files that torchvision would read without comparing a checksum, and that do not exist today."""


TRAIN_AND_TEST: list[tuple[str, Split, Known]] = [
    ("train", "train", {"train": True}),
    ("test", "test", {"train": False}),
]

KINDS = {
    "CIFAR10": Kind(("cifar-10-batches-py", "cifar-10-python.tar.gz"), TRAIN_AND_TEST),
    "CIFAR100": Kind(
        ("cifar-100-python", "cifar-100-python.tar.gz"),
        TRAIN_AND_TEST,
        _of_class_and_superclass,
        lambda _dataset: [SUPERCLASS],
    ),
    "FashionMNIST": Kind(("FashionMNIST",), TRAIN_AND_TEST, unsafe=("FashionMNIST/processed",)),
    "Flowers102": Kind(
        ("flowers-102",),
        [
            ("train", "train", {"split": "train", "loader": Path}),
            ("val", "train", {"split": "val", "loader": Path}),
            ("test", "test", {"split": "test", "loader": Path}),
        ],
    ),
    "CelebA": Kind(
        ("celeba",),
        [
            ("train", "train", {"split": "train"}),
            ("valid", "train", {"split": "valid"}),
            ("test", "test", {"split": "test"}),
        ],
        _of_attributes,
        _attribute_names,
        _item_of_celeba,
    ),
}


class TorchvisionSource:
    """Label: the class, none for CelebA; attributes: CIFAR-100's superclass, CelebA's 40; hierarchy:
    CIFAR-100's superclass and class; no hashtags.

    One part at a time is in memory: the pixels of CIFAR (150 MB), or the tables of other data sets.
    """

    def __init__(self, params: TorchvisionParams, root: Root) -> None:
        self._params = params
        self._folder = root.folder
        self._within = root.within
        self._kind = KINDS[params.dataset]
        for name in self._kind.kept_at:
            _check(root, name)
        for name in self._kind.unsafe:
            if root.has_folder(name):
                raise UserError(
                    f"{root.folder / name} holds pickled tensors of an old torchvision, which are not read: "
                    "remove this folder"
                )
        self.attribute_names = self._kind.attribute_names(self._part(self._kind.parts[0][2]))
        self.notes = [
            f"the official part {name} is taken as train images"
            for name, split, _ in self._kind.parts
            if name != split
        ]

    @classmethod
    def open(cls, params: IngestParams, _seed: int) -> Self:
        """Downloads missing files. Raises `UserError` if that fails."""
        return cls(params.torchvision, source_root(named_path(params, WHAT).absolute(), params))

    def rows(self) -> Iterator[SourceRow | Refusal]:
        for name, split, options in self._kind.parts:
            dataset = self._part(options)
            for index in range(len(dataset)):
                where = f"{name}/{index:06d}"
                try:
                    found, target = self._kind.item(dataset, index)
                except LookupError:
                    yield Refusal(where, "the data set has fewer labels than images")
                    continue
                image, path = self._image(found, where)
                try:
                    known = self._kind.known(dataset, target)
                except LookupError:
                    yield Refusal(where, f"its class {target} is none of the data set's")
                    continue
                yield SourceRow(id=where, image=image, path=path, split=split, **known)

    def _image(self, found: Image.Image | Path, where: str) -> tuple[bytes | SafePath, str]:
        """Returns the image's file, which only workers open, or its pixels as PNG; and its path."""
        if isinstance(found, Path):
            return SafePath(found, self._within), str(found.relative_to(self._folder))
        buffer = io.BytesIO()
        found.save(buffer, "PNG", compress_level=1)
        return buffer.getvalue(), f"{where}.png"

    def _part(self, options: Known) -> Any:
        # Imported here: torch takes seconds to load, and no other source needs it.
        from torchvision import datasets

        choice = self._params
        try:
            return getattr(datasets, choice.dataset)(
                root=str(self._folder), download=choice.download, **options
            )
        except Exception as error:
            # Sockets, archives, pickles and tables raise various exceptions.
            reason = str(error).split("\n")[0] or type(error).__name__
            cure = (
                "put its published files there, or run with network access"
                if choice.download
                else "set ingest.torchvision.download=true or put its published files there"
            )
            raise UserError(
                f"ingest.torchvision.dataset={choice.dataset} is incomplete in {self._folder} (ingest.path): "
                f"torchvision reports: {reason}: {cure}"
            ) from None


def _check(root: Root, name: str) -> None:
    """Checks what torchvision opens by path: it would block on a pipe or follow a link outside the folder.

    Raises `UnsafePath` if `name` is such a file, or a folder that contains one.
    """
    if root.has_folder(name):
        for found in Walk(root, hidden=True).files([name]):
            if isinstance(found, Skipped):
                raise UnsafePath(root.folder / found.path, found.reason)
    elif root.has(name):
        root.file(name)
