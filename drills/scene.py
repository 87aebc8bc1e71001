"""What drills act on: tiny models, small pools, a plan; and the commands of every stage."""

from __future__ import annotations

import json
import random
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from drills.outcome import Outcome
from drills.process import Ended, run

COLUMNS = ("len_out", "mtld", "nll", "ifd", "knn_6")
STAGES = ("score", "experiment", "fit", "select")
#: What a line of a run log holds that does not differ from run to run.
_STABLE = (
    *("run", "mixture", "seed", "plan", "base_model", "training", "versions"),
    *("n_examples", "sources", "indicators", "losses"),
)
_WORDS = ["the", "a", "cat", "dog", "sees", "finds", "green", "old", "river", "house", "and"]


@dataclass
class Scene:
    """A folder with everything the commands need, and what they make of it undisturbed.

    Parameters
    ----------
    folder : Path
        Where it is built; see `build`.
    n_rows : int
        Rows of the pool.
    columns : tuple of str
        Columns that ``score`` computes.

    Attributes
    ----------
    undisturbed : Path
        Folder of the outputs of every stage, made without a fault.
    durations : dict of str to float
        Seconds each stage took then.
    shards : dict of str to set of Path
        Shards each stage added to the one store then.
    """

    folder: Path
    n_rows: int = 300
    columns: tuple[str, ...] = COLUMNS
    durations: dict[str, float] = field(default_factory=dict)
    shards: dict[str, set[Path]] = field(default_factory=dict)

    @property
    def undisturbed(self) -> Path:
        """Outputs made without a fault."""
        return self.folder / "undisturbed"

    def build(self, stages: Sequence[str] = STAGES) -> Scene:
        """Write models and pools; draw the plan; run every stage once."""
        _save_models(self.folder)
        self._write_pools()
        if "experiment" in stages:
            ended = run(self._plan_arguments())
            if ended.code != 0:
                raise RuntimeError(f"the plan could not be drawn: {ended.tail}")
        for stage in stages:
            before = shards_of(self.undisturbed)
            began = time.perf_counter()
            ended = run(self.arguments(stage, self.undisturbed))
            self.durations[stage] = time.perf_counter() - began
            if ended.code != 0:
                raise RuntimeError(f"undisturbed {stage} failed: {ended.tail}")
            self.shards[stage] = shards_of(self.undisturbed) - before
        return self

    def arguments(self, stage: str, place: Path) -> list[object]:
        """Return the command of a stage that works and writes in `place`.

        ``fit`` and ``select`` read what the stages before them made undisturbed.
        """
        before = self.undisturbed
        if stage == "score":
            return [
                *("score", self.folder / "pool.jsonl", "-o", place / "scores.parquet"),
                *("--indicators", ",".join(self.columns), *self.models),
                *("--store", place / "store"),
            ]
        if stage == "experiment":
            return [
                *("experiment", "run", self.folder / "plan.json", "-o", place / "runs.jsonl"),
                *("--indicators", "mtld", "--store", place / "store"),
            ]
        if stage == "fit":
            log = before / "runs.jsonl"
            return ["fit", log, "-o", place / "rule.json", "--column", "mtld", "--name", "drilled"]
        return self.select(place, before / "rule.json", before / "scores.parquet")

    def select(self, place: Path, rule: Path, scores: Path) -> list[object]:
        """Return the command that keeps a fifth of the pool by a rule and a score table."""
        return [
            *("select", self.folder / "pool.jsonl", "-o", place / "kept.jsonl", "--keep", "20%"),
            *("--rule", rule, "--scores", scores),
        ]

    @property
    def models(self) -> list[object]:
        """Options that name the tiny models."""
        return ["--lm", self.folder / "lm", "--encoder", self.folder / "encoder"]

    def outputs(self, stage: str) -> list[str]:
        """Names of the files a stage writes."""
        return {
            "score": ["scores.parquet"],
            "experiment": ["runs.jsonl"],
            "fit": ["rule.json"],
            "select": ["kept.jsonl", "kept.jsonl.decisions.parquet"],
        }[stage]

    def same(self, stage: str, place: Path) -> bool:
        """Whether a stage left in `place` the bits that it left undisturbed."""
        for name in self.outputs(stage):
            ours, theirs = place / name, self.undisturbed / name
            if not ours.exists():
                return False
            read = log_lines if stage == "experiment" else Path.read_bytes
            if read(ours) != read(theirs):
                return False
        return True

    def check(self, stage: str, place: Path, ended: Ended, outcome: Outcome) -> None:
        """Note a deviation unless a stage ended well in `place`, with the bits of undisturbed."""
        outcome.expect(ended.code == 0, f"{place}: {ended.tail}")
        outcome.expect(self.same(stage, place), f"{place}: other bits than undisturbed")

    def fresh(self, name: str, *, with_store: bool = False) -> Path:
        """Return an empty folder, or one with a copy of the undisturbed store."""
        place = self.folder / "drills" / name
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        if with_store:
            shutil.copytree(self.undisturbed / "store", place / "store")
        return place

    def run(self, stage: str, place: Path, **options: Any) -> Ended:
        """Run a stage to its end."""
        return run(self.arguments(stage, place), **options)

    def _plan_arguments(self) -> list[object]:
        return [
            *("experiment", "plan", "-o", self.folder / "plan.json", "--size", 8, "--seeds", 2),
            *("--source", f"few={self.folder / 'few.jsonl'}"),
            *("--source", f"many={self.folder / 'many.jsonl'}"),
            *("--evaluation", f"asked={self.folder / 'asked.jsonl'}"),
            *("--mixture", "m1=few", "--mixture", "m2=many", "--mixture", "m3=few:1,many:1"),
            *("--mixture", "m4=few:3,many:1", "--mixture", "m5=few:1,many:3"),
            *("--base-model", self.folder / "lm"),
        ]

    def _write_pools(self) -> None:
        chance = random.Random(0)
        rows = [
            _row(f"{row}: what then?", f"{row} {_words(chance, _WORDS, 3, 60)}")
            for row in range(self.n_rows)
        ]
        rows[7] = rows[3]
        rows[11] = _row("empty", "")
        _write(self.folder / "pool.jsonl", rows)
        kinds = {"few": ("abc", 60), "many": ("cdefghijklm", 60), "asked": ("nopqrst", 12)}
        for name, (letters, n) in kinds.items():
            vocabulary = ["".join(chance.choices(letters, k=4)) for _ in range(40 * len(letters))]
            _write(
                self.folder / f"{name}.jsonl",
                [
                    _row(_words(chance, vocabulary, 4, 8), _words(chance, vocabulary, 12, 30))
                    for _ in range(n)
                ],
            )


def shards_of(place: Path) -> set[Path]:
    """Return the shards of the store in `place`, relative to it."""
    return {path.relative_to(place) for path in place.glob("store/*/*.parquet")}


def log_lines(path: Path) -> list[dict[str, Any]]:
    """Read a run log without what differs from run to run: times, seals, order of lines."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    stable = [{key: line[key] for key in _STABLE} for line in lines]
    return sorted(stable, key=lambda line: str(line["run"]))


def _save_models(folder: Path) -> None:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
    from models.tiny import save_causal_lm, save_encoder

    if not (folder / "lm").exists():
        save_causal_lm(folder / "lm")
        (folder / "encoder").mkdir()
        save_encoder(folder / "encoder")


def _row(instruction: str, output: str) -> dict[str, str]:
    return {"instruction": instruction, "input": "", "output": output}


def _words(chance: random.Random, words: list[str], least: int, most: int) -> str:
    return " ".join(chance.choices(words, k=chance.randint(least, most)))


def _write(path: Path, rows: list[dict[str, str]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
