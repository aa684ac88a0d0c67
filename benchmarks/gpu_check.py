"""Checks and benchmarks of a GPU in one call, without DVC or a network; on a CPU, at toy size.

python -m benchmarks.gpu_check --folder out                               # all parts, images made up
python -m benchmarks.gpu_check --folder out --images data/images --only accuracy   # of ingested CIFAR-100

The result of each part is appended to `results.jsonl` when it ends, errors with their traceback. At the end,
all results are printed in one table. Parts that would begin after `--minutes` are left out.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import torch
import typer
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile

from benchmarks.contenders import HEAD_DIM, TEMPERATURE, Ours, Setting, decoded, encoded_images, plain
from benchmarks.harness import append_result, in_turns, machine, markdown
from pipeline.augment.views import random_views
from pipeline.clustering.run import cluster
from pipeline.config.cluster import ClusterParams
from pipeline.config.evaluate import EvaluateParams
from pipeline.config.params import Params
from pipeline.config.pretrain import PretrainParams
from pipeline.evaluation.run import evaluate
from pipeline.ingest.run import ingest
from pipeline.objectives.cl_infonce import cl_infonce_loss
from pipeline.runtime.device import compute_dtype, device_name, pick_device
from pipeline.storage.schema import Layout
from pipeline.training.context import TrainingContext
from pipeline.training.network import COMPILE_VARIABLE
from pipeline.training.run import train
from pipeline.training.untrained import write_untrained

Result = dict[str, Any]
LOOP, IN_PLACE, AUGMENTATION, LOSS, PLAIN = "loop", "batch in place", "augmentation", "loss", "plain PyTorch"
WAITS = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize", "aten::item")
SETTINGS = [("resnet18", 32, 1024), ("patch_resnet", 32, 1024), ("resnet18", 64, 512), ("resnet50", 224, 256)]
TOY_SETTINGS = [("resnet18", 32, 8), ("patch_resnet", 32, 8)]
ARMS: dict[str, tuple[Result, str]] = {
    "instance": ({"method": "instance"}, "cl_infonce"),
    "coarse_label": ({"method": "column", "column": {"name": "coarse_label"}}, "cl_infonce"),
    "query_tag": ({"method": "column", "column": {"name": "query_tag"}}, "cl_infonce"),
    "query_tag, cross-entropy": ({"method": "column", "column": {"name": "query_tag"}}, "cross_entropy"),
    "label": ({"method": "label"}, "cl_infonce"),
}
"""Clusters of CIFAR-100 and objective of each training of `accuracy`."""
PAPERS: Result = {"encoder": "resnet18", "stem_stride": 1, "optimizer": "sgd", "learning_rate": 0.1}
PAPERS |= {"batch_size": 512, "temperature": 0.1}


def measure(
    folder: Annotated[Path, typer.Option(help="where results.jsonl is written")] = Path("gpu_check"),
    images: Annotated[Path | None, typer.Option(help="what ingest wrote of CIFAR-100")] = None,
    only: Annotated[list[str] | None, typer.Option(help="parts, by the beginning of their names")] = None,
    minutes: float = 7.5,
    epochs: Annotated[int, typer.Option(help="of each training of `accuracy`")] = 60,
) -> None:
    """Runs the parts in turn and prints all results."""
    folder.mkdir(parents=True, exist_ok=True)
    end, device = time.monotonic() + 60 * minutes, pick_device()
    results: list[Result] = []
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["CLINFONCE_STATE_DIR"] = str(Path(scratch) / "states")
        for name, part in _parts(device, images, Path(scratch), epochs):
            if only and not any(name.startswith(requested) for requested in only):
                continue
            if time.monotonic() > end:
                results.append({"part": name, "outcome": "left out: no time"})
                continue
            began = time.monotonic()
            try:
                found = part()
            except Exception:
                found = {"error": traceback.format_exc()}
            results.append({"part": name, "seconds": round(time.monotonic() - began, 1)} | found)
            append_result(folder / "results.jsonl", results[-1])
    shown = [{"part": result.pop("part"), "outcome": _shown(result)} for result in results]
    print(f"\n{device_name(device)}, {machine()}\n\n{markdown(shown)}")


def _shown(result: Result) -> str:
    if "error" in result:
        return "FAILED: " + str(result["error"]).strip().splitlines()[-1]
    return ", ".join(
        f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
        for key, value in result.items()
    )


def _parts(
    device: torch.device, images: Path | None, scratch: Path, epochs: int
) -> Iterator[tuple[str, Callable[[], Result]]]:
    real = device.type == "cuda"
    yield "card", partial(_card, device)
    yield "tests marked gpu", partial(_pytest, "-m", "gpu")
    yield "kill and resume", partial(_kill_and_resume, scratch / "killed")
    for arch, size, batch in SETTINGS if real else TOY_SETTINGS:
        yield f"speed of {arch} at {size}", partial(_speed, Setting(arch, size, batch, device), real)
        for compiled in ("0", "1") if real else ("0",):
            named = "compiled" if compiled == "1" else "not compiled"
            yield (
                f"step of {arch} at {size}, {named}",
                partial(_step, arch, size, batch, device, compiled, real),
            )
    yield "two processes by gloo", partial(_pytest, "tests/training/test_distributed_training.py")
    if images is not None:
        yield "accuracy of untrained filters", partial(_untrained, images, scratch)
        for arm in ARMS:
            yield f"accuracy of {arm}", partial(_accuracy, arm, images, scratch, device, epochs)


def _card(device: torch.device) -> Result:
    if device.type != "cuda":
        return {"torch": torch.__version__, "device": device_name(device)}
    properties = torch.cuda.get_device_properties(device)
    return {
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "device": properties.name,
        "GB": round(properties.total_memory / 1e9, 1),
        "capability": f"{properties.major}.{properties.minor}",
    }


def _pytest(*arguments: str) -> Result:
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return {"exit": done.returncode, "said": "\n".join(done.stdout.splitlines()[-15:])}


def _speed(setting: Setting, real: bool) -> Result:
    """Measures views per second of the whole loop, and the shares of its parts."""
    size, batch, device = setting.size, setting.batch, setting.device
    steps, rounds, workers = (20, 3, 16) if real else (2, 1, 0)
    dtype = compute_dtype("auto", device)
    encoded = encoded_images(4 * batch, 256 if size == 224 else size)
    ours = Ours(setting, decoded(encoded), dtype)
    plan = ours.trainer.plan(0)
    canvas, sizes = next(ours.trainer.loader.batches(plan.requested[:1]))
    both = torch.cat([canvas, canvas]), torch.cat([sizes, sizes])
    outputs = torch.randn(2 * batch, HEAD_DIM, device=device, requires_grad=True)
    clusters = torch.arange(batch, device=device).repeat(2)

    def augment() -> None:
        for step in range(steps):
            random_views(*both, size, ours.trainer.params.augment, step)

    def loss() -> None:
        for _ in range(steps):
            cl_infonce_loss(functional.normalize(outputs), clusters, TEMPERATURE).backward()

    runs: dict[str, Callable[[], object]] = {
        LOOP: partial(ours.run, steps),
        IN_PLACE: partial(ours.run_in_place, steps),
        AUGMENTATION: augment,
        LOSS: loss,
    }
    if setting.arch.startswith("resnet"):
        peer = plain(setting, encoded, workers, dtype=dtype, channels_last=True)
        runs[PLAIN] = partial(peer.run, steps)
    seconds = {what: median(times) for what, times in in_turns(runs, rounds).items()}
    views = 2 * batch * steps
    found: Result = {f"views/s, {what}": views / seconds[what] for what in runs}
    found["share of a batch in place"] = seconds[IN_PLACE] / seconds[LOOP]
    found["augmentation's share"] = seconds[AUGMENTATION] / seconds[LOOP]
    found["the loss's share"] = seconds[LOSS] / seconds[LOOP]
    found["host waits a step"] = host_waits(partial(ours.run_in_place, 3)) / 3
    return found


def _step(arch: str, size: int, batch: int, device: torch.device, compiled: str, real: bool) -> Result:
    """Measures views per second of steps on one batch in place, with or without torch.compile."""
    before = os.environ.get(COMPILE_VARIABLE)
    os.environ[COMPILE_VARIABLE] = compiled
    try:
        setting, steps = Setting(arch, size, batch, device), 20 if real else 2
        store = decoded(encoded_images(2 * batch, 256 if size == 224 else size))
        ours = Ours(setting, store, compute_dtype("auto", device))
    finally:
        if before is None:
            del os.environ[COMPILE_VARIABLE]
        else:
            os.environ[COMPILE_VARIABLE] = before
    began = time.perf_counter()
    ours.run_in_place(1)
    _wait_for(device)
    first = time.perf_counter() - began
    seconds = median(in_turns({"step": partial(ours.run_in_place, steps)}, 3)["step"])
    return {"views/s": 2 * batch * steps / seconds, "first step, s": first}


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def host_waits(run: Callable[[], object]) -> int:
    """Returns how often the host waits for the device during `run`, by torch's profiler."""
    activities = [ProfilerActivity.CPU]
    if torch.cuda.is_available():
        activities.append(ProfilerActivity.CUDA)
    run()
    with profile(activities=activities) as profiled:
        run()
    # The profiler itself waits once at its end.
    counts: dict[str, int] = {event.key: event.count for event in profiled.key_averages()}
    return sum(counts.get(wait, 0) for wait in WAITS) - int(torch.cuda.is_available())


KILLED = """
import sys
from pathlib import Path
from pipeline.storage.schema import Layout
from pipeline.config.pretrain import PretrainParams
from pipeline.training.run import pretrain
params = PretrainParams(epochs=5, batch_size=64)
pretrain(params, "instance", 32, 0, Layout(Path(sys.argv[1])))
"""


def _kill_and_resume(root: Path) -> Result:
    """Kills a training once and runs it again; reports where it resumed."""
    layout = Layout(root)
    params = Params.model_validate({"ingest": {"synthetic": {"images": 320}}})
    ingest(params.ingest, 0, layout)
    cluster(params.cluster, "instance", 64, 0, layout)
    command = [sys.executable, "-c", KILLED, str(root)]
    variables = os.environ | {"CLINFONCE_SAVING_SHARE": "1e9"}
    with subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        for line in first.stdout:
            if "epoch 2/" in line:
                first.send_signal(signal.SIGKILL)
    second = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    said = second.stdout + second.stderr
    went_on = next((line for line in said.splitlines() if "resuming" in line), "not resumed")
    return {"exit": second.returncode, "said": went_on if second.returncode == 0 else said[-2000:]}


def _scratch_layout(images: Path, root: Path) -> Layout:
    layout = Layout(root)
    root.mkdir(parents=True, exist_ok=True)
    if not layout.images.exists():
        layout.images.symlink_to(images.resolve())
    return layout


def _untrained(images: Path, scratch: Path) -> Result:
    layout = _scratch_layout(images, scratch / "untrained")
    write_untrained(32, 0, layout)
    return _accuracies(layout, "untrained")


def _accuracy(arm: str, images: Path, scratch: Path, device: torch.device, epochs: int) -> Result:
    """Measures linear and k-NN top-1 of a training with the papers' stem."""
    clusters, objective = ARMS[arm]
    layout = _scratch_layout(images, scratch / arm.replace(" ", "-"))
    cluster(ClusterParams.model_validate(clusters), "chosen", 512, 0, layout)
    params = PretrainParams.model_validate(PAPERS | {"epochs": epochs, "objective": objective})
    began = time.monotonic()
    train(params, TrainingContext("chosen", 0, 32, device), layout)
    return {"training, s": time.monotonic() - began} | _accuracies(layout, "chosen")


def _accuracies(layout: Layout, arm: str) -> Result:
    metrics = evaluate(EvaluateParams(), arm, 0, layout)
    return {"linear": metrics["top1"], "k-NN": metrics["knn_top1"]}


if __name__ == "__main__":
    typer.run(measure)
