import pytest

from tests.app.api.conftest import PASSAGES
from tests.app.api.problems import pointers, problem_of


def counts(**given: int) -> dict[str, int]:
    return {
        "stored": sum(given.values()),
        "created": 0,
        "updated": 0,
        "unchanged": 0,
        **given,
    }


async def test_a_stored_passage_comes_back_as_it_was_sent(client):
    response = await client.post("/v1/passages", json={"passages": PASSAGES})

    assert response.json() == counts(created=3)
    found = (await client.get("/v1/passages/puncture.de")).json()
    assert found == {**PASSAGES[0], "document_id": None, "span": None}


async def test_a_bare_list_is_taken_as_well(client):
    assert (await client.post("/v1/passages", json=PASSAGES)).json() == counts(created=3)


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

    assert (await client.post("/v1/passages", json=twice)).json() == {
        **counts(created=1, updated=1),
        "stored": 1,
    }
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
    assert (await client.post("/v1/passages", json=[])).json() == counts()


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


async def test_an_upload_says_what_was_new_what_changed_and_what_was_there_already(stocked):
    changed = {**PASSAGES[0], "metadata": {"page": 4}}
    new = {"id": "new", "text": "the text"}

    response = await stocked.post("/v1/passages", json=[changed, PASSAGES[1], new])

    assert response.json() == counts(created=1, updated=1, unchanged=1)


async def test_what_a_list_returns_can_be_stored_again_unchanged(stocked):
    part = {"id": "book#1", "text": "the text", "document_id": "book", "span": [0, 8]}
    await stocked.post("/v1/passages", json=[part])
    listed = (await stocked.get("/v1/passages")).json()["passages"]
    assert len(listed) == 4
    sent = [*PASSAGES[:2], part]
    again = [p for p in listed if p["id"] in {s["id"] for s in sent}]

    assert (await stocked.post("/v1/passages", json=again)).json() == counts(unchanged=3)


async def test_a_tag_tells_whether_a_passage_has_changed(stocked):
    path = "/v1/passages/bread.en"
    tag = (await stocked.get(path)).headers["etag"]

    same = await stocked.get(path, headers={"If-None-Match": f'"other", W/{tag}'})
    assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", tag)

    await stocked.post("/v1/passages", json=[{**PASSAGES[2], "metadata": {"page": 1}}])
    changed = await stocked.get(path, headers={"If-None-Match": tag})
    assert changed.status_code == 200
    assert changed.headers["etag"] != tag


async def test_a_field_of_the_wrong_kind_is_refused_where_it_was_sent(serve):
    async with serve(filter_fields={"year": "integer"}) as client:
        passages = [
            {"id": "a", "text": "the text", "metadata": {"year": 2020}},
            {"id": "b", "text": "the text", "metadata": {"year": "2020"}},
        ]
        response = await client.post("/v1/passages", json={"passages": passages})

    body = problem_of(response, 422, "invalid_passage")
    assert pointers(body) == ["/passages/1/metadata/year"]
    assert "declared as an integer" in body["detail"]


@pytest.mark.parametrize(
    ("split", "more", "pointer"),
    [
        ({}, {}, "/0/split"),
        ({"max_characters": 200, "max_tokens": 200}, {}, "/0/split"),
        ({"max_characters": 99}, {}, "/0/split/max_characters"),
        ({"max_tokens": 15}, {}, "/0/split/max_tokens"),
        ({"max_characters": 200, "overlap": 101}, {}, "/0/split/overlap"),
        ({"max_characters": 200, "overlap": -1}, {}, "/0/split/overlap"),
        ({"max_characters": 200}, {"document_id": "x"}, "/0/split"),
    ],
)
async def test_a_text_that_cannot_be_split_as_asked_is_refused(client, split, more, pointer):
    sent = {"id": "a", "text": "the text", "split": split, **more}

    response = await client.post("/v1/passages", json=[sent])

    assert pointers(problem_of(response, 422, "invalid_passage")) == [pointer]
