"""Run logs made of arrays, for tests in which the truth is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from instructmining.rules.transforms import TRANSFORMS

EXAMPLES = 1000


def log_of(
    features: Mapping[str, np.ndarray],
    losses: Sequence[Sequence[float]],
    shares: np.ndarray | None = None,
    other: Sequence[Sequence[float]] | None = None,
) -> list[dict[str, Any]]:
    """Write runs down as a log has them; every transform of a column has the same mean.

    `losses` are log losses by mixture and seed, weighted by token; `other` those by example.
    """
    other = losses if other is None else other
    shares = np.ones((len(losses), 1)) if shares is None else shares
    counts = np.round(shares * EXAMPLES).astype(int)
    runs = []
    for i, seeds in enumerate(losses):
        indicators = {
            name: {
                "definition": {"indicator": name},
                "n": EXAMPLES,
                "n_null": 0,
                "means": dict.fromkeys(TRANSFORMS, float(values[i])),
                "quantiles": [
                    values[i] - 4,
                    values[i] - 1,
                    values[i],
                    values[i] + 1,
                    values[i] + 4,
                ],
            }
            for name, values in features.items()
        }
        for seed, level in enumerate(seeds):
            runs.append(
                {
                    "run": f"m{i:03}-s{seed}",
                    "mixture": f"m{i:03}",
                    "seed": seed,
                    "plan": "simulated",
                    "n_examples": EXAMPLES,
                    "sources": {f"s{k}": int(n) for k, n in enumerate(counts[i]) if n},
                    "indicators": indicators,
                    "base_model": {"name": "tiny", "weights": "0f"},
                    "training": {"method": "lora"},
                    "losses": {
                        "human": {
                            "file": "eval.jsonl",
                            "part": "fit",
                            "n_examples": 60,
                            "n_tokens": 9000,
                            "token_mean": float(np.exp(level)),
                            "example_mean": float(np.exp(other[i][seed])),
                        }
                    },
                }
            )
    return runs


def drawn_shares(rng: np.random.Generator, n: int, n_sources: int) -> np.ndarray:
    """Source shares of mixtures, in thousandths; about half of the sources are left out."""
    held = rng.random((n, n_sources)) < 0.5
    held[np.arange(n), rng.integers(n_sources, size=n)] = True
    raw = rng.gamma(1.0, size=(n, n_sources)) * held
    counts = np.floor(raw / raw.sum(axis=1, keepdims=True) * EXAMPLES)
    counts[np.arange(n), counts.argmax(axis=1)] += EXAMPLES - counts.sum(axis=1)
    return counts / EXAMPLES


def series(
    n: int = 120,
    slopes: Mapping[str, float] | None = None,
    *,
    n_sources: int = 4,
    mixture_noise: float = 0.02,
    seed_noise: float = 0.01,
    n_seeds: Sequence[int] | int = 1,
    rng_seed: int = 0,
) -> list[dict[str, Any]]:
    """Runs of mixtures whose loss is linear in columns and source shares, plus noise."""
    rng = np.random.default_rng(rng_seed)
    slopes = {"len_out": -0.05, "nll": 0.05} if slopes is None else slopes
    shares = drawn_shares(rng, n, n_sources)
    styles = rng.normal(size=(len(slopes), n_sources))
    features = {
        name: shares @ style + rng.normal(size=n)
        for name, style in zip(slopes, styles, strict=True)
    }
    level = 1.0 + shares @ rng.normal(scale=0.05, size=n_sources)
    level = level + sum(slope * features[name] for name, slope in slopes.items())
    level = level + mixture_noise * rng.normal(size=n)
    repeats = np.resize(n_seeds, n)
    losses = [
        [value + seed_noise * rng.normal() for _ in range(k)]
        for value, k in zip(level, repeats, strict=True)
    ]
    return log_of(features, losses, shares)
