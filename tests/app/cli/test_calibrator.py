import asyncio
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.adapters.feedback.sql import feedback_log
from app.cli.application import cli as isoglot
from app.cli.exits import Exit
from app.core.bundle import load_bundle
from app.core.feedback.entries import Entry
from tests.app.core.feedback.drawn import Truth, drawn_labels
from tests.app.core.feedback.statements import entry, statement
from tests.bundles import write_tiny_bundle


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs commands on a bundle and a data directory of their own."""
    monkeypatch.setenv("ISOGLOT_BUNDLE", str(write_tiny_bundle(tmp_path / "a-bundle")))
    monkeypatch.setenv("ISOGLOT_DATA_DIR", str(tmp_path / "data"))
    return lambda *words: CliRunner().invoke(isoglot, list(words))


def keep(tmp_path: Path, entries: list[Entry]) -> None:
    async def append() -> None:
        log = feedback_log(None, data_dir=tmp_path / "data", collection="passages")
        await log.open()
        await log.append(entries)
        await log.close()

    asyncio.run(append())


def feedback_on(calibrator: str, truth: Truth) -> list[Entry]:
    labels = drawn_labels(truth)
    return [
        Entry(
            statement(
                query_id=f"{query:032x}",
                passage_id=str(number),
                calibrator=calibrator,
                probability=float(labels.probability[number]),
                query_language="de",
                passage_language="de" if labels.same[number] else "fr",
            ),
            "judged",
            bool(labels.relevant[number]),
            0.0,
        )
        for number, query in enumerate(labels.query.tolist())
    ]


def test_a_calibrator_is_proposed_shadowed_promoted_and_taken_back(run, tmp_path):
    own = own_of(tmp_path)
    keep(tmp_path, feedback_on(own, lambda z, _: 0.8 * z - 1.0))

    proposed = run("recalibrate", "--json")
    assert proposed.exit_code == Exit.OK, proposed.output
    said = json.loads(proposed.stdout)
    assert (said["labels"], said["refusal"]) == (500, None)
    found = said["proposed"]
    assert "expected/observed" in run("recalibrate").stdout

    assert run("calibrator", "shadow", found).exit_code == Exit.OK
    assert json.loads(run("calibrator", "list", "--json").stdout)["shadow"] == found
    assert run("calibrator", "promote", found, "--reason", "drift").exit_code == Exit.OK
    listed = run("calibrator", "list").stdout
    assert f"{found}  active" in listed
    assert f"{own}  before" in listed
    assert run("calibrator", "shadow").exit_code == Exit.OK

    # Its statements have no labels yet, and those of its predecessor are not used.
    again = run("recalibrate")
    assert again.exit_code == Exit.REJECTED
    assert "It takes 100" in again.stdout

    assert run("calibrator", "rollback", "--reason", "complaints").exit_code == Exit.OK
    steps = json.loads(run("calibrator", "history", "--json").stdout)
    assert [s["action"] for s in steps] == ["add", "shadow", "promote", "shadow", "rollback"]
    assert "complaints" in run("calibrator", "history").stdout
    assert json.loads(run("calibrator", "list", "--json").stdout)["active"] == own


def own_of(tmp_path: Path) -> str:
    calibrator = load_bundle(tmp_path / "a-bundle").calibrator
    assert calibrator is not None
    return calibrator.id


def test_noise_is_refused_with_the_reason_and_nothing_is_proposed(run, tmp_path):
    own = own_of(tmp_path)
    keep(tmp_path, feedback_on(own, lambda z, _: 0 * z))

    refused = run("recalibrate")

    assert refused.exit_code == Exit.REJECTED
    assert "noise" in refused.stdout
    assert json.loads(run("calibrator", "list", "--json").stdout)["calibrators"] == []


def test_a_calibrator_from_elsewhere_is_added(run, tmp_path):
    calibrator = tmp_path / "a-bundle" / "calibrator.json"

    assert run("calibrator", "add", str(calibrator)).exit_code == Exit.OK
    assert run("calibrator", "add", str(tmp_path / "none")).exit_code == Exit.USAGE
    unknown = run("calibrator", "promote", "ffffffffffff")
    assert unknown.exit_code == Exit.CANNOT_START
    assert "isoglot calibrator list" in unknown.output


def test_without_a_calibrator_there_is_nothing_to_refit(run, tmp_path, monkeypatch):
    bundle = write_tiny_bundle(tmp_path / "uncalibrated", calibrated=False)
    monkeypatch.setenv("ISOGLOT_BUNDLE", str(bundle))

    assert run("recalibrate").exit_code == Exit.USAGE
    assert run("calibrator", "list").exit_code == Exit.OK


def test_feedback_is_exported_as_json_lines_and_as_qrels(run, tmp_path):
    entries = [
        entry(passage_id="a", relevant=True),
        entry(passage_id="b", relevant=False, tenant="acme"),
        entry(passage_id="a", relevant=None, source="click"),
    ]
    keep(tmp_path, entries)
    out = tmp_path / "feedback.qrels"

    lines = [json.loads(line) for line in run("feedback", "export").stdout.splitlines()]
    assert run("feedback", "export", "--form", "qrels", "--out", str(out)).exit_code == Exit.OK

    assert [(line["source"], line["relevant"]) for line in lines] == [
        ("explicit", True),
        ("explicit", False),
        ("click", None),
    ]
    assert lines[0]["score"] == 0.625
    query = "00112233445566778899aabbccddeeff"
    assert out.read_text() == f"{query} 0 a 1\n{query} 0 acme/b 0\n"


def test_what_cannot_be_exported_says_why(run, tmp_path):
    keep(tmp_path, [entry(passage_id="white space")])

    spaced = run("feedback", "export", "--form", "qrels")
    nowhere = run("feedback", "export", "--out", str(tmp_path / "none" / "file"))

    assert (spaced.exit_code, nowhere.exit_code) == (Exit.USAGE, Exit.USAGE)
    assert "white space" in spaced.output


def test_where_no_service_has_kept_feedback_nothing_is_made(run, tmp_path):
    for words in (["recalibrate"], ["feedback", "export"]):
        result = run(*words)
        assert result.exit_code == Exit.USAGE
        assert f"No service has kept feedback in {tmp_path / 'data'}" in result.output
    assert not (tmp_path / "data").exists()
