"""The regression of mixtures as a scikit-learn regressor: in pipelines, searches and scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_consistent_length, check_is_fitted, validate_data

from instructmining.errors import RuleError
from instructmining.rules.choose import Choosing, choose
from instructmining.rules.fit import rule_of, to_regress
from instructmining.rules.frames import TableLike, column_names, named_features
from instructmining.rules.provenance import Provenance
from instructmining.rules.regression import estimate
from instructmining.rules.rule import Rule
from instructmining.rules.runtable import RunTable
from instructmining.rules.transforms import Floats, feature_name


class RuleRegressor(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Fit a rule on the means of mixtures, as `fit_rule` does, with the interface of scikit-learn.

    `Rule.fit` is plain least squares on the rows it is given. This is the regression of the
    package: seeds of one mixture are averaged and weighed by how well their mean is known, and
    source shares are held where there are mixtures enough. What comes of it is a `Rule`, with
    the same coefficients that ``instructmining fit`` gives for the same runs.

    A table is as for `Rule`: a polars or pandas DataFrame, a mapping of name to values, or a
    matrix with the columns and then the shares, in the order of the parameters. Values are
    **features**, transformed already, as `RunTable.frame` gives them; for raw rows of a pool put
    ``FunctionTransformer(rule.transform_rows)`` before it.

    Parameters
    ----------
    columns : mapping of column to transform, optional
        Indicator columns in order, as `fit_rule` takes them: ``{"nll": "clip"}`` stands for the
        feature ``clip(nll)``. By default all features of the table that are no shares.
    shares : sequence of str, optional
        Columns that hold source shares, from 0 to 1. They are not needed to predict.
    choose : {"none", "aicc", "ridge"}
        How columns are chosen from those named.

    Attributes
    ----------
    rule_ : Rule
        The rule, ready to `save` or to select by.
    choice_ : Choice
        How its columns were chosen; not there where the rule was loaded.
    estimate_ : Estimate
        Coefficients with their covariance; not there where the rule was loaded.
    n_features_in_ : int
        Columns and shares.

    See Also
    --------
    instructmining.rules.fit.fit_rule : The same from a run log, with all that is said about it.
    """

    def __init__(
        self,
        columns: Mapping[str, str] | None = None,
        shares: Sequence[str] | None = None,
        choose: Choosing = "none",
    ) -> None:
        self.columns = columns
        self.shares = shares
        self.choose = choose

    @classmethod
    def from_rule(cls, rule: Rule) -> RuleRegressor:
        """Make one of a rule that is fitted already, ready to predict.

        `clone`, and so a search or a cross-validation, fits its columns anew; wrap it in
        `sklearn.frozen.FrozenEstimator` where it shall stay the rule it is.
        """
        check_is_fitted(rule)
        regressor = cls(dict(zip(rule.columns_, rule.transforms_, strict=True)))
        regressor.rule_ = rule
        regressor.n_features_in_ = len(rule.columns_)
        return regressor

    def fit(self, X: TableLike, y: ArrayLike, mixtures: ArrayLike | None = None) -> RuleRegressor:
        """Regress log loss on features and shares.

        Parameters
        ----------
        X : TableLike of shape (n_runs, n_columns)
            Features, and shares of sources, of each run's mixture.
        y : array of shape (n_runs,)
            Log inference loss of each run.
        mixtures : array of shape (n_runs,), optional
            Which mixture each run was tuned on, by any name; by default each on its own.

        Raises
        ------
        RuleError
            If a column is missing, mixtures are too few, or the columns do not vary
            independently of each other.
        ValueError
            If `X` or `y` holds NaN, or their shapes do not fit.
        """
        matrix, losses = validate_data(
            self,
            named_features(X, self._declared()),
            y,
            dtype=np.float64,
            y_numeric=True,
            ensure_min_samples=2,
        )
        labels = np.arange(len(losses)) if mixtures is None else np.asarray(mixtures)
        check_consistent_length(losses, labels)
        table = self._table(matrix, losses, labels)
        columns = self.columns or dict.fromkeys(table.features, "identity")
        means = to_regress(table, self.choose)
        self.choice_ = choose(means, self.choose)
        chosen = means.only(self.choice_.features)
        self.estimate_ = estimate(chosen, self.choice_.penalty)
        self.rule_ = rule_of(columns, chosen, self.estimate_)
        self.rule_.provenance_ = Provenance(n_runs=len(losses), n_mixtures=len(means))
        return self

    def predict(self, X: TableLike) -> Floats:
        """Predict log inference loss from features; lower is better.

        Parameters
        ----------
        X : TableLike of shape (n, n_columns)
            Features, already transformed. Of a table with names only the columns chosen are
            read, where `columns` names them; a matrix is of the width it had in `fit`.

        Returns
        -------
        ndarray of shape (n,)
            Log of nats per token; NaN where a feature the rule uses is NaN or null.
        """
        check_is_fitted(self, "rule_")
        if self.columns is not None and column_names(X) is not None:
            return self.rule_.predict(X)
        matrix = validate_data(
            self,
            named_features(X, None),
            reset=False,
            dtype=np.float64,
            ensure_all_finite="allow-nan",
        )
        order = self._order(matrix.shape[1])
        return self.rule_.predict({n: matrix[:, order.index(n)] for n in self.rule_.features})

    @property
    def coef_(self) -> Floats:
        """Change of log loss per unit of each feature chosen, shape (n_chosen,)."""
        coefficients: Floats = self.rule_.coef_
        return coefficients

    @property
    def intercept_(self) -> float:
        """Log loss where all features are zero and the shares are as in the mean mixture."""
        return self.rule_.intercept_

    def _declared(self) -> list[str] | None:
        """Columns of a matrix, where the parameters say; None where the table does."""
        if self.columns is None:
            return None
        return [*(feature_name(*pair) for pair in self.columns.items()), *(self.shares or ())]

    def _order(self, width: int) -> list[str]:
        numbered = [f"x{place}" for place in range(width)]
        return self._declared() or list(getattr(self, "feature_names_in_", numbered))

    def _table(self, matrix: Floats, losses: Floats, labels: np.ndarray) -> RunTable:
        order, shares = self._order(matrix.shape[1]), tuple(self.shares or ())
        if len(order) != matrix.shape[1] or not set(shares) <= set(order):
            raise RuleError(
                f"a table of {matrix.shape[1]} columns came for {', '.join(order)} with shares "
                f"{', '.join(shares) or 'of no source'}; give the columns and then the shares"
            )
        features = tuple(name for name in order if name not in shares)
        names, mixtures = np.unique(labels, return_inverse=True)
        return RunTable(
            features,
            matrix[:, [order.index(name) for name in features]],
            losses,
            mixtures,
            shares,
            matrix[:, [order.index(name) for name in shares]],
            tuple(map(str, names)),
        )
