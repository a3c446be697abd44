import httpx


def test_the_page_on_calibration_shows_what_the_api_says(demo, look_at):
    said = httpx.get(f"{demo}/v1/calibration").raise_for_status().json()
    page = look_at(f"{demo}/calibration")
    page.wait_for_selector("#content:not([hidden])")

    assert said["calibrator"] in page.inner_text("#facts")
    stated = page.inner_text("#thresholds")
    for threshold in (said["thresholds"]["answer"], said["thresholds"]["hits"]):
        assert threshold["guarantee"] in stated
    whole = [name for name in said["evidence"]["reliability"] if "/" not in name]
    assert page.locator("#diagrams svg").count() == len(whole) > 0


def test_the_hint_speaks_of_a_former_calibrator_only_where_it_is_drawn(demo, look_at):
    said = httpx.get(f"{demo}/v1/calibration").raise_for_status().json()
    page = look_at(f"{demo}/calibration")
    page.wait_for_selector("#content:not([hidden])")
    assert page.locator("#replaced").is_visible() == bool(said["evidence"]["before"])
