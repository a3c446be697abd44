"""The address in an alert leads to its runbook, on a real Prometheus as it is deployed."""

from string import Template

import pytest
import yaml

from deploy.prometheus.render import read_values, render
from tests.monitoring.prometheus_server import PrometheusServer, free_ports
from tests.monitoring.promtool import tool
from tests.monitoring.test_files import alerting_rules


def test_the_runbook_of_every_alert_is_found_at_its_address(tmp_path):
    program = tool("prometheus", "prometheus")
    port, nobody = free_ports(2)
    with PrometheusServer(program, tmp_path, port=port, target=f"127.0.0.1:{nobody}") as prometheus:
        for rule in alerting_rules():
            written = rule["annotations"]["runbook_url"].replace("{{ $externalURL }}", "$url")
            page = prometheus.page(Template(written).substitute(url=prometheus.url))
            assert page.startswith("# ")
            assert f"({rule['alert']})" in page.splitlines()[0]


@pytest.mark.parametrize("profile", ["production", "compressed"])
def test_where_runbooks_are_read_is_set_in_one_place(profile):
    elsewhere = "https://wiki.example/isoglot"
    for name, content in render(profile, {"runbooks": elsewhere}).items():
        assert read_values(profile)["runbooks"] not in content
        if name.startswith("rules/"):
            for group in yaml.safe_load(content)["groups"]:
                for rule in group["rules"]:
                    if "alert" in rule:
                        page = f"{elsewhere}/{rule['alert']}.md"
                        assert rule["annotations"]["runbook_url"] == page
