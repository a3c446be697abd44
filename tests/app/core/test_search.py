from contextlib import asynccontextmanager

import pytest

from app.core.encoding import EncoderThread
from app.core.errors import InvalidInputError, InvalidQueryError
from app.core.ingest import IngestService
from app.core.search import MAX_LIMIT, MAX_QUERY_CHARACTERS, SearchRequest, SearchService
from app.core.types import CollectionSpec, Passage
from tests.calibrators import make_calibrator
from tests.fakes import (
    FAKE_DIM,
    FAKE_ENCODER_SPEC,
    FakeEncoder,
    FakeLanguageIdentifier,
    InMemoryStore,
)

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
async def search_service(passages=PASSAGES, calibrator=None):
    store = InMemoryStore()
    await store.open(CollectionSpec("test", FAKE_ENCODER_SPEC.fingerprint(), FAKE_DIM))
    encoder = EncoderThread(FakeEncoder())
    languages = FakeLanguageIdentifier()
    ingest = IngestService(encoder=encoder, store=store, languages=languages)
    await ingest.add(passages)
    yield SearchService(encoder=encoder, store=store, calibrator=calibrator, languages=languages)
    encoder.close()


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
    assert set(result.timings) == {"language", "encode", "search", "calibrate"}


@pytest.mark.parametrize(
    "change",
    [
        {"limit": 1},
        {"limit": 100},
        {"rank_by": "score"},
        {"min_probability": 0.001},
        {"candidate_languages": frozenset({"en", "de"})},
    ],
)
async def test_no_option_changes_the_probability_of_a_hit(calibrated, change):
    plain = await calibrated.search(SearchRequest(QUERY, limit=60, query_language="en"))
    changed = await calibrated.search(
        SearchRequest(**{"query": QUERY, "limit": 60, "query_language": "en", **change})
    )
    stated = {hit.passage.id: hit.probability for hit in plain.hits}
    shared = [hit for hit in changed.hits if hit.passage.id in stated]
    assert shared
    assert {h.passage.id: h.probability for h in shared} == {
        h.passage.id: stated[h.passage.id] for h in shared
    }


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
    assert result.dropped_below_min_probability == 10 - len(result.hits) > 0


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


async def test_without_calibrator_a_minimum_probability_is_refused(uncalibrated):
    with pytest.raises(InvalidInputError, match="needs a calibrator"):
        await uncalibrated.search(SearchRequest(QUERY, min_probability=0.5))


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
