"""How another bundle takes the place of the one that answers, without a request noticing.

A generation is a ``Runtime``: bundle, encoder, calibrator and collection that belong together. A
request takes one and keeps it to its end, so no answer mixes two. The one before is closed once
the last request that took it is done.

What judges is decided here alone, for every bundle that comes and whenever a choice is made: the
calibrator that was chosen for the bundle, or else its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import structlog

from app.adapters.allocator import give_back_memory
from app.api.readiness import Readiness
from app.bootstrap import Collection, Runtime, observed, open_replacement, spec_of
from app.core.bundle import Bundle, load_bundle
from app.core.calibration.choice import Chosen
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
        metrics: What is told which bundle is served, and which calibrators.
        choose: Returns what is to judge with a bundle.
    """

    def __init__(
        self,
        runtime: Runtime,
        readiness: Readiness,
        metrics: Metrics,
        choose: Callable[[Bundle], Chosen],
    ) -> None:
        self._runtime = runtime
        self._judging = runtime
        self._readiness = readiness
        self._metrics = metrics
        self._choose = choose
        self._active: str | None = None
        self._previous: str | None = None
        self._changing = asyncio.Lock()
        self._retiring: set[asyncio.Task[None]] = set()
        self._draining: list[asyncio.Event] = []
        self._job: asyncio.Task[None] | None = None
        self._reindexing: Reindexing | None = None
        self._judge(runtime)

    @property
    def reindexing(self) -> Reindexing | None:
        """The last reindexing that was begun here; ``None`` where none was."""
        return self._reindexing

    def choose_anew(self) -> None:
        """Let what is chosen by now judge from the next request on.

        What cannot be served is logged, and leaves what judged before.
        """
        chosen = self._chosen()
        if chosen is None:
            return
        # Encoder and store are shared: they are closed only once these requests are done, too.
        self._draining = [event for event in self._draining if not event.is_set()]
        self._draining.append(self._judge(self._judging, chosen))

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
        await journal.open(spec_of(before.settings, bundle, words=before.store.words))
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
        drained = [*self._draining, self._judge(after)]
        self._draining = []
        _log.info("bundle_taken_over", bundle=after.bundle.manifest.short_id)
        task = asyncio.create_task(self._retire(before, drained))
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    def _chosen(self) -> Chosen | None:
        """Return what is to judge with the served bundle; ``None`` where that cannot be used."""
        try:
            chosen = self._choose(self._runtime.bundle)
        except IsoglotError as error:
            _log.error("calibrator_not_usable", reason=str(error))
            return None
        if chosen.is_void:
            _log.warning("choice_of_another_bundle", served="the bundle's own calibrator")
        return chosen

    def _judge(self, runtime: Runtime, chosen: Chosen | None = None) -> asyncio.Event:
        """Answer from the next request on, with what is chosen, or else with the bundle's own.

        Returns:
            Set once no request is answered with what judged before any more.
        """
        chosen = chosen or self._chosen() or Chosen(runtime.bundle.calibrator)
        self._judging = runtime.with_calibrators(chosen.active, chosen.shadow)
        drained = self._readiness.succeed(self._judging)
        active = None if chosen.active is None else chosen.active.id
        if active != self._active:
            self._active, self._previous = active, self._active
        self._metrics.serves(
            self._runtime.bundle,
            active=chosen.active,
            shadow=chosen.shadow,
            previous=self._previous or chosen.previous,
        )
        shadow = None if chosen.shadow is None else chosen.shadow.id
        _log.info("calibrators_served", active=active, shadow=shadow)
        return drained

    async def _retire(self, runtime: Runtime, drained: Sequence[asyncio.Event]) -> None:
        try:
            for event in drained:
                await event.wait()
        finally:
            # Also when the service stops: no request is left then.
            await self._close(runtime, keep=self._runtime)
            _log.info("bundle_retired", bundle=runtime.bundle.manifest.short_id)
            del runtime
            await asyncio.to_thread(give_back_memory)

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
