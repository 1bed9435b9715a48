"""Webhooks as their user meets them: installed by a command, heard by the service, kept over a kill -9, the secret nowhere."""

from __future__ import annotations

import asyncio
import json

import aiohttp
import pytest

from support.patience import SAFETY_S
from support.place import Place
from ycsync.simulator import Options

SECRET = "a-secret-of-the-acceptance-test"
OTHERS = [f"https://other.example/{number}" for number in range(9)]


@pytest.fixture
def options() -> Options:
    return Options(clients=40, visits=80, hook_delay=0.2)


async def test_a_salon_tells_what_changes_from_the_command_on_and_a_kill_loses_nothing(place: Place) -> None:
    text = place.config.read_text("utf-8").replace("clients: 1s, records: 1s", "clients: 5m, records: 5m")
    place.config.write_text(f"{text}hooks: {{url: 'http://127.0.0.1:{place.port}'}}\n", "utf-8")
    place.environ["YCSYNC_HOOK_SECRET"] = SECRET
    salon = place.simulator.world.salons[4001]
    salon.hooks = {"urls": [*OTHERS[:4], f"http://127.0.0.1:{place.port}/hooks/older", *OTHERS[4:]], "active": 0, "good": "1"}
    service = await place.start("run")
    await place.until_log("stream=records")

    # Nobody else loses an address, and an older one of ours is replaced.
    installed = await place.run("hooks", "install")
    assert installed.code == 0, installed.out + installed.err
    ours = f"http://127.0.0.1:{place.port}/hooks/{SECRET}"
    assert salon.hooks["urls"] == [*OTHERS[:4], ours, *OTHERS[4:]]
    assert salon.hooks["self_sending"] == 1
    assert (salon.hooks["active"], salon.hooks["client"], salon.hooks["record"], salon.hooks["good"]) == (1, 1, 1, "1")
    shown = await place.run("hooks", "show", "--json")
    assert shown.code == 0
    (told,) = json.loads(shown.out)["salons"]
    assert (told["installed"], told["active"], told["others"], told["off"], told["silent_s"]) == (True, True, 9, [], None)

    # Heard.
    client, other, *_ = salon.clients
    salon.change_client(client, comment="new words")
    await _until(place, f"select comment from yclients.clients where id = {client}", "new words")
    assert "the last one came " in (await place.run("hooks", "show")).out

    # Heard, answered, not yet fetched, and killed.
    place.simulator.gate.clear()
    salon.change_client(other, comment="other words")
    record = salon.add_record(client_id=other)
    kept = "(select count(*) from yclients.hooks) + (select count(*) from yclients.sync_status where nudged_at is not null)"
    await _until(place, f"select {kept}", 2)  # as a hint, or as a delta that is due for it
    service.kill()
    await service.wait()
    place.simulator.gate.set()
    await place.start("run", log="log2")
    await _until(place, f"select comment from yclients.clients where id = {other}", "other words")
    await _until(place, f"select count(*) from yclients.records where id = {record}", 1)
    await _until(place, "select count(*) from yclients.hooks", 0)

    # The salon takes the application out: held, and said so, until it is named.
    async with aiohttp.ClientSession() as session:
        body = {"salon_id": "4001", "application_id": 1, "event": "uninstall", "partner_token": "never-kept-anywhere"}
        async with session.post(ours, json=body) as answer:
            assert answer.status == 200
        async with session.get(f"http://127.0.0.1:{place.port}/metrics") as answer:
            measured = await answer.text()
    _, status = await place.get("/api/status")
    assert (await place.run("resume", "--company", "4001")).code == 0

    removed = await place.run("hooks", "remove")
    assert (removed.code, salon.hooks["urls"]) == (0, OTHERS), removed.out

    # Nothing of all this says the secret, or a token.
    everything = [installed.out, shown.out, str(status), removed.out, place.log(), place.log("log2"), measured]
    stored = [str(await place.fetchval(f"select json_agg(t) from yclients.{one} t")) for one in ("hooks", "pauses", "workers")]
    for secret in (SECRET, "never-kept-anywhere", "new words"):
        assert not any(secret in each for each in (*everything, *stored))
    assert place.simulator.report().answers.keys() <= {"200", "201", "left"}


async def _until(place: Place, query: str, wanted: object) -> None:
    async with asyncio.timeout(SAFETY_S):
        while await place.fetchval(query) != wanted:
            await asyncio.sleep(0.05)
