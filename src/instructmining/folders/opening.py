"""From a path or an address to its folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from instructmining.errors import InputError, first_line
from instructmining.folders.base import Folder
from instructmining.folders.disk import DiskFolder
from instructmining.folders.hierarchies import HierarchyFolder
from instructmining.folders.objects import ObjectFolder

#: PyArrow's names of file systems that show a file while it is written.
_HIERARCHIES = {"hdfs"}
#: What would be written into manifests and logs with the address.
_SECRETS = {"access_key", "secret_key", "session_token"}


def open_folder(where: str | Path) -> Folder:
    """Return a folder by its path or address.

    Parameters
    ----------
    where : str or path
        A path, or ``s3://BUCKET/PREFIX`` (credentials as usual for AWS; for other servers
        ``?endpoint_override=HOST:PORT&scheme=http``), ``gs://``, ``abfs://``, ``hdfs://``,
        ``file://``, as PyArrow reads addresses.

    Raises
    ------
    InputError
        If the address is of no known kind.
    """
    text = str(where)
    if "://" not in text:
        return DiskFolder(Path(text))
    from pyarrow.fs import FileSystem

    try:
        if text.startswith("s3://"):
            files, prefix = _s3(text)
        else:
            files, prefix = FileSystem.from_uri(text)
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            f"{text}: no folder or object store ({first_line(error)}); give a path, or an address "
            "such as s3://BUCKET/PREFIX"
        ) from error
    if files.type_name == "local":
        return DiskFolder(Path(prefix))
    kind = HierarchyFolder if files.type_name in _HIERARCHIES else ObjectFolder
    return kind(files, prefix, text)


def _s3(text: str) -> tuple[Any, str]:
    # Not `from_uri`, which makes three requests of what is small.
    from pyarrow.fs import S3FileSystem

    parts = urlsplit(text)
    options: dict[str, Any] = dict(parse_qsl(parts.query))
    if not parts.netloc:
        raise ValueError("no bucket is named")
    if _SECRETS & {*options}:
        raise ValueError("credentials do not belong in an address; set AWS_ACCESS_KEY_ID and so on")
    return S3FileSystem(allow_delayed_open=True, **options), f"{parts.netloc}{parts.path}"
