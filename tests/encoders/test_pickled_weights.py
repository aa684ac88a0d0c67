"""Pickled checkpoints: what lies beside the weights is never constructed, and whole networks are refused."""

import argparse
import collections
import datetime
import os
import zipfile
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
import pytest
import timm
import torch
from torch import nn

from encoders.fitted_weights import State, assert_holds, fitted
from pipeline.encoders import weights_files
from pipeline.encoders.weights_files import WeightsRefused, read_weights_file

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("in_zip", [True, False], ids=["zip", "before 1.6"])
@pytest.mark.parametrize(
    "beside",
    [
        argparse.Namespace(model="resnet10t", lr=0.1, output=Path("/runs/1"), deep=argparse.Namespace(a=[1])),
        np.float64(0.9),
        {
            "best_acc1": np.float32(76.5),
            "ids": np.arange(5),
            "name": np.str_("run"),
            "day": np.datetime64("2026-01-01"),
        },
        [Path("a/b"), PurePosixPath("c"), PureWindowsPath("C:\\runs")],
        np.random.RandomState(0).get_state(),
        {Path("a"): np.bool_(True), "cov": np.eye(2)[:, ::-1], "text": np.array(["a", None], object)},
    ],
    ids=["arguments", "accuracy", "numpy", "paths", "generator", "mixed"],
)
def test_what_training_scripts_keep_beside_the_weights_is_left_out(
    state: State, tmp_path: Path, beside: Any, in_zip: bool
) -> None:
    checkpoint = {"args": beside, "state_dict": state, "epoch": 3}
    torch.save(checkpoint, tmp_path / "checkpoint.pth", _use_new_zipfile_serialization=in_zip)
    assert_holds(fitted(tmp_path / "checkpoint.pth")[0], state)


@pytest.mark.parametrize("name", weights_files.BESIDE_WEIGHTS)
def test_nothing_beside_the_weights_is_constructed(tmp_path: Path, name: str) -> None:
    """The class is called, constructed and given a state, as hostile pickles may do with any arguments."""
    module, _, kind = name.rpartition(".")
    called = f"c{module}\n{kind}\n(X\x01\0\0\0aX\x01\0\0\0btR".encode("latin-1")
    built = f"c{module}\n{kind}\n(I9\ntR}}b".encode("latin-1").replace(b"I9\n", b"K\x09")
    path = tmp_path / "weights.pth"
    torch.save({}, path)
    with zipfile.ZipFile(path) as stored:
        content = {each: stored.read(each) for each in stored.namelist()}
    with zipfile.ZipFile(path, "w") as written:
        for each, data in content.items():
            pickled = b"\x80\x02]q\x00(" + called + built + b"e."
            written.writestr(each, pickled if each.endswith("data.pkl") else data)
    found = weights_files._pickled(path)
    assert isinstance(found, list)
    assert [type(one) for one in found] == 2 * [weights_files._Ignored]
    assert not any(vars(one) for one in found)
    with pytest.raises(WeightsRefused, match=r"^holds no weights by name"):
        read_weights_file(path)
    assert "_Ignored" not in str(torch.serialization.get_safe_globals()), "the list is as before"


@pytest.mark.parametrize("kind", [collections.UserDict, datetime.timedelta, nn.Linear, os.system])
def test_other_objects_are_named_with_the_cure(state: State, tmp_path: Path, kind: Any) -> None:
    torch.save({"state_dict": state, "kind": kind}, tmp_path / "checkpoint.pth")
    with pytest.raises(WeightsRefused) as raised:
        read_weights_file(tmp_path / "checkpoint.pth")
    assert str(raised.value).startswith(
        f"holds {kind.__module__}.{kind.__name__}, which is not loaded, since"
    )
    assert "torch.save(loaded[KEY], ...) of a dictionary" in str(raised.value)


def test_the_cure_of_a_pickled_network_works(tmp_path: Path) -> None:
    path, network = tmp_path / "whole.pth", timm.create_model("resnet10t")
    torch.save(network, path)
    with pytest.raises(WeightsRefused, match=r"^holds timm.models.resnet.ResNet.* of a network"):
        read_weights_file(path)
    loaded = torch.load(path, weights_only=False)
    torch.save(loaded.state_dict(), path)
    assert_holds(fitted(path)[0], network.state_dict())
