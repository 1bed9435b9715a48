"""The comparison itself, and the set of golden files."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from golden import compare as comparing
from golden.compare import ACCEPT, FOLDER, as_json, as_log, as_metrics, as_table, compare
from golden.salon import Run
from support import privacy

HERE = Path(__file__).parent


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Golden files of this test alone."""
    found = tmp_path / "tests" / "golden" / "expected"
    monkeypatch.setattr(comparing, "FOLDER", found)
    return found


def test_a_difference_is_a_diff_and_says_how_to_accept_it(folder: Path) -> None:
    assert compare("a.txt", "one\ntwo", accept=True) == ""
    assert compare("a.txt", "one\ntwo", accept=False) == ""
    said = compare("a.txt", "one\nthree", accept=False)
    assert "\n-two\n+three\n" in said
    assert "--- tests/golden/expected/a.txt\n+++ as it is now\n" in said
    assert ACCEPT in said
    assert (folder / "a.txt").read_text() == "one\ntwo\n", "without --accept nothing is written"


def test_what_was_never_accepted_differs(folder: Path) -> None:
    assert "+one" in compare("a.txt", "one", accept=False)
    assert not folder.exists()


def test_only_what_varies_is_replaced_in_json() -> None:
    requests = {"minute": 9, "limit_minute": 200}
    told = {"ok": True, "pid": 7, "lag_s": 1.5, "since": None, "at": [1, 2], "requests": requests}
    assert json.loads(as_json(told)) == {
        "ok": True,
        "pid": "<pid>",
        "lag_s": "<seconds>",
        "since": None,
        "at": ["<time>"],
        "requests": {"minute": "<n>", "limit_minute": 200},
    }


def test_a_table_has_no_widths_that_depend_on_what_varies() -> None:
    narrow = "head\n\na  lag\nx   1 s\ny    -\n\nend"
    wide = "head\n\na    lag\nx  100 s\ny      -\n\nend"
    expected = "head\n\na  lag\nx  <span>\ny  -\n\nend"
    assert as_table(narrow, "a lag", {"lag": "<span>"}) == expected
    assert as_table(wide, "a lag", {"lag": "<span>"}) == expected


def test_a_metric_keeps_its_value_where_it_is_told_to() -> None:
    text = '# HELP a_b Help.\n# TYPE a_b gauge\na_b{x="1",y="2"} 5\na_b{x="1",y="3"} 6\n'
    assert as_metrics(text, ["a_b"]) == "a_b (gauge): Help.\n    a_b x=1 y: 2 5, 3 6"
    assert as_metrics(text, []) == "a_b (gauge): Help.\n    a_b x=1 y: 2, 3"


def test_a_log_is_told_by_salon_and_stream() -> None:
    one = 'event=a company=1 n=4 t="x y"'
    text = f"event=b n=1\nevent=a company=2 n=3\n{one}\n{one.replace('4', '5')}\n"
    expected = 'event=b n=1\n\nevent=a company=1 n=<n> t="x y"\n\nevent=a company=2 n=<n>'
    assert as_log(text, {"a": ["n"]}) == expected


@pytest.mark.xdist_group("golden")
def test_each_golden_file_is_compared_by_a_test(pytestconfig: pytest.Config) -> None:
    tests = (path for path in HERE.glob("test_*.py") if path.name != Path(__file__).name)
    named = {
        name
        for path in tests
        for name in re.findall(r'golden\(\s*"([a-z_.]+)"', path.read_text("utf-8"))
    }
    if pytestconfig.getoption("--accept"):
        for path in FOLDER.iterdir():
            if path.name not in named:
                path.unlink()
    else:
        assert {path.name for path in FOLDER.iterdir()} == named


@pytest.mark.xdist_group("golden")
def test_nothing_private_stands_in_a_golden_file(run: Run) -> None:
    place = run.place
    own = (
        str(HERE.parents[1]),
        sys.prefix,
        str(place.folder),
        f"127.0.0.1:{place.port}",
        place.simulator.url,
    )
    for path in FOLDER.iterdir():
        text = path.read_text("utf-8")
        assert [word for word in (*own, place.database_url) if word in text] == [], path.name
        assert privacy.private(text) == [], path.name
