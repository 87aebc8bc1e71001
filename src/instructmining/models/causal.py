"""The causal language model pass: likelihood of the response, with and without its prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch

from instructmining.errors import ModelError, first_line
from instructmining.examples import Example
from instructmining.models.base import CausalOutput, Item, unscorable
from instructmining.models.chat import ChatTokenizer
from instructmining.models.likelihood import (
    PrefixCache,
    TargetSequence,
    sums_per_sequence,
    target_losses,
    target_losses_and_states,
)
from instructmining.models.packed import packed
from instructmining.models.precision import keep_float32_between
from instructmining.models.runtime import (
    pick_device,
    pick_dtype,
    quiet_loading,
    run_or_halve,
    token_budget,
)
from instructmining.models.sources import ModelFiles, check_unchanged


class CausalPass:
    """One causal language model run over prompts and responses.

    Parameters
    ----------
    files : ModelFiles
        The model, as `instructmining.models.sources.resolve` found it.
    alone : bool
        Whether to compute the likelihood of the response without its prompt as well.
    layers : sequence of int
        Layers whose mean states over the response are wanted.
    """

    def __init__(
        self, files: ModelFiles, *, alone: bool = False, layers: Sequence[int] = ()
    ) -> None:
        self.files = files
        self.alone = alone
        self.layers = tuple(sorted(set(layers)))
        self.device = pick_device()
        self.dtype = pick_dtype(self.device)
        self.budget = token_budget(self.device)
        self.chat = ChatTokenizer(files.folder)

    @property
    def definition(self) -> Mapping[str, Any]:
        """What the likelihoods depend on."""
        return {
            "model": self.files.name,
            "weights": self.files.weights,
            "template": self.chat.template_hash,
            "truncation": f"prompt-front/{self.chat.max_tokens}",
        }

    @property
    def recorded(self) -> Mapping[str, Any]:
        """Number format and device: recorded, never compared."""
        return {"dtype": str(self.dtype).removeprefix("torch."), "device": self.device.type}

    @cached_property
    def model(self) -> Any:
        """The model, loaded at first use and kept in evaluation mode."""
        return load_causal_lm(self.files, self.device, self.dtype)

    @cached_property
    def _prefix(self) -> PrefixCache:
        return PrefixCache(self.model, self.chat.prefix)

    @cached_property
    def _packed(self) -> Any:
        """The model as batches are run on it: packed where that pays, else itself."""
        return packed(self.model, self.chat.prefix, constant=True)

    def prepare(self, examples: Sequence[Example]) -> list[Item]:
        """Tokenise examples; a row its template refuses gets the flag ``template_refused``."""
        items = []
        for example, tokens in zip(examples, self.chat.tokenise(examples), strict=True):
            if tokens is None or len(tokens.response) == 0:
                flag = "template_refused" if tokens is None else "empty_response"
                items.append(unscorable(example.row, flag))
                continue
            payload: tuple[np.ndarray, ...] = (tokens.prompt, tokens.response)
            if self.layers:  # the response's last token is read too: one stands after it
                payload = (*payload, np.asarray([tokens.end], dtype=np.int32))
            skipped = len(self.chat.prefix) if tokens.has_prefix else 0
            cost = sum(map(len, payload)) - skipped - 1
            group = "prefix" if tokens.has_prefix else "plain"
            items.append(Item(example.row, cost, group, payload, tokens.flags))
        return items

    def run(self, items: Sequence[Item]) -> CausalOutput:
        """Score one batch; on CUDA it is halved for as long as memory runs out."""
        if not items[0].payload:
            undefined = np.full(len(items), np.nan)
            width = self.model.config.get_text_config().hidden_size if self.layers else 0
            states = {layer: np.full((len(items), width), np.nan) for layer in self.layers}
            return CausalOutput(undefined, undefined if self.alone else None, states)
        output = run_or_halve(self._run, items, _join)
        check_unchanged(self.files)
        return output

    def _run(self, items: Sequence[Item]) -> CausalOutput:
        # A packed model finds the prefix in the sequences itself.
        padded = self._packed is self.model
        prefix = self._prefix if padded and items[0].group == "prefix" else None
        skip = prefix.length if prefix else 0
        given = [
            TargetSequence(np.concatenate([prompt[skip:], *rest]), sum(map(len, rest)))
            for prompt, *rest in (item.payload for item in items)
        ]
        nll, states = self._means(given, prefix, self.layers)
        if not self.alone:
            return CausalOutput(nll, None, states)
        bos = np.asarray([self.chat.bos], dtype=np.int32)
        responses = [item.payload[1] for item in items]
        alone = [TargetSequence(np.concatenate([bos, ids]), len(ids)) for ids in responses]
        return CausalOutput(nll, self._means(alone, None)[0], states)

    @torch.inference_mode()
    def _means(
        self,
        batch: Sequence[TargetSequence],
        prefix: PrefixCache | None,
        layers: Sequence[int] = (),
    ) -> tuple[np.ndarray, dict[int, np.ndarray]]:
        """Mean over the response of the losses, and of the states some layers had."""
        counts = [sequence.n_targets for sequence in batch]
        if not layers:
            losses = target_losses(self._packed, batch, prefix)
            means: np.ndarray = sums_per_sequence(losses, batch) / counts
            return means, {}
        losses, states = target_losses_and_states(self._packed, batch, prefix, layers)
        # The end token's loss is not the response's; the first target's state is the prompt's.
        nll = [part[:-1].double().mean().item() for part in torch.split(losses, counts)]
        return np.asarray(nll), {
            layer: np.stack(
                [part[1:].float().mean(0).cpu().numpy() for part in torch.split(of, counts)]
            )
            for layer, of in states.items()
        }


def load_causal_lm(files: ModelFiles, device: torch.device, dtype: torch.dtype) -> Any:
    """Load a causal language model for inference.

    Raises
    ------
    ModelError
        If the folder does not hold one, weights of it are missing, or it changes its
        logits after the head, which is applied on its own here.
    """
    from transformers import AutoModelForCausalLM

    quiet_loading()
    try:
        model, report = AutoModelForCausalLM.from_pretrained(
            files.folder, dtype=dtype, output_loading_info=True, trust_remote_code=False
        )
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{files.name}: cannot be loaded as a causal language model ({first_line(error)})"
        ) from error
    if report["missing_keys"]:
        missing = ", ".join(sorted(report["missing_keys"])[:3])
        raise ModelError(f"{files.name}: weights are missing ({missing}); a whole model was wanted")
    model = model.to(device).eval()
    keep_float32_between(model)
    if not _head_gives_logits(model):
        raise ModelError(
            f"{files.name}: models of type {model.config.model_type} change their logits after "
            "the head (scaled or capped), which is not supported; choose another model"
        )
    return model


@torch.inference_mode()
def _head_gives_logits(model: Any) -> bool:
    ids = torch.arange(4, device=model.device)[None]
    hidden = model.get_decoder()(input_ids=ids, use_cache=False).last_hidden_state
    head = model.get_output_embeddings()
    ours = head(hidden.to(head.weight.dtype)).float()
    theirs = model(input_ids=ids, use_cache=False).logits.float()
    return torch.allclose(ours, theirs, rtol=1e-3, atol=1e-3)


def _join(parts: Sequence[CausalOutput]) -> CausalOutput:
    alone = [part.nll_alone for part in parts if part.nll_alone is not None]
    return CausalOutput(
        np.concatenate([part.nll for part in parts]),
        np.concatenate(alone) if alone else None,
        {k: np.concatenate([part.states[k] for part in parts]) for k in parts[0].states},
    )
