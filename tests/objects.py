"""A real S3 server on this machine that can be told to be out of service now and then."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from unittest.mock import patch

BUCKET = "pool-scores"
#: What moto holds is shared by all servers of a process: each gets a bucket of its own.
_numbers = count()


@dataclass
class Faults:
    """Refuses some requests, and counts all.

    Parameters
    ----------
    every : int
        Which requests are answered 503: every so-many-th; 0 for none.
    """

    every: int = 0
    requests: int = 0
    refused: int = 0
    _lock: Any = field(default_factory=threading.Lock, repr=False)

    def refuses(self) -> bool:
        with self._lock:
            self.requests += 1
            refused = bool(self.every) and self.requests % self.every == 0
            self.refused += refused
        return refused


@dataclass
class Server:
    """Where it listens, and what goes wrong there."""

    address: str
    bucket: str
    faults: Faults

    def folder(self, prefix: str) -> str:
        """The address of a folder, as a user would give it."""
        return f"s3://{self.bucket}/{prefix}?scheme=http&endpoint_override={self.address}&region=us-east-1"


@contextmanager
def s3_server() -> Iterator[Server]:
    """Run an S3 server with one empty bucket, whose credentials stand in the environment."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from pyarrow.fs import S3FileSystem
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    faults, bucket = Faults(), f"{BUCKET}-{next(_numbers)}"
    answer = DomainDispatcherApplication(create_backend_app)

    def app(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        if faults.refuses():
            length = int(environ.get("CONTENT_LENGTH") or 0)
            environ["wsgi.input"].read(length)
            start("503 Slow Down", [("Content-Type", "application/xml")])
            return [b"<Error><Code>SlowDown</Code><Message>later</Message></Error>"]
        return answer(environ, start)

    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    address = f"127.0.0.1:{server.server_port}"
    try:
        with patch.dict(os.environ, AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="b"):
            S3FileSystem(
                region="us-east-1",
                scheme="http",
                endpoint_override=address,
                allow_bucket_creation=True,
            ).create_dir(bucket)
            yield Server(address, bucket, faults)
    finally:
        server.shutdown()
        thread.join()
