"""BEIR folders: ``corpus.jsonl``, ``queries.jsonl`` and ``qrels/SPLIT.tsv``, each maybe gzipped.

Rows are ``{"_id", "text", "title"?}``; the title goes before the text, as in BEIR's own code.
BEIR names no language: it stands in a row's ``lang`` or ``metadata.lang``, or is given.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from training.readers.judged import JudgedSet, choose_split
from training.readers.names import files_named, one_file
from training.readers.records import chained, headed_qrels, json_texts

LOOKED_FOR = "corpus.jsonl, queries.jsonl and qrels/SPLIT.tsv (BEIR)"


def find(path: Path, *, split: str | None, language: str | None) -> JudgedSet | None:
    """Return the set in a BEIR folder, or of one of its ``qrels/SPLIT.tsv``; else ``None``.

    Raises:
        DataError: The split is not there, or a file is missing.
    """
    if path.is_file() and path.parent.name == "qrels" and path.name.split(".")[0]:
        return find(path.parent.parent, split=path.name.split(".")[0], language=language)
    if not (path / "qrels").is_dir() or not list(files_named(path, r"corpus\.jsonl")):
        return None
    splits = {match.group(1): file for file, match in files_named(path / "qrels", r"(.+)\.tsv")}
    chosen = splits[choose_split(path / "qrels", splits, split)]
    return JudgedSet(
        path.name,
        path,
        chained([one_file(path, r"queries\.jsonl", "queries")], json_texts, language),
        lambda: headed_qrels(chosen),
        chained([one_file(path, r"corpus\.jsonl", "passages")], json_texts, language),
        Counter(),
    )
