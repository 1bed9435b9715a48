"""What may a salon have of its own in the configuration, and where is its token found?"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ycsync import config
from ycsync.config import SalonSettings, parse_settings
from ycsync.config.parse import read_settings
from ycsync.errors import ConfigError
from ycsync.notify import Notifier
from ycsync.service.daemon import Daemon
from ycsync.service.engine import check_tokens, pace_s
from ycsync.service.runtime import Server

TOKEN = "a1b2c3d4e5f6"
FILE = """\
companies:
  - 4001
  - {id: 4002, preset: night, user_token_env: TOKEN_A}
  - id: "4003"
    user_token_env: TOKEN_B
  - {id: 4004}
"""
COMMON = {"YCLIENTS_PARTNER_TOKEN": "partner", "YCLIENTS_USER_TOKEN": "user"}


def test_a_salon_is_a_number_or_has_settings_of_its_own() -> None:
    settings = parse_settings(FILE, "x")
    assert settings.companies == (4001, 4002, 4003, 4004)
    assert settings.salons == {
        4002: SalonSettings("night", "TOKEN_A"),
        4003: SalonSettings(None, "TOKEN_B"),
        4004: SalonSettings(),
    }
    assert settings.own_tokens == {4002, 4003}
    assert settings.for_salon(4002).active == settings.presets["night"]
    assert settings.for_salon(4003) is settings
    assert settings.needs_common_token
    every = parse_settings("companies: [all, {id: 4002, user_token_env: A}]", "x")
    assert every.companies == ()
    assert every.own_tokens == {4002}
    assert every.needs_common_token
    assert not parse_settings("companies: [{id: 4002, user_token_env: A}]", "x").needs_common_token


@pytest.mark.parametrize(
    ("item", "key", "message"),
    [
        ("{preset: night}", "companies", "needs its id"),
        ("{id: x}", "companies.id", "whole number"),
        ("{id: 1, preset: nigth}", "companies.preset", "did you mean `night`"),
        ("{id: 1, prest: night}", "companies.prest", "did you mean `preset`"),
        ("{id: 1, user_token: a1b2c3d4e5f6}", "companies.user_token", "write `user_token_env: NAME`"),
        ("{id: 1, user_token_env: a1b2c3d4e5f6}", "companies.user_token_env", "not the token itself"),
        ("{id: 1, user_token_env: YCLIENTS_PARTNER_TOKEN}", "companies.user_token_env", "another secret"),
        ("{id: 1, password: a1b2c3d4e5f6}", "companies.password", "not kept in this file"),
        ("{id: 5}", "companies", "listed twice (first on line 2)"),
        ("alle", "companies", "whole number"),
    ],
)
def test_a_mistake_in_a_salon_has_its_line_and_shows_no_token(item: str, key: str, message: str) -> None:
    _, problems = read_settings(f"companies:\n  - 5\n  - {item}\n")
    assert [(one.line, one.key) for one in problems] == [(3, key)]
    assert message in problems[0].message
    assert TOKEN not in problems[0].message


def loaded(folder: Path, env: dict[str, str], tokens: str | None = None) -> config.Loaded:
    (folder / "config.yaml").write_text(FILE, "utf-8")
    if tokens is not None:
        (folder / "credentials").mkdir(exist_ok=True)
        (folder / "credentials" / "salon_tokens").write_text(tokens, "utf-8")
    return config.load(folder / "config.yaml", env)


def test_a_token_is_a_variable_or_a_line_of_the_file(tmp_path: Path) -> None:
    text = f"# of two owners\n\nTOKEN_A = wrong-{TOKEN}\nTOKEN_B={TOKEN}b\n"
    found = loaded(tmp_path, {**COMMON, "TOKEN_A": TOKEN}, text)
    check_tokens(found)
    assert dict(found.salon_tokens.found) == {4002: TOKEN, 4003: f"{TOKEN}b"}
    assert dict(found.salon_tokens.origins) == {4002: "TOKEN_A", 4003: f"TOKEN_B in {tmp_path}/credentials/salon_tokens"}
    assert TOKEN not in repr(found)


def test_a_token_that_is_missing_says_which_salon_where_and_what_to_do(tmp_path: Path) -> None:
    found = loaded(tmp_path, {**COMMON, "TOKEN_A": TOKEN})  # whoever only looks needs none
    with pytest.raises(ConfigError) as caught:
        check_tokens(found)
    (problem,) = caught.value.problems
    assert problem.line == 4
    assert "salon 4003: TOKEN_B is not set" in problem.message
    assert f"write the line `TOKEN_B=TOKEN` into {tmp_path}/credentials/salon_tokens" in problem.message


@pytest.mark.parametrize(
    ("env", "tokens", "message"),
    [
        ({"TOKEN_A": f"'{TOKEN}'"}, "", "line 3: companies.user_token_env: salon 4002: TOKEN_A give the bare value"),
        ({"TOKEN_A": TOKEN}, f"TOKEN_B=User {TOKEN}", "without the word `User`"),
        ({"TOKEN_A": TOKEN}, f"TOKEN_B={TOKEN}\n{TOKEN}", "its line 2 is not NAME=TOKEN"),
        ({"TOKEN_A": TOKEN}, f"B={TOKEN}\nB={TOKEN}", "its line 2 is a name that stands there twice"),
    ],
)
def test_a_token_that_is_none_is_refused_unseen(tmp_path: Path, env: dict[str, str], tokens: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, {**COMMON, **env}, tokens)
    assert message in str(caught.value)
    assert TOKEN not in str(caught.value)


def test_a_salons_preset_paces_it_and_never_raises_the_budget() -> None:
    settings = parse_settings(FILE, "x")
    assert pace_s(settings, 4002) == 60 / 50  # night: 50 a minute
    assert pace_s(settings, 4001) == 0
    # A preset that is asked for holds for all.
    assert pace_s(settings.with_overrides(preset="aggressive"), 4002) == 0
    assert settings.with_overrides(batch_size=3).for_salon(4002).active == settings.presets["night"]


def test_a_reload_takes_which_salon_has_which_token_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**COMMON, "TOKEN_A": TOKEN}.items():
        monkeypatch.setenv(name, value)
    before = loaded(tmp_path, dict(COMMON))
    daemon = Daemon(before, Server("postgresql://nobody@localhost/x"), Notifier({}))
    engine = cast(Any, SimpleNamespace(current=SimpleNamespace(settings=before.settings), api=SimpleNamespace(own=None)))
    daemon._swap(engine)
    assert (daemon.problem or "").startswith("line 4: companies.user_token_env: salon 4003: TOKEN_B is not set")
    assert vars(engine.api) == {"own": None}
    loaded(tmp_path, {}, f"TOKEN_B={TOKEN}b\n")
    daemon._swap(engine)
    assert daemon.problem is None
    assert dict(engine.api.own.found) == {4002: TOKEN, 4003: f"{TOKEN}b"}
    assert engine.current.settings.own_tokens == {4002, 4003}
