"""Studies are checked before anything runs, and say exactly which experiments they want."""

from pathlib import Path

import pytest

from pipeline.experiments.study import check_planned, planned, read_study, study_name, tries
from pipeline.runtime.errors import UserError
from support import REPOSITORY

STUDY = """
title: Which
question: Why?
seeds: [3, 1]
base: {ingest.path: images/table.csv, pretrain.epochs: 2}
experiments:
  instance: {cluster.method: instance}
  by_colour: {cluster.method: attributes, cluster.attributes.columns: [colour], pretrain.epochs: 4}
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "which.yaml"
    path.write_text(text)
    return path


def test_every_experiment_is_planned_with_every_seed(tmp_path: Path) -> None:
    plans = list(planned(read_study(written(tmp_path, STUDY)), "which_one", tmp_path))
    assert [one.name for one in plans] == [
        "which-one--instance--3",
        "which-one--by-colour--3",
        "which-one--instance--1",
        "which-one--by-colour--1",
    ]
    assert plans[1].changes == {
        "ingest.path": str(tmp_path / "images/table.csv"),
        "pretrain.epochs": 4,
        "cluster.method": "attributes",
        "cluster.attributes.columns": ["colour"],
        "seed": 3,
    }


def test_every_path_is_absolute_in_the_folder_of_an_experiment(tmp_path: Path) -> None:
    names = ["ingest.imagenet.classes", "ingest.imagenet.edges", "ingest.clinfonce_tables.images"]
    base = f"base: {{{', '.join(f'{name}: here/x' for name in names)}, "
    study = read_study(written(tmp_path, STUDY.replace("base: {", base)))
    for one in planned(study, "which", tmp_path):
        assert [one.changes[name] for name in names] == [str(tmp_path / "here/x")] * 3


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (
            "cluster.method: instance",
            "cluster.metod: instance",
            "instance changes cluster.metod, which is no",
        ),
        (
            "pretrain.epochs: 2",
            "pretrain.epochs.more: 2",
            "changes pretrain.epochs.more, which is no parameter",
        ),
        ("  by_colour:", "  By colour:", "names an experiment 'By colour': use small letters"),
        ("  by_colour:", "  by__colour:", "digits and single underscores"),
        ("seeds: [3, 1]", "seeds: []", "seeds"),
        ("title: Which", "titel: Which", "title"),
        ("title: Which", "title: [", "is not valid YAML"),
    ],
)
def test_what_is_wrong_is_reported(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    assert old in STUDY
    with pytest.raises(UserError, match=sentence):
        read_study(written(tmp_path, STUDY.replace(old, new, 1)))


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (
            "pretrain.epochs: 2",
            'report.references: ["label; touch PWNED #"]',
            "which-one--instance--3: report.references=label; touch PWNED # must be one of",
        ),
        ("images/table.csv", "[a, b]", "ingest.path"),
        ("images/table.csv", "7", "ingest.path=7 is read as a number, and must be text"),
        ("epochs: 4", "epochs: many", "which-one--by-colour--3: pretrain.epochs='many' has the wrong type"),
        ("epochs: 4", "temperature: -1.0", "pretrain.temperature=-1.0 is out of range"),
        ("[colour]", '["${oc.env:HOME}"]', r"cluster.attributes.columns holds \$\{, which DVC would replace"),
        ("seeds: [3, 1]", "seeds: [-3]", "seed=-3 is out of range"),
        ("[colour]", "['a\"b']", "holds a quote, a backslash or a line's end"),
        ("images/table.csv", r"'C:\table.csv'", "holds a quote, a backslash or a line's end"),
        ("pretrain.epochs: 2", "ingest.synthetic: {images: 40}", "holds several parameters"),
    ],
)
def test_no_experiment_starts_with_values_that_stages_refuse(
    tmp_path: Path, old: str, new: str, sentence: str
) -> None:
    (tmp_path / "params.yaml").write_text("seed: 0\n")
    assert old in STUDY
    study = read_study(written(tmp_path, STUDY.replace(old, new, 1)))
    with pytest.raises(UserError, match=sentence):
        check_planned(planned(study, "which_one", tmp_path), tmp_path)


@pytest.mark.parametrize("value", ["x" * 9000, "a/" * 4500, "x" * 300, "circle", "circle/a"])
def test_no_experiment_starts_with_a_path_that_no_file_can_have(tmp_path: Path, value: str) -> None:
    (tmp_path / "params.yaml").write_text("seed: 0\n")
    (tmp_path / "circle").symlink_to("circle")
    study = STUDY.replace("images/table.csv", value).replace("[3, 1]", str(list(range(1000))))
    with pytest.raises(UserError, match=r"^ingest\.path=\S+( \.\.\. \S+)? is no path of a file \("):
        check_planned(planned(read_study(written(tmp_path, study)), "which", tmp_path), tmp_path)


def test_tries_of_a_search_are_checked_too(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("seed: 0\n")
    study = read_study(written(tmp_path, STUDY + "search: {pretrain.learning_rate: [0.1, fast]}\n"))
    with pytest.raises(UserError, match=r"--try-1: pretrain.learning_rate='fast' has the wrong type"):
        check_planned(tries(study, "which", tmp_path), tmp_path)


@pytest.mark.parametrize(
    "stem", ["--temp", "a b", "x;touch y", "é", "-", "$(id)", "a--b", "a__b", "a-_b", "a-"]
)
def test_files_whose_names_are_no_names_of_experiments_are_refused(tmp_path: Path, stem: str) -> None:
    name = f"{stem}.yaml"
    for files in ([tmp_path / name], [tmp_path / "fine.yaml", tmp_path / name]):
        with pytest.raises(UserError, match="rename it, with letters and digits, and single"):
            study_name(*files)


def test_more_experiments_than_anyone_runs_are_refused(tmp_path: Path) -> None:
    keys = ["pretrain.epochs", "pretrain.batch_size", "evaluate.neighbours", "cluster.min_size"]
    many = ", ".join(f"{key}: {list(range(2, 22))}" for key in keys)
    with pytest.raises(UserError, match="asks for 320,004 experiments, more than 10,000"):
        read_study(written(tmp_path, STUDY + f"search: {{{many}}}\n"))


def test_a_missing_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none.yaml does not exist: `ls studies` shows the studies"):
        read_study(tmp_path / "none.yaml")


DATA = """
title: shop
base: {ingest.path: shop.csv, pretrain.epochs: 3}
clusterings:
  colour: {cluster.attributes.columns: [colour]}
"""


def test_other_images_and_their_clusterings_come_from_a_data_file(tmp_path: Path) -> None:
    path, data = written(tmp_path, STUDY + "clusterings: added\n"), tmp_path / "shop.yaml"
    data.write_text(DATA)
    plans = list(planned(read_study(path, data), study_name(path, data), tmp_path))
    assert [one.name for one in plans[:3]] == [
        "which--shop--instance--3",
        "which--shop--by-colour--3",
        "which--shop--colour--3",
    ]
    # The study's own experiments overrule what the data asks for, and that the study's base.
    assert [one.changes["pretrain.epochs"] for one in plans[:3]] == [3, 4, 3]
    assert plans[0].changes["ingest.path"] == str(tmp_path / "shop.csv")
    without = read_study(written(tmp_path, STUDY), data)
    assert list(without.experiments) == ["instance", "by_colour"]


def test_each_experiment_is_crossed_with_each_clustering(tmp_path: Path) -> None:
    path, data = written(tmp_path, STUDY + "clusterings: crossed\n"), tmp_path / "shop.yaml"
    data.write_text(DATA + "  alone: {cluster.method: instance, pretrain.epochs: 1}\n")
    study = read_study(path, data)
    assert list(study.experiments) == [
        "instance_on_colour",
        "by_colour_on_colour",
        "instance_on_alone",
        "by_colour_on_alone",
    ]
    assert study.experiments["instance_on_colour"]["cluster.attributes.columns"] == ["colour"]
    # The experiment's own changes overrule those of the clusters.
    assert study.experiments["by_colour_on_alone"]["cluster.method"] == "attributes"
    assert study.experiments["by_colour_on_alone"]["pretrain.epochs"] == 4


@pytest.mark.parametrize("how", ["added", "crossed"])
def test_no_two_experiments_have_one_name(tmp_path: Path, how: str) -> None:
    path, data = written(tmp_path, STUDY + f"clusterings: {how}\n"), tmp_path / "shop.yaml"
    data.write_text(DATA + "  by_colour: {cluster.method: label}\n")
    if how == "added":
        with pytest.raises(UserError, match="two experiments would be called by_colour: rename a clustering"):
            read_study(path, data)
    else:
        assert len(read_study(path, data).experiments) == 4
        data.write_text(DATA + "  b_on_c: {cluster.method: label}\n  c: {cluster.method: label}\n")
        path = written(
            tmp_path,
            STUDY.replace("instance:", "a:").replace("by_colour:", "a_on_b:") + "clusterings: crossed\n",
        )
        with pytest.raises(UserError, match="two experiments would be called a_on_b_on_c: rename"):
            read_study(path, data)


def test_clusterings_that_make_too_many_experiments_are_refused(tmp_path: Path) -> None:
    path, data = written(tmp_path, STUDY + "clusterings: crossed\n"), tmp_path / "shop.yaml"
    data.write_text(DATA + "".join(f"  c{n}: {{seed: {n}}}\n" for n in range(2600)))
    with pytest.raises(UserError, match=r"which.yaml with .*shop.yaml: .*asks for 10,404 experiments"):
        read_study(path, data)


def test_a_search_may_be_shorter_than_the_trainings(tmp_path: Path) -> None:
    search = "search: {pretrain.learning_rate: [0.1]}\nsearch_base: {pretrain.epochs: 1}\n"
    study = read_study(written(tmp_path, STUDY + search))
    assert [one.changes["pretrain.epochs"] for one in tries(study, "which", tmp_path)] == [1, 1]
    found = {name: {"pretrain.learning_rate": 0.1} for name in study.experiments}
    assert [one.changes["pretrain.epochs"] for one in planned(study, "which", tmp_path, found)] == [
        2,
        4,
        2,
        4,
    ]
    with pytest.raises(UserError, match=r"search_base changes pretrain\.epoch, which is no parameter"):
        read_study(written(tmp_path, STUDY + search.replace("epochs", "epoch")))


def test_a_study_of_clusterings_asks_for_a_data_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="compares the clusterings of a data file, and none is given"):
        read_study(written(tmp_path, STUDY + "clusterings: added\n"))


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("ingest.path", "ingest.paht", "shop.yaml: base changes ingest.paht, which is no parameter"),
        ("  colour: {cluster.", "  colour: {", "shop.yaml: colour changes attributes.columns, which is no"),
        ("title: shop", "", "title: Field required"),
    ],
)
def test_what_is_wrong_in_a_data_file_is_reported(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    data = tmp_path / "shop.yaml"
    data.write_text(DATA.replace(old, new, 1))
    with pytest.raises(UserError, match=sentence):
        read_study(written(tmp_path, STUDY), data)


def test_a_missing_data_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none.yaml does not exist: `ls studies/data` shows those"):
        read_study(written(tmp_path, STUDY), tmp_path / "none.yaml")


OWN_DATA = sorted(REPOSITORY.glob("studies/data/*.yaml"))
OWN = [
    *((path, data) for path in sorted(REPOSITORY.glob("studies/*.yaml")) for data in OWN_DATA),
    *((path, None) for path in sorted(REPOSITORY.glob("docs/recipes/*.yaml"))),
]


@pytest.mark.parametrize(("path", "data"), OWN, ids=[study_name(*own) for own in OWN])
def test_the_repository_s_studies_and_recipes_are_valid(path: Path, data: Path | None) -> None:
    """Each makes parameters that a stage would take."""
    study = read_study(path, data)
    plans = list(planned(study.model_copy(update={"search": {}}), path.stem, REPOSITORY))
    tried = list(tries(study, path.stem, REPOSITORY))
    assert len({one.name for one in plans}) == len(study.seeds) * len(study.experiments)
    check_planned(plans + tried, REPOSITORY)
