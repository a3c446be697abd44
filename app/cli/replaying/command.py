"""The command ``isoglot replay``: its options and help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.cli.exits import UsageError, friendly_errors
from app.cli.options import DemoDirOption, JsonOption, settings_from

FileArgument = Annotated[
    Path | None,
    typer.Argument(
        metavar="[FILE]",
        help="JSON Lines of {query, language?, relevant?}, relevant being ids of passages.  "
        "[default: the questions of the demo corpus]",
        show_default=False,
    ),
]


def replay(  # noqa: PLR0913  one argument an option
    file: FileArgument = None,
    *,
    url: Annotated[str, typer.Option(help="The service.")] = "http://127.0.0.1:8000",
    rate: Annotated[float, typer.Option(min=0.01, help="Searches a second.")] = 10.0,
    duration: Annotated[float, typer.Option(min=0.1, help="Seconds.")] = 60.0,
    hits: Annotated[int, typer.Option(min=1, max=100, help="Labelled hits of a search.")] = 10,
    labels: Annotated[
        str,
        typer.Option(
            help="simulated: a hit is relevant with the probability that was stated, so the "
            "calibrator is right by construction; recorded: it is relevant if FILE says so."
        ),
    ] = "simulated",
    fault: Annotated[
        str,
        typer.Option(
            help="over-confidence: true logits are the stated ones divided by --strength (1.5); "
            "prior-shift: plus --strength (-0.6); language-mix: --strength (0.9) of the queries in "
            "one language, and vague-queries: only --strength (0.5) of each query is asked, which "
            "are harmless; other-encoder: words are read as other words."
        ),
    ] = "none",
    strength: Annotated[
        float | None, typer.Option(help="Of the fault.", show_default=False)
    ] = None,
    language: Annotated[
        str | None, typer.Option(help="Of language-mix.  [default: the last]", show_default=False)
    ] = None,
    fault_after: Annotated[float, typer.Option(min=0.0, help="Seconds until the fault.")] = 0.0,
    seed: Annotated[int, typer.Option(min=0, help="Of all that is drawn.")] = 0,
    demo_dir: DemoDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send searches and labels through a running service, healthy or with a planted fault.

    To see on your dashboards and alerts what drift looks like before it happens. Labels count like
    any others: use a service of its own, or metrics and feedback log are mixed up. The summary says
    of each relation what was promised and found, as the rules of Prometheus compute it.
    """
    with friendly_errors():
        from app.cli.replaying.replay import Replay, queries_of, run_replay
        from app.cli.replaying.traffic import Traffic, fault_of

        if labels not in {"simulated", "recorded"}:
            raise UsageError(f"--labels {labels} is unknown; choose simulated or recorded.")
        queries = queries_of(file, demo_dir, recorded=labels == "recorded")
        run_replay(
            Replay(
                url=url,
                key=settings_from().api_key,
                traffic=Traffic(queries, recorded=labels == "recorded", seed=seed),
                fault=fault_of(fault, strength, language, queries),
                fault_after=fault_after,
                rate=rate,
                duration=duration,
                hits=hits,
            ),
            as_json=as_json,
        )
