"""Runs the shipped rules over written series in promtool, which is Prometheus without a server."""

import json
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from deploy.prometheus.render import HERE, read_values

RULES = sorted((HERE / "rules").glob("*.yml"))
HOUR = 3600
STEP = 6 * HOUR
"""Between two samples of week-long series: few enough for tests to be quick."""

EXTERNAL_URL = "http://prometheus.example:9090"
_UNITS = {"s": 1, "m": 60, "h": HOUR, "d": 24 * HOUR}


def tool(name: str, package: str) -> str:
    """Return the path of a program, or skip the test that needs it."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is missing, so rules are not tested here: apt-get install {package}")
    return found


def seconds(duration: str) -> int:
    return int(duration[:-1]) * _UNITS[duration[-1]]


def window(name: str = "label_window") -> int:
    return seconds(read_values("production")[name])


def selector(metric: str, labels: Mapping[str, object]) -> str:
    matchers = ",".join(f"{name}={json.dumps(str(value))}" for name, value in labels.items())
    return f"{metric}{{{matchers}}}"


def rising(metric: str, total: float, over: int, step: int, **labels: object) -> dict[str, str]:
    """A counter that rises evenly by ``total`` during ``over`` seconds."""
    steps = over // step
    return {"series": selector(metric, labels), "values": f"0+{total / steps!r}x{steps}"}


def constant(metric: str, value: float, steps: int = 30, **labels: object) -> dict[str, str]:
    return {"series": selector(metric, labels), "values": f"{value}+0x{steps}"}


@dataclass
class RuleTest:
    """One run of the rules over series, and what is asked at its end.

    Attributes:
        step: Seconds between two samples and two evaluations.
        end: When it ends, in seconds.
        series: Input series in promtool's notation.
    """

    step: int
    end: int
    series: list[dict[str, str]] = field(default_factory=list)
    _asked: list[dict[str, object]] = field(default_factory=list)
    _alerts: list[dict[str, object]] = field(default_factory=list)

    def expect(self, expression: str, *samples: tuple[Mapping[str, object], float]) -> None:
        """Expect these samples, and no others, of an expression."""
        self._asked.append(
            {
                "expr": expression,
                "eval_time": f"{self.end}s",
                "exp_samples": [
                    {"labels": selector("", labels), "value": value} for labels, value in samples
                ],
            }
        )

    def expect_close(
        self, record: str, value: float, labels: Mapping[str, object], tolerance: float = 1e-6
    ) -> None:
        """Expect one sample of a recorded series within a tolerance, relative above 1."""
        allowed = tolerance * max(1.0, abs(value))
        found = f"abs({selector(record, labels)} - ({value!r})) < bool {allowed!r}"
        self.expect(found, (labels, 1.0))

    def expect_firing(self, alerts: Iterable[Mapping[str, object]], by: Sequence[str] = ()) -> None:
        """Expect that these alerts fire and no others, told apart by these labels."""
        grouping = ", ".join(["alertname", *by])
        counted = f'group by ({grouping}) (ALERTS{{alertstate="firing"}})'
        self.expect(counted, *((alert, 1.0) for alert in alerts))

    def expect_annotations(
        self, alert: str, labels: Mapping[str, object], annotations: Mapping[str, str]
    ) -> None:
        self._alerts.append(
            {
                "alertname": alert,
                "eval_time": f"{self.end}s",
                "exp_alerts": [{"exp_labels": labels, "exp_annotations": annotations}],
            }
        )

    def run(self, directory: Path) -> None:
        """Fail with promtool's report unless everything is as expected."""
        content = {
            "rule_files": [str(path) for path in RULES],
            "evaluation_interval": f"{self.step}s",
            "group_eval_order": [
                "isoglot_calibration_record", "isoglot_score_record",
                "isoglot_calibration_alert", "isoglot_service_alert",
            ],
            "tests": [
                {
                    "external_url": EXTERNAL_URL,
                    "interval": f"{self.step}s",
                    "input_series": self.series,
                    "promql_expr_test": self._asked,
                    "alert_rule_test": self._alerts,
                }
            ],
        }  # fmt: skip
        path = directory / "test.yml"
        path.write_text(json.dumps(content), encoding="utf-8")  # JSON is YAML
        ran = subprocess.run(
            [tool("promtool", "prometheus"), "test", "rules", str(path)],
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert ran.returncode == 0, ran.stdout + ran.stderr
