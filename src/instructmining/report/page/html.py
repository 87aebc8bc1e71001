"""From a page's plain data to one HTML file that opens with no network.

Everything that comes from the data is escaped by the template, or put into the document as JSON in
which no ``<`` stands, and shown by the script as text; nothing of it is ever run. A content policy
in the page itself forbids every request.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

from jinja2 import Environment, StrictUndefined

from instructmining.errors import InputError
from instructmining.files import replacing
from instructmining.report.page.base import Page


def render_page(page: Page) -> str:
    """Return a page as HTML, its style, script and charting library inside.

    Raises
    ------
    InputError
        If the charting library is not installed.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    specs = {
        f"{section.key}-{number}": chart.spec
        for section in page.sections
        for number, chart in enumerate(section.charts)
    }
    return environment.from_string(_asset("page.html.j2")).render(
        page=page,
        style=_asset("page.css"),
        script=_asset("page.js"),
        library=_library(),
        specs=_inert_json(specs),
        data=_inert_json(page.data),
    )


def save_page(page: Page, path: Path) -> Path:
    """Write a page, and its data beside it as JSON; return the path of the data.

    An existing file is replaced only by a whole one.
    """
    text = render_page(page)
    data = path.with_suffix(".json")
    if data == path:
        raise InputError(f"{path}: is the name of the page's data; give one that ends in .html")
    page.save(data)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return data


def _inert_json(value: Any) -> str:
    """JSON in which nothing ends a script element or begins a comment."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # A lone surrogate, legal in JSON, has no UTF-8 form.
    text = text.encode("utf-8", "replace").decode("utf-8")
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _asset(name: str) -> str:
    return files(__package__).joinpath("assets", name).read_text(encoding="utf-8")


@cache
def _library() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script."""
    try:
        import vl_convert
    except ImportError as error:
        raise InputError(
            "a page needs Altair and vl-convert, which are not installed; "
            "pip install 'instructmining[report]'"
        ) from error
    # Without a snippet it is all of Vega-Embed; the stubs want one.
    bundle: str = cast(Any, vl_convert).javascript_bundle()
    # No string of a minified script may end the element it stands in.
    return bundle.replace("</script", "<\\/script").replace("<!--", "<\\!--")
