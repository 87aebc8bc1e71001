"""Candidate mixtures whose mean indicators differ: rows drawn with tilted odds.

Uniform draws from one pool all have nearly the pool's mean indicators. Here a row's odds of
being drawn grow exponentially along a direction of the indicator space, so that a candidate
leans towards, say, long and predictable responses, inside each source or across them.

As in `mixtures`, everything is decided by keyed hashes: of the seed, the candidate's number
and the content of the rows, never of their order or of other candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from instructmining.errors import ExperimentError
from instructmining.experiments.mixtures import (
    MixtureRow,
    SourcePool,
    apportion,
    exponential,
    ranking,
    uniform,
)
from instructmining.rules.transforms import Floats, apply_transform, feature_name

#: Probability that a candidate leaves a source out.
LEFT_OUT = 0.35
#: Least and greatest tilt: change of log odds per standard deviation along the direction.
TILTS = (0.5, 3.0)
#: Kinds of tilt and how often each is drawn.
KINDS: Mapping[str, float] = {"none": 0.1, "within": 0.6, "across": 0.3}
#: As `mixtures.ranking` gives it.
Rank = Callable[[str], bytes]
# Constants of the finaliser of MurmurHash3, in the variant called splitmix64.
_MIX = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


@dataclass(frozen=True)
class ScoredRows:
    """Rows that may enter a mixture, with their indicators.

    Parameters
    ----------
    features : tuple of str
        Names of the transformed columns.
    x : ndarray of float64, shape (n, n_features)
        Transformed values, none undefined.
    rows : tuple of MixtureRow
        Where each stands; texts are distinct.
    source : ndarray of int64, shape (n,)
        Place of each row's source in `sources`.
    sources : tuple of str
        Names, sorted.
    n_undefined : int
        Usable rows left out because a column is undefined for them.
    """

    features: tuple[str, ...]
    x: Floats
    rows: tuple[MixtureRow, ...]
    source: np.ndarray
    sources: tuple[str, ...]
    n_undefined: int = 0

    @classmethod
    def of(
        cls, pools: Mapping[str, SourcePool], scores: pl.DataFrame, columns: Mapping[str, str]
    ) -> ScoredRows:
        """Join pools with their scores.

        Parameters
        ----------
        pools : mapping of str to SourcePool
            Sources by name. A text in two of them is left to the first by name.
        scores : polars.DataFrame
            ``example`` and raw indicator columns of at least these rows; ``clip`` cuts at
            percentiles of this table.
        columns : mapping of column to transform
            The features, in order.

        Raises
        ------
        ExperimentError
            If a column or a row is missing.
        """
        missing = [name for name in columns if name not in scores.columns]
        if missing or not columns:
            raise ExperimentError(
                f"scores without column {', '.join(missing) or 'of any kind'}; score them first"
            )
        matrix = np.column_stack(
            [
                apply_transform(kind, scores[name].cast(pl.Float64).to_numpy())
                for name, kind in columns.items()
            ]
        )
        place = {digest: i for i, digest in enumerate(scores["example"])}
        names = tuple(sorted(pools))
        distinct: dict[str, MixtureRow] = {}
        for name in names:
            for row in pools[name].rows:
                distinct.setdefault(row.digest, MixtureRow(name, row.row, row.digest))
        if lost := [row for row in distinct.values() if row.digest not in place]:
            raise ExperimentError(f"{lost[0].source}: row {lost[0].row} has no scores; score it")
        rows = list(distinct.values())
        x = matrix[[place[row.digest] for row in rows]]
        known = np.asarray(~np.isnan(x).any(axis=1))
        rows = [rows[place] for place in np.flatnonzero(known)]
        source = np.array([names.index(row.source) for row in rows], dtype=np.int64)
        features = tuple(feature_name(*item) for item in columns.items())
        return cls(features, x[known], tuple(rows), source, names, int((~known).sum()))

    @cached_property
    def within(self) -> Floats:
        """Values about their source's mean, in standard deviations within sources."""
        centred = self.x - self._source_means[self.source]
        return np.asarray(centred / self.spread, dtype=np.float64)

    @cached_property
    def across(self) -> Floats:
        """Values about the mean of all rows, in standard deviations over all rows."""
        spread = self.x.std(axis=0)
        centred = self.x - self.x.mean(axis=0)
        return np.asarray(centred / np.where(spread > 0, spread, 1.0), dtype=np.float64)

    @cached_property
    def spread(self) -> Floats:
        """Standard deviation of each feature within sources, pooled; 1 where there is none."""
        centred = self.x - self._source_means[self.source]
        spread = np.sqrt((centred**2).mean(axis=0))
        return np.where(spread > 0, spread, 1.0)

    @cached_property
    def hashes(self) -> np.ndarray:
        """First eight bytes of each row's content hash: uint64, shape (n,)."""
        return np.array([int(row.digest[:16], 16) for row in self.rows], dtype=np.uint64)

    @cached_property
    def _source_means(self) -> Floats:
        means = np.zeros((len(self.sources), self.x.shape[1]))
        for number in np.unique(self.source):
            means[number] = self.x[self.source == number].mean(axis=0)
        return means


@dataclass(frozen=True)
class Candidates:
    """Mixtures that may be chosen.

    Parameters
    ----------
    x : ndarray of float64, shape (n, n_features)
        Mean features over each one's rows.
    shares : ndarray of float64, shape (n, n_sources)
        Share of each source.
    places : tuple of ndarray of int64, shape (size,)
        Places of each one's rows in `ScoredRows.rows`.
    specs : tuple of str
        How each was drawn, in words.
    """

    x: Floats
    shares: Floats
    places: tuple[np.ndarray, ...]
    specs: tuple[str, ...]

    def __len__(self) -> int:
        """How many."""
        return len(self.x)


def draw_candidates(
    rows: ScoredRows, size: int, n: int, seed: int, *, tilted: bool = True
) -> Candidates:
    """Draw candidates, each with its own source shares and its own tilt.

    Parameters
    ----------
    rows : ScoredRows
        What to draw from.
    size : int
        Rows of every candidate.
    n : int
        How many candidates.
    seed : int
        Decides all draws.
    tilted : bool
        False for what a plain design would do: shares uniform over the simplex of all
        sources, rows drawn uniformly.

    Raises
    ------
    ExperimentError
        If there are fewer rows than a mixture has.
    """
    if not 0 < size <= len(rows.rows):
        raise ExperimentError(
            f"mixtures of {size} rows from {len(rows.rows)} that are scored and usable; "
            "lower --size or add sources"
        )
    prefix = "tilted" if tilted else "uniform"
    drawn = [_draw(rows, size, seed, f"{prefix}-{i}", tilted) for i in range(n)]
    places = tuple(chosen for chosen, _ in drawn)
    x = np.array([rows.x[chosen].mean(axis=0) for chosen in places])
    counts = [np.bincount(rows.source[chosen], minlength=len(rows.sources)) for chosen in places]
    return Candidates(x, np.array(counts) / size, places, tuple(spec for _, spec in drawn))


def _draw(
    rows: ScoredRows, size: int, seed: int, name: str, tilted: bool
) -> tuple[np.ndarray, str]:
    rank = ranking(seed, name)
    weights = {s: exponential(rank(f"share\0{s}")) for s in rows.sources}
    present = _present(rows, size, rank, weights) if tilted else list(rows.sources)
    kind = _pick(KINDS, uniform(rank("kind"))) if tilted else "none"
    lean, direction = (np.zeros(len(rows.rows)), "") if kind == "none" else _lean(rows, kind, rank)
    # The smallest of exponentials divided by weights: a weighted draw without replacement.
    order = np.log(_exponentials(rows.hashes, rank("rows"))) - lean
    numbers = [rows.sources.index(source) for source in present]
    if kind == "across":
        among = np.flatnonzero(np.isin(rows.source, numbers))
        chosen = among[np.argsort(order[among], kind="stable")[:size]]
        return np.sort(chosen), f"{direction} across {','.join(present)}"
    limits = {s: int((rows.source == i).sum()) for s, i in zip(present, numbers, strict=True)}
    counts = apportion({s: weights[s] for s in present}, size, limits)
    parts = []
    for source, number in zip(present, numbers, strict=True):
        among = np.flatnonzero(rows.source == number)
        parts.append(among[np.argsort(order[among], kind="stable")[: counts[source]]])
    shares = ",".join(f"{s}:{counts[s]}" for s in present if counts[s])
    return np.sort(np.concatenate(parts)), f"{direction} within {shares}".strip()


def _present(rows: ScoredRows, size: int, rank: Rank, weights: Mapping[str, float]) -> list[str]:
    """Leave sources out at random, but keep enough rows to fill a mixture."""
    held = {s: int((rows.source == i).sum()) for i, s in enumerate(rows.sources)}
    by_hash = sorted(rows.sources, key=lambda s: uniform(rank(f"present\0{s}")), reverse=True)
    present = [s for s in by_hash if uniform(rank(f"present\0{s}")) >= LEFT_OUT]
    for source in by_hash:
        if present and sum(held[s] for s in present) >= size:
            break
        present += [source] if source not in present else []
    return sorted(present)


def _lean(rows: ScoredRows, kind: str, rank: Rank) -> tuple[Floats, str]:
    """Give the log odds of every row, and the direction in words."""
    values = rows.within if kind == "within" else rows.across
    n = values.shape[1]
    low, high = TILTS
    strength = low + (high - low) * uniform(rank("strength"))
    sign = 1.0 if uniform(rank("sign")) < 0.5 else -1.0
    number = min(int(uniform(rank("axis")) * n), n - 1)
    if uniform(rank("direction")) < 0.5:
        direction = np.eye(n)[number]
        name = rows.features[number]
    else:
        _, vectors = np.linalg.eigh(np.cov(values, rowvar=False).reshape(n, n))
        # The sign of an eigenvector is arbitrary: the largest entry is made positive.
        direction = vectors[:, n - 1 - number]
        direction = direction * np.sign(direction[np.argmax(np.abs(direction))])
        name = f"principal {number + 1}"
    return sign * strength * (values @ direction), f"{sign * strength:+.2f} {name}"


def _pick(odds: Mapping[str, float], at: float) -> str:
    bounds = np.cumsum(list(odds.values())) / sum(odds.values())
    return list(odds)[int(np.searchsorted(bounds[:-1], at, side="right"))]


def _exponentials(hashes: np.ndarray, key: bytes) -> Floats:
    """Draw a unit exponential per row from its hash and a key."""
    with np.errstate(over="ignore"):  # integers that wrap around are what mixes the bits
        mixed = hashes + np.frombuffer(key[:8], dtype="<u8")[0] * _MIX[0]
        mixed = (mixed ^ (mixed >> np.uint64(30))) * _MIX[1]
        mixed = (mixed ^ (mixed >> np.uint64(27))) * _MIX[2]
        mixed ^= mixed >> np.uint64(31)
    uniforms = ((mixed >> np.uint64(11)).astype(np.float64) + 0.5) / 2.0**53
    return np.asarray(-np.log(uniforms), dtype=np.float64)


def mixture_rows(rows: ScoredRows, places: Sequence[int], name: str, seed: int) -> list[MixtureRow]:
    """Return rows by place, in a seeded order that mixes the sources."""
    rank = ranking(seed, name)
    return sorted((rows.rows[place] for place in places), key=lambda row: rank(row.digest))
