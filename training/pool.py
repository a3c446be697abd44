"""What a retrieval set held when it was searched: said beside every figure, and fingerprinted."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from typing import Any

import numpy as np

from training.retrieval_set import RetrievalSet


def describe_pool(data: RetrievalSet) -> dict[str, Any]:
    """Return the facts of a set that its figures depend on, ready for JSON.

    Returns:
        ``queries`` and ``passages`` (numbers), ``languages`` (of the queries),
        ``queries_by_language`` and ``passages_by_language``, ``relevant`` (number of relevant
        judgements, ``by_grade``, and ``fewest``, ``mean`` and ``most`` a query), ``unjudged``
        (passages marked as neither), ``queries_without_answer`` (left out of all means) and
        ``fingerprint``.
    """
    counts = np.array([len(rows) for rows in data.relevant])
    grades = Counter(int(grade) for row in data.grades for grade in row)
    asked = Counter(query.language for query in data.queries)
    return {
        "queries": len(data.queries),
        "passages": len(data.passages),
        "languages": sorted(asked),
        "queries_by_language": dict(sorted(asked.items())),
        "passages_by_language": dict(sorted(Counter(p.language for p in data.passages).items())),
        "relevant": {
            "judgements": int(counts.sum()),
            "by_grade": {str(grade): n for grade, n in sorted(grades.items())},
            "fewest": int(counts.min()),
            "mean": float(counts.mean()),
            "most": int(counts.max()),
        },
        "unjudged": sum(len(rows) for rows in data.unjudged),
        "queries_without_answer": int((counts == 0).sum()),
        "fingerprint": fingerprint(data),
    }


def fingerprint(data: RetrievalSet) -> str:
    """Return the sha256 over queries, passages and judgements; the name does not count."""
    digest = hashlib.sha256()
    for query, rows, grades in zip(data.queries, data.relevant, data.grades, strict=True):
        facts = [query.id, query.language, query.text, query.cluster]
        digest.update(_line([*facts, rows.tolist(), grades.tolist()]))
    for passage in data.passages:
        digest.update(_line([passage.id, passage.language, passage.text]))
    return digest.hexdigest()


def _line(fields: list[Any]) -> bytes:
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
