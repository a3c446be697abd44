import stat
from concurrent.futures import ThreadPoolExecutor

import pytest
from pydantic import SecretStr

from app.adapters.feedback.key import KEY_FILE, feedback_key
from app.core.errors import FeedbackLogError


def test_a_configured_key_is_used_and_none_is_made(tmp_path):
    assert feedback_key(tmp_path, SecretStr("k" * 32)) == b"k" * 32
    assert list(tmp_path.iterdir()) == []


def test_a_key_is_made_once_and_only_its_owner_reads_it(tmp_path):
    data = tmp_path / "data"

    with ThreadPoolExecutor(8) as threads:
        keys = set(threads.map(lambda _: feedback_key(data, None), range(16)))

    assert len(keys) == 1
    assert len(keys.pop()) == 32
    assert [path.name for path in data.iterdir()] == [KEY_FILE]
    assert stat.S_IMODE((data / KEY_FILE).stat().st_mode) == 0o600


@pytest.mark.parametrize("content", ["", "abc", "zz" * 32, "00" * 8])
def test_a_file_without_a_key_is_not_used(tmp_path, content):
    (tmp_path / KEY_FILE).write_text(content)

    with pytest.raises(FeedbackLogError, match="Remove it"):
        feedback_key(tmp_path, None)


def test_a_key_that_cannot_be_kept_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(FeedbackLogError, match="cannot be read or written"):
        feedback_key(tmp_path / "file", None)
