"""What a head is trained on: kinds of pairs, layers, and whether length is held against it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from instructmining.heads.fit import Design, Pairs
from instructmining.heads.states import Features
from instructmining.heads.train import runnable


@dataclass(frozen=True)
class Recipe:
    """How one head is trained.

    Parameters
    ----------
    column : str
        The column it fills.
    kinds : mapping of str to float
        Kinds of pairs (names of damages, ``"swap"``, and ``"preferences"`` for the files'),
        and how much a pair of each counts.
    layers : tuple of int
        Layers it reads.
    penalty : float
        On the squared weights. Made pairs are told apart almost without error whatever it
        is, so that not they but the judgements must say.
    free_of_length : bool
        Whether the length may explain what is preferred, and is then left out.
    """

    column: str
    kinds: Mapping[str, float]
    layers: tuple[int, ...]
    penalty: float
    free_of_length: bool = True


@dataclass(frozen=True)
class Material:
    """All pairs that may train a head, and the features of their responses.

    Parameters
    ----------
    kinds : ndarray of str, shape (p,)
        Of each pair: ``"preferences"``, or what was done.
    groups : ndarray of str, shape (p,)
        Hash of the prompt of each.
    features : Features
        Of the better responses of all pairs, then of the worse ones.
    layers : tuple of int
        Whose states the features hold.
    """

    kinds: np.ndarray
    groups: np.ndarray
    features: Features
    layers: tuple[int, ...]

    def of(self, recipe: Recipe) -> Pairs:
        """Return the pairs a recipe asks for that can be run."""
        wanted = np.isin(self.kinds, list(recipe.kinds))
        return runnable(self.features, self.groups.tolist(), wanted)


def design(recipe: Recipe, material: Material) -> Design:
    """Gather what a recipe asks for."""
    pairs = material.of(recipe)
    return Design(
        chosen_layers(material.features.states, material.layers, recipe.layers),
        pairs,
        recipe.layers,
        nuisance=np.log1p(material.features.n_words)[:, None] if recipe.free_of_length else None,
        weights=np.asarray([recipe.kinds[kind] for kind in material.kinds[pairs.better]]),
    )


def chosen_layers(states: np.ndarray, layers: Sequence[int], wanted: Sequence[int]) -> np.ndarray:
    """Return the states of some of the layers that stand side by side."""
    width = states.shape[1] // len(layers)
    places = [layers.index(layer) for layer in wanted]
    return np.hstack([states[:, place * width : (place + 1) * width] for place in places])


def _alike(*kinds: str) -> dict[str, float]:
    return dict.fromkeys(kinds, 1.0)


_BROKEN = _alike("shuffle", "drop", "repeat", "insert", "substitute")
_SLIPS = _alike("typo", "grammar")
_FILES = _alike("preferences")
#: Made pairs are eight times as many as the files'.
_SOME = dict.fromkeys((*_BROKEN, "swap", "splice"), 0.3)

#: What is shipped: chosen by `variations` on the halves of the judgements that are not reported.
CHOSEN = (
    Recipe("rew", {**_FILES, **_SOME}, (30,), 300.0),
    Recipe("nat", {**_BROKEN, "repeat": 10.0}, (18, 24), 300.0, free_of_length=False),
    Recipe("coh", _alike("swap", "repeat"), (18, 24), 30.0),
    Recipe("und", _alike("repeat"), (18,), 30.0),
)

_KINDS: dict[str, dict[str, dict[str, float]]] = {
    "rew": {
        "preferences": _FILES,
        "preferences, slips x 0.3": {**_FILES, **dict.fromkeys(_SLIPS, 0.3)},
        "preferences, broken x 0.3": {**_FILES, **dict.fromkeys(_BROKEN, 0.3)},
        "preferences, broken, swap, splice x 0.3": {**_FILES, **_SOME},
        "preferences, all made x 0.3": {**_FILES, **_SOME, **dict.fromkeys(_SLIPS, 0.3)},
        "all made": {**_BROKEN, **_SLIPS, "swap": 1.0, "splice": 1.0},
    },
    "nat": {
        "broken": _BROKEN,
        "slips": _SLIPS,
        "broken, slips": {**_BROKEN, **_SLIPS},
        "repeat": _alike("repeat"),
        "broken, repeat x 3": {**_BROKEN, "repeat": 3.0},
        "broken, repeat x 10": {**_BROKEN, "repeat": 10.0},
    },
    "coh": {
        "swap": _alike("swap"),
        "splice": _alike("splice"),
        "swap, splice": _alike("swap", "splice"),
        "swap, repeat": _alike("swap", "repeat"),
        "swap, broken": {**_BROKEN, "swap": 1.0},
        "swap, splice, repeat": _alike("swap", "splice", "repeat"),
    },
    "und": {
        "broken": _BROKEN,
        "repeat": _alike("repeat"),
        "broken, repeat x 10": {**_BROKEN, "repeat": 10.0},
    },
}
_LAYERS = ((6, 12, 18, 24, 30), (12, 18, 24), (18, 24), (18,), (24, 30), (30,))
_PENALTIES = {
    "rew": (300.0, 3_000.0),
    "nat": (30.0, 300.0),
    "coh": (30.0, 300.0),
    "und": (30.0, 300.0),
}


def variations() -> Iterator[tuple[str, Recipe]]:
    """Yield the recipes that are compared, with a name of each."""
    for column, choices in _KINDS.items():
        for name, kinds in choices.items():
            for layers in _LAYERS:
                for penalty in _PENALTIES[column]:
                    label = f"{name}; {'+'.join(map(str, layers))}; {penalty:g}"
                    yield label, Recipe(column, kinds, layers, penalty)
    for recipe in CHOSEN:
        without = not recipe.free_of_length
        yield (
            f"as chosen, {'without' if without else 'with'} length",
            replace(recipe, free_of_length=without),
        )
