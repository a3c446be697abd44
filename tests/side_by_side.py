"""Run commands at the same time; what they say stays apart, and one that fails fails the whole.

    python tests/side_by_side.py "service: make test-app" "offline half: make test-training"

What the first one says is shown as it says it, the next one's once the one before it has ended. All
run to their end. Needs nothing but Python: it runs before there is an environment.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time

LOOK_SECONDS = 0.2


class Lane:
    """A command under way.

    Args:
        name: What the output calls it.
        command: As a shell reads it, without a shell's operators.
        has_terminal: Whether it speaks for itself; what it says is kept where it does not.
    """

    def __init__(self, name: str, command: str, *, has_terminal: bool) -> None:
        self.name = name
        self.status: int | None = None
        self.outcome = ""
        self._said = None if has_terminal else tempfile.TemporaryFile()  # noqa: SIM115  it is as old as this
        self._shown = 0
        self._began = time.monotonic()
        self._process = subprocess.Popen(
            shlex.split(command),
            stdin=None if has_terminal else subprocess.DEVNULL,
            stdout=self._said,
            stderr=None if has_terminal else subprocess.STDOUT,
        )

    def look(self) -> None:
        """See whether it has ended; where it failed, say so at once."""
        if self.status is not None:
            return
        self.status = self._process.poll()
        if self.status is not None:
            minutes, seconds = divmod(round(time.monotonic() - self._began), 60)
            how = "passed" if self.status == 0 else f"failed ({self.status})"
            self.outcome = f"{self.name}: {how} after {minutes} min {seconds} s"
            if self.status:
                sys.stdout.write("\n")  # the other one may be in the middle of a line
                say(self.outcome)

    def show(self) -> None:
        """Show what it has said since the last time."""
        if self._said is None:
            return
        while said := os.pread(self._said.fileno(), 1 << 16, self._shown):
            self._shown += len(said)
            sys.stdout.buffer.write(said)
        sys.stdout.flush()

    def end(self) -> None:
        """Ask it to end, where it has not."""
        if self._process.poll() is None:
            self._process.terminate()

    def wait(self) -> None:
        """Return once it has ended."""
        self._process.wait()


def say(line: str) -> None:
    """Say something that no command has said."""
    sys.stdout.write(f"=== {line}\n")
    sys.stdout.flush()


def follow(shown: Lane, lanes: list[Lane]) -> None:
    """Show one of several until it has ended."""
    say(shown.name)
    while shown.status is None:
        time.sleep(LOOK_SECONDS)
        for lane in lanes:
            lane.look()
        shown.show()
    shown.show()


def run(commands: list[str]) -> int:
    """Run commands, each behind a name and a colon; returns 0 where none has failed."""
    lanes: list[Lane] = []

    def end(number: int, _frame: object) -> None:
        for lane in lanes:
            lane.end()
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, end)
    try:
        for command in commands:
            name, _, words = command.partition(":")
            lanes.append(Lane(name, words, has_terminal=not lanes))
        for lane in lanes:
            follow(lane, lanes)
    except KeyboardInterrupt:  # the commands have heard it, too
        return 128 + signal.SIGINT
    finally:
        for lane in lanes:
            lane.wait()
    for lane in lanes:
        say(lane.outcome)
    return int(any(lane.status for lane in lanes))


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
