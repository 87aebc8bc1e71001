"""Find out which instruction data is worth training on, and prove it.

The four calls most people need::

    examples = instructmining.load_examples("pool.jsonl")
    table = instructmining.score("pool.jsonl")
    rule = instructmining.load_rule("small")
    best = instructmining.select("pool.jsonl", rule, keep=0.1)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from instructmining.api import (
        ComparisonSetting,
        Designing,
        ExperimentSetting,
        JudgingSetting,
        Scoring,
        SearchSetting,
        Selected,
        compare,
        export,
        judge,
        load_examples,
        load_rule,
        plan_experiment,
        prepare_experiment,
        score,
        search,
        select,
        select_parts,
    )

__all__ = [
    "ComparisonSetting",
    "Designing",
    "ExperimentSetting",
    "JudgingSetting",
    "Scoring",
    "SearchSetting",
    "Selected",
    "compare",
    "export",
    "judge",
    "load_examples",
    "load_rule",
    "plan_experiment",
    "prepare_experiment",
    "score",
    "search",
    "select",
    "select_parts",
]


def __getattr__(name: str) -> Any:
    # Looked up late, so that importing the package loads nothing at all.
    if name in __all__:
        from instructmining import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
