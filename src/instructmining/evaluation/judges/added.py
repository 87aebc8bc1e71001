"""Judges that other packages add, asked for by name; their faults are told by name, too."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from instructmining.errors import ExperimentError, InstructMiningError, first_line
from instructmining.evaluation.judges.base import Judge, Judgement, Question, unfit
from instructmining.plugins import FAULTS, Plugin, plugin_named

GROUP = "instructmining.judges"


@dataclass(frozen=True)
class AddedJudge:
    """The judge of a plugin; what it raises, and what is no judgement, is an error that names it.

    Parameters
    ----------
    plugin : Plugin
        Whose it is.
    asked : Judge
        What it made.
    definition : dict
        What its judgements depend on, as it said when it was made.
    sees_order : bool
        Whether the order answers are shown in can matter to it.
    """

    plugin: Plugin
    asked: Judge
    definition: dict[str, str | int | float]
    sees_order: bool

    def judge(self, questions: Sequence[Question], keep: Callable[[int, Judgement], None]) -> None:
        """Have the plugin judge questions; what it kept before a fault stays kept.

        Raises
        ------
        InputError
            If it raises, keeps what is no judgement, or leaves a question out.
        """
        done: set[int] = set()
        ours: list[BaseException] = []

        def keep_checked(place: int, judgement: Judgement) -> None:
            # Not the plugin's fault, or told already: it may neither be blamed nor swallow it.
            try:
                wrong = unfit(place, judgement, len(questions))
                if not wrong and place in done:
                    wrong = f"two judgements of question {place}; wanted one of each"
                if wrong:
                    raise self.plugin.refusal(f"gives {wrong}", self._instead)
                keep(place, judgement)
            except BaseException as error:
                ours.append(error)
                raise
            done.add(place)

        try:
            with self.plugin.running(lambda: f"after {len(done)} questions", self._instead):
                self.asked.judge(questions, keep_checked)
        finally:
            if ours:
                raise ours[0]
        if len(done) < len(questions):
            left = f"{len(questions) - len(done)} of {len(questions)}"
            raise self.plugin.refusal(f"leaves {left} questions unanswered", self._instead)

    @property
    def _instead(self) -> str:
        return f"name another judge, or report this to whoever maintains {self.plugin.distribution}"


def judge_named(name: str, settings: Mapping[str, Any]) -> Judge:
    """Make the judge of a plugin.

    Parameters
    ----------
    name : str
        Of its entry point, in any case.
    settings : mapping
        Passed on as keyword arguments.

    Raises
    ------
    InputError
        If no distribution adds it, or it cannot be imported or is no judge.
    ExperimentError
        If it does not take the settings.
    """
    plugin = plugin_named(GROUP, "judge", name)
    make = plugin.value
    if not callable(make):
        raise plugin.refusal("is not a class")
    try:
        judge = make(**settings)
        definition, sees_order = judge.definition, judge.sees_order
        is_judge = callable(judge.judge) and isinstance(sees_order, bool)
    except InstructMiningError:
        raise
    except FAULTS as error:
        given = ", ".join(f"{key}={value}" for key, value in settings.items()) or "no settings"
        raise ExperimentError(
            f"judge {name!r} of {plugin.distribution} cannot be made with {given}: "
            f"{first_line(error)}; see what it takes, or mend {plugin.distribution}"
        ) from error
    if not is_judge:
        raise plugin.refusal("is no judge: wanted definition, sees_order and judge")
    if not _is_definition(definition):
        raise plugin.refusal("has no definition: wanted names with texts or numbers")
    return AddedJudge(plugin, judge, definition, sees_order)


def _is_definition(found: Any) -> bool:
    """Whether it can be part of a key: judgements of judges that say nothing would be mixed."""
    return (
        isinstance(found, dict)
        and bool(found)
        and all(isinstance(name, str) for name in found)
        and all(isinstance(v, str | int) or _is_finite(v) for v in found.values())
    )


def _is_finite(value: Any) -> bool:
    return isinstance(value, float) and math.isfinite(value)
