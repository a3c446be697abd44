"""Every curl command of docs/passages.md, run in its order."""

import json
import re
import shlex
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from app.core.types import FieldKind

PAGE = Path(__file__).parents[3] / "docs" / "passages.md"
FIELDS: dict[str, FieldKind] = {"product": "keyword", "price": "float", "seen": "datetime"}
FILES = {
    "passages.ndjson": b'{"id": "kb-3", "text": "the hole is where the air is"}\n'
    b'{"id": "kb-1", "text": "How to mend a puncture", "language": "en", '
    b'"metadata": {"product": "pro", "price": 9.5}}\n{\n'
}


def commands() -> list[list[str]]:
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    words = [word for block in blocks for word in shlex.split(block)]
    starts = [at for at, word in enumerate(words) if word == "curl"]
    return [words[a + 1 : b] for a, b in zip(starts, [*starts[1:], len(words)], strict=True)]


def request_of(words: list[str]) -> dict[str, Any]:
    """What curl would send."""
    request: dict[str, Any] = {"method": "GET", "headers": {}}
    arguments = iter(words)
    for word in arguments:
        match word:
            case "-H":
                name, _, value = next(arguments).partition(":")
                request["headers"][name] = value.strip()
            case "-X":
                request["method"] = next(arguments)
            case "-d" | "--data-binary":
                body = next(arguments)
                content = FILES[body[1:]] if body.startswith("@") else body.encode()
                request |= {"method": "POST", "content": content}
            case _:
                parts = urlsplit(word)
                assert parts.netloc == "127.0.0.1:8000"
                request["url"] = parts._replace(scheme="", netloc="").geturl()
    return request


def told(response: httpx.Response) -> Any:
    if response.headers["content-type"] == "application/x-ndjson":
        return [json.loads(line) for line in response.text.splitlines()]
    return response.json() if response.content else None


async def test_every_command_of_the_page_does_what_the_page_says(serve):
    async with serve(filter_fields=FIELDS) as client:
        answers = [
            told((await client.request(**request_of(c))).raise_for_status()) for c in commands()
        ]
    stored, lines, split, one, page, count, facets, collection, gone, dry, deleted = answers
    assert stored == {"stored": 2, "created": 2, "updated": 0, "unchanged": 0}
    assert [line.get("status") for line in lines] == ["created", "unchanged", "rejected", None]
    assert lines[-1] == {
        "summary": {"received": 3, "created": 1, "updated": 0, "unchanged": 1, "rejected": 1}
    }
    assert split["created"] == 1
    assert one["text"] == "How to mend a puncture"
    ids = {passage["id"] for passage in page["passages"]}
    assert ids == {"kb-1", "kb-2", "kb-3", "manual#1", "manual#2"}
    assert count == {"count": 2}
    assert {value["value"]: value["count"] for value in facets["values"]} == {"pro": 1, "team": 1}
    assert collection["fields"].items() >= FIELDS.items()
    assert gone is None
    assert dry == {"matched": 2, "deleted": 0, "dry_run": True}
    assert deleted == {"matched": 2, "deleted": 2, "dry_run": False}


async def test_the_filter_of_the_page_selects_what_the_page_says(serve):
    block = PAGE.read_text(encoding="utf-8").partition("## Filters")[2]
    example = json.loads(re.findall(r"```json\n(.*?)```", block, flags=re.DOTALL)[0])
    metadata: list[dict[str, Any]] = [
        {"product": "pro", "price": 5, "seen": "2024-02-01"},
        {"product": ["team"]},
        {"product": "pro", "price": 50},
        {"product": "pro", "price": 5, "seen": "2023-12-31T23:59:59"},
        {"product": "free"},
    ]
    passages = [{"id": str(n), "text": "the text", "metadata": m} for n, m in enumerate(metadata)]
    async with serve(filter_fields=FIELDS) as client:
        await client.post("/v1/passages", json=passages)
        response = await client.get("/v1/passages", params={"filter": json.dumps(example)})
    assert {passage["id"] for passage in response.json()["passages"]} == {"0", "1"}
