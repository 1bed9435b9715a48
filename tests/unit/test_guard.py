"""Who is taken for somebody who means this service?"""

from __future__ import annotations

import pytest

from ycsync.web.guard import host_name, is_from_elsewhere, is_host_known


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("localhost:8750", "localhost"), ("127.0.0.1", "127.0.0.1"), ("[::1]:8750", "::1"), ("Salon.Example.", "salon.example"),
        (None, None), ("", None), ("a b", None), ("a/b", None), ("user@host", None), ("host:port", None), ("[::1", None),
        ("a:1:2", None),
    ],
)  # fmt: skip
def test_the_host_of_a_header(header: str | None, name: str | None) -> None:
    assert host_name(header) == name


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8750", "[::1]:8750", "192.168.1.5", "localhost", "me.localhost:1", "mine.example:80"]
)
def test_addresses_localhost_and_own_names_are_known(host: str) -> None:
    assert is_host_known(host, ("mine.example",))


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "mine.example.evil", "", "256.1.1.1"]
)
def test_other_names_are_not(host: str) -> None:
    assert not is_host_known(host, ("mine.example",))


@pytest.mark.parametrize(
    ("headers", "elsewhere"),
    [
        ({}, False),
        ({"Origin": "http://127.0.0.1:8750", "Host": "127.0.0.1:8750"}, False),
        ({"Origin": "https://mine.example", "Host": "127.0.0.1:8750"}, False),  # a proxy that ends TLS
        ({"Origin": "http://localhost:80", "Host": "localhost"}, False),
        ({"Sec-Fetch-Site": "same-origin"}, False),
        ({"Sec-Fetch-Site": "none"}, False),
        ({"Sec-Fetch-Site": "cross-site"}, True),
        ({"Sec-Fetch-Site": "same-site"}, True),
        ({"Origin": "null", "Host": "127.0.0.1:8750"}, True),
        ({"Origin": "http://evil.example", "Host": "127.0.0.1:8750"}, True),
        ({"Origin": "http://127.0.0.1:9999", "Host": "127.0.0.1:8750"}, True),
        ({"Origin": "http://[", "Host": "127.0.0.1:8750"}, True),
        ({"Origin": "https://mine.example.evil", "Host": "mine.example"}, True),
    ],
)
def test_another_sites_page_is_known_by_what_the_browser_says(headers: dict[str, str], elsewhere: bool) -> None:
    assert is_from_elsewhere(headers, ("mine.example",)) is elsewhere
