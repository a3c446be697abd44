"""mMARCO, and MS MARCO's passage ranking: everything by tabs.

Below the folder that is given, at any depth, for a language by its English name::

    LANGUAGE_collection.tsv        passage id, text
    LANGUAGE_queries.SPLIT.tsv     query id, text
    qrels.SPLIT.tsv                TREC judgements; the same for all languages
    triples*.tsv                   query id, id of a relevant passage, id of another one

Without judgements for a split, triples are judgements: grade 1, and grade 0. Nobody has looked at
the passages of grade 0; most of them are not relevant.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

from training.errors import DataError
from training.readers.files import read_columns
from training.readers.judged import MAX_NEGATIVES, JudgedSet, Judgement, choose_split
from training.readers.names import LANGUAGE_NAMES, files_named
from training.readers.records import column_texts, trec_qrels

LOOKED_FOR = "*_collection.tsv, *_queries.SPLIT.tsv and qrels.SPLIT.tsv or triples*.tsv (mMARCO)"
_NAMES = "|".join(LANGUAGE_NAMES)


def find(path: Path, *, split: str | None, language: str | None) -> JudgedSet | None:
    """Return the set in an mMARCO folder; ``None`` if it is of another form.

    Raises:
        DataError: The language or split is not there, or nothing says which language is meant.
    """
    if not path.is_dir():
        return None
    collections = {
        LANGUAGE_NAMES[match.group(1)]: file
        for file, match in files_named(path, rf"({_NAMES})_collection\.tsv")
    }
    if not collections:
        return None
    code = _language(path, collections, language)
    queries = {
        match.group(2): file
        for file, match in files_named(path, rf"({_NAMES})_queries\.(.+)\.tsv")
        if LANGUAGE_NAMES[match.group(1)] == code
    }
    qrels = {match.group(1): file for file, match in files_named(path, r"qrels\.(.+)\.tsv")}
    triples = [file for file, _ in files_named(path, r"triples.*\.tsv")]
    chosen = choose_split(path, queries, split)
    if chosen not in qrels and not triples:
        raise DataError(path, None, f"has no qrels.{chosen}.tsv and no triples*.tsv")
    return JudgedSet(
        path.name,
        path,
        lambda: column_texts(queries[chosen], code),
        lambda: trec_qrels(qrels[chosen]) if chosen in qrels else triple_judgements(triples[0]),
        lambda: column_texts(collections[code], code),
        Counter(),
    )


def _language(path: Path, found: dict[str, Path], wanted: str | None) -> str:
    if wanted is None and len(found) == 1:
        return next(iter(found))
    if wanted not in found:
        problem = "say which language is meant" if wanted is None else f"has no {wanted!r}"
        raise DataError(path, None, f"{problem}; there are collections in {', '.join(found)}")
    return wanted


def triple_judgements(path: Path) -> Iterator[Judgement]:
    """Read triples as judgements, each pair once, at most ``MAX_NEGATIVES`` of grade 0 a query."""
    seen: dict[str, set[str]] = defaultdict(set)
    refused: Counter[str] = Counter()
    names = ("query id", "relevant passage id", "other passage id")
    for place, (query, positive, negative) in read_columns(path, names):
        if positive not in seen[query]:
            seen[query].add(positive)
            yield Judgement(place, query, positive, 1)
        if refused[query] < MAX_NEGATIVES and negative not in seen[query]:
            seen[query].add(negative)
            refused[query] += 1
            yield Judgement(place, query, negative, 0)
