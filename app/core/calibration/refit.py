"""A calibrator of one's own: the heads of another one, moved by judged hits of one's own corpus.

Every head is fitted with a ridge that pulls its weights and its level towards the calibrator that
it begins with (Penalty.towards). The ridge is chosen by cross-validation over queries, so that
few labels move little and many move much. What the result is worth is measured on queries that the
fit has not seen: folds are predicted by fits without them, ridge included.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from app.core.calibration.assess import Sample, assess, auroc, losses, reliability
from app.core.calibration.calibrator import sigmoid
from app.core.calibration.document import CalibratorDocument, dump_calibrator
from app.core.calibration.evidence import Comparison, Estimate, Evidence
from app.core.calibration.fit import LinearLogit, Penalty, fit_logistic
from app.core.calibration.fit_draws import bootstrap_fit
from app.core.calibration.fit_ridge import choose_ridge, group_folds
from app.core.calibration.parts import LinearHead
from app.core.errors import CalibrationError
from app.core.types import BoolArray, FloatArray

RIDGES = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
FOLDS = 5
LEVEL = 0.9
LEAST_QUERIES = 10
_SEPARATION_LEVEL = 0.98
"""Of the interval of AUROC whose lower end must lie above one half."""

Verdict = Literal["better", "no better", "not separable"]


@dataclass(frozen=True, slots=True, eq=False)
class JudgedHits:
    """Judged hits of served lists, one entry a hit.

    Attributes:
        columns: Name to values, for every feature of every head.
        sample: Labels, weights and queries.
        known: Whether the languages of query and passage are known.
        first: Whether the hit is the first of its list.
        same: Whether they are one language.
        stated: What the calibrator to begin with states of the hit.
        languages: Primary subtags of queries and passages.
        corpus_sizes: Numbers of eligible passages.
    """

    columns: Mapping[str, FloatArray]
    sample: Sample
    known: BoolArray
    first: BoolArray
    same: BoolArray
    stated: FloatArray
    languages: frozenset[str]
    corpus_sizes: frozenset[int]

    @property
    def queries(self) -> int:
        """Number of distinct queries."""
        return len(np.unique(self.sample.query))


@dataclass(frozen=True, slots=True)
class Refit:
    """What came of it.

    Attributes:
        verdict: ``not separable`` where nothing tells relevant from irrelevant hits; ``better``
            where the gain's interval lies above 0.
        reason: The verdict in a sentence.
        gain: Mean negative log-likelihood that is saved per hit, on queries not fitted on.
        before: Statistics of the calibrator to begin with, by name.
        after: The same of the new one, on queries not fitted on.
        text: JSON of the new calibrator; ``None`` where not separable.
    """

    verdict: Verdict
    reason: str
    gain: Estimate
    before: Mapping[str, Estimate]
    after: Mapping[str, Estimate]
    text: str | None


def refit(base: CalibratorDocument, hits: JudgedHits, *, data: str, data_sha256: str) -> Refit:
    """Fit a calibrator on judged hits, shrunk towards another.

    Args:
        base: The calibrator to begin with.
        hits: What it is moved by.
        data: Which judgements those are, as a person should read it.
        data_sha256: Their hash.

    Raises:
        CalibrationError: There are too few queries, or hits of one class only.
    """
    _check(hits)
    predicted = _cross_fitted(base, hits)
    sample = hits.sample
    before, after = assess(hits.stated, sample), assess(predicted, sample)
    saved = losses(hits.stated, sample.relevant) - losses(predicted, sample.relevant)
    gain = sample.estimate(lambda w: float(w @ saved) / float(w.sum()))
    if not (_separates(hits.stated, sample) or _separates(predicted, sample)):
        reason = (
            "These scores do not separate relevant from irrelevant hits: a relevant hit is stated "
            f"higher than an irrelevant one in {before['auroc'].value:.0%} of pairs by the "
            f"calibrator to begin with and in {after['auroc'].value:.0%} by a fit of their own, "
            "which chance explains. Look at the judgements, and at whether this encoder knows this "
            "kind of text; no calibrator can help."
        )
        return Refit("not separable", reason, gain, before, after, None)
    better = gain.low is not None and gain.low > 0.0
    verdict: Verdict = "better" if better else "no better"
    reason = (
        f"On queries that were not fitted on, a hit's log loss is {gain.value:+.4f} lower "
        f"(95 % interval {gain.low:+.4f} to {gain.high:+.4f}) than with calibrator {base.id}"
        + (". " if better else ", which may be chance. Keep the other one, or judge more hits.")
    )
    evidence = Evidence(
        data=f"{data}, predicted by fits without them",
        reliability=_reliability(predicted, hits),
        before=_reliability(hits.stated, hits),
        compared=(_compared("this", after), _compared(base.id, before)),
    )
    text = _text(base, hits, evidence, data_sha256)
    return Refit(verdict, reason.strip(), gain, before, after, text)


def _check(hits: JudgedHits) -> None:
    relevant = int(hits.sample.relevant.sum())
    if not 0 < relevant < len(hits.sample.relevant):
        raise CalibrationError(
            f"{relevant} of {len(hits.sample.relevant)} judged hits are relevant; a calibrator "
            "needs hits of both kinds. Judge what was found, the misses too."
        )
    if hits.queries < LEAST_QUERIES:
        raise CalibrationError(
            f"The judged hits belong to {hits.queries} queries; at least {LEAST_QUERIES} are "
            "needed to tell whether a fit holds for others. Judge a few hits of more queries."
        )


def _separates(p: FloatArray, sample: Sample) -> bool:
    found = sample.estimate(lambda w: auroc(p, sample.relevant, w), _SEPARATION_LEVEL)
    return found.low is not None and found.low > 0.5


def _penalty(head: LinearHead) -> Penalty:
    towards = LinearLogit(np.array(head.coef), head.intercept)
    return Penalty(towards=towards, intercept_factor=1.0)


def _chosen(head: LinearHead, hits: JudgedHits, rows: BoolArray) -> tuple[FloatArray, Penalty]:
    """Return the design of the rows, and the penalty that predicts left-out queries best."""
    x = np.column_stack([hits.columns[name] for name in head.features])
    s = hits.sample
    choice = choose_ridge(
        x[rows],
        s.relevant[rows],
        s.query[rows],
        RIDGES,
        penalty=_penalty(head),
        weights=s.weights[rows],
        folds=FOLDS,
    )
    return x, choice.penalty


def _cross_fitted(base: CalibratorDocument, hits: JudgedHits) -> FloatArray:
    """Return probabilities of hits from fits that have not seen their queries."""
    fold = group_folds(hits.sample.query, FOLDS)
    predicted = hits.stated.copy()
    low, high = base.clip
    for head, of_head in ((base.hit, hits.known), (base.pooled, ~hits.known)):
        for number in range(FOLDS):
            out = of_head & (fold == number)
            kept = (hits.known if head is base.hit else np.ones_like(of_head)) & (fold != number)
            if not out.any():
                continue
            try:
                x, penalty = _chosen(head, hits, kept)
                fit = _fit(x, hits, kept, penalty)
            except CalibrationError:
                continue  # too little is left beside this fold: the calibrator to begin with stands
            predicted[out] = low + (high - low) * sigmoid(fit.logit(x[out]))
    return predicted


def _fit(x: FloatArray, hits: JudgedHits, rows: BoolArray, penalty: Penalty) -> LinearLogit:
    s = hits.sample
    return fit_logistic(x[rows], s.relevant[rows], penalty=penalty, weights=s.weights[rows])


def _moved(head: LinearHead, hits: JudgedHits, rows: BoolArray) -> LinearHead:
    """Return a head fitted on rows, with its covariance; the head itself where that cannot be."""
    s = hits.sample
    try:
        x, penalty = _chosen(head, hits, rows)
        fit = _fit(x, hits, rows, penalty)
        draws = bootstrap_fit(
            x[rows], s.relevant[rows], s.query[rows], penalty=penalty, weights=s.weights[rows]
        )
    except CalibrationError:
        size = len(head.coef) + 1
        nothing = tuple((0.0,) * (n + 1) for n in range(size))
        return head.model_copy(update={"covariance": head.covariance or nothing})
    covariance = np.atleast_2d(np.cov(draws, rowvar=False))
    return LinearHead(
        features=head.features,
        coef=tuple(fit.coef.tolist()),
        intercept=fit.intercept,
        covariance=tuple(tuple(row[: n + 1]) for n, row in enumerate(covariance.tolist())),
    )


def _text(base: CalibratorDocument, hits: JudgedHits, evidence: Evidence, data_sha256: str) -> str:
    sample = hits.sample
    scores, sizes = hits.columns["score"], hits.corpus_sizes
    ranges = base.trained_range
    content: dict[str, Any] = base.model_dump(mode="json", by_alias=True, exclude_none=True)
    content |= {
        "trained_range": {
            "score": [min(ranges.score[0], scores.min()), max(ranges.score[1], scores.max())],
            "corpus": [min(ranges.corpus[0], *sizes), max(ranges.corpus[1], *sizes)],
        },
        "fit": {
            "hits": len(scores),
            "queries": hits.queries,
            "relevant": int(sample.relevant.sum()),
            "languages": sorted(hits.languages | set(base.fit.languages)),
            "corpus_sizes": sorted(sizes),
            "data_sha256": data_sha256,
            "nll": [c.nll.value for c in reversed(evidence.compared)],
            "source": "judgements",
            "towards": base.id,
        },
        "metrics": {},
        "thresholds": {},  # what they promised, they promised for another calibrator
        "interval": {
            "level": LEVEL,
            "method": "cluster-bootstrap",
            "clusters": "query",
            "draws": 200,
        },
        "evidence": evidence.model_dump(mode="json", exclude_none=True),
    }
    everything = np.ones_like(hits.known)
    heads = {
        "hit": (base.hit, hits.known),
        "pooled": (base.pooled, everything),
        "first_hit": (base.first_hit, hits.first),
    }
    return _lawful(base, content, {n: _moved(h, hits, rows) for n, (h, rows) in heads.items()})


def _lawful(
    base: CalibratorDocument, content: dict[str, Any], heads: Mapping[str, LinearHead]
) -> str:
    """Return the document, moved as far towards the new heads as the laws allow.

    The laws hold for the calibrator to begin with, and for every mean of two that obey them.
    """
    for share in (1.0, 0.75, 0.5, 0.25, 0.1, 0.05):
        with suppress(CalibrationError):
            return _dump(base, content, heads, share)
    return _dump(base, content, heads, 0.0)


def _dump(
    base: CalibratorDocument, content: dict[str, Any], heads: Mapping[str, LinearHead], share: float
) -> str:
    moved = {
        name: _between(getattr(base, name), head, share).model_dump(mode="json")
        for name, head in heads.items()
    }
    return dump_calibrator({**content, **moved})


def _between(old: LinearHead, new: LinearHead, share: float) -> LinearHead:
    coef = tuple(share * n + (1.0 - share) * o for n, o in zip(new.coef, old.coef, strict=True))
    intercept = share * new.intercept + (1.0 - share) * old.intercept
    return new.model_copy(update={"coef": coef, "intercept": intercept})


def _reliability(p: FloatArray, hits: JudgedHits) -> dict[str, Any]:
    sample = hits.sample
    slices = {
        "all": np.ones_like(hits.known),
        "same": hits.same & hits.known,
        "cross": ~hits.same & hits.known,
        "rank 1": hits.first,
    }
    return {
        name: reliability(
            p[rows], Sample(sample.relevant[rows], sample.weights[rows], sample.query[rows])
        )
        for name, rows in slices.items()
        if rows.any()
    }


def _compared(name: str, found: Mapping[str, Estimate]) -> Comparison:
    return Comparison(name=name, **{k: v for k, v in found.items() if k != "auroc"})
