"""Which salon has a user token of its own, and where does it stand?

`user_token_env: NAME` means the variable NAME, else the line `NAME=TOKEN` of the file `salon_tokens` among the credentials: one
file for any number of salons, which the unit as it is installed hands to the service.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final

from ycsync.config.secrets import SALON_TOKENS, check_token, folder_of, home_of, secret_file
from ycsync.config.settings import SalonSettings
from ycsync.errors import ConfigError, Problem, UsageError

_LONGEST: Final = 1_000_000


@dataclass(frozen=True, slots=True, repr=False)
class SalonTokens:
    """The own tokens, by salon; a salon that has one is never asked for with another. `repr` shows none.

    `origins`: of each salon that has one, where to correct it. `missing`: salons whose token is nowhere.
    """

    found: Mapping[int, str] = field(default_factory=lambda: MappingProxyType({}))
    origins: Mapping[int, str] = field(default_factory=lambda: MappingProxyType({}))
    missing: tuple[Problem, ...] = ()

    def __repr__(self) -> str:
        return f"SalonTokens({len(self.found)} set, {len(self.missing)} missing)"

    def check(self, path: Path) -> None:
        """Raise ConfigError, with the lines of the file, if a salon's token is missing."""
        if self.missing:
            raise ConfigError(str(path), self.missing)


def salon_tokens(
    env: Mapping[str, str], beside: Path, salons: Mapping[int, SalonSettings]
) -> tuple[SalonTokens, tuple[Problem, ...]]:
    """The own tokens of `salons`, and what is wrong with those that are there; nothing repeats one."""
    owning = {company: own for company, own in salons.items() if own.user_token_env is not None}
    if not owning:
        return SalonTokens(), ()
    file = home_of(env, beside) / SALON_TOKENS
    written, problems = _written(folder_of(env, beside), file)
    found: dict[int, str] = {}
    origins: dict[int, str] = {}
    missing: list[Problem] = []
    for company, own in owning.items():
        name = own.user_token_env or ""
        value = env.get(name, "").strip()
        origins[company] = name if value else f"{name} in {file}"
        value = value or written.get(name, "")
        if not value:
            told = f"salon {company}: {name} is not set: write the line `{name}=TOKEN` into {file}, or set that variable"
            missing.append(Problem(own.line, "companies.user_token_env", f"{told}; then `systemctl restart ycsync`"))
            continue
        try:
            check_token(value)
        except UsageError as error:
            problems.append(Problem(own.line, "companies.user_token_env", f"salon {company}: {origins[company]} {error}"))
            continue
        found[company] = value
    return SalonTokens(MappingProxyType(found), MappingProxyType(origins), tuple(missing)), tuple(problems)


def _written(folder: str, shown: Path) -> tuple[dict[str, str], list[Problem]]:
    """The names and tokens of the file, and its mistakes. Empty lines and those that begin with # say nothing."""
    found: dict[str, str] = {}
    problems: list[Problem] = []
    if not folder:
        return found, problems
    try:
        text = secret_file(Path(folder) / SALON_TOKENS, _LONGEST)
    except UsageError as error:
        return found, [Problem(None, str(shown), str(error))]
    for number, line in enumerate(text.splitlines(), 1):
        name, equals, value = (part.strip() for part in line.partition("="))
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if not equals or not name.isidentifier() or name in found:
            why = "a name that stands there twice" if name in found else "not NAME=TOKEN"
            problems.append(Problem(None, str(shown), f"its line {number} is {why}: write one line for each name"))
            continue
        found[name] = value
    return found, problems
