"""Clocks that go backwards, and files from the future."""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Iterator, Sequence

from drills.outcome import Outcome, drill
from drills.process import environment, snapshot
from drills.scene import STAGES, Scene

_YEAR = 365 * 86_400
#: Loaded by Python before anything else: every look at the clock goes an hour further back.
#: `datetime.now`, compiled, does not look here; only the `time` of a logged run comes from it.
_BACKWARDS = """
import time
_hours = 0
_time, _time_ns = time.time, time.time_ns
def _back():
    global _hours
    _hours += 1
    return 3600 * _hours
time.time = lambda: _time() - _back()
time.time_ns = lambda: _time_ns() - 1_000_000_000 * _back()
"""


def clocks(scene: Scene, chance: random.Random) -> Iterator[Outcome]:
    """Set the clock back in every stage; then date all files into the future or the past."""
    yield backwards(scene)
    yield _dated(scene, chance)


def backwards(scene: Scene, stages: Sequence[str] = STAGES) -> Outcome:
    """Run stages on a clock that only goes back."""
    with drill("clock going backwards", ", ".join(stages)) as outcome:
        folder = scene.fresh("clock-code")
        (folder / "sitecustomize.py").write_text(_BACKWARDS)
        path = os.pathsep.join([str(folder), environment()["PYTHONPATH"]])
        place = scene.fresh("clock")
        for stage in stages:
            ended = scene.run(stage, place, env={"PYTHONPATH": path})
            outcome.expect(ended.code == 0, f"{stage}: {ended.tail}")
            outcome.expect(scene.same(stage, place), f"{stage}: other bits than undisturbed")
            outcome.ended("same bits")
    return outcome


def _dated(scene: Scene, chance: random.Random) -> Outcome:
    with drill("files dated wrongly", "score, experiment") as outcome:
        for number, years in enumerate((10, -30)):
            place = scene.fresh(f"dated-{number}", with_store=True)
            shutil.copy2(scene.undisturbed / "runs.jsonl", place / "runs.jsonl")
            inputs = [path for path in scene.folder.iterdir() if path.suffix == ".jsonl"]
            models = [path for path in (scene.folder / "lm").iterdir() if path.is_file()]
            for path in [*place.rglob("*"), *inputs, *models]:
                when = time.time() + years * _YEAR + chance.uniform(0, _YEAR)
                os.utime(path, (when, when))
            before = snapshot(place / "store")
            for stage in ("score", "experiment"):
                ended = scene.run(stage, place)
                outcome.expect(ended.code == 0, f"{place.name} {stage}: {ended.tail}")
                same = scene.same(stage, place)
                outcome.expect(same, f"{place.name} {stage}: other bits than undisturbed")
            unchanged = snapshot(place / "store") == before
            outcome.expect(unchanged, f"{place.name}: what was stored was computed again")
            outcome.ended("all reused, same bits")
    return outcome
