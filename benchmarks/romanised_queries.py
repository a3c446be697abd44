"""Measures when a query in Latin letters is taken for none of the languages written so.

    python -m benchmarks.romanised_queries --data-root DATA

Caught: sentences of languages with another script, in the Latin letters that people type them in
(``romanised.tsv``, written for this, none of them by a user). Lost: real questions of Latin-script
languages whose guess is not sure (MIRACL and MKQA under the data root). Both again by the number of
words, were texts of any number of words judged so: headings of course sections, and parts of the
romanised sentences. Then the price: what the
questions of TyDi dev (tr: TQuAD dev, fr: PIAF) are told by the pooled head and by those of the
guess, as expected / observed relevant hits among the first twenty passages in their language. With
``--romanise`` also what other questions are told, in Latin letters by uroman, which has to be
installed: a transliteration by rules, which people do not type.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import itertools
import json
import math
import random
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from app.adapters.language_identifier import FastTextIdentifier
from app.bootstrap import Runtime, open_runtime
from app.core.languages import writing
from app.core.search.types import SearchRequest
from app.core.types import LanguageGuess, Passage
from app.settings import Settings, starter_bundle

WRITTEN = Path(__file__).with_name("romanised.tsv")
MIRACL = ("de", "en", "es", "fr", "fi", "id", "sw", "yo")
MKQA = ("en", "es", "tr", "fi", "ms", "sv")
TYDI = ("en", "fi", "id", "sw")
OTHERS = {"tr": "tquad/dev.tr.jsonl.gz", "fr": "piaf/all.fr.jsonl.gz"}
HEADINGS = ("de", "en", "es", "fr", "it", "pt", "tr", "vi")
MOST_WORDS = 6
SAMPLE = 500
MOST_ASKED = 1000
TYDI_OTHER = {"ar": "ara", "bn": "ben", "ko": "kor", "ru": "rus", "te": "tel"}
ROMANISED = 150
THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)
DEEP = 20
CHUNK = 256

Texts = Mapping[str, Sequence[str]]


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--queries", type=int, default=800, help="of each language")
    parser.add_argument("--romanise", action="store_true")
    given = parser.parse_args()
    unsure(written(), "caught")
    unsure(real(given.data_root, given.queries), "lost")
    by_words(given.data_root)
    asyncio.run(price(given.data_root, romanise=given.romanise))


def unsure(texts: Texts, name: str) -> None:
    """Print the share of unsure guesses by language, for several thresholds."""
    identifier = FastTextIdentifier()
    guesses = {
        language: [(text, identifier.identify(text)) for text in each]
        for language, each in texts.items()
    }
    guesses["all"] = [pair for each in guesses.values() for pair in each]
    columns = [f"below {threshold}" for threshold in THRESHOLDS]
    print(f"| {name} | n | {' | '.join(columns)} | below {writing.SURE}, no relatives |")
    print("| --- | --- |" + " --- |" * (len(columns) + 1))
    for language, each in guesses.items():
        shares = [_share(each, threshold) for threshold in THRESHOLDS]
        shares.append(
            sum(
                guess.confidence < writing.SURE and len(text.split()) >= writing.ENOUGH_WORDS
                for text, guess in each
            )
            / len(each)
        )
        print(f"| {language} | {len(each)} | {' | '.join(f'{share:.3f}' for share in shares)} |")


def _share(guesses: Sequence[tuple[str, LanguageGuess]], threshold: float) -> float:
    kept, writing.SURE = writing.SURE, threshold
    try:
        return sum(not writing.known_posterior(*pair) for pair in guesses) / len(guesses)
    finally:
        writing.SURE = kept


def by_words(root: Path) -> None:
    """Print the share of unsure guesses by number of words: headings, and romanised parts."""
    identifier, draw = FastTextIdentifier(), random.Random(0)
    headings = defaultdict(set)
    for row in _rows(root / "course-sections/qa.jsonl.gz"):
        if row["lang"] in HEADINGS:
            headings[len(row["question"].split())].add(row["question"])
    sentences = [text.split() for each in written().values() for text in each]
    print("| words | headings | lost | romanised parts | caught |")
    print("| --- | --- | --- | --- | --- |")
    for words in range(1, MOST_WORDS + 1):
        parts = [
            " ".join(sentence[start : start + words])
            for sentence in sentences
            for start in range(0, len(sentence) - words + 1, words)
        ]
        cells = []
        for texts in (sorted(headings[words]), parts):
            some = draw.sample(texts, min(SAMPLE, len(texts)))
            unsure_ones = sum(writing.is_unsure(identifier.identify(text)) for text in some)
            cells.append(f"{len(some)} | {unsure_ones / len(some):.2f}")
        print(f"| {words} | {' | '.join(cells)} |")


def written() -> Texts:
    """Return the romanised sentences by language."""
    texts = defaultdict(list)
    for line in WRITTEN.read_text(encoding="utf-8").splitlines():
        language, text = line.split("\t")
        texts[language].append(text)
    return texts


def real(root: Path, count: int) -> Texts:
    """Return questions by set and language, a sample of each."""
    texts = defaultdict(list)
    for row in _rows(root / "miracl-queries/queries.jsonl.gz"):
        if row["lang"] in MIRACL:
            texts[f"{row['lang']}, MIRACL"].append(row["text"])
    for row in _rows(root / "mkqa-questions/parallel.jsonl.gz"):
        for language in MKQA:
            texts[f"{language}, MKQA"].append(row[language])
    draw = random.Random(0)
    return {name: draw.sample(each, min(count, len(each))) for name, each in sorted(texts.items())}


async def price(root: Path, *, romanise: bool) -> None:
    """Print what questions are told by the pooled head, and by those of the guess."""
    files = [f"tydi-goldp/dev.{code}.jsonl.gz" for code in (*TYDI, *TYDI_OTHER)]
    rows = [
        row
        for file in (*files, *OTHERS.values())
        for row in itertools.islice(_rows(root / file), MOST_ASKED)
    ]
    languages = {row["passage"]: row["lang"] for row in rows}
    ids = {text: f"p{n}" for n, text in enumerate(languages)}
    asked = defaultdict(list)
    for row in rows:
        if row["lang"] in (*TYDI, *OTHERS):
            asked[row["lang"]].append((row["question"], ids[row["passage"]]))
    if romanise:
        asked |= _romanised(rows, ids)
    identifier = FastTextIdentifier()
    print("| questions | guess | n | relevant | E/O pooled | log loss | E/O by guess | log loss |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as directory:
        settings = Settings(bundle=starter_bundle(), data_dir=Path(directory))
        async with open_runtime(settings) as runtime:
            passages = [Passage(id_, text, languages[text]) for text, id_ in ids.items()]
            for start in range(0, len(passages), CHUNK):
                await runtime.ingest.add_each(passages[start : start + CHUNK], durable=False)
            for language, each in asked.items():
                guesses = [identifier.identify(question) for question, _ in each]
                for name, wanted in (("unsure", True), ("sure", False)):
                    some = [
                        pair
                        for pair, guess in zip(each, guesses, strict=True)
                        if writing.is_unsure(guess) is wanted
                    ]
                    print(await _row(runtime, language, name, some), flush=True)


async def _row(runtime: Runtime, language: str, name: str, asked: Sequence[tuple[str, str]]) -> str:
    own = language.partition("-")[0]
    kept = writing.SURE, writing.ENOUGH_WORDS
    told_by = []
    writing.ENOUGH_WORDS = 1
    for threshold in (2.0, 0.0):  # every guess is unsure, none is
        writing.SURE = threshold
        told_by.append(await told(runtime, asked, own))
    writing.SURE, writing.ENOUGH_WORDS = kept
    cells = " | ".join(f"{ratio:.2f} | {loss:.4f}" for _, ratio, loss in told_by)
    return f"| {language} | {name} | {len(asked)} | {told_by[0][0]} | {cells} |"


def _romanised(
    rows: Sequence[Mapping[str, str]], ids: Mapping[str, str]
) -> dict[str, list[tuple[str, str]]]:
    from uroman import Uroman  # type: ignore[import-not-found,unused-ignore]  # not of the project

    romanise = Uroman().romanize_string
    found: dict[str, list[tuple[str, str]]] = {}
    for language, code in TYDI_OTHER.items():
        own = [row for row in rows if row["lang"] == language][:ROMANISED]
        found[f"{language}-Latn"] = [
            (romanise(row["question"], lcode=code), ids[row["passage"]]) for row in own
        ]
    return found


async def told(
    runtime: Runtime, asked: Sequence[tuple[str, str]], language: str
) -> tuple[int, float, float]:
    """Return the relevant hits, expected / observed and the mean log loss of a hit."""
    expected = observed = loss = hits = 0.0
    for question, right in asked:
        request = SearchRequest(
            question, limit=DEEP, rank_by="score", passage_languages=frozenset({language})
        )
        answer = await runtime.search.search(request)
        for hit in answer.hits:
            assert hit.probability is not None
            relevant = hit.passage.id == right
            expected += hit.probability
            observed += relevant
            loss -= math.log(hit.probability if relevant else 1 - hit.probability)
            hits += 1
    return int(observed), expected / max(observed, 1.0), loss / max(hits, 1.0)


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


if __name__ == "__main__":
    main()
