"""Does a refit from feedback mend a calibrator that does not fit a corpus? On the demo corpus.

A service with the starter bundle answers the answerable questions of the demo corpus; its hits are
labelled with the corpus's qrels and sent back as feedback, through HTTP. The corpus is biased: it
is small, on everyday topics, and every passage is there in eleven languages. The refit sees 500
labels of half of the topics; the other half are held out. Then the same with labels drawn at
random, which must be refused.

    python -m benchmarks.recalibration
"""

from __future__ import annotations

import asyncio
import json
import random
import tempfile
from collections.abc import Sequence
from pathlib import Path

import httpx
import numpy as np

from app.adapters.feedback.sql import feedback_log
from app.core.bundle import load_bundle
from app.core.feedback.entries import Entry
from app.core.feedback.labels import labels_of
from app.core.feedback.moved import moved_calibrator
from app.core.feedback.refit import propose, restated
from app.main import create_app
from app.settings import Settings

DEMO = Path("demo")
LABELS = 500
SEEDS = 5
LIMIT = 10


def main() -> None:
    """Run it, and print the figures."""
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(_run(Path(directory)))


async def _run(directory: Path) -> None:
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
        topics = {q["id"]: q["topic"] for q in questions}
        asked: dict[str, str] = {}
        for question in questions:
            asked |= await _label(client, question, relevant[question["id"]])
    log = feedback_log(None, data_dir=directory, collection=settings.collection)
    await log.open()
    entries = [entry for _, entry in await log.read(limit=1_000_000)]
    await log.close()
    for seed in range(SEEDS):
        _report(settings, entries, {a: topics[q] for a, q in asked.items()}, seed)


def _report(settings: Settings, entries: Sequence[Entry], topic: dict[str, str], seed: int) -> None:
    bundle = load_bundle(settings.bundle)
    assert bundle.calibrator is not None
    chance = random.Random(seed)
    topics = sorted(set(topic.values()))
    fitted = set(chance.sample(topics, len(topics) // 2))
    ours = [e for e in entries if topic[e.statement.query_id] in fitted]
    rest = [e for e in entries if topic[e.statement.query_id] not in fitted]
    by_query = list({e.statement.query_id for e in ours})
    chance.shuffle(by_query)
    taken = set(by_query[: LABELS // LIMIT])
    sample = [e for e in ours if e.statement.query_id in taken][:LABELS]
    labels = labels_of(sample, bundle.calibrator.id)
    proposal = propose(bundle.calibrator.document, labels, seed=seed)
    held = labels_of(rest, bundle.calibrator.id)
    said = [
        f"seed {seed}: {proposal.labels} labels of {proposal.queries} queries",
        f"held out {len(held.relevant)} labels",
        f"E/O as stated {_ratio(held.probability, held.relevant):.2f}",
    ]
    if proposal.refusal is None:
        after = restated(bundle.calibrator.document, held, proposal)
        said.append(f"after {_ratio(after, held.relevant):.2f}")
        moved_calibrator(bundle.calibrator.document, proposal, labels)  # is a valid document
    else:
        said.append(f"refused: {proposal.refusal}")
    noise = [Entry(e.statement, e.source, chance.random() < 0.3, e.received) for e in sample]
    refusal = propose(
        bundle.calibrator.document, labels_of(noise, bundle.calibrator.id), seed=seed
    ).refusal
    said.append(f"labels at random {'refused' if refusal else 'NOT refused'}")
    print("; ".join(said))


def _ratio(probability: np.ndarray, relevant: np.ndarray) -> float:
    return float(probability.sum() / relevant.sum())


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
