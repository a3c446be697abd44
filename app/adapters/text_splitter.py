"""Cutting long texts at their joints, with the semantic-text-splitter library."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from semantic_text_splitter import TextSplitter
from tokenizers import Tokenizer

from app.core.errors import BundleError
from app.core.types import Split

_SAMPLE = 10_000
"""Characters from which the length of a token is estimated."""

_HEADROOM = 0.8
"""How far below the estimate pieces stay, so that few of them have to be cut again."""


class SemanticSplitter:
    """Implements the ``TextSplitter`` port; each piece ends where the text itself pauses most.

    Paragraphs are kept together where they fit, then sentences, then words.

    Args:
        tokenizer_path: ``tokenizer.json`` of the encoder, which counts tokens; the prefix and the
            special tokens that an encoder adds are not counted. It is loaded when it is needed.
    """

    def __init__(self, tokenizer_path: Path) -> None:
        self._path = tokenizer_path

    def split(self, text: str, split: Split) -> list[tuple[int, int]]:
        """Return the pieces of a text that are not blank, as offsets in characters.

        Raises:
            BundleError: The tokenizer cannot be loaded.
        """
        if split.max_tokens is not None:
            return self._by_tokens(text, split.max_tokens, split.overlap)
        assert split.max_characters is not None
        return _spans(TextSplitter(split.max_characters, overlap=split.overlap), text)

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        # Kept here, not for all splitters: a bundle that is retired takes its tokenizer with it.
        return _load(self._path)

    def _by_tokens(self, text: str, most: int, overlap: int) -> list[tuple[int, int]]:
        """Cut by characters and then, where a piece has too many tokens, that piece by tokens.

        The library tokenizes each piece some fifty times to find its end: a hundred times slower.
        """
        tokenizer = self._tokenizer
        sample = text[:_SAMPLE]
        characters_a_token = len(sample) / max(1, _lengths(tokenizer, [sample])[0])
        size = max(1, int(_HEADROOM * characters_a_token * most))
        repeated = min(int(_HEADROOM * characters_a_token * overlap), size - 1)
        rough = _spans(TextSplitter(size, overlap=repeated), text)
        exact = TextSplitter.from_huggingface_tokenizer(tokenizer, most, overlap=overlap)
        lengths = _lengths(tokenizer, [text[start:end] for start, end in rough])
        return [
            (start + first, start + last)
            for (start, end), tokens in zip(rough, lengths, strict=True)
            for first, last in (
                _spans(exact, text[start:end]) if tokens > most else [(0, end - start)]
            )
        ]


def _load(path: Path) -> Tokenizer:
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:
        raise BundleError(f"{path} cannot be loaded: {error}") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _lengths(tokenizer: Tokenizer, texts: list[str]) -> list[int]:
    encodings = tokenizer.encode_batch(texts, add_special_tokens=False)
    return [len(encoding.ids) for encoding in encodings]


def _spans(splitter: TextSplitter, text: str) -> list[tuple[int, int]]:
    return [(start, start + len(piece)) for start, piece in splitter.chunk_indices(text)]
