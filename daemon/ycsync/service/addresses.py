"""Do the processes of all machines count by address, as YCLIENTS does?

A name of `egress` is one budget. Two names behind one address send twice what YCLIENTS allows; one name for two addresses uses
half of what it could. What can be told of an address: by which one of its machine a process leaves, and as which one the
database sees it; behind the same NAT two machines may look different to both. Pure.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from ycsync.store.report import Worker

Kind = Literal["doubled", "shared", "perhaps", "unused"]


@dataclass(frozen=True, slots=True, order=True)
class Clash:
    """`doubled`: these names leave by one address. `perhaps`: they seem to. `unused`: one name, and these addresses.

    `shared`: YCLIENTS counts these names together, as what it says of the limit shows.

    `names`: of `egress`; `addresses`: as far as known.
    """

    kind: Kind
    names: tuple[str, ...]
    addresses: tuple[str, ...]

    @property
    def says(self) -> str:
        """What is so."""
        names, by = " and ".join(self.names), " and ".join(self.addresses) or "its standard one"
        if self.kind == "doubled":
            return (
                f"services with the egress names {names} leave by one address ({by}): each takes its whole limit, together "
                "they send more than YCLIENTS allows"
            )
        if self.kind == "shared":
            return (
                f"YCLIENTS counts the requests of the egress names {names} together, as its answers show: they leave by one "
                "address, or the limit is the partner token's"
            )
        if self.kind == "perhaps":
            return (
                f"the database sees services with the egress names {names} come from one address ({by}): if they reach "
                "YCLIENTS by one too, they send more than it allows"
            )
        return f"services with one egress name ({names}) leave by several addresses ({by}) and share one budget"

    @property
    def remedy(self) -> str:
        """What to do."""
        if self.kind == "unused":
            return (
                "If YCLIENTS sees them as several addresses, give each its own yclients.egress: each has the whole limit then."
            )
        if self.kind == "shared":
            return "Give them one name in yclients.egress, then restart them: a second address brings nothing here."
        return (
            "Give them one name in yclients.egress, or an address of its own to each: yclients.local_address, if the machine "
            "has several. Then restart them."
        )


def clashes(workers: Sequence[Worker], sharing: Iterable[tuple[str, str]] = ()) -> tuple[Clash, ...]:
    """What does not fit among the processes that send requests. `sharing`: names whose limits were seen to be one."""
    present = {worker.egress for worker in workers}
    found = {Clash("shared", names, ()) for names in sharing if present.issuperset(names)}
    for one, other in combinations([worker for worker in workers if worker.egress], 2):
        same_host = one.host == other.host
        if one.egress != other.egress:
            names = tuple(sorted((one.egress, other.egress)))
            if one.address == other.address and (same_host or _public(one.address)):
                found.add(Clash("doubled", names, _known(one.address)))
            elif not same_host and one.seen_from == other.seen_from and _from_afar(one.seen_from):
                found.add(Clash("perhaps", names, _known(one.seen_from)))
        elif one.address != other.address and one.address and other.address:
            apart = same_host or (_public(one.address) and _public(other.address))
            if apart and one.role == other.role == "service":
                found.add(Clash("unused", (one.egress,), tuple(sorted((one.address, other.address)))))
    certain = {kind: {one.names for one in found if one.kind == kind} for kind in ("doubled", "shared")}
    known = {"perhaps": certain["doubled"] | certain["shared"], "shared": certain["doubled"]}
    return tuple(sorted(one for one in found if one.names not in known.get(one.kind, ())))


def doubled(workers: Sequence[Worker], sharing: Iterable[tuple[str, str]] = ()) -> tuple[Clash, ...]:
    """Those that are certain and dangerous."""
    return tuple(one for one in clashes(workers, sharing) if one.kind in ("doubled", "shared"))


def _known(*addresses: str | None) -> tuple[str, ...]:
    return tuple(one for one in addresses if one)


def _public(address: str | None) -> bool:
    return _is(address, "is_global")


def _from_afar(address: str | None) -> bool:
    return address is not None and not _is(address, "is_loopback")


def _is(address: str | None, what: str) -> bool:
    try:
        return address is not None and bool(getattr(ipaddress.ip_address(address), what))
    except ValueError:
        return False


def names(found: Iterable[Clash]) -> str:
    """All names of `egress` in it, for a line of the log."""
    return ", ".join(sorted({name for one in found for name in one.names}))
