import xml.etree.ElementTree as ET
from typing import Any

import pytest

from tests.training.sets import parallel_set, with_random_vectors
from training.evaluate import evaluate_bm25, rank_relevant, summarise
from training.pool import describe_pool
from training.report import (
    draw_reliability,
    macro_averages,
    macro_table,
    retrieval_tables,
    systems_of,
    table,
)

pytestmark = pytest.mark.training


def test_a_table_is_markdown():
    assert table(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |\n"


def measured() -> dict[str, Any]:
    embedded = with_random_vectors(parallel_set(4))
    data = embedded.data
    return {
        "pool": describe_pool(data),
        "encoder": summarise(data, rank_relevant(embedded)).to_json(),
        "baselines": {"bm25": evaluate_bm25(data).to_json()},
    }


def test_retrieval_tables_show_all_systems_side_by_side():
    result = measured()
    page = retrieval_tables("small", result)
    mono = result["encoder"]["summary"]["mono/map"]["value"]
    assert "| mAP | encoder | bm25 |" in page
    line = next(line for line in page.splitlines() if line.startswith("| monolingual |"))
    assert f"{mono:.3f}" in line
    assert "1.000" in line
    german = next(line for line in page.splitlines() if line.startswith("| de |"))
    assert f"{result['encoder']['by_language']['de']['multi/map']:.3f}" in german
    assert "Worst pair" in page
    assert "encoder: PEER is not reported" in page


def test_the_page_says_what_was_in_the_pool():
    page = retrieval_tables("small", measured())
    assert "12 queries in 3 languages" in page
    assert "all 24 passages (de 8, en 8, es 8)" in page
    assert "36 relevant passages, 3 to 3 a query (mean 3.0)" in page


def test_queries_without_an_answer_are_mentioned():
    result = measured()
    assert "have none and are left out" not in retrieval_tables("small", result)
    result["pool"]["queries_without_answer"] = 2
    assert "2 queries have none and are left out" in retrieval_tables("small", result)


def test_macro_averages_weigh_every_language_of_every_set_the_same():
    def one(**values: float | None) -> dict[str, Any]:
        rows = {code: {"mono/ndcg@10": v, "mono/recall@100": 1.0} for code, v in values.items()}
        return {"encoder": {"by_language": rows}, "baselines": {}}

    sets = {"a": one(de=0.2, en=0.4), "b": one(sw=0.9), "c": one(fi=None)}
    macro = macro_averages(sets)
    assert macro["encoder"]["mono/ndcg@10"] == {"value": pytest.approx(0.5), "languages": 3}
    assert macro["encoder"]["mono/recall@100"]["languages"] == 4
    assert "| encoder | 0.500 | 1.000 | 4 |" in macro_table(macro)


def test_a_run_stands_where_the_encoder_would():
    result = measured()
    result["run"] = result.pop("encoder")
    assert list(systems_of(result)) == ["run", "bm25"]
    assert "| mAP | run | bm25 |" in retrieval_tables("small", result)


def test_a_reliability_diagram_is_an_svg_with_its_legend_and_the_same_bytes_each_time(tmp_path):
    diagrams = {"ours": {"stated": [0.1, 0.5], "observed": [0.12, 0.4], "hits": [10, 10]}}
    first, second = tmp_path / "a.svg", tmp_path / "b.svg"
    draw_reliability(diagrams, "cross-language hits", first)
    draw_reliability(diagrams, "cross-language hits", second)
    assert first.read_bytes() == second.read_bytes()
    assert ET.parse(first).getroot().tag.endswith("svg")
    text = first.read_text(encoding="utf-8")
    assert "ours" in text
    assert "cross-language hits" in text
