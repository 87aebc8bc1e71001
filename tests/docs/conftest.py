"""A folder with small files of the names that the pages use, and a cache that pages share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from instructmining.models.sources import DEFAULT_ENCODER, DEFAULT_LM, cache_folder, is_ready
from models.tiny import save_causal_lm

ROOT = Path(__file__).resolve().parents[2]
#: Rows of the demonstration pool that stand for every pool: the shortest, which are soon scored.
N_ROWS = 60
#: Runs of the committed log that stand for one's own.
N_RUNS = 60


def shortest(n: int) -> list[dict[str, Any]]:
    lines = (ROOT / "examples" / "demo_pool.jsonl").read_text(encoding="utf-8").splitlines()
    good = [row for row in map(json.loads, lines) if row["defect"] == "none"]
    return sorted(good, key=lambda row: len(row["instruction"]) + len(row["output"]))[:n]


def write_lines(path: Path, records: list[dict[str, Any]]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(one) + "\n" for one in records), encoding="utf-8")


def runs_of(evaluation: str) -> list[dict[str, Any]]:
    """Committed runs, measured on what a page calls its evaluation set."""
    lines = (ROOT / "experiments" / "rule" / "runs.jsonl").read_text().splitlines()[:N_RUNS]
    runs = [json.loads(line) for line in lines]
    for one in runs:
        one["losses"] = {evaluation: one["losses"]["human-fit"]}
        del one["sha256"]
    return runs


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with the two small models and a store of its own; skip without the models."""
    models = cache_folder() / "models"
    if not (is_ready(DEFAULT_LM) and is_ready(DEFAULT_ENCODER)):
        pytest.skip("the small models are not here; `instructmining download` fetches them")
    folder = tmp_path_factory.mktemp("cache")
    (folder / "models").symlink_to(models, target_is_directory=True)
    return folder


@pytest.fixture(scope="session")
def my_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_causal_lm(tmp_path_factory.mktemp("my-model"))


@pytest.fixture
def folder(
    tmp_path: Path, my_model: Path, shared_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """The working folder of a page."""
    rows = shortest(N_ROWS)
    evaluation = (ROOT / "examples" / "demo_eval.jsonl").read_text(encoding="utf-8").splitlines()
    short = sorted(evaluation, key=len)[:12]
    for name in ("examples/demo_pool.jsonl", "pool.jsonl"):
        write_lines(tmp_path / name, rows)
    for name in ("examples/demo_eval.jsonl", "eval.jsonl"):
        write_lines(tmp_path / name, [json.loads(line) for line in short])
    for name, part in (("a", rows[:30]), ("b", rows[30:])):
        write_lines(tmp_path / "pool" / f"{name}.jsonl", part)
    (tmp_path / "alpaca_data.json").write_text(json.dumps(rows), encoding="utf-8")
    (tmp_path / "dolly.json").write_text(json.dumps(rows[::-1]), encoding="utf-8")
    (tmp_path / "my-model").symlink_to(my_model, target_is_directory=True)
    write_lines(tmp_path / "runs.jsonl", runs_of("theirs"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("INSTRUCTMINING_CACHE", str(shared_cache))
    return tmp_path
