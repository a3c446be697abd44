import os
import signal
from pathlib import Path

import pytest

from training.errors import RunInterruptedError
from training.study.pool import run_tasks

pytestmark = pytest.mark.training


class Opened:
    """What a process keeps; counts its tasks."""

    def __init__(self) -> None:
        self.done = 0

    def note(self, task: Path) -> None:
        self.done += 1
        ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        gpu = os.environ.get("CUDA_VISIBLE_DEVICES", "none")
        task.write_text(f"{os.getpid()} {self.done} {ignored} {gpu}")

    def fail_on_second(self, task: Path) -> None:
        if task.name == "1":
            raise RunInterruptedError("stopped")
        self.note(task)


def tasks(root: Path, n: int) -> list[Path]:
    return [root / str(number) for number in range(n)]


def test_one_job_does_everything_in_this_process(tmp_path):
    done = list(run_tasks(Opened, Opened.note, tasks(tmp_path, 3), jobs=1))
    assert done == tasks(tmp_path, 3)
    notes = [path.read_text().split() for path in done]
    assert {note[0] for note in notes} == {str(os.getpid())}
    assert [note[1] for note in notes] == ["1", "2", "3"]


def test_several_jobs_do_every_task_once_and_leave_ctrl_c_to_the_parent(tmp_path):
    done = list(run_tasks(Opened, Opened.note, tasks(tmp_path, 4), jobs=2, gpus=2))
    assert sorted(done) == tasks(tmp_path, 4)
    notes = [path.read_text().split() for path in done]
    assert str(os.getpid()) not in {note[0] for note in notes}
    assert {note[2] for note in notes} == {"True"}
    assert {note[3] for note in notes} <= {"0", "1"}


def test_after_a_failure_nothing_new_is_begun(tmp_path):
    with pytest.raises(RunInterruptedError, match="stopped"):
        list(run_tasks(Opened, Opened.fail_on_second, tasks(tmp_path, 3), jobs=1))
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["0"]


def test_a_failure_in_another_process_reaches_the_caller(tmp_path):
    with pytest.raises(RunInterruptedError, match="stopped"):
        list(run_tasks(Opened, Opened.fail_on_second, tasks(tmp_path, 2), jobs=2))


def test_no_tasks_open_nothing():
    def refuse() -> None:
        raise AssertionError

    assert list(run_tasks(refuse, lambda _state, _task: None, [], jobs=1)) == []
