"""MIRACL as it is published: topics, judgements and corpora of one or more languages.

Below the folder that is given, at any depth::

    topics.miracl-v1.0-LANG-SPLIT.tsv      query id, tab, query
    qrels.miracl-v1.0-LANG-SPLIT.tsv       TREC judgements; grade 0 was judged not relevant
    miracl-corpus-v1.0-LANG/docs-N.jsonl.gz    {"docid", "title", "text"}

With several languages the ids of queries and passages get the prefix ``LANG/``.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from training.errors import DataError
from training.readers.judged import JudgedSet, TextRecord, choose_split, merged
from training.readers.names import files_named
from training.readers.records import column_texts, json_texts, trec_qrels

LOOKED_FOR = "topics.miracl-v1.0-*.tsv, qrels.miracl-v1.0-*.tsv and miracl-corpus-*/docs-*.jsonl"
_JUDGEMENTS = r"qrels\.miracl-v1\.0-([a-z]+)-(.+)\.tsv"


def find(path: Path, *, split: str | None, language: str | None) -> JudgedSet | None:
    """Return the set in a MIRACL folder; ``None`` if it is of another form.

    Raises:
        DataError: The split or language is not there, or topics or passages are missing.
    """
    if not path.is_dir():
        return None
    by_language: dict[str, dict[str, Path]] = defaultdict(dict)
    for file, match in files_named(path, _JUDGEMENTS):
        by_language[match.group(1)][match.group(2)] = file
    if not by_language:
        return None
    if language is not None and language not in by_language:
        there = ", ".join(by_language)
        raise DataError(path, None, f"has no judgements in {language!r}; it has {there}")
    chosen = [language] if language is not None else sorted(by_language)
    parts = [(code, _part(path, code, by_language[code], split)) for code in chosen]
    if len(parts) == 1:
        return parts[0][1]
    return merged(path.name, path, [(f"{code}/", part) for code, part in parts])


def _part(path: Path, code: str, qrels: dict[str, Path], split: str | None) -> JudgedSet:
    chosen = choose_split(path, qrels, split)
    stem = f"topics.miracl-v1.0-{code}-{chosen}.tsv"
    topic_files = [file for file, _ in files_named(path, stem.replace(".", r"\."))]
    if not topic_files:
        raise DataError(path, None, f"has {qrels[chosen].name}, but no {stem}")
    corpus = [
        file
        for file, _ in files_named(path, r"docs-\d+\.jsonl")
        if file.parent.name.endswith(f"-{code}")
    ]
    if not corpus:
        wanted = f"miracl-corpus-v1.0-{code}/docs-*.jsonl.gz"
        raise DataError(path, None, f"has no passages in {code!r}; put {wanted} below it")
    return JudgedSet(
        path.name,
        path,
        lambda: column_texts(topic_files[0], code),
        lambda: trec_qrels(qrels[chosen]),
        lambda: _passages(corpus, code),
        Counter(),
    )


def _passages(files: list[Path], code: str) -> Iterator[TextRecord]:
    for file in files:
        for record in json_texts(file, code):
            # "12#3" is the fourth passage of article 12.
            yield replace(record, group=record.id.partition("#")[0])
