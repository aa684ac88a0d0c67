"""Parameters are checked as a whole, and every mistake is told in a sentence with the key and the cure."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from fuzz.parameters import keys, numbers
from pipeline.config.params import Params, check_params, load_params
from pipeline.runtime.errors import UserError
from support import REPOSITORY
from tools.regenerate import SCHEMA, schema


def test_the_repository_s_own_file_is_valid_and_complete() -> None:
    params = load_params(REPOSITORY / "params.yaml")
    # Every parameter stands in the file, so that a reader sees all choices and DVC can override them.
    assert params.model_dump() == params.model_dump(exclude_unset=True)


def test_the_schema_is_frozen() -> None:
    """A changed parameter is a decision: `uv run python -m tools.regenerate` writes the file again."""
    assert schema() == SCHEMA.read_text()


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (
            {"cluster": {"methd": "kmeans"}},
            "there is no parameter cluster.methd: did you mean cluster.method?",
        ),
        ({"cluster": {"method": "kmean"}}, "cluster.method=kmean must be one of 'attributes',"),
        ({"cluster": {"kmeans": {"clusters": "abc"}}}, "cluster.kmeans.clusters='abc' has the wrong type"),
        ({"pretrain": {"epochs": 0}}, "pretrain.epochs=0 is out of range"),
        ({"pretrain": {"epochs": True}}, "pretrain.epochs=True has the wrong type"),
        ({"pretrain": {"temperature": float("nan")}}, "pretrain.temperature=nan"),
        ({"ingest": {"source": "imagnet"}}, "ingest.source=imagnet must be one of 'synthetic',"),
        (
            {"ingest": {"imagenet": {"clases": "x"}}},
            "ingest.imagenet.clases: did you mean ingest.imagenet.cl",
        ),
        ({"cluster": {"method": "column"}}, "cluster.method=column needs cluster.column.name"),
        ({"pretrain": {"optimizer": "adamw", "momentum": 0.5}}, "pretrain.momentum has no effect"),
        ({"report": {"references": ["label", "label"]}}, "report.references names an arm twice"),
        ({"cluster": {"attributes": {"columns": ["a", "a"]}}}, "cluster.attributes.columns names a twice"),
        ({"cluster": {"min_size": 3}}, "cluster.min_size=3 has no effect with cluster.small=keep"),
        ({"cluster": {"small": "instance"}}, "cluster.small=instance has no effect with cluster.min_size=1"),
        ({"pretrain": {"learning_rate": True}}, "pretrain.learning_rate=True has the wrong type"),
        ({"pretrain": {"temperature": "0.1"}}, "pretrain.temperature='0.1' has the wrong type"),
        ({"pretrain": None}, "pretrain=None has the wrong type"),
        (
            {"cluster": {"column": {"name": 2019}}},
            "cluster.column.name=2019 is read as a number, and must be text: quote it as you wrote it, as "
            "-S \"cluster.column.name='2019'\"",
        ),
        (
            {"cluster": {"attributes": {"columns": ["a", 1000.0]}}},
            "cluster.attributes.columns=1000.0 is read as a number, and must be text: quote it as you wrote "
            "it, as -S \"cluster.attributes.columns=['2019']\"",
        ),
        ({"ingest": {"path": date(2019, 1, 2)}}, "is read as a date, and must be text: quote it"),
        ({"cluster": {"column": {"name": True}}}, "cluster.column.name=True is read as yes or no, and must"),
        ({"cluster": {"column": {"name": ["a"]}}}, "cluster.column.name=['a'] has the wrong type"),
        (
            {"cluster": {"attributes": {"columns": "sex"}}},
            "cluster.attributes.columns='sex' is no list: write it as cluster.attributes.columns=[sex]",
        ),
        ({"zzz": 1}, "there is no parameter zzz: here are seed, ingest"),
        ({"evaluate": {"label_fractions": [0.1, 1.0]}}, "evaluate.label_fractions=1.0 is out of range"),
        ({"evaluate": {"label_fractions": [0.1, 0.1]}}, "evaluate.label_fractions names 0.1 twice"),
        ({"pretrain": {"epochs": 2**31}}, "pretrain.epochs=2147483648 is out of range"),
        ({"pretrain": {"learning_rate": 1e300}}, "pretrain.learning_rate=1e+300 is out of range"),
        ({"pretrain": {"byol": {"hidden": 2**63}}}, "pretrain.byol.hidden is out of range"),
        ({"pretrain": {"pcl": {"clusters": []}}}, "pretrain.pcl.clusters is empty: name at least 1"),
        (
            {"pretrain": {"pcl": {"clusters": [2] * 21}}},
            "pretrain.pcl.clusters holds 21 values, more than 20",
        ),
        ({"pretrain": {"stem_stride": True}}, "pretrain.stem_stride must be 1, 2, 4 or auto, not True"),
        ({"pretrain": {"stem_stride": 2.0}}, "pretrain.stem_stride must be 1, 2, 4 or auto, not 2.0"),
        (
            {"cluster": {"hierarchy": {"edges": "ü" * 4000}}},
            "cluster.hierarchy.edges holds 8,000 bytes, and a path at most 4,095: shorten it",
        ),
        (
            {"ingest": {"synthetic": {"images": 10**7}, "image_size": 2048}},
            "of ingest.image_size=2048 pixels are 114 TiB, above 1: lower one of them",
        ),
        ([], "must hold sections"),
    ],
)
def test_mistakes(values: Any, sentence: str) -> None:
    with pytest.raises(UserError) as raised:
        check_params(values)
    assert sentence in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("values", [{"a" * 300 + "b" * 300: 1}, {"cluster": {"a" * 300 + "b" * 300: 1}}])
def test_a_long_name_is_cut_in_its_middle(values: Any) -> None:
    with pytest.raises(UserError, match=r"there is no parameter (cluster\.)?a{97} \.\.\. b{97}: here are "):
        check_params(values)


def test_every_number_has_bounds_and_every_value_within_is_taken() -> None:
    def lowest_and_highest(number: dict[str, Any]) -> tuple[float, float]:
        (low,) = (number[name] for name in ("minimum", "exclusiveMinimum") if name in number)
        (high,) = (number[name] for name in ("maximum", "exclusiveMaximum") if name in number)
        return low, high

    found = [(key, number) for key in keys() for number in numbers(key.schema)]
    assert len(found) > 60
    for key, number in found:
        low, high = lowest_and_highest(number)
        assert low < high < 2**63, key.name
        for beyond in (low - 1, high + 1):
            value = [beyond] if key.schema.get("type") == "array" else beyond
            with pytest.raises(UserError, match=f"{key.name}(=| is out of range)"):
                check_params(key.in_sections(value))


def test_numbers_are_read_as_dvc_reads_them(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_text("pretrain: {learning_rate: 1e-4, weight_decay: 0}\n")
    assert load_params(file).pretrain.learning_rate == 1e-4


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"params.yaml does not exist"):
        load_params(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text("seed: [1\n")
    with pytest.raises(UserError, match="not valid YAML at line"):
        load_params(tmp_path / "params.yaml")


def test_params_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Params().seed = 1  # type: ignore[misc]
