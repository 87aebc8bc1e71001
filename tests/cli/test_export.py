from __future__ import annotations

import json

import pytest


@pytest.mark.parametrize("to", ["messages", "trl", "llama-factory", "axolotl"])
def test_a_pool_is_exported_and_files_are_named(run, pool, tmp_path, to):
    ended = run("export", pool, "--to", to, "-o", tmp_path / "out.json")
    assert ended.code == 0, ended.err
    files = ended.out.split()
    assert files[0] == str(tmp_path / "out.json")
    assert len(files) == (2 if to in ("llama-factory", "axolotl") else 1)


def test_rows_left_out_are_counted(run, pool, tmp_path):
    with pool.open("a") as lines:
        lines.write(json.dumps({"instruction": "Nothing?", "output": ""}) + "\n")
    ended = run("export", pool, "--to", "messages", "-o", tmp_path / "out.jsonl")
    assert ended.code == 0
    assert "1 rows without prompt or response were left out" in ended.err
