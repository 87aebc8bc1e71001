"""What layers that are never trained put out: computed once, reused by every run and epoch."""

from __future__ import annotations

import io
import tempfile
import weakref
from collections.abc import Mapping
from typing import IO, Any

import numpy as np
import torch

from instructmining.models.layers import decoder_of, layers_between
from instructmining.models.likelihood import PrefixCache

#: Bytes of states kept at most: 3.7 million tokens of SmolLM2-135M in float32.
DISK_BUDGET = 8 << 30


class FrozenStates:
    """Hidden states entering a layer, for every sequence asked for; the layers below are frozen.

    They lie in a temporary file that vanishes with the process: an experiment runs all its
    mixtures before the second seed, so they are read again only after all others, and
    memory for the whole plan would grow with it. The system keeps in memory what fits.
    What no longer fits on the disk, or finds no folder for temporary files, is computed anew.

    Every sequence is run alone, so that its states depend on nothing but its ids: a
    resumed experiment, which meets other sequences first, ends with the same bits.

    Parameters
    ----------
    model : PreTrainedModel
        Causal language model for which `packed.packs` holds.
    first_layer : int
        The layer the states enter; those below it must not change.
    prefix : ndarray of int32, shape (p,)
        Ids with which many sequences begin; may be empty.
    max_bytes : int
        Bytes kept at most.
    """

    def __init__(
        self, model: Any, first_layer: int, prefix: np.ndarray, *, max_bytes: int = DISK_BUDGET
    ) -> None:
        self.first_layer = first_layer
        self.n_computed = 0
        self._model = model
        self._prefix = prefix
        self._cache: PrefixCache | None = None
        self._room = max_bytes
        self._places: dict[bytes, tuple[int, int]] = {}
        self._dtype = torch.float32
        try:
            # Unbuffered: what a full disk refuses must not wait to be refused again.
            self._file: IO[bytes] = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115
        except OSError:
            self._file, self._room = io.BytesIO(), 0
        # Closed, and with it deleted, when this object goes.
        weakref.finalize(self, self._file.close)

    @torch.no_grad()
    def of(self, ids: np.ndarray, n_prefix: int) -> torch.Tensor:
        """Return the states of `ids` behind the first `n_prefix`.

        Parameters
        ----------
        ids : ndarray of int32, shape (n,)
            A sequence.
        n_prefix : int
            0, or the length of the prefix, with which `ids` then begins.

        Returns
        -------
        Tensor, shape (n - n_prefix, hidden size)
            In the model's number format, on the processor.

        Raises
        ------
        ValueError
            If `ids` do not begin with these ids of the prefix.
        """
        if not np.array_equal(ids[:n_prefix], self._prefix[:n_prefix]):
            raise ValueError("ids do not begin with the prefix these states were made for")
        key = n_prefix.to_bytes(4, "little") + ids.tobytes()
        if key in self._places:
            return self._read(*self._places[key])
        states = self._compute(ids, n_prefix).cpu().contiguous()
        self._dtype = states.dtype
        self._write(key, states)
        return states

    @property
    def n_bytes(self) -> int:
        """Bytes kept."""
        return sum(size for _, size in self._places.values())

    def _compute(self, ids: np.ndarray, n_prefix: int) -> torch.Tensor:
        self.n_computed += 1
        decoder = decoder_of(self._model)
        device = self._model.device
        with layers_between(decoder, 0, self.first_layer):
            options: Mapping[str, Any] = {"use_cache": False}
            if n_prefix:
                self._cache = self._cache or PrefixCache(self._model, self._prefix)
                options = {"past_key_values": self._cache.expand(1), "use_cache": True}
            rest = torch.from_numpy(ids[n_prefix:].astype(np.int64)).to(device)
            states: torch.Tensor = decoder(input_ids=rest[None], **options).last_hidden_state
        return states[0]

    def _read(self, start: int, size: int) -> torch.Tensor:
        self._file.seek(start)
        buffer = torch.frombuffer(bytearray(self._file.read(size)), dtype=self._dtype)
        width: int = self._model.config.get_text_config().hidden_size
        return buffer.reshape(-1, width)

    def _write(self, key: bytes, states: torch.Tensor) -> None:
        data = states.view(torch.uint8).numpy().tobytes()
        if len(data) > self._room:
            return
        start = self._file.seek(0, 2)
        try:
            written = self._file.write(data)
        except OSError:
            written = 0
        if written < len(data):
            # A full disk costs time, not results.
            self._room = 0
            return
        self._room -= len(data)
        self._places[key] = (start, len(data))
