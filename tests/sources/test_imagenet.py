"""ImageNet with a folder for each class, whole and by a list of classes."""

from pathlib import Path

import pytest

from pipeline.runtime.errors import UserError
from sources.journey import journey, jpeg, write

TENCH, GOLDFISH, CRANE_BIRD, CRANE = "n01440764", "n01443537", "n02012849", "n03126707"
WNIDS = [TENCH, GOLDFISH, CRANE_BIRD, CRANE]
MAPPING = (
    f"{TENCH} tench, Tinca tinca\n{GOLDFISH} goldfish, Carassius auratus\n{CRANE_BIRD} crane\n{CRANE} crane\n"
)
EDGES = f"""child,parent
{TENCH},n02512053
{GOLDFISH},n02512053
{GOLDFISH},n02087122
{CRANE_BIRD},n01503061
n02512053,n00015388
n01503061,n00015388
{CRANE},n00003553
"""


def pictures(folder: Path, wnids: list[str] = WNIDS, names: str = "LOC_synset_mapping.txt") -> Path:
    files: dict[str, str | bytes] = {}
    for place, wnid in enumerate(wnids):
        for n in range(4):
            files[f"train/{wnid}/{wnid}_{n}.JPEG"] = jpeg(10 * place + n)
        files[f"val/{wnid}/ILSVRC2012_val_{place:08d}.JPEG"] = jpeg(10 * place + 9)
    return write(folder, files | {names: MAPPING.replace(" ", "\t", 1) if names == "words.txt" else MAPPING})


def test_the_official_layout(tmp_path: Path) -> None:
    result = journey(tmp_path, "imagenet", pictures(tmp_path / "imagenet"))
    assert (len(result.train), len(result.test), result.refused) == (16, 4, {})
    # The bird and the machine are both called crane.
    assert result.summary["labels"] == [
        f"{TENCH} tench", f"{GOLDFISH} goldfish", f"{CRANE_BIRD} crane", f"{CRANE} crane",
    ]  # fmt: skip
    row = result.row(f"{TENCH}_2.JPEG")
    assert row["id"] == f"train/{TENCH}/{TENCH}_2.JPEG"
    assert (row["hierarchy"], row["attributes"]) == ([], None)
    assert result.summary["notes"] == ["val is taken as test images, since there are no test images"]


def test_a_link_does_not_take_a_folder_of_another_class(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "imagenet")
    (folder / "train" / TENCH / "more").symlink_to(f"../{CRANE}")
    result = journey(tmp_path, "imagenet", folder)
    assert (len(result.train), len(result.test)) == (16, 4)
    assert sum(row["label"] == f"{CRANE} crane" for row in result.train) == 4


def test_classes_that_the_edges_lack_are_counted(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "imagenet")
    write(folder, {"edges.csv": f'"{TENCH}","n02512053"\n"{GOLDFISH}","n02512053"\n'})
    result = journey(tmp_path, "imagenet", folder, imagenet={"edges": str(folder / "edges.csv")})
    assert result.row(f"{TENCH}_0.JPEG")["hierarchy"] == ["n02512053", f"{TENCH} tench"]
    assert result.row(f"{CRANE}_0.JPEG")["hierarchy"] == [f"{CRANE} crane"]
    assert (
        f"2 classes are not in ingest.imagenet.edges, and each is a root of its own: {CRANE_BIRD}, {CRANE}"
        in result.summary["notes"]
    )


def test_a_list_of_classes_and_wordnet_s_edges(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "imagenet", names="words.txt")
    write(folder, {"hundred.txt": f"{GOLDFISH}\n{CRANE_BIRD} crane\n\n{CRANE}\n", "edges.csv": EDGES})
    choice = {"classes": str(folder / "hundred.txt"), "edges": str(folder / "edges.csv")}
    result = journey(tmp_path, "imagenet", folder, imagenet=choice)
    assert (len(result.train), len(result.test)) == (12, 3)
    hierarchy = ["n00015388", "n02512053", f"{GOLDFISH} goldfish"]
    assert result.row(f"{GOLDFISH}_0.JPEG")["hierarchy"] == hierarchy
    assert result.summary["notes"][0].startswith("where ingest.imagenet.edges gives a class several parents")
    assert not any("not in ingest.imagenet.edges" in note for note in result.summary["notes"])
    level = result.cluster("hierarchy", level=1)
    assert (level["clusters"], level["conditional_entropy_bits"]) == (2, pytest.approx(0.0))
    assert result.cluster("hierarchy", level=2)["clusters"] == 3


def test_other_files_and_links_out_are_refused(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "imagenet")
    write(folder, {f"train/{TENCH}/Thumbs.db": "x", f"train/{TENCH}/more/extra.JPEG": jpeg(77)})
    write(tmp_path / "elsewhere", {"secret.JPEG": jpeg(78)})
    (folder / f"train/{CRANE}/link.JPEG").symlink_to(tmp_path / "elsewhere/secret.JPEG")
    (folder / f"train/{CRANE}/folder").symlink_to(tmp_path / "elsewhere")
    (folder / f"train/{CRANE}/circle").symlink_to(folder / "train" / CRANE)
    reason = "a link leads out of the source's folder, which needs ingest.allow_outside_paths=true"
    result = journey(tmp_path / "strict", "imagenet", folder)
    assert result.refused == {
        f"train/{CRANE}/circle": "a link that goes in a circle",
        f"train/{CRANE}/folder": reason,
        f"train/{CRANE}/link.JPEG": reason,
    }
    assert result.summary["notes"][-1].endswith(f"passed over, the first of them train/{TENCH}/Thumbs.db")
    assert result.row("more/extra.JPEG")["label"] == f"{TENCH} tench"
    allowed = journey(tmp_path / "lenient", "imagenet", folder, allow_outside_paths=True)
    assert set(allowed.refused) == {f"train/{CRANE}/circle"}
    assert len(allowed.train) == len(result.train) + 2


def test_layouts_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"ingest.source=imagenet needs ingest.path: set it to the folder that"
    ):
        journey(tmp_path, "imagenet", None)
    folder = pictures(tmp_path / "imagenet")
    with pytest.raises(
        UserError, match=r"expects train in .*val \(ingest.path\), which holds n01440764/, n014"
    ):
        journey(tmp_path, "imagenet", folder / "val")
    write(folder, {"hundred.txt": "n99999999\n"})
    for section, sentence in [
        (
            {"classes": str(folder / "hundred.txt")},
            r"train, which holds .*/ and lacks n99999999: add them, or le",
        ),
        (
            {"classes": str(folder / "none.txt")},
            r"none.txt \(ingest.imagenet.classes\) is not a file: set it to",
        ),
        ({"edges": str(folder / "none.csv")}, r"none.csv \(ingest.imagenet.edges\) can't be read as text"),
    ]:
        with pytest.raises(UserError, match=sentence):
            journey(tmp_path, "imagenet", folder, imagenet=section)
    write(folder, {"val/n77/x.JPEG": jpeg(1)})
    with pytest.raises(
        UserError, match=r"expects a folder for each class in .*train, .* lacks n77: add them"
    ):
        journey(tmp_path, "imagenet", folder)


def test_validation_images_that_are_not_sorted_are_reported(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "imagenet")
    for path in sorted((folder / "val").glob("*/*")):
        path.rename(folder / "val" / path.name)
        path.parent.rmdir()
    with pytest.raises(
        UserError, match=r"val, which holds ILSVRC2012_val_00000000.JPEG, .* and lacks n01440764"
    ):
        journey(tmp_path, "imagenet", folder)
