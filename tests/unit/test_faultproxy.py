"""Does the proxy that other tests rely on do the harm it says, and no other?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from faultproxy import NONE, Cut, FaultProxy, Faults
from support.patience import SAFETY_S


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1024):
        writer.write(data)
    writer.close()


@pytest.fixture
async def proxy() -> AsyncIterator[FaultProxy]:
    server = await asyncio.start_server(_echo, "127.0.0.1", 0)
    async with FaultProxy(server.sockets[0].getsockname()) as proxy:
        yield proxy
    server.close()


async def _say(proxy: FaultProxy, text: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    try:
        writer.write(text)
        writer.write_eof()
        return await reader.read()
    finally:
        writer.close()


async def test_without_faults_everything_passes(proxy: FaultProxy) -> None:
    assert await _say(proxy, b"hello") == b"hello"
    assert proxy.passed == {"up": 5, "down": 5}


async def test_a_cut_lets_so_many_bytes_through(proxy: FaultProxy) -> None:
    proxy.faults = Faults(close_after=3, direction="down")
    assert await _say(proxy, b"hello") == b"hel"


async def test_a_reset_is_felt_as_one(proxy: FaultProxy) -> None:
    proxy.faults = Faults(reset_after=1, direction="up")
    with pytest.raises(ConnectionResetError):
        await _say(proxy, b"hello")


async def test_corruption_inverts_one_byte(proxy: FaultProxy) -> None:
    proxy.faults = Faults(corrupt=1.0, direction="up")
    said = await _say(proxy, b"hello")
    assert sum(a != b for a, b in zip(said, b"hello", strict=True)) == 1


async def test_a_hang_ends_when_it_is_lifted(proxy: FaultProxy) -> None:
    proxy.faults = Faults(hang=True)
    saying = asyncio.create_task(_say(proxy, b"hello"))
    done, _ = await asyncio.wait([saying], timeout=0.05)
    assert not done
    proxy.faults = NONE
    assert await saying == b"hello"


async def test_a_refused_connection_comes_back_on_the_same_port(proxy: FaultProxy) -> None:
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        await _say(proxy, b"hello")
    await proxy.listen()
    assert await _say(proxy, b"again") == b"again"


def _message(kind: str, body: bytes) -> bytes:
    return kind.encode() + (len(body) + 4).to_bytes(4, "big") + body


START = (8).to_bytes(4, "big") + b"beg!"
QUERY = _message("Q", b"select 1")
SYNC = _message("S", b"")


async def _talk(proxy: FaultProxy, *pieces: bytes) -> bytes:
    """Say the pieces one by one, and return what came back before the end, however it came."""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    came = b""
    try:
        for piece in pieces:
            writer.write(piece)
            came += await reader.read(1024)
        writer.write_eof()
        return came + await reader.read()
    except OSError:
        return came
    finally:
        writer.close()


async def test_a_conversation_is_cut_after_so_many_messages(proxy: FaultProxy) -> None:
    proxy.cut = Cut(2)
    # What the echo sends back has no untyped first message: it is read as one long message and never complete.
    await _talk(proxy, START + QUERY[:5], QUERY[5:] + SYNC, SYNC)
    assert (proxy.cut.seen, proxy.cut.last) == (2, "sent Q")
    assert proxy.cut.kinds == ["sent start", "sent Q"]
    assert await _say(proxy, b"hello") == b"hello", "one cut only"


async def test_half_a_message_may_pass(proxy: FaultProxy) -> None:
    got: list[bytes] = []
    done = asyncio.Event()

    async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.append(await reader.read())
        writer.close()
        done.set()

    server = await asyncio.start_server(keep, "127.0.0.1", 0)
    async with FaultProxy(server.sockets[0].getsockname()) as proxy:
        proxy.cut = Cut(2, half=True)
        await _talk(proxy, START + QUERY + SYNC)
        await asyncio.wait_for(done.wait(), SAFETY_S)
    server.close()
    assert got == [START + QUERY[: len(QUERY) // 2]]


async def test_a_server_may_stay_away_after_the_cut(proxy: FaultProxy) -> None:
    proxy.cut = Cut(1, away=True)
    await _talk(proxy, START)
    with pytest.raises(ConnectionRefusedError):
        await _say(proxy, b"hello")
    await proxy.listen()
    assert await _say(proxy, b"hello") == b"hello"
