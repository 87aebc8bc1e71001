"""The state of a training on disk, so that one that was stopped goes on from its last steps."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from instructmining.errors import InputError
from instructmining.files import replacing

#: Seconds of training between two states; more where writing one takes long.
EVERY_S = 300.0

#: Share of the time that goes into writing, at most.
MOST_SHARE = 0.02

#: Larger states are not written: every weight of a large model in float32, and twice as much
#: that its optimiser keeps, would fill a disk unasked.
MOST_BYTES = 2 << 30


class Checkpoint:
    """What an optimiser has made of some parameters so far.

    A training that is restored ends with the bits it would have ended with, on the same
    machine.

    Parameters
    ----------
    path : Path, optional
        Where the state is written; without one nothing is.
    parameters : sequence of Parameter
        What is trained.
    optimiser : Optimizer
        Of these parameters, in one group; its state is tensors, two as large as a parameter.

    Attributes
    ----------
    steps : int
        Optimiser steps made, those of earlier processes among them.
    """

    def __init__(
        self,
        path: Path | None,
        parameters: Sequence[torch.nn.Parameter],
        optimiser: torch.optim.Optimizer,
    ) -> None:
        n_bytes = sum(3 * p.numel() * p.element_size() for p in parameters)
        self._path = path if n_bytes <= MOST_BYTES else None
        self._parameters, self._optimiser = parameters, optimiser
        self.steps = 0
        self._earlier = 0.0
        self._began = self._written = time.perf_counter()
        self._wait = EVERY_S

    @property
    def seconds(self) -> float:
        """Seconds of training, those of earlier processes up to their last state among them."""
        return self._earlier + time.perf_counter() - self._began

    def restore(self) -> int:
        """Take up what an earlier process left; return how many steps are behind it."""
        if self._path is None:
            return 0
        try:
            with safe_open(self._path, framework="pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                told = file.metadata()
        except (OSError, SafetensorError):  # none, or a damaged one
            return 0
        self._take(tensors)
        self.steps, self._earlier = int(told["steps"]), float(told["seconds"])
        return self.steps

    def advance(self) -> None:
        """Count a step, and write the state down if it is time."""
        self.steps += 1
        if self._path is not None and time.perf_counter() - self._written >= self._wait:
            self._write(self._path)

    def _take(self, tensors: Mapping[str, torch.Tensor]) -> None:
        kept = self._optimiser.state_dict()
        for place, parameter in enumerate(self._parameters):
            start = f"{place}."
            own = {n.removeprefix(start): t for n, t in tensors.items() if n.startswith(start)}
            parameter.data.copy_(own.pop(_VALUE))
            kept["state"][place] = own
        self._optimiser.load_state_dict(kept)
        torch.set_rng_state(tensors[_RANDOM])
        if torch.cuda.is_available():
            torch.cuda.set_rng_state(tensors[_RANDOM_CUDA])

    def _write(self, path: Path) -> None:
        started = time.perf_counter()
        tensors = {_RANDOM: torch.get_rng_state()}
        if torch.cuda.is_available():
            tensors[_RANDOM_CUDA] = torch.cuda.get_rng_state()
        state = self._optimiser.state_dict()["state"]
        for place, parameter in enumerate(self._parameters):
            own = {_VALUE: parameter.detach(), **state[place]}
            tensors |= {f"{place}.{name}": tensor.contiguous() for name, tensor in own.items()}
        told = {"steps": str(self.steps), "seconds": repr(self.seconds)}
        # A full disk only costs what a stop would cost; the training goes on.
        with suppress(InputError, SafetensorError), replacing(path) as temporary:
            save_file(tensors, temporary, told)
        self._written = time.perf_counter()
        self._wait = max(EVERY_S, (self._written - started) / MOST_SHARE)


# Names of tensors in a file: a parameter's own are its place, a dot, and what the optimiser
# calls them, or this.
_VALUE = "value"
_RANDOM, _RANDOM_CUDA = "random", "random.cuda"


@contextmanager
def kept_until_done(path: Path | None) -> Iterator[None]:
    """Remove a state, if there is one, when the block is through; keep it if that fails."""
    yield
    if path is not None:
        with suppress(OSError):  # never was one, or other runs have theirs there
            path.unlink(missing_ok=True)
            path.parent.rmdir()
