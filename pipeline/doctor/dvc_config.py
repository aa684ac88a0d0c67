"""Reads the cache folder from DVC's configuration, which may be untrusted, in a separate process."""

from collections.abc import Iterator
from contextlib import contextmanager

from dvc.config import Config

from pipeline.untrusted.dvc.process import Request, answer


@contextmanager
def cache_folder(request: Request) -> Iterator[str | None]:
    """Yields the cache folder relative to `.dvc` in the request's `root`; None if unset or unreadable."""
    try:
        named = Config(f"{request['root']}/.dvc")["cache"].get("dir")
    except Exception:  # its parsers raise exceptions of their own
        named = None
    yield None if named is None else str(named)


if __name__ == "__main__":
    answer(cache_folder)
