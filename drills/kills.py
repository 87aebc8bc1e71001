"""``kill -9`` at random moments of every stage."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet as pq

from drills.outcome import Outcome, drill
from drills.process import Ended, Snapshot, kill_at, snapshot, start
from drills.scene import STAGES, Scene, shards_of

#: A command is killed so often, then it is left to end.
_PER_SERIES = 5
OLD = b"what stood here before\n"
#: Column to the shelf of the store that holds it.
_SHELVES = {"mtld": "mtld", "len_out": "len", "nll": "nll", "ifd": "ifd", "knn_6": "embedding"}


def kills(scene: Scene, chance: random.Random, times: dict[str, int]) -> Iterator[Outcome]:
    """Kill each stage so many times, several times in one series; then compare.

    Half of the moments are uniform over the command's duration, most of which is loading;
    the other half follow a write: so many files have appeared, or the log has grown.
    """
    for stage in STAGES:
        if stage in times:
            yield _stage(scene, chance, stage, times[stage])


def _stage(scene: Scene, chance: random.Random, stage: str, times: int) -> Outcome:
    with drill("kill -9", stage) as outcome:
        series = 0
        while outcome.times < times and series < 3 * times:
            series += 1
            place = scene.fresh(f"kill-{stage}-{series}")
            for name in scene.outputs(stage) if stage in ("fit", "select") else ():
                (place / name).write_bytes(OLD)
            _series(scene, chance, stage, place, outcome, times)
    return outcome


def _series(
    scene: Scene, chance: random.Random, stage: str, place: Path, outcome: Outcome, times: int
) -> None:
    left = min(_PER_SERIES, times - outcome.times)
    while True:
        before, log = snapshot(place / "store"), _log(place)
        reusable = _rows_stored(place / "store")
        process = start(scene.arguments(stage, place))
        due = _moment(scene, chance, stage, place) if left else lambda _: False
        ended = kill_at(process, due)
        _check(stage, place, before, log, outcome)
        _check_reused(ended, reusable, outcome)
        if ended.code == -9:
            left -= 1
            outcome.ended("killed, went on")
            _check_outputs(scene, stage, place, outcome)
            continue
        outcome.expect(ended.code == 0, f"{place.name}: run again, {ended.tail}")
        outcome.expect(scene.same(stage, place), f"{place.name}: other bits than undisturbed")
        planned = shards_of(place) == scene.shards[stage]
        outcome.expect(planned, f"{place.name}: other shards than planned")
        return


def _moment(
    scene: Scene, chance: random.Random, stage: str, place: Path
) -> Callable[[float], bool]:
    if chance.random() < 0.5:
        at = chance.uniform(0.0, scene.durations[stage])
        return lambda seconds: seconds > at
    grown = chance.randint(1, {"score": 20, "experiment": 10}.get(stage, 1))
    delay = chance.uniform(0.0, 0.03)
    first = _progress(place)
    reached: list[float] = []

    def due(seconds: float) -> bool:
        if not reached and _progress(place) >= first + grown:
            reached.append(seconds)
        return bool(reached) and seconds >= reached[0] + delay

    return due


def _progress(place: Path) -> int:
    """Count what has been written: files, unfinished ones too, and lines of the log."""
    return sum(path.is_file() for path in place.rglob("*")) + _log(place).count(b"\n")


def _log(place: Path) -> bytes:
    path = place / "runs.jsonl"
    return path.read_bytes() if path.exists() else b""


def _check(stage: str, place: Path, before: Snapshot, log: bytes, outcome: Outcome) -> None:
    after = snapshot(place / "store")
    changed = [str(path) for path, stamp in before.items() if after.get(path) != stamp]
    outcome.expect(not changed, f"{place.name}: stored and written again: {changed[:3]}")
    whole = log[: log.rfind(b"\n") + 1]
    outcome.expect(_log(place).startswith(whole), f"{place.name}: logged lines were changed")


def _check_outputs(scene: Scene, stage: str, place: Path, outcome: Outcome) -> None:
    """After a kill an output is as before, whole, or (for a log) a beginning of the whole."""
    if stage == "experiment":
        return
    for name in scene.outputs(stage):
        path, whole = place / name, (scene.undisturbed / name).read_bytes()
        left = path.read_bytes() if path.exists() else OLD
        outcome.expect(left in (OLD, whole), f"{place.name}: {name} is neither old nor whole")


def _rows_stored(store: Path) -> dict[str, int]:
    """Count the rows each shelf of a store holds, by the indicator's name."""
    rows: dict[str, int] = {}
    for path in store.glob("*/*.parquet"):
        name = path.parent.name.rpartition("-")[0]
        rows[name] = rows.get(name, 0) + pq.read_metadata(path).num_rows
    return rows


def _check_reused(ended: Ended, stored: dict[str, int], outcome: Outcome) -> None:
    """Hold what a command says it reuses against what was on the disk when it began.

    Shelves of one stage are written one after the other, so one may be a batch ahead.
    """
    for line in ended.err.splitlines():
        stage, found, rest = line.partition(": reused ")
        rows = [stored.get(_SHELVES[name], 0) for name in stage.split() if name in _SHELVES]
        if found and rows:
            said = int(rest.split()[0])
            right = min(rows) <= said <= max(rows)
            outcome.expect(right, f"{stage}: {rows} rows were stored, {said} reused")
