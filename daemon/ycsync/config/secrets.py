"""Where do the secrets come from? The environment, else files that systemd's LoadCredential= put there.

A command that an administrator types has no such folder: it reads the files that LoadCredential= takes them from, which lie
beside the configuration.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Final

from ycsync.config.parse import check_database_url
from ycsync.errors import ConfigError, Problem, UsageError

_LONGEST: Final = 16_384
_SHORTEST_ADMIN: Final = 16
_LONGEST_HOOK: Final = 200
# What may stand in `Authorization: Bearer <token>, User <token>`: visible ASCII, and no comma.
_IN_A_PATH: Final = re.compile(r"[A-Za-z0-9_-]+")
_TOKEN: Final = re.compile(r"[!-+\--~]+")
FOLDER: Final = "credentials"  # beside the configuration
SALON_TOKENS: Final = "salon_tokens"  # of many salons, see `tokens`
_OF_SYSTEMD: Final = "/run/credentials/"  # where it puts what LoadCredential= takes from elsewhere
_SCHEMES: Final = ("bearer", "user")  # of the header; not part of a token

_PLACES: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "partner_token": ("YCLIENTS_PARTNER_TOKEN", "yclients_partner_token"),
        "user_token": ("YCLIENTS_USER_TOKEN", "yclients_user_token"),
        "login": ("YCLIENTS_LOGIN", "yclients_login"),
        "password": ("YCLIENTS_PASSWORD", "yclients_password"),
        "database_url": ("YCSYNC_DATABASE_URL", "database_url"),
        "admin_token": ("YCSYNC_ADMIN_TOKEN", "admin_token"),
        "hook_secret": ("YCSYNC_HOOK_SECRET", "hook_secret"),
    }
)
"""Each secret's variable and file."""


@dataclass(frozen=True, slots=True, repr=False)
class Secrets:
    """What must never be shown: `repr` and `str` say only which ones are there."""

    partner_token: str | None = None
    user_token: str | None = None
    login: str | None = None
    password: str | None = None
    database_url: str | None = None
    admin_token: str | None = None  # of the status page; None: it changes nothing
    hook_secret: str | None = None  # in the address of the webhooks; None: none is taken
    folder: Path = field(default=Path(FOLDER), compare=False)  # where whoever writes a secret writes its file
    database_url_from: str = field(default="", compare=False)  # the variable, or the file

    def __repr__(self) -> str:
        states = (f"{f.name}={'absent' if getattr(self, f.name) is None else 'set'}" for f in fields(self) if f.compare)
        return f"Secrets({', '.join(states)})"


def load_secrets(env: Mapping[str, str], beside: Path | None = None) -> Secrets:
    """The secrets in `env`, else in the files of `$CREDENTIALS_DIRECTORY`, else in those of the folder `credentials` in
    `beside`, if this user may read it; an empty one counts as absent.

    Raises ConfigError with every unusable one; the message names it and never repeats it.
    """
    problems: list[Problem] = []
    origins: dict[str, str] = {}
    home = home_of(env, beside)
    folder = folder_of(env, beside)

    def find(variable: str, file: str, check: Callable[[str], object]) -> str | None:
        value, origin = env.get(variable, "").strip(), variable
        try:
            if not value and folder:
                origin = str(home / file)
                value = secret_file(Path(folder) / file)
            if value:
                check(value)
        except UsageError as error:
            problems.append(Problem(None, origin, str(error)))
            return None
        origins[variable] = origin
        return value or None

    found = {name: find(variable, file, _CHECKS.get(name, _check_text)) for name, (variable, file) in _PLACES.items()}
    if problems:
        raise ConfigError("secrets", tuple(problems))
    return Secrets(**found, folder=home, database_url_from=origins["YCSYNC_DATABASE_URL"])


def folder_of(env: Mapping[str, str], beside: Path | None) -> str:
    """Where the files are read; "" where there are none that this user may read."""
    return env.get("CREDENTIALS_DIRECTORY", "").strip() or _installed(beside)


def home_of(env: Mapping[str, str], beside: Path | None) -> Path:
    """Where the files are to be written: not where systemd puts copies, if those of an installation are known."""
    given = env.get("CREDENTIALS_DIRECTORY", "").strip()
    own = (beside or Path()) / FOLDER
    return own if not given or (given.startswith(_OF_SYSTEMD) and own.is_dir()) else Path(given)


def missing_said(secrets: Secrets, *, common: bool = True) -> tuple[str, ...]:
    """Each token that is missing, and where it is to be written. `common`: a user token that salons share is needed."""
    told = []
    for what, file in missing_secrets(secrets, common=common):
        other = " (or YCLIENTS_LOGIN and YCLIENTS_PASSWORD)" if what == "user token" else ""
        told.append(f"no {what}: write it, and nothing else, into {secrets.folder / file}, or set {file.upper()}{other}")
    return tuple(told)


def missing_secrets(secrets: Secrets, *, common: bool = True) -> tuple[tuple[str, str], ...]:
    """Which of the tokens that no request goes without are not there: what each is, and its file."""
    lacking = [] if secrets.partner_token else [("partner token", "yclients_partner_token")]
    if common and not secrets.user_token and not (secrets.login and secrets.password):
        lacking.append(("user token", "yclients_user_token"))
    return tuple(lacking)


def secret_files() -> tuple[str, ...]:
    """The names of the files."""
    return (*(file for _, file in _PLACES.values()), SALON_TOKENS)


def hidden_folder(env: Mapping[str, str], beside: Path) -> Path | None:
    """The folder of secrets that would be read, if only another user may."""
    folder = beside / FOLDER
    hidden = not env.get("CREDENTIALS_DIRECTORY", "").strip() and folder.is_dir() and not _open(folder)
    return folder if hidden else None


def _installed(beside: Path | None) -> str:
    folder = None if beside is None else beside / FOLDER
    return str(folder) if folder is not None and _open(folder) else ""


def _open(folder: Path) -> bool:
    return os.access(folder, os.R_OK | os.X_OK)


def secret_file(path: Path, longest: int = _LONGEST) -> str:
    """A file's text; none is as good as an empty one. Raises UsageError, which never repeats what stands in it."""
    try:
        with path.open("rb") as file:
            content = file.read(longest + 1)
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "bad path"
        raise UsageError(f"the file cannot be read ({reason}): check LoadCredential= and its owner") from None
    if len(content) > longest:
        raise UsageError("the file is far too long for a secret: check that it is the right one")
    try:
        return content.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        raise UsageError("the file is not UTF-8 text: write the bare secret into it") from None


def check_token(value: str) -> None:
    """Raises UsageError, which does not repeat it, for what is no token."""
    _check_unquoted(value)
    word = value.split(maxsplit=1)[0]
    if word.lower() in _SCHEMES and word != value:
        raise UsageError(f"give the token alone, without the word `{word}` before it")
    if not _TOKEN.fullmatch(value):
        raise UsageError("holds characters that no token has (a space, a comma, a line break, a non-Latin letter)")


def _check_admin(value: str) -> None:
    _check_unquoted(value)
    if not _TOKEN.fullmatch(value) or len(value) < _SHORTEST_ADMIN:
        raise UsageError(
            f"must be at least {_SHORTEST_ADMIN} letters and digits that nobody guesses, "
            "as `head -c 24 /dev/urandom | base64` makes them"
        )


def _check_hook(value: str) -> None:
    _check_unquoted(value)
    if not _IN_A_PATH.fullmatch(value) or not _SHORTEST_ADMIN <= len(value) <= _LONGEST_HOOK:
        raise UsageError(
            f"must be {_SHORTEST_ADMIN} to {_LONGEST_HOOK} letters, digits, - and _ that nobody guesses, "
            "as `head -c 24 /dev/urandom | base64 | tr +/ -_` makes them"
        )


def _check_url(value: str) -> None:
    _check_unquoted(value)
    check_database_url(value)


def _check_unquoted(value: str) -> None:
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        raise UsageError("give the bare value, without quotes around it")


def _check_text(value: str) -> None:
    if not value.isprintable():
        raise UsageError("holds a line break or a control character: give the bare value")


_CHECKS: Final[Mapping[str, Callable[[str], object]]] = MappingProxyType(
    {
        "partner_token": check_token,
        "user_token": check_token,
        "database_url": _check_url,
        "admin_token": _check_admin,
        "hook_secret": _check_hook,
    }
)
