"""How do a salon's webhooks come to us without anybody else losing theirs? Read, merge, write, read again.

YCLIENTS replaces the whole setting with what it is sent, so what is there is kept: every other address and every flag. Nothing
tells whether somebody else wrote between our reading and our writing; so it is read once more, and what is missing is said.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from ycsync.api import Api, Page, Tally
from ycsync.api import endpoints as ep
from ycsync.errors import UsageError, YcsyncError

MOST_URLS: Final = 10
TRIES: Final = 3
HIDDEN: Final = "***"
SELF_SENDING: Final = "self_sending"  # 0: the user who installs the webhooks gets none of what they change themselves
Setting = dict[str, Any]
_FLAGS: Final[Mapping[str, tuple[str, ...]]] = {
    "companies": ("salon",),
    "services": ("service", "service_category"),
    "staff": ("master",),
    "clients": ("client",),
    "records": ("record",),
    "goods": ("good",),
    "schedules": ("master",),  # there is no flag of its own
    "goods_operations": tuple(f"goods_operations_{kind}" for kind in ("sale", "receipt", "consumable", "stolen", "move")),
    "transactions": ("finances_operation",),
}


class NotSubscribed(YcsyncError):
    """A salon's setting is not as it should be; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """How a salon's webhooks are set.

    `old`: addresses of ours with another secret; `off`: flags that we need and that are not set. `self_sending`: changes by the
    user of the token are told too; None: YCLIENTS does not say.
    """

    installed: bool
    active: bool
    others: int
    old: int = 0
    off: tuple[str, ...] = ()
    self_sending: bool | None = None

    @property
    def works(self) -> bool:
        """Do the webhooks that are wanted come here?"""
        return self.installed and self.active and not self.off and self.self_sending is not False


@dataclass(frozen=True, slots=True)
class Address:
    """Where webhooks shall go: `hooks.url`, and the secret, which is never shown."""

    base: str
    secret: str | None = field(repr=False)

    @property
    def url(self) -> str:
        """With the secret: for YCLIENTS only."""
        return f"{self.base}/hooks/{self.secret}"

    @property
    def shown(self) -> str:
        """For people."""
        return f"{self.base}/hooks/{HIDDEN}"

    def is_ours(self, url: str) -> bool:
        """With this secret or another one?"""
        return url.lower().startswith(f"{self.base}/hooks/".lower())


def flags_for(streams: Mapping[str, object]) -> tuple[str, ...]:
    """The flags of what is synced. `streams`: stream -> its cadence, None: off."""
    return tuple(flag for stream, cadence in streams.items() if cadence is not None for flag in _FLAGS.get(stream, ()))


def urls_of(setting: Setting) -> list[str]:
    """The addresses, in their order, each once."""
    urls = setting.get("urls")
    values = list(urls.values()) if isinstance(urls, dict) else urls if isinstance(urls, list) else [urls]
    return list(dict.fromkeys(one for one in values if isinstance(one, str) and one.strip()))


def is_on(value: Any) -> bool:
    """1, "1", true."""
    return value is True or str(value).strip().lower() in ("1", "true")


def judged(setting: Setting, address: Address, flags: tuple[str, ...]) -> Subscription:
    """How it stands."""
    urls = urls_of(setting)
    ours = [url for url in urls if address.is_ours(url)]
    installed = bool(ours) if address.secret is None else address.url in ours
    return Subscription(
        installed, is_on(setting.get("active")), len(urls) - len(ours), len(ours) - installed,
        tuple(flag for flag in flags if not is_on(setting.get(flag))),
        None if setting.get(SELF_SENDING) is None else is_on(setting[SELF_SENDING]),
    )  # fmt: skip


def installed(setting: Setting, address: Address, flags: tuple[str, ...]) -> Setting:
    """The setting with our address once, the flags that we need and all that was there. Raises UsageError: no room."""
    urls = urls_of(setting)
    # In the place of an older one of ours, so that nobody's order changes.
    place = next((n for n, url in enumerate(urls) if address.is_ours(url)), len(urls))
    before, after = urls[:place], [url for url in urls[place:] if not address.is_ours(url)]
    if len(before) + len(after) >= MOST_URLS:
        raise UsageError(
            f"{MOST_URLS} addresses are there already, and YCLIENTS takes no more: take one out in YCLIENTS, then again."
        )
    return {**setting, **dict.fromkeys(flags, 1), SELF_SENDING: 1, "active": 1, "urls": [*before, address.url, *after]}


def removed(setting: Setting, address: Address) -> Setting:
    """The setting without our addresses; all else stays."""
    return {**setting, "urls": [url for url in urls_of(setting) if not address.is_ours(url)]}


def lost(wanted: Setting, found: Setting, address: Address) -> tuple[int, tuple[str, ...]]:
    """What should be there and is not: so many addresses of others, and flags that were set."""
    urls = set(urls_of(found))
    gone = [url for url in urls_of(wanted) if url not in urls and not address.is_ours(url)]
    # A server that does not know `self_sending` leaves it out: then nothing that was set is lost.
    known = [key for key in wanted if key != "urls" and (key != SELF_SENDING or SELF_SENDING in found)]
    flags = [key for key in known if is_on(wanted[key]) and not is_on(found.get(key))]
    return len(gone), tuple(sorted(flags))


async def read(api: Api, company: int) -> Setting:
    """A salon's setting; empty where there is none yet. Raises ApiError."""
    return _setting(await api.fetch(ep.hooks_settings(company), Tally(), tries=TRIES))


async def write(api: Api, company: int, wanted: Setting, address: Address, *, there: bool) -> Setting:
    """Replace a salon's setting, and read it again. `there`: our address is to be in it. Raises ApiError or NotSubscribed."""
    await api.fetch(ep.hooks_settings(company, msgspec.json.encode(wanted)), Tally(), tries=TRIES)
    found = await read(api, company)
    ours = [url for url in urls_of(found) if address.is_ours(url)]
    if ours != ([address.url] if there else []):
        raise NotSubscribed(f"YCLIENTS took the setting and shows our address {'not' if there else 'still'}; try again.")
    addresses, flags = lost(wanted, found, address)
    if addresses or flags:
        what = [f"{addresses} addresses of others"] if addresses else []
        what += [f"the flags {', '.join(flags)}"] if flags else []
        raise NotSubscribed(
            f"{' and '.join(what)} that were set are not any more: somebody wrote the setting at the same time, or YCLIENTS "
            "did not take them. Look at it in YCLIENTS."
        )
    return found


def _setting(page: Page) -> Setting:
    """`{}` where YCLIENTS shows none: `[]`, or nothing."""
    if not page.rows:
        return {}
    value = msgspec.json.decode(page.rows[0])
    return value if isinstance(value, dict) else {}
