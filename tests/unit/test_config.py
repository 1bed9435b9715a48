"""Does the configuration accept what it documents, and refuse the rest with line and remedy?"""

from __future__ import annotations

import dataclasses
from datetime import time, timedelta
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ycsync import config
from ycsync.config import Http, Settings, parse_settings
from ycsync.errors import ConfigError, Problem, UsageError

SHIPPED = Path(__file__).parents[2] / "config.yaml"


def problems_of(text: str) -> tuple[Problem, ...]:
    with pytest.raises(ConfigError) as caught:
        parse_settings(text, "config.yaml")
    return caught.value.problems


def problem_of(text: str) -> Problem:
    (problem,) = problems_of(text)
    return problem


# --- durations


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("250ms", timedelta(milliseconds=250)),
        ("30s", timedelta(seconds=30)),
        ("5m", timedelta(minutes=5)),
        ("24h", timedelta(hours=24)),
        ("1d", timedelta(days=1)),
        ("0s", timedelta(0)),
        (" 60m ", timedelta(hours=1)),
    ],
)
def test_a_duration_is_a_whole_number_and_a_unit(text: str, span: timedelta) -> None:
    assert config.parse_duration(text) == span


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("5", "no unit"),
        ("", "not a duration"),
        ("1.5h", "not a duration"),
        ("-1s", "not a duration"),
        ("5 m", "not a duration"),
        ("9999d", "too long"),
        ("999999999999h", "too long"),
        ("٣s", "not a duration"),
    ],
)
def test_a_bad_duration_says_how_to_write_one(text: str, remedy: str) -> None:
    with pytest.raises(UsageError, match=remedy):
        config.parse_duration(text)


@given(st.integers(0, 3650 * 86_400_000))
def test_a_duration_reads_back_as_it_was_written(milliseconds: int) -> None:
    span = timedelta(milliseconds=milliseconds)
    assert config.parse_duration(config.format_duration(span)) == span


@given(st.text())
def test_any_text_is_a_duration_or_a_usage_error(text: str) -> None:
    try:
        said = config.format_duration(config.parse_duration(text))
    except UsageError as error:
        said = str(error)
    assert said.isprintable()


# --- what the file may say


def test_the_shipped_file_spells_out_the_defaults() -> None:
    assert parse_settings(SHIPPED.read_text(encoding="utf-8"), str(SHIPPED)) == Settings()


def test_the_shipped_file_names_every_key() -> None:
    text = SHIPPED.read_text(encoding="utf-8")
    root = yaml.safe_load(text)
    assert set(root) == {f.name for f in dataclasses.fields(Settings)} - {"salons"}  # which are the mappings in `companies`
    for own in dataclasses.fields(config.SalonSettings):
        assert own.name == "line" or f"#   {own.name} " in text
    assert set(root["yclients"]) == {f.name for f in dataclasses.fields(config.Yclients)}
    assert set(root["streams"]) == set(config.STREAMS)
    assert set(root["presets"]) == set(config.BUILT_IN_PRESETS)
    assert text.count("[restart]") == 1 + len(config.RESTART_KEYS)


def test_an_empty_file_is_all_defaults() -> None:
    for text in ("", "# nothing\n", "---\n", "{}", "yclients:\ncompanies:\npresets:\n"):
        assert parse_settings(text, "x") == Settings()


def test_every_key_is_read() -> None:
    settings = parse_settings(
        """
preset: mine
history: by_client
yclients: {base_url: "http://[::1]:8080/api/v1/", per_minute: 90, per_second: 2, egress: salon-2,
           timeout: 5s, ca_file: /etc/ca.pem}
companies: [4001, "4002"]
database: {url: "postgresql://ycsync@db.example:5432/salon?sslmode=require", schema: crm_1}
streams: {companies: off, clients: 1m}
http: {listen: "[::1]:0", hosts: [Status.Example.org., status]}
log: {level: debug}
presets:
  mine: {batch_size: 7, start_at: 22:00}
  aggressive: {max_retries: 0}
  night: {start_at: }
""",
        "x",
    )
    api = settings.yclients
    assert (api.base_url, api.per_minute, api.per_second) == ("http://[::1]:8080/api/v1", 90, 2)
    assert (api.egress, api.timeout, api.ca_file) == ("salon-2", timedelta(seconds=5), "/etc/ca.pem")
    assert settings.companies == (4001, 4002)
    assert settings.database.schema_name == "crm_1"
    assert not settings.database.embedded
    assert settings.streams["companies"] is None
    assert settings.streams["clients"] == timedelta(minutes=1)
    assert settings.streams["records"] == timedelta(minutes=5)
    assert (settings.http.host, settings.http.port, settings.http.listen) == ("::1", 0, "[::1]:0")
    assert settings.http.hosts == ("status.example.org", "status")
    assert settings.log.level == "debug"
    assert settings.history == "by_client"
    assert settings.active.batch_size == 7
    assert settings.active.start_at == time(22, 0)
    assert settings.presets["aggressive"].max_retries == 0
    assert settings.presets["aggressive"].batch_size == 80
    assert settings.presets["night"].start_at is None


def test_a_built_in_preset_that_the_file_does_not_spell_out_is_cut_to_the_budget() -> None:
    settings = parse_settings("yclients: {per_minute: 60, per_second: 1}", "x")
    assert all((p.per_minute, p.per_second) <= (60, 1) for p in settings.presets.values())


def test_a_preset_above_the_budget_names_both_rates() -> None:
    problem = problem_of("yclients: {per_minute: 100}\npresets:\n  aggressive:\n    per_minute: 101\n")
    assert (problem.line, problem.key) == (4, "presets.aggressive.per_minute")
    assert "101 is above yclients.per_minute (100)" in problem.message


@pytest.mark.parametrize("value", ['""', "false", "off"])
def test_listening_can_be_switched_off(value: str) -> None:
    http = parse_settings(f"http: {{listen: {value}}}", "x").http
    assert not http.enabled
    assert http.listen == ""


def test_settings_cannot_be_changed() -> None:
    settings = Settings()
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.preset = "night"  # type: ignore[misc]
    with pytest.raises(TypeError):
        settings.presets["night"] = settings.active  # type: ignore[index]
    with pytest.raises(TypeError):
        settings.streams["clients"] = None  # type: ignore[index]


# --- what it may not say


def test_all_mistakes_are_reported_at_once_each_with_its_line() -> None:
    text = "preset: fast\nyclients:\n  per_minute: many\n  per_secnd: 5\ncompanies: [1, 1, x]\n"
    text += "log: {level: Info}\n"
    found = [(p.line, p.key) for p in problems_of(text)]
    assert found == [
        (1, "preset"),
        (3, "yclients.per_minute"),
        (4, "yclients.per_secnd"),
        (5, "companies"),
        (5, "companies"),
        (6, "log.level"),
    ]


def test_the_error_reads_as_file_line_key_and_remedy() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_settings("\npreset: balansed", "/etc/ycsync/config.yaml")
    assert str(caught.value).startswith(
        "/etc/ycsync/config.yaml: line 2: preset: there is no preset 'balansed'; did you mean `balanced`?"
    )
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "key", "message"),
    [
        ("presett: x", "presett", "did you mean `preset`"),
        ("zzz: 1", "zzz", "allowed: "),
        ("streams: {record: 5m}", "streams.record", "did you mean `records`"),
        ("streams: {clients: 5}", "streams.clients", "no unit"),
        ("streams: {clients: 0s}", "streams.clients", "1s to 365d"),
        ("streams: {clients: true}", "streams.clients", "not a duration"),
        ("streams: {clients: }", "streams.clients", "has no value"),
        ("streams: [clients]", "streams", "`key: value`"),
        ("preset: [balanced]", "preset", "one value"),
        ("preset:", "preset", "has no value"),
        ("companies: 4001", "companies", "must be a list"),
        ("companies: [0]", "companies", "whole number from 1"),
        ("companies: [-5]", "companies", "whole number from 1"),
        ("companies: [1.5]", "companies", "whole number from 1"),
        ("companies: [0x10]", "companies", "whole number from 1"),
        ("companies: [99999999999999999999]", "companies", "whole number from 1"),
        ("companies: [[1]]", "companies", "one number"),
        ("companies: [7, 7]", "companies", "7 is listed twice"),
        ("yclients: {base_url: ftp://a}", "yclients.base_url", "https://"),
        ("yclients: {base_url: api.yclients.com}", "yclients.base_url", "https://"),
        ("yclients: {base_url: 'http://api.yclients.com'}", "yclients.base_url", "plain http"),
        ("yclients: {base_url: 'https://a:b@c'}", "yclients.base_url", "user or a password"),
        ("yclients: {base_url: 'https://c/?x=1'}", "yclients.base_url", "remove what follows"),
        ("yclients: {base_url: 'https://c:99999/'}", "yclients.base_url", "port"),
        ("yclients: {base_url: 'https://[::1'}", "yclients.base_url", "https://"),
        ("yclients: {egress: 'a b'}", "yclients.egress", "short name"),
        ("yclients: {per_second: 0}", "yclients.per_second", "from 1"),
        ("yclients: {timeout: 0s}", "yclients.timeout", "100ms to 10m"),
        ("database: {url: mysql://h/d}", "database.url", '"embedded" or postgresql://'),
        ("database: {url: embeded}", "database.url", '"embedded" or postgresql://'),
        ("database: {schema: public}", "database.schema", "ycsync's own"),
        ("database: {schema: pg_temp}", "database.schema", "ycsync's own"),
        ("database: {schema: Sync}", "database.schema", "lower-case"),
        ("database: {schema: 'a; drop'}", "database.schema", "lower-case"),
        ("http: {listen: 8787}", "http.listen", '"host:port"'),
        ("http: {listen: '::1:8787'}", "http.listen", '"host:port"'),
        ("http: {listen: '[127.0.0.1]:8787'}", "http.listen", '"host:port"'),
        ("http: {listen: '300.1.1.1:80'}", "http.listen", '"host:port"'),
        ("http: {listen: 'localhost:70000'}", "http.listen", '"host:port"'),
        ("http: {hosts: ['https://status.example.org']}", "http.hosts", "without scheme and port"),
        ("http: {hosts: [status.example.org:80]}", "http.hosts", "without scheme and port"),
        ("http: {hosts: [[a]]}", "http.hosts", "without scheme and port"),
        ("http: {host: a}", "http.host", "did you mean `hosts`"),
        ("log: {level: Info}", "log.level", "did you mean `info`"),
        ("history: bulkk", "history", "did you mean `bulk`"),
        ("presets: {mine: {start_at: '25:00'}}", "presets.mine.start_at", "time of day"),
        ("presets: {mine: {batch_size: 0}}", "presets.mine.batch_size", "from 1"),
        ("presets: {mine: {batchsize: 5}}", "presets.mine.batchsize", "did you mean `batch_size`"),
        ("presets: {mine: 5}", "presets.mine", "`key: value`"),
        ("presets: {off: {}}", "presets.off", "a preset's name"),
        ("presets: {'a b': {}}", "presets.a b", "a preset's name"),
        ("<<: {a: 1}", "<<", "merge keys"),
        ("? [a]\n: 1", "", "plain word"),
        ("- a", "", "`key: value`"),
        ("balanced", "", "`key: value`"),
        ("a: [", "", "not valid YAML"),
        ("a: 1\n---\nb: 1", "", "not valid YAML"),
        ('a: "\\U00110000"', "", "not valid YAML"),
        ("a: \x01", "", "YAML does not allow"),
        ("[" * 3000, "", "nested too deeply"),
    ],
)
def test_a_mistake_says_where_and_what_is_allowed(text: str, key: str, message: str) -> None:
    problem = problem_of(text)
    assert problem.key == key
    assert message in problem.message


@pytest.mark.parametrize(
    ("text", "line"), [("streams:\n\tclients: 5m\n", 2), ("preset: night\t# why\n", 1), ("companies: [1,\n\t2]\n", 2)]
)
def test_a_tab_is_called_a_tab(text: str, line: int) -> None:
    assert problem_of(text) == Problem(line, "", "a tab stands here: YAML wants spaces")


def test_a_key_given_twice_names_the_first_line() -> None:
    problem = problem_of("preset: night\nlog: {level: info}\npreset: balanced\n")
    assert (problem.line, problem.key) == (3, "preset")
    assert "line 1" in problem.message


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:hunter2@host/db",
        "postgresql://me:hun#ter2@host/db",
        "postgresql://me:hun/ter2@host/db",
        "postgresql://me:hun?ter2@host/db",
        "postgresql://me@host/db?password=hunter2",
        "postgresql://host/db?user=me&PASSWORD=hunter2",
    ],
)
def test_a_password_in_the_file_is_refused_and_never_repeated(url: str) -> None:
    problem = problem_of(f"database:\n  url: '{url}'\n")
    assert (problem.line, problem.key) == (2, "database.url")
    assert "YCSYNC_DATABASE_URL" in problem.message
    assert "ter2" not in str(problem)


@pytest.mark.parametrize("key", ["partner_token", "user_token", "password", "YCLIENTS_LOGIN"])
def test_a_secret_in_the_file_is_sent_to_the_environment_and_never_repeated(key: str) -> None:
    problem = problem_of(f"yclients:\n  {key}: abc123secret\n")
    assert problem.line == 2
    assert "YCLIENTS_PARTNER_TOKEN" in problem.message
    assert "abc123secret" not in str(problem)


KEYS = st.sampled_from(
    [
        "preset",
        "yclients",
        "companies",
        "database",
        "streams",
        "http",
        "log",
        "presets",
        "history",
        "listen",
        "url",
        "schema",
        "level",
        "base_url",
        "per_minute",
        "egress",
        "clients",
        "balanced",
        "mine",
        "start_at",
        "interval",
    ]
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.dates(),
    st.binary(max_size=5),
)
VALUES = st.recursive(
    SCALARS | st.sampled_from(["embedded", "night", "5m", "postgres://a@b/c", "http://[", "127.0.0.1:1", "https://a:x/"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | SCALARS, inner, max_size=4),
    max_leaves=12,
)


def outcome(text: str) -> list[str]:
    """The preset in force, or the problems; nothing else may come out of a parse."""
    try:
        settings = parse_settings(text, "x")
    except ConfigError as error:
        return [str(problem) for problem in error.problems]
    assert settings.active in settings.presets.values()
    return [settings.preset]


@given(st.dictionaries(KEYS | st.text(max_size=8), VALUES, max_size=6))
def test_any_mapping_gives_settings_or_a_config_error(mapping: dict[str, object]) -> None:
    said = outcome(yaml.safe_dump(mapping, allow_unicode=True))
    assert said
    assert all(problem.isprintable() for problem in said)


@given(st.text(alphabet=st.characters(codec="utf-8") | st.sampled_from("{}[]:-&*!|>'\"%@`\n \t#?,"), max_size=60))
def test_any_text_gives_settings_or_a_config_error(text: str) -> None:
    assert outcome(text)


# --- overrides and reload


def test_the_command_line_changes_only_the_active_preset() -> None:
    before = Settings()
    after = before.with_overrides(preset="night", batch_size=3, interval=timedelta(0))
    assert (after.preset, after.active.batch_size, after.active.interval) == ("night", 3, timedelta(0))
    assert after.active.per_minute == before.presets["night"].per_minute
    assert after.presets["balanced"] == before.presets["balanced"]
    assert before == Settings()
    assert before.with_overrides() == before


def test_an_override_that_cannot_be_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="choose one of aggressive"):
        Settings().with_overrides(preset="fast")
    with pytest.raises(UsageError, match="batch size"):
        Settings().with_overrides(batch_size=0)
    with pytest.raises(UsageError, match="negative"):
        Settings().with_overrides(interval=timedelta(seconds=-1))


def test_what_needs_a_restart_says_so_and_the_rest_does_not() -> None:
    old = Settings()
    assert config.needs_restart(old, old.with_overrides(preset="night")) == ()
    new = dataclasses.replace(
        old,
        companies=(1,),
        http=Http("::1", 1),
        database=dataclasses.replace(old.database, schema_name="b"),
        yclients=dataclasses.replace(old.yclients, egress="b", per_minute=100),
    )
    assert config.needs_restart(old, new) == ("yclients.egress", "database.schema", "http.listen")
