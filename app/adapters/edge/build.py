"""Building the approximate index of a shard in a process of its own.

The engine holds the GIL while it optimizes, for a minute at 100,000 passages, so the serving
process must never do that itself. It starts ``python -m app.adapters.edge.build SHARD DIM PARENT``.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from pathlib import Path

import qdrant_edge as qe

from app.adapters.edge.engine import vector_config
from app.adapters.stored_files import file_errors
from app.core.errors import StoreError

LINKS_PER_NODE = 16
"""Edges per node of the graph (``m``)."""

BUILD_BEAM = 100
"""Candidates the graph considers for the edges of a node (``ef_construct``)."""

FULL_SCAN_KB = 10_000
"""Filters that leave fewer kilobytes of vectors than this are answered by a scan."""

INT8_QUANTILE = 0.99
"""Share of vector components that int8 represents; the rest is clipped."""

NICENESS = 10
"""How far a build steps back behind the queries that are answered meanwhile."""

PR_SET_PDEATHSIG = 1
"""From <linux/prctl.h>: which signal a process gets when its parent dies."""


async def start_build(shard: Path, dim: int) -> Process:
    """Start building the index of a shard that nobody has open.

    Args:
        shard: Directory of the shard.
        dim: Number of dimensions of its vectors.

    Returns:
        The process; pass it to ``finish_build``. It ends when this process dies.

    Raises:
        StoreError: It cannot be started.
    """
    with file_errors("start the index build"):
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "app.adapters.edge.build"),
            *(str(shard), str(dim), str(os.getpid())),
            stdin=DEVNULL,
            stdout=DEVNULL,
            stderr=PIPE,
            # The child must find the same packages, however this process came to find them.
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )


async def finish_build(process: Process) -> None:
    """Wait for a build; when the waiting is cancelled, the build is too.

    Raises:
        StoreError: The build failed; its shard must not be used.
    """
    try:
        _, stderr = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        reason = stderr.decode(errors="replace").strip().splitlines()[-1:] or ["no message"]
        raise StoreError(
            f"Building the index failed with exit status {process.returncode}: {reason[0]}. "
            "The collection is unchanged and searched without the new index."
        )


def build_index(shard: Path, dim: int) -> None:
    """Index all passages of a shard: a graph over int8 vectors, the originals kept to rescore."""
    config = qe.EdgeConfig(
        vectors=vector_config(dim),
        hnsw_config=qe.HnswIndexConfig(
            m=LINKS_PER_NODE, ef_construct=BUILD_BEAM, full_scan_threshold=FULL_SCAN_KB
        ),
        quantization_config=qe.ScalarQuantizationConfig(
            type=qe.ScalarType.Int8, quantile=INT8_QUANTILE, always_ram=True
        ),
        # Whoever asks for a build wants every segment indexed, however small it is.
        optimizers=qe.EdgeOptimizersConfig(indexing_threshold=1),
    )
    engine = qe.EdgeShard.load(str(shard), config)
    engine.optimize()
    engine.flush()
    engine.close()


def end_with_parent(parent: int) -> None:
    """End this process when its parent does, so that a crash leaves no builder behind.

    The kernel sees to it, because no thread here could while the engine holds the GIL. Where the
    kernel is not Linux, an abandoned build runs to its end, and its shard is a leftover.

    Args:
        parent: Process id of the parent, which may be gone already.

    Raises:
        SystemExit: It is gone.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("The process that asked for this build is gone.")


def main() -> None:
    """Build the shard named on the command line."""
    shard, dim, parent = sys.argv[1:]
    end_with_parent(int(parent))
    os.nice(NICENESS)
    build_index(Path(shard), int(dim))


if __name__ == "__main__":
    main()
