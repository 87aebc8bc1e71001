"""Every command shown in the documentation exists, with every option it is shown with."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from instructmining.cli.main import app

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(?:bash|text|sh)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def words_of(line: str) -> list[str]:
    """The words of a line of shell without its comment; ``eval.jsonl#fit`` holds none."""
    return shlex.split(re.sub(r"(^|\s)#.*", "", line))


def commands(text: str) -> list[list[str]]:
    """The words of every command line, those split over several lines joined."""
    found = []
    for block in BLOCK.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            words = words_of(line)
            if "instructmining" in words:
                found.append(words[words.index("instructmining") + 1 :])
    return found


def check(words: list[str]) -> None:
    command: Any = typer.main.get_command(app)
    while words and words[0] in getattr(command, "commands", {}):
        command, words = command.commands[words[0]], words[1:]
    assert not getattr(command, "commands", {}) or not words, f"no command {words[:1]}"
    known = {name for parameter in command.params for name in parameter.opts} | {"--help"}
    for word in words:
        if word.startswith("-") and not re.fullmatch(r"-\d.*", word):
            assert word.split("=")[0] in known, f"{command.name} has no option {word}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_shown_exists(page):
    for words in commands(page.read_text(encoding="utf-8")):
        check(words)


def test_the_readme_can_be_read_at_one_sitting():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


def test_the_readme_shows_most_commands():
    shown = {words[0] for words in commands((ROOT / "README.md").read_text()) if words}
    wanted = {"select", "score", "explain", "experiment", "fit", "compare", "search", "judge"}
    assert wanted <= shown


def test_what_does_not_exist_would_be_found():
    for line in ("instructmining nothing", "instructmining select x --no-such-option"):
        (words,) = commands(f"```bash\n{line}\n```\n")
        with pytest.raises(AssertionError, match=r"no command|no option"):
            check(words)
