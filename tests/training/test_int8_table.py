import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import arrays
from hypothesis.strategies import floats
from safetensors.numpy import save_file

from training.errors import RunError
from training.int8_table import quantize_rows, read_table, write_table

pytestmark = pytest.mark.training

TABLES = arrays(np.float32, (4, 3), elements=floats(-100, 100, width=32))


@given(TABLES)
def test_quantised_rows_are_within_half_a_step_of_the_table(table):
    rows, scales = quantize_rows(table)
    assert np.abs(rows.astype(np.int32)).max() <= 127
    error = np.abs(rows * scales[:, None] - table)
    assert bool((error <= scales[:, None] * 0.5001).all())


@pytest.mark.parametrize("size", [0.0, 1e-45, 1e-37])
def test_a_row_of_nothing_is_zero(size):
    rows, scales = quantize_rows(np.full((2, 3), size, np.float32))
    assert rows.tolist() == [[0, 0, 0], [0, 0, 0]]
    assert np.isfinite(scales).all()


def test_a_written_table_is_read_back_within_half_a_step(tmp_path):
    table = np.random.default_rng(0).normal(size=(50, 16)).astype(np.float32)
    write_table(tmp_path / "table", table)
    step = np.abs(table).max(axis=1, keepdims=True) / 127
    assert bool((np.abs(read_table(tmp_path / "table") - table) <= step * 0.5001).all())
    assert (tmp_path / "table").stat().st_size < 50 * (16 + 4) + 300


@pytest.mark.parametrize("content", ["nothing", "garbage", "float"])
def test_what_is_no_int8_table_is_refused_by_name(tmp_path, content):
    path = tmp_path / "model.safetensors"
    if content == "garbage":
        path.write_bytes(b"\x00" * 40)
    if content == "float":
        save_file({"embedding.weight": np.ones((2, 2), np.float32)}, str(path))
    with pytest.raises(RunError, match=r"model\.safetensors holds no int8 token table"):
        read_table(path)
