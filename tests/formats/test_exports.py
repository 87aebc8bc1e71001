from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from instructmining import api
from instructmining.errors import InputError
from instructmining.formats.exports import TARGETS, messages_of
from models.tiny import save_causal_lm

ROWS: list[dict[str, Any]] = [
    {"messages": [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Yes?"}]},
    {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Naïve “quotes” \u2028 and </s>?"},
            {"role": "assistant", "content": "One."},
            {"role": "user", "content": "More."},
            {"role": "assistant", "content": "Two\n\nlines. \ud800"},
        ]
    },
    {"messages": [{"role": "user", "content": "No answer."}]},
]


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    path = tmp_path / "pool.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


def test_messages_hold_every_turn_and_the_response(pool, tmp_path):
    found = api.export(str(pool), "messages", tmp_path / "out.jsonl")
    assert found.files == (tmp_path / "out.jsonl",)
    assert found.left_out == (2,)
    # JSON Lines may hold U+2028 in a string; splitlines may not be used on it.
    records = [json.loads(line) for line in found.files[0].read_text().split("\n") if line]
    assert records[0] == ROWS[0]
    assert records[1]["messages"][:4] == ROWS[1]["messages"][:4]
    # A lone surrogate has no UTF-8 form.
    assert records[1]["messages"][4]["content"] == "Two\n\nlines. \ufffd"


def test_what_was_exported_reads_as_the_same_examples(pool, tmp_path):
    before = [example for example in api.load_examples(str(pool)) if example.scorable]
    for target in ("messages", "axolotl", "llama-factory"):
        out = api.export(str(pool), target, tmp_path / f"{target}.json").files[0]
        after = api.load_examples(str(out))
        assert [e.turns for e in after] == [e.turns for e in before]
        assert after[0].digest == before[0].digest


def test_llama_factory_gets_an_entry_and_others_keep_theirs(pool, tmp_path):
    info = tmp_path / "dataset_info.json"
    info.write_text('{"theirs": {"file_name": "x.json"}}')
    found = api.export(str(pool), "llama-factory", tmp_path / "best.json")
    assert found.files == (tmp_path / "best.json", info)
    entries = json.loads(info.read_text())
    assert entries["theirs"] == {"file_name": "x.json"}
    entry = entries["best"]
    assert entry["formatting"] == "sharegpt"
    rows = json.loads((tmp_path / entry["file_name"]).read_text())
    assert len(rows) == 2
    # What the entry says stands in every row, under the tags it names.
    tags = entry["tags"]
    roles = {tags[name] for name in ("user_tag", "assistant_tag", "system_tag")}
    for row in rows:
        for message in row[entry["columns"]["messages"]]:
            assert message[tags["role_tag"]] in roles
            assert isinstance(message[tags["content_tag"]], str)
    info.write_text("[]")
    with pytest.raises(InputError, match="holds no entries by name"):
        api.export(str(pool), "llama-factory", tmp_path / "best.json")


def test_axolotl_gets_the_lines_of_a_config(pool, tmp_path):
    yaml = pytest.importorskip("yaml")
    out, config = api.export(str(pool), "axolotl", tmp_path / "best.jsonl").files
    (dataset,) = yaml.safe_load(config.read_text())["datasets"]
    assert dataset["path"] == str(out)
    assert dataset["type"] == "chat_template"
    assert dataset["field_messages"] == "messages"
    assert dataset["roles_to_train"] == ["assistant"]


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
def test_trl_trains_on_it_and_on_the_response_alone(pool, tmp_path):
    trl = pytest.importorskip("trl")
    datasets = pytest.importorskip("datasets")
    pool.write_text("".join(json.dumps(row) + "\n" for row in (*ROWS[:1] * 2, *ROWS[2:])))
    found = api.export(str(pool), "trl", tmp_path / "best.jsonl")
    rows = datasets.load_dataset(
        "json", data_files=str(found.files[0]), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert rows.column_names == ["prompt", "completion"]
    model = save_causal_lm(tmp_path / "model")
    trainer = trl.SFTTrainer(
        model=str(model),
        train_dataset=rows,
        args=trl.SFTConfig(
            output_dir=str(tmp_path / "run"),
            max_steps=1,
            per_device_train_batch_size=2,
            report_to=[],
            use_cpu=True,
            bf16=False,
            save_strategy="no",
        ),
    )
    batch = next(iter(trainer.get_train_dataloader()))
    labels = batch["labels"][0]
    text = trainer.processing_class.decode(batch["input_ids"][0][labels != -100])
    assert text.startswith("Yes?")
    assert "Hi." not in text
    assert trainer.train().training_loss > 0


def test_every_target_refuses_a_pool_without_a_usable_row(tmp_path):
    (tmp_path / "pool.jsonl").write_text(json.dumps(ROWS[2]) + "\n")
    for target in TARGETS:
        with pytest.raises(InputError, match="nothing to export"):
            api.export(str(tmp_path / "pool.jsonl"), target, tmp_path / "out.jsonl")
    assert not (tmp_path / "out.jsonl").exists()


def test_an_unknown_target_and_the_pool_itself_are_refused(pool):
    with pytest.raises(InputError, match="there are messages, trl, llama-factory, axolotl"):
        api.export(str(pool), "nothing", "x")
    with pytest.raises(InputError, match="is the pool itself"):
        api.export(str(pool), "messages", pool)


def test_messages_end_with_the_response(pool):
    example = api.load_examples(str(pool))[1]
    assert messages_of(example)[-1] == {"role": "assistant", "content": example.response}
