"""Gradient caching against the loss it stands for: the same value, the same gradient."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from training import gradient_cache
from training.config import StaticModel, TransformerModel
from training.encoder import StaticReader, build_static, build_transformer, leave_out_unknown
from training.gradient_cache import chunks, embed
from training.objectives import AlignObjective, HybridObjective, Passes

pytestmark = pytest.mark.training

N_ROWS = 11
CHUNK = 4
# Everything is float64; only the order of additions differs.
TOLERANCE: Any = {"rtol": 1e-9, "atol": 1e-12}
TEXTS = np.arange(2 * N_ROWS, dtype=np.int32).reshape(2, N_ROWS)


def transformer(prepared: Any, backbone: Any) -> Any:
    encoder = build_transformer(TransformerModel(kind="transformer", base=str(backbone))).double()
    texts = prepared.texts()
    columns = [encoder.preprocess([texts[k] for k in side.tolist()]) for side in TEXTS]
    return encoder, columns


def static_table(prepared: Any, backbone: Any, *, sparse: bool = False) -> Any:
    tokenizer = Tokenizer.from_file(str(prepared.path / "tokenizer.json"))
    encoder = build_static(StaticModel(kind="static", dim=16), tokenizer, seed=1).double()
    leave_out_unknown(encoder, sparse=sparse)
    reader = StaticReader(prepared.tokens(), 0.2)
    rng = np.random.default_rng(0)
    return encoder, [reader(side, "query", rng) for side in TEXTS]


FAMILIES = pytest.mark.parametrize("family", [transformer, static_table])


def hybrid(encoder: Any, size: Any) -> Any:
    passes = Passes(mini_batch_size=size)
    return HybridObjective(encoder, loss_temperature=0.1, symmetric=True, passes=passes)


def align(encoder: Any, size: Any) -> Any:
    return AlignObjective(
        encoder,
        w_distill=0.7,
        distill="contrastive",
        distill_temperature=0.2,
        w_contrast=1.3,
        loss_temperature=0.1,
        passes=Passes(mini_batch_size=size),
    )


def labels() -> Any:
    generator = torch.Generator().manual_seed(5)
    teacher = torch.randn(N_ROWS - 3, 16, generator=generator, dtype=torch.float64)
    rows = torch.arange(N_ROWS - 3)
    return {
        "keys": torch.from_numpy(TEXTS.T.copy()),
        "teacher": torch.nn.functional.normalize(teacher, dim=1),
        "has_teacher": rows + 2,
        "teacher_keys": rows,
    }


def outcome(encoder: Any, parts: Any) -> Any:
    """Return the loss and the gradient of every weight."""
    loss: Any = torch.stack(list(parts.values())).sum()
    encoder.zero_grad()
    loss.backward()
    found = {name: weight.grad for name, weight in encoder.named_parameters()}
    dense = {k: g.to_dense() for k, g in found.items() if g is not None}
    return float(loss.detach()), dense


def chunk_by_chunk(encoder: Any, objective: Any, columns: Any) -> Any:
    """The plain loss with the masks of dropout that the chunks draw: nothing is cached."""
    embedded = [
        torch.cat([encoder(chunk)["sentence_embedding"] for chunk in chunks(column, CHUNK)])
        for column in columns
    ]
    return objective.parts(embedded, labels())


def agree(one: Any, other: Any, **tolerance: Any) -> Any:
    how = tolerance or TOLERANCE
    (value, gradients), (expected, others) = one, other
    close = gradients.keys() == others.keys() and all(
        torch.allclose(gradients[name], others[name], **how) for name in others
    )
    return close and value == pytest.approx(expected, rel=how["rtol"])


@FAMILIES
@pytest.mark.parametrize("objective", [hybrid, align])
@pytest.mark.parametrize("size", [1, CHUNK, N_ROWS, 50])
def test_value_and_gradient_are_those_of_the_plain_loss(
    prepared, backbone, family, objective, size
):
    encoder, columns = family(prepared, backbone)
    encoder.eval()
    plain = outcome(encoder, objective(encoder, None)(columns, labels()))
    cached = outcome(encoder, objective(encoder, size)(columns, labels()))
    assert agree(cached, plain)
    assert max(float(g.abs().max()) for g in plain[1].values()) > 1e-3


@pytest.mark.parametrize("objective", [hybrid, align])
def test_with_dropout_both_passes_see_the_same_masks(prepared, backbone, objective):
    encoder, columns = transformer(prepared, backbone)
    encoder.train()
    torch.manual_seed(3)
    plain = outcome(encoder, chunk_by_chunk(encoder, objective(encoder, None), columns))
    torch.manual_seed(3)
    cached = outcome(encoder, objective(encoder, CHUNK)(columns, labels()))
    assert agree(cached, plain)
    torch.manual_seed(4)
    assert not agree(outcome(encoder, objective(encoder, CHUNK)(columns, labels())), plain)


class Forgetful:
    """A snapshot of the random state that is never restored."""

    def __init__(self, *tensors: Any) -> None:
        self._nothing = nullcontext()

    def __enter__(self) -> Any:
        return self._nothing.__enter__()

    def __exit__(self, *exc: Any) -> Any:
        return self._nothing.__exit__(*exc)


def test_without_the_random_state_the_comparison_fails(prepared, backbone, monkeypatch):
    encoder, columns = transformer(prepared, backbone)
    encoder.train()
    torch.manual_seed(3)
    plain = outcome(encoder, chunk_by_chunk(encoder, hybrid(encoder, None), columns))
    monkeypatch.setattr(gradient_cache, "RandContext", Forgetful)
    torch.manual_seed(3)
    cached = outcome(encoder, hybrid(encoder, CHUNK)(columns, labels()))
    assert cached[0] == pytest.approx(plain[0], rel=1e-9)
    assert not agree(cached, plain)
    assert not agree(cached, plain, rtol=1e-2, atol=1e-3)


@FAMILIES
def test_a_loss_over_one_chunk_at_a_time_is_another_loss(prepared, backbone, family):
    encoder, columns = family(prepared, backbone)
    encoder.eval()
    plain = outcome(encoder, hybrid(encoder, None)(columns, labels()))
    encoder.zero_grad()
    losses = []
    for start, pair in enumerate(zip(*(chunks(c, CHUNK) for c in columns), strict=True)):
        keys = labels()["keys"][start * CHUNK :][:CHUNK]
        losses.append(hybrid(encoder, None)(list(pair), {"keys": keys})["hybrid"])
    wrong = outcome(encoder, {"mean": torch.stack(losses).mean()})
    assert not agree(wrong, plain, rtol=1e-2, atol=1e-3)


def test_sparse_gradients_add_up_over_the_chunks(prepared, backbone):
    encoder, columns = static_table(prepared, backbone)
    plain = outcome(encoder, hybrid(encoder, None)(columns, labels()))
    leave_out_unknown(encoder, sparse=True)
    cached = outcome(encoder, hybrid(encoder, CHUNK)(columns, labels()))
    assert next(encoder.parameters()).grad.is_sparse
    assert agree(cached, plain)


def test_the_second_pass_is_done_in_the_precision_of_the_first(prepared, backbone):
    encoder, columns = transformer(prepared, backbone)
    encoder.float()
    seen = []
    linear = next(module for module in encoder.modules() if isinstance(module, torch.nn.Linear))
    linear.register_forward_hook(lambda *call: seen.append(call[2].dtype))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        parts = hybrid(encoder, CHUNK)(columns, labels())
    first_pass = len(seen)
    outcome(encoder, parts)
    assert seen == [torch.bfloat16] * 2 * first_pass


def test_random_numbers_after_a_step_do_not_depend_on_the_second_pass(prepared, backbone):
    encoder, columns = transformer(prepared, backbone)
    encoder.train()
    parts = hybrid(encoder, CHUNK)(columns, labels())
    before = torch.get_rng_state()
    outcome(encoder, parts)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_larger_gradient_from_outside_reaches_the_weights(prepared, backbone):
    encoder, columns = static_table(prepared, backbone)
    once = outcome(encoder, hybrid(encoder, CHUNK)(columns, labels()))
    parts = hybrid(encoder, CHUNK)(columns, labels())
    thrice = outcome(encoder, {name: part * 3.0 for name, part in parts.items()})
    assert agree(thrice, (once[0] * 3, {name: g * 3 for name, g in once[1].items()}))


def test_no_more_texts_than_a_chunk_are_embedded_at_a_time(prepared, backbone):
    encoder, columns = static_table(prepared, backbone)
    seen = []
    encoder.register_forward_hook(
        lambda *call: seen.append((len(call[2]["sentence_embedding"]), torch.is_grad_enabled()))
    )
    outcome(encoder, hybrid(encoder, CHUNK)(columns, labels()))
    sizes = [4, 4, 3, 4, 4, 3]
    assert seen == [(n, False) for n in sizes] + [(n, True) for n in sizes]


def test_without_gradients_every_text_is_embedded_once(prepared, backbone):
    encoder, columns = static_table(prepared, backbone)
    with torch.no_grad():
        cached = embed(encoder, columns, CHUNK)
        plain = embed(encoder, columns, None)
    for one, other in zip(cached, plain, strict=True):
        assert not one.requires_grad
        assert torch.allclose(one, other, **TOLERANCE)
