import pytest

from tests.app.api.conftest import PASSAGES
from tests.app.api.problems import pointers, problem_of


async def test_a_stored_passage_comes_back_as_it_was_sent(client):
    response = await client.post("/v1/passages", json={"passages": PASSAGES})

    assert response.json() == {"stored": 3}
    found = (await client.get("/v1/passages/puncture.de")).json()
    assert found == PASSAGES[0]


async def test_a_bare_list_is_taken_as_well(client):
    assert (await client.post("/v1/passages", json=PASSAGES)).json() == {"stored": 3}


async def test_a_passage_without_language_has_it_identified(client):
    await client.post("/v1/passages", json=[{"id": "a", "text": "der die das und ist nicht"}])

    assert (await client.get("/v1/passages/a")).json()["language"] == "de"


async def test_a_second_upload_replaces_the_passage(client):
    await client.post("/v1/passages", json=[{"id": "a", "text": "first"}])
    await client.post("/v1/passages", json=[{"id": "a", "text": "second"}])

    assert (await client.get("/v1/passages/a")).json()["text"] == "second"
    assert (await client.get("/health/ready")).json()["passages"] == 1


async def test_of_two_passages_with_one_id_the_later_is_kept(client):
    twice = [{"id": "a", "text": "first"}, {"id": "a", "text": "second"}]

    assert (await client.post("/v1/passages", json=twice)).json() == {"stored": 1}
    assert (await client.get("/v1/passages/a")).json()["text"] == "second"


async def test_a_deleted_passage_is_gone(stocked):
    assert (await stocked.delete("/v1/passages/bread.en")).status_code == 204

    problem_of(await stocked.get("/v1/passages/bread.en"), 404, "passage_not_found")
    problem_of(await stocked.delete("/v1/passages/bread.en"), 404, "passage_not_found")


@pytest.mark.parametrize("passage_id", ["a/b", "ü ber", "a?b=c", "100%", "https://x.org/1#2"])
async def test_any_id_can_be_looked_up_when_it_is_escaped(client, passage_id):
    from urllib.parse import quote

    await client.post("/v1/passages", json=[{"id": passage_id, "text": "the text"}])

    found = await client.get(f"/v1/passages/{quote(passage_id, safe='')}")

    assert found.json()["id"] == passage_id


async def test_one_bad_passage_stores_none_and_every_bad_one_is_pointed_to(client):
    passages = [
        {"id": "good", "text": "the text"},
        {"id": "empty", "text": "  "},
        {"id": "", "text": "the text"},
        {"id": "odd", "text": "the text", "language": "?"},
    ]

    response = await client.post("/v1/passages", json={"passages": passages})

    body = problem_of(response, 422, "invalid_passage")
    assert pointers(body) == ["/passages/1/text", "/passages/2/id", "/passages/3/language"]
    assert (await client.get("/health/ready")).json()["passages"] == 0


async def test_pointers_into_a_bare_list_begin_at_the_list(client):
    response = await client.post("/v1/passages", json=[{"id": "a", "text": ""}])
    wrong_shape = await client.post("/v1/passages", json=[{"id": "a"}])

    assert pointers(problem_of(response, 422, "invalid_passage")) == ["/0/text"]
    assert pointers(problem_of(wrong_shape, 422, "invalid_request")) == ["/0/text"]


async def test_an_unknown_member_is_refused_by_name(client):
    response = await client.post(
        "/v1/passages", json={"passages": [{"id": "a", "text": "x", "lang": "de"}]}
    )

    assert pointers(problem_of(response, 422, "invalid_request")) == ["/passages/0/lang"]


async def test_metadata_the_store_refuses_is_pointed_to_where_it_was_sent(client):
    passages = [
        {"id": "a", "text": "the text"},
        {"id": "a", "text": "the text again"},
        {"id": "b", "text": "the text", "metadata": {"n": 2**70}},
    ]

    response = await client.post("/v1/passages", json={"passages": passages})

    assert pointers(problem_of(response, 422, "invalid_passage")) == ["/passages/2/metadata"]


async def test_a_passage_the_encoder_cannot_read_stores_nothing(client):
    passages = [{"id": "a", "text": "the text"}, {"id": "b", "text": "!!!"}]

    problem_of(await client.post("/v1/passages", json=passages), 422, "unencodable_text")

    assert (await client.get("/health/ready")).json()["passages"] == 0


async def test_more_passages_than_allowed_are_refused(serve):
    async with serve(max_batch=2) as client:
        response = await client.post("/v1/passages", json=PASSAGES)

    assert "application/x-ndjson" in problem_of(response, 413, "batch_too_large")["detail"]


@pytest.mark.parametrize("body", [{"passages": {}}, {}, "text", 7, {"passages": [1]}])
async def test_a_body_without_a_list_of_passages_is_refused(client, body):
    problem_of(await client.post("/v1/passages", json=body), 422, "invalid_request")


async def test_an_empty_list_stores_nothing_and_is_no_error(client):
    assert (await client.post("/v1/passages", json=[])).json() == {"stored": 0}


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        (b'[{"id": "a"', "EOF"),
        (b"\xff\xfe", "expected value"),
        (b'[{"id": "a", "text": "\\ud800"}]', "hex escape"),
        (b'[{"id": "a", "text": "x", "metadata": {"n": NaN}}]', "NaN"),
        (b"[" * 10_000, "recursion"),
        (b"", "EOF"),
    ],
)
async def test_a_body_that_is_not_json_is_refused_with_the_place(client, content, hint):
    response = await client.post(
        "/v1/passages", content=content, headers={"Content-Type": "application/json"}
    )

    assert hint in problem_of(response, 400, "malformed_json")["detail"]
