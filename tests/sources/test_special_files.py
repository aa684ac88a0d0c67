"""What stands in place of a source's file is refused, or named in a sentence, at once; no link leads out."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.config.params import check_params
from pipeline.ingest.decoding import ImageRefused, read_image_file
from pipeline.runtime.errors import UserError
from pipeline.sources.base import Refusal
from pipeline.sources.registry import open_source
from pipeline.untrusted.safe_paths import SafePath
from sources import (
    img2dataset,
    test_clinfonce_tables,
    test_cub200,
    test_folder,
    test_imagenet,
    test_ut_zappos50k,
    test_wider_attribute,
)
from sources.journey import jpeg, write
from support import NO_FILES

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("without_waiting")]

ENDINGS = (".csv", ".tsv", ".jsonl", ".parquet")
BIRD, SHOE, PARADE = "images/002.Laysan_Albatross/Laysan_Albatross_0001_7.jpg", "100600.0.jpg", "0--Parade"


@dataclass(frozen=True)
class Layout:
    """A source's folder as its tests make it, and what each of its files is for."""

    source: str
    make: Callable[[Path], object]
    roles: list[str]
    path: str = ""
    """`ingest.path` from the folder on."""
    more: dict[str, Any] = field(default_factory=dict)


def manifest(ending: str) -> Callable[[Path], object]:
    def make(folder: Path) -> None:
        write(folder, {"a.jpg": jpeg(1), "b/b.jpg": jpeg(2)})
        text = {
            ".csv": "image\na.jpg\nb/b.jpg\n",
            ".tsv": "image\tlabel\na.jpg\tx\nb/b.jpg\ty\n",
            ".jsonl": '{"image": "a.jpg"}\n{"image": "b/b.jpg"}\n',
        }
        if ending in text:
            write(folder, {f"m{ending}": text[ending]})
        else:
            pq.write_table(pa.table({"image": ["a.jpg", "b/b.jpg"]}), folder / f"m{ending}")

    return make


def shards(folder: Path) -> None:
    for number in range(2):
        members = img2dataset.samples(range(4 * number, 4 * number + 4))
        write(folder, {f"{number}.tar": img2dataset.packed([*members])})


def parquet(folder: Path) -> None:
    write(folder, {"c.jpg": jpeg(9)})
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    for number in range(2):
        images = [{"bytes": jpeg(number), "path": "0.jpg"}, {"bytes": None, "path": "c.jpg"}]
        pq.write_table(pa.table({"image": pa.array(images, kind)}), folder / f"{number}.parquet")


def tables_with_images_elsewhere(folder: Path) -> None:
    test_clinfonce_tables.tables(folder / "images")
    for name in ("train", "val"):
        shutil.move(folder / f"images/meta_data_{name}.csv", folder)


CUB = [
    *("images.txt", "classes.txt", "image_class_labels.txt", "train_test_split.txt", BIRD),
    "attributes/image_attribute_labels.txt",
]
LAYOUTS = [
    Layout("manifest", manifest(".csv"), ["a.jpg", "b/b.jpg"], "m.csv"),
    Layout(
        "folder",
        lambda folder: test_folder.classes(folder, "train/", "test/"),
        ["train/cat/000.jpg", "test/dog/015.jpg"],
    ),
    Layout("huggingface", parquet, ["0.parquet"]),
    Layout("webdataset", shards, ["0.tar", "1.tar"]),
    Layout(
        "imagenet",
        test_imagenet.pictures,
        [
            "LOC_synset_mapping.txt",
            "train/n01440764/n01440764_0.JPEG",
            "val/n02012849/ILSVRC2012_val_00000002.JPEG",
        ],
    ),
    Layout("imagenet", lambda f: test_imagenet.pictures(f, names="words.txt"), ["words.txt"]),
    Layout("cub200", test_cub200.birds, [*(f"CUB_200_2011/{name}" for name in CUB), "attributes.txt"]),
    Layout("cub200", test_cub200.birds, ["attributes.txt", "CUB_200_2011/classes.txt"], "CUB_200_2011"),
    Layout(
        "ut_zappos50k",
        test_ut_zappos50k.shoes,
        [
            "ut-zap50k-data/meta-data.csv",
            "ut-zap50k-data/meta-data-bin.csv",
            f"ut-zap50k-images-square/Boots/Knee High/L.B. Evans/{SHOE}",
        ],
    ),
    Layout(
        "wider_attribute",
        lambda folder: test_wider_attribute.photographs(folder, test_wider_attribute.TRAINVAL),
        [
            "wider_attribute_trainval.json",
            "wider_attribute_test.json",
            "Image/train/0--Parade/0_Parade_marchingband_1_0.jpg",
        ],
    ),
    Layout(
        "clinfonce_tables",
        test_clinfonce_tables.tables,
        ["meta_data_train.csv", "meta_data_val.csv", "train/a/0.jpg"],
    ),
    Layout(
        "clinfonce_tables",
        tables_with_images_elsewhere,
        ["images/train/a/0.jpg"],
        more={"clinfonce_tables": {"images": "images"}},
    ),
]
CASES = [
    pytest.param(layout, role, id=f"{layout.source}-{layout.path}-{role}")
    for layout in LAYOUTS
    for role in layout.roles
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "set/data"


def outcome(layout: Layout, folder: Path, *, outside: bool = False) -> tuple[int, list[str]]:
    """How many images were read, and what was said of the others."""
    more = {
        section: {key: str(folder / value) for key, value in values.items()}
        for section, values in layout.more.items()
    }
    section = {
        "source": layout.source,
        "path": str(folder / layout.path),
        "allow_outside_paths": outside,
    } | more
    read, said = 0, []
    try:
        for row in open_source(check_params({"ingest": section}).ingest, 0).rows():
            if isinstance(row, Refusal):
                said.append(f"{row.where}: {row.reason}")
                continue
            try:
                if isinstance(row.image, SafePath):
                    read_image_file(row.image)
                read += 1
            except ImageRefused as refused:
                said.append(f"{row.path}: {refused}")
    except UserError as error:
        return 0, [str(error)]
    return read, said


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: f"{layout.source}-{layout.path}")
def test_the_layouts_are_whole(layout: Layout, folder: Path) -> None:
    layout.make(folder)
    read, said = outcome(layout, folder)
    assert read
    assert said == []


@pytest.mark.parametrize(("layout", "role"), CASES)
def test_what_is_no_file_is_told_at_once(layout: Layout, role: str, folder: Path) -> None:
    layout.make(folder)
    whole, _ = outcome(layout, folder)
    path = folder / role
    content = path.read_bytes()
    for kind, put in _no_files(layout).items():
        path.unlink()
        put(path)
        for outside in (False, True) if kind == "zero" else (False,):
            read, said = outcome(layout, folder, outside=outside)
            assert read < whole
            # A folder that stands where files are listed is listed, too.
            assert said or kind == "folder", kind
            assert len(said) <= 12
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
            path.write_bytes(content)
    path.unlink()
    path.write_bytes(content)
    assert outcome(layout, folder) == (whole, [])


def _no_files(layout: Layout) -> dict[str, Callable[[Path], object]]:
    """A few where each reading starts a process."""
    few = ("pipe",)
    is_slow = layout.source == "huggingface" or layout.path.endswith(".parquet")
    return {kind: put for kind, put in NO_FILES.items() if kind in few or not is_slow}


NAMED_IN_PARQUET = pytest.param(Layout("huggingface", parquet, []), "c.jpg", id="huggingface--c.jpg")


@pytest.mark.parametrize(("layout", "role"), [*CASES, NAMED_IN_PARQUET])
def test_what_leads_out_is_read_only_if_it_may(
    layout: Layout, role: str, folder: Path, tmp_path: Path
) -> None:
    layout.make(folder)
    whole, _ = outcome(layout, folder)
    secret = tmp_path / "secret"
    shutil.move(folder / role, secret)
    (folder / role).symlink_to(secret)
    read, said = outcome(layout, folder)
    assert read < whole
    assert any("a link leads out" in sentence and "allow_outside_paths=true" in sentence for sentence in said)
    assert outcome(layout, folder, outside=True) == (whole, [])


@pytest.mark.parametrize(("layout", "role"), CASES)
def test_a_folder_on_the_way_that_leads_out(layout: Layout, role: str, folder: Path, tmp_path: Path) -> None:
    named = {".", layout.path, *layout.more.get("clinfonce_tables", {}).values()}
    layout.make(folder)
    whole, _ = outcome(layout, folder)
    for above in Path(role).parents:
        place = folder / above
        if str(above) in named:
            continue
        shutil.move(place, tmp_path / "moved")
        place.symlink_to(tmp_path / "moved")
        read, said = outcome(layout, folder)
        assert read < whole, above
        assert said
        # Of a link to CUB_200_2011 the table beside it is beside what it leads to.
        assert outcome(layout, folder, outside=True)[0] == (0 if place.name == "CUB_200_2011" else whole)
        place.unlink()
        shutil.move(tmp_path / "moved", place)


def with_a_class_that_val_lacks(folder: Path) -> None:
    test_imagenet.pictures(folder)
    write(folder, {"classes": "n99999999\n", "train/n99999999/x.JPEG": jpeg(1)})


LISTED = [
    Layout("folder", lambda folder: test_folder.classes(folder, "train/", "test/"), ["train"]),
    Layout("imagenet", test_imagenet.pictures, ["train"]),
    Layout("imagenet", test_imagenet.pictures, ["val"]),
    # A sentence would say what is there in place of what is missing.
    Layout("imagenet", with_a_class_that_val_lacks, ["val"], more={"imagenet": {"classes": "classes"}}),
    Layout("cub200", test_cub200.birds, ["CUB_200_2011"]),
    Layout("ut_zappos50k", test_ut_zappos50k.shoes, ["ut-zap50k-data"]),
]


@pytest.mark.parametrize("layout", LISTED, ids=lambda layout: f"{layout.source}-{layout.roles[0]}")
def test_a_folder_that_leads_out_is_not_listed(
    layout: Layout, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout.make(folder)
    place, private = folder / layout.roles[0], tmp_path / "private"
    shutil.move(place, private)
    place.symlink_to(private)
    for table in private.glob("*.*"):
        table.unlink()
    listed: list[str] = []
    scandir = os.scandir

    def noted(descriptor: int) -> Any:
        listed.append(os.path.realpath(f"/proc/self/fd/{descriptor}"))
        return scandir(descriptor)

    monkeypatch.setattr(os, "scandir", noted)
    read, (sentence,) = outcome(layout, folder)
    assert (read, str(private) in listed) == (0, False)
    assert f"{place} can't be read (a link leads out" in sentence
    outcome(layout, folder, outside=True)
    assert str(private) in listed


# --- what the user names ------------------------------------------------------------------------------------

NAMED = [
    *(Layout("manifest", manifest(ending), [f"m{ending}"], f"m{ending}") for ending in ENDINGS),
    Layout("huggingface", parquet, ["0.parquet"], "0.parquet"),
    Layout("webdataset", shards, ["0.tar"], "0.tar"),
]


def with_table(folder: Path) -> None:
    test_imagenet.pictures(folder)
    write(folder, {"classes": f"{test_imagenet.TENCH}\n", "edges": test_imagenet.EDGES})


NAMED += [
    Layout("imagenet", with_table, [name], more={"imagenet": {name: name}}) for name in ("classes", "edges")
]


@pytest.mark.parametrize("layout", NAMED, ids=lambda layout: f"{layout.source}-{layout.roles[0]}")
def test_a_file_that_the_user_names_may_lie_anywhere(layout: Layout, folder: Path, tmp_path: Path) -> None:
    layout.make(folder)
    whole = outcome(layout, folder)
    assert whole[0]
    named = folder / layout.roles[0]
    shutil.move(named, tmp_path / "elsewhere")
    named.symlink_to(tmp_path / "elsewhere")
    assert outcome(layout, folder) == whole
    for put in _no_files(layout).values():
        if named.is_symlink() or not named.is_dir():
            named.unlink()
        else:
            named.rmdir()
        put(named)
        read, (sentence,) = outcome(layout, folder)
        assert read == 0
        assert str(named) in sentence


def test_a_shard_is_read_once_whatever_it_is_called(folder: Path) -> None:
    shards(folder)
    whole = outcome(LAYOUTS[3], folder)
    for number in range(5):
        (folder / f"x{number}.tar").symlink_to("0.tar")
        (folder / f"more{number}").symlink_to(".")
    assert LAYOUTS[3].source == "webdataset"
    assert outcome(LAYOUTS[3], folder) == whole
    source = open_source(check_params({"ingest": {"source": "webdataset", "path": str(folder)}}).ingest, 0)
    (note,) = (note for note in source.notes if note.startswith("not looked at: "))
    assert "more0 (a link that goes in a circle)" in note
    assert "and 4 more" in note
