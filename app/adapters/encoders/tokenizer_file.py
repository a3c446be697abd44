"""Tokenizers from files, the last one kept: the next bundle mostly brings the same.

The library holds the interpreter's lock while it reads a tokenizer, and again while it lets go of
one: for the starter's 112,000 pieces a third of a second and half of that, in which no request is
answered, whichever thread does it. Most bundles that are loaded differ in their calibrator only.
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from threading import Lock

from tokenizers import Tokenizer

from app.core.errors import BundleError


class _Kept:
    """The tokenizer that was read last, by the content of its file."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._tokenizer: Tokenizer | None = None
        self._made_of: tuple[bytes, int] | None = None

    def read(self, path: Path, max_length: int) -> Tokenizer:
        content = path.read_bytes()
        made_of = sha256(content).digest(), max_length
        with self._lock:
            if self._tokenizer is None or made_of != self._made_of:
                tokenizer = Tokenizer.from_buffer(content)
                tokenizer.no_padding()
                tokenizer.enable_truncation(max_length)
                self._tokenizer, self._made_of = tokenizer, made_of
            return self._tokenizer


_kept = _Kept()


def read_tokenizer(path: Path, max_length: int) -> Tokenizer:
    """Return the tokenizer of a file, which cuts texts and never pads; not to be changed.

    Args:
        path: ``tokenizer.json`` of the tokenizers library.
        max_length: Tokens that it leaves of a text.

    Raises:
        BundleError: It cannot be loaded.
    """
    try:
        return _kept.read(path, max_length)
    except Exception as error:  # the library raises bare exceptions
        raise BundleError(f"The tokenizer {path} could not be loaded: {error}") from error
