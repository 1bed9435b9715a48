"""The service and the commands as real processes: do all of them say the same of every trouble, with the right exit codes?"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable

import pytest

from support.agree import Voices, of_place
from support.cases import tried
from support.place import Place
from ycsync.config import Settings, parse_settings
from ycsync.simulator import Options

FOREVER = 10**9


CODES = [("html-502", 0), ("403-licence", 1), ("429-n0", 0), ("cut", 0), ("json-list", 0), ("401-partner", 1), ("data-null", 0)]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Few cases, or all."""
    if metafunc.function.__name__ == "test_the_exit_code_of_a_pass":
        tried(metafunc, "kind, code", CODES[:2], CODES)


@pytest.fixture
def options(request: pytest.FixtureRequest) -> Options:
    """Three small salons; where tokens end, only one is accepted."""
    token = "user-secret-2" if "token" in request.node.name or "login" in request.node.name else None
    return Options(salons=3, clients=30, visits=60, user_token=token, two_factor="two_factor" in request.node.name)


def settings(place: Place) -> Settings:
    return parse_settings(place.config.read_text("utf-8"), "config.yaml")


async def eventually(true: Callable[[], Awaitable[bool]], what: str, timeout: float = 90) -> None:
    """Wait for something that another process does."""
    try:
        async with asyncio.timeout(timeout):
            while not await true():
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise AssertionError(what) from None


async def ready(place: Place) -> bool:
    try:
        return (await place.get("/readyz"))[0] == 200
    except OSError:
        return False


async def not_ready(place: Place) -> bool:
    return not await ready(place)


async def told(place: Place, complete: bool) -> Voices:
    """All voices of a place, which must agree, once the service's view has been renewed (every two seconds)."""
    await eventually(lambda: ready(place) if complete else not_ready(place), f"ready is {complete}")
    voices = await of_place(place, settings(place))
    voices.agree(complete)
    return voices


async def test_refusals_failures_and_their_end(place: Place) -> None:
    simulator = place.simulator
    simulator.world.salons[4002].deny = "402"
    simulator.fail_next("html-502", times=FOREVER, match="/4003")
    service = await place.start("run")
    await place.until_log("service.ready")

    async def all_tried() -> bool:
        tried = await place.fetchval(
            "select count(*) from yclients.sync_status "
            "where company_id in (4002, 4003) and stream <> 'hooks' and error_code is not null"
        )
        live = await place.fetchval(
            "select count(*) from yclients.sync_status where company_id = 4001 and stream <> 'hooks' and phase = 'live'"
        )
        return tried == 8 and live == 5

    await eventually(all_tried, "two salons fail and one is complete")
    voices = await told(place, False)
    assert {code for (company, _), code in voices.codes().items() if company == 4002} == {"http_403"}
    assert {code for (company, _), code in voices.codes().items() if company == 4003} == {"transient"}
    refused = await place.run("sync", "--company", "4002")
    assert (refused.code, "licence" in refused.err) == (1, True), refused
    simulator.world.salons[4002].deny = None
    simulator.heal()
    service.send_signal(signal.SIGHUP)
    await told(place, True)
    assert service.returncode is None
    report = simulator.report()
    assert report.max_1s <= 5
    assert sum(1 for seen in simulator.log if seen.status in (402, 403)) <= 3 * 24


async def test_a_bad_reload_a_pause_and_what_asks(place: Place) -> None:
    service = await place.start("run")
    await eventually(lambda: ready(place), "it is ready")
    good = place.config.read_text("utf-8")
    place.config.write_text(good.replace("preset: test", "preset: none_such"), "utf-8")
    service.send_signal(signal.SIGHUP)
    await place.until_log("config.rejected")
    place.config.write_text(good, "utf-8")
    await eventually(lambda: not_ready(place), "a refused reload is a reason")
    _, body = await place.get("/readyz")
    assert isinstance(body, dict)
    assert [reason for reason in body["reasons"] if "none_such" not in reason] == []
    status = await place.run("status")  # the settings of before are in force, and the data is well
    assert status.code == 0
    assert "none_such" in status.out
    assert (await place.run("pause")).code == 0
    paused = await place.run("sync")
    assert (paused.code, "ycsync resume" in paused.err) == (1, True)
    status = await place.run("status")
    assert "paused" in status.out.lower()
    status = await place.run("resume")
    assert status.code == 0
    for client in list(place.simulator.world.salons[4001].clients)[:10]:
        place.simulator.world.salons[4001].delete_client(client)
    asked = await place.run("sync", "--force", "clients", "--company", "4001")
    assert (asked.code, "--confirm-deletions" in asked.err) == (1, True), asked
    voices = await told(place, False)
    assert voices.codes() == {(4001, "clients"): "held_back"}
    confirmed = await place.run("sync", "--confirm-deletions", "clients", "--company", "4001")
    assert confirmed.code == 0, confirmed
    service.send_signal(signal.SIGHUP)
    await place.until_log("config.reloaded")
    voices = await told(place, True)
    assert voices.told["/metrics"]["ycsync_config_last_reload_successful"] == 1.0


async def test_a_salon_that_hangs_is_said_and_the_others_go_on(place: Place) -> None:
    place.config.write_text(place.config.read_text("utf-8").replace("timeout: 5s", "timeout: 2s"), "utf-8")
    place.simulator.fail_next("hang", times=FOREVER, match="/4002")
    service = await place.start("run")
    await place.until_log("service.ready")

    async def others() -> bool:
        found = (
            "select count(*) from yclients.sync_status "
            "where company_id in (4001, 4003) and stream <> 'hooks' and phase = 'live'"
        )
        return await place.fetchval(found) == 10

    await eventually(others, "the others are complete")
    # In requests, not in seconds: a busy machine is slow, but it does not make the hanging salon cost the others more.
    assert sum(1 for seen in place.simulator.log if seen.kind == "left") <= 12
    await place.until_log("batch.failed")
    voices = await told(place, False)
    assert {company for company, _ in voices.codes()} == {4002}
    assert sum(1 for seen in place.simulator.log if seen.kind == "left") <= 60
    place.simulator.heal()
    service.send_signal(signal.SIGHUP)
    await eventually(lambda: ready(place), "it is ready at last")


async def test_a_token_that_ends_in_the_middle_and_is_set_anew(place: Place) -> None:
    service = await place.start("run")
    await eventually(lambda: ready(place), "it is ready")
    place.simulator.change_user_token("user-secret-3")
    await place.until_log("api.denied")
    await eventually(lambda: not_ready(place), "it is not ready")
    voices = await told(place, False)
    assert set(voices.codes().values()) == {"http_401"}
    assert "user token" in str(voices.rows[4001, "clients"]["last_error"])
    asked = await place.run("sync")
    assert (asked.code, "YCLIENTS_USER_TOKEN" in asked.err) == (1, True), asked
    before = place.simulator.report().requests
    await asyncio.sleep(2.2)  # two cycles of one second
    assert place.simulator.report().requests - before <= 3
    assert service.returncode is None
    place.simulator.change_user_token("user-secret-2")  # the old password is back
    service.send_signal(signal.SIGHUP)
    await told(place, True)


async def test_a_login_signs_in_anew_once_when_the_token_ends(place: Place) -> None:
    place.environ |= {"YCLIENTS_USER_TOKEN": "", "YCLIENTS_LOGIN": "someone", "YCLIENTS_PASSWORD": "password-secret-3"}
    await place.start("run")
    await eventually(lambda: ready(place), "it is ready")
    place.simulator.change_user_token("user-secret-3")
    salon = place.simulator.world.salons[4001]
    client = next(iter(salon.clients))
    salon.change_client(client, comment="new words")

    async def stored() -> bool:
        return await place.fetchval(f"select comment from yclients.clients where id = {client}") == "new words"

    await eventually(stored, "the change is there")
    await told(place, True)
    assert place.simulator.report().endpoints["auth"] == 2
    assert "api.denied" not in place.log()


async def test_a_login_with_two_factor_is_said_and_does_not_end_the_service(place: Place) -> None:
    place.environ |= {"YCLIENTS_USER_TOKEN": "", "YCLIENTS_LOGIN": "someone", "YCLIENTS_PASSWORD": "password-secret-3"}
    done = await place.run("sync")
    assert (done.code, "two-factor" in done.err) == (1, True), done
    service = await place.start("run")
    await place.until_log("two-factor")
    await eventually(lambda: not_ready(place), "it is not ready")
    voices = await told(place, False)
    assert voices.codes() == {(0, "companies"): "http_401"}
    assert service.returncode is None
    assert place.simulator.report().endpoints["auth"] <= 3


async def test_the_exit_code_of_a_pass(place: Place, kind: str, code: int) -> None:
    place.simulator.fail_next(kind, times=2 if code == 0 else FOREVER, match="/records/4001")
    done = await place.run("sync", timeout=120)
    assert done.code == code, done
    shown = await place.run("status")
    assert shown.code == code
    batches = await place.fetchval("select sum(errors + throttled) from yclients.sync_batches")
    assert isinstance(batches, int)
    assert batches >= (2 if code == 0 else 1)
    for salon in (4002, 4003):
        found = f"select count(*) from yclients.records where company_id = {salon}"
        assert await place.fetchval(found) == 60
    assert place.simulator.report().requests <= 60
