"""Tiny data in three languages, made up on the spot, and a random two-layer backbone."""

from __future__ import annotations

import gc
import gzip
import importlib.util
import json
import os
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

# The service is tested in an environment without the training extra; nothing here can even be
# collected there.
if importlib.util.find_spec("torch") is None:
    collect_ignore_glob = ["test_*.py", "*/test_*.py"]

# The models here are so small that threads only wait for one another. Read when torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_finish() -> None:
    """Leave the libraries out of garbage collection: every training run ends with a whole one.

    Going through the objects that importing them made is half of the time of a tiny run.
    """
    gc.freeze()


LANGUAGES = ("en", "de", "ru")
SYLLABLES = {
    "en": ("ba", "ko", "ti", "ru", "me", "sol", "ven", "da"),
    "de": ("schu", "ör", "tal", "wem", "gü", "zen", "ich", "ber"),
    "ru": ("ва", "ко", "ти", "ру", "ме", "сол", "вен", "да"),
}
N_TOPICS = 48

STATIC_TOML = """
name = "tiny"
languages = ["en", "de", "ru"]
seed = 7

[data]
held_out_share = 0.2
passage_chars = 200

[[data.parallel]]
path = "parallel.jsonl"
licence = "CC0"

[[data.lexicon]]
form = "wiktionary"
path = "lexicon.jsonl"
licence = "CC BY-SA 3.0"
held_out_share = 0.0

[[data.pairs]]
path = "shared.jsonl.gz"
licence = "MIT"
shared_ids = true

[[data.pairs]]
path = "questions.en.jsonl"
licence = "CC BY-SA 4.0"
sentence_view = true

[vocabulary]
size = 300
budget_chars = 40_000

[model]
kind = "static"
dim = 16

[[stage]]
name = "align"
steps = 12
batch_size = 16
w_distill = 0.0
checkpoints = 6

[[stage]]
name = "hybrid"
steps = 12
batch_size = 12
checkpoints = 6

[stage.align]
share = 0.5
w_distill = 0.0
"""


def word(language: str, number: int) -> str:
    """Return a made-up word; equal numbers are translations."""
    chooser = random.Random(f"{language}:{number}")
    return "".join(chooser.choices(SYLLABLES[language], k=3))


def sentence(language: str, topic: int, salt: int, length: int = 8) -> str:
    """Return a made-up sentence about a topic; equal arguments are translations."""
    chooser = random.Random(topic * 1000 + salt)
    numbers = [topic, *(chooser.randrange(60) for _ in range(length))]
    return " ".join(word(language, number) for number in numbers) + "."


def passage(language: str, topic: int) -> str:
    """Return a made-up passage of four sentences."""
    return " ".join(sentence(language, topic, salt) for salt in range(4))


def write_lines(path: Path, rows: Iterable[Any]) -> None:
    """Write JSON lines, gzip where the name says so."""
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    data = text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def write_tiny_data(root: Path) -> None:
    """Write the files that ``STATIC_TOML`` names."""
    topics = range(N_TOPICS)
    write_lines(
        root / "parallel.jsonl",
        (
            {"id": f"p{t}-{s}", "doc": f"doc{t // 2}"}
            | {language: sentence(language, t, 500 + s) for language in LANGUAGES}
            for t in topics
            for s in range(3)
        ),
    )
    write_lines(
        root / "lexicon.jsonl",
        (
            {
                "id": f"w{n}",
                "en": word("en", n),
                "tr": {"de": [word("de", n)], "ru": [word("ru", n)]},
            }
            for n in range(60)
        ),
    )
    write_lines(
        root / "shared.jsonl.gz",
        (
            {
                "id": f"guide{t // 2}#{t}",
                "lang": language,
                "question": sentence(language, t, 77, 3),
                "passage": passage(language, t),
            }
            for t in topics
            for language in LANGUAGES
        ),
    )
    write_lines(
        root / "questions.en.jsonl",
        (
            {
                "id": f"q{t}-{k}",
                "lang": "en",
                "title": f"Article {t}",
                "question": sentence("en", t, 90 + k, 3),
                "passage": passage("en", t + 100),
                "answer_start": 5 + 30 * k,
            }
            for t in topics
            for k in range(2)
        ),
    )


@pytest.fixture(scope="session")
def data_root(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    write_tiny_data(root)
    return root


@pytest.fixture(scope="session")
def static_config():
    from training.config import parse_config

    return parse_config(STATIC_TOML)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory, data_root, static_config):
    """The tiny data, prepared for a static encoder."""
    from rich.progress import Progress

    from training.data_prepared import open_prepared
    from training.prepare import prepare

    target = tmp_path_factory.mktemp("prepared") / "tiny"
    prepare(static_config, data_root, target, progress=Progress(disable=True))
    return open_prepared(target)


@pytest.fixture(scope="session")
def backbone(tmp_path_factory, prepared):
    """A directory with a random two-layer BERT and a word-piece tokenizer for the tiny data."""
    import torch
    from tokenizers import BertWordPieceTokenizer
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    target = tmp_path_factory.mktemp("backbone") / "bert"
    tokenizer = BertWordPieceTokenizer(lowercase=True, strip_accents=False)
    tokenizer.train_from_iterator(prepared.texts(), vocab_size=300, show_progress=False)
    PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer._tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    ).save_pretrained(target)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=300,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=128,
    )
    BertModel(config).save_pretrained(target)
    return target
