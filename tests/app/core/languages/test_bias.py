import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.languages.bias import diagnose, kendall_tau


def test_exposure_is_compared_with_the_share_of_the_corpus():
    result = diagnose(
        shown_languages=["en", "en", "en", "de"],
        shown_scores=[0.9, 0.8, 0.7, 0.6],
        shown_probabilities=[0.9, 0.8, 0.7, 0.6],
        census={"en": 50, "de": 25, "fr": 25},
        query_language="de-AT",
    )
    assert result.exposure == {"en": 0.75, "de": 0.25}
    assert result.corpus_share == {"en": 0.5, "de": 0.25, "fr": 0.25}
    assert result.exposure_lift == {"en": 1.5, "de": 1.0, "fr": 0.0}
    assert result.same_language_share == 0.25
    assert result.rank_agreement_with_score_order == 1.0
    assert result.filtered_corpus_size == 100


def test_nothing_shown_and_nothing_known_leave_the_shares_open():
    result = diagnose(
        shown_languages=[],
        shown_scores=[],
        shown_probabilities=[],
        census={},
        query_language=None,
    )
    assert result.exposure == {}
    assert result.same_language_share is None
    assert result.rank_agreement_with_score_order is None
    assert result.filtered_corpus_size == 0


def test_without_probabilities_there_is_no_order_to_compare():
    result = diagnose(
        shown_languages=["en", "de"],
        shown_scores=[0.9, 0.8],
        shown_probabilities=None,
        census={"en": 1, "de": 1},
        query_language="en",
    )
    assert result.rank_agreement_with_score_order is None


def test_tau_counts_concordant_minus_discordant_pairs():
    assert kendall_tau([3, 2, 1], [30, 20, 10]) == 1.0
    assert kendall_tau([3, 2, 1], [10, 20, 30]) == -1.0
    assert kendall_tau([3, 2, 1], [3, 1, 2]) == pytest.approx(1 / 3)
    assert kendall_tau([1, 1], [1, 2]) == 0.0
    assert kendall_tau([1], [1]) is None


@given(st.lists(st.tuples(st.floats(-1, 1), st.floats(0, 1)), min_size=2, max_size=12))
def test_tau_lies_between_minus_one_and_one_and_is_symmetric(pairs):
    first, second = zip(*pairs, strict=True)
    tau = kendall_tau(first, second)
    assert tau is not None
    assert -1.0 <= tau <= 1.0
    assert tau == kendall_tau(second, first)
