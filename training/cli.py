"""The command line of the offline half, ``isoglot-train``.

Each command is a thin function; everything heavy is imported inside it, so that ``--help``
answers at once and works without the training extra.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from training import cli_data, cli_evaluation, cli_study
from training.console import EXIT_CODES, bars, friendly_errors

cli = typer.Typer(
    name="isoglot-train",
    help="Train, calibrate and evaluate the encoders that isoglot serves.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

ConfigFile = Annotated[
    Path, typer.Argument(metavar="CONFIG", help="TOML file of the run.", show_default=False)
]
PreparedDirectory = Annotated[
    Path, typer.Option("--prepared", metavar="DIR", help="What 'prepare' wrote.")
]
OutDirectory = Annotated[Path, typer.Option("--out", metavar="DIR", help="Directory to create.")]
DataRoot = Annotated[
    Path, typer.Option("--data-root", metavar="DIR", help="What the paths in CONFIG start from.")
]
Force = Annotated[bool, typer.Option("--force", help="Replace what is there.")]


@cli.command(
    epilog="Example: isoglot-train prepare run.toml --data-root data --out prepared",
)
def prepare(
    config: ConfigFile,
    *,
    out: OutDirectory,
    data_root: DataRoot = Path(),
    force: Force = False,
) -> None:
    """Read, check, split and tokenise the data of a run."""
    with friendly_errors():
        from training.config import load_config
        from training.prepare import prepare as run

        loaded = load_config(config)
        with bars() as progress:
            run(loaded, data_root, out, progress=progress, force=force)
        typer.echo(f"Prepared data are in {out}.")


@cli.command(epilog="Example: isoglot-train train run.toml --prepared prepared --out run")
def train(  # noqa: PLR0913 - the options of the command
    config: ConfigFile,
    *,
    prepared: PreparedDirectory,
    out: OutDirectory,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run that was interrupted.")
    ] = False,
    force: Force = False,
    base: Annotated[
        str | None,
        typer.Option(
            "--base",
            metavar="PATH_OR_ID",
            help="Backbone to train instead of [model] base: a directory or a hub id.",
        ),
    ] = None,
    data_root: DataRoot = Path(),
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Also log for TensorBoard, in OUT/tensorboard.")
    ] = False,
    cache: Annotated[
        Path | None,
        typer.Option(
            "--cache",
            metavar="DIR",
            help="Where the teacher's vectors are kept; ~/.cache/isoglot/teacher by default.",
        ),
    ] = None,
    threads: Annotated[
        int, typer.Option("--threads", min=0, help="CPU threads; 0 for one per core.")
    ] = 0,
) -> None:
    """Train an encoder. Ctrl-C stops after the current step; --resume goes on."""
    with friendly_errors():
        from training.config import load_config, with_base
        from training.data_prepared import open_prepared
        from training.distributed import World
        from training.train import TrainOptions
        from training.train import train as run

        options = TrainOptions(
            cache=cache or Path.home() / ".cache" / "isoglot" / "teacher",
            data_root=data_root,
            threads=threads,
            resume=resume,
            force=force,
            tensorboard=tensorboard,
        )
        loaded = load_config(config)
        if base is not None:
            loaded = with_base(loaded, base)
        first = World.from_environment().is_first
        with bars(shown=first) as progress:
            encoder = run(loaded, open_prepared(prepared), out, options, progress=progress)
        if first:
            typer.echo(f"The trained encoder is in {encoder}.")


@cli.command(
    epilog="Example: isoglot-train export run --prepared prepared --out export --weights float16",
)
def export(  # noqa: PLR0913 - the options of the command
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="Directory of a finished run.", show_default=False)
    ],
    *,
    prepared: PreparedDirectory,
    out: OutDirectory,
    weights: Annotated[
        Literal["float32", "float16", "int8"],
        typer.Option(
            "--weights", help="Number format of the stored weights; int8 for static encoders only."
        ),
    ] = "float32",
    arithmetic: Annotated[
        Literal["both", "float32", "int8"],
        typer.Option("--arithmetic", help="Which graphs to write."),
    ] = "both",
    parity_texts: Annotated[
        int, typer.Option("--parity-texts", min=2, help="Held-out texts to compare both sides on.")
    ] = 256,
    force: Force = False,
) -> None:
    """Write what the service loads, and check that it computes what was trained."""
    with friendly_errors():
        from training.data_prepared import open_prepared
        from training.export import ExportOptions
        from training.export import export as write

        options = ExportOptions(
            weights, ("float32", "int8") if arithmetic == "both" else (arithmetic,)
        )
        texts = open_prepared(prepared).held_out_texts(parity_texts)
        parity = write(run, out, texts, options, force=force)
        for name, facts in parity.items():
            typer.echo(f"{name}: " + ", ".join(f"{key} {v:.3g}" for key, v in facts.items()))
        typer.echo(f"The export is in {out}.")


@cli.command(
    epilog="Example: isoglot-train unpack bundles/starter --out encoder",
)
def unpack(
    source: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="A bundle or an export.", show_default=False),
    ],
    *,
    out: OutDirectory,
    force: Force = False,
) -> None:
    """Write an encoder with int8 weights in the layout that sentence-transformers loads."""
    with friendly_errors():
        from app.core.bundle import ENCODER_DIRECTORY
        from training.int8_table import unpack as write
        from training.onnx_encoder import read_spec

        spec = read_spec(source)
        write(source / ENCODER_DIRECTORY, out, force=force)
        typer.echo(f"SentenceTransformer({str(out)!r}) loads it.")
        if spec.pooling == "sublinear":
            typer.echo(
                "It takes plain means there: vectors of texts that repeat a word differ from what "
                "this encoder's graph makes of them."
            )


@cli.command(
    epilog="Example: isoglot-train refine export --data-root data --parallel ntrex.jsonl "
    "--licence 'CC BY-SA 4.0' --out refined",
)
def refine(  # noqa: PLR0913 - the options of the command
    model: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", help="An export or a bundle with int8 weights.", show_default=False
        ),
    ],
    *,
    parallel: Annotated[
        str,
        typer.Option(
            "--parallel", metavar="FILE", help="JSON lines with one text in several languages."
        ),
    ],
    licence: Annotated[
        str, typer.Option("--licence", metavar="TEXT", help="Licence of FILE, for the provenance.")
    ],
    out: OutDirectory,
    data_root: Annotated[
        Path, typer.Option("--data-root", metavar="DIR", help="What FILE starts from.")
    ] = Path(),
    norm_power: Annotated[
        float, typer.Option("--norm-power", help="Power of the norms of tokens; 1 leaves them.")
    ] = 0.8,
    language_axes: Annotated[
        int,
        typer.Option("--language-axes", help="Axes of language identity to project out."),
    ] = 2,
    whitening: Annotated[
        float, typer.Option("--whitening", help="0 leaves the directions, 1 whitens them.")
    ] = 0.15,
    pooling: Annotated[
        Literal["mean", "sublinear"],
        typer.Option(
            "--pooling", help="A token that stands n times counts n times, or only sqrt(n) times."
        ),
    ] = "sublinear",
    force: Force = False,
) -> None:
    """Improve a static encoder without training: norms, language axes, whitening, pooling."""
    with friendly_errors():
        from training.config_data import ParallelSource
        from training.refine import RefineOptions
        from training.refine import refine as write

        options = RefineOptions(norm_power, language_axes, whitening, pooling)
        source = ParallelSource(path=parallel, licence=licence)
        parity = write(model, data_root, source, out, options, force=force)
        typer.echo("int8: " + ", ".join(f"{key} {v:.3g}" for key, v in parity.items()))
        typer.echo(f"The refined export is in {out}. Its calibrator has to be fitted anew.")


cli_data.register(cli)
cli_evaluation.register(cli)
cli_study.register(cli)


def main() -> None:
    """Run the command line; the entry point of the distribution."""
    cli(prog_name="isoglot-train")


if __name__ == "__main__":
    main()
