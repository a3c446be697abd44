import pytest

from app.core.calibration.choice import Choice
from app.core.errors import CalibratorShelfError

OWN = "0" * 12
FIRST = "1" * 12
SECOND = "2" * 12


@pytest.fixture
def nothing():
    return Choice(bundle_calibrator=OWN)


def test_a_promotion_names_what_it_replaced_and_can_be_undone(nothing):
    first = nothing.promoted(FIRST)
    second = first.promoted(SECOND)
    back = second.rolled_back()

    assert (first.active, first.replaced) == (FIRST, None)
    assert (second.active, second.replaced) == (SECOND, FIRST)
    assert (back.active, back.replaced) == (FIRST, SECOND)
    assert back.rolled_back().active is None
    with pytest.raises(CalibratorShelfError, match="nothing to undo"):
        back.rolled_back().rolled_back()


def test_the_bundles_own_can_be_promoted_again(nothing):
    back = nothing.promoted(FIRST).promoted(OWN)

    assert (back.active, back.history) == (None, (None, FIRST))
    assert back.rolled_back().active == FIRST
    with pytest.raises(CalibratorShelfError, match="active already"):
        nothing.promoted(OWN)


def test_nothing_is_active_and_shadow_at_once(nothing):
    both = nothing.promoted(FIRST).shadowed(OWN)

    assert both.shadow == OWN
    assert both.rolled_back().shadow is None
    assert both.shadowed(SECOND).promoted(SECOND).shadow is None
    assert both.shadowed(SECOND).rolled_back().shadow == SECOND
    assert both.shadowed(None).shadow is None
    for choice, active in ((nothing, OWN), (both, FIRST)):
        with pytest.raises(CalibratorShelfError, match="is active"):
            choice.shadowed(active)
