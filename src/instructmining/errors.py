"""Every exception the package raises on purpose.

::

    InstructMiningError          exit code 2 on the command line, one line, no traceback
    ├── InputError               a file, record or option the user gave cannot be used
    ├── ModelError               a model cannot be found, fetched, verified or loaded
    ├── StoreError               the score store or a score table is damaged or foreign
    ├── RuleError                a rule cannot be read, fitted or applied
    │   └── DefinitionMismatch   the rule and the scores speak of different columns
    └── ExperimentError          a mixture, plan or fine-tuning run cannot go on

A message says what came, what was wanted and what to do, in one line.
"""

from __future__ import annotations


class InstructMiningError(Exception):
    """Base of all errors a user can cause and mend."""


class InputError(InstructMiningError):
    """A file, record or option the user gave cannot be used."""


class ModelError(InstructMiningError):
    """A model cannot be found, fetched, verified or loaded."""


class StoreError(InstructMiningError):
    """The score store or a score table is damaged or foreign."""


class RuleError(InstructMiningError):
    """A rule cannot be read, fitted or applied."""


class DefinitionMismatch(RuleError):
    """The rule was fitted on columns defined otherwise than the scores at hand."""


class ExperimentError(InstructMiningError):
    """A mixture, plan or fine-tuning run cannot go on."""


def first_line(error: Exception) -> str:
    """Return the first line of a library's message; its type where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
