"""matplotlib, without the settings that lie in the current folder.

Symptom: in a branch that holds a file `matplotlibrc`, `clinfonce compare` started LaTeX; where it was a pipe,
the command waited for ever. Cause: while it is imported, matplotlib reads a file of that name in the current
folder, whatever it is. Cure: it is imported here alone, from the folder of its own defaults, and figures are
drawn with these: they look the same on every machine.
"""

import contextlib
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any


def _folder_of_defaults() -> Path:
    """Found without importing matplotlib."""
    spec = find_spec("matplotlib")
    assert spec is not None, "a dependency"
    assert spec.origin is not None, "a package of files"
    return Path(spec.origin).with_name("mpl-data")


# Nothing else is imported from there: what users name in MPLCONFIGDIR may be relative to their folder.
with contextlib.chdir(_folder_of_defaults()):
    import matplotlib

from matplotlib.axes import Axes  # noqa: E402 - after the settings
from matplotlib.figure import Figure  # noqa: E402
from matplotlib.ticker import MaxNLocator  # noqa: E402
from matplotlib.transforms import offset_copy  # noqa: E402

__all__ = ["Axes", "Figure", "MaxNLocator", "offset_copy", "styled"]


@contextlib.contextmanager
def styled(settings: Mapping[Any, Any]) -> Iterator[None]:
    """What is drawn and saved in the block has matplotlib's defaults and these `settings`.

    Also where something else, such as a tracker of trainings, has imported matplotlib before.
    """
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(settings)
        yield
