import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from itertools import cycle

import numpy as np
import pytest

from app.core.languages.bias import diagnose
from app.core.languages.window import LanguageReport, LanguageWindow, ObservedAnswer
from app.core.search.service import SearchMemory
from app.core.search.types import SearchRequest
from app.core.types import (
    ANY_PASSAGE,
    Filter,
    FloatArray,
    MatchAny,
    Passage,
    PassageFilter,
    VectorArray,
)
from tests.fakes import FAKE_ENCODER_SPEC
from tests.searching import ranked_calibrator, searching

LANGUAGES = ("de", "en", "fr", "es")
TOPICS = 30


def observed(languages: list[str], *, query_language: str | None = "de") -> ObservedAnswer:
    count = len(languages)
    bias = diagnose(
        shown_languages=languages,
        shown_scores=[0.9 - 0.1 * n for n in range(count)],
        shown_probabilities=[0.9 - 0.1 * n for n in range(count)],
        census={"de": 20, "de-AT": 5, "en": 75},
        query_language=query_language,
    )
    return ObservedAnswer(
        query_language=query_language,
        bias=lambda: bias,
        by_score=None,
        by_probability=None,
    )


def test_an_empty_window_has_nothing_to_report():
    report = LanguageWindow(5).report()
    assert (report.answers, report.capacity) == (0, 5)
    assert report.exposure == report.corpus_share == report.score_offset == {}
    assert report.same_language is None
    assert report.rank_agreement_with_score_order is None
    assert report.by_score.comparisons == 0


def test_shares_are_means_over_the_answers_that_show_anything():
    window = LanguageWindow()
    window.add(observed(["de", "en"]))
    window.add(observed(["de", "de"], query_language=None))
    window.add(observed([]))
    report = window.report()
    assert report.answers == 3
    assert report.query_languages == {"de": 2, "und": 1}
    assert report.exposure == {"de": 0.75, "en": 0.25}
    assert report.corpus_share == {"en": 0.75, "de": 0.2, "de-AT": 0.05}
    assert report.exposure_lift["de"] == pytest.approx(3.75)
    assert report.exposure_lift["de-AT"] == 0.0
    assert report.rank_agreement_with_score_order == 1.0


def test_hits_in_the_query_language_stand_beside_its_share_of_the_corpus():
    window = LanguageWindow()
    window.add(observed(["de", "en"]))
    single = window.report().same_language
    assert single is not None
    assert (single.answers, single.hits, single.standard_error) == (1, 0.5, None)
    assert single.corpus == pytest.approx(0.25)
    window.add(observed(["de-CH", "de"]))
    both = window.report().same_language
    assert both is not None
    assert both.hits == 0.75
    assert both.standard_error == pytest.approx(0.25)


def test_the_oldest_answers_make_room():
    window = LanguageWindow(2)
    for languages in (["en"], ["de"], ["fr"]):
        window.add(observed(languages))
    report = window.report()
    assert report.answers == 2
    assert report.exposure == {"de": 0.5, "fr": 0.5}


class TopicEncoder:
    """Texts are ``LANGUAGE TOPIC NOISE``: a vector for the topic, one for the language, noise."""

    def __init__(self, bias: float) -> None:
        self._bias = bias

    spec = FAKE_ENCODER_SPEC

    def encode_queries(self, texts: Sequence[str]) -> VectorArray:
        return self._encode(texts)

    encode_passages = encode_queries

    def close(self) -> None:
        """Hold nothing that could be let go."""

    def _encode(self, texts: Sequence[str]) -> VectorArray:
        rows = []
        for text in texts:
            language, topic, noise = text.split()
            total = (
                _direction(f"topic {topic}")
                + self._bias * _direction(f"language {language}")
                + 0.35 * _direction(f"noise {noise}")
            )
            rows.append(total / np.linalg.norm(total))
        return np.array(rows, dtype=np.float32)


@cache
def _direction(name: str) -> FloatArray:
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8])
    vector = np.random.default_rng(seed).standard_normal(FAKE_ENCODER_SPEC.dim)
    return vector / np.linalg.norm(vector)


async def report_on(bias: float, *, where: PassageFilter = ANY_PASSAGE) -> LanguageReport:
    """Search for every topic once, in one language after the other."""
    passages = [
        Passage(f"{t}.{code}", f"{code} {t} passage{t}{code}", code, parallel_id=f"topic{t}")
        for t in range(TOPICS)
        for code in LANGUAGES
    ]
    memory = SearchMemory(window=LanguageWindow(TOPICS))
    async with searching(
        passages, calibrator=ranked_calibrator(), encoder=TopicEncoder(bias), memory=memory
    ) as opened:
        requests = [
            SearchRequest(f"{code} {topic} query{topic}", query_language=code, where=where)
            for topic, code in zip(range(TOPICS), cycle(LANGUAGES), strict=False)
        ]
        for request in requests:
            assert (await opened.service.search(request)).hits
        # A later page is no new answer.
        await opened.service.search(replace(requests[0], offset=10))
    return memory.window.report()


@pytest.fixture(scope="module")
def biased():
    return asyncio.run(report_on(bias=0.6))


@pytest.fixture(scope="module")
def unbiased():
    return asyncio.run(report_on(bias=0.0))


def test_an_encoder_that_prefers_the_language_of_the_query_is_flagged(biased):
    report = biased
    assert report.answers == TOPICS
    assert report.by_score.flagged
    assert report.by_score.same_language is not None
    assert report.by_score.same_language.flagged
    assert report.by_score.same_language.advantage > 0.8
    rate = report.by_score.language_preference_rate
    expected = report.by_score.expected_language_preference_rate
    assert rate is not None
    assert expected == pytest.approx(0.25)
    assert rate > 3 * expected
    assert report.same_language is not None
    assert report.same_language.hits > 2 * report.same_language.corpus


def test_an_encoder_that_knows_topics_alone_is_not_flagged(unbiased, biased):
    report = unbiased
    assert not report.by_score.flagged
    assert report.by_score.comparisons >= TOPICS
    assert report.by_score.same_language is not None
    assert abs(report.by_score.same_language.advantage) < 0.2
    assert not report.by_score.languages["en"].flagged
    assert unbiased.by_score.rank_distance < biased.by_score.rank_distance


def test_what_is_probable_is_judged_beside_what_scores_high(biased):
    report = biased
    assert report.by_probability.comparisons >= TOPICS
    assert report.by_probability.same_language != report.by_score.same_language
    assert set(report.score_offset) >= {"de>en", "en>fr"}


async def test_searches_with_a_filter_tell_nothing_about_translations():
    topic = MatchAny("parallel_id", frozenset({f"topic{n}" for n in range(TOPICS)}))
    report = await report_on(bias=0.6, where=PassageFilter(condition=Filter(must=(topic,))))
    assert report.answers == TOPICS
    assert report.by_score.comparisons == 0
