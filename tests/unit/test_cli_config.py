"""Do `preset` and `config check` read and edit the file, and reach a running service?"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from ycsync.cli import config as commands
from ycsync.cli.app import app
from ycsync.errors import YcsyncError

RUNNER = CliRunner()
TEXT = "# ours\npreset: balanced  # for now\npresets:\n  gentle: {per_second: 1}\n"


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))  # no service of this machine is reached
    path = tmp_path / "config.yaml"
    path.write_text(TEXT, "utf-8")
    return path


def call(config: Path, *args: str) -> Result:
    return RUNNER.invoke(app, [*args, "--config", str(config)])


def test_the_list_marks_the_preset_in_force(config: Path) -> None:
    lines = call(config, "preset", "list").stdout.splitlines()
    assert [line.split()[0] for line in lines if line.startswith("*")] == ["*"]
    assert any(line.startswith("* balanced") for line in lines)
    assert any(line.startswith("  gentle") for line in lines)


def test_a_preset_is_shown_as_the_file_spells_it(config: Path) -> None:
    assert "balanced (in force)" in call(config, "preset", "show").stdout
    night = call(config, "preset", "show", "night").stdout
    assert "start_at      22:00" in night
    document = json.loads(call(config, "preset", "show", "night", "--json").stdout)
    assert document == {
        "name": "night", "active": False, "batch_size": 25, "interval_s": 3600.0, "per_minute": 50, "per_second": 2,
        "min_delay_s": 1.0, "max_retries": 5, "recheck_days": 180, "start_at": "22:00",
    }  # fmt: skip
    assert call(config, "preset", "show", "none").exit_code == 2


def test_using_a_preset_changes_one_word_and_reset_goes_back(config: Path) -> None:
    result = call(config, "preset", "use", "gentle")
    assert result.exit_code == 0, result.output
    assert config.read_text("utf-8") == TEXT.replace("balanced", "gentle")
    assert "No service runs with this file" in result.stdout
    assert call(config, "preset", "reset").exit_code == 0
    assert config.read_text("utf-8") == TEXT


def test_a_reset_says_what_else_it_takes_back_and_how_it_comes_again(config: Path) -> None:
    call(config, "preset", "use", "night")
    edited = config.read_text("utf-8").replace("presets:", "companies: [4001]\npresets:")
    config.write_text(edited, "utf-8")
    said = call(config, "preset", "reset").stdout
    assert "also taken back: line 3: companies: [4001]\n`ycsync preset reset` once more brings them again.\n" in said
    call(config, "preset", "reset")
    assert config.read_text("utf-8") == edited
    config.write_text(edited + "# x\n" * 30, "utf-8")
    many = call(config, "preset", "reset").stdout
    assert many.count("also taken back: ") == 21


def test_an_unknown_preset_changes_nothing(config: Path) -> None:
    result = call(config, "preset", "use", "turbo")
    assert result.exit_code == 2
    assert "gentle" in result.stderr
    assert config.read_text("utf-8") == TEXT


def test_a_running_service_is_made_to_take_the_preset(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Path] = []

    def reload_service(path: Path) -> str:
        told.append(path)
        return "The service has reloaded."

    monkeypatch.setattr(commands, "reload_service", reload_service)
    assert "The service has reloaded." in call(config, "preset", "use", "night").stdout
    assert told == [config]


def test_a_service_that_refuses_is_said(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def reload_service(_path: Path) -> str:
        raise YcsyncError("the service keeps its old settings: line 1")

    monkeypatch.setattr(commands, "reload_service", reload_service)
    result = call(config, "preset", "use", "night")
    assert result.exit_code == 1
    assert "keeps its old settings" in result.stderr


def test_check_names_every_mistake_with_its_line(config: Path) -> None:
    config.write_text("preset: turbo\nhistry: auto\nstreams: {clients: 5}\n", "utf-8")
    result = call(config, "config", "check")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert [f"line {n}" in line for n, line in enumerate(result.stderr.splitlines(), 1)] == [True] * 3


def test_check_does_not_call_missing_what_it_may_not_see(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (config.parent / "credentials").mkdir()
    monkeypatch.setattr("ycsync.config.secrets._open", lambda _: False)  # root may read everything
    monkeypatch.setenv("YCSYNC_DATABASE_URL", "embedded")
    result = call(config, "config", "check")
    assert result.exit_code == 0
    assert result.stderr == (
        f"warning: {config.parent}/credentials may be read by root only: whether the tokens are there was not looked at; "
        "with sudo it is\n"
    )


def test_check_of_a_good_file_says_what_it_means_and_warns_of_missing_tokens(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = call(config, "config", "check")
    assert result.exit_code == 0
    assert "good. preset balanced; salons: every one of the user token" in result.stdout
    assert "YCLIENTS_PARTNER_TOKEN" in result.stderr
    assert "YCLIENTS_USER_TOKEN" in result.stderr
    assert f"{config.parent}/credentials/yclients_user_token" in result.stderr
    monkeypatch.setenv("YCLIENTS_PARTNER_TOKEN", "partner")
    monkeypatch.setenv("YCLIENTS_LOGIN", "me")
    monkeypatch.setenv("YCLIENTS_PASSWORD", "secret")
    assert call(config, "config", "check").stderr == ""
    config.write_text("yclients: {local_address: 192.0.2.7}\n", "utf-8")
    elsewhere = call(config, "config", "check")
    assert (elsewhere.exit_code, elsewhere.stderr.count("warning: ")) == (0, 1), "it may be the service's machine's"
    assert "192.0.2.7 is not an address of this machine" in elsewhere.stderr
