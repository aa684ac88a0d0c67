"""A folder for each class, with and without a split."""

import os
from pathlib import Path

import pytest

from pipeline.runtime.errors import UserError
from pipeline.sources.reading.source_root import ALLOWED_BY
from sources.journey import journey, jpeg, write

pytestmark = pytest.mark.slow


def classes(folder: Path, *places: str, each: int = 4) -> Path:
    files: dict[str, str | bytes] = {}
    for place in places:
        for name in ("cat", "dog"):
            for _ in range(each):
                files[f"{place}{name}/{len(files):03d}.jpg"] = jpeg(len(files))
    return write(folder, files)


@pytest.mark.parametrize(
    ("places", "sizes", "notes"),
    [
        (("train/", "test/"), (8, 8), []),
        (("train/", "val/"), (8, 8), ["val is taken as test images, since there are no test images"]),
        (
            ("train/", "val/", "test/"),
            (16, 8),
            ["val is taken as train images, since there are test images besides"],
        ),
        (("train/",), (6, 2), ["only train is there: a split is made"]),
        (("",), (6, 2), ["the folders name no split: one is made"]),
    ],
)
def test_layouts(tmp_path: Path, places: tuple[str], sizes: tuple[int, int], notes: list[str]) -> None:
    result = journey(tmp_path, "folder", classes(tmp_path / "pets", *places), test_fraction=0.25)
    assert (len(result.train), len(result.test)) == sizes
    assert (result.summary["labels"], result.summary["notes"]) == (["cat", "dog"], notes)
    assert result.row("000.jpg")["id"] == f"{places[0]}cat/000.jpg"
    assert result.cluster("label")["clusters"] == 2


@pytest.mark.parametrize(
    ("splits", "sizes", "notes"),
    [
        (("train", "test"), (8, 8), []),
        (("Train", "val"), (8, 8), ["val is taken as test images, since there are no test images"]),
        (
            ("train", "val", "test"),
            (16, 8),
            ["val is taken as train images, since there are test images besides"],
        ),
        (("train",), (6, 2), ["only train is there: a split is made"]),
    ],
)
def test_splits_below_the_classes(
    tmp_path: Path, splits: tuple[str], sizes: tuple[int, int], notes: list[str]
) -> None:
    """As MVTec AD is laid out: the split is that of the second folder, the label the first."""
    pets = tmp_path / "pets"
    for place, split in enumerate(splits):
        for label, offset in (("cat", 0), ("dog", 50)):
            numbers = range(offset + 10 * place, offset + 10 * place + 4)
            write(pets / label / split, {f"deep/{n}.jpg" if n % 2 else f"{n}.jpg": jpeg(n) for n in numbers})
    result = journey(tmp_path, "folder", pets, test_fraction=0.25)
    assert (len(result.train), len(result.test)) == sizes
    assert (result.summary["labels"], result.summary["notes"]) == (["cat", "dog"], notes)
    assert {row["label"] == row["id"].split("/")[0] for row in result.train + result.test} == {True}
    if len(splits) == 2:
        assert {row["id"].split("/")[1] for row in result.train} == {splits[0]}
        assert {row["id"].split("/")[1] for row in result.test} == {splits[1]}


def by_class(folder: Path, *places: str) -> Path:
    return write(
        folder, {f"{place}/{n}{k}.jpg": jpeg(10 * n + k) for n, place in enumerate(places) for k in (0, 1)}
    )


def test_a_class_may_lack_one_of_the_splits(tmp_path: Path) -> None:
    pets = by_class(tmp_path / "pets", "cat/train", "cat/test", "dog/train", "emu/test")
    result = journey(tmp_path, "folder", pets)
    assert [len(result.train), len(result.test)] == [4, 4]
    assert "emu" in result.summary["labels"]


def test_what_lies_beside_the_splits_of_a_class_is_reported(tmp_path: Path) -> None:
    pets = by_class(tmp_path / "pets", "cat/train", "cat/test", "dog/train", "dog/test", "dog/ground_truth")
    write(pets, {"license.txt": "x", "cat/readme.txt": "x"})
    result = journey(tmp_path, "folder", pets)
    assert result.summary["notes"] == [
        "not looked at beside test, train: cat/readme.txt, dog/ground_truth, license.txt"
    ]
    assert len(result.train + result.test) == 8


def test_splits_of_some_classes_alone_are_refused(tmp_path: Path) -> None:
    pets = by_class(tmp_path / "pets", "cat/train", "cat/test", "dog/train", "dog/test", "emu", "fox/young")
    with pytest.raises(
        UserError,
        match=r"^class folders of .*pets \(ingest.path\) hold folders of splits, such as cat/test, but not "
        r"emu, fox: give each class its splits, move the others away, or write a manifest$",
    ):
        journey(tmp_path, "folder", pets)


@pytest.mark.parametrize("places", [("rail/train", "rail/tram", "road/car"), ("new/test", "old/test")])
def test_folders_in_classes_that_are_no_splits(tmp_path: Path, places: tuple[str, ...]) -> None:
    result = journey(tmp_path, "folder", by_class(tmp_path / "toys", *places))
    assert result.summary["notes"][0] == "the folders name no split: one is made"
    assert len(result.train + result.test) == 2 * len(places)


def test_a_split_of_a_class_that_is_a_link_out_is_refused_whole(tmp_path: Path) -> None:
    by_class(tmp_path / "disk", "test")
    pets = by_class(tmp_path / "pets", "cat/train", "cat/test", "dog/train")
    (pets / "dog/test").symlink_to(tmp_path / "disk/test")
    with pytest.raises(
        UserError, match=r"pets/dog/test can't be read \(a link leads .*outside_paths=true\): "
    ):
        journey(tmp_path, "folder", pets)


@pytest.mark.parametrize("link", ["test/dog/more", "test/more", "a-link"])
def test_a_link_does_not_take_a_folder_of_another_split(tmp_path: Path, link: str) -> None:
    """The images of the folder remain train images of its class, although the link is found earlier."""
    folder = classes(tmp_path / "pets", "train/", "test/")
    (folder / link).symlink_to(folder / "train/cat")
    result = journey(tmp_path, "folder", folder)
    assert [sum(row["label"] == "cat" for row in rows) for rows in (result.train, result.test)] == [4, 4]
    assert (len(result.train), len(result.test)) == (8, 8)


def test_a_class_that_is_a_link_does_not_take_another_s_split(tmp_path: Path) -> None:
    pets = by_class(tmp_path / "pets", "dog/train", "dog/test")
    (pets / "cat").symlink_to("dog")
    result = journey(tmp_path, "folder", pets)
    assert {row["label"] for row in result.train + result.test} == {"dog"}
    assert (len(result.train), len(result.test)) == (2, 2)


def test_what_lies_beside_the_splits_is_reported(tmp_path: Path) -> None:
    folder = write(classes(tmp_path / "pets", "train/", "test/"), {"README.md": "x", "masks/1.png": "x"})
    assert journey(tmp_path, "folder", folder).summary["notes"] == [
        "not looked at beside test, train: README.md, masks"
    ]


def test_folders_whose_names_look_the_same_are_one_class(tmp_path: Path) -> None:
    """As of an archive that was packed on macOS, and one on Linux."""
    files = {
        "train/caf\u00e9/0.jpg": jpeg(0),
        "test/cafe\u0301/1.jpg": jpeg(1),
        "test/caf\u00e9\u200e/2.jpg": jpeg(2),
    }
    folder = write(tmp_path / "shops", files)
    assert journey(tmp_path, "folder", folder).summary["labels"] == ["caf\u00e9"]


@pytest.mark.parametrize("name", ["unknown", "_unlabeled"])
def test_a_class_called_unknown_is_noted(tmp_path: Path, name: str) -> None:
    folder = write(classes(tmp_path / "pets", ""), {f"{name}/x.jpg": jpeg(50), f"{name}/y.jpg": jpeg(51)})
    assert journey(tmp_path, "folder", folder).summary["notes"][-1] == (
        f'words for "unknown" count as values like any other, in label (2 x {name}): move such images out of '
        "the folder of their class if nothing is known there"
    )


def test_a_class_called_train(tmp_path: Path) -> None:
    folder = write(classes(tmp_path / "toys", ""), {"train/x.jpg": jpeg(50), "train/y.jpg": jpeg(51)})
    assert journey(tmp_path, "folder", folder).summary["labels"] == ["cat", "dog", "train"]


def test_images_without_a_class_have_no_label(tmp_path: Path) -> None:
    folder = write(classes(tmp_path / "pets", ""), {"new.jpg": jpeg(50), "cat/kittens/k.jpg": jpeg(51)})
    result = journey(tmp_path, "folder", folder)
    assert (result.row("new.jpg")["label"], result.row("k.jpg")["label"]) == (None, "cat")


def test_a_folder_of_images_alone_says_that_it_tells_no_label(tmp_path: Path) -> None:
    result = journey(tmp_path, "folder", classes(tmp_path / "pets", "") / "cat")
    assert result.summary["notes"][1] == "there is no folder of a class: the images have no label"
    assert result.summary["labels"] == []


def test_hostile_entries(tmp_path: Path) -> None:
    folder = classes(tmp_path / "pets", "train/", "test/")
    write(tmp_path / "private", {"p.jpg": jpeg(60)})
    os.mkfifo(folder / "train/cat/pipe.jpg")
    (folder / "train/cat/broken.jpg").symlink_to("nowhere.jpg")
    (folder / "train/dog/link").symlink_to(tmp_path / "private")
    (folder / os.fsdecode(b"train/dog/caf\xe9.jpg")).write_bytes(jpeg(61))
    result = journey(tmp_path, "folder", folder)
    assert result.refused == {
        "train/cat/pipe.jpg": "a pipe, socket or device, not a file",
        "train/cat/broken.jpg": "the file does not exist",
        "train/dog/link": f"a link leads out of the source's folder, {ALLOWED_BY}",
        "train/dog/caf\\udce9.jpg": "the name of the file is not UTF-8: rename it",
    }
    assert len(result.train) == 8


def test_a_split_that_is_a_link_out_is_refused_whole(tmp_path: Path) -> None:
    classes(tmp_path / "disk", "train/", "test/")
    (tmp_path / "pets").mkdir()
    for name in ("train", "test"):
        (tmp_path / "pets" / name).symlink_to(tmp_path / "disk" / name)
    with pytest.raises(
        UserError,
        match=r"pets/(train|test) can't be read \(a link leads .*allow_outside_paths=true\): ",
    ):
        journey(tmp_path, "folder", tmp_path / "pets")
    assert len(journey(tmp_path, "folder", tmp_path / "pets", allow_outside_paths=True).train) == 8


def test_paths_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"^ingest.source=folder needs ingest.path: set it to the folder that"
    ):
        journey(tmp_path, "folder", None)
    write(tmp_path, {"file.zip": "x"})
    with pytest.raises(UserError, match=r"file.zip \(ingest.path\) is a file: set ingest.path to the folder"):
        journey(tmp_path, "folder", tmp_path / "file.zip")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"gave no usable image: it holds no row"):
        journey(tmp_path, "folder", tmp_path / "empty")


def test_what_systems_leave_is_no_class_and_no_refusal(tmp_path: Path) -> None:
    for number, label in enumerate(["cat", "dog"] * 5):
        for name in (f"{number}.jpg", ".DS_Store", "Thumbs.db", "desktop.ini", f"._{number}.jpg"):
            write(tmp_path / "pets", {f"{label}/{name}": jpeg(number)})
    for folder in (".ipynb_checkpoints", "@eaDir", "__MACOSX/cat", "lost+found", ".Trash-1000"):
        write(tmp_path / "pets", {f"{folder}/x.jpg": jpeg(50)})
    result = journey(tmp_path, "folder", tmp_path / "pets")
    assert result.refused == {}
    assert result.summary["labels"] == ["cat", "dog"]
    assert len(result.train + result.test) == 10
    assert any("hidden files and folders, or such of systems" in note for note in result.summary["notes"])


@pytest.mark.parametrize(
    "names", [("Train", "TEST"), ("trainset", "val2017"), ("my-training", "dev"), ("train", "Testing")]
)
def test_splits_in_any_letters(tmp_path: Path, names: tuple[str, str]) -> None:
    for split, offset in zip(names, (0, 10), strict=True):
        files = {f"{split}/{label}/{n}.jpg": jpeg(offset + n) for n, label in enumerate(["a", "b"] * 2)}
        write(tmp_path / "pets", files)
    result = journey(tmp_path, "folder", tmp_path / "pets")
    assert (len(result.train), len(result.test)) == (4, 4)
    assert result.summary["labels"] == ["a", "b"]


def test_folders_that_are_called_as_splits_are_no_classes(tmp_path: Path) -> None:
    write(tmp_path / "pets", {f"{split}/{n}.jpg": jpeg(n) for n in range(3) for split in ("train", "test")})
    with pytest.raises(UserError, match=r"test, train of .* have names of splits, and hold no class"):
        journey(tmp_path, "folder", tmp_path / "pets")
