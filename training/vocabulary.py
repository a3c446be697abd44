"""Builds the subword vocabulary of a static encoder.

A static encoder has one vector per subword and no way to tell what its pieces mean together, so a
word should be one piece wherever it is frequent enough. The unigram trainer of ``tokenizers``
cannot give that: it takes as candidates the strings that occur in at least two different words,
so that a frequent word which is part of no other one (every second Vietnamese word) is never
among them. Kind ``unigram`` therefore takes the pieces that byte-pair merges find, which are
counted by use, and splits texts by the unigram model over them.

Token 0 is the unknown token. Its row of the table is zero and stays so: what the vocabulary does
not know adds nothing to a text, and a text that is unknown as a whole has the zero vector, which
the service refuses by name instead of answering at random.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

from training.config import VocabularyConfig
from training.data_prepared import TokenTable

UNKNOWN = "[UNK]"
UNKNOWN_ID = 0
_CHUNK = 20_000
_ROUNDS = 3
"""After these the count of pieces that the corpus takes changes by less than a thousandth."""

# Signs that do not change which word is meant: Arabic vowel signs and tatweel, zero-width marks,
# the combining acute of dictionaries.
_IGNORED = "[\u064b-\u065f\u0670\u0640\u200b-\u200f\u0301]"
_FOLDED = {
    "[أإآٱ]": "ا",
    "ى": "ي",
    "ة": "ه",
    "ё": "е",
    "ά": "α",
    "έ": "ε",
    "ή": "η",
    "[ίϊΐ]": "ι",
    "ό": "ο",
    "[ύϋΰ]": "υ",
    "ώ": "ω",
    "ς": "σ",
}


def _normalizer(config: VocabularyConfig) -> normalizers.Normalizer:
    """Return what is done to a text before it is split."""
    steps: list[normalizers.Normalizer] = [normalizers.NFKC()]
    if config.fold:
        # Lower-casing the Turkish capital I with dot leaves a combining dot behind.
        steps += [normalizers.Replace("İ", "i"), normalizers.Lowercase()]
        steps.append(normalizers.Replace(Regex(_IGNORED), ""))
        steps += [normalizers.Replace(Regex(old), new) for old, new in _FOLDED.items()]
    if not config.punctuation:
        steps.append(normalizers.Replace(Regex(r"[^\p{L}\p{M}\p{N}]+"), " "))
    return normalizers.Sequence(steps)


def _pre_tokenizer(config: VocabularyConfig) -> pre_tokenizers.PreTokenizer:
    """Return what splits a text before subwords are found: words, numbers, punctuation."""
    atoms = r"\p{N}+|[^\p{L}\p{M}\p{N}\s]" if config.punctuation else r"\p{N}+"
    steps: list[pre_tokenizers.PreTokenizer] = [
        pre_tokenizers.WhitespaceSplit(),
        pre_tokenizers.Split(Regex(atoms), "isolated"),
    ]
    if config.word_starts:
        steps.append(pre_tokenizers.Metaspace(prepend_scheme="always", split=False))
    return pre_tokenizers.Sequence(steps)


def _merging(config: VocabularyConfig) -> tuple[models.Model, trainers.Trainer]:
    return models.BPE(unk_token=UNKNOWN), trainers.BpeTrainer(
        vocab_size=config.size,
        special_tokens=[UNKNOWN],
        min_frequency=2,
        limit_alphabet=config.alphabet,
        max_token_length=config.max_piece_chars,
        show_progress=False,
    )


def _wordpiece(config: VocabularyConfig) -> tuple[models.Model, trainers.Trainer]:
    return models.WordPiece(unk_token=UNKNOWN), trainers.WordPieceTrainer(
        vocab_size=config.size,
        special_tokens=[UNKNOWN],
        min_frequency=2,
        limit_alphabet=config.alphabet,
        show_progress=False,
    )


def _split_by_likelihood(
    merging: Tokenizer, corpus: Sequence[str], config: VocabularyConfig
) -> Tokenizer:
    """Return the unigram model over the pieces of another tokenizer, fitted by hard EM.

    Every round splits the corpus as the last model does, and gives each piece the logarithm of
    its share of the counts (half a count more, so that an unused piece stays possible).

    Args:
        merging: Whose pieces to take.
        corpus: Texts to count on.
        config: Normalisation and pre-tokenisation.
    """
    pieces = sorted(merging.get_vocab(), key=merging.get_vocab().__getitem__)
    tokenizer = merging
    for _ in range(_ROUNDS):
        counts = np.zeros(len(pieces))
        for chunk in tokenize(tokenizer, corpus):
            ids = np.fromiter((piece for text in chunk for piece in text), np.int64)
            counts += np.bincount(ids, minlength=len(pieces))
        counts[UNKNOWN_ID] = 0
        scores = np.log((counts + 0.5) / max(1.0, counts.sum())).round(3)
        scores[UNKNOWN_ID] = 0.0
        vocabulary = list(zip(pieces, scores.tolist(), strict=True))
        tokenizer = _tokenizer(models.Unigram(vocabulary, unk_id=UNKNOWN_ID), config)
    return tokenizer


def _tokenizer(model: models.Model, config: VocabularyConfig) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = _normalizer(config)
    tokenizer.pre_tokenizer = _pre_tokenizer(config)
    return tokenizer


def language_budgets(sizes: Mapping[str, int], config: VocabularyConfig) -> dict[str, int]:
    """Return how many characters of each language the vocabulary is trained on.

    Args:
        sizes: Number of characters there are, by language; languages of size 0 are left out.
        config: ``budget_chars``, ``language_exponent``, dense and minor languages.
    """
    factor = {language: _density(language, config) for language in sizes}
    parts = {
        language: (size * factor[language]) ** config.language_exponent
        * (config.minor_share if language in config.minor_languages else 1.0)
        for language, size in sizes.items()
        if size > 0
    }
    total = sum(parts.values())
    return {
        language: round(config.budget_chars * part / total / factor[language])
        for language, part in parts.items()
    }


def _density(language: str, config: VocabularyConfig) -> float:
    return config.dense_factor if language in config.dense_languages else 1.0


def sample_corpus(
    texts_by_language: Mapping[str, Sequence[str]], config: VocabularyConfig, seed: int
) -> Iterator[str]:
    """Yield texts until every language has its budget; scarce languages are repeated.

    Args:
        texts_by_language: Training texts, every text once per language.
        config: See ``language_budgets``.
        seed: Decides which texts of a plentiful language are taken.
    """
    sizes = {language: sum(map(len, texts)) for language, texts in texts_by_language.items()}
    for language, budget in language_budgets(sizes, config).items():
        order = list(texts_by_language[language])
        random.Random(f"{seed}:{language}").shuffle(order)  # noqa: S311 - a sample, not a secret
        taken = 0
        while taken < budget:
            for text in order:
                if taken >= budget:
                    break
                taken += max(1, len(text))
                yield text


def train_tokenizer(corpus: Iterable[str], config: VocabularyConfig, max_length: int) -> Tokenizer:
    """Return a tokenizer trained on the corpus, which reads ``max_length`` subwords of a text.

    It adds no special tokens and never pads.
    """
    texts = list(corpus)
    model, trainer = _wordpiece(config) if config.kind == "wordpiece" else _merging(config)
    tokenizer = _tokenizer(model, config)
    tokenizer.train_from_iterator(texts, trainer)
    if config.kind == "unigram":
        tokenizer = _split_by_likelihood(tokenizer, texts, config)
    tokenizer.enable_truncation(max_length)
    assert tokenizer.token_to_id(UNKNOWN) == UNKNOWN_ID
    return tokenizer


def tokenize(tokenizer: Tokenizer, texts: Sequence[str]) -> Iterator[list[list[int]]]:
    """Yield the token ids of the texts, in order, some thousand texts at a time."""
    for start in range(0, len(texts), _CHUNK):
        chunk = list(texts[start : start + _CHUNK])
        encodings = tokenizer.encode_batch_fast(chunk, add_special_tokens=False)
        yield [encoding.ids for encoding in encodings]


def token_table(chunks: Iterable[list[list[int]]]) -> TokenTable:
    """Return the token ids of all texts as one table."""
    ids: list[np.ndarray[tuple[int], np.dtype[np.int32]]] = []
    lengths: list[int] = [0]
    for chunk in chunks:
        ids.append(np.fromiter((token for text in chunk for token in text), np.int32))
        lengths += map(len, chunk)
    flat = np.concatenate(ids) if ids else np.empty(0, np.int32)
    return TokenTable(ids=flat, offsets=np.cumsum(lengths, dtype=np.int64))
