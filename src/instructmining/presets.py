"""Sets of columns that go together."""

from __future__ import annotations

#: What is computed by default: everything two processor cores can do without a network.
SMALL = ("len_in", "len_out", "len", "nll", "ppl", "mtld", "knn_6")
#: What costs next to nothing: shown beside every selection.
MODEL_FREE = ("len_in", "len_out", "len", "mtld")
