"""A store in an object store that is out of service now and then, and commands killed over it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

from drills.outcome import Outcome, drill
from drills.process import kill_at, run, start
from drills.scene import Scene


def object_stores(scene: Scene, chance: random.Random, times: int = 6) -> Iterator[Outcome]:
    """Score into an S3 server that refuses every so-many-th request, killed on the way."""
    yield killed(scene, chance, times)


def killed(scene: Scene, chance: random.Random, times: int) -> Outcome:
    """Kill `score` at random moments; started again it ends as on a disk."""
    from objects import s3_server

    with (
        drill("an object store that answers 503, and kills", "score") as outcome,
        s3_server() as s3,
    ):
        for number in range(times):
            place = scene.fresh(f"objects-{number}")
            s3.faults.every = chance.choice([3, 5, 11])
            arguments = _arguments(scene, place, s3.folder(f"store-{number}"))
            at = chance.uniform(0.3, 1.5) * scene.durations["score"]
            kill_at(start(arguments), lambda s, at=at: s > at)
            scene.check("score", place, run(arguments), outcome)
            outcome.ended("gone on with, same bits")
        outcome.expect(s3.faults.refused > times, f"only {s3.faults.refused} requests refused")
    return outcome


def _arguments(scene: Scene, place: Path, store: str) -> list[object]:
    arguments = scene.arguments("score", place)
    arguments[arguments.index("--store") + 1] = store
    return arguments
