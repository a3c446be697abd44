"""Training in several processes as if it were one: shares of a batch, and gathered embeddings.

A batch of ``batch_size`` rows per device is drawn as one batch of ``batch_size`` times the number
of processes. Every process draws it, with everything that is random about it, and embeds its own
part. Where the loss looks across devices, every process computes it over all rows.

Files are read by every process and written by the first one alone: ``World.first`` does that, and
is where the others wait for it. Its calls must be the same, in the same order, in every process.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any, TypeVar

import torch
from torch import Tensor

from training.errors import RunError, TrainingError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class World:
    """The processes that train together.

    Attributes:
        rank: Number of this process.
        size: Number of processes.
        shared: Whether the loss is computed over the rows of all processes, rather than over
            each one's own.
    """

    rank: int = 0
    size: int = 1
    shared: bool = False

    @classmethod
    def from_environment(
        cls, environment: Mapping[str, str] | None = None, *, shared: bool = False
    ) -> World:
        """Return the world that torchrun declares; one process where it declares none."""
        variables = os.environ if environment is None else environment
        rank, size = (int(variables.get(n, d)) for n, d in (("RANK", "0"), ("WORLD_SIZE", "1")))
        return cls(rank, size, shared=shared and size > 1)

    def counts(self, n_rows: int) -> list[int]:
        """Return the number of rows that each process embeds; they differ by at most one."""
        least, more = divmod(n_rows, self.size)
        return [least + (rank < more) for rank in range(self.size)]

    def parts(self, n_rows: int) -> list[slice]:
        """Return the rows that each process embeds, in the order of the processes."""
        ends = accumulate(self.counts(n_rows), initial=0)
        return [slice(start, end) for start, end in pairwise(ends)]

    def mine(self, n_rows: int) -> slice:
        """Return the rows that this process embeds."""
        return self.parts(n_rows)[self.rank]

    def judged(self, n_rows: int) -> slice:
        """Return the rows that this process computes the loss over."""
        return slice(0, n_rows) if self.shared else self.mine(n_rows)

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes files and shows how far the run is."""
        return self.rank == 0

    def first(self, action: Callable[[], T]) -> T:
        """Do something in the first process, and return what it came to in all of them.

        Args:
            action: What to do; what it returns must be fit to be pickled.

        Raises:
            RunError: It failed there; the others do not wait for what will never come. The first
                process itself raises what the action did.
        """
        if self.size == 1:
            return action()
        outcome: list[Any] = [None, None]
        error: Exception | None = None
        if self.is_first:
            try:
                outcome[0] = action()
            except Exception as exc:  # noqa: BLE001 - whatever it is, the others must hear of it
                error, outcome[1] = exc, str(exc) if isinstance(exc, TrainingError) else repr(exc)
        torch.distributed.broadcast_object_list(outcome, src=0)
        if error is not None:
            raise error
        if outcome[1] is not None:
            raise RunError(f"The first process could not go on: {outcome[1]}")
        result: T = outcome[0]
        return result

    def any(self, *, here: bool) -> bool:
        """Return whether something is true in one process or more."""
        if self.size == 1:
            return here
        flag = torch.tensor(int(here), device="cuda" if torch.cuda.is_available() else "cpu")
        torch.distributed.all_reduce(flag, torch.distributed.ReduceOp.MAX)
        return bool(flag)


@contextmanager
def connected(world: World) -> Iterator[None]:
    """Connect the processes as the trainer will find them; one process needs nothing."""
    if world.size == 1:
        yield
        return
    from accelerate import PartialState  # type: ignore[import-untyped]  # it ships no types

    PartialState(cpu=not torch.cuda.is_available())
    yield
    # Not after an error: the others may be waiting, and leaving is what they can see.
    torch.distributed.destroy_process_group()


def gather_rows(rows: Tensor, counts: Sequence[int]) -> Tensor:
    """Return the rows of all processes, in the order of the processes.

    Every process must go on to compute one and the same loss from the result. The gradient at its
    own rows is then the whole of it, and none has to be fetched from the others; it is multiplied
    by the number of processes, because DistributedDataParallel divides the sum of the gradients
    by that number. So the weights get the gradient that one process with all rows would compute.

    Args:
        rows: (counts[rank], dim), this process's rows.
        counts: Number of rows of every process.

    Returns:
        (sum(counts), dim).
    """
    gathered: Tensor = _Gathered.apply(rows, list(counts))  # type: ignore[no-untyped-call]
    return gathered


class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch declares no type for it
        rows: Tensor,
        counts: list[int],
    ) -> Tensor:
        ctx.counts, ctx.rank = counts, torch.distributed.get_rank()
        # Collectives take tensors of one shape.
        padded = rows.new_zeros(max(counts), *rows.shape[1:])
        padded[: len(rows)] = rows
        received = [torch.empty_like(padded) for _ in counts]
        torch.distributed.all_gather(received, padded)
        return torch.cat([part[:n] for part, n in zip(received, counts, strict=True)])

    @staticmethod
    def backward(
        ctx: Any,  # noqa: ANN401 - torch declares no type for it
        gradient: Tensor,
    ) -> tuple[Tensor, None]:
        return torch.split(gradient, ctx.counts)[ctx.rank] * len(ctx.counts), None
