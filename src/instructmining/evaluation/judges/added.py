"""Judges that other packages add, asked for by name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from instructmining.errors import ExperimentError, InstructMiningError, first_line
from instructmining.evaluation.judges.base import Judge
from instructmining.plugins import plugin_named

GROUP = "instructmining.judges"


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
    except Exception as error:
        given = ", ".join(f"{key}={value}" for key, value in settings.items()) or "no settings"
        raise ExperimentError(
            f"judge {name!r} of {plugin.distribution} cannot be made with {given}: "
            f"{first_line(error)}; see what it takes, or mend {plugin.distribution}"
        ) from error
    if not is_judge:
        raise plugin.refusal("is no judge: wanted definition, sees_order and judge")
    if not _is_definition(definition):
        raise plugin.refusal("has no definition: wanted names with texts or numbers")
    found: Judge = judge
    return found


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
