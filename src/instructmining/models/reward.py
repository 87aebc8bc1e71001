"""The reward model pass: one logit per example, as the model's own files want it asked."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch

from instructmining.errors import ModelError, first_line
from instructmining.examples import Example
from instructmining.models.base import Item, RewardOutput
from instructmining.models.gpt_neox_reward import GPTNeoXRewardConfig, GPTNeoXRewardModel
from instructmining.models.reward_inputs import OASST_MODEL_TYPE, reward_input
from instructmining.models.runtime import (
    pick_device,
    pick_dtype,
    quiet_loading,
    run_or_halve,
    token_budget,
)
from instructmining.models.sources import ModelFiles, check_unchanged


class RewardPass:
    """One reward model run over whole conversations.

    Three kinds of models are told apart by their files: OpenAssistant's Pythia models
    (``gpt_neox_reward_model``), sequence classifiers whose tokenizer brings a chat
    template, and others, which read question and answer as a pair
    (`instructmining.models.reward_inputs`). Decoders are read at the last token of each
    sequence, whatever the padding id is.

    Parameters
    ----------
    files : ModelFiles
        The model, as `instructmining.models.sources.resolve` found it.
    max_tokens : int, optional
        Longer examples are cut: first the front of the prompt, then the response's end.
        Default: 2,048, or 512 of a pair, or what the model has positions for.

    Raises
    ------
    ModelError
        If the folder holds no reward model of one output, or no usable tokenizer.
    """

    def __init__(self, files: ModelFiles, *, max_tokens: int | None = None) -> None:
        self.files = files
        self.device = pick_device()
        self.dtype = pick_dtype(self.device)
        self.budget = token_budget(self.device)
        self.config = load_config(files)
        self.input = reward_input(files.folder, self.config, max_tokens)

    @property
    def definition(self) -> Mapping[str, Any]:
        """What the rewards depend on."""
        return {
            "model": self.files.name,
            "weights": self.files.weights,
            **self.input.definition,
        }

    @property
    def recorded(self) -> Mapping[str, Any]:
        """Number format and device: recorded, never compared."""
        return {"dtype": str(self.dtype).removeprefix("torch."), "device": self.device.type}

    @cached_property
    def model(self) -> Any:
        """The model, loaded at first use and kept in evaluation mode."""
        return load_reward_model(self.files, self.config, self.device, self.dtype)

    def prepare(self, examples: Sequence[Example]) -> list[Item]:
        """Tokenise examples; refused turns and empty responses are flagged."""
        return self.input.prepare(examples)

    def run(self, items: Sequence[Item]) -> RewardOutput:
        """Score one batch; it is halved for as long as memory runs out."""
        if not items[0].payload:
            return RewardOutput(np.full(len(items), np.nan))
        output = run_or_halve(self._run, items, _join)
        check_unchanged(self.files)
        return output

    @torch.inference_mode()
    def _run(self, items: Sequence[Item]) -> RewardOutput:
        lengths = torch.tensor([item.cost for item in items])
        mask = (torch.arange(int(lengths.max())) < lengths[:, None]).long()
        batch = {"attention_mask": mask.to(self.device)}
        # Padding is masked, so its id is any the model has an embedding for; only models
        # that count positions by it need the true one.
        padding = self.config.get_text_config().pad_token_id or 0
        names = ("input_ids", "token_type_ids")
        for index, name in enumerate(names[: len(items[0].payload)]):
            ids = torch.full_like(mask, 0 if index else padding)
            ids[mask.bool()] = torch.from_numpy(
                np.concatenate([item.payload[index] for item in items]).astype(np.int64)
            )
            batch[name] = ids.to(self.device)
        logits = _logits(self.model, batch, lengths.to(self.device))
        return RewardOutput(logits[:, 0].double().cpu().numpy())


def load_config(files: ModelFiles) -> Any:
    """Read the settings of a reward model.

    Raises
    ------
    ModelError
        If they cannot be read, or are of a model with more than one output.
    """
    from transformers import AutoConfig

    try:
        written = json.loads((files.folder / "config.json").read_bytes())
        if isinstance(written, dict) and written.get("model_type") == OASST_MODEL_TYPE:
            return GPTNeoXRewardConfig.from_pretrained(files.folder)
        config = AutoConfig.from_pretrained(files.folder, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise _not_a_reward_model(files, error) from error
    if config.num_labels != 1:
        raise ModelError(
            f"{files.name}: config.json is of a model with {config.num_labels} outputs, one "
            "(num_labels 1) was wanted; choose a reward model"
        )
    return config


def load_reward_model(
    files: ModelFiles, config: Any, device: torch.device, dtype: torch.dtype
) -> Any:
    """Load a reward model for inference; its head is kept in float32.

    Parameters
    ----------
    files : ModelFiles
        The model.
    config : PreTrainedConfig
        Its settings, from `load_config`.
    device : torch.device
        Where to run it.
    dtype : torch.dtype
        Number format of everything but the head.

    Raises
    ------
    ModelError
        If the folder does not hold one, weights of it are missing, or it is a decoder that
        does not read its score at the last token.
    """
    from transformers import AutoModelForSequenceClassification

    is_oasst = config.model_type == OASST_MODEL_TYPE
    kind = GPTNeoXRewardModel if is_oasst else AutoModelForSequenceClassification
    options: dict[str, Any] = {} if is_oasst else {"trust_remote_code": False}
    quiet_loading()
    try:
        model, report = kind.from_pretrained(
            files.folder,
            config=config,
            dtype=dtype,
            use_safetensors=True,
            output_loading_info=True,
            **options,
        )
    # Weights of another shape are a RuntimeError.
    except (OSError, ValueError, RuntimeError) as error:
        raise _not_a_reward_model(files, error) from error
    if report["missing_keys"]:
        missing = ", ".join(sorted(report["missing_keys"])[:3])
        raise ModelError(
            f"{files.name}: weights are missing ({missing}){_in_their_place(report)}; a whole "
            "reward model was wanted, with the config.json it was published with"
        )
    model = model.to(device).eval()
    _keep_head_in_float32(model)
    if _is_decoder(model) and not _reads_last_token(model):
        raise ModelError(
            f"{files.name}: models of type {config.model_type} do not read their score at the "
            "last token, which is not supported; choose another model"
        )
    return model


def _not_a_reward_model(files: ModelFiles, error: Exception) -> ModelError:
    return ModelError(f"{files.name}: cannot be loaded as a reward model ({first_line(error)})")


def _in_their_place(report: Mapping[str, Any]) -> str:
    unexpected = sorted(report["unexpected_keys"])
    return f", there are others ({', '.join(unexpected[:3])})" if unexpected else ""


def _keep_head_in_float32(model: Any) -> None:
    """Run what stands on top of the base model in float32: bfloat16 has three digits."""
    for child in model.children():
        if child is not model.base_model:
            child.float()
            child.register_forward_pre_hook(_to_float32)


def _to_float32(_: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(
        value.float() if torch.is_tensor(value) and value.is_floating_point() else value
        for value in inputs
    )


def _is_decoder(model: Any) -> bool:
    """Whether this is one of transformers' decoders with a matrix for a head."""
    return isinstance(getattr(model, "score", None), torch.nn.Linear)


def _logits(model: Any, batch: Mapping[str, torch.Tensor], lengths: torch.Tensor) -> torch.Tensor:
    if not _is_decoder(model):
        logits: torch.Tensor = model(**batch).logits
        return logits
    # Called whole, a decoder looks for the padding id and goes wrong where that ends turns.
    hidden = model.base_model(**batch, use_cache=False).last_hidden_state
    logits = model.score(hidden[torch.arange(len(hidden), device=hidden.device), lengths - 1])
    return logits


@torch.inference_mode()
def _reads_last_token(model: Any) -> bool:
    padding = model.config.get_text_config().pad_token_id
    few = [token for token in range(5) if token != padding][:4]
    batch = {"input_ids": torch.tensor([few], device=model.device)}
    ours = _logits(model, batch, torch.tensor([len(few)], device=model.device))
    return torch.allclose(ours, model(**batch).logits.float(), rtol=1e-3, atol=1e-3)


def _join(parts: Sequence[RewardOutput]) -> RewardOutput:
    return RewardOutput(np.concatenate([part.reward for part in parts]))
