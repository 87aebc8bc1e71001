"""Every container: found by content, streamed, written back as it came."""

from __future__ import annotations

import csv
import gzip
import json

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from instructmining.errors import InputError
from instructmining.formats import open_pool

RECORDS = [
    {"instruction": f"Say {word}.", "input": "", "output": f"{word} — {place}", "id": place}
    for place, word in enumerate(["one", "zwei", "три", "四", "five, 5", 'six "6"'])
]
LINES = [json.dumps(record, ensure_ascii=bool(record["id"] % 2)) for record in RECORDS]
ENDINGS = [".jsonl", ".json", ".json.gz", ".jsonl.gz", ".jsonl.zst", ".parquet", ".csv", ".csv.zst"]
RESPONSES = [record["output"] for record in RECORDS]
ORDER = [4, 0, 5, 2]


def responses(pool):
    return [example.response for example in pool.examples()]


def json_lines(path):
    return [json.loads(line) for line in path.read_bytes().split(b"\n") if line.strip()]


@pytest.fixture
def lines_file(tmp_path):
    # Spacing, CRLF, a blank line and a missing last line end: all as some file has them.
    path = tmp_path / "pool.jsonl"
    body = "\r\n".join([f"  {LINES[0]} ", *LINES[1:3], "", *LINES[3:]])
    path.write_bytes(body.encode())
    return path


def test_jsonl_lines_come_back_byte_for_byte(lines_file, tmp_path):
    pool = open_pool(lines_file)
    assert (pool.name, pool.format) == ("pool", "alpaca")
    assert responses(pool) == RESPONSES
    assert {example.source for example in pool.examples()} == {"pool"}
    pool.write(ORDER, tmp_path / "out.jsonl")
    own = lines_file.read_bytes().replace(b"\r\n\r\n", b"\r\n").split(b"\r\n")
    assert (tmp_path / "out.jsonl").read_bytes() == b"\r\n".join(
        [own[4], own[0], own[5], own[2], b""]
    )
    pool.write(range(6), tmp_path / "all.jsonl")
    assert (tmp_path / "all.jsonl").read_bytes() == b"\r\n".join(own)


def test_jsonl_keeps_its_byte_order_mark(tmp_path):
    path = tmp_path / "pool.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + "\n".join(LINES).encode())
    pool = open_pool(path)
    assert responses(pool) == RESPONSES
    assert all(not example.flags for example in pool.examples())
    pool.write(range(6), tmp_path / "all.jsonl")
    assert (tmp_path / "all.jsonl").read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("suffix", "pack", "unpack"),
    [
        (".jsonl.gz", gzip.compress, gzip.decompress),
        (
            ".jsonl.zst",
            lambda data: zstandard.compress(data[:100]) + zstandard.compress(data[100:]),
            lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data),
        ),
    ],
)
def test_compressed_lines(tmp_path, suffix, pack, unpack):
    path = tmp_path / f"pool{suffix}"
    path.write_bytes(pack("\n".join(LINES).encode()))
    pool = open_pool(path)
    assert pool.name == "pool"
    assert responses(pool) == RESPONSES
    pool.write(ORDER, tmp_path / f"out{suffix}")
    wanted = "".join(f"{LINES[row]}\n" for row in ORDER).rstrip("\n").encode()
    assert unpack((tmp_path / f"out{suffix}").read_bytes()).rstrip(b"\n") == wanted
    pool.write(ORDER, tmp_path / "out.jsonl")
    assert (tmp_path / "out.jsonl").read_bytes().rstrip(b"\n") == wanted
    pool.write(ORDER, tmp_path / f"again{suffix}")
    assert (tmp_path / f"again{suffix}").read_bytes() == (tmp_path / f"out{suffix}").read_bytes()


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(RECORDS, indent=4, ensure_ascii=False),
        json.dumps(RECORDS),
        "[\n" + ",\n".join(LINES) + "\n]\n",
        '{"version": "1.0", "data": [' + ", ".join(LINES) + '], "end": true}',
        json.dumps({"data": RECORDS}, indent=2),
    ],
    ids=["indented", "one line", "a line each", "wrapped", "wrapped and indented"],
)
def test_json_array_elements_come_back_verbatim(tmp_path, text):
    path = tmp_path / "pool.json"
    path.write_bytes(text.encode())
    pool = open_pool(path)
    assert responses(pool) == RESPONSES
    pool.write(range(6), tmp_path / "all.json")
    assert (tmp_path / "all.json").read_bytes() == path.read_bytes()
    pool.write(ORDER, tmp_path / "out.json")
    loaded = json.loads((tmp_path / "out.json").read_bytes())
    chosen = loaded["data"] if isinstance(loaded, dict) else loaded
    assert chosen == [RECORDS[row] for row in ORDER]
    pool.write([], tmp_path / "none.json")
    assert not [row for row in json.loads((tmp_path / "none.json").read_bytes()) if row == {}]


def test_json_array_is_streamed_across_chunks(tmp_path, monkeypatch):
    monkeypatch.setattr("instructmining.formats.json_array._CHUNK", 7)
    path = tmp_path / "pool.json"
    path.write_text(json.dumps([*RECORDS, 12345678, -1.5e10], indent=1, ensure_ascii=False))
    pool = open_pool(path)
    assert responses(pool) == [*RESPONSES, "", ""]
    assert pool.take([6, 7, 0]) == [12345678, -1.5e10, RECORDS[0]]


def test_parquet_keeps_schema_metadata_and_codec(tmp_path):
    schema = pa.schema(
        [
            pa.field("instruction", pa.large_string(), nullable=False, metadata={"why": "asked"}),
            pa.field("output", pa.dictionary(pa.int32(), pa.string())),
            pa.field("tags", pa.list_(pa.struct([("name", pa.string())]))),
            pa.field("when", pa.timestamp("ns")),
            pa.field("blob", pa.binary()),
        ],
        metadata={"huggingface": '{"info": 1}', "pandas": "{}"},
    )
    rows = [
        {"instruction": f"i{n}", "output": f"o{n % 7}", "tags": [{"name": "a"}], "when": n + 1}
        for n in range(10_000)
    ]
    table = pa.Table.from_pylist(rows, schema=schema)
    path = tmp_path / "pool.parquet"
    pq.write_table(table, path, row_group_size=3000, compression="zstd")
    pool = open_pool(path)
    assert responses(pool) == [row["output"] for row in rows]
    for order in ([9999, 0, 5000, 0], [1, 2, 4095, 4096, 9999], range(10_000), []):
        out = tmp_path / "out.parquet"
        pool.write(order, out)
        written = pq.ParquetFile(out)
        assert written.schema_arrow.equals(pq.ParquetFile(path).schema_arrow, check_metadata=True)
        assert written.read().to_pydict() == table.take(pa.array(order, pa.int64())).to_pydict()
        if order:
            assert written.metadata.row_group(0).column(0).compression == "ZSTD"
        written.close()


def test_csv_records_come_back_byte_for_byte(tmp_path):
    path = tmp_path / "pool.csv"
    body = [
        b"instruction,output,note\r\n",
        b'"Say ""hi""",hi,\r\n',
        b'Two,"line one\r\nline two, still",n\r\n',
        b"\r\n",
        "Dreißig,四十,x\r\n".encode(),
        b'Long,"' + b"y" * 200_000 + b'",z',
    ]
    path.write_bytes(b"".join(body))
    pool = open_pool(path)
    assert [len(text) for text in responses(pool)] == [2, 25, 2, 200_000]
    pool.write([2, 1, 3, 0], tmp_path / "out.csv")
    wanted = [body[0], body[4], body[2], body[5] + b"\r\n", body[1]]
    assert (tmp_path / "out.csv").read_bytes() == b"".join(wanted)
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as handle:
        parsed = [dict(row) for row in csv.DictReader(handle)]
    assert parsed == pool.take([2, 1, 3, 0])


def test_csv_with_other_delimiters(tmp_path):
    path = tmp_path / "pool.csv"
    path.write_text("instruction;output\nSay a, b;a, b\n")
    assert responses(open_pool(path)) == ["a, b"]
    path.rename(tmp_path / "pool.tsv")
    (tmp_path / "pool.tsv").write_text("instruction\toutput\nSay a, b\ta, b\n")
    assert responses(open_pool(tmp_path / "pool.tsv")) == ["a, b"]


def test_saved_dataset_folder(tmp_path):
    data = datasets.Dataset.from_list(RECORDS)
    data.save_to_disk(tmp_path / "saved", num_shards=3)
    pool = open_pool(tmp_path / "saved")
    assert (pool.name, responses(pool)) == ("saved", RESPONSES)
    assert pool.take(ORDER) == [RECORDS[row] for row in ORDER]
    pool.write(ORDER, tmp_path / "out.parquet")
    schema = pq.read_schema(tmp_path / "out.parquet")
    assert schema.equals(data.features.arrow_schema, check_metadata=True)
    for name in ("out.jsonl", "out"):
        pool.write(ORDER, tmp_path / name)
        assert json_lines(tmp_path / name) == [RECORDS[row] for row in ORDER]


def test_saved_dictionary_of_splits(tmp_path):
    splits = datasets.DatasetDict(
        train=datasets.Dataset.from_list(RECORDS), test=datasets.Dataset.from_list(RECORDS[:2])
    )
    splits.save_to_disk(tmp_path / "saved")
    assert responses(open_pool(tmp_path / "saved")) == RESPONSES
    assert responses(open_pool(tmp_path / "saved", split="test")) == RESPONSES[:2]
    with pytest.raises(InputError, match="has no split 'dev'"):
        open_pool(tmp_path / "saved", split="dev")


def test_dataset_in_memory_with_an_index(tmp_path):
    data = datasets.Dataset.from_list(RECORDS).select([5, 4, 3])
    pool = open_pool(data)
    assert responses(pool) == RESPONSES[:2:-1]
    pool.write([2, 0], tmp_path / "out.parquet")
    assert pq.read_table(tmp_path / "out.parquet").to_pylist() == [RECORDS[3], RECORDS[5]]
    with pytest.raises(InputError, match="choose one of its splits"):
        open_pool(datasets.DatasetDict(train=data))


def test_list_of_dicts(tmp_path):
    pool = open_pool(RECORDS)
    assert (pool.name, responses(pool)) == ("memory", RESPONSES)
    assert pool.take(ORDER)[0] is RECORDS[4]
    pool.write(ORDER, tmp_path / "out.jsonl")
    assert json_lines(tmp_path / "out.jsonl") == [RECORDS[row] for row in ORDER]


def test_hub_address_passes_revision_config_and_split_on(monkeypatch):
    asked = {}

    def load_dataset(path, name, split, revision):
        asked.update(path=path, name=name, split=split, revision=revision)
        return datasets.Dataset.from_list(RECORDS)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    pool = open_pool("hf://datasets/owner/name@v1.2", config="en", split="test[:10]")
    assert asked == {
        "path": "owner/name",
        "name": "en",
        "split": "test[:10]",
        "revision": "v1.2",
    }
    assert (pool.name, responses(pool)) == ("name", RESPONSES)
    open_pool("hf://datasets/owner/name")
    assert (asked["split"], asked["revision"]) == ("train", None)


@pytest.mark.parametrize("source", [".json", ".jsonl", ".csv", ".parquet"])
@pytest.mark.parametrize("ending", ENDINGS)
def test_any_container_can_be_written_as_another(tmp_path, source, ending):
    first, second = tmp_path / f"first{source}", tmp_path / f"second{ending}"
    open_pool([{**record, "id": str(record["id"])} for record in RECORDS]).write(range(6), first)
    open_pool(first).write(ORDER, second)
    again = open_pool(second)
    assert responses(again) == [RESPONSES[row] for row in ORDER]
    assert again.take([0]) == open_pool(first).take([ORDER[0]])


def test_content_is_believed_before_the_name(tmp_path):
    lines, array = tmp_path / "lines.json", tmp_path / "array.jsonl"
    lines.write_text("\n".join(LINES))
    array.write_text(json.dumps(RECORDS, indent=1))
    (tmp_path / "array.txt").write_text(json.dumps(RECORDS))
    (tmp_path / "packed.jsonl").write_bytes(gzip.compress("\n".join(LINES).encode()))
    for name in ("lines.json", "array.jsonl", "array.txt", "packed.jsonl"):
        assert responses(open_pool(tmp_path / name)) == RESPONSES
    open_pool(lines).write([1], tmp_path / "out.json")
    assert (tmp_path / "out.json").read_text().strip() == LINES[1]


@pytest.mark.parametrize("ending", [*ENDINGS, "memory"])
def test_examples_at_some_rows_are_those_of_the_stream(tmp_path, ending):
    pool = open_pool(RECORDS)
    if ending != "memory":
        pool.write(range(6), tmp_path / f"pool{ending}")
        pool = open_pool(tmp_path / f"pool{ending}")
    every = list(pool.examples())
    for rows in ([], [5], [1, 3], ORDER, [2, 2, 0]):
        assert pool.read(rows) == [every[row] for row in rows]
    for rows in ([6], [-1], [0, 9], [3, -2]):
        with pytest.raises(InputError, match=f"has no row {rows[-1]}; rows run from 0 to 5"):
            pool.read(rows)
