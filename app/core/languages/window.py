"""Language bias over the last answers: which languages were shown, and how translations stood.

An answer is kept as a few counts and ranks, and only so many answers are kept. Exposure says what
is shown; whether it is bias depends on what there is to find in which language. Translations of
one text answer equally well, so only their order raises a flag (``parallel_bias``).
"""

from __future__ import annotations

import math
import threading
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from app.core.languages.bias import LanguageDiagnostics
from app.core.languages.codes import primary_language
from app.core.languages.parallel import ParallelBias, RankedTranslations, parallel_bias
from app.core.languages.statistics import mean
from app.core.types import UNDETERMINED

WINDOW_ANSWERS = 1000
"""Answers that are kept."""


@dataclass(frozen=True, slots=True)
class ObservedAnswer:
    """What is kept of one answer.

    Attributes:
        query_language: Primary language of the query; ``None`` where it is not known.
        bias: Returns the language-bias diagnostics of the hits that were shown.
        by_score: Translations among the candidates, ranked by score; ``None`` where a filter
            may have left translations out, so that nothing can be concluded.
        by_probability: The same by probability; ``None`` also without a calibrator.
    """

    query_language: str | None
    bias: Callable[[], LanguageDiagnostics]
    by_score: RankedTranslations | None
    by_probability: RankedTranslations | None


@dataclass(frozen=True, slots=True)
class SameLanguage:
    """Share of hits in the query's language beside that of the corpus.

    Attributes:
        answers: How many answers could tell.
        hits: Mean share of the hits.
        corpus: Mean share of the eligible passages.
        standard_error: Of the mean difference; ``None`` with fewer than two answers.
    """

    answers: int
    hits: float
    corpus: float
    standard_error: float | None


@dataclass(frozen=True, slots=True)
class LanguageReport:
    """Language bias of the last answers.

    Attributes:
        answers: How many there are.
        capacity: How many are kept at most.
        query_languages: Primary language to number of queries; ``und`` where not known.
        exposure: Language to its mean share of the hits, over answers that show any.
        corpus_share: Language to its mean share of the eligible passages of the same answers.
        exposure_lift: Exposure divided by corpus share.
        same_language: Hits in the query's language; ``None`` where no answer could tell.
        rank_agreement_with_score_order: Mean over the answers that have one.
        score_offset: Pair of languages to the mean of its score offsets.
        by_score: Translations ordered by score: the bias of the encoder.
        by_probability: Translations ordered by probability: what calibration leaves of it.
    """

    answers: int
    capacity: int
    query_languages: Mapping[str, int]
    exposure: Mapping[str, float]
    corpus_share: Mapping[str, float]
    exposure_lift: Mapping[str, float]
    same_language: SameLanguage | None
    rank_agreement_with_score_order: float | None
    score_offset: Mapping[str, float]
    by_score: ParallelBias
    by_probability: ParallelBias


class LanguageWindow:
    """Keeps the last answers; thread-safe.

    Args:
        capacity: How many of them.
    """

    def __init__(self, capacity: int = WINDOW_ANSWERS) -> None:
        self._answers: deque[ObservedAnswer] = deque(maxlen=capacity)
        self._lock = threading.Lock()
        self._capacity = capacity

    def add(self, answer: ObservedAnswer) -> None:
        """Keep an answer, and let go of the oldest where there are too many."""
        with self._lock:
            self._answers.append(answer)

    def report(self) -> LanguageReport:
        """Return what the kept answers say together; it computes, so call it from a thread."""
        with self._lock:
            answers = list(self._answers)
        biases = [answer.bias() for answer in answers]
        shown = [bias for bias in biases if bias.exposure]
        exposure = _mean_shares([bias.exposure for bias in shown])
        corpus = _mean_shares([bias.corpus_share for bias in shown])
        return LanguageReport(
            answers=len(answers),
            capacity=self._capacity,
            query_languages=dict(
                Counter(a.query_language or UNDETERMINED for a in answers).most_common()
            ),
            exposure=exposure,
            corpus_share=corpus,
            exposure_lift={code: exposure.get(code, 0.0) / n for code, n in corpus.items()},
            same_language=_same_language(answers, biases),
            rank_agreement_with_score_order=mean(
                [
                    bias.rank_agreement_with_score_order
                    for bias in shown
                    if bias.rank_agreement_with_score_order is not None
                ]
            ),
            score_offset=_mean_offsets(shown),
            by_score=parallel_bias([a.by_score for a in answers if a.by_score]),
            by_probability=parallel_bias([a.by_probability for a in answers if a.by_probability]),
        )


def _same_language(
    answers: Sequence[ObservedAnswer], biases: Sequence[LanguageDiagnostics]
) -> SameLanguage | None:
    pairs = [
        (bias.same_language_share, _corpus_share(bias, answer.query_language))
        for answer, bias in zip(answers, biases, strict=True)
        if answer.query_language is not None and bias.same_language_share is not None
    ]
    if not pairs:
        return None
    hits, corpus = np.array(pairs, dtype=np.float64).T
    spread = float(np.std(hits - corpus, ddof=1)) if len(pairs) > 1 else None
    return SameLanguage(
        answers=len(pairs),
        hits=float(hits.mean()),
        corpus=float(corpus.mean()),
        standard_error=None if spread is None else spread / math.sqrt(len(pairs)),
    )


def _corpus_share(bias: LanguageDiagnostics, language: str) -> float:
    return sum(n for code, n in bias.corpus_share.items() if primary_language(code) == language)


def _mean_shares(shares: Sequence[Mapping[str, float]]) -> dict[str, float]:
    total: Counter[str] = Counter()
    for share in shares:
        total.update(share)
    return {code: n / len(shares) for code, n in total.most_common()}


def _mean_offsets(answers: Sequence[LanguageDiagnostics]) -> dict[str, float]:
    offsets: defaultdict[str, list[float]] = defaultdict(list)
    for bias in answers:
        for pair, offset in bias.score_offset.items():
            offsets[pair].append(offset)
    return {pair: float(np.mean(offsets[pair])) for pair in sorted(offsets)}
