"""Archives of weights that grow when torch reads them, which it therefore does not."""

import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from pipeline.encoders import weights_files
from pipeline.encoders.weights_files import WeightsRefused, read_weights_file


@pytest.fixture(autouse=True)
def _torch_reads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("torch read it"))


def rewritten(
    compressed: Callable[[str], bool] = lambda _: False, renamed: Callable[[str], str] = str
) -> bytes:
    """An archive of torch, in which some records are compressed or have other names."""
    saved, changed = io.BytesIO(), io.BytesIO()
    torch.save({"w": torch.zeros(1000)}, saved)
    with zipfile.ZipFile(saved) as old, zipfile.ZipFile(changed, "w") as new:
        for name in old.namelist():
            how = zipfile.ZIP_DEFLATED if compressed(name) else zipfile.ZIP_STORED
            new.writestr(renamed(name), old.read(name), how)
    return changed.getvalue()


def of_a_later_version(archive: bytes) -> bytes:
    """`zipfile` refuses it, and torch does not look."""
    records = archive.split(b"PK\x01\x02")
    later = [record[:2] + struct.pack("<H", 100) + record[4:] for record in records[1:]]
    return b"PK\x01\x02".join([records[0], *later])


@pytest.mark.parametrize(
    ("archive", "sentence"),
    [
        (lambda: rewritten(lambda name: "/data/" in name), "^is a compressed archive"),
        (lambda: rewritten(lambda name: name.endswith("data.pkl")), "^is a compressed archive"),
        (lambda: rewritten(lambda name: name.endswith("version")), "^is a compressed archive"),
        (lambda: rewritten(lambda name: "/data/" in name, str.upper), "^is a compressed archive"),
        (lambda: of_a_later_version(rewritten(lambda _: True)), "^is a damaged archive.*version 10"),
        (lambda: b"PK\x03\x04" + rewritten(lambda _: True), "^is a damaged archive"),
        (lambda: rewritten()[:-1], "^is a damaged archive"),
        (lambda: rewritten(renamed=lambda name: name.replace("data.pkl", "constants.pkl")), "^is a Torch"),
    ],
)
def test_what_grows_is_refused_before_torch_reads_it(
    tmp_path: Path, archive: Callable[[], bytes], sentence: str
) -> None:
    (tmp_path / "weights.pth").write_bytes(archive())
    with pytest.raises(WeightsRefused, match=sentence):
        read_weights_file(tmp_path / "weights.pth")


def test_a_long_pickle_is_refused_before_torch_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = rewritten(renamed=lambda name: name.replace(".pkl", ".PKL"))
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        (length,) = [record.file_size for record in opened.infolist() if record.filename.endswith(".PKL")]
    (tmp_path / "weights.pth").write_bytes(archive)
    monkeypatch.setattr(weights_files, "MOST_OF_NAMES", length - 1)
    with pytest.raises(WeightsRefused, match=r"^holds more than .* beside the numbers of its tensors: save"):
        read_weights_file(tmp_path / "weights.pth")
    monkeypatch.setattr(weights_files, "MOST_OF_NAMES", length)
    monkeypatch.setattr(torch, "load", lambda *_, **__: {"w": torch.ones(1)})
    assert read_weights_file(tmp_path / "weights.pth").tensors["w"] == torch.ones(1)
