"""What runs on a GPU gives what a processor gives in float32, to rounding."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch

from instructmining.evaluation.inference_loss import inference_loss, training_sequence
from instructmining.experiments.tuning.finetune import Finetuner
from instructmining.experiments.tuning.training import Job, TrainingSetting
from instructmining.models.causal import load_causal_lm
from instructmining.models.chat import ChatTokenizer
from instructmining.models.likelihood import target_losses
from instructmining.models.packed import PackedModel, packed, packs
from models.tiny import files_of, save_causal_lm
from texts import examples_of

pytestmark = pytest.mark.gpu

EXAMPLES = examples_of(24, seed=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_causal_lm(
        tmp_path_factory.mktemp("tiny"), hidden_size=128, num_attention_heads=4, head_dim=32
    )


def losses(folder: Path, device: str, dtype: torch.dtype, *, pack: bool = True) -> np.ndarray:
    model = load_causal_lm(files_of(folder), torch.device(device), dtype)
    chat = ChatTokenizer(folder)
    if pack:
        assert packs(model)
        assert isinstance(packed(model, chat.prefix, constant=True), PackedModel)
    return inference_loss(model, chat, EXAMPLES).nll_sums


def test_packed_in_bfloat16_the_losses_are_those_of_float32(folder):
    expected = losses(folder, "cpu", torch.float32)
    found = losses(folder, "cuda", torch.bfloat16)
    # A random model is unsure of little, so rounding tells; where it attends to what it must
    # not, losses double.
    np.testing.assert_allclose(found, expected, rtol=0.05)
    assert found.sum() == pytest.approx(expected.sum(), rel=5e-3)


def test_gradients_pass_through_the_kernel(folder):
    chat = ChatTokenizer(folder)
    batch = [training_sequence(t) for t in chat.tokenise(EXAMPLES[:6]) if t is not None]
    gradients = []
    for device, dtype in (("cpu", torch.float32), ("cuda", torch.bfloat16)):
        model = load_causal_lm(files_of(folder), torch.device(device), dtype)
        model.requires_grad_(False)
        weight = model.get_decoder().layers[0].self_attn.q_proj.weight
        weight.data = weight.data.float()
        weight.requires_grad_(True)
        target_losses(PackedModel(model, chat.prefix), batch).mean().backward()
        gradients.append(weight.grad.double().cpu())
    expected, found = gradients
    assert expected.norm() > 0
    assert (found - expected).norm() / expected.norm() < 0.05


def test_side_by_side_each_run_ends_as_it_does_alone(folder):
    setting = TrainingSetting(learning_rate=1e-2, epochs=2, batch_size=4, max_tokens=256)
    tuner = Finetuner.by_name(str(folder), setting)
    assert tuner.together == 8
    jobs = [Job(EXAMPLES[start : start + 8], start) for start in (0, 8, 16)]
    with closing(tuner.tuned_together(jobs)) as tuned:
        found = [inference_loss(one.model, tuner.chat, EXAMPLES).token_mean for one in tuned]
    untuned = inference_loss(tuner.base, tuner.chat, EXAMPLES).token_mean
    for job, one in zip(jobs, found, strict=True):
        with tuner.tuned(job.examples, seed=job.seed) as model:
            alone = inference_loss(model, tuner.chat, EXAMPLES).token_mean
        assert abs(one - alone) < 0.05 * abs(alone - untuned)
