"""What a user asks of an experiment, read from the command line."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Literal, cast, get_args

from instructmining.errors import ExperimentError
from instructmining.experiments.splits import ALL, PARTS

Strategy = Literal["shares", "random_shares", "random", "longest", "shortest"]
#: Rows sampled before "longest" or "shortest" picks among them.
SAMPLE = 3000
#: Ways of choosing data that `compare` knows; what each does is in `choosing`.
SELECTORS = ("rule", "random", "longest", "shortest", "ifd", "ppl", "all", "target")
#: Those of them that rank no row above another.
UNRANKED = ("random", "all", "target")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class MixtureSpec:
    """What to draw.

    Parameters
    ----------
    name : str
        Name of the mixture; part of the seed of its draw.
    strategy : str
        ``"shares"``: the given share of each source. ``"random_shares"``: shares uniform
        over the simplex (Dirichlet with every parameter 1). ``"random"``: rows drawn
        uniformly from all sources together. ``"longest"``, ``"shortest"``: of `sample`
        rows so drawn, those with the longest or shortest response.
    sources : tuple of str
        Names of the sources drawn from.
    shares : tuple of float
        For ``"shares"``: one positive weight per source; only ratios matter.
    sample : int
        For ``"longest"`` and ``"shortest"``: rows to choose among.
    """

    name: str
    strategy: Strategy
    sources: tuple[str, ...]
    shares: tuple[float, ...] = ()
    sample: int = SAMPLE

    def __str__(self) -> str:
        """Return the specification as `parse_mixture` reads it, without the name."""
        if self.strategy == "shares":
            return ",".join(f"{s}:{w:g}" for s, w in zip(self.sources, self.shares, strict=True))
        sample = f":{self.sample}" if self.strategy in ("longest", "shortest") else ""
        return f"{self.strategy}{sample}@{','.join(self.sources)}"


def parse_mixture(text: str, sources: Collection[str]) -> MixtureSpec:
    """Read a mixture from the command line.

    Parameters
    ----------
    text : str
        ``NAME=SOURCE:SHARE,SOURCE:SHARE`` (without shares: equal ones) or
        ``NAME=STRATEGY@SOURCE,SOURCE``, where the strategy is ``longest``, ``shortest``
        (``longest:500`` samples 500 rows first), ``random`` or ``random_shares``, and
        ``*`` stands for every source.
    sources : collection of str
        Names of the sources there are.

    Raises
    ------
    ExperimentError
        If the text has another shape or names an unknown source or strategy.
    """
    name, equals, body = text.partition("=")
    if not (equals and body and _NAME.fullmatch(name)):
        raise ExperimentError(
            f"mixture {text!r}: wanted NAME=SOURCE:SHARE,... or NAME=longest@SOURCE, with a "
            "name of letters, digits, '.', '_' and '-'"
        )
    head, at, listed = body.partition("@")
    if not at:
        return _parse_shares(name, body, sources)
    strategy, colon, number = head.partition(":")
    known = [known for known in get_args(Strategy) if known != "shares"]
    if strategy not in known:
        raise _unknown(f"mixture {name}: strategy", strategy, known)
    sampled = strategy in ("longest", "shortest")
    if colon and not (sampled and number.isdecimal() and int(number) > 0):
        raise ExperimentError(
            f"mixture {name}: {head!r} is no strategy with a sample; wanted for example longest:500"
        )
    chosen = tuple(sources) if listed == "*" else tuple(listed.split(","))
    _check_sources(name, chosen, sources)
    sample = int(number) if colon else SAMPLE
    return MixtureSpec(name, cast(Strategy, strategy), chosen, sample=sample)


def parse_source(text: str) -> tuple[str, str]:
    """Read ``NAME=PATH`` or ``PATH`` (named by its stem) into (name, path)."""
    name, equals, path = text.partition("=")
    if not equals:
        name, path = Path(text.rstrip("/")).name.partition(".")[0], text
    if not name or not path or set(name) & set("/,:@*"):
        raise ExperimentError(
            f"source {text!r}: wanted NAME=PATH, with a name free of '/', ',', ':', '@', '*'"
        )
    return name, path


def parse_evaluation(text: str) -> tuple[str, str, str]:
    """Read ``NAME=PATH`` (the whole file) or ``NAME=PATH#PART`` into (name, path, part)."""
    name, equals, rest = text.partition("=")
    path, mark, part = rest.rpartition("#")
    if not mark:
        path, part = rest, ALL
    if not (name and equals and path) or part not in (*PARTS, ALL):
        raise ExperimentError(
            f"evaluation {text!r}: wanted NAME=PATH#PART, where PART is one of "
            f"{', '.join([*PARTS, ALL])}"
        )
    return name, path, part


@dataclass(frozen=True)
class MethodSpec:
    """A way of choosing data.

    Parameters
    ----------
    name : str
        One of `SELECTORS`, or the name of a table of decisions.
    decisions : str, optional
        Path of the table.
    """

    name: str
    decisions: str | None = None

    def __str__(self) -> str:
        """Return the specification as `parse_methods` reads it."""
        return self.name if self.decisions is None else f"{self.name}={self.decisions}"


def parse_method(text: str) -> MethodSpec:
    """Read a way of choosing data: a name of `SELECTORS`, or ``NAME=DECISIONS.parquet``.

    Raises
    ------
    ExperimentError
        If it is unknown or malformed.
    """
    name, equals, path = text.strip().partition("=")
    if not equals and name not in SELECTORS:
        raise _unknown("method", name, SELECTORS)
    # Mixtures of the random method are called random-s0, random-s1, ...
    taken = name in SELECTORS or re.fullmatch(r"random-s\d+", name)
    if equals and (not path or taken or not _NAME.fullmatch(name)):
        raise ExperimentError(
            f"method {text!r}: wanted NAME=DECISIONS.parquet, with a name of letters, digits, "
            f"'.', '_' and '-' other than {', '.join(SELECTORS)} and random-s0, random-s1, ..."
        )
    return MethodSpec(name, path or None)


def parse_methods(texts: Iterable[str]) -> list[MethodSpec]:
    """Read ways of choosing data: names of `SELECTORS`, or ``NAME=DECISIONS.parquet``.

    Raises
    ------
    ExperimentError
        If one is unknown or malformed, a name comes twice, or there are fewer than two.
    """
    found = [parse_method(text) for text in texts]
    names = [method.name for method in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or len(names) < 2:
        raise ExperimentError(
            f"methods {', '.join(names) or 'none'} came; give two or more to compare, each once"
        )
    return found


def random_specs(n: int, sources: Iterable[str], prefix: str = "random") -> list[MixtureSpec]:
    """Specify `n` mixtures of random source shares, named ``random-001`` and so on."""
    names = tuple(sorted(sources))
    return [MixtureSpec(f"{prefix}-{i:03d}", "random_shares", names) for i in range(1, n + 1)]


def _parse_shares(name: str, body: str, sources: Collection[str]) -> MixtureSpec:
    chosen: list[str] = []
    shares: list[float | None] = []
    for item in body.split(","):
        source, colon, share = item.rpartition(":")
        if not colon or item in sources:
            chosen.append(item)
            shares.append(None)
            continue
        chosen.append(source)
        try:
            shares.append(float(share))
        except ValueError:
            shares.append(math.nan)
        if not (shares[-1] and 0 < shares[-1] < math.inf):
            raise ExperimentError(
                f"mixture {name}: share {share!r} of {source}; wanted a number above 0"
            )
    _check_sources(name, chosen, sources)
    if None in shares and set(shares) != {None}:
        raise ExperimentError(
            f"mixture {name}: some sources have a share and some have none; give all or none"
        )
    weights = tuple(1.0 if share is None else share for share in shares)
    return MixtureSpec(name, "shares", tuple(chosen), weights)


def _check_sources(name: str, chosen: Collection[str], sources: Collection[str]) -> None:
    for source in chosen:
        if source not in sources:
            raise _unknown(f"mixture {name}: source", source, sources)
    if len(set(chosen)) < len(chosen):
        raise ExperimentError(f"mixture {name}: a source is named twice; name each one once")


def _unknown(what: str, word: str, known: Collection[str]) -> ExperimentError:
    close = get_close_matches(word, list(known), n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(sorted(known))}"
    return ExperimentError(f"{what} {word!r} is not known; {hint}")
