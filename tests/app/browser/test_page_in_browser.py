import json
import re
from typing import Any

import httpx
import pytest

from tests.app.browser.asking import api, ask, ids

LATIN = "Wie finde ich das Loch im Fahrradschlauch?"
QUESTIONS = {
    "Latin": LATIN,
    "Arabic": "كم دقيقة يجب تبريد حرق صغير بالماء الجاري؟",
    "Devanagari": "जले हुए पर बर्फ़ क्यों नहीं लगानी चाहिए?",
    "Thai": "ทำไมไม่ควรเอาน้ำแข็งประคบแผลไหม้",
    "Han": "哪些食物会破坏铸铁锅的油膜？",
}


def percent(probability: float) -> str:
    if 0 < probability < 0.01:
        return "< 1 %"
    return "> 99 %" if 0.99 < probability < 1 else f"{int(probability * 100 + 0.5)} %"


@pytest.mark.parametrize("script", QUESTIONS)
def test_typing_a_question_shows_what_the_api_says(demo, look_at, script):
    query = QUESTIONS[script]
    page = look_at(demo)
    ask(page, query)
    hits = api(demo, query)["hits"]

    assert ids(page) == [hit["id"] for hit in hits]
    shown = page.locator(".hit .probability").all_text_contents()
    assert shown == [percent(hit["probability"]) for hit in hits]
    widths = page.eval_on_selector_all(
        ".hit .head .bar span", "spans => spans.map(s => parseFloat(s.style.width) / 100)"
    )
    assert widths == pytest.approx([hit["probability"] for hit in hits], abs=1e-4)
    texts = page.locator(".hit .text")
    assert texts.all_text_contents() == [hit["text"] for hit in hits]
    languages = [hit["language"]["code"] for hit in hits]
    written = texts.evaluate_all("texts => texts.map(t => [t.lang, t.dir])")
    assert written == [[code, "rtl" if code == "ar" else "ltr"] for code in languages]
    assert page.evaluate("new URL(location.href).searchParams.get('q')") == query


def test_the_verdict_says_in_words_whether_there_is_an_answer(demo, look_at):
    page = look_at(demo)
    ask(page, LATIN)
    verdicts = {
        0.1: "Probably nothing here answers this.",
        0.5: "Something here may answer this.",
        0.8: "Something here probably answers this.",
        None: "Found by similarity alone: no calibrator says how likely it is.",
    }
    answer = api(demo, LATIN)
    page.route("**/v1/search", lambda route: route.fulfill(json=answer))
    for probability, words in verdicts.items():
        answer["answerable_probability"] = probability
        page.click("#search button[type=submit]")
        page.get_by_text(words).wait_for()
        shown = page.locator("#verdict").inner_text()
        assert ("most similar passage is an answer" in shown) == (probability is not None)


def test_a_search_that_is_overtaken_is_cancelled(demo, look_at):
    page = look_at(demo)
    page.wait_for_selector("#languages label", state="attached")
    held: list[object] = []
    page.route("**/v1/search", lambda route: held.append(route) if not held else route.continue_())
    with page.expect_request("**/v1/search"):
        page.fill("#query", "bread")
    with page.expect_event("requestfailed") as failed:
        ask(page, LATIN)

    assert failed.value.post_data_json["query"] == "bread"
    assert failed.value.failure == "net::ERR_ABORTED"
    assert ids(page) == [hit["id"] for hit in api(demo, LATIN)["hits"]]


def test_pages_follow_one_another_and_going_back_asks_nothing(demo, look_at):
    page = look_at(demo)
    ask(page, LATIN)
    first = ids(page)
    assert page.locator("#previous").is_disabled()
    with page.expect_response("**/v1/search") as response:
        page.click("#next")
    page.wait_for_selector("#previous:enabled")
    second = ids(page)

    assert response.value.request.post_data_json["cursor"]
    expected = api(demo, LATIN, limit=20)["hits"]
    assert first + second == [hit["id"] for hit in expected]
    assert page.locator("#place").inner_text() == "11 to 20"

    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.click("#previous")
    assert ids(page) == first
    page.click("#next")
    assert ids(page) == second
    assert asked == []


def test_languages_filter_the_passages_and_stay_in_the_address(demo, look_at):
    page = look_at(demo)
    ask(page, LATIN)
    page.click("#options > summary")
    with page.expect_response("**/v1/search"):
        page.click("#languages label:has([value=el])")
    page.locator(".hit [lang=el]").nth(9).wait_for()

    assert "in=el" in page.url
    page.goto(page.url)
    page.wait_for_selector(".hit")
    assert {hit.rsplit(".")[-1] for hit in ids(page)} == {"el"}
    assert page.locator("#languages [value=el]").is_checked()


@pytest.mark.parametrize(
    ("given", "title"),
    [('{"must": ', "The filter is not JSON"), ('{"must": [{"key": "colour"}]}', "filter")],
)
def test_an_error_is_shown_in_the_words_of_the_problem(demo, look_at, given, title):
    page = look_at(demo, expected="status of 400")
    ask(page, LATIN)
    page.click("#options > summary")
    page.fill("#filter", given)
    page.locator("#filter").blur()
    page.wait_for_selector("#error:not([hidden])")

    shown = page.locator("#error").inner_text()
    assert title in shown
    if title == "filter":
        body = {"query": LATIN, "filter": json.loads(given)}
        problem = httpx.post(f"{demo}/v1/search", json=body).json()
        assert problem["title"] in shown
        assert problem["detail"] in shown
    assert page.locator("#answer").is_hidden()


def test_the_explanation_adds_up_to_the_probability(demo, look_at):
    page = look_at(demo)
    ask(page, LATIN)
    page.locator(".hit").first.focus()
    page.keyboard.press("Enter")
    panel = page.locator(".hit").first.locator("details[open]")

    amounts = panel.locator("td .amount > span:first-child").all_text_contents()
    said = re.search(r"sum is (\S+)", panel.inner_text())
    assert said is not None
    logit = float(said[1].replace("−", "-"))
    assert len(amounts) > 3
    summed = sum(float(amount.replace("−", "-")) for amount in amounts)
    assert summed == pytest.approx(logit, abs=0.001 * len(amounts))
    head = api(demo, LATIN, explain="full")["hits"][0]["explanation"]["heads"][0]
    assert logit == pytest.approx(head["logit"], abs=0.0006)


def test_the_page_is_used_without_a_mouse(demo, look_at):
    page = look_at(demo)
    ask(page, LATIN)
    focused = "document.activeElement.id || document.activeElement.className"

    page.keyboard.press("ArrowDown")
    assert page.evaluate(focused) == "hit"
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.previousElementSibling.className") == "hit"
    page.keyboard.press("/")
    assert page.evaluate(focused) == "query"
    assert page.input_value("#query") == LATIN
    page.keyboard.press("Escape")
    assert page.input_value("#query") == ""
    assert page.locator("#answer").is_hidden()


def test_the_bias_panel_shows_exposure_beside_corpus_share(demo, look_at):
    page = look_at(demo)
    ask(page, LATIN)
    page.click("#bias > summary")
    page.wait_for_selector("#windowBias table")
    bias = api(demo, LATIN, diagnostics=["language"])["diagnostics"]["language"]

    rows = [
        row.locator("th, td").all_inner_texts()
        for row in page.locator("#answerBias tbody tr").all()
    ]
    assert len(rows) == len(bias["corpus_share"]) == 11
    shares = {language: shown for language, shown, *_ in rows}
    assert shares["German"] == percent(bias["exposure"].get("de", 0.0))
    assert {eligible for _, _, eligible, _ in rows} == {"9 %"}
    assert "By similarity (the encoder)" in page.locator("#windowBias").inner_text()


def test_a_phone_shows_everything_without_scrolling_sideways(demo, look_at):
    phone = {"viewport": {"width": 360, "height": 800}, "is_mobile": True, "has_touch": True}
    page = look_at(demo, **phone)
    ask(page, QUESTIONS["Arabic"])
    for summary in ("#options > summary", ".hit summary", "#bias > summary", ".curl summary"):
        page.locator(summary).first.click()
    page.wait_for_selector("#windowBias table")

    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_the_page_is_dark_where_the_system_is(demo, look_at):
    ground = "getComputedStyle(document.body).backgroundColor"
    light = look_at(demo, color_scheme="light").evaluate(ground)
    dark = look_at(demo, color_scheme="dark").evaluate(ground)

    def brightness(colour: str) -> int:
        return sum(int(part) for part in re.findall(r"\d+", colour)[:3])

    assert brightness(dark) < 150 < 600 < brightness(light)


def test_a_hit_is_judged_with_the_keyboard_and_the_label_stays(demo, look_at):
    page = look_at(demo)
    ask(page, LATIN)
    first = page.locator(".hit").first
    first.focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Relevant"
    page.keyboard.press("Tab")
    with page.expect_response("**/v1/feedback") as sent:
        page.keyboard.press("Enter")
    assert sent.value.json()["status"] == "accepted"

    pressed = first.locator("[aria-pressed=true]")
    pressed.wait_for()
    assert pressed.text_content() == "Not relevant"
    assert first.locator(".said").text_content() == "Thank you."
    assert page.evaluate("document.activeElement.textContent") == "Not relevant"
    page.click("#next")
    page.wait_for_selector("#previous:not([disabled])")
    page.click("#previous")
    assert pressed.text_content() == "Not relevant"


def test_a_wrong_click_is_mended_by_the_other_button_and_taken_back_by_its_own(demo, look_at):
    page = look_at(demo)
    ask(page, LATIN)
    first = page.locator(".hit").first
    relevant, other = first.locator(".feedback button").all()
    said = first.locator(".said")

    def press(button: Any, answer: str) -> Any:
        with page.expect_response("**/v1/feedback") as sent:
            button.click()
        first.get_by_text(answer).wait_for()
        body = sent.value.json()
        assert body["status"] == "accepted"
        return body["relevant"]

    assert press(other, "Thank you.") is False
    assert press(relevant, "Thank you.") is True
    assert relevant.get_attribute("aria-pressed") == "true"
    assert other.get_attribute("aria-pressed") == "false"
    assert press(relevant, "Taken back.") is None
    assert first.locator("[aria-pressed=true]").count() == 0
    page.click("#next")
    page.wait_for_selector("#previous:not([disabled])")
    page.click("#previous")
    assert first.locator("[aria-pressed=true]").count() == 0
    assert said.text_content() == ""


def test_a_label_that_an_assessor_gave_is_shown_to_who_says_otherwise(demo, look_at):
    page = look_at(demo)
    kept = {"status": "duplicate", "reason": None, "query_id": "0" * 32, "id": "a"}
    page.route("**/v1/feedback", lambda route: route.fulfill(json={**kept, "relevant": False}))
    ask(page, LATIN)
    first = page.locator(".hit").first
    first.locator(".feedback button").first.click()

    first.get_by_text("An assessor has judged this.").wait_for()
    assert first.locator("[aria-pressed=true]").text_content() == "Not relevant"


def test_feedback_that_is_not_taken_says_why(demo, look_at):
    page = look_at(demo, expected="status of 403")
    problem = {"title": "Not allowed", "status": 403, "detail": "This needs another scope."}
    page.route("**/v1/feedback", lambda route: route.fulfill(status=403, json=problem))
    ask(page, LATIN)
    page.locator(".feedback button").first.click()

    page.get_by_text("This needs another scope.").wait_for()
    assert page.locator(".hit").first.locator("[aria-disabled]").count() == 0


def test_a_key_is_asked_for_kept_in_the_tab_and_sent(guarded, look_at):
    url, key = guarded
    page = look_at(url, expected="status of 401")
    page.wait_for_selector("#access:not([hidden])")
    page.fill("#key", "isoglot_wrong")
    page.keyboard.press("Enter")
    page.wait_for_selector("#access:not([hidden]) #keyReason:not(:empty)")
    page.fill("#key", key)
    page.keyboard.press("Enter")
    page.wait_for_selector("#access", state="hidden")
    page.wait_for_selector("#bundle:not(:empty)")
    page.fill("#query", "wheel")
    page.wait_for_selector("#answer:not([hidden])")

    assert key not in page.url
    assert key not in page.content()
    assert page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [
        0,
        1,
        "",
    ]
    assert key in page.evaluate("Object.values(sessionStorage)")
    assert "$ISOGLOT_API_KEY" in page.locator("#curl").text_content()
    page.click("#forget")
    page.wait_for_selector("#access:not([hidden])")
    assert page.evaluate("sessionStorage.length") == 0
