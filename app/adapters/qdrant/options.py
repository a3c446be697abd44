"""Where a Qdrant server is, for those who must not need its client to say so."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class QdrantOptions:
    """Where a server is, and how collections are made on it.

    Attributes:
        url: Address of its REST interface, with scheme and port.
        api_key: A key that may write; ``None`` where the server has none.
        grpc: Whether points and searches travel over gRPC.
        grpc_port: Port of its gRPC interface.
        timeout: Seconds after which one call is given up, repeats included.
        shards: Shards of a new collection; ``None`` leaves it to the server.
        replicas: Copies of every shard of a new collection.
        write_consistency: Copies that must have a write before it is acknowledged.
        vectors_on_disk: Whether the exact vectors stay on disk, beside int8 ones in memory.
    """

    url: str
    api_key: str | None = field(default=None, repr=False)
    grpc: bool = False
    grpc_port: int = 6334
    timeout: float = 5.0
    shards: int | None = None
    replicas: int = 1
    write_consistency: int = 1
    vectors_on_disk: bool = False
