"""Write docs/indicators.md: the registry of indicators, and the pieces beside this file.

Usage: python docs/indicators/generate.py

A piece is ``<indicator>.md``: a title, then what cannot be read off the code (the paper,
validity measured, cost). All else comes from the docstrings and the code.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from instructmining.api.scores import Scoring
from instructmining.errors import InputError
from instructmining.formats.flags import REMARKS, UNSCORABLE
from instructmining.indicators.base import Column, Indicator, registered
from instructmining.models.chat import MAX_TOKENS
from instructmining.models.questions import MAX_TOKENS as QUESTION_TOKENS
from instructmining.models.reward_inputs import PAIR_TOKENS
from instructmining.presets import PRESETS
from instructmining.rules.catalog import list_rules, load_rule
from instructmining.scoring.passes import Models

HERE = Path(__file__).resolve().parent
PAGE = HERE.with_suffix(".md")
COMMAND = "python docs/indicators/generate.py"
#: What every piece says, in this order.
LABELS = ("Paper", "Validity", "Cost")

_WRITTEN = f"<!-- Written by `{COMMAND}` from src/instructmining and docs/indicators/*.md -->"
_FACTS = re.compile(
    r"Columns: (?P<columns>.+?)\. Requires (?P<requires>.+?)\. "
    r"Undefined:? (?P<undefined>.+?)\. Reference: (?P<reference>.+)\."
)


@dataclass(frozen=True)
class Pass:
    """What one kind of pass reads.

    Parameters
    ----------
    title : str
        What runs.
    reads : str
        What it is shown, and what is cut.
    option : str
        Option that names its model; empty without a model.
    refusals, flags : tuple of str
        Flags, of `FLAGS`, of values that are null and of others.
    """

    title: str
    reads: str
    option: str = ""
    refusals: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()


_CUT = ("truncated_prompt", "truncated_response")
#: Passes by `Need.kind`, in the order of the page.
PASSES = {
    "tokens": Pass(
        "tokenizer", "contents of prompt and response, no template; nothing is cut", "lm"
    ),
    "causal": Pass(
        "causal language model",
        "prompt in the model's chat template, then the response; at most "
        f"{MAX_TOKENS:,} tokens, the front of the prompt cut first",
        "lm",
        ("template_refused", "empty_response"),
        _CUT,
    ),
    "": Pass("none", "the response's text"),
    "encoder": Pass(
        "sentence encoder",
        "prompt, newline, response; the end beyond the encoder's own limit is cut",
        "encoder",
        flags=("truncated_embedding",),
    ),
    "reward": Pass(
        "reward model",
        "the conversation in the form the model was trained with; at most "
        f"{MAX_TOKENS:,} tokens ({PAIR_TOKENS} of a sentence pair), or as many as the model has "
        "positions for, the front of the prompt cut first",
        "reward",
        ("template_refused", "empty_response"),
        _CUT,
    ),
    "evaluator": Pass(
        "UniEval model for dialogue",
        "three questions about the response, that of coherence with the turns before it; at "
        f"most {QUESTION_TOKENS:,} tokens each, the front of those turns cut first",
        "evaluator",
        ("empty_response", "no_prompt"),
        (*_CUT, "control_text"),
    ),
}

#: What the flags of passes mean.
FLAGS = {
    "template_refused": "the chat template refuses the turns or drops the response: no value",
    "empty_response": "the tokenizer makes no token of the response: no value",
    "no_prompt": "nothing stands before the response: no value of coherence",
    "truncated_prompt": "the front of the prompt was cut",
    "truncated_response": "the end of the response was cut",
    "truncated_embedding": "the end of the text embedded was cut",
    "control_text": "control strings or field labels inside the text were broken up by a space",
}
#: What the flags given last mean.
LAST_FLAGS = {
    "undefined:COLUMN": "the column has no value and its pass gave no flag",
    "duplicate": "the row repeats an earlier one and has its values",
}


@dataclass(frozen=True)
class Described:
    """The docstring of an indicator, taken apart."""

    prose: str
    requires: str
    undefined: str
    reference: str
    parameters: tuple[str, ...]


@dataclass(frozen=True)
class Entry:
    """What stands about one indicator: its class, its piece, its docstring."""

    cls: type[Indicator]
    title: str
    remarks: str
    rest: str
    text: Described

    @property
    def link(self) -> str:
        """Link to its section."""
        return f"[{self.title}](#{slug(self.title)})"

    @property
    def kind(self) -> str:
        """Kind of pass it reads, empty for none."""
        return _kind(self.cls)

    @property
    def columns(self) -> list[Column]:
        """The columns it fills, with default parameters."""
        return [column for one in self.cls.family() for column in one.columns]


def described(cls: type[Indicator]) -> Described:
    """Take apart a docstring: prose, then Columns, Requires, Undefined, Reference.

    Raises
    ------
    ValueError
        If it does not follow that pattern.
    """
    text, _, parameters = inspect.cleandoc(cls.__doc__ or "").partition("\n\nParameters\n---")
    *prose, facts = text.replace("``", "`").split("\n\n")
    found = _FACTS.fullmatch(" ".join(facts.split()))
    if found is None or not prose:
        raise ValueError(
            f"{cls.__name__}: its docstring ends in {facts!r}; wanted prose, then one paragraph "
            "'Columns: … Requires … Undefined where … Reference: …'"
        )
    meanings = re.findall(r"^(\w+) : .*\n((?:    .+\n?)+)", parameters, re.MULTILINE)
    defaults = {own.name: own.default for own in fields(cls)}  # type: ignore[arg-type]
    return Described(
        "\n\n".join(prose),
        found["requires"],
        found["undefined"],
        found["reference"],
        tuple(
            f"`{name} = {defaults[name]!r}`: {' '.join(meaning.split()).rstrip('.')}"
            for name, meaning in meanings
        ),
    )


def page(indicators: Mapping[str, type[Indicator]], pieces: Path) -> str:
    """Return the page.

    Parameters
    ----------
    indicators : mapping of str to class
        As `registered` gives them.
    pieces : Path
        Folder with one piece for each.

    Raises
    ------
    FileNotFoundError
        If one has no piece.
    """
    entries = [
        Entry(cls, *_piece(pieces, name), described(cls))
        for name, cls in sorted(indicators.items(), key=lambda item: _place(item[1]))
    ]
    passes = ("pass", "reads", "model named by", "flags")
    parts = [
        _WRITTEN,
        _read(pieces / "_introduction.md").strip(),
        _table(("indicator", "columns", "what it is", "presets"), map(_summary, entries)),
        *(_section(entry, entries) for entry in entries),
        "## Passes",
        "A pass is one run of a model over the pool, however many indicators read it.",
        _table(passes, map(_pass_row, PASSES.values())),
        *_flags(),
    ]
    return "\n\n".join(parts) + "\n"


def slug(heading: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _piece(folder: Path, name: str) -> tuple[str, str, str]:
    """Return title, remarks and the labelled rest of a piece, links as seen from the page."""
    path = folder / f"{name}.md"
    if not path.is_file():
        raise FileNotFoundError(
            f"indicator {name!r} has no {path}; write a title and what the others say: "
            f"{', '.join(LABELS)}"
        )
    title, _, body = _read(path).partition("\n")
    remarks, label, rest = body.partition(f"**{LABELS[0]}.**")
    return title.removeprefix("# "), remarks.strip(), f"{label}{rest}".strip()


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8").replace("](../", "](")


def _kind(cls: type[Indicator]) -> str:
    needs = cls.family()[0].needs
    return needs.kind if needs else ""


def _place(cls: type[Indicator]) -> tuple[bool, int, int, str]:
    """Order by pass, what asks more of it later; what stands in for others last."""
    needs = cls.family()[0].needs
    options = len(needs.options) if needs else 0
    return cls.stands_in, list(PASSES).index(_kind(cls)), options, cls.name


def _fills(cls: type[Indicator], column: str, models: Models) -> bool:
    """Return whether `column` is filled by `cls` where these models are named."""
    try:
        return isinstance(models.indicators([column])[0], cls)
    except InputError:
        return False


def _presets(cls: type[Indicator], column: str) -> list[str]:
    """Return the presets whose `column` this indicator fills."""
    return [
        f"`{name}`"
        for name, preset in PRESETS.items()
        if column in preset.columns and _fills(cls, column, Scoring(name).models())
    ]


def _summary(entry: Entry) -> tuple[str, ...]:
    columns = [column.name for column in entry.columns]
    presets = dict.fromkeys(name for one in columns for name in _presets(entry.cls, one))
    what = entry.text.prose.split("\n\n")[0].replace("\n", " ")
    return entry.link, _coded(columns), what, ", ".join(presets) or "–"


def _section(entry: Entry, entries: Sequence[Entry]) -> str:
    text = entry.text
    unexplained = () if text.undefined == "never" else ("undefined:COLUMN",)
    columns = [
        (f"`{one.name}`", one.symbol, one.unit, ", ".join(_presets(entry.cls, one.name)) or "–")
        for one in entry.columns
    ]
    rows = [
        ("requires", text.requires + (" ([pass](#passes))" if entry.kind else "")),
        ("model", _models(entry)),
        ("parameters", "; ".join(text.parameters)),
        ("undefined", text.undefined),
        ("flags where null", _coded((*PASSES[entry.kind].refusals, *unexplained))),
        ("other flags", _coded(PASSES[entry.kind].flags)),
        ("also filled by", _shared(entry, entries)),
        ("rules", _rules(entry)),
        ("reference", text.reference),
    ]
    parts = [
        f"## {entry.title}",
        text.prose,
        entry.remarks,
        _table(("column", "symbol", "unit", "presets"), columns),
        _table(("", ""), [row for row in rows if row[1]]),
        entry.rest,
    ]
    return "\n\n".join(filter(None, parts))


def _models(entry: Entry) -> str:
    """Say which model each preset names, and how another is named."""
    option = PASSES[entry.kind].option
    if not option:
        return ""
    named = [
        f"`{models.name_of(entry.kind)}` in `{preset}`"
        for preset in PRESETS
        for models in [Scoring(preset).models()]
        if _fills(entry.cls, entry.columns[0].name, models)
    ]
    return ", ".join(named) + ("" if entry.cls.stands_in else f"; another by `--{option} NAME`")


def _shared(entry: Entry, entries: Sequence[Entry]) -> str:
    """Say of columns that others fill too which indicator goes when."""
    said = []
    for other in entries:
        theirs = {column.name for column in other.columns}
        both = [column.name for column in entry.columns if column.name in theirs]
        if other is entry or not both:
            continue
        # The one that does not stand in reads a model that has to be named.
        named = PASSES[entry.kind if other.cls.stands_in else other.kind]
        said.append(
            f"{_coded(both)}: {other.link}, where {'no' if other.cls.stands_in else 'a'} "
            f"{named.title} is named, by `--{named.option}` or the preset"
        )
    return "; ".join(said)


def _rules(entry: Entry) -> str:
    """Name the packaged rules that read columns of this indicator."""
    own = {column.name for column in entry.columns}
    said = []
    for name in list_rules():
        rule = load_rule(name)
        definitions = rule.provenance_.definitions
        read = [
            column
            for column in rule.columns_
            if column in own
            # A published definition may leave the indicator out.
            and definitions.get(column, {}).get("indicator", entry.cls.name) == entry.cls.name
        ]
        if read:
            said.append(f"`{name}` reads {_coded(read)}")
    return "; ".join(said) or "none that comes with the package reads it"


def _pass_row(one: Pass) -> tuple[str, ...]:
    option = f"`--{one.option}`" if one.option else "–"
    return one.title, one.reads, option, _coded((*one.refusals, *one.flags)) or "–"


def _flags() -> Iterator[str]:
    header = ("flag", "meaning")
    yield "## Flags"
    yield "While a row is read; such rows have no response and get no values:"
    yield _table(header, _meanings(UNSCORABLE))
    yield "While a row is read; such rows are scored if they have a response:"
    yield _table(header, _meanings(REMARKS))
    yield "By a pass:"
    yield _table(header, _meanings(FLAGS))
    yield "When columns are put together:"
    yield _table(header, _meanings(LAST_FLAGS))


def _meanings(flags: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(f"`{flag}`", meaning) for flag, meaning in flags.items()]


def _coded(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    escaped = ([cell.replace("|", r"\|") for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in escaped)


if __name__ == "__main__":
    PAGE.write_text(page(registered(), HERE), encoding="utf-8")
