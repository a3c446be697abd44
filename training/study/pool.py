"""Runs tasks in several processes, and stops in good order.

The first Ctrl-C lets a training that is under way write its checkpoint, and starts nothing new.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from multiprocessing.sharedctypes import Synchronized
from typing import Any, TypeVar

Task = TypeVar("Task")
State = TypeVar("State")

_state: list[Any] = []
"""What the ``open`` function of this process returned."""


def run_tasks(
    open_state: Callable[[], State],
    work: Callable[[State, Task], None],
    tasks: Sequence[Task],
    *,
    jobs: int,
    gpus: int = 0,
) -> Iterator[Task]:
    """Do tasks, and yield each when it is done.

    Args:
        open_state: Makes what a process keeps between its tasks; importable, called once a process.
        work: Does a task; importable.
        tasks: What to do; picklable.
        jobs: Number of processes; 1 does everything in this one.
        gpus: Number of GPUs to spread the processes over.

    Raises:
        Exception: The first error of a task; what is under way is finished, nothing is begun.
    """
    if jobs == 1 or len(tasks) <= 1:
        yield from _here(open_state, work, tasks)
        return
    context = multiprocessing.get_context("spawn")
    counter = context.Value("i", 0)
    pool = ProcessPoolExecutor(
        min(jobs, len(tasks)), context, initializer=_begin, initargs=(open_state, counter, gpus)
    )
    try:
        futures: dict[Future[None], Task] = {pool.submit(_do, work, task): task for task in tasks}
        for done in as_completed(futures):
            done.result()
            yield futures[done]
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _here(
    open_state: Callable[[], State], work: Callable[[State, Task], None], tasks: Sequence[Task]
) -> Iterator[Task]:
    if not tasks:
        return
    state = open_state()
    for task in tasks:
        work(state, task)
        yield task


def _begin(open_state: Callable[[], object], counter: Synchronized[int], gpus: int) -> None:
    # Ctrl-C reaches every process of the terminal. Training listens to it by itself; outside of
    # training the parent decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with counter.get_lock():
        number = counter.value
        counter.value += 1
    if gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = str(number % gpus)
    _state[:] = [open_state()]


def _do(work: Callable[[Any, Task], None], task: Task) -> None:
    work(_state[0], task)
