"""Answers of tuned models, written while each of them is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from instructmining.errors import ExperimentError
from instructmining.evaluation.answers import Answer, AnswerLog, Writing, write_answers
from instructmining.examples import Example
from instructmining.experiments.plan import content_hash
from instructmining.formats import open_prompts
from instructmining.models.chat import ChatTokenizer


@dataclass(frozen=True)
class Prompts:
    """A file of prompts.

    Parameters
    ----------
    path : str
        Where it was read.
    examples : tuple of Example
        Its rows that ask something; what stands as their response is not looked at.
    """

    path: str
    examples: tuple[Example, ...]

    @classmethod
    def read(cls, path: str) -> Prompts:
        """Read a file of prompts, in any form a pool may have, or without responses.

        Raises
        ------
        ExperimentError
            If no row asks anything.
        InputError
            If it cannot be read.
        """
        asked = tuple(row for row in open_prompts(path).examples() if row.prompt.strip())
        if not asked:
            raise ExperimentError(f"{path}: no row asks anything; give a file of prompts")
        return cls(path, asked)

    @property
    def content(self) -> str:
        """SHA-256 over the content hashes of what is asked, in order."""
        return content_hash(Example(0, row.turns, "").digest for row in self.examples)


@dataclass(frozen=True)
class Answering:
    """Lets every tuned model answer the same prompts.

    Parameters
    ----------
    log : AnswerLog
        Where answers are kept.
    prompts : Prompts
        What is asked.
    chat : ChatTokenizer
        The base model's.
    how : Writing
        Length and draws.
    """

    log: AnswerLog
    prompts: Prompts
    chat: ChatTokenizer
    how: Writing

    def check(self) -> None:
        """Refuse to go on with a file that holds other prompts or other settings.

        Raises
        ------
        ExperimentError
            If it does.
        """
        self.read(self.log)

    def read(self, log: AnswerLog) -> list[dict[str, Any]]:
        """Return the lines of a file of answers to these prompts, written in this way.

        Raises
        ------
        ExperimentError
            If it holds other prompts or other settings.
        """
        records, same = log.records(), (self.prompts.content, asdict(self.how))
        if any((one["prompts"]["content"], one["writing"]) != same for one in records):
            raise ExperimentError(
                f"{log.path}: holds answers to other prompts, or written otherwise; give "
                "the options it was begun with, or choose another folder"
            )
        return records

    def __call__(self, run: str, mixture: str, seed: int, model: Any) -> None:
        """Write the answers of a run, unless they are there: it was cut short before its line."""
        if run in self.log.finished():
            return
        written = write_answers(model, self.chat, self.prompts.examples, self.how)
        self.log.append(
            {
                "run": run,
                "mixture": mixture,
                "seed": seed,
                "prompts": {"path": self.prompts.path, "content": self.prompts.content},
                "writing": asdict(self.how),
                "answers": [[one.text, one.n_tokens, one.ended] for one in written],
            }
        )


def read_answers(log: Path) -> tuple[Prompts, Writing, dict[tuple[str, int], Sequence[Answer]]]:
    """Read the answers of a comparison.

    Parameters
    ----------
    log : path
        The file of answers.

    Returns
    -------
    Prompts, Writing, mapping of (mixture, seed) to sequence of Answer
        In the order of the prompts.

    Raises
    ------
    ExperimentError
        If there are none, or the file of prompts is no longer what was answered.
    """
    records = AnswerLog(log).records()
    if not records:
        raise ExperimentError(
            f"{log}: there are no answers; compare with --answer PROMPTS writes them"
        )
    asked = records[0]["prompts"]
    prompts = Prompts.read(asked["path"])
    if prompts.content != asked["content"]:
        raise ExperimentError(
            f"{prompts.path}: changed since its prompts were answered; restore the file"
        )
    answers: dict[tuple[str, int], Sequence[Answer]] = {
        (record["mixture"], record["seed"]): [Answer(*one) for one in record["answers"]]
        for record in records
    }
    return prompts, Writing(**records[0]["writing"]), answers
