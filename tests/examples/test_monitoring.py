"""The examples of alerts and dashboards: they speak of metrics that exist, and say what is true."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.adapters.service.test_metrics_server import fill, scrape, served
from tests.harness.promtool import promtool
from tests.support.paths import EXAMPLES

MONITORING = EXAMPLES / "monitoring"
ALERTS = MONITORING / "gitvs-alerts.yml"
TESTS = MONITORING / "gitvs-alerts.test.yml"
DASHBOARD = MONITORING / "gitvs-dashboard.json"
ROWS = ["Health", "Source", "Passes", "Drift", "Drains and operations", "Traffic of services"]
ROWS += ["Checks of real servers"]


def rules() -> list[dict[str, Any]]:
    return [r for group in yaml.safe_load(ALERTS.read_text())["groups"] for r in group["rules"]]


def dashboard() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return loaded


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = dashboard()["panels"]
    return found


def queries() -> Iterator[str]:
    """Yield every PromQL expression of the dashboard."""
    yield from (t["expr"] for panel in panels() for t in panel.get("targets", ()))
    yield from (a["expr"] for a in dashboard()["annotations"]["list"])
    yield from (v["definition"] for v in dashboard()["templating"]["list"] if "definition" in v)


@pytest.mark.parametrize("file", sorted(MONITORING.iterdir()), ids=lambda file: file.name)
def test_every_metric_that_is_named_is_exported(file: Path) -> None:
    with served("127.0.0.1:0") as metrics:
        fill(metrics)
        exported = {name.split()[0] for name in scrape(metrics)}
    named = set(re.findall(r"\b(?:gitvs|process)_[a-z_]+\b", file.read_text()))
    assert named - exported == set()
    assert named


def test_the_rules_are_rules() -> None:
    promtool("check", "rules", str(ALERTS))


def test_each_alert_fires_when_it_should_and_else_is_quiet() -> None:
    promtool("test", "rules", str(TESTS))
    expected = {
        (test["alertname"], bool(test["exp_alerts"]))
        for case in yaml.safe_load(TESTS.read_text())["tests"]
        for test in case["alert_rule_test"]
    }
    assert expected == {(rule["alert"], fires) for rule in rules() for fires in (True, False)}


def test_each_alert_says_how_bad_it_is_and_what_to_do() -> None:
    for rule in rules():
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}, rule["alert"]
        assert set(rule["annotations"]) == {"summary", "description"}, rule["alert"]


def test_the_dashboard_has_a_row_for_each_concern_and_one_place_for_each_panel() -> None:
    assert [panel["title"] for panel in panels() if panel["type"] == "row"] == ROWS
    assert len({panel["id"] for panel in panels()}) == len(panels())
    cells = [cell for panel in panels() for cell in cells_of(panel["gridPos"])]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24


def cells_of(place: dict[str, int]) -> Iterator[tuple[int, int]]:
    for x in range(place["x"], place["x"] + place["w"]):
        yield from ((x, y) for y in range(place["y"], place["y"] + place["h"]))


def test_the_dashboard_asks_the_prometheus_that_is_chosen() -> None:
    (source, *_) = dashboard()["templating"]["list"]
    assert (source["type"], source["name"]) == ("datasource", "datasource")
    asked = [t["datasource"] for panel in panels() for t in panel.get("targets", ())]
    assert {a["uid"] for a in asked} == {"${datasource}"}


def test_the_queries_of_the_dashboard_are_promql(tmp_path: Path) -> None:
    """As recording rules, which promtool reads."""
    known = {"$__rate_interval": "5m", "$job": "gitvs", "$instance": "lb1", "$service": "web"}
    recorded = []
    for number, query in enumerate(q for q in queries() if not q.startswith("label_values")):
        for name, value in known.items():
            query = query.replace(name, value)
        assert "$" not in query
        recorded.append({"record": f"panel:{number}", "expr": query})
    file = tmp_path / "rules.yml"
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": recorded}]}))
    promtool("check", "rules", str(file))
