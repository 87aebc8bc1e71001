"""Pages of artefacts that were written before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from instructmining.errors import InputError

if TYPE_CHECKING:
    from instructmining.report.page.base import Page

_NAMES = ("comparison.json", "search.json", "diagnostics.json")


def report(artefact: Path | str, output: Path | str | None = None) -> Path:
    """Write the page of an artefact, to open in a browser; return its path.

    Parameters
    ----------
    artefact : path
        ``comparison.json``, ``search.json`` or a fit's ``diagnostics.json``, or the folder that
        holds one.
    output : path, optional
        Of the page; by default the artefact's with ``.html``. Its data go beside it.

    Raises
    ------
    InputError
        If it is no such artefact, or was changed, or what draws pages is not installed.
    """
    from instructmining.report.page.html import save_page

    path = _file(Path(artefact))
    page = _page(_read(path), path)
    target = Path(output) if output is not None else path.with_name(f"{path.stem}.page.html")
    save_page(page, target)
    return target


def _file(path: Path) -> Path:
    if not path.is_dir():
        return path
    found = [path / name for name in _NAMES if (path / name).exists()]
    if len(found) != 1:
        raise InputError(
            f"{path}: holds {len(found)} finished comparisons, searches and fits, one was wanted; "
            "name the file"
        )
    return found[0]


def _read(path: Path) -> dict[str, Any]:
    from instructmining.journal import is_intact

    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{path}: is not JSON ({error}); name a file compare, search or fit wrote"
        ) from error
    if not isinstance(document, dict) or "schema" not in document:
        raise InputError(f"{path}: JSON, but no artefact; name a file compare, search or fit wrote")
    if not is_intact(document):
        raise InputError(f"{path}: was changed after it was written; make it again")
    return document


def _page(document: dict[str, Any], path: Path) -> Page:
    from instructmining.report.page.comparing import comparison_page
    from instructmining.report.page.fitting import fit_page
    from instructmining.report.page.searching import search_page

    if "curves" in document and "tried" in document:
        return search_page(document)
    if "comparison" in document and "budget" in document:
        return comparison_page(document)
    if "coefficients" in document and "mixtures" in document:
        return fit_page(document)
    raise InputError(
        f"{path}: of neither a comparison nor a search nor a fit; name a file one of them wrote"
    )
