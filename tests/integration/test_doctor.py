"""Does `ycsync doctor` name whatever is wrong, with its remedy, and does one thing that is wrong hide no other?"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from support.bouncer import bouncer
from support.patience import own_clock
from support.place import free_port
from ycsync.config import load
from ycsync.service.doctor import Finding, examine, well
from ycsync.service.doctor.machine import port
from ycsync.simulator import Options, Simulator
from ycsync.store.database import connect
from ycsync.store.migrate import migrate

TOKENS = {"YCLIENTS_PARTNER_TOKEN": "partner-0123456789", "YCLIENTS_USER_TOKEN": "user-0123456789"}
OPTIONS = Options(
    salons=3, clients=20, visits=60, partner_token=TOKENS["YCLIENTS_PARTNER_TOKEN"], user_token=TOKENS["YCLIENTS_USER_TOKEN"]
)


@dataclass
class Site:
    """An installation on which nothing is wrong, until a test breaks something."""

    folder: Path
    url: str
    simulator: Simulator
    env: dict[str, str]
    settings: dict[str, str] = field(default_factory=dict)
    text: str | None = None

    async def sql(self, *statements: str) -> None:
        connection = await asyncpg.connect(self.url)
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    async def look(self, most: int = 20) -> list[Finding]:
        path = self.folder / "config.yaml"
        lines = [
            f"yclients: {{base_url: '{self.settings.get('base_url', self.simulator.url)}'{self.settings.get('yclients', '')}}}"
        ]
        lines.append(f"http: {{listen: '{self.settings['listen']}'}}")
        lines += [line for name, line in self.settings.items() if name not in ("base_url", "yclients", "listen")]
        path.write_text(self.text if self.text is not None else "\n".join(["preset: aggressive", *lines, ""]))
        return await examine(path, self.folder, self.env, most)


@pytest.fixture
async def site(tmp_path: Path, database_url: str) -> AsyncIterator[Site]:
    database = await connect(database_url, "yclients", size=1)
    await migrate(database)
    await database.close()
    async with Simulator(OPTIONS) as simulator:
        env = {**TOKENS, "YCSYNC_DATABASE_URL": database_url}
        yield Site(tmp_path, database_url, simulator, env, {"listen": f"127.0.0.1:{free_port()}"})


def worse(found: list[Finding]) -> list[Finding]:
    return [one for one in found if one.level in ("warn", "fail") and one not in surroundings(found)]


def surroundings(found: list[Finding]) -> list[Finding]:
    """What is so of this test's own machine: no unit, and the superuser of the tests' server."""
    return [one for one in found if one.area == "unit" or "superuser" in one.says]


async def test_where_nothing_is_wrong_it_says_so_for_one_request_and_two_a_salon(site: Site) -> None:
    found = await site.look()
    assert worse(found) == []
    assert well(found)
    said = {one.says for one in found}
    assert "every stream of 3 of 3 salons may be read" in said
    assert "schema yclients is up to date" in said
    assert "this machine's clock agrees with that of YCLIENTS" in said
    assert site.simulator.report().requests == 1 + 5 * 3
    # It leaves nothing behind.
    connection = await asyncpg.connect(site.url)
    counts = await connection.fetchrow(
        "select (select count(*) from yclients.workers), (select count(*) from yclients.sync_status), "
        "(select count(*) from yclients.limiter_slots where owner is not null)"
    )
    await connection.close()
    assert counts is not None
    assert tuple(counts) == (0, 0, 0)


async def test_a_salon_that_the_list_does_not_name_is_asked_alone_as_the_service_does(site: Site) -> None:
    site.settings["companies"] = "companies: [4001, 4002]"
    site.simulator.world.salons[4002].company["active"] = 0
    found = await site.look()
    assert worse(found) == []
    assert any("every stream of 2 of 2 salons may be read" in one.says for one in found)


async def test_answers_without_a_count_are_no_trouble(site: Site) -> None:
    site.simulator.fail_next("total-null", 9)
    assert worse(await site.look()) == []


async def test_only_so_many_salons_are_tried(site: Site) -> None:
    found = await site.look(most=1)
    assert site.simulator.report().requests == 1 + 5
    assert any("1 of 1 salons may be read (3 there are; --salons N tries more)" in one.says for one in found)


# --- one thing is broken ----------------------------------------------------------------------------------------------------

Break = Callable[[Site], Awaitable[None]]


async def no_partner_token(site: Site) -> None:
    del site.env["YCLIENTS_PARTNER_TOKEN"]


async def no_user_token(site: Site) -> None:
    del site.env["YCLIENTS_USER_TOKEN"]


async def other_user_token(site: Site) -> None:
    site.env["YCLIENTS_USER_TOKEN"] = "user-of-somebody-else"


async def other_partner_token(site: Site) -> None:
    site.env["YCLIENTS_PARTNER_TOKEN"] = "partner-of-somebody-else"


async def bad_token(site: Site) -> None:
    site.env["YCLIENTS_USER_TOKEN"] = "two words"


async def no_rights_to_clients(site: Site) -> None:
    site.simulator.fail_next("403", 9, "/clients/4002")


async def no_rights_to_visits(site: Site) -> None:
    site.simulator.fail_next("403", 9, "/records/4003")


async def no_rights_to_staff(site: Site) -> None:
    site.simulator.world.salons[4002].refuses = {"staff", "staff (second path)"}


async def no_rights_to_categories(site: Site) -> None:
    site.simulator.world.salons[4002].refuses = {"staff", "services", "service_categories"}


async def lapsed_licence(site: Site) -> None:
    site.simulator.fail_next("402-licence", 9, "/clients/4001")


async def foreign_salon(site: Site) -> None:
    site.settings["companies"] = "companies: [4001, 777]"


async def mistake_in_the_file(site: Site) -> None:
    site.text = "preset: agressive\nyclients: {per_minute: many}\n"


async def port_taken(site: Site) -> None:
    taken = socket.create_server(("127.0.0.1", 0))
    site.settings["listen"] = f"127.0.0.1:{taken.getsockname()[1]}"
    kept.append(taken)


async def unknown_name(site: Site) -> None:
    site.settings["base_url"] = "https://api.yclients.invalid/api/v1"


async def nobody_listens(site: Site) -> None:
    site.settings["base_url"] = f"https://127.0.0.1:{free_port()}/api/v1"


async def no_tls(site: Site) -> None:
    site.settings["base_url"] = site.simulator.url.replace("http://", "https://")


async def unreadable_bundle(site: Site) -> None:
    site.settings["base_url"] = site.simulator.url.replace("http://", "https://")
    site.settings["yclients"] = f", ca_file: '{site.folder}/none.pem'"


async def self_signed(site: Site) -> None:
    key, cert = site.folder / "key.pem", site.folder / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(cert)]
    await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key)
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    site.settings["base_url"] = f"https://localhost:{server.sockets[0].getsockname()[1]}/api/v1"
    kept.append(server)


async def no_database(site: Site) -> None:
    site.env["YCSYNC_DATABASE_URL"] = f"postgresql://ycsync:secret-word@127.0.0.1:{free_port()}/salon"


async def no_such_database(site: Site) -> None:
    site.env["YCSYNC_DATABASE_URL"] = urlunsplit(urlsplit(site.url)._replace(path="/nobody_made_it"))


async def pooler_without_reference(site: Site) -> None:
    site.env["YCSYNC_DATABASE_URL"] = "postgresql://ycsync:secret-word@aws-0-eu.pooler.supabase.com:6543/postgres"


async def read_only(site: Site) -> None:
    await site.sql(f"alter database {urlsplit(site.url).path[1:]} set default_transaction_read_only = on")


async def foreign_tables(site: Site) -> None:
    await site.sql("drop schema yclients cascade", "create schema yclients", "create table yclients.clients (id int)")


async def old_schema(site: Site) -> None:
    await site.sql("delete from yclients.schema_migrations where version > 1")


async def newer_schema(site: Site) -> None:
    await site.sql("insert into yclients.schema_migrations (version, file) values (99, '0099_later.sql')")


async def no_salon(site: Site) -> None:
    site.simulator.world.allowed.clear()


async def yclients_down(site: Site) -> None:
    site.simulator.fail_next("503", 9)


async def salon_down(site: Site) -> None:
    site.simulator.fail_next("503", 9, "/clients/4002")


async def paused(site: Site) -> None:
    await site.sql("insert into yclients.pauses (company_id) values (0)")


async def salon_paused(site: Site) -> None:
    await site.sql("insert into yclients.pauses (company_id) values (4002)")


async def poor_role(site: Site) -> None:
    """May connect, and nothing else."""
    name = f"poor_{urlsplit(site.url).path[-12:]}"
    await site.sql(f"create role {name} login", "drop schema yclients cascade")
    site.env["YCSYNC_DATABASE_URL"] = as_role(site.url, name)


async def other_owner(site: Site) -> None:
    """The tables were made by another role."""
    name = f"other_{urlsplit(site.url).path[-12:]}"
    await site.sql(
        f"create role {name} login", f"grant usage, create on schema yclients to {name}",
        f"grant all on all tables in schema yclients to {name}",
    )  # fmt: skip
    site.env["YCSYNC_DATABASE_URL"] = as_role(site.url, name)


async def few_connections(site: Site) -> None:
    name = f"few_{urlsplit(site.url).path[-12:]}"
    await site.sql(f"create role {name} login superuser connection limit 6")
    site.env["YCSYNC_DATABASE_URL"] = as_role(site.url, name)


async def readable_secret(site: Site) -> None:
    (site.folder / "credentials").mkdir(mode=0o700)
    (token := site.folder / "credentials" / "yclients_user_token").write_text("something")
    token.chmod(0o644)


async def misnamed_secret(site: Site) -> None:
    folder = site.folder / "credentials"
    folder.mkdir(mode=0o700)
    (folder / "user_token.txt").write_text("something")


async def dangling_secret(site: Site) -> None:
    folder = site.folder / "credentials"
    folder.mkdir(mode=0o700)
    (folder / "yclients_user_token").symlink_to(folder / "nowhere")


def as_role(url: str, name: str) -> str:
    """The same database, as another role: over the Unix socket, where the tests' server trusts everybody."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    query = "&".join(one for one in parts.query.split("&") if one and not one.startswith("user="))
    return urlunsplit(parts._replace(netloc=f"{name}@{host}", query=query))


kept: list[object] = []

BROKEN: dict[Break, tuple[str, str, str]] = {
    no_partner_token: ("secrets", "no partner token", "credentials/yclients_partner_token"),
    no_user_token: ("secrets", "no user token", "credentials/yclients_user_token"),
    other_user_token: ("tokens", "the user token is not accepted", ""),
    other_partner_token: ("tokens", "the partner token is not accepted", ""),
    bad_token: ("config", "YCLIENTS_USER_TOKEN: holds characters that no token has", "config check"),
    no_rights_to_clients: ("salons", "salon 4002, clients: no right to read clients (HTTP 403)", "«Клиентская база»"),
    no_rights_to_visits: ("salons", "salon 4003, records: no right to read visits (HTTP 403)", "«Журнал записи»"),
    no_rights_to_staff: ("salons", "salon 4002, staff: no right to read staff (HTTP 403)", "«Сотрудники»"),
    no_rights_to_categories: ("salons", "salon 4002, service_categories: no right to read service categories", "«Услуги»"),
    lapsed_licence: ("salons", "salon 4001, clients: the salon's YCLIENTS licence has lapsed", ""),
    no_salon: ("tokens", "manages no active salon", "Give its user access"),
    yclients_down: ("tokens", "HTTP 503", "Try again"),
    salon_down: ("salons", "HTTP 503", "Try again"),
    foreign_salon: ("salons", "salon 777 of `companies`", "Give the token's user access"),
    mistake_in_the_file: ("config", "line 1: preset", "config check"),
    port_taken: ("http", "cannot be opened", "another port"),
    unknown_name: ("network", "the name api.yclients.invalid is not found", "DNS"),
    nobody_listens: ("network", "cannot be reached: Connection refused", "firewall"),
    no_tls: ("network", "does not speak TLS", "base_url"),
    unreadable_bundle: ("network", "none.pem cannot be read", "PEM"),
    self_signed: ("network", "the certificate of localhost is not accepted: self-signed certificate", "ca_file"),
    no_database: ("database", "cannot be reached", ""),
    no_such_database: ("database", "there is no such database", ""),
    pooler_without_reference: ("database", "knows no user 'ycsync': there it is called ycsync.<project ref>", ""),
    read_only: ("database", "it is read-only", "the primary's address"),
    foreign_tables: ("database", "already holds tables that ycsync did not make", ""),
    newer_schema: ("database", "newer than this ycsync knows", ""),
    old_schema: ("database", "older than this ycsync", "ycsync db migrate"),
    paused: ("database", "paused by command: all salons", "ycsync resume"),
    salon_paused: ("database", "paused by command: salon 4002", "ycsync resume"),
    poor_role: ("database", "may not make the schema yclients", "grant create on database"),
    other_owner: ("database", "belong to another role", "owner to"),
    few_connections: ("database", "may open 6 connections only", "connection limit"),
    readable_secret: ("secrets", "may be read by other users: ", "chmod 600 "),
    dangling_secret: ("secrets", "yclients_user_token leads nowhere", "Write the secret"),
    misnamed_secret: ("secrets", "user_token.txt is read by nobody", "yclients_user_token"),
}


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.__name__)
async def test_what_is_broken_is_named_with_its_remedy_and_nothing_else_is(site: Site, broken: Break) -> None:
    await broken(site)
    try:
        found = await site.look()
    finally:
        while kept:
            kept.pop().close()  # type: ignore[attr-defined]
    area, says, remedy = BROKEN[broken]
    named = [one for one in worse(found) if one.area == area and says in one.says and remedy in one.remedy]
    assert named, found
    assert all(one.remedy or ". " in one.says for one in named), f"no remedy: {named}"
    # What is broken shows in the requests too, where it is what they go through.
    others = {one.area for one in worse(found)} - {area}
    assert others <= ({"tokens"} if area == "network" else set()), found
    for secret in ("secret-word", *TOKENS.values(), "two words", "somebody-else"):
        assert secret not in repr(found)


async def test_an_ordinary_user_is_told_to_become_root(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    (site.folder / "credentials").mkdir()
    site.env.clear()
    monkeypatch.setattr("os.access", lambda *_: False)
    for text in (None, "preset: agressive\n"):
        site.text = text
        (said,) = [one for one in await site.look() if one.area == "secrets"]
        assert (said.level, said.remedy) == ("fail", "Run this command with sudo.")
        assert "may be read by root only" in said.says


async def test_too_many_requests_is_a_warning_and_says_whose(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ycsync.api.client.MAX_THROTTLES", 0)
    site.simulator.fail_next("429", 9)
    (said,) = [one for one in await site.look() if one.area == "tokens"]
    assert said.level == "warn"
    assert "too many requests" in said.says
    assert "Another program uses this address's limit" in said.remedy


async def test_everything_that_is_broken_is_named_at_once(site: Site) -> None:
    chosen = [misnamed_secret, port_taken, salon_paused, no_rights_to_visits, foreign_salon, few_connections]
    for broken in chosen:
        await broken(site)
    try:
        found = await site.look()
    finally:
        while kept:
            kept.pop().close()  # type: ignore[attr-defined]
    site.settings["companies"] = ""
    for broken in set(chosen) - {no_rights_to_visits}:
        area, says, _ = BROKEN[broken]
        assert any(one.area == area and says in one.says for one in worse(found)), (broken.__name__, found)


async def test_the_tokens_are_not_tried_where_their_requests_could_not_be_counted(site: Site) -> None:
    await no_database(site)
    found = await site.look()
    assert site.simulator.report().requests == 0
    assert any(one.area == "tokens" and one.level == "skipped" for one in found)


async def test_before_the_first_start_its_requests_are_counted_for_the_service_that_follows(site: Site) -> None:
    await site.sql("drop schema yclients cascade")
    found = await site.look(most=2)
    assert worse(found) == []
    assert any("is not there yet; it is made when it is first needed" in one.says for one in found)
    connection = await asyncpg.connect(site.url)
    counted = await connection.fetchval(
        "select count(*) from yclients.limiter_slots where kind = 60 and used_at > now() - interval '1 minute'"
    )
    await connection.close()
    assert counted == site.simulator.report().requests == 1 + 5 * 2


async def test_several_addresses_that_fail_in_several_ways_are_no_success(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    async def connect(*_: object, **__: object) -> None:
        raise OSError("Multiple exceptions: [Errno 111] Connect call failed, [Errno 101] Network is unreachable")

    monkeypatch.setattr(asyncio, "open_connection", connect)
    (said,) = [one for one in await site.look(most=0) if one.area == "network"]
    assert said.says.endswith("cannot be reached: none of its addresses answers")


async def test_a_port_that_only_root_may_open_is_not_free_for_the_service(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.settings["listen"] = "127.0.0.1:80"
    path = site.folder / "config.yaml"
    await site.look(most=0)
    monkeypatch.setattr("ycsync.service.doctor.machine.INSTALLED", path)
    settings = load(path, {}).settings
    (said,) = await port(settings, path, {"LoadState": "loaded"})
    assert (said.level, said.says) == ("fail", "the service's user may not open port 80 of http.listen")


async def test_a_pooler_is_told(site: Site) -> None:
    async with bouncer(site.url, "transaction") as between:
        site.env["YCSYNC_DATABASE_URL"] = between.url
        found = await site.look()
    assert worse(found) == []
    assert any("through a pooler" in one.says for one in found), found


async def test_a_pooler_that_refuses_transactions_is_named(site: Site) -> None:
    async with bouncer(site.url, "statement") as between:
        site.env["YCSYNC_DATABASE_URL"] = between.url
        found = await site.look()
    assert any("pool_mode = statement" in one.says for one in worse(found)), found


async def test_it_ends_soon_where_nothing_answers(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ycsync.service.doctor.yclients.CONNECT_S", 0.5)
    site.simulator.gate.clear()
    begun = own_clock()
    found = await site.look()
    assert own_clock() - begun < 15
    assert any(one.area == "tokens" and "no answer in time" in one.says for one in worse(found)), found
    site.simulator.gate.set()


async def test_the_command_prints_it_for_people_and_for_programs(site: Site) -> None:
    await no_rights_to_visits(site)
    await site.look(most=0)

    async def call(*options: str) -> tuple[int, str, str]:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "ycsync", "doctor", *options, "--config", str(site.folder / "config.yaml"),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env={**os.environ, **site.env},
        )  # fmt: skip
        out, err = await process.communicate()
        return process.returncode or 0, out.decode(), err.decode()

    code, out, err = await call()
    assert (code, err) == (1, "")
    assert "FAIL  salons    salon 4003, records: no right to read visits (HTTP 403)" in out
    assert "1 thing to mend, " in out
    site.simulator.heal()
    code, out, err = await call("--json")
    assert (code, err) == (0, "")
    document = json.loads(out)
    assert document["ok"] is True
    assert {"area", "level", "says", "remedy"} == set(document["findings"][0])


async def test_a_limit_above_that_of_yclients_is_named_among_the_rest(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    async def reach(_: object) -> list[Finding]:
        return []

    monkeypatch.setattr("ycsync.service.doctor.yclients.reach", reach)
    site.settings |= {"base_url": "https://api.yclients.com/api/v1", "yclients": ", per_minute: 300"}
    del site.env["YCLIENTS_USER_TOKEN"]  # nothing is to be sent there
    assert any("per_minute is 300" in one.says for one in worse(await site.look(most=0)))
