import gzip

import numpy as np
import pytest

from tests.training.sets import parallel_set, with_random_vectors
from training.errors import DataError
from training.evaluate import rank_relevant, summarise, write_run
from training.ranks import rank_listed
from training.trec_run import read_run_file

pytestmark = pytest.mark.training


def test_a_run_that_holds_everything_scores_like_the_vectors_it_was_made_with(tmp_path):
    embedded = with_random_vectors(parallel_set(questions=4))
    data = embedded.data
    path = tmp_path / "whole.run.gz"
    write_run(embedded, path, depth=len(data.passages))
    run = read_run_file(data, path)
    found = rank_listed(data, run.listed)
    expected = rank_relevant(embedded)
    np.testing.assert_array_equal(found.overall, expected.overall)
    np.testing.assert_array_equal(found.inside, expected.inside)
    assert (run.depth, run.unanswered, run.tags) == (len(data.passages), 0, ("isoglot",))


def test_a_short_run_counts_what_it_leaves_out_as_not_found(tmp_path):
    embedded = with_random_vectors(parallel_set(questions=6))
    write_run(embedded, tmp_path / "short.run", depth=3)
    run = read_run_file(embedded.data, tmp_path / "short.run")
    short = summarise(embedded.data, rank_listed(embedded.data, run.listed))
    whole = summarise(embedded.data, rank_relevant(embedded))
    assert 0 < short.summary["multi/recall@10"].value < whole.summary["multi/recall@10"].value
    assert short.summary["multi/recall@1"] == whole.summary["multi/recall@1"]
    assert "bias/rank_distance" not in short.summary
    assert any("Rank distance leaves out" in note for note in short.notes)


def test_ties_are_broken_by_id_whatever_the_order_of_the_lines(tmp_path):
    data = parallel_set(questions=1)
    path = tmp_path / "ties.run"
    path.write_text(
        "q0.de Q0 x0.de 1 0.5 t\nq0.de Q0 p0.en 2 0.5 t\nq0.de Q0 p0.de 3 5e-1 t\n\n"
        "q0.de Q0 p0.es 4 0.7 t\n"
    )
    listed = read_run_file(data, path).listed[0]
    assert [data.passages[row].id for row in listed] == ["p0.es", "p0.de", "p0.en", "x0.de"]


def test_scores_are_written_with_every_digit(tmp_path):
    embedded = with_random_vectors(parallel_set(questions=1))
    write_run(embedded, tmp_path / "run")
    for line in (tmp_path / "run").read_text().splitlines():
        query, _, passage, _, score, _ = line.split()
        ids = [item.id for item in embedded.data.queries], [p.id for p in embedded.data.passages]
        left = embedded.queries[ids[0].index(query)].astype(np.float64)
        right = embedded.passages[ids[1].index(passage)].astype(np.float64)
        assert np.float32(score) == np.float32(left @ right)


def test_queries_without_judgements_are_counted_and_left_out(tmp_path):
    path = tmp_path / "more.run"
    path.write_text("q0.de Q0 p0.de 1 1 t\nelsewhere Q0 p0.de 1 1 t\n")
    run = read_run_file(parallel_set(questions=1), path)
    assert (run.unjudged_queries, run.unanswered) == (1, 2)


@pytest.mark.parametrize(
    ("lines", "where", "problem"),
    [
        ("q0.de Q0 p0.de 1 0.5 t\nq0.de p0.en 2 0.4 t\n", 2, "expected 6 fields"),
        ("q0.de Q0 nowhere 1 0.5 t\n", 1, "'nowhere', which is not in the set"),
        ("q0.de Q0 p0.de 1 nan t\n", 1, "'nan' is not a finite number"),
        ("q0.de Q0 p0.de 1 high t\n", 1, "'high' is not a finite number"),
        ("q0.de Q0 p0.de 1 2 t\nq0.de Q0 p0.de 2 1 t\n", 2, "a second time"),
        ("other Q0 p0.de 1 2 t\n", None, "answers no query of 'small'"),
        ("", None, "answers no query of 'small'"),
    ],
)
def test_a_faulty_run_names_file_and_line(tmp_path, lines, where, problem):
    path = tmp_path / "faulty.run"
    path.write_text(lines)
    with pytest.raises(DataError, match=problem) as raised:
        read_run_file(parallel_set(questions=1), path)
    assert (raised.value.path, raised.value.line) == (path, where)


def test_a_file_that_is_no_text_is_said_so(tmp_path):
    for name, content in (("a.run.gz", b"no gzip"), ("b.run", b"\xff\xfe"), ("c.run.gz", None)):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match="cannot be read as a run file"):
            read_run_file(parallel_set(questions=1), tmp_path / name)
    cut = gzip.compress(b"".join(b"q%d Q0 p0.de 1 1 t\n" % n for n in range(50)))[:-9]
    (tmp_path / "d.run.gz").write_bytes(cut)
    with pytest.raises(DataError, match="cannot be read as a run file"):
        read_run_file(parallel_set(questions=1), tmp_path / "d.run.gz")
