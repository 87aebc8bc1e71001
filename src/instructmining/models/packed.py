"""Sequences laid end to end, the beginning they share run once: fewer tokens, equal results.

A padded batch runs every token of padding. Here none is run, and what sequences share at
their beginning is run once a batch, which unlike a cache carries gradients: within one
forward pass the weights are the same for every sequence. Where no weight changes it is run
once for all batches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from types import SimpleNamespace
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import numpy as np
import torch

from instructmining.models.attention import attends_ragged, packed_attention
from instructmining.models.layers import close, decoder_of, layers_between, watching
from instructmining.models.likelihood import PrefixCache
from instructmining.models.pack import Pack, padded

# Decoders that `packs` has tried.
_TRIED: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()


class Inputs(Protocol):
    """Where the layers that run get their input from, if not from the embeddings."""

    @property
    def first_layer(self) -> int:
        """The first layer that runs."""

    def of(self, ids: np.ndarray, n_prefix: int) -> torch.Tensor:
        """States entering that layer behind the first `n_prefix` ids, shape (tokens, width)."""


class PackedModel:
    """A causal language model whose batches are run as one row of tokens.

    Stands in for the model wherever only its decoder and its head are asked for, as in
    `likelihood.target_losses`; gives what the model gives, to rounding.

    Parameters
    ----------
    model : PreTrainedModel or PeftModel
        For which `packs` holds.
    prefix : ndarray of int32, shape (p,)
        Ids with which many sequences begin; may be empty.
    inputs : Inputs, optional
        Runs only the layers from ``inputs.first_layer`` on, from these states.
    constant : bool
        Whether no weight changes while this object is in use and no gradient is wanted: the
        prefix is then run once for all batches, not once a batch. Has no effect with `inputs`.
    """

    def __init__(
        self,
        model: Any,
        prefix: np.ndarray,
        inputs: Inputs | None = None,
        *,
        constant: bool = False,
    ) -> None:
        self.model = model
        self.prefix = prefix
        self.inputs = inputs
        self.constant = constant and inputs is None
        self._seen: dict[int, torch.Tensor] = {}

    @cached_property
    def _cache(self) -> PrefixCache:
        return PrefixCache(self.model, self.prefix)

    #: Where ids are wanted: they are laid out before the device sees them.
    reads_from = torch.device("cpu")

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        device: torch.device = self.model.device
        return device

    def get_decoder(self) -> PackedModel:
        """Return this object: it is called as a decoder is."""
        return self

    def get_output_embeddings(self) -> Any:
        """Return the model's head."""
        return self.model.get_output_embeddings()

    def __call__(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        past_key_values: None = None,
        use_cache: bool = False,
    ) -> SimpleNamespace:
        """Run sequences padded on the right.

        Parameters
        ----------
        input_ids, attention_mask : Tensor of int64, shape (sequences, width)
            Ids, and 1 where there is one.
        past_key_values, use_cache
            Must be absent: what many sequences share is run with them.

        Returns
        -------
        SimpleNamespace
            ``last_hidden_state`` of shape (sequences, width, hidden size); what stands in
            places without a token means nothing.
        """
        if past_key_values is not None or use_cache:
            raise ValueError("a packed model takes no cache; give sequences with their prefix")
        lengths = attention_mask.sum(1).tolist()
        table = input_ids.cpu().numpy().astype(np.int32)
        rows = [row[:length] for row, length in zip(table, lengths, strict=True)]
        p = len(self.prefix)
        shares = [0 < p < len(row) and np.array_equal(row[:p], self.prefix) for row in rows]
        pack = Pack.of(lengths, shares, p)
        flat = self._run(rows, pack)
        places = torch.from_numpy(pack.gather(input_ids.shape[1])).to(self.device)
        for number, states in self._seen.items():
            self._seen[number] = padded(_behind(states[0], len(flat)), places)
        return SimpleNamespace(last_hidden_state=padded(flat, places))

    @contextmanager
    def watching(self, layers: Sequence[int]) -> Iterator[dict[int, torch.Tensor]]:
        """Keep the states that leave some layers, padded; see `layers.watching`."""
        with watching(decoder_of(self.model), layers) as seen:
            self._seen = seen
            try:
                yield seen
            finally:
                self._seen = {}

    def _run(self, rows: Sequence[np.ndarray], pack: Pack) -> torch.Tensor:
        """Hidden states of every token of the row, shape (tokens, hidden size)."""
        skips = [pack.n_prefix if sharing else 0 for _, _, sharing in pack.parts]
        cache = self._cache.expand(1) if self.constant and pack.n_prefix else None
        known = pack.n_prefix if cache is not None else 0
        positions = torch.from_numpy(pack.positions()[known:]).to(self.device)[None]
        options: dict[str, Any] = {"position_ids": positions, "past_key_values": cache}
        decoder = decoder_of(self.model)
        if self.inputs is None:
            parts = [self.prefix[known : pack.n_prefix]]
            parts += [row[skip:] for row, skip in zip(rows, skips, strict=True)]
            ids = torch.from_numpy(np.concatenate(parts).astype(np.int64))
            options["input_ids"] = ids.to(self.device)[None]
            first = 0
        else:
            states = [self.inputs.of(self.prefix, 0)] if pack.n_prefix else []
            states += [self.inputs.of(row, skip) for row, skip in zip(rows, skips, strict=True)]
            options["inputs_embeds"] = torch.cat(states).to(self.device)[None]
            first = self.inputs.first_layer
        with packed_attention(self.model), layers_between(decoder, first, None):
            options.update(use_cache=cache is not None, pack=pack)
            flat: torch.Tensor = decoder(**options).last_hidden_state[0]
        return _behind(flat, known + len(flat))


def _behind(flat: torch.Tensor, length: int) -> torch.Tensor:
    """Put blank states before `flat`: nobody asks for those of a prefix that is not run."""
    known = length - len(flat)
    return torch.cat([flat.new_zeros(known, flat.shape[-1]), flat]) if known else flat


def packed(
    model: Any, prefix: np.ndarray, inputs: Inputs | None = None, *, constant: bool = False
) -> Any:
    """Return `model` packed where that is right and pays, else `model` itself.

    Not on an accelerator without a kernel for ragged sequences: one after the other costs more
    than padding there. With `inputs`, made only for models that pack, leaving out layers pays
    everywhere.
    """
    if inputs is None and not packs(model):
        return model
    return PackedModel(model, prefix, inputs, constant=constant)


def packs(model: Any) -> bool:
    """Whether `PackedModel` gives what `model` gives, found out by trying, once per model.

    Not where something is dropped at random, attention looks back over a window only, or
    the decoder does not hand our attention what it needs.
    """
    decoder = decoder_of(model)
    if decoder not in _TRIED:
        _TRIED[decoder] = _try(model, decoder)
    return _TRIED[decoder]


def _try(model: Any, decoder: Any) -> bool:
    config = decoder.config
    if decoder.device.type != "cpu" and not attends_ragged(decoder.device, decoder.dtype):
        return False
    known = all(hasattr(decoder, name) for name in ("layers", "norm", "rotary_emb"))
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    windowed = getattr(config, "sliding_window", None) is not None or kinds != {"full_attention"}
    dropping = getattr(config, "attention_dropout", 0.0) or any(
        isinstance(module, torch.nn.Dropout) and module.p > 0 for module in decoder.modules()
    )
    if not known or windowed or dropping:
        return False
    ids = torch.arange(24, device=model.device).reshape(3, 8) % config.vocab_size
    ids[1:, :3] = ids[0, :3]
    mask = torch.ones_like(ids)
    mask[1, 6:] = 0
    ours = PackedModel(model, ids[0, :3].cpu().numpy().astype(np.int32))
    with torch.inference_mode():
        expected = decoder(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
        try:
            found = ours(ids, mask).last_hidden_state
        except (TypeError, RuntimeError):  # a layer or a kernel that does not take what we give
            return False
    return close(found[mask.bool()], expected[mask.bool()], model.dtype)
