from typing import Any

import pytest
import torch
from torch.nn.functional import normalize

from tests.training.vectors import Lookup, unit
from training.losses import cosine_distance, info_nce, no_negatives, repeated
from training.objectives import AlignObjective, HybridObjective, Passes

pytestmark = pytest.mark.training


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


# Hard negatives


def against(keys: Any, groups: Any, negative_keys: Any, negative_groups: Any) -> Any:
    names = ("keys", "groups", "negative_keys", "negative_groups")
    values = (keys, groups, negative_keys, negative_groups)
    return dict(zip(names, map(torch.as_tensor, values), strict=True))


def test_hard_negatives_stand_in_the_denominator_of_every_question():
    label = against(keys(), range(6), [7, 8, 9], [-1, -1, -1])
    columns = [{"vectors": unit(1)}, {"vectors": unit(2)}, {"vectors": unit(3)[:3]}]
    objective = HybridObjective(Lookup(), loss_temperature=0.1, symmetric=False)
    found = float(objective(columns, label)["hybrid"])
    scores = (unit(1) @ torch.cat([unit(2), unit(3)[:3]]).T) / 0.1
    expected = (scores.logsumexp(dim=1) - scores.diagonal()).mean()
    assert found == pytest.approx(float(expected))
    assert found > float(objective(columns[:2], label)["hybrid"])


def test_passages_are_not_asked_about_hard_negatives():
    label = against(keys(), range(6), [7, 8, 9], [-1, -1, -1])
    columns = [{"vectors": unit(1)}, {"vectors": unit(2)}, {"vectors": unit(3)[:3]}]
    both = [
        float(
            HybridObjective(Lookup(), loss_temperature=0.1, symmetric=s)(columns, label)["hybrid"]
        )
        for s in (True, False)
    ]
    passages_ask = info_nce(unit(2), unit(1), loss_temperature=0.1, symmetric=False)
    assert both[0] == pytest.approx((both[1] + float(passages_ask)) / 2)


def test_a_hard_negative_of_ones_own_group_or_in_the_batch_is_none():
    """Text 7 is in member 2's group, text 104 a passage of the batch, text 9 a negative of all."""
    label = against(keys(), range(6), [7, 104, 9], [2, 4, -1])
    columns = [{"vectors": unit(1)}, {"vectors": unit(2)}, {"vectors": unit(3)[:3]}]
    objective = HybridObjective(Lookup(), loss_temperature=0.1, symmetric=False)
    scores = (unit(1) @ torch.cat([unit(2), unit(3)[:3]]).T) / 0.1
    scores[:, 7] = -torch.inf
    scores[2, 6] = -torch.inf
    expected = (scores.logsumexp(dim=1) - scores.diagonal()).mean()
    assert float(objective(columns, label)["hybrid"]) == pytest.approx(float(expected))


def test_without_a_group_two_texts_are_not_related():
    found = no_negatives(*map(torch.tensor, ([7, 8], [1, 2], [-1, 3], [-1, 3])))
    assert found.tolist() == [[False, False], [False, True]]


# Matryoshka


def test_matryoshka_adds_the_loss_of_the_first_dimensions_with_its_weight():
    passes = Passes(nested=((2, 0.5), (3, 2.0)))
    plain = HybridObjective(Lookup(), loss_temperature=0.1, symmetric=True)
    nested = HybridObjective(Lookup(), loss_temperature=0.1, symmetric=True, passes=passes)
    found = nested(sides(1, 2), {"keys": keys()})
    assert list(found) == ["hybrid", "hybrid@2", "hybrid@3"]
    assert float(found["hybrid"]) == float(plain(sides(1, 2), {"keys": keys()})["hybrid"])
    for dim, weight in passes.nested:
        cut = [normalize(unit(seed)[:, :dim], dim=1) for seed in (1, 2)]
        expected = weight * info_nce(*cut, loss_temperature=0.1)
        assert float(found[f"hybrid@{dim}"]) == pytest.approx(float(expected))


def test_matryoshka_shortens_the_teacher_too():
    rows = [0, 2, 3, 5]
    found = align(distill="cosine", passes=Passes(nested=((2, 1.0),)))(sides(1, 2), taught(rows))
    cut = [normalize(unit(seed)[:, :2], dim=1)[rows] for seed in (1, 2)]
    target = normalize(unit(3)[rows][:, :2], dim=1)
    parts = [cosine_distance(side, target) for side in cut]
    assert float(found["distill@2"]) == pytest.approx(float(sum(parts)))
