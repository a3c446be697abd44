"""The options of a stage, from the configuration to a step of training."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from rich.progress import Progress
from tokenizers import Tokenizer

from tests.training.conftest import STATIC_TOML
from tests.training.two_processes import train_stage
from training.config import parse_config
from training.data_prepared import NO_TEXT
from training.encoder import build_static, leave_out_unknown
from training.errors import ConfigError, RunError
from training.run_data import RunData
from training.stage_parts import PartsBuilder

pytestmark = pytest.mark.training

HEAD = STATIC_TOML.partition("[[stage]]")[0].replace("dim = 16", "dim = 16\ndropout = 0.3")
STEPS = "steps = 5\nbatch_size = 12\ncheckpoints = 1\n"
HYBRID = f'{HEAD}\n[[stage]]\nname = "hybrid"\n{STEPS}'
ALIGN = f'{HEAD}\n[[stage]]\nname = "align"\nw_distill = 0.0\n{STEPS}'
PARTIAL = "same_share = 0.5\npartial_dropout = 0.5\n"
STATIC = 'kind = "static"\ndim = 16\ndropout = 0.3'
PARTIAL_TRANSFORMER = ALIGN.replace(STATIC, 'kind = "transformer"\nbase = "x"') + PARTIAL
MIXED = "\n[stage.align]\nshare = 0.5\nw_distill = 0.0\n"


class WithNegatives(RunData):
    """The tiny data, whose pairs each have the next two passages as hard negatives."""

    def pairs(self) -> Any:
        table = super().pairs()
        passages = np.unique(table.passage)
        place = np.searchsorted(passages, table.passage)
        after = [passages[(place + step) % len(passages)] for step in (3, 6)]
        negatives = np.stack(after, axis=1)
        negatives[::3, 1] = NO_TEXT
        return replace(table, negatives=negatives)


def build(text: str, prepared: Any, cache: Any, data: Any = RunData) -> Any:
    config = parse_config(text)
    tokenizer = Tokenizer.from_file(str(prepared.path / "tokenizer.json"))
    encoder = build_static(config.model, tokenizer, config.seed)  # type: ignore[arg-type]  # the tiny one is static
    leave_out_unknown(encoder, sparse=False)
    run_data = data(config, prepared, cache, Progress(disable=True))
    return PartsBuilder(config, run_data, encoder).build(config.stage[0], config.seed)


def first_batch(parts: Any) -> Any:
    sampler = parts.samplers.of_dataset(parts.dataset, batch_size=12, seed=7)
    return parts.collator([parts.dataset[row] for row in next(iter(sampler))])


def columns_of(batch: Any) -> Any:
    prefixes = [key.removesuffix("input_ids") for key in batch if key.endswith("_input_ids")]
    return [
        {key.removeprefix(p): value for key, value in batch.items() if key.startswith(p)}
        for p in prefixes
    ]


def test_hard_negatives_become_a_third_column_that_the_loss_learns_from(prepared, tmp_path):
    parts = build(HYBRID + "hard_negatives = 1\n", prepared, tmp_path, WithNegatives)
    batch = first_batch(parts)
    columns = columns_of(batch)
    assert len(columns) == 3
    against = float(parts.objective(columns, batch["label"])["hybrid"].detach())
    label = {"keys": batch["label"]["keys"]}
    without = float(parts.objective(columns[:2], label)["hybrid"].detach())
    assert without < against < float("inf")


def test_hard_negatives_are_in_the_language_of_the_passage(prepared, tmp_path):
    parts = build(HYBRID + "alpha = 0.0\nhard_negatives = 2\n", prepared, tmp_path, WithNegatives)
    table = parts.dataset.with_format("numpy")
    entry, passage = table["entry"][:], table["passage"][:]
    run_data = RunData(parse_config(HYBRID), prepared, tmp_path, Progress(disable=True))
    pairs = run_data.pairs()
    assert pairs.passage[entry].tolist() == passage.tolist()
    assert pairs.language[entry].tolist() == table["passage_language"][:].tolist()


def test_hard_negatives_that_nobody_has_are_refused(prepared, tmp_path):
    with pytest.raises(RunError, match=r"no row of .*data\.pairs.* has 'negatives'"):
        build(HYBRID + "hard_negatives = 1\n", prepared, tmp_path)


def test_matryoshka_dimensions_beyond_the_encoders_are_refused(prepared, tmp_path):
    with pytest.raises(RunError, match="names 16, but the encoder has 16 dimensions"):
        build(HYBRID + "matryoshka_dims = [4, 16]\n", prepared, tmp_path)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (HYBRID + "matryoshka_dims = [4, 4]\n", "names a number twice"),
        (HYBRID + "matryoshka_dims = [4]\nmatryoshka_weights = [1, 2]\n", "for each of"),
        (ALIGN + "partial_dropout = 0.5\n", "needs same_share > 0"),
        (PARTIAL_TRANSFORMER, "'static' only"),
    ],
    ids=["a number twice", "too many weights", "nothing to drop", "a transformer"],
)
def test_options_that_do_not_go_together_are_refused(text, problem):
    with pytest.raises(ConfigError, match=problem):
        parse_config(text)


def test_the_first_side_of_a_partial_query_is_read_in_part_and_the_second_whole(prepared, tmp_path):
    options = "same_share = 1.0\npartial_dropout = 0.6\n"
    batch = first_batch(build(ALIGN + options, prepared, tmp_path))
    part, whole = columns_of(batch)
    tokens = prepared.tokens()
    texts = batch["label"]["keys"][:, 0].numpy()
    assert texts.tolist() == batch["label"]["keys"][:, 1].tolist()
    lengths = tokens.offsets[texts + 1] - tokens.offsets[texts]
    assert torch.diff(whole["offsets"]).tolist() == lengths[:-1].tolist()
    assert len(part["input_ids"]) < 0.7 * len(whole["input_ids"])
    assert len(part["offsets"]) == len(whole["offsets"])


@pytest.fixture(scope="module")
def plain(prepared, tmp_path_factory):
    return train_stage(HYBRID + MIXED, prepared, tmp_path_factory.mktemp("plain"))


def largest_difference(one: Any, other: Any) -> float:
    return max(float(np.abs(one[name] - other[name]).max()) for name in one)


def test_gradient_caching_trains_to_the_same_weights(prepared, tmp_path, plain):
    cached = train_stage(HYBRID + "mini_batch_size = 5\n" + MIXED, prepared, tmp_path)
    assert largest_difference(cached, plain) < 1e-5


@pytest.mark.parametrize(
    "option",
    ["matryoshka_dims = [4, 8]\n", MIXED + PARTIAL],
    ids=["matryoshka", "partial queries"],
)
def test_an_option_trains_and_changes_what_is_learned(prepared, tmp_path, plain, option):
    text = HYBRID + (option if "stage.align" in option else option + MIXED)
    found = train_stage(text, prepared, tmp_path)
    assert np.isfinite(found["losses"]).all()
    assert largest_difference(found, plain) > 1e-3
