import numpy as np
import pytest

from training.baselines import bm25_scorer, char_ngram_scorer, evaluate_baseline
from training.bm25 import Bm25
from training.lexicon import Lexicon
from training.retrieval_set import RetrievalSet, SetPassage, SetQuery, assemble

pytestmark = pytest.mark.training

TEXTS = {
    "en": ("the red house of Nairobi", "a blue boat", "green trees"),
    "de": ("das rote Haus von Nairobi", "ein blaues Boot", "grüne Bäume"),
}
QUESTIONS = {"en": ("red house", "blue boat"), "de": ("rote Haus", "Boot blaues")}
LEXICON = Lexicon(
    [
        {"en": "red", "de": "rote"},
        {"en": "house", "de": "Haus"},
        {"en": "blue", "de": "blaues"},
        {"en": "boat", "de": "Boot"},
    ]
)


def two_languages() -> RetrievalSet:
    passages = [
        SetPassage(f"p{n}.{code}", code, text, f"p{n}")
        for code, texts in TEXTS.items()
        for n, text in enumerate(texts)
    ]
    queries = [
        SetQuery(f"q{n}.{code}", code, text, f"q{n}")
        for code, texts in QUESTIONS.items()
        for n, text in enumerate(texts)
    ]
    judged = {query.id: {f"p{query.id[1]}.{code}": 1 for code in TEXTS} for query in queries}
    return assemble("two", queries, passages, judged)


def test_bm25_has_one_index_a_language():
    data = two_languages()
    scores = bm25_scorer(data).against(np.arange(6))(slice(0, 4))
    for code in TEXTS:
        pool = np.flatnonzero(data.passage_languages == code)
        index = Bm25([data.passages[row].text for row in pool], code)
        expected = index.scores([query.text for query in data.queries])
        np.testing.assert_allclose(scores[:, pool], expected, rtol=1e-6)


def test_scores_of_pairs_are_those_of_blocks():
    data = two_languages()
    for scorer in (bm25_scorer(data), char_ngram_scorer(data)):
        block = scorer.against(np.arange(6))(slice(0, 4))
        asked, rows = np.divmod(np.arange(24), 6)
        np.testing.assert_array_equal(scorer.pairs(asked, rows), block.ravel())


def test_bm25_finds_nothing_across_languages_and_what_it_does_not_find_is_not_ranked():
    result = evaluate_baseline("bm25", two_languages())
    assert result.summary["mono/map"].value == 1.0
    assert result.summary["cross/map"].value == 0.0
    assert result.summary["multi/map"].value == 0.5
    assert "bias/rank_distance" not in result.summary


def test_a_lexicon_carries_bm25_across_languages():
    result = evaluate_baseline("bm25-lexicon", two_languages(), LEXICON)
    assert result.summary["mono/map"].value == 1.0
    assert result.summary["cross/map"].value == 1.0
    assert result.summary["multi/map"].value == 1.0


def test_a_translated_phrase_gives_its_weight_to_each_term():
    data = two_languages()
    phrase = Lexicon([{"en": "house", "de": "rote Haus"}, {"en": "red", "de": "unbekannt"}])
    scores = bm25_scorer(data, phrase).against(np.arange(6))(slice(0, 4))
    row = {query.id: number for number, query in enumerate(data.queries)}
    column = {passage.id: number for number, passage in enumerate(data.passages)}
    whole, first = scores[row["q0.de"], column["p0.de"]], scores[row["q0.en"], column["p0.de"]]
    assert first == pytest.approx(whole)


def test_character_ngrams_find_what_words_miss():
    passages = [SetPassage("p0", "de", "Häuserbau", "d"), SetPassage("p1", "de", "Segelboot", "d")]
    queries = [SetQuery("q0", "de", "Boote", "q0"), SetQuery("q1", "de", "Häuser", "q1")]
    data = assemble("parts", queries, passages, {"q0": {"p1": 1}, "q1": {"p0": 1}})
    assert evaluate_baseline("bm25", data).summary["mono/map"].value == 0.0
    assert evaluate_baseline("char-ngrams", data).summary["mono/map"].value == 1.0


def test_a_lexicon_is_needed_to_translate():
    with pytest.raises(ValueError, match="needs a lexicon"):
        evaluate_baseline("bm25-lexicon", two_languages())
