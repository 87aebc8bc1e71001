"""Start the command line in processes of its own, watch them and kill them."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

#: Seconds after which a command hangs; on an idle core none takes a fiftieth of it.
TIMEOUT = 900
_POLL = 0.002
_ERROR = "instructmining: error: "


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes
    ----------
    code : int
        Exit code; minus the signal if it was killed.
    out, err : str
        What it said.
    """

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line of a refusal; empty if there is none, or more than one, or a traceback."""
        lines = [line for line in self.err.splitlines() if line.startswith(_ERROR)]
        right = self.code == 2 and len(lines) == 1 and self.err.endswith(lines[0] + "\n")
        return lines[0] if right and "Traceback" not in self.err else ""

    @property
    def tail(self) -> str:
        """The end of what it said, on one line, for reports."""
        return f"exit {self.code}, {' '.join(self.err.split())[-300:]!r}"


def environment(**changes: str) -> dict[str, str]:
    """Return the environment of every command: one thread, no network."""
    return {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
        "COLUMNS": "120",
        "PYTHONPATH": os.pathsep.join([*(p for p in sys.path if p)]),
        **changes,
    }


def start(
    arguments: Sequence[object],
    *,
    module: str = "instructmining",
    env: Mapping[str, str] | None = None,
    file_limit: int | None = None,
    stdout: Any = subprocess.PIPE,
) -> subprocess.Popen[str]:
    """Start ``python -m module arguments``, with files limited to `file_limit` bytes if given."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        assert file_limit is not None
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, resource.RLIM_INFINITY))

    return subprocess.Popen(
        [sys.executable, "-m", module, *map(str, arguments)],
        env=environment(**(env or {})),
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=limit if file_limit is not None else None,  # noqa: PLW1509 - no threads here
    )


def finish(process: subprocess.Popen[str]) -> Ended:
    """Wait for the end of a command."""
    out, err = process.communicate(timeout=TIMEOUT)
    return Ended(process.returncode, out or "", err)


def run(arguments: Sequence[object], **options: Any) -> Ended:
    """Start a command and wait for its end."""
    return finish(start(arguments, **options))


def kill_at(process: subprocess.Popen[str], due: Callable[[float], bool]) -> Ended:
    """Kill a command without warning as soon as ``due(seconds since its start)``.

    A command that ends before is left in peace; its exit code tells.
    """
    began = time.perf_counter()
    while process.poll() is None and not due(time.perf_counter() - began):
        time.sleep(_POLL)
        if time.perf_counter() - began > TIMEOUT:
            break
    if process.poll() is None:
        process.kill()
    return finish(process)


class Repeater:
    """One process that runs many commands, one after the other, through the same `main`.

    Starting Python costs seconds, reading one damaged file milliseconds: where hundreds of
    files are damaged in turn, the interpreter is started once.
    """

    def __enter__(self) -> Repeater:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "drills.repeated"],
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def run(self, arguments: Sequence[object]) -> Ended:
        """Run one command; a crash of the interpreter is an ending too."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([str(a) for a in arguments]) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            code = self._process.wait()
            self.__enter__()
            return Ended(code or -1, "", "the interpreter died")
        return Ended(**json.loads(answer))


Snapshot = dict[Path, tuple[int, int, int]]


def snapshot(folder: Path) -> Snapshot:
    """Return inode, time of change and size of every finished file below a folder."""
    found: Snapshot = {}
    for path in folder.rglob("*") if folder.exists() else ():
        if path.is_file() and path.suffix != ".tmp":
            status = path.stat()
            found[path.relative_to(folder)] = (
                status.st_ino,
                status.st_mtime_ns,
                status.st_size,
            )
    return found
