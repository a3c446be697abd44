"""Retrieval quality of an encoder: embed a set, rank its relevant passages, summarise.

The protocol, its settings and its metrics are in ``training/protocol.py``; systems that are no
encoders are in ``training/baselines.py`` (BM25 and its kin) and ``training/trec_run.py`` (what
another system returned).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from app.core.ports import Encoder
from app.core.types import VectorArray
from training.baselines import evaluate_bm25
from training.embedding import IN_MEMORY, VectorStorage, embed_passages, embed_queries
from training.protocol import CUTOFF, RetrievalResult, summarise
from training.ranks import Ranking, rank_all
from training.retrieval_set import RetrievalSet
from training.search import BLOCK_CELLS, Device, best_of, cosine_scorer
from training.trec_run import DEPTH, write_run_file

__all__ = [
    "CUTOFF",
    "EmbeddedSet",
    "Ranking",
    "RetrievalResult",
    "embed_set",
    "evaluate_bm25",
    "rank_relevant",
    "summarise",
    "write_run",
]


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddedSet:
    """A retrieval set with the vectors of its queries and passages, row by row.

    Attributes:
        data: The set.
        queries: Unit vectors, float32 of shape (queries, dim).
        passages: Unit vectors of shape (passages, dim), float32 or float16, in memory or
            memory-mapped.
    """

    data: RetrievalSet
    queries: VectorArray
    passages: VectorArray


def embed_set(
    encoder: Encoder, data: RetrievalSet, storage: VectorStorage = IN_MEMORY
) -> EmbeddedSet:
    """Embed the queries and passages of a set.

    Args:
        encoder: What embeds them.
        data: The set.
        storage: Where the vectors of the passages are kept, as ``<set>.npy`` where on disk.
    """
    return EmbeddedSet(
        data=data,
        queries=embed_queries(encoder, [query.text for query in data.queries]),
        passages=embed_passages(
            encoder, [passage.text for passage in data.passages], storage, data.name
        ),
    )


def rank_relevant(
    embedded: EmbeddedSet, *, block_cells: int = BLOCK_CELLS, device: Device = "cpu"
) -> Ranking:
    """Rank every relevant passage among all passages and among those of its language.

    Raises:
        RunError: The device is not there.
    """
    scorer = cosine_scorer(embedded.queries, embedded.passages, device)
    return rank_all(embedded.data, scorer, block_cells=block_cells)


def write_run(
    embedded: EmbeddedSet, path: Path, *, depth: int = DEPTH, device: Device = "cpu"
) -> None:
    """Write the best passages of the multilingual pool as a TREC run file."""
    data = embedded.data
    scorer = cosine_scorer(embedded.queries, embedded.passages, device)
    shape = (len(data.queries), len(data.passages))
    found = best_of(scorer, shape, depth, what=f"Searching {data.name}")
    write_run_file(data, found, path)
