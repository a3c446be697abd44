"""What operators and tools ask: health, metrics, the bundle, and what a problem means."""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

import structlog
from fastapi import APIRouter, Path, Response
from pydantic import BaseModel, Field

from app.api.convert import model
from app.api.errors import api_error
from app.api.examples import model as model_examples
from app.api.problem import answered, documented
from app.api.problem_kinds import KINDS
from app.api.readiness import ApiState, Services, ServicesDep, StateDep
from app.api.schemas.common import ModelOut
from app.core.errors import StoreError
from app.telemetry.instruments import METRICS_CONTENT_TYPE

router = APIRouter()

_STORE_PATIENCE = 1.0
_log = structlog.stdlib.get_logger(__name__)


class LiveOut(BaseModel):
    """The process runs."""

    status: Literal["live"]


class ReadyOut(BaseModel):
    """The service answers."""

    status: Literal["ready"]
    model: ModelOut
    engine: str = Field(description="Name and version of the storage engine.")
    passages: int = Field(description="Number of stored passages.")
    indexed_passages: int = Field(
        description="Number covered by the approximate index; 0 means that search is exact."
    )


class EncoderOut(BaseModel):
    """The encoder of a bundle."""

    name: str
    base_model: str = Field(description="What it was trained from.")
    fingerprint: str = Field(description="Changes with anything that changes a score.")
    dim: int = Field(description="Number of dimensions of a vector.")
    max_length: int = Field(description="Number of tokens that are read of a text.")
    pooling: str
    dtype: str
    arithmetic: list[str] = Field(description="Arithmetic it can be computed in.")
    engine: str = Field(description="What computes it here.")


class CalibratorOut(BaseModel):
    """The calibrator of a bundle, and what it was fitted on."""

    id: str
    kind: str
    hits: int = Field(description="Judged hits in the fit.")
    queries: int = Field(description="Queries in the fit.")
    relevant: int = Field(description="Relevant ones among the hits.")
    languages: list[str] = Field(description="Languages with labels.")
    corpus_sizes: list[int] = Field(description="Corpus sizes in the fit, in passages.")
    score_range: tuple[float, float] = Field(
        description="Lowest and highest score in the fit; outside, hits are `extrapolated`."
    )
    corpus_range: tuple[float, float] = Field(description="Smallest and largest corpus size.")
    nll_before: float = Field(
        description="Mean negative log-likelihood of the judged hits under the base rate."
    )
    nll_after: float = Field(description="The same under the calibrator.")


class BundleOut(BaseModel):
    """The loaded bundle."""

    id: str = Field(description="sha256 over the bundle's files.")
    name: str
    languages: list[str] = Field(description="Languages the encoder was trained for.")
    encoder: EncoderOut
    calibrator: CalibratorOut | None = Field(description="Null where the bundle has none.")


class ProblemKindOut(BaseModel):
    """A kind of problem."""

    code: str
    status: int
    title: str
    explanation: str


@router.get(
    "/health/live",
    operation_id="checkLiveness",
    summary="Alive?",
    tags=["operations"],
    responses=answered(model_examples.LIVE_ANSWERS),
)
async def live() -> LiveOut:
    """Answer as soon as the process listens, whatever else it is doing."""
    return LiveOut(status="live")


@router.get(
    "/health/ready",
    operation_id="checkReadiness",
    summary="Ready?",
    tags=["operations"],
    responses={**answered(model_examples.READY_ANSWERS), **documented(500, 503)},
)
async def ready(state: StateDep) -> ReadyOut:
    """Answer 200 while searches are answered, else 503, saying why.

    So it is while the service starts, without its store, while the encoder hangs, and where more
    has been waiting for it for some seconds than it can answer.
    """
    state.readiness.report()
    if (obstacle := state.readiness.obstacle) is not None:
        raise api_error("not_ready", obstacle)
    with state.readiness.lease() as services:
        health = await services.store.health()
        return ReadyOut(
            status="ready",
            model=model(services, services.bundle.calibrator),
            engine=health.engine,
            passages=health.passages,
            indexed_passages=health.indexed_passages,
        )


@router.get(
    "/metrics",
    operation_id="getMetrics",
    summary="Prometheus metrics",
    tags=["operations"],
    response_class=Response,
    responses={
        200: {
            "content": {
                "text/plain": {
                    "schema": {"type": "string"},
                    "examples": model_examples.METRICS_ANSWERS,
                }
            }
        }
    },
)
async def metrics(state: StateDep) -> Response:
    """Return all metrics in the text format of Prometheus."""
    state.readiness.report()
    await _measure_store(state)
    # Writing some thousand lines takes a while, in which others want answers.
    written = await asyncio.to_thread(state.metrics.exposition)
    return Response(written, headers={"Content-Type": METRICS_CONTENT_TYPE})


@router.get(
    "/v1/bundle",
    operation_id="getBundle",
    summary="What is loaded",
    tags=["model"],
    responses={**answered(model_examples.BUNDLE_ANSWERS), **documented(409, 500, 503)},
)
async def bundle(services: ServicesDep) -> BundleOut:
    """Describe the loaded bundle: its encoder, and what its calibrator was fitted on."""
    manifest, spec = services.bundle.manifest, services.bundle.spec
    return BundleOut(
        id=manifest.id,
        name=manifest.name,
        languages=list(spec.languages),
        encoder=EncoderOut(
            name=spec.name,
            base_model=spec.base_model,
            fingerprint=spec.fingerprint(),
            dim=spec.dim,
            max_length=spec.max_length,
            pooling=spec.pooling,
            dtype=spec.dtype,
            arithmetic=sorted(manifest.onnx),
            engine=services.encoder.facts.engine,
        ),
        calibrator=_calibrator(services),
    )


@router.get(
    "/problems/{code}",
    operation_id="explainProblem",
    summary="What a problem means",
    tags=["operations"],
    responses={**answered(model_examples.PROBLEM_ANSWERS), **documented(404)},
)
async def explain_problem(
    code: Annotated[
        str,
        Path(
            description="`code` of a problem body.", openapi_examples=model_examples.PROBLEM_CODES
        ),
    ],
) -> ProblemKindOut:
    """Explain a kind of problem; the `type` of every problem body points here."""
    kind = KINDS.get(code)
    if kind is None:
        raise api_error("not_found", f"There is no kind of problem called {code!r}.")
    return ProblemKindOut(
        code=code, status=kind.status, title=kind.title, explanation=kind.explanation
    )


async def _measure_store(state: ApiState) -> None:
    """Ask the store how much it holds, which it reports; without an answer the last one stays."""
    if not state.readiness.is_ready:
        return
    try:
        with state.readiness.lease() as services:
            async with asyncio.timeout(_STORE_PATIENCE):
                await services.store.health()
    except (StoreError, TimeoutError) as error:
        _log.warning("store_not_measured", reason=str(error) or "it did not answer in time")


def _calibrator(services: Services) -> CalibratorOut | None:
    calibrator = services.bundle.calibrator
    if calibrator is None:
        return None
    document = calibrator.document
    fit = document.fit
    return CalibratorOut(
        id=document.id,
        kind=document.kind,
        hits=fit.hits,
        queries=fit.queries,
        relevant=fit.relevant,
        languages=list(fit.languages),
        corpus_sizes=list(fit.corpus_sizes),
        score_range=document.trained_range.score,
        corpus_range=document.trained_range.corpus,
        nll_before=fit.nll[0],
        nll_after=fit.nll[1],
    )
