import sys

import pytest
from pydantic import SecretStr

from app.adapters.feedback.key import KEY_FILE
from app.adapters.feedback.sql import LOG_FILE
from app.bootstrap import open_runtime, open_shelf
from app.core.bundle import load_bundle
from app.core.errors import (
    BundleIntegrityError,
    EncoderMismatchError,
    StoreError,
    StoreLockedError,
    StoreUnavailableError,
)
from app.core.feedback.entries import Judgement
from app.core.search.types import SearchRequest
from app.core.types import Passage
from app.settings import Settings
from app.telemetry.metrics import Metrics
from tests.app.core.feedback.statements import statement
from tests.bundles import tiny_spec, write_tiny_bundle
from tests.fake_qdrant import fake_qdrant, served


@pytest.fixture
def settings(tmp_path):
    directory = write_tiny_bundle(tmp_path / "bundle")
    return Settings(bundle=directory, data_dir=tmp_path / "data", encoder_threads=1)


async def test_a_runtime_stores_and_finds_passages(settings):
    async with open_runtime(settings) as runtime:
        await runtime.ingest.add([Passage("a", "the water is warm", "en")])
        result = await runtime.search.search(SearchRequest("the water is warm"))

    assert [hit.passage.id for hit in result.hits] == ["a"]
    assert result.hits[0].score == pytest.approx(1.0, abs=1e-3)


async def test_passages_are_there_again_after_a_restart(settings):
    async with open_runtime(settings) as runtime:
        await runtime.ingest.add([Passage("a", "the water is warm", "en")])

    async with open_runtime(settings) as runtime:
        assert (await runtime.ingest.get("a")).text == "the water is warm"


async def test_a_bundle_that_is_loaded_already_is_not_loaded_again(settings):
    bundle = load_bundle(settings.bundle)

    async with open_runtime(settings, bundle) as runtime:
        assert runtime.bundle is bundle


async def test_a_service_takes_feedback_and_a_command_leaves_nothing_behind(settings, tmp_path):
    async with open_runtime(settings) as runtime:
        assert runtime.feedback is None
    assert not (settings.data_dir / KEY_FILE).exists()

    async with open_runtime(settings, metrics=Metrics()) as runtime:
        assert runtime.feedback is not None
        token = runtime.feedback.token(statement(issued=runtime.feedback.now()))
    async with open_runtime(settings, metrics=Metrics()) as runtime:
        assert runtime.feedback is not None
        [receipt] = await runtime.feedback.take([Judgement(token, "explicit", True)])
        assert receipt.status == "accepted"
        theirs = runtime.for_tenant("acme").feedback
        assert theirs is not None
        assert theirs.tenant == "acme"
    assert (settings.data_dir / LOG_FILE).exists()


async def test_where_no_feedback_can_be_kept_searches_are_answered(settings):
    settings.data_dir.mkdir(exist_ok=True)
    (settings.data_dir / KEY_FILE).write_text("no key")

    async with open_runtime(settings, metrics=Metrics()) as runtime:
        assert runtime.feedback is None

    (settings.data_dir / KEY_FILE).unlink()
    (settings.data_dir / LOG_FILE).write_text("no database " * 100)
    async with open_runtime(settings, metrics=Metrics()) as runtime:
        assert runtime.feedback is not None


async def test_a_closed_runtime_has_let_go_of_its_store(settings):
    async with open_runtime(settings) as runtime:
        pass

    with pytest.raises(StoreUnavailableError):
        await runtime.store.count()


async def test_a_collection_of_another_encoder_is_refused_and_left_alone(settings, tmp_path):
    async with open_runtime(settings) as runtime:
        await runtime.ingest.add([Passage("a", "the water is warm", "en")])
    other_bundle = write_tiny_bundle(tmp_path / "other", spec=tiny_spec(query_prefix="query: "))
    other = settings.model_copy(update={"bundle": other_bundle})

    with pytest.raises(EncoderMismatchError):
        async with open_runtime(other):
            pass

    async with open_runtime(settings) as runtime:
        assert await runtime.store.count() == 1


async def test_a_collection_that_is_open_is_refused(settings):
    async with open_runtime(settings):
        with pytest.raises(StoreLockedError):
            async with open_runtime(settings):
                pass


async def test_a_damaged_bundle_is_refused(settings):
    (settings.bundle / "calibrator.json").write_text("{}")

    with pytest.raises(BundleIntegrityError, match=r"calibrator\.json"):
        async with open_runtime(settings):
            pass


async def test_passages_on_a_qdrant_server_are_there_for_every_service(settings):
    with served(fake_qdrant(api_key="key")) as url:
        remote = settings.model_copy(
            update={"qdrant_url": url, "qdrant_api_key": SecretStr("key"), "qdrant_timeout": 30.0}
        )
        async with open_runtime(remote) as runtime, open_runtime(remote) as replica:
            await runtime.ingest.add([Passage("a", "the water is warm", "en")])
            result = await replica.search.search(SearchRequest("the water is warm"))

    assert [hit.passage.id for hit in result.hits] == ["a"]
    assert not settings.data_dir.exists()


async def test_a_server_that_cannot_be_reached_is_unavailable(settings):
    remote = settings.model_copy(update={"qdrant_url": "http://127.0.0.1:9", "qdrant_timeout": 0.3})

    with pytest.raises(StoreUnavailableError, match="Qdrant cannot be reached"):
        async with open_runtime(remote):
            pass


def test_without_its_client_a_server_cannot_be_used(settings, monkeypatch):
    monkeypatch.setitem(sys.modules, "app.adapters.qdrant.shelf", None)

    with pytest.raises(StoreError, match=r"\.\[qdrant\]"):
        open_shelf(settings.model_copy(update={"qdrant_url": "http://127.0.0.1:9"}))
