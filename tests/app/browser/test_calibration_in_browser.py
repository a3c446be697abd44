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


def test_the_line_that_similarity_is_read_through_is_a_table(pieced, look_at):
    page = look_at(f"{pieced}/calibration")
    page.wait_for_selector("#content:not([hidden])")
    rows = page.locator("#tables section:has(h2:text('How similarity is read')) tbody tr")
    assert rows.all_inner_texts() == [
        "–\t0.200\t2.00",
        "0.200\t0.400\t1.30",
        "0.400\t0.600\t0.60",
        "0.600\t–\t0.02",
    ]
