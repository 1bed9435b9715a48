"""Does `ycsync doctor` know its own service's pages from those of a stranger at the same port?"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.place import free_port
from support.shown import Shown, served
from ycsync.config import Http, Settings
from ycsync.service.control import Beacon
from ycsync.service.doctor import Finding
from ycsync.service.doctor.machine import port
from ycsync.web import Health


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The configuration of a service that runs, as far as others can see."""
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path / "run"))
    beacon = Beacon(tmp_path / "config.yaml")
    yield tmp_path / "config.yaml"
    beacon.close()


async def looked(config: Path, at: int) -> Finding:
    (said,) = await port(Settings(http=Http(port=at)), config, None)
    return said


async def test_the_services_own_pages_are_recognised(running: Path) -> None:
    at = free_port()
    async with served(at, Shown(well=Health(alive=False, ready=False))):
        said = await looked(running, at)
    assert (said.level, said.says) == ("ok", f"http://127.0.0.1:{at} answers")


@pytest.mark.parametrize(
    ("answer", "ours"),
    [
        ('{"alive": true}', True),  # of a release before it said who it is
        ('{"alive": true, "uptime": 5}', False),
        ('{"status": "ok"}', False),
        ("[1]", False),
        ("<html>Apache2 Default Page</html>", False),
        (None, False),  # not even HTTP
    ],
)
async def test_a_strangers_page_is_not_taken_for_the_services(running: Path, answer: str | None, ours: bool) -> None:
    async def stranger(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = "220 smtp ready\r\n" if answer is None else f"HTTP/1.1 200 OK\r\nContent-Length: {len(answer)}\r\n\r\n{answer}"
        writer.write(head.encode())
        writer.close()

    async with await asyncio.start_server(stranger, "127.0.0.1", 0) as server:
        at = server.sockets[0].getsockname()[1]
        said = await looked(running, at)
    assert said.level == ("ok" if ours else "fail")
    assert said.says.startswith("another program answers at http://127.0.0.1:") is not ours
    assert ("another port" in said.remedy) is not ours


async def test_a_service_whose_port_nobody_opened_is_named(running: Path) -> None:
    said = await looked(running, free_port())
    assert (said.level, "nothing answers at" in said.says) == ("fail", True)
