"""Whether a command that a text shows would be understood, without running it.

Each program has its check, which asks the program's own parser where there is one.
"""

import ast
import contextlib
import importlib
import importlib.util
import io
import re
import shutil
import tomllib
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import typer
from ruamel.yaml import YAML

from docs.shell_in_markdown import Command
from pipeline.config.params import check_params, load_params
from pipeline.runtime.errors import UserError
from support import REPOSITORY

FOLDERS = ("benchmarks", "docs", "pipeline", "stages", "studies", "tests", "tools")
"""Of the repository: what a command names in them must be there. All other files are the reader's."""

WITH_OPTIONS = {"docs/site/draw_reading.py"}
"""Scripts that hold a typer app named `app`; the other scripts take nothing."""

NOT_OURS = {
    "git add": "git's own",
    "git checkout": "git's own",
    "git commit": "git's own",
    "git diff": "git's own",
    "git init": "git's own",
    "git tag": "git's own",
    "lint-imports": "a check of .ci/run",
    "mypy": "a check of .ci/run",
    "pip install uv": "the one thing that is not installed by uv",
    "pre-commit install": "pre-commit's own; tests/test_project_files.py looks at its hooks",
    "ray get-auth-token": "Ray's own; tests/executors/test_ray_cluster.py gives a token by itself",
    "ray start": "Ray's own; tests/executors/test_ray_cluster.py starts a cluster with more of its options",
    "ruff check": "a check of .ci/run",
    "ruff format": "a check of .ci/run",
    "tensorboard --logdir": "an extra's own command, which is not looked into",
}
"""Commands that are let through, by how they begin, and why nothing can be asked of them."""


class WouldFail(ValueError):
    """The command is not understood; the message says by what."""


class Reader:
    """Someone who types the commands of one block, one after the other, in a fresh checkout."""

    def __init__(self, folder: Path) -> None:
        self.params = folder / "params.yaml"
        shutil.copy(REPOSITORY / "params.yaml", self.params)

    def types(self, command: Command) -> None:
        """Raises `WouldFail` if the command would not be understood."""
        for word in command.words[1:]:
            _check_path(word.partition("=")[2] if word.startswith("--") else word)
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            self._check(command.words, command)

    def _check(self, words: list[str], command: Command) -> None:
        if not words or any(f"{' '.join(words)} ".startswith(f"{known} ") for known in NOT_OURS):
            return
        check: Callable[[list[str], Command], None] | None = getattr(self, f"_check_{words[0]}", None)
        if check is None:
            raise WouldFail(f"no check knows {words[0]}: write one, or list it in NOT_OURS with a reason")
        check(words[1:], command)

    def _check_uv(self, words: list[str], command: Command) -> None:
        verb, *rest = words
        groups, extras = _dependency_groups()
        named = {"--group": groups, "--extra": extras}
        if verb not in ("run", "sync"):
            raise WouldFail(f"uv {verb} is not known here")
        while rest and rest[0].startswith("-"):
            option = rest.pop(0)
            if option == "--with":  # a package of the registry, for this command alone
                rest.pop(0)
                continue
            if option not in named:
                raise WouldFail(f"uv's {option} is not known here")
            if (name := rest.pop(0)) not in named[option]:
                raise WouldFail(f"pyproject.toml has no {option[2:]} {name}")
        if verb == "run":
            self._check(rest, command)
        elif rest:
            raise WouldFail(f"uv sync takes no {rest[0]}")

    def _check_srun(self, words: list[str], command: Command) -> None:
        while words and words[0].startswith("-"):
            words = words[1:]
        self._check(words, command)

    def _check_dvc(self, words: list[str], command: Command) -> None:
        from dvc.cli import DvcParserError

        try:
            parsed = _dvc_parser().parse_args(words)
        except (DvcParserError, SystemExit) as error:
            if words[-1:] != ["--help"]:
                raise WouldFail(f"dvc does not understand {' '.join(words)}") from error
            return
        if parsed.cmd in ("repro", "run", "commit", "status"):
            for target in set(parsed.targets) - _stages():
                raise WouldFail(f"dvc.yaml has no stage {target}")
        if overrides := getattr(parsed, "set_param", None):
            self._set(overrides, in_a_queue=parsed.queue)

    def _set(self, overrides: list[str], *, in_a_queue: bool) -> None:
        """As `dvc exp run -S` does: in a queue each for itself, else for what comes after it, too."""
        from dvc.exceptions import DvcException
        from dvc.utils.hydra import apply_overrides, get_hydra_sweeps

        sweeps = get_hydra_sweeps({"params.yaml": overrides})
        if len(sweeps) > 1 and not in_a_queue:
            raise WouldFail(f"dvc makes several experiments of {overrides} in a queue alone: add --queue")
        before = self.params.read_text()
        for sweep in sweeps:
            try:
                apply_overrides(self.params, sweep["params.yaml"])
                load_params(self.params)
            except (DvcException, UserError) as error:
                reason = getattr(error, "__cause__", None) or error
                raise WouldFail(f"{' '.join(overrides)}: {error}: {reason}") from error
            if in_a_queue:
                self.params.write_text(before)

    def _check_clinfonce(self, words: list[str], command: Command) -> None:
        from pipeline.cli import app

        name, values = _parsed(typer.main.get_command(app), words)
        if name == "study run" or name == "study report":
            from pipeline.experiments.study import read_study

            try:
                data = values["data"] and REPOSITORY / values["data"]
                study = read_study(REPOSITORY / values["study"], data)
            except UserError as error:
                raise WouldFail(str(error)) from error
            for experiment, changes in study.experiments.items():
                _check_changes(f"{values['study']}: {experiment}", study.base | changes)

    def _check_torchrun(self, words: list[str], command: Command) -> None:
        from torch.distributed.run import get_args_parser

        try:
            parsed = get_args_parser().parse_args(words)
        except SystemExit as error:
            raise WouldFail(f"torchrun does not understand {' '.join(words)}") from error
        self._check_python([parsed.training_script, *parsed.training_script_args], command)

    def _check_python(self, words: list[str], command: Command) -> None:
        match words:
            case ["-"]:
                _check_code(command.here_document or "")
            case ["-c", code]:
                _check_code(code)
            case ["-m", module, *rest] if module.startswith("benchmarks."):
                _check_benchmark(module, rest)
            case ["-m", module] if module.startswith("tools."):
                _check_path(f"{module.replace('.', '/')}.py")
            case ["-m", module, *rest]:
                self._check([module, *rest], command)
            case [script, *rest]:
                if not (REPOSITORY / script).is_file():
                    raise WouldFail(f"there is no {script}")
                if script.startswith("stages/"):
                    _check_stage(script, rest)
                elif script in WITH_OPTIONS:
                    _parsed(typer.main.get_command(_module_of(REPOSITORY / script).app), rest)
                elif rest:
                    raise WouldFail(f"what {script} takes is not known here")

    def _check_pytest(self, words: list[str], command: Command) -> None:
        if words[:1] == ["-m"]:
            declared = _pyproject()["tool"]["pytest"]["ini_options"]["markers"]
            markers = {marker.partition(":")[0] for marker in declared}
            if unknown := set(re.findall(r"\w+", words[1])) - {"not", "and", "or"} - markers:
                raise WouldFail(f"pyproject.toml has no marker {', '.join(sorted(unknown))}")
            words = words[2:]
        for word in words:
            if word not in ("-q", "-x") and not (REPOSITORY / word).exists():
                raise WouldFail(f"there is no {word} to test")

    def _check_mkdocs(self, words: list[str], command: Command) -> None:
        from mkdocs.__main__ import cli

        _parsed(cli, words)


@cache
def _dvc_parser() -> Any:
    from dvc.cli.parser import get_main_parser

    return get_main_parser()


@cache
def _read(name: str) -> Any:
    return YAML(typ="safe", pure=True).load(REPOSITORY / name)


def parameter_of(name: str) -> Any:
    """The value in params.yaml of a dotted name, which may be a section's. Raises `WouldFail`."""
    value: Any = _read("params.yaml")
    for part in name.split("."):
        if not isinstance(value, dict) or part not in value:
            raise WouldFail(f"there is no parameter {name}")
        value = value[part]
    return value


def _check_path(word: str) -> None:
    named = word.removeprefix("./")
    if named.startswith(tuple(f"{folder}/" for folder in FOLDERS)) and not (REPOSITORY / named).exists():
        raise WouldFail(f"the repository has no {named}")


def _check_code(code: str) -> None:
    try:
        compile(code, "<shown>", "exec")
    except SyntaxError as error:
        raise WouldFail(f"python can't read it: {error}") from error


def _check_changes(who: str, changes: Mapping[str, Any]) -> None:
    values = deepcopy(_read("params.yaml"))
    for name, value in changes.items():
        parameter_of(name)
        *sections, key = name.split(".")
        section = values
        for part in sections:
            section = section[part]
        section[key] = value
    try:
        check_params(values)
    except UserError as error:
        raise WouldFail(f"{who}: {error}") from error


def _module_of(script: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(script.stem, script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _check_stage(script: str, words: list[str]) -> None:
    module = importlib.import_module(script.removesuffix(".py").replace("/", "."))
    _parsed(typer.main.get_command(module.app), words)


def _parsed(command: Any, words: list[str]) -> tuple[str, dict[str, Any]]:
    """The name of the subcommand that click would run, and the values of its parameters."""
    names: list[str] = []
    try:
        context = command.make_context(command.name or "it", list(words))
        while hasattr(command, "resolve_command"):
            left = [*context._protected_args, *context.args]
            name, command, rest = command.resolve_command(context, left)
            names.append(name)
            context = command.make_context(name, rest, parent=context)
    except Exception as error:  # typer brings its own click, so there are two families of errors
        if type(error).__name__ == "Exit":  # after --help
            return " ".join(names), {}
        output = error.format_message() if hasattr(error, "format_message") else repr(error)
        raise WouldFail(f"{' '.join(words)}: {output}") from error
    return " ".join(names), context.params


def _check_benchmark(module: str, words: list[str]) -> None:
    """From the source alone: what it measures against is not installed where the tests run."""
    file = REPOSITORY / f"{module.replace('.', '/')}.py"
    if not file.is_file():
        raise WouldFail(f"there is no {module}")
    options = dict(_options_of(ast.parse(file.read_text())))
    waiting = list(words)
    while waiting:
        option = waiting.pop(0)
        if option not in options:
            raise WouldFail(f"{module} has no {option}, but {', '.join(options)}")
        if options[option]:
            value = waiting.pop(0) if waiting else ""
            if options[option] == "int" and not value.isdigit():
                raise WouldFail(f"{module} takes a whole number for {option}, not {value!r}")


def _options_of(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Of the function that typer runs: each option, and its type; of a flag, nothing."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    run = {call.args[0].id for call in calls if ast.unparse(call.func) == "typer.run"}  # type: ignore[attr-defined]
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name in run]
    for argument in functions[0].args.args:
        annotation = ast.unparse(argument.annotation) if argument.annotation else ""
        dashed = argument.arg.replace("_", "-")
        if annotation == "JsonFlag":
            yield "--json", ""
        elif re.search(r"\bbool\b", annotation):
            yield f"--{dashed}", ""
            yield f"--no-{dashed}", ""
        else:
            yield f"--{dashed}", "int" if re.search(r"\bint\b", annotation) else "text"


@cache
def _pyproject() -> dict[str, Any]:
    return tomllib.loads((REPOSITORY / "pyproject.toml").read_text())


def _dependency_groups() -> tuple[set[str], set[str]]:
    project = _pyproject()
    return set(project["dependency-groups"]), set(project["project"]["optional-dependencies"])


def _stages() -> set[str]:
    """Names of stages, and of the single ones of those that run in several arms."""
    declared = _read("dvc.yaml")["stages"]
    each = {name: stage["foreach"] for name, stage in declared.items() if "foreach" in stage}
    arms = {name: parameter_of(of[2:-1]) if isinstance(of, str) else of for name, of in each.items()}
    return {*declared, *(f"{name}@{arm}" for name, of in arms.items() for arm in of)}
