"""Endpoints that other services made common, so that their clients work: OpenAI, Cohere, Jina."""

from __future__ import annotations

import asyncio
import base64
from typing import Annotated, Any

from fastapi import APIRouter, Body, Request

from app.api.examples import model as model_examples
from app.api.problem import answered, documented
from app.api.readiness import ServicesDep
from app.api.schemas.compatibility import (
    DocumentIn,
    DocumentOut,
    EmbeddingOut,
    EmbeddingsBody,
    EmbeddingsOut,
    EmbeddingUsage,
    RerankBody,
    RerankOut,
    RerankResult,
    RerankUsage,
)
from app.api.strict_json import JsonRoute
from app.core.errors import InvalidInputError
from app.core.types import VectorArray

router = APIRouter(route_class=JsonRoute, tags=["compatibility"])

_ERRORS = documented(400, 409, 413, 415, 422, 500, 503)

EMBEDDING_REQUESTS: dict[str, Any] = {
    "one text": {
        "summary": "A text",
        "value": {"input": "how to find the hole in an inner tube", "model": "starter"},
    },
    "queries in base64": {
        "summary": "Two queries, vectors in base64",
        "value": {
            "input": ["the hole", "das Loch"],
            "encoding_format": "base64",
            "input_type": "query",
        },
    },
}
RERANK_REQUESTS: dict[str, Any] = {
    "texts": {
        "summary": "The better of two texts",
        "value": {
            "query": "Where is the hole?",
            "documents": ["Hold the inner tube under water.", "Bread needs a starter."],
            "top_n": 1,
        },
    },
    "objects": {
        "summary": "Documents as objects, returned too",
        "value": {
            "query": "Wo ist das Loch?",
            "documents": [{"text": "Hold the inner tube under water."}],
            "return_documents": True,
        },
    },
}


@router.post(
    "/v1/embeddings",
    operation_id="createEmbeddings",
    summary="Embed texts (as OpenAI)",
    responses={**answered(model_examples.EMBEDDING_ANSWERS), **_ERRORS},
)
async def create_embeddings(
    body: Annotated[EmbeddingsBody, Body(openapi_examples=EMBEDDING_REQUESTS)],
    services: ServicesDep,
) -> EmbeddingsOut:
    """Return the encoder's vectors, in the form of OpenAI's `/v1/embeddings`."""
    dim = services.bundle.spec.dim
    if body.dimensions not in (None, dim):
        raise InvalidInputError(
            f"The encoder has {dim} dimensions and was not trained to be cut to "
            f"{body.dimensions}; leave `dimensions` out.",
            pointer="/dimensions",
        )
    texts = [body.input] if isinstance(body.input, str) else body.input
    found = await services.embeddings.embed(texts, role=body.input_type, pointer="/input")
    vectors = await asyncio.to_thread(_written, found.vectors, body.encoding_format)
    return EmbeddingsOut(
        object="list",
        data=[
            EmbeddingOut(object="embedding", index=index, embedding=vector)
            for index, vector in enumerate(vectors)
        ],
        model=services.bundle.manifest.short_id,
        usage=EmbeddingUsage(prompt_tokens=found.tokens, total_tokens=found.tokens),
    )


@router.post(
    "/v1/rerank",
    operation_id="rerankDocuments",
    summary="Rank given documents (as Cohere and Jina)",
    responses={**answered(model_examples.RERANK_ANSWERS), **_ERRORS},
)
async def rerank_documents(
    body: Annotated[RerankBody, Body(openapi_examples=RERANK_REQUESTS)],
    request: Request,
    services: ServicesDep,
) -> RerankOut:
    """Rank documents by the probability that they answer the query; 422 without calibrator.

    The calibrator sees the given documents as the whole corpus. It was fitted on the best hits
    of collections: for a handful of documents its probabilities are extrapolated, and say so.
    """
    texts = [d.text if isinstance(d, DocumentIn) else d for d in body.documents]
    found = await services.rerank.rerank(body.query, texts, query_language=body.language)
    return RerankOut(
        id=request.state.request_id,
        model=services.bundle.manifest.short_id,
        results=[
            RerankResult(
                index=ranked.index,
                relevance_score=ranked.probability,
                document=DocumentOut(text=texts[ranked.index]) if body.return_documents else None,
                score=ranked.score,
                probability_source=ranked.probability_source,
                extrapolated=ranked.extrapolated,
                language=ranked.language,
            )
            for ranked in found.documents[: body.top_n]
        ],
        usage=RerankUsage(total_tokens=found.tokens),
    )


def _written(vectors: VectorArray, encoding_format: str) -> list[str] | list[list[float]]:
    if encoding_format == "base64":
        return [base64.b64encode(row.astype("<f4").tobytes()).decode() for row in vectors]
    rows: list[list[float]] = vectors.tolist()
    return rows
