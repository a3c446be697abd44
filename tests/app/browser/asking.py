"""What tests of the page do again and again."""

from __future__ import annotations

from typing import Any

import httpx


def api(url: str, query: str, **options: object) -> Any:
    """Ask the service itself; returns its answer."""
    response = httpx.post(f"{url}/v1/search", json={"query": query, **options})
    return response.raise_for_status().json()


def ask(page, query: str) -> None:
    """Type a question, and wait for its answer; nothing is pressed."""
    page.wait_for_selector("#languages label", state="attached")
    with page.expect_response("**/v1/search"):
        page.fill("#query", query)
    page.wait_for_selector("#answer:not([hidden])")


def ids(page) -> Any:
    """Return the ids of the hits that are shown."""
    return page.locator(".hit .small span:nth-child(3)").all_text_contents()
