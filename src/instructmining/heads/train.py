"""From a file of preferences to a file of heads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from instructmining.errors import InputError
from instructmining.heads.fit import Design, Fitted, Pairs, fit_head
from instructmining.heads.measure import Interval, pair_accuracy, paired_gain, same_length
from instructmining.heads.preferences import Preference, examples_of
from instructmining.heads.states import Features, read_features
from instructmining.models.heads import HeadFile
from instructmining.models.sources import ModelFiles, resolve
from instructmining.scoring.engine import Engine

#: Share of a model's depth at which its states are read.
DEPTHS = (0.2, 0.4, 0.6, 0.8, 1.0)


@dataclass(frozen=True)
class Agreement:
    """How often scores prefer what the preferences prefer, on pairs no head was trained on.

    Parameters
    ----------
    n_pairs, n_groups : int
        Pairs, and different instructions among them.
    accuracy : Interval
        Of the head.
    longer, likelier : Interval
        Of preferring the response of more words; of less loss per token.
    gain : Interval
        Accuracy of the head less that of the best of these two and their opposites, paired.
    n_same_length : int
        Pairs whose lengths differ by less than a fifth of the longer.
    same_length : Interval
        Accuracy of the head on these.
    """

    n_pairs: int
    n_groups: int
    accuracy: Interval
    longer: Interval
    likelier: Interval
    gain: Interval
    n_same_length: int
    same_length: Interval

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)


@dataclass(frozen=True)
class Trained:
    """A head with its agreement in cross-validation.

    Parameters
    ----------
    file : HeadFile
        The head, ready to be saved.
    fitted : Fitted
        The head and the margins of every pair.
    agreement : Agreement
        Out of fold: each pair is judged by a head trained on other instructions.
    n_unscorable : int
        Pairs of which a response cannot be run.
    """

    file: HeadFile
    fitted: Fitted
    agreement: Agreement
    n_unscorable: int


def train_head(
    column: str,
    preferences: Sequence[Preference],
    engine: Engine,
    *,
    about: Mapping[str, Any] | None = None,
) -> Trained:
    """Train a head for one column on preferences.

    The logarithm of the length may explain preferences while the head is trained, and is
    then left out: what is wanted is quality beyond length.

    Parameters
    ----------
    column : str
        ``rew``, ``nat``, ``coh`` or ``und``.
    preferences : sequence of Preference
        Pairs of responses.
    engine : Engine
        Its language model's states are read, and kept in its store.
    about : mapping, optional
        What to write into the card beside the figures: where the pairs came from.

    Raises
    ------
    InputError
        If there are too few pairs.
    ModelError
        If the language model is not there.
    """
    files = resolve(engine.models.lm)
    layers, width = layers_of(files)
    features = read_features(examples_of(preferences), layers, width, engine)
    pairs = runnable(features, [preference.group for preference in preferences])
    if not len(pairs):
        raise InputError(f"{column}: none of {len(preferences)} pairs can be run by {files.name}")
    length = np.log1p(features.n_words)[:, None]
    fitted = fit_head(column, Design(features.states, pairs, layers, nuisance=length))
    agreement = agree(fitted.margins, features, pairs)
    card = {
        **(about or {}),
        "column": column,
        "penalty": fitted.penalty,
        "cross_validation": agreement.to_json(),
    }
    groups = frozenset(preference.group for preference in preferences)
    file = HeadFile({column: fitted.head}, files.name, files.weights, {column: card}, groups)
    return Trained(file, fitted, agreement, len(preferences) - len(pairs))


def layers_of(files: ModelFiles) -> tuple[tuple[int, ...], int]:
    """Return the layers whose states are read, and their width."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(files.folder).get_text_config()
    n = config.num_hidden_layers
    layers = sorted({max(1, round(depth * n)) for depth in DEPTHS})
    return tuple(layers), config.hidden_size


def agree(margins: np.ndarray, features: Features, pairs: Pairs) -> Agreement:
    """Compare margins with those of trivial scores on the same pairs.

    Parameters
    ----------
    margins : ndarray of float, shape (p,)
        Score of the better response less that of the worse one.
    features : Features
        Of all responses.
    pairs : Pairs
        Their places.
    """
    groups = pairs.groups.tolist()
    trivial = trivial_margins(features, pairs)
    both_ways = [sign * margin for margin in trivial.values() for sign in (1, -1)]
    baseline = max(both_ways, key=lambda margin: pair_accuracy(margin, groups, n_boot=1).value)
    words = features.n_words
    near = same_length(words[pairs.better], words[pairs.worse])
    return Agreement(
        len(pairs),
        len(set(groups)),
        pair_accuracy(margins, groups),
        pair_accuracy(trivial["longer"], groups),
        pair_accuracy(trivial["likelier"], groups),
        paired_gain(margins, baseline, groups),
        int(near.sum()),
        pair_accuracy(margins[near], pairs.groups[near].tolist()),
    )


def runnable(features: Features, groups: Sequence[str], wanted: np.ndarray | None = None) -> Pairs:
    """Return the pairs of which the model can run both responses.

    Parameters
    ----------
    features : Features
        Of the better responses of all pairs, then of the worse ones.
    groups : sequence of str
        Of every pair.
    wanted : ndarray of bool, optional
        The pairs that are asked for; by default all.
    """
    n = len(groups)
    known = np.isfinite(features.nll)
    both = known[:n] & known[n:]
    places = np.flatnonzero(both if wanted is None else both & wanted)
    return Pairs(places, places + n, np.asarray(groups)[places])


def trivial_margins(features: Features, pairs: Pairs) -> dict[str, np.ndarray]:
    """Return by how much the better response is the longer, and the likelier one per token."""
    words, nll = features.n_words.astype(np.float64), features.nll
    return {
        "longer": words[pairs.better] - words[pairs.worse],
        "likelier": nll[pairs.worse] - nll[pairs.better],
    }
