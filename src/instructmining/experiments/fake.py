"""A fine-tuner that tunes nothing and whose answer is known.

For tests of code that plans, runs, resumes or refits experiments: a whole series takes
milliseconds, and a rule fitted from its log must find the coefficients that were put in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from instructmining.errors import ExperimentError
from instructmining.examples import Example
from instructmining.experiments.runs import indicator_summary
from instructmining.experiments.tuning.training import Job, Tuned
from instructmining.rules.transforms import feature_name
from instructmining.scoring.table import ScoreTable


@dataclass(frozen=True)
class FakeModel:
    """What `FakeFinetuner` yields in place of a model.

    Parameters
    ----------
    log_loss : float
        Log of its loss in nats per token, the same on every example.
    """

    log_loss: float


@dataclass(frozen=True)
class FakeFinetuner:
    """Stands in for `finetune.Finetuner`, with a loss that is known beforehand.

    The log loss of a "tuned" model is ``intercept + sum(coefficient * mean) + noise * z``.
    The means are those of the mixture's rows, exactly as the run log records them; ``z`` is
    standard normal and a function of the mixture's rows and the training seed alone, so that
    neither the order of the runs nor an interruption matters.

    Parameters
    ----------
    scores : ScoreTable
        Indicators of all rows of all mixtures; give `Executor` the same table.
    coefficients : mapping of str to float
        Indicator column to change of log loss per unit of its (transformed) mean.
    intercept : float
        Log loss where all means are zero.
    noise : float
        Standard deviation of the log loss over seeds and mixtures.
    transforms : mapping of str to str
        Column to its transform, one of `rules.transforms.TRANSFORMS`; columns not named
        stay as they are.
    untuned : float
        Log loss of the untuned model.
    together : int
        Runs an executor may ask for at one time.

    Examples
    --------
    >>> fake = FakeFinetuner(scores, {"mtld": -0.01}, intercept=1.0)  # doctest: +SKIP
    >>> Executor(plan, log, fake, fake.measure, scores).run()  # doctest: +SKIP
    """

    scores: ScoreTable
    coefficients: Mapping[str, float]
    intercept: float = 0.0
    noise: float = 0.0
    transforms: Mapping[str, str] = field(default_factory=dict)
    untuned: float = 2.0
    together: int = 1

    def tuned_together(self, jobs: Sequence[Job]) -> Generator[Tuned, None, None]:
        """Tune one after the other."""
        for place, job in enumerate(jobs):
            with self.tuned(job.examples, seed=job.seed) as model:
                yield Tuned(place, model, 0.0)

    @property
    def base(self) -> FakeModel:
        """The untuned model."""
        return FakeModel(self.untuned)

    @contextmanager
    def tuned(
        self,
        examples: Sequence[Example],
        *,
        seed: int,
    ) -> Iterator[FakeModel]:
        """Yield a model whose loss is a linear function of the mixture's indicator means.

        Parameters
        ----------
        examples : sequence of Example
            The mixture; order does not matter.
        seed : int
            Seed of the noise.

        Raises
        ------
        ExperimentError
            If an example or a column is missing in the scores, or a mean is undefined.
        """
        digests = sorted(example.digest for example in examples)
        yield FakeModel(self._expected(digests) + self.noise * _standard_normal(digests, seed))

    def measure(self, model: FakeModel, examples: Sequence[Example]) -> Mapping[str, Any]:
        """Return the loss of `model` on an evaluation set, as it stands in a run log.

        Every word of a reference counts as one token, and so does its end.
        """
        # torch is loaded with it, which a test of a plan need not wait for.
        from instructmining.evaluation.inference_loss import InferenceLoss

        n_tokens = np.array([len(e.response.split()) + 1 for e in examples], dtype=np.int64)
        return InferenceLoss(n_tokens * np.exp(model.log_loss), n_tokens).to_json()

    def _expected(self, digests: Sequence[str]) -> float:
        definitions = {name: self.scores.definitions.get(name, {}) for name in self.coefficients}
        rows = pl.DataFrame({"example": digests}, schema={"example": pl.String})
        summary = indicator_summary(rows, definitions, self.scores.frame)
        total = self.intercept
        for name, coefficient in self.coefficients.items():
            transform = self.transforms.get(name, "identity")
            mean = summary[name]["means"].get(transform)
            if mean is None:
                raise ExperimentError(
                    f"mean of {feature_name(name, transform)} over {len(digests)} rows is "
                    "undefined; give scores with values, and a known transform"
                )
            total += coefficient * mean
        return total


def _standard_normal(digests: Sequence[str], seed: int) -> float:
    text = "\n".join([str(seed), *digests])
    entropy = int.from_bytes(hashlib.sha256(text.encode()).digest(), "big")
    return float(np.random.default_rng(entropy).standard_normal())
