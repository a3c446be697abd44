"""Calibrators that are promoted, shadowed and rolled back under a running service."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.adapters.calibrator_shelf import CalibratorShelf
from app.core.bundle import load_bundle
from app.core.calibration.document import dump_calibrator
from tests.app.api.answers import hits_of
from tests.app.api.conftest import PASSAGES, serving, until_started
from tests.app.telemetry.samples import Samples
from tests.bundles import calibrator_content
from tests.fakes import FAKE_ENCODER_SPEC

QUESTION = {"query": "how to find the hole in the tube", "language": {"query": "en"}}
BOLD = {
    "features": ["score", "background", "log_corpus", "same", "same*score"],
    "coef": [14.0, -6.0, -0.5, 1.0, 2.0],
    "intercept": -1.0,
}


@pytest.fixture
def shelf(tmp_path):
    return CalibratorShelf.of(tmp_path, "passages")


@pytest.fixture
def bold(shelf):
    """Id of a calibrator that states more than the bundle's own."""
    return shelf.add(dump_calibrator(calibrator_content(FAKE_ENCODER_SPEC, hit=BOLD))).id


@pytest.fixture
async def running(make_app, tmp_path, monkeypatch):
    monkeypatch.setattr("app.following.LOOK_SECONDS", 0.01)
    app = make_app(data_dir=tmp_path)
    async with serving(app) as client:
        await until_started(app)
        await client.post("/v1/passages", json=PASSAGES)
        yield client


def own_of(bundle_dir: Path) -> str:
    calibrator = load_bundle(bundle_dir).calibrator
    assert calibrator is not None
    return calibrator.id


async def search(client: httpx.AsyncClient, **options: object) -> Any:
    response = await client.post("/v1/search", json={**QUESTION, **options})
    assert response.status_code == 200, response.text
    return response.json()


async def test_the_age_of_a_promoted_calibrator_is_exposed(running, shelf, bundle_dir):
    """Or the alert on old ones would end with the first promotion."""
    facts = {**calibrator_content(FAKE_ENCODER_SPEC)["fit"], "fitted": "2026-01-02"}
    old = shelf.add(dump_calibrator(calibrator_content(FAKE_ENCODER_SPEC, fit=facts))).id
    shelf.promote(old, load_bundle(bundle_dir))
    await until(running, old)

    found = Samples((await running.get("/metrics")).text)
    name = "isoglot_calibrator_fitted_timestamp_seconds"
    assert found.value(name, calibrator=old) == 1767312000.0
    assert (await running.get("/v1/calibration")).json()["fit"]["fitted"] == "2026-01-02"


async def until(client: httpx.AsyncClient, calibrator: str) -> None:
    async with asyncio.timeout(60):
        while (await search(client))["model"]["calibrator"] != calibrator:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_promotion_is_served_without_dropping_a_request(running, shelf, bold, bundle_dir):
    bundle = load_bundle(bundle_dir)
    own = own_of(bundle_dir)
    before = {h["id"]: h["probability"] for h in (await search(running))["hits"]}
    answers = []

    async def ask() -> None:
        for _ in range(60):
            answers.append(await search(running))
            await asyncio.sleep(0)

    asking = asyncio.gather(ask(), ask(), ask())
    await asyncio.sleep(0.02)
    shelf.promote(bold, bundle)
    await until(running, bold)
    await asking

    assert {a["model"]["calibrator"] for a in answers} <= {own, bold}
    after = {h["id"]: h["probability"] for h in (await search(running))["hits"]}
    assert after != before
    for answer in answers:  # no answer mixes the two
        stated = before if answer["model"]["calibrator"] == own else after
        assert {h["id"]: h["probability"] for h in answer["hits"]} == pytest.approx(stated)
    assert (await running.get("/v1/bundle")).json()["calibrator"]["id"] == bold

    shelf.rollback(bundle)
    await until(running, own)
    assert {h["id"]: h["probability"] for h in (await search(running))["hits"]} == before


async def test_a_cursor_goes_on_with_the_calibrator_that_judged_it(
    running, shelf, bold, bundle_dir
):
    bundle = load_bundle(bundle_dir)
    first = await search(running, limit=1)
    whole = await search(running)
    shelf.promote(bold, bundle)
    await until(running, bold)

    second = await search(
        running, limit=1, cursor=first["page"]["next_cursor"], explain="full",
        diagnostics=["calibration"],
    )  # fmt: skip

    assert second["model"]["calibrator"] == own_of(bundle_dir)
    assert second["hits"][0]["probability"] == whole["hits"][1]["probability"]
    assert second["hits"][0]["explanation"]["calibrator"] == own_of(bundle_dir)
    assert second["diagnostics"]["calibration"]["calibrator"] == own_of(bundle_dir)


async def test_a_shadow_is_counted_and_never_shown(running, shelf, bold, bundle_dir):
    bundle = load_bundle(bundle_dir)
    plain = await search(running)
    shelf.shadow(bold, bundle)
    async with asyncio.timeout(60):
        while bold not in (await running.get("/metrics")).text:  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    answer = await search(running)
    token = answer["hits"][0]["feedback_token"]
    await running.post("/v1/feedback", json={"token": token, "relevant": True})

    assert bold not in str(answer)
    assert hits_of(answer) == hits_of(plain)
    found = Samples((await running.get("/metrics")).text)
    own = own_of(bundle_dir)
    expected = "isoglot_expected_relevant_hits_total"
    assert found.total(expected, calibrator=bold) > 0
    for calibrator in (own, bold):
        assert found.total("isoglot_feedback_hits_total", calibrator=calibrator) == 1
    stated = "isoglot_feedback_probability_sum_total"
    assert found.total(stated, calibrator=bold) > found.total(stated, calibrator=own)
    shadow = {"calibrator": bold, "role": "shadow"}
    assert found.total("isoglot_calibrator_info", **shadow) == 1


async def test_a_tenant_gets_what_is_chosen_and_keeps_its_memory(
    make_app, tmp_path, shelf, bold, bundle_dir
):
    bundle, own = load_bundle(bundle_dir), own_of(bundle_dir)
    shelf.shadow(bold, bundle)
    app = make_app(data_dir=tmp_path)
    async with serving(app):
        await until_started(app)
        seen = []
        changes = (
            lambda: None,
            lambda: shelf.promote(bold, bundle),
            lambda: shelf.rollback(bundle),
        )
        for change in changes:
            change()
            app.state.api.administration.choose_anew()
            with app.state.api.readiness.lease() as runtime:
                seen.append(runtime.for_tenant("acme"))

    assert [t.bundle.calibrator.id for t in seen] == [own, bold, own]
    assert [t.shadow and t.shadow.id for t in seen] == [bold, None, None]
    assert len({id(t.search.memory) for t in seen}) == 1


async def test_a_choice_that_cannot_be_served_leaves_the_former(
    make_app, tmp_path, shelf, bold, bundle_dir
):
    app = make_app(data_dir=tmp_path)
    async with serving(app) as client:
        await until_started(app)
        shelf.promote(bold, load_bundle(bundle_dir))
        (shelf.directory / f"{bold}.json").write_text("{}")
        app.state.api.administration.choose_anew()
        own = own_of(bundle_dir)
        assert (await search(client))["model"]["calibrator"] == own
