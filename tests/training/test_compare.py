import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyarrow import parquet

from tests.training.sets import parallel_set, with_random_vectors
from training.compare import Side, compare_results, run_comparison
from training.errors import DataError
from training.evaluate import EmbeddedSet, rank_relevant, summarise
from training.per_query import per_query_path, read_per_query, write_per_query
from training.pool import describe_pool
from training.retrieval_set import RetrievalSet

pytestmark = pytest.mark.training

METRICS = ("mono/map", "cross/map", "multi/map", "bias/lpr@1")


def better(embedded: EmbeddedSet, share: float) -> EmbeddedSet:
    """Move some queries towards one of their answers."""
    queries = embedded.queries.copy()
    for number, rows in enumerate(embedded.data.relevant):
        queries[number] += share * embedded.passages[rows].sum(axis=0)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    return EmbeddedSet(embedded.data, queries, embedded.passages)


def write_results(directory: Path, embedded: EmbeddedSet) -> Path:
    data = embedded.data
    result = summarise(data, rank_relevant(embedded))
    directory.mkdir()
    write_per_query(data, {"encoder": result}, per_query_path(directory, data.name))
    part = {"pool": describe_pool(data), "encoder": result.to_json()}
    (directory / "results.json").write_text(json.dumps({"sets": {data.name: part}}))
    return directory


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("results")
    weak = with_random_vectors(parallel_set(questions=12))
    return write_results(root / "weak", weak), write_results(root / "strong", better(weak, 0.3))


def summary_of(directory: Path) -> dict[str, Any]:
    results = json.loads((directory / "results.json").read_text())
    summary: dict[str, Any] = results["sets"]["small"]["encoder"]["summary"]
    return summary


def test_what_is_compared_are_the_figures_of_the_results(made):
    found = compare_results(Side(made[0]), Side(made[1]), metrics=METRICS)["sets"]["small"]
    assert set(found) == set(METRICS)
    for metric, row in found.items():
        for side, directory in zip("ab", made, strict=True):
            assert row[side] == pytest.approx(summary_of(directory)[metric]["value"])
        assert row["difference"]["value"] == pytest.approx(row["b"] - row["a"])
        assert row["difference"]["low"] <= row["difference"]["value"] <= row["difference"]["high"]
        assert row["questions"] == 12
    assert found["mono/map"]["observations"] == 36
    assert found["cross/map"]["observations"] == 72


def test_a_better_system_is_found_better(made):
    found = compare_results(Side(made[0]), Side(made[1]), metrics=METRICS)["sets"]["small"]
    row = found["multi/map"]
    assert row["difference"]["low"] > 0
    assert row["p"] <= row["p_holm"] < 0.05


def test_a_system_does_not_differ_from_itself(made):
    found = compare_results(Side(made[0]), Side(made[0]), metrics=METRICS)["sets"]["small"]
    for row in found.values():
        assert (row["difference"]["value"], row["p"], row["p_holm"]) == (0.0, 1.0, 1.0)


def test_p_values_are_corrected_for_what_is_tested(made):
    sides = Side(made[0]), Side(made[1])
    one = compare_results(*sides, metrics=["multi/map"])["sets"]["small"]["multi/map"]
    four = compare_results(*sides, metrics=METRICS)["sets"]["small"]["multi/map"]
    assert one["p"] == one["p_holm"] == four["p"]
    assert four["p_holm"] > four["p"]


def test_the_tables_and_the_json_say_the_same(made, tmp_path):
    page = run_comparison(Side(made[0]), Side(made[1]), tmp_path / "c.json", metrics=METRICS)
    found = json.loads((tmp_path / "c.json").read_text())
    row = found["sets"]["small"]["multi/map"]
    line = next(line for line in page.splitlines() if line.startswith("| multi/map |"))
    assert f"{row['difference']['value']:.3f}" in line
    assert f"{row['p_holm']:.4f}" in line
    assert "encoder in weak" in page


def changed(data: RetrievalSet, name: str = "small") -> RetrievalSet:
    return type(data)(
        name, data.queries, data.passages[:-1], data.relevant, data.grades, data.unjudged
    )


def test_different_sets_are_refused(made, tmp_path):
    embedded = with_random_vectors(changed(parallel_set(questions=12)))
    same_name = write_results(tmp_path / "same", embedded)
    with pytest.raises(DataError, match="'small' is not the one of the other results"):
        compare_results(Side(made[0]), Side(same_name))
    other = with_random_vectors(changed(parallel_set(questions=12), "other"))
    with pytest.raises(DataError, match=r"measured other, but .* small: compare the same sets"):
        compare_results(Side(made[0]), Side(write_results(tmp_path / "other", other)))


def test_results_of_an_older_version_are_refused(made, tmp_path):
    old = shutil.copytree(made[0], tmp_path / "old")
    results = json.loads((old / "results.json").read_text())
    del results["sets"]["small"]["pool"]
    (old / "results.json").write_text(json.dumps(results))
    with pytest.raises(DataError, match="were not recorded"):
        compare_results(Side(old), Side(old))


@pytest.mark.parametrize("content", [None, "{", "[]", '{"sets": []}'])
def test_what_is_no_result_is_said_so(made, tmp_path, content):
    if content is not None:
        (tmp_path / "results.json").write_text(content)
    with pytest.raises(DataError, match="is not what `isoglot-train evaluate` wrote"):
        compare_results(Side(tmp_path), Side(made[0]))


def test_an_unknown_system_or_metric_is_said_so(made):
    with pytest.raises(DataError, match="holds no system 'run'; it holds encoder"):
        compare_results(Side(made[0], "run"), Side(made[1]))
    with pytest.raises(DataError, match="no metric of mono/mpa was measured on both sides"):
        compare_results(Side(made[0]), Side(made[1]), metrics=["mono/mpa"])


def test_values_that_cannot_be_read_are_said_so(made, tmp_path):
    broken = shutil.copytree(made[0], tmp_path / "broken")
    path = per_query_path(broken, "small")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match="cannot be read as per-query values"):
        compare_results(Side(broken), Side(made[0]))
    table = parquet.read_table(per_query_path(made[0], "small"))
    parquet.write_table(table.drop_columns(["question"]), path)
    with pytest.raises(DataError, match="has no column 'question'"):
        compare_results(Side(broken), Side(made[0]))


def test_values_come_back_as_they_were_written(tmp_path):
    embedded = with_random_vectors(parallel_set(questions=3))
    result = summarise(embedded.data, rank_relevant(embedded))
    write_per_query(embedded.data, {"a": result, "b": result}, tmp_path / "x.parquet")
    read = read_per_query(tmp_path / "x.parquet", "b")
    by_query, by_pair = result.observations
    np.testing.assert_array_equal(read["multi/map"].values, by_query.values["multi/map"])
    np.testing.assert_array_equal(read["cross/map"].values, by_pair.values["cross/map"])
    assert read["cross/map"].groups.tolist() == by_pair.groups.tolist()
    assert set(read) == {*by_query.values, *by_pair.values}
