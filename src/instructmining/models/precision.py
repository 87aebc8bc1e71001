"""Products in bfloat16, everything between them in float32: the speed of one, nearly the other.

Rounded after every layer, the states that layers add to lose more than the products do:
kept in float32 the losses of responses are half as far from those of float32, at the same
speed (docs/results.md). Small updates of trained weights would be lost whole, so these are
kept in float32 as well (`experiments.tuning.methods`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from instructmining.models.layers import decoder_of


def keep_float32_between(model: Any) -> None:
    """Let `model` add up its states in float32; nothing changes unless it is in bfloat16.

    Parameters
    ----------
    model : PreTrainedModel
        Causal language model; changed in place. What its decoder gives is float32 from now
        on, what multiplies it (the head) must be given its own number format.
    """
    if model.dtype != torch.bfloat16:
        return
    model.get_input_embeddings().register_forward_hook(_widen)
    for module in (model, decoder_of(model)):
        module.forward = _with_bfloat16_products(module.forward, model.device.type)


def _widen(module: torch.nn.Module, given: Any, output: torch.Tensor) -> torch.Tensor:
    return output.float()


def _with_bfloat16_products(forward: Callable[..., Any], device: str) -> Callable[..., Any]:
    wrapped: Callable[..., Any] = torch.autocast(device, torch.bfloat16)(forward)
    return wrapped
