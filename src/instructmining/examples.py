"""The one noun every room shares: an instruction-response example.

An `Example` knows its turns, its response, where it came from and its content
hash. It knows no file format and no model.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Turn:
    """One message before the response.

    Parameters
    ----------
    role : str
        ``"system"``, ``"user"``, ``"assistant"`` or ``"tool"``.
    content : str
        The text as it stood in the record.
    """

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Example:
    """One record of a pool: the turns before the response, and the response.

    Parameters
    ----------
    row : int
        Position in the pool, from 0.
    turns : tuple of Turn
        Everything before the response, in order; empty if the row is unreadable.
    response : str
        The last assistant turn; empty if there is none.
    source : str
        Name of the data the row came from (by default the file's stem).
    flags : tuple of str
        Reason codes given while reading, such as ``"no_response"``.

    Attributes
    ----------
    digest : str
        128-bit hash (hexadecimal) of roles, contents and response. Row and source do
        not enter, so the same text has the same digest wherever it stands.
    """

    row: int
    turns: tuple[Turn, ...]
    response: str
    source: str = ""
    flags: tuple[str, ...] = ()
    digest: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        content = [[turn.role, turn.content] for turn in self.turns]
        # ASCII escapes keep lone surrogates, which real files hold, hashable.
        text = json.dumps([content, self.response], ensure_ascii=True, separators=(",", ":"))
        digest = hashlib.blake2b(text.encode("ascii"), digest_size=16).hexdigest()
        object.__setattr__(self, "digest", digest)

    @property
    def prompt(self) -> str:
        """The contents of all turns before the response, joined by newlines."""
        return "\n".join(turn.content for turn in self.turns)

    @property
    def scorable(self) -> bool:
        """Whether there is a response to score."""
        return bool(self.response.strip())


def normalise(text: str) -> str:
    """Bring `text` to Unicode NFKC with every run of white space as one space, stripped."""
    return " ".join(unicodedata.normalize("NFKC", text).split())


def normalised_prompt(turns: Iterable[Turn]) -> str:
    """Normalised text of the turns before a response, system turns left out.

    Chat exports add system turns to prompts that are otherwise the same; without them the
    same question is known again in every format.
    """
    return normalise("\n".join(turn.content for turn in turns if turn.role != "system"))


def prompt_hash(turns: Iterable[Turn]) -> str:
    """128-bit hash (hexadecimal) of the normalised prompt: the same for equal questions."""
    # Lone surrogates occur in real files and have no UTF-8 form of their own.
    text = normalised_prompt(turns).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=16).hexdigest()
