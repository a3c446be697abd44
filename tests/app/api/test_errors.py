import pytest

from app.api.problem_kinds import API_KINDS, CORE_KINDS, KINDS, code_of
from app.core.errors import EncoderMismatchError, IsoglotError, StoreError
from app.telemetry.labels import ERROR_STATUSES
from tests.app.api.problems import problem_of


def family(cls: type[IsoglotError]) -> list[type[IsoglotError]]:
    return [cls, *(member for child in cls.__subclasses__() for member in family(child))]


@pytest.mark.parametrize(
    "cls", [c for c in family(IsoglotError) if c.__module__ == "app.core.errors"]
)
def test_every_error_of_the_core_has_a_row_in_the_table(cls):
    assert cls in CORE_KINDS


def test_codes_are_unique_across_the_tables():
    codes = [cls.code for cls in CORE_KINDS]

    assert len(set(codes)) == len(codes)
    assert set(codes) & set(API_KINDS) <= {"internal_error"}


def test_every_status_of_a_problem_is_counted_by_itself():
    assert {str(kind.status) for kind in KINDS.values()} <= set(ERROR_STATUSES)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_every_kind_of_problem_has_an_error_status_and_words(kind):
    assert 400 <= kind.status <= 599
    assert kind.title
    assert kind.explanation.endswith(".")


def test_an_error_without_a_row_is_treated_as_its_parent():
    class DiskFullError(StoreError):
        code = "disk_full"

    assert code_of(DiskFullError("full")) == "store_error"


async def test_every_problem_type_leads_to_an_explanation(client):
    for code, kind in KINDS.items():
        body = (await client.get(f"/problems/{code}")).json()
        assert body["explanation"] == kind.explanation
        assert body["status"] == kind.status


async def test_an_unknown_problem_has_no_explanation(client):
    problem_of(await client.get("/problems/nonsense"), 404, "not_found")


@pytest.mark.parametrize("path", ["/nowhere", "/v1", "/docs", "/search/"])
async def test_an_unknown_path_is_not_found(client, path):
    problem_of(await client.get(path), 404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/search", "POST"),
        ("PUT", "/v1/passages/a", "GET, DELETE"),
        ("DELETE", "/", "GET"),
        ("POST", "/health/live", "GET"),
        ("BREW", "/metrics", "GET"),
    ],
)
async def test_a_wrong_method_is_answered_with_those_that_are_allowed(
    client, method, path, allowed
):
    response = await client.request(method, path)

    problem_of(response, 405, "method_not_allowed")
    assert response.headers["allow"] == allowed


@pytest.mark.parametrize("path", ["/v1/search", "/search", "/v1/passages"])
@pytest.mark.parametrize("media_type", ["text/plain", "application/xml", "multipart/form-data", ""])
async def test_a_body_of_another_media_type_is_refused(client, path, media_type):
    response = await client.post(path, content=b"{}", headers={"Content-Type": media_type})

    problem_of(response, 415, "unsupported_media_type")
    assert "application/json" in response.headers["accept-post"]


async def test_a_media_type_may_have_parameters(stocked):
    response = await stocked.post(
        "/v1/search",
        content=b'{"query": "the hole"}',
        headers={"Content-Type": "Application/JSON; charset=utf-8"},
    )

    assert response.status_code == 200


async def test_an_unknown_error_says_nothing_of_its_cause(client, store, monkeypatch):
    async def break_down(queries):
        raise RuntimeError("secret path /srv/x")

    monkeypatch.setattr(store, "search", break_down)

    response = await client.post("/v1/search", json={"query": "the hole"})

    problem_of(response, 500, "internal_error")
    assert "secret" not in response.text
    assert "RuntimeError" not in response.text


async def test_a_failing_store_is_a_server_error_with_its_code(client, store, monkeypatch):
    async def fail(queries):
        raise StoreError("The disk is full.")

    monkeypatch.setattr(store, "search", fail)

    response = await client.post("/v1/search", json={"query": "the hole"})

    assert problem_of(response, 500, "store_error")["detail"] == "The disk is full."


async def test_a_closed_store_asks_to_try_again_later(client, store):
    await store.close()

    response = await client.post("/v1/search", json={"query": "the hole"})

    problem_of(response, 503, "store_unavailable")
    assert int(response.headers["retry-after"]) > 0


async def test_a_collection_of_another_encoder_is_a_conflict_that_names_both(
    client, store, monkeypatch
):
    async def mismatch(queries):
        raise EncoderMismatchError(collection="c", indexed_with="aaaa", loaded="bbbb")

    monkeypatch.setattr(store, "search", mismatch)

    response = await client.post("/v1/search", json={"query": "the hole"})

    detail = problem_of(response, 409, "encoder_mismatch")["detail"]
    assert "aaaa" in detail
    assert "bbbb" in detail
