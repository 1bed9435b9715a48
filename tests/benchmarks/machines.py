"""What do one, two and three machines with addresses of their own bring, and how soon is a lost one replaced?

    python tests/benchmarks/machines.py [--minutes 2] [--machines 1 2 3] [--skip-loss]

Real services in network namespaces (root), the API's real limits (200 a minute, 5 a second, for each address), 100 ms an
answer, pages of 100 visits so that work is always waiting. All runs go on at once, each with a simulated YCLIENTS and a
database of its own. After that two machines lose one: killed, and with its cable pulled; nothing is scaled down, so that
takes half a minute and more. It writes a table to standard output.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.network import Hub, Machine
from support.scene import Scene, open_scene

PER_MINUTE = 200
TABLE = "{:<12} {:>9} {:>12} {:>22} {:>11} {:>12}"


def shares(scene: Scene, since: float, until: float) -> Counter[str]:
    """Requests of each address that arrived in this time."""
    return Counter(seen.address for seen in scene.sim.log if since <= seen.arrival < until)


async def rate(scene: Scene, machines: int, seconds: float) -> None:
    """So many machines with work waiting; the first minute is left out, and whole ones are counted: a budget is a minute's."""
    await asyncio.gather(*(scene.serve(scene.machine(f"e{number}")) for number in range(machines)))
    await asyncio.sleep(60)
    begun = time.monotonic()
    await asyncio.sleep(seconds)
    found = shares(scene, begun, time.monotonic())
    total, most, least = sum(found.values()), max(found.values()), min(found.values())
    report = scene.sim.report()
    each = f"{least / total:.1%} to {most / total:.1%}" if machines > 1 else "100%"
    densest = [max(getattr(one, name) for one in report.addresses.values()) for name in ("max_1s", "max_60s")]
    used = total / seconds * 60 / machines / PER_MINUTE
    line = TABLE.format(f"{machines} machines", f"{total / seconds * 60:.0f}", f"{used:.1%}", each, *densest)
    print(line, *scene.too_dense(), flush=True)


async def loss(scene: Scene, how: str) -> None:
    """Of two machines one is lost: how long until all of what it held is another's?"""
    lost, left = scene.machine("a"), scene.machine("b")
    service, _ = await asyncio.gather(scene.serve(lost), scene.serve(left))
    await asyncio.sleep(15)
    gone = await scene.workers(lost)
    if how == "killed":
        service.signal(signal.SIGKILL)
    else:
        lost.unplug()
    begun = time.monotonic()
    held = await scene.value("select count(*) from yclients.sync_status where claimed_by = any($1)", gone)
    await scene.until("select not exists (select from yclients.sync_status where claimed_by = any($1))", gone, within_s=300)
    free_s = time.monotonic() - begun
    await scene.until(
        "select exists (select from public.taken t join public.taken g using (company, stream) "
        "where g.worker = any($1) and t.worker <> all($1) and t.at > g.at)", gone, within_s=300,
    )  # fmt: skip
    again_s = time.monotonic() - begun
    line = f"{how:<12} held {held} streams; free after {free_s:.1f} s, the first was begun by the other after {again_s:.1f} s"
    if how != "killed":
        line += f"; {await back(scene, lost)}"
    print(line, flush=True)


async def back(scene: Scene, machine: Machine) -> str:
    """The cable is in again: how long until it finishes a batch under a new number?"""
    machine.plug()
    begun = time.monotonic()
    (known,) = await scene.returned(next(one for one in scene.services if one.machine is machine))
    ended = "select exists (select from yclients.sync_batches where worker_id = $1 and outcome in ('more', 'proved'))"
    await scene.until(ended, known, within_s=300)
    too_dense = scene.too_dense()
    return f"back at work {time.monotonic() - begun:.1f} s after the cable was in; {too_dense or 'limits kept'}"


async def main(seconds: float, machines: Sequence[int], *, skip_loss: bool) -> None:
    with Hub() as hub, tempfile.TemporaryDirectory() as folder:
        print(TABLE.format("", "a minute", "of budgets", "share of each", "most in 1 s", "most in 60 s"))
        scenes = []
        try:
            async with asyncio.TaskGroup() as group:
                for number in machines:
                    scenes.append(await open_scene(f"rate{number}", hub, Path(folder), 1, per_minute=PER_MINUTE, salons=12,
                                                   clients=1500, visits=9000))  # fmt: skip
                    group.create_task(rate(scenes[-1], number, seconds))
            for scene in scenes:
                await scene.end()
            scenes = []
            if not skip_loss:
                async with asyncio.TaskGroup() as group:
                    for how in ("killed", "unplugged"):
                        scenes.append(await open_scene(how, hub, Path(folder), 1, per_minute=PER_MINUTE, salons=8, clients=900,
                                                       visits=6000))  # fmt: skip
                        group.create_task(loss(scenes[-1], how))
        finally:
            for scene in scenes:
                await scene.end()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=int, default=2)
    parser.add_argument("--machines", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--skip-loss", action="store_true")
    given = parser.parse_args()
    asyncio.run(main(60.0 * given.minutes, given.machines, skip_loss=given.skip_loss))
