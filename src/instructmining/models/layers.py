"""Some of a decoder's layers run on their own, or watched while all run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch


class _PassThrough(torch.nn.Module):
    """Stands where a layer that does not run stands, so that the others keep their number."""

    def forward(self, hidden_states: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        return hidden_states


def decoder_of(model: Any) -> Any:
    """Return the decoder of a causal language model, its adapters included."""
    # A PEFT wrapper keeps its adapters inside the base model's own modules.
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    return base.get_decoder()


def layer_stack(decoder: Any) -> torch.nn.ModuleList | None:
    """Return the decoder's layers, by whatever name; None if they are not found."""
    wanted = decoder.config.num_hidden_layers
    for child in decoder.children():
        if isinstance(child, torch.nn.ModuleList) and len(child) == wanted:
            return child
    return None


def final_norms(decoder: Any) -> list[torch.nn.Module]:
    """Return what normalises the last layer's output: one module, or none."""
    return [
        child
        for name, child in decoder.named_children()
        if ("norm" in name or name.startswith("ln")) and "embed" not in name
    ]


@contextmanager
def layers_between(decoder: Any, start: int, stop: int | None) -> Iterator[None]:
    """Let `decoder` run only its layers from `start` on and before `stop`.

    Run up to a layer, the decoder gives the states that enter it. Given these as
    ``inputs_embeds`` and run from it on, it gives what it gives as a whole.

    Parameters
    ----------
    decoder : Module
        With ``layers`` and a final ``norm``, as Llama and its many relatives have them.
    start : int
        First layer that runs.
    stop : int or None
        First layer that does not; None runs to the end, final norm included.
    """
    layers, norm = decoder.layers, decoder.norm
    last = len(layers) if stop is None else stop
    decoder.layers = torch.nn.ModuleList(
        layer if start <= index < last else _PassThrough() for index, layer in enumerate(layers)
    )
    if stop is not None:
        decoder.norm = torch.nn.Identity()
    try:
        yield
    finally:
        decoder.layers, decoder.norm = layers, norm


@contextmanager
def watching(decoder: Any, layers: Sequence[int]) -> Iterator[dict[int, torch.Tensor]]:
    """Keep the states that leave some layers while `decoder` runs.

    Parameters
    ----------
    decoder : Module
        With ``layers`` and a final ``norm``.
    layers : sequence of int
        Which: `k` is what layer `k` puts out, counted from 1; after the last, what the
        final norm makes of it (``hidden_states[k]`` of transformers).

    Yields
    ------
    dict
        From each of `layers` to its states, once the decoder has run.
    """
    seen: dict[int, torch.Tensor] = {}
    last = len(decoder.layers)
    hooks = []
    for number in sorted(set(layers)):
        module = decoder.norm if number == last else decoder.layers[number - 1]
        hooks.append(module.register_forward_hook(partial(_keep, seen, number)))
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _keep(
    seen: dict[int, torch.Tensor], number: int, module: torch.nn.Module, given: Any, output: Any
) -> None:
    # Older layers of transformers return a tuple with the states in front.
    seen[number] = output[0] if isinstance(output, tuple) else output


def splits(model: Any, layer: int) -> bool:
    """Whether running up to `layer` and then from it on gives the whole, found out by trying.

    Not where the decoder changes what it is given as ``inputs_embeds`` (scales it, say).
    """
    decoder = decoder_of(model)
    if not all(hasattr(decoder, name) for name in ("layers", "norm")):
        return False
    ids = torch.arange(8, device=model.device)[None] % decoder.config.vocab_size
    with torch.inference_mode():
        expected = decoder(input_ids=ids, use_cache=False).last_hidden_state
        with layers_between(decoder, 0, layer):
            states = decoder(input_ids=ids, use_cache=False).last_hidden_state
        with layers_between(decoder, layer, None):
            found = decoder(inputs_embeds=states, use_cache=False).last_hidden_state
    return close(found, expected, model.dtype)


def close(found: torch.Tensor, expected: torch.Tensor, dtype: torch.dtype) -> bool:
    """Whether two states differ by no more than rounding in the number format of products."""
    off = (found - expected).float().norm() / expected.float().norm()
    return bool(off < (1e-4 if dtype == torch.float32 else 5e-2))
