"""As much of Ray as `isoglot index --ray` uses, in one process and without waiting."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any


class RayError(Exception):
    """What Ray raises."""


class Handle:
    """An actor: its methods run at once, and what they return can be got and awaited."""

    def __init__(self, actor: object, runner: asyncio.Runner) -> None:
        self._actor = actor
        self._runner = runner

    def __getattr__(self, name: str) -> Any:
        def remote(*args: Any, **options: Any) -> Any:
            result = getattr(self._actor, name)(*args, **options)
            return result if inspect.isawaitable(result) else asyncio.sleep(0, result)

        return SimpleNamespace(remote=remote)


class FakeRay(ModuleType):
    """The module ``ray``.

    Args:
        cores: Cores of its cluster.
        failure: What a worker does instead of its work.
    """

    def __init__(self, *, cores: int = 2, failure: Exception | None = None) -> None:
        super().__init__("ray")
        self.runner = asyncio.Runner()
        self.is_running = False
        self.workers: list[dict[str, Any]] = []
        self._cores, self._failure = cores, failure
        self.exceptions = SimpleNamespace(RayError=RayError)
        strategy = SimpleNamespace(NodeAffinitySchedulingStrategy=lambda *_, **__: None)
        self.util = SimpleNamespace(scheduling_strategies=strategy)
        self.data = ModuleType("ray.data")
        vars(self.data).update(
            from_items=self._from_items,
            ActorPoolStrategy=SimpleNamespace,
            DataContext=SimpleNamespace(get_current=SimpleNamespace),
        )

    def init(self, address: str, **_: Any) -> None:
        if address not in {"local", "auto"}:
            raise ConnectionError("nobody answers")
        self.is_running = True

    def shutdown(self) -> None:
        self.is_running = False

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": float(self._cores)}

    def get_runtime_context(self) -> Any:
        return SimpleNamespace(get_node_id=lambda: "here")

    def get(self, awaitable: Any) -> Any:
        return self.runner.run(_await(awaitable))

    def remote(self, actor: type) -> Any:
        made = SimpleNamespace(remote=lambda *args: Handle(actor(*args), self.runner))
        return SimpleNamespace(options=lambda **_: made)

    def _from_items(self, rows: list[Any], **_: Any) -> Any:
        def mapped(worker: Callable[..., Any], **options: Any) -> Any:
            self.workers.append(options)
            return SimpleNamespace(iter_rows=lambda: self._rows(worker, rows, options))

        return SimpleNamespace(map=mapped)

    def _rows(self, worker: Callable[..., Any], rows: list[Any], options: Any) -> Iterator[Any]:
        if self._failure is not None:
            raise self._failure
        # One loop for all, so that what a worker asks of the writer runs where that one lives.
        index = worker(*options["fn_constructor_args"], runner=self.runner)
        for row in rows:
            yield index(row)
        index.close()


async def _await(awaitable: Any) -> Any:
    return await awaitable
