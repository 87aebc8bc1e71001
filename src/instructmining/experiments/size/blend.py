"""BlendSearch, as FLAML has it, asked for sizes one at a time.

References
----------
Wang, C., Wu, Q., Huang, S. and Saied, A. (2021), Economic hyperparameter optimization with
blended search strategy, ICLR: a local search that begins where trials are cheap, blended with
a global one.
"""

from __future__ import annotations

import contextlib
import io
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from instructmining.errors import ExperimentError

#: Refusals in a row after which nothing new is expected.
_PATIENCE = 50


class SizeSearch:
    """Proposes sizes on a logarithmic scale, beginning at the smallest.

    With the same seed and the same answers it proposes the same sizes, so that a search that
    was cut short is repeated from its log.

    Parameters
    ----------
    smallest, largest : int
        Bounds, both included; at least two sizes.
    seed : int
        Seed of the proposals.

    Raises
    ------
    ExperimentError
        If FLAML is not installed.
    """

    def __init__(self, smallest: int, largest: int, seed: int = 0) -> None:
        with _quiet(), _without_ray():
            try:
                from flaml.tune.sample import lograndint
                from flaml.tune.searcher.blendsearch import BlendSearch
            except ImportError as error:
                raise ExperimentError(
                    "BlendSearch needs FLAML, which is not installed; "
                    "pip install 'instructmining[search]', or search by a sweep alone (--trials 0)"
                ) from error
            self._search = BlendSearch(
                metric="loss",
                mode="min",
                space={"size": lograndint(smallest, largest + 1)},
                low_cost_partial_config={"size": smallest},
                # By default seconds, and what is proposed would hang on the machine's mood.
                cost_attr="cost",
                seed=seed,
            )
        self._n_asked = 0
        self._given: dict[int, tuple[str, dict[str, int]]] = {}
        self._answers: dict[int, dict[str, float]] = {}

    def ask(self) -> int | None:
        """Propose a size not proposed before; None when there is nothing new."""
        with _quiet():
            for _ in range(_PATIENCE):
                self._n_asked += 1
                trial = str(self._n_asked)
                config = self._search.suggest(trial)
                if config is None:
                    continue
                size = int(config["size"])
                if size not in self._given:
                    self._given[size] = trial, config
                    return size
                known = self._answers[size]
                self._search.on_trial_complete(trial, {**known, "config": config})
        return None

    def tell(self, size: int, loss: float, cost: float) -> None:
        """Answer the last proposal.

        Parameters
        ----------
        size : int
            What was proposed.
        loss : float
            Its loss; lower is better.
        cost : float
            What it cost, in whatever unit.
        """
        trial, config = self._given[size]
        self._answers[size] = {"loss": loss, "cost": cost}
        with _quiet():
            self._search.on_trial_complete(trial, {**self._answers[size], "config": config})


@contextmanager
def _without_ray() -> Iterator[None]:
    """Hide Ray: FLAML takes Ray's samplers where it finds them, and would propose other sizes."""
    held = sys.modules.get("ray")
    sys.modules["ray"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules["ray"]
        if held is not None:
            sys.modules["ray"] = held


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep to itself what FLAML and Optuna say of what they lack and skip."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
