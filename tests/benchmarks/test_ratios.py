"""Guards of speed: ratios within one run, so loose that only a regression of two times fails.

Not part of ``make test``, because a machine that is busy with other things can upset them;
``make benchmark`` runs them.
"""

from argparse import Namespace

import pytest

from benchmarks.overload import measure as overload_of
from benchmarks.search import measure

pytestmark = pytest.mark.benchmark

P50_TO_BARE = 5.4
"""Median time over HTTP to that of the bare encoder and engine; measured, see performance.md."""

P50_ABOVE_SATURATION = 1.9
"""Median time of admitted searches at three times the rate to that at the rate; likewise."""


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


@pytest.fixture(scope="module")
def overload(tmp_path_factory):
    options = Namespace(passages=2_000, seconds=3.0)
    return overload_of(tmp_path_factory.mktemp("overload"), options)["overload"]


def test_what_is_admitted_at_three_times_the_rate_waits_little_longer(overload):
    assert overload["p50_at_3_to_saturation"] < 2 * P50_ABOVE_SATURATION


def test_every_search_is_answered_or_told_when_to_come_again(overload):
    statuses = overload["at_3"]["statuses"]
    assert set(statuses) == {"200", "429"}
    assert overload["at_3"]["with_retry_after"] == statuses["429"]
