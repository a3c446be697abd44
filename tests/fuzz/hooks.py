"""What schemathesis does not know by itself: NDJSON, in and out."""

from __future__ import annotations

import json
from typing import Any

import schemathesis

NDJSON = "application/x-ndjson"


@schemathesis.serializer(NDJSON)
def to_lines(_: schemathesis.SerializationContext, value: Any) -> bytes:
    """Return a generated passage as an upload of one line."""
    if isinstance(value, bytes):
        return value
    return json.dumps(value, default=str).encode() + b"\n"


@schemathesis.deserializer(NDJSON)
def last_line(_: schemathesis.DeserializationContext, response: schemathesis.Response) -> Any:
    """Return the summary, which has to be the last line; every other line has to be JSON too."""
    *answers, summary = [json.loads(line) for line in response.content.splitlines()]
    if "summary" not in summary or any("line" not in answer for answer in answers):
        raise ValueError(f"not answers and a summary: {response.content!r}")
    return summary
