"""What words add to vectors: quality of dense, lexical and hybrid retrieval, and what it takes.

    python -m benchmarks.hybrid --data-root DATA --set xquad-r --queries 60

Measured are the development sets of ``--config`` and the retrieval sets named by ``--set``, all
below ``--data-root``; of each, so many queries a language. Every set is a collection of its own,
indexed and searched as the service does, with the bundle's encoder and calibrator. The pool ``own``
is the passages in the query's language; ``all`` is all of them, where there are other languages.

``lexical`` orders by words alone, ``score`` by vector alone, ``probability`` as dense retrieval
does by default, ``plain`` by reciprocal rank fusion of both orders, ``hybrid`` by the fusion that
holds missing words against passages in the query's language only, and ``calibrated`` as hybrid
retrieval does by default: by its own probability, or by fusion where the bundle has none. nDCG@10
counts every relevant passage alike; ``cross`` is how many of the relevant passages in other
languages are among the first ten, of ten at most. The last table takes dense and hybrid searches
in turn, in rounds of 20, each of a query that was not asked before, in process and without HTTP:
the median over the rounds of the ratio of their median times, and its range.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

from app.bootstrap import Runtime, open_runtime
from app.core import lexical
from app.core.search import hybrid
from app.core.search.types import Hit, SearchRequest
from app.core.types import Passage, PassageFilter, PassageWithWords, WordsQuery
from app.settings import Settings, starter_bundle
from training.calibration_config import load_calibration_config
from training.calibration_data import load_sets
from training.retrieval_set import RetrievalSet, SetQuery, read_retrieval_set

DEEP = 100
FIRST = 10
CHUNK = 500
ROUND = 20
ROUNDS = 10
ORDERS = ("lexical", "score", "probability", "plain", "hybrid", "calibrated")

Orders: TypeAlias = Mapping[str, list[str]]


@dataclass(frozen=True, slots=True)
class Times:
    """Of one set: milliseconds of a dense search, and ratios of hybrid to dense by round."""

    passages: int
    dense: float
    ratios: list[float]


def main() -> None:
    """Measure every set, and print tables."""
    given = _arguments()
    hybrid.RANK_CONSTANT, hybrid.BY_WORDS = given.rank_constant, given.by_words
    lexical.AVERAGE_TOKENS = given.average_tokens
    sets = load_sets(load_calibration_config(given.config), given.data_root)
    sets += [read_retrieval_set(given.data_root / name) for name in given.sets]
    print(f"| set | pool | queries | measure | {' | '.join(ORDERS)} |")
    print("| --- | --- | --- | --- |" + " --- |" * len(ORDERS))
    times = {data.name: asyncio.run(measure(data, given.bundle, given.queries)) for data in sets}
    print("\n| set | passages | dense, ms | hybrid / dense |\n| --- | --- | --- | --- |")
    for name, took in times.items():
        if took.ratios:
            middle, low, high = statistics.median(took.ratios), min(took.ratios), max(took.ratios)
            spread = f"{middle:.2f} ({low:.2f} to {high:.2f})"
            print(f"| {name} | {took.passages} | {took.dense:.1f} | {spread} |")


async def measure(data: RetrievalSet, bundle: Path, a_language: int) -> Times:
    """Print the rows of a set."""
    asked, rest = split(data, a_language)
    languages = {passage.language for passage in data.passages}
    async with collection(data, bundle) as runtime:
        for pool in ("own", "all") if len(languages) > 1 else ("own",):
            found = [await orders(runtime, data.queries[n], pool) for n in asked]
            for measure, means, count in rows(data, asked, found, pool):
                cells = " | ".join(f"{means[order]:.3f}" for order in ORDERS)
                print(f"| {data.name} | {pool} | {count} | {measure} | {cells} |", flush=True)
        return await timed(runtime, data, rest)


@asynccontextmanager
async def collection(data: RetrievalSet, bundle: Path) -> AsyncIterator[Runtime]:
    """Index a set as the service does, without passages of which the encoder knows no token."""
    with tempfile.TemporaryDirectory() as directory:
        settings = Settings(bundle=bundle, data_dir=Path(directory), hybrid=True)
        async with open_runtime(settings) as runtime:
            passages = [Passage(p.id, p.text, p.language) for p in data.passages]
            for start in range(0, len(passages), CHUNK):
                await runtime.ingest.add_each(passages[start : start + CHUNK], durable=False)
            yield runtime


def split(data: RetrievalSet, a_language: int) -> tuple[list[int], list[int]]:
    """Return the places of the queries that are judged, and of the others."""
    by_language: defaultdict[str, list[int]] = defaultdict(list)
    for n in np.random.default_rng(0).permutation(len(data.queries)).tolist():
        by_language[data.queries[n].language].append(n)
    asked = [n for places in by_language.values() for n in places[:a_language]]
    return asked, [n for places in by_language.values() for n in places[a_language:]]


async def orders(runtime: Runtime, query: SetQuery, pool: str) -> Orders:
    """Return the ids that each way of searching finds, best first."""
    own = frozenset({query.language}) if pool == "own" else None

    async def hits(**options: str) -> Sequence[Hit]:
        request = SearchRequest(
            query.text,
            limit=DEEP,
            query_language=query.language,
            passage_languages=own,
            **options,  # type: ignore[arg-type]
        )
        return (await runtime.search.search(request)).hits

    vector = await runtime.encoder.encode_query(query.text)
    words = WordsQuery(lexical.query_words(query.text), vector, DEEP, PassageFilter(own))
    [by_words] = await runtime.store.search_words([words])
    calibrated = await hits(retrieval="hybrid")
    fused = sorted(calibrated, key=lambda hit: (-(hit.fusion or 0.0), -hit.score, hit.passage.id))
    plain = sorted(fused, key=lambda hit: (-_plain(hit), -hit.score, hit.passage.id))
    found: dict[str, Sequence[Hit | PassageWithWords]] = {
        "lexical": by_words.hits,
        "score": await hits(rank_by="score"),
        "probability": await hits(),
        "plain": plain,
        "hybrid": fused,
        "calibrated": calibrated,
    }
    return {order: [hit.passage.id for hit in each] for order, each in found.items()}


def _plain(hit: Hit) -> float:
    return sum(1 / (hybrid.RANK_CONSTANT + n) for n in (hit.score_rank, hit.lexical_rank) if n)


def rows(
    data: RetrievalSet, asked: Sequence[int], found: Sequence[Orders], pool: str
) -> Iterator[tuple[str, Mapping[str, float], int]]:
    """Yield each measure with its mean by order, and the number of queries that it is a mean of."""
    values: defaultdict[str, defaultdict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for n, by_order in zip(asked, found, strict=True):
        own = data.queries[n].language
        relevant = [data.passages[row] for row in data.relevant[n].tolist()]
        foreign = {p.id for p in relevant if p.language != own}
        wanted = {p.id for p in relevant} - (foreign if pool == "own" else set())
        for order, ids in by_order.items():
            if wanted:
                values["nDCG@10"][order].append(ndcg(ids, wanted))
                values["AP@100"][order].append(average_precision(ids, wanted))
            if foreign and pool == "all":
                hits = len(foreign.intersection(ids[:FIRST])) / min(FIRST, len(foreign))
                values["cross"][order].append(hits)
    for measure, by in values.items():
        means = {order: statistics.fmean(each) for order, each in by.items()}
        yield measure, means, len(by["score"])


def ndcg(ids: Sequence[str], relevant: Collection[str]) -> float:
    """Return nDCG of the first ten with grades of 0 and 1."""
    gains = 1.0 / np.log2(np.arange(2, FIRST + 2))
    gained = sum(gains[rank] for rank, found in enumerate(ids[:FIRST]) if found in relevant)
    return float(gained / gains[: len(relevant)].sum())


def average_precision(ids: Sequence[str], relevant: Collection[str]) -> float:
    """Return the average precision of what was found; what was not counts 0."""
    ranks = [rank for rank, found in enumerate(ids, start=1) if found in relevant]
    return sum(n / rank for n, rank in enumerate(ranks, start=1)) / len(relevant)


async def timed(runtime: Runtime, data: RetrievalSet, places: Sequence[int]) -> Times:
    """Search in turn, dense and hybrid, each time for something else."""
    texts = iter([data.queries[n].text for n in places])
    dense: list[float] = []
    ratios: list[float] = []
    for _ in range(min(ROUNDS, len(places) // (2 * ROUND))):
        took: dict[str, list[float]] = {"dense": [], "hybrid": []}
        for _ in range(ROUND):
            for retrieval, each in took.items():
                request = SearchRequest(next(texts), retrieval=retrieval)  # type: ignore[arg-type]
                began = time.perf_counter()
                await runtime.search.search(request)
                each.append((time.perf_counter() - began) * 1e3)
        dense.append(statistics.median(took["dense"]))
        ratios.append(statistics.median(took["hybrid"]) / dense[-1])
    return Times(len(data.passages), statistics.median(dense) if dense else 0.0, ratios)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-root", type=Path, required=True)
    config = Path("training/configs/starter_calibration.toml")
    parser.add_argument("--config", type=Path, default=config)
    parser.add_argument("--set", action="append", default=[], dest="sets")
    parser.add_argument("--bundle", type=Path, default=starter_bundle())
    parser.add_argument("--queries", type=int, default=60)
    parser.add_argument("--rank-constant", type=int, default=hybrid.RANK_CONSTANT)
    parser.add_argument("--by-words", type=int, default=hybrid.BY_WORDS)
    parser.add_argument("--average-tokens", type=int, default=lexical.AVERAGE_TOKENS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
