"""Timing in turn, medians and spread, and the rows of the table every benchmark fills.

A benchmark is a module of this folder with one function::

    def run(options: Options) -> list[Row]:
        examples, pool = sample(options.rows or 64, options.seed)  # benchmarks.pool
        ours, theirs = in_turn([lambda: fast(examples), lambda: slow(examples)], options.repeats)
        return [
            Row(
                what=f"mtld, {len(examples)} rows of {pool}",
                unit="rows/s",
                ours=ours.rates(len(examples)),
                theirs=theirs.rates(len(examples)),
                against="lexicalrichness",
                agreement=Agreement("identical", ours.result == theirs.result),
                aim=Aim("ratio", 4.0),
            )
        ]

Loading, and one untimed call of each contestant on a few rows, come before `in_turn`.
Numbers without a rival leave `theirs` and `against` out; a limit on the number itself is
``Aim("ours", 30.0)``. Heavy libraries are imported inside functions, talk goes to `say`.
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

REPOSITORY = Path(__file__).resolve().parents[1]

#: Packages whose versions stand below the table, where they are installed.
PACKAGES = (
    "instructmining",
    "torch",
    "transformers",
    "sentence-transformers",
    "numpy",
    "polars",
    "scikit-learn",
    "lexicalrichness",
    "pynndescent",
    "usearch",
)


@dataclass(frozen=True)
class Options:
    """What the command line gave.

    Parameters
    ----------
    rows : int, optional
        Rows of the pool to score; by default each benchmark's own number.
    repeats : int
        Rounds; in each, every contestant runs once.
    seed : int
        Seed of the sample of rows, and of everything random.
    wana_python : Path, optional
        Interpreter of an environment with wana; by default one is made in ``.bench/wana``.
    """

    rows: int | None = None
    repeats: int = 3
    seed: int = 0
    wana_python: Path | None = None


@dataclass(frozen=True)
class Timed:
    """One contestant's times and what its calls returned, a round each.

    Parameters
    ----------
    seconds : tuple of float
        Wall times.
    results : tuple
        What the calls returned.
    """

    seconds: tuple[float, ...]
    results: tuple[Any, ...]

    @property
    def result(self) -> Any:
        """What the last call returned."""
        return self.results[-1]

    def rates(self, amount: float) -> tuple[float, ...]:
        """Return ``amount`` per second, for every round."""
        return tuple(amount / seconds for seconds in self.seconds)


def in_turn(
    contestants: Sequence[Callable[[], Any]],
    repeats: int,
    clock: Callable[[], float] = time.perf_counter,
) -> list[Timed]:
    """Time contestants in turn, so that a slow minute of the machine meets them all.

    Every round runs each contestant once, and every other round in reverse order.

    Parameters
    ----------
    contestants : sequence of callable
        Each does its whole work when called.
    repeats : int
        Rounds, at least 1.
    clock : callable
        Seconds now.

    Returns
    -------
    list of Timed
        One per contestant, in their order.
    """
    seconds: list[list[float]] = [[] for _ in contestants]
    results: list[list[Any]] = [[] for _ in contestants]
    order = list(range(len(contestants)))
    for _ in range(repeats):
        for index in order:
            began = clock()
            result = contestants[index]()
            seconds[index].append(clock() - began)
            results[index].append(result)
        order.reverse()
    return [Timed(tuple(s), tuple(r)) for s, r in zip(seconds, results, strict=True)]


@dataclass(frozen=True)
class Spread:
    """Median, least and greatest of repeated measurements."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Summarise at least one value."""
        return cls(statistics.median(values), min(values), max(values))

    def __str__(self) -> str:
        if self.low == self.high:
            return _figure(self.median)
        return f"{_figure(self.median)} ({_figure(self.low)}–{_figure(self.high)})"


def _figure(value: float) -> str:
    """Three significant digits, never an exponent."""
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.3g}"


@dataclass(frozen=True)
class Agreement:
    """Whether both contestants give the same scores, and how near they are, in words."""

    text: str
    holds: bool


@dataclass(frozen=True)
class Aim:
    """What was aimed at: a least ratio, or a bound of our own number."""

    of: Literal["ratio", "ours"]
    bound: float


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Parameters
    ----------
    what : str
        What was timed, on what.
    unit : str
        Unit of `ours` and `theirs`.
    ours, theirs : tuple of float
        A value per round; `theirs` is empty where there is no rival.
    against : str
        The rival and its setting.
    agreement : Agreement, optional
        Whether the scores agree; None where there are none to compare.
    aim : Aim, optional
        What was aimed at.
    higher_is_better : bool
        False for times, True for rates; a ratio above 1 is in our favour either way.
    note : str
        What a reader must know, printed below the table.
    """

    what: str
    unit: str
    ours: tuple[float, ...]
    theirs: tuple[float, ...] = ()
    against: str = ""
    agreement: Agreement | None = None
    aim: Aim | None = None
    higher_is_better: bool = True
    note: str = ""

    @property
    def ratios(self) -> tuple[float, ...]:
        """How many times better ours is, round by round; empty without a rival."""
        if not self.theirs:
            return ()
        pairs = zip(self.ours, self.theirs, strict=True)
        return tuple(a / b if self.higher_is_better else b / a for a, b in pairs)

    @property
    def agrees(self) -> bool:
        """False only where scores were compared and differ."""
        return self.agreement is None or self.agreement.holds

    @property
    def met(self) -> bool | None:
        """Whether the median meets the aim; None without an aim, or without a rival to meet."""
        if self.aim is None or (self.aim.of == "ratio" and not self.ratios):
            return None
        if self.aim.of == "ratio":
            return statistics.median(self.ratios) >= self.aim.bound
        ours = statistics.median(self.ours)
        return ours >= self.aim.bound if self.higher_is_better else ours <= self.aim.bound


def machine(seed: int) -> dict[str, str]:
    """Describe where and when the numbers were taken, and with which versions."""
    import torch

    from instructmining.models.runtime import pick_device, pick_dtype

    device = pick_device()
    described = {
        "processor": _processor(),
        "cores": f"{len(os.sched_getaffinity(0))} of {os.cpu_count()}",
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "bf16": "in hardware" if pick_dtype(device) == torch.bfloat16 else "not in hardware",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "no accelerator",
        "python": platform.python_version(),
    }
    for package in PACKAGES:
        try:
            described[package] = version(package)
        except PackageNotFoundError:
            continue
    described["commit"] = _commit()
    described["seed"] = str(seed)
    described["date"] = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    return described


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    fields = {
        name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    if "model name" not in fields:
        return platform.processor() or platform.machine()
    # The name alone may be no more than the maker's; family and model tell the generation.
    return f"{fields['model name']} (family {fields['cpu family']}, model {fields['model']})"


def _commit() -> str:
    command = ["git", "-C", str(REPOSITORY), "describe", "--always", "--dirty"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return found.stdout.strip()


def say(text: str) -> None:
    """Tell the user what is under way, on standard error."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
