from __future__ import annotations

import json

import pytest

from app.api.schemas import SearchResponse
from tests.app.cli.conftest import GEZEITEN, TIDES, WHEEL
from tests.bundles import tiny_spec, write_tiny_bundle


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
