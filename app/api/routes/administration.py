"""What an operator asks a running service to do: serve another bundle, embed passages anew."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Body, Depends
from pydantic import Field

from app.api.errors import api_error
from app.api.examples import administration as examples
from app.api.problem import answered, documented
from app.api.readiness import Administration, StateDep
from app.api.strict_json import JsonRoute
from app.api.wire import RequestModel, ResponseModel
from app.core.reindexing.progress import Phase, Reindexing, State

router = APIRouter(route_class=JsonRoute, tags=["operations"])


class BundlePlace(RequestModel):
    """Where a bundle is."""

    directory: str = Field(
        min_length=1,
        max_length=4096,
        description="Directory of the bundle, on the machine of the service.",
    )


class LoadedOut(ResponseModel):
    """Which bundle is served."""

    bundle: str = Field(description="Name and short id.")
    calibrator: str | None = Field(description="Id of its calibrator; null where it has none.")


class ReindexingOut(ResponseModel):
    """How far a reindexing is."""

    state: State
    phase: Phase = Field(description="What is going on, or was going on when it ended.")
    bundle: str = Field(description="The bundle whose encoder embeds the passages.")
    collection: str = Field(description="Where they go.")
    passages: int = Field(description="Stored passages when it began.")
    compared: int = Field(description="Of these, how many have been compared with the target.")
    embedded: int = Field(description="How many were embedded; the others were there already.")
    removed: int = Field(description="How many the target had and the collection has no more.")
    error: str | None = Field(description="Why it failed; null where it did not.")


async def _administration(state: StateDep) -> Administration:
    if state.administration is None:
        raise api_error("not_ready", state.readiness.reason)
    return state.administration


AdministrationDep = Annotated[Administration, Depends(_administration)]


@router.post(
    "/v1/bundle:load",
    operation_id="loadBundle",
    summary="Serve another bundle",
    responses={
        **answered(examples.LOADED_ANSWERS),
        **documented(400, 409, 413, 415, 422, 500, 503),
    },
)
async def load_bundle(
    body: Annotated[BundlePlace, Body(openapi_examples=examples.PLACES)],
    administration: AdministrationDep,
) -> LoadedOut:
    """Serve another bundle that has the same encoder, without a request being lost.

    Requests that have begun are answered with the bundle from before. A bundle with another
    encoder needs the passages embedded anew: see `POST /v1/reindex`. The next start of the
    service loads what its settings name.
    """
    bundle = await administration.load(Path(body.directory))
    calibrator = bundle.calibrator
    return LoadedOut(
        bundle=bundle.manifest.short_id, calibrator=calibrator.id if calibrator else None
    )


@router.post(
    "/v1/reindex",
    operation_id="startReindexing",
    summary="Embed all passages anew",
    responses={
        **answered(examples.REINDEXING_ANSWERS),
        **documented(400, 409, 413, 415, 422, 500, 503),
    },
)
async def start_reindexing(
    body: Annotated[BundlePlace, Body(openapi_examples=examples.PLACES)],
    administration: AdministrationDep,
) -> ReindexingOut:
    """Embed the stored texts with another bundle's encoder into a new collection, then serve it.

    Searches and writes go on all along: writes that come meanwhile are carried over before the
    switch, and encoder, calibrator and collection are switched together. The collection from
    before stays: reindexing back to its bundle embeds only what has changed since.
    """
    return _shown(await administration.start_reindexing(Path(body.directory)))


@router.get(
    "/v1/reindex",
    operation_id="getReindexing",
    summary="How far is it?",
    responses={**answered(examples.REINDEXING_ANSWERS), **documented(404, 409, 500, 503)},
)
async def get_reindexing(administration: AdministrationDep) -> ReindexingOut:
    """Tell how far the last reindexing is that was begun since the service started."""
    return _shown(_last(administration))


@router.delete(
    "/v1/reindex",
    operation_id="cancelReindexing",
    summary="Stop reindexing",
    responses={**answered(examples.REINDEXING_ANSWERS), **documented(404, 409, 500, 503)},
)
async def cancel_reindexing(administration: AdministrationDep) -> ReindexingOut:
    """Stop a reindexing, if it goes on, and tell how it ended; the next one goes on from there."""
    job = _last(administration)
    await administration.cancel_reindexing()
    return _shown(job)


def _last(administration: Administration) -> Reindexing:
    job = administration.reindexing
    if job is None:
        raise api_error("not_found", "No reindexing was begun since the service started.")
    return job


def _shown(job: Reindexing) -> ReindexingOut:
    progress = job.progress
    return ReindexingOut(
        state=job.state,
        phase=progress.phase,
        bundle=job.bundle,
        collection=job.collection,
        passages=progress.passages,
        compared=progress.compared,
        embedded=progress.embedded,
        removed=progress.removed,
        error=job.error,
    )
