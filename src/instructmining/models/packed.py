"""Sequences laid end to end, the beginning they share run once: fewer tokens, equal results.

A padded batch runs every token of padding. Here none is run, and what sequences share at
their beginning is run once a batch, which unlike a cache carries gradients: within one
forward pass the weights are the same for every sequence. Where no weight changes it is run
once for all batches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from types import SimpleNamespace
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch.nn.functional import scaled_dot_product_attention

from instructmining.models.layers import close, decoder_of, layers_between, watching
from instructmining.models.likelihood import PrefixCache

#: Name under which transformers finds the attention below.
ATTENTION = "instructmining_packed"

# Sequences attended to side by side: the longest is at most so many times as long as the
# shortest, and so many tokens.
_SPREAD, _SLACK = 1.25, 16
# Longest sequences all of whose scores exist at one time.
_SQUARE = 512

# Decoders that `packs` has tried.
_TRIED: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()


class Inputs(Protocol):
    """Where the layers that run get their input from, if not from the embeddings."""

    @property
    def first_layer(self) -> int:
        """The first layer that runs."""

    def of(self, ids: np.ndarray, n_prefix: int) -> torch.Tensor:
        """States entering that layer behind the first `n_prefix` ids, shape (tokens, width)."""


@dataclass(frozen=True)
class Pack:
    """Where each sequence stands in one row of tokens.

    Parameters
    ----------
    n_prefix : int
        Tokens at the front of the row that sequences may share; 0 if none does.
    parts : tuple of (start, stop, shares)
        The tokens of each sequence, without the prefix where it shares it.
    """

    n_prefix: int
    parts: tuple[tuple[int, int, bool], ...]

    @classmethod
    def of(cls, lengths: Sequence[int], shares: Sequence[bool], n_prefix: int) -> Pack:
        """Lay out sequences of `lengths` tokens, prefix included."""
        n_prefix = n_prefix if any(shares) else 0
        parts, start = [], n_prefix
        for length, sharing in zip(lengths, shares, strict=True):
            stop = start + length - (n_prefix if sharing else 0)
            parts.append((start, stop, bool(sharing)))
            start = stop
        return cls(n_prefix, tuple(parts))

    def positions(self) -> np.ndarray:
        """Position of every token in its own sequence: int64, shape (tokens,)."""
        rows = [np.arange(self.n_prefix)]
        for start, stop, sharing in self.parts:
            first = self.n_prefix if sharing else 0
            rows.append(np.arange(first, first + stop - start))
        return np.concatenate(rows)

    def gather(self, width: int) -> np.ndarray:
        """Where each token of a padded batch stands in the row: int64, (sequences, width)."""
        found = np.zeros((len(self.parts), width), dtype=np.int64)
        for row, (start, stop, sharing) in enumerate(self.parts):
            before = self.n_prefix if sharing else 0
            found[row, :before] = np.arange(before)
            found[row, before : before + stop - start] = np.arange(start, stop)
        return found

    @cached_property
    def groups(self) -> list[torch.Tensor]:
        """Sequences of similar length, each as `gather` lays it out: (sequences, width)."""
        return [torch.from_numpy(places) for _, places in self._grouped]

    @cached_property
    def back(self) -> torch.Tensor:
        """Where each token of the row stands in `groups` laid end to end: int64, (tokens,)."""
        found = np.empty(self.parts[-1][1], dtype=np.int64)
        start = 0
        for lengths, places in self._grouped:
            used = np.arange(places.shape[1]) < lengths[:, None]
            found[places[used]] = start + np.flatnonzero(used)
            start += places.size
        return torch.from_numpy(found)

    @cached_property
    def _grouped(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Lengths and places of the sequences, group by group."""
        lengths = np.array([stop - start for start, stop, _ in self.parts])
        lengths += [self.n_prefix if sharing else 0 for _, _, sharing in self.parts]
        groups: list[list[int]] = []
        for one in np.argsort(lengths, kind="stable"):
            if not groups or lengths[one] > _SPREAD * lengths[groups[-1][0]] + _SLACK:
                groups.append([])
            groups[-1].append(one)
        places = self.gather(int(lengths.max()))
        return [(lengths[group], places[group, : lengths[group[-1]]]) for group in groups]


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
            self._seen[number] = _padded(_behind(states[0], len(flat)), places)
        return SimpleNamespace(last_hidden_state=_padded(flat, places))

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
        with _attention(self.model), layers_between(decoder, first, None):
            options.update(use_cache=cache is not None, pack=pack)
            flat: torch.Tensor = decoder(**options).last_hidden_state[0]
        return _behind(flat, known + len(flat))


def _behind(flat: torch.Tensor, length: int) -> torch.Tensor:
    """Put blank states before `flat`: nobody asks for those of a prefix that is not run."""
    known = length - len(flat)
    return torch.cat([flat.new_zeros(known, flat.shape[-1]), flat]) if known else flat


def _padded(flat: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    return flat.index_select(0, places.flatten()).reshape(*places.shape, *flat.shape[1:])


def packed(
    model: Any, prefix: np.ndarray, inputs: Inputs | None = None, *, constant: bool = False
) -> Any:
    """Return `model` packed where that is right and pays, else `model` itself.

    Attention goes sequence by sequence, which an accelerator likes less than padding; with
    `inputs`, made only for models that pack, leaving out layers pays everywhere.
    """
    if inputs is None and (model.device.type != "cpu" or not packs(model)):
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
        except TypeError:  # some layer takes no further arguments
            return False
    return close(found[mask.bool()], expected[mask.bool()], model.dtype)


def _attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention of each sequence to itself and, where it shares it, the prefix.

    Shapes are (1, heads, tokens, head size); one result of shape (1, tokens, heads, head
    size) is returned, as transformers wants it.
    """
    pack: Pack = options["pack"]
    repeats = query.shape[1] // key.shape[1]
    if repeats > 1:
        key, value = (x.repeat_interleave(repeats, dim=1) for x in (key, value))
    known = key.shape[2] - query.shape[2]
    if known:  # The cached prefix asks nothing: blank queries make the problem square.
        query = torch.cat([query.new_zeros(*query.shape[:2], known, query.shape[3]), query], dim=2)
    by = _in_groups if torch.is_autocast_enabled("cpu") and query.requires_grad else _one_by_one
    return by((query, key, value), pack, known, options.get("scaling")).transpose(1, 2), None


def _one_by_one(
    tensors: Sequence[torch.Tensor], pack: Pack, known: int, scale: float | None
) -> torch.Tensor:
    # Cut once: the gradient of a slice is as long as what it was cut from.
    sizes = [pack.n_prefix, *(stop - start for start, stop, _ in pack.parts)]
    rows = zip(*(torch.split(x, sizes, dim=2) for x in tensors), strict=True)
    shared = next(rows)
    found = [_causal(shared, scale)] if pack.n_prefix > known else []
    for part, (_, _, sharing) in zip(rows, pack.parts, strict=True):
        if not sharing:
            found.append(_causal(part, scale))
            continue
        # The prefix's own queries are run with each: a square problem needs no mask.
        whole = [torch.cat(pair, dim=2) for pair in zip(shared, part, strict=True)]
        found.append(_causal(whole, scale)[:, :, pack.n_prefix :])
    return torch.cat(found, dim=2)


def _in_groups(
    tensors: Sequence[torch.Tensor], pack: Pack, known: int, scale: float | None
) -> torch.Tensor:
    """Attend with sequences of similar length side by side, padded at their ends.

    The processor's kernel is slow at gradients in bfloat16: two large products and a softmax are
    three to five times as fast. They round the scores, so losses that are read do without.
    """
    query, key, value = (x[0].transpose(0, 1) for x in tensors)
    # A vector taken from every key changes no softmax; scores nearer to 0 are rounded less.
    key = key - key.mean(0, dtype=torch.float32)
    rows = [x.to(torch.bfloat16) for x in (query, key, value)]
    found = []
    for places in pack.groups:
        parts = [_padded(x, places).transpose(1, 2) for x in rows]
        attend = _squares if places.shape[1] <= _SQUARE else _causal
        found.append(attend(parts, scale).transpose(1, 2).flatten(0, 1))
    return torch.cat(found).index_select(0, pack.back[known:]).transpose(0, 1)[None]


def _squares(parts: Sequence[torch.Tensor], scale: float | None) -> torch.Tensor:
    """Causal attention with all scores at one time; shapes (sequences, heads, width, size)."""
    query, key, value = (x.flatten(0, 1) for x in parts)
    n, width, size = query.shape
    later = query.new_full((width, width), -torch.inf).triu(1).expand(n, width, width)
    scores = torch.baddbmm(later, query, key.transpose(1, 2), alpha=scale or size**-0.5)
    return torch.bmm(torch.softmax(scores, dim=-1), value).view_as(parts[0])


def _causal(parts: Sequence[torch.Tensor], scale: float | None) -> torch.Tensor:
    query, key, value = parts
    return scaled_dot_product_attention(query, key, value, is_causal=True, scale=scale)


@contextmanager
def _attention(model: Any) -> Iterator[None]:
    """Let `model` attend as `_attend` does; where no mask function is known none is built."""
    from transformers import AttentionInterface

    AttentionInterface.register(ATTENTION, _attend)
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    before = base.config._attn_implementation
    base.set_attn_implementation(ATTENTION)
    try:
        yield
    finally:
        base.set_attn_implementation(before)
