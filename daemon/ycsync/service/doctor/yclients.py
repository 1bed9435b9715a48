"""Does YCLIENTS answer, is the clock right, and what do the tokens open, salon by salon?"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import time
from collections.abc import AsyncIterator, Sequence, Set
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from ycsync.api import Api, check_local_address
from ycsync.api.leaving import family_of
from ycsync.config import Loaded, Settings, Yclients
from ycsync.errors import AccessDenied, ApiError, Throttled, YcsyncError
from ycsync.plan.cost import KEYS_DO_NOT_HELP, addresses_needed
from ycsync.service import census
from ycsync.service.doctor.database import Looked
from ycsync.service.doctor.finding import Finding, Findings
from ycsync.service.engine import open_engine
from ycsync.service.runtime import open_database

AT_ONCE = 4
CONNECT_S = 8.0
SKEW_S = 60.0
CERTIFICATE_DAYS = 14
AGAIN = "Try again; if it lasts, YCLIENTS or the way to it is in trouble, and `ycsync status` tells since when."
OWN_HOSTS = ("yclients.com", "altegio.com", "alteg.io")
OWN_LIMITS = Yclients()  # the defaults are what these hosts allow
PROXIES = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")


def limits(yclients: Yclients) -> Findings:
    """Is more asked than the API's own hosts give? Elsewhere, as of a simulator, the limits are somebody else's."""
    host = (urlsplit(yclients.base_url).hostname or "").lower()
    most = OWN_LIMITS.per_minute, OWN_LIMITS.per_second
    if not any(host == own or host.endswith(f".{own}") for own in OWN_HOSTS):
        return []
    if yclients.per_minute <= most[0] and yclients.per_second <= most[1]:
        return []
    says = f"yclients: per_minute is {yclients.per_minute} and per_second {yclients.per_second}; YCLIENTS refuses more than "
    says += f"{most[0]} a minute and {most[1]} a second from one address"
    return [Finding("config", "warn", says, f"Write at most per_minute: {most[0]} and per_second: {most[1]}, and reload.")]


def budget(settings: Settings, salons: int) -> Findings:
    """Do so many salons fit what one address may send?"""
    a_minute = min(settings.active.per_minute, settings.yclients.per_minute)
    needed = addresses_needed(salons, settings.streams, a_minute)
    if needed == 1:
        return []
    says = f"to keep {salons} salons fresh takes {needed} IP addresses of {a_minute} requests a minute each"
    return [Finding("limit", "warn", says, f"{KEYS_DO_NOT_HELP}; or a longer cadence in `streams`.")]


async def reach(loaded: Loaded) -> Findings:
    """Name, connection and certificate; costs no request."""
    yclients = loaded.settings.yclients
    parts = urlsplit(yclients.base_url)
    host, encrypted = parts.hostname or "", parts.scheme == "https"
    local = yclients.local_address
    try:
        check_local_address(local)
    except YcsyncError as error:
        return [Finding("network", "fail", str(error))]
    port = parts.port or (443 if encrypted else 80)
    try:
        context = ssl.create_default_context(cafile=yclients.ca_file) if encrypted else None
    except OSError as error:
        says = f"yclients.ca_file: {yclients.ca_file} cannot be read ({error.strerror or type(error).__name__})"
        return [Finding("network", "fail", says, "Name a file of PEM certificates, or leave the key out.")]
    try:
        async with asyncio.timeout(CONNECT_S):
            family = socket.AF_UNSPEC if local is None else family_of(local)
            _, writer = await asyncio.open_connection(
                host, port, ssl=context, family=family, local_addr=None if local is None else (local, 0)
            )
    except socket.gaierror:
        return [
            Finding(
                "network", "fail", f"the name {host} is not found", "Look at DNS (resolvectl query) and at yclients.base_url."
            )
        ]
    except ssl.SSLCertVerificationError as error:
        return [
            Finding(
                "network", "fail", f"the certificate of {host} is not accepted: {error.verify_message}",
                "Behind a proxy that opens TLS, name its CA in yclients.ca_file; else look at this machine's clock and at "
                "the package ca-certificates.",
            )
        ]  # fmt: skip
    except ssl.SSLError as error:
        says = f"{host}:{port} does not speak TLS as it should ({error.reason or type(error).__name__})"
        return [Finding("network", "fail", says, "Is yclients.base_url right?")]
    except (OSError, TimeoutError) as error:
        # Several addresses that fail in several ways make one error without a number.
        why = os.strerror(error.errno) if error.errno else "none of its addresses answers"
        why = f"no answer within {CONNECT_S:.0f} s" if isinstance(error, TimeoutError) else why
        proxy = " A proxy is set in the environment: ycsync connects directly." if any(map(os.environ.get, PROXIES)) else ""
        return [
            Finding(
                "network",
                "fail",
                f"{host}:{port} cannot be reached: {why}",
                f"Look at firewall, route and yclients.base_url.{proxy}",
            )
        ]
    certificate = writer.get_extra_info("peercert") or {}
    writer.close()
    if not encrypted:
        level, remedy = (
            ("ok", "") if host in ("localhost", "127.0.0.1", "::1") else ("warn", "Write https:// in yclients.base_url.")
        )
        return [Finding("network", "ok" if level == "ok" else "warn", f"{host}:{port} answers, without encryption", remedy)]
    days = (ssl.cert_time_to_seconds(certificate["notAfter"]) - time.time()) / 86_400 if "notAfter" in certificate else None
    if days is not None and days < CERTIFICATE_DAYS and yclients.ca_file is not None:
        says = f"the certificate of {host} ends in {days:.0f} days"
        return [Finding("network", "warn", says, "Whoever runs the proxy must renew it.")]
    return [Finding("network", "ok", f"{host}:{port} answers, and its certificate is good")]


@asynccontextmanager
async def _api(loaded: Loaded, looked: Looked) -> AsyncIterator[Api]:
    """Sends requests under the budget that the service uses too.

    Where there is none yet it is made: what left without being counted would, with what a service started now sends, be more
    than the server allows.
    """
    if looked.usable and looked.database is not None:
        async with open_engine(loaded, looked.database, role="doctor") as engine:
            yield engine.api
        return
    async with (
        open_database(loaded, migrating=True, size=4) as database,
        open_engine(loaded, database, role="doctor") as engine,
    ):
        yield engine.api


async def rights(loaded: Loaded, looked: Looked, most: int, within_s: float) -> Findings:
    """What the tokens open: the list of salons, and of each of the first `most` every list of the streams that are on."""
    if 0 in looked.paused:
        return [Finding("tokens", "skipped", "no request may leave: `ycsync pause` holds them")]
    if not (looked.usable or looked.fresh):
        return [Finding("tokens", "skipped", "requests are counted in the database: the tokens are tried when it is good")]
    # An answer that does not come shall not hold the whole look.
    hasty = replace(loaded.settings.yclients, timeout=min(loaded.settings.yclients.timeout, timedelta(seconds=CONNECT_S)))
    loaded = replace(loaded, settings=replace(loaded.settings, yclients=hasty))
    async with _api(loaded, looked) as api:
        settings = loaded.settings
        try:
            managed = await census.managed(api, 2) if settings.needs_common_token else census.Managed({}, None)
        except Throttled as error:
            return [
                Finding("tokens", "warn", str(error), "Another program uses this address's limit: lower yclients.per_minute.")
            ]
        except AccessDenied as error:
            return [Finding("tokens", "fail", str(error))]
        except ApiError as error:
            return [Finding("tokens", "fail", str(error), AGAIN)]
        wanted = settings.companies or tuple(sorted({*managed.salons, *settings.own_tokens}))
        salons = f"{len(managed.salons)} active salon{'' if len(managed.salons) == 1 else 's'}"
        says = f"the user token manages {salons}" if settings.needs_common_token else "each salon has its own user token"
        said = Finding("tokens", "ok", says)
        if not wanted:
            said = Finding("tokens", "fail", census.NO_SALON, census.GIVE_ACCESS)
        enough = budget(loaded.settings, len(wanted))
        # A salon that the list does not name may be reached all the same: those first.
        chosen = sorted((one for one in wanted if one not in looked.paused), key=lambda one: one in managed.salons)[:most]
        unlisted = frozenset(chosen) - managed.salons.keys()
        on = [stream for stream, cadence in settings.streams.items() if cadence is not None]
        salons_found = await _salons(api, chosen, unlisted, len(wanted), within_s, on)
        return [*clock(managed.server_time), said, *enough, *salons_found]


def _lacks(error: AccessDenied) -> Finding:
    """A right that lacks. Without the categories the services are complete."""
    says, _, remedy = str(error).partition(". ")
    return Finding("salons", "warn" if ", service_categories: " in says else "fail", says, remedy)


def clock(server_time: datetime | None) -> Findings:
    """This machine's clock beside the API's, which a Date header tells to the second."""
    if server_time is None:
        return []
    skew_s = (datetime.now(UTC) - server_time).total_seconds()
    if abs(skew_s) <= SKEW_S:
        return [Finding("clock", "ok", "this machine's clock agrees with that of YCLIENTS")]
    says = f"this machine's clock is {abs(skew_s):.0f} s {'ahead of' if skew_s > 0 else 'behind'} that of YCLIENTS"
    return [Finding("clock", "warn", says, "Set it by the network's time: timedatectl shows whether that is on.")]


async def _salons(
    api: Api, chosen: Sequence[int], unlisted: Set[int], of: int, within_s: float, streams: Sequence[str]
) -> Findings:
    places = asyncio.Semaphore(AT_ONCE)

    async def one(company: int) -> Findings:
        async with places:
            try:
                if company in unlisted and not await census.exists(api, company, 2):
                    return [
                        Finding(
                            "salons", "fail", f"salon {company} of `companies` is not open to the user token",
                            "Give the token's user access to it in YCLIENTS, or take it out of `companies` in config.yaml.",
                        )
                    ]  # fmt: skip
                return [_lacks(one) for one in await census.refused(api, company, streams, 2)]
            except AccessDenied as error:
                return [Finding("salons", "fail", str(error))]
            except ApiError as error:
                return [Finding("salons", "warn", str(error), AGAIN)]

    tasks = [asyncio.create_task(one(company)) for company in chosen]
    try:
        done, waiting = await asyncio.wait(tasks, timeout=within_s) if tasks else (set(), set())
        results = [task.result() for task in tasks if task in done]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    rest = f" ({of} there are; --salons N tries more)" if of > len(chosen) else ""
    found = [finding for result in results for finding in result]
    if good := sum(not result for result in results):
        found.append(Finding("salons", "ok", f"every stream of {good} of {len(chosen)} salons may be read{rest}"))
    if waiting:
        says = f"{len(waiting)} salons were not tried within {within_s:.0f} s: the running service uses the limit too"
        found.append(Finding("salons", "skipped", says))
    return found
