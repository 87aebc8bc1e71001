"""Write docs/cli.md: every command with its arguments and options, read off the Typer app.

Usage: python docs/cli/generate.py
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin

import typer

from instructmining.cli.main import app

HERE = Path(__file__).resolve().parent
PAGE = HERE.with_suffix(".md")
COMMAND = "python docs/cli/generate.py"

_HEAD = f"""<!-- Written by `{COMMAND}` from src/instructmining/cli -->

# Command line

Data goes to standard output, talk to standard error. An error a user can mend is one line and exit
code 2. Ctrl-C ends with 130, and the same command then goes on where it was. How the commands
belong together: [choosing](index.md), [rules](refit.md), [proof](prove.md)."""


def page(root: typer.Typer) -> str:
    """Return the page of an app."""
    return "\n\n".join([_HEAD, *_commands(typer.main.get_command(root), "instructmining")]) + "\n"


def _commands(command: Any, name: str) -> Iterator[str]:
    """Yield the sections of a command and of those below it."""
    below = getattr(command, "commands", {})
    if not below:
        yield from _section(command, name)
    elif " " in name:
        yield f"## {name}"
        yield _text(command.help)
    for word, one in below.items():
        yield from _commands(one, f"{name} {word}")


def _section(command: Any, name: str) -> Iterator[str]:
    """Yield heading, what it does, how it is called, and what it takes."""
    given = [one for one in command.params if one.name != "help"]
    arguments = [one for one in given if not one.opts[0].startswith("-")]
    options = [one for one in given if one not in arguments]
    required = [f"{one.opts[0]} {_takes(one)}" for one in options if one.required]
    call = [name, *map(_argument, arguments), *required]
    call += ["[OPTIONS]"] * (len(required) < len(options))
    depth = name.count(" ") + 1
    yield f"{'#' * depth} {name}"
    yield _text(command.help)
    yield f"```text\n{' '.join(call)}\n```"
    if arguments:
        rows = [(f"`{_argument(one)}`", _text(one.help)) for one in arguments]
        yield _table(("argument", "what it is"), rows)
    if options:
        yield _table(("option", "takes", "by default", "what it does"), map(_option, options))


def _argument(one: Any) -> str:
    name = one.metavar or one.name.upper()
    return name if one.required else f"[{name}]"


def _option(one: Any) -> tuple[str, ...]:
    names = ", ".join(f"`{name}`" for name in (*one.opts, *one.secondary_opts))
    takes = f"`{_takes(one)}`" if not one.is_flag else ""
    return names, takes, _default(one), _text(one.help)


def _takes(one: Any) -> str:
    """Return what stands for an option's value: its own word, its choices, or its type."""
    if one.metavar:
        return str(one.metavar)
    kind = one.type_descriptor.annotation
    while get_args(kind) and get_origin(kind) is not Literal:
        kind = next(part for part in get_args(kind) if part is not NoneType)
    if get_origin(kind) is Literal:
        return "|".join(map(str, get_args(kind)))
    return {"str": "TEXT", "int": "N", "float": "NUMBER"}.get(kind.__name__, kind.__name__.upper())


def _default(one: Any) -> str:
    if one.required:
        return "required"
    if one.default in (None, False, (), []):
        return ""
    return f"`{one.opts[0].removeprefix('--') if one.default is True else one.default}`"


def _text(help_text: str | None) -> str:
    return " ".join((help_text or "").split())


def _table(header: Sequence[str], rows: Any) -> str:
    lines = [header, ["---"] * len(header), *rows]
    escaped = ([cell.replace("|", r"\|") for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in escaped)


if __name__ == "__main__":
    PAGE.write_text(page(app), encoding="utf-8")
