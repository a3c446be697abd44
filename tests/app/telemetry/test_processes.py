"""Several processes behind one address add up their metrics."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.app.telemetry.samples import Samples
from tests.bundles import write_tiny_bundle

COUNT = """
import sys
from app.telemetry.metrics import Metrics
from app.core.bundle import load_bundle
from pathlib import Path
bundle = load_bundle(Path(sys.argv[1]))
metrics = Metrics()
metrics.serves(bundle, active=bundle.calibrator)
metrics.requests.began()
metrics.store.uploaded(stored=2, rejected=0)
metrics.store.holds(passages=7, indexed=0)
metrics.encoder.queued("query", 30)
metrics.serves(bundle, active=None, previous=bundle.calibrator.id)
if sys.argv[2] == "close":
    metrics.close()
print(metrics.exposition().decode())
"""


@pytest.fixture(scope="module")
def tiny_bundle_dir(tmp_path_factory) -> Path:
    return write_tiny_bundle(tmp_path_factory.mktemp("processes") / "bundle")


def count(shared: Path, bundle_dir: Path, then: str) -> Samples:
    done = subprocess.run(
        [sys.executable, "-c", COUNT, str(bundle_dir), then],
        env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(shared)},
        capture_output=True,
        text=True,
        check=True,
    )
    return Samples(done.stdout)


def test_what_processes_count_is_added_up_and_what_they_state_is_not(tmp_path, tiny_bundle_dir):
    shared = tmp_path / "shared"
    shared.mkdir()

    count(shared, tiny_bundle_dir, "stay")
    found = count(shared, tiny_bundle_dir, "stay")

    assert found.value("isoglot_passages_ingested_total") == 4
    assert found.value("isoglot_store_passages") == 7
    assert found.value("isoglot_encoder_queue_tokens", lane="query") == 60
    assert "pid" not in {name for labels in found.labels("isoglot_bundle_info") for name in labels}
    # No series can be removed here; what is not loaded any more says 0.
    assert found.total("isoglot_calibrator_info") == 0
    assert found.total("isoglot_bundle_info") == 1


def test_a_process_that_ends_takes_its_queue_along(tmp_path, tiny_bundle_dir):
    shared = tmp_path / "shared"
    shared.mkdir()

    found = count(shared, tiny_bundle_dir, "close")

    assert found.total("isoglot_encoder_queue_tokens") == 0
    assert found.value("isoglot_passages_ingested_total") == 2
