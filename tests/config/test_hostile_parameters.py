"""Whatever a YAML file holds, its readers take it or say one sentence, soon."""

import itertools
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.config.base import LONGEST_TEXT
from pipeline.config.params import Params, check_params, load_params
from pipeline.experiments.study import Study, read_study
from pipeline.runtime.errors import UserError
from pipeline.untrusted.yaml_text import MOST_BYTES, parse_yaml
from support import NO_FILES, at_once

pytestmark = pytest.mark.slow

MOST_SECONDS = 10


def multiplied(form: str) -> str:
    """Nine times nine times ... of one anchor, which few lines make."""
    names = "abcdefghi"
    lines = [f"a: &a {form.format('x: 1')}"] if "{" in form else ["a: &a {x: 1}"]
    for before, name in itertools.pairwise(names):
        nine = ", ".join([f"*{before}"] * 9)
        lines.append(f"{name}: &{name} {{<<: [{nine}]}}" if form == "merge" else f"{name}: &{name} [{nine}]")
    return "\n".join([*lines, "report: {title: *i}"])


FILES: dict[str, str | bytes] = {
    "aliases": multiplied("list"),
    "merge-keys": multiplied("merge"),
    "circle": "report: {title: &a [*a]}",
    "reused-anchor": "a: &a 1\nb: &a 2",
    "circle-of-merges": "report: &a\n  <<: *a",
    "circle-of-all": "&a\nseed: *a",
    "long-text-many-times": "a: &a " + "x" * 100_000 + "\nb: [" + "*a, " * 1000 + "]",
    "deep": "seed: " + "[" * 300 + "]" * 300,
    "deeper": "seed: " + "[" * 100_000,
    "deep-maps": "seed: " + "{a: " * 3000 + "1" + "}" * 3000,
    "deep-dashes": "- " * 3000 + "a",
    "deep-blocks": "".join(" " * depth + "a:\n" for depth in range(1000)),
    "digits": "seed: " + "9" * 5000,
    "hexadecimal": "seed: 0x" + "f" * 5000,
    "octal": "seed: 0o" + "7" * 9000,
    "of-65-bits": f"seed: {2**64}",
    "of-1.1": "%YAML 1.1\n---\nseed: " + "1" * 5000 + ":30",
    "13th-month": "report: {title: 2001-13-01}",
    "date": "report: {title: 2001-01-01}",
    "time": "seed: 2001-01-01T25:61:61Z",
    "zone": "seed: 2001-01-01T01:01:01+99:99",
    "set": "report: {title: !!set {a}}",
    "tuple-as-key": "[1]: 2",
    "map-as-key": "? {a: b}\n: c",
    "number-as-key": "1: 2",
    "number-as-key-inside": "report: {1: 2}",
    "null-as-key": "report: {~: 2}",
    **{f"tag-{tag}": f"seed: !!{tag} 'abc*'" for tag in ("int", "float", "bool", "null", "timestamp")},
    **{f"tagged-{tag}": f"seed: !!{tag} 'a'" for tag in ("binary", "omap", "pairs", "seq", "map", "set")},
    "unknown-alias": "seed: *nothing",
    "two-documents": "seed: 1\n---\nseed: 2",
    "version": "%YAML 3.0\n---\nseed: 1",
    "unknown-tag": "seed: !thing 1",
    "merge-of-a-number": "<<: 3",
    "tab": "seed:\t1\n\tx",
    "surrogate": 'report: {title: "\\ud800"}',
    "surrogate-deep": 'cluster: {hashtags: {stop_words: [a, "\\udfff"]}}',
    "surrogate-as-key": '"\\ud800": 1',
    "nul": 'ingest: {path: "a\\0b"}',
    "nul-byte": b"seed: \0",
    "long-text": "report: {title: " + "x" * (LONGEST_TEXT + 1) + "}",
    "long-key": "x" * 20_000 + ": 1",
    "not-utf8": b"seed: \xff\xfe\xfa",
    "utf-16": "seed: 1".encode("utf-16"),
    "cesu": b"report: {title: '\xed\xa0\x80'}",
    "large": "# " + "x" * MOST_BYTES,
    "infinite": "pretrain: {temperature: .inf}",
    "not-a-number": "pretrain: {temperature: .nan}",
    "1e400": "pretrain: {temperature: 1e400}",
}


def sentence_of(read: Callable[[], Any]) -> str:
    started = time.perf_counter()
    with pytest.raises(UserError) as raised:
        read()
    assert time.perf_counter() - started < MOST_SECONDS
    sentence = str(raised.value)
    assert "\n" not in sentence
    assert len(sentence) < 1000
    return sentence


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("content", FILES.values(), ids=FILES)
def test_params_are_refused_in_a_sentence(tmp_path: Path, content: str | bytes) -> None:
    path = written(tmp_path / "params.yaml", content)
    assert sentence_of(lambda: load_params(path)).startswith(str(path))


@pytest.mark.parametrize("content", FILES.values(), ids=FILES)
def test_studies_are_refused_in_a_sentence(tmp_path: Path, content: str | bytes) -> None:
    path = written(tmp_path / "study.yaml", content)
    assert sentence_of(lambda: read_study(path)).startswith(str(path))


@pytest.mark.parametrize(
    "content", ['"\\ud800"', '"a\\0b"', "[[x, {a: '\\0'}], \"\\udc00\"]", "0x" + "f" * 20]
)
def test_what_a_study_changes_can_be_passed_on(tmp_path: Path, content: str) -> None:
    lines = ["title: a", "question: b", "seeds: [0]", "experiments:", f"  a: {{report.title: {content}}}"]
    path = written(tmp_path / "study.yaml", "\n".join(lines))
    assert "report.title" in sentence_of(lambda: read_study(path))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("surrogate", "report.title holds a lone surrogate"),
        ("surrogate-deep", "cluster.hashtags.stop_words holds a lone surrogate"),
        ("nul", "ingest.path holds a NUL character"),
        ("of-65-bits", "seed is out of range: an integer must fit into 64 bits"),
        ("number-as-key-inside", "1 is no parameter of report"),
        ("tag-bool", "a value is none of its kind"),
        ("date", "holds a date, such as '2001-01-01': write text, in quotes"),
        ("aliases", "is too large where its aliases are written out"),
        ("circle", "has an alias *a inside of what it stands for"),
        ("two-documents", "is not valid YAML at line 2"),
    ],
)
def test_sentences_name_the_place(tmp_path: Path, content: str, sentence: str) -> None:
    path = written(tmp_path / "params.yaml", FILES[content])
    assert sentence in sentence_of(lambda: load_params(path))


def test_aliases_that_stay_small_are_taken(tmp_path: Path) -> None:
    base = "base: &base {cluster.method: kmeans, pretrain.epochs: 3}"
    merged = "".join(f"  e{n}: {{<<: *base, seed: {n}}}\n" for n in range(50))
    study = f"title: a\nquestion: b\nseeds: [0]\n{base}\nexperiments:\n{merged}"
    read = read_study(written(tmp_path / "study.yaml", study))
    assert read.experiments["e7"] == {"cluster.method": "kmeans", "pretrain.epochs": 3, "seed": 7}


@pytest.mark.parametrize("make", NO_FILES.values(), ids=NO_FILES.keys())
def test_what_is_no_file_is_not_waited_for(tmp_path: Path, make: Callable[[Path], object]) -> None:
    make(tmp_path / "params.yaml")
    with at_once():
        sentence = sentence_of(lambda: load_params(tmp_path / "params.yaml"))
    assert "can't be read (" in sentence or "does not exist" in sentence


def test_every_text_is_checked() -> None:
    """No section can leave the check out."""

    def sections(model: Any, name: str = "") -> None:
        for field, info in model.model_fields.items():
            inner = info.annotation
            if hasattr(inner, "model_fields"):
                sections(inner, f"{name}{field}.")
            else:
                values: Any = "\ud800"
                for part in reversed(f"{name}{field}".split(".")):
                    values = {part: values}
                assert "lone surrogate" in sentence_of(partial(check_params, values))

    sections(Params)
    assert Study.model_fields


VALUES = st.recursive(
    st.sampled_from(
        ["1", "a", "*a", "&a b", "~", "1e400", "0x1f", '"\\ud800"', "!!set x", "<<", "'", '"', "- "]
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda parts: f"[{', '.join(parts)}]"),
        st.lists(inner, min_size=2, max_size=2).map(lambda pair: f"{{{pair[0]}: {pair[1]}}}"),
        inner.map(lambda part: f"&a {part}"),
    ),
    max_leaves=8,
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(VALUES, st.sampled_from(["{}", "seed: {}", "report: {{title: {}}}", "a: {}\nb: {}", "? {}\n: {}"]))
def test_any_yaml(tmp_path: Path, value: str, form: str) -> None:
    text = form.format(value, value)
    for read in (lambda: parse_yaml(text, "x"), lambda: load_params(written(tmp_path / "p.yaml", text))):
        try:
            read()
        except UserError as error:
            assert "\n" not in str(error)  # noqa: PT017


@pytest.mark.parametrize("text", ["%YAML 1.1\n---\n1" + ":1" * (MOST_BYTES // 2 - 10), "- " * 45 + "a\n"])
def test_the_slowest_texts_end(text: str) -> None:
    """Base 60, whose cost is quadratic, and lists in lists."""
    content = text if text.startswith("%") else text * (MOST_BYTES // len(text))
    with at_once(60), suppress(UserError):
        parse_yaml(content, "it")
