import numpy as np
import pytest

from tests.training.sets import parallel_set, with_random_vectors
from training.evaluate import EmbeddedSet, rank_relevant
from training.ranks import NOBODY, rank_all, rank_listed
from training.search import CosineScorer, nearest

pytestmark = pytest.mark.training


def test_counting_gives_the_ranks_of_sorting_even_among_ties():
    data = parallel_set(questions=5)
    rng = np.random.default_rng(2)
    queries = rng.integers(-1, 2, (len(data.queries), 3)).astype(np.float32)
    passages = rng.integers(-1, 2, (len(data.passages), 3)).astype(np.float32)
    listed = nearest(queries, passages, len(data.passages)).rows
    by_sorting = rank_listed(data, list(listed))
    for block_cells in (1, 60, 1 << 20):
        counted = rank_relevant(EmbeddedSet(data, queries, passages), block_cells=block_cells)
        np.testing.assert_array_equal(counted.overall, by_sorting.overall)
        np.testing.assert_array_equal(counted.inside, by_sorting.inside)
        np.testing.assert_array_equal(counted.first, by_sorting.first)


def test_what_scores_no_more_than_the_threshold_was_not_returned():
    data = parallel_set(questions=1, languages=("de", "en"))
    scores = np.array([[0.0, 0.9, 0.3, 0.2], [0.0, 0.0, 0.0, 0.0]], dtype=np.float32)
    scorer = CosineScorer(scores, np.eye(4, dtype=np.float32))
    assert [p.id for p in data.passages] == ["p0.de", "p0.en", "x0.de", "x0.en"]
    found = rank_all(data, scorer, returned_above=0.0)
    assert found.overall.tolist() == [[np.inf, 1.0], [np.inf, np.inf]]
    assert found.inside.tolist() == [[np.inf, 1.0], [np.inf, np.inf]]
    assert found.first.tolist() == [1, NOBODY]


def test_a_list_is_ranked_as_a_whole_and_inside_each_language():
    data = parallel_set(questions=1, languages=("de", "en"))
    row = {passage.id: number for number, passage in enumerate(data.passages)}
    listed = [np.array([row["x0.de"], row["x0.en"], row["p0.en"]]), np.zeros(0, dtype=np.int64)]
    found = rank_listed(data, listed)
    assert found.languages.tolist() == [["de", "en"], ["de", "en"]]
    assert found.overall.tolist() == [[np.inf, 3.0], [np.inf, np.inf]]
    assert found.inside.tolist() == [[np.inf, 2.0], [np.inf, np.inf]]
    assert found.first.tolist() == [row["x0.de"], NOBODY]


def test_unused_cells_are_not_numbers():
    embedded = with_random_vectors(parallel_set(questions=2))
    data = embedded.data
    fewer = tuple(rows[: 1 + number % 3] for number, rows in enumerate(data.relevant))
    grades = tuple(row[: len(rows)] for row, rows in zip(data.grades, fewer, strict=True))
    changed = type(data)(data.name, data.queries, data.passages, fewer, grades, data.unjudged)
    found = rank_relevant(EmbeddedSet(changed, embedded.queries, embedded.passages))
    used = np.isfinite(found.overall)
    assert used.sum(axis=1).tolist() == [len(rows) for rows in fewer]
    assert np.isnan(found.overall[~used]).all()
    assert (found.languages[~used] == "").all()
