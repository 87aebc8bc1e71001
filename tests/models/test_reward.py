"""The reward pass against straight-line computations, on a tiny model of each architecture."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    GPTNeoXModel,
    LlamaForSequenceClassification,
    LlamaModel,
)

from instructmining.errors import ModelError
from instructmining.examples import Example, Turn
from instructmining.models import reward
from instructmining.models.batching import plan_batches
from instructmining.models.chat import PLAIN_TEMPLATE
from instructmining.models.reward import RewardPass
from instructmining.models.sources import resolve
from models.tiny import CHATML, EXAMPLES, REFUSE_LONG, example, files_of
from models.tiny_reward import (
    SAVE,
    SHORT,
    chat_ids,
    drop_weight,
    in_float32,
    neox_config,
    save_bert_reward,
    save_llama_reward,
    save_oasst_reward,
    set_config,
)

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")
TOLERANCE = 1e-5
#: 350 tokens and more for any of the tokenizers, in a few lines and an accent.
LONG = example("Tell of the sea.\n" * 6, "\nThe sea is wide,  naïve and deep. " * 11)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {name: save(tmp_path_factory.mktemp(name)) for name, save in SAVE.items()}


@pytest.fixture(scope="module")
def passes(folders):
    return {name: in_float32(folder) for name, folder in folders.items()}


@pytest.fixture
def copy_of(folders, tmp_path):
    def copy(name):
        shutil.copytree(folders[name], tmp_path / name)
        return tmp_path / name

    return copy


def run(rm, examples, budget=2_000):
    """Run the pass over planned batches; values in the order of `examples`."""
    items = rm.prepare(examples)
    values = np.empty(len(items))
    for batch in plan_batches([i.cost for i in items], [i.group for i in items], budget):
        values[batch] = rm.run([items[i] for i in batch]).reward
    return values


def close(ours, theirs):
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=TOLERANCE)


# Straight lines: a string, a tokenizer and a model of transformers, one sequence at a time


def oasst_text(one):
    """The published format, written down for examples of at most one system turn."""
    turns, system = list(one.turns) or [Turn("user", "")], ""
    if turns[0].role == "system":
        system = turns.pop(0).content + "\n"
    text = ""
    for turn in turns:
        speaker = {"user": "<|prompter|>", "assistant": "<|assistant|>"}[turn.role]
        text += f"{speaker}{system}{turn.content}<|endoftext|>"
        system = ""
    return f"{text}<|assistant|>{one.response}<|endoftext|>"


@torch.no_grad()
def oasst_score(folder, ids, pooling="last"):
    weights = load_file(folder / "model.safetensors")
    model = GPTNeoXModel(neox_config()).eval()
    prefix = "gpt_neox."
    named = {n[len(prefix) :]: w for n, w in weights.items() if n.startswith(prefix)}
    left = model.load_state_dict(named, strict=False)
    assert left.missing_keys == []
    hidden = model(input_ids=torch.tensor([ids]), use_cache=False).last_hidden_state[0]
    state = hidden[-1] if pooling == "last" else hidden.mean(0)
    return float(state @ weights["out_proj.weight"][0].float() + weights["out_proj.bias"][0])


def oasst_straight(folder, examples):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return [oasst_score(folder, tokenizer(oasst_text(one))["input_ids"]) for one in examples]


@torch.no_grad()
def pair_straight(folder, examples):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    scores = []
    for one in examples:
        question = " ".join(turn.content for turn in one.turns)
        encoded = tokenizer(
            question, one.response, truncation="only_first", max_length=512, return_tensors="pt"
        )
        scores.append(float(model(**encoded).logits[0, 0]))
    return scores


@torch.no_grad()
def llama_score(folder, ids):
    model = LlamaModel.from_pretrained(folder, dtype=torch.float32).eval()
    head = load_file(folder / "model.safetensors")["score.weight"]
    hidden = model(input_ids=torch.tensor([ids]), use_cache=False).last_hidden_state
    return float(hidden[0, -1] @ head[0])


def chat_straight(folder, examples):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return [llama_score(folder, chat_ids(tokenizer, one)) for one in examples]


STRAIGHT = {
    "oasst": oasst_straight,
    "deberta": pair_straight,
    "bert": pair_straight,
    "roberta": pair_straight,
    "llama": chat_straight,
}


# Values


@pytest.mark.parametrize("name", SAVE)
def test_rewards_are_those_of_a_straight_line_computation(passes, folders, name):
    rows = SHORT if name == "bert" else [*SHORT, LONG]
    wanted = STRAIGHT[name](folders[name], rows)

    values = run(passes[name], rows)

    assert values.dtype == np.float64
    assert np.ptp(wanted) > 0.5
    close(values, wanted)
    if name != "bert":
        assert passes[name].prepare([LONG])[0].cost > 350


@pytest.mark.parametrize("name", SAVE)
@pytest.mark.parametrize("budget", [1, 200, 100_000])
def test_padding_and_company_change_nothing(passes, name, budget):
    alone = [float(run(passes[name], [one])[0]) for one in EXAMPLES]

    close(run(passes[name], EXAMPLES, budget=budget), alone)
    close(run(passes[name], EXAMPLES[::-1], budget=budget)[::-1], alone)


@pytest.mark.parametrize("name", SAVE)
def test_prompt_and_response_both_count(passes, name):
    rows = [example("Red?", "Blue."), example("Why?", "Blue."), example("Red?", "Grue.")]

    values = run(passes[name], rows)

    assert len(np.unique(values.round(3))) == 3


@pytest.mark.parametrize("name", SAVE)
def test_odd_texts_have_finite_rewards(passes, name):
    rows = [
        example("a\ud800b", "c\udfff"),
        example("नमस्ते", "שלום"),
        example("\x00", "👩‍👩‍👧"),
        Example(3, (Turn("tool", "42"), Turn("system", "Be.")), "Good."),
    ]

    assert np.isfinite(run(passes[name], rows)).all()


@torch.no_grad()
def test_the_reward_is_read_at_the_last_token_even_if_that_is_the_padding(tmp_path):
    # Turns end in <|im_end|>, which is the padding id too, and nothing follows it.
    ends = CHATML.replace("<|im_end|>\n", "<|im_end|>")
    folder = save_llama_reward(tmp_path, template=ends)
    wanted = chat_straight(folder, SHORT)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    whole = LlamaForSequenceClassification.from_pretrained(folder).eval()
    ids = [torch.tensor([chat_ids(tokenizer, one)]) for one in SHORT]
    by_padding_id = [float(whole(input_ids=one).logits) for one in ids]

    assert ids[0][0, -1] == whole.config.pad_token_id
    assert np.abs(np.subtract(by_padding_id, wanted)).min() > 1e-3
    close(run(in_float32(folder), SHORT), wanted)


def test_a_decoder_without_a_padding_id_is_batched(tmp_path):
    folder = save_llama_reward(tmp_path, pad_token_id=None)

    close(run(in_float32(folder), SHORT, budget=100_000), chat_straight(folder, SHORT))


def test_mean_pooling_is_honoured_and_leaves_padding_out(tmp_path):
    folder = save_oasst_reward(tmp_path, pooling="mean")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = [tokenizer(oasst_text(one))["input_ids"] for one in SHORT]
    wanted = [oasst_score(folder, some, "mean") for some in ids]

    close(run(in_float32(folder), SHORT, budget=100_000), wanted)
    assert abs(wanted[0] - oasst_score(folder, ids[0])) > 1e-3


def test_a_cut_conversation_is_scored_on_what_is_left(folders):
    rm = in_float32(folders["llama"], max_tokens=60)
    one = example("word " * 90, "Blue.")
    (item,) = rm.prepare([one])

    assert item.flags == ("truncated_prompt",)
    close(run(rm, [one]), llama_score(folders["llama"], item.payload[0].tolist()))


@pytest.mark.parametrize("name", SAVE)
def test_in_bfloat16_the_head_stays_in_float32(folders, name):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reward, "pick_device", lambda: CPU)
        patch.setattr(reward, "pick_dtype", lambda _: torch.bfloat16)
        rm = RewardPass(files_of(folders[name]))
    values = run(rm, SHORT)

    assert rm.recorded == {"dtype": "bfloat16", "device": "cpu"}
    assert rm.model.base_model.dtype == torch.bfloat16
    # Not one of 256 values per power of two, as a logit in bfloat16 would be.
    assert (torch.tensor(values).bfloat16().double().numpy() != values).all()
    np.testing.assert_allclose(values, run(in_float32(folders[name]), SHORT), atol=0.3)


# Rows that cannot be scored


@pytest.mark.parametrize("name", SAVE)
def test_a_response_of_no_tokens_is_flagged_and_undefined(passes, name):
    rows = [SHORT[0], Example(1, SHORT[0].turns, ""), SHORT[2]]

    items = passes[name].prepare(rows)
    values = run(passes[name], rows)

    assert [item.flags for item in items] == [(), ("empty_response",), ()]
    assert np.isnan(values).tolist() == [False, True, False]
    close(values[[0, 2]], run(passes[name], [SHORT[0], SHORT[2]]))


@pytest.mark.parametrize("name", SAVE)
def test_no_examples_no_items(passes, name):
    assert passes[name].prepare([]) == []


def test_turns_the_template_refuses_are_flagged_and_undefined(tmp_path):
    refuse = REFUSE_LONG.replace("> 2", "> 3")
    rm = in_float32(save_llama_reward(tmp_path, template=refuse))

    items = rm.prepare(SHORT)

    assert [item.row for item in items if item.flags == ("template_refused",)] == [4]
    assert np.isnan(run(rm, SHORT)).tolist() == [False] * 4 + [True, False]


def test_a_template_that_drops_the_response_is_as_good_as_one_that_refuses(tmp_path):
    drops = "<|im_start|>{{ messages[0]['content'] }}<|im_end|>"
    (item,) = in_float32(save_llama_reward(tmp_path, template=drops)).prepare([SHORT[0]])

    assert item.flags == ("template_refused",)


# Loading


def test_missing_head_weights_are_an_error_never_a_random_head(copy_of):
    heads = {
        "oasst": "out_proj.weight",
        "deberta": "classifier.weight",
        "bert": "classifier.bias",
        "roberta": "classifier.out_proj.weight",
        "llama": "score.weight",
    }
    for name, head in heads.items():
        folder = copy_of(name)
        drop_weight(folder, head)
        rm = in_float32(folder)

        with pytest.raises(ModelError, match=rf"weights are missing \({head}\)") as caught:
            rm.run(rm.prepare(SHORT))
        assert "\n" not in str(caught.value)


def test_a_config_edited_to_a_plain_decoder_is_refused(copy_of):
    # What users do to load the model with transformers alone.
    folder = copy_of("oasst")
    set_config(folder, model_type="gpt_neox", architectures=["GPTNeoXForCausalLM"])
    with pytest.raises(ModelError, match="2 outputs, one"):
        in_float32(folder)

    set_config(folder, num_labels=1)
    tokenizer = json.loads((folder / "tokenizer_config.json").read_text())
    tokenizer["chat_template"] = PLAIN_TEMPLATE
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    rm = in_float32(folder)
    with pytest.raises(ModelError, match=r"missing \(score\.weight\), there are .*out_proj"):
        rm.run(rm.prepare(SHORT))


@pytest.mark.parametrize("pooling", ["max", None])
def test_an_unknown_pooling_is_refused(copy_of, pooling):
    folder = copy_of("oasst")
    set_config(folder, pooling=pooling)
    rm = in_float32(folder)

    with pytest.raises(ModelError, match=f"pooling {pooling!r} came, last or mean was wanted"):
        rm.run(rm.prepare(SHORT))


def test_the_published_tokenizer_class_is_read_without_a_registered_architecture(copy_of):
    folder = copy_of("oasst")
    path = folder / "tokenizer_config.json"
    named = {**json.loads(path.read_text()), "tokenizer_class": "GPTNeoXTokenizer"}
    path.write_text(json.dumps(named))

    close(run(in_float32(folder), SHORT), oasst_straight(folder, SHORT))


def test_a_tokenizer_without_the_control_tokens_is_refused(copy_of, folders):
    folder = copy_of("oasst")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(folders["roberta"] / name, folder / name)

    with pytest.raises(ModelError, match=r"has no <\|prompter\|> and no <\|assistant\|>"):
        in_float32(folder)


def test_a_model_of_several_outputs_is_refused(tmp_path):
    with pytest.raises(ModelError, match="3 outputs, one") as caught:
        in_float32(save_bert_reward(tmp_path, num_labels=3))
    assert "\n" not in str(caught.value)


def test_a_head_of_another_shape_than_the_config_says_is_refused(tmp_path):
    folder = save_bert_reward(tmp_path, num_labels=3)
    set_config(folder, id2label={"0": "reward"}, label2id={"reward": 0})
    rm = in_float32(folder)

    with pytest.raises(ModelError, match="cannot be loaded as a reward model") as caught:
        rm.run(rm.prepare(SHORT))
    assert "\n" not in str(caught.value)


def test_a_decoder_without_a_template_is_refused(tmp_path):
    with pytest.raises(ModelError, match="neither a chat template nor a separator") as caught:
        in_float32(save_llama_reward(tmp_path, template=None))
    assert "\n" not in str(caught.value)


def test_a_decoder_that_changes_its_score_after_the_head_is_refused(folders, monkeypatch):
    real = LlamaForSequenceClassification.forward

    def doubled(self, **inputs):
        output = real(self, **inputs)
        output.logits = 2 * output.logits
        return output

    monkeypatch.setattr(LlamaForSequenceClassification, "forward", doubled)
    with pytest.raises(ModelError, match="type llama do not read their score"):
        _ = in_float32(folders["llama"]).model


@pytest.mark.parametrize(
    "config", [{"model_type": "nonsense"}, "{", []], ids=["unknown", "torn", "a list"]
)
def test_a_folder_without_a_model_is_refused_in_one_line(copy_of, config):
    folder = copy_of("bert")
    written = config if isinstance(config, str) else json.dumps(config)
    (folder / "config.json").write_text(written)

    with pytest.raises(ModelError, match="cannot be loaded as a reward model") as caught:
        in_float32(folder)
    assert "\n" not in str(caught.value)


def test_code_of_a_model_is_never_run(copy_of, monkeypatch):
    folder = copy_of("llama")
    (folder / "evil.py").write_text("raise SystemExit('was run')")
    set_config(
        folder,
        model_type="mine",
        auto_map={"AutoConfig": "evil.C", "AutoModelForSequenceClassification": "evil.M"},
    )
    monkeypatch.setattr("builtins.input", lambda _: pytest.fail("was asked"))

    with pytest.raises(ModelError, match="cannot be loaded as a reward model"):
        in_float32(folder)


def test_weights_in_half_precision_are_run_in_float32(copy_of):
    folder = copy_of("oasst")
    path = folder / "model.safetensors"
    halved = {n: w.half() if w.is_floating_point() else w for n, w in load_file(path).items()}
    save_file(halved, path, {"format": "pt"})
    rm = in_float32(folder)

    values = run(rm, SHORT)

    assert {p.dtype for p in rm.model.parameters()} == {torch.float32}
    np.testing.assert_allclose(values, oasst_straight(folder, SHORT), atol=0.05)


def test_a_model_written_over_while_it_runs_gives_no_scores(copy_of):
    folder = copy_of("bert")
    rm = in_float32(folder)
    items = rm.prepare(SHORT)
    rm.run(items)
    drop_weight(folder, "classifier.bias")

    with pytest.raises(ModelError, match="changed while it was running"):
        rm.run(items)


def test_loading_is_left_to_the_first_run(folders):
    for folder in folders.values():
        rm = in_float32(folder)
        rm.prepare(SHORT)

        assert "model" not in rm.__dict__
        assert not rm.model.training


@pytest.mark.parametrize("name", SAVE)
def test_a_batch_too_large_for_memory_is_halved(passes, name, monkeypatch):
    items = passes[name].prepare(SHORT)
    whole = passes[name].run(items).reward
    real, sizes = RewardPass._run, []

    def scarce(self, items):
        sizes.append(len(items))
        if len(items) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(self, items)

    monkeypatch.setattr(RewardPass, "_run", scarce)

    close(passes[name].run(items).reward, whole)
    assert sizes == [6, 3, 1, 2, 3, 1, 2]


def test_definitions_name_what_values_depend_on(passes, tmp_path):
    own = {n: dict(rm.definition) for n, rm in passes.items()}
    for name, definition in own.items():
        assert definition.pop("model") == passes[name].files.name
        assert definition.pop("weights") == passes[name].files.weights
        definition.pop("truncation")
    pair = {"input": "pair", "history": "space"}

    assert own == {
        "oasst": {"input": "oasst", "system": "prompter-line"},
        "deberta": pair,
        "bert": pair,
        "roberta": pair,
        "llama": {"input": "chat", "template": passes["llama"].input.template_hash},
    }
    other = save_llama_reward(tmp_path, template=CHATML + " ")
    assert in_float32(other).definition["template"] != own["llama"]["template"]
    assert passes["llama"].recorded == {"dtype": "float32", "device": "cpu"}


# The published models


@pytest.mark.network
@pytest.mark.parametrize(
    ("name", "way"),
    [
        ("OpenAssistant/oasst-rm-2.1-pythia-1.4b-epoch-2.5", "oasst"),
        ("OpenAssistant/reward-model-deberta-v3-large-v2", "pair"),
    ],
)
def test_published_models_prefer_answers_to_nonsense(name, way):
    rm = RewardPass(resolve(name))
    jail = "I just came out of from jail, any suggestion of my future?"
    rows = [
        # From the model card of the second.
        example(jail, "It's great to hear that you have been released from jail."),
        example(jail, "Go back to jail you scum"),
        example("What is the capital of France?", "The capital of France is Paris."),
        example("What is the capital of France?", "Purple seven the of elephants quietly."),
        example("Why is the sky blue?", "Air scatters short waves of light more than long ones."),
        example("Why is the sky blue?", "To make pancakes, mix eggs, flour and milk."),
    ]

    values = run(rm, rows)

    assert rm.definition["input"] == way
    assert (values[::2] > values[1::2]).all()
    assert (np.abs(values) < 30).all()
