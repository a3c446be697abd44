"""Language bias of one response: which languages are shown, and which could have been.

Exposure is the share of the shown hits; its lift compares that share with the language's share
of the eligible corpus (1 is parity). The agreement between score order and probability order is
Kendall's tau-a over the shown hits: below 1, calibration has moved hits between languages.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from app.core.languages.codes import primary_language


@dataclass(frozen=True, slots=True)
class LanguageDiagnostics:
    """Language bias of one response.

    Attributes:
        exposure: Language to its share of the shown hits.
        corpus_share: Language to its share of the eligible passages.
        exposure_lift: Language to exposure divided by corpus share.
        same_language_share: Share of shown hits in the query's language; ``None`` where the
            query language is not known or nothing is shown.
        rank_agreement_with_score_order: Kendall's tau-a between the order by probability and
            the order by score, in [-1, 1]; ``None`` with fewer than two hits or no probability.
        filtered_corpus_size: Number of eligible passages.
        score_offset: Language pair (``de>en``: query, passage) to the mean, over its shown hits,
            of how much higher they score than equally probable hits in the query's language;
            below 0, the encoder puts this pair lower and the calibrator makes up for it.
    """

    exposure: Mapping[str, float]
    corpus_share: Mapping[str, float]
    exposure_lift: Mapping[str, float]
    same_language_share: float | None
    rank_agreement_with_score_order: float | None
    filtered_corpus_size: int
    score_offset: Mapping[str, float] = field(default_factory=dict)


def diagnose(
    *,
    shown_languages: Sequence[str],
    shown_scores: Sequence[float],
    shown_probabilities: Sequence[float] | None,
    census: Mapping[str, int],
    query_language: str | None,
) -> LanguageDiagnostics:
    """Describe the language bias of a response, without the score offsets of a calibrator.

    Args:
        shown_languages: Language of every shown hit, in the order shown.
        shown_scores: Their scores.
        shown_probabilities: Their probabilities, ``None`` where there is no calibrator.
        census: Language to number of eligible passages.
        query_language: Language of the query, ``None`` where it is not known.
    """
    shown = len(shown_languages)
    corpus_size = sum(census.values())
    exposure = {code: n / shown for code, n in Counter(shown_languages).most_common()}
    share = {code: n / corpus_size for code, n in census.items()}
    same: float | None = None
    if query_language is not None and shown:
        primary = primary_language(query_language)
        same = sum(primary_language(code) == primary for code in shown_languages) / shown
    agreement = None
    if shown_probabilities is not None:
        agreement = kendall_tau(shown_scores, shown_probabilities)
    return LanguageDiagnostics(
        exposure=exposure,
        corpus_share=share,
        exposure_lift={code: exposure.get(code, 0.0) / share[code] for code in share},
        same_language_share=same,
        rank_agreement_with_score_order=agreement,
        filtered_corpus_size=corpus_size,
    )


def kendall_tau(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Return Kendall's tau-a of two equally long lists, ``None`` below two entries.

    Concordant minus discordant pairs, divided by all pairs; a tie counts for neither
    (Kendall 1938).
    """
    count = len(first)
    if count < 2:
        return None
    signs = [np.sign(np.subtract.outer(np.asarray(v), np.asarray(v))) for v in (first, second)]
    # Every pair stands in the matrix twice, and each entry with itself adds nothing.
    return float(np.sum(signs[0] * signs[1])) / (count * (count - 1))
