"""Do the alert rules and the dashboard ask only for metrics and label values that the service has?"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from ycsync.config import STREAMS
from ycsync.metrics import Metrics, State, StreamState, Told

DEPLOY = Path(__file__).parents[2] / "deploy"
_NAME = re.compile(r"\b(?:ycsync|process)_[a-z0-9_]+")
_SELECTOR = re.compile(r"\b((?:ycsync|process)_[a-z0-9_]+)\{([^}]*)\}")
_LABEL = re.compile(r"(\w+)\s*(=~|!~|!=|=)\s*\"([^\"]*)\"")


def rules() -> list[dict[str, Any]]:
    found = yaml.safe_load((DEPLOY / "prometheus" / "ycsync.rules.yml").read_text("utf-8"))
    return [rule for group in found["groups"] for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((DEPLOY / "grafana" / "ycsync.json").read_text("utf-8"))
    return found


def panels() -> list[dict[str, Any]]:
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


QUERIES = [rule["expr"] for rule in rules()] + [target["expr"] for panel in panels() for target in panel["targets"]]


@pytest.fixture(scope="module")
def series() -> dict[str, list[dict[str, str]]]:
    """Name -> the labels of each of its series, of a service that knows all streams."""
    streams = tuple(StreamState(stream, {"fresh": 1}, (1.0, 1.0, 1.0, 1.0)) for stream in STREAMS)
    text = Metrics("1").text(State(Told(streams, (0, 0)), 0, (4, 160), (5, 200), True, True, True, 1.0)).decode()
    found: dict[str, list[dict[str, str]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample.labels)
    return found


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_asks_for_what_there_is(query: str, series: dict[str, list[dict[str, str]]]) -> None:
    for name in _NAME.findall(query):
        assert name in series, name
    for name, labels in _SELECTOR.findall(query):
        for label, how, value in _LABEL.findall(labels):
            if label in ("job", "instance"):  # the scrape's
                continue
            there = {one[label] for one in series[name]}
            assert set(value.split("|") if "~" in how else [value]) <= there, (name, label, value)


def test_each_alert_says_what_is_wrong_and_what_to_do() -> None:
    for rule in rules():
        assert rule["for"], rule
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert rule["annotations"]["summary"]
        assert len(rule["annotations"]["description"]) > 40
    names = [rule["alert"] for rule in rules()]
    assert len(names) == len(set(names))


def test_each_alert_is_tried_both_ways() -> None:
    tried = yaml.safe_load((DEPLOY / "prometheus" / "ycsync.rules.test.yml").read_text("utf-8"))["tests"]
    fires = {one["alert_rule_test"][0]["alertname"] for one in tried if one["alert_rule_test"][0]["exp_alerts"]}
    silent = {one["alert_rule_test"][0]["alertname"] for one in tried if not one["alert_rule_test"][0]["exp_alerts"]}
    assert fires == silent == {rule["alert"] for rule in rules()}


def test_the_dashboard_can_be_imported_and_read() -> None:
    board = dashboard()
    assert [one["type"] for one in board["__inputs"]] == ["datasource"]
    assert board["id"] is None
    source = "${" + board["__inputs"][0]["name"] + "}"
    alerts = {rule["alert"] for rule in rules()}
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        assert panel["title"], panel
        assert panel["description"], panel
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert {target["datasource"]["uid"] for target in panel["targets"]} == {source}
        assert set(re.findall(r"Ycsync\w+", panel["description"])) <= alerts
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
