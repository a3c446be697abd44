import random
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.languages.parallel import (
    TOP_RANKS,
    RankedTranslations,
    parallel_bias,
    ranked_translations,
)
from app.core.types import Passage

LANGUAGES = ("de", "en", "fr", "th")


def answer(
    groups: Mapping[str, Mapping[str, int]],
    *,
    query: int = 1,
    query_language: str | None = "de",
    candidates: int = 50,
    eligible: Sequence[str] = LANGUAGES,
) -> RankedTranslations:
    return RankedTranslations(
        query=query,
        query_language=query_language,
        eligible=frozenset(eligible),
        candidates=candidates,
        groups=groups,
    )


def chance_answers(count: int, *, seed: int, favour: float = 0.0) -> list[RankedTranslations]:
    """Answers with four translations each, in random order; ``favour`` lifts the query's own."""
    rng = random.Random(seed)
    answers = []
    for query in range(count):
        own = rng.choice(LANGUAGES)
        order = sorted(LANGUAGES, key=lambda code: rng.random() - (code == own) * favour)
        ranks = {code: rank for rank, code in enumerate(order, start=1)}
        answers.append(answer({f"g{query}": ranks}, query=query, query_language=own))
    return answers


def test_translations_are_found_by_their_parallel_id_and_the_best_of_a_language_counts():
    passages = [
        Passage("1", "", "de", "a"),
        Passage("2", "", "de-AT", "a"),
        Passage("3", "", "en"),
        Passage("4", "", "en", "a"),
        Passage("5", "", "und", "a"),
        *(Passage(f"filler{n}", "", "en") for n in range(TOP_RANKS)),
        Passage("6", "", "de", "deep"),
    ]
    found = ranked_translations(
        passages, query="x", query_language="de", eligible=["de", "de-AT", "en"]
    )
    assert found.groups == {"a": {"de": 1, "en": 4}}
    assert found.candidates == len(passages)
    assert found.eligible == {"de", "en"}


def test_a_translation_that_was_no_candidate_comes_last_where_it_was_eligible():
    complete = answer({"a": {"de": 1, "en": 4, "fr": 20}}, query=1)
    without = answer({"a": {"de": 1, "en": 4}}, query=2)
    restricted = answer({"a": {"de": 1, "en": 4}}, query=3, eligible=("de", "en"))
    found = parallel_bias([complete, without, restricted])
    assert found.comparisons == 3
    assert found.rank_distance == pytest.approx((19 + 50 + 3) / 3)
    assert found.relative_rank_distance == pytest.approx((19 + 50 + 3) / 3 / 50)
    assert found.languages["en"].queries == 2


def test_a_text_without_translations_says_nothing():
    found = parallel_bias([answer({"a": {"de": 1}})])
    assert found.comparisons == 0
    assert found.rank_distance is None
    assert found.language_preference_rate is None
    assert found.peer is None
    assert found.same_language is None
    assert found.languages == {}
    assert not found.flagged


def test_the_preference_rate_counts_whose_translation_comes_first():
    found = parallel_bias(
        [
            answer({"a": {"de": 1, "en": 2}, "b": {"de": 9, "en": 3, "fr": 4}}),
            answer({"a": {"de": 2, "en": 1}}, query_language="en"),
            answer({"a": {"de": 2, "en": 1}}, query_language="th"),
            answer({"a": {"de": 2, "en": 1}}, query_language=None),
        ]
    )
    assert found.language_preference_rate == pytest.approx(2 / 3)
    assert found.expected_language_preference_rate == pytest.approx((1 / 2 + 1 / 3 + 1 / 2) / 3)
    assert found.same_language is not None
    assert found.same_language.advantage == pytest.approx((1 - 1 + 1) / 3)


def test_translations_that_tie_for_the_first_place_share_it():
    everywhere = answer({"a": {"de": 1, "en": 2, "fr": 3}}, query_language="th")
    nowhere = answer({"a": {"fr": 1}}, query_language="en")
    found = parallel_bias([everywhere, nowhere])
    # In the second answer German and English are both no candidates.
    assert found.language_preference_rate == 0.0
    assert found.same_language is not None
    assert found.same_language.advantage == -0.5


def test_peer_is_small_where_ranks_follow_the_language():
    split = {f"g{n}": {"de": n + 1, "en": n + 21} for n in range(6)}
    mixed = {f"g{n}": {"de": 2 * n + 1 + n % 2, "en": 2 * n + 2 - n % 2} for n in range(6)}
    assert parallel_bias([answer(split)]).peer == pytest.approx(0.0039, abs=1e-4)
    assert parallel_bias([answer(mixed)]).peer == pytest.approx(1.0, abs=0.1)


def test_a_preference_for_the_own_language_is_flagged_once_there_is_enough_of_it():
    few = parallel_bias(chance_answers(15, seed=1, favour=9.0))
    many = parallel_bias(chance_answers(60, seed=1, favour=9.0))
    assert few.same_language is not None
    assert few.same_language.advantage == 1.0
    assert not few.flagged
    assert many.same_language is not None
    assert many.same_language.flagged
    assert many.flagged
    assert not any(preference.flagged for preference in many.languages.values())


def test_chance_raises_no_flag():
    reports = [parallel_bias(chance_answers(80, seed=seed)) for seed in range(40)]
    assert not any(report.flagged for report in reports)
    preferences = [report.same_language.advantage for report in reports if report.same_language]
    assert abs(sum(preferences) / len(preferences)) < 0.05


def test_the_same_query_again_and_the_same_text_again_are_no_new_evidence():
    ranks = {"de": 1, "en": 2, "fr": 3, "th": 4}
    one_query = parallel_bias([answer({f"g{n}": ranks}, query=1) for n in range(500)])
    one_text = parallel_bias([answer({"g": ranks}, query=n) for n in range(500)])
    for found in (one_query, one_text):
        assert found.same_language is not None
        assert found.same_language.z == 1.0
        assert not found.flagged


def test_a_language_that_is_always_last_is_flagged_by_its_name():
    rng = random.Random(2)
    answers = []
    for query in range(80):
        order = [*rng.sample(["de", "en", "fr"], 3), "th"]
        ranks = {code: rank for rank, code in enumerate(order, start=1)}
        answers.append(answer({f"g{query}": ranks}, query=query, query_language="es"))
    found = parallel_bias(answers)
    assert found.languages["th"].advantage == -1.0
    assert found.languages["th"].flagged
    # What is lifted above it stands better too, but nobody so clearly.
    assert min(found.languages, key=lambda code: -abs(found.languages[code].z)) == "th"


@settings(max_examples=40)
@given(
    st.lists(
        st.dictionaries(
            st.sampled_from("abc"),
            st.dictionaries(st.sampled_from(LANGUAGES), st.integers(1, 10), min_size=1),
            max_size=3,
        ),
        max_size=6,
    )
)
def test_any_answers_give_numbers_within_their_range(groups):
    found = parallel_bias([answer(group, query=n) for n, group in enumerate(groups)])
    for preference in [*found.languages.values(), *filter(None, [found.same_language])]:
        assert -1.0 <= preference.advantage <= 1.0
        assert abs(preference.z) <= min(preference.queries, preference.groups) ** 0.5 + 1e-9
    if found.peer is not None:
        assert 0.0 <= found.peer <= 1.0
