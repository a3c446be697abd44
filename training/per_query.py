"""The value of every metric for every query, kept beside the results so that they can be compared.

One Parquet file a set, ``per_query/<set>.parquet``. A row is a query of one system; for the
cross-lingual setting, a query and a passage language. Columns: ``system``, ``query_id``,
``question`` (shared by translations, the unit of the bootstrap), ``query_language``,
``passage_language`` (null but for the cross-lingual setting), and one column a metric, null where
it is not defined.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet

from app.core.types import FloatArray
from training.errors import DataError
from training.protocol import PAIR, Observations, RetrievalResult
from training.retrieval_set import RetrievalSet

DIRECTORY = "per_query"
_KEYS = ("system", "query_id", "question", "query_language", "passage_language")


@dataclass(frozen=True, slots=True, eq=False)
class MetricValues:
    """The values of one metric, one entry an observation.

    Attributes:
        values: float64 of shape (n,).
        groups: What they are averaged within: a query language or ``query>passage`` languages.
        questions: Cluster of every observation.
        query_ids: Query of every observation.
    """

    values: FloatArray
    groups: NDArray[np.str_]
    questions: NDArray[np.str_]
    query_ids: NDArray[np.str_]


def per_query_path(directory: Path, name: str) -> Path:
    """Return where the values of a set are, in a directory of results."""
    return directory / DIRECTORY / f"{name}.parquet"


def write_per_query(data: RetrievalSet, results: Mapping[str, RetrievalResult], path: Path) -> None:
    """Write the values of all systems on one set.

    Args:
        data: The set.
        results: System to result.
        path: File to write.
    """
    tables = [
        _table(data, system, observations)
        for system, result in results.items()
        for observations in result.observations
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    merged = pa.concat_tables(tables, promote_options="default")
    parquet.write_table(merged, path, compression="zstd")


def read_per_query(path: Path, system: str) -> dict[str, MetricValues]:
    """Read the values of one system: metric to values, undefined ones left out.

    Raises:
        DataError: The file cannot be read, or does not hold the system.
    """
    try:
        table = parquet.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        problem = f"cannot be read as per-query values ({error}); evaluate again"
        raise DataError(path, None, problem) from error
    if missing := [name for name in _KEYS if name not in table.column_names]:
        raise DataError(path, None, f"has no column {missing[0]!r}; evaluate again")
    systems = table.column("system").to_pylist()
    if system not in systems:
        known = ", ".join(sorted(set(systems)))
        raise DataError(path, None, f"holds no system {system!r}; it holds {known}")
    chosen = table.filter(pa.array([name == system for name in systems]))
    metrics = [name for name in chosen.column_names if name not in _KEYS]
    return {name: values for name in metrics if len((values := _values(chosen, name)).values)}


def _table(data: RetrievalSet, system: str, observations: Observations) -> pa.Table:
    asked = [data.queries[row] for row in observations.query]
    passage_language = [str(group).partition(PAIR)[2] or None for group in observations.groups]
    columns = {
        "system": pa.array([system] * len(asked)).dictionary_encode(),
        "query_id": pa.array([query.id for query in asked]),
        "question": pa.array([query.cluster for query in asked]),
        "query_language": pa.array([query.language for query in asked]),
        "passage_language": pa.array(passage_language, type=pa.string()),
        **{
            name: pa.array(value, mask=np.isnan(value))
            for name, value in observations.values.items()
        },
    }
    return pa.table(columns)


def _values(table: pa.Table, name: str) -> MetricValues:
    kept = table.filter(table.column(name).is_valid())
    groups = [
        query if passage is None else f"{query}{PAIR}{passage}"
        for query, passage in zip(
            kept.column("query_language").to_pylist(),
            kept.column("passage_language").to_pylist(),
            strict=True,
        )
    ]
    return MetricValues(
        values=np.asarray(kept.column(name).to_numpy(), dtype=np.float64),
        groups=np.array(groups, dtype=np.str_),
        questions=np.array(kept.column("question").to_pylist(), dtype=np.str_),
        query_ids=np.array(kept.column("query_id").to_pylist(), dtype=np.str_),
    )
