"""Rows as the tools that train on them want to read them.

=============  ================================================================================
target         files
=============  ================================================================================
messages       JSON Lines, one ``messages`` list a row: roles and contents, the response last
trl            JSON Lines, ``prompt`` and ``completion`` lists of messages, so that TRL's
               ``SFTTrainer`` computes the loss on the completion alone, as is done here
llama-factory  a JSON file of ``messages`` and, beside it, ``dataset_info.json``, in which the
               data set has an entry; entries of others stay
axolotl        JSON Lines of ``messages`` and, beside it, a YAML file to paste into a config
=============  ================================================================================

Only the last assistant turn is the response that was scored. Earlier ones are part of the prompt
in ``trl``; in the other targets it is the tool's setting whether they are trained on.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

from instructmining.errors import InputError
from instructmining.examples import Example
from instructmining.files import replacing


class Target(ABC):
    """A tool, and the files it reads.

    Attributes
    ----------
    name : str
        What users call it.
    """

    name: ClassVar[str]

    @abstractmethod
    def write(self, examples: Iterable[Example], path: Path) -> list[Path]:
        """Write the rows to `path` and whatever else the tool needs beside it; return all paths."""


class Messages(Target):
    """Plain chat messages, which most tools read."""

    name = "messages"

    def write(self, examples: Iterable[Example], path: Path) -> list[Path]:
        """Write one list of messages a line."""
        _write_lines(path, ({"messages": messages_of(example)} for example in examples))
        return [path]


class Trl(Target):
    """TRL's conversational prompt and completion."""

    name = "trl"

    def write(self, examples: Iterable[Example], path: Path) -> list[Path]:
        """Write what comes before the response, and the response, of a row a line."""
        _write_lines(path, (_split(messages_of(example)) for example in examples))
        return [path]


class LlamaFactory(Target):
    """LLaMA-Factory's data set with its entry in ``dataset_info.json``."""

    name = "llama-factory"

    def write(self, examples: Iterable[Example], path: Path) -> list[Path]:
        """Write one JSON list, and the entry that names it.

        Raises
        ------
        InputError
            If a ``dataset_info.json`` stands there that is none.
        """
        info = path.with_name("dataset_info.json")
        entries = self._entries(info)
        entries[path.stem] = {
            "file_name": path.name,
            "formatting": "sharegpt",
            "columns": {"messages": "messages"},
            "tags": {
                "role_tag": "role",
                "content_tag": "content",
                "user_tag": "user",
                "assistant_tag": "assistant",
                "observation_tag": "tool",
                "system_tag": "system",
            },
        }
        with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
            # One record a line: a list too long for memory is written as it is read.
            file.write("[")
            for number, example in enumerate(examples):
                file.write(",\n" if number else "\n")
                file.write(_json({"messages": messages_of(example)}))
            file.write("\n]\n")
        with replacing(info) as temporary:
            temporary.write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8")
        return [path, info]

    def _entries(self, info: Path) -> dict[str, Any]:
        if not info.exists():
            return {}
        try:
            known = json.loads(info.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(
                f"{info}: cannot be read as a list of data sets ({error}); mend it, or export "
                "into another folder"
            ) from error
        if not isinstance(known, dict):
            raise InputError(f"{info}: holds no entries by name; export into another folder")
        return known


class Axolotl(Target):
    """Chat messages, and the lines of an axolotl config that read them."""

    name = "axolotl"

    def write(self, examples: Iterable[Example], path: Path) -> list[Path]:
        """Write one list of messages a line, and the lines of the config."""
        (written,) = Messages().write(examples, path)
        config = path.with_suffix(".axolotl.yaml")
        lines = [
            "datasets:",
            f"  - path: {json.dumps(str(path))}",
            "    ds_type: json",
            "    type: chat_template",
            "    field_messages: messages",
            "    message_property_mappings:",
            "      role: role",
            "      content: content",
            "    roles_to_train: [assistant]",
        ]
        with replacing(config) as temporary:
            temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return [written, config]


#: Target to what writes it.
TARGETS: dict[str, Target] = {
    target.name: target for target in (Messages(), Trl(), LlamaFactory(), Axolotl())
}


def messages_of(example: Example) -> list[dict[str, str]]:
    """Return the turns and the response as chat messages."""
    turns = [{"role": turn.role, "content": turn.content} for turn in example.turns]
    return [*turns, {"role": "assistant", "content": example.response}]


def _split(messages: list[dict[str, str]]) -> dict[str, list[dict[str, str]]]:
    return {"prompt": messages[:-1], "completion": messages[-1:]}


def _write_lines(path: Path, records: Iterable[Any]) -> None:
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for record in records:
            file.write(_json(record) + "\n")


def _json(record: Any) -> str:
    # Lone surrogates, legal in JSON, have no UTF-8 form; what reads the file would refuse them.
    text = json.dumps(record, ensure_ascii=False)
    return text.encode("utf-8", "replace").decode("utf-8")


def usable(examples: Iterable[Example], left_out: list[int]) -> Iterator[Example]:
    """Yield the rows that can be trained on; the numbers of the others go to `left_out`."""
    for example in examples:
        if example.scorable and example.turns:
            yield example
        else:
            left_out.append(example.row)
