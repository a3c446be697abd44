"""What docker-compose.yml starts is shut in, limited, watched, and has no known password."""

from __future__ import annotations

import re
import stat
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from app.adapters.key_file import KeyFile, read_keys
from app.cli.serve import GRACE_SECONDS
from app.settings import PREFIX, Settings, secret_settings
from tests.deploy import compose, dockerfile
from tests.deploy.dockerfile import ROOT

SERVICES = compose.services(compose.CLUSTER)
LASTING = [(name, service) for name, service in SERVICES if name != "demo"]
IDS = [name for name, _ in SERVICES]
LASTING_IDS = [name for name, _ in LASTING]
MAKE_SECRETS = ROOT / "deploy/compose/make-secrets.sh"

every_service = pytest.mark.parametrize(("name", "service"), SERVICES, ids=IDS)
every_lasting_service = pytest.mark.parametrize(("name", "service"), LASTING, ids=LASTING_IDS)


def seconds(text: str) -> int:
    found = re.fullmatch(r"(\d+)s", text)
    assert found, text
    return int(found[1])


@every_service
def test_a_service_can_do_nothing_it_has_no_need_to(name, service):
    user, group = service["user"].split(":")
    assert int(user) > 0
    assert int(group) > 0
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "pid", "ipc", "devices", "network_mode"} & set(service)
    assert not any("docker.sock" in str(volume) for volume in service.get("volumes", []))


def test_runbooks_are_where_alerts_say():
    prometheus = dict(SERVICES)["prometheus"]
    assert "--web.user-assets=/runbooks" in prometheus["command"]
    assert "./docs/runbooks:/runbooks:ro" in prometheus["volumes"]
    published = prometheus["ports"][0].rsplit(":", 1)[0]
    assert f"--web.external-url=http://{published}" in prometheus["command"]


@every_service
def test_a_service_is_limited_and_its_log_does_not_grow_for_ever(name, service):
    assert service["pids_limit"] <= 1024
    assert service["mem_limit"]
    assert float(service["cpus"]) > 0
    assert service["logging"]["options"] == {"max-size": "10m", "max-file": "5"}


@every_lasting_service
def test_a_service_comes_back_is_watched_and_has_time_to_end(name, service):
    assert service["restart"] == "unless-stopped"
    assert service["init"] is True
    assert service["healthcheck"]["test"][0] == "CMD"
    assert seconds(service["healthcheck"]["start_period"]) > 0
    assert seconds(service["stop_grace_period"]) >= 15


@pytest.mark.parametrize("name", ["api", "api-gpu"])
def test_the_service_is_given_more_time_than_it_takes_to_drain(name):
    service = dict(SERVICES)[name]
    assert seconds(service["stop_grace_period"]) >= 2 * GRACE_SECONDS


@every_service
def test_ports_are_open_to_this_machine_only(name, service):
    for port in service.get("ports", []):
        assert port.startswith("127.0.0.1:"), port
    if name.startswith("qdrant"):
        assert "ports" not in service
        assert service["networks"] == ["store"]


def test_the_networks_of_the_store_and_of_the_watchers_have_no_way_out():
    networks = compose.read()["networks"]
    assert networks["store"] == networks["watch"] == {"internal": True}


@every_service
def test_images_of_others_are_pinned_by_tag_and_can_be_by_digest(name, service):
    text = compose.BASE.read_text(encoding="utf-8")
    image = service["image"]
    assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+\.\d+[\w.-]*", image), image
    if not image.startswith("isoglot:"):
        found = re.search(re.escape(image) + r"\$\{(\w+_DIGEST):-\}", text)
        assert found, f"{image} takes no digest"
        assert f"{found[1]}=" in (ROOT / ".env.example").read_text(encoding="utf-8")
        assert found[1] in (ROOT / "deploy/compose/pin-digests.sh").read_text(encoding="utf-8")


def test_every_variable_of_the_compose_file_is_in_the_example():
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    used = set(re.findall(r"\$\{(\w+)", compose.BASE.read_text(encoding="utf-8")))
    assert used == set(re.findall(r"^#?(\w+)=", example, flags=re.MULTILINE))


@every_service
def test_what_is_secret_comes_from_a_file_and_nothing_has_a_working_default(name, service):
    allowed = re.compile(r"_FILE$|^GF_SECURITY_(ADMIN_USER|COOKIE_SAMESITE)$")
    for variable, value in service.get("environment", {}).items():
        if re.search(r"KEY|SECRET|TOKEN|PASSWORD|SECURITY", variable):
            assert allowed.search(variable), variable
        if variable.endswith("_FILE") and "INIT_FILE" not in variable:
            assert value.startswith("/run/secrets/")


@every_service
def test_a_service_gets_only_secrets_that_exist(name, service):
    known = compose.read()["secrets"]
    for secret in service.get("secrets", []):
        source = secret if isinstance(secret, str) else secret["source"]
        assert known[source] == {"file": f"./secrets/{source}"}


@every_service
def test_settings_of_the_service_are_settings_that_it_has(name, service):
    known = {f"{PREFIX}{field.upper()}" for field in Settings.model_fields}
    known |= {f"{PREFIX}{field.upper()}_FILE" for field in secret_settings()}
    ours = {name for name in service.get("environment", {}) if name.startswith(PREFIX)}
    assert ours <= known


def test_the_service_keeps_passages_on_the_server_and_proves_who_it_is():
    environment = dict(compose.services())["api"]["environment"]
    assert environment["ISOGLOT_QDRANT_URL"] == "http://qdrant:6333"
    assert environment["ISOGLOT_QDRANT_API_KEY_FILE"] == "/run/secrets/qdrant_api_key"


@every_service
def test_data_lies_in_volumes_with_names_and_what_is_mounted_from_here_is_read_only(name, service):
    named = compose.read(compose.CLUSTER)["volumes"]
    for volume in service.get("volumes", []):
        source, _, *mode = volume.split(":")
        if source.startswith("."):
            assert mode == ["ro"], volume
            assert (ROOT / source).is_dir(), volume
        else:
            assert source in named


def test_the_healthcheck_and_the_user_are_those_of_the_image():
    stages = dockerfile.read()
    service = dict(SERVICES)["api"]
    assert service["healthcheck"]["test"] == [
        "CMD",
        *dockerfile.command(stages, "cpu", "HEALTHCHECK"),
    ]
    assert stages["runtime"].all("USER") == [service["user"]]


def test_three_nodes_make_a_cluster():
    nodes = {name: service for name, service in SERVICES if name.startswith("qdrant")}
    assert set(nodes) == {"qdrant", "qdrant-2", "qdrant-3"}
    for name, node in nodes.items():
        assert node["environment"]["QDRANT__CLUSTER__ENABLED"] == "true"
        assert f"http://{name}:6335" in node["command"]
    storage = [node["volumes"] for node in nodes.values()]
    assert len({str(volumes) for volumes in storage}) == 3


@pytest.fixture
def secrets(tmp_path) -> Path:
    directory: Path = tmp_path / "secrets"
    subprocess.run([MAKE_SECRETS, directory], check=True, capture_output=True)
    return directory


def test_every_secret_is_made_and_only_the_directory_keeps_others_out(secrets):
    made = {path.name for path in secrets.iterdir()}
    assert made == set(compose.read()["secrets"])
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700
    assert all(path.read_text().strip() for path in secrets.iterdir())


def test_the_key_file_accepts_the_keys_that_were_made_with_it(secrets):
    ring = KeyFile(secrets / "isoglot_keys").ring()
    now = datetime.now(UTC)
    operator = ring.identify((secrets / "isoglot_operator_key").read_text(), now=now)
    metrics = ring.identify((secrets / "isoglot_metrics_key").read_text(), now=now)
    assert set(operator.scopes) == {"search", "ingest", "feedback", "admin"}
    assert metrics.scopes == ("metrics",)


def test_qdrant_is_given_the_keys_that_its_clients_show(secrets):
    service = yaml.safe_load((secrets / "qdrant_config").read_text())["service"]
    assert service["api_key"] == (secrets / "qdrant_api_key").read_text()
    assert service["read_only_api_key"] == (secrets / "qdrant_read_only_key").read_text()


def test_making_secrets_again_changes_nothing_but_what_was_deleted(secrets):
    before = {path.name: path.read_text() for path in secrets.iterdir()}
    (secrets / "grafana_admin_password").unlink()
    subprocess.run([MAKE_SECRETS, secrets], check=True, capture_output=True)
    after = {path.name: path.read_text() for path in secrets.iterdir()}
    assert {name for name in after if after[name] != before[name]} == {"grafana_admin_password"}


def test_keys_that_do_not_belong_to_each_other_are_not_left_unnoticed(secrets):
    (secrets / "isoglot_operator_key").unlink()
    found = subprocess.run([MAKE_SECRETS, secrets], capture_output=True, text=True, check=False)
    assert found.returncode == 1
    assert "delete one of the two" in found.stderr
    assert len(read_keys(secrets / "isoglot_keys").keys) == 2
