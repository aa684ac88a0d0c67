"""Studies (`studies/*.yaml`): experiments that belong together, as changes of params.yaml, and seeds."""

import copy
import errno
import json
import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import AfterValidator, Field, ValidationError, model_validator

from pipeline.config.base import Section
from pipeline.config.params import PARAMS_FILE, Params, check_params, read_values
from pipeline.config.pretrain import DOWNLOADED
from pipeline.runtime.errors import UserError, shown
from pipeline.untrusted.yaml_text import read_yaml

PATHS = (
    "ingest.path",
    "ingest.imagenet.classes",
    "ingest.imagenet.edges",
    "ingest.clinfonce_tables.images",
    "cluster.kmeans.vectors",
    "pretrain.weights",
    "evaluate.transfer_from",
)
"""Parameters that name a file. An experiment runs in a separate folder, so their paths must be absolute."""

MOST_EXPERIMENTS = 10_000

Changes = dict[str, Any]
"""New values by their dotted names, such as `cluster.method: kmeans`."""


Read = TypeVar("Read", bound=Section)


def _a_name(name: str) -> str:
    if not re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)*", name):
        raise ValueError(f"names an experiment {name!r}: use small letters, digits and single underscores")
    return name


Experiments = dict[Annotated[str, AfterValidator(_a_name)], Changes]


class StudyData(Section):
    """`studies/data/*.yaml`: the images of a study, and the kinds of clusters that can be made of them."""

    title: str
    base: Changes = Field(description="changes of params.yaml: where the images are, and the usual clusters")
    clusterings: Experiments = Field(default={}, description="what a study with `clusterings` compares")


class Study(Section):
    title: str
    question: str = Field(description="what the papers claim, and what the figures are to tell")
    picture: Literal["bars", "plane"] = Field(
        default="bars", description="a row per experiment, or points over I(Z;T) and H(Z|T)"
    )
    seeds: list[int] = Field(min_length=1)
    base: Changes = Field(default={}, description="changes of params.yaml that all experiments share")
    experiments: Experiments = Field(min_length=1)
    clusterings: Literal["unused", "added", "crossed"] = Field(
        default="unused",
        description="of the data: each is an experiment too, or each experiment is made with each",
    )
    search: dict[str, list[Any]] = Field(
        default={},
        description="values tried for each experiment, all with all, with the first seed; the best on "
        "the part of train on which evaluation chooses is kept for all seeds, so that test plays no part",
    )
    search_base: Changes = Field(
        default={}, description="changes of params.yaml for the search alone, such as fewer epochs"
    )

    @model_validator(mode="after")
    def _can_be_done(self) -> Self:
        tried = math.prod(len(values) for values in self.search.values()) if self.search else 0
        count = len(self.experiments) * (len(self.seeds) + tried)
        if count > MOST_EXPERIMENTS:
            raise ValueError(
                f"asks for {count:,} experiments, more than {MOST_EXPERIMENTS:,}: leave some out"
            )
        return self

    def of(self, data: StudyData) -> "Study":
        """Returns this study on other images than those of params.yaml."""
        changed = {
            "title": f"{self.title}: {data.title}",
            "base": self.base | data.base,
            "experiments": self._experiments_with(data.clusterings),
        }
        return Study.model_validate(self.model_dump() | changed)

    def _experiments_with(self, clusterings: Experiments) -> Experiments:
        match self.clusterings:
            case "unused":
                named = list(self.experiments.items())
            case "added":
                named = [*self.experiments.items(), *clusterings.items()]
            case "crossed":
                named = [
                    (f"{experiment}_on_{name}", clusters | changes)
                    for name, clusters in clusterings.items()
                    for experiment, changes in self.experiments.items()
                ]
        if twice := [name for name, times in Counter(name for name, _ in named).items() if times > 1]:
            raise UserError(f"{self.title}: two experiments would be called {twice[0]}: rename a clustering")
        return dict(named)


@dataclass(frozen=True)
class Planned:
    """One experiment with one seed, or one try of its search."""

    name: str
    """Name of the DVC experiment."""
    experiment: str
    seed: int
    changes: Mapping[str, Any]
    """Everything that differs from params.yaml, with absolute paths."""
    tried: Mapping[str, Any] = field(default_factory=dict)
    """Those of `changes` that the search sets."""


def read_study(path: Path, data: Path | None = None) -> Study:
    """Reads a study.

    Raises `UserError` with a sentence if a file or a value in it is wrong.
    """
    study = _read(path, Study, "`ls studies` shows the studies")
    shared = {"base": study.base, "search": study.search, "search_base": study.search_base}
    _check_parameters(path, shared | study.experiments)
    if data is None:
        if study.clusterings != "unused":
            raise UserError(
                f"{path} compares the clusterings of a data file, and none is given: "
                "pass --data, such as --data studies/data/fashion_products.yaml"
            )
        return study
    images = _read(data, StudyData, "`ls studies/data` shows those that are there")
    _check_parameters(data, {"base": images.base} | images.clusterings)
    try:
        return study.of(images)
    except ValidationError as error:
        raise UserError(f"{path} with {data}: {error.errors()[0]['msg']}") from None


def study_name(path: Path, data: Path | None = None) -> str:
    """Returns the name for a study's experiments and report.

    Raises `UserError` for a file whose name cannot be part of a command line, a Git reference and a path.
    """
    files = [path] if data is None else [path, data]
    for file in files:
        if not re.fullmatch(r"[A-Za-z0-9]+([_-][A-Za-z0-9]+)*", file.stem):
            raise UserError(
                f"{file} gives its experiments their names: rename it, with letters and digits, and single - "
                "or _ between them"
            )
    return "--".join(file.stem for file in files)


def check_planned(plans: Iterable[Planned], root: Path) -> None:
    """Raises `UserError` unless stages accept params.yaml with the changes of each experiment.

    Only checked changes may be passed to DVC's command line.
    """
    values = read_values(root / PARAMS_FILE)
    for one in plans:
        changed = copy.deepcopy(values)
        for key, value in one.changes.items():
            if what := _altered_by_dvc(value):
                raise UserError(f"{one.name}: {key} holds {what}, which DVC would replace: leave it out")
            set_parameter(changed, key, value)
        check_params(changed, one.name)


def _altered_by_dvc(value: Any) -> str | None:
    """Returns what in a value DVC's command line would alter; None if nothing."""
    if isinstance(value, dict):
        return "several parameters"
    if isinstance(value, list):
        return next((what for part in value if (what := _altered_by_dvc(part))), None)
    if not isinstance(value, str):
        return None
    if "${" in value:
        return "${"
    as_it_is = json.dumps(value, ensure_ascii=False) == f'"{value}"'
    return None if as_it_is else "a quote, a backslash or a line's end"


def set_parameter(values: dict[str, Any], key: str, value: Any) -> None:
    """Sets a parameter by its dotted name."""
    *sections, name = key.split(".")
    for section in sections:
        if not isinstance(values.get(section), dict):
            values[section] = {}
        values = values[section]
    values[name] = value


def _read(path: Path, model: type[Read], where_else: str) -> Read:
    try:
        values = read_yaml(path)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: {where_else}") from None
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise UserError(f"{path}: {where}: {first['msg']}") from None


def _check_parameters(path: Path, by_name: Mapping[str, Mapping[str, Any]]) -> None:
    for name, changes in by_name.items():
        for key in changes:
            if not _is_parameter(key):
                raise UserError(f"{path}: {name} changes {key}, which is no parameter")


def planned(
    study: Study, study_name: str, root: Path, found: Mapping[str, Mapping[str, Any]] | None = None
) -> Iterator[Planned]:
    """Yields every experiment with every seed, seed by seed, so that early results cover all experiments.

    `found` holds the choice of each experiment's search; experiments without a choice yet are left out.
    """
    for seed in study.seeds:
        for experiment, changes in study.experiments.items():
            if study.search and experiment not in (found or {}):
                continue
            chosen = dict(found[experiment]) if found and study.search else {}
            whole = study.base | changes | chosen | {"seed": seed}
            name = _ref_name(study_name, experiment, seed)
            yield Planned(name, experiment, seed, _with_absolute_paths(whole, root), chosen)


def tries(study: Study, study_name: str, root: Path) -> Iterator[Planned]:
    """Yields all combinations of the search's values for every experiment, with the first seed."""
    if not study.search:
        return
    seed = study.seeds[0]
    for number, values in enumerate(product(*study.search.values())):
        tried = dict(zip(study.search, values, strict=True))
        for experiment, changes in study.experiments.items():
            whole = study.base | changes | study.search_base | tried | {"seed": seed}
            name = _ref_name(study_name, experiment, f"try-{number}")
            yield Planned(name, experiment, seed, _with_absolute_paths(whole, root), tried)


def _ref_name(*parts: str | int) -> str:
    """Joins the parts with two hyphens, so that names from parts with only single hyphens are unique."""
    return "--".join(str(part).replace("_", "-") for part in parts)


def _with_absolute_paths(changes: Changes, root: Path) -> Changes:
    return {
        key: _absolute(key, value, root) if _is_path(key, value) else value for key, value in changes.items()
    }


def _is_path(key: str, value: Any) -> bool:
    return key in PATHS and isinstance(value, str) and value not in ("", DOWNLOADED)


def _absolute(key: str, value: str, root: Path) -> str:
    """Returns the absolute path. Raises `UserError` for a path that no file can have.

    Symptom: a study with such a path ran for minutes. Cause: DVC starts each experiment, and the synthetic
    source never reads the path. A path that is merely absent passes, because a cached stage does not need it.
    """
    try:
        os.stat(root / value)
    except OSError as error:
        if error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
            raise UserError(
                f"{key}={shown(value)} is no path of a file ({os.strerror(error.errno)}): choose another"
            ) from None
    return str((root / value).resolve())


def _is_parameter(key: str) -> bool:
    model: Any = Params
    for part in key.split("."):
        fields = getattr(model, "model_fields", {})
        if part not in fields:
            return False
        model = fields[part].annotation
    return True
