import os
import signal
import threading
from typing import Any

import pytest
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import ConcatDataset

from training.config import HybridStage
from training.trainer import Interruption, last_checkpoint, rate, rows_of_one_dataset

pytestmark = pytest.mark.training

SCHEDULES = st.sampled_from(["linear", "cosine", "constant"])


def stage(**settings: Any) -> Any:
    return HybridStage(name="hybrid", **({"steps": 100} | settings))


@given(SCHEDULES, st.integers(1, 300), st.floats(0, 1), st.floats(0, 1))
def test_the_learning_rate_rises_then_falls_and_stays_in_its_range(kind, steps, warmup, final):
    how = stage(steps=steps, schedule=kind, warmup_share=warmup, final_share=final)
    rates = [rate(step, how) for step in range(steps)]
    peak = rates.index(max(rates))
    assert all(0.0 <= r <= 1.0 for r in rates)
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)


@pytest.mark.parametrize("kind", ["linear", "cosine"])
def test_the_final_share_is_what_is_left_at_the_end(kind):
    how = stage(schedule=kind, final_share=0.1, warmup_share=0.0)
    assert rate(0, how) == pytest.approx(1.0)
    assert rate(50, how) == pytest.approx(0.55)
    assert rate(100, how) == pytest.approx(0.1)


def test_the_first_signal_asks_and_the_second_one_stops():
    interruption = Interruption()
    with interruption.listening():
        signal.raise_signal(signal.SIGINT)
        assert interruption.requested
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_a_request_to_terminate_is_heard_too():
    interruption = Interruption()
    with interruption.listening():
        os.kill(os.getpid(), signal.SIGTERM)
        assert interruption.requested


def test_outside_the_main_thread_nothing_is_listened_to():
    found = []

    def work() -> Any:
        with Interruption().listening():
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [signal.default_int_handler]


def test_the_rows_of_a_batch_are_those_of_its_positions():
    first = Dataset.from_dict({"row": [0, 1, 2]})
    second = Dataset.from_dict({"row": [3, 4, 5, 6]})
    both: ConcatDataset[object] = ConcatDataset([first, second])
    for positions in ([2, 0], [3], [6, 4, 3]):
        rows: list[Any] = rows_of_one_dataset(both, positions)
        assert [row["row"] for row in rows] == positions


def test_the_last_complete_checkpoint_is_found(tmp_path):
    assert last_checkpoint(tmp_path) is None
    for step, complete in ((9, True), (10, True), (11, False)):
        checkpoint = tmp_path / f"checkpoint-{step}"
        checkpoint.mkdir()
        if complete:
            (checkpoint / "trainer_state.json").touch()
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-10"
