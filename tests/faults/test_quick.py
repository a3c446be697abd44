"""The faults that a change breaks most easily, briefly; ``make faults`` is the whole of them."""

from __future__ import annotations

import http.client
import json
import time

import pytest

from tests.faults import scenarios, traffic
from tests.faults.run import faults_of

QUICK = ("connections cut", "service killed (SIGKILL)", "damaged bundle at reload")


@pytest.fixture(autouse=True)
def briefly(monkeypatch):
    monkeypatch.setattr(scenarios, "FAULT_SECONDS", 1.0)
    monkeypatch.setattr(scenarios, "CALM_SECONDS", 0.5)
    # What hangs is found all the same: the client would wait for 30 seconds.
    monkeypatch.setattr(traffic, "SLACK", 20.0)


@pytest.mark.parametrize("name", QUICK)
def test_clients_see_documented_answers_and_nothing_acknowledged_is_lost(name, tmp_path):
    result = scenarios.SCENARIOS[name](tmp_path)

    assert faults_of(result) == []
    assert result.saw.answers["search 200"]
    assert result.saw.acknowledged


def test_a_connection_that_idled_for_longer_than_clients_keep_it_is_answered(tmp_path):
    body, kind = json.dumps({"query": "the water is warm"}), {"Content-Type": "application/json"}
    with scenarios.embedded(tmp_path) as service:
        connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)
        for idle in (0, 6):
            time.sleep(idle)
            connection.request("POST", "/search", body, kind)
            answer = connection.getresponse()
            assert (answer.status, bool(answer.read())) == (200, True)
        connection.close()
