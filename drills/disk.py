"""Disks that fill up: a limit on the size of files, a small disk of its own, a full device."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from drills.kills import OLD
from drills.outcome import Outcome, drill
from drills.process import Ended, run, snapshot
from drills.scene import Scene

#: Largest file in bytes, by stage; the outputs and shards of `Scene` are larger.
_LIMITS = {
    "score": (0, 1_000, 2_400, 13_500, 20_000),
    "experiment": (0, 700, 5_000),
    "fit": (0, 1_000),
    "select": (0, 5_000, 15_000),
}
#: Kilobytes of the small disk; `score` needs about 150.
_DISKS = (16, 64, 104)


def full_disks(scene: Scene, chance: random.Random) -> Iterator[Outcome]:
    """Fill the disk under every stage, then free space and run again."""
    for stage, limits in _LIMITS.items():
        yield limited(scene, stage, limits)
    yield _small_disk(scene)
    yield _full_device(scene)


def _small_disk(scene: Scene) -> Outcome:
    with drill("disk full (tmpfs)", "score") as outcome:
        for size in _DISKS:
            place = scene.fresh(f"tmpfs-{size}")
            with _mounted(place, size) as mounted:
                if not mounted:
                    outcome.ended("skipped: mounting is not permitted")
                    continue
                ended = scene.run("score", place)
                _check_refused(scene, "score", place, ended, outcome)
                _mount("-o", f"remount,size={4 << 10}k", str(place))
                _check_again(scene, "score", place, outcome)
    return outcome


def limited(scene: Scene, stage: str, limits: tuple[int, ...]) -> Outcome:
    """Run one stage under limits on the size of files, each then without."""
    with drill("disk full (file size limit)", stage) as outcome:
        for limit in limits:
            place = scene.fresh(f"limit-{stage}-{limit}")
            if stage != "experiment":
                for name in scene.outputs(stage):
                    (place / name).write_bytes(OLD)
            ended = scene.run(stage, place, file_limit=limit)
            _check_refused(scene, stage, place, ended, outcome)
            _check_again(scene, stage, place, outcome)
    return outcome


def _check_refused(scene: Scene, stage: str, place: Path, ended: Ended, outcome: Outcome) -> None:
    outcome.expect(bool(ended.error), f"{place.name}: {ended.tail}")
    outcome.expect("cannot be written" in ended.error, f"{place.name}: {ended.error}")
    left = [str(path) for path in place.rglob("*.tmp")]
    outcome.expect(not left, f"{place.name}: left over: {left}")
    if stage != "experiment":
        for name in scene.outputs(stage):
            now = (place / name).read_bytes() if (place / name).exists() else OLD
            outcome.expect(now == OLD, f"{place.name}: {name} was changed")
    outcome.ended("exit 2, one line")


def _check_again(scene: Scene, stage: str, place: Path, outcome: Outcome) -> None:
    before = snapshot(place / "store")
    ended = scene.run(stage, place)
    after = snapshot(place / "store")
    outcome.expect(ended.code == 0, f"{place.name}: with space again, {ended.tail}")
    outcome.expect(scene.same(stage, place), f"{place.name}: other bits than undisturbed")
    kept = all(after.get(path) == stamp for path, stamp in before.items())
    outcome.expect(kept, f"{place.name}: what was stored was written again")


def _full_device(scene: Scene) -> Outcome:
    with drill("/dev/full", "score") as outcome:
        place = scene.fresh("device")
        ended = run([*scene.arguments("score", place), "-o", "/dev/full"])
        outcome.expect("device or pipe" in ended.error, f"-o /dev/full: {ended.tail}")
        outcome.ended("exit 2, one line")
        # The table stands before its name is printed to the full device.
        light = scene.arguments("score", place)
        light[light.index("--indicators") + 1] = "len_out,mtld"
        with Path("/dev/full").open("w") as full:
            ended = run(light, stdout=full)
        outcome.expect(bool(ended.error), f"standard output full: {ended.tail}")
        outcome.expect((place / "scores.parquet").exists(), "standard output full: no table")
        outcome.ended("exit 2, one line")
    return outcome


@contextmanager
def _mounted(place: Path, kilobytes: int) -> Iterator[bool]:
    mounted = _mount("-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(place))
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", str(place)], check=True)


def _mount(*arguments: str) -> bool:
    try:
        done = subprocess.run(["mount", *arguments], capture_output=True, check=False)
    except FileNotFoundError:
        return False
    return done.returncode == 0
