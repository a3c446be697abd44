"""The hit and pooled heads of a calibrator, made ready for a few matrix products a served list.

What the hits of a list share is ``w = (1, background, log N)``; what tells them apart are the
relation and ``u = (1, score, log R, lead, lag, log M)``. For one relation a logit and its variance
are

    c' u     with  c = T(w) theta,        T(w) linear in w
    u' V u   with  V = T(w) C T(w)',      linear in the nine products of w with itself

for parameters ``theta`` with covariance ``C``. An uncertain query language, and offsets of single
languages, make a probability an average of several parts; ``Parts`` holds those of all hits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.core.calibration.parts import LanguageOffset, LanguageOffsets, LinearHead
from app.core.calibration.standing import Standings
from app.core.types import UNDETERMINED, FloatArray

Relation = Literal["same", "cross", "pooled"]
RELATIONS: Final[tuple[Relation, ...]] = ("same", "cross", "pooled")

# Feature to where its weight goes: which member of w, times which of u.
_PLACES = {
    "score": (0, 1),
    "background": (1, 0),
    "log_corpus": (2, 0),
    "log_language_rank": (0, 2),
    "language_lead": (0, 3),
    "language_lag": (0, 4),
    "log_language_corpus": (0, 5),
    "same": (0, 0),
}
_SHARED, _OWN = 3, 6
_OF_ONE_LANGUAGE = "same"


class Share(NamedTuple):
    """A part of a hit's probability.

    Attributes:
        share: How much of it, 0 to 1; the shares of a hit sum to 1.
        relation: The head that states the part.
        query_offset: What the query's language adds.
        passage_offset: What the passage's language adds.
        query_language: The query's language in this part; empty where it is none in particular.
    """

    share: float
    relation: Relation
    query_offset: LanguageOffset
    passage_offset: LanguageOffset
    query_language: str


_NO_OFFSET = LanguageOffset()
_CERTAIN = 1.0 - 1e-9
ANY_OTHER = "*"
"""Stands for every passage language that neither the query may be in nor has an offset."""


class QueryLanguages:
    """What is believed about a query's language, as the hits of its list need it.

    Args:
        posterior: Primary language subtag to probability; these sum to at most 1, and what is
            missing belongs to no known language.
        offsets: Those of the calibrator.
    """

    def __init__(self, posterior: Mapping[str, float], offsets: LanguageOffsets) -> None:
        self._posterior = {q: p for q, p in posterior.items() if p > 0.0}
        self._offsets = offsets
        self.known = sum(self._posterior.values())
        self.likeliest = max(self._posterior, key=self._posterior.__getitem__, default=UNDETERMINED)
        self._listed = [
            (q, p, offsets.query[q]) for q, p in self._posterior.items() if q in offsets.query
        ]
        self._pooled = Share(1.0 - min(self.known, 1.0), "pooled", _NO_OFFSET, _NO_OFFSET, "")
        self._only_pooled = [self._pooled._replace(share=1.0)]

    def same(self, passage_language: str) -> float:
        """Return the probability that query and passage are in one known language."""
        if passage_language == UNDETERMINED:
            return 0.0
        return self._posterior.get(passage_language, 0.0)

    def kind(self, passage_language: str) -> str:
        """Return what stands for a passage language: equal kinds are split in equal parts."""
        if (
            passage_language in self._posterior
            or passage_language in self._offsets.passage
            or passage_language == UNDETERMINED
        ):
            return passage_language
        return ANY_OTHER

    def split(self, passage_language: str) -> list[Share]:
        """Return the parts that a hit's probability is averaged from.

        Args:
            passage_language: Primary language subtag or a kind, ``und`` where not known.
        """
        if passage_language == UNDETERMINED or not self._posterior:
            return self._only_pooled
        of_passage = self._offsets.of_passage(passage_language)
        shares, rest = [], self.known
        own = self.same(passage_language)
        if own:
            of_query = self._offsets.of_query(passage_language)
            shares.append(Share(own, "same", of_query, of_passage, passage_language))
            rest -= own
        for language, probability, of_query in self._listed:
            if language != passage_language:
                shares.append(Share(probability, "cross", of_query, of_passage, language))
                rest -= probability
        if rest > 1.0 - _CERTAIN:
            unlisted = self._offsets.of_query(UNDETERMINED)
            shares.append(Share(rest, "cross", unlisted, of_passage, ""))
        return shares if self.known >= _CERTAIN else [*shares, self._pooled]


class Parts(NamedTuple):
    """The parts of the probabilities of n hits, arrays of shape (parts, n).

    Attributes:
        share: The shares of a hit sum to 1; parts that it does not have have the share 0.
        relation: Which of ``RELATIONS`` states the part.
        intercept: What the languages add to the logit.
        slope: The same, for each unit of the score.
        variance: What they add to its variance.
    """

    share: FloatArray
    relation: NDArray[np.intp]
    intercept: FloatArray
    slope: FloatArray
    variance: FloatArray

    def of(self, by_relation: FloatArray) -> FloatArray:
        """Return the members of an array of shape (relations, n) that belong to the parts."""
        found: FloatArray = np.take_along_axis(by_relation, self.relation, axis=0)
        return found


def parts_of(stand: Standings, query: QueryLanguages) -> Parts:
    """Return what the probabilities of hits are averaged from."""
    kinds = [query.kind(language) for language in stand.languages]
    column = {kind: at for at, kind in enumerate(dict.fromkeys(kinds))}
    rows = [[_row(share) for share in query.split(kind)] for kind in column]
    most = max(map(len, rows))
    table = np.array([own + [_NOTHING] * (most - len(own)) for own in rows])
    columns = [column[kind] for kind in kinds]
    share, relation, intercept, slope, variance = table[
        [columns[at] for at in stand.language]
    ].transpose(2, 1, 0)
    return Parts(share, relation.astype(np.intp), intercept, slope, variance)


_NOTHING = (0.0,) * 5
_NUMBERS = {relation: float(number) for number, relation in enumerate(RELATIONS)}


def _row(part: Share) -> tuple[float, ...]:
    query, passage = part.query_offset, part.passage_offset
    return (
        part.share,
        _NUMBERS[part.relation],
        query.intercept + passage.intercept,
        query.slope + passage.slope,
        query.sd * query.sd + passage.sd * passage.sd,
    )


class CompiledHeads:
    """The hit head for both relations, and the pooled head."""

    def __init__(self, hit: LinearHead, pooled: LinearHead) -> None:
        heads = ((hit, 1.0), (hit, 0.0), (pooled, 0.0))
        placings = [_placing(head, same) for head, same in heads]
        self._weights: FloatArray = np.stack(
            [p @ np.append(h.coef, h.intercept) for p, (h, _) in zip(placings, heads, strict=True)],
            axis=1,
        ).reshape(_SHARED, -1)
        spreads = [
            np.einsum("iup,pq,jvq->ijuv", p, h.covariance_matrix(), p)
            for p, (h, _) in zip(placings, heads, strict=True)
        ]
        self._spreads: FloatArray = np.stack(spreads, axis=2).reshape(_SHARED * _SHARED, -1)

    def logits(self, hits: FloatArray, background: float, log_corpus: float) -> FloatArray:
        """Return the logits of hits under each relation.

        Args:
            hits: ``u`` without its 1: score, log R, lead, lag and log M, shape (5, n).
            background: Of the list.
            log_corpus: log N of the list.

        Returns:
            float64 of shape (relations, n).
        """
        shared = np.array([1.0, background, log_corpus])
        weights = (shared @ self._weights).reshape(len(RELATIONS), _OWN)
        found: FloatArray = weights[:, 1:] @ hits + weights[:, :1]
        return found

    def variances(self, hits: FloatArray, background: float, log_corpus: float) -> FloatArray:
        """Return the variances of these logits; arguments and shape as of ``logits``."""
        shared = np.array([1.0, background, log_corpus])
        products = np.outer(shared, shared).ravel()
        spreads = (products @ self._spreads).reshape(len(RELATIONS), _OWN, _OWN)
        own = np.concatenate([np.ones((1, hits.shape[1])), hits])
        found: FloatArray = np.add.reduce((spreads @ own) * own, axis=1)
        return found


def _placing(head: LinearHead, same: float) -> FloatArray:
    """Return T for each member of ``w``, float64 of shape (3, 6, parameters)."""
    placing = np.zeros((_SHARED, _OWN, len(head.coef) + 1))
    placing[0, 0, -1] = 1.0
    for number, feature in enumerate(head.features):
        of_one_language, _, rest = feature.rpartition("*")
        shared, own = _PLACES[rest]
        placing[shared, own, number] = same if _OF_ONE_LANGUAGE in (of_one_language, rest) else 1.0
    return placing
