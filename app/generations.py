"""How another bundle takes the place of the one that answers, without a request noticing.

A generation is a ``Runtime``: bundle, encoder, calibrator and collection that belong together. A
request takes one and keeps it to its end, so no answer mixes two. The one before is closed once
the last request that took it is done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import structlog

from app.api.readiness import Readiness
from app.bootstrap import Collection, Runtime, observed, open_replacement, spec_of
from app.core.bundle import Bundle, load_bundle
from app.core.calibration.calibrator import Calibrator
from app.core.errors import EncoderMismatchError, IsoglotError, ReindexingError
from app.core.reindexing.copying import Reindexer
from app.core.reindexing.journal import JournaledStore
from app.core.reindexing.progress import Reindexing
from app.core.types import Served
from app.telemetry.metrics import Metrics

_log = structlog.stdlib.get_logger(__name__)


class Generations:
    """Holds the runtime that answers; made once the first one is open.

    Args:
        runtime: The first one; whoever opened it closes it.
        readiness: Where requests take their services from.
        metrics: What is told which bundle is served.
    """

    def __init__(self, runtime: Runtime, readiness: Readiness, metrics: Metrics) -> None:
        self._runtime = runtime
        self._readiness = readiness
        self._metrics = metrics
        self._changing = asyncio.Lock()
        self._retiring: set[asyncio.Task[None]] = set()
        self._draining: list[asyncio.Event] = []
        self._job: asyncio.Task[None] | None = None
        self._reindexing: Reindexing | None = None
        readiness.succeed(runtime)

    @property
    def reindexing(self) -> Reindexing | None:
        """The last reindexing that was begun here; ``None`` where none was."""
        return self._reindexing

    @property
    def runtime(self) -> Runtime:
        """The generation that answers, with the calibrator of its own bundle."""
        return self._runtime

    def serve_calibrators(
        self, active: Calibrator | None, *, shadow: Calibrator | None, previous: str | None
    ) -> None:
        """Let other calibrators judge from the next request on, until another bundle comes.

        Args:
            active: What states probabilities.
            shadow: What is recorded beside it.
            previous: Id of the calibrator that was active before.
        """
        judging = self._runtime.with_calibrators(active, shadow)
        # Encoder and store are shared: they are closed only once these requests are done, too.
        self._draining = [event for event in self._draining if not event.is_set()]
        self._draining.append(self._readiness.succeed(judging))
        self._metrics.serves(self._runtime.bundle, active=active, shadow=shadow, previous=previous)

    async def load(self, directory: Path) -> Bundle:
        """Serve another bundle with the same encoder: another calibrator, for example.

        Args:
            directory: Of the bundle, on the machine of the service.

        Raises:
            BundleError: It cannot be used; the one from before goes on.
            EncoderMismatchError: It has another encoder, and the passages have to be embedded
                anew (``start_reindexing``).
            ReindexingError: A reindexing is under way.
        """
        self._refuse_while_reindexing()
        bundle = await asyncio.to_thread(load_bundle, directory)
        async with self._changing:
            before = self._runtime
            wanted, served = bundle.spec.fingerprint(), before.bundle.spec.fingerprint()
            if wanted != served:
                raise EncoderMismatchError(
                    collection=before.collection, indexed_with=served, loaded=wanted
                )
            after = await open_replacement(before, bundle, before.store, self._metrics)
            self._take_over(replace(after, place=before.place))
        return bundle

    async def start_reindexing(self, directory: Path) -> Reindexing:
        """Begin to embed all passages with the encoder of another bundle, and then serve that.

        Raises:
            BundleError: It cannot be used.
            ReindexingError: One is under way, the collection is indexed with that encoder
                already, or this service cannot reindex.
        """
        self._refuse_while_reindexing()
        bundle = await asyncio.to_thread(load_bundle, directory)
        place = self._place()
        collection = await place.shelf.collection_for(bundle.spec.fingerprint())
        if collection == place.name:
            raise ReindexingError(
                f"The passages are indexed with the encoder of {bundle.manifest.short_id} "
                "already. Load it with POST /v1/bundle:load."
            )
        self._refuse_while_reindexing()
        self._reindexing = Reindexing(bundle.manifest.short_id, collection)
        self._job = asyncio.create_task(self._run(bundle, self._reindexing))
        return self._reindexing

    async def cancel_reindexing(self) -> None:
        """Stop a reindexing that is under way; what is copied stays, for the next one."""
        if self._job is not None and not self._job.done():
            self._job.cancel()
            await asyncio.gather(self._job, return_exceptions=True)
            # One that had not taken its first step could not note it itself.
            if self._reindexing is not None and self._reindexing.state == "running":
                self._reindexing.state = "cancelled"

    async def close(self) -> None:
        """Stop a reindexing, and close everything but what the first runtime's owner closes."""
        await self.cancel_reindexing()
        for task in self._retiring:
            task.cancel()
        await asyncio.gather(*self._retiring, return_exceptions=True)
        await self._close(self._runtime, keep=None)

    async def _run(self, bundle: Bundle, job: Reindexing) -> None:
        try:
            async with self._changing:
                await self._reindex(bundle, job)
            job.state = "done"
            _log.info("reindexed", bundle=job.bundle, passages=job.progress.passages)
        except asyncio.CancelledError:
            job.state = "cancelled"
            _log.warning("reindexing_cancelled", bundle=job.bundle)
            raise
        except Exception as error:  # noqa: BLE001  told by the status, and logged
            job.state = "failed"
            known = isinstance(error, IsoglotError)
            job.error = str(error) if known else "The log of the service has the cause."
            _log.error("reindexing_failed", bundle=job.bundle, exc_info=error)

    async def _reindex(self, bundle: Bundle, job: Reindexing) -> None:
        # The collection may be the one from before the last switch: its last request lets go of it.
        await asyncio.gather(*self._retiring)
        before, place = self._runtime, self._place()
        journal = JournaledStore(place.shelf.store(job.collection))
        await journal.open(spec_of(before.settings, bundle))
        after: Runtime | None = None
        try:
            store = observed(journal, self._metrics)
            after = await open_replacement(before, bundle, store, self._metrics)
            copier = Reindexer(source=place.journal, target=journal, encoder=after.encoder)
            job.progress = copier.progress
            await copier.copy()
            new = Collection(place.shelf, journal, job.collection)
            ready = replace(after, place=new)

            async def take_over() -> None:
                await place.shelf.serve(Served(job.collection, str(bundle.directory.resolve())))
                self._take_over(ready)

            await copier.switch(take_over)
        except BaseException:
            if self._runtime is before:
                place.journal.end()
                await journal.close()
                if after is not None:
                    await asyncio.to_thread(after.encoder.close)
            raise

    def _take_over(self, after: Runtime) -> None:
        before, self._runtime = self._runtime, after
        drained = [*self._draining, self._readiness.succeed(after)]
        self._draining = []
        self._metrics.serves(after.bundle, active=after.bundle.calibrator)
        _log.info("bundle_taken_over", bundle=after.bundle.manifest.short_id)
        task = asyncio.create_task(self._retire(before, drained))
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    async def _retire(self, runtime: Runtime, drained: Sequence[asyncio.Event]) -> None:
        try:
            for event in drained:
                await event.wait()
        finally:
            # Also when the service stops: no request is left then.
            await self._close(runtime, keep=self._runtime)
            _log.info("bundle_retired", bundle=runtime.bundle.manifest.short_id)

    async def _close(self, runtime: Runtime, *, keep: Runtime | None) -> None:
        if keep is None or keep.place is not runtime.place:
            with suppress(IsoglotError):
                await runtime.store.close()
        await asyncio.to_thread(runtime.encoder.close)

    def _place(self) -> Collection:
        if self._runtime.place is None:
            raise ReindexingError("This service was put together without a place for collections.")
        return self._runtime.place

    def _refuse_while_reindexing(self) -> None:
        if self._job is not None and not self._job.done():
            raise ReindexingError(
                "A reindexing is under way. Wait for it, or cancel it with DELETE /v1/reindex."
            )
