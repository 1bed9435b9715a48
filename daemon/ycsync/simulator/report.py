"""What did the simulator see: how many requests, how dense, and how were they answered?"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil


@dataclass(slots=True)
class Seen:
    """One request. `arrival` is on the monotonic clock; `status` 0 and kind "pending" until it is answered.

    `kind` is the status as text, or the fault's name where the status alone does not tell
    ("429-in-200", "cut", "hang", …), or "left" when the client went away first.
    """

    arrival: float
    method: str
    path: str
    query: str
    body: str
    endpoint: str = "unknown"
    status: int = 0
    kind: str = "pending"
    address: str = ""  # of the client


@dataclass(frozen=True, slots=True)
class Traffic:
    """What came from one address; `max_1s` and `max_60s` as in the report."""

    requests: int
    max_1s: int
    max_60s: int


@dataclass(frozen=True, slots=True)
class Report:
    """`max_1s` and `max_60s`: the most arrivals in any window of that length, refused requests included.

    `repeats` counts requests equal to an earlier one in method, path, query and body; `seconds` is from the
    first arrival to the last. `addresses`: the same figures for each client's address, by which the limit counts.
    `others`, `others_refused`: requests of the simulated other clients, which are in no other figure.
    """

    requests: int
    max_1s: int
    max_60s: int
    answers: Mapping[str, int]
    endpoints: Mapping[str, int]
    repeats: int
    seconds: float
    addresses: Mapping[str, Traffic] = field(default_factory=dict)
    others: int = 0
    others_refused: int = 0


class Window:
    """Counts events in a sliding window (now - length, now]."""

    def __init__(self, length: float) -> None:
        self.length = length
        self.most = 0
        self._times: deque[float] = deque()

    def count(self, now: float) -> int:
        while self._times and self._times[0] <= now - self.length:
            self._times.popleft()
        return len(self._times)

    def add(self, now: float) -> None:
        count = self.count(now) + 1
        self._times.append(now)
        self.most = max(self.most, count)

    def wait(self, now: float, allowed: int) -> float:
        """Seconds until fewer than `allowed` events are in the window."""
        count = self.count(now)
        if count < allowed:
            return 0.0
        return self._times[count - allowed] + self.length - now


class FixedWindow:
    """Counts events in windows that begin with the first event after the one before has ended."""

    def __init__(self, length: float) -> None:
        self.length = length
        self._begun = float("-inf")
        self._count = 0

    def count(self, now: float) -> int:
        return self._count if now < self._begun + self.length else 0

    def add(self, now: float) -> None:
        if now >= self._begun + self.length:
            self._begun, self._count = now, 0
        self._count += 1

    def wait(self, now: float, allowed: int) -> float:
        """Seconds until the window ends, if it is full."""
        return 0.0 if self.count(now) < allowed else self._begun + self.length - now


@dataclass(slots=True)
class _Account:
    """The windows of one address or token, and when its other clients send next."""

    second: Window
    minute: Window | FixedWindow
    others_at: float


class Budget:
    """The server's limit for each key: an address, or a partner token.

    Only accepted requests use it up: a refused one does not prolong the refusal. `others`: requests a minute that other
    clients of each key send, evenly, since a minute before its first request. `others_log`: when, and whether accepted.
    """

    def __init__(self, per_second: int, per_minute: int, *, fixed: bool = False, others: int = 0) -> None:
        self._per_second, self._per_minute = per_second, per_minute
        self._fixed = fixed
        self._others = others
        self._accounts: dict[str, _Account] = {}
        self.others_log: deque[tuple[float, bool]] = deque(maxlen=200_000)

    def take(self, now: float, key: str = "") -> float:
        """0.0: accepted. Otherwise seconds until a request would be accepted, and nothing is used up."""
        account = self._accounts.get(key)
        if account is None:
            minute = FixedWindow(60.0) if self._fixed else Window(60.0)
            account = self._accounts[key] = _Account(Window(1.0), minute, now - 60.0)
        while self._others and account.others_at <= now:
            self.others_log.append((account.others_at, self._take(account, account.others_at) <= 0.0))
            account.others_at += 60.0 / self._others
        return self._take(account, now)

    def _take(self, account: _Account, now: float) -> float:
        pairs = ((account.second, self._per_second), (account.minute, self._per_minute))
        wait = max((window.wait(now, limit) for window, limit in pairs if limit), default=0.0)
        if wait <= 0.0:
            account.second.add(now)
            account.minute.add(now)
            return 0.0
        return wait

    def headers(self, now: float, key: str = "") -> dict[str, str]:
        """What the answer to a request of `now` says of the minute: `Reset` in seconds until the first place is free again."""
        account = self._accounts.get(key)
        if account is None or not self._per_minute:
            return {}
        used = account.minute.count(now)
        return {
            "X-RateLimit-Limit": str(self._per_minute),
            "X-RateLimit-Remaining": str(max(0, self._per_minute - used)),
            "X-RateLimit-Reset": str(ceil(account.minute.wait(now, max(1, used)))),
        }


class Meter:
    """Counts arrivals (accepted or refused) and answers."""

    def __init__(self, log_size: int = 200_000) -> None:
        self.log: deque[Seen] = deque(maxlen=log_size)
        self._second, self._minute = Window(1.0), Window(60.0)
        self._by_address: dict[str, tuple[Window, Window]] = {}
        self._of_address: Counter[str] = Counter()
        self._requests = self._repeats = 0
        self._first = self._last = 0.0
        self._answers: Counter[str] = Counter()
        self._endpoints: Counter[str] = Counter()
        self._known: set[int] = set()

    def arrive(self, seen: Seen) -> None:
        if not self._requests:
            self._first = seen.arrival
        self._last = seen.arrival
        self._requests += 1
        self._second.add(seen.arrival)
        self._minute.add(seen.arrival)
        self._of_address[seen.address] += 1
        for window in self._by_address.setdefault(seen.address, (Window(1.0), Window(60.0))):
            window.add(seen.arrival)
        self.log.append(seen)

    def recognise(self, seen: Seen) -> None:
        """To be called once the body and the endpoint are known."""
        self._endpoints[seen.endpoint] += 1
        key = hash((seen.method, seen.path, seen.query, seen.body))
        if key in self._known:
            self._repeats += 1
        self._known.add(key)

    def answer(self, seen: Seen, status: int, kind: str) -> None:
        seen.status, seen.kind = status, kind
        self._answers[kind] += 1

    def report(self) -> Report:
        return Report(
            requests=self._requests,
            max_1s=self._second.most,
            max_60s=self._minute.most,
            answers=dict(self._answers.most_common()),
            endpoints=dict(self._endpoints.most_common()),
            repeats=self._repeats,
            seconds=self._last - self._first,
            addresses={
                address: Traffic(self._of_address[address], second.most, minute.most)
                for address, (second, minute) in self._by_address.items()
            },
        )


def format_report(report: Report) -> str:
    """A few lines for a person."""
    answers = ", ".join(f"{kind}: {count}" for kind, count in report.answers.items()) or "none"
    endpoints = ", ".join(f"{name}: {count}" for name, count in report.endpoints.items()) or "none"
    several = report.addresses.items() if len(report.addresses) > 1 else ()
    return "\n".join(
        (
            f"requests   {report.requests} in {report.seconds:.1f} s, {report.repeats} of them repeated",
            f"densest    {report.max_1s} in 1 s, {report.max_60s} in 60 s",
            *(
                f"from       {name}: {one.requests}, densest {one.max_1s} in 1 s, {one.max_60s} in 60 s"
                for name, one in several
            ),
            *((f"others     {report.others}, {report.others_refused} of them refused",) if report.others else ()),
            f"answers    {answers}",
            f"endpoints  {endpoints}",
        )
    )
