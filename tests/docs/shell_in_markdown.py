"""The commands that a Markdown text shows: in fences, in indented blocks and between backticks."""

import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product, takewhile

SHELLS = {"bash", "console", "sh", "shell"}
CONTROL = {";", ";;", "&", "&&", "||", "|", "|&"}
REDIRECTIONS = {">", ">>", "<", "<<", ">&", "&>", "<<<"}
KEYWORDS = {"do", "done", "then", "else", "fi", "{", "}", "("}


class Unreadable(ValueError):
    """What stands where commands should stand is none, or can't be taken apart."""


@dataclass(frozen=True)
class Snippet:
    line: int
    """Of the text, from 1."""
    script: str
    between_backticks: bool = False


@dataclass(frozen=True)
class Command:
    words: list[str]
    variables: dict[str, str] = field(default_factory=dict)
    """Those that stand before it: `NAME=value command`."""
    here_document: str | None = None


def snippets(markdown: str) -> Iterator[Snippet]:
    """Blocks of commands first; then what stands between backticks in the text, command or not.

    An indented block counts as commands: text that is none belongs between fences that name its language.
    """
    prose: list[str] = []
    fence = language = ""
    block: list[str] = []
    started = 0
    in_list = False
    for number, line in enumerate([*markdown.splitlines(), ""], start=1):
        opening = re.match(r"\s*(`{3,}|~{3,})\s*([\w+-]*)", line)
        if fence:
            prose.append("")
            if line.strip().startswith(fence):
                if language in SHELLS:
                    yield Snippet(started + 1, _typed(block) if language == "console" else "\n".join(block))
                fence, block = "", []
            else:
                block.append(line)
        elif opening:
            fence, language, started = opening[1], opening[2], number
            if not language:
                raise Unreadable(f"line {number}: the fence names no language: bash, or text if it is none")
            prose.append("")
        elif line.startswith("    ") and not in_list and (block or not (prose and prose[-1].strip())):
            started = started if block else number
            block.append(line[4:])
            prose.append("")
        else:
            if block:
                yield Snippet(started, "\n".join(block))
                block = []
            in_list = bool(re.match(r"\s*([-*+]|\d+\.)\s", line)) or (in_list and line[:1] in ("", " "))
            prose.append(line)
    if fence:
        raise Unreadable(f"line {started}: the fence is not closed")
    text = "\n".join(prose)
    for span in re.finditer(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", text, re.DOTALL):
        words = " ".join(span[2].split()).replace("\\|", "|")
        yield Snippet(text.count("\n", 0, span.start()) + 1, words, between_backticks=True)


def commands(script: str) -> list[Command]:
    """The simple commands of a script, those in loops once for each value. Raises `Unreadable`."""
    checked = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, check=False)
    if checked.returncode or checked.stderr:
        raise Unreadable(f"bash can't read it: {checked.stderr.strip()}")
    found: list[Command] = []
    loops: dict[str, list[str]] = {}
    for line, here_document in _logical_lines(script):
        for words in _simple_commands(line):
            words = _without_redirections(words)
            while words and words[0] in KEYWORDS:
                if words.pop(0) == "done":
                    loops.popitem()
            if words[:1] == ["for"]:
                loops[words[1]] = words[3:]
            elif words:
                found += _for_each_value(words, loops, here_document)
    return found


def _typed(lines: list[str]) -> str:
    """Of a session on a console, what was typed after `$ `, and after `> ` where that goes on."""
    typed: list[str] = []
    for line in lines:
        if line.startswith("$ ") or (line.startswith("> ") and typed and typed[-1].endswith("\\")):
            typed.append(line[2:])
    return "\n".join(typed)


def _logical_lines(script: str) -> Iterator[tuple[str, str | None]]:
    """Lines with those that go on joined to them, and the here document that belongs to each."""
    lines = iter(script.splitlines())
    for line in lines:
        while line.endswith("\\"):
            line = line[:-1] + next(lines, "")
        here = re.search(r"<<-?\s*(['\"]?)(\w+)\1", line)
        if here:
            yield line.replace(here[0], ""), "\n".join(takewhile(here[2].__ne__, lines))
        else:
            yield line, None


def _simple_commands(line: str) -> Iterator[list[str]]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=";&|<>()")
    lexer.whitespace_split = True
    words: list[str] = []
    for word in lexer:
        if word in CONTROL:
            yield words
            words = []
        else:
            words.append(word)
    yield words


def _without_redirections(words: list[str]) -> list[str]:
    kept: list[str] = []
    skipped = False
    for word in words:
        if word in REDIRECTIONS:
            skipped = True
            if kept and kept[-1].isdigit():
                kept.pop()
        elif skipped:
            skipped = False
        else:
            kept.append(word)
    return kept


def _for_each_value(
    words: list[str], loops: dict[str, list[str]], here_document: str | None
) -> Iterator[Command]:
    used = {name: values for name, values in loops.items() if re.search(rf"\$\{{?{name}\b", " ".join(words))}
    for values in product(*used.values()):
        filled = words
        for name, value in zip(used, values, strict=True):
            filled = [re.sub(rf"\$\{{?{name}\b\}}?", lambda _: value, word) for word in filled]  # noqa: B023
        variables = {}
        while filled and (assignment := re.fullmatch(r"([A-Za-z_]\w*)=(.*)", filled[0])):
            variables[assignment[1]] = assignment[2]
            filled = filled[1:]
        yield Command(filled, variables, here_document)
