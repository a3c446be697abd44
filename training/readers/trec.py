"""Folders with TREC files, and Mr. TyDi, which is one in a fixed layout.

::

    topics.SPLIT.txt    <top> blocks, or query id, tab, query (also topic.SPLIT.tsv)
    qrels.SPLIT.txt     TREC judgements
    docs.jsonl, corpus.jsonl    {"id" or "docid", "title"?, "text" or "contents"}
    collection.tsv      passage id, tab, text; instead of JSON lines

Files may lie deeper, be gzipped, and have no split in their names. The language is given, or it is
the last word of the folder's name that names one: ``mrtydi-v1.1-arabic``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from training.errors import DataError
from training.readers.judged import JudgedSet, TextRecord, choose_split
from training.readers.names import files_named, language_in
from training.readers.records import column_texts, json_texts, topics, trec_qrels

LOOKED_FOR = "topics*, qrels* and docs*.jsonl, corpus.jsonl or collection.tsv (TREC, Mr. TyDi)"
_ENDING = r"(?:txt|tsv|xml|qrels)"
_QRELS = rf"qrels(?:[.-]((?!{_ENDING}$).+?))?(?:\.{_ENDING})?"
_TOPICS = rf"topics?(?:[.-]((?!{_ENDING}$).+?))?(?:\.{_ENDING})?"
_PASSAGES = r"(?:docs.*|corpus|collection)\.(jsonl|tsv)"


def find(path: Path, *, split: str | None, language: str | None) -> JudgedSet | None:
    """Return the set in a folder with TREC files; ``None`` if it is of another form.

    Raises:
        DataError: The split is not there, or its topics are missing.
    """
    if not path.is_dir():
        return None
    qrels = {match.group(1) or "": file for file, match in files_named(path, _QRELS)}
    asked = {match.group(1) or "": file for file, match in files_named(path, _TOPICS)}
    corpus = [file for file, _ in files_named(path, _PASSAGES)]
    if not (qrels and asked and corpus):
        return None
    chosen = choose_split(path, qrels, split)
    queries = asked.get(chosen) or asked.get("")
    if queries is None:
        raise DataError(path, None, f"has {qrels[chosen].name}, but no topics of {chosen!r}")
    code = language or language_in(path.name)
    return JudgedSet(
        path.name,
        path,
        lambda: topics(queries, code),
        lambda: trec_qrels(qrels[chosen]),
        lambda: _passages(corpus, code),
        Counter(),
    )


def _passages(files: list[Path], code: str | None) -> Iterator[TextRecord]:
    for file in files:
        read = column_texts if ".tsv" in file.suffixes else json_texts
        for record in read(file, code):
            article = record.id.partition("#")[0] if "#" in record.id else None
            yield replace(record, group=article)
