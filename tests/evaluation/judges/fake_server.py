"""A server that speaks chat completions, judges by a known rule, and fails as it is told."""

from __future__ import annotations

import json
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

#: What a fault does to a request: given its number, from 1, and the handler; True if it answered.
Fault = Callable[[int, "Handler"], bool]
_REPLIES = re.compile(r'<reply name="[AB]">\n(.*?)\n</reply>', re.DOTALL)


def longer(first: str, second: str) -> str:
    """The verdict of a judge who likes length alone."""
    if len(first) == len(second):
        return "Verdict: tie"
    return "Verdict: A" if len(first) > len(second) else "Verdict: B"


@dataclass
class Script:
    """How the server judges and fails, and what it was asked."""

    verdict: Callable[[str, str], str] = longer
    fault: Fault = lambda number, handler: False
    bodies: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    answered: Counter[str] = field(default_factory=Counter)
    url: str = ""


class Handler(BaseHTTPRequestHandler):
    script: Script
    lock = threading.Lock()

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.lock:
            self.script.bodies.append(body)
            self.script.keys.append(self.headers.get("Authorization"))
            number = len(self.script.bodies)
        if self.path != "/v1/chat/completions":
            self.answer(404, b"no such path")
        elif not self.script.fault(number, self):
            asked = body["messages"][-1]["content"]
            with self.lock:
                self.script.answered[asked] += 1
            reply = self.script.verdict(*_REPLIES.findall(asked))
            content = {"choices": [{"message": {"role": "assistant", "content": reply}}]}
            self.answer(200, json.dumps(content).encode())

    def answer(self, code: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(code)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def serving(script: Script) -> Iterator[Script]:
    """Serve on a free port for as long as the block runs."""
    handler = type("Scripted", (Handler,), {"script": script})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    script.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield script
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def failing(*kinds: str, every: int = 3) -> Fault:
    """Fail one of `every` requests, in the ways named.

    Which ones is drawn by their number: were it every third, a question asked again just as often
    would fail each time.
    """

    def fault(number: int, handler: Handler) -> bool:
        drawn = random.Random(number).randrange(every * len(kinds))
        if drawn >= len(kinds):
            return False
        kind = kinds[drawn]
        if kind == "garbage":
            handler.answer(200, b"<html>not JSON")
        elif kind == "empty":
            handler.answer(200, b'{"choices": []}')
        elif kind == "busy":
            handler.answer(429, b"slow down", {"Retry-After": "0"})
        elif kind == "ailing":
            handler.answer(503, b"later")
        elif kind == "slow":
            time.sleep(0.6)
            handler.close_connection = True
        elif kind == "hangs up":
            handler.close_connection = True
            handler.connection.close()
        return True

    return fault
