"""The Python API: what the command line does, one call each.

These files compose the rooms; nothing imports them but the command line and users.
"""

from __future__ import annotations

from instructmining.api.comparisons import (
    ComparisonSetting,
    PreparedComparison,
    compare,
    prepare_comparison,
)
from instructmining.api.experiments import (
    Designing,
    ExperimentSetting,
    Planned,
    plan_experiment,
    prepare_experiment,
)
from instructmining.api.exports import Exported, export
from instructmining.api.fits import judge_fit, write_diagnostics, write_fit_page
from instructmining.api.heads import train_head
from instructmining.api.judgements import (
    JudgingSetting,
    PreparedJudging,
    judge,
    prepare_judging,
)
from instructmining.api.manifests import Finding, verify, write_manifest
from instructmining.api.parts import SelectedParts, select_parts
from instructmining.api.reports import report
from instructmining.api.scores import Scoring, fill, forecast, load_examples, open_store, score
from instructmining.api.searches import PreparedSearch, SearchSetting, prepare_search, search
from instructmining.api.selections import Selected, load_rule, select

__all__ = [
    "ComparisonSetting",
    "Designing",
    "ExperimentSetting",
    "Exported",
    "Finding",
    "JudgingSetting",
    "Planned",
    "PreparedComparison",
    "PreparedJudging",
    "PreparedSearch",
    "Scoring",
    "SearchSetting",
    "Selected",
    "SelectedParts",
    "compare",
    "export",
    "fill",
    "forecast",
    "judge",
    "judge_fit",
    "load_examples",
    "load_rule",
    "open_store",
    "plan_experiment",
    "prepare_comparison",
    "prepare_experiment",
    "prepare_judging",
    "prepare_search",
    "report",
    "score",
    "search",
    "select",
    "select_parts",
    "train_head",
    "verify",
    "write_diagnostics",
    "write_fit_page",
    "write_manifest",
]
