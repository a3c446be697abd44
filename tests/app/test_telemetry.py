import json
import logging

import structlog
from prometheus_client.parser import text_string_to_metric_families

from app.telemetry import PROBABILITY_BUCKETS, RELATIONS, STAGES, Metrics, configure_logging


def samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(metrics.exposition().decode())
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def test_series_with_known_labels_exist_before_anything_happened():
    found = samples(Metrics())

    for relation in RELATIONS:
        assert found["isoglot_hit_probability_count", (("relation", relation),)] == 0
    for stage in STAGES:
        assert found["isoglot_search_stage_duration_seconds_count", (("stage", stage),)] == 0
    assert found["isoglot_searches_total", (("outcome", "no_confident_match"),)] == 0


def test_every_probability_lands_in_its_bucket_and_the_first_is_the_top_hit():
    metrics = Metrics()

    metrics.search_answered(
        outcome="ok",
        stage_milliseconds={"encode": 30.0},
        probabilities=[("cross", 0.95), ("same", 0.005), ("cross", 0.5)],
    )

    found = samples(metrics)
    assert found["isoglot_hit_probability_bucket", (("le", "0.5"), ("relation", "cross"))] == 1
    assert found["isoglot_hit_probability_bucket", (("le", "0.95"), ("relation", "cross"))] == 2
    assert found["isoglot_hit_probability_bucket", (("le", "0.01"), ("relation", "same"))] == 1
    assert found["isoglot_top_hit_probability_sum", ()] == 0.95
    assert found["isoglot_search_stage_duration_seconds_sum", (("stage", "encode"),)] == 0.03


def test_probability_buckets_reach_from_a_hundredth_to_one():
    assert PROBABILITY_BUCKETS[0] == 0.01
    assert PROBABILITY_BUCKETS[-1] == 1.0
    assert sorted(set(PROBABILITY_BUCKETS)) == list(PROBABILITY_BUCKETS)


def test_only_the_loaded_bundle_is_named():
    metrics = Metrics()

    metrics.bundle_loaded(bundle="a@1", encoder="e", calibrator="c")
    metrics.bundle_loaded(bundle="b@2", encoder="e", calibrator="")

    bundles = [labels for name, labels in samples(metrics) if name == "isoglot_bundle_info"]
    assert bundles == [(("bundle", "b@2"), ("calibrator", ""), ("encoder", "e"))]


def test_two_services_in_one_process_count_for_themselves():
    one, other = Metrics(), Metrics()

    one.passages_answered(stored=2, rejected=1)

    assert samples(one)["isoglot_passages_ingested_total", ()] == 2
    assert samples(other)["isoglot_passages_ingested_total", ()] == 0


def test_json_logs_are_one_object_a_line_whoever_writes_them(capsys):
    configure_logging("info", "json")
    configure_logging("info", "json")
    with structlog.contextvars.bound_contextvars(request_id="r1"):
        structlog.stdlib.get_logger("ours").info("event", query_language="ελ")
        logging.getLogger("theirs").warning("plain %s", "text")
    structlog.stdlib.get_logger("ours").debug("too quiet")

    first, second = [json.loads(line) for line in capsys.readouterr().err.splitlines()]

    assert first["event"] == "event"
    assert first["query_language"] == "ελ"
    assert first["request_id"] == second["request_id"] == "r1"
    assert second["event"] == "plain text"
    assert second["level"] == "warning"
