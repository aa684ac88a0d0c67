"""`clinfonce advise` on tables as people have them."""

import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dvc.utils.hydra import apply_overrides
from typer.testing import CliRunner

from pipeline.advice.command import advice_of_table
from pipeline.advice.table import read_sample
from pipeline.cli import app
from pipeline.config.params import load_params
from pipeline.runtime.errors import UserError
from pipeline.statistics import sample
from support import REPOSITORY, write_columns

ROWS = 600
KINDS = [n // 4 % 4 for n in range(ROWS)]
TABLE: dict[str, list[Any]] = {
    "image": [f"{n}.png" for n in range(ROWS)],
    "label": [f"class {n % 16}" for n in range(ROWS)],
    "split": ["test" if n % 6 == 0 else "train" for n in range(ROWS)],
    "kind": [f"kind {kind}" for kind in KINDS],
    "price": [round(10 * (n % 16) + n / ROWS, 2) for n in range(ROWS)],
    "hashtags": [f"#kind{n // 8 % 2};#n{n % 3}" for n in range(ROWS)],
}


def write(path: Path, **changes: list[Any]) -> Path:
    return write_columns(path, TABLE | changes)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_columns_by_their_roles(tmp_path: Path, ending: str) -> None:
    read = read_sample(write(tmp_path / f"t.{ending}"), "label", 64, 0)
    assert list(read.columns) == ["kind", "price"]
    assert read.labelled.images == 500
    names = [*(f"top {top}" for top in range(1, 6)), "3 topics", "6 topics"]
    assert [one.name for one in read.others] == [f"hashtags ({name})" for name in names]
    assert len(np.unique(read.columns["price"])) == 4
    assert read.notes == [
        "100 test and validation rows are left out",
        "numbers or dates, cut into 4 parts of equal size: price",
    ]


def test_a_long_split_cell_is_no_split(tmp_path: Path) -> None:
    """And moves none of the others."""
    splits = ["x" * 300, *TABLE["split"][1:]]
    read = read_sample(write(tmp_path / "t.csv", split=splits), "label", 64, 0)
    assert read.notes[0] == "99 test and validation rows are left out"


@pytest.mark.parametrize(
    ("renamed", "of_images"),
    [
        ({}, {}),
        ({"label": "class", "hashtags": "Hashtags"}, {"label": "class", "hashtags": "Hashtags"}),
        ({"image": "file"}, None),
    ],
)
def test_the_command_names_the_table(
    tmp_path: Path, renamed: dict[str, str], of_images: dict[str, str] | None
) -> None:
    """As long as it names images: what is pasted trains on them, not on those of params.yaml."""
    path = tmp_path / "my table.csv"
    columns = {renamed.get(name, name): cells for name, cells in TABLE.items()}
    write(path, **{name: [] for name in renamed}, **{n: c for n, c in columns.items() if n not in TABLE})
    record, _ = advice_of_table(path, renamed.get("label", "label"), batch_size=64, seed=0)
    params, command = REPOSITORY / "params.yaml", str(record["command"])
    shutil.copy(params, tmp_path)
    apply_overrides(tmp_path / "params.yaml", [word for word in shlex.split(command)[3:] if word != "-S"])
    changed = load_params(tmp_path / "params.yaml").ingest
    if of_images is None:
        assert changed == load_params(params).ingest
    else:
        assert (changed.source, changed.path) == ("manifest", str(path))
        before = load_params(params).ingest.columns
        assert changed.columns == before.model_copy(update=of_images)


def test_lists_of_hashtags_in_parquet(tmp_path: Path) -> None:
    tags = [["#Red", "sea"], ["red"], []] * 200
    read = read_sample(write(tmp_path / "t.parquet", hashtags=tags), "label", 64, 0)
    assert [one.name for one in read.others] == [
        f"hashtags ({setting})" for setting in ("top 1", "top 2", "2 topics")
    ]
    assert len(np.unique(read.others[1].codes_N)) == 3


def test_numbers_that_repeat_are_candidates_uncut_too(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", price=[n % 100 for n in range(ROWS)], hashtags=[])
    (uncut,) = read_sample(path, "label", 64, 0).others
    assert (uncut.name, len(np.unique(uncut.codes_N))) == ("price (uncut)", 100)
    assert uncut.changes == {"cluster.method": "column", "cluster.column.name": "price"}


def test_a_large_table_is_sampled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All rows with a label are kept before others; the sample stands for all."""
    labels = [f"class {n % 16}" if n % 10 == 1 else None for n in range(ROWS)]
    path = write(tmp_path / "t.parquet", label=labels, split=[])
    monkeypatch.setattr(sample, "MOST_ROWS", 60)
    read = read_sample(path, "label", 64, 0)
    labelled_N = read.labelled.labels_N >= 0
    assert labelled_N.sum() == 60
    assert 30 <= (~labelled_N).sum() <= 120
    assert read.labelled.images == ROWS
    assert read.labelled.row_weights_N is not None
    assert read.labelled.row_weights_N.sum() == pytest.approx(ROWS)
    assert read.notes[0].startswith("measured on a random sample of ")


@pytest.mark.parametrize(
    ("changes", "label", "sentence"),
    [
        ({}, "class", "has no column class: it has image, label"),
        ({"label": ["one"] * ROWS}, "label", "fewer than two labels in column label of"),
        ({"label": [f"id {n}" for n in range(ROWS)]}, "label", "no two images with the same label in"),
        (
            {"kind": [], "price": [], "hashtags": []},
            "label",
            "has no column beside label whose values repeat",
        ),
    ],
)
def test_tables_without_advice(
    tmp_path: Path, changes: dict[str, list[Any]], label: str, sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        advice_of_table(write(tmp_path / "t.csv", **changes), label, batch_size=64, seed=0)


def test_the_command_of_the_pick_is_one_line(tmp_path: Path) -> None:
    """However narrow the terminal is, so that it can be pasted."""
    name = "the kind of thing that the photograph shows, in the words of its owner"
    path = write(tmp_path / "t.csv", kind=[], price=[], hashtags=[], **{name: TABLE["kind"]})
    shown = CliRunner().invoke(app, ["advise", str(path)], env={"COLUMNS": "60"})
    (command,) = (line for line in shown.stdout.splitlines() if "dvc exp run" in line)
    assert command.endswith(f"""'cluster.attributes.columns=["{name}"]'""")


def test_long_names_are_shortened(tmp_path: Path) -> None:
    name = "kind" * 100_000
    path = write(tmp_path / "t.parquet", kind=[], price=[], hashtags=[], **{name: TABLE["kind"]})
    shown = CliRunner().invoke(app, ["advise", str(path)])
    assert "Cluster by kindkind" in shown.stdout
    assert len(shown.stdout) < 5000
    assert "dvc exp run" not in shown.stdout


def test_the_command(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", **{"\x1b[31mevil": [f"v{n % 3}" for n in range(ROWS)]})
    shown = CliRunner().invoke(app, ["advise", str(path), "--label", "label", "--all"])
    assert shown.exit_code == 0, shown.output
    assert "Cluster by " in shown.stdout
    assert "\n    dvc exp run -S ingest.source=manifest -S " in shown.stdout
    assert "\x1b[31mevil" not in shown.stdout
    assert "note: 100 test and validation rows are left out" in shown.stderr
    written = CliRunner().invoke(app, ["advise", str(path), "--label", "label", "--json"])
    advice = json.loads(written.stdout)
    assert advice["pick"] == advice["ranked"][0]["name"]
    assert 0 < advice["ranked"][0]["mutual_information_bits"] <= 4
    assert advice["sentences"][0].startswith(f"Cluster by {advice['pick']}")
