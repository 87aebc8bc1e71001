"""Models that change under the same name: before, between and during runs."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl

from drills.outcome import Outcome, drill
from drills.process import Ended, finish, run, snapshot, start
from drills.scene import Scene


def changed_models(scene: Scene, chance: random.Random) -> Iterator[Outcome]:
    """Change weights, tokenizer, template and configuration, one at a time, then back."""
    yield _changed(scene)
    yield _changed_while_running(scene)
    yield _changed_under_a_plan(scene)


def _changed(scene: Scene) -> Outcome:
    with drill("model changed under its name", "score") as outcome:
        place = scene.fresh("model", with_store=True)
        model = place / "lm"
        shutil.copytree(scene.folder / "lm", model)
        original = _score(scene, place, model)
        outcome.expect(original.code == 0, f"as it was: {original.tail}")
        first = pl.read_parquet(place / "scores.parquet")["nll"]
        for name, change in CHANGES.items():
            path = model / name
            whole, status = path.read_bytes(), path.stat()
            path.write_bytes(change(whole))
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
            ended = _score(scene, place, model)
            outcome.expect(ended.code == 0, f"{name}: {ended.tail}")
            reused = _reused(ended)
            outcome.expect(reused == 0, f"{name}: {reused} scores of the old model reused")
            now = pl.read_parquet(place / "scores.parquet")["nll"]
            outcome.expect(not now.equals(first), f"{name}: the scores are still the old ones")
            outcome.ended("nothing of the old reused")
            path.write_bytes(whole)
        before = snapshot(place / "store")
        ended = _score(scene, place, model)
        now = pl.read_parquet(place / "scores.parquet")["nll"]
        outcome.expect(now.equals(first), "as it was again: other bits")
        outcome.expect(snapshot(place / "store") == before, "as it was again: computed again")
        outcome.ended("changed back: all reused, same bits")
    return outcome


def _changed_while_running(scene: Scene) -> Outcome:
    with drill("model changed while running", "score") as outcome:
        for how in (_replace, _overwrite):
            place = scene.fresh(f"model-{how.__name__}")
            model = place / "lm"
            shutil.copytree(scene.folder / "lm", model)
            arguments = _arguments(scene, place, model)
            process = start(arguments)
            while process.poll() is None and not list(place.glob("store/nll-*/*.parquet")):
                pass
            ran = process.poll() is None
            how(model / "model.safetensors", _other_weights)
            ended = finish(process)
            label = f"{how.__name__.strip('_')} during the pass"
            outcome.expect(ran, f"{label}: the command ended too soon")
            if ended.code == 0:
                same = _nll(place).equals(_nll(scene.undisturbed))
                outcome.expect(same, f"{label}: scores of neither the old model nor the new")
            else:
                outcome.expect(bool(ended.error), f"{label}: {ended.tail}")
            again = run(arguments)
            outcome.expect(again.code == 0, f"{label}, run again: {again.tail}")
            outcome.expect(_reused(again) == 0, f"{label}, run again: old scores reused")
            clean = scene.fresh("model-clean")
            run(_arguments(scene, clean, model))
            right = _nll(place).equals(_nll(clean))
            outcome.expect(right, f"{label}, run again: scores of neither model")
            outcome.ended("old scores to the end" if ended.code == 0 else "exit 2, one line")
    return outcome


def _changed_under_a_plan(scene: Scene) -> Outcome:
    with drill("model changed under a plan", "experiment") as outcome:
        place = scene.fresh("model-plan")
        path = scene.folder / "lm" / "model.safetensors"
        whole = path.read_bytes()
        try:
            path.write_bytes(_other_weights(whole))
            ended = scene.run("experiment", place)
        finally:
            path.write_bytes(whole)
        outcome.expect("the plan was drawn for" in ended.error, ended.tail)
        outcome.expect(not (place / "runs.jsonl").exists(), "runs were logged")
        outcome.ended("exit 2, one line")
    return outcome


def _other_weights(whole: bytes) -> bytes:
    # The header of a safetensors file stands in front, tensors of float32 behind it.
    kept, last = whole[:-4096], bytearray(whole[-4096:])
    last[1::4] = bytes(byte ^ 1 for byte in last[1::4])
    return kept + last


def _other_tokens(whole: bytes) -> bytes:
    tokenizer = json.loads(whole)
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["a"], vocabulary["e"] = vocabulary["e"], vocabulary["a"]
    return json.dumps(tokenizer).encode()


#: File of the model to how it is changed.
CHANGES: dict[str, Callable[[bytes], bytes]] = {
    "model.safetensors": _other_weights,
    "tokenizer.json": _other_tokens,
    "config.json": lambda whole: whole.replace(b'"rms_norm_eps": 1e-06', b'"rms_norm_eps": 1e-02'),
    "chat_template.jinja": lambda whole: whole.replace(b"briefly", b"at length"),
}


def _replace(path: Path, change: Callable[[bytes], bytes]) -> None:
    new = path.with_name("new")
    new.write_bytes(change(path.read_bytes()))
    new.replace(path)


def _overwrite(path: Path, change: Callable[[bytes], bytes]) -> None:
    changed = change(path.read_bytes())
    with path.open("rb+") as handle:
        handle.write(changed)


def _arguments(scene: Scene, place: Path, model: Path) -> list[object]:
    return [
        *("score", scene.folder / "pool.jsonl", "-o", place / "scores.parquet"),
        *("--indicators", "nll", "--lm", model, "--store", place / "store"),
    ]


def _score(scene: Scene, place: Path, model: Path) -> Ended:
    return run(_arguments(scene, place, model))


def _nll(place: Path) -> pl.Series:
    return pl.read_parquet(place / "scores.parquet")["nll"]


def _reused(ended: Ended) -> int:
    lines = [line for line in ended.err.splitlines() if ": reused " in line]
    return sum(int(line.partition(": reused ")[2].split()[0]) for line in lines)
