"""A service in another process, and a browser that looks at its page."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from app.settings import starter_bundle
from tests.bundles import calibrator_content, copy_bundle, tiny_spec, write_tiny_bundle
from tests.calibrators import PIECES

ISOGLOT = [
    sys.executable,
    "-c",
    "import sys; sys.argv[0] = 'isoglot'; from app.cli import main; main()",
]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WAIT_MS = 60_000


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.browser)


def environment(data: Path, **settings: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ISOGLOT_")}
    ours = {"ISOGLOT_DATA_DIR": str(data), "ISOGLOT_ENCODER_THREADS": "1", "ISOGLOT_PORT": "0"}
    return {**kept, **ours, **settings}


@contextmanager
def running(command: str, env: dict[str, str]) -> Iterator[str]:
    """Run a command that serves; yields its address."""
    with subprocess.Popen(
        [*ISOGLOT, command], env=env, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        said = []
        try:
            for line in process.stderr:
                said.append(line)
                if found := re.match(r"Isoglot is ready: (\S+)", line):
                    # A pipe that nobody reads is full after some hundred requests, and then the
                    # service waits for it.
                    threading.Thread(target=process.stderr.read, daemon=True).start()
                    yield found[1]
                    break
            else:
                pytest.fail("the service ended before it was ready: " + "".join(said))
        finally:
            process.kill()


# The services ask for the browser, so that none is started where there is nothing to look with.
@pytest.fixture(scope="module")
def demo(browser, tmp_path_factory) -> Iterator[str]:
    """Address of a service that holds the demo corpus."""
    with running("demo", environment(tmp_path_factory.mktemp("demo"))) as url:
        yield url


@pytest.fixture(scope="module")
def demo_with_words(browser, tmp_path_factory) -> Iterator[str]:
    """Address of a service that holds the demo corpus with its words indexed.

    Its bundle has no calibrator of hybrid retrieval.
    """
    with demo_of_words(tmp_path_factory.mktemp("words"), hybrid=False) as url:
        yield url


@pytest.fixture(scope="module")
def demo_with_probable_words(browser, tmp_path_factory) -> Iterator[str]:
    """The same with a bundle that has one, made for tests."""
    with demo_of_words(tmp_path_factory.mktemp("words"), hybrid=True) as url:
        yield url


@contextmanager
def demo_of_words(directory: Path, *, hybrid: bool) -> Iterator[str]:
    bundle = copy_bundle(starter_bundle(), directory / "bundle", hybrid=hybrid)
    env = environment(directory / "data", ISOGLOT_HYBRID="true", ISOGLOT_BUNDLE=str(bundle))
    with running("demo", env) as url:
        yield url


@pytest.fixture
def pieced(browser, tmp_path) -> Iterator[str]:
    """Address of an empty service whose calibrator reads the score through pieces."""
    content = calibrator_content(tiny_spec(), score_pieces=PIECES)
    bundle = write_tiny_bundle(tmp_path / "bundle", calibrator=content)
    with running("serve", environment(tmp_path / "data", ISOGLOT_BUNDLE=str(bundle))) as url:
        yield url


@pytest.fixture
def guarded(browser, tmp_path) -> Iterator[tuple[str, str]]:
    """Address of an empty service that wants a key, and such a key."""
    bundle = write_tiny_bundle(tmp_path / "bundle")
    files = {"ISOGLOT_BUNDLE": str(bundle), "ISOGLOT_KEY_FILE": str(tmp_path / "keys.json")}
    env = environment(tmp_path / "data", **files)
    made = subprocess.run(
        [*ISOGLOT, "keys", "create", "--scope", "search", "--name", "page"],
        env=env,
        check=True,
        capture_output=True,
        text=True,
    )
    with running("serve", env) as url:
        yield url, made.stdout.strip()


# One browser a module, not one a session: as long as it is open, no asynchronous test can run.
@pytest.fixture(scope="module")
def browser():
    driver = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    with driver.sync_playwright() as playwright:
        installed = next(filter(None, map(shutil.which, BROWSERS)), None)
        path = installed or playwright.chromium.executable_path
        if not Path(path).exists():
            pytest.skip("Chromium is not installed")
        # Chromium's sandbox refuses to start for root, as in containers.
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        launched = playwright.chromium.launch(
            executable_path=path, args=["--disable-gpu", *arguments]
        )
        yield launched
        launched.close()


@pytest.fixture
def look_at(browser):
    """Opens a page; fails at the end if it wrote errors or asked another host."""
    contexts, said = [], []

    def open_page(url: str, *, expected: str | None = None, **options: object):
        context = browser.new_context(locale="de-DE", **options)
        context.set_default_timeout(WAIT_MS)
        contexts.append(context)
        page = context.new_page()

        def hear(text: str) -> None:
            if expected is None or expected not in text:
                said.append(text)

        def watch(address: str) -> None:
            if urlsplit(address).netloc != urlsplit(url).netloc:
                said.append(f"asked {address}")

        page.on("console", lambda message: hear(message.text))
        page.on("pageerror", lambda error: hear(str(error)))
        page.on("request", lambda request: watch(request.url))
        page.goto(url)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert said == []
