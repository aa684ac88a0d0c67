"""Samples of tar shards as img2dataset writes them, whole and hostile."""

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from pipeline.runtime.errors import UserError
from pipeline.tables.records import HALF_CHARACTER
from sources.img2dataset import Members, fields, packed, run_journey, sample, samples
from sources.journey import journey, jpeg, write

pytestmark = pytest.mark.slow


def test_shards_of_img2dataset(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        f"{k:05d}.tar": packed([*samples(range(8 * k, 8 * k + 8))]) for k in range(3)
    }
    write(tmp_path / "shards", files | {"00000_stats.json": "{}", "00000.parquet": "x"})
    got = run_journey(tmp_path, test_fraction=0.25)
    assert (len(got.train) + len(got.test), got.refused) == (24, {})
    assert got.summary["labels"] == ["bag", "hat", "shoe"]
    # What img2dataset notes of every image is no attribute, unless it is named.
    assert got.summary["attributes"] == ["brand"]
    row = got.row("000000009")
    assert row["id"] == row["image"]["path"] == "00001.tar/000000009"
    assert (row["label"], row["hashtags"], row["attributes"]) == ("hat", ["red", "new"], {"brand": None})
    assert got.cluster("hashtags", top=3)["mutual_information_bits"] > 1
    named = run_journey(tmp_path, columns={"attributes": ["brand", "txt", "caption"]})
    assert named.row("000000010")["attributes"] == {"brand": "Acme"} | dict.fromkeys(
        ["txt", "caption"], "blue shoes"
    )


@pytest.mark.parametrize("names", [("train/00000.tar", "test/00000.tar"), ("train-0.tar", "val-0.tar")])
def test_names_tell_the_split(tmp_path: Path, names: tuple[str, str]) -> None:
    train, test = (packed([*samples(numbers)]) for numbers in (range(8), range(8, 12)))
    write(tmp_path / "shards", {names[0]: train, names[1]: test})
    got = run_journey(tmp_path)
    assert (len(got.train), len(got.test)) == (8, 4)


def test_a_missing_shard_of_a_series_stops_ingest(tmp_path: Path) -> None:
    for number in (0, 1, 3):
        shard = packed(samples(range(8 * number, 8 * number + 8)))
        write(tmp_path / "shards", {f"shop-{number:06}-of-000004.tar": shard})
    with pytest.raises(UserError, match=r"shards \(ingest.path\) lacks shop-000002-of-000004.tar, as"):
        run_journey(tmp_path)


def test_one_shard_with_class_files(tmp_path: Path) -> None:
    members = [
        (f"{folder}{n:03d}.{ending}", content)
        for folder in ("a/", "b/")
        for n in range(4)
        for ending, content in (("cls", f"{n % 2}\n".encode()), ("png", jpeg(n if folder == "a/" else n + 4)))
    ]
    write(tmp_path, {"all.tar": packed([*members])})
    got = journey(tmp_path, "webdataset", tmp_path / "all.tar", columns={"label": "cls"}, test_fraction=0.5)
    assert (got.summary["labels"], len(got.train)) == (["0", "1"], 4)
    assert got.row("b/003")["id"] == "all.tar/b/003"


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def test_hostile_members_are_refused_and_nothing_is_written_or_followed(tmp_path: Path) -> None:
    write(tmp_path, {"secret.jpg": jpeg(70)})
    hostile: list[Any] = [
        *sample(0),
        ("/absolute.jpg", jpeg(71)),
        ("../outside.jpg", jpeg(72)),
        ("a/../../outside.jpg", jpeg(72)),
        link("symbolic.jpg", str(tmp_path / "secret.jpg")),
        link("hard.jpg", "000000000.jpg", tarfile.LNKTYPE),
        link("device.jpg", "", tarfile.CHRTYPE),
        link("pipe.jpg", "", tarfile.FIFOTYPE),
        link("folder", "", tarfile.DIRTYPE),
        ("a/" * 50_000 + "deep.jpg", jpeg(73)),
        *sample(1),
    ]
    write(tmp_path / "shards", {"0.tar": packed(hostile)})
    got = run_journey(tmp_path, test_fraction=0.5)
    refused = {place: reason for place, reason in got.refused.items() if "a/a/" not in place}
    assert set(got.refused.values()) - set(refused.values()) == {"the path is too long"}
    assert refused == {
        "0.tar: /absolute.jpg": "the name is absolute or holds ..",
        "0.tar: ../outside.jpg": "the name is absolute or holds ..",
        "0.tar: a/../../outside.jpg": "the name is absolute or holds ..",
        **{f"0.tar: {name}.jpg": "a link or a device, not a file" for name in ("symbolic", "hard")},
        **{f"0.tar: {name}.jpg": "a link or a device, not a file" for name in ("device", "pipe")},
    }
    assert {row["id"] for row in got.train + got.test} == {"0.tar/000000000", "0.tar/000000001"}
    assert {path.name for path in tmp_path.iterdir()} == {"secret.jpg", "shards", "images"}


def test_samples_that_are_none_are_refused(tmp_path: Path) -> None:
    members = [
        *sample(0),
        ("1.jpg", jpeg(1)), ("1.json", b"[1]"),
        ("2.jpg", jpeg(2)), ("2.png", jpeg(3)), ("2.json", b"{}"),
        ("3.txt", b"no image"),
        ("4.jpg", jpeg(4)), ("4.json", b'{"kind": "\\ud800"}'),
        ("5.jpg", b"no image"), ("5.json", b"{}"),
        ("6.JPG", jpeg(6)), ("6.seg.png", jpeg(7)), ("6.json", b'{"kind": "hat", "brand": 3.0}'),
        *sample(0),
    ]  # fmt: skip
    write(tmp_path / "shards", {"0.tar": packed([*members])})
    got = run_journey(tmp_path, test_fraction=0.5)
    assert got.refused == {
        "0.tar/1": "the JSON is no object",
        **{
            f"0.tar/2.{ending}": "2 images under the key, whose endings are jpg, json, png"
            for ending in ("jpg", "png")
        },
        "0.tar/3": "no images under the key, whose endings are txt",
        "0.tar/4": HALF_CHARACTER,
        "0.tar/5": "not an image",
        "0.tar/000000000": "an earlier row has the same image",
    }
    assert got.row("0.tar/6")["attributes"] == {"brand": "3"}


def test_samples_that_are_too_large_are_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.sources.reading.tar_samples.LARGEST_SAMPLE", 1024**2)
    write(
        tmp_path / "shards",
        {
            "0.tar": packed(
                [
                    *sample(0),
                    ("1.jpg", bytes(700_000)),
                    ("1.png", bytes(700_000)),
                    ("1.txt", b"x"),
                    *sample(2),
                ]
            )
        },
    )
    got = run_journey(tmp_path, test_fraction=0.5)
    assert got.refused == {f"0.tar/1.{ending}": "larger than 1 MiB" for ending in ("jpg", "png")}
    assert len(got.train) + len(got.test) == 2


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"^ingest.source=webdataset needs ingest.path: set it to a .tar file"
    ):
        journey(tmp_path, "webdataset", None)
    with pytest.raises(
        UserError, match=r"shards \(ingest.path\) does not exist: set ingest.path to a .tar fi"
    ):
        run_journey(tmp_path)
    write(tmp_path / "shards", {"readme.md": "x"})
    with pytest.raises(UserError, match=r"expects .tar files in .*, which holds readme.md"):
        run_journey(tmp_path)
    write(tmp_path / "shards", {"0.tar": b"no archive"})
    with pytest.raises(
        UserError, match=r"no file of .*shards \(ingest.path\) is a tar archive with samples, t"
    ):
        run_journey(tmp_path)
    write(tmp_path / "shards", {"0.tar": packed([*sample(0)])})
    with pytest.raises(
        UserError, match=r"no column 'sort' \(ingest.columns.label\) in the shards of .*: name"
    ):
        run_journey(tmp_path, columns={"label": "sort"})


def test_endings_of_several_parts(tmp_path: Path) -> None:
    def members(n: int) -> Members:
        return [
            (f"{n}.input.jpg", jpeg(n)),
            (f"{n}.kind.txt", [b"hat", b"shoe"][n % 2]),
            (f"{n}.tags.json", b'["red"]'),
            (f"{n}.output.json", b'{"brand": "Acme"}'),
        ]

    write(tmp_path / "shards", {"0.tar": packed([member for n in range(8) for member in members(n)])})
    got = run_journey(tmp_path, test_fraction=0.25)
    assert (got.refused, got.summary["labels"]) == ({}, ["hat", "shoe"])
    row = got.row("3")
    assert (row["hashtags"], row["attributes"]) == (["red"], {"brand": "Acme"})


def test_two_images_of_one_ending_are_refused(tmp_path: Path) -> None:
    twice = [("9.a.png", jpeg(9)), ("9.b.png", jpeg(10)), ("8.png", jpeg(8)), ("8.png", jpeg(11))]
    write(tmp_path / "shards", {"0.tar": packed([*samples(range(4)), *twice])})
    got = run_journey(tmp_path, test_fraction=0.5)
    several = (
        "2 images under the key, whose endings are a.png, b.png: write - for the dots within their names, "
    )
    assert got.refused == {
        **{f"0.tar/9.{ending}.png": several + "since a key ends at the first dot" for ending in "ab"},
        "0.tar/8.png": "two files under the key end in png",
    }
    assert got.summary["rejected"] == 4


def test_images_of_samples_that_are_not_used_are_noted(tmp_path: Path) -> None:
    views = [
        (f"shoe{n}.{ending}", content)
        for n in range(10)
        for ending, content in (
            ("Back.png", jpeg(n + 50)), ("json", json.dumps(fields(n)).encode()),
            ("png", jpeg(n)), ("side.x.png", jpeg(n + 70)),
        )
    ]  # fmt: skip
    write(tmp_path / "shards", {"0.tar": packed([*views, *samples(range(20, 25))])})
    got = run_journey(tmp_path)
    assert (len(got.train + got.test), got.refused) == (15, {})
    assert got.summary["notes"][-1] == (
        "20 further images of 10 samples are not used, the first of them 0.tar/shoe0.back.png: if they are "
        "samples of their own, write - for the dots within their names, since a key ends at the first dot"
    )


@pytest.mark.parametrize("largest", [64 * 1024**2, 4096])
def test_the_limit_on_refusals_counts_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, largest: int
) -> None:
    """Under one key there may be more images than endings are kept, or than bytes of a sample."""
    monkeypatch.setattr("pipeline.sources.reading.tar_samples.MOST_ENDINGS", 10)
    monkeypatch.setattr("pipeline.sources.reading.tar_samples.LARGEST_SAMPLE", largest)
    frames = [(f"cam.{n:04d}.png", jpeg(n)) for n in range(60)]
    write(tmp_path / "shards", {"0.tar": packed([*frames, *samples(range(100, 140))])})
    with pytest.raises(UserError, match=r"60 of 100 inputs \(60.0%\) were refused, more than"):
        run_journey(tmp_path, max_reject_fraction=0.5)
    refused = run_journey(tmp_path, max_reject_fraction=0.6).refused
    assert sorted(refused) == ["0.tar/cam", *(f"0.tar/cam.{n:04d}.png" for n in range(10))]


def test_images_of_a_key_that_stand_apart_are_counted(tmp_path: Path) -> None:
    """Of x three images are lost, of y one, as a mask is none of its own."""
    apart = [
        ("x.1.png", jpeg(1)), ("x.2.png", jpeg(2)), ("y.json", b"{}"),
        ("x.txt", b"x"), ("y.png", jpeg(4)), ("y.mask.png", jpeg(5)), ("x.3.png", jpeg(3)),
    ]  # fmt: skip
    write(tmp_path / "shards", {"0.tar": packed([*apart, *samples(range(20, 30))])})
    got = run_journey(tmp_path)
    assert set(got.refused) == {"0.tar/x", "0.tar/y"}
    assert (got.summary["rejected"], len(got.train + got.test)) == (4, 10)


def test_hidden_members_are_counted_and_nothing_else(tmp_path: Path) -> None:
    hidden = [(name, b"\0\5") for n in range(4) for name in (f"./a/._{n}.jpg", f"__MACOSX/{n}")]
    write(tmp_path / "shards", {"0.tar": packed([*hidden, *sample(0, "./a/"), *samples(range(1, 4))])})
    got = run_journey(tmp_path, test_fraction=0.5)
    assert (len(got.train) + len(got.test), got.refused) == (4, {})
    (note,) = [note for note in got.summary["notes"] if "hidden" in note]
    assert note.startswith("8 hidden files")
    assert note.endswith("0.tar: ./a/._0.jpg")


def test_files_of_a_key_that_stand_apart_are_no_samples(tmp_path: Path) -> None:
    """As tar packs them in the order of a disk: images without their labels would be left."""
    members = samples(range(6))
    images = [member for member in members if member[0].endswith(".jpg")]
    apart = packed([*images[:4], *(member for member in members if member not in images[:4])])
    write(tmp_path / "shards", {"0.tar": apart, "1.tar": packed(samples(range(6, 30)))})
    got = run_journey(tmp_path, max_reject_fraction=0.5)
    assert set(got.refused) == {f"0.tar/{n:09d}" for n in range(4)}
    assert {reason[:40] for reason in got.refused.values()} == {"the files of the key stand apart in the "}
    assert len(got.train) + len(got.test) == 26
    assert got.row("000000004")["label"] == "shoe"


def test_whole_samples_of_one_key_are_no_files_apart(tmp_path: Path) -> None:
    members = samples(range(20))
    write(tmp_path / "shards", {"0.tar": packed([*members, *sample(0)])})
    got = run_journey(tmp_path, max_reject_fraction=0.5)
    assert got.refused == {"0.tar/000000000": "an earlier row has the same image"}


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"json": b'{"kind": "hat", "kind": "bag"}'}, "the key 'kind' stands more than once in the object"),
        (
            {"json": b'{"kind": "hat"}', "kind.txt": b"bag"},
            "the files under the key differ in the field 'kind'",
        ),
        ({"json": b'{"kind": 3}', "kind.cls": b"3"}, None),
        ({"json": b'{"kind": null}', "kind.cls": b"3"}, None),
        ({"kind.cls": b"3", "json": b'{"kind": null}'}, None),
    ],
)
def test_two_values_of_a_field_are_no_value(
    tmp_path: Path, files: dict[str, bytes], reason: str | None
) -> None:
    odd = [("x.jpg", jpeg(99)), *((f"x.{ending}", content) for ending, content in files.items())]
    write(tmp_path / "shards", {"0.tar": packed([*samples(range(20)), *odd])})
    got = run_journey(tmp_path, max_reject_fraction=0.5)
    assert got.refused.get("0.tar/x") == reason
    if reason is None:
        assert got.row("0.tar/x")["label"] == "3"


def test_a_picture_downloaded_once_for_each_of_its_captions_is_counted(tmp_path: Path) -> None:
    """As tables of captions name a picture in several rows, each of another kind."""
    members = [
        (f"{n:03d}.{ending}", content)
        for n in range(30)
        for ending, content in (("jpg", jpeg(n // 3)), ("json", json.dumps({"kind": n % 3}).encode()))
    ]
    write(tmp_path / "shards", {"0.tar": packed(members)})
    got = run_journey(tmp_path, columns={"hashtags": None})
    assert (
        "30 labelled images are exact copies of 10, whose labels differ: at most 33.3% of the labelled "
        "images can be classified rightly, as only one label per image is supported"
    ) in got.summary["notes"]
