from __future__ import annotations

import math
import random
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from instructmining.errors import ExperimentError
from instructmining.evaluation.inference_loss import inference_loss, training_sequence
from instructmining.experiments.tuning import finetune
from instructmining.experiments.tuning.finetune import (
    Finetuner,
    _filled,
    accumulate_gradients,
    learning_rate_factor,
    target_tokens,
)
from instructmining.experiments.tuning.methods import top_parameters
from instructmining.experiments.tuning.training import METHODS, TrainingSetting
from instructmining.models.chat import ChatTokenizer
from instructmining.models.likelihood import TargetSequence
from instructmining.models.packed import PackedModel
from models.tiny import save_causal_lm, save_chat_tokenizer
from texts import examples_of

SETTING = TrainingSetting(rank=4, learning_rate=1e-2, epochs=2, batch_size=4, max_tokens=256)
MIXTURE = examples_of(10, seed=1)
EVALUATION = examples_of(5, seed=2)

# PEFT asks transformers by an old name; `Finetuner` silences that, calls made here do not.
OLD_NAME = "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"


@pytest.fixture(autouse=True)
def _in_float32(monkeypatch: pytest.MonkeyPatch, one_thread: None) -> None:
    monkeypatch.setattr(finetune, "pick_device", lambda: torch.device("cpu"))
    monkeypatch.setattr(finetune, "pick_dtype", lambda device: torch.float32)


#: Settings in which the layers below the last ones are frozen.
LAST_LAYERS = ({"method": "top"}, {"method": "lora", "n_layers": 1})
TUNINGS = ({"method": "lora"}, {"method": "full"}, *LAST_LAYERS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_causal_lm(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def tuner(folder: Path) -> Finetuner:
    return Finetuner.by_name(str(folder), SETTING)


def with_setting(folder: Path, **changes: Any) -> Finetuner:
    common = {**SETTING.to_json(), **changes}
    method = common["method"]
    if method != "lora":
        common = {k: v for k, v in common.items() if k not in ("rank", "alpha", "target_modules")}
    if method == "top":
        common.setdefault("n_layers", 1)
    return Finetuner.by_name(str(folder), TrainingSetting(**common))


def losses(
    tuner: Finetuner, model: Any, examples: list = EVALUATION, *, cached: bool = True
) -> list[float]:
    frozen = tuner.frozen if cached else None
    return inference_loss(model, tuner.chat, examples, frozen).nll_sums.tolist()


def weights(model: Any) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def sequences_of(tuner: Finetuner, n: int = 6) -> list[TargetSequence]:
    return [training_sequence(t) for t in tuner.chat.tokenise(MIXTURE[:n]) if t is not None]


def adapted(tuner: Finetuner) -> Any:
    """The base model with adapters that are not zero, as they are in mid-training."""
    from peft import LoraConfig, get_peft_model

    last = [1] if tuner.setting.n_layers == 1 else None
    config = LoraConfig(
        r=4,
        target_modules=["q_proj", "v_proj"],
        layers_to_transform=last,
        task_type="CAUSAL_LM",
    )
    model = get_peft_model(tuner.base, config)
    torch.manual_seed(3)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return model.train()


def gradients(model: Any) -> dict[str, torch.Tensor]:
    found = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad(set_to_none=True)
    assert found and all(gradient.abs().max() > 0 for gradient in found.values())
    return found


def assert_close(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, gradient in one.items():
        torch.testing.assert_close(gradient, other[name], rtol=1e-4, atol=1e-5, msg=name)


def plain_mean(model: Any, batch: list[TargetSequence]) -> torch.Tensor:
    """Mean cross-entropy over all targets, from the logits of every position."""
    total, count = torch.zeros(()), 0
    for sequence in batch:
        ids = torch.from_numpy(sequence.ids.astype(np.int64))[None]
        first = ids.shape[1] - sequence.n_targets
        logits = model(input_ids=ids).logits[0, first - 1 : -1]
        total = total + cross_entropy(logits, ids[0, first:], reduction="sum")
        count += sequence.n_targets
    return total / count


# The base model is lent, not changed


class Interrupted(Exception):
    pass


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_the_base_model_comes_back_as_it_was(folder, method, fails):
    tuner = with_setting(folder, method=method)
    base = tuner.base
    before, before_losses = weights(base), losses(tuner, base)
    try:
        with tuner.tuned(MIXTURE, seed=0) as model:
            assert losses(tuner, model) != before_losses
            if fails:
                raise Interrupted
    except Interrupted:
        assert fails
    assert tuner.base is base
    after = weights(base)
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert losses(tuner, base) == before_losses
    assert not any("lora" in name for name, _ in base.named_modules())
    assert not any(p.requires_grad or p.grad is not None for p in base.parameters())


@pytest.mark.parametrize(
    ("method", "trained"),
    [
        ("top", ("model.layers.1.", "model.norm.")),
        ("full", ("model.", "lm_head.")),
    ],
)
def test_only_what_the_method_names_is_trained(folder, method, trained):
    tuner = with_setting(folder, method=method)
    before = weights(tuner.base)
    with tuner.tuned(MIXTURE, seed=0) as model:
        after = weights(model)
    moved = {name for name in before if not torch.equal(after[name], before[name])}
    assert moved == {name for name in before if name.startswith(trained)}


def test_only_the_adapters_are_trained(tuner):
    before = weights(tuner.base)
    with tuner.tuned(MIXTURE, seed=0) as model:
        trained = {name for name, p in model.named_parameters() if p.requires_grad}
        frozen = {n: p for n, p in model.named_parameters() if n not in trained}
        assert trained and all("lora_" in name for name in trained)
        assert {name.split(".")[-4] for name in trained} == {"q_proj", "v_proj"}
        moved = [p.abs().max() > 0 for n, p in model.named_parameters() if "lora_B" in n]
        assert moved and all(moved)  # they start at zero
        for name, parameter in frozen.items():
            own = name.removeprefix("base_model.model.").replace(".base_layer", "")
            assert torch.equal(parameter, before[own]), name


@pytest.mark.parametrize("method", METHODS)
def test_a_diverging_loss_ends_the_run_and_spares_the_base_model(folder, method):
    tuner = with_setting(folder, method=method, learning_rate=1e30)
    before = losses(tuner, tuner.base)
    with (
        pytest.raises(ExperimentError, match="lower the learning rate"),
        tuner.tuned(MIXTURE, seed=0),
    ):
        pytest.fail("a model that diverged was yielded")
    assert losses(tuner, tuner.base) == before
    assert not any("lora" in name for name, _ in tuner.base.named_modules())


# What a run depends on


@pytest.mark.parametrize("method", METHODS)
def test_the_seed_decides_a_run_bit_for_bit(folder, method):
    tuner = with_setting(folder, method=method)
    found = []
    for seed in (0, 1, 0):
        with tuner.tuned(MIXTURE, seed=seed) as model:
            found.append(losses(tuner, model))
    first, other, again = found
    assert again == first != other
    fresh = with_setting(folder, method=method)
    torch.rand(7)  # the state of the global generator is not the seed
    with fresh.tuned(MIXTURE, seed=0) as model:
        assert losses(fresh, model) == first


@pytest.mark.parametrize("method", METHODS)
def test_the_loss_on_the_training_rows_falls(folder, method):
    tuner = with_setting(folder, method=method)
    before = sum(losses(tuner, tuner.base, MIXTURE))
    with tuner.tuned(MIXTURE, seed=0) as model:
        assert sum(losses(tuner, model, MIXTURE)) < 0.97 * before


def test_every_epoch_holds_every_example_once_in_another_order(folder, monkeypatch):
    tuner = with_setting(folder, epochs=3)
    batches: list[list[bytes]] = []

    def watch(model: Any, batch: list[TargetSequence], **options: Any) -> float:
        batches.append([sequence.ids.tobytes() for sequence in batch])
        return accumulate_gradients(model, batch, **options)

    monkeypatch.setattr(finetune, "accumulate_gradients", watch)
    with tuner.tuned(MIXTURE, seed=0):
        pass
    assert [len(batch) for batch in batches] == [4, 4, 2] * 3
    epochs = [list(chain.from_iterable(batches[i : i + 3])) for i in (0, 3, 6)]
    everything = sorted(s.ids.tobytes() for s in sequences_of(tuner, len(MIXTURE)))
    assert all(sorted(epoch) == everything for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


@pytest.mark.parametrize("steps", [1, 3, 10])
def test_an_epoch_can_be_divided_into_steps(folder, monkeypatch, steps):
    tuner = with_setting(folder, epochs=2)
    batches: list[list[bytes]] = []

    def watch(model: Any, batch: list[TargetSequence], **options: Any) -> float:
        batches.append([sequence.ids.tobytes() for sequence in batch])
        return accumulate_gradients(model, batch, **options)

    monkeypatch.setattr(finetune, "accumulate_gradients", watch)
    with tuner.tuned(MIXTURE, seed=0, steps_per_epoch=steps):
        pass
    assert len(batches) == 2 * steps
    sizes = [len(batch) for batch in batches[:steps]]
    assert max(sizes) - min(sizes) <= 1
    everything = sorted(s.ids.tobytes() for s in sequences_of(tuner, len(MIXTURE)))
    for epoch in (batches[:steps], batches[steps:]):
        assert sorted(chain.from_iterable(epoch)) == everything


def test_steps_that_come_to_the_batch_size_change_nothing(folder):
    found = []
    for batch_size, steps in ((5, None), (4, 2), (4, None)):
        tuner = with_setting(folder, batch_size=batch_size)
        with tuner.tuned(MIXTURE, seed=0, steps_per_epoch=steps) as model:
            found.append(losses(tuner, model))
    assert found[0] == found[1] != found[2]


@pytest.mark.parametrize("steps", [0, 11])
def test_a_step_takes_an_example_at_least(tuner, steps):
    with (
        pytest.raises(ExperimentError, match=rf"{steps} steps an epoch came for 10 trainable"),
        tuner.tuned(MIXTURE, seed=0, steps_per_epoch=steps),
    ):
        pytest.fail("a model was yielded")


def test_tokens_are_counted_as_training_cuts_them(folder):
    tuner = Finetuner.by_name(str(folder), SETTING)
    counted = target_tokens(tuner.chat, MIXTURE)
    assert counted == [sequence.n_targets for sequence in sequences_of(tuner, len(MIXTURE))]
    cut = target_tokens(ChatTokenizer(tuner.files.folder, max_tokens=40), MIXTURE)
    assert all(0 < less <= more for less, more in zip(cut, counted, strict=True))
    assert cut != counted


def test_the_learning_rate_warms_up_and_falls_to_zero():
    factors = [learning_rate_factor(step, 20, 0.1) for step in range(21)]
    assert factors[:3] == [0.5, 1.0, 1.0]
    assert factors[11] == pytest.approx(0.5)  # half-way between the peak and the end
    assert factors[20] == pytest.approx(0.0)
    assert all(a > b > 0 for a, b in pairwise(factors[2:20]))


@pytest.mark.parametrize(("total", "share"), [(1, 0.1), (1, 0.0), (2, 1.0), (5, 0.0)])
def test_the_first_step_of_a_short_run_learns(total, share):
    factors = [learning_rate_factor(step, total, share) for step in range(total + 1)]
    assert all(math.isfinite(factor) for factor in factors)
    assert all(0 < factor <= 1 for factor in factors[:total])


def test_a_mixture_without_examples_is_refused(tuner):
    with (
        pytest.raises(ExperimentError, match="without a single trainable example"),
        tuner.tuned([], seed=0),
    ):
        pytest.fail("nothing was trained on, yet a model was yielded")


def test_more_layers_than_there_are_are_refused(folder):
    for method in ("top", "lora"):
        with pytest.raises(ExperimentError, match="n_layers 3 came, a model of type llama has 2"):
            with_setting(folder, method=method, n_layers=3)


# Packed batches and frozen layers change the time a run takes, not its result


def tuned_losses(tuner: Finetuner, seed: int = 0) -> list[float]:
    with tuner.tuned(MIXTURE, seed=seed) as model:
        return losses(tuner, model)


@pytest.mark.parametrize("tuning", TUNINGS, ids=str)
def test_packed_or_padded_a_run_ends_with_the_same_losses(folder, tuning, monkeypatch):
    # Adapters in one layer hardly move a model in an epoch.
    shared = {"epochs": 1, "learning_rate": 1e-2 if tuning == LAST_LAYERS[1] else 1e-3}
    packed = with_setting(folder, **tuning, **shared)
    assert (packed.frozen is not None) == (tuning in LAST_LAYERS)
    of_packed = tuned_losses(packed)
    monkeypatch.setattr(finetune, "packs", lambda model: False)
    monkeypatch.setattr(finetune, "packed", lambda model, *_: model)
    padded = with_setting(folder, **tuning, **shared)
    assert padded.frozen is None
    untuned = losses(padded, padded.base)
    found = np.array([of_packed, tuned_losses(padded)]) / np.array(untuned)
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5)
    assert np.abs(found - 1).max() > 1e-3


@pytest.mark.parametrize("setting", LAST_LAYERS, ids=str)
def test_frozen_layers_are_run_once_for_all_seeds_epochs_and_evaluations(folder, setting):
    tuner = with_setting(folder, **setting)
    first = tuned_losses(tuner)
    assert tuner.frozen is not None
    once = tuner.frozen.n_computed
    assert once == len(MIXTURE) + len(EVALUATION) + 1  # and the prefix
    other, again = tuned_losses(tuner, seed=1), tuned_losses(tuner)
    assert tuner.frozen.n_computed == once
    assert again == first != other


@pytest.mark.parametrize("setting", LAST_LAYERS, ids=str)
@pytest.mark.parametrize("tuning", [False, True])
def test_an_evaluation_from_frozen_layers_equals_a_whole_one(folder, setting, tuning):
    tuner = with_setting(folder, **setting)
    if not tuning:
        found, expected = (losses(tuner, tuner.base, cached=c) for c in (True, False))
    else:
        with tuner.tuned(MIXTURE, seed=0) as model:
            found, expected = (losses(tuner, model, cached=c) for c in (True, False))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_adapters_in_the_last_layers_leave_the_others_as_they_are(folder):
    tuner = with_setting(folder, n_layers=1)
    with tuner.tuned(MIXTURE, seed=0) as model:
        adapted = {name for name, _ in model.named_parameters() if "lora_" in name}
    assert adapted and all(".layers.1." in name for name in adapted)
    assert tuned_losses(tuner) != tuned_losses(with_setting(folder))


def test_all_layers_may_be_trained(folder):
    tuner = with_setting(folder, method="top", n_layers=2)
    assert tuner.frozen is None
    assert tuned_losses(tuner) != losses(tuner, tuner.base)


def test_a_model_that_cannot_be_cut_is_trained_whole(tmp_path):
    from transformers import GPT2Config, GPT2LMHeadModel

    save_chat_tokenizer(tmp_path)
    torch.manual_seed(0)
    sizes = {"vocab_size": 400, "n_embd": 32, "n_layer": 3, "n_head": 2, "n_positions": 512}
    config = GPT2Config(**sizes, initializer_range=0.2, bos_token_id=1, eos_token_id=2)
    GPT2LMHeadModel(config).save_pretrained(tmp_path)
    tuner = with_setting(tmp_path, method="top")
    assert tuner.frozen is None
    before = weights(tuner.base)
    with tuner.tuned(MIXTURE, seed=0) as model:
        after = weights(model)
    moved = {name for name in before if not torch.equal(after[name], before[name])}
    assert moved and all(
        name.startswith(("transformer.h.2.", "transformer.ln_f.")) for name in moved
    )
    assert all(torch.equal(value, before[name]) for name, value in weights(tuner.base).items())


@pytest.mark.parametrize(
    ("budget", "expected"),
    [(1, [[0], [1], [2], [3]]), (7, [[0, 1], [2], [3]]), (99, [[0, 1, 2, 3]])],
)
def test_packed_micro_batches_keep_to_the_budget(budget, expected):
    assert _filled([3, 4, 9, 2], budget) == expected


# Gradients


@pytest.mark.filterwarnings(OLD_NAME)
@pytest.mark.parametrize("budget", [1, 200, 100_000])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("tuning", TUNINGS, ids=str)
def test_gradients_are_those_of_plain_cross_entropy(folder, tuning, packed, budget):
    tuner = with_setting(folder, **tuning)
    method = tuner.setting.method
    model = adapted(tuner) if method == "lora" else tuner.base.train()
    if method != "lora":
        whole = method == "full"
        trained = model.parameters() if whole else top_parameters(model, tuner.setting)
        for parameter in trained:
            parameter.requires_grad_(True)
    batch = sequences_of(tuner)
    expected_loss = plain_mean(model, batch)
    expected_loss.backward()
    expected = gradients(model)
    run = PackedModel(model, tuner.chat.prefix, tuner.frozen) if packed else model
    loss = accumulate_gradients(run, batch, micro_budget=budget)
    assert loss == pytest.approx(expected_loss.item(), abs=1e-5)
    assert_close(gradients(model), expected)


@pytest.mark.filterwarnings(OLD_NAME)
def test_gradients_add_up_over_batches(tuner):
    model = adapted(tuner)
    batch = sequences_of(tuner)
    accumulate_gradients(model, batch)
    once = gradients(model)
    accumulate_gradients(model, batch)
    accumulate_gradients(model, random.Random(0).sample(batch, len(batch)))
    assert_close(gradients(model), {name: 2 * value for name, value in once.items()})


@pytest.mark.filterwarnings(OLD_NAME)
def test_the_loss_is_that_of_trl(tuner, tmp_path):
    datasets = pytest.importorskip("datasets")
    trl = pytest.importorskip("trl")
    model = adapted(tuner)
    batch = sequences_of(tuner)
    loss = accumulate_gradients(model, batch)
    ours = gradients(model)
    rows = [
        {
            "input_ids": s.ids.tolist(),
            "labels": [-100] * (len(s.ids) - s.n_targets) + s.ids[-s.n_targets :].tolist(),
        }
        for s in batch
    ]
    settings = trl.SFTConfig(
        output_dir=str(tmp_path),
        per_device_train_batch_size=len(rows),
        max_length=512,
        use_cpu=True,
        bf16=False,
        activation_checkpointing=False,
        report_to="none",
        save_strategy="no",
    )
    trainer = trl.SFTTrainer(
        model=model,
        args=settings,
        train_dataset=datasets.Dataset.from_list(rows),
        processing_class=tuner.chat.tokenizer,
    )
    inputs = next(iter(trainer.get_train_dataloader()))
    assert inputs["input_ids"].shape[0] == len(rows)
    theirs = trainer.compute_loss(trainer.model, inputs)
    theirs.backward()
    assert loss == pytest.approx(theirs.item(), abs=1e-4)
    assert_close(ours, gradients(model))
