"""A hub on this machine: as much of its HTTP as creating a data set and committing to it takes."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hf_writes"


@dataclass
class Hub:
    """What the hub holds, and what goes wrong with it.

    Parameters
    ----------
    files : dict
        Data set to its files, by name.
    private : dict
        Data set to whether it is private.
    faults : dict
        Part of a request's method and path to the status answered in place of doing it, once for
        each time it is listed.
    requests : list of str
        Method and path of every request.
    """

    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    private: dict[str, bool] = field(default_factory=dict)
    faults: dict[str, list[int]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    address: str = ""

    def fault(self, asked: str) -> int | None:
        """Status to answer this request with, if it shall fail."""
        for part, statuses in self.faults.items():
            if part in asked and statuses:
                return statuses.pop(0)
        return None

    def card(self, repo: str) -> str:
        """Text of a data set's card."""
        return self.files[repo]["README.md"].decode()


@contextmanager
def hub_server() -> Iterator[Hub]:
    """Serve an empty hub for as long as the block runs."""
    hub = Hub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub

    def log_message(self, *arguments: Any) -> None:
        pass

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if not self._refused():
            self._post(self.path.split("?")[0], body)

    def do_HEAD(self) -> None:
        if not self._refused():
            self._file(with_body=False)

    def do_GET(self) -> None:
        if self._refused():
            return
        if not self.path.startswith("/api/"):
            self._file(with_body=True)
            return
        repo = "/".join(self.path.split("?")[0].split("/")[3:5])
        if repo not in self.hub.files:
            self._answer(404, {"error": "Repository not found"}, code="RepoNotFound")
        else:
            self._answer(200, {"id": repo, "sha": "1" * 40, "private": self.hub.private[repo]})

    def _refused(self) -> bool:
        asked = f"{self.command} {self.path}"
        self.hub.requests.append(asked)
        status = self.hub.fault(asked)
        if status is None and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            status = 401
        if status is not None:
            self._answer(status, {"error": "Invalid username or password."})
        return status is not None

    def _post(self, path: str, body: bytes) -> None:
        if path == "/api/repos/create":
            self._create(json.loads(body))
        elif path == "/api/validate-yaml":
            self._answer(200, {"errors": [], "warnings": []})
        elif "/preupload/" in path:
            files = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                for file in json.loads(body)["files"]
            ]
            self._answer(200, {"files": files})
        else:
            assert path.endswith("/commit/main"), path
            self._commit("/".join(path.split("/")[3:5]), body)

    def _create(self, asked: dict[str, Any]) -> None:
        assert asked["type"] == "dataset"
        repo = f"{asked['organization']}/{asked['name']}"
        url = f"{self.hub.address}/datasets/{repo}"
        known = repo in self.hub.files
        if not known:
            self.hub.files[repo] = {}
            private = asked.get("visibility") == "private" or asked.get("private", False)
            self.hub.private[repo] = private
        self._answer(409 if known else 200, {"url": url, "name": repo})

    def _commit(self, repo: str, body: bytes) -> None:
        for line in map(json.loads, body.splitlines()):
            if line["key"] == "file":
                assert line["value"]["encoding"] == "base64"
                content = base64.b64decode(line["value"]["content"])
                self.hub.files[repo][line["value"]["path"]] = content
        answer = {
            "commitUrl": f"{self.hub.address}/datasets/{repo}/commit/1",
            "commitOid": "1" * 40,
        }
        self._answer(200, answer)

    def _file(self, *, with_body: bool) -> None:
        """Answer ``/datasets/OWNER/NAME/resolve/main/FILE``."""
        _, _, owner, name, _, _, file = self.path.split("?")[0].split("/")
        content = self.hub.files[f"{owner}/{name}"].get(file)
        if content is None:
            self._answer(404, {"error": "Entry not found"}, code="EntryNotFound")
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{hash(content):x}"')
        self.send_header("X-Repo-Commit", "1" * 40)
        self.end_headers()
        if with_body:
            self.wfile.write(content)

    def _answer(self, status: int, document: Any, code: str | None = None) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if code is not None:
            self.send_header("X-Error-Code", code)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
