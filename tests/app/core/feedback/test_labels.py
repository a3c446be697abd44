import dataclasses

import numpy as np

from app.core.feedback.labels import labels_of
from tests.app.core.feedback.drawn import drawn_labels
from tests.app.core.feedback.statements import entry

OURS = "0001a8422cb8"


def test_labels_of_one_calibrator_are_read_and_clicks_are_none():
    entries = [
        entry(passage_id="a", relevant=True, query_language="de", passage_language="de-AT"),
        entry(passage_id="b", relevant=False, source="judged", rank=3),
        entry(passage_id="c", relevant=None, source="click"),
        entry(passage_id="d", relevant=True, calibrator="ffffffffffff"),
        entry(passage_id="a", query_id="f" * 32, relevant=True, query_language="fr"),
    ]

    labels = labels_of(entries, OURS)

    assert labels.relevant.tolist() == [True, False, True]
    assert labels.same.tolist() == [True, False, False]
    assert labels.judged.tolist() == [False, True, False]
    assert labels.rank.tolist() == [1, 3, 1]
    assert (labels.queries, labels.left_out, labels.languages) == (2, 1, ("de", "fr"))
    assert len(labels.digest) == 64
    assert labels.digest != labels_of(entries[:1], OURS).digest


def test_no_labels_hide_nothing():
    assert labels_of([], OURS).warnings() == ()


def test_what_labels_may_hide_is_said():
    labels = drawn_labels(lambda z, _: z, queries=200, hits=1)
    narrow = dataclasses.replace(
        labels,
        probability=np.full(200, 0.9),
        judged=np.zeros(200, dtype=np.bool_),
        same=np.ones(200, dtype=np.bool_),
        left_out=7,
    )

    said = " ".join(narrow.warnings())

    assert "chose to answer" in said
    assert "100% of the labels are of hits at rank 1" in said
    assert "Only 0 labels are of cross-language hits" in said
    assert "probability of 0.33 to 0.67" in said
    assert "7 labels are of statements of other calibrators" in said


def test_labels_that_cover_everything_are_not_warned_of():
    assert drawn_labels(lambda z, _: z, queries=200).warnings() == ()
