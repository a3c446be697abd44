import dataclasses
import json
from pathlib import Path

import pytest

from app.core.bundle import Bundle, load_bundle
from app.core.calibration.calibrator import Calibrator
from app.main import create_app
from app.settings import Settings
from app.telemetry import catalogue
from app.telemetry.catalogue import CATALOGUE, PROBABILITY_BUCKETS, SCORE_BUCKETS
from app.telemetry.feedback import LabelledHit
from app.telemetry.labels import BINS, LABEL_SOURCES, RELATIONS, STAGES, language_labels
from app.telemetry.metrics import Metrics
from app.telemetry.searches import ShownHit
from tests.app.telemetry.samples import Samples
from tests.bundles import tiny_spec, write_tiny_bundle
from tests.calibrators import calibrator_content, make_calibrator

ELEVEN = ("ar", "de", "el", "en", "es", "hi", "ru", "th", "tr", "vi", "zh")
STARTER = Path("bundles/starter/reference.json")
OTHER_CALIBRATOR = make_calibrator(metrics={"another": 1})


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    spec = tiny_spec(languages=ELEVEN)
    directory = write_tiny_bundle(tmp_path_factory.mktemp("metrics") / "bundle", spec=spec)
    return dataclasses.replace(
        load_bundle(directory), reference=json.loads(STARTER.read_text(encoding="utf-8"))
    )


@pytest.fixture
def metrics(bundle):
    made = Metrics()
    made.serves(bundle, active=bundle.calibrator)
    return made


def answer(
    metrics: Metrics, *hits: ShownHit, language: str = "de", decision: str = "answered"
) -> None:
    metrics.searches.answered(
        query_language=language,
        decision=decision,
        stage_milliseconds={"encode": 30.0},
        hits=hits,
    )


def test_every_series_of_the_calibration_exists_before_anything_happened(metrics, bundle):
    found, active = Samples.of(metrics), bundle.calibrator.id

    for spec in CATALOGUE[: CATALOGUE.index(catalogue.FEEDBACK_BRIER) + 1]:
        if spec.labels == ("calibrator", "relation", "bin", "source"):
            for relation in RELATIONS:
                for tenth in range(BINS):
                    for source in LABEL_SOURCES:
                        labels = {"relation": relation, "bin": str(tenth), "source": source}
                        assert found.value(spec.name, calibrator=active, **labels) == 0
    for stage in STAGES:
        assert found.value("isoglot_search_stage_duration_seconds_count", stage=stage) == 0
    for language in (*ELEVEN, "other"):
        series = {"query_lang": language, "decision": "abstained"}
        assert found.value("isoglot_queries_total", **series) == 0


def test_there_are_at_most_1500_series_with_eleven_languages_and_two_calibrators(
    bundle,
):
    metrics = Metrics()
    create_app(Settings(), metrics=metrics)  # names its routes
    metrics.serves(bundle, active=bundle.calibrator, shadow=OTHER_CALIBRATOR)
    born = len(Samples.of(metrics))

    for language in (*ELEVEN, "pt-BR", "und", "eo"):
        hit = ShownHit(
            rank=1,
            score=0.5,
            language=language,
            probabilities={bundle.calibrator.id: 0.5, OTHER_CALIBRATOR.id: 0.4, "gone": 0.1},
            extrapolated=True,
        )
        answer(metrics, hit, hit._replace(rank=3), language=language)
        for calibrator in (bundle.calibrator.id, OTHER_CALIBRATOR.id, "gone"):
            label = LabelledHit(calibrator, 0.5, True, "cross", language, "judged")
            metrics.feedback.labelled(label)

    assert 1000 < born == len(Samples.of(metrics)) <= 1500


def test_no_series_tells_its_birth(metrics):
    assert "_created" not in metrics.exposition().decode()


def test_every_probability_lands_in_its_bucket_by_relation_and_position(metrics, bundle):
    stated = bundle.calibrator.id

    answer(
        metrics,
        ShownHit(1, 0.81, "en", {stated: 0.95}),
        ShownHit(2, 0.42, "de-AT", {stated: 0.005}),
        ShownHit(6, 0.4, "und", {stated: 0.5}, extrapolated=True),
    )

    found = Samples.of(metrics)
    bucket, of = "isoglot_hit_probability_bucket", {"calibrator": stated}
    assert found.value(bucket, le="0.95", relation="cross", position="1", **of) == 1
    assert found.value(bucket, le="0.9", relation="cross", position="1", **of) == 0
    assert found.value(bucket, le="0.01", relation="same", position="2-5", **of) == 1
    assert found.value(bucket, le="0.5", relation="cross", position="6+", **of) == 1
    expected = "isoglot_expected_relevant_hits_total"
    assert found.value(expected, relation="cross", **of) == pytest.approx(1.45)
    assert found.value("isoglot_extrapolated_hits_total", **of) == 1
    assert found.value("isoglot_search_stage_duration_seconds_sum", stage="encode") == 0.03
    scores = {"encoder": bundle.spec.fingerprint(), "query_lang": "de", "relation": "cross"}
    assert found.value("isoglot_language_hit_score_sum", **scores) == pytest.approx(1.21)
    assert found.value("isoglot_queries_total", query_lang="de", decision="answered") == 1


def test_a_language_that_is_not_configured_is_other(metrics):
    answer(metrics, language="eo", decision="abstained")
    answer(metrics, language="und", decision="degraded")

    found = Samples.of(metrics)
    assert found.value("isoglot_queries_total", query_lang="other", decision="abstained") == 1
    assert found.value("isoglot_queries_total", query_lang="other", decision="degraded") == 1


def test_sixteen_languages_at_most_are_told_apart():
    many = [f"a{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]

    assert language_labels(["pt-BR", "pt", "de"]) == ("pt", "de", "other")
    assert len(language_labels(many)) == 17


def test_labels_add_up_by_bin_and_by_language(metrics, bundle):
    stated = bundle.calibrator.id
    for probability, relevant in ((0.62, True), (0.68, False), (1.0, True), (0.0, False)):
        hit = LabelledHit(stated, probability, relevant, "same", "de", "explicit")
        metrics.feedback.labelled(hit)

    found = Samples.of(metrics)
    six = {"calibrator": stated, "relation": "same", "bin": "6", "source": "explicit"}
    assert found.value("isoglot_feedback_hits_total", **six) == 2
    assert found.value("isoglot_feedback_relevant_total", **six) == 1
    assert found.value("isoglot_feedback_probability_sum_total", **six) == pytest.approx(1.3)
    variance = 0.62 * 0.38 + 0.68 * 0.32
    assert found.value("isoglot_feedback_variance_sum_total", **six) == pytest.approx(variance)
    brier = 0.38**2 + 0.68**2
    assert found.value("isoglot_feedback_brier_sum_total", **six) == pytest.approx(brier)
    assert found.value("isoglot_feedback_hits_total", **{**six, "bin": "9"}) == 1
    assert found.value("isoglot_feedback_hits_total", **{**six, "bin": "0"}) == 1
    german = {"calibrator": stated, "query_lang": "de", "relation": "same"}
    assert found.value("isoglot_language_feedback_hits_total", **german) == 4
    assert found.value("isoglot_language_feedback_relevant_total", **german) == 2


def test_clicks_and_rejections_enter_no_label(metrics):
    metrics.feedback.clicked(rank=3)
    metrics.feedback.accepted(source="click", delay_seconds=90)
    metrics.feedback.rejected("forged")

    found = Samples.of(metrics)
    assert found.value("isoglot_feedback_clicks_total", position="2-5") == 1
    assert found.value("isoglot_feedback_rejected_total", reason="forged") == 1
    assert found.value("isoglot_feedback_delay_seconds_bucket", source="click", le="600.0") == 1
    assert found.total("isoglot_feedback_hits_total") == 0


def test_the_series_of_the_former_calibrator_last_until_a_third_comes(metrics, bundle):
    first, second, third = bundle.calibrator, OTHER_CALIBRATOR, make_calibrator(metrics={"c": 1})

    metrics.serves(bundle, active=second, previous=first.id)
    metrics.feedback.labelled(LabelledHit(first.id, 0.5, True, "same", "de", "judged"))
    after = Samples.of(metrics)
    assert after.total("isoglot_feedback_hits_total", calibrator=first.id) == 1
    assert after.value("isoglot_calibrator_info", **info(second, bundle)) == 1
    assert [s["calibrator"] for s in after.labels("isoglot_calibrator_info")] == [second.id]

    metrics.serves(bundle, active=second, shadow=third, previous=first.id)
    metrics.feedback.labelled(LabelledHit(first.id, 0.5, True, "same", "de", "judged"))
    later = Samples.of(metrics)
    assert later.value("isoglot_feedback_untracked_hits_total") == 1
    calibrators = {s["calibrator"] for s in later.labels("isoglot_feedback_hits_total")}
    assert calibrators == {second.id, third.id}
    assert later.value("isoglot_calibrator_info", **info(third, bundle, "shadow")) == 1


def info(calibrator: Calibrator, bundle: Bundle, role: str = "active") -> dict[str, str]:
    encoder = bundle.spec.fingerprint()
    return {
        "calibrator": calibrator.id,
        "encoder": encoder,
        "kind": "logit-linear",
        "role": role,
    }


def test_the_reference_is_spelt_as_the_buckets_it_is_compared_with(metrics, bundle):
    found = Samples.of(metrics)

    for name, of in (
        ("score", {"encoder": bundle.spec.fingerprint()}),
        ("probability", {"calibrator": bundle.reference["calibrator"]}),
    ):
        reference = [
            s
            for s in found.labels(f"isoglot_reference_{name}_cdf_ratio")
            if s.items() >= of.items()
        ]
        counted = {s["le"] for s in found.labels(f"isoglot_hit_{name}_bucket")}
        for relation in RELATIONS:
            assert {s["le"] for s in reference if s["relation"] == relation} == counted
    whole = {"encoder": bundle.spec.fingerprint(), "relation": "same", "le": "+Inf"}
    assert found.value("isoglot_reference_score_cdf_ratio", **whole) == 1.0


def test_a_reference_of_another_form_is_left_out(bundle):
    metrics = Metrics()
    odd = {"score_cdf": {"same": [1], "cross": {"0.5": "x"}}, "base_rate": 3}
    metrics.serves(dataclasses.replace(bundle, reference=odd), active=None)

    found = Samples.of(metrics)
    assert [s["le"] for s in found.labels("isoglot_reference_score_cdf_ratio")] == ["+Inf"]
    assert found.labels("isoglot_reference_base_rate_ratio") == []
    assert found.labels("isoglot_calibrator_info") == []


def test_what_is_taken_back_is_set_off_against_the_next_labels_of_its_series(metrics, bundle):
    wrong = LabelledHit(bundle.calibrator.id, 0.72, True, "same", "de", "explicit")
    right = dataclasses.replace(wrong, probability=0.78, relevant=False)
    elsewhere = dataclasses.replace(right, relation="cross")

    def counted(relation: str) -> list[float]:
        names = ("hits", "relevant", "probability_sum", "variance_sum", "brier_sum")
        found = Samples.of(metrics)
        return [found.total(f"isoglot_feedback_{n}_total", relation=relation) for n in names]

    metrics.feedback.labelled(wrong)
    metrics.feedback.withdrawn(wrong)
    assert counted("same")[:2] == [1.0, 1.0]  # a counter cannot go down
    metrics.feedback.labelled(right)
    metrics.feedback.labelled(elsewhere)
    assert counted("same")[:3] == pytest.approx([1.0, 1.0, 0.78])
    metrics.feedback.labelled(dataclasses.replace(right, relevant=True))

    expected = [2.0, 1.0, 1.56, 2 * 0.78 * 0.22, 0.78**2 + 0.22**2]
    assert counted("same") == pytest.approx(expected)
    assert counted("cross")[0] == 1.0
    language = Samples.of(metrics).total("isoglot_language_feedback_hits_total", relation="same")
    assert language == 2.0


def test_what_is_taken_back_of_a_calibrator_long_gone_is_left_alone(metrics):
    metrics.feedback.withdrawn(LabelledHit("0" * 12, 0.5, True, "same", "de", "judged"))

    found = Samples.of(metrics)
    assert found.total("isoglot_feedback_hits_total") == 0
    assert found.value("isoglot_feedback_untracked_hits_total") == 0


def test_when_a_calibrator_was_fitted_is_told_where_the_bundle_says_so(bundle):
    for created, expected in (("2026-11-22T00:00:00+00:00", [1795305600.0]), ("lately", [])):
        metrics = Metrics()
        manifest = bundle.manifest.model_copy(update={"training": {"created": created}})
        metrics.serves(dataclasses.replace(bundle, manifest=manifest), active=bundle.calibrator)
        name = "isoglot_calibrator_fitted_timestamp_seconds"
        found = Samples.of(metrics)
        assert [found.value(name, **labels) for labels in found.labels(name)] == expected


def test_when_a_calibrator_from_the_shelf_was_fitted_is_told_by_its_document(bundle):
    name = "isoglot_calibrator_fitted_timestamp_seconds"
    for said, expected in (({"fitted": "2026-01-02"}, [1767312000.0]), ({}, [])):
        other = make_calibrator(fit={**calibrator_content()["fit"], **said}, metrics={"other": 1})
        metrics = Metrics()
        metrics.serves(bundle, active=other)

        found = Samples.of(metrics)
        assert found.labels(name) == [{"calibrator": other.id}][: len(expected)]
        assert [found.value(name, **labels) for labels in found.labels(name)] == expected


def test_buckets_are_fine_at_both_ends_of_probability_and_uniform_in_score():
    assert (PROBABILITY_BUCKETS[0], PROBABILITY_BUCKETS[-1]) == (0.01, 0.98)
    assert SCORE_BUCKETS[:3] == (-0.1, -0.05, 0.0)
    assert SCORE_BUCKETS[-1] == 1.0


def test_two_services_in_one_process_count_for_themselves():
    one, other = Metrics(), Metrics()

    one.store.uploaded(stored=2, rejected=1)

    assert Samples.of(one).value("isoglot_passages_ingested_total") == 2
    assert Samples.of(other).value("isoglot_passages_ingested_total") == 0


def test_the_encoder_reports_queue_passes_and_cache():
    metrics = Metrics()
    metrics.encoder.queued("query", 40)
    metrics.encoder.waited("query", 0.002)
    metrics.encoder.refused("passage")
    metrics.encoder.encoded("passage", texts=64, seconds=0.3)
    metrics.encoder.looked_up(hit=True)
    metrics.encoder.cached(4096)

    found = Samples.of(metrics)
    assert found.value("isoglot_encoder_queue_tokens", lane="query") == 40
    assert found.value("isoglot_encoder_queue_wait_seconds_count", lane="query") == 1
    assert found.value("isoglot_encoder_queue_refused_total", lane="passage") == 1
    assert found.value("isoglot_encoder_batch_texts_bucket", le="32.0") == 0
    assert found.value("isoglot_encoder_forward_duration_seconds_sum", lane="passage") == 0.3
    assert found.value("isoglot_embedding_cache_requests_total", result="hit") == 1
    assert found.value("isoglot_embedding_cache_bytes") == 4096


def test_names_and_labels_follow_the_conventions():
    assert len({spec.name for spec in CATALOGUE}) == len(CATALOGUE)
    for spec in CATALOGUE:
        assert spec.name.startswith("isoglot_")
        assert spec.name.endswith("_total") == (spec.kind == "counter")
        assert bool(spec.buckets) == (spec.kind == "histogram")
        assert not set(spec.labels) & {"le", "quantile", "job", "instance"} or spec.kind == "gauge"
        assert spec.meaning.endswith(".")
