"""The evaluator pass against a straight-line computation with the whole model."""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    BartConfig,
    BartForConditionalGeneration,
)

from instructmining.errors import InputError, ModelError
from instructmining.examples import Example, Turn
from instructmining.models import unieval
from instructmining.models.batching import plan_batches
from instructmining.models.questions import ask, dialogue_history
from instructmining.models.sources import resolve
from instructmining.models.unieval import UniEvalPass
from models.tiny import EXAMPLES, example, files_of
from models.tiny_t5 import save_t5, save_t5_tokenizer

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")
TOLERANCE = 1e-5
LONG = [example("it " * 3_000, "a word " * 20), example("what", "a word " * 700)]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {gated: save_t5(tmp_path_factory.mktemp("t5"), gated=gated) for gated in (False, True)}


@pytest.fixture(scope="module", params=[False, True], ids=["tied and scaled", "gated"])
def folder(folders, request):
    return folders[request.param]


def in_float32(files, **options):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unieval, "pick_device", lambda: CPU)
        patch.setattr(unieval, "pick_dtype", lambda _: torch.float32)
        return UniEvalPass(files, **options)


@pytest.fixture(scope="module")
def evaluator(folder):
    return in_float32(files_of(folder))


def logits(evaluator, examples):
    """Logits over the planned batches, in the order of `examples`."""
    items = evaluator.prepare(examples)
    found = np.empty((len(items), 3))
    costs, groups = [i.cost for i in items], [i.group for i in items]
    for batch in plan_batches(costs, groups, evaluator.budget):
        found[batch] = evaluator.run([items[i] for i in batch]).logit
    return found


@torch.no_grad()
def straight_line(model, tokenizer, ids):
    """UniEval's score of one question and its logit, from the whole vocabulary."""
    labels = torch.tensor([[tokenizer("No").input_ids[0]]])
    logits = model(input_ids=torch.tensor([ids]), labels=labels).logits[0, 0].double()
    yes, no = (logits.softmax(-1)[tokenizer(word).input_ids[0]] for word in ("Yes", "No"))
    return float(yes / (yes + no)), float(logits[tokenizer("Yes").input_ids[0]] - logits[labels])


def close(ours, theirs):
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=TOLERANCE)


# Values


def test_answers_are_those_of_a_straight_line_computation(evaluator, folder):
    model = AutoModelForSeq2SeqLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    scores, wanted = np.full((2, len(EXAMPLES), 3), np.nan)
    for row, e in enumerate(EXAMPLES):
        for column, text in enumerate(ask(e.response, dialogue_history(e, "readme"))):
            if column != 1 or e.turns:
                ids = tokenizer(text).input_ids
                scores[row, column], wanted[row, column] = straight_line(model, tokenizer, ids)

    ours = logits(evaluator, EXAMPLES)

    assert ours.dtype == np.float64
    assert np.isnan(ours).nonzero() == ([6], [1])
    assert np.nanstd(wanted, axis=0).min() > 0.1
    close(ours, wanted)
    close(1 / (1 + np.exp(-ours)), scores)


def test_questions_that_are_cut_are_answered_as_they_are_cut(evaluator, folder):
    model = AutoModelForSeq2SeqLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    items = evaluator.prepare(LONG)

    flags = [("truncated_prompt",), ("truncated_response",)]
    assert [item.flags for item in items] == flags
    for item, ours in zip(items, logits(evaluator, LONG), strict=True):
        close(ours, [straight_line(model, tokenizer, ids.tolist())[1] for ids in item.payload])


def test_padding_company_and_order_change_nothing(evaluator):
    together = logits(evaluator, EXAMPLES)
    order = np.random.default_rng(0).permutation(len(EXAMPLES))

    close(logits(evaluator, [EXAMPLES[i] for i in order]), together[order])
    for e, row in zip(EXAMPLES, together, strict=True):
        close(logits(evaluator, [e])[0], row)


@pytest.mark.parametrize("budget", [1, 128, 8_192])
def test_the_size_of_batches_inside_changes_nothing(evaluator, monkeypatch, budget):
    wanted = logits(evaluator, EXAMPLES)
    monkeypatch.setattr(unieval, "token_budget", lambda _: budget)

    close(logits(evaluator, EXAMPLES), wanted)


def test_two_runs_give_the_same_bits(evaluator):
    np.testing.assert_array_equal(logits(evaluator, EXAMPLES), logits(evaluator, EXAMPLES))


def test_the_convention_of_the_history_is_part_of_the_definition_alone(folder, evaluator):
    plain = in_float32(files_of(folder), history="plain")

    # The tokenizer of a T5 makes nothing of white space.
    np.testing.assert_array_equal(logits(plain, EXAMPLES), logits(evaluator, EXAMPLES))
    assert {**plain.definition, "history": "readme"} == evaluator.definition
    assert plain.definition["history"] == "plain"


def test_rows_without_tokens_are_undefined(evaluator):
    rows = [example("what", ""), example("what", " \n")]

    items = evaluator.prepare(rows)

    assert {i.flags for i in items} == {("empty_response",)}
    assert {i.group for i in items} != {i.group for i in evaluator.prepare(EXAMPLES)}
    assert np.isnan(evaluator.run(items).logit).all()
    assert evaluator.run(items).logit.shape == (2, 3)


def test_a_batch_of_rows_without_history_is_scored_but_for_coherence(evaluator):
    found = logits(evaluator, [Example(0, (), "a word"), Example(1, (), "letters")])

    assert np.isnan(found).tolist() == [[False, True, False]] * 2


def test_bfloat16_is_near_and_unrounded_at_its_end(folder, evaluator):
    half = in_float32(files_of(folder))
    half.dtype = torch.bfloat16

    ours, wanted = logits(half, EXAMPLES), logits(evaluator, EXAMPLES)

    assert half.model.dtype == torch.bfloat16
    assert half.recorded["dtype"] == "bfloat16"
    assert np.nanmedian(np.abs(ours - wanted)) < 0.1
    as_bfloat16 = torch.from_numpy(ours).to(torch.bfloat16).double().numpy()
    assert (ours != as_bfloat16).mean() > 0.9


def test_weights_in_half_precision_are_run_in_32_bits(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "half")
    weights = load_file(folder / "model.safetensors")
    halved = {name: weight.half() for name, weight in weights.items()}
    save_file(halved, tmp_path / "half" / "model.safetensors", metadata={"format": "pt"})

    model = in_float32(files_of(tmp_path / "half")).model

    assert {p.dtype for p in model.parameters()} == {torch.float32}


# Batches


def shapes(evaluator, monkeypatch):
    """Shapes of what the model is given from now on."""
    seen = []
    real = type(evaluator.model).forward

    def spy(self, *, input_ids, attention_mask, decoder_input_ids, use_cache):
        seen.append((*input_ids.shape, int(attention_mask.sum())))
        assert decoder_input_ids.shape == (len(input_ids), 1)
        return real(
            self,
            input_ids=input_ids,
            attention_mask=attention_mask,
            decoder_input_ids=decoder_input_ids,
            use_cache=use_cache,
        )

    monkeypatch.setattr(type(evaluator.model), "forward", spy)
    return seen


def test_questions_of_all_items_are_batched_by_their_lengths(evaluator, monkeypatch):
    rows = [example("it " * (40 + i), "a word " * (i % 5)) for i in range(1, 41)]
    rows = [r for r in rows if r.response]
    items = evaluator.prepare(rows)
    monkeypatch.setattr(unieval, "token_budget", lambda _: 512)
    seen = shapes(evaluator, monkeypatch)

    evaluator.run(items)

    assert sum(n for n, _, _ in seen) == 3 * len(rows)
    assert sum(real for _, _, real in seen) == sum(item.cost for item in items)
    assert max(n * width for n, width, _ in seen) <= 512
    padded = sum(n * width for n, width, _ in seen)
    one_by_one = sum(3 * max(map(len, item.payload)) for item in items)
    assert padded < 1.1 * sum(item.cost for item in items) < 0.8 * one_by_one


def test_planned_batches_hold_several_full_ones(evaluator):
    assert evaluator.budget == 8 * unieval.token_budget(CPU)


def test_the_head_has_two_rows(evaluator):
    assert evaluator.model.lm_head.weight.shape == (2, 32)
    assert evaluator.model.lm_head.weight.dtype == torch.float64


def test_a_batch_too_large_for_memory_is_halved(folder, monkeypatch):
    evaluator = in_float32(files_of(folder))
    items = evaluator.prepare(EXAMPLES)
    whole = evaluator.run(items).logit
    real, sizes = UniEvalPass._run, []

    def scarce(self, items):
        sizes.append(len(items))
        if len(items) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(self, items)

    monkeypatch.setattr(UniEvalPass, "_run", scarce)

    close(evaluator.run(items).logit, whole)
    assert sizes == [8, 4, 2, 2, 4, 2, 2]


# Definition


def test_the_definition_is_known_without_loading_the_model(folder):
    evaluator = in_float32(files_of(folder))

    assert evaluator.definition == {
        "model": str(folder),
        "weights": files_of(folder).weights,
        "template": "e5f97e60bd715175",
        "history": "readme",
        "truncation": "history-front/1024",
        "control_text": "spaced/1",
    }
    assert evaluator.recorded == {"dtype": "float32", "device": "cpu"}
    assert "model" not in evaluator.__dict__


def test_an_unknown_convention_is_refused(folder):
    with pytest.raises(InputError, match="'both' came, 'readme' or 'plain' was wanted"):
        UniEvalPass(files_of(folder), history="both")


def test_a_model_changed_while_it_runs_is_refused(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "own")
    evaluator = in_float32(files_of(tmp_path / "own"))
    items = evaluator.prepare(EXAMPLES)
    evaluator.run(items)
    (tmp_path / "own" / "config.json").write_text("{}")

    with pytest.raises(ModelError, match="was changed while it was running"):
        evaluator.run(items)


# Models that are refused


def without(folder, target, *names):
    shutil.copytree(folder, target)
    weights = load_file(folder / "model.safetensors")
    for name in names:
        del weights[name]
    save_file(weights, target / "model.safetensors", metadata={"format": "pt"})
    return target


def refused(folder, match):
    with pytest.raises(ModelError, match=match) as caught:
        _ = in_float32(files_of(folder)).model
    assert "\n" not in str(caught.value)


def test_missing_weights_are_refused(folder, tmp_path):
    name = "encoder.block.0.layer.0.SelfAttention.q.weight"

    refused(without(folder, tmp_path / "part", name), rf"weights are missing \({name}\)")


def test_a_missing_head_is_refused_where_the_embeddings_are_none(folders, tmp_path):
    # transformers ties the two and reports nothing.
    part = without(folders[True], tmp_path / "part", "lm_head.weight")

    refused(part, r"weights are missing \(lm_head\.weight\)")


def test_an_encoder_decoder_of_another_kind_is_refused(tmp_path):
    config = BartConfig(
        vocab_size=160,
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        max_position_embeddings=64,
    )
    BartForConditionalGeneration(config).save_pretrained(tmp_path)

    refused(save_t5_tokenizer(tmp_path, normalised=True), "is a bart model")


def test_a_folder_that_is_no_sequence_to_sequence_model_is_refused(folders, tmp_path):
    shutil.copytree(folders[True], tmp_path / "odd")
    (tmp_path / "odd" / "config.json").write_text(json.dumps({"model_type": "bert"}))

    refused(tmp_path / "odd", "cannot be loaded as a sequence-to-sequence model")


def test_a_model_that_does_not_say_how_decoding_starts_is_refused(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "odd")
    config = json.loads((folder / "config.json").read_text())
    (tmp_path / "odd" / "config.json").write_text(
        json.dumps({**config, "decoder_start_token_id": None})
    )

    refused(tmp_path / "odd", "lacks decoder_start_token_id")


def test_a_head_smaller_than_the_tokenizer_is_refused(tmp_path):
    refused(save_t5(tmp_path, rows=100), "head has 100 tokens, its tokenizer more")


# The real model

#: A folder or hub name; the hub's own may hold pickled weights only, which are never loaded.
UNIEVAL = os.environ.get("INSTRUCTMINING_UNIEVAL", "MingZhong/unieval-dialog")


@pytest.mark.network
def test_the_real_model_gives_the_scores_of_its_readme():
    turns = (
        Turn("user", "hi , do you know much about the internet ?"),
        Turn(
            "assistant",
            "i know a lot about different sites and some website design , how about you ?",
        ),
    )
    response = (
        "i do too . did you know the 3 horizontal line menu on apps and websites is called "
        "the hamburger button ?"
    )

    found = logits(in_float32(resolve(UNIEVAL)), [Example(0, turns, response)])

    np.testing.assert_allclose(
        1 / (1 + np.exp(-found)), [[0.950218, 0.973135, 0.946209]], rtol=0, atol=1e-5
    )
