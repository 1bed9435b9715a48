"""Which files make the page? They lie beside this one and are read once; nothing comes from elsewhere."""

from __future__ import annotations

import gzip
import hashlib
import html
from dataclasses import dataclass
from functools import cache
from importlib import resources
from string import Template
from typing import Final

FILES: Final = {
    "index.html": "text/html; charset=utf-8",
    "page.css": "text/css; charset=utf-8",
    "uPlot.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
    "page.js": "text/javascript; charset=utf-8",
    "admin.js": "text/javascript; charset=utf-8",
    "charts.js": "text/javascript; charset=utf-8",
    "lists.js": "text/javascript; charset=utf-8",
    "salons.js": "text/javascript; charset=utf-8",
    "words.js": "text/javascript; charset=utf-8",
    "uPlot.js": "text/javascript; charset=utf-8",
}
"""Each file and its type."""


@dataclass(frozen=True, slots=True)
class Asset:
    """One file: as it is, and packed; `tag`: another one for other contents."""

    kind: str
    body: bytes
    packed: bytes
    tag: str


@cache
def asset(name: str) -> Asset:
    """One of FILES."""
    body = resources.files(__name__).joinpath(name).read_bytes()
    tag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
    return Asset(FILES[name], body, gzip.compress(body, 9, mtime=0), tag)


@dataclass(frozen=True, slots=True)
class FirstWords:
    """What the page says before it has asked anything: the verdict's state, its sentence and what to do."""

    state: str
    said: str
    more: str = ""


def page(words: FirstWords) -> bytes:
    """The page, which begins with the verdict: who looks needs no second question."""
    text = Template(asset("index.html").body.decode())
    return text.substitute(state=html.escape(words.state), said=html.escape(words.said), more=html.escape(words.more)).encode()
