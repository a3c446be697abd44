import math
from typing import Any

import pytest
import torch
from sentence_transformers import SentenceTransformer
from torch import nn
from torch.nn.functional import normalize

from training.losses import (
    AlignObjective,
    HybridObjective,
    cosine_distance,
    info_nce,
    repeated,
)

pytestmark = pytest.mark.training


def unit(seed: int, n: int = 6, dim: int = 5, *, requires_grad: Any = False) -> Any:
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.randn(n, dim, generator=generator, dtype=torch.float64)
    return normalize(vectors, dim=1).requires_grad_(requires_grad)


def naive_info_nce(
    queries: Any, passages: Any, temperature: float, *, symmetric: bool, excluded: Any = None
) -> Any:
    """The formula, term by term, in plain Python."""
    n = len(queries)
    scores = [[float(q @ p) / temperature for p in passages] for q in queries]

    def one_way(score: Any, keep: Any) -> Any:
        total = 0.0
        for k in range(n):
            denominator = sum(math.exp(score(k, j)) for j in range(n) if keep(k, j))
            total -= math.log(math.exp(score(k, k)) / denominator)
        return total / n

    def keep(row: Any, column: Any) -> Any:
        return excluded is None or not bool(excluded[row, column])

    forward = one_way(lambda k, j: scores[k][j], keep)
    if not symmetric:
        return forward
    return (forward + one_way(lambda k, j: scores[j][k], lambda k, j: keep(j, k))) / 2


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("temperature", [0.05, 1.0])
def test_info_nce_is_its_formula(symmetric, temperature):
    queries, passages = unit(1), unit(2)
    found = info_nce(queries, passages, loss_temperature=temperature, symmetric=symmetric)
    expected = naive_info_nce(queries, passages, temperature, symmetric=symmetric)
    assert float(found) == pytest.approx(expected, rel=1e-9)


def test_excluded_pairs_are_left_out_of_the_denominator():
    queries, passages = unit(1), unit(2)
    excluded = repeated(torch.tensor([0, 1, 1, 2, 3, 0]))
    found = info_nce(queries, passages, loss_temperature=0.1, excluded=excluded)
    expected = naive_info_nce(queries, passages, 0.1, symmetric=True, excluded=excluded)
    assert float(found) == pytest.approx(expected, rel=1e-9)
    assert float(found) < float(info_nce(queries, passages, loss_temperature=0.1))


def test_nothing_is_excluded_unless_asked_even_between_equal_passages():
    queries = unit(1, n=2)
    passages = unit(2, n=1).repeat(2, 1)
    found = info_nce(queries, passages, loss_temperature=0.1, symmetric=False)
    assert float(found) == pytest.approx(math.log(2))


def test_the_order_of_a_batch_does_not_matter():
    queries, passages = unit(1), unit(2)
    order = torch.tensor([3, 1, 5, 0, 4, 2])
    assert float(info_nce(queries, passages, loss_temperature=0.1)) == pytest.approx(
        float(info_nce(queries[order], passages[order], loss_temperature=0.1))
    )


def test_the_assignment_of_passages_does_matter():
    queries = unit(1)
    right = info_nce(queries, queries, loss_temperature=0.1)
    wrong = info_nce(queries, queries.roll(1, dims=0), loss_temperature=0.1)
    assert float(right) < float(wrong)


def test_orthogonal_pairs_cost_what_can_be_computed_by_hand():
    eye = torch.eye(4)
    found = info_nce(eye, eye, loss_temperature=0.5)
    assert float(found) == pytest.approx(math.log(1 + 3 * math.exp(-2)), rel=1e-6)


def test_a_high_temperature_makes_all_passages_equally_likely():
    found = info_nce(unit(1), unit(2), loss_temperature=1e9)
    assert float(found) == pytest.approx(math.log(6), rel=1e-6)


def test_symmetric_info_nce_is_the_same_with_sides_exchanged():
    a, b = unit(1), unit(2)
    assert float(info_nce(a, b, loss_temperature=0.1)) == pytest.approx(
        float(info_nce(b, a, loss_temperature=0.1))
    )
    one_way = info_nce(a, b, loss_temperature=0.1, symmetric=False)
    other_way = info_nce(b, a, loss_temperature=0.1, symmetric=False)
    assert float(one_way) != pytest.approx(float(other_way))


def test_gradients_reach_both_sides():
    queries, passages = unit(1, requires_grad=True), unit(2, requires_grad=True)
    torch.autograd.backward(info_nce(queries, passages, loss_temperature=0.1))
    assert float(queries.grad.abs().min()) > 0
    assert float(passages.grad.abs().min()) > 0


def test_cosine_distance_is_zero_at_the_target_and_two_opposite_to_it():
    target = unit(1)
    assert float(cosine_distance(target, target)) == pytest.approx(0.0, abs=1e-12)
    assert float(cosine_distance(-target, target)) == pytest.approx(2.0)


def test_repeated_marks_equal_keys_and_never_a_key_with_itself():
    found = repeated(torch.tensor([4, 7, 4]))
    assert found.tolist() == [[False, False, True], [False, False, False], [True, False, False]]


class Lookup(SentenceTransformer):
    """An encoder that returns the vectors it is given."""

    def __init__(self) -> None:
        super().__init__(modules=[nn.Identity()])

    def forward(self, input: Any, **kwargs: Any) -> Any:
        return {"sentence_embedding": input["vectors"]}


def sides(*seeds: Any) -> Any:
    return [{"vectors": unit(seed)} for seed in seeds]


def keys(n: int = 6) -> Any:
    return torch.stack([torch.arange(n), torch.arange(n) + 100], dim=1)


def test_the_hybrid_objective_is_info_nce_of_its_two_sides():
    objective = HybridObjective(Lookup(), loss_temperature=0.1, symmetric=False)
    found = objective(sides(1, 2), {"keys": keys()})
    expected = info_nce(unit(1), unit(2), loss_temperature=0.1, symmetric=False)
    assert list(found) == ["hybrid"]
    assert float(found["hybrid"]) == pytest.approx(float(expected))


@pytest.mark.parametrize("side", [0, 1])
def test_the_hybrid_objective_takes_no_equal_text_as_a_negative(side):
    objective = HybridObjective(Lookup(), loss_temperature=0.1, symmetric=True)
    twins = keys()
    twins[3, side] = twins[0, side]
    found = objective(sides(1, 2), {"keys": twins})["hybrid"]
    expected = info_nce(unit(1), unit(2), loss_temperature=0.1, excluded=repeated(twins[:, side]))
    assert float(found) == pytest.approx(float(expected))


def align(**changes: Any) -> Any:
    settings: dict[str, Any] = {
        "w_distill": 2.0,
        "distill": "contrastive",
        "distill_temperature": 0.2,
        "w_contrast": 3.0,
        "loss_temperature": 0.1,
    }
    return AlignObjective(Lookup(), **(settings | changes))


def taught(rows: Any) -> Any:
    return {
        "keys": keys(),
        "teacher": unit(3)[rows],
        "has_teacher": torch.tensor(rows),
        "teacher_keys": torch.tensor(rows),
    }


def test_the_align_objective_weighs_its_two_parts():
    rows = [0, 2, 3, 5]
    found = align()(sides(1, 2), taught(rows))
    contrast = info_nce(unit(1), unit(2), loss_temperature=0.1)
    distill = [info_nce(unit(s)[rows], unit(3)[rows], loss_temperature=0.2) for s in (1, 2)]
    assert float(found["contrast"]) == pytest.approx(3 * float(contrast))
    assert float(found["distill"]) == pytest.approx(2 * float(sum(distill)) / 2)


def test_the_cosine_distance_can_be_chosen():
    rows = [1, 4]
    found = align(distill="cosine")(sides(1, 2), taught(rows))["distill"]
    parts = [cosine_distance(unit(s)[rows], unit(3)[rows]) for s in (1, 2)]
    assert float(found) == pytest.approx(float(sum(parts)))


def test_equal_teacher_texts_are_no_negatives_of_one_another():
    label = taught([0, 1])
    label["teacher_keys"] = torch.tensor([9, 9])
    assert float(align()(sides(1, 2), label)["distill"]) == pytest.approx(0.0, abs=1e-12)


def test_a_part_of_weight_zero_is_not_computed():
    assert list(align(w_distill=0.0)(sides(1, 2), {"keys": keys()})) == ["contrast"]
    assert list(align(w_contrast=0.0)(sides(1, 2), taught([0]))) == ["distill"]


def test_a_batch_without_a_teacher_vector_costs_nothing_but_can_be_trained_on():
    vectors = unit(1, requires_grad=True)
    label = taught([])
    label["has_teacher"] = torch.empty(0, dtype=torch.long)
    features = [{"vectors": vectors}, {"vectors": unit(2)}]
    loss = align(w_contrast=0.0)(features, label)["distill"]
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert vectors.grad is not None
