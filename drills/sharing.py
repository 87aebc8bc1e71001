"""Two processes on one store at once."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

from drills.outcome import Outcome, drill
from drills.process import finish, kill_at, start
from drills.scene import Scene


def two_processes(scene: Scene, chance: random.Random, times: int = 2) -> Iterator[Outcome]:
    """Start a stage twice on one store: at one moment, a little later, with one killed."""
    yield together(scene, chance, times)
    yield _one_killed(scene, chance, times)
    yield _shared_log(scene)


def together(scene: Scene, chance: random.Random, times: int) -> Outcome:
    """Score twice at once, started at one moment or one a little later."""
    with drill("two processes, one store", "score") as outcome:
        for number in range(times):
            place, delay = scene.fresh(f"together-{number}"), 0.0
            if number % 2:
                delay = chance.uniform(0.0, scene.durations["score"])
            first = start(_arguments(scene, place, "first"))
            time.sleep(delay)
            second = start(_arguments(scene, place, "second"))
            for name, process in (("first", first), ("second", second)):
                scene.check("score", place / name, finish(process), outcome)
            outcome.ended("both ended, same bits")
    return outcome


def _one_killed(scene: Scene, chance: random.Random, times: int) -> Outcome:
    with drill("two processes, one killed", "score") as outcome:
        for number in range(times):
            place = scene.fresh(f"killed-beside-{number}")
            survivor = start(_arguments(scene, place, "survivor"))
            at = chance.uniform(0.3, 0.9) * scene.durations["score"]
            kill_at(start(_arguments(scene, place, "killed")), lambda s, at=at: s > at)
            scene.check("score", place / "survivor", finish(survivor), outcome)
            outcome.ended("the other ended, same bits")
    return outcome


def _shared_log(scene: Scene) -> Outcome:
    with drill("two processes, one log", "experiment") as outcome:
        place = scene.fresh("shared-log")
        both = [
            start([*scene.arguments("experiment", place), "--shard", shard])
            for shard in ("1/2", "2/2")
        ]
        for process in both:
            ended = finish(process)
            outcome.expect(ended.code == 0, f"{place.name}: {ended.tail}")
        outcome.expect(scene.same("experiment", place), f"{place.name}: other runs than alone")
        outcome.ended("both ended, same bits")
    return outcome


def _arguments(scene: Scene, place: Path, name: str) -> list[object]:
    arguments = scene.arguments("score", place)
    arguments[arguments.index("-o") + 1] = place / name / "scores.parquet"
    return arguments
