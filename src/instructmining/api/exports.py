"""Hand rows over to the tools that train on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from instructmining.api.manifests import manifest_beside, read_manifest
from instructmining.api.scores import open_source
from instructmining.api.selections import decisions_beside
from instructmining.errors import InputError

if TYPE_CHECKING:
    from instructmining.formats import Pool
    from instructmining.report.summary import SelectSummary


@dataclass(frozen=True)
class Exported:
    """What `export` wrote.

    Parameters
    ----------
    files : tuple of Path
        The rows first, then what else the tool reads.
    left_out : tuple of int
        Rows without a response or a prompt, which nothing can be trained on.
    target : str
        The form they are in.
    """

    files: tuple[Path, ...]
    left_out: tuple[int, ...]
    target: str
    _pool: Pool = field(repr=False)

    def push_to_hub(
        self, repo: str, *, private: bool = False, command: Sequence[str] | None = None
    ) -> str:
        """Push the rows to a data set on the Hugging Face hub; return its address.

        Its card says how they were chosen, by the decisions and the manifest that `select` wrote
        beside them. A card that is there keeps its metadata, licence included, and all its owner
        wrote; of a new one the owner has to choose the licence.

        Parameters
        ----------
        repo : str
            ``OWNER/NAME``; made where it is not there.
        private : bool
            Make it private; one that is public already is refused.
        command : sequence of str, optional
            The command line that exported, to be shown.

        Raises
        ------
        InputError
            If the hub refuses, or the decisions are not those of these rows.
        StoreError
            If the decisions cannot be read.
        """
        from instructmining.formats.push import Card, check_repository, push
        from instructmining.report.card import card_body, card_head

        check_repository(repo)
        digests = sorted(example.digest for example in self._pool.examples())
        n_rows = len(digests) - len(self.left_out)
        commands = [one for one in (_command(self._pool), command) if one]
        card = Card(
            card_head(repo.rsplit("/", 1)[-1], self.files[0].name),
            card_body(
                self._pool.name, n_rows, self.target, _summary(self._pool, digests), commands
            ),
        )
        # What a tool reads beside the rows names paths of this machine, so it stays here.
        return push(self.files[:1], card, repo, private=private)


def export(source: Any, target: str, output: Path | str) -> Exported:
    """Write rows in the form a training tool reads.

    Parameters
    ----------
    source : path, list of dict, datasets.Dataset, DataFrame, Table, or Pool
        The rows, a selection say.
    target : str
        ``"messages"``, ``"trl"``, ``"llama-factory"`` or ``"axolotl"``; see `formats.exports`.
    output : path
        Where the rows go; what else the tool reads goes beside it.

    Raises
    ------
    InputError
        If the target is unknown, no row can be trained on, or a file cannot be read or written.
    """
    from instructmining.formats.exports import TARGETS, usable

    if target not in TARGETS:
        raise InputError(f"target {target!r} is not known; there are {', '.join(TARGETS)}")
    pool, path = open_source(source), Path(output)
    if pool.path is not None and path.resolve() == Path(pool.path).resolve():
        raise InputError(f"{path}: is the pool itself, which stays as it is; name another file")
    left_out: list[int] = []
    if next(usable(pool.examples(), []), None) is None:
        raise InputError(f"{pool.name}: no row has a prompt and a response; nothing to export")
    files = TARGETS[target].write(usable(pool.examples(), left_out), path)
    return Exported(tuple(files), tuple(left_out), target, pool)


def _summary(pool: Pool, digests: list[str]) -> SelectSummary | None:
    """Read what the decisions beside a pool say; None where there are none."""
    from instructmining.report.summary import summarise_decisions
    from instructmining.selection.select import load_decisions

    path = None if pool.path is None else decisions_beside(pool.path)
    if path is None or not path.exists():
        return None
    decisions, metadata = load_decisions(path)
    if decisions.filter("kept")["example"].sort().to_list() != digests:
        raise InputError(
            f"{path}: does not keep the rows that stand in {pool.path}, so it cannot say how they "
            "were chosen; select them again, or move it elsewhere"
        )
    return summarise_decisions(decisions, metadata)


def _command(pool: Pool) -> list[str] | None:
    """Read which command wrote a pool, where an intact manifest beside it says so."""
    if pool.path is None:
        return None
    try:
        document = read_manifest(manifest_beside(pool.path))
    except InputError:
        return None
    command: list[str] | None = document.get("command")
    return command
