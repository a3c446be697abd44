"""Known queries: asked when a backup is made, and again when it is restored."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from importlib.metadata import version

from app.adapters.backups.manifest import BackupManifest, Check, KnownHit
from app.bootstrap import Runtime, open_as_served
from app.core.ports import PassageStore
from app.core.search.types import SearchRequest
from app.core.types import PassageFilter
from app.settings import Settings

HITS = 10
TOLERANCE = 1e-5
"""How far a score or probability may be from what it was: the last digits of float32."""

_QUERY_CHARACTERS = 200


async def facts_of(settings: Settings, queries: int) -> BackupManifest:
    """Open a deployment as a service would, ask its known queries, and say what it is.

    Args:
        settings: Name the deployment.
        queries: How many queries to take from its passages; more where there are more languages.

    Raises:
        IsoglotError: It cannot be opened.
    """
    async with open_as_served(settings) as runtime:
        served = None if runtime.place is None else await runtime.place.shelf.served()
        texts = await _texts(runtime.store, queries)
        return BackupManifest(
            isoglot=version("isoglot"),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            collection=runtime.collection,
            encoder=runtime.bundle.spec.fingerprint(),
            bundle=runtime.bundle.manifest.id,
            bundle_name=runtime.bundle.manifest.name,
            switched_to="" if served is None else served.bundle,
            calibrator=_calibrator(runtime),
            passages=await runtime.store.count(),
            checks=tuple([await _ask(runtime, text) for text in texts]),
        )


async def differences(settings: Settings, manifest: BackupManifest) -> list[str]:
    """Return a line for everything that a deployment does otherwise than its backup says.

    Raises:
        IsoglotError: It cannot be opened.
    """
    async with open_as_served(settings) as runtime:
        count, calibrator = await runtime.store.count(), _calibrator(runtime)
        answers = [(check, await _ask(runtime, check.query)) for check in manifest.checks]
    lines = []
    if count != manifest.passages:
        lines.append(f"There are {count} passages, and there were {manifest.passages}.")
    if calibrator != manifest.calibrator:
        lines.append(f"Calibrator {calibrator} judges, and {manifest.calibrator} did.")
    return lines + [
        f"Answered otherwise: {check.query!r}: {where}."
        for check, now in answers
        if (where := _difference(check, now)) is not None
    ]


async def _texts(store: PassageStore, queries: int) -> list[str]:
    """Return the beginnings of passages, in turn one of every language, the most frequent first."""
    if not queries:
        return []
    languages = list(await store.languages())
    share = max(1, math.ceil(queries / max(1, len(languages))))
    found = [
        await store.scan(limit=share, where=PassageFilter(languages=frozenset({language})))
        for language in languages
    ]
    in_turn = [
        passages[turn].text[:_QUERY_CHARACTERS]
        for turn in range(share)
        for passages in found
        if turn < len(passages)
    ]
    return in_turn[: max(queries, len(languages))]


async def _ask(runtime: Runtime, query: str) -> Check:
    found = await runtime.search.search(SearchRequest(query, limit=HITS))
    return Check(
        query=query,
        hits=tuple(
            KnownHit(id=hit.passage.id, score=hit.score, probability=hit.probability)
            for hit in found.hits
        ),
    )


def _calibrator(runtime: Runtime) -> str | None:
    calibrator = runtime.bundle.calibrator
    return None if calibrator is None else calibrator.id


def _difference(before: Check, after: Check) -> str | None:
    if len(before.hits) != len(after.hits):
        return f"{len(after.hits)} hits instead of {len(before.hits)}"
    for rank, (one, other) in enumerate(zip(before.hits, after.hits, strict=True), start=1):
        if not _is_same(one, other):
            return f"hit {rank} is {_said(other)} instead of {_said(one)}"
    return None


def _is_same(one: KnownHit, other: KnownHit) -> bool:
    return (
        one.id == other.id
        and math.isclose(one.score, other.score, abs_tol=TOLERANCE)
        and (one.probability is None) == (other.probability is None)
        and math.isclose(one.probability or 0, other.probability or 0, abs_tol=TOLERANCE)
    )


def _said(hit: KnownHit) -> str:
    return f"{hit.id!r} (score {hit.score:.6f}, probability {hit.probability})"
