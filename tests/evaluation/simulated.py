"""Losses of methods whose true differences are known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

#: Tokens of the references: log-normal, the longest tenth with about a third of all.
TOKENS = (4.0, 0.7)


@dataclass(frozen=True)
class World:
    """What losses are drawn from; standard deviations are of log losses.

    `prompts` is 0.05 nats on losses of about 2 nats per token, `seeds` what the pilot of this
    project found; a difference of two methods has √2 times each.
    """

    n_prompts: int = 96
    seeds: float = 0.001
    prompts: float = 0.025 / 2**0.5
    interaction: float = 0.006
    #: Effect of a seed on every method alike, and of a draw on `random` alone.
    shared: float = 0.003
    draw: float = 0.0015
    #: Degrees of freedom of Student's t for the prompts; None is normal.
    tail: float | None = None
    tokens: tuple[float, float] = TOKENS

    def draw_losses(
        self,
        rng: np.random.Generator,
        n_seeds: int,
        effects: Mapping[str, float],
        n: int | None = None,
    ) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Loss sums by method, ([n,] n_seeds, n_prompts), and tokens, ([n,] n_prompts).

        `effects` are the true log ratios of each method's loss to a common one.
        """
        lead = () if n is None else (n,)
        shape = (*lead, 1, self.n_prompts)
        tokens = np.ceil(rng.lognormal(*self.tokens, size=shape))
        base = tokens * rng.lognormal(0.7, 0.3, size=shape)
        common = self.shared * rng.normal(size=(*lead, n_seeds, 1))
        losses = {}
        for method, effect in effects.items():
            spread = self.seeds if method != "random" else np.hypot(self.seeds, self.draw)
            noise = (
                spread * rng.normal(size=(*lead, n_seeds, 1))
                + self.prompts * self._of_prompts(rng, shape)
                + self.interaction * rng.normal(size=(*lead, n_seeds, self.n_prompts))
            )
            losses[method] = base * np.exp(effect) * (1.0 + common + noise)
        return losses, tokens[..., 0, :]

    def _of_prompts(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        if self.tail is None:
            return rng.normal(size=shape)
        return rng.standard_t(self.tail, size=shape) / np.sqrt(self.tail / (self.tail - 2))
