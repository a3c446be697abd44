"""Guards of speed: ratios within one run, so loose that only a regression of two times fails.

Not part of ``make test``, because a machine that is busy with other things can upset them;
``make benchmark`` runs them.
"""

from argparse import Namespace

import pytest

from benchmarks.search import measure

pytestmark = pytest.mark.benchmark

P50_TO_BARE = 7.1
"""Median time over HTTP to that of the bare encoder and engine; measured, see performance.md."""


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    options = Namespace(bundle=None, passages=10_000, rounds=3, seconds=2.0, filtered=False)
    return measure(tmp_path_factory.mktemp("benchmark"), options)


def test_a_search_over_http_takes_no_multiple_of_its_bare_parts(found):
    assert found["ratio_p50_to_bare"]["median"] < 2 * P50_TO_BARE


def test_throughput_does_not_fall_from_8_to_32_connections(found):
    assert found["ratio_rate_32_to_8"]["median"] > 0.5


def test_language_and_calibration_take_no_more_than_the_rest(found):
    stages = found["stages_ms"]
    assert stages["language"] + stages["calibrate"] < 0.65 * stages["total"]
