"""Are the configuration's files and secrets found, and does `preset use` change one word and nothing else?"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ycsync import config
from ycsync.cli.common import settings_of
from ycsync.config import Loaded, Secrets, Settings
from ycsync.config.edit import Reset, with_preset
from ycsync.errors import ConfigError, UsageError
from ycsync.service.engine import check_tokens

# --- secrets


def test_secrets_come_from_the_environment_else_from_credential_files(tmp_path: Path) -> None:
    (tmp_path / "yclients_partner_token").write_text("from-file-1\n")
    (tmp_path / "yclients_user_token").write_text("\ufefffrom-file-2 \r\n")
    (tmp_path / "database_url").write_text("postgresql://me:pw@host/db\n")
    env = {
        "CREDENTIALS_DIRECTORY": str(tmp_path),
        "YCLIENTS_PARTNER_TOKEN": " from-env ",
        "YCLIENTS_USER_TOKEN": "",
    }
    assert config.load_secrets(env) == Secrets("from-env", "from-file-2", None, None, "postgresql://me:pw@host/db")


def test_a_command_that_is_typed_reads_the_files_beside_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("preset: night\n")
    folder, own = tmp_path / "credentials", tmp_path / "own"
    for each in (folder, own):
        each.mkdir()
        (each / "yclients_user_token").write_text(f"of-{each.name}\n")
    assert config.load(tmp_path / "config.yaml", {}).secrets == Secrets(user_token="of-credentials")
    assert config.load(tmp_path / "config.yaml", {"CREDENTIALS_DIRECTORY": str(own)}).secrets.user_token == "of-own"


def test_secrets_that_only_root_may_read_are_asked_for_in_root_s_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.yaml").write_text("preset: night\n")
    folder = tmp_path / "credentials"
    folder.mkdir()
    monkeypatch.setattr("os.access", lambda path, mode: False)  # root may read everything
    assert config.load(tmp_path / "config.yaml", {}).hidden == folder
    with pytest.raises(UsageError, match="sudo"):
        settings_of(tmp_path / "config.yaml")
    # Whoever brings secrets of their own needs none of those.
    assert config.load(tmp_path / "config.yaml", {"YCLIENTS_USER_TOKEN": "mine"}).hidden is None


def test_an_empty_variable_and_an_empty_file_count_as_absent(tmp_path: Path) -> None:
    (tmp_path / "yclients_user_token").write_text(" \n")
    assert config.load_secrets({"CREDENTIALS_DIRECTORY": str(tmp_path), "YCLIENTS_LOGIN": "  "}) == Secrets()
    assert config.load_secrets({"CREDENTIALS_DIRECTORY": str(tmp_path / "none")}) == Secrets()


@pytest.mark.parametrize("bad", ["short", "fifteen-letters", "two words of enough letters", '"quoted-and-long-enough"'])
def test_an_admin_token_that_can_be_guessed_or_misread_is_refused_and_not_repeated(bad: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config.load_secrets({"YCSYNC_ADMIN_TOKEN": bad})
    assert [p.key for p in caught.value.problems] == ["YCSYNC_ADMIN_TOKEN"]
    assert bad.strip('"') not in str(caught.value)


def test_an_admin_token_is_there_only_when_it_is_given(tmp_path: Path) -> None:
    assert config.load_secrets({}).admin_token is None
    (tmp_path / "admin_token").write_text("sixteen-letters!\n")
    assert config.load_secrets({"CREDENTIALS_DIRECTORY": str(tmp_path)}).admin_token == "sixteen-letters!"


@pytest.mark.parametrize("bad", ["two words", "a,b", "a\nb", "a\rX: y", "тайна", "a\x00b", "Bearer hunter2xx"])
def test_a_token_that_cannot_stand_in_a_header_is_refused_and_never_repeated(bad: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config.load_secrets({"YCLIENTS_PARTNER_TOKEN": bad, "YCSYNC_DATABASE_URL": "mysql://me:hunter3@host"})
    assert [p.key for p in caught.value.problems] == ["YCLIENTS_PARTNER_TOKEN", "YCSYNC_DATABASE_URL"]
    assert bad not in str(caught.value)
    assert "hunter" not in str(caught.value)


def test_a_credential_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "yclients_partner_token").write_bytes(b"\xff\xfe")
    (tmp_path / "yclients_user_token").mkdir()
    (tmp_path / "yclients_password").write_bytes(b"x" * 20_000)
    with pytest.raises(ConfigError) as caught:
        config.load_secrets({"CREDENTIALS_DIRECTORY": str(tmp_path)})
    keys = [p.key for p in caught.value.problems]
    assert keys == [str(tmp_path / name) for name in ("yclients_partner_token", "yclients_user_token", "yclients_password")]


def test_systemds_copy_of_a_credential_is_named_by_the_file_that_it_is_made_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies, own = tmp_path / "copies", tmp_path / "credentials"
    copies.mkdir()
    (copies / "yclients_partner_token").write_text("two words")
    monkeypatch.setattr("ycsync.config.secrets._OF_SYSTEMD", str(copies))
    env = {"CREDENTIALS_DIRECTORY": str(copies)}
    with pytest.raises(ConfigError, match=re.escape(f"{copies}/yclients_partner_token: ")):
        config.load_secrets(env, tmp_path)  # a unit that has them from elsewhere
    own.mkdir()
    with pytest.raises(ConfigError, match=re.escape(f"{own}/yclients_partner_token: ")):
        config.load_secrets(env, tmp_path)


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("YCLIENTS_PARTNER_TOKEN", "Bearer abc", "without the word `Bearer` before it"),
        ("YCLIENTS_USER_TOKEN", "user\tabc", "without the word `user` before it"),
        ("YCLIENTS_USER_TOKEN", '"abc"', "without quotes"),
        ("YCLIENTS_USER_TOKEN", "'abc'", "without quotes"),
        ("YCSYNC_DATABASE_URL", '"postgresql://me:abc@h/d"', "without quotes"),
    ],
)
def test_what_was_written_around_a_secret_is_named(variable: str, value: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config.load_secrets({variable: value})
    assert says in str(caught.value)
    assert "abc" not in str(caught.value)


@pytest.mark.parametrize("token", ["user", "Bearerabc", '"abc', "a'b'", "'"])
def test_a_token_that_only_looks_so_is_taken(token: str) -> None:
    assert config.load_secrets({"YCLIENTS_USER_TOKEN": token}).user_token == token


def test_every_token_that_is_missing_is_named_with_its_file(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("")
    with pytest.raises(UsageError) as caught:
        check_tokens(config.load(tmp_path / "config.yaml", {}))
    for name in ("yclients_partner_token", "yclients_user_token"):
        assert f"{tmp_path}/credentials/{name}" in str(caught.value)
        assert name.upper() in str(caught.value)
    with pytest.raises(UsageError) as caught:
        check_tokens(config.Loaded(tmp_path, config.Settings(), Secrets(partner_token="abc", folder=tmp_path)))
    assert "partner" not in str(caught.value)


def test_where_the_database_url_came_from_is_known(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("")
    assert config.load(path, {}).database_url_from == f"database.url in {path}"
    url = "postgresql://me:pw@host/db"
    assert config.load(path, {"YCSYNC_DATABASE_URL": url}).database_url_from == "YCSYNC_DATABASE_URL"
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "database_url").write_text(url)
    assert config.load(path, {}).database_url_from == f"{tmp_path}/credentials/database_url"


def test_secrets_are_not_shown() -> None:
    secrets = Secrets(partner_token="hunter2", database_url="postgresql://a:hunter2@h/d")
    loaded = Loaded(Path("c"), Settings(), secrets)
    assert "hunter2" not in f"{secrets} {secrets!r} {loaded} {loaded!r}"
    assert "partner_token=set" in repr(secrets)
    assert "user_token=absent" in repr(secrets)


# --- finding and loading


def test_the_file_here_is_found_and_an_explicit_one_wins(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("")
    (tmp_path / "other.yaml").write_text("")
    assert config.find_config(None, tmp_path) == tmp_path / "config.yaml"
    assert config.find_config(Path("other.yaml"), tmp_path) == tmp_path / "other.yaml"


def test_a_missing_file_names_all_that_were_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ycsync.config.files.INSTALLED", tmp_path / "etc.yaml")
    with pytest.raises(ConfigError) as caught:
        config.find_config(None, tmp_path)
    assert str(tmp_path / "config.yaml") in str(caught.value)
    assert str(tmp_path / "etc.yaml") in str(caught.value)
    with pytest.raises(ConfigError, match=r"none\.yaml"):
        config.find_config(Path("none.yaml"), tmp_path)
    (tmp_path / "etc.yaml").write_text("")
    assert config.find_config(None, tmp_path) == tmp_path / "etc.yaml"


def test_in_a_checkout_the_installed_file_comes_before_the_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ycsync.config.files.INSTALLED", tmp_path / "etc.yaml")
    (tmp_path / "daemon" / "ycsync").mkdir(parents=True)
    (tmp_path / "config.yaml").write_text("")
    assert config.find_config(None, tmp_path) == tmp_path / "config.yaml"
    (tmp_path / "etc.yaml").write_text("")
    assert config.find_config(None, tmp_path) == tmp_path / "etc.yaml"
    assert config.find_config(Path("config.yaml"), tmp_path) == tmp_path / "config.yaml"


def test_the_environment_wins_over_the_file_for_the_database(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("database: {url: postgresql://file/db}")
    assert config.load(path, {}).database_url == "postgresql://file/db"
    env = {"YCSYNC_DATABASE_URL": "postgresql://me:pw@env/db"}
    assert config.load(path, env).database_url == "postgresql://me:pw@env/db"


def test_the_mistakes_of_file_and_environment_are_reported_together(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("history: no")
    with pytest.raises(ConfigError) as caught:
        config.load(path, {"YCLIENTS_USER_TOKEN": "a b"})
    assert [p.key for p in caught.value.problems] == ["history", "YCLIENTS_USER_TOKEN"]


def test_a_file_that_cannot_be_read_is_a_config_error(tmp_path: Path) -> None:
    binary = tmp_path / "config.yaml"
    binary.write_bytes(b"preset: night\n\xff")
    with pytest.raises(ConfigError, match=r"line 2: is not UTF-8"):
        config.load(binary, {})
    with pytest.raises(ConfigError, match="cannot be read"):
        config.load(tmp_path, {})
    binary.write_bytes(b"#" * 1_000_001)
    with pytest.raises(ConfigError, match="larger than"):
        config.load(binary, {})


# --- editing in place


def edited(tmp_path: Path, before: bytes, name: str) -> bytes:
    path = tmp_path / "config.yaml"
    path.write_bytes(before)
    config.use_preset(path, name)
    return path.read_bytes()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"preset: balanced\n", b"preset: night\n"),
        (b"preset: balanced", b"preset: night"),
        (b"preset:   'balanced'   # why\n", b"preset:   'night'   # why\n"),
        (b'{preset: "balanced", log: {}}', b'{preset: "night", log: {}}'),
        (b"# a\r\npreset: balanced # b\r\nlog: {}\r\n", b"# a\r\npreset: night # b\r\nlog: {}\r\n"),
        (b"\xef\xbb\xbfpreset: balanced\n", b"\xef\xbb\xbfpreset: night\n"),
        ("# пресет 😀\npreset: balanced\n".encode(), "# пресет 😀\npreset: night\n".encode()),
        (b"preset: typo\n", b"preset: night\n"),
        (b"# c\nlog: {}\r\n", b"# c\npreset: night\r\nlog: {}\r\n"),
        (b"---\n  log: {}\n", b"---\n  preset: night\n  log: {}\n"),
        (b"# only a comment", b"# only a comment\npreset: night\n"),
        (b"", b"preset: night\n"),
    ],
)
def test_only_the_preset_changes(tmp_path: Path, before: bytes, after: bytes) -> None:
    assert edited(tmp_path, before, "night") == after
    assert (tmp_path / "config.yaml.bak").read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.yaml", "config.yaml.bak"]


COMMENTS = st.text(alphabet=st.characters(codec="utf-8", exclude_categories=("C", "Zl", "Zp")), max_size=15)


@given(
    before=st.lists(COMMENTS, max_size=4),
    after=st.lists(COMMENTS, max_size=4),
    quote=st.sampled_from(["", "'", '"']),
    eol=st.sampled_from(["\n", "\r\n"]),
    spaces=st.text(alphabet=" ", min_size=1, max_size=4),
    names=st.permutations(["aggressive", "balanced", "conservative", "night", "mine"]),
)
def test_every_other_byte_stays(
    before: list[str], after: list[str], quote: str, eol: str, spaces: str, names: list[str]
) -> None:
    head = "".join(f"# {line}{eol}" for line in before) + f"preset:{spaces}{quote}"
    tail = f"{quote}{spaces}# why{eol}presets:{eol}  mine: {{batch_size: 5}}{eol}"
    tail += "".join(f"# {line}{eol}" for line in after)
    text = f"{head}{names[0]}{tail}"
    assert with_preset(text, names[1], "x") == f"{head}{names[1]}{tail}"


@pytest.mark.parametrize(
    "text",
    [
        "history: &h auto\npreset: *h\n",
        "preset: |-\n  balanced\n",
        "preset: &p balanced\n",
        "preset: !!str balanced\n",
        "preset:\n",
        "preset: [balanced]\n",
        "{log: {}}\n",
    ],
)
def test_what_cannot_be_edited_in_place_is_left_alone_and_explained(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError, match="on a line of its own"):
        edited(tmp_path, text.encode(), "night")
    assert (tmp_path / "config.yaml").read_text() == text
    assert not (tmp_path / "config.yaml.bak").exists()


@pytest.mark.parametrize("name", ["fast", "", "night\nlog: {}", "'", "*x"])
def test_an_unknown_preset_lists_those_there_are(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="aggressive, balanced, conservative, night, mine"):
        edited(tmp_path, b"presets: {mine: {}}\n", name)
    assert not (tmp_path / "config.yaml.bak").exists()


@pytest.mark.parametrize("text", [b"preset: balanced\nlog: {level: loud}\n", b"preset: [\n"])
def test_an_invalid_file_is_not_edited(tmp_path: Path, text: bytes) -> None:
    for name in ("night", "fast"):
        with pytest.raises((ConfigError, UsageError)):
            edited(tmp_path, text, name)
        assert (tmp_path / "config.yaml").read_bytes() == text
        assert not (tmp_path / "config.yaml.bak").exists()


def test_the_preset_in_force_changes_nothing(tmp_path: Path) -> None:
    assert edited(tmp_path, b"preset: night\n", "night") == b"preset: night\n"
    assert not (tmp_path / "config.yaml.bak").exists()


def test_mode_and_owner_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("preset: balanced\n")
    path.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(path, 12345, 12346)
    before = path.stat()
    config.use_preset(path, "night")
    for file in (path, config.backup_path(path)):
        status = file.stat()
        assert (status.st_mode, status.st_uid, status.st_gid) == (
            before.st_mode,
            before.st_uid,
            before.st_gid,
        )


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    real, link = tmp_path / "real.yaml", tmp_path / "link.yaml"
    real.write_text("preset: balanced\n")
    link.symlink_to(real)
    config.use_preset(link, "night")
    assert link.is_symlink()
    assert real.read_text() == "preset: night\n"
    assert (tmp_path / "real.yaml.bak").read_text() == "preset: balanced\n"


def test_reset_goes_back_and_a_second_reset_undoes_it(tmp_path: Path) -> None:
    before = b"preset: 'balanced'  # mine\r\n"
    edited(tmp_path, before, "night")
    path = tmp_path / "config.yaml"
    assert config.reset_preset(path) == Reset("balanced")
    assert path.read_bytes() == before
    assert config.reset_preset(path) == Reset("night")
    assert path.read_bytes() == before.replace(b"balanced", b"night")


@pytest.mark.parametrize(
    ("before", "by_hand", "taken_back"),
    [
        ("preset: balanced\n", "preset: night  # for now\n", ("line 1: preset: night  # for now",)),
        (
            "preset: balanced\ncompanies: []\nlog: {}\n",
            "preset: night\ncompanies: [4001]\nlog: {}\n",
            ("line 2: companies: [4001]",),
        ),
        ("preset: balanced\nlog: {}\n", "preset: night\n# why\nlog: {}\n", ("line 2: # why",)),
        ("preset: balanced\nlog: {}\n", "preset: night\n", ("line 2 is there again: log: {}",)),
        ("log: {}\n", "preset: night\nlog: {}\n", ()),
        ("log: {}\n", "preset: night\nlog: {}\nuser_token: abc\n", ("line 3: (not shown: it may hold a secret)",)),
        (
            "log: {}\n",
            "preset: night\nlog: {}\ndatabase: {url: 'postgres://me:hunter@h/d'}\n",
            ("line 3: (not shown: it may hold a secret)",),
        ),
        (
            "log: {}\n",
            "preset: night\nlog: {}\ndatabase: {url: 'postgres://me:hun ter/x@h/d'}\n",
            ("line 3: (not shown: it may hold a secret)",),
        ),
        ("log: {}\n", "preset: [\n", ("line 1: preset: [",)),
    ],
)
def test_a_reset_names_what_it_takes_back_besides_the_preset(
    tmp_path: Path, before: str, by_hand: str, taken_back: tuple[str, ...]
) -> None:
    path = tmp_path / "config.yaml"
    edited(tmp_path, before.encode(), "night")
    path.write_text(by_hand)
    assert config.reset_preset(path).taken_back == taken_back
    assert path.read_text() == before


def test_reset_without_a_backup_or_with_a_bad_one_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("preset: night\n")
    with pytest.raises(UsageError, match="no backup"):
        config.reset_preset(path)
    config.backup_path(path).write_text("preset: gone\n")
    with pytest.raises(ConfigError, match=re.escape("config.yaml.bak: line 1: preset")):
        config.reset_preset(path)
    assert path.read_text() == "preset: night\n"


def test_who_may_not_write_is_told_of_sudo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("preset: balanced\n")

    def denied(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.mkstemp", denied)
    with pytest.raises(UsageError, match=r"Permission denied\): run this command with sudo"):
        config.use_preset(path, "night")


def test_a_crash_while_writing_leaves_the_old_file_and_no_litter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("preset: balanced\n")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UsageError, match="No space left"):
        config.use_preset(path, "night")
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("config.yaml", "preset: balanced\n")]
