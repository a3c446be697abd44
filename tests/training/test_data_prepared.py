import shutil
from typing import Any

import numpy as np
import pytest

from training.data_prepared import (
    open_prepared,
    write_directory,
)
from training.errors import PreparedDataError

pytestmark = pytest.mark.training


def test_a_writer_that_fails_leaves_the_old_directory(tmp_path):
    target = tmp_path / "out"
    write_directory(target, lambda draft: (draft / "a").touch(), force=False)

    def fail(draft: Any) -> Any:
        (draft / "b").touch()
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_directory(target, fail, force=True)
    assert [p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*")] == ["out", "out/a"]


def test_a_directory_written_before_there_were_negatives_has_none(tmp_path, prepared):
    old = tmp_path / "old"
    shutil.copytree(prepared.path, old)
    with np.load(old / "pairs.npz") as archive:
        arrays = {name: archive[name] for name in archive.files if name != "negatives"}
    np.savez(old / "pairs.npz", **arrays)
    table = open_prepared(old).pairs()
    assert table.negatives.shape == (len(table), 0)


def test_a_directory_that_is_none_is_refused(tmp_path):
    with pytest.raises(PreparedDataError, match="isoglot-train prepare"):
        open_prepared(tmp_path)


def test_a_directory_of_another_format_is_refused(tmp_path):
    (tmp_path / "prepared.json").write_text('{"schema_version": 99}')
    with pytest.raises(PreparedDataError, match="format 99"):
        open_prepared(tmp_path)


def test_a_directory_with_a_configuration_of_another_version_is_refused(tmp_path):
    (tmp_path / "prepared.json").write_text('{"schema_version": 1, "config": {"nme": "x"}}')
    with pytest.raises(PreparedDataError, match="does not read"):
        open_prepared(tmp_path)


def test_held_out_texts_come_up_to_the_limit(prepared):
    assert len(prepared.held_out_texts(10)) == 10
    assert len(set(prepared.held_out_texts(10**6))) > 50
