"""Show rules on a terminal."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from instructmining.report.select import inert, number
from instructmining.report.terminal import coefficient, grid, inflation, notes, plain, table

if TYPE_CHECKING:
    from instructmining.rules.provenance import Provenance
    from instructmining.rules.rule import Rule


def render_rules(rules: Iterable[Rule]) -> RenderableType:
    """Return the list of rules for printing with Rich."""
    listed = table("Rule", "Status", "Columns", "R²", "R² left out", "Runs", right=(3, 4, 5))
    for rule in rules:
        known = rule.provenance_
        listed.add_row(
            inert(rule.name),
            known.status,
            inert(", ".join(rule.features)),
            plain(known.r2),
            plain(known.loo_r2),
            plain(known.n_runs),
        )
    return listed


def render_rule(rule: Rule) -> RenderableType:
    """Return one rule with all that is known of it for printing with Rich."""
    known = rule.provenance_
    features = table("Feature", "Coefficient", "VIF", "Rows in the fit", "Quartiles", right=(1, 2))
    features.add_row("intercept", coefficient(rule.intercept_), "", "", "")
    for name, feature, value in zip(rule.columns_, rule.features, rule.coef_, strict=True):
        features.add_row(
            inert(feature),
            coefficient(float(value)),
            inflation((known.vif or {}).get(name)),
            _span(known.ranges.get(name)),
            _span(known.quartiles.get(name)),
        )
    head = f"{rule.label}: {known.description}" if known.description else rule.label
    parts: list[RenderableType] = [
        inert(head, style="bold"),
        Text(
            f"{'Predicts log inference loss' if known.dependent_variable else 'Ranks only'}: "
            "lower is better."
        ),
        Text(),
        features,
        Text(),
        _facts(rule, known),
    ]
    return Group(*parts, *notes("To be known", known.notes))


def _facts(rule: Rule, known: Provenance) -> Table:
    rows = [
        ("status", known.status),
        ("runs", plain(known.n_runs)),
        ("mixtures", plain(known.n_mixtures)),
        ("R²", plain(known.r2)),
        ("R², mixture left out", plain(known.loo_r2)),
        ("columns chosen", _chosen(known.choice)),
        ("nuisance terms", ", ".join((known.estimation or {}).get("nuisance") or ()) or "–"),
        ("base model", _flat(known.base_model)),
        ("training", _flat(known.training)),
        ("evaluation", _flat(known.evaluation)),
        ("dependent variable", _flat(known.dependent_variable)),
        ("seeds", ", ".join(map(str, known.seeds)) if known.seeds else "–"),
        ("source", known.source or "–"),
    ]
    rows += [
        (f"definition of {name}", _flat(known.definitions.get(name))) for name in rule.columns_
    ]
    return grid(rows)


def _chosen(choice: Mapping[str, Any] | None) -> str:
    if not choice:
        return "–"
    if choice.get("method") == "none":
        return "all that were named"
    return f"from {', '.join(choice.get('candidates') or ())} by {choice.get('method')}"


def _span(values: tuple[float, ...] | None) -> str:
    return "–" if values is None else " … ".join(number(value) for value in values)


def _flat(mapping: Mapping[str, Any] | None) -> str:
    """Write a mapping in one line: ``key value``, nested ones as JSON, unknown ones not at all."""
    if not mapping:
        return "–"
    known = {key: value for key, value in mapping.items() if value is not None}
    return ", ".join(
        f"{key} {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        for key, value in known.items()
    )
