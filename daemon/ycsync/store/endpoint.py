"""Which kind of address is a PostgreSQL URL? Supabase gives one project three, and each wants something else. Pure.

supabase.com/docs/guides/database/connecting-to-postgres: `db.<ref>.supabase.co:5432` is the server itself, by IPv6 only;
`<region>.pooler.supabase.com` is the pooler, on port 5432 in session mode and on 6543 in transaction mode, and its user is
called `<role>.<ref>`.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote, urlsplit

Kind = Literal["server", "supabase direct", "supabase session pooler", "supabase transaction pooler"]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`problem`: what cannot work about it; `hint`: what is worth knowing. Both end in what to do."""

    kind: Kind
    problem: str | None = None
    hint: str | None = None


def endpoint_of(url: str) -> Endpoint:
    """What a database URL leads to, as far as the URL itself tells."""
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").rstrip("."), parts.port or 5432
    except ValueError:
        return Endpoint("server")
    user = unquote(parts.username or "")
    if host.endswith(".pooler.supabase.com"):
        problem = None
        if "." not in user:
            named = f"{user or 'ycsync'}.<project ref>"
            problem = f"Supabase's pooler knows no user {user!r}: there it is called {named}. Correct the database URL."
        if port == 6543:
            return Endpoint("supabase transaction pooler", problem)
        return Endpoint("supabase session pooler", problem)
    if host.startswith("db.") and host.endswith(".supabase.co"):
        if port == 6543:
            return Endpoint("supabase transaction pooler")  # the project's own, of the paid plans
        hint = (
            "Supabase's direct address has IPv6 only. Where this machine has none, take the session pooler's URL "
            "(<region>.pooler.supabase.com:5432)."
        )
        return Endpoint("supabase direct", None, hint)
    return Endpoint("server")


def is_local(url: str) -> bool:
    """Does it stay on this machine: a socket, or a loopback address?"""
    if "host=/" in url or "host=%2F" in url:
        return True
    try:
        host = urlsplit(url).hostname or ""
        return host in ("", "localhost") or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
