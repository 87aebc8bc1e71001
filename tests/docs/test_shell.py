"""Commands of the documentation run, page by page, on small files of the names they use.

What is not run is only held against the command line (test_commands.py): `ONLY_CHECKED` says
why; blocks of text hold what asks a server (`judge`), and lines of other programs are not ours.
Pools are 60 short rows, evaluation files 12, and runs are those that are committed.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from docs.conftest import ROOT
from docs.test_commands import BLOCK, PAGES, words_of
from instructmining.cli.main import main

#: Command or page to why it is not run here.
ONLY_CHECKED = {
    "download": "fetches models",
    "experiment run": "fine-tunes for minutes",
    "head fit": "reads thousands of pairs with the language model",
    "heads.md": "reads a head that `head fit` trained, and needs minutes",
    "results.md": "measured on data that is not part of the repository",
}
#: What is added: cost is told and nothing trained, and sizes fit small pools.
ADDED = {
    "compare": ["--limit", "0", "--keep", "4"],
    "search": ["--limit", "0", "--largest", "24"],
    "experiment plan": ["--design", "4", "--replicate", "2", "--size", "12", "--per-source", "30"],
}
#: Words that stand for a file of the reader's.
STANDS_FOR = {"POOL": "pool.jsonl"}

pytestmark = [pytest.mark.models, pytest.mark.usefixtures("one_thread")]


def shown(page: Path) -> list[list[str]]:
    """The words of every command of blocks marked ``bash``."""
    text = page.read_text(encoding="utf-8")
    lines = [
        words_of(line)
        for block in BLOCK.finditer(text)
        if block[0].startswith("```bash")
        for line in block[1].replace("\\\n", " ").splitlines()
    ]
    return [words[1:] for words in lines if words[:1] == ["instructmining"]]


def name_of(words: list[str]) -> str:
    two = " ".join(words[:2])
    return two if words[0] in ("experiment", "head") else words[0]


def run_here(page: Path) -> list[list[str]]:
    if page.name in ONLY_CHECKED:
        return []
    return [words for words in shown(page) if name_of(words) not in ONLY_CHECKED]


@pytest.mark.parametrize("page", [p for p in PAGES if run_here(p)], ids=lambda page: page.name)
def test_the_commands_of_a_page_run(page, folder, monkeypatch, capsys, request):
    if any("ray" in words for words in run_here(page)):
        request.getfixturevalue("ray_cluster")
    scores = ROOT / "experiments" / "rule" / "plan.scores.parquet"
    (folder / "plan.scores.parquet").write_bytes(scores.read_bytes())
    for words in run_here(page):
        given = [STANDS_FOR.get(word, word) for word in words] + ADDED.get(name_of(words), [])
        monkeypatch.setattr(sys, "argv", ["instructmining", *given])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        assert ended.value.code in (0, None), f"{shlex.join(given)}\n{said.err}"


def test_every_reason_not_to_run_is_needed():
    names = {name_of(words) for page in PAGES for words in shown(page)}
    pages = {page.name for page in PAGES if shown(page)}

    assert {*ONLY_CHECKED} <= names | pages
