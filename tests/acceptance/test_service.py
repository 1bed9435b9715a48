"""The service as its user meets it: start, work, reload, stop, die and come back."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
from pathlib import Path

import aiohttp
import asyncpg
import pytest

from support.patience import SAFETY_S, Stopwatch
from support.place import Place
from ycsync.simulator import Options


async def test_a_started_service_fills_the_salon_and_says_that_it_is_ready(place: Place) -> None:
    await place.start("run")
    await place.until_log("stream=records")
    await place.until_log("service.ready")
    async with asyncio.timeout(SAFETY_S):
        while (await place.get("/readyz"))[0] != 200:
            await asyncio.sleep(0.1)
    salon = place.simulator.world.salons[4001]
    assert await place.fetchval("select count(*) from yclients.records") == len(salon.records)
    assert await place.fetchval("select count(*) from yclients.clients") == len(salon.clients)
    assert (await place.get("/healthz"))[0] == 200
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{place.port}/metrics") as response:
        measured = (await response.text()).splitlines()
    assert "ycsync_ready 1.0" in measured
    counted = [line for line in measured if line.startswith("ycsync_requests_total") and 'outcome="ok"' in line]
    assert sum(float(line.rpartition(" ")[2]) for line in counted) >= len(salon.clients) / 300
    assert place.simulator.report().answers == {"200": place.simulator.report().requests}


@pytest.mark.empty
async def test_systemd_waits_for_a_start_that_migrates_and_for_no_other(place: Place, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(60)
        for migrates in (True, False):
            service = await place.start("run", NOTIFY_SOCKET=str(tmp_path / "notify"))
            heard: list[bytes] = []
            while not any(one.startswith(b"READY=1") for one in heard):
                heard.append(await asyncio.to_thread(listener.recv, 4096))
            assert any(one.startswith(b"EXTEND_TIMEOUT_USEC=3600") for one in heard) == migrates, heard
            service.terminate()
            await service.wait()


async def test_others_that_use_the_limit_are_told_once_and_everywhere(place: Place) -> None:
    await place.start("run")
    await place.until_log("limit.shared")
    (told,) = re.findall(r"limit\.shared .*egress=test-\d+ others=(\d+) leaves=(\d+)", place.log())
    assert 3 <= int(told[0]) <= 61
    assert int(told[1]) == 200 - int(told[0]) - 2
    said = (await place.run("status")).out
    assert re.search(r"^SHARED    others send about \d+ requests a minute out of this limit", said, re.MULTILINE)
    assert "of 200 requests a minute, says YCLIENTS" in said
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{place.port}/metrics") as response:
        measured = await response.text()
    assert re.search(r"^ycsync_limit_others_requests [1-9]", measured, re.MULTILINE)
    assert re.search(r"^ycsync_limit_server_requests 200", measured, re.MULTILINE)
    assert "ycsync_limit_server_remaining_requests " in measured
    assert place.log().count("limit.shared") == 1


async def test_a_change_in_the_salon_is_in_the_database_within_a_cycle(place: Place) -> None:
    assert (await place.run("sync")).code == 0
    await place.start("run")
    await place.until_log("service.ready")
    salon = place.simulator.world.salons[4001]
    client = next(iter(salon.clients))
    before = await place.fetchval("select coalesce(max(id), 0) from yclients.sync_batches")
    salon.change_client(client, comment="new words")
    async with asyncio.timeout(SAFETY_S):
        while await place.fetchval(f"select comment from yclients.clients where id = {client}") != "new words":
            await asyncio.sleep(0.02)
    cycles = await place.fetchval(
        f"select count(*) from yclients.sync_batches where id > {before} and stream = 'clients' "
        f"and started_at <= (select observed_at from yclients.clients where id = {client})"
    )
    assert cycles in (1, 2), "one may have been under way"


async def test_a_good_reload_is_live_and_a_bad_one_changes_nothing(place: Place) -> None:
    await place.start("run")
    await place.until_log("service.ready")
    text = place.config.read_text()
    place.config.write_text(text.replace("preset: test", "preset: other"))
    good = await place.run("reload")
    assert good.code == 0, good.err
    assert "config.reloaded" in place.log()
    place.config.write_text(text.replace("preset: test", "preset: none_such"))
    bad = await place.run("reload")
    assert bad.code == 2
    assert "line 1" in bad.err
    assert "none_such" in bad.err
    service = place.processes[0]
    service.send_signal(signal.SIGHUP)
    await place.until_log("config.rejected")
    assert service.returncode is None
    status, body = await place.get("/api/status")
    assert status == 200
    assert isinstance(body, dict)
    assert body["preset"] == "other"


async def test_preset_use_edits_the_file_and_reloads_the_service(place: Place) -> None:
    await place.start("run")
    await place.until_log("service.ready")
    done = await place.run("preset", "use", "other")
    assert done.code == 0, done.err
    assert place.config.read_text().startswith("preset: other\n")
    await place.until_log("config.reloaded")


async def test_a_command_asks_the_running_service_and_follows_it(place: Place) -> None:
    await place.start("run")
    await place.until_log("service.ready")
    done = await place.run("sync", "staff", "clients")
    assert done.code == 0, done.err
    assert "by the service" in done.out


async def test_a_broken_file_does_not_keep_anybody_from_stopping_the_requests(place: Place) -> None:
    url = place.environ.pop("YCSYNC_DATABASE_URL")
    place.config.write_text(f"{place.config.read_text()}database: {{url: '{url}'}}\n")
    await place.start("run")
    await place.until_log("service.ready")
    for broken in ("yclients: {per_minute: many}\n", "preset: [\n"):
        place.config.write_text(broken)
        assert (await place.run("reload")).code == 2
        paused = await place.run("pause")
        assert paused.code == 0, paused.err
        assert "line " in paused.err
        assert await place.fetchval("select count(*) from yclients.pauses") == 1
        assert "PAUSED" in (await place.run("status")).out
        assert (await place.run("resume")).code == 0


async def test_a_database_that_works_but_does_not_tell_how_things_stand_is_not_called_ready(place: Place) -> None:
    await place.start("run")
    await place.until_log("service.ready")
    async with asyncio.timeout(60):
        while (await place.get("/readyz"))[0] != 200:
            await asyncio.sleep(0.2)
    other = await asyncpg.connect(place.database_url)
    try:
        async with other.transaction():
            await other.execute("lock table yclients.quarantine in access exclusive mode")
            await place.until_log("event=database.unread", timeout=200)
            status, told = await place.get("/readyz")
            assert (status, "the database does not tell how things stand" in str(told)) == (503, True)
    finally:
        await other.close()
    async with asyncio.timeout(60):
        while (await place.get("/readyz"))[0] != 200:
            await asyncio.sleep(0.2)
    assert place.log().count("event=database.unread") == 1


async def test_a_command_says_who_works_and_when_the_next_batch_begins(place: Place) -> None:
    await place.start("run")
    await place.until_log("service.ready")
    await place.start("sync", "records", "--force", "--batch-size", "1", "--interval", "1h", log="log2")
    await place.until_log("(interval 1h)", name="log2")
    said = place.log("log2")
    assert "it does the work with --batch-size 1, --interval 1h as asked" in said
    assert said.count("next batch at ") == 1


async def test_two_services_and_a_command_share_one_budget(place: Place) -> None:
    await place.start("run")
    await place.start("run", log="log2")
    done = await place.run("sync", "--force")
    assert done.code == 0, done.err
    await place.until_log("service.ready", name="log2")
    assert "http.unavailable" in place.log() + place.log("log2")
    assert (await place.run("reload")).code == 0
    assert "config.reloaded" in place.log()
    assert "config.reloaded" in place.log("log2")
    report = place.simulator.report()
    assert report.max_1s <= 5
    assert report.answers == {"200": report.requests}


@pytest.fixture
def options(request: pytest.FixtureRequest) -> Options:
    """A slower and larger salon for the tests that stop in the middle."""
    slow = "middle" in request.node.name
    if "others" in request.node.name:
        return Options(clients=900, visits=9000, latency=0.25, records_cap=50, others=60)
    return Options(clients=900, visits=9000, latency=0.25, records_cap=300) if slow else Options(clients=150, visits=1500)


async def test_sigterm_in_the_middle_of_a_pass_ends_it_within_two_seconds(place: Place) -> None:
    service = await place.start("run")
    await place.until(lambda: place.simulator.report().requests > 12, "requests")
    stopped = await place.stop(service)
    assert (stopped.code, stopped.seconds < 2) == (0, True), stopped  # by its own clock, whatever the load is
    before = place.simulator.report().requests
    await asyncio.sleep(0.5)
    assert place.simulator.report().requests == before
    assert "service.stopped" in place.log()


async def test_kill_9_in_the_middle_repeats_no_more_than_was_in_flight(place: Place) -> None:
    service = await place.start("run")
    await place.until(lambda: place.simulator.report().requests > 20, "requests")
    service.kill()
    await service.wait()
    done = await place.fetchval("select done from yclients.sync_status where stream = 'records'")
    before = place.simulator.report().requests
    own = Stopwatch((await place.start("run", log="log2")).pid)
    while place.simulator.report().requests == before:
        own.look()
        await asyncio.sleep(0.02)
    assert own.seconds < 5
    await place.until_log("pass.proved", name="log2", timeout=90)
    async with asyncio.timeout(SAFETY_S):
        while (await place.get("/readyz"))[0] != 200:
            await asyncio.sleep(0.1)
    report = place.simulator.report()
    assert isinstance(done, int)
    assert done > 0
    # In flight at the kill: at most six pages of visits, six of clients.
    assert report.repeats <= 12, report
    assert report.max_1s <= 5
    assert report.max_60s <= 200
    assert report.answers.get("429", 0) == 0
    salon = place.simulator.world.salons[4001]
    assert await place.fetchval("select count(*) from yclients.records") == len(salon.records)


async def test_sync_interrupted_in_the_middle_keeps_its_progress_and_says_130(place: Place) -> None:
    sync = await place.start("sync")
    await place.until(lambda: place.simulator.report().requests > 12, "requests")
    sync.send_signal(signal.SIGINT)
    assert await asyncio.wait_for(sync.wait(), SAFETY_S) == 130
    assert "interrupted" in place.log()
    again = await place.run("sync")
    assert again.code == 0, again.err
    assert place.simulator.report().repeats <= 12


async def test_a_restart_that_is_needed_is_said_at_every_reload_until_it_is_done(place: Place) -> None:
    service = await place.start("run")
    await place.until_log("service.ready")
    text = place.config.read_text("utf-8")
    place.config.write_text(text.replace("egress: ", "egress: other-"), "utf-8")
    assert "other-" in place.config.read_text("utf-8")
    for number in (1, 2):
        service.send_signal(signal.SIGHUP)
        await place.until(lambda number=number: place.log().count("config.restart_needed") == number, "it is said")  # type: ignore[misc]
    place.config.write_text(text, "utf-8")
    service.send_signal(signal.SIGHUP)
    await place.until(lambda: place.log().count("event=config.reloaded") == 3, "it is reloaded")
    assert place.log().count("config.restart_needed") == 2
