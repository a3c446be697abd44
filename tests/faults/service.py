"""Real processes for fault and load runs: the service, and a stand-in for a Qdrant server."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

ROOT = Path(__file__).parents[2]
PATIENCE = 120.0
"""Seconds that a process may take to start on a busy machine."""


def free_port() -> int:
    """Return a port on which nobody listens now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


class Process:
    """A process that is ended with the block, whatever happens.

    Args:
        command: Arguments of the interpreter.
        log: Where its output goes.
        environment: Added to that of this process, from which ``ISOGLOT_`` variables are removed.
    """

    def __init__(self, command: list[str], log: Path, environment: dict[str, str]) -> None:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("ISOGLOT_")}
        self._command = [sys.executable, *command]
        self._log = log
        self.environment = {**inherited, "OMP_NUM_THREADS": "1", **environment}
        self.process: subprocess.Popen[bytes] | None = None

    def add_environment(self, environment: dict[str, str]) -> None:
        """Add variables for the next start."""
        self.environment.update(environment)

    def start(self) -> None:
        """Start it, again if need be."""
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                self._command,
                cwd=ROOT,
                env=self.environment,
                stdout=log,
                stderr=log,
            )

    def kill(self, number: int = signal.SIGKILL) -> int:
        """Send a signal and wait for the end; returns the exit status."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(timeout=PATIENCE)

    def pause(self) -> None:
        """Stop it where it is: its connections stay, and nothing answers on them."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it go on."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    @property
    def log(self) -> str:
        """What it has said so far."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class Service(Process):
    """``isoglot serve`` on a free port.

    Args:
        bundle: Directory of its bundle.
        data_dir: Directory of its passages.
        log: Where its output goes.
        settings: Further settings by variable name, without ``ISOGLOT_``.
    """

    def __init__(
        self,
        *,
        bundle: Path,
        data_dir: Path,
        log: Path,
        settings: dict[str, str] | None = None,
    ) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        given = {
            "BUNDLE": str(bundle),
            "DATA_DIR": str(data_dir),
            "PORT": str(self.port),
            "LOG_LEVEL": "warning",
            "ENCODER_THREADS": "1",
            **(settings or {}),
        }
        environment = {f"ISOGLOT_{name}": value for name, value in given.items()}
        run = "from app.cli import main; main()"
        super().__init__(["-c", run, "serve"], log, environment)

    def wait_until_ready(self, patience: float = PATIENCE) -> float:
        """Return the seconds until it was ready; raises where it was not in time."""
        began = time.monotonic()
        while time.monotonic() - began < patience:
            assert self.process is not None
            if self.process.poll() is not None:
                raise RuntimeError(f"The service ended:\n{self.log}")
            try:
                if httpx.get(f"{self.url}/health/ready", timeout=5).is_success:
                    return time.monotonic() - began
            except httpx.HTTPError:
                pass
            time.sleep(0.05)
        raise RuntimeError(f"The service was not ready in {patience} s:\n{self.log}")


class FakeStore(Process):
    """``tests.fake_qdrant`` on a free port, with its points on disk."""

    def __init__(self, path: Path, log: Path) -> None:
        self.port = free_port()
        arguments = ["-m", "tests.fake_qdrant", "--port", str(self.port), "--path", str(path)]
        super().__init__(arguments, log, {})

    def wait_until_up(self) -> None:
        """Return once it answers."""
        began = time.monotonic()
        while time.monotonic() - began < PATIENCE:
            try:
                httpx.get(f"http://127.0.0.1:{self.port}/", timeout=5)
            except httpx.HTTPError:
                time.sleep(0.05)
            else:
                return
        raise RuntimeError(f"The store did not start:\n{self.log}")
