"""The encoder pass: the embeddings sentence-transformers gives, flags where it cuts."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from instructmining.errors import ModelError
from instructmining.examples import Example, Turn
from instructmining.models.encoder import TRUNCATED, EncoderPass
from instructmining.models.sources import DEFAULT_ENCODER, is_ready, resolve
from models.tiny import ENCODER_LIMIT, example, files_of, save_encoder

pytestmark = pytest.mark.usefixtures("one_thread")

SHORT = [
    example("Red?", "Blue."),
    example("", "x"),
    example("a b c", "d e f g h"),
    Example(3, (), "no prompt"),
    Example(4, (Turn("system", "be"), Turn("user", "it")), "so"),
    example("水は", "火"),
]
LONG = [example("one word and many more", "of the same kind " * 9), example("y " * 200, "z")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="module")
def encoder(folder):
    return EncoderPass(files_of(folder))


def embed(encoder, examples):
    return encoder.run(encoder.prepare(examples)).embedding


def by_sentence_transformers(folder, examples):
    model = SentenceTransformer(str(folder), device="cpu")
    texts = ["\n".join([*(t.content for t in e.turns), e.response]) for e in examples]
    return model.encode(texts, normalize_embeddings=True, show_progress_bar=False)


def close(ours, theirs):
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize("examples", [SHORT, LONG], ids=["short", "long"])
def test_embeddings_are_those_of_sentence_transformers(encoder, folder, examples):
    wanted = by_sentence_transformers(folder, examples)

    assert np.linalg.norm(wanted[0] - wanted[1]) > 0.05
    close(embed(encoder, examples), wanted)


def test_rows_are_unit_vectors_of_32_bits(encoder):
    embedding = embed(encoder, SHORT)

    assert embedding.dtype == np.float32
    assert embedding.shape == (len(SHORT), 24)
    close(np.linalg.norm(embedding, axis=1), np.ones(len(SHORT)))


def test_padding_company_and_order_change_nothing(encoder):
    everything = [*SHORT, *LONG]
    together = embed(encoder, everything)

    close(embed(encoder, everything[::-1])[::-1], together)
    for one, row in zip(everything, together, strict=True):
        close(embed(encoder, [one])[0], row)


def test_only_texts_the_encoder_cannot_read_to_the_end_are_flagged(encoder):
    # Each letter here is a token; with [CLS] and [SEP] the text fills the limit, or not.
    fits = example("", "a " * (ENCODER_LIMIT - 2))
    over = example("", "a " * (ENCODER_LIMIT - 1))

    items = encoder.prepare([fits, over, *SHORT, *LONG])

    flags = [item.flags for item in items]
    assert flags == [(), (TRUNCATED,), *([()] * len(SHORT)), *([(TRUNCATED,)] * len(LONG))]
    assert [item.cost for item in items[:2]] == [ENCODER_LIMIT, ENCODER_LIMIT]
    assert items[0].payload[0].tolist() == items[1].payload[0].tolist()


def test_what_is_cut_off_does_not_matter(encoder):
    one, other = embed(encoder, [example("a " * 40, "b"), example("a " * 40, "c")])

    close(one, other)


def test_control_strings_are_read_as_text(encoder):
    (item,) = encoder.prepare([example("[SEP]", "[MASK] [PAD]")])
    specials = set(encoder.model.tokenizer.all_special_ids)

    assert [i for i in item.payload[0].tolist() if i in specials] == [2, 3]  # [CLS] ... [SEP]


def test_lone_surrogates_read_as_question_marks(encoder):
    odd, even = embed(encoder, [example("a\ud800", "b"), example("a?", "b")])

    close(odd, even)


def test_no_examples_no_items(encoder):
    assert encoder.prepare([]) == []


def test_a_batch_too_large_for_memory_is_halved(folder, monkeypatch):
    encoder = EncoderPass(files_of(folder))
    items = encoder.prepare(SHORT)
    whole = encoder.run(items).embedding
    real, sizes = EncoderPass._run, []

    def scarce(self, items):
        sizes.append(len(items))
        if len(items) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(self, items)

    monkeypatch.setattr(EncoderPass, "_run", scarce)

    close(encoder.run(items).embedding, whole)
    assert sizes[0] == 6
    assert sorted(size for size in sizes if size <= 2) == [1, 1, 2, 2]


def test_the_definition_is_known_without_loading_the_model(folder):
    encoder = EncoderPass(files_of(folder))

    assert encoder.definition["truncation"] == f"end/{ENCODER_LIMIT}"
    assert encoder.definition["text"] == "prompt\\nresponse"
    assert encoder.recorded["dtype"] == "float32"
    assert "model" not in encoder.__dict__


def test_weights_in_half_precision_are_run_in_32_bits(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "half")
    model = SentenceTransformer(str(folder), device="cpu").half()
    model[0].auto_model.save_pretrained(tmp_path / "half")

    encoder = EncoderPass(files_of(tmp_path / "half"))

    assert {p.dtype for p in encoder.model.parameters()} == {torch.float32}
    assert encoder.run(encoder.prepare(SHORT)).embedding.dtype == np.float32


def test_a_folder_that_is_no_encoder_is_refused_in_one_line(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "odd")
    (tmp_path / "odd" / "config.json").write_text(json.dumps({"model_type": "nonsense"}))

    with pytest.raises(ModelError, match="cannot be loaded as a sentence encoder") as caught:
        EncoderPass(files_of(tmp_path / "odd")).prepare(SHORT)
    assert "\n" not in str(caught.value)


@pytest.mark.models
def test_embeddings_of_the_real_model_are_those_of_sentence_transformers():
    if not is_ready(DEFAULT_ENCODER):
        pytest.skip("needs the packaged models: run `instructmining download`")
    encoder = EncoderPass(resolve(DEFAULT_ENCODER))
    rows = [*SHORT, example("Tell me about the sea.", "It is wide. " * 150)]

    items = encoder.prepare(rows)

    close(encoder.run(items).embedding, by_sentence_transformers(encoder.files.folder, rows))
    assert [bool(item.flags) for item in items] == [False] * len(SHORT) + [True]
