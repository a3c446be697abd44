"""No option of a request changes a probability, and pages fit together: for any of them."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.search.types import Hit, SearchRequest
from app.core.types import Filter, MatchAny, PassageFilter
from tests.calibrators import PIECES, hybrid_calibrator, make_calibrator
from tests.searching import LANGUAGES, RANKED, random_passages, ranked_calibrator, searching

QUERY = "why is the tide of the sea so high"
CORPUS = 140
seeds = st.integers(0, 2**32 - 1)

presentations = st.fixed_dictionaries(
    {},
    optional={
        "limit": st.integers(1, 100),
        "candidates": st.integers(100, 1000),
        "rank_by": st.sampled_from(["probability", "score"]),
        "min_probability": st.floats(0, 0.4),
        "language_mode": st.sampled_from(["any", "balance"]),
        "explain": st.sampled_from(["none", "basic", "full"]),
        "timeout_ms": st.just(60_000),
    },
)
preferences = st.fixed_dictionaries(
    {
        "language_mode": st.just("prefer"),
        "prefer": st.dictionaries(st.sampled_from(LANGUAGES), st.floats(0, 1), min_size=1),
    },
    optional={"limit": st.integers(1, 100), "target_precision": st.floats(0, 0.5)},
)


@settings(max_examples=40, deadline=None)
@given(
    seeds,
    presentations | preferences,
    st.sampled_from([None, PIECES]),
    st.sampled_from(["dense", "hybrid"]),
)
def test_no_option_changes_the_probability_of_a_hit_in_one_kind_of_retrieval(
    seed, options, pieces, retrieval
):
    async def compare() -> None:
        passages = random_passages(seed, CORPUS)
        dense = make_calibrator(hit=RANKED, score_pieces=pieces)
        hybrid = hybrid_calibrator(score_pieces=pieces)
        asked = {"query_language": "en", "retrieval": retrieval}
        every = {"limit": 100, "candidates": 1000, **asked}
        async with searching(passages, calibrator=dense, hybrid=hybrid, words=True) as opened:
            everything = await opened.service.search(SearchRequest(QUERY, **every))
            rest = await opened.service.search(SearchRequest(QUERY, offset=100, **every))
            stated = {hit.passage.id: hit.probability for hit in [*everything.hits, *rest.hits]}
            assert len(stated) == CORPUS
            changed = await opened.service.search(SearchRequest(QUERY, **asked, **options))
            assert {hit.passage.id: hit.probability for hit in changed.hits} == {
                hit.passage.id: stated[hit.passage.id] for hit in changed.hits
            }
            assert changed.answerable_probability == everything.answerable_probability

    asyncio.run(compare())


@settings(max_examples=12, deadline=None)
@given(
    seeds,
    st.lists(st.integers(1, 40), min_size=1, max_size=5),
    st.sampled_from([{}, {"rank_by": "score"}, {"language_mode": "balance"}]),
)
def test_pages_by_offset_are_the_whole_list_cut_up(seed, sizes, options):
    async def compare() -> None:
        async with searching(
            random_passages(seed, CORPUS), calibrator=ranked_calibrator()
        ) as opened:
            whole = await opened.service.search(SearchRequest(QUERY, limit=100, **options))
            shown: list[Hit] = []
            offset = 0
            for limit in sizes:
                if offset + limit > 100:
                    break
                page = await opened.service.search(
                    SearchRequest(QUERY, limit=limit, offset=offset, **options)
                )
                shown += page.hits
                offset += limit
            assert shown == whole.hits[: len(shown)]
            assert [hit.rank for hit in shown] == list(range(1, len(shown) + 1))

    asyncio.run(compare())


@settings(max_examples=12, deadline=None)
@given(
    seeds,
    st.lists(st.integers(1, 40), min_size=6, max_size=6),
    st.booleans(),
    st.sampled_from(
        [{}, {"min_probability": 0.05}, {"target_precision": 0.2}, {"language_mode": "balance"}]
    ),
)
def test_pages_of_a_cursor_never_repeat_or_skip_whatever_is_stored_meanwhile(
    seed, sizes, stores, options
):
    async def compare() -> None:
        async with searching(
            random_passages(seed, CORPUS), calibrator=ranked_calibrator()
        ) as opened:
            whole = await opened.service.search(
                SearchRequest(QUERY, limit=100, candidates=120, **options)
            )
            shown: list[Hit] = []
            cursor = None
            for turn, limit in enumerate(sizes):
                page = await opened.service.search(
                    SearchRequest(QUERY, limit=limit, cursor=cursor, candidates=120, **options)
                )
                shown += page.hits
                cursor = page.next_cursor
                if stores:
                    await opened.add(random_passages(turn, 20, prefix=f"new{turn}-"))
                if cursor is None:
                    break
            first = whole.hits[: len(shown)]
            assert shown[:100] == first
            ids = [hit.passage.id for hit in shown]
            assert len(set(ids)) == len(ids)

    asyncio.run(compare())


@pytest.mark.parametrize("options", [{}, {"language_mode": "balance"}, {"rank_by": "score"}])
async def test_a_cursor_reaches_every_candidate_once(options):
    async with searching(random_passages(7, CORPUS), calibrator=ranked_calibrator()) as opened:
        seen, cursor = [], None
        while True:
            page = await opened.service.search(
                SearchRequest(QUERY, limit=9, cursor=cursor, candidates=1000, **options)
            )
            seen += [hit.passage.id for hit in page.hits]
            cursor = page.next_cursor
            if cursor is None:
                break
        assert sorted(seen) == sorted(p.id for p in random_passages(7, CORPUS))
        assert page.relation == "eq"


@settings(max_examples=15, deadline=None)
@given(seeds)
def test_a_filter_leaves_only_what_it_holds_for_and_counts_it(seed):
    async def compare() -> None:
        passages = random_passages(seed, CORPUS)
        kind = MatchAny("kind", frozenset({"a"}))
        where = PassageFilter(condition=Filter(must=(kind,)))
        async with searching(
            passages, calibrator=ranked_calibrator(), fields={"kind": "keyword"}
        ) as opened:
            result = await opened.service.search(
                SearchRequest(
                    QUERY, limit=100, where=where, passage_languages=frozenset({"pt", "de"})
                )
            )
        wanted = {
            p.id
            for p in passages
            if p.metadata["kind"] == "a" and p.language in {"pt", "pt-BR", "de"}
        }
        assert {hit.passage.id for hit in result.hits} == wanted
        assert result.facts.corpus_size == len(wanted)

    asyncio.run(compare())


@settings(max_examples=20, deadline=None)
@given(seeds, st.floats(0, 1))
def test_a_target_precision_is_kept_by_the_deepest_cut_that_keeps_it(seed, target):
    async def compare() -> None:
        async with searching(
            random_passages(seed, CORPUS), calibrator=ranked_calibrator()
        ) as opened:
            whole = await opened.service.search(SearchRequest(QUERY, limit=100))
            cut = await opened.service.search(
                SearchRequest(QUERY, limit=100, target_precision=target)
            )
        kept = len(cut.hits)
        stated = [hit.probability or 0.0 for hit in whole.hits]
        assert cut.hits == whole.hits[:kept]
        assert kept == 0 or sum(stated[:kept]) / kept >= target - 1e-9
        assert all(sum(stated[:n]) / n < target for n in range(kept + 1, len(stated) + 1))
        assert cut.dropped_by_target_precision == len(whole.hits) - kept

    asyncio.run(compare())
