"""Every alert fires on its fault, and none fires on healthy traffic."""

from collections.abc import Callable

import pytest
import yaml

from app.core.calibration.monitoring import LabelSums
from tests.monitoring.promtool import HOUR, RULES, RuleTest, constant, rising
from tests.monitoring.streams import COUNTERS, active, answering, draw, series

STEP = 150  # two samples in the shortest window
END = 3 * HOUR
DAY = 24 * HOUR
API = {"job": "isoglot", "instance": "api:8000"}
SHARES = {"0.2": 0.1, "0.4": 0.6, "0.6": 0.9, "+Inf": 1.0}


def evenly(metric: str, per_hour: float, **labels: object) -> dict[str, str]:
    return rising(metric, per_hour * END / HOUR, END, STEP, **labels)


def steady(metric: str, value: float, **labels: object) -> dict[str, str]:
    return constant(metric, value, END // STEP, **labels)


def requests(failed: float = 0.0) -> list[dict[str, str]]:
    """A thousand searches an hour, of which a share fails, and probes that always succeed."""
    name = "isoglot_http_requests_total"
    search = {**API, "route": "/v1/search", "method": "POST"}
    return [
        evenly(name, 1000 * (1 - failed), **search, status="2xx"),
        evenly(name, 1000 * failed, **search, status="5xx"),
        evenly(name, 9000, **API, route="/health/live", method="GET", status="2xx"),
    ]


def latency(slow: float = 0.0) -> list[dict[str, str]]:
    name = "isoglot_http_request_duration_seconds"
    route = {**API, "route": "/v1/search"}
    return [
        evenly(f"{name}_bucket", 1000 * (1 - slow), **route, le="0.25"),
        evenly(f"{name}_bucket", 1000, **route, le="+Inf"),
        evenly(f"{name}_count", 1000, **route),
    ]


def queue(refused: float = 0.0) -> list[dict[str, str]]:
    return [
        evenly("isoglot_encoder_queue_refused_total", refused, **API, lane=lane)
        for lane in ("query", "passage")
    ]


def crowd(refused: float = 0.0) -> list[dict[str, str]]:
    return [evenly("isoglot_searches_refused_total", refused, **API)]


def store(failed: float = 0.0) -> list[dict[str, str]]:
    labels = {**API, "operation": "search"}
    return [
        evenly("isoglot_store_request_duration_seconds_count", 1000, **labels),
        evenly("isoglot_store_errors_total", 1000 * failed, **labels),
    ]


def scores(shift: float = 0.0) -> list[dict[str, str]]:
    """Twenty thousand scores an hour; ``shift`` of the distribution lies beyond the reference."""
    labels = {**API, "encoder": "e", "relation": "cross"}
    found = [evenly("isoglot_hit_score_count", 20_000, **labels)]
    for bound, share in SHARES.items():
        found += [
            steady("isoglot_reference_score_cdf_ratio", share, **labels, le=bound),
            evenly(
                "isoglot_hit_score_bucket", 20_000 * max(0.0, share - shift * (bound != "+Inf")),
                **labels, le=bound,
            ),
        ]  # fmt: skip
    return found


def extrapolated(share: float = 0.01) -> list[dict[str, str]]:
    hits = {**API, "calibrator": "c", "relation": "cross", "position": "1"}
    return [
        evenly("isoglot_hit_probability_count", 20_000, **hits),
        evenly("isoglot_extrapolated_hits_total", 20_000 * share, **API, calibrator="c"),
    ]


def labels(per_day: float = 20_000.0, truth=lambda logit: logit) -> list[dict[str, str]]:
    sums = LabelSums.of(*draw(20_000, truth))
    scale = per_day / 20_000 / 24
    by_bin = [
        evenly(
            metric, scale * float(getattr(sums, member)[tenth]),
            **API, calibrator="c", relation="cross", bin=tenth, source="judged",
        )
        for metric, member in COUNTERS.items()
        for tenth in range(10)
    ]  # fmt: skip
    by_language = [
        evenly(
            metric.replace("_feedback", "_language_feedback"),
            scale * float(getattr(sums, member).sum()),
            **API, calibrator="c", query_lang="el", relation="cross",
        )
        for metric, member in COUNTERS.items()
    ]  # fmt: skip
    return by_bin + by_language


def rejected(per_hour: float = 1.0) -> list[dict[str, str]]:
    name = "isoglot_feedback_rejected_total"
    return [
        evenly(name, per_hour, **API, reason="expired"),
        # Clients that send twice are no trouble, however often they do it.
        evenly(name, 500, **API, reason="duplicate"),
    ]


def states(
    *, up: int = 1, ready: int = 1, qdrant: int = 1, age: float = 0.0
) -> list[dict[str, str]]:
    return [
        steady("up", up, **API),
        steady("up", qdrant, job="qdrant", instance="qdrant:6333"),
        steady("isoglot_ready", ready, **API),
        steady(
            "isoglot_calibrator_fitted_timestamp_seconds", END - age * DAY, **API, calibrator="c"
        ),
    ]


Parts = dict[str, Callable[[], list[dict[str, str]]]]

HEALTHY: Parts = {
    "requests": requests, "latency": latency, "queue": queue, "crowd": crowd, "store": store,
    "scores": scores,
    "extrapolated": extrapolated, "labels": labels, "rejected": rejected, "states": states,
    "active": lambda: [active("c") | {"values": f"1+0x{END // STEP}"}],
}  # fmt: skip


def gone(logit):
    return logit - 50.0


# Alert, a word on the fault: what changes, and what else is bound to fire with it.
FAULTS: dict[tuple[str, str], tuple[Parts, set[str]]] = {
    ("IsoglotDown", "no scrape"): ({"states": lambda: states(up=0)}, set()),
    ("IsoglotNotReady", "no store"): ({"states": lambda: states(ready=0)}, set()),
    ("IsoglotErrors", "one in fifty"): ({"requests": lambda: requests(0.02)}, set()),
    ("IsoglotSlow", "one in five"): ({"latency": lambda: latency(0.2)}, set()),
    ("IsoglotSaturated", "one in twenty"): ({"queue": lambda: queue(50)}, set()),
    ("IsoglotSaturated", "one search in twenty"): ({"crowd": lambda: crowd(50)}, set()),
    ("IsoglotStoreFailing", "one in twenty"): ({"store": lambda: store(0.05)}, set()),
    ("IsoglotQdrantDown", "no scrape"): ({"states": lambda: states(qdrant=0)}, set()),
    ("IsoglotScoreShift", "another encoder"): ({"scores": lambda: scores(0.4)}, set()),
    ("IsoglotExtrapolation", "grown corpus"): ({"extrapolated": lambda: extrapolated(0.9)}, set()),
    ("IsoglotFeedbackRejected", "as many as come"): ({"rejected": lambda: rejected(900)}, set()),
    ("IsoglotCalibratorMissing", "a bundle without"): ({"active": list}, set()),
    ("IsoglotCalibratorOld", "two years"): ({"states": lambda: states(age=730)}, set()),
    ("IsoglotCalibrationDrift", "nothing is relevant"): (
        {"labels": lambda: labels(truth=gone)},
        {"IsoglotCalibrationBias", "IsoglotLanguageCalibrationBias"},
    ),
    ("IsoglotCalibrationBias", "nothing is relevant"): (
        {"labels": lambda: labels(truth=gone)},
        {"IsoglotCalibrationDrift", "IsoglotLanguageCalibrationBias"},
    ),
    ("IsoglotLanguageCalibrationBias", "nothing is relevant"): (
        {"labels": lambda: labels(truth=gone)},
        {"IsoglotCalibrationDrift", "IsoglotCalibrationBias"},
    ),
}  # fmt: skip


def rule_test(changed: Parts) -> RuleTest:
    parts = {**HEALTHY, **changed}
    return RuleTest(step=STEP, end=END, series=[one for part in parts.values() for one in part()])


def shipped_alerts() -> set[str]:
    groups = [group for path in RULES for group in yaml.safe_load(path.read_text())["groups"]]
    return {rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule}


def test_every_alert_has_a_fault():
    elsewhere = {"IsoglotFeedbackStarved"}
    assert {alert for alert, _ in FAULTS} | elsewhere == shipped_alerts()


def test_healthy_traffic_raises_nothing(tmp_path):
    test = rule_test({})
    test.expect('ALERTS{alertstate="firing"}')
    test.expect('ALERTS{alertstate="pending"}')
    test.run(tmp_path)


def test_too_few_labels_for_a_day_are_told(tmp_path):
    step, end = HOUR, 26 * HOUR
    test = RuleTest(step=step, end=end, series=[answering()])
    for calibrator, hits in (("starved", 100), ("fed", 1000)):
        sums = LabelSums.of(*draw(hits))
        test.series += [*series(sums, calibrator=calibrator, relation="cross"), active(calibrator)]
    test.expect_firing(
        [{"alertname": "IsoglotFeedbackStarved", "calibrator": "starved"}], by=["calibrator"]
    )
    test.run(tmp_path)


def test_of_old_calibrators_the_active_one_is_told_and_no_shadow(tmp_path):
    name = "isoglot_calibrator_fitted_timestamp_seconds"
    test = RuleTest(step=STEP, end=END, series=[answering()])
    for calibrator, role in (("promoted", "active"), ("shadow", "shadow")):
        test.series += [
            steady("isoglot_calibrator_info", 1, calibrator=calibrator, role=role),
            steady(name, END - 730 * DAY, calibrator=calibrator),
        ]
    test.expect(
        'group by (calibrator) (ALERTS{alertname="IsoglotCalibratorOld", alertstate="firing"})',
        ({"calibrator": "promoted"}, 1.0),
    )
    test.run(tmp_path)


@pytest.mark.parametrize(("share", "severity"), [(0.009, "warning"), (0.02, "critical")])
def test_what_burns_the_budget_slowly_can_wait(share, severity, tmp_path):
    test = rule_test({"requests": lambda: requests(share), "latency": lambda: latency(10 * share)})
    test.expect(
        f'group by (alertname) (ALERTS{{alertstate="firing", severity="{severity}"}})',
        ({"alertname": "IsoglotErrors"}, 1.0),
        ({"alertname": "IsoglotSlow"}, 1.0),
    )
    test.run(tmp_path)


@pytest.mark.parametrize(("alert", "fault"), FAULTS)
def test_the_fault_raises_its_alert_and_no_other(alert, fault, tmp_path):
    changed, others = FAULTS[alert, fault]
    test = rule_test(changed)
    test.expect_firing([{"alertname": name} for name in {alert, *others}])
    test.run(tmp_path)
