"""``isoglot index --ray``: ranges of lines, handed out to the workers of a Ray cluster.

Ray Data restarts workers that die, and has others do again what they had begun. A range that is
indexed twice changes nothing: passages are stored by id, and what is unchanged is neither encoded
nor written again. The same holds for a command that is run again.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer
from rich.progress import Progress

from app.bootstrap import open_runtime
from app.cli import console
from app.cli.exits import CannotStartError, Exit, UsageError, complain
from app.cli.ingest.file_ranges import FileRange, cut
from app.cli.ingest.index import progress_bar
from app.cli.ingest.indexing import IndexReport
from app.cli.ingest.passages_file import STDIN
from app.cli.ingest.ray_workers import RangeIndexer, StoreWriter
from app.settings import Settings

LOCAL = "local"
"""Address for a cluster of this machine alone, which ends with the command."""


def run_ray_index(
    files: Sequence[str], *, settings: Settings, address: str, workers: int | None
) -> None:
    """Index files on a Ray cluster and exit with 0, or 1 where a line was rejected.

    Args:
        files: Paths that every node can read.
        settings: Name bundle and store.
        address: Of the cluster, or ``local``.
        workers: How many processes encode; by default one for every core.

    Raises:
        UsageError: A file does not exist, or there are fewer cores than workers.
        CannotStartError: Ray is not installed, the cluster cannot be reached, or a worker failed.
        IsoglotError: The collection cannot be opened.
    """
    for name in files:
        if name == STDIN or not Path(name).is_file():
            raise UsageError(f"{name} is not a file: the workers read files, each its own part.")
    shared = settings.model_copy(
        update={
            "bundle": settings.bundle.resolve(),
            "data_dir": settings.data_dir.resolve(),
        }
    )
    parts = cut([str(Path(name).resolve()) for name in files])
    report = IndexReport()
    try:
        if parts:  # Ray makes no data set of nothing.
            with _cluster(address) as ray:
                _index(ray, parts, settings=shared, workers=workers, report=report)
    except KeyboardInterrupt:
        complain(
            f"Stopped. {report.stored} passages are stored and stay. Run the same command again "
            "to go on: what is stored already is not encoded again."
        )
        raise typer.Exit(Exit.INTERRUPTED) from None
    if report.rejected:
        complain(f"{report.rejected} lines were rejected.")
    complain(f"{report.stored} passages stored.")
    raise typer.Exit(Exit.REJECTED if report.rejected else Exit.OK)


@contextmanager
def _cluster(address: str) -> Iterator[Any]:
    # Nothing about this machine is reported to anybody, and what Ray mends is not shown.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    try:
        import ray
        import ray.data
    except ModuleNotFoundError as error:
        raise CannotStartError(
            "Indexing on a cluster needs Ray: pip install '.[ray]' in the checkout of Isoglot."
        ) from error
    options = {"include_dashboard": False} if address == LOCAL else {}
    try:
        ray.init(address, logging_level="error", log_to_driver=False, **options)
        # There is a bar of ours, and its own would be drawn over it.
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        ray.data.DataContext.get_current().enable_progress_bars = False
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise CannotStartError(f"There is no Ray cluster at {address}: {error}") from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _index(
    ray: Any,  # noqa: ANN401  has no types without the extra
    parts: Sequence[FileRange],
    *,
    settings: Settings,
    workers: int | None,
    report: IndexReport,
) -> None:
    cores = int(ray.cluster_resources().get("CPU", 0))
    workers = workers or cores
    if workers > cores:
        raise UsageError(f"The cluster has {cores} cores: too few for {workers} workers.")
    threads = min(settings.encoder_threads, cores // workers)
    settings = settings.model_copy(update={"encoder_threads": threads})
    writer = None
    if settings.qdrant_url is None:
        writer = _writer(ray, settings)
    else:
        asyncio.run(_make_collection(settings))
    try:
        rows = ray.data.from_items([asdict(part) for part in parts], override_num_blocks=len(parts))
        reports = rows.map(
            RangeIndexer,
            fn_constructor_args=(settings, writer),
            compute=ray.data.ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=1),
            num_cpus=threads,
        )
        with progress_bar(console.messages()) as progress:
            _follow(reports.iter_rows(), report, progress, total=sum(part.length for part in parts))
    except ray.exceptions.RayError as error:
        raise CannotStartError(f"A worker failed: {str(error).strip().splitlines()[-1]}") from error
    finally:
        if writer is not None:
            ray.get(writer.close.remote())


async def _make_collection(settings: Settings) -> None:
    """Let the server have the collection before several workers find that it has not."""
    async with open_runtime(settings):
        pass


def _writer(ray: Any, settings: Settings) -> Any:  # noqa: ANN401
    # On this node, because the directory is on this node.
    here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
        ray.get_runtime_context().get_node_id(), soft=False
    )
    remote = ray.remote(StoreWriter).options(num_cpus=0, scheduling_strategy=here)
    writer = remote.remote(settings)
    problem = ray.get(writer.open.remote())
    if problem:
        raise CannotStartError(problem)
    return writer


def _follow(
    reports: Iterator[Mapping[str, Any]], report: IndexReport, progress: Progress, *, total: int
) -> None:
    task = progress.add_task("Indexing", total=total, stored=0)
    for found in reports:
        report.stored += found["stored"]
        report.rejected += len(found["rejections"])
        for rejection in found["rejections"]:
            progress.console.print(rejection, markup=False, soft_wrap=True)
        if found["failure"]:
            raise CannotStartError(found["failure"])
        progress.update(task, advance=found["bytes"], stored=report.stored)
