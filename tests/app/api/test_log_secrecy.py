"""No secret, no question and no passage is ever written to the log, whatever goes wrong."""

from __future__ import annotations

import json

import pytest

from app.environment import InvalidSettingsError, load_settings
from app.settings import secret_settings
from tests.app.api.keys import add_key, bearer

QUESTION = "WHO-KILLED-ROGER-ACKROYD"
PASSAGE = "THE-BUTLER-DID-IT"
WRONG_KEY = "iso_0123456789ab_" + "x" * 43


@pytest.mark.parametrize("log_format", ["json", "console"])
async def test_requests_leave_no_secret_in_the_log(serve, key_file, store, capsys, log_format):
    key = add_key(key_file, "search", "ingest", "metrics")
    # Long enough for a key, and an address of a database.
    secrets = {name: f"postgresql://SECRET-OF-{name}/{'x' * 16}" for name in secret_settings()}
    async with serve(
        key_file=key_file, log_level="debug", log_format=log_format, **secrets
    ) as client:
        known, wrong = bearer(key), {"X-API-Key": WRONG_KEY}
        passage = [{"id": "a", "text": PASSAGE}]
        for headers in (known, wrong):
            await client.post("/v1/passages", json=passage, headers=headers)
            await client.post("/search", json={"query": QUESTION}, headers=headers)
            await client.post("/search", content=b'{"query": ' + QUESTION.encode(), headers=headers)
            await client.post("/search", json={"query": QUESTION, "limit": -1}, headers=headers)
            await client.get(f"/v1/passages/{QUESTION}?{WRONG_KEY}", headers=headers)
            await client.get("/metrics", headers=headers)
        store.search = None  # What nobody expects is logged with its traceback.
        broken = await client.post("/search", json={"query": QUESTION}, headers=known)
        assert broken.status_code == 500

    log = capsys.readouterr().err
    assert "unhandled_error" in log
    assert log.count("request_id") >= 10
    for unwanted in (key, key.split("_", 2)[2], WRONG_KEY, QUESTION, PASSAGE, *secrets.values()):
        assert unwanted not in log


async def test_every_line_about_a_request_carries_the_id_that_its_answer_names(serve, capsys):
    async with serve(log_format="json", log_level="debug") as client:
        answer = await client.post("/search", json={"query": "x"})

    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines() if line[0] == "{"]
    [line] = [line for line in lines if line.get("route") == "/search"]
    assert line["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize("name", secret_settings())
def test_a_setting_that_is_wrong_does_not_show_secrets(monkeypatch, name):
    monkeypatch.setenv(f"ISOGLOT_{name.upper()}", "SECRET")
    monkeypatch.setenv("ISOGLOT_PORT", "eighty")

    with pytest.raises(InvalidSettingsError) as caught:
        load_settings()
    assert "SECRET" not in str(caught.value)
