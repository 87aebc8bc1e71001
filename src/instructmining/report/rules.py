"""Show rules and fits on a terminal."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Group, JustifyMethod, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from instructmining.report.select import inert, number

if TYPE_CHECKING:
    # Showing a rule must not load what fitting one needs.
    from instructmining.rules.diagnose import Noise
    from instructmining.rules.fit import Coefficient, FitResult
    from instructmining.rules.provenance import Provenance
    from instructmining.rules.rule import Rule


def render_rules(rules: Iterable[Rule]) -> RenderableType:
    """Return the list of rules for printing with Rich."""
    table = _table("Rule", "Status", "Columns", "R²", "R² left out", "Runs", right=(3, 4, 5))
    for rule in rules:
        known = rule.provenance_
        table.add_row(
            inert(rule.name),
            known.status,
            inert(", ".join(rule.features)),
            _plain(known.r2),
            _plain(known.loo_r2),
            _plain(known.n_runs),
        )
    return table


def render_rule(rule: Rule) -> RenderableType:
    """Return one rule with all that is known of it for printing with Rich."""
    known = rule.provenance_
    table = _table("Feature", "Coefficient", "VIF", "Rows in the fit", "Quartiles", right=(1, 2))
    table.add_row("intercept", coefficient(rule.intercept_), "", "", "")
    for name, feature, value in zip(rule.columns_, rule.features, rule.coef_, strict=True):
        table.add_row(
            inert(feature),
            coefficient(float(value)),
            _vif((known.vif or {}).get(name)),
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
        table,
        Text(),
        _facts(rule, known),
    ]
    return Group(*parts, *_notes(known.notes))


def render_fit(result: FitResult) -> RenderableType:
    """Return a fit, its diagnosis and what it does not support, for printing with Rich."""
    known = result.rule.provenance_
    evaluation = known.evaluation or {}
    head = (
        f"{result.rule.label}: {result.n_runs} runs over {result.n_mixtures} mixtures, "
        f"{evaluation.get('weighting')}-weighted log loss on "
        f"{', '.join(evaluation.get('names', ()))}"
    )
    parts: list[RenderableType] = [
        inert(head, style="bold"),
        Text(),
        _coefficients(result.coefficients),
        Text(
            "Intervals from one point per mixture, Student's t with "
            f"{result.degrees_of_freedom} degrees of freedom; std.: in standard deviations."
        ),
        Text(),
        _alternatives(result.coefficients, str(evaluation.get("weighting"))),
        Text("Clustered: from all runs, robust, too narrow where mixtures are few."),
        Text(),
        _quality(result),
    ]
    return Group(*parts, *_notes(result.warnings))


def coefficient(value: float) -> str:
    """Write a coefficient with four significant digits and its sign."""
    return f"{value:+.4g}"


def _coefficients(coefficients: Iterable[Coefficient]) -> Table:
    table = _table("Feature", "Estimate", "95 % interval", "std.", "VIF", right=(1, 2, 3, 4))
    for one in coefficients:
        table.add_row(
            inert(one.name),
            coefficient(one.estimate),
            _interval(one.interval),
            "" if one.standardised is None else f"{one.standardised:+.2f}",
            "" if one.vif is None else _vif(one.vif),
        )
    return table


def _alternatives(coefficients: Iterable[Coefficient], weighting: str) -> Table:
    other = "example" if weighting == "token" else "token"
    table = _table("Feature", "95 %, clustered", f"Estimate by {other}", right=(1, 2))
    for one in coefficients:
        table.add_row(
            inert(one.name), _interval(one.cluster_interval), coefficient(one.other_weighting)
        )
    return table


def _quality(result: FitResult) -> Table:
    noise: Noise = result.noise
    rows = [
        ("R² in the sample", f"{result.r2:.3f}"),
        (
            "R² with each mixture left out",
            f"{result.loo_r2:.3f} (without any column {result.null_loo_r2:.3f})",
        ),
    ]
    if noise.r2_ceiling is not None and noise.seeds is not None:
        rows += [
            ("highest R² seeds allow", f"{noise.r2_ceiling:.3f}"),
            (
                "standard deviation of log loss",
                f"{math.sqrt(noise.mixtures):.4f} between mixtures, "
                f"{math.sqrt(noise.seeds):.4f} between seeds",
            ),
        ]
    if result.untuned is not None:
        rows.append(("log loss of the untuned model", f"{result.untuned:.4f}"))
    rows.append(("condition number", f"{result.condition_number:.1f}"))
    return _grid(rows)


def _facts(rule: Rule, known: Provenance) -> Table:
    rows = [
        ("status", known.status),
        ("runs", _plain(known.n_runs)),
        ("mixtures", _plain(known.n_mixtures)),
        ("R²", _plain(known.r2)),
        ("R², mixture left out", _plain(known.loo_r2)),
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
    return _grid(rows)


def _notes(notes: Iterable[str]) -> list[RenderableType]:
    lines: list[RenderableType] = [Padding(inert(f"• {note}"), (0, 0, 0, 2)) for note in notes]
    return [Text(), Text("To be known", style="bold"), *lines] if lines else []


def _table(*headers: str, right: tuple[int, ...] = ()) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for index, header in enumerate(headers):
        justify: JustifyMethod = "right" if index in right else "left"
        table.add_column(header, justify=justify, overflow="fold", no_wrap=index == 0)
    return table


def _grid(rows: Iterable[tuple[str, str]]) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column()
    grid.add_column(overflow="fold")
    for name, value in rows:
        grid.add_row(inert(name, style="dim"), inert(value))
    return grid


def _interval(pair: tuple[float, float]) -> str:
    return f"{pair[0]:+.3g} … {pair[1]:+.3g}"


def _vif(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _span(values: tuple[float, ...] | None) -> str:
    return "–" if values is None else " … ".join(number(value) for value in values)


def _plain(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"


def _flat(mapping: Mapping[str, Any] | None) -> str:
    """Write a mapping in one line: ``key value``, nested ones as JSON, unknown ones not at all."""
    if not mapping:
        return "–"
    known = {key: value for key, value in mapping.items() if value is not None}
    return ", ".join(
        f"{key} {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        for key, value in known.items()
    )
