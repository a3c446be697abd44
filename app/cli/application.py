"""The commands: names, options, help. What they do lives in the modules they import."""

from __future__ import annotations

from typing import Annotated

import typer

from app.cli.backups.command import backup, restore
from app.cli.bundle import bundle_commands
from app.cli.calibrating.calibrator import calibrator_commands, recalibrate
from app.cli.calibrating.command import calibrate
from app.cli.exits import EXIT_CODES, Exit, complain, friendly_errors
from app.cli.feedback import feedback_commands
from app.cli.ingest.command import index
from app.cli.keys import key_commands
from app.cli.options import (
    BundleOption,
    DataDirOption,
    DemoDirOption,
    HostOption,
    JsonOption,
    PortOption,
    UrlOption,
    refuse_with_url,
    settings_from,
)
from app.cli.replaying.command import replay

cli = typer.Typer(
    name="isoglot",
    help="Multilingual search whose scores mean what they say.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
cli.add_typer(bundle_commands, name="bundle")
cli.add_typer(key_commands, name="keys")
cli.add_typer(feedback_commands, name="feedback")
cli.add_typer(calibrator_commands, name="calibrator")


def _show_version(wanted: bool) -> None:  # noqa: FBT001  the signature typer calls
    if wanted:
        from importlib.metadata import version

        typer.echo(f"isoglot {version('isoglot')}")
        raise typer.Exit(Exit.OK)


@cli.callback()
def _isoglot(
    *,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Say which version."),
    ] = False,
) -> None:
    """Multilingual search whose scores mean what they say."""


def _examples(*lines: str) -> str:
    # A backspace alone on its line keeps the lines that follow apart.
    return "[bold]Examples[/bold]\n\n" + "\n\n".join(f"  {line}" for line in lines)


@cli.command(
    epilog=_examples(
        "isoglot serve", "ISOGLOT_KEY_FILE=keys.json isoglot serve --host 0.0.0.0 --port 80"
    )
)
def serve(
    host: HostOption = None,
    port: PortOption = None,
    bundle: BundleOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Answer searches over HTTP, and show a page to search with.

    Other machines are answered only if there are API keys (`isoglot keys`). Ends with code 3 if
    the port is in use, the bundle damaged or the data directory locked.
    """
    with friendly_errors():
        settings = settings_from(host=host, port=port, bundle=bundle, data_dir=data_dir)

        from app.cli.serve import run_server

        run_server(settings, on_ready=lambda url: complain(f"Isoglot is ready: {url}"))


cli.command(
    epilog=_examples(
        "isoglot index passages.jsonl more.jsonl.gz",
        "zcat huge.jsonl.gz | isoglot index -",
        "isoglot index passages.jsonl --url http://127.0.0.1:8000",
        "isoglot index corpus/*.jsonl --ray local --workers 4",
    )
)(index)


@cli.command(
    epilog=_examples(
        'isoglot search "Why is the sky blue?"',
        'isoglot search "Wie flicke ich einen Reifen?" --passages-in en --passages-in fr',
        'isoglot search "Wie flicke ich einen Reifen?" --prefer de --prefer en=0.4 --explain',
        'isoglot search "error E1047" --retrieval hybrid',
        'isoglot search "puncture" --json --url http://127.0.0.1:8000 | jq .hits[0]',
    )
)
def search(  # noqa: PLR0913  one argument an option
    context: typer.Context,
    query: Annotated[str, typer.Argument(help="The question, in any language.")],
    limit: Annotated[int, typer.Option(help="Passages to return at most.")] = 10,
    language: Annotated[
        str | None,
        typer.Option(help="Language of the question.  [default: identified]", show_default=False),
    ] = None,
    passages_in: Annotated[
        list[str] | None,
        typer.Option(help="Only passages in this language; may be repeated.", show_default=False),
    ] = None,
    *,
    offset: Annotated[int, typer.Option(help="Passages to leave out at the beginning.")] = 0,
    prefer: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LANGUAGE[=WEIGHT]",
            help="Order by weight, 0 to 1, times probability; may be repeated, * for the rest.",
            show_default=False,
        ),
    ] = None,
    balance: Annotated[
        bool, typer.Option("--balance", help="Let every language contribute candidates.")
    ] = False,
    retrieval: Annotated[
        str,
        typer.Option(
            metavar="dense|hybrid", help="Look for meaning alone, or for the words as well."
        ),
    ] = "dense",
    filter_: Annotated[
        str | None,
        typer.Option("--filter", metavar="JSON", help="Filter, as in POST /search."),
    ] = None,
    min_probability: Annotated[
        float | None,
        typer.Option(help="Leave out passages less probable than this.", show_default=False),
    ] = None,
    target_precision: Annotated[
        float | None,
        typer.Option(
            help="Cut where the mean probability would fall below this.", show_default=False
        ),
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say what each probability is made of.")
    ] = False,
    bundle: BundleOption = None,
    data_dir: DataDirOption = None,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find the passages that answer a question, in any language, with probabilities.

    With --json the answer is that of POST /search. A star marks a probability outside what the
    calibrator has seen. Finding nothing is no error.
    """
    with friendly_errors():
        refuse_with_url(context, url)
        settings = settings_from(bundle=bundle, data_dir=data_dir)

        from app.cli.search import run_search, search_body

        body = search_body(
            query,
            limit=limit,
            offset=offset,
            language=language,
            passages_in=passages_in or [],
            prefer=prefer or [],
            balance=balance,
            retrieval=retrieval,
            filter=filter_,
            min_probability=min_probability,
            target_precision=target_precision,
            explain=explain,
        )
        run_search(body, settings=settings, url=url, as_json=as_json)


@cli.command(
    epilog=_examples(
        "isoglot reindex --bundle bundles/new",
        "isoglot reindex --bundle bundles/new --url http://127.0.0.1:8000",
        "isoglot reindex --bundle bundles/old   (goes back)",
    )
)
def reindex(
    bundle: BundleOption = None, data_dir: DataDirOption = None, url: UrlOption = None
) -> None:
    """Embed all stored passages with another bundle's encoder, then serve that bundle.

    The texts are read from the collection; nothing has to be uploaded again. With --url a running
    service does it, which answers searches and takes passages all along; it must see the bundle
    under the same path. After an interruption the same command goes on where it was. The collection
    from before stays, so that going back embeds only what has changed since.
    """
    with friendly_errors():
        settings = settings_from(bundle=bundle, data_dir=data_dir)

        from app.cli.reindex import run_reindex

        run_reindex(settings, url=url)


@cli.command(epilog=_examples("isoglot demo", "isoglot demo --port 0", "isoglot demo --index-only"))
def demo(  # noqa: PLR0913  one argument an option
    *,
    host: HostOption = None,
    port: PortOption = None,
    bundle: BundleOption = None,
    data_dir: DataDirOption = None,
    demo_dir: DemoDirOption = None,
    index_only: Annotated[bool, typer.Option(help="Index the demo corpus, and stop.")] = False,
) -> None:
    """Index the demo corpus, once, and serve it: everyday topics in eleven languages.

    It has a collection of its own; your passages are not touched.
    """
    with friendly_errors():
        settings = settings_from(host=host, port=port, bundle=bundle, data_dir=data_dir)

        from app.cli.demonstration.demo import run_demo

        run_demo(settings, demo_dir, index_only=index_only)


@cli.command(
    "evaluate-demo", epilog=_examples("isoglot evaluate-demo", "isoglot evaluate-demo --json")
)
def evaluate_demo(
    *, bundle: BundleOption = None, demo_dir: DemoDirOption = None, as_json: JsonOption = False
) -> None:
    """Ask the bundle every question of the demo corpus: is it right, and is it honest?

    Prints hit@1 and mean reciprocal rank by language, stated probability against relevance
    found, and what is stated for questions without an answer and for gibberish. The corpus is
    indexed into a temporary directory. Figures for decisions are in the bundle's own report.
    """
    with friendly_errors():
        settings = settings_from(bundle=bundle)

        from app.cli.demonstration.demo import run_evaluation

        run_evaluation(settings, demo_dir, as_json=as_json)


cli.command(
    epilog=_examples(
        "isoglot replay --duration 300",
        "isoglot replay --fault over-confidence --fault-after 120 --duration 600",
        "isoglot replay traffic.jsonl --labels recorded --url http://127.0.0.1:8000",
    )
)(replay)


cli.command(
    epilog=_examples(
        "isoglot calibrate --judgements judged.jsonl --out my-calibrator",
        "isoglot calibrate --qrels qrels.txt --queries queries.jsonl --out my-calibrator",
        "isoglot calibrate --label --queries queries.jsonl --judgements judged.jsonl",
        "isoglot calibrate --judgements judged.jsonl --url http://127.0.0.1:8000",
    )
)(calibrate)

cli.command()(recalibrate)
cli.command()(backup)
cli.command()(restore)
