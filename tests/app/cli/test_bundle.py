from __future__ import annotations

import json

from app.core.bundle import load_bundle
from tests.bundles import ONNX_FILE, tiny_spec, write_tiny_bundle


def test_inspect_shows_encoder_calibrator_and_languages(isoglot, bundle):
    result = isoglot("bundle", "inspect", bundle)
    loaded = load_bundle(bundle)
    assert result.exit_code == 0
    assert loaded.calibrator is not None
    for fact in (loaded.manifest.id, loaded.spec.fingerprint(), loaded.calibrator.id, "de el en"):
        assert fact in result.stdout


def test_inspect_as_json_is_the_manifest(isoglot, bundle):
    result = isoglot("bundle", "inspect", bundle, "--json")
    assert json.loads(result.stdout) == json.loads((bundle / "manifest.json").read_text())


def test_a_whole_bundle_verifies(isoglot, bundle):
    result = isoglot("bundle", "verify", bundle)
    assert result.exit_code == 0
    assert "is whole" in result.stderr


def test_a_flipped_byte_is_found_and_its_file_named(isoglot, tmp_path):
    damaged = write_tiny_bundle(tmp_path / "damaged")
    content = bytearray((damaged / ONNX_FILE).read_bytes())
    content[-1] ^= 1
    (damaged / ONNX_FILE).write_bytes(content)
    result = isoglot("bundle", "verify", damaged)
    assert result.exit_code == 1
    assert f"changed: {ONNX_FILE}" in result.stderr
    assert isoglot("bundle", "inspect", damaged).exit_code == 3


def test_an_encoder_that_breaks_its_contract_does_not_verify(isoglot, tmp_path):
    wrong = write_tiny_bundle(tmp_path / "wrong", spec=tiny_spec(dim=384))
    result = isoglot("bundle", "verify", wrong)
    assert result.exit_code == 1
    assert "(1, 384)" in result.stderr


def test_a_directory_that_is_no_bundle_does_not_verify(isoglot, tmp_path):
    result = isoglot("bundle", "verify", tmp_path)
    assert result.exit_code == 1
    assert "is not a bundle" in result.stderr
