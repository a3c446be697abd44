import pytest

from app.adapters.edge.nearest import OVERSAMPLING, SEARCH_BEAM, exact_scores


@pytest.mark.parametrize("limit", [1, 10, 101, 128, 1_001])
def test_all_that_the_walk_keeps_is_scored_exactly_and_the_walk_grows_with_the_list_alone(limit):
    params = exact_scores(limit)
    assert params.quantization is not None
    assert params.quantization.rescore
    rescored = params.quantization.oversampling * limit
    assert rescored == pytest.approx(max(SEARCH_BEAM, OVERSAMPLING * limit))
