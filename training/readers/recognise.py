"""Finds out which form a directory or file has."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from training.errors import DataError
from training.readers import beir, lareqa, miracl, mmarco, own, squad, trec
from training.readers.judged import JudgedSet, build
from training.retrieval_set import RetrievalSet


class _Finder(Protocol):
    def __call__(self, path: Path, *, split: str | None, language: str | None) -> JudgedSet | None:
        """Return the set at a path, or ``None`` if it is of another form."""
        ...


# More particular forms first: a MIRACL folder also looks like one with TREC files, and a LAReQA
# file is a SQuAD-form file.
FORMS: dict[str, tuple[_Finder, str]] = {
    "isoglot": (own.find, own.LOOKED_FOR),
    "beir": (beir.find, beir.LOOKED_FOR),
    "miracl": (miracl.find, miracl.LOOKED_FOR),
    "mmarco": (mmarco.find, mmarco.LOOKED_FOR),
    "trec": (trec.find, trec.LOOKED_FOR),
    "lareqa": (lareqa.find, lareqa.LOOKED_FOR),
    "squad": (squad.find, squad.LOOKED_FOR),
}


def recognise(path: Path, *, split: str | None = None, language: str | None = None) -> JudgedSet:
    """Return the judged set at a path, whatever its form.

    Args:
        path: Directory, SQuAD-form or LAReQA file, or one ``qrels/SPLIT.tsv`` of a BEIR folder.
        split: Split to read; the test split where there is one, else the development split.
        language: BCP-47 code of all rows, for forms that name none; of forms that hold several,
            the one to read.

    Raises:
        DataError: Nothing is there, the form is not known, or it is known but incomplete.
    """
    if not path.exists():
        raise DataError(path, None, "there is no such file or directory")
    for find, _ in FORMS.values():
        found = find(path, split=split, language=language)
        if found is not None:
            return found
    looked_for = "".join(f"\n  {name}: {what}" for name, (_, what) in FORMS.items())
    raise DataError(path, None, f"is not a retrieval set of a known form; looked for{looked_for}")


def read_retrieval_set(
    path: Path, *, split: str | None = None, language: str | None = None
) -> RetrievalSet:
    """Read a retrieval set, whatever its form; see ``recognise``.

    Raises:
        DataError: As ``recognise``, and where a row is malformed, a text is empty, a language is
            missing or unknown, an id stands for two texts, or a judgement names a query or
            passage that is missing. File and line are named.
    """
    return build(recognise(path, split=split, language=language))
