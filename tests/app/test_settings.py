import os
from pathlib import Path

import pytest

from app.environment import InvalidSettingsError, load_settings
from app.settings import Settings, secret_settings, starter_bundle


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    for name in [name for name in os.environ if name.startswith("ISOGLOT_")]:
        monkeypatch.delenv(name)


def test_the_defaults_serve_the_starter_bundle_to_this_machine_only():
    settings = load_settings()

    assert settings.bundle == starter_bundle()
    assert settings.host == "127.0.0.1"
    assert settings.collection_dir == Path("data/passages")


def test_variables_with_the_prefix_are_read(monkeypatch):
    monkeypatch.setenv("ISOGLOT_PORT", "9000")
    monkeypatch.setenv("ISOGLOT_BUNDLE", "/srv/bundle")

    settings = load_settings()

    assert settings.port == 9000
    assert settings.bundle == Path("/srv/bundle")


def test_an_override_wins_over_the_environment_and_none_does_not(monkeypatch):
    monkeypatch.setenv("ISOGLOT_PORT", "9000")
    monkeypatch.setenv("ISOGLOT_COLLECTION", "faq")

    settings = load_settings(port=9001, collection=None)

    assert settings.port == 9001
    assert settings.collection == "faq"


def test_a_misspelt_variable_is_an_error_that_names_the_nearest(monkeypatch):
    monkeypatch.setenv("ISOGLOT_DATADIR", "/srv")

    with pytest.raises(InvalidSettingsError, match=r"ISOGLOT_DATADIR .* ISOGLOT_DATA_DIR"):
        load_settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "65536"),
        ("PORT", "eighty"),
        ("ENCODER_THREADS", "0"),
        ("MAX_BODY_BYTES", "10"),
        ("MAX_BATCH", "0"),
        ("COLLECTION", "../escape"),
        ("COLLECTION", ""),
        ("LOG_LEVEL", "loud"),
        ("LOG_FORMAT", "xml"),
    ],
)
def test_a_value_out_of_bounds_is_an_error_that_names_the_variable(monkeypatch, name, value):
    monkeypatch.setenv(f"ISOGLOT_{name}", value)

    with pytest.raises(InvalidSettingsError, match=f"ISOGLOT_{name}") as caught:
        load_settings()
    assert repr(value) in str(caught.value)


def test_every_wrong_value_is_reported_at_once(monkeypatch):
    monkeypatch.setenv("ISOGLOT_PORT", "-1")
    monkeypatch.setenv("ISOGLOT_LOG_LEVEL", "loud")

    with pytest.raises(InvalidSettingsError) as caught:
        load_settings()
    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_described(name):
    assert Settings.model_fields[name].description


def test_the_starter_bundle_of_the_working_directory_comes_first(tmp_path, monkeypatch):
    (tmp_path / "bundles" / "starter").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)

    assert starter_bundle().resolve() == tmp_path / "bundles" / "starter"


def test_filterable_fields_are_declared_as_name_and_kind(monkeypatch):
    assert load_settings().filter_fields == {}
    monkeypatch.setenv("ISOGLOT_FILTER_FIELDS", "product:keyword, price : float,")

    assert load_settings().filter_fields == {"product": "keyword", "price": "float"}


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("product", "declared as ''"),
        ("product:text", "keyword, integer, float, bool, datetime"),
        ("language:keyword", "always a field"),
        ("year:integer,year:float", "declared twice"),
    ],
)
def test_a_field_that_cannot_be_declared_is_an_error_that_says_why(monkeypatch, value, reason):
    monkeypatch.setenv("ISOGLOT_FILTER_FIELDS", value)

    with pytest.raises(InvalidSettingsError, match=reason):
        load_settings()


def test_without_settings_there_are_no_keys_and_no_other_origins():
    settings = load_settings()

    assert settings.key_file is None
    assert not settings.insecure
    assert settings.cors_origins == ()
    assert settings.rate_limit is None


def test_origins_are_separated_by_commas(monkeypatch):
    monkeypatch.setenv("ISOGLOT_CORS_ORIGINS", "https://shop.example, http://localhost:3000,")

    assert load_settings().cors_origins == ("https://shop.example", "http://localhost:3000")


@pytest.mark.parametrize(
    "origin", ["*", "shop.example", "https://shop.example/", "https://shop.example/a", "ftp://a.b"]
)
def test_what_is_no_origin_is_refused(monkeypatch, origin):
    monkeypatch.setenv("ISOGLOT_CORS_ORIGINS", f"https://fine.example,{origin}")

    with pytest.raises(InvalidSettingsError, match=r"ISOGLOT_CORS_ORIGINS: '.*' is no origin"):
        load_settings()


def test_the_key_of_the_commands_is_not_shown_by_the_settings(monkeypatch):
    monkeypatch.setenv("ISOGLOT_API_KEY", "iso_secret")

    assert "iso_secret" not in repr(load_settings())


def test_a_secret_is_read_from_the_file_that_is_named(monkeypatch, tmp_path):
    (tmp_path / "key").write_text("iso_secret\n")
    monkeypatch.setenv("ISOGLOT_API_KEY_FILE", str(tmp_path / "key"))

    key = load_settings().api_key

    assert key is not None
    assert key.get_secret_value() == "iso_secret"


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "No such file"), (b"\n", "is empty"), (b"\xff", "not UTF-8")],
)
def test_a_file_without_a_secret_is_an_error_that_names_it(monkeypatch, tmp_path, content, reason):
    path = tmp_path / "key"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setenv("ISOGLOT_API_KEY_FILE", str(path))

    with pytest.raises(InvalidSettingsError, match=f"ISOGLOT_API_KEY_FILE: .*key.*{reason}"):
        load_settings()


def test_a_secret_is_given_once(monkeypatch, tmp_path):
    monkeypatch.setenv("ISOGLOT_API_KEY", "iso_secret")
    monkeypatch.setenv("ISOGLOT_API_KEY_FILE", str(tmp_path))

    with pytest.raises(InvalidSettingsError, match="keep one of them") as caught:
        load_settings()
    assert "iso_secret" not in str(caught.value)


def test_misspelt_names_unreadable_secrets_and_wrong_values_are_reported_together(monkeypatch):
    monkeypatch.setenv("ISOGLOT_PROT", "80")
    monkeypatch.setenv("ISOGLOT_API_KEY_FILE", "/nowhere/key")
    monkeypatch.setenv("ISOGLOT_PORT", "eighty")

    with pytest.raises(InvalidSettingsError) as caught:
        load_settings()
    named = [line.split()[0].rstrip(":") for line in str(caught.value).splitlines()]
    assert named == ["ISOGLOT_PROT", "ISOGLOT_API_KEY_FILE", "ISOGLOT_PORT"]


def test_only_secrets_can_be_read_from_files(monkeypatch):
    monkeypatch.setenv("ISOGLOT_PORT_FILE", "/run/port")

    assert "port" not in secret_settings()
    with pytest.raises(InvalidSettingsError, match="ISOGLOT_PORT_FILE is not a setting"):
        load_settings()


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("QDRANT_URL", "qdrant:6333", "write scheme, host and port"),
        ("QDRANT_URL", "http://me:secret@qdrant:6333", "leave the key out of the address"),
        ("QDRANT_WRITE_CONSISTENCY", "2", "keeps only 1 copies"),
        ("QDRANT_TIMEOUT", "0", "greater than 0"),
    ],
)
def test_a_qdrant_server_that_cannot_be_used_as_stated_is_an_error(
    monkeypatch, name, value, reason
):
    monkeypatch.setenv(f"ISOGLOT_{name}", value)

    with pytest.raises(InvalidSettingsError, match=reason):
        load_settings()


def test_a_qdrant_server_with_its_key_in_a_file(monkeypatch, tmp_path):
    (tmp_path / "key").write_text("topsecret\n")
    monkeypatch.setenv("ISOGLOT_QDRANT_URL", "https://qdrant.example:6333")
    monkeypatch.setenv("ISOGLOT_QDRANT_API_KEY_FILE", str(tmp_path / "key"))
    monkeypatch.setenv("ISOGLOT_QDRANT_REPLICAS", "3")
    monkeypatch.setenv("ISOGLOT_QDRANT_WRITE_CONSISTENCY", "2")

    settings = load_settings()

    assert settings.qdrant_api_key is not None
    assert settings.qdrant_api_key.get_secret_value() == "topsecret"
    assert "topsecret" not in repr(settings)


def test_variables_of_the_tests_are_no_settings(monkeypatch):
    monkeypatch.setenv("ISOGLOT_TEST_QDRANT_URL", "http://127.0.0.1:6333")

    assert load_settings().qdrant_url is None
