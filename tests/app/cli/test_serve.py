from __future__ import annotations

import asyncio
import gc
import json
import signal
import socket
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import urlopen

import httpx
import pytest
import uvloop

from app.cli.serve import (
    ACCEPTED_A_TURN,
    address,
    handles,
    is_loopback,
    listen,
    refuse_exposure,
    settle_heap,
)
from app.settings import Settings
from tests.app.cli.conftest import TIDES, WHEEL
from tests.bundles import write_tiny_bundle


def test_a_service_can_be_filled_searched_and_stopped_without_loss(isoglot, lines, service):
    url, process = service
    result = isoglot("index", lines(TIDES, "{broken", WHEEL), "--url", url)
    assert result.exit_code == 1
    assert "passages.jsonl:2: " in result.stderr
    assert f"2 passages stored at {url}" in result.stderr

    remote = json.loads(isoglot("search", "the sea", "--json", "--url", url).stdout)
    assert isoglot("search", "the sea", "--url", url).exit_code == 0
    assert isoglot("search", " ", "--url", url).exit_code == 2
    assert httpx.get(f"{url}/health/ready").status_code == 200

    locked = isoglot("search", "the sea")
    assert locked.exit_code == 3
    assert "--url" in locked.stderr

    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 0
    local = json.loads(isoglot("search", "the sea", "--json").stdout)
    assert all(hit.pop("feedback_token") for hit in remote["hits"])
    assert not any(hit.pop("feedback_token") for hit in local["hits"])
    assert local["hits"] == remote["hits"]
    assert {hit["id"] for hit in local["hits"]} == {"tides.en", "wheel.en"}


@pytest.mark.usefixtures("isoglot")
def test_the_longest_filter_that_an_address_may_hold_is_read(service):
    address_of_list = f"{service[0]}/v1/passages?filter={quote('🌊' * 16384)}"

    with pytest.raises(HTTPError) as refused:
        urlopen(address_of_list)

    with refused.value as answer:
        problem = json.load(answer)
    assert (answer.code, problem["code"]) == (400, "malformed_filter")


def test_a_busy_port_exits_with_3_and_says_what_to_do(isoglot):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = isoglot("serve", "--port", port)
    assert result.exit_code == 3
    assert f"Port {port} on 127.0.0.1 is in use" in result.stderr
    assert "--port" in result.stderr


def test_an_address_of_another_machine_exits_with_3(isoglot, monkeypatch):
    monkeypatch.setenv("ISOGLOT_INSECURE", "true")
    result = isoglot("serve", "--host", "192.0.2.1", "--port", "0")
    assert result.exit_code == 3
    assert "Cannot listen on 192.0.2.1" in result.stderr


def test_a_damaged_bundle_exits_with_3_and_a_message_without_traceback(isoglot, tmp_path):
    damaged = write_tiny_bundle(tmp_path / "damaged")
    (damaged / "calibrator.json").unlink()
    result = isoglot("serve", "--port", "0", "--bundle", damaged)
    assert result.exit_code == 3
    assert "missing: calibrator.json" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(("host", "shown"), [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1")])
def test_the_shown_address_can_be_opened_on_this_machine(host, shown):
    with listen(host, 0) as listener:
        assert address(listener) == f"http://{shown}:{listener.getsockname()[1]}"


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.0.2.1", False),
        ("localhost.example", False),
    ],
)
def test_only_addresses_of_this_machine_count_as_loopback(host, loopback):
    assert is_loopback(host) == loopback


def test_without_keys_other_machines_are_not_answered(isoglot):
    result = isoglot("serve", "--host", "0.0.0.0", "--port", "0")

    assert result.exit_code == 3
    assert "ISOGLOT_KEY_FILE" in result.stderr
    assert "isoglot keys create" in result.stderr


@pytest.mark.parametrize("allowed", [{"key_file": "keys.json"}, {"insecure": True}])
def test_keys_or_a_word_of_the_operator_open_the_service_to_other_machines(allowed):
    refuse_exposure(Settings.model_validate({"host": "0.0.0.0", **allowed}))


def test_a_broken_key_file_keeps_the_service_from_starting(isoglot, tmp_path, monkeypatch):
    (tmp_path / "keys.json").write_text("{broken")
    monkeypatch.setenv("ISOGLOT_KEY_FILE", str(tmp_path / "keys.json"))

    result = isoglot("serve", "--port", "0")

    assert result.exit_code == 3
    assert "keys.json cannot be used" in result.stderr


def test_an_answer_on_a_kept_connection_does_not_wait_for_an_acknowledgement():
    with (
        listen("127.0.0.1", 0) as listener,
        socket.create_connection(listener.getsockname()[:2]),
    ):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_clients_that_connect_at_once_are_accepted_at_once():
    async def turns_until_accepted(listener: socket.socket) -> int:
        loop = asyncio.get_running_loop()
        accepted: list[asyncio.Protocol] = []

        class Accepted(asyncio.Protocol):
            def connection_made(self, _transport: asyncio.BaseTransport) -> None:
                accepted.append(self)

        clients = [socket.create_connection(listener.getsockname()) for _ in range(CLIENTS)]
        servers = [await loop.create_server(Accepted, sock=each) for each in handles(listener)]
        turns = 0
        while len(accepted) < CLIENTS:
            await asyncio.sleep(0)
            turns += 1
        for client in clients:
            client.close()
        for server in servers:
            server.close()
        return turns

    with (
        listen("127.0.0.1", 0) as listener,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        assert runner.run(turns_until_accepted(listener)) < CLIENTS / 4


CLIENTS = 4 * ACCEPTED_A_TURN


def test_what_the_start_has_made_is_collected_once_and_then_left_alone():
    before = gc.get_freeze_count()
    kept: list[list[int]] = [[]]
    settle_heap()
    try:
        assert gc.get_freeze_count() > before
        assert not any(each is kept for each in gc.get_objects())
    finally:
        gc.unfreeze()
