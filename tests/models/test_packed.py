from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    GraniteConfig,
    GraniteForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from instructmining.models.causal import load_causal_lm
from instructmining.models.layers import (
    decoder_of,
    final_norms,
    layer_stack,
    layers_between,
    splits,
)
from instructmining.models.pack import Pack
from instructmining.models.packed import PackedModel, packs
from models.tiny import files_of, save_causal_lm

pytestmark = pytest.mark.usefixtures("one_thread")

SIZES = {
    "vocab_size": 400,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "initializer_range": 0.4,
}
PREFIX = np.array([7, 3, 9], dtype=np.int32)
#: Lengths, and whether the row begins with the prefix.
ROWS = [(9, True), (4, True), (6, False), (3, False), (12, True)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = save_causal_lm(tmp_path_factory.mktemp("tiny"), num_hidden_layers=3)
    return load_causal_lm(files_of(folder), torch.device("cpu"), torch.float32)


def batch(rows: list[tuple[int, bool]] = ROWS) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    ids = torch.randint(10, 400, (len(rows), max(length for length, _ in rows)))
    mask = torch.zeros_like(ids)
    for row, (length, sharing) in enumerate(rows):
        mask[row, :length] = 1
        if sharing:
            ids[row, : len(PREFIX)] = torch.from_numpy(PREFIX)
    return ids, mask


def plain(model: Any, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return model.get_decoder()(input_ids=ids, attention_mask=mask, use_cache=False)[0]


@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("rows", [ROWS, ROWS[:1], ROWS[2:4], [(4, True), (4, True)]])
def test_a_packed_batch_gives_the_states_of_a_padded_one(model, rows, constant):
    ids, mask = batch(rows)
    here = mask.bool()
    if constant:  # nobody asks a cached prefix for its states
        here[torch.tensor([sharing for _, sharing in rows]), : len(PREFIX)] = False
    with torch.no_grad():
        expected = plain(model, ids, mask)
        found = PackedModel(model, PREFIX, constant=constant)(ids, mask).last_hidden_state
    torch.testing.assert_close(found[here], expected[here], rtol=1e-4, atol=1e-5)


def test_gradients_pass_through_the_shared_prefix(model):
    ids, mask = batch()
    weight = model.model.layers[0].self_attn.k_proj.weight.requires_grad_(True)
    direction = torch.randn(mask.sum(), 32, generator=torch.Generator().manual_seed(2))
    found = []
    for run in (lambda: plain(model, ids, mask), lambda: PackedModel(model, PREFIX)(ids, mask)):
        out = run()
        states = getattr(out, "last_hidden_state", out)
        (gradient,) = torch.autograd.grad((states[mask.bool()] * direction).sum(), weight)
        found.append(gradient)
    weight.requires_grad_(False)
    assert found[0].abs().max() > 0.1
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-4)


def test_the_model_attends_as_before_afterwards(model):
    ids, mask = batch()
    before, expected = model.config._attn_implementation, plain(model, ids, mask)
    PackedModel(model, PREFIX)(ids, mask)
    assert model.config._attn_implementation == before
    assert torch.equal(plain(model, ids, mask), expected)


def test_padding_is_not_run_and_the_prefix_only_once(model):
    seen: list[int] = []
    first = model.model.layers[0]
    handle = first.register_forward_hook(lambda *call: seen.append(call[1][0].shape[1]))
    ids, mask = batch()
    PackedModel(model, PREFIX)(ids, mask)
    handle.remove()
    assert seen == [int(mask.sum()) - 2 * len(PREFIX)]


def test_with_constant_weights_the_prefix_is_run_once_for_all_batches(model):
    packed = PackedModel(model, PREFIX, constant=True)
    ids, mask = batch()
    with torch.inference_mode():
        packed(ids, mask)
        seen: list[int] = []
        handle = model.model.layers[0].register_forward_hook(
            lambda *call: seen.append(call[1][0].shape[1])
        )
        packed(ids, mask)
    handle.remove()
    assert seen == [int(mask.sum()) - 3 * len(PREFIX)]


def test_a_layout_places_every_token():
    pack = Pack.of([5, 2, 3], [True, False, True], 2)
    assert pack.positions().tolist() == [0, 1, 2, 3, 4, 0, 1, 2]
    assert pack.gather(5).tolist() == [[0, 1, 2, 3, 4], [5, 6, 0, 0, 0], [0, 1, 7, 0, 0]]
    assert Pack.of([2], [False], 2).n_prefix == 0


def test_a_cache_is_refused(model):
    ids, mask = batch()
    with pytest.raises(ValueError, match="no cache"):
        PackedModel(model, PREFIX)(ids, mask, use_cache=True)


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda: LlamaForCausalLM(LlamaConfig(**SIZES)), True),
        (lambda: Qwen3ForCausalLM(Qwen3Config(**SIZES)), True),
        (lambda: MistralForCausalLM(MistralConfig(**SIZES, sliding_window=None)), True),
        (lambda: MistralForCausalLM(MistralConfig(**SIZES, sliding_window=4)), False),
        (lambda: LlamaForCausalLM(LlamaConfig(**SIZES, attention_dropout=0.1)), False),
        (
            lambda: GPT2LMHeadModel(GPT2Config(vocab_size=400, n_embd=32, n_layer=2, n_head=2)),
            False,
        ),
    ],
)
def test_which_models_are_packed_is_found_out(build, expected):
    torch.manual_seed(0)
    assert packs(build().eval()) is expected


def test_an_attention_that_ignores_the_layout_is_found_out(monkeypatch):
    from transformers.models.llama import modeling_llama as module

    interface = module.ALL_ATTENTION_FUNCTIONS
    deaf = type("Deaf", (), {"get_interface": lambda self, *_: interface["sdpa"]})()
    monkeypatch.setattr(module, "ALL_ATTENTION_FUNCTIONS", deaf)
    assert not packs(LlamaForCausalLM(LlamaConfig(**SIZES)).eval())


# Some layers on their own


@pytest.mark.parametrize("cut", [0, 1, 3])
def test_two_parts_make_the_whole(model, cut):
    ids, mask = batch()
    decoder = decoder_of(model)
    with torch.no_grad():
        expected = plain(model, ids, mask)
        with layers_between(decoder, 0, cut):
            states = plain(model, ids, mask)
        with layers_between(decoder, cut, None):
            found = decoder(inputs_embeds=states, attention_mask=mask, use_cache=False)[0]
        again = plain(model, ids, mask)
    assert torch.equal(found, expected)
    assert torch.equal(again, expected)
    assert not torch.equal(states, expected)


def test_whether_a_model_can_be_cut_is_found_out(model):
    torch.manual_seed(0)
    scaling = GraniteForCausalLM(GraniteConfig(**SIZES, embedding_multiplier=3.0)).eval()
    assert packs(scaling)
    assert not splits(scaling, 1)
    assert splits(model, 1)
    assert not splits(
        GPT2LMHeadModel(GPT2Config(vocab_size=400, n_embd=32, n_layer=2, n_head=2)), 1
    )


def test_layers_and_norms_are_found_by_any_name(model):
    gpt2 = GPT2LMHeadModel(GPT2Config(vocab_size=400, n_embd=32, n_layer=2, n_head=2)).get_decoder()
    assert layer_stack(gpt2) is gpt2.h
    assert final_norms(gpt2) == [gpt2.ln_f]
    assert layer_stack(model.model) is model.model.layers
    assert final_norms(model.model) == [model.model.norm]
