"""Whatever file DVC takes for YAML, its aliases do not keep `compare` and `repair` busy for ever."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline.doctor.repair import repair
from pipeline.experiments.compare import compare_experiments
from pipeline.runtime.errors import UserError
from pipeline.untrusted import bounded_yaml as module
from pipeline.untrusted.bounded_yaml import bounded_yaml
from pipeline.untrusted.yaml_text import check_aliases


def chain(first: str, link: str, length: int) -> str:
    """Each value is made of nine times the one before it."""
    links = [link.format(n=n, before=", ".join([f"*a{n - 1}"] * 9)) for n in range(1, length)]
    return "\n".join([first, *links, ""])


LISTS = chain("a0: &a0 [x]", "a{n}: &a{n} [{before}]", 30)
MERGES = chain("a0: &a0 {x: 1}", "a{n}: &a{n} {{<<: [{before}]}}", 9)
KINDS = [LISTS, MERGES]
TOO_LARGE = "is too large where its aliases are written out"


@pytest.mark.parametrize("kind", ["safe", "rt"])
@pytest.mark.parametrize("content", KINDS)
def test_nothing_is_parsed_that_has_no_end(content: str, kind: str) -> None:
    refusal = pytest.raises(UserError, match=f"begins 'a0: &a0 .*{TOO_LARGE}")
    with refusal, bounded_yaml(), pytest.raises(YAMLError):
        YAML(typ=kind).load(content)
    assert YAML(typ="safe").load("a: &x 1\nb: *x") == {"a": 1, "b": 1}


def test_files_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_CHARACTERS", 30_000)
    monkeypatch.setattr(module, "MOST_WITH_ALIASES", 10_000)
    long = "a: 1\n" + "# long\n" * 3000
    with bounded_yaml():
        assert YAML(typ="safe").load(long) == {"a": 1}
    for text in (2 * long, "a: &a 1\nb: *a\n" + long):
        with pytest.raises(UserError, match="is larger than"), bounded_yaml(), pytest.raises(YAMLError):
            YAML(typ="safe").load(text)


@pytest.mark.parametrize("text", ["a: 2020-13-45", f"a: {'9' * 5000}", "a: !!int x", "a: !!timestamp x"])
def test_what_the_parser_raises_is_of_yaml(text: str) -> None:
    with bounded_yaml(), pytest.raises(YAMLError):
        YAML(typ="safe").load(text)


@pytest.mark.parametrize(
    "content", ["a: b", "a: &x 1\nb: *x", "&", "a: [&", "!!python/object&x {", "\udcff&"]
)
def test_what_has_an_end_passes(content: str) -> None:
    check_aliases(content.encode(errors="surrogateescape"), "it")


# --- in a repository ----------------------------------------------------------------------------------------


def git(*arguments: str) -> str:
    command = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", *arguments]
    return subprocess.run(
        command,
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"GIT_CONFIG_GLOBAL": os.devnull},
    ).stdout.strip()


def commit(**files: str) -> None:
    write(**files)
    git("add", "-A")
    git("commit", "-qm", "some files")


def write(**files: str) -> None:
    for name, content in files.items():
        path = Path(name.replace("__", "/").replace("_", "."))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    git("init", "-qb", "main")
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text("[core]\n    analytics = false\n")
    (tmp_path / ".gitignore").write_text("/.dvc/tmp\n/.dvc/cache\n/compare.*\n")
    commit(params_yaml="seed: 0\n", dvc_yaml="stages: {}\n")
    return tmp_path


NAMES = "stages:\n  s:\n    cmd: x\n    metrics: [{}]\n"


def _named() -> None:
    commit(notes_txt=MERGES, dvc_yaml=NAMES.format("notes.txt"))


def _named_by_an_escape() -> None:
    commit(bomb=MERGES, dvc_yaml=NAMES.format('"b\\x6fmb"'))


def _named_by_a_variable() -> None:
    commit(bomb=LISTS, dvc_yaml="vars: [{x: bo}]\n" + NAMES.format('"${x}mb"'))


def _in_its_parameters() -> None:
    commit(params_yaml=MERGES)


def _in_its_lock() -> None:
    commit(dvc_lock=MERGES)


def _in_a_folder_that_git_does_not_know() -> None:
    write(photos__dvc_yaml=MERGES)


def _in_a_file_that_git_does_not_know() -> None:
    write(photos__all_dvc=MERGES)


def _in_an_experiment() -> None:
    head = git("rev-parse", "HEAD")
    git("checkout", "-q", "--detach")
    commit(params_yaml=LISTS)
    git("update-ref", f"refs/exps/{head[:2]}/{head[2:]}/pulled", "HEAD")
    git("checkout", "-q", "main")


@pytest.mark.parametrize(
    "hide",
    [
        _named,
        _named_by_an_escape,
        _named_by_a_variable,
        _in_its_parameters,
        _in_its_lock,
        _in_a_folder_that_git_does_not_know,
        _in_a_file_that_git_does_not_know,
        _in_an_experiment,
    ],
)
def test_compare(repository: Path, hide: Callable[[], None]) -> None:
    hide()
    with pytest.raises(UserError):
        compare_experiments([], Path("compare.html"), Path("compare.md"), None)


def test_compare_by_name(repository: Path) -> None:
    commit(params_yaml=MERGES)
    git("branch", "theirs")
    commit(params_yaml="seed: 1\n")
    with pytest.raises(UserError, match=TOO_LARGE):
        compare_experiments(["theirs"], Path("compare.html"), Path("compare.md"), None)


@pytest.mark.parametrize(
    "lock", [LISTS, MERGES, "schema: 2020-13-45", f"schema: {'9' * 5000}", "a: \0", "[" * 5000]
)
def test_mend(repository: Path, lock: str) -> None:
    write(dvc_yaml="stages:\n  s:\n    cmd: x\n    outs: [data]\n", dvc_lock=lock, data__a="a")
    with pytest.raises(UserError, match="data cannot be mended here"):
        repair(Path("data"), lambda: True)
    assert Path("data/a").read_text() == "a"
