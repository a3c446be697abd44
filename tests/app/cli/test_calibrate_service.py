"""``isoglot calibrate --url``: the judgements are searched for at a running service."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.api.examples.search import SEARCH_RESPONSES
from app.cli.calibrating.places import search_there
from app.cli.exits import CannotStartError
from app.cli.remote import RemoteService
from app.core.calibration.document import dump_calibrator
from tests.app.cli.test_calibrate import is_answer, judgements, passage, text
from tests.bundles import calibrator_content, tiny_spec

PROMOTED = dump_calibrator(
    calibrator_content(
        tiny_spec(),
        hit={
            "features": ["score", "background", "log_corpus", "same", "same*score"],
            "coef": [14.0, -6.0, -0.5, 1.0, 2.0],
            "intercept": -1.0,
        },
    )
)


@pytest.fixture
def promoted(isoglot, tmp_path) -> str:
    """Id of a calibrator that is promoted before the service starts."""
    path = tmp_path / "promoted.json"
    path.write_text(PROMOTED)
    added: str = json.loads(PROMOTED)["id"]
    assert isoglot("calibrator", "add", path).exit_code == 0
    assert isoglot("calibrator", "promote", added).exit_code == 0
    return added


def report_of(out: Path) -> Any:
    return json.loads((out / "report.json").read_text())


def test_a_service_gives_the_calibrator_that_the_data_directory_gives(
    isoglot, lines, promoted, service, tmp_path
):
    url, process = service
    assert isoglot("index", lines(*map(passage, range(60))), "--url", url).exit_code == 0
    judged = lines(*judgements(is_answer), name="j.jsonl")
    options = ("calibrate", "--judgements", judged, "--out")
    there = isoglot(*options, tmp_path / "there", "--url", url)
    assert there.exit_code == 0, there.stderr + there.stdout
    process.terminate()
    process.wait(timeout=30)

    assert isoglot(*options, tmp_path / "here").exit_code == 0
    here = report_of(tmp_path / "here")
    assert report_of(tmp_path / "there") == here
    assert here["base"] == promoted


def test_hits_of_a_service_are_judged_in_the_terminal(isoglot, lines, service, tmp_path):
    url, _ = service
    assert isoglot("index", lines(*map(passage, range(60))), "--url", url).exit_code == 0
    queries = lines(
        *({"id": f"q{n}", "text": text(n), "language": "en"} for n in range(15)),
        name="queries.jsonl",
    )
    path = tmp_path / "judged.jsonl"
    asked = ("--label", "--queries", queries, "--judgements", path, "--labels", "60")
    result = isoglot("calibrate", *asked, "--url", url, stdin="y\nn\nq\n")
    assert "2 judged now" in result.stderr
    assert len(path.read_text().splitlines()) == 2


def test_a_judged_passage_that_the_service_does_not_have_is_named(isoglot, lines, service):
    url, _ = service
    assert isoglot("index", lines(passage(1)), "--url", url).exit_code == 0
    judged = lines(
        {"query": "a tide", "passage_id": "p1", "relevant": True},
        {"query": "a tide", "passage_id": "no/where", "relevant": True},
        name="j.jsonl",
    )
    result = isoglot("calibrate", "--judgements", judged, "--url", url)
    assert result.exit_code == 2
    assert "j.jsonl:2: 'no/where'" in result.stderr


def test_a_data_directory_makes_no_sense_beside_a_service(isoglot, tmp_path):
    result = isoglot("calibrate", "--url", "http://127.0.0.1:9", "--data-dir", tmp_path)
    assert result.exit_code == 2
    assert "leave out --data-dir" in result.stderr


def test_a_service_that_cannot_be_reached_is_an_error(isoglot, lines):
    judged = lines({"query": "a tide", "passage_id": "p1", "relevant": True}, name="j.jsonl")
    result = isoglot("calibrate", "--judgements", judged, "--url", "http://127.0.0.1:9")
    assert result.exit_code == 3
    assert "isoglot serve" in result.stderr


def answering(calibrators: list[str]) -> RemoteService:
    """A service with these calibrators, one after the other, in its answers to searches."""
    (answer, *_) = (example["value"] for example in SEARCH_RESPONSES.values())

    def answered(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/calibration/document":
            return httpx.Response(200, text=PROMOTED)
        model = {**answer["model"], "calibrator": calibrators.pop(0)}
        return httpx.Response(200, json={**answer, "model": model})

    return RemoteService("http://service", transport=httpx.MockTransport(answered))


async def test_another_calibrator_in_the_middle_ends_it():
    own = json.loads(PROMOTED)["id"]
    async with search_there(answering([own, "0123456789ab"])) as place:
        assert place.calibrator.id == own
        await place.search("the tide", "en")
        with pytest.raises(CannotStartError, match="another calibrator"):
            await place.search("the tide", "en")
