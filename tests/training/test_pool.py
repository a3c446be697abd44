from dataclasses import replace

import numpy as np
import pytest

from tests.training.sets import parallel_set
from training.pool import describe_pool, fingerprint

pytestmark = pytest.mark.training


def test_a_pool_is_described_by_what_its_figures_depend_on():
    data = parallel_set(questions=2, languages=("de", "en"))
    nothing = np.zeros(0, dtype=np.int64)
    data = replace(
        data,
        relevant=(*data.relevant[:-1], nothing),
        grades=(*data.grades[:-1], nothing),
        unjudged=(np.array([3]), *data.unjudged[1:]),
    )
    facts = describe_pool(data)
    assert facts["queries_by_language"] == {"de": 2, "en": 2}
    assert facts["passages_by_language"] == {"de": 4, "en": 4}
    assert facts["relevant"] == {
        "judgements": 6, "by_grade": {"1": 6}, "fewest": 0, "mean": 1.5, "most": 2,
    }  # fmt: skip
    assert (facts["unjudged"], facts["queries_without_answer"]) == (1, 1)


def test_the_fingerprint_sees_every_text_and_judgement_and_not_the_name():
    data = parallel_set(questions=2)
    first = fingerprint(data)
    assert first == fingerprint(replace(data, name="another"))
    passage = replace(data.passages[0], text="changed")
    query = replace(data.queries[0], cluster="changed")
    for other in (
        replace(data, passages=(passage, *data.passages[1:])),
        replace(data, queries=(query, *data.queries[1:])),
        replace(data, grades=(data.grades[0] * 2, *data.grades[1:])),
        replace(data, relevant=(data.relevant[0] + 1, *data.relevant[1:])),
    ):
        assert fingerprint(other) != first
