"""The authors' released tables of clusters, as written and as published."""

import csv
import os
from pathlib import Path

import pytest

from pipeline.clustering.describe import describe
from pipeline.clustering.methods.column import cluster_by_column
from pipeline.clustering.postprocess import apply_policies
from pipeline.config.cluster import ClusterParams, ColumnParams
from pipeline.dataset.dataset import ImageSplit
from pipeline.runtime.errors import UserError
from sources.journey import journey, jpeg, write

pytestmark = pytest.mark.slow

TRAIN = """,label_gran_1,label_gran_2,class,path
0,0,0,0,train/a/0.jpg
1,0,1,0,train/a/1.jpg
2,1,2,1,val/b/2.jpg
3,1,2,1,val/b/3.jpg
-1,2,3,2,4
"""
TEST = """,path,class
0,test/a/4.jpg,0
1,test/b/5.jpg,1
-1,2,2
"""


def tables(folder: Path, train: str = TRAIN) -> Path:
    paths = [f"{place}/{n}.jpg" for n, place in enumerate(("train/a", "train/a", "val/b", "val/b", "test/a"))]
    pictures: dict[str, str | bytes] = {name: jpeg(n) for n, name in enumerate([*paths, "test/b/5.jpg"])}
    return write(folder, pictures | {"meta_data_train.csv": train, "meta_data_val.csv": TEST})


def test_cluster_columns_are_attributes_of_the_train_images(tmp_path: Path) -> None:
    result = journey(tmp_path, "clinfonce_tables", tables(tmp_path / "wider"))
    assert (len(result.train), len(result.test), result.refused) == (4, 2, {})
    assert result.summary["notes"] == [
        f"the row of meta_data_{name}.csv that counts its values is no image" for name in ("train", "val")
    ]
    row = result.row("val/b/2.jpg")
    assert (row["label"], row["attributes"]) == ("1", {"label_gran_1": "1", "label_gran_2": "2"})
    assert result.row("test/a/4.jpg")["attributes"] == {"label_gran_1": None, "label_gran_2": None}
    statistics = result.cluster("column", name="label_gran_2")
    assert statistics["clusters"] == 3
    assert statistics["mutual_information_bits"] == pytest.approx(1.0)
    assert statistics["conditional_entropy_bits"] == pytest.approx(0.5)


def test_images_may_lie_elsewhere_and_tables_have_other_names(tmp_path: Path) -> None:
    folder = tables(tmp_path / "wider")
    (tmp_path / "released").mkdir()
    for name in ("train", "val"):
        (folder / f"meta_data_{name}.csv").rename(tmp_path / f"released/bestk_{name}.csv")
    choice = {"images": str(folder), "train": "bestk_train.csv", "test": "bestk_val.csv"}
    result = journey(tmp_path, "clinfonce_tables", tmp_path / "released", clinfonce_tables=choice)
    assert (len(result.train), len(result.test)) == (4, 2)


def test_rows_that_are_refused(tmp_path: Path) -> None:
    hostile = (
        TRAIN + "5,0,0,0,../secret.jpg\n6,0,0,0,/etc/passwd\n7,0,0\n8,0,0,0,train/a/0.jpg\n9,0,0,0,x.jpg,1\n"
    )
    result = journey(tmp_path, "clinfonce_tables", tables(tmp_path / "wider", hostile))
    assert result.refused == {
        "meta_data_train.csv line 7": "the path holds .., which needs ingest.allow_outside_paths=true",
        "meta_data_train.csv line 8": "the path is absolute, which needs ingest.allow_outside_paths=true",
        "meta_data_train.csv line 9": "the line is not a row of the table: 3 cells under 5 columns",
        "meta_data_train.csv line 10": "an earlier row has the same image",
        "meta_data_train.csv line 11": "the line is not a row of the table: 6 cells under 5 columns",
    }


def test_layouts_that_are_none(tmp_path: Path) -> None:
    folder = tables(tmp_path / "wider")
    with pytest.raises(UserError, match=r"clinfonce_tables.images\) is not a folder: name the images'"):
        journey(tmp_path, "clinfonce_tables", folder, clinfonce_tables={"images": "nowhere"})
    (folder / "meta_data_val.csv").write_text("path,label\n")
    with pytest.raises(
        UserError, match=r"must have the columns class and path after one .* has path, label: "
    ):
        journey(tmp_path, "clinfonce_tables", folder)
    (folder / "meta_data_val.csv").unlink()
    with pytest.raises(
        UserError, match=r"expects meta_data_val.csv in .* holds meta_data_train.csv, test/, tr"
    ):
        journey(tmp_path, "clinfonce_tables", folder)


def test_the_released_tables_give_the_figures_of_their_authors(shared_data: Path, tmp_path: Path) -> None:
    """All images are one of two pictures here: the statistics do not look at them."""
    released = shared_data / "wider-clusters"
    write(tmp_path, {"0.jpg": jpeg(0, 10, 10), "1.jpg": jpeg(1, 10, 10)})
    for name in ("train", "val"):
        with (released / f"meta_data_{name}.csv").open(newline="") as file:
            paths = [row["path"] for row in csv.DictReader(file)][:-1]
        for number, path in enumerate(paths):
            place = tmp_path / "pictures" / path
            place.parent.mkdir(parents=True, exist_ok=True)
            os.link(tmp_path / f"{number % 2}.jpg", place)
    choice = {"images": str(tmp_path / "pictures")}
    result = journey(tmp_path, "clinfonce_tables", released, image_size=8, clinfonce_tables=choice)
    assert (len(result.train), len(result.test), result.refused) == (6871, 6918, {})
    with (released / "meta_data_train_stats_.csv").open(newline="") as file:
        published = {row[""]: row for row in csv.DictReader(file)}
    train = ImageSplit(result.layout.images, "train")
    for column in ("label_gran_3", "label_gran_14"):
        clusters = cluster_by_column(train, ColumnParams(name=column), 0)
        statistics = describe("column", train, clusters, apply_policies(clusters, ClusterParams()), 16, 0)
        information, conditional = (float(published[column][key]) for key in ("I(Y;T)", "H(Y|T)"))
        assert statistics["mutual_information_bits"] == pytest.approx(information, abs=1e-6)
        assert statistics["conditional_entropy_bits"] == pytest.approx(conditional, abs=1e-6)


def test_a_table_that_counts_its_values_again_and_again_is_noted_once(tmp_path: Path) -> None:
    folder = tables(tmp_path / "wider", TRAIN + "-1,2,3,2,4\n" * 2)
    result = journey(tmp_path, "clinfonce_tables", folder, max_reject_fraction=0.5)
    assert len(result.summary["notes"]) == 2
    assert result.refused["4"] == "the file does not exist"
    assert len(result.refused) == 2
