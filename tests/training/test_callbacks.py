import os
import signal
import threading
from typing import Any

import pytest
from rich.progress import Progress
from transformers import TrainerControl, TrainerState

from training.callbacks import Interruption, ShowAndLog
from training.errors import RunError
from training.stage_log import StageLog

pytestmark = pytest.mark.training


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


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_ends_the_run(tmp_path, loss):
    callback = ShowAndLog(Progress(disable=True), "Stage 1", StageLog(tmp_path / "log.jsonl"))
    arguments: Any = None
    state = TrainerState(global_step=40)
    with pytest.raises(RunError, match=r"Stage 1: the loss is (nan|inf) at step 40.*learning_rate"):
        callback.on_log(arguments, state, TrainerControl(), logs={"loss": loss})
