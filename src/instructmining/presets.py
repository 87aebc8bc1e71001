"""Sets of columns that go together, and the models that fill them."""

from __future__ import annotations

from dataclasses import dataclass

from instructmining.errors import InputError

#: What costs next to nothing: shown beside every selection.
MODEL_FREE = ("len_in", "len_out", "len", "mtld")


@dataclass(frozen=True)
class Preset:
    """Columns, and the models they are computed with.

    Parameters
    ----------
    columns : tuple of str
        What is computed where no columns are named.
    lm, encoder : str or None
        Causal language model and sentence encoder; None for the embedded ones.
    reward, evaluator : str or None
        Reward model of ``rew``, UniEval model of ``nat``, ``coh`` and ``und``; None for none.
    heads : tuple of str
        Which of `columns` small heads fill: only on the embedded language model.
    """

    columns: tuple[str, ...]
    lm: str | None = None
    encoder: str | None = None
    reward: str | None = None
    evaluator: str | None = None
    heads: tuple[str, ...] = ()


#: What two processor cores can do without a network. Of the small heads, those whose agreement
#: with people is clearly above that of length and likelihood (docs/heads.md).
SMALL = Preset(
    ("len_in", "len_out", "len", "nll", "ppl", "mtld", "knn_6", "nat"),
    heads=("nat",),
)
#: The paper's nine indicators with the paper's models; a GPU is expected.
PAPER = Preset(
    (
        *("len_in", "len_out", "len", "rew", "nll", "ppl", "mtld", "knn_6"),
        *("nat", "coh", "und", "nat_p", "coh_p", "und_p"),
    ),
    lm="meta-llama/Llama-2-7b-hf",
    encoder="sentence-transformers/all-MiniLM-L6-v2",
    reward="OpenAssistant/oasst-rm-2.1-pythia-1.4b-epoch-2.5",
    evaluator="MingZhong/unieval-dialog",
)
PRESETS = {"small": SMALL, "paper": PAPER}


def preset(name: str) -> Preset:
    """Return a preset by name.

    Raises
    ------
    InputError
        If there is none of that name.
    """
    if name not in PRESETS:
        raise InputError(f"preset {name!r}: presets are {' and '.join(PRESETS)}")
    return PRESETS[name]
