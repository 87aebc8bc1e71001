"""Files truncated and bit-flipped by hand, in every region of them."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from drills.outcome import Outcome, drill
from drills.process import Ended, Repeater
from drills.scene import Scene, log_lines

#: Damages of each kind of file: so many flipped bits, so many truncations.
FLIPS, CUTS = 60, 15
KINDS = ("shard", "score table", "rule", "run log", "plan", "decisions")


@dataclass
class _Case:
    """One kind of file: which, what reads it, and whether the outcome is as undisturbed."""

    what: str
    stage: str
    files: Sequence[Path]
    command: Sequence[object]
    unharmed: Callable[[Ended], bool]
    #: Whether deleting the file the message names makes the command run again.
    recomputed: bool = False
    #: What a command may change besides its own output, and has to get back.
    restored: Sequence[Path] = ()


def damaged_files(
    scene: Scene,
    chance: random.Random,
    flips: int = FLIPS,
    cuts: int = CUTS,
    kinds: Sequence[str] = KINDS,
) -> Iterator[Outcome]:
    """Damage every kind of file the commands read; each is refused by name, or unharmed."""
    place = scene.fresh("damage", with_store=True)
    for path in scene.undisturbed.iterdir():
        if path.is_file():
            shutil.copy2(path, place / path.name)
    if "plan" in kinds:
        shutil.copy2(scene.folder / "plan.json", place / "plan.json")
    with Repeater() as commands:
        for case in _cases(scene, place):
            if case.what in kinds:
                yield _damage(chance, case, commands, (flips, cuts))


def _cases(scene: Scene, place: Path) -> Iterator[_Case]:
    out = place / "out"
    out.mkdir()

    def same(name: str) -> bool:
        return (out / name).read_bytes() == (scene.undisturbed / name).read_bytes()

    def kept(_: Ended) -> bool:
        return all(same(name) for name in scene.outputs("select"))

    score = scene.arguments("score", place)
    score[score.index("-o") + 1] = out / "scores.parquet"
    shards = sorted((place / "store").rglob("*.parquet"))
    yield _Case("shard", "score", shards, score, lambda _: same("scores.parquet"), True)
    scores, rule = place / "scores.parquet", place / "rule.json"
    select = scene.select(out, rule, scores)
    yield _Case("score table", "select", [scores], select, kept)
    yield _Case("rule", "select", [rule], select, kept)
    log = place / "runs.jsonl"
    fit = scene.arguments("fit", out)
    fit[1] = log
    yield _Case("run log", "fit", [log], fit, lambda _: same("rule.json"))
    experiment = scene.arguments("experiment", place)
    experiment[2] = place / "plan.json"

    def all_runs(_: Ended) -> bool:
        return log_lines(log) == log_lines(scene.undisturbed / "runs.jsonl")

    yield _Case("run log", "experiment", [log], experiment, all_runs)
    yield _Case(
        *("plan", "experiment", [place / "plan.json"], experiment),
        all_runs,
        restored=[log],
    )
    decisions = place / "kept.jsonl.decisions.parquet"
    explain = ["explain", decisions, 5, "--json"]
    said: list[str] = []

    def explained(ended: Ended) -> bool:
        said.append(ended.out)
        return ended.out == said[0]

    yield _Case("decisions", "explain", [decisions], explain, explained)


def _damage(
    chance: random.Random,
    case: _Case,
    commands: Repeater,
    times: tuple[int, int],
) -> Outcome:
    with drill(f"{case.what} damaged", case.stage) as outcome:
        ended = commands.run(case.command)
        outcome.expect(ended.code == 0 and case.unharmed(ended), f"undamaged: {ended.tail}")
        before = {path: path.read_bytes() for path in case.restored}
        for flip in [True] * times[0] + [False] * times[1]:
            path = chance.choice(case.files)
            whole = path.read_bytes()
            what = _flip(path, whole, chance) if flip else _cut(path, whole, chance)
            ended = commands.run(case.command)
            if ended.error and case.recomputed and chance.random() < 0.2:
                path.unlink()
                again = commands.run(case.command)
                right = again.code == 0 and case.unharmed(again)
                outcome.expect(right, f"{what}, then deleted: {again.tail}")
                outcome.expect(path.exists(), f"{what}, then deleted: not computed again")
                outcome.ended("refused by name, deleted, same bits")
            elif ended.error:
                # A plan names other files; a flip in a path is found where it leads to.
                named = path.name in ended.error or case.what == "plan"
                outcome.expect(named, f"{what}: {ended.error}")
                outcome.ended("refused by name")
            else:
                right = ended.code == 0 and case.unharmed(ended)
                outcome.expect(right, f"{what}: values changed, or {ended.tail}")
                outcome.ended("unharmed" if right else "HARMED")
            path.write_bytes(whole)
            for other, content in before.items():
                other.write_bytes(content)
    return outcome


def _flip(path: Path, whole: bytes, chance: random.Random) -> str:
    offset, bit = chance.randrange(len(whole)), chance.randrange(8)
    damaged = bytearray(whole)
    damaged[offset] ^= 1 << bit
    path.write_bytes(damaged)
    return f"{path.name} of {len(whole)} bytes, bit {bit} of byte {offset} flipped"


def _cut(path: Path, whole: bytes, chance: random.Random) -> str:
    length = chance.randrange(len(whole))
    path.write_bytes(whole[:length])
    return f"{path.name} of {len(whole)} bytes cut at {length}"
