import math
from typing import Any

import pytest
import torch

from tests.training.vectors import unit
from training.losses import cosine_distance, info_nce, repeated

pytestmark = pytest.mark.training


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
