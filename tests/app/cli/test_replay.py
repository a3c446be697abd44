import json
from collections.abc import Callable

import httpx
import pytest

from app.cli.exits import CannotStartError, Exit, UsageError
from app.cli.replaying.replay import Replay, queries_of, run_replay
from app.cli.replaying.traffic import HEALTHY, Fault, RecordedQuery, Traffic, fault_of

QUERIES = [RecordedQuery(query="why do tides rise", language="en", relevant=("tides.en",))]
MODEL = {"bundle": "b", "encoder": "e", "calibrator": "c", "collection": "passages"}


class Service:
    """Answers as a service does, and keeps the labels that it was sent."""

    def __init__(self, *, probability: float | None = 0.4, ready: bool = True) -> None:
        self.labels: list[bool] = []
        self._probability = probability
        self._ready = ready
        self.transport = httpx.MockTransport(self._answer)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/health/ready":
            if not self._ready:
                return httpx.Response(503, json={"code": "not_ready", "detail": "It is starting."})
            return httpx.Response(200, json={"model": MODEL, "passages": 2})
        body = json.loads(request.content)
        if request.url.path == "/v1/feedback:batch":
            self.labels += [one["relevant"] for one in body["feedback"]]
            receipts = [{"status": "accepted"} for _ in body["feedback"]]
            receipts[-1] = {"status": "duplicate"}
            return httpx.Response(200, json={"results": receipts})
        return httpx.Response(200, json=self._result(body["limit"]))

    def _result(self, limit: int) -> dict[str, object]:
        hits = [
            {
                "id": name, "rank": rank, "probability": self._probability, "score": 0.5,
                "probability_source": "relation:same", "extrapolated": False,
                "score_kind": "cosine", "language": {"code": language},
                "feedback_token": None if self._probability is None else f"token-{rank}",
            }
            for rank, (name, language) in enumerate(
                [("tides.en", "en"), ("gezeiten.de", "de")][:limit], start=1
            )
        ]  # fmt: skip
        return {
            "query_id": "q", "outcome": "ok", "answerable_probability": 0.5,
            "expected_relevant": 0.8, "hits": hits, "model": MODEL, "took_ms": 1.0,
            "page": {"limit": limit, "returned": len(hits), "candidates": 2},
            "query_language": {"code": "en", "confidence": 1.0, "source": "request"},
        }  # fmt: skip


@pytest.fixture
def replay() -> Callable[..., None]:
    def run(
        service: Service,
        *,
        recorded: bool = False,
        as_json: bool = True,
        fault: Fault = HEALTHY,
        fault_after: float = 0.0,
    ) -> None:
        replayed = Replay(
            url="http://service",
            key=None,
            traffic=Traffic(QUERIES, recorded=recorded, seed=0),
            fault=fault,
            fault_after=fault_after,
            rate=400.0,
            duration=0.25,
            hits=2,
            transport=service.transport,
        )
        run_replay(replayed, as_json=as_json)

    return run


def test_every_hit_is_labelled_and_what_the_service_took_is_summed_up(replay, capsys):
    service = Service()

    replay(service)

    [(name, found)] = json.loads(capsys.readouterr().out).items()
    assert name == "healthy"
    assert found["searches"] == 100
    assert len(service.labels) == 200
    assert (found["accepted"], found["refused"], found["unanswered"]) == (100, 100, 0)
    assert found["relations"]["same"]["labels"] == 100
    assert found["relations"]["same"]["expected"] == pytest.approx(40)


def test_the_fault_begins_when_it_is_planted(replay, capsys):
    nothing = fault_of("prior-shift", -50.0, None, QUERIES)

    replay(Service(), fault=nothing, fault_after=0.125)

    found = json.loads(capsys.readouterr().out)
    assert list(found) == ["healthy", "prior-shift"]
    assert found["healthy"]["relations"]["same"]["relevant"] > 0
    assert found["prior-shift"]["relations"]["same"]["relevant"] == 0
    assert found["prior-shift"]["relations"]["same"]["expected_observed"] is None


def test_recorded_labels_are_replayed(replay):
    service = Service()
    replay(service, recorded=True)
    assert service.labels == [True, False] * 100


def test_people_see_a_table_and_what_was_not_taken(replay, capsys):
    replay(Service(), as_json=False)
    shown = capsys.readouterr()
    assert "same" in shown.out
    assert "healthy: 100 searches, 100 labels accepted, 100 refused" in shown.err


def test_a_service_without_probabilities_has_nothing_to_label(replay):
    with pytest.raises(CannotStartError, match="cannot be labelled"):
        replay(Service(probability=None))


def test_a_service_that_is_not_ready_is_told(replay):
    with pytest.raises(CannotStartError, match="It is starting"):
        replay(Service(ready=False))


def test_a_service_that_is_not_there_is_told(isoglot):
    ran = isoglot("replay", "--url", "http://127.0.0.1:9", "--duration", "1")
    assert ran.exit_code == Exit.CANNOT_START
    assert "not ready" in ran.output


@pytest.mark.parametrize(
    ("words", "message"),
    [(["--fault", "gremlins"], "over-confidence"), (["--labels", "guessed"], "simulated")],
)
def test_options_that_cannot_be_used_are_refused(isoglot, words, message):
    ran = isoglot("replay", *words)
    assert ran.exit_code == Exit.USAGE
    assert message in ran.output


def test_recorded_labels_must_be_recorded(tmp_path):
    path = tmp_path / "traffic.jsonl"
    path.write_text('{"query": "tides"}\n')
    with pytest.raises(UsageError, match="no labels"):
        queries_of(path, None, recorded=True)


def test_the_demo_corpus_is_replayed_by_default():
    queries = queries_of(None, None, recorded=True)
    assert {"de", "en", "zh"} <= {query.language for query in queries}
    assert any(query.relevant for query in queries)
