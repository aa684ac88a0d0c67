"""What the texts tell people to type is understood by what they type it to, and what is quick is run."""

import csv
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from typer.testing import CliRunner

from docs.command_checks import NOT_OURS, Reader, WouldFail, parameter_of
from docs.shell_in_markdown import Command, Snippet, Unreadable, commands, snippets
from pipeline.cli import app
from project import Project
from support import REPOSITORY

pytestmark = pytest.mark.slow

TEXTS = [
    REPOSITORY / "README.md",
    REPOSITORY / "CONTRIBUTING.md",
    REPOSITORY / "benchmarks" / "README.md",
    *sorted((REPOSITORY / "docs").rglob("*.md")),
    *sorted((REPOSITORY / "studies").rglob("*.md")),
]
COMMAND = re.compile(r"(clinfonce|dvc|git|mkdocs|pip|pytest|python|srun|tensorboard|torchrun|uv) .")
"""How commands between backticks begin."""

SECTIONS = ("ingest", "cluster", "pretrain", "evaluate", "report")
PARAMETER = re.compile(rf"({'|'.join(SECTIONS)})(\.[a-z]\w*)+(?==|$)")
FILE = re.compile(r"(benchmarks|docs|pipeline|stages|studies|tests)/[\w./*-]*|[\w-]+\.(html|md|json|csv|py)")
MADE = {"docs/studies/"}
"""Folders of the repository that are there when something was run."""

every_text = pytest.mark.parametrize("text", TEXTS, ids=lambda path: str(path.relative_to(REPOSITORY)))


def shown_in(text: Path) -> Iterator[tuple[Snippet, list[Command]]]:
    """The commands of a text, block by block; where parameters stand alone, as a whole command."""
    for snippet in snippets(text.read_text()):
        script = snippet.script
        if snippet.between_backticks:
            if script.startswith("-S "):
                script = f"dvc exp run {script}"
            elif re.match(r"benchmarks\.\w+ -", script):
                script = f"python -m {script}"
            elif not COMMAND.match(script):
                continue
        try:
            yield snippet, commands(script)
        except Unreadable as error:
            raise Unreadable(f"{text.name}, line {snippet.line}: {error}") from error


def all_commands() -> Iterator[Command]:
    for text in TEXTS:
        for _, typed in shown_in(text):
            yield from typed


def checked(tmp_path: Path, script: str) -> None:
    reader = Reader(tmp_path)
    for command in commands(script):
        reader.types(command)


@every_text
def test_commands_are_understood(text: Path, tmp_path: Path) -> None:
    mistakes = []
    for snippet, typed in shown_in(text):
        reader = Reader(tmp_path)
        for command in typed:
            try:
                reader.types(command)
            except WouldFail as error:
                mistakes.append(f"{text.name}, line {snippet.line}: {' '.join(command.words)}: {error}")
    assert not mistakes, "\n".join(mistakes)


@every_text
def test_what_stands_between_backticks_is_there(text: Path) -> None:
    """Parameters by their dotted names, files by their paths, and variables of the environment."""
    sources = "".join(file.read_text() for file in (REPOSITORY / "pipeline").rglob("*.py"))
    missing = []
    for snippet in snippets(text.read_text()):
        name = snippet.script
        if not snippet.between_backticks:
            continue
        if (parameter := PARAMETER.match(name)) and not FILE.fullmatch(name):
            try:
                parameter_of(parameter[0])
            except WouldFail as error:
                missing.append(f"line {snippet.line}: {error}")
        elif (file := FILE.fullmatch(name)) and file[1] and not {name} & MADE and not _is_there(name):
            missing.append(f"line {snippet.line}: the repository has no {name}")
        missing += [
            f"line {snippet.line}: no module reads {variable}"
            for variable in re.findall(r"CLINFONCE_[A-Z_]+", name)
            if variable not in sources
        ]
    assert not missing, "\n".join(missing)


def test_the_texts_show_commands_of_each_kind() -> None:
    """Else the tests above would pass over texts that they can't read."""
    programs = {command.words[0] for command in all_commands() if command.words}
    assert {"uv", "dvc", "python", "pip", "srun"} <= programs
    assert sum(1 for _ in all_commands()) > 60


def test_what_is_let_through_is_shown_somewhere() -> None:
    shown = [" ".join(_without_uv(command.words)) for command in all_commands()]
    assert [known for known in NOT_OURS if not any(words.startswith(known) for words in shown)] == []


@pytest.mark.parametrize("name", ["statistics", "advise"])
def test_documented_commands_on_tables_run(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a table with the columns that the README shows; figures come out for each column that is named."""
    typed = [words for words in map(_of_clinfonce, all_commands()) if words[:1] == [name]]
    typed = [words for words in typed if not {"--help", "--race"}.intersection(words)]
    assert typed
    monkeypatch.chdir(tmp_path)
    for words in typed:
        _write_catalogue(Path(words[1]))
        ended = CliRunner(env={"COLUMNS": "100"}).invoke(app, words)
        assert ended.exit_code == 0, ended.output
        assert {"statistics": "Clusters Z against labels T", "advise": "What to cluster by"}[
            name
        ] in ended.stdout
        for option, column in pairwise(words):
            assert option != "--cluster" or column in ended.stdout


def test_documented_comparisons_run(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    typed = {tuple(words) for words in map(_of_clinfonce, all_commands()) if words[:1] == ["compare"]}
    assert ("compare",) in typed
    monkeypatch.chdir(project.root)
    for branch in ("other-branch", "by-kmeans"):
        project.run("git", "branch", branch)
    for words in typed:
        ended = CliRunner(env={"COLUMNS": "100"}).invoke(app, list(words))
        assert ended.exit_code == 0, ended.output
        assert "main" in ended.stdout
    assert (project.root / "compare.html").exists()
    assert (project.root / "compare.md").exists()


def _is_there(name: str) -> bool:
    return any(REPOSITORY.glob(name)) if "*" in name else (REPOSITORY / name).exists()


def _of_clinfonce(command: Command) -> list[str]:
    words = _without_uv(command.words)
    return words[1:] if words[:1] == ["clinfonce"] else []


def _without_uv(words: list[str]) -> list[str]:
    return words[2:] if words[:2] == ["uv", "run"] else words


def _write_catalogue(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["image", "label", "split", "hashtags", "gender", "usage", "brand"])
        for number in range(120):
            label, usage = ["Tshirts", "Shoes", "Watches"][number % 3], ["Sports", "Casual"][number // 3 % 2]
            gender, brand = ["Men", "Women"][number // 7 % 2], f"brand {number % 5}"
            table.writerow([f"images/{number}.jpg", label, "train", f"{usage};x", gender, usage, brand])


# The checks themselves must be able to fail.


@pytest.mark.parametrize(
    ("script", "messages"),
    [
        ("frobnicate --now", "no check knows frobnicate"),
        ("uv run frobnicate", "no check knows frobnicate"),
        ("uv install x", "uv install is not known"),
        ("uv run --group nope python -m benchmarks.loss", "no group nope"),
        ("uv sync --extra nope", "no extra nope"),
        ("dvc reproduce", "dvc does not understand"),
        ("dvc repro --frce", "dvc does not understand"),
        ("dvc repro pretrian", "no stage pretrian"),
        ("dvc repro pretrain@label", "no stage pretrain@label"),
        ("dvc exp run -S cluster.methd=kmeans", "cluster.methd"),
        ("dvc exp run -S cluster.method=kmean", "cluster.method=kmean must be one of"),
        ("dvc exp run -S cluster.method=column", "needs cluster.column.name"),
        ("dvc exp run -S cluster.method=kmeans,hashtags", "add --queue"),
        ("dvc exp run --queue -S 'cluster.method=kmeans,hashtgs'", "hashtgs must be one of"),
        ("for n in 1 x; do dvc exp run -S seed=$n; done", "seed='x' has the wrong type"),
        ("clinfonce statistic t.csv --label a", "statistic"),
        ("clinfonce statistics t.csv", "--label"),
        ("clinfonce statistics t.csv --label a --lable b", "--lable"),
        ("clinfonce statistics t.csv --label a --batch-size 1", "--batch-size"),
        ("clinfonce study run studies/none.yaml", "no studies/none.yaml"),
        ("clinfonce study run studies/auxiliary.yaml", "pass --data"),
        ("python stages/ingst.py", "no stages/ingst.py"),
        ("python stages/pretrain.py", "Missing argument"),
        ("python stages/pretrain.py chozen", "'chozen' is not one of"),
        ("torchrun --nproc-per-node 2 stages/pretrain.py nobody", "'nobody' is not one of"),
        ("torchrun --nproc-pr-node 2 stages/pretrain.py chosen", "torchrun does not understand"),
        ("srun --exclusive python stages/pretrain.py", "Missing argument"),
        ("python -m benchmarks.nope", "no benchmarks.nope"),
        ("python -m benchmarks.loss --viws 4", "has no --viws"),
        ("python -m benchmarks.loss --views many", "whole number for --views"),
        ("python tests/test_nothing.py", "no tests/test_nothing.py"),
        ("python -c 'import ='", "python can't read it"),
        ("python - <<'PY'\nimport =\nPY", "python can't read it"),
        ("python -m tools.regenrate", "no tools/regenrate.py"),
        ("pytest tests/test_nothing.py", "no tests/test_nothing.py"),
        ("pytest -m 'not slwo'", "no marker slwo"),
        ("mkdocs biuld", "biuld"),
    ],
)
def test_mistakes_are_seen(script: str, messages: str, tmp_path: Path) -> None:
    with pytest.raises(WouldFail) as raised:
        checked(tmp_path, script)
    assert messages in str(raised.value)


@pytest.mark.parametrize(
    "script",
    [
        "uv run dvc repro && uv run pytest  # both",
        "dvc repro --force --single-item ingest",
        "dvc commit pretrain@chosen pretrain-reference@label",
        "CLINFONCE_DEVICE=cpu dvc exp run --queue -S 'cluster.method=kmeans,hashtags' -S seed=3",
        "clinfonce --help > help.txt 2>&1",
        "clinfonce study report studies/unsupervised.yaml --data studies/data/cifar100.yaml",
        "python -m benchmarks.loop --papers-stem --batch 64",
        "python -m mkdocs build --strict",
        "python -m tools.regenerate",
        "pytest -m 'not slow' tests/clustering",
    ],
)
def test_what_is_right_passes(script: str, tmp_path: Path) -> None:
    checked(tmp_path, script)


def test_a_reader_s_changes_last_to_the_end_of_the_block(tmp_path: Path) -> None:
    checked(tmp_path, "dvc exp run -S cluster.column.name=a\ndvc exp run -S cluster.method=column")
    queued = "dvc exp run --queue -S cluster.column.name=a\ndvc exp run -S cluster.method=column"
    with pytest.raises(WouldFail, match=r"needs cluster\.column\.name"):
        checked(tmp_path, queued)


def test_blocks_are_taken_apart() -> None:
    script = """\
for seed in 1 2; do
  A=b dvc exp run -S seed=$seed \\
      -S 'x=[a,b]' > log 2>&1
done
python - <<'PY'
print("; && |")
PY
one; two | three && four  # five
"""
    typed = commands(script)
    assert [command.words for command in typed] == [
        ["dvc", "exp", "run", "-S", "seed=1", "-S", "x=[a,b]"],
        ["dvc", "exp", "run", "-S", "seed=2", "-S", "x=[a,b]"],
        ["python", "-"],
        ["one"],
        ["two"],
        ["three"],
        ["four"],
    ]
    assert typed[0].variables == {"A": "b"}
    assert typed[2].here_document == 'print("; && |")'


def test_snippets_are_found() -> None:
    text = """\
Text with `dvc repro` and ``a ` b``.

    indented one
    indented two

- a list

    that goes on, with `in a list`

```console
$ typed \\
>   further
answer
```
```yaml
not: a command
```
| `a\\|b` |
"""
    found = [(s.line, s.script, s.between_backticks) for s in snippets(text)]
    blocks = [(3, "indented one\nindented two", False), (11, "typed \\\n  further", False)]
    spans = [(1, "dvc repro", True), (1, "a ` b", True), (8, "in a list", True), (18, "a|b", True)]
    assert found == blocks + spans


@pytest.mark.parametrize(
    ("text", "messages"),
    [("```\nx\n```\n", "names no language"), ("```bash\nx\n", "not closed")],
)
def test_fences_that_can_not_be_judged(text: str, messages: str) -> None:
    with pytest.raises(Unreadable, match=messages):
        list(snippets(text))


def test_what_bash_can_not_read() -> None:
    with pytest.raises(Unreadable, match="bash can't read it"):
        commands("for x in; do")
