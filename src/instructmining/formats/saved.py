"""Folders written by `datasets.Dataset.save_to_disk`, read without `datasets`.

A folder is not a file: selected rows are written as Parquet with the data's own schema
if the output ends in ``.parquet``, and as JSON Lines otherwise.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from instructmining.errors import InputError
from instructmining.formats.arrow import ArrowContainer


class SavedDataset(ArrowContainer):
    """One saved data set, or one split of a saved dictionary of splits.

    Parameters
    ----------
    path : Path
        The folder that holds ``state.json`` or ``dataset_dict.json``.
    split : str or None
        Which split of a dictionary; ``"train"`` if none is named.

    Raises
    ------
    InputError
        If the folder is no saved data set, or has no such split.
    """

    def __init__(self, path: Path, split: str | None = None) -> None:
        self.name = path.name
        self.label = str(path)
        self._folder = _split_folder(path, split)
        state = _load_json(self._folder / "state.json", path)
        self._files = [self._folder / entry["filename"] for entry in state["_data_files"]]
        if not self._files:
            raise InputError(f"{path}: the saved data set lists no data files; save it again")
        with self._stream(self._files[0]) as reader:
            self._schema = reader.schema

    @property
    def schema(self) -> pa.Schema:
        """Schema of the data, metadata included."""
        return self._schema

    def tables(self) -> Iterator[pa.Table]:
        """Stream the record batches of all data files."""
        for file in self._files:
            with self._stream(file) as reader:
                for batch in reader:
                    yield pa.Table.from_batches([batch])

    @contextmanager
    def _stream(self, file: Path) -> Iterator[pa.RecordBatchStreamReader]:
        try:
            with pa.memory_map(str(file)) as source, pa.ipc.open_stream(source) as reader:
                yield reader
        except (pa.ArrowException, OSError) as error:
            raise InputError(
                f"{file}: cannot be read as Arrow data ({error}); save the data set again"
            ) from error


def is_saved_dataset(path: Path) -> bool:
    """Whether a folder was written by `save_to_disk`."""
    return (path / "state.json").is_file() or (path / "dataset_dict.json").is_file()


def _split_folder(path: Path, split: str | None) -> Path:
    if (path / "state.json").is_file():
        if split is not None:
            raise InputError(f"{path}: holds a single data set without splits; leave --split out")
        return path
    splits = _load_json(path / "dataset_dict.json", path)["splits"]
    chosen = splits[0] if split is None and len(splits) == 1 else split or "train"
    if chosen not in splits:
        raise InputError(f"{path}: has no split {chosen!r}; choose --split from {splits}")
    return path / chosen


def _load_json(file: Path, folder: Path) -> dict[str, list[Any]]:
    try:
        loaded = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{folder}: {file.name} cannot be read ({error}); save it again"
        ) from error
    return dict(loaded)
