"""Workers of a Ray cluster killed, and the command that leads them."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from drills.outcome import Outcome, drill
from drills.process import finish, kill_at, start
from drills.scene import Scene

#: How Ray calls the process of a worker that runs a pass.
_WORKER = "ray::_RemoteHand"
#: Seconds for a cluster to start on a busy machine.
_PATIENCE = 120.0


def clusters(scene: Scene, chance: random.Random, times: int = 5) -> Iterator[Outcome]:
    """Score on a cluster, and kill some of its workers, or the command."""
    yield workers_killed(scene, chance, times)
    yield _command_killed(scene, chance, times)


def workers_killed(scene: Scene, chance: random.Random, times: int) -> Outcome:
    """Kill a worker at a random moment; the command goes on by itself."""
    with drill("a worker of a cluster killed", "score") as outcome:
        for number in range(times):
            place = scene.fresh(f"worker-{number}")
            process = start(_arguments(scene, place))
            killed = _kill_worker(process.pid, chance)
            scene.check("score", place, finish(process), outcome)
            if killed:
                outcome.ended("it went on, same bits")
    return outcome


def _command_killed(scene: Scene, chance: random.Random, times: int) -> Outcome:
    with drill("the command that leads a cluster killed", "score") as outcome:
        for number in range(times):
            place = scene.fresh(f"leader-{number}")
            # A cluster takes some seconds to start; before that there is nothing to lose.
            at = chance.uniform(8.0, 8.0 + 2 * scene.durations["score"])
            kill_at(start(_arguments(scene, place)), lambda s, at=at: s > at)
            scene.check("score", place, scene.run("score", place), outcome)
            outcome.ended("gone on with by one process, same bits")
    return outcome


def _arguments(scene: Scene, place: Path) -> list[object]:
    return [*scene.arguments("score", place), "--engine", "ray", "--workers", "2"]


def _kill_worker(command: int, chance: random.Random) -> bool:
    """Kill a worker of a command some time after it appears; return whether there was one."""
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until and _parent(command) is not None:
        workers = [pid for pid in _processes() if _is_worker_of(pid, command)]
        if workers:
            time.sleep(chance.uniform(0.0, 2.0))
            with suppress(ProcessLookupError):
                os.kill(chance.choice(workers), signal.SIGKILL)
                return True
        time.sleep(0.01)
    return False


def _processes() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def _is_worker_of(pid: int, command: int) -> bool:
    with suppress(OSError):
        if not (Path("/proc") / str(pid) / "cmdline").read_text().startswith(_WORKER):
            return False
        above: int | None = pid
        while above not in (None, 0, 1):
            if above == command:
                return True
            above = _parent(above)
    return False


def _parent(pid: int | None) -> int | None:
    with suppress(OSError, IndexError):
        words = (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()
        return None if words[0] == "Z" else int(words[1])
    return None
