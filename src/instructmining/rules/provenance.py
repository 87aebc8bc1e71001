"""Where a rule comes from: all it knows beside its coefficients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

#: ``baseline`` was never fitted; ``pilot`` rests on too few runs to be relied on.
Status = Literal["published", "baseline", "pilot", "fitted"]
STATUSES: tuple[str, ...] = get_args(Status)

#: What a column is, as flat JSON: indicator, version, model, weights hash, template, ...
Definition = Mapping[str, Any]


@dataclass(frozen=True)
class Provenance:
    """Record of one fit; what is not known is None, never a guess.

    Parameters
    ----------
    name, description : str
        How the rule is called, and one line on it.
    status : {"published", "baseline", "pilot", "fitted"}
        How far to trust it.
    definitions : mapping of column to definition
        What each column was when the rule was fitted; `Rule.check` compares the keys stated.
    ranges : mapping of column to (minimum, maximum)
        Raw row values seen in the fit; columns of unknown range are absent.
    quartiles : mapping of column to (q25, q50, q75)
        Raw row values seen in the fit; columns of unknown quartiles are absent.
    n_runs, n_mixtures : int or None
        Fine-tuning runs, and the distinct mixtures they were tuned on.
    r2, loo_r2 : float or None
        R² over runs, in the sample and with each run's mixture left out and the columns chosen
        anew.
    estimation : mapping or None
        How the coefficients were estimated: ``nuisance``, the sources whose shares were in the
        model; ``weights`` of the mixtures; ``interval``; ``without_shares``, column to the
        coefficient without them.
    choice : mapping or None
        How the columns were chosen: ``method``, ``candidates`` (column to transform), ``chosen``,
        and what was ``considered``, best first.
    vif : mapping of column to float, or None
        Variance inflation factors, source shares in the model where they were in the fit.
    covariance : mapping or None
        ``order``, list of "intercept" and column names; ``matrix``, their covariances, robust to
        heteroscedasticity (HC3).
    base_model, training, evaluation, dependent_variable : mapping or None
        The model tuned, the setting it was tuned with, the files and part and weighting it was
        measured on, and what the rule predicts.
    seeds : tuple of int, or None
        Training seeds.
    source : str or None
        Citation, or the plans whose runs were fitted.
    notes : tuple of str
        What a reader has to know: confidence in the numbers, warnings of the fit.
    """

    name: str = "unnamed"
    description: str | None = None
    status: Status = "fitted"
    definitions: Mapping[str, Definition] = field(default_factory=dict)
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    quartiles: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)
    n_runs: int | None = None
    n_mixtures: int | None = None
    r2: float | None = None
    loo_r2: float | None = None
    estimation: Mapping[str, Any] | None = None
    choice: Mapping[str, Any] | None = None
    vif: Mapping[str, float] | None = None
    covariance: Mapping[str, Any] | None = None
    base_model: Mapping[str, Any] | None = None
    training: Mapping[str, Any] | None = None
    evaluation: Mapping[str, Any] | None = None
    dependent_variable: Mapping[str, Any] | None = None
    seeds: tuple[int, ...] | None = None
    source: str | None = None
    notes: tuple[str, ...] = ()
