"""A stand-in for a Qdrant server: its REST interface over the client's own engine.

It speaks the paths, bodies and answers that the client of version 1.20 uses for what this product
does, refuses a wrong API key and unindexed filters as strict mode does, and keeps its points in
SQLite where it is given a directory. It is no Qdrant: searches are exact, and there are no
shards. Run it as a process with ``python -m tests.fake_qdrant --port 6333 --path DIR``.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import threading
import warnings
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import uvicorn
from pydantic import BaseModel, TypeAdapter
from qdrant_client import AsyncQdrantClient, models
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.adapters.passage_payload import WORDS_NAME

VERSION = "1.19.0"

Answer = Callable[[AsyncQdrantClient, str, Any], Awaitable[Any]]


def fake_qdrant(*, path: str | None = None, api_key: str | None = None) -> Starlette:
    """Return the server as an ASGI application; it must be called from one thread.

    Args:
        path: Directory that keeps the points; in memory without one.
        api_key: Key that every request must carry; none is needed without one.
    """
    client = AsyncQdrantClient(path=path) if path else AsyncQdrantClient(":memory:")
    one_at_a_time = asyncio.Lock()

    def route(method: str, path: str, body: Any, answer: Answer) -> Route:
        async def respond(request: Request) -> Response:
            if api_key is not None and request.headers.get("api-key") != api_key:
                return _refusal(401, "Invalid API key or JWT")
            try:
                parsed = None if body is None else body.validate_json(await request.body())
                async with one_at_a_time:
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")
                        name = request.path_params.get("name", "")
                        result = await answer(client, name, parsed)
            except ValueError as error:
                status = 404 if "not found" in str(error) else 400
                return _refusal(status, str(error))
            return JSONResponse({"result": _plain(result), "status": "ok", "time": 0.0})

        return Route(path, respond, methods=[method])

    async def version(_request: Request) -> Response:
        return JSONResponse({"title": "fake qdrant", "version": VERSION})

    routes = [Route("/", version), *(route(*row) for row in _ROUTES)]
    app = Starlette(routes=routes)
    app.state.client = client
    return app


@contextmanager
def served(app: Starlette) -> Iterator[str]:
    """Serve the application on a free port of this machine, from a thread; yields its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def _refusal(status: int, reason: str) -> Response:
    return JSONResponse({"status": {"error": reason}, "time": 0.0, "result": None}, status)


def _plain(value: Any) -> Any:
    match value:
        case BaseModel():
            return value.model_dump(mode="json", exclude_none=True)
        case list() | tuple():
            return [_plain(item) for item in value]
        case _:
            return value


_DONE = models.UpdateResult(operation_id=0, status=models.UpdateStatus.COMPLETED)


async def _exists(client: AsyncQdrantClient, name: str, _: None) -> Any:
    return {"exists": await client.collection_exists(name)}


async def _create(client: AsyncQdrantClient, name: str, asked: models.CreateCollection) -> Any:
    if await client.collection_exists(name):
        raise ValueError(f"Collection `{name}` already exists!")
    return await client.create_collection(
        name,
        vectors_config=asked.vectors,
        sparse_vectors_config=asked.sparse_vectors,
        metadata=asked.metadata,
    )


async def _take_words(client: AsyncQdrantClient, name: str, asked: models.VectorNameConfig) -> Any:
    return await client.create_vector_name(name, WORDS_NAME, asked)


async def _update(client: AsyncQdrantClient, name: str, asked: models.UpdateCollection) -> Any:
    return await client.update_collection(name, metadata=asked.metadata)


async def _index(client: AsyncQdrantClient, name: str, asked: models.CreateFieldIndex) -> Any:
    await client.create_payload_index(name, asked.field_name, field_schema=asked.field_schema)
    return _DONE


async def _drop_index(client: AsyncQdrantClient, name: str, _: None) -> Any:
    return _DONE


async def _aliases(client: AsyncQdrantClient, _name: str, _: None) -> Any:
    return await client.get_aliases()


async def _change_aliases(
    client: AsyncQdrantClient, _name: str, asked: models.ChangeAliasesOperation
) -> Any:
    return await client.update_collection_aliases(asked.actions)


async def _upsert(client: AsyncQdrantClient, name: str, asked: models.PointsList) -> Any:
    return await client.upsert(name, asked.points)


async def _update_vectors(client: AsyncQdrantClient, name: str, asked: models.UpdateVectors) -> Any:
    return await client.update_vectors(name, asked.points)


async def _delete(client: AsyncQdrantClient, name: str, asked: models.PointsSelector) -> Any:
    return await client.delete(name, asked)


async def _batch(client: AsyncQdrantClient, name: str, asked: models.UpdateOperations) -> Any:
    return await client.batch_update_points(name, asked.operations)


async def _retrieve(client: AsyncQdrantClient, name: str, asked: models.PointRequest) -> Any:
    payload = True if asked.with_payload is None else asked.with_payload
    vectors = asked.with_vector or False
    return await client.retrieve(name, asked.ids, with_payload=payload, with_vectors=vectors)


async def _scroll(client: AsyncQdrantClient, name: str, asked: models.ScrollRequest) -> Any:
    points, following = await client.scroll(
        name, scroll_filter=asked.filter, limit=asked.limit or 10, offset=asked.offset
    )
    return models.ScrollResult(points=points, next_page_offset=following)


async def _count(client: AsyncQdrantClient, name: str, asked: models.CountRequest) -> Any:
    return await client.count(name, count_filter=asked.filter)


async def _facet(client: AsyncQdrantClient, name: str, asked: models.FacetRequest) -> Any:
    return await client.facet(
        name, asked.key, facet_filter=asked.filter, limit=asked.limit or 10, exact=True
    )


async def _query(client: AsyncQdrantClient, name: str, asked: models.QueryRequestBatch) -> Any:
    answers: Sequence[models.QueryResponse] = await client.query_batch_points(name, asked.searches)
    return list(answers)


async def _describe(client: AsyncQdrantClient, name: str, _: None) -> Any:
    return await client.get_collection(name)


async def _drop(client: AsyncQdrantClient, name: str, _: None) -> Any:
    return await client.delete_collection(name)


_COLLECTION = "/collections/{name}"

_ROUTES: list[tuple[str, str, Any, Answer]] = [
    ("GET", "/aliases", None, _aliases),
    (
        "POST",
        "/collections/aliases",
        TypeAdapter(models.ChangeAliasesOperation),
        _change_aliases,
    ),
    ("GET", f"{_COLLECTION}/exists", None, _exists),
    ("GET", _COLLECTION, None, _describe),
    ("PUT", _COLLECTION, TypeAdapter(models.CreateCollection), _create),
    ("PATCH", _COLLECTION, TypeAdapter(models.UpdateCollection), _update),
    ("DELETE", _COLLECTION, None, _drop),
    (
        "PUT",
        f"{_COLLECTION}/vectors/{WORDS_NAME}",
        TypeAdapter(models.VectorNameConfig),
        _take_words,
    ),
    ("PUT", f"{_COLLECTION}/index", TypeAdapter(models.CreateFieldIndex), _index),
    ("DELETE", f"{_COLLECTION}/index/{{field}}", None, _drop_index),
    ("PUT", f"{_COLLECTION}/points", TypeAdapter(models.PointsList), _upsert),
    ("PUT", f"{_COLLECTION}/points/vectors", TypeAdapter(models.UpdateVectors), _update_vectors),
    ("POST", f"{_COLLECTION}/points", TypeAdapter(models.PointRequest), _retrieve),
    ("POST", f"{_COLLECTION}/points/delete", TypeAdapter(models.PointsSelector), _delete),
    ("POST", f"{_COLLECTION}/points/batch", TypeAdapter(models.UpdateOperations), _batch),
    ("POST", f"{_COLLECTION}/points/scroll", TypeAdapter(models.ScrollRequest), _scroll),
    ("POST", f"{_COLLECTION}/points/count", TypeAdapter(models.CountRequest), _count),
    (
        "POST",
        f"{_COLLECTION}/points/query/batch",
        TypeAdapter(models.QueryRequestBatch),
        _query,
    ),
    ("POST", f"{_COLLECTION}/facet", TypeAdapter(models.FacetRequest), _facet),
]


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description="A stand-in for a Qdrant server.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", help="directory that keeps the points")
    parser.add_argument("--api-key")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    uvicorn.run(
        fake_qdrant(path=asked.path, api_key=asked.api_key),
        host="127.0.0.1",
        port=asked.port,
        log_level="warning",
        access_log=False,
    )


if __name__ == "__main__":
    main()
