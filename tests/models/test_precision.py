from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from instructmining.models.causal import load_causal_lm
from instructmining.models.layers import decoder_of
from instructmining.models.likelihood import TargetSequence, target_losses
from instructmining.models.packed import PackedModel, packs
from models.tiny import files_of, save_causal_lm

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose weights are the same in both formats."""
    folder = save_causal_lm(
        tmp_path_factory.mktemp("tiny"), num_hidden_layers=16, initializer_range=0.05
    )
    plain(folder).save_pretrained(folder)
    return folder


def model_in(folder: Path, dtype: torch.dtype) -> torch.nn.Module:
    return load_causal_lm(files_of(folder), CPU, dtype)


def batch_of(n: int, vocab: int) -> list[TargetSequence]:
    draw = np.random.default_rng(0)
    return [TargetSequence(draw.integers(0, vocab, 40).astype(np.int32), 30) for _ in range(n)]


@torch.inference_mode()
def losses(model: torch.nn.Module, batch: list[TargetSequence]) -> torch.Tensor:
    return target_losses(model, batch)


def plain(folder: Path) -> torch.nn.Module:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).eval()


def test_states_are_added_up_in_float32_and_losses_are_nearer_to_those_of_float32(folder):
    exact, ours = (model_in(folder, dtype) for dtype in (torch.float32, torch.bfloat16))
    batch = batch_of(12, ours.config.vocab_size)
    states = decoder_of(ours)(input_ids=torch.tensor([[1, 2, 3]])).last_hidden_state
    assert ours.dtype == torch.bfloat16
    assert states.dtype == torch.float32
    wanted = losses(exact, batch)
    off = (losses(ours, batch) - wanted).abs().mean()
    off_plain = (losses(plain(folder), batch) - wanted).abs().mean()
    assert 0 < off < 0.7 * off_plain


def test_in_bfloat16_packed_sequences_have_the_losses_of_padded_ones(folder):
    model = model_in(folder, torch.bfloat16)
    batch = batch_of(5, model.config.vocab_size)
    assert packs(model)
    found = losses(PackedModel(model, np.empty(0, dtype=np.int32)), batch)
    assert torch.allclose(found, losses(model, batch), atol=0.05)


def test_the_logits_that_count_most_are_not_rounded(folder):
    model = model_in(folder, torch.bfloat16)
    batch = batch_of(4, model.config.vocab_size)
    head = model.get_output_embeddings()
    ids = torch.from_numpy(np.stack([one.ids for one in batch]).astype(np.int64))
    with torch.inference_mode():
        states = decoder_of(model)(input_ids=ids[:, :-1]).last_hidden_state[:, 9:]
        logits = states.to(torch.bfloat16).float() @ head.weight.float().T
        wanted = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), ids[:, 10:].flatten(), reduction="none"
        )
        rounded = torch.nn.functional.cross_entropy(
            logits.bfloat16().float().flatten(0, 1), ids[:, 10:].flatten(), reduction="none"
        )
    off = (losses(model, batch) - wanted).abs().mean()
    assert off < 0.7 * (rounded - wanted).abs().mean()


def test_a_float32_model_is_left_as_it_is(folder):
    model = model_in(folder, torch.float32)
    assert not model.get_input_embeddings()._forward_hooks
    assert "forward" not in vars(model)
