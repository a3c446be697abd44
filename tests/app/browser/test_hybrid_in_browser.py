"""The page where passages are found by words as well as by meaning."""

from __future__ import annotations

from tests.app.browser.asking import api, ask, ids

QUESTION = "Wie finde ich das Loch im Fahrradschlauch?"


def ask_by_words(page) -> None:
    """Choose meaning and words with the keyboard alone, and wait for the answer."""
    page.locator("#options > summary").press("Enter")
    field = page.get_by_label("Found by")
    field.focus()
    with page.expect_response("**/v1/search"):
        page.keyboard.press("ArrowDown")
    page.get_by_text("found by meaning and words together").wait_for()


def test_hits_found_by_words_are_in_the_order_of_the_api_and_say_why_they_have_no_probability(
    demo_with_words, look_at
):
    page = look_at(demo_with_words)
    ask(page, QUESTION)
    dense = page.locator(".hit .bar").count()
    ask_by_words(page)
    hits = api(demo_with_words, QUESTION, retrieval="hybrid")["hits"]

    assert ids(page) == [hit["id"] for hit in hits]
    words = page.locator(".hit .small span:nth-child(4)").all_text_contents()
    assert words == [f"words {hit['lexical_score']:.2f}" for hit in hits]
    assert any(hit["lexical_score"] > 0 for hit in hits)
    said = page.locator(".hit .head .band").all_text_contents()
    assert said == ["no probability: hybrid search"] * len(hits)
    assert dense >= len(hits)
    assert page.locator(".hit .bar").count() == page.locator(".hit .probability").count() == 0
    assert page.locator("#verdict").inner_text().startswith("No probability: ")
    assert "has no calibrator of what is found" in page.locator("#warnings").inner_text()
    assert '"retrieval": "hybrid"' in page.locator("#curl").text_content()


def test_the_choice_stays_in_the_address_and_is_taken_back_with_the_keyboard(
    demo_with_words, look_at
):
    page = look_at(demo_with_words)
    ask(page, QUESTION)
    ask_by_words(page)
    assert "retrieval=hybrid" in page.url
    page.goto(page.url)
    page.get_by_text("found by meaning and words together").wait_for()
    page.locator("#options > summary").press("Enter")
    page.get_by_label("Found by").focus()
    with page.expect_response("**/v1/search") as answered:
        page.keyboard.press("ArrowUp")

    assert "retrieval" not in answered.value.request.post_data_json
    page.locator(".hit .probability").first.wait_for()
    assert "retrieval" not in page.url


def test_choices_that_need_a_probability_are_off_and_come_back(demo_with_words, look_at):
    page = look_at(demo_with_words)
    ask(page, QUESTION)
    page.click("#options > summary")
    with page.expect_response("**/v1/search"):
        page.select_option("#mode", "balance")
    with page.expect_response("**/v1/search"):
        page.select_option("#minimum", "0.1")
    with page.expect_response("**/v1/search") as by_words:
        page.select_option("#retrieval", "hybrid")
    assert by_words.value.status == 200
    assert page.locator("#mode").is_disabled()
    assert page.locator("#minimum").is_disabled()
    assert "choices that need one are off" in page.locator("#words").inner_text()
    with page.expect_response("**/v1/search") as by_meaning:
        page.select_option("#retrieval", "dense")

    sent = by_meaning.value.request.post_data_json
    assert (sent["min_probability"], sent["language"]) == (0.1, {"mode": "balance"})


def test_the_explanation_of_a_place_is_that_of_the_api(demo_with_words, look_at):
    page = look_at(demo_with_words)
    ask(page, QUESTION)
    ask_by_words(page)
    first = page.locator(".hit").first
    first.locator("summary").click()
    hit = api(demo_with_words, QUESTION, retrieval="hybrid", explain="full")["hits"][0]

    said = first.locator("details[open]").inner_text()
    explained = hit["explanation"]
    assert f"Rank {explained['rank_before']} by similarity" in said
    assert f"rank {explained['lexical_rank']} by its words" in said
    assert f"{explained['fusion']:.4f}" in said


def test_where_no_words_are_indexed_the_page_says_what_to_do(demo, look_at):
    page = look_at(demo)
    ask(page, QUESTION)
    page.click("#options > summary")

    assert page.locator("#retrieval option[value=hybrid]").is_disabled()
    assert "ISOGLOT_HYBRID=true" in page.locator("#words").inner_text()


def test_an_address_that_asks_for_words_that_are_not_indexed_shows_the_problem(demo, look_at):
    page = look_at(f"{demo}/?q=bread&retrieval=hybrid", expected="status of 409")
    page.wait_for_selector("#error:not([hidden])")

    assert "ISOGLOT_HYBRID=true" in page.locator("#error").inner_text()


def test_a_phone_shows_hits_without_probability_without_scrolling_sideways(
    demo_with_words, look_at
):
    phone = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
    page = look_at(f"{demo_with_words}/?q=Fahrradschlauch&retrieval=hybrid", **phone)
    page.get_by_text("found by meaning and words together").wait_for()
    page.click("#options > summary")
    page.locator(".hit summary").first.click()

    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_with_a_calibrator_of_its_own_hits_have_bars_and_every_choice_is_on(
    demo_with_probable_words, look_at
):
    page = look_at(f"{demo_with_probable_words}/?q={QUESTION}&retrieval=hybrid")
    page.locator(".hit .probability").first.wait_for()
    hits = api(demo_with_probable_words, QUESTION, retrieval="hybrid")["hits"]

    assert ids(page) == [hit["id"] for hit in hits]
    assert page.locator(".hit .head .bar").count() == len(hits)
    assert "no calibrator" not in page.locator("#warnings").inner_text()
    page.locator(".hit").first.locator("summary").click()
    said = page.locator(".hit details[open]").first.inner_text()
    assert "By its words it would be at rank" in said
    assert "rank by words (log)" in said
    page.click("#options > summary")
    assert page.locator("#mode").is_enabled()
    assert page.locator("#words").inner_text() == ""
    with page.expect_response("**/v1/search") as answered:
        page.select_option("#minimum", "0.1")
    assert answered.value.status == 200
    assert answered.value.request.post_data_json["min_probability"] == 0.1
