"""From what an indicator needs to the pass that gives it, and which model that runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from instructmining.errors import InputError
from instructmining.indicators.base import Indicator, Need, indicator_for
from instructmining.indicators.heads import SmallHead
from instructmining.models.heads import SUFFIX
from instructmining.models.sources import DEFAULT_ENCODER, DEFAULT_LM, resolve

if TYPE_CHECKING:
    from instructmining.models.questions import History

#: Cheap passes first: a mistake in a pool shows before the expensive one has begun.
_COST_ORDER = ["", "tokens", "encoder", "evaluator", "reward", "causal"]
# The columns a model is named for.
_COLUMNS = {"reward": ("rew",), "evaluator": ("nat", "coh", "und")}


@dataclass
class Models:
    """The models of one scoring run, by name; each is resolved and loaded at most once.

    Parameters
    ----------
    lm : str
        Causal language model of ``nll``, ``ppl`` and ``ifd``, and tokenizer of lengths.
    encoder : str
        Sentence encoder of ``knn_i``.
    reward : str, optional
        Reward model of ``rew``, or a file of heads on `lm`.
    evaluator : str, optional
        UniEval model of ``nat``, ``coh`` and ``und``, or a file of heads on `lm`.
    history : str
        How the evaluator is shown the turns before the response; see
        `models.unieval.UniEvalPass`.
    """

    lm: str = DEFAULT_LM
    encoder: str = DEFAULT_ENCODER
    reward: str | None = None
    evaluator: str | None = None
    history: History = "readme"
    _built: dict[Need, Any] = field(default_factory=dict, init=False, repr=False)

    def indicators(self, columns: Sequence[str]) -> list[Indicator]:
        """Return the indicators that fill `columns` with these models.

        Raises
        ------
        InputError
            If no indicator fills a column, or only one that reads a model not named does.
        """
        named = {"reward": self.reward, "evaluator": self.evaluator}
        without = [kind for kind, name in named.items() if name is None]
        heads = {
            column: SmallHead(column, name)
            for kind, name in named.items()
            if name is not None and _is_head_file(name)
            for column in _COLUMNS[kind]
        }
        found = [heads.get(column) or indicator_for(column, without) for column in columns]
        for indicator in found:
            if indicator.needs:  # a model not named is said before one that is not there
                self.name_of(indicator.needs.kind)
        return list(dict.fromkeys(found))

    def build(self, needs: Iterable[Need]) -> Any:
        """Return one pass that serves all `needs`, which are of one kind.

        Raises
        ------
        InputError
            If no model of that kind was named and none comes with the package.
        ModelError
            If the model is not there.
        """
        wanted = list(needs)
        merged = Need(wanted[0].kind, frozenset().union(*(need.options for need in wanted)))
        if merged not in self._built:
            self._built[merged] = self._make(merged)
        return self._built[merged]

    def name_of(self, kind: str) -> str:
        """Return the name of the model that passes of `kind` run.

        Raises
        ------
        InputError
            If none was named and none comes with the package.
        """
        names = {"tokens": self.lm, "causal": self.lm, "encoder": self.encoder}
        name = {**names, "reward": self.reward, "evaluator": self.evaluator}[kind]
        if name is None:
            raise InputError(
                f"{', '.join(_COLUMNS[kind])}: read a model that has to be named, and none was; "
                f"give one (--{kind} NAME) or take the paper's (--preset paper)"
            )
        return name

    def _make(self, need: Need) -> Any:
        files = resolve(self.name_of(need.kind))
        # torch and transformers are loaded here and not before.
        if need.kind == "tokens":
            from instructmining.models.tokens import TokenPass

            return TokenPass(files)
        if need.kind == "causal":
            from instructmining.models.causal import CausalPass

            named = [option.partition("states:")[2] for option in need.options]
            layers = [int(layer) for layer in named if layer]
            return CausalPass(files, alone="alone" in need.options, layers=layers)
        if need.kind == "encoder":
            from instructmining.models.encoder import EncoderPass

            return EncoderPass(files)
        if need.kind == "reward":
            from instructmining.models.reward import RewardPass

            return RewardPass(files)
        from instructmining.models.unieval import UniEvalPass

        return UniEvalPass(files, history=self.history)


def _is_head_file(name: str) -> bool:
    return name.endswith(SUFFIX)


def by_pass(indicators: Iterable[Indicator]) -> dict[str, list[Indicator]]:
    """Group indicators by the kind of pass they read, "" for none, the cheapest kind first."""
    groups: dict[str, list[Indicator]] = {}
    for indicator in indicators:
        groups.setdefault(indicator.needs.kind if indicator.needs else "", []).append(indicator)
    return {kind: groups[kind] for kind in sorted(groups, key=_COST_ORDER.index)}
