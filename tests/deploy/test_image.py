"""The image without Docker: its own steps in an empty environment, then its own command.

`make test-image` brings what the steps install into a folder of wheels first; the test itself asks
no package index for anything.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.request import Request, urlopen

import pytest

from tests.deploy import compose, dockerfile
from tests.deploy.dockerfile import ROOT

WHEELS = ROOT / ".wheelhouse"
TARGET_MEGABYTES = 600

pytestmark = pytest.mark.image


class Image:
    """What the build stages made, under a directory instead of the root."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.stages = dockerfile.read()

    def inside(self, text: str) -> str:
        """Return a text in which the places of the image are those of this one."""
        return re.sub(r"(?<![\w.])/(opt|src|data)\b", rf"{self.root}/\1", text)

    def build(self, target: str) -> None:
        base = self.root / "usr" / "bin"
        base.mkdir(parents=True)
        (base / "python").symlink_to(Path(sys.base_prefix) / "bin" / "python3")
        variables = {
            **dockerfile.environment(self.stages, target),
            "PATH": f"{base}:/usr/bin:/bin",
            "HOME": str(self.root),
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(WHEELS),
        }
        for stage in dockerfile.lineage(self.stages, target):
            for found in stage.instructions:
                if found.word == "COPY":
                    self._copy(found.rest)
                elif found.word == "RUN":
                    subprocess.run(
                        ["/bin/sh", "-ec", self.inside(found.rest)],
                        cwd=self.root / "src",
                        env=variables,
                        check=True,
                    )

    def _copy(self, rest: str) -> None:
        *sources, target = rest.split()
        for source in sources:
            place = self.root / "src" / target
            if target.endswith("/"):
                place = place / Path(source).name
            place.parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / source).is_dir():
                ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
                shutil.copytree(ROOT / source, place, ignore=ignored)
            else:
                shutil.copy(ROOT / source, place)

    def environment(self, **more: str) -> dict[str, str]:
        """Return what a process finds in a container, with no way out to any other machine."""
        found = dockerfile.environment(self.stages, "cpu")
        found["PATH"] = found["PATH"].replace("$PATH", "/usr/bin:/bin")
        nowhere = {"HTTP_PROXY": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9"}
        return {
            **{name: self.inside(value) for name, value in found.items()},
            **nowhere,
            "NO_PROXY": "127.0.0.1",
            **more,
        }

    def files(self) -> set[Path]:
        return {path for path in (self.root / "opt").rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def image(tmp_path_factory) -> Image:
    if not any(WHEELS.glob("*.whl")):
        pytest.skip("there is no .wheelhouse; `make test-image` makes it")
    built = Image(tmp_path_factory.mktemp("image"))
    (built.root / "src").mkdir()
    (built.root / "data").mkdir()
    built.build("build-cpu")
    return built


@pytest.fixture(scope="module")
def secrets(tmp_path_factory) -> Path:
    directory: Path = tmp_path_factory.mktemp("secrets") / "secrets"
    subprocess.run([ROOT / "deploy/compose/make-secrets.sh", directory], check=True)
    return directory


@contextmanager
def started(
    image: Image, secrets: Path, **more: str
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run the command of the image; yields the process and the port that it listens on."""
    variables = image.environment(
        ISOGLOT_HOST="127.0.0.1",
        ISOGLOT_PORT="0",
        ISOGLOT_KEY_FILE=str(secrets / "isoglot_keys"),
        **more,
    )
    with subprocess.Popen(
        dockerfile.command(image.stages, "cpu"),
        executable=image.root / "opt/isoglot/bin/isoglot",
        env=variables,
        cwd=image.root / "data",
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stderr is not None
            for line in process.stderr:
                if found := re.match(r"Isoglot is ready: http://\S+:(\d+)", line):
                    yield process, found[1]
                    break
            else:
                pytest.fail("the service ended before it was ready")
        finally:
            process.kill()


def search(port: str, key: str) -> dict[str, Any]:
    body = json.dumps({"query": "Wie repariere ich einen platten Fahrradreifen?"}).encode()
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    with urlopen(Request(f"http://127.0.0.1:{port}/search", body, headers)) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def run(image: Image, words: list[str], **more: str) -> subprocess.CompletedProcess[str]:
    program = image.root / "opt/isoglot/bin" / words[0]
    return subprocess.run(
        [program, *words[1:]],
        env=image.environment(**more),
        cwd=image.root / "data",
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_image_carries_neither_torch_nor_pip_and_leaves_room_for_its_base(image):
    installed = {path.name for path in (image.root / "opt/isoglot").glob("lib/*/site-packages/*")}
    assert not {"torch", "pip", "setuptools", "scipy", "sklearn"} & installed
    megabytes = sum(path.stat().st_size for path in image.files()) / 1e6
    assert megabytes < TARGET_MEGABYTES


def test_the_service_starts_indexes_the_demo_searches_and_stops(image, secrets):
    before = image.files()
    demo = compose.read()["services"]["demo"]
    key = (secrets / "isoglot_operator_key").read_text()
    with started(image, secrets) as (process, port):
        health = [
            word.replace(":8000", f":{port}")
            for word in dockerfile.command(image.stages, "cpu", "HEALTHCHECK")
        ]
        assert run(image, health).returncode == 0

        url = f"http://127.0.0.1:{port}"
        words = [image.inside(word).replace("http://api:8000", url) for word in demo["command"]]
        indexed = run(image, words, ISOGLOT_API_KEY_FILE=str(secrets / "isoglot_operator_key"))
        assert indexed.returncode == 0, indexed.stderr

        first = search(port, key)["hits"][0]
        assert first["parallel_id"].startswith("bicycle")
        assert 0 < first["probability"] < 1

        process.terminate()
        assert process.wait(timeout=30) == 0
    assert run(image, health).returncode != 0
    written = {path for path in image.files() - before if path.suffix != ".pyc"}
    assert not written, "the service writes outside of /data, where nothing can be written"


class Collector(BaseHTTPRequestHandler):
    """Takes what is exported, and keeps the bodies."""

    bodies: ClassVar[list[bytes]] = []

    def do_POST(self) -> None:
        self.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_traces_reach_the_collector_that_is_named(image, secrets):
    with ThreadingHTTPServer(("127.0.0.1", 0), Collector) as collector:
        threading.Thread(target=collector.serve_forever).start()
        endpoint = f"http://127.0.0.1:{collector.server_port}"
        named = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            "OTEL_EXPORTER_OTLP_COMPRESSION": "none",
        }
        with started(image, secrets, **named) as (process, port):
            search(port, (secrets / "isoglot_operator_key").read_text())
            process.terminate()
            assert process.wait(timeout=30) == 0
        collector.shutdown()
    exported = b"".join(Collector.bodies)
    for stage in (b"language", b"encode", b"search", b"calibrate", b"page"):
        assert stage in exported


def test_without_keys_the_image_refuses_to_listen_to_other_machines(image):
    refused = run(image, dockerfile.command(image.stages, "cpu"))

    assert refused.returncode == 3
    assert "ISOGLOT_KEY_FILE" in refused.stderr
