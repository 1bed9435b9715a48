"""What happens to a connection when the network between misbehaves?

A TCP proxy in front of a server (an address, or the path of a Unix socket) with faults to switch on and off. In front of
PostgreSQL it also knows where messages end (`Cut`), and so can cut a conversation at any of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from dataclasses import dataclass, field
from typing import Literal, Self

Direction = Literal["up", "down"]


@dataclass(frozen=True, slots=True)
class Faults:
    """What is wrong with the network. Nothing, by default.

    `hang`: nothing passes any more, on old connections and on new ones, until this ends.
    `reset`: a new connection is answered with RST. `latency_s` ± `jitter_s` is added to each chunk.
    `rate`: bytes a second at most. `reset_after`, `close_after`: the connection is cut after so many bytes
    of one direction. `corrupt`: the probability that a chunk has a byte inverted. `direction`: None is both.
    """

    hang: bool = False
    reset: bool = False
    latency_s: float = 0.0
    jitter_s: float = 0.0
    rate: int | None = None
    reset_after: int | None = None
    close_after: int | None = None
    corrupt: float = 0.0
    direction: Direction | None = None

    def cut(self) -> int | None:
        limits = [limit for limit in (self.reset_after, self.close_after) if limit is not None]
        return min(limits) if limits else None


NONE = Faults()


@dataclass(slots=True)
class Cut:
    """A plan to cut all connections once: after `after` messages of PostgreSQL's, both directions and all connections together.

    The last of them passes, or only half of it (`half`). Then connections are reset and, with `away`, new ones refused until
    the proxy listens again. `hang`: nothing is reset, but nothing passes any more. `seen` counts from the plan on; `last`
    says which message it was, `sent` or `answered`: what a server did not get it cannot have done, what it answered it has.
    """

    after: int
    half: bool = False
    away: bool = False
    hang: bool = False
    seen: int = 0
    last: str = ""
    done: asyncio.Event = field(default_factory=asyncio.Event)
    kinds: list[str] = field(default_factory=list)


_TLS = (80877103).to_bytes(4, "big")


class _Messages:
    """Splits one direction of a conversation with PostgreSQL into messages; the first one of a client has no type."""

    def __init__(self, direction: Direction) -> None:
        self._direction = direction
        self._untyped = direction == "up"
        self._first = True
        self._rest = b""
        self.begun = 0  # bytes of the first message of the last split that came earlier, and passed

    def split(self, chunk: bytes) -> list[tuple[str, bytes]]:
        """(type, whole message) of all that are complete now."""
        self.begun = len(self._rest)
        data, found = self._rest + chunk, []
        if self._first and data and self._direction == "down":
            self._first = False
            if data[:1] == b"N":  # no TLS: one byte, no message
                found.append(("answered no TLS", data[:1]))
                data = data[1:]
        while True:
            head = 0 if self._untyped else 1
            if len(data) < head + 4:
                break
            size = head + int.from_bytes(data[head : head + 4], "big")
            if len(data) < size:
                break
            kind = "start" if self._untyped else chr(data[0])
            found.append((f"{'sent' if self._direction == 'up' else 'answered'} {kind}", data[:size]))
            self._untyped = self._untyped and data[4:8] == _TLS  # then the real first message follows
            data = data[size:]
        self._rest = data
        return found


class FaultProxy:
    """`async with FaultProxy(("127.0.0.1", 5432)) as proxy:` listens on `proxy.port` of the loopback."""

    def __init__(self, upstream: tuple[str, int] | str, *, seed: int = 0) -> None:
        self.port = 0
        self.accepted = 0
        self.passed: dict[Direction, int] = {"up": 0, "down": 0}
        self._upstream = upstream
        self._random = random.Random(seed)
        self._faults = NONE
        self.cut: Cut | None = None
        self._open = asyncio.Event()
        self._open.set()
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def faults(self) -> Faults:
        return self._faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        self._faults = faults
        if faults.hang:
            self._open.clear()
        else:
            self._open.set()

    async def __aenter__(self) -> Self:
        await self.listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.refuse()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def listen(self) -> None:
        """Accepts connections (again), on the same port."""
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    def refuse(self) -> None:
        """As if the server had died: open connections are reset, new ones refused."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.reset_all()

    def reset_all(self) -> None:
        for client in list(self._clients):
            _reset(client)

    def _until_cut(self, complete: list[tuple[str, bytes]], begun: int, chunk: bytes) -> bytes | None:
        """What of a chunk still passes when the cut falls into it; None: it does not."""
        cut = self.cut
        if cut is None or cut.done.is_set():
            return None
        passed = -begun  # only what is in this chunk can be held back
        for kind, message in complete:
            cut.seen += 1
            cut.kinds.append(kind)
            if cut.seen >= cut.after:
                cut.last = kind
                cut.done.set()
                return chunk[: max(0, passed + (len(message) // 2 if cut.half else len(message)))]
            passed += len(message)
        return None

    def _cut_now(self) -> None:
        assert self.cut is not None
        if self.cut.hang:
            self.faults = Faults(hang=True)
        elif self.cut.away:
            self.refuse()
        else:
            self.reset_all()

    async def _accept(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        self.accepted += 1
        self._clients.add(client)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        server: asyncio.StreamWriter | None = None
        try:
            if self._faults.reset:
                _reset(client)
                return
            await self._open.wait()
            if isinstance(self._upstream, str):
                answers, server = await asyncio.open_unix_connection(self._upstream)
            else:
                answers, server = await asyncio.open_connection(*self._upstream)
            await asyncio.gather(self._pump("up", reader, server, client), self._pump("down", answers, client, client))
        except OSError:
            _reset(client)
        except asyncio.CancelledError:
            pass  # Python 3.11 would log a cancelled handler as an error
        finally:
            self._clients.discard(client)
            for writer in (client, server):
                if writer is not None:
                    writer.close()

    async def _pump(
        self,
        direction: Direction,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        client: asyncio.StreamWriter,
    ) -> None:
        seen = 0
        messages = _Messages(direction)
        with contextlib.suppress(OSError):
            while chunk := await reader.read(65536):
                await self._open.wait()
                if (whole := self._until_cut(messages.split(chunk), messages.begun, chunk)) is not None:
                    writer.write(whole)
                    await writer.drain()
                    self._cut_now()
                    await self._open.wait()
                    _reset(client)  # what was held back is gone
                    break
                faults = self._faults if self._faults.direction in (None, direction) else NONE
                if faults.latency_s:
                    wobble = self._random.uniform(-1, 1) * faults.jitter_s
                    await asyncio.sleep(max(0.0, faults.latency_s + wobble))
                if self._random.random() < faults.corrupt:
                    at = self._random.randrange(len(chunk))
                    chunk = chunk[:at] + bytes([chunk[at] ^ 0xFF]) + chunk[at + 1 :]
                limit = faults.cut()
                if limit is not None and seen + len(chunk) >= limit:
                    writer.write(chunk[: max(0, limit - seen)])
                    await writer.drain()
                    if faults.reset_after is not None:
                        _reset(client)
                    writer.close()
                    return
                if faults.rate is not None:
                    await asyncio.sleep(len(chunk) / faults.rate)
                writer.write(chunk)
                await writer.drain()
                seen += len(chunk)
                self.passed[direction] += len(chunk)
        with contextlib.suppress(OSError, RuntimeError):
            writer.write_eof()


def _reset(writer: asyncio.StreamWriter) -> None:
    """RST instead of FIN: what a crashed host or an impatient firewall sends."""
    connection = writer.get_extra_info("socket")
    if connection is not None:
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
