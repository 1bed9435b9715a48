"""What did the simulator see: how many requests, how dense, and how were they answered?"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field


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
    """

    requests: int
    max_1s: int
    max_60s: int
    answers: Mapping[str, int]
    endpoints: Mapping[str, int]
    repeats: int
    seconds: float
    addresses: Mapping[str, Traffic] = field(default_factory=dict)


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


class Budget:
    """The server's limit for each address. Only accepted requests use it up: a refused one does not prolong the refusal."""

    def __init__(self, per_second: int, per_minute: int) -> None:
        self._limits = tuple((limit, length) for limit, length in ((per_second, 1.0), (per_minute, 60.0)) if limit)
        self._windows: dict[str, tuple[Window, ...]] = {}

    def take(self, now: float, address: str = "") -> float:
        """0.0: accepted. Otherwise seconds until a request would be accepted, and nothing is used up."""
        windows = self._windows.setdefault(address, tuple(Window(length) for _, length in self._limits))
        wait = max((window.wait(now, limit) for (limit, _), window in zip(self._limits, windows, strict=True)), default=0.0)
        if wait <= 0.0:
            for window in windows:
                window.add(now)
            return 0.0
        return wait


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
            f"answers    {answers}",
            f"endpoints  {endpoints}",
        )
    )
