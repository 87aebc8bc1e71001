"""Draw mixtures: sets of training rows, each the data of one group of fine-tuning runs.

Rows are ordered by a keyed hash of their content instead of by a random generator. The
draw of a mixture then depends on its name, the seed and the rows alone: not on other
mixtures, on the order of sources, nor on the version of a library.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, NamedTuple

from instructmining.errors import ExperimentError
from instructmining.examples import Example, prompt_hash
from instructmining.experiments.specs import MixtureSpec
from instructmining.overlap.words import OverlapIndex


class MixtureRow(NamedTuple):
    """Where one training row stands: source name, row number there, content hash."""

    source: str
    row: int
    digest: str


class SourceRow(NamedTuple):
    """A usable row of a source: row number, content hash, length of the response."""

    row: int
    digest: str
    length: int


@dataclass(frozen=True)
class SourcePool:
    """The rows of one source that may enter a mixture; the texts are left behind.

    Parameters
    ----------
    name : str
        Name of the source.
    rows : tuple of SourceRow
        Usable rows, distinct by content hash, in the order of the file.
    n_rows : int
        All rows of the source, usable or not.
    excluded : mapping of str to int
        Reason to number of rows left out: ``unscorable``, ``flagged``, ``duplicate``,
        ``trained_head``, ``overlap:<kind>``, ``not_sampled``. With the usable rows they add
        up to `n_rows`.
    """

    name: str
    rows: tuple[SourceRow, ...]
    n_rows: int
    excluded: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def from_examples(
        cls,
        name: str,
        examples: Iterable[Example],
        overlap: OverlapIndex | None = None,
        trained_on: Collection[str] = (),
        length: Callable[[Example], int] = lambda example: len(example.response),
    ) -> SourcePool:
        """Keep the rows that may be trained on and count the others by reason.

        Parameters
        ----------
        name : str
            Name of the source.
        examples : iterable of Example
            All rows of the source; read once, not kept.
        overlap : OverlapIndex, optional
            Rows it finds are left out.
        trained_on : collection of str
            Hashes (`examples.prompt_hash`) of prompts that trained a head: their rows are
            left out, since their scores are flattered.
        length : callable
            What "longest" and "shortest" compare; characters of the response by default.
        """
        rows: list[SourceRow] = []
        excluded: Counter[str] = Counter()
        seen: set[str] = set()
        n_rows = 0
        for example in examples:
            n_rows += 1
            reason = _reason(example, seen, overlap, trained_on)
            if reason is not None:
                excluded[reason] += 1
                continue
            seen.add(example.digest)
            rows.append(SourceRow(example.row, example.digest, length(example)))
        return cls(name, tuple(rows), n_rows, dict(sorted(excluded.items())))

    def sampled(self, n: int, seed: int) -> SourcePool:
        """Keep `n` usable rows, those whose seeded hashes are smallest; the others are counted.

        Raises
        ------
        ExperimentError
            If `n` is below 1.
        """
        if n < 1:
            raise ExperimentError(f"{n} rows of each source; give at least 1")
        rank = ranking(seed, "sample")
        kept = set(sorted((row.digest for row in self.rows), key=rank)[:n])
        rows = tuple(row for row in self.rows if row.digest in kept)
        left_out = Counter(self.excluded)
        left_out["not_sampled"] += len(self.rows) - len(rows)
        return SourcePool(self.name, rows, self.n_rows, dict(sorted((+left_out).items())))


def _reason(
    example: Example, seen: set[str], overlap: OverlapIndex | None, trained_on: Collection[str]
) -> str | None:
    if not example.scorable:
        return "unscorable"
    if example.flags:
        return "flagged"
    if example.digest in seen:
        return "duplicate"
    if trained_on and prompt_hash(example.turns) in trained_on:
        return "trained_head"
    found = overlap.find(example) if overlap is not None else None
    return f"overlap:{found.kind}" if found is not None else None


@dataclass(frozen=True)
class Mixture:
    """A drawn mixture.

    Parameters
    ----------
    name : str
        Name of the mixture.
    rows : tuple of MixtureRow
        Distinct rows, in a seeded order that mixes the sources.
    shares : mapping of str to float
        Source to its share of the rows as drawn, in order of name.
    spec : str
        The specification it was drawn from.
    seeds : tuple of int, optional
        Those of the plan's training seeds it is run with; by default all.
    steps_per_epoch : int, optional
        Optimiser steps its rows are divided into, in place of batches of equal size.
    steps : int, optional
        Optimiser steps in all, in place of the setting's epochs: the rows are gone over again,
        or not to the end.
    """

    name: str
    rows: tuple[MixtureRow, ...]
    shares: Mapping[str, float]
    spec: str = ""
    seeds: tuple[int, ...] | None = None
    steps_per_epoch: int | None = None
    steps: int | None = None

    @property
    def counts(self) -> dict[str, int]:
        """Source to number of rows, in order of name."""
        return dict(sorted(Counter(row.source for row in self.rows).items()))

    def to_json(self) -> dict[str, Any]:
        """Return the mixture as it stands in a plan; what is left to the plan is not named."""
        known: dict[str, Any] = {
            "name": self.name,
            "spec": self.spec,
            "shares": dict(self.shares),
            "rows": [list(row) for row in self.rows],
        }
        if self.seeds is not None:
            known["seeds"] = list(self.seeds)
        if self.steps_per_epoch is not None:
            known["steps_per_epoch"] = self.steps_per_epoch
        if self.steps is not None:
            known["steps"] = self.steps
        return known

    @classmethod
    def from_json(cls, known: Mapping[str, Any]) -> Mixture:
        """Make a mixture of what `to_json` gave."""
        return cls(
            known["name"],
            tuple(MixtureRow(*row) for row in known["rows"]),
            known["shares"],
            known["spec"],
            tuple(known["seeds"]) if "seeds" in known else None,
            known.get("steps_per_epoch"),
            known.get("steps"),
        )


def draw(spec: MixtureSpec, pools: Mapping[str, SourcePool], size: int, seed: int) -> Mixture:
    """Draw `size` distinct rows without replacement.

    Parameters
    ----------
    spec : MixtureSpec
        What to draw; all its sources must be in `pools`.
    pools : mapping of str to SourcePool
        Sources by name; those the specification does not name have no effect.
    size : int
        Number of rows.
    seed : int
        With the mixture's name it decides the draw.

    Raises
    ------
    ExperimentError
        If the sources hold too few usable rows.
    """
    if size < 1:
        raise ExperimentError(f"mixture {spec.name}: size {size}; give at least 1 row")
    rank = ranking(seed, spec.name)
    candidates = _candidates(spec, pools)
    if spec.strategy in ("shares", "random_shares"):
        rows = _draw_shares(spec, candidates, size, rank)
    else:
        rows = _draw_together(spec, candidates, size, rank)
    rows.sort(key=lambda row: rank(row.digest))
    return Mixture(spec.name, tuple(rows), shares_of(rows), str(spec))


def shares_of(rows: Sequence[MixtureRow]) -> dict[str, float]:
    """Return the share of each source among rows, by name."""
    counts = Counter(row.source for row in rows)
    return {source: counts[source] / len(rows) for source in sorted(counts)}


def ranking(seed: int, name: str) -> Callable[[str], bytes]:
    """Return a function from texts to 16 bytes that look random; the seed and a name decide it."""
    key = hashlib.sha256(f"{seed}\0{name}".encode()).digest()
    keyed = hashlib.blake2b(key=key, digest_size=16)

    def rank(text: str) -> bytes:
        hasher = keyed.copy()
        hasher.update(text.encode())
        return hasher.digest()

    return rank


def _candidates(spec: MixtureSpec, pools: Mapping[str, SourcePool]) -> dict[str, list[SourceRow]]:
    # A text in two sources is left to the first by name, so no mixture can hold it twice.
    seen: set[str] = set()
    candidates: dict[str, list[SourceRow]] = {}
    for source in sorted(set(spec.sources)):
        if source not in pools:
            raise ExperimentError(
                f"mixture {spec.name}: source {source!r} is not known; "
                f"there are {', '.join(sorted(pools))}"
            )
        candidates[source] = [row for row in pools[source].rows if row.digest not in seen]
        seen.update(row.digest for row in candidates[source])
    return candidates


def _draw_shares(
    spec: MixtureSpec,
    candidates: Mapping[str, list[SourceRow]],
    size: int,
    rank: Callable[[str], bytes],
) -> list[MixtureRow]:
    limits = {source: len(rows) for source, rows in candidates.items()}
    if spec.strategy == "shares":
        counts = apportion(dict(zip(spec.sources, spec.shares, strict=True)), size)
        for source, count in counts.items():
            if count > limits[source]:
                raise _too_few(spec.name, f"{count} rows of {source}", limits[source])
    else:
        if size > sum(limits.values()):
            raise _too_few(spec.name, f"{size} rows", sum(limits.values()))
        counts = apportion({s: exponential(rank(f"share\0{s}")) for s in limits}, size, limits)
    rows: list[MixtureRow] = []
    for source, count in counts.items():
        first = sorted(candidates[source], key=lambda row: rank(row.digest))[:count]
        rows.extend(MixtureRow(source, row.row, row.digest) for row in first)
    return rows


def _draw_together(
    spec: MixtureSpec,
    candidates: Mapping[str, list[SourceRow]],
    size: int,
    rank: Callable[[str], bytes],
) -> list[MixtureRow]:
    source_of = {row.digest: source for source, rows in candidates.items() for row in rows}
    ordered = sorted(chain.from_iterable(candidates.values()), key=lambda row: rank(row.digest))
    if spec.strategy != "random":
        ordered = ordered[: spec.sample]
        sign = -1 if spec.strategy == "longest" else 1
        ordered.sort(key=lambda row: sign * row.length)
    if size > len(ordered):
        raise _too_few(spec.name, f"{size} rows", len(ordered))
    return [MixtureRow(source_of[row.digest], row.row, row.digest) for row in ordered[:size]]


def uniform(hashed: bytes) -> float:
    """Turn bytes of `ranking` into a number between 0 and 1, both excluded."""
    return (int.from_bytes(hashed[:6], "big") + 0.5) / 2**48


def exponential(hashed: bytes) -> float:
    """Turn bytes of `ranking` into a unit exponential.

    Unit exponentials divided by their sum are uniform over the simplex (Dirichlet).
    """
    return -math.log(uniform(hashed))


def apportion(
    shares: Mapping[str, float], size: int, limits: Mapping[str, int] | None = None
) -> dict[str, int]:
    """Turn shares into whole numbers that add up to `size` (largest remainders).

    Parameters
    ----------
    shares : mapping of str to float
        Positive weights; only ratios matter.
    size : int
        The sum of the result.
    limits : mapping of str to int, optional
        Largest number for each name; what exceeds it goes to the others by their shares.
        The limits must add up to at least `size`.

    Returns
    -------
    dict of str to int
        Number per name, in order of name.
    """
    capped: dict[str, int] = {}
    names = sorted(shares)
    while True:
        rest = size - sum(capped.values())
        total = math.fsum(shares[name] for name in names)
        quotas = {name: rest * shares[name] / total for name in names}
        counts = {name: math.floor(quotas[name]) for name in names}
        by_remainder = sorted(names, key=lambda name: counts[name] - quotas[name])
        for name in by_remainder[: rest - sum(counts.values())]:
            counts[name] += 1
        over = [name for name in names if limits is not None and counts[name] > limits[name]]
        if not over:
            return dict(sorted({**capped, **counts}.items()))
        capped.update({name: limits[name] for name in over if limits is not None})
        names = [name for name in names if name not in over]


def _too_few(mixture: str, wanted: str, usable: int) -> ExperimentError:
    return ExperimentError(
        f"mixture {mixture}: wants {wanted}, but only {usable} can be used (after duplicates, "
        "flagged rows and overlap with evaluation); lower --size, change shares or add sources"
    )
