"""Does systemd hear the service, over a real datagram socket, and does nothing break without it?"""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ycsync.notify import Notifier


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """The name for $NOTIFY_SOCKET, and the socket that listens there."""
    name = str(tmp_path / "notify") if request.param == "path" else f"@ycsync-test-{uuid.uuid4().hex}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(name.replace("@", "\0", 1))
        listener.settimeout(5)
        yield name, listener


def test_each_message_is_one_datagram(manager: tuple[str, socket.socket]) -> None:
    name, listener = manager
    notifier = Notifier({"NOTIFY_SOCKET": name})
    assert notifier.enabled
    messages: list[tuple[Callable[[], bool], bytes]] = [
        (lambda: notifier.ready(), b"READY=1"),
        (lambda: notifier.ready("3 salons"), b"READY=1\nSTATUS=3 salons"),
        (lambda: notifier.status("salons: 3, готово 40 %"), "STATUS=salons: 3, готово 40 %".encode()),
        (lambda: notifier.watchdog(), b"WATCHDOG=1"),
        (lambda: notifier.extend_timeout(1.5), b"EXTEND_TIMEOUT_USEC=1500000"),
        (lambda: notifier.stopping("bye"), b"STOPPING=1\nSTATUS=bye"),
    ]
    for send, expected in messages:
        assert send()
        assert listener.recv(4096) == expected


def test_reloading_carries_the_monotonic_clock(manager: tuple[str, socket.socket]) -> None:
    name, listener = manager
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    assert Notifier({"NOTIFY_SOCKET": name}).reloading()
    first, second = listener.recv(4096).decode().split("\n")
    assert first == "RELOADING=1"
    key, _, value = second.partition("=")
    assert key == "MONOTONIC_USEC"
    assert before <= int(value) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


def test_a_status_cannot_smuggle_in_another_assignment(manager: tuple[str, socket.socket]) -> None:
    name, listener = manager
    Notifier({"NOTIFY_SOCKET": name}).status("a\nSTOPPING=1\x00\ud800" + "x" * 1000)
    message = listener.recv(4096)
    assert message.startswith(b"STATUS=a STOPPING=1")
    assert message.count(b"\n") == 0
    assert len(message) < 600


@pytest.mark.parametrize("name", ["", "relative", "/nonexistent/socket", "@nobody-" + "x" * 300, "vsock:2:1", "/a\0b"])
def test_without_a_manager_nothing_happens_and_nothing_is_raised(name: str) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": name} if name else {})
    assert not notifier.ready()
    assert not notifier.status("x")
    assert not notifier.reloading()
    assert not notifier.watchdog()
    assert not notifier.extend_timeout(5)
    assert not notifier.stopping()


@pytest.mark.parametrize(
    ("env", "interval"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid() + 1)}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "me"}, None),
    ],
)
def test_the_watchdog_is_fed_twice_as_often_as_it_must_be(env: dict[str, str], interval: float | None) -> None:
    assert Notifier(env).watchdog_interval == interval
