"""``make test`` runs two halves at the same time."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import is_running

PROGRAM = Path(__file__).with_name("side_by_side.py")
MEET = """
import sys, time
from pathlib import Path
here, there, status = sys.argv[1:]
print(here, "begins", flush=True)
Path(here).touch()
while not Path(there).exists():
    time.sleep(0.01)
print(here, "ends", flush=True)
sys.exit(int(status))
"""


def python(program: str, *arguments: object) -> str:
    return f"\"{sys.executable}\" -c '{program}' " + " ".join(map(str, arguments))


def ran(directory: Path, *commands: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, PROGRAM, *commands],
        cwd=directory, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_commands_run_at_the_same_time_and_what_they_say_stays_apart(tmp_path):
    done = ran(
        tmp_path, "one: " + python(MEET, "a", "b", 0), "two: " + python(MEET, "b", "a", 0)
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    first, second = done.stdout.split("=== two\n")
    assert first.splitlines() == ["=== one", "a begins", "a ends"]
    assert second.splitlines()[:2] == ["b begins", "b ends"]
    assert [line.split(" after ")[0] for line in second.splitlines()[2:]] == [
        "=== one: passed", "=== two: passed",
    ]  # fmt: skip


@pytest.mark.parametrize("statuses", [(3, 0), (0, 3), (3, 3)])
def test_one_that_fails_fails_the_whole_once_all_have_ended(tmp_path, statuses):
    one, two = statuses
    done = ran(
        tmp_path, "one: " + python(MEET, "a", "b", one), "two: " + python(MEET, "b", "a", two)
    )  # fmt: skip

    assert done.returncode == 1
    assert "a ends" in done.stdout
    assert "b ends" in done.stdout
    assert ("=== two: failed (3)" in done.stdout) == (two == 3)
    assert ("=== one: failed (3)" in done.stdout) == (one == 3)


def test_what_ends_the_whole_ends_the_commands(tmp_path):
    wait = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
    command = [sys.executable, str(PROGRAM), "one: " + python(wait), "two: " + python(wait)]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(2)]
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 128 + signal.SIGTERM
    [pid] = [int(line) for line in lines if line.strip().isdigit()]
    assert not is_running(pid)
