"""What a method trains, and how the base model is had back afterwards, bit for bit."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch

from instructmining.errors import ExperimentError
from instructmining.experiments.training import TrainingSetting
from instructmining.models.layers import decoder_of, final_norms, layer_stack


def trainable(base: Any, setting: TrainingSetting) -> AbstractContextManager[Any]:
    """Lend `base` with what `setting.method` trains switched on.

    Parameters
    ----------
    base : PreTrainedModel
        Frozen; on leaving it is frozen again and has the weights it had.
    setting : TrainingSetting
        The method and its parameters.

    Returns
    -------
    context manager
        Yields the model; its parameters that require gradients are those to train.
    """
    if setting.method == "lora":
        return _adapters(base, setting)
    parameters = top_parameters(base, setting.n_layers) if setting.method == "top" else None
    return _weights(base, parameters or list(base.parameters()))


def top_parameters(base: Any, n_layers: int) -> list[torch.nn.Parameter]:
    """Return the weights of the last `n_layers` layers and of the final norm.

    Raises
    ------
    ExperimentError
        If the model has fewer layers, or they are not found.
    """
    decoder = decoder_of(base)
    stack = layer_stack(decoder)
    if stack is None or len(stack) < n_layers:
        found = "no layers that could be found" if stack is None else f"{len(stack)} layers"
        raise ExperimentError(
            f"n_layers {n_layers} came, a model of type {decoder.config.model_type} has {found}; "
            "give fewer or choose another method"
        )
    trained = [*stack[-n_layers:], *final_norms(decoder)]
    return [parameter for module in trained for parameter in module.parameters()]


@contextmanager
def _adapters(base: Any, setting: TrainingSetting) -> Iterator[Any]:
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=setting.rank,
        lora_alpha=setting.alpha,
        target_modules=list(setting.target_modules),
        task_type="CAUSAL_LM",
    )
    with warnings.catch_warnings():
        # PEFT still asks transformers by the old name; users can do nothing about it.
        warnings.filterwarnings(
            "ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning
        )
        model = get_peft_model(base, config)
    try:
        yield model
    finally:
        model.unload()
        base.requires_grad_(False)


@contextmanager
def _weights(base: Any, parameters: Iterable[torch.nn.Parameter]) -> Iterator[Any]:
    trained = list(parameters)
    kept = [parameter.detach().clone() for parameter in trained]
    for parameter in trained:
        parameter.requires_grad_(True)
    try:
        yield base
    finally:
        base.requires_grad_(False)
        with torch.no_grad():
            for parameter, before in zip(trained, kept, strict=True):
                parameter.grad = None
                parameter.copy_(before)
