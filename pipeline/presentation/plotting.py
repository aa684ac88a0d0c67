"""matplotlib, without the settings of the current folder and of environment variables.

Symptom: in a branch with a file `matplotlibrc`, `clinfonce compare` started LaTeX; with a pipe of that name
it blocked. Cause: on import, matplotlib reads a file of that name in the current folder. Cure: it is imported
only here, from the folder of its defaults, and figures are drawn with these defaults, which are the same on
every machine.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any


def _folder_of_defaults() -> Path:
    """Returns the folder of matplotlib's default settings, without importing matplotlib."""
    spec = find_spec("matplotlib")
    assert spec is not None, "a dependency"
    assert spec.origin is not None, "a package of files"
    return Path(spec.origin).with_name("mpl-data")


@contextlib.contextmanager
def _unset(variable: str) -> Iterator[None]:
    """Hides an environment variable from the block."""
    value = os.environ.pop(variable, None)
    try:
        yield
    finally:
        if value is not None:
            os.environ[variable] = value


# Only this import runs there, because MPLCONFIGDIR may be relative to the current folder.
with contextlib.chdir(_folder_of_defaults()), _unset("MPLBACKEND"):
    import matplotlib

from matplotlib.axes import Axes  # noqa: E402 - after the settings
from matplotlib.figure import Figure  # noqa: E402
from matplotlib.ticker import MaxNLocator  # noqa: E402
from matplotlib.transforms import offset_copy  # noqa: E402

__all__ = ["Axes", "Figure", "MaxNLocator", "offset_copy", "styled"]


@contextlib.contextmanager
def styled(settings: Mapping[Any, Any]) -> Iterator[None]:
    """Draws and saves in the block with matplotlib's defaults and these `settings`.

    This also holds if other code, such as a tracker, has imported matplotlib before.
    """
    # matplotlib reads a date from it, even for figures without one.
    with _unset("SOURCE_DATE_EPOCH"), matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(settings)
        yield
