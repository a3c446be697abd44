"""Rows of tables: tab-separated files with a header, Parquet, and Hugging Face datasets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from training.errors import DataError
from training.readers.files import JsonObject, Place, read_lines


def renamed(row: JsonObject, columns: Mapping[str, str]) -> JsonObject:
    """Return a row under our names.

    Args:
        row: The row.
        columns: Our name to theirs; a dot steps into an object or, by number, into a list:
            ``answer_start = "answers.answer_start.0"``.
    """
    return row | {ours: _dig(row, theirs.split(".")) for ours, theirs in columns.items()}


def _dig(value: object, steps: Sequence[str]) -> object:
    for step in steps:
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    return value


def tab_rows(path: Path) -> Iterator[tuple[Place, JsonObject]]:
    """Yield the rows of a tab-separated file; the first line names the columns.

    Raises:
        DataError: The file is empty, or a line has another number of columns than the header.
    """
    header: list[str] = []
    for number, line in read_lines(path):
        fields = line.split("\t")
        if number == 1:
            header = [name.strip() for name in fields]
            _check_header(Place(path, 1), header)
        elif line.strip():
            if len(fields) != len(header):
                wanted = f"{len(header)} columns by tabs: {', '.join(header)}"
                raise DataError(path, number, f"expected {wanted}; found {len(fields)}")
            yield Place(path, number), {k: v for k, v in zip(header, fields, strict=True) if v}
    if not header:
        raise DataError(path, None, "is empty; the first line must name the columns")


def _check_header(place: Place, header: list[str]) -> None:
    if len(set(header)) != len(header) or not all(header):
        raise place.error(f"the first line must name every column once; found {header}")


def parquet_rows(path: Path) -> Iterator[tuple[Place, JsonObject]]:
    """Yield the rows of a Parquet file, or of those in a directory; a batch is held at a time.

    Raises:
        DataError: A file is not Parquet, or damaged.
    """
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    files = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
    if not files:
        raise DataError(path, None, "has no *.parquet file")
    for file in files:
        number = 0
        try:
            with ParquetFile(file) as table:
                for batch in table.iter_batches(batch_size=1024):
                    for row in batch.to_pylist():
                        number += 1
                        yield Place(file, inside=f"row {number}"), row
        except (ArrowException, OSError) as error:
            raise DataError(file, None, f"cannot be read after row {number}: {error}") from error


def hub_rows(
    path: Path, dataset_id: str, *, subset: str | None, split: str | None, revision: str | None
) -> Iterator[tuple[Place, JsonObject]]:
    """Yield the rows of a Hugging Face dataset.

    Args:
        path: Where ``Dataset.save_to_disk`` would have put it; read from there if it exists.
        dataset_id: Id at the hub.
        subset: Configuration of the dataset.
        split: Split; ``train`` where it is ``None``.
        revision: Branch, tag or commit.

    Raises:
        DataError: The hub cannot be reached and nothing is cached, or the id, subset, split or
            revision does not exist.
    """
    place = Path(dataset_id)
    for number, row in enumerate(_load(path, dataset_id, subset, split or "train", revision), 1):
        yield Place(place, inside=f"row {number}"), dict(row)


def _load(
    path: Path, dataset_id: str, subset: str | None, split: str, revision: str | None
) -> Iterator[JsonObject]:
    from datasets import DatasetDict, load_dataset, load_from_disk

    try:
        if path.is_dir():
            stored = load_from_disk(str(path))
            rows = stored[split] if isinstance(stored, DatasetDict) else stored
        else:
            rows = load_dataset(dataset_id, name=subset, split=split, revision=revision)
    except (OSError, ValueError, KeyError) as error:
        raise DataError(
            Path(dataset_id),
            None,
            f"the dataset cannot be loaded: {error}. Without a network, give Parquet files "
            '(form = "parquet") or what Dataset.save_to_disk wrote.',
        ) from error
    yield from rows
