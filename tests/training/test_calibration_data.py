import gzip
import json

import numpy as np
import pytest

from tests.fakes import FakeEncoder
from training.calibration_config import CalibrationConfig
from training.calibration_data import (
    build_pool,
    collect_hits,
    data_sha256,
    load_sets,
    served_at_full_size,
)
from training.data import is_held_out
from training.errors import DataError

pytestmark = pytest.mark.training

WORDS = (
    *("river", "stone", "cloud", "paper", "glass", "music"),
    *("garden", "window", "bridge", "market", "winter", "silver"),
)


def sentence(rng: np.random.Generator, start: str) -> str:
    return f"{start} " + " ".join(rng.choice(WORDS, 9)) + "."


def write_sources(directory) -> None:
    """Monolingual questions with answers, and headings in two languages."""
    rng = np.random.default_rng(0)
    with gzip.open(directory / "questions.jsonl.gz", "wt", encoding="utf-8") as file:
        for number in range(40):
            before, answer = sentence(rng, f"before{number}"), sentence(rng, f"topic{number}")
            passage = f"{before} {answer}"
            row = {"id": f"q{number}", "lang": "en", "question": f"what about {answer}"}
            start = len(before) + 1
            file.write(json.dumps({**row, "passage": passage, "answer_start": start}) + "\n")
    with (directory / "headings.jsonl").open("w", encoding="utf-8") as file:
        for number in range(20):
            for language in ("en", "de"):
                row = {"id": f"doc{number % 5}#{number}", "lang": language}
                first = sentence(rng, f"heading{number} {language}")
                row |= {"question": first[:45], "passage": f"{first} {sentence(rng, 'more')}"}
                file.write(json.dumps(row) + "\n")


def config(**headings: object) -> CalibrationConfig:
    sources = [
        {"path": "questions.jsonl.gz", "licence": "CC0", "name": "questions"},
        {"path": "headings.jsonl", "licence": "CC0", "shared_ids": True, **headings},
    ]
    return CalibrationConfig.model_validate(
        {"languages": ["en", "de"], "set": sources, "corpus_sizes": [30], "queries_a_rung": 20}
    )


@pytest.fixture
def data_root(tmp_path):
    write_sources(tmp_path)
    return tmp_path


def test_sets_are_merged_into_one_pool_and_served_at_every_rung(data_root):
    pool = build_pool(FakeEncoder(), load_sets(config(), data_root), config())
    assert len(pool.data.queries) == 40 + 40
    assert len(pool.data.passages) == 80 + 80
    collected = collect_hits(pool, config())
    assert collected.corpus_sizes == (30, 160)
    assert set(collected.hits.corpus.tolist()) == {30.0, 160.0}
    assert collected.queries >= 20 + 80
    assert set(collected.source.tolist()) == {0, 1}


def test_questions_of_one_language_are_judged_in_that_language_only(data_root):
    pool = build_pool(FakeEncoder(), load_sets(config(), data_root), config())
    collected = collect_hits(pool, config())
    monolingual = collected.hits.where(collected.source == 0)
    assert monolingual.same.all()
    assert not collected.hits.where(collected.source == 1).same.all()


def test_a_source_that_is_not_judged_gives_distractors_only(data_root):
    silent = config(judged=False)
    pool = build_pool(FakeEncoder(), load_sets(silent, data_root), silent)
    assert len(pool.asked) == 40
    assert len(pool.data.passages) == 160
    assert set(collect_hits(pool, silent).source.tolist()) == {0}
    everything = served_at_full_size(pool)
    assert not everything.same.all()


def test_only_documents_that_training_holds_out_are_used(data_root):
    (held_out,) = [
        data for data in load_sets(config(held_out_share=0.5), data_root) if data.name == "headings"
    ]
    documents = {f"doc{number}" for number in range(5)}
    expected = {document for document in documents if is_held_out(document, 0.5)}
    asked = {query.id.split("/")[1].partition("#")[0] for query in held_out.queries}
    assert asked == expected
    assert 0 < len(expected) < 5


def test_a_cap_limits_every_language(data_root):
    (capped,) = [data for data in load_sets(config(cap=6), data_root) if data.name == "headings"]
    assert len(capped.queries) == 12


def test_questions_asked_of_two_passages_in_the_same_words_are_left_out(tmp_path):
    write_sources(tmp_path)
    with (tmp_path / "headings.jsonl").open("a", encoding="utf-8") as file:
        for number in (100, 101):
            row = {"id": f"doc9#{number}", "lang": "en", "question": "Summary"}
            file.write(json.dumps({**row, "passage": f"A summary of part {number}."}) + "\n")
    assert all(
        query.text != "Summary" for data in load_sets(config(), tmp_path) for query in data.queries
    )


def test_questions_without_an_answer_are_judged_and_never_relevant(data_root):
    plain = config()
    both = plain.model_copy(update={"unanswered_share": 0.5})
    pool = build_pool(FakeEncoder(), load_sets(plain, data_root), plain)
    answered, mixed = collect_hits(pool, plain), collect_hits(pool, both)
    rates = [collected.hits.relevant.mean() for collected in (answered, mixed)]
    assert 0.0 < rates[1] < 0.75 * rates[0]
    assert mixed.queries > 1.8 * answered.queries
    smaller = mixed.hits.where(~np.isin(mixed.hits.corpus, [30.0, 160.0]))
    assert len(smaller) > 0
    assert not smaller.relevant.any()


def test_a_seed_makes_the_ladder_repeatable(data_root):
    pool = build_pool(FakeEncoder(), load_sets(config(), data_root), config())
    first, again = collect_hits(pool, config()), collect_hits(pool, config())
    np.testing.assert_array_equal(first.hits.score, again.hits.score)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"questions\.jsonl\.gz"):
        load_sets(config(), tmp_path)


def test_the_fingerprint_of_the_data_changes_with_a_byte(data_root):
    before = data_sha256(config(), data_root)
    with (data_root / "headings.jsonl").open("a", encoding="utf-8") as file:
        file.write("\n")
    assert data_sha256(config(), data_root) != before
