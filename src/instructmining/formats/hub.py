"""Data sets on the Hugging Face hub, through the `datasets` library.

Selected rows are written as Parquet with the data's own schema if the output ends in
``.parquet``, and as JSON Lines otherwise.
"""

from __future__ import annotations

import re

from instructmining.errors import InputError
from instructmining.formats.container import Container

PREFIX = "hf://"
_ADDRESS = re.compile(r"hf://datasets/(?P<repo>[\w.-]+(?:/[\w.-]+)?)(?:@(?P<revision>[^@]+))?")


def open_hub(address: str, config: str | None, split: str | None) -> Container:
    """Load one split of a data set named ``hf://datasets/OWNER/NAME[@revision]``.

    Raises
    ------
    InputError
        If the address cannot be read, `datasets` is not installed, or it cannot load the
        data (no network, no such data set, revision, configuration or split).
    """
    match = _ADDRESS.fullmatch(address)
    if match is None:
        raise InputError(
            f"{address}: not an address of a data set; "
            "hf://datasets/OWNER/NAME or hf://datasets/OWNER/NAME@REVISION was wanted"
        )
    try:
        import datasets
    except ImportError as error:
        raise InputError(
            f"{address}: needs the package datasets; pip install 'instructmining[hub]'"
        ) from error
    split = split or "train"
    try:
        dataset = datasets.load_dataset(
            match["repo"], name=config, split=split, revision=match["revision"]
        )
    except Exception as error:
        # The library lets errors of a dozen kinds through: HTTP, file system, parsers.
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"{address}: split {split!r} cannot be loaded ({reason}); check the name, "
            "--config, --split and the network, or give a local file"
        ) from error
    from instructmining.formats.frames import DatasetRows

    return DatasetRows(dataset, match["repo"].rsplit("/", 1)[-1], address)
