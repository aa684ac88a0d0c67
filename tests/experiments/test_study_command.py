"""`clinfonce study` in a real repository, small enough to run its experiments here."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from listener import Listener
from pipeline.cli import app
from pipeline.untrusted.dvc.environment import SENDS_NOTHING

pytestmark = pytest.mark.slow

BIN = Path(sys.executable).parent

PARAMS = """
seed: 0
cluster: {method: attributes}
pretrain: {epochs: 1, learning_rate: 0.01}
"""

PIPELINE = """
stages:
  report:
    cmd: python report.py
    deps: [report.py]
    params: [seed, cluster, pretrain]
    metrics:
      - data/report/metrics.json: {cache: false}
"""

REPORT = """
import json, pathlib, sys
from ruamel.yaml import YAML
params = YAML(typ="safe").load(pathlib.Path("params.yaml"))
method, seed = params["cluster"]["method"], params["seed"]
if method == "random" and not pathlib.Path(sys.argv[0]).with_name("cure").exists():
    sys.exit("random fails here")
rate = params["pretrain"]["learning_rate"]
figures = {"method": method, "clusters": 4, "selection_top1": 1 - abs(rate - len(method) / 100),
           "mutual_information_bits": 1.5, "conditional_entropy_bits": 0.5,
           "top1": len(method) / 20 + seed / 100, "top5": None, "knn_top1": 0.5}
metrics = {"chosen": figures, "gap_closed": None}
if params["pretrain"]["epochs"] == 3:
    metrics["untrained"] = {"top1": 0.2 + seed / 100, "knn_top1": 0.1}
pathlib.Path("data/report").mkdir(parents=True, exist_ok=True)
pathlib.Path("data/report/metrics.json").write_text(json.dumps(metrics))
"""

RECORD = """
import os
pathlib.Path({path!r}).write_text(json.dumps(dict(os.environ)))
"""

STUDY = """
title: Methods
question: Does the length of its name matter?
seeds: [0, 2]
base: {pretrain.epochs: 3}
experiments:
  label: {cluster.method: label}
  chance: {cluster.method: random}
"""


def run(folder: Path, *command: str) -> str:
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", f"{BIN}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "t")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "t@example.org")
    files = {"params.yaml": PARAMS, "dvc.yaml": PIPELINE, "report.py": REPORT, "studies/methods.yaml": STUDY}
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / ".gitignore").write_text("/.clinfonce\n/docs\n")
    run(tmp_path, "git", "init", "-q")
    run(tmp_path, "dvc", "init", "-q")
    run(tmp_path, "git", "add", "-A")
    run(tmp_path, "git", "commit", "-qm", "start")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def study(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["study", *arguments])


def words_of(result: Result) -> str:
    return " ".join(result.output.split())


@pytest.mark.filterwarnings("default")  # DVC's own
def test_in_a_folder_of_a_larger_repository(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change elsewhere in it does not count."""
    folder = tmp_path / "teams/one"
    folder.mkdir(parents=True)
    for name in ("params.yaml", "dvc.yaml", "report.py", "studies", ".gitignore"):
        (repository / name).rename(folder / name)
    (folder / "studies/methods.yaml").write_text(STUDY.replace("[0, 2]", "[0]").replace("random", "instance"))
    (tmp_path / "notes.txt").write_text("one")
    run(tmp_path, "git", "add", "-A")
    run(tmp_path, "git", "commit", "-qm", "moved")
    (tmp_path / "notes.txt").write_text("two")
    monkeypatch.chdir(folder)
    assert "2/2 methods--chance--0: made" in words_of(study("run", "studies/methods.yaml"))
    assert "2 of 2 experiments are there" in words_of(study("report", "studies/methods.yaml"))
    assert (folder / ".clinfonce").exists()


@pytest.mark.filterwarnings("default")  # DVC's own
def test_what_is_missing_is_made_and_failures_are_named_and_tried_again(repository: Path) -> None:
    (repository / "params.yaml").write_text(PARAMS + "# edited\n")
    refused = study("run", "studies/methods.yaml")
    assert refused.exit_code == 2
    assert "params.yaml has changes that are not committed" in words_of(refused)
    run(repository, "git", "checkout", "params.yaml")

    first = study("run", "studies/methods.yaml")
    assert first.exit_code == 2
    assert "0 of 4 experiments are there" in words_of(first)
    assert "2 experiments failed: methods--chance--0" in words_of(first)
    log = (repository / ".clinfonce/studies/methods--chance--2.log").read_text()
    assert "random fails here" in log

    report = study("report", "studies/methods.yaml")
    assert report.exit_code == 0
    assert "2 of 4 experiments are there" in words_of(report)
    # 0.25 and 0.27 of the two seeds.
    assert "| label | 2 | 26.0 ± 1.4 | 50.0 ± 0.0 | 4 | 1.50 | 0.50 |" in report.output
    assert "| *untrained filters* | 2 | 21.0 ± 1.4 | 10.0 ± 0.0 | | | |" in report.output
    assert "untrained filters" in (repository / "docs/studies/methods.svg").read_text()
    assert "chance" not in report.output.split("experiments are there")[0]
    assert (repository / "docs/studies/methods.svg").read_text().count("<svg") == 1
    assert (repository / "docs/studies/methods.md").read_text() == report.output

    (repository / "cure").touch()
    run(repository, "git", "add", "cure")
    run(repository, "git", "commit", "-qm", "cure")
    second = study("run", "studies/methods.yaml")
    assert second.exit_code == 0, second.output
    assert "2 of 4 experiments are there" in words_of(second)
    assert words_of(second).count(": made,") == 2
    third = study("run", "studies/methods.yaml")
    assert "4 of 4 experiments are there" in words_of(third)
    assert "made from commits" in study("report", "studies/methods.yaml").output
    assert run(repository, "git", "status", "--porcelain") == ""

    # Another value makes the experiments others, though their names stay.
    changed = STUDY.replace("epochs: 3", "epochs: 5")
    (repository / "studies/methods.yaml").write_text(changed)
    run(repository, "git", "commit", "-qam", "longer")
    assert "0 of 4 experiments are there" in study("report", "studies/methods.yaml").output
    fourth = study("run", "studies/methods.yaml")
    assert words_of(fourth).count(": made,") == 4
    assert "untrained" not in study("report", "studies/methods.yaml").output
    assert "untrained" not in (repository / "docs/studies/methods.svg").read_text()


SEARCHED = """
title: Rates
question: Which rate?
seeds: [1, 2]
experiments:
  label: {cluster.method: label}
  own: {cluster.method: instance}
search: {pretrain.learning_rate: [0.01, 0.05, 0.08]}
search_base: {pretrain.epochs: 3}
"""


@pytest.mark.filterwarnings("default")
def test_each_experiment_is_searched_on_train_and_keeps_its_best(repository: Path) -> None:
    (repository / "studies/rates.yaml").write_text(SEARCHED)
    run(repository, "git", "add", "-A")
    run(repository, "git", "commit", "-qm", "rates")
    built = study("run", "studies/rates.yaml")
    assert built.exit_code == 0, built.output
    assert "Rates, search: 0 of 6 experiments are there" in words_of(built)
    # The names' lengths decide: 5 and 8 letters.
    assert "label: pretrain.learning_rate=0.05" in words_of(built)
    assert "own: pretrain.learning_rate=0.08" in words_of(built)
    assert "Rates: 0 of 4 experiments are there" in words_of(built)
    report = study("report", "studies/rates.yaml").output
    assert "4 of 4 experiments are there" in report
    assert (
        "Tried for each experiment with seed 1 and `pretrain.epochs=3`, all with all: "
        "`pretrain.learning_rate` 0.01, 0.05, 0.08" in report
    )
    assert "- own: `pretrain.learning_rate=0.08`" in report
    params = run(repository, "git", "show", f"{ref_of(repository, 'rates--own--2')}:params.yaml")
    assert "learning_rate: 0.08" in params
    assert "epochs: 1" in params


def ref_of(repository: Path, name: str) -> str:
    refs = run(repository, "git", "for-each-ref", "--format=%(refname)", "refs/exps").split()
    (ref,) = [ref for ref in refs if ref.endswith(f"/{name}")]
    return ref


def test_outside_of_a_repository_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "methods.yaml").write_text(STUDY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    result = study("report", "methods.yaml")
    assert result.exit_code == 2
    assert "experiments cannot be read" in words_of(result)


@pytest.mark.filterwarnings("default")  # DVC's own
def test_nothing_is_sent_to_where_the_repository_s_configuration_says(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in SENDS_NOTHING:
        monkeypatch.delenv(name, raising=False)
    with Listener() as listener:
        address = f"http://127.0.0.1:{listener.port}"
        (repository / ".dvc/config").write_text(
            f"[studio]\n    token = isat_x\n    url = {address}\n    repo_url = https://example.org/r.git\n"
            f"[exp]\n    auto_push = true\n    git_remote = {address}/r.git\n"
        )
        (repository / "studies/one.yaml").write_text(
            STUDY.replace("[0, 2]", "[0]").replace("  chance: {cluster.method: random}\n", "")
        )
        (repository / "report.py").write_text(REPORT + RECORD.format(path=str(repository / "found")))
        run(repository, "git", "add", "-A")
        run(repository, "git", "commit", "-qm", "one")
        assert study("run", "studies/one.yaml").exit_code == 0
        assert not listener.requested
    # DVC's analytics would ask another machine.
    assert SENDS_NOTHING.items() <= json.loads((repository / "found").read_text()).items()
