"""Files of preferences: two responses to the same turns, one preferred to the other.

As in `formats`, containers say where records stand. What their fields mean a *layout*
says: one class here for each, in `LAYOUTS`. A file has one layout, that of most of its
first records; a record in another one is left out, as is one that holds no pair.
"""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, ClassVar

from instructmining.errors import InputError
from instructmining.examples import Example, Turn, prompt_hash
from instructmining.formats.columns import Columns
from instructmining.formats.container import Container, Record, is_object
from instructmining.formats.detect import open_container
from instructmining.formats.shapes import Reading, alpaca, completion
from instructmining.formats.shapes.base import Fields, as_list, first_of, system_turn
from instructmining.formats.shapes.conversation import keyed_by, read_turns, turns_in
from instructmining.models.base import encodable

_SAMPLE = 256
#: Codes of `FLAGS` that cost a record nothing: it is read as a pool's would be.
_REMARKS = frozenset({"unknown_role"})
_AS_GIVEN = Columns({})


@dataclass(frozen=True, slots=True)
class Preference:
    """Two responses to the same turns, the first one preferred.

    Parameters
    ----------
    row : int
        Record of the file, from 0.
    turns : tuple of Turn
        Everything before the response; one user turn with text at least.
    better, worse : str
        The responses; neither is blank, and they differ by more than outer white space.
    """

    row: int
    turns: tuple[Turn, ...]
    better: str
    worse: str

    @property
    def group(self) -> str:
        """What pairs are split by: the hash of the prompt, so equal questions share it."""
        return prompt_hash(self.turns)


@dataclass(frozen=True)
class PreferenceFile:
    """What `read_preferences` finds in a file.

    Parameters
    ----------
    layout : str
        Name of the layout, such as ``"trl-standard"``.
    pairs : tuple of Preference
        In the order of the file; one at least.
    left_out : mapping of str to int
        Reason to the number of records left out for it, the most frequent first: a code
        of `instructmining.formats.FLAGS`, or ``"other_layout"`` (not the file's),
        ``"different_prompts"`` (the responses answer different turns) or
        ``"equal_responses"``. Numbers add up with those of the pairs to the file's records.
    """

    layout: str
    pairs: tuple[Preference, ...]
    left_out: Mapping[str, int]


def examples_of(pairs: Sequence[Preference]) -> list[Example]:
    """Return the better responses of all pairs, then the worse ones, as examples."""
    sides = [(pair.turns, pair.better) for pair in pairs]
    sides += [(pair.turns, pair.worse) for pair in pairs]
    return [Example(row, turns, response) for row, (turns, response) in enumerate(sides)]


class Layout(ABC):
    """Where in a record the two responses and their turns stand. Field names in lower case.

    Attributes
    ----------
    name : str
        What messages and records of a training call it.
    wanted : str
        The fields it needs, for messages.
    sides : tuple of str
        The fields of the better and of the worse response.
    """

    name: ClassVar[str]
    wanted: ClassVar[str]
    sides: ClassVar[tuple[str, str]] = ("chosen", "rejected")

    @abstractmethod
    def fits(self, fields: Fields) -> bool:
        """Whether a record has this layout, even where one of its responses is no text."""

    @abstractmethod
    def read(self, fields: Fields, side: Any) -> Reading:
        """Read the turns and one response, given what its field holds."""

    def answers(self, fields: Fields) -> tuple[Any, Any]:
        """Return what the fields of the two responses hold, null for one that is absent."""
        better, worse = self.sides
        return fields.get(better), fields.get(worse)


class OpenAI(Layout):
    """Preference fine-tuning of OpenAI."""

    name = "openai"
    wanted = "input.messages, preferred_output, non_preferred_output: lists of messages"
    sides = ("preferred_output", "non_preferred_output")

    def fits(self, fields: Fields) -> bool:
        """Whether there are an input and a list of messages for a response."""
        return isinstance(fields.get("input"), Mapping) and _any_messages(self.answers(fields))

    def read(self, fields: Fields, side: Any) -> Reading:
        """Read the messages of the input and those of the response."""
        return _continued(as_list(fields["input"].get("messages")), side)


class LlamaFactory(Layout):
    """Ranking data of LLaMA-Factory in ShareGPT's form, its keys those of any chat."""

    name = "llama-factory"
    wanted = "conversations: a list of {from, value}, chosen, rejected: one {from, value} each"

    def fits(self, fields: Fields) -> bool:
        """Whether there are turns, and a response is a single one."""
        answers = self.answers(fields)
        return bool(turns_in(fields)) and any(isinstance(side, Mapping) for side in answers)

    def read(self, fields: Fields, side: Any) -> Reading:
        """Read the conversation and the turn that ends it."""
        answer = [side] if isinstance(side, Mapping) else side
        return _continued(turns_in(fields), answer, system_turn(fields))


class Alpaca(Layout):
    """Ranking data in Alpaca's form; ``history`` and ``system`` are read as in a pool."""

    name = "alpaca"
    wanted = "instruction, chosen, rejected: texts; input if there is any"

    def fits(self, fields: Fields) -> bool:
        """Whether there are an instruction and the text of a response."""
        return "instruction" in fields and _any_text(self.answers(fields))

    def read(self, fields: Fields, side: Any) -> Reading:
        """Read the record as if it had this response only."""
        return alpaca.SHAPE.read({**fields, **dict.fromkeys(alpaca.RESPONSE, side)})


class TrlConversational(Layout):
    """TRL's conversational form with an explicit prompt."""

    name = "trl-conversational"
    wanted = "prompt, chosen, rejected: lists of messages"

    def fits(self, fields: Fields) -> bool:
        """Whether the prompt and a response are lists of messages."""
        return _any_messages([fields.get("prompt")]) and _any_messages(self.answers(fields))

    def read(self, fields: Fields, side: Any) -> Reading:
        """Read the messages of the prompt and those of the response."""
        return _continued(as_list(fields.get("prompt")), side, system_turn(fields))


class TrlImplicit(Layout):
    """TRL's form with an implicit prompt, and UltraFeedback's, which repeats it as text."""

    name = "trl-implicit-prompt"
    wanted = "chosen, rejected: lists of messages that begin alike"

    def fits(self, fields: Fields) -> bool:
        """Whether a response is a list of messages."""
        return _any_messages(self.answers(fields))

    def read(self, fields: Fields, side: Any) -> Reading:
        """Read all messages of one side."""
        return _continued([], side, system_turn(fields))


class Transcripts(Layout):
    """Whole dialogues as text, as Anthropic's HH has them; a prompt beside them is not read.

    Reference: Bai et al. 2022, arXiv 2204.05862.
    """

    name = "transcripts"
    wanted = r"chosen, rejected: texts '\n\nHuman: ...\n\nAssistant: ...'"

    _OPENING = re.compile(r"\s*Human:")
    _SPEAKER = re.compile(r"(?:\A\s*|\n\n)(Human|Assistant):")

    def fits(self, fields: Fields) -> bool:
        """Whether a response opens with a human's turn and has an assistant's."""
        return any(
            isinstance(side, str) and self._OPENING.match(side) and "\n\nAssistant:" in side
            for side in self.answers(fields)
        )

    def read(self, fields: Fields, side: Any) -> Reading:
        """Read the turns of one transcript; white space around them belongs to the form."""
        if not isinstance(side, str):
            return Reading(flags=("null_response" if side is None else "non_text_response",))
        before, *spoken = self._SPEAKER.split(side)
        if before.strip():
            return Reading(flags=("malformed_turn",))
        pairs = zip(spoken[::2], spoken[1::2], strict=True)
        return read_turns([{"role": role, "content": text.strip()} for role, text in pairs])


class TrlStandard(Layout):
    """TRL's standard form; the prompt may have another of its usual names, as in a pool."""

    name = "trl-standard"
    wanted = "prompt, chosen, rejected: texts"

    def fits(self, fields: Fields) -> bool:
        """Whether there are the text of a prompt and that of a response."""
        prompt = first_of(fields, completion.PROMPT)
        return isinstance(prompt, str) and _any_text(self.answers(fields))

    def read(self, fields: Fields, side: Any) -> Reading:
        """Read the record as if it had this response only."""
        return completion.SHAPE.read({**fields, **dict.fromkeys(completion.RESPONSE, side)})


#: In the order in which they are tried on a record.
LAYOUTS: tuple[Layout, ...] = (
    OpenAI(),
    LlamaFactory(),
    Alpaca(),
    TrlConversational(),
    TrlImplicit(),
    Transcripts(),
    TrlStandard(),
)


def read_preferences(path: str | os.PathLike[str]) -> PreferenceFile:
    """Read a file of preferences; container and layout are detected from its content.

    Parameters
    ----------
    path : str or path-like
        JSON array, JSON Lines (also ``.gz`` and ``.zst``), Parquet or CSV.

    Returns
    -------
    PreferenceFile
        Its pairs, and how many records were left out for which reason.

    Raises
    ------
    InputError
        If the file cannot be read, no record is in one of `LAYOUTS`, or none gives a pair.
    """
    container = open_container(path, None, None)
    layout = _recognised(container)
    pairs: list[Preference] = []
    left_out: Counter[str] = Counter()
    with closing(container.records()) as records:
        for row, record in enumerate(records):
            found = _pair(row, record, layout)
            if isinstance(found, Preference):
                pairs.append(found)
            else:
                left_out[found] += 1
    if not pairs:
        reasons = ", ".join(f"{reason} {count}" for reason, count in left_out.most_common())
        raise InputError(
            f"{container.label}: no record gives a pair in the layout {layout.name} "
            f"(left out: {reasons}); {_wanted()}"
        )
    return PreferenceFile(layout.name, tuple(pairs), dict(left_out.most_common()))


def _recognised(container: Container) -> Layout:
    """Return the layout of most of the first records that have one."""
    votes: Counter[Layout] = Counter()
    columns: list[str] = []
    with closing(container.records()) as records:
        for count, record in enumerate(records, start=1):
            if is_object(record.value):
                fields = _AS_GIVEN.apply(record.value)
                columns = columns or [" ".join(name.split())[:40] for name in fields]
                layout = _layout_of(fields)
                if layout is not None:
                    votes[layout] += 1
            if count >= _SAMPLE and votes:
                break
    if not votes:
        raise InputError(
            f"{container.label}: no record is a preference in a layout that is known; "
            f"columns seen: {', '.join(columns[:12]) or 'none'}; {_wanted()}"
        )
    return max(LAYOUTS, key=votes.__getitem__)


def _wanted() -> str:
    return "wanted one of: " + "; ".join(f"{layout.name} ({layout.wanted})" for layout in LAYOUTS)


def _layout_of(fields: Fields) -> Layout | None:
    return next((layout for layout in LAYOUTS if layout.fits(fields)), None)


def _pair(row: int, record: Record, layout: Layout) -> Preference | str:
    """Return the pair of a record, or the reason why it is left out."""
    if not is_object(record.value):
        return "malformed_record"
    if record.flags:  # a text with U+FFFD in it is not the one that was preferred
        return record.flags[0]
    fields = _AS_GIVEN.apply(record.value)
    if _layout_of(fields) is not layout:
        return "other_layout"
    better, worse = (_encodable(layout.read(fields, side)) for side in layout.answers(fields))
    fault = _fault(better, worse)
    return fault or Preference(row, better.turns, better.response, worse.response)


def _encodable(reading: Reading) -> Reading:
    turns = tuple(Turn(turn.role, encodable(turn.content)) for turn in reading.turns)
    return Reading(turns, encodable(reading.response), reading.flags)


def _fault(better: Reading, worse: Reading) -> str | None:
    """Return why two responses make no pair, if they do not."""
    flags = [flag for flag in (*better.flags, *worse.flags) if flag not in _REMARKS]
    if flags:
        return flags[0]
    if better.turns != worse.turns:
        return "different_prompts"
    if not any(turn.role == "user" and turn.content.strip() for turn in better.turns):
        return "empty_prompt"
    return "equal_responses" if better.response.strip() == worse.response.strip() else None


def _any_text(sides: Iterable[Any]) -> bool:
    return any(isinstance(side, str) for side in sides)


def _any_messages(sides: Iterable[Any]) -> bool:
    lists = (as_list(side) or () for side in sides)
    return any(keyed_by(items, key) for items in lists for key in ("role", "from"))


def _continued(before: list[Any] | None, side: Any, system: tuple[Turn, ...] = ()) -> Reading:
    """Read turns and the list of those that answer them; the last one is the response."""
    after = as_list(side)
    if before is None:
        return Reading(flags=("malformed_turn",))
    if not after:  # else an answer of the prompt's would be read as the response
        return Reading(flags=("missing_response_field" if side is None else "non_text_response",))
    return read_turns([*before, *after], system)
