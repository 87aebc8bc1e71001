"""Models for workers elsewhere: they note every batch in a file, and some die of it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from instructmining.errors import ModelError
from instructmining.indicators.base import Need
from scoring.counting import CountingPass, digest_of


@dataclass
class MortalPass(CountingPass):
    """Notes the first row of every batch before it runs it.

    A batch that holds the `fatal` row kills its process `deaths` times in all.
    """

    folder: Path = Path()
    fatal: int = -1
    deaths: int = 0
    refuses: bool = False

    def run(self, given: Sequence[Any]) -> Any:
        with (self.folder / "ran").open("a") as ran:
            ran.write(",".join([self.kind, *map(digest_of, given)]) + "\n")
        if self.refuses:
            raise ModelError("this model does not run")
        if self.fatal in [item.row for item in given] and self._dies():
            os.kill(os.getpid(), signal.SIGKILL)
        return super().run(given)

    def _dies(self) -> bool:
        with (self.folder / "deaths").open("a+") as died:
            died.write("x")
            return died.tell() <= self.deaths


@dataclass
class MortalModels:
    """Builds passes that note what they run in `folder`."""

    folder: Path
    fatal: int = -1
    deaths: int = 0
    refuses: bool = False
    dtypes: tuple[str, ...] = ("float32",)

    def build(self, needs: Iterable[Need]) -> MortalPass:
        (kind,) = {need.kind for need in needs}
        # One after the other: as if nodes of several kinds met in a cluster.
        with (self.folder / "built").open("a+") as built:
            dtype = self.dtypes[min(built.tell(), len(self.dtypes) - 1)]
            built.write("x")
        settings = (self.folder, self.fatal, self.deaths, self.refuses)
        return MortalPass(kind, frozenset(), 60, "m", dtype, [], *settings)

    def ran(self) -> list[str]:
        """Batches begun: kind of pass, then the content hashes of the rows."""
        return (self.folder / "ran").read_text().splitlines()
