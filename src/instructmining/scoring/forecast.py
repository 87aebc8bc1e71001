"""What scoring a pool would run, and about how long that would take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from instructmining.indicators.base import Indicator
from instructmining.models.sizes import ModelSize, size_of
from instructmining.scoring.passes import Models, by_pass
from instructmining.scoring.rows import Source

#: UTF-8 bytes of a token, near enough for most languages and tokenizers.
_BYTES_PER_TOKEN = 4.0
#: Tokens of the three questions of an evaluator, and those an encoder reads at most.
_QUESTIONS, _ENCODED = 60, 256
#: Share of the speed of large matrix products that passes reach, counting useful tokens.
_SHARE = {"causal": 0.6, "encoder": 0.4, "reward": 0.4, "evaluator": 0.4}
#: Hidden states of a batch that exist at one time, in widths per token.
_STATES = 12
#: What the process takes besides: libraries, and logits of the head.
_PROCESS_BYTES = 1 << 30


@dataclass(frozen=True)
class PassForecast:
    """One pass that would be run.

    Parameters
    ----------
    kind : str
        As in `indicators.base.Need`; empty for columns that read the text alone.
    columns : tuple of str
        Columns that read it.
    model : str or None
        Name of the model; None where none is run.
    size : ModelSize or None
        Its size; None where it is not known, or none is run.
    tokens : int
        Tokens it would read, about.
    seconds : float or None
        Time it would take, about; None where the model's size is not known.
    memory : int or None
        Bytes of memory it would take, about; None where the model's size is not known.
    """

    kind: str
    columns: tuple[str, ...]
    model: str | None
    size: ModelSize | None
    tokens: int
    seconds: float | None
    memory: int | None


@dataclass(frozen=True)
class Forecast:
    """What scoring a pool would run.

    Parameters
    ----------
    n_rows : int
        Rows with a response.
    device, dtype : str
        What it would run on and in.
    rate : float
        Speed of large matrix products there, measured just now, in operations per second.
    passes : tuple of PassForecast
        In the order they would be run.
    """

    n_rows: int
    device: str
    dtype: str
    rate: float
    passes: tuple[PassForecast, ...]

    @property
    def seconds(self) -> float | None:
        """Time of all passes; None where that of one is not known."""
        times = [one.seconds for one in self.passes]
        return None if None in times else sum(t for t in times if t is not None)


@dataclass(frozen=True)
class _Text:
    """Tokens of a pool, about."""

    rows: int = 0
    prompt: float = 0.0
    response: float = 0.0
    encoded: float = 0.0


def forecast(source: Source, indicators: Sequence[Indicator], models: Models) -> Forecast:
    """Estimate what computing `indicators` for a pool would take.

    Reads the pool once and measures how fast this machine multiplies; loads no model and
    fetches none. Rows the store holds already are counted too.

    Parameters
    ----------
    source : Source
        The pool.
    indicators : sequence of Indicator
        What would be computed.
    models : Models
        Which models would run.
    """
    from instructmining.models.runtime import matmul_rate, pick_device, pick_dtype, token_budget

    device = pick_device()
    dtype = pick_dtype(device)
    rate = matmul_rate(device, dtype)
    width = 2 if str(dtype).endswith("16") else 4
    text = _measure(source)
    passes = []
    for kind, group in by_pass(indicators).items():
        columns = tuple(column.name for indicator in group for column in indicator.columns)
        if kind in ("", "tokens"):
            passes.append(PassForecast("", columns, None, None, 0, 0.0, 0))
            continue
        options = frozenset().union(*(i.needs.options for i in group if i.needs))
        name = models.name_of(kind)
        size = size_of(name)
        tokens, targets = _tokens(kind, text, alone="alone" in options)
        seconds = memory = None
        if size is not None:
            work = 2 * (size.active * tokens + size.head * targets)
            seconds = work / (rate * _SHARE[kind])
            states = token_budget(device) * size.width * _STATES * width
            memory = size.parameters * width + states + _PROCESS_BYTES
        passes.append(PassForecast(kind, columns, name, size, int(tokens), seconds, memory))
    return Forecast(text.rows, device.type, str(dtype).removeprefix("torch."), rate, tuple(passes))


def _measure(source: Source) -> _Text:
    rows, prompt, response, encoded = 0, 0.0, 0.0, 0.0
    for example in source.examples():
        if not example.response:
            continue
        before = len(example.prompt.encode("utf-8", "replace")) / _BYTES_PER_TOKEN
        after = len(example.response.encode("utf-8", "replace")) / _BYTES_PER_TOKEN
        rows += 1
        prompt += before
        response += after
        encoded += min(before + after, _ENCODED)
    return _Text(rows, prompt, response, encoded)


def _tokens(kind: str, text: _Text, *, alone: bool) -> tuple[float, float]:
    """Tokens a pass reads, and tokens it predicts."""
    if kind == "causal":
        times = 2 if alone else 1
        return text.prompt + times * text.response, times * text.response
    if kind == "encoder":
        return text.encoded, 0.0
    if kind == "reward":
        return text.prompt + text.response, 0.0
    return text.prompt + 3 * text.response + _QUESTIONS * text.rows, 0.0
