import sqlite3
import sys

import pytest

from app.adapters.feedback.sql import LOG_FILE, feedback_log
from app.core.errors import FeedbackLogError
from tests.app.core.feedback.statements import entry


async def test_a_transaction_is_kept_whole_or_not_at_all(tmp_path):
    log = feedback_log(None, data_dir=tmp_path, collection="c")
    await log.open()

    with pytest.raises(FeedbackLogError, match="feedback"):
        await log.append([entry(passage_id="a"), entry(passage_id=None)])

    assert await log.read() == []
    assert (await log.append([entry(passage_id="a")]))[0].is_taken
    await log.close()


async def test_a_log_that_cannot_be_written_says_which_and_why(tmp_path):
    (tmp_path / "file").write_text("")
    log = feedback_log(None, data_dir=tmp_path / "file", collection="c")

    with pytest.raises(FeedbackLogError, match=LOG_FILE):
        await log.open()


async def test_a_file_that_is_no_database_is_left_as_it_is(tmp_path):
    path = tmp_path / LOG_FILE
    path.write_text("not a database, and longer than its header " * 10)
    log = feedback_log(None, data_dir=tmp_path, collection="c")

    with pytest.raises(FeedbackLogError, match="not a database"):
        await log.open()

    assert path.read_text().startswith("not a database")


async def test_every_commit_is_flushed_to_the_disk(tmp_path):
    log = feedback_log(None, data_dir=tmp_path, collection="c")
    await log.open()

    def pragmas(connection):
        return [
            connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous")
        ]

    assert await log._run(pragmas) == ["wal", 2]
    await log.close()


async def test_it_waits_for_another_process_that_writes(tmp_path):
    log = feedback_log(None, data_dir=tmp_path, collection="c")
    await log.open()
    other = sqlite3.connect(tmp_path / LOG_FILE, isolation_level=None)
    other.execute("BEGIN")
    assert other.execute("SELECT count(*) FROM isoglot_feedback").fetchone() == (0,)

    await log.append([entry()])

    assert other.execute("SELECT count(*) FROM isoglot_feedback").fetchone() == (0,)
    other.execute("COMMIT")
    assert other.execute("SELECT count(*) FROM isoglot_feedback").fetchone() == (1,)
    other.close()
    await log.close()


def test_without_its_client_postgresql_is_refused_with_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)

    with pytest.raises(FeedbackLogError, match=r"\.\[postgres\]"):
        feedback_log("postgresql://localhost/x", data_dir=tmp_path, collection="c")
