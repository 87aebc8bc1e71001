"""Whether one way of choosing data gives a lower loss than another, with a verdict.

Every method was trained with several seeds and measured on the prompts of one or more
evaluation sets. `crossed` has the estimator and its interval, `conclusions` what is concluded
and how several contrasts are held together, `wins` the prompts won.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from instructmining.errors import ExperimentError
from instructmining.evaluation.conclusions import Terms
from instructmining.evaluation.contrasts import (
    Contrast,
    MethodLoss,
    contrast_all,
    method_losses,
)
from instructmining.evaluation.losses import EvaluationLosses
from instructmining.evaluation.verdict import family, notes, sentence


@dataclass(frozen=True)
class Comparison:
    """Methods compared on evaluation sets.

    Parameters
    ----------
    terms : Terms
        On what terms.
    family : str
        The tests that the conclusions hold for together, in words.
    methods : tuple of MethodLoss
        Loss of every method on every set.
    contrasts : tuple of Contrast
        Pair by pair, and for each the sets in order.
    verdict : str
        One sentence over all of them.
    notes : tuple of str
        What limits the conclusions.
    """

    terms: Terms
    family: str
    methods: tuple[MethodLoss, ...]
    contrasts: tuple[Contrast, ...]
    verdict: str
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as plain data; what is not known is None."""
        plain: dict[str, Any] = _plain(asdict(self))
        return plain


def compare(
    evaluations: Sequence[EvaluationLosses],
    *,
    reference: str = "rule",
    pairs: Sequence[tuple[str, str]] | None = None,
    terms: Terms | None = None,
) -> Comparison:
    """Compare methods on evaluation sets.

    Parameters
    ----------
    evaluations : sequence of EvaluationLosses
        Losses on each set.
    reference : str
        Method that is held against each other one, unless `pairs` are given.
    pairs : sequence of (str, str), optional
        The family of contrasts: method, and what it is held against. State it before looking at
        losses; a smaller family finds smaller differences.
    terms : Terms, optional
        Margin, level, tie width.

    Raises
    ------
    ExperimentError
        If there is no set or no pair, a name occurs twice, a set lacks a method, or two methods
        share no seed.
    """
    terms = terms or Terms()
    names = [evaluation.name for evaluation in evaluations]
    if not names or len({*names}) < len(names):
        raise ExperimentError(
            f"evaluation sets {names} came; give at least one, each with a name of its own"
        )
    if pairs is None:
        others = [method for method in evaluations[0].losses if method != reference]
        pairs = [(reference, other) for other in others]
    _require_methods(evaluations, pairs)
    contrasts = contrast_all(evaluations, pairs, terms)
    return Comparison(
        terms=terms,
        family=family(contrasts, terms),
        methods=tuple(
            loss for evaluation in evaluations for loss in method_losses(evaluation, terms)
        ),
        contrasts=contrasts,
        verdict=sentence(contrasts, terms),
        notes=notes(contrasts, evaluations),
    )


def _require_methods(
    evaluations: Sequence[EvaluationLosses], pairs: Sequence[tuple[str, str]]
) -> None:
    if not pairs:
        raise ExperimentError("no pair of methods came to compare; give losses of two or more")
    unordered = [frozenset(pair) for pair in pairs]
    for pair, both in zip(pairs, unordered, strict=True):
        if len(both) < 2 or unordered.count(both) > 1:
            raise ExperimentError(
                f"pair {' - '.join(pair)} is of one method, or came twice; give each pair of two "
                "methods once"
            )
    for evaluation in evaluations:
        for method in (method for pair in pairs for method in pair):
            if method not in evaluation.losses:
                raise ExperimentError(
                    f"evaluation set {evaluation.name}: no losses of {method}, only of "
                    f"{', '.join(evaluation.losses)}; measure it, or leave it out of the pairs"
                )


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, tuple):
        return [_plain(inner) for inner in value]
    return value
