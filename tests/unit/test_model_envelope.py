"""Is an answer's envelope understood, in every shape in which PHP may write it?"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ycsync.model import Envelope, MalformedBody, decode_envelope

# A machine's first run builds Hypothesis' tables of Unicode, seconds that say nothing about the code.
_unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            b'{"success":true,"data":[{"id":1},{"id":2}],"meta":{"page":1,"total_count":8}}',
            Envelope(True, (b'{"id":1}', b'{"id":2}'), 8, None),
        ),
        (b'{"success":true,"data":{"id":1},"meta":[]}', Envelope(True, (b'{"id":1}',), None, None, single=True)),
        (b'{"success":1,"data":[],"meta":{"total_count":"0"}}', Envelope(True, (), 0, None)),
        (b'{"success":"1","data":{},"meta":[]}', Envelope(True, (), None, None)),
        (b'{"data":[{"id":1}]}', Envelope(True, (b'{"id":1}',), None, None)),
        (b'{"data":{"0":{"id":1},"2":{"id":3}}}', Envelope(True, (b'{"id":1}', b'{"id":3}'), None, None)),
        (b'{"success":true,"data":[null, 1, "x"]}', Envelope(True, (b"null", b"1", b'"x"'), None, None)),
        (b'{"success":false,"data":null,"meta":{"message":"stop"}}', Envelope(False, (), None, "stop")),
        (b'{"success":0,"data":null,"meta":[]}', Envelope(False, (), None, None)),
        (b'{"success":"0"}', Envelope(False, (), None, None)),
        (b'{"errors":{"message":"bad"},"meta":[]}', Envelope(False, (), None, "bad")),
        (b'{"errors":{"message":"bad"},"meta":{"message":"worse"}}', Envelope(False, (), None, "worse")),
        (b'{"meta":{"message":"worse"}}', Envelope(False, (), None, "worse")),
        (
            b'{"success":true,"data":[],"meta":{"total_count":true,"message":5}}',
            Envelope(True, (), None, None),
        ),
        (b'{"success":true,"data":[],"meta":{"total_count":12.0}}', Envelope(True, (), 12, None)),
        (b'{"success":true,"data":[],"meta":{"total_count":-1}}', Envelope(True, (), None, None)),
        (b'{"success":true,"data":[],"meta":{"total_count":"many"}}', Envelope(True, (), None, None)),
    ],
)
def test_an_envelope(body: bytes, expected: Envelope) -> None:
    assert decode_envelope(body) == expected
    # The slow way, forced by a byte order mark, says the same.
    assert decode_envelope(b"\xef\xbb\xbf" + body) == expected


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"<html>502</html>",
        b'{"success":true,"data":[{"id":1}',
        b"null",
        b"[]",
        b'"text"',
        b"5",
        b"\xff\xfe",
        b'{"data":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b"[" * 100_000,
        b'{"data":' + b'{"a":' * 100_000,
    ],
)
def test_what_is_no_envelope_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedBody):
        decode_envelope(body)


def test_an_error_quotes_nothing_of_the_body() -> None:
    with pytest.raises(MalformedBody) as caught:
        decode_envelope(b'{"data":[{"name":"secretname","phone":79990000011 oops')
    assert "secretname" not in str(caught.value)
    assert "7999" not in str(caught.value)


@pytest.mark.parametrize(
    ("bad", "read"),
    [
        (b"NaN", "NaN"),
        (b"-Infinity", "-Infinity"),
        (b'"a\x01b"', "a\x01b"),
        (b'"a\\ud800b"', "a\ufffdb"),
        (b'"a\xffb"', "a\ufffdb"),
        (b'"tab\there"', "tab\there"),
    ],
)
def test_the_other_rows_survive_one_bad_value(bad: bytes, read: str) -> None:
    body = b'{"success":true,"data":[{"id":1,"sum":0.10},{"id":2,"x":NaN,"v":' + bad + b'}],"meta":{"total_count":2}}'
    envelope = decode_envelope(body)
    assert envelope.total == 2
    assert envelope.rows[0] == b'{"id":1,"sum":0.10}'
    assert json.loads(envelope.rows[1]) == {"id": 2, "x": "NaN", "v": read}


@_unhurried
@given(st.binary())
def test_any_bytes_are_an_envelope_or_malformed(body: bytes) -> None:
    try:
        envelope = decode_envelope(body)
    except MalformedBody:
        return
    assert isinstance(envelope, Envelope)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@_unhurried
@given(st.fixed_dictionaries({}, optional={key: _json for key in ("success", "data", "meta", "errors")}))
def test_any_json_object_with_data_is_an_envelope(body: dict[str, Any]) -> None:
    try:
        envelope = decode_envelope(json.dumps(body).encode())
    except MalformedBody:
        assert not isinstance(body.get("data"), list | dict)
        return
    if isinstance(body.get("data"), list):
        assert len(envelope.rows) == len(body["data"])


@pytest.mark.parametrize("body", [b"{}", b'{"message":"maintenance"}', b'{"error":"x"}', b'{"success":true}', b'{"meta":[]}'])
def test_an_object_that_says_nothing_of_data_is_no_empty_page(body: bytes) -> None:
    with pytest.raises(MalformedBody):
        decode_envelope(body)


@pytest.mark.parametrize("data", ["null", '""', "false", "0", "true", "7", '"ok"', "1.5"])
@pytest.mark.parametrize("meta", ["[]", "{}", "null", '{"total_count":3}', '{"total_count":null}'])
def test_success_without_rows_is_no_empty_page(data: str, meta: str) -> None:
    body = f'{{"success":true,"data":{data},"meta":{meta}}}'.encode()
    with pytest.raises(MalformedBody):
        decode_envelope(body)
    with pytest.raises(MalformedBody):
        decode_envelope(b"\xef\xbb\xbf" + body)


@pytest.mark.parametrize("data", ["null", '""', "false", "0", "[]", "{}"])
def test_nothing_that_is_counted_as_nothing_is_an_empty_page(data: str) -> None:
    body = f'{{"success":true,"data":{data},"meta":{{"page":1,"total_count":0}}}}'.encode()
    assert decode_envelope(body) == Envelope(True, (), 0, None)


@pytest.mark.parametrize(
    ("data", "single"), [('{"id":1}', True), ('[{"id":1}]', False), ('{"0":{"id":1}}', False), ("[]", False)]
)
def test_one_object_is_told_from_a_list_of_one(data: str, single: bool) -> None:
    assert decode_envelope(f'{{"success":true,"data":{data},"meta":[]}}'.encode()).single is single


def test_an_error_needs_no_data() -> None:
    assert not decode_envelope(b'{"errors":{"message":"no"},"meta":{"message":"no"}}').success
    assert not decode_envelope(b'{"success":false,"meta":{"message":"no"}}').success
