"""Does a refit from feedback mend a calibrator that does not fit a corpus? On the demo corpus.

A service with the starter bundle answers the answerable questions of the demo corpus; its hits are
labelled with the corpus's qrels and sent back as feedback, through HTTP. The corpus is biased: it
is small, on everyday topics, and every passage is there in eleven languages. Every draw refits on
labels of half of the topics, and the other half are held out. The same with labels that must be
refused: of no information, and drawn from what was stated, where the calibrator holds.

    python -m benchmarks.recalibration
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

import httpx
import numpy as np

from app.adapters.feedback.sql import feedback_log
from app.core.bundle import load_bundle
from app.core.calibration.document import CalibratorDocument
from app.core.feedback.entries import Entry
from app.core.feedback.labels import labels_of
from app.core.feedback.moved import moved_calibrator
from app.core.feedback.refit import RISE, propose, restated
from app.main import create_app
from app.settings import Settings

DEMO = Path("demo")
DRAWS = 200
LIMIT = 10
INSIDE = (0.85, 1.15)
DAY = date(2026, 1, 1)

Answer = Sequence[Entry]
"""The labelled hits of one search, by rank."""
Relabel = Callable[[Sequence[Answer], random.Random], list[Entry]]


def main() -> None:
    """Run it, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--draws", type=int, default=DRAWS, help="per row of the table")
    draws = parser.parse_args().draws
    with tempfile.TemporaryDirectory() as directory:
        by_topic = asyncio.run(_run(Path(directory)))
    bundle = load_bundle(Settings().bundle)
    assert bundle.calibrator is not None
    document = bundle.calibrator.document
    print(
        f"{draws} draws a row\n"
        "| labels | proposed | refused as noise | refused: it may hold | E/O as stated "
        "| E/O of proposals | of them inside .85 to 1.15 |\n"
        "| --- | --- | --- | --- | --- | --- | --- |"
    )
    for name, (queries, relabel) in ROWS.items():
        drawn = [_draw(document, by_topic, queries, relabel, seed) for seed in range(draws)]
        print(f"| {name} | {' | '.join(_summary(drawn))} |", flush=True)


async def _run(directory: Path) -> dict[str, list[Answer]]:
    """Return the answers to all questions by topic, in the order of the questions."""
    settings = Settings(data_dir=directory, log_level="error")
    passages = [json.loads(line) for line in (DEMO / "passages.jsonl").open(encoding="utf-8")]
    relevant = _qrels()
    questions = [json.loads(line) for line in (DEMO / "queries.jsonl").open(encoding="utf-8")]
    questions = [q for q in questions if q["answerable"]]
    app = create_app(settings)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://demo", timeout=120) as client,
    ):
        while not app.state.api.readiness.is_ready:  # noqa: ASYNC110  it starts in a second
            await asyncio.sleep(0.05)
        for start in range(0, len(passages), 500):
            body = passages[start : start + 500]
            (await client.post("/v1/passages", json=body)).raise_for_status()
        asked: dict[str, str] = {}
        for question in questions:
            asked |= await _label(client, question, relevant[question["id"]])
    log = feedback_log(None, data_dir=directory, collection=settings.collection)
    await log.open()
    entries = [entry for _, entry in await log.read(limit=1_000_000)]
    await log.close()
    answers: dict[str, list[Entry]] = {question["id"]: [] for question in questions}
    for entry in entries:
        answers[asked[entry.statement.query_id]].append(entry)
    by_topic: dict[str, list[Answer]] = {}
    for question in questions:
        by_topic.setdefault(question["topic"], []).append(answers[question["id"]])
    return by_topic


def _true(answers: Sequence[Answer], _: random.Random) -> list[Entry]:
    return [entry for answer in answers for entry in answer]


def _at_random(answers: Sequence[Answer], chance: random.Random) -> list[Entry]:
    return [replace(entry, relevant=chance.random() < 0.3) for entry in _true(answers, chance)]


def _by_query(answers: Sequence[Answer], chance: random.Random) -> list[Entry]:
    """Somebody content says yes to nearly all of an answer, somebody else to hardly any."""
    shares = [chance.choice((0.1, 0.9)) for _ in answers]
    return [
        replace(entry, relevant=chance.random() < share)
        for share, answer in zip(shares, answers, strict=True)
        for entry in answer
    ]


def _shuffled(answers: Sequence[Answer], chance: random.Random) -> list[Entry]:
    entries = _true(answers, chance)
    labels = [entry.relevant for entry in entries]
    chance.shuffle(labels)
    return [replace(e, relevant=label) for e, label in zip(entries, labels, strict=True)]


def _as_stated(answers: Sequence[Answer], chance: random.Random) -> list[Entry]:
    return [
        replace(entry, relevant=chance.random() < entry.statement.probability)
        for entry in _true(answers, chance)
    ]


def _a_word_a_query(relabel: Relabel) -> Relabel:
    """As people who judge one hit of an answer, whichever, and go on."""

    def relabelled(answers: Sequence[Answer], chance: random.Random) -> list[Entry]:
        return relabel([[chance.choice(answer)] for answer in answers], chance)

    return relabelled


ROWS: dict[str, tuple[int, Relabel]] = {
    "500 of the corpus, 50 queries": (50, _true),
    "500 of the corpus, 500 queries": (500, _a_word_a_query(_true)),
    "500 drawn as stated, 50 queries": (50, _as_stated),
    "500 drawn as stated, 500 queries": (500, _a_word_a_query(_as_stated)),
    "500 at random, 30 % relevant": (50, _at_random),
    "500 at random, queries liked or not": (50, _by_query),
    "500 of the corpus, shuffled": (50, _shuffled),
    "1000 of the corpus, 100 queries": (100, _true),
    "2000 of the corpus, 200 queries": (200, _true),
    "2000 drawn as stated, 200 queries": (200, _as_stated),
    "2000 of the corpus, shuffled": (200, _shuffled),
}
"""Queries that are drawn, and what they are labelled with."""


def _draw(
    document: CalibratorDocument,
    by_topic: dict[str, list[Answer]],
    queries: int,
    relabel: Relabel,
    seed: int,
) -> tuple[str, float, float]:
    """Return what became of a draw, and expected/observed held out before and after it."""
    chance = random.Random(seed)
    fitted = set(chance.sample(sorted(by_topic), len(by_topic) // 2))
    ours = [answer for topic in by_topic if topic in fitted for answer in by_topic[topic]]
    rest = [answer for topic in by_topic if topic not in fitted for answer in by_topic[topic]]
    sample = labels_of(relabel(chance.sample(ours, queries), chance), document.id)
    held = labels_of(_true(rest, chance), document.id)
    proposal = propose(document, sample, seed=seed)
    if proposal.refusal is None:
        moved_calibrator(document, proposal, sample, fitted=DAY)  # is a valid document
    noise = proposal.rise is None or proposal.rise <= RISE
    outcome = "proposed" if proposal.refusal is None else "noise" if noise else "holds"
    after = restated(document, held, proposal)
    return outcome, _ratio(held.probability, held.relevant), _ratio(after, held.relevant)


def _summary(drawn: Sequence[tuple[str, float, float]]) -> list[str]:
    """Return the cells of a row."""
    outcomes = [outcome for outcome, _, _ in drawn]
    after = [ratio for outcome, _, ratio in drawn if outcome == "proposed"]
    inside = sum(INSIDE[0] <= ratio <= INSIDE[1] for ratio in after)
    return [
        *(str(outcomes.count(outcome)) for outcome in ("proposed", "noise", "holds")),
        _spread([before for _, before, _ in drawn]),
        _spread(after) if after else "-",
        f"{inside} of {len(after)}" if after else "-",
    ]


def _ratio(probability: np.ndarray, relevant: np.ndarray) -> float:
    return float(probability.sum() / relevant.sum())


def _spread(ratios: Sequence[float]) -> str:
    return f"{np.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


async def _label(
    client: httpx.AsyncClient, question: dict[str, str], relevant: set[str]
) -> dict[str, str]:
    body = {"query": question["text"], "limit": LIMIT, "language": {"query": question["language"]}}
    answer = (await client.post("/v1/search", json=body)).raise_for_status().json()
    said = [
        {"token": hit["feedback_token"], "relevant": hit["id"] in relevant, "source": "judged"}
        for hit in answer["hits"]
    ]
    (await client.post("/v1/feedback:batch", json={"feedback": said})).raise_for_status()
    return {answer["query_id"]: question["id"]}


def _qrels() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for line in (DEMO / "qrels.tsv").open(encoding="utf-8"):
        query, passage, grade = line.rstrip("\n").split("\t")
        if grade == "1":
            found.setdefault(query, set()).add(passage)
    return found


if __name__ == "__main__":
    main()
