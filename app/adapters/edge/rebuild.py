"""Giving a live shard an approximate index: a copy is built, catches up, and is swapped in."""

from __future__ import annotations

import asyncio

from app.adapters.disk_room import require_room, tree_bytes
from app.adapters.edge.build import finish_build, start_build
from app.adapters.edge.session import EdgeSession, IndexBuild, chunked
from app.adapters.edge.shard import PassageShard
from app.adapters.stored_files import copy_tree, in_thread, remove_tree, sync_tree
from app.core.errors import StoreError, StoreUnavailableError


async def rebuild(session: EdgeSession, *, reserve: int) -> None:
    """Build the index of a copy in a child process, and swap it in.

    Searches are answered all along; writes wait while the shard is copied and while the writes
    made since are carried over. Whatever fails, the live shard is untouched.

    Args:
        session: Whose live shard it is.
        reserve: Bytes that stay free on the disk.

    Raises:
        StoreUnavailableError: A build is running already, or the store was closed meanwhile.
        StoreError: The build failed.
    """
    if session.build is not None:
        raise StoreUnavailableError("An index build is running already; wait until it is done.")
    build = session.new_build()
    before = session.shard_path
    try:
        await _build_copy(session, build, reserve)
        await _catch_up_and_swap(session, build)
    except StoreError as error:
        if session.closing:
            raise StoreUnavailableError("The store was closed during the build.") from error
        raise
    finally:
        session.build = None
        discard = build.copy if session.shard_path == before else before
        await in_thread(remove_tree, discard)


async def _build_copy(session: EdgeSession, build: IndexBuild, reserve: int) -> None:
    async with session.writing():
        session.flush()
        # The copy, and about as much again for its index and what is written meanwhile.
        wanted = 2 * tree_bytes(session.shard_path)
        require_room(session.shard_path, reserve=reserve, wanted=wanted)
        build.touched.clear()
        await in_thread(copy_tree, session.shard_path, build.copy)
        build.process = await start_build(build.copy, session.spec.dim)
    await finish_build(build.process)
    await in_thread(sync_tree, build.copy)


async def _catch_up_and_swap(session: EdgeSession, build: IndexBuild) -> None:
    async with session.writing():
        built = PassageShard.load(
            build.copy, session.spec.dim, session.spec.fields, session.shard.indexed
        )
        built.count_as_indexed()
        try:
            for chunk in chunked(sorted(build.touched)):
                session.shard.copy_to(built, chunk)
                await asyncio.sleep(0)
            built.flush()
            session.swap(built, build.copy)
        except BaseException:
            built.close()
            raise
