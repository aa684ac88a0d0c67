"""`clinfonce compare` in a real repository, small enough to run its experiments here."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from experiments.small_repository import (
    CLUSTER,
    PARAMS,
    PIPELINE,
    REPORT,
    compared,
    environment,
    run,
    table_of,
)
from support import REPOSITORY

pytestmark = pytest.mark.slow

PLOTS = "\nplots:\n" + (REPOSITORY / "dvc.yaml").read_text().partition("\nplots:\n")[2]
"""As the project has them."""


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A baseline of attributes (.50), an experiment of kmeans (.30), one of hashtags without its report."""
    folder = tmp_path_factory.mktemp("repository")
    for name, text in {
        "params.yaml": PARAMS,
        "dvc.yaml": PIPELINE + PLOTS,
        "cluster.py": CLUSTER,
        "report.py": REPORT,
    }.items():
        (folder / name).write_text(text)
    run(folder, "git", "init", "-q", "-b", "main")
    run(folder, "git", "config", "user.name", "someone")
    run(folder, "git", "config", "user.email", "someone@example.org")
    run(folder, "dvc", "init", "-q")
    run(folder, "dvc", "config", "core.analytics", "false")
    shutil.copytree(REPOSITORY / ".dvc" / "plots", folder / ".dvc" / "plots")
    run(folder, "dvc", "repro", "-q")
    run(folder, "git", "add", "-A")
    run(folder, "git", "commit", "-qm", "baseline")
    run(folder, "dvc", "exp", "run", "-q", "-n", "by-features", "-S", "cluster.method=kmeans")
    run(folder, "dvc", "exp", "run", "-q", "-n", "unfinished", "-S", "cluster.method=hashtags", "cluster")
    run(folder, "git", "checkout", "-q", ".")
    make_branch(folder)
    return folder


def make_branch(folder: Path) -> None:
    """`other-branch`, on which labels are the clusters (.25)."""
    run(folder, "git", "checkout", "-q", "-b", "other-branch")
    (folder / "params.yaml").write_text(PARAMS.replace("method: attributes", "method: label"))
    run(folder, "dvc", "repro", "-q")
    run(folder, "git", "commit", "-qam", "labels")
    run(folder, "git", "checkout", "-q", "main")
    run(folder, "dvc", "checkout", "-q")


def test_experiments_are_read_as_dvc_keeps_them(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    printed = compared(monkeypatch, repository).stdout
    assert table_of(printed) == [["main", "50.0"], ["by-features", "30.0"]]
    assert "unfinished: its figures were made with other parameters" in printed
    assert "2  by-features: kmeans" in printed
    assert (repository / "compare.html").exists()
    assert (repository / "compare.md").exists()


def test_experiments_can_be_named(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    printed = compared(monkeypatch, repository, "by-features", "--csv", "few.csv").stdout
    assert table_of(printed) == [["by-features", "30.0"]]
    assert len((repository / "few.csv").read_text().splitlines()) == 2


@pytest.mark.parametrize("name", ["HEAD:params.yaml", "HEAD:dvc.yaml", "HEAD^{tree}"])
def test_what_is_no_commit(repository: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    result = compared(monkeypatch, repository, name)
    assert result.exit_code == 2
    assert f"there is no experiment, branch or commit {name}" in " ".join(result.stderr.split())


def test_branches_and_experiments_stand_side_by_side(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed = compared(monkeypatch, repository, "main", "other-branch", "by-features").stdout
    assert table_of(printed) == [["main", "50.0"], ["by-features", "30.0"], ["other-branch", "25.0"]]
    assert table_of(compared(monkeypatch, repository, "other-branch").stdout) == [["other-branch", "25.0"]]


def test_a_branch_brings_its_experiments_where_that_is_asked(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed = compared(monkeypatch, repository, "main", "--with-experiments").stdout
    assert table_of(printed) == [["main", "50.0"], ["by-features", "30.0"]]


STATISTIC_BY_PLOT = {
    "accuracy against I(Z;T)": "mutual_information_bits",
    "accuracy against H(Z|T)": "conditional_entropy_bits",
}


def test_plots_diff_holds_the_points_of_all_revisions(repository: Path) -> None:
    output = json.loads(
        run(repository, "dvc", "plots", "diff", "--json", "main", "by-features", "other-branch")
    )
    assert "errors" not in output
    expected = {("main", "attributes"), ("by-features", "kmeans"), ("other-branch", "label")}
    for title, statistic in STATISTIC_BY_PLOT.items():
        (plot,) = output["data"][title]
        check_spec(plot["content"], statistic)
        values = plot["content"]["data"]["values"]
        assert {(point["rev"], point["method"]) for point in values if point["arm"] == "chosen"} == expected
        assert all(point[statistic] for point in values)


def test_plots_show_holds_the_points_of_the_workspace(repository: Path) -> None:
    output = json.loads(run(repository, "dvc", "plots", "show", "--json"))
    for title, statistic in STATISTIC_BY_PLOT.items():
        (plot,) = output["data"][title]
        check_spec(plot["content"], statistic)
        methods = [point["method"] for point in plot["content"]["data"]["values"]]
        assert methods == ["attributes", "label"]
    run(repository, "dvc", "plots", "show", "-o", "plots")
    assert (repository / "plots" / "index.html").read_text().count("linear top-1 in %") == 2


def check_spec(spec: dict[str, Any], statistic: str) -> None:
    """Vega-Lite with all anchors filled: points by revision, axes with their units."""
    assert "DVC_METRIC" not in json.dumps(spec)
    assert f"toNumber(datum['{statistic}'])" in json.dumps(spec)
    x, y = spec["encoding"]["x"], spec["encoding"]["y"]
    symbol = {"mutual_information_bits": "I(Z;T)", "conditional_entropy_bits": "H(Z|T)"}[statistic]
    assert (x["title"], y["title"]) == (f"{symbol} in bits", "linear top-1 in %")
    assert spec["encoding"]["color"]["field"] == "rev"
    assert spec["mark"]["type"] == "point"


def test_a_failed_experiment_is_left_out_with_its_reason(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "repository"
    shutil.copytree(repository, folder, symlinks=True)
    run(folder, "dvc", "exp", "run", "-q", "--queue", "-n", "by-guesses", "-S", "cluster.method=guesses")
    # The worker would hold on to a pipe.
    start = [sys.executable, "-m", "dvc", "queue", "start"]
    nowhere = subprocess.DEVNULL
    subprocess.run(
        start, cwd=folder, env=environment(), stdout=nowhere, stderr=nowhere, check=True, timeout=120
    )
    deadline = time.monotonic() + 100
    while "Failed" not in run(folder, "dvc", "queue", "status"):
        assert time.monotonic() < deadline, run(folder, "dvc", "queue", "status")
        time.sleep(1)
    printed = compared(monkeypatch, folder).stdout
    assert table_of(printed) == [["main", "50.0"], ["by-features", "30.0"]]
    assert "1 experiment failed" in printed
    for names in ([], ["by-guesses"]):
        printed = " ".join(compared(monkeypatch, folder, *names).stdout.split())
        assert "by-guesses: cluster.method=guesses must be one of" in printed


def test_an_unknown_name_is_reported(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = compared(monkeypatch, repository, "nothing-of-that-name")
    assert ended.exit_code == 2
    assert ended.stderr.startswith("error: there is no experiment, branch or commit nothing-of-that-name")


@pytest.mark.parametrize("option", ["--html", "--markdown", "--csv"])
@pytest.mark.parametrize("place", ["", ".", "/", "/dev/null"])
def test_places_for_no_file_are_named_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str, place: str
) -> None:
    done = compared(monkeypatch, tmp_path, option, place)
    assert done.exit_code == 2
    assert done.stderr.startswith(f"error: {option} {place or '.'} is a ")
    assert not list(tmp_path.iterdir())


def test_outside_of_a_repository_it_says_where_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = compared(monkeypatch, tmp_path)
    assert ended.exit_code == 2
    assert "run in the project's folder" in ended.stderr
    assert list(tmp_path.iterdir()) == []
