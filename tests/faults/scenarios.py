"""The faults, each on real processes: what is broken, for how long, and what mends it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.bundles import tiny_spec, write_tiny_bundle
from tests.faults.proxy import Mode, Proxy
from tests.faults.service import ROOT, FakeStore, Service
from tests.faults.traffic import Saw, Traffic

FAULT_SECONDS = 4.0
"""How long a fault lasts."""

CALM_SECONDS = 1.5
"""How long everything is well before and after."""

FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")


@dataclass(slots=True)
class Result:
    """How a fault went.

    Attributes:
        saw: What clients saw.
        recovery: Seconds from the end of the fault until searches succeeded.
        lost: Acknowledged passages that are not there.
        note: Anything else worth telling.
    """

    saw: Saw
    recovery: float
    lost: int
    note: str = ""


class Skipped(Exception):  # noqa: N818  not an error
    """A fault that cannot be made here; says why."""


Scenario = Callable[[Path], Result]


def until_searches_succeed(url: str, patience: float = 60.0) -> float:
    """Return the seconds until a search succeeds; raises where none does."""
    began = time.monotonic()
    while time.monotonic() - began < patience:
        try:
            answer = httpx.post(f"{url}/search", json={"query": "the water is warm"}, timeout=5)
            if answer.is_success and httpx.get(f"{url}/health/ready", timeout=5).is_success:
                return time.monotonic() - began
        except httpx.HTTPError:
            pass
        time.sleep(0.05)
    raise RuntimeError(f"No recovery in {patience} s.")


@contextmanager
def remote(root: Path) -> Iterator[tuple[Service, FakeStore, Proxy]]:
    """A service whose store is on the other side of a proxy; nothing is started yet."""
    store = FakeStore(root / "points", root / "store.log")
    with Proxy(store.port) as proxy:
        service = Service(
            bundle=write_tiny_bundle(root / "bundle"),
            data_dir=root / "data",
            log=root / "service.log",
            settings={"QDRANT_URL": f"http://127.0.0.1:{proxy.port}", "QDRANT_TIMEOUT": "2"},
        )
        with service, store:
            yield service, store, proxy


def store_down_at_start(root: Path) -> Result:
    """The service starts, and its store does not."""
    with remote(root) as (service, store, _):
        store.kill()
        while True:
            try:
                assert httpx.get(f"{service.url}/health/live", timeout=5).is_success
                break
            except httpx.TransportError:
                time.sleep(0.05)
        with Traffic(service.url) as traffic:
            time.sleep(FAULT_SECONDS)
            store.start()
            recovery = until_searches_succeed(service.url)
            time.sleep(CALM_SECONDS)
        return Result(traffic.saw, recovery, traffic.lost(), "live all along")


def store_dies(root: Path) -> Result:
    """The store is killed with SIGKILL under load, and started again."""
    with remote(root) as (service, store, _):
        store.wait_until_up()
        service.wait_until_ready()
        with Traffic(service.url) as traffic:
            time.sleep(CALM_SECONDS)
            store.kill()
            time.sleep(FAULT_SECONDS)
            not_ready = httpx.get(f"{service.url}/health/ready", timeout=10).status_code
            store.start()
            recovery = until_searches_succeed(service.url)
            time.sleep(CALM_SECONDS)
        return Result(traffic.saw, recovery, traffic.lost(), f"readiness {not_ready} meanwhile")


def store_hangs(root: Path) -> Result:
    """The store is stopped with SIGSTOP: connections stay, and nothing comes back."""
    with remote(root) as (service, store, _):
        store.wait_until_up()
        service.wait_until_ready()
        with Traffic(service.url) as traffic:
            time.sleep(CALM_SECONDS)
            store.pause()
            time.sleep(FAULT_SECONDS)
            store.go_on()
            recovery = until_searches_succeed(service.url)
            time.sleep(CALM_SECONDS)
        return Result(traffic.saw, recovery, traffic.lost())


def _proxied(mode: Mode) -> Scenario:
    def run(root: Path) -> Result:
        with remote(root) as (service, store, proxy):
            store.wait_until_up()
            service.wait_until_ready()
            with Traffic(service.url) as traffic:
                time.sleep(CALM_SECONDS)
                proxy.mode = mode
                time.sleep(FAULT_SECONDS)
                proxy.mode = "pass"
                recovery = until_searches_succeed(service.url)
                time.sleep(CALM_SECONDS)
            return Result(traffic.saw, recovery, traffic.lost())

    return run


@contextmanager
def embedded(
    root: Path,
    *,
    data: Path | None = None,
    environment: dict[str, str] | None = None,
    settings: dict[str, str] | None = None,
) -> Iterator[Service]:
    """A service on the embedded store, ready."""
    service = Service(
        bundle=write_tiny_bundle(root / "bundle"),
        data_dir=data or root / "data",
        log=root / "service.log",
        settings=settings,
    )
    service.add_environment(environment or {})
    with service:
        service.wait_until_ready()
        yield service


def service_killed(root: Path) -> Result:
    """The service is killed with SIGKILL under load, and started again."""
    with embedded(root) as service, Traffic(service.url, is_down_expected=True) as traffic:
        time.sleep(FAULT_SECONDS)
        service.kill()
        service.start()
        recovery = service.wait_until_ready()
        time.sleep(CALM_SECONDS)
        traffic.stop()
        return Result(traffic.saw, recovery, traffic.lost(), "recovery is the restart")


def service_terminated(root: Path) -> Result:
    """The service gets SIGTERM under load: what is under way is answered."""
    with embedded(root) as service, Traffic(service.url, is_down_expected=True) as traffic:
        time.sleep(FAULT_SECONDS)
        status = service.kill(signal.SIGTERM)
        service.start()
        recovery = service.wait_until_ready()
        time.sleep(CALM_SECONDS)
        traffic.stop()
        return Result(traffic.saw, recovery, traffic.lost(), f"exit status {status}")


def builder_killed(root: Path) -> Result:
    """``isoglot reindex`` is killed with SIGKILL in the middle; the same command goes on."""
    new = write_tiny_bundle(root / "new", spec=tiny_spec(query_prefix="query: "), name="new")
    with embedded(root) as service:
        passages = [{"id": f"p{n}", "text": f"the water is warm {n}"} for n in range(1000)]
        httpx.post(f"{service.url}/v1/passages", json=passages, timeout=60).raise_for_status()
        service.kill(signal.SIGTERM)
        command = [sys.executable, "-c", "from app.cli import main; main()", "reindex"]
        environment = {**service.environment, "ISOGLOT_BUNDLE": str(new)}
        killed = 0
        for seconds in (0.5, 1.0, 1.5, 2.0, 2.5, 3.0):
            with subprocess.Popen(
                command, cwd=ROOT, env=environment, stderr=subprocess.PIPE
            ) as run:
                time.sleep(seconds)
                run.kill()
                killed += run.wait() == -signal.SIGKILL
        subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
        service.start()
        recovery = service.wait_until_ready()
        count = httpx.post(f"{service.url}/v1/passages:count", json={}, timeout=30).json()["count"]
        model = httpx.get(f"{service.url}/v1/bundle", timeout=30).json()["name"]
        note = f"{killed} of 6 killed before they were done; then {model!r} serves"
        return Result(Saw(), recovery, len(passages) - count, note)


def damaged_bundle(root: Path) -> Result:
    """A bundle that was damaged on its way is loaded into the running service."""
    damaged = write_tiny_bundle(root / "damaged", name="damaged")
    (damaged / "encoder" / "model.onnx").write_bytes(b"\0" * 1000)
    with embedded(root) as service, Traffic(service.url) as traffic:
        time.sleep(CALM_SECONDS)
        codes = []
        for path in ("/v1/bundle:load", "/v1/reindex"):
            body = {"directory": str(damaged)}
            codes.append(httpx.post(f"{service.url}{path}", json=body, timeout=30).json()["code"])
        recovery = until_searches_succeed(service.url)
        time.sleep(CALM_SECONDS)
        traffic.stop()
        return Result(traffic.saw, recovery, traffic.lost(), f"the operator saw {set(codes)}")


def disk_full(root: Path) -> Result:
    """The disk of the embedded store fills up beyond its reserve, and is given room again."""
    disk = root / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256m", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        raise Skipped("needs root and the right to mount a file system of its own")
    try:
        room = {"DISK_RESERVE_MIB": "64"}
        with embedded(root, data=disk / "data", settings=room) as service:
            with Traffic(service.url, is_down_expected=True) as traffic:
                time.sleep(CALM_SECONDS)
                filler = disk / "filler"
                free = shutil.disk_usage(disk).free
                filler.write_bytes(b"\0" * max(0, free - (40 << 20)))
                big = [{"id": f"b{n}", "text": "the water " * 2000} for n in range(900)]
                try:
                    answer = httpx.post(f"{service.url}/v1/passages", json=big, timeout=60)
                    note = f"an upload was answered {answer.status_code}"
                except httpx.TransportError:
                    note = "an upload was not answered"
                time.sleep(FAULT_SECONDS)
                filler.unlink()
                assert service.process is not None
                if (status := service.process.poll()) is not None:
                    note += f"; THE SERVICE ENDED with {status}, and was started again"
                    service.start()
                recovery = until_searches_succeed(service.url)
                time.sleep(CALM_SECONDS)
            return Result(traffic.saw, recovery, traffic.lost(), note)
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False)


def clock_jump(root: Path) -> Result:
    """The clock of the service jumps ten hours ahead, and back."""
    if not FAKETIME.exists():
        raise Skipped("needs libfaketime (apt-get install faketime)")
    offset = root / "offset"
    offset.write_text("+0\n")
    environment = {
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    with embedded(root, environment=environment) as service:
        with Traffic(service.url) as traffic:
            time.sleep(CALM_SECONDS)
            for jump in ("+10h\n", "-10h\n", "+0\n"):
                offset.write_text(jump)
                time.sleep(FAULT_SECONDS / 2)
            recovery = until_searches_succeed(service.url)
        return Result(traffic.saw, recovery, traffic.lost())


SCENARIOS: dict[str, Scenario] = {
    "store down at start": store_down_at_start,
    "store killed under load": store_dies,
    "store stopped (SIGSTOP)": store_hangs,
    "store slow (3 s a block)": _proxied("delay"),
    "half-open connections": _proxied("swallow"),
    "connections cut": _proxied("cut"),
    "answers corrupted": _proxied("corrupt"),
    "service killed (SIGKILL)": service_killed,
    "service stopped (SIGTERM)": service_terminated,
    "builder killed (SIGKILL)": builder_killed,
    "disk full": disk_full,
    "clock jumps 10 h": clock_jump,
    "damaged bundle at reload": damaged_bundle,
}
