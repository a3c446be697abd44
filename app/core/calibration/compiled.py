"""The hit and pooled heads of a calibrator, made ready for a few matrix products a served list.

What the hits of a list share is ``w = (1, background, log N)``; what tells them apart are the
relation and ``u = (1, score, log R, lead, lag, log M)``, the score as it is read; in hybrid lists
the logarithm of the lexical rank comes last. For one relation a logit and its variance are

    c' u      with  c = T(w) theta,   T(w) linear in w
    |S' u|^2  with  S = T(w) R

for parameters ``theta`` with covariance ``R R'``. An uncertain query language, and offsets of
single languages, make a probability an average of several parts; ``HitParts`` holds those of all
hits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import chain, zip_longest
from math import log
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.core.calibration.parts import LanguageOffset, LanguageOffsets, LinearHead
from app.core.calibration.standing import Standings
from app.core.calibration.words import WORD_FEATURE
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
    WORD_FEATURE: (0, 6),
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
_NEARLY_CERTAIN = 1.0 - 1e-6
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


def _numbers(share: Share, *, plain: bool) -> tuple[float, ...]:
    """Return a share as the numbers of a row of ``HitParts``, without those that are all 0."""
    numbers = share.share, _NUMBERS[share.relation]
    if plain:
        return numbers
    query, passage = share.query_offset, share.passage_offset
    return (
        *numbers,
        query.intercept + passage.intercept,
        query.slope + passage.slope,
        query.sd * query.sd + passage.sd * passage.sd,
    )


_NUMBERS = {relation: float(number) for number, relation in enumerate(RELATIONS)}
_PLAIN, _FULL = 2, 5
_REMEMBERED = 512


class Judged(NamedTuple):
    """What is the same for all hits in one language.

    Attributes:
        parts: What their probability is averaged from, as numbers one after the other.
        source: ``CalibratedList.source``.
    """

    parts: tuple[float, ...]
    source: str


class QueryView:
    """A query's languages as the hits of its list need them, a language worked out once.

    Args:
        languages: What is believed about them.
        labelled: Languages that the fit had labels of.
        plain: Whether languages add nothing to logits and variances, whichever they are.
    """

    def __init__(self, languages: QueryLanguages, labelled: frozenset[str], *, plain: bool) -> None:
        self.languages = languages
        self._labelled = labelled
        self.plain = plain
        self._known: dict[str, Judged] = {}
        self._split: dict[str, tuple[float, ...]] = {}

    def of(self, passage_language: str) -> Judged:
        """Return what is the same for all hits in a language."""
        found = self._known.get(passage_language)
        if found is None:
            parts = self._parts(self.languages.kind(passage_language))
            found = Judged(parts, self._source(passage_language))
            if len(self._known) < _REMEMBERED:
                self._known[passage_language] = found
        return found

    def each(self, passage_languages: Sequence[str]) -> list[Judged]:
        """Return the same for several languages."""
        known = self._known
        try:
            return [known[language] for language in passage_languages]
        except KeyError:
            return [self.of(language) for language in passage_languages]

    def _parts(self, kind: str) -> tuple[float, ...]:
        found = self._split.get(kind)
        if found is None:
            rows = [_numbers(share, plain=self.plain) for share in self.languages.split(kind)]
            found = self._split[kind] = tuple(chain(*rows))
        return found

    def _source(self, passage_language: str) -> str:
        query = self.languages
        if passage_language == UNDETERMINED or query.known <= 0.0:
            return "pooled"
        same = query.same(passage_language)
        if max(same, query.known - same) < _NEARLY_CERTAIN:
            return "mixture"
        fitted = query.likeliest in self._labelled and passage_language in self._labelled
        relation = "same" if same >= _NEARLY_CERTAIN else "cross"
        return f"{'relation' if fitted else 'fallback'}:{relation}"


class Offsets(NamedTuple):
    """What languages add to the parts of n hits, float64 arrays of shape (parts, n).

    Attributes:
        intercept: To the logit.
        slope: To the logit, for each unit of the score as it is read.
        variance: To the variance of the logit.
    """

    intercept: FloatArray
    slope: FloatArray
    variance: FloatArray


class HitParts(NamedTuple):
    """The parts of the probabilities of n hits.

    Attributes:
        place: Where in a flat array of shape (relations, n) a part's relation and hit are; of
            shape (parts, n).
        share: The shares of a hit sum to 1, shape (parts, n); ``None`` where each has one part.
        offsets: ``None`` where languages add nothing.
    """

    place: NDArray[np.intp]
    share: FloatArray | None
    offsets: Offsets | None


@lru_cache(maxsize=_REMEMBERED)
def _counted(n: int) -> FloatArray:
    """Return 0, 1, ..., n - 1; not to be changed."""
    return np.arange(n, dtype=np.float64)


def laid_out(  # noqa: PLR0913 - hits, and all that is known of them
    scores: FloatArray,
    read: FloatArray,
    stand: Standings,
    judged: Sequence[Judged],
    *,
    plain: bool,
    words: FloatArray | None = None,
) -> tuple[FloatArray, HitParts]:
    """Return ``u`` of the hits of a list, shape (6 or 7, n), and their parts.

    Args:
        scores: Of the hits.
        read: The same as the heads read them.
        stand: How they stand in their languages.
        judged: What is the same for the hits in each of ``stand.languages``.
        plain: Whether languages add nothing.
        words: Logarithms of the lexical ranks, in a hybrid list; ``None`` in a dense one.
    """
    n = len(scores)
    columns = zip_longest(*[one.parts for one in judged], fillvalue=0.0)
    sizes = list(map(log, stand.size))
    # The first rows become u; those of score and rank hold anything until they are written below.
    table = np.array([[1.0] * len(sizes), sizes, sizes, stand.lead, stand.best, sizes, *columns])
    of_hits = table.take(np.fromiter(stand.language, np.intp, n), axis=1)
    rank = np.fromiter(stand.rank, np.float64, n)
    hits = of_hits[:_OWN]
    hits[1] = read
    np.log(rank, out=hits[2])
    hits[3] *= rank == 1.0
    hits[4] -= scores
    parts = of_hits[_OWN:].reshape(-1, _PLAIN if plain else _FULL, n)
    place = parts[:, 1] * n
    place += _counted(n)
    if words is not None:
        hits = np.concatenate([hits, words[None]])
    return hits, HitParts(
        place.astype(np.intp),
        parts[:, 0] if len(parts) > 1 else None,
        None if plain else Offsets(parts[:, 2], parts[:, 3], parts[:, 4]),
    )


class CompiledHeads:
    """The hit head for both relations, and the pooled head."""

    def __init__(self, hit: LinearHead, pooled: LinearHead, *, words: bool = False) -> None:
        own = self._own = _OWN + words
        heads = ((hit, 1.0), (hit, 0.0), (pooled, 0.0))
        placings = [_placing(head, same, own) for head, same in heads]
        against = [
            -(p @ np.append(h.coef, h.intercept)) for p, (h, _) in zip(placings, heads, strict=True)
        ]
        # What is squared and summed up in a variance: S' of one relation after the other.
        roots = [
            np.moveaxis(p @ _root(h.covariance_matrix()), 2, 1)
            for p, (h, _) in zip(placings, heads, strict=True)
        ]
        rows = np.concatenate([np.stack(against, axis=1), *roots], axis=1)
        self._whole: FloatArray = rows.reshape(_SHARED, -1)
        self._against: FloatArray = rows[:, : len(RELATIONS)].reshape(_SHARED, -1)
        ranks = [root.shape[1] for root in roots]
        self._sums: FloatArray = np.repeat(np.eye(len(RELATIONS)), ranks, axis=1)

    def logits(
        self, hits: FloatArray, background: float, log_corpus: float, *, varying: bool
    ) -> tuple[FloatArray, FloatArray]:
        """Return the logits of hits under each relation, negated, and their variances.

        Args:
            hits: ``u``, shape (6 or 7, n); see ``laid_out``.
            background: Of the list.
            log_corpus: log N of the list.
            varying: Whether the variances are wanted; there are none otherwise.

        Returns:
            Two float64 arrays of shape (relations, n).
        """
        # dot: for matrices of this size it takes half of the time of @.
        shared = np.array([1.0, background, log_corpus])
        found: FloatArray = (
            shared.dot(self._whole if varying else self._against).reshape(-1, self._own).dot(hits)
        )
        against, spread = found[: len(RELATIONS)], found[len(RELATIONS) :]
        if not varying:
            return against, spread
        spread *= spread
        return against, self._sums.dot(spread)


def _root(covariance: FloatArray) -> FloatArray:
    """Return R with R R' a covariance, float64 of shape (parameters, rank)."""
    values, vectors = np.linalg.eigh(covariance)
    kept = values > 0.0
    root: FloatArray = vectors[:, kept] * np.sqrt(values[kept])
    return root


def _placing(head: LinearHead, same: float, own: int) -> FloatArray:
    """Return T for each member of ``w``, float64 of shape (3, own, parameters)."""
    placing = np.zeros((_SHARED, own, len(head.coef) + 1))
    placing[0, 0, -1] = 1.0
    for number, feature in enumerate(head.features):
        of_one_language, _, rest = feature.rpartition("*")
        shared, place = _PLACES[rest]
        placing[shared, place, number] = (
            same if _OF_ONE_LANGUAGE in (of_one_language, rest) else 1.0
        )
    return placing
