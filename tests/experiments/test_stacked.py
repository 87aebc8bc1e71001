from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from instructmining.errors import ExperimentError
from instructmining.evaluation.inference_loss import inference_loss, training_sequence
from instructmining.experiments.tuning import finetune
from instructmining.experiments.tuning.finetune import Finetuner
from instructmining.experiments.tuning.stacked import evened, stacked
from instructmining.experiments.tuning.training import Job, TrainingSetting
from models.tiny import save_causal_lm
from texts import examples_of

SETTING = TrainingSetting(rank=4, learning_rate=1e-2, epochs=2, batch_size=4, max_tokens=256)
#: Mixtures of as many rows, and of fewer: the last takes fewer steps.
MIXTURES = [examples_of(10, seed=1), examples_of(10, seed=2), examples_of(10, seed=3)]
SHORT = examples_of(5, seed=4)
EVALUATION = examples_of(5, seed=5)


@pytest.fixture(autouse=True)
def _in_float32(monkeypatch: pytest.MonkeyPatch, one_thread: None) -> None:
    monkeypatch.setattr(finetune, "pick_device", lambda: torch.device("cpu"))
    monkeypatch.setattr(finetune, "pick_dtype", lambda device: torch.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_causal_lm(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def tuner(folder: Path) -> Finetuner:
    return Finetuner.by_name(str(folder), SETTING, together=4)


def losses(tuner: Finetuner, model: Any) -> np.ndarray:
    return inference_loss(model, tuner.chat, EVALUATION, tuner.frozen).nll_sums


def alone(tuner: Finetuner, jobs: list[Job]) -> list[np.ndarray]:
    found = []
    for job in jobs:
        with tuner.tuned(
            job.examples, seed=job.seed, steps_per_epoch=job.steps_per_epoch, steps=job.steps
        ) as model:
            found.append(losses(tuner, model))
    return found


def together(tuner: Finetuner, jobs: list[Job]) -> dict[int, np.ndarray]:
    with closing(tuner.tuned_together(jobs)) as tuned:
        return {one.place: losses(tuner, one.model) for one in tuned}


@pytest.mark.parametrize("budget", [1_024, 150], ids=["whole", "cut"])
def test_side_by_side_each_run_ends_as_it_does_alone(tuner, budget, monkeypatch):
    monkeypatch.setattr(finetune, "training_budget", lambda model: budget)
    jobs = [Job(rows, seed) for seed, rows in enumerate(MIXTURES)]
    expected = alone(tuner, jobs)
    found = together(tuner, jobs)
    untuned = losses(tuner, tuner.base)
    for place, one in enumerate(expected):
        np.testing.assert_allclose(found[place], one, rtol=2e-4)
        assert np.abs(one / untuned - 1).max() > 1e-2  # the rows and the seed matter
    assert np.abs(expected[0] / expected[1] - 1).max() > 2e-3


def test_runs_of_other_lengths_are_not_mixed(tuner):
    jobs = [Job(MIXTURES[0], 0), Job(SHORT, 1), Job(MIXTURES[1], 2, steps=3), Job(SHORT, 3)]
    expected, found = alone(tuner, jobs), together(tuner, jobs)
    assert sorted(found) == [0, 1, 2, 3]
    for place, one in enumerate(expected):
        np.testing.assert_allclose(found[place], one, rtol=2e-4)


def test_afterwards_the_base_model_is_what_it_was(tuner):
    before = {name: value.clone() for name, value in tuner.base.state_dict().items()}
    kinds = {name: type(module) for name, module in tuner.base.named_modules()}
    tuned = tuner.tuned_together([Job(MIXTURES[0], 0), Job(MIXTURES[1], 1)])
    next(tuned)
    assert {name: type(module) for name, module in tuner.base.named_modules()} != kinds
    tuned.close()
    after = tuner.base.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert {name: type(module) for name, module in tuner.base.named_modules()} == kinds
    assert not any(parameter.requires_grad for parameter in tuner.base.parameters())


def test_gradients_are_clipped_run_by_run(tuner):
    batches = [
        [training_sequence(t) for t in tuner.chat.tokenise(rows[:4]) if t is not None]
        for rows in MIXTURES[:2]
    ]
    with stacked(tuner.base, SETTING, [0, 1]) as stack:
        stack.accumulate_gradients(batches, 4_096)
        gradients = [p.grad.clone() for p in stack.parameters]
        norms = torch.stack([g.square().flatten(1).sum(1) for g in gradients]).sum(0).sqrt()
        limit = float(norms.mean())  # one run is above it, the other below
        stack.clip(limit)
        for parameter, gradient in zip(stack.parameters, gradients, strict=True):
            for run in range(2):
                factor = min(1.0, limit / float(norms[run]))
                torch.testing.assert_close(parameter.grad[run], gradient[run] * factor)


def test_batches_are_filled_up_with_what_carries_no_loss(tuner):
    batches = [
        [training_sequence(t) for t in tuner.chat.tokenise(rows) if t is not None]
        for rows in (MIXTURES[0], SHORT)
    ]
    filled = evened(batches)
    assert len({sum(s.n_inputs for s in batch) for batch in filled}) == 1
    longest = max(s.n_inputs for batch in batches for s in batch)
    for before, after in zip(batches, filled, strict=True):
        assert after[: len(before)] == before
        assert all(s.n_targets == 0 and 0 < s.n_inputs <= longest for s in after[len(before) :])


def test_a_run_that_diverges_is_told(folder):
    setting = TrainingSetting(learning_rate=1e30, epochs=3, batch_size=4, max_tokens=256)
    tuner = Finetuner.by_name(str(folder), setting, together=2)
    with pytest.raises(ExperimentError, match=r"training loss became nan; lower the learning"):
        together(tuner, [Job(MIXTURES[0], 0), Job(MIXTURES[1], 1)])


@pytest.mark.parametrize(
    "change", [{"n_layers": 1}, {"method": "full"}, {"method": "top", "n_layers": 1}], ids=str
)
def test_what_cannot_stand_side_by_side_runs_alone(folder, change):
    setting = TrainingSetting(**change)
    assert Finetuner.by_name(str(folder), setting, together=4).together == 1


def test_on_a_processor_runs_go_one_by_one_unless_asked(folder):
    assert Finetuner.by_name(str(folder), SETTING).together == 1
    assert Finetuner.by_name(str(folder), SETTING, together=4).together == 4
