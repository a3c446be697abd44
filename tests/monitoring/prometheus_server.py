"""A real Prometheus on loopback, with the shipped rules in compressed time."""

from __future__ import annotations

import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from deploy.prometheus.render import HERE, render, write

RUNBOOKS = HERE.parents[1] / "docs" / "runbooks"


class PrometheusServer:
    """Runs while it is a context manager.

    Args:
        program: Path of ``prometheus``.
        directory: Empty; for configuration and data.
        port: To listen on.
        target: ``host:port`` of the service to watch.
    """

    def __init__(self, program: str, directory: Path, *, port: int, target: str) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._log = directory / "prometheus.log"
        # Not a test of speed: machines on which tests run are busy.
        write(render("compressed", {"api_targets": target, "latency_seconds": "2.5"}), directory)
        self._command = [
            program,
            f"--config.file={directory / 'prometheus.yml'}",
            f"--storage.tsdb.path={directory / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            f"--web.external-url={self.url}",
            f"--web.user-assets={RUNBOOKS}",
        ]

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=subprocess.STDOUT)
        self._client = httpx.Client(base_url=self.url, timeout=30)
        for _ in range(600):
            try:
                if self._client.get("/-/ready").is_success:
                    return self
            except httpx.TransportError:
                if self._process.poll() is not None:
                    break
            time.sleep(0.1)
        raise RuntimeError(f"Prometheus did not start:\n{self._log.read_text()}")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._client.close()
        self._process.terminate()
        self._process.wait(60)

    def wait_for_scrape(self) -> None:
        """Return once the service was read for the first time."""
        for _ in range(300):
            if any(one["value"][1] == "1" for one in self.query('up{job="isoglot"}')):
                return
            time.sleep(0.2)
        raise RuntimeError("Prometheus could not read the metrics of the service in a minute.")

    def alerts(self) -> list[dict[str, Any]]:
        """Return the alerts that are pending or firing."""
        alerts: list[dict[str, Any]] = self._get("/api/v1/alerts")["alerts"]
        return alerts

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the samples of an instant query that are numbers."""
        found = self._get("/api/v1/query", query=expression)["result"]
        return [one for one in found if one["value"][1] != "NaN"]

    def label_values(self, label: str, series: str) -> list[str]:
        """Return what Grafana's ``label_values(series, label)`` returns."""
        values: list[str] = self._get(f"/api/v1/label/{label}/values", **{"match[]": series})
        return values

    def page(self, url: str) -> str:
        """Return what a browser gets at an address, such as that of a runbook."""
        return self._client.get(url).raise_for_status().text

    def unhealthy_rules(self) -> list[str]:
        """Return what is wrong with rules that could not be evaluated."""
        groups = self._get("/api/v1/rules")["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        assert rules
        return [f"{r['name']}: {r['lastError']}" for r in rules if r["health"] == "err"]

    def _get(self, path: str, **parameters: str) -> Any:
        answer = self._client.get(path, params=parameters)
        content = answer.json()
        if content["status"] != "success":
            raise RuntimeError(f"{path} {parameters}: {content['error']}")
        return content["data"]


def free_ports(count: int) -> list[int]:
    """Return ports of loopback on which nobody listens."""
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports: list[int] = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports
