"""The command ``isoglot calibrate``: its options and help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.cli.exits import UsageError, friendly_errors
from app.cli.options import (
    BundleOption,
    DataDirOption,
    JsonOption,
    UrlOption,
    refuse_with_url,
    settings_from,
)


def calibrate(  # noqa: PLR0913  one argument an option
    context: typer.Context,
    *,
    judgements: Annotated[
        Path | None,
        typer.Option(
            help="JSON Lines of {query, passage_id, relevant, language?, weight?}.",
            show_default=False,
        ),
    ] = None,
    qrels: Annotated[
        Path | None,
        typer.Option(help="TREC qrels; needs --queries.", show_default=False),
    ] = None,
    queries: Annotated[
        Path | None,
        typer.Option(help="JSON Lines of {id, text, language?}.", show_default=False),
    ] = None,
    out: Annotated[
        Path, typer.Option(help="Directory for calibrator.json, report.json and diagrams.")
    ] = Path("calibrator"),
    complete: Annotated[
        bool,
        typer.Option(
            "--complete",
            help="The judgements are complete: a hit without one is irrelevant. Otherwise such "
            "hits are left out, because not judged is not irrelevant.",
        ),
    ] = False,
    label: Annotated[
        bool,
        typer.Option(
            "--label",
            help="Ask here for judgements of hits that are worth it, append them to --judgements, "
            "and go on with that file. Needs --queries; can be ended and resumed.",
        ),
    ] = False,
    labels: Annotated[int, typer.Option(min=1, help="Hits to judge with --label.")] = 200,
    url: UrlOption = None,
    bundle: BundleOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fit a calibrator on judgements of your own corpus, shrunk towards the one in use.

    Searches your passages for every judged query, and learns from the judged hits. Says what is
    gained on queries that were not fitted on, and refuses where scores do not tell relevant from
    irrelevant hits (exit code 1). A few hundred judged hits of many queries do.
    """
    with friendly_errors():
        refuse_with_url(context, url)
        settings = settings_from(bundle=bundle, data_dir=data_dir)

        from app.cli.calibrating.calibrate import run_calibrate, run_labelling
        from app.cli.calibrating.judgements import read_judgements, read_qrels, read_queries
        from app.cli.calibrating.places import open_place

        if label and judgements is not None and queries is not None and qrels is None:
            asked = read_queries(queries)
            judged = run_labelling(asked, open_place(settings, url), judgements, labels=labels)
        elif label:
            raise UsageError("--label needs --queries to ask and --judgements to keep answers in.")
        elif judgements is not None and qrels is None and queries is None:
            judged = read_judgements(judgements)
        elif judgements is None and qrels is not None and queries is not None:
            judged = read_qrels(qrels, queries)
        else:
            raise UsageError("Give either --judgements, or --qrels with --queries.")
        opened = open_place(settings, url)
        run_calibrate(judged, opened, out=out, complete=complete, as_json=as_json)
