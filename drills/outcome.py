"""What came of a drill, and the table of all of them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

#: Deviations printed at most per drill; the JSON holds all.
_SHOWN = 3


@dataclass
class Outcome:
    """One drill, carried out `times` times.

    Attributes
    ----------
    fault, stage : str
        What was done, and to which command.
    times : int
        How many faults there were.
    ends : dict of str to int
        How the faults ended, in words, with counts.
    deviations : list of str
        What should not have been; empty if the drill passed.
    seconds : float
        Wall time of the whole drill.
    """

    fault: str
    stage: str
    times: int = 0
    ends: dict[str, int] = field(default_factory=dict)
    deviations: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def ended(self, how: str) -> None:
        """Count one fault that ended as it may."""
        self.times += 1
        self.ends[how] = self.ends.get(how, 0) + 1

    def expect(self, holds: bool, otherwise: str) -> None:
        """Note a deviation unless something holds."""
        if not holds:
            self.deviations.append(otherwise)

    @property
    def passed(self) -> bool:
        """Whether the fault happened at all, and nothing deviated."""
        return self.times > 0 and not self.deviations


@contextmanager
def drill(fault: str, stage: str) -> Iterator[Outcome]:
    """Yield an outcome to fill, and time it."""
    outcome = Outcome(fault, stage)
    began = time.perf_counter()
    yield outcome
    outcome.seconds = round(time.perf_counter() - began, 1)


def markdown(outcomes: Sequence[Outcome]) -> str:
    """Return the table of outcomes, deviations below it."""
    lines = ["| fault | stage | times | how they ended | seconds | |", "|---|---|---|---|---|---|"]
    for one in outcomes:
        ends = "; ".join(f"{n} {how}" for how, n in one.ends.items())
        mark = "passed" if one.passed else "**DEVIATES**"
        cells = [one.fault, one.stage, str(one.times), ends, f"{one.seconds:.0f}", mark]
        lines.append(f"| {' | '.join(cells)} |")
    for one in outcomes:
        shown = one.deviations[:_SHOWN] or ([] if one.passed else ["no fault happened"])
        lines += [f"\n- {one.fault}, {one.stage}: {text}" for text in shown]
    return "\n".join(lines) + "\n"
