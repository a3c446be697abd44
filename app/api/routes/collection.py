"""The collection: what it holds, what it was indexed with, and what can be asked of it."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Path
from pydantic import Field

from app.api.errors import api_error
from app.api.examples import passage as passage_examples
from app.api.problem import answered, documented
from app.api.readiness import Services, ServicesDep
from app.api.wire import ResponseModel
from app.core.languages.codes import primary_language
from app.core.passages.fields import BUILT_IN_FIELDS, public_fields
from app.core.types import UNDETERMINED, FieldKind

router = APIRouter(tags=["passages"])

Coverage = Literal["labels", "fallback", "pooled", "none"]


class CollectionLanguage(ResponseModel):
    """One language of a collection."""

    code: str = Field(description="BCP-47 tag, `und` where it is not known.")
    passages: int
    share: float = Field(description="Share of all passages, 0 to 1.")
    calibration: Coverage = Field(
        description="`labels`: the calibrator was fitted on labels in this language. `fallback`: "
        "it was not, and probabilities come from the other languages. `pooled`: the language is "
        "not known. `none`: the bundle has no calibrator."
    )


class CollectionOut(ResponseModel):
    """What is stored, and how it is searched."""

    name: str
    passages: int
    indexed_passages: int = Field(
        description="Number covered by the approximate index; 0 means that search is exact."
    )
    words_indexed: bool = Field(
        description="Whether searches may ask for `retrieval` `hybrid`; see `ISOGLOT_HYBRID`."
    )
    engine: str = Field(description="Name and version of the storage engine.")
    encoder: str = Field(description="Fingerprint of the encoder that it was indexed with.")
    calibrator: str | None = Field(description="Id of the calibrator; null where there is none.")
    hybrid_calibrator: str | None = Field(
        description="Id of that of hybrid retrieval; null where there is none: then hits of hybrid "
        "searches have no probability."
    )
    languages: list[CollectionLanguage] = Field(description="Most frequent first.")
    labelled_share: float | None = Field(
        description="Share of passages in languages with labels; null without a calibrator, and "
        "in an empty collection."
    )
    fields: dict[str, FieldKind] = Field(
        description="What filters may read: fields of every passage, and members of the metadata "
        "that the deployment declares.",
        examples=[{"language": "keyword", "price": "float"}],
    )


@router.get(
    "/v1/collections/{name}",
    operation_id="getCollection",
    summary="Look at the collection",
    responses={
        **answered(passage_examples.COLLECTION_ANSWERS),
        **documented(404, 409, 500, 503),
    },
)
async def get_collection(
    name: Annotated[
        str,
        Path(
            description="Name of the collection that this deployment serves.",
            openapi_examples=passage_examples.COLLECTION_NAMES,
        ),
    ],
    services: ServicesDep,
) -> CollectionOut:
    """Describe the collection of this deployment: languages, encoder, fields, coverage."""
    if name != services.collection:
        raise api_error(
            "not_found",
            f"There is no collection {name!r}; this deployment serves {services.collection!r}.",
        )
    health = await services.store.health()
    languages = await _languages(services)
    calibrator, hybrid = services.bundle.calibrator, services.bundle.hybrid
    labelled = [language.share for language in languages if language.calibration == "labels"]
    return CollectionOut(
        name=name,
        passages=health.passages,
        indexed_passages=health.indexed_passages,
        words_indexed=services.store.words,
        engine=health.engine,
        encoder=services.bundle.spec.fingerprint(),
        calibrator=calibrator.id if calibrator else None,
        hybrid_calibrator=hybrid.id if hybrid else None,
        languages=languages,
        labelled_share=round(sum(labelled), 6) if calibrator and languages else None,
        fields=public_fields({**BUILT_IN_FIELDS, **services.store.fields}),
    )


async def _languages(services: Services) -> list[CollectionLanguage]:
    counts = await services.store.languages()
    total = sum(counts.values())
    return [
        CollectionLanguage(
            code=code,
            passages=passages,
            share=round(passages / total, 6),
            calibration=_coverage(services, code),
        )
        for code, passages in counts.items()
    ]


def _coverage(services: Services, code: str) -> Coverage:
    calibrator = services.bundle.calibrator
    if calibrator is None:
        return "none"
    if code == UNDETERMINED:
        return "pooled"
    labelled = primary_language(code) in calibrator.document.fit.languages
    return "labels" if labelled else "fallback"
