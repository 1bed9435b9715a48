"""Who sees what in a database like Supabase's, and is the role of deploy/supabase enough for ycsync, and no more than that?"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from filled import fill
from support.place import Place, free_port
from ycsync.errors import DatabaseError
from ycsync.service.doctor import examine
from ycsync.simulator import Options, Simulator
from ycsync.store.database import connect
from ycsync.store.migrate import migrate

CHECKOUT = Path(__file__).parents[2]
SUPABASE = CHECKOUT / "deploy" / "supabase"
PASSWORD = "a-password-of-its-own"
OURS = "yc_app"
# As Supabase has them: https://supabase.com/docs/guides/database/postgres/roles
ROLES = {
    "anon": "nologin noinherit",
    "authenticated": "nologin noinherit",
    "service_role": "nologin noinherit bypassrls",
    "yc_admin": "login createrole createdb nosuperuser",  # its `postgres`
}
READABLE = {"companies", "service_categories", "services", "staff", "clients", "records", "record_services", "sync_status"}
VIEWS = {"client_profiles", "visits"}
NO_VIEW = asyncpg.ObjectNotInPrerequisiteStateError  # nobody writes through these views: said before rights are looked at

pytestmark = [pytest.mark.xdist_group("supabase"), pytest.mark.empty]  # roles belong to the whole server


@dataclass
class Project:
    """A database as Supabase hands it out."""

    url: str

    def as_role(self, name: str) -> str:
        parts = urlsplit(self.url)
        host = parts.netloc.rpartition("@")[2]
        query = "&".join(one for one in parts.query.split("&") if one and not one.startswith("user="))
        return urlunsplit(parts._replace(netloc=f"{name}@{host}", query=query))

    async def run(self, *statements: str, role: str | None = None, assume: str | None = None) -> list[asyncpg.Record]:
        """Runs statements as the superuser, as `role`, or as the superuser who became `assume`: the last one's rows."""
        connection = await asyncpg.connect(self.url if role is None else self.as_role(role))
        try:
            if assume is not None:
                await connection.execute(f"set role {assume}")
            for statement in statements[:-1]:
                await connection.execute(statement)
            if re.match(r"\s*(select|with)", statements[-1]):
                return list(await connection.fetch(statements[-1]))
            await connection.execute(statements[-1])
            return []
        finally:
            await connection.close()

    async def relations(self) -> list[tuple[str, str]]:
        """Everything in the schema that holds rows: name and kind."""
        rows = await self.run(
            "select relname, relkind::text from pg_class where relnamespace = 'yclients'::regnamespace "
            "and relkind in ('r', 'p', 'v', 'm', 'f') order by 1"
        )
        return [(row["relname"], row["relkind"]) for row in rows]


def script(name: str, password: str = PASSWORD) -> str:
    text = (SUPABASE / name).read_text().replace("'CHANGE-ME'", f"'{password}'", 1)
    return text.replace("ycsync", OURS)  # the superuser of the tests' own server has that name already


async def drop_roles(project: Project) -> None:
    for role in ("my_bot", "yclients_reader", OURS, *ROLES):
        if await project.run(f"select from pg_roles where rolname = '{role}'"):
            await project.run(f"drop owned by {role} cascade", f"drop role {role}")


@pytest.fixture
async def project(database_url: str) -> AsyncIterator[Project]:
    found = Project(database_url)
    database = urlsplit(database_url).path[1:]
    await drop_roles(found)
    for role, options in ROLES.items():
        await found.run(f"create role {role} {options}")
    await found.run(f"grant create, connect on database {database} to yc_admin")
    # What the tests' own server lets everybody do and Supabase does not.
    await found.run(f"revoke create on database {database} from public")
    yield found
    await drop_roles(found)


@pytest.fixture
async def prepared(project: Project) -> Project:
    """role.sql was run as Supabase's `postgres`."""
    await project.run(script("role.sql"), role="yc_admin")
    return project


@pytest.fixture
async def filled(prepared: Project) -> Project:
    """And its tables were made and filled by that role."""
    await asyncio.to_thread(fill, prepared.as_role(OURS))
    return prepared


# --- the role ---------------------------------------------------------------------------------------------------------------


async def test_the_script_asks_for_a_password_and_may_be_run_again(project: Project) -> None:
    for password in ("CHANGE-ME", "short"):
        with pytest.raises(asyncpg.RaiseError, match="password of your own"):
            await project.run(script("role.sql", password), role="yc_admin")
    for _ in range(2):
        await project.run(script("role.sql"), role="yc_admin")
    (row,) = await project.run("select * from pg_roles where rolname = 'yc_app'")
    assert (row["rolcanlogin"], row["rolconnlimit"]) == (True, 20)
    assert not any(row[right] for right in ("rolsuper", "rolcreaterole", "rolcreatedb", "rolbypassrls", "rolreplication"))


async def test_the_role_is_enough_for_a_whole_pass_and_the_doctor_finds_nothing(prepared: Project, tmp_path: Path) -> None:
    tokens = {"YCLIENTS_PARTNER_TOKEN": "partner", "YCLIENTS_USER_TOKEN": "user"}
    environ = {**os.environ, **tokens, "YCSYNC_DATABASE_URL": prepared.as_role(OURS)}
    config = tmp_path / "config.yaml"
    async with Simulator(Options(salons=1, clients=30, visits=90)) as simulator:
        listen = f"'127.0.0.1:{free_port()}'"
        config.write_text(f"preset: aggressive\nyclients: {{base_url: '{simulator.url}'}}\nhttp: {{listen: {listen}}}\n")
        done = await Place(tmp_path, prepared.as_role(OURS), simulator, config, 0, environ).run("sync")
        assert done.code == 0, done
        found = await examine(config, tmp_path, environ, 1)
    assert (await prepared.run("select count(*) from yclients.clients"))[0][0] == 30
    assert (await prepared.run("select count(*) from yclients.records"))[0][0] == 90
    assert [one for one in found if one.area == "database" and one.level != "ok"] == []


async def test_the_role_reaches_nothing_outside_its_schema(prepared: Project) -> None:
    await prepared.run("create table public.of_somebody_else (id int)", "insert into public.of_somebody_else values (1)")
    for statement in (
        "select * from public.of_somebody_else",
        "create schema another",
        "create role another",
        "create database another",
        "select * from pg_authid",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await prepared.run(statement, role=OURS)


async def test_without_the_script_the_service_says_what_the_role_lacks(project: Project) -> None:
    await project.run("create role my_bot login")
    database = await connect(project.as_role("my_bot"), "yclients", size=1)
    try:
        with pytest.raises(DatabaseError, match=r"lacks a right .*Grant it CREATE on the database"):
            await migrate(database)
    finally:
        await database.close()


# --- who sees what ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["anon", "authenticated", "service_role"])
async def test_as_it_comes_the_keys_of_the_api_reach_nothing(filled: Project, role: str) -> None:
    relations = await filled.relations()
    assert READABLE | VIEWS | {"quarantine", "workers", "schema_migrations", "limiter_slots", "sync_batches"} <= {
        n for n, _ in relations
    }
    for name, _ in relations:
        for statement in (f"select * from yclients.{name}", f"delete from yclients.{name}"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await filled.run(statement, assume=role)


@pytest.mark.parametrize("role", ["anon", "authenticated"])
async def test_even_exposed_and_granted_everything_they_see_and_change_nothing(filled: Project, role: str) -> None:
    await filled.run(
        f"grant usage on schema yclients to {role}", f"grant all on all tables in schema yclients to {role}",
        f"grant all on all sequences in schema yclients to {role}",
    )  # fmt: skip
    held = {name: (await filled.run(f"select count(*) from yclients.{name}"))[0][0] for name, _ in await filled.relations()}
    assert sum(held.values()) > 50
    for name in held:
        assert (await filled.run(f"select count(*) from yclients.{name}", assume=role))[0][0] == 0, name
        if name in VIEWS:
            with pytest.raises(NO_VIEW):
                await filled.run(f"delete from yclients.{name}", assume=role)
        else:
            await filled.run(f"delete from yclients.{name}", assume=role)
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
        await filled.run("insert into yclients.pauses (company_id) values (0)", assume=role)
    assert held == {name: (await filled.run(f"select count(*) from yclients.{name}"))[0][0] for name in held}


async def test_every_table_has_row_level_security_and_no_function_runs_with_the_owners_rights(filled: Project) -> None:
    open_ = await filled.run(
        "select relname from pg_class "
        "where relnamespace = 'yclients'::regnamespace and relkind in ('r', 'p') and not relrowsecurity"
    )
    assert open_ == []
    definers = await filled.run("select proname from pg_proc where pronamespace = 'yclients'::regnamespace and prosecdef")
    assert definers == []


async def test_the_reader_reads_the_salons_and_writes_nothing(filled: Project) -> None:
    both = script("reader.sql").replace(
        "text[] := array['yclients_reader']", "text[] := array['yclients_reader', 'service_role']"
    )
    for _ in range(2):  # may be run again
        await filled.run(both, role="yc_admin")
    await filled.run(*bot_of_the_page(), role="yc_admin")
    for name, _ in await filled.relations():
        for role, login in (("my_bot", True), ("service_role", False)):
            whom = {"role": role} if login else {"assume": role}
            if name in READABLE | VIEWS:
                (held,) = await filled.run(f"select count(*) from yclients.{name}")
                assert (await filled.run(f"select count(*) from yclients.{name}", **whom))[0] == held
            else:
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await filled.run(f"select * from yclients.{name}", **whom)
            with pytest.raises(NO_VIEW if name in VIEWS else asyncpg.InsufficientPrivilegeError):
                await filled.run(f"delete from yclients.{name}", **whom)
    # The others see as little as before.
    await filled.run("grant usage on schema yclients to anon", "grant select on all tables in schema yclients to anon")
    assert (await filled.run("select count(*) from yclients.clients", assume="anon"))[0][0] == 0


async def test_who_ran_the_script_sees_the_tables(filled: Project) -> None:
    """As the dashboard does."""
    assert (await filled.run("select count(*) from yclients.clients", role="yc_admin"))[0][0] == 6


async def test_nothing_is_left_after_the_undo(filled: Project) -> None:
    await filled.run(script("reader.sql"), role="yc_admin")
    # As `ycsync doctor` says where the role may not make its schema.
    (named,) = await filled.run("select current_database() as name")
    await filled.run(f"grant create on database {named['name']} to yc_admin with grant option")
    await filled.run(f"grant create on database {named['name']} to yc_app", role="yc_admin")
    assert await filled.run(f"select from pg_roles where has_database_privilege('yc_app', '{named['name']}', 'create')")
    await filled.run(script("undo.sql"), role="yc_admin")
    (row,) = await filled.run(
        "select to_regnamespace('yclients') as schema, "
        "(select count(*) from pg_roles where rolname in ('yc_app', 'yclients_reader')) as roles"
    )
    assert (row["schema"], row["roles"]) == (None, 0)
    await filled.run(script("undo.sql"), role="yc_admin")


def bot_of_the_page() -> Sequence[str]:
    """What README.md shows for a bot."""
    (block,) = re.findall(r"```sql\n(.*?)```", (SUPABASE / "README.md").read_text(), re.DOTALL)
    return [one.strip() for one in block.split(";") if one.strip()]
