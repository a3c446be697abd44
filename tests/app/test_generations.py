"""Another bundle takes the place of the one that answers, and no request notices."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from app import generations
from app.adapters.encoders.token_encoder import TokenEncoder
from app.bootstrap import served_bundle
from app.core.bundle import load_bundle
from app.main import create_app
from app.settings import Settings
from tests.app.api.conftest import serving, until_started
from tests.bundles import calibrator_content, tiny_spec, write_tiny_bundle

OTHER_SPEC = tiny_spec(query_prefix="query: ")
PASSAGES = [{"id": f"p{n:03d}", "text": f"the water is warm {n}"} for n in range(120)]


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return write_tiny_bundle(tmp_path / "old", name="old")


@pytest.fixture
def new(tmp_path: Path) -> Path:
    return write_tiny_bundle(tmp_path / "new", spec=OTHER_SPEC, name="new")


@pytest.fixture
def settings(tmp_path: Path, old: Path) -> Settings:
    return Settings(bundle=old, data_dir=tmp_path / "data", encoder_threads=1)


@asynccontextmanager
async def service(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(settings)
    async with serving(app) as client:
        await until_started(app)
        yield client


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    async with service(settings) as started:
        answer = await started.post("/v1/passages", json=PASSAGES)
        assert answer.status_code == 200
        yield started


async def post(client: httpx.AsyncClient, path: str, directory: Path) -> httpx.Response:
    return await client.post(path, json={"directory": str(directory)})


async def search(client: httpx.AsyncClient) -> dict[str, Any]:
    answer = await client.post("/search", json={"query": "the water is warm", "limit": 3})
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def reindexed(client: httpx.AsyncClient, directory: Path) -> dict[str, Any]:
    """Reindex with the bundle and return how it ended."""
    answer = await post(client, "/v1/reindex", directory)
    assert answer.status_code == 200, answer.text
    async with asyncio.timeout(60):
        while True:
            job: dict[str, Any] = (await client.get("/v1/reindex")).json()
            if job["state"] != "running":
                return job
            await asyncio.sleep(0.01)


def model_of(directory: Path) -> tuple[str, str, str | None]:
    bundle = load_bundle(directory)
    calibrator = bundle.calibrator.id if bundle.calibrator else None
    return bundle.manifest.short_id, bundle.spec.fingerprint(), calibrator


def model_in(answer: dict[str, Any]) -> tuple[str, str, str | None]:
    model = answer["model"]
    return model["bundle"], model["encoder"], model["calibrator"]


async def test_under_load_no_request_fails_and_no_answer_mixes_two_bundles(client, old, new):
    wholes = {model_of(old), model_of(new)}
    seen: list[tuple[str, str, str | None]] = []
    written: list[str] = []
    over = asyncio.Event()

    async def ask() -> None:
        while not over.is_set():
            seen.append(model_in(await search(client)))
            await asyncio.sleep(0)

    async def write() -> None:
        while not over.is_set():
            name = f"w{len(written):04d}"
            body = [{"id": name, "text": f"cold water {len(written)}"}]
            assert (await client.post("/v1/passages", json=body)).status_code == 200
            written.append(name)
            await asyncio.sleep(0)

    load = [asyncio.create_task(work()) for work in (ask, ask, write)]
    there = await reindexed(client, new)
    back = await reindexed(client, old)
    again = await reindexed(client, new)
    over.set()
    await asyncio.gather(*load)

    assert [job["state"] for job in (there, back, again)] == ["done"] * 3, (there, back, again)
    assert set(seen) == wholes
    assert model_in(await search(client)) == model_of(new)
    assert again["embedded"] < again["passages"]  # what was there from the first time was kept
    for name in [*written, "p000", "p119"]:
        assert (await client.get(f"/v1/passages/{name}")).status_code == 200, name
    count = await client.post("/v1/passages:count", json={})
    assert count.json()["count"] == len(PASSAGES) + len(written)


async def test_an_upload_that_began_before_the_switch_loses_nothing(client, new):
    half = asyncio.Event()
    switched = asyncio.Event()

    async def lines() -> AsyncIterator[bytes]:
        yield b'{"id": "early", "text": "the water is cold"}\n'
        half.set()
        await switched.wait()
        yield b'{"id": "late", "text": "the water is very cold"}\n'

    headers = {"Content-Type": "application/x-ndjson"}
    upload = asyncio.create_task(client.post("/v1/passages", content=lines(), headers=headers))
    await half.wait()
    job = await reindexed(client, new)
    switched.set()
    answer = await upload

    assert job["state"] == "done"
    assert answer.text.count('"status":"created"') == 2, answer.text
    for name in ("early", "late"):
        assert (await client.get(f"/v1/passages/{name}")).status_code == 200


async def test_after_a_restart_the_bundle_of_the_last_switch_answers(settings, old, new):
    async with service(settings) as client:
        assert (await client.post("/v1/passages", json=PASSAGES)).status_code == 200
        assert (await reindexed(client, new))["state"] == "done"
        # What commands take while it runs.
        assert (await served_bundle(settings)).manifest.short_id == model_of(new)[0]
    async with service(settings) as client:  # The settings still name the bundle from before.
        assert model_in(await search(client)) == model_of(new)
        assert (await reindexed(client, old))["state"] == "done"
    async with service(settings) as client:
        assert model_in(await search(client)) == model_of(old)


async def test_another_calibrator_is_loaded_without_touching_the_passages(client, old, tmp_path):
    changed = calibrator_content(tiny_spec())
    changed["hit"]["intercept"] = -1.0
    other = write_tiny_bundle(tmp_path / "other", calibrator=changed, name="other")
    before = await search(client)
    answer = await post(client, "/v1/bundle:load", other)
    after = await search(client)

    assert answer.status_code == 200, answer.text
    assert answer.json() == {"bundle": model_of(other)[0], "calibrator": model_of(other)[2]}
    assert (model_in(before), model_in(after)) == (model_of(old), model_of(other))
    assert [h["id"] for h in before["hits"]] == [h["id"] for h in after["hits"]]
    assert (await client.get("/v1/bundle")).json()["name"] == "other"


async def test_a_retired_bundle_leaves_the_memory(client, tmp_path, monkeypatch):
    steps: list[str] = []
    left = asyncio.Event()

    def give_back() -> None:
        steps.append("given back")
        left.set()

    monkeypatch.setattr(TokenEncoder, "close", lambda _self: steps.append("encoder closed"))
    monkeypatch.setattr(generations, "give_back_memory", give_back)
    other = write_tiny_bundle(tmp_path / "other", name="other")
    assert (await post(client, "/v1/bundle:load", other)).status_code == 200
    async with asyncio.timeout(30):
        await left.wait()
    assert steps == ["encoder closed", "given back"]


async def test_a_damaged_bundle_is_refused_and_the_one_from_before_goes_on(client, old, new):
    (new / "encoder" / "model.onnx").write_bytes(b"damaged")
    for path in ("/v1/bundle:load", "/v1/reindex"):
        answer = await post(client, path, new)
        assert answer.status_code == 422
        assert answer.json()["code"] == "bundle_integrity"
        assert "model.onnx" in answer.json()["detail"]
    assert model_in(await search(client)) == model_of(old)


async def test_a_bundle_with_another_encoder_needs_reindexing_first(client, old, new):
    answer = await post(client, "/v1/bundle:load", new)
    assert (answer.status_code, answer.json()["code"]) == (409, "encoder_mismatch")
    assert "isoglot reindex" in answer.json()["detail"]
    answer = await post(client, "/v1/reindex", old)
    assert (answer.status_code, answer.json()["code"]) == (409, "reindexing_error")
    assert model_in(await search(client)) == model_of(old)


async def test_one_reindexing_at_a_time_and_it_can_be_cancelled(client, old, new):
    assert (await client.get("/v1/reindex")).status_code == 404
    assert (await client.delete("/v1/reindex")).status_code == 404
    assert (await post(client, "/v1/reindex", new)).status_code == 200
    for path in ("/v1/reindex", "/v1/bundle:load"):
        refused = await post(client, path, new)
        assert (refused.status_code, refused.json()["code"]) == (409, "reindexing_error")
    assert (await client.delete("/v1/reindex")).json()["state"] == "cancelled"
    assert (await client.get("/v1/reindex")).json()["state"] == "cancelled"
    assert model_in(await search(client)) == model_of(old)
    assert (await reindexed(client, new))["state"] == "done"
    assert (await client.delete("/v1/reindex")).json()["state"] == "done"


async def test_a_reindexing_that_fails_says_why_and_changes_nothing(client, old, new, monkeypatch):
    async def fail(self: object) -> None:
        raise RuntimeError("a secret of the machine")

    monkeypatch.setattr("app.core.reindexing.copying.Reindexer.copy", fail)
    job = await reindexed(client, new)
    assert (job["state"], job["error"]) == ("failed", "The log of the service has the cause.")
    assert model_in(await search(client)) == model_of(old)
    monkeypatch.undo()
    assert (await reindexed(client, new))["state"] == "done"
