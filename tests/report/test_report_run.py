"""The whole report on small folders: every variant, every border, every stranger's string."""

import csv
import json
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from markdown_it import MarkdownIt

from pipeline.report.run import build_report
from pipeline.runtime.errors import UserError
from pipeline.storage.schema import Layout
from report.fake_data import VARIANTS, XSS, FakeData, built, params_of

pytestmark = pytest.mark.slow

VOID = {"meta", "link", "img", "br", "use", "path", "rect", "input"}


class Outline(HTMLParser):
    """What a browser would make of a page, as far as these tests ask."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag, "elements close in the order in which they opened"

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


def page_of(layout: Layout) -> str:
    return (layout.report / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_page_is_whole_and_alone(tmp_path: Path, variant: str) -> None:
    page = page_of(built(VARIANTS[variant], tmp_path))
    outline = Outline(page)
    assert outline.open == []
    assert len(outline.named("h1")) == 1
    assert [a for a in outline.named("svg") if a.get("role") != "img" or not a.get("aria-labelledby")] == []
    assert all(attrs.get("alt") for attrs in outline.named("img"))
    assert all(attrs.get("scope") in {"col", "row"} for attrs in outline.named("th"))
    assert len(outline.named("caption")) == len(outline.named("table"))
    ids = [attrs["id"] for _, attrs in outline.tags if attrs.get("id")]
    assert len(ids) == len(set(ids))
    for target in [str(a.get("href")) for a in outline.named("a")]:
        assert target.removeprefix("#") in ids, "links lead to places on the page"
    for _, attrs in outline.tags:
        assert not [name for name in attrs if name.startswith("on")], "no handler in an attribute"
        for name in ("src", "href", "xlink:href"):
            assert (attrs.get(name) or "#").startswith(("#", "data:")), "nothing is loaded from elsewhere"
    assert [attrs.get("type") for attrs in outline.named("script")] == ["application/json", None]
    assert len(page.encode()) < 5_000_000


def test_strangers_strings_stay_text(tmp_path: Path) -> None:
    layout = built(VARIANTS["strangers' strings"], tmp_path)
    outline = Outline(page_of(layout))
    texts = [text.strip() for text in outline.texts]
    assert not [attrs for attrs in outline.named("img") if attrs.get("src") == "x"]
    for text in (XSS, "</script>", "a|b", "$x$"):
        assert text in texts
    assert any(text.startswith(f"#{XSS}") for text in texts), "the hashtag of a card"


def test_strangers_strings_stay_text_in_markdown(tmp_path: Path) -> None:
    layout = built(VARIANTS["strangers' strings"], tmp_path)
    markdown = (layout.report / "report.md").read_text(encoding="utf-8")
    outline = Outline(MarkdownIt("gfm-like", {"linkify": False}).render(markdown))
    assert outline.named("img") == outline.named("script") == []
    for text in (XSS, "</script>", "a|b", "$x$", "</script>|"):
        assert text in outline.texts


BASELINES = {"chance_top1": 1 / 6, "majority_top1": 0.2, "reachable_top1": 1.0}
OF_ALL_ARMS = ["gap_closed", "gap_closed_low", "gap_closed_high", "baselines"]


def test_metrics_and_points_hold_the_figures_of_the_stages(tmp_path: Path) -> None:
    layout = built(FakeData(), tmp_path)
    metrics = json.loads((layout.report / "metrics.json").read_text())
    assert list(metrics) == ["chosen", "instance", "label", *OF_ALL_ARMS]
    assert metrics["baselines"] == BASELINES
    assert 0 < metrics["gap_closed_low"] < metrics["gap_closed"] < metrics["gap_closed_high"]
    assert metrics["chosen"] == {
        "method": "attributes",
        "clusters": 6,
        "mutual_information_bits": 1.9,
        "conditional_entropy_bits": 0.6,
        "top1": 0.75,
        "top5": 0.95,
        "knn_top1": 0.6,
        "top1_low": pytest.approx(0.714, abs=1e-3),
        "top1_high": pytest.approx(0.783, abs=1e-3),
        "selection_top1": 0.55,
        "train_images": 240,
    }
    assert metrics["gap_closed"] == pytest.approx(0.06 / 0.08)
    with (layout.report / "points.csv").open() as file:
        points = list(csv.DictReader(file))
    for row in points:
        text = metrics[row.pop("arm")]
        # Intervals, what chooses settings, and the budget: no points of a picture.
        del text["top1_low"], text["top1_high"], text["selection_top1"], text["train_images"]
        assert {key: str(value) for key, value in text.items()} == row


def test_fewer_labels_have_a_table_where_they_were_asked_for(tmp_path: Path) -> None:
    layout = built(FakeData(label_fractions=[0.01, 0.1]), tmp_path / "with")
    metrics = json.loads((layout.report / "metrics.json").read_text())
    assert metrics["chosen"]["top1_at"] == {"0.01": 0.5, "0.1": 0.5}
    text = (layout.report / "report.md").read_text(encoding="utf-8")
    assert "| Arm | 5 % of labels | 5 % of labels |" in text
    assert "5 % of labels: 12 of 240 train labels, not 1 %, as each class gives whole images" in text
    assert "50.0 % (40.0–60.0)" in text  # noqa: RUF001 - an en dash
    assert "12 of 240 train labels" in page_of(layout)
    without = built(FakeData(), tmp_path / "without")
    assert "fewer labels" not in page_of(without)


def test_without_labels_figures_are_null(tmp_path: Path) -> None:
    layout = built(FakeData(labelled=False), tmp_path)
    metrics = json.loads((layout.report / "metrics.json").read_text())
    assert metrics["gap_closed"] is None
    missing = ["mutual_information_bits", "conditional_entropy_bits", "top1", "top1_low", "top1_high", "top5"]
    nothing = dict.fromkeys([*missing, "knn_top1", "selection_top1"])
    assert metrics["chosen"] == {"method": "attributes", "clusters": 6, "train_images": 240} | nothing
    page = page_of(layout)
    assert "No image has a label." in page
    assert "I(Z;T)" not in page
    assert "interval" not in page


def test_only_the_arms_that_are_there_are_explained(tmp_path: Path) -> None:
    def explained(data: FakeData) -> list[str]:
        page = page_of(built(data, tmp_path / "-".join(["of", *data.references])))
        return [arm for arm in ("instance", "label") if f"<em>{arm}</em>" in page]

    assert explained(FakeData()) == ["instance", "label"]
    assert explained(FakeData(references=["instance"])) == ["instance"]
    assert explained(FakeData(references=[])) == []


def test_a_missing_reference_leaves_the_gap_open(tmp_path: Path) -> None:
    layout = built(FakeData(references=["instance"]), tmp_path)
    metrics = json.loads((layout.report / "metrics.json").read_text())
    assert list(metrics) == ["chosen", "instance", *OF_ALL_ARMS]
    assert metrics["gap_closed"] is None


def test_a_gap_that_may_be_none_is_divided_by_for_programs_alone(tmp_path: Path) -> None:
    """The verdict says that the references lie too close; a share beside it would say otherwise."""
    layout = built(FakeData(top1={"chosen": 0.60, "instance": 0.70, "label": 0.705}), tmp_path)
    metrics = json.loads((layout.report / "metrics.json").read_text())
    assert metrics["gap_closed"] == pytest.approx(-0.1 / 0.005)
    assert metrics["gap_closed_low"] is metrics["gap_closed_high"] is None
    assert "too close to estimate" in page_of(layout)
    assert "% of the gap" not in page_of(layout)


def test_one_arm_has_no_picture_of_accuracy_against_information(tmp_path: Path) -> None:
    page = page_of(built(FakeData(references=[], landscape=True), tmp_path / "alone"))
    assert "Linear top-1 against" not in page
    assert "The landscape" in page
    assert "Linear top-1 against" in page_of(built(FakeData(), tmp_path / "three"))


def test_columns_that_number_the_images_are_not_in_the_landscape(tmp_path: Path) -> None:
    layout = FakeData(landscape=True).write(tmp_path)
    path = layout.clusters("chosen") / "landscape.csv"
    table = pd.read_csv(path).assign(rows=240, singletons=3)
    number = {
        "method": "column",
        "name": "article-number",
        "nested": False,
        "rows": 240,
        "singletons": 240,
    }
    number |= {"mutual_information_bits": 2.58, "conditional_entropy_bits": 5.3}
    table = pd.concat([table, pd.DataFrame([number])], ignore_index=True)
    table.to_csv(path, index=False)
    build_report(params_of(FakeData()), layout)
    page = page_of(layout)
    assert "column number 1" in page
    assert "article-number" not in page


def test_the_text_holds_the_largest_clusters(tmp_path: Path) -> None:
    text = (built(FakeData(landscape=True), tmp_path).report / "report.md").read_text(encoding="utf-8")
    assert "| Cluster | Images | Most frequent label | More frequent here than elsewhere |" in text
    assert "| **attributes: top 1** |" in text
    assert "All of them: data/clusters/chosen/landscape.csv" in text
    without = built(FakeData(labelled=False), tmp_path / "without")
    assert "Most frequent label" not in (without.report / "report.md").read_text(encoding="utf-8")


def test_parameters_stand_beside_the_encoders_only_where_they_differ(tmp_path: Path) -> None:
    data = FakeData()
    layout = data.write(tmp_path)
    for arm, objective in (("chosen", "moco"), ("instance", "cl_infonce"), ("label", "cl_infonce")):
        path = layout.encoder(arm) / "config.json"
        trained = {"objective": objective, "epochs": 9, "batch_size": 128, "sampler": "shuffle"}
        path.write_text(json.dumps(json.loads(path.read_text()) | {"pretrain": trained}))
    build_report(params_of(data), layout)
    text = (layout.report / "report.md").read_text(encoding="utf-8")
    encoders = text.partition("**Encoders**")[2].partition("**Parameters**")[0]
    assert "| pretrain.objective | moco | cl\\_infonce | cl\\_infonce |" in encoders
    assert "pretrain.epochs" not in encoders


def test_the_legend_names_others_only_where_there_are_some(tmp_path: Path) -> None:
    few = page_of(built(FakeData(), tmp_path / "few"))
    labels = few.partition('data-of="label"')[2].partition("</ul>")[0]
    assert "others" not in labels, "six labels, a colour each"
    many = page_of(built(FakeData(labels=[f"class {n}" for n in range(20)]), tmp_path / "many"))
    assert "others" in many.partition('data-of="label"')[2].partition("</ul>")[0]


def test_remade_clusters_are_judged_by_the_last_ones(tmp_path: Path) -> None:
    layout = built(FakeData(method="kmeans", reclustered=True), tmp_path)
    chosen = json.loads((layout.report / "metrics.json").read_text())["chosen"]
    assert (chosen["clusters"], chosen["mutual_information_bits"], chosen["conditional_entropy_bits"]) == (
        24,
        1.75,
        2.25,
    )
    for name in ("report.html", "report.md"):
        assert "those after epoch 5" in (layout.report / name).read_text(encoding="utf-8")


def test_the_same_inputs_give_the_same_bytes(tmp_path: Path) -> None:
    data = FakeData(landscape=True)
    layout = built(data, tmp_path)
    first = {path.name: path.read_bytes() for path in layout.report.iterdir()}
    build_report(params_of(data), layout)
    assert {path.name: path.read_bytes() for path in layout.report.iterdir()} == first
    assert sorted(first) == ["metrics.json", "points.csv", "report.html", "report.md"]


def test_the_table_the_verdict_and_the_path_come_last(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layout = built(FakeData(), tmp_path)
    printed = capsys.readouterr().out
    assert printed.rstrip().endswith(str(layout.report / "report.html"))
    lines = [line.rstrip() for line in printed.splitlines()]
    assert any(line.startswith("attributes") and "75.0 %" in line and "71.4" in line for line in lines)
    assert "Clusters from attributes reach" in printed


@pytest.mark.parametrize(
    "missing",
    [
        "clusters/label/statistics.json",
        "evaluations/instance/metrics.json",
        "evaluations/chosen/predictions.parquet",
        "encoders/chosen/history.csv",
        "images/summary.json",
    ],
)
def test_a_stage_that_has_not_run_is_named(tmp_path: Path, missing: str) -> None:
    data = FakeData()
    layout = data.write(tmp_path)
    (tmp_path / missing).unlink()
    with pytest.raises(UserError, match=rf"{Path(missing).name} is missing.*dvc repro"):
        build_report(params_of(data), layout)
    assert not layout.report.exists(), "nothing half-written remains"


def test_the_report_needs_no_learning_library() -> None:
    text = "import sys, pipeline.report.run; print(sorted({'torch', 'sklearn', 'scipy'} & set(sys.modules)))"
    printed = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"


def test_what_accuracy_means_stands_below_the_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = {"chance_top1": 0.15, "majority_top1": 0.2, "reachable_top1": 0.9}
    layout = built(FakeData(baselines=given), tmp_path)
    sentence = (
        "Chance level 15.0 % (guessing evenly among the labels), majority share 20.0 % (always naming the "
        "most frequent one), at most 90.0 % can be reached: the other test images have labels that no train "
        "image has."
    )
    for text in (
        (layout.report / "report.md").read_text(encoding="utf-8"),
        " ".join(page_of(layout).replace("\N{NO-BREAK SPACE}", " ").split()),
        " ".join(capsys.readouterr().out.split()),
    ):
        assert sentence in text
        assert "mutual information in bits" in text


def test_without_a_top_5_there_is_no_column_for_it(tmp_path: Path) -> None:
    data = FakeData()
    layout = data.write(tmp_path)
    for arm in ("chosen", "instance", "label"):
        path = layout.evaluation(arm) / "metrics.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"top5": None}))
    build_report(params_of(data), layout)
    assert "Top-5" not in (layout.report / "report.md").read_text(encoding="utf-8")


def test_an_objective_that_reads_no_clusters_is_not_judged_by_them(tmp_path: Path) -> None:
    data = FakeData()
    params = params_of(data)
    byol = params.model_copy(update={"pretrain": params.pretrain.model_copy(update={"objective": "byol"})})
    layout = data.write(tmp_path)
    build_report(byol, layout)
    text = (layout.report / "report.md").read_text(encoding="utf-8")
    assert "Features by byol, which reads no clusters, reach 75.0 % linear top-1" in text
    assert "byol reads no clusters: those of the chosen arm are not used in its training." in text
