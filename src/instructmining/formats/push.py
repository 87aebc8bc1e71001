"""Files pushed to a data set on the Hugging Face hub, with a card that leaves the owner's be."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from instructmining.errors import InputError, first_line

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_BEGIN = "<!-- instructmining: from here to the end mark all is written anew by every push -->"
_END = "<!-- instructmining: end mark -->"
_README = "README.md"
_REPO = re.compile(r"[\w.-]+/[\w.-]+")
_REFUSED = (401, 403)
_TYPE = "dataset"


@dataclass(frozen=True)
class Card:
    """What a data set's ``README.md`` says.

    Parameters
    ----------
    head : str
        What a new card begins with, metadata included; a card that is there keeps its own.
    body : str
        What is written anew by every push, in Markdown.
    """

    head: str
    body: str

    def onto(self, present: str | None) -> str:
        """Return the text of the card, given the one that is there."""
        block = f"{_BEGIN}\n\n{self.body.strip()}\n\n{_END}\n"
        if present is None:
            return f"{self.head.strip()}\n\n{block}"
        before, begin, rest = present.partition(_BEGIN)
        _, end, after = rest.partition(_END)
        if begin and end:
            return before + block + after.removeprefix("\n")
        return f"{present.rstrip()}\n\n{block}"


def check_repository(repo: str) -> None:
    """Refuse, before anything is sent, what names no data set of an owner."""
    if not _REPO.fullmatch(repo):
        raise InputError(f"{repo}: no name of a data set on the hub; OWNER/NAME was wanted")


def push(files: Sequence[Path], card: Card, repo: str, *, private: bool = False) -> str:
    """Commit files and card to a data set on the hub, made where it is not there.

    Who pushes is what `huggingface_hub` knows: ``HF_TOKEN``, or a login with ``hf auth login``.

    Parameters
    ----------
    files : sequence of Path
        What is pushed, under the name of the file.
    card : Card
        What its ``README.md`` says.
    repo : str
        ``OWNER/NAME``.
    private : bool
        Make the data set private; one that is public already is refused.

    Returns
    -------
    str
        Address of the data set.

    Raises
    ------
    InputError
        If the hub refuses it, does not answer, or has a public data set of that name.
    """
    check_repository(repo)
    from huggingface_hub import CommitOperationAdd, HfApi

    api = HfApi()
    try:
        address = str(
            api.create_repo(repo, repo_type=_TYPE, private=private or None, exist_ok=True)
        )
        hidden = not private or api.repo_info(repo, repo_type=_TYPE).private
        if hidden:
            text = card.onto(_present(api, repo)).encode()
            sent: list[tuple[str, Any]] = [*((file.name, file) for file in files), (_README, text)]
            added = [CommitOperationAdd(path_in_repo=n, path_or_fileobj=what) for n, what in sent]
            message = "Rows exported by instructmining"
            api.create_commit(repo, added, commit_message=message, repo_type=_TYPE)
    except Exception as error:
        # Errors of the HTTP client come through too, and versions differ in which client that is.
        raise _said(error, repo) from error
    if not hidden:
        raise InputError(
            f"{repo}: is there already and public, nothing was sent; make it private in its "
            "settings, choose another name, or leave --private out"
        )
    return address


def _present(api: HfApi, repo: str) -> str | None:
    from huggingface_hub import errors

    with tempfile.TemporaryDirectory() as folder:
        try:
            found = api.hf_hub_download(repo, _README, repo_type=_TYPE, local_dir=folder)
        except errors.LocalEntryNotFoundError:
            # The hub did not answer; whether there is a card is not known.
            raise
        except (errors.EntryNotFoundError, errors.RevisionNotFoundError):
            return None
        return Path(found).read_text(encoding="utf-8", errors="replace")


def _said(error: Exception, repo: str) -> InputError:
    """Say in one line what the hub answered, and what to do."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in _REFUSED:
        return InputError(
            f"{repo}: the hub refused the token ({status}); log in with `hf auth login`, or set "
            "HF_TOKEN to one that may write there"
        )
    came = f"the hub answered {status}" if status else "the hub cannot be reached"
    return InputError(
        f"{repo}: {came} ({first_line(error)}); the files are written here, run the same command "
        "again to push them"
    )
