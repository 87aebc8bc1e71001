"""What may be concluded from a difference, with several looked at together.

A difference is the log of one mean loss over another; the margin is the difference of the loss
that matters to nobody. Two tests are made of every difference in a family, that it is 0 and
that it is as large as the margin, and the p values of either are adjusted over the family by
Holm's method. So among all contrasts of a comparison a difference that is not there is
claimed with a probability of at most `level`, and so is an equality that is not there.

==========================  ==================================================================
conclusion                  where
==========================  ==================================================================
better, worse               the difference is not 0 (adjusted), and it is the margin or more
no practical difference     the interval lies inside the margin (adjusted)
no difference shown         anything else: neither a difference that matters nor its absence
unresolved                  weighting tokens alike and examples alike do not lead to the same
                            conclusion, and one of them is better or worse
too few seeds               one seed: how much a seed changes is not known
==========================  ==================================================================

References
----------
Holm, S. (1979), Scandinavian Journal of Statistics 6, 65-70.
Schuirmann, D. J. (1987), Journal of Pharmacokinetics and Biopharmaceutics 15, 657-680: an
equality is shown by an interval inside the margin.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from instructmining.errors import ExperimentError
from instructmining.evaluation.crossed import Floats

Conclusion = Literal[
    "better",
    "worse",
    "no practical difference",
    "no difference shown",
    "unresolved",
    "too few seeds",
]
BETTER: Conclusion = "better"
WORSE: Conclusion = "worse"
SAME: Conclusion = "no practical difference"
NOT_SHOWN: Conclusion = "no difference shown"
UNRESOLVED: Conclusion = "unresolved"
TOO_FEW: Conclusion = "too few seeds"


@dataclass(frozen=True)
class Terms:
    """On what terms methods are compared; settled before the losses are looked at.

    Parameters
    ----------
    margin : float
        Relative difference of the loss below which a difference does not matter.
    level : float
        Probability of a false claim that is put up with, over the whole family.
    tie : float
        Losses on a prompt closer than this, in nats per token, are a tie.
    n_boot, seed : int
        Draws of the bootstrap over prompts, and their seed.
    """

    margin: float = 0.005
    level: float = 0.05
    tie: float = 0.01
    n_boot: int = 2000
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse terms that mean nothing.

        Raises
        ------
        ExperimentError
            If one is out of its range.
        """
        for name, lowest in (("margin", 0.0), ("tie", 0.0), ("n_boot", 1)):
            value = getattr(self, name)
            if not (np.isfinite(value) and value >= lowest):
                raise ExperimentError(f"{name} {value!r} came; give a number from {lowest:g}")
        if not 0 < self.level < 1:
            raise ExperimentError(f"level {self.level!r} came; give one between 0 and 1")

    @property
    def log_margin(self) -> float:
        """The margin as a difference of logs, the same for gain and loss."""
        return float(np.log1p(self.margin))

    @property
    def confidence(self) -> str:
        """The confidence of intervals in words, as ``95 %``."""
        return f"{100 * (1 - self.level):g} %"


def holm(p_values: Sequence[float] | Floats) -> Floats:
    """Adjust p values so that each can be held against the level of the whole family.

    Parameters
    ----------
    p_values : array_like of shape (..., n)
        Of the n tests of a family, none NaN; axes before are families by themselves.

    Returns
    -------
    ndarray of shape (..., n)
        In the same order, at most 1.
    """
    values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(values, axis=-1, kind="stable")
    steps = np.arange(values.shape[-1], 0, -1)
    stepped = np.maximum.accumulate(np.take_along_axis(values, order, -1) * steps, axis=-1)
    adjusted = np.empty_like(values)
    np.put_along_axis(adjusted, order, np.minimum(stepped, 1.0), -1)
    return adjusted


def conclude(value: float, p: float, p_equal: float, terms: Terms) -> Conclusion:
    """Conclude from one difference under one weighting.

    Parameters
    ----------
    value : float
        Log of the loss of one method over that of another: below 0 the one is better.
    p, p_equal : float
        Adjusted p values of the tests that there is no difference, and one of the margin.
    terms : Terms
        Margin and level.
    """
    if p_equal < terms.level:
        return SAME
    if p < terms.level and abs(value) >= terms.log_margin:
        return BETTER if value < 0 else WORSE
    return NOT_SHOWN


def combine(by_token: Conclusion, by_example: Conclusion) -> Conclusion:
    """Conclude from both weightings: a method that wins by one alone is not called better."""
    if by_token == by_example:
        return by_token
    if {by_token, by_example} & {BETTER, WORSE}:
        return UNRESOLVED
    # No difference that matters was shown by either, and its absence not by both.
    return NOT_SHOWN
