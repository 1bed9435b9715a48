"""What does somebody see who has the status page open? A real service, a real browser, each trouble as it comes and goes."""

from __future__ import annotations

import asyncio
import re
import signal
from collections.abc import AsyncIterator
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
from playwright.async_api import Browser

from support.browser import PHONE, WAIT_MS, chromium, looking
from support.place import Place
from support.privacy import private
from ycsync.simulator import Options

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]
ADMIN = "admin-token-of-a-test"
FOREVER = 10**9


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as browser:
        yield browser


@pytest.fixture
def options(request: pytest.FixtureRequest) -> Options:
    several = 3 if "trouble" in request.node.name else 1
    return Options(salons=several, clients=150, visits=3000, latency=0.3 if "filled" in request.node.name else 0.02)


async def serving(place: Place) -> str:
    await place.start("run", YCSYNC_ADMIN_TOKEN=ADMIN)
    await place.until_log("service.ready")
    return f"http://127.0.0.1:{place.port}/"


async def test_a_salon_is_filled_before_ones_eyes(place: Place, browser: Browser) -> None:
    url = await serving(place)
    async with looking(browser, url) as seen:
        await seen.until_state("filling")
        assert await seen.page.title() == "↓ ycsync"
        await seen.until("#said", "Filling 1 of 1 salon")
        await seen.until("#batches tbody", "running")
        await seen.page.locator("#share").wait_for(timeout=WAIT_MS)
        await seen.until_state("complete")
        assert await seen.text("#said") == "Complete and fresh: 1 salon"
        assert "Everything that changed in clients and records before" in await seen.text("#said-more")
        assert "Asia/Vladivostok" in await seen.text("#zone")
        await seen.until("#batches tbody", "proved")
        row = await seen.until("#table tbody", "fresh")
        assert "4001" in row
        assert "of 4 that the preset takes" not in await seen.text("#tiles"), "the preset of the test takes 5"
        assert (await seen.texts("#tiles dt"))[:2] == ["In the last minute", "In the last second"]
        label = await seen.page.locator("#minute .plot").get_attribute("aria-label")
        assert label is not None
        assert "YCLIENTS allows 200" in label
        assert await seen.page.locator("#minute canvas").count() == 1
        assert await seen.barriers() == []
        sent: int = await seen.page.evaluate(
            "performance.getEntries().reduce((sum, each) => sum + (each.transferSize ?? 0), 0)"
        )
        assert 20_000 < sent <= 100_000, "bytes, all of it"
        words = await seen.page.locator("body").inner_text()
        assert private(words) == []
    async with looking(browser, url, scheme="dark", size=PHONE) as seen:
        await seen.until_state("complete")
        await seen.until("#table tbody", "fresh")
        assert not await seen.is_wider_than_the_window()
        assert await seen.barriers() == []


async def test_each_trouble_is_told_with_what_to_do_and_goes(place: Place, browser: Browser) -> None:
    place.simulator.fail_next("403", times=FOREVER, match="/records/4002")
    place.simulator.fail_next("wrong-types", times=FOREVER, match="/clients/4003")
    url = await serving(place)
    async with looking(browser, url) as seen:
        await seen.until_state("trouble")
        said = await seen.until("#said", "Salon 4002, records, is stopped")
        assert "no right to read visits" in said
        assert "What to do" in await seen.text("#troubles")
        assert "since" in await seen.text("#said-more")
        await seen.until("#errors", "4002")
        await seen.page.get_by_role("button", name="Show these salons").click()
        await seen.until("#matched", "1 salon found")
        await seen.page.get_by_role("button", name="4002").press("Enter")
        assert "in a row" in await seen.until("#table tr.more", "no right to read visits")
        assert await seen.barriers() == []
        await seen.until("#quarantine", "4003")
        await seen.page.locator("#quarantine summary").first.click()
        shape = await seen.text("#quarantine details code")
        assert "id: " in shape
        assert private(await seen.page.locator("body").inner_text()) == []
        good = place.config.read_text("utf-8")
        place.config.write_text(good.replace("preset: test", "preset: none_such\nhistory: no"), "utf-8")
        place.processes[0].send_signal(signal.SIGHUP)
        await seen.until("#said", "The last reload was refused")
        assert "and 1 more mistake: ycsync config check" in await seen.text("#said")
        told = await seen.until("#troubles", "Salon 4002, records, is stopped: no right to read visits")
        assert "[object" not in told
        assert re.search(r", since \d\d:\d\d:\d\d What to do", told), told
        place.config.write_text(good, "utf-8")
        place.processes[0].send_signal(signal.SIGHUP)
        await seen.until("#said", "Salon 4002, records, is stopped")
        place.simulator.heal()
        assert (await place.run("sync", "--company", "4002")).code == 0
        await seen.until_state("complete")
        await seen.until("#errors", "None")


async def test_a_bad_reload_and_a_service_that_is_gone(place: Place, browser: Browser) -> None:
    url = await serving(place)
    service = place.processes[0]
    good = place.config.read_text("utf-8")
    async with looking(browser, url) as seen:
        await seen.until_state("complete")
        place.config.write_text(good.replace("preset: test", "preset: none_such"), "utf-8")
        service.send_signal(signal.SIGHUP)
        await seen.until_state("trouble")
        assert "The last reload was refused: line 1: preset" in await seen.text("#said")
        assert "none_such" in await seen.until("#reload", "The settings from before hold")
        place.config.write_text(good.replace("preset: test", "preset: other"), "utf-8")
        service.send_signal(signal.SIGHUP)
        await seen.until_state("complete")
        await seen.until("#settings", "other")
        assert "taken at" in await seen.text("#reload")
        service.send_signal(signal.SIGKILL)
        await service.wait()
        await seen.until_state("lost")
        assert "No answer from the service since" in await seen.text("#said")
        assert await seen.text("#link") == "no connection"
        await place.start("run", log="log2")
        await seen.until_state("complete")
        seen.complaints.clear()  # that nobody answered was to be complained of
        await seen.until("#link", "live")


async def test_a_lost_database_is_told_at_once_and_what_was_known_stays(place: Place, browser: Browser) -> None:
    url = await serving(place)
    parts = urlsplit(place.database_url)
    admin = await asyncpg.connect(urlunsplit(parts._replace(path="/postgres")))
    name = parts.path.strip("/")
    try:
        async with looking(browser, url) as seen:
            await seen.until_state("complete")
            for _ in range(100):
                await admin.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = $1", name)
                try:
                    await admin.execute(f'alter database "{name}" rename to "{name}_away"')
                    break
                except asyncpg.ObjectInUseError:
                    await asyncio.sleep(0.01)
            await seen.until_state("trouble")
            assert await seen.text("#said") == "The database is away"
            assert "Nothing is lost" in await seen.text("#troubles")
            assert "4001" in await seen.text("#table tbody")
            assert (await seen.text("#link")).startswith("live")
            await admin.execute(f'alter database "{name}_away" rename to "{name}"')
            await seen.until_state("complete")
    finally:
        await admin.close()


async def test_who_has_the_token_pauses_and_changes_the_preset(place: Place, browser: Browser) -> None:
    url = await serving(place)
    async with looking(browser, url) as seen:
        await seen.until_state("complete")
        summary = seen.page.get_by_text("Pause, resume, change the preset")
        await summary.press("Enter")
        token, unlock = seen.page.get_by_label("Admin token"), seen.page.get_by_role("button", name="Unlock")
        await token.fill("a-wrong-token")
        await unlock.click()
        await seen.until("#admin-said", "missing or wrong")
        seen.complaints.clear()  # the browser says that it was answered 401
        await token.fill(ADMIN)
        await token.press("Enter")
        await seen.page.get_by_role("button", name="Pause all").click()
        assert "every machine" in await seen.text("#ask")
        assert await seen.barriers() == []
        await seen.page.keyboard.press("Escape")
        assert (await place.fetchval("select count(*) from yclients.pauses")) == 0
        await seen.page.get_by_role("button", name="Pause all").click()
        await seen.page.locator("#ask-yes").click()
        await seen.until_state("paused")
        assert (await place.fetchval("select company_id from yclients.pauses")) == 0
        await seen.until("#admin-said", "No request leaves")
        focused = await seen.page.evaluate("document.activeElement.textContent")
        assert focused == "Pause all", "whoever acts by keyboard stays where they were"
        await seen.page.locator('#pause-all[aria-disabled="true"]').wait_for(timeout=WAIT_MS)
        await seen.page.get_by_role("button", name="Resume all").click()
        assert "one by one" in await seen.text("#ask")
        await seen.page.locator("#ask-yes").click()
        await seen.until_state("complete")
        await seen.page.locator("#preset").select_option("other")
        await seen.page.get_by_role("button", name="Use this preset").click()
        await seen.until("#admin-said", "Preset other is in force, and")
        await seen.until("#settings dd", "other")
        assert "preset: other" in place.config.read_text("utf-8")
        assert await seen.page.locator("#preset").input_value() == "other"
        await seen.page.get_by_role("button", name="4001").click()
        await seen.page.get_by_role("button", name="Pause this salon").press("Enter")
        await seen.until("#table tbody", "paused")
        focused = await seen.page.evaluate("document.activeElement.textContent")
        assert focused == "Resume this salon", "new figures take nobody's place away"
        assert (await place.fetchval("select company_id from yclients.pauses")) == 4001
        assert ADMIN not in await seen.page.content()


SEED = """
insert into yclients.companies (id, title, timezone, currency, active, raw, observed_at)
select 4000 + n, 'Salon ' || n, 'Europe/Moscow', 'RUB', true, '{}', now() from generate_series(1, 1000) n;
insert into yclients.sync_status (company_id, stream, phase, expected, done, last_success_at, proved_as_of, due_at, requests)
select 4000 + n, s, 'live', 500, 500, now(), now() - n * interval '100 ms', now() + interval '20 hours', n
from generate_series(1, 1000) n, unnest(array['companies', 'services', 'staff', 'clients', 'records']) s;
insert into yclients.sync_status (company_id, stream, phase, expected, done, last_success_at, proved_as_of, due_at)
values (0, 'companies', 'live', 1000, 1000, now(), now(), now() + interval '20 hours');
update yclients.sync_status set phase = 'stopped', last_error = 'synthetic: no rights', error_code = 'http_403',
    error_since = now() - interval '3 min', failures = 2 where company_id in (4321, 4777) and stream = 'records';
"""


async def test_a_thousand_salons_are_found_sorted_and_leafed_through(place: Place, browser: Browser) -> None:
    assert (await place.run("db", "migrate")).code == 0
    connection = await asyncpg.connect(place.database_url)
    await connection.execute(SEED)
    await connection.close()
    text = place.config.read_text("utf-8").replace("clients: 1s, records: 1s", "clients: 24h, records: 24h")
    place.config.write_text(text, "utf-8")
    url = await serving(place)
    async with looking(browser, url) as seen:
        await seen.until("#said", "Salon 4321 is stopped: synthetic: no rights (and 1 more salon)")
        await seen.until("#where", "1 to 50 of 1,000")
        names = "#table tbody th"
        assert (await seen.texts(names))[:2] == ["Salon 321 · 4321", "Salon 777 · 4777"]  # the worst first
        assert "998 / 1,000" in await seen.text("#tiles")
        await seen.page.get_by_role("button", name="Next").press("Enter")
        await seen.until("#where", "51 to 100 of 1,000")
        await seen.page.get_by_label("Find").fill("salon 99")
        await seen.until("#matched", "11 salons found")
        await seen.page.get_by_label("Show").select_option("stopped")
        await seen.until("#matched", "0 salons found")
        await seen.page.get_by_label("Show").select_option("trouble")
        await seen.until("#matched", "0 salons found")
        await seen.page.get_by_label("Find").fill("47")
        await seen.until("#matched", "1 salon found")
        assert await seen.texts(names) == ["Salon 777 · 4777"]
        await seen.page.get_by_label("Find").fill("")
        await seen.page.get_by_label("Show").select_option("")
        await seen.until("#where", "1 to 50 of 1,000")
        heading = seen.page.get_by_role("button", name="Requests")
        await heading.press("Enter")
        await heading.press("Enter")
        await seen.page.locator('th[data-sort="requests"][aria-sort="descending"]').wait_for(timeout=WAIT_MS)
        await seen.until(names, "Salon 1000")
        focused = await seen.page.evaluate("document.activeElement.textContent")
        assert focused == "Requests", "who sorts by keyboard stays where they were"
        assert "sort=requests" in seen.page.url
        await seen.page.get_by_role("button", name="Next").press("Enter")
        await seen.until("#where", "51 to 100 of 1,000")
        await seen.page.reload()
        await seen.until("#where", "51 to 100 of 1,000")
        await seen.page.get_by_role("button", name="Previous").press("Enter")
        await seen.until(names, "Salon 1000")
        assert await seen.barriers() == []
        sent: int = await seen.page.evaluate(
            "performance.getEntries().reduce((sum, each) => sum + (each.transferSize ?? 0), 0)"
        )
        assert sent <= 100_000
    async with looking(browser, url, size=PHONE) as seen:
        await seen.until("#where", "1 to 50 of 1,000")
        assert not await seen.is_wider_than_the_window()
        assert await seen.barriers() == []
