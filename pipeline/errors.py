"""Mistakes that a user can mend, told in one sentence."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.escaping import for_terminal


class UserError(ValueError):
    """A user's mistake. The message is one sentence that names the parameter or file and the cure."""


@contextmanager
def told_in_a_sentence() -> Iterator[None]:
    """Turns a `UserError` into its sentence on standard error and exit code 2, without a traceback."""
    try:
        yield
    except UserError as error:
        # It may quote names that strangers gave.
        print(f"error: {for_terminal(str(error))}", file=sys.stderr)
        raise SystemExit(2) from None


def listed(names: list[str], limit: int = 12) -> str:
    """`["a", "b"]` -> "a, b"; long lists are cut and counted, so that a sentence stays a sentence."""
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"
