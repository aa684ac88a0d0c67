"""The one way to the terminal: what is printed is made harmless first, wherever it comes from.

Names of columns, labels, hashtags and branches are strangers' and may hold escape sequences.
tests/runtime/test_console.py looks for other ways.
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

from pipeline.runtime.sanitize import for_json, for_terminal, is_plain, shortened

MISTAKE, CTRL_C = 2, 130
"""Exit codes."""
LONGEST_VALUE, LONGEST_SENTENCE = 200, 800
_LONG_WORD = re.compile(rf"\S{{{LONGEST_VALUE + 1},}}")


def echo(*lines: str, stderr: bool = False) -> None:
    """Prints each of `lines` as one line."""
    for line in lines:
        print(for_terminal(line), file=sys.stderr if stderr else sys.stdout)


def log_error(sentence: str) -> None:
    """Of what a user, a file or a variable holds at most `LONGEST_VALUE` letters are quoted."""
    words = _LONG_WORD.sub(lambda found: shortened(found[0], LONGEST_VALUE), sentence)
    echo(f"error: {shortened(words, LONGEST_SENTENCE)}", stderr=True)


def log_traceback(error: BaseException) -> None:
    """Of an unexpected error: strangers' names that it quotes are escaped like all else."""
    echo(*"".join(traceback.format_exception(error)).splitlines(), stderr=True)


def print_json(value: Any) -> None:
    print(json_text(value))


def json_text(value: Any) -> str:
    return for_json(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


class SafeConsole(Console):
    """For tables and bars: of what is rendered into it only its own codes reach the terminal."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            if segment.control or is_plain(segment.text):
                yield segment
            else:
                yield segment._replace(text="\n".join(map(for_terminal, segment.text.split("\n"))))

    def echo(self, text: str) -> None:
        """Prints `text` as it is: never as markup, and on a terminal wrapped by the terminal."""
        self.print(text, markup=False, highlight=False, soft_wrap=True)


def terminal(
    *, stderr: bool = False, file: TextIO | None = None, width: int | None = None, quiet: bool = False
) -> SafeConsole:
    # Rich would make a picture of a name such as `:skull:`.
    return SafeConsole(stderr=stderr, file=file, width=width, quiet=quiet, highlight=False, emoji=False)


def standard_output() -> TextIO:
    """For text that is harmless already, such as CSV."""
    return sys.stdout


def is_interactive() -> bool:
    """Whether progress, which goes to standard error, is seen as it is drawn."""
    return sys.stderr.isatty()


def run(app: typer.Typer) -> NoReturn:
    """Runs a command from the shell, and ends the process.

    A mistake in the command line is one line, an unexpected error a traceback; neither steers the terminal.
    What the terminal's encoding lacks is shown as an escape. Where nobody reads any more, as behind
    `| head`, it ends in silence.
    """
    _open_missing_streams()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    warnings.showwarning = _show_warning
    try:
        # Not by calling `app`, which prints usage errors and tracebacks by itself.
        code = typer.main.get_command(app).main(standalone_mode=False)
        sys.stdout.flush()
    except typer.Abort:
        echo("aborted", stderr=True)
        code = CTRL_C
    except BrokenPipeError:
        # Or the interpreter tries to flush once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except Exception as error:
        if sentence := _of_the_command_line(error):
            log_error(sentence)
            code = MISTAKE
        else:
            log_traceback(error)
            code = 1
    sys.exit(code if isinstance(code, int) else 0)


def _open_missing_streams() -> None:
    """Puts the null device in place of standard streams that are closed, as `>&-` and some services do.

    Python has None for them, and the next file that is opened would get their number.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            # It takes the lowest number that is free, and programs that are started get it, too.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


def _of_the_command_line(error: Exception) -> str | None:
    """What is wrong in the command that was typed; None for every other error."""
    # Of Click's exceptions, wherever Typer takes Click from.
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
