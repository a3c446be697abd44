"""``isoglot feedback``: take the feedback log out."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from app.cli.exits import UsageError, complain, friendly_errors
from app.cli.options import DataDirOption, settings_from

if TYPE_CHECKING:
    from app.core.feedback.entries import Entry
    from app.settings import Settings

feedback_commands = typer.Typer(
    help="Take out what was said of hits.", no_args_is_help=True, rich_markup_mode="rich"
)


class Form(StrEnum):
    """How feedback is written."""

    jsonl = "jsonl"
    qrels = "qrels"


@feedback_commands.callback()
def _feedback() -> None:
    """Take out what was said of hits."""


@feedback_commands.command(
    epilog="[bold]Example[/bold]\n\n  isoglot feedback export --form qrels --out feedback.qrels"
)
def export(
    form: Annotated[
        Form,
        typer.Option(
            help="jsonl: everything, clicks included. qrels: labels alone, as TREC writes them "
            "(query id, 0, passage id, 0 or 1)."
        ),
    ] = Form.jsonl,
    out: Annotated[
        Path | None, typer.Option(help="File to write.  [default: stdout]", show_default=False)
    ] = None,
    data_dir: DataDirOption = None,
) -> None:
    """Write the feedback log; a running service goes on meanwhile."""
    with friendly_errors():
        settings = settings_from(data_dir=data_dir)
        line = {Form.jsonl: json_line, Form.qrels: qrels_line}[form]
        with _opened(out) as file:
            written = asyncio.run(_write(settings, line, file))
        complain(f"{written} lines.")


async def read_feedback(settings: Settings) -> AsyncIterator[Entry]:
    """Yield the log of a collection, in the order it came.

    Raises:
        UsageError: No service has kept feedback where it is looked for.
        FeedbackLogError: It cannot be read.
    """
    from app.adapters.feedback.sql import LOG_FILE, feedback_log

    url = settings.feedback_log
    if url is None and not (settings.data_dir / LOG_FILE).is_file():
        raise UsageError(
            f"No service has kept feedback in {settings.data_dir.absolute()}. Name the data "
            "directory of the service, with --data-dir or ISOGLOT_DATA_DIR."
        )
    log = feedback_log(
        None if url is None else url.get_secret_value(),
        data_dir=settings.data_dir,
        collection=settings.collection,
    )
    await log.open()
    try:
        after = 0
        while page := await log.read(after=after):
            for after, entry in page:  # noqa: B007  goes on after the last one
                yield entry
    finally:
        await log.close()


def json_line(entry: Entry) -> str:
    """Return an entry as one JSON object."""
    said = {"source": entry.source, "relevant": entry.relevant, "received": entry.received}
    return json.dumps({**said, **entry.statement._asdict()}, ensure_ascii=False)


def qrels_line(entry: Entry) -> str | None:
    """Return a label as TREC writes it; ``None`` for a click.

    Raises:
        UsageError: An id has white space, which the form cannot hold.
    """
    if entry.relevant is None:
        return None
    said = entry.statement
    passage = f"{said.tenant}/{said.passage_id}" if said.tenant else said.passage_id
    if any(character.isspace() for character in passage):
        raise UsageError(
            f"The passage id {passage!r} has white space, which qrels cannot hold. Write jsonl."
        )
    return f"{said.query_id} 0 {passage} {int(entry.relevant)}"


async def _write(settings: Settings, line: Callable[[Entry], str | None], file: TextIO) -> int:
    written = 0
    async for entry in read_feedback(settings):
        text = line(entry)
        if text is not None:
            file.write(text + "\n")
            written += 1
    return written


@contextmanager
def _opened(out: Path | None) -> Iterator[TextIO]:
    if out is None:
        yield sys.stdout
        return
    try:
        file = out.open("w", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{out} cannot be written: {error.strerror}.") from error
    with file:
        yield file
