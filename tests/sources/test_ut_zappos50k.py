"""UT-Zappos50K in the layout of its authors."""

from pathlib import Path

import pytest

from pipeline.runtime.errors import UserError
from sources.journey import journey, jpeg, write

HEADER = "CID,Category,SubCategory,HeelHeight,Insole,Closure,Gender,Material,ToeStyle"
BINARY = ["Category.Shoes", "SubCategory.Knee.High", "Gender.Men", "Gender.Women", "Material.Suede"]
SHOES = 24


def shoe(n: int) -> dict[str, str]:
    """Boots and shoes by turns; the folders are named a little differently, as in the published files."""
    boot = n % 2 == 0
    return {
        "cid": f"{100600 + n}-{n * 11}",
        "row": "Boots,Knee High,1in - 1 3/4in,,Lace up;Zipper,Women,Suede,Round Toe"
        if boot
        else "Shoes,Oxfords,,Leather,,Men;Women,,",
        "binary": "0,1,0,1,1" if boot else f"1,0,1,1,{'' if n == 3 else 0}",
        "folder": "Boots/Knee High/L.B. Evans" if boot else "Shoes/Oxfords/Levi's&#174; Kids",
    }


def shoes(folder: Path, *, binary: bool = True, images: str = "ut-zap50k-images-square") -> Path:
    all_of_them = [shoe(n) for n in range(SHOES)]
    files: dict[str, str | bytes] = {
        f"{images}/{s['folder']}/{s['cid'].replace('-', '.')}.jpg": jpeg(n) for n, s in enumerate(all_of_them)
    }
    files["ut-zap50k-data/meta-data.csv"] = "\r\n".join(
        [HEADER, *(f"{s['cid']},{s['row']}" for s in all_of_them)]
    )
    if binary:
        files["ut-zap50k-data/meta-data-bin.csv"] = "\n".join(
            [",".join(["CID", *BINARY]), *(f"{s['cid']},{s['binary']}" for s in reversed(all_of_them))]
        )
    return write(folder, files)


@pytest.mark.parametrize("images", ["ut-zap50k-images-square", "ut-zap50k-images"])
def test_the_official_layout(tmp_path: Path, images: str) -> None:
    result = journey(tmp_path, "ut_zappos50k", shoes(tmp_path / "zap", images=images), test_fraction=0.25)
    assert (len(result.train), len(result.test), result.refused) == (18, 6, {})
    assert result.summary["labels"] == ["Knee High", "Oxfords"]
    # What tells the label is no attribute: of the published 151 columns 126 are left.
    assert result.summary["attributes"] == ["Gender.Men", "Gender.Women", "Material.Suede"]
    boot = result.row("100602-22")
    assert boot["image"]["path"] == "Boots/Knee High/L.B. Evans/100602.22.jpg"
    assert (boot["label"], boot["hierarchy"]) == ("Knee High", ["Boots", "Knee High"])
    assert boot["attributes"] == {"Gender.Men": "no", "Gender.Women": "yes", "Material.Suede": "yes"}
    assert result.row("100603-33")["attributes"]["Material.Suede"] is None
    statistics = result.cluster("attributes", top=2, label_columns="keep")
    assert statistics["notes"] == ["joined Gender.Men=yes, Material.Suede=yes"]
    assert statistics["mutual_information_bits"] == pytest.approx(statistics["label_entropy_bits"])
    assert result.cluster("hierarchy", level=1)["clusters"] == 2


def test_without_the_binary_table_the_columns_are_taken_whole(tmp_path: Path) -> None:
    result = journey(tmp_path, "ut_zappos50k", shoes(tmp_path / "zap", binary=False))
    assert result.summary["attributes"] == HEADER.split(",")[3:]
    assert result.row("100601-11")["attributes"] == dict.fromkeys(HEADER.split(",")[3:]) | {
        "Insole": "Leather",
        "Gender": "Men;Women",
    }
    assert result.summary["notes"][0].endswith(
        "ut-zap50k-data holds no meta-data-bin.csv: no attribute is binary"
    )
    assert result.cluster("column", name="Gender")["clusters"] == 2


def test_what_does_not_fit_together_is_refused(tmp_path: Path) -> None:
    folder = shoes(tmp_path / "zap")
    images = folder / "ut-zap50k-images-square"
    (images / "Boots/Knee High/L.B. Evans/100600.0.jpg").unlink()
    write(images, {"Shoes/Copy/100601.11.jpg": jpeg(1), "Shoes/9.9.jpg": jpeg(2), "readme.txt": "x"})
    (folder / "secret").mkdir()
    (images / "Shoes/link").symlink_to(folder / "secret")
    with (folder / "ut-zap50k-data/meta-data.csv").open("a") as file:
        file.write("\n../../secret-1,Shoes,Oxfords,,,,,,\n100602-22,Shoes,Oxfords,,,,,,")
    result = journey(tmp_path, "ut_zappos50k", folder)
    below = "below ut-zap50k-images-square"
    assert result.refused == {
        "Shoes/link": "a link leads out of the source's folder, which needs ingest.allow_outside_paths=true",
        "meta-data.csv line 2": f"no file of its name (100600.0.jpg) {below}",
        "meta-data.csv line 3": f"2 files of its name (100601.11.jpg) {below}",
        "meta-data.csv line 26": f"no file of its name (../../secret.1.jpg) {below}",
        "meta-data.csv line 27": f"no file of its name (100602.22.jpg) {below}",
        "Shoes/9.9.jpg": "meta-data.csv has no row for the image",
    }
    assert len(result.train) + len(result.test) == SHOES - 2


def test_layouts_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"needs ingest.path: set it to the folder that holds ut-zap50k-data"):
        journey(tmp_path, "ut_zappos50k", None)
    folder = shoes(tmp_path / "zap")
    with pytest.raises(UserError, match=r"expects ut-zap50k-data or .* in .*, which holds Boots/, Shoes/"):
        journey(tmp_path, "ut_zappos50k", folder / "ut-zap50k-images-square")
    (folder / "ut-zap50k-data/meta-data.csv").write_text("CID,Kind\n")
    with pytest.raises(
        UserError, match=r"must have the column Category, SubCategory, and has CID, Kind: take"
    ):
        journey(tmp_path, "ut_zappos50k", folder)
