"""Is a limit that would be used twice found, whatever can be known of the addresses, and is nothing said where all is well?"""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest

from ycsync.api import check_local_address
from ycsync.config import parse_settings
from ycsync.errors import ConfigError, YcsyncError
from ycsync.plan.cost import addresses_needed
from ycsync.service.addresses import clashes, doubled
from ycsync.service.doctor.yclients import budget
from ycsync.store.report import Worker

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ONE = Worker("service", 1, "0", "one", NOW, NOW, {}, "here", "192.168.1.5", "192.168.1.5")


def like(egress: str = "two", host: str = "here", address: str | None = "192.168.1.5", seen: str | None = None,
         role: str = "service") -> Worker:  # fmt: skip
    return dataclasses.replace(ONE, role=role, egress=egress, host=host, address=address, seen_from=seen)


@pytest.mark.parametrize(
    ("other", "kind"),
    [
        (like(), "doubled"),
        (like(role="sync"), "doubled"),
        (like(address="192.168.1.6", seen="192.168.1.5"), None),  # an address of its own on the same machine
        (like(host="there"), None),  # a private address is another's elsewhere
        (like(host="there", seen="192.168.1.5"), "perhaps"),
        (like(host="there", address=None, seen="203.0.113.9"), None),
        (like("one"), None),
        (like("one", host="there", seen="192.168.1.5"), None),
        (like("one", address="192.168.1.6"), "unused"),
        (like("one", address="192.168.1.6", role="doctor"), None),
        (like("", role="command"), None),
    ],
)
def test_two_names_for_one_address_are_found_and_one_name_for_two(other: Worker, kind: str | None) -> None:
    assert [one.kind for one in clashes((ONE, other))] == ([] if kind is None else [kind])
    assert all(one.says and one.remedy for one in clashes((ONE, other)))


def test_two_names_that_yclients_counts_together_are_said_once_and_only_while_both_send() -> None:
    far = like(host="there")
    sharing = [("one", "two"), ("one", "three")]
    (found,) = doubled((ONE, far), sharing)
    assert (found.kind, found.names) == ("shared", ("one", "two"))
    assert "one and two" in found.says
    assert "yclients.egress" in found.remedy
    assert doubled((ONE,), sharing) == ()
    assert [one.kind for one in clashes((ONE, like(host="there", seen="192.168.1.5")), sharing)] == ["shared"]
    assert [one.kind for one in doubled((ONE, like()), sharing)] == ["doubled"]


def test_one_public_address_is_one_wherever_it_is_and_neither_is_known_by_loopback() -> None:
    public = dataclasses.replace(ONE, address="8.8.8.8")
    assert [one.kind for one in clashes((public, like(host="there", address="8.8.8.8")))] == ["doubled"]
    assert [one.kind for one in clashes((public, like("one", host="there", address="8.8.4.4")))] == ["unused"]
    near = dataclasses.replace(ONE, address=None, seen_from="127.0.0.1")
    assert clashes((near, like(host="there", seen="127.0.0.1"))) == ()
    # Neither chose an address: whatever the machine's standard one is, it is one.
    unknown = dataclasses.replace(ONE, address=None)
    (found,) = clashes((unknown, like(address=None)))
    assert "its standard one" in found.says


@pytest.mark.parametrize("text", ["0.0.0.0", "224.0.0.1", "fe80::1", "10.0.0", "eth0", "10.0.0.0/8", "127.0.0.2", "[::1]"])
def test_what_is_no_address_to_leave_by_is_refused_with_its_line(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_settings(f"yclients:\n  local_address: '{text}'\n", "x")
    (problem,) = caught.value.problems
    assert (problem.line, problem.key) == (2, "yclients.local_address")


def test_an_address_is_read_as_it_is_written_in_the_end_and_must_be_this_machines() -> None:
    settings = parse_settings("yclients: {local_address: 2001:0db8::0007}", "x")
    assert settings.yclients.local_address == "2001:db8::7"
    assert parse_settings("yclients: {local_address: }", "x").yclients.local_address is None
    check_local_address("127.0.0.9")
    check_local_address(None)
    for address in ("203.0.113.7", "2001:db8::7"):
        with pytest.raises(YcsyncError, match=rf"{address} is not an address of this machine.*ip -brief address"):
            check_local_address(address)


def test_more_salons_than_one_address_keeps_fresh_are_told_with_what_helps() -> None:
    streams = {"clients": timedelta(minutes=5), "records": timedelta(minutes=5)}
    assert [addresses_needed(salons, streams, 200) for salons in (0, 1, 500, 501, 1000, 1001)] == [1, 1, 1, 2, 2, 3]
    settings = parse_settings("preset: aggressive", "x")
    assert budget(settings, 400) == []
    (said,) = budget(settings, 900)
    assert "takes 2 IP addresses of 200 requests a minute" in said.says
    assert "tokens or partner keys do not raise the limit" in said.remedy
    assert "yclients.local_address" in said.remedy
