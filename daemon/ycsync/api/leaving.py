"""By which address of this machine do requests leave?

YCLIENTS counts by address, so each process says in the database by which one it leaves: two names of `egress` behind one
address would send twice what is allowed (service.addresses finds them).
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
from contextlib import suppress
from urllib.parse import urlsplit

from ycsync.errors import YcsyncError

RESOLVE_S = 2.0  # a name server that is silent must not hold a start


def family_of(address: str) -> socket.AddressFamily:
    """IPv4 or IPv6."""
    return socket.AF_INET6 if ipaddress.ip_address(address).version == 6 else socket.AF_INET


def check_local_address(address: str | None) -> None:
    """Is it one of this machine's? None: nothing was chosen. Raises YcsyncError with what to do."""
    if address is None:
        return
    try:
        with socket.socket(family_of(address), socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError as exc:
        if exc.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
            raise YcsyncError(
                f"yclients.local_address: {address} is not an address of this machine. `ip -brief address` lists those that "
                "are: write one of them, or leave the key out."
            ) from exc
        raise YcsyncError(f"yclients.local_address: {address} cannot be left by ({exc.strerror}).") from exc


async def leaving_address(base_url: str, local_address: str | None) -> str | None:
    """The address of this machine that requests to the API carry; None: it cannot be told now. Sends nothing to the API."""
    if local_address is not None:
        return local_address
    parts = urlsplit(base_url)
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(RESOLVE_S):
            found = await asyncio.get_running_loop().getaddrinfo(parts.hostname, parts.port or 443, type=socket.SOCK_DGRAM)
        for family, kind, _, _, target in found:
            with suppress(OSError), socket.socket(family, kind) as probe:
                probe.connect(target)  # of a datagram socket: the route is looked up, and no packet leaves
                address: str = probe.getsockname()[0]
                return address
    return None
