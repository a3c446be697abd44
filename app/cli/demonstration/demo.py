"""``isoglot demo`` and ``isoglot evaluate-demo``."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.progress import Progress

from app.bootstrap import Runtime, open_runtime
from app.cli import console
from app.cli.demonstration.data import (
    DemoCorpus,
    DemoQuery,
    demo_directory,
    load_corpus,
    load_passages,
)
from app.cli.demonstration.evaluation import (
    JudgedAnswer,
    JudgedHit,
    Kind,
    evaluate,
    gibberish,
)
from app.cli.exits import complain
from app.cli.render import demo_report
from app.cli.serve import run_server
from app.core.bundle import Bundle, load_bundle
from app.core.errors import UnencodableTextError
from app.core.languages.codes import primary_language
from app.core.search.types import SearchRequest, SearchResult
from app.core.types import Passage
from app.settings import Settings

RETURNED = 20
"""Hits of every question that are evaluated."""

GIBBERISH_QUERIES = 100

_BATCH = 64
_FIRST_QUESTION = "Wie finde ich das Loch im Fahrradschlauch?"


def run_demo(settings: Settings, given: Path | None, *, index_only: bool) -> None:
    """Index the demo corpus if need be, and serve it.

    Args:
        settings: Bundle, data directory and address.
        given: Directory of the demo corpus, where the user named one.
        index_only: Whether to stop before serving.

    Raises:
        CannotStartError: There is no demo corpus, or the address cannot be listened on.
        IsoglotError: Bundle or collection cannot be opened.
    """
    directory = demo_directory(given)
    bundle = load_bundle(settings.bundle)
    ours = demo_settings(settings, bundle)
    stored = index_demo(ours, bundle, directory)
    complain(f"{stored} passages of the demo corpus were indexed into {ours.collection_dir}.")
    if not index_only:
        run_server(ours, on_ready=_invite)


def _invite(url: str) -> None:
    complain(
        f"Isoglot is ready: {url}\n"
        "Open that page, or ask from another terminal:\n"
        f"  curl -s {url}/search -H 'Content-Type: application/json' "
        f"-d '{json.dumps({'query': _FIRST_QUESTION}, ensure_ascii=False)}'"
    )


def demo_settings(settings: Settings, bundle: Bundle) -> Settings:
    """Return the settings with a collection for the demo alone.

    It is named after the encoder, so that the demo of another bundle begins anew by itself.
    """
    return settings.model_copy(update={"collection": f"demo-{bundle.spec.fingerprint()}"})


def index_demo(settings: Settings, bundle: Bundle, directory: Path) -> int:
    """Index the demo corpus unless it is there already; returns how many passages were stored.

    Raises:
        CannotStartError: A line of the corpus is no passage.
        IsoglotError: The collection cannot be opened, or failed.
    """
    return asyncio.run(_index(settings, bundle, load_passages(directory)))


def run_evaluation(settings: Settings, given: Path | None, *, as_json: bool) -> None:
    """Evaluate the bundle on the demo corpus, in a collection that is thrown away.

    Raises:
        CannotStartError: The corpus cannot be read.
        IsoglotError: The bundle cannot be used, or something failed.
    """
    corpus = load_corpus(demo_directory(given))
    bundle = load_bundle(settings.bundle)
    with TemporaryDirectory(prefix="isoglot-") as scratch:
        temporary = settings.model_copy(update={"data_dir": Path(scratch)})
        report = evaluate(asyncio.run(_answers(temporary, bundle, corpus)))
    if as_json:
        found = {"bundle": bundle.manifest.short_id, **asdict(report)}
        console.results().out(json.dumps(found, indent=2, allow_nan=False))
    else:
        console.results().print(f"Bundle {bundle.manifest.short_id}\n", markup=False)
        demo_report(console.results(), report)


async def _index(settings: Settings, bundle: Bundle, passages: Sequence[Passage]) -> int:
    async with open_runtime(settings, bundle) as runtime:
        stored = await runtime.store.get([passage.id for passage in passages])
        there = {passage.id: passage.text for passage in stored}
        missing = [p for p in passages if there.get(p.id) != p.text]
        await _add(runtime, missing)
    return len(missing)


async def _add(runtime: Runtime, passages: Sequence[Passage]) -> None:
    with _progress() as progress:
        batches = [passages[at : at + _BATCH] for at in range(0, len(passages), _BATCH)]
        for batch in progress.track(batches, description="Indexing"):
            await runtime.ingest.add(batch, durable=False)


async def _answers(settings: Settings, bundle: Bundle, corpus: DemoCorpus) -> list[JudgedAnswer]:
    asked = [*corpus.queries, *_gibberish_queries()]
    answers = []
    async with open_runtime(settings, bundle) as runtime:
        await _add(runtime, corpus.passages)
        with _progress() as progress:
            for query in progress.track(asked, description="Searching"):
                try:
                    result = await runtime.search.search(SearchRequest(query.text, limit=RETURNED))
                except UnencodableTextError:
                    if _kind(query) == "gibberish":
                        continue  # of unknown tokens alone: refused, so nothing is stated
                    raise
                answers.append(_judge(query, result, corpus.relevant.get(query.id, frozenset())))
    return answers


def _progress() -> Progress:
    screen = console.messages()
    return Progress(console=screen, transient=True, disable=not screen.is_terminal)


def _gibberish_queries() -> list[DemoQuery]:
    return [
        DemoQuery(id="", text=text, language="", answerable=False)
        for text in gibberish(GIBBERISH_QUERIES)
    ]


def _judge(query: DemoQuery, result: SearchResult, relevant: frozenset[str]) -> JudgedAnswer:
    return JudgedAnswer(
        kind=_kind(query),
        language=query.language,
        answerable=result.answerable_probability,
        hits=[
            JudgedHit(
                probability=hit.probability,
                relevant=hit.passage.id in relevant,
                same_language=primary_language(hit.passage.language) == query.language,
            )
            for hit in result.hits
        ],
    )


def _kind(query: DemoQuery) -> Kind:
    if not query.language:
        return "gibberish"
    return "answerable" if query.answerable else "unanswerable"
