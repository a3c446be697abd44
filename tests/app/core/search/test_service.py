import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from app.core.calibration.calibrator import Calibrator
from app.core.errors import (
    DeadlineExceededError,
    InvalidInputError,
    InvalidQueryError,
    UnencodableTextError,
)
from app.core.search.balance import BALANCED_LANGUAGES
from app.core.search.service import SearchService
from app.core.search.types import (
    MAX_CANDIDATES,
    MAX_LIMIT,
    MAX_QUERY_CHARACTERS,
    MAX_TIMEOUT_MS,
    SearchRequest,
    SearchResult,
)
from app.core.types import Passage, VectorArray
from tests.calibrators import make_calibrator
from tests.fakes import FakeEncoder
from tests.searching import ranked_calibrator, searching

QUERY = "why is the tide high in the sea"
PASSAGES = [
    Passage("tides.en", "the moon pulls the sea and the tide is high", "en"),
    Passage("tides.de", "der mond zieht die see the tide sea high", "de"),
    Passage("tides.br", "a lua puxa the tide", "pt-BR"),
    Passage("bread.en", "the bread is baked with yeast", "en"),
    Passage("bread.de", "das brot ist mit hefe gebacken", "de"),
    *(Passage(f"filler.{n}", f"word{n} other{n} the", "en") for n in range(70)),
]


@asynccontextmanager
async def search_service(
    passages: Sequence[Passage] = PASSAGES, calibrator: Calibrator | None = None
) -> AsyncIterator[SearchService]:
    async with searching(passages, calibrator=calibrator) as opened:
        yield opened.service


@pytest.fixture
async def calibrated():
    async with search_service(calibrator=make_calibrator()) as service:
        yield service


@pytest.fixture
async def uncalibrated():
    async with search_service() as service:
        yield service


async def test_hits_carry_score_probability_and_language(calibrated):
    result = await calibrated.search(SearchRequest(QUERY, limit=3, query_language="en"))
    assert result.outcome == "ok"
    assert result.hits[0].passage.id == "tides.en"
    assert all(hit.probability is not None for hit in result.hits)
    assert result.expected_relevant == pytest.approx(sum(h.probability for h in result.hits))
    assert result.query_language.code == "en"
    assert result.language.filtered_corpus_size == len(PASSAGES)
    assert set(result.timings) == {"language", "encode", "search", "calibrate", "page"}


async def test_language_diagnostics_are_worked_out_once(calibrated):
    result = await calibrated.search(SearchRequest(QUERY))
    assert result.language is result.language


async def test_hits_are_ordered_by_probability_or_by_score_on_request(calibrated):
    by_probability = await calibrated.search(SearchRequest(QUERY, limit=60, query_language="de"))
    by_score = await calibrated.search(
        SearchRequest(QUERY, limit=60, query_language="de", rank_by="score")
    )
    probabilities = [hit.probability for hit in by_probability.hits]
    scores = [hit.score for hit in by_score.hits]
    assert probabilities == sorted(probabilities, reverse=True)
    assert scores == sorted(scores, reverse=True)


async def test_a_filter_changes_the_eligible_corpus_and_says_so(calibrated):
    result = await calibrated.search(
        SearchRequest(QUERY, passage_languages=frozenset({"DE"}), query_language="en")
    )
    assert {hit.passage.language for hit in result.hits} == {"de"}
    assert result.language.filtered_corpus_size == 2
    assert result.candidates == 2


async def test_a_language_without_subtags_stands_for_its_variants(calibrated):
    result = await calibrated.search(SearchRequest(QUERY, passage_languages=frozenset({"pt"})))
    assert [hit.passage.id for hit in result.hits] == ["tides.br"]


async def test_a_filter_that_nothing_passes_is_an_answer_not_an_error(calibrated):
    result = await calibrated.search(SearchRequest(QUERY, passage_languages=frozenset({"sw"})))
    assert result.outcome == "no_confident_match"
    assert result.hits == []
    assert result.answerable_probability == 0.0
    assert result.expected_relevant == 0.0


async def test_improbable_hits_are_left_out_and_counted(calibrated):
    everything = await calibrated.search(SearchRequest(QUERY, limit=10))
    cut = everything.hits[4].probability
    result = await calibrated.search(SearchRequest(QUERY, limit=10, min_probability=cut))
    assert result.hits == everything.hits[: len(result.hits)]
    assert result.dropped_below_min_probability == len(PASSAGES) - len(result.hits) > 0


async def test_the_query_language_is_identified_unless_it_is_declared(calibrated):
    detected = await calibrated.search(SearchRequest("where is the sea"))
    declared = await calibrated.search(SearchRequest("where is the sea", query_language="de"))
    undetermined = await calibrated.search(SearchRequest("where is the sea", query_language="und"))
    assert (detected.query_language.source, detected.query_language.code) == ("detected", "en")
    assert (declared.query_language.source, declared.query_language.code) == ("declared", "de")
    assert (undetermined.query_language.source, undetermined.query_language.code) == (
        "unknown",
        "und",
    )
    assert {hit.probability_source for hit in undetermined.hits} == {"pooled"}


async def test_variants_of_the_query_language_count_as_one(calibrated):
    result = await calibrated.search(SearchRequest(QUERY, limit=60, query_language="pt-PT"))
    (brazilian,) = [hit for hit in result.hits if hit.passage.language == "pt-BR"]
    assert brazilian.probability_source == "fallback:same"
    assert "language_without_labels" in {warning.code for warning in result.warnings}


async def test_without_calibrator_there_is_no_probability_and_a_warning(uncalibrated):
    result = await uncalibrated.search(SearchRequest(QUERY, limit=3))
    assert {hit.probability for hit in result.hits} == {None}
    assert {hit.probability_source for hit in result.hits} == {"uncalibrated"}
    assert result.answerable_probability is None
    assert result.expected_relevant is None
    assert [warning.code for warning in result.warnings] == ["no_calibrator"]


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"min_probability": 0.5}, "/min_probability"),
        ({"target_precision": 0.5}, "/target_precision"),
        ({"language_mode": "balance"}, "/language/mode"),
        ({"language_mode": "prefer", "prefer": {"de": 1.0}}, "/language/mode"),
    ],
)
async def test_without_calibrator_what_needs_a_probability_is_refused(
    uncalibrated, change, pointer
):
    with pytest.raises(InvalidInputError, match="needs a calibrator") as caught:
        await uncalibrated.search(SearchRequest(QUERY, **change))
    assert caught.value.pointer == pointer


async def test_without_calibrator_nothing_is_explained(uncalibrated):
    result = await uncalibrated.search(SearchRequest(QUERY, limit=3, explain="full"))
    assert {hit.explanation for hit in result.hits} == {None}
    assert [hit.score_rank for hit in result.hits] == [1, 2, 3]


async def test_an_extrapolated_probability_is_announced():
    calibrator = make_calibrator(trained_range={"score": [-1, 1], "corpus": [1, 10]})
    async with search_service(calibrator=calibrator) as service:
        result = await service.search(SearchRequest(QUERY, limit=1))
    assert result.hits[0].extrapolated
    assert "extrapolated" in {warning.code for warning in result.warnings}


@pytest.mark.parametrize("query", ["", " \n\t"])
async def test_an_empty_query_is_refused(calibrated, query):
    with pytest.raises(InvalidQueryError, match="empty"):
        await calibrated.search(SearchRequest(query))


async def test_a_query_as_long_as_a_document_is_refused(calibrated):
    with pytest.raises(InvalidQueryError, match="102400 characters"):
        await calibrated.search(SearchRequest("x" * 102_400))
    longest = ("tide " * MAX_QUERY_CHARACTERS)[:MAX_QUERY_CHARACTERS]
    assert (await calibrated.search(SearchRequest(longest))).hits


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"limit": 0}, "/limit"),
        ({"limit": MAX_LIMIT + 1}, "/limit"),
        ({"offset": -1}, "/offset"),
        ({"offset": 96}, "/offset"),
        ({"candidates": MAX_LIMIT - 1}, "/candidates"),
        ({"candidates": MAX_CANDIDATES + 1}, "/candidates"),
        ({"timeout_ms": 0}, "/timeout_ms"),
        ({"timeout_ms": MAX_TIMEOUT_MS + 1}, "/timeout_ms"),
        ({"target_precision": 1.1}, "/target_precision"),
        ({"target_precision": 0.5, "min_probability": 0.5}, "/target_precision"),
        ({"prefer": {"de": 1.0}}, "/language/prefer"),
        ({"language_mode": "prefer"}, "/language/prefer"),
        ({"language_mode": "prefer", "prefer": {}}, "/language/prefer"),
        ({"language_mode": "prefer", "prefer": {"de": 1.0}, "rank_by": "score"}, "/rank_by"),
        ({"min_probability": -0.1}, "/min_probability"),
        ({"min_probability": 1.5}, "/min_probability"),
        ({"min_probability": float("nan")}, "/min_probability"),
        ({"query_language": "english!"}, "/language/query"),
        ({"passage_languages": frozenset({"?"})}, "/language/passages"),
    ],
)
async def test_what_is_out_of_range_is_refused_naming_the_member(calibrated, change, pointer):
    with pytest.raises(InvalidInputError) as caught:
        await calibrated.search(SearchRequest(QUERY, **change))
    assert caught.value.pointer == pointer


async def test_a_page_says_whether_all_eligible_passages_were_ranked(calibrated):
    everything = await calibrated.search(SearchRequest(QUERY))
    assert (everything.candidates, everything.relation) == (len(PASSAGES), "eq")
    more = [Passage(f"more.{n}", f"more{n} the", "fr") for n in range(60)]
    async with search_service([*PASSAGES, *more], make_calibrator()) as service:
        some = await service.search(SearchRequest(QUERY))
    assert (some.candidates, some.relation) == (100, "gte")


async def test_a_page_behind_the_last_hit_is_empty_and_not_without_match(calibrated):
    result = await calibrated.search(SearchRequest(QUERY, offset=90))
    assert result.hits == []
    assert result.outcome == "ok"
    assert result.expected_relevant == 0.0


async def test_balance_finds_what_a_larger_language_crowds_out():
    crowd = [Passage(f"crowd.{n:03}", "the tide of the sea", "en") for n in range(120)]
    passages = [*crowd, Passage("far.de", "the tide of the sea mond", "de")]
    async with search_service(passages, ranked_calibrator()) as service:
        crowded = await service.search(SearchRequest(QUERY, limit=100, query_language="de"))
        balanced = await service.search(
            SearchRequest(QUERY, limit=100, query_language="de", language_mode="balance")
        )
        alone = await service.search(
            SearchRequest(QUERY, limit=100, query_language="de", candidates=1000)
        )
    assert crowded.candidates == 100
    assert balanced.candidates == 101
    [found] = [hit for hit in balanced.hits if hit.passage.id == "far.de"]
    [stated] = [hit for hit in alone.hits if hit.passage.id == "far.de"]
    assert found.probability == stated.probability
    assert found.rank == stated.rank < 50
    assert "far.de" not in {hit.passage.id for hit in crowded.hits}


async def test_balance_says_where_there_are_more_languages_than_it_looks_into():
    tags = [f"{a}{b}" for a in "abcdefgh" for b in "abcdefgh"][: BALANCED_LANGUAGES + 1]
    passages = [Passage(tag, f"the sea {tag}", tag) for tag in tags]
    async with search_service(passages, make_calibrator()) as service:
        result = await service.search(SearchRequest(QUERY, language_mode="balance"))
        plain = await service.search(SearchRequest(QUERY))
    assert "balance_incomplete" in {warning.code for warning in result.warnings}
    assert "balance_incomplete" not in {warning.code for warning in plain.warnings}


async def test_the_score_offset_of_each_pair_is_reported(calibrated):
    result = await calibrated.search(SearchRequest(QUERY, limit=60, query_language="de"))
    assert set(result.language.score_offset) == {"de>en", "de>pt"}
    unknown = await calibrated.search(SearchRequest(QUERY, query_language="und"))
    assert unknown.language.score_offset == {}


class CountingEncoder(FakeEncoder):
    """Remembers how many texts each pass had."""

    def __init__(self) -> None:
        super().__init__()
        self.passes: list[int] = []

    def encode_queries(self, texts: Sequence[str]) -> VectorArray:
        self.passes.append(len(texts))
        return super().encode_queries(texts)


async def test_a_batch_is_answered_like_its_searches_alone_in_one_pass():
    requests = [
        SearchRequest(QUERY, limit=3),
        SearchRequest("das brot mit hefe", language_mode="balance", explain="basic"),
        SearchRequest("wheel", passage_languages=frozenset({"de"})),
    ]
    encoder = CountingEncoder()
    async with searching(PASSAGES, calibrator=make_calibrator(), encoder=encoder) as opened:
        together = await opened.service.search_many(requests)
    assert encoder.passes == [3]
    async with searching(PASSAGES, calibrator=make_calibrator()) as opened:
        alone = [await opened.service.search(request) for request in requests]
    for one, of_many in zip(alone, together, strict=True):
        assert isinstance(of_many, SearchResult)
        assert of_many.hits == one.hits
        assert of_many.answerable_probability == one.answerable_probability


@pytest.mark.parametrize("on_loop", [False, True])
async def test_a_search_of_a_batch_that_fails_leaves_the_others_alone(on_loop):
    async with searching(PASSAGES, calibrator=make_calibrator(), on_loop=on_loop) as opened:
        first = await opened.service.search(SearchRequest(QUERY, limit=3))
        answers = await opened.service.search_many(
            [
                SearchRequest(QUERY, limit=0),
                SearchRequest("?!"),
                SearchRequest(QUERY, limit=3),
                SearchRequest(QUERY, cursor="none"),
                SearchRequest(QUERY, limit=3, cursor=first.next_cursor),
            ]
        )
    refused, unreadable, good, no_cursor, next_page = answers
    assert isinstance(refused, InvalidInputError)
    assert isinstance(unreadable, UnencodableTextError)
    assert isinstance(no_cursor, InvalidInputError)
    assert isinstance(good, SearchResult)
    assert isinstance(next_page, SearchResult)
    assert good.hits == first.hits
    assert [hit.rank for hit in next_page.hits] == [4, 5, 6]


async def test_a_batch_of_nothing_that_can_be_answered_encodes_nothing():
    encoder = CountingEncoder()
    async with searching(calibrator=make_calibrator(), encoder=encoder) as opened:
        [answer] = await opened.service.search_many([SearchRequest("")])
    assert isinstance(answer, InvalidQueryError)
    assert encoder.passes == []


class SlowEncoder(FakeEncoder):
    """Takes its time over queries."""

    def __init__(self) -> None:
        super().__init__()
        self.may_answer = threading.Event()
        self.has_answered = False

    def encode_queries(self, texts: Sequence[str]) -> VectorArray:
        self.may_answer.wait(60)
        self.has_answered = True
        return super().encode_queries(texts)


@pytest.fixture
def slow_encoder():
    return SlowEncoder()


@pytest.fixture
async def slow(slow_encoder):
    async with searching(PASSAGES, calibrator=make_calibrator(), encoder=slow_encoder) as opened:
        yield opened.service
        slow_encoder.may_answer.set()


async def test_a_search_that_is_not_done_in_time_is_an_error(slow, slow_encoder):
    with pytest.raises(DeadlineExceededError, match="20 ms") as caught:
        await slow.search(SearchRequest(QUERY, timeout_ms=20))
    assert not slow_encoder.has_answered, "the search waited for its encoder"
    assert caught.value.stage == "encode"


async def test_a_search_that_is_not_done_in_time_is_declared_where_that_is_wanted(slow):
    result = await slow.search(SearchRequest(QUERY, timeout_ms=20, on_timeout="degraded"))
    assert result.outcome == "degraded"
    assert result.hits == ()
    assert result.answerable_probability is None
    [warning] = result.warnings
    assert warning.code == "timeout"
    assert "'encode'" in warning.detail


async def test_a_search_of_a_batch_may_be_late_while_the_others_wait(slow, slow_encoder):
    asyncio.get_running_loop().call_later(0.2, slow_encoder.may_answer.set)
    late, degraded, patient = await slow.search_many(
        [
            SearchRequest(QUERY, timeout_ms=20),
            SearchRequest(QUERY, timeout_ms=20, on_timeout="degraded", limit=3),
            SearchRequest(QUERY, limit=3),
        ]
    )
    assert isinstance(late, DeadlineExceededError)
    assert isinstance(degraded, SearchResult)
    assert isinstance(patient, SearchResult)
    assert degraded.hits == patient.hits
    assert (degraded.outcome, patient.outcome) == ("degraded", "ok")
    assert "complete" in degraded.warnings[-1].detail


class TimedOutEncoder(FakeEncoder):
    """Fails as a network does."""

    def encode_queries(self, texts: Sequence[str]) -> VectorArray:
        raise TimeoutError("the encoder's own")


async def test_a_time_out_inside_is_not_taken_for_the_deadline():
    async with searching(encoder=TimedOutEncoder()) as opened:
        with pytest.raises(TimeoutError, match="the encoder's own"):
            await opened.service.search(SearchRequest(QUERY, timeout_ms=5000))
