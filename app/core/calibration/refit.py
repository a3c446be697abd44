"""A calibrator of one's own: the heads of another one, moved by judged hits of one's own corpus.

``refit_heads.py`` moves them, ``refit_document.py`` writes the result down. What it is worth is
measured on queries that the fit has not seen: folds are predicted by fits without them, ridge
included.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

import numpy as np

from app.core.calibration.assess import Sample, assess, auroc, losses, reliability
from app.core.calibration.document import CalibratorDocument
from app.core.calibration.evidence import Comparison, Estimate, Evidence
from app.core.calibration.judged import JudgedHits
from app.core.calibration.refit_document import refit_text
from app.core.calibration.refit_heads import cross_fitted
from app.core.calibration.refit_thresholds import choose_thresholds
from app.core.errors import CalibrationError
from app.core.types import FloatArray

LEAST_QUERIES = 10
_SEPARATION_LEVEL = 0.98
"""Of the interval of AUROC whose lower end must lie above one half."""

Verdict = Literal["better", "no better", "not separable"]


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
        thresholds: What became of the thresholds, in words.
        text: JSON of the new calibrator; ``None`` where not separable.
    """

    verdict: Verdict
    reason: str
    gain: Estimate
    before: Mapping[str, Estimate]
    after: Mapping[str, Estimate]
    thresholds: str
    text: str | None


def refit(
    base: CalibratorDocument,
    hits: JudgedHits,
    *,
    data: str,
    data_sha256: str,
    fitted: date | None = None,
) -> Refit:
    """Fit a calibrator on judged hits, shrunk towards another.

    Args:
        base: The calibrator to begin with.
        hits: What it is moved by.
        data: Which judgements those are, as a person should read it.
        data_sha256: Their hash.
        fitted: Day of the fit, as the document is to say it.

    Raises:
        CalibrationError: There are too few queries, or hits of one class only.
    """
    _check(hits)
    cross = cross_fitted(base, hits)
    predicted = cross.hit
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
        return Refit("not separable", reason, gain, before, after, "", None)
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
    thresholds, said = choose_thresholds(base, hits, cross, data)
    text = refit_text(
        base,
        hits,
        evidence=evidence,
        thresholds=thresholds,
        data_sha256=data_sha256,
        fitted=fitted,
    )
    return Refit(verdict, reason.strip(), gain, before, after, said, text)


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
