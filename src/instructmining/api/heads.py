"""Train small heads on a user's own preferences."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from instructmining.api.scores import Scoring, open_engine

if TYPE_CHECKING:
    from instructmining.heads.train import Trained


def train_head(
    preferences: Sequence[str | Path],
    column: str = "rew",
    *,
    scoring: Scoring | None = None,
) -> Trained:
    """Train a head that scores like the preferences of some files.

    Save it with ``.file.save(path)`` and give the file as reward model or evaluator.

    Parameters
    ----------
    preferences : sequence of path
        Files of preferred and other responses; layouts are detected, see
        `heads.preferences.LAYOUTS`.
    column : str
        The column it fills: ``"rew"``, ``"nat"``, ``"coh"`` or ``"und"``.
    scoring : Scoring, optional
        Language model, store, progress.

    Returns
    -------
    Trained
        The head, and its agreement with the preferences in cross-validation.

    Raises
    ------
    InputError
        If a file cannot be read, or holds too few pairs.
    ModelError
        If the language model is not there.
    """
    from instructmining.errors import InputError
    from instructmining.heads import train
    from instructmining.heads.preferences import read_preferences
    from instructmining.indicators.heads import COLUMNS

    if column not in COLUMNS:
        raise InputError(f"column {column!r}: heads fill {', '.join(COLUMNS)}; choose one")
    how = scoring or Scoring()
    files = {str(path): read_preferences(path) for path in preferences}
    about = {
        "files": [
            {
                "name": Path(path).name,
                "layout": file.layout,
                "pairs": len(file.pairs),
                "left_out": dict(file.left_out),
            }
            for path, file in files.items()
        ]
    }
    engine = open_engine(how)
    pairs = [pair for file in files.values() for pair in file.pairs]
    return train.train_head(column, pairs, engine, about=about)
