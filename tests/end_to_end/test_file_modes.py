"""Who may read what stages write is decided by the umask, as for every other program's files."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.clustering.run import cluster
from pipeline.evaluation.run import evaluate
from pipeline.inference.export import export
from pipeline.ingest.run import ingest
from pipeline.runtime.console import terminal
from pipeline.storage.schema import Layout
from pipeline.training.untrained import write_untrained
from support import params_with


@pytest.fixture(params=[0o022, 0o002], ids=["of one user", "of a group"])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_every_file_has_the_mode_of_the_umask(
    umask: int, manifest: Callable[..., Path], tmp_path: Path
) -> None:
    layout = Layout(tmp_path / "data")
    params = params_with(
        ingest={"source": "manifest", "path": str(manifest(24)), "image_size": 12},
        cluster={"method": "attributes"},
    )
    ingest(params.ingest, 0, layout)
    cluster(params.cluster, "chosen", 8, 0, layout)
    write_untrained(12, 0, layout)
    evaluate(params.evaluate, "untrained", 0, layout)
    layout.encoder("untrained").rename(layout.encoder("chosen"))
    export("chosen", tmp_path / "export", with_onnx=False, layout=layout, console=terminal(quiet=True))
    written = [path for folder in ("data", "export") for path in (tmp_path / folder).rglob("*")]
    modes = {str(path.relative_to(tmp_path)): path.stat().st_mode & 0o777 for path in written}
    assert len(modes) > 20
    assert modes == {name: (0o777 if (tmp_path / name).is_dir() else 0o666) & ~umask for name in modes}
