"""A share of work that several processes divide among themselves."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from instructmining.errors import ExperimentError


@dataclass(frozen=True)
class Shard:
    """Every `n`-th run of a plan, or batch of a pool, from the `index`-th on; both count from 1.

    Parameters
    ----------
    index, n : int
        Which of how many shards; ``1 <= index <= n``.
    """

    index: int = 1
    n: int = 1

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read ``I/N``, such as ``2/4``.

        Raises
        ------
        ExperimentError
            If the text is another or the shard does not exist.
        """
        found = re.fullmatch(r"(\d+)/(\d+)", text.strip())
        if not found or not 1 <= int(found[1]) <= int(found[2]):
            raise ExperimentError(f"shard {text!r}: wanted I/N with I from 1 to N, as 1/2")
        return cls(int(found[1]), int(found[2]))

    @classmethod
    def from_environment(cls) -> Shard:
        """Return this process's shard as its launcher numbers it; the whole without one.

        ``torchrun`` and ``accelerate launch`` set ``RANK`` and ``WORLD_SIZE``, Slurm's ``srun``
        sets ``SLURM_PROCID`` and ``SLURM_NTASKS``.

        Raises
        ------
        ExperimentError
            If the numbers make no sense.
        """
        for rank, size in (("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_NTASKS")):
            if rank in os.environ and size in os.environ:
                try:
                    number, n = int(os.environ[rank]), int(os.environ[size])
                except ValueError:
                    number, n = -1, 0
                if not 0 <= number < n:
                    raise ExperimentError(
                        f"{rank} is {os.environ[rank]!r} and {size} {os.environ[size]!r}; wanted "
                        "a number and a larger one, as launchers set them; or give --shard I/N"
                    )
                return cls(number + 1, n)
        return cls()

    def holds(self, position: int) -> bool:
        """Whether what stands at `position`, counted from 0, belongs to this shard."""
        return position % self.n == self.index - 1


#: The shard that holds everything.
WHOLE = Shard()
