"""Do `db migrate`, `db erase`, `pause` and `resume` do what they say, and nothing else?"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from filled import PHONE, SALONS, call, fill, values
from filled import execute as sql
from ycsync.sql import migrations

TABLES = (
    "clients", "companies", "history_queue", "hooks", "hooks_heard", "quarantine", "record_services", "records",
    "sweep_missing", "sync_batches",
    "sync_status", "visits_to_check",
)  # fmt: skip


@pytest.fixture
def filled(database_url: str) -> str:
    fill(database_url)
    for company in SALONS:
        sql(
            database_url,
            "insert into yclients.quarantine (company_id, stream, entity_id, reason, payload, first_seen, last_seen) "
            f"values ({company}, 'clients', '70001', 'odd', '{{}}', now(), now()), "
            f"({company}, 'records', '5', 'odd', '{{\"client\": {{\"id\": 70001}}}}', now(), now()), "
            f"({company}, 'records', '6', 'odd', '{{\"client\": {{\"phone\": \"+{PHONE}\"}}}}', now(), now()), "
            f"({company}, 'records', '7', 'odd', '{{\"client\": {{\"id\": 700012}}}}', now(), now())",
            f"insert into yclients.sweep_missing values ({company}, 'clients', 70001, now())",
            f"insert into yclients.history_queue values ({company}, 0, 70001)",
            "insert into yclients.hooks (company_id, resource, resource_id, status, received) "
            f"values ({company}, 'client', 70001, 'update', 1)",
            f"insert into yclients.hooks_heard values ({company}, now())",
            f"insert into yclients.visits_to_check values ({company}, 1911)",
        )
    return database_url


def rows_of(url: str, company: int) -> dict[str, int]:
    keys = {"companies": "id", "sync_batches": "company"}
    counts = ", ".join(
        f"(select count(*) from yclients.{table} where {keys.get(table, 'company_id')} = {company})" for table in TABLES
    )
    return {table: int(str(count)) for table, count in zip(TABLES, values(url, f"select {counts}")[0], strict=True)}


@pytest.mark.empty
def test_migrate_makes_the_schema_once(config: Path, database_url: str) -> None:
    first, second = call(config, "db", "migrate"), call(config, "db", "migrate")
    assert (first.exit_code, second.exit_code) == (0, 0)
    assert "is at version" in first.stdout
    assert "up to date" in second.stdout
    assert values(database_url, "select count(*) from yclients.clients") == [(0,)]


@pytest.mark.empty
def test_migrate_leaves_tables_of_others_alone(config: Path, database_url: str) -> None:
    sql(database_url, "create schema yclients", "create table yclients.clients (whatever text)")
    result = call(config, "db", "migrate")
    assert result.exit_code == 1
    assert "did not make: clients" in result.stderr
    assert values(database_url, "select count(*) from pg_tables where schemaname = 'yclients'") == [(1,)]


def test_erasing_a_salon_leaves_nothing_of_it_and_all_of_the_others(config: Path, filled: str) -> None:
    other = rows_of(filled, 4002)
    result = call(config, "db", "erase", "--company", "4001", "--yes")
    assert result.exit_code == 0, result.output
    assert set(rows_of(filled, 4001).values()) == {0}
    assert rows_of(filled, 4002) == other
    assert "clients 3" in result.stdout
    assert "not read again, until `ycsync db readmit --company 4001`" in result.stdout


def test_erasing_a_client_keeps_the_visits_as_nobodys(config: Path, filled: str) -> None:
    result = call(config, "db", "erase", "--company", "4001", "--client", "70001", "--yes")
    assert result.exit_code == 0, result.output
    rows = rows_of(filled, 4001)
    assert (rows["clients"], rows["records"], rows["record_services"]) == (2, 9, 9)
    assert "Rows that stay without the client: records 3." in result.stdout
    assert values(filled, "select entity_id from yclients.quarantine where company_id = 4001") == [("7",)]
    assert rows_of(filled, 4002)["clients"] == 3
    mentions = (
        "select count(*) from yclients.records where company_id = 4001 and client_id is not distinct from 70001",
        "select count(*) from yclients.records where company_id = 4001 and raw::text like '%70001%' and client_id is not null",
        "select count(*) from yclients.sweep_missing where company_id = 4001",
    )
    assert [values(filled, query) for query in mentions] == [[(0,)]] * 3


def test_an_erased_clients_visits_hold_no_personal_data(config: Path, filled: str) -> None:
    ids = values(filled, "select id from yclients.records where company_id = 4001 and client_id = 70001 order by id")
    call(config, "db", "erase", "--company", "4001", "--client", "70001", "--yes")
    chosen = ", ".join(str(row[0]) for row in ids)
    query = f"select raw::text, comment, client_id from yclients.records where id in ({chosen}) and company_id = 4001"
    found = values(filled, query)
    assert len(found) == 2
    for raw, comment, client_id in found:
        assert PHONE not in str(raw)
        assert "client" not in str(raw)
        assert "as last time" not in str(raw)
        assert (comment, client_id) == ("", None)


def test_a_page_under_way_cannot_bring_an_erased_client_back(config: Path, filled: str) -> None:
    query = "select distinct version from yclients.sync_status where company_id = 4001"
    before = values(filled, query)
    call(config, "db", "erase", "--company", "4001", "--client", "70001", "--yes")
    # Each page commits on the version that it was planned on, and on no other.
    assert (before, values(filled, query)) == ([(0,)], [(1,)])


def test_after_an_erasure_the_figures_still_agree(config: Path, filled: str) -> None:
    sql(filled, "delete from yclients.quarantine")
    call(config, "db", "erase", "--company", "4001", "--client", "70001", "--yes")
    assert call(config, "verify").exit_code == 0


def test_erasing_asks_first(config: Path, filled: str) -> None:
    result = call(config, "db", "erase", "--company", "4001", answer="n\n")
    assert result.exit_code == 2
    assert "--yes" in result.stderr
    assert rows_of(filled, 4001)["clients"] == 3


def test_erasing_what_is_not_there_says_so(config: Path, filled: str) -> None:
    result = call(config, "db", "erase", "--company", "9", "--yes")
    assert result.exit_code == 0
    assert "Nothing of this salon" in result.stdout


def test_the_audit_tells_what_was_erased_and_readmitted_and_nothing_of_the_person(config: Path, filled: str) -> None:
    assert "Nothing was erased." in call(config, "db", "erasures").stdout
    one = ("--company", "4001", "--client", "70001")
    told = json.loads(call(config, "db", "erase", *one, "--yes", "--json").stdout)
    assert told == {
        "company": 4001, "client": 70001,
        "rows": {"clients": 1, "records": 3, "quarantine": 3, "sweep_missing": 1, "history_queue": 1, "hooks": 1},
    }  # fmt: skip
    assert call(config, "db", "erase", "--company", "4002", "--yes").exit_code == 0
    shown = call(config, "db", "erasures").stdout
    assert "still has it" in shown
    assert PHONE not in shown
    lines = json.loads(call(config, "db", "erasures", "--json").stdout)["erasures"]
    assert [(line["company"], line["client"], line["lifted_at"]) for line in lines] == [(4001, 70001, None), (4002, None, None)]
    assert lines[0]["rows"] == told["rows"]
    assert "ERASED    salon 4002" in call(config, "status").stdout
    for salon in (one, ("--company", "4002")):
        assert "Readmitted" in call(config, "db", "readmit", *salon).stdout
        again = call(config, "db", "readmit", *salon, "--json")
        assert (again.exit_code, json.loads(again.stdout)["lifted"]) == (0, False)
    assert "ERASED" not in call(config, "status").stdout
    waiting = values(
        filled, "select distinct phase, cursor is null from yclients.sync_status where stream in ('clients', 'records')"
    )
    assert waiting == [("new", True)]


def test_pause_and_resume(config: Path, filled: str) -> None:
    query = "select company_id from yclients.pauses order by 1"
    assert call(config, "pause").exit_code == 0
    assert values(filled, query) == [(0,)]
    assert call(config, "resume", "--company", "4001").exit_code == 2
    assert call(config, "resume").exit_code == 0
    assert values(filled, query) == []
    assert call(config, "pause", "--company", "4001", "--company", "4002").exit_code == 0
    assert call(config, "resume", "--company", "4001").exit_code == 0
    assert values(filled, query) == [(4002,)]
    again = call(config, "resume", "--company", "4001")
    assert "Not paused: salon 4001" in again.stdout


def test_what_yclients_took_away_is_asked_again_only_by_name(config: Path, filled: str) -> None:
    sql(filled, "insert into yclients.pauses (company_id, reason) values (4001, 'uninstalled'), (4002, null)")
    told = call(config, "status").stdout
    assert "PAUSED    salon 4001, in YCLIENTS the application was taken out of this salon" in told
    assert "`ycsync resume --company 4001`" in told
    all_others = call(config, "resume")
    assert (all_others.exit_code, values(filled, "select company_id from yclients.pauses")) == (0, [(4001,)])
    assert "Still held: salon 4001" in all_others.stdout
    assert call(config, "resume", "--company", "4001").exit_code == 0
    assert values(filled, "select company_id from yclients.pauses") == []


def test_a_dry_run_reckons_with_the_pass_that_would_be_made(config: Path, filled: str) -> None:
    plain = call(config, "sync", "--dry-run").stdout
    assert "a batch every 3m\n" in plain
    assert "the list of salons: 1 request\n" in plain
    assert "salon 4001, services: 2 requests\n" in plain
    assert "salon 4001, clients: complete; what changed since " in plain
    sql(
        filled,
        "update yclients.sync_status set expected = 1000, done = 1000 where stream = 'clients'",
        "update yclients.sync_status set expected = 12000, done = 12000 where stream = 'records'",
    )
    afresh = call(config, "sync", "--force", "--dry-run", "--company", "4001").stdout
    assert "salon 4001, clients: all 1000 from the beginning, about 5 requests\n" in afresh
    assert "salon 4001, records: all 12000 from the beginning, about 19 requests\n" in afresh
    assert afresh.endswith("\nin all about 28 requests\n"), "as many as such a pass takes"
    config.write_text(config.read_text("utf-8") + "history: by_client\n", "utf-8")
    one = call(config, "sync", "records", "--force", "--dry-run", "--company", "4001").stdout
    assert one.splitlines()[1:] == [
        "salon 4001, records: all 12000 from the beginning, about 1002 requests", "in all about 1002 requests",
    ]  # fmt: skip
    sql(filled, "update yclients.sync_status set phase = 'filling', done = 11999 where stream = 'records'")
    left = call(config, "sync", "records", "--dry-run", "--company", "4001").stdout
    assert "1 of 12000 are left, about 1 request\n" in left


def test_a_mistyped_salon_is_not_paused(config: Path, filled: str) -> None:
    result = call(config, "pause", "--company", "40001")
    assert result.exit_code == 2
    assert "no such salon" in result.stderr
    assert values(filled, "select count(*) from yclients.pauses") == [(0,)]


@pytest.mark.parametrize(("works_with", "code"), [(migrations()[-1][0], 0), (migrations()[-1][0] + 1, 1), (None, 1)])
def test_an_older_ycsync_goes_on_with_a_newer_schema_if_that_says_so(
    config: Path, database_url: str, works_with: int | None, code: int
) -> None:
    call(config, "db", "migrate")
    sql(
        database_url,
        f"insert into yclients.schema_migrations values (99, 'later', now(), {works_with or 'null'})",
        "alter table yclients.clients add column later text",
    )
    result = call(config, "db", "migrate")
    assert result.exit_code == code
    assert ("newer than this ycsync knows" in result.stderr) == (code == 1)


def test_the_record_of_a_schema_from_before_ways_back_is_brought_up_to_date(config: Path, database_url: str) -> None:
    call(config, "db", "migrate")
    sql(database_url, "alter table yclients.schema_migrations drop column works_with")
    assert "up to date" in call(config, "db", "migrate").stdout
    assert values(database_url, "select count(works_with) from yclients.schema_migrations") == [(0,)]
