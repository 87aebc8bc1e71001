"""The reason codes a record can get while it is read."""

from __future__ import annotations

from types import MappingProxyType

#: Codes of records that hold no response to score.
UNSCORABLE = MappingProxyType(
    {
        "malformed_record": "not JSON, not an object, or not as many fields as the header",
        "missing_response_field": "the field that holds the response is absent",
        "no_assistant_turn": "a conversation in which the assistant never speaks",
        "null_response": "the response is null",
        "non_text_response": "the response is a boolean, a list or an object",
        "empty_response": "the response is empty or white space",
    }
)

#: Codes of records that are scored all the same.
REMARKS = MappingProxyType(
    {
        "coerced_response": "the response was a number and is read as its digits",
        "coerced_prompt": "a prompt field was not text and is read as JSON",
        "empty_prompt": "no user turn with text comes before the response",
        "no_prompt": "the format holds answers without their prompts",
        "undecodable_text": "bytes or code points that are not UTF-8 are read as U+FFFD",
        "mixed_format": "the record has another shape than most of its pool",
        "non_text_part": "a message part that is not text was left out",
        "malformed_turn": "a turn before the response could not be read and was left out",
        "unknown_role": "a turn of a role nobody knows is read as the user's",
        "trailing_turns": "turns after the last assistant turn were left out",
    }
)

#: Every code given while reading, with its meaning in one line.
FLAGS = MappingProxyType({**UNSCORABLE, **REMARKS})
