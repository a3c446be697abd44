"""Refining a static encoder from parallel text: each law by itself, then the command's output."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from tokenizers import Tokenizer

from app.core.bundle import write_manifest
from tests.bundles import TINY_TOKENIZER, tiny_spec
from training.config_data import ParallelSource
from training.errors import DataError, RunError
from training.export import write_int8_graph
from training.int8_table import read_table, write_table
from training.model_card import model_card
from training.onnx_encoder import ONNX_FILES, ExportedEncoder, read_spec
from training.refine import (
    RefineOptions,
    refine,
    refined_table,
    text_vectors,
    whitened,
    with_norm_power,
    without_language_axes,
)

pytestmark = pytest.mark.training

DIM = 12
NOTHING = RefineOptions(norm_power=1.0, language_axes=0, whitening=0.0, pooling="mean")


@pytest.fixture
def table():
    return np.random.default_rng(5).normal(size=(60, DIM)).astype(np.float32)


@pytest.fixture
def tokens():
    """Three languages of twenty tokens each."""
    rng = np.random.default_rng(6)
    return {
        language: [rng.integers(20 * n, 20 * n + 20, 5).tolist() for _ in range(40)]
        for n, language in enumerate(("de", "en", "th"))
    }


def test_a_norm_power_changes_lengths_and_no_direction(table):
    table[7] = 0
    changed = with_norm_power(table, 0.5)
    norms = np.linalg.norm(table, axis=1)
    np.testing.assert_allclose(np.linalg.norm(changed, axis=1), np.sqrt(norms), rtol=1e-5)
    cosines = (changed * table).sum(axis=1)
    np.testing.assert_allclose(cosines, np.sqrt(norms) * norms, rtol=1e-5)
    assert not changed[7].any()


def test_without_their_axes_the_languages_have_one_mean_direction_along_them(table, tokens):
    # Along the axis that tells the languages apart most, all of them now stand at zero.
    means = np.stack([text_vectors(table, texts, "mean").mean(axis=0) for texts in tokens.values()])
    _, _, axes = np.linalg.svd(means - means.mean(axis=0), full_matrices=False)
    changed = without_language_axes(table, tokens, 2, "mean")
    np.testing.assert_allclose(changed @ axes[:2].T, 0, atol=1e-5)
    kept = table - changed
    np.testing.assert_allclose(kept @ axes[:2].T, table @ axes[:2].T, atol=1e-5)


def test_a_planted_language_direction_is_found_and_removed(table, tokens):
    planted = table.copy()
    direction = np.zeros(DIM, np.float32)
    direction[3] = 1
    for n, shift in enumerate((-4, 0, 4)):
        planted[20 * n : 20 * n + 20] += shift * direction
    changed = without_language_axes(planted, tokens, 1, "mean")
    assert np.abs(changed @ direction).mean() < 0.1 * np.abs(planted @ direction).mean()


def test_whitening_evens_out_the_variances_and_half_of_it_half_as_far(table, tokens):
    table = table * np.linspace(0.3, 3, DIM, dtype=np.float32)

    def spread(rows: NDArray[np.float32]) -> float:
        vectors = np.concatenate([text_vectors(rows, texts, "mean") for texts in tokens.values()])
        variances = np.linalg.eigvalsh(np.cov(vectors, rowvar=False))
        return float(np.log(variances[-1] / variances[0]))

    none, half, whole = (spread(whitened(table, tokens, power, "mean")) for power in (0, 0.5, 1))
    assert whole < 0.4 * none
    assert whole < half < none


def test_options_that_change_nothing_leave_the_table_as_it_is(table, tokens):
    np.testing.assert_array_equal(refined_table(table, tokens, NOTHING), table)


def test_a_text_without_a_token_is_the_zero_vector(table):
    assert text_vectors(table, [[], [3]], "mean").tolist()[0] == [0] * DIM


@pytest.mark.parametrize(("pooling", "times"), [("mean", 4.0), ("sublinear", 2.0)])
def test_repeated_tokens_count_as_often_as_the_pooling_says(table, pooling, times):
    expected = times * table[3] + table[5]
    (vector,) = text_vectors(table, [[3, 5, 3, 3, 3]], pooling)
    np.testing.assert_allclose(vector, expected / np.linalg.norm(expected), rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"norm_power": 0}, "--norm-power is 0"),
        ({"norm_power": float("nan")}, "--norm-power is nan"),
        ({"language_axes": -1}, "--language-axes is -1"),
        ({"whitening": 1.5}, "--whitening is 1.5"),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(options, named):
    with pytest.raises(RunError, match=named):
        replace(NOTHING, **options)


def test_as_many_axes_as_languages_are_refused(table, tokens):
    with pytest.raises(RunError, match="has 3 of the encoder's languages"):
        without_language_axes(table, tokens, 3, "mean")


@pytest.fixture
def export(tmp_path):
    """An export of a static encoder with int8 weights, never trained."""
    directory = tmp_path / "export"
    encoder = directory / "encoder"
    encoder.mkdir(parents=True)
    shutil.copyfile(TINY_TOKENIZER, encoder / "tokenizer.json")
    size = Tokenizer.from_file(str(TINY_TOKENIZER)).get_vocab_size()
    rows = np.random.default_rng(1).normal(size=(size, tiny_spec().dim)).astype(np.float32)
    write_table(encoder / "model.safetensors", rows)
    write_int8_graph(encoder)
    (directory / "encoder_spec.json").write_text(json.dumps(tiny_spec().to_json()))
    (directory / "provenance.json").write_text(json.dumps({"licences": ["CC0"]}))
    return directory


@pytest.fixture
def parallel(tmp_path):
    lines = [
        {"id": f"n{n}", "en": f"the river number {n} is long", "de": f"der Fluss {n} ist lang"}
        for n in range(30)
    ]
    (tmp_path / "parallel.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return ParallelSource(path="parallel.jsonl", licence="CC BY 4.0")


@pytest.mark.parametrize("pooling", ["mean", "sublinear"])
def test_a_refined_export_serves_what_its_table_says(export, parallel, tmp_path, pooling):
    options = RefineOptions(0.7, 1, 0.2, pooling)
    parity = refine(export, tmp_path, parallel, tmp_path / "out", options)
    assert parity["min_cosine"] > 0.999
    old, new = ExportedEncoder(export), ExportedEncoder(tmp_path / "out")
    text = ["the river is as long as the river"]
    table = read_table(tmp_path / "out" / "encoder" / "model.safetensors")
    ids = Tokenizer.from_file(str(TINY_TOKENIZER)).encode(text[0]).ids
    expected = text_vectors(table, [ids], pooling)
    np.testing.assert_allclose(new.encode_passages(text), expected, atol=1e-5)
    assert not np.allclose(old.encode_passages(text), new.encode_passages(text), atol=1e-3)
    assert read_spec(export).fingerprint() != read_spec(tmp_path / "out").fingerprint()


def test_a_refined_export_says_what_was_done_to_it(export, parallel, tmp_path):
    refine(export, tmp_path, parallel, tmp_path / "out", RefineOptions(0.8, 1, 0.15, "sublinear"))
    provenance = json.loads((tmp_path / "out" / "provenance.json").read_text())
    facts = provenance["refined"]
    assert (facts["parallel"], facts["licence"]) == ("parallel", "CC BY 4.0")
    assert len(facts["sha256"]) == 64
    card = model_card(
        "tiny",
        spec=tiny_spec(),
        provenance=provenance,
        calibration={"config": {"seed": 1, "set": []}, "calibrator": "abc"},
        results={"settings": {"arithmetic": "int8"}, "sets": {}},
        notes="",
    )
    assert "norms to the power of 0.8, 1 language axes removed, whitening 0.15" in card
    assert "on parallel (CC BY 4.0); a token that stands n times in a text counts sqrt(n)" in card


def test_a_bundle_is_refined_like_an_export(export, parallel, tmp_path):
    (export / "encoder_spec.json").unlink()
    (export / "provenance.json").unlink()
    write_manifest(
        export, name="b", encoder=tiny_spec(), onnx=ONNX_FILES, training={"teacher": "t"}
    )
    refine(export, tmp_path, parallel, tmp_path / "out", RefineOptions(0.8, 1, 0.15, "sublinear"))
    provenance = json.loads((tmp_path / "out" / "provenance.json").read_text())
    assert provenance["teacher"] == "t"
    assert provenance["refined"]["norm_power"] == 0.8


def test_text_in_other_languages_is_refused_and_nothing_is_written(export, tmp_path):
    (tmp_path / "other.jsonl").write_text('{"id": "1", "fi": "joki", "sv": "flod"}\n')
    source = ParallelSource(path="other.jsonl", licence="CC0")
    with pytest.raises(DataError, match=r"other\.jsonl: holds no row in two"):
        refine(export, tmp_path, source, tmp_path / "out", NOTHING)
    assert not (tmp_path / "out").exists()
