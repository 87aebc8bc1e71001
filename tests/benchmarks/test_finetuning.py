from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import finetuning
from instructmining.evaluation import inference_loss as evaluation
from instructmining.experiments.tuning import finetune
from instructmining.experiments.tuning.finetune import Finetuner
from instructmining.experiments.tuning.training import TrainingSetting
from instructmining.models.packed import PackedModel
from models.tiny import save_causal_lm
from texts import examples_of

pytestmark = pytest.mark.usefixtures("one_thread")


def test_before_means_padded_and_only_inside(tmp_path, monkeypatch):
    tuner = Finetuner.by_name(str(save_causal_lm(tmp_path)), TrainingSetting(max_tokens=256))
    seen: list[type] = []
    losses = finetune.target_losses

    def watch(model: object, *rest: object) -> object:
        seen.append(type(model))
        return losses(model, *rest)

    monkeypatch.setattr(finetune, "target_losses", watch)
    monkeypatch.setattr(evaluation, "target_losses", watch)
    kinds = []
    for context in (finetuning.padded, None):
        seen.clear()
        if context is None:
            run(tuner)
        else:
            with context():
                run(tuner)
        kinds.append({kind is PackedModel for kind in seen})
    assert kinds == [{False}, {True}]


def run(tuner: Finetuner) -> None:
    examples = examples_of(4)
    with tuner.tuned(examples, seed=0) as model:
        evaluation.inference_loss(model, tuner.chat, examples)


def test_a_mixture_is_drawn_from_every_source(shared_data: Path):
    examples, pool = finetuning.mixture(16, seed=0)
    assert len(examples) == 16
    assert pool == "the pilot's six sources"
    assert len({example.source for example in examples}) == len(finetuning.FILES)
