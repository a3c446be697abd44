"""The commands ``calibrate``, ``transfer``, ``evaluate``, ``compare`` and ``bundle``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from training.console import friendly_errors
from training.errors import ConfigError

if TYPE_CHECKING:
    from training.baselines import Baseline

_Model = Annotated[Path, typer.Option("--model", metavar="DIR", help="What 'export' wrote.")]
_Arithmetic = Annotated[
    Literal["int8", "float32"] | None,
    typer.Option("--arithmetic", help="Graph to run; int8 where it was exported by default."),
]
_Config = Annotated[
    Path, typer.Option("--config", metavar="FILE", help="TOML file of the calibration.")
]
_DataRoot = Annotated[
    Path, typer.Option("--data-root", metavar="DIR", help="What the paths in it start from.")
]
_Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="Directory to write to.")]


def register(cli: typer.Typer) -> None:
    """Add the commands of this module to a command line."""
    cli.command(
        epilog="Example: isoglot-train calibrate --model export --config calibration.toml "
        "--data-root data --out calibration"
    )(calibrate)
    cli.command(
        epilog="Example: isoglot-train transfer --model export --config calibration.toml "
        "--data-root data --pieces 1,6"
    )(transfer)
    cli.command(
        epilog="Example: isoglot-train evaluate --model export --set xquad-r "
        "--calibration calibration --out evaluation"
    )(evaluate)
    cli.command(epilog="Example: isoglot-train compare evaluation-a evaluation-b")(compare)
    cli.command(
        epilog="Example: isoglot-train bundle --model export --calibration calibration "
        "--evaluation evaluation --out bundles/starter --name starter"
    )(bundle)


def calibrate(  # noqa: PLR0913 - the options of the command
    *,
    model: _Model,
    config: _Config,
    out: _Out,
    data_root: _DataRoot = Path(),
    retrieval: Annotated[
        Literal["dense", "hybrid"] | None,
        typer.Option(
            "--retrieval",
            help="Lists to fit on, in the place of what the configuration says: hybrid ones hold "
            "what is found by words as well.",
        ),
    ] = None,
    arithmetic: _Arithmetic = None,
) -> None:
    """Fit the map from scores to probabilities of relevance, and measure it."""
    with friendly_errors():
        from training.calibration_config import load_calibration_config
        from training.calibration_run import calibrate_encoder
        from training.onnx_encoder import ExportedEncoder
        from training.report import calibration_page

        loaded = load_calibration_config(config)
        if retrieval is not None:
            loaded = loaded.model_copy(update={"retrieval": retrieval})
        content = calibrate_encoder(ExportedEncoder(model, arithmetic), loaded, data_root, out)
        typer.echo(calibration_page(content))
        typer.echo(f"Calibrator {content['calibrator']} is in {out}.")


def transfer(
    *,
    model: _Model,
    config: _Config,
    data_root: _DataRoot = Path(),
    pieces: Annotated[
        str, typer.Option("--pieces", metavar="NUMBERS", help="Pieces of the score, by commas.")
    ] = "1,6",
    arithmetic: _Arithmetic = None,
) -> None:
    """Leave every calibration set out in turn, for several forms of the calibrator."""
    with friendly_errors():
        from training.calibration_config import load_calibration_config
        from training.calibration_data import build_pool, collect_hits, load_sets
        from training.calibration_transfer import compare_pieces, transfer_table
        from training.onnx_encoder import ExportedEncoder

        loaded, numbers = load_calibration_config(config), _numbers(pieces)
        pool = build_pool(ExportedEncoder(model, arithmetic), load_sets(loaded, data_root), loaded)
        found = compare_pieces(collect_hits(pool, loaded), loaded, numbers)
        typer.echo(transfer_table(found))


def _numbers(text: str) -> list[int]:
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 1:
        raise ConfigError(f"--pieces: {text!r} is not a list of numbers from 1 on, such as 1,6.")
    return numbers


def evaluate(  # noqa: PLR0913 - the options of the command
    *,
    out: _Out,
    sets: Annotated[
        list[Path] | None,
        typer.Option("--set", metavar="DIR", help="Retrieval set, in any known form; repeatable."),
    ] = None,
    questions: Annotated[
        Path | None,
        typer.Option(
            "--questions",
            metavar="FILE",
            help="TOML file of question-passage sets, as 'calibrate' takes it: each is made a "
            "retrieval set of sentences.",
        ),
    ] = None,
    data_root: Annotated[
        Path, typer.Option("--data-root", metavar="DIR", help="What paths in that start from.")
    ] = Path(),
    split: Annotated[
        str | None, typer.Option("--split", help="Split to read of sets that have several.")
    ] = None,
    language: Annotated[
        str | None,
        typer.Option("--language", help="Of sets that name none, or the one to read of several."),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option("--model", metavar="DIR", help="What 'export' wrote, or a bundle."),
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option("--run", metavar="FILE", help="Score this TREC run instead of a model."),
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(
            "--calibration", metavar="DIR", help="Also measure what 'calibrate' wrote, or a bundle."
        ),
    ] = None,
    arithmetic: _Arithmetic = None,
    run_files: Annotated[bool, typer.Option("--run-files", help="Also write TREC runs.")] = False,
    baselines: Annotated[
        str,
        typer.Option(
            "--baselines",
            metavar="NAMES",
            help="Measured beside it: bm25, bm25-lexicon, char-ngrams, by commas; or none.",
        ),
    ] = "bm25",
    lexicon: Annotated[
        Path | None,
        typer.Option("--lexicon", metavar="FILE", help="Wiktionary JSON lines of bm25-lexicon."),
    ] = None,
    device: Annotated[
        Literal["cpu", "cuda"], typer.Option("--device", help="Where passages are searched.")
    ] = "cpu",
    vectors: Annotated[
        Path | None,
        typer.Option(
            "--vectors", metavar="DIR", help="Keep passage vectors in files, not in memory."
        ),
    ] = None,
    vector_dtype: Annotated[
        Literal["float32", "float16"],
        typer.Option("--vector-dtype", help="Number format of passage vectors."),
    ] = "float32",
) -> None:
    """Measure retrieval under the LAReQA protocol, baselines beside it, and calibration."""
    with friendly_errors():
        from training.embedding import VectorStorage
        from training.evaluation_run import EvaluationOptions, evaluate_encoder, evaluate_run
        from training.onnx_encoder import ExportedEncoder

        options = EvaluationOptions(
            sets=sets or (),
            questions=questions,
            data_root=data_root,
            calibration=calibration,
            run_files=run_files,
            baselines=_baselines(baselines),
            lexicon=lexicon,
            device=device,
            storage=VectorStorage(vectors, vector_dtype),
            split=split,
            language=language,
        )
        if model is not None and run is None:
            typer.echo(evaluate_encoder(ExportedEncoder(model, arithmetic), options, out))
        elif run is not None and model is None:
            typer.echo(evaluate_run(run, options, out))
        else:
            raise ConfigError("Give either --model DIR or --run FILE.")
        typer.echo(f"The results are in {out}.")


def _baselines(text: str) -> tuple[Baseline, ...]:
    from training.baselines import BASELINES

    names = [] if text == "none" else [name.strip() for name in text.split(",")]
    if strangers := [name for name in names if name not in BASELINES]:
        raise ConfigError(
            f"--baselines: {strangers[0]!r} is not known. Choose from {', '.join(BASELINES)}, "
            "or none."
        )
    return tuple(name for name in BASELINES if name in names)


def compare(  # noqa: PLR0913 - the options of the command
    results_a: Annotated[
        Path, typer.Argument(metavar="RESULTS_A", help="What 'evaluate' wrote.", show_default=False)
    ],
    results_b: Annotated[
        Path, typer.Argument(metavar="RESULTS_B", help="What to hold against it.")
    ],
    *,
    system_a: Annotated[
        str, typer.Option("--system-a", help="encoder, run, or the name of a baseline.")
    ] = "encoder",
    system_b: Annotated[
        str, typer.Option("--system-b", help="encoder, run, or the name of a baseline.")
    ] = "encoder",
    metrics: Annotated[
        str | None,
        typer.Option(
            "--metrics", metavar="NAMES", help="By commas, for example mono/map,multi/map."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Also write the figures as JSON.")
    ] = None,
) -> None:
    """Say whether B differs from A: paired, with intervals and corrected p-values."""
    with friendly_errors():
        from training.compare import METRICS, Side, run_comparison

        chosen = METRICS if metrics is None else [name.strip() for name in metrics.split(",")]
        sides = Side(results_a, system_a), Side(results_b, system_b)
        typer.echo(run_comparison(*sides, out, metrics=chosen))


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
