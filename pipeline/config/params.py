"""params.yaml as one frozen model, validated as a whole at the start of each stage."""

import difflib
import reprlib
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, Field, ValidationError
from pydantic_core import ErrorDetails

from pipeline.config.base import LARGEST_INTEGER, Section
from pipeline.config.cluster import ClusterParams
from pipeline.config.evaluate import EvaluateParams
from pipeline.config.ingest import IngestParams
from pipeline.config.pretrain import PretrainParams
from pipeline.config.report import Reference, ReportParams
from pipeline.runtime.errors import UserError, listed, shown
from pipeline.runtime.sanitize import shortened
from pipeline.untrusted.yaml_text import read_yaml

PARAMS_FILE = Path("params.yaml")

LONGEST_QUOTE = 100
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = LONGEST_QUOTE


class Params(Section):
    """All parameters that change a result, and nothing else."""

    seed: int = Field(default=0, ge=0, le=LARGEST_INTEGER)
    ingest: IngestParams = IngestParams()
    cluster: ClusterParams = ClusterParams()
    pretrain: PretrainParams = PretrainParams()
    evaluate: EvaluateParams = EvaluateParams()
    report: ReportParams = ReportParams()

    @property
    def view_size(self) -> int:
        """Side of the images that the encoder takes, in pixels."""
        return self.pretrain.image_size or self.ingest.image_size

    @property
    def stored_size(self) -> int | None:
        """Pixels of the shorter side of the stored images, if they are not those of the views."""
        return None if self.view_size == self.ingest.image_size else self.ingest.image_size

    @property
    def references(self) -> list[Reference]:
        """The arms beside the chosen one: `report.references`, of which `start` needs weights."""
        given = self.pretrain.weights is not None
        return [reference for reference in self.report.references if reference != "start" or given]


def load_params(path: Path = PARAMS_FILE) -> Params:
    """Reads and validates `path`. Raises `UserError` with one sentence that names the key and the fix."""
    return check_params(read_values(path), str(path))


def read_values(path: Path = PARAMS_FILE) -> Any:
    """The unvalidated contents of `path`. Raises `UserError` if it is missing or no YAML."""
    try:
        return read_yaml(path)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: run from the folder that holds it") from None


def by_dotted_name(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The values of nested sections, by names such as `cluster.method`."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from by_dotted_name(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def check_params(values: Any, name: str = "params.yaml") -> Params:
    if not isinstance(values, dict):
        raise UserError(f"{name} must hold sections such as `ingest:`, and holds {type(values).__name__}")
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        sentences = [_sentence(details) for details in error.errors()]
        more = f" (and {len(sentences) - 1} more)" if len(sentences) > 1 else ""
        raise UserError(f"{name}: {sentences[0]}{more}") from None


def _sentence(error: ErrorDetails) -> str:
    location = [shown(part) for part in error["loc"] if isinstance(part, str)]
    key, given, context = ".".join(location), error["input"], error.get("ctx", {})
    written = _quoted(given)
    match error["type"]:
        case "invalid_key":
            return f"{written} is no parameter{_in_section(error['loc'][:-1])}: names are text, such as seed"
        case "extra_forbidden":
            return f"there is no parameter {key}{_did_you_mean(location)}"
        case "literal_error":
            allowed = context["expected"].replace(" or ", ", ")
            return f"{key}={_bare(written)} must be one of {allowed}"
        case "value_error":
            # Validators of sections name the key; those of single values do not know it.
            return str(context["error"]) if isinstance(given, dict) else f"{key} {context['error']}"
        case "greater_than_equal" | "greater_than" | "less_than_equal" | "less_than":
            return f"{key}={written} is out of range: the {error['msg'][0].lower()}{error['msg'][1:]}"
        case "too_long":
            return f"{key} holds {len(given):,} values, more than {context['max_length']:,}: leave some out"
        case "too_short":
            return f"{key} is empty: name at least {context['min_length']}"
        case "list_type":
            return f"{key}={written} is no list: write it as {key}=[{_bare(written)}]"
        case "string_type" if isinstance(given, bool | int | float | date):
            quoted = "['2019']" if isinstance(error["loc"][-1], int) else "'2019'"
            return (
                f"{key}={written} is read as {_kind(given)}, and must be text: quote it as you wrote it, as "
                f'-S "{key}={quoted}"'
            )
        case _:
            return f"{key}={written} has the wrong type: the {error['msg'][0].lower()}{error['msg'][1:]}"


def _kind(value: object) -> str:
    """What YAML takes a name for that is written as one, such as 2019."""
    return {bool: "yes or no", int: "a number", float: "a number"}.get(type(value), "a date")


def _quoted(value: Any) -> str:
    """A value for a message, shortened if it is large or deep."""
    try:
        return repr(shortened(value, LONGEST_QUOTE)) if isinstance(value, str) else _SHORT.repr(value)
    except ValueError:
        return "a number of thousands of digits"


def _bare(quoted: str) -> str:
    return quoted.strip("'\"")


def _in_section(location: tuple[int | str, ...]) -> str:
    return f" of {'.'.join(map(str, location))}" if location else ""


def _did_you_mean(location: list[str]) -> str:
    model: type[BaseModel] | None = Params
    for part in location[:-1]:
        model = _model_in(model.model_fields[part].annotation) if model is not None else None
    if model is None:
        return ""
    names = list(model.model_fields)
    close = difflib.get_close_matches(location[-1], names, n=1)
    return (
        f": did you mean {'.'.join([*location[:-1], close[0]])}?" if close else f": here are {listed(names)}"
    )


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if get_origin(annotation) is Literal:
        return None
    candidates = (annotation, *get_args(annotation))
    return next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)
