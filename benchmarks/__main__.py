"""Run benchmarks and print one table.

Usage: python -m benchmarks [NAME ...] [--rows N] [--repeats N] [--seed N] [--output FOLDER]

Exits with 1 if scores that should agree do not; a missed aim is reported and no failure.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from rich.console import Console

from benchmarks.report import show, write
from benchmarks.timing import REPOSITORY, Options, Row, machine, say

#: In the order they run: each is a module of this folder with a function `run`.
NAMES = ("startup", "ceiling", "likelihood", "heads", "encoder", "mtld", "knn")
#: Run only if named.
OTHERS = ("trials", "accelerator", "cluster")

#: Columns of the table where it is not printed on a terminal.
WIDTH = 160


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks named, by default all; return the exit status."""
    parser = _parser()
    given = parser.parse_args(arguments)
    if unknown := sorted({*given.names} - {*NAMES, *OTHERS}):
        known = ", ".join((*NAMES, *OTHERS))
        parser.error(f"no benchmark {', '.join(unknown)}; there are {known}")
    options = Options(given.rows, given.repeats, given.seed, given.wana_python)
    described = machine(options.seed)
    rows: list[Row] = []
    for name in given.names or NAMES:
        say(f"{name} …")
        rows += import_module(f"benchmarks.{name}").run(options)
        # What is measured stays, should a later benchmark fail.
        write(rows, described, given.output)
    # Off a terminal rich takes 80 columns, which seven cells do not fit.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH)
    show(rows, described, console)
    say(f"written: {given.output / 'bench.md'}, {given.output / 'bench.json'}")
    return 0 if all(row.agrees for row in rows) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=main.__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--rows", type=_count, help="rows of the pool; by default each its own")
    parser.add_argument("--repeats", type=_count, default=3, help="rounds")
    parser.add_argument("--seed", type=int, default=0, help="seed of the sample of rows")
    parser.add_argument("--wana-python", type=Path, help="interpreter that has wana")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "bench-output")
    return parser


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text}: at least 1 is wanted")
    return number


if __name__ == "__main__":
    sys.exit(main())
