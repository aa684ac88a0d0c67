import csv
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from typer.testing import CliRunner, Result

from pipeline.cli import app
from pipeline.dataset.label_notes import label_notes
from pipeline.dataset.noise import noise_notes
from pipeline.runtime.errors import UserError
from pipeline.runtime.sanitize import for_terminal
from pipeline.statistics import tables
from pipeline.statistics.command import statistics_of_table
from pipeline.statistics.console import WIDEST_NAME, print_statistics, short_names
from pipeline.statistics.describe import describe_clustering

SHARED_DATA = Path(
    os.environ.get("CLINFONCE_SHARED_DATA", Path(__file__).parents[2] / ".." / "shared" / "data")
)
ANSI_STYLE = re.compile(r"\x1b\[[0-9;]*m")
WIDER = SHARED_DATA / "wider-clusters"
needs_wider = pytest.mark.skipif(not WIDER.is_dir(), reason="the shared folder wider-clusters is not here")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["statistics", *map(str, arguments)])


def objects(*arguments: object) -> list[dict[str, Any]]:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.stderr
    parsed: list[dict[str, Any]] = json.loads(result.stdout)
    return parsed


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "t.csv"
    rows = ["id,colour,shape,label,empty"]
    rows += [f"{i},{'red' if i % 3 else 'blue'},{i % 5 or ''},{i % 4 or ''}," for i in range(40)]
    path.write_text("\n".join(rows) + "\n")
    return path


def test_a_table_that_is_one_of_a_series(tmp_path: Path, table: Path) -> None:
    part = table.rename(tmp_path / "train-00000-of-00002.csv")
    assert (
        "note: train-00000-of-00002.csv is one of 2 files of a series" in run(part, "--label", "label").stderr
    )


@pytest.fixture
def wider(tmp_path: Path) -> Path:
    """The authors' train table without its last row, which counts and is no image."""
    lines = (WIDER / "meta_data_train.csv").read_text().splitlines()
    path = tmp_path / "wider.csv"
    path.write_text("\n".join(lines[:-1]) + "\n")
    return path


@needs_wider
def test_the_authors_own_table_is_reproduced(wider: Path) -> None:
    with (WIDER / "meta_data_train_stats_.csv").open() as file:
        published = {row[""]: row for row in csv.DictReader(file)}
    computed = {one["column"]: one for one in objects(wider, "--label", "class")}
    columns = [f"label_gran_{k}" for k in range(1, 15)]
    assert list(computed) == columns
    class_itself, instance = objects(wider, "--label", "class", "--cluster", "class", "--cluster", "path")
    for name, one in {**computed, "class": class_itself, "instance_id": instance}.items():
        theirs = {key: float(value) for key, value in published[name].items() if key and value}
        assert one["mutual_information_bits"] == pytest.approx(theirs["I(Y;T)"], abs=1e-9)
        assert one["conditional_entropy_bits"] == pytest.approx(theirs["H(Y|T)"], abs=1e-9)
        assert one["label_conditional_entropy_bits"] == pytest.approx(theirs["H(T|Y)"], abs=1e-9)
        assert one["cluster_entropy_bits"] == pytest.approx(theirs["H(Y)"], abs=1e-9)


def test_json_is_a_list_of_the_keys_of_statistics_json(table: Path) -> None:
    colour, shape = objects(table, "--label", "label", "--cluster", "colour", "--cluster", "shape")
    assert [colour["column"], shape["column"]] == ["colour", "shape"]
    labels = [f"{i % 4}" if i % 4 else None for i in range(40)]
    clusters_N = np.array([1 if i % 3 else 0 for i in range(40)])
    described = describe_clustering("column", clusters_N, labels, seed=0)
    assert {key: colour[key] for key in described} == described
    assert colour["rows_unlabelled"] == 10
    assert shape["rows_without_cluster"] == 8
    assert shape["rows"] == 32


def test_without_cluster_the_columns_whose_values_repeat(table: Path) -> None:
    result = run(table, "--label", "label", "--json")
    assert [one["column"] for one in json.loads(result.stdout)] == ["colour", "shape"]
    assert "left out, as no value of theirs repeats: id, empty" in result.stderr


def test_a_column_named_by_hand_is_taken_whatever_it_holds(table: Path) -> None:
    (one,) = objects(table, "--label", "label", "--cluster", "id")
    assert one["singletons"] == one["clusters"] == 40


def test_the_default_is_a_table_with_findings_as_sentences(table: Path) -> None:
    result = run(table, "--label", "label", "--batch-size", 8)
    assert result.exit_code == 0
    assert "anchors without positives" in result.stdout
    assert "colour: One of 2 clusters holds 65 % of the images" in " ".join(result.stdout.split())


@pytest.mark.parametrize("width", [30, 40, 60, 80, 120])
def test_no_figure_is_cut_in_a_narrow_terminal(
    table: Path, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    statistics = objects(table, "--label", "label")
    drawn = io.StringIO()
    drawn.isatty = lambda: True  # type: ignore[method-assign]
    print_statistics(statistics, "label", drawn)
    figures = drawn.getvalue().split("\n")
    row = next(line for line in figures if "colour" in line and "│" not in line)
    assert "…" not in row
    assert f"{statistics[0]['mutual_information_bits']:.3f}" in row
    left_out = " ".join(ANSI_STYLE.sub("", drawn.getvalue()).split()).partition("Not in this width: ")[2]
    assert ("AMI" in left_out) == (f"{statistics[0]['adjusted_mutual_information']:.3f}" not in row)


@given(st.lists(st.text("ab名\x1b", min_size=1, max_size=120), unique=True, max_size=20))
def test_names_in_the_table_differ_and_fit(names: list[str]) -> None:
    short = short_names(names)
    assert len(set(short)) == len(names)
    assert all(cell_len(name) <= WIDEST_NAME for name in short)
    assert all(one == for_terminal(name) for name, one in zip(names, short, strict=True) if len(name) < 10)


def test_long_names_show_their_beginning_and_end() -> None:
    alike = "annotator_reported_primary_material_of_the_outer_layer_v2_2023_"
    cleaned, raw = short_names([f"{alike}cleaned", f"{alike}raw"])
    assert cleaned == "annotator_reported_…yer_v2_2023_cleaned"
    assert raw == "annotator_reported_…r_layer_v2_2023_raw"
    first, second = short_names([f"{alike}1_{alike}", f"{alike}2_{alike}"])
    assert (first[-3:], second[-3:]) == (" #1", " #2")


def test_a_finding_of_several_columns_is_told_once(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    rows = [f"{'a' if i % 5 else 'b'},{'c' if i % 4 else 'd'},{i % 3}" for i in range(40)]
    path.write_text("\n".join(["one,[bold]two,label", *rows]) + "\n")
    printed = run(path, "--label", "label").stdout
    assert printed.count("One of 2 clusters holds") == 1
    assert "(Likewise: [bold]two.)" in printed
    assert printed.count("[bold]two ") == 1, "in the table"


def test_columns_separated_by_semicolons(table: Path, tmp_path: Path) -> None:
    path = tmp_path / "semicolons.csv"
    path.write_text(table.read_text().replace(",", ";"))
    assert objects(path, "--label", "label") == objects(table, "--label", "label")


def test_csv_has_a_line_for_each_column(table: Path) -> None:
    result = run(table, "--label", "label", "--csv", "--batch-size", 8)
    colour, shape = csv.DictReader(io.StringIO(result.stdout))
    assert (colour["column"], shape["column"]) == ("colour", "shape")
    assert colour["size_quantile_1"] == "26"
    assert "dominant_cluster" in colour["findings"].split()


def test_the_format_of_the_file_does_not_matter(table: Path, tmp_path: Path) -> None:
    with table.open() as file:
        rows = list(csv.DictReader(file))
    parquet, lines, tsv = tmp_path / "t.parquet", tmp_path / "t.jsonl", tmp_path / "t.tsv"
    typed = {
        "colour": pa.array([row["colour"] for row in rows]).dictionary_encode(),
        "shape": [int(row["shape"] or 0) or None for row in rows],
        "label": [float(row["label"] or "nan") for row in rows],
    }
    pq.write_table(pa.table(typed), parquet, row_group_size=7)
    lines.write_text("\n".join(json.dumps(row) for row in rows))
    tsv.write_text("\n".join(["\t".join(rows[0]), *("\t".join(row.values()) for row in rows)]))
    expected = objects(table, "--label", "label", "--cluster", "colour", "--cluster", "shape")
    for path in (parquet, lines, tsv):
        assert objects(path, "--label", "label", "--cluster", "colour", "--cluster", "shape") == expected


def test_categories_of_polars_are_as_text(table: Path, tmp_path: Path) -> None:
    """Their Parquet has dictionaries with unsigned positions."""
    polars = pytest.importorskip("polars", reason="the dependency group `readers` is not installed")
    path = tmp_path / "categories.parquet"
    texts = polars.read_csv(table, infer_schema=False)
    colours = polars.Enum(texts["colour"].drop_nulls().unique(maintain_order=True))
    texts.with_columns(
        polars.col("colour").cast(colours), polars.col("shape", "label").cast(polars.Categorical)
    ).write_parquet(path)
    kinds = [pq.read_schema(path).field(name).type for name in ("colour", "shape", "label")]
    assert all(pa.types.is_unsigned_integer(kind.index_type) for kind in kinds)
    assert objects(path, "--label", "label") == objects(table, "--label", "label")


def test_long_entries_of_dictionaries_with_unsigned_positions_are_left_out(tmp_path: Path) -> None:
    texts = pa.array(["x" * 200_000, "a", "b", None] * 30).dictionary_encode()
    found = []
    for kind in (pa.int32(), pa.uint8()):
        labels = pa.DictionaryArray.from_arrays(texts.indices.cast(kind), texts.dictionary)
        pq.write_table(pa.table({"label": labels, "c": ["k", "l", "k"] * 40}), tmp_path / "t.parquet")
        found.append(objects(tmp_path / "t.parquet", "--label", "label"))
    assert found[0] == found[1]
    assert found[0][0]["rows"] == 90


def test_the_terminal_tells_on_how_many_rows_the_figures_rest(table: Path) -> None:
    printed = " ".join(run(table, "--label", "label").stdout.split())
    assert "I(Z;T), H(Z|T), H(T) and AMI are over 24 to 30 labelled rows." in printed
    assert "colour: 10 rows have no label and count only for the sizes and H(Z)." in printed


@pytest.mark.parametrize(
    ("rows", "values", "reason"),
    [
        (99, 2, "fewer than 100 rows are labelled."),
        (100, 2, None),
        (120, 59, "too many pairs of cluster and label were seen only once: more labelled rows or coarser"),
    ],
)
def test_what_a_sample_is_too_small_for_is_withheld(
    tmp_path: Path, rows: int, values: int, reason: str | None
) -> None:
    path = tmp_path / "t.csv"
    path.write_text("\n".join(["label,colour", *(f"{i % 3},{i * 7 % values}" for i in range(rows))]) + "\n")
    printed = run(path, "--label", "label").stdout
    (one,) = objects(path, "--label", "label")
    figures = next(line for line in printed.splitlines() if line.startswith("colour "))
    assert figures.split().count("\N{EN DASH}") == (reason is not None)
    assert ("no corrected I(Z;T)" in printed) == (reason is not None)
    if reason is not None:
        assert f"colour: no corrected I(Z;T), as {reason}" in " ".join(printed.split())
    assert (one["mutual_information_corrected_bits"] is None) == (reason is not None)


def test_the_seed_draws_the_shuffled_tables_and_nothing_else(tmp_path: Path) -> None:
    path, generator = tmp_path / "sparse.csv", np.random.default_rng(0)
    rows = [f"{generator.integers(60)},{generator.integers(10)}" for _ in range(300)]
    path.write_text("\n".join(["colour,label", *rows]) + "\n")
    one, again, other = (objects(path, "--label", "label", "--seed", seed)[0] for seed in (1, 1, 2))
    assert one == again
    assert {key for key in one if one[key] != other[key]} == {"independence_p_value"}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--label", "kind"], "has no column kind: it has id, colour, shape, label, empty"),
        (["--label", "label", "--cluster", "hue"], "has no column hue: it has id"),
        (["--label", "empty"], "column empty of"),
        (["--label", "label", "--cluster", "empty"], "column empty of"),
        (["--label", "label", "--json", "--csv"], "give one of them"),
    ],
)
def test_a_mistake_is_told_in_a_sentence(table: Path, arguments: list[str], sentence: str) -> None:
    result = run(table, *arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert sentence in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("a,label\n", "has no rows"),
        ("label\nx\n", "has no column beside label"),
        ("id,label\n1,x\n2,y\n", "has no column whose values repeat"),
        ("", "is empty"),
    ],
)
def test_a_table_that_has_nothing_to_count(tmp_path: Path, content: str, sentence: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(content)
    result = run(path, "--label", "label")
    assert result.exit_code == 2
    assert sentence in result.stderr


def test_a_missing_file_is_told_in_a_sentence(tmp_path: Path) -> None:
    result = run(tmp_path / "nothing.csv", "--label", "label")
    assert result.exit_code == 2
    assert "nothing.csv does not exist" in result.stderr


def test_statistics_need_neither_torch_nor_scikit_learn() -> None:
    check = (
        "import sys, pipeline.statistics.command as c; print({'torch', 'sklearn'}.intersection(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"


@pytest.mark.parametrize("named", [True, False])
def test_columns_of_very_many_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: bool) -> None:
    """A few kilobytes of Parquet can hold any number of them."""
    monkeypatch.setattr("pipeline.statistics.command.MOST_VALUES", 50)
    path = tmp_path / "m.parquet"
    rows = {"label": ["a", "b"] * 100, "colour": ["red", "red", "blue", "blue"] * 50, "number": range(200)}
    pq.write_table(pa.table({name: list(values) for name, values in rows.items()}), path)
    if named:
        result = run(path, "--label", "label", "--cluster", "number")
        assert result.exit_code == 2
        assert "column number of" in result.stderr
        assert "holds more than 50 different values" in result.stderr
        result = run(path, "--label", "number")
        assert "column number of" in result.stderr
    else:
        result = run(path, "--label", "label", "--json")
        assert [one["column"] for one in json.loads(result.stdout)] == ["colour"]
        assert "left out, as they hold more than 50 different values: number" in result.stderr


def test_a_long_name_is_quoted_in_part(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("label,colour\na,red\n")
    for option in ("--label", "--cluster"):
        named = ["--label", "label", option, "no such column " * 100]
        result = run(tmp_path / "m.csv", *named)
        assert result.exit_code == 2
        assert 200 < len(result.stderr) < 200 + len(str(tmp_path)) + 200


def test_rows_that_name_an_image_again_are_counted(tmp_path: Path) -> None:
    """As tables of captions do: ingest takes each image once."""
    path = tmp_path / "m.csv"
    rows = [f"{n // 5}.png,{'xy'[n % 2]},{'abc'[n % 3]}\n" for n in range(50)]
    path.write_text("image,label,colour\n" + "".join(rows))
    found = statistics_of_table(path, "label", [], seed=0)
    assert [column["column"] for column in found.columns] == ["colour"]
    assert found.notes == [
        "40 rows name an image that an earlier row names: they count here, and ingest refuses them"
    ]
    named = statistics_of_table(path, "label", ["image"], seed=0)
    assert [column["column"] for column in named.columns] == ["image"]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize(
    ("labels", "beginning"),
    [
        ([f"{n / 7:.3f}" for n in range(60)], "the labels are numbers with fractions"),
        (["a|b", "b|c", "a|c|d"] * 20, "the labels are lists, each"),
        (
            ["a, b", "a", "b", "b, c", "c, a", "c, b, a", "b, a", "c, b", "c, a, b", "a, c"] * 6,
            "the labels are lists, each",
        ),
        ([f"a dog that runs on beach number {n}" for n in range(60)], "the labels are sentences"),
        (["Cat", "cat", "dog"] * 20, "2 labels differ from others in capitals"),
        ([f"n{n}" for n in range(60)], "there are 60 different labels on 60 images"),
    ],
)
def test_labels_have_the_notes_of_ingest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, labels: list[str], beginning: str, suffix: str
) -> None:
    monkeypatch.setattr(tables, "_BATCH_ROWS", 16)
    path = tmp_path / f"m{suffix}"
    table = pa.table({"label": labels, "kind": ["x", "y", "z"] * 20})
    if suffix == ".parquet":
        pq.write_table(table, path)
    else:
        pa_csv.write_csv(table, path)
    distinct, rows = np.unique(labels, return_counts=True)
    expected = label_notes(distinct.tolist(), rows)
    found = statistics_of_table(path, "label", ["kind"], seed=0).notes
    assert found[0].startswith(beginning)
    assert found == expected


def test_columns_without_one_value_a_row_are_noted(tmp_path: Path) -> None:
    path = tmp_path / "m.parquet"
    columns = {"label": ["a", "b", "a"], "kind": ["x", "x", "y"], "tags": [["x"], [], None]}
    pq.write_table(pa.table(columns | {"image": [b"\x89PNG", b"2", None]}), path)
    result = statistics_of_table(path, "label", [], seed=0)
    assert [column["column"] for column in result.columns] == ["kind"]
    assert "left out, as they hold lists, objects or bytes: tags, image" in result.notes
    assert not any("tags" in note for note in statistics_of_table(path, "label", ["kind"], seed=0).notes)
    with pytest.raises(UserError, match=r"column tags of .* holds lists, objects or bytes"):
        statistics_of_table(path, "label", ["tags"], seed=0)


@pytest.mark.parametrize("kind", [str, int, float])
def test_noise_of_dbscan_is_counted(tmp_path: Path, kind: Callable[[int], Any]) -> None:
    path = tmp_path / "m.parquet"
    columns = {"label": ["a", "b", "c"] * 20, "cluster": [kind(n % 5 - 1) for n in range(60)]}
    pq.write_table(pa.table(columns), path)
    assert statistics_of_table(path, "label", [], seed=0).notes == noise_notes(
        [("cluster", {"-1": 12, "0": 12, "1": 12, "2": 12, "3": 12})]
    )


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_words_for_unknown_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    """In every batch, and in the columns that are described alone."""
    monkeypatch.setattr(tables, "_BATCH_ROWS", 16)
    path = tmp_path / f"m{suffix}"
    columns = {
        "label": ["no_label", "cat", "dog", ""] * 15,
        "colour": ["NA", "NA", "red"] * 20,
        "size": ["s", "m", "l"] * 20,
        "id": ["unknown", *map(str, range(59))],
    }
    if suffix == ".parquet":
        pq.write_table(pa.table(columns), path, use_dictionary=True)
    else:
        path.write_text("\n".join(map(",".join, [list(columns), *zip(*columns.values(), strict=True)])))
    found = statistics_of_table(path, "label", [], seed=0)
    assert found.notes[-1] == (
        'words for "unknown" count as values like any other, in label (15 x no_label), colour (40 x NA): '
        "leave such cells empty if nothing is known there"
    )
