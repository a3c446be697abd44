"""What an answer says of its certainty: outcome, intervals, and where probabilities come from."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from app.core.calibration.calibrator import Calibrator
from app.core.search.service import SearchService
from app.core.search.types import SearchRequest
from tests.calibrators import make_calibrator, measured_content
from tests.searching import random_passages, searching

QUERY = "why is the tide high in the sea"


@asynccontextmanager
async def measured(calibrator: Calibrator) -> AsyncIterator[SearchService]:
    async with searching(random_passages(3, 60), calibrator=calibrator) as opened:
        yield opened.service


def with_answer_threshold(value: float) -> Calibrator:
    threshold = {**measured_content()["thresholds"]["answer"], "value": value}
    return make_calibrator(**measured_content(thresholds={"answer": threshold}))


@pytest.mark.parametrize(("value", "outcome"), [(0.0, "ok"), (1.0, "no_confident_match")])
async def test_the_answer_threshold_decides_whether_there_is_a_confident_match(value, outcome):
    async with measured(with_answer_threshold(value)) as service:
        result = await service.search(SearchRequest(QUERY))
    assert result.outcome == outcome
    assert result.hits
    assert result.answer_threshold is not None
    assert result.answer_threshold.value == value


async def test_every_hit_of_every_page_has_its_interval():
    async with measured(make_calibrator(**measured_content())) as service:
        first = await service.search(SearchRequest(QUERY, limit=5))
        second = await service.search(SearchRequest(QUERY, limit=5, cursor=first.next_cursor))
    for hit in [*first.hits, *second.hits]:
        assert hit.interval is not None
        assert hit.probability is not None
        assert hit.interval[0] <= hit.probability <= hit.interval[1]


@pytest.mark.parametrize(
    ("query", "language", "detail"),
    [
        ("mera phone charge nahi ho raha", "hi", "not in the usual script of its own (hi)"),
        ("das the tide and मेरा फोन", "de", "mixes languages"),
        (QUERY, "und", "language of the query is not known"),
    ],
)
async def test_queries_that_no_language_speaks_for_are_pooled_and_say_so(query, language, detail):
    async with measured(make_calibrator()) as service:
        result = await service.search(SearchRequest(query, query_language=language))
    assert {hit.probability_source for hit in result.hits} == {"pooled"}
    [warning] = [w for w in result.warnings if w.code == "pooled_calibrator"]
    assert detail in warning.detail


async def test_an_undeclared_query_whose_language_is_not_sure_is_pooled_and_says_what_to_do():
    async with measured(make_calibrator()) as service:
        guessed = await service.search(SearchRequest("mera phone is nahi raha"))
        declared = await service.search(
            SearchRequest("mera phone is nahi raha", query_language="en")
        )
    assert {hit.probability_source for hit in guessed.hits} == {"pooled"}
    [warning] = [w for w in guessed.warnings if w.code == "pooled_calibrator"]
    assert "not sure (at best en, 20%)" in warning.detail
    assert "language.query" in warning.detail
    assert "relation:same" in {hit.probability_source for hit in declared.hits}
    assert not [w for w in declared.warnings if w.code == "pooled_calibrator"]
