"""A JSON array, streamed: each element keeps its own text and is written back verbatim.

The bytes are decoded as Latin-1 to find where elements begin and end: JSON's
punctuation is ASCII, so one character is one byte and offsets are exact. The text of
an element is then decoded as the UTF-8 it is.
"""

from __future__ import annotations

import json
import re
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from instructmining.errors import InputError
from instructmining.files import replacing
from instructmining.formats.compression import compressing, opened
from instructmining.formats.container import RawContainer, Record, suffix_of
from instructmining.formats.jsonl import DECODER, parse_object

_CHUNK = 1 << 20
#: An error this close to the end of the window may only mean that more is to come.
_MARGIN = 16
_SPACE = re.compile(r"[ \t\n\r]*")
_SCALAR = r'"[^"\\]*"\s*:\s*(?:"[^"\\]*"|[^\s"{}\[\],]+)\s*,\s*'
_KEYS = "data|examples|items|records|rows|samples|train"
#: The head of an object that wraps one list of records, up to its bracket.
WRAPPER = re.compile(rf'\s*\{{\s*(?:{_SCALAR})*"(?:{_KEYS})"\s*:\s*\[(?=\s*[{{\]])')


class _Window:
    """The part of the stream being looked at, refilled from the right."""

    def __init__(self, stream: BinaryIO, label: str) -> None:
        self._stream = stream
        self._label = label
        self._line, self._line_start = 1, 0  # of the window's first character
        self._size = _CHUNK
        self.start = 0  # offset of the window in the stream
        self.text = ""
        self.at = 0
        self.ended = False

    def refill(self) -> None:
        """Forget what was read, and read on; twice as much if nothing could be forgotten."""
        self._size = _CHUNK if self.at else 2 * self._size
        breaks = self.text.count("\n", 0, self.at)
        if breaks:
            self._line += breaks
            self._line_start = self.start + self.text.rindex("\n", 0, self.at) + 1
        self.start += self.at
        chunk = self._stream.read(self._size)
        self.ended = not chunk
        self.text = self.text[self.at :] + chunk.decode("latin-1")
        self.at = 0

    def peek(self) -> str:
        """Skip white space; return the next character, ``""`` at the end."""
        while True:
            match = _SPACE.match(self.text, self.at)
            self.at = match.end() if match else self.at
            if self.at < len(self.text):
                return self.text[self.at]
            if self.ended:
                return ""
            self.refill()

    def element(self) -> str:
        """Return the text of the JSON value that begins here, and step over it."""
        while True:
            try:
                _, end = DECODER.raw_decode(self.text, self.at)
            except json.JSONDecodeError as error:
                final = self.ended or not self._may_be_cut(error)
                if final:
                    raise self.error(error.msg, min(error.pos, len(self.text))) from error
            except RecursionError as error:
                raise self.error("a record is nested too deeply", self.at) from error
            else:
                if end < len(self.text) or self.ended:
                    found = self.text[self.at : end]
                    self.at = end
                    return found
            self.refill()

    def _may_be_cut(self, error: json.JSONDecodeError) -> bool:
        unterminated = error.msg.startswith("Unterminated string")
        return unterminated or error.pos >= len(self.text) - _MARGIN

    def error(self, message: str, position: int) -> InputError:
        """Name file, line and column (in bytes) of a place in the window."""
        cut = self.ended and not self.text[position:].strip()
        line = self._line + self.text.count("\n", 0, position)
        last = self.text.rfind("\n", 0, position)
        start = self.start + last + 1 if last >= 0 else self._line_start
        column = self.start + position - start + 1
        if message.startswith("Unterminated string"):
            message = "a string opens here and never ends"
        what = "the JSON array breaks off here" if cut else message
        return InputError(
            f"{self._label}: line {line} column {column}: {what}; a JSON array of records, "
            "complete up to its ']', was wanted; mend the file or fetch it again"
        )


class JsonArray(RawContainer):
    """A ``.json`` file that holds an array, bare or as the one list of an object."""

    kinds = (".json",)

    def slices(self, stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
        """Yield the offset and the text of each element, from brace to brace."""
        window = _Window(stream, self.label)
        wrapped = self._enter(window)
        if window.peek() == "]":
            window.at += 1
        else:
            while True:
                window.peek()
                text = window.element()
                yield window.start + window.at - len(text), text.encode("latin-1")
                mark = window.peek()
                if mark not in (",", "]"):
                    raise window.error("',' or ']' was wanted", window.at)
                window.at += 1
                if mark == "]":
                    break
        if not wrapped and window.peek():
            raise window.error("something follows the end of the array", window.at)

    def _enter(self, window: _Window) -> bool:
        window.refill()
        if window.text.startswith("\xef\xbb\xbf"):
            window.at = 3
        if window.peek() == "[":
            window.at += 1
            return False
        match = WRAPPER.match(window.text, window.at)
        if match is None:
            raise window.error("'[' was wanted", window.at)
        window.at = match.end()
        return True

    def parse(self, raw: bytes) -> Record:
        """Read one element."""
        return parse_object(raw)

    def write(self, rows: Sequence[int], out: Path) -> None:
        """Write the elements at `rows` verbatim, in the brackets and spacing of the source."""
        spans = self.spans()
        opening, separator, ending = self._layout(spans)
        suffix = suffix_of(out) or self.default
        with replacing(out) as temporary, compressing(temporary, suffix) as sink:
            sink.write(opening)
            for place, raw in enumerate(self.raws(rows, spans)):
                if place:
                    sink.write(separator)
                sink.write(raw)
            sink.write(ending)

    def _layout(self, spans: array[int]) -> tuple[bytes, bytes, bytes]:
        if self.compression or not spans:
            return b"[\n", b",\n", b"\n]\n"
        with opened(self.path) as stream:
            opening = stream.read(spans[0])
            separator = b",\n"
            if len(spans) > 2:
                stream.seek(spans[1])
                separator = stream.read(spans[2] - spans[1])
            stream.seek(spans[-1])
            return opening, separator, stream.read()
