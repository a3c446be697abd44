"""Calibrates on a few labels of another domain, and tests on queries that were held out.

    python -m benchmarks.calibrate_domain DATA --labels 200 --repeats 20 --out DIRECTORY

DATA is a folder with judgements of both kinds, ``passages.jsonl.gz`` {id, text, lang},
``queries.jsonl.gz`` {id, text, lang} and ``qrels.tsv.gz`` (query_id, passage_id, grade; relevant
above 0), or a file of questions with the passages that answer them, {id, question, passage, lang}:
there every other passage is irrelevant. The passages are indexed with the bundle. Each repeat deals
the queries into halves, judges the first five hits of queries of the one half until there are so
many labels, fits as ``isoglot calibrate`` does, and compares with the bundle's calibrator on the
first twenty hits of the other half. A fit that is refused leaves the bundle's calibrator in use.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import gzip
import json
import tempfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import typer

from app.cli.calibrating.judgements import JudgedQuery, same_query
from app.cli.calibrating.places import search_here
from app.cli.calibrating.served_lists import QueryList, judged_hits, serve
from app.cli.calibrating.svg import reliability_diagram
from app.cli.ingest.index import run_index
from app.core.calibration.assess import STATISTICS, reliability
from app.core.calibration.calibrator import Calibrator
from app.core.calibration.document import parse_calibrator
from app.core.calibration.refit import refit
from app.core.types import FloatArray
from app.environment import load_settings
from app.settings import Settings

JUDGED_A_QUERY = 5


def rows(path: Path) -> list[dict[str, str]]:
    """Read JSON Lines."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def judged_queries(folder: Path) -> list[JudgedQuery]:
    """Read queries and their judgements."""
    queries = {
        row["id"]: JudgedQuery(row["text"], row["lang"])
        for row in rows(folder / "queries.jsonl.gz")
    }
    with gzip.open(folder / "qrels.tsv.gz", "rt", encoding="utf-8") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            relevant = int(row["grade"]) > 0
            queries[row["query_id"]].add(row["passage_id"], relevant=relevant, place="qrels")
    return [query for query in queries.values() if query.labels]


def answered_questions(path: Path, most: int = 400) -> tuple[list[JudgedQuery], dict[str, str]]:
    """Read questions with their passages; returns so many questions, and all passages by id."""
    lines = rows(path)
    ids = {text: f"p{n}" for n, text in enumerate(dict.fromkeys(r["passage"] for r in lines))}
    chosen = np.random.default_rng(0).permutation(len(lines))[:most]
    asked: dict[str, JudgedQuery] = {}
    for line in (lines[n] for n in chosen):
        query = asked.setdefault(
            same_query(line["question"]), JudgedQuery(line["question"], line["lang"])
        )
        query.add(ids[line["passage"]], relevant=True, place=str(path))
    return list(asked.values()), {number: text for text, number in ids.items()}


async def served(
    settings: Settings, queries: list[JudgedQuery]
) -> tuple[Calibrator, list[QueryList]]:
    """Search for every query."""
    async with search_here(settings) as place:
        return place.calibrator, [await serve(place.search, query) for query in queries]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--labels", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    if given.data.is_dir():
        queries = judged_queries(given.data)
        entries = [
            {"id": row["id"], "text": row["text"], "language": row["lang"]}
            for row in rows(given.data / "passages.jsonl.gz")
        ]
    else:
        queries, texts = answered_questions(given.data)
        entries = [
            {"id": number, "text": text, "language": queries[0].language or "und"}
            for number, text in texts.items()
        ]
    with tempfile.TemporaryDirectory() as directory:
        settings = load_settings(data_dir=Path(directory) / "data")
        passages = Path(directory) / "passages.jsonl"
        with passages.open("w", encoding="utf-8") as file:
            for entry in entries:
                file.write(json.dumps(entry, ensure_ascii=False) + "\n")
        with suppress(typer.Exit):  # how the command ends
            run_index([str(passages)], settings=settings, url=None)
        base, lists = asyncio.run(served(settings, queries))
    if not given.data.is_dir():
        for one in lists:
            answers = set(one.query.labels)
            one.query.labels = {passage: passage in answers for passage in one.ids}
    results = [one_repeat(base, lists, given.labels, seed) for seed in range(given.repeats)]
    print(f"{given.repeats} splits of {len(lists)} queries, {given.labels} labels to fit on")
    print(f"{'':20}{'shipped':>10}{'own':>10}   own is better in")
    for name in results[0][0]:
        before = np.array([b[name] for b, _, _ in results])
        after = np.array([a[name] for _, a, _ in results])
        worse, better = _distance(name, before), _distance(name, after)
        share = np.mean(better < worse)
        print(f"{name:20}{before.mean():10.4f}{after.mean():10.4f}   {share:.0%}")
    verdicts = [verdict for _, _, verdict in results]
    print({verdict: verdicts.count(verdict) for verdict in sorted(set(verdicts))})
    if given.out:
        draw(base, lists, given.labels, given.out)


def _distance(name: str, values: FloatArray) -> FloatArray:
    if name == "expected_observed":
        return np.abs(np.log(values))
    return np.asarray(-values if name == "auroc" else values, dtype=np.float64)


def deal(lists: list[QueryList], labels: int, seed: int) -> tuple[list[QueryList], list[QueryList]]:
    """Return lists with about that many judged hits from one half of the queries, and the other."""
    order = np.random.default_rng(seed).permutation(len(lists))
    half = len(lists) // 2
    chosen: list[QueryList] = []
    found = 0
    for number in order[:half]:
        if found >= labels:
            break
        one = lists[number]
        labelled = [(p, one.query.labels[p]) for p in one.ids if p in one.query.labels]
        first = labelled[:JUDGED_A_QUERY]
        found += len(first)
        chosen.append(replace(one, query=replace(one.query, labels=dict(first))))
    return chosen, [lists[number] for number in order[half:]]


def one_repeat(
    base: Calibrator, lists: list[QueryList], labels: int, seed: int
) -> tuple[dict[str, float], dict[str, float], str]:
    """Return statistics on the held-out half before and after, and the verdict of the fit."""
    fit_on, test_on = deal(lists, labels, seed)
    result = refit(
        base.document,
        judged_hits(base, fit_on, complete=False),
        data="one half",
        data_sha256="0" * 64,
    )
    own = base if result.text is None else _calibrator(result.text)
    tested = [judged_hits(calibrator, test_on, complete=False) for calibrator in (base, own)]
    figures = [
        {
            name: statistic(hits.stated, hits.sample.relevant, hits.sample.weights)
            for name, statistic in STATISTICS.items()
        }
        for hits in tested
    ]
    return figures[0], figures[1], result.verdict


def draw(base: Calibrator, lists: list[QueryList], labels: int, out: Path) -> None:
    """Draw the held-out hits of the first split before and after."""
    fit_on, test_on = deal(lists, labels, 0)
    hits = judged_hits(base, fit_on, complete=False)
    text = refit(base.document, hits, data="one half", data_sha256="0" * 64).text
    if text is None:
        return
    before, after = (
        judged_hits(calibrator, test_on, complete=False) for calibrator in (base, _calibrator(text))
    )
    out.mkdir(parents=True, exist_ok=True)
    diagram = reliability_diagram(
        f"Held-out queries, {labels} labels",
        reliability(before.stated, before.sample),
        reliability(after.stated, after.sample),
    )
    (out / "own-calibrator.svg").write_text(diagram, encoding="utf-8")


def _calibrator(text: str) -> Calibrator:
    return Calibrator(parse_calibrator(json.loads(text)))


if __name__ == "__main__":
    main()
