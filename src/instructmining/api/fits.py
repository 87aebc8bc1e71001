"""Judge a fitted rule on the rows of a score table, and write down everything about it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from instructmining.rules.result import FitResult
    from instructmining.rules.verdict import Verdict


def judge_fit(result: FitResult, rows: Path | None = None) -> Verdict:
    """Hold a fit against what a rule should reach.

    Parameters
    ----------
    result : FitResult
        What `rules.fit.fit_rule` gave.
    rows : Path, optional
        A score table of a pool, to be ranked by refits of the rule.

    Raises
    ------
    StoreError
        If `rows` is no score table.
    DefinitionMismatch
        If its columns are defined otherwise than those of the runs.
    RuleError
        If it lacks a column, or has too few rows with a value in every one.
    """
    from instructmining.rules.verdict import judge
    from instructmining.scoring.table import ScoreTable

    if rows is None:
        return judge(result)
    scores = ScoreTable.load(rows)
    result.rule.check(scores.definitions)
    return judge(result, scores.frame)


def write_diagnostics(verdict: Verdict, folder: Path) -> list[Path]:
    """Write ``diagnostics.json`` and the figures of a fit.

    Parameters
    ----------
    verdict : Verdict
        What `judge_fit` gave.
    folder : Path
        Where to; it is made where it is missing.

    Returns
    -------
    list of Path
        What was written.

    Raises
    ------
    InputError
        If matplotlib is missing, or the folder cannot be written to.
    """
    from instructmining.report.fit_data import save_fit_data
    from instructmining.report.fit_plots import save_plots

    data = folder / "diagnostics.json"
    figures = save_plots(verdict, folder)
    save_fit_data(verdict, data)
    return [data, *figures]


def write_fit_page(verdict: Verdict, path: Path) -> Path:
    """Write the page of a fit, to open in a browser, and its data beside it.

    Parameters
    ----------
    verdict : Verdict
        What `judge_fit` gave.
    path : Path
        Of the page; ends in ``.html``.

    Raises
    ------
    InputError
        If the page cannot be written, or what draws it is not installed.
    """
    from instructmining.report.fit_data import fit_data
    from instructmining.report.page.fitting import fit_page
    from instructmining.report.page.html import save_page

    save_page(fit_page(fit_data(verdict)), path)
    return path
