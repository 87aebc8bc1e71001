"""Run logs with known coefficients."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from instructmining.rules.transforms import TRANSFORMS, apply_transform

RunMaker = Callable[..., list[dict[str, Any]]]

#: What the log loss of simulated runs depends on.
INTERCEPT = 1.2
COEFFICIENTS = {"log1p(len_out)": -0.05, "nll": 0.3}
SCALES = {"len_out": 80.0, "nll": 1.0, "mtld": 50.0}


def _rows(rng: np.random.Generator, tilt: np.ndarray, n: int) -> dict[str, np.ndarray]:
    return {
        name: scale * np.exp(tilt[i] + 0.3 * rng.normal(size=n))
        for i, (name, scale) in enumerate(SCALES.items())
    }


def _indicators(rows: dict[str, np.ndarray]) -> dict[str, Any]:
    return {
        name: {
            "definition": {"indicator": name, "model": "tiny"},
            "n": len(values),
            "n_null": 0,
            "means": {kind: float(np.mean(apply_transform(kind, values))) for kind in TRANSFORMS},
            "quantiles": np.quantile(values, [0, 0.25, 0.5, 0.75, 1]).tolist(),
        }
        for name, values in rows.items()
    }


def _loss(log_loss: float) -> dict[str, Any]:
    return {
        "file": "eval.jsonl",
        "part": "fit",
        "n_examples": 60,
        "n_tokens": 9000,
        "nll_sum": 9000 * float(np.exp(log_loss)),
        "token_mean": float(np.exp(log_loss)),
        "example_mean": float(np.exp(1.1 * log_loss)),
    }


def simulate(
    n_mixtures: int = 12,
    n_seeds: int = 2,
    seed_noise: float = 0.0,
    mixture_noise: float = 0.0,
    rng_seed: int = 0,
) -> list[dict[str, Any]]:
    rng = np.random.default_rng(rng_seed)
    runs = []
    for mixture in range(n_mixtures):
        indicators = _indicators(_rows(rng, rng.normal(scale=0.5, size=len(SCALES)), 128))
        truth = (
            INTERCEPT
            + COEFFICIENTS["log1p(len_out)"] * indicators["len_out"]["means"]["log1p"]
            + COEFFICIENTS["nll"] * indicators["nll"]["means"]["identity"]
            + mixture_noise * rng.normal()
        )
        for seed in range(n_seeds):
            level = truth + seed_noise * rng.normal()
            runs.append(
                {
                    "run": f"m{mixture:02}-s{seed}",
                    "mixture": f"m{mixture:02}",
                    "seed": seed,
                    "plan": "abc",
                    "n_examples": 128,
                    "sources": {"simulated": 128},
                    "indicators": indicators,
                    "base_model": {"name": "tiny", "weights": "0f"},
                    "training": {"method": "lora", "rate": 1e-3},
                    # Two sets whose mean log loss is `level`.
                    "losses": {"human": _loss(level - 0.1), "machine": _loss(level + 0.1)},
                }
            )
    return runs


def untuned_run() -> dict[str, Any]:
    return {
        "run": "base",
        "mixture": None,
        "seed": 0,
        "plan": "abc",
        "n_examples": 0,
        "indicators": {},
        "base_model": {"name": "tiny", "weights": "0f"},
        "training": None,
        "losses": {"human": _loss(5.0), "machine": _loss(5.0)},
    }


@pytest.fixture
def make_runs() -> RunMaker:
    return simulate


@pytest.fixture
def write_log(tmp_path: Path) -> Callable[[list[dict[str, Any]]], Path]:
    def write(runs: list[dict[str, Any]]) -> Path:
        path = tmp_path / "runs.jsonl"
        path.write_text("".join(json.dumps(run) + "\n" for run in runs), encoding="utf-8")
        return path

    return write


@pytest.fixture
def untuned() -> dict[str, Any]:
    return untuned_run()


@pytest.fixture
def truth() -> dict[str, float]:
    return {"intercept": INTERCEPT, **COEFFICIENTS}
