"""Who may ask? Only somebody who means this service: a page of another site must neither read it nor act through it.

A browser can be made to ask any address by a name that an attacker owns (DNS rebinding), so `Host` must be an address,
localhost or a name that the settings know. What changes something must not come from another site's page; `admin` has the rest.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

_HOST: Final = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>[^:\[\]/@\s]+))(?::[0-9]{1,5})?")

CONTENT_SECURITY_POLICY: Final = "; ".join(
    (
        "default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self'", "connect-src 'self'",
        "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'", "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)  # fmt: skip

HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""On every answer."""


def host_name(header: str | None) -> str | None:
    """The host of a `Host` header without its port, in lower case; None if there is none that can be read."""
    found = _HOST.fullmatch(header or "")
    return None if found is None else (found["v6"] or found["name"]).lower().rstrip(".")


def is_host_known(header: str | None, names: tuple[str, ...]) -> bool:
    """Is it an address, localhost, or one of `names`?"""
    name = host_name(header)
    if name is None:
        return False
    if name in names or name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_from_elsewhere(headers: Mapping[str, str], names: tuple[str, ...]) -> bool:
    """Does the browser say that another site's page asks? Whoever is no browser says nothing."""
    if headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        return True
    origin = headers.get("Origin")
    if origin is None:
        return False
    try:
        parts = urlsplit(origin)
        asked = urlsplit(f"//{headers.get('Host', '')}")
        # A proxy that ends TLS may ask by another name and port than the browser.
        own = parts.hostname is not None and (parts.hostname in names or _place(parts.netloc) == _place(asked.netloc))
    except ValueError:
        return True
    return not own


def is_read_from_elsewhere(headers: Mapping[str, str], names: tuple[str, ...]) -> bool:
    """Does another site's page read this in the background? A link that somebody clicks there is no harm.

    It could not see the answer, but it could ask again and again.
    """
    return headers.get("Sec-Fetch-Mode") != "navigate" and is_from_elsewhere(headers, names)


def _place(netloc: str) -> str:
    return re.sub(r":(80|443)$", "", netloc.lower())
