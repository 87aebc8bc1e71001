"""Responses that people, or GPT-4, judged: what heads are chosen on, and what is reported.

Every set is cut in two by instruction or context before anything is looked at: a setting
is chosen on one half, and the figures of the other are published. None of it trains a head.
"""

from __future__ import annotations

import csv
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from instructmining.examples import Example, Turn, prompt_hash
from instructmining.heads.preferences import Preference

Half = Literal["choose", "report"]

_ALPACA_EVAL = ("alpaca-7b", "falcon-7b-instruct", "text_davinci_001", "vicuna-13b")
_REVISIONS: dict[Half, str] = {"choose": "train", "report": "valid"}
#: Pairs of the larger half of the expert revisions that are enough to choose by.
_MOST = 500
#: What PersonaChat's judges were asked, by the column it is compared with.
PERSONA = {"nat": "Natural", "coh": "Maintains Context", "und": "Understandable"}


@dataclass(frozen=True)
class Rating:
    """One response and what people gave it.

    Parameters
    ----------
    example : Example
        Turns and response.
    group : str
        The context or source; rows of one group are not independent.
    judgement : float
        Mean over the judges; higher is better.
    unieval : float or None
        UniEval's own score where the file holds one.
    marks : tuple of float
        What each judge gave, where the file says; always in the same order.
    """

    example: Example
    group: str
    judgement: float
    unieval: float | None = None
    marks: tuple[float, ...] = ()


def alpaca_eval(data: Path, half: Half) -> list[Preference]:
    """GPT-4's choices between text-davinci-003 and four other systems.

    The prompts of ``selfinstruct`` are left out: they are the evaluation prompts of the
    rule. Ties are left out.
    """
    pairs: dict[tuple[str, ...], Preference] = {}
    for system in _ALPACA_EVAL:
        path = data / "preferences" / f"alpaca_eval_gpt4__{system}.json"
        for row, record in enumerate(json.loads(path.read_text(encoding="utf-8"))):
            turns = (Turn("user", record["instruction"]),)
            if record["dataset"] == "selfinstruct" or _half(prompt_hash(turns)) != half:
                continue
            answers = [record["output_1"], record["output_2"]]
            if record["preference"] not in (1, 2) or not all(text.strip() for text in answers):
                continue
            better, worse = answers if record["preference"] == 1 else reversed(answers)
            if better != worse:
                pairs[turns[0].content, better, worse] = Preference(row, turns, better, worse)
    return list(pairs.values())


def expert_revisions(data: Path, half: Half) -> list[Preference]:
    """Alpaca's responses before and after revision by an expert, to the revised instruction."""
    path = data / "judgements" / f"APE_score_{_REVISIONS[half]}.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    pairs = []
    for number, (first, second) in enumerate(zip(rows[::2], rows[1::2], strict=False)):
        sides = {row["score"]: _split(_unescaped(row["src"])) for row in (first, second)}
        before, after = sides.get("0"), sides.get("1")
        if before and after and before[1] != after[1]:
            pairs.append((number, before, after))
    pairs.sort(key=lambda pair: prompt_hash([Turn("user", pair[2][0])]))
    return [
        Preference(number, (Turn("user", after[0]),), after[1], before[1])
        for number, before, after in pairs[:_MOST]
    ]


def personachat(data: Path, half: Half, column: str) -> list[Rating]:
    """Responses of five systems, one of them a person, to contexts of PersonaChat."""
    path = data / "unieval" / "personachat_usr.json"
    ratings: list[Rating] = []
    for place, record in enumerate(json.loads(path.read_text(encoding="utf-8"))):
        if ("choose", "report")[place % 2] != half:
            continue
        said = [line.strip() for line in record["context"].strip().split("\n")]
        # The last to speak before the response is the user.
        roles = ["user" if (len(said) - 1 - i) % 2 == 0 else "assistant" for i in range(len(said))]
        turns = tuple(Turn(role, text) for role, text in zip(roles, said, strict=True))
        for response in record["responses"]:
            marks = response[PERSONA[column]]
            example = Example(len(ratings), turns, response["response"].strip())
            mean = sum(marks) / len(marks)
            ratings.append(Rating(example, str(place), mean, marks=tuple(marks)))
    return ratings


def descriptions(data: Path, name: str) -> list[Rating]:
    """Sentences about hotels (``sfhot``) or restaurants (``sfres``): naturalness, 1 to 6."""
    path = data / "unieval" / f"{name}_result.json"
    return [
        Rating(
            Example(row, (Turn("user", record["source"]),), record["system_output"]),
            record["source"],
            record["scores"]["naturalness"],
            record["predict_scores"]["naturalness"],
        )
        for row, record in enumerate(json.loads(path.read_text(encoding="utf-8")))
        if record["system_output"].strip()
    ]


def _half(digest: str) -> Half:
    return "choose" if int(digest[0], 16) < 8 else "report"


def _unescaped(text: str) -> str:
    """Undo the escapes only the rows before revision hold: they would give the side away."""
    text = text.replace("\\n", "\n").replace("\\t", "\t").replace('\\"', '"')
    return re.sub(r"\\u([0-9a-fA-F]{4})", lambda found: chr(int(found[1], 16)), text).strip()


def _split(text: str) -> tuple[str, str] | None:
    found = re.match(r"Instruction:\s*(.*?)\s*Response:\s*(.*)$", text, re.DOTALL)
    return (found[1], found[2]) if found and found[2].strip() else None
