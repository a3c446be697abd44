"""GET /v1/calibration, its document, and the page that draws it."""

import json

from app.api.routes.page import PAGE_POLICY
from app.core.bundle import CALIBRATOR_FILE
from app.core.calibration.document import parse_calibrator
from tests.app.api.conftest import serving, until_started
from tests.bundles import calibrator_content, write_tiny_bundle
from tests.calibrators import PIECES
from tests.fakes import FAKE_ENCODER_SPEC


async def test_the_evidence_for_the_probabilities_is_told(client):
    response = await client.get("/v1/calibration")
    assert response.status_code == 200
    said = response.json()
    assert len(said["calibrator"]) == 12
    assert said["kind"] == "logit-linear"
    assert set(said["heads"]) == {"hit", "pooled", "first_hit"}
    head = said["heads"]["hit"]
    assert len(head["coef"]) == len(head["features"])
    assert head["standard_errors"] is None
    assert said["score_pieces"] is None
    assert said["fit"]["source"] == "bundle"
    assert said["thresholds"] == {"answer": None, "hits": None}
    answer = (await client.post("/v1/search", json={"query": "the tide"})).json()
    assert answer["model"]["calibrator"] == said["calibrator"]


async def test_the_line_that_the_score_is_read_through_is_told(make_app, tmp_path):
    content = calibrator_content(FAKE_ENCODER_SPEC, score_pieces=PIECES)
    directory = write_tiny_bundle(tmp_path / "pieced", spec=FAKE_ENCODER_SPEC, calibrator=content)
    app = make_app(bundle=directory)
    async with serving(app) as pieced:
        await until_started(app)
        said = (await pieced.get("/v1/calibration")).json()
    assert said["score_pieces"] == PIECES


async def test_the_page_is_public_and_loads_nothing_from_elsewhere(client):
    response = await client.get("/calibration")
    assert response.status_code == 200
    assert response.headers["content-security-policy"] == PAGE_POLICY
    for name in ("calibration.js", "calibration.css"):
        assert f"/static/{name}" in response.text
        assert (await client.get(f"/static/{name}")).status_code == 200
    assert "http://" not in response.text
    assert "https://" not in response.text


async def test_the_document_is_the_one_of_the_bundle_to_the_last_digit(client, bundle_dir):
    response = await client.get("/v1/calibration/document")
    assert response.status_code == 200
    assert response.json() == json.loads((bundle_dir / CALIBRATOR_FILE).read_text())
    told = (await client.get("/v1/calibration")).json()["calibrator"]
    assert parse_calibrator(response.json()).id == told


async def test_where_there_is_no_calibrator_there_is_no_document(make_app, uncalibrated_bundle_dir):
    app = make_app(bundle=uncalibrated_bundle_dir)
    async with serving(app) as client:
        await until_started(app)
        response = await client.get("/v1/calibration/document")
    assert response.status_code == 404
    assert "no calibrator" in response.json()["detail"]
