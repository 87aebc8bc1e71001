"""Choose mixtures that say most about a rule, and say how much before anything is spent.

The rule's coefficients are estimated with the shares of the sources as nuisance terms, since
a rule is used within a pool and style differs between sources. Of many candidates those are
taken that maximise the determinant of the coefficients' information with the shares projected
out (D_s-optimality; Atkinson, Donev and Tobias, *Optimum Experimental Designs*, 2007, ch. 10),
by exchanging one at a time (Fedorov, *Theory of Optimal Experiments*, 1972).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from instructmining.errors import ExperimentError
from instructmining.experiments.mixtures import Mixture
from instructmining.experiments.tilting import (
    Candidates,
    ScoredRows,
    draw_candidates,
    mixture_rows,
)
from instructmining.rules.regression import MixtureMeans, condition_number, variance_inflation
from instructmining.rules.transforms import Floats

#: Candidates per mixture wanted, and at least.
CANDIDATES = (16, 500)
#: Runs that should leave a source out, so that a rule can be tested on a source it never saw.
LEFT_OUT_RUNS = 25
#: Plain designs the designed one is compared with.
_RANDOM_DESIGNS = 5
#: Prior information, in runs: keeps the determinant above zero while runs are fewer than
#: coefficients (DuMouchel and Jones, Technometrics 36, 1994), and means nothing later.
_PRIOR = 1e-3
_MAX_SWEEPS = 20
#: Variance inflation from which the other terms determine a feature.
_DETERMINED = 1e8


@dataclass(frozen=True)
class Precision:
    """What a design can tell about the coefficients of a rule.

    Parameters
    ----------
    features : tuple of str
        Names.
    standard_errors : tuple of float
        Of each coefficient, shares of the sources in the model, per unit of noise (standard
        deviation of the log loss of a run) and per standard deviation of the feature among
        rows of one source; infinite where it cannot be estimated.
    vif : tuple of float
        Variance inflation factors, shares in the model.
    condition_number : float
        Of the standardised features with the shares projected out.
    """

    features: tuple[str, ...]
    standard_errors: tuple[float, ...]
    vif: tuple[float, ...]
    condition_number: float


@dataclass(frozen=True)
class Design:
    """Chosen mixtures and what they can tell.

    Parameters
    ----------
    mixtures : tuple of Mixture
        Named ``design-001`` and so on, the most telling first: a series cut short is still
        well designed.
    precision, random : Precision
        Of this design; and of plain ones with the same number of runs (random source shares,
        rows drawn uniformly; medians over several draws).
    left_out : dict of str to int
        Source to the number of mixtures without it.
    n_candidates, n_undefined : int
        Candidates chosen from; usable rows left out because a column is undefined for them.
    """

    mixtures: tuple[Mixture, ...]
    precision: Precision
    random: Precision
    left_out: dict[str, int]
    n_candidates: int
    n_undefined: int

    @property
    def gain(self) -> float:
        """Median ratio of standard errors, this design's to a random one's; NaN if unknown."""
        ours, theirs = self.precision.standard_errors, self.random.standard_errors
        if not np.isfinite([*ours, *theirs]).all():
            return float("nan")
        return float(np.median(np.divide(ours, theirs)))


def design_mixtures(rows: ScoredRows, n: int, size: int, seed: int) -> Design:
    """Draw candidates and choose `n` of them.

    Parameters
    ----------
    rows : ScoredRows
        What mixtures are drawn from.
    n : int
        Mixtures wanted.
    size : int
        Rows of each.
    seed : int
        Decides everything.

    Raises
    ------
    ExperimentError
        If there are too few rows, or a feature is the same in all of them.
    """
    for name, spread in zip(rows.features, np.ptp(rows.x, axis=0), strict=True):
        if spread == 0:
            raise ExperimentError(
                f"{name} is the same in all {len(rows.rows)} rows: nothing can be designed "
                "about it; leave it out"
            )
    candidates = draw_candidates(rows, size, max(CANDIDATES[0] * n, CANDIDATES[1]), seed)
    chosen = choose(candidates, n, rows.spread)
    mixtures = tuple(
        _mixture(rows, candidates, place, f"design-{number:03d}", seed)
        for number, place in enumerate(chosen, start=1)
    )
    absent = (candidates.shares[chosen] == 0).sum(axis=0)
    return Design(
        mixtures,
        precision(candidates.x[chosen], candidates.shares[chosen], rows),
        _random_precision(rows, n, size, seed),
        dict(zip(rows.sources, absent.tolist(), strict=True)),
        len(candidates),
        rows.n_undefined,
    )


def _mixture(rows: ScoredRows, candidates: Candidates, place: int, name: str, seed: int) -> Mixture:
    drawn = mixture_rows(rows, candidates.places[place].tolist(), name, seed)
    counts = Counter(row.source for row in drawn)
    shares = {source: counts[source] / len(drawn) for source in sorted(counts)}
    return Mixture(name, tuple(drawn), shares, candidates.specs[place])


def choose(candidates: Candidates, n: int, scale: Floats) -> list[int]:
    """Choose candidates by exchange, then order them so that every beginning tells most.

    Parameters
    ----------
    candidates : Candidates
        At least `n`.
    n : int
        How many.
    scale : ndarray of shape (n_features,)
        Units of the features.

    Returns
    -------
    list of int
        Places of the chosen, the most telling first.

    Notes
    -----
    At least `LEFT_OUT_RUNS` of them, a quarter at most, leave any given source out, where the
    candidates allow it.
    """
    criterion = Criterion.of(candidates, scale)
    absent = candidates.shares == 0
    wanted = min(LEFT_OUT_RUNS, n // 4)
    chosen = _greedy(criterion, n)
    chosen = _repaired(criterion, chosen, absent, wanted)
    for _ in range(_MAX_SWEEPS):
        if not _sweep(criterion, chosen, absent, wanted):
            break
    return _ordered(criterion, chosen)


@dataclass(frozen=True)
class Criterion:
    """Log determinant of the information on the coefficients, nuisance projected out.

    Parameters
    ----------
    whole : ndarray of shape (n_candidates, n_nuisance + n_features)
        Nuisance terms (intercept and all source shares but one), then features.
    n_nuisance : int
        How many of the columns are nuisance.
    """

    whole: Floats
    n_nuisance: int

    @classmethod
    def of(cls, candidates: Candidates, scale: Floats) -> Criterion:
        """Build the model matrix of candidates."""
        nuisance = nuisance_terms(candidates.shares)
        x = (candidates.x - candidates.x.mean(axis=0)) / scale
        return cls(np.column_stack([nuisance, x]), nuisance.shape[1])

    def inverses(self, places: Sequence[int]) -> tuple[Floats, Floats]:
        """Invert the information of chosen candidates: of all terms, and of the nuisance."""
        rows = self.whole[list(places)]
        information = rows.T @ rows + _PRIOR * np.eye(rows.shape[1])
        of_nuisance = information[: self.n_nuisance, : self.n_nuisance]
        return _inverse(information), _inverse(of_nuisance)

    def gains(self, inverses: tuple[Floats, Floats], without: int | None = None) -> Floats:
        """Change of the criterion by adding each candidate, taking out one that is chosen.

        Parameters
        ----------
        inverses : pair of ndarray
            As `inverses` gives them for what is chosen.
        without : int, optional
            The chosen candidate taken out.

        Returns
        -------
        ndarray of shape (n_candidates,)
        """
        total = np.zeros(len(self.whole))
        parts = (self.whole, self.whole[:, : self.n_nuisance])
        for sign, inverse, terms in zip((1.0, -1.0), inverses, parts, strict=True):
            projected = terms @ inverse
            own = np.einsum("ij,ij->i", projected, terms)
            ratio = 1.0 + own
            if without is not None:
                shared = projected @ terms[without]
                ratio = (1.0 + own) * (1.0 - own[without]) + shared**2
            total += sign * np.log(np.maximum(ratio, np.finfo(float).tiny))
        return total

    def losses(self, chosen: Sequence[int]) -> Floats:
        """Say what taking out each of the chosen candidates costs: shape (len(chosen),)."""
        total = np.zeros(len(chosen))
        parts = (self.whole, self.whole[:, : self.n_nuisance])
        for sign, inverse, terms in zip((1.0, -1.0), self.inverses(chosen), parts, strict=True):
            own = np.einsum("ij,ij->i", terms[list(chosen)] @ inverse, terms[list(chosen)])
            total -= sign * np.log(np.maximum(1.0 - own, np.finfo(float).tiny))
        return total


def _inverse(matrix: Floats) -> Floats:
    return np.asarray(np.linalg.inv(matrix), dtype=np.float64)


def nuisance_terms(shares: Floats) -> Floats:
    """Give the intercept and the shares of all sources but one, which the others determine."""
    return np.column_stack([np.ones(len(shares)), shares[:, 1:]])


def _greedy(criterion: Criterion, n: int) -> list[int]:
    """Add the most telling candidate until there are `n`."""
    chosen: list[int] = []
    while len(chosen) < n:
        gains = criterion.gains(criterion.inverses(chosen))
        gains[chosen] = -np.inf
        chosen.append(int(np.argmax(gains)))
    return chosen


def _ordered(criterion: Criterion, chosen: Sequence[int]) -> list[int]:
    """Put last what is missed least, and so on to the first."""
    left, order = list(chosen), []
    while left:
        order.append(left.pop(int(np.argmin(criterion.losses(left)))))
    return order[::-1]


def _repaired(
    criterion: Criterion, chosen: list[int], absent: np.ndarray, wanted: int
) -> list[int]:
    """Exchange mixtures until every source is left out often enough, as cheaply as possible."""
    chosen = list(chosen)
    possible = np.minimum(wanted, absent.sum(axis=0))
    while True:
        lacking = np.flatnonzero(absent[chosen].sum(axis=0) < possible)
        if not len(lacking):
            return chosen
        best: tuple[float, int, int] | None = None
        inverses = criterion.inverses(chosen)
        for position, place in enumerate(chosen):
            gains = criterion.gains(inverses, without=place)
            allowed = _allowed(chosen, position, absent, wanted) & absent[:, lacking[0]]
            allowed &= not absent[place, lacking[0]]
            allowed[chosen] = False
            if allowed.any():
                found = int(np.flatnonzero(allowed)[np.argmax(gains[allowed])])
                if best is None or gains[found] > best[0]:
                    best = (float(gains[found]), position, found)
        if best is None:
            return chosen
        chosen[best[1]] = best[2]


def _sweep(criterion: Criterion, chosen: list[int], absent: np.ndarray, wanted: int) -> bool:
    """Exchange each chosen candidate for the best other; say whether any was exchanged."""
    changed = False
    for position in range(len(chosen)):
        gains = criterion.gains(criterion.inverses(chosen), without=chosen[position])
        gains[~_allowed(chosen, position, absent, wanted)] = -np.inf
        gains[chosen] = -np.inf
        best = int(np.argmax(gains))
        if gains[best] > 1e-9:
            chosen[position] = best
            changed = True
    return changed


def _allowed(chosen: Sequence[int], position: int, absent: np.ndarray, wanted: int) -> np.ndarray:
    """Which candidates may stand at `position` without a source being left out too rarely."""
    before = absent[list(chosen)].sum(axis=0)
    after = before - absent[chosen[position]] + absent
    result: np.ndarray = (after >= np.minimum(before, wanted)).all(axis=1)
    return result


def precision(x: Floats, shares: Floats, rows: ScoredRows) -> Precision:
    """Say what mixtures with these means and shares can tell.

    Parameters
    ----------
    x : ndarray of shape (n, n_features)
        Mean features.
    shares : ndarray of shape (n, n_sources)
        Source shares.
    rows : ScoredRows
        For names and units of the features.
    """
    n, n_features = x.shape
    scaled = x / rows.spread
    means = MixtureMeans(rows.features, scaled, np.zeros(n), shares, np.ones(n))
    vif = variance_inflation(means)
    if n <= 1 + n_features + means.n_nuisance or vif.max() > _DETERMINED:
        infinite = (float("inf"),) * n_features
        return Precision(rows.features, infinite, infinite, float("inf"))
    errors = np.sqrt(vif / ((scaled - scaled.mean(axis=0)) ** 2).sum(axis=0))
    return Precision(
        rows.features, tuple(errors.tolist()), tuple(vif.tolist()), condition_number(means)
    )


def _random_precision(rows: ScoredRows, n: int, size: int, seed: int) -> Precision:
    found = []
    for number in range(_RANDOM_DESIGNS):
        drawn = draw_candidates(rows, size, n, seed + number, tilted=False)
        found.append(precision(drawn.x, drawn.shares, rows))
    return Precision(
        rows.features,
        tuple(np.median([one.standard_errors for one in found], axis=0).tolist()),
        tuple(np.median([one.vif for one in found], axis=0).tolist()),
        float(np.median([one.condition_number for one in found])),
    )
