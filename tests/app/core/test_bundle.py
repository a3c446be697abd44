import json
from dataclasses import replace

import pytest

from app.core.bundle import (
    CALIBRATOR_FILE,
    HYBRID_CALIBRATOR_FILE,
    MANIFEST_FILE,
    REFERENCE_FILE,
    load_bundle,
    manifest_id,
    write_manifest,
)
from app.core.errors import (
    BundleError,
    BundleIntegrityError,
    CalibratorMismatchError,
    UnsupportedSchemaError,
)
from tests.bundles import ONNX_FILE, calibrator_content, copy_bundle, tiny_spec, write_tiny_bundle


@pytest.fixture
def directory(tmp_path):
    return write_tiny_bundle(tmp_path / "bundle")


def rewrite_manifest(directory, **changes) -> None:
    path = directory / MANIFEST_FILE
    raw = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({**raw, "id": manifest_id(raw)}))


def test_a_written_bundle_loads_with_everything_in_it(directory):
    bundle = load_bundle(directory)
    assert bundle.spec == tiny_spec()
    assert bundle.calibrator is not None
    assert bundle.reference == {}
    assert bundle.tokenizer_path.is_file()
    assert bundle.onnx_path() == directory / ONNX_FILE
    assert bundle.manifest.short_id == f"tiny@{bundle.manifest.id[:12]}"


def test_a_bundle_without_calibrator_has_none(tmp_path):
    assert load_bundle(write_tiny_bundle(tmp_path / "b", calibrated=False)).calibrator is None


def test_a_bundle_may_have_a_calibrator_of_hybrid_retrieval(tmp_path, directory):
    assert load_bundle(directory).hybrid is None
    hybrid = load_bundle(copy_bundle(directory, tmp_path / "hybrid", hybrid=True)).hybrid
    assert hybrid is not None
    assert hybrid.document.retrieval == "hybrid"


@pytest.mark.parametrize(
    ("source", "target"),
    [(CALIBRATOR_FILE, HYBRID_CALIBRATOR_FILE), (HYBRID_CALIBRATOR_FILE, CALIBRATOR_FILE)],
)
def test_a_calibrator_of_other_lists_is_refused(tmp_path, directory, source, target):
    bundle = copy_bundle(directory, tmp_path / "hybrid", hybrid=True)
    (bundle / target).write_bytes((bundle / source).read_bytes())
    manifest = load_bundle(directory).manifest
    with pytest.raises(CalibratorMismatchError, match=f"{target} holds the calibrator of"):
        write_manifest(
            bundle, name="tiny", encoder=manifest.encoder, onnx=manifest.onnx, training={}
        )


def test_equal_content_has_an_equal_id_and_other_content_another(tmp_path):
    first, second, third = (
        load_bundle(write_tiny_bundle(tmp_path / name, calibrated=name != "c")).manifest.id
        for name in "abc"
    )
    assert first == second != third


@pytest.mark.parametrize("name", [ONNX_FILE, "encoder/tokenizer.json", CALIBRATOR_FILE])
def test_one_flipped_bit_is_found_and_the_file_named(directory, name):
    content = bytearray((directory / name).read_bytes())
    content[len(content) // 2] ^= 1
    (directory / name).write_bytes(content)
    with pytest.raises(BundleIntegrityError, match=f"changed: {name}"):
        load_bundle(directory)


def test_missing_and_extra_files_are_named(directory):
    (directory / ONNX_FILE).rename(directory / "stray.onnx")
    with pytest.raises(BundleIntegrityError) as caught:
        load_bundle(directory)
    assert f"missing: {ONNX_FILE}" in str(caught.value)
    assert "extra: stray.onnx" in str(caught.value)


def test_a_symbolic_link_is_not_followed(directory, tmp_path):
    (tmp_path / "outside").write_text("secret")
    (directory / "link").symlink_to(tmp_path / "outside")
    with pytest.raises(BundleIntegrityError, match="symbolic link"):
        load_bundle(directory)


def test_a_manifest_that_was_changed_is_refused(directory):
    path = directory / MANIFEST_FILE
    path.write_text(path.read_text().replace('"tiny"', '"huge"'))
    with pytest.raises(BundleIntegrityError, match="does not match its content"):
        load_bundle(directory)


def test_another_schema_version_is_refused_with_both_versions(directory):
    rewrite_manifest(directory, schema_version=99)
    with pytest.raises(UnsupportedSchemaError, match=r"version 99.*reads version 1"):
        load_bundle(directory)


@pytest.mark.parametrize(
    "changes", [{"onnx": {}}, {"onnx": {"float16": "x"}}, {"name": ""}, {"surprise": 1}]
)
def test_a_malformed_manifest_is_refused(directory, changes):
    rewrite_manifest(directory, **changes)
    with pytest.raises(BundleError, match="malformed"):
        load_bundle(directory)


def test_a_directory_without_manifest_is_no_bundle(tmp_path):
    with pytest.raises(BundleError, match=r"has no manifest\.json"):
        load_bundle(tmp_path)


def test_a_name_that_no_file_can_have_is_no_bundle(tmp_path):
    with pytest.raises(BundleError, match="could not be read"):
        load_bundle(tmp_path / ("0" * 5000))


@pytest.mark.parametrize(("content", "message"), [(b"{", "read as JSON"), (b"[]", "JSON object")])
def test_a_manifest_that_is_no_json_object_is_refused(directory, content, message):
    (directory / MANIFEST_FILE).write_bytes(content)
    with pytest.raises(BundleError, match=message):
        load_bundle(directory)


def test_a_calibrator_of_another_encoder_is_refused_naming_both(tmp_path):
    other = replace(tiny_spec(), revision="f" * 64)
    with pytest.raises(CalibratorMismatchError) as caught:
        write_tiny_bundle(tmp_path / "b", calibrator=calibrator_content(other))
    assert other.fingerprint() in str(caught.value)
    assert tiny_spec().fingerprint() in str(caught.value)


def test_an_arithmetic_that_is_not_there_is_refused_naming_what_is(directory):
    with pytest.raises(BundleError, match="carries float32 arithmetic, not int8"):
        load_bundle(directory).onnx_path("int8")


def test_reference_distributions_are_read(directory):
    (directory / REFERENCE_FILE).write_text('{"corpus_sizes": [60]}')
    manifest = write_manifest(
        directory,
        name="tiny",
        encoder=tiny_spec(),
        onnx={"float32": ONNX_FILE},
        training={},
    )
    assert REFERENCE_FILE in manifest.files
    assert load_bundle(directory).reference == {"corpus_sizes": [60]}
