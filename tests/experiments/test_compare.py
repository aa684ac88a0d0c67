"""Comparing experiments, from rows as `dvc.api.exp_show` gave them in a real repository."""

import csv
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments.rows import row
from pipeline.experiments.compare import write_comparison
from pipeline.experiments.comparison import gather, summary
from pipeline.experiments.csv_table import csv_table, on_one_line
from pipeline.experiments.dvc_reader import reason_in
from pipeline.experiments.experiment import differences
from pipeline.experiments.rank_correlation import rank_correlation
from pipeline.experiments.scatter import correlation_sentence
from pipeline.experiments.selection import select


def lock(method: str = "attributes", **changes: Any) -> dict[str, Any]:
    """A dvc.lock as DVC writes it."""
    cluster = {"method": method, "attributes": {"top": 6, "columns": []}, "kmeans": {"clusters": 100}}
    return {
        "schema": "2.0",
        "stages": {
            "cluster@chosen": {
                "cmd": "python stages/cluster.py chosen",
                "params": {"params.yaml": {"seed": 0, "cluster": cluster | changes}},
                "outs": [{"path": "data/clusters/chosen", "md5": "aa.dir"}],
            },
            "pretrain@chosen": {
                "cmd": "python stages/pretrain.py chosen",
                "deps": [{"path": "data/clusters/chosen", "md5": "aa.dir"}],
                "params": {"params.yaml": {"pretrain": {"learning_rate": 0.1}}},
            },
        },
    }


def test_only_what_succeeded_is_compared() -> None:
    rows = [
        row(None, "workspace", state=None),
        row(None, "main", state=None),
        row("first-one", "aaa", "hashtags", 0.7),
        row("run-here", "bbb", "kmeans", 0.6, state=None),
        row("broken", "ccc", "label", 0.5, state="Failed"),
        row("waiting", "ddd", "random", 0.5, state="Queued"),
        row("busy", "eee", "random", 0.5, state="Running"),
    ]
    found = select(rows, {})
    assert [e.name for e in found.experiments] == ["first-one", "run-here", "main"]
    assert (found.failed, found.unfinished, found.empty, found.stale) == ({"broken": ""}, 2, 0, [])


def test_the_workspace_stays_where_it_is_a_result_of_its_own() -> None:
    found = select([row(None, "workspace", top1=0.55, state=None), row(None, "main", state=None)], {})
    assert [e.name for e in found.experiments] == ["workspace", "main"]


@pytest.mark.parametrize("unread", [None, "!", "-"])
def test_a_commit_without_a_report_is_counted(unread: str | None) -> None:
    bare = {
        key: unread if key.startswith(("chosen", "gap")) else value for key, value in row(None, "old").items()
    }
    found = select([bare, row("good", "aaa")], {})
    assert [e.name for e in found.experiments] == ["good"]
    assert found.empty == 1


def test_names_may_carry_their_file() -> None:
    plain = row("good", "aaa", "hashtags", 0.7)
    longer = {}
    for key, value in plain.items():
        metric = key.startswith(("chosen.", "instance.", "label.", "gap_closed"))
        param = key.startswith(("seed", "cluster.", "pretrain.", "report."))
        file = "data/report/metrics.json:" if metric else "params.yaml:" if param else ""
        longer[f"{file}{key}"] = value
    longer["data/other.json:chosen.top1"] = 0.1
    assert select([longer], {}).experiments == select([plain], {}).experiments


@pytest.mark.parametrize(
    "recorded",
    [
        lock("kmeans"),
        lock(attributes={"top": 7, "columns": []}),
        lock(attributes={"top": 6, "columns": ["colour"]}),
    ],
)
def test_figures_of_other_parameters_are_left_out(recorded: dict[str, Any]) -> None:
    found = select([row("edited", "aaa"), row("good", "bbb")], {"aaa": recorded, "bbb": lock()})
    assert [e.name for e in found.experiments] == ["good"]
    assert found.stale == ["edited"]


def test_an_experiment_of_some_stages_is_left_out() -> None:
    half = lock()
    half["stages"]["cluster@chosen"]["outs"][0]["md5"] = "bb.dir"
    assert select([row("half", "aaa")], {"aaa": half}).stale == ["half"]


def test_a_reference_that_no_longer_runs_makes_nothing_stale() -> None:
    older = lock()
    older["stages"]["pretrain@label"] = {"params": {"params.yaml": {"pretrain": {"learning_rate": 0.5}}}}
    assert [e.name for e in select([row("good", "aaa")], {"aaa": older}).experiments] == ["good"]


def test_only_parameters_that_differ_and_matter_are_reported() -> None:
    rows = [
        row("a", "aaa", "kmeans", 0.7) | {"cluster.kmeans.clusters": 50.0},
        row("b", "bbb", "attributes", 0.6) | {"pretrain.learning_rate": 0.2},
        row("c", "ccc", "attributes", 0.5) | {"cluster.attributes.top": 3.0},
    ]
    found = select(rows, {})
    keys = found.groups[0].differing()
    assert keys == [
        "cluster.method",
        "cluster.attributes.top",
        "cluster.kmeans.clusters",
        "pretrain.learning_rate",
    ]
    a, b, c = (differences(experiment, keys) for experiment in found.experiments)
    assert a == {"cluster.method": "kmeans", "cluster.kmeans.clusters": 50.0, "pretrain.learning_rate": 0.1}
    assert b == {"cluster.method": "attributes", "cluster.attributes.top": 6.0, "pretrain.learning_rate": 0.2}
    assert c == {"cluster.method": "attributes", "cluster.attributes.top": 3.0, "pretrain.learning_rate": 0.1}


def test_rows_without_an_accuracy_come_last() -> None:
    found = select([row("blind", "aaa", top1=None), row("seen", "bbb", top1=0.1)], {})
    assert [e.name for e in found.experiments] == ["seen", "blind"]
    assert found.experiments[1].gap_closed is None


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], "No experiment has succeeded yet"),
        ([row("blind", "aaa", top1=None)], "None of 1 experiment has an accuracy"),
        ([row("only", "aaa")], "only (attributes) reaches 50.0 % linear top-1; there is nothing to compare"),
        ([row("a", "aaa", top1=0.6), row("b", "bbb", "kmeans")], "60.0 %, 10.0 points above b (kmeans)"),
        ([row("a", "aaa", seed=1.0), row("b", "bbb", "kmeans")], "as does b (kmeans)"),
    ],
)
def test_the_summary_says_what_is_true(rows: list[dict[str, Any]], expected: str) -> None:
    assert expected in summary(select(rows, {}).experiments)


def test_rank_correlation_by_hand() -> None:
    """Ranks 1 2 3 4 5 against 2 1 4 3 5: 1 - 6 * 4 / (5 * 24)."""
    found = rank_correlation([1, 2, 3, 4, 5], [20, 10, 40, 30, 50])
    assert found is not None
    assert found.rho == pytest.approx(0.8)
    half = 1.959964 * math.sqrt((1 + 0.32) / 2)
    assert found.low == pytest.approx(math.tanh(math.atanh(0.8) - half))
    assert found.high == pytest.approx(math.tanh(math.atanh(0.8) + half))


def test_rank_correlation_of_ties_is_that_of_their_mean_ranks() -> None:
    x, y = [1.0, 2.0, 2.0, 3.0, 5.0], [1.0, 3.0, 2.0, 2.0, 9.0]
    found = rank_correlation(x, y)
    assert found is not None
    assert found.rho == pytest.approx(np.corrcoef([1, 2.5, 2.5, 4, 5], [1, 4, 2.5, 2.5, 5])[0, 1])


@pytest.mark.parametrize(("x", "y"), [([1, 2, 3], [1, 2, 3]), ([1, 1, 1, 1], [1, 2, 3, 4]), ([], [])])
def test_no_correlation_where_there_is_none_to_measure(x: list[float], y: list[float]) -> None:
    assert rank_correlation(x, y) is None
    assert correlation_sentence(None).startswith("No rank correlation")


def test_perfect_order_claims_no_interval() -> None:
    found = rank_correlation([1, 2, 3, 4], [4, 3, 2, 1])
    assert found is not None
    assert (found.rho, found.low, found.high) == (-1, None, None)


def test_scatter_needs_figures_and_counts_experiments() -> None:
    rows = [
        row(f"e{n}", f"r{n}", top1=0.4 + n / 20) | {"chosen.mutual_information_bits": float(n)}
        for n in range(5)
    ]
    contents = gather(select(rows, {}))
    mutual, conditional = contents.groups[0].pictures
    assert "rank correlation 1.00 over 5 experiments" in mutual.caption
    assert "No rank correlation" in conditional.caption, "H(Z|T) is the same in all"
    assert gather(select([row("blind", "aaa", top1=None)], {})).groups[0].pictures == []


def test_all_three_files_tell_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        row("a", "aaa", "kmeans", 0.7) | {"cluster.column.name": "<img src=x onerror=alert(1)>|"},
        row("b", "bbb", "column", 0.6) | {"cluster.column.name": "</script>|"},
        row("c", "ccc", "column", 0.6, state="Failed"),
    ]
    html, markdown, table = tmp_path / "c.html", tmp_path / "c.md", tmp_path / "c.csv"
    compared = select(rows, {"bbb": None}, {"ccc": "the loss is not finite, <b>lower</b> it"})
    write_comparison(compared, html, markdown, table)
    page = html.read_text(encoding="utf-8")
    assert page.count("<script>") == page.count("</script>") == 1
    assert "cluster.column.name=&lt;/script&gt;|" in page
    assert "http" not in page.replace("http-equiv", "")
    assert "cluster.column.name=&lt;/script&gt;\\|" in markdown.read_text(encoding="utf-8")
    with table.open(encoding="utf-8") as file:
        kept = list(csv.DictReader(file))
    assert [(line["experiment"], line["top1"], line["cluster.method"]) for line in kept] == [
        ("a", "0.7", "kmeans"),
        ("b", "0.6", "column"),
    ]
    printed = capsys.readouterr().out
    for text in (page, markdown.read_text(encoding="utf-8"), printed):
        assert "1 experiment failed, and DVC shows others" in text
    assert "c: the loss is not finite, <b>lower</b> it" in printed
    assert "c: the loss is not finite, &lt;b&gt;lower&lt;/b&gt; it" in page
    assert "2  b: column, cluster.column.name=</script>|" in printed
    assert printed.rstrip().endswith(f"Written: {html}, {markdown}, {table}")


def test_nothing_to_compare_still_says_so(tmp_path: Path) -> None:
    write_comparison(select([], {}), tmp_path / "c.html", tmp_path / "c.md", None)
    assert "No experiment has succeeded yet" in (tmp_path / "c.html").read_text(encoding="utf-8")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.html", "c.md"]


MANIFEST = {
    "ingest.source": "manifest",
    "ingest.path": "../photos.csv",
    "ingest.image_size": 32.0,
    "ingest.columns.label": "kind",
    "ingest.columns.split": "None",
    "ingest.columns.attributes": "['a']",
    "ingest.synthetic.images": 4500.0,
    "ingest.test_fraction": 0.2,
    "pretrain.epochs": 6.0,
}


def test_experiments_on_other_images_are_not_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rendered = {"ingest.source": "synthetic", "ingest.synthetic.images": 4500.0, "ingest.image_size": 32.0}
    rows = [
        row("rendered", "aaa", top1=0.9) | rendered,
        row("small", "bbb", top1=0.4) | MANIFEST,
        row("other-columns", "ccc", top1=0.5) | (MANIFEST | {"ingest.columns.attributes": "['b']"}),
    ]
    found = select(rows, {})
    assert {group.images: [e.name for e in group.experiments] for group in found.groups} == {
        f"{Path('../photos.csv').resolve()}, 32 pixels, labels: kind, test 0.2": ["other-columns", "small"],
        "synthetic, 4500 rendered, 32 pixels": ["rendered"],
    }
    assert found.groups[0].differing() == ["ingest.columns.attributes"]
    write_comparison(found, tmp_path / "c.html", tmp_path / "c.md", None)
    page = (tmp_path / "c.html").read_text(encoding="utf-8")
    assert page.count('<svg class="chart"') == 2, "one experiment alone is no picture"
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    printed = " ".join(capsys.readouterr().out.split())
    assert "The 3 experiments are on 2 sets of images" in printed
    assert "10.0 points above small" in printed


def test_a_table_is_the_same_however_its_path_is_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for same in (["../photos.csv", str(tmp_path.parent / "photos.csv")], ["a.csv", str(tmp_path / "a.csv")]):
        rows = [row(f"e{n}", f"r{n}") | (MANIFEST | {"ingest.path": path}) for n, path in enumerate(same)]
        assert len(select(rows, {}).groups) == 1
    assert select(rows, {}).groups[0].images.startswith("a.csv, ")


def test_intervals_stand_where_reports_have_them() -> None:
    rows = [
        row("a", "aaa", top1=0.6) | {"chosen.top1_low": 0.55, "chosen.top1_high": 0.65},
        row("older", "bbb", top1=0.5),
    ]
    (group,) = gather(select(rows, {})).groups
    place = [column.title for column in group.table.columns].index("95 % interval")
    assert [line[place].text for line in group.table.rows] == ["55.0\N{EN DASH}65.0", "\N{EN DASH}"]
    (group,) = gather(select(rows[1:], {})).groups
    assert "95 % interval" not in [column.title for column in group.table.columns]


def budgets_of(rows: list[dict[str, Any]], train_images: dict[str, float]) -> list[list[str]]:
    """The texts of the table, a line a budget."""
    (group,) = gather(select(rows, {}, None, train_images)).groups
    return [] if group.budgets is None else [[cell.text for cell in line] for line in group.budgets.rows]


def test_the_best_of_each_budget() -> None:
    """Epochs times images: 2 x 1,000 is another budget than 2 x 500; who trained nothing has none."""
    rows = [
        row("long", "aaa", "kmeans", 0.7) | {"pretrain.epochs": 9.0, "chosen.train_images": 1000.0},
        row("short", "bbb", "hashtags", 0.5) | {"pretrain.epochs": 2.0, "chosen.train_images": 1000.0},
        row("best-short", "ccc", "label", 0.6) | {"pretrain.epochs": 2.0},
        row("fewer", "ddd", "label", 0.3) | {"pretrain.epochs": 2.0, "chosen.train_images": 500.0},
        row("older", "eee", "label", 0.2) | {"pretrain.epochs": 4.0},
        row("from-elsewhere", "fff", "label", 0.9) | {"evaluate.transfer_from": "x", "pretrain.epochs": 2.0},
        row("blind", "ggg", "label", None) | {"pretrain.epochs": 3.0},
    ]
    assert [line[:5] for line in budgets_of(rows, {"ccc": 1000.0})] == [
        ["older", "4 epochs, images not recorded", "\N{EN DASH}", "1", "20.0 %"],
        ["fewer", "2 epochs \N{MULTIPLICATION SIGN} 500 images", "1,000", "1", "30.0 %"],
        ["best-short", "2 epochs \N{MULTIPLICATION SIGN} 1,000 images", "2,000", "2", "60.0 %"],
        ["long", "9 epochs \N{MULTIPLICATION SIGN} 1,000 images", "9,000", "1", "70.0 %"],
    ]
    assert budgets_of([row("untold", "aaa")], {}) == []


def test_the_table_says_what_a_budget_leaves_out() -> None:
    rows = [row(f"e{n}", f"r{n}") | {"pretrain.epochs": n} for n in (1.0, 2.0)]
    (group,) = gather(select(rows, {})).groups
    assert group.budgets is not None
    assert "What an objective costs beside" in group.budgets.note


def test_one_budget_is_a_note_and_no_table() -> None:
    rows = [row(f"e{n}", f"r{n}") | {"pretrain.epochs": 2.0, "chosen.train_images": 500.0} for n in (1, 2)]
    (group,) = gather(select(rows, {})).groups
    assert group.budgets is None
    assert group.table.note == "Trained for 2 epochs \N{MULTIPLICATION SIGN} 500 images."


def test_seeds_of_one_clustering_are_not_called_evidence() -> None:
    rows = [row(f"e{n}", f"r{n}", top1=n / 10) | {"chosen.mutual_information_bits": n // 2} for n in range(6)]
    several, alone = (gather(select(some, {})).groups[0].pictures[0].caption for some in (rows, rows[::2]))
    assert "narrower than the evidence" in several
    assert "narrower" not in alone


@pytest.mark.parametrize("begin", ["=1+1", "+1", "-1", "@SUM(A1)", " =1"])
def test_a_table_for_spreadsheets_runs_nothing(tmp_path: Path, begin: str) -> None:
    rate = {"pretrain.learning_rate": -1.0}
    rows = [
        row(f"{begin}|name", "aaa", top1=0.6) | ({"cluster.column.name": begin} | rate),
        row("b", "bbb", "kmeans"),
    ]
    write_comparison(select(rows, {}), tmp_path / "c.html", tmp_path / "c.md", tmp_path / "c.csv")
    with (tmp_path / "c.csv").open(encoding="utf-8", newline="") as file:
        first = next(csv.DictReader(file))
    assert first["experiment"] == f"'{begin}|name"
    assert first["cluster.column.name"] == f"'{begin}"
    assert first["pretrain.learning_rate"] == "-1.0", "a number stays one"
    assert on_one_line("red\r\n=1+1\nblue") == "red =1+1 blue", "no cell begins within another"


def test_the_reason_is_the_stage_s_own_sentence() -> None:
    log = "Running stage 'cluster'\nerror: cluster.column.name=x is no column\nERROR: failed to reproduce\n\n"
    assert reason_in(log) == "cluster.column.name=x is no column"
    assert reason_in("Traceback ...\nKeyError: 'a'\nERROR: failed to reproduce") == "KeyError: 'a'"
    assert reason_in("ERROR: failed to apply\n") == "ERROR: failed to apply"
    assert reason_in("") == ""


def test_a_share_of_the_gap_is_shown_where_the_report_states_it() -> None:
    """Four times a gap of one point is a ratio for programs, and no figure for people."""
    close = row("close", "aaa", gap_closed=4.0)
    stated = row("stated", "bbb", gap_closed=0.85, gap_closed_low=0.7, gap_closed_high=1.05)
    table = gather(select([close, stated], {})).groups[0].table
    place = [column.title for column in table.columns].index("Gap closed")
    shown = {cells[1].text: (cells[place].text, cells[place].detail) for cells in table.rows}
    assert shown == {"close": ("\N{EN DASH}", ""), "stated": ("85 %", "70 to 105")}
    only_close = gather(select([close], {})).groups[0].table
    assert "Gap closed" not in [column.title for column in only_close.columns]


def test_chance_and_majority_stand_beside_the_accuracies() -> None:
    known = {"baselines.chance_top1": 0.1, "baselines.majority_top1": 0.3, "baselines.reachable_top1": 0.9}
    rows = [row("one", "aaa") | known, row("two", "bbb") | known, row("earlier", "ccc")]
    comparison = select(rows, {})
    note = gather(comparison).groups[0].table.note
    assert note.startswith(
        "Chance level 10.0 % (guessing evenly among the labels), majority share 30.0 % (always naming the "
        "most frequent one), at most 90.0 % can be reached: "
    )
    assert note.count("Chance level") == 1
    columns, lines = csv_table(comparison)
    assert {"gap_closed_low", "chance_top1", "majority_top1", "reachable_top1"} <= set(columns)
    assert [line["majority_top1"] for line in lines].count(0.3) == 2
