"""The metrics of health: each state, verdict and count of a status."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gitvs.core.status.agent_status import AgentStatus
from gitvs.core.status.health import CheckerStatus
from tests.adapters.service.test_metrics_server import BARE, CHECKED, HEARTBEAT, scrape, served

WEB_LABELS = "service=web virtual_service=tcp 203.0.113.10:80"


def with_checker(checker: CheckerStatus | None) -> AgentStatus:
    return replace(CHECKED, health=replace(CHECKED.health, checker=checker))


def samples(status: AgentStatus, limit: int = 1000) -> dict[str, float]:
    """Return the metrics of health."""
    with served("127.0.0.1:0", limit) as metrics:
        metrics.publish(lambda: status)
        words = ("gitvs_check", "gitvs_health")
        return {name: value for name, value in scrape(metrics).items() if name.startswith(words)}


def test_every_state_and_count_is_exported() -> None:
    found = samples(CHECKED)
    for address, value in (("10.0.0.1:8080", 1), ("10.0.0.4:8080", 0)):
        name = f"gitvs_check_up real_server={address} {WEB_LABELS}"
        assert found[name] == value
    states = {
        name.split("state=")[1].split()[0]: value
        for name, value in found.items()
        if name.startswith("gitvs_health_servers")
    }
    assert {state: n for state, n in states.items() if n} == {"up": 3, "down": 1}
    assert {"kept", "last", "waiting", "unknown", "frozen"} <= states.keys()
    assert found[f"gitvs_health_quorum {WEB_LABELS}"] == 1
    assert found["gitvs_health_changes_total service=web to=down " + WEB_LABELS[12:]] == 3
    assert found["gitvs_health_frozen"] == 1


def test_the_process_that_checks_is_measured() -> None:
    found = samples(CHECKED)
    assert found["gitvs_checker_up"] == 1
    assert found["gitvs_checker_restarts_total"] == 2
    assert found["gitvs_checker_probes"] == 4
    assert found["gitvs_checker_in_flight"] == 1
    assert found["gitvs_checker_lateness_seconds"] == 0.25
    assert found["gitvs_checker_probes_without_results"] == 1
    assert found["gitvs_check_results_total class= result=pass type=tcp"] == 7
    assert found["gitvs_check_results_total class=refused result=fail type=tcp"] == 2
    assert found["gitvs_check_results_total class= result=void type=tcp"] == 1
    assert found["gitvs_check_duration_seconds_sum type=tcp"] == 0.5
    assert found["gitvs_check_duration_seconds_count type=tcp"] == 10


@pytest.mark.parametrize("seconds", [15.0, 3600.0])
def test_a_process_that_is_silent_is_not_up(seconds: float) -> None:
    assert samples(with_checker(CheckerStatus(seconds, 0, HEARTBEAT)))["gitvs_checker_up"] == 0


def test_no_more_real_servers_are_exported_than_the_settings_say() -> None:
    found = samples(with_checker(None), 2)
    assert sum(name.startswith("gitvs_check_up ") for name in found) == 2
    assert "gitvs_checker_up" not in found


def test_a_director_without_checks_has_none_of_them() -> None:
    assert samples(BARE) == {}
