"""What must never be said? Tokens, names, phones, e-mail addresses, comments and bodies; here is how to find them."""

from __future__ import annotations

import re

import asyncpg

from ycsync.simulator import catalogue

SECRETS = ("partner-secret-1", "user-secret-2", "password-secret-3")
_NAMES = {
    *catalogue.WOMEN,
    *catalogue.MEN,
    *(stem + ending for stem in catalogue.SURNAMES for ending in ("", "а")),
    *(one for pair in catalogue.PATRONYMICS for one in pair),
    *catalogue.STAFF_NAMES,
    *(text for text in (*catalogue.CLIENT_COMMENTS, *catalogue.RECORD_COMMENTS) if text),
}
# A name is a word of its own: "Анна" is not in "Аннаполис".
_PRIVATE = re.compile(
    "|".join(
        (
            r"\b(?:" + "|".join(re.escape(name) for name in sorted(_NAMES, key=len, reverse=True)) + r")",
            r"(?<![\w.:-])(?:\+?7|8)9\d{9}(?!\d)",  # a phone
            r"7999\d*\*+\d\d",  # a masked one
            r"[\w.+-]+@example\.com",
            "|".join(re.escape(secret) for secret in SECRETS),
            r"[\"']success[\"']\s*:",  # a body
            r"[\"'](?:phone|email|surname)[\"']\s*:",  # a row
        )
    )
)
_TOLD = {
    "sync_status.last_error": "select concat_ws(' ', last_error, error_code, options) from {}.sync_status",
    "sync_status.odd": "select concat((select string_agg(v::text, ' ') from jsonb_each(odd) e(k, v))) from {}.sync_status",
    "sync_status.cursor": "select coalesce(cursor::text, '') from {}.sync_status",
    "sync_batches.detail": "select coalesce(detail, '') from {}.sync_batches",
    "quarantine.reason": "select reason from {}.quarantine",
    "workers.info": "select info::text from {}.workers",
}


def private(text: str) -> list[str]:
    """Everything in `text` that should not be there."""
    return sorted({match[0] for match in _PRIVATE.finditer(text)})


async def told_by(url: str, schema: str = "yclients") -> dict[str, str]:
    """What the database says of the work (not the data itself), by where it stands; nothing if there is no schema."""
    connection = await asyncpg.connect(url)
    try:
        if await connection.fetchval("select to_regclass($1)", f"{schema}.sync_status") is None:
            return {}
        return {
            where: "\n".join(row[0] for row in await connection.fetch(query.format(schema))) for where, query in _TOLD.items()
        }
    finally:
        await connection.close()
