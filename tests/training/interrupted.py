"""Trains as one process of several until Ctrl-C comes to the last of them; torchrun starts it.

::

    torchrun --nproc-per-node 2 -m tests.training.interrupted run.toml prepared out
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.training.runs import HYBRID, Quiet, run
from training.config import load_config
from training.data_prepared import open_prepared
from training.errors import RunInterruptedError

STEP = 3


def main(config: str, prepared: str, out: str) -> None:
    """Train until the last process is interrupted, and say where this one stopped."""
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    progress = Quiet((HYBRID, STEP) if rank == size - 1 else None)
    try:
        run(load_config(Path(config)), open_prepared(Path(prepared)), Path(out), progress=progress)
    except RunInterruptedError as stopped:
        # In one piece: the other process writes to the same pipe.
        sys.stdout.write(f"process {rank}: {str(stopped).partition(' of stage')[0]}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
