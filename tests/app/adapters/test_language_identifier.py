from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.adapters.language_identifier import FastTextIdentifier

QUESTIONS = {
    "ar": "لماذا السماء زرقاء؟",
    "de": "Wie flicke ich einen Reifen?",
    "el": "Γιατί είναι μπλε ο ουρανός;",
    "en": "Why is the sky blue?",
    "es": "¿Por qué el cielo es azul?",
    "fr": "Pourquoi le ciel est-il bleu ?",
    "hi": "आसमान नीला क्यों है?",
    "it": "Perché il cielo è azzurro?",
    "ja": "空はなぜ青いのですか",
    "ko": "하늘은 왜 파란가요?",
    "pt": "Por que o céu é azul?",
    "ru": "Почему небо голубое?",
    "th": "ทำไมท้องฟ้าเป็นสีฟ้า",
    "tr": "Gökyüzü neden mavi?",
    "vi": "Tại sao bầu trời màu xanh?",
    "zh": "天空为什么是蓝色的？",
}


@pytest.fixture(scope="module")
def identifier() -> FastTextIdentifier:
    return FastTextIdentifier()


@pytest.mark.parametrize(("language", "question"), QUESTIONS.items())
def test_a_short_question_is_identified_with_confidence(identifier, language, question):
    for candidates in (None, QUESTIONS):
        guess = identifier.identify(question, candidates)
        assert guess.code == language
        assert guess.confidence > 0.8
        assert guess.source == "detected"


@pytest.mark.parametrize("text", [*QUESTIONS.values(), "taxi", "no", "Berlin Madrid"])
@pytest.mark.parametrize("candidates", [None, ["de", "en", "es"], ["fr"]])
def test_the_posterior_is_sorted_and_sums_to_one_over_the_candidates(identifier, text, candidates):
    posterior = identifier.identify(text, candidates).posterior
    if posterior:
        assert sum(posterior.values()) == pytest.approx(1.0)
        assert list(posterior.values()) == sorted(posterior.values(), reverse=True)
    if candidates is not None:
        assert set(posterior) <= set(candidates)


@pytest.mark.parametrize("text", ["", "  \n", "12 + 7 = ?", "🚲🚀", "\x00", "\ud800"])
def test_a_text_without_letters_tells_nothing(identifier, text):
    guess = identifier.identify(text)
    assert guess.posterior == {}
    assert (guess.code, guess.confidence, guess.source) == ("und", 0.0, "unknown")


def test_an_ambiguous_word_has_no_certain_language(identifier):
    guess = identifier.identify("problema", ["de", "en", "es", "fr", "it", "pt"])
    assert guess.confidence < 0.6
    assert {"es", "it", "pt"} <= set(guess.posterior)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("i hear you knocking but you can't come in는 누가 불렀나요", "ko"),
        ("Harry Potter の作者", "ja"),
        ("кто поет i hear you knocking but you can't come in", "ru"),
    ],
)
def test_a_foreign_title_in_latin_letters_does_not_hide_the_script(identifier, text, language):
    assert identifier.identify(text, QUESTIONS).code == language


def test_one_foreign_word_does_not_decide_for_its_script(identifier):
    text = "What is the difference between ψυχή and pneuma in the writings of Plato?"
    assert identifier.identify(text).code == "en"


def test_a_script_of_no_candidate_tells_nothing(identifier):
    assert identifier.identify(QUESTIONS["th"], ["de", "en"]).posterior == {}


def test_variants_of_a_language_share_its_probability(identifier):
    posterior = identifier.identify(QUESTIONS["pt"], ["pt-BR", "pt-PT"]).posterior
    assert posterior == {"pt-BR": pytest.approx(0.5), "pt-PT": pytest.approx(0.5)}


def test_unknown_candidates_are_ignored(identifier):
    assert identifier.identify(QUESTIONS["de"], ["de", "tlh"]).posterior == {"de": 1.0}


def test_line_breaks_and_long_texts_are_read(identifier):
    text = "\n".join([QUESTIONS["es"]] * 2000)
    began = time.perf_counter()
    assert identifier.identify(text).code == "es"
    assert time.perf_counter() - began < 1.0


def test_the_guess_does_not_depend_on_thread_or_time(identifier):
    expected = [identifier.identify(q).posterior for q in QUESTIONS.values()]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            guesses = pool.map(identifier.identify, QUESTIONS.values())
            assert [guess.posterior for guess in guesses] == expected


def test_a_short_text_is_identified_once_for_the_same_candidates(identifier):
    text = "Wie flicke ich den Reifen?"
    guess = identifier.identify(text, ["de", "en"])
    assert identifier.identify(text, ["en", "de"]) is guess
    assert identifier.identify(text, ["nl", "en"]).code != "de"
    assert identifier.identify(text).code == "de"


def test_long_texts_are_not_kept(identifier):
    text = "Wie flicke ich den Reifen? " * 20
    guess = identifier.identify(text)
    assert identifier.identify(text) is not guess
    assert identifier.identify(text) == guess
