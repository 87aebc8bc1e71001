"""Losses and gradients against plain autograd over full logits, one sequence at a time."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import transformers
from torch.nn.functional import cross_entropy
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from instructmining.models import likelihood
from instructmining.models.likelihood import (
    HEAD_CHUNK,
    PrefixCache,
    TargetSequence,
    sums_per_sequence,
    target_losses,
)
from models.tiny import save_causal_lm

pytestmark = pytest.mark.usefixtures("one_thread")

VOCABULARY = 400
#: (context, targets) lengths; more targets in all than the head sees at one time.
SHAPES = [(5, 3), (30, 200), (1, 1), (12, 150), (64, 7)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_causal_lm(tmp_path_factory.mktemp("lm"))


@pytest.fixture(scope="module")
def loaded(folder):
    return transformers.LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


@pytest.fixture
def model(loaded):
    return copy.deepcopy(loaded)


def sequences(shapes=SHAPES, seed=0):
    random = np.random.default_rng(seed)
    return [
        TargetSequence(random.integers(0, VOCABULARY, sum(shape), dtype=np.int32), shape[1])
        for shape in shapes
    ]


def straight_line(model, sequence, before=()):
    """Losses of one sequence from all its logits: no batch, no cache, no chunks."""
    ids = torch.tensor([[*before, *sequence.ids.tolist()]])
    logits = model(input_ids=ids, use_cache=False).logits[0]
    n = sequence.n_targets
    return cross_entropy(logits[-n - 1 : -1].float(), ids[0, -n:], reduction="none")


def reference(model, batch, before=()):
    return torch.cat([straight_line(model, sequence, before) for sequence in batch])


def close(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


# Values


def test_losses_are_those_of_full_logits(model):
    batch = sequences()
    assert sum(s.n_targets for s in batch) > HEAD_CHUNK

    with torch.no_grad():
        ours, theirs = target_losses(model, batch), reference(model, batch)

    assert ours.dtype == torch.float32
    assert theirs.std() > 0.1  # a model that predicts the same everywhere would prove nothing
    close(ours, theirs)


def test_padding_and_company_change_nothing(model):
    batch = sequences()
    with torch.no_grad():
        together = target_losses(model, batch).split([s.n_targets for s in batch])
        for losses, sequence in zip(together, batch, strict=True):
            close(losses, target_losses(model, [sequence]))


@pytest.mark.parametrize("n_before", [1, 21])
def test_a_cached_prefix_changes_nothing(model, n_before):
    before = np.arange(n_before, dtype=np.int32) + 7
    batch = sequences()

    with torch.no_grad():
        ours = target_losses(model, batch, PrefixCache(model, before))
        close(ours, reference(model, batch, before.tolist()))


def test_a_prefix_cache_serves_many_batches(model):
    prefix = PrefixCache(model, np.arange(9, dtype=np.int32))
    batch = sequences()

    with torch.no_grad():
        first = target_losses(model, batch, prefix)
        target_losses(model, sequences(seed=1), prefix)
        assert torch.equal(target_losses(model, batch, prefix), first)


ARCHITECTURES = {
    "GPT2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 300},
    "Qwen2": {"num_key_value_heads": 2},
    # The window is shorter than the prefix.
    "Mistral": {"num_key_value_heads": 2, "sliding_window": 8},
    "Gemma": {"num_key_value_heads": 2, "head_dim": 8},
    "OPT": {"ffn_dim": 48, "word_embed_proj_dim": 32},
    "Bloom": {"n_layer": 2, "n_head": 4},
}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_other_architectures_agree_with_their_own_logits(name):
    sizes = {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 48,
        "max_position_embeddings": 300,
        "initializer_range": 0.2,
        "init_std": 0.2,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 2,
    }
    if name in ("GPT2", "Bloom"):
        sizes = {k: v for k, v in sizes.items() if not k.startswith(("num_", "max_"))}
    config = getattr(transformers, f"{name}Config")(**sizes, **ARCHITECTURES[name])
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    before = np.arange(20, dtype=np.int32) + 5
    batch = sequences([(4, 30), (11, 2), (1, 40)])

    with torch.no_grad():
        theirs = reference(model, batch, before.tolist())
        whole = [TargetSequence(np.concatenate([before, s.ids]), s.n_targets) for s in batch]

        assert theirs.std() > 0.1
        close(target_losses(model, whole), theirs)
        close(target_losses(model, batch, PrefixCache(model, before)), theirs)


def test_sums_are_by_sequence():
    batch = sequences([(1, 2), (3, 1), (1, 3)])
    losses = torch.tensor([1.0, 2.0, 4.0, 8.0, 16.0, 32.0])

    sums = sums_per_sequence(losses, batch)

    assert sums.dtype == np.float64
    assert sums.tolist() == [3.0, 4.0, 56.0]


# Gradients


def gradients(model):
    return {n: p.grad for n, p in model.named_parameters() if p.requires_grad}


def compare_gradients(model, batch):
    """Weighted sums of losses, so that a wrong weight of a loss shows."""
    weights = torch.linspace(-1, 2, sum(s.n_targets for s in batch))
    twin = copy.deepcopy(model)
    ours, theirs = target_losses(model, batch), reference(twin, batch)
    (ours * weights).sum().backward()
    (theirs * weights).sum().backward()

    close(ours.detach(), theirs.detach())
    wanted, got = gradients(twin), gradients(model)
    assert set(wanted) == set(got)
    assert any(g is not None and g.abs().max() > 1e-3 for g in wanted.values())
    for name, gradient in wanted.items():
        scale = float(gradient.abs().max())
        torch.testing.assert_close(got[name], gradient, rtol=1e-4, atol=2e-5 * max(scale, 1.0))


# PEFT asks transformers for this under its old name.
adapters = pytest.mark.filterwarnings(
    "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"
)


def with_adapters(model, *targets):
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    config = LoraConfig(
        r=4, target_modules=list(targets), init_lora_weights=False, task_type="CAUSAL_LM"
    )
    return get_peft_model(model, config)


def spy_on_frozen_head(monkeypatch):
    calls = []
    real = likelihood._FrozenHead.apply
    monkeypatch.setattr(
        likelihood._FrozenHead, "apply", lambda *args: calls.append(len(args[0])) or real(*args)
    )
    return calls


@adapters
def test_adapter_gradients_through_the_frozen_head(model, monkeypatch):
    calls = spy_on_frozen_head(monkeypatch)

    compare_gradients(with_adapters(model, "q_proj", "v_proj"), sequences())

    assert calls == [sum(shape[1] for shape in SHAPES)]


def test_gradients_of_a_trained_body_under_a_frozen_head(folder):
    model = untied(folder)
    model.lm_head.requires_grad_(False)

    compare_gradients(model, sequences())


def test_gradients_of_a_trained_head(folder):
    compare_gradients(untied(folder), sequences())


def test_gradients_where_head_and_embedding_are_one(model):
    compare_gradients(model, sequences())


def test_gradients_of_a_head_with_a_bias(folder):
    model = untied(folder)
    torch.manual_seed(0)
    model.lm_head.bias = torch.nn.Parameter(torch.randn(VOCABULARY), requires_grad=False)
    model.lm_head.weight.requires_grad_(False)

    compare_gradients(model, sequences())


@adapters
def test_adapters_on_the_head_are_part_of_the_loss(folder, monkeypatch):
    calls = spy_on_frozen_head(monkeypatch)

    compare_gradients(with_adapters(untied(folder), "q_proj", "lm_head"), sequences())

    assert calls == []


@adapters
def test_adapters_count_without_gradients_too(model):
    tuned = with_adapters(model, "q_proj", "v_proj").eval()
    batch, before = sequences(), np.arange(9, dtype=np.int32)

    with torch.inference_mode():
        wanted = reference(tuned, batch, before.tolist())
        with tuned.disable_adapter():
            assert (reference(tuned, batch, before.tolist()) - wanted).abs().max() > 0.01
        close(target_losses(tuned, batch, PrefixCache(tuned, before)), wanted)


def untied(folder):
    loaded = transformers.LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)
    weight = loaded.lm_head.weight.detach().clone()
    loaded.lm_head.weight = torch.nn.Parameter(weight)
    loaded.config.tie_word_embeddings = False
    return loaded.eval()


# Memory


class LargestLogits(TorchDispatchMode):
    """Records the most rows of vocabulary width any operation produced."""

    rows = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor) and leaf.ndim and leaf.shape[-1] == VOCABULARY:
                self.rows = max(self.rows, leaf.numel() // VOCABULARY)
        return result


@pytest.mark.parametrize("how", ["scored", "frozen head", "trained head"])
def test_logits_exist_for_one_chunk_of_positions_at_a_time(folder, how, monkeypatch):
    monkeypatch.setattr(likelihood, "HEAD_CHUNK", 48)  # more rows than a transposed weight has
    model = untied(folder).requires_grad_(how == "trained head")
    if how == "frozen head":
        model.model.layers.requires_grad_(True)
    batch = sequences()

    with torch.set_grad_enabled(how != "scored"), LargestLogits() as seen:
        losses = target_losses(model, batch)
        if how != "scored":
            losses.sum().backward()
    with torch.no_grad(), LargestLogits() as plain:
        model(input_ids=torch.zeros((1, 60), dtype=torch.long))

    assert seen.rows == 48
    assert plain.rows == 60


def test_context_positions_never_reach_the_head(model):
    class HeadProducts(TorchDispatchMode):
        def __init__(self):
            super().__init__()
            self.rows = []

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            result = func(*args, **(kwargs or {}))
            if func.overloadpacket is torch.ops.aten.mm and result.shape[-1] == VOCABULARY:
                self.rows.append(len(result))
            return result

    with torch.no_grad(), HeadProducts() as seen:
        target_losses(model, sequences())

    assert sum(seen.rows) == sum(shape[1] for shape in SHAPES)
    assert max(seen.rows) == HEAD_CHUNK


def test_the_last_target_is_never_read(model):
    widths = []
    model.model.embed_tokens.register_forward_hook(lambda _, a, __: widths.append(a[0].shape[1]))
    (sequence,) = sequences([(4, 3)])

    with torch.no_grad():
        target_losses(model, [sequence])

    assert widths == [sequence.n_inputs] == [6]
