from __future__ import annotations

import json

import pytest

from app.api.schemas.answer import SearchResponse
from app.core.calibration.document import dump_calibrator
from tests.app.cli.conftest import GEZEITEN, TIDES, WHEEL
from tests.bundles import calibrator_content, tiny_spec, write_tiny_bundle


@pytest.fixture
def indexed(isoglot, lines):
    assert isoglot("index", lines(TIDES, GEZEITEN, WHEEL)).exit_code == 0


@pytest.mark.usefixtures("indexed")
def test_the_table_shows_probability_language_score_and_text(isoglot):
    result = isoglot("search", "the tides of the sea", "--language", "en")
    assert result.exit_code == 0
    heading, best, text, *_ = result.stdout.splitlines()
    assert heading.split() == ["#", "probability", "language", "score", "text"]
    assert best.split()[0] == "1"
    assert best.split()[1].rstrip("*").endswith("%")
    assert best.split()[2::2] == ["en", "tides.en"]
    assert TIDES["text"] in text
    assert "Answerable: " in result.stdout


@pytest.mark.usefixtures("indexed")
def test_json_is_the_response_of_the_service_alone_on_stdout(isoglot):
    result = isoglot("search", "the tides of the sea", "--json")
    response = SearchResponse.model_validate_json(result.stdout)
    assert [hit.rank for hit in response.hits] == [1, 2, 3]
    assert response.hits[0].id == "tides.en"
    assert all(hit.probability is not None for hit in response.hits)


@pytest.mark.usefixtures("indexed")
def test_a_promoted_calibrator_judges_here_as_it_does_in_the_service(isoglot, tmp_path):
    content = calibrator_content(tiny_spec())
    path = tmp_path / "another.json"
    path.write_text(dump_calibrator({**content, "clip": [0.25, 0.75]}))
    added = json.loads(path.read_text())["id"]
    for command in (("add", path), ("promote", added)):
        assert isoglot("calibrator", *command).exit_code == 0
    response = SearchResponse.model_validate_json(isoglot("search", "moon", "--json").stdout)
    assert response.model.calibrator == added
    assert all(0.25 <= (hit.probability or 0) <= 0.75 for hit in response.hits)


@pytest.mark.usefixtures("indexed")
def test_options_restrict_the_hits(isoglot):
    def hits(*options: str) -> list[str]:
        result = isoglot("search", "the tides of the sea", "--json", *options)
        return [hit["id"] for hit in json.loads(result.stdout)["hits"]]

    assert hits("--limit", "1") == ["tides.en"]
    assert hits("--passages-in", "de") == ["tides.de"]
    assert set(hits("--passages-in", "de", "--passages-in", "en")) == {
        "tides.de",
        "tides.en",
        "wheel.en",
    }
    assert hits("--min-probability", "1") == []


@pytest.mark.usefixtures("indexed")
def test_options_order_and_cut_the_hits(isoglot):
    def hits(*options: str) -> list[str]:
        result = isoglot("search", "the tides of the sea", "--json", *options)
        assert result.exit_code == 0, result.stderr
        return [hit["id"] for hit in json.loads(result.stdout)["hits"]]

    everything = hits()
    assert hits("--offset", "1", "--limit", "2") == everything[1:]
    assert hits("--prefer", "de")[0] == "tides.de"
    assert hits("--prefer", "en=0.5", "--prefer", "*=0")[-1] == "tides.de"
    assert set(hits("--balance")) == set(everything)
    german = '{"must": [{"key": "language", "match": {"value": "de"}}]}'
    assert hits("--filter", german) == ["tides.de"]
    assert hits("--target-precision", "0") == everything
    assert hits("--target-precision", "1") == []


@pytest.mark.usefixtures("indexed")
def test_an_explanation_shows_what_each_feature_adds(isoglot):
    result = isoglot("search", "the tides of the sea", "--explain", "--language", "en")
    assert "#1 tides.en" in result.stdout
    assert "similarity, if the language is the same" in result.stdout
    assert "same*score" not in result.stdout
    assert "constant" in result.stdout
    assert "constant" not in isoglot("search", "the tides of the sea").stdout


def test_hybrid_retrieval_shows_what_words_say(isoglot, lines, monkeypatch):
    monkeypatch.setenv("ISOGLOT_HYBRID", "true")
    assert isoglot("index", lines(TIDES, GEZEITEN, WHEEL)).exit_code == 0
    asked = ("search", "bicycle tides", "--retrieval", "hybrid")
    result = isoglot(*asked, "--explain")
    assert result.exit_code == 0, result.stderr
    heading, best, *_ = result.stdout.splitlines()
    assert heading.split() == ["#", "probability", "language", "score", "words", "text"]
    assert best.split()[1] == "-"
    assert "by score, 1 by words" in result.stdout
    assert "by score, - by words" in result.stdout
    assert "hybrid retrieval has no calibrator" in result.stdout
    body = json.loads(isoglot(*asked, "--json").stdout)
    assert {hit["id"]: hit["lexical_score"] > 0 for hit in body["hits"]} == {
        "tides.en": True,
        "tides.de": False,
        "wheel.en": True,
    }


@pytest.mark.usefixtures("indexed")
def test_without_words_in_the_index_hybrid_retrieval_says_what_to_do(isoglot):
    result = isoglot("search", "tides", "--retrieval", "hybrid")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "ISOGLOT_HYBRID=true" in result.stderr


@pytest.mark.usefixtures("indexed")
def test_behind_the_last_hit_there_is_nothing_and_that_is_said(isoglot):
    result = isoglot("search", "the tides of the sea", "--offset", "50")
    assert result.exit_code == 0
    assert "no hits after the first 50" in result.stdout


@pytest.mark.usefixtures("indexed")
def test_leaving_everything_out_is_no_error_and_says_so(isoglot):
    result = isoglot("search", "the tides of the sea", "--min-probability", "1")
    assert result.exit_code == 0
    assert "3 were left out" in result.stdout


def test_an_empty_collection_says_how_to_fill_it(isoglot):
    result = isoglot("search", "sea")
    assert result.exit_code == 0
    assert "isoglot index FILE" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([""], "query is empty"),
        (["sea", "--limit", "0"], "limit is 0"),
        (["sea", "--passages-in", "not a tag"], "not a language tag"),
        (["sea", "--min-probability", "2"], "min_probability is 2"),
        (["sea", "--offset", "200"], "offset and limit reach 210"),
        (["sea", "--prefer", "de=much"], "LANGUAGE=WEIGHT"),
        (["sea", "--prefer", "de=2"], "must be 0 to 1"),
        (["sea", "--prefer", "de", "--balance"], "choose one"),
        (["sea", "--filter", "{"], "not JSON"),
        (["sea", "--retrieval", "sparse"], "retrieval"),
        (["sea", "--filter", "[]"], "filter"),
        (["sea", "--filter", '{"must": [{"key": "x", "match": {"value": 1}}]}'], "not a declared"),
    ],
)
def test_impossible_requests_exit_with_2_and_say_why(isoglot, arguments, message):
    result = isoglot("search", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr


@pytest.mark.usefixtures("indexed")
def test_a_bundle_of_another_encoder_is_refused(isoglot, tmp_path):
    other = write_tiny_bundle(tmp_path / "other", spec=tiny_spec(query_prefix="why "))
    result = isoglot("search", "sea", "--bundle", other)
    assert result.exit_code == 3
    assert "indexed with encoder" in result.stderr


def test_without_calibrator_no_probability_is_shown(isoglot, lines, tmp_path):
    bare = write_tiny_bundle(tmp_path / "bare", calibrated=False)
    assert isoglot("index", lines(TIDES), "--bundle", bare).exit_code == 0
    result = isoglot("search", "sea", "--bundle", bare)
    assert "%" not in result.stdout.splitlines()[1]
    assert "no calibrator" in result.stdout
