"""What a method trains, and how the base model is had back afterwards, bit for bit."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch

from instructmining.errors import ExperimentError
from instructmining.experiments.tuning.training import TrainingSetting
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
    parameters = base.parameters() if setting.n_layers is None else top_parameters(base, setting)
    return _weights(base, parameters)


def top_parameters(base: Any, setting: TrainingSetting) -> list[torch.nn.Parameter]:
    """Return the weights of the last layers and of the final norm; see `n_frozen`."""
    decoder = decoder_of(base)
    stack = list(layer_stack(decoder) or ())
    trained = [*stack[n_frozen(base, setting) :], *final_norms(decoder)]
    return [parameter for module in trained for parameter in module.parameters()]


def n_frozen(base: Any, setting: TrainingSetting) -> int:
    """Count the layers below the first one that is trained.

    Raises
    ------
    ExperimentError
        If the model has fewer layers than are to be trained, or they are not found.
    """
    if setting.n_layers is None:
        return 0
    decoder = decoder_of(base)
    stack = layer_stack(decoder)
    if stack is None or len(stack) < setting.n_layers:
        found = "no layers that could be found" if stack is None else f"{len(stack)} layers"
        raise ExperimentError(
            f"n_layers {setting.n_layers} came, a model of type {decoder.config.model_type} has "
            f"{found}; give fewer or choose another method"
        )
    return len(stack) - setting.n_layers


@contextmanager
def _adapters(base: Any, setting: TrainingSetting) -> Iterator[Any]:
    from peft import LoraConfig, get_peft_model

    first = n_frozen(base, setting)
    layers = range(first, first + (setting.n_layers or 0))
    config = LoraConfig(
        r=setting.rank,
        lora_alpha=setting.alpha,
        target_modules=list(setting.target_modules),
        layers_to_transform=list(layers) or None,
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
    kept = [parameter.data for parameter in trained]
    for parameter in trained:
        # In bfloat16 most updates would be smaller than half a step, and lost.
        parameter.data = parameter.detach().to(torch.float32, copy=True)
        parameter.requires_grad_(True)
    try:
        yield base
    finally:
        base.requires_grad_(False)
        for parameter, before in zip(trained, kept, strict=True):
            parameter.grad = None
            parameter.data = before
