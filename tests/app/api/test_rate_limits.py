"""Rate limits of keys: who waits, for how long, and what a batch costs."""

from __future__ import annotations

from tests.app.api.conftest import PASSAGES
from tests.app.api.keys import add_key, bearer
from tests.app.api.problems import problem_of


async def test_requests_beyond_the_limit_of_a_key_are_refused(serve, key_file):
    slow = add_key(key_file, "search", requests_per_minute=6, burst=2)
    free = add_key(key_file, "search")
    async with serve(key_file=key_file) as client:
        answers = [await client.get("/v1/bundle", headers=bearer(slow)) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        problem_of(answers[2], 429, "rate_limited")
        wait = answers[2].headers["retry-after"]
        assert 5 <= int(wait) <= 10
        assert {answer.headers["ratelimit-policy"] for answer in answers} == {'"key";q=2;w=20'}
        assert answers[0].headers["ratelimit"] == '"key";r=1;t=0'
        assert answers[2].headers["ratelimit"] == f'"key";r=0;t={wait}'
        other = await client.get("/v1/bundle", headers=bearer(free))
        assert other.status_code == 200
        assert "ratelimit" not in other.headers


async def test_a_key_without_a_limit_of_its_own_has_that_of_the_service(serve, key_file):
    token = add_key(key_file, "search")
    own = add_key(key_file, "search", requests_per_minute=1000)
    async with serve(key_file=key_file, rate_limit=1) as client:
        limited = [await client.get("/v1/bundle", headers=bearer(token)) for _ in range(2)]
        assert [answer.status_code for answer in limited] == [200, 429]
        assert int(limited[1].headers["retry-after"]) > 50
        answer = await client.get("/v1/bundle", headers=bearer(own))
        assert answer.headers["ratelimit"] == '"key";r=999;t=0'


async def test_a_refused_scope_costs_no_request(serve, key_file):
    token = add_key(key_file, "search", requests_per_minute=1, burst=1)
    async with serve(key_file=key_file) as client:
        for _ in range(3):
            response = await client.get("/metrics", headers=bearer(token))
            problem_of(response, 403, "missing_scope")
        assert (await client.get("/v1/bundle", headers=bearer(token))).status_code == 200


async def test_a_batch_of_searches_costs_what_its_searches_cost(serve, key_file):
    token = add_key(key_file, "search", "ingest", requests_per_minute=60, burst=4)
    async with serve(key_file=key_file) as client:
        stored = await client.post("/v1/passages", json=PASSAGES, headers=bearer(token))
        assert stored.headers["ratelimit"] == '"key";r=3;t=0'
        batch = {"searches": [{"query": "hole"}] * 6}
        answer = await client.post("/v1/search:batch", json=batch, headers=bearer(token))
        assert answer.status_code == 200
        assert len(answer.json()["results"]) == 6
        assert answer.headers["ratelimit"] == '"key";r=0;t=4'
        refused = await client.post("/v1/search:batch", json=batch, headers=bearer(token))
        problem_of(refused, 429, "rate_limited")


async def test_a_batch_costs_a_key_without_a_limit_nothing(serve, key_file):
    token = add_key(key_file, "search")
    async with serve(key_file=key_file) as client:
        batch = {"searches": [{"query": "hole"}] * 6}
        answer = await client.post("/v1/search:batch", json=batch, headers=bearer(token))
        assert answer.status_code == 200
        assert "ratelimit" not in answer.headers
