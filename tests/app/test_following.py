"""Calibrators are chosen while bundles change: what judges is decided in one place."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.adapters.calibrator_shelf import CalibratorShelf
from app.core.bundle import load_bundle
from app.core.calibration.document import dump_calibrator
from app.main import create_app
from app.settings import Settings
from tests.app.api.conftest import serving, until_started
from tests.app.telemetry.samples import Samples
from tests.bundles import calibrator_content, tiny_spec, write_tiny_bundle

PASSAGES = [{"id": f"p{n}", "text": f"the water is warm {n}"} for n in range(20)]


def content(name: str, intercept: float) -> dict[str, Any]:
    found = calibrator_content(tiny_spec(), metrics={"name": name})
    found["hit"]["intercept"] = intercept
    return found


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return write_tiny_bundle(tmp_path / "old", calibrator=content("old", -1.0), name="old")


@pytest.fixture
def newer(tmp_path: Path) -> Path:
    return write_tiny_bundle(tmp_path / "newer", calibrator=content("newer", -2.0), name="newer")


@pytest.fixture
def settings(tmp_path: Path, old: Path) -> Settings:
    return Settings(bundle=old, data_dir=tmp_path / "data", encoder_threads=1)


@pytest.fixture
def shelf(settings: Settings) -> CalibratorShelf:
    return CalibratorShelf.of(settings.data_dir, settings.collection)


@pytest.fixture
def promoted(shelf: CalibratorShelf) -> str:
    """Id of a calibrator on the shelf."""
    return shelf.add(dump_calibrator(content("promoted", -3.0))).id


@asynccontextmanager
async def service(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(settings)
    async with serving(app) as started:
        await until_started(app)
        assert (await started.post("/v1/passages", json=PASSAGES)).status_code == 200
        yield started


@pytest.fixture
async def client(settings, monkeypatch):
    monkeypatch.setattr("app.following.LOOK_SECONDS", 0.01)
    async with service(settings) as started:
        yield started


def own_of(directory: Path) -> str:
    calibrator = load_bundle(directory).calibrator
    assert calibrator is not None
    return calibrator.id


async def search(client: httpx.AsyncClient) -> dict[str, Any]:
    answer = await client.post("/search", json={"query": "the water is warm", "limit": 3})
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def load(client: httpx.AsyncClient, directory: Path) -> None:
    answer = await client.post("/v1/bundle:load", json={"directory": str(directory)})
    assert answer.status_code == 200, answer.text


async def until(client: httpx.AsyncClient, calibrator: str) -> None:
    async with asyncio.timeout(60):
        while (await search(client))["model"]["calibrator"] != calibrator:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def labelled(client: httpx.AsyncClient, answer: dict[str, Any]) -> None:
    token = answer["hits"][0]["feedback_token"]
    said = await client.post("/v1/feedback", json={"token": token, "relevant": True})
    assert said.status_code == 200, said.text


async def labels_of(client: httpx.AsyncClient, calibrator: str) -> float:
    samples = Samples((await client.get("/metrics")).text)
    return samples.total("isoglot_feedback_hits_total", calibrator=calibrator)


async def test_a_promoted_calibrator_judges_whenever_its_bundle_is_served(
    client, shelf, promoted, old, newer
):
    shelf.promote(promoted, load_bundle(old))
    await until(client, promoted)

    await load(client, newer)
    assert (await search(client))["model"]["calibrator"] == own_of(newer)
    await load(client, old)  # not its own calibrator first, and the promoted one a second later
    assert (await search(client))["model"]["calibrator"] == promoted


async def test_changes_of_bundle_and_calibrator_at_once_mix_and_drop_nothing(
    client, shelf, promoted, old, newer
):
    bundles = {directory: load_bundle(directory) for directory in (old, newer)}
    names = {directory: bundle.manifest.short_id for directory, bundle in bundles.items()}
    seen: dict[tuple[str, str], set[tuple[float, ...]]] = {}
    over = asyncio.Event()

    async def ask() -> None:
        while not over.is_set():
            answer = await search(client)
            model = (answer["model"]["bundle"], answer["model"]["calibrator"])
            stated = tuple(round(hit["probability"], 9) for hit in answer["hits"])
            seen.setdefault(model, set()).add(stated)
            await asyncio.sleep(0)

    async def promote() -> None:
        for _ in range(8):
            await asyncio.to_thread(shelf.promote, promoted, bundles[old])
            await asyncio.sleep(0.03)
            await asyncio.to_thread(shelf.rollback, bundles[old])
            await asyncio.sleep(0.03)

    async def change() -> None:
        for directory in (newer, old) * 4:
            await load(client, directory)
            await asyncio.sleep(0.02)

    asking = [asyncio.create_task(ask()) for _ in range(3)]
    await asyncio.gather(promote(), change())
    over.set()
    await asyncio.gather(*asking)

    whole = {
        (names[old], own_of(old)),
        (names[old], promoted),
        (names[newer], own_of(newer)),
    }
    assert seen.keys() == whole
    assert all(len(stated) == 1 for stated in seen.values()), seen
    await until(client, own_of(old))


async def test_late_labels_count_for_what_stated_the_probability(client, shelf, promoted, old):
    first = await search(client)
    shelf.promote(promoted, load_bundle(old))
    await until(client, promoted)
    second = await search(client)
    await labelled(client, first)
    assert await labels_of(client, own_of(old)) == 1

    shelf.rollback(load_bundle(old))
    await until(client, own_of(old))
    await labelled(client, second)
    assert await labels_of(client, promoted) == 1


async def test_after_a_restart_labels_of_what_was_taken_back_count(settings, shelf, promoted, old):
    shelf.promote(promoted, load_bundle(old))
    async with service(settings) as client:
        answer = await search(client)
    shelf.rollback(load_bundle(old))
    async with service(settings) as client:
        await labelled(client, answer)
        assert answer["model"]["calibrator"] == promoted
        assert await labels_of(client, promoted) == 1


async def test_labels_of_the_bundle_from_before_count(client, old, newer):
    answer = await search(client)
    await load(client, newer)
    await labelled(client, answer)
    assert await labels_of(client, own_of(old)) == 1
