"""Where DVC removes what lies there, nobody's own files are expected, read from, or written."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipeline.config.params import check_params
from pipeline.inference.contact_sheet import check_sheet
from pipeline.runtime.errors import UserError
from pipeline.storage.outputs import (
    IMAGE_FILES,
    check_is_no_output,
    conflict_with_outputs,
    foreign_files,
    is_foreign,
    output_folders,
    replaced_output,
)
from pipeline.storage.schema import Layout
from stage_runs import Workshop
from support import REPOSITORY


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "project"
    (root / "data/images").mkdir(parents=True)
    monkeypatch.chdir(root)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return root


def test_the_folders_are_the_outputs_of_dvc_yaml() -> None:
    stages = YAML(typ="safe").load(REPOSITORY / "dvc.yaml")["stages"]
    folders = set()
    for stage in stages.values():
        for arm in stage.get("foreach", [None]):
            outs = stage.get("do", stage)["outs"]
            folders |= {Path(out.replace("${item}", str(arm))) for out in outs if not Path(out).suffix}
    assert set(output_folders(Layout())) == folders


@pytest.mark.parametrize(
    "key",
    ["ingest.path", "ingest.imagenet.edges", "ingest.clinfonce_tables.images", "cluster.hierarchy.edges"],
)
def test_a_parameter_that_names_a_place_in_an_output_is_refused(project: Path, key: str) -> None:
    *sections, name = key.split(".")
    values: dict[str, object] = {name: "data/images/manifest.csv"}
    for section in reversed(sections):
        values = {section: values}
    sentence = f"{key} lies in data/images, which DVC empties before a stage runs: keep your own files in"
    with pytest.raises(UserError, match=re.escape(sentence)):
        check_params(values)


def test_a_place_is_found_by_whatever_way_it_is_named(project: Path) -> None:
    (project / "link").symlink_to("data/images")
    for inside in ("data/images", "data/encoders/chosen/x", "link/a.csv", str(project / "data/images/a.csv")):
        assert "lies in" in str(conflict_with_outputs(Path(inside))), inside
    for around in (".", "data", str(project.parent)):
        assert "holds data/images" in str(conflict_with_outputs(Path(around))), around
    (project / "manifest.csv").touch()
    for fine in ("manifest.csv", "catalogue", "../photos", "data/encoders/of_march", "data/photos"):
        assert conflict_with_outputs(Path(fine)) is None, fine


def test_in_a_copy_that_dvc_made_the_user_s_own_folders_count(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = project.parent / "copy"
    (copy / ".dvc").mkdir(parents=True)
    monkeypatch.chdir(copy)
    path = project / "data/images/manifest.csv"
    assert conflict_with_outputs(path) is None
    monkeypatch.setenv("DVC_ROOT", str(project))
    assert "lies in data/images" in str(conflict_with_outputs(path))


def test_files_that_no_stage_wrote_stay(project: Path) -> None:
    folder = project / "data/images"
    (folder / "rejects.parquet").touch()
    with replaced_output(folder, IMAGE_FILES) as fresh:
        (fresh / "summary.json").touch()
    assert os.listdir(folder) == ["summary.json"]
    (folder / "mine.jpg").touch()
    theirs = r"images holds mine\.jpg, which no stage wrote"
    with pytest.raises(UserError, match=theirs), replaced_output(folder, IMAGE_FILES):
        pytest.fail("a stage would run for nothing")
    assert sorted(os.listdir(folder)) == ["mine.jpg", "summary.json"]
    assert is_foreign(Path("data/images/mine.jpg"))
    assert not is_foreign(Path("data/images/summary.json"))
    assert not is_foreign(Path("data/mine.jpg"))


def put_a_file(folder: Path) -> None:
    (folder / "photo.jpg").write_text("mine")


def put_a_folder(folder: Path) -> None:
    (folder / "summary.json").unlink()
    (folder / "summary.json").mkdir()
    (folder / "summary.json/photo.jpg").write_text("mine")


def put_a_temporary_file(folder: Path) -> None:
    (folder / ".old.tmp").write_text("mine")
    (folder / ".photo.jpg.123.tmp").write_text("mine")


def put_a_link(folder: Path) -> None:
    (folder / "photos").symlink_to(folder.parent)


@pytest.mark.parametrize("put", [put_a_file, put_a_folder, put_a_temporary_file, put_a_link])
def test_files_that_come_while_a_stage_runs_stay(project: Path, put: Callable[[Path], None]) -> None:
    folder = project / "data/images"
    (folder / "summary.json").write_text("earlier")
    (folder / "rejects.parquet").touch()
    stage = replaced_output(folder, IMAGE_FILES)
    (stage.__enter__() / "summary.json").touch()
    put(folder)
    before = sorted(folder.rglob("*"))
    with pytest.raises(UserError, match=r"which no stage wrote"):
        stage.__exit__(None, None, None)
    assert sorted(folder.rglob("*")) == before
    assert os.listdir(folder.parent) == ["images"]


@pytest.mark.parametrize("moment", ["unlink", "rmdir"])
def test_files_that_come_during_the_removal_stay(
    project: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    folder = project / "data/images"
    (folder / "summary.json").touch()
    removing = getattr(Path, moment)

    def put_before(path: Path, *arguments: bool) -> None:
        put_a_file(folder)
        removing(path, *arguments)

    monkeypatch.setattr(Path, moment, put_before)
    with pytest.raises(UserError, match=r"holds photo\.jpg"), replaced_output(folder, IMAGE_FILES):
        pass
    assert (folder / "photo.jpg").read_text() == "mine"


def test_what_a_killed_process_left_in_an_output_goes(project: Path) -> None:
    folder = project / "data/images"
    for left in (".summary.json.123.tmp", ".aB3_-5678901234567890x.tmp", "train-00000-of-00001.parquet"):
        (folder / left).touch()
    with replaced_output(folder, IMAGE_FILES) as fresh:
        (fresh / "summary.json").touch()
    assert os.listdir(folder) == ["summary.json"]


def test_the_target_of_a_link_in_place_of_an_output_stays(project: Path) -> None:
    elsewhere = project / "elsewhere"
    (project / "data/images").rename(elsewhere)
    (elsewhere / "summary.json").touch()
    (project / "data/images").symlink_to(elsewhere)
    with pytest.raises(NotADirectoryError), replaced_output(project / "data/images", IMAGE_FILES):
        pass
    assert (elsewhere / "summary.json").exists()


def test_what_stages_write_is_known(workshop: Workshop) -> None:
    """Else the second run of a stage would refuse to replace what the first one left."""
    layout = Layout(workshop.root / "data")
    folders = output_folders(layout)
    assert sum(folder.is_dir() for folder in folders) > 2
    for folder, own in folders.items():
        assert foreign_files(folder, own) == []


def test_commands_write_nothing_where_it_would_be_removed(project: Path) -> None:
    with pytest.raises(UserError, match=r"--picture data/images/near\.html lies in data/images"):
        check_sheet(Path("data/images/near.html"), 3)
    with pytest.raises(UserError, match="--output data/encoders/chosen lies in data/encoders/chosen"):
        check_is_no_output(Path("data/encoders/chosen"), "--output")
    check_is_no_output(Path(), "--output")  # beside the outputs is not in them
