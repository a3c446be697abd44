"""Finds sentences and cuts long passages around the answer.

Offsets are kept throughout, so that the sentence of the answer is found by position and not by
searching for its text, which may occur several times.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

MIN_SENTENCE_CHARS = 40
MIN_DENSE_SENTENCE_CHARS = 15
MIN_THAI_SENTENCE_CHARS = 90

_ENDS = re.compile(r"(?<=[.!?؟।॥])[\"'»”’)\]]*\s+|\n+")
_DENSE_ENDS = re.compile(r"(?<=[。！？!?])[」』”）]*|\n+")
# Thai writes no sentence mark; a space ends a clause or sentence.
_THAI_ENDS = re.compile(r"\s+")
_DENSE = frozenset({"zh", "zh-Hant", "ja"})

Span = tuple[int, int]


def _rules(language: str) -> tuple[re.Pattern[str], int]:
    """Return (what separates sentences, shortest sentence in characters)."""
    if language == "th":
        return _THAI_ENDS, MIN_THAI_SENTENCE_CHARS
    if language in _DENSE:
        return _DENSE_ENDS, MIN_DENSE_SENTENCE_CHARS
    return _ENDS, MIN_SENTENCE_CHARS


def _pieces(text: str, separator: re.Pattern[str]) -> Iterator[Span]:
    start = 0
    for match in separator.finditer(text):
        if text[start : match.end()].strip():
            yield start, match.end()
            start = match.end()
    if text[start:].strip():
        yield start, len(text)


def sentence_spans(text: str, language: str) -> list[Span]:
    """Return the sentences of a text as half-open ranges of characters, in order.

    Ranges never overlap, and every character that is not white space lies in one. Pieces that are
    too short to be a sentence (abbreviations, list marks) are joined to the next one.
    """
    separator, shortest = _rules(language)
    spans: list[Span] = []
    open_start: int | None = None
    for start, end in _pieces(text, separator):
        first = start if open_start is None else open_start
        if end - first >= shortest:
            spans.append((first, end))
            open_start = None
        else:
            open_start = first
    if open_start is not None:
        if spans:
            spans[-1] = (spans[-1][0], len(text))
        else:
            spans.append((open_start, len(text)))
    return spans


def _hard_cut(text: str, focus: int, limit: int) -> str:
    """Return at most ``limit`` characters around an offset, cut at white space if there is any."""
    start = max(0, min(focus - limit // 2, len(text) - limit))
    end = min(len(text), start + limit)
    if start > 0 and (space := text.find(" ", start, focus)) != -1:
        start = space + 1
    if end < len(text) and (space := text.rfind(" ", focus + 1, end)) != -1:
        end = space
    return text[start:end]


def cut_text(text: str, limit: int) -> str:
    """Return the beginning of a text, at most ``limit`` characters, cut at white space if any."""
    return text if len(text) <= limit else _hard_cut(text, 0, limit)


def _answer_sentence(spans: list[Span], answer_start: int | None) -> int:
    focus = answer_start or 0
    return next((k for k, (_, end) in enumerate(spans) if focus < end), len(spans) - 1)


def cut_passage(passage: str, answer_start: int | None, limit: int, language: str) -> str:
    """Return the part of a passage that holds the answer, at most ``limit`` characters.

    It grows from the answer's sentence, by whole sentences, to both sides in turn while they fit;
    a single sentence that is too long is cut around the answer. Without ``answer_start`` it is
    the beginning of the passage.

    Args:
        passage: Any text.
        answer_start: Offset of the answer in characters.
        limit: Most characters of the result.
        language: BCP-47 code; decides what ends a sentence.
    """
    if len(passage.strip()) <= limit:
        return passage.strip()
    spans = sentence_spans(passage, language)
    low = high = _answer_sentence(spans, answer_start)
    start, end = spans[low]
    if end - start > limit:
        focus = min(max(answer_start or 0, start), end - 1)
        return _hard_cut(passage[start:end].rstrip(), focus - start, limit).strip()
    growing = True
    while growing:
        growing = False
        if high + 1 < len(spans) and spans[high + 1][1] - start <= limit:
            high, end, growing = high + 1, spans[high + 1][1], True
        if low > 0 and end - spans[low - 1][0] <= limit:
            low, start, growing = low - 1, spans[low - 1][0], True
    return passage[start:end].strip()


def answer_sentence(passage: str, answer_start: int, limit: int, language: str) -> str:
    """Return the sentence that holds the answer, at most ``limit`` characters."""
    spans = sentence_spans(passage, language)
    start, end = spans[_answer_sentence(spans, answer_start)]
    focus = min(max(answer_start, start), end - 1)
    sentence = passage[start:end].rstrip()
    if len(sentence) > limit:
        sentence = _hard_cut(sentence, focus - start, limit)
    return sentence.strip()
