"""Reads from DVC's configuration, perhaps a stranger's, where the cache lies, in a process of its own."""

from collections.abc import Iterator
from contextlib import contextmanager

from dvc.config import Config

from pipeline.untrusted.dvc.process import Request, answer


@contextmanager
def cache_folder(request: Request) -> Iterator[str | None]:
    """Relative to `.dvc` in the request's `root`; None where the configuration names none or is broken."""
    try:
        named = Config(f"{request['root']}/.dvc")["cache"].get("dir")
    except Exception:  # its parsers raise their own
        named = None
    yield None if named is None else str(named)


if __name__ == "__main__":
    answer(cache_folder)
