"""What a fit gives: the rule, and everything a reader needs to judge it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from instructmining.rules.choose import Choice
from instructmining.rules.diagnose import LackOfFit, Noise
from instructmining.rules.ranking import LengthRule
from instructmining.rules.regression import Estimate, MixtureMeans
from instructmining.rules.rule import Rule
from instructmining.rules.runtable import RunTable, Weighting
from instructmining.rules.stability import Resampled
from instructmining.rules.validate import NOTHING, RULE, Validation


@dataclass(frozen=True)
class Coefficient:
    """One line of the coefficient table.

    Parameters
    ----------
    name : str
        The feature, such as ``log1p(len_out)``, or "intercept".
    estimate : float
        Change of log loss per unit of the feature, source shares held where they are known.
    standardised : float or None
        Change of log loss per standard deviation of the feature over mixtures, in standard
        deviations of the log loss; None for the intercept.
    interval : tuple of float
        95 % interval on mixture means, robust to heteroscedasticity (HC3), Student's t.
    cluster_interval : tuple of float
        95 % interval from the runs, clustered by mixture. Too narrow where mixtures are few.
    without_shares : float or None
        The estimate without the source shares; None where it is made without them anyway.
    other_weighting : float
        The estimate when the loss is weighted the other way, by example or by token.
    other_interval : tuple of float
        95 % interval of that (HC3).
    vif : float or None
        Variance inflation factor, shares in the model; None for the intercept.
    """

    name: str
    estimate: float
    standardised: float | None
    interval: tuple[float, float]
    cluster_interval: tuple[float, float]
    without_shares: float | None
    other_weighting: float
    other_interval: tuple[float, float]
    vif: float | None


@dataclass(frozen=True)
class Sensitivity:
    """Which effects of a column could be found.

    Parameters
    ----------
    feature : str
        The column.
    detectable : mapping of int to float or None
        Number of mixtures to the smallest effect found with 80 % power, in standard deviations
        of the log loss per standard deviation of the column; None where mixtures do not suffice
        for the regression.
    needed : int
        Mixtures with which an effect of `power.WORTH_FINDING` is detectable.
    """

    feature: str
    detectable: Mapping[int, float | None]
    needed: int


@dataclass(frozen=True)
class FitResult:
    """A fitted rule and what is to be thought of it.

    Parameters
    ----------
    rule : Rule
        Ready to save.
    coefficients : tuple of Coefficient
        The intercept first.
    choice : Choice
        How the columns were chosen, and from which.
    candidates : mapping of column to transform
        All that were named.
    weighting : {"token", "example"}
        Which mean loss is the dependent variable.
    table : RunTable
        The tuned runs, with all candidates.
    means : MixtureMeans
        What was regressed on: the chosen features, with the shares where they are in the model.
    regression : Estimate
        The regression.
    condition_number : float
        Of the features, shares projected out.
    noise : Noise
        Variance of the log loss between mixtures and between seeds.
    lack_of_fit : LackOfFit or None
        Test of the regression against pure error; None without replicates.
    validation : Validation
        Scores on mixtures and sources left out, beside what is simpler.
    sensitivity : tuple of Sensitivity
        By chosen column.
    resampled : Resampled
        Bootstrap over mixtures.
    length : LengthRule or None
        Length alone; None where the log has no length, or it does not vary.
    untuned : float or None
        Log loss of the untuned base model where the log has it.
    supported, warnings : tuple of str
        In plain words, what the runs support, and what they do not.
    """

    rule: Rule
    coefficients: tuple[Coefficient, ...]
    choice: Choice
    candidates: Mapping[str, str]
    weighting: Weighting
    table: RunTable
    means: MixtureMeans
    regression: Estimate
    condition_number: float
    noise: Noise
    lack_of_fit: LackOfFit | None
    validation: Validation
    sensitivity: tuple[Sensitivity, ...]
    resampled: Resampled
    length: LengthRule | None
    untuned: float | None
    supported: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def n_runs(self) -> int:
        """Tuned runs."""
        return len(self.table.y)

    @property
    def n_mixtures(self) -> int:
        """Their mixtures."""
        return self.table.n_mixtures

    @property
    def degrees_of_freedom(self) -> float:
        """Mixtures to spare."""
        return self.regression.degrees_of_freedom

    @property
    def r2(self) -> float:
        """R² of the rule over the runs it was fitted on."""
        return self.validation.scores[RULE].r2

    @property
    def loo_r2(self) -> float:
        """R² of the rule over runs, each run's mixture left out and the columns chosen anew."""
        return self.validation.scores[RULE].loo_r2

    @property
    def null_loo_r2(self) -> float:
        """The same for the mean of the other mixtures."""
        return self.validation.scores[NOTHING].loo_r2

    @property
    def other_weighting(self) -> Weighting:
        """The weighting the loss does not have."""
        return "example" if self.weighting == "token" else "token"
