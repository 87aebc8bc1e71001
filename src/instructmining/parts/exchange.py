"""What tasks send each other: a file for each sender, and in it a batch for each receiver."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from instructmining.folders import Folder

Columns = Mapping[str, np.ndarray]


class Exchange:
    """One exchange, from as many senders as there are to as many receivers.

    The files are as many as the senders, whatever the number of receivers, and a receiver
    reads its own batches of them and nothing else.

    Parameters
    ----------
    folder : Folder
        Where the files go; all tasks reach it.
    name : str
        Of the exchange, in that folder.
    """

    def __init__(self, folder: Folder, name: str) -> None:
        self._folder = folder
        self._name = name

    def send(self, sender: int, columns: Columns, to: np.ndarray, n_receivers: int) -> None:
        """Send rows to receivers.

        Parameters
        ----------
        sender : int
            Number of the sender, from 0.
        columns : mapping of str to ndarray, shape (n,)
            The rows.
        to : ndarray of int, shape (n,)
            Receiver of each row; each gets its rows in this order.
        n_receivers : int
            How many there are.
        """
        order = np.argsort(to, kind="stable")
        ends = np.searchsorted(to[order], np.arange(n_receivers + 1))
        table = pa.record_batch({name: values[order] for name, values in columns.items()})
        content = io.BytesIO()
        with pa.ipc.new_file(content, table.schema) as writer:
            for begin, end in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True):
                writer.write_batch(table.slice(begin, end - begin))
        self._folder.write(self._file(sender), content.getvalue())

    def receive(self, receiver: int, n_senders: int) -> dict[str, np.ndarray]:
        """Return the rows sent to a receiver, sender by sender, with a column ``sender``."""
        batches = [self._batch(sender, receiver) for sender in range(n_senders)]
        sizes = [batch.num_rows for batch in batches]
        return {**_columns(batches), "sender": np.repeat(np.arange(n_senders), sizes)}

    def keep(self, owner: int, columns: Columns) -> None:
        """Send rows to nobody but a later task of the same number."""
        n = len(next(iter(columns.values())))
        self.send(owner, columns, np.zeros(n, dtype=np.int64), 1)

    def kept(self, owner: int) -> dict[str, np.ndarray]:
        """Return what `keep` put by."""
        return _columns([self._batch(owner, 0)])

    def _batch(self, sender: int, receiver: int) -> Any:
        return self._folder.read_with(
            self._file(sender), lambda file: pa.ipc.open_file(file).get_batch(receiver)
        )

    def _file(self, sender: int) -> str:
        return f"{self._name}-{sender:06d}.arrow"


def _columns(batches: Sequence[Any]) -> dict[str, np.ndarray]:
    table = pa.Table.from_batches(batches)
    return {name: table[name].to_numpy() for name in table.column_names}
