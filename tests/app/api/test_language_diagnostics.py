QUERIES = ("the hole in the tube", "der Schlauch ist nicht dicht", "le pain")


async def test_nothing_was_searched_so_nothing_is_known(client):
    body = (await client.get("/v1/diagnostics/languages")).json()
    assert body["answers"] == 0
    assert body["capacity"] == 1000
    assert body["exposure"] == {}
    assert body["by_score"]["flagged"] is False


async def test_the_last_answers_are_summed_up(stocked):
    for query in QUERIES:
        await stocked.post("/v1/search", json={"query": query})
        await stocked.post("/v1/search", json={"query": query, "offset": 1})
    response = await stocked.get("/v1/diagnostics/languages")
    assert response.status_code == 200
    body = response.json()
    assert body["answers"] == len(QUERIES)
    assert body["query_languages"] == {"en": 1, "de": 1, "fr": 1}
    assert sum(body["exposure"].values()) == 1
    assert body["by_score"]["comparisons"] == len(QUERIES)
    assert body["by_score"]["rank_distance"] >= 1
    assert body["by_probability"]["comparisons"] == len(QUERIES)
    assert body["by_score"]["same_language"]["queries"] == 2
    assert body["by_score"]["flagged"] is False
