import xml.etree.ElementTree as ET
from typing import Any

import pytest

from tests.training.sets import parallel_set, with_random_vectors
from training.evaluate import evaluate_bm25, rank_relevant, summarise
from training.report import draw_reliability, retrieval_tables, table

pytestmark = pytest.mark.training


def test_a_table_is_markdown():
    assert table(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |\n"


def test_retrieval_tables_show_encoder_and_bm25_side_by_side():
    embedded = with_random_vectors(parallel_set(4))
    data = embedded.data
    result: dict[str, Any] = {
        "queries": len(data.queries),
        "passages": len(data.passages),
        "languages": ["de", "en", "es"],
        "encoder": summarise(data, rank_relevant(embedded)).to_json(),
        "bm25": evaluate_bm25(data).to_json(),
    }
    page = retrieval_tables("small", result)
    mono = result["encoder"]["summary"]["mono/map"]["value"]
    line = next(line for line in page.splitlines() if line.startswith("| monolingual |"))
    assert f"{mono:.3f}" in line
    assert "1.000" in line
    german = next(line for line in page.splitlines() if line.startswith("| de |"))
    assert f"{result['encoder']['by_language']['de']['multi/map']:.3f}" in german
    assert "Worst pair" in page


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
