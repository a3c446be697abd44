import shutil

import pytest
from tokenizers import Tokenizer

from app.adapters.encoders.tokenizer_file import read_tokenizer
from app.core.errors import BundleError
from tests.bundles import TINY_TOKENIZER


def test_the_same_content_is_read_once_wherever_it_lies(tmp_path):
    copied = tmp_path / "tokenizer.json"
    shutil.copyfile(TINY_TOKENIZER, copied)
    assert read_tokenizer(copied, 16) is read_tokenizer(TINY_TOKENIZER, 16)


def test_another_length_or_another_content_is_another_tokenizer(tmp_path):
    first = read_tokenizer(TINY_TOKENIZER, 16)
    assert len(first.encode("the moon " * 20).ids) == 16
    shorter = read_tokenizer(TINY_TOKENIZER, 8)
    assert len(shorter.encode("the moon " * 20).ids) == 8
    changed = Tokenizer.from_file(str(TINY_TOKENIZER))
    changed.add_tokens(["moonlight"])
    changed.save(str(tmp_path / "tokenizer.json"))
    other = read_tokenizer(tmp_path / "tokenizer.json", 16)
    assert other.encode("moonlight").ids == changed.encode("moonlight").ids
    assert other.encode("moonlight").ids != first.encode("moonlight").ids
    # The first one is unchanged by what was read since.
    assert len(first.encode("the moon " * 20).ids) == 16


def test_a_tokenizer_that_pads_in_its_file_does_not_when_read(tmp_path):
    padding = Tokenizer.from_file(str(TINY_TOKENIZER))
    padding.enable_padding(length=32)
    padding.save(str(tmp_path / "tokenizer.json"))
    assert len(read_tokenizer(tmp_path / "tokenizer.json", 16).encode("moon").ids) < 16


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff"])
def test_a_file_that_is_no_tokenizer_is_named(tmp_path, content):
    path = tmp_path / "tokenizer.json"
    path.write_bytes(content)
    with pytest.raises(BundleError, match=r"tokenizer\.json could not be loaded"):
        read_tokenizer(path, 16)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(BundleError, match=r"nowhere\.json could not be loaded"):
        read_tokenizer(tmp_path / "nowhere.json", 16)
