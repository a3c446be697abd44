"""The rules on calibration compute what numpy computes, and fire on faults alone."""

import math

import numpy as np
import pytest

from app.core.calibration.monitoring import BINS, LabelSums, calibration_statistics
from benchmarks.drift_detection import alerts
from deploy.prometheus.render import thresholds
from tests.monitoring.promtool import EXTERNAL_URL, STEP, RuleTest, window
from tests.monitoring.streams import active, answering, draw, language_series, series

DRIFT, BIAS = "IsoglotCalibrationDrift", "IsoglotCalibrationBias"

RECORDS = {
    "calibrator:isoglot_feedback_hits:increase": "labels",
    "calibrator:isoglot_feedback_expected:increase": "expected",
    "calibrator:isoglot_feedback_relevant:increase": "relevant",
    "calibrator:isoglot_calibration_ece:ratio": "ece",
    "calibrator:isoglot_calibration_ece_floor:ratio": "ece_floor",
    "calibrator:isoglot_calibration_ece:zscore": "ece_z",
    "calibrator:isoglot_calibration_mce:ratio": "mce",
    "calibrator:isoglot_calibration_expected_observed:ratio": "expected_observed",
    "calibrator:isoglot_calibration_in_the_large:zscore": "bias_z",
    "calibrator:isoglot_calibration_brier:mean": "brier",
}


def slope_about(pivot: float, slope: float):
    return lambda logit: pivot + (logit - pivot) * slope


STREAMS = {
    "healthy": (draw(2000), set()),
    "healthy, many": (draw(40_000, seed=2), set()),
    "healthy, few": (draw(320, seed=3), set()),
    "harmless covariate shift": (draw(2000, seed=4, centre=-0.5, spread=1.5), set()),
    "harmless shift to easy queries": (draw(2000, seed=5, centre=1.0, spread=2.5), set()),
    "over-confident": (draw(2000, slope_about(0.0, 1 / 1.5), seed=6, centre=0.5), {DRIFT}),
    "one relevant hit in two is gone": (draw(3000, lambda x: x - 1.0, seed=7), {DRIFT, BIAS}),
    "promises too little": (draw(3000, lambda x: x + 1.0, seed=8), {DRIFT, BIAS}),
    "slope only": (draw(4000, slope_about(-0.9, 1 / 1.8), seed=9), {DRIFT}),
    "nothing is relevant": (draw(2000, lambda x: x - 50.0, seed=10), {DRIFT, BIAS}),
    "fault with too few labels": (draw(250, lambda x: x - 50.0, seed=11), set()),
    "bias of a tenth, many labels": (draw(60_000, lambda x: x - 0.15, seed=12), set()),
}


@pytest.fixture(scope="module")
def sums() -> dict[str, LabelSums]:
    return {name: LabelSums.of(*stream) for name, (stream, _) in STREAMS.items()}


def rule_test(sums: dict[str, LabelSums]) -> RuleTest:
    test = RuleTest(step=STEP, end=window())
    for name, found in sums.items():
        test.series += [*series(found, calibrator=name, relation="same"), active(name)]
    return test


def test_promql_and_numpy_agree_on_every_statistic(sums, tmp_path):
    test = rule_test(sums)
    for name, found in sums.items():
        statistics = calibration_statistics(found)
        labels = {"calibrator": name, "relation": "same"}
        for record, member in RECORDS.items():
            value = getattr(statistics, member)
            if math.isnan(value):
                test.expect(f'{record}{{calibrator="{name}"}}')
            else:
                test.expect_close(record, value, labels)
    test.run(tmp_path)


def test_alerts_fire_on_faults_and_stay_quiet_on_healthy_and_on_shifted_traffic(sums, tmp_path):
    test = rule_test(sums)

    test.expect(
        'group by (alertname, calibrator) (ALERTS{alertstate="firing", '
        f'alertname=~"{DRIFT}|{BIAS}"}})',
        *(
            ({"alertname": alert, "calibrator": name}, 1.0)
            for name, (_, expected) in STREAMS.items()
            for alert in expected
        ),
    )

    test.run(tmp_path)


def test_the_conditions_of_the_study_are_those_of_the_alerts(sums):
    for name, (_, expected) in STREAMS.items():
        assert alerts(calibration_statistics(sums[name]), thresholds()) == expected, name


def test_a_bin_without_a_series_of_relevant_hits_keeps_its_error(tmp_path):
    # Without `or 0 *` in the rule its difference would vanish, and the error would read 0.
    p, _ = draw(2000, centre=2.0, spread=0.5)
    sums = LabelSums.of(p, np.zeros_like(p))
    test = RuleTest(step=STEP, end=window())
    test.series = [
        one
        for one in series(sums, calibrator="c", relation="cross")
        if "_relevant_" not in one["series"]
    ]

    labels = {"calibrator": "c", "relation": "cross"}
    test.expect_close("calibrator:isoglot_calibration_ece:ratio", float(p.mean()), labels)
    test.run(tmp_path)


def test_empty_bins_and_calibrators_without_labels_have_no_statistics(tmp_path):
    zeros = np.zeros(BINS)
    test = RuleTest(step=STEP, end=window())
    test.series = series(
        LabelSums(zeros, zeros, zeros, zeros, zeros), calibrator="c", relation="same"
    )

    test.expect("calibrator:isoglot_calibration_ece:ratio")
    test.expect("calibrator:isoglot_calibration_ece:zscore")
    test.expect("calibrator:isoglot_calibration_in_the_large:zscore")
    test.expect("calibrator:isoglot_calibration_brier:mean")
    test.run(tmp_path)


def test_processes_and_sources_add_up(tmp_path):
    first, second = LabelSums.of(*draw(900, seed=21)), LabelSums.of(*draw(700, seed=22))
    test = RuleTest(step=STEP, end=window())
    for instance, sums in (("a:8000", first), ("b:8000", second)):
        test.series += series(sums, calibrator="c", relation="same", instance=instance)

    together = calibration_statistics(first + second)
    labels = {"calibrator": "c", "relation": "same"}
    test.expect_close("calibrator:isoglot_calibration_ece:ratio", together.ece, labels)
    test.expect_close("calibrator:isoglot_calibration_brier:mean", together.brier, labels)
    test.run(tmp_path)


def test_only_the_active_calibrator_raises_alerts(tmp_path):
    broken = LabelSums.of(*draw(3000, lambda x: x - 50.0))
    test = RuleTest(step=STEP, end=window(), series=[answering()])
    for name, role in (("new", "active"), ("proposed", "shadow")):
        test.series += [*series(broken, calibrator=name, relation="same"), active(name, role)]
    test.series += series(broken, calibrator="replaced", relation="same")

    test.expect_firing(
        [{"alertname": DRIFT, "calibrator": "new"}, {"alertname": BIAS, "calibrator": "new"}],
        by=["calibrator"],
    )
    test.run(tmp_path)


def test_one_relation_or_one_language_is_enough(tmp_path):
    in_greek = "IsoglotLanguageCalibrationBias"
    healthy, broken = LabelSums.of(*draw(2000)), LabelSums.of(*draw(2000, lambda x: x - 50.0))
    test = RuleTest(step=STEP, end=window(), series=[answering()])
    test.series += [
        active("c"),
        *series(healthy, calibrator="c", relation="same"),
        *series(broken, calibrator="c", relation="cross"),
    ]
    for language, sums in (("de", healthy), ("el", broken)):
        test.series += language_series(sums, calibrator="c", query_lang=language, relation="cross")

    same = {"calibrator": "c", "query_lang": "de", "relation": "cross"}
    known = calibration_statistics(healthy)
    test.expect_close("language:isoglot_calibration_brier:mean", known.brier, same)
    test.expect_close("language:isoglot_calibration_in_the_large:zscore", known.bias_z, same)
    test.expect_close(
        "language:isoglot_calibration_expected_observed:ratio", known.expected_observed, same
    )
    test.expect_firing(
        [
            {"alertname": DRIFT, "relation": "cross"},
            {"alertname": BIAS, "relation": "cross"},
            {
                "alertname": in_greek,
                "relation": "cross",
                "query_lang": "el",
            },
        ],
        by=["relation", "query_lang"],
    )
    test.run(tmp_path)


def test_what_is_said_names_calibrator_relation_size_and_runbook(tmp_path):
    broken = LabelSums.of(*draw(2000, lambda x: x - 50.0))
    test = RuleTest(step=STEP, end=window(), series=[answering(), active("c")])
    test.series += series(broken, calibrator="c", relation="cross")

    missed = f"{100 * calibration_statistics(broken).ece:.4g}%"
    test.expect_annotations(
        DRIFT,
        {"calibrator": "c", "relation": "cross", "severity": "warning"},
        {
            "summary": "Probabilities of cross-language hits no longer hold",
            "description": f"Calibrator c misses by {missed} on average over 7d, more than chance "
            "explains.",
            "runbook_url": f"{EXTERNAL_URL}/user/{DRIFT}.md",
        },
    )
    test.run(tmp_path)
