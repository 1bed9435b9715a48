"""Is what the driver reports said so that somebody can do something about it, and without a value of a row?"""

from __future__ import annotations

import asyncpg
import pytest

from ycsync.errors import DatabaseError, DatabaseUnavailable, NoRoom
from ycsync.store.database import translated


@pytest.mark.parametrize(
    ("raised", "kind", "says"),
    [
        (
            asyncpg.InsufficientPrivilegeError("permission denied for schema yclients"),
            DatabaseError,
            "the role lacks a right (permission denied for schema yclients). Grant it CREATE",
        ),
        (
            # systemd gave the private server's files to the service while root's own server had them open.
            asyncpg.InsufficientPrivilegeError('could not open file "base/5/16402": Permission denied'),
            DatabaseUnavailable,
            "end this command and ask again",
        ),
        (asyncpg.DiskFullError('could not extend file "base/5/16402"'), NoRoom, "the database's disk is full. Make room"),
    ],
)
def test_an_error_of_the_driver_says_what_to_do(raised: Exception, kind: type[DatabaseError], says: str) -> None:
    with pytest.raises(kind) as told, translated("here"):
        raise raised
    assert type(told.value) is kind
    assert str(told.value).startswith("here: ")
    assert says in str(told.value)


@pytest.mark.parametrize(
    ("raised", "ends"),
    [
        (ConnectionRefusedError(), "Is it running, and is {} right?"),
        (asyncpg.InvalidCatalogNameError(), "Create it, or correct {}."),
        (asyncpg.InvalidPasswordError(), "Correct the URL in {}."),
    ],
)
@pytest.mark.parametrize("url_from", ["YCSYNC_DATABASE_URL", "/etc/ycsync/credentials/database_url"])
def test_a_database_that_is_not_there_names_what_gave_its_address(raised: Exception, ends: str, url_from: str) -> None:
    with pytest.raises(DatabaseUnavailable) as told, translated("here", url_from):
        raise raised
    assert str(told.value).endswith(ends.format(url_from))


def test_a_password_is_never_sent_into_the_configuration() -> None:
    with pytest.raises(DatabaseUnavailable, match="Set YCSYNC_DATABASE_URL"), translated("here", "database.url in /etc/c"):
        raise asyncpg.InvalidPasswordError()
