"""Small retrieval sets for tests."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np

from app.core.types import VectorArray
from training.evaluate import EmbeddedSet
from training.retrieval_set import RetrievalSet, SetPassage, SetQuery, assemble

LANGUAGES = ("de", "en", "es")


def parallel_set(questions: int = 4, languages: tuple[str, ...] = LANGUAGES) -> RetrievalSet:
    """Questions with one relevant passage in every language, and one neighbour beside each."""
    ids = [(n, language) for n in range(questions) for language in languages]
    queries = [SetQuery(f"q{n}.{code}", code, f"what is thing{n}", f"q{n}") for n, code in ids]
    passages = [SetPassage(f"p{n}.{code}", code, f"thing{n} is {code}", f"p{n}") for n, code in ids]
    passages += [SetPassage(f"x{n}.{code}", code, f"near {n} {code}", f"p{n}") for n, code in ids]
    judgements = {f"q{n}.{code}": {f"p{n}.{other}": 1 for other in languages} for n, code in ids}
    return assemble("small", queries, passages, judgements)


def with_random_vectors(data: RetrievalSet, *, dim: int = 8, seed: int = 0) -> EmbeddedSet:
    """Give a set unit vectors that know nothing."""
    rng = np.random.default_rng(seed)

    def unit(rows: int) -> VectorArray:
        vectors: VectorArray = rng.standard_normal((rows, dim)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors

    return EmbeddedSet(data, unit(len(data.queries)), unit(len(data.passages)))


def write_set(directory: Path, data: RetrievalSet) -> Path:
    """Write a set in the LAReQA form, gzipped."""
    directory.mkdir(parents=True, exist_ok=True)
    with gzip.open(directory / "queries.jsonl.gz", "wt", encoding="utf-8") as file:
        for query in data.queries:
            row = {"id": query.id, "lang": query.language, "text": query.text}
            file.write(json.dumps({**row, "xling_id": query.cluster}) + "\n")
    with gzip.open(directory / "passages.jsonl.gz", "wt", encoding="utf-8") as file:
        for passage in data.passages:
            row = {"id": passage.id, "lang": passage.language, "text": passage.text}
            file.write(json.dumps({**row, "context_id": passage.document}) + "\n")
    with gzip.open(directory / "qrels.tsv.gz", "wt", encoding="utf-8") as file:
        file.write("query_id\tpassage_id\tgrade\n")
        for query, rows, grades in zip(data.queries, data.relevant, data.grades, strict=True):
            for row_number, grade in zip(rows, grades, strict=True):
                file.write(f"{query.id}\t{data.passages[row_number].id}\t{grade}\n")
    return directory
