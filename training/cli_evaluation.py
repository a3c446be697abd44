"""The commands ``calibrate``, ``evaluate`` and ``bundle`` of ``isoglot-train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from training.console import friendly_errors

_Model = Annotated[Path, typer.Option("--model", metavar="DIR", help="What 'export' wrote.")]
_Arithmetic = Annotated[
    Literal["int8", "float32"] | None,
    typer.Option("--arithmetic", help="Graph to run; int8 where it was exported by default."),
]
_Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="Directory to write to.")]


def register(cli: typer.Typer) -> None:
    """Add the commands of this module to a command line."""
    cli.command(
        epilog="Example: isoglot-train calibrate --model export --config calibration.toml "
        "--data-root data --out calibration"
    )(calibrate)
    cli.command(
        epilog="Example: isoglot-train evaluate --model export --set xquad-r "
        "--calibration calibration --out evaluation"
    )(evaluate)
    cli.command(
        epilog="Example: isoglot-train bundle --model export --calibration calibration "
        "--evaluation evaluation --out bundles/starter --name starter"
    )(bundle)


def calibrate(
    *,
    model: _Model,
    config: Annotated[
        Path, typer.Option("--config", metavar="FILE", help="TOML file of the calibration.")
    ],
    out: _Out,
    data_root: Annotated[
        Path, typer.Option("--data-root", metavar="DIR", help="What the paths in it start from.")
    ] = Path(),
    arithmetic: _Arithmetic = None,
) -> None:
    """Fit the map from scores to probabilities of relevance, and measure it."""
    with friendly_errors():
        from training.calibration_config import load_calibration_config
        from training.calibration_run import calibrate_encoder
        from training.onnx_encoder import ExportedEncoder
        from training.report import calibration_page

        loaded = load_calibration_config(config)
        content = calibrate_encoder(ExportedEncoder(model, arithmetic), loaded, data_root, out)
        typer.echo(calibration_page(content))
        typer.echo(f"Calibrator {content['calibrator']} is in {out}.")


def evaluate(  # noqa: PLR0913 - the options of the command
    *,
    model: _Model,
    sets: Annotated[
        list[Path],
        typer.Option("--set", metavar="DIR", help="Retrieval set in LAReQA form; repeatable."),
    ],
    out: _Out,
    calibration: Annotated[
        Path | None,
        typer.Option("--calibration", metavar="DIR", help="Also measure what 'calibrate' wrote."),
    ] = None,
    arithmetic: _Arithmetic = None,
    run_files: Annotated[bool, typer.Option("--run-files", help="Also write TREC runs.")] = False,
) -> None:
    """Measure retrieval under the LAReQA protocol, BM25 beside it, and calibration."""
    with friendly_errors():
        from training.evaluation_run import EvaluationOptions, evaluate_encoder
        from training.onnx_encoder import ExportedEncoder

        options = EvaluationOptions(sets, calibration, run_files)
        typer.echo(evaluate_encoder(ExportedEncoder(model, arithmetic), options, out))
        typer.echo(f"The results are in {out}.")


def bundle(  # noqa: PLR0913 - the options of the command
    *,
    model: _Model,
    calibration: Annotated[
        Path, typer.Option("--calibration", metavar="DIR", help="What 'calibrate' wrote.")
    ],
    evaluation: Annotated[
        Path, typer.Option("--evaluation", metavar="DIR", help="What 'evaluate' wrote.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Directory to create.")],
    name: Annotated[str, typer.Option("--name", help="Name that people will read.")],
    max_megabytes: Annotated[
        float, typer.Option("--max-megabytes", min=0.001, help="Largest size of the bundle.")
    ] = 50.0,
    notes: Annotated[
        Path | None,
        typer.Option("--notes", metavar="FILE", help="Markdown to put into the model card."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what is there.")] = False,
) -> None:
    """Put encoder, calibrator and report together, and seal them."""
    with friendly_errors():
        from training.bundle import BundleParts, assemble_bundle

        parts = BundleParts(model, calibration, evaluation, notes)
        manifest = assemble_bundle(parts, out, name=name, max_megabytes=max_megabytes, force=force)
        typer.echo(f"Bundle {manifest.short_id} is in {out}.")
