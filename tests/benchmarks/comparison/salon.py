"""What does a salon serve, how often, and what does it hold afterwards? The simulator in a process of its own.

    python salon.py '{"clients": 1000, "visits": 12000, "latency": 0.25, …}'

Options are those of `ycsync.simulator.Options`, and `warm`: every row is encoded before the first request, so that the
simulator takes as little of the processor as it can while another program is measured. `days`: how long the salon's past is.
Its first line of output is its address. Each line of input is a command, each answered by a line of JSON:
`report` counts since the last `forget`, which starts the counts anew; `served PATH` writes which rows went out since then;
`snapshot PATH` writes which rows there are and when they changed; `still`: nothing changes any more.
"""

from __future__ import annotations

import asyncio
import json
import sys
from array import array
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from ycsync.simulator import Options, Simulator, salon, world

MANY = 1 << 40


def counted(served: dict[str, array[int]]) -> None:
    """Note the id of every row that goes out."""

    def noting(kind: str, before: Callable[..., bytes]) -> Callable[..., bytes]:
        def encoded(self: salon.Salon, row_id: int, **form: bool) -> bytes:
            served[kind].append(row_id)
            return before(self, row_id, **form)

        return encoded

    for kind in served:
        name = f"encoded_{kind}"
        setattr(salon.Salon, name, noting(kind, getattr(salon.Salon, name)))


def snapshot(simulator: Simulator, path: Path) -> None:
    """One line a row: kind, id, last change (Unix seconds)."""
    with path.open("w", encoding="ascii") as file:
        for one in simulator.world.salons.values():
            for client_id in one.client_ids():
                file.write(f"client {client_id} {one._clients[client_id].changed}\n")
            for record_id, record in one._records.items():
                file.write(f"record {record_id} {record.changed}\n")


def report(simulator: Simulator, served: dict[str, array[int]]) -> dict[str, Any]:
    """What the server saw."""
    seen = simulator.report()
    return {
        "requests": seen.requests,
        "max_1s": seen.max_1s,
        "max_60s": seen.max_60s,
        "refused": seen.answers.get("429", 0),
        "endpoints": dict(seen.endpoints),
        "seconds": seen.seconds,
        "rows": sum(len(ids) for ids in served.values()),
    }


async def main(asked: dict[str, Any]) -> None:
    warm, days = asked.pop("warm", False), asked.pop("days", None)
    if days:
        world._PAST_DAYS = days
    salon._CACHED_ROWS = MANY
    # The other tools page without dates: a server that makes a narrow window of that would cost them all of the history.
    simulator = Simulator(Options(**{"undated": "all", **asked}))
    if warm:
        for one in simulator.world.salons.values():
            for client_id in one.client_ids():
                one.encoded_client(client_id)
            for record_id in one._records:
                one.encoded_record(record_id, finance=True, consumables=False)
    served = {"client": array("q"), "record": array("q")}
    counted(served)
    loop = asyncio.get_running_loop()
    async with simulator:
        print(simulator.url, flush=True)
        while line := (await loop.run_in_executor(None, sys.stdin.readline)).split():
            answer: dict[str, Any] = {}
            if line[0] == "report":
                answer = report(simulator, served)
            elif line[0] == "snapshot":
                snapshot(simulator, Path(line[1]))
            elif line[0] == "served":
                rows = [f"{kind} {row_id}\n" for kind, ids in served.items() for row_id in sorted(set(ids))]
                Path(line[1]).write_text("".join(rows), "ascii")
            elif line[0] == "still":
                simulator.options = replace(simulator.options, churn=0)
            elif line[0] == "forget":
                simulator.forget()
                for ids in served.values():
                    del ids[:]
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
