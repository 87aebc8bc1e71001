"""docs/indicators.md is what its generator gives, and the pieces it is made of keep to the code."""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from instructmining.indicators import knn
from instructmining.indicators._graph import WANTED_RECALL
from instructmining.indicators.base import Column, Indicator, Need, registered
from instructmining.indicators.mtld import LexicalDiversity
from instructmining.scoring.passes import Models
from instructmining.scoring.reference import SAMPLE_SIZE

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
MODELS = ROOT / "src" / "instructmining" / "models"
#: The module of each kind of pass.
MODULES = {
    "tokens": "tokens",
    "causal": "causal",
    "encoder": "encoder",
    "reward": "reward",
    "evaluator": "unieval",
}
#: Numbers of the pieces that are constants of the code, not results.
CONSTANTS = {
    f"{SAMPLE_SIZE:,}",
    f"{knn._EXACT_ROWS:,}",
    f"{WANTED_RECALL:.0%}".replace("%", " %"),
    f"{LexicalDiversity().threshold:.2f}",
}
FIGURE = re.compile(r"\d[\d,]*(?:\.\d+)+(?:e-\d+)?|\d+e-\d+|\d{1,3}(?:,\d{3})+|\d+ %")
CODE = re.compile(r"`[^`]+`")


def load(path):
    spec = importlib.util.spec_from_file_location("indicators_page", path)
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        # Dataclasses look their module up.
        patch.setitem(sys.modules, spec.name, module)
        spec.loader.exec_module(module)
    return module


generate = load(DOCS / "indicators" / "generate.py")
PIECES = sorted(path for path in generate.HERE.glob("*.md") if not path.name.startswith("_"))


def test_the_page_is_what_the_generator_gives():
    fresh = generate.page(registered(), generate.HERE)

    assert generate.PAGE.read_text(encoding="utf-8") == fresh, (
        f"docs/indicators.md is out of date; run `{generate.COMMAND}` and look at what changed"
    )


def test_every_indicator_has_a_piece_and_every_piece_an_indicator():
    assert [path.stem for path in PIECES] == list(registered())


@pytest.mark.parametrize("path", PIECES, ids=lambda path: path.stem)
def test_a_piece_says_what_all_do(path):
    text = path.read_text(encoding="utf-8")

    assert text.startswith("# ")
    assert re.findall(r"^\*\*(\w+)\.\*\*", text, re.MULTILINE) == list(generate.LABELS)


@pytest.mark.parametrize("path", PIECES, ids=lambda path: path.stem)
def test_figures_are_those_of_the_results(path):
    results = set(FIGURE.findall((DOCS / "results.md").read_text(encoding="utf-8")))

    figures = set(FIGURE.findall(CODE.sub("", path.read_text(encoding="utf-8"))))

    assert figures - results - CONSTANTS == set()


def test_links_lead_somewhere():
    text = generate.PAGE.read_text(encoding="utf-8")

    targets = set(re.findall(r"\]\(([^)\s]+)\)", text))

    for target in sorted(target for target in targets if not target.startswith("https://")):
        name, _, anchor = target.partition("#")
        path = DOCS / name if name else generate.PAGE
        headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
        assert not anchor or anchor in map(generate.slug, headings), target


def test_models_are_named_by_the_options_said():
    for kind, one in generate.PASSES.items():
        if one.option:
            assert Models(**{one.option: "chosen"}).name_of(kind) == "chosen"


def strings(node: ast.AST) -> set[str]:
    constants = (n.value for n in ast.walk(node) if isinstance(n, ast.Constant))
    return {value for value in constants if isinstance(value, str)}


def given_as_flags(tree: ast.Module) -> Iterator[str]:
    """Strings, named or not, that a module calls a flag."""
    named = {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    values = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", None) == "unscorable":
            values += node.args[1:]
        elif isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign) and node.value:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = {n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)}
            values += [node.value] if names & {"flag", "flags"} else []
    for value in values:
        constants = [named[n.id] for n in ast.walk(value) if getattr(n, "id", None) in named]
        for part in (value, *constants):
            yield from strings(part)


def used_by(module: str, trees: dict[str, ast.Module]) -> set[str]:
    """Names of a module and of those of its folder that it imports, and so on."""
    found, waiting = set(), [module]
    while waiting:
        name = waiting.pop()
        if name in found or name not in trees:
            continue
        found.add(name)
        waiting += [
            (node.module or "").removeprefix("instructmining.models.")
            for node in ast.walk(trees[name])
            if isinstance(node, ast.ImportFrom)
        ]
    return found


def test_flags_are_those_of_the_passes():
    trees = {path.stem: ast.parse(path.read_text(encoding="utf-8")) for path in MODELS.glob("*.py")}
    flags = {flag for tree in trees.values() for flag in given_as_flags(tree)}

    assert flags == set(generate.FLAGS)
    for kind, module in MODULES.items():
        found = set().union(*(strings(trees[name]) for name in used_by(module, trees))) & flags
        one = generate.PASSES[kind]
        assert {*one.refusals, *one.flags} == found, kind


@dataclass(frozen=True)
class Own(Indicator):
    """What a model of its own says.

    Columns: ``x``. Requires a reward model. Undefined where there is none. Reference: none.
    """

    name = "own"
    needs = Need("reward")
    columns = (Column("x", "X", "a|b"),)


@dataclass(frozen=True)
class Small(Own):
    """What a small one says.

    More of it.

    Columns: ``x``. Requires the run that is there. Undefined: never. Reference: none. At all.

    Parameters
    ----------
    depth : int
        How deep
        it goes.
    """

    name = "small"
    needs = Need("causal")
    stands_in = True
    depth: int = 3


@pytest.fixture
def pieces(tmp_path):
    (tmp_path / "_introduction.md").write_text("# All\n")
    (tmp_path / "own.md").write_text("# The model\n\n**Paper.** See [it](../results.md#x).\n")
    (tmp_path / "small.md").write_text("# Small, one\n\nA remark.\n\n**Paper.** None.\n")
    return tmp_path


def test_of_two_indicators_of_a_column_it_is_said_which_goes_when(pieces):
    text = generate.page({"small": Small, "own": Own}, pieces)

    _, of_own, of_small, *_ = text.split("\n## ")
    assert "| also filled by | `x`: [Small, one](#small-one), where no reward model" in of_own
    assert "| also filled by | `x`: [The model](#the-model), where a reward model" in of_small
    assert "**Paper.** See [it](results.md#x)." in of_own
    assert r"| `x` | X | a\|b | – |" in of_own
    assert "More of it.\n\nA remark.\n\n| column" in of_small
    assert "| parameters | `depth = 3`: How deep it goes |" in of_small
    assert "| reference | none. At all |" in of_small


def test_an_indicator_without_a_piece_is_an_error(pieces):
    (pieces / "small.md").unlink()

    with pytest.raises(FileNotFoundError, match=r"'small' has no .*small\.md; write a title"):
        generate.page({"small": Small, "own": Own}, pieces)


def test_a_docstring_of_another_pattern_is_an_error(pieces):
    class Odd(Own):
        """Only this."""

    with pytest.raises(ValueError, match=r"Odd: its docstring ends in 'Only this\.'"):
        generate.page({"own": Odd}, pieces)
