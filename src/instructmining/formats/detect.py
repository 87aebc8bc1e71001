"""Which container a source is: told by its content where that is cheap, then by its name."""

from __future__ import annotations

import json
import os
import re
import stat
from pathlib import Path
from typing import Any

from instructmining.errors import InputError
from instructmining.formats.compression import opened
from instructmining.formats.container import UTF8_BOM, Container, suffix_of, unpacked, unreadable
from instructmining.formats.hub import PREFIX, open_hub
from instructmining.formats.json_array import WRAPPER, JsonArray
from instructmining.formats.jsonl import JsonLines
from instructmining.formats.memory import open_memory
from instructmining.formats.objects import fetched, is_address

_HEAD = 1 << 16
_FOREIGN_MARKS = {
    b"\xff\xfe\x00\x00": "UTF-32",
    b"\x00\x00\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}
_ARRAY = re.compile(rb"\s*\[\s*(?:[{\]]|$)")
_KNOWN = ".json, .jsonl, .jsonl.gz, .jsonl.zst, .parquet, .csv or a folder saved by datasets"


def open_container(source: Any, config: str | None, split: str | None) -> Container:
    """Return the container of a path, an address, a sequence of dicts or a table.

    Raises
    ------
    InputError
        If there is no such source, it cannot be read, or nothing known is in it.
    """
    if isinstance(source, str) and source.startswith(PREFIX):
        return open_hub(source, config, split)
    if config is not None:
        raise InputError(f"a configuration ({config!r}) belongs to {PREFIX} addresses only")
    if isinstance(source, str) and is_address(source):
        return _open_path(fetched(source), split)
    if isinstance(source, str | os.PathLike):
        return _open_path(Path(source), split)
    if split is not None:
        raise InputError(f"a split ({split!r}) belongs to {PREFIX} addresses and saved folders")
    return open_memory(source)


def _open_path(path: Path, split: str | None) -> Container:
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            return _open_folder(path, split)
    except OSError as error:
        raise unreadable(path, error) from error
    if split is not None:
        raise InputError(f"{path}: a file has no splits; leave --split {split} out")
    with opened(path) as stream:
        head = stream.read(_HEAD)
    if not head.strip():
        raise InputError(f"{path}: is empty; a file with at least one record was wanted")
    _check_encoding(path, head)
    return _by_content(path, head)


def _open_folder(path: Path, split: str | None) -> Container:
    from instructmining.formats.saved import SavedDataset, is_saved_dataset

    if not is_saved_dataset(path):
        raise InputError(
            f"{path}: is a folder, but none that datasets.save_to_disk wrote "
            "(no state.json in it); name a file"
        )
    return SavedDataset(path, split)


def _check_encoding(path: Path, head: bytes) -> None:
    if head.startswith(b"PAR1") or suffix_of(path) == ".parquet":
        return
    found = next((name for mark, name in _FOREIGN_MARKS.items() if head.startswith(mark)), None)
    if found is None and b"\x00" in head[:4]:
        found = "UTF-16LE" if head[1:2] == b"\x00" else "UTF-16BE"
    if found is not None:
        raise InputError(
            f"{path}: line 1 column 1: is {found}, UTF-8 was wanted; "
            f"convert it: iconv -f {found} -t UTF-8 {path.name}"
        )


def _by_content(path: Path, head: bytes) -> Container:
    suffix = unpacked(suffix_of(path))
    head = head.removeprefix(UTF8_BOM)
    if head.startswith(b"PAR1") or suffix == ".parquet":
        from instructmining.formats.parquet import Parquet

        return Parquet(path)
    if suffix in (".csv", ".tsv"):
        from instructmining.formats.csv import Csv

        return Csv(path)
    if _is_array(head, suffix):
        return JsonArray(path)
    if suffix in JsonLines.kinds or _has_object_line(head):
        return JsonLines(path)
    if suffix == ".json" and head.lstrip().startswith(b"{"):
        raise InputError(
            f"{path}: line 1 column 1: holds one JSON object over several lines; an array of "
            "records or one record per line was wanted; put the records between [ and ]"
        )
    if suffix == ".json":
        raise InputError(
            f"{path}: line 1 column 1: JSON was wanted, {head[:20]!r} came; "
            "check that this is the right file"
        )
    raise InputError(
        f"{path}: neither name nor content tells what it is; wanted {_KNOWN}; rename or convert it"
    )


def _is_array(head: bytes, suffix: str) -> bool:
    line, _, rest = head.partition(b"\n")
    several_lines = bool(rest.strip()) and _parses(line)
    if _ARRAY.match(head) or (suffix == ".json" and head.lstrip().startswith(b"[")):
        return not (several_lines and suffix in JsonLines.kinds)
    return WRAPPER.match(head.decode("latin-1")) is not None and not several_lines


def _has_object_line(head: bytes) -> bool:
    if not head.lstrip().startswith(b"{"):
        return False
    lines = head.split(b"\n")
    # A first record longer than the head still starts like one.
    return len(lines) == 1 or any(_parses(line) for line in lines if line.startswith(b"{"))


def _parses(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True
