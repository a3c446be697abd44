import numpy as np
import pytest
from scipy import stats

from app.core.errors import EncodingError
from tests.fakes import FakeEncoder
from tests.training.sets import LANGUAGES, parallel_set, with_random_vectors
from training.embedding import VectorStorage, embed_passages
from training.evaluate import (
    EmbeddedSet,
    embed_set,
    evaluate_bm25,
    rank_relevant,
    summarise,
    write_run,
)
from training.retrieval_set import SetPassage, SetQuery, assemble

pytestmark = pytest.mark.training


def ranks_by_sorting(embedded: EmbeddedSet, query: int, language: str | None) -> dict[str, int]:
    """Passage id to rank, by the plainest code there is."""
    scores = embedded.queries[query] @ embedded.passages.T
    pool = [
        (-score, passage.id)
        for score, passage in zip(scores, embedded.data.passages, strict=True)
        if language in (None, passage.language)
    ]
    return {passage_id: rank for rank, (_, passage_id) in enumerate(sorted(pool), start=1)}


def average_precision(ranks: list[int]) -> float:
    return sum((n + 1) / rank for n, rank in enumerate(sorted(ranks))) / len(ranks)


@pytest.mark.parametrize("block_cells", [1, 100, 1 << 24])
def test_every_setting_equals_the_plain_computation(block_cells):
    embedded = with_random_vectors(parallel_set(questions=5))
    data = embedded.data
    result = summarise(data, rank_relevant(embedded, block_cells=block_cells))
    mono, multi, distance = [], [], []
    cross: dict[tuple[str, str], list[float]] = {}
    for number, query in enumerate(data.queries):
        relevant = [data.passages[row] for row in data.relevant[number]]
        everywhere = ranks_by_sorting(embedded, number, None)
        ranks = [everywhere[passage.id] for passage in relevant]
        multi.append(average_precision(ranks))
        distance.append(max(ranks) - min(ranks))
        for passage in relevant:
            rank = ranks_by_sorting(embedded, number, passage.language)[passage.id]
            if passage.language == query.language:
                mono.append(1 / rank)
            else:
                cross.setdefault((query.language, passage.language), []).append(1 / rank)
    assert result.summary["mono/map"].value == pytest.approx(np.mean(mono))
    assert result.summary["multi/map"].value == pytest.approx(np.mean(multi))
    assert result.summary["bias/rank_distance"].value == pytest.approx(np.mean(distance))
    assert result.summary["bias/rank_distance_share"].value == pytest.approx(
        np.mean(distance) / len(data.passages)
    )
    pairs = {pair: np.mean(values) for pair, values in cross.items()}
    assert result.summary["cross/map"].value == pytest.approx(np.mean(list(pairs.values())))
    for (query_language, passage_language), value in pairs.items():
        assert result.by_pair[query_language][passage_language] == pytest.approx(value)
    worst = min(pairs, key=lambda pair: pairs[pair])
    named = result.to_json()["worst_pair"]
    assert isinstance(named, dict)
    assert named["pair"] == ">".join(worst)


def test_an_encoder_that_only_knows_its_own_language_prefers_it_always():
    data = parallel_set(questions=3)
    axis = {code: number for number, code in enumerate(LANGUAGES)}
    questions = {query.cluster: number for number, query in enumerate(data.queries)}

    def vector(language: str, cluster: int) -> np.ndarray:
        made = np.zeros(32, dtype=np.float32)
        made[axis[language]] = 0.8
        made[4 + cluster] = 0.6
        return made

    queries = np.stack([vector(q.language, questions[q.cluster]) for q in data.queries])
    passages = np.stack(
        [
            vector(p.language, questions["q" + p.document[1:]] if p.id.startswith("p") else 27)
            for p in data.passages
        ]
    )
    result = summarise(data, rank_relevant(EmbeddedSet(data, queries, passages)))
    assert result.summary["mono/map"].value == 1.0
    assert result.summary["cross/map"].value == 1.0
    assert result.summary["bias/lpr@1"].value == 1.0
    assert result.summary["bias/same_language_first_hit"].value == 1.0
    assert result.summary["multi/map"].value < 1.0


def test_bm25_finds_what_shares_words_inside_the_language():
    result = evaluate_bm25(parallel_set(questions=6))
    assert result.summary["mono/map"].value == 1.0
    assert set(result.by_language) == set(LANGUAGES)
    assert set(result.by_pair) == set(LANGUAGES)


def test_a_set_in_one_language_has_no_cross_lingual_setting():
    embedded = with_random_vectors(parallel_set(questions=3, languages=("en",)))
    result = summarise(embedded.data, rank_relevant(embedded))
    assert "cross/map" not in result.summary
    assert result.summary["mono/map"] == result.summary["multi/map"]
    assert not [name for name in result.summary if name.startswith("bias/")]


def test_peer_is_left_out_where_no_order_can_change_it_and_the_reader_is_told():
    embedded = with_random_vectors(parallel_set(questions=3))
    result = summarise(embedded.data, rank_relevant(embedded))
    assert not [name for name in result.summary if "peer" in name]
    assert any("PEER is not reported" in note for note in result.notes)


def test_peer_is_reported_over_the_queries_that_can_tell():
    passages = [
        SetPassage(f"{code}{n}", code, "text", "d") for code in ("de", "en") for n in (0, 1)
    ]
    queries = [SetQuery("q0", "de", "text", "q0"), SetQuery("q1", "de", "text", "q1")]
    judged = {"q0": dict.fromkeys(("de0", "de1", "en0", "en1"), 1), "q1": {"de0": 1, "en0": 1}}
    data = assemble("judged", queries, passages, judged)
    rows = np.array([[0.9], [0.8], [0.2], [0.1]], dtype=np.float32)
    embedded = EmbeddedSet(data, np.ones((2, 1), dtype=np.float32), rows)
    result = summarise(data, rank_relevant(embedded))
    assert result.summary["bias/peer@20"].value == pytest.approx(stats.chi2.sf(2.4, 1))
    assert any("rests on the 1 queries" in note for note in result.notes)


def test_vectors_on_disk_in_half_precision_give_nearly_the_same_figures(tmp_path):
    data = parallel_set(questions=6)
    storage = VectorStorage(tmp_path / "vectors", "float16")
    on_disk = embed_set(FakeEncoder(), data, storage)
    in_memory = embed_set(FakeEncoder(), data)
    assert isinstance(on_disk.passages, np.memmap)
    assert (tmp_path / "vectors" / "small.npy").is_file()
    assert on_disk.passages.dtype == np.float16
    np.testing.assert_allclose(on_disk.passages, in_memory.passages, atol=0.0005)
    there, here = (summarise(data, rank_relevant(e)).summary for e in (on_disk, in_memory))
    assert there["multi/recall@100"] == here["multi/recall@100"]
    assert there["mono/map"].value == pytest.approx(here["mono/map"].value, abs=0.1)


def test_an_encoder_that_reads_nothing_is_an_error():
    with pytest.raises(EncodingError, match="any of the texts"):
        embed_passages(FakeEncoder(), ['"', "?"])


def test_a_run_file_lists_the_best_passages_in_order(tmp_path):
    embedded = with_random_vectors(parallel_set(questions=2))
    write_run(embedded, tmp_path / "run", depth=3)
    lines = [line.split() for line in (tmp_path / "run").read_text().splitlines()]
    assert len(lines) == 3 * len(embedded.data.queries)
    best = ranks_by_sorting(embedded, 0, None)
    first = [line for line in lines if line[0] == embedded.data.queries[0].id]
    assert [best[line[2]] for line in first] == [1, 2, 3]
    assert [line[3] for line in first] == ["1", "2", "3"]


def test_a_passage_without_words_does_not_stop_an_evaluation():
    vectors = embed_passages(FakeEncoder(), ["some words", '"', "more words", "?"])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), [1, 0, 1, 0], atol=1e-6)


def test_equal_texts_are_encoded_once_and_get_equal_vectors():
    asked: list[str] = []

    class Counting(FakeEncoder):
        def encode_passages(self, texts):
            asked.extend(texts)
            return super().encode_passages(texts)

    vectors = embed_passages(Counting(), ["a word", "other", "a word"])
    assert sorted(asked) == ["a word", "other"]
    np.testing.assert_array_equal(vectors[0], vectors[2])


def test_a_set_is_embedded_row_by_row():
    data = parallel_set(questions=2)
    embedded = embed_set(FakeEncoder(), data)
    expected = FakeEncoder().encode_queries([data.queries[3].text])[0]
    np.testing.assert_allclose(embedded.queries[3], expected, rtol=1e-6)
    assert embedded.passages.shape == (len(data.passages), FakeEncoder().spec.dim)
