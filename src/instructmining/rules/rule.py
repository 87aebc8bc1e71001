"""The rule: log inference loss, linear in (transformed) indicator columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from instructmining.errors import DefinitionMismatch, RuleError
from instructmining.rules.frames import TableLike, column_matrix, named_features
from instructmining.rules.provenance import Provenance
from instructmining.rules.schema import RuleDocument, read_document
from instructmining.rules.transforms import (
    Cut,
    Floats,
    apply_transform,
    clips,
    feature_name,
    require_transform,
)

#: Keys of a definition that are written down but never compared.
NEVER_COMPARED = frozenset({"dtype", "package_version"})


@dataclass(frozen=True)
class PoolStatistics:
    """What a rule must know of a whole pool to be applied to a part of it.

    Parameters
    ----------
    cuts : mapping of column to (float, float)
        Where the columns that are clipped are cut: `CLIP_PERCENTILES` of the pool's values. A
        column without a value in the pool has none.
    means : ndarray of shape (n_columns,), optional
        Mean of each feature over the rows of the pool that can be predicted; needed for
        contributions only.
    """

    cuts: Mapping[str, Cut] = field(default_factory=dict)
    means: Floats | None = None


class Rule(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Linear rule that predicts log inference loss; lower is better.

    A rule speaks of two kinds of table, which differ in the names of their columns:

    - **features**, values already transformed, such as the run means a rule is fitted on:
      columns are called ``log1p(len_out)``, or ``len_out`` where the transform is the identity.
      `fit`, `predict`, `quality` and `score` (R²) take these, as scikit-learn expects.
    - **rows**, raw indicator columns of single examples, as a score table holds them: columns
      are called ``len_out``. `predict_rows`, `transform_rows`, `contributions` and `n_outside`
      take these, the whole pool at once, because ``clip`` cuts at the pool's percentiles; or a
      part of it, and with it the pool's `PoolStatistics`.

    A table may be a polars or pandas DataFrame, a mapping of name to values, or a matrix with
    columns in the rule's order; columns the rule does not use are passed over.

    Parameters
    ----------
    columns : sequence of str, optional
        Indicator columns in order; by default those of the table given to `fit`.
    transforms : mapping of column to transform name, optional
        Recorded transforms; columns not named stay as they are.

    Attributes
    ----------
    coef_ : ndarray of shape (n_columns,)
        Change of log loss per unit of each feature.
    intercept_ : float
        Log loss where all features are zero.
    columns_, transforms_ : tuple of str
        Columns and their transforms, in the order of `coef_`.
    provenance_ : Provenance
        Where the rule comes from.

    References
    ----------
    Cao et al., "Instruction Mining", arXiv:2307.06290.
    """

    def __init__(
        self,
        columns: Sequence[str] | None = None,
        transforms: Mapping[str, str] | None = None,
    ) -> None:
        self.columns = columns
        self.transforms = transforms

    def fit(self, X: TableLike, y: ArrayLike) -> Rule:
        """Learn intercept and coefficients by least squares.

        Parameters
        ----------
        X : TableLike of shape (n_runs, n_columns)
            Features: means over each run's mixture of the transformed rows.
        y : array of shape (n_runs,)
            Log inference loss of each run.

        Raises
        ------
        RuleError
            If a column is missing or a transform unknown.
        ValueError
            If `X` or `y` holds NaN, or their shapes do not fit.
        """
        columns, transforms = self._declared()
        names = None if columns is None else _feature_names(columns, transforms)
        matrix, losses = validate_data(
            self, named_features(X, names), y, dtype=np.float64, y_numeric=True
        )
        if columns is None:
            columns = tuple(
                getattr(self, "feature_names_in_", [f"x{i}" for i in range(matrix.shape[1])])
            )
            transforms = ("identity",) * len(columns)
        center, level = matrix.mean(axis=0), losses.mean()
        self.coef_ = np.linalg.lstsq(matrix - center, losses - level, rcond=None)[0]
        self.intercept_ = float(level - center @ self.coef_)
        self.columns_, self.transforms_ = columns, transforms
        self.provenance_ = Provenance(n_runs=len(losses))
        return self

    def predict(self, X: TableLike) -> Floats:
        """Predict log inference loss from features; lower is better.

        Parameters
        ----------
        X : TableLike of shape (n, n_columns)
            Features, already transformed; for raw rows see `predict_rows`.

        Returns
        -------
        ndarray of shape (n,)
            Log of nats per token; NaN where any feature is NaN or null.
        """
        check_is_fitted(self)
        names = None if self.columns is None else self.features
        matrix = validate_data(
            self,
            named_features(X, names),
            reset=False,
            dtype=np.float64,
            ensure_all_finite="allow-nan",
        )
        return self._linear(matrix)

    def quality(self, X: TableLike) -> Floats:
        """Give minus the predicted log loss of features: higher is better.

        This is the package's only change of sign.
        """
        return -self.predict(X)

    @property
    def clipped(self) -> tuple[str, ...]:
        """Columns that are cut at percentiles of the pool."""
        pairs = zip(self.columns_, self.transforms_, strict=True)
        return tuple(name for name, transform in pairs if clips(transform))

    def transform_rows(self, rows: TableLike, pool: PoolStatistics | None = None) -> pl.DataFrame:
        """Turn raw rows of a pool, or of a part, into features, nulls and infinities into NaN."""
        return pl.DataFrame(self._row_features(rows, pool), schema=list(self.features))

    def predict_rows(self, rows: TableLike, pool: PoolStatistics | None = None) -> Floats:
        """Predict log inference loss from raw rows, each taken as a data set of one example.

        Parameters
        ----------
        rows : TableLike of shape (n_rows, n_columns)
            Raw indicator columns of the whole pool.
        pool : PoolStatistics, optional
            Those of the pool, where the rows are a part of it.

        Returns
        -------
        ndarray of shape (n_rows,)
            Log of nats per token, lower is better; NaN where a column the rule uses is undefined.

        Raises
        ------
        RuleError
            If a column is missing or does not hold numbers.
        """
        return self._linear(self._row_features(rows, pool))

    def contributions(self, rows: TableLike, pool: PoolStatistics | None = None) -> pl.DataFrame:
        """Say what each column adds to each row's prediction.

        Parameters
        ----------
        rows : TableLike of shape (n_rows, n_columns)
            Raw indicator columns of the whole pool.
        pool : PoolStatistics, optional
            Those of the pool, means included, where the rows are a part of it.

        Returns
        -------
        polars.DataFrame of shape (n_rows, n_columns)
            Coefficient × (transformed value − mean over the rows that can be predicted), in
            units of log loss and named as the raw columns; null where the value is undefined.
            A row's sum plus `mean_prediction` is its prediction, exactly up to rounding.
        """
        features = self._row_features(rows, pool)
        known = None if pool is None else pool.means
        means = _pool_mean(features) if known is None else known
        parts = self.coef_ * (features - means)
        return pl.DataFrame(parts, schema=list(self.columns_)).fill_nan(None)

    def mean_prediction(self, rows: TableLike) -> float:
        """Give the mean of `predict_rows` over the rows that can be predicted."""
        return float(self._linear(_pool_mean(self._row_features(rows))[np.newaxis])[0])

    def n_outside(self, rows: TableLike) -> dict[str, int | None]:
        """Count, per column, the raw values outside the range seen in the fit; None: not known."""
        check_is_fitted(self)
        matrix = column_matrix(rows, self.columns_)
        counts: dict[str, int | None] = {}
        for name, values in zip(self.columns_, matrix.T, strict=True):
            seen = self.provenance_.ranges.get(name)
            outside = None if seen is None else (values < seen[0]) | (values > seen[1])
            counts[name] = None if outside is None else int(outside.sum())
        return counts

    def check(
        self, definitions: Mapping[str, Mapping[str, Any]], *, allow_mismatch: bool = False
    ) -> list[str]:
        """Compare the rule's columns with those of a score table.

        Parameters
        ----------
        definitions : mapping of column to definition
            As `ScoreTable.definitions`. Only keys the rule states are compared, and of two
            models with one hash of weights not the names.
        allow_mismatch : bool
            Give differences back instead of raising.

        Returns
        -------
        list of str
            One sentence per difference, to be said in every output.

        Raises
        ------
        DefinitionMismatch
            If a column is absent, or defined otherwise and `allow_mismatch` is false.
        """
        check_is_fitted(self)
        absent = [name for name in self.columns_ if name not in definitions]
        if absent:
            raise DefinitionMismatch(
                f"rule {self.label} needs column {', '.join(absent)}, the scores have "
                f"{', '.join(definitions) or 'none'}; score the pool with it, or choose another "
                "rule"
            )
        notes = [
            f"column {name}: {key} is {came!r} in the scores, {wanted!r} in rule {self.label}"
            for name in self.columns_
            for key, wanted, came in _differences(
                self.provenance_.definitions.get(name, {}), definitions[name]
            )
        ]
        if notes and not allow_mismatch:
            raise DefinitionMismatch(
                f"{'; '.join(notes)}; score with what the rule was fitted on, choose another "
                "rule, or pass --allow-mismatch"
            )
        return notes

    def save(self, path: Path) -> None:
        """Write the rule as JSON; an existing file is replaced only by a whole one."""
        self.document().save(Path(path))

    @classmethod
    def load(cls, path: Path) -> Rule:
        """Read a rule written by `save`.

        Raises
        ------
        RuleError
            If the file cannot be read, is no rule, or is of another schema version.
        """
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise RuleError(f"{path}: cannot be read ({error}); a rule file was wanted") from error
        return cls.from_document(read_document(text, str(path)))

    def document(self) -> RuleDocument:
        """Give the rule as plain data."""
        check_is_fitted(self)
        return RuleDocument(
            columns=self.columns_,
            transforms=self.transforms_,
            coefficients=tuple(float(value) for value in self.coef_),
            intercept=self.intercept_,
            provenance=self.provenance_,
        )

    @classmethod
    def from_document(cls, document: RuleDocument) -> Rule:
        """Make a rule of plain data, ready to predict."""
        pairs = zip(document.columns, document.transforms, strict=True)
        rule = cls(
            columns=document.columns,
            transforms={name: kind for name, kind in pairs if kind != "identity"},
        )
        rule.coef_ = np.array(document.coefficients, dtype=np.float64)
        rule.intercept_ = document.intercept
        rule.columns_, rule.transforms_ = document.columns, document.transforms
        rule.provenance_ = document.provenance
        rule.n_features_in_ = len(document.columns)
        rule.feature_names_in_ = np.array(rule.features, dtype=object)
        return rule

    @property
    def name(self) -> str:
        """Name of the rule, as the catalogue knows it."""
        return self.provenance_.name

    @property
    def label(self) -> str:
        """Name to print: a pilot says that it is one."""
        provenance = self.provenance_
        return f"{provenance.name} (pilot)" if provenance.status == "pilot" else provenance.name

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features, in the order of `coef_`."""
        return _feature_names(self.columns_, self.transforms_)

    def _declared(self) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
        transforms = dict(self.transforms or {})
        for kind in transforms.values():
            require_transform(kind)
        columns = () if self.columns is None else tuple(self.columns)
        stray = sorted(transforms.keys() - set(columns))
        if stray or len(set(columns)) < len(columns):
            raise RuleError(
                f"columns {list(columns)} came with transforms of {sorted(transforms)}; "
                "name each column once, and every transformed column among them"
            )
        kinds = tuple(transforms.get(name, "identity") for name in columns)
        return (None if self.columns is None else columns), kinds

    def _row_features(self, rows: TableLike, pool: PoolStatistics | None = None) -> Floats:
        check_is_fitted(self)
        matrix = column_matrix(rows, self.columns_)
        cuts = {} if pool is None else pool.cuts
        named = zip(self.columns_, self.transforms_, matrix.T, strict=True)
        features = [apply_transform(kind, values, cuts.get(name)) for name, kind, values in named]
        return np.column_stack(features)

    def _linear(self, features: Floats) -> Floats:
        # Column by column, as a matrix product may round a row otherwise in another batch.
        total = np.full(len(features), self.intercept_)
        for coefficient, values in zip(self.coef_, features.T, strict=True):
            total += coefficient * values
        return total


def _feature_names(columns: Sequence[str], transforms: Sequence[str]) -> tuple[str, ...]:
    return tuple(feature_name(*pair) for pair in zip(columns, transforms, strict=True))


def _differences(wanted: Mapping[str, Any], came: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """List key, wanted and came for each stated key in which two definitions differ."""
    ignored = set(NEVER_COMPARED)
    if wanted.get("weights") is not None and wanted["weights"] == came.get("weights"):
        ignored.add("model")  # The same weights may be named by a path.
    return [
        (key, value, came.get(key))
        for key, value in wanted.items()
        if key not in ignored and came.get(key) != value
    ]


def _pool_mean(features: Floats) -> Floats:
    scored = features[~np.isnan(features).any(axis=1)]
    return scored.mean(axis=0) if len(scored) else np.full(features.shape[1], np.nan)
