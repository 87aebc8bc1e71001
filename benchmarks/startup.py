"""How long ``instructmining --help`` takes, beside an interpreter that does nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks.timing import Aim, Options, Row, in_turn

#: A start is short and its time scatters: so many for each repeat of the others.
STARTS = 5


def run(options: Options) -> list[Row]:
    """Start the command and a bare interpreter in turn; the file cache is warm."""
    script = Path(sys.executable).with_name("instructmining")
    command = [str(script)] if script.is_file() else [sys.executable, "-m", "instructmining"]
    commands = [*command, "--help"], [sys.executable, "-c", "pass"]

    def start(command: list[str]) -> None:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    for each in commands:
        start(each)
    ours, bare = in_turn(
        [lambda: start(commands[0]), lambda: start(commands[1])], STARTS * options.repeats
    )
    row = Row(
        what="instructmining --help",
        unit="s",
        ours=ours.seconds,
        theirs=bare.seconds,
        against="python -c pass",
        aim=Aim("ours", 0.3),
        higher_is_better=False,
    )
    return [row]
