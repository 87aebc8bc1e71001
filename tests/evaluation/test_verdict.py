from __future__ import annotations

from dataclasses import replace

import numpy as np

from evaluation.simulated import World
from instructmining.evaluation.comparison import compare
from instructmining.evaluation.conclusions import (
    BETTER,
    NOT_SHOWN,
    SAME,
    TOO_FEW,
    UNRESOLVED,
    WORSE,
    Conclusion,
    Terms,
)
from instructmining.evaluation.contrasts import Contrast
from instructmining.evaluation.losses import evaluation_losses
from instructmining.evaluation.verdict import sentence


def contrast(other: str, evaluation: str, conclusion: Conclusion, by: float = 0.0) -> Contrast:
    """A contrast with figures of its own choosing: the sentence is what is looked at."""
    losses, tokens = World().draw_losses(np.random.default_rng(0), 2, {"rule": 0.0, "random": 0.0})
    (one,) = compare([evaluation_losses("lima", losses, tokens)], terms=Terms(n_boot=1)).contrasts
    figures = replace(one.by_token, relative=by, interval=(by - 0.007, by + 0.007))
    return replace(one, other=other, evaluation=evaluation, conclusion=conclusion, by_token=figures)


def said(*contrasts: Contrast) -> str:
    return sentence(contrasts, Terms())


def test_better_here_and_not_there() -> None:
    assert said(
        contrast("random", "lima", BETTER, -0.012),
        contrast("random", "human", NOT_SHOWN),
        contrast("longest", "lima", NOT_SHOWN),
        contrast("longest", "human", NOT_SHOWN),
    ) == (
        "rule is better than random on lima (-1.2 %, 95 % interval -1.9 to -0.5), no difference "
        "shown on human; not shown better than longest anywhere"
    )


def test_every_conclusion_has_its_words() -> None:
    kinds: list[Conclusion] = [TOO_FEW, NOT_SHOWN, UNRESOLVED, SAME, WORSE, BETTER]
    text = said(*(contrast("random", f"set{i}", kind, 0.01) for i, kind in enumerate(kinds)))
    figures = "(+1.0 %, 95 % interval +0.3 to +1.7)"
    assert text == (
        f"rule is better than random on set5 {figures}, worse on set4 {figures}, not practically "
        f"different on set3 {figures}, unresolved on set2 (no difference shown by token, no "
        "difference shown by example), no difference shown on set1, too few seeds on set0"
    )


def test_sets_and_methods_of_one_conclusion_are_put_together() -> None:
    assert said(
        contrast("random", "lima", WORSE, 0.02),
        contrast("random", "human", WORSE, 0.03),
        contrast("all", "lima", TOO_FEW),
        contrast("all", "human", TOO_FEW),
        contrast("ifd", "lima", NOT_SHOWN),
        contrast("ifd", "human", NOT_SHOWN),
        contrast("ppl", "lima", NOT_SHOWN),
        contrast("ppl", "human", NOT_SHOWN),
    ) == (
        "rule is worse than random on lima (+2.0 %, 95 % interval +1.3 to +2.7) and human "
        "(+3.0 %, 95 % interval +2.3 to +3.7); not shown better than ifd or ppl anywhere; too few "
        "seeds to compare rule with all"
    )


def test_too_few_seeds_on_one_set_only() -> None:
    text = said(contrast("all", "lima", NOT_SHOWN), contrast("all", "human", TOO_FEW))
    assert text == "rule is not shown better than all on lima, too few seeds on human"
