import json
import logging

import structlog

from app.telemetry.logs import configure_logging


def test_json_logs_are_one_object_a_line_whoever_writes_them(capsys):
    configure_logging("info", "json")
    configure_logging("info", "json")
    with structlog.contextvars.bound_contextvars(request_id="r1"):
        structlog.stdlib.get_logger("ours").info("event", query_language="ελ")
        logging.getLogger("theirs").warning("plain %s", "text")
    structlog.stdlib.get_logger("ours").debug("too quiet")

    first, second = [json.loads(line) for line in capsys.readouterr().err.splitlines()]

    assert first["event"] == "event"
    assert first["query_language"] == "ελ"
    assert first["request_id"] == second["request_id"] == "r1"
    assert second["event"] == "plain text"
    assert second["level"] == "warning"
