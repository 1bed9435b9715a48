"""What do commands do where the file has a mistake, or ycsync itself a fault?"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from filled import call, fill, values
from ycsync.config import InForce
from ycsync.errors import DatabaseUnavailable, UsageError
from ycsync.service.control import Beacon


@pytest.mark.parametrize("mistake", ["preset: agressive", "streams: {clients: often}", "presett: night"])
def test_status_and_pause_work_although_the_file_has_a_mistake(config: Path, database_url: str, mistake: str) -> None:
    """The service goes on with the old settings; just then somebody wants to look, or to stop it."""
    fill(database_url)
    config.write_text(f"http: {{listen: false}}\n{mistake}\n")
    result = call(config, "status")
    assert result.exit_code == 2
    assert f"{config}: line 2: " in result.stderr
    assert "Everything that is on is complete and fresh." in result.stdout
    assert json.loads(call(config, "status", "--json").stdout)["ok"] is True
    paused = call(config, "pause")
    assert (paused.exit_code, "line 2" in paused.stderr) == (0, True)
    assert "PAUSED" in call(config, "status").stdout
    assert call(config, "resume").exit_code == 0


DOUBTFUL = pytest.mark.parametrize(
    "mistake", ["database: {url: 7}", "yclients: {egress: [1]}", "preset: [", "databse: {schema: mine}", "egress: mine"]
)


@DOUBTFUL
def test_a_mistake_that_leaves_doubt_about_the_database_or_the_budget_stops_them(
    config: Path, database_url: str, mistake: str
) -> None:
    fill(database_url)
    config.write_text(f"http: {{listen: false}}\n{mistake}\n")
    for command in ("status", "pause"):
        result = call(config, command)
        assert (result.exit_code, result.stdout) == (2, "")
        assert "line " in result.stderr
        assert "no service runs with this file" in result.stderr
        assert "systemctl stop ycsync" in result.stderr


def test_who_may_not_see_the_service_is_not_told_that_there_is_none(
    config: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(database_url)
    config.write_text("preset: [\n")
    monkeypatch.setattr("ycsync.cli.common.hidden_folder", lambda *_: Path("/etc/ycsync/credentials"))
    result = call(config, "pause")
    assert result.exit_code == 2
    assert "run this command with sudo" in result.stderr
    assert "no service runs" not in result.stderr


@DOUBTFUL
def test_where_the_file_leaves_doubt_the_running_service_says_which_database_is_meant(
    config: Path, database_url: str, mistake: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service goes on although the file is broken: stopping it must not wait until the file is mended."""
    fill(database_url)
    monkeypatch.delenv("YCSYNC_DATABASE_URL")
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(config.parent / "run"))
    config.write_text(f"http: {{listen: false}}\n{mistake}\n")
    beacon = Beacon(config, InForce(database_url, "yclients", "default"))
    try:
        paused = call(config, "pause")
        assert paused.exit_code == 0, paused.stderr
        assert f"{config}: line " in paused.stderr
        assert "those that the running service works with" in paused.stderr
        assert "PAUSED" in call(config, "status").stdout
        assert call(config, "resume").exit_code == 0
        status = call(config, "status")
        assert status.exit_code == 2
        assert "7 in the last minute" in status.stdout, "it looks at the service's own budget"
    finally:
        beacon.close()
    assert call(config, "pause").exit_code == 2


def test_a_database_that_the_file_names_since_is_not_the_one_to_stop(
    config: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service takes it with a restart; until then a pause there would stop nothing."""
    fill(database_url)
    monkeypatch.delenv("YCSYNC_DATABASE_URL")
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(config.parent / "run"))
    config.write_text("database: {url: 'postgresql://me@new.example/db'}\n")
    beacon = Beacon(config, InForce(database_url, "yclients", "default"))
    try:
        paused = call(config, "pause")
    finally:
        beacon.close()
    assert paused.exit_code == 0, paused.stderr
    assert "until it is restarted" in paused.stderr
    assert values(database_url, "select count(*) from yclients.pauses") == [(1,)]


def test_a_fault_of_ours_is_said_without_what_it_holds(
    config: Path, database_url: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    fill(database_url)

    def broken(*_: object) -> None:
        raise KeyError("Olga, +79990000001")

    monkeypatch.setattr("ycsync.service.standing.judge", broken)
    result = call(config, "status")
    said = result.output + "".join(capfd.readouterr())
    assert result.exit_code == 1
    assert "event=unexpected" in said
    assert "frames=" in said
    assert "Olga" not in said


def test_errors_of_several_tasks_are_said_as_one(config: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(database_url)

    def broken(*_: object) -> None:
        raise ExceptionGroup("tasks", [DatabaseUnavailable("the database is gone"), ExceptionGroup("more", [UsageError("no")])])

    monkeypatch.setattr("ycsync.service.standing.judge", broken)
    result = call(config, "status")
    assert (result.exit_code, result.stderr) == (1, "ycsync: the database is gone\n")
