"""The command ``study`` of ``isoglot-train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from training.console import bars, friendly_errors


def register(cli: typer.Typer) -> None:
    """Add the command of this module to a command line."""
    cli.command(
        epilog="Example: isoglot-train study --config training/configs/study_course.toml "
        "--data-root data --out study --jobs 2"
    )(study)


def study(  # noqa: PLR0913 - the options of the command
    *,
    config: Annotated[
        Path, typer.Option("--config", metavar="FILE", help="TOML file of the study.")
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Where cells are kept; the same directory goes on where it stopped.",
        ),
    ],
    data_root: Annotated[
        Path, typer.Option("--data-root", metavar="DIR", help="What the paths in it start from.")
    ] = Path(),
    prepared: Annotated[
        Path | None,
        typer.Option(
            "--prepared",
            metavar="DIR",
            help="Prepared data of the base run; made in OUT/prepared where this is not given.",
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option("--report", metavar="DIR", help="Where the report goes; OUT/NAME/report."),
    ] = None,
    jobs: Annotated[
        int, typer.Option("--jobs", min=1, help="Processes; each takes a GPU where there are any.")
    ] = 1,
    threads: Annotated[int, typer.Option("--threads", min=0, help="CPU threads of each.")] = 1,
    report_only: Annotated[
        bool, typer.Option("--report-only", help="Write the report of the cells that are finished.")
    ] = False,
    cache: Annotated[
        Path | None,
        typer.Option("--cache", metavar="DIR", help="Where a teacher's vectors are kept."),
    ] = None,
) -> None:
    """Sweep the share of monolingual batches, and measure what it does to calibration.

    Ctrl-C stops in good order; the same command goes on.
    """
    with friendly_errors():
        from training.study.config import load_study
        from training.study.report import write_report
        from training.study.run import StudyOptions, run_study
        from training.study.work import Places

        places = Places(
            config=config,
            data_root=data_root,
            prepared=prepared or out / "prepared",
            out=out,
            cache=cache or Path.home() / ".cache" / "isoglot" / "teacher",
        )
        loaded = load_study(config)
        if not report_only:
            with bars() as progress:
                run_study(places, StudyOptions(jobs, threads), progress=progress)
        target = report or out / loaded.config.name / "report"
        typer.echo(write_report(loaded, config, out, target))
        typer.echo(f"The report is in {target}.")
