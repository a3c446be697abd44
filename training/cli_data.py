"""The command ``overlap`` of ``isoglot-train``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from training.console import bars, friendly_errors

if TYPE_CHECKING:
    from training.overlap import SourceOverlap

OVERLAP_FOUND = 1


def register(cli: typer.Typer) -> None:
    """Add the command of this module to a command line."""
    cli.command(
        epilog="Example: isoglot-train overlap run.toml --data-root data --against xquad-r"
    )(overlap)


def overlap(  # noqa: PLR0913 - the options of the command
    training: Annotated[
        list[Path],
        typer.Argument(
            metavar="TRAINING...",
            help="TOML files of runs, or JSON lines of pairs or parallel text.",
            show_default=False,
        ),
    ],
    *,
    against: Annotated[
        Path, typer.Option("--against", metavar="SET", help="Evaluation set, of any known form.")
    ],
    data_root: Annotated[
        Path, typer.Option("--data-root", metavar="DIR", help="What the paths in TOML start from.")
    ] = Path(),
    split: Annotated[
        str | None, typer.Option("--split", help="Split of the evaluation set.")
    ] = None,
    language: Annotated[
        str | None, typer.Option("--language", help="Language of the set where it names none.")
    ] = None,
    min_letters: Annotated[
        int, typer.Option("--min-letters", min=30, help="Shortest shared text that counts.")
    ] = 30,
    allow: Annotated[
        int, typer.Option("--allow", min=0, help="Overlapping rows a source may have.")
    ] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Also write the JSON to a file.")
    ] = None,
) -> None:
    """Look for text of an evaluation set in training data: passages, titles and questions.

    Text is compared in the same language, without case, punctuation and spaces. Ends with exit
    code 1 if a source has more overlapping rows than --allow.
    """
    with friendly_errors():
        import json

        from training.overlap import EvaluationTexts, find_overlap, to_json
        from training.overlap_rows import training_rows, training_sources
        from training.readers.recognise import recognise

        sources = training_sources(training, data_root)
        evaluation = EvaluationTexts(recognise(against, split=split, language=language))
        results = []
        with bars() as progress:
            for source, root, languages in progress.track(sources, description="Comparing"):
                rows = training_rows(source, root, languages or evaluation.languages)
                results.append(find_overlap(source, rows, evaluation, min_letters=min_letters))
        document = json.dumps(to_json(results, evaluation), indent=1, ensure_ascii=False)
        if out is not None:
            out.write_text(document + "\n", encoding="utf-8")
        typer.echo(document if as_json else overlap_page(results, str(against)))
    if any(result.overlapping_rows > allow for result in results):
        raise typer.Exit(OVERLAP_FOUND)


def overlap_page(results: list[SourceOverlap], against: str) -> str:
    """Return a table of what was found, and the longest examples below it."""
    from training.report import table

    columns = ["source", "rows", "overlapping", "text", "title", "question", "longest"]
    cells = [
        [
            result.source,
            str(result.rows),
            str(result.overlapping_rows),
            str(result.text_rows),
            str(result.title_rows),
            str(result.question_rows),
            str(result.longest_letters),
        ]
        for result in results
    ]
    examples = [
        f"{result.source}: {example.kind}, row {example.row_id} ({example.language}), "
        f"{example.letters} letters, as in {example.evaluation_id}: {example.shared}"
        for result in results
        for example in result.examples
    ]
    parts = [f"Rows that share text with {against}:", "", table(columns, cells), *examples]
    return "\n".join(parts)
