"""A real PostgreSQL of one's own on loopback, where one is installed, that can be killed."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import children, is_running

_DEBIAN = Path("/usr/lib/postgresql")

PATIENCE = 120.0
"""Seconds that a server may take to start, or to end in order, on a busy machine."""


class PostgresServer:
    """One database, its files in a directory that ``initdb`` has made.

    Args:
        programs: Directory of ``initdb`` and ``postgres``.
        directory: Empty, and owned by who runs them.
        user: Who runs them; ``None`` for oneself. PostgreSQL refuses to be run by root.
    """

    def __init__(self, programs: Path, directory: Path, user: str | None) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port: int = free.getsockname()[1]
        self.url = f"postgresql://isoglot@127.0.0.1:{port}/postgres"
        self._programs = programs
        self._directory = directory
        self._user = user
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None

    def create(self) -> None:
        """Make the files of an empty database."""
        command: list[str | Path] = [self._programs / "initdb", "--auth=trust"]
        command += ["--username=isoglot", "--pgdata=data"]
        made = subprocess.run(
            command, cwd=self._directory, user=self._user, capture_output=True, check=False
        )
        assert made.returncode == 0, made.stderr.decode()

    def start(self) -> None:
        """Return once it answers; after a kill it has recovered by then."""
        command: list[str | Path] = [self._programs / "postgres", "-D", "data", "-h", "127.0.0.1"]
        command += ["-p", str(self._port), "-k", self._directory]
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self._directory,
                user=self._user,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        ask: list[str | Path] = [self._programs / "pg_isready", "--quiet", "--host=127.0.0.1"]
        ask += [f"--port={self._port}", "--dbname=postgres"]
        patience = time.monotonic() + PATIENCE
        while time.monotonic() < patience:
            if subprocess.run(ask, check=False).returncode == 0:
                return
            assert self._process.poll() is None, (self._directory / "log").read_text()
            time.sleep(0.1)
        raise AssertionError((self._directory / "log").read_text())

    def kill(self) -> None:
        """End the server and all who work for it at once, as a loss of power would.

        Each of them has a process group of its own. Who outlives the server for a moment keeps the
        next one from starting: its files are in use.
        """
        assert self._process is not None
        server = self._process.pid
        os.kill(server, signal.SIGSTOP)
        os.waitpid(server, os.WUNTRACED)  # from here on it starts nobody
        workers = children(server)
        for pid in (*workers, server):
            os.kill(pid, signal.SIGKILL)
        self._process.wait()
        while any(map(is_running, workers)):
            time.sleep(0.001)

    def stop(self) -> None:
        """End it in order."""
        assert self._process is not None
        self._process.send_signal(signal.SIGINT)
        self._process.wait(PATIENCE)


def postgres_server() -> Iterator[PostgresServer]:
    """Yield a server that runs; the test is skipped where none is installed."""
    pytest.importorskip("psycopg", reason="the client of PostgreSQL is not installed")
    programs = _programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed (Debian and Ubuntu: apt-get install postgresql)")
    user = _user()
    # Not below pytest's own directories, which only their owner may enter.
    with tempfile.TemporaryDirectory(prefix="isoglot-postgres-") as made:
        directory = Path(made)
        if user is not None:
            shutil.chown(directory, user)
        server = PostgresServer(programs, directory, user)
        server.create()
        server.start()
        yield server
        server.stop()


def _programs() -> Path | None:
    """Return where the newest PostgreSQL lies."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    debian = sorted(_DEBIAN.glob("*/bin/initdb"), key=lambda p: int(p.parts[-3]))
    return debian[-1].parent if debian else None


def _user() -> str | None:
    if os.getuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError:
        pytest.skip("PostgreSQL is not run by root, and there is no user postgres")
