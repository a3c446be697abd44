import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.data_groups import group_numbers

pytestmark = pytest.mark.training


@given(st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=3), max_size=30))
def test_rows_are_in_one_group_exactly_if_a_chain_of_keys_links_them(keys):
    numbers = group_numbers(keys)
    linked = [{k} for k in range(len(keys))]
    for a in range(len(keys)):
        for b in range(a):
            if set(keys[a]) & set(keys[b]):
                union = linked[a] | linked[b]
                for member in union:
                    linked[member] = union
    for a in range(len(keys)):
        for b in range(len(keys)):
            assert (numbers[a] == numbers[b]) == (b in linked[a])
