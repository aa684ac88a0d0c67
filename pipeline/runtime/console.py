"""The only output to the terminal: everything that is printed is escaped first.

Names of columns, labels, hashtags and branches are untrusted and may contain escape sequences.
tests/runtime/test_console.py checks that there is no other way to print.
"""

import json
import os
import re
import sys
import traceback
import warnings
from collections.abc import Iterable
from typing import Any, NoReturn, TextIO

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from pipeline.runtime.errors import MISTAKE, system_error_message
from pipeline.runtime.sanitize import LONGEST_VALUE, for_json, for_terminal, is_plain, shortened

CTRL_C = 130
"""Exit code."""
LONGEST_SENTENCE = 800
_LONG_WORD = re.compile(rf"\S{{{LONGEST_VALUE + 1},}}")


def echo(*lines: str, stderr: bool = False) -> None:
    """Prints each of `lines` as one line."""
    for line in lines:
        print(for_terminal(line), file=sys.stderr if stderr else sys.stdout)


def log_error(sentence: str) -> None:
    """Prints an error.

    At most `LONGEST_VALUE` letters of a value from a user, a file or a variable are quoted.
    """
    words = _LONG_WORD.sub(lambda found: shortened(found[0], LONGEST_VALUE), sentence)
    echo(f"error: {shortened(words, LONGEST_SENTENCE)}", stderr=True)


def log_traceback(error: BaseException) -> None:
    """Prints the traceback of an unexpected error; untrusted names in it are escaped like all other text."""
    echo(*"".join(traceback.format_exception(error)).splitlines(), stderr=True)


def print_json(value: Any) -> None:
    print(json_text(value))


def json_text(value: Any) -> str:
    return for_json(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


class SafeConsole(Console):
    """A console for tables and bars that passes only its own control codes on to the terminal."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            if segment.control or is_plain(segment.text):
                yield segment
            else:
                yield segment._replace(text="\n".join(map(for_terminal, segment.text.split("\n"))))

    def print(self, *objects: Any, **options: Any) -> None:
        """Prints as Rich does, but each string as one line.

        A line break may come from an untrusted name, and would start a line in any words, such as `error: `.
        """
        lines = (for_terminal(item) if isinstance(item, str) else item for item in objects)
        super().print(*lines, **options)

    def echo(self, *lines: str) -> None:
        """Prints each of `lines` verbatim as one line: never as markup, and wrapped only by the terminal."""
        for line in lines:
            self.print(line, markup=False, highlight=False, soft_wrap=True)


def terminal(
    *, stderr: bool = False, file: TextIO | None = None, width: int | None = None, quiet: bool = False
) -> SafeConsole:
    # Rich would replace a name such as `:skull:` by a picture.
    return SafeConsole(stderr=stderr, file=file, width=width, quiet=quiet, highlight=False, emoji=False)


def standard_output() -> TextIO:
    """Returns standard output, for text that is already harmless, such as CSV."""
    return sys.stdout


def is_interactive() -> bool:
    """Returns whether progress, which is written to standard error, is seen as it is drawn."""
    return sys.stderr.isatty()


def run(app: typer.Typer) -> NoReturn:
    """Runs a command from the shell, and ends the process.

    A mistake in the command line is printed as one line, an unexpected error as a traceback; neither can
    control the terminal. Characters that the terminal's encoding lacks are printed as escapes. If the reader
    has closed the pipe, as with `| head`, the process ends silently.
    """
    _open_missing_streams()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    warnings.showwarning = _show_warning
    try:
        # Not by calling `app`, which prints usage errors and tracebacks itself.
        code = typer.main.get_command(app).main(standalone_mode=False)
        sys.stdout.flush()
    except typer.Abort:
        echo("aborted", stderr=True)
        code = CTRL_C
    except Exception as error:
        if sentence := _of_the_command_line(error) or system_error_message(error):
            log_error(sentence)
            code = MISTAKE
        elif isinstance(error, BrokenPipeError):
            code = 1
        else:
            log_traceback(error)
            code = 1
    _flush()
    sys.exit(code if isinstance(code, int) else 0)


def _flush() -> None:
    """Writes what is left of the output, or drops it: the interpreter would fail once more at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _open_missing_streams() -> None:
    """Opens the null device for standard streams that are closed, as by `>&-` and some services.

    Python has None for them, and the next file that is opened would get their number.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            # It takes the lowest free number, and started programs inherit it.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


def _of_the_command_line(error: Exception) -> str | None:
    """Returns what is wrong in the typed command; None for every other error."""
    # For Click's exceptions, wherever Typer imports Click from.
    if not hasattr(error, "format_message"):
        return None
    context = getattr(error, "ctx", None)
    hint = "" if context is None else f" (`{context.command_path} --help` shows how)"
    return f"{error.format_message()}{hint}"


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    if file is None:
        echo(f"{category.__name__}: {message} ({filename}:{lineno})", stderr=True)
    else:
        file.write(warnings.formatwarning(message, category, filename, lineno, line))
