from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from instructmining.errors import ExperimentError
from instructmining.experiments.outlook import outlook


def run(mixture: str | None, seed: int | None, loss: float, seconds: float) -> dict[str, object]:
    return {
        "run": f"{mixture}-{seed}",
        "mixture": mixture,
        "seed": seed,
        "plan": "p",
        "n_examples": 4,
        "sources": {"a": 4},
        "indicators": {},
        "base_model": {"name": "tiny"},
        "training": {"method": "lora"},
        "losses": {"e": {"token_mean": loss, "example_mean": loss}},
        "seconds": {"train": seconds, "evaluate": 1.0},
    }


def write(path: Path, runs: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in runs), encoding="utf-8")
    return path


def test_noise_is_between_seeds_and_time_the_median_of_tuned_runs(tmp_path):
    log = write(
        tmp_path / "runs.jsonl",
        [
            run(None, None, 3.0, 99.0),
            run("m1", 0, math.exp(1.00), 9.0),
            run("m1", 1, math.exp(1.02), 9.0),
            run("m2", 0, math.exp(2.00), 1_900.0),  # the machine slept
        ],
    )
    found = outlook([log])
    assert found.noise == pytest.approx(math.sqrt(2 * 0.01**2))
    assert found.seconds == pytest.approx(10)
    assert found.n_runs == 3


def test_time_is_told_by_the_row_for_runs_of_another_size(tmp_path):
    runs = [run("m1", 0, 2.0, 4.0), run("m2", 0, 2.1, 16.0), run("m3", 0, 2.1, 900.0)]
    runs[1]["training"] = {"epochs": 4}
    found = outlook([write(tmp_path / "runs.jsonl", runs)])
    # Four seconds for four rows in one epoch, sixteen for four in four; the third slept.
    assert found.row_seconds == pytest.approx(1.0)
    assert found.of_rows(10, epochs=3) == pytest.approx(31.0)


def test_a_run_takes_the_median_time_where_training_is_not_told_apart(tmp_path):
    runs = [{**run(name, 0, 2.0, 9.0), "seconds": {"both": 10.0}} for name in ("m1", "m2")]
    found = outlook([write(tmp_path / "runs.jsonl", runs)])
    assert found.row_seconds is None
    assert found.of_rows(10, epochs=3) == found.seconds == pytest.approx(10.0)


def test_noise_is_unknown_without_a_mixture_of_two_seeds(tmp_path):
    log = write(tmp_path / "runs.jsonl", [run("m1", 0, 2.0, 9.0), run("m2", 0, 2.1, 9.0)])
    assert outlook([log]).noise is None


def test_a_log_without_tuned_runs_is_refused(tmp_path):
    log = write(tmp_path / "runs.jsonl", [run(None, None, 3.0, 99.0)])
    with pytest.raises(ExperimentError, match="0 tuned runs with 0 evaluation sets in common"):
        outlook([log])
