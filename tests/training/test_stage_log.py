import json
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]  # it ships no types
    EventAccumulator,
)

from training.errors import RunError
from training.stage_log import StageLog

pytestmark = pytest.mark.training


def steps(path: Path) -> Any:
    return [json.loads(line)["step"] for line in path.read_text().splitlines()]


def test_a_line_is_a_step_and_its_numbers(tmp_path):
    with StageLog(tmp_path / "log.jsonl") as log:
        log.write(5, {"loss": 0.5})
    assert (tmp_path / "log.jsonl").read_text() == '{"step": 5, "loss": 0.5}\n'


def test_what_was_logged_after_the_step_that_is_resumed_is_dropped(tmp_path):
    path = tmp_path / "log.jsonl"
    with StageLog(path) as log:
        for step in (2, 4, 6):
            log.write(step, {"loss": 1.0})
    StageLog(path, resumed=4)
    assert steps(path) == [2, 4]
    StageLog(path)
    assert steps(path) == []


def test_a_line_that_was_cut_off_is_dropped(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"step": 2, "loss": 1.0}\n{"step": 3, "lo')
    StageLog(path, resumed=9)
    assert steps(path) == [2]


def test_a_process_that_does_not_write_leaves_the_log_alone(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text("kept")
    with StageLog(path, writes=False, tensorboard=tmp_path / "board") as log:
        log.write(1, {"loss": 1.0})
    assert path.read_text() == "kept"
    assert not (tmp_path / "board").exists()


def test_tensorboard_gets_the_same_numbers(tmp_path):
    with StageLog(tmp_path / "log.jsonl", tensorboard=tmp_path / "board") as log:
        log.write(2, {"loss": 0.5, "dev/mono/map": 0.25})
        log.write(4, {"loss": 0.125})
    board = EventAccumulator(str(tmp_path / "board")).Reload()
    assert [(e.step, e.value) for e in board.Scalars("loss")] == [(2, 0.5), (4, 0.125)]
    assert [(e.step, e.value) for e in board.Scalars("dev/mono/map")] == [(2, 0.25)]


def test_tensorboard_forgets_what_is_done_again(tmp_path):
    board = tmp_path / "board"
    with StageLog(tmp_path / "log.jsonl", tensorboard=board) as log:
        for step in (2, 4, 6):
            log.write(step, {"loss": float(step)})
    with StageLog(tmp_path / "log.jsonl", resumed=4, tensorboard=board) as log:
        log.write(6, {"loss": 60.0})
    seen = EventAccumulator(str(board)).Reload().Scalars("loss")
    assert [(e.step, e.value) for e in seen] == [(2, 2.0), (4, 4.0), (6, 60.0)]


def test_a_log_that_cannot_be_written_is_told_with_its_file(tmp_path):
    path = tmp_path / "log.jsonl"
    log = StageLog(path)
    path.unlink()
    path.symlink_to("/dev/full")
    with pytest.raises(RunError, match=r"log\.jsonl.*No space left on device.*--resume"):
        log.write(1, {"loss": 1.0})
