"""Tables of training and parameters in the report, as pure functions of the outputs of the stages."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from pipeline.presentation.formatting import NOTHING, count, number, seconds
from pipeline.presentation.tables import Cell, Column, Table
from pipeline.report.arms import Arm
from pipeline.training.schedule import images_per_step


def training_table(arms: Sequence[Arm]) -> Table:
    columns = [
        Column("Arm"),
        Column("Epochs", True),
        Column("Images per step", True, "a batch, or all images if they do not fill one"),
        Column("First loss", True),
        Column("Last loss", True),
        Column("Time", True, "of all epochs"),
        Column("Images/s", True, "median over the epochs"),
    ]
    rows = []
    for arm in arms:
        losses = arm.history["loss"]
        rows.append(
            [
                Cell(arm.method, colour=arm.name),
                Cell(count(len(losses)), len(losses)),
                Cell(count(_images_per_step(arm))),
                Cell(number(losses.iloc[0] if len(losses) else None)),
                Cell(number(losses.iloc[-1] if len(losses) else None)),
                Cell(seconds(float(arm.timing["seconds"].sum()))),
                Cell(count(arm.timing["images_per_second"].median())),
            ]
        )
    return Table("Time and loss", columns, rows)


def _images_per_step(arm: Arm) -> int | None:
    pretrain = arm.config.get("pretrain")
    if pretrain is None:
        return None
    return images_per_step(arm.config["train_images"], pretrain["batch_size"], pretrain["sampler"])


def parameters_table(params: BaseModel) -> Table:
    """Lists every parameter, in bold if it differs from the default."""
    given, default = flattened(params.model_dump()), flattened(type(params)().model_dump())
    rows = [
        [Cell(key), Cell(_shown(value), strong=value != default.get(key)), Cell(_shown(default.get(key)))]
        for key, value in given.items()
    ]
    note = "Bold: differs from the default."
    return Table(
        "Parameters", [Column("Key"), Column("Value"), Column("Default")], rows, note=note, kinds="tall"
    )


def configuration_table(arms: Sequence[Arm], params: BaseModel) -> Table:
    """Lists the record of each training (device, precision, versions, sizes), one column per arm.

    Includes a parameter only if an arm was trained with a value that differs from the one in `params`.
    """
    configs, given = [flattened(arm.config) for arm in arms], flattened(params.model_dump())
    keys = [
        key
        for key in dict.fromkeys(key for config in configs for key in config)
        if key not in given or any(config.get(key) != given[key] for config in configs)
    ]
    rows = [[Cell(key), *(Cell(_shown(config.get(key, NOTHING))) for config in configs)] for key in keys]
    note = "All other parameters are those of the next table."
    columns = [Column("Key"), *(Column(arm.method) for arm in arms)]
    return Table("Encoders", columns, rows, note=note, kinds="tall")


def flattened(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flattens a nested mapping to dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            flat |= flattened(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_shown, value)) or "none"
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
