"""Generates docs/parameters.md from params.yaml, its comments and the models that check it."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from pipeline.config.params import Params

REPOSITORY = Path(__file__).resolve().parents[1]
FILE = REPOSITORY / "params.yaml"

HEAD = """\
# Parameters

Every choice that changes a result stands in [params.yaml](../params.yaml), with the value that holds until
you change it. Edit the file, or change values for one experiment:

```bash
uv run dvc exp run -S cluster.method=hashtags -S cluster.hashtags.top=12
```

A parameter's whole name is its heading, a dot, and its name: `cluster.hashtags.top`. DVC runs only the
stages that depend on what you changed. A wrong name or value is reported in a sentence before anything runs.
What depends on the machine is no parameter: see [devices](devices.md).

Every number has bounds. Values within them may still be too much for the images or the machine; the stage
that reads them then ends with the figure before it begins its work: for trainings of more than 100 million
steps, for weights or, on a CPU, steps that the free memory does not hold, and for an `ingest.image_size`
above 64 that would enlarge half of the images more than eight times.

This page is generated from that file and the models that check it, by `uv run python -m tools.regenerate`; a
test fails when it is stale.
"""

Schema = dict[str, Any]


def comments_of(text: str) -> dict[str, str]:
    """Returns the comments by dotted key: beside it, continued below it, or on full lines above it."""
    found: dict[str, list[str]] = {}
    path: list[str] = []
    above: list[str] = []
    key, column = "", -1
    for line in text.splitlines():
        parameter = re.fullmatch(r"(?P<indent> *)(?P<name>\w+):(?: +[^# ].*?)?(?: +# (?P<comment>.*))?", line)
        full_line = re.fullmatch(r" *# (?P<comment>.*)", line)
        if parameter:
            path = [*path[: len(parameter["indent"]) // 2], parameter["name"]]
            key = ".".join(path)
            found[key] = above + ([parameter["comment"]] if parameter["comment"] else [])
            above = []
        elif full_line and line.index("#") == column:
            found[key].append(full_line["comment"])
        elif full_line:
            above.append(full_line["comment"])
        else:
            above = []  # after an empty line, comments belong to the file and not to the next key
        column = line.find(" # ") + 1 if parameter else column
    return {key: " ".join(words) for key, words in found.items()}


def page() -> str:
    schema = Params.model_json_schema()
    values = YAML(typ="safe", pure=True).load(FILE)
    return "\n".join([HEAD, *_section("", schema, schema["$defs"], values, comments_of(FILE.read_text()))])


def _section(
    prefix: str, model: Schema, models: dict[str, Schema], values: Any, comments: dict[str, str]
) -> Iterator[str]:
    """Yields the section's own parameters as a table, then the sections within it."""
    inner: list[tuple[str, Schema]] = []
    rows = []
    for name, field in model["properties"].items():
        key = f"{prefix}.{name}".lstrip(".")
        if reference := field.get("$ref"):
            inner.append((name, models[reference.rsplit("/", 1)[1]]))
        else:
            words = max(comments.get(key, ""), field.get("description", ""), key=len)
            rows.append((f"`{name}`", _value(values[name]), allowed_values(field), words))
    if rows:
        yield "| parameter | default | may be | what it means |\n| --- | --- | --- | --- |"
        yield from ("| " + " | ".join(_in_a_cell(cell) for cell in row) + " |" for row in rows)
        yield ""
    for name, section in inner:
        key = f"{prefix}.{name}".lstrip(".")
        yield f"{'#' * (key.count('.') + 2)} {key}\n"
        if words := comments.get(key) or section.get("description", ""):
            yield f"{words[0].upper()}{words[1:].rstrip('.')}.\n"
        yield from _section(key, section, models, values[name], comments)


def _value(value: Any) -> str:
    match value:
        case None:
            return "`null`"
        case bool():
            return f"`{str(value).lower()}`"
        case list():
            return f"`[{', '.join(str(part) for part in value)}]`"
        case str() if " " in value:
            return value
        case _:
            return f"`{value}`"


def allowed_values(field: Schema) -> str:
    """Describes the values that the model accepts: `whole number from 1, or null`."""
    if options := field.get("anyOf"):
        # The option null last, after all that say more.
        return ", or ".join(
            map(allowed_values, sorted(options, key=lambda option: option.get("type") == "null"))
        )
    if "const" in field:
        return f"`{field['const']}`"
    if choices := field.get("enum"):
        return ", ".join(f"`{choice}`" for choice in choices)
    match field["type"]:
        case "array":
            most = f"list of up to {field['maxItems']}" if "maxItems" in field else "list"
            return f"{most}: {allowed_values(field['items'])}"
        case "string":
            return "text"
        case "null":
            return "`null`"
        case "boolean":
            return "`true`, `false`"
        case "integer":
            return f"whole number{_range(field)}".rstrip()
        case "number":
            return f"number{_range(field)}".rstrip()
    raise AssertionError(f"no words for {field}")


def _range(field: Schema) -> str:
    words = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "up to", "exclusiveMaximum": "below"}
    return " " + ", ".join(
        f"{word} {_number(field[bound])}" for bound, word in words.items() if bound in field
    )


def _number(bound: float) -> str:
    """Formats digits without the zeros after a point: `100,000`, `0.5`."""
    return f"{bound:,}".removesuffix(".0")


def _in_a_cell(text: str) -> str:
    return text.replace("|", "\\|")
