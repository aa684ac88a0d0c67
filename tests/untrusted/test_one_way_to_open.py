"""Strangers' files are opened and listed by untrusted/safe_paths.py and untrusted/walk.py alone."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import REPOSITORY

READERS = [
    *sorted((REPOSITORY / "pipeline/sources").rglob("*.py")),
    *sorted((REPOSITORY / "pipeline/inference").rglob("*.py")),
    *sorted((REPOSITORY / "pipeline/tables").glob("*.py")),
    *(
        REPOSITORY / "pipeline" / name
        for name in (
            "clustering/methods/hierarchy.py",
            "doctor/decoding.py",
            "encoders/files.py",
            "evaluation/features.py",
            "ingest/decoding.py",
            "ingest/prepare.py",
            "untrusted/similar_paths.py",
            "statistics/command.py",
            "statistics/tables.py",
        )
    ),
]
OF_OURS = {
    "open_encoder.py": "an encoder's folder",
    "card_metrics.py": "an evaluation's metrics",
    "export.py": "what `clinfonce export` writes",
}
"""Files of pipeline/inference that read what the project wrote, and nothing else."""

OPENING = {
    *("open", "fdopen", "read_text", "read_bytes", "np.load", "fromfile", "memmap", "loadtxt", "genfromtxt"),
    *("open_csv", "read_csv", "read_json", "read_feather", "OSFile", "memory_map", "dataset"),
    *("ParquetFile", "ParquetDataset", "read_schema", "read_metadata", "read_table", "read_parquet"),
    *("is_unbroken", "has_checksum", "check_parquet"),
}
LOOKING = {
    *("walk", "fwalk", "rglob", "glob", "iterdir", "scandir", "listdir", "is_file", "is_dir", "exists"),
    *(
        "stat",
        "os.path.isfile",
        "os.path.isdir",
        "os.path.lexists",
        "os.path.getsize",
        "samefile",
        "readlink",
    ),
}
"""The last part of a call's name, or all of it."""
FROM_MEMORY = ("Image.open(io.BytesIO", "pa.ipc.")


def opened_otherwise(source: str) -> Iterator[str]:
    """Calls that reach a file by its path, unless the path is one that `SafePath.pinned` gave."""
    tree = ast.parse(source)
    pinned = {
        ast.unparse(item.optional_vars)
        for node in ast.walk(tree)
        if isinstance(node, ast.With)
        for item in node.items
        if isinstance(item.context_expr, ast.Call)
        and isinstance(item.context_expr.func, ast.Attribute)
        and item.context_expr.func.attr == "pinned"
        and item.optional_vars is not None
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        names = {called, called.rpartition(".")[2]}
        if not names & (OPENING | LOOKING) or _is_none_of_a_path(node, called):
            continue
        if not (node.args and ast.unparse(node.args[0]) in pinned):
            yield f"line {node.lineno}: {ast.unparse(node)}"


def _is_none_of_a_path(node: ast.Call, called: str) -> bool:
    if ast.unparse(node).startswith(FROM_MEMORY):
        return True
    owner, _, name = called.rpartition(".")
    if name == "open" and owner[:1].isupper() and owner.isidentifier() and owner not in ("Path", "Image"):
        return True  # a class of the project's own
    return called == "tarfile.open" and {word.arg for word in node.keywords} >= {"fileobj"} and not node.args


@pytest.mark.parametrize("path", READERS, ids=lambda path: str(path.relative_to(REPOSITORY / "pipeline")))
def test_strangers_files_are_opened_in_one_way(path: Path) -> None:
    found = list(opened_otherwise(path.read_text(encoding="utf-8")))
    if path.parent.name == "inference" and path.name in OF_OURS:
        assert found, f"{path} need not be excepted any more"
    else:
        assert found == []


@pytest.mark.parametrize(
    "line",
    [
        "open(path)",
        "path.open()",
        "path.open(encoding='utf-8')",
        "Path(name).open()",
        "io.open(path)",
        "os.open(path, 0)",
        "path.read_text()",
        "path.read_bytes()",
        "tarfile.open(path, 'r:')",
        "tarfile.open(path, fileobj=None)",
        "pq.ParquetFile(path)",
        "with x.pinned() as p: pq.ParquetFile(path)",
        "pq.read_schema(path)",
        "pyarrow.parquet.read_metadata(path)",
        "pyarrow.csv.open_csv(path)",
        "np.load(path)",
        "np.fromfile(path)",
        "pd.read_csv(path)",
        "pa.OSFile(path)",
        "Image.open(path)",
        "os.walk(path)",
        "path.rglob('*')",
        "path.iterdir()",
        "os.scandir(path)",
        "path.is_file()",
        "path.exists()",
        "os.path.isdir(path)",
        "os.stat(path)",
    ],
)
def test_other_ways_are_found(line: str) -> None:
    assert len(list(opened_otherwise(line))) == 1


@pytest.mark.parametrize(
    "line",
    [
        "file.open_text()",
        "file.open_binary()",
        "ManifestSource.open(params, 0)",
        "Image.open(io.BytesIO(data))",
        "tarfile.open(fileobj=file, mode='r:')",
        "json.load(file)",
        "with file.pinned() as p, pq.ParquetFile(p) as parquet: pass",
    ],
)
def test_the_way_is_not_in_its_own_way(line: str) -> None:
    assert list(opened_otherwise(line)) == []
