"""The document of a calibrator that judged hits have moved."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import date
from typing import Any

import numpy as np

from app.core.calibration.document import CalibratorDocument, dump_calibrator
from app.core.calibration.evidence import Evidence
from app.core.calibration.judged import JudgedHits
from app.core.calibration.parts import LinearHead, Thresholds
from app.core.calibration.refit_heads import moved_head
from app.core.errors import CalibrationError

LEVEL = 0.9


def refit_text(  # noqa: PLR0913 - every fact that the document states
    base: CalibratorDocument,
    hits: JudgedHits,
    *,
    evidence: Evidence,
    thresholds: Thresholds,
    data_sha256: str,
    fitted: date | None = None,
) -> str:
    """Return the JSON text of a calibrator that judged hits have moved.

    Args:
        base: The one to begin with.
        hits: What moves it.
        evidence: What was measured on queries not fitted on.
        thresholds: Those that were chosen for the new one.
        data_sha256: Of the judgements.
        fitted: Day of the fit; ``None`` where nothing is to be said of it.
    """
    sample = hits.sample
    scores, sizes = hits.scores, hits.corpus_sizes
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
            **({} if fitted is None else {"fitted": fitted.isoformat()}),
        },
        "metrics": {},
        "thresholds": thresholds.model_dump(mode="json", exclude_none=True),
        "interval": {
            "level": LEVEL,
            "method": "cluster-bootstrap",
            "clusters": "query",
            "draws": 200,
        },
        "evidence": evidence.written(),
    }
    everything = np.ones_like(hits.known)
    heads = {
        "hit": (base.hit, hits.known),
        "pooled": (base.pooled, everything),
        "first_hit": (base.first_hit, hits.first),
    }
    return _lawful(base, content, {n: moved_head(h, hits, rows) for n, (h, rows) in heads.items()})


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
