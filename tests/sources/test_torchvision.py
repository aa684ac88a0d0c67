"""torchvision's data sets, from files in the layouts in which they are published.

torchvision knows the checksums of the published files; the tests give it those of their own.
"""

import gzip
import hashlib
import io
import pickle
import struct
from contextlib import suppress
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
from PIL import Image

from pipeline.runtime.errors import UserError
from pipeline.sources.base import SourceRow
from pipeline.sources.torchvision import SUPERCLASS_OF, SUPERCLASSES, TorchvisionSource
from pipeline.untrusted.safe_paths import SafePath
from sources.journey import journey, jpeg, write
from support import NO_FILES, at_once, params_with

FINE = ["apple", "baby", "bear", "mushroom"]


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object, **_options: object) -> None:
        raise URLError("Temporary failure in name resolution")

    monkeypatch.setattr("urllib.request.urlopen", refuse)


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def batch(count: int, seed: int, **labels: list[int]) -> bytes:
    """Rows of 3,072 bytes: red, green, blue planes of 32 x 32."""
    data = np.random.default_rng(seed).integers(0, 256, (count, 3072), np.uint8)
    return pickle.dumps({"data": data, "filenames": [f"{n}.png" for n in range(count)]} | labels)


def cifar100(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from torchvision.datasets import CIFAR100

    files = {
        "train": batch(12, 0, fine_labels=[n % 4 for n in range(12)], coarse_labels=[0] * 12),
        "test": batch(4, 1, fine_labels=[0, 1, 2, 3], coarse_labels=[0] * 4),
        "meta": pickle.dumps({"fine_label_names": FINE, "coarse_label_names": []}),
    }
    monkeypatch.setattr(CIFAR100, "train_list", [["train", md5(files["train"])]])
    monkeypatch.setattr(CIFAR100, "test_list", [["test", md5(files["test"])]])
    monkeypatch.setattr(CIFAR100, "meta", CIFAR100.meta | {"md5": md5(files["meta"])})
    return write(folder, {f"cifar-100-python/{name}": content for name, content in files.items()})


def test_cifar100_with_its_superclasses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = journey(tmp_path, "torchvision", cifar100(tmp_path / "data", monkeypatch))
    assert (len(result.train), len(result.test), result.refused) == (12, 4, {})
    row = result.row("train/000003")
    assert (row["label"], row["hierarchy"]) == ("mushroom", ["fruit_and_vegetables", "mushroom"])
    assert row["attributes"] == {"superclass": "fruit_and_vegetables"}
    planes = np.random.default_rng(0).integers(0, 256, (12, 3072), np.uint8)[3].reshape(3, 32, 32)
    stored = np.asarray(Image.open(io.BytesIO(row["image"]["bytes"])))
    np.testing.assert_array_equal(stored, planes.transpose(1, 2, 0))
    assert result.cluster("column", name="superclass")["clusters"] == 3
    assert result.cluster("hierarchy", level=1)["mutual_information_bits"] == pytest.approx(1.5)


def test_the_table_of_superclasses(shared_data: Path) -> None:
    """100 classes, five in each of 20; and as in another public copy."""
    assert len(SUPERCLASSES) == 20
    assert {len(names.split()) for names in SUPERCLASSES.values()} == {5}
    assert len(SUPERCLASS_OF) == 100
    lines = (shared_data / "cifar100/manifest.csv").read_text().splitlines()
    assert {tuple(line.split(",")[1:5:3]) for line in lines[1:]} == set(SUPERCLASS_OF.items())


def test_cifar10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.datasets import CIFAR10

    names = [f"data_batch_{n}" for n in range(1, 6)]
    files = {name: batch(3, n, labels=[0, 1, 1]) for n, name in enumerate([*names, "test_batch"])}
    files["batches.meta"] = pickle.dumps({"label_names": ["airplane", "automobile"]})
    monkeypatch.setattr(CIFAR10, "train_list", [[name, md5(files[name])] for name in names])
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", md5(files["test_batch"])]])
    monkeypatch.setattr(CIFAR10, "meta", CIFAR10.meta | {"md5": md5(files["batches.meta"])})
    folder = write(tmp_path / "data", {f"cifar-10-batches-py/{name}": file for name, file in files.items()})
    result = journey(tmp_path, "torchvision", folder, torchvision={"dataset": "CIFAR10"})
    assert (len(result.train), len(result.test)) == (15, 3)
    assert result.summary["labels"] == ["airplane", "automobile"]
    assert result.cluster("label")["clusters"] == 2


def idx(array: np.ndarray) -> bytes:
    """Yann LeCun's format: two zeros, type, dimensions, their sizes, big end first, and the bytes."""
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def fashion_mnist(folder: Path, first_label: int = 0) -> Path:
    rng = np.random.default_rng(0)
    files: dict[str, bytes] = {}
    for part, count in (("train", 10), ("t10k", 5)):
        labels = (np.arange(count) % 5).astype(np.uint8)
        labels[0] = first_label
        files[f"{part}-images-idx3-ubyte"] = idx(rng.integers(0, 256, (count, 28, 28), np.uint8))
        files[f"{part}-labels-idx1-ubyte"] = idx(labels)
    packed = {f"{name}.gz": gzip.compress(content) for name, content in files.items()}
    return write(folder, {f"FashionMNIST/raw/{n}": c for n, c in (files | packed).items()})


def test_a_class_that_the_data_set_lacks_costs_its_image(tmp_path: Path) -> None:
    folder = fashion_mnist(tmp_path / "data", first_label=200)
    result = journey(tmp_path, "torchvision", folder, torchvision={"dataset": "FashionMNIST"})
    assert (len(result.train), len(result.test)) == (9, 4)
    assert result.refused["train/000000"] == "its class 200 is none of the data set's"


def test_fashion_mnist(tmp_path: Path) -> None:
    folder = fashion_mnist(tmp_path / "data")
    result = journey(tmp_path, "torchvision", folder, torchvision={"dataset": "FashionMNIST"})
    assert (len(result.train), len(result.test)) == (10, 5)
    assert result.summary["labels"] == ["Coat", "Dress", "Pullover", "T-shirt/top", "Trouser"]
    assert (result.row("train/000002")["label"], result.row("train/000002")["width"]) == ("Pullover", 28)


def test_pickles_of_an_old_torchvision_are_refused(tmp_path: Path) -> None:
    """It would read them, whatever they hold, in place of the published files."""
    folder = fashion_mnist(tmp_path / "data")
    for name in ("training.pt", "test.pt"):
        write(folder, {f"FashionMNIST/processed/{name}": b"anything"})
    with pytest.raises(UserError, match=r"FashionMNIST/processed holds pickled tensors .*remove this folder"):
        journey(tmp_path, "torchvision", folder, torchvision={"dataset": "FashionMNIST"})


def test_fewer_labels_than_images(tmp_path: Path) -> None:
    folder = fashion_mnist(tmp_path / "data")
    labels = folder / "FashionMNIST/raw/train-labels-idx1-ubyte"
    labels.write_bytes(idx(np.arange(8, dtype=np.uint8)))
    result = journey(tmp_path, "torchvision", folder, torchvision={"dataset": "FashionMNIST"})
    assert len(result.train) == 8
    assert set(result.refused.values()) == {"the data set has fewer labels than images"}


def test_no_picture_is_opened_outside_of_the_workers(
    tmp_path: Path, celeba: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[object] = []
    monkeypatch.setattr(Image, "open", opened.append)
    pictures = flowers(tmp_path / "flowers", monkeypatch)
    for folder, name in ((pictures, "Flowers102"), (celeba, "CelebA")):
        params = params_with(
            ingest={"source": "torchvision", "path": str(folder), "torchvision": {"dataset": name}}
        )
        rows = list(TorchvisionSource.open(params.ingest, 0).rows())
        assert all(isinstance(row, SourceRow) and isinstance(row.image, SafePath) for row in rows)
    assert opened == []


def flowers(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from scipy.io import savemat
    from torchvision.datasets import Flowers102

    def mat(**arrays: list[int]) -> bytes:
        buffer = io.BytesIO()
        savemat(buffer, {name: np.array([values], np.uint16) for name, values in arrays.items()})
        return buffer.getvalue()

    labels = mat(labels=[1, 1, 2, 2, 3, 3, 1, 2, 3])
    setid = mat(trnid=[1, 3, 5], valid=[2, 4, 6], tstid=[7, 8, 9])
    known = Flowers102._file_dict  # only the checksums, which the published files alone could match
    monkeypatch.setattr(
        Flowers102,
        "_file_dict",
        known | {"label": ("imagelabels.mat", md5(labels)), "setid": ("setid.mat", md5(setid))},
    )
    pictures: dict[str, str | bytes] = {f"jpg/image_{n:05d}.jpg": jpeg(n) for n in range(1, 10)}
    files = pictures | {"imagelabels.mat": labels, "setid.mat": setid}
    return write(folder, {f"flowers-102/{name}": content for name, content in files.items()})


def test_flowers102_by_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = flowers(tmp_path / "data", monkeypatch)
    (folder / "flowers-102/jpg/image_00005.jpg").write_bytes(b"no image")
    (folder / "flowers-102/jpg/image_00004.jpg").unlink()
    result = journey(tmp_path, "torchvision", folder, torchvision={"dataset": "Flowers102"})
    assert (len(result.train), len(result.test)) == (4, 3)
    assert result.summary["notes"] == ["the official part val is taken as train images"]
    row = result.row("val/000000")
    assert (row["label"], row["image"]["path"]) == ("pink primrose", "flowers-102/jpg/image_00002.jpg")
    folder_of = "flowers-102/jpg"
    assert result.refused == {
        f"{folder_of}/image_00005.jpg": "not an image",
        f"{folder_of}/image_00004.jpg": "the file does not exist",
    }


@pytest.fixture
def celeba(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Attributes and landmarks have a count and a header above; values are 1 and -1."""
    from torchvision.datasets import CelebA

    names = [f"{n:06d}.jpg" for n in range(1, 13)]
    rows = [" ".join(f"{1 if (n >> bit) & 1 else -1:2d}" for bit in range(3)) for n in range(12)]
    files = {
        "list_attr_celeba.txt": "12\nSmiling Male Young \n"
        + "".join(f"{name} {row}\n" for name, row in zip(names, rows, strict=True)),
        "identity_CelebA.txt": "".join(f"{name} {n}\n" for n, name in enumerate(names)),
        "list_bbox_celeba.txt": "12\nimage_id x_1 y_1 width height\n"
        + "".join(f"{name}    95  71 226 313\n" for name in names),
        "list_landmarks_align_celeba.txt": "12\nlefteye_x lefteye_y\n"
        + "".join(f"{name} 69  109\n" for name in names),
        "list_eval_partition.txt": "".join(f"{name} {n // 4}\n" for n, name in enumerate(names)),
    }
    checksums = [("id", "", "img_align_celeba.zip")]
    checksums += [("id", md5(content.encode()), name) for name, content in files.items()]
    monkeypatch.setattr(CelebA, "file_list", checksums)
    pictures: dict[str, str | bytes] = {f"img_align_celeba/{name}": jpeg(n) for n, name in enumerate(names)}
    everything = pictures | files
    return write(tmp_path / "data", {f"celeba/{name}": content for name, content in everything.items()})


def test_celeba_with_its_attributes(tmp_path: Path, celeba: Path) -> None:
    result = journey(tmp_path, "torchvision", celeba, torchvision={"dataset": "CelebA"})
    assert (len(result.train), len(result.test), result.summary["labels"]) == (8, 4, [])
    assert result.summary["attributes"] == ["Smiling", "Male", "Young"]
    assert result.row("valid/000001")["attributes"] == {"Smiling": "yes", "Male": "no", "Young": "yes"}
    assert result.row("valid/000001")["image"]["path"] == "celeba/img_align_celeba/000006.jpg"
    statistics = result.cluster("attributes", top=3)
    assert statistics["notes"] == ["joined Male=yes, Smiling=yes, Young=yes"]
    assert statistics["clusters"] == 8


def test_without_network_the_cure_is_reported(tmp_path: Path) -> None:
    sentence = r"^ingest.torchvision.dataset=CIFAR100 is incomplete in .*data \(ingest.path\): torchvision"
    with pytest.raises(
        UserError, match=sentence + ".*name resolution.*: put its published files there"
    ) as output:
        journey(tmp_path, "torchvision", tmp_path / "data")
    assert "\n" not in str(output.value)
    with pytest.raises(UserError, match=sentence + ".*set ingest.torchvision.download=true or put"):
        journey(tmp_path, "torchvision", tmp_path / "data", torchvision={"download": False})
    with pytest.raises(
        UserError, match=r"^ingest.source=torchvision needs ingest.path: set it to the folder"
    ):
        journey(tmp_path, "torchvision", None)
    assert not (tmp_path / "images").exists()


def test_damaged_files_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = cifar100(tmp_path / "data", monkeypatch)
    (folder / "cifar-100-python/test").write_bytes(b"half")
    with pytest.raises(UserError, match=r"CIFAR100 is incomplete in .*: Dataset not found or corrupted"):
        journey(tmp_path, "torchvision", folder, torchvision={"download": False})


@pytest.mark.parametrize(
    "role", ["cifar-100-python/train", "cifar-100-python/meta", "cifar-100-python.tar.gz"]
)
@pytest.mark.parametrize("kind", ["pipe", "zero", "circle"])
def test_torchvision_is_not_left_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, role: str, kind: str
) -> None:
    folder = cifar100(tmp_path / "data", monkeypatch)
    (folder / role).unlink(missing_ok=True)
    NO_FILES[kind](folder / role)
    with at_once():
        if kind == "circle":  # which is no file for torchvision
            with suppress(UserError):
                journey(tmp_path, "torchvision", folder)
            return
        with pytest.raises(UserError, match=f"{role} can't be read"):
            journey(tmp_path, "torchvision", folder)


def test_what_torchvision_keeps_stays_in_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = cifar100(tmp_path / "data", monkeypatch)
    (folder / "cifar-100-python").rename(tmp_path / "elsewhere")
    (folder / "cifar-100-python").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=r"cifar-100-python can't be read .*ingest.allow_outside_paths=true"):
        journey(tmp_path, "torchvision", folder)
    assert len(journey(tmp_path, "torchvision", folder, allow_outside_paths=True).train) == 12
    # The folder that the user names may be a link.
    (tmp_path / "named").symlink_to(tmp_path / "data")
    (folder / "cifar-100-python").unlink()
    (tmp_path / "elsewhere").rename(folder / "cifar-100-python")
    assert len(journey(tmp_path, "torchvision", tmp_path / "named").train) == 12


def test_a_pipe_among_the_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = flowers(tmp_path / "data", monkeypatch)
    picture = folder / "flowers-102/jpg/image_00005.jpg"
    picture.unlink()
    NO_FILES["pipe"](picture)
    with at_once(), pytest.raises(UserError, match=r"image_00005.jpg can't be read"):
        journey(tmp_path, "torchvision", folder, torchvision={"dataset": "Flowers102"})
