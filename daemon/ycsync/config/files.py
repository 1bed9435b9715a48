"""Which file is the configuration, and what does it say together with the environment's secrets?"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from ycsync.config.parse import read_settings
from ycsync.config.secrets import Secrets, hidden_folder, load_secrets
from ycsync.config.settings import Settings
from ycsync.config.tokens import SalonTokens, salon_tokens
from ycsync.errors import ConfigError, Problem

INSTALLED: Final = Path("/etc/ycsync/config.yaml")
_LONGEST: Final = 1_000_000
# Keys, and what a misspelt section or a lost indentation makes of them, that say which database and budget are meant.
_DECISIVE: Final = ("database", "yclients", "url", "schema", "egress")
_NEAR: Final = 0.7


@dataclass(frozen=True, slots=True)
class InForce:
    """Which database and budget a running service works with until it ends. No secret: the file may hold none."""

    url: str
    schema_name: str
    egress: str

    @classmethod
    def of(cls, settings: Settings) -> InForce:
        """What a service that starts with these settings works with."""
        return cls(settings.database.url, settings.database.schema_name, settings.yclients.egress)

    def applied(self, settings: Settings) -> Settings:
        """`settings` with this database and budget."""
        database = replace(settings.database, url=self.url, schema_name=self.schema_name)
        return replace(settings, database=database, yclients=replace(settings.yclients, egress=self.egress))


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration as it was read: where from, what it says, and the secrets beside it."""

    path: Path
    settings: Settings
    secrets: Secrets
    hidden: Path | None = None  # a folder of secrets that this user may not read, where none came from elsewhere
    mistakes: tuple[Problem, ...] = ()  # of the file, where it was read all the same: those keys have their defaults
    borrowed: bool = False  # which database and budget is the running service's word, not the file's
    salon_tokens: SalonTokens = field(default_factory=SalonTokens)

    @property
    def database_url(self) -> str:
        """Where to connect; it may hold a password: never print it. The environment wins over the file."""
        return self.secrets.database_url or self.settings.database.url

    @property
    def database_url_from(self) -> str:
        """What to correct where that URL is wrong: a variable, a file, or a key of the configuration."""
        if self.secrets.database_url:
            return self.secrets.database_url_from
        return "database.url of the running service" if self.borrowed else f"database.url in {self.path}"


def find_config(explicit: Path | None, cwd: Path) -> Path:
    """`explicit`, else config.yaml in `cwd`, else the installed one; ConfigError names all tried.

    In a checkout of ycsync itself config.yaml is the example: there the installed one, if any, comes first. Who has just run
    deploy/install stands in one.
    """
    tried = (cwd / "config.yaml", INSTALLED) if explicit is None else (cwd / explicit,)
    if explicit is None and (cwd / "daemon" / "ycsync").is_dir():
        tried = tried[::-1]
    for path in tried:
        if path.exists() and not path.is_dir():
            return path
    names = " or ".join(str(path) for path in tried)
    where = str(tried[0])
    raise ConfigError(where, (Problem(None, "", f"no configuration at {names}: make one, or name it with --config"),))


def load(path: Path, env: Mapping[str, str], *, lenient: bool = False, in_force: InForce | None = None) -> Loaded:
    """The file at `path` and the secrets in `env` or beside the file; raises ConfigError with the mistakes of both.

    `lenient`: a mistake is borne that leaves no doubt about the database and the budget, for who only looks or stops;
    with `in_force`, which a running service says, any mistake of the file is.
    """
    problems: list[Problem] = []
    settings, secrets = Settings(), Secrets()
    mistakes: tuple[Problem, ...] = ()
    try:
        settings, mistakes = read_settings(read_text(path))
    except ConfigError as error:
        mistakes = error.problems
    doubtful = any(map(_leaves_doubt, mistakes))
    # A file that was edited and not yet taken by a restart says where the service will work, not where it does.
    borrowed = lenient and in_force is not None and (doubtful or in_force != InForce.of(settings))
    if in_force is not None and borrowed:
        settings = in_force.applied(settings)
    elif doubtful or not lenient:
        problems.extend(mistakes)
    try:
        secrets = load_secrets(env, path.absolute().parent)
    except ConfigError as error:
        problems.extend(error.problems)
    tokens, wrong = salon_tokens(env, path.absolute().parent, settings.salons)
    problems.extend(() if lenient else wrong)
    if problems:
        raise ConfigError(str(path), tuple(problems))
    hidden = hidden_folder(env, path.absolute().parent) if secrets == Secrets() else None
    return Loaded(path, settings, secrets, hidden, mistakes, borrowed, tokens)


def _leaves_doubt(mistake: Problem) -> bool:
    """Whether the database or the budget may be another than the settings have it."""
    return not mistake.key or bool(difflib.get_close_matches(mistake.key.split(".")[0], _DECISIVE, n=1, cutoff=_NEAR))


def read_text(path: Path) -> str:
    """The file's text with its line ends as they are; raises ConfigError if it cannot be read."""
    try:
        with path.open("rb") as file:
            content = file.read(_LONGEST + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "bad path"
        raise _unreadable(path, f"cannot be read ({reason}): check the path and its permissions") from error
    if len(content) > _LONGEST:
        raise _unreadable(path, "is larger than 1 MB: is this the right file?")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _unreadable(path, "is not UTF-8 text: save it as UTF-8", line) from None


def _unreadable(path: Path, message: str, line: int | None = None) -> ConfigError:
    return ConfigError(str(path), (Problem(line, "", message),))
