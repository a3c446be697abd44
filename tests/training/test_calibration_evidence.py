"""Thresholds and evidence of a calibrator: from documents that its fits have not seen."""

from dataclasses import replace

import numpy as np
import pytest

from tests.training.test_calibrate import BINDING, TRUTH, config, simulate
from training.calibrate import fit_heads
from training.calibration_evidence import choose_thresholds, gather_evidence
from training.calibration_folds import cross_fit, one_list_a_document
from training.evaluate_calibration import OURS

pytestmark = pytest.mark.training

CONFIG = config(features=tuple(TRUTH))


@pytest.fixture(scope="module")
def cross():
    collected = simulate(30_000)
    return cross_fit(collected, CONFIG, fit_heads(collected, CONFIG), BINDING)


def test_every_hit_is_stated_by_a_fit_without_its_document(cross):
    collected = cross.collected
    document = collected.hits.cluster == 0
    turned = replace(collected.hits, relevant=collected.hits.relevant ^ document)
    again = replace(collected, hits=turned)
    other = cross_fit(again, CONFIG, fit_heads(collected, CONFIG), BINDING)
    np.testing.assert_array_equal(other.stated[OURS][document], cross.stated[OURS][document])
    assert (other.stated[OURS] != cross.stated[OURS]).any()


def test_first_hits_alone_are_stated_to_be_first(cross):
    assert (np.isfinite(cross.first_hit) == (cross.collected.hits.rank == 1)).all()


def test_one_list_is_drawn_of_every_document():
    query, document = np.repeat([0, 1, 2, 3], 2), np.repeat([7, 7, 8, 9], 2)
    documents, lists = one_list_a_document(query, document, np.random.default_rng(0))
    assert documents.tolist() == [7, 8, 9]
    assert lists[0] in (0, 1)
    assert lists[1:].tolist() == [2, 3]


def test_thresholds_keep_the_promises_of_the_configuration(cross):
    chosen = choose_thresholds(cross, CONFIG)
    assert chosen.answer is not None
    assert chosen.hits is not None
    assert (chosen.answer.target, chosen.answer.confidence) == (0.4, 0.9)
    assert chosen.hits.target == 0.1
    assert chosen.answer.n <= len(np.unique(cross.collected.hits.cluster))
    assert "250 to 16,000 passages" in chosen.answer.scope
    stricter = choose_thresholds(cross, CONFIG.model_copy(update={"answer_wrong": 0.3}))
    assert stricter.answer is None or stricter.answer.value >= chosen.answer.value


def test_evidence_looks_at_coarse_judgements_only_where_there_are_no_others(cross):
    hits = cross.collected.hits
    fine = cross.collected.source == 0
    found = gather_evidence(cross, CONFIG)
    assert "headings are looked at only where" in found.data
    assert sum(b.hits for b in found.reliability["same"]) == (hits.same & fine).sum()
    assert set(found.reliability) == {"same", "cross", "rank 1", "same/en", "cross/en"}
    assert found.compared[0].name == "this"
    assert {g.corpus for g in found.growth} == {250, 1000, 16000}
    assert {(p.query, p.passage) for p in found.pairs} == {("en", "en"), ("en", "de")}
    only_coarse = gather_evidence(cross.where(~fine), CONFIG)
    assert sum(b.hits for b in only_coarse.reliability["same"]) == (hits.same & ~fine).sum()


def test_a_size_with_too_few_hits_is_no_point_of_growth(cross):
    few = cross.where(np.arange(len(cross.first_hit)) < 150)
    assert gather_evidence(few, CONFIG).growth == ()
