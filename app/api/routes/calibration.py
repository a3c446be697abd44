"""What the stated probabilities rest on: GET /v1/calibration, and the document itself."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import Field, JsonValue

from app.api.errors import api_error
from app.api.examples.model import CALIBRATION_DOCUMENTS, CALIBRATIONS
from app.api.problem import answered, documented
from app.api.readiness import Services, ServicesDep
from app.api.wire import ResponseModel
from app.core.calibration.calibrator import Calibrator

router = APIRouter()

Retrieval = Annotated[
    Literal["dense", "hybrid"],
    Query(
        description="Whose probabilities: those of what is found by vector, or by vector and by "
        "words together. Each has a calibrator of its own."
    ),
]


class HeadDescription(ResponseModel):
    """One part of the calibrator: a logit that is linear in its features."""

    features: list[str]
    coef: list[float] = Field(description="One weight a feature.")
    intercept: float
    standard_errors: list[float] | None = Field(
        description="Of the weights and the intercept, the intercept last; null where not known."
    )


class FitDescription(ResponseModel):
    """What the calibrator was fitted on."""

    source: str = Field(description="`bundle`, `judgements` or `feedback`.")
    towards: str | None = Field(description="Calibrator that it was shrunk towards.")
    fitted: date | None = Field(
        description="Day of the fit in UTC; null where the document does not say."
    )
    hits: int
    queries: int
    relevant: int
    languages: list[str]
    corpus_sizes: list[int]
    data_sha256: str
    nll: tuple[float, float] = Field(description="Mean log loss before and after the fit.")


class CalibrationOut(ResponseModel):
    """A calibrator. All members but the first two are null where there is none."""

    retrieval: Literal["dense", "hybrid"] = Field(description="As it was asked for.")
    calibrator: str | None = Field(description="Its id; null where the bundle has none.")
    kind: str | None = Field(examples=["logit-linear"])
    encoder: str | None = Field(description="Fingerprint of the encoder that it was fitted for.")
    heads: dict[str, HeadDescription] | None = Field(
        description="`hit`, `pooled` (a language is not known) and `first_hit`."
    )
    score_pieces: dict[str, JsonValue] | None = Field(
        description="What the heads read the score through: `knots`, and the slope of every piece, "
        "before the first knot, between knots and behind the last; null where that is the score."
    )
    score_range: tuple[float, float] | None = Field(description="Scores that the fit has seen.")
    corpus_range: tuple[float, float] | None = Field(
        description="Corpus sizes that the fit has seen."
    )
    fit: FitDescription | None
    interval: dict[str, JsonValue] | None = Field(
        description="What `probability_interval` is; null where the calibrator does not say."
    )
    language_offsets: dict[str, JsonValue] | None = Field(
        description="What single languages add to the logit."
    )
    thresholds: dict[str, JsonValue] | None = Field(
        description="Thresholds with a guarantee: `answer` and `hits`, null where there is none."
    )
    metrics: dict[str, JsonValue] | None = Field(description="What the fit reported, held out.")
    evidence: dict[str, JsonValue] | None = Field(
        description="Measured on held-out queries: reliability bins by slice (`all`, `same`, "
        "`cross`, `rank 1`), the same before, language pairs, corpus growth, other calibrators. "
        "Null where the document does not carry it."
    )


@router.get(
    "/v1/calibration",
    operation_id="getCalibration",
    summary="The calibrator",
    tags=["model"],
    responses={**answered(CALIBRATIONS), **documented(409, 422, 500, 503)},
)
async def calibration(services: ServicesDep, retrieval: Retrieval = "dense") -> CalibrationOut:
    """Say what the probabilities rest on: parameters, fit, and what was measured on held-out data.

    Probabilities are promises; this is the evidence for them.
    """
    calibrator = _calibrator(services, retrieval)
    if calibrator is None:
        nothing = dict.fromkeys(CalibrationOut.model_fields)
        return CalibrationOut.model_validate({**nothing, "retrieval": retrieval})
    document = calibrator.document
    raw = document.model_dump(mode="json", by_alias=True)
    heads = {"hit": document.hit, "pooled": document.pooled, "first_hit": document.first_hit}
    described = {
        name: {
            "features": head.features,
            "coef": head.coef,
            "intercept": head.intercept,
            "standard_errors": None if head.covariance is None else head.standard_errors(),
        }
        for name, head in heads.items()
    }
    return CalibrationOut.model_validate(
        {
            "retrieval": retrieval,
            "calibrator": calibrator.id,
            "kind": document.kind,
            "encoder": document.encoder.fingerprint,
            "heads": described,
            "score_range": document.trained_range.score,
            "corpus_range": document.trained_range.corpus,
            **{
                name: raw[name]
                for name in (
                    "fit",
                    "score_pieces",
                    "interval",
                    "language_offsets",
                    "thresholds",
                    "metrics",
                    "evidence",
                )
            },
        }
    )


@router.get(
    "/v1/calibration/document",
    operation_id="getCalibratorDocument",
    summary="The calibrator as it was written",
    tags=["model"],
    responses={**answered(CALIBRATION_DOCUMENTS), **documented(404, 409, 422, 500, 503)},
)
async def calibrator_document(
    services: ServicesDep, retrieval: Retrieval = "dense"
) -> dict[str, JsonValue]:
    """Return the document of the calibrator that judges now, to the last digit.

    Its `id` is the hash of the rest, so that whoever keeps it can tell that it is whole. The same
    content as the file `calibrator.json` of a bundle, or `calibrator.hybrid.json`.
    """
    calibrator = _calibrator(services, retrieval)
    if calibrator is None:
        raise api_error(
            "not_found",
            f"The bundle has no calibrator of {retrieval} retrieval; hits have no probability.",
        )
    return calibrator.document.written


def _calibrator(services: Services, retrieval: str) -> Calibrator | None:
    return services.bundle.hybrid if retrieval == "hybrid" else services.bundle.calibrator
