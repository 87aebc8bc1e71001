"""Options that several commands share, and how they are read."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from instructmining.errors import InputError

if TYPE_CHECKING:
    from instructmining.api import Scoring
    from instructmining.experiments.plan import Plan
    from instructmining.formats import Pool as OpenPool
    from instructmining.models.questions import History

Pool = Annotated[
    str,
    typer.Argument(
        metavar="POOL",
        help="File or saved dataset of instruction data, hf://datasets/OWNER/NAME[@REVISION], or "
        "a file in an object store, s3://BUCKET/NAME.",
    ),
]
Format = Annotated[
    str | None,
    typer.Option(help="Record format, where it is not to be detected."),
]
Columns = Annotated[
    str | None,
    typer.Option(metavar="ROLE=NAME,…", help="Columns by role: instruction=q,response=a."),
]
Config = Annotated[str | None, typer.Option(help="Configuration of a hub data set.")]
Split = Annotated[str | None, typer.Option(help="Split of a hub data set; by default train.")]
LanguageModel = Annotated[
    str | None,
    typer.Option("--lm", metavar="NAME", help="Causal LM of nll, ppl, ifd and lengths."),
]
Encoder = Annotated[
    str | None, typer.Option(metavar="NAME", help="Sentence encoder of knn_i and distances.")
]
Preset = Annotated[
    Literal["small", "paper"],
    typer.Option(help="Models, and columns where none are named: embedded, or the paper's."),
]
Reward = Annotated[
    str | None, typer.Option(metavar="NAME", help="Reward model of rew, or a file of heads.")
]
Evaluator = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="UniEval model of nat, coh and und, or a file of heads."),
]
EvaluatorHistory = Annotated[
    Literal["readme", "plain"],
    typer.Option(help="How the evaluator is shown earlier turns: as its authors do, or as is."),
]
KnnReference = Annotated[
    str | None,
    typer.Option(
        metavar="pool|FILE",
        help="What knn_i compares with; by default a sample of 5,000 rows of the pool.",
    ),
]
Report = Annotated[
    Path | None,
    typer.Option(metavar="PAGE.html", help="Write a page to open in a browser, with its data."),
]
StoreFolder = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="DIR|s3://…",
        help="Score store, also in an object store; by default in the cache folder.",
    ),
]

EngineOption = Annotated[
    Literal["local", "ray"],
    typer.Option("--engine", help="Who runs the models: this process, or a Ray cluster."),
]
Workers = Annotated[
    int | None,
    typer.Option(min=1, help="Workers of a Ray cluster; by default one per GPU, or per core."),
]


def open_source(
    pool: str,
    format: str | None,
    columns: str | None,
    config: str | None,
    split: str | None,
) -> OpenPool:
    """Open the pool a command was given."""
    from instructmining.formats import open_pool

    return open_pool(pool, format=format, columns=column_roles(columns), config=config, split=split)


def scoring(
    preset: str,
    models: tuple[str | None, str | None, str | None, str | None],
    history: History,
    knn_reference: str | None,
    store: str | None,
    labour: tuple[Literal["local", "ray"], int | None] = ("local", None),
) -> Scoring:
    """Say how a command scores.

    `models` are language model, encoder, reward, evaluator; `labour` engine and workers.
    """
    from instructmining.api import Scoring

    engine, workers = labour
    return Scoring(preset, *models, history, knn_reference, store, engine=engine, workers=workers)


def column_roles(text: str | None) -> dict[str, str] | None:
    """Read ``ROLE=NAME,ROLE=NAME``."""
    if text is None:
        return None
    pairs = [part.partition("=") for part in text.split(",")]
    if any(not (role and equals and name) for role, equals, name in pairs):
        raise InputError(f"--columns {text!r}: wanted ROLE=NAME,…, as instruction=q,response=a")
    return {role.strip(): name.strip() for role, _, name in pairs}


def names(text: str | None) -> list[str] | None:
    """Read a comma-separated list of names."""
    if text is None:
        return None
    found = [part.strip() for part in text.split(",") if part.strip()]
    if not found:
        raise InputError("--indicators: no column named; wanted for example len_out,mtld")
    return list(dict.fromkeys(found))


def record(
    outputs: Sequence[Path], inputs: Iterable[Path | str | None], facts: Mapping[str, Any]
) -> None:
    """Write the manifest of what a command wrote, with the command itself."""
    from instructmining import api

    api.write_manifest(outputs, inputs, facts, ["instructmining", *sys.argv[1:]])


def record_folder(folder: Path, name: str, plan: Plan) -> None:
    """Write the manifest of what came of a plan's runs."""
    read = [*(one.path for one in plan.sources), *(one.path for one in plan.evaluations)]
    facts = {"plan": plan.hash, "setting": plan.setting.to_json()}
    record([folder / name], [*read, folder / "plan.json", folder / "runs.jsonl"], facts)


def say(text: str) -> None:
    """Print talk to standard error; standard output is for data."""
    typer.echo(text, file=sys.stderr)
