"""`clinfonce export`: a folder with everything that is needed to use an encoder without this project."""

import hashlib
import os
import re
import shutil
import stat
import tempfile
from pathlib import Path

import torch

from pipeline.encoders.files import identity_of, read_config
from pipeline.evaluation.features import load_encoder
from pipeline.inference.card_metrics import figures_of
from pipeline.inference.onnx_graph import check_onnx_is_installed, write_onnx
from pipeline.inference.open_encoder import arm_folder
from pipeline.runtime.console import SafeConsole
from pipeline.runtime.errors import UserError, listed
from pipeline.storage.files import sha256_of_file
from pipeline.storage.outputs import check_is_no_output
from pipeline.storage.schema import ENCODER_CONFIG, ENCODER_WEIGHTS, MODEL_CARD, Layout
from pipeline.training.model_card import completed_card

ONNX = "encoder.onnx"
WRITTEN = [ENCODER_WEIGHTS, ENCODER_CONFIG, ONNX, MODEL_CARD]
"""In the order in which they are moved: the card describes them, and has their checksums."""
SIGNATURE = re.compile(rb"\n<!-- written by clinfonce export: ((?:[\w.]+=[0-9a-f]{64} )+)-->\n")
"""The last line of the card: SHA-256 of each file that the export wrote, and of the card above this line.
Files that still have them may be replaced."""
LONGEST_CARD = 1 << 20


def export(arm: str, output: Path, *, with_onnx: bool, layout: Layout, console: SafeConsole) -> None:
    """Writes the arm's encoder into `output`, beside any other files; an earlier export is replaced.

    Raises `UserError` for an arm that does not exist, a folder with such files that no export wrote, and a
    graph that computes something else.
    """
    if with_onnx:
        check_onnx_is_installed()
    folder = arm_folder(arm, layout)
    _check_output(output)
    # Raises `UserError` for a damaged encoder.
    load_encoder(folder, torch.device("cpu"))
    output.mkdir(parents=True, exist_ok=True)
    # On the same file system, so that each file is moved there whole, after all of them are written.
    with tempfile.TemporaryDirectory(prefix=".export-", dir=output) as temporary:
        notes = _write(arm, folder, Path(temporary), with_onnx, layout)
        _check_output(output)  # again, since the graph takes a while
        for name in WRITTEN:
            if (Path(temporary) / name).exists():
                os.replace(Path(temporary) / name, output / name)
            else:
                (output / name).unlink(missing_ok=True)  # left by an earlier export
    names = listed([name for name in WRITTEN if (output / name).exists()])
    for text in [*notes, f"Written to {output}: {names}"]:
        console.echo(text)


def _check_output(output: Path) -> None:
    check_is_no_output(output, "--output")
    if output.exists() and not output.is_dir():
        raise UserError(f"--output {output} is a file: name a folder")
    there = [name for name in WRITTEN if os.path.lexists(output / name)]
    signed = _signed_files(output / MODEL_CARD)
    theirs = [name for name in there if name not in signed or signed[name] != _checksum(output / name)]
    if theirs:
        raise UserError(
            f"--output {output} holds {listed(sorted(theirs))}, which no export wrote, or which changed "
            "since: name another folder, or move them away"
        )


def _signed_files(card: Path) -> dict[str, str]:
    """Returns the SHA-256 of each file that an earlier export wrote, from its card."""
    if not _is_regular(card) or card.stat().st_size > LONGEST_CARD:
        return {}
    content = card.read_bytes()
    above, line, _ = content.rpartition(b"\n<!-- ")
    signature = SIGNATURE.fullmatch(content, len(above))
    if not line or signature is None:
        return {}
    signed = dict(pair.split("=") for pair in signature[1].decode().split())
    if signed.get(MODEL_CARD) == hashlib.sha256(above).hexdigest():
        signed[MODEL_CARD] = sha256_of_file(card)
    return signed


def _checksum(file: Path) -> str | None:
    """Returns the SHA-256, or None for what no export writes, such as a link."""
    return sha256_of_file(file) if _is_regular(file) else None


def _is_regular(path: Path) -> bool:
    return os.path.lexists(path) and stat.S_ISREG(path.lstat().st_mode)


def _write(arm: str, folder: Path, temporary: Path, with_onnx: bool, layout: Layout) -> list[str]:
    """Fills `temporary`; returns notes for the user, one sentence each."""
    for name in (ENCODER_WEIGHTS, ENCODER_CONFIG):
        shutil.copyfile(folder / name, temporary / name)
    config, identity = read_config(temporary), identity_of(temporary)
    notes, use = [], ""
    if with_onnx:
        difference = write_onnx(temporary / ENCODER_WEIGHTS, config, temporary / ONNX)
        notes.append(f"{ONNX}: features differ from torch's by at most {difference:.1e}")
        use = _onnx_use(config["image_size"], config["feature_dim"])
    figures = figures_of(arm, identity["weights_sha256"], layout)
    if figures.missing:
        notes.append(f"note: the card has no figures. {figures.missing}")
    try:
        card = (folder / MODEL_CARD).read_text(encoding="utf-8")
    except (OSError, ValueError):
        card = ""
    completed = completed_card(card, figures.section, figures.metadata, use)
    if completed is None:
        raise UserError(
            f"{folder / MODEL_CARD} is not the card that this version's training writes: "
            "run `dvc repro`, which makes it anew"
        )
    (temporary / MODEL_CARD).write_text(completed, encoding="utf-8")
    _sign(temporary)
    return notes


def _sign(folder: Path) -> None:
    files = "".join(f"{path.name}={sha256_of_file(path)} " for path in sorted(folder.iterdir()))
    with (folder / MODEL_CARD).open("a", encoding="utf-8") as card:
        card.write(f"\n<!-- written by clinfonce export: {files}-->\n")


def _onnx_use(size: int, feature_dim: int) -> str:
    return f"""
Without torch, by `{ONNX}`, which normalises by itself: give it RGB images of {size} x {size} pixels, 0-1.

```python
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession("{ONNX}")
images = np.zeros((1, 3, {size}, {size}), np.float32)  # any number of them
(features,) = session.run(["features"], {{"images": images}})  # (1, {feature_dim})
```
"""
