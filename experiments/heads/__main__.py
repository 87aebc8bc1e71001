"""Train the heads that come with the package, and compare them with people's judgements.

Usage, from the folder of the repository::

    python -m experiments.heads train DATA [--out FILE]    train, report, write
    python -m experiments.heads choose DATA                compare recipes, on other judgements

DATA is the folder with ``preferences``, ``instructions``, ``unieval`` and ``judgements``.
Both go on where they were stopped: the language model's states are kept in the store.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from experiments.heads import made, sources
from experiments.heads.compare import (
    Line,
    PairSet,
    RatingSet,
    description_sets,
    documented,
    judgement_sets,
    table,
    to_json,
)
from experiments.heads.recipe import (
    CHOSEN,
    Material,
    Recipe,
    design,
    variations,
)
from experiments.runs_table import markdown

from instructmining.cli.progress import Bars
from instructmining.examples import Example
from instructmining.heads.fit import Fitted, fit_head
from instructmining.heads.preferences import examples_of
from instructmining.heads.states import Features, read_features
from instructmining.heads.train import agree, layers_of
from instructmining.models.heads import HeadFile
from instructmining.models.sources import DEFAULT_LM, cache_folder, resolve
from instructmining.scoring.engine import Engine
from instructmining.scoring.passes import Models
from instructmining.scoring.store import Store

app = typer.Typer(add_completion=False, help=__doc__, rich_markup_mode=None)
Data = Annotated[Path, typer.Argument(exists=True, file_okay=False)]
StoreFolder = Annotated[Path | None, typer.Option("--store")]

_OUT = Path("src/instructmining/models/packaged/heads.safetensors")
#: Where the table stands.
_PAGES = (Path("docs/heads.md"), Path("docs/results.md"))


class Reader:
    """Reads features of responses with the embedded language model."""

    def __init__(self, store: Path | None, bars: Bars) -> None:
        self.files = resolve(DEFAULT_LM)
        self.layers, self._width = layers_of(self.files)
        folder = store or cache_folder() / "heads"
        self._engine = Engine(Store(folder), Models(), bars)

    def __call__(self, examples: Sequence[Example]) -> Features:
        """Return the features of responses, one row each, in order."""
        return read_features(examples, self.layers, self._width, self._engine)


def material(data: Path, read: Reader) -> Material:
    """Read or make all pairs, and run the model over them."""
    chosen = sources.preferences(data)
    others = made.made_pairs(sources.good_responses(data))
    pairs = [*chosen, *(one.pair for one in others)]
    kinds = ["preferences"] * len(chosen) + [one.kind for one in others]
    groups = [pair.group for pair in chosen] + [one.group for one in others]
    features = read(examples_of(pairs))
    return Material(np.asarray(kinds), np.asarray(groups), features, read.layers)


@app.command()
def choose(
    data: Data,
    column: Annotated[list[str] | None, typer.Option(help="Only this head; repeatable.")] = None,
    store: StoreFolder = None,
) -> None:
    """Compare recipes on the halves that are not reported."""
    with Bars("responses") as bars:
        read = Reader(store, bars)
        given = material(data, read)
        wanted = column or [recipe.column for recipe in CHOSEN]
        sets = judgement_sets(data, "choose", read, read.layers, wanted)
    for own in wanted:
        typer.echo(_comparison(own, given, [one for one in sets if one.column == own]))


def _comparison(column: str, given: Material, sets: Sequence[PairSet | RatingSet]) -> str:
    """Write one row per recipe, the best on average first."""
    rows = []
    for name, recipe in variations():
        if recipe.column == column:
            head = design(recipe, given).head(column, recipe.penalty)
            found = {key: value for one in sets for key, value in one.values(head).items()}
            rows.append((float(np.mean(list(found.values()))), name, found))
    rows.sort(key=lambda row: -row[0])
    cells = [[f"`{column}`", *rows[0][2], "mean"]]
    for mean, name, found in rows:
        cells.append([name, *(f"{value:.3f}" for value in (*found.values(), mean))])
    return markdown(cells)


@app.command()
def train(
    data: Data, out: Annotated[Path, typer.Option("--out", "-o")] = _OUT, store: StoreFolder = None
) -> None:
    """Train the chosen recipes on all pairs, report on the halves kept for it, write the file."""
    with Bars("responses") as bars:
        read = Reader(store, bars)
        given = material(data, read)
        fitted = {
            recipe.column: fit_head(
                recipe.column, design(recipe, given), penalties=(recipe.penalty,)
            )
            for recipe in CHOSEN
        }
        heads = {column: one.head for column, one in fitted.items()}
        sets = judgement_sets(data, "report", read, read.layers, list(heads))
        # Chosen on, but the only ones with UniEval's own scores beside them.
        sets += description_sets(data, read, read.layers)
    lines = [line for one in sets for line in one.lines(heads[one.column])]
    cards = {recipe.column: card(recipe, fitted[recipe.column], given, lines) for recipe in CHOSEN}
    prompts = frozenset(given.groups.tolist())
    file = HeadFile(heads, read.files.name, read.files.weights, cards, prompts)
    file.save(out)
    for page in _PAGES if out == _OUT else ():
        page.write_text(documented(page.read_text(encoding="utf-8"), file), encoding="utf-8")
    typer.echo(table(lines))
    typer.echo(out)


def card(
    recipe: Recipe, fitted: Fitted, given: Material, lines: Sequence[Line]
) -> dict[str, object]:
    """Say how a head was trained and what was measured, as JSON."""
    return {
        "kinds_of_pairs": dict(recipe.kinds),
        "layers": list(recipe.layers),
        "files": [*sources.PREFERENCES, *sources.POOLS],
        "licences": "Apache-2.0 and MIT",
        "free_of_length": recipe.free_of_length,
        "penalty": fitted.penalty,
        "cross_validation": agree(fitted.margins, given.features, given.of(recipe)).to_json(),
        "judgements": [to_json(line) for line in lines if line.column == recipe.column],
    }


if __name__ == "__main__":
    app()
