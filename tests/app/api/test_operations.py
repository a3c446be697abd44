import asyncio
import os
import subprocess
import sys
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from app.core.bundle import load_bundle
from app.core.errors import EncoderMismatchError, StoreUnavailableError
from tests.app.api.conftest import serving, until_started
from tests.app.api.problems import problem_of
from tests.app.telemetry.samples import Samples
from tests.bundles import write_tiny_bundle

QUESTION = {"query": "how to find the hole in the tube"}


def failing(error: Exception, after: asyncio.Event | None = None) -> Any:
    """A runtime factory that raises, at once or after an event."""

    class Failing(AbstractAsyncContextManager[None]):
        async def __aenter__(self) -> None:
            if after is not None:
                await after.wait()
            raise error

        async def __aexit__(self, *exc: object) -> None:
            raise AssertionError("it was never entered")

    return lambda *_: Failing()


async def test_the_service_is_live_but_not_ready_while_it_starts(make_app, bundle_dir):
    go_on = asyncio.Event()

    runtime_factory = failing(RuntimeError("not reached while the test looks"), after=go_on)

    async with serving(make_app(runtime_factory=runtime_factory)) as client:
        assert (await client.get("/health/live")).json() == {"status": "live"}
        not_ready = await client.get("/health/ready")
        search = await client.post("/v1/search", json=QUESTION)
        go_on.set()

    assert "starting" in problem_of(not_ready, 503, "not_ready")["detail"]
    assert int(not_ready.headers["retry-after"]) > 0
    problem_of(search, 503, "not_ready")


async def test_a_failed_start_is_told_to_whoever_asks(make_app):
    runtime_factory = failing(
        EncoderMismatchError(collection="passages", indexed_with="aaaa", loaded="bbbb")
    )

    app = make_app(runtime_factory=runtime_factory)
    async with serving(app) as client:
        await until_started(app)
        ready = await client.get("/health/ready")
        search = await client.post("/v1/search", json=QUESTION)

    assert "aaaa" in problem_of(ready, 503, "not_ready")["detail"]
    assert "bbbb" in problem_of(search, 409, "encoder_mismatch")["detail"]


async def test_a_start_that_failed_for_an_unknown_reason_keeps_it_to_the_log(make_app):
    runtime_factory = failing(RuntimeError("secret path /srv/x"))

    app = make_app(runtime_factory=runtime_factory)
    async with serving(app) as client:
        await until_started(app)
        ready = await client.get("/health/ready")

    problem_of(ready, 503, "not_ready")
    assert "secret" not in ready.text


async def test_a_ready_service_says_what_it_holds(stocked):
    body = (await stocked.get("/health/ready")).json()

    assert body["status"] == "ready"
    assert body["passages"] == 3
    assert body["engine"] == "memory"
    assert body["model"]["bundle"].startswith("tiny@")


async def test_the_store_is_closed_when_the_service_stops(serve, store):
    async with serve() as client:
        assert (await client.get("/health/ready")).status_code == 200

    with pytest.raises(StoreUnavailableError):
        await store.count()


def test_a_damaged_bundle_ends_the_process_with_a_clear_message(tmp_path):
    directory = write_tiny_bundle(tmp_path / "bundle")
    model = directory / "encoder" / "model.onnx"
    flipped = bytearray(model.read_bytes())
    flipped[len(flipped) // 2] ^= 1
    model.write_bytes(flipped)
    code = (
        "import uvicorn; from app.main import create_app; "
        "uvicorn.run(create_app(), port=0, log_config=None)"
    )

    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "ISOGLOT_BUNDLE": str(directory)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode != 0
    assert "changed: encoder/model.onnx" in done.stderr
    assert "Traceback" not in done.stderr


async def test_the_bundle_is_described_with_what_its_calibrator_was_fitted_on(client, bundle_dir):
    body = (await client.get("/v1/bundle")).json()

    loaded = load_bundle(bundle_dir)
    assert body["id"] == loaded.manifest.id
    assert body["languages"] == list(loaded.spec.languages)
    assert body["encoder"]["dim"] == loaded.spec.dim
    assert loaded.calibrator is not None
    assert body["calibrator"]["queries"] == loaded.calibrator.document.fit.queries
    assert body["calibrator"]["nll_after"] < body["calibrator"]["nll_before"]


async def test_a_bundle_without_calibrator_is_described_without_one(serve, uncalibrated_bundle_dir):
    async with serve(bundle=uncalibrated_bundle_dir) as client:
        assert (await client.get("/v1/bundle")).json()["calibrator"] is None


async def test_searches_move_the_metrics_of_probability_and_stages(stocked):
    request = {**QUESTION, "language": {"query": "en"}}
    passes = "isoglot_encoder_forward_duration_seconds_count"
    warm_up = Samples((await stocked.get("/metrics")).text).value(passes, lane="query")

    await stocked.post("/v1/search", json=request)

    found = Samples((await stocked.get("/metrics")).text)
    assert found.value("isoglot_queries_total", query_lang="en", decision="answered") == 1
    assert found.value("isoglot_search_stage_duration_seconds_count", stage="encode") == 1
    stated = "isoglot_hit_probability_count"
    assert found.total(stated, relation="same") + found.total(stated, relation="cross") == 3
    assert found.total(stated, position="1") == 1
    assert found.value(passes, lane="query") == warm_up + 1
    assert found.value("isoglot_store_passages") == 3
    assert found.total("isoglot_bundle_info") == 1


async def test_requests_are_counted_by_route_and_never_by_path(stocked):
    await stocked.get("/v1/passages/puncture.de")
    await stocked.get("/some/random/path")

    text = (await stocked.get("/metrics")).text
    found, counted = Samples(text), "isoglot_http_requests_total"
    passage = {"method": "GET", "route": "/v1/passages/{passage_id}"}
    assert found.value(counted, status="2xx", **passage) == 1
    assert found.value(counted, status="5xx", **passage) == 0
    assert found.value(counted, method="GET", route="unmatched", status="4xx") == 1
    assert found.value("isoglot_http_errors_total", status="404") == 1
    timed = "isoglot_http_request_duration_seconds_count"
    assert found.value(timed, route="/v1/passages") == 1
    assert found.value("isoglot_http_requests_in_progress") == 1
    assert "random" not in text
